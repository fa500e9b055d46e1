/* The attributes of the socket object, and its tostring. */
#include "socket/handle_attr.h"

#include "socket/handle.h"
#include "state/object.h"

static const struct mb_addr *local_of(const void *object) {
  return &((const struct mb_handle *)object)->local;
}

static const struct mb_addr *remote_of(const void *object) {
  return &((const struct mb_handle *)object)->remote;
}

static void local_ip4(lua_State *L, const void *o) { mb_object_push_ip4(L, local_of(o)); }
static void local_ip6(lua_State *L, const void *o) { mb_object_push_ip6(L, local_of(o)); }
static void local_tcpport(lua_State *L, const void *o) { mb_object_push_port(L, local_of(o)); }
static void local_addr(lua_State *L, const void *o) { mb_object_push_text(L, local_of(o)); }
static void remote_ip4(lua_State *L, const void *o) { mb_object_push_ip4(L, remote_of(o)); }
static void remote_ip6(lua_State *L, const void *o) { mb_object_push_ip6(L, remote_of(o)); }
static void remote_tcpport(lua_State *L, const void *o) { mb_object_push_port(L, remote_of(o)); }
static void remote_addr(lua_State *L, const void *o) { mb_object_push_text(L, remote_of(o)); }

static void fd(lua_State *L, const void *object) {
  struct mb_handle *h = (struct mb_handle *)object;
  mb_handle_keep_no_byte(h); /* another library may read there */
  mb_object_push_fd(L, mb_handle_fd(h));
}

const struct mb_attribute mb_handle_attributes[] = {
    {"fd", fd},
    {"local_addr", local_addr},
    {"local_ip4", local_ip4},
    {"local_ip6", local_ip6},
    {"local_tcpport", local_tcpport},
    {"remote_addr", remote_addr},
    {"remote_ip4", remote_ip4},
    {"remote_ip6", remote_ip6},
    {"remote_tcpport", remote_tcpport},
    {NULL, NULL},
};

int mb_handle_tostring(lua_State *L) {
  const struct mb_handle *h = mb_handle_at(L, 1);
  if (!mb_handle_is_open(h)) {
    lua_pushfstring(L, "socket (%s)", h->state == MB_HANDLE_RESET ? "reset" : "closed");
  } else if (mb_handle_is_replay(h)) {
    lua_pushliteral(L, "socket (replay)");
  } else if (!mb_handle_is_socket(h)) {
    lua_pushfstring(L, "socket (pipe %s a child)", h->io.in_fd >= 0 ? "from" : "to");
  } else {
    char local[MB_ADDR_LABEL_MAX], remote[MB_ADDR_LABEL_MAX];
    mb_addr_label(&h->local, local);
    mb_addr_label(&h->remote, remote);
    lua_pushfstring(L, "socket (%s %s %s)", local, h->outgoing ? "to" : "from", remote);
  }
  return 1;
}
