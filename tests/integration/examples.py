#!/usr/bin/python3
"""Each script of docs/examples, and what is said of it: replays of right and wrong input, byte for byte, and connections
as the units would hand them over. An example without a test here fails."""

import datetime
import glob
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import HANDLE, Child, check, equal, tcp_pair, test, unix_pair

EXAMPLES = os.path.join(mbtest.SRCDIR, "docs", "examples")
# What an example answers depends on nothing in the environment but for this, which each test sets by itself.
ENV = {name: value for name, value in os.environ.items() if name not in ("XDG_RUNTIME_DIR", "MB_SCRIPT", "TZ")}
TESTED = {"daytime", "echo", "finger", "hello"}


def example(name):
    return os.path.join(EXAMPLES, name + ".lua")


def run(*args, data=b"", env=None):
    """Exit status, output and log."""
    done = subprocess.run(
        [HANDLE, *args], input=data, capture_output=True, timeout=60, check=False, env={**ENV, **(env or {})}
    )
    return done.returncode, done.stdout, done.stderr.decode(errors="backslashreplace")


def answers(name, *cases):
    """The replay of each input writes exactly this, logs nothing, and exits with 0."""
    for data, want in cases:
        equal(run(example(name), data=data), (0, want, ""), f"status, output and log of {name}.lua for {mbtest.short(data)}")


def serves(pair, name, data, want, *args, env=None):
    """The same over a connection, which the client ends after its input."""
    client, conn = pair
    log_path = mbtest.tmp("log-of-" + name)
    with client, open(log_path, "wb") as log, open("/dev/null", "r+b") as null:
        child = Child([HANDLE, *args, example(name)], {0: null, 1: null, 2: log, 3: conn}, env, listen_fds=1)
        conn.close()
        client.send(data)
        client.finish()
        equal(client.end(), (want, "eof"), f"answer of {name}.lua; log: {mbtest.read_file(log_path)!r}")
        equal(child.wait(), 0, "exit status")
    equal(mbtest.read_file(log_path), "", "log")


@test("each example has a test here, loads, and lists its ports")
def _():
    equal({os.path.basename(path)[: -len(".lua")] for path in glob.glob(EXAMPLES + "/*.lua")}, TESTED, "examples")
    for name, want in (
        ("daytime", b"1 tcp [::]:13\n2 tcp [::]:1313\n"),
        ("echo", b"1 tcp [::]:7\n2 tcp [::]:7007\n3 local /run/mb/echo.sock\n"),
        ("finger", b"1 tcp [::]:79\n2 tcp [::]:7979\n"),
        ("hello", b"1 any connection\n"),
    ):
        equal(run("--check", example(name)), (0, want, ""), f"--check {name}.lua")


HELLO = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nHello, %s!\n"


@test("hello: the shipped capture; other requests; what is no request gets no answer")
def _():
    with open(os.path.join(EXAMPLES, "hello.txt"), "rb") as f:
        answers("hello", (f.read(), HELLO % b"Ann"))
    answers(
        "hello",
        (b"GET /Bob HTTP/1.0\r\n\r\n", HELLO % b"Bob"),
        (b"GET /Bob HTTP/1.0\n\n", HELLO % b"Bob"),
        (b"GET / HTTP/1.0\r\n\r\n", HELLO % b"world"),
        (b"GET /<b> HTTP/1.0\r\n\r\n", HELLO % b"world"),
        (b"POST /Bob HTTP/1.0\r\n\r\n", HELLO % b"world"),
        (b"GET /Bob HTTP/1.0\r\nX: " + b"x" * 5000 + b"\r\n\r\n", HELLO % b"Bob"),
        (b"\0\xff\n\n", HELLO % b"world"),
        (b"GET /Bob HTTP/1.0", b""),
        (b"GET /" + b"x" * 2000 + b" HTTP/1.0\r\n\r\n", b""),
        (b"", b""),
    )


@test("hello: over a connection, on whatever port")
def _():
    serves(tcp_pair(), "hello", b"GET /Ann HTTP/1.1\r\nHost: x\r\n\r\n", HELLO % b"Ann")
    serves(unix_pair(mbtest.tmp("hello.sock")), "hello", b"GET /Ann HTTP/1.1\r\n\r\n", HELLO % b"Ann")


@test("hello: the README shows this script, and its answer")
def _():
    readme = mbtest.read_file(os.path.join(mbtest.SRCDIR, "README"))
    code = [line for line in mbtest.read_file(example("hello")).splitlines() if not line.startswith("--")]
    check("".join(f"    {line}\n" for line in code) in readme, "the text of hello.lua is in the README")
    check("\n    Hello, Ann!\n" in readme, "its answer is in the README")


@test("echo: what comes goes back, whole lines or not, long ones, binary data, nothing")
def _():
    for data in (b"one\ntwo\n", b"one\n\n\nlast", b"\0\xff\r\n\0", b"x" * 200000 + b"\nend\n", b"x" * 65536 + b"\n", b"\n", b""):
        answers("echo", (data, data))


@test("echo: over TCP, and on the Unix socket of mb-local@echo.socket, where a user manager has it")
def _():
    serves(tcp_pair(), "echo", b"one\ntwo", b"one\ntwo", "--listener", "1")
    runtime = os.path.dirname(mbtest.tmp("runtime", "x"))
    path = mbtest.tmp("runtime", "mb", "echo.sock")
    serves(unix_pair(path), "echo", b"one\ntwo", b"one\ntwo", env={"XDG_RUNTIME_DIR": runtime})
    unit = mbtest.read_file(os.path.join(mbtest.SRCDIR, "units", "mb-local@.socket.in"))
    check("\nListenStream=%t/mb/%i.sock\n" in unit, "the unit listens where echo.lua expects it (%t: $XDG_RUNTIME_DIR or /run)")


@test("echo: a line comes back before the next one is sent; a client that resets is no failure")
def _():
    for goodbye in ("finish", "reset"):
        client, conn = tcp_pair()
        with client, conn, open("/dev/null", "r+b") as null, open(mbtest.tmp("log"), "wb") as log:
            child = Child(
                [HANDLE, "--listener", "2", example("echo")], {0: null, 1: null, 2: log, 3: conn}, listen_fds=1
            )
            for text in ("first", "second"):
                client.send(text + "\n")
                equal(client.line(), text, "echo")
            getattr(client, goodbye)()
            equal(child.wait(), 0, f"exit status after {goodbye}")
        equal(mbtest.read_file(mbtest.tmp("log")), "", "log")


ANN = b"Login: ann\r\nName:  Ann Archer\r\n"
PLAN = b"Plan:\r\nRead RFC 1288 once more.\r\nThen tea.\r\n"
ALL = b"ann          Ann Archer\r\nbob          Bob Baker\r\n"


@test("finger: one user, at length, all, nobody; forwarding and long lines are refused")
def _():
    answers(
        "finger",
        (b"ann\r\n", ANN),
        (b"ann\n", ANN),
        (b"/W ann\r\n", ANN + PLAN),
        (b"/W bob\r\n", b"Login: bob\r\nName:  Bob Baker\r\nPlan:\r\n(none)\r\n"),
        (b"\r\n", ALL),
        (b"\n", ALL),
        (b"/W\r\n", ALL),
        (b"nobody\r\n", b"No such user.\r\n"),
        (b"../../etc/passwd\r\n", b"No such user.\r\n"),
        (b"\0\xff\r\n", b"No such user.\r\n"),
        (b"ann@elsewhere\r\n", b"Finger forwarding service denied.\r\n"),
        (b"@elsewhere\r\n", b"Finger forwarding service denied.\r\n"),
        (b"x" * 200 + b"\r\n", b"Line too long.\r\n"),
        (b"ann", b""),
        (b"", b""),
    )
    serves(tcp_pair(), "finger", b"/W ann\r\n", ANN + PLAN, "--listener", "2")


DAYTIME = re.compile(
    rb"(Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (January|February|March|April|May|June|July|August|September|October"
    rb"|November|December) \d\d, \d{4} \d\d:\d\d:\d\d-UTC\r\n"
)


@test("daytime: the time in UTC and nothing else, whatever comes and whatever the zone is")
def _():
    for data in (b"", b"ignored\n", b"x" * 100000):
        before = datetime.datetime.utcnow().replace(microsecond=0)
        status, out, log = run(example("daytime"), data=data, env={"TZ": "Asia/Kathmandu-5:45", "LC_ALL": "C"})
        equal((status, log), (0, ""), "status and log")
        check(DAYTIME.fullmatch(out), f"the form of {out!r}")
        told = datetime.datetime.strptime(out.decode(), "%A, %B %d, %Y %H:%M:%S-UTC\r\n")
        check(before <= told <= datetime.datetime.utcnow(), f"{out!r} is now, after {before}")


@test("daytime: a client that only listens is answered; one that sends gets its answer all the same")
def _():
    for data in (b"", b"x" * 100000):
        client, conn = tcp_pair()
        with client, open("/dev/null", "r+b") as null:
            client.send(data)
            child = Child([HANDLE, "--listener", "2", example("daytime")], {0: null, 1: null, 2: null, 3: conn}, listen_fds=1)
            conn.close()
            got, how = client.end()
            check(DAYTIME.fullmatch(got) and how == "eof", f"answer {got!r}, then {how}")
            equal(child.wait(), 0, "exit status")


mbtest.main()
