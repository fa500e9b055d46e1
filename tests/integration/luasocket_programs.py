#!/usr/bin/python3
"""mb.luasocket below LuaSocket's own client modules, under the real hosts, and whole programs with --style=luasocket; what
its manual page shows."""

import http.server
import os
import re
import socket
import socketserver
import sys
import threading

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbnet
import mbtest
from mbhandler import Handler
from mbluasocket import handler, run
from mbtest import DEADLINE, HANDLE, Client, check, equal, free_port, script, tcp_pair, test

mbtest.need("inetd")
mbtest.need("systemd-socket-activate")
mbnet.private_network()

# --- Below LuaSocket's own modules ---


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for size in (1, 70000, 5):
                self.wfile.write(b"%x\r\n%s\r\n" % (size, b"c" * size))
            self.wfile.write(b"0\r\n\r\n")
            return
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "/page")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.answer(b"page " * 20000)

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"]))[::-1])

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@test("socket.http: pages, a redirection, chunks, a POST, an error; by require and with our create")
def _():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    body = f"""
    luasocket.install()
    local http, ltn12 = require("socket.http"), require("ltn12")
    local base = "http://127.0.0.1:{port}"
    local page, status = http.request(base .. "/page") say(#page, status)
    page, status = http.request(base .. "/away") say(#page, status)
    page, status = http.request(base .. "/chunked") say(#page, status)
    page, status = http.request(base .. "/", "backwards") say(page, status)
    say(http.request("http://127.0.0.1:1/"))
    local created, parts = 0, {{}}
    local function create() created = created + 1 local o = luasocket.tcp() o:settimeout(30) return o end
    say(http.request{{url = base .. "/page", create = create, sink = ltn12.sink.table(parts)}}) say(created, #table.concat(parts))
    """
    try:
        client, conn = tcp_pair()
        with client:
            h = handler(conn, body)
            for line in ("100000 200", "100000 200", "70006 200", "sdrawkcab 200", "nil connection refused"):
                h.says(line)
            check(h.word().startswith("1 200 table"), "the request with create")
            h.says("1 100000")
            h.ends()
    finally:
        server.shutdown()
        server.server_close()


class Mail(socketserver.StreamRequestHandler):
    """One message, as RFC 5321 has it."""

    received = []

    def handle(self):
        say = lambda line: self.wfile.write(line.encode() + b"\r\n")
        say("220 mail.example ready")
        while line := self.rfile.readline():
            Mail.received.append(line)
            verb = line.split()[0].upper().split(b":")[0]
            if verb == b"EHLO":
                say("250-mail.example")
                say("250 SIZE 1000000")
            elif verb == b"DATA":
                say("354 go ahead")
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    Mail.received.append(line)
                say("250 queued")
            elif verb == b"QUIT":
                say("221 bye")
                return
            else:
                say("250 fine")


@test("socket.smtp sends a message")
def _():
    with socketserver.TCPServer(("127.0.0.1", 0), Mail) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        body = f"""
        luasocket.install()
        local smtp = require("socket.smtp")
        say(smtp.send{{from = "<ann@example.org>", rcpt = {{"<bob@example.org>", "<eve@example.org>"}}, server = "127.0.0.1",
          port = {server.server_address[1]}, create = luasocket.tcp,
          source = smtp.message{{headers = {{subject = "greetings"}}, body = "hello\\r\\n.leading dot\\r\\n"}}}})
        """
        client, conn = tcp_pair()
        with client:
            h = handler(conn, body)
            h.says("1")
            h.ends()
    text = b"".join(Mail.received).decode()
    for part in ("MAIL FROM:<ann@example.org>\r\n", "RCPT TO:<bob@example.org>\r\n", "RCPT TO:<eve@example.org>\r\n",
                 "greetings\r\n", "\r\n\r\nhello\r\n..leading dot\r\n", "QUIT\r\n"):
        check(part.lower() in text.lower(), f"{part!r} in {text!r}")


@test("connect tries the addresses of a name one after the other, and tells of the last")
def _():
    names = "127.0.0.1 several\n127.0.0.2 several\n127.0.0.3 several\n::1 several\n"
    with mbnet.etc("hosts", names):
        order = mbnet.addresses_of("several")
        equal(len(order), 4, "addresses")
        for host in order:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.create_server((host, 0), family=family) as server:
                port = server.getsockname()[1]
                body = f"""
                local o = luasocket.tcp() say(o:connect("several", {port})) say((o:getpeername())) o:send("x\\n")
                say(luasocket.connect("several", {port}):getpeername() == "{host}")
                o = luasocket.tcp() o:settimeout(0) say(select(2, o:connect("several", {port})))
                """
                run(body, says=("1.0", host, "true", "timeout"))
        run(f'say(luasocket.connect("several", {free_port()}))', says=("nil connection refused",))


# --- Under the real hosts ---

PAGE = mbtest.read_file(os.path.join(mbtest.SRCDIR, "docs", "mb.luasocket.3"))
BLOCKS = [block.replace("\\en", "\\n") for block in re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", PAGE, re.M | re.S)]


def block_with(text):
    found = [b for b in BLOCKS if text in b]
    check(found, f"a block with {text!r} in the manual page")
    return found[-1]


@test("the manual page's example under inetd: its script and its line")
def _():
    path, port = script(block_with("client:receive()")), free_port()
    line = block_with("stream tcp nowait")
    for old, new in (("7 ", f"127.0.0.1:{port} "), ("nobody", mbhosts.USER), ("/usr/local/bin/mb-handle", HANDLE),
                     ("/srv/echo.lua", path)):
        equal(line.count(old), 1, f"{old!r} in the line")
        line = line.replace(old, new)
    mbtest.Process([mbtest.need("inetd"), "-i", mbtest.write_file(mbtest.tmp("manual.conf"), line)])
    mbtest.wait_listening(("127.0.0.1", port))
    for number in range(3):
        with Client(("127.0.0.1", port)) as client:
            for text in (f"line {number}\r\n", "\n", "x" * 100000 + "\n"):
                client.send(text)
                equal(client.line(), text.rstrip("\r\n"), "echo")
            client.finish()
            equal(client.end(), (b"", "eof"), "end")


@test("the manual page's other scripts work")
def _():
    with tcp_pair()[0]:
        with Handler(BLOCKS[0], head=None) as h:
            h.client.send("hello\r\n")
            equal(h.client.end(), (b"you said: hello\n", "eof"), "synopsis")
            h.ends()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    text = block_with("socket.http")
    equal(text.count("localhost:8080"), 1, "the page's address")
    with Handler(text.replace("localhost:8080", f"127.0.0.1:{server.server_address[1]}"), head=None) as h:
        equal(h.client.end(), (b"page " * 20000 + b"\n", "eof"), "the page")
        h.ends()
    server.shutdown()
    server.server_close()


@test("every method, function and option has its entry in the manual page")
def _():
    read = lambda name: mbtest.read_file(os.path.join(mbtest.SRCDIR, "src", name))
    rows = lambda text: re.findall(r'^ +\{"([\w-]+)", ', text, re.M)
    entries = re.findall(r"^\.It (?:Fn|Va) (?:\w+[:.])?(\w+)", PAGE, re.M)
    module = re.findall(r'\{"([\w-]+)", ', read("luasocket.c"))
    for name in rows(read("luasocket_object.c")) + [n for n in module if n.islower() and n not in ("sinkt", "sourcet")]:
        check(name in entries, f"{name} has an entry")
    for name in rows(read("luasocket_options.c")):
        check(f"\n.It {name} Ta" in PAGE, f"option {name} has an entry")


# LuaSocket's manual, "Introduction": the server, unmodified.
INTRODUCTION = """-- load namespace
local socket = require("socket")
-- create a TCP socket and bind it to the local host, at any port
local server = assert(socket.bind("*", 0))
-- find out which port the OS chose for us
local ip, port = server:getsockname()
-- print a message informing what's up
print("Please telnet to localhost on port " .. port)
print("After connecting, you have 10s to enter a line to be echoed")
-- loop forever waiting for clients
while 1 do
  -- wait for a connection from any client
  local client = server:accept()
  -- make sure we don't block waiting for this client's line
  client:settimeout(10)
  -- receive the line
  local line, err = client:receive()
  -- if there was no error, send it back to the client
  if not err then client:send(line .. "\\n") end
  -- done with client, close the object
  client:close()
end
"""


def introduction(label, inetd):
    where = ("127.0.0.1", free_port())
    program = script(INTRODUCTION)
    host = mbhosts.SocketActivate(where, "--style=luasocket", program, inetd=inetd)
    mbtest.wait_listening(where)

    @test(f"the echo server of LuaSocket's introduction runs unmodified under systemd-socket-activate, {label}")
    def _():
        for number in range(3):
            with Client(where) as client:
                client.send(f"line {number}\r\n")
                equal(client.end(), (f"line {number}\n".encode(), "eof"), "answer")
        check(f"on port {where[1]}" in host.text(), "its port in the log")


introduction("by LISTEN_FDS", False)
introduction("with --inetd", True)


@test("a program that multiplexes with select and coroutines serves its client, and ends with it")
def _():
    program = script("""
    local socket = require("socket")
    local server = assert(socket.bind("*", 0))
    server:settimeout(0)
    local clients, running = {server}, {}
    while true do
      for _, ready in ipairs((socket.select(clients, nil))) do
        if ready == server then
          local client = server:accept()
          if client then
            client:settimeout(0)
            clients[#clients + 1] = client
            running[client] = coroutine.wrap(function()
              local text = ""
              while true do
                local line, message, part = client:receive("*l", text)
                text = part or ""
                if message == "closed" then return true end
                if line then client:send(line:upper() .. "\\n") text = "" end
                coroutine.yield()
              end
            end)
          end
        elseif running[ready]() then
          ready:close()
          for i, client in ipairs(clients) do if client == ready then table.remove(clients, i) end end
        end
      end
    end
    """)
    client, conn = tcp_pair()
    with client:
        child = mbtest.Serving(conn, "--style=luasocket", program)
        conn.close()
        client.send("one\ntw")
        equal(client.line(), "ONE", "echo")
        client.send("o\n")
        equal(client.line(), "TWO", "echo")
        client.finish()
        equal(client.end(), (b"", "eof"), "end")
        equal(child.wait(DEADLINE), 0, "exit status")


@test("a program's own connections: bound where the connection came in, or elsewhere, to any port")
def _():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    for host, own in (("127.0.0.1", 0), ("127.0.0.2", 0), ("*", 0), ("127.0.0.2", free_port())):
        program = script(f"""
        local socket = require("socket")
        local client = assert(socket.bind("*", 0)):accept()
        local out = socket.tcp() assert(out:bind("{host}", {own})) assert(out:connect("127.0.0.1", {port}))
        local ip, port = out:getsockname() client:send(ip .. " " .. tostring({own} == 0 or port == {own})) out:close() client:close()
        """)
        client, conn = tcp_pair()
        with client:
            child = mbtest.Serving(conn, "--style=luasocket", program)
            conn.close()
            listener.accept()[0].close()
            want = host if host != "*" else "127.0.0.1"
            equal(client.end(), (f"{want} true".encode(), "eof"), f"local address; log: {child.log()!r}")
            equal(child.wait(), 0, "exit status")
    listener.close()


@test("a program that listens without binding, which is any port, gets the connection")
def _():
    program = script("""
    local server = require("socket").tcp4() assert(server:listen()) server:settimeout(30)
    local client = assert(server:accept())
    client:send(tostring((select(2, server:getsockname())))) client:close()
    """)
    client, conn = tcp_pair()
    port = conn.getsockname()[1]
    with client:
        child = mbtest.Serving(conn, "--style=luasocket", program)
        conn.close()
        equal(client.end(), (str(port).encode(), "eof"), "port")
        equal(child.wait(), 0, "exit status")


@test("a program that selects its server for sending has not accepted, and goes on")
def _():
    program = script("""
    local socket = require("socket") local server = assert(socket.bind("*", 0))
    local _, can_send, message = socket.select(nil, {server}, 0.05)
    local client = server:accept() client:send(#can_send .. " " .. message) client:close()
    """)
    client, conn = tcp_pair()
    with client:
        child = mbtest.Serving(conn, "--style=luasocket", program)
        conn.close()
        equal(client.end(), (b"0 timeout", "eof"), "what select says")
        equal(child.wait(), 0, "exit status")


mbtest.main()
