#!/usr/bin/python3
"""What a script logs: one rule for a file, a terminal, a journal's stream and a replay; limits of a message and of a
connection's lines; errors that are no strings. mbcases.forging has the real journal and syslog."""

import os
import re
import select
import signal
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbhttp import request, source
from mbtest import HANDLE, Child, check, equal, script, tcp_pair, test

HOSTILE = r'"name\n<0>\27[2J\226\128\174\192\138\13mb-handle: "'
SHOWN = ["name", r"<0>\x1b[2J\xe2\x80\xae\xc0\x8a\x0dmb-handle: "]


def serve(body, *args, journal=False, status=0):
    """Serves a connection by a handler's body. Returns the lines of the log; with journal, of a journal's stream."""
    client, conn = tcp_pair()
    path = mbtest.tmp("log")
    with client, conn, open(path, "wb") as log, open("/dev/null", "r+b") as null:
        st = os.fstat(log.fileno())
        env = {"JOURNAL_STREAM": f"{st.st_dev}:{st.st_ino}"} if journal else None
        argv = [HANDLE, *args, script(f"return function(socket)\n{body}\nend\n")]
        child = Child(argv, {0: null, 1: null, 2: log, 3: conn}, env=env, listen_fds=1)
        conn.close()
        client.end()
        equal(child.wait(), status, f"exit status; log: {mbtest.read_file(path)[:1000]!r}")
    return mbtest.read_file(path).splitlines()


def replay(text, status=0, stdin=b""):
    """Runs a script as a replay. Returns the lines of the log."""
    done = mbtest.replay(script(text), stdin=stdin)
    equal(done.returncode, status, f"exit status; log: {done.stderr[:1000]!r}")
    return done.stderr.decode().splitlines()


def dropped(lines):
    """The lines without those that tell of dropped ones, and how many lines and bytes these tell of."""
    pattern = re.compile(r"mb-handle: lines dropped: (\d+), with (\d+) bytes: .* \(--log-lines\)")
    told = [pattern.fullmatch(line) for line in lines]
    rest = [line for line, match in zip(lines, told) if not match]
    return rest, [tuple(map(int, match.groups())) for match in told if match]


# ---- one rule ----


@test("what is printed is escaped line by line, in a file, a journal's stream and a replay")
def _():
    for way in ("print", "io.write", "io.stdout:write", "io.stderr:write"):
        way = f"{way}({HOSTILE})"
        equal(serve(way), SHOWN, f"{way} in a file")
        equal(serve(way, journal=True), [SHOWN[0], r"\x3c" + SHOWN[1][1:]], f"{way} in the journal")
        equal(replay(f"return function() {way} end"), SHOWN, f"{way} in a replay")


@test("a terminal gets no escape sequence of a client's")
def _():
    master, terminal = os.openpty()
    try:
        path = script(f"return function() print({HOSTILE}) error({HOSTILE}, 0) end")
        with open("/dev/null", "r+b") as null:
            equal(Child([HANDLE, path], {0: null, 1: null, 2: terminal}).wait(), 70, "exit status")
        shown = b""
        while shown.count(b"\r\n") < 4:  # the system may give it in parts
            check(select.select([master], [], [], mbtest.DEADLINE)[0], f"nothing more comes after {shown}")
            shown += os.read(master, 65536)
    finally:
        os.close(master)
        os.close(terminal)
    equal(shown.decode().split("\r\n")[:4], [*SHOWN, "mb-handle: name", f"mb-handle: \t{SHOWN[1]}"], "what the terminal got")


@test("a replay's log has what print promises: values with tabs, empty lines, lines of any length and number")
def _():
    body = "print(1, nil, 'a\\tb') print() print(('ä'):rep(5000)) for i = 1, 5000 do print(i) end"
    lines = replay(f"{body} return print")
    equal(lines[:3], ["1\tnil\ta\tb", "", "ä" * 5000], "lines")
    equal(lines[3:5003], [str(i) for i in range(1, 5001)], "numbers")


@test("a line is written when it ends, in the order of all writers, and at the latest with the process")
def _():
    body = 'io.write("a") io.stderr:write("b") print("c") os.execute("echo child") io.stdout:write("d") os.exit(3)'
    equal(serve(body, status=3), ["abc", "child", "d"], "lines")
    equal(serve('io.stdout:setvbuf("full") print("a") io.write("b") os.exit(3)', status=3), ["a", "b"], "with a buffer")
    lines = serve('io.write("unfinished") timeout(0.1) while true do end', status=-signal.SIGALRM)
    equal(lines[:1], ["unfinished"], "when time is up")


@test("mb.log: each level, as --log-level has it; text of a client cannot leave its level")
def _():
    levels = ("error", "warning", "notice", "info", "debug")
    body = 'local log = require "mb.log" ' + " ".join(f'log.{level}("{level}")' for level in levels)
    equal(serve(body), [f"mb-handle: {level}" for level in levels[:3]], "by default")
    lines = serve(body, "--log-level=debug", journal=True)
    want = [f"<{3 + i}>{level}" for i, level in enumerate(levels)]
    equal([line for line in lines if line[3:] in levels], want, "all")
    lines = serve(f'require("mb.log").warning({HOSTILE})', journal=True)
    equal(lines, [f"<4>{SHOWN[0]}", f"<4>\t{SHOWN[1]}"], "a hostile text")
    lines = serve('require("mb.log").warning()', status=70)
    check("bad argument #1 to 'warning' (string expected, got no value)" in lines[0], f"misuse: {lines}")


# ---- limits ----


@test("error(request.body): one line that tells the size, and the traceback")
def _():
    for body in (b"\0\n" * 4000000, b"x" * 8000000, b"<0>line\n" * 1000000):
        post = request("/", "POST", None, [f"Content-Length: {len(body)}"]) + body
        lines = replay(source("error(request.body, 0)", "request_body_size_limit=9000000"), 70, post)
        check(sum(map(len, lines)) < 4000, f"{sum(map(len, lines))} bytes of log")
        check(any(line.endswith("... (8000000 bytes)") for line in lines), f"the size: {lines}")
        check("mb-handle: \tstack traceback:" in lines, f"the traceback: {lines}")


@test("an error of many lines is cut in its middle; the traceback stays")
def _():
    throws = 'error(("line\\n"):rep(800) .. "end")'
    lines = serve(f"local function deep(n) if n == 0 then {throws} end deep(n - 1) return 1 end deep(100)", status=70)
    equal(len(lines), 41, "lines")
    check(sum("bytes are left out" in line for line in lines) == 1, f"a line says so: {lines}")
    check("stack traceback:" in lines[-23] and "in function" in lines[-1], f"the traceback is whole: {lines}")


@test("a connection's lines are limited, and the log says how many are missing; the error comes beyond that")
def _():
    for way in ("print", "require('mb.log').error"):
        lines, told = dropped(serve(f"local show = {way} for i = 1, 100000 do show(('x'):rep(10)) end"))
        equal((len(lines), told), (1000, [(99000, 990000)]), f"{way}: lines, and those dropped")
    body = "local log = require('mb.log') for i = 1, 10 do log.error(i) end os.exit(3)"
    equal(dropped(serve(body, "--log-lines=3", status=3))[1], [(7, 8)], "a script that never prints, and ends by os.exit")
    rest, told = dropped(serve("for i = 1, 10 do print(i) end error('after')", "--log-lines", "3", status=70))
    equal((rest[:3], told), (["1", "2", "3"], [(7, 8)]), "--log-lines")
    check("after" in rest[3] and "traceback" in rest[4], f"the error: {rest}")


@test("a line that never ends is limited as well, and what was dropped is told when time is up")
def _():
    body = "timeout(0.5) local x = ('x'):rep(100000) while true do io.write(x) end"
    rest, told = dropped(serve(body, "--log-lines=10", status=-signal.SIGALRM))
    equal(rest[0], "x" * 20480 + "...", "what was written")
    check(len(told) == 1 and told[0][1] > 100000, f"what was dropped: {told}")


# ---- errors that are no strings ----

CODE = "error object: {code = 5}"


@test("error({code = 5}) logs its content: in the script, in prepare, connect and finish, in coroutines and callbacks")
def _():
    for text, status in (
        ("error({code = 5})", 78),
        ("listen{prepare = function() error({code = 5}) end, connect = print}", 70),
        ("listen{finish = function() error({code = 5}) end, connect = function() end}", 70),
        ("return function() error({code = 5}) end", 70),
        ("return function() coroutine.wrap(function() error({code = 5}) end)() end", 70),
        ("return function() timeout(5, error, {code = 5}) end", 70),
        ("return function() assert(false, {code = 5}) end", 70),
    ):
        lines = replay(text, status)
        check(CODE in lines[0] and "table: " not in lines[0], f"{text}: {lines}")
        check(f".lua:1: {CODE}" in lines[0], f"{text}: {lines}")
    post = request("/", "POST", None, ["Content-Length: 4"]) + b"body"
    in_callback = "request:stream_request_body(function() error({code = 5}) end) request:consume_input()"
    for body in ("error({code = 5})", in_callback):
        lines = replay(source(body), 70, post)
        check(any(CODE in line for line in lines), f"{body}: {lines}")


@test("no thrown value gets past us: a __tostring that throws, a loop of tables, a userdata, nil")
def _():
    for value, shown in (
        ("nil", "error object: nil"),
        ("socket", "socket (replay)"),
        ("setmetatable({1}, {__tostring = error})", "error object: {1} (its __tostring has failed)"),
        ("setmetatable({}, {__index = error, __tostring = function() return 'mine' end})", "mine"),
        ("setmetatable({}, {__tostring = function() return ('x'):rep(1e6) end})", "... (1000000 bytes)"),
        ("(function() local t = {} t.t = t return t end)()", "error object: {t = {t = {...}}}"),
    ):
        lines = replay(f"return function(socket) error({value}) end", 70)
        check(shown in lines[0], f"{value}: {lines[0][:200]}")
        check("traceback" in lines[1], f"{value}: the traceback")


mbtest.main()
