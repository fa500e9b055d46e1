/* Lets require find the modules that are part of the program. */
#include "app/embedded.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "api/http/http_core.h"
#include "api/http/http_misuse.h"
#include "api/http/http_server_detach.h"
#include "api/http/http_server_upgrade.h"
#include "api/http/static_core.h"
#include "api/http/websocket.h"
#include "api/luasocket/luasocket.h"
#include "api/luasocket/luasocket_dns.h"
#include "api/luasocket/luasocket_udp.h"
#include "api/mb/crypto.h"
#include "api/mb/log_module.h"
#include "api/mb/scheduler_core.h"
#include "api/mb/style.h"
#include "api/tarantool/tarantool_core.h"
#include "app/deploy_core.h"
#include "app/dev_core.h"
#include "app/own_name.h"
#include "socket/listener_object.h"
#include "state/libraries.h"
#include "state/state.h"

/* Modules of C functions: a new one is a row here. */
static const luaL_Reg native[] = {
    {"mb.crypto", mb_crypto_open},
    {"mb.deploy.core", mb_deploy_core_open},
    {"mb.dev.core", mb_dev_core_open},
    {"mb.http.core", mb_http_core_open},
    {"mb.http.misuse", mb_http_misuse_open},
    {"mb.http_server.adopt", mb_http_server_adopt_open},
    {"mb.http_server.detach", mb_http_server_detach_open},
    {"mb.http_server.upgrade", mb_http_server_upgrade_open},
    {"mb.http_server.listener", mb_listener_object_open},
    {"mb.log", mb_log_module_open},
    {"mb.luasocket", mb_luasocket_open},
    {"mb.luasocket.dns", mb_luasocket_dns_open},
    {"mb.luasocket.udp.port", mb_luasocket_udp_open},
    {"mb.scheduler.core", mb_scheduler_core_open},
    {"mb.static.core", mb_static_core_open},
    {"mb.style", mb_style_open},
    {"mb.tarantool.core", mb_tarantool_core_open},
    {"mb.websocket.core", mb_websocket_open},
    {NULL, NULL},
};

/* Pushes what package.loaded has under a name. Returns whether that is more than nil or false. */
static bool is_loaded(lua_State *L, const char *name) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, name);
  return lua_toboolean(L, -1);
}

/* The loader of a standard library that was opened only after require had looked for it. */
static int return_loaded(lua_State *L) {
  is_loaded(L, luaL_checkstring(L, 1));
  return 1;
}

static int compare(const void *name, const void *module) {
  return strcmp(name, ((const struct mb_embedded *)module)->name);
}

static const struct mb_embedded *find_code(const char *name) {
  return bsearch(name, mb_embedded_modules, mb_embedded_count, sizeof *mb_embedded_modules,
                 compare);
}

static lua_CFunction find_native(const char *name) {
  for (const luaL_Reg *m = native; m->name; m++) {
    if (strcmp(m->name, name) == 0) return m->func;
  }
  return NULL;
}

/*
 * A searcher (Lua manual, package.searchers): returns a loader, or a text that says what was tried.
 * package.preload comes first, as in Lua: a chunk of ours puts its parts there (see embed.c), for which it
 * gets that table as its second argument.
 */
static int search(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  if (lua_getfield(L, -1, name) != LUA_TNIL) return 1;
  const struct mb_embedded *found = find_code(name);
  if (found && found->size > 0) {
    mb_libraries_open(L, found->libraries);
    const char *chunk = lua_pushfstring(L, "=%s", name);
    const char *code = (const char *)mb_embedded_code + found->offset;
    if (luaL_loadbufferx(L, code, found->size, chunk, "b") != LUA_OK) return lua_error(L);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    return 2;
  }
  lua_CFunction open = find_native(name);
  if (open) {
    lua_pushcfunction(L, open);
    return 1;
  }
  /* It may be a library that is not open yet. Any other module may use them all. */
  mb_libraries_open(L, mb_libraries_named(name, strlen(name)));
  if (is_loaded(L, name)) {
    lua_pushcfunction(L, return_loaded);
    return 1;
  }
  mb_libraries_open(L, MB_LIBRARIES_ALL);
  const char *script = mb_state_of(L)->script;
  if (mb_own_name_is(name, script)) return mb_own_name_search(L, search, script);
  lua_pushfstring(L, "\n\tno module '%s' in mb-handle", name);
  return 1;
}

bool mb_embedded_has(const char *name) { return find_code(name) || find_native(name); }

void mb_embedded_open(lua_State *L) {
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "searchers");
  for (lua_Integer i = (lua_Integer)lua_rawlen(L, -1); i >= 1; i--) {
    lua_rawgeti(L, -1, i);
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushcfunction(L, search);
  lua_rawseti(L, -2, 1);
  lua_pop(L, 2);
}
