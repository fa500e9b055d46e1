#!/usr/bin/python3
"""moonbridge_io.poll, catch_sigterm, timeref and getpid: what is ready and what is not, deadlines, and signals.
Handler and test take turns: the handler prints a word, the test acts on it."""

import functools
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhandler
import mbshim
import mbtest
from mbhandler import TCP, UNIX, finish, run, send, source, state
from mbtest import HANDLE, SLOWNESS, Client, about, check, equal, script, tcp_pair, test, until, within

HEAD = (
    mbhandler.HEAD
    + """
local function set(...)
  local s = {}
  for i = 1, select("#", ...) do s[(select(i, ...))] = true end
  return s
end
local TIMEOUT, SIGNAL, SIGTERM = "false timeout", "false signal received", "false SIGTERM received true"
-- Nothing is ready, whether it is asked for or waited for.
local function idle(input, output)
  eq(TIMEOUT, mb.poll(input, output, 0))
  eq(TIMEOUT, mb.poll(input, output, 0.002))
end
-- Something is: without a timeout this would hang if it were not.
local function ready(input, output)
  eq("true", mb.poll(input, output, 0))
  eq("true", mb.poll(input, output, 1e9))
  eq("true", mb.poll(input, output))
end
local function name_of(number) return ("@mb-io-poll-%d-%d"):format(mb.getpid(), number or 0) end
"""
)
Handler = functools.partial(mbhandler.Handler, head=HEAD)
turns = functools.partial(mbhandler.turns, head=HEAD)
go = send("go\n")


def kill(signum):
    """Sends a signal to the handler, once it waits."""

    def act(_, handler):
        handler.asleep()
        os.kill(handler.pid, signum)

    return act


def waits_for(act):
    """Acts once the handler waits."""

    def wait_and_act(client, handler):
        handler.asleep()
        check(handler.silent(), "it waits until something is ready")
        act(client, handler)

    return wait_and_act


FILL = 'repeat until socket:write_nb(("x"):rep(65536)) > 0\n'  # now it takes no more


# --- What is ready: reference, "moonbridge_io.poll" ---


@test('"waits for at least one of the given file descriptors and/or I/O handles to be ready for input": each kind of key')
def _():
    name = "@mb-io-poll-"
    data = 'print("data") eq("true", mb.poll(input))'
    connect = "local c = mb.localconnect(name)"
    close = "child.stdin:close() eq('true', mb.poll(input))"
    for kind, input_set, act in (
        ("socket", "socket", data),
        ("descriptor of a socket", "socket.fd", data),
        ("listener", "l", connect),
        ("descriptor of a listener", "l.fd", connect),
        ("TCP listener", "t", 'local c = mb.tcpconnect("127.0.0.1", t.local_tcpport)'),
        ("child", "child", close),
        ("pipe from a child", "child.stdout", close),
        ("descriptor of a pipe", "child.stderr.fd", close),
        ("one of many: data", "socket, l, t, child, child.stdout.fd", data),
        ("one of many: a connection", "socket, l, t.fd, child, child.stdout", connect),
        ("one of many: the end of a child", "socket.fd, l, t, child", close),
    ):
        body = f"""
  local name = "{name}" .. mb.getpid()
  local l, t, child = mb.locallisten(name), mb.tcplisten("127.0.0.1", 0), mb.exec("cat")
  local input = set({input_set})
  idle(input)
  idle(input, {{}})
  {act}
  ready(input)
"""
        with about(kind):
            turns(body, *([("data", send("data"))] if act == data else []))


@test('"waits": a poll that has no timeout sleeps until a socket, a listener, a child or a pipe is ready')
def _():
    path = mbtest.tmp("waits.sock")

    def connect(_client, _handler):
        Client(path).sock.close()

    for name, body, act in (
        ("socket", "local input = set(socket)", send("x")),
        ("descriptor", "local input = set(socket.fd)", send("x")),
        ("end of input", "local input = set(socket)", finish),
        ("listener", f'local l = mb.locallisten("{path}") local input = set(l)', connect),
        ("child", 'local c = mb.exec("cat") print(c.pid) local input = set(c)', None),
        ("pipe", 'local c = mb.exec("cat") print(c.pid) local input = set(c.stdout)', None),
    ):
        body += ' print("waiting") eq("true", mb.poll(input)) eq("true", mb.poll(input, nil, 0))'
        with Handler(body) as handler:
            with about(name):
                pid = None if act else handler.number()
                handler.says("waiting")
                waits_for(act or (lambda _client, _handler, pid=pid: os.kill(pid, signal.SIGKILL)))(handler.client, handler)
                handler.ends()


def take_all(client, _=None):
    client.sock.recv(1 << 22)


@test('"... or output": a socket, its descriptor, and a child\'s pipe that take no more are not ready until somebody has read')
def _():
    # Not TCP, which may take a little more at any time.
    for key in ("socket", "socket.fd"):
        turns(
            f"""
  {FILL}
  local output = set({key})
  idle(nil, output)
  print("full") eq("true", mb.poll({{}}, output))
  ready(nil, output)
""",
            ("full", waits_for(take_all)),
            pairs=UNIX,
        )
    for key in ("child.stdin", "child.stdin.fd"):
        turns(
            f"""
  local child = mb.exec("sh", "-c", "read line && cat")
  local output = set({key})
  ready(nil, output)
  child.stdin:flush("line\\n")
  -- The shell reads no more than a line as long as nobody reads what cat writes: both pipes are full then.
  repeat local queued = child.stdin:flush_nb(("x"):rep(65536)) until queued > 65536 and mb.poll(nil, output, 0.05) == false
  idle(nil, output)
  eq("65536 maxlen", child.stdout:drain(65536))
  eq("true", mb.poll(nil, output))
  child:kill(9):wait()
""",
            pairs=UNIX,
        )


@test("a key may be in both sets: it is ready as soon as one of them is; sets of different kinds go together")
def _():
    for key in ("socket", "socket.fd"):
        turns(
            f"""
  local both = set({key})
  ready(both, both) -- output
  ready(set(socket), set({key}))
  ready(set({key}), set(socket))
  {FILL}
  idle(both, both)
  idle(set(socket), set({key}))
  print("full") eq("true", mb.poll(both, both)) -- input
  eq("true", mb.poll(both, nil, 0))
  eq("d maxlen", socket:read(1))
  idle(both, both)
  print("read") eq("true", mb.poll(both, both)) -- output
  idle(both)
  ready(nil, both)
""",
            ("full", waits_for(send("d"))),
            ("read", waits_for(take_all)),
            pairs=UNIX,
        )


@test("a replay's socket: input and output are two descriptors")
def _():
    body = """
  idle(set(socket))
  ready(nil, set(socket))
  ready(set(socket), set(socket))
  turn("empty")
  eq("true", mb.poll(set(socket))) -- the end of input
  ready(set(socket))
"""
    take, give = os.pipe()
    with open("/dev/null", "wb") as null, subprocess.Popen(
        [HANDLE, script(source(body, HEAD))], stdin=take, stdout=null, stderr=subprocess.PIPE
    ) as child:
        os.close(take)
        equal(child.stderr.readline(), b"empty\n", "word")
        os.write(give, b"go\n")
        os.close(give)
        equal((child.stderr.read(), child.wait()), (b"", 0), "log and status")


@test('"a value which does evaluate to true": a key whose value is false is not in the set, be it a wrong one; all others are')
def _():
    turns(
        """
  turn("go")
  turn("data")
  eq("d maxlen", socket:read(1)) -- the rest is buffered
  idle { [socket] = false }
  idle { [socket] = false, [77] = false, wrong = false, [io.stdout] = false }
  idle({ [socket] = false }, { [socket] = false, wrong = false })
  for _, value in ipairs { true, 0, "", "false", {}, print, socket } do
    ready { [socket] = value }
    ready(nil, { [socket] = value })
  end
  -- In the one set, not in the other.
  eq("ata maxlen", socket:read(3))
  idle({ [socket] = true }, { [socket] = false })
  ready({ [socket] = false }, { [socket] = true })
  local l, c = mb.locallisten(name_of()), mb.exec("cat")
  idle({ [l] = true, [c] = true }, { [l] = false, [c] = false })
""",
        ("go", go),
        ("data", send("go\ndata")),
    )


@test('"If a set is nil, it is treated as being empty"; the sets stay as they are, and their metatables are not asked')
def _():
    turns(
        """
  idle()
  idle(nil, {})
  idle({}, nil)
  idle({}, {})
  idle(set(socket), nil)
  ready(nil, set(socket))
  ready({}, set(socket))
  local s = { [socket] = true, [socket.fd] = 1, [77] = false }
  idle(s)
  local n = 0
  for k, v in pairs(s) do
    n = n + 1
    assert(k == socket and v == true or k == socket.fd and v == 1 or k == 77 and v == false)
  end
  eq("3", n)
  local odd = setmetatable({}, { __index = error, __pairs = error, __len = error, __newindex = error })
  idle(odd, odd)
"""
    )


@test("a set that is no table, a wrong key, a wrong timeout: an argument error that says which, and nothing was waited for")
def _():
    turns(
        """
  local l, c = mb.locallisten(name_of()), mb.exec("cat")
  local values = { true, false, 1, 1.5, "set", print, coroutine.create(print), io.stdout, socket }
  for _, wrong in ipairs(values) do
    throws("bad argument #1", mb.poll, wrong)
    throws("bad argument #2", mb.poll, nil, wrong)
    if type(wrong) ~= "number" then throws("bad argument #3", mb.poll, nil, nil, wrong) end
  end
  throws("bad argument #3", mb.poll, nil, nil, {})
  local keys = { true, false, -1, 1.5, 1e10, 1 << 31, math.huge, -math.huge, math.mininteger, "socket", "3", print,
    coroutine.create(print), io.stdout, {} }
  for _, wrong in ipairs(keys) do
    throws("bad argument #1", mb.poll, { [wrong] = true })
    throws("bad argument #2", mb.poll, nil, { [wrong] = true })
    -- Whatever else is ready.
    throws("bad argument #2", mb.poll, nil, { [socket] = true, [wrong] = true }, 0)
  end
  -- A list where a set is expected: its keys are 1 and 2. A number that is the socket's own is fine.
  for _, list in ipairs { { socket }, { true, socket }, { [2] = socket, [socket] = true } } do
    throws("bad argument #1", mb.poll, list)
    throws("bad argument #2", mb.poll, nil, list)
  end
  idle { [socket.fd] = socket }
  ready(nil, { [socket.fd] = socket })
  for _, input_only in ipairs { l, c } do
    throws("bad argument #2", mb.poll, nil, { [input_only] = true })
    throws("bad argument #2", mb.poll, { [input_only] = true }, { [input_only] = true })
    throws("bad argument #2", mb.poll, { [input_only] = false }, { [input_only] = true })
  end
  for _, timeout in ipairs { -1, -0.001, -1e-300, -math.huge, 0/0, -(0/0), math.mininteger } do
    throws("bad argument #3", mb.poll, nil, nil, timeout)
    throws("bad argument #3", mb.poll, nil, set(socket), timeout)
  end
  ready(nil, set(socket)) -- as if nothing had been
  idle(set(socket, l, c, 3.0))
"""
    )


@test('"Returns true" at once for what is buffered, at the end of input, and after a failure')
def _():
    turns(
        """
  turn("two lines")
  eq("one\\n term", socket:read(nil, "\\n"))
  ready(set(socket))
  idle(set(socket.fd)) -- the buffer is the handle's: the system has nothing more
  ready(set(socket), set(socket))
  eq("two\\n term", socket:read(nil, "\\n"))
  idle(set(socket))
  print("end") eq("rest eof", socket:read())
  ready(set(socket))
  eq(" eof", socket:read())
  ready(set(socket))
""",
        ("two lines", send("go\none\ntwo\n")),
        ("end", lambda client, _: (client.send("rest"), client.finish())),
    )
    turns(
        """
  print("reset") eq("true", mb.poll(set(socket))) -- before it was read
  ready(set(socket))
  eq("nil", (socket:read(1)))
  ready(set(socket))
  repeat until not socket:flush("x")
  ready(nil, set(socket))
  ready(set(socket), set(socket))
""",
        ("reset", lambda client, _: client.reset()),
        pairs=TCP,
    )
    # A failure that the system knows nothing of: the queue had no room.
    turns(
        FILL
        + """
  idle(nil, set(socket))
  local large = ("x"):rep(1500000)
  throws("not enough memory", function() for i = 1, 10 do socket:write_nb(large) end end)
  ready(nil, set(socket))
  ready(set(socket), set(socket))
""",
        pairs=UNIX,
        args=("--memory-limit", "6M"),
    )
    # A local connection that is finished: nothing but the end is left of it.
    turns("socket:finish() ready(set(socket))", pairs=UNIX)
    turns(
        """
  local c = mb.exec("true")
  c:wait()
  ready(nil, set(c.stdin))
  eq("nil Broken pipe 32", c.stdin:flush("x"))
  ready(nil, set(c.stdin))
  ready(set(c.stdin)) -- there is nothing to read, and never will be
  ready(set(c.stdout))
  ready(set(c))
""",
        pairs=UNIX,
    )


@test("a connection that is being made: ready for output when that is decided, for input when it failed or data is there")
def _():
    turns(
        """
  local l = mb.tcplisten("127.0.0.1", 0)
  local s = mb.tcpconnect_nb("127.0.0.1", l.local_tcpport)
  eq(TIMEOUT, mb.poll(set(s), nil, 0.01))
  ready(nil, set(s))
  s = mb.tcpconnect_nb("127.0.0.1", l.local_tcpport)
  eq("true", mb.poll(set(s), set(s)))
  idle(set(s))
  l:accept()
  local theirs = l:accept()
  theirs:flush("data")
  eq("true", mb.poll(set(s)))
  s = mb.tcpconnect_nb("127.0.0.1", l.local_tcpport)
  l:accept():flush("data")
  eq("true", mb.poll(set(s)))
  -- Several, among others that are idle: each is connected by the way, which is not what is waited for.
  local many = set(socket, socket.fd)
  for i = 1, 5 do
    many[mb.locallisten(name_of(i))] = true
    many[mb.tcpconnect_nb("127.0.0.1", l.local_tcpport)] = true
  end
  idle(many)
  for i = 1, 5 do l:accept():flush("data") end
  eq("true", mb.poll(many))
  local port = l.local_tcpport
  l:close()
  for _, sets in ipairs { "i", "o", "io" } do
    local refused = mb.tcpconnect_nb("127.0.0.1", port)
    ready(sets:find("i") and set(refused) or nil, sets:find("o") and set(refused) or nil)
    eq("nil 111", (refused:read(1)), (select(3, refused:read(1))))
    ready(set(refused))
    ready(nil, set(refused))
  end
""",
        pairs=UNIX,
    )
    # Undecided: the queue of the listener is full, so that the kernel drops what comes.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = []
        for _ in range(3):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(("127.0.0.1", port))
        turns(
            f"""
  local s = mb.tcpconnect_nb("127.0.0.1", {port})
  idle(set(s))
  idle(nil, set(s))
  idle(set(s), set(s))
""",
            pairs=UNIX,
        )
        for s in waiting:
            s.close()


@test("a partial line that a suspended read_yield or read_call waits for is not ready, so that who polls and resumes does not spin")
def _():
    body = """
  local many = set(socket)
  for i = 1, 100 do many[mb.locallisten(name_of(i))] = true end
  local co = coroutine.wrap(function() return socket:FORM_yield(nil, "\\n") end)
  co()
  idle(set(socket))
  print("partial") eq("true", mb.poll(set(socket)))
  co() -- takes what is there, and is blocked again
  for i = 1, 3 do
    eq(TIMEOUT, mb.poll(set(socket), nil, i * 0.001))
    co() -- without need
  end
  eq("true", mb.poll(set(socket), set(socket))) -- output is another matter
  co()
  print("more") eq("true", mb.poll(set(socket)))
  co()
  eq(TIMEOUT, mb.poll(set(socket), nil, 0))
  co()
  -- Whatever else is there to wait for.
  eq(TIMEOUT, mb.poll(many, nil, 0))
  co()
  print("rest") eq("true", mb.poll(set(socket)))
  eq(WANT, co())
  ready(set(socket)) -- what is behind it
  eq("behi maxlen", socket:read(4))
  -- In a function that read_call waits with, too.
  local calls = 0
  eq("nd12\\n term", socket:read_call(function()
    calls = calls + 1
    if calls == 1 then
      eq(TIMEOUT, mb.poll(set(socket), nil, 0.001)) -- and is called again
    else
      if calls == 2 then print("last") end
      eq("true", mb.poll(set(socket)))
    end
  end, nil, "\\n"))
  assert(calls > 1)
  ready(set(socket))
  eq("3 maxlen", socket:read(1))
  -- Blocked, with less than it wants: at the end of input it would go on.
  co = coroutine.wrap(function() return socket:FORM_yield(10) end)
  co()
  print("end") eq("true", mb.poll(set(socket)))
  eq(END, co())
  ready(set(socket))
"""
    steps = (
        ("partial", send("par")),
        ("more", waits_for(send("tial"))),
        ("rest", waits_for(send("line\nbehind"))),
        ("last", waits_for(send("12\n3"))),
        ("end", waits_for(finish)),
    )
    for form, want, end in (("read", '"partialline\\n term"', '" eof"'), ("drain", '"12 term"', '"0 eof"')):
        turns(body.replace("FORM", form).replace("WANT", want).replace("END", end), *steps)


@test("what read_call has buffered is ready again once its function threw, it was given up, somebody else reads, or input ends")
def _():
    turns(
        """
  print("partial") eq("pa maxlen", socket:read(2)) -- the rest is in the buffer now
  local calls = 0
  local ok, message = pcall(socket.read_call, socket, function()
    calls = calls + 1
    eq(TIMEOUT, mb.poll(set(socket), nil, 0.001))
    error("stop", 0)
  end, nil, "\\n")
  eq("false stop 1", ok, message, calls)
  ready(set(socket))
  local co = coroutine.wrap(function() return socket:read_yield(nil, "\\n") end)
  co()
  eq(TIMEOUT, mb.poll(set(socket), nil, 0.001))
  -- Not resumed: whoever waits again without having tried again is told at once.
  ready(set(socket))
  eq("r maxlen", socket:read(1))
  ready(set(socket))
  co = coroutine.wrap(function() return socket:read_yield(nil, "\\n") end)
  co()
  eq("t maxlen", socket:read(1))
  ready(set(socket))
  eq("ial maxlen", socket:read_nb(3))
  idle(set(socket))
  -- A failure while it is suspended.
  co = coroutine.wrap(function() return socket:read_yield(nil, "\\n") end)
  co()
  print("close") eq("true", mb.poll(set(socket)))
  eq("", co() or "")
""",
        ("partial", send("partial")),
        ("close", lambda client, _: client.reset() if client.sock.family == socket.AF_INET else client.sock.close()),
    )


@test("a table as fifth argument gets what is ready, and how, and nothing else; it is the second result")
def _():
    turns(
        """
  local l, child = mb.locallisten("@mb-io-poll-ready-" .. mb.getpid()), mb.exec("cat")
  local found = {old = true}
  local function look(want, input, output, seconds)
    local outcome, same = mb.poll(input, output, seconds, nil, found)
    local names = {[socket] = "socket", [l] = "l", [child] = "child", [child.stdout.fd] = "fd"}
    local list = {}
    for element, how in pairs(found) do list[#list + 1] = names[element] .. " " .. how end
    table.sort(list)
    eq(want, table.concat(list, ", "))
    eq(tostring(want ~= ""), tostring(outcome))
    if outcome then assert(same == found) end
  end
  local all = {[socket] = true, [l] = true, [child] = true, [child.stdout.fd] = true}
  look("", all, nil, 0)
  look("socket w", all, {[socket] = true}, 0)
  print("data")
  look("socket r", all)
  look("socket rw", all, {[socket] = true})
  local c = mb.localconnect(l.path or "@mb-io-poll-ready-" .. mb.getpid())
  look("l r, socket r", all)
  child.stdin:write("x"):flush()
  look("fd r", {[child.stdout.fd] = true})
  look("fd r, l r, socket r", all)
  all[l], all[socket] = false, nil
  look("fd r", all)
  child.stdin:close()
  look("child r", {[child] = true})
  eq("false timeout", mb.poll({}, nil, 0, nil, found))
  assert(next(found) == nil)
  local good, err = pcall(mb.poll, {}, nil, 0, nil, 5)
  assert(not good and err:find("#5"), err)
""",
        ("data", send("data")),
    )


@test("a table as fifth argument: an end or an error alone counts, as do what is in a buffer and a child that is gone; no wait")
def _():
    turns(
        """
  local found = {}
  local function look(want, element, output)
    eq("true", (mb.poll(not output and set(element) or {}, output and set(element) or {}, nil, nil, found)))
    eq(want, found[element])
  end
  local ended, full = mb.exec("true"), mb.exec("sleep", "1000")
  look("r", ended.stdout.fd) -- POLLHUP, without POLLIN
  repeat until full.stdin:write_nb(("x"):rep(65536)) > 0
  full:kill()
  look("w", full.stdin.fd, true) -- POLLERR, without POLLOUT
  look("r", full)
  ended:wait()
  look("r", ended)
  print("data")
  eq("a", (socket:read(1)))
  local idle = mb.locallisten(name_of())
  eq("true", (mb.poll(set(socket, idle), nil, nil, nil, found)))
  eq("r", found[socket])
  assert(found[idle] == nil)
""",
        ("data", send("ab")),
    )


@test("poll does not send pending output")
def _():
    def check_nothing(client, _handler):
        check(not select.select([client.sock], [], [], 0)[0], "something was sent")
        client.send("go\n")

    turns(
        """
  turn("one")
  socket:write("pending")
  idle(set(socket))
  ready(nil, set(socket))
  ready(set(socket), set(socket))
  print("polled") eq("true", mb.poll(set(socket)))
""",
        ("one", go),
        ("polled", check_nothing),
    )


@test("a closed or reset handle, a closed listener, a socket whose output is finished: a Lua error")
def _():
    turns(
        """
  local l = mb.locallisten(name_of())
  local function pair() return mb.localconnect(name_of()), l:accept() end
  local a, b = pair()
  a:close() b:reset()
  for _, sets in ipairs { "10", "01", "11" } do
    local function poll(key) return mb.poll(sets:find("^1") and set(key) or nil, sets:find("1$") and set(key) or nil, 0) end
    throws("the socket is closed", poll, a)
    throws("the socket has been reset", poll, b)
  end
  idle { [a] = false, [b] = false }
  local t = mb.tcplisten("127.0.0.1", 0)
  local c = mb.tcpconnect("127.0.0.1", t.local_tcpport)
  idle(set(c))
  ready(nil, set(c))
  c:finish()
  idle(set(c))
  throws("output is finished", mb.poll, nil, set(c))
  throws("output is finished", mb.poll, set(c), set(c))
  local child = mb.exec("cat")
  throws("output is finished", mb.poll, nil, set(child.stdout))
  throws("output is finished", mb.poll, nil, set(child.stderr))
  child.stdin:finish()
  throws("output is finished", mb.poll, nil, set(child.stdin))
  child.stdout:close()
  throws("the socket is closed", mb.poll, set(child.stdout))
  l:close()
  throws("the listener is closed", mb.poll, set(l))
  idle { [l] = false }
"""
    )


@test("a descriptor number that is not open: nil, message, errno, in each set and beside others")
def _():
    turns(
        """
  local want = "nil file descriptor 77: Bad file descriptor 9"
  eq(want, mb.poll(set(77)))
  eq(want, mb.poll(nil, set(77)))
  eq(want, mb.poll(set(77), set(77), 0))
  eq(want, mb.poll(set(77.0, socket)))
  eq(want, mb.poll(set(socket, 77), {}, 10, true))
  eq("nil file descriptor 2147483647: Bad file descriptor 9", mb.poll(set(2147483647)))
  idle(set(socket))
"""
    )


# --- Timeouts ---


@test(
    '"Returns false plus a status message in case of timeout": after 0, fractions, and not a moment early',
    native="a bound on time",
)
def _():
    turns(
        """
  local input = set(socket)
  for _, sets in ipairs { { nil }, { {}, {} }, { input }, { input, {} } } do
    for _, seconds in ipairs { 0, -0.0, 1e-9, 5e-324, 0.0005, 0.001, 0.0213, 0.1 } do
      local begin = mb.timeref()
      eq(TIMEOUT, mb.poll(sets[1], sets[2], seconds))
      local took = mb.timeref(begin)
      -- Numbers of microseconds, some of them rounded down.
      assert(took >= seconds - 2e-6, seconds .. " s took only " .. took)
      assert(took < seconds + SOON, seconds .. " s took " .. took)
    end
  end
  eq(TIMEOUT, mb.poll(nil, nil, 0, nil))
  eq(TIMEOUT, mb.poll(nil, nil, 0, false, nil, "more", "arguments"))
""".replace("SOON", str(5 * SLOWNESS)),
        pairs=UNIX,
    )

    def measure():
        with Handler(
            """
  local most = 0
  for _, seconds in ipairs { 0, 0.0005, 0.0213, 0.05 } do
    local begin = mb.timeref()
    eq(TIMEOUT, mb.poll(nil, nil, seconds))
    most = math.max(most, mb.timeref(begin) - seconds)
  end
  print(most)
"""
        ) as handler:
            late = float(handler.word())
            handler.ends()
            return late

    within(0.01, "the time after the timeout", measure)


@test("a huge or infinite timeout is clamped, and waits; none waits as well")
def _():
    # What overflows a timer would be an error, or no wait at all.
    for seconds in ("1e9", "1e10", "1e18", "1e300", "math.huge", "math.maxinteger", "nil"):
        turns(f'print("waiting") eq("true", mb.poll(set(socket), nil, {seconds}))', ("waiting", waits_for(send("x"))), pairs=UNIX)
        turns(f'print("waiting") eq(SIGNAL, mb.poll(nil, {{}}, {seconds}))', ("waiting", kill(signal.SIGPIPE)), pairs=UNIX)


@test("timeref is CLOCK_MONOTONIC in seconds, which no change of the wall clock moves; timeref(previous) what has passed since")
def _():
    with Handler(
        """
  for i = 1, 3 do
    turn("ready")
    print(("%.9f"):format(mb.timeref()))
  end
  local begin = mb.timeref()
  eq("float", math.type(begin))
  assert(begin > 0)
  mb.poll(nil, nil, 0.05)
  local between = mb.timeref()
  local passed = mb.timeref(begin)
  assert(passed >= 0.05 and passed >= between - begin, passed)
  assert(passed <= mb.timeref() - begin, passed)
  assert(mb.timeref(nil) >= between)
  assert(math.abs(mb.timeref(0) - mb.timeref()) < 1)
  assert(mb.timeref(mb.timeref() + 100) < -99)
  for _, wrong in ipairs { "x", {}, true, print } do throws("bad argument #1", mb.timeref, wrong) end
"""
    ) as handler:
        for _ in range(3):
            handler.says("ready")
            before = time.clock_gettime(time.CLOCK_MONOTONIC)
            handler.go()
            got = float(handler.word())
            after = time.clock_gettime(time.CLOCK_MONOTONIC)
            # Microseconds are rounded down.
            check(before - 2e-6 <= got <= after + 2e-6, f"{got} between {before} and {after}")
        handler.ends()


@test("getpid is the process's number; the module is the global, and what require returns")
def _():
    with Handler(
        """
  print(mb.getpid())
  eq("integer", math.type(mb.getpid()))
  assert(require "moonbridge_io" == moonbridge_io and package.loaded.moonbridge_io == mb)
"""
    ) as handler:
        equal(handler.word(), str(handler.pid), "getpid()")
        handler.ends()


@test("script_path: the script as it was named, or the absolute path of a file beside it, wherever the process was started")
def _():
    for directory, name, own, beside in (
        (mbtest.TMP, "here.lua", "here.lua", f"{mbtest.TMP}/data/x.txt"),
        (mbtest.TMP, "./here.lua", "./here.lua", f"{mbtest.TMP}/./data/x.txt"),
        ("/", f"{mbtest.TMP[1:]}/here.lua", f"{mbtest.TMP[1:]}/here.lua", f"{mbtest.TMP}/data/x.txt"),
        ("/", f"{mbtest.TMP}/here.lua", f"{mbtest.TMP}/here.lua", f"{mbtest.TMP}/data/x.txt"),
        (mbtest.TMP, "../" + os.path.basename(mbtest.TMP) + "/here.lua", None, None),
    ):
        mbtest.write_file(mbtest.tmp("here.lua"), """
          local mb = moonbridge_io
          local own, beside = mb.script_path(), mb.script_path("data/x.txt")
          local text = assert(io.open(beside)):read("a")
          for _, wrong in ipairs{"", "/etc/passwd", "a\\0b"} do
            local ok, message = pcall(mb.script_path, wrong)
            assert(not ok and message:find("bad argument #1", 1, true), message)
          end
          assert(not pcall(mb.script_path, {}))
          return function(socket) socket:write(own, "\\n", beside, "\\n", text) end
        """.replace("\\\\", "\\"))
        mbtest.write_file(mbtest.tmp("data", "x.txt"), "content")
        done = mbtest.replay(name, cwd=directory)
        equal(done.stderr, b"", "the log")
        got = done.stdout.decode().split("\n")
        equal(got[2], "content", "what the file beside has")
        if own:
            equal(got[:2], [own, beside], "the paths")


@test("the alarm timer ends a poll, and with it the process")
def _():
    turns('timeout(0.05) mb.poll(set(socket), nil, nil, true) print("survived")', status=-signal.SIGALRM, log="time is up")


# --- Signals ---


@test('"Returns false plus a status message when a signal was received"')
def _():
    for signum in (signal.SIGPIPE, signal.SIGXFSZ):
        turns(
            """
  -- A child's signal that nobody is to know of, neither now nor later.
  local abandoned = mb.exec("true").pid
  collectgarbage() collectgarbage()
  repeat until not io.open("/proc/" .. abandoned)
  print("one") eq(SIGNAL, mb.poll())
  print("two") eq(SIGNAL, mb.poll(set(socket)))
  print("three") eq(SIGNAL, mb.poll(set(socket), nil, 1e9, true))
  print("four") eq(SIGNAL, mb.poll(nil, {}, nil, false))
  print("data") eq("true", mb.poll(set(socket)))
""",
            *((word, kill(signum)) for word in ("one", "two", "three", "four")),
            ("data", send("x")),
        )


@test("a signal that neither ends nor is caught does not wake it: SIGSTOP and SIGCONT, SIGCHLD, SIGWINCH")
def _():
    def stop_and_continue(_client, handler):
        handler.asleep()
        os.kill(handler.pid, signal.SIGSTOP)
        until(lambda: state(handler.pid) == "T", "the handler is stopped")
        os.kill(handler.pid, signal.SIGCONT)

    def disturb(client, handler):
        for act in (stop_and_continue, kill(signal.SIGWINCH), kill(signal.SIGCHLD), kill(signal.SIGURG)) * 3:
            act(client, handler)
        waits_for(send("x"))(client, handler)

    turns('print("waiting") eq("true", mb.poll(set(socket)))', ("waiting", disturb))
    turns('print("waiting") eq("true", mb.poll(set(socket), nil, 1e9, true))', ("waiting", disturb))
    # Nor does it stretch the deadline.
    turns(
        'print("waiting") local t = mb.timeref() eq(TIMEOUT, mb.poll(set(socket), nil, 0.1)) '
        f"assert(mb.timeref(t) < {5 * SLOWNESS})",
        ("waiting", stop_and_continue),
    )


@test("a child that ends does not wake it, held or abandoned, whoever else was abandoned before; the deadline stands")
def _():
    for name, body in {
        "held": 'local c = mb.exec("sleep", "0.02")',
        "held, with one abandoned before": 'abandon("0") local c = mb.exec("sleep", "0.02")',
        "abandoned": 'abandon("0.02")',
        "many": 'for i = 1, 20 do abandon("0.0" .. i % 10) end local c = mb.exec("sleep", "0.03")',
        "popen, with one abandoned before": 'abandon("0") local p = io.popen("sleep 0.02")',
        "held, polled for, with one abandoned before": 'abandon("0") c = mb.exec("sleep", "0.02")',
    }.items():
        want, polled, seconds = ("'true'", "c", 10) if "polled" in name else ("TIMEOUT", "socket", 0.15)
        for wake in ("nil", "true"):
            with about(name):
                turns(
                    f"""
  local wake = {wake}
  local c
  local function abandon(seconds) mb.exec("sleep", seconds) end
  {body.replace("local c =", "c =")}
  collectgarbage() collectgarbage()
  local begin = mb.timeref()
  eq({want}, mb.poll(set({polled}), nil, {seconds}, wake))
  assert(mb.timeref(begin) < {5 * SLOWNESS})
""",
                    pairs=UNIX,
                )


@test("SIGTERM during poll ends the process, when nobody has asked for it; the client sees a reset")
def _():
    with Handler('print("waiting") mb.poll(set(socket), nil, 1e9, false) print("survived")', pair=tcp_pair) as handler:
        handler.says("waiting")
        kill(signal.SIGTERM)(handler.client, handler)
        equal(handler.client.end(), (b"", "reset"), "what the client sees")
        handler.ends(-signal.SIGTERM)


@test("catch_sigterm: from then on SIGTERM does not end the process, but is a signal for poll; reads go on")
def _():
    turns(
        """
  eq("0", select("#", mb.catch_sigterm()))
  mb.catch_sigterm() -- again
  print("during") eq(SIGNAL, mb.poll(set(socket)))
  idle(set(socket)) -- what was received is dealt with
  print("before") eq("go\\n term", socket:read(nil, "\\n"))
  idle(set(socket))
  print("timeout") eq(SIGNAL, mb.poll(nil, nil, 1e9))
  eq("true", mb.poll(nil, set(socket), nil))
""",
        ("during", kill(signal.SIGTERM)),
        ("before", lambda client, handler: (kill(signal.SIGTERM)(client, handler), handler.asleep(), client.send("go\n"))),
        ("timeout", kill(signal.SIGTERM)),
    )


@test("with the 4th argument SIGTERM gives false, a message and true: during poll, before it, and at each later call")
def _():
    later = """
  -- It stays noted, whatever else is ready and whatever the timeout.
  eq(SIGTERM, mb.poll(set(socket), nil, 0, true))
  eq(SIGTERM, mb.poll(nil, set(socket), nil, true))
  eq(SIGTERM, mb.poll(nil, nil, nil, "true"))
  eq(SIGTERM, mb.poll(nil, nil, nil, 0))
  -- For those only that ask for it.
  idle(set(socket))
  ready(nil, set(socket))
  eq(TIMEOUT, mb.poll(set(socket), nil, 0, false))
"""
    for catch in ("", "mb.catch_sigterm()"):
        turns(
            f'{catch} print("waiting") eq(SIGTERM, mb.poll(set(socket), nil, nil, true)) {later}',
            ("waiting", kill(signal.SIGTERM)),
        )
    # The 4th argument implies catch_sigterm().
    for catch in ("mb.catch_sigterm()", "mb.poll(nil, nil, 0, true)", "mb.poll(nil, set(socket), nil, true)"):
        turns(
            f"{catch} turn('term') {later}",
            ("term", lambda client, handler: (kill(signal.SIGTERM)(client, handler), client.send("go\n"))),
        )
        turns(
            f"{catch} print('waiting') eq(SIGNAL, mb.poll(nil, nil, nil, nil)) {later}",
            ("waiting", kill(signal.SIGTERM)),
        )
    # Also when something in the buffer is ready, which is not even waited for.
    turns(
        """
  mb.catch_sigterm()
  turn("term")
  eq("da maxlen", socket:read(2))
  eq(SIGTERM, mb.poll(set(socket), nil, nil, true))
  ready(set(socket))
""",
        ("term", lambda client, handler: (kill(signal.SIGTERM)(client, handler), client.send("go\ndata"))),
    )
    # It is the first thing, but comes after the arguments.
    turns(
        """
  mb.catch_sigterm()
  turn("term")
  throws("bad argument #1", mb.poll, set("wrong"), nil, nil, true)
  throws("bad argument #3", mb.poll, nil, nil, -1, true)
  eq(SIGTERM, mb.poll(nil, nil, nil, true))
""",
        ("term", lambda client, handler: (kill(signal.SIGTERM)(client, handler), client.send("go\n"))),
    )


@test("SIGTERM that comes at any moment wakes a poll with the 4th argument")
def _():
    for round_number in range(40):
        # Sets of several sizes, so that it comes at different places of the way into the system.
        size = round_number % 8 * 200
        with Handler(
            f"""
  local input = {{}}
  for i = 1, {size} do input[i % 2 == 0 and socket or 1000 + i] = i % 2 == 0 end
  input[socket] = true
  mb.catch_sigterm()
  print("now")
  eq(SIGTERM, mb.poll(input, nil, nil, true))
"""
        ) as handler:
            handler.says("now")
            os.kill(handler.pid, signal.SIGTERM)
            handler.ends()


# Preloaded: what poll waits for happens between its last look and the wait.
RACE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
  int (*real)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
  *(void **)&real = dlsym(RTLD_NEXT, "ppoll");
  const char *what = getenv("MB_TEST_RACE");
  siginfo_t info;
  if (what && strcmp(what, "SIGTERM") == 0) raise(SIGTERM);
  if (what && strcmp(what, "child") == 0) waitid(P_ALL, 0, &info, WEXITED | WNOWAIT);
  return real(fds, count, timeout, mask);
}
"""


@test("a SIGTERM, or the end of a child, between poll's last look and its wait is not missed")
def _():
    shim = mbshim.compiled(mbtest.write_file(mbtest.tmp("race.c"), RACE))
    for what, body in {
        "SIGTERM": "eq(SIGTERM, mb.poll(set(socket), nil, nil, true))",
        "child": """
  local child = mb.exec("sleep", "0.01")
  eq("true", mb.poll(set(child)))
  child:wait()
  child = mb.exec("sleep", "0.01")
  eq("true", mb.poll(set(child), nil, 1e9, true))
""",
    }.items():
        run(body, head=HEAD, env=mbshim.preloaded(shim, MB_TEST_RACE=what))


@test("a parent that blocked or ignored SIGTERM does not keep it from poll; one sent while it was blocked is noted")
def _():
    body = """
  turn("start")
  CATCH
  print("waiting") eq(SIGTERM, mb.poll(set(socket), nil, nil, true))
"""
    for ignored in (False, True):
        for catch in ("", "mb.catch_sigterm()"):
            before = signal.getsignal(signal.SIGTERM)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            try:
                if ignored:
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                handler = Handler(body.replace("CATCH", catch))
            finally:
                signal.signal(signal.SIGTERM, before)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            with handler:
                handler.says("start")
                if not ignored:
                    os.kill(handler.pid, signal.SIGTERM)
                handler.go()
                handler.says("waiting")
                if ignored:
                    kill(signal.SIGTERM)(handler.client, handler)
                handler.ends()


@test("a storm of SIGTERM, SIGPIPE and ended children neither loses nor doubles a byte")
def _():
    data = os.urandom(1 << 20)
    for wake in ("false", "true"):
        with Handler(
            f"""
  mb.catch_sigterm()
  local wake = {wake}
  local pending, at_end, signals, children = 0, false, 0, 0
  print("ready")
  while not at_end or pending > 0 do
    local got, why, term = mb.poll(not at_end and set(socket) or nil, pending > 0 and set(socket) or nil, 10, wake)
    if not got then
      assert(why == "signal received" or wake and why == "SIGTERM received" and term == true, why)
      signals = signals + 1
      if signals % 50 == 1 and children < 20 then children = children + 1 mb.exec("true") end
    end
    local chunk, status = "", nil
    if not at_end then chunk, status = socket:read_nb(1000) end
    at_end = at_end or status == "eof"
    pending = socket:flush_nb(chunk)
  end
  assert(signals > 0)
  socket:finish()
"""
        ) as handler:
            handler.says("ready")
            stop = threading.Event()

            def storm(pid=handler.pid, stop=stop):
                while not stop.is_set():
                    os.kill(pid, signal.SIGTERM)
                    os.kill(pid, signal.SIGPIPE)

            handler.asleep()
            threads = [threading.Thread(target=storm), threading.Thread(target=lambda c=handler.client: (c.send(data), c.finish()))]
            for thread in threads:
                thread.start()
            try:
                got, how = handler.client.end()
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
            equal(how, "eof", "end")
            check(got == data, f"{len(got)} bytes, or other ones")
            handler.ends()


# --- Many, and in odd places ---


@test("10,000 descriptors: handles and numbers, idle and one ready")
def _():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 10200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, wanted))  # takes a privilege
    with Handler(
        """
  turn("limit")
  local handles, numbers, mixed, last = {}, {}, {}, nil
  local name = name_of() .. "-"
  for i = 1, 10000 do
    last = assert(mb.locallisten(name .. i))
    handles[last] = true
    numbers[last.fd] = true
    mixed[i % 2 == 0 and last or last.fd] = true
  end
  assert(last.fd >= 10000)
  idle(handles)
  idle(numbers)
  idle(mixed)
  idle(numbers, numbers)
  local connection = mb.localconnect(name .. 10000)
  ready(handles)
  ready(numbers)
  ready(mixed)
  ready(numbers, numbers)
  idle(set(connection))
  idle(set(connection, connection.fd)) -- few again, in the array that was grown
"""
    ) as handler:
        handler.says("limit")
        resource.prlimit(handler.pid, resource.RLIMIT_NOFILE, (wanted, wanted))
        handler.go()
        handler.ends()


@test("what is in both sets counts once: more than half of RLIMIT_NOFILE can be in both")
def _():
    with Handler(
        """
  local name = name_of()
  local l = mb.locallisten(name)
  local handles, numbers, full = {}, {}, {}
  for i = 1, 50 do
    local s = i % 2 == 0 and l:accept() or assert(mb.localconnect(name))
    handles[s], numbers[s.fd] = true, true
    if i % 2 == 0 then -- takes no more, and has nothing to read
      repeat until s:write_nb(("x"):rep(65536)) > 0
      full[s], full[s.fd] = true, true
    end
  end
  turn("limit")
  ready(handles, handles)
  ready(numbers, numbers)
  idle(full, full)
"""
    ) as handler:
        handler.says("limit")
        handler.may_open(70)
        handler.go()
        handler.ends()


@test("poll in a coroutine, in prepare and in finish")
def _():
    turns(
        """
  local co = coroutine.wrap(function(...)
    coroutine.yield(mb.poll(...))
    local again = coroutine.wrap(function() return mb.poll(set(socket)) end)
    coroutine.yield(again())
    return mb.poll(nil, set(socket))
  end)
  eq(TIMEOUT, co(set(socket), nil, 0.001))
  print("waiting") eq("true", co())
  eq("true", co())
""",
        ("waiting", waits_for(send("x"))),
    )
    path = script(
        """
local io = moonbridge_io
assert(io.poll(nil, nil, 0) == false)
listen{
  prepare = function() assert(io.poll({}, {}, 0.001) == false) end,
  connect = function(socket) assert(io.poll({ [socket] = true })) socket:write("polled") end,
  finish = function() assert(io.poll({}, {}, 0.001) == false) end,
}
"""
    )
    done = mbtest.replay(path)
    equal((done.returncode, done.stdout, done.stderr), (0, b"polled", b""), "status, output and log")


# A finalizer that runs in a poll, when that gets memory for more than it has had so far.
FINALIZER = """
  -- Garbage is collected at each allocation, as soon as that is switched on.
  local function poll_with_finalizer(finalizer, ...)
    collectgarbage() collectgarbage()
    collectgarbage("stop")
    local in_poll, ran = false, 0
    setmetatable({}, { __gc = function()
      collectgarbage("setpause", 200)
      if in_poll then ran = ran + 1 finalizer() end
    end })
    local poll = mb.poll
    collectgarbage("setpause", 0)
    collectgarbage("setstepmul", 1000000)
    in_poll = true
    collectgarbage("restart")
    local result = table.pack(poll(...))
    in_poll = false
    assert(ran == 1, "the finalizer did not run in the poll")
    return table.unpack(result, 1, result.n)
  end
  local name = name_of()
  local l = mb.locallisten(name)
  local function listeners(count)
    local s = {}
    for i = 1, count do s[mb.locallisten(name .. "-" .. count .. "-" .. i)] = name .. "-" .. count .. "-" .. i end
    return s
  end
  mb.poll(nil, nil, 0)
"""


@test("a finalizer that polls within a poll: each has its own")
def _():
    turns(
        FINALIZER
        + """
  local inner, outer = listeners(3), listeners(150)
  local connection
  local function finalizer()
    idle(inner)
    idle(inner, {})
    ready(nil, set(socket))
    throws("bad argument #1", mb.poll, set("wrong"))
  end
  eq(TIMEOUT, poll_with_finalizer(finalizer, outer, nil, 0))
  outer = listeners(400)
  -- The first that the outer one looks at, long before the finalizer.
  connection = mb.localconnect(select(2, next(outer)))
  eq("true", poll_with_finalizer(finalizer, outer, nil, 0))
  idle(listeners(40))
""",
        pairs=UNIX,
    )


@test("a finalizer that closes and forgets what a poll already has: no crash")
def _():
    turns(
        FINALIZER
        + """
  local t = mb.tcplisten("127.0.0.1", 0)
  local output = {}
  for i = 1, 40 do output[mb.tcpconnect_nb("127.0.0.1", t.local_tcpport)] = true end
  local others = {}
  local function finalizer()
    for s in pairs(output) do output[s] = nil end
    collectgarbage() collectgarbage()
    -- The numbers are taken again, by what is ready.
    for i = 1, 60 do others[i] = mb.localconnect(name) end
  end
  local result = poll_with_finalizer(finalizer, nil, output, 0)
  assert(result == true or result == false or result == nil)
  ready(nil, set(socket))
  -- A child whose end somebody has waited for meanwhile.
  local input = listeners(99)
  for i = 1, 70 do input[mb.exec("true")] = true end
  result = poll_with_finalizer(function()
    for c in pairs(input) do
      if c.pid then c:wait() end
      input[c] = nil
    end
    collectgarbage() collectgarbage()
  end, input, nil, 0)
  assert(result == true or result == false or result == nil)
""",
        pairs=UNIX,
    )


@test("a script that polls all the time makes no garbage of it, and a poll that throws leaves none behind")
def _():
    turns(
        """
  local s = {}
  for i = 1, 100 do s[mb.locallisten(name_of(i))] = true end
  local poll, wrong = mb.poll, { [socket] = true, wrong = true }
  poll(s, nil, 0)
  collectgarbage() collectgarbage("stop")
  local before = collectgarbage("count")
  for i = 1, 1000 do poll(s, nil, 0) end
  assert(collectgarbage("count") - before < 10, collectgarbage("count") - before)
  for i = 1, 1000 do pcall(poll, wrong) end
  collectgarbage() collectgarbage()
  assert(collectgarbage("count") - before < 10, collectgarbage("count") - before)
""",
        pairs=UNIX,
    )


mbtest.main()
