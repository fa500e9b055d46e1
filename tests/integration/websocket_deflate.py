#!/usr/bin/python3
"""permessage-deflate (RFC 7692) of a WebSocket, byte by byte: its options, what is agreed on, messages and fragments,
and each rule broken once. websocket_deflate_memory.py has what it takes, websocket_clients.py the clients of others."""

import itertools
import os
import random
import re
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbhttp import answers, checked, served
from mbsplit import by_bytes, in_pieces
from mbtest import about, check, equal, tcp_pair, test
from mbwebsocket import (
    BINARY, CLOSE, CONTINUATION, ECHO, PING, PONG, RSV1, TEXT, Deflate, Peer, binary, close, code, frame, opened,
    ping, text, upgrade,
)  # fmt: skip

SEED = int(os.environ.get("MB_SEED") or random.SystemRandom().randrange(1 << 30))
print(f"# MB_SEED={SEED}")
BYE = close(1000)
GOODBYE = (CLOSE, code(1000))
OPEN = "local ws = request:upgrade_websocket{deflate = %s}\n"
HELLO = b"\xf2\x48\xcd\xc9\xc9\x07\x00"  # section 7.2.3.1
AGAIN = b"\xf2\x00\x11\x00\x00"  # it refers to the one before: section 7.2.3.2


def echoing(wished="true", options="", deflate=None, **how):
    """A WebSocket with the option, whose handler sends back what it gets. options: further ones."""
    how.setdefault("log", "closed\t1000\t\n")
    return opened(ECHO % f"{{deflate = {wished}, {options}}}", deflate=deflate or Deflate(), **how)


# ---- what is agreed on ----


@test("a wrong option is an error that names it, its field and the script's line; what is at the end of a range is taken")
def _():
    body = ""
    for option, word in (
        ("1", "deflate: expected true, false, or a table of max_window_bits"), ("'true'", "deflate:"),
        ("{true}", "deflate.1:"), ("{level = 9}", "deflate.level: expected true, false, or a table of max_window_bits"),
        ("{max_window_bits = 8}", "deflate.max_window_bits:"), ("{max_window_bits = 16}", "deflate.max_window_bits:"),
        ("{max_window_bits = 9.5}", "deflate.max_window_bits:"),
        ("{max_window_bits = '9'}", "deflate.max_window_bits:"),
        ("{min_size = -1}", "deflate.min_size:"), ("{min_size = false}", "deflate.min_size:"),
        ("{no_context_takeover = 1}", "deflate.no_context_takeover:"),
    ):  # fmt: skip
        body += f"fails({{'upgrade_websocket', {word!r}}}, function()"
        body += f" request:upgrade_websocket{{deflate = {option}}} end)\n"
    checked(upgrade(), body)
    for option in (
        "{}", "{max_window_bits = 9.0, min_size = 0}", "{max_window_bits = 15, min_size = math.maxinteger}",
        "{no_context_takeover = true, min_size = 5.0}",
    ):  # fmt: skip
        with about(option), opened(OPEN % option, deflate=Deflate()) as (peer, _):
            peer.send(BYE)
            peer.ends(GOODBYE)


@test("the answer names what was agreed on, and ws.extensions, too; without the option it names nothing")
def _():
    wish, alone = "{max_window_bits = 10}", "{no_context_takeover = true}"
    neither = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    for wished, offers, want in (
        ("false", ["permessage-deflate"], None),
        ("true", [], None),
        ("true", ["x-webkit-deflate-frame"], None),
        ("true", [""], None),
        ("true", ["permessage-deflate; client_max_window_bits"], "permessage-deflate; client_max_window_bits=12"),
        (wish, ["permessage-deflate; server_max_window_bits=7"], None),
        (wish, ["foo, permessage-deflate; x", "permessage-deflate; server_max_window_bits=\"9\""],
         "permessage-deflate; server_max_window_bits=9"),
        (wish, ["permessage-deflate; client_max_window_bits, permessage-deflate"],
         "permessage-deflate; client_max_window_bits=10"),
        (alone, ["permessage-deflate"], neither),
        (alone, ["permessage-deflate; client_max_window_bits=9"], neither + "; client_max_window_bits=9"),
    ):  # fmt: skip
        with about((wished, offers)):
            body = OPEN % wished + "print(ws.extensions) ws:close()"
            with served(body, log=f"{want or 'nil'}\n") as (client, _):
                client.send(upgrade(*[f"Sec-WebSocket-Extensions: {o}" for o in offers]) + BYE)
                equal(client.response().value("Sec-WebSocket-Extensions"), want, "the answer")
                Peer(client).ends(GOODBYE)


@test("a malformed list is refused with 400; nobody looks at it without the option")
def _():
    for offers in ("permessage-deflate;", "permessage-deflate; client_max_window_bits=\"9", "permessage-deflate, ="):
        with about(offers):
            data = upgrade(f"Sec-WebSocket-Extensions: {offers}")
            response = answers(data, OPEN % "true" + "print(ws)", log="nil\n")
            equal(response.status, 400, "the status")
            with served("request:upgrade_websocket():close()") as (client, _):
                client.send(data + BYE)
                equal(client.response().status, 101, "without the option")


# ---- messages ----


def pieces_of(packed, *cuts):
    """A compressed text in frames, of which the first has RSV1."""
    cuts = [0, *cuts, len(packed)]
    frames = [packed[a:b] for a, b in itertools.pairwise(cuts)]
    last = len(frames) - 1
    return [
        frame(CONTINUATION if i else TEXT, data, final=i == last, bits=0 if i else RSV1)
        for i, data in enumerate(frames)
    ]


def said_and_heard():
    deflate = Deflate()
    long = ("Grüße €, " * 30 + "x" * 300).encode()
    frames = [deflate.text("Hello"), deflate.binary(b"\0" * 3000)]
    first, *rest = pieces_of(deflate.pack(long), 5, 5, 11, 30)
    frames += [first, ping(b"1"), *rest, text("as it is")]
    frames += [deflate.text("Hello"), deflate.text(""), text(""), deflate.binary(b"Hello")]
    heard = [
        (TEXT, b"Hello"), (BINARY, b"\0" * 3000), (PONG, b"1"), (TEXT, long), (TEXT, b"as it is"), (TEXT, b"Hello"),
        (TEXT, b""), (TEXT, b""), (BINARY, b"Hello"),
    ]  # fmt: skip
    return b"".join(frames), heard


@test("a conversation: at once, and byte by byte; then with each split point of its bytes")
def _():
    said, heard = said_and_heard()
    with echoing() as (peer, _):
        by_bytes(peer.client.sock, said)
        peer.gets(*heard)
        check(len(peer.sizes) == 2 and sum(peer.sizes) < 80, f"compressed: {peer.sizes}")
        # The first message refers to nothing before it, so that all can come again.
        for split in range(1, len(said), 1 if mbtest.SLOWNESS <= 2 else 7):
            with about(split):
                in_pieces(peer.client.sock, said[:split], said[split:])
                peer.gets(*heard)
        peer.send(BYE)
        peer.ends(GOODBYE)


@test("what a message refers to may be in those before it; a final block does not end that (section 7.2.3)")
def _():
    hello = (TEXT, b"Hello")
    with echoing("{min_size = 0}") as (peer, _):
        peer.send(text(HELLO, bits=RSV1), text(AGAIN, bits=RSV1), text(AGAIN, bits=RSV1))
        peer.gets(hello, hello, hello)
        check(peer.sizes[:2] == [7, 5] and peer.sizes[2] <= 5, f"what comes back is compressed as well: {peer.sizes}")
        peer.send(text(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", bits=RSV1), text(AGAIN, bits=RSV1))  # BFINAL
        peer.send(text(b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", bits=RSV1))  # two blocks
        peer.gets(hello, hello, hello)
        peer.send(text(b"\0", bits=RSV1), text(""), text(AGAIN, bits=RSV1), BYE)
        peer.ends((TEXT, b""), (TEXT, b""), hello, GOODBYE)


@test("no_context_takeover: each message stands alone, in both directions")
def _():
    alone = Deflate(forgets=True, server_forgets=True)
    with echoing("{min_size = 0, no_context_takeover = true}", deflate=alone) as (peer, _):
        for _ in range(3):
            peer.send(alone.text("Hello" * 100))
            peer.gets((TEXT, b"Hello" * 100))
        equal(len(set(peer.sizes)), 1, "all have the same size")
        peer.send(BYE)
        peer.ends(GOODBYE)
    with echoing("{no_context_takeover = true}", log=None) as (peer, _):  # who refers to one before it breaks a promise
        peer.send(text(HELLO, bits=RSV1), text(AGAIN, bits=RSV1))
        peer.ends((TEXT, b"Hello"), (CLOSE, code(1007)))


@test("a client that refers to more than the window that was agreed on breaks its promise")
def _():
    data = random.Random(SEED).randbytes(2000)
    packed = Deflate().pack(data + data[:300])
    for bits, number in ((9, 1007), (11, 1000)):
        offer = f"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits={bits}"
        with opened(ECHO % "{deflate = {max_window_bits = 15}}", headers=[offer], log=None) as (peer, _):
            peer.deflate = Deflate()
            peer.send(binary(packed, bits=RSV1), BYE)
            peer.ends(*[(BINARY, data + data[:300])] * (number == 1000), (CLOSE, code(number)))


@test("what is sent: from min_size on, by each method, with the first bit and without the end of zlib")
def _():
    body = OPEN % "{min_size = 10}" + """
    local function wait() end
    local ten = ("x"):rep(10)
    eq({true}, {ws:send("x")}) eq({true}, {ws:send("")}) eq({true}, {ws:send(ten:sub(2))})
    eq({true}, {ws:send(ten)}) eq({true}, {ws:send_binary(ten)})
    eq(0, ws:send_nb(ten)) eq(0, ws:send_binary_nb(ten))
    eq({true}, {ws:send_call(wait, ten)}) eq({true}, {ws:send_binary_call(wait, ten)})
    local co = coroutine.wrap(function() ws:send_yield(ten) ws:send_binary_yield(ten) return "done" end)
    while co() ~= "done" do end
    eq({true}, {ws:send(("y"):rep(5000))})
    eq({true}, {ws:ping(ten)})
    """
    ten = b"x" * 10
    with opened(body, deflate=Deflate()) as (peer, _):
        peer.gets((TEXT, b"x"), (TEXT, b""), (TEXT, ten[1:]))
        equal(peer.sizes, [], "small ones go as they are")
        peer.gets(*[(TEXT, ten), (BINARY, ten)] * 4, (TEXT, b"y" * 5000), (PING, ten), GOODBYE)
        equal(len(peer.sizes), 9, "the others are compressed")
        check(max(peer.sizes) < 40, peer.sizes)
        peer.send(BYE)


@test("a message of 64 bytes is compressed by default, one of 63 is not")
def _():
    with echoing() as (peer, _):
        peer.send(text("x" * 63), text("x" * 64), BYE)
        peer.ends((TEXT, b"x" * 63), (TEXT, b"x" * 64), GOODBYE)
        equal(len(peer.sizes), 1, "compressed ones")


@test("what does not become smaller, and more than the system takes at once, while nobody reads: in order, and whole")
def _():
    body = OPEN % "true" + """
    local file = io.open("/dev/urandom", "rb") local noise = file:read(1000000) file:close()
    local queued = ws:send_binary_nb(noise)
    assert(queued > 500000, queued)
    assert(ws:send_nb(("a"):rep(200000)) > queued)
    print("queued")
    eq({true}, {ws:send_binary(noise)})
    eq({true}, {ws:send_binary(noise:sub(1, 20000))})
    """
    with opened(body, deflate=Deflate()) as (peer, server):
        server.says("queued")
        noise = peer.read()[1]
        peer.gets((TEXT, b"a" * 200000), (BINARY, noise), (BINARY, noise[:20000]), GOODBYE)
        check(len(peer.sizes) == 4 and peer.sizes[0] < 1005000, peer.sizes)
        peer.send(BYE)


# ---- each rule broken once ----

TOO_LARGE = "a message of more than max_message bytes"
NO_DEFLATE = "a message that cannot be decompressed"
NO_END = "a compressed message without an end"
NOT_UTF8 = "a text that is no UTF-8"
BOMB = Deflate().pack(b"\0" * 1025)


def one(data, opcode=TEXT, **how):
    return frame(opcode, data, bits=RSV1, **how)


BROKEN = [
    # section 6, and RFC 6455, section 5.2
    (1002, frame(CONTINUATION, HELLO, bits=RSV1), "the bit of compression within a message"),
    (1002, one(HELLO[:3], final=False) + frame(CONTINUATION, HELLO[3:], bits=RSV1), "the bit of .*"),
    (1002, frame(PING, b"", bits=RSV1), "the bit of compression within a message"),
    (1002, frame(PONG, b"", bits=RSV1), "the bit of compression within a message"),
    (1002, frame(CLOSE, code(1000), bits=RSV1), "the bit of compression within a message"),
    (1002, one(HELLO, mask=None), "a frame without a mask"),
    (1002, frame(TEXT, HELLO, bits=RSV1 | 0x20), "a reserved bit is set"),
    # section 7.2.2
    (1007, one(b"\x06"), NO_DEFLATE),
    (1007, one(b"\x06", final=False), NO_DEFLATE),  # at once, and not at its end
    (1007, one(AGAIN), NO_DEFLATE),
    (1007, one(HELLO[:4]), NO_END),
    (1007, one(HELLO[:6], final=False) + frame(CONTINUATION, b""), NO_END),
    (1007, one(b""), NO_END),
    (1007, one(b"\xf3\x48\xcd\xc9\xc9\x07\x00"), NO_END),  # a final block without the octet behind it (7.2.3.4)
    (1007, one(b"Hello, as it is"), f"{NO_DEFLATE}|{NO_END}"),
    # RFC 6455, section 8.1
    (1007, one(Deflate().pack(b"\xff")), NOT_UTF8),
    (1007, one(Deflate().pack(b"a" * 400 + b"\xed\xa0\x80"), final=False), NOT_UTF8),
    (1007, one(Deflate().pack(b"abc\xe2\x82")), "a text that ends within a character"),
    # ours
    (1009, binary(b"x" * 1025), TOO_LARGE),
    (1009, binary(b"x" * 1024, final=False) + frame(CONTINUATION, b"x"), TOO_LARGE),
    (1009, one(BOMB, BINARY), TOO_LARGE),
    (1009, one(BOMB, BINARY, final=False), TOO_LARGE),
    (1009, one(Deflate().pack(b"x" * 2000) + b"\xff" * 100, BINARY), TOO_LARGE),
]


@test("each rule broken once: the client gets the code, the script why, the log a line")
def _():
    for number, said, why in BROKEN:
        with about((number, why, said[:40])):
            with echoing(options="max_message = 1024", log=None, pair=tcp_pair) as (peer, server):
                peer.send(text("before"), said, one(HELLO))
                peer.gets((TEXT, b"before"), (CLOSE, code(number)))
                peer.client.finish()
                peer.client.nothing_more()
                log = server.rest()
                check(re.search(rf"websocket: {number}: ({why}) \(client 127\.0\.0\.1", log), log)
                check(re.search(rf"(?m)^({why})\t{number}\t$", log), log)
                equal(server.child.wait(), 0, "exit status")
    with opened(ECHO % "{deflate = true}", log=None) as (peer, _):  # the client has not offered it
        peer.send(one(HELLO))
        peer.closed(1002)


@test("messages that end where the room for them does, also when they are much larger than on the wire")
def _():
    noise = random.Random(SEED).randbytes(10000).hex().encode()
    for more in (0, 1, 100, 257, 258):
        with echoing() as (peer, _):
            for size in (1024, 2048, 4096, 8192, 65536):
                data = b"\0" * (size + more)
                peer.send(peer.deflate.binary(data))
                peer.gets((BINARY, data))
            peer.send(peer.deflate.binary(noise[: 20000 - more]), BYE)
            peer.ends((BINARY, noise[: 20000 - more]), GOODBYE)


@test("max_message counts bytes of the message, and not those on the wire")
def _():
    noise = random.Random(SEED).randbytes(1024)
    packed = Deflate().pack(noise)
    with echoing(options="max_message = 1024") as (peer, _):
        peer.send(one(packed[:600], BINARY, final=False), frame(CONTINUATION, packed[600:]), BYE)
        peer.ends((BINARY, noise), GOODBYE)
    check(len(packed) > 1024, "noise does not become smaller")
    for data, whole in ((packed, noise), (BOMB[:-1], None), (Deflate().pack(b"\0" * 1024), b"\0" * 1024)):
        if whole:
            with echoing(options="max_message = 1024") as (peer, _):
                peer.send(one(data, BINARY), BYE)
                peer.ends((BINARY, whole), GOODBYE)
    with echoing(options="max_message = 0") as (peer, _):
        peer.send(one(b"\0"), BYE)
        peer.ends((TEXT, b""), GOODBYE)
    with echoing(options="max_message = 0", log=None) as (peer, _):
        peer.send(one(Deflate().pack(b"x")))
        peer.closed(1009)


mbtest.main()
