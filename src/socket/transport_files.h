/* The transport of the two files of a replay, and of pipes. */
#ifndef MB_TRANSPORT_FILES_H
#define MB_TRANSPORT_FILES_H

#include "base/transport.h"

extern const struct mb_transport mb_transport_files;

#endif
