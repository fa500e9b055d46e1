/*
 * src/base/addr.c and src/base/match.c: addresses of all families as bytes and as text, and the listeners
 * that they match.
 */
#include "base/addr.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/match.h"
#include "../../lib/tap.h"

static struct mb_addr ip(const char *text, uint16_t port) {
  struct mb_addr addr;
  if (mb_addr_from_text(text, -1, &addr) != 0) tap_bail("not an address");
  mb_addr_set_port(&addr, port);
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
  ((struct sockaddr_in6 *)&scoped.storage)->sin6_scope_id = INT32_MAX;
  reads_as(scoped, "fe80::1%2147483647", "[fe80::1%2147483647]:80");
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

/* Checks the address that is made of a text, with a port, as messages show it; or else the error. */
static void makes(const char *text, const char *want, int want_code) {
  char label[MB_ADDR_LABEL_MAX];
  struct mb_addr addr = {.len = 0};
  int code = mb_addr_from_text(text, -1, &addr);
  tap_int(code, want_code, "\"%s\" is read", text);
  mb_addr_set_port(&addr, 80);
  mb_addr_label(&addr, label);
  tap_str(label, want, "and makes %s", want);
}

static void from_text(void) {
  makes("192.0.2.1", "192.0.2.1:80", 0);
  makes("2001:DB8::0001", "[2001:db8::1]:80", 0);
  makes("::ffff:192.0.2.1", "192.0.2.1:80", 0);
  makes("fe80::1", "[fe80::1]:80", 0);
  makes("fe80::1%lo", "[fe80::1%lo]:80", 0);
  makes("FEBF::1%lo", "[febf::1%lo]:80", 0);
  makes("ff02::1%lo", "[ff02::1%lo]:80", 0);
  makes("fe80::1%1", "[fe80::1%lo]:80", 0);
  makes("fe80:0000:0000:0000:0000:0000:192.168.100.100%lo", "[fe80::c0a8:6464%lo]:80", 0);
  /* Nobody checks that an interface has the number. When none has it, the text shows the number. */
  makes("fe80::1%2147483647", "[fe80::1%2147483647]:80", 0);
  makes("fe80::1%01", "[fe80::1%lo]:80", 0);
  /* The address is filled in without the scope. */
  makes("fe80::1%mb-none", "[fe80::1]:80", -ENODEV);
  makes("fe80::1%LO", "[fe80::1]:80", -ENODEV);
  makes("fe80::1%15-bytes-is-max", "[fe80::1]:80", -ENODEV);
  makes("fe80::1%-1", "[fe80::1]:80", -ENODEV);
  makes("fe80::1%+1", "[fe80::1]:80", -ENODEV);
  makes("fe80::1%1x", "[fe80::1]:80", -ENODEV);
  static const char *const names[] = {
      "",      "localhost", "127.1", "0x7f000001", "10",      "1.2.3.4.5",   "1.2.3.04x",
      "[::1]", ":::",       " ::1",  "192.0.2.1 ", "::1/128", "192.0.2.256", "fe80::1@lo"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) makes(names[i], "unnamed", -EINVAL);
  static const char *const malformed[] = {"fe80::1%",
                                          "fe80::1%0",
                                          "fe80::1%000",
                                          "fe80::1%2147483648",
                                          "fe80::1%999999999999999",
                                          "%lo",
                                          "%",
                                          "127.0.0.1%lo",
                                          "127.0.0.1%1",
                                          "::1%lo",
                                          "::1%1",
                                          "::%lo",
                                          "2001:db8::1%lo",
                                          "::ffff:127.0.0.1%lo",
                                          "fec0::1%lo",
                                          "ff05::1%lo",
                                          "fe80::1%l o",
                                          "fe80::1%lo%lo",
                                          "fe80::1%%lo",
                                          "fe80::1%lo ",
                                          "fe80::1%lo/1",
                                          "fe80::1%lo:",
                                          "fe80::1%16-bytes-are-not",
                                          "localhost%lo",
                                          "[fe80::1%lo]",
                                          "fe80::1%25lo%",
                                          "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000%lo"};
  for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
    makes(malformed[i], "unnamed", -EBADMSG);
  /* Without a free descriptor nobody can look for the interface, which may still be there. */
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max});
  struct mb_addr addr;
  int code = mb_addr_from_text("fe80::1%lo", -1, &addr);
  int of_digits = mb_addr_from_text("fe80::1%1", -1, &addr);
  setrlimit(RLIMIT_NOFILE, &limit);
  tap_int(code, -EMFILE, "the interface cannot be looked for");
  tap_int(of_digits, -EMFILE, "nor one whose name is of digits: that goes before the number");
  tap_int(mb_addr_scope(&addr), 0, "and the address has no scope");
}

static void kinds(void) {
  static const struct {
    const char *text;
    bool every, link_local, multicast;
  } rows[] = {{"0.0.0.0", true, false, false},
              {"::", true, false, false},
              {"::ffff:0.0.0.0", false, false, false},
              {"0.0.0.1", false, false, false},
              {"::1", false, false, false},
              {"fe80::", false, true, false},
              {"febf:ffff::", false, true, false},
              {"fec0::", false, false, false},
              {"fe7f::", false, false, false},
              {"169.254.1.1", false, false, false},
              {"223.255.255.255", false, false, false},
              {"224.0.0.0", false, false, true},
              {"239.255.255.255", false, false, true},
              {"240.0.0.0", false, false, false},
              {"::ffff:224.0.0.1", false, false, true},
              {"feff::", false, false, false},
              {"ff01::1", false, false, true},
              {"ff02::1", false, true, true},
              {"ff0e::1", false, false, true}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct mb_addr addr = ip(rows[i].text, 1);
    tap_int(mb_addr_is_every(&addr), rows[i].every, "%s: every address", rows[i].text);
    tap_int(mb_addr_is_link_local(&addr), rows[i].link_local, "%s: link-local", rows[i].text);
    tap_int(mb_addr_is_multicast(&addr), rows[i].multicast, "%s: multicast", rows[i].text);
  }
  struct mb_addr un = local("/x", 3), same = un;
  tap_ok(!mb_addr_is_every(&un) && !mb_addr_is_link_local(&un) && !mb_addr_is_multicast(&un) &&
             mb_addr_scope(&un) == 0,
         "a Unix socket's address is none of these");
  mb_addr_set_port(&un, 80);
  tap_bytes(&un.local, un.len, &same.local, same.len, "and gets no port");
}

/* Two links may both have the same address. This connection came in on the interface lo, number 1. */
static void scopes(void) {
  static const struct {
    const char *host;
    enum mb_match want, want_elsewhere; /* on lo; on interface 2 */
  } rows[] = {
      {"fe80::1%lo", MB_MATCH_YES, MB_MATCH_NO},  {"fe80::1%1", MB_MATCH_YES, MB_MATCH_NO},
      {"fe80::1%2", MB_MATCH_NO, MB_MATCH_YES},   {"fe80::1", MB_MATCH_YES, MB_MATCH_YES},
      {"::", MB_MATCH_YES, MB_MATCH_YES},         {"FE80:0::1%lo", MB_MATCH_YES, MB_MATCH_NO},
      {"fe80::2%lo", MB_MATCH_NO, MB_MATCH_NO},   {"fe80::1%mb-none", MB_MATCH_NO, MB_MATCH_NO},
      {"fe80::1%", MB_MATCH_NO, MB_MATCH_NO},     {"::1%lo", MB_MATCH_NO, MB_MATCH_NO},
      {"127.0.0.1%lo", MB_MATCH_NO, MB_MATCH_NO}, {"fe80::1%0", MB_MATCH_NO, MB_MATCH_NO},
  };
  struct mb_addr here = ip("fe80::1", 1), elsewhere = here, nowhere = here, wanted;
  ((struct sockaddr_in6 *)&here.storage)->sin6_scope_id = 1;
  ((struct sockaddr_in6 *)&elsewhere.storage)->sin6_scope_id = 2;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    tap_int(mb_match_host(rows[i].host, &here, -1), rows[i].want, "host %s and fe80::1%%lo",
            rows[i].host);
    tap_int(mb_match_host(rows[i].host, &elsewhere, -1), rows[i].want_elsewhere,
            "host %s and fe80::1 on another interface", rows[i].host);
  }
  tap_int(mb_match_host("fe80::1%lo", &nowhere, -1), MB_MATCH_NO, "an address that lost its scope");
  /* A program that uses another library gets the address that it binds to from getaddrinfo. */
  if (mb_addr_from_text("fe80::1%lo", -1, &wanted) != 0) tap_bail("no interface lo");
  tap_ok(mb_match_address(&wanted, &here), "an address with a scope is the same with that scope");
  tap_ok(!mb_match_address(&wanted, &elsewhere), "and not with another");
  tap_ok(mb_match_address(&nowhere, &elsewhere), "one without a scope is the same with any");
  tap_ok(mb_match_name("fe80::1%lo", &here) && !mb_match_name("fe80::1%lo", &elsewhere),
         "scopes that getaddrinfo has found count too");

  /* The same with a socket, whose network is the one to look in. */
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  tap_int(mb_match_host("fe80::1%lo", &here, fd), MB_MATCH_YES, "a name in a socket's network");
  tap_int(mb_match_host("fe80::1%lo", &elsewhere, fd), MB_MATCH_NO, "and the other interface");
  tap_int(mb_match_host("fe80::1%1", &here, fd), MB_MATCH_YES, "a number there");
  tap_int(mb_addr_from_text("fe80::1%mb-none", fd, &wanted), -ENODEV, "no such interface there");
  close(fd);
  tap_int(mb_addr_from_text("fe80::1%lo", fd, &wanted), -EBADF, "no socket to ask at");
  tap_int(mb_addr_from_text("fe80::1%1", fd, &wanted), -EBADF, "nor for a name of digits");
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
    tap_int(mb_match_host(rows[i].host, &addr, -1), rows[i].want, "host %s and a connection to %s",
            rows[i].host, rows[i].local);
  }
  struct mb_addr loopback = ip("127.0.0.1", 1), mapped = ip("::ffff:127.0.0.1", 1),
                 other = ip("192.0.2.1", 1);
  tap_ok(mb_match_name("localhost", &loopback), "localhost is 127.0.0.1");
  tap_ok(mb_match_name("localhost", &mapped), "also when it is mapped");
  tap_ok(!mb_match_name("localhost", &other), "and no other address");
  tap_ok(!mb_match_name("no such name.invalid", &loopback),
         "a name that nobody has matches nothing");
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
  from_text();
  kinds();
  hosts();
  scopes();
  paths();
  return tap_done();
}
