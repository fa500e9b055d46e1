#!/usr/bin/python3
"""Every example of Tarantool's reference, as it stands there, run for real: clients of a real HTTP server, and the echo
servers under the real inetd and on a port of their own."""

import functools
import http.server
import os
import socket
import subprocess
import sys
import threading

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbnet
import mbtest
from mbtest import HANDLE, SRCDIR, Client, check, equal, script, test, tmp, write_file

mbtest.need("inetd")
mbnet.private_network()  # the examples have ports 80 and 8080

TEXT = mbtest.read_file(os.path.join(SRCDIR, "tests", "integration", "scripts", "tarantool-examples.txt"))
EXAMPLES = {}
for section in TEXT.split("\n== ")[1:]:
    name, _, body = section.partition("\n")
    EXAMPLES[name] = body if body.endswith("\n") else body + "\n"
used = set()


def example(name):
    used.add(name)
    return EXAMPLES[name]


PRELUDE = 'require("mb.tarantool").install() local socket, fiber = require "socket", require "fiber" '


def run(text, status=0):
    """What a script prints that has no client."""
    done = subprocess.run(
        [HANDLE, script(text + "\nreturn function() end\n")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=mbtest.DEADLINE,
        check=False,
    )
    output = done.stdout.decode()
    equal(done.returncode, status, f"exit status; it has printed {output!r}")
    return output


# ---- a real HTTP server, on port 80 of both loopback addresses' IPv4 one ----

BODY = b"It works!\n" * 100


class Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass


pages = os.path.dirname(tmp("pages", "x"))
with open(f"{pages}/page.txt", "wb") as f:
    f.write(BODY)
web = http.server.ThreadingHTTPServer(("127.0.0.1", 80), functools.partial(Quiet, directory=pages))
web.daemon_threads = True
threading.Thread(target=web.serve_forever, daemon=True).start()


@test("box.errno: a constant, its text, the last error")
def _():
    check("box.errno" in example("strerror"), "the example")
    equal(
        run(
            PRELUDE
            + "print(box.errno.EBUSY, box.errno.strerror(box.errno.EBUSY)) box.socket('AF_INET', 'no') print(box.errno())"
        ),
        "16\tDevice or resource busy\n94\n",
        "output",
    )


@test("getaddrinfo: the array of the example, field by field")
def _():
    rows = [line for line in example("addresses").splitlines() if "host" in line]
    equal(len(rows), 2, "addresses in the example")
    for row in rows:
        output = run(
            PRELUDE
            + f"local want = {row.rstrip(',')}\n"
            + """
local list = box.socket.getaddrinfo(want.host, want.port, nil, {type = 'SOCK_STREAM'})
print(#list)
for name, value in pairs(want) do if list[1][name] ~= value then print(name, list[1][name], value) end end
for name in pairs(list[1]) do if want[name] == nil then print("besides", name) end end
print(box.socket(list[1].family, list[1].type, list[1].protocol):errno())
"""
        )
        equal(output, "1\n0\n", f"what differs from {row}")


@test("creating a socket")
def _():
    equal(run(PRELUDE + example("creating") + "print(s:name().family, s:errno())"), "AF_INET\t0\n", "output")


@test("sysconnect: a HEAD request to port 80")
def _():
    text = f"{PRELUDE} local function f()\n{example('sysconnect')}\nend\nio.write((f():gsub('\\r', '<CR>')))"
    output = run(text)  # a log escapes control characters
    check(output.startswith("HTTP/1.1 200 OK<CR>\n"), f"answer: {output!r}")
    check(output.endswith("<CR>\n<CR>\n"), f"the header's end: {output!r}")


@test("sysconnect: nobody listens")
def _():
    text = PRELUDE + "local function f()\n" + example("sysconnect").replace("80", "81") + "\nend\nprint(pcall(f))"
    output = run(text)
    check("Can't connect to server '127.0.0.1:81': Connection refused" in output, f"message: {output!r}")


@test("sysread and syswrite, in both blocking modes")
def _():
    for mode in ("false", "true"):
        output = run(
            PRELUDE
            + f"""
local ms = socket('AF_INET', 'SOCK_STREAM', 'tcp')
ms:bind('127.0.0.1', 0) ms:listen()
local s = socket.tcp_connect('127.0.0.1', ms:name().port)
local peer = ms:accept()
s:nonblock({mode})
do {example("syswrite")} print(sent) end
print(peer:read(12))
peer:write("answer")
if s:nonblock() then s:readable() end
buf = "the "
do {example("sysread")} end
print(buf)
"""
        )
        equal(output, "12\nHello, world\nthe answer\n", f"nonblock({mode})")


PARSE = """
function parse_header(text)
  local header = {}
  for name, value in text:gmatch("([^\\r\\n:]+): *([^\\r\\n]*)") do header[name:lower()] = value end
  header['content-length'] = tonumber(header['content-length'])
  return header
end
"""


@test("tcp_connect and http_request: a page of the server, by name")
def _():
    # ::1 first, where nobody listens.
    with mbnet.etc("hosts", "::1 both\n127.0.0.1 both\n"):
        for host in ("127.0.0.1", "localhost", "both"):
            output = run(
                PRELUDE
                + PARSE
                + example("tcp_connect")
                + example("http_request")
                + f"local body, header = http_request('{host}', 80, 'GET /page.txt HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')"
                + "io.write(header['content-type'], ' ', body)"
            )
            equal(output, "text/plain " + BODY.decode(), f"output for {host}")


@test("tcp_connect: what it says when it cannot")
def _():
    output = run(PRELUDE + example("tcp_connect") + "print(pcall(tcp_connect, '127.0.0.1', 81))")
    check("Can't connect to 127.0.0.1:81" in output, f"output: {output!r}")
    output = run(PRELUDE + example("tcp_connect") + "print(pcall(tcp_connect, 'nosuch.invalid', 81))")
    check(output.startswith("false\t"), f"output: {output!r}")


@test("box.socket.tcp_connect(host, port, timeout)")
def _():
    text = PRELUDE + "local host, port, timeout = '127.0.0.1', 80, 5\n" + example("high_level")
    text += "socket:write('GET /page.txt HTTP/1.0\\r\\n\\r\\n') print(socket:readline())"
    check(run(text).startswith("HTTP/1.1 200 OK"), "answer")


@test("box.socket.tcp_connect('unix/', path)")
def _():
    path = tmp("listener.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        text = PRELUDE + f"local host, port, timeout = 'unix/', '{path}', 5\n" + example("high_level")
        equal(run(text + "print(socket:write('hello'), socket:peer().host)"), "true\tunix/\n", "output")
        equal(listener.accept()[0].recv(100), b"hello", "what came")


# ---- the echo servers ----

ECHOES = ("echo", "echo_working")


def program(name):
    """The example as a file of its own, unchanged."""
    return write_file(tmp(f"{name}.lua"), example(name))


@test("both echo servers serve many on a port of their own, their connections side by side")
def _():
    for name in ECHOES:
        text = PRELUDE + "fiber.create(function()\n" + example(name) + "\nend)\nrequire('mb.tarantool').run()"
        server = mbtest.Process([HANDLE, script("return function()\n" + text + "\nend\n")])
        where = ("127.0.0.1", 8080)
        mbtest.wait_listening(where)
        clients = [Client(where) for _ in range(20)]
        for i, client in reversed(list(enumerate(clients))):
            client.send(f"client {i}\n")
            equal(client.end(), (f"client {i}\n".encode(), "eof"), f"{name}: answer")
            client.reset()  # else the port is not free for a while: the first has no SO_REUSEADDR
        equal(server.text(), "", f"{name}: log")
        server.stop()
        mbtest.until(lambda: not mbtest.listening(where), "the port is free")


@test("both echo servers run under inetd with --style=tarantool, one process a connection")
def _():
    for name in ECHOES:
        inetd = mbhosts.Inetd([("127.0.0.1:8080", "tcp4", f"--style=tarantool {program(name)}")])
        where = ("127.0.0.1", 8080)
        mbtest.wait_listening(where)
        for i in range(20):
            with Client(where) as client:
                client.send(f"hello {i}\n")
                equal(client.end(), (f"hello {i}\n".encode(), "eof"), f"{name}: answer")
        clients = [Client(where) for _ in range(10)]
        for i, client in reversed(list(enumerate(clients))):
            client.send(f"side by side {i}\n")
            equal(client.end(), (f"side by side {i}\n".encode(), "eof"), f"{name}: answer")
            client.sock.close()
        inetd.stop()
        mbtest.until(lambda: not mbtest.listening(where), "the port is free")


@test("both echo servers end with status 0 after their connection, with nothing in the log")
def _():
    for name in ECHOES:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", 8080))
            listener.listen(1)
            client = Client(("127.0.0.1", 8080))
            conn = listener.accept()[0]
        with open(tmp("stderr.txt"), "w+b") as log:
            child = mbtest.Child([HANDLE, "--style=tarantool", program(name)], {0: conn, 1: conn, 2: log})
            conn.close()
            client.send("hello\n")
            equal(client.end(), (b"hello\n", "eof"), f"{name}: answer")
            equal(child.wait(), 0, f"{name}: exit status")
        equal(mbtest.without_ends(mbtest.read_file(tmp("stderr.txt"))), "", f"{name}: log")


@test("no example was left out")
def _():
    equal(sorted(used), sorted(EXAMPLES), "examples that were run")


mbtest.main()
