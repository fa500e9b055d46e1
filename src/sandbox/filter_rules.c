/* The rules of the filters. An attacker chooses all bits of a register: what the kernel takes as 32 bits is compared so. */
#include "sandbox/filter_rules.h"

#include <errno.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/filter.h"
#include "sandbox/sandbox.h"

#define REFUSED      SCMP_ACT_ERRNO(EPERM)
#define UNKNOWN      SCMP_ACT_ERRNO(ENOSYS)
#define LOW          0xffffffffu
#define CMD_FIFREEZE 0xc0045877u

enum class { ALWAYS, WISH };

static const struct {
  const char *name;
  enum class class;
} calls[] = {
#define MB_CALL(name, class, reason) {name, class},
#include "sandbox/calls.h"
#undef MB_CALL
};

/* Numbers that the headers of some systems lack. */
enum {
  CMD_TIOCSTI = 0x5412,
  CMD_TIOCLINUX = 0x541c,
  CMD_SETFLAGS = 0x40086602,
  CMD_FSSETXATTR = 0x401c5820,
  FLAG_FASTOPEN = 0x20000000,
  PROTOCOL_UDP = 17,
};

static bool only_arguments; /* rules for a call whatever its arguments are left out */

/* Adds a rule. A call that the architecture does not have needs none. */
static int add(scmp_filter_ctx f, uint32_t action, const char *name, unsigned count,
               const struct scmp_arg_cmp *args) {
  if (only_arguments && count == 0) return 0;
  int call = seccomp_syscall_resolve_name(name);
  if (call == __NR_SCMP_ERROR) return 0;
  return seccomp_rule_add_array(f, action, call, count, args);
}

static int refuse(scmp_filter_ctx f, const char *name) { return add(f, REFUSED, name, 0, NULL); }

static int refuse_1(scmp_filter_ctx f, const char *name, struct scmp_arg_cmp a) {
  return add(f, REFUSED, name, 1, &a);
}

static int refuse_2(scmp_filter_ctx f, const char *name, struct scmp_arg_cmp a,
                    struct scmp_arg_cmp b) {
  const struct scmp_arg_cmp both[] = {a, b};
  return add(f, REFUSED, name, 2, both);
}

#define IS(n, value)        SCMP_CMP64(n, SCMP_CMP_MASKED_EQ, LOW, value)
#define HAS(n, bits)        SCMP_CMP64(n, SCMP_CMP_MASKED_EQ, bits, bits)
#define LACKS(n, bits)      SCMP_CMP64(n, SCMP_CMP_MASKED_EQ, bits, 0)
#define NIBBLE_IS(n, value) SCMP_CMP64(n, SCMP_CMP_MASKED_EQ, 0xf, value)
#define IS_NOT(n, value)    SCMP_CMP64(n, SCMP_CMP_NE, value, 0)
#define FROM(n, value)      SCMP_CMP64(n, SCMP_CMP_GE, value, 0)
#define ABOVE(n, value)     SCMP_CMP64(n, SCMP_CMP_GT, value, 0)

/* The first failure of several steps. */
#define TRY(step)           \
  do {                      \
    if (r == 0) r = (step); \
  } while (0)

static int add_calls(scmp_filter_ctx f, bool by_wish) {
  int r = 0;
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
#ifdef __SANITIZE_ADDRESS__
    if (strcmp(calls[i].name, "ptrace") == 0) continue; /* the sanitizer finds leaks by it */
#endif
    if (calls[i].class == ALWAYS || by_wish) TRY(refuse(f, calls[i].name));
  }
  /* A filter cannot see the flags of clone3, and programs go back to clone. */
  TRY(add(f, UNKNOWN, "clone3", 0, NULL));
  TRY(refuse_1(f, "ioctl", IS(1, CMD_TIOCSTI))); /* types for whoever shares the terminal */
  TRY(refuse_1(f, "ioctl", IS(1, CMD_TIOCLINUX)));
  return r;
}

/* The flags of namespaces are the highest ones, but for that of mounts; CLONE_IO above them is not missed. */
static int add_namespaces(scmp_filter_ctx f) {
  int r = refuse_1(f, "clone", FROM(0, CLONE_NEWCGROUP));
  return r == 0 ? refuse_1(f, "clone", HAS(0, CLONE_NEWNS)) : r;
}

/* The answer of a kernel without the family, and of systemd's RestrictAddressFamilies=. */
static int no_family(scmp_filter_ctx f, struct scmp_arg_cmp family) {
  return add(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", 1, &family);
}

/*
 * Unix, IPv4, IPv6 and netlink (the C library asks it for the interfaces) stay; the kernel loads the code of others when
 * somebody asks for them. Each instruction costs every start: so those that differ in their last bits share a rule.
 */
static int add_families(scmp_filter_ctx f, bool with_netlink) {
  int r = 0;
  TRY(no_family(f, IS(0, AF_AX25)));
  TRY(no_family(f, SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, LOW & ~3u, AF_IPX)));    /* 4 to 7 */
  TRY(no_family(f, SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, LOW & ~1u, AF_ATMPVC))); /* 8, 9 */
  TRY(no_family(f, IS(0, AF_ROSE)));
  TRY(no_family(f, SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, LOW & ~3u, AF_DECnet))); /* 12 to 15 */
  if (!with_netlink) TRY(no_family(f, IS(0, AF_NETLINK)));
  TRY(no_family(f, ABOVE(0, AF_NETLINK)));
  return r;
}

/* IPv4 or IPv6, where only some kinds are wished. Landlock knows the ports of TCP only, not those of MPTCP and SCTP. */
static int add_ip(scmp_filter_ctx f, unsigned family, unsigned wishes) {
  int r = 0;
  bool streams = wishes & (MB_WISH_TCP | MB_WISH_LISTEN), datagrams = wishes & MB_WISH_UDP;
  if (!streams && !datagrams) return refuse_1(f, "socket", IS(0, family));
  for (unsigned type = 0; type < 16; type++) {
    if ((type == SOCK_STREAM && streams) || (type == SOCK_DGRAM && datagrams)) continue;
    TRY(refuse_2(f, "socket", IS(0, family), NIBBLE_IS(1, type)));
  }
  TRY(refuse_2(f, "socket", IS(0, family), ABOVE(2, PROTOCOL_UDP)));
  return r;
}

/*
 * Who has a socket for datagrams sends to every path, by an address that no filter sees; one of a pair does, too. A
 * socket that listens is a stream. For Unix, SOCK_RAW is another name of SOCK_DGRAM.
 */
static int add_unix(scmp_filter_ctx f, unsigned wishes) {
  int r = 0;
  if (wishes & MB_WISH_UNIX) return 0;
  if (!(wishes & MB_WISH_LISTEN)) return refuse_1(f, "socket", IS(0, AF_UNIX));
  for (unsigned type = 0; type < 16; type++)
    if (type != SOCK_STREAM) TRY(refuse_2(f, "socket", IS(0, AF_UNIX), NIBBLE_IS(1, type)));
  return r;
}

static int add_network(scmp_filter_ctx f, unsigned wishes) {
  int r = 0;
  if (!(wishes & (MB_WISH_UNIX | MB_WISH_TCP | MB_WISH_UDP | MB_WISH_LISTEN))) {
    TRY(refuse(f, "socket"));
  } else {
    TRY(add_families(f, wishes & MB_WISH_UDP));
    /* The interfaces, and none of the kernel's other services. */
    if (wishes & MB_WISH_UDP)
      TRY(refuse_2(f, "socket", IS(0, AF_NETLINK), ABOVE(2, NETLINK_ROUTE)));
    TRY(add_unix(f, wishes));
    TRY(add_ip(f, AF_INET, wishes));
    TRY(add_ip(f, AF_INET6, wishes));
  }
  TRY(refuse_1(f, "socketpair", IS_NOT(0, AF_UNIX)));
  if (!(wishes & MB_WISH_UNIX)) {
    TRY(refuse_1(f, "socketpair", NIBBLE_IS(1, SOCK_DGRAM)));
    TRY(refuse_1(f, "socketpair", NIBBLE_IS(1, SOCK_RAW)));
  }
  /* With an address of two bytes, which is none, a connection is reset: mb-handle does that itself. */
  if (!(wishes & (MB_WISH_UNIX | MB_WISH_TCP | MB_WISH_UDP)))
    TRY(refuse_1(f, "connect", IS_NOT(2, sizeof(sa_family_t))));
  if (!(wishes & MB_WISH_LISTEN)) {
    TRY(refuse(f, "bind"));
    TRY(refuse(f, "listen"));
  }
  /* It connects without connect. */
  TRY(refuse_1(f, "sendto", HAS(3, FLAG_FASTOPEN)));
  TRY(refuse_1(f, "sendmsg", HAS(2, FLAG_FASTOPEN)));
  TRY(refuse_1(f, "sendmmsg", HAS(3, FLAG_FASTOPEN)));
  return r;
}

static int add_processes(scmp_filter_ctx f, unsigned wishes) {
  int r = 0;
  if (wishes & MB_WISH_EXEC) return 0;
  TRY(refuse(f, "execve"));
  TRY(refuse(f, "execveat"));
  TRY(refuse(f, "fork"));
  TRY(refuse(f, "vfork"));
  TRY(refuse_1(f, "clone", LACKS(0, CLONE_THREAD)));
  return r;
}

static int add_rules(scmp_filter_ctx f, unsigned number) {
  int r = 0;
  bool by_wish = number != MB_FILTER_ALWAYS;
  TRY(add_calls(f, by_wish));
  TRY(add_namespaces(f));
  if (!by_wish) {
    TRY(add_families(f, true));
    return r;
  }
  unsigned wishes = number - MB_FILTER_OF(0);
  TRY(add_processes(f, wishes));
  TRY(add_network(f, wishes));
  /* What chattr(1) does, and fsfreeze(8). */
  TRY(refuse_1(f, "ioctl", IS(1, CMD_SETFLAGS)));
  TRY(refuse_1(f, "ioctl", IS(1, CMD_FSSETXATTR)));
  TRY(refuse_1(f, "ioctl", IS(1, CMD_FIFREEZE)));
  TRY(refuse_1(f, "prlimit64", IS_NOT(2, 0))); /* raises limits; to read them stays possible */
  return r;
}

/* Reads the program of libseccomp, which writes it to a descriptor. Returns how many instructions it has, or -errno. */
static int export(scmp_filter_ctx f, struct sock_filter to[MB_FILTER_MAX]) {
  int ends[2];
  if (pipe(ends) != 0) return -errno;
  int r = seccomp_export_bpf(f, ends[1]); /* a pipe takes more than the longest filter */
  close(ends[1]);
  ssize_t n = r == 0 ? read(ends[0], to, MB_FILTER_MAX * sizeof *to) : 0;
  close(ends[0]);
  if (r != 0) return r;
  if (n < 0) return -errno;
  return n < (ssize_t)(MB_FILTER_MAX * sizeof *to) ? (int)((size_t)n / sizeof *to) : -E2BIG;
}

static int make(uint32_t architecture, unsigned number, struct sock_filter filter[MB_FILTER_MAX]) {
  int r = 0;
  scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
  if (!f) return -ENOMEM;
  if (architecture != seccomp_arch_native()) {
    TRY(seccomp_arch_add(f, architecture));
    TRY(seccomp_arch_remove(f, seccomp_arch_native()));
  }
  TRY(seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2)); /* a tree: short ways */
  TRY(seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, REFUSED));
  TRY(add_rules(f, number));
  if (r == 0) r = export(f, filter);
  seccomp_release(f);
  return r;
}

int mb_filter_of_libseccomp(uint32_t architecture, unsigned number,
                            struct sock_filter filter[MB_FILTER_MAX]) {
  only_arguments = false;
  return make(architecture, number, filter);
}

/* ---- the filter that mb-handle has ---- */

int mb_filter_make(uint32_t architecture, unsigned number,
                   struct sock_filter filter[MB_FILTER_MAX]) {
  struct sock_filter whole[MB_FILTER_MAX], rest[MB_FILTER_MAX];
  int n = mb_filter_of_libseccomp(architecture, number, whole);
  if (n < 0) return n;
  only_arguments = true;
  n = make(architecture, number, rest);
  if (n < 0) return n;
  int front = mb_filter_front(whole, architecture, filter);
  if (front < 0) return front;
  if (front + n > MB_FILTER_MAX) return -E2BIG;
  memcpy(filter + front, rest, (size_t)n * sizeof *rest);
  return front + n;
}
