/*
 * listen{...}: registers the script's listeners in the order of the calls, and finds the one for a
 * connection. A host name is looked up only when no address has matched.
 */
#include "app/listen.h"

#include <lauxlib.h>
#include <string.h>

#include "app/listen_check.h"
#include "app/sandbox_step.h"
#include "app/sandbox_wish.h"
#include "base/match.h"
#include "state/state.h"

/* The release whose interface ours is. Applications tell by this global that no plain Lua runs them. */
#define MOONBRIDGE_VERSION "1.0.1"

/* All that a Lua state has registered. It is a userdata in the state's registry. */
struct listening {
  struct mb_listen_entry *first, **next_at;
  int calls;          /* of listen{} */
  const char *closed; /* the reason why listen is an error now; NULL: it may be called */
};

static char listening_key; /* its address is the key */

static struct listening *listening_of(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &listening_key);
  struct listening *all = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return all;
}

void mb_listen_close(lua_State *L, const char *reason) { listening_of(L)->closed = reason; }

/* ---- registering ---- */

/* Pops a string. Returns it; the registry keeps it from being collected. */
static const char *anchor_string(lua_State *L) {
  const char *text = lua_tostring(L, -1);
  luaL_ref(L, LUA_REGISTRYINDEX);
  return text;
}

/* Pops a list. Returns the list's strings as one, with commas between them. */
static const char *anchor_list(lua_State *L) {
  int list = lua_gettop(L);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, list); i++) {
    if (i > 1) luaL_addchar(&b, ',');
    lua_rawgeti(L, list, i);
    luaL_addvalue(&b);
  }
  luaL_pushresult(&b);
  lua_remove(L, list);
  return anchor_string(L);
}

/* Pops a field's value, which was checked. Stores it as the field's type says. */
static void store(lua_State *L, const struct mb_listen_field *f, void *at) {
  switch ((enum mb_field_type)f->type) {
    case MB_FIELD_FUNCTION:
      *(int *)at = luaL_ref(L, LUA_REGISTRYINDEX);
      return;
    case MB_FIELD_TEXT:
    case MB_FIELD_HOST:
    case MB_FIELD_PATH:
      *(const char **)at = anchor_string(L);
      return;
    case MB_FIELD_NETWORKS:
      *(const char **)at = anchor_list(L);
      return;
    case MB_FIELD_SANDBOX:
      *(const struct mb_sandbox **)at = mb_sandbox_wish_take(L);
      return;
    case MB_FIELD_BOOLEAN:
      *(bool *)at = lua_toboolean(L, -1);
      break;
    case MB_FIELD_SECONDS:
    case MB_FIELD_PAUSE:
      *(double *)at = lua_tonumber(L, -1);
      break;
    case MB_FIELD_INTEGER:
    case MB_FIELD_BYTES:
      *(lua_Integer *)at = lua_tointeger(L, -1);
      break;
    case MB_FIELD_PROTO:
      *(enum mb_proto *)at = mb_listen_proto(L);
      break;
    case MB_FIELD_TABLE:
      break;
  }
  lua_pop(L, 1);
}

/* Stores the fields of the table at index, which was checked, into the owner's struct, where those that are absent stay. */
static void store_fields(lua_State *L, int index, unsigned owner, void *to) {
  for (const struct mb_listen_field *f = NULL; (f = mb_listen_next(f, owner)) != NULL;) {
    if (f->offset == MB_FIELD_NOT_STORED) continue;
    if (mb_listen_field(L, index, f->name) == LUA_TNIL) {
      lua_pop(L, 1);
      if (!f->fallback[0]) continue;
      lua_pushstring(L, f->fallback);
    }
    store(L, f, (char *)to + f->offset);
  }
}

static struct mb_service *new_service(lua_State *L, struct listening *all) {
  struct mb_service *service = mb_state_new_anchored(L, sizeof *service);
  service->number = ++all->calls;
  service->prepare = service->connect = service->finish = LUA_NOREF;
  service->pre_fork = service->min_fork = MB_COUNT_NOT_SAID;
  service->fork_delay = service->fork_error_delay = service->exit_delay = MB_PAUSE_NOT_SAID;
  return service;
}

static struct mb_listen_entry *new_entry(lua_State *L, const struct mb_service *service) {
  struct mb_listen_entry *entry = mb_state_new_anchored(L, sizeof *entry);
  entry->service = service;
  return entry;
}

static void add(struct listening *all, struct mb_listen_entry *entry) {
  *all->next_at = entry;
  all->next_at = &entry->next;
}

/* Returns the listener of the table at index, which was checked. */
static struct mb_listen_entry *read_entry(lua_State *L, int index,
                                          const struct mb_service *service) {
  struct mb_listen_entry *entry = new_entry(L, service);
  mb_listen_field(L, index, "proto");
  enum mb_proto proto = mb_listen_proto(L);
  lua_pop(L, 1);
  store_fields(L, index, MB_FIELD_OF(proto), entry);
  /* The older spellings name no host. */
  if (proto == MB_PROTO_TCP4) entry->text = entry->localhost ? "127.0.0.1" : "0.0.0.0";
  if (proto == MB_PROTO_TCP6) entry->text = entry->localhost ? "::1" : "::";
  return entry;
}

/*
 * listen{ {proto=..., ...}, ..., connect = f, ... }
 * Registers listeners and their handlers. The fields are the rows of listen_fields.c; mb-handle(8) has
 * them all.
 * Source: reference, "Global function listen{...}".
 */
static int listen_call(lua_State *L) {
  struct listening *all = listening_of(L);
  if (all->closed) return luaL_error(L, "listen: %s", all->closed);
  if (!lua_istable(L, 1))
    return luaL_error(L, "listen: expected a table, got %s", luaL_typename(L, 1));
  lua_settop(L, 1);
  mb_listen_check_call(L, 1);
  lua_Integer count = (lua_Integer)lua_rawlen(L, 1);

  /* Everything is checked before anything is registered. */
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, 1, i);
    mb_listen_check_listener(L, 2, (int)i);
    lua_settop(L, 1);
  }

  struct mb_service *service = new_service(L, all);
  store_fields(L, 1, MB_FIELD_OF_CALL, service);
  if (count == 0) add(all, new_entry(L, service));
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, 1, i);
    add(all, read_entry(L, 2, service));
    lua_settop(L, 1);
  }
  return 0;
}

void mb_listen_open(lua_State *L) {
  struct listening *all = lua_newuserdata(L, sizeof *all);
  *all = (struct listening){.next_at = &all->first};
  lua_rawsetp(L, LUA_REGISTRYINDEX, &listening_key);
  lua_register(L, "listen", listen_call);
  lua_pushliteral(L, MOONBRIDGE_VERSION);
  lua_setglobal(L, "_MOONBRIDGE_VERSION");
}

void mb_listen_any(lua_State *L) {
  struct listening *all = listening_of(L);
  struct mb_service *service = new_service(L, all);
  service->connect = luaL_ref(L, LUA_REGISTRYINDEX);
  add(all, new_entry(L, service));
}

const struct mb_listen_entry *mb_listen_first(lua_State *L) { return listening_of(L)->first; }

/* ---- finding ---- */

/* ask  true: only hosts that are names match, after a look-up; false: only the others do */
static bool matches(const struct mb_listen_entry *l, const struct mb_addr *local, int fd,
                    bool ask) {
  if (l->proto == MB_PROTO_LOCAL) return !ask && mb_match_path(l->text, local);
  if (l->proto != MB_PROTO_TCP && l->proto != MB_PROTO_TCP4 && l->proto != MB_PROTO_TCP6)
    return false;
  if (l->port != mb_addr_port(local)) return false;
  if (l->proto == MB_PROTO_TCP6 && !mb_addr_is_pure_ip6(local)) return false;
  switch (mb_match_host(l->text, local, fd)) {
    case MB_MATCH_YES:
      return !ask;
    case MB_MATCH_NAME:
      return ask && mb_match_name(l->text, local);
    default:
      return false;
  }
}

static bool takes_connections(const struct mb_listen_entry *l) {
  return l->proto != MB_PROTO_INTERVAL && l->proto != MB_PROTO_MAIN;
}

const struct mb_listen_entry *mb_listen_find(lua_State *L, const struct mb_addr *local, int fd,
                                             int number) {
  const struct mb_listen_entry *first = mb_listen_first(L), *any = NULL;
  int n = 0;
  for (const struct mb_listen_entry *l = first; l; l = l->next) {
    n++;
    if (number > 0) {
      if (n == number) return takes_connections(l) ? l : NULL;
      continue;
    }
    if (l->proto == MB_PROTO_ANY) {
      if (!any) any = l;
    } else if (local ? matches(l, local, fd, false) : takes_connections(l)) {
      return l;
    }
  }
  for (const struct mb_listen_entry *l = first; l && local && number == 0; l = l->next) {
    if (matches(l, local, fd, true)) return l;
  }
  return any;
}

const char *mb_listen_name(const struct mb_listen_entry *entry) {
  return entry->text ? entry->text : mb_proto_name(entry->proto);
}

/* ---- showing ---- */

void mb_listen_describe_entry(const struct mb_listen_entry *l, char text[MB_LISTEN_TEXT_MAX]) {
  switch (l->proto) {
    case MB_PROTO_ANY:
      strcpy(text, "any connection");
      break;
    case MB_PROTO_LOCAL:
      snprintf(text, MB_LISTEN_TEXT_MAX, "local %s", l->text);
      break;
    case MB_PROTO_INTERVAL:
      snprintf(text, MB_LISTEN_TEXT_MAX, "interval %s every %.14g s%s",
               l->text ? l->text : "(no name)", l->delay, l->strict ? ", strict" : "");
      break;
    case MB_PROTO_MAIN:
      snprintf(text, MB_LISTEN_TEXT_MAX, "main %s", l->text ? l->text : "(no name)");
      break;
    default:
      snprintf(text, MB_LISTEN_TEXT_MAX, strchr(l->text, ':') ? "%s [%s]:%d" : "%s %s:%d",
               mb_proto_name(l->proto), l->text, (int)l->port);
      break;
  }
  if (l->proxy_protocol) {
    size_t at = strlen(text);
    snprintf(text + at, MB_LISTEN_TEXT_MAX - at, ", PROXY protocol");
  }
}

void mb_listen_print(lua_State *L, const struct mb_options *options, FILE *to) {
  int n = 0;
  for (const struct mb_listen_entry *l = mb_listen_first(L); l; l = l->next) {
    char text[MB_LISTEN_TEXT_MAX];
    mb_listen_describe_entry(l, text);
    fprintf(to, "%d %s\n", ++n, text);
    mb_sandbox_step_print(l->service, options, to);
  }
}

void mb_listen_describe(lua_State *L) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (const struct mb_listen_entry *l = mb_listen_first(L); l; l = l->next) {
    char text[MB_LISTEN_TEXT_MAX];
    mb_listen_describe_entry(l, text);
    luaL_addstring(&b, text);
    if (l->next) luaL_addstring(&b, ", ");
  }
  luaL_pushresult(&b);
}
