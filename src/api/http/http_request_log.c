/* The request log: gathers what is known of a request, and sends its line. Must never disturb the connection. */
#include "api/http/http_request_log.h"

#include <errno.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/http/http_response_head.h"
#include "api/http/http_response_state.h"
#include "base/journal.h"
#include "base/line_sink.h"
#include "base/log.h"
#include "base/log_line.h"
#include "base/rare.h"
#include "state/state.h"

/* Statuses of requests that were not answered, as nginx logs them: the handler, or the client, has gone. */
enum { STATUS_NOT_ANSWERED = 444, STATUS_CLIENT_GONE = 499 };

#define USEC 1000000

/* The requests of one input, one after the other. */
struct mb_http_request_log {
  struct mb_http_input *input;
  struct mb_http_request_log *next; /* of those that are open */
  struct mb_traffic traffic;        /* for a handle that nobody else counts */
  bool open;                        /* a request has come, and has no line yet */
  bool waited;                      /* the next request comes later than the connection */
  bool is_refused;                  /* its head was refused */
  struct mb_span refused;    /* that head; no data: its bytes are still in the handle's buffer */
  int64_t began;             /* monotonic microseconds; 0: no byte has come */
  int status;                /* of the response's head; 0: it was not queued */
  uint64_t head_at, body_at; /* where these begin, in the bytes that are sent */
};

enum mb_http_access_format mb_http_request_log_format = MB_HTTP_ACCESS_NONE;

static struct mb_line_sink sink = {.fd = -1};
static bool to_journal, coloured;
static bool has_complained;              /* that lines are lost */
static int64_t connection_began;         /* 0: not said, or used already */
static struct mb_http_request_log *open; /* the requests that have no line yet */

void mb_http_request_log_open(enum mb_http_access_format format, int fd, bool journal) {
  mb_http_request_log_format = format;
  to_journal = journal && format != MB_HTTP_ACCESS_DEV;
  if (format == MB_HTTP_ACCESS_DEV) {
    const char *none = getenv("NO_COLOR"); /* no-color.org: any text but an empty one */
    coloured = mb_rare_isatty(fd) && (!none || !*none);
  }
  if (fd < 0) return;
  int r = mb_line_sink_open(fd, &sink);
  if (r < 0)
    mb_log(LOG_WARNING, "--access-log: descriptor %d cannot be used, the lines go to the log: %s",
           fd, strerror(-r));
}

void mb_http_request_log_connection(void) { connection_began = mb_now_usec(); }

/* ---- the life of a request ---- */

void mb_http_request_log_attach(lua_State *L, struct mb_http_input *in) {
  struct mb_http_request_log *log = mb_alloc(mb_state_alloc(L), NULL, 0, sizeof *log);
  if (!log) mb_state_no_memory(L);
  *log = (struct mb_http_request_log){.input = in};
  if (!in->handle->traffic) in->handle->traffic = &log->traffic;
  in->log = log;
}

/* Takes a request out of the list of those that are open. */
static void leave(struct mb_http_request_log *log) {
  struct mb_http_request_log **at = &open;
  while (*at && *at != log) at = &(*at)->next;
  if (*at) *at = log->next;
  log->open = false;
}

/* Prepares for the next request. */
static void forget(struct mb_http_request_log *log) {
  if (log->open) leave(log);
  log->waited = true;
  log->is_refused = false;
  log->began = 0;
  log->status = 0;
}

void mb_http_request_log_detach(struct mb_http_input *in) {
  struct mb_http_request_log *log = in->log;
  if (!log) return;
  mb_http_request_log_done(in, NULL);
  if (in->handle->traffic == &log->traffic) in->handle->traffic = NULL;
  in->log = NULL;
  mb_alloc(in->handle->alloc, log, sizeof *log, 0);
}

void mb_http_request_log_looked(struct mb_http_request_log *log, bool has_bytes) {
  if (log->began > 0 || !has_bytes) return;
  bool is_first = !log->waited && connection_began > 0;
  log->began = is_first ? connection_began : mb_now_usec();
  connection_began = 0;
}

void mb_http_request_log_waits(struct mb_http_request_log *log) { log->waited = true; }

void mb_http_request_log_begin(struct mb_http_request_log *log) {
  log->open = true;
  log->next = open;
  open = log;
}

void mb_http_request_log_refused(struct mb_http_request_log *log, struct mb_span head) {
  log->is_refused = true;
  log->refused = head;
  mb_http_request_log_begin(log);
}

void mb_http_request_log_head(struct mb_http_input *in, int status, size_t size) {
  struct mb_http_request_log *log = in->log;
  const struct mb_handle *h = in->handle;
  log->status = status;
  log->head_at = (h->traffic ? h->traffic->out : 0) + h->out.len;
  log->body_at = log->head_at + size;
}

/* ---- the line ---- */

/* Returns the first line of a text, without its end; no data when the text has no whole line. */
static struct mb_span first_line(struct mb_span text) {
  const char *end = text.size > 0 ? memchr(text.data, '\n', text.size) : NULL;
  if (!end) return (struct mb_span){NULL, 0};
  text.size = (size_t)(end - text.data);
  if (text.size > 0 && end[-1] == '\r') text.size--;
  return text;
}

static struct mb_span field(const struct mb_http_input *in, const char *name) {
  const struct mb_http_field *field = mb_http_head_field(&in->head, name);
  return field ? field->value : (struct mb_span){NULL, 0};
}

/* Sets what the client has sent. */
static void set_request(struct mb_http_access *a, const struct mb_http_request_log *log) {
  const struct mb_http_input *in = log->input;
  if (log->open && !log->is_refused) {
    static const char protocols[] = "HTTP/1.0HTTP/1.1";
    a->method = in->head.method;
    a->target = in->head.target;
    a->protocol = (struct mb_span){protocols + 8 * in->head.minor, 8};
    a->host = in->head.host;
    a->referer = field(in, "referer");
    a->agent = field(in, "user-agent");
    a->bytes_in = in->received;
    return;
  }
  const struct mb_buf *received = &in->handle->in;
  struct mb_span head = log->is_refused ? log->refused : (struct mb_span){NULL, 0};
  if (!head.data) head = (struct mb_span){mb_buf_bytes(received), mb_buf_len(received)};
  a->line = first_line(head);
  mb_http_access_split(a);
}

/* A peer on a Unix socket has no address, or one that it chose itself: nginx logs it so, too. */
static void set_peer(struct mb_http_access *a, const struct mb_addr *remote,
                     char text[MB_ADDR_TEXT_MAX]) {
  a->peer = text;
  a->port = mb_addr_port(remote);
  if (remote->len > 0 && remote->any.sa_family == AF_UNIX) {
    a->peer = "unix:";
  } else if (!mb_addr_text(remote, text)) {
    a->peer = "-";
  }
}

static void set_times(struct mb_http_access *a, int64_t began) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  a->usec = began > 0 ? mb_now_usec() - began : 0;
  int64_t when = (int64_t)now.tv_sec * USEC + now.tv_nsec / 1000 - a->usec;
  time_t seconds = (time_t)(when / USEC);
  a->msec = (int)(when % USEC / 1000);
  localtime_r(&seconds, &a->when);
}

static void send_to_sink(char *line, size_t size) {
  if (sink.fd < 0) {
    mb_log_whole(line, size);
    return;
  }
  line[size] = '\n';
  int r = mb_line_sink_write(&sink, line, size + 1);
  if (r == 0 || has_complained) return;
  has_complained = true;
  mb_log(LOG_WARNING, "--access-log: lines are lost: %s",
         r == -EAGAIN ? "nobody reads them" : strerror(-r));
}

/* A field that the client may have sent; its value has room for the longest one. */
struct journal_text {
  const char *name;
  struct mb_span from;
  size_t limit;
  char *value;
};

static bool send_to_journal(const struct mb_http_access *a) {
  char message[MB_HTTP_ACCESS_LINE_MAX], port[16], status[16], bytes[24], bytes_in[24], usec[24];
  char method[MB_HTTP_ACCESS_METHOD_MAX + 1], target[MB_HTTP_ACCESS_TARGET_MAX + 1];
  char protocol[MB_HTTP_ACCESS_PROTOCOL_MAX + 1], host[MB_HTTP_ACCESS_HOST_MAX + 1];
  char referer[MB_HTTP_ACCESS_REFERER_MAX + 1], agent[MB_HTTP_ACCESS_AGENT_MAX + 1];
  const struct journal_text texts[] = {
      {"MB_METHOD", a->method, MB_HTTP_ACCESS_METHOD_MAX, method},
      {"MB_TARGET", a->target, MB_HTTP_ACCESS_TARGET_MAX, target},
      {"MB_PROTOCOL", a->protocol, MB_HTTP_ACCESS_PROTOCOL_MAX, protocol},
      {"MB_HOST", a->host, MB_HTTP_ACCESS_HOST_MAX, host},
      {"MB_REFERER", a->referer, MB_HTTP_ACCESS_REFERER_MAX, referer},
      {"MB_USER_AGENT", a->agent, MB_HTTP_ACCESS_AGENT_MAX, agent},
  };
  message[mb_http_access_line(MB_HTTP_ACCESS_COMBINED, a, message)] = '\0';
  snprintf(port, sizeof port, "%u", a->port);
  snprintf(status, sizeof status, "%d", a->status);
  snprintf(bytes, sizeof bytes, "%" PRIu64, a->bytes);
  snprintf(bytes_in, sizeof bytes_in, "%" PRIu64, a->bytes_in);
  snprintf(usec, sizeof usec, "%" PRId64, a->usec);
  struct mb_journal_field fields[16] = {
      {"MESSAGE", message},      {"PRIORITY", "6"},         {"SYSLOG_IDENTIFIER", "mb-handle"},
      {"MB_PEER", a->peer},      {"MB_STATUS", status},     {"MB_BYTES_OUT", bytes},
      {"MB_BYTES_IN", bytes_in}, {"MB_DURATION_USEC", usec}};
  size_t count = 8;
  if (a->port) fields[count++] = (struct mb_journal_field){"MB_PEER_PORT", port};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    if (!texts[i].from.data) continue;
    mb_http_access_field(texts[i].from, texts[i].limit, texts[i].value);
    fields[count++] = (struct mb_journal_field){texts[i].name, texts[i].value};
  }
  return mb_journal_send(fields, count) == 0;
}

static void write_line(struct mb_http_request_log *log, int status, uint64_t bytes) {
  int saved = errno;
  char peer[MB_ADDR_TEXT_MAX], line[MB_HTTP_ACCESS_LINE_MAX];
  struct mb_http_access access = {.status = status, .bytes = bytes, .coloured = coloured};
  set_request(&access, log);
  set_peer(&access, &log->input->handle->remote, peer);
  set_times(&access, log->began);
  forget(log); /* an alarm that comes now does not write it once more */
  if (!to_journal || !send_to_journal(&access))
    send_to_sink(line, mb_http_access_line(mb_http_request_log_format, &access, line));
  errno = saved;
}

void mb_http_request_log_done(struct mb_http_input *in, const uint64_t *sent) {
  struct mb_http_request_log *log = in->log;
  const struct mb_handle *h = in->handle;
  if (!log || !log->open) return;
  uint64_t out = h->traffic ? h->traffic->out : 0, bytes = 0;
  int status = h->in_error || h->out_error ? STATUS_CLIENT_GONE : STATUS_NOT_ANSWERED;
  if (log->status && out > log->head_at) {
    status = log->status;
    if (out > log->body_at) bytes = out - log->body_at;
    if (sent && *sent < bytes) bytes = *sent;
  }
  write_line(log, status, bytes);
}

void mb_http_request_log_end(void) {
  while (open) mb_http_request_log_done(open->input, NULL);
}

/* ---- for the Lua modules ---- */

static int log_head(lua_State *L) {
  mb_http_request_log_head(mb_http_input_at(L, 1), (int)luaL_checkinteger(L, 2),
                           (size_t)luaL_checkinteger(L, 3));
  return 0;
}

static int log_request(lua_State *L) {
  struct mb_http_input *in = mb_http_input_at(L, 1);
  const struct mb_http_response *r = luaL_testudata(L, 2, MB_HTTP_RESPONSE_TYPE);
  bool known = r ? r->code != 101 : lua_toboolean(L, 2);
  if (r && !known && mb_handle_is_open(in->handle)) return 0;
  uint64_t sent = 0;
  if (r && !r->is_head && !mb_http_response_is_bodyless(r)) sent = r->sent;
  if (!r && known) sent = (uint64_t)luaL_checkinteger(L, 2);
  mb_http_request_log_done(in, known ? &sent : NULL);
  return 0;
}

static int log_refusal(lua_State *L) {
  struct mb_http_input *in = mb_http_input_at(L, 1);
  if (in->log) write_line(in->log, (int)luaL_checkinteger(L, 2), (uint64_t)luaL_checkinteger(L, 3));
  return 0;
}

void mb_http_request_log_functions(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"log_head", log_head},
      {"log_request", log_request},
      {"log_refusal", log_refusal},
      {NULL, NULL},
  };
  luaL_setfuncs(L, functions, 0);
}
