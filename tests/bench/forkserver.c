/* The pool is compared with this, a plain server that forks for each connection: forkserver PORT SCRIPT.
 * The Lua state is made once. SCRIPT returns a function that gets a request's head and returns the response. */
#include "httpbench.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#define HEAD_MAX 16384

static int listen_on(int port) {
  struct sockaddr_in name = loopback(port);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&name, sizeof name) != 0 || listen(fd, SOMAXCONN) != 0)
    fail("listen");
  return fd;
}

static lua_State *load(const char *script) {
  lua_State *L = luaL_newstate();
  if (!L) fail("luaL_newstate");
  luaL_openlibs(L);
  if (luaL_loadfile(L, script) || lua_pcall(L, 0, 1, 0)) wrong(lua_tostring(L, -1));
  return L;
}

/* Reads a request's head. Returns its length; 0 when none comes. */
static size_t read_head(int fd, char *head) {
  size_t len = 0;
  while (len < HEAD_MAX) {
    ssize_t n = read(fd, head + len, HEAD_MAX - len);
    if (n <= 0) return 0;
    len += (size_t)n;
    if (memmem(head, len, "\r\n\r\n", 4)) return len;
  }
  return 0;
}

static void serve(lua_State *L, int fd) {
  static char head[HEAD_MAX];
  size_t len = read_head(fd, head);
  if (len > 0) {
    lua_pushlstring(L, head, len);
    if (lua_pcall(L, 1, 1, 0)) wrong(lua_tostring(L, -1));
    const char *response = lua_tolstring(L, -1, &len);
    write_all(fd, response, len);
  }
  shutdown(fd, SHUT_WR);
  close(fd);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  lua_State *L = load(argv[2]);
  int listener = listen_on(atoi(argv[1]));
  signal(SIGCHLD, SIG_IGN); /* the system reaps the children */
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      fail("accept");
    }
    pid_t pid = fork();
    if (pid < 0) fail("fork");
    if (pid == 0) {
      close(listener);
      serve(L, fd);
      _exit(0);
    }
    close(fd);
  }
}
