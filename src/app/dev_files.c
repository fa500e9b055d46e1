/* The files that this process has loaded for the script. Knows neither Lua nor inotify. */
#include "app/dev_files.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rare.h"

struct noted {
  char *name;
  struct mb_dev_file file;
};

static struct noted *list[MB_DEV_FILES_MAX];
static int count;
static int tell_fd = -1;

struct mb_dev_stamp mb_dev_stamp_of(const char *path) {
  struct stat st;
  if (stat(path, &st) != 0) return (struct mb_dev_stamp){0};
  return (struct mb_dev_stamp){.exists = true,
                               .device = st.st_dev,
                               .inode = st.st_ino,
                               .size = st.st_size,
                               .changed = st.st_ctim,
                               .modified = st.st_mtim};
}

static bool times_differ(struct timespec a, struct timespec b) {
  return a.tv_sec != b.tv_sec || a.tv_nsec != b.tv_nsec;
}

bool mb_dev_stamp_differs(const struct mb_dev_stamp *a, const struct mb_dev_stamp *b) {
  return a->exists != b->exists || a->device != b->device || a->inode != b->inode ||
         a->size != b->size || times_differ(a->modified, b->modified) ||
         times_differ(a->changed, b->changed);
}

void mb_dev_files_tell(int fd) { tell_fd = fd; }

void mb_dev_files_forget(void) {
  for (int i = 0; i < count; i++) {
    free(list[i]->name);
    free(list[i]);
  }
  count = 0;
}

/* Writes the absolute path. Returns false when it is too long. */
static bool complete(const char *name, char *path, size_t size) {
  char here[PATH_MAX];
  int n;
  if (*name == '/') {
    n = snprintf(path, size, "%s", name);
  } else {
    if (!MB_RARE(getcwd)(here, sizeof here)) return false;
    n = snprintf(path, size, "%s/%s", here, strncmp(name, "./", 2) == 0 ? name + 2 : name);
  }
  return n > 0 && (size_t)n < size;
}

static void tell(const struct noted *noted) {
  const char *bytes = (const char *)noted + offsetof(struct noted, file);
  size_t size = offsetof(struct mb_dev_file, path) + strlen(noted->file.path) + 1;
  /* A pipe that is full loses it: what this process has loaded is looked at in any case. */
  if (tell_fd >= 0 && write(tell_fd, bytes, size) < 0) return;
}

static bool is_noted(const char *name) {
  for (int i = 0; i < count; i++) {
    if (strcmp(list[i]->name, name) == 0) return true;
  }
  return false;
}

void mb_dev_files_note(const char *name) {
  if (count == MB_DEV_FILES_MAX || is_noted(name)) return;
  struct noted *noted = malloc(sizeof *noted);
  char *copy = MB_RARE(strdup)(name);
  if (!noted || !copy || !complete(name, noted->file.path, sizeof noted->file.path)) {
    free(noted);
    free(copy);
    return;
  }
  noted->name = copy;
  noted->file.stamp = mb_dev_stamp_of(noted->file.path);
  list[count++] = noted;
  tell(noted);
}

bool mb_dev_files_changed(void) {
  for (int i = 0; i < count; i++) {
    struct mb_dev_stamp now = mb_dev_stamp_of(list[i]->file.path);
    if (mb_dev_stamp_differs(&list[i]->file.stamp, &now)) return true;
  }
  return false;
}

const char *mb_dev_files_name(int n) { return n < count ? list[n]->name : NULL; }
