"""Attacks on the sandbox: each is Lua that runs in connect, with the module of tests/lib/escape.c, and returns what its
system call does. Must never report that an attack was refused when it did not come to its call."""

import contextlib
import errno
import itertools
import os
import re
import shutil
import socket

import mbshim
import mbtest
from mbhandler import lua
from mbtest import HANDLE, Child, check, local_pair, until

# Everybody may read and run what is here; mbtest.TMP is for one account only.
ROOM = mbtest.tmp("room", "x")[:-2]

# An account without privileges, of which a run that goes on at the same time has no process.
ACCOUNT = 60000 + int.from_bytes(os.urandom(2), "big") % 4000

# The script's first part runs before the lock. fails() makes an answer of what a call returns.
HEAD = """
local cpath = package.cpath
package.cpath = %s .. "/?.so"
local escape = require "escape"
package.cpath = cpath
local sys, nr, pack = escape.syscall, escape.nr, string.pack
local address = escape.address
local CWD, IN, IN6, UNIX, STREAM, DGRAM = -100, 2, 10, 1, 1, 2
local function open(path, flags, mode) return sys(nr.openat, CWD, path, flags or 0, mode or 438) end
-- Makes a call with a file that it opens; never with another descriptor, when that fails.
local function on(path, call, ...)
  local fd, text, errno = open(path)
  if not fd then return fd, text, errno end
  return sys(call, fd, ...)
end
local function inet(port, host) return pack("<I2>I2c4c8", IN, port, host or "\\127\\0\\0\\1", "") end
local function inet6(port, host) return pack("<I2>I2I4c16I4", IN6, port, 0, host or ("\\0"):rep(15) .. "\\1", 0) end
local function unix(path) return pack("<I2", UNIX) .. path .. (path:sub(1, 1) == "\\0" and "" or "\\0") end
-- A struct msghdr for an address and a text. What it points to lives as long as the process.
local kept = {}
local function message(to, text)
  local iov = pack("<I8I8", address(text), #text)
  kept[#kept + 1] = { to, text, iov }
  return pack("<I8I4I4I8I8I8I8I8", address(to), #to, 0, address(iov), 1, 0, 0, 0)
end
-- The arguments for an address.
local function to(where) return where, #where end
-- Makes a call with a new socket.
local function by(family, kind, call, ...)
  local fd, text, errno = sys(nr.socket, family, kind, 0)
  if not fd then return fd, text, errno end
  return sys(call, fd, ...)
end
local function connect(family, kind, where, protocol)
  local fd, text, errno = sys(nr.socket, family, kind, protocol or 0)
  if not fd then return fd, text, errno end
  return sys(nr.connect, fd, to(where))
end
-- Runs the program in place of this one, with the connection as its output.
local function become(socket, call, at, path, flags, ...)
  local list = {}
  for i, word in ipairs { path, ... } do kept[#kept + 1] = word list[i] = pack("<I8", address(word)) end
  local argv, environment = table.concat(list) .. ("\\0"):rep(8), ("\\0"):rep(8)
  sys(nr.fcntl, socket.fd, 4, 0)
  sys(nr.dup3, socket.fd, 1, 0)
  if call == nr.execve then return sys(call, path, argv, environment) end
  return sys(call, at, path, argv, environment, flags)
end
local function fails(got, text, errno)
  if got then return "ok " .. tostring(got) end
  return "errno " .. tostring(errno) .. " " .. tostring(text)
end
local _ = CWD, IN6, STREAM, DGRAM, on, inet, inet6, unix, message, connect, by, become
"""


_numbers = itertools.count()


def prepare():
    """Puts the program and the module where every account can use them. Returns the program."""
    mbtest.without_leaks()
    check(os.stat(mbtest.TMP).st_uid == os.geteuid(), "the directory is ours")
    for directory in (mbtest.TMP, ROOM):
        os.chmod(directory, 0o755)
    module = os.environ.get("MB_ESCAPE")
    if not module:
        flags = mbtest.output_of(mbtest.need("pkg-config"), "--cflags", "lua5.3").split()
        module = mbshim.compiled(f"{mbtest.SRCDIR}/tests/lib/escape.c", *flags, "-lpthread")
    shutil.copy(module, f"{ROOM}/escape.so")
    return shutil.copy(HANDLE, f"{ROOM}/mb-handle")


def source(body, wishes=None, before="", returns="", **values):
    """Returns the script whose connect has this body. wishes: the value of the field sandbox, as Lua; before: Lua that
    runs when the script is loaded; values are local variables."""
    variables = "".join(f"local {name} = {lua(value)}\n" for name, value in values.items())
    sandbox = f"sandbox = {wishes}, " if wishes is not None else ""
    return (
        HEAD % lua(ROOM)
        + f"{variables}{before}\nlisten{{ {sandbox}connect = function(socket)\n"
        + f"local function attack()\n{body}\nend\nsocket:write(fails(attack()))\n{returns}\nend }}\n"
    )


def result(answer):
    """Returns "ok VALUE", the name of an errno, or all of what is neither."""
    found = re.fullmatch(rb"errno (\d+) .*", answer, re.DOTALL)
    if found:
        return errno.errorcode.get(int(found.group(1)), answer.decode())
    return answer.decode(errors="backslashreplace")


class Attack:
    """A handler that has run an attack: .got is what came of it, .log what the program says, .status its end."""

    def __init__(self, body, *args, wishes=None, before="", pair=local_pair, program=(), user=None, listen=1, **values):
        # In a directory of its own, as modules = true lets it be read.
        path = mbtest.tmp("scripts", f"attack{next(_numbers)}.lua")
        mbtest.write_file(path, source(body, wishes, before, **values))
        prefix = [*program]
        if user:
            prefix = [mbtest.need("setpriv"), f"--reuid={user}", f"--regid={user}", "--clear-groups", *program]
        log = mbtest.tmp("log", f"attack-{os.path.basename(path)}")
        client, conn = pair()
        with conn, open(log, "wb") as out, open("/dev/null", "r+b") as null:
            argv = [*prefix, f"{ROOM}/mb-handle", *args, path]
            child = Child(argv, {0: null, 1: null, 2: out, 3: conn}, listen_fds=listen)
        with client:
            data, self.how = client.end()
        self.status = child.wait()
        self.log = mbtest.without_ends(mbtest.read_file(log))
        self.got = result(data)

    def refused(self, how="EPERM|EACCES|ENOSYS"):
        check(re.fullmatch(how, self.got), f"expected {how}, got {self.got!r}; log: {self.log!r}")


def fits(got, want):
    """Returns whether the result fits the pattern, in which "ok" stands for "ok" with whatever value."""
    return re.fullmatch(re.sub(r"\bok\b(?! )", "ok( .*)?", want), got, re.DOTALL)


def works(body, want="ok", *args, **more):
    """The attack does that."""
    attack = Attack(body, *args, **more)
    check(fits(attack.got, want), f"expected {want}, got {attack.got!r}, status {attack.status}; log: {attack.log!r}")
    return attack


class Victim(mbtest.Process):
    """Another process: asleep, of this user or of another one."""

    def __init__(self, user=None):
        prefix = [mbtest.need("setpriv"), f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        super().__init__([*prefix, mbtest.need("sleep"), "1000"])
        until(lambda: mbtest.read_file(f"/proc/{self.pid}/comm") == "sleep\n", "it sleeps")

    def lives(self):
        return self.popen.poll() is None


class Peers:
    """What listens beside the handler: TCP at two ports, IPv6, UDP, Unix sockets with a path and without."""

    def __init__(self):
        self.sockets = []
        self.port, self.other_port = (self._tcp(socket.AF_INET, "127.0.0.1") for _ in range(2))
        self.port6 = self._tcp(socket.AF_INET6, "::1")
        self.udp = self._add(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        self.udp_port = self.udp.getsockname()[1]
        self.path, self.other_path, self.journal = (f"{ROOM}/{n}.sock" for n in ("one", "other", "journal"))
        self.abstract = f"mb-escape-{os.getpid()}-{self.port}"
        for path in (self.path, self.other_path, f"\0{self.abstract}"):
            self._add(socket.AF_UNIX, socket.SOCK_STREAM, path).listen(64)
        self.log_socket = self._add(socket.AF_UNIX, socket.SOCK_DGRAM, self.journal)
        self.abstract_log = self._add(socket.AF_UNIX, socket.SOCK_DGRAM, f"\0{self.abstract}-log")
        for path in (self.path, self.other_path, self.journal):
            os.chmod(path, 0o777)

    def _add(self, family, kind, where):
        sock = socket.socket(family, kind)
        sock.bind(where)
        sock.setblocking(False)
        self.sockets.append(sock)
        return sock

    def _tcp(self, family, host):
        sock = self._add(family, socket.SOCK_STREAM, (host, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
        sock.listen(64)
        return sock.getsockname()[1]

    def values(self):
        """The local variables of attacks."""
        return {
            "port": self.port,
            "other_port": self.other_port,
            "port6": self.port6,
            "udp_port": self.udp_port,
            "path": self.path,
            "other_path": self.other_path,
            "journal": self.journal,
            "abstract": f"\0{self.abstract}",
            "abstract_log": f"\0{self.abstract}-log",
        }

    def taken(self):
        """Takes all datagrams and connections that are there. Returns what they are."""
        came = []
        for sock in self.sockets:
            with contextlib.suppress(BlockingIOError):
                while True:
                    if sock.type == socket.SOCK_DGRAM:
                        came.append(sock.recv(1000))
                    else:
                        with sock.accept()[0] as connection:
                            came.append(connection.getsockname())
        return came
