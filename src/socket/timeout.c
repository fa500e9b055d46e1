/*
 * timeout(). It keeps deadlines, not durations, and sets the alarm timer to the earliest: nesting,
 * throwing and yielding cannot stretch a limit.
 */
#include "socket/timeout.h"

#include <errno.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <lualib.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "base/log.h"
#include "base/log_printed.h"
#include "state/libraries.h"
#include "state/state.h"

#define SUB_TIMER "mb.timeout"

/* The last line waits at most this long for a log that does not take it. */
#define LAST_LINE_PATIENCE_USEC 50000

/*
 * The client has been served when finalizers run at the end, and finish() is the place for longer work: a
 * finalizer that takes so long hangs.
 */
#define FINALIZERS_SECONDS 10

/* The longest text that the log gets; more of a long URL helps nobody. */
#define LABEL_MAX_BYTES 512

/*
 * A running timeout(seconds, f). It is a userdata in that call's frame, so that it ends with the frame in
 * any case.
 */
struct sub_timer {
  int64_t deadline;
  int64_t inner; /* what f has set by timeout(seconds); ends with f */
  struct mb_timeout_label label;
  const lua_State *coroutine;
  struct sub_timer *next;
};

static int64_t limit = MB_NO_DEADLINE; /* of the whole process */
static int64_t last = MB_NO_DEADLINE;  /* of the finalizers that run when the Lua state is closed */
static int64_t outer = MB_NO_DEADLINE; /* set by timeout(seconds) outside of all sub-timers */
static struct sub_timer *running;      /* the one started last goes first */

static int64_t silence_usec; /* how long a connection may be silent; 0: there is no limit */
static int64_t silence_ends = MB_NO_DEADLINE; /* when to ask whether it was silent */

static const struct mb_channel *volatile guarded;

static void (*volatile at_end)(const char *how);

static const struct mb_timeout_label usual = {"timeout: time is up", NULL, 0};
static const struct mb_timeout_label of_last = {
    "timeout: the finalizers (__gc) of the script took too long after its end", NULL, 0};

static char about_silence[48];
static struct mb_timeout_label of_silence = {"silence: no byte came or went for ", about_silence,
                                             0};

static char about_processor[48];
static struct mb_timeout_label of_processor = {"timeout: the process has used its processor time, ",
                                               about_processor, 0};

static volatile sig_atomic_t has_gone_on; /* an alarm has come, and no time was up */

static void unblock(int signal_number) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal_number);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* Adds bytes to a line, as many as fit. Returns the new size of the line. */
static size_t add(char *line, size_t size, const char *text, size_t count) {
  if (count > LABEL_MAX_BYTES - size) count = LABEL_MAX_BYTES - size;
  memcpy(line + size, text, count);
  return size + count;
}

static void log_label(const struct mb_timeout_label *label, bool was_reset) {
  static const char reset[] = ", connection reset";
  static char line[LABEL_MAX_BYTES + sizeof reset];
  size_t size = add(line, 0, label->text, strlen(label->text));
  if (label->about_size > 0) size = add(line, size, label->about, label->about_size);
  if (was_reset) {
    memcpy(line + size, reset, sizeof reset - 1);
    size += sizeof reset - 1;
  }
  mb_log_text(LOG_WARNING, line, size);
}

static int64_t earliest(const struct mb_timeout_label **ret_label);
static void arm(void);

/*
 * Returns whether no time is up: the alarm was for silence, and there was none, or nobody can say; or for a
 * deadline that has been changed. It is set anew. Only the deadlines say what is up, and every change that
 * can make the alarm come too late ends with arm(): where this has interrupted one does not matter.
 */
static bool goes_on(const struct mb_channel *connection,
                    const struct mb_timeout_label **ret_label) {
  int64_t now = mb_now_usec();
  if (earliest(ret_label) <= now) return false;
  if (silence_ends <= now) {
    int64_t silence = connection ? connection->transport->silence(connection) : -1;
    int64_t left = silence_usec - silence * 1000;
    if (silence >= 0 && left <= 0) {
      of_silence.about_size =
          (size_t)snprintf(about_silence, sizeof about_silence, "%" PRId64 " s (--silence-timeout)",
                           silence_usec / 1000000);
      *ret_label = &of_silence;
      return false;
    }
    silence_ends = silence >= 0 ? now + left : MB_NO_DEADLINE;
  }
  arm();
  has_gone_on = 1;
  return true;
}

/* Ends the process by SIGALRM: units know it as no failure. */
static void end_by(const struct mb_timeout_label *label) {
  const struct mb_channel *connection = guarded;
  if (connection) connection->transport->reset(connection);
  /* Writing to the log may block, on a pipe that nobody reads: the next alarm kills us then. */
  const struct itimerval last_alarm = {.it_value.tv_usec = LAST_LINE_PATIENCE_USEC};
  signal(SIGALRM, SIG_DFL);
  unblock(SIGALRM);
  setitimer(ITIMER_REAL, &last_alarm, NULL);
  mb_log_flush();
  log_label(label, connection != NULL);
  if (at_end) at_end("time is up");
  raise(SIGALRM);
}

static void time_is_up(int signal_number) {
  const struct mb_timeout_label *label;
  int error = errno;
  bool no_time_is_up = goes_on(guarded, &label);
  errno = error;
  (void)signal_number;
  if (!no_time_is_up) end_by(label);
}

/* The limit of processor time is up. */
static void processor_time_is_up(int signal_number) {
  (void)signal_number;
  end_by(&of_processor);
}

void mb_timeout_processor(int64_t seconds) {
  of_processor.about_size = (size_t)snprintf(about_processor, sizeof about_processor,
                                             "%" PRId64 " s (sandbox: cpu_seconds)", seconds);
  const struct sigaction action = {.sa_handler = processor_time_is_up};
  sigaction(SIGXCPU, &action, NULL);
  unblock(SIGXCPU);
}

bool mb_timeout_take_alarm(void) {
  bool taken = has_gone_on;
  has_gone_on = 0;
  return taken;
}

void mb_timeout_guard(const struct mb_channel *connection) { guarded = connection; }

void mb_timeout_at_end(void (*f)(const char *how)) { at_end = f; }

/* Returns the earliest deadline, and the label that belongs to it. */
static int64_t earliest(const struct mb_timeout_label **ret_label) {
  int64_t deadline = limit < outer ? limit : outer;
  *ret_label = &usual;
  if (last < deadline) {
    deadline = last;
    *ret_label = &of_last;
  }
  for (const struct sub_timer *s = running; s; s = s->next) {
    if (s->deadline < deadline) {
      deadline = s->deadline;
      *ret_label = &s->label;
    }
    if (s->inner < deadline) {
      deadline = s->inner;
      *ret_label = &usual;
    }
  }
  return deadline;
}

static void catch_alarm(void) {
  static bool caught;
  if (caught) return;
  caught = true;
  struct sigaction action = {.sa_handler = time_is_up, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  unblock(SIGALRM); /* the parent may have blocked it */
}

static void arm(void) {
  const struct mb_timeout_label *label;
  int64_t deadline = earliest(&label);
  if (silence_ends < deadline) deadline = silence_ends;
  struct itimerval timer = {0};
  if (deadline != MB_NO_DEADLINE) {
    int64_t left = deadline - mb_now_usec();
    if (left < 1) left = 1; /* 0 would disarm it */
    timer.it_value.tv_sec = (time_t)(left / 1000000);
    timer.it_value.tv_usec = (suseconds_t)(left % 1000000);
    catch_alarm();
  }
  setitimer(ITIMER_REAL, &timer, NULL);
}

/* Returns the seconds until the alarm; 0 when none is set. */
static double remaining(void) {
  const struct mb_timeout_label *label;
  int64_t deadline = earliest(&label);
  if (deadline == MB_NO_DEADLINE) return 0;
  int64_t left = deadline - mb_now_usec();
  return left < 1 ? 1e-6 : (double)left / 1e6;
}

static int64_t deadline_after(double seconds) {
  return seconds > 0 ? mb_now_usec() + mb_usec_of(seconds) : MB_NO_DEADLINE;
}

void mb_timeout_limit(double seconds) {
  limit = deadline_after(seconds);
  if (limit != MB_NO_DEADLINE) arm();
}

void mb_timeout_limit_finalizers(bool run) {
  last = deadline_after(run ? FINALIZERS_SECONDS : 0);
  if (run) arm(); /* an alarm that comes for nothing ends nothing */
}

void mb_timeout_silence(int seconds) {
  silence_usec = (int64_t)seconds * 1000000;
  silence_ends = deadline_after(seconds);
  if (silence_ends != MB_NO_DEADLINE) arm();
}

void mb_timeout_forget(void) {
  limit = last = outer = silence_ends = MB_NO_DEADLINE;
  running = NULL;
  arm(); /* disarms it */
  guarded = NULL;
  at_end = NULL;
}

void mb_timeout_clear(void) {
  if (outer == MB_NO_DEADLINE && !running) return;
  outer = MB_NO_DEADLINE;
  /* Sub-timers may be left in coroutines that wait to be resumed. */
  for (struct sub_timer *s = running; s; s = s->next) s->deadline = s->inner = MB_NO_DEADLINE;
  arm();
}

/* Takes a sub-timer out of the list; returns false when it was out already. */
static bool leave(const struct sub_timer *sub) {
  for (struct sub_timer **at = &running; *at; at = &(*at)->next) {
    if (*at != sub) continue;
    *at = sub->next;
    return true;
  }
  return false;
}

/* A sub-timer that still runs is collected when its coroutine was dropped. */
static int sub_timer_gc(lua_State *L) {
  if (leave(lua_touserdata(L, 1))) arm();
  return 0;
}

static double check_seconds(lua_State *L) {
  double seconds = luaL_checknumber(L, 1);
  luaL_argcheck(L, seconds >= 0, 1, "expected a number of seconds, 0 or more");
  return seconds;
}

/*
 * Ends a sub-timer when its function has returned or thrown. The stack is seconds, sub-timer, message
 * handler, results or error.
 */
static int sub_timer_done(lua_State *L, int status, lua_KContext ctx) {
  (void)ctx;
  const struct sub_timer *sub = lua_touserdata(L, 2);
  leave(sub);
  arm();
  if (status != LUA_OK && status != LUA_YIELD) return mb_state_throw_on(L);
  return lua_gettop(L) - 3;
}

int mb_timeout_call(lua_State *L, double seconds, struct mb_timeout_label label) {
  int nargs = lua_gettop(L) - 2;
  struct sub_timer *sub = lua_newuserdata(L, sizeof *sub);
  luaL_setmetatable(L, SUB_TIMER);
  lua_insert(L, 2);
  *sub = (struct sub_timer){deadline_after(seconds), MB_NO_DEADLINE, label, L, running};
  atomic_signal_fence(memory_order_release); /* the alarm reads the list */
  running = sub;
  arm();
  return sub_timer_done(L, mb_state_pcall_keep(L, nargs, LUA_MULTRET, sub_timer_done), 0);
}

void mb_timeout_lift(const struct mb_timeout_label *label) {
  for (struct sub_timer *s = running; s; s = s->next) {
    if (s->label.text == label->text && s->label.about == label->about)
      s->deadline = MB_NO_DEADLINE;
  }
  arm();
}

/*
 * Returns the deadline that timeout(seconds) sets: that of the innermost sub-timer of this coroutine, if
 * there is one, otherwise the outer one.
 */
static int64_t *slot_of(const lua_State *L) {
  for (struct sub_timer *s = running; s; s = s->next) {
    if (s->coroutine == L) return &s->inner;
  }
  return &outer;
}

/*
 * timeout()              returns the seconds until the process is killed; 0: there is no limit
 * timeout(seconds)       kills the process after this number of seconds, which may have a fraction; 0:
 *                        never. Returns the seconds that were left before
 * timeout(seconds, f, …) calls f(…) and returns its results; kills the process if f takes longer; 0: only
 *                        the limits that are set already hold
 * Source: reference, "Global function timeout(...)".
 */
static int timeout(lua_State *L) {
  double before = remaining();
  if (lua_gettop(L) > 0) {
    double seconds = check_seconds(L);
    if (lua_gettop(L) > 1) {
      mb_state_check_callable(L, 2);
      return mb_timeout_call(L, seconds, usual);
    }
    *slot_of(L) = deadline_after(seconds);
    arm();
  }
  lua_pushnumber(L, before);
  return 1;
}

/*
 * Replaces os.exit, which may close the Lua state: the finalizers have their limit then, too. Upvalue: the
 * original.
 */
static int limited_exit(lua_State *L) {
  if (!lua_isboolean(L, 1)) luaL_optinteger(L, 1, 0); /* may throw, and then nothing ends */
  if (lua_toboolean(L, 2)) mb_timeout_limit_finalizers(true);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, 0);
  return 0;
}

void mb_timeout_limit_exit(lua_State *L, unsigned opened) {
  if (!(opened & MB_LIBRARY_OS)) return;
  int top = lua_gettop(L);
  lua_getglobal(L, LUA_OSLIBNAME);
  lua_getfield(L, -1, "exit");
  if (lua_tocfunction(L, -1) != limited_exit) {
    lua_pushcclosure(L, limited_exit, 1);
    lua_setfield(L, -2, "exit");
  }
  lua_settop(L, top);
}

void mb_timeout_open(lua_State *L) {
  luaL_newmetatable(L, SUB_TIMER);
  lua_pushcfunction(L, sub_timer_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  lua_register(L, "timeout", timeout);
}
