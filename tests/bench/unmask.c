/*
 * mb-handle is compared with this: a WebSocket's server that only takes masks off. On fd 0:
 * unmask back   sends each message back; a large one as it comes, piece by piece
 * unmask size   answers each message with a text, its size
 * It knows its client, wsload: each message is one frame. It holds no message, and checks nothing.
 */
#include "httpbench.h"

#include <netinet/tcp.h>
#include <stdint.h>

#define ACCEPT                                                                        \
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
#define MASK 4

static struct {
  char data[65536];
  size_t begin, end; /* of what has come, and is not dealt with */
} in;

static size_t there(void) { return in.end - in.begin; }

/* Receives until so many bytes are there. Returns false at the end of the input. */
static int need(size_t size) {
  while (there() < size) {
    memmove(in.data, in.data + in.begin, there());
    in.end -= in.begin;
    in.begin = 0;
    ssize_t n = recv(0, in.data + in.end, sizeof in.data - in.end, 0);
    if (n <= 0) return 0;
    in.end += (size_t)n;
  }
  return 1;
}

static void accept_upgrade(void) {
  size_t len = 0;
  int on = 1;
  setsockopt(0, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* as a WebSocket of ours has it */
  do {
    if (!need(++len)) wrong("no request");
  } while (len < 4 || memcmp(in.data + len - 4, "\r\n\r\n", 4) != 0);
  in.begin = len;
  write_all(0, ACCEPT, sizeof ACCEPT - 1);
}

/* Takes the mask off, a word at a time; at: the first byte's place in the message. */
static void unmask(char *bytes, size_t size, const char *mask, size_t at) {
  char key[8];
  uint64_t word, part;
  size_t i = 0;
  for (size_t k = 0; k < sizeof key; k++) key[k] = mask[(at + k) % MASK];
  memcpy(&word, key, sizeof word);
  for (; i + sizeof part <= size; i += sizeof part) {
    memcpy(&part, bytes + i, sizeof part);
    part ^= word;
    memcpy(bytes + i, &part, sizeof part);
  }
  for (; i < size; i++) bytes[i] = (char)(bytes[i] ^ key[i % sizeof key]);
}

/* Takes the payload. head: bytes of the answer's head, which go out with the first piece; 0: nothing is sent. */
static void take_payload(uint64_t size, const char mask[MASK], size_t head) {
  for (uint64_t got = 0; got < size;) {
    if (there() == 0 && !need(1)) wrong("the input has ended within a message");
    size_t n = there() < size - got ? there() : (size_t)(size - got);
    unmask(in.data + in.begin, n, mask, got);
    if (head > 0) write_all(0, in.data + in.begin - (got ? 0 : head), n + (got ? 0 : head));
    in.begin += n;
    got += n;
  }
}

static void answer_with(uint64_t size) {
  char answer[32];
  int len = snprintf(answer + 2, sizeof answer - 2, "%llu", (unsigned long long)size);
  answer[0] = (char)0x81;
  answer[1] = (char)len;
  write_all(0, answer, (size_t)len + 2);
}

/* Takes one message. Returns false at the end of the input. */
static int serve(int sends_back) {
  if (!need(2)) return 0;
  uint64_t size = in.data[in.begin + 1] & 0x7f;
  size_t head = size == 127 ? 10 : size == 126 ? 4 : 2; /* without the mask */
  if (!need(head + MASK + 1)) wrong("half a message");  /* so that in.begin stays */
  char mask[MASK], *begin = in.data + in.begin;
  if (head > 2) size = 0;
  for (size_t i = 2; i < head; i++) size = size << 8 | (unsigned char)begin[i];
  memcpy(mask, begin + head, MASK);
  begin[1] = (char)(begin[1] & 0x7f);
  memmove(begin + MASK, begin, head); /* the head of the answer, just before its payload */
  in.begin += head + MASK;
  take_payload(size, mask, sends_back ? head : 0);
  if (!sends_back) answer_with(size);
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  accept_upgrade();
  while (serve(strcmp(argv[1], "back") == 0)) continue;
  return 0;
}
