/* Reads the chunked coding. Framing is short, so it goes byte by byte. Refuses bare LF, which readers
 * understand differently. Takes blanks behind a size or an extension: they change nothing. */
#include "http/http_chunked.h"

enum {
  SIZE_BEGIN, /* where a chunk begins; MB_HTTP_CHUNKED_INIT relies on its being 0 */
  SIZE,
  PAD,         /* among the blanks behind the size, or behind the value of an extension */
  NAME_BEGIN,  /* behind the semicolon of an extension */
  NAME,        /* of an extension */
  NAME_PAD,    /* among the blanks behind the name */
  VALUE_BEGIN, /* behind the equals sign */
  VALUE,       /* of an extension, a token */
  QUOTED,      /* in a quoted value */
  ESCAPED,     /* behind a backslash in a quoted value */
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

static const char *add_digit(struct mb_http_chunked *c, char byte) {
  if (c->left > INT64_MAX >> 4) return "chunk size that is too large";
  c->left = c->left << 4 | (unsigned)mb_http_hex(byte);
  c->state = SIZE;
  return NULL;
}

static const char *bad_extension(char byte) {
  return byte == '\r' || mb_http_is(byte, MB_HTTP_VALUE) ? "bad chunk extension"
                                                         : "control character in a chunk extension";
}

/*
 * Reads the next byte of the extensions of a chunk (RFC 9112, section 7.1.1):
 *   *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )
 * Returns NULL or the reason to refuse.
 */
static const char *extension_byte(struct mb_http_chunked *c, char byte) {
  bool token = mb_http_is(byte, MB_HTTP_TOKEN);
  int state = c->state;
  if (state == QUOTED || state == ESCAPED) {
    if (!mb_http_is(byte, MB_HTTP_VALUE)) return bad_extension(byte);
    if (state == ESCAPED || (byte != '"' && byte != '\\')) {
      c->state = QUOTED;
    } else {
      c->state = byte == '"' ? PAD : ESCAPED;
    }
  } else if (token && (state == NAME_BEGIN || state == NAME)) {
    c->state = NAME;
  } else if (token && (state == VALUE_BEGIN || state == VALUE)) {
    c->state = VALUE;
  } else if (byte == '"' && state == VALUE_BEGIN) {
    c->state = QUOTED;
  } else if (mb_http_is_blank(byte)) {
    if (state == NAME) c->state = NAME_PAD;
    if (state == VALUE) c->state = PAD;
  } else if (state == NAME_BEGIN || state == VALUE_BEGIN) {
    return bad_extension(byte);
  } else if (byte == '=' && state != PAD && state != VALUE) {
    c->state = VALUE_BEGIN;
  } else if (byte == ';') {
    c->state = NAME_BEGIN;
  } else if (byte == '\r') {
    c->state = SIZE_LF;
  } else {
    return bad_extension(byte);
  }
  return NULL;
}

/* Reads the next byte of the line that begins a chunk. Returns NULL or the reason to refuse. */
static const char *size_byte(struct mb_http_chunked *c, char byte) {
  static const char bad_size[] = "bad chunk size";
  if (c->state > SIZE) return extension_byte(c, byte);
  if (mb_http_is(byte, MB_HTTP_HEX)) return add_digit(c, byte);
  if (c->state == SIZE_BEGIN || (byte != '\r' && byte != ';' && !mb_http_is_blank(byte))) {
    return bad_size;
  }
  c->state = PAD;
  return extension_byte(c, byte);
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
      return c->state < SIZE_LF ? size_byte(c, byte) : trailer_byte(c, byte);
  }
}

/* Counts a byte of framing towards the limits of the state. Returns NULL or the limit that is passed. */
static const char *count_byte(struct mb_http_chunked *c) {
  bool trailer = c->state == TRAILER_NAME || c->state == TRAILER_VALUE;
  if (!trailer && (c->state < SIZE || c->state >= SIZE_LF)) return NULL; /* line ends */
  /* A size may be padded to any width that one needs. */
  bool padded = c->state == SIZE || c->state == PAD;
  c->line++;
  if (!padded || c->line > MB_HTTP_CHUNK_DIGITS) c->extra++;
  if (c->line > MB_HTTP_CHUNK_LINE_MAX) return "too long a line in a chunked body";
  if (c->extra <= MB_HTTP_CHUNK_EXTRA_MAX) return NULL;
  return padded ? "too many zeros or blanks around chunk sizes"
                : "too many chunk extensions and trailers";
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
