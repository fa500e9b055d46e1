/*
 * Loads a script in another process, and takes over what it has registered: texts that end with a NUL, "why=" with the
 * reason for mb-handle in the place of mb-handle-static, "call" for a call of listen{}, "listener" for a listener of
 * it, NAME=VALUE for a field of either, "end".
 */
#include "app/deploy_load.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <lauxlib.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/deploy_program.h"
#include "app/listen.h"
#include "app/script.h"
#include "base/log.h"
#include "base/rare.h"

/* More than the listeners of any script take; a script that is not ours could fill our memory. */
#define DATA_MAX ((size_t)1 << 20)

#define PIPE_FD 3 /* of the script's process */

#define WHY            "why="
#define BEGIN_CALL     "call"
#define BEGIN_LISTENER "listener"
#define END            "end"

/* ---- the script's process ---- */

/* Writes the fields of an owner. What has no value without the field is left out. */
static void write_fields(FILE *to, unsigned owner, const void *from) {
  for (const struct mb_listen_field *f = NULL; (f = mb_listen_next(f, owner)) != NULL;) {
    if (f->offset == MB_FIELD_NOT_STORED) continue;
    const void *at = (const char *)from + f->offset;
    switch ((enum mb_field_type)f->type) {
      case MB_FIELD_FUNCTION:
      case MB_FIELD_SANDBOX: /* only the process that serves needs it */
      case MB_FIELD_TABLE:
        break;
      case MB_FIELD_BOOLEAN:
        if (*(const bool *)at) fprintf(to, "%s=1%c", f->name, 0);
        break;
      case MB_FIELD_SECONDS:
      case MB_FIELD_PAUSE:
        if (*(const double *)at != MB_PAUSE_NOT_SAID)
          fprintf(to, "%s=%.17g%c", f->name, *(const double *)at, 0);
        break;
      case MB_FIELD_INTEGER:
      case MB_FIELD_BYTES:
        /* A number that was not said is out of the field's range. */
        if (*(const lua_Integer *)at >= f->least)
          fprintf(to, "%s=%lld%c", f->name, (long long)*(const lua_Integer *)at, 0);
        break;
      case MB_FIELD_TEXT:
      case MB_FIELD_HOST:
      case MB_FIELD_PATH:
      case MB_FIELD_NETWORKS:
        if (*(const char *const *)at) fprintf(to, "%s=%s%c", f->name, *(const char *const *)at, 0);
        break;
      case MB_FIELD_PROTO:
        fprintf(to, "%s=%s%c", f->name, mb_proto_name(*(const enum mb_proto *)at), 0);
        break;
    }
  }
}

static enum mb_exit write_listeners(lua_State *L, const struct mb_script *script, void *context) {
  FILE *to = context;
  char why[MB_DEPLOY_WHY_MAX];
  mb_deploy_program_examine(L, script, why);
  fprintf(to, "%s%s%c", WHY, why, 0);
  const struct mb_service *service = NULL;
  for (const struct mb_listen_entry *l = mb_listen_first(L); l; l = l->next) {
    if (l->service != service) {
      fprintf(to, "%s%c", BEGIN_CALL, 0);
      service = l->service;
      write_fields(to, MB_FIELD_OF_CALL, service);
    }
    if (l->proto == MB_PROTO_ANY) continue;
    fprintf(to, "%s%c", BEGIN_LISTENER, 0);
    write_fields(to, MB_FIELD_OF(l->proto), l);
  }
  fprintf(to, "%s%c", END, 0);
  if (fflush(to) == 0) return MB_EXIT_OK;
  mb_log(LOG_ERR, "cannot hand the listeners over: %s", strerror(errno));
  return MB_EXIT_SYSTEM;
}

/* Finds the account that the script is loaded as; NULL: ours. Returns false when root has none for it. */
static bool find_account(const struct mb_options *options, const struct passwd **ret) {
  *ret = NULL;
  if (mb_rare_geteuid() != 0 || options->user) return true;
  *ret = getpwnam(MB_DEPLOY_ACCOUNT);
  if (!*ret) *ret = getpwnam("nobody");
  return *ret;
}

/* Opens the terminal, if the log is one, for writing only: what root types is for nobody else to read. */
static int leave_terminal(void) {
  if (!mb_rare_isatty(STDERR_FILENO)) return 0;
  int fd = open("/proc/self/fd/2", O_WRONLY | O_NOCTTY | O_CLOEXEC);
  if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0) return -errno;
  close(fd);
  return 0;
}

/*
 * Gives up all privileges for good, and the terminal, into which others could type for root. Returns 0 or
 * -errno.
 */
static int become(const struct passwd *account) {
  int r = leave_terminal();
  if (r < 0) return r;
  if (mb_rare_setsid() < 0 || initgroups(account->pw_name, account->pw_gid) != 0 ||
      mb_rare_setresgid(account->pw_gid) != 0 || mb_rare_setresuid(account->pw_uid) != 0)
    return -errno;
  if (mb_rare_geteuid() == 0) return -EPERM; /* an account with the number of root */
  return mb_rare_prctl(PR_SET_NO_NEW_PRIVS, 1) == 0 ? 0 : -errno;
}

/* Keeps the log and the pipe. Our caller may have opened other descriptors. Returns 0 or -errno. */
static int close_others(int fd) {
  if (fd != PIPE_FD && dup3(fd, PIPE_FD, O_CLOEXEC) < 0) return -errno;
  closefrom(PIPE_FD + 1);
  return 0;
}

static enum mb_exit load(const struct mb_options *options, const struct passwd *account, int fd) {
  int r = close_others(fd);
  if (r == 0 && account) r = become(account);
  if (r < 0) {
    mb_log(LOG_ERR, "cannot load the script as %s, the account that will run it: %s",
           account ? account->pw_name : "ourselves", strerror(-r));
    return MB_EXIT_SYSTEM;
  }
  /*
   * It ends with our process: Ctrl-C does not reach another session. A change of the account would reset
   * that.
   */
  bool ready = mb_rare_prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && mb_rare_chdir("/") == 0;
  FILE *to = ready ? fdopen(PIPE_FD, "w") : NULL;
  if (!to) {
    mb_log(LOG_ERR, "cannot load the script: %s", strerror(errno));
    return MB_EXIT_SYSTEM;
  }
  enum mb_exit exit = mb_script_run(options, NULL, write_listeners, to);
  if (exit == MB_EXIT_NO_SCRIPT && account)
    mb_log(LOG_ERR, "the script is loaded as %s, the account that will run it", account->pw_name);
  return exit;
}

/* ---- our process ---- */

/* Reads all that the other process writes. Returns 0 or -errno. */
static int read_all(int fd, struct mb_deploy_listening *ret) {
  char *data = malloc(DATA_MAX);
  if (!data) return -ENOMEM;
  size_t size = 0;
  for (;;) {
    ssize_t n = read(fd, data + size, DATA_MAX - size);
    if (n < 0 && errno == EINTR) continue;
    if (n > 0) size += (size_t)n;
    if (n > 0 && size < DATA_MAX) continue;
    ret->data = data;
    ret->size = size;
    return n < 0 ? -errno : n > 0 ? -E2BIG : 0;
  }
}

/* Returns whether the last text is END, so that nobody reads on behind it. */
static bool is_complete(const struct mb_deploy_listening *l) {
  static const char last[] = "\0" END;
  if (l->size == sizeof END) return memcmp(l->data, END, sizeof END) == 0;
  return l->size >= sizeof last && memcmp(l->data + l->size - sizeof last, last, sizeof last) == 0;
}

static enum mb_exit failed(const char *path, int error) {
  mb_log(LOG_ERR, "%s: cannot load it in a process of its own: %s", path,
         error == E2BIG ? "its listeners are more than 1 MiB" : strerror(error));
  return MB_EXIT_SYSTEM;
}

/*
 * Returns the status for the end of the script's process. Logs what that has not logged.
 * r  what read_all has returned
 */
static enum mb_exit take_end(pid_t pid, const char *path, const struct mb_deploy_listening *l,
                             int r) {
  int status;
  if (r < 0) kill(pid, SIGKILL);
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return failed(path, errno);
  }
  if (r < 0) return failed(path, -r);
  if (WIFSIGNALED(status)) {
    mb_log(LOG_ERR, "%s: signal %d has ended the process that loads it", path, WTERMSIG(status));
    return MB_EXIT_HANDLER;
  }
  if (WEXITSTATUS(status) != 0) return (enum mb_exit)WEXITSTATUS(status);
  if (is_complete(l)) return MB_EXIT_OK;
  mb_log(LOG_ERR, "%s: the script ended the process while it was loaded", path);
  return MB_EXIT_CONFIG;
}

enum mb_exit mb_deploy_load(const struct mb_options *options, const char *path,
                            struct mb_deploy_listening *ret) {
  int ends[2];
  struct mb_options its = *options;
  its.script = path;
  const struct passwd *account;
  bool found = find_account(options, &account);
  *ret = (struct mb_deploy_listening){
      .as_account = account && strcmp(account->pw_name, MB_DEPLOY_ACCOUNT) == 0};
  if (!found) {
    mb_log(LOG_ERR, "%s: root does not load it, and there is no account for it, %s or nobody", path,
           MB_DEPLOY_ACCOUNT);
    return MB_EXIT_SYSTEM;
  }
  if (pipe2(ends, O_CLOEXEC) != 0) return failed(path, errno);
  pid_t pid = fork();
  if (pid == 0) exit((int)load(&its, account, ends[1]));
  int error = errno;
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    return failed(path, error);
  }
  int r = read_all(ends[0], ret);
  close(ends[0]);
  return take_end(pid, path, ret, r);
}

/* ---- registering ---- */

static int no_handler(lua_State *L) { return luaL_error(L, "no connection comes here"); }

/* Pushes the value of a field that was written by write_fields. */
static void push_value(lua_State *L, const struct mb_listen_field *f, const char *value) {
  lua_Integer n = 0;
  switch ((enum mb_field_type)f->type) {
    case MB_FIELD_FUNCTION:
    case MB_FIELD_SANDBOX:
    case MB_FIELD_TABLE:
      luaL_error(L, "%s: neither a function nor a table can be sent", f->name);
      break;
    case MB_FIELD_BOOLEAN:
      lua_pushboolean(L, strcmp(value, "1") == 0);
      break;
    case MB_FIELD_SECONDS:
    case MB_FIELD_PAUSE:
    case MB_FIELD_INTEGER:
    case MB_FIELD_BYTES:
      if (lua_stringtonumber(L, value) == 0) luaL_error(L, "%s: not a number", f->name);
      break;
    case MB_FIELD_TEXT:
    case MB_FIELD_HOST:
    case MB_FIELD_PATH:
    case MB_FIELD_PROTO:
      lua_pushstring(L, value);
      break;
    case MB_FIELD_NETWORKS:
      lua_newtable(L);
      for (const char *end; (end = strchr(value, ',')) != NULL; value = end + 1) {
        lua_pushlstring(L, value, (size_t)(end - value));
        lua_rawseti(L, -2, ++n);
      }
      lua_pushstring(L, value);
      lua_rawseti(L, -2, ++n);
      break;
  }
}

/* Sets a field, NAME=VALUE, in the table on top of the stack. listen{} finds out whether it belongs there. */
static void set_field(lua_State *L, const char *text) {
  size_t len = strcspn(text, "=");
  for (const struct mb_listen_field *f = mb_listen_fields; f < mb_listen_fields + MB_LISTEN_FIELDS;
       f++) {
    if (strlen(f->name) != len || memcmp(f->name, text, len) != 0 || text[len] != '=') continue;
    push_value(L, f, text + len + 1);
    lua_setfield(L, -2, f->name);
    return;
  }
  luaL_error(L, "no field: %s", text);
}

/* Calls listen with the table at index 1, if there is one. */
static void call_listen(lua_State *L) {
  lua_settop(L, 1);
  if (!lua_istable(L, 1)) return;
  lua_pushcfunction(L, no_handler);
  lua_setfield(L, 1, "connect");
  lua_getglobal(L, "listen");
  lua_insert(L, 1);
  lua_call(L, 1, 0);
}

static bool begins_with_why(const char *text) { return strncmp(text, WHY, sizeof WHY - 1) == 0; }

const char *mb_deploy_why(const struct mb_deploy_listening *listening) {
  if (is_complete(listening) && begins_with_why(listening->data))
    return listening->data + sizeof WHY - 1;
  return "the script's process has not said";
}

/* The table of a call is at index 1, that of one of its listeners at 2. */
static int register_all(lua_State *L) {
  const struct mb_deploy_listening *listening = lua_touserdata(L, 1);
  lua_settop(L, 0);
  if (!is_complete(listening)) return luaL_error(L, "it is not complete");
  const char *first = listening->data;
  if (begins_with_why(first)) first += strlen(first) + 1;
  for (const char *at = first;; at += strlen(at) + 1) {
    bool is_call = strcmp(at, BEGIN_CALL) == 0, is_end = strcmp(at, END) == 0;
    if (is_call || is_end) {
      if (lua_gettop(L) > 0) call_listen(L);
      if (is_end) return 0;
      lua_newtable(L);
    } else if (lua_gettop(L) == 0) {
      return luaL_error(L, "it does not begin with a call");
    } else if (strcmp(at, BEGIN_LISTENER) == 0) {
      lua_settop(L, 1);
      lua_newtable(L);
      lua_pushvalue(L, -1);
      lua_rawseti(L, 1, (lua_Integer)lua_rawlen(L, 1) + 1);
    } else {
      set_field(L, at);
    }
  }
}

void mb_deploy_register(lua_State *L, const struct mb_deploy_listening *listening) {
  lua_pushcfunction(L, register_all);
  lua_pushlightuserdata(L, (void *)listening);
  lua_call(L, 1, 0);
}
