/* The command line. Prints nothing but --help: an error is the caller's to log. */
#include "app/options.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "app/options_advice.h"
#include "app/program.h"
#include "base/fdio.h"
#include "base/proxy_trust.h"

#define IN(member) offsetof(struct mb_options, member)
#define NOWHERE    MB_OPTION_NOT_STORED

/* In the order of --help. */
const struct mb_option mb_options[MB_OPTIONS] = {
    {"access-log", "[=FORMAT]", MB_OPTION_CHOICE, IN(access_log), MB_MODE_SERVE, true,
     MB_HTTP_ACCESS_COMBINED, MB_HTTP_ACCESS_JSON, "", "combined or json",
     "a line for each HTTP request: combined (default) or json"},
    {"check", "", MB_OPTION_FLAG, NOWHERE, MB_MODE_CHECK, false, 0, 0, "", "",
     "load the script, print its listeners, and exit"},
    {"dev", "", MB_OPTION_FLAG, IN(dev), MB_MODE_SERVE, false, 0, 0, "", "",
     "with --serve: log requests, and load the script anew"},
    {"exit-idle", "SECONDS", MB_OPTION_SECONDS, IN(exit_idle), MB_MODE_SERVE, true, 0,
     MB_SECONDS_MAX, "", "a number of seconds", "end the pool after SECONDS without a connection"},
    {"grace", "SECONDS", MB_OPTION_SECONDS, IN(grace), MB_MODE_SERVE, true, 0, MB_SECONDS_MAX, "",
     "a number of seconds", "let connections end within SECONDS after SIGTERM (30)"},
    {"handlers", "DIR", MB_OPTION_TEXT, IN(handlers), MB_MODE_SERVE, false, 0, 0, MB_HANDLERS_DIR,
     "a directory", "look for PORT.lua, NAME.lua or default.lua in DIR"},
    {"help", "", MB_OPTION_FLAG, IN(help), MB_MODE_SERVE, false, 0, 0, "", "",
     "print this text and exit"},
    {"inetd", "", MB_OPTION_FLAG, NOWHERE, MB_MODE_INETD, false, 0, 0, "", "",
     "print lines for inetd.conf, made from the script's listen{}"},
    {"interval", "NAME", MB_OPTION_TEXT, IN(mode_value), MB_MODE_INTERVAL, false, 0, 0, "",
     "a name", "run the handler of the script's interval NAME, once"},
    {"listener", "N", MB_OPTION_INTEGER, IN(listener), MB_MODE_SERVE, false, 1, INT32_MAX, "",
     "a listener's number (see --check)", "take the script's Nth listener, whatever the address"},
    {"log-format", "FORMAT", MB_OPTION_CHOICE, IN(log_journal), MB_MODE_SERVE, true, 0, 1, "",
     "plain or journal", "plain (default), or journal: connections with fields"},
    {"log-level", "LEVEL", MB_OPTION_CHOICE, IN(log_level), MB_MODE_SERVE, true, LOG_ERR, LOG_DEBUG,
     "notice", "error, warning, notice, info or debug",
     "error, warning, notice (default), info or debug"},
    {"log-lines", "N", MB_OPTION_INTEGER, IN(log_lines), MB_MODE_SERVE, true, 1, INT32_MAX, "",
     "a number of lines", "log N lines of a script within 30 s (1000), drop the rest"},
    {"main", "NAME", MB_OPTION_TEXT, IN(mode_value), MB_MODE_MAIN, false, 0, 0, "", "a name",
     "run the script's main handler NAME"},
    {"memory-limit", "BYTES", MB_OPTION_BYTES, IN(memory_limit), MB_MODE_SERVE, true, 1, 0, "",
     "a number of bytes, or one with K, M or G behind it",
     "limit of the Lua state's memory (K, M, G)"},
    {"pool", "", MB_OPTION_FLAG, IN(pool), MB_MODE_SERVE, false, 0, 0, "", "",
     "with --units: a pool in place of Accept=yes"},
    {"proxy-protocol", "", MB_OPTION_FLAG, IN(proxy_protocol), MB_MODE_SERVE, true, 0, 0, "", "",
     "connections begin with a PROXY protocol header"},
    {"proxy-trust", "LIST", MB_OPTION_NETWORKS, IN(proxy_trust), MB_MODE_SERVE, true, 0, 0, "",
     "addresses and networks, with nothing but zeros behind their prefix, such as 10.0.0.0/8,::1, "
     "or " MB_TRUST_UNIX,
     "take that header from these networks only"},
    {"record", "FILE", MB_OPTION_FILE, IN(record), MB_MODE_SERVE, false, 0, 0, "",
     "a file name, with %p, %t and %% only",
     "write the connection's input to FILE (%p: pid, %t: time)"},
    {"sandbox", "MODE", MB_OPTION_CHOICE, IN(sandbox), MB_MODE_SERVE, true, MB_SANDBOX_STRICT,
     MB_SANDBOX_OFF, "", "strict or off",
     "strict: for a script that says nothing; off: no sandbox"},
    {"serve", "[=ADDRESS]", MB_OPTION_TEXT, IN(mode_value), MB_MODE_LISTEN, false, 0, 0, "",
     "an address: PORT, IPv4-ADDRESS:PORT, [IPv6-ADDRESS]:PORT or a path",
     "listen where the script says, or at ADDRESS, and serve"},
    {"silence-timeout", "SECONDS", MB_OPTION_INTEGER, IN(silence), MB_MODE_SERVE, true, 0,
     INT32_MAX, "3600", "a number of seconds",
     "end a silent TCP connection after SECONDS (3600; 0: never)"},
    {"style", "LIBRARY", MB_OPTION_CHOICE, IN(style), MB_MODE_SERVE, false, MB_STYLE_LUASOCKET,
     MB_STYLE_LUA_HTTP, "", MB_STYLE_NAMES,
     "run a server program of luasocket, tarantool or lua-http"},
    {"tcp-keepalive", "SECONDS", MB_OPTION_INTEGER, IN(keepalive), MB_MODE_SERVE, true, 0,
     MB_KEEPALIVE_MAX, "240", "a number of seconds",
     "notice a vanished client after SECONDS (240; 0: never)"},
    {"timeout", "SECONDS", MB_OPTION_SECONDS, IN(timeout), MB_MODE_SERVE, true, 0, MB_SECONDS_MAX,
     "", "a number of seconds", "end the process after SECONDS, whatever the script sets"},
    {"units", "DIR", MB_OPTION_TEXT, IN(mode_value), MB_MODE_UNITS, false, 0, 0, "", "a directory",
     "write systemd units to DIR, made from the script's listen{}"},
    {"user", "", MB_OPTION_FLAG, IN(user), MB_MODE_SERVE, false, 0, 0, "", "",
     "with --units: for the user's own manager"},
    {"version", "", MB_OPTION_FLAG, IN(version), MB_MODE_SERVE, false, 0, 0, "", "",
     "print the version and exit"},
    {"xinetd", "", MB_OPTION_FLAG, NOWHERE, MB_MODE_XINETD, false, 0, 0, "", "",
     "print entries for xinetd, made from the script's listen{}"},
};

_Static_assert(IN(carried) < NOWHERE, "an offset fits into its byte");

enum { FIRST_ROW = 256 /* above all characters */, RANGE_MAX = 64 };

const struct mb_option *mb_options_find(const char *name, size_t len) {
  for (const struct mb_option *row = mb_options; row < mb_options + MB_OPTIONS; row++) {
    if (strlen(row->name) == len && memcmp(row->name, name, len) == 0) return row;
  }
  return NULL;
}

/* ---- types: each function stores a value, or returns false ---- */

static bool store_integer(const struct mb_option *row, const char *value, int *to) {
  char *end;
  errno = 0;
  long n = strtol(value, &end, 10);
  if (errno || end == value || *end || (double)n < row->least || (double)n > row->most)
    return false;
  *to = (int)n;
  return true;
}

static bool store_bytes(const struct mb_option *row, const char *value, size_t *to) {
  static const char suffixes[] = "KMGkmg";
  char *end;
  errno = 0;
  if (*value < '0' || *value > '9') return false;
  unsigned long long n = strtoull(value, &end, 10);
  const char *suffix = *end ? strchr(suffixes, *end) : NULL;
  int shift = suffix ? 10 * (int)((suffix - suffixes) % 3 + 1) : 0;
  if (suffix) end++;
  if (errno || *end || (double)n < row->least || n > SIZE_MAX >> shift) return false;
  *to = (size_t)n << shift;
  return true;
}

static bool store_seconds(const struct mb_option *row, const char *value, double *to) {
  char *end;
  double seconds = strtod(value, &end);
  if (end == value || *end || !(seconds > row->least) || seconds > row->most) return false;
  *to = seconds;
  return true;
}

/* The words stand in `expected`: "a, b or c". */
static bool store_choice(const struct mb_option *row, const char *value, int *to) {
  int choice = (int)row->least;
  for (const char *word = row->expected;; choice++) {
    size_t len = strcspn(word, ", ");
    if (strlen(value) == len && memcmp(word, value, len) == 0) break;
    word += len;
    if (*word == '\0') return false;
    word += strspn(word, ", ");
    if (strncmp(word, "or ", 3) == 0) word += 3;
  }
  *to = choice;
  return true;
}

/* %p and %t are replaced when the file is opened; anything else behind a % is most likely a slip. */
static bool is_pattern(const char *value) {
  for (const char *p = value; (p = strchr(p, '%')) != NULL; p += 2) {
    if (p[1] == '\0' || !strchr("pt%", p[1])) return false;
  }
  return true;
}

/* Returns whether the option may stand without the value that it can have. */
static bool is_optional(const struct mb_option *row) { return row->value[0] == '['; }

/*
 * Stores an option's value, NULL for a flag and for a value that was left out: a text is "" then, and a choice
 * the first one.
 * Returns NULL, or what was expected.
 */
static const char *store(struct mb_options *o, const struct mb_option *row, const char *value) {
  void *to = (char *)o + row->offset;
  bool right = true;
  if (!value && row->type == MB_OPTION_TEXT) {
    *(const char **)to = "";
    return NULL;
  }
  if (!value && row->type == MB_OPTION_CHOICE) {
    *(int *)to = (int)row->least;
    return NULL;
  }
  switch ((enum mb_option_type)row->type) {
    case MB_OPTION_FLAG:
      if (row->offset != NOWHERE) *(bool *)to = true;
      return NULL;
    case MB_OPTION_INTEGER:
      return store_integer(row, value, to) ? NULL : row->expected;
    case MB_OPTION_BYTES:
      return store_bytes(row, value, to) ? NULL : row->expected;
    case MB_OPTION_SECONDS:
      return store_seconds(row, value, to) ? NULL : row->expected;
    case MB_OPTION_CHOICE:
      return store_choice(row, value, to) ? NULL : row->expected;
    case MB_OPTION_FILE:
      if (*value == '\0') return "a file name";
      right = is_pattern(value);
      break;
    case MB_OPTION_NETWORKS:
      right = mb_trust_find_wrong(value) == NULL;
      break;
    case MB_OPTION_TEXT:
      right = *value != '\0';
      break;
  }
  if (!right) return row->expected;
  *(const char **)to = value;
  return NULL;
}

/* Writes the range of a number as it stands behind what is expected; "" for other types. */
static void describe_range(const struct mb_option *row, char text[RANGE_MAX]) {
  text[0] = '\0';
  if (row->type == MB_OPTION_INTEGER) {
    snprintf(text, RANGE_MAX, ", from %.0f to %.0f", row->least, row->most);
  } else if (row->type == MB_OPTION_BYTES) {
    snprintf(text, RANGE_MAX, ", %.0f or more", row->least);
  } else if (row->type == MB_OPTION_SECONDS) {
    snprintf(text, RANGE_MAX, ", more than %.0f, at most %.0f", row->least, row->most);
  }
}

/* ---- the command line ---- */

/* Returns the name of the option that sets the mode. */
static const char *mode_name(enum mb_mode mode) {
  const struct mb_option *row = mb_options;
  while (row->mode != mode) row++;
  return row->name;
}

bool mb_options_make_text(const struct mb_options *o) {
  return o->mode == MB_MODE_UNITS || o->mode == MB_MODE_INETD || o->mode == MB_MODE_XINETD;
}

/* Returns the option whose value was written as the next word, which reads as the script; NULL: none was. */
static const char *misplaced_value(const struct mb_options *o) {
  if (!o->script) return NULL;
  const char *script = o->script;
  size_t digits = strspn(script, "0123456789.:[]");
  if (o->mode == MB_MODE_LISTEN && !*o->mode_value && digits > 0 && !script[digits]) return "serve";
  bool is_format = strcmp(script, "json") == 0 || strcmp(script, "combined") == 0;
  return o->access_log && is_format ? "access-log" : NULL;
}

static bool conflict(const struct mb_options *o, char error[MB_OPTIONS_ERROR_MAX]) {
  bool serves = o->mode == MB_MODE_SERVE || o->mode == MB_MODE_LISTEN;
  const char *with = o->record ? "--record" : o->listener ? "--listener" : NULL;
  if (!serves && with) {
    snprintf(error, MB_OPTIONS_ERROR_MAX,
             "--%s serves no connection: it cannot be combined with %s", mode_name(o->mode), with);
    return true;
  }
  bool asks_listen = !serves && o->mode != MB_MODE_CHECK;
  if (o->style && (asks_listen || o->listener)) {
    snprintf(error, MB_OPTIONS_ERROR_MAX,
             "--style runs a program that has no listen{}: it cannot be combined with --%s",
             asks_listen ? mode_name(o->mode) : "listener");
    return true;
  }
  if (o->user && o->mode != MB_MODE_UNITS) {
    snprintf(error, MB_OPTIONS_ERROR_MAX, "--user goes with --units: for which manager they are");
    return true;
  }
  bool makes_text = mb_options_make_text(o);
  if (makes_text && o->handlers != mb_options_find("handlers", 8)->fallback) {
    snprintf(error, MB_OPTIONS_ERROR_MAX, "--%s is told the script: --handlers does not go with it",
             mode_name(o->mode));
    return true;
  }
  if (makes_text && !o->script) {
    snprintf(error, MB_OPTIONS_ERROR_MAX, "--%s needs a script: mb-handle --%s%s SCRIPT",
             mode_name(o->mode), mode_name(o->mode), o->mode == MB_MODE_UNITS ? " DIR" : "");
    return true;
  }
  if (o->pool && o->mode != MB_MODE_UNITS) {
    snprintf(error, MB_OPTIONS_ERROR_MAX,
             "--pool goes with --units; to serve without a service manager, write --serve");
    return true;
  }
  if (o->dev && o->mode != MB_MODE_LISTEN) {
    snprintf(error, MB_OPTIONS_ERROR_MAX,
             "--dev goes with --serve: mb-handle --serve --dev SCRIPT");
    return true;
  }
  const char *word = misplaced_value(o);
  if (word) {
    snprintf(error, MB_OPTIONS_ERROR_MAX, "--%s: a value stands behind an equals sign: --%s=%.60s",
             word, word, o->script);
    return true;
  }
  if (o->exit_idle > 0 && o->mode == MB_MODE_LISTEN) {
    snprintf(error, MB_OPTIONS_ERROR_MAX,
             "--exit-idle does not go with --serve: nobody would start mb-handle again");
    return true;
  }
  if (o->proxy_trust && !o->proxy_protocol) {
    snprintf(error, MB_OPTIONS_ERROR_MAX, "--proxy-trust goes with --proxy-protocol");
    return true;
  }
  return false;
}

/* Sets the mode. The error for a second mode names the first. */
static bool set_mode(struct mb_options *o, const struct mb_option *row,
                     char error[MB_OPTIONS_ERROR_MAX]) {
  if (o->mode == MB_MODE_SERVE || o->mode == row->mode) {
    o->mode = row->mode;
    return true;
  }
  snprintf(error, MB_OPTIONS_ERROR_MAX, "--%s cannot be combined with --%s", row->name,
           mode_name(o->mode));
  return false;
}

/* An option given twice counts once: the last one holds. */
static void carry(struct mb_options *o, const struct mb_option *row, const char *value) {
  int i = 0;
  while (i < o->ncarried && o->carried[i].name != row->name) i++;
  o->carried[i] = (struct mb_carried){row->name, row->value[0] ? value : NULL};
  if (i == o->ncarried) o->ncarried++;
}

bool mb_options_parse(int argc, char **argv, struct mb_options *ret,
                      char ret_error[MB_OPTIONS_ERROR_MAX]) {
  struct mb_options o = {0};
  struct option table[MB_OPTIONS + 1] = {0};
  for (int i = 0; i < MB_OPTIONS; i++) {
    const struct mb_option *row = &mb_options[i];
    table[i].name = row->name;
    table[i].has_arg = is_optional(row) ? optional_argument
                       : row->value[0]  ? required_argument
                                        : no_argument;
    table[i].val = FIRST_ROW + i; /* values of their own: an abbreviation may be ambiguous */
    if (row->fallback[0]) store(&o, row, row->fallback);
  }
  opterr = 0;
  optind = 0;    /* glibc: getopt_long forgets what it has read before */
  int c, at = 1; /* the word that getopt_long looks at: there is no group of short options */
  /* "+" leaves the words behind the script alone; ":" tells a missing value from a wrong option. */
  while ((c = getopt_long(argc, argv, "+:", table, NULL)) != -1) {
    if (mb_options_advise(argv[at], c != '?', ret_error)) return false;
    at = optind;
    if (c < FIRST_ROW) {
      mb_options_describe_wrong(c, optind > 0 && optind <= argc ? argv[optind - 1] : "", ret_error);
      return false;
    }
    const struct mb_option *row = &mb_options[c - FIRST_ROW];
    const char *expected = store(&o, row, optarg);
    if (expected) {
      char range[RANGE_MAX];
      describe_range(row, range);
      snprintf(ret_error, MB_OPTIONS_ERROR_MAX, "--%s: expected %s%s, got \"%s\"", row->name,
               expected, range, optarg);
      return false;
    }
    if (row->mode != MB_MODE_SERVE && !set_mode(&o, row, ret_error)) return false;
    if (row->carried) carry(&o, row, optarg);
  }
  if (optind < argc) {
    o.script = argv[optind];
    o.args = argv + optind + 1;
    o.nargs = argc - optind - 1;
  }
  if (conflict(&o, ret_error)) return false;
  if (o.dev && !o.access_log) o.access_log = MB_HTTP_ACCESS_DEV;
  *ret = o;
  return true;
}

bool mb_options_is_one(const char *word) {
  if (strncmp(word, "--", 2) != 0) return false;
  return mb_options_find(word + 2, strcspn(word + 2, "=")) != NULL;
}

void mb_options_help(FILE *to) {
  fprintf(to, "Usage: %s [OPTION]... [SCRIPT [ARG]...]\n", mb_program_name);
  fputs(
      "Serve the one connection that systemd or inetd accepted with the Lua script SCRIPT;\n"
      "or replay captured input: mb-handle SCRIPT < capture.txt\n"
      "or try a script: mb-handle --serve --dev SCRIPT\n"
      "or make a service of it: mb-handle --units /etc/systemd/system SCRIPT\n"
      "\n"
      "Without SCRIPT: $MB_SCRIPT; else, in " MB_HANDLERS_DIR
      " or --handlers DIR,\n"
      "PORT.lua for a TCP connection, NAME.lua for a Unix socket NAME.sock, else default.lua.\n"
      "\n",
      to);
  for (const struct mb_option *row = mb_options; row < mb_options + MB_OPTIONS; row++) {
    int used = fprintf(to, "  --%s%s%s", row->name, row->value[0] && !is_optional(row) ? " " : "",
                       row->value);
    fprintf(to, "%*s %s\n", used < 24 ? 24 - used : 0, "", row->text);
  }
  fputs(
      "\n"
      "Exit status: 0 handled, 64 wrong usage, 66 no script, 70 the handler raised an error,\n"
      "71 system error, 78 the script does not load or has no matching listen{}.\n"
      "See mb-handle(8), mb-handle-socket(3), mb-handle-sandbox(7), moonbridge_io(3) and\n"
      "moonbridge_http(3); beside that mb.router(3), mb.reply(3), mb.static(3),\n"
      "mb.websocket(3), mb.events(3), mb.cookie(3), mb.auth(3) and mb.crypto(3);\n"
      "for --style mb.luasocket(3), mb.tarantool(3) and mb.http_server(3).\n",
      to);
}
