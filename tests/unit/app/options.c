/* src/app/options.c: every option, right and wrong. */
#include "app/options.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "../../lib/manual.h"
#include "../../lib/tap.h"

static struct mb_options o;
static char error[MB_OPTIONS_ERROR_MAX];

/* Parses "a b c". */
static bool parse(const char *line) {
  static char text[256];
  static char *argv[32];
  int argc = 0;
  snprintf(text, sizeof text, "mb-handle %s", line);
  for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) argv[argc++] = word;
  argv[argc] = NULL;
  error[0] = '\0';
  return mb_options_parse(argc, argv, &o, error);
}

static void refused(const char *line, const char *part) {
  bool parsed = parse(line);
  tap_ok(!parsed && strstr(error, part), "%s is refused: %s", line, error);
  tap_ok(strchr(error, '\n') == NULL, "in one line");
}

/* ---- the rows ---- */

static const struct mb_option *end = mb_options + MB_OPTIONS;

static bool is_terminated(const char *text, size_t size) { return strnlen(text, size) < size; }

static void each_row_is_sound(void) {
  int carried = 0;
  for (const struct mb_option *row = mb_options; row < end; row++) {
    tap_ok(is_terminated(row->name, sizeof row->name) &&
               is_terminated(row->value, sizeof row->value) &&
               is_terminated(row->fallback, sizeof row->fallback) &&
               is_terminated(row->expected, sizeof row->expected) &&
               is_terminated(row->text, sizeof row->text),
           "%s: the strings end", row->name);
    tap_ok(row->text[0] != '\0', "%s: has a text", row->name);
    tap_ok(!row->value[0] == (row->type == MB_OPTION_FLAG), "%s: a flag, or a value", row->name);
    tap_ok(!row->value[0] == !row->expected[0], "%s: says what is expected of one", row->name);
    bool is_number = row->type == MB_OPTION_INTEGER || row->type == MB_OPTION_BYTES ||
                     row->type == MB_OPTION_SECONDS;
    tap_ok(!is_number || !strpbrk(row->expected, "0123456789"), "%s: has its range once",
           row->name);
    tap_ok(row == mb_options || strcmp(row[-1].name, row->name) < 0, "%s: in order", row->name);
    carried += row->carried;
    for (const struct mb_option *other = mb_options; other < row; other++) {
      if (row->offset != other->offset) continue;
      tap_ok(row->mode && other->mode, "%s and %s exclude each other", row->name, other->name);
    }
  }
  tap_ok(carried <= MB_CARRIED_MAX, "there is room for all options that are carried");
}

static bool takes(const struct mb_option *row, double number) {
  char line[64];
  snprintf(line, sizeof line, "--%.15s %.17g", row->name, number);
  return parse(line);
}

static void ranges(void) {
  for (const struct mb_option *row = mb_options; row < end; row++) {
    bool is_integer = row->type == MB_OPTION_INTEGER, is_seconds = row->type == MB_OPTION_SECONDS;
    if (!is_integer && !is_seconds) continue;
    tap_ok(takes(row, row->most) && !takes(row, row->most + 1), "%s: at most", row->name);
    tap_ok(takes(row, row->least + (is_seconds ? 0.001 : 0)), "%s: the least", row->name);
    tap_ok(!takes(row, is_seconds ? row->least : row->least - 1), "%s: too little", row->name);
    tap_ok(manual_has(error, ", %s %.0f%s %.0f, got ", is_seconds ? "more than" : "from",
                      row->least, is_seconds ? ", at most" : " to", row->most),
           "%s: the error has both limits: %s", row->name, error);
  }
  tap_ok(parse("--style luasocket") && o.style == MB_STYLE_LUASOCKET, "--style luasocket");
  tap_ok(parse("--style tarantool") && o.style == MB_STYLE_TARANTOOL, "--style tarantool");
  tap_ok(parse("--style lua-http") && o.style == MB_STYLE_LUA_HTTP, "--style lua-http");
}

/* A value stands behind "="; --serve --dev has a log of its own, unless another is asked for. */
static void request_logs(void) {
  static const struct {
    const char *line;
    int format;
  } logs[] = {
      {"s.lua", MB_HTTP_ACCESS_NONE},
      {"--serve s.lua", MB_HTTP_ACCESS_NONE},
      {"--access-log s.lua", MB_HTTP_ACCESS_COMBINED},
      {"--access-log=combined s.lua", MB_HTTP_ACCESS_COMBINED},
      {"--access-log=json s.lua", MB_HTTP_ACCESS_JSON},
      {"--serve --dev s.lua", MB_HTTP_ACCESS_DEV},
      {"--serve --dev --access-log=json --access-log s.lua", MB_HTTP_ACCESS_COMBINED},
  };
  for (size_t i = 0; i < sizeof logs / sizeof *logs; i++) {
    bool parsed = parse(logs[i].line);
    tap_ok(parsed && o.access_log == logs[i].format && strcmp(o.script, "s.lua") == 0, "%s",
           logs[i].line);
  }
  tap_ok(o.ncarried == 1 && !o.carried[0].value, "it is carried without a value");
}

int main(void) {
  each_row_is_sound();
  ranges();

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
  tap_ok(parse("s.lua") && o.keepalive == 240, "a vanished client is noticed after some minutes");
  tap_ok(parse("--tcp-keepalive 0") && o.keepalive == 0, "--tcp-keepalive 0: not by us");
  tap_ok(parse("--tcp-keepalive=65534") && o.keepalive == 65534, "--tcp-keepalive, the most");
  tap_ok(parse("s.lua") && o.silence == 3600, "a silent client has an hour");
  tap_ok(parse("--silence-timeout 0") && o.silence == 0, "--silence-timeout 0: for ever");
  tap_ok(parse("--record /r.%p.%t%%") && strcmp(o.record, "/r.%p.%t%%") == 0, "--record");
  tap_ok(parse("--memory-limit 1000") && o.memory_limit == 1000, "--memory-limit in bytes");
  tap_ok(parse("--memory-limit 4K") && o.memory_limit == 4096, "--memory-limit in KiB");
  tap_ok(parse("--memory-limit 2M") && o.memory_limit == 2 << 20, "--memory-limit in MiB");
  tap_ok(parse("--log-level debug") && o.log_level == LOG_DEBUG, "--log-level debug");
  tap_ok(parse("--log-level error") && o.log_level == LOG_ERR, "--log-level error");
  tap_ok(parse("--log-lines 7") && o.log_lines == 7, "--log-lines");

  request_logs();
  refused("--access-log=dev s.lua", "--access-log: expected combined or json, got \"dev\"");
  refused("--access-log= s.lua", "--access-log: expected combined or json, got \"\"");
  tap_ok(parse("--log-format journal") && o.log_journal, "--log-format journal");
  tap_ok(parse("--log-format journal --log-format plain") && !o.log_journal, "the last one holds");
  tap_ok(parse("--style tarantool s.lua") && o.style == MB_STYLE_TARANTOOL, "--style");
  tap_ok(parse("--style=lua-http --check s.lua") && o.style == MB_STYLE_LUA_HTTP,
         "--style with --check: does the program compile?");
  tap_ok(parse("s.lua") && o.style == MB_STYLE_NONE, "a script of ours");
  tap_ok(parse("--proxy-protocol") && o.proxy_protocol && !o.proxy_trust, "--proxy-protocol");
  tap_ok(parse("--proxy-protocol --proxy-trust 10.0.0.0/8,::1") &&
             strcmp(o.proxy_trust, "10.0.0.0/8,::1") == 0,
         "--proxy-trust");

  static const struct {
    const char *line, *value;
    enum mb_mode mode;
  } modes[] = {
      {"--units /d s.lua", "/d", MB_MODE_UNITS},      {"--inetd s.lua", NULL, MB_MODE_INETD},
      {"--xinetd s.lua", NULL, MB_MODE_XINETD},       {"--main m s.lua", "m", MB_MODE_MAIN},
      {"--interval i s.lua", "i", MB_MODE_INTERVAL},  {"s.lua", NULL, MB_MODE_SERVE},
      {"--main a --main b s.lua", "b", MB_MODE_MAIN}, {"--serve s.lua", "", MB_MODE_LISTEN},
      {"--serve=8080 s.lua", "8080", MB_MODE_LISTEN},
  };
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
    tap_ok(parse(modes[i].line) && o.mode == modes[i].mode, "%s: the mode", modes[i].line);
    tap_str(o.mode_value, modes[i].value, "%s: its value", modes[i].line);
  }
  tap_ok(parse("--units /d --user s.lua") && o.user, "--user");
  tap_ok(parse("--units /d --pool s.lua") && o.pool, "--pool");
  tap_ok(parse("--grace 1.5 --exit-idle 60") && o.grace == 1.5 && o.exit_idle == 60,
         "--grace and --exit-idle");
  refused("--serve= s.lua", "--serve: expected an address");
  refused("--pool s.lua", "--pool goes with --units");
  refused("--dev s.lua", "--dev goes with --serve");
  refused("--serve --exit-idle 5 s.lua", "--exit-idle does not go with --serve");
  refused("--serve --units /d s.lua", "--units cannot be combined with --serve");
  refused("--grace 0 s.lua", "more than 0");
  refused("--units /d --inetd s.lua", "--inetd cannot be combined with --units");
  refused("--main a --interval b s.lua", "--interval cannot be combined with --main");
  refused("--main a --record f s.lua", "--main serves no connection");
  refused("--interval a --listener 1 s.lua", "--interval serves no connection");
  refused("--units", "--units");
  refused("--units app.lua", "--units needs a script: mb-handle --units DIR SCRIPT");
  refused("--units /d --handlers /h app.lua", "--handlers does not go with it");
  tap_ok(mb_options_is_one("--user") && mb_options_is_one("--timeout=5"), "options are known");
  tap_ok(!mb_options_is_one("--use") && !mb_options_is_one("user") && !mb_options_is_one("--"),
         "other words are none");
  refused("--inetd", "--inetd needs a script: mb-handle --inetd SCRIPT");
  refused("--user s.lua", "--user goes with --units");
  refused("--log-format xml", "\"xml\"");
  refused("--proxy-trust ::1 s.lua", "--proxy-protocol");
  refused("--style none s.lua", "luasocket, tarantool or lua-http");
  refused("--style luasocket --listener 1 s.lua", "--listener");
  refused("--main m --style luasocket s.lua", "--main");
  refused("--style=lua-http --inetd s.lua", "--inetd");
  refused("--proxy-protocol --proxy-trust 10.0.0.1/8 s.lua", "\"10.0.0.1/8\"");

  parse("--units /d --timeout 5 --proxy-protocol --timeout 6 --log-level=info s.lua");
  tap_int(o.ncarried, 3, "what a service's command line repeats");
  tap_str(o.carried[0].name, "timeout", "in the order in which it was given");
  tap_str(o.carried[0].value, "6", "with the value that holds");
  tap_str(o.carried[1].name, "proxy-protocol", "or without one");
  tap_str(o.carried[1].value, NULL, "as the option is");
  tap_str(o.carried[2].value, "info", "the last");
  parse(
      "--access-log --log-format plain --log-level info --log-lines 1 --memory-limit 1 "
      "--proxy-protocol "
      "--proxy-trust ::1 --silence-timeout 9 --tcp-keepalive 9 --timeout 1 s.lua");
  tap_int(o.ncarried, 10, "there is room for all of them");

  /* What other programs have. */
  static const char *const listens[] = {
      "--listen 8080 s.lua",
      "--listen=8080",
      "--listen",
      "--lis 8080",
      "--liste 1 s.lua",
      "--port 8080 s.lua",
      "--port=80",
      "-p 8080",
      "-p8080",
      "-l 8080",
      "--bind 127.0.0.1",
      "--address=0.0.0.0",
      "--host a",
      "--check --listen 1 s.lua",
  };
  for (size_t i = 0; i < sizeof listens / sizeof *listens; i++)
    refused(listens[i], "write --serve=PORT, --serve=ADDRESS:PORT or --serve=PATH");
  refused("--listen=8080 s.lua", "--listen: write --serve=PORT");
  refused("-p8080", "-p: write --serve=PORT");
  refused("-h", "-h: write --help");
  refused("-?", "-?: write --help");
  refused("-V", "-V: write --version");
  refused("-v s.lua", "-v: write --version");
  refused("-c s.lua", "-c: write --check");
  refused("--handler /h s.lua", "write --handlers DIR");
  refused("--hand s.lua", "write --handlers DIR");
  refused("--script s.lua", "a script is written without an option");
  refused("--po 80", "--po: write --serve=PORT"); /* --port, or --pool */
  refused("--check=yes s.lua", "unknown or wrong option --check=yes;");
  refused("--proxy s.lua", "option --proxy may be one of --proxy-protocol, --proxy-trust");
  refused("--t=5 s.lua", "option --t=5 may be one of --tcp-keepalive, --timeout");
  tap_ok(parse("--listener=8 s.lua") && o.listener == 8, "--listener, in full, is ours");
  tap_ok(parse("--listener 8 s.lua --listen 9") && o.listener == 8 && o.nargs == 2,
         "behind the script nothing is looked at");
  tap_ok(parse("--time 5 --memory 1M --log-lev=info --ver s.lua") && o.timeout == 5 && o.version &&
             o.memory_limit == 1 << 20 && o.log_level == LOG_INFO,
         "abbreviations that can mean one thing only");

  refused("--bogus", "--bogus");
  refused("-x", "-x");
  refused("--listener", "--listener");
  refused("--listener 0", "(see --check), from 1 to 2147483647, got \"0\"");
  refused("--listener 1x", "\"1x\"");
  refused("--listener 99999999999999999999", "--listener");
  refused("--tcp-keepalive 65535", "a number of seconds, from 0 to 65534, got \"65535\"");
  refused("--tcp-keepalive -1", "--tcp-keepalive");
  refused("--tcp-keepalive 1.5", "--tcp-keepalive");
  refused("--silence-timeout 2147483648", "a number of seconds, from 0 to 2147483647");
  refused("--silence-timeout 0x", "--silence-timeout");
  refused("--timeout 0", "a number of seconds, more than 0, at most 1000000000, got \"0\"");
  refused("--timeout -1", "--timeout");
  refused("--timeout nan", "--timeout");
  refused("--timeout inf", "--timeout");
  refused("--timeout 1s", "--timeout");
  refused("--memory-limit 0",
          "--memory-limit: expected a number of bytes, or one with K, M or G behind "
          "it, 1 or more, got \"0\"");
  refused("--memory-limit -1", "--memory-limit");
  refused("--memory-limit K", "--memory-limit");
  refused("--memory-limit 1KB", "--memory-limit");
  refused("--memory-limit 99999999999999999999", "--memory-limit");
  refused("--memory-limit 99999999999999999G", "--memory-limit");
  refused("--log-level loud", "\"loud\"");
  refused("--log-lines 0",
          "--log-lines: expected a number of lines, from 1 to 2147483647, got \"0\"");
  refused("--record %x", "--record");
  refused("--record a%", "--record");
  refused("--check --record f s.lua", "--record");
  refused("--check --listener 1 s.lua", "--listener");
  refused("--help=yes", "--help");
  return tap_done();
}
