/* The listening sockets of a pool: those that were handed over, and those that it opens itself. */
#ifndef MB_POOL_SOCKETS_H
#define MB_POOL_SOCKETS_H

#include <lua.h>
#include <stdbool.h>

#include "app/listen.h"
#include "app/options.h"
#include "base/addr.h"
#include "base/exits.h"

struct mb_pool_socket {
  int fd;
  struct mb_addr local;
  bool is_ours;                        /* opened here: its file is removed at the end */
  bool was_blocking;                   /* its description had no O_NONBLOCK */
  const struct mb_listen_entry *entry; /* who takes its connections; NULL: not known yet */
};

/* As many as systemd and a script are likely to have. */
#define MB_POOL_SOCKETS_MAX 64

struct mb_pool_sockets {
  struct mb_pool_socket list[MB_POOL_SOCKETS_MAX];
  int count;
};

/*
 * Takes over `count` descriptors from fd on. Logs which is no listening stream socket. They do not block from now on.
 */
enum mb_exit mb_pool_sockets_take(struct mb_pool_sockets *sockets, int fd, int count);

/*
 * Finds for each socket the listener of the script that takes its connections. When the options say that the pool
 * listens by itself, opens a socket for each listener that has none, and drops those that no listener wants. Otherwise
 * both are errors, which it logs.
 */
enum mb_exit mb_pool_sockets_match(lua_State *L, const char *script,
                                   const struct mb_options *options,
                                   struct mb_pool_sockets *sockets);

/* Writes the addresses for a message: "127.0.0.1:80, /run/x.sock". */
void mb_pool_sockets_describe(const struct mb_pool_sockets *sockets, char *text, size_t size);

/* Closes the sockets. remove: removes the files of our own, and gives the others their O_NONBLOCK back. */
void mb_pool_sockets_close(struct mb_pool_sockets *sockets, bool remove);

#endif
