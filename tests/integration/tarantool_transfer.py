#!/usr/bin/python3
"""mb.tarantool: what passes through Tarantool's sockets: connecting and accepting, waiting with timeouts, read, readline
and the buffer between them, write, datagrams, Unix sockets."""

import os
import socket
import sys
import threading

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbnet
import mbtest
from mbtarantool import good
from mbtest import test, tmp, until

mbnet.private_network()


# ---- connecting, blocking ----


@test("sysconnect: both blocking modes; refused; a listener that does not answer is EINPROGRESS where it does not block")
def _():
    with socket.socket() as full:
        # A queue of one place, taken: what comes now is dropped, as by a host that is silent.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()):
            good(
                r"""
local ms = listener()
for _, nonblock in ipairs{false, true} do
  local s = socket('AF_INET', 'SOCK_STREAM', 'tcp')
  equal(s:nonblock(), false, "it blocks at first")
  equal(s:nonblock(nonblock), nonblock, "nonblock")
  equal(s:sysconnect('127.0.0.1', ms:name().port), true, "sysconnect") equal(s:error(), nil, "error")
  s = socket('AF_INET', 'SOCK_STREAM', 'tcp')
  s:nonblock(nonblock)
  equal(s:sysconnect('127.0.0.1', 1), false, "refused") equal(s:error(), "Connection refused", "error")
  equal(errno(), errno.ECONNREFUSED, "errno")
end
local s = socket('AF_INET', 'SOCK_STREAM', 'tcp')
s:nonblock(true)
equal(takes(3, s.sysconnect, s, '127.0.0.1', arg[1]), false, "undecided") equal(s:errno(), errno.EINPROGRESS, "errno")
equal(takes(0.1, s.writable, s, 0.1), false, "still")
equal(takes(0.2, socket.tcp_connect, '127.0.0.1', arg[1], 0.2), nil, "tcp_connect's timeout")
equal(errno(), errno.ETIMEDOUT, "errno")
""",
                full.getsockname()[1],
            )


@test("tcp_connect: the first address that takes us; nil, a message and errno; a non-blocking socket")
def _():
    with mbnet.etc("hosts", "::1 both\n127.0.0.1 both\n"):
        good(
            r"""
local ms = listener()
local s = assert(socket.tcp_connect('both', ms:name().port))
equal(s:peer().host, '127.0.0.1', "host") equal(errno(), 0, "errno") equal(s:nonblock(), true, "nonblock")
local six = listener('AF_INET6', '::1')
equal(assert(socket.tcp_connect('both', six:name().port, 5)):peer().host, '::1', "IPv6")
local got, message = socket.tcp_connect('both', 1)
equal(got, nil, "refused") equal(message, "Connection refused", "message") equal(errno(), errno.ECONNREFUSED, "errno")
got, message = socket.tcp_connect('nosuch', 80)
equal(got, nil, "no name") equal(message, "Name or service not known", "message") equal(errno(), errno.ENXIO, "errno")
"""
        )


@test("accept: both blocking modes; the client's address is the second result")
def _():
    good(
        r"""
local ms = listener()
ms:nonblock(true)
equal(ms:accept(), nil, "nobody") equal(ms:errno(), errno.EAGAIN, "errno") equal(ms:readable(0), false, "readable")
local a = socket.tcp_connect('127.0.0.1', ms:name().port)
equal(ms:readable(), true, "readable") equal(ms:wait(), "R", "wait") equal(ms:writable(0.01), false, "writable")
local b, from = ms:accept()
equal(from.port, a:name().port, "port") equal(from.host, '127.0.0.1', "host") equal(from.family, 'AF_INET', "family")
equal(b:nonblock(), false, "it blocks at first")
ms:nonblock(false)
local start = clock()
fiber.create(function() fiber.sleep(0.05) a = socket.tcp_connect('127.0.0.1', ms:name().port) end)
b = ms:accept()
equal(clock(start) >= 0.05, true, "it has waited") equal(b:peer().port, a:name().port, "port")
equal(b:accept(), nil, "no listener") equal(b:errno(), errno.EINVAL, "errno")
"""
    )


@test("sysread and syswrite: both blocking modes, the end, the buffer that they pass by, a peer that has gone")
def _():
    good(
        r"""
local a, b = pair()
a:nonblock(true)
equal(a:sysread(10), nil, "nothing") equal(a:errno(), errno.EAGAIN, "errno")
equal(a:error(), "Resource temporarily unavailable", "error")
b:syswrite("hello") a:readable()
equal(a:sysread(2), "he", "two") equal(a:sysread(), "llo", "the rest")
b:write("line\nrest") a:readable()
equal(a:readline(), "line\n", "readline") equal(a.rbuf, "rest", "rbuf") equal(a:sysread(10), nil, "not of the buffer")
b:write("more") a:readable() equal(a:sysread(), "more", "of the system") equal(a:read(4), "rest", "of the buffer")
a:nonblock(false)
fiber.create(function() fiber.sleep(0.03) b:write("late") end)
equal(takes(0.03, a.sysread, a, 10), "late", "blocking")
equal(a:sysread(0), "", "no bytes")
-- A blocking syswrite of more than fits takes a part.
a:nonblock(true)
local data, total = ("x"):rep(1000000), 0
repeat local n = a:syswrite(data) total = total + (n or 0) until not n
equal(a:errno(), errno.EAGAIN, "full") equal(a:writable(0), false, "writable") equal(a:wait(0.01), nil, "wait")
equal(a:errno(), errno.ETIMEDOUT, "errno of a timeout")
equal(#b:read(total), total, "all came") equal(a:writable(1), true, "room again")
b:close()
equal(a:sysread(), "", "the end") equal(a:readable(), true, "the end is readable")
a:syswrite("x")
for _ = 1, 100 do if not a:syswrite("x") then break end fiber.sleep(0.005) end
equal(a:errno() == errno.EPIPE or a:errno() == errno.ECONNRESET, true, "gone")
local s = socket('AF_INET', 'SOCK_STREAM', 'tcp')
equal(s:sysread(1), nil, "not connected") equal(s:errno(), errno.ENOTCONN, "errno")
equal(s:read(1), nil, "not connected") equal(s:errno(), errno.ENOTCONN, "errno")
says("bad argument to 'syswrite': expected a string, got nil", a.syswrite, a)
equal(b.rbuf, "", "the buffer of a closed one")
"""
    )


# ---- waiting ----


@test("readable, writable, wait: timeouts in fractions of a second, 0, none; what they return")
def _():
    good(
        r"""
local a, b = pair()
equal(takes(0.05, a.readable, a, 0.05), false, "readable") equal(a:errno(), errno.ETIMEDOUT, "errno")
equal(takes(0, a.readable, a, 0), false, "at once") equal(takes(0, a.readable, a, -5), false, "negative")
equal(a:writable(), true, "writable") equal(a:error(), nil, "no error") equal(a:wait(), "W", "wait")
b:write("x")
equal(a:readable(5), true, "readable") equal(a:wait(), "RW", "both") equal(a:readable(math.huge), true, "no limit")
equal(a:readable(1e300), true, "no limit")
local ms = listener()
equal(takes(0.05, ms.wait, ms, 0.05), nil, "wait")
says("bad argument to 'readable': expected a number, got string", a.readable, a, "x")
equal(socket.iowait(a:fd(), 'RW'), 'RW', "iowait") equal(socket.iowait(a:fd(), 3), 3, "iowait")
equal(socket.iowait(a:fd(), 'r', 1), 'R', "iowait") equal(socket.iowait(a:fd(), 1), 1, "iowait")
equal(socket.iowait(a:fd(), 'W'), 'W', "iowait") equal(socket.iowait(a:fd(), 2), 2, "iowait")
equal(takes(0.05, socket.iowait, b:fd(), 'r', 0.05), '', "nothing") equal(errno(), errno.ETIMEDOUT, "errno")
equal(takes(0.05, socket.iowait, b:fd(), 1, 0.05), 0, "nothing")
equal(select("#", takes(0.05, socket.iowait, nil, nil, 0.05)), 0, "a sleep") equal(socket.iowait(-1, nil, 0), nil, "a sleep")
says("usage: iowait", socket.iowait, a:fd(), '') says("usage: iowait", socket.iowait, nil, 'RW')
says("usage: iowait", socket.iowait, 0, nil) says("usage: iowait", socket.iowait, 1.5, 'R', 0)
"""
    )


@test("outside of fibers a wait lets the fibers run; in one it lets the others run")
def _():
    good(
        r"""
local a, b = pair()
local log = {}
local function tick(name)
  for i = 1, 3 do fiber.sleep(0.01) log[#log + 1] = name end
end
fiber.create(tick, "x")
fiber.create(function()
  equal(a:readline(nil, nil, 5), "done\n", "in a fiber")
  log[#log + 1] = "read"
end)
equal(takes(0.1, b.readable, b, 0.1), false, "outside")
equal(table.concat(log, " "), "x x x", "meanwhile")
b:write("done\n")
fiber.sleep(0.01)
equal(log[4], "read", "and then")
"""
    )


# ---- read ----


@test("read: so many bytes, to the end, to a delimiter; timeouts keep what came in the buffer")
def _():
    good(
        r"""
local a, b = pair()
b:write("Hello, world")
equal(a:read(5), "Hello", "five") equal(a:read(0), "", "none") equal(a:read(2, 1), ", ", "two")
equal(takes(0.05, a.read, a, 10, 0.05), nil, "not ten") equal(a:errno(), errno.ETIMEDOUT, "errno")
equal(a:error(), "Connection timed out", "error") equal(a.rbuf, "world", "what came")
equal(a:read(3, 0), "wor", "of the buffer") equal(a:read(9, 0), nil, "nothing") equal(a.rbuf, "ld", "rest")
b:write("!") a:readable()
equal(a:read(3, 0), "ld!", "a timeout of 0 takes what is there")
b:write("one;two.three") equal(a:read(";", 1), "one;", "a delimiter") equal(a:read({";", "."}, 1), "two.", "several")
equal(a:read({chunk = 2, delimiter = "e"}, 1), "th", "chunk")
equal(a:read({chunk = 20, delimiter = {"e"}}, 1), "re", "delimiter")
equal(a:read("e", 0.01), "e", "e") equal(a:read({delimiter = "x"}, 0.01), nil, "none")
equal(a:read({size = 0}), "", "size")
b:write("the rest") b:shutdown("W")
equal(a:read(), "the rest", "to the end") equal(a:read(), "", "the end") equal(a:read(5), "", "the end")
equal(a:error(), nil, "no error")
equal(a:read("x"), "", "the end")
a, b = pair()
b:write("short") b:close()
equal(a:read(100), "short", "shorter at the end")
for _, wrong in ipairs{{-1}, {true}, {{5}}, {""}, {{""}}, {5, "x"}, {0/0}} do
  says("bad argument to 'read'", a.read, a, table.unpack(wrong))
end
"""
    )


@test("readline: all forms of its arguments")
def _():
    good(
        r"""
local a, b = pair()
local function try(want, data, ...)
  b:write(data)
  equal(a:readline(...), want, "readline of " .. data)
  equal(a:error(), nil, "error")
  b:write("|END|")
  a:readline("|END|") -- whatever was left
end
try("one\n", "one\ntwo")
try("one\n", "one\ntwo", nil)
try("one\n", "one\ntwo", nil, nil, 5)
try("on", "one\ntwo", 2)
try("one\n", "one\ntwo", 20)
try("one\n", "one\ntwo", 20, 5) -- a limit and a timeout
try("one\ntwo;", "one\ntwo;three", ";")
try("one\ntwo;", "one\ntwo;three", ";", 5)
try("one\ntwo;", "one\ntwo;three", nil, ";")
try("one\ntwo;", "one\ntwo;three", nil, {";"}, 5)
try("one\r\n\r\n", "one\r\n\r\ntwo\n\n", {"\r\n\r\n", "\n\n"})
try("one\n\n", "one\n\ntwo\r\n\r\n", {"\r\n\r\n", "\n\n"})
try("one\r\n\r\n", "one\r\n\r\ntwo", 4096, {"\r\n\r\n", "\n\n"})
try("one", "one\r\n\r\ntwo", 3, {"\r\n\r\n", "\n\n"}, 5)
try("one\n", "one\ntwo", {chunk = 20})
try("one\ntwo;", "one\ntwo;", {delimiter = ";"}, 5)
try("aab", "aab", {"aaab", "ab"})
try("xyz", "xyzw", {"xyzw", "yz"}) -- the one that ends first
try("\0\1", "\0\1\0", "\1")
-- A marker that comes in pieces, and longer than what came before.
fiber.create(function() for c in ("a\r\n\r\n"):gmatch(".") do fiber.sleep(0.005) b:write(c) end end)
equal(a:readline("\r\n\r\n"), "a\r\n\r\n", "in pieces")
b:write("no end")
equal(takes(0.05, a.readline, a, 100, {"\n"}, 0.05), nil, "no marker") equal(a:errno(), errno.ETIMEDOUT, "errno")
equal(a.rbuf, "no end", "kept") equal(a:readline(3), "no ", "limit") equal(a:readline(0), "", "none")
b:write("\n") equal(a:readline(), "end\n", "goes on")
b:write("last") b:close()
equal(a:readline(), "last", "at the end") equal(a:readline(), "", "after it")
for _, wrong in ipairs{{-1}, {true}, {""}, {{""}}, {5, true}, {5, "x", "y"}, {"x", {}}} do
  says("bad argument to 'readline'", a.readline, a, table.unpack(wrong))
end
"""
    )


@test("readline: 200,000 lines and one of 20 MB, byte for byte")
def _():
    lines = b"".join(b"line %d\n" % i for i in range(200_000))
    with socket.socket() as ls:
        ls.bind(("127.0.0.1", 0))
        ls.listen(1)

        def send():
            conn = ls.accept()[0]
            with conn:
                conn.sendall(lines + b"x" * 20_000_000 + b"\r\n\r\n")

        thread = threading.Thread(target=send)
        thread.start()
        good(
            r"""
local s = socket.tcp_connect('127.0.0.1', arg[1])
for i = 0, 199999 do
  local line = s:readline()
  if line ~= "line " .. i .. "\n" then print(i, line) break end
end
equal(s:readline({"\r\n\r\n", "\n\n"}) == ("x"):rep(20000000) .. "\r\n\r\n", true, "the long one")
equal(s:read(), "", "the end")
""",
            ls.getsockname()[1],
        )
        thread.join()


@test("a peer that sends a little now and then does not stretch the timeout")
def _():
    good(
        r"""
local a, b = pair()
local writer = fiber.create(function() for _ = 1, 100 do b:write("x") fiber.sleep(0.02) end end)
equal(takes(0.3, a.readline, a, nil, "\n", 0.3), nil, "readline")
equal(#a.rbuf >= 5, true, "what came")
writer:cancel()
-- Nor does one that never stops.
writer = fiber.create(function() while b:write(("x"):rep(10000)) do end end)
equal(takes(0.2, a.read, a, 1e9, 0.2), nil, "read")
writer:cancel() fiber.yield() a:close()
"""
    )


# ---- write ----


@test("write: all of 20 MB; true, or false at the timeout, when the peer has gone")
def _():
    good(
        r"""
local a, b = pair()
local data = ("0123456789abcdef"):rep(1250000)
local got
local reader = fiber.create(function() got = b:read(#data) end)
equal(a:write(data), true, "write") fiber.sleep(0) while not got do fiber.sleep(0.001) end
equal(got == data, true, "the same")
equal(a:write(""), true, "nothing") equal(a:write(5), true, "a number") equal(b:read(1), "5", "it")
equal(takes(0.1, a.write, a, data, 0.1), false, "timeout") equal(a:errno(), errno.ETIMEDOUT, "errno")
equal(takes(0, a.write, a, data, 0), false, "at once")
b:linger(true, 0) b:close()
equal(a:write("x"), false, "gone") equal(a:errno() == errno.ECONNRESET or a:errno() == errno.EPIPE, true, "errno")
says("bad argument to 'write': expected a string, got table", a.write, a, {})
"""
    )


@test("send and recv on a stream: flags, no size, partial sends that are told")
def _():
    good(
        r"""
local a, b = pair()
equal(a:send("Hello"), true, "send") equal(b:recv(), "Hello", "what is there") equal(a:send(""), true, "nothing")
a:send("abc") b:readable()
equal(b:recv(2, "MSG_PEEK"), "ab", "peek") equal(b:recv(2, {"MSG_PEEK"}), "ab", "peek")
equal(b:recv(2, 2), "ab", "peek")
equal(b:recv(100), "abc", "at most")
equal(b:recv(1, "MSG_DONTWAIT"), nil, "dontwait") equal(b:errno(), errno.EAGAIN, "errno")
equal(b:recv(1, {MSG_DONTWAIT = true}), nil, "dontwait")
do
  local reader, full = pair() -- full blocks
  local filler, sent = ("x"):rep(1000000), nil
  repeat sent = full:send(filler, "MSG_DONTWAIT") until sent ~= true
  equal(math.type(sent) == "integer" or full:errno() == errno.EAGAIN, true, "a part, or nothing")
  equal(full:send("x", "MSG_DONTWAIT"), false, "full") equal(full:errno(), errno.EAGAIN, "errno")
  reader:close() full:close()
end
b:nonblock(true) equal(b:recv(), nil, "nonblock") equal(b:errno(), errno.EAGAIN, "errno")
a:send("o", "MSG_OOB") fiber.sleep(0) equal(b:recv(1, "MSG_OOB"), "o", "out of band")
b:nonblock(false)
fiber.create(function() fiber.sleep(0.03) a:send("late") end)
equal(takes(0.03, b.recv, b), "late", "blocking, no size")
equal(a:send("x", "MSG_FOO"), false, "unknown flag") equal(a:errno(), errno.EINVAL, "errno")
says("bad argument #2 to 'send'", a.send, a, "x", 0.5) says("bad argument #2 to 'recv'", b.recv, b, 1, 1/0)
equal(b:recv(5, {"MSG_FOO"}), nil, "unknown flag") equal(b:errno(), errno.EINVAL, "errno")
a:nonblock(true)
local big = ("x"):rep(10000000)
local sent = a:send(big)
equal(math.type(sent), "integer", "a part is told") equal(#b:read(sent), sent, "it came")
a:nonblock(false)
local got
fiber.create(function() got = #b:read(#big) end)
equal(a:send(big), true, "all") while not got do fiber.sleep(0.001) end equal(got, #big, "it came")
a:close() equal(b:recv(), "", "the end") equal(b:recv(5), "", "the end")
says("bad argument #1 to 'recv'", b.recv, b, "x") says("bad argument #1 to 'recv'", b.recv, b, -1)
says("bad argument to 'send': expected a string, got nil", b.send, b)
"""
    )


# ---- datagrams, Unix sockets ----


@test("datagrams over AF_INET and AF_INET6: sendto, recvfrom, send, recv, sizes, peek, empty ones, a real peer")
def _():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(mbtest.DEADLINE)

        def answer():
            data, address = peer.recvfrom(65536)
            peer.sendto(data[::-1], address)

        thread = threading.Thread(target=answer)
        thread.start()
        good(
            r"""
local s = socket('AF_INET', 'SOCK_DGRAM', 'udp')
equal(s:sendto('127.0.0.1', arg[1], "abc"), 3, "sendto") equal(s:readable(5), true, "readable")
local data, from = s:recvfrom(512)
equal(data, "cba", "data") equal(from.host, '127.0.0.1', "host") equal(from.port, math.tointeger(arg[1]), "port")
equal(from.family, 'AF_INET', "family")
for family, host in pairs{AF_INET = '127.0.0.1', AF_INET6 = '::1'} do
  local a, b = socket(family, 'SOCK_DGRAM', 'udp'), socket(family, 'SOCK_DGRAM', 'udp')
  equal(a:bind(host), true, "bind") equal(b:bind(host, 0), true, "bind")
  equal(b:sendto(host, a:name().port, "X"), 1, "sendto") equal((a:recvfrom(512)), "X", "recvfrom")
  b:sendto(host, a:name().port, "Hello, World!")
  data, from = a:recvfrom(10)
  equal(data, "Hello, Wor", "cut off") equal(from.port, b:name().port, "sender")
  a:nonblock(true)
  equal(a:recvfrom(10), nil, "the rest is gone") equal(a:errno(), errno.EAGAIN, "errno")
  equal(a:recv(), nil, "nothing")
  b:sendto(host, a:name().port, ("y"):rep(30000)) b:sendto(host, a:name().port, "") b:sendto(host, a:name().port)
  equal(#a:recv(10, 'MSG_PEEK'), 10, "peek") equal(#a:recv(), 30000, "without a size all of it")
  data, from = a:recvfrom()
  equal(data, "", "an empty one") equal(from.port, b:name().port, "sender") equal(a:recv(5), "", "another")
  equal(b:sysconnect(host, a:name().port), true, "sysconnect") equal(b:send("one"), true, "send")
  equal(b:send("two"), true, "send") equal(b:write("three"), true, "write") equal(b:syswrite("four"), 4, "syswrite")
  equal(a:recv(), "one", "recv") equal(a:recv(100), "two", "recv") equal(a:sysread(100), "three", "sysread")
  equal(a:recv(), "four", "recv")
  equal(b:send(("x"):rep(70000)), false, "too long") equal(b:errno(), errno.EMSGSIZE, "errno")
  equal(b:sendto("nosuch", 1, "x"), nil, "no address") equal(b:errno(), errno.EINVAL, "errno")
  a:nonblock(false)
  fiber.create(function() fiber.sleep(0.03) b:send(("z"):rep(20000)) end)
  equal(#takes(0.03, a.recv, a), 20000, "blocking, without a size")
end
""",
            peer.getsockname()[1],
        )
        thread.join()


@test("Unix sockets: streams and datagrams, abstract names, the address of either end")
def _():
    good(
        r"""
local dir = arg[1]
for _, path in ipairs{dir .. "/s", "@mb-" .. moonbridge_io.getpid()} do
  local ms = listener('AF_UNIX', 'unix/', path)
  equal(ms:name().host, 'unix/', "host") equal(ms:name().port, path, "port")
  equal(ms:name().family, 'AF_UNIX', "family")
  local a = assert(socket.tcp_connect('unix/', path))
  local b, from = ms:accept()
  equal(from and from.host, 'unix/', "host") equal(a:peer().port, path, "peer")
  a:write("hello\n") equal(b:readline(), "hello\n", "a line") b:close() equal(a:read(), "", "the end")
  local s = socket('AF_UNIX', 'SOCK_STREAM', 0)
  s:nonblock(true) equal(s:sysconnect('unix/', path), true, "non-blocking")
end
local got, message = socket.tcp_connect('unix/', dir .. "/nosuch")
equal(got, nil, "nothing there") equal(message, "No such file or directory", "message")
equal(errno(), errno.ENOENT, "errno")
local d, e = socket('AF_UNIX', 'SOCK_DGRAM', 0), socket('AF_UNIX', 'SOCK_DGRAM', 0)
equal(d:bind('unix/', dir .. "/d"), true, "bind") equal(e:sendto('unix/', dir .. "/d", "one"), 3, "sendto")
local data, from = d:recvfrom()
equal(data, "one", "data") equal(from and from.port or "", "", "no name")
e:bind('unix/', dir .. "/e") e:sysconnect('unix/', dir .. "/d") e:send("two")
data, from = d:recvfrom(100)
equal(data, "two", "data") equal(from.port, dir .. "/e", "name") equal(from.host, "unix/", "host")
local long = ("x"):rep(100000) e:send(long) equal(d:recv() == long, true, "a long one")
local p, q = socket('AF_UNIX', 'SOCK_SEQPACKET', 0), socket('AF_UNIX', 'SOCK_SEQPACKET', 0)
p:bind('unix/', dir .. "/p") p:listen() q:sysconnect('unix/', dir .. "/p") q:send("a") q:send("b")
local r = p:accept() equal(r:recv(), "a", "packets") equal(r:recv(), "b", "have ends")
""",
        os.path.dirname(tmp("sockets", "x")),
    )


@test("a Unix listener whose queue is full is waited for; in a fiber others run meanwhile")
def _():
    path = tmp("full.sock")
    with socket.socket(socket.AF_UNIX) as ls:
        ls.bind(path)
        ls.listen(0)
        held = socket.socket(socket.AF_UNIX)
        held.connect(path)

        def accept():
            until(lambda: os.path.exists(path + ".waits"), "the script waits")
            for _ in range(2):
                ls.accept()

        thread = threading.Thread(target=accept)
        thread.start()
        good(
            r"""
local s = socket('AF_UNIX', 'SOCK_STREAM', 0)
s:nonblock(true) equal(s:sysconnect('unix/', arg[1]), false, "full") equal(s:errno(), errno.EAGAIN, "errno")
local ticks = 0
local ticker = fiber.create(function()
  while true do
    fiber.sleep(0.001)
    ticks = ticks + 1
    if ticks == 3 then io.open(arg[1] .. ".waits", "w"):close() end
  end
end)
s:nonblock(false) equal(s:sysconnect('unix/', arg[1]), true, "waited") equal(ticks > 0, true, "others ran")
ticker:cancel()
""",
            path,
        )
        thread.join()


mbtest.main()
