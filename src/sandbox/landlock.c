/* Landlock, by its numbers: the headers of most systems are older than their kernels. */
#include "sandbox/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_landlock_create_ruleset /* the same on all architectures */
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif

enum { FLAG_VERSION = 1, RULE_PATH = 1, RULE_PORT = 2 };

/* Rights over files. From REFER on, only newer versions know them. */
enum {
  EXECUTE = 1 << 0,
  WRITE_FILE = 1 << 1,
  READ_FILE = 1 << 2,
  READ_DIR = 1 << 3,
  REMOVE_DIR = 1 << 4,
  REMOVE_FILE = 1 << 5,
  MAKE_CHAR = 1 << 6,
  MAKE_DIR = 1 << 7,
  MAKE_REG = 1 << 8,
  MAKE_SOCK = 1 << 9,
  MAKE_FIFO = 1 << 10,
  MAKE_BLOCK = 1 << 11,
  MAKE_SYM = 1 << 12,
  REFER = 1 << 13,
  TRUNCATE = 1 << 14,
  IOCTL_DEV = 1 << 15,
};
#define RIGHTS_OF_ABI_1 (REFER - 1)
/* A rule for a file may have these only. */
#define RIGHTS_OF_FILES (EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV)

enum { BIND_TCP = 1 << 0, CONNECT_TCP = 1 << 1 };
enum { SCOPE_ABSTRACT = 1 << 0, SCOPE_SIGNAL = 1 << 1 };

struct ruleset {
  uint64_t files, ports, scopes;
};

/* The kernel's structure has no padding at its end. */
struct __attribute__((packed)) path_rule {
  uint64_t rights;
  int32_t fd;
};

struct port_rule {
  uint64_t rights, port;
};

static uint64_t known_rights(int abi) {
  uint64_t rights = RIGHTS_OF_ABI_1;
  if (abi >= 2) rights |= REFER;
  if (abi >= 3) rights |= TRUNCATE;
  if (abi >= 5) rights |= IOCTL_DEV;
  return rights;
}

static uint64_t rights_of(enum mb_sandbox_right right) {
  switch (right) {
    case MB_RIGHT_READ:
      return READ_FILE | READ_DIR;
    case MB_RIGHT_WRITE:
      /* No devices: who may make one reaches all of the disk. */
      return READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR |
             MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM | REFER;
    case MB_RIGHT_EXEC:
      return EXECUTE | READ_FILE | READ_DIR;
    case MB_RIGHT_DEVICE:
      return READ_FILE | WRITE_FILE | TRUNCATE;
  }
  return 0;
}

int mb_landlock_abi(void) {
  long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, FLAG_VERSION);
  if (abi < 0 && errno == EPERM) return -EPERM;
  return abi > 0 ? (int)abi : 0;
}

int mb_landlock_open(struct mb_landlock *ret, unsigned wishes) {
  int abi = mb_landlock_abi();
  if (abi < 0) return abi;
  if (abi == 0) return -ENOSYS;
  struct ruleset set = {.files = known_rights(abi)};
  size_t size =
      offsetof(struct ruleset, ports); /* an older version refuses what it does not know */
  if (abi >= 4) {
    size = offsetof(struct ruleset, scopes);
    if (!(wishes & MB_WISH_ANY_TCP)) set.ports |= CONNECT_TCP;
    if (!(wishes & MB_WISH_LISTEN)) set.ports |= BIND_TCP;
  }
  if (abi >= 6) {
    size = sizeof set;
    set.scopes = SCOPE_SIGNAL;
    if (!(wishes & MB_WISH_ANY_TCP)) set.scopes |= SCOPE_ABSTRACT;
  }
  long fd = syscall(SYS_landlock_create_ruleset, &set, size, 0);
  if (fd < 0) return -errno;
  *ret = (struct mb_landlock){.abi = abi, .fd = (int)fd};
  return 0;
}

static int add_path(const struct mb_landlock *l, const struct path_rule *rule) {
  return syscall(SYS_landlock_add_rule, l->fd, RULE_PATH, rule, 0) == 0 ? 0 : -errno;
}

int mb_landlock_allow(const struct mb_landlock *l, const struct mb_sandbox_path *path) {
  int fd = open(path->path, O_PATH | O_CLOEXEC);
  if (fd < 0) return path->is_optional ? 0 : -errno;
  struct path_rule rule = {.rights = rights_of(path->right) & known_rights(l->abi), .fd = fd};
  int r = add_path(l, &rule);
  if (r == -EINVAL) { /* the rights of a directory, for a file */
    rule.rights &= RIGHTS_OF_FILES;
    r = add_path(l, &rule);
  }
  close(fd);
  return r;
}

int mb_landlock_allow_port(const struct mb_landlock *l, uint16_t port) {
  const struct port_rule rule = {.rights = CONNECT_TCP, .port = port};
  if (l->abi < 4) return 0;
  return syscall(SYS_landlock_add_rule, l->fd, RULE_PORT, &rule, 0) == 0 ? 0 : -errno;
}

int mb_landlock_enter(const struct mb_landlock *l) {
  return syscall(SYS_landlock_restrict_self, l->fd, 0) == 0 ? 0 : -errno;
}

void mb_landlock_close(struct mb_landlock *l) {
  if (l->fd >= 0) close(l->fd);
  l->fd = -1;
}
