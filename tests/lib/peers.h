/* Connections over loopback for the unit tests. They bail out when one cannot be made. */
#ifndef MB_PEERS_H
#define MB_PEERS_H

#include <stdint.h>

/* Listens at a free port of 127.0.0.1. Returns the descriptor. */
int peers_listen(uint16_t *ret_port);

/* Returns a port of 127.0.0.1 at which nobody listens. */
uint16_t peers_free_port(void);

/* Makes a TCP connection: pair[0] is the server's end, pair[1] the client's. */
void peers_tcp(int pair[2]);

/* Makes a connection of two Unix sockets. */
void peers_unix(int pair[2]);

/* Closes a TCP socket so that its peer sees a reset. */
void peers_reset(int fd);

#endif
