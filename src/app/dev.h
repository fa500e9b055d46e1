/*
 * Development: --serve --dev, for a person who writes the script. Each connection is served by the text that the files
 * have then, also one that was kept for another request, and errors are shown to the client.
 *
 *   dev.c        a process that serves connections
 *   dev_core.c   what Lua modules need of it (lua/mb/dev*)
 *   dev_files.c  the files that were loaded
 *   dev_watch.c  the first process of the pool: notices when they change
 *
 * No other mode calls anything of it.
 */
#ifndef MB_DEV_H
#define MB_DEV_H

#include <lua.h>

#include "app/connection.h"
#include "app/options.h"
#include "app/script.h"
#include "base/exits.h"
#include "socket/handle.h"

/* From now on files are watched, and errors are kept and shown. Returns false, and logs why, when it cannot. */
bool mb_dev_begin(void);

/* ---- loading ---- */

/* Forgets what was loaded, notes the script, and has the state note what it loads. Returns as mb_state_call does. */
int mb_dev_prepare(lua_State *L, const char *script);

/* Keeps a text of an error for the client. Does nothing before mb_dev_begin. */
void mb_dev_keep_error(const char *text, size_t len);

/* Keeps the error on top of the stack, and logs the lines of the script that it names. */
void mb_dev_show_error(lua_State *L);

/*
 * Does what mb_script_run_pool does. When the script does not load, calls body with a listener for any connection, so
 * that there is somebody to whom the error can be shown.
 */
enum mb_exit mb_dev_run_pool(const struct mb_options *options, const struct mb_addr *local,
                             mb_script_body *body, void *context);

/* ---- serving ---- */

/*
 * Serves an open connection, and ends it in any case. Loads the script for it, and again when it was handed over as
 * the text has changed.
 */
enum mb_exit mb_dev_serve(const struct mb_options *options, struct mb_connection *connection);

/*
 * Gives the handle what another text has read already, and notes what the client sends and how much it gets, so that
 * an error can be answered. May throw.
 */
void mb_dev_attach(lua_State *L, struct mb_handle *h, struct mb_connection *connection);

/* Takes the connection back from a handler that has failed, if the client has got nothing of an answer. */
void mb_dev_take_back(struct mb_handle *h, struct mb_connection *connection);

/* Answers with the error that was kept, if the connection is still there and its client speaks HTTP. */
void mb_dev_answer(const struct mb_options *options, struct mb_connection *connection,
                   enum mb_exit exit);

#endif
