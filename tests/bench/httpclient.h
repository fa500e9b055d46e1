/* The client side of one connection to a server that is measured: httpload.c and wsload.c share it. */
#ifndef HTTPCLIENT_H
#define HTTPCLIENT_H

#include "httpbench.h"

#define TURN_MAX     16384 /* bytes that are sent at once */
#define WARM_UP      500   /* requests: late loading is over then, and the processor is awake */
#define BUFFER_BYTES 65536

struct client {
  int fd;
  pid_t pid; /* 0: we did not start the server */
  size_t len;
  char data[BUFFER_BYTES + 1]; /* received and not yet dealt with; a NUL at the end */
};

static struct client client;

/* server: a port of the loopback interface, or a program and its arguments, which gets the connection as fd 0. */
static inline void open_connection(char **server) {
  if (server[1] == NULL && atoi(server[0]) > 0) {
    struct sockaddr_in name = loopback(atoi(server[0]));
    client.fd = connect_to(&name);
    return;
  }
  int ends[2], listener = listen_somewhere();
  make_tcp(listener, ends);
  close(listener);
  client.fd = ends[0];
  client.pid = start(server, ends[1], -1);
}

static inline void close_connection(void) {
  close(client.fd);
  if (client.pid > 0) wait_for(client.pid);
}

static inline void receive(void) {
  ssize_t n = recv(client.fd, client.data + client.len, BUFFER_BYTES - client.len, 0);
  if (n < 0) fail("recv");
  if (n == 0) wrong("the connection or the buffer has ended within a response");
  client.len += (size_t)n;
  client.data[client.len] = '\0';
}

static inline void drop(size_t count) {
  client.len -= count;
  memmove(client.data, client.data + count, client.len + 1);
}

/* What is asked for again and again. */
struct job {
  const char *request;
  size_t len;
  void (*take)(void); /* takes one answer, and checks it */
};

static inline void turn(const struct job *job, const char *requests, int depth) {
  write_all(client.fd, requests, job->len * (size_t)depth);
  for (int i = 0; i < depth; i++) job->take();
}

/* Asks for so long, with so many requests at once. Prints their number and the seconds. */
static inline void ask(const struct job *job, long long ns, int depth) {
  static char requests[TURN_MAX];
  if (depth < 1 || job->len * (size_t)depth > sizeof requests) wrong("not a depth for this");
  for (int i = 0; i < depth; i++) memcpy(requests + job->len * (size_t)i, job->request, job->len);
  for (int done = 0; done < WARM_UP; done += depth) turn(job, requests, depth);
  long long count = 0, begin = now(), end;
  do {
    turn(job, requests, depth);
    count += depth;
  } while ((end = now()) - begin < ns);
  if (client.len > 0) wrong("more was sent than was asked for");
  printf("%lld %.6f\n", count, (double)(end - begin) / 1e9);
}

#endif
