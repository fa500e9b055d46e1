/* Reads the chunked coding. Framing is short, so it goes byte by byte. Refuses bare LF and padding, which
 * readers understand differently. */
#include "http/http_chunked.h"

enum {
  SIZE_BEGIN, /* where a chunk begins; MB_HTTP_CHUNKED_INIT relies on its being 0 */
  SIZE,
  SIZE_PAD, /* among the blanks behind the size: an extension has to follow */
  EXTENSION,
  SIZE_LF,
  CONTENT,
  CONTENT_CR,
  CONTENT_LF,
  TRAILER_BEGIN, /* where a line of the trailer section begins */
  TRAILER_NAME,
  TRAILER_VALUE,
  TRAILER_LF,
  END_LF,
  ENDED,
  REFUSED,
};

static const char bad_size[] = "bad chunk size";

static const char *add_digit(struct mb_http_chunked *c, char byte) {
  if (c->left > INT64_MAX >> 4) return "chunk size that is too large";
  c->left = c->left << 4 | (unsigned)mb_http_hex(byte);
  c->state = SIZE;
  return NULL;
}

/* Reads the next byte of the line that begins a chunk. Returns NULL or the reason to refuse. */
static const char *size_byte(struct mb_http_chunked *c, char byte) {
  switch (c->state) {
    case SIZE_BEGIN:
      return mb_http_is(byte, MB_HTTP_HEX) ? add_digit(c, byte) : bad_size;
    case SIZE:
      if (mb_http_is(byte, MB_HTTP_HEX)) return add_digit(c, byte);
      if (byte == '\r') {
        c->state = SIZE_LF;
        return NULL;
      }
      /* fallthrough */
    case SIZE_PAD:
      if (byte != ';' && byte != ' ' && byte != '\t') return bad_size;
      c->state = byte == ';' ? EXTENSION : SIZE_PAD;
      return NULL;
    default:
      if (byte == '\r') {
        c->state = SIZE_LF;
        return NULL;
      }
      return mb_http_is(byte, MB_HTTP_VALUE) ? NULL : "control character in a chunk extension";
  }
}

/* Reads the next byte of the trailer section. Returns NULL or the reason to refuse. */
static const char *trailer_byte(struct mb_http_chunked *c, char byte) {
  if (c->state == TRAILER_VALUE) {
    if (byte == '\r') {
      c->state = TRAILER_LF;
      return NULL;
    }
    return mb_http_is(byte, MB_HTTP_VALUE) ? NULL : "control character in a trailer field";
  }
  if (mb_http_is(byte, MB_HTTP_TOKEN)) {
    c->state = TRAILER_NAME;
    return NULL;
  }
  if (c->state == TRAILER_BEGIN) {
    if (byte == '\r') c->state = END_LF;
    return byte == '\r' ? NULL : "trailer field without a name";
  }
  if (byte == ':') c->state = TRAILER_VALUE;
  return byte == ':' ? NULL : "bad character in the name of a trailer field";
}

/* Reads a byte that has to be `wanted`. Returns NULL, or `why` when it is another. */
static const char *exact_byte(struct mb_http_chunked *c, char byte, char wanted, int next,
                              const char *why) {
  if (byte != wanted) return why;
  c->state = next;
  c->line = 0;
  return NULL;
}

/* Reads the next byte of framing. Returns NULL or the reason to refuse. */
static const char *framing_byte(struct mb_http_chunked *c, char byte) {
  static const char bare_cr[] = "bare CR in a chunked body";
  static const char longer[] = "chunk that is longer than its size";
  switch (c->state) {
    case SIZE_LF:
      return exact_byte(c, byte, '\n', c->left > 0 ? CONTENT : TRAILER_BEGIN, bare_cr);
    case CONTENT_CR:
      return exact_byte(c, byte, '\r', CONTENT_LF, longer);
    case CONTENT_LF:
      return exact_byte(c, byte, '\n', SIZE_BEGIN, longer);
    case TRAILER_LF:
      return exact_byte(c, byte, '\n', TRAILER_BEGIN, bare_cr);
    case END_LF:
      return exact_byte(c, byte, '\n', ENDED, bare_cr);
    default:
      if (byte == '\n') return "bare LF in a chunked body";
      return c->state <= EXTENSION ? size_byte(c, byte) : trailer_byte(c, byte);
  }
}

/* Counts a byte of framing towards the limits of the state. Returns NULL or the limit that is passed. */
static const char *count_byte(struct mb_http_chunked *c) {
  switch (c->state) {
    case SIZE_PAD:
    case EXTENSION:
    case TRAILER_NAME:
    case TRAILER_VALUE:
      if (++c->extra > MB_HTTP_CHUNK_EXTRA_MAX) return "too many chunk extensions and trailers";
      /* fallthrough */
    case SIZE:
      if (++c->line > MB_HTTP_CHUNK_LINE_MAX) return "too long a line in a chunked body";
      break;
    default:
      break; /* line ends */
  }
  return NULL;
}

static bool refuse(struct mb_http_chunked *c, struct mb_http_refusal *refusal, int status,
                   const char *why) {
  c->state = REFUSED;
  *refusal = (struct mb_http_refusal){status, why};
  return false;
}

bool mb_http_chunked_next(struct mb_http_chunked *c, const char *data, size_t size,
                          size_t *ret_framing, size_t *ret_content,
                          struct mb_http_refusal *ret_refusal) {
  size_t at = 0;
  if (c->state == REFUSED) return refuse(c, ret_refusal, 400, "bad chunked body");
  while (at < size && c->state != CONTENT && c->state != ENDED) {
    const char *why = framing_byte(c, data[at++]);
    if (why) return refuse(c, ret_refusal, 400, why);
    why = count_byte(c);
    if (why) return refuse(c, ret_refusal, 413, why);
  }
  *ret_framing = at;
  *ret_content = 0;
  if (c->state == CONTENT) *ret_content = size - at < c->left ? size - at : (size_t)c->left;
  return true;
}

void mb_http_chunked_take(struct mb_http_chunked *c, size_t count) {
  c->left -= count;
  if (c->state == CONTENT && c->left == 0) c->state = CONTENT_CR;
}

bool mb_http_chunked_ended(const struct mb_http_chunked *c) { return c->state == ENDED; }
