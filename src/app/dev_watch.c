/* Watches the files of a script. It watches their directories, as editors put a new file in the place of the old. */
#include "app/dev_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "app/dev_files.h"
#include "base/fdio.h"
#include "base/log.h"
#include "base/rare.h"

/* An editor that saves is done when nothing has happened for so long: it may have removed the file first. */
#define SETTLE_USEC 50000

/* Also a link that is made anew. What has only begun to be written is of no interest. */
#define EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE)

static struct {
  int notices; /* of inotify(7); -1: there are none */
  int told[2]; /* a pipe: the files that processes have loaded */
  int64_t due; /* when the files are looked at; MB_NO_DEADLINE: nothing has happened */
} watch = {.notices = -1, .told = {-1, -1}, .due = MB_NO_DEADLINE};

static struct mb_dev_file *watched[MB_DEV_FILES_MAX];
static int watched_count;

int mb_dev_watch_open(void) {
  if (MB_RARE(pipe2)(watch.told, O_CLOEXEC | O_NONBLOCK) != 0) return -errno;
  watch.notices = MB_RARE(inotify_init1)(IN_NONBLOCK | IN_CLOEXEC);
  if (watch.notices < 0)
    mb_log(LOG_WARNING,
           "--dev: cannot watch files (%s): they are looked at when a request comes; intervals, "
           "mains and addresses need a restart",
           strerror(errno));
  mb_dev_files_tell(watch.told[1]);
  return 0;
}

void mb_dev_watch_leave(void) {
  if (watch.notices >= 0) close(watch.notices);
  if (watch.told[0] >= 0) close(watch.told[0]);
  watch.notices = watch.told[0] = -1;
}

int mb_dev_watch_fds(struct pollfd ret_fds[MB_DEV_WATCH_FDS]) {
  if (watch.told[0] < 0) return 0;
  ret_fds[0] = (struct pollfd){.fd = watch.notices, .events = POLLIN};
  ret_fds[1] = (struct pollfd){.fd = watch.told[0], .events = POLLIN};
  return MB_DEV_WATCH_FDS;
}

static void watch_directory(const char *path) {
  char directory[PATH_MAX];
  const char *slash = strrchr(path, '/');
  if (!slash) return;
  snprintf(directory, sizeof directory, "%.*s", slash == path ? 1 : (int)(slash - path), path);
  /* One that is not there has no file either. */
  MB_RARE(inotify_add_watch)(watch.notices, directory, EVENTS | IN_ONLYDIR);
}

/* Watches a file under its name, and where that leads to by symbolic links. */
static void watch_file(const char *path) {
  if (watch.notices < 0) return;
  watch_directory(path);
  char *real = MB_RARE(realpath)(path, NULL);
  if (real && strcmp(real, path) != 0) watch_directory(real);
  free(real);
}

static void add(const struct mb_dev_file *file) {
  for (int i = 0; i < watched_count; i++) {
    if (strcmp(watched[i]->path, file->path) == 0) return;
  }
  struct mb_dev_file *copy = watched_count < MB_DEV_FILES_MAX ? malloc(sizeof *copy) : NULL;
  if (!copy) return;
  *copy = *file;
  watched[watched_count++] = copy;
  watch_file(copy->path);
  /* It may have changed before it was watched. */
  struct mb_dev_stamp now = mb_dev_stamp_of(copy->path);
  if (mb_dev_stamp_differs(&copy->stamp, &now)) watch.due = mb_now_usec() + SETTLE_USEC;
}

/* Reads what processes have told. Messages stand one after the other, each with a NUL at its end. */
static void read_told(void) {
  static char bytes[2 * sizeof(struct mb_dev_file)];
  static size_t have;
  ssize_t n;
  while ((n = read(watch.told[0], bytes + have, sizeof bytes - have)) > 0) {
    have += (size_t)n;
    size_t at = 0;
    while (have - at > offsetof(struct mb_dev_file, path)) {
      struct mb_dev_file file;
      const char *path = bytes + at + offsetof(struct mb_dev_file, path);
      size_t room = have - at - offsetof(struct mb_dev_file, path);
      const char *end = memchr(path, '\0', room < sizeof file.path ? room : sizeof file.path);
      if (!end) break;
      memset(&file, 0, sizeof file);
      memcpy(&file, bytes + at, (size_t)(end - (bytes + at)));
      add(&file);
      at = (size_t)(end + 1 - bytes);
    }
    have -= at;
    MB_RARE(memmove)(bytes, bytes + at, have);
  }
}

void mb_dev_watch_look(void) {
  char events[4096];
  if (watch.told[0] < 0) return;
  read_told();
  while (watch.notices >= 0 && read(watch.notices, events, sizeof events) > 0)
    watch.due = mb_now_usec() + SETTLE_USEC;
}

/* Returns the name as it is short for a person: without the directory in which he is. */
static const char *short_name(const char *path) {
  static char here[PATH_MAX];
  if (!*here && !MB_RARE(getcwd)(here, sizeof here)) return path;
  size_t len = strlen(here);
  return strncmp(path, here, len) == 0 && path[len] == '/' ? path + len + 1 : path;
}

bool mb_dev_watch_is_due(int64_t now, int64_t *again_at) {
  if (now < watch.due) {
    if (watch.due < *again_at) *again_at = watch.due;
    return false;
  }
  bool changed = false;
  watch.due = MB_NO_DEADLINE;
  for (int i = 0; i < watched_count; i++) {
    struct mb_dev_file *file = watched[i];
    struct mb_dev_stamp stamp = mb_dev_stamp_of(file->path);
    if (!mb_dev_stamp_differs(&file->stamp, &stamp)) continue;
    mb_log(LOG_NOTICE, "%s %s", short_name(file->path),
           stamp.exists ? "has changed" : "is not there any more");
    file->stamp = stamp;
    watch_file(file->path); /* a link may lead elsewhere now */
    changed = true;
  }
  return changed;
}

/* ---- what the terminal shows ---- */

static void log_address(const struct mb_options *options, const struct mb_addr *local) {
  char label[MB_ADDR_LABEL_MAX];
  mb_addr_label(local, label);
  const char *script = options->script ? options->script : "the script";
  if (mb_addr_port(local)) {
    mb_log(LOG_NOTICE, "%s: http://%s/", script, label);
  } else {
    mb_log(LOG_NOTICE, "%s: %s", script, label);
  }
}

static void log_files(void) {
  char names[1024];
  size_t at = 0;
  int shown = 0, left = 0;
  for (int i = 0; i < watched_count; i++) {
    const char *name = short_name(watched[i]->path);
    if (!watched[i]->stamp.exists) continue;
    if (at + strlen(name) + 3 > sizeof names) {
      left++;
    } else {
      at += (size_t)sprintf(names + at, "%s%s", shown++ ? ", " : "", name);
    }
  }
  char more[40] = "";
  if (left > 0) sprintf(more, " and %d more", left);
  if (shown > 0)
    mb_log(LOG_NOTICE, "watching %s%s: the next request runs what you save; Ctrl-C ends", names,
           more);
}

void mb_dev_watch_log(const struct mb_options *options, const struct mb_pool_sockets *sockets,
                      bool again) {
  mb_dev_watch_look(); /* the script was loaded, and its files were told, before */
  if (again) {
    mb_log(LOG_NOTICE, "loaded anew");
    return;
  }
  for (int i = 0; i < sockets->count; i++) log_address(options, &sockets->list[i].local);
  log_files();
}
