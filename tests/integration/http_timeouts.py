#!/usr/bin/python3
"""The timeouts of moonbridge_http: which one ends what, when, how the client sees it, and what the log says of it. They
are short here, and what ends by them ends within half a second after."""

import contextlib
import math
import os
import select
import signal
import socket
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhttp
import mbtest
from mbtest import SLOWNESS, Client, check, equal, tcp_pair, test, within

# Seconds that an end may come later than it has to, at the best of some attempts.
LATE = 0.6
EARLY = 0.02
STARTED = 'request:send_status("200 OK") request:send_data("x") request:flush() '
FINE = 'ok(request, "fine")'
ENDLESS = 'request:send_status("200 OK") local x = ("x"):rep(65536) while true do request:send_data(x) end'
GET = mbhttp.request()
HALF = mbhttp.request(method="POST", headers=["Content-Length: 1000"]) + b"half"
HALF_CHUNK = mbhttp.request(method="POST", headers=["Transfer-Encoding: chunked"]) + b"3e8\r\nhalf"


def small_pair():
    """A TCP connection that holds little."""
    with socket.socket() as listener, contextlib.ExitStack() as held:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)  # the accepted one has it, too
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        sock = held.enter_context(socket.socket())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        sock.connect(listener.getsockname())
        held.pop_all()
        return Client(sock), listener.accept()[0]


def drip(client, byte, every, seconds):
    """Sends a byte every so often, until something comes back or the seconds have gone. Returns whether it came."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            client.send(byte)
        except OSError:
            return True
        if select.select([client.sock], [], [], every)[0]:
            return True
    return False


def refused_408(client, method="GET"):
    response = client.response(method)
    equal((response.status, response.reason), (408, "Request Timeout"), f"response {response}")
    equal(response.value("Connection"), "close", "Connection")
    equal(client.end(), (b"", "eof"), "after the 408")


def is_silent(client):
    equal(client.end(), (b"", "eof"), "what the client gets")


def is_reset(client):
    equal(client.end()[1], "reset", "the end of the connection")


def ends(after, body, options, prepare, how, log, pair=tcp_pair, status=0):
    """prepare(client) begins it; it may return the time when that was. So many seconds later the connection ends in
    this way (how(client) checks that), and the process with it."""

    def measure():
        with mbhttp.served(mbhttp.source(body, options), pair=pair, status=status, log=log) as (client, server):
            begin = time.monotonic()
            begin = prepare(client) or begin
            how(client)
            late = time.monotonic() - begin - after
            check(late > -EARLY, f"ended {-late:.3f} s too early")
            with contextlib.suppress(OSError):  # reset
                client.finish()
            equal(server.child.wait(5 * SLOWNESS), status, "exit status")
        return late

    within(LATE, f"end {after} s after the beginning", measure)


def connected(_):
    pass


def sends(data):
    return lambda client: client.send(data)


def answered(client):
    """A request that is answered; the time then."""
    client.send(GET)
    equal(client.response().status, 200, "status")
    return time.monotonic()


@test("idle_timeout: a client that sends nothing is left in silence")
def _():
    ends(0.3, FINE, "idle_timeout = 0.3", connected, is_silent, "")
    ends(0.3, FINE, "idle_timeout = 0.3", answered, is_silent, "")
    ends(0.3, FINE, "idle_timeout = 0.3", answered, is_silent, "", pair=mbtest.local_pair)
    # The process does not wait for a client that keeps its side open.
    with mbhttp.served(FINE, "idle_timeout = 0.1, drain_timeout = false") as (client, server):
        answered(client)
        equal(server.child.wait(), 0, "exit status")


@test("idle_timeout: empty lines are no beginning of a request")
def _():
    options = "idle_timeout = 0.3, request_header_timeout = 0.8"
    ends(0.3, FINE, options, sends(b"\r\n"), is_silent, "")

    def behind(client):
        client.send(GET + b"\r\n")
        equal(client.response().status, 200, "status")
        return time.monotonic()

    ends(0.3, FINE, options, behind, is_silent, "")


@test("idle_timeout ends with the first byte, and does not count a body or a response")
def _():
    with mbhttp.served("os.execute('exec sleep 0.3') ok(request, request.body)", "idle_timeout = 0.15") as (client, server):
        client.send(b"P")
        time.sleep(0.3)
        client.send(HALF[1:])
        server.asleep()
        time.sleep(0.3)
        client.send(bytes(996))
        equal(client.response().status, 200, "status")
        is_silent(client)


def slow_head(client):
    client.send(b"GET /")
    begin = time.monotonic()
    check(drip(client, b"x", 0.1, 3 * SLOWNESS), "the end of a head that does not end")
    return begin


@test("request_header_timeout: a head of a byte every 0.1 s gets a 408")
def _():
    for others in ("", ", stall_timeout = 0.3, minimum_input_rate = false, idle_timeout = 0.05"):
        options = "request_header_timeout = 0.35" + others
        ends(0.35, FINE, options, slow_head, refused_408, "request_header_timeout")


@test("idle_timeout: empty lines, and halves of them, are of no request, and do not put it off")
def _():
    def empty_lines(client):
        begin = time.monotonic()
        while time.monotonic() < begin + 3 * SLOWNESS:
            try:
                for half in (b"\r", b"\n"):
                    client.send(half)
                    time.sleep(0.05)
            except OSError:
                break
            if select.select([client.sock], [], [], 0)[0]:
                break
        return begin

    ends(0.4, FINE, "idle_timeout = 0.4, request_header_timeout = 0.3", empty_lines, lambda client: client.end(), "")


@test("request_header_timeout: so does one that stops, of a second request, too")
def _():
    options = "request_header_timeout = 0.3, stall_timeout = 0.4"
    ends(0.3, FINE, options, sends(b"G"), refused_408, "request_header_timeout")
    ends(0.3, FINE, options, sends(GET[:-1]), refused_408, "request_header_timeout", pair=mbtest.local_pair)
    ends(0.3, FINE, options, sends(b"HEAD /"), lambda client: refused_408(client, "HEAD"), "request_header_timeout")

    def second(client):
        answered(client)
        client.send(b"GET /")
        return time.monotonic()

    ends(0.3, FINE, options, second, refused_408, "request_header_timeout")

    def pipelined(client):
        client.send(GET + b"GET /")
        equal(client.response().status, 200, "status")
        return time.monotonic()

    ends(0.3, FINE, options, pipelined, refused_408, "request_header_timeout")


@test("request_header_timeout: a head that is slow and in time is answered")
def _():
    options = "request_header_timeout = 10, stall_timeout = 5, minimum_input_rate = 1, idle_timeout = 5"
    with mbhttp.served(FINE, options) as (client, _):
        for piece in (GET[:1], GET[1:10], GET[10:]):
            client.send(piece)
            time.sleep(0.15)
        equal(client.response().status, 200, "status")


@test("stall_timeout: a head that does not go on gets a 408")
def _():
    def half(client):
        client.send(b"GET /")
        begin = time.monotonic()
        time.sleep(0.15)
        client.send(b"x")
        return begin + 0.15

    for begin in (sends(b"G"), sends(b"GET / HT"), sends(GET[:-1]), half):
        ends(0.3, FINE, "stall_timeout = 0.3, minimum_input_rate = false", begin, refused_408, "stall_timeout")
    ends(0.3, FINE, "stall_timeout = 0.3", sends(b"GET /"), refused_408, "stall_timeout", pair=mbtest.local_pair)

    def second(client):
        answered(client)
        client.send(b"GET /")
        return time.monotonic()

    ends(0.3, FINE, "stall_timeout = 0.3", second, refused_408, "stall_timeout")


def drips(head, byte=b"x", every=0.1):
    """Sends a beginning, and then a byte every so often until something comes back."""

    def prepare(client):
        client.send(head)
        begin = time.monotonic()
        check(drip(client, byte, every, 3 * SLOWNESS), "the end of what does not end")
        return begin

    return prepare


def drips_unread(client):
    """Sends the half of a body, and then a byte every 0.1 s until the connection ends; reads nothing."""
    client.send(HALF)
    begin = time.monotonic()
    poller = select.poll()
    poller.register(client.sock, select.POLLRDHUP)
    while not poller.poll(100) and time.monotonic() < begin + 5 * SLOWNESS:
        with contextlib.suppress(OSError):
            client.send(b"x")
    return begin


RATE = "stall_timeout = 0.3"  # in which 72 bytes have to come, by default


@test("minimum_input_rate: a head, and a body, of a byte every 0.1 s get a 408, however the body is read")
def _():
    for pair in mbhttp.PAIRS.values():
        ends(0.3, FINE, RATE, drips(b"GET /"), refused_408, "minimum_input_rate", pair)
        ends(0.3, "return request.body", RATE, drips(HALF), refused_408, "minimum_input_rate", pair)
    ends(0.3, FINE, RATE, drips(GET[:-2] + b"X: "), refused_408, "minimum_input_rate")
    chunk = b"1\r\nx\r\n"
    ends(0.3, "return request.body", RATE, drips(HALF_CHUNK[:-9] + chunk, chunk), refused_408, "minimum_input_rate")
    for body in (
        "request:consume_input()",
        "request:stream_request_body(function() end) request:consume_input()",
        "request:stream_request_body_now(function() end)",
        "request:stream_request_body_now()",
        "pcall(function() return request.body end)",
    ):
        ends(0.3, body, RATE, drips(HALF), refused_408, "minimum_input_rate")
    ends(0.3, STARTED + "return request.body", RATE, drips_unread, is_reset, "minimum_input_rate")

    def second(client):
        answered(client)
        return drips(HALF)(client)

    ends(0.3, "ok(request, #request.body)", RATE, second, refused_408, "minimum_input_rate")


@test("minimum_input_rate: what it cuts off of a body is logged at the level that is shown by default")
def _():
    for data, logged in ((HALF, "minimum_input_rate"), (b"GET /", "")):
        with mbhttp.served("return request.body", RATE, args=("--log-level=notice",), log=logged) as (client, _):
            drips(data)(client)


@test("minimum_input_rate: a client that neither reads nor sends as fast is reset")
def _():
    ends(0.3, ENDLESS, RATE, drips_unread, is_reset, "minimum_input_rate", pair=small_pair)


@test("minimum_input_rate: a client that is fast enough, waits for us, or has a rate of false, goes on")
def _():
    timeout = 0.3 * SLOWNESS
    with mbhttp.served("ok(request, #request.body)", f"stall_timeout = {timeout}, minimum_input_rate = 20") as (client, _):
        client.send(HALF)
        for _ in range(12):
            time.sleep(timeout / 4)
            client.send(b"x" * 83)
        equal(client.response().body, b"1000", "a body of some 1000 bytes a second")
    for options in ("minimum_input_rate = false", "stall_timeout = false"):
        options = options if "stall" in options else f"stall_timeout = {timeout}, {options}"
        with mbhttp.served("ok(request, #request.body)", options) as (client, _):
            client.send(mbhttp.request(method="POST", headers=["Content-Length: 9"]))
            check(not drip(client, b"x", timeout / 4, 2 * timeout), "no answer before the end of the body")
            client.send(b"x")
            equal(client.response().body, b"9", options)
    # The script is slow, not the client.
    slow = f"local n = 0 request:stream_request_body_now(function(x) n = n + #x os.execute('exec sleep {timeout / 2}') end)"
    with mbhttp.served(f"{slow} ok(request, n)", f"stall_timeout = {timeout}, minimum_input_rate = 1000") as (client, _):
        client.send(mbhttp.request(method="POST", headers=["Content-Length: 60"]))
        for _ in range(6):
            client.send(b"x" * 10)
            time.sleep(timeout / 2)
        equal(client.response().body, b"60", "answer")


@test("stall_timeout: a body that does not go on gets a 408, however it is read")
def _():
    for body in (
        "return request.body",
        "request:consume_input()",
        "return request.post_params",
        "request:stream_request_body(function() end) request:consume_input()",
        "request:stream_request_body_now(function() end)",
        "request:stream_request_body_now()",
        "pcall(function() return request.body end)",
    ):
        ends(0.3, body, "stall_timeout = 0.3", sends(HALF), refused_408, "stall_timeout")
    for pair in mbhttp.PAIRS.values():
        ends(0.3, "return request.body", "stall_timeout = 0.3", sends(HALF_CHUNK), refused_408, "stall_timeout", pair)
    no_body = mbhttp.request(method="POST", headers=["Content-Length: 1000"])
    ends(0.3, "return request.body", "stall_timeout = 0.3", sends(no_body), refused_408, "stall_timeout")


@test("stall_timeout: a multipart body, in the middle of a part's head and of its content")
def _():
    for end in (b"--b\r\nContent-Dis", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nabc\r\n--'):
        headers = ["Content-Length: 1000", "Content-Type: multipart/form-data; boundary=b"]
        data = mbhttp.request(method="POST", headers=headers) + end
        ends(0.3, "return request.post_params", "stall_timeout = 0.3", sends(data), refused_408, "stall_timeout")


@test("stall_timeout: reset when something of the response has gone out")
def _():
    body = 'request:send_status("200 OK") return request.body'
    ends(0.3, body, "stall_timeout = 0.3", sends(HALF), refused_408, "stall_timeout")
    body = 'request:send_status("200 OK") request:send_data("x") request:flush() return request.body'
    ends(0.3, body, "stall_timeout = 0.3", sends(HALF), is_reset, "stall_timeout")


@test("stall_timeout: a slow body goes on as long as it goes on")
def _():
    pieces = math.ceil(8 * SLOWNESS)  # of which each comes in time, and all together take longer than the timeout
    with mbhttp.served("ok(request, #request.body)", f"stall_timeout = {0.4 * SLOWNESS}, minimum_input_rate = 1") as (client, _):
        client.send(mbhttp.request(method="POST", headers=[f"Content-Length: {pieces}"]))
        for _ in range(pieces):
            time.sleep(0.1)
            client.send(b"x")
        equal(client.response().body, b"%d" % pieces, "answer")


@test("stall_timeout: so does what is no content: heads of parts, trailers, chunk extensions")
def _():
    part = b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--B--\r\n'
    chunked = ["Transfer-Encoding: chunked"]
    for head, slow in (
        (mbhttp.request(method="POST", headers=[f"Content-Length: {len(part)}", "Content-Type: multipart/form-data; boundary=B"]), part),
        (mbhttp.request(method="POST", headers=chunked), b"0\r\nA-Trailer: of some length\r\n\r\n"),
        (mbhttp.request(method="POST", headers=chunked), b"0;an=extension;of=some-length\r\n\r\n"),
    ):
        timeout = 0.4 * SLOWNESS
        pause = 1.5 * timeout / len(slow)  # all together take longer than the timeout
        with mbhttp.served("request:consume_input() ok(request, 'fine')", f"stall_timeout = {timeout}, minimum_input_rate = 1") as (client, _):
            client.send(head)
            for byte in slow:
                time.sleep(pause)
                client.send(bytes([byte]))
            equal(client.response().body, b"fine", "answer")


@test("stall_timeout: a client that takes nothing of the response is reset")
def _():
    def reads_later(client):
        client.send(GET)
        # The end is seen where nothing needs to be read.
        poller = select.poll()
        poller.register(client.sock, select.POLLRDHUP)
        check(poller.poll(3000 * SLOWNESS), "the end of the connection")

    ends(0.3, ENDLESS, "stall_timeout = 0.3", reads_later, is_reset, "stall_timeout")
    flushed = 'request:send_status("200 OK") request:send_data(("x"):rep(16 << 20)) request:flush()'
    ends(0.3, flushed, "stall_timeout = 0.3", reads_later, is_reset, "stall_timeout")
    finished = 'ok(request, ("x"):rep(16 << 20))'
    ends(0.3, finished, "stall_timeout = 0.3", reads_later, is_reset, "stall_timeout")
    path = mbtest.tmp("sparse")
    with open(path, "wb") as f:
        f.truncate(16 << 20)
    file = f'request:send_status("200 OK") request:send_file("{path}")'
    ends(0.3, file, "stall_timeout = 0.3", reads_later, is_reset, "stall_timeout")


@test("stall_timeout: a client that neither sends its body nor takes the response")
def _():
    def sends_half(client):
        client.send(HALF)
        poller = select.poll()
        poller.register(client.sock, select.POLLRDHUP)
        check(poller.poll(3000 * SLOWNESS), "the end of the connection")

    ends(0.3, ENDLESS, "stall_timeout = 0.3", sends_half, is_reset, "stall_timeout")


@test("stall_timeout: a slow reader goes on as long as it goes on")
def _():
    body = 'request:send_status("200 OK") request:send_header("Content-Length", 300000) request:send_data(("x"):rep(300000))'
    with mbhttp.served(body, f"stall_timeout = {0.5 * SLOWNESS}", pair=small_pair) as (client, _):
        client.send(GET)
        size = client.head().length() - len(client.buffer)
        while size > 0:
            time.sleep(0.1 * SLOWNESS)
            size -= len(client.sock.recv(min(size, 32768)))
        client.buffer = b""


def reads_slowly(client):
    begin = time.monotonic()
    client.send(GET)
    with contextlib.suppress(ConnectionResetError):
        while client.sock.recv(4096):
            time.sleep(0.01)
            check(time.monotonic() < begin + 5 * SLOWNESS, "the end of the response")
    return begin


@test("response_timeout: a response that takes too long is reset, whatever the client reads")
def _():
    def goes_on(client):
        # What was read to its end was a reset; there is nothing more.
        equal(client.sock.recv(1), b"", "after the reset")

    for options in ("response_timeout = 0.4", "response_timeout = 0.4, stall_timeout = 0.3"):
        ends(0.4, ENDLESS, options, reads_slowly, goes_on, "response_timeout", pair=small_pair)
    # Where input is looked for as well; and not by the alarm, a second later.
    ends(0.4, "request:monologue() " + ENDLESS, "response_timeout = 0.4", reads_slowly, goes_on, "response_timeout)", pair=small_pair)


@test("response_timeout: a body of a byte every 0.1 s gets a 408, or a reset when something has gone out; the log says so")
def _():
    def slow_body(client):
        begin = time.monotonic()
        client.send(HALF)
        check(drip(client, b"x", 0.1, 3 * SLOWNESS), "the end of a body that does not end")
        return begin

    options = "response_timeout = 0.45, stall_timeout = 0.3, minimum_input_rate = 1"
    ends(0.45, "return request.body", options, slow_body, refused_408, "response_timeout")
    begun = 'request:send_status("200 OK") request:flush() '
    ends(0.45, begun + "return request.body", options, slow_body, refused_408, "response_timeout")
    begun += "request:finish_headers() "
    ends(0.45, begun + "return request.body", "response_timeout = 0.45", sends(HALF), is_reset, "response_timeout")


@test("response_timeout: what it cuts off is logged at the level that is shown by default")
def _():
    body, options = "return request.body", "response_timeout = 0.2"
    with mbhttp.served(body, options, args=("--log-level", "notice"), log="response_timeout) in POST /") as (client, _):
        client.send(HALF)
        refused_408(client)


@test("response_timeout: a handler that is busy is ended by the alarm timer a second later")
def _():
    for body in ("while true do end", "os.execute('exec sleep 2')", 'request:send_status("200 OK") while true do end'):
        log = "response_timeout: the handler took too long in GET /, connection reset\n"
        ends(1.3, body, "response_timeout = 0.3", sends(GET), is_reset, log, status=-signal.SIGALRM)


@test("response_timeout: of a long request line, the log shows the beginning; all of another, which has no control characters")
def _():
    for target, shown in (("/" + "x" * 2000, "/" + "x" * 300), ("/%ff?a=%0a{\\|", "/%ff?a=%0a{\\|, connection reset\n")):
        with mbhttp.served("while true do end", "response_timeout = 0.1", status=-signal.SIGALRM, log=shown) as (client, _):
            client.send(mbhttp.request(target))
            check(client.end()[0] == b"", "nothing is sent")


@test("response_timeout counts each response, and not what is between them")
def _():
    timeout = 0.3 * SLOWNESS
    options = f"response_timeout = {timeout}, idle_timeout = {10 * SLOWNESS}"
    with mbhttp.served(f"os.execute('exec sleep 0.2') {FINE}", options) as (client, _):
        for pause in (0, 0, 1.1 + timeout, 0):
            time.sleep(pause)
            client.send(GET)
            equal(client.response().status, 200, "status")


@test("timeout() within a callback, and within a streaming function, says what is left of response_timeout")
def _():
    show = 'local left = timeout() ok(request, left > 5 and left <= 8)'
    for body in (
        f'{show}',
        f'coroutine.wrap(function() {show} end)()',
        f'request:stream_request_body_now(function() end) {show}',
        'local left request:stream_request_body(function() left = timeout() end) request:consume_input() ok(request, left > 5)',
    ):
        equal(mbhttp.answers(mbhttp.request("/", "POST", b"x"), body, "response_timeout = 7").body, b"true", body)
    equal(mbhttp.answers(GET, "ok(request, timeout())", "response_timeout = false").body, b"0.0", "without a limit")


@test("a timeout() of the handler's own holds, and is over with the request")
def _():
    busy = "timeout(0.3) while true do end"
    ends(0.3, busy, "response_timeout = 10", sends(GET), is_reset, "timeout", status=-signal.SIGALRM)
    timeout = 0.3 * SLOWNESS
    with mbhttp.served(f"if request.path == 'first' then timeout({timeout}) end {FINE}") as (client, _):
        client.send(mbhttp.request("/first"))
        equal(client.response().status, 200, "status")
        time.sleep(timeout + 0.2)
        client.send(GET)
        equal(client.response().status, 200, "status")


@test("false: no timeout")
def _():
    names = ("idle", "request_header", "stall", "response", "drain")
    options = ", ".join(f"{n}_timeout = false" for n in names)
    with mbhttp.served("ok(request, request.body)", options, pair=tcp_pair) as (client, server):
        for piece in (HALF[:3], HALF[3:-2], HALF[-2:], bytes(996)):
            server.asleep()
            client.send(piece)
        equal(client.response().status, 200, "status")
        client.send(b"GET / HTTP/1.1\r\nConnection: close\r\nHost: a\r\n\r\nmore")
        equal(client.response().status, 200, "status")
        client.nothing_more()
        server.asleep()
        equal(server.child.status, None, "exit status before the client closes")


mbtest.main()
