"""A network of the test's own: its ports, its /etc/hosts. It serves tests of sockets that mb-handle opens itself: the ports
of other tests and the names of the machine would be in their way."""

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys

import mbspace
import mbtest
from mbtest import HANDLE, tmp, write_file

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFADDR, IFF_UP = 0x8913, 0x8914, 0x8916, 1
# A message that makes a link, and its attributes (linux/rtnetlink.h, if_link.h, veth.h).
RTM_NEWLINK, NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 16, 1, 4, 0x200, 0x400
IFLA_IFNAME, IFLA_LINKINFO, IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 3, 18, 1, 2, 1
OTHER4, OTHER6 = "10.255.0.1", "fd00::1"  # no loopback addresses, but they lead to the loopback interface
NAMESERVER = "127.0.0.53"
ETC = {
    "hosts": "127.0.0.1 localhost\n",
    "nsswitch.conf": "hosts: files\nservices: files\n",
    "resolv.conf": f"nameserver {NAMESERVER}\noptions timeout:30 attempts:1\n",
}


def private_network(**space):
    """Enters a network that has only loopback, and in which every port is free, with files of its own to look names up.
    space: the arguments of mbspace.enter, for the other namespaces."""
    mbspace.enter(**space)
    if ctypes.CDLL(None).unshare(CLONE_NEWNET) != 0:
        mbtest.bail("no private network namespace here")
    _bring_up("lo")
    with socket.socket() as s:
        four = struct.pack("16sHH4s16x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(OTHER4))
        fcntl.ioctl(s, SIOCSIFADDR, four)
    _add_address(OTHER6, "lo")
    for name, text in ETC.items():
        target = os.path.realpath(f"/etc/{name}")
        if target.startswith("/run/"):  # our own /run
            os.makedirs(os.path.dirname(target), exist_ok=True)
            write_file(target, "")
        subprocess.run(["mount", "--bind", write_file(tmp("etc", name), text), target], check=True)


def _bring_up(interface):
    with socket.socket() as s:
        name = interface.encode()
        flags = struct.unpack_from("H", fcntl.ioctl(s, SIOCGIFFLAGS, struct.pack("16s24x", name)), 16)[0]
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH22x", name, flags | IFF_UP))


def _add_address(address, interface):
    with socket.socket(socket.AF_INET6) as s:
        six = struct.pack("16sIi", socket.inet_pton(socket.AF_INET6, address), 128, socket.if_nametoindex(interface))
        fcntl.ioctl(s, SIOCSIFADDR, six)


def _attribute(kind, data):
    return struct.pack("HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def two_links(names, address):
    """Makes two interfaces with the same address, and sets them up."""
    name, peer = (_attribute(IFLA_IFNAME, n.encode() + b"\0") for n in names)
    info = _attribute(IFLA_INFO_KIND, b"veth")
    info += _attribute(IFLA_INFO_DATA, _attribute(VETH_INFO_PEER, bytes(16) + peer))
    body = bytes(16) + name + _attribute(IFLA_LINKINFO, info)
    flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_EXCL | NLM_F_CREATE
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as s:
        s.send(struct.pack("=IHHII", 16 + len(body), RTM_NEWLINK, flags, 1, 0) + body)
        error = -struct.unpack_from("=i", s.recv(4096), 16)[0]
    if error:
        mbtest.bail(f"no pair of interfaces here: {os.strerror(error)}")
    for interface in names:
        # Otherwise each would find that the other already has its address.
        write_file(f"/proc/sys/net/ipv6/conf/{interface}/accept_dad", "0")
        _bring_up(interface)
        _add_address(address, interface)


@contextlib.contextmanager
def etc(name, text):
    """Within it, a file of /etc has this text instead of its own; hosts has it in addition."""
    write_file(tmp("etc", name), ETC[name] + text if name == "hosts" else text)
    try:
        yield
    finally:
        write_file(tmp("etc", name), ETC[name])


@contextlib.contextmanager
def ports_from(low, high):
    """Within it, outgoing connections take their ports from this range."""
    path = "/proc/sys/net/ipv4/ip_local_port_range"
    before = mbtest.read_file(path)
    write_file(path, f"{low} {high}")
    try:
        yield
    finally:
        write_file(path, before)


def addresses_of(name):
    """Returns the addresses of a name, in getaddrinfo's order."""
    return [a[4][0] for a in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]


CAP_DAC_OVERRIDE, CAP_NET_BIND_SERVICE = 1, 10
DROP = """
import ctypes, os, sys
assert ctypes.CDLL(None).prctl(24, int(sys.argv[1]), 0, 0, 0) == 0 # PR_CAPBSET_DROP
os.execv(sys.argv[2], sys.argv[2:])
"""


def without(capability):
    """A handler's program that lacks a right of root's."""
    return [sys.executable, "-c", DROP, str(capability), HANDLE]
