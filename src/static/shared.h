/* mb-handle, the shared program: where it is, and what it is asked about names. */
#ifndef MB_STATIC_SHARED_H
#define MB_STATIC_SHARED_H

#include <limits.h>

#include "base/names_record.h"

/*
 * Finds mb-handle, which is installed beside mb-handle-static: the path of this program without "-static".
 * Returns 0; -ENOENT: this program's name does not end so; or another -errno.
 */
int mb_shared_find(char ret_path[PATH_MAX]);

/*
 * Sends a request to a process of mb-handle, and receives the answer. The process has no descriptor of ours, it ends
 * with us, and nobody else can wait for it. Waits without a limit, as a look-up by the C library does; signals are
 * handled meanwhile. When there is no answer, the log says why, and what to do; a process has 16 such lines at most.
 * Without descriptors or memory it says nothing: the caller has the error, and may try again.
 * request  it fits into the buffer of a socket: a few texts that are shorter than NI_MAXHOST; it is freed
 * about    what is looked up, for the log
 * Returns 0, with an answer that is to be freed, in which the three numbers come next; or -errno.
 */
int mb_shared_ask(struct mb_names_record *request, const char *about,
                  struct mb_names_record *ret_answer);

#endif
