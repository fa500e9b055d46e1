#!/usr/bin/python3
"""The interfaces of other libraries with memory that runs out at every point in turn: the process ends with status 0 and
the whole answer, or with 70 and at most a part of it, never by a signal. $MB_FAILALLOC is failalloc.c's shared object."""

import os
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import Child, check, equal, script, tcp_pair, test
from oomlib import HANDLE, HIT, LOG, POINTS_MAX, environment, note, points, report

LINES = b"first\n\nthird\n" + b"long" * 5000 + b"\n" + b"x\n" * 20 + b"last"

# Each says "begun" when it begins: what is before that, other sweeps have.

# Lines of the connection, by way of a connection to ourselves, to the connection.
LUASOCKET = script(
    r"""
return function(connection)
  print("begun")
  local socket = require("mb.luasocket").install()
  local server = assert(socket.bind("127.0.0.1", 0))
  local _, port = server:getsockname()
  local near = assert(socket.connect("127.0.0.1", port))
  local far = assert(server:accept())
  assert(near:setoption("linger", {on = false, timeout = 0}) and far:getpeername())
  local c = socket.wrap(connection)
  c:settimeout(20)
  local try = socket.newtry(function() near:close() end)
  local pass = socket.protect(function(text)
    try(near:send(text))
    assert(socket.select({far, server}, {near}, 20)[1] == far)
    return try(far:receive(#text + 1, ">"))
  end)
  repeat
    local line, err, rest = c:receive("*l", "<")
    assert(line or err == "closed", err)
    local text = assert(pass(line and line .. "\n" or rest))
    assert(text:sub(1, 2) == "><", text)
    assert(c:send(text, 3))
  until not line
  near:close()
  assert(select(2, far:receive()) == "closed")
end
"""
)

# The same by way of a fiber, a TCP connection to ourselves and datagrams.
TARANTOOL = script(
    r"""
return function(connection)
  print("begun")
  local mb = require "mb.tarantool"
  local socket, fiber, errno = mb.socket, mb.fiber, mb.errno
  local list = assert(socket.getaddrinfo("127.0.0.1", 80, nil, {protocol = "tcp", flags = {"AI_PASSIVE"}}))
  local listener = assert(socket(list[1].family, list[1].type, list[1].protocol), "socket")
  assert(listener:bind("127.0.0.1", 0) and listener:listen(5), "bind")
  local near = assert(socket.tcp_connect("127.0.0.1", listener:name().port))
  local far, from = listener:accept()
  assert(far and from.host == "127.0.0.1" and near:getsockopt("SOL_SOCKET", "SO_TYPE") == 1, "accept")
  local a, b = socket("AF_INET", "SOCK_DGRAM", "udp"), socket("AF_INET", "SOCK_DGRAM", "udp")
  assert(a and b and a:bind("127.0.0.1"), "datagrams")
  local s = mb.wrap(connection)
  local channel = fiber.channel(1)
  local function read_all()
    repeat
      local line = assert(s:readline(65536, {"\r\n\r\n", "\n"}, 20), "readline")
      assert(b:sendto("127.0.0.1", a:name().port, line) and a:recvfrom() == line, errno.strerror())
      assert(near:write(line, 20), "write")
      if line ~= "" then assert(far:read(#line, 20) == line, "read") end
      channel:put(line)
    until line == ""
  end
  local reader = fiber.new(function()
    local good, err = pcall(read_all)
    channel:close() -- nobody need wait for what does not come
    if not good then error(err, 0) end
  end)
  reader:set_joinable(true)
  local line
  repeat
    line = channel:get(20)
    if line == nil then assert(reader:join(20)) error("no line") end
    assert(s:write(line), "write")
  until line == ""
  assert(reader:join())
  near:close()
  assert(far:read() == "", "the end")
end
"""
)

# A program for Lua 5.1, with two listeners, which polls.
PROGRAM = script(
    r"""
print("begun")
module("program", package.seeall)
setfenv(1, setmetatable({}, {__index = getfenv(1)}))
local server, other = assert(socket.bind("*", 0)), assert(socket.bind("127.0.0.1", 1))
server:settimeout(0)
while true do
  local ready = assert(socket.select({other, server}, nil, 0.001))
  local client = table.getn(ready) > 0 and assert(server:accept())
  if client then
    client:send(assert(client:receive("*a")))
    server:settimeout()
    server:accept() -- ends the program
  end
end
"""
)
STYLE = script(f'return require("mb.style").program("luasocket", "{PROGRAM}")')

BODY = b"content " * 2000
REQUESTS = (
    b"POST /one?q HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    + b"PUT /two HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    + b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"
)
RESPONSES = (
    b"HTTP/1.1 200 OK\r\nx-path: /one?q\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY
    + b"HTTP/1.1 200 OK\r\nx-path: /two\r\nconnection: close\r\n\r\n" + BODY
)
HTTP_SERVER = script(
    r"""
local http_server = require "mb.http_server"
local http_headers = require "mb.http_server.headers"
local function reply(_, stream)
  local request = assert(stream:get_headers(20))
  local response = http_headers.new()
  response:append(":status", "200")
  response:append("x-path", request:get(":path"))
  local body = assert(stream:get_body_as_string(20))
  if request:has("content-length") then response:upsert("content-length", tostring(#body)) end
  assert(stream:write_headers(response, false, 20))
  assert(stream:write_chunk(body, true, 20))
end
return function(socket)
  print("begun")
  http_server.wrap(socket, {onstream = reply}):loop()
end
"""
)


# Lines of the connection as base64, as digits and signed, and back.
CRYPTO = script(
    r"""
return function(socket)
  print("begun")
  local cookie, crypto = require "mb.cookie", require "mb.crypto"
  local keys = {crypto.random_bytes(32), crypto.hex(crypto.random_bytes(16))}
  for line in function() return socket:read(nil, "\n") end do
    if line == "" then break end
    local text = assert(crypto.from_hex(crypto.hex(line)))
    text = assert(crypto.from_base64(crypto.base64(text)))
    if #text < 1000 then text = assert(cookie.verify(keys, "line", cookie.sign(keys[2], "line", text))) end
    assert(cookie.csrf_check(keys, "session", cookie.csrf_token(keys, "session")))
    socket:write(text)
  end
end
"""
)


def run(path, said, env):
    client, conn = tcp_pair()
    with client, conn, open(LOG, "wb") as log:
        client.send(said)
        client.finish()
        child = Child([HANDLE, path], {0: conn, 1: log, 2: log}, env)
        conn.close()
        data, how = client.end()
        return child.wait(), data, how


UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\n"


def fault_of(answer, status, data, how):
    """What is wrong with the end of a run, or None."""
    if status not in (0, 70):
        return f"status {status}"
    whole, instead, rest = data.partition(UNAVAILABLE)
    if instead and rest.endswith(b"\r\n\r\n") and status == 70:
        data, how = whole, "reset"  # what HTTP has for it, and a healthy end
    if not answer.startswith(data):
        return f"wrong bytes: {mbtest.short(data)}"
    if status == 0 and (data != answer or how != "eof"):
        return f"status 0, but {len(data)} of {len(answer)} bytes, then {how}"
    if status == 70 and how != "reset":
        return "status 70, but the client saw a healthy end"
    return None


def sweep(path, said, answer, mode):
    # Where there is no memory at all, Lua cannot even call a finalizer: what that would free is left to the end.
    env = environment(mode, finalizers=mode != "from")

    def has_begun(n):
        run(path, said, env | {"FAILALLOC_AT": str(n), "FAILALLOC_MODE": "from"})
        return "begun" in mbtest.read_file(LOG)

    first = next(n for n in range(64, POINTS_MAX, 64) if has_begun(n)) - 64
    os.unlink(HIT)
    faults = []
    for n in points(first):
        check(n < POINTS_MAX, f"N = {n}: still hit")
        result = run(path, said, env | {"FAILALLOC_AT": str(n)})
        note(faults, f"N = {n}", fault_of(answer, *result))
        if not os.path.exists(HIT):
            equal(result[0], 0, f"N = {n}, which was not hit: status")
            check(n > first + 100, f"N = {n} was not hit: the shim does not work")
            break
        os.unlink(HIT)
    report(faults)


for name, path, said, answer in (
    ("mb.luasocket", LUASOCKET, LINES, LINES),
    ("mb.tarantool", TARANTOOL, LINES, LINES),
    ("mb.http_server", HTTP_SERVER, REQUESTS, RESPONSES),
    ("mb.crypto and mb.cookie", CRYPTO, LINES, LINES),
    ("a program with --style", STYLE, LINES, LINES),
):
    for mode, what in (("once", "one allocation fails"), ("from", "all from one allocation on fail")):
        test(f"{name}: {what}, each in turn")(lambda job=(path, said, answer, mode): sweep(*job))

mbtest.main()
