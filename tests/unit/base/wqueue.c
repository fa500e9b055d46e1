/* src/base/wqueue.c: the bytes come out in order, whatever the sizes of the partial writes. */
#include "base/wqueue.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/tap.h"

static struct mb_alloc alloc;

/* Takes n bytes from the queue, as a partial write would, and copies them to out. */
static void send(struct mb_wqueue *q, char *out, size_t n) {
  size_t left = n;
  struct iovec pieces[4];
  while (left > 0) {
    int count = mb_wqueue_pieces(q, pieces, 4);
    size_t got = 0;
    for (int i = 0; i < count && left > 0; i++) {
      size_t take = pieces[i].iov_len < left ? pieces[i].iov_len : left;
      memcpy(out + got, pieces[i].iov_base, take);
      got += take;
      left -= take;
    }
    out += got;
    mb_wqueue_sent(q, &alloc, got);
  }
}

static void random_sizes(unsigned seed) {
  enum { TOTAL = 2000000 };
  struct mb_wqueue q = {0};
  char *in = malloc(TOTAL), *out = malloc(TOTAL);
  if (!in || !out) tap_bail("no memory");
  srand(seed);
  for (size_t i = 0; i < TOTAL; i++) in[i] = (char)rand();
  size_t added = 0, sent = 0;
  while (sent < TOTAL) {
    size_t n = (size_t)rand() % (rand() % 4 ? 300 : 200000);
    if (n > TOTAL - added) n = TOTAL - added;
    if (mb_wqueue_append(&q, &alloc, in + added, n) < 0) tap_bail("no memory");
    added += n;
    n = (size_t)rand() % (rand() % 4 ? 500 : 150000);
    if (n > q.len) n = q.len;
    send(&q, out + sent, n);
    sent += n;
    if (q.len != added - sent) tap_bail("wrong length");
  }
  tap_bytes(out, sent, in, added, "the same bytes in the same order (seed %u)", seed);
  mb_wqueue_free(&q, &alloc);
  tap_int((long long)alloc.used, 0, "all memory is given back");
  free(in);
  free(out);
}

int main(void) {
  for (unsigned seed = 1; seed <= 5; seed++) random_sizes(seed);
  struct mb_wqueue q = {0};
  struct iovec piece;
  tap_int(mb_wqueue_pieces(&q, &piece, 1), 0, "an empty queue has no pieces");
  tap_int(mb_wqueue_append(&q, &alloc, "", 0), 0, "nothing can be appended");
  tap_int((long long)q.len, 0, "and adds nothing");
  mb_wqueue_append(&q, &alloc, "abc", 3);
  alloc.limit = alloc.used;
  static char large[100000];
  tap_int(mb_wqueue_append(&q, &alloc, large, sizeof large), -ENOMEM, "the limit is out of memory");
  tap_int((long long)q.len, 3, "and leaves the queue as it was");
  mb_wqueue_pieces(&q, &piece, 1);
  tap_bytes(piece.iov_base, piece.iov_len, "abc", 3, "with its bytes");
  alloc.limit = 0;
  for (int i = 0; i < 40; i++) mb_wqueue_append(&q, &alloc, large, 65536);
  size_t peak = alloc.used;
  mb_wqueue_sent(&q, &alloc, q.len - 1);
  tap_ok(alloc.used < peak / 10, "memory is given back while it drains");
  mb_wqueue_free(&q, &alloc);
  tap_int((long long)alloc.used, 0, "all memory is given back");
  return tap_done();
}
