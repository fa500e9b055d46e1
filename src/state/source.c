/* Reads a whole file, and gives it to Lua. */
#include "state/source.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "state/libraries.h"
#include "state/state.h"

#define BYTE_ORDER_MARK "\xEF\xBB\xBF"

enum {
  READ_MIN = 4096,    /* bytes of a file whose size is not known */
  LOOKED_MAX = 262144 /* bytes of a text that are looked at; more are rather data than a script */
};

struct source {
  int fd;
  struct mb_buf text;
  struct mb_alloc
      alloc;     /* of its own: the text does not count in the script's limit, as it goes at once */
  bool has_more; /* the text goes on in the file */
  bool is_begun; /* Lua has got what was read before */
  int failure;   /* -errno of a read, or 0 */
};

/* Reads once, some bytes. Returns how many, 0 at the end of the file, or -errno. */
static int read_some(struct source *s, size_t room) {
  int r = mb_buf_reserve(&s->text, &s->alloc, room);
  while (r == 0) {
    ssize_t n = read(s->fd, s->text.data + s->text.end, room);
    if (n >= 0) {
      s->text.end += (size_t)n;
      return (int)n;
    }
    r = mb_fd_try_again(s->fd, POLLIN, true);
  }
  return r;
}

/*
 * Reads the file, but no more than is looked at; of one whose size is known, so many bytes: that saves a read. Returns
 * 0 or -errno.
 */
static int read_begin(struct source *s) {
  struct stat st;
  if (fstat(s->fd, &st) != 0) return -errno;
  bool is_known = S_ISREG(st.st_mode) && st.st_size > 0;
  size_t size = is_known && st.st_size < LOOKED_MAX ? (size_t)st.st_size : LOOKED_MAX;
  while (mb_buf_len(&s->text) < size) {
    size_t left = size - mb_buf_len(&s->text);
    int n = read_some(s, is_known || left < READ_MIN ? left : READ_MIN);
    if (n <= 0) return n;
  }
  s->has_more = size == LOOKED_MAX;
  return 0;
}

/* A lua_Reader: gives what was read, and then the rest of the file. */
static const char *next_piece(lua_State *L, void *source, size_t *ret_size) {
  struct source *s = source;
  (void)L;
  if (s->is_begun) {
    mb_buf_take(&s->text, mb_buf_len(&s->text));
    int n = read_some(s, READ_MIN);
    if (n < 0) s->failure = n;
  }
  s->is_begun = true;
  *ret_size = mb_buf_len(&s->text);
  return *ret_size ? mb_buf_bytes(&s->text) : NULL;
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

/* A function for Lua: opens the libraries that the source at index 1, a light userdata, can reach. */
static int open_libraries(lua_State *L) {
  const struct source *s = lua_touserdata(L, 1);
  mb_libraries_open(L, s->has_more
                           ? MB_LIBRARIES_ALL
                           : mb_libraries_named(mb_buf_bytes(&s->text), mb_buf_len(&s->text)));
  return 0;
}

/* Loads what was read, and what is left of the file. Returns a status, with the chunk or a message on the stack. */
static int load(lua_State *L, struct source *s, const char *name) {
  mb_buf_take(&s->text, find_chunk(mb_buf_bytes(&s->text), mb_buf_len(&s->text)));
  lua_pushcfunction(L, open_libraries);
  lua_pushlightuserdata(L, s);
  int status = lua_pcall(L, 1, 0, 0);
  if (status != LUA_OK) return status;
  if (s->has_more) return lua_load(L, next_piece, s, name, NULL);
  return luaL_loadbufferx(L, mb_buf_bytes(&s->text), mb_buf_len(&s->text), name, NULL);
}

int mb_source_load(lua_State *L, const char *path) {
  struct source s = {.text = MB_BUF_INIT};
  const char *name = lua_pushfstring(L, "@%s", path);
  int at = lua_gettop(L), status = LUA_OK;
  s.fd = open(path, O_RDONLY | O_CLOEXEC);
  int error = s.fd < 0 ? -errno : 0;
  if (!error) error = s.failure = read_begin(&s);
  if (!error) status = load(L, &s, name);
  if (s.fd >= 0) close(s.fd);
  mb_buf_free(&s.text, &s.alloc);
  if (s.failure) error = s.failure;
  if (error) {
    lua_settop(L, at);
    status = file_error(L, s.failure ? "read" : "open", path, error);
  }
  lua_remove(L, at);
  return status;
}
