#!/usr/bin/python3
"""What permessage-deflate of a WebSocket takes: memory, also of bombs and where it runs out; and its library, which is
loaded late. websocket_deflate.py has what is sent byte by byte."""

import itertools
import os
import random
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbpool
import mbtest
from mbhttp import Connection, served, source
from mbtest import about, check, equal, tcp_pair, test
from mbwebsocket import (
    BINARY, CLOSE, CONTINUATION, ECHO, OFFER, RSV1, TEXT, Deflate, Peer, binary, close, code, frame, opened, text,
    upgrade,
)  # fmt: skip

BYE = close(1000)
GOODBYE = (CLOSE, code(1000))
OPEN = "local ws = request:upgrade_websocket{deflate = %s}\n"

# ---- memory ----


def peak(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM:"))


@test("a bomb of 1000:1 ends with 1009, at the limit, and takes the memory of a message of that size")
def _():
    bomb = Deflate().pack(b"\0" * (100 << 20))
    check(len(bomb) < 110000, f"{len(bomb)} bytes stand for 100 MiB")
    grown = {}
    for name, said, number in (
        ("none", Deflate().binary(b"\0" * 1000) + BYE, 1000),
        ("a bomb", binary(bomb, bits=RSV1), 1009),
        ("in fragments", binary(bomb[:50000], bits=RSV1, final=False) + frame(CONTINUATION, bomb[50000:]), 1009),
    ):
        body = OPEN % "true" + "while ws:receive() do end request.socket:read(1)"
        with opened(body, deflate=Deflate(), pair=tcp_pair, log=None) as (peer, server):
            peer.send(said)
            equal(peer.read(), (CLOSE, code(number)), "the close")
            grown[name] = peak(server.pid)
    mbtest.diagnose(f"at most KiB: {grown}")
    most = grown["none"] + (20000 if mbtest.is_sanitized() or mbtest.VALGRIND else 3000)
    check(max(grown.values()) < most, f"less than {most} KiB: {grown}")


@test("memory is free again when a WebSocket has ended, though the script keeps its object; or when that is collected")
def _():
    # Both directions of one cost 300 KiB, and a message some: half a dozen would not fit.
    body = """
    local http, kept = require "moonbridge_http", {}
    local serve = http.generate_handler({drain_timeout = 0.1}, function(request)
      collectgarbage() collectgarbage()
      local ws = request:upgrade_websocket{deflate = {max_window_bits = 15}}
      local drops = request.path == "drop"
      if not drops then kept[#kept + 1] = ws end
      for message in ws:messages() do
        if request.path == "end" then ws:send_call(function() end, message) else ws:send(message) end
        if drops then return request.socket:close() end
      end
    end)
    listen{min_fork = 1, max_fork = 1, memory_limit = 2000000,
      connect = function(socket) serve(socket) return true end}
    """
    pool = mbpool.Pool(mbtest.script(body), "--log-level=info").ready()
    message = random.Random(1).randbytes(25000).hex()
    for number, way in zip(range(30), itertools.cycle(("close", "end", "drop"))):
        with about((number, way)), Connection(pool.where) as client:
            client.send(upgrade(OFFER, target=f"/{way}"))
            equal(client.response().value("Sec-WebSocket-Extensions"), "permessage-deflate", "the answer")
            peer = Peer(client, Deflate())
            peer.send(peer.deflate.text(message))
            peer.gets((TEXT, message.encode()))
            equal(len(peer.sizes), 1, "it comes back compressed")
            if way == "close":
                peer.send(BYE)
                peer.ends(GOODBYE)
            elif way == "end":
                client.finish()
                client.end()


def noise(name, size):
    """Lua that makes a text which hardly becomes smaller."""
    return f"""
    local {name} = {{}}
    for i = 1, {size // 8} do {name}[i] = ("%08x"):format(math.random(0, 0xffffffff)) end
    {name} = table.concat({name})
    """


@test("a message that could not be queued is forgotten: what comes behind it does not refer to it")
def _():
    body = OPEN % "true" + noise("text", 12000) + """
    local parts, count = {}, 0
    for i = 0, 7 do parts[i] = text:sub(1500 * i + 1, 1500 * i + 1500) end
    local send, part, good, why = ws.send_nb, nil, nil, nil
    repeat -- the peer reads nothing
      part, count = parts[count % 8], count + 1
      good, why = pcall(send, ws, part)
    until not good
    assert(why:find("memory"), why)
    print("full", count)
    while ws:flush_nb() > 0 do moonbridge_io.poll(nil, {[ws] = true}, 1) end
    eq({true}, {ws:send(part)}) eq({true}, {ws:send(part)})
    """
    with opened(body, deflate=Deflate(), args=["--memory-limit=1000000"]) as (peer, server):
        word = server.word()
        check(word.split()[0] in ("full", "queued"), f"{word}: {server.rest() if word.startswith('mb-') else ''}")
        count = int(word.split()[-1])
        parts = [peer.read()[1] for _ in range(8)]
        peer.gets(*[(TEXT, parts[i % 8]) for i in range(8, count - 1)])
        peer.gets((TEXT, parts[(count - 1) % 8]), (TEXT, parts[(count - 1) % 8]), GOODBYE)
        check(count > 100 and len(set(parts)) == 8, f"{count} messages")
        check(min(peer.sizes[:-1]) > 600 > peer.sizes[-1], f"only the last is a repetition: {peer.sizes[-9:]}")
        peer.send(BYE)


@test("a finalizer that runs while a message is queued sends nothing before it: that might refer to it")
def _():
    body = OPEN % "true" + noise("text", 12000) + """
    local parts, part, count, answer = {}, nil, 0, nil
    for i = 0, 7 do parts[i] = text:sub(1500 * i + 1, 1500 * i + 1500) end
    text = nil
    collectgarbage() collectgarbage("stop")
    local _ = #("x"):rep(300000)
    setmetatable({}, {__gc = function() answer = {ws:send_nb(part)} end})
    repeat
      part, count = parts[count % 8], count + 1
      assert(ws:send_nb(part))
    until answer
    print("queued", count)
    eq({nil, "a message is half sent"}, answer)
    while ws:flush_nb() > 0 do moonbridge_io.poll(nil, {[ws] = true}, 1) end
    eq({true}, {ws:send(part)})
    """
    with opened(body, deflate=Deflate(), args=["--memory-limit=1000000"]) as (peer, server):
        word = server.word()
        check(word.split()[0] in ("full", "queued"), f"{word}: {server.rest() if word.startswith('mb-') else ''}")
        count = int(word.split()[-1])
        parts = [peer.read()[1] for _ in range(8)]
        peer.gets(*[(TEXT, parts[i % 8]) for i in range(8, count)], (TEXT, parts[(count - 1) % 8]), GOODBYE)
        peer.send(BYE)


@test("a message for which there is no memory goes as it is, and the next ones do not refer to it")
def _():
    body = OPEN % "true" + noise("text", 100000) + """
    collectgarbage()
    eq({true}, {ws:send(text:sub(1, 1000))})
    local ballast, size = {}, 4096
    repeat
      local good, block = pcall(string.rep, "x", size)
      ballast[#ballast + 1] = good and block or nil
    until not good
    for _ = 1, 8 do ballast[#ballast] = nil end
    collectgarbage()
    eq({true}, {ws:send_binary(text)})
    ballast = nil
    eq({true}, {ws:send(text:sub(-1000))}) eq({true}, {ws:send(text:sub(-1000))})
    """
    with opened(body, deflate=Deflate(), args=["--memory-limit=3000000"]) as (peer, _):
        first = peer.read()
        equal(len(peer.sizes), 1, "the first is compressed")
        whole = peer.read()
        equal((whole[0], len(peer.sizes)), (BINARY, 1), "the large one is not")
        check(whole[1].startswith(first[1]), "it is the right one")
        peer.gets((TEXT, whole[1][-1000:]), (TEXT, whole[1][-1000:]), GOODBYE)
        check(len(peer.sizes) == 3 and peer.sizes[1] > 400 > peer.sizes[2], f"compressed: {peer.sizes}")
        peer.send(BYE)


# ---- where the library cannot be loaded ----


@test("it is loaded when a client offers to compress and the script wishes it, and not before")
def _():
    loaded = """
    local function loaded()
      for line in io.lines("/proc/self/maps") do if line:find("libz%.so") then return true end end
      return false
    end
    """
    for wished, headers in (("true", ()), ("false", (OFFER,)), ("true", (OFFER,))):
        want = wished == "true" and headers
        body = loaded + "assert(not loaded())" + OPEN % wished + "print(loaded()) ws:close()"
        with opened(body, headers=headers, log=f"{'true' if want else 'false'}\n") as (peer, _):
            peer.send(BYE)
            peer.ends(GOODBYE)


@test("in a sandbox, when mb.websocket is required before the handler; else not, and the log says once why")
def _():
    handler = source(OPEN % "true" + "print(ws.extensions) ws:close()")
    def declined(where):
        with Connection(where) as client:
            client.send(upgrade(OFFER) + BYE)
            equal(client.response().value("Sec-WebSocket-Extensions"), None, "the answer")
            Peer(client).ends(GOODBYE)

    hint = "in a sandbox, require mb.websocket before the handler runs"
    for before, want in (('require "mb.websocket"\n', "permessage-deflate\n"), ("", hint)):
        with served(before + handler, args=["--sandbox=strict"], log=want) as (client, _):
            client.send(upgrade(OFFER) + BYE)
            response = client.response()
            equal((response.status, response.value("Sec-WebSocket-Extensions") is None), (101, not before), response)
            Peer(client).ends(GOODBYE)
    handler = handler.replace("return http.generate_handler", "local serve = http.generate_handler")
    handler += "\nlisten{max_fork = 1, sandbox = 'strict', connect = function(s) serve(s) return true end}"
    pool = mbpool.Pool(mbtest.script(handler), "--log-level=info").ready()
    for _ in range(3):
        declined(pool.where)
    equal(pool.text().count("messages are not compressed"), 1, f"how often the log says so: {pool.text()}")


@test("in mb-handle-static messages are not compressed, and the log says why")
def _():
    if mbtest.CHOSEN == mbtest.HANDLE or not os.access(mbtest.CHOSEN, os.X_OK):
        return mbtest.diagnose("there is no mb-handle-static")
    conn, theirs = tcp_pair()
    log = mbtest.tmp("static.log")
    with theirs, open(log, "wb") as out:
        child = mbtest.Child([mbtest.CHOSEN, mbtest.script(source(ECHO % "{deflate = true}"))], {0: theirs, 2: out})
    with Connection(conn) as client:
        client.send(upgrade(OFFER) + text("x" * 100) + BYE)
        response = client.response()
        equal((response.status, response.value("Sec-WebSocket-Extensions")), (101, None), "the handshake")
        Peer(client).ends((TEXT, b"x" * 100), GOODBYE)
    equal(child.wait(), 0, "exit status")
    said = mbtest.read_file(log)
    check("websocket: messages are not compressed: mb-handle-static loads no modules in C" in said, said)
    return None


mbtest.main()
