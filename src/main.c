/*
 * mb-handle: serves the one connection it was started for. The order of start-up, and the exit
 * status.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "activation.h"
#include "exits.h"
#include "log.h"
#include "options.h"
#include "script.h"
#include "stdfds.h"

static void ignore(int signal_number) { (void)signal_number; }

/*
 * A write to a closed pipe fails with EPIPE instead of killing us. A handler that does nothing, not
 * SIG_IGN: that would be inherited by the script's children, and `yes | head` would not end.
 */
static void survive_sigpipe(void) {
  struct sigaction action = {.sa_handler = ignore, .sa_flags = SA_RESTART};
  sigaction(SIGPIPE, &action, NULL);
}

static enum mb_exit failed(const char *what, int r) {
  mb_log(LOG_ERR, "%s: %s", what, strerror(-r));
  return MB_EXIT_SYSTEM;
}

static enum mb_exit refuse(const struct mb_activation *activation) {
  if (activation->given == MB_GIVEN_LISTENER) {
    mb_log(LOG_ERR,
           "fd %d is a listening socket: mb-handle serves one accepted connection (systemd: "
           "Accept=yes; inetd: nowait)",
           activation->fd);
  } else {
    mb_log(LOG_ERR,
           "fd %d is not a stream socket: mb-handle serves connections (systemd: ListenStream=; "
           "inetd: stream)",
           activation->fd);
  }
  return MB_EXIT_CONFIG;
}

/* Finds out who is at the other end. Returns 0, 1 when the client has gone already, or -errno. */
static int look_at_peer(struct mb_connection *connection) {
  int r = mb_addr_of(connection->fds.in, &connection->local, &connection->remote);
  return r == -ENOTCONN ? 1 : r;
}

static enum mb_exit serve(const struct mb_options *options, unsigned closed) {
  struct mb_activation activation;
  int r = mb_activation_find(&activation);
  if (r < 0) return failed("cannot use what LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES offer", r);
  if (activation.fd == 0 && closed & 1)
    return failed("fd 0 is closed: there is no connection and nothing to replay", -EBADF);
  if (activation.given == MB_GIVEN_FILE && closed & 2)
    return failed("fd 1 is closed: a replay has nowhere to write to", -EBADF);

  struct mb_connection connection = {.kind = MB_FD_FILE};
  r = mb_stdfds_take(&activation, &connection.fds);
  if (r < 0) return failed("cannot set up the descriptors 0, 1 and 2", r);
  if (activation.given == MB_GIVEN_LISTENER || activation.given == MB_GIVEN_DATAGRAM)
    return refuse(&activation);
  if (activation.count > 1) {
    mb_log(LOG_WARNING, "%d descriptors were handed over: fd %d is served, the others are not",
           activation.count, activation.fd);
  }
  if (activation.given == MB_GIVEN_CONNECTION) {
    connection.kind = mb_fd_kind_of(connection.fds.in);
    r = look_at_peer(&connection);
    if (r < 0) return failed("cannot ask for the connection's addresses", r);
    if (r > 0) {
      mb_log(LOG_INFO, "the client has gone before it was served");
      return MB_EXIT_OK;
    }
  }
  return mb_script_serve(options, &connection);
}

static enum mb_exit check(const struct mb_options *options) {
  const struct mb_activation none = {.given = MB_GIVEN_FILE};
  struct mb_stdfds fds;
  int r = mb_stdfds_take(&none, &fds);
  if (r < 0) return failed("cannot set up the descriptors 0, 1 and 2", r);
  return mb_script_check(options, fds.out);
}

static enum mb_exit run(int argc, char **argv) {
  unsigned closed;
  struct mb_options options;
  char error[MB_OPTIONS_ERROR_MAX];
  int r = mb_stdfds_prepare(&closed);
  if (r < 0) return failed("cannot set up the descriptors 0, 1 and 2", r);
  survive_sigpipe();
  if (!mb_options_parse(argc, argv, &options, error)) {
    mb_log(LOG_ERR, "%s", error);
    return MB_EXIT_USAGE;
  }
  mb_log_set_level(options.log_level);
  if (options.help) {
    mb_options_help(stdout);
    return MB_EXIT_OK;
  }
  if (options.version) {
    puts("mb-handle " PACKAGE_VERSION);
    return MB_EXIT_OK;
  }
  if (options.check) return check(&options);
  return serve(&options, closed);
}

int main(int argc, char **argv) { return (int)run(argc, argv); }
