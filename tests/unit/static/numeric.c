/*
 * src/static/numeric.c against the C library's getaddrinfo() and getnameinfo(): hosts, services, flags, families, socket
 * types and protocols in all combinations. What is not numeric asks nobody here.
 */
#include "static/numeric.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../lib/tap.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const char *const hosts[] = {
    NULL,
    "*",
    "",
    "127.0.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "256.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "4294967296",
    "0x7f.1",
    "0x7f000001",
    "017700000001",
    "0177.0.0.1",
    "08.0.0.1",
    "1.2.3.4.",
    "1.2.3.4.5",
    "1.2.3.4 ",
    " 1.2.3.4",
    "1.2.3.4\t",
    "1.2.3.4x",
    "1..2",
    "1.2.3.0x100",
    "1.65536.3",
    "::",
    "::1",
    "::ffff:192.0.2.1",
    "::192.0.2.1",
    "::ffff:1.2.3",
    "2001:db8::1",
    "2001:DB8:0:0:0:0:0:1",
    "2001:db8::1::2",
    "1:2:3:4:5:6:7:8",
    "1:2:3:4:5:6:7:8:9",
    "12345::1",
    "[::1]",
    "fe80::1",
    "fe80::1%lo",
    "fe80::1%1",
    "fe80::1%0",
    "fe80::1%4294967295",
    "fe80::1%4294967296",
    "fe80::1%no-such-interface",
    "fe80::1%",
    "fe80::1%1x",
    "fe80::1%+1",
    "fe80::1% 1",
    "ff02::1%lo",
    "ff05::1%lo",
    "ff05::1%3",
    "2001:db8::1%lo",
    "2001:db8::1%2",
    "::1%lo",
    "::1%1",
    "::ffff:192.0.2.1%1",
    "127.0.0.1%lo",
    "127.0.0.1%1",
    "%lo",
    "%",
    "no-number",
    "a.b.c.d",
    "fe80::1%lo%lo",
    "0000:0000:0000:0000:0000:0000:255.255.255.255",
    "0000:0000:0000:0000:0000:0000:255.255.255.2555",
    "1111111111111111111111111111111111111111111111111111111111111111111111111111",
};

static const char *const services[] = {
    NULL,
    "",
    "*",
    "0",
    "80",
    "65535",
    "65536",
    "99999",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "-1",
    "-65456",
    "+80",
    " 80",
    "80 ",
    "0x50",
    "080",
    "no-such-service",
    "18446744073709551616",
};

static const int flag_bits[] = {0,
                                AI_PASSIVE,
                                AI_CANONNAME,
                                AI_NUMERICHOST,
                                AI_NUMERICSERV,
                                AI_V4MAPPED,
                                AI_ALL | AI_V4MAPPED,
                                AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
                                AI_CANONNAME | AI_NUMERICHOST | AI_NUMERICSERV,
                                AI_NUMERICHOST | AI_NUMERICSERV | AI_V4MAPPED | AI_CANONNAME,
                                AI_NUMERICHOST | AI_NUMERICSERV | 0x100 | 0x200,
                                0x800,
                                0x1000,
                                1 << 30,
                                AI_ADDRCONFIG | AI_NUMERICHOST,
                                AI_IDN};
static const int families[] = {AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX, 99};
static const struct {
  int type, protocol;
} kinds[] = {{0, 0},
             {SOCK_STREAM, 0},
             {SOCK_DGRAM, 0},
             {SOCK_RAW, 0},
             {SOCK_SEQPACKET, 0},
             {SOCK_DCCP, 0},
             {SOCK_RDM, 0},
             {77, 0},
             {0, IPPROTO_TCP},
             {0, IPPROTO_UDP},
             {0, IPPROTO_ICMP},
             {0, 250},
             {SOCK_STREAM, IPPROTO_UDP},
             {SOCK_STREAM, IPPROTO_SCTP},
             {SOCK_DGRAM, IPPROTO_UDPLITE},
             {SOCK_RAW, IPPROTO_TCP},
             {SOCK_STREAM, 250}};

#define TEXT_MAX 4096

static void write_list(int code, const struct addrinfo *list, char text[TEXT_MAX]) {
  int at = snprintf(text, TEXT_MAX, "%d", code);
  for (const struct addrinfo *a = code == 0 ? list : NULL; a && at < TEXT_MAX - 200;
       a = a->ai_next) {
    at += snprintf(text + at, TEXT_MAX - (size_t)at, " {%x %d %d %d %s ", (unsigned)a->ai_flags,
                   a->ai_family, a->ai_socktype, a->ai_protocol,
                   a->ai_canonname ? a->ai_canonname : "-");
    for (socklen_t i = 0; i < a->ai_addrlen; i++)
      at += snprintf(text + at, TEXT_MAX - (size_t)at, "%02x",
                     ((const unsigned char *)a->ai_addr)[i]);
    at += snprintf(text + at, TEXT_MAX - (size_t)at, "}");
  }
}

static int compared, left_out;

/* Compares one call. Returns whether both have answered the same; else shows what they have answered. */
static bool is_same(const char *host, const char *service, const struct addrinfo *hints) {
  struct addrinfo *list = NULL;
  char ours[TEXT_MAX], theirs[TEXT_MAX];
  int code = mb_numeric_addrinfo(host, service, hints, &list);
  if (code == MB_NUMERIC_NOT) {
    left_out++;
    /* Numbers that were promised, and whose reading depends on nothing else, ask nobody. */
    bool are_numbers = (hints->ai_flags & AI_NUMERICHOST || !host || !*host) &&
                       (!service || strspn(service, "0123456789") == strlen(service));
    bool depends = hints->ai_flags & (AI_ADDRCONFIG | AI_IDN) || (host && !*host) ||
                   (service && strtoull(service, NULL, 10) > 2147483647);
    if (are_numbers && !depends) printf("# host %s, service %s: asks\n", host, service);
    return !are_numbers || depends;
  }
  compared++;
  write_list(code, list, ours);
  if (code == 0) mb_numeric_free(list);
  code = getaddrinfo(host, service, hints, &list);
  write_list(code, list, theirs);
  if (code == 0) freeaddrinfo(list);
  if (strcmp(ours, theirs) == 0) return true;
  printf(
      "# host %s, service %s, flags %x, family %d, type %d, protocol %d\n#   ours   %s\n#   theirs "
      "%s\n",
      host ? host : "NULL", service ? service : "NULL", (unsigned)hints->ai_flags, hints->ai_family,
      hints->ai_socktype, hints->ai_protocol, ours, theirs);
  return false;
}

static bool are_same(const char *host, const char *service) {
  int wrong = 0;
  for (size_t f = 0; f < COUNT(flag_bits); f++) {
    for (size_t a = 0; a < COUNT(families); a++) {
      for (size_t k = 0; k < COUNT(kinds); k++) {
        const struct addrinfo hints = {.ai_flags = flag_bits[f],
                                       .ai_family = families[a],
                                       .ai_socktype = kinds[k].type,
                                       .ai_protocol = kinds[k].protocol};
        if (!is_same(host, service, &hints) && ++wrong > 3) return false;
      }
    }
  }
  return wrong == 0;
}

static void lists(void) {
  unsigned step = tap_step(7);
  for (size_t h = 0; h < COUNT(hosts); h += step) {
    bool same = true;
    for (size_t s = 0; s < COUNT(services); s++) same = are_same(hosts[h], services[s]) && same;
    tap_ok(same, "getaddrinfo of the host %s", hosts[h] ? hosts[h] : "NULL");
  }
  tap_ok(compared > 5000, "%d calls were compared, %d ask a name service", compared, left_out);
}

/* ---- getnameinfo ---- */

static bool is_same_name(const struct sockaddr *address, socklen_t len, socklen_t host_size,
                         socklen_t service_size, int flags) {
  char ours[2][NI_MAXHOST] = {"", ""}, theirs[2][NI_MAXHOST] = {"", ""};
  int code = mb_numeric_nameinfo(address, len, ours[0], host_size, ours[1], service_size, flags);
  if (code == MB_NUMERIC_NOT) return true;
  int its_code = getnameinfo(address, len, theirs[0], host_size, theirs[1], service_size, flags);
  compared++;
  bool same = code == its_code &&
              (code != 0 || (strcmp(ours[0], theirs[0]) == 0 && strcmp(ours[1], theirs[1]) == 0));
  if (!same)
    printf("# sizes %u %u, len %u, flags %x: ours %d %s %s, theirs %d %s %s\n", host_size,
           service_size, len, (unsigned)flags, code, ours[0], ours[1], its_code, theirs[0],
           theirs[1]);
  return same;
}

static void names(void) {
  static const char *const addresses[] = {"127.0.0.1",
                                          "255.255.255.255",
                                          "::",
                                          "::1",
                                          "::ffff:192.0.2.1",
                                          "fe80::1",
                                          "fe80::1%1",
                                          "fe80::1%2147483647",
                                          "ff02::1%1",
                                          "ff02::1%77777",
                                          "2001:db8:1111:2222:3333:4444:5555:6666",
                                          "2001:db8::1%9"};
  static const int flags[] = {NI_NUMERICHOST,
                              NI_NUMERICSERV,
                              NI_NUMERICHOST | NI_NUMERICSERV,
                              NI_NUMERICHOST | NI_NUMERICSERV | NI_NAMEREQD,
                              NI_NUMERICHOST | NI_NUMERICSERV | NI_NOFQDN,
                              NI_NUMERICHOST | NI_NUMERICSERV | NI_DGRAM,
                              0};
  static const socklen_t sizes[] = {0, 1, 2, 3, 6, 9, 10, 16, 46, 47, NI_MAXHOST};
  compared = 0;
  for (size_t i = 0; i < COUNT(addresses); i++) {
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *list;
    if (mb_numeric_addrinfo(addresses[i], i % 2 ? "8" : "65535", &hints, &list) != 0)
      tap_bail("no address");
    bool same = true;
    for (size_t f = 0; f < COUNT(flags); f++) {
      for (size_t h = 0; h < COUNT(sizes); h++) {
        for (size_t s = 0; s < COUNT(sizes); s++)
          same =
              is_same_name(list->ai_addr, list->ai_addrlen, sizes[h], sizes[s], flags[f]) && same;
      }
      for (socklen_t len = 0; len <= list->ai_addrlen; len++)
        same = is_same_name(list->ai_addr, len, NI_MAXHOST, 32, flags[f]) && same;
    }
    tap_ok(same, "getnameinfo of %s", addresses[i]);
    mb_numeric_free(list);
  }
  struct sockaddr other = {.sa_family = AF_APPLETALK};
  tap_ok(is_same_name(&other, sizeof other, 100, 32, NI_NUMERICHOST),
         "getnameinfo of another family");
  tap_ok(compared > 1000, "%d calls were compared", compared);
}

/* Entries for the answers of mb-handle. */
static void entries(void) {
  static const char bytes[sizeof(struct sockaddr_storage) + 1];
  const struct addrinfo like = {.ai_family = AF_INET};
  tap_ok(!mb_numeric_entry(&like, bytes, sizeof bytes, NULL), "an address that is longer than any");
  struct addrinfo *entry = mb_numeric_entry(&like, bytes, 16, "name");
  tap_ok(entry && entry->ai_addrlen == 16 && strcmp(entry->ai_canonname, "name") == 0,
         "an entry with a name");
  mb_numeric_free(entry);
  mb_numeric_free(NULL);
}

int main(void) {
  lists();
  names();
  entries();
  return tap_done();
}
