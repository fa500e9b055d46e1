/* The two addresses of a connection, as the system has them, as bytes and as text. */
#ifndef MB_ADDR_H
#define MB_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

/* An address as the system gives it. len is 0 when there is none (a replay, an unnamed end). */
struct mb_addr {
  union {
    struct sockaddr any;
    struct sockaddr_un local;
    struct sockaddr_storage storage;
  };
  socklen_t len;
};

/*
 * Gets both addresses of a connected socket from the system.
 * Returns 0, or -errno. With -ENOTCONN the peer has reset the connection, and ret_local is filled
 * nevertheless.
 */
int mb_addr_of(int fd, struct mb_addr *ret_local, struct mb_addr *ret_remote);

/*
 * Returns the 4 bytes of an IPv4 address, or of an IPv4 address that is mapped into IPv6; NULL for
 * any other address.
 */
const unsigned char *mb_addr_ip4(const struct mb_addr *addr);

/*
 * Copies the 16 bytes of an IPv6 address; a mapped IPv4 address is one too. Returns false for any
 * other address.
 */
bool mb_addr_ip6(const struct mb_addr *addr, unsigned char ret_bytes[16]);

/* Returns whether the address is IPv6 and no mapped IPv4 address. */
bool mb_addr_is_pure_ip6(const struct mb_addr *addr);

/* Returns whether the address is 0.0.0.0 or ::, which stand for every address of their family. */
bool mb_addr_is_every(const struct mb_addr *addr);

/*
 * Returns whether the address is link-local, fe80::/10 or the multicast ff02::/16: two interfaces
 * may both have it, and only with the scope it says which of them.
 */
bool mb_addr_is_link_local(const struct mb_addr *addr);

/* Returns whether the address is multicast, 224.0.0.0/4 or ff00::/8: TCP has no such addresses. */
bool mb_addr_is_multicast(const struct mb_addr *addr);

/* Returns the scope of an IPv6 address, the number of an interface; 0 when it has none. */
uint32_t mb_addr_scope(const struct mb_addr *addr);

/* Returns the TCP port; 0 when the address has none. */
uint16_t mb_addr_port(const struct mb_addr *addr);

/* Sets the TCP port of an IP address. Any other address stays as it is. */
void mb_addr_set_port(struct mb_addr *addr, uint16_t port);

/*
 * Copies the path of a Unix socket's address, with "@" in place of the leading NUL of an abstract
 * one. Returns the length of the path; 0 when the address is no Unix address or has no name.
 */
size_t mb_addr_path(const struct mb_addr *addr,
                    char ret_path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1]);

#define MB_ADDR_TEXT_MAX 128

/*
 * Writes the address without its port: "192.0.2.1", "2001:db8::1", "fe80::1%eth0", "/run/x.sock",
 * "@name", "./x.sock" for a relative path. A mapped IPv4 address reads as IPv4. A scope whose
 * interface has no name here (it is gone, or in another network namespace) reads as its number.
 * Returns false, and an empty text, when there is no address.
 */
bool mb_addr_text(const struct mb_addr *addr, char ret_text[MB_ADDR_TEXT_MAX]);

/*
 * Writes the address for a message, with its port: "192.0.2.1:80", "[fe80::1%eth0]:80"; "unnamed"
 * when there is no address.
 */
#define MB_ADDR_LABEL_MAX (MB_ADDR_TEXT_MAX + 8)
void mb_addr_label(const struct mb_addr *addr, char ret_text[MB_ADDR_LABEL_MAX]);

/*
 * Does the same for the peer of a connection. For a client on a Unix socket it writes the user, "uid
 * 1000": such a client has no address, or one that it chose itself, which may be another's.
 */
void mb_addr_peer_label(int fd, const struct mb_addr *remote, char ret_text[MB_ADDR_LABEL_MAX]);

/*
 * Makes an IP address, with port 0, of a text: "192.0.2.1", "2001:db8::1", "fe80::1%eth0". Asks no
 * name server and allocates nothing. Brackets are no part of an address, and IPv4 has four numbers.
 *
 * Behind "%" stands the scope of a link-local address: an interface, by its name or its number. As
 * in getaddrinfo(3), a name goes before a number, and nobody checks that an interface has that
 * number, which is 1 or more and fits into an int. No other address has a scope: getaddrinfo takes a
 * number there, which the system ignores then; here it is an error, as it is with a name.
 *
 * fd  a socket: the name is looked for in the network that the socket belongs to; below 0: in the
 *     network of this process, which is another one with PrivateNetwork= of systemd
 *
 * Returns 0, or
 * -EINVAL   the text is no address, but it may be a name
 * -EBADMSG  the text has a "%" and is no address: no name has one either; or the number behind the "%"
 *           is one that no interface can have
 * -ENODEV   it is an address, but no interface has that name; ret is filled, without the scope
 * -errno    it is an address, but the interface cannot be looked for (-EMFILE, for example); ret is
 *           filled in the same way
 */
int mb_addr_from_text(const char *text, int fd, struct mb_addr *ret);

/*
 * Makes the address of a Unix socket of a path; a leading "@" stands for the NUL of an abstract one.
 * Returns 0; -EINVAL when the path is empty or "@" alone, -ENAMETOOLONG when it does not fit whole.
 */
int mb_addr_from_path(const char *path, struct mb_addr *ret);

#endif
