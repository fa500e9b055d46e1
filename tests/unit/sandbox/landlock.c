/*
 * src/sandbox/landlock.c: what it asks each version of Landlock for. The kernel is played by this
 * test's syscall(), so that all versions can be seen, and nothing is locked.
 */
#include "sandbox/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../lib/tap.h"

enum { CREATE_RULESET = 444, ADD_RULE = 445, RESTRICT_SELF = 446 };

/* Rights over files, as <linux/landlock.h> of Linux 6.10 numbers them. */
enum {
  EXECUTE = 1 << 0,
  WRITE_FILE = 1 << 1,
  READ_FILE = 1 << 2,
  READ_DIR = 1 << 3,
  MAKE_CHAR = 1 << 6,
  MAKE_BLOCK = 1 << 11,
  REFER = 1 << 13,
  TRUNCATE = 1 << 14,
  IOCTL_DEV = 1 << 15
};

/* ---- the kernel ---- */

static struct {
  int abi;   /* 0: none */
  int error; /* of landlock_create_ruleset; 0: it works */
  size_t set_size;
  uint64_t set[3]; /* rights over files, over ports, scopes */
  int rules;
  int rule_type; /* of the last one */
  uint64_t rule_rights, rule_port;
  bool is_directory; /* what the last rule is about */
  int entered;
} kernel;

static int create_ruleset(const void *set, size_t size, unsigned flags) {
  if (kernel.error) return -kernel.error;
  if (flags == 1) return !set && size == 0 ? kernel.abi : -EINVAL;
  memset(kernel.set, 0, sizeof kernel.set);
  /* A kernel refuses fields that it does not know. */
  size_t known = kernel.abi >= 6 ? 24 : kernel.abi >= 4 ? 16 : 8;
  if (size > known || size < 8) return -E2BIG;
  kernel.set_size = size;
  memcpy(kernel.set, set, size);
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (fd < 0) tap_bail("no descriptor for a ruleset");
  return fd;
}

static int add_rule(int type, const void *rule) {
  struct stat st;
  int fd;
  kernel.rule_type = type;
  memcpy(&kernel.rule_rights, rule, 8);
  if (type == 2) {
    kernel.rules++;
    memcpy(&kernel.rule_port, (const char *)rule + 8, 8);
    return 0;
  }
  memcpy(&fd, (const char *)rule + 8, 4);
  if (fstat(fd, &st) != 0) return -EBADF;
  kernel.is_directory = S_ISDIR(st.st_mode);
  /* A kernel refuses rights for a file that only directories can have. */
  const uint64_t of_files = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;
  if (!kernel.is_directory && kernel.rule_rights & ~of_files) return -EINVAL;
  kernel.rules++;
  return 0;
}

/* Stands before the function of the C library, which has no prototype with arguments. */
long syscall(long number, ...) {
  va_list args;
  int r = -ENOSYS;
  va_start(args, number);
  if (number == CREATE_RULESET) {
    const void *set = va_arg(args, const void *);
    /* The 0 that asks for the version may be an int. */
    size_t size = set ? va_arg(args, size_t) : (size_t)va_arg(args, int);
    r = create_ruleset(set, size, va_arg(args, unsigned));
  } else if (number == ADD_RULE) {
    (void)va_arg(args, int);
    int type = va_arg(args, int);
    r = add_rule(type, va_arg(args, const void *));
  } else if (number == RESTRICT_SELF) {
    kernel.entered++;
    r = 0;
  }
  va_end(args);
  if (r < 0) errno = -r;
  return r < 0 ? -1 : r;
}

static void boot(int abi) {
  memset(&kernel, 0, sizeof kernel);
  kernel.abi = abi;
}

/* ---- the tests ---- */

#define NEWEST 8

/* The first version has 13 rights; others came one at a time. */
static uint64_t rights_known(int abi) {
  uint64_t rights = (1 << 13) - 1;
  if (abi >= 2) rights |= REFER;
  if (abi >= 3) rights |= TRUNCATE;
  if (abi >= 5) rights |= IOCTL_DEV;
  return rights;
}

static void versions(void) {
  boot(0);
  kernel.error = ENOSYS;
  tap_int(mb_landlock_abi(), 0, "a kernel without Landlock");
  kernel.error = EOPNOTSUPP;
  tap_int(mb_landlock_abi(), 0, "Landlock is switched off");
  struct mb_landlock l;
  tap_int(mb_landlock_open(&l, 0), -ENOSYS, "then there is no ruleset");
  kernel.error = EPERM;
  tap_int(mb_landlock_abi(), -EPERM, "Landlock is forbidden");
  tap_int(mb_landlock_open(&l, 0), -EPERM, "then there is none, either");
  boot(7);
  tap_int(mb_landlock_abi(), 7, "version 7");
}

/* Whatever is not allowed by a rule is to be refused, of all that the kernel knows. */
static void rulesets(void) {
  static const struct {
    unsigned wishes;
    uint64_t ports, scopes; /* 1: bind, 2: connect; 1: abstract sockets, 2: signals */
  } rows[] = {
      {0, 3, 3},
      {MB_WISH_EXEC | MB_WISH_UNIX | MB_WISH_UDP, 3, 3},
      {MB_WISH_TCP, 3, 3},
      {MB_WISH_LISTEN, 2, 3},
      {MB_WISH_TCP | MB_WISH_ANY_TCP, 1, 2},
      {MB_WISH_TCP | MB_WISH_ANY_TCP | MB_WISH_LISTEN, 0, 2},
  };
  for (int abi = 1; abi <= NEWEST; abi++) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
      struct mb_landlock l;
      boot(abi);
      int r = mb_landlock_open(&l, rows[i].wishes);
      uint64_t ports = abi >= 4 ? rows[i].ports : 0, scopes = abi >= 6 ? rows[i].scopes : 0;
      tap_ok(r == 0 && l.abi == abi && kernel.set[0] == rights_known(abi) &&
                 kernel.set[1] == ports && kernel.set[2] == scopes,
             "version %d, wishes 0x%x: files 0x%llx, ports %llu, scopes %llu", abi, rows[i].wishes,
             (unsigned long long)kernel.set[0], (unsigned long long)kernel.set[1],
             (unsigned long long)kernel.set[2]);
      mb_landlock_close(&l);
      tap_int(l.fd, -1, "the ruleset is closed");
    }
  }
}

static int allow(const struct mb_landlock *l, const char *path, enum mb_sandbox_right right,
                 bool is_optional) {
  const struct mb_sandbox_path rule = {.path = path, .right = right, .is_optional = is_optional};
  return mb_landlock_allow(l, &rule);
}

static void paths(const char *directory, const char *file) {
  static const struct {
    enum mb_sandbox_right right;
    const char *name;
    uint64_t of_directory, of_file; /* by the newest version */
  } rows[] = {
      {MB_RIGHT_READ, "read", READ_FILE | READ_DIR, READ_FILE},
      {MB_RIGHT_WRITE, "write",
       /* all but to run it, to make devices, and IOCTL_DEV */
       ((1 << 15) - 1) & ~(EXECUTE | MAKE_CHAR | MAKE_BLOCK), READ_FILE | WRITE_FILE | TRUNCATE},
      {MB_RIGHT_EXEC, "exec", EXECUTE | READ_FILE | READ_DIR, EXECUTE | READ_FILE},
      {MB_RIGHT_DEVICE, "device", READ_FILE | WRITE_FILE | TRUNCATE,
       READ_FILE | WRITE_FILE | TRUNCATE},
  };
  for (int abi = 1; abi <= NEWEST; abi++) {
    struct mb_landlock l;
    boot(abi);
    if (mb_landlock_open(&l, 0) < 0) tap_bail("no ruleset");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
      int r = allow(&l, directory, rows[i].right, false);
      tap_ok(r == 0 && kernel.rule_type == 1 && kernel.is_directory &&
                 kernel.rule_rights == (rows[i].of_directory & rights_known(abi)),
             "version %d: %s of a directory: 0x%llx", abi, rows[i].name,
             (unsigned long long)kernel.rule_rights);
      r = allow(&l, file, rows[i].right, false);
      tap_ok(r == 0 && kernel.rule_type == 1 && !kernel.is_directory &&
                 kernel.rule_rights == (rows[i].of_file & rights_known(abi)),
             "version %d: %s of a file: 0x%llx", abi, rows[i].name,
             (unsigned long long)kernel.rule_rights);
    }
    mb_landlock_close(&l);
  }
}

static void missing_paths(const char *directory) {
  struct mb_landlock l;
  char none[4200];
  boot(7);
  if (mb_landlock_open(&l, 0) < 0) tap_bail("no ruleset");
  snprintf(none, sizeof none, "%s/none", directory);
  tap_int(allow(&l, none, MB_RIGHT_READ, false), -ENOENT, "a path that does not exist");
  tap_int(allow(&l, none, MB_RIGHT_READ, true), 0, "one that need not");
  tap_int(allow(&l, "", MB_RIGHT_READ, true), 0, "an empty one, which need not, either");
  tap_int(kernel.rules, 0, "none of them has a rule");
  mb_landlock_close(&l);
}

static void ports(void) {
  for (int abi = 1; abi <= NEWEST; abi++) {
    struct mb_landlock l;
    boot(abi);
    if (mb_landlock_open(&l, MB_WISH_TCP) < 0) tap_bail("no ruleset");
    int r = mb_landlock_allow_port(&l, 65535);
    bool is_known = kernel.rules == 1 && kernel.rule_type == 2 && kernel.rule_rights == 2 &&
                    kernel.rule_port == 65535;
    tap_ok(r == 0 && (abi >= 4 ? is_known : kernel.rules == 0), "version %d: a port", abi);
    tap_int(mb_landlock_enter(&l), 0, "the process enters the ruleset");
    tap_int(kernel.entered, 1, "once");
    mb_landlock_close(&l);
  }
}

/* Returns how many descriptors are open, of those that this test can have. */
static int count_open(void) {
  int count = 0;
  for (int fd = 0; fd < 256; fd++) count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

int main(void) {
  char directory[4096], file[4200];
  const char *temporary = getenv("TMPDIR");
  int before = count_open();
  snprintf(directory, sizeof directory, "%s/landlock.XXXXXX", temporary ? temporary : "/tmp");
  if (!mkdtemp(directory)) tap_bail("no directory");
  snprintf(file, sizeof file, "%s/file", directory);
  int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) tap_bail("no file");
  close(fd);
  versions();
  rulesets();
  paths(directory, file);
  missing_paths(directory);
  ports();
  tap_int(count_open(), before, "no descriptor is left open");
  unlink(file);
  rmdir(directory);
  return tap_done();
}
