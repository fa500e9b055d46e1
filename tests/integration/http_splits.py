#!/usr/bin/python3
"""However the input is cut, the same comes of it: each input byte by byte, in pieces of two and three bytes, and in two
parts at every offset. Many requests to a connection. Refusals, one to a connection, only where a limit is passed: the others
are split in the unit tests, and come byte by byte in http_refusals.py."""

import os
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhttp
import mbsplit
import mbtest
from mbtest import check, equal, test

REPORT = """
  local r = {request.method, show(request.path), show(request.query), show(request.host), request.target,
    show(request.headers), show(request.cookies), show(request.get_params_list)}
  if request.path == "body" or request.path == "now" then
    local t = {}
    if request.path == "now" then
      request:stream_request_body_now(function(chunk) t[#t + 1] = chunk end)
    else
      t[1] = request.body
    end
    r[#r + 1] = table.concat(t)
  elseif request.path ~= "unread" then
    r[#r + 1] = show(request.post_params_list)
    r[#r + 1] = show(request.post_metadata_list)
  end
  ok(request, table.concat(r, "\\n"))
"""


def without_date(response):
    headers = [h for h in response.headers if h[0] != "Date"]
    return response.status, [r.status for r in response.interim], headers, response.framing, response.body


def ways(data):
    """All ways to cut it."""
    for size in (1, 2, 3):
        yield [data[i : i + size] for i in range(0, len(data), size)]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]


def same(data, count=1):
    """So many requests, which keep the connection: the same responses whichever way they come."""
    with mbhttp.served(REPORT, "minimum_output_chunk_size = 100000") as (client, _):
        client.send(data)
        want = [without_date(client.response()) for _ in range(count)]
        check(all(w[0] == 200 for w in want), f"good responses to {data!r}: {want}")
        for pieces in ways(data):
            check(mbsplit.in_pieces(client.sock, *pieces), "the server takes it all")
            got = [without_date(client.response()) for _ in range(count)]
            equal(got, want, f"responses to {pieces[:2]}")
        equal(client.buffer, b"", "behind the responses")


def same_refusal(data, status):
    """A request that is refused, and one behind it: the same refusal alone, whichever way they come."""
    want = None
    data += mbhttp.request("/next")
    for pieces in [[data], *ways(data)]:
        with mbhttp.served(REPORT, "request_header_size_limit = 100, request_body_size_limit = 10", log="http: ") as (client, _):
            client.send(mbhttp.request("/first"))
            client.response()
            mbsplit.in_pieces(client.sock, *pieces)
            got = without_date(client.response())
            want = want or got
            equal(got, want, f"refusal of {pieces[:2]}")
            equal(got[0], status, "status")
            client.nothing_more()


def chunked_request(target, body, *headers):
    return mbhttp.request(target, "POST", body, ["Transfer-Encoding: chunked", *headers])


@test("heads")
def _():
    same(mbhttp.request("/a/b?c=d&e=%41+f", headers=["Cookie: a=b; c=d", "X-A:", "x-a: \t1, 2 \t"], host="[::1]:80"))
    same(mbhttp.request("http://b.example:8080/p?q"))
    same(b"\r\n\n\r\n" + mbhttp.request("*", "OPTIONS"))
    same(b"GET /bare HTTP/1.1\nHost: a\nX: b\n\n")
    same(b"\n\r\nGET /mixed HTTP/1.1\nHost: a\r\nX: b\n\r\n")


@test("several requests one behind the other")
def _():
    one, two = mbhttp.request("/one"), mbhttp.request("/two", "POST", "a=b", ["Content-Type: application/x-www-form-urlencoded"])
    same(one + two + b"\r\n" + one, 3)
    same(mbhttp.request("/unread", "POST", "GET / HTTP/1.1\r\n\r\n") + one, 2)


@test("bodies by Content-Length")
def _():
    same(mbhttp.request("/body", "POST", "hello\r\n\r\n\0"))
    same(mbhttp.request("/now", "POST", "hello\r\n\r\n\0"))
    same(mbhttp.request("/form", "POST", "a=b%41&c+d=%2", ["Content-Type: application/x-www-form-urlencoded"]))


@test("chunked bodies, with extensions and trailers")
def _():
    body = b"5\r\nhello\r\n00002 ;e=\"x\";f\r\n\r\n\r\nA\r\n0123456789\r\n0;last\r\nX-Sum: 1\r\nY:\r\n\r\n"
    for target in ("/body", "/now", "/unread"):
        same(chunked_request(target, body) + mbhttp.request("/next"), 2)
    same(chunked_request("/form", mbhttp.chunked("a=b%41&c+d=%2", 3), "Content-Type: application/x-www-form-urlencoded"))


@test("multipart bodies, by both framings")
def _():
    parts = [
        ('name="a"', None, "1\r\n-"),
        ('name="f"; filename="\\"x"', "text/plain", "\r\n--B-\r\n--b\r\n"),
        ('name="e"', None, ""),
    ]
    body = mbhttp.multipart(parts, "B-b")
    same(mbhttp.request("/form", "POST", body, ["Content-Type: multipart/form-data; boundary=B-b"]))
    same(mbhttp.request("/form", "POST", b"pre\r\n" + body + b"post", ["Content-Type: multipart/form-data; boundary=B-b"]))
    same(chunked_request("/form", mbhttp.chunked(body, 40), 'Content-Type: multipart/form-data; boundary="B-b"'))


@test("refusals where a limit is passed")
def _():
    same_refusal(b"GET /" + b"x" * 100, 414)
    same_refusal(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70 + b"\r\n\r\n", 431)
    same_refusal(chunked_request("/body", b"6\r\n123456\r\n5\r\n12345\r\n"), 413)


mbtest.main()
