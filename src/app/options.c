/* The command line. Prints nothing but --help: an error is the caller's to log. */
#include "app/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/fdio.h"
#include "base/proxy_trust.h"

/*
 * A setter takes the option's value (NULL when it has none) and returns NULL, or what was expected.
 */
typedef const char *setter(struct mb_options *options, const char *value);

static const char *set_help(struct mb_options *o, const char *value) {
  (void)value;
  o->help = true;
  return NULL;
}

static const char *set_version(struct mb_options *o, const char *value) {
  (void)value;
  o->version = true;
  return NULL;
}

static const char *set_handlers(struct mb_options *o, const char *value) {
  if (*value == '\0') return "a directory";
  o->handlers = value;
  return NULL;
}

static const char *set_user(struct mb_options *o, const char *value) {
  (void)value;
  o->user = true;
  return NULL;
}

static const char *set_proxy_protocol(struct mb_options *o, const char *value) {
  (void)value;
  o->proxy_protocol = true;
  return NULL;
}

static const char *set_proxy_trust(struct mb_options *o, const char *value) {
  if (mb_trust_find_wrong(value)) {
    return "addresses and networks, with nothing but zeros behind their prefix, such as "
           "10.0.0.0/8,::1";
  }
  o->proxy_trust = value;
  return NULL;
}

static const char *set_units(struct mb_options *o, const char *value) {
  if (*value == '\0') return "a directory";
  o->mode_value = value;
  return NULL;
}

/* What says what the program is to do; its value is kept for that. */
static const char *set_mode_value(struct mb_options *o, const char *value) {
  if (*value == '\0') return "a name";
  o->mode_value = value;
  return NULL;
}

static const char *set_mode_only(struct mb_options *o, const char *value) {
  (void)o;
  (void)value;
  return NULL;
}

static const char *set_listener(struct mb_options *o, const char *value) {
  char *end;
  errno = 0;
  long n = strtol(value, &end, 10);
  if (errno || end == value || *end || n < 1 || n > INT32_MAX)
    return "a listener's number, from 1 (see --check)";
  o->listener = (int)n;
  return NULL;
}

static const char *set_log_level(struct mb_options *o, const char *value) {
  static const struct {
    const char *name;
    int level;
  } levels[] = {
      {"error", LOG_ERR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE},
      {"info", LOG_INFO}, {"debug", LOG_DEBUG},
  };
  for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
    if (strcmp(value, levels[i].name) == 0) {
      o->log_level = levels[i].level;
      return NULL;
    }
  }
  return "error, warning, notice, info or debug";
}

static const char *set_log_format(struct mb_options *o, const char *value) {
  o->log_journal = strcmp(value, "journal") == 0;
  return o->log_journal || strcmp(value, "plain") == 0 ? NULL : "plain or journal";
}

static const char *set_memory_limit(struct mb_options *o, const char *value) {
  static const char expected[] = "a number of bytes above 0, or one with K, M or G behind it";
  char *end;
  errno = 0;
  if (*value < '0' || *value > '9') return expected;
  unsigned long long n = strtoull(value, &end, 10);
  int shift = 0;
  switch (*end) {
    case 'K':
    case 'k':
      shift = 10;
      break;
    case 'M':
    case 'm':
      shift = 20;
      break;
    case 'G':
    case 'g':
      shift = 30;
      break;
    default:
      break;
  }
  if (shift) end++;
  if (errno || *end || n == 0 || n > SIZE_MAX >> shift) return expected;
  o->memory_limit = (size_t)n << shift;
  return NULL;
}

/*
 * %p and %t are replaced when the file is opened; anything else behind a % is most likely a slip.
 */
static const char *set_record(struct mb_options *o, const char *value) {
  if (*value == '\0') return "a file name";
  for (const char *p = value; (p = strchr(p, '%')) != NULL; p += 2) {
    if (p[1] == '\0' || !strchr("pt%", p[1])) return "a file name, with %p, %t and %% only";
  }
  o->record = value;
  return NULL;
}

static const char *set_style(struct mb_options *o, const char *value) {
  o->style = mb_style_find(value);
  return o->style == MB_STYLE_NONE ? MB_STYLE_NAMES : NULL;
}

static const char *set_timeout(struct mb_options *o, const char *value) {
  char *end;
  double seconds = strtod(value, &end);
  if (end == value || *end || !(seconds > 0) || seconds > MB_SECONDS_MAX)
    return "a number of seconds above 0, at most 1e9";
  o->timeout = seconds;
  return NULL;
}

/* A row of a mode has the mode; one that a generated command line repeats is `carried`. */
static const struct row {
  const char *name;
  const char *value; /* what --help calls its value; NULL when it takes none */
  setter *set;
  enum mb_mode mode;
  bool carried;
  const char *help;
} rows[] = {
    {"check", NULL, set_mode_only, MB_MODE_CHECK, false,
     "load the script, print its listeners, and exit"},
    {"handlers", "DIR", set_handlers, MB_MODE_SERVE, false,
     "look for PORT.lua, NAME.lua or default.lua in DIR"},
    {"help", NULL, set_help, MB_MODE_SERVE, false, "print this text and exit"},
    {"inetd", NULL, set_mode_only, MB_MODE_INETD, false,
     "print lines for inetd.conf, made from the script's listen{}"},
    {"interval", "NAME", set_mode_value, MB_MODE_INTERVAL, false,
     "run the handler of the script's interval NAME, once"},
    {"listener", "N", set_listener, MB_MODE_SERVE, false,
     "take the script's Nth listener, whatever the address"},
    {"log-format", "FORMAT", set_log_format, MB_MODE_SERVE, true,
     "plain (default), or journal: connections with fields"},
    {"log-level", "LEVEL", set_log_level, MB_MODE_SERVE, true,
     "error, warning, notice (default), info or debug"},
    {"main", "NAME", set_mode_value, MB_MODE_MAIN, false, "run the script's main handler NAME"},
    {"memory-limit", "BYTES", set_memory_limit, MB_MODE_SERVE, true,
     "limit of the Lua state's memory (K, M, G)"},
    {"proxy-protocol", NULL, set_proxy_protocol, MB_MODE_SERVE, true,
     "connections begin with a PROXY protocol header"},
    {"proxy-trust", "LIST", set_proxy_trust, MB_MODE_SERVE, true,
     "take that header from these networks only"},
    {"record", "FILE", set_record, MB_MODE_SERVE, false,
     "write the connection's input to FILE (%p: pid, %t: time)"},
    {"style", "LIBRARY", set_style, MB_MODE_SERVE, false,
     "run a server program of luasocket, tarantool or lua-http"},
    {"timeout", "SECONDS", set_timeout, MB_MODE_SERVE, true,
     "end the process after SECONDS, whatever the script sets"},
    {"units", "DIR", set_units, MB_MODE_UNITS, false,
     "write systemd units to DIR, made from the script's listen{}"},
    {"user", NULL, set_user, MB_MODE_SERVE, false, "with --units: for the user's own manager"},
    {"version", NULL, set_version, MB_MODE_SERVE, false, "print the version and exit"},
    {"xinetd", NULL, set_mode_only, MB_MODE_XINETD, false,
     "print entries for xinetd, made from the script's listen{}"},
};

enum { ROWS = sizeof rows / sizeof *rows, FIRST_ROW = 256 /* above all characters */ };

static const char default_handlers[] = MB_HANDLERS_DIR;

/* The option that has set the mode. */
static const char *mode_name(enum mb_mode mode) {
  const struct row *row = rows;
  while (row->mode != mode) row++;
  return row->name;
}

bool mb_options_make_text(const struct mb_options *o) {
  return o->mode == MB_MODE_UNITS || o->mode == MB_MODE_INETD || o->mode == MB_MODE_XINETD;
}

static bool conflict(const struct mb_options *o, char error[MB_OPTIONS_ERROR_MAX]) {
  const char *with = o->record ? "--record" : o->listener ? "--listener" : NULL;
  if (o->mode != MB_MODE_SERVE && with) {
    snprintf(error, MB_OPTIONS_ERROR_MAX,
             "--%s serves no connection: it cannot be combined with %s", mode_name(o->mode), with);
    return true;
  }
  bool asks_listen = o->mode != MB_MODE_SERVE && o->mode != MB_MODE_CHECK;
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
  if (makes_text && o->handlers != default_handlers) {
    snprintf(error, MB_OPTIONS_ERROR_MAX, "--%s is told the script: --handlers does not go with it",
             mode_name(o->mode));
    return true;
  }
  if (makes_text && !o->script) {
    snprintf(error, MB_OPTIONS_ERROR_MAX, "--%s needs a script: mb-handle --%s%s SCRIPT",
             mode_name(o->mode), mode_name(o->mode), o->mode == MB_MODE_UNITS ? " DIR" : "");
    return true;
  }
  if (o->proxy_trust && !o->proxy_protocol) {
    snprintf(error, MB_OPTIONS_ERROR_MAX, "--proxy-trust goes with --proxy-protocol");
    return true;
  }
  return false;
}

/* Takes a mode; the second one is told which was the first. */
static bool set_mode(struct mb_options *o, const struct row *row,
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
static void carry(struct mb_options *o, const struct row *row, const char *value) {
  int i = 0;
  while (i < o->ncarried && o->carried[i].name != row->name) i++;
  o->carried[i] = (struct mb_carried){row->name, row->value ? value : NULL};
  if (i == o->ncarried) o->ncarried++;
}

/* Says what getopt_long did not take; given is the word that it looked at last. */
static void describe_wrong(int c, const char *given, char error[MB_OPTIONS_ERROR_MAX]) {
  if (c == ':') {
    snprintf(error, MB_OPTIONS_ERROR_MAX, "option %s needs a value; try mb-handle --help", given);
  } else if (optopt > ' ' && optopt < 127) {
    snprintf(error, MB_OPTIONS_ERROR_MAX, "unknown option -%c; try mb-handle --help", optopt);
  } else if (strncmp(given, "--", 2) == 0) {
    snprintf(error, MB_OPTIONS_ERROR_MAX, "unknown or wrong option %s; try mb-handle --help",
             given);
  } else {
    snprintf(error, MB_OPTIONS_ERROR_MAX, "unknown option; try mb-handle --help");
  }
}

bool mb_options_parse(int argc, char **argv, struct mb_options *ret,
                      char ret_error[MB_OPTIONS_ERROR_MAX]) {
  struct mb_options o = {.handlers = default_handlers, .log_level = LOG_NOTICE};
  struct option table[ROWS + 1] = {0};
  for (int i = 0; i < ROWS; i++) {
    table[i].name = rows[i].name;
    table[i].has_arg = rows[i].value ? required_argument : no_argument;
    table[i].val = FIRST_ROW + i; /* values of their own: an abbreviation may be ambiguous */
  }
  opterr = 0;
  int c;
  /* "+": what follows the script is its own. ":": a missing value is told from a wrong option. */
  while ((c = getopt_long(argc, argv, "+:", table, NULL)) != -1) {
    if (c < FIRST_ROW) {
      describe_wrong(c, optind > 0 && optind <= argc ? argv[optind - 1] : "", ret_error);
      return false;
    }
    const struct row *row = &rows[c - FIRST_ROW];
    const char *expected = row->set(&o, optarg);
    if (expected) {
      snprintf(ret_error, MB_OPTIONS_ERROR_MAX, "--%s: expected %s, got \"%s\"", row->name,
               expected, optarg);
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
  *ret = o;
  return true;
}

bool mb_options_is_one(const char *word) {
  if (strncmp(word, "--", 2) != 0) return false;
  size_t len = strcspn(word + 2, "=");
  for (int i = 0; i < ROWS; i++) {
    if (strlen(rows[i].name) == len && strncmp(rows[i].name, word + 2, len) == 0) return true;
  }
  return false;
}

void mb_options_help(FILE *to) {
  fputs(
      "Usage: mb-handle [OPTION]... [SCRIPT [ARG]...]\n"
      "Serve the one connection that systemd or inetd accepted with the Lua script SCRIPT;\n"
      "or replay captured input: mb-handle SCRIPT < capture.txt\n"
      "or make a service of it: mb-handle --units /etc/systemd/system SCRIPT\n"
      "\n"
      "Without SCRIPT: $MB_SCRIPT; else, in " MB_HANDLERS_DIR
      " or --handlers DIR,\n"
      "PORT.lua for a TCP connection, NAME.lua for a Unix socket NAME.sock, else default.lua.\n"
      "\n",
      to);
  for (int i = 0; i < ROWS; i++) {
    char left[32];
    snprintf(left, sizeof left, "--%s%s%s", rows[i].name, rows[i].value ? " " : "",
             rows[i].value ? rows[i].value : "");
    fprintf(to, "  %-22s %s\n", left, rows[i].help);
  }
  fputs(
      "\n"
      "Exit status: 0 handled, 64 wrong usage, 66 no script, 70 the handler raised an error,\n"
      "71 system error, 78 the script does not load or has no matching listen{}.\n"
      "See mb-handle(8), mb-handle-socket(3), moonbridge_io(3) and moonbridge_http(3);\n"
      "for --style mb.luasocket(3), mb.tarantool(3) and mb.http_server(3).\n",
      to);
}
