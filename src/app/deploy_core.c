/*
 * Files and addresses for the Lua modules below mb.deploy. Must never follow a link in a file's place,
 * nor leave half a file: root writes units with it, perhaps in directories where others can write too.
 */
#include "app/deploy_core.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/embedded.h"
#include "base/addr.h"
#include "base/rare.h"

/* systemd takes no longer paths. */
#define PATH_SIZE 4096

static int fail(lua_State *L, int error) {
  lua_pushnil(L);
  lua_pushstring(L, strerror(error));
  lua_pushinteger(L, error);
  return 3;
}

/*
 * Pushes the scope of an address with the "%" before it, or "" when the text has none: a name as it was
 * written, a number without leading zeros.
 */
static void push_scope(lua_State *L, const char *text, uint32_t number) {
  const char *percent = strchr(text, '%');
  char *end = NULL;
  if (percent && number > 0 && strtoul(percent + 1, &end, 10) == number && *end == '\0') {
    lua_pushfstring(L, "%%%d", (int)number);
  } else {
    lua_pushstring(L, percent ? percent : "");
  }
}

/*
 * core.address(text)
 * Returns the IP address and its scope in their usual spelling; "ip4" or "ip6"; whether the address is
 * link-local and lacks a scope; and the number of the scope's interface, or nil when there is no scope or
 * no such interface. Returns nil when the text is no address. An IPv4 address that is mapped into IPv6
 * is an IPv4 address. The interface need not be there: files are made for other machines too.
 */
static int address(lua_State *L) {
  const char *text = luaL_checkstring(L, 1);
  struct mb_addr addr;
  char usual[INET6_ADDRSTRLEN];
  unsigned char ip6[16];
  int r = mb_addr_from_text(text, -1, &addr);
  if (r == -EINVAL || r == -EBADMSG) return 0;
  const unsigned char *ip4 = mb_addr_ip4(&addr);
  uint32_t scope = mb_addr_scope(&addr);
  if (!ip4) mb_addr_ip6(&addr, ip6);
  lua_pushstring(L, inet_ntop(ip4 ? AF_INET : AF_INET6, ip4 ? ip4 : ip6, usual, sizeof usual));
  push_scope(L, text, scope);
  lua_concat(L, 2);
  lua_pushstring(L, ip4 ? "ip4" : "ip6");
  lua_pushboolean(L, mb_addr_is_link_local(&addr) && !strchr(text, '%'));
  if (scope == 0) return 3;
  lua_pushinteger(L, scope);
  return 4;
}

/*
 * core.kind(path)
 * Returns "file", "directory", "link", "socket" or "other"; false when nothing has that path; or nil,
 * message, errno.
 */
static int kind(lua_State *L) {
  struct stat st;
  if (MB_RARE_LARGE(lstat)(luaL_checkstring(L, 1), &st) != 0) {
    if (errno != ENOENT && errno != ENOTDIR) return fail(L, errno);
    lua_pushboolean(L, 0);
    return 1;
  }
  lua_pushstring(L, S_ISREG(st.st_mode)    ? "file"
                    : S_ISDIR(st.st_mode)  ? "directory"
                    : S_ISLNK(st.st_mode)  ? "link"
                    : S_ISSOCK(st.st_mode) ? "socket"
                                           : "other");
  return 1;
}

/* core.real_path(path): returns the absolute path without links; or nil, message, errno. */
static int real_path(lua_State *L) {
  char *path = realpath(luaL_checkstring(L, 1), NULL);
  if (!path) return fail(L, errno);
  lua_pushstring(L, path);
  free(path);
  return 1;
}

/* core.list(directory): returns the names in it, in no order; or nil, message, errno. */
static int list(lua_State *L) {
  DIR *dir = MB_RARE(opendir)(luaL_checkstring(L, 1));
  if (!dir) return fail(L, errno);
  /* If memory runs out, the directory stays open, but the process ends then. */
  lua_newtable(L);
  const struct dirent *entry;
  for (lua_Integer n = 1; (entry = MB_RARE_LARGE(readdir)(dir)) != NULL; n++) {
    lua_pushstring(L, entry->d_name);
    lua_rawseti(L, -2, n);
  }
  MB_RARE(closedir)(dir);
  return 1;
}

/* Writes all bytes. Returns 0 or an errno. */
static int write_all(int fd, const char *data, size_t size) {
  while (size > 0) {
    ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    data += n;
    size -= (size_t)n;
  }
  return 0;
}

/*
 * core.write(path, text)
 * Writes a file that all may read. Replaces a file that is there in one step: a reader sees the old one
 * or the new one.
 * Returns true; or nil, message, errno, and the old file is unchanged.
 */
static int write_file(lua_State *L) {
  size_t size;
  const char *path = luaL_checkstring(L, 1);
  const char *text = luaL_checklstring(L, 2, &size);
  char temporary[PATH_SIZE];
  /* A service manager takes no file with such a name for a unit. */
  int length = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
  if (length < 0 || (size_t)length >= sizeof temporary) return fail(L, ENAMETOOLONG);
  int fd = mkstemp(temporary);
  if (fd < 0) return fail(L, errno);
  int error = write_all(fd, text, size);
  if (!error && MB_RARE(fchmod)(fd, 0644) != 0) error = errno;
  if (!error && MB_RARE(fsync)(fd) != 0) error = errno;
  if (close(fd) != 0 && !error) error = errno;
  if (!error && rename(temporary, path) != 0) error = errno;
  if (error) {
    unlink(temporary);
    return fail(L, error);
  }
  lua_pushboolean(L, 1);
  return 1;
}

/* core.embedded(name): returns whether a module is part of the program. */
static int embedded(lua_State *L) {
  lua_pushboolean(L, mb_embedded_has(luaL_checkstring(L, 1)));
  return 1;
}

int mb_deploy_core_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"address", address},     {"embedded", embedded}, {"kind", kind}, {"list", list},
      {"real_path", real_path}, {"write", write_file},  {NULL, NULL},
  };
  luaL_newlib(L, functions);
  return 1;
}
