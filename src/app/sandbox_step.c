/* Locks the process between prepare and connect, and says what this machine's kernel cannot do. */
#include "app/sandbox_step.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "api/http/websocket.h"
#include "api/mb/crypto.h"
#include "app/sandbox_lua.h"
#include "app/sandbox_notes.h"
#include "app/sandbox_paths.h"
#include "app/sandbox_wish.h"
#include "app/script.h"
#include "base/journal.h"
#include "base/log.h"
#include "sandbox/sandbox.h"
#include "socket/timeout.h"
#include "state/state.h"

static bool in_pool; /* the process serves one connection after another */

const struct mb_sandbox *mb_sandbox_step_wishes(const struct mb_service *service,
                                                const struct mb_options *options) {
  if (options->sandbox == MB_SANDBOX_OFF) return NULL;
  if (service->sandbox) return service->sandbox;
  return options->sandbox == MB_SANDBOX_STRICT ? &mb_sandbox_strict : NULL;
}

/* ---- what is missing ---- */

#define MISSING_MAX 640

/* Writes what is missing as one line. */
static void describe_missing(unsigned missing, char text[MISSING_MAX]) {
  int size = 0;
  for (unsigned bit = 1; bit < 1u << MB_MISSING_BITS; bit <<= 1) {
    if (missing & bit)
      size += snprintf(text + size, MISSING_MAX - (size_t)size, "%s%s", size ? "; " : "",
                       mb_sandbox_missing_text(bit));
  }
}

/* Logs what is missing. Returns whether the process may serve all the same. */
static bool is_enough(const struct mb_sandbox *s, unsigned missing) {
  if (!missing) return true;
  char text[MISSING_MAX];
  describe_missing(missing, text);
  mb_log(s && s->is_required ? LOG_ERR : s ? LOG_WARNING : LOG_NOTICE, "sandbox: %s", text);
  if (!s || !s->is_required) return true;
  mb_log(LOG_ERR, "sandbox: the script requires all of it (sandbox = {required = true})");
  return false;
}

bool mb_sandbox_step_is_possible(const struct mb_service *service,
                                 const struct mb_options *options) {
  const struct mb_sandbox *s = mb_sandbox_step_wishes(service, options);
  return !s || !s->is_required || is_enough(s, mb_sandbox_probe(s));
}

/* ---- locking ---- */

struct step {
  const struct mb_sandbox *wished;
  const struct mb_options *options;
  unsigned missing;
  const char *path;
  int result;
};

/* In a pool a connection has as many seconds as are wished, and the process ends behind it when it has used so many. */
static int64_t cpu_seconds(const struct mb_sandbox *s) {
  if (s->cpu_seconds == MB_LIMIT_NOT_SAID || s->cpu_seconds > INT64_MAX / 4) return s->cpu_seconds;
  return in_pool ? 2 * s->cpu_seconds : s->cpu_seconds;
}

/* Runs in protected mode: it takes memory of the state. */
static int lock(lua_State *L) {
  struct step *step = lua_touserdata(L, 1);
  struct mb_more_paths more;
  struct mb_sandbox *s = mb_state_new_anchored(L, sizeof *s);
  *s = *step->wished;
  s->cpu_seconds = cpu_seconds(step->wished);
  mb_sandbox_paths(L, s, step->options, in_pool, &more);
  mb_sandbox_lua_open(L, s);
  mb_sandbox_notes_open(s);
  step->result = mb_sandbox_lock(s, more.list, more.count, &step->missing, &step->path);
  if (step->path) step->path = lua_pushstring(L, step->path);
  return step->path ? 1 : 0;
}

static enum mb_exit lock_by_wish(lua_State *L, const struct mb_sandbox *wished,
                                 const struct mb_options *options) {
  if (wished->cpu_seconds != MB_LIMIT_NOT_SAID) mb_timeout_processor(wished->cpu_seconds);
  if (options->log_journal) mb_journal_open(); /* there will be no way to it */
  mb_crypto_before_lock();                     /* nor to the libraries that modules load */
  mb_websocket_before_lock();
  struct step step = {.wished = wished, .options = options};
  int top = lua_gettop(L);
  lua_pushcfunction(L, lock);
  lua_pushlightuserdata(L, &step);
  if (mb_state_call(L, 1, LUA_MULTRET) != LUA_OK) {
    mb_script_log_error(L);
    return MB_EXIT_HANDLER;
  }
  enum mb_exit exit = MB_EXIT_OK;
  if (step.result < 0) {
    mb_log(LOG_ERR, "sandbox: cannot lock the process: %s%s%s", step.path ? step.path : "",
           step.path ? ": " : "", strerror(-step.result));
    exit = MB_EXIT_SYSTEM;
  } else if (!is_enough(wished, step.missing)) {
    exit = MB_EXIT_CONFIG;
  }
  lua_settop(L, top);
  return exit;
}

static enum mb_exit lock_always(void) {
  unsigned missing = 0;
  int r = mb_sandbox_lock_always(&missing);
  if (r < 0) {
    mb_log(LOG_ERR, "sandbox: cannot lock the process: %s", strerror(-r));
    return MB_EXIT_SYSTEM;
  }
  is_enough(NULL, missing);
  return MB_EXIT_OK;
}

static bool is_off(const struct mb_options *options) {
  if (options->sandbox != MB_SANDBOX_OFF) return false;
  if (!in_pool) mb_log(LOG_NOTICE, "sandbox: off (--sandbox=off)");
  return true;
}

enum mb_exit mb_sandbox_step(lua_State *L, const struct mb_service *service,
                             const struct mb_options *options) {
  if (is_off(options)) return MB_EXIT_OK;
  const struct mb_sandbox *wished = mb_sandbox_step_wishes(service, options);
  return wished ? lock_by_wish(L, wished, options) : lock_always();
}

enum mb_exit mb_sandbox_step_pool(const struct mb_options *options) {
  enum mb_exit exit = is_off(options) ? MB_EXIT_OK : lock_always();
  in_pool = true;
  return exit;
}

bool mb_sandbox_step_goes_on(const struct mb_service *service, const struct mb_options *options) {
  const struct mb_sandbox *s = mb_sandbox_step_wishes(service, options);
  struct timespec used;
  if (!s || s->cpu_seconds == MB_LIMIT_NOT_SAID) return true;
  return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) != 0 || used.tv_sec < s->cpu_seconds;
}

/* ---- showing ---- */

static void print_paths(const struct mb_sandbox *s, enum mb_sandbox_right right, const char *what,
                        FILE *to) {
  const char *before = what;
  for (size_t i = 0; i < s->path_count; i++) {
    if (s->paths[i].right != right) continue;
    fprintf(to, "%s%s", before, s->paths[i].path);
    before = ", ";
  }
}

static void print_connect(const struct mb_sandbox *s, FILE *to) {
  const char *before = "; connect ";
  if (s->wishes & MB_WISH_ANY_TCP) {
    fprintf(to, "%sto everybody", before);
    return;
  }
  for (size_t i = 0; i < s->port_count; i++, before = ", ") {
    fprintf(to, "%stcp:%u", before, (unsigned)s->ports[i]);
  }
  for (size_t i = 0; i < s->socket_count; i++, before = ", ") {
    fprintf(to, "%s%s", before, s->sockets[i]);
  }
  if (s->looks_up_names) fprintf(to, "%sdns", before);
}

static void print_limit(const char *name, int64_t value, FILE *to) {
  if (value != MB_LIMIT_NOT_SAID) fprintf(to, "; %s %" PRId64, name, value);
}

static void print_wishes(const struct mb_sandbox *s, FILE *to) {
  fprintf(to, "    sandbox: the connection");
  print_paths(s, MB_RIGHT_READ, "; read ", to);
  print_paths(s, MB_RIGHT_WRITE, "; write ", to);
  print_connect(s, to);
  if (s->wishes & MB_WISH_LISTEN) fprintf(to, "; listen");
  print_paths(s, MB_RIGHT_EXEC, "; exec ", to);
  if (s->reads_modules) fprintf(to, "; modules");
  print_limit("cpu_seconds", s->cpu_seconds, to);
  print_limit("open_files", s->open_files, to);
  print_limit("file_size", s->file_size, to);
  print_limit("processes", s->processes, to);
  fprintf(to, "; nothing else\n");
}

void mb_sandbox_step_print(const struct mb_service *service, const struct mb_options *options,
                           FILE *to) {
  if (options->sandbox == MB_SANDBOX_OFF) {
    fprintf(to, "    sandbox: off\n");
    return;
  }
  const struct mb_sandbox *s = mb_sandbox_step_wishes(service, options);
  if (s) {
    print_wishes(s, to);
  } else {
    fprintf(to, "    sandbox: only what every process has\n");
  }
  unsigned missing = mb_sandbox_probe(s);
  for (unsigned bit = 1; bit < 1u << MB_MISSING_BITS; bit <<= 1) {
    if (missing & bit) fprintf(to, "    %s\n", mb_sandbox_missing_text(bit));
  }
  if (missing && s && s->is_required) fprintf(to, "    required: it will not serve here\n");
}
