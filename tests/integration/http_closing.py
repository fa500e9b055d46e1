#!/usr/bin/python3
"""How connections end: a client gets to read the last response, or the refusal, though it is still sending. What goes wrong
before that: http_failing.py."""

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


def refusal(client, status, text=None):
    response = client.response()
    equal((response.status, response.value("Connection")), (status, "close"), f"response {response}")
    if text is not None:
        equal(response.text(), text, "body")
    client.nothing_more()


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


@test("a body that is not read and is wrong: the response says that the connection ends, and the log why, at info")
def _():
    chunked = mbhttp.request(method="POST", headers=["Transfer-Encoding: chunked"])
    limit = "request_body_size_limit = 10"
    line = "in POST / (client 127.0.0.1)\n"

    def answered(data, why, body='ok(request, "x")', options="", closes=True, args=(), finish=False):
        log = f"http: {why} {line}" if why else ""
        with mbhttp.served(mbhttp.source(body, options), pair=tcp_pair, args=args, log=log) as (client, _):
            client.send(data)
            if finish:
                client.finish()
            response = client.response()
            equal((response.status, response.body, response.closes()), (200, b"x", closes), f"response to {data}")
            client.nothing_more()

    bad = chunked + b"zz\r\n" + GET
    answered(bad, "bad chunk size")
    answered(chunked + b"5;;\r\nhello\r\n0\r\n\r\n" + GET, "bad chunk extension")
    answered(chunked + b"1\r\na\r\n" * 100 + b"zz\r\n", "bad chunk size")
    answered(chunked + b"b\r\n" + b"x" * 11 + b"\r\n0\r\n\r\n" + GET, "the request body is too large", options=limit)
    answered(chunked + b"5\r\nhel", "the request body ended early", closes=False, finish=True)
    for body in (
        'request:send_status(200) request:send_data("x")',
        'request:send_status(200) request:finish_headers() request:send_data("x")',
    ):
        answered(chunked + b"1\r\na\r\n1\r\nb\r\nzz\r\n" + GET, "bad chunk size", body=body)
    answered(bad, "", args=("--log-level", "notice"))
    # A client that has not asked for more learns nothing new.
    answered(bad.replace(b"POST / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nConnection: close\r\n"), "bad chunk size")


@test("a body that is wrong only after the response has gone: the log says so, and the connection ends")
def _():
    log = "http: bad chunk size in POST / (client 127.0.0.1)\n"
    with mbhttp.served('ok(request, "x")', pair=tcp_pair, log=log) as (client, _):
        client.send(mbhttp.request(method="POST", headers=["Transfer-Encoding: chunked"]))
        response = client.response()
        equal((response.status, response.closes()), (200, False), "response")
        client.send(b"zz\r\n" + GET)
        client.nothing_more()


@test("a body that was wrong while the response was sent ends the connection, and the log says so")
def _():
    # The client reads only after it has sent all: the body is kept meanwhile, as far as it is good.
    body = """request:stream_request_body(function() end)
      request:send_status(200) for _ = 1, 64 do request:send_data(("x"):rep(262144)) end"""
    log = "http: bad chunk size in POST / (client 127.0.0.1)\n"
    with mbhttp.served(body, pair=tcp_pair, log=log) as (client, _):
        chunks = mbhttp.chunked("y" * (8 * MIB), 65536).replace(b"0\r\n\r\n", b"zz\r\n")
        client.send(mbhttp.request(method="POST", headers=["Transfer-Encoding: chunked"]) + chunks + GET)
        response = client.response()
        equal((response.status, len(response.body)), (200, 16 * MIB), "response")
        client.nothing_more()


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
