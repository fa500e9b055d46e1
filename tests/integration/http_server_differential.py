#!/usr/bin/python3
"""The same server program on the real lua-http and on mb.http_server, over real sockets: what the client receives, byte
for byte, how the connection stands then, and what each call has returned. Where ours differs on purpose, a case says
what it gives; mb.http_server(3) has the table."""

import concurrent.futures
import os
import re
import socket
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import HANDLE, Client, check, equal, free_port, test, until

LUA = mbtest.need("lua5.3")
DEBIAN = {"LUA_PATH": "/usr/share/lua/5.3/?.lua;/usr/share/lua/5.2/?.lua;/usr/share/lua/5.2/?/init.lua;;"}
if subprocess.run([LUA, "-e", "require 'http.server'"], env=DEBIAN, check=False, capture_output=True).returncode:
    mbtest.bail("Debian's lua-http missing")
PROGRAM = os.path.join(mbtest.SRCDIR, "tests", "integration", "scripts", "http_server.lua")

# How long a client waits for more, behind what has come, before the connection counts as open.
QUIET = 0.25


class Pause:
    """In a list of what a client sends: until the program has written this to its report."""

    def __init__(self, text):
        self.text = text


class Original:
    """The program on the real lua-http, with a listener of its own."""

    def __init__(self):
        self.report = mbtest.tmp("original", "report")
        mbtest.write_file(self.report, "")
        port = free_port()
        self.process = mbtest.Process([LUA, PROGRAM, str(port), self.report], "lua5.3", env={**os.environ, **DEBIAN})
        self.where = ("127.0.0.1", port)
        until(lambda: "listening" in mbtest.read_file(self.report), "the original listens")

    def connect(self):
        return Client(self.where)

    def stop(self):
        until(self.is_idle, "the original's handlers have returned")
        self.process.stop()

    def is_idle(self):
        text = mbtest.read_file(self.report)
        if self.process.popen.poll() is not None:
            return True  # some of what clients send ends it
        return text.count("begin\n") <= text.count("done\n") + text.count('onerror: "onstream"')


class Ours:
    """The program with --style=lua-http."""

    def __init__(self):
        self.report = mbtest.tmp("ours", "report")
        mbtest.write_file(self.report, "")
        self.child = None
        self.log = mbtest.tmp("ours", "log")

    def connect(self):
        client, conn = mbtest.tcp_pair()
        with conn, open(self.log, "ab") as log:
            port = str(conn.getsockname()[1])
            argv = [HANDLE, "--log-level=warning", "--style=lua-http", PROGRAM, port, self.report]
            self.child = mbtest.Child(argv, {0: conn, 1: conn, 2: log})
        return client

    def stop(self):
        equal(self.child.wait(), 0, f"exit status; log: {mbtest.read_file(self.log)}")


def exchange(server, parts):
    """What a client receives that sends the parts, and whether the connection is "open" or at its end."""
    with server.connect() as client:
        for part in parts:
            if part is None:
                client.finish()
            elif isinstance(part, Pause):
                until(lambda text=part.text: text in mbtest.read_file(server.report), part.text)
            else:
                client.send(part)
        got, how = b"", "open"
        try:
            while data := client.sock.recv(65536):
                got += data
                client.sock.settimeout(QUIET)
            how = "eof"
        except ConnectionResetError:
            how = "reset"
        except TimeoutError:
            pass
    return got, how


def results(server):
    """What the program has reported, without places in the source, and without nils that end a list."""
    text = mbtest.read_file(server.report)
    text = re.sub(r"(?m)^(?:listening|begin|done)\n", "", text)
    text = re.sub(r'"(?:/usr/share/lua/5.3/http/\w+\.lua|[^" ]*http_server\.lua):\d+: ', '"', text)
    text = re.sub(r"(?m)(: |, )nil(?:, nil)*$", "", text)
    text = re.sub(r"\b(?:userdata|thread|table|function): 0x[0-9a-f]+", "ADDRESS", text)
    text = re.sub(r"(peername|localname): (.*), \d+", r"\1: \2, PORT", text)
    return text.splitlines()


def run(server_class, parts):
    server = server_class()
    try:
        got = exchange(server, parts)
    finally:
        server.stop()
    return got, results(server)


def both(name, parts, ours=None, reports=None):
    """A test: both give the same; or ours gives something else. ours: (bytes, how); reports: lines."""
    if not isinstance(parts, list):
        parts = [parts]

    @test(name)
    def _():
        with concurrent.futures.ThreadPoolExecutor() as pool:
            original = pool.submit(run, Original, parts)
            got, lines = run(Ours, parts)
            original_got, original_lines = original.result()
        equal(got, ours or original_got, "what the client receives")
        equal(lines, reports or original_lines, "what the calls return")
        if ours or reports:
            check((got, lines) != (original_got, original_lines), "lua-http does the same: that is no difference")


def get(path, version="1.1", method="GET", fields=""):
    host = "Host: x\r\n" if version != "1.0" else ""
    return f"{method} {path} HTTP/{version}\r\n{host}{fields}\r\n".encode()


def post(path, body, fields="", pieces=False):
    """A request with a body; pieces: chunked."""
    if pieces:
        framed = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in body) + b"0\r\n\r\n"
        return get(path, method="POST", fields=f"Transfer-Encoding: chunked\r\n{fields}") + framed
    return get(path, method="POST", fields=f"Content-Length: {len(body)}\r\n{fields}") + body


def refused(status, reason):
    """Our response to a request that is none, and the end of the connection."""
    body = f"{status}: {reason}\n"
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {len(body)}\r\n"
        f"connection: close\r\n\r\n{body}".encode(),
        "eof",
    )


CHUNKED = b"transfer-encoding: chunked\r\nconnection: transfer-encoding\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"

# --- Responses ---

for method in ("GET", "HEAD"):
    for version in ("1.1", "1.0"):
        for fields in ("", "Connection: close\r\n", "Connection: keep-alive\r\n", "Connection: foo, Close\r\n"):
            for path in ("/hello", "/empty", "/none", "/304", "/fields", "/notfound"):
                name = f"{method} {path}, HTTP/{version}, {fields.strip() or 'no Connection'}"
                both(name, get(path, version, method, fields))
for path in ("/length", "/string", "/file", "/part-of-file", "/pieces", "/205", "/unassigned", "/connection",
             "/keep-alive", "/close", "/coding", "/repeated-length", "/incomplete", "/incomplete-length", "/throws",
             "/throws-after-head", "/throws-in-body", "/twice", "/trailers", "/early-hints", "/continue", "/shutdown", "/after-shutdown",
             "/after-end", "/names"):  # fmt: skip
    both(f"GET {path}", get(path))
for path in ("/length", "/string", "/pieces", "/close", "/names"):
    both(f"GET {path}, HTTP/1.0", get(path, "1.0"))
    both(f"GET {path}, Connection: close", get(path, fields="Connection: close\r\n"))

for count in ("-1", "0.5", "0/0", "'x'"):
    both(f"a file's count that is none: {count}", get(f"/count={count}"))
both("an object that has a method read in place of a file", get("/object"))
both("a 101 for an HTTP/1.0 client is an error", get("/switch", "1.0"))
both("GET /upgrade-is-told", get("/upgrade-is-told", fields="Upgrade: foo\r\nConnection: upgrade\r\n"))

# --- Request bodies ---

for path in ("/hello", "/body", "/chunks", "/chars", "/until", "/unget", "/to-file", "/save", "/state", "/head-twice"):
    both(f"POST {path} with Content-Length", post(path, b"abcdefghijklmnopqrstuvwxyz"))
    both(f"POST {path}, chunked", post(path, [b"abcdefghij", b"klmnopqrstuvwxyz"], pieces=True))
    both(f"POST {path}, empty", post(path, b""))
    both(f"POST {path} in two parts, and another request", [
        get(path, method="POST", fields="Content-Length: 10\r\n"), b"abcde", b"fghij" + get("/length"),
    ] if path != "/hello" else [post(path, b"abcde") + get("/length")])  # fmt: skip
both("three requests at once", get("/hello") + get("/length") + get("/none"))
both("bodies that nobody reads, and another request behind them",
     post("/hello", b"abc") + post("/hello", [b"a"], pieces=True) + get("/length"))  # fmt: skip
both("the client ends its output behind the request", [get("/hello"), None])
both("the client ends without a request", [None])
both("Expect: 100-continue, and the handler sends 100", [
    get("/continue", method="POST", fields="Content-Length: 5\r\nExpect: 100-continue\r\n"), Pause("continue"), b"abcde",
])  # fmt: skip
both("an absolute target", get("http://x/hello"))
both("OPTIONS *", get("*", method="OPTIONS"))
both("chunk extensions and trailers", get("/body", method="POST", fields="Transfer-Encoding: chunked\r\n")
     + b"3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n")  # fmt: skip
both("misuse is an error before anything is sent", get("/misuse-same"))

# --- Where ours differs on purpose: the table of mb.http_server(3) ---

both("a HEAD response has no body", get("/string", method="HEAD"), (OK + CHUNKED, "open"))
both("nor when its length is known", get("/length", method="HEAD"), (OK + b"content-length: 4\r\n\r\n", "open"))
both("a 204 has no Content-Length", get("/204"), (b"HTTP/1.1 204 No Content\r\n\r\n", "open"))
both("a 204 has no body", get("/204-body"), (b"HTTP/1.1 204 No Content\r\n\r\n", "open"),
     ['write_headers: true, true', 'write_chunk: false, "write_chunk: a response of this status has no body"'])  # fmt: skip
both("names of fields are compared without regard to case", get("/upper-case"),
     (OK + b"Content-Type: x\r\ncontent-length: 3\r\n\r\nabc", "open"))  # fmt: skip
both("of a head that is refused nothing is sent", get("/line-end"), (UNAVAILABLE, "open"),
     ['write_headers: false, "write_headers: header \\"x-a\\": the value of a header field must not hold line ends or '
      'other control characters"'])  # fmt: skip
both("an option of Connection that is none is refused", get("/bad-connection"), None,
     ['write_headers: false, "write_headers: header \\"connection\\": invalid connection option"',
      'write_chunk: false, "cannot write body before headers"'])  # fmt: skip
both("a head without a status is refused", get("/no-status"), (UNAVAILABLE, "open"),
     ['write_headers: false, "write_headers: header \\":status\\" is missing"'])  # fmt: skip
both("a body of the wrong length is refused before it is sent", get("/too-short"),
     (OK + b"content-length: 8\r\n\r\n", "eof"),
     ['write_headers: true, true',
      'write_chunk: false, "invalid content-length: 4 bytes of body, but 8 were announced"'])  # fmt: skip
both("a 100 for an HTTP/1.0 client is not sent", get("/continue", "1.0"),
     (b"HTTP/1.0 200 OK\r\nconnection: close\r\n\r\ngot", "eof"),
     ["write_continue: true", 'get_body_as_string: ""'])  # fmt: skip
for name, fields, why in (
    ("has not asked for it", "", "the client has not sent Upgrade"),
    ("has asked for it without Connection", "Upgrade: foo\r\n", "the client has sent Upgrade without Connection: upgrade"),
    ("has asked for another protocol", "Upgrade: bar\r\nConnection: upgrade\r\n",
     "the client has not offered this protocol in Upgrade"),
    ("has sent a body that was not read", "Upgrade: foo\r\nConnection: upgrade\r\nContent-Length: 9\r\n",
     "the request body was not read to its end"),
):  # fmt: skip
    both(f"a 101 is an error where the client {name}", get("/upgrade-asked", fields=fields),
         (UNAVAILABLE, "open"), [f'onerror: "onstream", "write_headers: a 101 cannot be sent: {why}"'])  # fmt: skip
both("a 101 that names no protocol is an error", get("/switch", fields="Upgrade: foo\r\nConnection: upgrade\r\n"),
     (UNAVAILABLE, "open"), ["good: false", 'onerror: "onstream", "ends"'])  # fmt: skip
both("a client that waits for a 100 is told when the body is read", [
    get("/body", method="POST", fields="Content-Length: 5\r\nExpect: 100-continue\r\n"), Pause("reads"), b"abcde",
], (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + CHUNKED + b"3\r\ngot\r\n0\r\n\r\n", "open"))  # fmt: skip
both("a client that was not told is told that the connection ends", get("/hello", method="POST",
     fields="Content-Length: 5\r\nExpect: 100-continue\r\n"),
     (OK + b"content-type: text/plain\r\nconnection: close\r\n\r\nHello world!\n", "eof"))  # fmt: skip
both("a body that comes late is waited for, and the next request served", [
    get("/hello", method="POST", fields="Content-Length: 3\r\n"), Pause("write_chunk"), b"abc" + get("/length"),
], (OK + b"content-type: text/plain\r\n" + CHUNKED + b"d\r\nHello world!\n\r\n0\r\n\r\n" + OK
    + b"content-length: 4\r\n\r\nbody", "open"), ["write_headers: true", "write_chunk: true", "write_headers: true",
    "write_chunk: true"])  # fmt: skip
both("a body that ends early is an error", [get("/chars", method="POST", fields="Content-Length: 5\r\n") + b"abc", None],
     (OK + b"content-length: 0\r\nconnection: close\r\n\r\n", "eof"),
     ["reads", 'get_body_chars: "abc"'] + ['get_body_chars: nil, "read: the request body ended early", 84'] * 3)  # fmt: skip
both("what was read before a timeout is not lost", [
    get("/timeout", method="POST", fields="Content-Length: 26\r\n") + b"abcdefghij", Pause("110"), b"klmnopqrstuvwxyz",
], None, ["reads", 'get_body_as_string: nil, "read: Connection timed out", 110',
          'get_body_as_string: "abcdefghijklmnopqrstuvwxyz"'])  # fmt: skip
both("trailers are not kept", get("/head-twice", method="POST", fields="Transfer-Encoding: chunked\r\n")
     + b"3\r\nabc\r\n0\r\nX-T: y\r\n\r\n", None,
     ["reads", 'get_body_as_string: "abc"', "get_headers: http.headers{0 headers}"])  # fmt: skip

NO_HEAD = [
    ("no Host", b"GET /hello HTTP/1.1\r\n\r\n", "400 Bad Request", "no Host field"),
    ("two Hosts", b"GET /hello HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400 Bad Request", "more than one Host field"),
    ("no method", b"\x01\x02\r\n\r\n", "400 Bad Request", "no method begins like this"),
    ("no version", b"GET /\r\n\r\n", "400 Bad Request", "request line without a version"),
    ("a folded line", get("/hello", fields="X: y\r\n z\r\n"), "400 Bad Request", "folded field line"),
    ("a length that is none", get("/body", method="POST", fields="Content-Length: -5\r\n"), "400 Bad Request",
     "Content-Length that is no number"),
    ("two lengths", get("/body", method="POST", fields="Content-Length: 5\r\nContent-Length: 6\r\n") + b"abcdef",
     "400 Bad Request", "more than one Content-Length"),
    ("a length beside chunked", get("/body", method="POST", fields="Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")
     + b"0\r\n\r\n", "400 Bad Request", "Content-Length beside Transfer-Encoding"),
    ("another coding", get("/body", method="POST", fields="Transfer-Encoding: gzip, chunked\r\n") + b"0\r\n\r\n",
     "501 Not Implemented", "Transfer-Encoding other than chunked"),
    ("two Content-Types", get("/hello", fields="Content-Type: a/b\r\nContent-Type: c/d\r\n"), "400 Bad Request",
     "more than one Content-Type field"),
    ("CONNECT", get("x:80", method="CONNECT"), "501 Not Implemented", "CONNECT is not supported"),
    ("a target that is none", get("foo"), "400 Bad Request", "request target that is neither a path nor an http URL"),
    ("a path that is none", get("/a|b"), "400 Bad Request", "bad character in the path of the request target"),
    ("an https URL without TLS", get("https://x/hello"), "421 Misdirected Request",
     "an https URL on a connection without TLS"),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 HTTP Version Not Supported", "neither HTTP/1.0 nor HTTP/1.1"),
]  # fmt: skip
for name, request, status, reason in NO_HEAD:
    both(f"refused: {name}", request, refused(status, reason),
         [f'onerror: "get_next_incoming_stream", "{reason}", 84'])  # fmt: skip
both("refused: a head that ends early", [b"GET /hello HTTP/1.1\r\nHo", None],
     refused("400 Bad Request", "the request head ended early"),
     ['onerror: "get_next_incoming_stream", "the request head ended early", 84'])  # fmt: skip
both("an empty line before the request is passed over", b"\r\n" + get("/length"))
both("several are, too", b"\r\n\r\n\r\n" + get("/length"),
     (OK + b"content-length: 4\r\n\r\nbody", "open"), ["write_headers: true", "write_chunk: true"])  # fmt: skip
both("lines may end with LF alone", b"GET /length HTTP/1.1\nHost: x\n\n",
     (OK + b"content-length: 4\r\n\r\nbody", "open"), ["write_headers: true", "write_chunk: true"])  # fmt: skip
both("a long field is taken", get("/length", fields=f"X: {'a' * 5000}\r\n"),
     (OK + b"content-length: 4\r\n\r\nbody", "open"), ["write_headers: true", "write_chunk: true"])  # fmt: skip

# --- Headers objects ---


@test("headers objects: every method, its results and errors")
def _():
    program = os.path.join(mbtest.SRCDIR, "tests", "integration", "scripts", "http_headers.lua")

    def shown(argv, env=None):
        text = mbtest.output_of(*argv, env={**os.environ, **(env or {})})
        text = re.sub(r"(?m)^mb-handle: ", "", text)
        return re.sub(r"[^\"\s]*\w+\.lua:\d+: ", "", text)

    original = shown([LUA, program, "http.headers"], DEBIAN)
    script = mbtest.script(f'return function() arg = {{"mb.http_server.headers"}} dofile("{program}") end')
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as conn:
            log = mbtest.tmp("headers.log")
            with open(log, "wb") as out:
                child = mbtest.Child([HANDLE, "--log-level=notice", script], {0: conn, 1: conn, 2: out})
                equal(child.wait(), 0, "exit status")
    ours = re.sub(r"(?m)^mb-handle: ", "", mbtest.read_file(log))
    ours = re.sub(r"[^\"\s]*\w+\.lua:\d+: ", "", ours).rstrip("\n")
    check('"set-cookie", "x", false' in original, f"the original has run: {original}")
    for a, b in zip(ours.splitlines(), original.splitlines()):
        equal(a, b, "what a call returns")
    equal(len(ours.splitlines()), len(original.splitlines()), "lines")


mbtest.main()
