/*
 * Lua module: calls poll(2) from C, to compare moonbridge_io.poll with it.
 * cpoll(descriptors, rounds) returns the seconds that so many calls take. No call may find an event.
 */
#define _GNU_SOURCE
#include <lauxlib.h>
#include <poll.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int cpoll(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_Integer rounds = luaL_checkinteger(L, 2);
  size_t count = lua_rawlen(L, 1);
  struct pollfd *fds = lua_newuserdata(L, (count + 1) * sizeof *fds);
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, 1, (lua_Integer)i + 1);
    fds[i].fd = (int)luaL_checkinteger(L, -1);
    fds[i].events = POLLIN;
    lua_pop(L, 1);
  }
  double begin = now();
  for (lua_Integer i = 0; i < rounds; i++) {
    if (poll(fds, count, 0) != 0) return luaL_error(L, "not idle");
  }
  lua_pushnumber(L, now() - begin);
  return 1;
}

int luaopen_cpoll(lua_State *L);

int luaopen_cpoll(lua_State *L) {
  lua_pushcfunction(L, cpoll);
  return 1;
}
