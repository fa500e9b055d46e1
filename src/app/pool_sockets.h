/* The listening sockets of a pool: those that were handed over, and those that it opens itself. */
#ifndef MB_POOL_SOCKETS_H
#define MB_POOL_SOCKETS_H

#include <lua.h>
#include <stdbool.h>
#include <sys/types.h>

#include "app/listen.h"
#include "app/options.h"
#include "app/pool_board.h"
#include "base/addr.h"
#include "base/exits.h"

struct mb_pool_socket {
  int fd;
  struct mb_addr local;
  bool is_ours;                        /* opened here */
  bool is_new;                         /* opened by the load that runs */
  dev_t device;                        /* with inode: of its file, which is removed at the end; */
  ino_t inode;                         /* 0: it has none */
  bool was_blocking;                   /* its description had no O_NONBLOCK */
  const struct mb_listen_entry *entry; /* who takes its connections; NULL: not known yet */
};

struct mb_pool_sockets {
  struct mb_pool_socket list[MB_POOL_SOCKETS_MAX];
  int count;
};

/*
 * Takes over `count` descriptors from fd on. Logs which is no listening stream socket. They do not block from now on.
 */
enum mb_exit mb_pool_sockets_take(struct mb_pool_sockets *sockets, int fd, int count);

/*
 * A child that was taken over can end the listening of a socket for all. Makes such sockets listen again, where the system
 * allows it, and logs it.
 */
void mb_pool_sockets_mend(const struct mb_pool_sockets *sockets);

/*
 * Finds for each socket the listener of the script that takes its connections. When the options say that the pool
 * listens by itself, opens a socket for each listener that has none, and drops those that no listener wants. Otherwise
 * both are errors, which it logs.
 */
enum mb_exit mb_pool_sockets_match(lua_State *L, const char *script,
                                   const struct mb_options *options,
                                   struct mb_pool_sockets *sockets);

/* Removes the files of the sockets that mb_pool_sockets_match has opened: the load has failed. */
void mb_pool_sockets_drop_new(struct mb_pool_sockets *sockets);

/* Sets on TCP sockets what --tcp-keepalive says: the connections that they accept inherit it. */
void mb_pool_sockets_set_keepalive(const struct mb_pool_sockets *sockets, int seconds);

/* Writes the addresses for a message: "127.0.0.1:80, /run/x.sock". */
void mb_pool_sockets_describe(const struct mb_pool_sockets *sockets, char *text, size_t size);

/*
 * Takes over the descriptors that a process has told, which has found its listeners: they are kept for the next one when
 * the pool listens by itself. Otherwise closes them, as it has them already.
 */
void mb_pool_sockets_keep(struct mb_pool_sockets *sockets, const struct mb_options *options,
                          const int *fds, int count);

/* Returns whether a connection waits in a socket of the service. */
bool mb_pool_sockets_have_waiting(const struct mb_pool_sockets *sockets,
                                  const struct mb_service *service,
                                  const struct mb_pool_board *board);

/*
 * The pool ends, and with it the sockets of its own: from now on clients are refused, but those that wait are still to
 * be accepted. Removes the files at once, so that another pool may begin to listen there.
 */
void mb_pool_sockets_stop(struct mb_pool_sockets *sockets, struct mb_pool_board *board);

/*
 * Accepts a connection that waits in a socket of the service, after mb_pool_sockets_stop. Notes on the board that a
 * socket is cleared.
 * Returns a descriptor, with the listener; or -ECANCELED.
 */
int mb_pool_sockets_clear(const struct mb_pool_sockets *sockets, const struct mb_service *service,
                          struct mb_pool_board *board, const struct mb_listen_entry **ret_entry);

/* Ends the sockets for all processes of the pool. */
void mb_pool_sockets_end(const struct mb_pool_sockets *sockets);

/* Closes the sockets. remove: removes the files of our own, and gives the others their O_NONBLOCK back. */
void mb_pool_sockets_close(struct mb_pool_sockets *sockets, bool remove);

#endif
