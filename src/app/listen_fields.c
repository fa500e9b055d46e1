/* The table of the fields of listen{}. It must stay plain data without pointers. */
#include "app/listen_fields.h"

#include <stddef.h>
#include <sys/un.h>

#include "app/listen.h"

#define CALL     MB_FIELD_OF_CALL
#define TCP      MB_FIELD_OF(MB_PROTO_TCP)
#define TCP46    (MB_FIELD_OF(MB_PROTO_TCP4) | MB_FIELD_OF(MB_PROTO_TCP6))
#define LOCAL    MB_FIELD_OF(MB_PROTO_LOCAL)
#define INTERVAL MB_FIELD_OF(MB_PROTO_INTERVAL)
#define MAIN     MB_FIELD_OF(MB_PROTO_MAIN)
#define LISTENER (TCP | TCP46 | LOCAL | INTERVAL | MAIN)

#define IN_SERVICE(member) offsetof(struct mb_service, member)
#define IN_ENTRY(member)   offsetof(struct mb_listen_entry, member)
#define NOWHERE            MB_FIELD_NOT_STORED /* what applications pass on, and what has no meaning here */

#define PATH_MOST (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

/* A message about an unknown field lists the names in this order. */
const struct mb_listen_field mb_listen_fields[MB_LISTEN_FIELDS] = {
    {"prepare", MB_FIELD_FUNCTION, CALL, false, IN_SERVICE(prepare), "", 0, 0,
     "is called before connect"},
    {"connect", MB_FIELD_FUNCTION, CALL, true, IN_SERVICE(connect), "", 0, 0,
     "serves a connection"},
    {"finish", MB_FIELD_FUNCTION, CALL, false, IN_SERVICE(finish), "", 0, 0,
     "is called after connect"},
    {"memory_limit", MB_FIELD_BYTES, CALL, false, IN_SERVICE(memory_limit), "", 1, LUA_MAXINTEGER,
     "bytes that the Lua state may hold, from prepare on"},
    {"sandbox", MB_FIELD_SANDBOX, CALL, false, IN_SERVICE(sandbox), "", 0, 0,
     "what the process may do once connect runs"},
    {"pre_fork", MB_FIELD_INTEGER, CALL, false, IN_SERVICE(pre_fork), "", 0, INT32_MAX,
     "idle processes that the pool keeps"},
    {"min_fork", MB_FIELD_INTEGER, CALL, false, IN_SERVICE(min_fork), "", 0, INT32_MAX,
     "processes that the pool has at least"},
    {"max_fork", MB_FIELD_INTEGER, CALL, false, IN_SERVICE(max_fork), "", 1, INT32_MAX,
     "processes at once"},
    {"fork_delay", MB_FIELD_PAUSE, CALL, false, IN_SERVICE(fork_delay), "", 0, 0,
     "seconds from one process of the pool to the next"},
    {"fork_error_delay", MB_FIELD_PAUSE, CALL, false, IN_SERVICE(fork_error_delay), "", 0, 0,
     "seconds until the pool tries again to make a process"},
    {"exit_delay", MB_FIELD_PAUSE, CALL, false, IN_SERVICE(exit_delay), "", 0, 0,
     "seconds from one idle process's end to the next one's"},
    {"idle_timeout", MB_FIELD_PAUSE, CALL, false, IN_SERVICE(idle_timeout), "", 0, 0,
     "seconds after which an idle process of the pool ends"},
    /* Later versions of Moonbridge's own applications pass these on with the rest. */
    {"min_requests_per_fork", MB_FIELD_INTEGER, CALL, false, NOWHERE, "", 0, INT32_MAX,
     "requests after which a process of the pool may end"},
    {"max_requests_per_fork", MB_FIELD_INTEGER, CALL, false, IN_SERVICE(max_requests_per_fork), "",
     1, INT32_MAX, "requests after which a process of the pool has to end"},
    {"http_options", MB_FIELD_TABLE, CALL, false, NOWHERE, "", 0, 0,
     "what the application gives to generate_handler"},

    {"proto", MB_FIELD_PROTO, LISTENER, true, IN_ENTRY(proto), "", 0, 0, "the kind of listener"},
    {"host", MB_FIELD_HOST, TCP, false, IN_ENTRY(text), "::", 0, 0,
     "the address or the name to which clients connect"},
    {"path", MB_FIELD_PATH, LOCAL, true, IN_ENTRY(text), "", 0, PATH_MOST,
     "the Unix socket to which clients connect"},
    {"name", MB_FIELD_TEXT, INTERVAL | MAIN, false, IN_ENTRY(text), "", 0, 0,
     "the name for --interval and --main"},
    {"port", MB_FIELD_INTEGER, TCP | TCP46, true, IN_ENTRY(port), "", 1, UINT16_MAX,
     "the TCP port to which clients connect"},
    {"localhost", MB_FIELD_BOOLEAN, TCP46, false, IN_ENTRY(localhost), "", 0, 0,
     "the loopback address in place of every address"},
    {"proxy_protocol", MB_FIELD_BOOLEAN, TCP | TCP46 | LOCAL, false, IN_ENTRY(proxy_protocol), "",
     0, 0, "a connection begins with a PROXY protocol header"},
    {"proxy_trust", MB_FIELD_NETWORKS, TCP | TCP46 | LOCAL, false, IN_ENTRY(proxy_trust), "", 0, 0,
     "the networks from which that header is taken"},
    {"delay", MB_FIELD_SECONDS, INTERVAL, true, IN_ENTRY(delay), "", 0, 0,
     "seconds from one run to the next"},
    {"strict", MB_FIELD_BOOLEAN, INTERVAL, false, IN_ENTRY(strict), "", 0, 0,
     "the delay counts from start to start"},
    {"handler", MB_FIELD_FUNCTION, INTERVAL | MAIN, false, NOWHERE, "", 0, 0,
     "what the application's connect calls"},
};

_Static_assert(sizeof(struct mb_service) < MB_FIELD_NOT_STORED, "an offset fits into its byte");
_Static_assert(sizeof(struct mb_listen_entry) < MB_FIELD_NOT_STORED,
               "an offset fits into its byte");

const struct mb_listen_field *mb_listen_next(const struct mb_listen_field *before, unsigned owner) {
  const struct mb_listen_field *end = mb_listen_fields + MB_LISTEN_FIELDS;
  for (const struct mb_listen_field *f = before ? before + 1 : mb_listen_fields; f < end; f++) {
    if (f->owners & owner) return f;
  }
  return NULL;
}

const char *mb_proto_name(enum mb_proto proto) {
  static const char names[MB_PROTO_COUNT][9] = {"any",   "tcp",      "tcp4", "tcp6",
                                                "local", "interval", "main"};
  return names[proto];
}
