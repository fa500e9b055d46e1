/*
 * The mathematical functions of the C library, libm. Lua's library calls them for math, and for the operators ^ and %
 * of floats. Most connections call none, and to map libm takes a twentieth of a start. So the program does not link to
 * it, and loads it when a function is first called.
 */
#ifndef MB_MATHEMATICS_H
#define MB_MATHEMATICS_H

/*
 * Loads libm now, for all modules in C that are loaded later: such a module may rely on the program to have it. And a
 * process that locks itself cannot load it later. A failure shows when a function is called.
 */
void mb_mathematics_load(void);

#endif
