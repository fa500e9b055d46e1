#!/usr/bin/python3
"""Requests that are refused: one response that says why, nothing after it though a good request follows, and an exit
status that blames nobody here. Each in a replay, over TCP, and byte by byte. All that is refused, with its reason, stands
in unit/http_head.c, unit/http_target.c and unit/http_chunked.c; here is a case of each kind, and the limits."""

import os
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhttp
import mbsplit
import mbtest
from mbtest import check, equal, script, test

INFO = ("--log-level", "info")  # what clients do wrong is logged there
NEXT = mbhttp.request("/next")
PHRASES = {
    400: "Bad Request",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    505: "HTTP Version Not Supported",
}

READS_ALL = """
  if request.headers_csv_string["content-type"] ~= "" then return ok(request, #request.post_params_list) end
  ok(request, #request.body)
"""
LIMITS = "request_body_size_limit = 100, request_header_size_limit = 1000"


def check_refusal(client, status, why, method="GET"):
    """What comes next, and last, is this refusal."""
    response = client.response(method)
    equal((response.status, response.reason), (status, PHRASES[status]), f"status; body {response.body!r}")
    equal(response.value("Connection"), "close", "Connection")
    check((response.value("Content-Type") or "").startswith("text/plain"), f"Content-Type in {response}")
    check(response.length() is not None, f"Content-Length in {response}")
    equal(response.interim, [], "interim responses")
    title = f"{status} {PHRASES[status]}"
    if method == "HEAD":
        equal(response.body, b"", "body of a response to HEAD")
    elif why:
        check(response.text().startswith(title + ": ") and why in response.text(), f"{why!r} in {response.text()!r}")
    else:
        equal(response.text(), title + "\n", "body")  # of the script's errors, nothing is said
    equal(client.end(), (b"", "eof"), "after the refusal")


def check_log(log, why):
    """One line, which says why."""
    lines = log.splitlines()
    equal(len(lines), 1, f"lines of the log {lines}")
    check("http: " in lines[0] and why in lines[0], f"{why!r} in the log line {lines[0]!r}")


def refused(data, status, why, options="", method="GET", body=READS_ALL):
    """This request gets this refusal, however it comes. It has all that is needed: why is known before the end."""
    text = mbhttp.source(body, options)
    path = script(text)
    output, code, log = run_replay(path, data + NEXT)
    equal(code, 0, f"exit status of the replay (log: {log!r})")
    check_refusal(mbhttp.Captured(output), status, why, method)
    check_log(log, why)
    with mbhttp.served(text, pair=mbtest.tcp_pair, log=why) as (client, _):
        client.send(data + NEXT)
        check_refusal(client, status, why, method)
    if len(data) > 2000:
        return
    with mbhttp.served(text, log=why) as (client, _):
        client.send(NEXT)  # see mbsplit
        client.response()
        mbsplit.by_bytes(client.sock, data + NEXT)
        check_refusal(client, status, why, method)


def run_replay(path, data):
    """(output, exit status, log) of a script on this input."""
    done = mbtest.replay(*INFO, path, stdin=data)
    return done.stdout, done.returncode, done.stderr.decode(errors="backslashreplace")


def table(name, cases, options="", make=lambda data: data, **how):
    """A test of these cases: (data, status, why)."""

    @test(name)
    def _():
        wrong = []
        for data, status, why in cases:
            try:
                refused(make(data), status, why, options, **how)
            except mbtest.Failed as error:
                wrong.append(f"{data[:80]!r}: {error}")
        check(not wrong, "\n".join(wrong))


def with_field(field):
    return b"POST / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\n"


def with_chunks(data):
    return b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data


table(
    "request line",
    [
        (b"(", 400, "method"),
        (b"\r\n\r\n\n \x01", 400, "method"),
        (b"\rG", 400, "bare CR"),
        (b"GET\r\nHost: a\r\n\r\n", 400, "without a target"),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "version"),
        (b"GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "NUL"),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "OPTIONS"),
        (b"GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "user"),
        (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request target"),
        (b"GET /?\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request target"),
        (b'GET /?a="b" HTTP/1.1\r\nHost: a\r\n\r\n', 400, "request target"),
        (b"GET /{a|b} HTTP/1.1\r\nHost: a\r\n\r\n", 400, "path"),
        (b"GET /100% HTTP/1.1\r\nHost: a\r\n\r\n", 400, "hexadecimal"),
        (b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 421, "TLS"),
        (b"GET https://a/ HTTP/1.0\r\n\r\n", 421, "TLS"),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 501, "CONNECT"),
        (b"PRI * HTTP/2.0\r\nHost: a\r\n\r\n", 505, "HTTP/1"),
    ],
)


@test("such a first byte is refused at once, though there is no line yet")
def _():
    for first in (b"\x16", b"\0", b"\r\n\r\n{"):
        with mbhttp.served(READS_ALL, log="method") as (client, _):
            client.send(first)
            check_refusal(client, 400, "method")


table(
    "fields",
    [
        (with_field(b"X-No-Colon"), 400, "colon"),
        (with_field(b"X-Fold: a\r\n b"), 400, "folded"),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "folded"),
        (with_field(b"X: a\r\n\rb"), 400, "bare CR"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "Host"),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400, "Host"),
        (b"GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "Host"),
        (b"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400, "Host"),
        (b"GET / HTTP/1.1\r\nHost: ..\r\n\r\n", 400, "Host"),
        (with_field(b"Content-Length: -5"), 400, "Content-Length"),
        (with_field(b"Content-Length: 5\r\nTransfer-Encoding: chunked"), 400, "Content-Length"),
        (with_field(b"Transfer-Encoding: chunked, chunked"), 400, "chunked"),
        (with_field(b"Transfer-Encoding: gzip, chunked"), 501, "chunked"),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "HTTP/1.0"),
        (with_field(b"Expect: a\r\nContent-Length: 5"), 417, "Expect"),
        (with_field(b"Content-Type: application/x-www-form-urlencoded\r\nContent-Type: text/plain"), 400, "Content-Type"),
    ],
)

table(
    "chunks",
    [
        (b"g\r\n", 400, "size"),
        (b"5\nhello\r\n0\r\n\r\n", 400, "bare LF"),
        (b"5;a\rb\r\nhello\r\n0\r\n\r\n", 400, "bare CR"),
        (b"5;a\0\r\nhello\r\n0\r\n\r\n", 400, "control"),
        (b"5;\r\nhello\r\n0\r\n\r\n", 400, "extension"),
        (b'5;a="b\r\nhello\r\n0\r\n\r\n', 400, "extension"),
        (b"5\r\nhello!\r\n0\r\n\r\n", 400, "longer"),
        (b"0\r\na : b\r\n\r\n", 400, "trailer"),
        (b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n", 413, "line"),
        (b"0\r\n" + (b"a: " + b"a" * 1000 + b"\r\n") * 20 + b"\r\n", 413, "trailers"),
        ((b"1;" + b"a" * 1000 + b"\r\na\r\n") * 20 + b"0\r\n\r\n", 413, "extensions"),
        ((b"0" * 1000 + b"1\r\na\r\n") * 20 + b"0\r\n\r\n", 413, "zeros"),
    ],
    make=with_chunks,
)

table(
    "limits of head and body",
    [
        (b"GET /" + b"x" * 1000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "line"),
        (b"\r\n\r\nGET /" + b"x" * 1000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "line"),
        (b"X" * 1001, 414, "line"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 1000 + b"\r\n\r\n", 431, "head"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: xxxx\r\n" * 110 + b"\r\n", 431, "head"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n" + b"x" * 101, 413, "body"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n", 413, "body"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 101\r\n\r\n", 413, "body"),
        (with_chunks(b"64\r\n" + b"x" * 100 + b"\r\n1\r\nx\r\n0\r\n\r\n"), 413, "body"),
        (with_chunks(b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n"), 413, "body"),
        (with_chunks(b"7fffffffffffffff\r\n" + b"x" * 101), 413, "body"),
    ],
    options=LIMITS,
)

FORM = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s"

table(
    "limits of numbers",
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X:\r\n" * 128 + b"\r\n", 431, "fields"),
        (FORM % (20002, b"a&" * 10001), 413, "too many, too long"),
    ],
)


@test("what is just within the limits is accepted")
def _():
    def accepted(data, options=""):
        client = mbhttp.replayed(data + NEXT, READS_ALL, options)
        equal((client.response().status, client.response().status), (200, 200), f"status for {mbtest.short(data)}")
        client.nothing_more()

    head = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"
    accepted(head % (b"x" * (1000 - len(head) + 2)), LIMITS)
    accepted(b"GET /?a={b|c}&d=100% HTTP/1.1\r\nHost: [v1.a]\r\n\r\n")
    accepted(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + b"x" * 100, LIMITS)
    accepted(with_chunks(b"63;" + b"e" * 4000 + b"\r\n" + b"x" * 99 + b"\r\n1\r\nx\r\n0\r\n\r\n"), LIMITS)
    accepted(with_chunks(b'5  \r\nhello\r\n5 ; a = "b;" \r\nhello\r\n0\r\n\r\n'))
    accepted(with_chunks(b"0\r\n" + (b"a: " + b"a" * 4000 + b"\r\n") * 4 + b"\r\n"), LIMITS)
    accepted(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X:\r\n" * 127 + b"\r\n")
    accepted(FORM % (19999, b"a&" * 9999 + b"a"))


def ends(data, why, method="GET"):
    """Input that ends with these bytes gets this refusal."""
    text = mbhttp.source(READS_ALL)
    output, code, log = run_replay(script(text), data)
    equal(code, 0, f"exit status (log: {log!r})")
    check_refusal(mbhttp.Captured(output), 400, why, method)
    check_log(log, why)
    with mbhttp.served(text, pair=mbtest.tcp_pair, log=why) as (client, _):
        client.send(data)
        client.finish()
        check_refusal(client, 400, why, method)


@test("input that ends in the middle")
def _():
    line = b"GET / HTTP/1.1"
    for data in (b"G", line, line + b"\r\n", line + b"\r\nHost: a\r\n", line + b"\nHost: a\n\r"):
        ends(data, "early")
    for data in (b"", b"5", b"5\r\n", b"5\r\nhell", b"5\r\nhello", b"5\r\nhello\r\n", b"5\r\nhello\r\n0\r\n", b"0\r\na: b\r\n"):
        ends(with_chunks(data), "early")
    ends(FORM % (5, b"a=b"), "early")
    ends(FORM % (5, b""), "early")


@test("empty lines are no beginning of a request: the input may end behind them")
def _():
    for data in (b"\r\n", b"\n\r\n\n"):
        with mbhttp.served(READS_ALL) as (client, _):
            client.send(NEXT + data)
            client.finish()
            equal(client.response().status, 200, "status")
            client.nothing_more()


@test("refusals of HEAD requests have no body")
def _():
    refused(b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n", 413, "body", LIMITS, method="HEAD")
    refused(b"HEAD / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "Host", method="HEAD")
    refused(b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400, "Content-Length", method="HEAD")
    refused(b"HEAD\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "method", method="HEAD")
    refused(b"HEADS / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "Host")


@test("so have those of HEAD requests that are refused before their head is complete")
def _():
    head = b"HEAD / HTTP/1.1\r\nHost: a\r\n"
    refused(b"\r\n\n" + head + b"\rX: y\r\n\r\n", 400, "bare CR", method="HEAD")
    refused(b"HEAD /" + b"x" * 1000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "line", LIMITS, method="HEAD")
    refused(head + b"X: " + b"x" * 1000 + b"\r\n\r\n", 431, "head", LIMITS, method="HEAD")
    refused(b"HEADS /" + b"x" * 1000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "line", LIMITS)
    for data in (b"HEAD", b"HEAD ", b"HEAD\r", b"HEAD / HTTP/1.1\r\n", b"\n" + head):
        ends(data, "early", "HEAD")
    for data in (b"HEA", b"HEADS", b"head ", b"GET"):
        ends(data, "early")
    # The method of the request before says nothing about this one.
    text = mbhttp.source(READS_ALL)
    with mbhttp.served(text, log="early") as (client, _):
        client.send(mbhttp.request(method="HEAD") + b"GET /")
        client.finish()
        equal(client.response("HEAD").status, 200, "status of the first")
        check_refusal(client, 400, "early")


@test("a good response before it, and static headers in it")
def _():
    text = mbhttp.source(READS_ALL, 'static_headers = {Server = "s", "X-Static: 1"}')
    with mbhttp.served(text, log="colon") as (client, _):
        client.send(NEXT + with_field(b"a") + NEXT)
        equal(client.response().status, 200, "status of the first")
        response = client.response()
        equal(response.status, 400, "status of the second")
        equal((response.value("Server"), response.value("X-Static")), ("s", "1"), "static headers")
        client.nothing_more()


mbtest.main()
