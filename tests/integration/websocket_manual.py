#!/usr/bin/python3
"""mb.websocket(3): its examples do what it says, and every option, method and attribute has an entry."""

import glob
import os
import re
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbmanual
import mbtest
from mbhttp import Connection
from mbtest import equal, tcp_pair, test
from mbwebsocket import BINARY, CLOSE, TEXT, Peer, binary, close, code, opened, text, upgrade

PAGE = mbmanual.page("mb.websocket.3")
BLOCKS = mbmanual.displays("mb.websocket.3")
GOODBYE = (CLOSE, code(1000))


def block(word):
    found = [b for b in BLOCKS if word in b and "generate_handler" in b]
    equal(len(found), 1, f"examples with {word}")
    return found[0]


@test("the echoes")
def _():
    with opened(block("local send = "), pair=tcp_pair) as (peer, _):
        peer.send(text("a"), binary(b"b"), close(1000))
        peer.ends((TEXT, b"a"), (BINARY, b"b"), GOODBYE)
    with opened(block('protocols = {"chat"}'), headers=["Sec-WebSocket-Protocol: chat"]) as (peer, _):
        peer.send(text("a"), close(1000))
        peer.ends((TEXT, b"a"), GOODBYE)


@test("the chat: all members hear what one says, who comes and who goes; one that does not read is dropped")
def _():
    where = ("127.0.0.1", mbtest.free_port())
    script = block("members").replace("8080", str(where[1]))
    with opened(script, pair=tcp_pair, log=None) as (first, server):
        first.gets((TEXT, b"somebody has come"))
        mbtest.wait_listening(where)
        with Connection(where) as other, Connection(where) as deaf:
            for client in (other, deaf):
                client.send(upgrade(target="/?name=Ann"))
                equal(client.response().status, 101, "the handshake")
                first.gets((TEXT, b"Ann has come"))
            second = Peer(other)
            second.gets((TEXT, b"Ann has come"), (TEXT, b"Ann has come"))
            second.send(text("hello"))
            for peer in (first, second):
                peer.gets((TEXT, b"Ann: hello"))

            # deaf reads nothing, and is dropped in the course of this.
            heard, line = [], (TEXT, b"Ann: " + b"x" * 50000)
            while len(heard) < 1000 and (TEXT, b"Ann has gone") not in heard:
                second.send(text("x" * 50000))
                for peer in (first, second):
                    heard.append(peer.read())
                    while heard[-1] != line:
                        heard.append(peer.read())
            equal(set(heard), {line, (TEXT, b"Ann has gone")}, "one is dropped")
            second.send(close(1000))
            second.gets(GOODBYE)
            first.gets((TEXT, b"Ann has gone"))
        first.send(close(1000))
        first.ends(GOODBYE)
        equal(server.child.wait(), 0, "exit status")


@test("each option, method and attribute has an entry, and no other; the defaults are said")
def _():
    methods = set()
    for path in glob.glob(os.path.join(mbtest.SRCDIR, "src", "api", "http", "websocket_*.c")):
        methods |= set(re.findall(r'{"(\w+)", method_', mbtest.read_file(path)))
    documented = set(re.findall(r"^\.It Fn ws:(\w+)", PAGE, re.MULTILINE))
    equal(documented, methods, "methods")
    attributes = re.findall(r"^\.It Va ws\.(\w+)", PAGE, re.MULTILINE)
    body = "local ws = request:upgrade_websocket() ws.protocol, ws.extensions = 1, 1\n"
    body += "".join(f"assert(type(ws.{name}) == 'function')\n" for name in methods)
    body += "ws:close() " + "".join(f"assert(ws.{name} ~= nil)\n" for name in attributes)
    with opened(body) as (peer, _):
        peer.gets(GOODBYE)
        peer.send(close(1000))
    body = "print(select(2, pcall(request.upgrade_websocket, request, {x = 1}))) request:upgrade_websocket()"
    with opened(body, log=None) as (peer, server):
        options = server.word().partition("expected ")[2].split(", ")
        peer.send(close(1000))
    equal(re.findall(r"^\.It Va ([a-z_]+)$", PAGE, re.MULTILINE), options, "options, in their order")
    for value in ("The default is 5;", "The default is 1048576", "The default is 30;", "The default is 60;", "The default is 12.", "The default is 64:"):
        equal(PAGE.count(value), 1, value)


mbtest.main()
