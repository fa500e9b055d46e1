/*
 * What mb-handle-static asks mb-handle about names, and what that answers: records of numbers, bytes and texts. Both
 * programs may be of different versions, as one of them runs while the other is replaced: a record says its version.
 * What was read is not to be trusted: every access is checked.
 */
#ifndef MB_NAMES_RECORD_H
#define MB_NAMES_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* argv[0] of mb-handle when it answers one request on descriptor 0 to descriptor 1. It has no arguments. */
#define MB_NAMES_ARGV0 "mb-handle-names"

#define MB_NAMES_VERSION 1u

/* More than the addresses that a DNS answer can hold; a longer record is refused. */
#define MB_NAMES_RECORD_MAX ((size_t)1 << 20)

/* The kinds of records, with what they hold. A text may be absent (NULL). */
enum mb_names_kind {
  MB_NAMES_ADDRINFO = 1, /* texts: host, service; numbers: flags, family, socket type, protocol */
  MB_NAMES_NAMEINFO, /* bytes: address; numbers: whether the host, and the service, is wanted; flags */
  MB_NAMES_HOST,     /* text: name */
  MB_NAMES_HOST_OF,     /* bytes: address; number: family */
  MB_NAMES_PROTOCOL,    /* text: name */
  MB_NAMES_PROTOCOL_OF, /* number: the protocol's */
  /*
   * Numbers: what the function has returned, errno, h_errno. Without a failure follow
   * ADDRINFO: a number of addresses, each: flags, family, socket type, protocol, bytes, text (canonical name)
   * NAMEINFO: texts: host, service
   * HOST...: text (name), a number of texts (aliases), numbers: family, length; a number of bytes (addresses)
   * PROTOCOL...: text (name), a number of texts (aliases), number
   */
  MB_NAMES_ANSWER = 100,
  MB_NAMES_NO_START, /* number: errno; from the process that could not become mb-handle */
};

/* A record that is written, or read. {0} is an empty one. */
struct mb_names_record {
  unsigned char *data;
  size_t size, at; /* at: up to where it was written, or read */
  bool has_failed; /* memory has run out, or something was read that is not there */
};

void mb_names_free(struct mb_names_record *r);

/* ---- writing ---- */

void mb_names_begin(struct mb_names_record *r, enum mb_names_kind kind);
void mb_names_put_number(struct mb_names_record *r, int number);
void mb_names_put_bytes(struct mb_names_record *r, const void *bytes, size_t size);
void mb_names_put_text(struct mb_names_record *r, const char *text); /* NULL: absent */

/* Sends the record to a stream. Returns 0; -ENOMEM, -E2BIG: it could not be made; or another -errno. */
int mb_names_send(struct mb_names_record *r, int fd);

/* ---- reading ---- */

/*
 * Receives one record from a stream; it is to be freed in any case.
 * Returns 0; -EPROTO: it is none, or not complete; -EPROTONOSUPPORT: it has another version; or another -errno.
 */
int mb_names_receive(int fd, struct mb_names_record *ret);

uint32_t mb_names_kind(const struct mb_names_record *r);

/* These return 0 or NULL, and has_failed is set, when the record does not have the thing. */
int mb_names_get_number(struct mb_names_record *r);
const void *mb_names_get_bytes(struct mb_names_record *r, size_t *ret_size);
const char *mb_names_get_text(
    struct mb_names_record *r); /* lives as long as the record; NULL: absent */

/* Returns a number of things that follow, each of which takes at least `least` bytes: no more than fit. */
size_t mb_names_get_count(struct mb_names_record *r, size_t least);

/* Returns whether all was there, and nothing is left. */
bool mb_names_is_complete(const struct mb_names_record *r);

#endif
