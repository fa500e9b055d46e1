"""A network of the test's own (its ports, its /etc/hosts), and a handler in it, which the test tells over a local
connection to go on. It serves tests of sockets that mb-handle opens itself: the ports of other tests and the names of
the machine would be in their way."""

import contextlib
import ctypes
import fcntl
import os
import resource
import select
import socket
import struct
import subprocess

import mbspace
import mbtest
from mbtest import DEADLINE, HANDLE, Child, check, equal, script, tmp, until, write_file

CLONE_NEWNET = 0x40000000
SYS_pidfd_getfd = 438
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


# --- Handlers ---

HEAD = """
local M, control = moonbridge_io
local function eq(want, ...)
  local n = select("#", ...)
  local got = {}
  for i = 1, n do got[i] = tostring((select(i, ...))) end
  got = table.concat(got, " ")
  if got ~= want then error("got <" .. got .. ">, expected <" .. want .. ">", 2) end
end
-- Misuse: a Lua error with this text in it.
local function throws(text, f, ...)
  local ok, message = pcall(f, ...)
  if ok or not tostring(message):find(text, 1, true) then
    error("got <" .. tostring(ok) .. " " .. tostring(message) .. ">, expected an error with <" .. text .. ">", 2)
  end
end
local function say_and_wait(word)
  print(word)
  eq("go\\n term", control:read(nil, "\\n"))
end
-- By its number: poll does not see what it belongs to, and goes on with nothing.
local function wait_for_descriptor(s) eq("true", M.poll(nil, { [s.fd] = true }, 60)) end
local function hex(s) return s and (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
"""


def lua(value):
    """Returns the value as Lua source."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "{" + ",".join(lua(v) for v in value) + "}"
    if isinstance(value, (int, float)):
        return repr(value)
    return '"' + "".join(f"\\{b:03d}" for b in (value.encode() if isinstance(value, str) else value)) + '"'


class Handler:
    """mb-handle on one end of a local connection. The test tells it over the connection to go on, and reads its output
    line by line. values are the local variables of the body."""

    def __init__(self, body, argv=(HANDLE,), **values):
        self.output, output = os.pipe()
        # Unbuffered: otherwise lines could be in a buffer, where select() does not see them.
        self.lines = os.fdopen(self.output, "rb", buffering=0)
        self.control, theirs = socket.socketpair()
        text = "".join(f"local {name} = {lua(value)}\n" for name, value in values.items())
        path = script(f"{HEAD}{text}return function(socket)\ncontrol = socket\n{body}\nend\n")
        with open("/dev/null", "r+b") as null:
            self.child = Child([*argv, path], {0: null, 1: null, 2: output, 3: theirs}, listen_fds=1)
        os.close(output)
        theirs.close()

    def says(self, want):
        """Waits for a word."""
        ready, _, _ = select.select([self.lines], [], [], DEADLINE)
        check(ready, f"the handler does not say {want!r}")
        line = self.lines.readline().decode(errors="replace").rstrip("\n")
        if line != want:
            self.child.kill()
            raise mbtest.Failed(f"the handler says {line!r} and {self.rest()!r}, expected {want!r}")

    def go(self):
        self.control.sendall(b"go\n")

    def rest(self):
        """Returns all that the handler still prints until it ends."""
        return self.lines.read().decode(errors="replace")

    def asleep(self):
        """Waits until the process is asleep."""
        path = f"/proc/{self.child.pid}/stat"
        until(lambda: mbtest.read_file(path).rpartition(")")[2].split()[0] == "S", "the handler waits")

    def files(self):
        """Returns what the descriptors of the process lead to, as /proc names it."""
        path = f"/proc/{self.child.pid}/fd"
        return sorted(os.readlink(f"{path}/{name}") for name in os.listdir(path))

    def flags(self, fd):
        """Returns the flags of one of its descriptors."""
        info = mbtest.read_file(f"/proc/{self.child.pid}/fdinfo/{fd}")
        return int(dict(line.split(":", 1) for line in info.splitlines())["flags"], 8)

    def socket(self, fd):
        """Returns one of its sockets, shared with the process."""
        copy = ctypes.CDLL(None, use_errno=True).syscall(SYS_pidfd_getfd, self.child.pidfd, fd, 0)
        check(copy >= 0, f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
        return socket.socket(fileno=copy)

    def may_open(self, count):
        """Sets how many descriptors the process may have from now on."""
        before = resource.prlimit(self.child.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.child.pid, resource.RLIMIT_NOFILE, (count or before[1], before[1]))

    def ends(self, status=0, log=""):
        try:
            equal(self.child.wait(), status, "exit status")
        finally:
            self.child.kill()
            text = self.rest()
            self.lines.close()
            self.control.close()
            if self.child.status != status:
                mbtest.diagnose(text)
        check(log in text if log else text == "", f"{log!r} in the log: {text!r}")


def run(body, **values):
    """Runs a handler that needs no words of the test."""
    Handler(body, **values).ends()
