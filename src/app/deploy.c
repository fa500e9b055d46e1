/*
 * Makes a service of a script's listen{} calls: puts a table together, of which Lua makes the text
 * (lua/mb/deploy.lua). No connection may reach this code.
 */
#include "app/deploy.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/deploy_load.h"
#include "app/deploy_program.h"
#include "app/listen.h"
#include "app/program.h"
#include "app/script.h"
#include "base/log.h"
#include "state/state.h"

/* ---- the table ---- */

static void set_string(lua_State *L, const char *name, const char *value) {
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

static void set_boolean(lua_State *L, const char *name, bool value) {
  lua_pushboolean(L, value);
  lua_setfield(L, -2, name);
}

static void set_integer(lua_State *L, const char *name, lua_Integer value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, name);
}

static const char *name_of(enum mb_proto proto) {
  switch (proto) {
    case MB_PROTO_ANY:
      return "any";
    case MB_PROTO_TCP:
      return "tcp";
    case MB_PROTO_TCP4:
      return "tcp4";
    case MB_PROTO_TCP6:
      return "tcp6";
    case MB_PROTO_LOCAL:
      return "local";
    case MB_PROTO_INTERVAL:
      return "interval";
    case MB_PROTO_MAIN:
      return "main";
  }
  return NULL;
}

static void push_listener(lua_State *L, const struct mb_listen_entry *l) {
  lua_createtable(L, 0, 8);
  set_string(L, "proto", name_of(l->proto));
  set_integer(L, "service", l->service->number);
  if (l->service->max_fork) set_integer(L, "max_fork", l->service->max_fork);
  switch (l->proto) {
    case MB_PROTO_TCP:
    case MB_PROTO_TCP4:
    case MB_PROTO_TCP6:
      set_string(L, "host", l->text);
      set_integer(L, "port", l->port);
      set_boolean(L, "proxy_protocol", l->proxy_protocol);
      break;
    case MB_PROTO_LOCAL:
      set_string(L, "path", l->text);
      set_boolean(L, "proxy_protocol", l->proxy_protocol);
      break;
    case MB_PROTO_INTERVAL:
      lua_pushnumber(L, l->delay);
      lua_setfield(L, -2, "delay");
      set_boolean(L, "strict", l->strict);
      set_string(L, "name", l->text);
      break;
    case MB_PROTO_MAIN:
      set_string(L, "name", l->text);
      break;
    case MB_PROTO_ANY:
      break;
  }
}

static void push_listeners(lua_State *L) {
  lua_Integer n = 0;
  lua_newtable(L);
  for (const struct mb_listen_entry *l = mb_listen_first(L); l; l = l->next) {
    push_listener(L, l);
    lua_rawseti(L, -2, ++n);
  }
}

/* { {"log-level", "info"}, {"proxy-protocol"} } */
static void push_options(lua_State *L, const struct mb_options *o) {
  lua_createtable(L, o->ncarried, 0);
  for (int i = 0; i < o->ncarried; i++) {
    lua_createtable(L, 2, 0);
    lua_pushstring(L, o->carried[i].name);
    lua_rawseti(L, -2, 1);
    lua_pushstring(L, o->carried[i].value);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, i + 1);
  }
}

static void push_arguments(lua_State *L, const struct mb_options *o) {
  lua_createtable(L, o->nargs, 0);
  for (int i = 0; i < o->nargs; i++) {
    lua_pushstring(L, o->args[i]);
    lua_rawseti(L, -2, i + 1);
  }
}

/* Makes a path absolute, as services are started in "/". Keeps symbolic links: their targets may change. */
static int make_absolute(const char *name, char path[PATH_MAX]) {
  char cwd[PATH_MAX] = "";
  if (name[0] != '/' && !getcwd(cwd, sizeof cwd)) return -errno;
  while (name[0] == '.' && name[1] == '/') {
    for (name += 2; *name == '/';) name++;
  }
  int n = snprintf(path, PATH_MAX, name[0] == '/' ? "%s%s" : "%s/%s", cwd, name);
  return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* Returns whether everybody may pass the directories on the way to a file. Changes the path. */
static bool is_reachable_for_all(char path[PATH_MAX]) {
  struct stat st;
  for (char *slash = strrchr(path, '/'); slash && slash != path; slash = strrchr(path, '/')) {
    *slash = '\0';
    if (stat(path, &st) != 0 || !(st.st_mode & S_IXOTH)) return false;
  }
  return true;
}

/*
 * Returns whether everybody has the permission `what` on the file, and may reach it by its own path and
 * by the one that links lead to.
 */
static bool is_allowed_for_all(const char *absolute, mode_t what) {
  char path[PATH_MAX], real[PATH_MAX];
  struct stat st;
  if (stat(absolute, &st) != 0 || !(st.st_mode & what) || !realpath(absolute, real)) return false;
  strcpy(path, absolute);
  return is_reachable_for_all(path) && is_reachable_for_all(real);
}

struct deployment {
  const struct mb_options *options;
  FILE *out;
  struct mb_deploy_listening listening; /* what the script has registered */
  char program[PATH_MAX], static_program[PATH_MAX], script[PATH_MAX];
};

static void push_plan(lua_State *L, const struct deployment *d) {
  const struct mb_options *o = d->options;
  lua_createtable(L, 0, 16);
  set_string(L, "program", d->program);
  set_string(L, "static", d->static_program);
  set_string(L, "why", mb_deploy_why(&d->listening));
  set_string(L, "script", d->script);
  set_boolean(L, "user", o->user);
  set_boolean(L, "pool", o->pool);
  set_string(L, "account", MB_DEPLOY_ACCOUNT);
  set_boolean(L, "account_exists", getpwnam(MB_DEPLOY_ACCOUNT) != NULL);
  set_boolean(L, "readable", d->listening.as_account || is_allowed_for_all(d->script, S_IROTH));
  set_boolean(L, "runnable", is_allowed_for_all(d->program, S_IXOTH));
  set_boolean(L, "static_runnable",
              d->static_program[0] && is_allowed_for_all(d->static_program, S_IXOTH));
  push_options(L, o);
  lua_setfield(L, -2, "options");
  push_arguments(L, o);
  lua_setfield(L, -2, "args");
  push_listeners(L);
  lua_setfield(L, -2, "listeners");
}

/* ---- the text ---- */

static const char *mode_of(const struct mb_options *o) {
  return o->mode == MB_MODE_UNITS ? "units" : o->mode == MB_MODE_INETD ? "inetd" : "xinetd";
}

/* Calls mb.deploy. Returns a text; or nil, a message, and "system" if the system has failed. */
static int make_text(lua_State *L) {
  const struct deployment *d = lua_touserdata(L, 1);
  mb_deploy_register(L, &d->listening);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "mb.deploy");
  lua_call(L, 1, 1);
  push_plan(L, d);
  lua_pushstring(L, mode_of(d->options));
  lua_pushstring(L, d->options->mode_value);
  lua_call(L, 3, 3);
  return 3;
}

static enum mb_exit print(struct deployment *d, const char *text, size_t len) {
  fwrite(text, 1, len, d->out);
  if (fflush(d->out) == 0 && !ferror(d->out)) return MB_EXIT_OK;
  mb_log(LOG_ERR, "cannot write to standard output: %s", strerror(errno));
  return MB_EXIT_SYSTEM;
}

static enum mb_exit write_text(lua_State *L, const struct mb_script *script, void *context) {
  (void)script;
  struct deployment *d = context;
  lua_pushcfunction(L, make_text);
  lua_pushlightuserdata(L, d);
  if (mb_state_call(L, 1, 3) != LUA_OK) {
    mb_script_log_error(L);
    return MB_EXIT_HANDLER;
  }
  size_t len;
  const char *text = lua_tolstring(L, -3, &len);
  if (text) return print(d, text, len);
  text = lua_tolstring(L, -2, &len);
  mb_log_text(LOG_ERR, text, len);
  return lua_isnil(L, -1) ? MB_EXIT_CONFIG : MB_EXIT_SYSTEM;
}

/* Makes a service. No code of the script runs in this process, which may be root's. */
static enum mb_exit deploy(struct deployment *d) {
  const struct mb_options *o = d->options;
  int r = mb_deploy_program_find(d->program, d->static_program);
  if (r == 0) r = make_absolute(o->script, d->script);
  if (r < 0) {
    mb_log(LOG_ERR, "cannot find out where the program and the script are: %s", strerror(-r));
    return MB_EXIT_SYSTEM;
  }
  enum mb_exit exit = mb_deploy_load(o, d->script, &d->listening);
  if (exit == MB_EXIT_OK) {
    for (int i = 0; i < o->nargs; i++) {
      if (mb_options_is_one(o->args[i]))
        mb_log(LOG_WARNING, "%s stands behind the script, and so is an argument of the script's",
               o->args[i]);
    }
    exit = mb_script_none(o, write_text, d);
  }
  free(d->listening.data);
  return exit;
}

static enum mb_exit check(lua_State *L, const struct mb_script *script, void *context) {
  struct deployment *d = context;
  char why[MB_DEPLOY_WHY_MAX];
  mb_listen_print(L, script->options, d->out);
  mb_deploy_program_examine(L, script, why);
  if (mb_program_asked_by_static() && mb_deploy_program_is_loaded(why)) {
    mb_log(LOG_ERR, "mb-handle-static cannot run this: %s", why);
    return MB_EXIT_CONFIG;
  }
  if (!why[0] && mb_deploy_program_find(d->program, d->static_program) == 0 &&
      !d->static_program[0])
    strcpy(why, "mb-handle-static is not installed beside it");
  fprintf(d->out, "program: mb-handle%s (%s)\n", why[0] ? "" : "-static",
          why[0] ? why : "nothing here loads a module in C");
  return print(d, "", 0);
}

enum mb_exit mb_deploy(const struct mb_options *options, int out) {
  struct deployment d = {.options = options, .out = fdopen(out, "w")};
  if (!d.out) {
    mb_log(LOG_ERR, "cannot write to standard output: %s", strerror(errno));
    return MB_EXIT_SYSTEM;
  }
  enum mb_exit exit =
      options->mode == MB_MODE_CHECK ? mb_script_run(options, NULL, check, &d) : deploy(&d);
  if (fclose(d.out) == 0 || exit != MB_EXIT_OK) return exit;
  mb_log(LOG_ERR, "cannot write to standard output: %s", strerror(errno));
  return MB_EXIT_SYSTEM;
}
