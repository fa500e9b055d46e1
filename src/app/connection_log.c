/*
 * The line for a connection's end. All that it says is put together before it is needed or is
 * numbers: it is also written by the alarm's handler.
 */
#include "app/connection_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "socket/handle.h"
#include "base/journal.h"
#include "base/log.h"

#define MESSAGE_MAX (3 * MB_ADDR_LABEL_MAX + 200)

static bool wanted, to_journal;
static int64_t began;

/* An end of the connection: as the line has it, and as fields have it, which are searched for. */
struct end {
  char label[MB_ADDR_LABEL_MAX];
  char address[MB_ADDR_LABEL_MAX];
  char port[8]; /* empty: there is none */
};
static struct end peer, proxy;
static char listener[MB_ADDR_LABEL_MAX];
static struct mb_traffic traffic;

/* The label is there already. */
static void set_fields(struct end *end, const struct mb_addr *addr) {
  uint16_t port = mb_addr_port(addr);
  char text[MB_ADDR_TEXT_MAX];
  bool has_ip = addr->len > 0 && addr->any.sa_family != AF_UNIX && mb_addr_text(addr, text);
  /* Escaped too: a field with control characters is a binary one, which tools for text do not see. */
  mb_log_escape(end->address, sizeof end->address, has_ip ? text : end->label);
  if (port) snprintf(end->port, sizeof end->port, "%u", port);
}

static void at_exit(int status, void *unused) {
  (void)unused;
  mb_connection_log_end(status & 0xff); /* os.exit takes any number */
}

void mb_connection_log_begin(const struct mb_options *options,
                             const struct mb_connection *connection) {
  if (!mb_log_is_wanted(LOG_INFO)) return;
  wanted = on_exit(at_exit, NULL) == 0;
  to_journal = options->log_journal;
  began = mb_now_usec();
  mb_addr_peer_label(connection->fds.in, &connection->remote, peer.label);
  set_fields(&peer, &connection->remote);
  mb_addr_label(&connection->local, listener);
}

struct mb_traffic *mb_connection_log_traffic(void) {
  return wanted ? &traffic : NULL;
}

void mb_connection_log_client(const struct mb_addr *client) {
  if (!wanted) return;
  proxy = peer;
  memset(&peer, 0, sizeof peer);
  mb_addr_label(client, peer.label);
  set_fields(&peer, client);
}

/* A decimal number as text, in a buffer of the caller's. */
static const char *number(char text[24], int64_t n) {
  snprintf(text, 24, "%" PRId64, n);
  return text;
}

static int send_to_journal(const char *text, const char *how, int64_t usec) {
  char message[4 * MESSAGE_MAX];
  mb_log_escape(message, sizeof message, text);
  char priority[24], duration[24], in[24], out[24];
  struct mb_journal_field fields[12] = {
      {"MESSAGE", message},
      {"PRIORITY", number(priority, LOG_INFO)},
      {"SYSLOG_IDENTIFIER", "mb-handle"},
      {"MB_PEER", peer.address},
      {"MB_LISTENER", listener},
      {"MB_DURATION_USEC", number(duration, usec)},
      {"MB_BYTES_IN", number(in, (int64_t)traffic.in)},
      {"MB_BYTES_OUT", number(out, (int64_t)traffic.out)},
      {"MB_STATUS", how},
  };
  size_t count = 9;
  if (peer.port[0]) fields[count++] = (struct mb_journal_field){"MB_PEER_PORT", peer.port};
  if (proxy.label[0]) fields[count++] = (struct mb_journal_field){"MB_PROXY", proxy.address};
  return mb_journal_send(fields, count);
}

void mb_connection_log_end_by(const char *how) {
  if (!wanted) return;
  wanted = false;
  int64_t usec = mb_now_usec() - began;
  char text[MESSAGE_MAX];
  snprintf(text, sizeof text,
           "connection from %s%s%s to %s: %" PRId64 ".%03d ms, %" PRIu64 " bytes in, %" PRIu64
           " bytes out, %s%s",
           peer.label, proxy.label[0] ? " via " : "", proxy.label, listener, usec / 1000,
           (int)(usec % 1000), traffic.in, traffic.out,
           how[0] >= '0' && how[0] <= '9' ? "status " : "", how);
  if (to_journal && send_to_journal(text, how, usec) == 0) return;
  mb_log(LOG_INFO, "%s", text);
}

void mb_connection_log_end(int status) {
  char text[24];
  mb_connection_log_end_by(number(text, status));
}
