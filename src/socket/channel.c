/* Picks the transport of plain descriptors. */
#include "socket/channel.h"

#include "socket/transport_files.h"
#include "socket/transport_socket.h"

struct mb_channel mb_channel_of(int in_fd, int out_fd, enum mb_fd_kind kind) {
  struct mb_channel c = {.kind = kind, .in_fd = in_fd, .out_fd = out_fd};
  c.transport = mb_channel_is_socket(&c) ? &mb_transport_socket : &mb_transport_files;
  return c;
}
