/*
 * mb-handle: serves what it was started for: one connection, or listening sockets. This file decides the order
 * of start-up and the exit status.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/http/http_request_log.h"
#include "app/connection.h"
#include "app/deploy.h"
#include "app/options.h"
#include "app/pool.h"
#include "app/program.h"
#include "app/serve.h"
#include "app/task.h"
#include "base/activation.h"
#include "base/exits.h"
#include "base/log.h"
#include "base/rare.h"
#include "base/stdfds.h"
#include "state/state.h"

static void ignore(int signal_number) { (void)signal_number; }

/*
 * Signals that would kill us and can be told from an errno: a write to a closed pipe, to a file at
 * its limit. A handler that does nothing, not SIG_IGN: that would be inherited by the script's
 * children, and `yes | head` would not end. And one that the parent may have ignored, without which
 * os.execute cannot wait.
 */
static void set_signals(void) {
  struct sigaction action = {.sa_handler = ignore, .sa_flags = SA_RESTART};
  sigaction(SIGPIPE, &action, NULL);
  sigaction(SIGXFSZ, &action, NULL);
  signal(SIGCHLD, SIG_DFL);
}

static enum mb_exit failed(const char *what, int r) {
  mb_log(LOG_ERR, "%s: %s", what, strerror(-r));
  return MB_EXIT_SYSTEM;
}

static enum mb_exit refuse(const struct mb_activation *activation) {
  mb_log(LOG_ERR,
         "fd %d is not a stream socket: mb-handle serves connections (systemd: ListenStream=; "
         "inetd: stream)",
         activation->fd);
  return MB_EXIT_CONFIG;
}

/* Checks that the input of a replay is readable. Returns 0 or -errno. */
static int check_input(int fd) {
  struct stat st;
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fstat(fd, &st) != 0) return -errno;
  if (S_ISDIR(st.st_mode)) return -EISDIR;
  return (flags & O_ACCMODE) == O_WRONLY ? -EBADF : 0;
}

/* Serves the connection, or logs why it cannot. */
static enum mb_exit serve_connection(const struct mb_options *options, int fd) {
  struct mb_connection connection;
  int r = mb_connection_open(&connection, fd, options->log_journal, options->keepalive);
  if (r == 0) return mb_serve(options, &connection);
  enum mb_exit exit = MB_EXIT_OK;
  if (r == -ENOTCONN) {
    mb_log(LOG_INFO, "the client has gone before it was served");
  } else {
    exit = failed("cannot ask for the connection's addresses", r);
  }
  mb_connection_end(&connection, (int)exit);
  return exit;
}

static enum mb_exit replay(const struct mb_options *options, const struct mb_stdfds *fds) {
  struct mb_connection connection;
  mb_connection_replay(&connection, fds->in, fds->out);
  return mb_serve(options, &connection);
}

/* Opens the request log, where there is to be one, before descriptor 1 becomes the log. */
static void open_request_log(const struct mb_options *options,
                             const struct mb_activation *activation, unsigned closed) {
  if (!options->access_log) return;
  int fd = mb_stdfds_has_stdout(activation, closed) ? STDOUT_FILENO : -1;
  if (options->access_log == MB_HTTP_ACCESS_DEV) fd = STDERR_FILENO;
  enum mb_http_access_format format = (enum mb_http_access_format)options->access_log;
  mb_http_request_log_open(format, fd, options->log_journal);
}

static enum mb_exit serve(const struct mb_options *options, unsigned closed) {
  struct mb_activation activation;
  int r = mb_activation_find(&activation);
  if (r < 0) return failed("cannot use what LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES offer", r);
  if (activation.fd == 0 && closed & 1)
    return failed("fd 0 is closed: there is no connection and nothing to replay", -EBADF);
  if (activation.given == MB_GIVEN_FILE && closed & 2)
    return failed("fd 1 is closed: a replay has nowhere to write to", -EBADF);

  if (activation.given == MB_GIVEN_FILE) {
    r = check_input(activation.fd);
    if (r < 0) return failed("cannot read a replay from fd 0", r);
  }

  open_request_log(options, &activation, closed);
  struct mb_stdfds fds;
  r = mb_stdfds_take(&activation, &fds);
  if (r < 0) return failed("cannot set up the descriptors 0, 1 and 2", r);
  if (activation.given == MB_GIVEN_DATAGRAM) return refuse(&activation);
  if (activation.given == MB_GIVEN_LISTENER)
    return mb_pool_run(options, fds.in, activation.count ? activation.count : 1);
  if (options->grace > 0 || options->exit_idle > 0) {
    mb_log(
        LOG_WARNING,
        "--%s has no effect: it goes with listening sockets (systemd: Accept=no), and fd %d is %s",
        options->grace > 0 ? "grace" : "exit-idle", activation.fd,
        activation.given == MB_GIVEN_FILE ? "a file to replay" : "one connection");
  }
  if (activation.count > 1) {
    mb_log(LOG_WARNING, "%d descriptors were handed over: fd %d is served, the others are not",
           activation.count, activation.fd);
  }
  if (activation.given == MB_GIVEN_FILE) {
    /* Else somebody who expects it to listen would wait without a word. */
    if (mb_rare_isatty(fds.in))
      mb_log(LOG_NOTICE,
             "a replay from the terminal: what you type is what the client sends, Ctrl-D ends it; "
             "to serve clients: mb-handle --serve %s",
             options->script ? options->script : "SCRIPT");
    return replay(options, &fds);
  }
  return serve_connection(options, fds.in);
}

/* Runs the modes that have no connection: descriptor 0 becomes /dev/null, and print writes to the log. */
static enum mb_exit work(const struct mb_options *options, unsigned closed) {
  bool listens = options->mode == MB_MODE_LISTEN;
  bool task = listens || options->mode == MB_MODE_INTERVAL || options->mode == MB_MODE_MAIN;
  if (!task && closed & 2) return failed("fd 1 is closed: there is nowhere to print to", -EBADF);
  const struct mb_activation none = {.given = MB_GIVEN_FILE};
  struct mb_stdfds fds;
  if (listens) open_request_log(options, NULL, closed);
  int r = mb_stdfds_take(&none, &fds);
  if (r < 0) return failed("cannot set up the descriptors 0, 1 and 2", r);
  if (!task) return mb_deploy(options, fds.out);
  close(fds.out);
  close(fds.in);
  if (!listens) return mb_task_run(options);
  r = mb_activation_fds();
  if (r == 0) return mb_pool_run(options, -1, 0);
  if (r < 0) return failed("cannot use what LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES offer", r);
  mb_log(LOG_ERR,
         "--serve listens by itself, and %d sockets were handed over: leave out --serve, or start "
         "it without them",
         r);
  return MB_EXIT_USAGE;
}

/* Answers --help and --version. */
static enum mb_exit print(const struct mb_options *options) {
  if (options->help) {
    mb_options_help(stdout);
  } else {
    fprintf(stdout, "%s " PACKAGE_VERSION "\n", mb_program_name); /* not printf: see rare.h */
  }
  if (fflush(stdout) == 0 && !ferror(stdout)) return MB_EXIT_OK;
  return failed("cannot write to standard output", -errno);
}

static enum mb_exit run(int argc, char **argv) {
  unsigned closed;
  struct mb_options options;
  char error[MB_OPTIONS_ERROR_MAX];
  int status;
  if (mb_program_helps(argc, argv, &status)) return (enum mb_exit)status;
  bool is_right = mb_options_parse(argc, argv, &options, error);
  if (is_right) mb_program_hand_over(&options, argv);
  int r = mb_stdfds_prepare(&closed);
  if (r < 0) return failed("cannot set up the descriptors 0, 1 and 2", r);
  set_signals();
  mb_state_keep_memory();
  if (!is_right) {
    mb_log(LOG_ERR, "%s", error);
    return MB_EXIT_USAGE;
  }
  mb_log_set_level(options.log_level);
  if (options.help || options.version) return print(&options);
  if (options.mode != MB_MODE_SERVE) return work(&options, closed);
  return serve(&options, closed);
}

int main(int argc, char **argv) { return (int)run(argc, argv); }
