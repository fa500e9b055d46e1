/* Signals of the first process of a pool: what they ask for. */
#ifndef MB_POOL_SIGNALS_H
#define MB_POOL_SIGNALS_H

enum mb_pool_signal {
  MB_POOL_SIGNAL_NONE,      /* no more signals wait */
  MB_POOL_SIGNAL_CHILD,     /* a child has ended */
  MB_POOL_SIGNAL_RELOAD,    /* load the script anew */
  MB_POOL_SIGNAL_END,       /* end */
  MB_POOL_SIGNAL_INTERRUPT, /* the same, from a terminal (Ctrl-C) */
};

/* Blocks the signals. Returns a descriptor that becomes readable when one comes, or -errno. */
int mb_pool_signals_catch(void);

/* Returns what the next signal asks for. fd: what mb_pool_signals_catch has returned */
enum mb_pool_signal mb_pool_signals_next(int fd);

/* Closes the descriptor, and blocks no signal any more: in a process that is not the first one. */
void mb_pool_signals_leave(int fd);

#endif
