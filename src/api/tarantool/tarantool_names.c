/* Finds numbers by name and names by number. Knows neither Lua nor the log. */
#include "api/tarantool/tarantool_names.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/rare.h"

/* A new name needs a row. */
const struct mb_tarantool_name mb_tarantool_families[] = {
    {"AF_UNSPEC", AF_UNSPEC}, {"PF_UNSPEC", AF_UNSPEC},   {"AF_INET", AF_INET},
    {"PF_INET", AF_INET},     {"AF_INET6", AF_INET6},     {"PF_INET6", AF_INET6},
    {"AF_UNIX", AF_UNIX},     {"PF_UNIX", AF_UNIX},       {"AF_LOCAL", AF_UNIX},
    {"PF_LOCAL", AF_UNIX},    {"AF_NETLINK", AF_NETLINK}, {"PF_NETLINK", AF_NETLINK},
    {"AF_PACKET", AF_PACKET}, {"PF_PACKET", AF_PACKET},   {"", 0},
};

const struct mb_tarantool_name mb_tarantool_types[] = {
    {"SOCK_STREAM", SOCK_STREAM}, {"SOCK_DGRAM", SOCK_DGRAM},         {"SOCK_RAW", SOCK_RAW},
    {"SOCK_RDM", SOCK_RDM},       {"SOCK_SEQPACKET", SOCK_SEQPACKET}, {"", 0},
};

const struct mb_tarantool_name mb_tarantool_address_flags[] = {
    {"AI_PASSIVE", AI_PASSIVE},         {"AI_CANONNAME", AI_CANONNAME},
    {"AI_NUMERICHOST", AI_NUMERICHOST}, {"AI_NUMERICSERV", AI_NUMERICSERV},
    {"AI_V4MAPPED", AI_V4MAPPED},       {"AI_ALL", AI_ALL},
    {"AI_ADDRCONFIG", AI_ADDRCONFIG},   {"", 0},
};

const struct mb_tarantool_name mb_tarantool_message_flags[] = {
    {"MSG_OOB", MSG_OOB},
    {"MSG_PEEK", MSG_PEEK},
    {"MSG_DONTROUTE", MSG_DONTROUTE},
    {"MSG_CTRUNC", MSG_CTRUNC},
    {"MSG_TRUNC", MSG_TRUNC},
    {"MSG_DONTWAIT", MSG_DONTWAIT},
    {"MSG_EOR", MSG_EOR},
    {"MSG_WAITALL", MSG_WAITALL},
    {"MSG_CONFIRM", MSG_CONFIRM},
    {"MSG_ERRQUEUE", MSG_ERRQUEUE},
    {"MSG_NOSIGNAL", MSG_NOSIGNAL},
    {"MSG_MORE", MSG_MORE},
    {"", 0},
};

const struct mb_tarantool_name mb_tarantool_directions[] = {
    {"R", SHUT_RD},
    {"READ", SHUT_RD},
    {"SHUT_RD", SHUT_RD},
    {"W", SHUT_WR},
    {"WRITE", SHUT_WR},
    {"SHUT_WR", SHUT_WR},
    {"RW", SHUT_RDWR},
    {"READ_WRITE", SHUT_RDWR},
    {"RDWR", SHUT_RDWR},
    {"SHUT_RDWR", SHUT_RDWR},
    {"", 0},
};

/* These are known without /etc/protocols, which a minimal system does not have. */
static const struct mb_tarantool_name protocols[] = {
    {"tcp", IPPROTO_TCP},
    {"udp", IPPROTO_UDP},
    {"ip", IPPROTO_IP},
    {"icmp", IPPROTO_ICMP},
    {"igmp", IPPROTO_IGMP},
    {"ipv6", IPPROTO_IPV6},
    {"ipv6-icmp", IPPROTO_ICMPV6},
    {"sctp", IPPROTO_SCTP},
    {"udplite", IPPROTO_UDPLITE},
    {"", 0},
};

bool mb_tarantool_number(const struct mb_tarantool_name *table, const char *name, int *ret_number) {
  for (; table->name[0]; table++) {
    if (strcmp(table->name, name) != 0) continue;
    *ret_number = table->number;
    return true;
  }
  return false;
}

const char *mb_tarantool_name(const struct mb_tarantool_name *table, int number) {
  for (; table->name[0]; table++) {
    if (table->number == number) return table->name;
  }
  return NULL;
}

bool mb_tarantool_protocol_number(const char *name, int *ret_number) {
  if (mb_tarantool_number(protocols, name, ret_number)) return true;
  const struct protoent *entry = MB_RARE(getprotobyname)(name);
  if (!entry) return false;
  *ret_number = entry->p_proto;
  return true;
}

const char *mb_tarantool_protocol_name(int number) {
  const char *name = mb_tarantool_name(protocols, number);
  if (name) return name;
  const struct protoent *entry = MB_RARE(getprotobynumber)(number);
  return entry ? entry->p_name : NULL;
}
