/* src/base/beneath.c: files of a directory are opened, and nothing else is, by openat2 and without it. */
#include "base/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/tap.h"

static char top[] = "/tmp/mb-beneath-XXXXXX";
static int root;

static void put(const char *path, const char *text) {
  int fd = openat(root, path, O_WRONLY | O_CREAT, 0644);
  if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) tap_bail(path);
  close(fd);
}

/* The file's text, or the name of the error. */
static const char *get(int (*open_file)(int, const char *, int), const char *path) {
  static char text[64];
  int fd = open_file(root, path, O_RDONLY);
  if (fd < 0)
    return fd == -ENOENT  ? "ENOENT"
           : fd == -EXDEV ? "EXDEV"
           : fd == -ELOOP ? "ELOOP"
                          : strerror(-fd);
  if (!(fcntl(fd, F_GETFD) & FD_CLOEXEC)) return "without close-on-exec";
  ssize_t n = read(fd, text, sizeof text - 1);
  text[n > 0 ? n : 0] = '\0';
  close(fd);
  return n < 0 && errno == EISDIR ? "directory" : text;
}

static const struct {
  const char *path, *by_openat2, *by_walk;
} cases[] = {
    {"a", "in a", "in a"},
    {"d/b", "in b", "in b"},
    {"d/e/c", "in c", "in c"},
    {".", "directory", "directory"},
    {"d", "directory", "directory"},
    {"d/e", "directory", "directory"},
    {"none", "ENOENT", "ENOENT"},
    {"none/a", "ENOENT", "ENOENT"},
    {"a/b", "Not a directory", "Not a directory"},
    {"..", "EXDEV", "ENOENT"},
    {"../outside", "EXDEV", "ENOENT"},
    {"d/../../outside", "EXDEV", "ENOENT"},
    {"/etc/passwd", "EXDEV", "ENOENT"},
    {"", "ENOENT", "ENOENT"},
    /* links */
    {"inner", "in a", "ELOOP"},
    {"d/up", "in a", "ELOOP"},
    {"directory/b", "in b", "ELOOP"},
    {"outer", "EXDEV", "ELOOP"},
    {"absolute", "EXDEV", "ELOOP"},
    {"itself", "EXDEV", "ELOOP"},
    {"above/outside", "EXDEV", "ELOOP"},
    {"d/far", "EXDEV", "ELOOP"},
    {"loop", "ELOOP", "ELOOP"},
    {"magic", "EXDEV", "ELOOP"},
    {"dangling", "ENOENT", "ELOOP"},
};

static void make_files(void) {
  char path[256];
  if (!mkdtemp(top)) tap_bail("mkdtemp");
  snprintf(path, sizeof path, "%s/root", top);
  if (mkdir(path, 0755) != 0) tap_bail("mkdir");
  root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) tap_bail("the root");
  if (mkdirat(root, "d", 0755) != 0 || mkdirat(root, "d/e", 0755) != 0) tap_bail("mkdir");
  put("a", "in a");
  put("d/b", "in b");
  put("d/e/c", "in c");
  put("../outside", "outside");
  static const char *const links[][2] = {{"a", "inner"},
                                         {"../a", "d/up"},
                                         {"d", "directory"},
                                         {"../outside", "outer"},
                                         {"/etc/passwd", "absolute"},
                                         {"..", "above"},
                                         {"../../outside", "d/far"},
                                         {"loop", "loop"},
                                         {"/proc/self/root", "magic"},
                                         {"nothing", "dangling"}};
  for (size_t i = 0; i < sizeof links / sizeof *links; i++)
    if (symlinkat(links[i][0], root, links[i][1]) != 0) tap_bail("symlink");
  snprintf(path, sizeof path, "%s/root/a", top);
  if (symlinkat(path, root, "itself") != 0) tap_bail("symlink");
}

static void remove_files(void) {
  char command[256];
  snprintf(command, sizeof command, "rm -rf %s", top);
  if (system(command) != 0) tap_bail(command);
}

/* Lets openat2 fail from now on, as by an old kernel (ENOSYS) or an old filter (EPERM). Returns whether that works. */
static bool forbid_openat2(unsigned number) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | number),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* Returns whether openat2 is there: valgrind does not know it. */
static bool has_openat2(void) {
  return syscall(SYS_openat2, -1, "", NULL, 0) < 0 && errno != ENOSYS;
}

/* Returns how many descriptors are open. */
static int count_open(void) {
  int count = 0;
  for (int fd = 0; fd < 256; fd++) count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

/* Returns how many cases are as they are without openat2, when it fails with this number; in a process of its own. */
static int count_right_without(unsigned number) {
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) tap_bail("fork");
  if (child == 0) {
    int right = 0;
    if (!forbid_openat2(number)) _exit(255);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
      right += strcmp(get(mb_beneath_open, cases[i].path), cases[i].by_walk) == 0;
    _exit(right);
  }
  int status;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

int main(void) {
  int count = (int)(sizeof cases / sizeof *cases);
  bool there = has_openat2();
  if (!there) puts("# no openat2 here: mb_beneath_open has to do without");
  make_files();
  int before = count_open();
  for (int i = 0; i < count; i++) {
    tap_str(get(mb_beneath_open, cases[i].path), there ? cases[i].by_openat2 : cases[i].by_walk,
            "\"%s\"", cases[i].path);
    tap_str(get(mb_beneath_walk, cases[i].path), cases[i].by_walk, "\"%s\" without openat2",
            cases[i].path);
  }
  static const char *const linked[] = {"inner", "directory", "dangling"};
  for (size_t i = 0; i < sizeof linked / sizeof *linked; i++)
    tap_int(mb_beneath_walk(root, linked[i], O_PATH), -ELOOP, "\"%s\" with O_PATH", linked[i]);
  char deep[600];
  memset(deep, 'x', sizeof deep - 1);
  deep[sizeof deep - 1] = '\0';
  tap_int(mb_beneath_open(root, deep, O_RDONLY), there ? -ENAMETOOLONG : -ENOENT,
          "a name that is too long");
  tap_int(mb_beneath_walk(root, deep, O_RDONLY), -ENOENT, "also without openat2");
  for (int i = 0; i < 2; i++) {
    int fd = (i == 0 ? mb_beneath_open : mb_beneath_walk)(root, "d/b", O_PATH);
    struct stat about;
    tap_ok(fd >= 0 && fstat(fd, &about) == 0 && about.st_size == 4, "O_PATH");
    close(fd);
  }
  tap_int(count_open(), before, "no descriptor stays open");
  tap_int(count_right_without(ENOSYS), count, "a kernel without openat2");
  tap_int(count_right_without(EPERM), count, "a filter that refuses openat2");
  remove_files();
  return tap_done();
}
