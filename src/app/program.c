/* mb-handle, which links to shared libraries. */
#include "app/program.h"

#include <string.h>

#include "base/exits.h"
#include "base/names_answer.h"
#include "base/names_record.h"

const char mb_program_name[] = "mb-handle";

static bool asked_by_static;

bool mb_program_asked_by_static(void) { return asked_by_static; }

bool mb_program_helps(int argc, char **argv, int *ret_status) {
  asked_by_static = argc > 0 && strcmp(argv[0], MB_PROGRAM_ASKING) == 0;
  if (argc != 1 || strcmp(argv[0], MB_NAMES_ARGV0) != 0) return false;
  *ret_status = mb_names_answer() == 0 ? MB_EXIT_OK : MB_EXIT_SYSTEM;
  return true;
}

/* It can do whatever there is to do. */
void mb_program_hand_over(const struct mb_options *options, char **argv) {
  (void)options;
  (void)argv;
}
