/* The life of LuaSocket's TCP objects, and their method table. */
#include "api/luasocket/luasocket_object.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/luasocket/luasocket_methods.h"
#include "base/fdio.h"
#include "socket/standin.h"
#include "state/lazy_functions.h"
#include "state/state.h"

/* ---- classes ---- */

static const char *const names[] = {
    [MB_LUASOCKET_MASTER] = "tcp{master}",
    [MB_LUASOCKET_CLIENT] = "tcp{client}",
    [MB_LUASOCKET_SERVER] = "tcp{server}",
};

/* Their addresses are the keys of the classes' metatables in the registry. */
static const char keys[sizeof names / sizeof *names];

/* Returns the place where the state keeps the address of a class's metatable, for comparisons. */
static const void **metatable_of(lua_State *L, enum mb_luasocket_class class) {
  return &mb_state_of(L)->types[MB_TYPE_LUASOCKET_MASTER + class];
}

struct mb_luasocket *mb_luasocket_test(lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index)) return NULL;
  const void *metatable = lua_topointer(L, -1);
  lua_pop(L, 1);
  struct mb_luasocket *s = lua_touserdata(L, index);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (metatable == *metatable_of(L, (enum mb_luasocket_class)i)) return s;
  }
  return NULL;
}

struct mb_luasocket *mb_luasocket_any(lua_State *L) {
  struct mb_luasocket *s = mb_luasocket_test(L, 1);
  if (!s) luaL_argerror(L, 1, "tcp{any} expected");
  return s;
}

struct mb_luasocket *mb_luasocket_check(lua_State *L, enum mb_luasocket_class class) {
  struct mb_luasocket *s = mb_luasocket_test(L, 1);
  if (!s || s->class != class) {
    char message[32];
    snprintf(message, sizeof message, "%s expected", names[class]);
    luaL_argerror(L, 1, message);
  }
  return s;
}

/* ---- life ---- */

int mb_luasocket_fd(const struct mb_luasocket *s) {
  if (s->stands_in) return mb_standin_fd();
  if (s->class != MB_LUASOCKET_CLIENT) return s->fd;
  if (!mb_handle_is_open(s->h)) return -1;
  return mb_handle_fd(s->h);
}

static void close_connection(struct mb_luasocket *s) {
  if (!mb_handle_is_open(s->h)) return;
  if (!s->linger.l_onoff) {
    mb_handle_close(s->h);
  } else if (s->linger.l_linger == 0) {
    mb_handle_reset(s->h);
  } else {
    mb_handle_close_lingering(s->h, &s->linger);
  }
}

void mb_luasocket_close(struct mb_luasocket *s) {
  if (s->class == MB_LUASOCKET_CLIENT) {
    close_connection(s);
    return;
  }
  if (s->fd >= 0) close(s->fd);
  s->fd = -1;
  mb_alloc_note(s->h->alloc, &s->holds, false);
  s->stands_in = s->elsewhere = false;
}

/*
 * object:close()
 * Returns 1, also when the object is closed already.
 */
static int method_close(lua_State *L) {
  mb_luasocket_close(mb_luasocket_any(L));
  return mb_luasocket_done(L);
}

/* Leaves a wrapped connection open: the handler may still hold its native socket. */
static int object_gc(lua_State *L) {
  struct mb_luasocket *s = mb_luasocket_any(L);
  if (s->class != MB_LUASOCKET_CLIENT || s->owns) mb_luasocket_close(s);
  return 0;
}

static int object_tostring(lua_State *L) {
  const struct mb_luasocket *s = mb_luasocket_any(L);
  lua_pushfstring(L, "%s: %p", names[s->class], (const void *)s);
  return 1;
}

/* object:getfd(): returns the descriptor, -1 when the object is closed. */
static int method_getfd(lua_State *L) {
  struct mb_luasocket *s = mb_luasocket_any(L);
  if (s->h) mb_handle_keep_no_byte(s->h); /* the program may wait or read there by itself */
  lua_pushinteger(L, mb_luasocket_fd(s));
  return 1;
}

/* Returns the linger option of a descriptor that is not the object's own yet. */
static struct linger linger_of(int fd) {
  struct linger linger;
  socklen_t len = sizeof linger;
  if (getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len) != 0) return (struct linger){0, 0};
  return linger;
}

/*
 * Puts another descriptor in place of a connection's. The old one gets a new owner, who will close it, so a
 * linger option of the script goes with it.
 */
static void replace_connection(struct mb_luasocket *s, int fd) {
  int old = mb_luasocket_fd(s);
  struct linger linger = s->linger;
  if (old < 0 || old != fd) s->linger = linger_of(fd);
  mb_handle_replace(s->h, fd);
  if (fd >= 0) s->ended = false;
  if (old >= 0 && old != fd && linger.l_onoff)
    setsockopt(old, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

/* object:setfd(fd): puts another descriptor in place of the old one, which is not closed. -1: none. */
static int method_setfd(lua_State *L) {
  struct mb_luasocket *s = mb_luasocket_any(L);
  int fd = (int)luaL_checknumber(L, 2);
  if (fd < 0) fd = -1;
  if (s->class == MB_LUASOCKET_CLIENT) {
    replace_connection(s, fd);
  } else {
    s->linger = linger_of(fd);
    s->fd = fd;
    s->stands_in = s->elsewhere = false;
  }
  return 0;
}

/* object:dirty(): returns whether the read buffer holds data. */
static int method_dirty(lua_State *L) {
  const struct mb_luasocket *s = mb_luasocket_any(L);
  lua_pushboolean(L, s->class == MB_LUASOCKET_CLIENT && mb_buf_len(&s->h->in) > 0);
  return 1;
}

/* ---- the types ---- */

/* A new method needs a C function, a row here, a test, and an entry in mb.luasocket(3). */
static const luaL_Reg methods[] = {
    {"accept", mb_luasocket_method_accept},
    {"bind", mb_luasocket_method_bind},
    {"close", method_close},
    {"connect", mb_luasocket_method_connect},
    {"dirty", method_dirty},
    {"getfamily", mb_luasocket_method_getfamily},
    {"getfd", method_getfd},
    {"getoption", mb_luasocket_method_getoption},
    {"getpeername", mb_luasocket_method_getpeername},
    {"getsockname", mb_luasocket_method_getsockname},
    {"getstats", mb_luasocket_method_getstats},
    {"gettimeout", mb_luasocket_method_gettimeout},
    {"listen", mb_luasocket_method_listen},
    {"receive", mb_luasocket_method_receive},
    {"send", mb_luasocket_method_send},
    {"setfd", method_setfd},
    {"setoption", mb_luasocket_method_setoption},
    {"setpeername", mb_luasocket_method_connect},
    {"setsockname", mb_luasocket_method_bind},
    {"setstats", mb_luasocket_method_setstats},
    {"settimeout", mb_luasocket_method_settimeout},
    {"shutdown", mb_luasocket_method_shutdown},
    {NULL, NULL},
};

/* Pushes the metatable of the classes' tables of methods. */
static void push_methods(lua_State *L) {
  static char key; /* its address is the key in the registry */
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  mb_lazy_functions_push(L, methods, NULL);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
}

/* Pushes the metatable of a class; the first call makes it. */
static void push_metatable(lua_State *L, enum mb_luasocket_class class) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &keys[class]) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_createtable(L, 0, 4);
  lua_pushcfunction(L, object_gc);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, object_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushstring(L, names[class]);
  lua_setfield(L, -2, "__name");
  lua_createtable(L, 0, 8); /* with room for the methods that a program calls */
  lua_pushstring(L, names[class]);
  lua_setfield(L, -2, "class");
  push_methods(L);
  lua_setmetatable(L, -2);
  lua_setfield(L, -2, "__index");
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &keys[class]);
  *metatable_of(L, class) = lua_topointer(L, -1);
}

struct mb_luasocket *mb_luasocket_new(lua_State *L, enum mb_luasocket_class class, int handle) {
  handle = lua_absindex(L, handle);
  struct mb_luasocket *s = lua_newuserdata(L, sizeof *s);
  memset(s, 0, sizeof *s);
  s->class = class;
  s->h = lua_touserdata(L, handle);
  s->fd = -1;
  s->block = s->total = -1;
  lua_pushvalue(L, handle);
  lua_setuservalue(L, -2);
  push_metatable(L, class);
  lua_setmetatable(L, -2);
  s->born = mb_now_usec();
  mb_alloc_note(s->h->alloc, &s->holds, class == MB_LUASOCKET_MASTER);
  return s;
}

void mb_luasocket_become(lua_State *L, int index, enum mb_luasocket_class class) {
  index = lua_absindex(L, index);
  struct mb_luasocket *s = lua_touserdata(L, index);
  push_metatable(L, class);
  s->class = class;
  lua_setmetatable(L, index);
  if (class == MB_LUASOCKET_CLIENT)
    mb_alloc_note(s->h->alloc, &s->holds, false); /* its handle does */
}
