/* Opens and ends a connection. Must know everything in the process that would outlive a connection. */
#include "app/connection.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/http/http_request_log.h"
#include "base/log.h"
#include "base/log_printed.h"
#include "base/sigterm.h"
#include "socket/timeout.h"

/* The requests of a connection have their lines, however it ends. */
static void watch_requests(void) {
  if (!mb_http_request_log_is_on()) return;
  mb_http_request_log_connection();
  mb_connection_log_watch(mb_http_request_log_end);
}

static unsigned count; /* of the connections that this process has opened */

int mb_connection_open(struct mb_connection *c, int fd, bool to_journal, int keepalive) {
  c->number = ++count;
  watch_requests();
  mb_sigterm_forget(); /* the script before may have caught it, and may need that up to its very end */
  c->io = mb_channel_of(fd, fd, mb_fd_kind_of(fd));
  /* Half an answer must not look like a whole one. */
  mb_fd_set_reset_on_close(fd, c->io.kind, true);
  /* A client that vanishes without a word must not hold its process for ever. A system that cannot help
   * is no reason to turn away those that are there. */
  if (keepalive > 0 && c->io.kind == MB_FD_TCP) mb_fd_set_keepalive(fd, keepalive);
  c->io.keeps_last = c->io.kind == MB_FD_LOCAL; /* its reset */
  c->log.wanted = false;
  c->is_proxied = false;
  int r = mb_addr_of(fd, &c->local, &c->remote);
  if (r == 0 || r == -ENOTCONN)
    mb_connection_log_begin(&c->log, fd, &c->local, &c->remote, to_journal);
  return r;
}

void mb_connection_replay(struct mb_connection *c, int in_fd, int out_fd) {
  watch_requests();
  c->io = mb_channel_of(in_fd, out_fd, MB_FD_FILE);
  c->number = ++count;
  c->local.len = c->remote.len = 0;
  c->is_proxied = false;
  c->log.wanted = false;
}

/* No handler got the connection: the reset tells the peer at once, even if others hold a copy of it. */
static void close_channel(struct mb_channel *io) {
  io->transport->reset(io);
  if (io->out_fd >= 0 && io->out_fd != io->in_fd) close(io->out_fd);
  if (io->in_fd >= 0) close(io->in_fd);
  *io = MB_CHANNEL_CLOSED;
}

/* The name of a locale, with one for each category. A longer one is not kept. */
#define LOCALE_MAX 512

static char usual_locale[LOCALE_MAX]; /* empty: "C" */

void mb_connection_keep_locale(void) {
  const char *locale = setlocale(LC_ALL, NULL);
  if (locale && strlen(locale) < LOCALE_MAX) strcpy(usual_locale, locale);
}

/* A handler may have called os.setlocale. To ask costs less than to set. */
static void reset_locale(void) {
  const char *locale = setlocale(LC_ALL, NULL);
  const char *usual = *usual_locale ? usual_locale : "C";
  if (locale && strcmp(locale, usual) != 0) setlocale(LC_ALL, usual);
}

void mb_connection_end(struct mb_connection *c, int status) {
  mb_timeout_guard(NULL);
  close_channel(&c->io);
  mb_http_request_log_end(); /* of those that a script has dropped */
  mb_connection_log_end(&c->log, status);
  /* The script's last words, while its time limit holds: a log that nobody reads may block. */
  fflush(stdout);
  mb_log_flush();
  mb_log_limit(0);
  mb_timeout_forget();
  reset_locale();
}
