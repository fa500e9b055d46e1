/*
 * src/app/connection.c, serve.c and service.c: one process serves connections of different scripts, one
 * after the other, and nothing of one is left for the next. A pool will need that.
 */
#include "app/connection.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "../../lib/peers.h"
#include "../../lib/tap.h"
#include "api/luasocket/luasocket.h"
#include "app/serve.h"
#include "base/log.h"
#include "socket/handle.h"
#include "socket/standin.h"
#include "state/libraries.h"
#include "state/state.h"

static char directory[] = "/tmp/mb-connection-XXXXXX";
static char said[4096]; /* the text that the client has received */
static char logged[4096];
static uint16_t client_port;

/* ---- the peer ---- */

/* Makes a TCP connection, and notes the client's port. Returns the server's end. */
static int new_connection(int *ret_client) {
  int pair[2];
  struct sockaddr_in name;
  socklen_t len = sizeof name;
  peers_tcp(pair);
  *ret_client = pair[1];
  /* A server that forgets to close its end is a failure, and no hang. */
  const struct timeval patience = {.tv_sec = 5};
  setsockopt(pair[1], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  getsockname(pair[1], (struct sockaddr *)&name, &len);
  client_port = ntohs(name.sin_port);
  return pair[0];
}

static const char *script(const char *name, const char *text) {
  static char paths[4][64];
  static int turn;
  char *path = paths[turn++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s.lua", directory, name);
  FILE *file = fopen(path, "w");
  if (!file || fputs(text, file) < 0 || fclose(file) != 0) tap_bail("cannot write a script");
  return path;
}

static void read_all(int fd, char *to, size_t size) {
  size_t len = 0;
  ssize_t n;
  while (len < size - 1 && (n = read(fd, to + len, size - 1 - len)) > 0) len += (size_t)n;
  to[len] = '\0';
}

/* Serves a client that sends one line. option: an option of the command line, or NULL. Returns the status. */
static int serve(const char *path, const char *option) {
  char *argv[5] = {"mb-handle", "--log-level=info", (char *)path, NULL, NULL};
  int argc = 3;
  if (option) {
    argv[2] = (char *)option;
    argv[3] = (char *)path;
    argc = 4;
  }
  struct mb_options options;
  char error[MB_OPTIONS_ERROR_MAX];
  if (!mb_options_parse(argc, argv, &options, error)) tap_bail(error);
  mb_log_set_level(options.log_level);

  int client, server = new_connection(&client);
  if (write(client, "line\n", 5) != 5 || shutdown(client, SHUT_WR) != 0) tap_bail("write");
  /* A file takes what the process logs and prints, and is read afterwards. */
  fflush(stdout);
  int log = memfd_create("log", MFD_CLOEXEC), before[] = {dup(1), dup(2)};
  dup2(log, 1);
  dup2(log, 2);
  struct mb_connection connection;
  int status = -1;
  if (mb_connection_open(&connection, server, false, 0) == 0)
    status = (int)mb_serve(&options, &connection);
  for (int i = 0; i < 2; i++) {
    dup2(before[i], i + 1);
    close(before[i]);
  }
  lseek(log, 0, SEEK_SET);
  read_all(log, logged, sizeof logged);
  close(log);
  read_all(client, said, sizeof said);
  close(client);
  return status;
}

/* ---- things that may be left behind ---- */

static int count_descriptors(void) {
  DIR *open_ones = opendir("/proc/self/fd");
  int count = 0;
  while (readdir(open_ones)) count++;
  closedir(open_ones);
  return count;
}

static bool timer_is_set(void) {
  struct itimerval timer;
  getitimer(ITIMER_REAL, &timer);
  return timer.it_value.tv_sec || timer.it_value.tv_usec;
}

static bool sigterm_is_caught(void) {
  struct sigaction action;
  sigaction(SIGTERM, NULL, &action);
  return action.sa_handler != SIG_DFL;
}

/* Checks that the process is as it was before a connection. */
static void nothing_is_left(const char *what, int descriptors) {
  tap_int(count_descriptors(), descriptors, "%s: no descriptor stays open", what);
  tap_ok(!timer_is_set(), "%s: no timer runs on", what);
  tap_ok(!mb_standin_active(), "%s: nothing stands in for a listener", what);
  tap_str(setlocale(LC_ALL, NULL), "C", "%s: the locale", what);
}

static int lines(const char *text) {
  int count = 0;
  for (; *text; text++) count += *text == '\n';
  return count;
}

#define PRINTED "a line that does not end"

/* Leaves as much behind as a script can. */
static const char littering[] =
    "leak = 'a global'\n"
    "string.leak = true\n"
    "local luasocket = require 'mb.luasocket'\n"
    "local errno = require 'mb.tarantool.core'.errno\n"
    "listen{ {proto='tcp', port=1}, connect = function() end }\n"
    "listen{\n"
    "  memory_limit = 4000000,\n"
    "  prepare = function() timeout(50) end,\n"
    "  connect = function(socket)\n"
    "    kept = socket\n"
    "    io.write('" PRINTED
    "')\n"
    "    moonbridge_io.catch_sigterm()\n"
    "    assert(os.setlocale('C.UTF-8'))\n"
    "    socket.mine = 'a field'\n"
    "    errno(17)\n"
    "    local client = luasocket.wrap(socket)\n"
    "    timeout(60)\n"
    "    coroutine.wrap(function() timeout(40, coroutine.yield) end)()\n"
    "    client:send('first: ' .. client:receive('*l'))\n"
    "  end,\n"
    "  finish = function() timeout(30) end,\n"
    "}\n";

/* Reports the things that it finds and has not made itself. */
static const char looking[] =
    "local found = {tostring(leak), tostring(string.leak), timeout()}\n"
    "for name in pairs(package.loaded) do\n"
    "  if name:find('^mb%.') then found[#found + 1] = name end\n"
    "end\n"
    "local errno = require 'mb.tarantool.core'.errno\n"
    "local style = require 'mb.style'\n"
    "return function(socket)\n"
    "  found[#found + 1] = tostring(socket.mine)\n"
    "  found[#found + 1] = errno()\n"
    "  found[#found + 1] = tostring(style.active())\n"
    "  found[#found + 1] = timeout()\n"
    "  local client = require('mb.luasocket').wrap(socket)\n"
    "  found[#found + 1] = client:receive('*l')\n"
    "  client:send(table.concat(found, ' '))\n"
    "end\n";

static const char untouched[] = "nil nil 0.0 nil 0 false 0.0 line";

static const char program[] =
    "local server = require('socket').bind('*', 0)\n"
    "local client = server:accept()\n"
    "client:send('program: ' .. client:receive('*l'))\n"
    "client:close()\n";

static void serve_and_look(const char *what, const char *path, const char *option,
                           const char *reply) {
  int before = count_descriptors();
  tap_int(serve(path, option), 0, "%s: is served", what);
  tap_str(said, reply, "%s: its reply", what);
  nothing_is_left(what, before);
  char line[128];
  snprintf(line, sizeof line, "connection from 127.0.0.1:%u to ", client_port);
  tap_ok(lines(logged) == 1 && strstr(logged, line), "%s: one line for its own end: %s", what,
         logged);
  snprintf(line, sizeof line, "5 bytes in, %zu bytes out, status 0", strlen(reply));
  tap_ok(strstr(logged, line) != NULL, "%s: its own bytes: %s", what, line);
}

static void in_turn(void) {
  const char *first = script("first", littering), *second = script("second", looking);
  const char *third = script("third", program);
  serve_and_look("a script that litters", first, NULL, "first: line");
  tap_ok(strstr(logged, PRINTED) != NULL, "what it has printed is out: %s", logged);
  tap_ok(sigterm_is_caught(), "SIGTERM is the script's up to the end");
  serve_and_look("another behind it", second, NULL, untouched);
  tap_ok(!sigterm_is_caught(), "and not the next one's");
  serve_and_look("a program for another library", third, "--style=luasocket", "program: line");
  serve_and_look("a script behind that", second, NULL, untouched);
}

/* Each connection has a limit of its own for the lines of its log. */
static void limit_of_lines(void) {
  const char *path = script(
      "first", "return function() for i = 1, 5 do require('mb.log').error('row ' .. i) end end");
  for (int i = 0; i < 2; i++) {
    tap_int(serve(path, "--log-lines=2"), 0, "a script that logs more than it may");
    tap_ok(strstr(logged, "row 2\n") && !strstr(logged, "row 3") &&
               strstr(logged, "lines dropped: 3,"),
           "the connection's own lines are counted");
  }
  serve(path, NULL);
  tap_ok(strstr(logged, "row 5\n") && !strstr(logged, "dropped"), "the next one has its own limit");
}

static void fails(const char *what, const char *path, int want, const char *why) {
  int before = count_descriptors();
  tap_int(serve(path, NULL), want, "%s: its status", what);
  tap_str(said, "", "%s: the client gets nothing", what);
  tap_ok(strstr(logged, why) != NULL, "%s: the log says why: %s", what, logged);
  char status[32];
  snprintf(status, sizeof status, "status %d", want);
  tap_ok(strstr(logged, status) != NULL, "%s: the connection has its line: %s", what, status);
  nothing_is_left(what, before);
}

/* A client that is gone before the process has looked. */
static void gone_at_once(void) {
  int before = count_descriptors();
  int client, server = new_connection(&client);
  peers_reset(client);
  struct mb_connection connection;
  mb_log_set_level(LOG_ERR);
  tap_int(mb_connection_open(&connection, server, false, 0), -ENOTCONN, "a client that has gone");
  mb_connection_end(&connection, MB_EXIT_OK);
  nothing_is_left("a client that has gone", before);
}

/* A failure concerns its own connection only. */
static void failures(void) {
  fails("an error", script("throws", "return function() timeout(20); error('on purpose') end"),
        MB_EXIT_HANDLER, "on purpose");
  fails("an error in prepare",
        script("fails", "listen{prepare = function() error('no') end, connect = print}"),
        MB_EXIT_HANDLER, "no");
  fails("a script without a handler", script("none", "x = 1"), MB_EXIT_CONFIG, "no handler");
  fails("no script", "/nonexistent.lua", MB_EXIT_NO_SCRIPT, "/nonexistent.lua");
  gone_at_once();
  serve_and_look("a script behind them", script("second", looking), NULL, untouched);
}

/* ---- two states at once ---- */

static int open_types(lua_State *L) {
  mb_handle_open(L);
  lua_pushcfunction(L, mb_luasocket_open);
  lua_call(L, 0, 1);
  lua_setglobal(L, "luasocket");
  mb_handle_new(L);
  return 1;
}

static lua_State *new_state(struct mb_state *state) {
  lua_State *L = mb_state_new(state);
  if (!L) tap_bail("no Lua state");
  mb_state_open(L, "test.lua");
  mb_libraries_open(L, MB_LIBRARIES_ALL);
  lua_pushcfunction(L, open_types);
  if (lua_pcall(L, 0, 1, 0) != LUA_OK) tap_bail(lua_tostring(L, -1));
  return L;
}

static bool makes_objects(lua_State *L) {
  return luaL_dostring(L, "assert(luasocket.tcp():getfd() == -1)") == LUA_OK;
}

static void at_once(void) {
  struct mb_state one = {.alloc.limit = 0}, two = {.alloc.limit = 0};
  lua_State *first = new_state(&one), *second = new_state(&two);
  tap_ok(mb_state_of(first) == &one && mb_state_of(second) == &two, "each state knows its own");
  tap_ok(mb_handle_test(first, 1) != NULL, "the first knows its handle beside the second");
  tap_ok(mb_handle_test(second, 1) != NULL, "the second knows its own");
  tap_ok(makes_objects(second) && makes_objects(first) && makes_objects(second),
         "objects of LuaSocket are known in both");
  lua_close(second);
  tap_ok(mb_handle_test(first, 1) != NULL && makes_objects(first), "and in the one that stays");
  lua_close(first);
  tap_ok(one.alloc.used == 0, "all memory is given back");
  tap_ok(two.alloc.used == 0, "of both");
}

static void remove_scripts(void) {
  static const char *const names[] = {"first", "second", "third", "throws", "fails", "none"};
  char path[64];
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    snprintf(path, sizeof path, "%s/%s.lua", directory, names[i]);
    unlink(path);
  }
  rmdir(directory);
}

int main(void) {
  /* A timer would be the connections' own. */
  const struct rlimit seconds = {20, 20};
  setrlimit(RLIMIT_CPU, &seconds);
  if (!mkdtemp(directory)) tap_bail("mkdtemp");
  signal(SIGPIPE, SIG_IGN);
  in_turn();
  limit_of_lines();
  failures();
  at_once();
  remove_scripts();
  return tap_done();
}
