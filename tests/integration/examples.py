#!/usr/bin/python3
"""Each script of docs/examples, and what is said of it: replays of right and wrong input, byte for byte, and connections
as the units would hand them over. An example without a test here fails."""

import datetime
import glob
import os
import re
import socket
import sys
import threading

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhttp
import mbtest
from mbtest import HANDLE, Child, check, equal, tcp_pair, test, unix_pair

EXAMPLES = os.path.join(mbtest.SRCDIR, "docs", "examples")
# What an example answers depends on nothing in the environment but for this, which each test sets by itself.
ENV = {name: value for name, value in os.environ.items() if name not in ("XDG_RUNTIME_DIR", "MB_SCRIPT", "TZ")}
ENV["STATE_DIRECTORY"] = mbtest.tmp("state", "x")[:-2]  # where an example keeps something
TESTED = {"daytime", "echo", "finger", "hello", "lua-http-hello", "lua-http2", "luasocket-echo", "proxy", "tarantool-echo", "webapp", "websocketd"}
SERVICES = {"board", "chat", "counter", "rest", "site", "webhook"}  # web_services.py, web_chat.py and board.py test them
# The arguments of those that do not load without.
ARGS = {"site": [mbtest.TMP], "webhook": [mbtest.write_file(mbtest.tmp("key"), "key"), mbtest.TMP]}


def example(name):
    return os.path.join(EXAMPLES, name + ".lua")


def run(*args, data=b"", env=None):
    """Exit status, output and log."""
    done = mbtest.replay(*args, stdin=data, env={**ENV, **(env or {})})
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
    equal({os.path.basename(path)[: -len(".lua")] for path in glob.glob(EXAMPLES + "/*.lua")}, TESTED | SERVICES, "examples")
    for name, want in (
        ("board", ["1 any connection"]),
        ("daytime", ["1 tcp [::]:13", "2 tcp [::]:1313"]),
        ("echo", ["1 tcp [::]:7", "2 tcp [::]:7007", "3 local /run/mb/echo.sock"]),
        ("finger", ["1 tcp [::]:79", "2 tcp [::]:7979"]),
        ("hello", ["1 any connection"]),
        ("lua-http-hello", ["1 any connection"]),
        ("luasocket-echo", ["1 tcp [::]:7", "2 tcp [::]:7007"]),
        ("proxy", ["1 any connection"]),
        ("webapp", ["1 any connection"]),
        ("websocketd", ["1 any connection"]),
        *((name, ["1 any connection"]) for name in sorted(SERVICES)),
    ):
        status, out, log = run("--check", example(name), *ARGS.get(name, ()))
        lines = mbtest.without_sandboxes(out.decode()).splitlines()
        equal((status, lines, log), (0, want, ""), f"--check {name}.lua")


def code_of(path):
    """The text of a script without its comments."""
    return re.sub(r"--.*", "", mbtest.read_file(path))


@test("each script of docs/examples and docs/deploy that calls listen{} declares a sandbox; others speak of --sandbox=strict")
def _():
    paths = [path for room in ("examples", "deploy") for path in glob.glob(f"{mbtest.SRCDIR}/docs/{room}/*.lua")]
    check(len(paths) > len(TESTED), f"scripts: {paths}")
    for path in paths:
        if not re.search(r"^listen\b", code_of(path), re.MULTILINE):
            check("--sandbox=strict" in mbtest.read_file(path), f"{path} speaks of --sandbox=strict")
            continue
        check(re.search(r"\bsandbox = ", code_of(path)), f"{path} declares a sandbox")
        status, out, log = run("--check", path, *ARGS.get(os.path.basename(path)[:-4], ()))
        shown = [line for line in out.decode().splitlines() if "sandbox:" in line]
        check(shown and all(line.endswith("; nothing else") for line in shown), f"--check {path}: {out} {log}")
        equal((status, log), (0, ""), f"status and log of --check {path}")


@test("hello, lua-http-hello, forwarded, webapp: they answer with --sandbox=strict; webapp's download is refused")
def _():
    get = "GET {} HTTP/1.1\r\nHost: a\r\n\r\n".format
    deployed = os.path.join(mbtest.SRCDIR, "docs", "deploy", "forwarded.lua")
    for path in (example("hello"), example("lua-http-hello"), example("webapp"), deployed):
        status, out, log = run("--sandbox=strict", path, data=get("/").encode())
        equal((status, log), (0, ""), f"status and log of {path}")
        check(re.match(rb"HTTP/1\.[01] 200 OK\r\n", out), f"answer of {path}: {out}")
    for target in ("/events", "/style.css"):
        check(b" 200 OK\r" in run("--sandbox=strict", example("webapp"), data=get(target).encode())[1], f"webapp: {target}")
    status, out, log = run("--sandbox=strict", example("webapp"), data=get("/download").encode())
    check(out.startswith(b"HTTP/1.1 404 "), f"/download: {out}")
    check("sandbox: read of " in log, f"log of /download: {log}")


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


@test("tarantool-echo: a program of its own, with --style=tarantool; over a connection: tarantool_serving.py")
def _():
    for data in (b"one\ntwo\n", b"one\n\nlast", b"\0\xff\r\n\0", b"x" * 200000 + b"\nend\n", b"\n", b""):
        equal(run("--style=tarantool", example("tarantool-echo"), data=data), (0, data, ""), "status, output, log")


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


@test("lua-http-hello: the path comes back, request after request; lua-http2: http_server_real.py, with lua-http")
def _():
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n" \
           b"connection: transfer-encoding\r\n\r\n"
    answers(
        "lua-http-hello",
        (b"GET /Ann HTTP/1.1\r\nHost: x\r\n\r\n" * 2, (head + b"10\r\nHello from /Ann\n\r\n0\r\n\r\n") * 2),
    )


@test("luasocket-echo: whole lines come back, without their CRs; the rest does not; over TCP too")
def _():
    answers(
        "luasocket-echo",
        (b"one\r\ntwo\n", b"one\ntwo\n"), (b"one\n\nlast", b"one\n\n"), (b"", b""),
        (b"x" * 200000 + b"\nend\n", b"x" * 200000 + b"\nend\n"),
    )
    serves(tcp_pair(), "luasocket-echo", b"one\ntwo", b"one\n", "--listener", "2")


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


class Upstream:
    """A server of one connection: the test takes its end with take()."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(mbtest.DEADLINE)
        self.name = "127.0.0.1:%d" % self.listener.getsockname()[1]

    def take(self):
        return mbtest.Client(self.listener.accept()[0])


def nobody():
    """The name of a server that is not there."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % s.getsockname()[1]


class Proxy:
    """proxy.lua between a client and two servers."""

    def __init__(self, main, trial):
        self.client, conn = tcp_pair()
        self.log = mbtest.tmp("log-of-proxy")
        with open(self.log, "wb") as log, open("/dev/null", "r+b") as null, conn:
            argv = [HANDLE, example("proxy"), main, trial]
            self.child = Child(argv, {0: null, 1: null, 2: log, 3: conn}, listen_fds=1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.sock.close()
        self.child.kill()

    def ends(self, *lines):
        """It exits with 0 and has logged these lines, in any order."""
        equal(self.child.wait(), 0, f"exit status; log: {mbtest.read_file(self.log)!r}")
        equal(sorted(mbtest.read_file(self.log).splitlines()), sorted(lines), "log")


def receives(server, want):
    while len(server.buffer) < len(want):
        chunk = server.receive()
        check(chunk, f"the end after {mbtest.short(server.buffer)}, expected {mbtest.short(want)}")
        server.buffer += chunk
    equal(server.buffer, want, "what the server got")
    server.buffer = b""


@test("proxy: one client and two servers are served at once, whoever speaks first")
def _():
    a, b = Upstream(), Upstream()
    with Proxy(a.name, b.name) as proxy, a.take() as main, b.take() as trial:
        main.send("welcome\n")  # before the client has said anything
        equal(proxy.client.line(), "welcome", "greeting")
        for number, first, second in ((1, main, trial), (2, trial, main)):
            question = b"question %d\n" % number
            proxy.client.send(question)
            receives(main, question)
            receives(trial, question)
            first.send("answer\n")
            second.send("answer\n")
            equal(proxy.client.line(), "answer", "answer")
        trial.send("more from the trial, which the client must not see")
        proxy.client.finish()
        equal(main.end(), (b"", "eof"), "the client's end, at the main server")
        equal(trial.end(), (b"", "eof"), "the client's end, at the trial server")
        main.send("last\n")
        main.sock.close()
        equal(proxy.client.end(), (b"last\n", "eof"), "the rest of the answer")
        trial.sock.close()
        proxy.ends("from the trial server: 64 bytes")


@test("proxy: megabytes in all directions, none lost, doubled or mixed up, while one server is slow")
def _():
    data = bytes(range(256)) * 8192 + b"end"
    a, b = Upstream(), Upstream()
    with Proxy(a.name, b.name) as proxy, a.take() as main, b.take() as trial:
        got = {}

        def keep(name, end):
            got[name] = end.end()

        def answer_while_reading():
            sender = threading.Thread(target=lambda: (main.send(data[::-1]), main.finish()))
            sender.start()
            keep("main", main)
            sender.join()

        threads = [threading.Thread(target=answer_while_reading), threading.Thread(target=keep, args=("client", proxy.client))]
        for thread in threads:
            thread.start()
        # Small, but above a segment of the loopback's: below that the kernel sends a few bytes each time it probes.
        trial.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        sender = threading.Thread(target=lambda: (proxy.client.send(data), proxy.client.finish()))
        sender.start()
        threads[1].join()  # the whole answer has come, though the trial server has read nothing
        keep("trial", trial)
        sender.join()
        threads[0].join()
        trial.sock.close()
        for name, want in (("main", data), ("trial", data), ("client", data[::-1])):
            check(got[name] == (want, "eof"), f"{name} got {len(got[name][0])} bytes, then {got[name][1]}")
        proxy.ends("from the trial server: 0 bytes")


@test("proxy: without a trial server, or when it goes away, the client is served all the same")
def _():
    for goes in (False, True):
        a = Upstream()
        b = Upstream() if goes else None
        trial_name = b.name if b else nobody()
        with Proxy(a.name, trial_name) as proxy, a.take() as main:
            if b:
                b.take().reset()
            proxy.client.send("one\n")
            receives(main, b"one\n")
            main.send("answer\n")
            equal(proxy.client.line(), "answer", "answer")
            proxy.client.finish()
            main.sock.close()
            equal(proxy.client.end(), (b"", "eof"), "end of the answer")
            equal(proxy.child.wait(), 0, "exit status")
            # With its name when it has gone before it was known to be there.
            why = f"({trial_name}: )?Connection reset by peer" if b else trial_name + ": Connection refused"
            log = mbtest.read_file(proxy.log)
            check(re.search(f"^from the trial server: {why}$", log, re.MULTILINE), f"log {log!r}")


@test("proxy: half an answer, or none, is a reset for the client, and no failure of the service")
def _():
    trial = Upstream()
    with Proxy(nobody(), trial.name) as proxy:
        equal(proxy.client.end(), (b"", "reset"), "without a main server")  # before anything was sent
        equal(proxy.child.wait(), 0, "exit status")
        check(": Connection refused\n" in mbtest.read_file(proxy.log), f"log {mbtest.read_file(proxy.log)!r}")
    a, trial = Upstream(), Upstream()
    with Proxy(a.name, trial.name) as proxy, a.take() as main, trial.take():
        main.send("half\n")
        equal(proxy.client.line(), "half", "what came")
        main.reset()
        equal(proxy.client.end(), (b"", "reset"), "a main server that resets")
        proxy.ends("from the main server: Connection reset by peer")


@test("proxy: a name that is no HOST:PORT says what is expected; a replay is served as well")
def _():
    status, out, log = run(example("proxy"), "nonsense")
    equal((status, out), (70, b""), "status and output")
    check("expected HOST:PORT, got nonsense" in log, f"log {log!r}")
    a = Upstream()
    b = Upstream()
    results = []
    thread = threading.Thread(target=lambda: results.append(run(example("proxy"), a.name, b.name, data=b"question\n")))
    thread.start()
    with a.take() as main, b.take() as trial:
        for server in (main, trial):
            equal(server.end(), (b"question\n", "eof"), "what the server got")
        main.send("answer\n")
        main.sock.close()
        trial.sock.close()
        thread.join()
    equal(results[0], (0, b"answer\n", "from the trial server: 0 bytes\n"), "status, output and log")


def webapp(target, *headers, method="GET", body=None):
    """The response of webapp.lua to one request."""
    status, out, log = run(example("webapp"), data=mbhttp.request(target, method, body, headers))
    equal((status, log), (0, ""), f"status and log of webapp.lua for {method} {target} {headers}")
    return mbhttp.Captured(out).response(method)


@test("webapp: what clients send is shown as text, and a cookie counts only if it is a number we have sent")
def _():
    page = webapp("/?name=%3Cscript%3E%22%27%26%7Bvisits%7D")
    check("<h1>Hello, &lt;script&gt;&quot;&#39;&amp;{visits}!</h1>" in page.text(), page.text())
    check('value="&lt;script&gt;&quot;&#39;&amp;{visits}"' in page.text(), page.text())
    for visits, want in (
        ("41", 42),
        ("999999999", 1000000000),
        ("9" * 10, 1),
        ("1e3", 1),
        ("-1", 1),
        ("0x10", 1),
        ("", 1),
        ("1 2", 1),
        ("%31", 1),
    ):
        page = webapp("/", f"Cookie: a=b; visits={visits}")
        check(f"You have been here {want} times." in page.text(), f"{visits!r}: {page.text()}")
        want_cookie = f"visits={want}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"
        equal(page.value("Set-Cookie"), want_cookie, f"cookie after {visits!r}")


@test("webapp: files of a form, of which fields, unnamed files and bodies of other kinds are none")
def _():
    form = ["Content-Type: multipart/form-data; boundary=Bound-ary"]
    parts = [
        ('name="files"; filename="<i>\xfc.txt"', "x/<y>", "12345"),
        ('name="note"', None, "x" * 100000),
        ('name="other"; filename="b"', None, ""),
        ('name="files"; filename=""', "application/octet-stream", ""),
    ]
    page = webapp("/upload", *form, method="POST", body=mbhttp.multipart(parts))
    rows = "".join(
        f'<tr class="file"><td>{name}</td><td>{kind}</td><td>{size}</td></tr>\n'
        for name, kind, size in (("&lt;i&gt;\xfc.txt", "x/&lt;y&gt;", 5), ("b", "not given", 0))
    )
    check("<h1>2 files</h1>" in page.text() and rows in page.text() and page.text().count("<td>") == 6, page.text())
    for headers in ([], ["Content-Type: application/x-www-form-urlencoded"]):
        equal(webapp("/upload", *headers, method="POST", body=b"a=b").status, 415, f"{headers}")
    equal(webapp("/upload", *form, method="POST", body=b"--Bound-ary\r\n").status, 400, "a form that ends early")
    equal(webapp("/upload", method="PUT", body=b"x" * 70000).body, b"70000 bytes\n", "PUT")


@test("webapp: events behind the last one, headers only for HEAD, and other paths and methods than there are")
def _():
    for last, status in (("4", 200), ("5", 204), ("9" * 30, 204)):
        equal(webapp("/events", f"Last-Event-ID: {last}").status, status, f"Last-Event-ID: {last}")
    for target, status in (("/events", 200), ("/download", 200), ("/", 200), ("/upload", 405), ("/../webapp.lua", 404)):
        equal(webapp(target, method="HEAD").status, status, f"HEAD {target}")
    equal(webapp("*", method="OPTIONS").status, 404, "OPTIONS *")
    equal(webapp("/download", method="POST", body=b"").value("Allow"), "GET, HEAD", "Allow")


mbtest.main()
