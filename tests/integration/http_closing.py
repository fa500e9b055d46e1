#!/usr/bin/python3
"""How connections end when something went wrong: 500, resets, bodies that are refused while the script reads them; and
that a client gets to read the response though it is still sending."""

import os
import sys
import threading
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhttp
import mbtest
from mbtest import check, equal, tcp_pair, test, within

GET = mbhttp.request()
MIB = 1 << 20
BAD_BODY = mbhttp.request(method="POST", headers=["Transfer-Encoding: chunked"]) + b"3\r\nabcx\r\n0\r\n\r\n"


def refusal(client, status, text=None):
    response = client.response()
    equal((response.status, response.value("Connection")), (status, "close"), f"response {response}")
    if text is not None:
        equal(response.text(), text, "body")
    client.nothing_more()


@test("a handler that throws before it has sent a status: 500 without detail, the log has it all, exit status 70")
def _():
    for body, log in (
        ('error("a secret")', "a secret"),
        ('request:close_after_finish() error("a secret")', "a secret"),
        ("local x = nil + 1", "arithmetic"),
        ("error(setmetatable({}, {__tostring = function() return 'a secret' end}))", "a secret"),
        ("error()", "traceback"),
        ("", "send_status"),
    ):
        for pair in mbhttp.PAIRS.values():
            with mbhttp.served(mbhttp.source(body), pair=pair, status=70, log=log) as (client, _):
                client.send(GET + GET)
                refusal(client, 500, "500 Internal Server Error\n")
    with mbhttp.served('error("a secret")', status=70, log="traceback") as (client, _):
        client.send(GET)
        refusal(client, 500)


@test("a 500 for a HEAD request has no body")
def _():
    with mbhttp.served('error("x")', status=70, log="traceback") as (client, _):
        client.send(mbhttp.request(method="HEAD"))
        equal(client.response("HEAD").status, 500, "status")
        client.nothing_more()


@test("a handler that throws after something of its response has gone out: reset, exit status 70")
def _():
    for before in (
        'request:send_status("200 OK") request:finish_headers()',
        'request:send_status("200 OK") request:send_data("x") request:flush()',
        'request:send_status("200 OK") request:send_header("Content-Length", 5) request:send_data("x") request:flush()',
    ):
        with mbhttp.served(f'{before} error("deliberate")', pair=tcp_pair, status=70, log="deliberate") as (client, _):
            client.send(GET + GET)
            data, how = client.end()
            equal(how, "reset", f"the end after {before}, {data!r}")


@test("a handler that returns with less than its Content-Length: 500, or reset when something has gone out; exit status 70")
def _():
    body = 'request:send_status("200 OK") request:send_header("Content-Length", 5) request:send_data("x")'
    with mbhttp.served(body, pair=tcp_pair, status=70, log="Content-Length") as (client, _):
        client.send(GET)
        refusal(client, 500)
    with mbhttp.served(body + " request:flush()", pair=tcp_pair, status=70, log="Content-Length") as (client, _):
        client.send(GET)
        equal(client.end()[1], "reset", "the end")


@test("a body that is refused: a Lua error, request.faulty, and the refusal whatever the script does then")
def _():
    text = "chunk that is longer"
    for body in (
        "return request.body",
        "pcall(function() return request.body end)",
        """
        local good, message = pcall(function() return request.body end)
        if good or not message:find("chunk", 1, true) then error("a body: " .. tostring(message)) end
        if request.faulty ~= true then error("not faulty") end
        for _, call in ipairs{
          function() request:send_status("200 OK") end,
          function() return request.body end,
          function() return request.post_params end,
          function() request:finish() end,
        } do
          if pcall(call) then error("a faulty request was used") end
        end
        """,
        "pcall(request.consume_input, request) pcall(request.send_status, request, '200 OK')",
        "coroutine.wrap(function() return request.body end)()",
        "request:stream_request_body(function() end) request:consume_input()",
        "request:stream_request_body_now(function() end)",
        "request:stream_request_body_now()",
        "request:stream_request_body()",
    ):
        for pair in mbhttp.PAIRS.values():
            with mbhttp.served(mbhttp.source(body), pair=pair, log=text) as (client, server):
                client.send(BAD_BODY + GET)
                refusal(client, 400)


@test("the last response can be read to its end, though the client goes on sending after the server has ended")
def _():
    size = 400000
    body = f"request:close_after_finish() ok(request, ('x'):rep({size}))"
    for first, late in ((GET, GET), (mbhttp.request(method="POST", body="x"), b"\r\n"), (GET, b"x" * 10000)):
        with mbhttp.served(body, pair=tcp_pair) as (client, server):
            client.send(first)
            server.asleep()
            client.send(late)
            time.sleep(0.05)  # a reset would come now, and take the response with it
            equal(len(client.response().body), size, "the response")
            equal(client.end(), (b"", "eof"), "the end")


@test("an error of the script's own after that is the one that is logged; the client gets the refusal")
def _():
    body = 'pcall(function() return request.body end) error("deliberate")'
    with mbhttp.served(body, status=70, log="deliberate") as (client, _):
        client.send(BAD_BODY + GET)
        refusal(client, 400)


@test("a body that is refused after send_status, while nothing has gone out: the refusal")
def _():
    for body in (
        'request:send_status("200 OK") return request.body',
        'request:send_status("200 OK") request:send_data("x") pcall(function() return request.body end)',
    ):
        with mbhttp.served(mbhttp.source(body), pair=tcp_pair, log="400: ") as (client, _):
            client.send(BAD_BODY + GET)
            refusal(client, 400)


@test("a body that is refused after something has gone out: reset, one line in the log, exit status 0")
def _():
    for body in (
        'request:send_status("200 OK") request:send_data("x") request:flush() return request.body',
        'request:send_status("200 OK") request:finish_headers() pcall(function() return request.body end)',
    ):
        with mbhttp.served(mbhttp.source(body), pair=tcp_pair, log="chunk that is longer") as (client, _):
            client.send(BAD_BODY + GET)
            data, how = client.end()
            equal(how, "reset", f"the end of {body}, after {data!r}")


@test("a body that nobody reads and that is malformed: the response is complete, and nothing follows it")
def _():
    for pair in mbhttp.PAIRS.values():
        with mbhttp.served('ok(request, "fine")', pair=pair, log=None) as (client, _):
            client.send(BAD_BODY + GET)
            equal(client.response().body, b"fine", "response")
            client.nothing_more()


@test("a client that goes away: nothing but a line, exit status 0")
def _():
    quiet = ("--log-level", "notice")  # the default

    def gone(body, data, how, args=(), log="http: "):
        with mbhttp.served(mbhttp.source(body), pair=tcp_pair, args=args, log=log) as (client, server):
            client.send(data)
            server.asleep()
            how(client)

    half = mbhttp.request(method="POST", headers=["Content-Length: 10"]) + b"half"
    endless = 'request:send_status("200 OK") while true do request:send_data(("x"):rep(65536)) end'
    gone("return request.body", half, lambda client: client.reset())
    gone("return request.body", half, lambda client: client.reset(), quiet, "")
    gone("pcall(function() return request.body end)", half, lambda client: client.reset())
    gone(endless, GET, lambda client: client.reset())
    gone(endless, GET, lambda client: client.reset(), quiet, "")
    gone('ok(request, "x")', b"GET / HT", lambda client: client.reset())
    gone('ok(request, "x")', GET, lambda client: client.sock.close(), log=None)
    gone('ok(request, "x")', b"", lambda client: client.sock.close(), log="")


# ---- while the client is sending ----


def send_all_then_read(client, head, size):
    """A client that reads nothing before it has sent everything."""
    client.send(head)
    block = bytes(MIB)
    for _ in range(size // MIB):
        client.send(block)


@test("the refusal of a body of 10 MiB reaches a client that sends it all before it reads")
def _():
    head = mbhttp.request(method="POST", headers=[f"Content-Length: {10 * MIB}"])
    for pair in mbhttp.PAIRS.values():
        with mbhttp.served("return request.body", "request_body_size_limit = 1000", pair=pair, log="too large") as (client, _):
            send_all_then_read(client, head, 10 * MIB)
            refusal(client, 413)


@test("the refusal of a head reaches a client that goes on sending for 10 MiB")
def _():
    with mbhttp.served('ok(request, "x")', pair=tcp_pair, log="colon") as (client, _):
        send_all_then_read(client, b"GET / HTTP/1.1\r\nbad\r\n\r\n", 10 * MIB)
        refusal(client, 400)
    with mbhttp.served('ok(request, "x")', pair=tcp_pair, log="too long") as (client, _):
        send_all_then_read(client, b"GET /", 10 * MIB)
        refusal(client, 414)


@test("so does the 500 of a handler that throws")
def _():
    head = mbhttp.request(method="POST", headers=[f"Content-Length: {10 * MIB}"])
    with mbhttp.served('error("x")', pair=tcp_pair, status=70, log="traceback") as (client, _):
        send_all_then_read(client, head, 10 * MIB)
        refusal(client, 500)


@test("so does a good response that is the last, its body unread")
def _():
    head = mbhttp.request(method="POST", headers=[f"Content-Length: {10 * MIB}", "Connection: close"])
    for body in ('ok(request, "x")', 'request:monologue() ok(request, "x")'):
        with mbhttp.served(body, pair=tcp_pair) as (client, _):
            send_all_then_read(client, head, 10 * MIB)
            equal(client.response().status, 200, "status")
            client.nothing_more()


@test("a body that is not read is passed over, and the connection goes on")
def _():
    head = mbhttp.request(method="POST", headers=[f"Content-Length: {10 * MIB}"])
    with mbhttp.served('ok(request, "x")', pair=tcp_pair) as (client, _):
        for _ in range(3):
            send_all_then_read(client, head, 10 * MIB)
            equal(client.response().status, 200, "status")
        client.send(GET)
        equal(client.response().status, 200, "status of the last")


def ends_after(seconds, prepare, options, body="return request.body", log="http: "):
    """The process ends so many seconds after what prepare(client) does, though the client does not close."""

    def measure():
        with mbhttp.served(body, options, pair=tcp_pair, log=log) as (client, server):
            begin = prepare(client) or time.monotonic()
            equal(server.child.wait(), 0, "exit status")
            late = time.monotonic() - begin - seconds
            check(late > -0.05, f"{-late:.3f} s too early")
        return late

    within(0.4, f"end {seconds} s after the refusal", measure)


@test("drain_timeout: so long input is dropped, however much comes, from a client that does not close")
def _():
    def silent(client):
        client.send(b"bad\r\n\r\n")
        refusal(client, 400)

    def babbling(client):
        begin = time.monotonic()
        client.send(b"bad\r\n\r\n")

        def send():
            try:
                while True:
                    client.sock.sendall(bytes(4096))
            except OSError:
                pass

        threading.Thread(target=send, daemon=True).start()
        refusal(client, 400)
        return begin

    ends_after(0.3, silent, "drain_timeout = 0.3")
    ends_after(0.3, babbling, "drain_timeout = 0.3")


@test("drain_timeout: so long an unread body is waited for before the connection is given up")
def _():
    def partly(client):
        client.send(mbhttp.request(method="POST", headers=["Content-Length: 10"]) + b"half")
        equal(client.response().status, 200, "status")

    # For the rest of the body, and then for the end of the connection.
    ends_after(0.6, partly, "drain_timeout = 0.3", body='ok(request, "x")', log="")


mbtest.main()
