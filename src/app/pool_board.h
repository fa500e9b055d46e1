/*
 * What the processes of a pool know of each other: memory that they share. Children write their own slot, their
 * parent reads all of them. A process that is killed at any moment leaves the board usable. A child that an attacker has
 * taken over can write all of it: nothing here says which process is killed, and no number is used as an index before it
 * is looked at. What the parent alone knows of its children is in pool_roll.h.
 */
#ifndef MB_POOL_BOARD_H
#define MB_POOL_BOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* More processes than that serve nobody faster; the sum of all max_fork is cut to it. */
#define MB_POOL_CHILDREN_MAX 4096
/* As many as systemd and a script are likely to have. */
#define MB_POOL_SOCKETS_MAX 64
/* listen{} calls of a script, and its intervals and mains. */
#define MB_POOL_SERVICES_MAX 64

enum mb_child_state {
  MB_CHILD_NONE,     /* the slot is free */
  MB_CHILD_STARTING, /* it runs prepare */
  MB_CHILD_IDLE,     /* it waits for a connection */
  MB_CHILD_BUSY,     /* it serves a connection, or runs an interval or a main */
  MB_CHILD_KEPT,     /* its connection waits for another request */
};

/* A flag, 0 or not: not a bool, as a child that is taken over may write any byte here, which its parent reads. */
typedef unsigned char mb_pool_flag;

struct mb_pool_slot {
  _Atomic int state; /* enum mb_child_state; the child writes it, but for NONE and STARTING */
  _Atomic int64_t
      kept_until;          /* monotonic microseconds: from then on nothing is lost when KEPT ends */
  _Atomic uint64_t served; /* connections */
  _Atomic mb_pool_flag serving; /* a connection that is not counted yet */
};

struct mb_pool_board {
  volatile mb_pool_flag draining; /* every child ends after its connection */
  volatile mb_pool_flag
      clearing; /* the sockets end, and children take what waits in them before they end */
  _Atomic uint64_t served; /* connections whose end has come */
  _Atomic int64_t last;    /* monotonic microseconds: when the last connection came or ended */
  _Atomic mb_pool_flag
      is_deaf;        /* a socket does not listen any more: the parent is to look at them */
  _Atomic int nslots; /* slots from here on were never used */
  struct {
    _Atomic int idle;                   /* children in the state IDLE */
    _Atomic unsigned prepared;          /* how many have left the state STARTING for it so far */
    _Atomic mb_pool_flag wake_prepared; /* such a child wakes the parent */
    _Atomic int
        wake_below; /* a child that leaves that state and less than so many in it wakes the parent */
  } services[MB_POOL_SERVICES_MAX];
  _Atomic mb_pool_flag
      cleared[MB_POOL_SOCKETS_MAX]; /* nothing waits in the socket, nor ever will again */
  struct mb_pool_slot slots[MB_POOL_CHILDREN_MAX];
};

/* Makes a board that processes made by fork(2) from now on share. Pages that nobody uses take no memory. NULL: none. */
struct mb_pool_board *mb_pool_board_new(void);

void mb_pool_board_free(struct mb_pool_board *board);

/*
 * A child changes its own state.
 * service  the number of its service
 * Returns whether the parent wants to know.
 */
bool mb_pool_board_set(struct mb_pool_board *board, int slot, int service,
                       enum mb_child_state state);

/* Returns the state in a slot. What is none counts as MB_CHILD_BUSY. */
enum mb_child_state mb_pool_board_state(const struct mb_pool_board *board, int slot);

/* Counts the children of all services in each state. */
void mb_pool_board_count(const struct mb_pool_board *board, int ret_counts[MB_CHILD_KEPT + 1]);

#endif
