/* Sends a file over a handle: with sendfile(2) on a socket, otherwise with copies. */
#include "socket/handle_file.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/refused.h"
#include "socket/handle_methods.h"
#include "state/state.h"

/* The size of one copy, where sendfile(2) is not possible. */
#define COPY_BYTES 16384

static FILE *check_file(lua_State *L, int index) {
  luaL_Stream *stream = luaL_checkudata(L, index, LUA_FILEHANDLE);
  luaL_argcheck(L, stream->closef, index, "the file is closed");
  return stream->f;
}

static int push_errno(lua_State *L, int number) {
  lua_pushnil(L);
  lua_pushstring(L, strerror(number));
  lua_pushinteger(L, number);
  return 3;
}

static int close_file(lua_State *L) {
  luaL_Stream *stream = luaL_checkudata(L, 1, LUA_FILEHANDLE);
  return luaL_fileresult(L, fclose(stream->f) == 0, NULL);
}

luaL_Stream *mb_handle_new_file(lua_State *L) {
  luaL_Stream *stream = lua_newuserdata(L, sizeof *stream);
  stream->closef = NULL; /* closed */
  luaL_setmetatable(L, LUA_FILEHANDLE);
  return stream;
}

int mb_handle_file_take(luaL_Stream *stream, int fd) {
  stream->f = fdopen(fd, "rb");
  if (!stream->f) {
    int number = errno;
    close(fd);
    return -number;
  }
  stream->closef = close_file;
  return 0;
}

/*
 * core.open_file(path)
 * Opens a file as io.open(path, "rb") does, but does not wait when the path names a FIFO. Returns a Lua
 * file; or nil, message, errno.
 */
int mb_handle_open_file(lua_State *L) {
  size_t len;
  const char *path = luaL_checklstring(L, 1, &len);
  if (strlen(path) != len) return push_errno(L, ENOENT); /* no file's name has a NUL in it */
  luaL_Stream *stream = mb_handle_new_file(L);
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 && mb_state_made_room(L, -errno)) fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) {
    int number = errno;
    mb_refused(number, MB_REFUSED_READ, path, 0);
    errno = number;
    return luaL_fileresult(L, 0, path);
  }
  int r = mb_handle_file_take(stream, fd);
  if (r < 0) {
    errno = -r;
    return luaL_fileresult(L, 0, path);
  }
  return 1;
}

/*
 * core.file_size(file)
 * Writes the buffered output of a Lua file, and returns its size in bytes; or nil, message, errno. It
 * fails too when the file is not a regular one or was not opened for reading.
 */
int mb_handle_file_size(lua_State *L) {
  FILE *file = check_file(L, 1);
  struct stat about;
  int flags = fcntl(fileno(file), F_GETFL);
  if (flags < 0 || fstat(fileno(file), &about) != 0) return push_errno(L, errno);
  if ((flags & O_ACCMODE) == O_WRONLY) {
    lua_pushnil(L);
    lua_pushliteral(L, "the file was not opened for reading");
    lua_pushinteger(L, EBADF);
    return 3;
  }
  if (S_ISDIR(about.st_mode)) return push_errno(L, EISDIR);
  if (!S_ISREG(about.st_mode)) {
    lua_pushnil(L);
    lua_pushliteral(L, "not a regular file");
    lua_pushinteger(L, EINVAL);
    return 3;
  }
  if (fflush(file) != 0 || fstat(fileno(file), &about) != 0) return push_errno(L, errno);
  lua_pushinteger(L, about.st_size);
  return 1;
}

/* Copies at most COPY_BYTES: for a replay or a pipe, and for a file system without sendfile(2). */
static ssize_t copy_some(struct mb_handle *h, int fd, off_t offset, size_t count) {
  static char bytes[COPY_BYTES]; /* not on the stack: its pages are touched only when needed */
  ssize_t n;
  do {
    n = pread(fd, bytes, count < sizeof bytes ? count : sizeof bytes, offset);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return -errno;
  if (n == 0) return 0;
  struct iovec piece = {bytes, (size_t)n};
  return h->io.transport->writev(&h->io, &piece, 1, false);
}

/*
 * core.send_file(socket, file, offset, count)
 * Sends the queue, and then as much of the file as the system takes without waiting. The position of the
 * file does not change.
 * Returns the number of the file's bytes that were sent (0: it would block); or false and a message when
 * the file or the system fails; or nil, message, errno when the connection fails.
 */
int mb_handle_send_file(lua_State *L) {
  struct mb_handle *h = mb_handle_for_output(L);
  int fd = fileno(check_file(L, 2));
  off_t offset = (off_t)luaL_checkinteger(L, 3);
  size_t count = (size_t)luaL_checkinteger(L, 4);
  int r = mb_handle_send_queue(h, false);
  if (r < 0) return mb_handle_push_error(L, h, r);
  ssize_t sent = -EAGAIN;
  if (h->out.len == 0) {
    sent = h->io.transport->sendfile(&h->io, fd, offset, count);
    if (sent == -EINVAL || sent == -ENOSYS) sent = copy_some(h, fd, offset, count);
  }
  if (sent == -EAGAIN) {
    lua_pushinteger(L, 0);
  } else if (sent > 0) {
    mb_handle_sent(h, (size_t)sent);
    lua_pushinteger(L, sent);
  } else if (mb_fd_is_gone((int)sent)) {
    return mb_handle_push_error(L, h, mb_handle_output_failed(h, (int)sent));
  } else {
    lua_pushboolean(L, 0);
    lua_pushstring(L, sent == 0 ? "it has become shorter" : strerror((int)-sent));
    return 2;
  }
  return 1;
}
