#!/usr/bin/python3
"""mb.tarantool: fibers, channels, conditions, and socket.tcp_server, whose connections have a fiber each."""

import os
import socket
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtarantool import PRELUDE, good, run
from mbtest import HANDLE, Client, check, equal, free_port, script, test, tmp, until


@test("create and wrap run the function at once until it waits; new does when the caller waits")
def _():
    good(
        r"""
local log = ""
local function f(a, b) log = log .. a .. b fiber.sleep(0) log = log .. "!" end
local x = fiber.create(f, "a", "b") equal(log, "ab", "create") equal(x:status(), "suspended", "status")
fiber.wrap(f, "c", "d") equal(log, "abcd", "wrap")
fiber.new(f, "e", "f") equal(log, "abcd", "new")
fiber.sleep(0.01) equal(log, "abcd!!ef!", "all")
equal(x:status(), "dead", "status")
local inner
fiber.create(function() fiber.create(function() inner = fiber.status() end) end)
equal(inner, "running", "in one another")
says("usage: fiber.create", fiber.create, 5) says("usage: fiber.create", fiber.new)
"""
    )


@test("self, id, name, find, status, storage, info, tostring")
def _():
    good(
        r"""
local main = fiber.self()
equal(fiber.id(), main:id(), "id") equal(fiber.name(), "main", "name") equal(fiber.status(), "running", "status")
local inside
local f = fiber.create(function()
  inside = fiber.self() fiber.name("worker") fiber.self().storage.x = 5
  equal(main:status(), "suspended", "the main one") equal(fiber.status(), "running", "this one")
  equal(coroutine.wrap(function() return fiber.self() end)(), inside, "in a coroutine of its own")
  fiber.sleep(0.01)
end)
equal(inside, f, "self") equal(f:name(), "worker", "name") equal(fiber.find(f:id()), f, "find")
equal(f.storage.x, 5, "storage")
equal(fiber.info()[f:id()].name, "worker", "info") equal(tostring(f), "fiber: " .. f:id() .. " (worker)", "text")
f:name("other") equal(fiber.name(f), "other", "name")
says("too long", f.name, f, ("x"):rep(256)) f:name(("x"):rep(256), {truncate = true}) equal(#f:name(), 255, "cut off")
fiber.sleep(0.03) equal(f:status(), "dead", "status") equal(fiber.status(f), "dead", "status")
equal(fiber.info()[f:id()], nil, "info")
says("bad argument #1: expected a fiber or its number, got nil", fiber.kill)
says("the fiber is dead", function() return f.storage end) says("the fiber is dead", fiber.kill, f:id())
says("something that is no fiber", f.id, {}) says("usage: fiber.sleep", fiber.sleep)
equal(math.abs(fiber.time() - os.time()) < 2, true, "time")
equal(math.abs(fiber.time64() / 1e6 - fiber.time()) < 1, true, "time64")
equal(math.abs(fiber.clock() - clock()) < 1, true, "clock")
equal(math.abs(fiber.clock64() / 1e6 - clock()) < 1, true, "clock64")
"""
    )


@test("sleep and yield take turns")
def _():
    good(
        r"""
local log = {}
for _, name in ipairs{"a", "b"} do
  fiber.create(function() for i = 1, 3 do log[#log + 1] = name .. i fiber.yield() end end)
end
for _ = 1, 5 do fiber.yield() end
equal(table.concat(log, " "), "a1 b1 a2 b2 a3 b3", "turns")
takes(0.1, fiber.sleep, 0.1)
takes(0.1, function() -- side by side
  local left = 10
  for _ = 1, 10 do fiber.create(function() fiber.sleep(0.1) left = left - 1 end) end
  while left > 0 do fiber.sleep(0.001) end
end)
"""
    )


@test("join: results, errors, timeouts; only what is joinable")
def _():
    good(
        r"""
local f = fiber.new(function(...) fiber.sleep(0.02) return ... end, 1, nil, 3)
f:set_joinable(true)
equal(f:status(), "suspended", "status")
local r = table.pack(f:join())
equal(r.n, 4, "count") equal(r[1], true, "good") equal(r[2], 1, "first") equal(r[4], 3, "third")
equal(f:status(), "dead", "status")
says("the fiber is dead", f.join, f)
f = fiber.new(error, "oops", 0) f:set_joinable(true)
local good, err = f:join() equal(good, false, "bad") equal(err, "oops", "error")
f = fiber.create(fiber.yield) says("not joinable", f.join, f)
f = fiber.new(fiber.sleep, 0.2) f:set_joinable(true)
equal(takes(0.05, f.join, f, 0.05), false, "timeout") equal(f:join(), true, "then")
f = fiber.new(function() return 5 end) f:set_joinable(true)
local got fiber.create(function() got = select(2, f:join()) end) fiber.sleep(0.01) equal(got, 5, "in a fiber")
f = fiber.new(function() end) f:set_joinable(true) fiber.sleep(0.01)
equal(f:status(), "suspended", "ended, and not joined")
"""
    )


@test("cancel and kill: a wait ends with an error, a new fiber never starts; nothing is logged")
def _():
    good(
        r"""
local a, b = pair()
local log = {}
for name, f in pairs{
  sleep = function() fiber.sleep(100) end, read = function() a:read(5) end, readable = function() a:readable() end,
  yield = function() while true do fiber.yield() end end, cond = function() fiber.cond():wait() end,
  channel = function() fiber.channel():get() end, accept = function() listener():accept() end,
} do
  local x = fiber.create(function() local good, err = pcall(f) log[name] = err f() end)
  fiber.yield()
  if name == "read" then fiber.kill(x:id()) else x:cancel() end
  fiber.sleep(0.01)
  equal(tostring(log[name]):find("fiber is cancelled", 1, true) ~= nil, true, name .. ": " .. tostring(log[name]))
  equal(x:status(), "dead", name)
  says("the fiber is dead", x.cancel, x)
end
for _, name in ipairs{"read", "recv", "sysread", "recvfrom"} do
  local x = fiber.new(function() b[name](b, 5) end) x:set_joinable(true) fiber.yield() x:cancel()
  equal(select(2, x:join()), "fiber is cancelled", name)
end
local ran
fiber.new(function() ran = true end):cancel() fiber.sleep(0.01) equal(ran, nil, "never started")
local x = fiber.create(function() fiber.self():cancel() ran = true end) equal(x:status(), "dead", "itself")
equal(ran, nil, "itself")
b:write("12345") equal(a:read(5), "12345", "the socket is as it was")
says("the main program", fiber.self().cancel, fiber.self())
"""
    )


@test("a message that a fiber has been given is not lost when it is cancelled before it runs")
def _():
    good(
        r"""
local channel = fiber.channel(0)
local got, put, ended
local f = fiber.create(function() got = channel:get() fiber.sleep(1) ended = true end)
equal(channel:put("message"), true, "put")
f:cancel() fiber.sleep(0.01)
equal(got, "message", "get") equal(ended, nil, "its next wait throws") equal(f:status(), "dead", "status")
f = fiber.create(function() put = channel:put("other") fiber.sleep(1) ended = true end)
equal(channel:get(), "other", "get")
f:cancel() fiber.sleep(0.01)
equal(put, true, "put") equal(ended, nil, "its next wait throws")
f = fiber.create(function() got = channel:get() end) f:cancel() fiber.sleep(0.01)
equal(f:status(), "dead", "status") equal(channel:has_readers(), false, "readers") equal(channel:put("x", 0), false, "nobody gets it")
"""
    )


@test("a wait where a fiber cannot yield, in what gsub calls and in a finalizer, runs the others, and it goes on")
def _():
    good(
        r"""
local turns, done = 0, 0
local ticker = fiber.create(function() while true do fiber.sleep(0.005) turns = turns + 1 end end)
local a, b = pair()
local x = fiber.new(function()
  ("ab"):gsub(".", function(c) takes(0.02, fiber.sleep, 0.02) a:write(c) equal(b:read(1), c, "read") end)
  equal(turns > 2, true, "the others run")
  setmetatable({}, {__gc = function() takes(0.02, fiber.sleep, 0.02) done = done + 1 end})
  collectgarbage() collectgarbage()
  equal(done, 1, "the finalizer")
  fiber.sleep(0.01)
  return "end"
end)
x:set_joinable(true)
equal(select(2, x:join()), "end", "join")
ticker:cancel()
"""
    )


@test("finalizers that wait and wake, at any time, do not disturb the waits of others")
def _():
    good(
        r"""
collectgarbage("setpause", 1) collectgarbage("setstepmul", 100000)
local done, cond = 0, fiber.cond()
for _ = 1, 40 do
  fiber.create(function()
    for j = 1, 25 do
      setmetatable({}, {__gc = function()
        if j % 5 == 0 then fiber.sleep(0) elseif j % 5 == 1 then cond:broadcast() elseif j % 5 == 2 then fiber.create(fiber.sleep, 0.001) end
      end})
      if j % 3 == 0 then cond:wait(0.001) else fiber.sleep(j % 3 * 0.001) end
    end
    done = done + 1
  end)
end
local deadline = clock() + 30
while done < 40 and clock() < deadline do fiber.sleep(0.005) end
equal(done, 40, "fibers that came to their end")
"""
    )


@test("an error in a fiber is logged, with where it was, and the others go on")
def _():
    output = run(
        "fiber.create(function() fiber.name('bad') fiber.sleep(0) local x = nil + 1 end)\n"
        "fiber.create(error, {}) fiber.sleep(0.01) print('on')"
    )
    lines = output.splitlines()
    bad = next((line for line in lines if "(bad): " in line), "")
    check("attempt to perform arithmetic on a nil value" in bad, output)
    check("in function <" in output and "?" not in output, f"traceback of the script's own: {output!r}")
    equal(lines[-1], "on", "what follows")
    check(lines[0].startswith("mb-handle: fiber ") and "(lua): error object: {}" in lines[0], output)


@test("channel: capacity, order, timeouts, close, who waits")
def _():
    good(
        r"""
local c = fiber.channel(2)
equal(c:is_empty(), true, "empty") equal(c:put("a"), true, "put") equal(c:put("b"), true, "put")
equal(c:is_full(), true, "full")
equal(c:count(), 2, "count") equal(takes(0.03, c.put, c, "c", 0.03), false, "no room") equal(c:get(), "a", "get")
local put fiber.create(function() c:put("c") put = c:put("d") end) equal(c:has_writers(), true, "writers")
equal(c:get(), "b", "get") equal(c:get(), "c", "get") equal(c:get(1), "d", "get") fiber.yield() equal(put, true, "put")
equal(takes(0.03, c.get, c, 0.03), nil, "nothing") equal(c:is_closed(), false, "closed")
local got = "none" fiber.create(function() got = c:get() end) equal(c:has_readers(), true, "readers")
c:close() fiber.yield() equal(got, nil, "closed") equal(c:put("x"), false, "closed") equal(c:get(), nil, "closed")
equal(c:is_closed(), true, "closed")
c = fiber.channel() -- none in between
local sum = 0
fiber.create(function() for i = 1, 100 do c:put(i) end c:close() end)
for _ = 1, 100 do sum = sum + c:get() end equal(sum, 5050, "all")
local f fiber.create(function() f = c:get() end) equal(f, nil, "closed")
says("nobody is left", function() fiber.channel():get() end)
"""
    )


@test("cond: signal wakes one, broadcast all, a timeout is false")
def _():
    good(
        r"""
local c, woken = fiber.cond(), 0
for _ = 1, 5 do fiber.create(function() if c:wait() then woken = woken + 1 end end) end
c:signal() fiber.yield() equal(woken, 1, "one") c:broadcast() fiber.yield() equal(woken, 5, "all")
equal(takes(0.03, c.wait, c, 0.03), false, "timeout")
fiber.create(function() fiber.sleep(0.01) c:signal() end) equal(c:wait(5), true, "signalled")
"""
    )


@test("a socket that a fiber closes ends the waits of others, though its number is somebody else's at once")
def _():
    good(
        r"""
local function try(what, s, wait)
  local result, number = "waits", nil
  fiber.create(function() result = wait(s) number = s:errno() end)
  equal(result, "waits", what)
  local fd = s:fd() s:close()
  local other = pair() -- takes the number
  fiber.sleep(0.01)
  equal(result == nil or result == false, true, what .. " returns") equal(number, errno.EBADF, what)
end
for _, name in ipairs{"read", "readline", "sysread", "recv", "readable"} do
  local a, b = pair() local keep = b
  a:nonblock(false)
  try(name, a, a[name])
end
local ms = listener() try("accept", ms, ms.accept)
local a, b = pair() local big = ("x"):rep(20000000)
try("write", a, function() return a:write(big) end)
-- Outside of fibers too.
a, b = pair() fiber.create(function() fiber.sleep(0.02) a:close() end) equal(a:read(5), nil, "read")
equal(a:errno(), errno.EBADF, "errno")
"""
    )


# ---- tcp_server ----

SERVER = (
    "return function()\n"
    + PRELUDE
    + r"""
local host, port = 'HOST', PORT
local s, address = socket.tcp_server(host, port, {
  name = "greeter",
  prepare = function(s, a) print("prepare", a.family, s:fd() > 2)
  s:setsockopt('SOL_SOCKET', 'SO_REUSEADDR', true) return 5 end,
  handler = function(s, from)
    s:write("hello\n")
    local line = s:readline()
    if line == "fail\n" then error("as told") end
    if line == "stop\n" then server:close() end
    s:write(fiber.name() .. " " .. from.family .. " " .. line)
  end,
})
server = s
print(address.host, address.family)
mb.run()
end
"""
)


def server_at(host, port, where):
    process = mbtest.Process([HANDLE, script(SERVER.replace("HOST", host).replace("PORT", str(port)))])
    until(lambda: mbtest.listening(where) or process.popen.poll() is not None, "the server listens")
    return process


def name_at(client):
    """The name of the fiber that serves this client."""
    return "greeter/127.0.0.1:%d" % client.sock.getsockname()[1]


@test("tcp_server: many at a time, a handler that fails, the end of the listener")
def _():
    port = free_port()
    where = ("127.0.0.1", port)
    process = server_at("localhost", port, where)
    clients = [Client(where) for _ in range(50)]
    for client in clients:
        equal(client.line(), "hello", "greeting")
    for i, client in reversed(list(enumerate(clients))):
        client.send(f"line {i}\n")
        equal(client.end(), (f"{name_at(client)} AF_INET line {i}\n".encode(), "eof"), "answer")
    with Client(where) as client:
        client.send("fail\n")
        equal(client.end(), (b"hello\n", "eof"), "what a handler that fails has sent")
    with Client(where) as client:
        client.send("stop\n")
        equal(client.end(), (f"hello\n{name_at(client)} AF_INET stop\n".encode(), "eof"), "the last one")
    equal(process.popen.wait(mbtest.DEADLINE), 0, "exit status")
    text = process.text()
    check("as told" in text and "stack traceback" in text, f"the log: {text!r}")
    check("prepare\tAF_INET\ttrue\n" in text and "127.0.0.1\tAF_INET\n" in text, f"what it prints: {text!r}")


@test("tcp_server on a Unix socket: a file that nobody listens at is replaced, its own is removed")
def _():
    path = tmp("server.sock")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    process = server_at("unix/", f"'{path}'", path)
    other = run("print(socket.tcp_server('unix/', arg[1], print))", path)
    equal(other, "nil\tAddress already in use\n", "a second one")
    with Client(path) as client:
        client.send("stop\n")
        equal(client.end()[0], b"hello\ngreeter/unix/: AF_UNIX stop\n", "answer")
    equal(process.popen.wait(mbtest.DEADLINE), 0, f"exit status: {process.text()!r}")
    check(not os.path.exists(path), "the file is removed")


@test("tcp_server: what it says when it cannot")
def _():
    good(
        r"""
local ms = listener()
local s, message = socket.tcp_server('127.0.0.1', ms:name().port, print)
equal(s, nil, "in use") equal(message, "Address already in use", "message")
s, message = socket.tcp_server('nosuch.invalid', 1, print)
equal(s, nil, "no name") equal(type(message), "string", "message")
says("usage: tcp_server", socket.tcp_server, '127.0.0.1', 0)
says("usage: tcp_server", socket.tcp_server, '127.0.0.1', 0, {})
for what, f in pairs{
  ["usage: tcp_server"] = function() local _ = socket.tcp_server('127.0.0.1', 0) end,
  ["usage: socket(domain"] = function() local _ = socket({}, 1) end,
  ["timeout: expected a number of seconds, got string"] = function() local _ = fiber.cond():wait("x") end,
} do
  local _, err = pcall(f)
  equal(err:match("^[^:?]+:%d+: (.*)") and err:find(what, 1, true) ~= nil, true, "the caller's line in " .. err)
end
"""
    )


mbtest.main()
