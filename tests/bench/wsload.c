/*
 * The client of a WebSocket server that is measured (RFC 6455). It uses one connection:
 * wsload messages MILLISECONDS DEPTH SIZE SERVER...
 *   sends text messages of SIZE bytes again and again, DEPTH at once, which the server sends back; prints the number of
 *   messages and the seconds
 * wsload large COUNT SIZE text|binary back|size SERVER...
 *   sends COUNT large messages and one before, each when the one before is answered: by the same message, or by a text
 *   with its size; prints the seconds
 * SERVER is as for httpload. Every answer is checked; the exit status is 1 when one is wrong.
 */
#include "httpclient.h"

#include <poll.h>

#define UPGRADE                                                                        \
  "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
#define ACCEPTED "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" /* what this key makes: RFC 6455, 1.3 */

#define HEAD_MAX 14
#define PIECE    (1 << 20) /* bytes that a call sends or receives */

static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};

/* A frame as we send it, and one as it comes back. */
struct frame {
  char *bytes;
  size_t head, size; /* size: of all of it */
};

static struct frame ours, theirs;

static void open_websocket(void) {
  const char *end;
  write_all(client.fd, UPGRADE, sizeof UPGRADE - 1);
  while (!(end = strstr(client.data, "\r\n\r\n"))) receive();
  const char *accepted = strstr(client.data, ACCEPTED);
  if (strncmp(client.data, "HTTP/1.1 101", 12) != 0 || !accepted || accepted > end)
    wrong("the upgrade is not accepted");
  drop((size_t)(end - client.data) + 4);
}

/* Letters, which are not the same again after any number of bytes that a program copies at once. */
static char letter(size_t i) { return (char)('a' + (i * 7 + i / 26 + i / 4096) % 26); }

/* Makes a frame with a whole message of letters. */
static struct frame make_frame(int opcode, size_t size, int masked) {
  struct frame f = {.bytes = malloc(HEAD_MAX + size)};
  if (!f.bytes) fail("malloc");
  size_t extra = size < 126 ? 0 : size < 65536 ? 2 : 8;
  unsigned first = extra == 0 ? (unsigned)size : extra == 2 ? 126 : 127;
  f.bytes[0] = (char)(0x80 | opcode);
  f.bytes[1] = (char)(first | (masked ? 0x80 : 0));
  for (size_t i = 0; i < extra; i++) f.bytes[2 + i] = (char)(size >> (8 * (extra - 1 - i)));
  f.head = 2 + extra;
  if (masked) {
    memcpy(f.bytes + f.head, mask, sizeof mask);
    f.head += sizeof mask;
  }
  for (size_t i = 0; i < size; i++)
    f.bytes[f.head + i] = (char)(letter(i) ^ (masked ? mask[i % 4] : 0));
  f.size = f.head + size;
  return f;
}

/* ---- short messages ---- */

static void take_message(void) {
  while (client.len < theirs.size) receive();
  if (memcmp(client.data, theirs.bytes, theirs.size) != 0) wrong("wrong message");
  drop(theirs.size);
}

static void ask_for_messages(long long ns, int depth, size_t size) {
  if (size > TURN_MAX) wrong("not a size for this");
  ours = make_frame(1, size, 1);
  theirs = make_frame(1, size, 0);
  const struct job messages = {ours.bytes, ours.size, take_message};
  ask(&messages, ns, depth);
}

/* ---- large messages ---- */

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Receives a part of the answer. Returns its size. MSG_TRUNC drops bytes without copying them: where they are not
 * checked, the server's part is measured. */
static size_t receive_part(size_t at, int checks) {
  static char part[PIECE];
  size_t wanted = least(PIECE, theirs.size - at);
  ssize_t n =
      recv(client.fd, checks ? part : NULL, wanted, MSG_DONTWAIT | (checks ? 0 : MSG_TRUNC));
  if (n < 0 && errno == EAGAIN) return 0;
  if (n <= 0) fail("the answer ended early");
  if (checks && memcmp(part, theirs.bytes + at, (size_t)n) != 0) wrong("wrong message");
  return (size_t)n;
}

static size_t send_part(size_t at) {
  ssize_t n = send(client.fd, ours.bytes + at, least(PIECE, ours.size - at), MSG_DONTWAIT);
  if (n < 0 && errno == EAGAIN) return 0;
  if (n < 0) fail("send");
  return (size_t)n;
}

/* Sends a message, and takes its answer meanwhile: a server may send back what it has before it has all. */
static void exchange(int checks) {
  size_t sent = 0, got = 0;
  while (got < theirs.size) {
    short events = sent < ours.size ? POLLIN | POLLOUT : POLLIN;
    struct pollfd p = {.fd = client.fd, .events = events};
    if (poll(&p, 1, -1) < 0) fail("poll");
    if (p.revents & POLLOUT) sent += send_part(sent);
    if (p.revents & ~POLLOUT) got += receive_part(got, checks);
  }
  if (sent < ours.size) wrong("an answer before the end of the message");
}

static void send_large(long count, size_t size, int opcode, int comes_back) {
  ours = make_frame(opcode, size, 1);
  if (comes_back) {
    theirs = make_frame(opcode, size, 0);
  } else {
    char text[32];
    int len = snprintf(text, sizeof text, "%zu", size);
    theirs = make_frame(1, (size_t)len, 0);
    memcpy(theirs.bytes + theirs.head, text, (size_t)len);
  }
  exchange(1);
  long long begin = now();
  for (long i = 0; i < count; i++) exchange(!comes_back);
  printf("%.6f\n", (double)(now() - begin) / 1e9);
}

int main(int argc, char **argv) {
  alarm(SECONDS_MAX);
  signal(SIGPIPE, SIG_IGN);
  if (argc > 5 && strcmp(argv[1], "messages") == 0) {
    open_connection(argv + 5);
    open_websocket();
    ask_for_messages(atoll(argv[2]) * 1000000, atoi(argv[3]), strtoull(argv[4], NULL, 10));
  } else if (argc > 6 && strcmp(argv[1], "large") == 0) {
    open_connection(argv + 6);
    open_websocket();
    send_large(atol(argv[2]), strtoull(argv[3], NULL, 10), strcmp(argv[4], "text") == 0 ? 1 : 2,
               strcmp(argv[5], "back") == 0);
  } else {
    return 2;
  }
  close_connection();
  return 0;
}
