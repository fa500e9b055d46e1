#!/usr/bin/python3
"""A client that speaks TLS to a port without TLS: it gets the end at once, without a word, and the log says what it was; so
in HTTP and in protocols of lines. A real TLS client, and its first bytes in pieces. Other protocols may begin like TLS."""

import os
import ssl
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import SLOWNESS, SRCDIR, Serving, check, equal, local_pair, script, tcp_pair, test

LOG = "looks like TLS, which is not spoken here"
HTTP = """
return require("moonbridge_http").generate_handler(function(request)
  print("called") request:send_status(200) request:send_data("x")
end)
"""
HTTP_SERVER = """
return function(socket)
  require("mb.http_server").wrap(socket, {onstream = function() print("called") end}):loop()
end
"""
LINES = 'return function(socket) print(#socket:read(nil, "\\n"), select(2, socket:read(1))) end'
RAW = 'return function(socket) print(socket:read(2) == "\\22\\3", select(2, socket:read(nil, "\\n"))) end'


def example(name):
    return os.path.join(SRCDIR, "docs", "examples", name)


SPEAKERS = {
    "moonbridge_http": (HTTP, ()),
    "mb.http_server": (HTTP_SERVER, ()),
    "a line": (LINES, ()),
    "read_call": ('return function(s) s:read_call(function() moonbridge_io.poll{[s] = true} end, nil, "\\n") end', ()),
    "drain": ('return function(s) print(s:drain(nil, "\\n")) end', ()),
    "echo.lua": (None, ()),
    "finger.lua": (None, ()),
    "luasocket-echo.lua": (None, ()),
    "tarantool-echo.lua": (None, ("--style=tarantool",)),
}


def serve(name, pair=tcp_pair):
    text, args = SPEAKERS[name]
    client, conn = pair()
    # The examples have ports of their own: whichever it is, the first listener is the one.
    listener = () if text or args else ("--listener=1",)
    child = Serving(conn, "--log-level=info", *listener, *args, script(text) if text else example(name))
    conn.close()
    return client, child


def is_ended(name, child, begin):
    status = child.wait()
    log = mbtest.without_ends(child.log())
    check(time.monotonic() - begin < 3 * SLOWNESS, f"{name} ends at once")
    equal((status, log.count(LOG), "called" in log, "traceback" in log), (0, 1, False, False), f"{name}: {log!r}")


@test("a TLS client gets no word and the end at once; the log says what it was; exit status 0")
def _():
    context = ssl.create_default_context()
    for name in SPEAKERS:
        if name == "tarantool-echo.lua":
            continue  # it wants a port: see below
        client, child = serve(name)
        begin = time.monotonic()
        try:
            context.wrap_socket(client.sock, server_hostname="a.example")
            check(False, "a handshake cannot succeed")
        except (ssl.SSLError, ConnectionError, OSError) as error:
            check("EOF" in str(error) or "reset" in str(error).lower(), f"{name}: {error}")
        is_ended(name, child, begin)


@test("two bytes are enough, one by one, on TCP and on a Unix socket")
def _():
    for pair in (tcp_pair, local_pair):
        for name in ("moonbridge_http", "mb.http_server", "a line", "read_call"):
            for pieces in ((b"\x16\x03",), (b"\x16", b"\x03"), (b"\x16\x03\x01\x02\x00\x01\n\x00\n\r\n\r\n",)):
                client, child = serve(name, pair)
                begin = time.monotonic()
                if len(pieces[0]) == 1 and "http" in name:
                    continue  # one byte is enough for a 400: no method begins like that
                for piece in pieces:
                    time.sleep(0.05)
                    client.send(piece)
                equal(client.end()[0], b"", f"{name}: what the client gets")
                is_ended(name, child, begin)


@test("a Tarantool program that reads lines sees the end")
def _():
    text = """
local socket = require('socket')
local listener = socket('AF_INET', 'SOCK_STREAM', 'tcp')
listener:bind('0.0.0.0', PORT) listener:listen(1)
local client = listener:accept()
print(client:read("\\n", 10) == "")
client:close()
"""
    client, conn = tcp_pair()
    port = conn.getsockname()[1]
    child = Serving(conn, "--log-level=info", "--style=tarantool", script(text.replace("PORT", str(port))))
    begin = time.monotonic()
    client.send(b"\x16\x03\x01\x02\x00\x01")
    client.end()
    is_ended("tarantool", child, begin)
    check("true\n" in child.log(), child.log())


@test("behind a PROXY header, too")
def _():
    client, conn = tcp_pair()
    child = Serving(conn, "--log-level=info", "--proxy-protocol", script(LINES))
    begin = time.monotonic()
    client.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 5 6\r\n\x16\x03\x01")
    client.end()
    is_ended("a line", child, begin)
    check("(client 192.0.2.7:5)" in child.log(), child.log())


@test("bytes that are no line, or that come later, are the script's")
def _():
    for body, data, want in (
        (RAW, b"\x16\x03a\nb", "true\tterm\n"),
        ('return function(s) print(#s:read(nil, "\\3"), #s:read(nil)) end', b"\x16\x03\x01\x02\x03", "2\t3\n"),
        ('return function(s) s:read(nil, "\\n") print(#s:read(nil, "\\n")) end', b"\n\x16\x03a\n", "4\n"),
        ('return function(s) print(#s:read(nil, "\\n")) end', b"\x16\x04a\n", "4\n"),
    ):
        client, conn = tcp_pair()
        child = Serving(conn, "--log-level=info", script(body))
        client.send(data)
        client.finish()
        client.end()
        equal((child.wait(), mbtest.without_ends(child.log())), (0, want), f"exit status, and what {body} prints")


mbtest.main()
