#!/usr/bin/python3
"""mb.luasocket beside LuaSocket itself: the same scripts, over real sockets, must say the same, line by line. Where ours
differs on purpose, the script and both answers stand here, and in the table of mb.luasocket(3)."""

import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import DEADLINE, HANDLE, Child, Client, check, equal, free_port, script, tcp_pair, test

LUA = mbtest.need("lua5.3")
if subprocess.run([LUA, "-e", 'require "socket"'], stderr=subprocess.DEVNULL, check=False).returncode != 0:
    mbtest.bail("Debian package lua-socket missing")

# p prints values; m calls a method as a script does, so that the message names it.
HEAD = """
local socket = require "socket"
local out = assert(io.open(OUT, "w"))
local function show(v)
  if type(v) == "table" then
    local fields = {}
    for k, x in pairs(v) do fields[#fields + 1] = tostring(k) .. "=" .. show(x) end
    table.sort(fields)
    return "{" .. table.concat(fields, ",") .. "}"
  end
  return type(v) == "string" and ("%q"):format(v):gsub("\\n", "n") or tostring(v)
end
local function p(...)
  local t = table.pack(...)
  for i = 1, t.n do t[i] = show(t[i]) end
  out:write(table.concat(t, " "), "\\n")
  out:flush()
end
local function m(object, name, ...)
  local source = "local o = ... return o:" .. name .. "(select(2, ...))"
  p(name, pcall(assert(load(source, "=m")), object, ...))
end
local function pair()
  local server = assert(socket.bind("127.0.0.1", 0))
  local _, port = server:getsockname()
  local client = assert(socket.connect("127.0.0.1", port))
  local accepted = assert(server:accept())
  return accepted, client, server, port
end
local function arrives(o, text) -- sent on client: waits until all of it is there
  o:settimeout(10)
  assert(#text == 0 or socket.select({o}, nil, 10)[1] == o)
end
"""
INSTALL = 'require("mb.luasocket").install()\nlocal path = ...\nreturn function() dofile(path) end\n'
INSTALLED = script(INSTALL)
_outputs = 0


def prepared(text):
    """The path of the script, and of what it writes."""
    global _outputs
    _outputs += 1
    out = mbtest.tmp(f"out{_outputs}")
    return script(f"local OUT = {quoted(out)}\n{HEAD}{text}"), out


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def normal(text):
    """Without what differs between two runs of the same."""
    text = re.sub(r"0x[0-9a-f]+", "ADDRESS", text)
    text = re.sub(r"script\d+\.lua", "SCRIPT", text)
    text = re.sub(r': port \\"[^"]*"', "", text)  # ours shows what is no port
    text = re.sub(r'"?\b[2-6]\d{4}\b"?', "PORT", text)  # getsockname's is a string in the original
    return text.replace("socket.core.", "socket.").replace("mb.luasocket.", "socket.").replace('"0"', "0")


def original(text):
    path, out = prepared(text)
    done = subprocess.run([LUA, path], capture_output=True, timeout=DEADLINE, check=False)
    equal(done.returncode, 0, f"exit status of lua5.3; {done.stderr.decode()!r}")
    return normal(mbtest.read_file(out)).splitlines()


def ours(text):
    path, out = prepared(text)
    done = subprocess.run(
        [HANDLE, INSTALLED, path], stdin=subprocess.DEVNULL, capture_output=True, timeout=DEADLINE, check=False)
    equal(done.returncode, 0, f"exit status of mb-handle; {done.stderr.decode()!r}")
    return normal(mbtest.read_file(out)).splitlines()


def compare(want, got):
    check(want, "the script has printed something")
    for number, (a, b) in enumerate(zip(want, got)):
        equal(b, a, f"line {number + 1}")
    equal(len(got), len(want), "number of lines")


def same(name, text):
    @test(name)
    def _():
        compare(original(text), ours(text))


def differs(name, text, theirs, own):
    """Both print one line."""

    @test("on purpose: " + name)
    def _():
        equal(original(text), [theirs], "the original")
        equal(ours(text), [own], "ours")


# --- receive ---

same("receive: lines, with all CRs dropped, empty ones, and the rest at the end", r"""
local s, c = pair()
c:send("one\r\ntwo\n\n\r\r\na\rb\r\rc\nrest\r")
c:close()
for _ = 1, 8 do m(s, "receive") end
m(s, "receive", "*l", "prefix")
""")

same("receive: numbers, *a, and what they leave", r"""
local s, c = pair()
c:send("0123456789abcdefghij")
m(s, "receive", 1) p(s:dirty()) m(s, "receive", 3.7) m(s, "receive", "2") m(s, "receive", 0) m(s, "receive")
c:send("\nxyz\0\255") c:shutdown("send")
m(s, "receive", 1) m(s, "receive", "*a") m(s, "receive", "*a") m(s, "receive", 0) m(s, "receive", 5) m(s, "receive")
p(s:dirty())
""".replace('m(s, "receive", 0) m(s, "receive")\n', 'm(s, "receive", 0) s:settimeout(0.05) m(s, "receive")\n'))

same("receive: a prefix counts for numbers, and comes before partial results", r"""
local s, c = pair()
c:send("0123456789")
m(s, "receive", 5, "abc") m(s, "receive", 3, "abc") m(s, "receive", 2, "abc") m(s, "receive", 3, 77) m(s, "receive", 0, "x")
s:settimeout(0.05)
m(s, "receive", 20, "pre") m(s, "receive", 20, "pre") m(s, "receive", "*l", "pre") m(s, "receive", "*a", "pre")
c:send("li\rne\nall") m(s, "receive", "*l", "pre\r") c:close() m(s, "receive", "*a", "pre") m(s, "receive", "*a", "pre")
m(s, "receive", 3, "pre") m(s, "receive", 4, "pre")
""")

same("receive: partial results at a timeout are taken", r"""
local s, c = pair()
s:settimeout(0.05)
c:send("abc\r") m(s, "receive") m(s, "receive") c:send("def") m(s, "receive", 10) c:send("ghi") m(s, "receive", "*a")
m(s, "receive", "*a") c:send("jkl\n") m(s, "receive")
s:settimeout(0) m(s, "receive") m(s, "receive", 1) c:send("x") socket.select({s}) m(s, "receive", 1)
""")

same("receive: misuse", r"""
local s, c = pair()
m(s, "receive", "x") m(s, "receive", "*x") m(s, "receive", "a") m(s, "receive", {}) m(s, "receive", -1) m(s, "receive", 0/0)
m(s, "receive", 5, {}) m(s, "receive", true) m(s, "receive", "*l", print) c:send("a line\n") m(s, "receive", "*line")
c:send("a line\n") m(s, "receive", nil, nil)
""")

same("receive: much, in one piece and in many", r"""
local s, c = pair()
local data = {}
for i = 1, 30000 do data[i] = ("%d %s"):format(i, ("x"):rep(i % 90)) end
local text = table.concat(data, "\n") .. "\n"
c:settimeout(0)
local sent, lines, bytes = 0, 0, 0
local index = 0
while true do
  local _, e
  if index < #text then
    local i, _, part = c:send(text, index + 1)
    index = i or part
    if index == #text then c:close() end
  end
  s:settimeout(index < #text and 0 or 10)
  local line, err, rest = s:receive("*l", lines)
  if err == "timeout" then
    p(#rest >= #tostring(lines)) break
  end
  if not line then p(err, rest) break end
  lines = lines + 1
  if line ~= (lines - 1) .. data[lines] then p("wrong", lines, line) break end
  if lines == 15000 then break end
end
p(lines)
""")

# --- send ---

same("send: the index of the last byte, with i and j as string.sub has them", r"""
local s, c = pair()
m(c, "send", "hello") m(c, "send", "hello", 2) m(c, "send", "hello", 2, 3) m(c, "send", "hello", -2) m(c, "send", "hello", 4, 2)
m(c, "send", "hello", 10) m(c, "send", "hello", 0, 0) m(c, "send", "") m(c, "send", 12) m(c, "send", "hello", -20, -3)
m(c, "send", "hello", 3.9, 4.2) m(c, "send", "hello", 1, 99) m(c, "send", "hello", "2", "3") m(c, "send", "h\0i")
c:close() m(s, "receive", "*a")
""")

same("send: misuse", r"""
local s, c = pair()
m(c, "send") m(c, "send", nil) m(c, "send", {}) m(c, "send", "x", "y") m(c, "send", "x", 1, "y") m(c, "send", "x", {})
""")

same("send: a peer that does not read, and a timeout: what was sent can be told from the index", r"""
local s, c = pair()
c:setoption("send-buffer-size", 20000) s:setoption("recv-buffer-size", 20000)
c:settimeout(0.1)
local text = ("0123456789"):rep(200000)
local ok, err, index = c:send(text, 11)
p(ok, err, index > 1000 and index < #text)
local got = {}
s:settimeout(0.2)
local all, _, part = s:receive("*a")
p(#part == index - 10, part == text:sub(11, index))
c:settimeout(0) p(select("#", c:send("")), (c:send("")))
""")

same("both ends of a closed connection", r"""
local s, c = pair()
c:send("left") c:close()
m(s, "receive", 10) m(s, "receive") m(s, "receive", "*a")
for _ = 1, 3 do local ok, err = s:send("x") if not ok then p(err) break end socket.sleep(0.05) end
m(s, "send", "x") m(s, "send", "xyz", 2) m(s, "receive")
""")

same("a reset, by linger with a timeout of 0", r"""
local s, c = pair()
c:send("abc") arrives(s, "abc")
c:setoption("linger", {on = true, timeout = 0}) c:close()
m(s, "receive", 2) m(s, "receive", 2) m(s, "receive", 2) m(s, "send", "x") m(s, "send", "x") m(s, "receive", "*a")
""")

same("shutdown: each mode", r"""
for _, mode in ipairs{"send", "receive", "both"} do
  local s, c = pair()
  s:send("from the other side") arrives(c, "x") c:settimeout(0.1)
  m(c, "shutdown", mode) m(c, "send", "x") m(c, "receive", 4) m(c, "receive", "*a") s:settimeout(0.1) m(s, "receive", "*a")
  m(c, "shutdown", mode)
end
local s, c = pair() m(c, "shutdown") m(c, "send", "x") m(s, "receive")
m(c, "shutdown", "x") m(c, "shutdown", 1) m(c, "shutdown", {})
""")

# --- objects ---

same("the classes, and methods on the wrong one", r"""
local s, c, server = pair()
for _, o in ipairs{socket.tcp(), c, server} do
  p(o) p(o.class) p(type(o), getmetatable(o).__name)
  for _, method in ipairs{"receive", "send", "accept", "listen", "bind", "shutdown"} do
    if not (method == "receive" and o == c) and not (method == "accept" and o == server) and o.class ~= "tcp{master}" then
      m(o, method, "x")
    end
  end
end
m(socket.tcp(), "receive") m(socket.tcp(), "send", "x") m(socket.tcp(), "accept") m(socket.tcp(), "shutdown")
p(pcall(c.receive)) p(pcall(c.receive, 1)) p(pcall(c.receive, {})) p(pcall(c.close, io.stdout)) p(pcall(c.bind, {}, 1))
p(c.nosuchmethod)
p(pcall(c.receive, setmetatable({}, getmetatable(c))) == false)
""")

same("closed objects", r"""
local s, c, server = pair()
for _, o in ipairs{s, server} do
  m(o, "close") m(o, "close") m(o, "dirty") m(o, "getsockname") m(o, "getpeername") m(o, "settimeout", 1) m(o, "gettimeout")
  m(o, "getoption", "keepalive") m(o, "setoption", "keepalive", true) m(o, "getfamily") p(o:getfd() == -1)
end
m(s, "receive") m(s, "receive", "*a", "prefix") m(s, "receive", "x") m(s, "send", "x") m(s, "send", "xyz", 3) m(s, "shutdown")
m(s, "setstats", 1) m(server, "accept")
local master = socket.tcp() master:close() m(master, "getsockname") m(master, "listen") m(master, "bind", "127.0.0.1", 0)
""")

same("collected objects close their connections", r"""
local s, c = pair()
c:send("last words") c = nil collectgarbage() collectgarbage()
m(s, "receive", "*a")
""")

same("settimeout and gettimeout", r"""
local t = socket.tcp()
m(t, "gettimeout") m(t, "settimeout", 3) m(t, "settimeout", 4, "t") m(t, "gettimeout") m(t, "settimeout", nil, "r")
m(t, "gettimeout") m(t, "settimeout") m(t, "gettimeout") m(t, "settimeout", -5) m(t, "gettimeout") m(t, "settimeout", "7", "b")
m(t, "settimeout", 1, "x") m(t, "settimeout", "x") m(t, "settimeout", 1, "") m(t, "settimeout", 1, "both") m(t, "gettimeout")
""")

same("timeouts of receive: block, total, both, none at all", r"""
local s, c = pair()
local function timed(block, total, least, most)
  s:settimeout(block) s:settimeout(total, "t")
  local began = socket.gettime()
  local _, err = s:receive(5)
  local took = socket.gettime() - began
  p(err, took >= least - 0.01, took < most)
end
timed(0.2, nil, 0.2, 5) timed(nil, 0.2, 0.2, 5) timed(0.1, 10, 0.1, 5) timed(10, 0.1, 0.1, 5) timed(0, nil, 0, 1) timed(nil, 0, 0, 1)
timed(0, 10, 0, 5)
""")

same("a timeout that is not a number does not wait", r"""
local s, c, server = pair()
for _, mode in ipairs{"b", "t"} do s:settimeout(0/0, mode) m(s, "receive") s:settimeout(nil, mode) end
server:settimeout(0/0) m(server, "accept") p(socket.select({s}, nil, 0/0))
""")

same("getstats and setstats count what was taken and sent", r"""
local s, c = pair()
local function stats(o) local r, t, age = o:getstats() p(r, t, age >= 0 and age < 10) end
c:send("hello\r\nworld") arrives(s, "x")
stats(c) stats(s) s:receive(1) stats(s) s:receive() stats(s) s:settimeout(0.05) s:receive("*a") stats(s)
m(s, "setstats", 10, 20) stats(s) m(s, "setstats") stats(s) m(s, "setstats", nil, 5) stats(s) m(s, "setstats", "x")
m(s, "setstats", 1.5, 2.5) stats(s) m(s, "setstats", 0, 0, 100) p(select(3, s:getstats()) >= 100)
s:send("abc") stats(s)
""")

# --- options ---

same("options: what a client, a server and a master have, and what is set is had", r"""
local s, c, server = pair()
for _, o in ipairs{c, server, socket.tcp4(), socket.tcp6()} do
  for _, name in ipairs{"keepalive", "reuseaddr", "reuseport", "tcp-nodelay"} do
    m(o, "getoption", name) m(o, "setoption", name, true) m(o, "getoption", name) m(o, "setoption", name, false)
    m(o, "getoption", name)
  end
  for _, name in ipairs{"tcp-keepidle", "tcp-keepcnt", "tcp-keepintvl"} do
    m(o, "getoption", name) m(o, "setoption", name, 5) m(o, "getoption", name) m(o, "setoption", name, 0)
  end
  for _, name in ipairs{"recv-buffer-size", "send-buffer-size"} do m(o, "setoption", name, 30000) m(o, "getoption", name) end
  m(o, "getoption", "linger") m(o, "setoption", "linger", {on = true, timeout = 3}) m(o, "getoption", "linger")
  m(o, "getoption", "error") m(o, "setoption", "ipv6-v6only", true)
end
m(server, "setoption", "tcp-defer-accept", 3) m(server, "setoption", "tcp-fastopen", 3)
m(socket.tcp4(), "setoption", "tcp-fastopen-connect", 1)
m(socket.tcp(), "setoption", "keepalive", true) m(socket.tcp(), "getoption", "keepalive")
""")

same("options: misuse", r"""
local s, c = pair()
for _, name in ipairs{"keepalive", "reuseaddr", "tcp-nodelay", "ipv6-v6only"} do
  for _, value in ipairs{5, "x", {}, print} do m(c, "setoption", name, value) end
  m(c, "setoption", name)
end
for _, value in ipairs{true, 5, "x", {}, {on = 1}, {on = true}, {timeout = 2}, {on = true, timeout = "x"}} do
  m(c, "setoption", "linger", value)
end
m(c, "setoption") m(c, "setoption", {}) m(c, "setoption", "x", 1) m(c, "getoption") m(c, "getoption", 5) m(c, "getoption", "x")
m(c, "getoption", {}) m(c, "setoption", "error", 1) m(c, "getoption", ("long"):rep(30))
""".replace('m(c, "getoption", ("long"):rep(30))', ""))

same("a connection that failed is told by the option error", r"""
local t = socket.tcp4() t:settimeout(0)
m(t, "connect", "127.0.0.1", 1) socket.select(nil, {t}, 5) m(t, "getoption", "error") m(t, "getoption", "error")
""")

# --- bind, listen, connect, accept ---

same("bind: addresses, ports, errors", r"""
local _, _, server, port = pair()
local function b(...) local o, err = socket.bind(...) p(o, err) if o then p(o:getsockname()) p(o:getfamily()) o:close() end end
b("127.0.0.1", 0) b("*", 0) b("localhost", "0") b("::1", 0) b("::", 0) b("127.0.0.1", port) b("nosuchhost.invalid", 0)
b("*", "nosuchservice") b("*", -1) b("192.0.2.1", 0) b("", 0) b("127.0.0.1", 80.5) b("127.0.0.1", 0, 5)
local function master(t, ...) m(t, "bind", ...) m(t, "getsockname") m(t, "getfamily") end
master(socket.tcp(), "*", 0) master(socket.tcp6(), "*", 0) master(socket.tcp4(), "*", 0) master(socket.tcp(), "::1", 0)
master(socket.tcp6(), "127.0.0.1", 0) master(socket.tcp4(), "::1", 0)
local t = socket.tcp() m(t, "bind", "127.0.0.1", port) m(t, "bind", "127.0.0.1", 0) m(t, "bind", "127.0.0.1", 0)
m(t, "listen", "x") m(t, "listen") m(t, "listen") p(t)
m(socket.tcp(), "listen") m(socket.tcp(), "bind", "*") m(socket.tcp(), "bind") m(socket.tcp(), "bind", "*", {})
m(socket.tcp(), "bind", {}, 1)
""")

same("connect: addresses, ports, errors, local addresses", r"""
local _, _, server, port = pair()
local function c(f, ...) local o, err = f(...) p(o, err) if o then p(o:getpeername()) p((o:getsockname())) o:close() end end
c(socket.connect, "127.0.0.1", port) c(socket.connect, "localhost", port) c(socket.connect, "127.0.0.1", 1)
c(socket.connect, "nosuchhost.invalid", 1) c(socket.connect, "127.0.0.1", "nosuchservice") c(socket.connect, "127.0.0.1", -1)
c(socket.connect, "127.0.0.1", port, "127.0.0.1", 0) c(socket.connect, "127.0.0.1", port, "127.0.0.1")
c(socket.connect, "127.0.0.1", port, "192.0.2.1", 0) c(socket.connect, "", port) c(socket.connect, "*", port)
c(socket.connect4, "localhost", port) c(socket.connect, "127.0.0.1", port, nil, nil, "inet")
p(pcall(socket.connect)) p(pcall(socket.connect, "127.0.0.1")) p(pcall(socket.connect, "127.0.0.1", port, nil, nil, "x"))
p(pcall(socket.connect, nil, port))
local t = socket.tcp() m(t, "connect", "127.0.0.1") m(t, "connect") m(t, "connect", "127.0.0.1", 1) p(t)
m(t, "connect", "127.0.0.1", port) m(t, "connect", "127.0.0.1", port) m(t, "send", "x") m(t, "getpeername")
m(socket.tcp4(), "connect", "::1", port) m(socket.tcp6(), "connect", "127.0.0.1", port)
""")

same("connect without waiting", r"""
local _, _, server, port = pair()
local t = socket.tcp() t:settimeout(0)
m(t, "connect", "127.0.0.1", port) p(t) p(#select(2, socket.select(nil, {t}, 5)))
m(t, "connect", "127.0.0.1", port) m(t, "connect", "127.0.0.1", port) m(t, "getpeername") m(t, "send", "x")
t = socket.tcp() t:settimeout(0)
m(t, "connect", "127.0.0.1", 1) socket.select(nil, {t}, 5) m(t, "send", "x") m(t, "send", "x") m(t, "receive")
""")

# An address that does not answer: its queue is full. "*" is both, IPv6 first.
DEAD = r"""
local kept = {}
local function deaf(create, address, port)
  local server = create() server:setoption("reuseaddr", true) assert(server:bind(address, port)) server:listen(0)
  kept[#kept + 1] = server
  port = select(2, server:getsockname())
  repeat
    local t = create() t:settimeout(0.05) kept[#kept + 1] = t
  until not t:connect(address, port)
  return port
end
local function timed(t, ...)
  local began = socket.gettime()
  p(t:connect(...)) p((t:getpeername()))
  local took = socket.gettime() - began
  return took
end
"""

PORTS = free_port(), free_port()
same("connect: a block timeout counts for each address", f"""{DEAD}
deaf(socket.tcp6, "::1", {PORTS[0]}) deaf(socket.tcp4, "127.0.0.1", {PORTS[0]})
local t = socket.tcp() t:settimeout(0.3) local took = timed(t, "*", {PORTS[0]}) p(took >= 0.59, took < 5)
deaf(socket.tcp6, "::1", {PORTS[1]})
local server = assert(socket.bind("127.0.0.1", {PORTS[1]})) t = socket.tcp() t:settimeout(0.3) timed(t, "*", {PORTS[1]})
""")

same("connect once more after a timeout waits once more", DEAD + r"""
local port = deaf(socket.tcp6, "::1", 0)
local t = socket.tcp() t:settimeout(0.2) p(timed(t, "::1", port) >= 0.19) p(timed(t, "::1", port) >= 0.19)
""")

same("accept: timeouts, closed servers", r"""
local s, c, server, port = pair()
m(server, "settimeout", 0) m(server, "accept") m(server, "settimeout", 0.05) m(server, "accept")
local other = socket.connect("127.0.0.1", port) m(server, "accept") other:close()
m(s, "gettimeout") m(server, "close") m(server, "accept")
""")

same("what was shut down and closed without a connection connects once more", r"""
local s, _, server, port = pair()
local t = socket.tcp() m(t, "connect", "127.0.0.1", 1) m(t, "shutdown", "send") m(t, "close")
m(t, "connect", "127.0.0.1", port) m(t, "send", "x\n") server:settimeout(5) s = server:accept() s:settimeout(2) m(s, "receive")
""")

same("IPv6", r"""
local server = assert(socket.bind("::1", 0))
local _, port = server:getsockname()
local c = assert(socket.connect("::1", port)) local s = server:accept()
m(c, "getpeername") m(s, "getsockname") m(c, "getfamily") m(s, "getfamily")
c:send("x\n") m(s, "receive") m(socket.tcp6(), "getfamily")
""")

# --- functions ---

same("select", r"""
local s, c, server, port = pair()
local names = {[s] = "s", [c] = "c", [server] = "server"}
local function sel(...)
  local r = table.pack(socket.select(...))
  for i = 1, 2 do
    local got = {}
    for k, v in pairs(r[i]) do got[#got + 1] = tostring(names[k] or k) .. "=" .. tostring(names[v] or v) end
    table.sort(got)
    r[i] = table.concat(got, ",")
  end
  p(table.unpack(r, 1, r.n))
end
sel(nil, nil, 0.02) sel({}, {}, 0) sel({c}, nil, 0.02) sel({c}, {c}, 0.02) sel(nil, {c, s}) sel({x = s}, nil, 0)
c:send("abc\ndef") arrives(s, "x") sel({s, server, c}, {c}, 1) s:receive(1) sel({s, server}, {c}) sel({s}, nil, 5)
s:receive() sel({s}) s:receive(3) sel({s}, nil, 0) socket.connect("127.0.0.1", port) sel({s, server}, nil, 5)
c:close() sel({s}, nil, 5) sel({c}, nil, 0) sel({socket.tcp()}, nil, 0)
local object = {getfd = function() return s:getfd() end} names[object] = "object"
sel({object}, nil, 5) s:receive() sel({object}, nil, 5)
local dirty = {getfd = function() return server:getfd() end, dirty = function() return true end} names[dirty] = "dirty"
server:accept() sel({dirty}, nil, 5)
for _, fd in ipairs{-1, "x", {}} do sel({{getfd = function() return fd end}}, nil, 0) end
sel({{}}, nil, 0) sel({"x"}, nil, 0)
p(pcall(socket.select, 5)) p(pcall(socket.select, {}, 5)) p(pcall(socket.select, {}, {}, "x")) p(pcall(socket.select, {5}))
p(pcall(socket.select, {{getfd = function() error("from getfd", 0) end}}, nil, 0))
local u = socket.udp() u:setsockname("127.0.0.1", 0) names[u] = "udp" sel({u}, {u}, 0)
local v = socket.udp() local _, uport = u:getsockname() v:sendto("datagram", "127.0.0.1", uport) sel({u, s}, nil, 5)
p((u:receive()))
""")

same("select: what stands in a list twice is reported once, unless it has data in its buffer", r"""
local s, c, server = pair()
local function sel(...) local r, w, err = socket.select(...) p(#r, #w, err, r[1] == s, w[1] == s, r[s], w[s]) end
sel({s, s}, {s, s}, 5) c:send("ab") arrives(s, "ab") sel({s, server, s, s}, {s, c, s}, 5) s:receive(1) sel({s, s}, {s, s}, 5)
local first, second = {getfd = function() return c:getfd() end}, {getfd = function() return c:getfd() end}
local _, w = socket.select(nil, {first, second}, 5) p(#w, w[1] == second)
""")

same("try, newtry, protect, skip", r"""
local function f(name, ...) p(name, pcall(...)) end
f("ok", socket.protect(function(...) return ... end), 1, 2, nil, 4) f("error", socket.protect(function() error("x", 0) end))
f("table", socket.protect(function() error({"x"}) end)) f("try", socket.protect(function() socket.try(nil, "message", 3) end))
f("false", socket.protect(function() socket.try(false, "message") end)) f("no message", socket.protect(function() socket.try() end))
f("passes", socket.try, 1, "message", 3) f("bare", socket.try, nil, "message")
local try = socket.newtry(function(...) p("finalizer", ...) end)
f("newtry", socket.protect(function() try(nil, "message") end)) f("newtry ok", try, 1, 2)
f("finalizer throws", socket.protect(socket.newtry(function() error("thrown", 0) end)), nil, "message")
local inner = socket.protect(function() socket.try(nil, "inner") end)
f("nested", socket.protect(function() local _, e = inner() socket.try(nil, "outer after " .. e) end))
f("skip", socket.skip, 1, 2, 3, 4) f("skip", socket.skip, 0, 2) f("skip", socket.skip, 5, 2) f("skip", socket.skip, "x")
local co = coroutine.wrap(socket.protect(function() coroutine.yield("yielded") socket.try(nil, "late") end))
p(co()) p(co())
""")

same("sources, sinks, choose", r"""
local ltn12 = require "ltn12"
local s, c = pair()
local function all(source) local t = {} p(ltn12.pump.all(source, (ltn12.sink.table(t)))) p(#t, table.concat(t):sub(1, 40)) end
c:send(("0123456789"):rep(500)) all(socket.source("by-length", s, 4999)) m(s, "receive", 1)
p(socket.sink("keep-open", c)("kept")) p(socket.sink(c)("open")) p(socket.sink(c)(nil)) p(socket.sink("close-when-done", c)("bye"))
p(socket.sink("close-when-done", c)(nil)) m(c, "send", "x") all(socket.source("until-closed", s)) m(s, "receive")
s, c = pair() c:send("rest") c:close() local source = socket.source(s) p(source.getfd() == s:getfd(), source.dirty())
p(source()) p(source()) p(source.getfd() == -1)
s, c = pair() c:send("short") c:close() all(socket.source("by-length", s, 10))
p(pcall(socket.source, "x")) p(pcall(socket.sink, "x")) p(socket.choose({default = function(...) return "default", ... end})(1, 2, 3))
p(socket.choose({a = function(...) return "a", ... end})("a", 1, 2)) p(socket.BLOCKSIZE)
""")

same("dns", r"""
local dns = socket.dns
p(dns.toip("127.0.0.1")) p(dns.toip("localhost")) p(dns.toip("nosuchhost.invalid")) p(dns.tohostname("127.0.0.1"))
p(dns.gethostname()) p(dns.getaddrinfo("127.0.0.1")) p(dns.getaddrinfo("::1")) p(dns.getaddrinfo("nosuchhost.invalid"))
p(dns.getaddrinfo("localhost")) p(dns.getnameinfo("127.0.0.1", 80)) p(dns.getnameinfo("127.0.0.1")) p(dns.getnameinfo(nil, "80"))
p(pcall(dns.getnameinfo)) p(pcall(dns.tohostname, {}) == false)
""")

same("pairs has all that the module has", r"""
local ours, theirs, names = {install = true, wrap = true}, {__unload = true}, {}
for name, value in pairs(socket) do
  if not ours[name] and not theirs[name] then names[#names + 1] = name .. " " .. type(value) end
end
table.sort(names) p(table.unpack(names))
""")

same("sleep, gettime, constants", r"""
local began = socket.gettime()
p(select("#", socket.sleep(0.05)), socket.gettime() - began >= 0.05) socket.sleep(-1) socket.sleep("0")
p(pcall(socket.sleep, "x")) p(pcall(socket.sleep)) p(math.type(socket.gettime()), math.abs(socket.gettime() - os.time()) < 2)
p(socket._VERSION, socket.BLOCKSIZE, socket._SOCKETINVALID, socket._DATAGRAMSIZE, socket.nosuchfield)
for _, name in ipairs{"tcp", "tcp4", "tcp6", "bind", "connect", "connect4", "connect6", "select", "gettime", "sleep", "try", "newtry",
  "protect", "skip", "choose", "source", "sink", "sourcet", "sinkt", "dns", "udp", "udp4", "udp6"} do p(name, type(socket[name])) end
p(require("socket") == socket, package.loaded["socket.core"] ~= nil)
""")

same("getfd and setfd: an object given away does not close", r"""
local s, c = pair()
local fd = c:getfd() p(select("#", c:setfd(socket._SOCKETINVALID))) p(c:getfd() == -1) m(c, "send", "x") c:close()
local other = socket.tcp4() other:close() other:setfd(fd) p(other:getfd() == fd) m(other, "getpeername")
other:close() s:settimeout(5) m(s, "receive") m(c, "setfd", "x")
""")

same("setfd: after the end, a reset, shutdown and close, another connection is a fresh one", r"""
local ends = {
  function(o, peer) peer:close() o:receive() end, function(o) o:shutdown("send") end, function(o) o:shutdown() end,
  function(o) o:close() end, function(o, peer) peer:setoption("linger", {on = true, timeout = 0}) peer:close() o:receive() end,
}
for _, finish in ipairs(ends) do
  local s, c, server, port = pair()
  finish(c, s)
  local other = assert(socket.connect("127.0.0.1", port)) local peer = server:accept()
  c:setfd(other:getfd()) other:setfd(socket._SOCKETINVALID)
  m(c, "send", "to the other\n") peer:settimeout(5) m(peer, "receive") peer:send("back\n") m(c, "receive") c:close() m(peer, "receive")
end
""")

same("setfd: linger goes with the descriptor", r"""
local s, c, server, port = pair()
local other = assert(socket.connect("127.0.0.1", port)) local peer = server:accept()
c:setoption("linger", {on = true, timeout = 0})
local fd = c:getfd() c:setfd(other:getfd()) other:setfd(-1) p(c:getoption("linger").on) c:close()
local taker = socket.tcp4() taker:close() taker:setfd(fd) p(taker:getoption("linger").on) taker:close()
peer:settimeout(5) s:settimeout(5) m(peer, "receive") m(peer, "getoption", "error") m(peer, "send", "x")
socket.select({s}, nil, 5) m(s, "getoption", "error")
""")

# --- a server program, and a peer: with the original it listens, with ours it runs as it is ---

TALKS = """
local server = assert(socket.bind("127.0.0.1", PORT))
local ip, port = server:getsockname()
p(ip, tonumber(port) == PORT)
local c = assert(server:accept())
%s
c:close()
"""


def by_original(text, said):
    port = mbtest.free_port()
    path, out = prepared(f"local PORT = {port}\n{TALKS % text}")
    process = mbtest.Process([LUA, path])
    mbtest.wait_listening(("127.0.0.1", port))
    with Client(("127.0.0.1", port)) as client:
        got = said(client)
    process.popen.wait(DEADLINE)
    return got, normal(mbtest.read_file(out)).splitlines()


def by_ours(text, said):
    client, conn = tcp_pair()
    path, out = prepared(f"local PORT = {conn.getsockname()[1]}\n{TALKS % text}")
    log = out + ".log"
    with client, open("/dev/null", "r+b") as null, open(log, "wb") as err:
        child = Child([HANDLE, "--style=luasocket", path], {0: null, 1: null, 2: err, 3: conn}, listen_fds=1)
        conn.close()
        got = said(client)
        equal(child.wait(), 0, f"exit status; log: {mbtest.read_file(log)!r}")
    return got, normal(mbtest.read_file(out)).splitlines()


def talks(name, text, said):
    @test("a server program: " + name)
    def _():
        theirs, own = by_original(text, said), by_ours(text, said)
        equal(own[0], theirs[0], "what the peer received")
        compare(theirs[1], own[1])


def says(data, finish=False):
    def talk(client):
        client.send(data)
        if finish:
            client.finish()
        return client.end()

    return talk


talks("echoes lines", 'for _ = 1, 3 do local line = c:receive() p(line) c:send(line .. "\\n") end', says("a\r\nb\nc\n"))
talks("reads a head and a body of a length", """
local length
repeat
  local line = c:receive()
  p(line)
  length = line:match("^Content%-Length: (%d+)") or length
until line == ""
p(c:receive(tonumber(length)))
c:send("HTTP/1.0 200 OK\\r\\n\\r\\nthanks")
""", says("POST / HTTP/1.0\r\nContent-Length: 11\r\n\r\nhello world"))
talks("reads to the end", 'p(c:receive("*a")) c:send("done") c:shutdown("send") p(c:receive("*a"))', says("all of it", True))
talks("sends much", 'p(c:send(("x"):rep(3000000)))', says(""))
talks("has both addresses", """
local ip, port, family = c:getpeername() p(ip, family, port > 0) ip, port, family = c:getsockname() p(ip, tonumber(port) == PORT, family)
""", says(""))
talks("sees no linger, and sets it", """
p(c:getoption("linger")) p(c:setoption("linger", {on = true, timeout = 5})) p(c:getoption("linger")) c:send("sent")
""", says(""))
talks("resets", 'c:receive() c:setoption("linger", {on = true, timeout = 0})', says("x\n"))
talks("times out", 'c:settimeout(0.1) p(c:receive()) p(c:receive(5)) c:send("late")', says("no end of line"))
talks("is left by its client", """
c:send("hello\\n") p(c:receive()) local err repeat local _ _, err = c:send(("x"):rep(100000)) until err p(err) p(c:send("x")) p(c:receive())
""", lambda client: (client.line(), client.send("bye\n"), client.reset())[0])

# --- where ours is better ---

differs("getstats and setstats of a master are as documented",
        "p((pcall(function() return socket.tcp():getstats() end)))", "false", "true")
differs("every option can be asked for",
        'p((pcall(function() return socket.tcp6():getoption("ipv6-v6only") end)))', "false", "true")
differs("a number option takes numbers",
        'p(pcall(socket.tcp4().setoption, socket.tcp4(), "recv-buffer-size", "x"))',
        "true 1.0", '''false "bad argument #3 to '?' (number expected, got string)"''')
differs("a port out of range is refused, not taken modulo 65536",
        'p(socket.bind("127.0.0.1", 65536))', "tcp{server}: ADDRESS", 'nil "service not supported for socket type"')
differs("a port that was calculated, a float, is that port",
        'p(socket.bind("127.0.0.1", 0.0))', 'nil "service not supported for socket type"', "tcp{server}: ADDRESS")
differs("the same of UDP",
        'p(socket.udp4():setsockname("127.0.0.1", 0.0))', 'nil "service not supported for socket type"', "1.0")
differs("socket.connect6 is for IPv6",
        'local s, c, server, port = pair() local o = socket.connect6("127.0.0.1", port) p(o and "connected")', '"connected"', "nil")
differs("the port of getsockname is a number, as documented",
        'local _, port = socket.bind("127.0.0.1", 0):getsockname() p(type(port))', '"string"', '"number"')
differs("a descriptor is an integer", "p(math.type(socket.tcp4():getfd()))", '"float"', '"integer"')
differs("select has no limit of 1024 descriptors",
        "p((pcall(socket.select, {{getfd = function() return 5000 end}}, nil, 0)))", "false", "true")
differs("closing with unread input is no reset", """
local s, c = pair()
s:send("unread") arrives(c, "x") c:send("answer") c:close() socket.sleep(0.05) s:receive(6) p(s:send("x"))
""", 'nil "closed" 0.0', "1.0 nil nil")

mbtest.main()
