/*
 * src/base/addr.c and src/base/match.c: addresses of all families as bytes and text, and which listener they
 * belong to.
 */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/match.h"
#include "../../lib/tap.h"

static struct mb_addr ip(const char *text, uint16_t port) {
  struct mb_addr addr = {.len = 0};
  struct sockaddr_in *in = (struct sockaddr_in *)&addr.storage;
  struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&addr.storage;
  if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    addr.len = sizeof *in;
  } else if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    addr.len = sizeof *in6;
  } else {
    tap_bail("not an address");
  }
  return addr;
}

static struct mb_addr local(const char *bytes, size_t len) {
  struct mb_addr addr = {.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)};
  addr.local.sun_family = AF_UNIX;
  memcpy(addr.local.sun_path, bytes, len);
  return addr;
}

static void reads_as(struct mb_addr addr, const char *want, const char *label) {
  char text[MB_ADDR_TEXT_MAX], with_port[MB_ADDR_LABEL_MAX];
  bool there = mb_addr_text(&addr, text);
  mb_addr_label(&addr, with_port);
  tap_str(text, want, "reads as \"%s\"", want);
  tap_int(there, want[0] != '\0', "and says so");
  tap_str(with_port, label, "in a message: %s", label);
}

static void texts(void) {
  char path108[108];
  memset(path108, 'p', sizeof path108);
  path108[0] = '/';
  char want[109] = {0};
  memcpy(want, path108, sizeof path108);
  reads_as(ip("192.0.2.1", 80), "192.0.2.1", "192.0.2.1:80");
  reads_as(ip("2001:db8::1", 80), "2001:db8::1", "[2001:db8::1]:80");
  reads_as(ip("::ffff:192.0.2.1", 80), "192.0.2.1", "192.0.2.1:80");
  reads_as(local("/run/x.sock", 12), "/run/x.sock", "/run/x.sock");
  reads_as(local("\0name", 5), "@name", "@name");
  reads_as(local("127.0.0.1", 10), "./127.0.0.1", "./127.0.0.1");
  reads_as(local(path108, sizeof path108), want, want);
  reads_as(local("", 0), "", "unnamed");
  reads_as((struct mb_addr){.len = 0}, "", "unnamed");
  struct mb_addr scoped = ip("fe80::1", 80);
  ((struct sockaddr_in6 *)&scoped.storage)->sin6_scope_id = 1;
  reads_as(scoped, "fe80::1%lo", "[fe80::1%lo]:80");
}

static void bytes(void) {
  struct mb_addr v4 = ip("192.0.2.1", 8080), v6 = ip("2001:db8::1", 8080),
                 mapped = ip("::ffff:192.0.2.1", 8080);
  struct mb_addr none = {.len = 0}, un = local("/x", 3);
  unsigned char sixteen[16];
  tap_bytes(mb_addr_ip4(&v4), 4, "\xc0\0\2\1", 4, "the 4 bytes of IPv4");
  tap_ok(!mb_addr_ip6(&v4, sixteen), "which has no 16");
  tap_ok(mb_addr_ip4(&v6) == NULL, "IPv6 has no 4 bytes");
  tap_ok(mb_addr_ip6(&v6, sixteen), "but 16");
  tap_bytes(sixteen, 16, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16, "the 16 bytes of IPv6");
  tap_bytes(mb_addr_ip4(&mapped), 4, "\xc0\0\2\1", 4, "a mapped address has 4");
  tap_ok(mb_addr_ip6(&mapped, sixteen), "and 16");
  tap_ok(mb_addr_is_pure_ip6(&v6) && !mb_addr_is_pure_ip6(&mapped) && !mb_addr_is_pure_ip6(&v4),
         "only one is pure IPv6");
  tap_int(mb_addr_port(&v4), 8080, "port of IPv4");
  tap_int(mb_addr_port(&v6), 8080, "port of IPv6");
  tap_int(mb_addr_port(&un), 0, "a Unix socket has no port");
  tap_ok(mb_addr_ip4(&none) == NULL && !mb_addr_ip6(&none, sixteen) && mb_addr_port(&none) == 0,
         "no address has nothing");
}

static void hosts(void) {
  static const struct {
    const char *host, *local;
    enum mb_match want;
  } rows[] = {
      {"::", "127.0.0.1", MB_MATCH_YES},
      {"::", "2001:db8::1", MB_MATCH_YES},
      {"::", "::ffff:127.0.0.1", MB_MATCH_YES},
      {"0.0.0.0", "127.0.0.1", MB_MATCH_YES},
      {"0.0.0.0", "::ffff:127.0.0.1", MB_MATCH_YES},
      {"0.0.0.0", "::1", MB_MATCH_NO},
      {"127.0.0.1", "127.0.0.1", MB_MATCH_YES},
      {"127.0.0.1", "::ffff:127.0.0.1", MB_MATCH_YES},
      {"127.0.0.1", "127.0.0.2", MB_MATCH_NO},
      {"127.0.0.1", "::1", MB_MATCH_NO},
      {"::1", "::1", MB_MATCH_YES},
      {"::1", "127.0.0.1", MB_MATCH_NO},
      {"::ffff:127.0.0.1", "127.0.0.1", MB_MATCH_YES},
      {"0:0:0:0:0:0:0:1", "::1", MB_MATCH_YES},
      {"localhost", "127.0.0.1", MB_MATCH_NAME},
      {"example.org", "::1", MB_MATCH_NAME},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct mb_addr addr = ip(rows[i].local, 1);
    tap_int(mb_match_host(rows[i].host, &addr), rows[i].want, "host %s and a connection to %s",
            rows[i].host, rows[i].local);
  }
  struct mb_addr loopback = ip("127.0.0.1", 1), mapped = ip("::ffff:127.0.0.1", 1),
                 other = ip("192.0.2.1", 1);
  tap_ok(mb_match_name("localhost", &loopback), "localhost is 127.0.0.1");
  tap_ok(mb_match_name("localhost", &mapped), "also when it is mapped");
  tap_ok(!mb_match_name("localhost", &other), "and no other address");
  tap_ok(!mb_match_name("no such name.invalid", &loopback), "a name that is none matches nothing");
}

static void paths(void) {
  char dir[] = "/tmp/mb-peer-XXXXXX", real[64], other[64];
  if (!mkdtemp(dir)) tap_bail("mkdtemp");
  snprintf(real, sizeof real, "%s/a.sock", dir);
  snprintf(other, sizeof other, "%s/./a.sock", dir);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  struct mb_addr addr = local(real, strlen(real) + 1), abstract = local("\0name", 5);
  if (bind(fd, &addr.any, addr.len) != 0) tap_bail("bind");
  tap_ok(mb_match_path(real, &addr), "the same path");
  tap_ok(mb_match_path(other, &addr), "another path to the same socket");
  tap_ok(!mb_match_path("/tmp", &addr), "another file");
  tap_ok(mb_match_path("@name", &abstract), "an abstract name");
  tap_ok(!mb_match_path("name", &abstract), "is no relative path");
  struct mb_addr ours, theirs, none = {.len = 0};
  tap_ok(!mb_match_path(real, &none), "no address");
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) tap_bail("socketpair");
  tap_int(mb_addr_of(pair[0], &ours, &theirs), 0, "a socket pair has addresses");
  char text[MB_ADDR_TEXT_MAX];
  tap_ok(!mb_addr_text(&ours, text) && !mb_addr_text(&theirs, text), "without names");
  tap_int(mb_addr_of(STDIN_FILENO, &ours, &theirs) < 0, 1, "a file has none");
  int lonely = socket(AF_INET, SOCK_STREAM, 0);
  tap_int(mb_addr_of(lonely, &ours, &theirs), -ENOTCONN, "an unconnected socket has no peer");
  close(fd);
  unlink(real);
  rmdir(dir);
}

int main(void) {
  texts();
  bytes();
  hosts();
  paths();
  return tap_done();
}
