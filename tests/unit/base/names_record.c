/*
 * src/base/names_record.c and names_answer.c: what mb-handle-static and mb-handle say to each other about names. Records
 * that were cut, changed or made up are refused; a request is answered with what the C library says.
 */
#include "base/names_record.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/names_answer.h"
#include "../../lib/tap.h"

/* Writes bytes to a stream that ends then, and receives a record. */
static int receive(const void *bytes, size_t size, struct mb_names_record *ret) {
  int ends[2];
  if (pipe(ends) != 0) tap_bail("pipe");
  if (write(ends[1], bytes, size) != (ssize_t)size) tap_bail("write");
  close(ends[1]);
  int r = mb_names_receive(ends[0], ret);
  close(ends[0]);
  return r;
}

/* Sends a record, and returns it as bytes. */
static size_t send_to(struct mb_names_record *r, unsigned char *to, size_t room) {
  int ends[2];
  if (pipe(ends) != 0 || mb_names_send(r, ends[1]) != 0) tap_bail("send");
  close(ends[1]);
  ssize_t n = read(ends[0], to, room);
  close(ends[0]);
  return (size_t)n;
}

static size_t example(unsigned char *to, size_t room) {
  struct mb_names_record r = {0};
  mb_names_begin(&r, MB_NAMES_ADDRINFO);
  mb_names_put_text(&r, "host");
  mb_names_put_text(&r, NULL);
  mb_names_put_number(&r, -7);
  mb_names_put_bytes(&r, "\0\1\2", 3);
  mb_names_put_text(&r, "");
  size_t size = send_to(&r, to, room);
  mb_names_free(&r);
  return size;
}

/* Reads what example() has written, whatever it is now. Returns whether it is all there. */
static bool read_example(struct mb_names_record *r) {
  size_t size = 0;
  const char *host = mb_names_get_text(r), *absent = mb_names_get_text(r);
  int number = mb_names_get_number(r);
  const void *bytes = mb_names_get_bytes(r, &size);
  const char *empty = mb_names_get_text(r);
  if (!mb_names_is_complete(r)) return false;
  return host && strcmp(host, "host") == 0 && !absent && number == -7 && size == 3 &&
         memcmp(bytes, "\0\1\2", 3) == 0 && empty && !*empty;
}

static void records(void) {
  unsigned char bytes[256], other[256];
  struct mb_names_record r;
  size_t size = example(bytes, sizeof bytes);
  tap_int(receive(bytes, size, &r), 0, "a record is received");
  tap_int((int)mb_names_kind(&r), MB_NAMES_ADDRINFO, "with its kind");
  tap_ok(read_example(&r), "and all that was written");
  tap_int(mb_names_get_number(&r), 0, "behind its end there is nothing");
  tap_ok(r.has_failed && !mb_names_is_complete(&r), "and it says so");
  mb_names_free(&r);

  bool refused = true;
  for (size_t n = 0; n < size; n++) {
    refused = receive(bytes, n, &r) == -EPROTO && refused;
    mb_names_free(&r);
  }
  tap_ok(refused, "a record that ends too early is refused, wherever it ends");

  /* Each byte is changed to each value: nothing may be read that is not there (the sanitizers look). */
  int taken = 0;
  for (size_t at = 0; at < size; at++) {
    for (int value = 0; value < 256; value += (int)tap_step(17)) {
      memcpy(other, bytes, size);
      other[at] = (unsigned char)value;
      int result = receive(other, size, &r);
      if (result == 0) taken += read_example(&r);
      if (at >= 4 && at < 8 && other[at] != bytes[at] && result != -EPROTONOSUPPORT)
        taken = -1000000;
      mb_names_free(&r);
    }
  }
  tap_ok(taken >= 0, "another version is told from damage (%d of the changed ones read as before)",
         taken);
}

static void counts(void) {
  unsigned char bytes[256];
  struct mb_names_record w = {0}, r;
  mb_names_begin(&w, MB_NAMES_ANSWER);
  mb_names_put_number(&w, 3);
  mb_names_put_number(&w, 1);
  mb_names_put_number(&w, 2);
  mb_names_put_number(&w, 3);
  size_t size = send_to(&w, bytes, sizeof bytes);
  mb_names_free(&w);
  receive(bytes, size, &r);
  tap_int((long long)mb_names_get_count(&r, 4), 3, "a number of things that fit");
  mb_names_free(&r);
  receive(bytes, size, &r);
  tap_int((long long)mb_names_get_count(&r, 5), 0, "a number of things that do not fit");
  tap_ok(r.has_failed, "is a failure");
  mb_names_free(&r);
}

static void too_long(void) {
  struct mb_names_record w = {0};
  char *text = malloc(MB_NAMES_RECORD_MAX + 1);
  if (!text) tap_bail("malloc");
  memset(text, 'x', MB_NAMES_RECORD_MAX);
  text[MB_NAMES_RECORD_MAX] = '\0';
  mb_names_begin(&w, MB_NAMES_HOST);
  mb_names_put_text(&w, text);
  tap_int(mb_names_send(&w, -1), -E2BIG, "a record of more than 1 MiB is not sent");
  mb_names_free(&w);
  free(text);
}

/* ---- answers ---- */

/* Has a request answered by a child, whose descriptors 0 and 1 are a socket. Returns what mb_names_receive does. */
static int ask(struct mb_names_record *request, struct mb_names_record *ret) {
  int ends[2], status;
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) tap_bail("socketpair");
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    dup2(ends[1], 0);
    dup2(ends[1], 1);
    close(ends[0]);
    close(ends[1]);
    _exit(mb_names_answer() == 0 ? 0 : 1);
  }
  close(ends[1]);
  if (mb_names_send(request, ends[0]) != 0) tap_bail("send");
  mb_names_free(request);
  int r = mb_names_receive(ends[0], ret);
  close(ends[0]);
  waitpid(pid, &status, 0);
  return r;
}

static void begin_addrinfo(struct mb_names_record *request, const char *host, const char *service) {
  *request = (struct mb_names_record){0};
  mb_names_begin(request, MB_NAMES_ADDRINFO);
  mb_names_put_text(request, host);
  mb_names_put_text(request, service);
  mb_names_put_number(request, 0);
  mb_names_put_number(request, AF_INET);
  mb_names_put_number(request, SOCK_STREAM);
}

static void answers(void) {
  struct mb_names_record request, answer;
  begin_addrinfo(&request, "127.0.0.1", "80");
  mb_names_put_number(&request, 0);
  tap_int(ask(&request, &answer), 0, "an address is answered");
  tap_int((int)mb_names_kind(&answer), MB_NAMES_ANSWER, "by an answer");
  tap_int(mb_names_get_number(&answer), 0, "without an error");
  mb_names_get_number(&answer);
  mb_names_get_number(&answer);
  tap_int((long long)mb_names_get_count(&answer, 24), 1, "one address");
  mb_names_get_number(&answer);
  tap_int(mb_names_get_number(&answer), AF_INET, "of the family");
  mb_names_get_number(&answer);
  mb_names_get_number(&answer);
  size_t size;
  mb_names_get_bytes(&answer, &size);
  tap_int((long long)size, sizeof(struct sockaddr_in), "with its bytes");
  tap_str(mb_names_get_text(&answer), NULL, "without a canonical name");
  tap_ok(mb_names_is_complete(&answer), "and nothing else");
  mb_names_free(&answer);

  begin_addrinfo(&request, NULL, NULL);
  mb_names_put_number(&request, 0);
  ask(&request, &answer);
  tap_int(mb_names_get_number(&answer), EAI_NONAME, "an error of getaddrinfo is an answer");
  mb_names_free(&answer);

  begin_addrinfo(&request, "127.0.0.1", "80"); /* a number is missing */
  tap_int(ask(&request, &answer), -EPROTO, "a request that is not complete has no answer");
  mb_names_free(&answer);
  begin_addrinfo(&request, "127.0.0.1", "80");
  mb_names_put_number(&request, 0);
  mb_names_put_number(&request, 0);
  tap_int(ask(&request, &answer), -EPROTO, "nor has one with more than there should be");
  mb_names_free(&answer);
  request = (struct mb_names_record){0};
  mb_names_begin(&request, MB_NAMES_ANSWER);
  tap_int(ask(&request, &answer), -EPROTO, "nor has one of an unknown kind");
  mb_names_free(&answer);
  static const char longest[sizeof(struct sockaddr_storage) + 1];
  request = (struct mb_names_record){0};
  mb_names_begin(&request, MB_NAMES_NAMEINFO);
  mb_names_put_bytes(&request, longest, sizeof longest);
  for (int i = 0; i < 3; i++) mb_names_put_number(&request, 1);
  tap_int(ask(&request, &answer), -EPROTO, "nor has an address that is longer than any");
  mb_names_free(&answer);
}

int main(void) {
  records();
  counts();
  too_long();
  answers();
  return tap_done();
}
