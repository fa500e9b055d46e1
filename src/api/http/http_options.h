/*
 * The options of generate_handler: one row says all about an option. lua/mb/http/options.lua checks
 * those that a script gives.
 */
#ifndef MB_HTTP_OPTIONS_H
#define MB_HTTP_OPTIONS_H

#include <lua.h>

/*
 * core.options()
 * Returns a table of all options that have a default, with it.
 */
int mb_http_options(lua_State *L);

/*
 * core.option_rows()
 * Returns a table that has for each option's name a table {type=, least=, most=, older=}.
 */
int mb_http_option_rows(lua_State *L);

/*
 * core.option_text(name)
 * Returns what an option is for, in a few words; nothing when there is no such option. It is asked for
 * only when an option is wrong: right ones do not pay for the texts.
 */
int mb_http_option_text(lua_State *L);

#endif
