/* SIGTERM. Knows neither Lua nor the log. */
#include "base/sigterm.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t has_come, is_new;

static void note(int signal_number) {
  (void)signal_number;
  has_come = is_new = 1;
}

static bool caught;

void mb_sigterm_catch(void) {
  if (caught) return;
  const struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
  caught = sigaction(SIGTERM, &action, NULL) == 0;
  sigset_t set; /* the process that started us may have blocked it */
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void mb_sigterm_forget(void) {
  if (!caught) return;
  signal(SIGTERM, SIG_DFL);
  caught = false;
  has_come = is_new = 0;
}

bool mb_sigterm_has_come(void) { return has_come; }

bool mb_sigterm_take(void) {
  bool taken = is_new;
  is_new = 0;
  return taken;
}
