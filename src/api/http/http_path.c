/* Functions of mb.http.core for paths of URLs. */
#include "api/http/http_path.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "http/http_form.h"
#include "http/http_segment.h"

/*
 * http.decode_path(text[, strict])
 * Returns the text with every %XX decoded; "+" stays. strict: nil when a NUL or a slash would come of it.
 * Source: RFC 3986, section 2.1.
 */
int mb_http_decode_path(lua_State *L) {
  struct mb_span text;
  luaL_Buffer b;
  text.data = luaL_checklstring(L, 1, &text.size);
  bool strict = lua_toboolean(L, 2);
  char *to = luaL_buffinitsize(L, &b, text.size);
  size_t size = mb_form_decode(to, text, false);
  if (strict) {
    size_t slashes = 0;
    for (size_t i = 0; i < text.size; i++) slashes += text.data[i] == '/';
    for (size_t i = 0; i < size; i++) slashes -= to[i] == '/';
    if (slashes != 0 || memchr(to, '\0', size)) {
      lua_pushnil(L);
      return 1;
    }
  }
  luaL_pushresultsize(&b, size);
  return 1;
}

/*
 * core.path_segments(path)
 * Returns the segments between the slashes of a path, decoded, as a sequence; nil when one of them cannot be
 * the name of anything (http/http_segment.h).
 */
int mb_http_path_segments(lua_State *L) {
  lua_settop(L, 1);
  size_t size;
  const char *path = luaL_checklstring(L, 1, &size), *end = path + size;
  luaL_Buffer b;
  lua_createtable(L, 4, 0);
  char *to = luaL_buffinitsize(L, &b, size);
  for (lua_Integer i = 1;; i++) {
    const char *slash = memchr(path, '/', (size_t)(end - path));
    struct mb_span segment = {path, (size_t)((slash ? slash : end) - path)};
    ptrdiff_t length = mb_http_segment_decode(to, segment);
    if (length < 0) {
      lua_pushnil(L);
      return 1;
    }
    lua_pushlstring(L, to, (size_t)length);
    lua_rawseti(L, 2, i);
    if (!slash) break;
    path = slash + 1;
  }
  lua_settop(L, 2);
  return 1;
}
