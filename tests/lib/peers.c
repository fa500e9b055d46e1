/* Connections over loopback for the unit tests. */
#include "peers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tap.h"

int peers_listen(uint16_t *ret_port) {
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof name;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, (struct sockaddr *)&name, len) != 0 || listen(listener, 8) != 0)
    tap_bail("listen");
  getsockname(listener, (struct sockaddr *)&name, &len);
  *ret_port = ntohs(name.sin_port);
  return listener;
}

uint16_t peers_free_port(void) {
  uint16_t port;
  close(peers_listen(&port));
  return port;
}

void peers_tcp(int pair[2]) {
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  uint16_t port;
  int listener = peers_listen(&port);
  name.sin_port = htons(port);
  pair[1] = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(pair[1], (struct sockaddr *)&name, sizeof name) != 0) tap_bail("connect");
  pair[0] = accept(listener, NULL, NULL);
  close(listener);
}

void peers_unix(int pair[2]) {
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) tap_bail("socketpair");
}

void peers_reset(int fd) {
  const struct linger reset = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close(fd);
}
