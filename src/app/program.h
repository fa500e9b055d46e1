/*
 * In what mb-handle and mb-handle-static differ, which are linked from the same objects: src/app/program.c is for
 * mb-handle, src/static/program.c for mb-handle-static, and takes the place of src/app/deploy.c there, too.
 */
#ifndef MB_PROGRAM_H
#define MB_PROGRAM_H

#include <stdbool.h>

#include "app/options.h"

/* "mb-handle" or "mb-handle-static": for --help and --version. Messages call both mb-handle. */
extern const char mb_program_name[];

/*
 * Answers a request about names (names_record.h), if this process was started for that. main calls it before anything
 * else.
 * ret_status  the exit status, when it returns true: the process is to end then
 */
bool mb_program_helps(int argc, char **argv, int *ret_status);

/*
 * Becomes mb-handle where this program cannot do what the options say. It is called before a descriptor has changed,
 * and returns where there is nothing to hand over, or if mb-handle cannot be executed: mb_deploy says so then.
 */
void mb_program_hand_over(const struct mb_options *options, char **argv);

/* Returns whether mb-handle-static has handed its work over to this process. */
bool mb_program_asked_by_static(void);

/* argv[0] of a process to which work is handed over. */
#define MB_PROGRAM_ASKING "mb-handle-static"

#endif
