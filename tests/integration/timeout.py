#!/usr/bin/python3
"""timeout(): the peer sees a reset on time though somebody else holds the connection open, and the process dies by
SIGALRM with one line in the log. The program is started directly, on sockets made here."""

import os
import signal
import socket
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import HANDLE, SLOWNESS, Child, Serving, check, equal, script, tcp_pair, test, within

ALARM = -signal.SIGALRM


def handler(body, head=""):
    """A script whose handler says "armed" and then does this."""
    return script(f'{head}\nreturn function(socket)\n  socket:flush("armed\\n")\n  {body}\nend\n')


def expires(seconds, body, head="", args=()):
    """The reset comes so many seconds after the handler's first line; exit by SIGALRM, one log line."""
    path = handler(body, head)

    def measure():
        client, conn = tcp_pair()
        with client, conn:
            child = Serving(conn, *args, path)
            equal(client.line(), "armed", "answer")
            begin = time.monotonic()
            _, how = client.end()
            late = time.monotonic() - begin - seconds
            equal(how, "reset", f"end of the connection; log: {child.log()!r}")
            equal(child.wait(), ALARM, "exit status")
            lines = child.log().splitlines()
            equal(len(lines), 1, f"lines in the log {lines}")
            check("timeout" in lines[0] or "timed out" in lines[0], f"the line says timeout: {lines[0]!r}")
        return late

    within(0.05, f"reset {seconds} s after the start of the timer", measure, early=0.05)


def answers(body, want, head="", status=0):
    """No timer expires: the handler's answer is complete, and so is its exit."""
    client, conn = tcp_pair()
    with client, conn:
        child = Serving(conn, handler(body, head))
        equal(client.line(), "armed", "answer")
        equal(client.end(), (want, "eof"), f"answer; log: {child.log()!r}")
        equal(child.wait(), status, "exit status")


@test("while the handler waits for input")
def _():
    expires(0.3, 'timeout(0.3) socket:read(nil, "\\n")')


@test("while the handler waits for a client that does not read")
def _():
    client, conn = tcp_pair()
    with client, conn:
        child = Serving(conn, handler('timeout(0.5) socket:flush(("x"):rep(64 << 20))'))
        equal(child.wait(), ALARM, f"exit status; log: {child.log()!r}")
        equal(client.end()[1], "reset", "end of the connection")


@test("while the handler computes, or waits for a child process")
def _():
    expires(0.3, "timeout(0.3) while true do end")
    expires(0.3, 'timeout(0.3) os.execute("exec sleep 3")')
    expires(0.3, 'timeout(0.3); ("a"):rep(1000):find(("a-"):rep(6) .. "b")')


FINALIZER = "setmetatable({{}}, {{__gc = function() {} end}})"


@test("finalizers at the end have 10 seconds, and no timeout() of theirs extends that; the client has its answer before")
def _():
    body = FINALIZER.format("local left = timeout(0) print(left > 9 and left <= 10, timeout() > 9)")
    client, conn = tcp_pair()
    with client, conn:
        child = Serving(conn, handler(body + " timeout(1)"))  # which ends with the handler
        equal(client.end(), (b"armed\n", "eof"), "answer")
        equal(child.wait(), 0, "exit status")
        equal(child.log(), "true\ttrue\n", "what the finalizer sees")


@test("a finalizer that hangs at the end is ended with a line in the log")
def _():
    client, conn = tcp_pair()
    with client, conn:
        begin = time.monotonic()
        child = Serving(conn, handler(FINALIZER.format('timeout(60) os.execute("exec sleep 60")')))
        equal(client.end(), (b"armed\n", "eof"), "answer")
        check(time.monotonic() - begin < 5 * SLOWNESS, "the client does not wait for it")
        equal(child.wait(20 * SLOWNESS), ALARM, "exit status")
        check(9 < time.monotonic() - begin < 20 * SLOWNESS, "after 10 seconds")
        equal(child.log(), "mb-handle: timeout: the finalizers (__gc) of the script took too long after its end\n", "log")


@test("finalizers have 10 seconds also when os.exit closes the state, and when a program in a style ends")
def _():
    hangs = FINALIZER.format('os.execute("exec sleep 60")')
    program = f'local s = require("socket").bind("*", 0) {hangs} s:accept():close() s:accept()'
    ends = []
    for args in ((handler(f"{hangs} pcall(os.exit, 'x', true) os.exit(0, true)"),), ("--style=luasocket", script(program))):
        client, conn = tcp_pair()
        ends.append((client, conn, Serving(conn, *args)))
    for client, conn, child in ends:
        with client, conn:
            equal(child.wait(20 * SLOWNESS), ALARM, "exit status")
            check("the finalizers (__gc) of the script took too long" in child.log(), f"log: {child.log()!r}")


@test("--timeout holds for finalizers, too, when it is shorter")
def _():
    client, conn = tcp_pair()
    with client, conn:
        child = Serving(conn, "--timeout=1", handler(FINALIZER.format('os.execute("exec sleep 60")')))
        equal(client.end(), (b"armed\n", "eof"), "answer")
        equal(child.wait(), ALARM, "exit status")
        equal(child.log(), "mb-handle: timeout: time is up\n", "log")


@test("what was written but not flushed is not sent")
def _():
    client, conn = tcp_pair()
    with client, conn:
        child = Serving(conn, handler('timeout(0.1) socket:write("half an answer") while true do end'))
        equal(client.line(), "armed", "answer")
        equal(client.end(), (b"", "reset"), "what the client got")
        equal(child.wait(), ALARM, "exit status")


@test("the shorter of an outer and an inner timer counts")
def _():
    expires(0.2, 'timeout(0.2) timeout(5, function() socket:read(nil, "\\n") end)')
    expires(0.2, 'timeout(5) timeout(0.2, function() socket:read(nil, "\\n") end)')


@test("the outer timer runs on after an inner one, also when the inner function throws")
def _():
    expires(0.3, 'timeout(0.3) timeout(5, function() end) socket:read(nil, "\\n")')
    expires(0.3, 'timeout(0.3) pcall(timeout, 5, function() error("x") end) socket:read(nil, "\\n")')


@test("timeout(0) disarms; an inner timer without an outer one is gone when its function returns")
def _():
    answers('timeout(0.1) timeout(0) os.execute("exec sleep 0.3") socket:write("done\\n")', b"done\n")
    answers('timeout(0.1, function() end) os.execute("exec sleep 0.3") socket:write("done\\n")', b"done\n")
    answers('pcall(timeout, 0.1, error) os.execute("exec sleep 0.3") socket:write("done\\n")', b"done\n")


@test("timeout() tells what remains; 0 without a timer")
def _():
    answers('socket:write(tostring(timeout() == 0), "\\n")', b"true\n")
    answers('timeout(7) local t = timeout() socket:write(tostring(t > 6 and t <= 7), "\\n")', b"true\n")
    answers('timeout(7) local t = timeout(0) socket:write(tostring(t > 6 and t <= 7), "\\n")', b"true\n")
    answers('local t = timeout(7) socket:write(tostring(t == 0), "\\n")', b"true\n")
    answers('socket:write(table.concat({ timeout(5, function() return 1, "two" end) }, ","), "\\n")', b"1,two\n")


@test("a timeout(n) that a function under timeout(s, f) sets ends with that function")
def _():
    answers('timeout(5, function() timeout(0.1) end) os.execute("exec sleep 0.3") socket:write("done\\n")', b"done\n")
    answers('pcall(timeout, 5, function() timeout(0.1) error() end) os.execute("exec sleep 0.3") socket:write("done\\n")', b"done\n")
    expires(0.3, 'timeout(5, function() timeout(0.3) socket:read(nil, "\\n") end)')
    # The limit from before holds again, whether the function had set a longer one or none.
    expires(0.3, 'timeout(0.3) timeout(5, function() timeout(9) end) socket:read(nil, "\\n")')
    expires(0.3, 'timeout(0.3) timeout(5, function() timeout(0) end) socket:read(nil, "\\n")')


@test("timeout(s, f, ...): the arguments reach f, its results come back, nils among them")
def _():
    answers(
        """
  local n = select("#", timeout(5, function(...)
    socket:write(select("#", ...), " ", tostring((...)), " ", tostring((select(2, ...))), "\\n")
    return nil, 1, nil
  end, "a", 2, nil))
  socket:write(n, "\\n")
""",
        b"3 a 2\n3\n",
    )


@test("timeout(s, f): f may yield; values pass both ways, and its results arrive where it is resumed")
def _():
    answers(
        """
  local co = coroutine.wrap(function()
    local a, b = timeout(5, function(first)
      local second = coroutine.yield(first .. "!")
      local third = coroutine.yield(second .. "!")
      return third, "last"
    end, "one")
    socket:write(a, " ", b, " ", tostring(timeout() == 0), "\\n")
    return "end"
  end)
  socket:write(co(), " ", co("two"), " ", tostring(timeout() > 4), "\\n")
  socket:write(co("three"), "\\n")
""",
        b"one! two! true\nthree last true\nend\n",
    )
    # An error after a yield arrives too, and ends the timer.
    answers(
        """
  local co = coroutine.wrap(function()
    return pcall(timeout, 0.1, function() coroutine.yield() error("thrown", 0) end)
  end)
  co()
  local ok, message = co()
  os.execute("exec sleep 0.3")
  socket:write(tostring(ok), " ", message, "\\n")
""",
        b"false thrown\n",
    )


@test("timeout(s, f): the time runs on while f has yielded")
def _():
    expires(0.3, 'local co = coroutine.wrap(function() timeout(0.3, coroutine.yield) end) co() socket:read(nil, "\\n")')


@test("a timer whose coroutine was dropped and collected no longer counts")
def _():
    drop = """
  local function drop() coroutine.wrap(function() timeout(0.2, coroutine.yield) end)() end
  drop()
"""
    answers(drop + 'collectgarbage() os.execute("exec sleep 0.4") socket:write("done\\n")', b"done\n")
    answers(drop + 'collectgarbage() socket:write(tostring(timeout() == 0), "\\n")', b"true\n")
    # The one around it does.
    expires(0.3, "timeout(0.3) " + drop + 'collectgarbage() socket:read(nil, "\\n")')


@test("negative seconds, no number, and NaN are errors; nothing is set, and f is not called")
def _():
    answers(
        """
  for _, wrong in ipairs { -1, -0.001, 0/0, -1/0, "x", {} } do
    for _, f in ipairs { false, function() socket:write("called\\n") end } do
      local ok, message
      if f then ok, message = pcall(timeout, wrong, f) else ok, message = pcall(timeout, wrong) end
      socket:write(tostring(ok), message:find("number", 1, true) and "" or message, " ", tostring(timeout() == 0), "\\n")
    end
  end
  socket:write(tostring((pcall(timeout, 5, 5))), " ", tostring(timeout() == 0), "\\n")
""",
        b"false true\n" * 13,
    )


@test("an error that passes through timeout(s, f) has a traceback that leads to f's line, once")
def _():
    path = script(
        """return function(socket)
  timeout(5, function()
    timeout(6, function()
      local nothing
      print(nothing.field)
    end)
  end)
end
"""
    )
    client, conn = tcp_pair()
    with client, conn:
        child = Serving(conn, path)
        equal(child.wait(), 70, "exit status")
    text = child.log()
    equal(text.count("attempt to index"), 1, f"the message in {text!r}")
    trace = text.partition("stack traceback:")[2]
    for line in (5, 3, 2):
        check(f".lua:{line}: in function" in trace, f"line {line} in the traceback of {text!r}")


@test("connect's limit holds until the connection is closed: a client that does not read")
def _():
    client, conn = tcp_pair()
    with client, conn:
        begin = time.monotonic()
        child = Serving(conn, handler('timeout(0.5) socket:write_nb(("x"):rep(64 << 20))'))
        equal(child.wait(), ALARM, f"exit status; log: {child.log()!r}")
        check(time.monotonic() - begin > 0.4, "it ends when time is up")
        equal(client.end()[1], "reset", "end of the connection")


@test("prepare's limits end with it, one left behind in a coroutine too")
def _():
    listen = script(
        """listen{
  prepare = function()
    timeout(0.2)
    left_behind = coroutine.wrap(function() timeout(0.2, coroutine.yield) end)
    left_behind()
  end,
  connect = function(socket)
    socket:write(tostring(timeout() == 0), "\\n")
    os.execute("exec sleep 0.4")
    socket:write("done\\n")
  end,
}
"""
    )
    client, conn = tcp_pair()
    with client, conn:
        child = Serving(conn, listen)
        equal(client.end(), (b"true\ndone\n", "eof"), f"answer; log: {child.log()!r}")
        equal(child.wait(), 0, "exit status")


@test("timers of prepare and connect end with them")
def _():
    listen = script(
        """listen{
  prepare = function() timeout(0.2) end,
  connect = function(socket)
    socket:flush("armed\\n")
    os.execute("exec sleep 0.4")
    socket:write("done\\n")
    timeout(0.2)
  end,
  finish = function() os.execute("exec sleep 0.4") end,
}
"""
    )
    client, conn = tcp_pair()
    with client, conn:
        child = Serving(conn, listen)
        equal(client.end(), (b"armed\ndone\n", "eof"), "answer")
        equal(child.wait(), 0, f"exit status; log: {child.log()!r}")


@test("a script that blocks SIGALRM's way with a child's or a parent's disposition is ended all the same")
def _():
    path = handler('timeout(0.2) socket:read(nil, "\\n")')
    client, conn = tcp_pair()
    with client, conn, open("/dev/null", "r+b") as null:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        try:
            child = Child([HANDLE, path], {0: null, 1: null, 2: null, 3: conn}, listen_fds=1)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        equal(client.line(), "armed", "answer")
        equal(client.end()[1], "reset", "end of the connection")
        equal(child.wait(), ALARM, "exit status")


@test("before the handler runs: in prepare, and in a script that is still loading; --check too")
def _():
    loops = script("while true do end")
    for path, args in (
        (script("listen{ prepare = function() timeout(0.3) while true do end end, connect = print }"), ()),
        (loops, ("--timeout", "0.3")),
    ):
        client, conn = tcp_pair()
        with client, conn:
            child = Serving(conn, *args, path)
            equal(client.end(), (b"", "reset"), "what the client sees")
            equal(child.wait(), ALARM, f"exit status; log: {child.log()!r}")
            check("connection reset" in child.log(), child.log())
    with open("/dev/null", "r+b") as null:
        equal(Child([HANDLE, "--check", "--timeout", "0.1", loops], {0: null, 1: null, 2: null}).wait(), ALARM, "--check")


@test("after the connection was closed: in finish; the line says only that time is up")
def _():
    path = script("listen{ connect = function(socket) end, finish = function() timeout(0.1) while true do end end }")
    client, conn = tcp_pair()
    with client, conn:
        child = Serving(conn, path)
        equal(client.end(), (b"", "eof"), "what the client sees")
        equal(child.wait(), ALARM, "exit status")
        equal(child.log(), "mb-handle: timeout: time is up\n", "log")


@test("--timeout ends the process, whatever the script sets")
def _():
    path = handler(f'timeout({5 * SLOWNESS}) socket:read(nil, "\\n")')
    client, conn = tcp_pair()
    with client, conn:
        begin = time.monotonic()
        child = Serving(conn, "--timeout", "0.5", path)
        equal(client.line(), "armed", "answer")
        equal(client.end()[1], "reset", "end of the connection")
        check(time.monotonic() - begin < 4 * SLOWNESS, "it ends by --timeout, not by the script's timer")
        equal(child.wait(), ALARM, f"exit status; log: {child.log()!r}")


@test("a Unix socket: the client sees the end on time")
def _():
    path = handler('timeout(0.3) socket:read(nil, "\\n")')

    def measure():
        ours, theirs = socket.socketpair()
        with mbtest.Client(ours) as client, theirs:
            child = Serving(theirs, path)
            equal(client.line(), "armed", "answer")
            begin = time.monotonic()
            equal(client.end()[0], b"", "what the client got")
            late = time.monotonic() - begin - 0.3
            equal(child.wait(), ALARM, "exit status")
        return late

    within(0.05, "end of the connection", measure, early=0.05)


mbtest.main()
