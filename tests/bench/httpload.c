/*
 * The client of a server that is measured. It uses one connection:
 * httpload requests MILLISECONDS DEPTH SERVER...
 *   requests the page again and again, DEPTH times at once; prints the number of requests and the seconds
 * httpload files MILLISECONDS DEPTH SIZE SERVER...
 *   the same with a small file that counts its 8-byte words
 * httpload fetch SIZE SERVER...
 *   gets such a file of any size; prints the seconds from the request to the last byte
 * SERVER is a port of the loopback interface, or PROGRAM ARG..., which is started with the connection
 * on fd 0. Every response is checked; the exit status is 1 when one is wrong.
 */
#include "httpclient.h"

#define REQUEST \
  "GET /file HTTP/1.1\r\nHost: localhost\r\nUser-Agent: httpload\r\nAccept: */*\r\n\r\n"
#define PAGE       "hello\n"
#define TAIL_BYTES (BUFFER_BYTES / 2) /* of the file: these are compared, not only counted */

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

/* ---- pages, and small files ---- */

static const char *body;
static size_t body_size;

static void take_body(void) {
  if (take_head() != body_size) wrong("wrong Content-Length");
  while (client.len < body_size) receive();
  if (memcmp(client.data, body, body_size) != 0) wrong("wrong page");
  drop(body_size);
}

static const struct job pages = {REQUEST, sizeof REQUEST - 1, take_body};

static void ask_for_pages(long long ns, int depth) {
  body = PAGE;
  body_size = sizeof PAGE - 1;
  ask(&pages, ns, depth);
}

static void ask_for_files(long long ns, int depth, size_t size) {
  static unsigned long long words[TURN_MAX / 8];
  if (size % 8 != 0 || size > sizeof words) wrong("not a size for this");
  for (size_t i = 0; i < sizeof words / 8; i++) words[i] = i;
  body = (const char *)words;
  body_size = size;
  ask(&pages, ns, depth);
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
    ask_for_pages(atoll(argv[2]) * 1000000, atoi(argv[3]));
  } else if (argc > 5 && strcmp(argv[1], "files") == 0) {
    open_connection(argv + 5);
    ask_for_files(atoll(argv[2]) * 1000000, atoi(argv[3]), strtoull(argv[4], NULL, 10));
  } else if (argc > 3 && strcmp(argv[1], "fetch") == 0) {
    open_connection(argv + 3);
    fetch(strtoull(argv[2], NULL, 10));
  } else {
    return 2;
  }
  close_connection();
  return 0;
}
