/* src/base/proxy_trust.c: right and wrong lists of networks, and the addresses that are in them. */
#include "base/proxy_trust.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../lib/tap.h"

static struct mb_addr ip(const char *text) {
  struct mb_addr addr;
  if (mb_addr_from_text(text, -1, &addr) != 0) tap_bail("not an address");
  return addr;
}

static void holds(const char *list, const char *address, bool wanted) {
  struct mb_addr addr = ip(address);
  tap_ok(mb_trust_contains(list, &addr, -1) == wanted, "%s is %s %s", address,
         wanted ? "in" : "not in", list ? list : "(no list)");
}

static void wrong_from(const char *list, const char *rest) {
  tap_str(mb_trust_find_wrong(list), rest, "what is wrong in \"%s\"", list);
}

static struct mb_addr path_of(const char *path) {
  struct mb_addr addr;
  if (mb_addr_from_path(path, &addr) != 0) tap_bail("not a path");
  return addr;
}

static void is_open(const char *path, bool wanted, const char *what) {
  struct mb_addr addr = path_of(path);
  tap_ok(mb_trust_is_open(&addr) == wanted, "%s: everybody %s connect", what,
         wanted ? "may" : "may not");
}

/* A socket in a directory of its own, with all permissions that matter. */
static void who_may_connect(void) {
  char dir[] = "/tmp/mb-trust-XXXXXX", path[64], link[64], through[64];
  if (!mkdtemp(dir)) tap_bail("no directory");
  snprintf(path, sizeof path, "%s/s.sock", dir);
  snprintf(link, sizeof link, "%s/link", dir);
  snprintf(through, sizeof through, "%s/link/s.sock", dir);
  struct mb_addr addr = path_of(path);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (bind(fd, &addr.any, addr.len) != 0 || symlink(".", link) != 0) tap_bail("no socket");

  chmod(path, 0666);
  is_open(path, false, "0666 in a directory of 0700");
  chmod(dir, 0711);
  is_open(path, true, "0666 in a directory of 0711");
  is_open(through, true, "the same through a link");
  chmod(dir, 0754);
  is_open(path, false, "0666 in a directory of 0754");
  is_open(through, false, "the same through a link");
  chmod(dir, 0711);
  chmod(path, 0660);
  is_open(path, false, "0660");
  chmod(path, 0664);
  is_open(path, false, "0664: who may read may not connect");
  chmod(path, 0602);
  is_open(path, true, "0602");
  if (chdir(dir) != 0) tap_bail("no way into the directory");
  chmod(path, 0660);
  is_open("s.sock", true, "nobody knows where a relative path begins");
  if (chdir("/") != 0) tap_bail("no way back");
  unlink(path);
  is_open(path, true, "a file that is gone");
  FILE *file = fopen(path, "w");
  fclose(file);
  is_open(path, true, "a file that is no socket");
  is_open("@mb-trust", true, "an abstract socket");
  const struct mb_addr unnamed = {.local.sun_family = AF_UNIX, .len = sizeof(sa_family_t)};
  tap_ok(!mb_trust_is_open(&unnamed), "nobody can connect to a socket without a name");

  close(fd);
  unlink(path);
  unlink(link);
  rmdir(dir);
}

int main(void) {
  holds("10.0.0.0/8", "10.255.0.1", true);
  holds("10.0.0.0/8", "11.0.0.1", false);
  holds("10.0.0.0/8", "::ffff:10.1.1.1", true);
  holds("192.0.2.128/25", "192.0.2.127", false);
  holds("192.0.2.128/25", "192.0.2.128", true);
  holds("192.0.2.128/31", "192.0.2.129", true);
  holds("192.0.2.128/31", "192.0.2.130", false);
  holds("192.0.2.1", "192.0.2.1", true);
  holds("192.0.2.1", "192.0.2.2", false);
  holds("192.0.2.1/32", "192.0.2.1", true);
  holds("0.0.0.0/0", "203.0.113.9", true);
  holds("0.0.0.0/0", "2001:db8::1", false);
  holds("::/0", "2001:db8::1", true);
  holds("::/0", "203.0.113.9", false);
  holds("2001:db8::/33", "2001:db8:7fff::", true);
  holds("2001:db8::/33", "2001:db8:8000::", false);
  holds("192.0.2.1,2001:db8::1,10.0.0.0/8", "10.2.3.4", true);
  holds("192.0.2.1,2001:db8::1,10.0.0.0/8", "2001:db8::1", true);
  holds("192.0.2.1,2001:db8::1,10.0.0.0/8", "2001:db8::2", false);
  holds("fe80::1%lo", "fe80::1%lo", true);
  holds("fe80::1%1", "fe80::1%lo", true);
  holds("fe80::1%lo", "fe80::1%2", false);
  holds("fe80::1%lo", "fe80::1", false);
  holds("fe80::1%lo", "fe80::2%lo", false);
  holds("fe80::1", "fe80::1%2", true);
  holds("fe80::%lo/64", "fe80::abcd%lo", true);
  holds("fe80::%lo/64", "fe80:0:0:1::%lo", false);
  holds("fe80::%lo/64", "fe80::abcd%2", false);
  holds("fe80::/10", "fe80::abcd%2", true);
  holds("fe80::%lo/0", "::1", false);
  holds("fe80::%mb-none/10", "fe80::1", false);
  holds("fe80::%mb-none/10", "fe80::1%lo", false);
  holds("fe80::%mb-none/10,fe80::1%2", "fe80::1%2", true);
  holds(NULL, "127.0.0.1", true);
  holds(NULL, "127.255.255.255", true);
  holds(NULL, "::1", true);
  holds(NULL, "::ffff:127.0.0.1", true);
  holds(NULL, "192.0.2.1", false);
  holds(NULL, "::2", false);
  const struct mb_addr unix_peer = {.local.sun_family = AF_UNIX, .len = sizeof(sa_family_t)};
  tap_ok(!mb_trust_contains(NULL, &unix_peer, -1), "the peer of a Unix socket is in no list");
  tap_ok(!mb_trust_contains("0.0.0.0/0,::/0", &unix_peer, -1), "nor in one of networks");
  tap_ok(mb_trust_contains("192.0.2.1,unix:", &unix_peer, -1), "but in one with unix:");
  holds("unix:", "127.0.0.1", false);
  holds("unix:,127.0.0.1", "127.0.0.1", true);
  const struct mb_addr nobody = {.len = 0};
  tap_ok(!mb_trust_contains("0.0.0.0/0", &nobody, -1), "nobody is not");

  wrong_from("10.0.0.0/8", NULL);
  wrong_from("10.0.0.0/8,::1,192.0.2.0/24", NULL);
  wrong_from("0.0.0.0/0,::/0,::/128", NULL);
  wrong_from("fe80::1%lo,fe80::%1/10,fe80::1%mb-none", NULL);
  wrong_from("fe80::1111:2222:3333:4444%15-bytes-is-max/128", NULL);
  wrong_from("fe80::/10%lo", "fe80::/10%lo");
  wrong_from("fe80::1%0", "fe80::1%0");
  wrong_from("fe80::1%lo/64", "fe80::1%lo/64");
  wrong_from("fe80::1%", "fe80::1%");
  wrong_from("fe80::1%mb-none/64", "fe80::1%mb-none/64");
  wrong_from("::1%lo", "::1%lo");
  wrong_from("::%lo/0", "::%lo/0");
  wrong_from("127.0.0.1%lo", "127.0.0.1%lo");
  wrong_from("10.0.0.0%lo/8", "10.0.0.0%lo/8");
  wrong_from("::ffff:127.0.0.1%lo", "::ffff:127.0.0.1%lo");
  wrong_from("fe80::1%16-bytes-are-not", "fe80::1%16-bytes-are-not");
  wrong_from("unix:,10.0.0.0/8,unix:", NULL);
  wrong_from("unix:/run/x.sock", "unix:/run/x.sock");
  wrong_from("::1,unix", "unix");
  wrong_from("", "");
  wrong_from(",", ",");
  wrong_from("::1,", "");
  wrong_from("::1,,::2", ",::2");
  wrong_from("10.0.0.1/8", "10.0.0.1/8");
  wrong_from("::1,10.0.0.0/33", "10.0.0.0/33");
  wrong_from("::/129", "::/129");
  wrong_from("10.0.0.0/", "10.0.0.0/");
  wrong_from("10.0.0.0/08", "10.0.0.0/08");
  wrong_from("10.0.0.0/8x", "10.0.0.0/8x");
  wrong_from("10.0.0.0/-8", "10.0.0.0/-8");
  wrong_from("10.0.0.0/4294967304", "10.0.0.0/4294967304");
  wrong_from("10/8", "10/8");
  wrong_from("localhost", "localhost");
  wrong_from("::ffff:127.0.0.1", "::ffff:127.0.0.1");
  wrong_from("::ffff:127.0.0.0/104", "::ffff:127.0.0.0/104");
  wrong_from("10.0.0.0/8, ::1", " ::1");
  wrong_from("0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/1",
             "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/1");
  tap_ok(mb_trust_is_network("10.0.0.0/8"), "one network is one");
  tap_ok(!mb_trust_is_network("10.0.0.0/8,::1"), "two are not one");
  tap_ok(!mb_trust_is_network(""), "nor is none");
  who_may_connect();
  return tap_done();
}
