/* The transport of plain stream sockets. */
#ifndef MB_TRANSPORT_SOCKET_H
#define MB_TRANSPORT_SOCKET_H

#include "base/transport.h"

extern const struct mb_transport mb_transport_socket;

#endif
