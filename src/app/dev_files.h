/* The files that this process has loaded for the script, as they were then (--dev). */
#ifndef MB_DEV_FILES_H
#define MB_DEV_FILES_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

/* What tells one text of a file from another. */
struct mb_dev_stamp {
  uint64_t exists; /* 0 or 1; no byte of the struct is padding: it goes through a pipe */
  dev_t device;
  ino_t inode;
  off_t size;
  struct timespec changed,
      modified; /* by whatever is done to it, even when the time of its text is set back */
};

/* A file, as one process tells another of it: one write(2) to a pipe, which takes it whole. */
struct mb_dev_file {
  struct mb_dev_stamp stamp;
  char path[PATH_MAX - sizeof(struct mb_dev_stamp)]; /* absolute */
};

/* More files than a script has. Those beyond are not watched. */
#define MB_DEV_FILES_MAX 512

/* Returns what the file is now. */
struct mb_dev_stamp mb_dev_stamp_of(const char *path);

bool mb_dev_stamp_differs(const struct mb_dev_stamp *a, const struct mb_dev_stamp *b);

/* Names the pipe to which files are told, which does not block; -1: to none. */
void mb_dev_files_tell(int fd);

/* The script is loaded anew: forgets the files. */
void mb_dev_files_forget(void);

/* Notes a file, which is read next, and tells of it. name: as it stands in messages of Lua; may be relative */
void mb_dev_files_note(const char *name);

/* Returns whether a file is not what it was when it was noted. */
bool mb_dev_files_changed(void);

/* Returns the nth name, from 0, or NULL. */
const char *mb_dev_files_name(int n);

#endif
