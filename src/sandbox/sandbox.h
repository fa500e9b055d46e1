/*
 * What a process may still do once it has locked itself: seccomp filters, Landlock, no_new_privs and limits. It
 * knows no Lua and logs nothing. There is no way back, and children inherit it. mb-handle-sandbox(7) has the model.
 */
#ifndef MB_SANDBOX_H
#define MB_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a process may do besides what every locked process may. The first five select a filter: see filter.h. */
enum {
  MB_WISH_EXEC = 1 << 0,   /* start processes */
  MB_WISH_UNIX = 1 << 1,   /* connect to Unix sockets */
  MB_WISH_TCP = 1 << 2,    /* connect to TCP ports, those of the list */
  MB_WISH_UDP = 1 << 3,    /* send datagrams over IP, and ask the system for its interfaces */
  MB_WISH_LISTEN = 1 << 4, /* bind and listen */
  MB_WISH_ANY_TCP = 1 << 5 /* connect to whatever TCP port, and to abstract Unix sockets */
};
#define MB_WISHES_OF_FILTERS 32

enum mb_sandbox_right {
  MB_RIGHT_READ,
  MB_RIGHT_WRITE, /* and read */
  MB_RIGHT_EXEC,  /* and read */
  MB_RIGHT_DEVICE /* read and write a file, and create or remove nothing */
};

/* A file, or a directory and all that is below it. */
struct mb_sandbox_path {
  const char *path; /* absolute */
  enum mb_sandbox_right right;
  bool is_optional; /* it is no failure when it does not exist */
};

#define MB_LIMIT_NOT_SAID (-1)

struct mb_sandbox {
  unsigned wishes;     /* MB_WISH_... */
  bool reads_modules;  /* the caller adds the directories of Lua's modules to the paths */
  bool looks_up_names; /* the caller adds the files of the resolver to the paths */
  bool is_required;    /* the process must not serve where a part of it is missing */
  const struct mb_sandbox_path *paths;
  size_t path_count;
  const uint16_t *ports; /* TCP ports to which it may connect */
  size_t port_count;
  const char *const *sockets; /* paths of Unix sockets to which it may connect */
  size_t socket_count;
  int64_t cpu_seconds, open_files, file_size, processes; /* limits, or MB_LIMIT_NOT_SAID */
};

/* Parts that a kernel may lack; a bit each. */
enum {
  MB_MISSING_SECCOMP = 1 << 0,  /* no filter: no call is refused, but those that Landlock refuses */
  MB_MISSING_LANDLOCK = 1 << 1, /* files are not limited, nor what follows */
  MB_MISSING_TRUNCATE =
      1 << 2,                /* Landlock before ABI 3: files that may not be written can be cut */
  MB_MISSING_TCP = 1 << 3,   /* before ABI 4: every TCP port can be reached */
  MB_MISSING_SCOPE = 1 << 4, /* before ABI 6: signals and abstract sockets */
  MB_MISSING_PERMISSION = 1 << 5, /* a filter of the service manager forbids Landlock */
  MB_MISSING_THREADS = 1 << 6     /* the process has other threads, whose files are not limited */
};
#define MB_MISSING_BITS 7

/* Returns a text for a bit of MB_MISSING_...: "this kernel has no Landlock: ...". */
const char *mb_sandbox_missing_text(unsigned bit);

/*
 * Returns the parts that this kernel lacks, MB_MISSING_..., of what every locked process has (sandbox NULL), or of
 * the wishes as well.
 */
unsigned mb_sandbox_probe(const struct mb_sandbox *sandbox);

/*
 * Locks what every process has that meets a client: no new privileges, no core dumps, and the filter for calls that no
 * handler needs. A second call does nothing, nor does one in a child of a process that has called it.
 * ret_missing  MB_MISSING_..., of parts that the kernel lacks
 * Returns 0 or -errno.
 */
int mb_sandbox_lock_always(unsigned *ret_missing);

/*
 * Locks that, and all that is not wished.
 * more         paths beside those of the sandbox
 * ret_missing  as above
 * ret_path     the path that could not be opened, or NULL
 * Returns 0 or -errno. After a failure the process must not serve.
 */
int mb_sandbox_lock(const struct mb_sandbox *sandbox, const struct mb_sandbox_path *more,
                    size_t more_count, unsigned *ret_missing, const char **ret_path);

/* Returns whether mb_sandbox_lock has been called. */
bool mb_sandbox_is_locked(void);

#endif
