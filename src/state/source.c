/* Reads a whole file, and gives it to Lua. */
#include "state/source.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "state/libraries.h"
#include "state/state.h"

#define BYTE_ORDER_MARK "\xEF\xBB\xBF"
enum { READ_MIN = 4096 }; /* bytes of a file whose size is not known */

/* Reads to the end of a file; of one whose size is known, so many bytes: that saves a read. Returns 0 or -errno. */
static int read_all(int fd, struct mb_buf *text, struct mb_alloc *alloc) {
  struct stat st;
  if (fstat(fd, &st) != 0) return -errno;
  size_t size = S_ISREG(st.st_mode) && st.st_size > 0 ? (size_t)st.st_size : SIZE_MAX;
  size_t room = size == SIZE_MAX ? READ_MIN : size;
  while (text->end < size) {
    int r = mb_buf_reserve(text, alloc, room);
    if (r < 0) return r;
    ssize_t n = read(fd, text->data + text->end, text->capacity - text->end);
    if (n == 0) return 0;
    if (n < 0 && (r = mb_fd_try_again(fd, POLLIN, true)) < 0) return r;
    if (n > 0) text->end += (size_t)n;
    room = size == SIZE_MAX ? READ_MIN : size - text->end;
  }
  return 0;
}

/* Returns how many bytes stand before the chunk: a byte order mark, and a first line with "#". */
static size_t find_chunk(const char *text, size_t size) {
  const size_t mark = sizeof BYTE_ORDER_MARK - 1;
  size_t at = size >= mark && memcmp(text, BYTE_ORDER_MARK, mark) == 0 ? mark : 0;
  if (at == size || text[at] != '#') return at;
  const char *line_end = memchr(text + at, '\n', size - at);
  if (!line_end) return size;
  at = (size_t)(line_end - text);
  /* The line end stays, so that lines have their numbers; but a precompiled chunk begins with its signature. */
  return at + 1 < size && text[at + 1] == LUA_SIGNATURE[0] ? at + 1 : at;
}

static int file_error(lua_State *L, const char *what, const char *path, int r) {
  if (r == -ENOMEM) {
    lua_pushliteral(L, "not enough memory"); /* Lua's own message */
    return LUA_ERRMEM;
  }
  lua_pushfstring(L, "cannot %s %s: %s", what, path, strerror(-r));
  return LUA_ERRFILE;
}

/* A function for Lua: opens the libraries that the text at index 1, a light userdata, can reach. */
static int open_libraries(lua_State *L) {
  const struct mb_buf *text = lua_touserdata(L, 1);
  mb_libraries_open(L, mb_libraries_named(mb_buf_bytes(text), mb_buf_len(text)));
  return 0;
}

static int load(lua_State *L, struct mb_buf *text, const char *name) {
  mb_buf_take(text, find_chunk(mb_buf_bytes(text), mb_buf_len(text)));
  lua_pushcfunction(L, open_libraries);
  lua_pushlightuserdata(L, text);
  int status = lua_pcall(L, 1, 0, 0);
  if (status != LUA_OK) return status;
  return luaL_loadbufferx(L, mb_buf_bytes(text), mb_buf_len(text), name, NULL);
}

int mb_source_load(lua_State *L, const char *path) {
  struct mb_alloc *alloc = mb_state_alloc(L);
  struct mb_buf text = MB_BUF_INIT;
  const char *name = lua_pushfstring(L, "@%s", path);
  int status, fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    status = file_error(L, "open", path, -errno);
  } else {
    int r = read_all(fd, &text, alloc);
    close(fd);
    if (r < 0) mb_buf_free(&text, alloc); /* the message takes memory, too */
    status = r < 0 ? file_error(L, "read", path, r) : load(L, &text, name);
  }
  mb_buf_free(&text, alloc);
  lua_remove(L, -2);
  return status;
}
