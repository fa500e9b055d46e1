/*
 * What a script prints: print, io.write, io.stderr, and whatever else writes to the C library's stdout and
 * stderr. It goes to the log line by line, by the rules of the log. What a child process writes does not
 * come here.
 */
#ifndef MB_LOG_PRINTED_H
#define MB_LOG_PRINTED_H

/*
 * Sends stdout and stderr of the C library to the log. A line is written when it ends.
 * Returns 0; or -ENOMEM, and both are what stdout was.
 */
int mb_log_capture_stdio(void);

/* Writes the line that the script has begun to print, and how many lines were dropped. Async-signal-safe. */
void mb_log_flush(void);

#endif
