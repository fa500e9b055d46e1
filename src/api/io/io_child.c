/* moonbridge_io.exec, and the child it returns. */
#include "api/io/io_child.h"

#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <string.h>

#include "base/child.h"
#include "socket/handle.h"
#include "state/io_args.h"
#include "state/object.h"
#include "state/state.h"

#define TYPE "moonbridge_io.child"

struct child {
  struct mb_child *process; /* NULL: not started, reaped, or abandoned */
  pid_t pid;
  bool ended; /* the process was reaped, and result is known */
  bool holds; /* a process: see mb_alloc_note */
  int result;
};

static struct child *check_child(lua_State *L) { return luaL_checkudata(L, 1, TYPE); }

bool mb_io_child_test(lua_State *L, int index, struct mb_child **ret) {
  const struct child *child = luaL_testudata(L, index, TYPE);
  if (!child) return false;
  *ret = child->process;
  return true;
}

static int push_error(lua_State *L, const struct child *child, int r) {
  return mb_io_push_error(L, lua_pushfstring(L, "process %d", (int)child->pid), r);
}

/*
 * child:kill([signal])
 * Sends a signal (default SIGTERM).
 * Returns the child; or nil, message, errno: ESRCH (3) when the script has already waited for its end.
 */
static int method_kill(lua_State *L) {
  const struct child *child = check_child(L);
  lua_Integer number = luaL_optinteger(L, 2, SIGTERM);
  luaL_argcheck(L, number >= 0 && number < NSIG, 2, "expected the number of a signal");
  int r = child->process ? mb_child_kill(child->process, (int)number) : -ESRCH;
  if (r < 0) return push_error(L, child, r);
  lua_settop(L, 1);
  return 1;
}

/*
 * Returns 0 when the process has ended, -EAGAIN while it runs, or -errno; -ECHILD for a child without a
 * process, which only a finalizer can hold.
 */
static int reap(lua_State *L, struct child *child, bool wait) {
  if (!child->process) return child->ended ? 0 : -ECHILD;
  int r = mb_child_wait(child->process, wait, &child->result);
  if (r < 0) return r;
  child->process = NULL;
  child->ended = true;
  mb_alloc_note(mb_state_alloc(L), &child->holds, false);
  return 0;
}

static int push_result(lua_State *L, const struct child *child) {
  lua_pushinteger(L, child->result);
  return 1;
}

/*
 * child:wait()
 * Waits until the process has ended.
 * Returns its exit status, or the negative number of the signal that has ended it; or nil, message, errno.
 * A later call returns the same.
 */
static int method_wait(lua_State *L) {
  struct child *child = check_child(L);
  int r = reap(L, child, true);
  return r < 0 ? push_error(L, child, r) : push_result(L, child);
}

/*
 * child:wait_nb()
 * As wait, but returns nil while the process runs.
 */
static int method_wait_nb(lua_State *L) {
  struct child *child = check_child(L);
  int r = reap(L, child, false);
  if (r == -EAGAIN) {
    lua_pushnil(L);
    return 1;
  }
  return r < 0 ? push_error(L, child, r) : push_result(L, child);
}

static int wait_loop(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  for (;;) {
    lua_settop(L, 2);
    struct child *child = check_child(L);
    int r = reap(L, child, false);
    if (r == 0) return push_result(L, child);
    if (r != -EAGAIN) return push_error(L, child, r);
    lua_pushvalue(L, 2);
    lua_callk(L, 0, 0, 0, wait_loop);
  }
}

/* child:wait_call(waitfunc): as wait, but calls waitfunc() as long as the process runs. */
static int method_wait_call(lua_State *L) {
  check_child(L);
  mb_state_check_callable(L, 2);
  return wait_loop(L, LUA_OK, 0);
}

/* child:wait_yield(): as wait_call, with a function that yields. */
static int method_wait_yield(lua_State *L) {
  check_child(L);
  mb_state_insert_yield(L, 2);
  return wait_loop(L, LUA_OK, 0);
}

/* Does not kill the process: a script that wants this calls kill. */
static int child_gc(lua_State *L) {
  struct child *child = check_child(L);
  if (child->process && reap(L, child, false) < 0) mb_child_abandon(child->process);
  child->process = NULL;
  mb_alloc_note(mb_state_alloc(L), &child->holds, false);
  return 0;
}

static int child_tostring(lua_State *L) {
  const struct child *child = check_child(L);
  lua_pushfstring(L, "child (%s %d)", child->ended ? "ended, was process" : "process",
                  (int)child->pid);
  return 1;
}

static void pid(lua_State *L, const void *object) {
  lua_pushinteger(L, ((const struct child *)object)->pid);
}

static const struct mb_attribute attributes[] = {
    {"pid", pid},
    {NULL, NULL},
};

static const luaL_Reg rows[] = {
    {"kill", method_kill},
    {"wait", method_wait},
    {"wait_call", method_wait_call},
    {"wait_nb", method_wait_nb},
    {"wait_yield", method_wait_yield},
    {NULL, NULL},
};

static const luaL_Reg *const methods[] = {rows, NULL};

static const struct mb_object_type type = {
    TYPE, "child", child_gc, child_tostring, methods, attributes,
};

/* Pushes a child without a process. */
static struct child *new_child(lua_State *L) {
  struct child *child = lua_newuserdata(L, sizeof *child);
  memset(child, 0, sizeof *child);
  mb_object_push_type(L, &type);
  lua_setmetatable(L, -2);
  return child;
}

/*
 * Pushes an array for execvp that points to all arguments from index `first` on. It is valid as long as the
 * arguments stay on the stack.
 */
static const char *const *push_argv(lua_State *L, int first) {
  int count = lua_gettop(L) - first + 1;
  luaL_checkstring(L, first);
  for (int i = 0; i < count; i++) mb_io_check_string(L, first + i);
  const char **argv = lua_newuserdata(L, ((size_t)count + 1) * sizeof *argv);
  for (int i = 0; i < count; i++) argv[i] = lua_tostring(L, first + i);
  argv[count] = NULL;
  return argv;
}

/* Reads the table of options at index 1. Throws when it has anything else. */
static bool check_options(lua_State *L) {
  static const char name[] = "end_with_script";
  bool end = false;
  for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING || strcmp(lua_tostring(L, -2), name) != 0)
      luaL_argerror(
          L, 1,
          lua_pushfstring(L, "unknown option %s: expected %s", luaL_tolstring(L, -2, NULL), name));
    luaL_argcheck(L, lua_isboolean(L, -1), 1, "end_with_script: expected true or false");
    end = lua_toboolean(L, -1);
  }
  return end;
}

/*
 * moonbridge_io.exec([options,] command, ...)
 * Starts a program with arguments; a command without "/" is searched in $PATH.
 * options  an addition, a table: end_with_script = true ends the program, and its process group, with this
 *          process
 * Returns a child with the sockets stdin, stdout and stderr; or nil, message, errno.
 * Source: reference, "moonbridge_io.exec".
 */
int mb_io_exec(lua_State *L) {
  static const char *const names[] = {"stdin", "stdout", "stderr"};
  bool has_options = lua_istable(L, 1), end = has_options && check_options(L);
  const char *const *argv = push_argv(L, has_options ? 2 : 1);
  struct mb_handle *pipes[3];
  struct child *child = new_child(L);
  lua_createtable(L, 0, 3);
  for (int i = 0; i < 3; i++) {
    pipes[i] = mb_handle_new(L);
    lua_setfield(L, -2, names[i]);
  }
  lua_setuservalue(L, -2);

  struct mb_child_pipes fds;
  int r = mb_child_start(argv, end, &fds, &child->process);
  if (mb_state_made_room(L, r)) r = mb_child_start(argv, end, &fds, &child->process);
  if (r < 0) return mb_io_push_error(L, argv[0], r);
  child->pid = mb_child_pid(child->process);
  mb_alloc_note(mb_state_alloc(L), &child->holds, true);
  mb_handle_attach(pipes[0], mb_channel_of(-1, fds.fd[0], MB_FD_PIPE));
  mb_handle_attach(pipes[1], mb_channel_of(fds.fd[1], -1, MB_FD_PIPE));
  mb_handle_attach(pipes[2], mb_channel_of(fds.fd[2], -1, MB_FD_PIPE));
  return 1;
}
