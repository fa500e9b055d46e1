"""A network of the test's own: its ports, its /etc/hosts. For tests of what mb-handle opens itself, where other tests' ports
and the machine's names would be in the way."""

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
OTHER4, OTHER6 = "10.255.0.1", "fd00::1"  # addresses that are not loopback's, though they lead there too
NAMESERVER = "127.0.0.53"
ETC = {
    "hosts": "127.0.0.1 localhost\n",
    "nsswitch.conf": "hosts: files\nservices: files\n",
    "resolv.conf": f"nameserver {NAMESERVER}\noptions timeout:30 attempts:1\n",
}


def private_network():
    """A network with nothing but loopback, in which every port is free, and what names are looked up in."""
    mbspace.enter()
    if ctypes.CDLL(None).unshare(CLONE_NEWNET) != 0:
        mbtest.bail("no private network namespace here")
    with socket.socket() as s, socket.socket(socket.AF_INET6) as s6:
        flags = struct.unpack_from("H", fcntl.ioctl(s, SIOCGIFFLAGS, struct.pack("16s24x", b"lo")), 16)[0]
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | IFF_UP))
        four = struct.pack("16sHH4s16x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(OTHER4))
        fcntl.ioctl(s, SIOCSIFADDR, four)
        six = struct.pack("16sIi", socket.inet_pton(socket.AF_INET6, OTHER6), 128, socket.if_nametoindex("lo"))
        fcntl.ioctl(s6, SIOCSIFADDR, six)
    for name, text in ETC.items():
        target = os.path.realpath(f"/etc/{name}")
        if target.startswith("/run/"):  # which is ours
            os.makedirs(os.path.dirname(target), exist_ok=True)
            write_file(target, "")
        subprocess.run(["mount", "--bind", write_file(tmp("etc", name), text), target], check=True)


@contextlib.contextmanager
def etc(name, text):
    """That file of /etc holds this text instead, or besides (hosts)."""
    write_file(tmp("etc", name), ETC[name] + text if name == "hosts" else text)
    try:
        yield
    finally:
        write_file(tmp("etc", name), ETC[name])


@contextlib.contextmanager
def ports_from(low, high):
    """Outgoing connections take their ports from this range."""
    path = "/proc/sys/net/ipv4/ip_local_port_range"
    before = mbtest.read_file(path)
    write_file(path, f"{low} {high}")
    try:
        yield
    finally:
        write_file(path, before)


def addresses_of(name):
    """The addresses of a name, in getaddrinfo's order."""
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
