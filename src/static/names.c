/*
 * The C library's functions about names, in a program that may not load its name services: what is defined here takes
 * their place when mb-handle-static is linked. What is numeric is answered at once (numeric.h), the rest by a process
 * of mb-handle (shared.h). They take and return what the manual says, section 3; a failure to ask is EAI_SYSTEM with
 * errno, NETDB_INTERNAL with errno, or no entry.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "static/numeric.h"
#include "static/shared.h"

/* Of a name the log shows 200 bytes. */
#define ABOUT_SIZE 256

/* Reads the three numbers that an answer begins with. Returns the first; sets errno and h_errno as the others say. */
static int read_code(struct mb_names_record *answer) {
  int code = mb_names_get_number(answer), error = mb_names_get_number(answer);
  int host_error = mb_names_get_number(answer);
  errno = error;
  h_errno = host_error;
  return code;
}

/* ---- getaddrinfo ---- */

/* Reads the addresses of an answer. Returns 0 or an error of getaddrinfo. */
static int read_list(struct mb_names_record *answer, struct addrinfo **ret) {
  struct addrinfo *list = NULL, **end = &list;
  /* Each address has six numbers or sizes at least. */
  size_t count = mb_names_get_count(answer, 6 * sizeof(int));
  for (size_t i = 0; i < count; i++) {
    size_t size;
    struct addrinfo like = {.ai_flags = mb_names_get_number(answer)};
    like.ai_family = mb_names_get_number(answer);
    like.ai_socktype = mb_names_get_number(answer);
    like.ai_protocol = mb_names_get_number(answer);
    const void *bytes = mb_names_get_bytes(answer, &size);
    const char *canonical = mb_names_get_text(answer);
    if (answer->has_failed) break;
    /* Whoever reads it looks at as many bytes as the family has. */
    size_t least =
        like.ai_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    *end = size == least ? mb_numeric_entry(&like, bytes, size, canonical) : NULL;
    if (!*end) {
      mb_numeric_free(list);
      if (size == least) return EAI_MEMORY;
      errno = EPROTO;
      return EAI_SYSTEM;
    }
    end = &(*end)->ai_next;
  }
  if (mb_names_is_complete(answer) && list) {
    *ret = list;
    return 0;
  }
  mb_numeric_free(list);
  errno = EPROTO;
  return EAI_SYSTEM;
}

/* Writes what is looked up, for the log. */
static void describe(const char *host, const char *service, char ret_text[ABOUT_SIZE]) {
  if (host) {
    snprintf(ret_text, ABOUT_SIZE, "\"%.200s\"", host);
  } else {
    snprintf(ret_text, ABOUT_SIZE, "the service \"%.200s\"", service ? service : "");
  }
}

/* Returns whether a text is longer than any name: nobody needs to be asked. */
static bool is_too_long(const char *text) { return text && strlen(text) >= NI_MAXHOST; }

static int ask_addrinfo(const char *host, const char *service, const struct addrinfo *hints,
                        struct addrinfo **ret) {
  static const struct addrinfo usual = {.ai_flags = AI_V4MAPPED | AI_ADDRCONFIG};
  struct mb_names_record request = {0}, answer;
  char about[ABOUT_SIZE];
  if (!hints) hints = &usual;
  if (is_too_long(host)) return EAI_NONAME;
  if (is_too_long(service)) return EAI_SERVICE;
  describe(host, service, about);
  mb_names_begin(&request, MB_NAMES_ADDRINFO);
  mb_names_put_text(&request, host);
  mb_names_put_text(&request, service);
  mb_names_put_number(&request, hints->ai_flags);
  mb_names_put_number(&request, hints->ai_family);
  mb_names_put_number(&request, hints->ai_socktype);
  mb_names_put_number(&request, hints->ai_protocol);
  if (mb_shared_ask(&request, about, &answer) < 0) return EAI_SYSTEM;
  int code = read_code(&answer);
  if (code == 0) code = read_list(&answer, ret);
  int error = errno;
  mb_names_free(&answer);
  errno = error;
  return code;
}

int getaddrinfo(const char *restrict host, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict ret) {
  int code = mb_numeric_addrinfo(host, service, hints, ret);
  return code == MB_NUMERIC_NOT ? ask_addrinfo(host, service, hints, ret) : code;
}

void freeaddrinfo(struct addrinfo *list) { mb_numeric_free(list); }

/* ---- getnameinfo ---- */

/* Copies a text of an answer, where it is wanted. Returns 0 or an error of getaddrinfo. */
static int copy_text(const char *text, char *to, socklen_t size) {
  if (!to || size == 0) return 0;
  if (!text) {
    errno = EPROTO;
    return EAI_SYSTEM;
  }
  size_t len = strlen(text);
  if (len >= size) return EAI_OVERFLOW;
  memcpy(to, text, len + 1);
  return 0;
}

static int ask_nameinfo(const struct sockaddr *address, socklen_t len, char *host,
                        socklen_t host_size, char *service, socklen_t service_size, int flags) {
  struct mb_names_record request = {0}, answer;
  char about[NI_MAXHOST] = "the name of an address";
  mb_numeric_nameinfo(address, len, about, sizeof about, NULL, 0, NI_NUMERICHOST);
  mb_names_begin(&request, MB_NAMES_NAMEINFO);
  mb_names_put_bytes(&request, address, len);
  mb_names_put_number(&request, host && host_size > 0);
  mb_names_put_number(&request, service && service_size > 0);
  mb_names_put_number(&request, flags);
  if (mb_shared_ask(&request, about, &answer) < 0) return EAI_SYSTEM;
  int code = read_code(&answer);
  if (code == 0) {
    const char *its_host = mb_names_get_text(&answer), *its_service = mb_names_get_text(&answer);
    code = copy_text(its_host, host, host_size);
    if (code == 0) code = copy_text(its_service, service, service_size);
  }
  int error = errno;
  mb_names_free(&answer);
  errno = error;
  return code;
}

int getnameinfo(const struct sockaddr *restrict address, socklen_t len, char *restrict host,
                socklen_t host_size, char *restrict service, socklen_t service_size, int flags) {
  int code = mb_numeric_nameinfo(address, len, host, host_size, service, service_size, flags);
  if (code != MB_NUMERIC_NOT) return code;
  return ask_nameinfo(address, len, host, host_size, service, service_size, flags);
}

/* ---- gethostbyname, getprotobyname and their like, which return memory that the next call uses again ---- */

struct entry {
  struct mb_names_record answer; /* the texts and addresses are in it */
  char **pointers;
};

static void clear(struct entry *e) {
  mb_names_free(&e->answer);
  free(e->pointers);
  e->pointers = NULL;
}

/* Asks for an entry. Returns 0; what the other side's function has returned; or -errno, with errno. */
static int ask_entry(struct entry *e, struct mb_names_record *request, const char *about) {
  clear(e);
  int r = mb_shared_ask(request, about, &e->answer);
  return r < 0 ? r : read_code(&e->answer);
}

/*
 * Reads a number of texts, or of addresses of a size, behind `more` pointers that are there. Returns the first of the
 * new pointers, with NULL behind the last; or NULL.
 */
static char **read_pointers(struct entry *e, size_t more, size_t size) {
  size_t count = mb_names_get_count(&e->answer, sizeof(int));
  char **pointers =
      e->answer.has_failed ? NULL : realloc(e->pointers, (more + count + 1) * sizeof *pointers);
  if (!pointers) return NULL;
  e->pointers = pointers;
  pointers += more;
  for (size_t i = 0; i < count; i++) {
    size_t its_size;
    const void *at = size ? mb_names_get_bytes(&e->answer, &its_size)
                          : (const void *)mb_names_get_text(&e->answer);
    if (!at || (size && its_size != size)) return NULL;
    pointers[i] = (char *)(uintptr_t)at;
  }
  pointers[count] = NULL;
  return pointers;
}

static size_t count_pointers(char *const *pointers) {
  size_t count = 0;
  while (pointers[count]) count++;
  return count;
}

static struct entry of_host, of_protocol;

static struct hostent *no_host(int host_error, int error) {
  clear(&of_host);
  h_errno = host_error;
  errno = error;
  return NULL;
}

static struct hostent *ask_host(struct mb_names_record *request, const char *about) {
  static struct hostent host;
  struct entry *e = &of_host;
  int code = ask_entry(e, request, about);
  if (code < 0) return no_host(NETDB_INTERNAL, errno);
  if (code > 0) return no_host(code, errno);
  host.h_name = (char *)(uintptr_t)mb_names_get_text(&e->answer);
  char **aliases = read_pointers(e, 0, 0);
  if (!aliases) return no_host(NETDB_INTERNAL, EPROTO);
  size_t count = count_pointers(aliases);
  host.h_addrtype = mb_names_get_number(&e->answer);
  host.h_length = mb_names_get_number(&e->answer);
  int length = host.h_addrtype == AF_INET ? 4 : 16;
  char **addresses = host.h_length == length ? read_pointers(e, count + 1, (size_t)length) : NULL;
  if (!host.h_name || !addresses || !mb_names_is_complete(&e->answer))
    return no_host(NETDB_INTERNAL, EPROTO);
  host.h_aliases = e->pointers;
  host.h_addr_list = e->pointers + count + 1;
  return &host;
}

struct hostent *gethostbyname(const char *name) {
  struct mb_names_record request = {0};
  char about[ABOUT_SIZE];
  if (is_too_long(name)) return no_host(HOST_NOT_FOUND, 0);
  describe(name, NULL, about);
  mb_names_begin(&request, MB_NAMES_HOST);
  mb_names_put_text(&request, name);
  return ask_host(&request, about);
}

struct hostent *gethostbyaddr(const void *address, socklen_t len, int family) {
  struct mb_names_record request = {0};
  char about[INET6_ADDRSTRLEN] = "";
  if ((family != AF_INET || len < 4) && (family != AF_INET6 || len < 16))
    return no_host(NETDB_INTERNAL, EAFNOSUPPORT);
  inet_ntop(family, address, about, sizeof about);
  mb_names_begin(&request, MB_NAMES_HOST_OF);
  mb_names_put_bytes(&request, address, family == AF_INET ? 4 : 16);
  mb_names_put_number(&request, family);
  return ask_host(&request, about);
}

static struct protoent *ask_protocol(struct mb_names_record *request, const char *about) {
  static struct protoent protocol;
  struct entry *e = &of_protocol;
  if (ask_entry(e, request, about) != 0) return NULL;
  protocol.p_name = (char *)(uintptr_t)mb_names_get_text(&e->answer);
  protocol.p_aliases = read_pointers(e, 0, 0);
  protocol.p_proto = mb_names_get_number(&e->answer);
  bool is_right = protocol.p_name && protocol.p_aliases && mb_names_is_complete(&e->answer);
  return is_right ? &protocol : NULL;
}

struct protoent *getprotobyname(const char *name) {
  struct mb_names_record request = {0};
  char about[ABOUT_SIZE];
  if (is_too_long(name)) return NULL;
  snprintf(about, sizeof about, "the protocol \"%.200s\"", name);
  mb_names_begin(&request, MB_NAMES_PROTOCOL);
  mb_names_put_text(&request, name);
  return ask_protocol(&request, about);
}

struct protoent *getprotobynumber(int number) {
  struct mb_names_record request = {0};
  char about[ABOUT_SIZE];
  snprintf(about, sizeof about, "the protocol %d", number);
  mb_names_begin(&request, MB_NAMES_PROTOCOL_OF);
  mb_names_put_number(&request, number);
  return ask_protocol(&request, about);
}
