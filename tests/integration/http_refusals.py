#!/usr/bin/python3
"""Requests that are refused: one response that says why, nothing after it though a good request follows, and an exit
status that blames nobody here. Each in a replay, over TCP, and byte by byte."""

import os
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhttp
import mbsplit
import mbtest
from mbtest import HANDLE, check, equal, script, test

INFO = ("--log-level", "info")  # what clients do wrong is logged there
NEXT = mbhttp.request("/next")
PHRASES = {
    400: "Bad Request",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
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
        mbsplit.by_bytes(client.sock, data + NEXT)
        check_refusal(client, status, why, method)


def run_replay(path, data):
    """(output, exit status, log) of a script on this input."""
    done = subprocess.run([HANDLE, *INFO, path], input=data, capture_output=True, timeout=60, check=False)
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


def with_line(line):
    return line + b"\r\nHost: a\r\n\r\n"


def with_field(field):
    return b"POST / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\n"


def with_host(lines):
    return b"GET / HTTP/1.1\r\n" + lines + b"\r\n"


def with_chunks(data):
    return b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data


table(
    "request line",
    [
        (b"GET", 400, "without a target"),
        (b"GET /", 400, "without a version"),
        (b"GET  / HTTP/1.1", 400, "more than one space"),
        (b"GET /  HTTP/1.1", 400, "version"),
        (b"GET / HTTP/1.1 ", 400, "version"),
        (b"GET / a HTTP/1.1", 400, "version"),
        (b"GET\t/ HTTP/1.1", 400, "method"),
        (b"GET /\tHTTP/1.1", 400, "target"),
        (b"GET / http/1.1", 400, "version"),
        (b"GET / HTTP/1", 400, "version"),
        (b"GET / HTTP/1.", 400, "version"),
        (b"GET / HTTP/.1", 400, "version"),
        (b"GET / HTTP/1.10", 400, "version"),
        (b"GET / HTTP/01.1", 400, "version"),
        (b"GET / HTTP/1,1", 400, "version"),
        (b"GET / HTTP/1.x", 400, "version"),
        (b"GET / HTTPS/1.1", 400, "version"),
        (b"GET / HTTP /1.1", 400, "version"),
        (b"GE(T / HTTP/1.1", 400, "method"),
        (b"G\xc3\x84T / HTTP/1.1", 400, "method"),
        (b"GET index.html HTTP/1.1", 400, "target"),
        (b"GET ?a HTTP/1.1", 400, "target"),
        (b"GET * HTTP/1.1", 400, "OPTIONS"),
        (b"OPTIONS ** HTTP/1.1", 400, "target"),
        (b"GET /a#b HTTP/1.1", 400, "target"),
        (b"GET /a\x7fb HTTP/1.1", 400, "control"),
        (b"GET /a\x01b HTTP/1.1", 400, "control"),
        (b"GET /a\0b HTTP/1.1", 400, "NUL"),
        (b"GET /a\rb HTTP/1.1", 400, "bare CR"),
        (b"GET / HTTP/1.1\r", 400, "bare CR"),
        (b"GET a.example:80 HTTP/1.1", 400, "target"),
        (b"GET ftp://a/ HTTP/1.1", 400, "target"),
        (b"GET http:/a HTTP/1.1", 400, "target"),
        (b"GET http:///a HTTP/1.1", 400, "host"),
        (b"GET http://:80/a HTTP/1.1", 400, "host"),
        (b"GET http://user@a/ HTTP/1.1", 400, "user"),
        (b"GET http://u:p@a/ HTTP/1.1", 400, "user"),
        (b"GET http://a:99999/ HTTP/1.1", 400, "host"),
        (b"GET http://[::1/ HTTP/1.1", 400, "host"),
        (b"GET http://a,b/ HTTP/1.1x", 400, "version"),
        (b"CONNECT a:443 HTTP/1.1", 501, "CONNECT"),
        (b"CONNECT / HTTP/1.1", 501, "CONNECT"),
        (b"GET / HTTP/2.0", 505, "HTTP/1"),
        (b"GET / HTTP/0.9", 505, "HTTP/1"),
        (b"GET / HTTP/9.9", 505, "HTTP/1"),
        (b"PRI * HTTP/2.0", 505, "HTTP/1"),
    ],
    make=with_line,
)

table(
    "what no method begins with, with nothing else there",
    [(first, 400, "method") for first in (b" ", b"\t", b"\0", b"(", b"\x16", b"\x80", b"\x7f", b"{", b"/", b"@")]
    + [(b"\rG", 400, "bare CR"), (b"\r\n\r\n\n \x01", 400, "method")],
)

table(
    "field lines",
    [
        (b"X-No-Colon", 400, "colon"),
        (b"X-Space : a", 400, "space"),
        (b"X-Tab\t: a", 400, "space"),
        (b"X Y: a", 400, "space"),
        (b": a", 400, "name"),
        (b":", 400, "name"),
        (b"X-Fold: a\r\n b", 400, "folded"),
        (b"X-Fold: a\r\n\tb", 400, "folded"),
        (b"X-Fold: a\r\n b: c", 400, "folded"),
        (b"X-Fold:\r\n ", 400, "folded"),
        (b"X(Y): a", 400, "name"),
        (b"X\x80: a", 400, "name"),
        (b"X\0: a", 400, "NUL"),
        (b"X\x01: a", 400, "control"),
        (b"X: a\0b", 400, "NUL"),
        (b"X: a\rb", 400, "bare CR"),
        (b"X: a\r", 400, "bare CR"),
        (b"X\r: a", 400, "bare CR"),
        (b"X: a\x01", 400, "control"),
        (b"X: a\x0bb", 400, "control"),
        (b"X: a\x1bb", 400, "control"),
        (b"X: a\x7fb", 400, "control"),
        (b"X: a\r\n\rb", 400, "bare CR"),
    ],
    make=with_field,
)


@test("such a first byte is refused at once, though there is no line yet")
def _():
    for first in (b"\x16", b"\0", b"\r\n\r\n{"):
        with mbhttp.served(READS_ALL, log="method") as (client, _):
            client.send(first)
            check_refusal(client, 400, "method")


@test("a field line that is folded, directly behind the request line")
def _():
    for data in (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", b"GET / HTTP/1.1\r\n\tHost: a\r\nHost: a\r\n\r\n"):
        refused(data, 400, "folded")


table(
    "Host",
    [(b"", 400, "Host"), (b"X: a\r\n", 400, "Host"), (b"Host: a\r\nHost: a\r\n", 400, "Host")]
    + [
        (b"Host: " + host + b"\r\n", 400, "Host")
        for host in (
            b"a b", b"a\tb", b"a/b", b"a@b", b"a?b", b"a#b", b"a\\b", b"a\"b", b"a<b", b"http://a", b"a\xc3\xa4",
            b"[::1", b"::1", b"[::1]a", b"[::1]80", b"[]", b"[a]", b"[1.2.3.4]", b"[::1%lo]", b"[[::1]]", b"[:::]",
            b"a:b", b"a:80:80", b"a:65536", b"a:000080", b"a:-1", b"a:+1", b"a: 80", b"a:8 0", b"a%", b"a%4", b"a%zz",
        )
    ]
    + [(b"Host: a\r\nhOST: b\r\n", 400, "Host"), (b"Host:\r\nHost:\r\n", 400, "Host")],
    make=with_host,
)  # fmt: skip


@test("Host in HTTP/1.0, and beside a host in the target")
def _():
    refused(b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400, "Host")
    refused(b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n", 400, "Host")
    refused(b"GET http://a/ HTTP/1.1\r\n\r\n", 400, "Host")
    refused(b"GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "Host")


table(
    "Content-Length",
    [
        (b"Content-Length: " + value, 400, "Content-Length")
        for value in (
            b"-5", b"+5", b"5x", b"x", b"0x5", b"", b",", b"5,", b",5", b"5 6", b"5, 6", b"5, 5, 6", b"5;", b"5.0", b'"5"',
            b"9223372036854775808", b"18446744073709551621", b"99999999999999999999999999", b"5\r\nContent-Length: 6",
            b"5\r\nX: a\r\ncontent-length: 5, 6", b"5\r\nContent-Length:",
        )
    ],
    make=with_field,
)  # fmt: skip

table(
    "Transfer-Encoding",
    [
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5", 400, "Content-Length"),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked", 400, "Content-Length"),
        (b"Content-Length: 0\r\nX: a\r\nTransfer-Encoding: chunked", 400, "Content-Length"),
        (b"Transfer-Encoding: chunked, chunked", 400, "chunked"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400, "chunked"),
        (b"Transfer-Encoding: chunked, gzip", 400, "chunked"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", 400, "chunked"),
        (b"Transfer-Encoding:", 400, "Transfer-Encoding"),
        (b"Transfer-Encoding: ,", 400, "Transfer-Encoding"),
        (b"Transfer-Encoding: \x22chunked\x22", 400, "Transfer-Encoding"),
        (b"Transfer-Encoding: chunked;q=1", 400, "Transfer-Encoding"),
        (b"Transfer-Encoding: gzip", 501, "chunked"),
        (b"Transfer-Encoding: gzip, chunked", 501, "chunked"),
        (b"Transfer-Encoding: identity", 501, "chunked"),
        (b"Transfer-Encoding: xchunked", 501, "chunked"),
        (b"Transfer-Encoding: chunkedx", 501, "chunked"),
        (b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", 501, "chunked"),
    ],
    make=with_field,
)


@test("Transfer-Encoding in HTTP/1.0")
def _():
    refused(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "HTTP/1.0")


table(
    "Expect",
    [
        (b"Expect: " + value + b"\r\nContent-Length: 5", 417, "Expect")
        for value in (b"a", b"200-ok", b"100-continue, a", b"100-continue\r\nExpect: a", b"100-continue=1", b"100-continue;q=1")
    ],
    make=with_field,
)

table(
    "chunks",
    [
        (b"\r\n", 400, "size"),
        (b"g\r\n", 400, "size"),
        (b" 5\r\nhello\r\n0\r\n\r\n", 400, "size"),
        (b"5 \r\nhello\r\n0\r\n\r\n", 400, "size"),
        (b"5 a\r\nhello\r\n0\r\n\r\n", 400, "size"),
        (b"-1\r\n", 400, "size"),
        (b"+5\r\n", 400, "size"),
        (b"0x5\r\n", 400, "size"),
        (b";a\r\n", 400, "size"),
        (b"8000000000000000\r\n", 400, "size"),
        (b"fffffffffffffffff\r\n", 400, "size"),
        (b"10000000000000005\r\nhello\r\n", 400, "size"),
        (b"5\nhello\r\n0\r\n\r\n", 400, "bare LF"),
        (b"5;a\nhello\r\n0\r\n\r\n", 400, "bare LF"),
        (b"5\rhello\r\n0\r\n\r\n", 400, "bare CR"),
        (b"5;a\rb\r\nhello\r\n0\r\n\r\n", 400, "bare CR"),
        (b"5;a\0\r\nhello\r\n0\r\n\r\n", 400, "control"),
        (b"5\r\nhello\n0\r\n\r\n", 400, "longer"),
        (b"5\r\nhello\r0\r\n\r\n", 400, "longer"),
        (b"5\r\nhello0\r\n\r\n", 400, "longer"),
        (b"5\r\nhello!\r\n0\r\n\r\n", 400, "longer"),
        (b"5\r\nhell\r\n0\r\n\r\n", 400, "longer"),
        (b"0\n\n", 400, "bare LF"),
        (b"0\r\n\n", 400, "bare LF"),
        (b"0\r\n\r\r\n", 400, "bare CR"),
        (b"0\r\na: b\n\r\n", 400, "bare LF"),
        (b"0\r\na: b\rc\r\n\r\n", 400, "bare CR"),
        (b"0\r\na: b\0\r\n\r\n", 400, "control"),
        (b"0\r\na\r\n\r\n", 400, "trailer"),
        (b"0\r\na : b\r\n\r\n", 400, "trailer"),
        (b"0\r\n: b\r\n\r\n", 400, "trailer"),
        (b"0\r\na: b\r\n c\r\n\r\n", 400, "trailer"),
        (b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n", 413, "line"),
        (b"0" * 5000 + b"\r\n\r\n", 413, "line"),
        (b"0\r\na: " + b"a" * 5000 + b"\r\n\r\n", 413, "line"),
        (b"0\r\n" + (b"a: " + b"a" * 1000 + b"\r\n") * 20 + b"\r\n", 413, "trailers"),
        ((b"1;" + b"a" * 1000 + b"\r\na\r\n") * 20 + b"0\r\n\r\n", 413, "extensions"),
        (b"1;a\r\na\r\n" * 9000 + b"0\r\n\r\n", 413, "extensions"),
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
        (FORM % (20002, b"a&" * 10001), 413, "parameters"),
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
    accepted(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + b"x" * 100, LIMITS)
    accepted(with_chunks(b"63;" + b"e" * 4000 + b"\r\n" + b"x" * 99 + b"\r\n1\r\nx\r\n0\r\n\r\n"), LIMITS)
    accepted(with_chunks(b"0\r\n" + (b"a: " + b"a" * 4000 + b"\r\n") * 4 + b"\r\n"), LIMITS)
    accepted(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X:\r\n" * 127 + b"\r\n")
    accepted(FORM % (19999, b"a&" * 9999 + b"a"))


@test("input that ends in the middle")
def _():
    def ends(data, why):
        text = mbhttp.source(READS_ALL)
        output, code, log = run_replay(script(text), data)
        equal(code, 0, f"exit status (log: {log!r})")
        check_refusal(mbhttp.Captured(output), 400, why)
        check_log(log, why)
        with mbhttp.served(text, pair=mbtest.tcp_pair, log=why) as (client, _):
            client.send(data)
            client.finish()
            check_refusal(client, 400, why)

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
