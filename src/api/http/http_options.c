/*
 * The options of generate_handler. They are rows in C, as a connection whose script gives no options
 * must not pay for reading how to check them.
 */
#include "api/http/http_options.h"

#include <lauxlib.h>
#include <stdint.h>
#include <string.h>

/* The type of a value; mb.http.options checks it. */
enum type { INTEGER, INTEGER_OR_FALSE, SECONDS, HEADERS, FUNCTION };
static const char types[][17] = {"integer", "integer_or_false", "seconds", "headers", "function"};

/* Sizes are in bytes, times in seconds. A new option is a row, its use, and its entry in moonbridge_http(3). */
static const struct row {
  char name[26], older[18]; /* older: another spelling; "": none */
  uint8_t type;
  lua_Integer least, most; /* of an integer */
  lua_Integer fallback;    /* without the option; 0: nothing */
  char text[64];           /* what the option is for: an error about its value ends with it */
} rows[] = {
    /* A file of many megabytes fits, whether it is streamed or read as request.body. */
    {"request_body_size_limit", "body_size_limit", INTEGER_OR_FALSE, 0, LUA_MAXINTEGER, 64 << 20,
     "the most bytes of a request body"},
    /* Many pages of text fit. A script that takes files has functions for them. */
    {"request_form_size_limit", "", INTEGER_OR_FALSE, 0, LUA_MAXINTEGER, 1 << 20,
     "the most bytes of a form that are kept in memory"},
    /* Without cookies, browsers send less than 8 KiB. */
    {"request_header_size_limit", "header_size_limit", INTEGER, 64, 16 << 20, 65536,
     "the most bytes of a request's head"},
    {"chunk_size", "", INTEGER, 1, 1 << 30, 0, "the default of the other two chunk sizes"},
    {"maximum_input_chunk_size", "", INTEGER, 1, 1 << 30, 65536,
     "the most bytes that a streaming function gets at once"},
    /* Most pages are sent in one piece, then, and with their length. */
    {"minimum_output_chunk_size", "", INTEGER, 0, 1 << 30, 16384,
     "the bytes that are collected before they are sent"},
    {"static_headers", "", HEADERS, 0, 0, 0, "header fields for every response"},
    /* A little more than browsers and proxies wait. */
    {"idle_timeout", "", SECONDS, 0, 0, 65, "seconds until a request begins"},
    {"request_header_timeout", "", SECONDS, 0, 0, 120,
     "seconds from the first to the last byte of a request's head"},
    {"stall_timeout", "", SECONDS, 0, 0, 60, "seconds in which no byte comes or goes"},
    /* The slowest lines of mobile telephones bring more. */
    {"minimum_input_rate", "", INTEGER_OR_FALSE, 1, 1 << 30, 240,
     "the least bytes a second that a client sends on average"},
    {"response_timeout", "", SECONDS, 0, 0, 3600,
     "seconds from a request's head to the end of its response"},
    {"drain_timeout", "", SECONDS, 0, 0, 2,
     "seconds in which input is dropped before the connection closes"},
    {"on_error", "", FUNCTION, 0, 0, 0, "makes what a client gets with an error"},
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

int mb_http_option_text(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  for (int i = 0; i < ROWS; i++) {
    if (strcmp(rows[i].name, name) != 0) continue;
    lua_pushstring(L, rows[i].text);
    return 1;
  }
  return 0;
}
