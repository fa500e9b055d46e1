/* Texts of the values that scripts throw, for the log. */
#ifndef MB_ERROR_TEXT_H
#define MB_ERROR_TEXT_H

#include <lua.h>

/*
 * Pushes a text of the value at an index, which was thrown: of a string or a number the value itself; what
 * its __tostring returns; of anything else its content: "error object: {code = 5}". Calls no other
 * metamethod; when __tostring throws, the text says so. The text is bounded: a message of more than 4 KiB
 * is cut off and its size told; of a table it has two levels, and some fields of each. May throw when
 * memory runs out.
 */
void mb_error_text_push(lua_State *L, int index);

#endif
