/*
 * PROXY protocol. Must refuse a header that can be read in two ways: who can forge a header chooses
 * the address that we believe.
 */
#include "base/proxy_header.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

#define V1_BEGIN     "PROXY "
#define V1_BEGIN_LEN 6
#define V1_MAX       107 /* with CR LF (section 2.1) */
#define V1_UNIX      "unix:"
#define V1_UNIX_LEN  5

#define V2_SIGNATURE     "\r\n\r\n\0\r\nQUIT\n"
#define V2_SIGNATURE_LEN 12
#define V2_FIXED         16 /* signature, version and command, family and protocol, length */

/* Version and command, then family and protocol (section 2.2). */
enum { V2_LOCAL = 0x20, V2_PROXY = 0x21 };
enum { V2_UNSPEC = 0x00, V2_TCP4 = 0x11, V2_TCP6 = 0x21, V2_UNIX = 0x31 };

enum { TLV_CRC32C = 0x03 };

static int malformed(const char *what, const char **ret_wrong) {
  *ret_wrong = what;
  return -EBADMSG;
}

static void set_ip4(struct mb_addr *addr, const void *ip, const void *port) {
  struct sockaddr_in *in = (struct sockaddr_in *)&addr->storage;
  memset(in, 0, sizeof *in);
  in->sin_family = AF_INET;
  memcpy(&in->sin_addr, ip, sizeof in->sin_addr);
  memcpy(&in->sin_port, port, sizeof in->sin_port);
  addr->len = sizeof *in;
}

static void set_ip6(struct mb_addr *addr, const void *ip, const void *port) {
  struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&addr->storage;
  memset(in6, 0, sizeof *in6);
  in6->sin6_family = AF_INET6;
  memcpy(&in6->sin6_addr, ip, sizeof in6->sin6_addr);
  memcpy(&in6->sin6_port, port, sizeof in6->sin6_port);
  addr->len = sizeof *in6;
}

/*
 * A path that is shorter than its 108 bytes ends with a NUL. With a NUL in front the socket is
 * abstract.
 */
static void set_unix(struct mb_addr *addr, const unsigned char *path) {
  struct sockaddr_un *un = &addr->local;
  size_t len = sizeof un->sun_path;
  if (path[0]) {
    len = strnlen((const char *)path, len);
  } else {
    while (len > 0 && path[len - 1] == '\0') len--;
  }
  memset(un, 0, sizeof *un);
  un->sun_family = AF_UNIX;
  memcpy(un->sun_path, path, len);
  addr->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

/* ---- version 1: one line of text ---- */

/* Takes the next word. One space ends it; the end of the line ends the last word. */
static bool next_word(const char **at, const char *end, bool last, char word[V1_MAX]) {
  const char *space = memchr(*at, ' ', (size_t)(end - *at));
  const char *stop = space ? space : end;
  size_t len = (size_t)(stop - *at);
  if ((space == NULL) != last || len == 0) return false;
  memcpy(word, *at, len);
  word[len] = '\0';
  *at = space ? space + 1 : end;
  return strlen(word) == len;
}

/* Reads a decimal number without leading zeros. */
static bool parse_port(const char *word, uint16_t *ret_port) {
  unsigned port = 0;
  if (word[0] == '0' && word[1]) return false;
  for (; *word; word++) {
    if (*word < '0' || *word > '9') return false;
    port = port * 10 + (unsigned)(*word - '0');
    if (port > UINT16_MAX) return false;
  }
  *ret_port = (uint16_t)port;
  return true;
}

static bool parse_v1_address(const char *ip, const char *port_word, struct mb_addr *ret) {
  uint16_t port;
  /* A scope would be an interface of the sender's machine: it is not even looked for on ours. */
  if (strchr(ip, '%') || mb_addr_from_text(ip, -1, ret) != 0 || !parse_port(port_word, &port))
    return false;
  mb_addr_set_port(ret, port);
  return true;
}

/*
 * Reads the address that the client connected to. nginx writes "unix:/run/x.sock", or "unix:" for a socket
 * without a name, and the port 0, when it got the client's address from another proxy by a Unix socket.
 */
static bool parse_v1_destination(const char *text, const char *port_word, struct mb_addr *ret) {
  if (strncmp(text, V1_UNIX, V1_UNIX_LEN) != 0) return parse_v1_address(text, port_word, ret);
  const char *path = text + V1_UNIX_LEN;
  if (strcmp(port_word, "0") != 0) return false;
  if (path[0] == '/') return mb_addr_from_path(path, ret) == 0;
  ret->any.sa_family = AF_UNIX;
  ret->len = sizeof ret->any.sa_family;
  return path[0] == '\0';
}

/*
 * nginx's stream module names the protocol by the client's address, and writes the address of its own
 * listener behind it, which may be of the other family. So each address is read by its own family. The
 * protocol has to be that of one of them.
 */
static bool parse_v1_addresses(const char *at, const char *end, int family,
                               struct mb_proxy_header *ret) {
  char source[V1_MAX], destination[V1_MAX], source_port[V1_MAX], destination_port[V1_MAX];
  struct mb_addr from, to;
  if (!next_word(&at, end, false, source) || !next_word(&at, end, false, destination) ||
      !next_word(&at, end, false, source_port) || !next_word(&at, end, true, destination_port))
    return false;
  if (!parse_v1_address(source, source_port, &from) ||
      !parse_v1_destination(destination, destination_port, &to))
    return false;
  if (from.any.sa_family != family && to.any.sa_family != family) return false;
  ret->source = from;
  ret->destination = to;
  ret->has_addresses = true;
  return true;
}

static int parse_v1(const char *data, size_t size, struct mb_proxy_header *ret,
                    const char **ret_wrong) {
  size_t most = size < V1_MAX ? size : V1_MAX;
  const char *newline = memchr(data, '\n', most);
  if (!newline) {
    return size < V1_MAX ? 0 : malformed("the line of version 1 does not end", ret_wrong);
  }
  if (newline[-1] != '\r') return malformed("the line of version 1 ends without CR", ret_wrong);
  const char *at = data + V1_BEGIN_LEN, *end = newline - 1;
  size_t len = (size_t)(end - at);
  int taken = (int)(newline + 1 - data);
  /* The specification says to ignore the rest of the line behind UNKNOWN. */
  if (len >= 7 && memcmp(at, "UNKNOWN", 7) == 0 && (len == 7 || at[7] == ' ')) {
    ret->has_addresses = false;
    return taken;
  }
  bool ip4 = len > 5 && memcmp(at, "TCP4 ", 5) == 0;
  bool ip6 = len > 5 && memcmp(at, "TCP6 ", 5) == 0;
  if (!ip4 && !ip6) return malformed("the protocol is none of TCP4, TCP6, UNKNOWN", ret_wrong);
  if (!parse_v1_addresses(at + 5, end, ip4 ? AF_INET : AF_INET6, ret))
    return malformed("the addresses of version 1 are malformed", ret_wrong);
  return taken;
}

/* ---- version 2: binary ---- */

/* Returns the CRC-32C (Castagnoli) of a header. The bytes of the checksum itself count as zeros. */
static uint32_t crc32c(const unsigned char *data, size_t size, size_t checksum_at) {
  uint32_t crc = UINT32_MAX;
  for (size_t i = 0; i < size; i++) {
    crc ^= i >= checksum_at && i < checksum_at + 4 ? 0 : data[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc;
}

/*
 * Checks what a proxy adds: fields of type, length and value. We need none of them, but a checksum has
 * to be right. Returns NULL, or what is wrong.
 */
static const char *check_additions(const unsigned char *data, size_t at, size_t size) {
  while (at < size) {
    if (size - at < 3) return "what version 2 adds is cut off";
    size_t len = (size_t)data[at + 1] << 8 | data[at + 2];
    if (len > size - at - 3) return "what version 2 adds is longer than the header";
    if (data[at] == TLV_CRC32C) {
      const unsigned char *sum = data + at + 3;
      if (len != 4) return "the checksum has not 4 bytes";
      uint32_t wanted =
          (uint32_t)sum[0] << 24 | (uint32_t)sum[1] << 16 | (uint32_t)sum[2] << 8 | sum[3];
      if (crc32c(data, size, at + 3) != wanted) return "the checksum is wrong";
    }
    at += 3 + len;
  }
  return NULL;
}

static void set_v2_addresses(const unsigned char *at, unsigned family,
                             struct mb_proxy_header *ret) {
  switch (family) {
    case V2_TCP4:
      set_ip4(&ret->source, at, at + 8);
      set_ip4(&ret->destination, at + 4, at + 10);
      break;
    case V2_TCP6:
      set_ip6(&ret->source, at, at + 32);
      set_ip6(&ret->destination, at + 16, at + 34);
      break;
    default:
      set_unix(&ret->source, at);
      set_unix(&ret->destination, at + 108);
      break;
  }
  ret->has_addresses = true;
}

static int parse_v2(const unsigned char *data, size_t size, struct mb_proxy_header *ret,
                    const char **ret_wrong) {
  if (size < V2_FIXED) return 0;
  unsigned command = data[12], family = data[13];
  size_t total = V2_FIXED + ((size_t)data[14] << 8 | data[15]);
  if (command != V2_LOCAL && command != V2_PROXY)
    return malformed("version 2 has an unknown version or command", ret_wrong);
  if (total > MB_PROXY_HEADER_MAX) return malformed("the header is too long", ret_wrong);
  if (size < total) return 0;
  /* Behind these two the specification lays down no addresses. */
  ret->has_addresses = false;
  if (command == V2_LOCAL || family == V2_UNSPEC) return (int)total;
  size_t addresses = family == V2_TCP4 ? 12 : family == V2_TCP6 ? 36 : family == V2_UNIX ? 216 : 0;
  if (addresses == 0)
    return malformed("version 2 has an unknown family, or one that is no stream", ret_wrong);
  if (total < V2_FIXED + addresses)
    return malformed("version 2 is too short for its addresses", ret_wrong);
  const char *wrong = check_additions(data, V2_FIXED + addresses, total);
  if (wrong) return malformed(wrong, ret_wrong);
  set_v2_addresses(data + V2_FIXED, family, ret);
  return (int)total;
}

/* Returns whether data begins with `begin`, or is shorter and a prefix of `begin`. */
static bool begins_with(const void *data, size_t size, const char *begin, size_t len) {
  return memcmp(data, begin, size < len ? size : len) == 0;
}

int mb_proxy_header_parse(const void *data, size_t size, struct mb_proxy_header *ret,
                          const char **ret_wrong) {
  if (begins_with(data, size, V1_BEGIN, V1_BEGIN_LEN))
    return size < V1_BEGIN_LEN ? 0 : parse_v1(data, size, ret, ret_wrong);
  if (begins_with(data, size, V2_SIGNATURE, V2_SIGNATURE_LEN))
    return size < V2_SIGNATURE_LEN ? 0 : parse_v2(data, size, ret, ret_wrong);
  *ret_wrong = "there is no header";
  return -EPROTO;
}
