/* The transport of what is no socket: the two files of a replay, and pipes. */
#ifndef MB_TRANSPORT_FILES_H
#define MB_TRANSPORT_FILES_H

#include "base/transport.h"

extern const struct mb_transport mb_transport_files;

#endif
