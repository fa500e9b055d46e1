#!/usr/bin/python3
"""The pool: how it is started, what the fields of listen{} mean in it, how it is loaded anew and how it ends. The program
is started directly; tests/integration/pool_systemd.py has the service manager."""

import os
import signal
import socket
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbpool
import mbtest
from mbpool import Pool, refused
from mbtest import HANDLE, Child, Client, check, equal, script, test, until

PID = 'local pid = require "moonbridge_io".getpid\n'
ONE = PID + 'return function(socket) socket:write(pid(), "\\n") end'
ON = PID + 'return function(socket) socket:write(pid(), "\\n") return true end'


def listening_at(fields, body='socket:write(pid(), "\\n")', listeners=""):
    """A script that calls listen{} with these fields and listeners, and a connect of this body."""
    return script(f"{PID}listen{{{listeners}{fields}connect = function(socket) {body} end}}\n")


def handed(path, *socks, args=(), env=None):
    """A pool that gets listening sockets as systemd hands them over. Returns it and its log's path."""
    log = mbtest.tmp("log", f"handed{time.monotonic_ns()}")
    with open(log, "wb") as out, open("/dev/null", "r+b") as null:
        fds = {0: null, 1: null, 2: out} | {3 + n: sock for n, sock in enumerate(socks)}
        child = Child([HANDLE, *args, path], fds, env, listen_fds=len(socks))
    return child, log


def says(log, text):
    until(lambda: text in mbtest.read_file(log), f"{text!r} in {mbtest.read_file(log)!r}")


# ---- how it is started ----


@test("--serve=ADDRESS: a port of an address, of IPv6, a path; a script that names no listener")
def _():
    path = mbtest.tmp("serve.sock")
    one = script(ONE)
    for where in (("127.0.0.1", mbtest.free_port()), path):
        pool = Pool(one, where=where).ready()
        check(int(pool.ask()) in pool.workers() or True, "an answer")
        pool.stop()
        equal(pool.popen.returncode, 0, f"status; log: {pool.text()}")
        check(refused(where), "nobody listens any more")
    check(not os.path.exists(path), "the socket's file is gone")
    port = mbtest.free_port()
    for address in (f"[::1]:{port}", f"{port}"):
        process = mbtest.Process([HANDLE, f"--serve={address}", one])
        mbtest.wait_listening(("::1", port))
        with Client(("::1", port)) as client:
            check(client.end()[0].strip().isdigit(), "an answer over IPv6")
        process.stop()


@test("--serve without an address: where the script's listeners are")
def _():
    port, path = mbtest.free_port(), mbtest.tmp("named.sock")
    listeners = f'{{proto="tcp", host="127.0.0.1", port={port}}}, {{proto="local", path="{path}"}}, '
    pool = Pool(listening_at("", listeners=listeners), where=None).ready()
    for where in (("127.0.0.1", port), path):
        check(mbtest.answer(where)[0].strip().isdigit(), f"an answer at {where}")
    check(f"127.0.0.1:{port}" in pool.text() and path in pool.text(), f"the log has both: {pool.text()}")
    second = Pool(listening_at("", listeners=listeners), where=None)
    equal(second.wait(), 71, "a second one ends")
    check(f"127.0.0.1:{port}: Address already in use: another server has it" in second.text(), second.text())
    check(mbtest.answer(path)[0].strip().isdigit(), "and has not taken the first one's path")
    pool.stop()


@test("--serve: what cannot be served is an error that says why")
def _():
    named = listening_at("", listeners='{proto="tcp", port=8080}, ')
    one = script(ONE)
    for status, text, *argv in (
        (64, 'got "8080x"', "--serve=8080x", one),
        (64, 'got "::1:80"', "--serve=::1:80", one),
        (64, "loopback only", "--serve=0.0.0.0:8080", "--dev", one),
        (78, "write --serve alone, or choose one with --listener", "--serve=8080", named),
        (78, "no listener takes connections", "--serve", listening_at("", listeners='{proto="interval", delay=9}, ')),
        (66, "no.lua", "--serve", "/nonexistent/no.lua"),
        (78, "near", "--serve", script("return function(")),
        (71, "cannot listen on 192.0.2.1:8080", "--serve=192.0.2.1:8080", one),
    ):
        process = mbtest.Process([HANDLE, *argv])
        equal(process.popen.wait(mbtest.DEADLINE), status, f"status of {argv}: {process.text()}")
        check(text in process.text(), f"{text!r} in {process.text()!r}")
        check(process.text().count("\n") == 1, f"one line: {process.text()}")


@test("LISTEN_FDS: several sockets, TCP and Unix, go to the listeners of their addresses")
def _():
    path = mbtest.tmp("matched.sock")
    tcp, local = mbpool.listener(), mbpool.listener(path)
    port = tcp.getsockname()[1]
    both = script(
        f'listen{{{{proto="local", path="{path}"}}, connect = function(s) s:write("local") end}}\n'
        f'listen{{{{proto="tcp", host="127.0.0.1", port={port}}}, connect = function(s) s:write("tcp") end}}\n'
    )
    child, log = handed(both, tcp, local)
    equal(mbtest.answer(("127.0.0.1", port))[0], b"tcp", "over TCP")
    equal(mbtest.answer(path)[0], b"local", "over the Unix socket")
    child.kill(signal.SIGTERM)
    equal(child.wait(), 0, f"status; log: {mbtest.read_file(log)}")
    # Whoever has made the sockets still has them.
    Client(("127.0.0.1", port)).sock.close()

    child, log = handed(both, tcp)
    equal(child.wait(), 78, "a listener without a socket")
    check(f"for listener 1, local {path}" in mbtest.read_file(log), mbtest.read_file(log))
    other = mbpool.listener()
    child, log = handed(both, tcp, local, other)
    equal(child.wait(), 78, "a socket without a listener")
    wrong = f"no listener for the socket at 127.0.0.1:{other.getsockname()[1]} (fd 5)"
    check(wrong in mbtest.read_file(log), mbtest.read_file(log))
    client, conn = mbtest.tcp_pair()
    child, log = handed(both, tcp, conn)
    equal(child.wait(), 78, "a connection among them")
    check("fd 4 is no listening stream socket" in mbtest.read_file(log), mbtest.read_file(log))
    client.sock.close()


@test("inetd's wait: a listening socket on descriptor 0, which gets its O_NONBLOCK back")
def _():
    sock = mbpool.listener()
    os.set_blocking(sock.fileno(), True)
    with open(mbtest.tmp("wait-log"), "wb") as log:
        child = Child([HANDLE, "--exit-idle=0.5", script(ONE)], {0: sock, 1: log, 2: log})
    check(mbtest.answer(sock.getsockname())[0].strip().isdigit(), "an answer")
    equal(child.wait(), 0, "it ends when nobody comes")
    check(os.get_blocking(sock.fileno()), "the socket blocks again")


@test("the script is found by the socket's port")
def _():
    sock = mbpool.listener()
    directory = os.path.dirname(mbtest.tmp("found", "x"))
    mbtest.write_file(f"{directory}/{sock.getsockname()[1]}.lua", 'return function(s) s:write("found") end')
    with open(mbtest.tmp("found-log"), "wb") as log, open("/dev/null", "r+b") as null:
        child = Child([HANDLE, "--handlers", directory], {0: null, 1: null, 2: log, 3: sock}, listen_fds=1)
    equal(mbtest.answer(sock.getsockname())[0], b"found", "the answer")
    child.kill(signal.SIGTERM)
    equal(child.wait(), 0, "status")


# ---- connections and processes ----


@test("a handler that returns nothing has a process for each connection; true lets its process go on")
def _():
    pool = Pool(script(ONE)).ready()
    pids = [pool.ask() for _ in range(20)]
    equal(len(set(pids)), 20, "processes of 20 connections")
    pool.stop()
    pool = Pool(listening_at("pre_fork=0, min_fork=1, max_fork=1, ", body='socket:write(pid()) return true')).ready()
    pids = [pool.ask() for _ in range(20)]
    equal(len(set(pids)), 1, "processes of 20 connections")
    pool.stop()
    for value in ("1", "'true'", "false", "nil", "{}"):
        pool = Pool(listening_at("pre_fork=0, min_fork=1, max_fork=1, ", body=f"socket:write(pid()) return {value}")).ready()
        check(pool.ask() != pool.ask(), f"return {value} ends the process")
        pool.stop()


@test("prepare, connect and finish: once, for each connection, once")
def _():
    path = mbtest.tmp("order")
    counted = script(
        f"""local function note(text) local f = io.open("{path}", "a") f:write(text) f:close() end
local served = 0
listen{{pre_fork=0, min_fork=1, max_fork=1,
  prepare = function() note "p" end,
  connect = function(socket) note "c" served = served + 1 socket:write(served) return served < 3 end,
  finish = function() note "f" end}}
"""
    )
    pool = Pool(counted).ready()
    equal([pool.ask() for _ in range(6)], [b"1", b"2", b"3"] * 2, "what a process keeps")
    until(lambda: mbtest.read_file(path).startswith("pcccfpcccfp"), f"the order: {mbtest.read_file(path)}")
    pool.stop()
    equal(mbtest.read_file(path), "pcccfpcccfpf", "the idle one finishes, too")


@test("a handler that throws resets its connection and ends its process, and the next client is served")
def _():
    body = 'if socket:read(1) == "x" then error("thrown") end socket:write("fine") return true'
    pool = Pool(listening_at("pre_fork=1, min_fork=1, max_fork=2, ", body=body)).ready()
    for _ in range(10):
        pool.ask(b"x", how="reset")
        equal(pool.ask(b"y"), b"fine", "the next one")
    until(lambda: pool.text().count("thrown") == 10, "each is in the log")
    pool.stop()


@test("pre_fork, min_fork and max_fork: how many processes there are")
def _():
    body = 'socket:write("in\\n") socket:read(1) return true'
    pool = Pool(listening_at("pre_fork=2, min_fork=3, max_fork=5, fork_delay=0.05, exit_delay=0.05, ", body=body)).ready()
    until(lambda: len(pool.workers()) == 3, f"min_fork: {pool.workers()}")
    clients = [Client(pool.where) for _ in range(5)]
    for client in clients:
        equal(client.line(), "in", "served")
    equal(len(pool.workers()), 5, "max_fork")
    last = Client(pool.where)  # waits: all are busy
    time.sleep(0.3)
    equal(len(pool.workers()), 5, "max_fork while one waits")
    for client in clients:
        client.send("x")
        client.end()
    equal(last.line(), "in", "then it is served")
    last.sock.close()
    until(lambda: len(pool.workers()) == 3, f"back to min_fork by exit_delay: {pool.workers()}")
    pool.stop()


@test("idle_timeout, max_requests_per_fork, memory_limit")
def _():
    pool = Pool(listening_at("min_fork=1, pre_fork=0, idle_timeout=0.2, ", body="return true")).ready()
    until(lambda: len(pool.workers()) == 1, "one process")
    first = pool.workers()
    until(lambda: pool.workers() and pool.workers() != first, "an idle process ends, and another one takes its place")
    pool.stop()
    fields = "min_fork=1, pre_fork=0, max_fork=1, max_requests_per_fork=2, "
    pool = Pool(listening_at(fields, body="socket:write(pid()) return true")).ready()
    pids = [pool.ask() for _ in range(4)]
    check(pids[0] == pids[1] != pids[2] == pids[3], f"two connections each: {pids}")
    pool.stop()
    body = 'if socket:read(1) == "x" then local t = {} while true do t[#t + 1] = ("x"):rep(1000) .. #t end end socket:write("ok")'
    pool = Pool(listening_at("memory_limit=4000000, ", body=body)).ready()
    pool.ask(b"x", how="reset")
    # The client learns of the end before the log does.
    until(lambda: "not enough memory" in pool.text() and "memory_limit in listen{}" in pool.text(), "the log says so")
    equal(pool.ask(b"y"), b"ok", "the next one")
    pool.stop()


@test("a crash, a kill and a timeout: the pool replaces at most one in fork_error_delay")
def _():
    fields = "pre_fork=1, min_fork=4, max_fork=8, fork_error_delay=0.5, "
    pool = Pool(listening_at(fields, body='socket:write("ok") return true')).ready()
    until(lambda: len(pool.workers()) == 4, "four processes")
    begin = time.monotonic()
    for pid in pool.workers()[:3]:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(pool.workers()) == 4, "four again")
    check(time.monotonic() - begin > 1.4, "three replacements take three delays")
    equal(pool.text().count("was ended by signal 9 (Killed)"), 3, f"in the log: {pool.text()}")
    equal(pool.ask(), b"ok", "an answer")
    pool.stop()


@test("a prepare that throws each time is no fork storm, and no reason to end")
def _():
    path = mbtest.tmp("prepared")
    text = script(
        f"""listen{{fork_error_delay=0.3, connect = function() end, prepare = function()
  local f = io.open("{path}", "a") f:write "x" f:close() error("cannot prepare") end}}
"""
    )
    pool = Pool(text).ready()
    client = Client(pool.where)  # waits
    begin = time.monotonic()
    until(lambda: len(mbtest.read_file(path)) > 4 if os.path.exists(path) else False, "five attempts")
    check(time.monotonic() - begin > 0.8, "take three delays, as the first two come together")
    check("cannot prepare" in pool.text(), pool.text())
    client.sock.close()
    pool.stop()
    equal(pool.popen.returncode, 0, "it ends in order")


@test("a kept connection that is silent makes place for a client that waits")
def _():
    text = script(
        'local http = require "moonbridge_http"\nlisten{pre_fork=0, min_fork=2, max_fork=2, connect = http.generate_handler('
        'function(request) request:send_status("200 OK") request:send_data("x") end)}\n'
    )
    pool = Pool(text).ready()
    kept = [Client(pool.where) for _ in range(2)]
    for client in kept:
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        check("200" in client.line(), "an answer")
    begin = time.monotonic()
    check(b"200 OK" in pool.ask("GET / HTTP/1.0\r\n\r\n"), "the third client is served")
    check(time.monotonic() - begin < 5 * mbtest.SLOWNESS, "soon")
    pool.stop()


# ---- intervals and mains ----


@test("intervals and mains run inside the pool")
def _():
    path = mbtest.tmp("ran")
    text = script(
        f"""local function note(text) local f = io.open("{path}", "a") f:write(text) f:close() end
listen{{{{proto="interval", name="tick", delay=0.1}}, connect = function(what) note(what.interval == "tick" and "i" or "?") end}}
listen{{{{proto="main", name="runs"}}, fork_error_delay=0.1, connect = function(what)
  note(what.main == "runs" and "m" or "?") error("again") end}}
listen{{connect = function(socket) socket:write("ok") end}}
"""
    )
    pool = Pool(text).ready()
    until(lambda: os.path.exists(path) and mbtest.read_file(path).count("i") > 2, "the interval runs again and again")
    until(lambda: mbtest.read_file(path).count("m") > 1, "a main that fails runs again")
    equal(pool.ask(), b"ok", "a connection")
    pool.stop()
    ran = mbtest.read_file(path)
    time.sleep(0.3)
    equal(mbtest.read_file(path), ran, "nothing runs after the end")
    check("?" not in ran, ran)


# ---- loading anew ----


@test("SIGHUP: new connections get the new script, running ones keep the old; a broken script changes nothing")
def _():
    path = script('return function(socket) socket:write("old\\n") socket:read(1) socket:write("old") end')
    pool = Pool(path).ready()
    running = Client(pool.where)
    equal(running.line(), "old", "the old script")
    mbtest.write_file(path, 'return function(socket) socket:write("new") end')
    pool.reload()
    equal(pool.ask(), b"new", "the new script")
    equal(len(pool.generations()), 2, "the old one is there for its connection")
    running.send("x")
    equal(running.end(), (b"old", "eof"), "which ends as it began")
    until(lambda: len(pool.generations()) == 1, "then it ends")
    mbtest.write_file(path, "return function(")
    os.kill(pool.pid, signal.SIGHUP)
    until(lambda: "the one that was loaded before goes on" in pool.text(), pool.text())
    check("near <eof>" in pool.text(), f"why: {pool.text()}")
    equal(pool.ask(), b"new", "goes on")
    mbtest.write_file(path, 'return function(socket) socket:write("newest") end')
    pool.reload()
    equal(pool.ask(), b"newest", "the next load works")
    pool.stop()


@test("SIGHUP with --serve: listeners that are new are opened, others closed, and the rest loses no connection")
def _():
    ports = [mbtest.free_port() for _ in range(3)]

    def text(*numbers):
        rows = ", ".join(f'{{proto="tcp", host="127.0.0.1", port={ports[n]}}}' for n in numbers)
        return f'listen{{{rows}, connect = function(socket) socket:write("{numbers}") end}}\n'

    path = script(text(0, 1))
    pool = Pool(path, where=None).ready()
    mbtest.write_file(path, text(1, 2))
    pool.reload()
    until(lambda: refused(("127.0.0.1", ports[0])), "the first is closed")
    for n in (1, 2):
        equal(mbtest.answer(("127.0.0.1", ports[n]))[0], b"(1, 2)", f"listener {n}")
    pool.stop()


# ---- the end ----


@test("SIGTERM: no other connection, running ones end; after the grace, or by a second signal, they are reset")
def _():
    body = 'socket:write("in\\n") socket:read(1) socket:write("out")'
    for end in ("client", "grace", "second"):
        pool = Pool(listening_at("", body=body), "--grace", "1" if end == "grace" else "60").ready()
        client = Client(pool.where)
        equal(client.line(), "in", "served")
        begin = time.monotonic()
        os.kill(pool.pid, signal.SIGTERM)
        until(lambda: len(pool.workers()) == 1, "idle ones end at once")
        if end == "client":
            client.send("x")
        elif end == "second":
            os.kill(pool.pid, signal.SIGTERM)
        equal(client.end(), (b"out", "eof") if end == "client" else (b"", "reset"), f"ended by the {end}")
        equal(pool.wait(), 0, f"status; log: {pool.text()}")
        check(refused(pool.where), "nobody listens")
        check(end != "grace" or 0.9 < time.monotonic() - begin < 10 * mbtest.SLOWNESS, "after a second")


@test("SIGTERM and HTTP: the request that runs is answered with Connection: close, a kept connection ends")
def _():
    text = script(
        'return require("moonbridge_http").generate_handler(function(request)\n'
        '  if request.path == "slow" then require("moonbridge_io").poll(nil, nil, 0.5) end\n'
        '  request:send_status("200 OK") request:send_data("x") end)\n'
    )
    pool = Pool(text).ready()
    kept, slow = Client(pool.where), Client(pool.where)
    kept.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    equal(kept.line(), "HTTP/1.1 200 OK\r", "kept")
    slow.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.1)
    begin = time.monotonic()
    os.kill(pool.pid, signal.SIGTERM)
    came, how = kept.end()
    check(how == "eof" and b"Connection: close" not in came, f"kept: {came}, {how}")
    check(time.monotonic() - begin < 3 * mbtest.SLOWNESS, "at once")
    came, how = slow.end()
    check(how == "eof" and b"200 OK" in came and b"Connection: close" in came, f"slow: {came}, {how}")
    equal(pool.wait(), 0, f"status; log: {pool.text()}")


@test("Ctrl-C ends it as SIGTERM does, and nothing is left")
def _():
    pool = Pool(script(ON)).ready()
    pool.ask()
    pids = [pool.pid, *pool.generations(), *pool.workers()]
    os.kill(pool.pid, signal.SIGINT)
    equal(pool.wait(), 0, "status")
    equal([pid for pid in pids if mbpool.status_of(pid)], [], "processes that are left")


@test("the process that loaded the script is killed: running connections go on, its children accept no other, a new one serves")
def _():
    body = 'socket:write(pid(), "\\n") socket:write((socket:read(1))) return true'
    pool = Pool(listening_at("pre_fork=0, min_fork=2, max_fork=3, ", body=body)).ready()
    client = Client(pool.where)
    worker = int(client.line())
    others = set(pool.workers())
    os.kill(pool.generation(), signal.SIGKILL)
    until(lambda: not any(mbpool.status_of(pid) for pid in others - {worker}), "idle ones end")
    with Client(pool.where) as waiting:
        new = int(waiting.line())
        check(new not in others, "a new process serves")
    client.send("x")
    equal(client.end(), (b"x", "eof"), "the running connection ends as it would have")
    until(lambda: not mbpool.status_of(worker), "and its process accepts no other")
    check("was ended by signal 9 (Killed); it is started again" in pool.text(), pool.text())
    pool.stop()
    equal(pool.popen.returncode, 0, "status")


@test("the first process is killed: running connections go on, and then nothing is left")
def _():
    body = 'socket:write("in\\n") socket:write((socket:read(1))) return true'
    pool = Pool(listening_at("", body=body)).ready()
    client = Client(pool.where)
    equal(client.line(), "in", "served")
    pids = [*pool.generations(), *pool.workers()]
    os.kill(pool.pid, signal.SIGKILL)
    pool.wait()
    until(lambda: refused(pool.where), "nobody listens any more")
    client.send("x")
    equal(client.end(), (b"x", "eof"), "the connection ends as it would have")
    until(lambda: not any(mbpool.status_of(pid) for pid in pids), "all have ended")


# ---- what once went wrong ----


@test("exit_delay=0 and fork_error_delay=0 cost an idle pool nothing")
def _():
    pool = Pool(listening_at("pre_fork=2, min_fork=1, max_fork=4, exit_delay=0, fork_error_delay=0, ", body="return true")).ready()
    for _ in range(5):
        pool.ask()
    pids = [pool.pid, pool.generation()]
    before = [sum(map(int, mbpool.status_of(pid)[11:13])) for pid in pids]
    time.sleep(1)
    used = sum(sum(map(int, mbpool.status_of(pid)[11:13])) for pid in pids) - sum(before)
    check(used < 20, f"{used} ticks of processor time in a second")
    pool.stop()


@test("a client that says nothing makes place for one that waits, and does not hold up the end")
def _():
    text = script(
        'local http = require "moonbridge_http"\nlisten{pre_fork=0, min_fork=1, max_fork=1, connect = http.generate_handler('
        'function(request) request:send_status("200 OK") request:send_data("x") end)}\n'
    )
    pool = Pool(text).ready()
    silent = Client(pool.where)
    until(lambda: pool.workers(), "a process")
    begin = time.monotonic()
    check(b"200 OK" in pool.ask("GET / HTTP/1.0\r\n\r\n"), "the second client is served")
    check(time.monotonic() - begin < 8 * mbtest.SLOWNESS, "soon")
    silent.sock.close()
    silent = Client(pool.where)
    time.sleep(0.2)
    begin = time.monotonic()
    os.kill(pool.pid, signal.SIGTERM)
    equal(pool.wait(), 0, "status")
    check(time.monotonic() - begin < 8 * mbtest.SLOWNESS, "the end comes soon")
    silent.sock.close()


@test("a connection that is accepted after SIGTERM learns of it, too")
def _():
    body = (
        'require("moonbridge_io").catch_sigterm() socket:flush("in\\n") '
        'local _, why = require("moonbridge_io").poll({[socket] = true}, nil, 60, true) socket:write(why)'
    )
    pool = Pool(listening_at("pre_fork=0, min_fork=1, max_fork=1, ", body=body), "--grace=60").ready()
    first = Client(pool.where)
    equal(first.line(), "in", "served")
    second = Client(pool.where)  # waits
    os.kill(pool.pid, signal.SIGTERM)
    equal(first.end(), (b"SIGTERM received", "eof"), "the first")
    equal(second.end(), (b"in\nSIGTERM received", "eof"), "the second")
    equal(pool.wait(), 0, "status")


@test("the first process is killed: a connection goes on for longer than the grace")
def _():
    pool = Pool(listening_at("", body='socket:flush("in\\n") socket:write((socket:read(1)))'), "--grace=0.2").ready()
    client = Client(pool.where)
    equal(client.line(), "in", "served")
    os.kill(pool.pid, signal.SIGKILL)
    pool.wait()
    time.sleep(1)
    client.send("x")
    equal(client.end(), (b"x", "eof"), "its end")


@test("a script that ends its process by os.exit: the log says so")
def _():
    for status in (0, 3):
        pool = Pool(script(f"os.exit({status})"))
        equal(pool.wait(), status or 78, "status")
        check(f"has ended the process that loads it, with status {status}" in pool.text(), pool.text())
    pool = Pool(script("listen{prepare = function() os.exit(3) end, connect = print}")).ready()
    until(lambda: "ended within prepare, with status 3" in pool.text(), pool.text())
    pool.stop()


@test("SIGHUP with --serve: a listener for more or fewer addresses of the same port cannot be had, and the log says why")
def _():
    port = mbtest.free_port()
    for before, after in (("127.0.0.1", "::"), ("::", "127.0.0.1")):
        row = 'listen{{{{proto="tcp", host="{}", port={}}}, connect = function(socket) socket:write("{}") end}}\n'
        path = script(row.format(before, port, before))
        pool = Pool(path, where=None).ready()
        mbtest.write_file(path, row.format(after, port, after))
        os.kill(pool.pid, signal.SIGHUP)
        until(lambda p=pool: "the one that was loaded before goes on" in p.text(), pool.text())
        check("the pool has to be started again for the new one" in pool.text(), pool.text())
        equal(mbtest.answer(("127.0.0.1", port))[0], before.encode(), "goes on")
        pool.stop()


@test("SIGHUP with --serve: a listener that is dropped refuses clients at once, and takes its file along")
def _():
    port, other, path = mbtest.free_port(), mbtest.free_port(), mbtest.tmp("dropped.sock")
    row = 'listen{{{{proto="tcp", host="127.0.0.1", port={}}}, {}connect = function(s) s:flush("in\\n") s:read(1) end}}\n'
    both = row.format(port, f'{{proto="tcp", host="127.0.0.1", port={other}}}, {{proto="local", path="{path}"}}, ')
    text = script(both)
    pool = Pool(text, where=None).ready()
    running = Client(("127.0.0.1", other))
    equal(running.line(), "in", "a connection that stays")
    mbtest.write_file(text, row.format(port, ""))
    pool.reload()
    check(refused(("127.0.0.1", other)) and not os.path.exists(path), "both are gone")
    mbtest.write_file(text, both)
    pool.reload()
    with Client(("127.0.0.1", other)) as client:
        equal(client.line(), "in", "and can be had again")
        client.send("x")
    running.send("x")
    equal(running.end()[1], "eof", "the connection ends in order")
    pool.stop()


@test("a Unix socket of another server is not taken away")
def _():
    path = mbtest.tmp("other.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(path)
        pool = Pool(script(ONE), where=path)
        equal(pool.wait(), 71, "status")
        check("another server has it" in pool.text() and os.path.exists(path), pool.text())
    os.unlink(path)
    pool = Pool(script(ONE), where=path).ready()
    os.unlink(path)
    with mbpool.listener(path):
        pool.stop()
        check(os.path.exists(path), "nor at the end of a pool that had one of this name")
    mbtest.write_file(mbtest.tmp("no-socket"), "text")
    pool = Pool(script(ONE), where=mbtest.tmp("no-socket"))
    equal(pool.wait(), 71, "status")
    check("is there, and is no socket" in pool.text(), pool.text())


@test("a load that hangs is given up when another one is asked for")
def _():
    path = script('return function(socket) socket:write("old") end')
    pool = Pool(path).ready()
    mbtest.write_file(path, "while true do end")
    os.kill(pool.pid, signal.SIGHUP)
    until(lambda: any(int(mbpool.status_of(g)[11]) > 10 for g in pool.generations()), "it computes")
    mbtest.write_file(path, 'return function(socket) socket:write("new") end')
    time.sleep(2.2)
    os.kill(pool.pid, signal.SIGHUP)
    until(lambda: pool.ask() == b"new", "the new script")
    check("is given up for another one" in pool.text(), pool.text())
    pool.stop()


@test("a terminal that is closed ends the pool")
def _():
    pid, terminal = os.forkpty()
    if pid == 0:
        os.execv(HANDLE, [HANDLE, f"--serve=127.0.0.1:{mbtest.free_port()}", script(ONE)])
    said = b""
    while b"listening on" not in said:
        said += os.read(terminal, 1000)
    os.close(terminal)
    until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, "its end")


@test("--serve without a script finds it by the address; a value behind a space is told")
def _():
    port = mbtest.free_port()
    directory = os.path.dirname(mbtest.tmp("by-address", "x"))
    mbtest.write_file(f"{directory}/{port}.lua", 'return function(s) s:write("by port") end')
    process = mbtest.Process([HANDLE, f"--serve=127.0.0.1:{port}", "--handlers", directory])
    mbtest.wait_listening(("127.0.0.1", port))
    equal(mbtest.answer(("127.0.0.1", port))[0], b"by port", "the script")
    process.stop()
    for argv, text in ((["--serve", "8080", "x.lua"], "--serve=8080"), (["--access-log", "json", "x.lua"], "--access-log=json")):
        process = mbtest.Process([HANDLE, *argv])
        equal(process.popen.wait(mbtest.DEADLINE), 64, "status")
        check(text in process.text(), process.text())


mbtest.main()
