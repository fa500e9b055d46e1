/* The names of errors, and the last error, which belongs to the Lua state. */
#include "api/tarantool/tarantool_errno.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#define ROW(name) \
  { #name, name }

/* The names are in place: each pointer would cost every start of the program a relocation. */
static const struct {
  char name[16];
  int number;
} errors[] = {
    ROW(E2BIG),
    ROW(EACCES),
    ROW(EADDRINUSE),
    ROW(EADDRNOTAVAIL),
    ROW(EADV),
    ROW(EAFNOSUPPORT),
    ROW(EAGAIN),
    ROW(EALREADY),
    ROW(EBADE),
    ROW(EBADF),
    ROW(EBADFD),
    ROW(EBADMSG),
    ROW(EBADR),
    ROW(EBADRQC),
    ROW(EBADSLT),
    ROW(EBFONT),
    ROW(EBUSY),
    ROW(ECANCELED),
    ROW(ECHILD),
    ROW(ECHRNG),
    ROW(ECOMM),
    ROW(ECONNABORTED),
    ROW(ECONNREFUSED),
    ROW(ECONNRESET),
    ROW(EDEADLK),
    ROW(EDEADLOCK),
    ROW(EDESTADDRREQ),
    ROW(EDOM),
    ROW(EDOTDOT),
    ROW(EDQUOT),
    ROW(EEXIST),
    ROW(EFAULT),
    ROW(EFBIG),
    ROW(EHOSTDOWN),
    ROW(EHOSTUNREACH),
    ROW(EHWPOISON),
    ROW(EIDRM),
    ROW(EILSEQ),
    ROW(EINPROGRESS),
    ROW(EINTR),
    ROW(EINVAL),
    ROW(EIO),
    ROW(EISCONN),
    ROW(EISDIR),
    ROW(EISNAM),
    ROW(EKEYEXPIRED),
    ROW(EKEYREJECTED),
    ROW(EKEYREVOKED),
    ROW(EL2HLT),
    ROW(EL2NSYNC),
    ROW(EL3HLT),
    ROW(EL3RST),
    ROW(ELIBACC),
    ROW(ELIBBAD),
    ROW(ELIBEXEC),
    ROW(ELIBMAX),
    ROW(ELIBSCN),
    ROW(ELNRNG),
    ROW(ELOOP),
    ROW(EMEDIUMTYPE),
    ROW(EMFILE),
    ROW(EMLINK),
    ROW(EMSGSIZE),
    ROW(EMULTIHOP),
    ROW(ENAMETOOLONG),
    ROW(ENAVAIL),
    ROW(ENETDOWN),
    ROW(ENETRESET),
    ROW(ENETUNREACH),
    ROW(ENFILE),
    ROW(ENOANO),
    ROW(ENOBUFS),
    ROW(ENOCSI),
    ROW(ENODATA),
    ROW(ENODEV),
    ROW(ENOENT),
    ROW(ENOEXEC),
    ROW(ENOKEY),
    ROW(ENOLCK),
    ROW(ENOLINK),
    ROW(ENOMEDIUM),
    ROW(ENOMEM),
    ROW(ENOMSG),
    ROW(ENONET),
    ROW(ENOPKG),
    ROW(ENOPROTOOPT),
    ROW(ENOSPC),
    ROW(ENOSR),
    ROW(ENOSTR),
    ROW(ENOSYS),
    ROW(ENOTBLK),
    ROW(ENOTCONN),
    ROW(ENOTDIR),
    ROW(ENOTEMPTY),
    ROW(ENOTNAM),
    ROW(ENOTRECOVERABLE),
    ROW(ENOTSOCK),
    ROW(ENOTSUP),
    ROW(ENOTTY),
    ROW(ENOTUNIQ),
    ROW(ENXIO),
    ROW(EOPNOTSUPP),
    ROW(EOVERFLOW),
    ROW(EOWNERDEAD),
    ROW(EPERM),
    ROW(EPFNOSUPPORT),
    ROW(EPIPE),
    ROW(EPROTO),
    ROW(EPROTONOSUPPORT),
    ROW(EPROTOTYPE),
    ROW(ERANGE),
    ROW(EREMCHG),
    ROW(EREMOTE),
    ROW(EREMOTEIO),
    ROW(ERESTART),
    ROW(ERFKILL),
    ROW(EROFS),
    ROW(ESHUTDOWN),
    ROW(ESOCKTNOSUPPORT),
    ROW(ESPIPE),
    ROW(ESRCH),
    ROW(ESRMNT),
    ROW(ESTALE),
    ROW(ESTRPIPE),
    ROW(ETIME),
    ROW(ETIMEDOUT),
    ROW(ETOOMANYREFS),
    ROW(ETXTBSY),
    ROW(EUCLEAN),
    ROW(EUNATCH),
    ROW(EUSERS),
    ROW(EWOULDBLOCK),
    ROW(EXDEV),
    ROW(EXFULL),
};

int mb_tarantool_errnos(lua_State *L) {
  int count = (int)(sizeof errors / sizeof *errors);
  lua_createtable(L, 0, count);
  for (int i = 0; i < count; i++) {
    lua_pushinteger(L, errors[i].number);
    lua_setfield(L, -2, errors[i].name);
  }
  return 1;
}

/* ---- the last error ---- */

static const char last_error_key; /* its address is the key of the number in the registry */
static const char refusal_key; /* and this the key of the text, if the last EADDRNOTAVAIL has one */

int mb_tarantool_errno(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &last_error_key) == LUA_TNIL) lua_pushinteger(L, 0);
  if (!lua_isnoneornil(L, 1)) {
    lua_pushinteger(L, luaL_checkinteger(L, 1));
    lua_rawsetp(L, LUA_REGISTRYINDEX, &last_error_key);
  }
  return 1;
}

int mb_tarantool_strerror(lua_State *L) {
  lua_Integer number = luaL_checkinteger(L, 1);
  if (number == EADDRNOTAVAIL && lua_rawgetp(L, LUA_REGISTRYINDEX, &refusal_key) != LUA_TNIL)
    return 1;
  lua_pushstring(L, strerror((int)number));
  return 1;
}

int mb_tarantool_push_error(lua_State *L, int r) {
  lua_pushinteger(L, -r);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &last_error_key);
  if (r == -EADDRNOTAVAIL) {
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &refusal_key);
  }
  lua_pushnil(L);
  lua_pushinteger(L, -r);
  return 2;
}

int mb_tarantool_push_refusal(lua_State *L, const char *message) {
  mb_tarantool_push_error(L, -EADDRNOTAVAIL);
  lua_pushstring(L, message);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &refusal_key);
  return 3;
}

int mb_tarantool_push_outcome(lua_State *L, int r) {
  if (r < 0) return mb_tarantool_push_error(L, r);
  lua_pushboolean(L, 1);
  return 1;
}
