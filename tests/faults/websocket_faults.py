#!/usr/bin/python3
"""A WebSocket where system calls fail, are interrupted or do less than they were asked for: the right frames, or whole
frames up to a point and an end; never a hang, and never bytes in the wrong place."""

import contextlib
import os
import random
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from faultlib import POINTS_MAX, TRANSPORTS, conversation, log_text
from mbhttp import Captured, Malformed, source
from mbshim import FAULTS_MAX, HIT, points
from mbtest import Failed, about, check, equal, main, script, test
from mbwebsocket import (
    BINARY, CLOSE, CONTINUATION, ECHO, OFFER, PONG, RSV1, TEXT, Deflate, Peer, binary, close, code, frame, ping, text,
    upgrade,
)  # fmt: skip

LARGE = bytes(range(256)) * 1200

# The rules hold from the handshake on.
RULES = 'assert(io.open("/faultio/" .. rules)):close()\n'
HANDLER = (ECHO % "{close_timeout = 0.3, deflate = true}").replace("if not ws", RULES + "if not ws")
APP = script("local rules = ...\n" + source(HANDLER, "drain_timeout = 0.2"))
SAID = b"".join(
    (
        upgrade(),
        text("a"),
        ping(b"p"),
        binary(LARGE),
        text("b" * 2000, final=False) + frame(CONTINUATION, b"c" * 2000),
        binary(LARGE, mask=bytes(4)),
        text(""),
        close(4000),
    )
)
MESSAGES = [(TEXT, b"a"), (BINARY, LARGE), (TEXT, b"b" * 2000 + b"c" * 2000), (BINARY, LARGE), (TEXT, b"")]
MESSAGES += [(CLOSE, code(4000))]

# The same, compressed, with what hardly becomes smaller.
NOISE = random.Random(1).randbytes(60000)


def packed():
    deflate = Deflate()
    frames = [upgrade(OFFER), deflate.text("a"), ping(b"p"), deflate.binary(NOISE)]
    data = deflate.pack(b"b" * 2000 + b"c" * 2000)
    frames += [text(data[:9], bits=RSV1, final=False), frame(CONTINUATION, data[9:])]
    return b"".join([*frames, deflate.binary(NOISE), deflate.text(""), close(4000)])


PACKED = packed()
PACKED_MESSAGES = [(opcode, NOISE if data == LARGE else data) for opcode, data in MESSAGES]


def run(transport, rules, said=SAID, **more):
    """(status, what came, how it ended) of a conversation under these rules."""
    return conversation(transport, APP, rules, said, **more)


def judge(result, statuses=(0,), messages=MESSAGES):
    """Checks what came. Returns how many of the messages."""
    status, came, how = result
    check(status in statuses, f"status {status}, {how}; log: {log_text()[-800:]!r}")
    if how == "reset" and not came:  # a client that is still sending learns of the reset first
        return 0
    with Captured(came) as captured:
        response = captured.response()
        equal(response.status, 101, "the handshake")
        peer, count = Peer(captured, Deflate() if response.value("Sec-WebSocket-Extensions") else None), 0
        while captured.buffer:
            try:
                got = peer.read()
            except Malformed as malformed:
                check("end of the output" in str(malformed), malformed)
                break
            if got == (PONG, b"p"):
                continue
            if got[0] == CLOSE and got != messages[-1]:
                check(status == 70 and not captured.buffer, f"{got} with status {status}")
                break
            check(count < len(messages) and got == messages[count], f"message {count}: {got[0]}, {len(got[1])} bytes")
            count += 1
    return count


AGAIN = "recv,send,sendmsg,read,writev EAGAIN"
EINTR = "interruptible EINTR"
WEATHERS = {
    "nothing fails": "",
    "at most 7 bytes a call": "moving short max=7",
    "at most 1000 bytes a call, EAGAIN and EINTR": f"moving short max=1000; {AGAIN} storm=3; {EINTR} storm=3",
    "EINTR three times out of four": f"{EINTR} storm=4",
    "EAGAIN every other time": f"{AGAIN} storm=2",
    "waiting is interrupted": f"{AGAIN} storm=3; poll,ppoll EINTR storm=3",
    # Not setsockopt: the connection would be reset at its end, as it is set up for (SO_LINGER).
    "a small call that does not matter": "getpeername EIO from=1",
}

for _weather, _rules in WEATHERS.items():

    @test(f"all frames are right: {_weather}")
    def _(rules=_rules):
        for transport in TRANSPORTS:
            with about(transport):
                result = run(transport, rules)
                equal((result[2], judge(result)), ("eof", len(MESSAGES)), "the end, and messages")
        with about("compressed"):
            result = run("TCP", rules, PACKED)
            count = judge(result, messages=PACKED_MESSAGES)
            equal((result[2], count), ("eof", len(MESSAGES)), "the end, and messages")


def sweep(rule, statuses=(0,)):
    """rule is one with {n} in it, which counts from 1 until it strikes no more."""
    faults = []
    for n in points(1):
        check(n < POINTS_MAX, "still hit")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(HIT)
        result = run("TCP", rule.format(n=n), FAULTIO_HIT=HIT)
        hit = os.path.exists(HIT)
        try:
            count = judge(result, statuses)
            if not hit:
                equal((result[0], count), (0, len(MESSAGES)), "status and messages without a fault")
        except Failed as failed:
            faults.append(f"{rule.format(n=n)}: {failed}")
        if not hit:
            break
    if faults:
        raise Failed("\n".join(faults[:FAULTS_MAX] + [f"{len(faults)} of {n} points"]))
    check(n > 3, f"{rule}: {n - 1} points only: the shim does not work")


for _rule, _statuses in (
    (f"{EINTR} once={{n}}", (0,)),
    (f"{AGAIN} once={{n}}", (0,)),
    ("recv,read ECONNRESET from={n}", (0,)),
    ("recv,read EIO once={n}", (0, 70)),
    ("send,sendmsg,writev EPIPE from={n}; moving short max=20000", (0, 70)),
    ("send,sendmsg,writev ENOBUFS once={n}; moving short max=20000", (0, 70)),
    ("poll,ppoll ENOMEM once={n}; " + AGAIN + " storm=2", (0, 70)),
):
    test(f"one call fails, each in turn: {_rule}")(lambda rule=_rule, statuses=_statuses: sweep(rule, statuses))

main()
