/*
 * The line for a connection's end. All that it says is put together before it is needed or is
 * numbers: it is also written by the alarm's handler.
 */
#include "connection_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handle.h"
#include "journal.h"
#include "log.h"

static bool wanted, to_journal;
static int64_t began;
static char peer[MB_ADDR_LABEL_MAX], proxy[MB_ADDR_LABEL_MAX], listener[MB_ADDR_LABEL_MAX];
static struct mb_traffic traffic;

/* A client on a Unix socket has no address: it is its user that matters. */
static void label_peer(const struct mb_connection *c) {
  struct ucred who;
  socklen_t len = sizeof who;
  mb_addr_label(&c->remote, peer);
  if (c->remote.any.sa_family == AF_UNIX && strcmp(peer, "unnamed") == 0 &&
      getsockopt(c->fds.in, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0) {
    snprintf(peer, sizeof peer, "uid %u", who.uid);
  }
}

static void at_exit(int status, void *unused) {
  (void)unused;
  mb_connection_log_end(status);
}

void mb_connection_log_begin(const struct mb_options *options,
                             const struct mb_connection *connection) {
  if (!mb_log_is_wanted(LOG_INFO)) return;
  wanted = on_exit(at_exit, NULL) == 0;
  to_journal = options->log_journal;
  began = mb_now_usec();
  label_peer(connection);
  mb_addr_label(&connection->local, listener);
}

struct mb_traffic *mb_connection_log_traffic(void) {
  return wanted ? &traffic : NULL;
}

void mb_connection_log_client(const struct mb_addr *client) {
  if (!wanted) return;
  strcpy(proxy, peer);
  mb_addr_label(client, peer);
}

/* A decimal number as text, in a buffer of the caller's. */
static const char *number(char text[24], int64_t n) {
  snprintf(text, 24, "%" PRId64, n);
  return text;
}

static int send_to_journal(const char *message, const char *how, int64_t usec) {
  char priority[24], duration[24], in[24], out[24];
  const struct mb_journal_field fields[] = {
      {"MESSAGE", message},
      {"PRIORITY", number(priority, LOG_INFO)},
      {"SYSLOG_IDENTIFIER", "mb-handle"},
      {"MB_PEER", peer},
      {"MB_LISTENER", listener},
      {"MB_DURATION_USEC", number(duration, usec)},
      {"MB_BYTES_IN", number(in, (int64_t)traffic.in)},
      {"MB_BYTES_OUT", number(out, (int64_t)traffic.out)},
      {"MB_STATUS", how},
      {"MB_PROXY", proxy}, /* the last: there may be none */
  };
  size_t count = sizeof fields / sizeof *fields;
  return mb_journal_send(fields, proxy[0] ? count : count - 1);
}

void mb_connection_log_end_by(const char *how) {
  if (!wanted) return;
  wanted = false;
  int64_t usec = mb_now_usec() - began;
  char text[3 * MB_ADDR_LABEL_MAX + 200];
  snprintf(text, sizeof text,
           "connection from %s%s%s to %s: %" PRId64 ".%03d ms, %" PRIu64 " bytes in, %" PRIu64
           " bytes out, %s%s",
           peer, proxy[0] ? " via " : "", proxy, listener, usec / 1000, (int)(usec % 1000),
           traffic.in, traffic.out, how[0] >= '0' && how[0] <= '9' ? "status " : "", how);
  if (to_journal && send_to_journal(text, how, usec) == 0) return;
  mb_log(LOG_INFO, "%s", text);
}

void mb_connection_log_end(int status) {
  char text[24];
  mb_connection_log_end_by(number(text, status));
}
