/* Answers one request about names. Knows neither Lua nor the log. */
#include "base/names_answer.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/names_record.h"
#include "base/rare.h"

/* Begins an answer; errno and h_errno are those of the call before. */
static void begin(struct mb_names_record *answer, int code) {
  int error = errno, host_error = h_errno;
  mb_names_begin(answer, MB_NAMES_ANSWER);
  mb_names_put_number(answer, code);
  mb_names_put_number(answer, error);
  mb_names_put_number(answer, host_error);
}

static void answer_addrinfo(struct mb_names_record *request, struct mb_names_record *answer) {
  const char *host = mb_names_get_text(request), *service = mb_names_get_text(request);
  struct addrinfo hints = {0}, *list;
  hints.ai_flags = mb_names_get_number(request);
  hints.ai_family = mb_names_get_number(request);
  hints.ai_socktype = mb_names_get_number(request);
  hints.ai_protocol = mb_names_get_number(request);
  if (!mb_names_is_complete(request)) return;
  int code = MB_RARE(getaddrinfo)(host, service, &hints, &list), count = 0;
  begin(answer, code);
  if (code != 0) return;
  for (const struct addrinfo *a = list; a; a = a->ai_next) count++;
  mb_names_put_number(answer, count);
  for (const struct addrinfo *a = list; a; a = a->ai_next) {
    mb_names_put_number(answer, a->ai_flags);
    mb_names_put_number(answer, a->ai_family);
    mb_names_put_number(answer, a->ai_socktype);
    mb_names_put_number(answer, a->ai_protocol);
    mb_names_put_bytes(answer, a->ai_addr, a->ai_addrlen);
    mb_names_put_text(answer, a->ai_canonname);
  }
  MB_RARE(freeaddrinfo)(list);
}

static void answer_nameinfo(struct mb_names_record *request, struct mb_names_record *answer) {
  size_t size;
  const void *bytes = mb_names_get_bytes(request, &size);
  int wants_host = mb_names_get_number(request), wants_service = mb_names_get_number(request);
  int flags = mb_names_get_number(request);
  struct sockaddr_storage address = {0};
  if (!mb_names_is_complete(request) || size > sizeof address) return;
  memcpy(&address, bytes, size);
  char host[NI_MAXHOST] = "", service[NI_MAXSERV] = "";
  int code = MB_RARE(getnameinfo)((const struct sockaddr *)&address, (socklen_t)size, host,
                                  wants_host ? sizeof host : 0, service,
                                  wants_service ? sizeof service : 0, flags);
  begin(answer, code);
  if (code != 0) return;
  mb_names_put_text(answer, host);
  mb_names_put_text(answer, service);
}

static void put_texts(struct mb_names_record *answer, char *const *texts) {
  int count = 0;
  while (texts[count]) count++;
  mb_names_put_number(answer, count);
  for (int i = 0; i < count; i++) mb_names_put_text(answer, texts[i]);
}

static void put_host(struct mb_names_record *answer, const struct hostent *host) {
  begin(answer, host ? 0 : h_errno ? h_errno : NETDB_INTERNAL);
  if (!host) return;
  mb_names_put_text(answer, host->h_name);
  put_texts(answer, host->h_aliases);
  mb_names_put_number(answer, host->h_addrtype);
  mb_names_put_number(answer, host->h_length);
  int count = 0;
  while (host->h_addr_list[count]) count++;
  mb_names_put_number(answer, count);
  for (int i = 0; i < count; i++)
    mb_names_put_bytes(answer, host->h_addr_list[i], (size_t)host->h_length);
}

static void answer_host(struct mb_names_record *request, struct mb_names_record *answer) {
  const char *name = mb_names_get_text(request);
  if (name && mb_names_is_complete(request)) put_host(answer, MB_RARE(gethostbyname)(name));
}

static void answer_host_of(struct mb_names_record *request, struct mb_names_record *answer) {
  size_t size;
  const void *bytes = mb_names_get_bytes(request, &size);
  int family = mb_names_get_number(request);
  char address[16] = {0}; /* the C library reads as many bytes as the family has */
  if (!mb_names_is_complete(request) || size > sizeof address) return;
  memcpy(address, bytes, size);
  put_host(answer, MB_RARE(gethostbyaddr)(address, (socklen_t)size, family));
}

static void put_protocol(struct mb_names_record *answer, const struct protoent *protocol) {
  begin(answer, protocol ? 0 : 1);
  if (!protocol) return;
  mb_names_put_text(answer, protocol->p_name);
  put_texts(answer, protocol->p_aliases);
  mb_names_put_number(answer, protocol->p_proto);
}

static void answer_protocol(struct mb_names_record *request, struct mb_names_record *answer) {
  const char *name = mb_names_get_text(request);
  if (name && mb_names_is_complete(request)) put_protocol(answer, MB_RARE(getprotobyname)(name));
}

static void answer_protocol_of(struct mb_names_record *request, struct mb_names_record *answer) {
  int number = mb_names_get_number(request);
  if (mb_names_is_complete(request)) put_protocol(answer, MB_RARE(getprotobynumber)(number));
}

int mb_names_answer(void) {
  struct mb_names_record request, answer = {0};
  int r = mb_names_receive(STDIN_FILENO, &request);
  if (r == 0) {
    errno = 0;
    switch (mb_names_kind(&request)) {
      case MB_NAMES_ADDRINFO:
        answer_addrinfo(&request, &answer);
        break;
      case MB_NAMES_NAMEINFO:
        answer_nameinfo(&request, &answer);
        break;
      case MB_NAMES_HOST:
        answer_host(&request, &answer);
        break;
      case MB_NAMES_HOST_OF:
        answer_host_of(&request, &answer);
        break;
      case MB_NAMES_PROTOCOL:
        answer_protocol(&request, &answer);
        break;
      case MB_NAMES_PROTOCOL_OF:
        answer_protocol_of(&request, &answer);
        break;
      default:
        break;
    }
    r = answer.data ? mb_names_send(&answer, STDOUT_FILENO) : -EPROTO;
  }
  mb_names_free(&request);
  mb_names_free(&answer);
  return r;
}
