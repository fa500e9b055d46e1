/* Makes a generation ready: its listeners, its tasks, and what its processes share. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "app/pool_channel.h"
#include "app/pool_generation.h"
#include "app/sandbox_step.h"
#include "base/log.h"
#include "base/rare.h"
#include "socket/timeout.h"
#include "state/state.h"

static bool open_descriptors(struct mb_generation *g) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, NULL);
  g->signals = MB_RARE(signalfd)(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  g->wake = MB_RARE(eventfd)(0, EFD_NONBLOCK | EFD_CLOEXEC);
  bool good = g->signals >= 0 && g->wake >= 0;
  for (int i = 0; i < g->nservices && good; i++) {
    g->services[i].retire = MB_RARE(eventfd)(0, EFD_NONBLOCK | EFD_CLOEXEC | EFD_SEMAPHORE);
    good = g->services[i].retire >= 0;
  }
  if (good && pipe2(g->drain, O_CLOEXEC) == 0) return true;
  mb_log(LOG_ERR, "pool: cannot begin: %s", strerror(errno));
  return false;
}

static bool is_known(const struct mb_generation *g, const struct mb_service *service) {
  for (int i = 0; i < g->nservices; i++) {
    if (g->services[i].service == service) return true;
  }
  return false;
}

/* Makes a pool for each call of listen{} that has a socket. */
static bool find_services(struct mb_generation *g, struct mb_pool_ready *ready) {
  int processors = (int)MB_RARE(sysconf)(_SC_NPROCESSORS_ONLN);
  for (int i = 0; i < g->start->sockets->count; i++) {
    const struct mb_service *service = g->start->sockets->list[i].entry->service;
    if (is_known(g, service)) continue;
    if (!mb_sandbox_step_is_possible(service, g->start->options)) return false;
    if (g->nservices == MB_POOL_SERVICES_MAX) {
      mb_log(LOG_ERR, "%s: more than %d calls of listen{}", g->script->path, MB_POOL_SERVICES_MAX);
      return false;
    }
    struct mb_generation_service *s = &g->services[g->nservices++];
    s->service = service;
    mb_pool_policy_init(&s->policy, service, processors > 0 ? processors : 1);
    ready->least += s->policy.limits.min_fork;
    ready->most += s->policy.limits.max_fork;
  }
  return true;
}

enum mb_exit mb_generation_set_up(lua_State *L, struct mb_generation *g) {
  const struct mb_script *script = g->script;
  struct mb_pool_sockets *sockets = g->start->sockets;
  struct mb_pool_ready ready = {0};
  mb_timeout_forget(); /* --timeout is for the load, and then for each connection */
  enum mb_exit exit = mb_pool_sockets_match(L, script->path, script->options, sockets);
  if (exit != MB_EXIT_OK) return exit;
  mb_pool_sockets_set_keepalive(sockets, g->start->options->keepalive);
  if (!find_services(g, &ready) || !mb_pool_tasks_find(L, script, &g->tasks)) return MB_EXIT_CONFIG;
  if (!open_descriptors(g)) return MB_EXIT_SYSTEM;
  lua_pushcfunction(L, mb_pool_share);
  if (mb_state_call(L, 0, 0) != LUA_OK) mb_script_log_error(L);
  fflush(NULL); /* what the script has written by now is written once, and not by each child */
  ready.nsockets = sockets->count;
  int r = mb_pool_channel_send(g->start->channel, &ready, sockets);
  if (r < 0) {
    mb_log(LOG_ERR, "pool: cannot tell that the script is loaded: %s", strerror(-r));
    return MB_EXIT_SYSTEM;
  }
  return MB_EXIT_OK;
}
