#!/usr/bin/python3
"""The line for a connection's end, at level info: what it says, when it is written, and its fields in a real journal."""

import contextlib
import os
import re
import signal
import socket
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbspace
import mbtest
from mbtest import HANDLE, Child, Serving, check, equal, script, tcp_pair, test, unix_pair, until, within

mbtest.need("systemd-journald")
mbtest.need("journalctl")
mbspace.enter()

ECHO = script('return function(socket) socket:write((socket:read(nil, "\\n"))) end')
LINE = re.compile(
    r"connection from (?P<peer>.+?)(?: via (?P<proxy>\S+))? to (?P<listener>\S+): (?P<ms>\d+\.\d{3}) ms, "
    r"(?P<received>\d+) bytes in, (?P<sent>\d+) bytes out, (?P<how>.+)"
)


def serve(pair, *args, send=b"hello\n", status=0):
    """The connection's end as the log has it (without our name), and all lines of the log."""
    client, conn = pair
    with client, conn:
        client.send(send)
        child = Serving(conn, *args)
        conn.close()
        client.end()
        equal(child.wait(), status, f"exit status; log: {child.log()!r}")
    return child.log().splitlines()


def line_of(lines):
    """The fields of the one line for the connection's end."""
    found = [LINE.fullmatch(line.removeprefix("mb-handle: ")) for line in lines]
    found = [match for match in found if match]
    equal(len(found), 1, f"lines for the connection's end in {lines}")
    return found[0].groupdict()


def written(attempt, what):
    """Returns what one of some attempts returns. A process whose time is up waits for its log no longer than 50 ms: on
    a busy machine it may end before it writes."""
    for _ in range(10):
        result = attempt()
        if result:
            return result
    raise mbtest.Failed(f"{what}: not at 10 attempts")


def named(pair):
    """The pair, and both addresses as the line has them."""
    mine, other = pair[0].sock.getsockname(), pair[0].sock.getpeername()
    return pair, f"{mine[0]}:{mine[1]}", f"{other[0]}:{other[1]}"


@test("at level info: one line with peer, listener, duration, bytes and status; none at notice, the default")
def _():
    pair, peer, listener = named(tcp_pair())
    got = line_of(serve(pair, "--log-level=info", ECHO))
    equal((got["peer"], got["listener"], got["received"], got["sent"], got["how"], got["proxy"]),
          (peer, listener, "6", "6", "status 0", None), "the line")
    check(0 < float(got["ms"]) < 10000, f"the duration {got['ms']}")
    for args in ((), ("--log-level=notice",), ("--log-format=journal",)):
        equal(serve(tcp_pair(), *args, ECHO), [], f"the log with {args}")


@test("the duration is the connection's, and not that of finish()")
def _():
    slow = script('listen{ connect = function(socket) socket:read(nil, "\\n") end, finish = function() os.execute("sleep 1") end }')
    check(float(line_of(serve(tcp_pair(), "--log-level=info", slow))["ms"]) < 900, "without finish")
    slow = script('return function(socket) os.execute("sleep 0.3") socket:read(nil, "\\n") end')
    check(float(line_of(serve(tcp_pair(), "--log-level=info", slow))["ms"]) >= 300, "with what the handler does")


@contextlib.contextmanager
def full_pipe():
    """A pipe that is full, and that nobody reads."""
    reader, writer = mbtest.unread_pipe()
    try:
        yield writer
    finally:
        os.close(reader)
        os.close(writer)


@test("a log that nobody reads holds the process no longer than the handler's time limit, and the client not at all")
def _():
    client, conn = tcp_pair()
    limited = script('return function(socket) timeout(0.5) socket:write((socket:read(nil, "\\n"))) end')
    with client, full_pipe() as log, open("/dev/null", "r+b") as null:
        child = Child([HANDLE, "--log-level=info", limited], {0: null, 1: null, 2: log, 3: conn}, listen_fds=1)
        conn.close()
        client.send(b"hello\n")
        equal(client.end(), (b"hello\n", "eof"), "answer")
        equal(child.wait(), -signal.SIGALRM, "how the process ends")


LAST_WORDS = script('return function(s) io.write("some text without newline") s:write("done\\n") end')


def last_words(start):
    """start(log) starts a process, with a limit of half a second, whose last words find a full log. It ends in time."""

    def measure():
        with full_pipe() as log:
            begin = time.monotonic()
            equal(start(log).wait(), -signal.SIGALRM, "how the process ends")
            return time.monotonic() - begin - 0.5

    within(0.3, "the end after --timeout", measure, early=0.01)


@test("a line that the script has not ended, for a log that nobody reads, holds the process no longer than --timeout")
def _():
    def start(log):
        client, conn = tcp_pair()
        with client, conn, open("/dev/null", "r+b") as null:
            child = Child([HANDLE, "--timeout=0.5", LAST_WORDS], {0: null, 1: log, 2: log, 3: conn}, listen_fds=1)
            conn.close()
            equal(client.end(), (b"done\n", "eof"), "answer")
        return child

    last_words(start)


@test("nor does it hold a replay")
def _():
    def start(log):
        path = mbtest.tmp("replayed")
        with open("/dev/null", "rb") as null, open(path, "wb") as output:
            child = Child([HANDLE, "--timeout=0.5", LAST_WORDS], {0: null, 1: output, 2: log})
        until(lambda: mbtest.read_file(path) == "done\n", "the output")
        return child

    last_words(start)


@test("bytes are counted in every way of reading and writing")
def _():
    big = mbtest.write_file(mbtest.tmp("big"), "x" * 300000)
    for body, received, sent in (
        ("socket:drain(6)", 6, 0),
        ("socket:read(6) for i = 1, 100 do socket:write(('y'):rep(10000)) end", 6, 1000000),
        ("socket:read(6) socket:flush('a', 'b') socket:write_nb('c')", 6, 3),
        ("socket:read(6) socket:write('never sent') socket:reset()", 6, 0),
    ):
        got = line_of(serve(tcp_pair(), "--log-level=info", script(f"return function(socket) {body} end")))
        equal((int(got["received"]), int(got["sent"])), (received, sent), f"bytes in and out of {body}")
    page = script(
        'return require("moonbridge_http").generate_handler(function(request)\n'
        f'request:send_status(200) assert(request:send_file("{big}")) end)'
    )
    got = line_of(serve(tcp_pair(), "--log-level=info", page, send=b"GET / HTTP/1.0\r\n\r\n"))
    check(300000 < int(got["sent"]) < 301000 and got["received"] == "18", f"a file by HTTP: {got}")


@test("whatever ends the connection is in the line: an error, os.exit, a time limit, no script, no listener")
def _():
    for text, args, how, status in (
        ("return function() error('boom') end", (), "status 70", 70),
        ("return function() os.exit(3) end", (), "status 3", 3),
        ("return function() os.exit(-1) end", (), "status 255", 255),
        ("return function() os.exit(256) end", (), "status 0", 0),
        ("return function() os.exit(true, true) end", (), "status 0", 0),
        ("listen{ prepare = function() error('boom') end, connect = print }", (), "status 70", 70),
        ("return function() timeout(0.1) while true do end end", (), "time is up", -signal.SIGALRM),
        ("return function() timeout(0.1, function() while true do end end) end", (), "time is up", -signal.SIGALRM),
        ("listen{ { proto = 'tcp', port = 1 }, connect = print }", (), "status 78", 78),
        ("syntax error", (), "status 78", 78),
    ):

        def attempt(text=text, args=args, status=status):
            pair, peer, listener = named(tcp_pair())
            lines = serve(pair, "--log-level=info", *args, script(text), status=status)
            in_time = status != -signal.SIGALRM or any("bytes out" in line for line in lines)
            return in_time and (line_of(lines), peer, listener)

        got, peer, listener = written(attempt, f"the line for {text}")
        equal((got["peer"], got["listener"], got["how"]), (peer, listener, how), f"the line for {text}")
    got = line_of(serve(tcp_pair(), "--log-level=info", mbtest.tmp("nowhere", "x.lua"), status=66))
    equal(got["how"], "status 66", "no script")


@test("an error of finish() is no part of it, and os.exit there makes no second line")
def _():
    path = script("listen{ connect = function() end, finish = function() os.exit(5) end }")
    equal(line_of(serve(tcp_pair(), "--log-level=info", path, status=5))["how"], "status 0", "the line")


@test("behind a proxy the peer is the client; a refused connection says so")
def _():
    pair, proxy, _ = named(tcp_pair())
    header = b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n"
    got = line_of(serve(pair, "--log-level=info", "--proxy-protocol", ECHO, send=header + b"hello\n"))
    equal((got["peer"], got["proxy"], got["received"]), ("192.0.2.1:12345", proxy, str(len(header) + 6)), "the line")
    # What a proxy says the client's path is, is shown as every message is.
    header = b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8" + b"/a\nb".ljust(216, b"\0")
    got = line_of(serve(tcp_pair(), "--log-level=info", "--proxy-protocol", ECHO, send=header + b"hello\n"))
    equal(got["peer"], r"/a\x0ab", "the line")
    got = line_of(serve(tcp_pair(), "--log-level=info", "--proxy-protocol", ECHO))
    equal((got["how"], got["sent"]), ("refused", "0"), "the line")


@test("a Unix socket: the peer is the client's user, the listener the path")
def _():
    path = mbtest.tmp("logged.sock")
    got = line_of(serve(unix_pair(path), "--log-level=info", ECHO))
    equal((got["peer"], got["listener"]), (f"uid {os.getuid()}", path), "the line")


def bound_pair(path, name):
    """A connection to a Unix socket whose client has given itself a name, relative to the test's directory."""
    directory = os.getcwd()
    os.chdir(mbtest.TMP)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1)
            ours = socket.socket(socket.AF_UNIX)
            ours.bind(name)
            ours.connect(path)
            return mbtest.Client(ours), listener.accept()[0]
    finally:
        os.chdir(directory)


@test("a client on a Unix socket cannot choose what it is called, for the log and for the script")
def _():
    tell = script('return function(socket) socket:read(nil, "\\n") print(socket.remote_addr) end')
    for number, (name, seen) in enumerate((("127.0.0.1", "./127.0.0.1"), ("uid 0", "./uid 0"), ("a\nb", "./a\nb"))):
        path = mbtest.tmp(f"named{number}.sock")
        lines = serve(bound_pair(path, name), "--log-level=info", tell)
        equal("\n".join(lines[:-1]), seen, f"remote_addr of {name!r}")
        equal(line_of(lines)["peer"], f"uid {os.getuid()}", f"the peer for {name!r}")


@test("a replay is no connection: no line")
def _():
    log_path = mbtest.tmp("replay.log")
    with open(log_path, "wb") as log, open("/dev/null", "r+b") as null:
        equal(Child([HANDLE, "--log-level=debug", ECHO], {0: null, 1: null, 2: log}).wait(), 0, "status")
    equal(mbtest.read_file(log_path), "", "the log")


@test("--log-format=journal: the line is in the journal with its fields, and not on stderr")
def _():
    journal = mbspace.Journal()
    try:
        pair, peer, listener = named(tcp_pair())
        equal(serve(pair, "--log-level=info", "--log-format=journal", ECHO), [], "what stderr has")
        entry = journal.find(f"connection from {peer}")
        address, port = peer.split(":")
        want = {"MB_PEER": address, "MB_PEER_PORT": port, "MB_LISTENER": listener, "MB_BYTES_IN": "6", "MB_BYTES_OUT": "6", "MB_STATUS": "0",
                "PRIORITY": "6", "SYSLOG_IDENTIFIER": "mb-handle", "_TRANSPORT": "journal"}
        equal({name: entry.get(name) for name in want}, want, "fields")
        ms = LINE.fullmatch(entry["MESSAGE"])["ms"]
        equal(int(entry["MB_DURATION_USEC"]), round(float(ms) * 1000), "the duration")
        check("MB_PROXY" not in entry, "no proxy")
        # Found by a field, as an operator would.
        find = ("journalctl", "--directory=/run/log/journal", "-q", "-o", "cat")
        equal(mbtest.output_of(*find, f"MB_PEER={address}"), entry["MESSAGE"], f"journalctl MB_PEER={address}")

        header = b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n"
        pair, proxy, _ = named(tcp_pair())
        serve(pair, "--log-level=info", "--log-format=journal", "--proxy-protocol", ECHO, send=header + b"hello\n")
        entry = journal.find("connection from 192.0.2.1:12345")
        got = (entry["MB_PEER"], entry["MB_PEER_PORT"], entry["MB_PROXY"])
        equal(got, ("192.0.2.1", "12345", proxy.split(":")[0]), "client and proxy")
        no_port = b"PROXY TCP4 192.0.2.99 198.51.100.2 0 443\r\nhello\n"
        serve(tcp_pair(), "--log-level=info", "--log-format=journal", "--proxy-protocol", ECHO, send=no_port)
        entry = journal.find("connection from 192.0.2.99:0")
        equal((entry["MB_PEER"], entry.get("MB_PEER_PORT")), ("192.0.2.99", None), "a client without a port")

        late = script("return function() timeout(0.1) while true do end end")

        def attempt():
            lines = serve(tcp_pair(), "--log-level=info", "--log-format=journal", late, status=-signal.SIGALRM)
            # The journal keeps the order: what is not there before the next connection's entry does not come any more.
            pair, peer, _ = named(tcp_pair())
            serve(pair, "--log-level=info", "--log-format=journal", ECHO)
            journal.find(f"connection from {peer}")
            entries = [e for e in journal.entries() if "time is up" in str(e.get("MESSAGE"))]
            return entries and (lines, entries)

        lines, entries = written(attempt, "the entry of a connection whose time is up")
        equal(lines, ["mb-handle: timeout: time is up, connection reset"], "what stderr has")
        equal([e["MB_STATUS"] for e in entries], ["time is up"], "the field")

        path = mbtest.tmp("two\nlines.sock")
        serve(unix_pair(path), "--log-level=info", "--log-format=journal", ECHO)
        entry = journal.find("lines.sock")
        got = (entry["MB_LISTENER"], entry["MB_PEER"], entry.get("MB_PEER_PORT"))
        equal(got, (path, f"uid {os.getuid()}", None), "a path with two lines")
        check("\n" not in entry["MESSAGE"] and "two\\x0alines.sock" in entry["MESSAGE"], f"{entry['MESSAGE']!r} is one line")
    finally:
        journal.stop()


@test("--log-format=journal where there is no journal: the plain line")
def _():
    equal(line_of(serve(tcp_pair(), "--log-level=info", "--log-format=journal", ECHO))["how"], "status 0", "the line")


mbtest.main()
