/* The message of a generation to the first process of its pool. */
#ifndef MB_POOL_CHANNEL_H
#define MB_POOL_CHANNEL_H

#include "app/pool.h"

/* Sends the message and the descriptors of the sockets. Returns 0 or -errno. */
int mb_pool_channel_send(int channel, const struct mb_pool_ready *ready,
                         const struct mb_pool_sockets *sockets);

/*
 * Receives a message, if there is one.
 * ret_fds  place for MB_POOL_SOCKETS_MAX descriptors, of which ready.nsockets are filled in; the caller closes them
 * Returns 1; 0 when the generation has ended; or -errno.
 */
int mb_pool_channel_receive(int channel, struct mb_pool_ready *ret_ready, int *ret_fds);

#endif
