/* Records about names. Knows neither Lua nor the log. */
#include "base/names_record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct header {
  char magic[4];
  uint32_t version, size /* of the whole record */, kind;
};

static const char magic[4] = {'m', 'b', 'n', 'm'};

#define ABSENT UINT32_MAX /* in the place of a size */

void mb_names_free(struct mb_names_record *r) {
  free(r->data);
  *r = (struct mb_names_record){0};
}

/* ---- writing ---- */

static void put(struct mb_names_record *r, const void *bytes, size_t size) {
  if (r->has_failed) return;
  if (size > r->size - r->at) {
    size_t wanted = 2 * r->size + size + 256;
    unsigned char *data = realloc(r->data, wanted);
    r->has_failed = !data;
    if (!data) return;
    r->data = data;
    r->size = wanted;
  }
  if (size > 0) memcpy(r->data + r->at, bytes, size);
  r->at += size;
}

static void put_size(struct mb_names_record *r, uint32_t size) { put(r, &size, sizeof size); }

void mb_names_begin(struct mb_names_record *r, enum mb_names_kind kind) {
  struct header header = {.version = MB_NAMES_VERSION, .kind = kind};
  memcpy(header.magic, magic, sizeof magic);
  r->at = 0;
  put(r, &header, sizeof header);
}

void mb_names_put_number(struct mb_names_record *r, int number) { put(r, &number, sizeof number); }

void mb_names_put_bytes(struct mb_names_record *r, const void *bytes, size_t size) {
  if (size > MB_NAMES_RECORD_MAX) size = MB_NAMES_RECORD_MAX; /* mb_names_send refuses that */
  put_size(r, (uint32_t)size);
  put(r, bytes, size);
}

void mb_names_put_text(struct mb_names_record *r, const char *text) {
  if (text) {
    mb_names_put_bytes(r, text,
                       strlen(text) + 1); /* with its end, so that the reader need not copy it */
  } else {
    put_size(r, ABSENT);
  }
}

int mb_names_send(struct mb_names_record *r, int fd) {
  if (r->has_failed) return -ENOMEM;
  if (r->at > MB_NAMES_RECORD_MAX) return -E2BIG;
  uint32_t size = (uint32_t)r->at;
  memcpy(r->data + offsetof(struct header, size), &size, sizeof size);
  for (size_t sent = 0; sent < size;) {
    ssize_t n = write(fd, r->data + sent, size - sent);
    if (n < 0 && errno != EINTR) return -errno;
    if (n > 0) sent += (size_t)n;
  }
  return 0;
}

/* ---- reading ---- */

/* Reads as many bytes. Returns 0; -EPROTO when there are fewer; or -errno. */
static int read_all(int fd, void *to, size_t size) {
  for (size_t got = 0; got < size;) {
    ssize_t n = read(fd, (char *)to + got, size - got);
    if (n == 0) return -EPROTO;
    if (n < 0 && errno != EINTR) return -errno;
    if (n > 0) got += (size_t)n;
  }
  return 0;
}

int mb_names_receive(int fd, struct mb_names_record *ret) {
  struct header header;
  *ret = (struct mb_names_record){0};
  int r = read_all(fd, &header, sizeof header);
  if (r < 0) return r;
  if (memcmp(header.magic, magic, sizeof magic) != 0) return -EPROTO;
  if (header.version != MB_NAMES_VERSION) return -EPROTONOSUPPORT;
  if (header.size < sizeof header || header.size > MB_NAMES_RECORD_MAX) return -EPROTO;
  ret->data = malloc(header.size);
  if (!ret->data) return -ENOMEM;
  ret->size = header.size;
  ret->at = sizeof header;
  memcpy(ret->data, &header, sizeof header);
  return read_all(fd, ret->data + sizeof header, header.size - sizeof header);
}

uint32_t mb_names_kind(const struct mb_names_record *r) {
  uint32_t kind;
  memcpy(&kind, r->data + offsetof(struct header, kind), sizeof kind);
  return kind;
}

/* Returns the next bytes; NULL when there are not as many. */
static const void *take(struct mb_names_record *r, size_t size) {
  if (r->has_failed || size > r->size - r->at) {
    r->has_failed = true;
    return NULL;
  }
  const void *bytes = r->data + r->at;
  r->at += size;
  return bytes;
}

static uint32_t get_size(struct mb_names_record *r) {
  uint32_t size = 0;
  const void *bytes = take(r, sizeof size);
  if (bytes) memcpy(&size, bytes, sizeof size);
  return size;
}

int mb_names_get_number(struct mb_names_record *r) {
  int number = 0;
  const void *bytes = take(r, sizeof number);
  if (bytes) memcpy(&number, bytes, sizeof number);
  return number;
}

const void *mb_names_get_bytes(struct mb_names_record *r, size_t *ret_size) {
  size_t size = get_size(r);
  const void *bytes = take(r, size);
  *ret_size = bytes ? size : 0;
  return bytes;
}

const char *mb_names_get_text(struct mb_names_record *r) {
  uint32_t size = get_size(r);
  if (size == ABSENT || r->has_failed) return NULL;
  const char *text = take(r, size);
  if (text && (size == 0 || memchr(text, '\0', size) != text + size - 1)) r->has_failed = true;
  return r->has_failed ? NULL : text;
}

size_t mb_names_get_count(struct mb_names_record *r, size_t least) {
  size_t count = get_size(r);
  if (!r->has_failed && count > (r->size - r->at) / least) r->has_failed = true;
  return r->has_failed ? 0 : count;
}

bool mb_names_is_complete(const struct mb_names_record *r) {
  return !r->has_failed && r->at == r->size;
}
