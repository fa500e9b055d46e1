/* src/app/listen.c: what a call stores, and two Lua states that know nothing of each other. */
#include "app/listen.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "../../lib/tap.h"
#include "app/listen_fields.h"

static lua_State *new_state(void) {
  lua_State *L = luaL_newstate();
  if (!L) tap_bail("no memory for a Lua state");
  mb_listen_open(L);
  return L;
}

/* Runs the text, in which F is a function. Returns the error, or NULL. */
static const char *run(lua_State *L, const char *text) {
  lua_settop(L, 0);
  luaL_loadstring(L, "F = function() end");
  lua_call(L, 0, 0);
  return luaL_dostring(L, text) ? lua_tostring(L, -1) : NULL;
}

static void shows(lua_State *L, const char *want, const char *what) {
  mb_listen_describe(L);
  tap_str(lua_tostring(L, -1), want, "%s", what);
  lua_pop(L, 1);
}

static bool is_function(lua_State *L, int key) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, key);
  bool is = lua_isfunction(L, -1);
  lua_pop(L, 1);
  return is;
}

static void each_field_is_stored(void) {
  lua_State *L = new_state();
  tap_str(
      run(L,
          "listen{ connect = F, prepare = F, finish = F, memory_limit = 1 << 40,\n"
          "  max_fork = 7, pre_fork = 1, min_fork = 0, fork_delay = 1, fork_error_delay = 2,\n"
          "  exit_delay = 3, idle_timeout = 0.5, min_requests_per_fork = 0,\n"
          "  max_requests_per_fork = 200, http_options = {},\n"
          "  { proto = 'tcp', port = 65535, host = '192.0.2.1', proxy_protocol = true,\n"
          "    proxy_trust = { '10.0.0.0/8', '::1' } },\n"
          "  { proto = 'interval', delay = '0.25', strict = true, name = 'tick', handler = F } }\n"
          "listen{ connect = F, exit_delay = false, memory_limit = '5',\n"
          "  { proto = 'tcp', port = '1' }, { proto = 'local', path = '/x' },\n"
          "  { proto = 'tcp4', port = 2, localhost = true }, { proto = 'tcp6', port = 3 },\n"
          "  { proto = 'main' } }"),
      NULL, "two calls");
  lua_gc(L, LUA_GCCOLLECT, 0);
  const struct mb_listen_entry *l = mb_listen_first(L);
  const struct mb_service *service = l->service;
  tap_ok(is_function(L, service->prepare) && is_function(L, service->connect) &&
             is_function(L, service->finish),
         "the handlers");
  tap_int(service->memory_limit, 1LL << 40, "memory_limit");
  tap_int(service->max_fork, 7, "max_fork");
  tap_int(service->number, 1, "the call's number");
  tap_int(l->proto, MB_PROTO_TCP, "proto");
  tap_str(l->text, "192.0.2.1", "host");
  tap_int(l->port, 65535, "port");
  tap_ok(l->proxy_protocol, "proxy_protocol");
  tap_str(l->proxy_trust, "10.0.0.0/8,::1", "proxy_trust");
  l = l->next;
  tap_ok(l->service == service, "listeners of a call share its handlers");
  tap_int(l->proto, MB_PROTO_INTERVAL, "an interval");
  tap_ok(l->delay == 0.25 && l->strict, "its delay, and that it is strict");
  tap_str(mb_listen_name(l), "tick", "its name");

  l = l->next;
  service = l->service;
  tap_int(service->number, 2, "the second call");
  tap_ok(service->prepare == LUA_NOREF && service->finish == LUA_NOREF, "has no other handlers");
  tap_ok(service->memory_limit == 5 && service->max_fork == 0, "a limit that was a string");
  tap_int(l->port, 1, "a port that was a string");
  tap_str(l->text, "::", "without a host: every address");
  tap_ok(!l->proxy_protocol && !l->proxy_trust, "no proxy");
  l = l->next;
  tap_str(l->text, "/x", "path");
  l = l->next;
  tap_str(l->text, "127.0.0.1", "localhost = true");
  l = l->next;
  tap_str(l->text, "::", "tcp6 without localhost");
  l = l->next;
  tap_str(l->text, NULL, "a main process without a name");
  tap_str(mb_listen_name(l), "main", "is known by its protocol's");
  tap_ok(l->next == NULL, "and that is all");
  lua_close(L);
}

static void moonbridge_is_there(void) {
  lua_State *L = new_state();
  lua_getglobal(L, "_MOONBRIDGE_VERSION");
  tap_str(lua_tostring(L, -1), "1.0.1", "_MOONBRIDGE_VERSION");
  lua_close(L);
}

static void a_wrong_call_registers_nothing(void) {
  lua_State *L = new_state();
  const char *error =
      run(L, "listen{ connect = F, { proto = 'tcp', port = 1 }, { proto = 'tcp' } }");
  tap_ok(error && strstr(error, "listener 2: port: expected an integer from 1 to 65535, got nil"),
         "the second listener is wrong: %s", error);
  tap_ok(mb_listen_first(L) == NULL, "the first is not registered");
  lua_close(L);
}

/* An empty table is wrong for each type but one. */
static void an_error_says_what_the_field_is_for(void) {
  static const char *const required[MB_PROTO_COUNT] = {
      [MB_PROTO_TCP] = "port = 1",      [MB_PROTO_TCP4] = "port = 1",
      [MB_PROTO_TCP6] = "port = 1",     [MB_PROTO_MAIN] = "",
      [MB_PROTO_LOCAL] = "path = '/x'", [MB_PROTO_INTERVAL] = "delay = 1"};
  lua_State *L = new_state();
  for (int i = 0; i < MB_LISTEN_FIELDS * MB_PROTO_COUNT; i++) {
    const struct mb_listen_field *f = &mb_listen_fields[i / MB_PROTO_COUNT];
    enum mb_proto proto = i % MB_PROTO_COUNT;
    if (!(f->owners & MB_FIELD_OF(proto))) continue;
    char text[256], want[128];
    /* A table without wishes is a sandbox. */
    bool takes_table = f->type == MB_FIELD_TABLE || f->type == MB_FIELD_SANDBOX;
    const char *value = takes_table ? "1" : "{}";
    if (proto == MB_PROTO_ANY) {
      snprintf(text, sizeof text, "local t = {connect = F} t.%s = %s listen(t)", f->name, value);
    } else {
      snprintf(text, sizeof text, "local t = {proto = '%s', %s} t.%s = %s listen{connect = F, t}",
               mb_proto_name(proto), required[proto], f->name, value);
    }
    snprintf(want, sizeof want, " (%s: %s)", f->name, f->text);
    const char *error = run(L, text), *at = error ? strstr(error, want) : NULL;
    tap_ok(at && !at[strlen(want)] && strstr(error, ": expected "), "%s of %s: %s", f->name,
           mb_proto_name(proto), error ? error : "no error");
  }
  lua_close(L);
}

static void states_know_nothing_of_each_other(void) {
  lua_State *one = new_state(), *two = new_state();
  tap_str(run(one, "listen{ connect = F, { proto = 'tcp', port = 1 } }"), NULL, "the first state");
  tap_ok(mb_listen_first(two) == NULL, "the second has nothing of it");
  tap_str(run(two, "listen{ connect = F, { proto = 'main', name = 'm' } }"), NULL, "its own call");
  shows(one, "tcp [::]:1", "the first has its own");
  shows(two, "main m", "and so has the second");
  tap_int(mb_listen_first(two)->service->number, 1, "calls are counted for each state");
  tap_ok(mb_listen_find(one, NULL, -1, 0) == mb_listen_first(one), "a replay finds the first's");
  tap_ok(mb_listen_find(two, NULL, -1, 0) == NULL, "and none of the second's");

  mb_listen_close(one, "no more of this");
  const char *error = run(one, "listen{ connect = F }");
  tap_ok(error && strstr(error, "listen: no more of this"), "closed, with its reason: %s", error);
  tap_str(run(two, "listen{ connect = F }"), NULL, "the second is open");
  lua_close(one);
  shows(two, "main m, any connection", "the second outlives the first");
  mb_listen_close(two, "the end");
  lua_State *three = new_state();
  tap_str(run(three, "listen{ connect = F }"), NULL, "a third state begins anew");
  shows(three, "any connection", "with its own call alone");
  lua_close(two);
  lua_close(three);
}

int main(void) {
  each_field_is_stored();
  moonbridge_is_there();
  a_wrong_call_registers_nothing();
  an_error_says_what_the_field_is_for();
  states_know_nothing_of_each_other();
  return tap_done();
}
