/* The listening sockets of a pool. */
#include "app/pool_sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/script.h"
#include "app/serve_address.h"
#include "base/fdio.h"
#include "base/listener.h"
#include "base/log.h"
#include "base/rare.h"

/* So long a process waits when the system has no room for a connection. */
#define NO_ROOM_USEC 200000

/* ---- the files of Unix sockets ---- */

/* Gets the path of the socket's file. Returns false when it has none. */
static bool has_path(const struct mb_pool_socket *s,
                     char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1]) {
  return s->local.any.sa_family == AF_UNIX && mb_addr_path(&s->local, path) > 0 && path[0] != '@';
}

/* Notes which file is the socket's own: by the time of its end, another server may have one of that name. */
static void note_file(struct mb_pool_socket *s) {
  char path[sizeof s->local.local.sun_path + 1];
  struct stat st;
  if (!s->is_ours || !has_path(s, path) || MB_RARE_LARGE(lstat)(path, &st) != 0) return;
  s->device = st.st_dev;
  s->inode = st.st_ino;
}

static void remove_file(struct mb_pool_socket *s) {
  char path[sizeof s->local.local.sun_path + 1];
  struct stat st;
  if (!s->inode || !has_path(s, path) || MB_RARE_LARGE(lstat)(path, &st) != 0) return;
  if (st.st_dev == s->device && st.st_ino == s->inode) unlink(path);
  s->inode = 0;
}

/* ---- what was handed over ---- */

static bool has_value(int fd, int option, int wanted) {
  int value = -1;
  socklen_t len = sizeof value;
  return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 && value == wanted;
}

static bool take_socket(struct mb_pool_sockets *sockets, int fd, bool is_ours) {
  if (sockets->count == MB_POOL_SOCKETS_MAX) {
    mb_log(LOG_ERR, "more than %d listening sockets", MB_POOL_SOCKETS_MAX);
    return false;
  }
  struct mb_pool_socket *s = &sockets->list[sockets->count];
  *s = (struct mb_pool_socket){.fd = fd, .is_ours = is_ours, .is_new = is_ours};
  s->local.len = sizeof s->local.storage;
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || getsockname(fd, &s->local.any, &s->local.len) != 0) {
    mb_log(LOG_ERR, "fd %d: %s", fd, strerror(errno));
    return false;
  }
  /* A client may go between epoll and accept; and another process may take it. */
  s->was_blocking = !(flags & O_NONBLOCK);
  if (s->was_blocking && fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    mb_log(LOG_ERR, "fd %d: cannot set O_NONBLOCK: %s", fd, strerror(errno));
    return false;
  }
  note_file(s);
  sockets->count++;
  return true;
}

enum mb_exit mb_pool_sockets_take(struct mb_pool_sockets *sockets, int fd, int count) {
  for (int i = fd; i < fd + count; i++) {
    if (!has_value(i, SO_TYPE, SOCK_STREAM) || !has_value(i, SO_ACCEPTCONN, 1)) {
      mb_log(LOG_ERR,
             "fd %d is no listening stream socket, and fd %d is one: a pool takes these only "
             "(systemd: ListenStream=, Accept=no)",
             i, fd);
      return MB_EXIT_CONFIG;
    }
    if (!take_socket(sockets, i, false)) return MB_EXIT_SYSTEM;
  }
  return MB_EXIT_OK;
}

/* ---- which listener takes which ---- */

static bool takes_connections(const struct mb_listen_entry *l) {
  return l->proto != MB_PROTO_INTERVAL && l->proto != MB_PROTO_MAIN;
}

static bool has_socket(const struct mb_pool_sockets *sockets, const struct mb_listen_entry *l) {
  for (int i = 0; i < sockets->count; i++) {
    if (sockets->list[i].entry == l) return true;
  }
  return false;
}

static const char *offer(lua_State *L) { return mb_script_push_offer(L); }

/* Returns what to say about an address that is in use: it may be this pool that has it. */
static const char *who_has_it(const struct mb_pool_sockets *sockets,
                              const struct mb_listen_entry *l) {
  for (int i = 0; i < sockets->count; i++) {
    if (l->port && mb_addr_port(&sockets->list[i].local) == l->port)
      return "; this pool listens on that port at another address: another listener of the script "
             "has it, or the pool has to be started again for the new one";
  }
  return "";
}

/* Opens a socket for a listener. */
static enum mb_exit open_entry(lua_State *L, const char *script, const struct mb_options *options,
                               const struct mb_listen_entry *l, struct mb_pool_sockets *sockets) {
  char error[MB_SERVE_ADDRESS_ERROR_MAX];
  bool any = l->proto == MB_PROTO_ANY || options->mode_value[0];
  int fd = any ? mb_serve_address_open(options->mode_value, options->dev, error)
               : mb_serve_entry_open(l, options->dev, error);
  if (fd < 0) {
    mb_log(LOG_ERR, "%s: %s%s", script, error, fd == -EADDRINUSE ? who_has_it(sockets, l) : "");
    return fd == -EINVAL ? MB_EXIT_USAGE : MB_EXIT_SYSTEM;
  }
  (void)L;
  if (!take_socket(sockets, fd, true)) return MB_EXIT_SYSTEM;
  sockets->list[sockets->count - 1].entry = l;
  return MB_EXIT_OK;
}

/* Closes the sockets that no listener wants. */
static void drop_unwanted(struct mb_pool_sockets *sockets) {
  int kept = 0;
  for (int i = 0; i < sockets->count; i++) {
    if (sockets->list[i].entry) {
      sockets->list[kept++] = sockets->list[i];
    } else {
      close(sockets->list[i].fd);
    }
  }
  sockets->count = kept;
}

static enum mb_exit open_missing(lua_State *L, const char *script, const struct mb_options *options,
                                 struct mb_pool_sockets *sockets) {
  bool is_told = options->mode_value[0] != '\0';
  const struct mb_listen_entry *named = NULL;
  int n = 0;
  for (const struct mb_listen_entry *l = mb_listen_first(L); l; l = l->next) {
    n++;
    if (!takes_connections(l) || (options->listener && n != options->listener)) continue;
    if (is_told && !options->listener && l->proto != MB_PROTO_ANY) {
      named = l;
      continue;
    }
    if (has_socket(sockets, l)) continue;
    enum mb_exit exit = open_entry(L, script, options, l, sockets);
    if (exit != MB_EXIT_OK) return exit;
  }
  drop_unwanted(sockets);
  if (sockets->count > 0 && !named) return MB_EXIT_OK;
  if (!named && options->listener) {
    mb_log(LOG_ERR, "%s: listener %d takes no connection or does not exist; the script has: %s",
           script, options->listener, offer(L));
  } else if (named) {
    mb_log(LOG_ERR,
           "%s: --serve=%s: the script says itself where it listens: %s; write --serve alone, or "
           "choose one with --listener N",
           script, options->mode_value, offer(L));
  } else {
    mb_log(LOG_ERR, "%s: no listener takes connections: the script has: %s", script, offer(L));
  }
  lua_pop(L, 1);
  return MB_EXIT_CONFIG;
}

/* Logs each listener that has no socket. Returns whether all have one. */
static bool all_have_one(lua_State *L, const char *script, int listener,
                         const struct mb_pool_sockets *sockets) {
  bool all = true;
  int n = 0;
  for (const struct mb_listen_entry *l = mb_listen_first(L); l; l = l->next) {
    n++;
    if (l->proto == MB_PROTO_ANY) continue; /* it names no address, and so it lacks none */
    if (!takes_connections(l) || has_socket(sockets, l) || (listener && n != listener)) continue;
    char handed[1024], text[256];
    mb_pool_sockets_describe(sockets, handed, sizeof handed);
    mb_listen_describe_entry(l, text);
    mb_log(LOG_ERR,
           "%s: no socket was handed over for listener %d, %s: there is %s (systemd: one "
           "ListenStream= for each)",
           script, n, text, handed);
    all = false;
  }
  return all;
}

enum mb_exit mb_pool_sockets_match(lua_State *L, const char *script,
                                   const struct mb_options *options,
                                   struct mb_pool_sockets *sockets) {
  bool opens = options->mode == MB_MODE_LISTEN;
  bool is_told = opens && options->mode_value[0];
  int lost = 0;
  for (int i = 0; i < sockets->count; i++) {
    struct mb_pool_socket *s = &sockets->list[i];
    s->entry = mb_listen_find(L, &s->local, s->fd, options->listener);
    if (s->entry && opens && !is_told && !mb_serve_entry_is_at(s->entry, &s->local, options->dev))
      s->entry = NULL;
    /* What --serve=ADDRESS has opened belongs to whoever takes any connection. */
    if (s->entry && is_told && !options->listener && s->entry->proto != MB_PROTO_ANY)
      s->entry = NULL;
    if (s->entry || opens) continue;
    char text[MB_ADDR_LABEL_MAX];
    mb_addr_label(&s->local, text);
    mb_log(LOG_ERR, "%s: no listener for the socket at %s (fd %d): the script has: %s", script,
           text, s->fd, offer(L));
    lua_pop(L, 1);
    lost++;
  }
  if (opens) return open_missing(L, script, options, sockets);
  return lost == 0 && all_have_one(L, script, options->listener, sockets) ? MB_EXIT_OK
                                                                          : MB_EXIT_CONFIG;
}

/* ---- all of them ---- */

void mb_pool_sockets_set_keepalive(const struct mb_pool_sockets *sockets, int seconds) {
  for (int i = 0; i < sockets->count && seconds > 0; i++) {
    int fd = sockets->list[i].fd;
    if (mb_fd_kind_of(fd) == MB_FD_TCP) mb_fd_set_keepalive(fd, seconds);
  }
}

void mb_pool_sockets_describe(const struct mb_pool_sockets *sockets, char *text, size_t size) {
  size_t at = 0;
  text[0] = '\0';
  for (int i = 0; i < sockets->count && at < size; i++) {
    char label[MB_ADDR_LABEL_MAX];
    mb_addr_label(&sockets->list[i].local, label);
    at += (size_t)snprintf(text + at, size - at, "%s%s", i ? ", " : "", label);
  }
}

/* Returns whether one of the sockets has the same address. */
static bool is_among(const struct mb_pool_sockets *sockets, const struct mb_pool_socket *s) {
  for (int i = 0; i < sockets->count; i++) {
    const struct mb_addr *other = &sockets->list[i].local;
    if (other->len == s->local.len && memcmp(&other->storage, &s->local.storage, other->len) == 0)
      return true;
  }
  return false;
}

void mb_pool_sockets_drop_new(struct mb_pool_sockets *sockets) {
  for (int i = 0; i < sockets->count; i++) {
    if (sockets->list[i].is_new) remove_file(&sockets->list[i]);
  }
}

void mb_pool_sockets_keep(struct mb_pool_sockets *sockets, const struct mb_options *options,
                          const int *fds, int count) {
  if (options->mode != MB_MODE_LISTEN) {
    for (int i = 0; i < count; i++) close(fds[i]);
    return;
  }
  struct mb_pool_sockets now = {.count = count};
  for (int i = 0; i < count; i++) {
    struct mb_pool_socket *s = &now.list[i];
    *s = (struct mb_pool_socket){.fd = fds[i], .is_ours = true};
    s->local.len = sizeof s->local.storage;
    if (getsockname(s->fd, &s->local.any, &s->local.len) != 0) s->local.len = 0;
    note_file(s);
  }
  /* One that is no longer wanted ends for all processes: the old ones would keep it open as long as they serve. */
  for (int i = 0; i < sockets->count; i++) {
    struct mb_pool_socket *s = &sockets->list[i];
    if (is_among(&now, s)) continue;
    remove_file(s);
    mb_listener_end(s->fd);
  }
  mb_pool_sockets_close(sockets, false);
  *sockets = now;
}

void mb_pool_sockets_stop(struct mb_pool_sockets *sockets, struct mb_pool_board *board) {
  for (int i = 0; i < sockets->count; i++) {
    struct mb_pool_socket *s = &sockets->list[i];
    remove_file(s);
    mb_listener_stop(s->fd);
  }
  board->clearing = true;
}

int mb_pool_sockets_clear(const struct mb_pool_sockets *sockets, const struct mb_service *service,
                          struct mb_pool_board *board, const struct mb_listen_entry **ret_entry) {
  for (int i = 0; board->clearing && i < sockets->count; i++) {
    const struct mb_pool_socket *s = &sockets->list[i];
    struct mb_addr remote;
    if (s->entry->service != service || board->cleared[i]) continue;
    int fd = mb_listener_accept(s->fd, false, &remote);
    if (fd >= 0) {
      *ret_entry = s->entry;
      return fd;
    }
    /* poll(2) calls a Unix socket that is stopped ready for ever. */
    if (fd == -EINVAL || s->local.any.sa_family == AF_UNIX) board->cleared[i] = true;
    /* No descriptor, no memory: the process that comes next would find the same at once. */
    if (fd != -EINVAL && fd != -EAGAIN) mb_fd_poll_all(NULL, 0, mb_now_usec() + NO_ROOM_USEC);
  }
  return -ECANCELED;
}

void mb_pool_sockets_mend(const struct mb_pool_sockets *sockets) {
  for (int i = 0; i < sockets->count; i++) {
    const struct mb_pool_socket *s = &sockets->list[i];
    char label[MB_ADDR_LABEL_MAX];
    struct pollfd fd = {s->fd, POLLIN, 0};
    if (mb_fd_poll_once(&fd, 1, 0) <= 0 || !(fd.revents & (POLLHUP | POLLERR))) continue;
    mb_addr_label(&s->local, label);
    /* A Unix socket is shut for good. */
    bool is_mended = s->local.any.sa_family != AF_UNIX && MB_RARE(listen)(s->fd, SOMAXCONN) == 0;
    mb_log(LOG_ERR, "pool: a process has shut down the socket %s for all; %s", label,
           is_mended ? "it listens again" : "start the service again");
  }
}

void mb_pool_sockets_end(const struct mb_pool_sockets *sockets) {
  for (int i = 0; i < sockets->count; i++) mb_listener_end(sockets->list[i].fd);
}

bool mb_pool_sockets_have_waiting(const struct mb_pool_sockets *sockets,
                                  const struct mb_service *service,
                                  const struct mb_pool_board *board) {
  struct pollfd fds[MB_POOL_SOCKETS_MAX];
  size_t n = 0;
  for (int i = 0; i < sockets->count; i++) {
    const struct mb_pool_socket *s = &sockets->list[i];
    if (s->entry->service == service && !board->cleared[i])
      fds[n++] = (struct pollfd){s->fd, POLLIN, 0};
  }
  return n > 0 && mb_fd_poll_once(fds, n, 0) > 0;
}

void mb_pool_sockets_close(struct mb_pool_sockets *sockets, bool remove) {
  for (int i = 0; i < sockets->count; i++) {
    struct mb_pool_socket *s = &sockets->list[i];
    if (remove) remove_file(s);
    if (remove && s->was_blocking) {
      int flags = fcntl(s->fd, F_GETFL);
      if (flags >= 0) fcntl(s->fd, F_SETFL, flags & ~O_NONBLOCK);
    }
    close(s->fd);
  }
  sockets->count = 0;
}
