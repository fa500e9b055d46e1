#!/usr/bin/python3
"""A Unix socket has no reset of its own. All the same a client sees one behind what was sent when a handler ends badly, so
that half of a response does not pass for a whole one; by itself, and through a real nginx, whose upstreams get HTTP/1.0."""

import http.client
import os
import select
import signal
import socket
import sys
import threading

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhandler
import mbtest
from mbtest import Serving, check, equal, local_pair, script, test

GET = b"GET / HTTP/1.0\r\n\r\n"  # 18 bytes
HTTP = 'return require("moonbridge_http").generate_handler(function(request)\n%s\nend)'
RAW = "return function(socket)\n%s\nend"
# More than is gathered, so that HTTP/1.0 has no length.
PART = 'request:send_status(200) request:send_data(("x"):rep(20000)) request:flush() '


def ends(text, send, want, how, status, hold=True, shut=False):
    """The client sees this end of a script; with hold somebody has a copy of the connection until the process has ended."""
    client, conn = local_pair()
    with client, conn:
        client.send(send)
        if shut:
            client.finish()
        child = Serving(conn, script(text))
        if not hold:
            conn.close()
        equal(child.wait(), status, f"exit status; log: {child.log()!r}")
        conn.close()
        got, end = client.end()
        equal((got[-len(want) :] if want else got, end), (want, how), f"what the client sees of {text}")
    return got


RAW_BADLY = (
    ('socket:read(3) socket:flush("part") error("mine")', 70),
    ('socket:read(nil, "\\n") socket:read(nil, "\\n") socket:flush("part") error("mine")', 70),
    ('socket:read(nil, "\\n") socket:flush("part") os.exit(3)', 3),
    ('socket:read(nil, "\\n") socket:flush("part") timeout(0.1) while true do end', -signal.SIGALRM),
    ('socket:read(nil, "\\n") socket:flush("part") socket:reset()', 0),
    ('socket:flush("part") error("mine")', 70),  # nothing was read: all of it is unread
    ('socket:read(3) socket:flush("part") moonbridge_io.poll({[socket] = true}, nil, 0) socket:read_nb() error("mine")', 70),
    ('socket:read(18) socket:flush("part") timeout(0.2) socket:read(1)', -signal.SIGALRM),
    ('socket:read(18) socket:flush("part") timeout(0.2) moonbridge_io.poll({[socket] = true})', -signal.SIGALRM),
    ('socket:read_nb(1) socket:flush("part") socket:read(1) error("mine")', 70),
)


@test("a handler that ends badly: a reset behind what was sent, whether or not somebody else holds the connection")
def _():
    for hold in (True, False):
        for body, status in RAW_BADLY:
            ends(RAW % body, GET, b"part", "reset", status, hold)
        for body in (PART + "error('mine')", PART + "request.missing.field = 1"):
            got = ends(HTTP % body, GET, b"xxx", "reset", 70, hold)
            check(b"Content-Length" not in got and b"chunked" not in got, "its end is the end of the connection")
        ends(HTTP % (PART + "request.socket:reset()"), GET, b"xxx", "reset", 0, hold)
        post = b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc"
        ends(HTTP % ("local _ = request.body " + PART + "error('mine')"), post, b"xxx", "reset", 70, hold)


@test("HTTP/1.0 behind HTTP/1.1 is not served; a protocol behind a 101 keeps the reset")
def _():
    page = 'request:send_status(200) if request.path == "cut" then request:send_data("x") request:flush() error("mine") end'
    newer = b"GET / HTTP/1.1\r\nHost: a\r\n"
    got = ends(HTTP % (page + ' request:send_data("abc")'), newer + b"\r\nGET /cut HTTP/1.0\r\n\r\n", b"abc", "eof", 0)
    equal(got.count(b"HTTP/1.1 200"), 1, f"responses: {got}")
    offer = newer + b"Connection: upgrade\r\nUpgrade: foo\r\n\r\n"
    upgrade = 'request:send_status(101) request:send_header("Upgrade", "foo") request:finish_headers() '
    for end, how, status in (("", "eof", 0), ("request.socket:reset()", "reset", 0), ("error('mine')", "reset", 70)):
        ends(HTTP % (upgrade + f"request.socket:write('part') request.socket:flush() {end}"), offer, b"part", how, status)


@test("mb.http_server, too: a function that throws, and one that resets the connection")
def _():
    for end in ("error('mine')", "stream.connection.socket:reset()"):
        text = f"""
local http_server = require "mb.http_server"
local function onstream(_, stream)
  stream:get_headers()
  local head = http_server.headers.new()
  head:append(":status", "200")
  stream:write_headers(head, false) stream:write_chunk("part", false) {end}
end
return function(socket) http_server.wrap(socket, {{onstream = onstream}}):loop() end"""
        ends(text, GET, b"part", "reset", 70 if "error" in end else 0)


@test("also when the client has ended its output")
def _():
    ends(RAW % 'socket:read() socket:flush("part") error("mine")', GET, b"part", "reset", 70, shut=True)
    ends(HTTP % f"{PART} request.socket:read_nb() error('mine')", GET, b"xxx", "reset", 70, shut=True)


@test("a process that is killed in the middle of a response")
def _():
    sent = 'print("sent") while true do end'
    for text in (HTTP % (PART + sent), RAW % ('socket:read(3) socket:flush("x") ' + sent)):
        client, conn = local_pair()
        with client, conn:
            child = Serving(conn, script(text))
            client.send(GET)
            mbtest.until(lambda child=child: "sent" in child.log(), "the handler has sent")
            child.kill()
            conn.close()
            equal(client.end()[1], "reset", f"what the client sees of {text}")


@test("a healthy end stays one: of a response, a line, a handler that leaves input unread, a connection that is kept")
def _():
    for hold in (True, False):
        ends(HTTP % PART, GET, b"xxx", "eof", 0, hold)
        ends(RAW % 'socket:read(3) socket:flush("all")', GET, b"all", "eof", 0, hold)
        ends(RAW % 'socket:read(nil, "\\n") socket:write("all") socket:close()', GET, b"all", "eof", 0, hold)
        ends(RAW % 'socket:read(nil, "\\n") socket:write("all") socket:finish()', GET, b"all", "eof", 0, hold)
        ends(RAW % 'socket:write((socket:read()))', GET, GET, "eof", 0, hold, shut=True)
        kept = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        got = ends(HTTP % 'request:send_status(200) request:send_data("abc")', 2 * kept + GET, b"abc", "eof", 0, hold)
        equal(got.count(b"HTTP/1.1 200"), 3, f"responses on one connection: {got}")


@test("no byte comes twice or is lost, however the input comes and is read")
def _():
    data = bytes(range(256)) * 700
    for read in ("socket:read()", "socket:read(179200)"):
        block = "local block = {} for i = 0, 255 do block[#block + 1] = string.char(i) end"
        text = RAW % f"{block} local all = {read} print(#all, all == table.concat(block):rep(700))"
        for size in (1, 4095, 4096, 4097, 70000):
            client, conn = local_pair()
            with client:
                child = Serving(conn, script(text))
                conn.close()
                head = data[:8192] if size == 1 else data
                for at in range(0, len(head), size):
                    client.send(head[at : at + size])
                if head != data:
                    client.send(data[len(head) :])
                if read == "socket:read()":
                    client.finish()  # the other may have ended already
                equal(child.wait(), 0, f"exit status; log: {child.log()}")
                equal(child.log(), f"{len(data)}\ttrue\n", f"pieces of {size}")


@test("what waits for input is woken by new input only; who asks for socket.fd sees no byte that was read")
def _():
    body = """
  print("reads") eq("a term", socket:read(nil, "a"))
  eq("false", (mb.poll({[FD] = true}, nil, 0.1)))
  print("waits") eq("true", (mb.poll({[FD] = true}, nil, 60)))
  eq("b maxlen", socket:read(1))"""
    for fd in ("socket", "socket.fd"):
        steps = (("reads", mbhandler.send("a")), ("waits", mbhandler.send("b")))
        mbhandler.turns(body.replace("FD", fd), *steps, pairs=mbhandler.UNIX)


@test("a client that sends when poll says that it can, with any SO_SNDBUF, sends all")
def _():
    body = b"x" * 200000
    head = b"POST / HTTP/1.0\r\nContent-Length: %d\r\n" % len(body)
    wait = "socket:read_nb(1) moonbridge_io.poll({[socket] = true}, nil, 60)"
    for size in (1, 8192, 65536):
        for text, data, want in (
            (RAW % 'socket:write("got " .. #socket:read(200000))', body, b"got 200000"),
            (RAW % f'for _ = 1, 3 do {wait} end socket:read(199990) socket:write("got")', body, b"got"),
            (HTTP % 'request:send_status(200) request:send_data("got " .. #request.body)', head + b"\r\n" + body, b"got 200000"),
            (HTTP % 'request:send_status(200) request:send_data("got " .. #request.body)',
             head + b"X: " + b"y" * 300 + b"\r\n\r\n" + body, b"got 200000"),
        ):  # fmt: skip
            client, conn = local_pair()
            with client:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
                child = Serving(conn, script(text))
                conn.close()
                client.sock.setblocking(False)
                while data:
                    ready = select.select([], [client.sock], [], mbtest.DEADLINE)[1]
                    check(ready, f"SO_SNDBUF {size}: {len(data)} bytes cannot be sent by {text}")
                    data = data[client.sock.send(data[:1000]) :]
                client.sock.setblocking(True)
                got, end = client.end()
                equal((got[-len(want) :], end, child.wait()), (want, "eof", 0), f"SO_SNDBUF {size}: the end of {text}")


@test("a script that looks whether its client is still there does not lose the reset, and sees the client's end")
def _():
    for look in (
        "moonbridge_io.poll({[request.socket] = true}, nil, 0.1)",
        "assert(select(2, request.socket:read_nb(1)) == 'block')",
        "for _ = 1, 3 do moonbridge_io.poll({[request.socket] = true}, nil, 0) request.socket:read_nb(1) end",
    ):
        ends(HTTP % f"{PART} {look} error('mine')", GET, b"xxx", "reset", 70)
    gone = PART + "assert(moonbridge_io.poll({[request.socket] = true}, nil, 60)) "
    gone += "print(select(2, request.socket:read_nb(1)))"
    client, conn = local_pair()
    with client:
        child = Serving(conn, script(HTTP % gone))
        conn.close()
        client.send(GET)
        client.finish()
        child.wait()
        equal(child.log(), "eof\n", "what the script sees")


# ---- nginx ----

NGINX = """
daemon off; pid {tmp}/nginx.pid; error_log {tmp}/error.log info; worker_processes 1; master_process off;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {tmp}/b; proxy_temp_path {tmp}/p; fastcgi_temp_path {tmp}/f; uwsgi_temp_path {tmp}/u; scgi_temp_path {tmp}/s;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://unix:{path}; }}
    location /one/ {{ proxy_pass http://unix:{path}; proxy_http_version 1.1; proxy_buffering off; }}
    location /raw/ {{ proxy_pass http://unix:{path}; proxy_buffering off; }}
  }}
}}
"""


def serve(listener, text, hold):
    """Starts a process for each connection, as inetd does, or, with hold, systemd, which keeps a copy until its end."""
    path = script(text)
    while True:
        try:
            conn, _ = listener.accept()
        except OSError:
            return
        child = Serving(conn, path)
        if hold:
            child.wait()
        conn.close()


@test("through nginx, with HTTP/1.0 as it is by default and with HTTP/1.1: half of a response does not look whole")
def _():
    bad = 'if request.path:find("bad") then request:send_data(("y"):rep(50000)) request:flush() error("mine") end'
    text = HTTP % (PART + bad)
    for hold in (False, True):
        tmp = mbtest.tmp(f"nginx-{hold}")
        os.mkdir(tmp)
        path, port = f"{tmp}/app.sock", mbtest.free_port()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            os.chmod(path, 0o666)
            listener.listen(16)
            thread = threading.Thread(target=serve, args=(listener, text, hold), daemon=True)
            thread.start()
            config = mbtest.write_file(f"{tmp}/nginx.conf", NGINX.format(tmp=tmp, port=port, path=path))
            nginx = mbtest.Process([mbtest.need("nginx"), "-c", config, "-e", f"{tmp}/error.log"])
            mbtest.wait_listening(("127.0.0.1", port))
            for prefix in ("/", "/raw/", "/one/"):
                for name in ("good", "bad"):
                    client = http.client.HTTPConnection("127.0.0.1", port, timeout=mbtest.DEADLINE)
                    client.request("GET", prefix + name)
                    response = client.getresponse()
                    try:
                        got = f"{response.status}, whole: {len(response.read())}"
                    except (http.client.IncompleteRead, ConnectionResetError):
                        got = "broken"
                    client.close()
                    want = "200, whole: 20000" if name == "good" else "broken"
                    equal(got, want, f"{prefix}{name}; {mbtest.read_file(f'{tmp}/error.log')}")
            check("reset by peer" in mbtest.read_file(f"{tmp}/error.log"), "nginx says why")
            nginx.stop()
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


mbtest.main()
