#!/usr/bin/python3
"""mb.http_server.websocket: the functions of lua-http's http.websocket on a stream of ours, without lua-http."""

import contextlib
import os
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbhttp import Connection, request
from mbtest import Serving, check, equal, script, tcp_pair, test
from mbwebsocket import ACCEPT, BINARY, CLOSE, PING, PONG, TEXT, Peer, binary, close, code, frame, ping, text, upgrade

# What it prints is the log.
HANDLER = """
local http_server = require "mb.http_server"
http_server.install()
local websocket = require "http.websocket"
local function onstream(_, stream)
  local headers = assert(stream:get_headers())
  %s
end
return function(socket) http_server.wrap(socket, {onstream = onstream, response_timeout = 0.2}):loop() end
"""
ACCEPTED = "local ws = assert(websocket.new_from_stream(stream, headers)) assert(ws:accept(%s)) "
ECHO = """
  for data, kind in ws:each() do assert(ws:send(data, kind)) end
  print(ws.readyState, ws.got_close_code) ws:close()"""
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable"  # onstream has returned without a response
WITHOUT = {"LUA_PATH": "/nowhere/?.lua"}  # lua-http is not there


class Handled(Connection):
    """A client on a connection whose handler is alive. body: what is in onstream."""

    def __init__(self, body, *args, pair=tcp_pair):
        client, conn = pair()
        super().__init__(client.sock)
        with conn:
            self.child = Serving(conn, *args, script(body), env=WITHOUT)

    def answer(self, said):
        """Sends a request that is answered, and returns the first line of the answer."""
        self.send(said)
        while b"\r\n\r\n" not in self.buffer:
            self.more("in an answer")
        self.sock.close()
        self.child.wait()
        return self.buffer.partition(b"\r\n")[0]

    def ends(self, log="", status=0):
        self.sock.close()
        got, said = self.child.wait(), mbtest.without_ends(self.child.log())
        equal((got, said), (status, log), "how the handler ends")


def shook_hands(client, *headers):
    client.send(upgrade(*headers))
    response = client.response()
    equal((response.status, response.value("Sec-WebSocket-Accept")), (101, ACCEPT), f"the handshake: {response}")
    return response


@contextlib.contextmanager
def opened(body, options="", headers=(), log="", status=0):
    client = Handled(HANDLER % (ACCEPTED % options + body))
    shook_hands(client, *headers)
    yield Peer(client)
    client.ends(log, status)


@test("an echo: texts and bytes, in fragments, with pings between; the log is empty, and the status 0")
def _():
    with opened(ECHO, log="3\t1000\n") as peer:
        peer.send(text("Grüße"), binary(b"\0\xff"), frame(TEXT, b"in ", final=False), ping(b"p"), frame(0, b"two"))
        peer.gets((TEXT, "Grüße".encode()), (BINARY, b"\0\xff"), (PONG, b"p"), (TEXT, b"in two"))
        peer.send(binary(bytes(300000)))
        peer.gets((BINARY, bytes(300000)))
        peer.send(close(1000, "bye"))
        peer.closed(1000)


@test("a WebSocket may last longer than a response")
def _():
    with opened(ECHO, log="3\t1000\n") as peer:
        time.sleep(0.5)
        peer.send(text("late"), close(1000))
        peer.ends((TEXT, b"late"), (CLOSE, code(1000)))


@test("receive: the time, the end, and what is called after it")
def _():
    body = """
    print(ws.type, ws.readyState, tostring(ws), ws.protocol, getmetatable(ws) == websocket.mt)
    print(ws:receive(0.01))
    print(ws:receive(10))
    print(ws:receive())
    print(ws.readyState, ws.got_close_code, ws.got_close_message)
    print(ws:receive(0)) print(ws:send "x") print(ws:send_ping "x") print(ws:close())"""
    lines = (
        'server\t1\thttp.websocket{type="server";readyState=1}\tchat\ttrue\nnil\tConnection timed out\t110\none\ttext\n'
        "nil\tbye\t3001\n3\t3001\tbye\nnil\tBroken pipe\t32\nnil\tBroken pipe\t32\nnil\tBroken pipe\t32\ntrue\n"
    )
    with opened(body, "{protocols = {'chat', 'b'}}", ["Sec-WebSocket-Protocol: a , b,chat"], log=lines) as peer:
        time.sleep(0.1)
        peer.send(text("one"), close(3001, "bye"))
        peer.closed(3001)
    with opened("print(ws:receive())", log="nil\tnil\t1000\n") as peer:
        peer.send(close())
        peer.ends((CLOSE, b""))


@test("send: kinds and their numbers; pings and pongs; what a script does wrong names the argument")
def _():
    body = """
    assert(ws:send("a") and ws:send("b", 1) and ws:send("c", "binary") and ws:send("d", 2, 5))
    assert(ws:send_ping("e") and ws:send_pong("f", 5))
    for _, args in ipairs{{5}, {"\\xff"}, {"x", "other"}, {"x", 8}} do
      print((select(2, pcall(function() ws:send(table.unpack(args)) end)):gsub("^.*:%d+: ", "")))
    end
    print(ws:close(3000, "enough"))"""
    lines = (
        "send: expected a string, got number\nsend: a text is UTF-8; \"binary\" sends any bytes\n"
        'send: expected "text" or "binary", got other\nsend: expected "text" or "binary", got 8\ntrue\n'
    )
    with opened(body, log=lines) as peer:
        peer.gets((TEXT, b"a"), (TEXT, b"b"), (BINARY, b"c"), (BINARY, b"d"), (PING, b"e"), (PONG, b"f"))
        peer.gets((CLOSE, code(3000, "enough")))
        peer.send(close(3000))
        peer.client.nothing_more()


@test("a peer that breaks a rule gets its code; one that is lost; one that does not answer a close")
def _():
    for sent, number, why in (
        (frame(3, b"x"), 1002, "there is no such opcode"),
        (text(b"\xff"), 1007, "a text is no UTF-8"),
        (binary(bytes(101)) + bytes(100000), 1009, "a message of more than 100 bytes"),
    ):
        client = Handled(HANDLER % (ACCEPTED % "{max_message = 100}" + "print(ws:receive()) print(ws.got_close_code)"))
        shook_hands(client)
        client.send(sent)
        peer = Peer(client)
        peer.gets((CLOSE, code(number)))
        client.nothing_more()
        client.sock.close()
        equal(client.child.wait(), 0, "status")
        check(f"\t{number}\nnil\n" in client.child.log(), f"{client.child.log()!r} for {why}")
    with opened("print(ws:receive())", log="nil\tthe connection has ended without a close\t32\n") as peer:
        pass
    body = "ws.close_timeout = 0.1 print(ws:close(1001)) print(ws.readyState)"
    with opened(body, log="true\n3\n") as peer:
        peer.ends((CLOSE, code(1001)))


@test("a request that asks for none: nil, why, 22; the script answers it")
def _():
    body = "print(websocket.new_from_stream(stream, headers)) stream:shutdown()"
    for said, why in (
        (request(), "the client has not sent Upgrade"),
        (upgrade(method="POST"), "a WebSocket begins with GET"),
        (upgrade().replace(b"Sec-WebSocket-Key", b"X-Key"), "missing sec-websocket-key"),
        (upgrade().replace(b"dGhl", b"dGh"), "invalid sec-websocket-key"),
        (upgrade().replace(b"Version: 13", b"Version: 8"), "unsupported sec-websocket-version"),
        (upgrade("Sec-WebSocket-Protocol: a,a"), "invalid sec-websocket-protocol header"),
        (upgrade("Sec-WebSocket-Protocol: a,"), "invalid sec-websocket-protocol header"),
    ):
        client = Handled(HANDLER % body)
        equal(client.answer(said), UNAVAILABLE, why)
        log = client.child.log()
        check(log.startswith("nil\t") and why in log and "\t22\n" in log, f"{log!r} for {why}")


@test("several WebSockets in one process do not wait for one another")
def _():
    program = (
        """
    local http_server = require "mb.http_server"
    http_server.install()
    local websocket = require "http.websocket"
    return function(socket)
      local server, left = nil, 3
      server = http_server.listen {host = "127.0.0.1", port = 0, onstream = function(_, stream)
        local headers = assert(stream:get_headers())
        left = left - 1
        if left == 0 then server:close() end
        """
        + ACCEPTED % ""
        + """for data, kind in ws:each() do assert(ws:send(data, kind)) end
        ws:close()
      end}
      assert(server:listen())
      socket:flush(select(3, server:localname()) .. "\\n")
      assert(server:loop())
    end"""
    )
    handler = Handled(program)
    where = ("127.0.0.1", int(handler.line()))
    clients = [Connection(where) for _ in range(3)]
    peers = [Peer(client) for client in clients]
    for client in clients:
        shook_hands(client)
    clients[0].send(binary(bytes(500000))[:100000])  # a message that stays half sent
    for number, peer in enumerate(peers[1:]):
        peer.send(text(f"of {number}"))
        peer.gets((TEXT, b"of %d" % number))
    for peer in peers[1:]:
        peer.send(close(1000))
        peer.closed(1000)
    clients[0].sock.close()
    handler.ends()


@test("what is only in lua-http comes from there, or the error says that it is missing")
def _():
    body = "print(pcall(function() return websocket.new_from_uri end)) stream:shutdown()"
    client = Handled(HANDLER % body)
    equal(client.answer(upgrade()), UNAVAILABLE, "the answer")
    log = client.child.log()
    check("http.websocket: only a stream's WebSocket is here; lua-http is missing:" in log, log)


mbtest.main()
