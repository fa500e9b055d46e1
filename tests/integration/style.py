#!/usr/bin/python3
"""--style: what a server program of another library sees, whichever it is: the one connection as a listener's, its
address, the end. LuaSocket's interface stands for all; what is the others' own is tested with theirs."""

import contextlib
import os
import socket
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbshim
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

# Listens where it is told, and says where that is.
BINDS = """
local socket = require "socket"
local server = assert(socket.tcp())
assert(server:bind(arg[1], tonumber(arg[2])))
assert(server:listen(8))
local ip, port = server:getsockname()
local client = server:accept()
client:send(ip .. " " .. port)
client:close()
server:accept()
error("not reached")
"""

# Listens where it is told, and where the connection came in.
TWO = """
local socket = require "socket"
local function text(...)
  local t = table.pack(...)
  for i = 1, t.n do t[i] = tostring(t[i]) end
  return table.concat(t, " ", 1, t.n)
end
local other = assert(socket.tcp())
assert(other:bind(arg[1], tonumber(arg[2])))
assert(other:listen(8))
local server = assert(socket.bind("*", 0))
"""

# After `local server`, the connection is accepted as `client`, and the body runs.
ACCEPTS = 'local socket = require "socket"\nlocal server = assert(socket.bind("*", 0))\nlocal client = server:accept()\n'


def run(text, *args, pair=tcp_pair, said=b"", shut=False, status=0, options=(LUASOCKET,)):
    """Runs the program on a connection; returns what the client receives, how that ends, and the log."""
    client, conn = pair()
    with client, conn:
        child = Serving(conn, *options, script(text), *args)
        conn.close()
        if said:
            client.send(said)
        if shut:
            client.finish()
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
    listed = mbtest.output_of(HANDLE, LUASOCKET, "--check", script("error('not run')"))
    equal(mbtest.without_sandboxes(listed), "1 any connection\n", "--check")


# --- What the program sees of Lua ---

# Each line is true in Lua 5.1, and here.
LUA_51 = """
unpack({1, 2, 3}, 2) == 2 and select("#", unpack({}, 1, 3)) == 3
loadstring("return ...", "=name")(7) == 7 and select(2, loadstring("?", "=name")):find("^name:1:") ~= nil
gcinfo() > 0 and math.mod(7, 4) == 3 and type(package.loaders) == "table"
table.getn({1, 2, 3}) == 3 and table.getn(setmetatable({1}, {__len = function() return 5 end})) == 1
table.maxn({}) == 0 and table.maxn({[1] = 1, [10] = 1, [2.5] = 1, [-3] = 1, x = 1}) == 10
table.foreach({x = 1, y = 2}, function(k, v) if v == 2 then return k end end) == "y"
table.foreach({}, print) == nil and table.foreachi({}, print) == nil
table.foreachi({"a", "b", x = 1}, function(i, v) if v == "b" then return i end end) == 2
(function() local n = 0 table.foreachi({"a", "b", x = 1}, function() n = n + 1 end) return n end)() == 2
(function() for word in string.gfind("one two", "%a+") do return word end end)() == "one" and ("x"):gfind("x")() == "x"
getfenv() == _G and getfenv(0) == _G and getfenv(1) == _G and getfenv(print) == _G and getfenv(function() end) == _G
(function() local f = function() return x end return setfenv(f, {x = 1}) == f and f() == 1 and getfenv(f).x == 1 end)()
(function() local function f() return x end local function g() return x end setfenv(f, {x = 1}) return g() end)() == nil
(function() setfenv(1, {x = 2}) return x, (function() return x end)() end)() == 2
(function() local function up() setfenv(2, {x = 3}) end up() return x end)() == 3
setfenv(loadstring("x = 4 return x"), {})() == 4 and x == nil
not pcall(setfenv, print, {}) and not pcall(setfenv, 1) and not pcall(getfenv, -1) and not pcall(getfenv, 1e6)
select(2, pcall(setfenv, 0, {})):find("Lua 5.3 cannot set the environment of a thread", 1, true) ~= nil
require("old.module") == old.module and old.module.f() == "old.module" and old.module._PACKAGE == "old." and f == nil
old.module == package.loaded["old.module"] and old.module._M == old.module and old.module.text() == "number"
old.module.added == "old.module" and not pcall(loadstring("module('old.module.f.x')"))
require("old.bare") == old.bare and old.bare.one() == "one" and old.bare.print == nil and one == nil
not pcall(module) and (function() module("own") v = 1 end)() == nil and own.v == 1 and own.print == nil and v == nil
"""

OLD_MODULE = """
module(..., package.seeall, function(m) m.added = m._NAME end)
function f() return _NAME end
function text() return type(1) end
"""


@test("a program that was written for Lua 5.1 finds what 5.3 has no more, in each style; a script does not")
def _():
    lines = LUA_51.strip().splitlines()
    text = "local said = {}\n"
    text += "\n".join(f'said[#said + 1] = tostring((function() return {line} end)())' for line in lines)
    takes = '\nrequire("mb.style").take():write(table.concat(said, " "))'
    program = script(text + takes)
    os.makedirs(os.path.join(os.path.dirname(program), "old"), exist_ok=True)
    mbtest.write_file(os.path.join(os.path.dirname(program), "old", "module.lua"), OLD_MODULE)
    bare = 'local setmetatable = setmetatable\nmodule (...)\nfunction one() return "one" end\n'
    mbtest.write_file(os.path.join(os.path.dirname(program), "old", "bare.lua"), bare)
    for style in "luasocket", "tarantool", "lua-http":
        got = run(text + takes, options=(f"--style={style}",))[0].split()
        equal([line for line, word in zip(lines, got) if word != "true"], [], style)
        equal(len(got), len(lines), "lines")
    names = "unpack loadstring gcinfo getfenv setfenv module socket string.gfind math.mod table.getn table.foreach " \
        "package.seeall package.loaders"
    text = f"""
    local said = {{}}
    for name in ("{names}"):gmatch("%S+") do said[#said + 1] = load("return " .. name)() and name end
    require("mb.luasocket").install()
    return function(s) s:write(table.concat(said, " "), tostring(socket)) end
    """
    equal(run(text, options=())[0], "nil", "what a script sees")


@test("what 5.3 has is left as it is, and a program may have names of its own")
def _():
    text = "local before = table.unpack function unpack() return 'own' end setmetatable(_G, {__index = error}) "
    text += "string.gfind = 1 assert(table.getn({}) == 0 and string.gfind == 1 and string.nosuch == nil) "
    text += ACCEPTS + "client:send(unpack({1}) .. tostring(before == table.unpack)) client:close()"
    equal(run(text)[:2], ("owntrue", "eof"), "answer")
    for library in "math", "package", "string", "table":
        text = f"package.loaded.{library} = nil assert(string.nosuch == nil and math.nosuch == nil) "
        equal(run(text + ACCEPTS + "client:send('x') client:close()")[:2], ("x", "eof"), f"without {library}")


@test("a bare require of socket sets the global socket, and LuaSocket's other modules set theirs")
def _():
    text = """
    require "socket" require "socket.url" require "ltn12"
    local client = assert(socket.bind("*", 0)):accept()
    socket.sink("close-when-done", client)(ltn12 and socket.url.escape("a b")) client:close()
    """
    equal(run(text)[:2], ("a%20b", "eof"), "answer")


@test("a script does not require itself: its name is that of a module elsewhere, or is not found")
def _():
    there, beside = mbtest.tmp("installed"), mbtest.tmp("program")
    os.mkdir(there)
    os.mkdir(beside)
    mbtest.write_file(os.path.join(there, "copas.lua"), 'local name, file = ... return {name = name, file = file}')
    program = ACCEPTS + 'local copas = require "copas" client:send(copas.name .. " " .. copas.file) client:close()'
    handler = 'local copas = require "copas" return function(s) s:write(copas.name .. " " .. copas.file) end'
    want = f"copas {there}/copas.lua"
    wrapped = f'return require("mb.style").program("luasocket", "{beside}/copas.lua")'
    for text, options in (program, (LUASOCKET,)), (handler, ()):
        path = mbtest.write_file(os.path.join(beside, "copas.lua"), text)
        for name, directory in ((path, "/"), ("./copas.lua", beside), ("copas.lua", beside), ("../program/copas.lua", there)):
            client, conn = tcp_pair()
            with client, conn, contextlib.chdir(directory):
                child = Serving(conn, *options, name, env=dict(os.environ, LUA_PATH=f"./?.lua;;{there}/?.lua"))
                conn.close()
                got, how = client.end()
                equal(child.wait(), 0, f"exit status; log: {child.log()!r}")
            equal((got.decode().replace("./copas", f"{there}/copas"), how), (want, "eof"), name)
    path = mbtest.write_file(os.path.join(beside, "copas.lua"), program)
    env = dict(os.environ, LUA_PATH=f";;{there}/?.lua")
    other = mbtest.write_file(os.path.join(beside, "neighbour.lua"), program)
    for args in [(LUASOCKET, other), (script(wrapped),)]:
        client, conn = tcp_pair()
        with client, conn:
            child = Serving(conn, *args, env=env)
            conn.close()
            equal((client.end(), child.wait()), ((want.encode(), "eof"), 0), f"{args}; log: {child.log()!r}")
    _, how, log = run(wrapped, options=(), status=70)
    missing = f"'copas' not found: {beside}/copas.lua is the script itself; a module of that name may be in another directory"
    check(how == "reset" and missing in log and "LUA_PATH" in log, f"{how} {log!r}")
    mbtest.write_file(os.path.join(beside, "helper.lua"), 'return {name = "helper", file = ""}')
    mbtest.write_file(path, program.replace('require "copas"', 'require "helper"'))
    equal(run(wrapped, options=())[:2], ("helper ", "eof"), "a module beside the program")
    mbtest.write_file(os.path.join(beside, "copas.lua"), "return {name = 'beside', file = ''}")
    for style, found in ("lua-http", want), ("tarantool", "beside "):
        text = 'local copas = require "copas" require("mb.style").take():write(copas.name .. " " .. copas.file)'
        mbtest.write_file(other, text)
        client, conn = tcp_pair()
        with client, conn:
            child = Serving(conn, f"--style={style}", other, env=env)
            conn.close()
            equal((client.end(), child.wait()), ((found.encode(), "eof"), 0), f"{style}; log: {child.log()!r}")
    _, how, log = run(ACCEPTS + 'require((arg[0]:match("([^/]*)%.lua$")))', status=70)
    check(how == "reset" and "' not found: " in log and " is the script itself; " in log, f"{how} {log!r}")
    text = 'package.preload[arg[0]:match("([^/]*)%.lua$")] = function() return "preloaded" end\n' + ACCEPTS
    text += 'client:send(require((arg[0]:match("([^/]*)%.lua$")))) client:close()'
    equal(run(text)[:2], ("preloaded", "eof"), "package.preload")


# --- The address ---


def bound(text, host, port_of, pair=tcp_pair, status=0):
    """Runs a program that listens at the host and a port, which is a function of the connection's port. Returns what the
    client receives, the log, and the connection's port."""
    client, conn = pair()
    port = conn.getsockname()[1]
    with client, conn:
        child = Serving(conn, LUASOCKET, script(text), host, str(port_of(port)))
        conn.close()
        got, how = client.end()
        equal((child.wait(), how), (status, "reset" if status else "eof"), f"exit status, end; log: {child.log()!r}")
    return got.decode(), child.log(), port


@test("bind succeeds at the connection's address, at every address, and with port 0 for its port")
def _():
    ip6 = lambda: tcp_pair(socket.AF_INET6, "::1")
    mapped = lambda: tcp_pair(socket.AF_INET6, "::", "127.0.0.1", dual_stack=True)
    same, any_port = (lambda port: port), (lambda port: 0)
    for pair, host, want in (
        (tcp_pair, "127.0.0.1", "127.0.0.1 PORT"),
        (tcp_pair, "*", "0.0.0.0 PORT"),
        (tcp_pair, "0.0.0.0", "0.0.0.0 PORT"),
        (tcp_pair, "::", ":: PORT"),
        (tcp_pair, "localhost", "127.0.0.1 PORT"),
        (mapped, "127.0.0.1", "127.0.0.1 PORT"),
        (mapped, "::ffff:127.0.0.1", "::ffff:127.0.0.1 PORT"),
        (mapped, "0.0.0.0", "0.0.0.0 PORT"),
        (ip6, "::1", "::1 PORT"),
        (ip6, "0.0.0.0", "0.0.0.0 PORT"),
    ):
        for port in same, any_port:
            got, _, number = bound(BINDS, host, port, pair)
            equal(got, want.replace("PORT", str(number)), f"bind to {host}")


# Addresses that are not the connection's, as functions of its port.
ELSEWHERE = (("127.0.0.2", lambda port: port), ("127.0.0.1", lambda port: port ^ 1), ("::1", lambda port: 0))


@test("a listener elsewhere is never ready: accept and select time out, and the other listener has the connection")
def _():
    text = TWO + """
    local lines = {text(other:getsockname()), text(other:setoption("reuseaddr", true))}
    other:settimeout(0.01)
    lines[3] = text(other:accept())
    local ready = socket.select({other, server})
    lines[4] = text(#ready, ready[1] == server)
    lines[5] = text(select(3, socket.select({other}, {other}, 0.01)))
    local client = server:accept()
    lines[6] = text(other:accept())
    other:close()
    lines[7] = text(other:accept())
    client:send(table.concat(lines, ", "))
    client:close()
    socket.select({other, server})
    error("not reached")
    """
    for host, port_of in ELSEWHERE:
        got, _, port = bound(text, host, port_of)
        name, rest = got.split(", ", 1)
        address, number, family = name.split()
        equal((address, family), (host, "inet6" if ":" in host else "inet"), "address")
        check(int(number) == port_of(port) if port_of(port) else int(number) not in (0, port), f"port {number}")
        equal(rest, "1.0, nil timeout, 1 true, timeout, nil timeout, nil closed", "what it says")
    text = TWO + 'server:accept():send("x") other:accept() error("not reached")'
    equal(bound(text, *ELSEWHERE[0])[0], "x", "the client of a program that waits there for ever")


@test("a program that listens elsewhere only, or waits there for ever, is an error that says where the connection came in")
def _():
    binds = BINDS.replace("local client", "%s\nlocal client")
    for what in ("", "server:settimeout(0)", "socket.select({server}, nil, 0)", "while true do server:accept() end"):
        for host, port_of in ELSEWHERE:
            _, log, port = bound(binds % what, host, port_of, status=70)
            for part in (f"nobody can come to {'[::1]' if ':' in host else host}:", f"came in on 127.0.0.1:{port},"):
                check(part in log, f"{part!r} in {log!r}")
    for wait in "other:accept()", "socket.select({other})", "socket.select({})":
        log = bound(TWO + wait, *ELSEWHERE[0], status=70)[1]
        check(":12: the program would wait for ever, and has not accepted the connection" in log, f"{wait}: {log!r}")
    text = BINDS.replace("assert(server:bind(arg[1], tonumber(arg[2])))", "error((select(2, server:bind(arg[1], 0))), 0)")
    log = bound(text, "nosuchhost.invalid", lambda port: 0, status=70)[1]
    check("came in" not in log and "not known" in log, f"a name that nobody knows: {log!r}")


@test("nothing is bound: it has the descriptors that a handler of ours has, and the address is free for others")
def _():
    def attempt(text, *options):
        client, conn = tcp_pair()
        port = conn.getsockname()[1]
        with client, conn:
            child = Serving(conn, *options, script(text))
            equal(client.line(), "there", "word")
            is_free = can_bind(port)  # "*" was bound to, and that would be in the way
            count = len(os.listdir(f"/proc/{child.pid}/fd"))
            client.send("go on\n")
            equal(child.wait(), 0, "exit status")
        return count if is_free else None

    def can_bind(port):
        with socket.socket() as other:
            # A connection of another test that has the port is not in the way.
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                other.bind(("127.0.0.2", port))
            except OSError:
                return False
        return True

    def descriptors(text, *options):
        # A listener of another test is in the way for once.
        found = next((n for n in (attempt(text, *options) for _ in range(5)) if n is not None), None)
        check(found is not None, "the address is free for others")
        return found

    program = descriptors(ACCEPTS + 'client:send("there\\n") client:receive()', LUASOCKET)
    equal(program, descriptors('return function(s) s:flush("there\\n") s:read(100, "\\n") end'), "open descriptors")


@test("behind a proxy, the address is the one that is listened on, and the client that of the header")
def _():
    text = ACCEPTS + "client:send(table.concat({client:getpeername()}, ' '))"
    header = b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n"
    got = run(text, options=(LUASOCKET, "--proxy-protocol"), said=header + b"rest")
    equal(got[:2], ("192.0.2.1 12345 inet", "eof"), "client")
    text = 'require("socket").bind("198.51.100.2", 443):accept()'
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


@test("accept with a timeout waits while the connection is open; after its end it says so once, at once")
def _():
    text = ACCEPTS + """
    server:settimeout(0.05)
    local began = socket.gettime()
    local again, message = server:accept()
    client:send(tostring(again) .. " " .. message .. " " .. tostring(socket.gettime() - began >= 0.05))
    client:close()
    server:settimeout(arg[1])
    print(server:accept())
    server:accept()
    print("not reached")
    """
    for seconds in "0", "0.05", "1000":
        equal(run(text, seconds), ("nil timeout true", "eof", "nil\ttimeout\n"), "answer, end, log")


@test("between two connections a program that polls does all its work once more")
def _():
    polls = """
    local socket = require "socket"
    local server, other = assert(socket.bind("*", 0)), assert(socket.bind("127.0.0.1", 1))
    server:settimeout(%s) other:settimeout(0)
    local client
    while true do
      %s
      if client then client:send("served") client:close() client = nil print("closed") else print("idle") end
    end
    """
    accepts = "client = server:accept()"
    for seconds in "0", "0.01":
        for waits in (
            accepts,
            "socket.select({server, other}, nil, 5) " + accepts,
            accepts + " if not client then socket.select({server}, nil, 0.01) end",
            "if not client then print(#socket.select({server}, nil, 1000)) end " + accepts,
            accepts + " other:accept()",
        ):
            got, how, log = run(polls % (seconds, waits))
            log = log.replace("0\n", "").replace("1\n", "")
            equal((got, how, log), ("served", "eof", "closed\nidle\n"), waits)
    again = """
    local socket = require "socket"
    while true do
      local server = assert(socket.bind("*", 0))
      server:settimeout(0)
      local client = server:accept()
      server:close()
      if client then client:send("served") client:close() else print("idle") end
    end
    """
    got, how, log = run(again)
    equal((got, how), ("served", "eof"), "a listener for each connection")
    check(1 <= log.count("idle") <= 8, log)


@test("a wait for something else goes on after the connection, until it times out for the second time")
def _():
    listener = socket.create_server(("127.0.0.1", 0))
    text = ACCEPTS + """
    local out = assert(socket.connect("127.0.0.1", arg[1]))
    client:close()
    while true do
      local ready, _, message = socket.select({server, out}, nil, arg[2])
      if ready[out] then print((assert(out:receive()))) else print(message) end
    end
    """
    client, conn = tcp_pair()
    with client, conn, listener:
        child = Serving(conn, LUASOCKET, script(text), str(listener.getsockname()[1]), "0.5")
        conn.close()
        peer = listener.accept()[0]
        equal(client.end(), (b"", "eof"), "end")
        for word in (b"one\n", b"two\n"):
            peer.sendall(word)
            until(lambda: word.decode() in child.log(), "what the other peer says")
        equal(child.wait(), 0, "exit status")
        equal(child.log().replace("timeout\n", ""), "one\ntwo\n", "log")
        check(child.log().endswith("timeout\n"), child.log())


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


@test("a program that has closed its listener ends with the connection, however it waits for the next one")
def _():
    text = ACCEPTS + """
    server:close()
    %s
    client:send("served") client:close()
    while true do %s end
    """
    for wait in ("server:accept()", "pcall(server.accept, server)", "socket.select({server}, nil, 1000)",
                 "socket.select({server}, nil, 0)", "socket.select({server})", "socket.select({}, nil)"):
        equal(run(text % ("", wait)), ("served", "eof", ""), wait)
    open_still = 'for _ = 1, 20 do assert(select(2, server:accept()) == "closed") end'
    equal(run(text % (open_still, "server:accept()")), ("served", "eof", ""), "while the connection is open")
    polls = "local begun = socket.gettime() " + open_still + " assert(socket.gettime() - begun > 0.1)"
    equal(run(text % (polls, "server:accept()")), ("served", "eof", ""), "asking takes no whole processor")
    at_end = 'client:receive("*l") client:send((select(2, client:receive("*l")))) while true do server:accept() end'
    equal(run(text % (at_end, ""), said=b"line\n", shut=True), ("closed", "eof", ""), "the end of its input was read")
    text = 'local server = require("socket").bind("*", 0) server:close() while true do server:accept() end'
    _, how, log = run(text, status=70)
    check(how == "reset" and "has closed its listener, and has not accepted the connection" in log, f"{how} {log!r}")


# The monotonic clock and the waits by it are SPEED times faster.
FAST_CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <stdint.h>
#include <time.h>

#define SPEED 300

static int64_t real_now(void) {
  int (*real)(clockid_t, struct timespec *);
  struct timespec now;
  *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
  real(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

int clock_gettime(clockid_t clock, struct timespec *ret) {
  int64_t now = real_now() * SPEED;
  *ret = (struct timespec){.tv_sec = now / 1000000000, .tv_nsec = now % 1000000000};
  return 0;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left) {
  int64_t wait = (until->tv_sec * INT64_C(1000000000) + until->tv_nsec) / SPEED - real_now();
  struct timespec span = {.tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000};
  return wait > 0 ? nanosleep(&span, left) : 0;
}

int poll(struct pollfd *fds, nfds_t count, int timeout) {
  int (*real)(struct pollfd *, nfds_t, int);
  *(void **)&real = dlsym(RTLD_NEXT, "poll");
  return real(fds, count, timeout < 0 ? -1 : (timeout + SPEED - 1) / SPEED);
}
"""


@test("after the connection a program may pause for a minute, whatever the pauses are; then it ends with 0")
def _():
    env = os.environ | mbshim.preloaded(mbshim.compiled(mbtest.write_file(mbtest.tmp("fast_clock.c"), FAST_CLOCK)))
    peer = socket.create_server(("127.0.0.1", 0))
    text = """
    local socket, timeref = require "socket", require "moonbridge_io".timeref
    local server = assert(socket.bind("*", 0))
    local client = server:accept()
    local out = assert(socket.connect("127.0.0.1", arg[1]))
    local clients = {client}
    socket.sleep(100) socket.select({}, {}, 100) socket.select({server, out}, nil, 100)
    client:send("served")
    %s
    local ended = timeref()
    at_end = setmetatable({}, {__gc = function() print((timeref() - ended) // 60) end})
    while true do %s end
    """
    closes = "server:close() client:close() clients = {}"
    for end, pause in (
        (closes, "socket.select(clients, nil, 1)"),
        (closes, "socket.select({client}, {}, 1)"),
        (closes, "socket.sleep(1)"),
        (closes, "socket.sleep(1) socket.select({}, {}, 1)"),
        (closes, "socket.sleep(1000)"),
        (closes, "socket.select({server, out})"),
        ("client:close()", "socket.select({server, out})"),
        ("client:close()", "socket.sleep(1)"),
        ("client, clients = nil", "socket.sleep(1)"),
        ("client, clients = nil", "socket.select({}, nil, 1)"),
    ):
        client, conn = tcp_pair()
        with client, conn:
            child = Serving(conn, LUASOCKET, script(text % (end, pause)), str(peer.getsockname()[1]), env=env)
            conn.close()
            equal((client.end(), child.wait()), ((b"served", "eof"), 0), f"{pause}; log: {child.log()!r}")
            check(1 <= float(child.log()) < 15, f"{child.log()!r} minutes after {end}, {pause}")
    text = ACCEPTS + """
    local out = assert(socket.connect("127.0.0.1", arg[1]))
    client:close()
    for _ = 1, 7 do socket.select({out}, nil, 10) end
    socket.sleep(50)
    print("worked")
    """
    client, conn = tcp_pair()
    with client, conn, peer:
        child = Serving(conn, LUASOCKET, script(text), str(peer.getsockname()[1]), env=env)
        conn.close()
        equal((child.wait(), child.log()), (0, "worked\n"), "a wait for its own socket is no pause")


@test("a client that a polling program drops without closing it is closed, and the program ends")
def _():
    text = """
    local socket = require "socket"
    local server = assert(socket.bind("*", 0))
    server:settimeout(%s)
    while true do
      %s
      local client = server:accept()
      if client then client:send("served") end
    end
    """
    for seconds in "0", "0.05", "5":
        for wait in "", "socket.select({server}, nil, 0.01)":
            equal(run(text % (seconds, wait)), ("served", "eof", ""), f"{seconds} {wait}")
    text = ACCEPTS + 'client:send("served") client = nil while true do socket.select({server}, nil, 0.05) end'
    equal(run(text), ("served", "eof", ""), "select alone")


@test("a program that polls while the connection is open does not spend its time on the garbage")
def _():
    text = ACCEPTS + """
    collectgarbage("stop")
    local collected = 0
    local function arm() setmetatable({}, {__gc = function() collected = collected + 1 arm() end}) end
    arm()
    server:settimeout(0)
    for _ = 1, 1000 do server:accept() socket.select({server}, nil, 0) end
    client:send(collected)
    """
    got, how, _ = run(text)
    check(1 <= int(got) <= 5 and how == "eof", f"{got} collections")


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
