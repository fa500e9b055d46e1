/*
 * Writes the line for a connection's end. The alarm's handler writes it too, so everything in it is a
 * number, or a text that was made before.
 */
#include "app/connection_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/journal.h"
#include "base/log.h"
#include "base/log_escape.h"
#include "socket/timeout.h"

#define MESSAGE_MAX (3 * MB_ADDR_LABEL_MAX + 200)

/*
 * The connection whose end is still to be logged, by the alarm's handler or the process's exit; NULL:
 * none.
 */
static struct mb_connection_log *volatile current;

/* Sets the address and the port; the label is set already. */
static void set_fields(struct mb_connection_end *end, const struct mb_addr *addr) {
  uint16_t port = mb_addr_port(addr);
  char text[MB_ADDR_TEXT_MAX];
  bool has_ip = addr->len > 0 && addr->any.sa_family != AF_UNIX && mb_addr_text(addr, text);
  /*
   * The label is escaped too: the journal takes a field with control characters as binary, and tools for
   * text do not see it.
   */
  const char *address = has_ip ? text : end->label;
  mb_log_escape(end->address, sizeof end->address, address, strlen(address));
  if (port) snprintf(end->port, sizeof end->port, "%u", port);
}

static void (*before_end)(void); /* NULL: nothing */

static void at_exit(int status, void *unused) {
  (void)unused;
  if (before_end) before_end();
  if (current) mb_connection_log_end(current, status & 0xff); /* os.exit takes any number */
}

static void at_alarm(const char *how) {
  if (before_end) before_end();
  if (current) mb_connection_log_end_by(current, how);
}

/* Returns whether the process will write the line, however it exits. */
static bool catch_exit(void) {
  static bool caught;
  if (!caught) caught = on_exit(at_exit, NULL) == 0;
  return caught;
}

void mb_connection_log_watch(void (*before)(void)) {
  catch_exit(); /* without memory for that, an exit leaves no line */
  before_end = before;
  mb_timeout_at_end(at_alarm);
}

void mb_connection_log_begin(struct mb_connection_log *log, int fd, const struct mb_addr *local,
                             const struct mb_addr *remote, bool to_journal) {
  log->wanted = mb_log_is_wanted(LOG_INFO) && catch_exit();
  if (!log->wanted) return;
  log->to_journal = to_journal;
  log->began = mb_now_usec();
  log->traffic = (struct mb_traffic){0, 0};
  log->proxy.label[0] = log->peer.port[0] = '\0';
  mb_addr_peer_label(fd, remote, log->peer.label);
  set_fields(&log->peer, remote);
  mb_addr_label(local, log->listener);
  current = log;
  mb_timeout_at_end(at_alarm);
}

struct mb_traffic *mb_connection_log_traffic(struct mb_connection_log *log) {
  return log->wanted ? &log->traffic : NULL;
}

void mb_connection_log_client(struct mb_connection_log *log, const struct mb_addr *client) {
  if (!log->wanted) return;
  log->proxy = log->peer;
  log->peer.port[0] = '\0';
  mb_addr_label(client, log->peer.label);
  set_fields(&log->peer, client);
}

/* Writes a decimal number into a buffer of the caller's, and returns that. */
static const char *number(char text[24], int64_t n) {
  snprintf(text, 24, "%" PRId64, n);
  return text;
}

static int send_to_journal(const struct mb_connection_log *log, const char *text, const char *how,
                           int64_t usec) {
  char message[4 * MESSAGE_MAX];
  mb_log_escape(message, sizeof message, text, strlen(text));
  char priority[24], duration[24], in[24], out[24];
  struct mb_journal_field fields[12] = {
      {"MESSAGE", message},
      {"PRIORITY", number(priority, LOG_INFO)},
      {"SYSLOG_IDENTIFIER", "mb-handle"},
      {"MB_PEER", log->peer.address},
      {"MB_LISTENER", log->listener},
      {"MB_DURATION_USEC", number(duration, usec)},
      {"MB_BYTES_IN", number(in, (int64_t)log->traffic.in)},
      {"MB_BYTES_OUT", number(out, (int64_t)log->traffic.out)},
      {"MB_STATUS", how},
  };
  size_t count = 9;
  if (log->peer.port[0])
    fields[count++] = (struct mb_journal_field){"MB_PEER_PORT", log->peer.port};
  if (log->proxy.label[0])
    fields[count++] = (struct mb_journal_field){"MB_PROXY", log->proxy.address};
  return mb_journal_send(fields, count);
}

void mb_connection_log_end_by(struct mb_connection_log *log, const char *how) {
  if (!log->wanted) return;
  log->wanted = false;
  if (current == log) current = NULL;
  const struct mb_connection_end *proxy = &log->proxy;
  int64_t usec = mb_now_usec() - log->began;
  char text[MESSAGE_MAX];
  snprintf(text, sizeof text,
           "connection from %s%s%s to %s: %" PRId64 ".%03d ms, %" PRIu64 " bytes in, %" PRIu64
           " bytes out, %s%s",
           log->peer.label, proxy->label[0] ? " via " : "", proxy->label, log->listener,
           usec / 1000, (int)(usec % 1000), log->traffic.in, log->traffic.out,
           how[0] >= '0' && how[0] <= '9' ? "status " : "", how);
  if (log->to_journal && send_to_journal(log, text, how, usec) == 0) return;
  mb_log(LOG_INFO, "%s", text);
}

void mb_connection_log_end(struct mb_connection_log *log, int status) {
  char text[24];
  if (!log->wanted)
    return; /* printf alone is some 1500 instructions, and five pages of the C library */
  mb_connection_log_end_by(log, number(text, status));
}
