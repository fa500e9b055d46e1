#!/usr/bin/python3
"""mb.http_server: lua-http's server on the connection that is there, and on listeners of its own; what goes wrong; the
examples of lua-http's documentation, unmodified, with --style=lua-http."""

import os
import re
import resource
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbspace
import mbtest
from mbtest import HANDLE, SLOWNESS, Child, Client, Serving, check, equal, free_port, read_file, script, tcp_pair, test, unix_pair, until

mbtest.need("inetd")
mbtest.need("curl")
mbspace.enter()

PAGE = os.path.join(mbtest.SRCDIR, "docs", "mb.http_server.3")
EXAMPLE = os.path.join(mbtest.SRCDIR, "docs", "examples", "lua-http-hello.lua")
LUA_PATH = "/usr/share/lua/5.3/?.lua;/usr/share/lua/5.2/?.lua;/usr/share/lua/5.2/?/init.lua;;"
GET = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"

# `ok(fields)` makes a head; the body of a script defines onstream, and may set options.
SCRIPT = """
local http_server = require "mb.http_server"
http_server.install()
local http_headers = require "http.headers"
local options = {}
local function ok(fields)
  local headers = http_headers.new()
  headers:append(":status", "200")
  for name, value in pairs(fields or {}) do headers:append(name, value) end
  return headers
end
%s
return function(socket)
  options.onstream = onstream
  local server = require "http.server".wrap(socket, options)
  server:loop()
end
"""
HELLO = """
function onstream(_, stream)
  local request = stream:get_headers()
  assert(stream:write_headers(ok {["content-length"] = "3"}, false))
  assert(stream:write_chunk("hi\\n", true))
end
"""
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi\n"


class Handler(Serving):
    """mb-handle with a script on a connection; client is the other end, which has said something before."""

    def __init__(self, text, *args, pair=tcp_pair, env=None, path=None, said=b""):
        self.client, conn = pair()
        self.client.send(said)
        with conn:
            super().__init__(conn, *args, *(path or [script(text)]), env=env)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.sock.close()

    def text(self):
        return mbtest.without_ends(self.log())

    def ended(self, status=0):
        equal(self.wait(), status, f"exit status; log: {self.text()!r}")
        return self.text()


def run(text, said, *args, status=0, finish=False, **how):
    """What the client receives that sends this, how that ends, and the log."""
    with Handler(text, *args, said=said, **how) as h:
        if finish:
            h.client.finish()
        data, end = h.client.end()
        return data, end, h.ended(status)


def unchunked(data):
    body = b""
    while (size := int(data.partition(b"\r\n")[0], 16)) > 0:
        data = data.partition(b"\r\n")[2]
        body, data = body + data[:size], data[size + 2 :]
    return body


CLOSE = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

# --- One connection ---


@test("wrap: loop() serves request after request, and returns when the client is done; nothing is logged")
def _():
    for pair in (tcp_pair, lambda: unix_pair(mbtest.tmp(f"s{time.monotonic_ns()}"))):
        with Handler(SCRIPT % HELLO, "--log-level=info", pair=pair) as h:
            for _ in range(3):
                h.client.send(GET)
                got = b""
                while len(got) < len(ANSWER):
                    got += h.client.receive()
                equal(got, ANSWER, "response")
            h.client.finish()
            equal(h.client.end(), (b"", "eof"), "end")
            equal(h.ended(), "", "log")


@test("Connection: close ends the connection at once, and so does HTTP/1.0")
def _():
    got, end, _ = run(SCRIPT % HELLO, CLOSE)
    equal((got, end), (ANSWER.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), "eof"), "1.1")
    got, end, _ = run(SCRIPT % HELLO, b"GET / HTTP/1.0\r\n\r\n")
    equal(got.startswith(b"HTTP/1.0 200 OK\r\n"), True, "1.0")


@test("the example of docs/examples answers, and HEAD without a body")
def _():
    got, _, log = run(None, CLOSE, path=[EXAMPLE])
    equal(got.rpartition(b"\r\n\r\n")[2], b"Hello from /x\n", "GET")
    got, _, log = run(None, CLOSE.replace(b"GET", b"HEAD"), path=[EXAMPLE])
    equal((got.rpartition(b"\r\n\r\n")[2], log), (b"", ""), "HEAD")


@test("a replay: the request from a file, the response to another")
def _():
    requests = mbtest.tmp("requests")
    with open(requests, "wb") as f:
        f.write(GET + GET)
    text = "function onstream(_, stream) print(stream:localname(), stream:peername()) stream:get_headers() " \
           "stream:write_headers(ok(), true) end"
    with open(requests, "rb") as requests, open(mbtest.tmp("out"), "wb") as out, open(mbtest.tmp("err"), "wb") as err:
        child = Child([HANDLE, script(SCRIPT % text)], {0: requests, 1: out, 2: err})
        equal(child.wait(), 0, "exit status")
    equal(read_file(mbtest.tmp("out")), "HTTP/1.1 200 OK\ncontent-length: 0\n\n" * 2, "output")
    equal(read_file(mbtest.tmp("err")).count("0\t0"), 2, "there are no addresses")


@test("a client that sends everything before it reads is served, however much it is")
def _():
    size = 24 * 1024 * 1024
    text = """
    function onstream(_, stream)
      stream:get_headers()
      assert(stream:write_headers(ok(), false))
      for chunk in stream:each_chunk() do assert(stream:write_chunk(chunk)) end
      assert(stream:write_chunk("", true))
    end"""
    with Handler(SCRIPT % text) as h:
        h.client.send(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size)
        block = bytes(range(256)) * 4096
        for _ in range(size // len(block)):
            h.client.send(block)
        got, _ = h.client.end()
        equal(got.partition(b"\r\n\r\n")[2] == block * (size // len(block)), True, "the body comes back")
        h.ended()


# --- What goes wrong ---


@test("a handler that throws: 503, status 70, and the log has the line")
def _():
    got, end, log = run(SCRIPT % "function onstream(_, stream)\n  error('boom')\nend", GET, status=70)
    equal((got, end), (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", "eof"), "response")
    check("boom" in log and "stack traceback" in log and "in GET /x (client 127.0.0.1)" in log, f"log: {log}")


@test("onerror of the script's own gets the error, and the connection goes on")
def _():
    text = """
    options.onerror = function(server, context, op, err) print("onerror", op, (err:gsub("^.*: ", "")), context) end
    function onstream(_, stream) error("boom") end"""
    got, _, log = run(SCRIPT % text, GET + GET, finish=True)
    equal(got.count(b"503"), 2, "responses")
    equal(log.count("onerror\tonstream\tboom\thttp.h1_stream{"), 2, f"calls, in {log}")


@test("an error handler that throws ends the script")
def _():
    text = "options.onerror = function() error('again') end function onstream() error('boom') end"
    got, _, log = run(SCRIPT % text, GET, status=70)
    equal(got.count(b"503"), 1, "responses")
    check("again" in log and "boom" not in log, log)


@test("a client that goes away is no failure, also when the script asserts that it does not")
def _():
    for text in (
        "stream:write_headers(ok(), false) while true do assert(stream:write_chunk(('x'):rep(100000))) end",
        "assert(stream:get_body_as_string())",
    ):
        text = f"function onstream(_, stream) stream:get_headers() print('begun') {text} end"
        with Handler(SCRIPT % text, "--log-level=info") as h:
            h.client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
            until(lambda h=h: "begun" in h.text(), "the handler runs")
            h.client.reset()
            log = h.ended().replace("begun\n", "")
            check(log.startswith("mb-handle: http_server: "), f"log: {log}")
            equal(log.count("\n"), 1, f"lines: {log}")


@test("a body that is wrong is 400 when the script does not answer itself")
def _():
    text = "function onstream(_, stream) stream:get_headers() assert(stream:get_body_as_string()) end"
    request = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    got, end, log = run(SCRIPT % text, request, "--log-level=info")
    check(got.startswith(b"HTTP/1.1 400 Bad Request\r\n") and end == "eof", f"response: {got}")
    check("http_server: read: bad chunk" in log or "http_server: read: " in log, f"log: {log}")


@test("a body that is wrong, and that the script does not read, or whose failure it passes over: the log says why, once")
def _():
    bad = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + GET
    line = "http_server: read: bad chunk size in POST /x (client 127.0.0.1)\n"
    got, end, log = run(SCRIPT % HELLO, bad, "--log-level=info")
    equal((got, end), (ANSWER, "eof"), "not read")
    check(log.endswith(line) and log.count("bad chunk") == 1, f"log {log!r}")
    reads = HELLO.replace("stream:get_headers()", "stream:get_headers() stream:get_body_as_string()")
    got, end, log = run(SCRIPT % reads, bad, "--log-level=info")
    equal((got, end), (ANSWER.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), "eof"), "passed over")
    check(log.endswith(line) and log.count("bad chunk") == 1, f"log {log!r}")
    throws = "function onstream(_, stream) stream:get_headers() assert(stream:get_body_as_string()) end"
    got, end, log = run(SCRIPT % throws, bad, "--log-level=info")
    check(log.endswith(line) and log.count("bad chunk") == 1, f"log {log!r}")
    equal(run(SCRIPT % HELLO, bad)[2], "", "the log at its default level")


@test("a HEAD that is refused before its head is complete gets no content")
def _():
    for said in (b"HEAD / HTTP/1.1\r\nHost: x\r\n", b"HEAD / HTTP/1.1\r\n\rX", b"HEAD"):
        got, end, _ = run(SCRIPT % HELLO, said, finish=True)
        check(got.startswith(b"HTTP/1.1 400 Bad Request\r\n") and end == "eof", f"response: {got}")
        check(b"content-length: " in got and got.endswith(b"\r\n\r\n"), f"content in {got}")


@test("TLS and HTTP/2 are refused with a line for the log that says what it is")
def _():
    hello = b"\x16\x03\x01\x00\x05hello"
    got, _, log = run(SCRIPT % HELLO, hello, "--log-level=info")
    equal(got, b"", "to TLS nothing is said that it would not understand")
    check("looks like TLS, which is not spoken here (mb.http_server(3)" in log, f"log: {log}")
    got, _, log = run(SCRIPT % HELLO, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "--log-level=info")
    check(got.startswith(b"HTTP/1.1 505 "), f"response: {got}")
    check("the client speaks HTTP/2 (mb.http_server(3)" in log, f"log: {log}")
    got, _, log = run(SCRIPT % HELLO, b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n" + GET, "--log-level=info")
    check(got.startswith(b"HTTP/1.1 400 ") and "--proxy-protocol" in log, f"log: {log}")
    got, _, log = run(SCRIPT % HELLO, b"\x01\r\n")
    equal(log, "", "by default a bad request is not logged")


@test("an idle client is let go: connection_setup_timeout, then intra_stream_timeout")
def _():
    text = SCRIPT % (HELLO + "options.connection_setup_timeout = 0.1 options.intra_stream_timeout = 0.2")
    with Handler(text) as h:
        equal(h.client.end(), (b"", "eof"), "nothing was said")
        h.ended()
    with Handler(text) as h:
        h.client.send(GET)
        equal(h.client.end(), (ANSWER, "eof"), "one request")
        equal(h.ended(), "", "log")


@test("a write to a client that takes nothing ends at its timeout, and what was queued still comes")
def _():
    text = """
    function onstream(_, stream)
      stream:get_headers()
      stream:write_headers(ok {["content-length"] = "20000003"}, false)
      print(stream:write_chunk(("x"):rep(20000000), false, 0.1))
      print(stream:write_chunk("end", true, 15))
    end"""
    with Handler(SCRIPT % text) as h:
        h.client.send(CLOSE)
        until(lambda: "\n" in h.text(), "the first write has ended")
        equal(h.text(), "nil\twrite: Connection timed out\t110\n", "its result")
        got, _ = h.client.end()
        equal(len(got.partition(b"\r\n\r\n")[2]), 20000003, "bytes of body")
        equal(h.ended().splitlines()[1], "true", "the second write")


@test("a client that takes nothing ends with its response: nothing more is waited for, and it does not look complete")
def _():
    text = """
    function onstream(_, stream)
      stream:write_headers(ok(), false)
      print(stream:write_chunk(("x"):rep(20000000), true, 0.1))
    end"""
    for request in (GET, CLOSE, b"GET / HTTP/1.0\r\n\r\n"):
        for pair in (tcp_pair, lambda: unix_pair(mbtest.tmp(f"s{time.monotonic_ns()}"))):
            with Handler(SCRIPT % text, pair=pair, said=request) as h:
                equal(h.ended(), "nil\twrite: Connection timed out\t110\n", "log")
                if pair == tcp_pair:
                    equal(h.client.end()[1], "reset", "end")


@test("a timeout of one request is not the fault of the next")
def _():
    text = """
    function onstream(_, stream)
      local head = stream:get_headers()
      if head:get(":method") == "GET" then error("boom") end
      print(stream:get_body_as_string(0.01))
      print(stream:get_body_as_string())
      stream:write_headers(ok(), true)
    end
    options.onerror = function() end"""
    with Handler(SCRIPT % text, said=CLOSE.replace(b"GET", b"POST").replace(b"close", b"x\r\nContent-Length: 2")) as h:
        until(lambda: "110" in h.text(), "the timeout")
        h.client.send(b"ab" + CLOSE)
        got = h.client.end()[0]
        check(b"HTTP/1.1 503 Service Unavailable\r\n" in got and b"408" not in got, f"responses: {got}")


POST = "POST /up HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n"
BODY = """
function onstream(_, stream)
  stream:get_headers()
  local body, message, number = stream:get_body_as_string()
  if not body then print(message, number) end
  if body then stream:write_headers(ok {["content-length"] = tostring(#body)}, false) stream:write_chunk(body, true) end
end
"""


@test("request_body_size_limit: a larger body is a 413, whether or not its length is known; 64 MiB by default")
def _():
    limit = "options.request_body_size_limit = 5 "
    chunks = "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
    for said in (POST % "Content-Length: 6" + "abcdef", POST % "Transfer-Encoding: chunked" + chunks):
        got, _, log = run(SCRIPT % (BODY + limit), said.encode(), "--log-level=notice", finish=True)
        check(got.startswith(b"HTTP/1.1 413 "), f"response: {got}")
        check("read: the request body is too large\t84" in log, f"the script learns of it: {log}")
        asserts = BODY.replace("body, message, number = stream:get_body_as_string()", "body = assert(stream:get_body_as_string())")
        got, _, log = run(SCRIPT % (asserts + limit), said.encode(), "--log-level=notice", finish=True)
        check(got.startswith(b"HTTP/1.1 413 "), f"response: {got}")
        check("too large in POST /up" in log and "traceback" not in log, f"it is no failure, and is logged: {log}")
    for said, options in (("Content-Length: 5", limit), ("Content-Length: 6", "options.request_body_size_limit = math.huge")):
        got, _, log = run(SCRIPT % (BODY + options), (POST % said + "abcdef").encode(), finish=True)
        check(got.startswith(b"HTTP/1.1 200 ") and b"abcde" in got, f"response: {got}")
    got, _, _ = run(SCRIPT % BODY, (POST % f"Content-Length: {(64 << 20) + 1}").encode(), finish=True)
    check(got.startswith(b"HTTP/1.1 413 "), f"response: {got}")


def trickle(h, data=b"x", seconds=5):
    """Sends a byte every 0.1 s until the connection ends. Returns what came until then, and when."""
    begin = time.monotonic()
    h.client.sock.settimeout(0.1)
    got = b""
    while time.monotonic() < begin + seconds * SLOWNESS:
        try:
            chunk = h.client.sock.recv(65536)
            got += chunk
            if not chunk:
                break
        except TimeoutError:
            try:
                h.client.send(data)
            except OSError:
                break
        except ConnectionResetError:
            break
    h.client.sock.settimeout(mbtest.DEADLINE)
    return got, time.monotonic() - begin


@test("response_timeout: a request that takes too long is a 408, or ends the connection when the response has begun")
def _():
    limit = " options.response_timeout = 0.6 options.minimum_input_rate = 0 "
    again = "repeat body, message, number = stream:get_body_as_string(0.2) until number ~= 110"
    tries = BODY.replace("= stream:get_body_as_string()", again)
    for body in (BODY, tries):
        with Handler(SCRIPT % (body + limit), "--log-level=notice", said=(POST % "Content-Length: 99").encode()) as h:
            got, seconds = trickle(h)
            check(got.startswith(b"HTTP/1.1 408 ") and 0.5 < seconds < 3 * SLOWNESS, f"response after {seconds} s: {got}")
            check("the response took more than 0.6 seconds (response_timeout)\t32" in h.ended(), f"log: {h.text()}")
    endless = "function onstream(_, stream) stream:get_headers() stream:write_headers(ok(), false) "
    for loop in ("while true do assert(stream:write_chunk(('x'):rep(65536), false)) end end",
                 "repeat local good = stream:write_chunk(('x'):rep(65536), false) until not good end"):
        for minor in "01":
            said = GET.replace(b"HTTP/1.1", b"HTTP/1." + minor.encode())
            with Handler(SCRIPT % (endless + loop + limit), "--log-level=notice", said=said) as h:
                begin = time.monotonic()
                equal(h.wait(), 0, f"exit status; log: {h.text()!r}")
                check(0.5 < time.monotonic() - begin < 3 * SLOWNESS, "the client takes nothing until then")
                got, end = h.client.end()
                whole = end == "eof" and (minor == "0" or got.endswith(b"\r\n0\r\n\r\n"))
                check(not whole, "half a response does not look whole")
    with Handler(SCRIPT % (HELLO + "options.response_timeout = 0.3"), said=GET) as h:
        for _ in range(3):
            lines = [h.client.line() for _ in range(4)]
            equal(lines, ["HTTP/1.1 200 OK\r", "content-length: 3\r", "\r", "hi"], "each response has a time of its own")
            time.sleep(0.2)
            h.client.send(GET)


@test("response_timeout is over with a 101")
def _():
    text = """
function onstream(_, stream)
  stream:get_headers()
  local head = require "http.headers".new()
  head:append(":status", "101") head:append("upgrade", "echo") head:append("connection", "upgrade")
  assert(stream:write_headers(head, false))
  print(stream.connection:wait("r", math.huge))
end
options.response_timeout = 0.2"""
    with Handler(SCRIPT % text, said=GET.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")) as h:
        equal(h.client.line(), "HTTP/1.1 101 Switching Protocols\r", "status")
        time.sleep(0.4)
        equal(h.text(), "", "the script still waits")
        h.client.send("x")
        until(lambda: "r" in h.text(), "what has come")


@test("minimum_input_rate: a head, and a body, that come too slowly are a 408; a script with a timeout decides by itself")
def _():
    window = """local pace = require "mb.http.pace" local new = pace.new
      pace.new = function(input, _, rate) return new(input, 0.4, rate) end """
    for said in (GET[:5], (POST % "Content-Length: 99").encode(), (POST % "Transfer-Encoding: chunked").encode() + b"63\r\n"):
        with Handler(SCRIPT % (BODY + window), "--log-level=info", said=said) as h:
            got, seconds = trickle(h)
            check(got.startswith(b"HTTP/1.1 408 ") and 0.3 < seconds < 3 * SLOWNESS, f"response after {seconds} s: {got}")
            text = h.ended()
            check(said == GET[:5] or "less than 240 bytes a second" in text, f"log: {text}")
    own = BODY.replace("get_body_as_string()", "get_body_as_string(60)")
    for body in (own, BODY + "options.minimum_input_rate = 0 "):
        with Handler(SCRIPT % (body + window), said=(POST % "Content-Length: 9").encode()) as h:
            got, _ = trickle(h, seconds=1.5)
            check(got.startswith(b"HTTP/1.1 200 "), f"response: {got}")


@test("without a timeout, a body may come as slowly as minimum_input_rate allows, as long as it comes")
def _():
    text = """
    local timeref = require "moonbridge_io".timeref
    require "mb.http_server.connection".after = function(timeout) return timeref() + (timeout or 1) end
    function onstream(_, stream)
      local head, begun = stream:get_headers(), timeref()
      local read = head:get(":path"):sub(2)
      local arguments = {get_body_chars = 7, get_body_until = "7", save_body_to_file = io.tmpfile()}
      print("reads")
      assert(stream[read](stream, arguments[read]))
      assert(timeref() - begun > 1)
      stream:write_headers(ok(), true)
    end"""
    for method in ("get_body_as_string", "get_body_chars", "get_body_until", "save_body_to_file"):
        said = CLOSE.replace(b"GET /x", b"POST /" + method.encode()).replace(b"close", b"close\r\nContent-Length: 7")
        with Handler(SCRIPT % text, said=said) as h:
            until(lambda: "reads" in h.text(), "it reads")
            for piece in range(1, 8):
                time.sleep(0.25)  # it is what is tested: longer than one wait, all together
                h.client.send(b"%d" % piece)
            check(h.client.end()[0].startswith(b"HTTP/1.1 200 OK"), f"{method}: {h.text()}")


@test("a body of very small chunks costs no more than its size")
def _():
    text = """
    function onstream(_, stream)
      local begun = os.clock()
      print(#stream:get_body_until("b", true))
      stream:write_headers(ok(), true)
      assert(os.clock() - begun < 2 * SLOWNESS, "slow")
    end""".replace("SLOWNESS", str(mbtest.SLOWNESS))
    head = CLOSE.replace(b"GET", b"POST").replace(b"close", b"close\r\nTransfer-Encoding: chunked")
    with Handler(SCRIPT % text, said=head) as h:
        h.client.send(b"1\r\na\r\n" * 300000 + b"0\r\n\r\n")
        h.client.end()
        equal(h.ended(), "300000\n", "log")


@test("get_body_chars with any number")
def _():
    text = """
    function onstream(_, stream)
      for _, n in ipairs {0/0, 0, -1, 2.5, math.huge, 2^63, math.maxinteger} do
        print(stream:get_body_chars(n))
        print(stream:get_next_chunk())
        stream:unget("abcdefghij")
      end
    end"""
    _, _, log = run(SCRIPT % text, CLOSE)
    lines = ["nil", "nil", "nil", "abcdefghij", "nil", "abcdefghij", "abc", "defghij"] + ["abcdefghij", "nil"] * 3
    equal(log.splitlines(), lines, "what it gives")


@test("a script that ends the connection by itself: no error, and nothing more is served")
def _():
    for what, status in (("close", "eof"), ("finish", "eof"), ("reset", "reset")):
        for answers in ("stream:write_headers(ok(), true)", ""):
            text = f"function onstream(_, stream) {answers} stream.connection.socket:{what}() end"
            got, end, log = run(SCRIPT % text, GET + GET, "--log-level=info")
            if what != "reset":
                equal(got, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" if answers else b"", "responses")
            equal((end, log), (status, ""), f"{what}: end and log")


@test("a head with a field that only requests have is refused")
def _():
    text = """
    function onstream(_, stream)
      local head = ok()
      head:append(":path", "/")
      print(pcall(stream.write_headers, stream, head, true))
      assert(stream:write_headers(ok(), true))
    end"""
    got, _, log = run(SCRIPT % text, CLOSE)
    check('header ":path": does not belong in a response' in log, f"the reason in {log!r}")
    equal(got.count(b"HTTP/1.1"), 1, f"responses in {got!r}")


@test("wrong options are errors that say what to do")
def _():
    for options, want in (
        ("{}", "missing 'onstream'"),
        ("nil", "expected a table of options, got nil"),
        ("{onstream = 1}", "onstream: expected a function, got number"),
        ("{onstream = print, tls = true}", "tls = true: TLS is not spoken here; serve such a connection with the real "
         "lua-http: mb.http_server(3), HTTP/2 AND TLS, says how"),
        ("{onstream = print, version = 2}", "version = 2: HTTP/2 is not spoken here"),
        ("{onstream = print, ctx = {}}", "ctx: TLS is not spoken here"),
        ("{onstream = print, cq = {}}", "cq: connections cannot be served by a cqueue; let it call server:step()"),
        ("{onstream = print, onerror = 1}", "onerror: expected a function, got number"),
        ("{onstream = print, max_concurrent = 'x'}", "max_concurrent: expected a number of connections, got x"),
        ("{onstream = print, response_timeout = false}", "response_timeout: expected a number of seconds, got false"),
        ("{onstream = print, request_body_size_limit = -1}",
         "request_body_size_limit: expected a number of bytes, or math.huge for no limit, got -1"),
        ("{onstream = print, minimum_input_rate = 0.5}",
         "minimum_input_rate: expected a number of bytes, or 0 for no limit, got 0.5"),
        ("{onstream = print, intra_stream_timeout = 'x'}", "intra_stream_timeout: expected a number of seconds, got x"),
    ):  # fmt: skip
        text = f"return function(socket)\n  require('mb.http_server').wrap(socket, {options})\nend"
        _, _, log = run(text, b"", status=70)
        check(f"lua:2: {want}" in log, f"{options}: {log}")
    text = "return function(socket)\n  require('mb.http_server').wrap(1, {onstream = print})\nend"
    _, _, log = run(text, b"", status=70)
    check("lua:2: wrap: expected a socket of mb-handle or cqueues, got number" in log, log)


@test("detach: the descriptor is the caller's; not in a replay, and not with input that would be lost")
def _():
    for body, want in (
        ("socket:read(1) return detach(socket)", "detach: the socket has received something that would be lost"),
        ("socket:write('x') return detach(socket)", "detach: the socket has output that was not sent: flush it first"),
        ("detach(socket) return detach(socket)", "the socket is closed"),
        ("return detach(1)", "socket expected, got number"),
    ):  # fmt: skip
        text = f"local detach = require('mb.http_server').detach\nreturn function(socket)\n  {body}\nend"
        _, _, log = run(text, b"abc", status=70)
        check(want in log, f"{body}: {log}")
    with open("/dev/null", "rb") as null, open(mbtest.tmp("err2"), "wb") as err:
        text = "return function(socket) require('mb.http_server').detach(socket) end"
        equal(Child([HANDLE, script(text)], {0: null, 1: null, 2: err}).wait(), 70, "exit status")
    check("detach: there is no socket: it is a replay or a pipe" in read_file(mbtest.tmp("err2")), "replay")
    # Nobody closes it but the process's end, which is a healthy one.
    text = "return function(socket) print(require('mb.http_server').detach(socket) == fd, socket) end"
    got, end, log = run(text, b"")
    equal((got, end, "socket (closed)" in log), (b"", "eof", True), "a descriptor that nobody uses")


# --- Upgrades, headers ---


@test("take_socket: behind a 101 the connection is the script's")
def _():
    text = """
    function onstream(_, stream)
      stream:get_headers()
      local head = http_headers.new()
      head:append(":status", "101") head:append("upgrade", "lines") head:append("connection", "upgrade")
      assert(stream:write_headers(head, false))
      local socket = stream.connection:take_socket()
      local line = socket:read(100, "\\n")
      socket:write("got " .. line)
      socket:close()
    end"""
    got, end, _ = run(SCRIPT % text, GET[:-2] + b"Upgrade: lines\r\nConnection: upgrade\r\n\r\nraw\n")
    equal(got, b"HTTP/1.1 101 Switching Protocols\r\nupgrade: lines\r\nconnection: upgrade\r\n\r\ngot raw\n", "bytes")
    equal(end, "eof", "end")


@test("what a stream says whose socket was taken")
def _():
    text = """
    function onstream(_, stream)
      local connection = stream.connection
      local socket = connection:take_socket()
      print(stream:localname(), stream:peername(), connection:pollfd(), connection:take_socket())
      print(stream:write_headers(ok(), true))
      socket:close()
    end"""
    _, _, log = run(SCRIPT % text, GET)
    equal(log.splitlines(), ["nil\tnil\tnil\tnil", "nil\tBroken pipe\t32"], "results")


@test("add_stream: another server's onstream answers")
def _():
    text = """
    local other = http_server.new {onstream = function(_, stream) stream:write_headers(ok {x = "other"}, true) end}
    function onstream(_, stream) stream:get_headers() other:add_stream(stream) end"""
    got, _, _ = run(SCRIPT % text, CLOSE)
    check(b"\r\nx: other\r\n" in got, f"response: {got}")


@test("add_stream: what is no stream, and one that has ended, are errors")
def _():
    text = """
    local other = http_server.new {onstream = function() end}
    function onstream(_, stream)
      for _, value in ipairs {1, "x", {}, {connection = {}}} do print(pcall(other.add_stream, other, value)) end
      stream:write_headers(ok(), true)
      local connection = stream.connection
      connection:shutdown()
      connection.request = false
      print(pcall(other.add_stream, other, stream))
    end"""
    _, _, log = run(SCRIPT % text, CLOSE)
    want = [f"false\tadd_stream: expected a stream of this module, got {kind}" for kind in ("number", "string", "table", "table")]
    equal(log.splitlines(), [*want, "false\tadd_stream: the stream has ended"], "errors")


@test("add_stream of the script's own gets each stream: to pass it on, to serve it, or to fail")
def _():
    text = """
    function onstream(_, stream) stream:get_headers() stream:write_headers(ok {x = "onstream"}, true) end
    do return function(socket)
      options.onstream = onstream
      local server = http_server.wrap(socket, options)
      local add_stream = server.add_stream
      local function own(self, stream)
        assert(self == server)
        print("add_stream")
        %s
      end
      %s
      server:loop()
    end end
    """
    on_server, on_all = "server.add_stream = own", "http_server.mt.__index.add_stream = own"
    for how in (on_server, on_all):
        got, _, log = run(SCRIPT % (text % ("return add_stream(self, stream)", how)), GET + CLOSE)
        equal((got.count(b"\r\nx: onstream\r\n"), log), (2, "add_stream\n" * 2), how)
    got, _, _ = run(SCRIPT % (text % ("stream:get_headers() stream:write_headers(ok {x = 'own'}, true)", on_server)), CLOSE)
    check(b"\r\nx: own\r\n" in got, f"served by itself: {got}")
    got, _, _ = run(SCRIPT % (text % ("", on_server)), CLOSE)
    check(got.startswith(b"HTTP/1.1 503 "), f"dropped: {got}")
    got, _, log = run(SCRIPT % (text % ("error 'on purpose'", on_server)), CLOSE, status=70)
    check(got.startswith(b"HTTP/1.1 503 ") and "on purpose" in log, f"an error: {got} {log}")


# --- cqueues ---

CQUEUES = f"""
package.path = "{LUA_PATH.replace(';;', ';')}" .. package.path
local socket_of = require "cqueues.socket"
"""


def needs_cqueues():
    """Returns whether Debian's cqueues is there."""
    there = os.path.exists("/usr/share/lua/5.3/cqueues/socket.lua")
    check(there or not mbtest.STRICT, "Debian's lua-cqueues is not installed")
    return there


@test("add_socket: a connection of cqueues, with what that has received and not yet sent")
def _():
    text = CQUEUES + """
    local http_server = require "mb.http_server"
    local http_headers = require "mb.http_server.headers"
    return function(socket)
      local theirs = socket_of.fdopen(http_server.detach(socket))
      %s
      local server = http_server.new {onstream = function(_, stream)
        local path = stream:get_headers():get(":path")
        local head = http_headers.new()
        head:append(":status", "200")
        stream:write_headers(head, false)
        stream:write_chunk(path .. " " .. select(2, stream:peername()), true)
      end}
      print(pcall(server.add_socket, server, theirs))
      print(socket_of.type(theirs), server.n_connections)
      server:loop()
    end"""
    if not needs_cqueues():
        return
    for before, said, sent in (
        ("", CLOSE, b""),
        ("theirs:fill(20, 10)", CLOSE, b""),
        ("assert(theirs:xread(4, 'b', 10) == 'junk')", b"junk" + CLOSE, b""),
        ("theirs:setvbuf('full') theirs:send('early', 1, 5, 'bf')", CLOSE, b"early"),
    ):  # fmt: skip
        got, end, log = run(text % before, said)
        check(got.startswith(sent + b"HTTP/1.1 200 OK") and b"/x 127.0.0.1" in got and end == "eof", f"{before}: {got} {end}")
        equal(log, "true\ttrue\nclosed socket\t1\n", before)
    for before, want in (
        ("theirs = socket_of.listen {host = '127.0.0.1', port = 0}", "true\ttrue"),  # as one whose client has gone
        ("theirs:close()", "false\tadd_socket: expected a socket of mb-handle or cqueues, got userdata"),
        ("theirs = socket_of.pair(socket_of.SOCK_DGRAM)", "false\tadd_socket: the socket: Protocol wrong type for socket\n"),
    ):  # fmt: skip
        _, _, log = run(text % before, b"")
        check(log.startswith(want), f"{before}: {log}")


@test("add_socket: a connection of cqueues that speaks TLS is an error that says what to do")
def _():
    if not needs_cqueues():
        return
    text = CQUEUES + """
    return function(socket)
      local http_server = require "mb.http_server"
      local theirs, other = socket_of.pair("stream")
      local context = require "openssl.ssl.context"
      local queue = require "cqueues".new()
      queue:wrap(function() pcall(other.starttls, other, context.new("TLS", false), 1) end)
      queue:wrap(function() pcall(theirs.starttls, theirs, context.new("TLS", true), 1) end)
      queue:loop(5)
      http_server.new {onstream = print}:add_socket(theirs)
    end"""
    leaks = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}  # OpenSSL's own
    _, _, log = run(text, b"", status=70, env=leaks)
    check("add_socket: it speaks TLS, which is not spoken here; serve such a connection with the real lua-http" in log, log)


@test("new with a listener of cqueues: it is served, and close() closes it")
def _():
    if not needs_cqueues():
        return
    for options in ("host = '127.0.0.1', port = 0", f"path = '{mbtest.tmp('cqueues.sock')}'"):
        text = CQUEUES + (LISTENS % ("", "assert(server:loop())")).replace(
            "http_server.listen(options)", f"http_server.new {{onstream = onstream, socket = socket_of.listen {{{options}}}}}"
            " local theirs = server.original").replace("server:empty()", "server:empty(), socket_of.type(theirs)")
        with Handler(text) as h:
            name = h.client.line().split()
            where = (name[1], int(name[2])) if name[0] == "2" else name[1]
            for path in (b"/one", b"/stop"):
                equal(get(where, path).split()[0], path, options)
            equal(h.ended(), "done\ttrue\tclosed socket\n", options)


@test("new with a listener of cqueues whose address is in use: listen() says so; any other value is an error")
def _():
    if not needs_cqueues():
        return
    text = CQUEUES + """
    return function(socket)
      local http_server = require "mb.http_server"
      local server = http_server.new {onstream = print,
        socket = socket_of.listen {host = socket.local_addr, port = socket.local_tcpport, reuseaddr = false}}
      print(server:listen())
      print(server:loop())
      for _, value in ipairs {1, {}, io.stderr} do
        print(pcall(http_server.new, {onstream = print, socket = value}))
      end
    end"""
    with Handler(text) as h:
        h.client.finish()
        log = h.ended().splitlines()
    equal(log[:2], ["nil\tAddress already in use\t98"] * 2, "in use")
    wrong = "false\tsocket: expected a listener of moonbridge_io or cqueues, or none"
    equal(log[2:], [wrong] * 3, "values that are none")


# --- Several connections, listeners ---

# Inside a handler: the server listens, says where, and serves until /stop.
LISTENS = """
local http_server = require "mb.http_server"
local http_headers = require "mb.http_server.headers"
local server
local function onstream(_, stream)
  local path = stream:get_headers():get(":path")
  local body = stream:get_body_as_string()
  local head = http_headers.new()
  head:append(":status", "200")
  stream:write_headers(head, false)
  stream:write_chunk(path .. " " .. body .. " " .. server.n_connections, true)
  if path == "/stop" then server:close() end
end
return function(socket)
  local options = {onstream = onstream, %s}
  server = http_server.listen(options)
  assert(server:listen())
  socket:flush(table.concat({server:localname()}, " ") .. "\\n")
  %s
  print("done", server:empty())
end
"""


def get(where, path, body=b""):
    with Client(where) as client:
        head = b"POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (path, len(body))
        client.send(head + body)
        return client.end()[0].partition(b"\r\n\r\n")[2]


@test("listen: several clients at once, one of which is slow; close() ends the loop")
def _():
    with Handler(LISTENS % ("host = '127.0.0.1', port = 0", "assert(server:loop())")) as h:
        _, host, port = h.client.line().split()
        where = (host, int(port))
        with Client(where) as slow:
            slow.send(b"POST /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\na")
            for i in range(5):
                equal(get(where, b"/fast", b"%d" % i).split()[:2], [b"/fast", b"%d" % i], "a fast one")
            slow.send("b")
            equal(slow.end()[0].partition(b"\r\n\r\n")[2].split()[:2], [b"/slow", b"ab"], "the slow one")
        get(where, b"/stop")
        check("done\ttrue" in h.ended(), h.text())
        mbtest.nobody_answers(where)


@test("listen at a path: permissions, an old file, unlink")
def _():
    path = mbtest.tmp("listen.sock")
    for options, mode in (("mode = '0620'", 0o620), ("mask = '077', unlink = true", 0o700)):
        with Handler(LISTENS % (f"path = '{path}', {options}", "assert(server:loop())")) as h:
            equal(h.client.line(), f"1 {path}", "localname")
            equal(os.stat(path).st_mode & 0o777, mode, options)
            get(path, b"/stop")
            h.ended()
    with Handler(LISTENS % (f"path = '{path}'", "")) as h:
        check("Address already in use" in h.ended(70), f"without unlink: {h.text()}")
    for make in (lambda: mbtest.write_file(path, "text"), lambda: os.symlink("nowhere", path)):
        os.unlink(path)
        make()
        with Handler(LISTENS % (f"path = '{path}', unlink = false", "")) as h:
            check("Address already in use" in h.ended(70), f"another file, without unlink: {h.text()}")
        with Handler(LISTENS % (f"path = '{path}', unlink = true", "assert(server:loop())")) as h:
            equal(h.client.line(), f"1 {path}", "another file, with unlink")
            get(path, b"/stop")
            h.ended()
    with Handler(LISTENS % (f"path = '{os.path.dirname(path)}', unlink = true", "")) as h:
        check("exists and is a directory" in h.ended(70), f"a directory: {h.text()}")
    with Handler(LISTENS % ("host = '127.0.0.1', port = 0, reuseport = true, v6only = true", "server:close()")) as h:
        h.ended()


@test("listen with a family: an address of another is an error")
def _():
    for family, host in (("'AF_INET'", "127.0.0.1"), (2, "127.0.0.1"), ("'AF_INET6'", "::1"), (10, "::1")):
        with Handler(LISTENS % (f"host = '{host}', port = 0, family = {family}", "server:close()")) as h:
            equal(h.client.line().split()[1], host, f"address of family {family}")
            h.ended()
    with Handler(LISTENS % ("host = '::1', port = 0, family = 'AF_INET'", "")) as h:
        check("Address family not supported by protocol" in h.ended(70), h.text())
    with Handler(LISTENS % ("host = '::1', port = 0, family = 'inet'", "")) as h:
        check("family: expected AF_INET, AF_INET6 or AF_UNIX" in h.ended(70), h.text())


def waiting(port):
    """How many connections a listener has that were not accepted."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f][1:]
    return sum(int(r[4].rpartition(":")[2], 16) for r in rows if r[3] == "0A" and r[1].endswith(f":{port:04X}"))


@test("max_concurrent: the next client waits until one has gone")
def _():
    with Handler(LISTENS % ("host = '127.0.0.1', port = 0, max_concurrent = 2", "assert(server:loop())")) as h:
        _, host, port = h.client.line().split()
        where = (host, int(port))
        slow = [Client(where), Client(where)]
        for client in slow:
            client.send(b"POST /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\na")
        with Client(where) as third:
            third.send(b"GET /third HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            until(lambda: waiting(where[1]) == 1, "the third is not accepted")
            slow[0].send("b")
            slow[0].end()
            check(third.end()[0].endswith(b"/third  2"), "then it is one of two")
        slow[1].send("b")
        slow[1].end()
        get(where, b"/stop")
        h.ended()


@test("pollfd, events and timeout: the server in somebody else's loop")
def _():
    loop = """
    local poll = require "moonbridge_io".poll
    while not server:empty() do
      assert(server:events() == "r")
      poll({[server:pollfd()] = true}, nil, server:timeout())
      assert(server:step(0))
    end"""
    with Handler(LISTENS % ("host = '127.0.0.1', port = 0", loop)) as h:
        _, host, port = h.client.line().split()
        for path in (b"/a", b"/b", b"/stop"):
            check(path in get((host, int(port)), path), path.decode())
        h.ended()


@test("pause and resume; loop ends when the server is paused and nothing is left")
def _():
    loop = """
    server:step(0)
    server:pause()
    socket:flush("paused\\n")
    socket:read(1)
    server:step(0)
    socket:flush("loop " .. tostring(server:loop(5)) .. "\\n")
    server:resume()
    assert(server:loop())"""
    with Handler(LISTENS % ("host = '127.0.0.1', port = 0", loop)) as h:
        _, host, port = h.client.line().split()
        equal(h.client.line(), "paused", "paused")
        with Client((host, int(port))) as client:
            client.send("GET /stop HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            until(lambda: waiting(int(port)) == 1, "the client waits")
            h.client.send("x")
            equal(h.client.line(), "loop true", "the loop has ended, with a client waiting")
            check(b"/stop" in client.end()[0], "resumed")
        h.ended()


@test("new with a listener of moonbridge_io; onerror is told when accept fails")
def _():
    text = """
    local io, http_server = require "moonbridge_io", require "mb.http_server"
    local http_headers = require "mb.http_server.headers"
    return function(socket)
      local listener = io.tcplisten("127.0.0.1", 0)
      local server
      server = http_server.new {socket = listener, onstream = function(_, stream)
        local head = http_headers.new()
        head:append(":status", "200")
        stream:write_headers(head, true)
        server:close()
      end}
      socket:flush(table.concat({server:localname()}, " ") .. "\\n")
      assert(server:loop())
    end"""
    with Handler(text) as h:
        _, host, port = h.client.line().split()
        equal(get((host, int(port)), b"/x"), b"", "an empty body")
        h.ended()


@test("accept fails for want of descriptors: onerror is told, and when it throws, a later step accepts")
def _():
    options = "host = '127.0.0.1', port = 0, onerror = function(_, _, op, err) error(op .. ': ' .. err) end"
    loop = """
    while not server:empty() do
      local good, err = pcall(server.step, server, 0.1)
      if not good then print(err) socket:flush("failed\\n") end
    end"""
    with Handler(LISTENS % (options, loop)) as h:
        _, host, port = h.client.line().split()
        where, proc = (host, int(port)), f"/proc/{h.pid}/fd"
        limits = resource.prlimit(h.pid, resource.RLIMIT_NOFILE)
        # The lowest one that is free is out of reach.
        used = {int(name) for name in os.listdir(proc)}
        lowest = min(set(range(len(used) + 1)) - used)
        resource.prlimit(h.pid, resource.RLIMIT_NOFILE, (lowest, limits[1]))
        with Client(where) as waits:
            waits.send(b"GET /waits HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            equal(h.client.line(), "failed", "step throws")
            check("Too many open files" in h.text(), h.text())
            resource.prlimit(h.pid, resource.RLIMIT_NOFILE, limits)
            check(b"/waits" in waits.end()[0], "accepted then")
        get(where, b"/stop")
        h.ended()


# --- Programs as they are ---

# As lua-http's documentation has them (examples/server_hello.lua and server_sent_events.lua, by their use of the API).
PROGRAM_HELLO = """
local port = arg[1] or 0
local http_server = require "http.server"
local http_headers = require "http.headers"
local function reply(myserver, stream)
  local req_headers = assert(stream:get_headers())
  local req_method = req_headers:get ":method"
  assert(io.stdout:write(string.format('[%s] "%s %s HTTP/%g"  "%s" "%s"\\n', os.date("%d/%b/%Y:%H:%M:%S %z"),
    req_method or "", req_headers:get(":path") or "", stream.connection.version, req_headers:get("referer") or "-",
    req_headers:get("user-agent") or "-")))
  local res_headers = http_headers.new()
  res_headers:append(":status", "200")
  res_headers:append("content-type", "text/plain")
  assert(stream:write_headers(res_headers, req_method == "HEAD"))
  if req_method ~= "HEAD" then
    assert(stream:write_chunk("Hello world!\\n", true))
  end
end
local myserver = assert(http_server.listen {
  host = "localhost", port = port, onstream = reply,
  onerror = function(myserver, context, op, err, errno)
    local msg = op .. " on " .. tostring(context) .. " failed"
    if err then msg = msg .. ": " .. tostring(err) end
    assert(io.stderr:write(msg, "\\n"))
  end,
})
assert(myserver:listen())
do
  local bound_port = select(3, myserver:localname())
  assert(io.stderr:write(string.format("Now listening on port %d\\n", bound_port)))
end
assert(myserver:loop())
"""
DEBIAN_EXAMPLES = "/usr/share/doc/lua-http/examples"


@test("server_hello.lua answers, says the port, and ends with 0 once the connection is done")
def _():
    with Handler(PROGRAM_HELLO, "--style=lua-http") as h:
        port = h.client.sock.getpeername()[1]
        h.client.send(GET)
        until(lambda: h.client.receive().endswith(b"0\r\n\r\n"), "response")
        h.client.finish()
        equal(h.client.end(), (b"", "eof"), "end")
        log = h.ended()
        check(f"Now listening on port {port}\n" in log and '"GET /x HTTP/1.1"  "-" "-"' in log, f"log: {log}")


@test("the programs of Debian's lua-http run as they are")
def _():
    if not os.path.exists(f"{DEBIAN_EXAMPLES}/server_hello.lua"):
        check(not mbtest.STRICT, "Debian's lua-http is not installed")
        return
    with Handler(None, "--style=lua-http", path=[f"{DEBIAN_EXAMPLES}/server_hello.lua"]) as h:
        h.client.send(CLOSE)
        check(h.client.end()[0].endswith(b"\r\n\r\nHello world!\n"), "server_hello.lua")
        h.ended()
    events = [f"{DEBIAN_EXAMPLES}/server_sent_events.lua"]
    with Handler(None, "--style=lua-http", path=events, env={"LUA_PATH": LUA_PATH}) as h:
        h.client.send(GET.replace(b"/x", b"/event-stream"))
        got = b""
        while got.count(b"data: The time is now ") < 2:
            got += h.client.receive()
        h.client.reset()
        log = h.ended()
        check("onstream on http.h1_stream{" in log and "failed" in log, f"its onerror has told: {log}")


@test("an echo program runs until the client is done")
def _():
    text = """
    local http_server, http_headers = require "http.server", require "http.headers"
    local server = http_server.listen {host = "0.0.0.0", port = 0, tls = false, onstream = function(_, stream)
      local request = stream:get_headers()
      local head = http_headers.new()
      head:append(":status", "200")
      head:append("content-type", request:get("content-type") or "text/plain")
      stream:write_headers(head, false)
      for chunk in stream:each_chunk() do stream:write_chunk(chunk, false) end
      stream:write_chunk("", true)
    end}
    while true do assert(server:step(1)) end"""
    with Handler(text, "--style=lua-http") as h:
        for body in (b"one", b"two" * 5000):
            h.client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            got = b""
            while not got.endswith(b"0\r\n\r\n"):
                got += h.client.receive()
            equal(unchunked(got.partition(b"\r\n\r\n")[2]), body, "echo")
        h.client.finish()
        equal(h.client.end(), (b"", "eof"), "end")
        h.ended()


ENDS = """
local http_server, http_headers = require "http.server", require "http.headers"
local server = http_server.listen {host = "0.0.0.0", port = 0, tls = false, onstream = function(server, stream)
  local head = http_headers.new()
  head:append(":status", "200")
  stream:write_headers(head, true)
  %s
end}
%s
print("done", server:empty())
"""


@test("server:close() in a program: its loop returns, whatever the loop is")
def _():
    loops = ("assert(server:loop())", "while not server:empty() do assert(server:step()) end")
    for loop in loops:
        with Handler(ENDS % ("server:close()", loop), "--style=lua-http", said=GET) as h:
            h.client.finish()
            equal(h.client.end(), (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "eof"), loop)
            equal(h.ended(), "done\ttrue\n", loop)


@test("after the connection loop(seconds) and step(seconds) return once, so that the program does its other work")
def _():
    for loop in "server:loop(0.01)", "server:loop(1000)", "server:step(0)", "server:step(0.01)", "server:step(1000)":
        text = ENDS % ("print('served')", f"while true do assert({loop}) print('idle') end")
        with Handler(text, "--style=lua-http", said=GET) as h:
            h.client.finish()
            equal(h.client.end(), (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "eof"), loop)
            # A busy machine brings the end of the connection late: a loop of 10 ms may be over before, and one that does not
            # wait may print so much that lines are dropped.
            log = re.sub(r"mb-handle: lines dropped: .*\n", "", h.ended())
            idle = {"server:loop(0.01)": r"served\n(idle\n)+\Z", "server:loop(1000)": r"served\nidle\n\Z"}
            check(re.search(idle.get(loop, r"idle\n\Z"), log), log)
    # With a server that is closed or paused, too; this one has served all, so that its program may also go on.
    for calls in "server:close()", "server:pause()":
        for loop in "loop()", "loop(1)", "step(0.01)":
            text = ENDS % (calls, f"while true do assert(server:{loop}) end")
            with Handler(text, "--style=lua-http", said=GET) as h:
                h.client.finish()
                equal(h.client.end(), (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "eof"), loop)
                equal(h.ended(), "", "log")
    text = ENDS % ("", "assert(server:listen()) server:close() while true do server:loop() end")
    with Handler(text, "--style=lua-http", said=GET) as h:
        equal(h.client.end()[1], "reset", "a program that closes its server before it has accepted")
        check("has closed its listener" in h.ended(70), "log")


@test("a program with a loop of its own takes the connection, and ends behind it")
def _():
    loop = """
    local poll = require "moonbridge_io".poll
    while true do
      poll({[server:pollfd()] = true}, nil, server:timeout())
      assert(server:step(0))
    end"""
    with Handler(ENDS % ("", loop), "--style=lua-http", said=GET) as h:
        h.client.finish()
        equal(h.client.end(), (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "eof"), "response")
        equal(h.ended(), "", "log")


@test("a program that listens elsewhere is told where the connection came in")
def _():
    client, conn = tcp_pair()
    port = conn.getsockname()[1]
    with Handler(None, "--style=lua-http", pair=lambda: (client, conn), path=[script(PROGRAM_HELLO), "1"]) as h:
        h.client.end()
        check(f"cannot bind to localhost:1: the connection came in on 127.0.0.1:{port}" in h.ended(70), h.text())


@test("a program that makes its listener with cqueues: the connection stands in for it, and nothing is bound")
def _():
    if not needs_cqueues():
        return
    text = CQUEUES + """
    local http_server, http_headers = require "http.server", require "http.headers"
    local listener = socket_of.listen {%s}
    print(select("#", listener:localname()), (listener:listen()) == listener)
    local server = http_server.new {socket = listener, tls = false, onstream = function(_, stream)
      local head = http_headers.new()
      head:append(":status", "200")
      stream:write_headers(head, true)
    end}
    print("at", server:localname())
    assert(server:loop())
    """
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    for port in ("0", "'0'", "tonumber(arg[1])", "arg[1]"):
        client, conn = tcp_pair()
        number = conn.getsockname()[1]
        path = script(text % f"host = '127.0.0.1', port = {port}")
        with Handler(None, "--style=lua-http", pair=lambda: (client, conn), path=[path, str(number)], said=CLOSE) as h:
            equal(h.client.end(), (answer, "eof"), port)
            equal(h.ended(), f"3\ttrue\nat\t2\t127.0.0.1\t{number}\n", port)
    path = mbtest.tmp("stand-in.sock")
    with Handler(text % f"path = '{path}', unlink = true", "--style=lua-http", pair=lambda: unix_pair(path), said=CLOSE) as h:
        equal(h.client.end(), (answer, "eof"), "a path")
        equal(h.ended(), f"3\ttrue\nat\t1\t{path}\tnil\n", "a path")
    with Handler(text % "host = '127.0.0.1', port = 'http'", "--style=lua-http", said=CLOSE) as h:
        check("expected a path, or a host and a port as a number from 0 to 65535" in h.ended(70), h.text())
    with Handler(text % "host = '127.0.0.1', port = 1", "--style=lua-http", said=CLOSE) as h:
        check("cannot bind to 127.0.0.1:1: the connection came in on" in h.ended(70), h.text())


# As lua-http's manual says of server:add_socket: "From inetd for start on demand daemons".
ON_DEMAND = CQUEUES + """
local http_server, http_headers = require "http.server", require "http.headers"
local server = http_server.new {tls = false, onstream = function(_, stream)
  local head = http_headers.new()
  head:append(":status", "200")
  stream:write_headers(head, true)
end}
server:add_socket(socket_of.%s)
assert(server:loop())
print("done", server:empty(), pcall(socket_of.fdopen, 0))
"""


@test("a program that inetd is to start takes its connection from descriptor 0")
def _():
    if not needs_cqueues():
        return
    for call in ("fdopen(0)", "fdopen {fd = 0}", "dup(0)", "dup(io.stdin)", "fdopen(3)"):
        with Handler(ON_DEMAND % call, "--style=lua-http", said=CLOSE) as h:
            equal(h.client.end(), (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", "eof"), call)
            check(h.ended().startswith("done\ttrue\ttrue\t"), f"{call}: {h.text()}")


# --- Under inetd ---


@test("the example of the manual page runs under inetd as it stands there")
def _():
    page = read_file(PAGE)
    blocks = [b.replace("\\c\n", "") for b in re.findall(r"\.Bd -literal[^\n]*\n(.*?)\.Ed", page, re.DOTALL)]
    examples = [b for b in blocks if "stream:get_headers" in b and "Hello from" in b]
    lines = [b for b in blocks if "nowait" in b]
    equal((len(examples), len(lines)), (1, 1), "an example and its line of inetd.conf")
    path = mbtest.tmp("hello.lua")
    mbtest.write_file(path, examples[0].replace("\\e", "\\"))
    port = free_port()
    entry = lines[0].split()
    equal(entry[5], "/usr/local/bin/mb-handle", "the program")
    config = f"127.0.0.1:{port} {' '.join(entry[1:4])} {mbhosts.USER} {HANDLE} mb-handle {path}\n"
    mbtest.Process([mbtest.need("inetd"), "-i", mbtest.write_file(mbtest.tmp("page.conf"), config)])
    mbtest.wait_listening(("127.0.0.1", port))
    equal(mbtest.output_of("curl", "-s", f"http://127.0.0.1:{port}/Ann"), "Hello from /Ann", "GET")


@test("a program that inetd starts with a connection on descriptor 0, under inetd", native="inetd starts it by its name")
def _():
    if not needs_cqueues():
        return
    port = free_port()
    mbhosts.Inetd([(f"127.0.0.1:{port}", "tcp4", f"--style=lua-http {script(ON_DEMAND % 'fdopen(0)')}")], most=1000)
    mbtest.wait_listening(("127.0.0.1", port))
    equal(mbtest.output_of("curl", "-si", f"http://127.0.0.1:{port}/").splitlines()[0].strip(), "HTTP/1.1 200 OK", "response")


@test("server_hello.lua under inetd with --style, for many clients one after the other", native="inetd starts it by its name")
def _():
    port = free_port()
    program = mbtest.write_file(mbtest.tmp("server_hello.lua"), PROGRAM_HELLO)
    mbhosts.Inetd([(f"127.0.0.1:{port}", "tcp4", f"--style=lua-http {program}")], most=1000)
    mbtest.wait_listening(("127.0.0.1", port))
    for _ in range(20):
        equal(mbtest.output_of("curl", "-s", f"http://127.0.0.1:{port}/"), "Hello world!", "response")


mbtest.main()
