#!/usr/bin/python3
"""mb.tarantool on the connection that we were started for: wrap() in a connect handler, and unmodified programs with
--style=tarantool, under the real inetd, a real systemd-socket-activate and in replays."""

import os
import re
import socket
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbtest
from mbtarantool import PRELUDE
from mbtest import HANDLE, SRCDIR, Child, Client, check, equal, free_port, script, tcp_pair, test, tmp, unix_pair

mbtest.need("inetd")
mbtest.need("systemd-socket-activate")

WRAP = "return function(connection)\nlocal tarantool = require 'mb.tarantool'\nlocal s = tarantool.wrap(connection)\n"


class Served:
    """mb-handle on the server's end of a connection."""

    def __init__(self, pair, text, *args):
        self.client, conn = pair
        self.log = tmp("stderr.txt")
        with open(self.log, "wb") as log:
            self.child = Child([HANDLE, *args, script(text)], {0: conn, 1: conn, 2: log})
        conn.close()

    def ends(self, status=0, log=""):
        equal(self.child.wait(), status, f"exit status; log: {mbtest.read_file(self.log)!r}")
        equal(mbtest.without_ends(mbtest.read_file(self.log)), log, "log")


def pairs():
    """A TCP connection, and one over a Unix socket."""
    yield tcp_pair()
    path = tmp("connection.sock")
    if os.path.exists(path):
        os.remove(path)
    yield unix_pair(path)


# ---- wrap ----

ECHO = (
    WRAP
    + r"""
  repeat
    local line = s:readline(65536, {"\n"}, 20)
  until not line or line == "" or not s:write(line)
end
"""
)


@test("wrap: lines and binary data go to and fro over TCP and a Unix socket; the handler's return closes")
def _():
    data = b"one\n\0\xff\n" + b"x" * 100_000 + b"\n" + b"line\n" * 10_000 + b"last"
    for pair in pairs():
        served = Served(pair, ECHO)
        served.client.send(b"first\n")
        equal(served.client.line(), "first", "a line comes back at once")
        sender = os.fork()
        if sender == 0:
            served.client.send(data)
            served.client.finish()
            os._exit(0)
        got = served.client.end()
        os.waitpid(sender, 0)
        equal(got, (data, "eof"), "what comes back")
        served.ends()


METHODS = (
    "return function(connection)\n"
    + PRELUDE
    + r"""
  local s = mb.wrap(connection)
  local name, peer = s:name(), s:peer()
  s:write(("%s %s %s %s\n"):format(name.host, name.port, name.family, name.type))
  s:write(("%s %s %s %s\n"):format(peer.host, peer.port, peer.family, peer.type))
  local function linger(on, seconds, ...)
    local a, b = s:linger(...)
    equal(a, on, "linger") equal(b, seconds, "linger")
  end
  linger(false, 0) linger(true, 3, true, 3) linger(true, 3) linger(false, 0, false) -- and not what we have set ourselves
  says("SO_LINGER is read and set with", s.getsockopt, s, 'SOL_SOCKET', 'SO_LINGER')
  says("SO_LINGER is read and set with", s.getsockopt, s, 1, 13) says("SO_LINGER is read", s.setsockopt, s, 'SOL_SOCKET', 13, 1)
  says("expected 0 to 32767 seconds", s.linger, s, true, 0/0) says("bad argument #2 to 'linger'", s.linger, s, true, -1)
  equal(s:getsockopt('SOL_SOCKET', 'SO_TYPE'), 1, "type")
  equal(s:setsockopt('SOL_SOCKET', 'SO_KEEPALIVE', true), true, "set")
  equal(s:getsockopt('SOL_SOCKET', 'SO_KEEPALIVE'), 1, "get")
  equal(s:getsockopt('tcp', 'TCP_NODELAY'), 1, "no delay") s:setsockopt('tcp', 'TCP_NODELAY', false) s:write("set\n")
  equal(s:getsockopt('tcp', 'TCP_NODELAY'), 0, "as it was set")
  equal(s:nonblock(), false, "it blocks at first") equal(s:nonblock(true), true, "nonblock")
  equal(s:sysread(), nil, "nothing") equal(s:errno(), errno.EAGAIN, "errno")
  equal(takes(0.05, s.readable, s, 0.05), false, "readable") equal(s:wait(0), "W", "wait")
  equal(takes(0.05, s.read, s, 5, 0.05), nil, "read") equal(s:errno(), errno.ETIMEDOUT, "errno")
  s:write("go\n")
  equal(connection:read(2), "ab", "the connection's own read") -- which receives more than it returns
  equal(socket.iowait(s:fd(), 'r', 5), 'R', "iowait") equal(s:readable(0), true, "readable")
  equal(s:recv(3), "cde", "recv") equal(s:read(3, 5), "fgh", "read")
  equal(s:recv(2, "MSG_PEEK"), "ij", "peek") equal(s:recv(2), "ij", "recv")
  equal(s:read({chunk = 10, delimiter = "\n"}), "line\n", "delimiter") equal(s:error(), nil, "error")
  equal(s:read("t"), "rest", "read")
  equal(s:sysconnect("127.0.0.1", 1), false, "connect") equal(s:errno(), errno.EISCONN, "errno")
  equal(s:listen(5), false, "listen") equal(s:bind("127.0.0.1", 1), false, "bind") equal(s:accept(), nil, "accept")
  equal(s:send("sent\n"), true, "send") equal(s:syswrite("written\n"), 8, "syswrite")
  equal(s:send("with a flag\n", "MSG_MORE"), true, "send")
  equal(tostring(s):match("^fd %d+, aka .*, peer ") ~= nil, true, "text: " .. tostring(s))
  equal(s:readline(), "last", "to the end") equal(s:read(5), "", "the end") equal(s:readable(), true, "the end")
  equal(s:shutdown("W"), true, "shutdown") equal(s:write("x"), false, "write") equal(s:errno(), errno.EPIPE, "errno")
  equal(s:close(), true, "close") equal(s:close(), false, "closed twice")
  says("attempt to use closed socket", s.read, s) says("the socket is closed", connection.read, connection)
end
"""
)


@test("wrap: addresses, options, the linger that is not ours to show, waiting, the buffer, shutdown, close")
def _():
    client, conn = tcp_pair()
    local, remote = conn.getsockname(), conn.getpeername()
    served = Served((client, conn), METHODS)
    for want in (f"{local[0]} {local[1]}", f"{remote[0]} {remote[1]}"):
        equal(client.line(), f"{want} AF_INET SOCK_STREAM", "address")
    equal([client.line() for _ in range(2)], ["set", "go"], "lines")
    client.send("abcdefghijline\nrest")
    equal([client.line() for _ in range(3)], ["sent", "written", "with a flag"], "what is sent")
    client.send("last")
    client.finish()
    equal(client.end(), (b"", "eof"), "the end")
    served.ends()


@test("wrap: linger(true, 0) and close reset; a wrapped object that is garbage closes nothing")
def _():
    served = Served(tcp_pair(), WRAP + "s:linger(true, 0) s:close() end")
    equal(served.client.end(), (b"", "reset"), "the end")
    served.ends()
    served = Served(tcp_pair(), WRAP + "s = nil collectgarbage() collectgarbage() connection:write('still open\\n') end")
    equal(served.client.end(), (b"still open\n", "eof"), "the answer")
    served.ends()


@test("wrap: a client that resets, or sends no more than half a line, is an error of the method and no failure")
def _():
    text = WRAP + r"""
  s:write("ready\n")
  local line = s:readline()
  print(line, s:error())
  for _ = 1, 100 do if not s:write("x") then break end os.execute("exec sleep 0.01") end
  print(s:error())
end
"""
    served = Served(tcp_pair(), text)
    equal(served.client.line(), "ready", "line")
    served.client.reset()
    equal(served.child.wait(), 0, "exit status")
    lines = mbtest.read_file(served.log).splitlines()
    equal(lines[0], "nil\tConnection reset by peer", "readline")
    check(lines[1] in ("Connection reset by peer", "Broken pipe"), f"write: {lines[1]}")


@test("wrap: a finalizer that reads the connection while memory runs out takes its part, and no byte is lost or made up")
def _():
    # The buffer grows to 2 MB, which the garbage leaves no room for.
    text = r"""
return function(connection)
  local s = require "mb.tarantool".wrap(connection)
  collectgarbage("stop")
  do local junk = {} for i = 1, 120 do junk[i] = ("j"):rep(10000) .. i end end
  local taken
  setmetatable({}, {__gc = function() taken = connection:read_nb(60000) end})
  local line = s:readline()
  print(taken and taken:find("^x+$") and #taken > 0, line:find("^x+\n$"), #line + #taken)
end
"""
    served = Served(tcp_pair(), text, "--memory-limit", "3000000")
    served.client.send(b"x" * 800_000 + b"\n")
    equal(served.client.end(), (b"", "eof"), "the end")
    served.ends(0, "true\t1\t800001\n")


@test("wrap in a replay: a file is read and written; there is no peer and no option; --record has what was read")
def _():
    record = tmp("record")
    text = "return function(connection)\n" + PRELUDE + r"""
  local s = mb.wrap(connection)
  equal(s:peer(), nil, "peer") equal(s:errno(), errno.ENOTCONN, "errno") equal(s:name(), nil, "name")
  equal(s:getsockopt('SOL_SOCKET', 'SO_TYPE'), nil, "option") equal(s:errno(), errno.EBADF, "errno")
  equal(s:readable(), true, "readable") equal(s:wait(), "RW", "wait")
  repeat local line = s:readline() until line == "" or not s:write(line)
  s:send("end\n") s:shutdown("RW") equal(s:write("x"), false, "write") equal(s:recv(), "", "recv")
end
"""
    done = mbtest.replay("--record", record, script(text), stdin=b"one\ntwo\nlast")
    equal((done.returncode, done.stdout, done.stderr), (0, b"one\ntwo\nlastend\n", b""), "status, output, log")
    equal(mbtest.read_file(record), "one\ntwo\nlast", "the record")
    text = WRAP + "assert(s:readline() == 'one\\n' and s.rbuf == 'two\\n') s:shutdown('R') s:write(s:read()) end"
    done = mbtest.replay(script(text), stdin=b"one\ntwo\n")
    equal((done.returncode, done.stdout, done.stderr), (0, b"two\n", b""), "after shutdown: what was received")
    text = WRAP + "s:shutdown('R') s:write(s:read() .. 'end') end"
    done = mbtest.replay(script(text), stdin=b"one\ntwo\n")
    equal((done.returncode, done.stdout, done.stderr), (0, b"end", b""), "after shutdown: nothing more")


@test("log: the levels that Tarantool shows by default are shown, formats and values, names of modules")
def _():
    text = """
local log = require('log')
log.error('%s is %d', 'one', 1) log.warn('100%') log.info({} ~= nil) log.info(nil) log.verbose('unseen') log.debug('unseen')
log.new('part').info('a\\nb')
print((select(2, pcall(function() log.info('%d', 'x') end)):gsub('^.-:%d+: ', '')))
local ms = require('socket')('PF_INET', 'SOCK_STREAM', 'tcp')
ms:bind('0.0.0.0', 0) ms:listen(1)
local c = ms:accept() c:write('x') c:close()
ms:accept()
"""
    shown = "one is 1\n100%\ntrue\nnil\npart: a\n\tb\n"
    error = "bad argument #2 to 'string.format' (number expected, got string)\n"
    for options, more in ((), ""), (("--log-level=debug",), "unseen\nunseen\n"):
        client, conn = tcp_pair()
        log = tmp("log-of-levels")
        with client, conn, open(log, "wb") as out, open("/dev/null", "r+b") as null:
            child = Child(
                [HANDLE, "--style=tarantool", *options, script(text)], {0: null, 1: null, 2: out, 3: conn},
                listen_fds=1)
            conn.close()
            equal(client.end(), (b"x", "eof"), "answer")
            equal(child.wait(), 0, "exit status")
        logged = shown.replace("nil\n", "nil\n" + more)
        want = "".join(f"mb-handle: {line}\n" for line in logged.splitlines()) + error
        equal(mbtest.without_ends(mbtest.read_file(log)), want, "log")


@test("wrap: what came with a PROXY header is not lost, and peer() is the client that it names")
def _():
    text = WRAP + "local a = s:peer() s:write(a.host .. ' ' .. a.port .. ' ' .. s:readline()) end"
    served = Served(tcp_pair(), text, "--proxy-protocol", "--proxy-trust", "127.0.0.1")
    served.client.send("PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\nhello\n")
    equal(served.client.end(), (b"192.0.2.1 1234 hello\n", "eof"), "answer")
    served.ends()


@test("iowait knows of what came with a PROXY header, also when a program has accepted the connection")
def _():
    text = r"""
local socket = require "socket"
local s = socket('AF_INET', 'SOCK_STREAM', 'tcp') assert(s:bind('127.0.0.1', 0)) s:listen(5)
local c = s:accept()
c:write(tostring(socket.iowait(c:fd(), 'R', 5)) .. ' ' .. c:readline())
"""
    served = Served(tcp_pair(), text, "--style=tarantool", "--proxy-protocol", "--proxy-trust", "127.0.0.1")
    served.client.send("PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\nhello\n")
    equal(served.client.end(), (b"R hello\n", "eof"), "answer")
    served.ends()


@test("iowait: a descriptor that was the connection's and is another socket's now")
def _():
    text = "return function(connection)\n" + PRELUDE + r"""
  local s = mb.wrap(connection)
  local fd = s:fd()
  s:close()
  local other = socket('AF_INET', 'SOCK_DGRAM', 'udp') other:bind('127.0.0.1', 0)
  equal(other:fd(), fd, "descriptor")
  equal(takes(0.05, socket.iowait, fd, 'R', 0.05), '', "iowait")
end
"""
    served = Served(tcp_pair(), text)
    equal(served.client.end(), (b"", "eof"), "answer")
    served.ends()


@test("wrap: misuse says what is no socket")
def _():
    done = mbtest.replay(script("require('mb.tarantool').wrap(5)"))
    check(b":1: bad argument #1 to 'wrap'" in done.stderr, f"message: {done.stderr}")


# ---- programs as they are ----


def serves(pair, text, data, want, log="", status=0, finish=True):
    served = Served(pair, text, "--style=tarantool")
    if data:
        served.client.send(data)
    if finish:
        served.client.finish()
    equal(served.client.end(), (want, "eof" if status == 0 else "reset"), "answer")
    served.ends(status, log)


# Sequential; the port is any, as the connection's is not known before.
ONE_BY_ONE = r"""
local socket = require "socket"
local s = assert(socket('AF_INET', 'SOCK_STREAM', 'tcp'))
s:setsockopt('SOL_SOCKET', 'SO_REUSEADDR', true)
assert(s:bind("127.0.0.1", 0), s:error())
assert(s:listen(5), s:error())
while true do
  local client = s:accept()
  client:write(client:readline())
  client:close()
end
"""


@test("--style: one connection after the other: the first is served, then the program ends")
def _():
    serves(tcp_pair(), ONE_BY_ONE, b"hello\n", b"hello\n")
    # Not closed by the program: in a healthy way all the same.
    serves(tcp_pair(), ONE_BY_ONE.replace("client:close()", ""), b"hello\n", b"hello\n")


@test("--style: what the program sees of its listener")
def _():
    client, conn = tcp_pair()
    port = conn.getsockname()[1]
    text = r"""
local socket, fiber, errno = require "socket", require "fiber", require "errno"
local clock = require "moonbridge_io".timeref
local s = socket('AF_INET', 'SOCK_STREAM', 'tcp')
local function say(...) print(...) end
say(s:bind("127.0.0.1", PORT + 1), s:error(), s:errno() == errno.EADDRNOTAVAIL)
say(errno.strerror() == s:error(), errno.strerror(errno()) == s:error()) -- as most programs ask
socket('AF_INET', 'SOCK_STREAM', 'tcp'):sysconnect("127.0.0.1", 1)
say(errno.strerror())
local other = socket('AF_INET', 'SOCK_STREAM', 'tcp') -- what a client may do, and a listener not
say(other:bind("127.0.0.2", 0), other:listen(1), (other:error():gsub(":%d+: the", ": the")), other:name().host)
say(s:bind("0.0.0.0", PORT), s:listen(1), s:error())
say(s:name().host, s:name().port == PORT, s:name().family)
say(s:bind("0.0.0.0", PORT), s:error())
say(s:readable(), s:wait(5), s:readable(0))
local fd = s:fd()
local c, from = s:accept()
say(c:fd() == fd, from.host, from.port == c:peer().port)
local start = clock()
say(s:readable(0.05), s:error(), clock(start) >= 0.05)
say(s:nonblock(true), s:accept(), s:error())
say(s:wait(0.01), s:writable(0.01))
fiber.create(function() c:write("hello\n") fiber.sleep(0.05) c:close() end)
say(s:readable(100))
s:readable(0)
say("never")
""".replace("PORT", str(port))
    log = f"""false\tcannot bind to 127.0.0.1:{port + 1}: the connection came in on 127.0.0.1:{port}, and with --style=tarantool a program serves nothing else\ttrue
true\ttrue
Connection refused
true\tfalse\tcannot bind to 127.0.0.2: the connection came in on 127.0.0.1:{port}, and with --style=tarantool a program serves nothing else\t127.0.0.2
true\ttrue\tnil
0.0.0.0\ttrue\tAF_INET
false\tInvalid argument
true\tR\ttrue
true\t127.0.0.1\ttrue
false\tConnection timed out\ttrue
true\tnil\tResource temporarily unavailable
nil\tfalse
false
"""
    serves((client, conn), text, b"", b"hello\n", log)


@test("--style: a program that does not look whether its bind has failed ends with the reason, and listens nowhere")
def _():
    for bind, reason in (
        ("s:bind('127.0.0.2', 0)", "cannot bind to 127.0.0.2:"),
        ("s:sysbind('192.0.2.1', 1)", "cannot bind to 192.0.2.1:1: the connection came in on 127.0.0.1:"),
        ("s:sysbind('no address', 1)", "Invalid argument"),
        ("s:bind('no host', 1)", "Name or service not known"),
    ):
        text = f"""
local s = require("socket")('AF_INET', 'SOCK_STREAM', 'tcp')
{bind}
s:listen(5) --[[here]]
while s:readable() do s:accept() end
"""
        client, conn = tcp_pair()
        served = Served((client, conn), text, "--style=tarantool")
        equal(client.end(), (b"", "reset"), "the end")
        equal(served.child.wait(), 70, "exit status")
        log = mbtest.read_file(served.log)
        where = ":5: cannot accept" if ", 0)" in bind else ":4: cannot listen" # that port may be a client's
        check(f"{where}, as the bind before it has failed: {reason}" in log, f"log: {log}")
    # Another bind, at the right address, makes it good; two of which one is refused is no error either.
    text = ONE_BY_ONE.replace("assert(s:bind", "s:bind('127.0.0.2', 0)\nassert(s:bind")
    serves(tcp_pair(), text, b"hello\n", b"hello\n")
    text = ONE_BY_ONE.replace("assert(s:listen", "s:bind('127.0.0.2', 0)\nassert(s:listen")
    serves(tcp_pair(), text, b"hello\n", b"hello\n")


@test("--style: fibers: the program ends with the connection, whatever else sleeps; not before")
def _():
    server = r"""
local socket, fiber = require "socket", require "fiber"
fiber.create(function() while true do fiber.sleep(1000) end end)
%s
"""
    handler = """function(c) for i = 1, 3 do c:write(c:readline()) fiber.sleep(0.01) end end"""
    want = b"1\n2\n3\n"
    # The accept loop outside, in a fiber, and in tcp_server.
    loop = f"""
local s = socket('AF_INET', 'SOCK_STREAM', 'tcp') assert(s:bind('127.0.0.1', 0)) s:listen(5)
while s:readable() do local c = s:accept() fiber.create(function(c) ({handler})(c) c:close() end, c) end
"""
    for text in (
        loop,
        f"fiber.create(function() {loop} end)",
        f"fiber.create(function() {loop} end) fiber.sleep(1000)",
        f"assert(socket.tcp_server('127.0.0.1', 0, {handler}))",
        f"assert(socket.tcp_server('localhost', 0, {{handler = {handler}, prepare = function() return 5 end}}))",
        loop.replace("c:close()", ""),
    ):
        leaks = "c:close()" not in text and "tcp_server" not in text
        serves(tcp_pair(), (server % text)
        if not leaks else "local socket, fiber = require 'socket', require 'fiber'\n" + text, want, want)


QUEUE = """
local socket, fiber = require 'socket', require 'fiber'
local q = fiber.channel(10)
fiber.create(function() while true do print('worked on ' .. q:get()) end end)
local function listener()
  local s = socket('AF_INET', 'SOCK_STREAM', 'tcp') assert(s:bind('127.0.0.1', 0)) s:listen(5) return s
end
local function server(handler) assert(socket.tcp_server('127.0.0.1', 0, handler)) end
"""

# What a program does -> what it prints. The client sends "job" to one that reads.
WORK_AFTER_THE_CLOSE = (
    ("""local ms = listener()
while true do
  if ms:readable(0.1) then local c = ms:accept() local l = c:read(3) c:close() q:put(l) else print('idle ' .. q:count()) end
end""", "worked on job\nidle 0\n"),
    ("server(function(s) q:put(s:read(3)) end)", "worked on job\n"),
    ("server(function(s) s:close() print(1) fiber.sleep(0) print(2) fiber.yield() print(3) end)", "1\n2\n3\n"),
    ("server(function(s) s:close() fiber.new(function() print('f') fiber.new(print, 'g') end) end)", "f\ng\n"),
    ("local c = listener():accept() c:close() fiber.new(function() fiber.yield() q:put('job') end)", "worked on job\n"),
    # The main program is made ready, by a fiber that is made ready, too.
    ("""local a, b = fiber.channel(), fiber.channel() fiber.create(function() local x = a:get() fiber.yield() b:put(x) end)
server(function(s) s:close() a:put('x') end) print(b:get()) fiber.sleep(0) fiber.new(print, 'y') fiber.sleep(1000)""", "x\ny\n"),
    ("""local c = listener() fiber.create(function() c:accept():close() c:accept() end)
for i = 1, 3 do fiber.sleep(0) end print('slept') fiber.sleep(1000)""", "slept\n"),
    # Signals, ends, cancels and wake-ups.
    ("""local c = fiber.cond()
local f = fiber.create(function() c:wait() print('signalled') end) f:set_joinable(true)
fiber.create(function() f:join() print('joined') end)
local cancelled = fiber.create(function() pcall(fiber.sleep, 1000) print('cancelled') end)
local woken = fiber.create(function() fiber.sleep(1000) print('woken') end)
server(function(s) s:close() c:signal() cancelled:cancel() woken:wakeup() end)""", "signalled\ncancelled\nwoken\njoined\n"),
    # What always can run, or waits for a time, does not keep the process.
    ("fiber.create(function() while true do fiber.yield() end end) server(function(s) s:close() end) while true do fiber.sleep(0) end", ""),
    ("server(function(s) s:close() fiber.sleep(1000) print('never') end)", ""),
)


@test("--style: what can run when the connection ends does run, and what that wakes; what always can is stopped")
def _():
    for text, log in WORK_AFTER_THE_CLOSE:
        serves(tcp_pair(), QUEUE + text, b"job" if "read(3)" in text else b"", b"", log, finish=False)


@test("--style: a fiber that is cancelled while it waits for another connection does not end the others")
def _():
    text = r"""
local socket, fiber = require "socket", require "fiber"
local s = socket('AF_INET', 'SOCK_STREAM', 'tcp') assert(s:bind('127.0.0.1', 0)) s:listen(5)
local f = fiber.create(function()
  local c = s:accept()
  fiber.create(function() for i = 1, 3 do fiber.sleep(0.02) c:write(i .. "\n") end c:close() end)
  s:accept()
end)
fiber.yield() fiber.yield()
f:cancel()
fiber.yield()
"""
    serves(tcp_pair(), text, b"", b"1\n2\n3\n")


@test("--style: close() of the listener ends the waits for it")
def _():
    text = r"""
local socket, fiber = require "socket", require "fiber"
local function listener() local s = socket('AF_INET', 'SOCK_STREAM', 'tcp') assert(s:bind('127.0.0.1', 0)) s:listen(5) return s end
local early, s, other = listener(), listener(), listener()
fiber.create(function() print(early:accept(), early:error()) end) -- before the connection is accepted
early:close()
fiber.create(function() print(s:readable(), s:error()) end)
local c = other:accept()
fiber.create(function() print(other:accept(), other:error()) c:write("served\n") c:close() end)
fiber.create(function() fiber.sleep(0.02) other:close() end)
s:close()
"""
    serves(tcp_pair(), text, b"", b"served\n", "nil\tBad file descriptor\nfalse\tBad file descriptor\nnil\tBad file descriptor\n")


@test("--style: a program that polls does its work once more after the connection, also one that drops it")
def _():
    polls = r"""
local socket = require "socket"
local s = socket('AF_INET', 'SOCK_STREAM', 'tcp') assert(s:bind('127.0.0.1', 0)) s:listen(5) s:nonblock(true)
while true do
  %s
  local client = s:accept()
  if client then client:write(client:readline()) %s print("served") else print("idle") end
end
"""
    served = Served(tcp_pair(), polls % ("", "client:close()"), "--style=tarantool")
    served.client.send(b"hello\n")
    equal(served.client.end(), (b"hello\n", "eof"), "answer")
    served.ends(0, "served\nidle\n")
    for wait in "", "s:readable(0.01)", "s:wait(0.01)":
        served = Served(tcp_pair(), polls % (wait, ""), "--style=tarantool")
        served.client.send(b"hello\n")
        equal(served.client.end(), (b"hello\n", "eof"), "answer")
        equal(served.child.wait(), 0, "exit status")


@test("--style: a port that the program calculates may be a float")
def _():
    for call in (
        "socket.tcp_server('127.0.0.1', PORT, function(s) s:write('hello') end)",
        "socket.tcp_server('localhost', PORT, function(s) s:write('hello') end)",
        "(function() local s = socket.bind('127.0.0.1', PORT) s:listen() return s:accept():write('hello') end)()",
    ):
        client, conn = tcp_pair()
        call = call.replace("PORT", f"'{conn.getsockname()[1]}' + 0")
        serves((client, conn), "local socket = require 'socket' assert(" + call + ")", b"", b"hello", finish=False)


@test("--style: over a Unix socket")
def _():
    path = tmp("style.sock")
    text = r"""
local socket = require "socket"
local s, address = assert(socket.tcp_server('unix/', arg[1] or 'PATH', function(s) s:write(s:readline()) end))
print(address.host, address.port)
print(socket.tcp_server('unix/', '/elsewhere', print))
""".replace("PATH", path)
    message = f"cannot bind to /elsewhere: the connection came in on {path}, and with --style=tarantool a program serves nothing else"
    serves(unix_pair(path), text, b"hello\n", b"hello\n", f"unix/\t{path}\nnil\t{message}\n")
    check(os.path.exists(path), "the listener's file is not the program's to remove")


@test("--style: datagrams and outgoing connections are real; a program that accepts nothing is told")
def _():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        text = (
            """
local socket = require "socket"
local d = socket('AF_INET', 'SOCK_DGRAM', 'udp')
assert(d:bind('127.0.0.1', 0)) assert(d:sendto('127.0.0.1', %d, 'x' .. d:name().port))
"""
            % peer.getsockname()[1]
            + ONE_BY_ONE
        )
        serves(tcp_pair(), text, b"hello\n", b"hello\n")
        data, address = peer.recvfrom(100)
        equal(data.decode(), f"x{address[1]}", "a datagram")
    client, conn = tcp_pair()
    served = Served((client, conn), "require('fiber').create(function() end)", "--style=tarantool")
    equal(client.end()[1], "reset", "the end")
    equal(served.child.wait(), 70, "exit status")
    check("has not accepted the connection" in mbtest.read_file(served.log), mbtest.read_file(served.log))


@test("--style: an error in the handler's fiber is logged, and the connection ends")
def _():
    client, conn = tcp_pair()
    text = "require('socket').tcp_server('127.0.0.1', 0, function(s) s:write('hi\\n') error('as told') end)"
    served = Served((client, conn), text, "--style=tarantool")
    equal(client.end(), (b"hi\n", "eof"), "answer")
    equal(served.child.wait(), 0, "exit status")
    check("as told" in mbtest.read_file(served.log), "log")


@test("--style in a replay")
def _():
    for text in (ONE_BY_ONE, "require('socket').tcp_server('0.0.0.0', 3301, function(s) s:write(s:readline()) end)"):
        done = mbtest.replay("--style=tarantool", script(text), stdin=b"hello\n")
        equal((done.returncode, done.stdout, done.stderr), (0, b"hello\n", b""), "status, output, log")


def many(where):
    mbtest.wait_listening(where)
    clients = [Client(where) for _ in range(20)]
    for i, client in reversed(list(enumerate(clients))):
        client.send(f"{i}\nlast")
        client.finish()
        equal(client.end(), (f"{i}\nlast".encode(), "eof"), "answer")
        client.sock.close()


EXAMPLE = os.path.join(SRCDIR, "docs", "examples", "tarantool-echo.lua")


def example_at(port):
    text = mbtest.read_file(EXAMPLE)
    equal(text.count("'0.0.0.0', 7007"), 1, "its address")
    return script(text.replace("7007", str(port)))


@test("docs/examples/tarantool-echo.lua under inetd, with the entry that it names, and under systemd-socket-activate")
def _():
    port = free_port()
    path = example_at(port)
    entry = re.search(r"(?m)^-- For inetd: (7007 .*)$", mbtest.read_file(EXAMPLE)).group(1)
    equal(entry.split()[:4] + entry.split()[6:], "7007 stream tcp nowait.60000 mb-handle --style=tarantool FILE".split(), "entry")
    mbhosts.Inetd([(f"127.0.0.1:{port}", "tcp4", f"--style=tarantool {path}")])
    many(("127.0.0.1", port))
    port = free_port()
    mbhosts.SocketActivate(("127.0.0.1", port), "--style=tarantool", example_at(port))
    many(("127.0.0.1", port))


def manual_examples():
    """The blocks of the manual page's EXAMPLES: an entry for inetd, the script for it, two more scripts."""
    page = mbtest.read_file(os.path.join(SRCDIR, "docs", "mb.tarantool.3"))
    examples = page[page.index(".Sh EXAMPLES") :]
    blocks = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", examples, re.MULTILINE | re.DOTALL)
    equal(len(blocks), 4, "blocks in the EXAMPLES of mb.tarantool(3)")
    return [block.replace("\\e", "\\") for block in blocks]


@test("the manual's examples: a script under inetd with its entry, one that asks it, a program that is served unchanged")
def _():
    entry, greet, ask, program = manual_examples()
    equal(entry.split(), "7007 stream tcp nowait.60000 mb-handle /usr/local/bin/mb-handle mb-handle".split(), "entry")
    port = free_port()
    where = ("127.0.0.1", port)
    mbtest.write_file(tmp("handlers", f"{port}.lua"), greet)
    mbhosts.Inetd([(f"127.0.0.1:{port}", "tcp4", f"--handlers {os.path.dirname(tmp('handlers', 'x'))}")])
    mbtest.wait_listening(where)
    for sent in ("Ann\n", "Ann\r\n", "Ann"):
        with Client(where) as client:
            client.send(sent)
            client.finish()
            equal(client.end(), (b"Hello, Ann!\n", "eof"), "answer")
    with Client(where) as client:
        client.finish()
        equal(client.end(), (b"", "eof"), "answer to nothing")
    # Nobody listens on ::1, which is said first.
    served = Served(tcp_pair(), ask.replace("7007", str(port)))
    got, how = served.client.end()
    check(got in (b"Hello, Ann!\n", b"Connection refused") and how == "eof", f"what comes first: {got}")
    served.ends()
    served = Served(tcp_pair(), ask.replace("7007", str(port)).replace(', "::1"', ""))
    equal(served.client.end(), (b"Hello, Ann!\n", "eof"), "the answer of the other server")
    served.ends()
    serves(tcp_pair(), program.replace("7007", "0"), b"", b"Hello, 127.0.0.1!\n")


mbtest.main()
