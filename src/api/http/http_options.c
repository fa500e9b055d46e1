/*
 * The options of generate_handler. They are rows in C, as a connection whose script gives no options
 * must not pay for reading how to check them.
 */
#include "api/http/http_options.h"

#include <stdint.h>

/* What a value may be; mb.http.options checks it. */
enum type { INTEGER, INTEGER_OR_FALSE, SECONDS, HEADERS };
static const char types[][17] = {"integer", "integer_or_false", "seconds", "headers"};

/* Sizes are in bytes, times in seconds. A new option is a row, its use, and its entry in moonbridge_http(3). */
static const struct row {
  char name[26], older[18]; /* older: another spelling; "": none */
  uint8_t type;
  lua_Integer least, most; /* of an integer */
  lua_Integer fallback;    /* without the option; 0: nothing */
  char text[64];           /* what the option is for */
} rows[] = {
    /* A form with some photographs fits: the content is kept in memory. */
    {"request_body_size_limit", "body_size_limit", INTEGER_OR_FALSE, 0, LUA_MAXINTEGER, 64 << 20,
     "what a request body may have"},
    /* Browsers send less than 8 KiB, but for cookies. */
    {"request_header_size_limit", "header_size_limit", INTEGER, 64, 16 << 20, 65536,
     "what a request's head may have"},
    {"chunk_size", "", INTEGER, 1, 1 << 30, 0, "the default of the next two"},
    {"maximum_input_chunk_size", "", INTEGER, 1, 1 << 30, 65536,
     "what a streaming function gets at most"},
    /* Most pages are sent in one piece, then, and with their length. */
    {"minimum_output_chunk_size", "", INTEGER, 0, 1 << 30, 16384,
     "what is collected before it is sent"},
    {"static_headers", "", HEADERS, 0, 0, 0, "header fields for every response"},
    /* A little more than browsers and proxies wait. */
    {"idle_timeout", "", SECONDS, 0, 0, 65, "until a request begins"},
    {"request_header_timeout", "", SECONDS, 0, 0, 120,
     "from there to the end of the request's head"},
    {"stall_timeout", "", SECONDS, 0, 0, 60, "while no byte comes or goes"},
    {"response_timeout", "", SECONDS, 0, 0, 3600,
     "from the request's head to the end of the response"},
    {"drain_timeout", "", SECONDS, 0, 0, 2,
     "while input is dropped before the connection is closed"},
};

enum { ROWS = sizeof rows / sizeof *rows };

static void push_no_headers(lua_State *L) {
  lua_createtable(L, 0, 2);
  lua_pushliteral(L, "");
  lua_setfield(L, -2, "text");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "dated");
}

int mb_http_options(lua_State *L) {
  lua_createtable(L, 0, ROWS);
  for (int i = 0; i < ROWS; i++) {
    if (rows[i].type == HEADERS) {
      push_no_headers(L);
    } else if (rows[i].fallback) {
      lua_pushinteger(L, rows[i].fallback);
    } else {
      continue;
    }
    lua_setfield(L, -2, rows[i].name);
  }
  return 1;
}

int mb_http_option_rows(lua_State *L) {
  lua_createtable(L, 0, ROWS);
  for (int i = 0; i < ROWS; i++) {
    lua_createtable(L, 0, 3);
    lua_pushstring(L, types[rows[i].type]);
    lua_setfield(L, -2, "type");
    lua_pushinteger(L, rows[i].least);
    lua_setfield(L, -2, "least");
    lua_pushinteger(L, rows[i].most);
    lua_setfield(L, -2, "most");
    if (rows[i].older[0]) {
      lua_pushstring(L, rows[i].older);
      lua_setfield(L, -2, "older");
    }
    lua_setfield(L, -2, rows[i].name);
  }
  return 1;
}
