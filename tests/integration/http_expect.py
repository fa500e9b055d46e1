#!/usr/bin/python3
"""Expect: 100-continue. The client here sends its body only when it has got the 100, where one has to come.
Where none comes, as the body is there or there is none: captures/http_expect. Which fields are one: unit/http_head.c."""

import os
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhttp
import mbtest
from mbtest import check, equal, test

EXPECT = "Expect: 100-continue"
LENGTH = mbhttp.request(method="POST", headers=[EXPECT, "Content-Length: 5"])
CHUNKED = mbhttp.request(method="POST", headers=[EXPECT, "Transfer-Encoding: chunked"])
FORM = mbhttp.request(
    method="POST", headers=[EXPECT, "Content-Length: 5", "Content-Type: application/x-www-form-urlencoded"]
)
GET = mbhttp.request()
ECHO = "ok(request, request.body)"


def continued(client):
    """The server asks for the body."""
    head = client.head()
    equal((head.status, head.reason, head.headers), (100, "Continue", []), "interim response")
    equal(client.buffer, b"", "behind the 100")


def good(client, body):
    """A response without an interim one, after which the connection goes on."""
    response = client.response()
    equal((response.status, response.interim, response.body), (200, [], body), "response")
    check(not response.closes(), f"the connection goes on: {response}")


def last(client, status, body=None):
    """A response without an interim one, which is the last."""
    response = client.response()
    equal((response.status, response.interim), (status, []), "response")
    check(response.closes(), f"the connection does not go on: {response}")
    if body is not None:
        equal(response.body, body, "body")
    client.nothing_more()


@test("the 100 is sent when the body is wanted and not there, once for each request")
def _():
    for pair in mbhttp.PAIRS.values():
        with mbhttp.served(ECHO, pair=pair) as (client, _):
            for head, body in ((LENGTH, b"hello"), (CHUNKED, b"5\r\nhello\r\n0\r\n\r\n")) * 2:
                client.send(head)
                continued(client)
                client.send(body)
                good(client, b"hello")
            client.send(GET)
            good(client, b"")


@test("also when the body comes byte by byte then")
def _():
    with mbhttp.served(ECHO) as (client, server):
        client.send(CHUNKED)
        continued(client)
        for byte in b"5\r\nhello\r\n0\r\n\r\n":
            server.asleep()
            client.send(bytes([byte]))
        good(client, b"hello")


@test("whichever way the body is read")
def _():
    streams = 'local t = {} %s ok(request, table.concat(t))'
    for body in (
        "request:consume_input() ok(request, 'hello')",
        "ok(request, request.post_params['hello'] .. 'hello')",
        streams % "request:stream_request_body_now(function(c) t[#t + 1] = c end)",
        streams % "request:stream_request_body(function(c) t[#t + 1] = c end) request:consume_input()",
        streams % "request:stream_post_param('hello', function(c) t[#t + 1] = c and 'hello' end) request:consume_input()",
    ):
        with mbhttp.served(body) as (client, _):
            client.send(FORM)
            continued(client)
            client.send("hello")
            response = client.response()
            equal((response.status, response.interim), (200, []), f"response of {body}")
            check(b"hello" in response.body, f"body {response.body!r} of {body}")


@test("a body that is partly there is read to its end, with one 100 at most")
def _():
    for head, parts in ((LENGTH, (b"he", b"llo")), (CHUNKED, (b"5\r\nhe", b"llo\r\n0\r\n\r\n"))):
        with mbhttp.served(ECHO) as (client, server):
            client.send(head + parts[0])
            server.asleep()
            client.send(parts[1])
            response = client.response()
            equal((response.status, response.body), (200, b"hello"), "response")
            check([r.status for r in response.interim] in ([], [100]), f"interim responses {response.interim}")


@test("HTTP/1.0 knows neither 100 nor Expect")
def _():
    for line in (EXPECT, "Expect: something"):
        with mbhttp.served(ECHO) as (client, server):
            client.send(mbhttp.request(method="POST", version="1.0", headers=[line, "Content-Length: 5"]))
            server.asleep()
            client.send("hello")
            response = client.response(version="1.0")
            equal((response.status, response.body), (200, b"hello"), "response")
            client.nothing_more()


@test("a script that does not want the body: no 100, and the connection ends, whether the body comes or not")
def _():
    for body in (
        'ok(request, "no")',
        'request:send_status("200 OK")',
        'request:stream_request_body(nil) ok(request, "no")',
        'request:stream_request_body_now(nil) ok(request, "no")',
        'request:monologue() ok(request, "no")',
    ):
        for sent in (b"", b"hello", b"hello" + GET):
            with mbhttp.served(body) as (client, server):
                client.send(LENGTH)
                server.asleep()
                if sent:
                    # It may have decided not to wait.
                    try:
                        client.send(sent)
                    except OSError:
                        pass
                last(client, 200)


@test("a status that has not gone out yet does not keep the 100 back")
def _():
    with mbhttp.served('request:send_status("200 OK")\nrequest:send_data(request.body)') as (client, _):
        client.send(LENGTH)
        continued(client)
        client.send("hello")
        response = client.response()
        equal((response.status, response.body, response.closes()), (200, b"hello", False), "response")


@test("no 100 once the head has gone out; the connection ends then, as nobody knows whether the body comes")
def _():
    for before in ('request:send_data("x") request:flush()', "request:finish_headers() request:send_data('x')"):
        with mbhttp.served(f'request:send_status("200 OK") {before}\nrequest:send_data(request.body)') as (client, server):
            client.send(LENGTH)
            server.asleep()
            client.send("hello")  # a client does not wait for ever
            last(client, 200, b"xhello")


@test("no 100 before the refusal of a body that is too large, or before a 500")
def _():
    with mbhttp.served(ECHO, "request_body_size_limit = 4", log="too large") as (client, _):
        client.send(LENGTH)
        last(client, 413)
    with mbhttp.served('error("x")', status=70, log="traceback") as (client, _):
        client.send(LENGTH)
        last(client, 500)


@test("a script that refuses by itself: no 100")
def _():
    with mbhttp.served('request:send_status("403 Forbidden") request:send_data("no")') as (client, _):
        client.send(LENGTH)
        last(client, 403, b"no")


@test("an interim response of the script's own does not stand for the 100")
def _():
    with mbhttp.served('request:send_status("103 Early Hints") request:finish_headers()' + ECHO) as (client, _):
        client.send(LENGTH)
        equal(client.head().status, 103, "first interim response")
        continued(client)
        client.send("hello")
        good(client, b"hello")


mbtest.main()
