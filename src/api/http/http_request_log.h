/*
 * The request log (--access-log): one line for each request that got an answer, or whose client or handler has
 * ended it before. Of moonbridge_http and mb.http_server. Without the option nothing of it runs but a look at one
 * variable.
 */
#ifndef MB_HTTP_REQUEST_LOG_H
#define MB_HTTP_REQUEST_LOG_H

#include <lua.h>

#include "api/http/http_input.h"
#include "http/http_access.h"

/* The format, which the whole process has. Only mb_http_request_log_open sets it. */
extern enum mb_http_access_format mb_http_request_log_format;

/* Returns whether there is a request log. */
static inline bool mb_http_request_log_is_on(void) {
  return mb_http_request_log_format != MB_HTTP_ACCESS_NONE;
}

/*
 * Begins the request log, for the whole life of the process and of those that it forks. Has to be called before
 * mb.http.core is loaded.
 * fd          a descriptor for the lines, which stays as it is; -1: the lines go to the log
 * to_journal  true: to the journal with fields, and where there is none, to fd
 */
void mb_http_request_log_open(enum mb_http_access_format format, int fd, bool to_journal);

/* Notes that the process has a connection from now on: its first request may have come before. */
void mb_http_request_log_connection(void);

/*
 * Writes the lines of the requests that are being answered: the process or the connection ends. Safe enough for
 * the handler of the last alarm, which another one kills.
 */
void mb_http_request_log_end(void);

/* ---- for the input object ---- */

/* Makes the part of the log that belongs to an input. Throws when memory runs out. */
void mb_http_request_log_attach(lua_State *L, struct mb_http_input *in);

/* Writes the line that is still due, and frees that part. */
void mb_http_request_log_detach(struct mb_http_input *in);

/* Notes that the input has looked for a head; the time of a request runs from its first byte. */
void mb_http_request_log_looked(struct mb_http_request_log *log, bool has_bytes);

/* Notes that no whole head is there yet: what comes later has not waited for us. */
void mb_http_request_log_waits(struct mb_http_request_log *log);

/* Notes that a request has come, whose head the input has read. */
void mb_http_request_log_begin(struct mb_http_request_log *log);

/*
 * Notes that a head was refused.
 * head  the whole head, as long as the input reads no other one; no data: it is in the handle's buffer, and stays
 *       there
 */
void mb_http_request_log_refused(struct mb_http_request_log *log, struct mb_span head);

/* ---- for the response ---- */

/*
 * Notes that the head of the final response, or of a 101, is queued next.
 * size  its bytes
 */
void mb_http_request_log_head(struct mb_http_input *in, int status, size_t size);

/*
 * Writes the line of a request whose response has been handed to the system, or has ended early. Does nothing when
 * it was written before.
 * sent  bytes of body that were to be sent; NULL: all that went out behind the head
 */
void mb_http_request_log_done(struct mb_http_input *in, const uint64_t *sent);

/*
 * core.log_head(input, status, size): see mb_http_request_log_head.
 * core.log_request(input, response): see mb_http_request_log_done. response is that of the request, or an integer,
 * the bytes of body that were to be sent, or false; with a 101 the line is written when the connection has ended.
 * core.log_refusal(input, status, bytes): writes the line of a request, or of a head that has come in part, that was
 * answered with this status and so many bytes of body.
 * These are in the module's table only when there is a request log.
 */
void mb_http_request_log_functions(lua_State *L);

#endif
