/*
 * Fuzz harness for src/base/proxy_header.c. The addresses of a header that was accepted are written as a
 * header again, and read as the same. A decision comes at the last byte that it needs, not before, and more
 * bytes do not change it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/proxy_header.h"
#include "fuzz.h"

static int parse(struct mb_span span, struct mb_proxy_header *header) {
  const char *wrong = NULL;
  char *copy = fuzz_copy(span);
  memset(header, 0, sizeof *header);
  int taken = mb_proxy_header_parse(copy, span.size, header, &wrong);
  CHECK((taken < 0) == (wrong != NULL), "an error has its reason, and nothing else has");
  CHECK(taken >= 0 || taken == -EPROTO || taken == -EBADMSG, "error %d", taken);
  CHECK(taken <= 0 || (size_t)taken <= span.size, "%d bytes taken of %zu", taken, span.size);
  CHECK(taken <= MB_PROXY_HEADER_MAX, "%d bytes are a header", taken);
  CHECK(taken != 0 || span.size < MB_PROXY_HEADER_MAX, "undecided after %zu bytes", span.size);
  free(copy);
  return taken;
}

/* ---- written anew ---- */

static void add_addr(struct fuzz_text *text, const struct mb_addr *addr) {
  char ip[INET6_ADDRSTRLEN], path[sizeof addr->local.sun_path + 1];
  if (addr->any.sa_family == AF_UNIX) {
    mb_addr_path(addr, path);
    fuzz_addf(text, " unix:%s", path);
    return;
  }
  const void *bytes = addr->any.sa_family == AF_INET
                          ? (const void *)&((const struct sockaddr_in *)&addr->storage)->sin_addr
                          : (const void *)&((const struct sockaddr_in6 *)&addr->storage)->sin6_addr;
  CHECK(inet_ntop(addr->any.sa_family, bytes, ip, sizeof ip), "an address is one");
  fuzz_addf(text, " %s", ip);
}

/*
 * Writes a line of version 1 with the same addresses, and checks that they are read from it. Their families
 * may differ: the protocol is the client's, as nginx writes it, or that of the input.
 */
static void check_v1(struct mb_span span, const struct mb_proxy_header *header) {
  int family = header->source.any.sa_family, other = header->destination.any.sa_family;
  int protocol = span.data[9] == '4' ? AF_INET : AF_INET6;
  CHECK(family == AF_INET || family == AF_INET6, "family %d", family);
  CHECK(other == AF_INET || other == AF_INET6 || other == AF_UNIX, "family %d", other);
  CHECK(family == protocol || other == protocol, "the protocol is that of one of them");
  struct fuzz_text text = FUZZ_TEXT_INIT;
  struct mb_proxy_header again;
  fuzz_addf(&text, "PROXY TCP%d", family == AF_INET ? 4 : 6);
  add_addr(&text, &header->source);
  add_addr(&text, &header->destination);
  fuzz_addf(&text, " %u %u\r\n", mb_addr_port(&header->source), mb_addr_port(&header->destination));
  struct mb_span line = fuzz_text_span(&text);
  CHECK(parse(line, &again) == (int)line.size, "the line is one: %.*s", (int)line.size, line.data);
  CHECK(memcmp(&header->source.storage, &again.source.storage, header->source.len) == 0, "source");
  CHECK(memcmp(&header->destination.storage, &again.destination.storage, header->destination.len) ==
            0,
        "destination");
  fuzz_text_free(&text);
}

static void put_ip(unsigned char *at, const struct mb_addr *addr, size_t ip_at, size_t port_at) {
  if (addr->any.sa_family == AF_INET) {
    const struct sockaddr_in *in = (const struct sockaddr_in *)&addr->storage;
    memcpy(at + ip_at, &in->sin_addr, 4);
    memcpy(at + port_at, &in->sin_port, 2);
  } else {
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&addr->storage;
    memcpy(at + ip_at, &in6->sin6_addr, 16);
    memcpy(at + port_at, &in6->sin6_port, 2);
  }
}

/* Checks that the addresses stand in the header as they were read. */
static void check_v2(struct mb_span span, const struct mb_proxy_header *header) {
  unsigned char bytes[216] = {0};
  size_t size;
  switch (header->source.any.sa_family) {
    case AF_INET:
      size = 12;
      put_ip(bytes, &header->source, 0, 8);
      put_ip(bytes, &header->destination, 4, 10);
      break;
    case AF_INET6:
      size = 36;
      put_ip(bytes, &header->source, 0, 32);
      put_ip(bytes, &header->destination, 16, 34);
      break;
    default: {
      size = 216;
      /* Bytes behind the NUL of a name are not read. */
      const struct mb_addr *ends[] = {&header->source, &header->destination};
      for (int i = 0; i < 2; i++) {
        size_t len = ends[i]->len - offsetof(struct sockaddr_un, sun_path);
        const char *given = span.data + 16 + 108 * i;
        CHECK(memcmp(given, ends[i]->local.sun_path, len) == 0, "a path as it stands there");
        CHECK(len == 108 || given[len] == '\0', "and it ends there");
      }
      return;
    }
  }
  CHECK(span.size >= 16 + size && memcmp(span.data + 16, bytes, size) == 0,
        "the bytes are the same");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct mb_span input = fuzz_input(data, size);
  struct mb_proxy_header header, other;
  int taken = parse(input, &header);
  size_t most = input.size < 600 ? input.size : 600;
  for (size_t part = 0; part < most; part++) {
    int early = parse((struct mb_span){input.data, part}, &other);
    CHECK(early == 0 || early == taken || (early < 0 && taken < 0), "%zu bytes are %d, all are %d",
          part, early, taken);
    CHECK(early <= 0 || part == (size_t)early || part > (size_t)early, "decided too early");
  }
  if (taken > 0 && header.has_addresses) {
    if (input.data[0] == 'P') {
      check_v1(input, &header);
    } else {
      check_v2(input, &header);
    }
  }
  fuzz_input_free(input);
  return 0;
}
