/*
 * The client of a server that is measured. It uses one connection:
 * httpload requests MILLISECONDS DEPTH SERVER...
 *   requests the page again and again, DEPTH times at once; prints the number of requests and the seconds
 * httpload messages MILLISECONDS DEPTH SERVER...
 *   the same with messages of a WebSocket, which the server sends back (RFC 6455)
 * httpload fetch SIZE SERVER...
 *   gets a file that counts its 8-byte words; prints the seconds from the request to the last byte
 * SERVER is a port of the loopback interface, or PROGRAM ARG..., which is started with the connection
 * on fd 0. Every response is checked; the exit status is 1 when one is wrong.
 */
#include "httpbench.h"

#define REQUEST \
  "GET /file HTTP/1.1\r\nHost: localhost\r\nUser-Agent: httpload\r\nAccept: */*\r\n\r\n"
#define PAGE     "hello\n"
#define TURN_MAX 16384 /* bytes that are sent at once */
#define WARM_UP  500   /* requests: late loading is over then, and the processor is awake */

#define BUFFER_BYTES 65536
#define TAIL_BYTES   (BUFFER_BYTES / 2) /* of the file: these are compared, not only counted */

struct client {
  int fd;
  pid_t pid; /* 0: we did not start the server */
  size_t len;
  char data[BUFFER_BYTES + 1]; /* received and not yet dealt with; a NUL at the end */
};

static struct client client;

static void open_connection(char **server) {
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

static void close_connection(void) {
  close(client.fd);
  if (client.pid > 0) wait_for(client.pid);
}

static void receive(void) {
  ssize_t n = recv(client.fd, client.data + client.len, BUFFER_BYTES - client.len, 0);
  if (n < 0) fail("recv");
  if (n == 0) wrong("the connection or the buffer has ended within a response");
  client.len += (size_t)n;
  client.data[client.len] = '\0';
}

static void drop(size_t count) {
  client.len -= count;
  memmove(client.data, client.data + count, client.len + 1);
}

/* Takes a response head. Returns the length of the body. */
static unsigned long long take_head(void) {
  static const char field[] = "\r\nContent-Length: ";
  const char *end;
  while (!(end = strstr(client.data, "\r\n\r\n"))) receive();
  const char *length = strcasestr(client.data, field);
  if (strncmp(client.data, "HTTP/1.1 200", 12) != 0) wrong("the status is not 200");
  if (!length || length > end) wrong("no Content-Length");
  unsigned long long size = strtoull(length + sizeof field - 1, NULL, 10);
  drop((size_t)(end - client.data) + 4);
  return size;
}

/* ---- pages ---- */

static void take_page(void) {
  size_t size = sizeof PAGE - 1;
  if (take_head() != size) wrong("wrong Content-Length");
  while (client.len < size) receive();
  if (memcmp(client.data, PAGE, size) != 0) wrong("wrong page");
  drop(size);
}

/* ---- messages of a WebSocket ---- */

#define UPGRADE                                                                        \
  "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
#define ACCEPTED "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" /* what this key makes: RFC 6455, 1.3 */
#define MESSAGE \
  "a message of some length, which is text and has no end of a line in it" /* 70 bytes */

/* A frame with a whole text message; the client's has a mask, which is of zeros. */
static const char their_frame[] = "\x81\x46" MESSAGE, our_frame[] = "\x81\xc6\0\0\0\0" MESSAGE;
_Static_assert(sizeof MESSAGE - 1 == 0x46, "the length in the frames");

static void open_websocket(void) {
  const char *end;
  write_all(client.fd, UPGRADE, sizeof UPGRADE - 1);
  while (!(end = strstr(client.data, "\r\n\r\n"))) receive();
  const char *accepted = strstr(client.data, ACCEPTED);
  if (strncmp(client.data, "HTTP/1.1 101", 12) != 0 || !accepted || accepted > end)
    wrong("the upgrade is not accepted");
  drop((size_t)(end - client.data) + 4);
}

static void take_message(void) {
  size_t size = sizeof their_frame - 1;
  while (client.len < size) receive();
  if (memcmp(client.data, their_frame, size) != 0) wrong("wrong message");
  drop(size);
}

/* ---- again and again ---- */

struct job {
  const char *request;
  size_t len;
  void (*take)(void); /* takes one answer, and checks it */
};

static const struct job pages = {REQUEST, sizeof REQUEST - 1, take_page};
static const struct job messages = {our_frame, sizeof our_frame - 1, take_message};

static void turn(const struct job *job, const char *requests, int depth) {
  write_all(client.fd, requests, job->len * (size_t)depth);
  for (int i = 0; i < depth; i++) job->take();
}

static void ask(const struct job *job, long long ns, int depth) {
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

/* ---- a file ---- */

/* Checks the last bytes of the file: if earlier bytes were lost or doubled, these would be others. */
static void check_tail(unsigned long long size) {
  for (size_t at = 0; at < TAIL_BYTES; at += 8) {
    unsigned long long word;
    memcpy(&word, client.data + at, sizeof word);
    if (word != (size - TAIL_BYTES + at) / 8) wrong("the bytes are not those of the file");
  }
}

static void fetch(unsigned long long size) {
  static const char head[] = "HEAD /file HTTP/1.1\r\nHost: localhost\r\n\r\n";
  if (size % 8 != 0 || size < 2 * BUFFER_BYTES) wrong("not a size for this");
  write_all(client.fd, head, sizeof head - 1);
  if (take_head() != size || client.len > 0) wrong("wrong answer to HEAD");
  long long begin = now();
  write_all(client.fd, REQUEST, sizeof REQUEST - 1);
  if (take_head() != size) wrong("wrong Content-Length");
  unsigned long long got = client.len;
  while (got < size - TAIL_BYTES) {
    /* MSG_TRUNC drops the bytes without copying them, so that we measure the server's part. */
    unsigned long long rest = size - TAIL_BYTES - got;
    ssize_t n = recv(client.fd, NULL, rest < 1 << 20 ? (size_t)rest : 1 << 20, MSG_TRUNC);
    if (n <= 0) fail("the file ended early");
    got += (unsigned long long)n;
  }
  client.len = 0;
  while (client.len < TAIL_BYTES) receive();
  long long end = now();
  if (client.len > TAIL_BYTES) wrong("more was sent than was asked for");
  check_tail(size);
  printf("%.6f\n", (double)(end - begin) / 1e9);
}

int main(int argc, char **argv) {
  alarm(SECONDS_MAX);
  signal(SIGPIPE, SIG_IGN);
  if (argc > 4 && strcmp(argv[1], "requests") == 0) {
    open_connection(argv + 4);
    ask(&pages, atoll(argv[2]) * 1000000, atoi(argv[3]));
  } else if (argc > 4 && strcmp(argv[1], "messages") == 0) {
    open_connection(argv + 4);
    open_websocket();
    ask(&messages, atoll(argv[2]) * 1000000, atoi(argv[3]));
  } else if (argc > 3 && strcmp(argv[1], "fetch") == 0) {
    open_connection(argv + 3);
    fetch(strtoull(argv[2], NULL, 10));
  } else {
    return 2;
  }
  close_connection();
  return 0;
}
