#!/usr/bin/python3
"""moonbridge_http where somebody means harm, or a script does what it should not: names that collide, chunks of a byte,
calls from within calls, errors that are caught and not heeded."""

import mmap
import os
import socket
import sys
import tempfile
import time
import uuid

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbhttp import answers, checked, multipart, replayed, request, served
from mbtest import HANDLE, check, equal, tcp_pair, test

GET = request()
UPGRADE = request(headers=["Upgrade: echo", "Connection: upgrade"])
TWO = request("/first") + request("/second")
SECOND = 'if request.path == "second" then return ok(request, "second") end '
with open(HANDLE, "rb") as program, mmap.mmap(program.fileno(), 0, access=mmap.ACCESS_READ) as text:
    SANITIZED = text.find(b"__asan_init") >= 0  # which has memory of its own


def colliding(count, size):
    """Strings that differ only in bytes at which Lua's hash does not look: it goes from the end in steps."""
    step = (size >> 5) + 1
    skipped = [at for at in range(size) if (size - 1 - at) % step != 0] or range(size)
    result = []
    for n in range(count):
        text = bytearray(b"a" * size)
        for at, digit in zip(skipped, b"%06d" % n):
            text[at] = digit
        result.append(text.decode())
    return result


def with_names(names):
    """The places where a client has names that become keys of tables: a request with them, what asks for them, the
    status when they are too many."""
    urlencoded = ["Content-Type: application/x-www-form-urlencoded"]
    cookies = [f"Cookie: {'; '.join(f'{name}=1' for name in half)}" for half in (names[::2], names[1::2])]
    lists = [f"X-List: {', '.join(half)}" for half in (names[::2], names[1::2])]
    parts = "".join(f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\nv\r\n' for name in names) + "--B--\r\n"
    yield request("/?" + "&".join(names)), "get_params", 414
    yield request("/", "GET", None, cookies), "cookies", 431
    yield request("/", "GET", None, lists), 'headers_flags["X-List"]', 431
    yield request("/", "POST", "&".join(names), urlencoded), "post_params", 413
    yield request("/", "POST", parts, ["Content-Type: multipart/form-data; boundary=B"]), "post_params", 413


def counted(names, good):
    """All names are there; or else they are refused, as too many."""
    count = "local count = 0 for _ in pairs(request.WHAT) do count = count + 1 end ok(request, count)"
    for data, what, status in with_names(names):
        options = "request_header_size_limit = 1 << 24, request_form_size_limit = false"
        response = answers(data, count.replace("WHAT", what), options, log=None)
        if good:
            equal((response.status, response.text()), (200, str(len(names))), f"{len(names)} names in {what}")
        else:
            equal((response.status, response.closes()), (status, True), f"{len(names)} names in {what}: {response}")


@test("names that a client can make collide, and others, in queries, cookies, header fields and forms: they have limits")
def _():
    for size in (32, 41, 100):
        counted(colliding(1000, size), True)
        counted(colliding(1001, size), False)
    counted([f"name{n}" for n in range(10000)], True)
    counted([f"name{n}" for n in range(10001)], False)
    counted(colliding(30000, 33), False)


def with_values(values):
    """The same for values; a part has two more, its file name and its type."""
    multipart_of = ["Content-Type: multipart/form-data; boundary=Bound-ary"]
    urlencoded = ["Content-Type: application/x-www-form-urlencoded"]
    ends = [values[n : n + 3] for n in range(0, len(values) - 2, 3)]
    parts = multipart([(f'name="a"; filename="{name}"', kind, value) for name, kind, value in ends])
    yield request("/?" + "&".join(f"a={value}" for value in values)), "get_params", 414
    yield request("/", "GET", None, [f"Cookie: {';'.join(f'c{n}={value}' for n, value in enumerate(values))}"]), "cookies", 431
    yield request("/", "POST", "&".join(f"a={value}" for value in values), urlencoded), "post_params", 413
    yield request("/", "POST", parts, multipart_of), "post_params", 413


@test("values that a client can make collide, as Lua keeps one copy of each: at most 1,000 different ones")
def _():
    options = "request_header_size_limit = 1 << 24"
    uuids = [str(uuid.UUID(int=n * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128))) for n in range(9000)]
    for values, good in (
        (colliding(999, 36), True),
        (colliding(1020, 32), False),
        (colliding(1020, 40), False),
        (colliding(9000, 36), False),
        (colliding(9000, 31), True),
        (uuids, True),
        (colliding(2, 36)[:1] * 9000, True),
        (["application/x-www-form-urlencoded"] * 9000, True),
    ):
        for data, what, status in with_values(values):
            got = answers(data, f'local _ = request.{what} ok(request, "")', options, log=None).status
            equal(got, 200 if good else status, f"{len(values)} values as {values[0]} in {what}")


@test("what is streamed has no such limit, in pieces of any size: nobody keeps it")
def _():
    content = "".join(colliding(9000, 40))
    lines = ["Content-Type: multipart/form-data; boundary=Bound-ary"]
    data = request("/", "POST", multipart([('name="a"', None, content)]), lines)
    body = """
  local size = 0
  request:stream_post_param("a", function(piece) size = size + #(piece or "") end)
  request:consume_input()
  ok(request, size)"""
    for size in (32, 40):
        got = answers(data, body, f"maximum_input_chunk_size = {size}")
        equal(got.text(), str(len(content)), f"pieces of {size} bytes")


@test("one long name many times is not many names")
def _():
    for data, what, _ in with_names(["n" * 40] * 5000):
        if not what.startswith("headers"):  # elements may become keys, but are a list
            options = "request_header_size_limit = 1 << 20"
            equal(answers(data, f"ok(request, #next(request.{what}))", options).text(), "40", what)


@test("a name of a query or a form has at most 8,192 bytes")
def _():
    for size, status in ((8192, 200), (8193, None)):
        for data, what, refused in with_names(["n" * size]):
            if what == "post_params" and b"multipart" in data or what.startswith(("cookies", "headers")):
                continue  # the head of a part is no longer than this, and others are not matched against patterns
            options = "request_header_size_limit = 1 << 20"
            equal(answers(data, f"ok(request, #next(request.{what}))", options, log=None).status, status or refused, what)


@test("a name that matches no pattern of stream_post_params, or many of them: the work has a bound, else 413")
def _():
    for pattern, names, log in (
        ("x*y$", ["x" * 40000], "too long or colliding"),
        ("x*y$", ["x" * 8000], "begins with ^ takes less"),
        ("x*y$", ["x" * 1000 + str(n) for n in range(100)], "begins with ^ takes less"),
        ("^x*x*x*x*y$", ["x" * 200], 'with the pattern "^x*x*x*x*y$")'),
        ("^x*y$", ["x" * 8000 + str(n) for n in range(100)], None),
        ("x", ["y" * 1000 + str(n) for n in range(1000)], None),
        ("^(%a+)%[(%d+)%]%[(%a+)%]%.(%a+)$", [f"tasks[{n}][description].textx{n}" for n in range(1000)], None),
    ):
        fields = [(f'name="{name}"', None, "1") for name in names]
        for data in (
            request("/", "POST", "&".join(names), ["Content-Type: application/x-www-form-urlencoded"]),
            request("/", "POST", multipart(fields), ["Content-Type: multipart/form-data; boundary=Bound-ary"]),
        ):
            if b"multipart" in data and len(names[0]) > 8192:
                continue  # refused as a head of a part that is too long
            body = f'request:stream_post_params("{pattern}", print) request:consume_input() ok(request, "done")'
            got = answers(data, body, log=log or "").status
            equal(got, 413 if log else 200, f"{len(names)} names, {pattern}")


@test("a body in chunks of one byte takes little more memory than its size, as a string and as a form")
def _():
    size = 4 << 20
    head, tail = b'--B\r\nContent-Disposition: form-data; name="n"\r\n\r\n', b"\r\n--B--\r\n"
    lines = ["Transfer-Encoding: chunked", "Content-Type: multipart/form-data; boundary=B"]
    data = request("/", "POST", None, lines) + b"%x\r\n%s\r\n" % (len(head), head) + b"1\r\nx\r\n" * size
    data += b"%x\r\n%s\r\n" % (len(tail), tail) + b"0\r\n\r\n"
    for name, expected in (("request.body", size + len(head) + len(tail)), ("request.post_params.n", size)):
        body = f"""
  local got = #{name}
  local peak = io.open("/proc/self/status"):read("a"):match("VmHWM:%s*(%d+)")
  ok(request, got, " ", peak)"""
        got, peak = map(int, replayed(data, body, "request_form_size_limit = false").response("POST").text().split())
        equal(got, expected, name)
        mbtest.diagnose(f"{name}: {peak} KiB at most")
        check(SANITIZED or peak < 5 * size >> 10, f"{name}: {peak} KiB at the peak")


@test("what is kept in memory of a large body costs at most twice its size: one field or several, a string")
def _():
    size = 64 << 20
    urlencoded = ["Content-Type: application/x-www-form-urlencoded"]
    for count in (1, 3):
        values = [("f%d" % n, b"v" * (size // count)) for n in range(count)]
        parts = multipart([(f'name="{name}"', None, value) for name, value in values])
        fields = b"&".join(name.encode() + b"=" + value for name, value in values)
        for what, body, headers in (
            ("body", b"v" * size, []),
            ("post_params.f0", parts, ["Content-Type: multipart/form-data; boundary=Bound-ary"]),
            ("post_params.f0", fields, urlencoded),
        ):
            script = f"""
  local got = #request.{what}
  ok(request, got, " ", (io.open("/proc/self/status"):read("a"):match("VmHWM:%s*(%d+)")))"""
            options = "request_body_size_limit = false, request_form_size_limit = false"
            got, peak = map(int, replayed(request("/", "POST", body, headers), script, options).response("POST").text().split())
            check(got >= size // count, f"{what}: {got} bytes")
            mbtest.diagnose(f"{what}, {count} fields, {headers}: {peak} KiB at most")
            check(SANITIZED or peak < (2 * size >> 10) + 8192, f"{what}, {headers}: {peak} KiB at the peak")


@test("memory that is twice a body's size, and some, is enough to keep it")
def _():
    size = 17 << 20  # a buffer that doubles would have 32 MiB
    parts = multipart([('name="f"', None, b"v" * size)])
    for what, body, headers in (
        ("body", b"v" * size, []),
        ("post_params.f", parts, ["Content-Type: multipart/form-data; boundary=Bound-ary"]),
        ("post_params.f", b"f=" + b"v" * size, ["Content-Type: application/x-www-form-urlencoded"]),
    ):
        script = f"ok(request, #request.{what})"
        with served(script, "request_form_size_limit = false", args=("--memory-limit", "38M")) as (client, _):
            client.send(request("/", "POST", body, headers))
            equal(client.response().text(), str(size), f"{what}, {headers}")


@test("a client that reads slowly, but reads, is not taken for dead")
def _():
    body = 'request:send_status(200) request:send_data(("x"):rep(8 << 20))'
    with served(body, "stall_timeout = 0.5", pair=tcp_pair) as (c, _):
        sock = c.sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        c.send(GET)
        end = time.monotonic() + 2.5
        slowly = 0
        while time.monotonic() < end:
            slowly += len(sock.recv(16384))
            time.sleep(0.02)  # the client is slow
        rest = 0
        while piece := sock.recv(1 << 20):
            rest += len(piece)
            if slowly + rest >= 8 << 20:
                break
        check(slowly + rest >= 8 << 20, f"all of it: {slowly} and {rest} bytes")


@test("what a script writes by itself after a 101 gets to the client, also when the client has sent more than was read")
def _():
    body = 'request:send_status(101) request:send_header("Upgrade", "echo") request:finish_headers() request.socket:write("bye")'
    for more in (b"", b"unread"):
        with served(body, pair=tcp_pair) as (client, _):
            client.send(UPGRADE + more)
            equal(client.response().status, 101, "status")
            equal(client.end(), (b"bye", "eof"), "behind it")
    with served(body + " request.socket:finish()", pair=tcp_pair) as (client, server):
        client.send(UPGRADE)
        equal(client.response().status, 101, "status")
        equal(client.end(), (b"bye", "eof"), "behind it, finished by the script")
        server.child.wait()
        # A reset behind the end is no end for who reads, but it is noted.
        equal(client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0, "no reset behind the end")


@test("an error in a response that is caught and not heeded: reset, no response behind it")
def _():
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(1 << 26)
        body = SECOND + f'request:send_status(200) pcall(request.send_file, request, "{file.name}")'
        with served(body, pair=tcp_pair, status=70, log="a file is being sent, or could not be sent to its end") as (client, _):
            client.send(TWO)
            client.more("in the response")
            os.truncate(file.name, 1000)
            came, how = client.end()
            check(b"second" not in came[-1000:], f"no second response: {came[-200:]!r}")
            equal(how, "reset", "end")


@test("while a file is sent, nothing else can be: an error, also from a stream handler that is called meanwhile")
def _():
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(8 << 20)
        body = f"""
  local errors = {{}}
  request:stream_request_body(function(chunk)
    if chunk then errors[#errors + 1] = select(2, pcall(request.send_data, request, "ECHO")) end
  end)
  request:send_status(200)
  request:send_data("<") request:flush()
  assert(request:send_file("{file.name}"))
  request:send_data(">")
  assert(#errors > 0 and errors[1]:find("send_data: a file is being sent", 1, true), errors[1])"""
        with served(body, pair=tcp_pair) as (client, _):
            size = 8 << 20
            client.send(request("/", "POST", b"y" * size))  # all of it, before anything is read
            response = client.response("POST")
            equal((len(response.body), response.body.count(b"\0")), (size + 2, size), "body")


@test("a __tostring that ends the response: the call it was for is an error, and nothing follows the end")
def _():
    body = """
  local late = setmetatable({}, {__tostring = function() request:send_data("fine") request:finish() return "LATE" end})
  request:send_status(200)
  fails("send_data: the response is finished", function() request:send_data(late) end)"""
    equal(answers(GET, body).body, b"fine", "body")


@test("a Date of an interim response does not stand for that of the response")
def _():
    response = answers(GET, 'request:send_status(103) request:send_header("Date", "Thu, 01 Jan 1970 00:00:00 GMT") request:finish_headers() ok(request, "x")')
    check(response.value("Date") > "" and "1970" not in response.value("Date"), f"Date: {response.value('Date')}")


@test("a refusal behind a response to HEAD has its body")
def _():
    captured = replayed(request(method="HEAD") + b"GET / HT", 'ok(request, "x")', log="http: 400: ")
    equal(captured.response("HEAD").status, 200, "the first")
    refusal = captured.response()
    equal((refusal.status, refusal.text()), (400, "400 Bad Request: the request head ended early\n"), "the second")


@test("a refusal has one Content-Type, also where static_headers has one")
def _():
    response = answers(b"GET / HTTP/1.1\r\n\r\n", "", 'static_headers = "Content-Type: text/html"', log="no Host field")
    equal(response.values("Content-Type"), ["text/html"], "Content-Type")


@test("send_file: a NUL does not cut a path short")
def _():
    body = """
  request:send_status(200)
  local sent, _, number = request:send_file("/etc/passwd\\0.html")
  eq(sent, nil) eq(number, 2)
  request:send_data("fine")"""
    equal(answers(GET, body).body, b"fine", "body")


@test("the states of a request's input: a move that is not in the table is an error that names both states, and no move")
def _():
    moves = {
        "over": "over receiving ignoring",
        "receiving": "over full dropping ignoring deaf",
        "full": "over receiving full dropping ignoring deaf",
        "dropping": "over ignoring deaf",
        "ignoring": "over dropping deaf",
        "deaf": "over dropping deaf",
    }
    without_change = {("ignoring", "over"), ("ignoring", "dropping"), ("deaf", "over"), ("deaf", "dropping")}
    body = """
  local move = require("mb.http.intake").move
  local function moved(from, to)
    local c = {state = from}
    local function try() return move(c, to) or true end
    return c, try
  end
"""
    for start, legal in moves.items():
        for end in [*moves, "elsewhere"]:
            body += f'  do local c, try = moved("{start}", "{end}") '
            if end in legal.split():
                after = start if (start, end) in without_change else end
                body += f'eq(true, try()) eq("{after}", c.state) end\n'
            else:
                body += f"fails('the input cannot go from the state \"{start}\" to \"{end}\"', try) eq(\"{start}\", c.state) end\n"
    checked(GET, body)


@test("an input that is not over when its request is: an error at once, and no other request is served")
def _():
    # Only a mistake in our own modules could set such a state.
    for state in ("ignoring", "deaf"):
        for first in (request("/first"), request("/first", "POST", "unread")):
            body = f'request._wire.state = "{state}" ok(request, request.path)'
            log = f'http: no request may follow in the state "{state}"'
            output = replayed(first + request("/second"), body, status=70, log=log)
            equal(output.response().text(), "first", "the first response")
            equal(output.end()[0], b"", "what follows")


@test("private fields that are overwritten, calls with other tables: errors, no crash")
def _():
    for body in (
        "request._response = nil request:send_status(200)",
        "request._wire = nil request:send_status(200)",
        "request.send_status({}, 200)",
        "request.send_data({_response = request._response}, 1)",
        "request:send_status(200) request._response = io.stdout request:send_data(1)",
        "request._wire.input:part(1)",
        "request._wire.input:read(0)",
        "request.socket = nil error('x')",
    ):
        # The client stays, so that the end of the lingering close is by its time limit.
        with served(body, "drain_timeout = 0.2", status=70, log=None) as (client, server):
            client.send(GET)
            server.child.wait()


mbtest.main()
