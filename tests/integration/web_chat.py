#!/usr/bin/python3
"""docs/examples/chat.lua with a real Redis: what members hear of each other, what is refused, and what they see when
Redis or the pool ends."""

import os
import signal
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbhttp import Connection
from mbservices import alone, ask, at_once, serve
from mbtest import about, check, equal, test, tmp, until
from mbwebsocket import CLOSE, TEXT, Peer, binary, close, code, text, upgrade

mbtest.without_leaks()
REDIS = mbtest.need("redis-server")
REDIS_PORT = mbtest.free_port()


def start_redis():
    config = ("--port", str(REDIS_PORT), "--bind", "127.0.0.1", "--save", "", "--dir", tmp("redis", "x")[:-2])
    process = mbtest.Process([REDIS, *config])
    mbtest.wait_listening(("127.0.0.1", REDIS_PORT))
    return process


redis = start_redis()
chat = serve("chat", str(REDIS_PORT))


class Member(Peer):
    """A client of the chat, with a name."""

    def __init__(self, name):
        super().__init__(Connection(chat.where))
        self.client.send(upgrade(target="/chat"))
        equal(self.client.response().status, 101, "the handshake")
        self.send(text(name))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.sock.close()

    def hears(self, *lines):
        self.gets(*((TEXT, line.encode()) for line in lines))

    def until(self, line):
        """Hears lines up to this one; returns them."""
        heard = []
        while not heard or heard[-1] != line:
            kind, data = self.read()
            equal(kind, TEXT, f"after {heard}")
            heard.append(data.decode())
        return heard

    def is_closed(self, number):
        """Gets a close with this code behind what it hears."""
        while (frame := self.read())[0] == TEXT:
            pass
        equal((frame[0], frame[1][:2]), (CLOSE, code(number)), "close")
        self.send(close(number))
        self.client.nothing_more()


@test("chat: members hear the same in the same order; who comes hears what was said before, and who goes is told")
def _():
    for target, part in (("/", b'src="chat.js"'), ("/chat.js", b"new WebSocket")):
        check(part in ask(chat, "GET", target).body, target)
    with Member("Ann") as ann:
        ann.hears("Ann has come")
        juergen = Member("Jürgen")
        juergen.hears("Ann has come", "Jürgen has come")
        ann.hears("Jürgen has come")
        ann.send(text("a"), text("a"), text("two\r\nlines: \0 <b>"))
        juergen.send(text("x" * 1900))
        heard = [ann.read()[1].decode() for _ in range(4)]
        juergen.hears(*heard)
        said = ["Ann: a", "Ann: a", "Ann: two  lines:   <b>", "Jürgen: " + "x" * 1900]
        equal(sorted(heard), said, "what was said")
        juergen.send(close(1000))
        juergen.closed(1000)
        ann.hears("Jürgen has gone")

        def talk(number):
            with Member(f"M{number}") as member:
                member.send(*[text("hi")] * 16, text("bye"))
                heard = member.until(f"M{number}: bye")
                equal(heard.count(f"M{number}: hi"), 16, "its own lines")
                member.send(close(1000))
                member.is_closed(1000)

        at_once(3, talk)
        heard = [ann.read()[1].decode() for _ in range(3 * 19)]
        equal([heard.count(f"M{number}: hi") for number in range(3)], [16] * 3, "lines")
    with Member("Late") as late:
        heard = late.until("Late has come")
        check(len(heard) in (51, 52) and "Ann has come" not in heard, heard)  # Ann may go a moment later
    check("stack traceback" not in chat.text() and "sandbox: " not in chat.text(), chat.text())


@test("chat: what comes both among the lines that were kept and by the subscription is heard once")
def _():
    with mbtest.Client(("127.0.0.1", REDIS_PORT)) as keeper:
        line = "0123456789abcdefOnce"
        keeper.send(f"RPUSH chat {line}\r\n")
        check(keeper.line().startswith(":"), "kept")
        with Member("Eve") as eve:
            equal(eve.until("Eve has come").count("Once"), 1, "what was kept")
            for more in (line, line.replace("0", "1")):
                keeper.send(f"PUBLISH chat {more}\r\n")
                keeper.line()
            eve.send(text("."))
            equal(eve.until("Eve: .").count("Once"), 1, "of two, the other one")


@test("chat: a name that is none, what is no text, what is too long, a request for no WebSocket")
def _():
    none = [(name, 1008) for name in ("", "a:b", "a\nb", "x" * 41)]
    for name, number in (*none, (b"\xff", 1007), ("x" * 2001, 1009)):
        with about(name), Member(name) as member:
            member.is_closed(number)
    for frame, number in ((binary(b"x"), 1003), (text(b"\xed\xa0\x80"), 1007), (text("x" * 2001), 1009)):
        with about(frame[:20]), Member("Bob") as member:
            member.send(frame)
            member.is_closed(number)
    equal(ask(chat, "GET", "/chat").status, 426, "no WebSocket")


@test("chat: without Redis there is a close with 1013 and a line in the log; when it is back the chat goes on")
def _():
    with Member("Ann") as ann:
        ann.until("Ann has come")
        redis.stop()
        ann.is_closed(1013)
    with Member("Bob") as bob:
        bob.is_closed(1013)
    until(lambda: chat.text().count("\nchat: ") == 2, f"lines: {chat.text()}")
    check("Connection refused" in chat.text() and "stack traceback" not in chat.text(), chat.text())
    start_redis()
    with Member("Ann") as ann:
        ann.until("Ann has come")
        os.kill(chat.pid, signal.SIGTERM)
        ann.is_closed(1001)
    equal(chat.wait(), 0, "the pool")


@test("chat: a process for one connection")
def _():
    with alone("chat", str(REDIS_PORT)) as client:
        client.send(upgrade(target="/chat") + text("Ann"))
        equal(client.response().status, 101, "the handshake")
        Peer(client).gets((TEXT, b"Ann has come"))


mbtest.main()
