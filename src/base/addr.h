/* The two addresses of a connection, and how they read as text. */
#ifndef MB_PEER_H
#define MB_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

/* An address as the system gives it; len 0: there is none (a replay, an unnamed end). */
struct mb_addr {
  union {
    struct sockaddr any;
    struct sockaddr_un local;
    struct sockaddr_storage storage;
  };
  socklen_t len;
};

/*
 * Asks for both addresses of a connected socket.
 * Returns 0, or -errno; -ENOTCONN when the peer has reset the connection (ret_local is filled
 * then).
 */
int mb_addr_of(int fd, struct mb_addr *ret_local, struct mb_addr *ret_remote);

/* The 4 bytes of an IPv4 address, or of an IPv4 address mapped into IPv6; NULL for any other. */
const unsigned char *mb_addr_ip4(const struct mb_addr *addr);

/* The 16 bytes of an IPv6 address, a mapped IPv4 address included. Returns false for any other. */
bool mb_addr_ip6(const struct mb_addr *addr, unsigned char ret_bytes[16]);

/* Whether the address is IPv6 and no mapped IPv4 address. */
bool mb_addr_is_pure_ip6(const struct mb_addr *addr);

/* The TCP port, or 0. */
uint16_t mb_addr_port(const struct mb_addr *addr);

/*
 * The path of a Unix socket's address, with "@" in place of the leading NUL of an abstract one.
 * Returns its length, 0 when the address is no Unix address or has no name.
 */
size_t mb_addr_path(const struct mb_addr *addr,
                    char ret_path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1]);

#define MB_ADDR_TEXT_MAX 128

/*
 * The address without its port: "192.0.2.1", "2001:db8::1", "fe80::1%eth0", "/run/x.sock", "@name",
 * "./x.sock" for a relative path; a mapped IPv4 address reads as IPv4. Returns false, and an empty
 * text, when there is none.
 */
bool mb_addr_text(const struct mb_addr *addr, char ret_text[MB_ADDR_TEXT_MAX]);

/*
 * The address for a message: with its port, as "192.0.2.1:80", "[2001:db8::1]:80"; "unnamed" when
 * there is none.
 */
#define MB_ADDR_LABEL_MAX (MB_ADDR_TEXT_MAX + 8)
void mb_addr_label(const struct mb_addr *addr, char ret_text[MB_ADDR_LABEL_MAX]);

/*
 * The same for the peer of a connection. A client on a Unix socket has no address, or what it calls
 * itself, be it somebody else's: it is its user that matters, "uid 1000".
 */
void mb_addr_peer_label(int fd, const struct mb_addr *remote, char ret_text[MB_ADDR_LABEL_MAX]);

/*
 * The address of a Unix socket at a path; a leading "@" stands for the NUL of an abstract one.
 * Returns 0; -EINVAL when it is empty or "@" alone, -ENAMETOOLONG when it does not fit whole.
 */
int mb_addr_from_path(const char *path, struct mb_addr *ret);

#endif
