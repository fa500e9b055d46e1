/* LuaSocket's servers: listen, accept. */
#include "api/luasocket/luasocket_server.h"

#include <errno.h>
#include <lauxlib.h>
#include <poll.h>

#include "api/luasocket/luasocket_methods.h"
#include "base/fdio.h"
#include "base/listener.h"
#include "base/rare.h"
#include "socket/standin.h"
#include "state/state.h"

const char *mb_luasocket_listen(lua_State *L, int object, int backlog) {
  struct mb_luasocket *s = lua_touserdata(L, object);
  if (mb_standin_active() && !s->stands_in && !s->elsewhere && s->fd >= 0) {
    struct mb_addr local = {.len = sizeof local.storage};
    if (getsockname(s->fd, &local.any, &local.len) == 0) {
      s->stands_in =
          mb_standin_is(&local); /* a socket that is not bound would listen on any port */
      s->elsewhere = !s->stands_in;
      s->wanted = local;
    }
  }
  if (s->stands_in) {
    mb_standin_listen();
  } else if (!s->elsewhere && MB_RARE(listen)(s->fd, backlog) != 0) {
    return mb_luasocket_strerror(-errno);
  }
  mb_luasocket_become(L, object, MB_LUASOCKET_SERVER);
  return NULL;
}

/*
 * master:listen([backlog])
 * Makes the master a server. Returns 1; or nil, message.
 */
int mb_luasocket_method_listen(lua_State *L) {
  mb_luasocket_check(L, MB_LUASOCKET_MASTER);
  int backlog = (int)luaL_optnumber(L, 2, MB_LUASOCKET_BACKLOG);
  const char *error = mb_luasocket_listen(L, 1, backlog);
  return error ? mb_luasocket_fail(L, error) : mb_luasocket_done(L);
}

/* ---- accept for the connection that we were started for ---- */

bool mb_luasocket_has_pending(const struct mb_luasocket *s) {
  return s->stands_in && mb_standin_pending();
}

bool mb_luasocket_is_in_vain(lua_State *L, const struct mb_luasocket *s) {
  if (!mb_standin_active() || s->class != MB_LUASOCKET_SERVER) return false;
  if (s->elsewhere && !mb_standin_listens() && mb_standin_pending()) {
    char wanted[MB_ADDR_LABEL_MAX], came[MB_ADDR_LABEL_MAX];
    mb_addr_label(&s->wanted, wanted);
    mb_addr_label(mb_standin_local(), came);
    luaL_error(L,
               "nobody can come to %s: the connection came in on %s, and the program does not "
               "listen there",
               wanted, came);
  }
  return s->elsewhere || (s->stands_in ? mb_standin_taken() : s->fd < 0);
}

void mb_luasocket_wait_in_vain(lua_State *L, const void *wait, int64_t deadline) {
  if (mb_standin_pending()) {
    if (deadline == MB_NO_DEADLINE)
      luaL_error(L, "the program would wait for ever, and has not accepted the connection");
  } else if (deadline == MB_NO_DEADLINE) {
    mb_standin_exit(L);
  } else if (mb_standin_over(L)) {
    mb_standin_turn(L, wait);
    return;
  }
  mb_fd_poll_all(NULL, 0, deadline);
}

bool mb_luasocket_is_next(const struct mb_luasocket *s) {
  return s->stands_in && s->class == MB_LUASOCKET_SERVER && mb_standin_taken() &&
         mb_standin_source_fd() >= 0;
}

/* Accepts on a server that the program has closed. */
static int accept_closed(lua_State *L, const struct mb_luasocket *server) {
  if (mb_standin_active() && (mb_standin_pending() || mb_standin_over(L) || mb_standin_idle()))
    mb_standin_turn(L, server);
  return mb_luasocket_fail(L, "closed");
}

static int accept_standin(lua_State *L, const struct mb_luasocket *server) {
  int64_t deadline = mb_luasocket_deadline(server, mb_luasocket_start(server));
  /* Who waits without an end gives up the connection that is still open. */
  if (mb_luasocket_is_next(server) && (deadline == MB_NO_DEADLINE || mb_standin_over(L))) {
    bool has_come = mb_standin_next(L, deadline);
    if (!has_come && mb_luasocket_is_next(server)) return mb_luasocket_fail(L, "timeout");
  }
  if (!mb_luasocket_is_in_vain(L, server) && mb_standin_take(L)) {
    struct mb_luasocket *client = mb_luasocket_new(L, MB_LUASOCKET_CLIENT, -1);
    client->family = server->family;
    client->owns = true;
    return 1;
  }
  mb_luasocket_wait_in_vain(L, server, deadline);
  return mb_luasocket_fail(L, "timeout");
}

/* ---- accept for a server with a socket ---- */

/* Returns a descriptor or -errno; -EAGAIN when there is no client, or when it has gone meanwhile. */
static int accept_one(lua_State *L, const struct mb_luasocket *s, struct mb_addr *ret_remote) {
  int fd = mb_listener_accept(s->fd, false, ret_remote);
  if (mb_state_made_room(L, fd)) fd = mb_listener_accept(s->fd, false, ret_remote);
  return fd;
}

/* Fills in the client on top of the stack. Returns 0 or -errno. */
static int accept_into(lua_State *L, const struct mb_luasocket *s, struct mb_luasocket *client) {
  int64_t start = mb_luasocket_start(s);
  for (;;) {
    if (s->fd < 0) return -EBADF; /* a finalizer may have closed it */
    struct mb_addr remote;
    int fd = accept_one(L, s, &remote);
    if (fd == -EAGAIN) {
      int r = mb_luasocket_wait(s, s->fd, POLLIN, start);
      if (r < 0) return r;
      continue;
    }
    if (fd < 0) return fd;
    mb_handle_attach(client->h, mb_channel_of(fd, fd, MB_FD_TCP));
    client->h->remote = remote;
    client->family = s->family;
    client->linger = s->linger; /* the system does the same */
    return 0;
  }
}

/*
 * server:accept()
 * Returns a client; or nil, message: "timeout", "closed".
 */
int mb_luasocket_method_accept(lua_State *L) {
  const struct mb_luasocket *s = mb_luasocket_check(L, MB_LUASOCKET_SERVER);
  if (s->stands_in || s->elsewhere) return accept_standin(L, s);
  if (s->fd < 0) return accept_closed(L, s);
  if (s->block == 0) { /* comes first: a loop that asks should make no garbage */
    int r = mb_fd_poll(s->fd, POLLIN, 0);
    if (r <= 0) return mb_luasocket_fail(L, mb_luasocket_io_error(r < 0 ? r : -EAGAIN));
  }
  mb_handle_new(L);
  struct mb_luasocket *client = mb_luasocket_new(L, MB_LUASOCKET_CLIENT, -1);
  client->owns = true;
  int r = accept_into(L, s, client);
  if (r < 0) return mb_luasocket_fail(L, mb_luasocket_io_error(r));
  return 1;
}
