/* How the log shows a text: nothing in it can forge a line, drive a terminal, or turn what follows around. */
#ifndef MB_LOG_ESCAPE_H
#define MB_LOG_ESCAPE_H

#include <stddef.h>

/*
 * Writes the text up to end to `to`, which has `room` bytes and gets no NUL at the end. Characters of
 * UTF-8 (RFC 3629) stand for themselves. \xNN stands for each byte of a control character (tabs aside), of
 * a character that ends a line or changes the direction of writing (U+2028, U+202E and their like), and
 * of what is no UTF-8. Async-signal-safe.
 * Returns how many bytes it wrote, and sets *text to where it stopped.
 */
size_t mb_log_show(char *to, size_t room, const char **text, const char *end);

/* Does the same with a text of len bytes, as far as it fits, and ends it with a NUL. Async-signal-safe. */
void mb_log_escape(char *to, size_t size, const char *text, size_t len);

/* Returns how many bytes at the end of a text may be the begin of a character that goes on behind it. */
size_t mb_log_unfinished(const char *text, size_t len);

#endif
