#!/usr/bin/python3
"""docs/examples/websocketd.lua beside the real websocketd: the same program behind both, the same frames from the
client, and the same frames for it, byte for byte, but for what websocketd does against RFC 6455."""

import os
import sys
import threading
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbpool
import mbtest
from mbhttp import Connection
from mbtest import about, check, equal, test, until
from mbwebsocket import BINARY, CLOSE, CONTINUATION, TEXT, Peer, binary, close, code, frame, ping, text, upgrade

WEBSOCKETD = mbtest.need("websocketd")
EXAMPLE = os.path.join(mbtest.SRCDIR, "docs", "examples", "websocketd.lua")
PROGRAM = """
while IFS= read -r line; do
  case $line in
    crlf) printf 'a\\r\\nb\\n\\n';;
    bytes) printf '\\377\\n';;
    errors) echo 'an error' >&2; echo after;;
    silence) exec 2>&-; echo silent;;
    many) seq 1000;;
    end) printf 'a line, and no end'; exit;;
    *) echo "<$line>";;
  esac
done
"""

theirs = ("127.0.0.1", mbtest.free_port())
mbtest.Process([WEBSOCKETD, f"--port={theirs[1]}", "--address=127.0.0.1", "sh", "-c", PROGRAM])
mbtest.wait_listening(theirs)
ours = mbpool.Pool(PROGRAM, EXAMPLE, "sh", "-c").ready()


def talk(where, said, count):
    """Returns the next frames for what was said."""
    with Connection(where) as client:
        client.send(upgrade(host=f"127.0.0.1:{where[1]}"))
        equal(client.response().status, 101, "the handshake")
        peer = Peer(client)
        peer.send(*said)
        return [peer.read() for _ in range(count)]


@test("lines are messages and messages are lines, as with websocketd")
def _():
    for said, count in (
        ([text("a"), text("b c"), text(""), text(" \t")], 4),
        ([text("crlf"), text("x")], 4),
        ([text("a\nb"), text("c\r")], 3),
        ([text("errors"), text("x")], 2),
        ([text("silence"), text("x")], 2),
        ([text("many")], 1000),
        ([text("grü", final=False), frame(CONTINUATION, "ße".encode())], 1),
        ([ping(b"p"), text("x")], 2),
        ([text("x" * 4000)], 1),
        ([close(1000)], 1),
    ):
        with about(said):
            want = talk(theirs, said, count)
            equal(talk(ours.where, said, count), want, "frames")
    until(lambda: ours.text().count("an error") == 1, "stderr is in the log")
    check(ours.text().count("stack traceback") == 0, ours.text())


@test("what websocketd does otherwise: no close at the end, a text of any bytes, no line for a binary message")
def _():
    equal(talk(theirs, [text("bytes")], 1), [(TEXT, b"\xff")], "theirs")
    equal(talk(ours.where, [text("bytes")], 1), [(BINARY, b"\xff")], "ours")
    equal(talk(theirs, [binary(b"b"), text("t")], 1), [(TEXT, b"<bt>")], "theirs")
    equal(talk(ours.where, [binary(b"b"), text("t")], 2), [(TEXT, b"<b>"), (TEXT, b"<t>")], "ours")
    with Connection(theirs) as client:
        client.send(upgrade(host=f"127.0.0.1:{theirs[1]}"))
        equal(client.response().status, 101, "the handshake")
        client.send(text("end"))
        client.nothing_more()
    equal(talk(ours.where, [text("end")], 1), [(CLOSE, code(1000))], "ours: a line without its end is dropped as well")


@test("a client that does not read stops the program, and that stops the client; nothing is lost")
def _():
    count = 10000
    # On TCP the system itself may hold most of what is said.
    local = mbpool.Pool(PROGRAM, EXAMPLE, "sh", "-c", where=mbtest.tmp("socket")).ready()
    with Connection(local.where) as client:
        client.send(upgrade(host="x"))
        equal(client.response().status, 101, "the handshake")
        peer, sent = Peer(client), [0]

        def say():
            for number in range(count):
                peer.send(text(str(number) * 100))
                sent[0] = number + 1

        thread = threading.Thread(target=say, daemon=True)
        thread.start()
        stalled(lambda: sent[0])
        check(sent[0] < count, "all was taken from a client that does not read")
        for number in range(count):
            equal(peer.read(), (TEXT, b"<" + str(number).encode() * 100 + b">"), f"line {number}")
        thread.join(mbtest.DEADLINE)


def stalled(number):
    """Waits until a number is the same for half a second."""
    before, since = number(), time.monotonic()
    while time.monotonic() - since < 0.5:
        time.sleep(0.02)
        if number() != before:
            before, since = number(), time.monotonic()


mbtest.main()
