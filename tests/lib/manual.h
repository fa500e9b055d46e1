/* The text of the manual and of other files in the source tree, to be compared with the tables. */
#ifndef MB_MANUAL_H
#define MB_MANUAL_H

#include <stdbool.h>

/* Reads a file of the source tree. Bails out when it cannot be read. The caller frees the text. */
char *manual_read(const char *name);

/* Copies what stands between `begin` and the next `end`. Bails out when either is missing. */
char *manual_part(const char *text, const char *begin, const char *end);

/*
 * Calls f for each word of each line that begins with the macro, ".It Fl Fl" say. A word is what stands
 * between spaces.
 */
void manual_words(const char *text, const char *macro, void (*f)(const char *word));

/* Returns whether the text has the formatted one in it. */
bool manual_has(const char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
