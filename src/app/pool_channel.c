/* The message of a generation: it comes whole, with its descriptors, or not at all. */
#include "app/pool_channel.h"
#include "base/rare.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room for the descriptors. */
union control {
  struct cmsghdr header;
  char bytes[CMSG_SPACE(MB_POOL_SOCKETS_MAX * sizeof(int))];
};

int mb_pool_channel_send(int channel, const struct mb_pool_ready *ready,
                         const struct mb_pool_sockets *sockets) {
  union control control = {0};
  struct iovec part = {.iov_base = (void *)ready, .iov_len = sizeof *ready};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  size_t size = (size_t)sockets->count * sizeof(int);
  if (size > 0) {
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(size);
    control.header = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(size)};
    int *fds = (int *)(void *)CMSG_DATA(&control.header);
    for (int i = 0; i < sockets->count; i++) fds[i] = sockets->list[i].fd;
  }
  while (sendmsg(channel, &message, MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return -errno;
  }
  return 0;
}

int mb_pool_channel_receive(int channel, struct mb_pool_ready *ret_ready, int *ret_fds) {
  union control control = {0};
  struct iovec part = {.iov_base = ret_ready, .iov_len = sizeof *ret_ready};
  struct msghdr message = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof control.bytes};
  ssize_t n;
  do {
    n = MB_RARE(recvmsg)(channel, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return errno == ECONNRESET ? 0 : -errno;
  if (n == 0) return 0;
  int count = 0;
  struct cmsghdr *c = CMSG_FIRSTHDR(&message);
  if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
    count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(ret_fds, CMSG_DATA(c), (size_t)count * sizeof(int));
  }
  if ((size_t)n == sizeof *ret_ready && count == ret_ready->nsockets) return 1;
  for (int i = 0; i < count; i++) close(ret_fds[i]);
  return -EMFILE; /* the system had no room for the descriptors */
}
