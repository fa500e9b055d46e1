/*
 * getaddrinfo(3) and getnameinfo(3) for what is numeric: no name service is needed for that, nor a shared library. They
 * answer as glibc does; tests/unit/static/numeric.c compares them with it.
 */
#ifndef MB_STATIC_NUMERIC_H
#define MB_STATIC_NUMERIC_H

#include <netdb.h>
#include <sys/socket.h>

#define MB_NUMERIC_NOT \
  1 /* no error of getaddrinfo, which are negative: a name service has to be asked */

/*
 * Does what getaddrinfo does.
 * ret  a list for mb_numeric_free, when it returns 0
 * Returns 0, an error of getaddrinfo, or MB_NUMERIC_NOT.
 */
int mb_numeric_addrinfo(const char *host, const char *service, const struct addrinfo *hints,
                        struct addrinfo **ret);

/*
 * Makes one entry of such a list, for an answer of mb-handle's.
 * canonical  a name, which is copied, or NULL
 * Returns NULL when memory runs out, or the address is longer than any address is.
 */
struct addrinfo *mb_numeric_entry(const struct addrinfo *like, const void *address, size_t size,
                                  const char *canonical);

void mb_numeric_free(struct addrinfo *list);

/* Does what getnameinfo does. Returns 0, an error of getaddrinfo, or MB_NUMERIC_NOT. */
int mb_numeric_nameinfo(const struct sockaddr *address, socklen_t len, char *host,
                        socklen_t host_size, char *service, socklen_t service_size, int flags);

#endif
