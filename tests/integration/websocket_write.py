#!/usr/bin/python3
"""ws:write: small messages that go out together, with whatever is sent next, and before anything is waited for."""

import os
import random
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import about, check, equal, local_pair, tcp_pair, test
from mbwebsocket import BINARY, CLOSE, PING, PONG, TEXT, Deflate, close, code, opened, text

BYE = close(1000)
GOODBYE = (CLOSE, code(1000))
OPEN = "local ws = request:upgrade_websocket(%s)\n"
WRITTEN = 'assert(ws:write("a")) assert(ws:write_binary("b")) assert(ws:write("c")) print("written")\n'
FRAMES = ((TEXT, b"a"), (BINARY, b"b"), (TEXT, b"c"))
BYTES = b"\x81\x01a\x82\x01b\x81\x01c"


def is_silent(client):
    client.sock.settimeout(0.2)
    try:
        return not client.buffer and not client.sock.recv(1)
    except TimeoutError:
        return True
    finally:
        client.sock.settimeout(mbtest.DEADLINE)


@test("written messages stay in the queue, and go out together when nothing is there to be received")
def _():
    for how in ("ws:receive()", "ws:receive(10)", "ws:receive_nb()", "ws:receive_call(function() ws.socket:read() end)"):
        body = OPEN % "" + WRITTEN + f"moonbridge_io.poll({{[request.socket] = true}}, nil, 10) {how} ws.socket:read()"
        for pair in (tcp_pair, local_pair):
            with about(how), opened(body, pair=pair, log=None) as (peer, server):
                server.says("written")
                check(is_silent(peer.client), "it is sent too early")
                peer.client.send(b"\x89\x80")  # a part of a frame
                equal(peer.client.receive(), BYTES, "what comes at once")
                peer.client.sock.close()
                server.child.wait()


@test("they go out before whatever is sent next, in their order")
def _():
    for how, more in (
        ('ws:send("d")', [(TEXT, b"d")]),
        ('ws:send_nb("d")', [(TEXT, b"d")]),
        ('ws:send_binary(("d"):rep(100000))', [(BINARY, b"d" * 100000)]),
        ('ws:ping("d")', [(PING, b"d")]),
        ('ws:pong("d")', [(PONG, b"d")]),
        ("eq(0, ws:flush_nb())", []),
        ("ws:write(('d'):rep(16380))", [(TEXT, b"d" * 16380)]),
        ("ws:write_binary(('d'):rep(100000))", [(BINARY, b"d" * 100000)]),
        ("for _ = 1, 20 do ws:write(('d'):rep(1000)) end ws:receive()", [(TEXT, b"d" * 1000)] * 20),
    ):
        with about(how), opened(OPEN % "" + WRITTEN + how + " ws:receive()", log="written\n") as (peer, _):
            peer.gets(*FRAMES, *more)
            peer.send(BYE)
            if "for _" in how:
                peer.send(BYE)
            peer.ends(GOODBYE)
    for how, end, log in (
        ("ws:close(4000)", 4000, "written\n"), ("", 1000, "written\n"), ("error 'mine'", 1011, None),
    ):  # fmt: skip
        with about(how), opened(OPEN % "" + WRITTEN + how, log=log, status=70 if "mine" in how else 0) as (peer, _):
            peer.gets(*FRAMES, (CLOSE, code(end)))
            peer.send(close(end))
            peer.client.nothing_more()


@test("a peer that does not read stops the script, and is reset after send_timeout; other messages come whole")
def _():
    body = OPEN % "{send_timeout = 0.3}" + """
    local count, why = 0
    while true do
      local sent, message = ws:write(("x"):rep(1000))
      if not sent then why = message break end
      count = count + 1
    end
    print(why, count < 100000)
    """
    with opened(body, log="the peer takes nothing\ttrue\n", pair=tcp_pair) as (peer, server):
        server.child.wait(mbtest.DEADLINE)
        equal(peer.client.end()[1], "reset", "the end")


@test("compressed messages are written, too, and refer to each other, and to those that are sent")
def _():
    noise = random.Random(7).randbytes(16384)
    said = ["Hello, Hello, Hello", "Hello, you", "and Hello again", "x" * 20000]
    body = OPEN % "{deflate = {min_size = 0, max_window_bits = 15}}" + "".join(
        f"assert(ws:{'send' if number == 2 else 'write'}({each!r}))\n" for number, each in enumerate(said)
    ) + """
    for _ = 1, 40 do
      local piece = {}
      for i = 1, 1000 do piece[i] = string.char(math.random(0, 255)) end
      assert(ws:write_binary(table.concat(piece)))
    end
    ws:flush_nb()
    local noise = "NOISE"
    assert(ws:write_binary(noise)) -- does not fit when it is compressed
    assert(ws:write_binary(noise:sub(1, 1000)))
    ws:receive()""".replace("NOISE", "".join(f"\\x{byte:02x}" for byte in noise))
    with opened(body, deflate=Deflate()) as (peer, _):
        first = peer.client.take(1, "before the first message")
        equal(first, b"\xc1", "the first byte of a compressed text")
        peer.client.buffer = first + peer.client.buffer
        peer.gets(*[(TEXT, each.encode()) for each in said])
        for _ in range(40):
            opcode, data = peer.read()
            equal((opcode, len(data)), (BINARY, 1000), "a message that does not shrink")
        peer.gets((BINARY, noise), (BINARY, noise[:1000]))
        peer.send(BYE)
        peer.ends(GOODBYE)


@test("a wrong argument is an error at the script's line; after a close there is nil and \"closed\"")
def _():
    body = OPEN % "" + """
    fails({"#1 to 'write'", "UTF-8"}, function() ws:write("\\xff") end)
    fails({"#1 to 'write'", "string"}, function() ws:write() end)
    fails({"#1 to 'write_binary'", "string"}, function() ws:write_binary({}) end)
    ws:receive() ws:receive()
    eq({nil, "closed"}, {ws:write("x")}) eq({nil, "closed"}, {ws:write_binary("x")})
    """
    with opened(body) as (peer, _):
        peer.send(text("x"), BYE)
        peer.ends(GOODBYE)


mbtest.main()
