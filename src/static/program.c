/* mb-handle-static: what it hands over to mb-handle. Takes the place of program.c and deploy.c in src/app. */
#include "app/program.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "app/deploy.h"
#include "base/log.h"
#include "static/shared.h"

const char mb_program_name[] = "mb-handle-static";

bool mb_program_helps(int argc, char **argv, int *ret_status) {
  (void)argc;
  (void)argv;
  (void)ret_status;
  return false;
}

/* No program hands work over to this one. */
bool mb_program_asked_by_static(void) { return false; }

/* mb-handle, and why it could not be executed. */
static char path[PATH_MAX];
static int failure;

/* These look the account up, and load scripts that may need modules in C. */
void mb_program_hand_over(const struct mb_options *options, char **argv) {
  bool makes_text = mb_options_make_text(options) || options->mode == MB_MODE_CHECK;
  if (!makes_text || options->help || options->version) return;
  failure = -mb_shared_find(path);
  if (failure != 0) {
    strcpy(path, "mb-handle");
    return;
  }
  static char asking[] = MB_PROGRAM_ASKING;
  argv[0] = asking;
  execve(path, argv, environ);
  failure = errno;
}

enum mb_exit mb_deploy(const struct mb_options *options, int out) {
  (void)options;
  close(out);
  mb_log(LOG_ERR,
         "mb-handle-static serves only: --check, --units, --inetd and --xinetd are for mb-handle, "
         "which cannot be "
         "started: %s: %s",
         path, strerror(failure));
  return MB_EXIT_SYSTEM;
}
