/*
 * The journal's own protocol: a datagram of lines NAME=value. It takes us a few lines of code;
 * loading libsystemd for it costs more than a whole connection does.
 */
#include "base/journal.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/rare.h"

#define SOCKET_PATH "/run/systemd/journal/socket"
/* The longest are those of the request log: a whole line, and its fields. */
#define MESSAGE_MAX 12288

struct message {
  char bytes[MESSAGE_MAX];
  size_t size;
};

static bool add(struct message *m, const void *data, size_t len) {
  if (len > MESSAGE_MAX - m->size) return false;
  memcpy(m->bytes + m->size, data, len);
  m->size += len;
  return true;
}

/*
 * Adds "NAME=value". When the value has several lines, NAME stands on a line of its own, before the
 * length of the value (64 bits, least byte first) and the value.
 */
static bool add_field(struct message *m, const struct mb_journal_field *field) {
  size_t len = strlen(field->value);
  bool ok = add(m, field->name, strlen(field->name));
  if (memchr(field->value, '\n', len)) {
    unsigned char size[9] = "\n";
    for (int i = 0; i < 8; i++) size[i + 1] = (unsigned char)((uint64_t)len >> (8 * i));
    ok = ok && add(m, size, sizeof size);
  } else {
    ok = ok && add(m, "=", 1);
  }
  return ok && add(m, field->value, len) && add(m, "\n", 1);
}

static int kept_fd = -1;

static int open_socket(void) {
  return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

void mb_journal_open(void) {
  if (kept_fd < 0) kept_fd = open_socket();
}

int mb_journal_send(const struct mb_journal_field *fields, size_t count) {
  struct message message; /* its bytes are not cleared: most messages are short */
  message.size = 0;
  for (size_t i = 0; i < count; i++) {
    if (!add_field(&message, &fields[i])) return -EMSGSIZE;
  }
  int fd = kept_fd >= 0 ? kept_fd : open_socket();
  if (fd < 0) return -errno;
  const struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = SOCKET_PATH};
  ssize_t n = MB_RARE(sendto)(fd, message.bytes, message.size, MSG_NOSIGNAL,
                              (const struct sockaddr *)&to, sizeof to);
  int r = n < 0 ? -errno : 0;
  if (fd != kept_fd) close(fd);
  return r;
}
