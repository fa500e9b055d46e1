/*
 * What socket.NAME is. A field that the script has set comes first, then a method, then an
 * attribute, which is made when it is asked for: few scripts ask.
 */
#include "handle_attr.h"

#include <lauxlib.h>
#include <string.h>

#include "handle.h"

static void push_ip4(lua_State *L, const struct mb_addr *addr) {
  const unsigned char *bytes = mb_addr_ip4(addr);
  if (bytes) {
    lua_pushlstring(L, (const char *)bytes, 4);
  } else {
    lua_pushnil(L);
  }
}

static void push_ip6(lua_State *L, const struct mb_addr *addr) {
  unsigned char bytes[16];
  if (mb_addr_ip6(addr, bytes)) {
    lua_pushlstring(L, (const char *)bytes, sizeof bytes);
  } else {
    lua_pushnil(L);
  }
}

static void push_port(lua_State *L, const struct mb_addr *addr) {
  if (mb_addr_port(addr)) {
    lua_pushinteger(L, mb_addr_port(addr));
  } else {
    lua_pushnil(L);
  }
}

static void push_text(lua_State *L, const struct mb_addr *addr) {
  char text[MB_ADDR_TEXT_MAX];
  if (mb_addr_text(addr, text)) {
    lua_pushstring(L, text);
  } else {
    lua_pushnil(L);
  }
}

static void local_ip4(lua_State *L, const struct mb_handle *h) { push_ip4(L, &h->local); }
static void local_ip6(lua_State *L, const struct mb_handle *h) { push_ip6(L, &h->local); }
static void local_tcpport(lua_State *L, const struct mb_handle *h) { push_port(L, &h->local); }
static void local_addr(lua_State *L, const struct mb_handle *h) { push_text(L, &h->local); }
static void remote_ip4(lua_State *L, const struct mb_handle *h) { push_ip4(L, &h->remote); }
static void remote_ip6(lua_State *L, const struct mb_handle *h) { push_ip6(L, &h->remote); }
static void remote_tcpport(lua_State *L, const struct mb_handle *h) { push_port(L, &h->remote); }
static void remote_addr(lua_State *L, const struct mb_handle *h) { push_text(L, &h->remote); }

static void fd(lua_State *L, const struct mb_handle *h) {
  if (h->in_fd >= 0) {
    lua_pushinteger(L, h->in_fd);
  } else {
    lua_pushnil(L);
  }
}

static const struct attribute {
  const char *name;
  void (*push)(lua_State *L, const struct mb_handle *h);
} attributes[] = {
    {"fd", fd},
    {"local_addr", local_addr},
    {"local_ip4", local_ip4},
    {"local_ip6", local_ip6},
    {"local_tcpport", local_tcpport},
    {"remote_addr", remote_addr},
    {"remote_ip4", remote_ip4},
    {"remote_ip6", remote_ip6},
    {"remote_tcpport", remote_tcpport},
};

/* __index(socket, key); upvalue 1: the methods. */
static int handle_index(lua_State *L) {
  luaL_checktype(L, 1, LUA_TUSERDATA); /* the debug library can call it with anything */
  if (lua_getuservalue(L, 1) == LUA_TTABLE) {
    lua_pushvalue(L, 2);
    if (lua_rawget(L, -2) != LUA_TNIL) return 1;
  }
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  if (lua_type(L, 2) != LUA_TSTRING) return 1;
  const char *name = lua_tostring(L, 2);
  for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
    if (strcmp(name, attributes[i].name) != 0) continue;
    attributes[i].push(L, mb_handle_at(L, 1));
    return 1;
  }
  return 1; /* nil; so is socket.interval but in an interval's handler */
}

/* __newindex(socket, key, value): a script's own fields stand in a table of the userdata's. */
static int handle_newindex(lua_State *L) {
  mb_handle_at(L, 1);
  if (lua_getuservalue(L, 1) != LUA_TTABLE) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setuservalue(L, 1);
  }
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 3);
  lua_rawset(L, -3);
  return 0;
}

static int handle_tostring(lua_State *L) {
  const struct mb_handle *h = mb_handle_at(L, 1);
  if (!mb_handle_is_open(h)) {
    lua_pushfstring(L, "socket (%s)", h->state == MB_HANDLE_RESET ? "reset" : "closed");
  } else if (h->kind == MB_FD_FILE) {
    lua_pushliteral(L, "socket (replay)");
  } else {
    char local[MB_ADDR_TEXT_MAX + 8], remote[MB_ADDR_TEXT_MAX + 8];
    mb_addr_label(&h->local, local);
    mb_addr_label(&h->remote, remote);
    lua_pushfstring(L, "socket (%s from %s)", local, remote);
  }
  return 1;
}

void mb_handle_set_attributes(lua_State *L) {
  lua_pushcclosure(L, handle_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, handle_newindex);
  lua_setfield(L, -2, "__newindex");
  lua_pushcfunction(L, handle_tostring);
  lua_setfield(L, -2, "__tostring");
  /* getmetatable must not give these functions to a script: they trust what Lua calls them with. */
  lua_pushliteral(L, MB_HANDLE_TYPE);
  lua_setfield(L, -2, "__metatable");
}
