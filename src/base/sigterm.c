/* SIGTERM. Knows neither Lua nor the log. */
#include "base/sigterm.h"

#include <signal.h>
#include <stddef.h>

/* caught: the script wants to know of it. held: it does not end the process, whether the script catches it or not. */
static bool caught, held;
static volatile sig_atomic_t has_come, is_new, has_ever_come;

static void note(int signal_number) {
  (void)signal_number;
  has_come = is_new = has_ever_come = 1;
}

static bool install(void) {
  const struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
  bool done = sigaction(SIGTERM, &action, NULL) == 0;
  sigset_t set; /* the process that started us may have blocked it */
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  return done;
}

void mb_sigterm_catch(void) {
  if (caught) return;
  caught = held || install();
  if (has_ever_come) has_come = is_new = 1; /* the script learns of one that was held, too */
}

void mb_sigterm_hold(void) {
  if (!held) held = install();
}

bool mb_sigterm_held(void) { return held && has_ever_come; }

void mb_sigterm_forget(void) {
  if (!caught) return;
  if (!held) signal(SIGTERM, SIG_DFL);
  caught = false;
  has_come = is_new = 0;
}

bool mb_sigterm_has_come(void) { return has_come; }

bool mb_sigterm_take(void) {
  bool taken = is_new;
  is_new = 0;
  return taken;
}
