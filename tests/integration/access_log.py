#!/usr/bin/python3
"""--access-log: a line for each HTTP request; what it says, where it goes, and that no client and no reader of the log
can do harm by it."""

import contextlib
import json
import os
import re
import signal
import sys
import threading
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbspace
import mbtest
import mbwebsocket
from mbtest import HANDLE, Child, check, equal, read_file, script, tcp_pair, test, unix_pair, until

for tool in ("/lib/systemd/systemd", "systemctl", "systemd-journald", "journalctl", "systemd-socket-activate", "inetd"):
    mbtest.need(tool)
mbspace.enter(cgroup=True)

PAGES = """
  local path = request.path
  if path == "error" then error("this is wrong") end
  if path == "exit" then os.exit(3) end
  if path == "late" then timeout(0.2) while true do end end
  if path == "reset" then request.socket:reset() return end
  if path == "304" then request:send_status(304) return end
  if path == "404" then request:send_status(404) return end
  if path == "101" then
    request:send_status(101)
    request:send_header("Upgrade", "echo")
    request:finish_headers()
    request.socket:write((request.socket:read(nil, "\\n")))
    return
  end
  if path == "endless" then
    request:send_status(200)
    request:send_header("Content-Length", 1 << 30)
    while true do request:send_data(("x"):rep(65536)) end
  end
  if path == "slow" then
    request:send_status(200)
    os.execute("sleep 0.3")
  end
  if path == "body" then print(#request.body) end
  if path ~= "slow" then request:send_status(200) end
  request:send_data("hello\\n")
  if path == "chunked" then
    request:flush()
    request:send_data("more\\n")
  end
"""
HTTP = script(f'return require("moonbridge_http").generate_handler(function(request) {PAGES} end)')
SERVER = script("""
local server = require("mb.http_server")
return function(socket)
  server.wrap(socket, {onstream = function(_, stream)
    local path = stream:get_headers():get(":path")
    if path == "/error" then error("this is wrong") end
    if path == "/none" then return end
    local head = server.headers.new()
    head:append(":status", path == "/404" and "404" or "200")
    if path == "/404" then return stream:write_headers(head, true) end
    if path == "/length" then head:append("content-length", "6") end
    stream:write_headers(head, false)
    if path == "/half" then
      stream:write_chunk("half\\n", false)
      return
    end
    if path == "/put" then stream:get_body_as_string() end
    stream:write_body_from_string("hello\\n")
  end}):loop()
end
""")

DATE = r"\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}"
COMBINED = re.compile(rf'(\S+) - - \[{DATE}\] "([^"]*)" (\d{{3}}) (\d+) "([^"]*)" "([^"]*)"')


def get(target, *fields, method="GET", version="1.1", body=b""):
    """A request as bytes. target may be bytes."""
    target = target if isinstance(target, bytes) else target.encode()
    lines = [method.encode() + b" " + target + b" HTTP/" + version.encode(), b"Host: a.example", *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Served:
    """mb-handle on a connection, with an output of its own. lines: of the output; log: what the log has."""

    def __init__(self, pair, *args, send=b"", finish=True, status=0, ends=("eof", "reset"), during=None):
        number = len(os.listdir(os.path.dirname(mbtest.tmp("x"))))
        path, log_path = mbtest.tmp(f"out{number}"), mbtest.tmp(f"err{number}")
        client, conn = pair
        with client, open(path, "ab") as out, open(log_path, "ab") as log, open("/dev/null", "r+b") as null:
            child = Child([HANDLE, *args], {0: null, 1: out, 2: log, 3: conn}, listen_fds=1)
            conn.close()
            with contextlib.suppress(ConnectionError):
                client.send(send)
            if during:
                during(client)
            else:
                if finish:
                    with contextlib.suppress(OSError):  # a reset by the script may have come already
                        client.finish()
                self.answer, how = client.end()
                check(how in ends, f"the connection ends by {how}")
            equal(child.wait(), status, f"exit status; log: {read_file(log_path)!r}")
        self.lines, self.log = read_file(path).splitlines(), read_file(log_path)


def fields(line):
    match = COMBINED.fullmatch(line)
    check(match, f"{line!r} is in the combined format")
    return match.groups()


def requests(served):
    """(request line, status, bytes) of each line."""
    return [(line, int(status), int(count)) for _, line, status, count, _, _ in map(fields, served.lines)]


@test("off by default; combined is the format without a value; one line for each request of a kept-alive connection")
def _():
    equal(Served(tcp_pair(), HTTP, send=get("/")).lines, [], "without the option")
    for option in ("--access-log", "--access-log=combined"):
        before = int(time.time())
        pair = tcp_pair()
        peer = pair[0].sock.getsockname()[0]
        sent = get("/a?b=c", b"Referer: http://r.example/", b"User-Agent: test/1") + get("/404") + get("/chunked")
        served = Served(pair, option, HTTP, send=sent)
        equal(fields(served.lines[0]), (peer, "GET /a?b=c HTTP/1.1", "200", "6", "http://r.example/", "test/1"), option)
        equal(requests(served)[1:], [("GET /404 HTTP/1.1", 404, 0), ("GET /chunked HTTP/1.1", 200, 11)], "the others")
        when = time.strptime(re.search(rf"\[({DATE})\]", served.lines[0])[1], "%d/%b/%Y:%H:%M:%S %z")
        check(before - 1 <= time.mktime(when[:8] + (-1,)) <= time.time() + 1, f"the time {served.lines[0]}")
        equal(served.log, "", "the log")


@test("the time is local, and has its zone")
def _():
    os.environ["TZ"] = "XYZ-5:45"
    try:
        line = Served(tcp_pair(), "--access-log", HTTP, send=get("/")).lines[0]
        check(" +0545] " in line, line)
        row = json.loads(Served(tcp_pair(), "--access-log=json", HTTP, send=get("/")).lines[0])
        check(row["time"].endswith("+05:45"), row["time"])
    finally:
        del os.environ["TZ"]


@test("HEAD, 304, HTTP/1.0, pipelined requests, and a connection without a request")
def _():
    sent = get("/", method="HEAD") + get("/304") + get("/chunked", method="HEAD") + get("/chunked", version="1.0")
    want = [
        ("HEAD / HTTP/1.1", 200, 0),
        ("GET /304 HTTP/1.1", 304, 0),
        ("HEAD /chunked HTTP/1.1", 200, 0),
        ("GET /chunked HTTP/1.0", 200, 11),
    ]
    equal(requests(Served(tcp_pair(), "--access-log", HTTP, send=sent)), want, "the lines")
    equal(Served(tcp_pair(), "--access-log", HTTP).lines, [], "a client that says nothing")
    equal(Served(tcp_pair(), "--access-log", HTTP, send=b"\r\n\r\n").lines, [], "or only empty lines")


@test("requests that are refused: what the client has sent as request line, or - when none came whole")
def _():
    for sent, line, status in (
        (b"GARBAGE\r\n\r\n", "GARBAGE", 400),
        (b"GET /\r\n\r\n", "GET /", 400),
        (b"\x80\x01\x02 abc\r\n\r\n", "\\x80\\x01\\x02 abc", 400),
        (b"no line end", "-", 400),
        (b"GET / HTTP/1.1\r\n", "GET / HTTP/1.1", 400),
        (b"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1", 400),
        (b"GET / HTTP/3.0\r\n\r\n", "GET / HTTP/3.0", 505),
        (b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET https://a/ HTTP/1.1", 421),
        (b'GET /"\\\x1b HTTP/1.1\r\nHost: a\r\n\r\n', "GET /\\x22\\x5c\\x1b HTTP/1.1", 400),
        (b"GET /a\nb HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a", 400),
        (b"GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a\\x0db HTTP/1.1", 400),
        (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\\xc3\\xa4 HTTP/1.1", 400),
        (get("/" + "x" * 70000), "-", 414),
    ):
        for handler in (HTTP, SERVER):
            served = Served(tcp_pair(), "--access-log", handler, send=sent)
            body = served.answer.partition(b"\r\n\r\n")[2]
            equal(requests(served), [(line, status, len(body))], f"{sent[:60]!r} for {handler}")
    served = Served(tcp_pair(), "--access-log", HTTP, send=get("/404") + b"GARBAGE\r\n\r\n")
    equal([r[:2] for r in requests(served)], [("GET /404 HTTP/1.1", 404), ("GARBAGE", 400)], "behind a good one")


@test("text of the client is escaped, and cut where it is long")
def _():
    agent = b'a"b\\c\x80\xff\xc3\xa4\t'
    sent = get("/?x={y}\\", b"User-Agent: " + agent + b"z", b"Referer: " + b"r" * 5000)
    served = Served(tcp_pair(), "--access-log", HTTP, send=sent)
    _, line, status, _, referer, shown = fields(served.lines[0])
    equal((line, shown, status), ("GET /?x={y}\\x5c HTTP/1.1", "a\\x22b\\x5cc\\x80\\xff\\xc3\\xa4\\x09z", "200"), "escapes")
    equal(referer, "r" * 765 + "...", "a long field")
    served = Served(tcp_pair(), "--access-log", HTTP, send=get("/" + "x" * 60000))
    equal(requests(served)[0][0], "GET /" + "x" * 2044 + "... HTTP/1.1", "a long target")
    rows = [json.loads(text) for text in Served(tcp_pair(), "--access-log=json", HTTP, send=sent).lines]
    equal(rows[0]["user_agent"], 'a"b\\c\\x80\\xffä\tz', "JSON")
    equal((rows[0]["target"], rows[0]["referer"]), ("/?x={y}\\", "r" * 765 + "..."), "JSON, too")


@test("json: every member, for a request and for what is none")
def _():
    pair = tcp_pair()
    host, port = pair[0].sock.getsockname()
    sent = get("/body", b"Content-Length: 5", method="POST", body=b"12345") + get("/slow") + b"GARBAGE\r\n\r\n"
    rows = [json.loads(line) for line in Served(pair, "--access-log=json", HTTP, send=sent).lines]
    equal(len(rows), 3, "lines")
    for row in rows:
        check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", row.pop("time")), "the time")
    durations = [row.pop("duration") for row in rows]
    check(0 < durations[0] < 60 and 0.3 <= durations[1] < 60 and durations[2] < 60, f"durations {durations}")
    common = {"peer": host, "port": port, "referer": None, "user_agent": None}
    good = {**common, "protocol": "HTTP/1.1", "status": 200, "bytes": 6, "host": "a.example"}
    equal(rows[0], {**good, "method": "POST", "target": "/body", "bytes_in": 5}, "the first")
    equal(rows[1], {**good, "method": "GET", "target": "/slow", "bytes_in": 0}, "the second")
    nothing = {"method": None, "target": None, "protocol": None, "host": None}
    count = rows[2].pop("bytes")
    equal(rows[2], {**common, **nothing, "request": "GARBAGE", "status": 400, "bytes_in": 0}, "the third")
    check(count > 0, "bytes of the refusal")


@test("errors of the handler, os.exit, a time limit, and a reset by the script")
def _():
    served = Served(tcp_pair(), "--access-log", HTTP, send=get("/error"), status=70)
    body = served.answer.partition(b"\r\n\r\n")[2]
    equal(requests(served), [("GET /error HTTP/1.1", 500, len(body))], "an error")
    for path, status in (("exit", 3), ("late", -signal.SIGALRM), ("reset", 0)):
        served = Served(tcp_pair(), "--access-log", HTTP, send=get("/404") + get(f"/{path}"), status=status)
        equal(requests(served)[1:], [(f"GET /{path} HTTP/1.1", 444, 0)], path)


@test("a client that goes: its request has a line, with the status and the bytes that were sent")
def _():
    def goes(client):
        check(client.receive(), "some of the answer")
        client.reset()

    served = Served(tcp_pair(), "--access-log", HTTP, send=get("/endless"), during=goes)
    line, status, count = requests(served)[0]
    equal((line, status), ("GET /endless HTTP/1.1", 200), "the line")
    check(0 < count < 1 << 30, f"{count} bytes")
    slow = script("""
      return require("moonbridge_http").generate_handler(function(request)
        request.socket:flush("x") -- the client resets the connection then
        os.execute("sleep 0.3")
        request:send_status(200)
        request:send_data(("x"):rep(100000))
      end)""")

    def gone(client):
        client.receive()
        client.reset()

    served = Served(tcp_pair(), "--access-log", slow, send=get("/"), during=gone)
    equal(requests(served), [("GET / HTTP/1.1", 499, 0)], "a client that has gone before")


@test("an upgrade has its line when its handler has ended, with all bytes behind the head")
def _():
    def talks(client):
        while client.line().strip():
            pass
        client.send(b"abc\n")
        equal(client.end()[0], b"abc\n", "the other protocol")

    sent = get("/101", b"Connection: Upgrade", b"Upgrade: echo")
    equal(requests(Served(tcp_pair(), "--access-log", HTTP, send=sent, during=talks)), [("GET /101 HTTP/1.1", 101, 4)], "the line")


@test("a WebSocket has its line as well, also when its handler throws")
def _():
    for behind, status in (("", 0), ("error('on purpose')", 70)):
        text = f"""
        return require("moonbridge_http").generate_handler(function(request)
          local ws = request:upgrade_websocket() ws:send("abc") {behind}
        end)"""
        send = mbwebsocket.upgrade() + mbwebsocket.close(1000)
        served = Served(tcp_pair(), "--access-log", script(text), send=send, status=status)
        equal(requests(served), [("GET / HTTP/1.1", 101, 5 + 4)], "the line")


@test("mb.http_server has the same log")
def _():
    sent = get("/length") + get("/chunked") + get("/404") + get("/length", method="HEAD") + get("/none")
    sent += get("/put", b"Content-Length: 3", method="PUT", body=b"abc")
    want = [
        ("GET /length HTTP/1.1", 200, 6),
        ("GET /chunked HTTP/1.1", 200, 6),
        ("GET /404 HTTP/1.1", 404, 0),
        ("HEAD /length HTTP/1.1", 200, 0),
        ("GET /none HTTP/1.1", 503, 0),
        ("PUT /put HTTP/1.1", 200, 6),
    ]
    equal(requests(Served(tcp_pair(), "--access-log", SERVER, send=sent)), want, "the lines")
    served = Served(tcp_pair(), "--access-log", SERVER, send=get("/half"))
    equal(requests(served)[0][:2], ("GET /half HTTP/1.1", 200), "a response without its end")
    served = Served(tcp_pair(), "--access-log", SERVER, send=get("/error"), status=70)
    equal(requests(served), [("GET /error HTTP/1.1", 503, 0)], "an error")


@test("behind a proxy the peer is the client; a Unix socket has no address; a replay no peer")
def _():
    header = b"PROXY TCP4 192.0.2.9 198.51.100.2 12345 443\r\n"
    served = Served(tcp_pair(), "--access-log=json", "--proxy-protocol", HTTP, send=header + get("/"))
    row = json.loads(served.lines[0])
    equal((row["peer"], row["port"]), ("192.0.2.9", 12345), "the client")
    equal(fields(Served(unix_pair(mbtest.tmp("a.sock")), "--access-log", HTTP, send=get("/")).lines[0])[0], "unix:", "a Unix socket")
    done = mbtest.replay("--access-log", HTTP, stdin=get("/"))
    check(done.stdout.startswith(b"HTTP/1.1 200") and done.stdout.endswith(b"hello\n"), "the output of a replay is the answer")
    equal(fields(done.stderr.decode().strip())[:2], ("-", "GET / HTTP/1.1"), "the log of a replay")


@test("the duration of a request is from its first byte")
def _():
    def waits(client):
        time.sleep(0.5)
        client.send(get("/404")[:10])
        time.sleep(0.2)
        client.send(get("/404")[10:])
        client.receive()
        time.sleep(0.5)
        client.send(get("/404"))
        client.finish()
        client.end()

    rows = [json.loads(line) for line in Served(tcp_pair(), "--access-log=json", HTTP, during=waits).lines]
    # A busy machine sees the first byte later than it was sent.
    check(0.1 <= rows[0]["duration"] < 0.5, f"the first: {rows[0]['duration']}")
    check(rows[1]["duration"] < 0.2, f"the second: {rows[1]['duration']}")


def unread(make, send, *args):
    """mb-handle with an output that nobody reads. Returns the log and how many seconds it took."""
    client, conn = tcp_pair()
    log_path = mbtest.tmp("unread.log")
    with client, make() as out, open(log_path, "wb") as log, open("/dev/null", "r+b") as null:
        begin = time.monotonic()
        child = Child([HANDLE, "--access-log", *args, HTTP], {0: null, 1: out, 2: log, 3: conn}, listen_fds=1)
        conn.close()
        client.send(send)
        client.finish()
        answer = client.end()[0]
        equal(answer.count(b"HTTP/1.1 404"), send.count(b"GET"), "answers")
        equal(child.wait(), 0, "status")
        return read_file(log_path), time.monotonic() - begin


@contextlib.contextmanager
def full_pipe():
    reader, writer = mbtest.unread_pipe()
    try:
        yield writer
    finally:
        os.close(reader)
        os.close(writer)


@contextlib.contextmanager
def readerless_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    try:
        yield writer
    finally:
        os.close(writer)


@test("a reader that does not read holds a process for a second; one that has gone, and a full disk, not at all")
def _():
    sent = get("/404") * 20
    log, seconds = unread(full_pipe, sent)
    equal(log, "mb-handle: --access-log: lines are lost: nobody reads them\n", "the log")
    check(0.9 < seconds < 10, f"{seconds} s")
    for make, why in ((readerless_pipe, "Broken pipe"), (lambda: open("/dev/full", "wb"), "No space left on device")):
        log, _ = unread(make, sent)
        equal(log, f"mb-handle: --access-log: lines are lost: {why}\n", "the log")


@test("lines of several processes do not mix, in a pipe and in a file")
def _():
    reader, writer = os.pipe()
    path = mbtest.tmp("many")
    sent = b"".join(get("/404?" + "x" * size) for size in range(100, 3000, 100))
    with open(path, "ab") as out, open("/dev/null", "r+b") as null:
        for into in (writer, out):
            children = []
            for _ in range(4):
                client, conn = tcp_pair()
                children.append((client, Child([HANDLE, "--access-log", HTTP], {0: null, 1: into, 2: null, 3: conn}, listen_fds=1)))
                conn.close()
                client.send(sent)
                client.finish()
            if into == writer:
                os.close(writer)
                with os.fdopen(reader) as pipe:
                    text = pipe.read()
            for client, child in children:
                client.end()
                equal(child.wait(), 0, "status")
            lines = (text if into == writer else read_file(path)).splitlines()
            equal(len(lines), 4 * sent.count(b"GET"), "lines")
            for line in lines:
                fields(line)


# ---- ways of starting ----


def ask(where):
    with mbtest.Client(where) as client:
        client.send(get("/404"))
        client.finish()
        check(client.end()[0].startswith(b"HTTP/1.1 404"), "the answer")


def written(host):
    return until(lambda: [line for line in host.text().splitlines() if COMBINED.fullmatch(line)], "the line")


@contextlib.contextmanager
def pool(*args, err=None, env=None):
    """mb-handle --serve. Its address, and its output so far, as a function."""
    where = ("127.0.0.1", mbtest.free_port())
    path, log_path = mbtest.tmp(f"pool{where[1]}"), mbtest.tmp(f"pool{where[1]}.log")
    with open(path, "ab") as out, open(log_path, "ab") as log, open("/dev/null", "rb") as null:
        child = Child([HANDLE, f"--serve={where[0]}:{where[1]}", *args], {0: null, 1: out, 2: err or log}, env)
    mbtest.wait_listening(where)
    yield where, lambda: read_file(path), lambda: read_file(log_path)
    child.kill(signal.SIGTERM)
    equal(child.wait(), 0, "status of the pool")


@test("a pool: each request of each process has its line, and nothing of a connection is left for the next one")
def _():
    one = script(f"""
      local serve = require("moonbridge_http").generate_handler(function(request) {PAGES} end)
      listen{{ min_fork = 1, pre_fork = 1, max_fork = 1, connect = serve }}""")
    with pool("--access-log=json", one) as (where, output, _):
        ports = []
        for number in range(5):
            with mbtest.Client(where) as client:
                ports.append(client.sock.getsockname()[1])
                time.sleep(0.1 if number == 2 else 0)
                client.send(get(f"/{number}") + (b"GET /half" if number == 1 else get("/reset") if number == 3 else get("/404")))
                with contextlib.suppress(OSError):  # the reset may have come already
                    client.finish()
                client.end()
        rows = until(lambda: (lines := output().splitlines()) and len(lines) == 10 and [json.loads(line) for line in lines], "10 lines")
        got = [(row["port"], row.get("target"), row["status"]) for row in rows]
        second = {1: (None, 400), 3: ("/reset", 444)}
        want = [x for n, port in enumerate(ports) for x in ((port, f"/{n}", 200), (port, *second.get(n, ("/404", 404))))]
        equal(got, want, "the lines")
        check(all(row["duration"] < 0.09 for row in rows[2:] if row["target"] != "/2"), f"durations {rows}")
    with pool("--access-log", HTTP) as (where, output, _):
        threads = [threading.Thread(target=lambda: [ask(where) for _ in range(20)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(lambda: len(output().splitlines()) == 80, "80 lines")
        for line in output().splitlines():
            equal(fields(line)[1:3], ("GET /404 HTTP/1.1", "404"), "the line")


@test("--serve --dev: a line on standard error, with colours on a terminal, but not with NO_COLOR")
def _():
    line = re.compile(r"\d\d:\d\d:\d\d 127\.0\.0\.1 GET /404 (?:\x1b\[33m)?404(?:\x1b\[0m)? 0 B \d+\.\d ms", re.MULTILINE)
    with pool("--dev", HTTP) as (where, output, log):
        ask(where)
        match = until(lambda: line.search(log()), "the line")
        check("\x1b" not in match[0], f"no colours in {match[0]!r}")
        equal(output(), "", "standard output")
    for env, coloured in (({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)):
        ours, theirs = os.openpty()
        with os.fdopen(ours, "rb", buffering=0) as terminal, os.fdopen(theirs, "rb") as err:
            with pool("--dev", HTTP, err=err, env=env) as (where, _, _):
                ask(where)
                seen = ""
                while not (match := line.search(seen)):
                    seen += terminal.read(4096).decode()
                equal("\x1b[33m404" in match[0], coloured, f"colours with {env}")


@test("systemd-socket-activate: the line is on standard output; with --inetd, where that is the connection, in the log")
def _():
    for options in ({}, {"inetd": True}):
        where = ("127.0.0.1", mbtest.free_port())
        host = mbhosts.SocketActivate(where, "--access-log", HTTP, **options)
        mbtest.wait_listening(where)
        ask(where)
        equal([fields(line)[1] for line in written(host)], ["GET /404 HTTP/1.1"], f"with {options}")
        host.stop()


@test("inetd: the line goes to syslog")
def _():
    syslog = mbspace.Syslog()
    where = ("127.0.0.1", mbtest.free_port())
    host = mbhosts.Inetd([(f"{where[0]}:{where[1]}", "tcp", f"--access-log {HTTP}")])
    try:
        mbtest.wait_listening(where)
        ask(where)
        check('"GET /404 HTTP/1.1" 404 0 "-" "-"' in syslog.find("GET /404"), "the line")
    finally:
        host.stop()
        syslog.stop()


@test("a user manager: the line is in the journal, with priority info; with --log-format=journal it has fields")
def _():
    journal = mbspace.Journal()
    manager = mbhosts.UserManager()
    try:
        where = ("127.0.0.1", mbtest.free_port())
        unit = f"mb@{where[1]}.socket"
        for more, path in (("", "/plain"), (" --log-format=journal", "/with")):
            manager.drop_in("mb@.service", f"[Service]\nExecStart=\nExecStart={HANDLE} --access-log{more} {HTTP}\n")
            manager.start(unit)
            mbtest.wait_listening(where)
            with mbtest.Client(where) as client:
                port = client.sock.getsockname()[1]
                client.send(get(path + "?\\x", b"User-Agent: test/1", b"Referer: \xff", method="POST"))
                client.finish()
                client.end()
            entry = journal.find(f'"POST {path}')
            equal(fields(entry["MESSAGE"]), ("127.0.0.1", f"POST {path}?\\x5cx HTTP/1.1", "200", "6", "\\xff", "test/1"), "the line")
            equal((entry["PRIORITY"], entry["SYSLOG_IDENTIFIER"]), ("6", "mb-handle"), "priority and name")
            if more:
                want = {"MB_PEER": "127.0.0.1", "MB_PEER_PORT": str(port), "MB_METHOD": "POST", "MB_TARGET": f"{path}?\\x5cx",
                        "MB_PROTOCOL": "HTTP/1.1", "MB_STATUS": "200", "MB_BYTES_OUT": "6", "MB_BYTES_IN": "0", "MB_HOST": "a.example",
                        "MB_REFERER": "\\xff", "MB_USER_AGENT": "test/1", "_TRANSPORT": "journal"}
                equal({name: entry.get(name) for name in want}, want, "fields")
                check(0 < int(entry["MB_DURATION_USEC"]) < 60000000, "the duration")
            else:
                equal((entry["_TRANSPORT"], entry.get("MB_METHOD")), ("stdout", None), "no fields")
            manager.stop_unit(unit)
        longest = get("/?" + "\\" * 60000, b"Referer: " + b'"' * 900, b"User-Agent: " + b'"' * 900)
        equal(Served(tcp_pair(), "--access-log", "--log-format=journal", HTTP, send=longest).lines, [], "the output")
        entry = journal.find("GET /?\\x5c\\x5c")
        check(entry["MB_TARGET"].endswith("\\x5c...") and len(entry["MB_TARGET"]) <= 2048, "the longest line fits")
    finally:
        manager.stop()
        journal.stop()
    served = Served(tcp_pair(), "--access-log=json", "--log-format=journal", HTTP, send=get("/404"))
    equal(json.loads(served.lines[0])["status"], 404, "without a journal: the line")


mbtest.main()
