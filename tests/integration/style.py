#!/usr/bin/python3
"""--style: what a server program of another library sees, whichever it is: the one connection as a listener's, its
address, the end. LuaSocket's interface stands for all; what is the others' own is tested with theirs."""

import os
import socket
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbspace
import mbtest
from mbtest import HANDLE, Child, Client, Serving, check, equal, free_port, script, tcp_pair, test, unix_pair, until

mbtest.need("inetd")
mbspace.enter(cgroup=True)

LUASOCKET = "--style=luasocket"

# The example of LuaSocket's introduction, without its comments.
ECHO = """
local socket = require("socket")
local server = assert(socket.bind("*", 0))
local ip, port = server:getsockname()
print("Please telnet to localhost on port " .. port)
print("After connecting, you have 10s to enter a line to be echoed")
while 1 do
  local client = server:accept()
  client:settimeout(10)
  local line, err = client:receive()
  if not err then client:send(line .. "\\n") end
  client:close()
end
"""

# Binds to what it is told, and says what came of it.
BINDS = """
local socket = require "socket"
local master = assert(socket.tcp())
local good, message = master:bind(arg[1], tonumber(arg[2]))
if good then good, message = master:listen(8) end -- a bind to another address and port 0 is what a client may do
if good then
  local ip, port = master:getsockname()
  message = ip .. " " .. port
end
local server = good and master or assert(socket.bind("*", 0))
local client = server:accept()
client:send(tostring(good) .. " " .. message .. "\\n")
client:close()
server:accept()
error("not reached")
"""

# After `local server`, the connection is accepted as `client`, and the body runs.
ACCEPTS = 'local socket = require "socket"\nlocal server = assert(socket.bind("*", 0))\nlocal client = server:accept()\n'


def run(text, *args, pair=tcp_pair, said=b"", status=0, options=(LUASOCKET,)):
    """Runs the program on a connection; returns what the client receives, how that ends, and the log."""
    client, conn = pair()
    with client, conn:
        child = Serving(conn, *options, script(text), *args)
        conn.close()
        if said:
            client.send(said)
        got = client.end()
        equal(child.wait(), status, f"exit status; log: {child.log()!r}")
    return got[0].decode(), got[1], child.log()


# --- Starting ---


@test("the documentation's echo server runs under inetd, one connection after the other and many at once")
def _():
    port = free_port()
    program = script(ECHO)
    mbhosts.Inetd([(f"127.0.0.1:{port}", "tcp", f"{LUASOCKET} {program}")], most=10000)
    mbtest.wait_listening(("127.0.0.1", port))
    for number in range(3):
        with Client(("127.0.0.1", port)) as client:
            client.send(f"line {number}\r\n")
            equal(client.end(), (f"line {number}\n".encode(), "eof"), "answer")
    clients = [Client(("127.0.0.1", port)) for _ in range(20)]
    for number, client in enumerate(clients):
        client.send(f"{number}\n")
    equal([c.end() for c in clients], [(f"{n}\n".encode(), "eof") for n in range(20)], "answers")
    for client in clients:
        client.sock.close()


@test("the same by a handler script, mb.style.program, under a user manager; no unit fails")
def _():
    manager = mbhosts.UserManager()
    handler = script(f'return require("mb.style").program("luasocket", "{script(ECHO)}")\n')
    manager.systemctl("set-environment", f"MB_SCRIPT={handler}")
    where = ("127.0.0.1", free_port())
    manager.start(f"mb@{where[1]}.socket")
    for number in range(5):
        with Client(where) as client:
            client.send(f"{number}\n")
            equal(client.end(), (f"{number}\n".encode(), "eof"), "answer")
    until(lambda: manager.instances() == "", "every instance is gone")
    equal(manager.failed(), "", "failed units")


@test("what it prints goes to the log, and its port is the connection's")
def _():
    client, conn = tcp_pair()
    port = conn.getsockname()[1]
    with client, conn:
        child = Serving(conn, LUASOCKET, script(ECHO))
        client.send("x\n")
        equal(client.end(), (b"x\n", "eof"), "answer")
        equal(child.wait(), 0, "exit status")
    equal(child.log().splitlines()[0], f"Please telnet to localhost on port {port}", "first line of the log")


@test("arg and ... are the interpreter's")
def _():
    text = ACCEPTS + 'client:send(table.concat({arg[-1], arg[0]:match("[^/]*$"):sub(1, 6), #arg, arg[1], arg[2], ...}, " "))'
    equal(run(text, "a b", "")[:2], ("mb-handle script 2 a b  a b ", "eof"), "arguments")
    equal(run(text.replace("arg[1], arg[2]", "tostring(arg[1])"))[0], "mb-handle script 0 nil", "no arguments")
    by_hand = f'return require("mb.style").program("luasocket", "{script(text)}", "c", "d")'
    equal(run(by_hand, options=())[0], "mb-handle script 2 c d c d", "of mb.style.program")


@test("a program that does not compile, or is not there, is told by exit status and log")
def _():
    _, how, log = run("this is no Lua", status=78)
    check(how == "reset" and "syntax error" in log and log.count("\n") == 1, f"{how} {log!r}")
    text = 'return require("mb.style").program("luasocket", "/nonexistent.lua")'
    _, how, log = run(text, options=(), status=78)
    check(how == "reset" and "cannot open /nonexistent.lua" in log, f"{how} {log!r}")
    _, _, log = run('return require("mb.style").program("other", "/nonexistent.lua")', options=(), status=78)
    check('expected luasocket, tarantool or lua-http, got "other"' in log, log)
    equal(mbtest.output_of(HANDLE, LUASOCKET, "--check", script("error('not run')")), "1 any connection", "--check")


# --- The address ---


def bound(pair, host, port_of):
    """What bind(host, port) comes to; port_of: a function of the connection's port."""
    client, conn = pair()
    port = conn.getsockname()[1]
    with client, conn:
        child = Serving(conn, LUASOCKET, script(BINDS), host, str(port_of(port)))
        conn.close()
        got, how = client.end()
        equal((child.wait(), how), (0, "eof"), f"exit status, end; log: {child.log()!r}")
    return got.decode().rstrip("\n"), port


@test("bind succeeds at the connection's address, at every address, and with port 0 for its port")
def _():
    ip6 = lambda: tcp_pair(socket.AF_INET6, "::1")
    mapped = lambda: tcp_pair(socket.AF_INET6, "::", "127.0.0.1", dual_stack=True)
    same, any_port = (lambda port: port), (lambda port: 0)
    for pair, host, want in (
        (tcp_pair, "127.0.0.1", "1.0 127.0.0.1 PORT"),
        (tcp_pair, "*", "1.0 0.0.0.0 PORT"),
        (tcp_pair, "0.0.0.0", "1.0 0.0.0.0 PORT"),
        (tcp_pair, "::", "1.0 :: PORT"),
        (tcp_pair, "localhost", "1.0 127.0.0.1 PORT"),
        (mapped, "127.0.0.1", "1.0 127.0.0.1 PORT"),
        (mapped, "::ffff:127.0.0.1", "1.0 ::ffff:127.0.0.1 PORT"),
        (mapped, "0.0.0.0", "1.0 0.0.0.0 PORT"),
        (ip6, "::1", "1.0 ::1 PORT"),
        (ip6, "0.0.0.0", "1.0 0.0.0.0 PORT"),
    ):
        for port in same, any_port:
            got, number = bound(pair, host, port)
            equal(got, want.replace("PORT", str(number)), f"bind to {host}")


@test("to bind to another address or port, or listen there, is an error that says where the connection came in")
def _():
    for host, port_of in (("127.0.0.2", lambda port: port), ("127.0.0.1", lambda port: port ^ 1), ("::1", lambda port: 0)):
        got, port = bound(tcp_pair, host, port_of)
        for part in ("nil cannot bind to ", host, f"came in on 127.0.0.1:{port}", LUASOCKET):
            check(part in got, f"{part!r} in {got!r}")
    name = bound(tcp_pair, "nosuchhost.invalid", lambda port: 0)[0]
    check(name.startswith("nil ") and "came in" not in name, f"a name that nobody knows: {name!r}")


@test("nothing is bound: it has the descriptors that a handler of ours has, and the address is free for others")
def _():
    def descriptors(text, *options):
        client, conn = tcp_pair()
        port = conn.getsockname()[1]
        with client, conn:
            child = Serving(conn, *options, script(text))
            equal(client.line(), "there", "word")
            with socket.socket() as other:
                other.bind(("127.0.0.2", port))  # "*" was bound to, and that would be in the way
            count = len(os.listdir(f"/proc/{child.pid}/fd"))
            client.send("go on\n")
            equal(child.wait(), 0, "exit status")
        return count

    program = descriptors(ACCEPTS + 'client:send("there\\n") client:receive()', LUASOCKET)
    equal(program, descriptors('return function(s) s:flush("there\\n") s:read(100, "\\n") end'), "open descriptors")


@test("behind a proxy, the address is the one that is listened on, and the client that of the header")
def _():
    text = ACCEPTS + "client:send(table.concat({client:getpeername()}, ' '))"
    header = b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n"
    got = run(text, options=(LUASOCKET, "--proxy-protocol"), said=header + b"rest")
    equal(got[:2], ("192.0.2.1 12345 inet", "eof"), "client")
    text = 'local s = require "socket" local server, message = s.bind("198.51.100.2", 443) error(message, 0)'
    got = run(text, options=(LUASOCKET, "--proxy-protocol"), said=header, status=70)
    check("came in on 127.0.0.1:" in got[2], got)


# --- The end ---


@test("where the program waits for the next connection it ends with 0, and what it has open is closed and flushed")
def _():
    path = mbtest.tmp("written")
    text = ACCEPTS + f"""
    local file = io.open("{path}", "w")
    file:write("buffered")
    setmetatable({{}}, {{__gc = function() print("collected") end}})
    client:send("not closed")
    server:accept()
    print("not reached")
    """
    equal(run(text), ("not closed", "eof", "collected\n"), "answer, end, log")
    equal(mbtest.read_file(path), "buffered", "file")


@test("also from a coroutine, below pcall, and in a function that is called back")
def _():
    for call in (
        "coroutine.wrap(function() server:accept() end)()",
        "pcall(server.accept, server)",
        'string.gsub("x", "x", function() server:accept() end)',
        'setmetatable({}, {__index = function() server:accept() end}).x = x, ({}).y and nil',
        "while true do pcall(error, server:accept()) end",
    ):
        if call.startswith("setmetatable"):
            call = "local _ = setmetatable({}, {__index = function() server:accept() end}).x"
        equal(run(ACCEPTS + f'client:send("x") client:close() {call} print("not reached")'), ("x", "eof", ""), call)


@test("accept with a timeout waits while the connection is open, and ends the program once it is closed")
def _():
    text = ACCEPTS + """
    server:settimeout(0.05)
    local began = socket.gettime()
    local again, message = server:accept()
    client:send(tostring(again) .. " " .. message .. " " .. tostring(socket.gettime() - began >= 0.05))
    client:close()
    server:accept()
    print("not reached")
    """
    equal(run(text), ("nil timeout true", "eof", ""), "answer, end, log")


@test("a loop over select serves the connection, and ends with it")
def _():
    text = """
    local socket = require "socket"
    local server = assert(socket.bind("*", 0))
    server:settimeout(0)
    local set = {server}
    while true do
      for _, ready in ipairs((socket.select(set, nil, 5))) do
        if ready == server then
          local client = server:accept()
          client:settimeout(0)
          set[#set + 1] = client
        else
          local line, err = ready:receive()
          if line then ready:send("<" .. line .. ">") end
          if line == "bye" or err == "closed" then ready:close() table.remove(set, 2) end
        end
      end
    end
    """
    equal(run(text, said=b"one\ntwo\nbye\n"), ("<one><two><bye>", "eof", ""), "answer, end, log")


@test("an accepted object that is collected counts as closed")
def _():
    text = ACCEPTS + """
    client:send("kept")
    client = nil
    collectgarbage() collectgarbage()
    server:settimeout(1000)
    server:accept()
    """
    equal(run(text), ("kept", "eof", ""), "answer, end, log")


@test("a program that ends without a second accept is done; one without the first is an error, and the client is reset")
def _():
    equal(run(ACCEPTS + 'client:send("done")'), ("done", "eof", ""), "answer, end, log")
    for text in ("", 'require("socket").bind("*", 0)', "return function() end"):
        _, how, log = run(text, status=70)
        check(how == "reset" and "has ended, and has not accepted the connection to 127.0.0.1:" in log, f"{how} {log!r}")
        equal(log.count("\n"), 1, f"lines of the log {log!r}")
        equal("started without --style" in log, text.startswith("return"), f"a hint in {log!r}")


@test("os.exit ends the connection as the end of a process does, with the program's status")
def _():
    for call, status in (("os.exit()", 0), ("os.exit(0, true)", 0), ("os.exit(3)", 3), ("os.exit(false)", 1)):
        text = ACCEPTS + f'client:send("bye") {call}'
        equal(run(text, status=status), ("bye", "eof", ""), call)


@test("a program that throws: a traceback in the log, a reset for the client, 70")
def _():
    got, how, log = run(ACCEPTS + 'local function inner() error("oops") end\ninner()', status=70)
    check((got, how) == ("", "reset") and "oops" in log and "in upvalue 'inner'" in log or "in local 'inner'" in log, log)


@test("listen{} cannot be called in a program, and the message says how such a script is started")
def _():
    _, _, log = run("listen{connect = function() end}", status=70)
    check("a script with listen{} is started without --style" in log, log)


# --- The options that limit a handler ---


@test("--timeout, --memory-limit and --record hold for a program")
def _():
    client, conn = tcp_pair()
    with client, conn:
        child = Serving(conn, LUASOCKET, "--timeout=0.1", script(ACCEPTS + "client:receive()"))
        conn.close()
        equal(client.end()[1], "reset", "end")
        equal(child.wait(), -14, f"status; log {child.log()!r}")
    _, how, log = run(ACCEPTS + 'local x = ("x"):rep(1e7)', options=(LUASOCKET, "--memory-limit=2M"), status=70)
    check(how == "reset" and "not enough memory" in log, log)
    path = mbtest.tmp("recorded")
    run(ACCEPTS + "client:receive(5)", options=(LUASOCKET, f"--record={path}"), said=b"12345")
    equal(mbtest.read_file(path), "12345", "recording")


@test("a program can be replayed: every address is the replay's")
def _():
    given = mbtest.write_file(mbtest.tmp("given"), "to be echoed\n")
    text = ECHO.replace('"*", 0', '"192.0.2.7", 4711')
    with open(given, "rb") as said, open(mbtest.tmp("out"), "wb") as out, open("/dev/null", "r+b") as null:
        child = Child([HANDLE, LUASOCKET, script(text)], {0: said, 1: out, 2: null})
        equal(child.wait(), 0, "exit status")
    equal(mbtest.read_file(mbtest.tmp("out")), "to be echoed\n", "output")


@test("a Unix socket is told by its path, under both of its names")
def _():
    path = mbtest.tmp("sockets", "program.sock")
    link = mbtest.tmp("link")
    os.symlink(os.path.dirname(path), link)
    text = """
    local style = require "mb.style"
    local said = {}
    for _, wanted in ipairs {%r, %r, "/other.sock"} do said[#said + 1] = tostring(style.claims(wanted)) end
    said[#said + 1] = tostring(style.claims("127.0.0.1", 80))
    local _, message = style.claims("/other.sock")
    local socket = style.take()
    socket:write(table.concat(said, " "), " ", message)
    """ % (path, link + "/program.sock")
    got, how, _ = run(text, pair=lambda: unix_pair(path))
    want = f"true true nil nil cannot bind to /other.sock: the connection came in on {path}"
    check(got.startswith(want) and how == "eof", got)


if __name__ == "__main__":
    mbtest.main()
