#!/usr/bin/python3
"""What may go wrong around a connection: a log that blocks, a full disk, odd descriptors and signals from the parent,
coroutines and finalizers that interfere. Each was a fault once. The program is started directly."""

import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhandler
import mbtest
from mbtest import HANDLE, RUN_MAX, SLOWNESS, Child, Client, check, equal, script, tcp_pair, test

SO_ATTACH_FILTER = 26


def replay(body, *args, stdin=b"", **popen):
    """Runs a handler's body as a replay. Returns its status, output and log."""
    path = script(f"return function(socket)\n{body}\nend\n")
    done = mbtest.replay(*args, path, stdin=stdin, **popen)
    return done.returncode, done.stdout, done.stderr.decode()  # the log is UTF-8, whatever is in it


def to_full(*args, body=None):
    """Runs with its output on a full device. Returns its status and log."""
    if body:
        args += (script(f"return function(socket)\n{body}\nend\n"),)
    with open("/dev/full", "wb") as full, open("/dev/null", "rb") as null:
        argv = [HANDLE, *args]
        done = subprocess.run(argv, stdin=null, stdout=full, stderr=subprocess.PIPE, timeout=RUN_MAX, check=False)
    return done.returncode, done.stderr.decode()


@test("time is up also when the log blocks: the process dies, and the client sees a reset")
def _():
    read_end, write_end = mbtest.unread_pipe()
    path = script("return function(socket) timeout(0.2) while true do io.stderr:write('x') end end")
    client, conn = tcp_pair()
    with client, conn, open("/dev/null", "r+b") as null:
        child = Child([HANDLE, path], {0: null, 1: null, 2: write_end, 3: conn}, listen_fds=1)
        begin = time.monotonic()
        equal(client.end(), (b"", "reset"), "what the client sees")
        equal(child.wait(), -signal.SIGALRM, "exit status")
        check(time.monotonic() - begin < 5 * SLOWNESS, "at once")
    os.close(read_end)
    os.close(write_end)


@test("limits of coroutines and of the main program do not take one another away")
def _():
    begin = time.monotonic()
    status, _, _ = replay(
        """
  local co = coroutine.wrap(function() timeout(30, coroutine.yield) end)
  co()
  timeout(0.3)
  co()
  assert(timeout() > 0, "the limit is gone")
  while true do end
"""
    )
    equal(status, -signal.SIGALRM, "exit status")
    check(time.monotonic() - begin < 5 * SLOWNESS, "in time")
    status, out, log = replay(
        """
  local co = coroutine.wrap(function() timeout(0.2, function() timeout(0.1) coroutine.yield() end) end)
  timeout(60, function()
    co()
    assert(timeout() < 0.2)
    timeout(50)
    assert(timeout() < 0.2, "an inner limit cannot stretch another's")
    co()
    assert(timeout() > 40 and timeout() <= 50)
  end)
  assert(timeout() == 0, timeout())
  socket:write("done")
"""
    )
    equal((status, out), (0, b"done"), f"status and output; log: {log}")
    path = script(
        """
local co = coroutine.wrap(function() timeout(5, coroutine.yield) end)
listen{ { proto = "tcp", port = 1 },
  prepare = function() timeout(0.2) co() end,
  connect = function(socket)
    assert(timeout() == 0, timeout())
    os.execute("exec sleep 0.3")
    co()
    assert(timeout() == 0, timeout())
    socket:write("done")
  end }
"""
    )
    done = mbtest.replay(path)
    equal((done.returncode, done.stdout), (0, b"done"), f"prepare's limits in connect; log: {done.stderr}")


@test("an error through timeout() stays what it is; its traceback is not another error's")
def _():
    status, out, log = replay(
        """
  local e = setmetatable({}, { __tostring = function() error("tostring!") end })
  local ok, got = pcall(timeout, 1, function() error(e) end)
  assert(not ok and rawequal(got, e))
  assert(rawequal(select(2, pcall(timeout, 5, timeout, 6, error, e)), e) and timeout() == 0)
  assert(select(2, pcall(timeout, 5, error, "text", 0)) == "text")
  pcall(timeout, 1, function() error("same", 0) end)
  local function elsewhere() error("same", 0) end
  elsewhere()
"""
    )
    equal((status, out), (70, b""), "status and output")
    check("elsewhere" in log, f"the traceback of this error: {log}")
    status, _, log = replay('local function inner() error("deep") end timeout(1, function() timeout(1, inner) end)')
    equal((status, log.count("in function 'timeout'")), (70, 2), f"the way from the place of the error: {log}")


@test("what a replay cannot write is an error: status 71; a reader that has seen enough is not")
def _():
    for size in (10, 100000):
        status, log = to_full(body=f'socket:write(("x"):rep({size}))')
        equal(status, 71, f"exit status for {size} bytes; log: {log}")
        check("cannot write the output: No space left" in log, log)
    for option in ("--help", "--version"):
        equal(to_full(option)[0], 71, option)
    path = script("return function(socket) for i = 1, 100 do socket:write(('x'):rep(100000)) end end")
    command = f"'{HANDLE}' '{path}' </dev/null | head -c 1"
    done = subprocess.run(command, shell=True, capture_output=True, timeout=RUN_MAX, check=False)
    equal((done.stdout, done.stderr), (b"x", b""), "a reader that goes")


@test("input that cannot be read is an error: a directory, a file open for writing; so is --check without an output")
def _():
    path = script("return print")
    with open("/dev/null", "r+b") as null:
        for name, flags, part in (("/", os.O_RDONLY, "Is a directory"), ("/dev/null", os.O_WRONLY, "Bad file descriptor")):
            fd = os.open(name, flags)
            log = mbtest.tmp("log")
            with open(log, "wb") as err:
                equal(Child([HANDLE, path], {0: fd, 1: null, 2: err}).wait(), 71, f"exit status of {name}")
            check(part in mbtest.read_file(log), mbtest.read_file(log))
            os.close(fd)
        equal(Child([HANDLE, "--check", path], {0: null, 2: null}).wait(), 71, "--check with fd 1 closed")


@test("the connection on 1 and 2 only: nothing that is printed reaches it")
def _():
    ours, theirs = socket.socketpair()
    path = script('print("secret") error("secret")')
    with Client(ours) as client, theirs, open("/dev/null", "rb") as null:
        for args in ((path,), ("--nonsense",)):
            Child([HANDLE, *args], {0: null, 1: theirs, 2: theirs}).wait()
        theirs.close()
        equal(client.end()[0], b"", "what came")


@test("--record leaves alone what is no regular file of its own, and a limit of its size ends only the recording")
def _():
    fifo, link, second, victim = (mbtest.tmp(name) for name in ("fifo", "link", "second", "victim"))
    os.mkfifo(fifo)
    os.symlink(victim, link)
    mbtest.write_file(victim, "precious")
    os.link(victim, second)
    echo = "socket:write((socket:read()))"
    for name, why in (
        (fifo, "No such device or address"),
        (link, "it is a symbolic link"),
        (second, "it belongs to another user, or has another name (a hard link)"),
        ("/dev/null", "not a regular file of its own"),
        ("/no/such/directory/x", "No such file or directory"),
    ):
        status, out, log = replay(echo, "--record", name, stdin=b"data")
        equal((status, out), (0, b"data"), f"answer when recording to {name}")
        equal(log, f"mb-handle: --record: cannot record to {name}: {why}\n", "the log")
    equal(mbtest.read_file(victim), "precious", "the link's target")
    record = mbtest.tmp("record")
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 4; exec "$@"', "sh", HANDLE, "--record", record, script(f"return function(socket) {echo} end")],
        input=b"x" * 100000,
        capture_output=True,
        timeout=RUN_MAX,
        check=False,
    )
    equal((done.returncode, len(done.stdout)), (0, 100000), f"answer beyond the file's limit; log: {done.stderr}")
    check(b"--record: stopped" in done.stderr, done.stderr)


@test("signals that the parent ignores: children can be waited for")
def _():
    path = script('return function(socket) socket:write(tostring(os.execute("true"))) end')
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        process = subprocess.Popen([HANDLE, path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, restore_signals=False)
        out = process.stdout.read()
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    equal(out, b"true", "os.execute")


@test("a finalizer that closes the socket in the middle of a write: an error, nothing is lost in silence")
def _():
    status, out, log = replay(
        """
  local closed = false
  local function arm() -- in a function of its own: no register keeps the table
    setmetatable({}, { __gc = function() if not closed then closed = true socket:close() end end })
  end
  arm()
  collectgarbage("setpause", 0)
  local numbers, written = {}, 0
  local ok, message
  for i = 1, 10000 do
    for k = 1, 200 do numbers[k] = i * 1000 + k + 0.5 end -- new strings, made within the write
    ok, message = pcall(socket.write_nb, socket, table.unpack(numbers))
    if not ok then break end
    for k = 1, 200 do written = written + #tostring(numbers[k]) end
  end
  assert(closed and not ok and message:find("closed"), message)
  print(written)
"""
    )
    equal((status, log), (0, f"{len(out)}\n"), "exit status, and the length of all writes that succeeded")


@test("a process that ends before the handler runs resets the connection")
def _():
    for body in ("os.exit(0)", "error('at load')"):
        client, conn = tcp_pair()
        with client, open("/dev/null", "r+b") as null:
            child = Child([HANDLE, script(body)], {0: null, 1: null, 2: null, 3: conn}, listen_fds=1)
            conn.close()
            equal(client.end(), (b"", "reset"), f"what the client sees of {body}")
            child.wait()


@test("messages: a NUL in an error, a control character in UTF-8, wrong arguments by their number, the memory limit")
def _():
    log = replay('error("a\\0b")')[2]
    check("a\\x00b" in log, log)
    log = replay('error("\\u{9b}31m \\u{e4}")')[2]
    check("\\xc2\\x9b31m ä" in log, log)
    for call, number in (("read_yield(-1)", 1), ("drain_yield(1, 'ab')", 2), ("write_yield('a', {})", 2), ("flush_yield({})", 1)):
        log = replay(f"socket:{call}")[2]
        check(f"bad argument #{number} to" in log, f"{call}: {log}")
    status, _, log = replay("local t = {} for i = 1, 1e7 do t[i] = i end", "--memory-limit", "1M")
    equal(status, 70, "exit status")
    check("not enough memory" in log and "the limit is 1048576 bytes" in log, log)
    for text in ("timeout(nil)", "timeout(1, nil)", "timeout(-1)", "timeout(0/0)", "timeout({})"):
        status, _, log = replay(text)
        check(status == 70 and "bad argument" in log, f"{text}: {log}")


@test("a connection that was lost never reads as ended, though a write has been told first")
def _():
    path = script(
        """
return function(socket)
  assert(socket:read(4) == "half")
  print("read")
  repeat until not socket:flush(("x"):rep(100))
  local data, message, number = socket:read()
  print(data, message, number)
  print(select(3, socket:read_nb(1)), select(3, socket:drain()), select(3, socket:drain_nb(1)))
end
"""
    )
    client, conn = tcp_pair()
    log_path = mbtest.tmp("log-of-lost")
    with open(log_path, "wb") as log, open("/dev/null", "r+b") as null:
        child = Child([HANDLE, path], {0: null, 1: null, 2: log, 3: conn}, listen_fds=1)
        conn.close()
        client.send("half")
        mbtest.until(lambda: "read" in mbtest.read_file(log_path), "the handler has read")
        client.reset()
        equal(child.wait(), 0, "exit status")
    log = mbtest.read_file(log_path).splitlines()
    equal(log[1:], ["nil\tConnection reset by peer\t104", "104\t104\t104"], "what reading says")


def keepalive_of(pair, *args):
    """What the handler's socket is set to: (on, idle, interval, count)."""
    with mbhandler.Handler("turn(socket.fd)", *args, pair=pair) as running:
        with running.socket(running.number()) as s:
            on = s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            tcp = s.family in (socket.AF_INET, socket.AF_INET6)
            times = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT) if tcp else ()
            found = (on, *(s.getsockopt(socket.IPPROTO_TCP, name) for name in times))
        running.go()
        running.ends()
    return found


def pair_with_keepalive():
    client, conn = tcp_pair()
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77)
    return client, conn


@test("a TCP connection asks for its client after 2 minutes, and then every 30 seconds; --tcp-keepalive changes that")
def _():
    equal(keepalive_of(tcp_pair), (1, 120, 30, 4), "by default")
    equal(keepalive_of(lambda: tcp_pair(socket.AF_INET6, "::1")), (1, 120, 30, 4), "with IPv6")
    equal(keepalive_of(pair_with_keepalive), (1, 120, 30, 4), "in place of what a super-server has set")
    equal(keepalive_of(tcp_pair, "--tcp-keepalive=60"), (1, 30, 8, 4), "--tcp-keepalive=60")
    equal(keepalive_of(pair_with_keepalive, "--tcp-keepalive=0")[:2], (1, 77), "--tcp-keepalive=0 leaves what was set")
    equal(keepalive_of(tcp_pair, "--tcp-keepalive=0")[0], 0, "--tcp-keepalive=0 sets nothing")
    equal(keepalive_of(mbtest.local_pair), (0,), "a Unix socket")


SILENT = "silence: no byte came or went for 1 s (--silence-timeout), connection reset"


def silent(body, pair=tcp_pair):
    """A handler whose connection may be silent for a second."""
    return mbhandler.Handler(body, "--silence-timeout=1", pair=pair)


@test("--silence-timeout: a TCP connection on which nothing comes or goes is reset, and the log says so")
def _():
    for body in ("socket:read(1)", "while true do mb.poll({[socket] = true}, nil, 60) end", 'os.execute("sleep 3")'):
        begin = time.monotonic()
        with silent(body) as running:
            equal(running.client.end(), (b"", "reset"), f"what the client sees of {body}")
            check(0.9 < time.monotonic() - begin < 20 * SLOWNESS, "after a second")
            running.ends(-signal.SIGALRM, SILENT)


@test("--silence-timeout: a byte in either direction is enough; timeout() does not tell of it, and holds as well")
def _():
    with silent('print(timeout()) repeat until socket:read(1) == ""') as running:
        running.says("0.0")
        for _ in range(6):
            time.sleep(0.5)
            running.client.send("x")
        running.client.finish()
        running.ends()
    with silent('for _ = 1, 6 do socket:flush("x") eq("false timeout", mb.poll(nil, nil, 0.5)) end') as running:
        equal(running.client.end(), (b"xxxxxx", "eof"), "what the client gets")
        running.ends()
    for body, log in (
        ("timeout(0.3) socket:read(1)", "timeout: time is up, connection reset"),
        ("timeout(60) timeout(30, socket.read, socket, 1)", SILENT),
    ):
        with silent(body) as running:
            running.ends(-signal.SIGALRM, log)


@test("--silence-timeout: not on a Unix socket, and not behind the connection's end; the alarm interrupts no script")
def _():
    with silent("socket:read(1)", mbtest.local_pair) as running:
        time.sleep(1.5)
        check(running.child.status is None and running.silent(), "it still waits on a Unix socket")
        running.client.finish()
        running.ends()
    with silent("socket:close() mb.poll(nil, nil, 1.5)") as running:
        running.ends()
    with silent('print(io.popen("sleep 0.7; echo a; sleep 0.7; echo b"):read("a"))') as running:
        while running.silent():
            running.client.send("x")
            time.sleep(0.3)
        running.ends(0, "a\nb\n")


@test("an alarm that comes early, as one for a deadline that was put off just then, ends nothing")
def _():
    body = 'print("waits") print(timeout(60, mb.poll, {[socket] = true}, nil, 60))'
    with mbhandler.Handler(body, pair=tcp_pair) as running:
        running.says("waits")
        running.asleep()
        running.child.kill(signal.SIGALRM)
        running.asleep()
        running.client.send("x")
        running.says("true")
        running.ends()


def vanish(client):
    """From now on nothing reaches the client: a filter on its socket drops every packet (SO_ATTACH_FILTER)."""
    drop = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # return 0: no byte of it
    client.sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(drop)))


@test("a client that has vanished ends its handler; one that is only silent does not")
def _():
    for gone in (True, False):
        body = 'print("waits") print(select(2, socket:read(1)))'
        with mbhandler.Handler(body, "--tcp-keepalive=5", pair=tcp_pair) as running:
            running.says("waits")
            begin = time.monotonic()
            if gone:
                vanish(running.client)
                running.says("Connection timed out\t110")
                check(4 < time.monotonic() - begin < 30 * SLOWNESS, "after 7 seconds")
            else:
                time.sleep(9)  # longer than it takes to end one that has vanished
                check(running.silent(), "the handler still waits")
                running.client.send("x")
                running.says("maxlen")
            running.ends()


@test("an error of a wait function keeps its traceback, and what was read so far")
def _():
    a, b = socket.socketpair()
    with a, open("/dev/null", "r+b") as null:
        a.sendall(b"part")
        path = script(
            """
local function innermost() error("given up") end
return function(socket)
  local ok, message = pcall(socket.read_call, socket, innermost, nil, "\\n")
  assert(not ok and message:find("given up"))
  assert(socket:read_nb(2) == "pa")
  socket:read_call(innermost, nil, "\\n")
end
"""
        )
        log_path = mbtest.tmp("log-of-wait")
        with open(log_path, "wb") as log:
            child = Child([HANDLE, path], {0: null, 1: null, 2: log, 3: b}, listen_fds=1)
            b.close()
            equal(child.wait(), 70, "exit status")
        log = mbtest.read_file(log_path)
        check(":2: in function" in log and "read_call" in log, f"the way from the place of the error: {log}")


mbtest.main()
