/*
 * The command line. One row says all about an option: parsing, --help and the tests of the manual and of
 * the completions follow the rows. A new option is a row, a member that it is stored in, its use, its
 * entry in mb-handle(8), and its place in docs/completion.
 */
#ifndef MB_OPTIONS_H
#define MB_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "api/mb/style.h"
#include "http/http_access.h"

/* What the program does. */
enum mb_mode {
  MB_MODE_SERVE, /* it serves what it was started for: a connection, listening sockets, or a replay */
  MB_MODE_CHECK, /* this mode and those below serve no connection */
  MB_MODE_UNITS,
  MB_MODE_INETD,
  MB_MODE_XINETD,
  MB_MODE_INTERVAL,
  MB_MODE_MAIN,
  MB_MODE_LISTEN, /* it listens by itself: --serve */
};

/* An option that the command line of a generated service repeats. */
struct mb_carried {
  const char *name, *value; /* value NULL: the option takes none */
};
#define MB_CARRIED_MAX 13 /* at least as many as there are rows that are carried */

enum { MB_SANDBOX_STRICT = 1, MB_SANDBOX_OFF };

struct mb_options {
  bool help, version;
  enum mb_mode mode;
  const char *
      mode_value; /* of --units: the directory; --interval, --main: the name; --serve: the address, or "" */
  bool user;            /* the units are for a user manager */
  bool pool;            /* the units are for the pool */
  bool dev;             /* --serve is for a person who writes the script */
  double grace;         /* seconds that connections have when the pool ends; 0: not said */
  double exit_idle;     /* seconds without a connection after which the pool ends; 0: it stays */
  const char *handlers; /* directory of handler scripts */
  const char *record;   /* file to write the connection's input to, or NULL */
  int listener;         /* number of the listener to take, from 1; 0: the one that matches */
  int silence;          /* seconds a TCP connection may be silent; 0: no limit */
  double timeout;       /* seconds the process may run; 0: no limit */
  int keepalive;        /* seconds until a vanished client is noticed; 0: as the socket is */
  size_t memory_limit;  /* bytes the Lua state may hold; 0: no limit */
  int log_level;        /* LOG_ERR … LOG_DEBUG */
  int log_lines;        /* that the script of a connection may log within 30 s; 0: MB_LOG_LINES */
  int log_journal;      /* 1: connections are logged with fields, in the journal's own protocol */
  int access_log;       /* enum mb_http_access_format: one line for each request */
  int sandbox;          /* MB_SANDBOX_...; 0: what the script says */
  bool proxy_protocol;  /* connections begin with a proxy's header */
  enum mb_style style;  /* of the script */
  const char *proxy_trust; /* whose header is taken: see proxy_trust.h; NULL: the listener's list */
  const char *script;      /* or NULL */
  char **args;             /* what follows the script */
  int nargs;
  struct mb_carried carried[MB_CARRIED_MAX]; /* in the order of the command line */
  int ncarried;
};

#define MB_OPTIONS_ERROR_MAX 256

/* The type of an option's value, and the C type as which it is stored. */
enum mb_option_type {
  MB_OPTION_FLAG,     /* bool: the option takes no value */
  MB_OPTION_TEXT,     /* const char *: not empty */
  MB_OPTION_FILE,     /* const char *: not empty, with %p, %t and %% */
  MB_OPTION_NETWORKS, /* const char *: see proxy_trust.h */
  MB_OPTION_INTEGER,  /* int */
  MB_OPTION_BYTES,    /* size_t: a suffix K, M or G multiplies */
  MB_OPTION_SECONDS,  /* double: more than `least` */
  MB_OPTION_CHOICE,   /* int: `least` for the first word of `expected`, and so on */
};

#define MB_OPTION_NOT_STORED   255 /* as an offset: nothing is stored, the mode is enough */
#define MB_OPTION_FALLBACK_MAX (sizeof MB_HANDLERS_DIR > 8 ? sizeof MB_HANDLERS_DIR : 8)

/* The strings are arrays: pointers would have to be relocated at every start. */
struct mb_option {
  char name[16];
  char value[12]; /* its value in --help; "": it takes none; "[=NAME]": it may have one */
  uint8_t type;   /* enum mb_option_type */
  uint8_t offset;
  uint8_t mode;       /* enum mb_mode: the option sets it; MB_MODE_SERVE: it sets none */
  bool carried;       /* the command line of a generated service repeats it */
  double least, most; /* of a number; most 0: as much as the C type holds */
  char fallback[MB_OPTION_FALLBACK_MAX]; /* the value without the option; "": 0, false or NULL */
  char expected[104]; /* for a message, which adds the range; a choice's words: "a, b or c" */
  char text[60];      /* for --help */
};

#define MB_OPTIONS 29
extern const struct mb_option mb_options[MB_OPTIONS];

/* Returns the row of an option by the first `len` bytes of name; NULL when there is no such option. */
const struct mb_option *mb_options_find(const char *name, size_t len);

/*
 * Reads the command line.
 * ret_error  says what is wrong, in one line, when it returns false
 */
bool mb_options_parse(int argc, char **argv, struct mb_options *ret,
                      char ret_error[MB_OPTIONS_ERROR_MAX]);

/*
 * Returns whether the mode writes the text of a service: --units, --inetd, --xinetd. Limits on the
 * command line are for that service then, not for this process.
 */
bool mb_options_make_text(const struct mb_options *options);

/* Returns whether a word is an option of ours, written in full, with or without its value. */
bool mb_options_is_one(const char *word);

/* Writes the text of --help. */
void mb_options_help(FILE *to);

#endif
