#!/usr/bin/python3
"""request:upgrade_websocket and the object that it returns, byte by byte: the handshake and its refusals, each rule of
RFC 6455 broken once, messages, fragments and control frames. websocket_life.py has times, waits and ends."""

import os
import re
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbhttp import PAIRS, answers, checked, replayed, request, served
from mbsplit import by_bytes, in_pieces
from mbtest import about, check, equal, test
from mbwebsocket import (
    BINARY, CLOSE, CONTINUATION, ECHO, KEY, PING, PONG, TEXT, Peer, binary, close, code, echoing, frame, opened, ping,
    pong, text, upgrade,
)  # fmt: skip

BYE = close(1000)
GOODBYE = (CLOSE, code(1000))

# ---- the handshake ----

UPGRADES = 'local ws = request:upgrade_websocket(%s) if ws then ws:close() else print("refused") end'


def refused(status, data, options="", **how):
    """The request gets this status, and the connection can go on with another request, unless it is of HTTP/1.0."""
    how.setdefault("log", "refused\n")
    response = answers(data, UPGRADES % options, **how)
    equal(response.status, status, f"the status for {data!r}")
    if status == 426:
        check("websocket" in (response.value("Upgrade") or ""), response)
        equal(response.value("Sec-WebSocket-Version"), "13", "the version that is known")
    return response


def lines(**changes):
    """A request with some of the header lines changed: None takes one away, a list has it several times."""
    fields = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Key": KEY, "Sec_WebSocket_Version": "13"}
    fields.update(changes)
    made = []
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [] if value is None else [value]:
            made.append(f"{name.replace('_', '-')}: {one}")
    return tuple(made)


@test("a request that is no valid upgrade is answered: 426, or 400 for a wrong key; the script gets nil and why")
def _():
    for changes in (
        {"Upgrade": None}, {"Upgrade": "h2c"}, {"Connection": None}, {"Connection": "close"},
        {"Sec_WebSocket_Version": "8"}, {"Sec_WebSocket_Version": None}, {"Sec_WebSocket_Version": "13, 8"},
        {"Sec_WebSocket_Version": ["13", "13"]},
    ):  # fmt: skip
        with about(changes):
            refused(426, request(headers=lines(**changes)))
    for key in (None, "", "short", KEY[:-1], KEY + "=", [KEY, KEY], "x" * 24, KEY.replace("Q==", "R==")):
        with about(key):
            refused(400, request(headers=lines(Sec_WebSocket_Key=key)))


@test("other methods, HTTP/1.0 and a body are refused")
def _():
    for method in ("POST", "HEAD", "PUT", "get"):
        with about(method):
            refused(426, request(method=method, headers=lines(), body="" if method == "POST" else None))
    refused(426, request(headers=lines(), version="1.0"))
    refused(400, request(headers=lines(), body=""), log=None)
    refused(400, request(headers=lines(), body="x"), log=None)
    refused(400, request(headers=(*lines(), "Transfer-Encoding: chunked"), body="0\r\n\r\n"), log=None)


@test("after a refusal the connection goes on, and its text is that of on_error")
def _():
    options = "on_error = function(_, status) return 'so ' .. status end"
    with served(UPGRADES % "", options, log="refused\n") as (client, _):
        client.send(request())
        equal(client.response().body, b"so 426", "the refusal")
        client.send(upgrade())
        equal(client.response().status, 101, "the next")
        Peer(client).gets(GOODBYE)
        client.send(BYE)


def accepted(data, options="", protocol=None):
    with served(UPGRADES % options) as (client, _):
        client.send(data + BYE)
        response = client.response()
        equal((response.status, response.value("Sec-WebSocket-Protocol")), (101, protocol), f"{data!r}")
        Peer(client).ends(GOODBYE)


@test("the header fields in other spellings, as browsers write them")
def _():
    accepted(request(headers=lines(Upgrade="WebSocket", Connection="keep-alive, upgrade")))
    accepted(request(headers=lines(Upgrade="h2c, websocket", Connection=["keep-alive", "UPGRADE"])))
    accepted(request("/x?a=b", headers=("Pragma: no-cache", *lines())))


@test("Origin: that of the Host by default, with the usual port of its scheme; no Origin is no browser")
def _():
    for origin, host in (
        ("http://a.example", "a.example"), ("https://a.example", "a.example"), ("http://A.Example", "a.example"),
        ("http://a.example:80", "a.example"), ("https://a.example", "a.example:443"), ("http://[::1]:81", "[::1]:81"),
        ("http://a.example:8080", "a.example:8080"), ("http://[::1]", "[::1]"),
    ):  # fmt: skip
        with about((origin, host)):
            accepted(request(headers=(*lines(), f"Origin: {origin}"), host=host))
    for origin, host in (
        ("http://b.example", "a.example"), ("null", "a.example"), ("", "a.example"),
        ("http://a.example:81", "a.example"), ("http://a.example.b.example", "a.example"),
        ("http://a.example/", "a.example"), ("ftp://a.example", "a.example"),
        ("https://a.example", "a.example:80"), ("http://b@a.example", "a.example"), ("a.example", "a.example"),
        ("http://a.example http://b.example", "a.example"),
    ):  # fmt: skip
        with about((origin, host)):
            refused(403, request(headers=(*lines(), f"Origin: {origin}"), host=host))
    twice = ("Origin: http://a.example", "Origin: http://a.example")
    refused(403, request(headers=(*lines(), *twice)))


@test("origins: a list, \"*\", a function")
def _():
    def of(origin):
        return upgrade(f"Origin: {origin}")

    some = '{origins = {"https://b.example", "https://c.example:8443"}}'
    accepted(of("https://b.example"), some)
    accepted(of("HTTPS://C.example:8443"), some)
    accepted(upgrade(), some)
    refused(403, of("http://a.example"), some)  # the default has gone
    refused(403, of("https://c.example"), some)
    accepted(of("null"), '{origins = "*"}')
    asked = '{origins = function(origin, r) assert(r == request) return origin:find("b") end}'
    accepted(of("b"), asked)
    refused(403, of("a"), asked)


@test("protocols: the first of ours that the client offers, or none")
def _():
    ours = '{protocols = {"b", "a"}}'
    for offered, chosen in (("a, b", "b"), ("a", "a"), ("c", None), ("A", None), ("c,a", "a")):
        accepted(upgrade(f"Sec-WebSocket-Protocol: {offered}"), ours, chosen)
    accepted(upgrade("Sec-WebSocket-Protocol: c", "Sec-WebSocket-Protocol: a"), ours, "a")
    accepted(upgrade("Sec-WebSocket-Protocol: a"))
    accepted(upgrade(), ours)
    body = 'print(request:upgrade_websocket{protocols = {"x"}}.protocol)'
    with opened(body, headers=["Sec-WebSocket-Protocol: x"], log="x\n") as (peer, _):
        peer.send(BYE)


@test("wrong options are errors that name the option and the script's line; nothing has been sent then")
def _():
    body = ""
    for option, word in (
        ("1", "table"), ('"x"', "table"), ("{nonsense = 1}", "nonsense"), ("{1}", "option"),
        ("{max_message = -1}", "max_message"), ("{max_message = 1.5}", "max_message"),
        ("{max_message = false}", "max_message"), ("{max_message = '1'}", "max_message"),
        ("{ping_interval = 0}", "ping_interval"), ("{ping_interval = -1}", "ping_interval"),
        ("{ping_interval = 0/0}", "ping_interval"), ("{close_timeout = true}", "close_timeout"),
        ("{send_timeout = '1'}", "send_timeout"), ("{protocols = {}}", "protocols"),
        ("{protocols = 'a'}", "protocols"), ("{protocols = {'a b'}}", "protocols"),
        ("{protocols = {'a\\r\\nb: c'}}", "protocols"), ("{protocols = {1}}", "protocols"),
        ("{origins = {}}", "origins"), ("{origins = 'x'}", "origins"), ("{origins = 5}", "origins"),
    ):  # fmt: skip
        body += f"fails({{'upgrade_websocket', '{word}'}}, function() request:upgrade_websocket({option}) end)\n"
    body += "fails('upgrade_websocket', function() local f = request.upgrade_websocket f() end)\n"
    body += "fails('upgrade_websocket', function() request.upgrade_websocket({}) end)\n"
    checked(upgrade(), body)


@test("options at the ends of their ranges are taken")
def _():
    for option in (
        "max_message = 0", "max_message = math.maxinteger", "ping_interval = 1e-9", "ping_interval = 1e300",
        "ping_interval = 1/0", "ping_interval = false", "close_timeout = 1e300", "close_timeout = false",
        "send_timeout = 1e300",
        "send_timeout = false", "max_message = 1024.0",
    ):  # fmt: skip
        with about(option):
            accepted(upgrade(), f"{{{option}}}")


@test("upgrade_websocket behind another response, or twice, is an error at the script's line")
def _():
    again = "fails('upgrade_websocket', function() request:upgrade_websocket() end)"
    for before in ("request:send_status(200)", "request:send_status(200) request:send_header('A', 'b')"):
        answers(upgrade(), f"{before}\n{again}\nrequest:send_data('x')")
    with opened(f"local ws = request:upgrade_websocket()\n{again}") as (peer, _):
        peer.send(BYE)
        peer.ends(GOODBYE)


# ---- messages ----

CONVERSATION = [
    (text("Hello"), [(TEXT, b"Hello")]),
    (binary(b"\0\xff" * 100), [(BINARY, b"\0\xff" * 100)]),
    (text("Grü", final=False) + ping(b"1") + frame(CONTINUATION, "ße €".encode()[:4], final=False), [(PONG, b"1")]),
    (frame(CONTINUATION, "ße €".encode()[4:]), [(TEXT, "Grüße €".encode())]),
    (pong(b"unasked") + text(""), [(TEXT, b"")]),
    (binary(b"", final=False) + frame(CONTINUATION, b"", final=False) + frame(CONTINUATION, b"x"), [(BINARY, b"x")]),
    (close(3001, "bye"), [(CLOSE, code(3001))]),
]
SAID = b"".join(said for said, _ in CONVERSATION)
HEARD = [heard for _, all_of_them in CONVERSATION for heard in all_of_them]
ENDED = "closed\t3001\tbye\n"


@test("a conversation: at once, behind the request's head, and byte by byte, on each kind of connection")
def _():
    for name, pair in PAIRS.items():
        with about(name):
            with echoing(pair=pair, log=ENDED) as (peer, _):
                peer.send(SAID)
                peer.ends(*HEARD)
            with echoing(pair=pair, log=ENDED, said=SAID) as (peer, _):
                peer.ends(*HEARD)
    with echoing(log=ENDED) as (peer, _):
        by_bytes(peer.client.sock, SAID)
        peer.ends(*HEARD)


@test("every split point of every frame")
def _():
    # Many on one connection: the conversation without its end.
    said, heard = SAID[: -len(CONVERSATION[-1][0])], HEARD[:-1]
    with echoing() as (peer, _):
        for split in range(1, len(said)):
            with about(split):
                in_pieces(peer.client.sock, said[:split], said[split:])
                peer.gets(*heard)
        peer.send(BYE)
        peer.ends(GOODBYE)
    end = CONVERSATION[-1][0]
    for split in range(1, len(end)):
        with echoing(log=ENDED) as (peer, _):
            in_pieces(peer.client.sock, end[:split], end[split:])
            peer.ends(HEARD[-1])


@test("all forms of length, in both directions")
def _():
    with echoing() as (peer, _):
        for size in (0, 1, 124, 125, 126, 127, 1023, 1024, 16383, 16384, 16385, 65535, 65536, 65537, 1 << 20):
            peer.send(binary(b"x" * size))
            peer.gets((BINARY, b"x" * size))
        peer.send(BYE)
        peer.ends(GOODBYE)


@test("a replay: the handshake, frames, and what is left when they end")
def _():
    out = replayed(upgrade() + SAID, ECHO % "", log=ENDED)
    equal(out.response().status, 101, "the handshake")
    peer = Peer(out)
    peer.ends(*HEARD)
    out = replayed(upgrade() + text("Hello")[:-1], ECHO % "", log="the connection has ended without a close\t1006\t\n")
    equal(out.response().status, 101, "the handshake")
    equal(out.end()[0], b"", "nothing for half a frame")


# ---- each rule of RFC 6455 broken once ----

TOO_LARGE = "a message of more than max_message bytes"
BROKEN = [
    # section 5.2
    (1002, frame(TEXT, b"x", bits=0x40), "a compressed message without agreement"),
    (1002, frame(TEXT, b"x", bits=0x20), "a reserved bit is set"),
    (1002, frame(TEXT, b"x", bits=0x10), "a reserved bit is set"),
    *[(1002, frame(opcode), "an unknown opcode") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)],
    (1002, frame(TEXT, b"x", mask=None), "a frame without a mask"),
    (1002, frame(PING, b"", mask=None), "a frame without a mask"),
    (1002, binary(b"x" * 125, form=2), "a length that is longer than it has to be"),
    (1002, binary(b"x" * 125, form=8), "a length that is longer than it has to be"),
    (1002, binary(b"x" * 65535, form=8)[:20], "a length that is longer than it has to be"),
    (1002, binary(form=8, length=1 << 63), "a length with the highest bit"),
    # section 5.4
    (1002, frame(CONTINUATION, b"x"), "a continuation of no message"),
    (1002, frame(CONTINUATION, b"x", final=False), "a continuation of no message"),
    (1002, text("x", final=False) + text("y"), "a message within a message"),
    (1002, text("x", final=False) + binary(b"y"), "a message within a message"),
    (1002, text("x", final=False) + frame(CONTINUATION, b"y", bits=0x40), "a compressed message without agreement"),
    # section 5.5
    (1002, ping(b"", final=False), "a control frame in fragments"),
    (1002, pong(b"", final=False), "a control frame in fragments"),
    (1002, close(1000, final=False), "a control frame in fragments"),
    (1002, ping(b"x" * 126), "a control frame of more than 125 bytes"),
    (1002, close(1000, "x" * 124), "a control frame of more than 125 bytes"),
    (1002, frame(CLOSE, b"\x03"), "a close with half a status code"),
    # section 7.4
    *[
        (1002, close(number), "a close with an invalid status code")
        for number in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    ],
    # section 8.1
    (1007, text(b"\xff"), "a text that is no UTF-8"),
    (1007, text(b"\xed\xa0\x80"), "a text that is no UTF-8"),
    (1007, text(b"a" * 40 + b"\xc0\xaf"), "a text that is no UTF-8"),
    (1007, text(b"\xe2\x82"), "a text that (is no UTF-8|ends within a character)"),
    (1007, text(b"\xe2", final=False) + frame(CONTINUATION, b"x"), "a text that is no UTF-8"),
    (1007, text(b"\xe2", final=False) + frame(CONTINUATION, b"\x82"), "a text that ends within a character"),
    (1007, text(b"\xf4\x90", final=False), "a text that is no UTF-8"),  # at once, and not at its end
    (1007, frame(CLOSE, code(1000) + b"\xff"), "a close whose reason is no UTF-8"),
    (1007, frame(CLOSE, code(1000) + b"\xe2\x82"), "a close whose reason is no UTF-8"),
    # ours
    (1009, binary(b"x" * 1025), TOO_LARGE),
    (1009, binary(form=8, length=(1 << 63) - 1), TOO_LARGE),
    (1009, binary(b"x" * 1024, final=False) + frame(CONTINUATION, b"y"), TOO_LARGE),
    (1009, binary(b"xx", final=False) + frame(CONTINUATION, form=8, length=(1 << 63) - 1), TOO_LARGE),
]  # fmt: skip


@test("each rule broken once: the client gets the code, the script why, the log a line")
def _():
    for number, said, why in BROKEN:
        with about((number, why, said[:40])):
            with echoing("max_message = 1024", log=None, pair=mbtest.tcp_pair) as (peer, server):
                peer.send(text("before"), said)
                peer.gets((TEXT, b"before"))
                peer.gets((CLOSE, code(number)))
                peer.client.finish()
                peer.client.nothing_more()
                log = server.rest()
                check(re.search(rf"websocket: {number}: ({why}) \(client 127\.0\.0\.1", log), log)
                check(re.search(rf"(?m)^({why})\t{number}\t$", log), log)
                equal(server.child.wait(), 0, "exit status")


@test("nothing that comes behind a broken rule, or behind a close, is looked at")
def _():
    for said, number in ((frame(3), 1002), (BYE, 1000)):
        with echoing(log=None) as (peer, _):
            peer.send(said, text("behind"), ping(b"x"), frame(3), b"\xff" * 100)
            peer.closed(number)


@test("the longest control frames, and a close with every code that it may have")
def _():
    with echoing(log=f"closed\t1000\t{'x' * 123}\n") as (peer, _):
        peer.send(ping(b"y" * 125), close(1000, "x" * 123))
        peer.ends((PONG, b"y" * 125), GOODBYE)
    for number in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999):
        with echoing(log=f"closed\t{number}\t\n") as (peer, _):
            peer.send(close(number))
            peer.closed(number)
    with echoing(log="closed\t1005\t\n") as (peer, _):
        peer.send(close())
        peer.ends((CLOSE, b""))


@test("65,536 fragments are a message, one more is not; empty ones count")
def _():
    piece = frame(CONTINUATION, b"", final=False, mask=bytes(4))
    with echoing() as (peer, _):
        peer.send(binary(b"a", final=False), piece * 65534, frame(CONTINUATION, b"b"))
        peer.gets((BINARY, b"ab"))
        peer.send(text("c"), BYE)
        peer.ends((TEXT, b"c"), GOODBYE)
    with echoing(log="a message in too many fragments\t1002\t\n") as (peer, _):
        peer.send(binary(b"a", final=False), piece * 65535, piece)
        peer.closed(1002)


@test("a head of max_message bytes costs no memory before its payload comes")
def _():
    body = "local ws = request:upgrade_websocket{max_message = 1 << 40, close_timeout = 0.05} print(ws:receive(0.05))"
    with opened(body, log="nil\ttimeout\n") as (peer, server):
        before = rss(server.pid)
        peer.send(binary(b"x" * 10, form=8, length=1 << 40))
        peer.gets(GOODBYE)
        check(rss(server.pid) - before < 1000, f"{before} KiB have become {rss(server.pid)}")


@test("only the last ping of a flood gets an answer from a server whose client does not read, and memory does not grow")
def _():
    with echoing(log=None, pair=mbtest.tcp_pair) as (peer, server):
        peer.send(text("x"))
        peer.gets((TEXT, b"x"))
        before = rss(server.pid)
        for _ in range(100):
            peer.send(ping(b"y" * 125) * 1000)
        peer.send(ping(b"last"))
        grown = rss(server.pid) - before
        while peer.read() != (PONG, b"last"):
            pass
        peer.send(BYE)
        peer.ends(GOODBYE)
    check(grown < 2000, f"grown by {grown} KiB")


def rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


mbtest.main()
