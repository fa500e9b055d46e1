/*
 * Finds out what we were started with: a connection, a listening socket, or a file to replay, in
 * systemd's LISTEN_FDS (sd_listen_fds(3)) or on inetd's fd 0. It moves no descriptor, and changes
 * nothing of them except close-on-exec.
 */
#ifndef MB_ACTIVATION_H
#define MB_ACTIVATION_H

#define MB_LISTEN_FDS_START 3 /* SD_LISTEN_FDS_START */

enum mb_given {
  MB_GIVEN_CONNECTION, /* a connected stream socket */
  MB_GIVEN_LISTENER,   /* a listening socket: Accept=no, inetd's "wait" */
  MB_GIVEN_DATAGRAM,   /* a socket, but no stream socket */
  MB_GIVEN_FILE,       /* anything else: input to replay */
};

struct mb_activation {
  enum mb_given given;
  int fd;    /* MB_LISTEN_FDS_START or 0 */
  int count; /* how many descriptors systemd handed over; 0: none, so fd 0 is what we were given */
};

/*
 * Reads LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES as sd_listen_fds_with_names(3) does, sets
 * close-on-exec on the descriptors, and removes all three from the environment.
 * Returns how many descriptors were handed over to this process (0: none, or they are for another
 * process), or -errno when the variables are malformed (-EINVAL, -ERANGE) or a descriptor is not
 * open (-EBADF).
 */
int mb_activation_fds(void);

/*
 * Finds what we were given and proves what it is.
 * Returns 0 and fills ret, or -errno (as mb_activation_fds; -EBADF also when fd 0 is not open).
 */
int mb_activation_find(struct mb_activation *ret);

#endif
