/*
 * A descriptor that gets whole lines, and that other processes may write to as well: a file, a pipe, a terminal, a
 * stream to the journal. Never waits for long.
 */
#ifndef MB_LINE_SINK_H
#define MB_LINE_SINK_H

#include <stdbool.h>
#include <stddef.h>

/*
 * A reader that has stopped gets so much time, once. From then on the lines that find no room are dropped without a
 * wait, until one is taken.
 */
#define MB_LINE_SINK_PATIENCE_MS 1000

struct mb_line_sink {
  int fd; /* above 2, with close-on-exec */
  bool is_socket;
  bool blocks; /* a write may wait: the open file is somebody else's, and its flags are, too */
  bool stuck;  /* the last line has found no room */
};

/*
 * Makes a sink of a descriptor, which stays as it is.
 * Returns 0, or -errno with ret untouched.
 */
int mb_line_sink_open(int fd, struct mb_line_sink *ret);

/*
 * Writes a line, which ends with a newline, by one write(2): up to PIPE_BUF bytes stay together in a pipe, and any
 * number in a file with O_APPEND.
 * Returns 0; or -errno: -EAGAIN when there is no room, -EPIPE when the reader has gone, -ENOSPC. The line is lost then.
 */
int mb_line_sink_write(struct mb_line_sink *sink, const char *line, size_t len);

#endif
