/* Takes a PROXY header off a handle, before any handler of the script runs. */
#include "socket/handle_proxy.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/log.h"
#include "base/proxy_header.h"
#include "base/proxy_trust.h"
#include "socket/handle_methods.h"
#include "state/state.h"

/*
 * A proxy sends the header in its first packet, which may be lost once or twice (PROXY protocol, section
 * 2: wait at least 3 s).
 */
#define PATIENCE_USEC 5000000

struct taking {
  struct mb_handle *handle;
  int64_t deadline;
  const char *wrong; /* why there is nothing to serve; NULL: all is well */
  bool silent;       /* the peer has sent nothing at all */
  bool named;        /* the header has addresses */
};

/* Returns whether the header has been taken, or is wrong. */
static bool take(struct taking *t) {
  struct mb_handle *h = t->handle;
  struct mb_proxy_header header;
  size_t size = mb_buf_len(&h->in);
  bool replay = mb_handle_is_replay(h);
  if (size == 0) return false;
  int taken = mb_proxy_header_parse(mb_buf_bytes(&h->in), size, &header, &t->wrong);
  if (taken == -EPROTO && replay) {
    t->wrong = NULL;
    return true;
  }
  if (taken < 0) return true;
  if (taken == 0) return false;
  mb_buf_take(&h->in, (size_t)taken);
  h->proxied = true;
  h->received -= (size_t)taken;
  if (header.has_addresses) {
    h->local = header.destination;
    h->remote = header.source;
    t->named = true;
  }
  return true;
}

/* Runs in protected mode, as receiving may run out of memory. */
static int receive_header(lua_State *L) {
  struct taking *t = lua_touserdata(L, 1);
  struct mb_handle *h = t->handle;
  while (!take(t)) {
    ssize_t n = mb_handle_receive(L, h, MB_PROXY_HEADER_MAX - mb_buf_len(&h->in), false);
    if (n == -EAGAIN) {
      n = mb_handle_wait(h, POLLIN, true, t->deadline);
      if (n == 0) t->wrong = "the header did not come in time";
      if (n == 0) return 0;
      if (n > 0) continue;
    }
    if (n > 0) continue;
    if (n == 0 && mb_handle_is_replay(h)) return 0; /* the replay of a client that sends nothing */
    t->silent = mb_buf_len(&h->in) == 0;
    t->wrong = n == 0 ? "the connection ended before its header" : strerror((int)-n);
    return 0;
  }
  return 0;
}

static bool is_abstract(const struct mb_addr *addr) {
  char path[sizeof addr->local.sun_path + 1];
  return mb_addr_path(addr, path) > 0 && path[0] == '@';
}

/*
 * Returns why the peer's header is not believed, or NULL. What everybody on this machine may connect to,
 * anybody could use to say any address.
 */
static const char *why_not(const struct mb_handle *h, const char *trust) {
  if (is_abstract(&h->local))
    return "an abstract socket has no permissions: anybody on this machine could send a false "
           "header";
  if (mb_handle_is_replay(h) || mb_trust_contains(trust, &h->remote, mb_handle_fd(h))) return NULL;
  if (h->remote.any.sa_family == AF_UNIX) {
    if (!mb_trust_is_open(&h->local) || mb_trust_is_own_peer(mb_handle_fd(h))) return NULL;
    return "everybody may connect to its socket, and could send a false header: let only the proxy "
           "connect (SocketMode=0660 and SocketGroup=), or put " MB_TRUST_UNIX " into proxy_trust";
  }
  return trust ? "it is not in proxy_trust"
               : "without proxy_trust only loopback addresses are believed";
}

static void refuse(struct taking *t) {
  char peer[MB_ADDR_LABEL_MAX] = "";
  bool replay = mb_handle_is_replay(t->handle);
  if (!replay) mb_addr_peer_label(mb_handle_fd(t->handle), &t->handle->remote, peer);
  /* A port scanner or a load balancer's check connects and sends nothing: that is no news. */
  mb_log(t->silent ? LOG_INFO : LOG_NOTICE, "PROXY protocol: %s%s refused: %s",
         replay ? "the replay" : "connection from ", peer, t->wrong);
  mb_handle_reset(t->handle);
}

enum mb_proxy_outcome mb_handle_take_proxy_header(lua_State *L, const char *trust) {
  struct taking t = {.handle = lua_touserdata(L, -1)};
  bool replay = mb_handle_is_replay(t.handle);
  t.deadline = replay ? MB_NO_DEADLINE : mb_now_usec() + PATIENCE_USEC;
  t.wrong = why_not(t.handle, trust);
  if (!t.wrong) {
    lua_pushcfunction(L, receive_header);
    lua_pushlightuserdata(L, &t);
    if (mb_state_call(L, 1, 0) != LUA_OK) {
      mb_handle_reset(t.handle);
      return MB_PROXY_THREW;
    }
  }
  if (!t.wrong) return t.named ? MB_PROXY_NAMED : MB_PROXY_UNNAMED;
  refuse(&t);
  return MB_PROXY_REFUSED;
}
