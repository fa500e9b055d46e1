#!/usr/bin/python3
"""mb.luasocket with memory that runs out at every point in turn: the process ends with status 0 and the whole answer, or
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

# Lines of the connection, by way of a connection to ourselves, to the connection.
SCRIPT = script(
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
