/*
 * Uploads a form with one file to a program: httpupload pipe|socketpair length|chunked SIZE
 * form|count PROGRAM ARG... Starts the program with the request on fd 0 (pipe: its output on fd 1),
 * sends a file of SIZE random bytes, and checks the answer: "form", a response whose body is the size of
 * the file; "count", the number of all bytes, as wc -c prints it. Prints the seconds from start to end.
 * The exit status is 1 when anything was wrong.
 */
#include "httpbench.h"

#include <fcntl.h>
#include <stdbool.h>

#define BOUNDARY "----------------------------9f86d081884c7d65"
#define PART                                                                       \
  "--" BOUNDARY                                                                    \
  "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"random.bin\"\r\n" \
  "Content-Type: application/octet-stream\r\n\r\n"
#define CLOSING "\r\n--" BOUNDARY "--\r\n"

#define PIECE_BYTES  65536 /* the size of a write, and of a chunk */
#define RANDOM_BYTES (16 * PIECE_BYTES)

struct upload {
  int to, from;
  bool chunked;
  unsigned long long sent;
};

static char random_bytes[RANDOM_BYTES];

static void make_random(void) {
  unsigned long long x = 88172645463325252ULL; /* xorshift64: the same bytes in each run */
  for (size_t at = 0; at < sizeof random_bytes; at += sizeof x) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    memcpy(random_bytes + at, &x, sizeof x);
  }
}

static void put(struct upload *u, const char *data, size_t len) {
  write_all(u->to, data, len);
  u->sent += len;
}

/* Writes content of the body, as one chunk if the body is chunked. */
static void put_content(struct upload *u, const char *data, size_t len) {
  char line[20];
  if (u->chunked) put(u, line, (size_t)snprintf(line, sizeof line, "%zx\r\n", len));
  put(u, data, len);
  if (u->chunked) put(u, "\r\n", 2);
}

static void send_request(struct upload *u, unsigned long long size) {
  char head[512], framing[64] = "Transfer-Encoding: chunked";
  if (!u->chunked) {
    snprintf(framing, sizeof framing, "Content-Length: %llu",
             size + sizeof PART - 1 + sizeof CLOSING - 1);
  }
  int len = snprintf(head, sizeof head,
                     "POST /upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                     "Content-Type: multipart/form-data; boundary=%s\r\n%s\r\n\r\n",
                     BOUNDARY, framing);
  put(u, head, (size_t)len);
  put_content(u, PART, sizeof PART - 1);
  for (unsigned long long at = 0; at < size; at += PIECE_BYTES) {
    size_t piece = size - at < PIECE_BYTES ? (size_t)(size - at) : PIECE_BYTES;
    put_content(u, random_bytes + at % RANDOM_BYTES, piece);
  }
  put_content(u, CLOSING, sizeof CLOSING - 1);
  if (u->chunked) put(u, "0\r\n\r\n", 5);
}

/* Ends our output. */
static void finish(const struct upload *u) {
  if (u->to != u->from) {
    close(u->to);
  } else {
    shutdown(u->to, SHUT_WR);
  }
}

static void expect_number(const struct upload *u, bool response, unsigned long long number) {
  char text[4096], wanted[32];
  size_t len = 0;
  ssize_t n;
  while (len < sizeof text - 1 && (n = read(u->from, text + len, sizeof text - 1 - len)) > 0)
    len += (size_t)n;
  text[len] = '\0';
  const char *number_at = text;
  if (response) {
    number_at = strstr(text, "\r\n\r\n");
    if (strncmp(text, "HTTP/1.1 200", 12) != 0 || !number_at) wrong("no good response");
    number_at += 4;
  }
  snprintf(wanted, sizeof wanted, "%llu\n", number);
  if (strcmp(number_at, wanted) == 0) return;
  fprintf(stderr, "httpupload: answer \"%s\", expected \"%s\"\n", number_at, wanted);
  exit(1);
}

/* The descriptors of the program are in ends[0] (for fd 0) and ends[1] (for fd 1, or -1). */
static void connect_both(struct upload *u, const char *transport, int ends[2]) {
  int in[2], out[2];
  if (strcmp(transport, "pipe") == 0) {
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) fail("pipe");
    u->to = in[1];
    u->from = out[0];
    ends[0] = in[0];
    ends[1] = out[1];
  } else {
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) != 0) fail("socketpair");
    u->to = u->from = in[0];
    ends[0] = in[1];
    ends[1] = fcntl(in[1], F_DUPFD_CLOEXEC, 0); /* wc answers on fd 1 */
  }
}

int main(int argc, char **argv) {
  if (argc < 6) return 2;
  unsigned long long size = strtoull(argv[3], NULL, 10);
  bool response = strcmp(argv[4], "form") == 0;
  struct upload u = {.chunked = strcmp(argv[2], "chunked") == 0};
  int ends[2];
  alarm(SECONDS_MAX);
  signal(SIGPIPE, SIG_IGN);
  make_random();
  long long begin = now();
  connect_both(&u, argv[1], ends);
  pid_t pid = start(argv + 5, ends[0], ends[1]);
  send_request(&u, size);
  finish(&u);
  expect_number(&u, response, response ? size : u.sent);
  wait_for(pid);
  printf("%.6f\n", (double)(now() - begin) / 1e9);
  return 0;
}
