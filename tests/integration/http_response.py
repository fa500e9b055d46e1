#!/usr/bin/python3
"""moonbridge_http: the response: status, header fields, framing, buffering, and calls in the wrong state. Each sentence of
the reference on it is a test. When something goes wrong: http_failing.py; files: http_send_file.py."""

import contextlib
import os
import socket
import struct
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbhandler import lua
from mbhttp import PAIRS, answers, checked, replayed, request, served
from mbtest import check, equal, test

GET, HEAD = request(), request(method="HEAD")
UPGRADE = request(headers=["Upgrade: echo, foo/2", "Connection: keep-alive, Upgrade"])
STATUS = 'request:send_status("200 OK") '
FILE = lua(mbtest.write_file(mbtest.tmp("file"), "content\n"))


def names(response):
    return [name for name, _ in response.headers]


@contextlib.contextmanager
def gate():
    """What a handler waits at with gate:read(), until the test calls the function: (Lua that opens it, function)."""
    path = mbtest.tmp(f"gate{time.monotonic_ns()}")
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    try:
        yield f"local gate = io.open({lua(path)}) ", lambda: os.write(fd, b"go\n")
    finally:
        os.close(fd)


# ---- status ----


@test("send_status: three digits and a text; without a text; or an integer, with the usual text")
def _():
    for status, code, reason in (
        ('"200 OK"', 200, "OK"),
        ('"404 Not Found"', 404, "Not Found"),
        ('"200 Everything is \xe4 \\t fine"', 200, "Everything is \xc3\xa4 \t fine"),
        ('"299"', 299, ""),
        ('"200 "', 200, ""),
        ("200", 200, "OK"),
        ("404", 404, "Not Found"),
        ("599", 599, ""),
        ('"599 X"', 599, "X"),
    ):
        response = answers(GET, f"request:send_status({status}) request:finish()")
        equal((response.status, response.reason), (code, reason), status)


@test("send_status: anything else is an error at the script's line, after which a good one can be sent")
def _():
    wrong = ["", "nil", "{}", "true", '""', '"OK"', '"20 OK"', '"2000 OK"', '"200OK"', '"099 X"', '"600 X"', '"abc X"', '" 200 OK"']
    wrong += ['"200\\tOK"', '"200 O\\rK"', '"200 O\\nK"', '"200 OK\\r\\nA: b"', '"200 O\\0K"', '"200 \\127"', "99", "600", "-200", "200.5"]
    checked(GET, "\n".join(f'fails("send_status: ", function() request:send_status({w}) end)' for w in wrong))


# ---- header fields ----


@test("send_header: name and value as separate arguments, in their order, any number of a name; values may be numbers")
def _():
    body = """
  request:send_header("X-One", "1") request:send_header("Set-Cookie", "a=b") request:send_header("Set-Cookie", "c=d")
  request:send_header("n", 5) request:send_header("f", 1.5) request:send_header("e", "") request:send_header("t", "a\\tb \\228")
  request:finish()"""
    response = answers(GET, STATUS + body)
    want = [("X-One", "1"), ("Set-Cookie", "a=b"), ("Set-Cookie", "c=d"), ("n", "5"), ("f", "1.5"), ("e", ""), ("t", "a\tb \xe4")]
    equal([h for h in response.headers if h[0] not in ("Date", "Content-Length")], want, "headers")


@test("send_header: what is no name or value, CR LF NUL above all, is an error; nothing of it goes out")
def _():
    wrong = ['""', '"A b"', '"A:"', '"A: b"', '"A\\r\\n"', '"A\\n"', '"A\\0"', '"\xe4"', '" A"', '"A\\t"', '"A(", "b"', "nil", "5", "{}"]
    names_wrong = [f'{w}, "v"' if "," not in w else w for w in wrong]
    values = ['"b\\r\\nC: d"', '"b\\n"', '"b\\r"', '"\\0"', '"\\1"', '"\\127"', '"\\r\\n\\r\\nbody"', "nil", "{}", "true", "print"]
    cases = names_wrong + [f'"A", {v}' for v in values] + ['"A: b"', '"A"']
    body = STATUS + "".join(f'fails("send_header: ", function() request:send_header({c}) end)\n' for c in cases)
    body += """fails('send_header: expected a name and a value, got "A" and nil', function() request:send_header("A", nil) end)\n"""
    response = answers(GET, body + 'request:send_header("Good", "yes") request:finish()')
    equal(names(response), ["Good", "Date", "Content-Length"], "what went out")


@test("Date is sent unless the script sends one; no Server, no Content-Type")
def _():
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    for name in ("Date", "date", "DATE"):
        equal(answers(GET, f'{STATUS} request:send_header("{name}", "{date}") request:finish()').value("Date"), date, name)
    response = answers(GET, STATUS + 'request:send_data("x")')
    equal(names(response), ["Date", "Content-Length"], "headers")
    age = time.time() - time.mktime(time.strptime(response.value("Date"), "%a, %d %b %Y %H:%M:%S GMT")) + time.timezone
    check(-2 < age < 60, f"the date is now: {age} s ago")


@test("Content-Length: digits, once; the body is checked against it")
def _():
    wrong = ['"-1"', '"+5"', '"5 "', '" 5"', '"0x5"', '""', '"5,5"', '"5, 5"', "5.0", '"5.0"', '"99999999999999999999"', '"five"']
    body = STATUS + "".join(f'fails("send_header: ", function() request:send_header("Content-Length", {w}) end)\n' for w in wrong)
    body += """
  request:send_header("content-length", 5)
  fails({"send_header: ", "already"}, function() request:send_header("Content-Length", 5) end)
  request:send_data("abc")
  fails({"send_data: ", "Content-Length"}, function() request:send_data("def") end)
  fails({"finish: ", "Content-Length"}, function() request:finish() end)
  request:send_data("de") request:finish()"""
    response = answers(GET, body)
    equal((response.framing, response.body), ("length", b"abcde"), "response")


@test("a response shorter than its Content-Length ends in a reset, and with exit status 70")
def _():
    for finish in ("", "request:finish()"):
        with served(f'{STATUS} request:send_header("Content-Length", 5) request:send_data("abc") request:flush() {finish}',
                    pair=PAIRS["TCP"], status=70, log="Content-Length") as (client, _):  # fmt: skip
            client.send(GET)
            equal(client.end()[1], "reset", "end")


@test("Transfer-Encoding is not for the script to send")
def _():
    for name, value in (("Transfer-Encoding", "chunked"), ("transfer-encoding", "identity")):
        checked_head = f'fails({{"send_header: ", "Transfer-Encoding"}}, function() request:send_header("{name}", "{value}") end)'
        equal(names(answers(GET, STATUS + checked_head)), ["Date", "Content-Length"], "headers")


@test("Connection: close ends the connection, keep-alive says nothing new, other options are passed on")
def _():
    for value, options, keeps in (
        ("close", ["close"], False),
        ("Close", ["close"], False),
        ("keep-alive", [], True),
        ("upgrade", ["upgrade"], True),
        ("Upgrade, keep-alive", ["upgrade"], True),
        ("X-One, X-Two", ["x-one", "x-two"], True),
        ("X-One, close", ["close", "x-one"], False),
    ):
        with served(f'{STATUS} request:send_header("Connection", "{value}") eq({str(keeps).lower()}, request.keepalive)') as (client, _):
            client.send(GET)
            response = client.response()
            equal(sorted(response.connection()), options, f"Connection for {value!r}")
            if not keeps:
                client.nothing_more()


# ---- framing ----


@test("a small body has its Content-Length, by itself; one that is larger, or was flushed, is chunked")
def _():
    for body, framing, data in (
        ("", "length", b""),
        ("request:finish()", "length", b""),
        ('request:send_data("")', "length", b""),
        ('request:send_data("a", 1, 2.5, true, "b")', "length", b"a12.5trueb"),
        ("request:send_data()", "length", b""),
        ('request:send_data(setmetatable({}, {__tostring = function() return "me" end}))', "length", b"me"),
        ('request:send_data("a") request:send_data("b") request:finish()', "length", b"ab"),
        ('request:send_data(("x"):rep(16383))', "length", b"x" * 16383),
        ('request:send_data(("x"):rep(16384))', "chunked", b"x" * 16384),
        ('request:send_data("a") request:flush() request:send_data("b")', "chunked", b"ab"),
        ('request:finish_headers() request:send_data("b")', "chunked", b"b"),
        ("request:finish_headers()", "chunked", b""),
        ('request:send_header("Content-Length", 3) request:finish_headers() request:send_data("abc")', "length", b"abc"),
        ('request:send_data("\\0\\255\\r\\n")', "length", b"\0\xff\r\n"),
    ):
        response = answers(GET, STATUS + body)
        equal((response.framing, response.body), (framing, data), body)


@test("send_data: what is no text is an error that names the argument, and nothing of the call goes out")
def _():
    object_ = 'setmetatable({}, {__tostring = function() return "me" end})'
    for arguments, number, got in (
        ("nil", 1, "nil"),
        ("{}", 1, "table"),
        ('"a", nil', 2, "nil"),
        ('"a", nil, "b"', 2, "nil"),
        (f"1, true, {object_}, setmetatable({{}}, {{}})", 4, "table"),
        ("print", 1, "function"),
        ("coroutine.create(print)", 1, "thread"),
        ('io.open("/dev/null")', 1, "a file: request:send_file sends it"),
    ):
        text = f"send_data: argument {number}: expected a string, a number or a boolean, or an object with __tostring, got {got}"
        body = f"{STATUS}fails({lua(text)}, function() request:send_data({arguments}) end)\n"
        for data in (GET, HEAD):
            answers(data, body)
        equal(answers(GET, body + 'request:send_data("fine")').body, b"fine", arguments)


@test("HTTP/1.0: no chunks; with keep-alive and a length the connection stays, else the end of the connection is that of the body")
def _():
    small, large = 'request:send_data("abc")', 'request:send_data(("x"):rep(50000)) request:send_data("y")'
    for headers, body, framing, options in (
        ([], small, "length", ["close"]),
        ([], large, "close", ["close"]),
        (["Connection: keep-alive"], small, "length", ["keep-alive"]),
        (["Connection: keep-alive"], large, "close", ["close"]),
        (["Connection: keep-alive"], f'request:send_header("Content-Length", 50001) {large}', "length", ["keep-alive"]),
    ):
        data = request(version="1.0", headers=headers)
        response = answers(data, STATUS + body)
        want = b"abc" if body is small else b"x" * 50000 + b"y"
        equal((response.framing, response.connection(), response.body), (framing, options, want), f"{headers} {body}")
        with served(STATUS + body) as (client, _):
            client.send(data)
            client.response(version="1.0")
            if options == ["close"]:
                client.nothing_more()
            else:
                client.send(data)
                equal(client.response(version="1.0").body, want, "second response")


@test("HEAD: send_data is ignored, the head is that of GET; the next request follows")
def _():
    for body, length in (
        ('request:send_data("abc", 5)', 4),
        ('request:send_header("Content-Length", 7) request:send_data("abcdefg")', 7),
        ('request:send_header("Content-Length", 7)', 7),
        ('request:finish_headers() request:send_data("abc") request:flush()', None),
        ('request:send_data(("x"):rep(100000))', None),
    ):
        with served(STATUS + body) as (client, _):
            for _ in range(2):
                client.send(HEAD)
                response = client.response("HEAD")
                equal(response.status, 200, body)
                if length is not None:
                    equal(response.length(), length, f"length for {body}")
    answers(HEAD, 'fails("send_data: ", function() request:send_data("x") end)' + STATUS)
    answers(HEAD, STATUS + 'request:finish() fails("send_data: ", function() request:send_data("x") end)')


@test("204, 205, 304: no body; data for them is an error, no data is none")
def _():
    for status, headers in (("204 No Content", ["Date"]), ("205 Reset Content", ["Date", "Content-Length"]), ("304 Not Modified", ["Date"])):
        for more in ("", 'request:send_data("")', "request:finish_headers()", "request:finish()", "request:flush()"):
            with served(f'request:send_status("{status}") {more}') as (client, _):
                client.send(GET + GET)
                for _ in range(2):
                    response = client.response()
                    equal((f"{response.status} {response.reason}", names(response)), (status, headers), f"{status} {more}")
        code = status[:3]
        body = f'request:send_status("{status}") fails({{"send_data: ", "{code}"}}, function() request:send_data("x") end)'
        equal(answers(GET, body).status, int(code), status)
    body = 'request:send_status("304 Not Modified") request:send_header("Content-Length", 99) request:send_header("ETag", "x")'
    equal(answers(GET, body).length(), 99, "what the response would have")
    for code in (204, 103, 101):
        body = 'fails({"send_header: ", "Content-Length"}, function() request:send_header("Content-Length", 0) end)'
        rest = {103: "request:finish_headers() ok(request)", 101: "request:send_header('Upgrade', 'echo')"}.get(code, "")
        answers(UPGRADE, f"request:send_status({code}) {body} {rest}")


@test("1xx: a status, headers and finish_headers, and then the response; the client has it at once")
def _():
    body = """
  request:send_status("103 Early Hints") request:send_header("Link", "</a>") request:finish_headers()
  gate:read()
  request:send_status(102) request:finish_headers()
  request:send_status("200 OK") request:send_header("A", "b") request:send_data("x")"""
    with gate() as (opened, go), served(opened + body) as (client, _):
        client.send(GET)
        interim = client.head()
        equal((interim.status, interim.headers), (103, [("Link", "</a>")]), "interim response")
        go()
        response = client.response()
        equal([r.status for r in response.interim], [102], "second interim response")
        equal((response.status, names(response), response.body), (200, ["A", "Date", "Content-Length"], b"x"), "response")


@test("1xx: dropped for HTTP/1.0; before finish_headers, a body or an end are errors, and another status ends it")
def _():
    body = 'request:send_status("103 Early Hints") request:send_header("A", "b") request:finish_headers() ok(request, "x")'
    equal(answers(request(version="1.0"), body).body, b"x", "HTTP/1.0")
    for call in ('send_data("x")', "finish()", f"send_file({FILE})"):
        name = call.partition("(")[0]
        checked(GET, f'request:send_status(103) fails("{name}: ", function() request:{call} end) request:finish_headers()')
    response = answers(GET, 'request:send_status(103) request:send_header("A", "b") ok(request, "x")')
    equal([(interim.status, interim.headers) for interim in response.interim], [(103, [("A", "b")])], "interim")
    equal((response.status, response.body), (200, b"x"), "the response behind it")
    checked(GET, 'request:send_status(103) request:finish_headers() fails("send_header: ", function() request:send_header("A", "b") end)')


@test("101: no body and no Connection of ours; what follows is the script's, on request.socket, what came early included")
def _():
    body = """
  request:send_status("101 Switching Protocols") request:send_header("Upgrade", "echo") request:send_header("Connection", "upgrade")
  fails("send_data: ", function() request:send_data("x") end)
  request:finish_headers()
  for _ = 1, 2 do request.socket:flush("echo ", request.socket:read(nil, "\\n"), "") end"""
    for pair in PAIRS.values():
        with served(body, pair=pair) as (client, _):
            client.send(UPGRADE + b"early\n")
            response = client.response()
            equal((response.status, names(response)), (101, ["Upgrade", "Date", "Connection"]), "response")
            equal(response.connection(), ["upgrade"], "Connection")
            equal(client.line(), "echo early", "what came with the head")
            client.send("late\n")
            equal(client.line(), "echo late", "what came later")
            client.nothing_more()


@test("101: an error where the client has not asked for it, where its body is unread, or where the protocol is not named")
def _():
    def no_switch(data, why):
        body = f'fails({{"send_status: a 101 cannot be sent: ", "{why}"}}, function() request:send_status(101) end) ok(request)'
        equal(answers(data, body).status, 200, f"status for {data}")

    fields = ["Upgrade: echo", "Connection: upgrade"]
    no_switch(request(version="1.0", headers=fields), "HTTP/1.0")
    no_switch(GET, "has not sent Upgrade")
    no_switch(request(headers=fields[:1]), "without Connection: upgrade")
    no_switch(request(headers=fields[1:]), "has not sent Upgrade")
    no_switch(request(method="POST", headers=fields, body=b"abc"), "body was not read")
    for protocol in ("bar", "echo, bar", "foo", "foo/3", ""):
        wrong = f"""fails("send_header: a 101 cannot be sent: the client has not offered this protocol", function()
          request:send_header("Upgrade", "{protocol}") end)"""
        answers(UPGRADE, f'request:send_status(101) {wrong} request:send_header("Upgrade", "ECHO")')
    for call in ("finish_headers", "finish"):
        wrong = f'fails("{call}: a 101 has to name the protocol", function() request:{call}() end)'
        answers(UPGRADE, f'request:send_status(101) {wrong} request:send_header("Upgrade", "foo/2")')
    wrong = 'fails("flush: a 101 has to name", function() request:send_data("") request:flush() end) error("thrown")'
    equal(answers(UPGRADE, f"request:send_status(101) {wrong}", status=70, log="thrown").status, 500, "flush")
    equal(answers(UPGRADE, "request:send_status(101)", status=70, log="a 101 has to name").status, 500, "no Upgrade")
    # Other statuses may tell of protocols.
    equal(answers(GET, 'request:send_status(426) request:send_header("Upgrade", "echo")').value("Upgrade"), "echo", "426")
    # A body that was read is no obstacle: the 100 (Continue) comes before.
    with served('local _ = request.body request:send_status(101) request:send_header("Upgrade", "echo")') as (client, _):
        client.send(request(method="POST", headers=[*fields, "Expect: 100-continue", "Content-Length: 3"]))
        equal(client.head().status, 100, "the body is asked for")
        client.send(b"abc")
        equal(client.response().status, 101, "status")


@test("close_after_finish: Connection: close is sent by itself, and the connection closed after the response")
def _():
    for body in ("request:close_after_finish()" + STATUS, STATUS + "request:close_after_finish() request:close_after_finish()"):
        with served(body + 'request:send_data("x")', pair=PAIRS["TCP"]) as (client, _):
            client.send(GET + GET)
            response = client.response()
            equal((response.connection(), response.body), (["close"], b"x"), body)
            client.nothing_more()


@test("monologue: as close_after_finish, and all input is discarded, at once and without waiting")
def _():
    for before in ("", STATUS):
        after = "" if before else STATUS
        with served(f'{before} request:monologue() {after} request:send_data(("x"):rep(8 << 20))', pair=PAIRS["TCP"]) as (client, _):
            client.send(request("/", "POST", "y" * (1 << 20)) + GET)
            response = client.response()
            equal((response.closes(), len(response.body)), (True, 8 << 20), "response")
            client.nothing_more()
    with served(f"request:monologue() {STATUS}") as (client, _):
        client.send(request("/", "POST", None, ["Content-Length: 100"]))
        equal(client.response().status, 200, "a body that does not come")


# ---- buffering ----


@test("a small page is sent in one piece, head and body, and so is each after it")
def _():
    for body in ('request:send_data("x") request:send_data("y")', 'request:send_header("Content-Length", 2) request:send_data("xy")', ""):
        with served(STATUS + body, pair=PAIRS["TCP"]) as (client, _):
            for count in range(1, 11):
                client.send(GET)
                client.response()
                equal(segments(client), count, f"segments with data after {count} responses to {body!r}")
    with served(STATUS + 'request:send_data("x") request:flush() gate = io.popen("sleep 0.05"):read()', pair=PAIRS["TCP"]) as (client, _):
        client.send(GET)
        client.response()
        equal(segments(client), 2, "segments of a response that was flushed before its end")


def segments(client):
    """How many TCP segments with data have come: tcpi_data_segs_in."""
    return struct.unpack_from("I", client.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), 152)[0]


@test("flush reaches the wire at once: server-sent events, each seen before the next is made")
def _():
    body = """
  request:send_status("200 OK") request:send_header("Content-Type", "text/event-stream") request:finish_headers()
  for n = 1, 20 do
    gate:read()
    request:send_data("data: ", n, "\\n\\n") request:flush()
  end"""
    for name, pair in PAIRS.items():
        for version in ("1.1", "1.0"):
            with gate() as (opened, go), served(opened + body, pair=pair) as (client, _):
                client.send(request(version=version))
                response = client.head(version=version)
                equal((response.status, response.framing), (200, "chunked" if version == "1.1" else "close"), f"{name} {version}")
                for n in range(1, 21):
                    go()
                    want = b"data: %d\n\n" % n
                    equal(client.chunk() if version == "1.1" else client.take(len(want), "in an event"), want, f"event {n}")
                if version == "1.1":
                    equal(client.chunk(), b"", "last chunk")


@test("finish_headers sends the head at once, finish the rest; without them nothing goes out before it has to")
def _():
    with gate() as (opened, go), served(opened + STATUS + 'request:finish_headers() gate:read() request:send_data("x") '
                                        "request:finish() print('finished') gate:read()") as (client, server):  # fmt: skip
        client.send(GET)
        response = client.head()
        equal(response.framing, "chunked", "framing")
        go()
        equal(client.data(response), b"x", "body")
        server.says("finished")
        go()
    with gate() as (opened, go), served(opened + STATUS + 'request:send_data("x") print("sent") gate:read()') as (client, server):
        client.send(GET)
        server.says("sent")
        client.sock.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            check(client.sock.recv(1) is None, "something was sent early")
        client.sock.settimeout(mbtest.DEADLINE)
        go()
        equal(client.response().body, b"x", "body")


@test("finish and finish_headers may be called several times; flush always")
def _():
    body = """
  request:flush() request:send_status(200) request:flush() request:send_header("A", "b") request:flush()
  request:finish_headers() request:finish_headers() request:flush() request:flush()
  request:send_data("x") request:finish_headers() request:flush() request:send_data("y") request:finish_headers()
  request:finish() request:finish() request:flush() request:finish()"""
    response = answers(GET, body)
    equal((response.body, response.value("A")), (b"xy", "b"), "response")


# ---- states ----

START = ("", "no status was sent yet", 'send_header("A", "b")', 'send_data("x")', 'send_data("")', "finish_headers()", "finish()",
         f"send_file({FILE})")  # fmt: skip
STARTED = (STATUS, "the status was sent already", 'send_status("200 OK")', "send_status(103)")
AFTER_HEAD = ('send_status("200 OK")', 'send_header("A", "b")', "close_after_finish()", "monologue()")
COMES_FIRST = "the response head is finished: the status and the headers come first, before request:send_data, "
COMES_FIRST += "send_file and finish_headers"
AFTER_END = AFTER_HEAD + ('send_data("x")', 'send_data("")', "finish_headers()", f"send_file({FILE})")


@test("a call in the wrong state is an error that names the call and the state, and points at the script's line")
def _():
    for setup, state, *calls in (
        START,
        STARTED,
        (STATUS + "request:finish_headers()", "the response head is finished", *AFTER_HEAD),
        (STATUS + 'request:send_data("x")', COMES_FIRST, *AFTER_HEAD),
        (STATUS + 'request:send_data("")', "the response head is finished", *AFTER_HEAD),
        (STATUS + f"request:send_file({FILE})", "the response head is finished", *AFTER_HEAD),
        (STATUS + "request:finish()", "the response is finished", *AFTER_END),
        (STATUS + 'request:send_data("x") request:finish()', "the response is finished", *AFTER_END),
    ):
        for call in calls:
            name = call.partition("(")[0]
            rest = "" if setup else STATUS
            for data in (GET, HEAD):
                answers(data, f'{setup}\nfails({{"{name}: ", "{state}"}}, function()\nrequest:{call} end)\n{rest}')


@test("a handler that ends without finish() is finished")
def _():
    for body in (STATUS, STATUS + 'request:send_data("x")', STATUS + 'request:finish_headers() request:send_data("x") request:flush()'):
        with served(body) as (client, _):
            client.send(GET + GET)
            equal([client.response().status for _ in range(2)], [200, 200], body)
    output = replayed(GET + GET, STATUS + 'request:send_data("x")')
    equal([output.response().body for _ in range(2)], [b"x", b"x"], "replay")


mbtest.main()
