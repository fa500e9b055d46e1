/* Where --serve listens: an address on the command line, or a listener of the script. */
#ifndef MB_SERVE_ADDRESS_H
#define MB_SERVE_ADDRESS_H

#include <stdbool.h>

#include "app/listen.h"
#include "base/addr.h"

#define MB_SERVE_ADDRESS_ERROR_MAX 512

/* Where a script that names no listener is served when --serve names none, either. */
#define MB_SERVE_ADDRESS "127.0.0.1:8080"

/*
 * Listens at an address: "8080" (every address; with loopback, both loopback addresses' IPv4 one), "127.0.0.1:8080",
 * "[::1]:8080", or a path with a slash in it ("@name" for an abstract socket); "" stands for MB_SERVE_ADDRESS.
 * loopback  refuses any other address
 * Returns a descriptor; or -EINVAL when the address is wrong, or -errno; ret_error says what to do.
 */
int mb_serve_address_open(const char *text, bool loopback,
                          char ret_error[MB_SERVE_ADDRESS_ERROR_MAX]);

/*
 * Reads such an address, without a look at any network: a name stands for no address, and its port is kept.
 * text  NULL and "" are no address
 * Returns false when it is none.
 */
bool mb_serve_address_parse(const char *text, struct mb_addr *ret);

/*
 * Returns whether a socket that was opened for a listener of a script would be bound to this address, which the listener
 * matches: an address of its own is not every address.
 */
bool mb_serve_entry_is_at(const struct mb_listen_entry *entry, const struct mb_addr *local,
                          bool loopback);

/*
 * Listens where a listener of the script says. Returns as mb_serve_address_open does.
 * loopback  a listener that names no host listens on 127.0.0.1
 */
int mb_serve_entry_open(const struct mb_listen_entry *entry, bool loopback,
                        char ret_error[MB_SERVE_ADDRESS_ERROR_MAX]);

#endif
