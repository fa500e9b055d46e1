/*
 * Files below a directory, for mb.static. Must never reach a file outside of it (base/beneath.h), nor give Lua a file
 * that is no regular one.
 */
#include "api/http/static_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/beneath.h"
#include "base/refused.h"
#include "http/http_date.h"
#include "http/http_number.h"
#include "socket/handle_file.h"
#include "state/libraries.h"
#include "state/state.h"

#define ROOT_TYPE "mb.static.root"

/*
 * A file that has changed less than so many seconds ago may change again without another time: file systems count the
 * time in steps, of a clock tick here, and of two seconds on FAT.
 */
#define SETTLED_SECONDS 2

/* A larger piece would be a mistake: send_file sends large files. */
#define READ_MAX (1024 * 1024)

struct root {
  int fd;     /* by O_PATH; -1: closed */
  bool holds; /* see mb_alloc_note */
};

static int root_gc(lua_State *L) {
  struct root *root = luaL_checkudata(L, 1, ROOT_TYPE);
  if (root->fd >= 0) close(root->fd);
  root->fd = -1;
  mb_alloc_note(mb_state_alloc(L), &root->holds, false);
  return 0;
}

/* Returns the directory at index 1. */
static const struct root *root_at(lua_State *L) { return luaL_checkudata(L, 1, ROOT_TYPE); }

static int push_error(lua_State *L, int number) {
  lua_pushnil(L);
  lua_pushstring(L, strerror(number));
  lua_pushinteger(L, number);
  return 3;
}

/*
 * core.root(path)
 * Opens a directory. Returns an object for it; or nil, message, errno.
 */
int mb_static_root(lua_State *L) {
  size_t len;
  const char *path = luaL_checklstring(L, 1, &len);
  if (strlen(path) != len) return push_error(L, ENOENT);
  struct root *root = lua_newuserdata(L, sizeof *root);
  *root = (struct root){.fd = -1};
  if (luaL_newmetatable(L, ROOT_TYPE)) {
    lua_pushcfunction(L, root_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  char whole[PATH_MAX]; /* for the log only */
  lua_pushstring(L, realpath(path, whole) ? whole : path);
  lua_setuservalue(L, -2);
  root->fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root->fd < 0 && mb_state_made_room(L, -errno))
    root->fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root->fd < 0) return push_error(L, errno);
  mb_alloc_note(mb_state_alloc(L), &root->holds, true);
  return 1;
}

/* Opens a file below the directory at index 1. Returns a descriptor, or -errno. */
static int open_below(lua_State *L, const char *path, int flags) {
  if (!(flags & O_PATH)) flags |= O_NONBLOCK | O_LARGEFILE;
  int fd = mb_beneath_open(root_at(L)->fd, path, flags);
  if (fd < 0 && mb_state_made_room(L, fd)) fd = mb_beneath_open(root_at(L)->fd, path, flags);
  if ((fd == -EACCES || fd == -EPERM) && mb_refused_note) {
    lua_getuservalue(L, 1);
    mb_refused(-fd, MB_REFUSED_READ, lua_pushfstring(L, "%s/%s", lua_tostring(L, -1), path), 0);
    lua_pop(L, 2);
  }
  return fd;
}

/* Pushes what core.open returns when there is no file to send: nil, a word, and a message for the log. */
static int push_absence(lua_State *L, int number) {
  const char *word = "failed";
  switch (number) {
    case EISDIR:
      word = "directory";
      break;
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case ENXIO: /* a socket, or a device that is not there */
    case ENODEV:
      word = "missing";
      break;
    case EACCES:
    case EPERM:
    case ELOOP:
    case EXDEV:
      word = "forbidden";
      break;
  }
  lua_pushnil(L);
  lua_pushstring(L, word);
  lua_pushstring(L, strerror(number));
  return 3;
}

/*
 * Opens a regular file. Looks what it is before: to open a FIFO or a device does something to it.
 * Returns a descriptor, and what fstat says of the file; or -errno: EISDIR, ENODEV for what is neither.
 */
static int open_regular(lua_State *L, const char *path, struct stat *ret_about) {
  int fd = -1;
  for (int step = 0; step < 2; step++) {
    fd = open_below(L, path, step == 0 ? O_PATH : O_RDONLY);
    if (fd < 0) return fd;
    int r = fstat(fd, ret_about) != 0 ? -errno : 0;
    if (r == 0 && !S_ISREG(ret_about->st_mode)) r = S_ISDIR(ret_about->st_mode) ? -EISDIR : -ENODEV;
    if (step == 0 || r < 0) close(fd);
    if (r < 0) return r;
  }
  return fd;
}

static char *put_hex(char *to, uint64_t number, char separator) {
  to += mb_http_number(to, number, 16);
  *to++ = separator;
  return to;
}

/* Pushes the etag of a file, with its quotes: another one when the file is changed, or replaced. */
static void push_etag(lua_State *L, const struct stat *about) {
  char text[4 * (MB_HTTP_NUMBER_MAX + 1) + 1], *end = text;
  *end++ = '"';
  end = put_hex(end, (uint64_t)about->st_mtim.tv_sec, '-');
  end = put_hex(end, (uint64_t)about->st_mtim.tv_nsec, '-');
  end = put_hex(end, (uint64_t)about->st_size, '-');
  end = put_hex(end, (uint64_t)about->st_ino, '"');
  lua_pushlstring(L, text, (size_t)(end - text));
}

/*
 * Pushes a date, or nil for one that HTTP cannot name. A time in the future becomes the current one (RFC 9110, section
 * 8.8.2.1).
 */
static void push_date(lua_State *L, int64_t when, int64_t now) {
  char text[MB_HTTP_DATE_SIZE];
  if (when > now) when = now;
  if (when < 0 || when > MB_HTTP_DATE_LAST) {
    lua_pushnil(L);
    return;
  }
  mb_http_date_text(text, when);
  lua_pushlstring(L, text, sizeof text - 1);
}

/*
 * core.open(root, path)
 * path  as core.path has it
 * Returns a Lua file, its size, the time of its last change in seconds since 1970, its etag in quotes, whether that and
 * the time are weak, and the time as text, or nil when HTTP has no such date.
 * When it cannot be sent: nil, why, message. why: "missing", also for what is neither file nor directory; "directory";
 * "forbidden": it may not be read, or leads out of the root; "failed": the system has failed.
 */
int mb_static_open(lua_State *L) {
  const char *path = luaL_checkstring(L, 2);
  struct stat about;
  lua_settop(L, 2);
  mb_libraries_open(L, MB_LIBRARY_IO);
  luaL_Stream *stream = mb_handle_new_file(L);
  int fd = open_regular(L, path, &about);
  if (fd < 0) return push_absence(L, -fd);
  int r = mb_handle_file_take(stream, fd);
  if (r < 0) return push_absence(L, -r);
  int64_t now = time(NULL), modified = about.st_mtim.tv_sec;
  lua_pushinteger(L, about.st_size);
  lua_pushinteger(L, modified);
  push_etag(L, &about);
  lua_pushboolean(L, modified > now - SETTLED_SECONDS);
  push_date(L, modified, now);
  return 6;
}

/*
 * core.read(file, offset, count)
 * Returns so many bytes of a Lua file, at most READ_MAX; nil when it has become shorter or cannot be read.
 */
int mb_static_read(lua_State *L) {
  luaL_Stream *stream = luaL_checkudata(L, 1, LUA_FILEHANDLE);
  off_t offset = (off_t)luaL_checkinteger(L, 2);
  lua_Integer count = luaL_checkinteger(L, 3);
  luaL_Buffer b;
  luaL_argcheck(L, stream->closef, 1, "the file is closed");
  luaL_argcheck(L, count >= 0 && count <= READ_MAX, 3, "too much");
  size_t size = (size_t)count, have = 0;
  int fd = fileno(stream->f);
  char *to = luaL_buffinitsize(L, &b, size);
  while (have < size) {
    ssize_t n = pread(fd, to + have, size - have, offset + (off_t)have);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      lua_pushnil(L);
      return 1;
    }
    have += (size_t)n;
  }
  luaL_pushresultsize(&b, size);
  return 1;
}

/* ---- the entries of a directory ---- */

/* What getdents64(2) writes. */
struct entry {
  uint64_t inode;
  int64_t offset;
  unsigned short size;
  unsigned char type;
  char name[];
};

/*
 * Pushes {name =, size =, modified =} for an entry; size is absent for a directory. Stack: root, path.
 * Returns false, and pushes nothing, for what cannot be asked for: neither file nor directory, or outside.
 */
static bool push_entry(lua_State *L, const char *path, const char *name) {
  struct stat about;
  const char *whole = strcmp(path, ".") == 0 ? name : lua_pushfstring(L, "%s/%s", path, name);
  int fd = mb_beneath_open(root_at(L)->fd, whole, O_PATH);
  bool good = fd >= 0 && fstat(fd, &about) == 0;
  if (fd >= 0) close(fd);
  if (whole != name) lua_pop(L, 1);
  if (!good || !(S_ISREG(about.st_mode) || S_ISDIR(about.st_mode))) return false;
  lua_createtable(L, 0, 3);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "name");
  lua_pushinteger(L, about.st_mtim.tv_sec);
  lua_setfield(L, -2, "modified");
  if (S_ISDIR(about.st_mode)) return true;
  lua_pushinteger(L, about.st_size);
  lua_setfield(L, -2, "size");
  return true;
}

/*
 * Reads the entries of a directory into the table at index 4. Stack: root, path.
 * Returns 0; 1 when there are more than `most`; or -errno.
 */
static int read_entries(lua_State *L, int fd, bool hidden, lua_Integer most) {
  _Alignas(struct entry) char entries[8192];
  lua_Integer count = 0;
  for (;;) {
    long n = syscall(SYS_getdents64, fd, entries, sizeof entries);
    if (n <= 0) return n < 0 ? -errno : 0;
    for (long at = 0; at < n;) {
      const struct entry *entry = (const struct entry *)(entries + at);
      at += entry->size;
      if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0) continue;
      if (entry->name[0] == '.' && !hidden) continue;
      if (count == most) return 1;
      if (push_entry(L, lua_tostring(L, 2), entry->name)) lua_rawseti(L, 4, ++count);
    }
  }
}

/*
 * core.list(root, path, hidden, most)
 * Reads a directory. hidden: also names that begin with a dot.
 * Returns a sequence of at most `most` tables {name =, size =, modified =}, unsorted, where size is nil for a
 * directory; and whether there are more. Or nil, why, message, as core.open does.
 */
int mb_static_list(lua_State *L) {
  const char *path = luaL_checkstring(L, 2);
  bool hidden = lua_toboolean(L, 3);
  lua_Integer most = luaL_checkinteger(L, 4);
  lua_settop(L, 2);
  mb_libraries_open(L, MB_LIBRARY_IO);
  luaL_Stream *stream = mb_handle_new_file(L); /* it owns the descriptor when memory runs out */
  int fd = open_below(L, path, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return push_absence(L, -fd);
  int r = mb_handle_file_take(stream, fd);
  if (r < 0) return push_absence(L, -r);
  lua_newtable(L);
  r = read_entries(L, fd, hidden, most);
  stream->closef = NULL;
  fclose(stream->f);
  if (r < 0) return push_absence(L, -r);
  lua_pushboolean(L, r);
  return 2;
}
