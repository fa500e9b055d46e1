/* Error messages as LuaSocket has them: programs compare some of them, and those differ from the system's. */
#include <errno.h>
#include <netdb.h>
#include <string.h>

#include "base/rare.h"

#include "api/luasocket/luasocket_object.h"

const char *mb_luasocket_strerror(int r) {
  switch (-r) {
    case EADDRINUSE:
      return "address already in use";
    case EISCONN:
      return "already connected";
    case EACCES:
      return "permission denied";
    case ECONNREFUSED:
      return "connection refused";
    case ECONNABORTED:
    case ECONNRESET:
      return "closed";
    case ETIMEDOUT:
    case EAGAIN: /* a deadline of ours has passed */
      return "timeout";
    default:
      return strerror(-r);
  }
}

const char *mb_luasocket_io_error(int r) {
  switch (-r) {
    case 0:
    case EBADF:
    case ENOTCONN:
    case EPIPE:
    case ETIMEDOUT: /* the peer is silent; after "timeout" a script would try again */
      return "closed";
    default:
      return mb_luasocket_strerror(r);
  }
}

const char *mb_luasocket_gai_error(int code) {
  switch (code) {
    case EAI_AGAIN:
      return "temporary failure in name resolution";
    case EAI_FAIL:
      return "non-recoverable failure in name resolution";
    case EAI_MEMORY:
      return "memory allocation failure";
    case EAI_NONAME:
      return "host or service not provided, or not known";
    case EAI_SERVICE:
      return "service not supported for socket type";
    case EAI_SYSTEM:
      return strerror(errno);
    default:
      return MB_RARE(gai_strerror)(code);
  }
}

int mb_luasocket_fail(lua_State *L, const char *message) {
  lua_pushnil(L);
  lua_pushstring(L, message);
  return 2;
}

int mb_luasocket_done(lua_State *L) {
  lua_pushnumber(L, 1);
  return 1;
}
