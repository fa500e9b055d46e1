/*
 * The fields of listen{}: one row says all about a field. Checking and storing follow the rows; a new
 * field is a row, its use, and its entry in mb-handle(8).
 */
#ifndef MB_LISTEN_FIELDS_H
#define MB_LISTEN_FIELDS_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

enum mb_proto {
  MB_PROTO_ANY, /* the call names no listener: it takes whatever connection comes */
  MB_PROTO_TCP,
  MB_PROTO_TCP4,
  MB_PROTO_TCP6,
  MB_PROTO_LOCAL,
  MB_PROTO_INTERVAL,
  MB_PROTO_MAIN,
};
#define MB_PROTO_COUNT (MB_PROTO_MAIN + 1)

/* The type of a value, and the C type as which it is stored. */
enum mb_field_type {
  MB_FIELD_FUNCTION, /* int: a key of the registry; LUA_NOREF without the field */
  MB_FIELD_BOOLEAN,  /* bool */
  MB_FIELD_SECONDS,  /* double */
  MB_FIELD_PAUSE,    /* double: seconds; false is 0 */
  MB_FIELD_INTEGER,  /* lua_Integer */
  MB_FIELD_BYTES,    /* lua_Integer */
  MB_FIELD_TEXT,     /* const char *: not empty; NULL without the field */
  MB_FIELD_HOST,     /* const char *: an address or a name; NULL without the field */
  MB_FIELD_PATH,     /* const char *: of a Unix socket; NULL without the field */
  MB_FIELD_NETWORKS, /* const char *: a list with commas, see proxy_trust.h; NULL without the field */
  MB_FIELD_PROTO,    /* enum mb_proto */
  MB_FIELD_SANDBOX, /* const struct mb_sandbox *: see sandbox_wish.h; NULL without the field */
  MB_FIELD_TABLE,   /* not stored */
};

/* Where a field may stand: in a listener of a protocol, or in the call's own table. */
#define MB_FIELD_OF(proto) (1u << (proto))
#define MB_FIELD_OF_CALL   MB_FIELD_OF(MB_PROTO_ANY)

#define MB_FIELD_NOT_STORED 255 /* as an offset: the field is checked and has no effect */

/* The strings are arrays: pointers would have to be relocated at every start. */
struct mb_listen_field {
  char name[22];
  uint8_t type;   /* enum mb_field_type */
  uint8_t owners; /* MB_FIELD_OF(...) of every table that may have it */
  bool required;  /* every such table must have it */
  uint8_t offset; /* in struct mb_service, for a field of the call, or in struct mb_listen_entry */
  char fallback[4]; /* what holds without the field, as text; "": 0, false, or nothing */
  /* Range of a number; for a path, `most` is its greatest length in bytes. */
  lua_Integer least, most;
  char text[64]; /* what the field is for: an error about its value ends with it */
};

#define MB_LISTEN_FIELDS 26
extern const struct mb_listen_field mb_listen_fields[MB_LISTEN_FIELDS];

/*
 * Returns the first row after `before` whose field may stand in the owner's table, MB_FIELD_OF(...), or
 * NULL.
 * before  a row; NULL to start with the first
 */
const struct mb_listen_field *mb_listen_next(const struct mb_listen_field *before, unsigned owner);

/* The name of a protocol in a listener's field proto; "any" for MB_PROTO_ANY. */
const char *mb_proto_name(enum mb_proto proto);

#endif
