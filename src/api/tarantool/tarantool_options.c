/* setsockopt(2) and getsockopt(2): one table gives the form of each option's value. */
#include "api/tarantool/tarantool_options.h"

#include <errno.h>
#include <lauxlib.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "api/tarantool/tarantool_address.h"
#include "api/tarantool/tarantool_names.h"
#include "base/fdio.h"

enum form {
  FORM_INTEGER, /* also a flag: reads as 0 or 1; may be set to true or false */
  FORM_STRING,
  FORM_SECONDS, /* with fractions */
  FORM_USER,    /* a table: pid, uid, gid */
};

struct option {
  int level;
  char name[20]; /* in place, as in tarantool_names.h */
  int number;
  enum form form;
  bool read_only;
};

#define SOCKET(name, form, read_only) \
  { SOL_SOCKET, #name, name, form, read_only }
#define TCP(name) \
  { IPPROTO_TCP, #name, name, FORM_INTEGER, false }

/* A new option needs a row here, and a row in the test. */
static const struct option options[] = {
    SOCKET(SO_ACCEPTCONN, FORM_INTEGER, true),
    SOCKET(SO_BINDTODEVICE, FORM_STRING, false),
    SOCKET(SO_BROADCAST, FORM_INTEGER, false),
    SOCKET(SO_BSDCOMPAT, FORM_INTEGER, false),
    SOCKET(SO_DEBUG, FORM_INTEGER, false),
    SOCKET(SO_DOMAIN, FORM_INTEGER, true),
    SOCKET(SO_ERROR, FORM_INTEGER, true),
    SOCKET(SO_DONTROUTE, FORM_INTEGER, false),
    SOCKET(SO_KEEPALIVE, FORM_INTEGER, false),
    SOCKET(SO_MARK, FORM_INTEGER, false),
    SOCKET(SO_OOBINLINE, FORM_INTEGER, false),
    SOCKET(SO_PASSCRED, FORM_INTEGER, false),
    SOCKET(SO_PEERCRED, FORM_USER, true),
    SOCKET(SO_PRIORITY, FORM_INTEGER, false),
    SOCKET(SO_PROTOCOL, FORM_INTEGER, true),
    SOCKET(SO_RCVBUF, FORM_INTEGER, false),
    SOCKET(SO_RCVBUFFORCE, FORM_INTEGER, false),
    SOCKET(SO_RCVLOWAT, FORM_INTEGER, false),
    SOCKET(SO_SNDLOWAT, FORM_INTEGER, false),
    SOCKET(SO_RCVTIMEO, FORM_SECONDS, false),
    SOCKET(SO_SNDTIMEO, FORM_SECONDS, false),
    SOCKET(SO_REUSEADDR, FORM_INTEGER, false),
    SOCKET(SO_REUSEPORT, FORM_INTEGER, false),
    SOCKET(SO_SNDBUF, FORM_INTEGER, false),
    SOCKET(SO_SNDBUFFORCE, FORM_INTEGER, false),
    SOCKET(SO_TIMESTAMP, FORM_INTEGER, false),
    SOCKET(SO_TYPE, FORM_INTEGER, true),
    TCP(TCP_CORK),
    TCP(TCP_DEFER_ACCEPT),
    TCP(TCP_KEEPCNT),
    TCP(TCP_KEEPIDLE),
    TCP(TCP_KEEPINTVL),
    TCP(TCP_MAXSEG),
    TCP(TCP_NODELAY),
    TCP(TCP_QUICKACK),
    TCP(TCP_SYNCNT),
    TCP(TCP_USER_TIMEOUT),
    {IPPROTO_IPV6, "IPV6_V6ONLY", IPV6_V6ONLY, FORM_INTEGER, false},
};

static const struct mb_tarantool_name levels[] = {
    {"SOL_SOCKET", SOL_SOCKET},     {"socket", SOL_SOCKET}, {"SOL_TCP", IPPROTO_TCP},
    {"IPPROTO_TCP", IPPROTO_TCP},   {"tcp", IPPROTO_TCP},   {"SOL_IPV6", IPPROTO_IPV6},
    {"IPPROTO_IPV6", IPPROTO_IPV6}, {"ipv6", IPPROTO_IPV6}, {"SOL_IP", IPPROTO_IP},
    {"IPPROTO_IP", IPPROTO_IP},     {"ip", IPPROTO_IP},     {"SOL_UDP", IPPROTO_UDP},
    {"IPPROTO_UDP", IPPROTO_UDP},   {"udp", IPPROTO_UDP},   {"", 0},
};

/* Throws. The system's value belongs to the handle: see mb_fd_set_reset_on_close. */
static void refuse_linger(lua_State *L) {
  luaL_error(L, "SO_LINGER is read and set with socket:linger()");
}

/* Returns the option whose number the script gives. One that is not in the table is an integer. */
static const struct option *numbered(lua_State *L, int index, int level, struct option *ret) {
  *ret = (struct option){level, "option", (int)luaL_checkinteger(L, index), FORM_INTEGER, false};
  if (level == SOL_SOCKET && ret->number == SO_LINGER) refuse_linger(L);
  for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
    if (options[i].level == level && options[i].number == ret->number) return &options[i];
  }
  return ret;
}

/*
 * Returns the option for (level, name) from `index` on; NULL for an unknown level. *ret has room for an
 * option that is not in the table.
 */
static const struct option *option_at(lua_State *L, int index, struct option *ret) {
  int level;
  if (lua_isnoneornil(L, index)) return NULL;
  if (mb_tarantool_check_number(L, index, levels, &level) < 0) return NULL;
  if (lua_type(L, index + 1) == LUA_TNUMBER) return numbered(L, index + 1, level, ret);
  const char *name = luaL_checkstring(L, index + 1);
  for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
    if (options[i].level == level && strcmp(options[i].name, name) == 0) return &options[i];
  }
  if (strcmp(name, "SO_LINGER") == 0) refuse_linger(L);
  luaL_error(L, "unknown socket option %s", name);
  return NULL;
}

static int set_integer(lua_State *L, int index, int fd, const struct option *o) {
  int value;
  if (lua_isboolean(L, index)) {
    value = lua_toboolean(L, index);
  } else {
    value = (int)luaL_checkinteger(L, index);
  }
  return setsockopt(fd, o->level, o->number, &value, sizeof value);
}

static int set_string(lua_State *L, int index, int fd, const struct option *o) {
  size_t len;
  const char *text = luaL_checklstring(L, index, &len);
  return setsockopt(fd, o->level, o->number, text, (socklen_t)len);
}

static int set_seconds(lua_State *L, int index, int fd, const struct option *o) {
  lua_Number seconds = luaL_checknumber(L, index);
  luaL_argcheck(L, seconds >= 0, index, "expected a number of seconds, 0 or more");
  if (seconds > MB_SECONDS_MAX) seconds = 0; /* no timeout */
  int64_t usec = mb_usec_of(seconds);
  struct timeval value = {usec / 1000000, usec % 1000000};
  return setsockopt(fd, o->level, o->number, &value, sizeof value);
}

int mb_tarantool_setsockopt(lua_State *L, int index, int fd) {
  struct option any;
  const struct option *o = option_at(L, index, &any);
  if (!o) return -EINVAL;
  if (o->read_only) return luaL_error(L, "socket option %s is read only", o->name);
  int r;
  switch (o->form) {
    case FORM_STRING:
      r = set_string(L, index + 2, fd, o);
      break;
    case FORM_SECONDS:
      r = set_seconds(L, index + 2, fd, o);
      break;
    default:
      r = set_integer(L, index + 2, fd, o);
  }
  return r == 0 ? 0 : -errno;
}

/* Returns the number under which an option is read: one that forces a size is read by its ordinary number. */
static int number_to_read(const struct option *o) {
  if (o->level != SOL_SOCKET) return o->number;
  if (o->number == SO_RCVBUFFORCE) return SO_RCVBUF;
  return o->number == SO_SNDBUFFORCE ? SO_SNDBUF : o->number;
}

static int push_integer(lua_State *L, int fd, const struct option *o) {
  int value = 0;
  socklen_t len = sizeof value;
  if (getsockopt(fd, o->level, number_to_read(o), &value, &len) != 0) return -errno;
  lua_pushinteger(L, value);
  return 0;
}

static int push_string(lua_State *L, int fd, const struct option *o) {
  char text[IFNAMSIZ + 1] = ""; /* the only string is the name of an interface */
  socklen_t len = IFNAMSIZ;
  if (getsockopt(fd, o->level, o->number, text, &len) != 0) return -errno;
  lua_pushstring(L, text);
  return 0;
}

static int push_seconds(lua_State *L, int fd, const struct option *o) {
  struct timeval value = {0, 0};
  socklen_t len = sizeof value;
  if (getsockopt(fd, o->level, o->number, &value, &len) != 0) return -errno;
  lua_pushnumber(L, (lua_Number)value.tv_sec + (lua_Number)value.tv_usec / 1e6);
  return 0;
}

static int push_user(lua_State *L, int fd, const struct option *o) {
  struct ucred user;
  socklen_t len = sizeof user;
  if (getsockopt(fd, o->level, o->number, &user, &len) != 0) return -errno;
  lua_createtable(L, 0, 3);
  lua_pushinteger(L, user.pid);
  lua_setfield(L, -2, "pid");
  lua_pushinteger(L, (lua_Integer)user.uid == (uid_t)-1 ? -1 : (lua_Integer)user.uid);
  lua_setfield(L, -2, "uid");
  lua_pushinteger(L, (lua_Integer)user.gid == (gid_t)-1 ? -1 : (lua_Integer)user.gid);
  lua_setfield(L, -2, "gid");
  return 0;
}

int mb_tarantool_getsockopt(lua_State *L, int index, int fd) {
  struct option any;
  const struct option *o = option_at(L, index, &any);
  if (!o) return -EINVAL;
  switch (o->form) {
    case FORM_STRING:
      return push_string(L, fd, o);
    case FORM_SECONDS:
      return push_seconds(L, fd, o);
    case FORM_USER:
      return push_user(L, fd, o);
    default:
      return push_integer(L, fd, o);
  }
}
