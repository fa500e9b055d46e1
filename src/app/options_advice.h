/* What is said of a word of the command line that is no option of ours. */
#ifndef MB_OPTIONS_ADVICE_H
#define MB_OPTIONS_ADVICE_H

#include <stdbool.h>

#include "app/options.h"

/*
 * Describes what to write in place of a word that another program may have, and returns true.
 * taken  getopt_long takes the word for an option of ours
 */
bool mb_options_advise(const char *word, bool taken, char error[MB_OPTIONS_ERROR_MAX]);

/*
 * Describes why getopt_long refused a word.
 * c      what getopt_long has returned
 * given  the word that it looked at last
 */
void mb_options_describe_wrong(int c, const char *given, char error[MB_OPTIONS_ERROR_MAX]);

#endif
