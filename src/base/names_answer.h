/*
 * mb-handle as the helper of mb-handle-static: it looks one name up, by the C library and its shared modules (NSS),
 * which a static program must not load. mb-handle-static must not link to this file.
 */
#ifndef MB_NAMES_ANSWER_H
#define MB_NAMES_ANSWER_H

/*
 * Reads one request (names_record.h) from descriptor 0, and writes the answer to descriptor 1. Logs nothing: whoever
 * has asked does that. Returns 0, or -errno when no answer was written.
 */
int mb_names_answer(void);

#endif
