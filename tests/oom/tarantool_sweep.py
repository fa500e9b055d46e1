#!/usr/bin/python3
"""mb.tarantool with memory that runs out at every point in turn: the process ends with status 0 and the whole answer, or
with 70 and at most a part of it, never by a signal. $MB_FAILALLOC is failalloc.c's shared object."""

import itertools
import os
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import HANDLE, Child, check, equal, script, tcp_pair, test
from oomlib import HIT, LOG, POINTS_MAX, environment, note, report

ANSWER = b"first\n\nthird\n" + b"long" * 5000 + b"\n" + b"x\n" * 20 + b"last"

# Lines of the connection, by way of a fiber, a TCP connection to ourselves and datagrams, to the connection.
SCRIPT = script(
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


def run(env):
    client, conn = tcp_pair()
    with client, conn, open(LOG, "wb") as log:
        client.send(ANSWER)
        client.finish()
        child = Child([HANDLE, SCRIPT], {0: conn, 1: log, 2: log}, env)
        conn.close()
        data, how = client.end()
        return child.wait(), data, how


def fault_of(status, data, how):
    """What is wrong with the end of a run, or None."""
    if status not in (0, 70):
        return f"status {status}"
    if not ANSWER.startswith(data):
        return f"wrong bytes: {mbtest.short(data)}"
    if status == 0 and (data != ANSWER or how != "eof"):
        return f"status 0, but {len(data)} of {len(ANSWER)} bytes, then {how}"
    if status == 70 and how != "reset":
        return "status 70, but the client saw a healthy end"
    return None


def sweep(mode):
    # Where there is no memory at all, Lua cannot even call a finalizer: what that would free is left to the end.
    env = environment(mode, finalizers=mode != "from")

    def has_begun(n):
        run(env | {"FAILALLOC_AT": str(n), "FAILALLOC_MODE": "from"})
        return "begun" in mbtest.read_file(LOG)

    # What is before that, other sweeps have.
    first = next(n for n in range(64, POINTS_MAX, 64) if has_begun(n)) - 64
    os.unlink(HIT)
    faults = []
    for n in itertools.count(first):
        check(n < POINTS_MAX, f"N = {n}: still hit")
        result = run(env | {"FAILALLOC_AT": str(n)})
        note(faults, f"N = {n}", fault_of(*result))
        if not os.path.exists(HIT):
            equal(result[0], 0, f"N = {n}, which was not hit: status")
            check(n > first + 100, f"N = {n} was not hit: the shim does not work")
            break
        os.unlink(HIT)
    report(faults)


test("one allocation fails, each in turn")(lambda: sweep("once"))
test("all from one allocation on fail, each in turn")(lambda: sweep("from"))

mbtest.main()
