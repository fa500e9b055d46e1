#!/usr/bin/python3
"""WebSockets on a stream of mb.http_server: by Debian's http.websocket, which takes the connection over, and by ours,
which a program with --style=lua-http gets. Debian's python3-websockets and lua-http's own client speak with both."""

import asyncio
import os
import re
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbspace
import mbtest
from mbtest import DEADLINE, Client, Serving, check, equal, free_port, script, tcp_pair, test, unix_pair

mbtest.need("inetd")
LUA_PATH = "/usr/share/lua/5.3/?.lua;/usr/share/lua/5.2/?.lua;/usr/share/lua/5.2/?/init.lua;;"
if subprocess.run(["lua5.3", "-e", "require 'http.websocket'"], env={**os.environ, "LUA_PATH": LUA_PATH}, check=False,
                  capture_output=True).returncode:  # fmt: skip
    mbtest.bail("Debian's lua-http missing")
try:
    import websockets
except ImportError:
    mbtest.bail("python3-websockets missing")
mbspace.enter()

# A function of both kinds of handlers: it sends back what comes, until the client closes.
ECHO = """
package.path = "%s" .. package.path
local websocket = require "http.websocket"
local function echo(_, stream)
  local headers = assert(stream:get_headers())
  local ws = assert(websocket.new_from_stream(stream, headers))
  assert(ws:accept {protocols = {"chat"}})
  for text, kind in ws:each() do
    if text == "fail" then error("on purpose") end
    assert(ws:send(text, kind))
  end
  ws:close()
end
""" % LUA_PATH.replace(";;", ";")

# http.websocket has loaded the real http.headers: those have to do, too.
NATIVE = ECHO + """
local http_server = require "mb.http_server"
return function(socket) http_server.wrap(socket, {onstream = echo}):loop() end
"""
PROGRAM = ECHO + """
local server = require "http.server".listen {host = "0.0.0.0", port = arg[1], tls = false, onstream = echo}
assert(server:listen())
assert(server:loop())
"""

# The example of RFC 6455, 1.2 and 1.3.
UPGRADE = (
    b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat, superchat\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
HELLO = bytes.fromhex("818537fa213d7f9f4d5158")  # masked "Hello": 5.7
CLOSE = bytes.fromhex("888200000000") + b"\x03\xe8"  # 1000, with a mask of zeros
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    b"sec-websocket-protocol: chat\r\nconnection: upgrade\r\n\r\n"
)
ANSWERED = ANSWER + b"\x81\x05Hello\x88\x02\x03\xe8"

native, program = free_port(), free_port()
mbhosts.Inetd(
    [
        (f"127.0.0.1:{native}", "tcp4", script(NATIVE)),
        (f"127.0.0.1:{program}", "tcp4", f"--style=lua-http {script(PROGRAM)} {program}"),
    ],
    most=1000,
)
for port in (native, program):
    mbtest.wait_listening(("127.0.0.1", port))


async def talk(port, reason):
    async with websockets.connect(f"ws://127.0.0.1:{port}/chat", subprotocols=["chat"], ping_interval=None) as ws:
        equal(ws.subprotocol, "chat", "protocol")
        for said in ("", "Grüße", b"\0\xff", "x" * 126, b"y" * 70000, "z" * 200000):
            await ws.send(said)
            check(await ws.recv() == said, f"the echo of {len(said)} {type(said).__name__}")
        await (await ws.ping())
        await ws.send(["in ", "three ", "frames"])
        equal(await ws.recv(), "in three frames", "a message of several frames")
        await ws.close(3001, "bye")
        equal((ws.close_code, ws.close_reason), (3001, reason), "how it is closed")


@test("python3-websockets talks to a handler, and to a program with --style=lua-http, under inetd")
def _():
    for port, reason in ((native, "bye"), (program, "")):
        asyncio.run(asyncio.wait_for(talk(port, reason), DEADLINE))


async def fastest_round(port):
    async with websockets.connect(f"ws://127.0.0.1:{port}/chat", subprotocols=["chat"], ping_interval=None) as ws:
        rounds = []
        for _ in range(10):
            began = time.monotonic()
            for _ in range(8):
                await ws.send("small")
            for _ in range(8):
                await ws.recv()
            rounds.append(time.monotonic() - began)
        return min(rounds)


@test("small messages do not wait for the client's acknowledgements, which it delays by 40 ms")
def _():
    for port in (native, program):
        seconds = asyncio.run(asyncio.wait_for(fastest_round(port), DEADLINE))
        check(seconds < 0.03, f"the fastest of ten rounds took {seconds:.3f} s")


CLIENT = """
local ws = require "http.websocket".new_from_uri("ws://127.0.0.1:" .. arg[1] .. "/chat", {"chat"})
assert(ws:connect(10))
assert(ws:send("one"))
print(ws.protocol, ws:receive(10))
assert(ws:send(("two"):rep(30000), "binary"))
print(#ws:receive(10))
print(ws:close(1000, "done", 10))
"""


@test("lua-http's client talks to both")
def _():
    for port in (native, program):
        got = mbtest.output_of("lua5.3", script(CLIENT), str(port), env={**os.environ, "LUA_PATH": LUA_PATH})
        equal(got, "chat\tone\ttext\n90000\ntrue", f"what the client has from {port}")


class Handler:
    """mb-handle on a connection, whose client has said something already."""

    def __init__(self, said, *args, pair=tcp_pair, text=NATIVE, env=None):
        self.client, conn = pair()
        self.client.send(said)
        with conn:
            self.child = Serving(conn, *args, script(text), env=env)

    def ends(self, status=0):
        """Returns what the client receives, how that ends, and the log."""
        with self.client.sock:
            data, end = self.client.end()
        got, log = self.child.wait(), self.child.log()
        equal(got, status, f"exit status; log: {log}")
        return data, end, mbtest.without_ends(log)


@test("frames that come with the request, on TCP, a Unix socket, and behind a PROXY header")
def _():
    said = UPGRADE + HELLO + CLOSE
    for pair in (tcp_pair, lambda: unix_pair(mbtest.tmp("ws.sock"))):
        equal(Handler(said, pair=pair).ends(), (ANSWERED, "eof", ""), "all at once")
    header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n"
    equal(Handler(header + said, "--proxy-protocol").ends(), (ANSWERED, "eof", ""), "behind a proxy")


@test("the example of the manual page")
def _():
    page = mbtest.read_file(os.path.join(mbtest.SRCDIR, "docs", "mb.http_server.3"))
    blocks = re.findall(r"\.Bd -literal[^\n]*\n(.*?)\.Ed", page, re.DOTALL)
    examples = [block for block in blocks if "websocket.new_from_stream" in block]
    equal(len(examples), 1, "examples")
    answer = ANSWERED.replace(b"sec-websocket-protocol: chat\r\n", b"")
    equal(Handler(UPGRADE + HELLO + CLOSE, text=examples[0], env={"LUA_PATH": LUA_PATH}).ends(), (answer, "eof", ""), "bytes")


@test("frames that come byte by byte")
def _():
    handler = Handler(UPGRADE)
    got = b""
    while len(got) < len(ANSWER):
        got += handler.client.receive()
    for byte in HELLO + CLOSE:
        handler.client.send(bytes([byte]))
    equal((got + handler.client.end()[0]), ANSWERED, "answer")
    handler.ends()


@test("a request that is no websocket's gets the handler's error: 503, status 70")
def _():
    data, _, log = Handler(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").ends(70)
    check(data.startswith(b"HTTP/1.1 503 ") and "upgrade header not websocket" in log, f"{data} {log}")


@test("a handler that fails behind the handshake ends the connection, and nothing more is sent")
def _():
    fail = bytes.fromhex("818400000000") + b"fail"
    data, _, log = Handler(UPGRADE + fail).ends(70)
    check(data == ANSWER and "on purpose" in log, f"{data} {log}")


@test("a client that is gone behind the handshake is no failure")
def _():
    handler = Handler(UPGRADE)
    while not handler.client.receive().endswith(b"\r\n\r\n"):
        pass
    handler.client.reset()
    equal(handler.child.wait(), 0, "exit status")
    equal(mbtest.without_ends(handler.child.log()), "", "log")


@test("in a replay there is no connection to take: the error says so")
def _():
    done = mbtest.replay(script(NATIVE), stdin=UPGRADE + HELLO)
    check(done.returncode == 70 and b"there is no socket: it is a replay or a pipe" in done.stderr, done.stderr)


@test("a server with a listener of its own: one client after the other")
def _():
    text = ECHO + """
    local http_server = require "mb.http_server"
    return function(socket)
      local server, left = nil, 2
      server = http_server.listen {host = "127.0.0.1", port = 0, onstream = function(...)
        left = left - 1
        if left == 0 then server:close() end
        return echo(...)
      end}
      assert(server:listen())
      socket:flush(select(3, server:localname()) .. "\\n")
      assert(server:loop())
    end"""
    handler = Handler(b"", text=text)
    where = ("127.0.0.1", int(handler.client.line()))
    for _ in range(2):
        with Client(where) as client:
            client.send(UPGRADE + HELLO + CLOSE)
            equal(client.end(), (ANSWERED, "eof"), "an echo")
    handler.ends()


@test("without cqueues in the program, take_socket gives a socket of mb-handle")
def _():
    text = """
    return function(socket)
      require "mb.http_server".wrap(socket, {onstream = function(_, stream)
        print(getmetatable(stream.connection:take_socket()), package.loaded["cqueues.socket"])
      end}):loop()
    end"""
    equal(Handler(UPGRADE, text=text).ends()[2], "socket\tnil\n", "log")


mbtest.main()
