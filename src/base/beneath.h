/*
 * Opens files below a directory. Must never open one outside of it, whatever the path and its symbolic links are, and
 * whoever moves directories meanwhile.
 */
#ifndef MB_BENEATH_H
#define MB_BENEATH_H

/*
 * Opens a file (openat2(2) with RESOLVE_BENEATH). Symbolic links that stay within the directory are followed; without
 * openat2 none is.
 * root   a directory, which may be open by O_PATH
 * path   relative; "." for the directory itself
 * flags  as for open(2), to read only; O_CLOEXEC and O_NOCTTY are added
 * Returns a descriptor, or -errno: -EXDEV when the path leads out of the directory, -ELOOP also for a link that is not
 * followed.
 */
int mb_beneath_open(int root, const char *path, int flags);

/* The same without openat2. */
int mb_beneath_walk(int root, const char *path, int flags);

#endif
