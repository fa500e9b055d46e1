/* src/base/proxy_header.c: right and wrong headers of both versions, in any pieces. */
#include "base/proxy_header.h"

#include <errno.h>
#include <string.h>

#include "../../lib/tap.h"

static struct mb_proxy_header header;
static const char *wrong;

/* The parts of a header of version 2. */
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define TCP4      SIGNATURE "\x21\x11"
#define TCP4_ADDR "\xc0\0\x02\x01\xc6\x33\x64\x02\x30\x39\x01\xbb"

static int parse(const void *data, size_t size) {
  memset(&header, 0, sizeof header);
  wrong = NULL;
  return mb_proxy_header_parse(data, size, &header, &wrong);
}

static void addresses_are(const char *source, const char *destination, const char *what) {
  char text[MB_ADDR_LABEL_MAX];
  tap_ok(header.has_addresses, "%s: has addresses", what);
  mb_addr_label(&header.source, text);
  tap_str(text, source, "%s: source", what);
  mb_addr_label(&header.destination, text);
  tap_str(text, destination, "%s: destination", what);
}

/* Parses the header with more bytes behind it, and every beginning of it. */
static void takes(const void *data, size_t size, const char *what) {
  char longer[MB_PROXY_HEADER_MAX + 16];
  memcpy(longer, data, size);
  memcpy(longer + size, "PROXY \r\n\r\n\0\r\nQUIT", 16);
  int too_early = 0;
  for (size_t part = 0; part < size; part++) too_early += parse(data, part) != 0;
  tap_int(too_early, 0, "%s: no part of it is decided on", what);
  tap_int(parse(longer, size + 16), (long long)size, "%s: its size, whatever follows", what);
}

static void takes_v1(const char *line, const char *source, const char *destination) {
  takes(line, strlen(line), line);
  addresses_are(source, destination, line);
}

static void refuses(const void *data, size_t size, int error, const char *what) {
  tap_int(parse(data, size), error, "%s", what);
  tap_ok(wrong != NULL, "%s: says why: %s", what, wrong ? wrong : "");
}

static void refuses_v1(const char *line) { refuses(line, strlen(line), -EBADMSG, line); }

#define TAKES(literal, what)          takes(literal, sizeof literal - 1, what)
#define REFUSES(literal, error, what) refuses(literal, sizeof literal - 1, error, what)

static void version_1(void) {
  takes_v1("PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n", "192.0.2.1:12345",
           "198.51.100.2:443");
  takes_v1("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", "255.255.255.255:65535", "0.0.0.0:0");
  takes_v1("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", "[2001:db8::1]:1", "[::1]:65535");
  takes_v1(
      "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe "
      "65535 65535\r\n",
      "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
      "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535");
  takes_v1("PROXY TCP6 ::ffff:192.0.2.1 ::1 80 80\r\n", "192.0.2.1:80", "[::1]:80");
  /* nginx's stream module: the client's address came in a header, the other one is of its own listener. */
  takes_v1("PROXY TCP6 2001:db8::1 127.0.0.1 51512 80\r\n", "[2001:db8::1]:51512", "127.0.0.1:80");
  takes_v1("PROXY TCP4 192.0.2.1 ::1 51512 80\r\n", "192.0.2.1:51512", "[::1]:80");
  takes_v1("PROXY TCP4 192.0.2.1 ::ffff:127.0.0.1 51512 80\r\n", "192.0.2.1:51512", "127.0.0.1:80");
  takes_v1("PROXY TCP6 192.0.2.1 ::1 1 2\r\n", "192.0.2.1:1", "[::1]:2");
  takes_v1("PROXY TCP6 2001:db8::1 unix:/run/x.sock 51512 0\r\n", "[2001:db8::1]:51512",
           "/run/x.sock");
  takes_v1("PROXY TCP4 192.0.2.1 unix: 51512 0\r\n", "192.0.2.1:51512", "unnamed");
  takes_v1(
      "PROXY TCP4 192.0.2.1 unix:/1234567890123456789012345678901234567890123456789012345678901234 "
      "1 0\r\n",
      "192.0.2.1:1", "/1234567890123456789012345678901234567890123456789012345678901234");
  TAKES("PROXY UNKNOWN\r\n", "UNKNOWN");
  tap_ok(!header.has_addresses, "UNKNOWN has no addresses");
  TAKES("PROXY UNKNOWN whatever \0 it says 1 2\r\n", "UNKNOWN with more");
  tap_ok(!header.has_addresses, "UNKNOWN with more has no addresses");

  static const char *const bad[] = {
      "PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\n",
      "PROXY TCP4 192.0.2.1 198.51.100.2 12345 443 \r\n",
      "PROXY TCP4 192.0.2.1  198.51.100.2 12345 443\r\n",
      "PROXY TCP4  192.0.2.1 198.51.100.2 12345 443\r\n",
      "PROXY  TCP4 192.0.2.1 198.51.100.2 12345 443\r\n",
      "PROXY TCP4 192.0.2.1 198.51.100.2 12345\r\n",
      "PROXY TCP4 192.0.2.1 198.51.100.2 12345 443 5\r\n",
      "PROXY TCP4 192.0.2.1 198.51.100.2 12345 65536\r\n",
      "PROXY TCP4 192.0.2.1 198.51.100.2 12345 99999999999999999999\r\n",
      "PROXY TCP4 192.0.2.1 198.51.100.2 012345 443\r\n",
      "PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
      "PROXY TCP4 192.0.2.1 198.51.100.2 -1 443\r\n",
      "PROXY TCP4 192.0.2.1 198.51.100.2 0x50 443\r\n",
      "PROXY TCP4 192.0.2.1 198.51.100.2 1 443\t\r\n",
      "PROXY TCP4 192.0.2 198.51.100.2 1 443\r\n",
      "PROXY TCP4 192.0.2.256 198.51.100.2 1 443\r\n",
      "PROXY TCP4 192.0.2.01 198.51.100.2 1 443\r\n",
      "PROXY TCP4 ::1 ::1 1 443\r\n",
      "PROXY TCP6 192.0.2.1 192.0.2.2 1 443\r\n",
      "PROXY TCP4 ::ffff:192.0.2.1 ::1 1 443\r\n",
      "PROXY TCP4 ::1 unix:/run/x.sock 1 0\r\n",
      "PROXY TCP4 192.0.2.1 unix:/run/x.sock 1 443\r\n",
      "PROXY TCP4 192.0.2.1 unix:/run/x.sock 1 00\r\n",
      "PROXY TCP4 192.0.2.1 unix:run/x.sock 1 0\r\n",
      "PROXY TCP4 192.0.2.1 unix:@x 1 0\r\n",
      "PROXY TCP4 192.0.2.1 UNIX:/run/x.sock 1 0\r\n",
      "PROXY TCP4 unix:/run/x.sock 192.0.2.1 0 443\r\n",
      "PROXY TCP6 fe80::1%lo ::1 1 443\r\n",
      "PROXY TCP6 fe80::1%1 ::1 1 443\r\n",
      "PROXY TCP6 ::1 fe80::1%mb-none 1 443\r\n",
      "PROXY TCP4 127.0.0.1%lo 127.0.0.1 1 443\r\n",
      "PROXY tcp4 192.0.2.1 198.51.100.2 1 443\r\n",
      "PROXY TCP5 192.0.2.1 198.51.100.2 1 443\r\n",
      "PROXY UDP4 192.0.2.1 198.51.100.2 1 443\r\n",
      "PROXY UNKNOWNS\r\n",
      "PROXY TCP4\r\n",
      "PROXY \r\n",
      "PROXY UNKNOWN\n",
      "PROXY TCP4 1111111111111111111111111111111111111111111111111111111111111111 1.1.1.1 1 1\r\n",
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) refuses_v1(bad[i]);
  REFUSES("PROXY TCP4 192.0.2.1\0 198.51.100.2 1 443\r\n", -EBADMSG, "a NUL in an address");

  char line[200] = "PROXY UNKNOWN ";
  memset(line + 14, 'x', sizeof line - 14);
  memcpy(line + 105, "\r\n", 2);
  tap_int(parse(line, 107), 107, "107 bytes are a line of version 1");
  memcpy(line + 105, "x\r\n", 3);
  tap_int(parse(line, 106), 0, "106 bytes without an end may be one");
  tap_int(parse(line, 107), -EBADMSG, "107 bytes without an end are none");
  tap_int(parse(line, 108), -EBADMSG, "nor are 108 with one");
}

static void no_header(void) {
  static const char *const none[] = {
      "GET / HTTP/1.1\r\n\r\n", "PROXYTCP4", "proxy TCP4", "Q", "\r\n\r\nGET", "\n", " PROXY TCP4"};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
    tap_int(parse(none[i], strlen(none[i])), -EPROTO, "no header: %s", none[i]);
  }
  tap_int(parse("\x16\x03\x01", 3), -EPROTO, "nor is TLS one");
  tap_int(parse("", 0), 0, "nothing may become one");
}

static void version_2(void) {
  TAKES(TCP4 "\0\x0c" TCP4_ADDR, "version 2, TCP4");
  addresses_are("192.0.2.1:12345", "198.51.100.2:443", "version 2, TCP4");
  TAKES(SIGNATURE
        "\x21\x21\0\x24"
        "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
        "\0\x50\x1f\x90",
        "version 2, TCP6");
  addresses_are("[2001:db8::1]:80", "[::1]:8080", "version 2, TCP6");
  /* One family is for both addresses: the other one of two different ones is mapped. */
  TAKES(SIGNATURE
        "\x21\x21\0\x24"
        "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
        "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1"
        "\0\x50\x1f\x90",
        "version 2, TCP6 with a mapped address");
  addresses_are("[2001:db8::1]:80", "127.0.0.1:8080", "version 2, TCP6 with a mapped address");
  TAKES(SIGNATURE "\x20\0\0\0", "LOCAL");
  tap_ok(!header.has_addresses, "LOCAL has no addresses");
  TAKES(SIGNATURE "\x20\x11\0\x0c" TCP4_ADDR, "LOCAL with addresses");
  tap_ok(!header.has_addresses, "which are ignored");
  TAKES(SIGNATURE "\x21\0\0\3abc", "UNSPEC");
  tap_ok(!header.has_addresses, "UNSPEC has no addresses");

  char paths[16 + 216] = SIGNATURE "\x21\x31\0\xd8/run/client.sock";
  strcpy(paths + 16 + 108, "/run/server.sock");
  takes(paths, sizeof paths, "version 2, Unix sockets");
  addresses_are("/run/client.sock", "/run/server.sock", "version 2, Unix sockets");
  memset(paths + 16, 0, 108);
  memset(paths + 16 + 108, 'x', 108);
  paths[16 + 108] = '/';
  takes(paths, sizeof paths, "Unix sockets without a name, and with one that fills its place");
  char text[MB_ADDR_LABEL_MAX];
  mb_addr_label(&header.source, text);
  tap_str(text, "unnamed", "no name");
  mb_addr_label(&header.destination, text);
  tap_int((long long)strlen(text), 108, "the whole name");
  memcpy(paths + 16, "\0name", 5);
  takes(paths, sizeof paths, "an abstract name");
  mb_addr_label(&header.source, text);
  tap_str(text, "@name", "the abstract name");

  TAKES(TCP4 "\0\x13" TCP4_ADDR "\x05\0\4abcd", "with something added");
  addresses_are("192.0.2.1:12345", "198.51.100.2:443", "with something added");
  TAKES(TCP4 "\0\x12" TCP4_ADDR "\x04\0\0\x04\0\0", "with two empty additions");
  /* Another program has computed the checksum. */
  TAKES(TCP4 "\0\x13" TCP4_ADDR "\x03\0\4\xc8\xcc\xd4\xb7", "with a checksum");

  REFUSES(TCP4 "\0\x13" TCP4_ADDR "\x03\0\4\0\0\0\0", -EBADMSG, "a wrong checksum");
  REFUSES(TCP4 "\0\x12" TCP4_ADDR "\x03\0\3abc", -EBADMSG, "a checksum of three bytes");
  REFUSES(TCP4 "\0\x0b" TCP4_ADDR, -EBADMSG, "too short for its addresses");
  REFUSES(TCP4 "\0\0", -EBADMSG, "no addresses at all");
  REFUSES(TCP4 "\0\x0e" TCP4_ADDR "\x05\0", -EBADMSG, "an addition without its length");
  REFUSES(TCP4 "\0\x10" TCP4_ADDR "\x05\0\2a", -EBADMSG,
          "an addition that is longer than the rest");
  REFUSES(SIGNATURE "\x22\x11\0\x0c" TCP4_ADDR, -EBADMSG, "an unknown command");
  REFUSES(SIGNATURE "\x11\x11\0\x0c" TCP4_ADDR, -EBADMSG, "version 1 in binary");
  REFUSES(SIGNATURE "\x31\x11\0\x0c" TCP4_ADDR, -EBADMSG, "version 3");
  REFUSES(SIGNATURE "\x21\x12\0\x0c" TCP4_ADDR, -EBADMSG, "datagrams");
  REFUSES(SIGNATURE "\x21\x41\0\x0c" TCP4_ADDR, -EBADMSG, "an unknown family");
  REFUSES(SIGNATURE "\x21\x10\0\x0c" TCP4_ADDR, -EBADMSG, "an unknown protocol");
  REFUSES(SIGNATURE "\x21\0\x0f\xf1", -EBADMSG, "more than 4096 bytes, before they have come");
  tap_int(parse(SIGNATURE "\x21\0\x0f\xf0", 16), 0, "4096 bytes may come");
}

int main(void) {
  version_1();
  no_header();
  version_2();
  return tap_done();
}
