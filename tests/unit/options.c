/* src/options.c: every option, right and wrong. */
#include "../../src/options.h"

#include <getopt.h>
#include <string.h>
#include <syslog.h>

#include "../lib/tap.h"

static struct mb_options o;
static char error[MB_OPTIONS_ERROR_MAX];

/* Parses "a b c". */
static bool parse(const char *line) {
  static char text[256];
  static char *argv[16];
  int argc = 0;
  snprintf(text, sizeof text, "mb-handle %s", line);
  for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) argv[argc++] = word;
  argv[argc] = NULL;
  optind = 0; /* glibc: from the start */
  error[0] = '\0';
  return mb_options_parse(argc, argv, &o, error);
}

static void refused(const char *line, const char *part) {
  bool parsed = parse(line);
  tap_ok(!parsed && strstr(error, part), "%s is refused: %s", line, error);
  tap_ok(strchr(error, '\n') == NULL, "in one line");
}

int main(void) {
  tap_ok(parse(""), "no argument at all");
  tap_ok(
      o.script == NULL && o.nargs == 0 && o.listener == 0 && o.timeout == 0 && o.memory_limit == 0,
      "the defaults");
  tap_str(o.handlers, MB_HANDLERS_DIR, "the default directory");
  tap_int(o.log_level, LOG_NOTICE, "the default level");

  tap_ok(parse("script.lua --check -x y"), "options behind the script are the script's");
  tap_str(o.script, "script.lua", "the script");
  tap_int(o.nargs, 3, "its arguments");
  tap_str(o.args[0], "--check", "the first");
  tap_ok(!(o.mode == MB_MODE_CHECK), "are not ours");
  tap_ok(parse("-- --odd.lua"), "-- ends the options");
  tap_str(o.script, "--odd.lua", "a script with an odd name");

  tap_ok(parse("--help") && o.help, "--help");
  tap_ok(parse("--version") && o.version, "--version");
  tap_ok(parse("--check s.lua") && (o.mode == MB_MODE_CHECK), "--check");
  tap_ok(parse("--handlers /h") && strcmp(o.handlers, "/h") == 0, "--handlers");
  tap_ok(parse("--handlers=/h") && strcmp(o.handlers, "/h") == 0, "--handlers=");
  tap_ok(parse("--listener 3") && o.listener == 3, "--listener");
  tap_ok(parse("--timeout 1.5") && o.timeout == 1.5, "--timeout");
  tap_ok(parse("--record /r.%p.%t%%") && strcmp(o.record, "/r.%p.%t%%") == 0, "--record");
  tap_ok(parse("--memory-limit 1000") && o.memory_limit == 1000, "--memory-limit in bytes");
  tap_ok(parse("--memory-limit 4K") && o.memory_limit == 4096, "--memory-limit in KiB");
  tap_ok(parse("--memory-limit 2M") && o.memory_limit == 2 << 20, "--memory-limit in MiB");
  tap_ok(parse("--log-level debug") && o.log_level == LOG_DEBUG, "--log-level debug");
  tap_ok(parse("--log-level error") && o.log_level == LOG_ERR, "--log-level error");

  refused("--bogus", "--bogus");
  refused("-x", "-x");
  refused("--listener", "--listener");
  refused("--listener 0", "--listener");
  refused("--listener 1x", "\"1x\"");
  refused("--listener 99999999999999999999", "--listener");
  refused("--timeout 0", "--timeout");
  refused("--timeout -1", "--timeout");
  refused("--timeout nan", "--timeout");
  refused("--timeout inf", "--timeout");
  refused("--timeout 1s", "--timeout");
  refused("--memory-limit 0", "--memory-limit");
  refused("--memory-limit -1", "--memory-limit");
  refused("--memory-limit K", "--memory-limit");
  refused("--memory-limit 1KB", "--memory-limit");
  refused("--memory-limit 99999999999999999999", "--memory-limit");
  refused("--memory-limit 99999999999999999G", "--memory-limit");
  refused("--log-level loud", "\"loud\"");
  refused("--record %x", "--record");
  refused("--record a%", "--record");
  refused("--check --record f s.lua", "--record");
  refused("--check --listener 1 s.lua", "--listener");
  refused("--help=yes", "--help");
  return tap_done();
}
