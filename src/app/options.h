/* The command line: one table of options, from which parsing and --help are made. */
#ifndef MB_OPTIONS_H
#define MB_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "api/mb/style.h"

/* What the program is to do. */
enum mb_mode {
  MB_MODE_SERVE, /* the connection that it was started for, or a replay */
  MB_MODE_CHECK, /* the others serve none */
  MB_MODE_UNITS,
  MB_MODE_INETD,
  MB_MODE_XINETD,
  MB_MODE_INTERVAL,
  MB_MODE_MAIN,
};

/* An option that a command line for a service repeats. */
struct mb_carried {
  const char *name, *value; /* value NULL: it takes none */
};
#define MB_CARRIED_MAX 8 /* at least as many as there are options that are carried */

struct mb_options {
  bool help, version;
  enum mb_mode mode;
  const char *mode_value;  /* the directory of --units, the name of --interval and --main */
  bool user;               /* units are for a user manager */
  const char *handlers;    /* directory of handler scripts */
  const char *record;      /* file to write the connection's input to, or NULL */
  int listener;            /* number of the listener to take, from 1; 0: the one that matches */
  double timeout;          /* seconds the process may run; 0: no limit */
  size_t memory_limit;     /* bytes the Lua state may hold; 0: no limit */
  int log_level;           /* LOG_ERR … LOG_DEBUG */
  bool log_journal;        /* connections are logged with fields, in the journal's own protocol */
  bool proxy_protocol;     /* connections begin with a header of a proxy's */
  enum mb_style style;     /* of the script */
  const char *proxy_trust; /* from whom: see proxy_trust.h; NULL: the listener's list */
  const char *script;      /* or NULL */
  char **args;             /* what follows the script */
  int nargs;
  struct mb_carried carried[MB_CARRIED_MAX]; /* in the order of the command line */
  int ncarried;
};

#define MB_OPTIONS_ERROR_MAX 256

/*
 * Reads the command line.
 * ret_error  what is wrong, for one line of a message, when it returns false
 */
bool mb_options_parse(int argc, char **argv, struct mb_options *ret,
                      char ret_error[MB_OPTIONS_ERROR_MAX]);

/* Whether the mode makes text for what will be started: --units, --inetd, --xinetd. */
bool mb_options_make_text(const struct mb_options *options);

/* Whether a word is an option of ours, with or without its value, written in full. */
bool mb_options_is_one(const char *word);

/* Writes the text of --help. */
void mb_options_help(FILE *to);

#endif
