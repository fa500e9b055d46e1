/* src/base/proxy_trust.c: lists of networks, right and wrong, and who is in them. */
#include "base/proxy_trust.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "../../lib/tap.h"

static struct mb_addr ip(const char *text) {
  struct mb_addr addr = {.len = 0};
  struct sockaddr_in *in = (struct sockaddr_in *)&addr.storage;
  struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&addr.storage;
  if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
    in->sin_family = AF_INET;
    addr.len = sizeof *in;
  } else if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
    in6->sin6_family = AF_INET6;
    addr.len = sizeof *in6;
  } else {
    tap_bail("not an address");
  }
  return addr;
}

static void holds(const char *list, const char *address, bool wanted) {
  struct mb_addr addr = ip(address);
  tap_ok(mb_trust_contains(list, &addr) == wanted, "%s is %s %s", address, wanted ? "in" : "not in",
         list ? list : "(no list)");
}

static void wrong_from(const char *list, const char *rest) {
  tap_str(mb_trust_find_wrong(list), rest, "what is wrong in \"%s\"", list);
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
  holds(NULL, "127.0.0.1", true);
  holds(NULL, "127.255.255.255", true);
  holds(NULL, "::1", true);
  holds(NULL, "::ffff:127.0.0.1", true);
  holds(NULL, "192.0.2.1", false);
  holds(NULL, "::2", false);
  const struct mb_addr unix_peer = {.local.sun_family = AF_UNIX, .len = sizeof(sa_family_t)};
  tap_ok(mb_trust_contains("192.0.2.1", &unix_peer), "the peer of a Unix socket is trusted");
  const struct mb_addr nobody = {.len = 0};
  tap_ok(!mb_trust_contains("0.0.0.0/0", &nobody), "nobody is not");

  wrong_from("10.0.0.0/8", NULL);
  wrong_from("10.0.0.0/8,::1,192.0.2.0/24", NULL);
  wrong_from("0.0.0.0/0,::/0,::/128", NULL);
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
  return tap_done();
}
