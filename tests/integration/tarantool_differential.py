#!/usr/bin/python3
"""mb.tarantool beside Tarantool itself: the same statements, over real sockets, must say the same, one by one; also in
a program that --style=tarantool runs. Where ours differs on purpose, the statement names a row of the table in
mb.tarantool(3), and REASONS says how the two answers differ. One that no longer differs fails."""

import contextlib
import functools
import os
import re
import socket
import struct
import subprocess
import sys
import threading

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbnet
import mbtest
from mbtest import DEADLINE, RUN_MAX, SRCDIR
from mbtest import Client, Serving, about, check, equal, free_port, script, tcp_pair, test, tmp

os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"  # OpenSSL's own, which digest loads
TARANTOOL = mbtest.need("tarantool")
mbnet.private_network()  # some statements bind a port of their own

# m calls a method and shows its results, and the error that it leaves; statement runs one line of a group.
HEAD = r"""
local socket, fiber, errno = require "socket", require "fiber", require "errno"
local unpack = table.unpack or unpack
local out = assert(io.open(OUT, "w"))
local function pack(...) return {n = select("#", ...), ...} end
local function show(v)
  if type(v) == "number" then return (v % 1 == 0 and math.abs(v) < 2 ^ 53 and "%.0f" or "%.14g"):format(v) end
  if type(v) == "string" then return ((("%q"):format(v):gsub("\\\n", "\\n"):gsub("\r", "\\r"):gsub("%z", "\\0"))) end
  if type(v) == "table" and (getmetatable(v) == nil or v.host) then
    local fields = {}
    for k, x in pairs(v) do fields[#fields + 1] = tostring(k) .. "=" .. show(x) end
    table.sort(fields)
    return "{" .. table.concat(fields, ",") .. "}"
  end
  if type(v) == "cdata" then return (tostring(v):gsub("U?LL$", "")) end
  if type(v) == "table" or type(v) == "userdata" or type(v) == "function" then return "(" .. type(v) .. ")" end
  return tostring(v)
end
local function all(...)
  local t = pack(...)
  for i = 1, t.n do t[i] = show(t[i]) end
  return t.n > 0 and table.concat(t, " ") or "(nothing)"
end
local function failure(message)
  message = tostring(message):gsub("^[^:]*:%d+: ", "")
  for _, words in ipairs{"^[Uu]sage", "bad argument", "^bad ", "^attempt to %l+ ", "^cannot convert", "option",
    "can not be negative", "SO_LINGER", "Use s:linger", "negative size"} do
    if message:find(words) and not message:find "closed socket" then message = "misuse" end
  end
  return "throws " .. message
end
local names = {}
for _, name in ipairs{"EAGAIN", "EBADF", "EINVAL", "ETIMEDOUT", "EPIPE", "ECONNREFUSED", "ENOTCONN", "EINPROGRESS",
  "EADDRINUSE", "EAFNOSUPPORT", "ENOENT", "EISCONN", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "ECONNRESET", "ENXIO",
  "EDESTADDRREQ", "ENOPROTOOPT", "EOPNOTSUPP", "ENOTSOCK", "EADDRNOTAVAIL", "EMSGSIZE", "ENAMETOOLONG", "EPROTOTYPE",
  "EIO", "EACCES", "ENODEV"} do
  if errno[name] then names[errno[name]] = name end
end
local function number(n) return names[n] or show(n) end
local function m(s, name, ...)
  local t = pack(pcall(s[name], s, ...))
  if not t[1] then return failure(t[2]) end
  local text = all(unpack(t, 2, t.n))
  if name == "errno" or name == "error" or name == "close" or type(s) ~= "table" or not s.errno then return text end
  return text .. " | " .. number(s:errno()) .. " " .. show(s:error())
end
local function statement(id, f, raw)
  local t
  local task = fiber.create(function() t = pack(pcall(f)) end)
  local began = fiber.clock()
  while not t and fiber.clock() - began < PATIENCE do fiber.sleep(0.001) end
  local text = not t and "(waits)" or not t[1] and failure(t[2]) or raw and t[2] or all(unpack(t, 2, t.n))
  if not t then task:cancel() fiber.sleep(0) end
  out:write(id, "\t", text, "\n")
  out:flush()
end
local function group(f)
  local good, message = pcall(f)
  if not good then out:write("0\t", message, "\n") end
end
local function listener(backlog)
  local s = assert(socket("AF_INET", "SOCK_STREAM", "tcp"))
  s:listen(backlog or 16)
  return s, s:name().port
end
local function pair()
  local ms, port = listener()
  local a = assert(socket.tcp_connect("127.0.0.1", port))
  assert(ms:readable(5))
  local b = assert(ms:accept())
  b:nonblock(true)
  ms:close()
  return a, b
end
local function udp()
  local s = assert(socket("AF_INET", "SOCK_DGRAM", "udp"))
  assert(s:bind("127.0.0.1", 0))
  s:nonblock(true)
  return s, s:name().port
end
local function arrives(s) assert(s:readable(10)) end
local function timed(f, ...) -- whether f took at least 0.02 s
  local began = fiber.clock()
  local t = pack(f(...))
  return fiber.clock() - began >= 0.0199, unpack(t, 1, t.n)
end
"""


class Statement:
    """A line of a group that is compared. LINE --! REASON: the answers differ, as REASONS says."""

    count = 0

    def __init__(self, text):
        Statement.count += 1
        self.number = Statement.count
        self.line, _, self.reason = text.partition(" --! ")

    def lua(self):
        """A method's call shows the object's error as well; anything else is an expression."""
        call = re.fullmatch(r"(\w+):(\w+)\((.*)\)", self.line)
        if call and not re.search(r"\), \w+:\w+\(", call[3] + ")"):
            arguments = f", {call[3]}" if call[3] else ""
            return f'statement({self.number}, function() return m({call[1]}, "{call[2]}"{arguments}) end, true)'
        return f"statement({self.number}, function() return {self.line} end)"


class Group:
    def __init__(self, name, text, native=False):
        self.name, self.native = name, native
        self.lines = [line[2:] if line.startswith("! ") else Statement(line) for line in text.strip().splitlines()]

    def statements(self):
        return [line for line in self.lines if not isinstance(line, str)]


GROUPS = []


def group(name, text, native=False):
    """Adds statements. A line that begins with "! " is run, and not compared. native: not with --style, where a program
    can bind a stream socket to nothing but the connection's address."""
    GROUPS.append(Group(name, text, native))


CONNECTIONS = []


def connection(name, text):
    """Adds statements about a connection that a listener at PORT accepts: the one that --style has. s is its object,
    and near that of the client."""
    CONNECTIONS.append(Group(name, text))


def failed(text):
    return text.startswith("throws") or re.match(r"(nil|false)\b", text) is not None


def rest(text):
    return text.partition(" | ")[2]


def writes(theirs, own):
    """A number or nil there, true or false here; the error is the same."""
    if own.startswith("true"):
        return re.match(r"\d+ \|", theirs) is not None
    return theirs.startswith("nil |") and own.startswith("false |") and rest(theirs) == rest(own)


def connects(theirs, own):
    return theirs.startswith("false | EINPROGRESS") or (theirs, own) == ("111 | 0 nil", "0 | 0 nil")


def is_strict(theirs, own):
    """Taken there, refused here; or shutdown()'s both directions there, and one here."""
    return not failed(theirs) and (failed(own) or (theirs, own) == ('true "0" nil ""', 'true "0" nil nil'))


def closed(theirs, own):
    return "closed socket" in theirs or (theirs, own) == ('true "true"', 'true "false"')


def ahead(theirs, own):
    return "EAGAIN" in theirs or "ETIMEDOUT" in theirs or len(theirs) > len(own)


def ports(theirs, own):
    return "port=0" in theirs and "port=PORT" in own or (theirs, own) == ("false", "true")


def ip(theirs, own):
    return re.sub(r'(protocol=|"SOCK_\w+" )0', r'\1"ip"', theirs) == own


# Reason -> a row of the table in mb.tarantool(3), and what the two answers must be like.
REASONS = {
    "write": ("s:write, s:send", writes),
    "wait": ("s:wait, timeout", lambda theirs, own: theirs.startswith("0 |") and own == "nil | " + rest(theirs)),
    "new": ("a new socket", lambda theirs, own: (theirs, own) == ("true | 0 nil", "false | 0 nil")),
    "connect": ("s:sysconnect, no block", connects),
    "protocol": ("protocol 0", ip),
    "misuse": ("arguments of a wrong type", lambda theirs, own: own == "throws misuse"),
    "more": ("arguments in other forms", lambda theirs, own: failed(theirs) and not own.startswith("throws")),
    "strict": ("what is not well formed", is_strict),
    "number": ("the number of an error", lambda theirs, own: failed(theirs) and failed(own)),
    "message": ("a function that fails", lambda theirs, own: theirs.startswith("nil") and own.startswith("nil ")),
    "extra": ("names of that page", lambda theirs, own: failed(theirs) != failed(own)),
    "closed": ("a closed socket", closed),
    "ahead": ("s:read of a number", ahead),
    "sender": ("address from s:accept", lambda theirs, own: "tcp" in own and "tcp" not in theirs),
    "seconds": ("SO_RCVTIMEO, SO_SNDTIMEO", lambda theirs, own: re.match(r"(true|1\.5|2) \| 0", own) is not None),
    "peercred": ("SO_PEERCRED", lambda theirs, own: theirs == "0 | 0 nil" and own.startswith("{gid=")),
    "join": ("f:join after an error", lambda theirs, own: (theirs, own) == ("false thrown", 'false "thrown"')),
    "port": ("tcp_server at port 0", ports),
    "prepare": ("arguments of prepare", lambda theirs, own: own in ('2 "table"', '"127.0.0.1"')),
    "reset": ("the connection, reset", lambda theirs, own: "ECONNRESET" in own or (theirs, own) == ("true", "false")),
    "channel": ("a closed channel", lambda theirs, own: (theirs, own) in (("nil", "1"), ("0", "1"))),
    "null": ("null in JSON's objects", lambda theirs, own: (theirs, own) == ("true", "false")),
    "big": ("JSON's integers from 2^63", lambda theirs, own: own in ("1.2345678901235e+19", '"12345678901234567168"')),
    "setting": ("unknown setting of json", lambda theirs, own: not failed(theirs) and own.startswith("throws")),
    "ipv6": ("uri.format of IPv6", lambda theirs, own: (theirs, own) == ('"::1:80"', '"[::1]:80"')),
    "empty": ("an empty datagram", lambda theirs, own: (theirs, own) == ("true | 0 nil", "0 | 0 nil")),
}

# ---- making sockets ----

group("making a socket", r"""
! local function made(...) local s = socket(...) return s and s:name().family, s and s:name().type,
! s and s:name().protocol, number(errno()) end
made("AF_INET", "SOCK_STREAM", "tcp")
made("PF_INET", "SOCK_STREAM", "tcp")
made("AF_INET", "SOCK_STREAM", 0)
made("AF_INET", "SOCK_STREAM", 6)
made(2, 1, 6)
made("AF_INET", 1, "tcp")
made("AF_INET6", "SOCK_STREAM", "tcp")
made("PF_INET6", "SOCK_DGRAM", "udp")
made("AF_INET", "SOCK_DGRAM", "udp")
made("AF_INET", "SOCK_DGRAM", 17)
made("AF_INET", "SOCK_RAW", "icmp")
made("AF_UNIX", "SOCK_STREAM", 0) --! protocol
made("PF_UNIX", "SOCK_DGRAM", 0) --! protocol
made("AF_UNIX", "SOCK_SEQPACKET", 0) --! protocol
made("AF_LOCAL", "SOCK_STREAM", 0) --! protocol
made("PF_LOCAL", "SOCK_STREAM", 0) --! protocol
made("AF_UNIX", "SOCK_STREAM", "ip") --! protocol
made("AF_UNIX", "SOCK_STREAM") --! more
made("AF_INET", "SOCK_STREAM") --! more
made("AF_FOO", "SOCK_STREAM", "tcp") --! number
made("AF_INET", "SOCK_FOO", "tcp") --! number
made("AF_INET", "SOCK_STREAM", "nosuch") --! number
made("AF_INET", "SOCK_STREAM", "udp")
made("af_inet", "sock_stream", "tcp") --! number
made("INET", "STREAM", "tcp") --! number
made(nil, "SOCK_STREAM", "tcp") --! number
made("AF_INET", nil, "tcp") --! number
made({}, "SOCK_STREAM", "tcp") --! misuse
made(-1, 1, 0)
made(2, 99, 0)
socket("AF_INET", "SOCK_STREAM", "udp") --! strict
errno()
errno.strerror()
socket.errno ~= nil --! extra
type(socket("AF_INET", "SOCK_STREAM", "tcp"))
type(socket("AF_INET", "SOCK_STREAM", "tcp"):fd())
""")

group("a new socket", r"""
! local s = socket("AF_INET", "SOCK_STREAM", "tcp")
s:errno()
s:error()
s:nonblock() --! new
s:nonblock(true)
s:nonblock()
s:nonblock(false)
s:nonblock()
s:nonblock(true)
s:peer()
s:name()
s:sysread(10)
s:syswrite("x")
s:read(1, 0.01)
s:write("x", 0.01) --! write
s:recv(10)
s:send("x") --! write
s:recvfrom(10)
s:accept()
s:shutdown("RW")
s:shutdown("R")
s:wait(0)
s:readable(0)
s:writable(0)
s.nosuch
(pcall(s.nosuch, s))
tostring(s):gsub("%d+", "N")
s:close()
""")

group("a closed socket", r"""
! local s, c = pair() c:write("x") s:close()
s:close() --! closed
s:errno() --! closed
s:error() --! closed
s:fd()
s:name()
s:peer()
s:read(1)
s:write("x")
s:sysread(1)
s:syswrite("x")
s:recv(1)
s:send("x")
s:recvfrom(1)
s:sendto("127.0.0.1", 1, "x")
s:nonblock()
s:nonblock(true)
s:shutdown("W")
s:bind("127.0.0.1", 0)
s:listen()
s:accept()
s:sysconnect("127.0.0.1", 1)
s:setsockopt("SOL_SOCKET", "SO_KEEPALIVE", true)
s:getsockopt("SOL_SOCKET", "SO_KEEPALIVE")
s:linger()
s:readable(0)
s:writable(0)
s:wait(0)
tostring(s) --! closed
c:read(1, 1)
""")

group("methods without a socket", r"""
! local s = socket("AF_INET", "SOCK_STREAM", "tcp")
s.read()
s.read({})
s.read(5)
s.read("x")
s.errno()
s.errno({})
s.error({})
s.close()
s.close({})
s.write(nil, "x")
s.fd(nil)
s.name({})
s.accept(false)
s.nonblock({}, true)
s.linger({})
""")

group("errno", r"""
errno.EAGAIN
errno.EWOULDBLOCK
errno.ECONNRESET
errno.ENOSUCH
errno.ETIMEDOUT
errno(errno.EPIPE)
errno()
errno(0)
errno()
errno.strerror(0)
errno.strerror(2)
errno.strerror(errno.EPIPE)
errno.strerror(110)
errno.strerror(4095)
errno.strerror(-1)
errno.strerror("x")
errno.strerror({})
errno("x")
type(errno)
(errno(errno.EINVAL))
errno.strerror()
""")

# ---- reading ----

group("read: a number of bytes", r"""
! local a, b = pair() b:write("0123456789abcdefghij")
a:read(1)
a:read(5)
a:read(0)
a:read(3, 1)
a:read(3, 0)
a:read(30, 0.01)
a:read(30, 0)
a:read(8)
a:read(1, 0)
a:read(1, 0.02)
a:read("1", 0)
a:read(-1, 0)
a:read(1, -1)
! b:write("xyz") arrives(a)
a:read(2, 0)
! b:shutdown("W")
a:read(5, 1)
a:read(5, 1)
a:read(5)
a:read(0)
""")

group("read: a delimiter", r"""
! local a, b = pair() b:write("one\ntwo\r\nthree\n\nfour;five\r\n\r\nsix")
a:read("\n")
a:read("\r\n")
a:read("\n", 1)
a:read("\n", 1)
a:read(";")
a:read("\r\n\r\n")
a:read("\n", 0.01)
a:read("\n", 0)
a:read(";", 0.01)
! b:write("seven\n")
a:read("\n", 1)
! b:write("last") b:shutdown("W")
a:read("\n", 1)
a:read("\n", 1)
""")

group("read: several delimiters", r"""
! local a, b = pair() b:write("ab;cd\nef\r\ngh,ij;rest")
a:read({delimiter = {";", "\n"}})
a:read({delimiter = {";", "\n"}})
a:read({delimiter = {"\n", "\r\n"}})
a:read({delimiter = ","})
a:read({delimiter = {"x", ";"}})
a:read({"q"}, 0.01)
a:read({delimiter = "t", chunk = 2})
a:read({delimiter = "t", chunk = 20})
a:read({}, 0.01)
a:read({delimiter = {}}, 0.01)
! b:write("abcabcabc")
a:read({delimiter = {"bc", "abc"}}, 1)
a:read({delimiter = {"abcabc", "c"}}, 1)
a:read({delimiter = {"abcabc", "abc"}}, 0.01)
! b:write("x;y")
a:read({";", "\n"}, 0.01) --! more
""")

group("read: tables of options", r"""
! local a, b = pair() b:write("0123456789\nabcdefghij\n")
a:read({chunk = 3})
a:read({size = 2})
a:read({line = "\n"})
a:read({chunk = 2, delimiter = "\n"})
a:read({chunk = 200, delimiter = "\n"})
a:read({chunk = 5}, 0.01)
! b:write("xy\nz")
a:read({chunk = 3, delimiter = "\n"}, 1)
a:read({chunk = 3, delimiter = "\n"}, 0.01)
a:read({chunk = 0}, 0.01)
a:read({nosuch = 1}, 0.01)
a:read({chunk = "x"}, 0.01)
a:read({delimiter = 5}, 0.01)
! b:close()
a:read({chunk = 5, delimiter = "\n"}, 1)
a:read({chunk = 5, delimiter = "\n"}, 1)
""")

group("read: misuse", r"""
! local a, b = pair() b:write("line\nline\nline\nline\n")
a:read(true)
a:read("") --! misuse
a:read({""}, 0.01) --! misuse
a:read(print)
a:read("\n", "x") --! misuse
a:read(5, {}) --! misuse
a:read("\n", true) --! misuse
a:read({5}, 0.01) --! misuse
a:read({{}}, 0.01) --! misuse
a:read(1.5)
a:read(0/0, 0.01) --! misuse
a:read(nil, 0.01) --! number
""")

group("read: a limit beyond the stream, the end, resets", r"""
! local a, b = pair() b:write("all of it") b:close()
a:read(1000)
a:read(1000)
a:read("\n")
a:readable(1)
a:sysread(10)
a:errno()
! local c, d = pair() d:write("data") arrives(c) d:linger(true, 0) d:close() fiber.sleep(0.01)
c:read(10, 1)
c:read(10, 1)
c:write("x", 1) --! write
! local e, f = pair() e:write("unread") arrives(f) f:close() fiber.sleep(0.01)
e:read(10, 1)
e:read(10, 1)
""")

group("read: what stays in the buffer", r"""
! local a, b = pair() b:write("0123456789\nabc") arrives(a)
a:read(2)
a:recv(4) --! ahead
a:sysread(4) --! ahead
a:readable(0) --! ahead
a:read("\n") --! ahead
a:read(3)
a:read(1, 0)
! b:write("more") arrives(a)
a:sysread(2)
a:read(2)
a:readable(0)
""")

group("readline is no method of Tarantool 2", r"""
! local a = pair()
a.readline == nil --! extra
a.sysbind == nil --! extra
""")

group("sysread", r"""
! local a, b = pair()
a:sysread(5)
a:sysread()
! b:write("0123456789") arrives(a)
a:sysread(5)
a:sysread(50)
a:sysread(50)
! b:write("0123456789") arrives(a)
a:sysread()
! b:write("0123456789") arrives(a)
a:sysread(0)
a:sysread(-1)
a:sysread({})
a:sysread("x")
a:sysread(5)
! b:shutdown("W") arrives(a)
a:sysread(5)
a:sysread(5)
a:sysread()
! local c, d = pair() d:write("0123456789") arrives(c)
c:recv("2") --! more
c:sysread("5") --! more
c:recv(-1) --! misuse
""")

# ---- writing ----

group("write", r"""
! local a, b = pair()
a:write("hello") --! write
a:write("") --! write
a:write("x", 1) --! write
a:write("x", 0) --! write
a:write(12) --! more
a:write(1.5) --! more
a:write()
a:write(nil)
a:write({})
a:write(true)
a:write("x", "y")
a:write("x", {})
a:write("h\0i") --! write
b:read(17, 1)
""")

group("write: what does not fit, the end", r"""
! local a, b = pair() local much = ("x"):rep(8000000)
! a:setsockopt("SOL_SOCKET", "SO_SNDBUF", 20000) b:setsockopt("SOL_SOCKET", "SO_RCVBUF", 20000)
! for _ = 1, 5 do a:write(much, 0.02) end
a:write(much, 0.02) --! write
a:write("more", 0.01) --! write
a:write("more", 0) --! write
a:writable(0)
a:wait(0) --! wait
a:syswrite("more")
a:send("more") --! write
! b:close() fiber.sleep(0.02)
a:write("x", 1) --! write
a:write("x", 1) --! write
a:syswrite("x")
a:send("x") --! write
a:writable(0)
! local c, d = pair()
c:shutdown("W")
c:write("x") --! write
c:write("") --! write
c:syswrite("x")
c:syswrite("")
c:send("x") --! write
c:send("") --! write
d:read(1)
d:write("back") --! write
c:read(4, 1)
""")

group("syswrite, send", r"""
! local a, b = pair()
a:syswrite("hello")
a:syswrite("")
a:syswrite(12) --! more
a:syswrite()
a:syswrite({})
a:syswrite(nil)
a:send("hello") --! write
a:send("") --! write
a:send(12) --! more
a:send()
a:send({})
a:send("x", "MSG_MORE") --! write
a:send("x", {"MSG_MORE"}) --! write
a:send("x", {"MSG_DONTWAIT", "MSG_NOSIGNAL"}) --! write
a:send("x", 0) --! more
a:send("x", "MSG_FOO") --! number
a:send("x", {"MSG_FOO"}) --! number
a:send("x", {}) --! write
a:send("x", {MSG_MORE = true}) --! more
a:send("x", {MSG_MORE = false}) --! more
""")

group("recv, recvfrom: streams", r"""
! local a, b = pair()
a:recv(5)
a:recv()
a:recvfrom(5)
! b:write("0123456789abcdefghij") arrives(a)
a:recv(3)
a:recv(3, "MSG_PEEK")
a:recv(3, {"MSG_PEEK"})
a:recv(3, {MSG_PEEK = true}) --! more
a:recv(3, 2) --! more
a:recv(3, "MSG_FOO")
a:recv(0)
a:recv({})
a:recv("x")
a:recvfrom(2)
a:recv()
a:recv()
! b:shutdown("W") arrives(a)
a:recv(5)
a:recv()
a:recvfrom(5)
""")

# ---- waiting ----

group("readable, writable, wait", r"""
! local a, b = pair()
a:readable(0)
a:readable(0.01)
a:writable(0)
a:writable()
a:wait(0)
a:wait(0.01)
a:wait()
timed(a.readable, a, 0.02)
timed(a.read, a, 5, 0.02)
timed(a.read, a, "\n", 0.02)
timed(a.writable, a, 0.02)
timed(a.wait, a, 0.02)
! b:write("x") arrives(a)
a:readable(0)
a:readable()
a:writable(0)
a:wait(0)
a:wait()
a:readable(-1)
a:wait(-1)
a:readable({})
a:readable(true)
a:wait({})
! b:close() fiber.sleep(0.01)
a:readable(0)
a:writable(0)
a:wait(0)
! local ms, port = listener()
ms:readable(0)
ms:writable(0)
ms:wait(0) --! wait
! local c = socket.tcp_connect("127.0.0.1", port) arrives(ms)
ms:readable(0)
ms:wait(0)
! ms:accept() ms:shutdown("RW")
ms:readable(0)
! local u = udp()
u:readable(0)
u:writable(0)
u:wait(0)
""")

group("waits end with a close", r"""
! local a, b = pair() local r
! fiber.create(function() r = pack(pcall(a.readable, a, 5)) end) fiber.sleep(0) a:close() fiber.sleep(0.01)
r and r[1], r and (tostring(r[2]):gsub("^[^:]*:%d+: ", "")) --! closed
! a, b = pair() r = nil fiber.create(function() r = pack(pcall(a.read, a, 5, 5)) end) fiber.sleep(0) a:close()
! fiber.sleep(0.01)
r and r[1], r and (tostring(r[2]):gsub("^[^:]*:%d+: ", "")) --! closed
a:errno() --! closed
! a, b = pair() r = nil fiber.create(function() r = pack(pcall(a.read, a, "\n", 5)) end) fiber.sleep(0)
! b:write("a line\n") fiber.sleep(0.01)
r and r[1], r and (tostring(r[2]):gsub("^[^:]*:%d+: ", ""))
! local ms = listener() ms:nonblock(true) r = nil fiber.create(function() r = pack(pcall(ms.readable, ms, 5)) end)
! fiber.sleep(0) ms:close() fiber.sleep(0.01)
r and r[1], r and (tostring(r[2]):gsub("^[^:]*:%d+: ", "")) --! closed
""")

group("iowait", r"""
! local a, b = pair()
socket.iowait(a:fd(), "R", 0)
socket.iowait(a:fd(), "W", 0)
socket.iowait(a:fd(), "RW", 0)
socket.iowait(a:fd(), "r", 0)
socket.iowait(a:fd(), "w", 0)
socket.iowait(a:fd(), "rw", 0)
socket.iowait(a:fd(), 1, 0)
socket.iowait(a:fd(), 2, 0)
socket.iowait(a:fd(), 3, 0)
! b:write("x") arrives(a)
socket.iowait(a:fd(), "R", 0)
socket.iowait(a:fd(), "R")
socket.iowait(a:fd(), "RW")
socket.iowait(a:fd(), 1)
socket.iowait(a:fd(), 3)
socket.iowait(nil, nil, 0.02)
timed(socket.iowait, nil, nil, 0.02)
socket.iowait(nil, "R", 0)
socket.iowait(-1, "R", 0)
socket.iowait(-1, nil, 0)
socket.iowait(a:fd(), 0, 0)
socket.iowait(a:fd(), "", 0)
socket.iowait(a:fd(), "X", 0)
socket.iowait(a:fd(), nil, 0)
socket.iowait(a:fd(), 4, 0)
socket.iowait("x", "R", 0)
socket.iowait(a:fd(), {}, 0)
socket.iowait(a:fd(), "R", {})
""")

# ---- addresses ----

group("name, peer", r"""
! local ms, port = listener()
! local a = socket.tcp_connect("127.0.0.1", port) ms:readable(5) local b, from = ms:accept()
a:name()
a:peer()
b:name()
b:peer()
ms:name()
ms:peer()
from --! sender
from.port == a:name().port
a:peer().port == port
b:name().port == port
! local u, uport = udp()
u:name()
u:peer()
! a:close() fiber.sleep(0.01)
b:peer()
! local n = socket("AF_UNIX", "SOCK_STREAM", 0)
n:name() --! protocol
n:peer()
! local six = socket("AF_INET6", "SOCK_STREAM", "tcp")
six:name()
six:peer()
tostring(b):gsub("%d+", "N")
tostring(ms):gsub("%d+", "N")
tostring(u):gsub("%d+", "N")
tostring(n):gsub("%d+", "N")
""")

group("bind and connect: literals and others", r"""
! local s, kept = nil, {}
! local function new(...) s = socket(...) s:nonblock(true) kept[#kept + 1] = s end
! local inet = {"AF_INET", "SOCK_DGRAM", "udp"} local inet6 = {"AF_INET6", "SOCK_DGRAM", "udp"}
! local unix = {"AF_UNIX", "SOCK_DGRAM", 0}
! local function bound(kind, ...) new(unpack(kind)) local r = s:bind(...) local e = number(s:errno())
! return r, e, s:error(), r and s:name().host end
! local function connected(kind, ...) new(unpack(kind)) local r = s:sysconnect(...) local e = number(s:errno())
! return r, e, s:error() end
bound(inet, "127.0.0.1", 0)
bound(inet, "127.0.0.1", "0")
bound(inet, "127.0.0.1")
bound(inet, "127.0.0.1", nil)
bound(inet, 0, 0)
bound(inet, "0", 0)
bound(inet, "0.0.0.0", 0)
bound(inet, "127.1", 0)
bound(inet, "localhost", 0) --! more
bound(inet, "nosuch.invalid", 0) --! number
bound(inet, "::1", 0)
bound(inet, "192.0.2.1", 0)
bound(inet, "unix/", "/tmp/x")
bound(inet, "", 0) --! more
bound(inet, nil, 0) --! misuse
bound(inet) --! misuse
bound(inet, {}, 0) --! misuse
bound(inet, "127.0.0.1", {}) --! misuse
bound(inet, "127.0.0.1", 65536)
bound(inet, "127.0.0.1", -1) --! strict
bound(inet, "127.0.0.1", "x") --! strict
bound(inet, 1, 0)
bound(inet6, "::1", 0)
bound(inet6, 0, 0) --! more
bound(inet6, "127.0.0.1", 0) --! number
bound(inet6, "::ffff:127.0.0.1", 0)
bound(inet6, "::", 0)
bound(unix, "unix/", TMP .. "/bound")
bound(unix, "unix/", TMP .. "/bound")
bound(unix, "unix/", TMP .. "/nosuch/bound")
bound(unix, "unix/", ("x"):rep(200)) --! number
bound(unix, "unix/", "") --! strict
bound(unix, "unix/") --! misuse
bound(unix, "127.0.0.1", 1) --! number
bound(unix, "unix/:", TMP .. "/x") --! number
connected(inet, "127.0.0.1", 7)
connected(inet, "127.0.0.1", "7")
connected(inet, "localhost", 7)
connected(inet, "nosuch.invalid", 7)
connected(inet, "::1", 7)
connected(inet, "127.0.0.1", "discard") --! strict
connected(inet, 0, 7)
connected(inet) --! misuse
connected(inet, "127.0.0.1")
connected(inet, "127.0.0.1", {}) --! misuse
connected(inet, "127.0.0.1", 65536) --! strict
connected(inet, "unix/", "/tmp/x")
connected(inet6, "::1", 7)
connected(inet6, "127.0.0.1", 7) --! strict
connected(unix, "unix/", TMP .. "/bound")
connected(unix, "unix/", TMP .. "/nosuch")
connected(unix, "unix/", "") --! strict
connected(unix, "127.0.0.1", 7) --! number
connected(unix, "unix/", ("x"):rep(200)) --! number
""")

group("binding twice, ports in use", r"""
! local s = socket("AF_INET", "SOCK_STREAM", "tcp") s:setsockopt("SOL_SOCKET", "SO_REUSEADDR", true)
s:bind("127.0.0.1", 0)
s:bind("127.0.0.1", 0)
s:bind("localhost", 0)
s:listen(5)
s:listen()
s:listen(0)
s:listen(-1)
s:listen("x")
s:listen({})
! local port = s:name().port local o = socket("AF_INET", "SOCK_STREAM", "tcp")
o:bind("127.0.0.1", port)
o:bind("127.0.0.1", port)
o:errno()
! local u = socket("AF_INET", "SOCK_DGRAM", "udp")
u:listen()
u:accept()
! local a, b = pair()
a:listen()
a:bind("127.0.0.1", 0)
a:sysconnect("127.0.0.1", port)
a:accept()
""", native=True)

group("sysconnect", r"""
! local ms, port = listener() local s = socket("AF_INET", "SOCK_STREAM", "tcp") s:nonblock(true)
s:sysconnect("127.0.0.1", port) --! connect
s:writable(1)
s:getsockopt("SOL_SOCKET", "SO_ERROR")
s:sysconnect("127.0.0.1", port)
s:write("x") --! write
! local r = socket("AF_INET", "SOCK_STREAM", "tcp") r:nonblock(true)
r:sysconnect("127.0.0.1", 1) --! connect
r:writable(1)
r:getsockopt("SOL_SOCKET", "SO_ERROR") --! connect
r:getsockopt("SOL_SOCKET", "SO_ERROR")
! local n = socket("AF_INET", "SOCK_STREAM", "tcp") n:nonblock(true)
n:sysconnect("localhost", port)
n:sysconnect("nosuch.invalid", port)
""")

group("accept", r"""
! local ms, port = listener() ms:nonblock(true)
ms:accept()
! local c = socket.tcp_connect("127.0.0.1", port) arrives(ms)
! local s, from = ms:accept()
type(s)
from and from.host
from and from.family, from and from.type, from and from.protocol --! sender
s:nonblock() --! new
s:errno()
ms:accept()
ms:accept(5)
ms:read(1, 0.01)
ms:write("x") --! write
ms:sysread(1)
ms:recv(1)
""")

group("getaddrinfo", r"""
! local function list(t, ...) if not t then return t, ..., number(errno()) end local r = {}
! for i, a in ipairs(t) do r[i] = a end return r end
list(socket.getaddrinfo("127.0.0.1", 80, {type = "SOCK_STREAM"}))
list(socket.getaddrinfo("127.0.0.1", "80", {type = "SOCK_STREAM"}))
list(socket.getaddrinfo("127.0.0.1", "http", {type = "SOCK_STREAM"}))
list(socket.getaddrinfo("127.0.0.1", 80)) --! protocol
list(socket.getaddrinfo("127.0.0.1", "80" + 0, {type = "SOCK_STREAM"}))
list(socket.getaddrinfo("127.0.0.1", 160 / 2, {type = "SOCK_STREAM"}))
list(socket.getaddrinfo("127.0.0.1", ".0", {type = "SOCK_STREAM"})) --! message
list(socket.getaddrinfo("127.0.0.1", nil, {type = "SOCK_STREAM"}))
list(socket.getaddrinfo("::1", 80, {type = "SOCK_STREAM"}))
list(socket.getaddrinfo("127.0.0.1", 80, 1, {type = "SOCK_DGRAM"}))
list(socket.getaddrinfo("127.0.0.1", 80, nil, {type = "SOCK_DGRAM"}))
list(socket.getaddrinfo("127.0.0.1", 80, {protocol = "tcp"}))
list(socket.getaddrinfo("127.0.0.1", 80, {protocol = "udp", family = "AF_INET"}))
list(socket.getaddrinfo("127.0.0.1", 80, {family = "AF_INET6"})) --! message
list(socket.getaddrinfo("127.0.0.1", 80, {family = "AF_INET6", type = "SOCK_STREAM", flags = {"AI_V4MAPPED"}}))
list(socket.getaddrinfo("127.0.0.1", 80, {type = "SOCK_STREAM", flags = {"AI_PASSIVE", "AI_NUMERICHOST"}}))
list(socket.getaddrinfo("127.0.0.1", 80, {type = "SOCK_STREAM", flags = "AI_NUMERICHOST"}))
list(socket.getaddrinfo("localhost", 80, {type = "SOCK_STREAM", flags = {"AI_NUMERICHOST"}})) --! message
list(socket.getaddrinfo(nil, 80, {type = "SOCK_STREAM", family = "AF_INET", flags = {"AI_PASSIVE"}}))
list(socket.getaddrinfo(nil, 80, {type = "SOCK_STREAM", family = "AF_INET"}))
list(socket.getaddrinfo("", 80, {type = "SOCK_STREAM", family = "AF_INET"}))
list(socket.getaddrinfo("localhost", 80, {type = "SOCK_STREAM", family = "AF_INET"}))
list(socket.getaddrinfo("127.0.0.1", "nosuchservice", {type = "SOCK_STREAM"})) --! message
list(socket.getaddrinfo("127.0.0.1", 80, {type = "SOCK_FOO"})) --! message
list(socket.getaddrinfo("127.0.0.1", 80, {family = "AF_FOO"})) --! message
list(socket.getaddrinfo("127.0.0.1", 80, {protocol = "foo"})) --! message
list(socket.getaddrinfo("127.0.0.1", 80, {flags = {"AI_FOO"}})) --! message
list(socket.getaddrinfo("127.0.0.1", 80, {flags = "AI_FOO"})) --! message
list(socket.getaddrinfo("127.0.0.1", 80, {nosuch = 1, type = "SOCK_STREAM"}))
list(socket.getaddrinfo("127.0.0.1", 80, {type = 1}))
list(socket.getaddrinfo("127.0.0.1", 80, {type = 1, family = 2, protocol = 6}))
list(socket.getaddrinfo("nosuch.invalid", 80, {type = "SOCK_STREAM", flags = {"AI_NUMERICHOST"}})) --! message
list(socket.getaddrinfo({}, 80)) --! misuse
list(socket.getaddrinfo("127.0.0.1", {})) --! misuse
list(socket.getaddrinfo("127.0.0.1", 80, 1, "x")) --! misuse
list(socket.getaddrinfo()) --! strict
list(socket.getaddrinfo("127.0.0.1", 65536, {type = "SOCK_STREAM"}))
""")

# ---- options ----

group("socket options", r"""
! local s = socket("AF_INET", "SOCK_STREAM", "tcp") local d = socket("AF_INET", "SOCK_DGRAM", "udp")
! local ms = listener()
s:getsockopt("SOL_SOCKET", "SO_TYPE")
d:getsockopt("SOL_SOCKET", "SO_TYPE")
s:getsockopt("SOL_SOCKET", "SO_DOMAIN")
s:getsockopt("SOL_SOCKET", "SO_PROTOCOL")
s:getsockopt("SOL_SOCKET", "SO_ERROR")
s:getsockopt("SOL_SOCKET", "SO_ACCEPTCONN")
ms:getsockopt("SOL_SOCKET", "SO_ACCEPTCONN")
s:getsockopt("SOL_SOCKET", "SO_KEEPALIVE")
s:setsockopt("SOL_SOCKET", "SO_KEEPALIVE", true)
s:getsockopt("SOL_SOCKET", "SO_KEEPALIVE")
s:setsockopt("SOL_SOCKET", "SO_KEEPALIVE", false)
s:getsockopt("SOL_SOCKET", "SO_KEEPALIVE")
s:setsockopt("SOL_SOCKET", "SO_KEEPALIVE", 1)
s:getsockopt("SOL_SOCKET", "SO_KEEPALIVE")
s:setsockopt("socket", "SO_REUSEADDR", true)
s:getsockopt("socket", "SO_REUSEADDR")
s:setsockopt(1, "SO_REUSEADDR", 0)
s:getsockopt(1, "SO_REUSEADDR")
s:setsockopt("SOL_SOCKET", "SO_BROADCAST", true)
s:getsockopt("SOL_SOCKET", "SO_BROADCAST")
s:setsockopt("SOL_SOCKET", "SO_RCVBUF", 10000)
s:getsockopt("SOL_SOCKET", "SO_RCVBUF")
s:setsockopt("SOL_SOCKET", "SO_SNDBUF", 10000)
s:getsockopt("SOL_SOCKET", "SO_SNDBUF")
s:setsockopt("SOL_SOCKET", "SO_PRIORITY", 5)
s:getsockopt("SOL_SOCKET", "SO_PRIORITY")
s:getsockopt("SOL_SOCKET", "SO_MARK")
s:setsockopt("SOL_SOCKET", "SO_OOBINLINE", true)
s:getsockopt("SOL_SOCKET", "SO_OOBINLINE")
s:setsockopt("SOL_SOCKET", "SO_DONTROUTE", 1)
s:getsockopt("SOL_SOCKET", "SO_DONTROUTE")
s:setsockopt("SOL_SOCKET", "SO_RCVLOWAT", 100)
s:getsockopt("SOL_SOCKET", "SO_RCVLOWAT")
s:getsockopt("SOL_SOCKET", "SO_SNDLOWAT")
s:setsockopt("SOL_SOCKET", "SO_TIMESTAMP", true)
s:getsockopt("SOL_SOCKET", "SO_TIMESTAMP")
s:getsockopt("SOL_SOCKET", "SO_DEBUG")
s:getsockopt("SOL_SOCKET", "SO_BSDCOMPAT") --! more
s:getsockopt("SOL_SOCKET", "SO_BINDTODEVICE")
s:setsockopt("SOL_SOCKET", "SO_BINDTODEVICE", "nosuch")
s:getsockopt("SOL_SOCKET", "SO_RCVTIMEO")
s:setsockopt("SOL_SOCKET", "SO_RCVTIMEO", 1.5) --! seconds
s:getsockopt("SOL_SOCKET", "SO_RCVTIMEO") --! seconds
s:setsockopt("SOL_SOCKET", "SO_SNDTIMEO", 2) --! seconds
s:getsockopt("SOL_SOCKET", "SO_SNDTIMEO") --! seconds
s:getsockopt("SOL_SOCKET", "SO_PEERCRED") --! peercred
s:getsockopt("SOL_SOCKET", "SO_REUSEPORT") --! more
s:setsockopt("SOL_SOCKET", "SO_TYPE", 1)
s:setsockopt("SOL_SOCKET", "SO_ERROR", 1)
s:setsockopt("SOL_SOCKET", "SO_ACCEPTCONN", 1)
s:setsockopt("SOL_SOCKET", "SO_NOSUCH", 1)
s:getsockopt("SOL_SOCKET", "SO_NOSUCH")
s:setsockopt("SOL_NOSUCH", "SO_KEEPALIVE", 1) --! number
s:getsockopt("SOL_NOSUCH", "SO_KEEPALIVE") --! number
s:setsockopt("SOL_SOCKET", "SO_KEEPALIVE")
s:setsockopt("SOL_SOCKET", "SO_KEEPALIVE", "x")
s:setsockopt("SOL_SOCKET", "SO_RCVBUF", "x")
s:setsockopt("SOL_SOCKET", "SO_RCVBUF", {})
s:setsockopt("SOL_SOCKET")
s:setsockopt()
s:getsockopt("SOL_SOCKET")
s:getsockopt() --! number
s:setsockopt("SOL_SOCKET", 9, 1) --! more
s:getsockopt("SOL_SOCKET", 9) --! more
s:getsockopt("SOL_SOCKET", 3) --! more
s:setsockopt("tcp", "TCP_NODELAY", 1)
s:getsockopt("tcp", "TCP_NODELAY")
s:setsockopt("tcp", "TCP_NODELAY", false)
s:setsockopt("tcp", "TCP_NODELAY", true)
s:getsockopt("tcp", "TCP_NODELAY")
s:setsockopt("IPPROTO_TCP", "TCP_NODELAY", true)
s:setsockopt("SOL_TCP", "TCP_NODELAY", true)
s:getsockopt("SOL_TCP", "TCP_NODELAY")
s:setsockopt(6, "TCP_NODELAY", true)
s:getsockopt(6, "TCP_NODELAY")
s:setsockopt("tcp", "TCP_KEEPIDLE", 30)
s:getsockopt("tcp", "TCP_KEEPIDLE")
s:setsockopt("tcp", "TCP_KEEPINTVL", 5)
s:getsockopt("tcp", "TCP_KEEPINTVL")
s:setsockopt("tcp", "TCP_KEEPCNT", 3)
s:getsockopt("tcp", "TCP_KEEPCNT")
s:getsockopt("tcp", "TCP_CORK")
s:getsockopt("tcp", "TCP_NOSUCH")
s:setsockopt("SOL_SOCKET", "TCP_NODELAY", 1)
s:getsockopt("tcp", "SO_KEEPALIVE")
s:setsockopt("SOL_SOCKET", "SO_LINGER", 1)
s:getsockopt("SOL_SOCKET", "SO_LINGER")
d:setsockopt("SOL_SOCKET", "SO_BROADCAST", 1)
d:getsockopt("SOL_SOCKET", "SO_BROADCAST")
d:getsockopt("tcp", "TCP_NODELAY")
""")

group("linger", r"""
! local s = socket("AF_INET", "SOCK_STREAM", "tcp")
s:linger()
s:linger(true, 10)
s:linger()
s:linger(false)
s:linger()
s:linger(true)
s:linger()
s:linger(true, 0)
s:linger(true, "x")
s:linger(true, {})
""")

group("shutdown", r"""
! local a, b = pair()
a:shutdown("W")
b:read(1, 1)
a:shutdown("R")
a:shutdown("RW")
! a, b = pair()
a:shutdown("R")
a:read(1, 1)
a:write("x") --! write
! a, b = pair()
a:shutdown("RW")
b:read(1, 1)
a:read(1, 1)
! local function shut(how) local a, b = pair() local r = a:shutdown(how) return r, number(a:errno()), a:error(),
! b:read(1, 0.01) end
shut("R")
shut("W")
shut("RW")
shut("READ")
shut("WRITE")
shut("READ_WRITE")
shut("RD") --! strict
shut("WR") --! strict
shut("RDWR")
shut("SHUT_RD") --! strict
shut("SHUT_WR")
shut("SHUT_RDWR")
shut(0)
shut(1)
shut(2)
shut(3) --! strict
shut(-1) --! strict
shut("X") --! strict
shut("") --! strict
shut(nil)
shut({}) --! misuse
socket.SHUT_RD --! extra
socket.SHUT_RDWR --! extra
! local ms = listener()
ms:shutdown("R")
ms:shutdown("RW")
! local u = udp()
u:shutdown("RW")
""")

# ---- datagrams ----

group("datagrams", r"""
! local a, aport = udp() local b, bport = udp()
a:sendto("127.0.0.1", bport, "hello")
! arrives(b)
b:recvfrom(10)
b:recvfrom(10)
a:sendto("127.0.0.1", bport, "hello, you")
! arrives(b)
b:recv(5)
b:recv(5)
a:sendto("127.0.0.1", bport, "no size")
! arrives(b)
b:recvfrom()
a:sendto("127.0.0.1", bport, 12)
! arrives(b)
b:recv()
a:sendto("127.0.0.1", bport, ("x"):rep(70000))
a:sendto("127.0.0.1", bport, ("x"):rep(3000))
! arrives(b)
#(b:recv())
a:sendto("localhost", bport, "x")
a:sendto("nosuch.invalid", bport, "x")
a:sendto("127.0.0.1", "x", "x")
a:sendto("::1", bport, "x")
a:sendto() --! misuse
a:sendto("127.0.0.1") --! strict
a:sendto("127.0.0.1", bport, "x", "MSG_FOO")
a:sendto("127.0.0.1", bport, "flagged", "MSG_DONTWAIT")
! arrives(b)
b:recv(20, "MSG_PEEK")
b:recv(3, {"MSG_PEEK"})
b:recvfrom(20, {"MSG_PEEK"})
b:recvfrom(20)
a:send("x") --! write
a:write("x") --! write
a:syswrite("x")
a:sysconnect("127.0.0.1", bport)
a:send("connected") --! write
a:syswrite("connected too")
a:write("written") --! write
! arrives(b)
b:recv(100)
b:sysread(100)
b:read(3, 1)
b:peer()
a:peer()
a:sendto(nil, nil, "x") --! misuse
a:sendto("127.0.0.1", bport, "") --! empty
a:sendto("127.0.0.1", bport) --! empty
a:sysconnect("127.0.0.1", 9)
a:send("x") --! write
! fiber.sleep(0.01)
a:recv(10)
a:recv(10)
a:sendto("127.0.0.1", bport, {}) --! misuse
""")

group("datagrams on Unix sockets", r"""
! local a = socket("AF_UNIX", "SOCK_DGRAM", 0) local b = socket("AF_UNIX", "SOCK_DGRAM", 0) a:nonblock(true)
! b:nonblock(true)
a:bind("unix/", TMP .. "/a.sock")
b:bind("unix/", TMP .. "/b.sock")
a:name().port == TMP .. "/a.sock", a:name().host, a:name().family, a:name().type, a:name().protocol --! protocol
a:sendto("unix/", TMP .. "/b.sock", "hello")
b:readable(1)
select("#", b:recvfrom(10))
a:sendto("unix/", TMP .. "/nosuch", "hello")
a:sysconnect("unix/", TMP .. "/b.sock")
a:send("hello") --! write
b:recv(10)
a:peer().port == TMP .. "/b.sock"
""")

# ---- the module's functions ----

group("tcp_connect", r"""
! local ms, port = listener() local s, message
! s, message = socket.tcp_connect("127.0.0.1", port)
type(s), message
s:nonblock()
s:peer().port == port
s:errno()
! s, message = socket.tcp_connect("localhost", port)
type(s), message
! s, message = socket.tcp_connect("localhost", tostring(port), 5)
type(s), message
! s, message = socket.tcp_connect("127.0.0.1", 1)
s, message, number(errno()) --! message
! s, message = socket.tcp_connect("127.0.0.1", 1, 1)
s, message, number(errno()) --! message
! s, message = socket.tcp_connect("unix/", TMP .. "/nosuch")
s, message, number(errno()) --! message
! s, message = socket.tcp_connect("unix/", ("x"):rep(300))
s, message, number(errno()) --! message
! s, message = socket.tcp_connect("127.0.0.1", "nosuchservice")
s, message ~= nil --! message
socket.tcp_connect() --! message
socket.tcp_connect({}) --! misuse
(socket.tcp_connect("127.0.0.1"))
(socket.tcp_connect("127.0.0.1", {})) --! misuse
(socket.tcp_connect("127.0.0.1", port, "x"))
(socket.tcp_connect("127.0.0.1", port, {}))
socket.tcp_connect("127.0.0.1", port, 0) ~= nil --! more
""")

group("tcp_server", r"""
! local got = {} local function handler(s, from) got[1] = from got[2] = s:nonblock()
! local line = s:read("\n", 5) s:write("you said " .. line) end
! local server, address = socket.tcp_server("127.0.0.1", 0, handler)
type(server)
address --! port
server:errno()
server:name().port == address.port --! port
! local c = socket.tcp_connect("127.0.0.1", server:name().port) c:write("hello\n")
c:read("\n", 5)
c:read(1, 5)
got[1].host, got[1].family, got[1].type, got[1].protocol, got[2] --! sender
got[1].port == c:name().port
! c = socket.tcp_connect("127.0.0.1", server:name().port) c:write("again\n")
c:read("\n", 5)
! local closed = server:name().port
server:close()
fiber.sleep(0.01)
(socket.tcp_connect("127.0.0.1", closed))
! local e, message = socket.tcp_server("192.0.2.1", 0, handler)
e, message --! message
! local first = socket.tcp_server("127.0.0.1", 0, handler)
! e, message = socket.tcp_server("127.0.0.1", first:name().port, handler)
e, message --! message
! first:close()
socket.tcp_server("127.0.0.1", 0)
socket.tcp_server("127.0.0.1", 0, {})
socket.tcp_server("127.0.0.1", 0, "x")
socket.tcp_server("127.0.0.1", 0, nil)
socket.tcp_server("127.0.0.1", 0, {name = "x"})
! local names = {}
! server, address = socket.tcp_server("127.0.0.1", 0, {name = "mine", handler = function(s, from) names[1] =
! fiber.name() s:write("x") end, prepare = function(...) names[2] = select("#", ...) names[3] = type((...))
! names[4] = select(2, ...) return 5 end})
! c = socket.tcp_connect("127.0.0.1", server:name().port)
c:read(10, 5)
names[1] and names[1]:gsub("%d+", "N")
names[2], names[3] --! prepare
names[4] and names[4].host --! prepare
server:close()
! server, address = socket.tcp_server("127.0.0.1", 0, function(s) error("from the handler") end)
! c = socket.tcp_connect("127.0.0.1", server:name().port)
c:read(10, 5)
! c = socket.tcp_connect("127.0.0.1", server:name().port)
c:read(10, 5)
server:close()
! server, address = socket.tcp_server("127.0.0.1", 0, function(s) s:write("bye") s:close() end)
! c = socket.tcp_connect("127.0.0.1", server:name().port)
c:read(10, 5)
server:close()
! local function tells(s, from) s:write(tostring(from and from.host)) end
! server, address = socket.tcp_server("unix/", TMP .. "/server.sock", tells)
type(server), address and address.host, address and address.port == TMP .. "/server.sock", address and address.family
! c = socket.tcp_connect("unix/", TMP .. "/server.sock")
c:read(10, 5)
! e, message = socket.tcp_server("unix/", TMP .. "/server.sock", handler)
e, message --! message
server:close()
fiber.sleep(0.02)
(io.open(TMP .. "/server.sock"))
! server, address = socket.tcp_server("localhost", 0, handler)
type(server), address.host == "127.0.0.1" or address.host == "::1"
server:close()
! server, address = socket.tcp_server("127.0.0.1", 0, handler, 5)
type(server)
server:close()
! server, address = socket.tcp_server("nosuch.invalid", 0, handler)
server
""", native=True)

group("Unix sockets", r"""
! local path = TMP .. "/stream.sock" local ms = socket("AF_UNIX", "SOCK_STREAM", 0) ms:nonblock(true)
ms:bind("unix/", path)
ms:listen(5)
ms:name().host, ms:name().port == path
ms:accept()
! local c = socket.tcp_connect("unix/", path)
c:peer().host, c:peer().port == path
c:name().host, c:name().port
! arrives(ms) local s, from = ms:accept()
from and from.host, from and from.port, from and from.family
s:name().port == path
s:peer() --! protocol
c:write("line\n") --! write
s:read("\n", 1)
c:close()
s:read(1, 1)
! local o = socket("AF_UNIX", "SOCK_STREAM", 0)
o:bind("unix/", path)
ms:close()
o:sysconnect("unix/", path)
o:bind("unix/", path)
(os.remove(path))
o:sysconnect("unix/", path)
! local q = socket("AF_UNIX", "SOCK_SEQPACKET", 0)
q:bind("unix/", TMP .. "/seq.sock")
q:listen()
q:name().type
! local creds = socket("AF_UNIX", "SOCK_STREAM", 0)
type(creds:getsockopt("SOL_SOCKET", "SO_PASSCRED"))
""", native=True)

group("what a socket module has", r"""
type(socket), type(socket.tcp_connect), type(socket.tcp_server), type(socket.getaddrinfo), type(socket.iowait)
type(socket.nosuch)
pcall(function() return socket.nosuch end)
package.loaded.socket == socket, require("socket") == socket
tostring(getmetatable(socket("AF_INET", "SOCK_STREAM", "tcp")) ~= nil)
""")

# ---- fibers ----

group("fibers", r"""
! local log = {} local function say(...) log[#log + 1] = table.concat({...}, " ") end local function said()
! local t = table.concat(log, ",") log = {} return t end
! local f = fiber.create(function(a, b) say("began", a, b) fiber.sleep(0) say("went on") end, 1, 2) say("created")
said()
type(f:id()), f:name(), f:status()
! fiber.sleep(0.01)
said()
f:status()
fiber.status(f)
! f = fiber.new(function() say("new") end) say("after new")
said()
f:status()
! fiber.sleep(0)
said()
f:status()
fiber.self():status()
type(fiber.self():id()), fiber.self():id() == fiber.id()
fiber.name() == fiber.self():name()
fiber.find(fiber.id()) == fiber.self() or fiber.find(fiber.id()):id() == fiber.id()
fiber.find(999999)
! f = fiber.create(function() fiber.name("worker") say(fiber.name()) fiber.self():name("other")
! say(fiber.self():name()) fiber.yield() end)
said()
f:name()
fiber.name(f)
f:name("renamed")
f:name()
f:name(("x"):rep(300))
f:name(("x"):rep(300), {truncate = true})
#f:name()
! fiber.sleep(0)
f:name()
type(f:id())
f:cancel()
f:wakeup()
! f = fiber.create(function() local ok, e = pcall(fiber.sleep, 5) say(tostring(ok), tostring(e)) end)
f:cancel()
! fiber.sleep(0)
said()
f:status()
! f = fiber.create(function() local ok, e = pcall(fiber.sleep, 5) say(tostring(ok), tostring(e)) fiber.testcancel()
! say("not reached") end)
fiber.kill(f:id())
! fiber.sleep(0)
said()
fiber.kill(999999)
fiber.kill()
fiber.cancel(nil)
fiber.cancel("x")
fiber.kill({})
pcall(fiber.testcancel)
fiber.testcancel()
! f = fiber.create(function() fiber.sleep(5) say("woken") end)
f:wakeup()
! fiber.sleep(0)
said()
! f = fiber.new(function(...) return ... end, 1, "two", nil) f:set_joinable(true)
f:join()
f:join()
! f = fiber.new(function() error("thrown", 0) end) f:set_joinable(true)
f:join() --! join
! f = fiber.new(function() error({code = 5}) end) f:set_joinable(true)
select("#", f:join())
! f = fiber.new(function() fiber.sleep(0.01) return "late" end) f:set_joinable(true)
fiber.join(f)
! f = fiber.create(function() fiber.sleep(0.01) end)
f:join()
! f = fiber.new(function() end) f:set_joinable(true) fiber.sleep(0.01)
f:status()
f:join()
f:status()
f:set_joinable(true)
! f = fiber.create(function() fiber.self().storage.x = 5 fiber.sleep(0.01) say(tostring(fiber.self().storage.x)) end)
f.storage.x
fiber.self().storage.x
! fiber.sleep(0.02)
said()
f.storage
fiber.create()
fiber.create("x")
fiber.create({})
fiber.new()
fiber.sleep()
fiber.sleep("x")
fiber.sleep(-1)
fiber.sleep(0)
timed(fiber.sleep, 0.02)
fiber.yield()
fiber.status()
fiber.status(999999)
type(fiber.time()), type(fiber.clock()), type(fiber.info())
math.abs(fiber.time() - os.time()) < 2
math.abs(tonumber(fiber.time64()) / 1e6 - fiber.time()) < 1
math.abs(tonumber(fiber.clock64()) / 1e6 - fiber.clock()) < 1
fiber.info()[fiber.id()].fid == fiber.id(), fiber.info()[fiber.id()].name == fiber.name()
! fiber.create(function() fiber.create(function() say("inner") fiber.yield() say("inner again") end) say("outer") end)
said()
! fiber.sleep(0)
said()
! for i = 1, 3 do fiber.create(function() say("a" .. i) fiber.yield() say("b" .. i) end) end fiber.sleep(0.01)
said()
""")

group("channels", r"""
! local ch = fiber.channel(2)
(ch:count())
(ch:size())
ch:is_empty(), ch:is_full(), ch:is_closed(), ch:has_readers(), ch:has_writers()
ch:put(1)
ch:put("two")
ch:is_full()
ch:put(3, 0.01)
ch:put(3, 0)
ch:count()
ch:get()
ch:get(1)
ch:get(0)
ch:get(0.01)
timed(ch.get, ch, 0.02)
ch:put(nil)
ch:get(0)
ch:put()
ch:put({1, 2})
ch:get()
ch:put(false)
ch:get()
ch:get("x")
ch:put(1, "x")
! ch = fiber.channel()
ch:size()
ch:put(1, 0)
ch:is_full(), ch:is_empty()
! local got fiber.create(function() got = ch:get() end)
ch:has_readers()
ch:put("handed over")
! fiber.sleep(0)
got
! local sent fiber.create(function() sent = ch:put("waits", 1) end)
ch:has_writers()
ch:get(0)
! fiber.sleep(0)
sent
! fiber.create(function() sent = ch:put("closed", 1) end)
ch:close()
! fiber.sleep(0)
sent
ch:is_closed()
ch:get()
ch:put(1)
ch:close()
! ch = fiber.channel(5) ch:put(1) ch:put(2)
ch:close()
ch:get() --! channel
ch:count() --! channel
fiber.channel("x")
fiber.channel(-1)
fiber.channel({})
fiber.channel(0):size()
""")

group("conditions", r"""
! local c = fiber.cond() local log = {}
(c:wait(0))
(c:wait(0.01))
timed(c.wait, c, 0.02)
! local function kept(i, ...) log[i] = ... end fiber.create(function() kept(1, c:wait()) end)
(c:signal())
! fiber.sleep(0)
log[1]
! for i = 1, 3 do fiber.create(function() kept(i, c:wait(1) and i) end) end log = {} c:signal() fiber.sleep(0)
log
(c:broadcast())
! fiber.sleep(0)
log
(c:wait("x"))
(c:wait({}))
""")

# ---- modules ----

group("json.encode", r"""
! local json = require "json" local e = json.encode
! local function nested(n) local t = {} for _ = 2, n do t = {t} end return t end
e({})
e({1, 2, 3})
e({a = 1})
e({a = {b = {c = {}}}})
e({1, nil, 3})
e({[1] = 1, [5] = 5})
e({[4] = 4, [10] = 10})
#e({[1] = 1, [500] = 5})
#e({1, 2, a = 3})
e({[-1] = 1})
e({[0] = 1})
e({[1.5] = 1})
e({[true] = 1})
e("")
e("a\"b\\/\b\f\n\r\t\1\127\195\169\255")
e(1)
e(-1)
e(1.5)
e(0.1)
e(1 / 3)
e(1e15)
e(2 ^ 53)
e(2 ^ 63)
e(2 ^ 64 - 2048)
e(2 ^ 64)
e(-2 ^ 63)
e(-2 ^ 63 - 2048)
e(1e20)
e(1e100)
e(-0.0)
e(0 / 0):gsub("-", "")
e(1 / 0)
e(-1 / 0)
e(nil)
e()
e(json.NULL)
e({json.NULL})
e({a = json.NULL})
e(true)
e({false})
e(print)
e({print})
json.decode(e(fiber.self())).name, json.decode(e({fiber.self()}))[1].id == fiber.id()
json.decode(e(fiber.self())).status, e(fiber.create(function() end))
! local s, port = listener()
json.decode(e(s)).name.port == port, json.decode(e(s)).fd == s:fd(), json.decode(e(s)).peer
! s:close()
e(s)
e({true, "x", 2, {}})
e(setmetatable({}, {__serialize = "map"}))
e(setmetatable({1, 2}, {__serialize = "map"})):gsub("[12]", "N")
e(setmetatable({}, {__serialize = "mapping"}))
e(setmetatable({}, {__serialize = "seq"}))
e(setmetatable({}, {__serialize = "sequence"}))
e(setmetatable({}, {__serialize = function() return {1} end}))
e(setmetatable({}, {__serialize = function(t) return "text" end}))
e(setmetatable({a = 1}, {__index = {b = 2}}))
e(setmetatable({}, json.map_mt))
e({nested(100)}) == ("["):rep(101) .. ("]"):rep(101)
e(nested(128)) == ("["):rep(128) .. ("]"):rep(128)
e(nested(129))
e(1 / 3, {encode_number_precision = 3})
e({nested(3)}, {encode_max_depth = 2})
e({print}, {encode_invalid_as_nil = true})
type(json.new()), json.new() ~= json
json.cfg.encode_max_depth, json.cfg.decode_max_depth, json.cfg.encode_number_precision
! local own = json.new() own.cfg{encode_number_precision = 2}
own.encode(1 / 3), e(1 / 3)
own.cfg.encode_number_precision, json.cfg.encode_number_precision
own.cfg{nosuch = 1} --! setting
e(1, {nosuch = 1}) --! setting
""")

group("json.decode", r"""
! local json = require "json"
! local function plain(v) if type(v) ~= "table" then return v end local t = {} for k, x in pairs(v) do
! if x == json.NULL then t[k] = "NULL" else t[k] = plain(x) end end return t end
! local function d(...) return plain(json.decode(...)) end
! local function takes(...) return (pcall(json.decode, ...)) end
d("{}")
d("[]")
d("[1,2.5,true,false,\"x\"]")
d("[null]")
d("{\"a\":{\"b\":[1,{}]}}")
json.decode("{\"a\":null}").a == nil
json.decode("[1,null,3]")[3], #json.decode("[1,null,3]")
json.decode("[null]")[1] == json.NULL
json.decode("null") == json.NULL
json.decode("{\"a\":null}").a == json.NULL --! null
json.NULL == nil --! null
d("1")
d(" \t\r\n1 \n")
d("-1")
d("1.0")
d("1e5")
d("1E-2")
d("1.5e+3")
d("123456789012345")
d("0")
d("-0")
d("\"x\"")
d("\"\"")
d("\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"")
d("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"")
d("\"a\nb\"")
d("\"\195\169\"")
d("\"\255\"")
d("true")
d("{\"a\":1,\"a\":2}")
d("{\"\":1}")
d(5)
json.encode(json.decode("{}")), json.encode(json.decode("[]"))
json.encode(json.decode("[{},[]]"))
json.encode(json.decode("[1,null]"))
json.encode(json.decode("[1.0,2.50,1e2]"))
getmetatable(json.decode("[]")).__serialize, getmetatable(json.decode("{}")).__serialize
takes("")
takes(" ")
takes("{")
takes("[")
takes("[1,]")
takes("[,1]")
takes("[1 2]")
takes("[1,2")
takes("{\"a\":1,}")
takes("{\"a\"}")
takes("{\"a\" 1}")
takes("{a:1}")
takes("{1:1}")
takes("1 2")
takes("'x'")
takes("\"x")
takes("\"\\x\"")
takes("\"\\ud800\"")
takes("\"\\udc00\"")
takes("\"\\ud800\\u0041\"")
takes("\"\\u12g4\"")
takes("\"\\u12\"")
takes("01")
takes("-")
takes("+1")
takes(".5")
takes("1.") --! strict
takes("1e")
takes("0x10")
takes("[1.]") --! strict
takes("tru")
takes("truex")
takes("nul")
takes("/**/1")
takes("]")
takes(nil)
takes({})
takes("\0")
takes("1\0")
takes(("["):rep(128) .. ("]"):rep(128))
takes(("["):rep(129) .. ("]"):rep(129))
takes("[[1]]", {decode_max_depth = 1})
takes("[nan]", {decode_invalid_numbers = false})
d("nan") ~= d("nan")
d("inf")
d("-inf")
takes("NaN")
takes("[NAN]")
takes("-NaN")
takes("-nan")
takes("Inf")
takes("[INF]")
takes("-Inf")
takes("infinity")
takes("-Infinity")
d("9223372036854775807") == 2 ^ 63 - 1, d("-9223372036854775808") == -2 ^ 63
d("12345678901234567890") --! big
json.encode(d("12345678901234567890")) --! big
""")

group("bit", r"""
! local bit = require "bit"
bit.tobit(0xffffffff), bit.tobit(2 ^ 32 + 5), bit.tobit(-1), bit.tobit(0x80000000), bit.tobit(0x7fffffff)
bit.tobit(0.5), bit.tobit(1.5), bit.tobit(2.5), bit.tobit(-2.5), bit.tobit(-1.2), bit.tobit(1e15)
bit.tobit("5")
bit.tobit("x")
bit.tobit()
bit.bnot(0), bit.bnot(0xff), bit.bnot(-1)
bit.band(0xff, 0x0f), bit.band(-1), bit.band(7, 6, 5), bit.band("7", 3)
bit.band()
bit.band({})
bit.bor(1, 2, 4), bit.bor(0x80000000, 1)
bit.bxor(5, 1, 7), bit.bxor(-1, 1)
bit.lshift(1, 0), bit.lshift(1, 31), bit.lshift(1, 32), bit.lshift(1, 33), bit.lshift(-1, 4), bit.lshift(1, -1)
bit.rshift(-1, 28), bit.rshift(256, 8), bit.rshift(1, 32), bit.rshift(-1, 0)
bit.arshift(-256, 4), bit.arshift(256, 4), bit.arshift(-1, 31), bit.arshift(0x80000000, 1)
bit.rol(0x12345678, 12), bit.rol(1, 31), bit.rol(-1, 5), bit.rol(5, 0), bit.rol(5, 32)
bit.ror(0x12345678, 12), bit.ror(1, 1), bit.ror(5, 0)
bit.bswap(0x12345678), bit.bswap(1), bit.bswap(-1)
bit.tohex(255), bit.tohex(-1), bit.tohex(255, 4), bit.tohex(255, -4), bit.tohex(0xabcdef, 2)
bit.tohex(1, 0), bit.tohex(2 ^ 40 + 1)
bit.lshift(1)
""")

group("clock", r"""
! local clock = require "clock" local function near(a, b) return math.abs(tonumber(a) - tonumber(b)) < 2 end
near(clock.time(), os.time()), near(clock.realtime(), os.time())
near(clock.monotonic(), fiber.clock())
near(clock.proc(), os.clock()), near(clock.thread(), os.clock())
near(clock.time64() / 1000000000, os.time()), near(clock.realtime64() / 1000000000, os.time())
near(clock.monotonic64() / 1000000000, clock.monotonic())
near(clock.proc64() / 1000000000, os.clock()), near(clock.thread64() / 1000000000, os.clock())
#clock.bench(function(...) return ... end, 1, 2), select(2, unpack(clock.bench(function(...) return ... end, 1, 2)))
math.abs(clock.bench(function() end)[1]) < 1
clock.nosuch
""")

group("additions to Lua's tables, and global functions", r"""
! local u = "a\195\164\195\182b"
utf8.sub(u, 1), utf8.sub(u, 2, 3), utf8.sub(u, -2), utf8.sub(u, -3, -2), utf8.sub(u, 0), utf8.sub(u, 2, 1), utf8.sub(u, 5)
utf8.sub(u, 4, 9), utf8.sub(u, -9), utf8.sub(u, -9, 2), utf8.sub(u, -9, -3), utf8.sub("", 1), utf8.sub(u, 2, -1)
utf8.sub(u, 1, 0), utf8.sub(u, 3, 3), utf8.sub(u, 2.7, 3.2), utf8.sub("a\255b", 2, 2), utf8.sub(5, 1), utf8.sub(u, -1e10, 1e10)
utf8.sub()
utf8.sub(u)
utf8.sub(u, 1, "x")
utf8.next(u), utf8.next(u, 2), utf8.next(u, 4)
utf8.next(u, 3)
utf8.next(u, 7)
utf8.next(u, -1), utf8.next(5)
utf8.next("")
utf8.next()
#table.new(5, 5), next(table.new(1, 1))
table.new()
require("table.new") == table.new
! local full = {1, 2, x = 3} require("table.clear")(full)
next(full)
tonumber64("12"), tonumber64("0x1f"), tonumber64(12.5), tonumber64("ff", 16), tonumber64(" 12 "), tonumber64("-5")
tonumber64("x"), tonumber64("12.5"), tonumber64("1e3"), tonumber64(""), tonumber64({}), tonumber64(nil)
tonumber64("9223372036854775807") == 2 ^ 63 - 1
dostring("return ...", 1, 2)
dostring("return 1, nil")
pcall(dostring, "x x") == false, pcall(dostring) == false
dostring("error('told', 0)")
debug.sourcefile():match("%.lua$"), debug.sourcefile() == debug.sourcedir() .. debug.sourcefile():match("/[^/]*$")
dostring("local file, directory = debug.sourcefile(), debug.sourcedir() return file, directory")
type(_TARANTOOL), _TARANTOOL:match("^%d%.%d%.")
""")

group("uri", r"""
! local uri = require "uri" local parse, format = uri.parse, uri.format
! local all = {scheme = "http", login = "u", password = "p", host = "h", service = "80", path = "/x", query = "q"}
! all.fragment = "f"
parse("http://user:pw@example.com:80/path/x?q=1&r#frag")
parse("localhost:3301")
parse("3301")
parse("example.com")
parse("/tmp/x.sock")
parse("unix/:/tmp/x.sock")
parse("user:pw@unix/:/tmp/x.sock")
parse("unix/:/tmp/x.sock:/path?q")
parse("[::1]:3301")
parse("[2001:db8::1]")
parse("::1")
parse("127.0.0.1:80")
parse("http://[::1]/")
parse("user@host")
parse("user:@host")
parse("user:pw@host:1")
parse("/path?x")
parse("http://host")
parse("https://host/")
parse("")
parse("host:port")
parse("host:80/x")
parse("a b")
parse("a\nb")
parse("http://host/p%20q?a=%20")
parse("tcp://127.0.0.1")
parse("http://host?x=1")
parse("http://host#f")
parse("http://host/?")
parse("http://h:")
parse("\209\130.\209\128\209\132:80")
parse("host:80/\195\164")
parse("/tmp/\195\164")
parse("host\255")
parse("./x")
parse("?q")
parse("#f")
parse("/")
parse("@host")
parse("http://a_b.c")
parse("1.2.3.4.5")
parse("http://host/a/b/../c;d=e")
parse()
parse(5)
format({host = "h"})
format({host = "h", service = "80"})
format(all)
format(all, true)
format({scheme = "http", password = "p", host = "h"}, true)
format({host = "unix/", service = "/tmp/x", unix = "/tmp/x"})
format({})
format(parse("user:@host"), true)
format({host = "::1", ipv6 = "::1", service = "80"}) --! ipv6
format()
""")

group("digest", r"""
! local digest = require "digest" local key, start = ("k"):rep(32), ("i"):rep(16)
digest.md5_hex("x"), digest.md5_hex("")
digest.sha1_hex("x"), digest.sha1_hex("")
digest.sha224_hex("x")
digest.sha256_hex("x")
digest.sha384_hex("x")
digest.sha512_hex("x")
#digest.md5("x"), #digest.sha1("x"), #digest.sha224("x"), #digest.sha256("x"), #digest.sha384("x"), #digest.sha512("x")
digest.md5()
digest.sha1(5)
digest.sha256({})
digest.crc32("hello"), digest.crc32("")
digest.crc32_update(0, "x"), digest.crc32_update(4294967295, "hello")
! local c = digest.crc32.new() c:update("hel") local d = c:copy() c:update("lo")
c:result(), d:result()
! c:clear()
c:result()
digest.crc32(5)
digest.crc32.crc_begin
digest.murmur("hello"), digest.murmur(""), digest.murmur("a"), digest.murmur("ab"), digest.murmur("abc")
digest.murmur("abcd\255efgh")
! local m = digest.murmur.new{seed = 5} m:update("a") m:update("bcde")
m:result()
digest.murmur.default_seed
digest.murmur(5)
digest.guava(1, 11), digest.guava(2, 100), digest.guava(123456789012345, 11)
digest.guava(2 ^ 40, 1000), digest.guava(1, 1)
digest.guava(0, 7), digest.guava(-5, 7)
#digest.urandom(0), #digest.urandom(16), #digest.urandom(100000)
digest.urandom()
digest.base64_encode(""), digest.base64_encode("a"), digest.base64_encode("ab")
digest.base64_encode("abc"), digest.base64_encode("abcd")
digest.base64_encode(("x"):rep(53))
digest.base64_encode(("x"):rep(54))
digest.base64_encode(("x"):rep(55))
digest.base64_encode(("x"):rep(108))
digest.base64_encode(("x"):rep(200), {nowrap = true})
digest.base64_encode(("x"):rep(200), {nopad = true})
digest.base64_encode("ab", {nopad = true}), digest.base64_encode("ab", {})
digest.base64_encode("\255\254\253")
digest.base64_encode(("\255\254"):rep(50), {urlsafe = true})
digest.base64_encode("\0\0")
digest.base64_encode(5)
digest.base64_encode()
digest.base64_decode("aGVsbG8="), digest.base64_decode("aGVsbG8"), digest.base64_decode("aGVs\nbG8=\n")
digest.base64_decode("")
digest.base64_decode("__79"), digest.base64_decode("//79")
digest.base64_decode("!!"), digest.base64_decode("aGVs bG8")
digest.base64_decode(5)
digest.base64_decode(digest.base64_encode(("\0\1\255"):rep(100))) == ("\0\1\255"):rep(100)
digest.pbkdf2_hex("pw", "salt", 1000, 16)
digest.pbkdf2_hex("pw", "salt", 1, 32)
#digest.pbkdf2("pw", "salt", 2)
digest.pbkdf2()
digest.aes256cbc.decrypt(digest.aes256cbc.encrypt("message", key, start), key, start)
#digest.aes256cbc.encrypt("", key, start), #digest.aes256cbc.encrypt(("x"):rep(16), key, start)
""")

group("string, table", r"""
! local json = require "json" local i = {}
("a,b,,c"):split(",")
("a b  c "):split()
("  a b"):split(nil, 1)
("  a b  c "):split(nil, 1)
("a,b,c"):split(",", 1)
("a,b,c"):split(",", 0)
("a--b--c"):split("--")
("a.b"):split(".")
("abc"):split("bc")
(""):split(","), (""):split()
("a\tb\nc"):split()
("a,b"):split("")
("a,b"):split(5)
("a,b,c"):split(",", -1)
("a,b,c"):split(",", "x")
string.split()
("ab"):ljust(5), ("ab"):ljust(5, "x"), ("ab"):ljust(1), ("ab"):ljust(2.5)
("ab"):rjust(5), ("ab"):rjust(5, "x"), ("ab"):rjust(0)
("ab"):center(5), ("ab"):center(6, "x"), ("ab"):center(7, "x"), ("abc"):center(6, "x")
("ab"):ljust("5")
("ab"):rjust()
("ab"):center(5, "xy")
("ab"):ljust(-1)
("abc"):startswith("ab"), ("abc"):startswith(""), ("abc"):startswith("b"), ("abc"):startswith("abcd")
("abc"):startswith("b", 2), ("abc"):startswith("bc", 2, 2), ("abc"):startswith("bc", 2, 3), ("abc"):startswith("c", -1)
("abc"):startswith("a", 0), ("abc"):startswith("", 5), ("abc"):startswith("ab", 1, -2), ("abc"):startswith("a", 10)
("abc"):startswith(5)
("abc"):startswith()
("abc"):endswith("bc"), ("abc"):endswith(""), ("abc"):endswith("b"), ("abc"):endswith("abcd")
("abc"):endswith("b", 1, 2), ("abc"):endswith("b", 1, -2), ("abc"):endswith("abc", 2), ("abc"):endswith("bc", -2)
("abc"):endswith(5)
("  a b "):strip(), ("  a "):lstrip(), ("  a "):rstrip(), ("\t\n a\r\v\f"):strip(), (""):strip(), ("   "):strip()
("xyaxy"):strip("yx"), ("xxa"):lstrip("x"), ("axx"):rstrip("x")
("abc"):strip(""), ("a"):strip(nil), ("%a]^"):strip("^%]")
("\0a\0"):strip("\0")
("abc"):strip(5)
("abc\255"):hex(), (""):hex(), ("616263"):fromhex(), (""):fromhex(), ("aB4c"):fromhex()
("616"):fromhex()
("zz"):fromhex()
string.hex(5)
table.copy({1, {2}}), table.deepcopy({1, {2}}), table.copy(5), table.deepcopy("x"), table.copy(nil)
table.copy({i})[1] == i, table.deepcopy({i})[1] ~= i
(function() local t = {} t.t = t local c = table.deepcopy(t) return c.t == c, c ~= t end)()
(function() local t = table.deepcopy({i, i}) return t[1] == t[2] end)()
getmetatable(table.copy(setmetatable({}, {x = 1}))).x, getmetatable(table.deepcopy(setmetatable({}, {x = 1}))).x
table.copy(setmetatable({1}, {__copy = function() return "copied" end}))
string.nosuch, table.nosuch
""")

group("log", r"""
! local log = require "log"
log.info("text"), log.error("%s %d", "x", 5), log.warn({code = 5}), log.verbose("x"), log.debug("x"), log.info("100%")
log.info(nil), log.info(5), log.info(true)
log.info("%d", "x")
""")

group("strict, which is the last, as it changes the globals of all", r"""
! local strict = require "strict" strict.on()
nosuch_global
(function() new_global = 1 end)()
type(print)
rawget(_G, "nosuch_global")
! rawset(_G, "raw_global", 5)
raw_global
! strict.off()
nosuch_global
(function() new_global = 2 return new_global end)()
""")

# ---- the connection ----

connection("the connection: read", r"""
s:errno()
s:error()
s:read(1, 0)
s:read("\n", 0.01)
! near:write("one\ntwo\r\nthree;rest") arrives(s)
s:read("\n")
s:read("\r\n", 5)
s:read({delimiter = {"x", ";"}})
s:read({delimiter = "s", chunk = 2}, 5)
s:read(1)
s:read(10, 0.02)
s:read("\n", 0.02)
s:read(1)
s:read(0)
! near:write("0123456789abcdefghij")
s:read({chunk = 3})
s:read({size = 2}, 5)
s:read(-1)
s:read({}, 0.01)
! near:write("line\nlast") near:shutdown("W")
s:read({delimiter = "\n", chunk = 100}, 5)
s:read("\n", 5)
s:read("\n", 5)
s:read(5)
s:sysread(5)
s:recv(5)
s:readable(1)
s:write("still open") --! write
near:read(10, 5)
""")

connection("the connection: sysread, recv, recvfrom", r"""
s:sysread(5)
s:recv(5)
s:recvfrom(5)
s:recv()
! near:write("0123456789abcdefghij") arrives(s) fiber.sleep(0.05)
s:recv(3, "MSG_PEEK")
s:recv(3, {"MSG_PEEK"})
s:recv(3)
s:sysread(3)
s:sysread("3") --! more
s:recv(0)
s:recv({})
s:recv(3, "MSG_FOO")
""")

connection("the connection: what sysread leaves, recvfrom", r"""
! near:write("0123456789abcdefghij") arrives(s) fiber.sleep(0.05)
s:sysread(5)
s:recvfrom(5)
s:readable(0)
s:wait(0)
s:recv()
s:recv()
s:readable(0)
! near:close() arrives(s)
s:recv(5)
s:recvfrom(5)
s:sysread(5)
s:sysread()
""")

connection("the connection: write, syswrite, send", r"""
s:write("hello") --! write
s:write("") --! write
s:write("x", 1) --! write
s:write({})
s:syswrite("hello")
s:syswrite("")
s:syswrite({})
s:send("hello") --! write
s:send("") --! write
s:send("x", "MSG_MORE") --! write
s:send("x", {"MSG_DONTWAIT", "MSG_NOSIGNAL"}) --! write
s:send({})
s:send("x", "MSG_FOO") --! number
near:read(18, 5)
s:shutdown("W")
s:write("x") --! write
s:syswrite("x")
s:send("x") --! write
near:read(1, 5)
near:write("back") --! write
s:read(4, 5)
s:shutdown("R")
s:read(1, 5)
s:shutdown("RW")
""")

connection("the connection: waits", r"""
s:readable(0)
timed(s.readable, s, 0.02)
s:writable(0)
s:writable()
s:wait(0)
s:wait()
timed(s.read, s, 1, 0.02)
timed(s.read, s, "\n", 0.02)
socket.iowait(s:fd(), "R", 0)
socket.iowait(s:fd(), "RW", 0)
socket.iowait(s:fd(), 1, 0)
! near:write("x") arrives(s)
s:readable(0)
s:wait(0)
socket.iowait(s:fd(), "R", 1)
socket.iowait(s:fd(), 3, 1)
! local r fiber.create(function() r = pack(pcall(s.read, s, "\n", 5)) end) fiber.sleep(0) near:write("a line\n")
! local before = fiber.clock() while not r and fiber.clock() - before < 5 do fiber.sleep(0.001) end
r and unpack(r, 1, r.n)
! r = nil fiber.create(function() r = pack(pcall(s.read, s, 5, 5)) end) fiber.sleep(0) s:close() fiber.sleep(0.01)
r and r[1], r and (tostring(r[2]):gsub("^[^:]*:%d+: ", "")) --! closed
near:read(1, 5)
""")

connection("the connection: addresses, options, the end", r"""
s:name()
s:peer()
s:name().port == PORT
from.host, from.family, from.port == s:peer().port
type(s), type(s:fd())
tostring(s):gsub("%d+", "N")
s:nonblock()
s:nonblock(false)
s:nonblock(true)
s:getsockopt("SOL_SOCKET", "SO_TYPE")
s:getsockopt("SOL_SOCKET", "SO_DOMAIN")
s:getsockopt("SOL_SOCKET", "SO_ERROR")
s:getsockopt("SOL_SOCKET", "SO_ACCEPTCONN")
s:setsockopt("SOL_SOCKET", "SO_KEEPALIVE", true)
s:getsockopt("SOL_SOCKET", "SO_KEEPALIVE")
s:setsockopt("SOL_SOCKET", "SO_KEEPALIVE", false)
s:getsockopt("SOL_SOCKET", "SO_KEEPALIVE")
s:setsockopt("tcp", "TCP_NODELAY", true)
s:getsockopt("tcp", "TCP_NODELAY")
s:setsockopt("SOL_SOCKET", "SO_RCVBUF", 10000)
s:getsockopt("SOL_SOCKET", "SO_RCVBUF")
s:setsockopt("SOL_SOCKET", "SO_TYPE", 1)
s:getsockopt("SOL_SOCKET", "SO_LINGER")
s:linger()
s:linger(true, 5)
s:linger()
s:linger(false)
s:linger()
s:listen()
s:sysconnect("127.0.0.1", 1)
s:accept()
s:bind("127.0.0.1", 0)
s:close()
s:close() --! closed
s:read(1)
s:write("x")
s:name()
s:fd()
near:read(1, 5)
""")

connection("the connection: a client that resets", r"""
! near:write("data") arrives(s) fiber.sleep(0.02) near:linger(true, 0) near:close()
s:read(10, 5)
s:read(10, 1) --! reset
s:write("x", 1) --! write
s:syswrite("x")
s:close() --! reset
""")

# ---- running them ----

# With --style, the program accepts the connection first: nothing else comes in.
STYLE_HEAD = """
local server = require "socket" ("AF_INET", "SOCK_STREAM", "tcp")
assert(server:bind("127.0.0.1", %d) and server:listen())
local CONNECTION = assert(server:accept())
"""


def program(name, groups, before="", after=""):
    """Writes a program with the statements of groups; `after` follows the common head. Returns its path, and the path
    of its answers."""
    out, directory = tmp(name, "out"), os.path.dirname(tmp(name, "files", "socket"))
    lines = [f'local OUT, TMP, PATIENCE = "{out}", "{directory}", {DEADLINE}', before, HEAD, after]
    for g in groups:
        lines.append("group(function()")
        lines += [line if isinstance(line, str) else line.lua() for line in g.lines]
        lines.append("end)")
    lines.append("if _TARANTOOL then os.exit(0) end")
    return script("\n".join(lines) + "\n"), out


def normal(text):
    """Without what differs between two runs of the same."""
    return re.sub(r"\bport=[1-9]\d*", "port=PORT", text)


def answers(out, status, log):
    """The answers by the number of the statement. What stands outside of any statement must not fail."""
    got = dict(line.partition("\t")[::2] for line in mbtest.read_file(out).splitlines())
    equal((status, got.pop("0", None)), (0, None), f"status, error; log: {log[-2000:]!r}")
    return {int(number): normal(text) for number, text in got.items()}


@functools.cache
def by_tarantool():
    path, out = program("tarantool", GROUPS)
    done = subprocess.run(
        [TARANTOOL, path],
        cwd=os.path.dirname(out),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=RUN_MAX,
        check=False,
    )
    return answers(out, done.returncode, done.stderr)


@functools.cache
def by_ours():
    path, out = program("ours", GROUPS)
    install = script('require("mb.tarantool").install()\nlocal path = ...\nreturn function() dofile(path) end\n')
    done = mbtest.replay(install, path)
    return answers(out, done.returncode, done.stderr)


@functools.cache
def by_program():
    client, conn = tcp_pair()
    path, out = program("style", [g for g in GROUPS if not g.native], STYLE_HEAD % conn.getsockname()[1])
    with client:
        serving = Serving(conn, "--style=tarantool", path)
        conn.close()
        status = serving.wait(RUN_MAX)
    return answers(out, status, serving.log())


def compare(statement, theirs, own, where):
    with about(f"{statement.line!r}{where}: Tarantool has {theirs!r}, ours {own!r}"):
        if not statement.reason:
            check(theirs == own, "a difference without a reason")
            return
        check(theirs != own, f"no longer differs: drop {statement.reason!r}")
        check(REASONS[statement.reason][1](theirs, own), f"not the difference that {statement.reason!r} names")


def same(g):
    @test(g.name)
    def _():
        for s in g.statements():
            theirs = by_tarantool().get(s.number)
            check(theirs, f"Tarantool has not run {s.line!r}")
            compare(s, theirs, by_ours().get(s.number), "")
            if not g.native:
                compare(s, theirs, by_program().get(s.number), ", with --style")


for each in GROUPS:
    same(each)


# The program has one connection, s. Its client is the test, which passes on what goes over another one, near.
CONNECTION_HEAD = """
local listening = socket("AF_INET", "SOCK_STREAM", "tcp")
listening:setsockopt("SOL_SOCKET", "SO_REUSEADDR", true)
assert(listening:bind("127.0.0.1", PORT) and listening:listen(5))
local near = assert(socket.tcp_connect("127.0.0.1", RELAY))
assert(listening:readable(10))
local s, from = listening:accept()
s:nonblock(true)
"""


def pump(source, target):
    """Passes on what comes from a socket, and how it ends."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        # The other pump ends as well; then both are closed, which resets them.
        for sock in source, target:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.shutdown(socket.SHUT_RD)


def relay(listener, connect):
    with listener, listener.accept()[0] as near, connect() as far:
        back = threading.Thread(target=pump, args=(far, near))
        back.start()
        pump(near, far)
        back.join()


def of_connection(g, port, connect, run):
    """The answers of a program to the statements of g. connect(): the client's socket. run(path): runs the program, and
    returns its status and its log."""
    listener = socket.create_server(("127.0.0.1", 0))
    head = f"local PORT, RELAY = {port}, {listener.getsockname()[1]}"
    path, out = program(f"connection{port}", [g], head, CONNECTION_HEAD)
    relaying = threading.Thread(target=relay, args=(listener, connect), daemon=True)
    relaying.start()
    got = answers(out, *run(path))
    relaying.join(DEADLINE)
    check(not relaying.is_alive(), "both ends are closed")
    return got


def run_tarantool(path):
    done = mbtest.Process([TARANTOOL, path], cwd=os.path.dirname(path))
    return done.popen.wait(RUN_MAX), done.text()


def same_on_connection(g):
    @test(g.name)
    def _():
        port = free_port()
        theirs = of_connection(g, port, lambda: socket.create_connection(("127.0.0.1", port)), run_tarantool)
        client, conn = tcp_pair()

        def run_ours(path):
            serving = Serving(conn, "--style=tarantool", path)
            conn.close()
            return serving.wait(RUN_MAX), serving.log()

        client.sock.settimeout(None)
        own = of_connection(g, conn.getsockname()[1], lambda: client.sock, run_ours)
        for s in g.statements():
            check(s.number in theirs, f"Tarantool has not run {s.line!r}")
            compare(s, theirs[s.number], own.get(s.number), "")


for each in CONNECTIONS:
    same_on_connection(each)


@test("the reasons are the rows of the table in mb.tarantool(3), and each is used")
def _():
    page = mbtest.read_file(os.path.join(SRCDIR, "docs", "mb.tarantool.3"))
    table = page.partition(".It Sy what Ta")[2].partition(".El\n")[0]
    used = {s.reason for g in GROUPS + CONNECTIONS for s in g.statements()}
    for key, (row, _test) in REASONS.items():
        check(f"\n.It {row} Ta " in table, f"a row {row!r}")
        check(key in used, f"a statement that differs as {key!r}")


# ---- server programs, and a peer: in Tarantool they listen, here --style runs them as they are ----


def talks(name, text, said):
    """said(client): talks to the program. Returns what must be the same."""

    @test("a server program " + name)
    def _():
        port = free_port()
        program_path, directory = script(f"local PORT = {port}\n{text}"), os.path.dirname(tmp("talks", "x"))
        tarantool = mbtest.Process([TARANTOOL, program_path], cwd=directory)
        mbtest.wait_listening(("127.0.0.1", port))
        with Client(("127.0.0.1", port)) as client:
            theirs = said(client)
        tarantool.stop()
        client, conn = tcp_pair()
        with client:
            serving = Serving(conn, "--style=tarantool", script(f"local PORT = {conn.getsockname()[1]}\n{text}"))
            conn.close()
            own = said(client)
        equal(serving.wait(), 0, f"exit status; log: {serving.log()!r}")
        equal(own, theirs, "what the peer received")


def says(data, finish=False):
    def talk(client):
        client.send(data)
        if finish:
            client.finish()
        return client.end()

    return talk


SERVER = """
require("socket").tcp_server("127.0.0.1", PORT, function(s, from)
%s
end)
require("fiber").sleep(100)
"""

talks("echoes lines", SERVER % r"""
while true do
  local line = s:read("\n")
  if line == "" or line == nil then break end
  s:write("<" .. line .. ">")
end
""", says("a\r\nb\n\nrest", True))
talks("reads a head and a body of a length", SERVER % r"""
local head = s:read({delimiter = {"\r\n\r\n", "\n\n"}})
local body = s:read(tonumber(head:match("Length: (%d+)")))
s:write("HTTP/1.0 200 OK\r\n\r\n" .. #head .. " " .. body)
""", says("POST / HTTP/1.0\r\nContent-Length: 11\r\n\r\nhello world and more"))
talks("times out, and goes on", SERVER % r"""
s:write(tostring(s:read(5, 0.02)) .. " " .. s:error() .. "\n")
s:write(tostring(s:read("\n", 0.02)) .. "\n")
s:write(s:read(3, 5))
""", says("abc"))
talks("answers, ends its output, and reads on", SERVER % r"""
s:write("answer") s:shutdown("W") s:read(100)
""", lambda client: (client.end(), client.send("x"))[0])
talks("fails", SERVER % r"""
s:write(s:read("\n")) error("the program's fault")
""", says("line\n"))
talks("closes by itself", SERVER % r"""
s:write("bye") s:close()
""", says(""))
talks("sends much", SERVER % r"""
s:write(("0123456789"):rep(300000))
""", says(""))
talks("writes from another fiber", SERVER % r"""
local fiber = require("fiber")
local ch = fiber.channel(10)
fiber.create(function() while true do local m = ch:get() if m == nil then break end s:write(m) end end)
for _ = 1, 3 do ch:put("[" .. s:read("\n") .. "]") end
fiber.sleep(0.02)
ch:close()
""", says("1\n2\n3\n"))
talks("knows the address of its peer", SERVER % r"""
local name, peer = s:name(), s:peer()
s:write(table.concat({from.host, from.family, name.host, name.family, name.type, name.protocol, peer.host, peer.type,
  tostring(name.port == PORT), tostring(from.port == peer.port), tostring(s:nonblock())}, " "))
""", says(""))
talks("has a loop of its own", r"""
local socket, fiber = require("socket"), require("fiber")
local server = socket("AF_INET", "SOCK_STREAM", "tcp")
server:setsockopt("SOL_SOCKET", "SO_REUSEADDR", true)
server:bind("127.0.0.1", PORT)
server:listen(5)
while true do
  if server:readable(5) then
    local s = server:accept()
    if s then
      s:nonblock(true)
      fiber.create(function() s:write("you said " .. s:read("\n")) s:close() end)
    end
  end
end
""", says("hello\n"))

mbtest.main()
