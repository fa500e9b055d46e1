/*
 * The mathematical functions of the C library, libm. Lua's library calls them for math, and for the operators ^ and %
 * of floats. Most connections call none, and to map libm takes a twentieth of a start. So the program does not link to
 * it. It is loaded with a script that may call a function of it (app/script.c), or when one is called nevertheless.
 */
#ifndef MB_MATHEMATICS_H
#define MB_MATHEMATICS_H

/*
 * Loads libm now: a process that has locked itself, or has no descriptors left, could not do so later. Modules in C
 * that are loaded later have it, too, as they may rely on the program for it. A failure shows when a function is
 * called.
 */
void mb_mathematics_load(void);

#endif
