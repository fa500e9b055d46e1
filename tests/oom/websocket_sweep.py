#!/usr/bin/python3
"""A WebSocket where memory runs out at every point in turn, also in the middle of what is received and sent, while
finalizers of the script receive and send: whole frames of whole messages come, in their order, and then a close or a
reset; the status is 0 or 70. The same with messages that are compressed, each of which refers to those before it."""

import os
import random
import sys
import zlib

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbhttp import Captured, Malformed
from mbtest import Child, check, equal, script, tcp_pair, test
from mbwebsocket import (
    BINARY, CLOSE, CONTINUATION, OFFER, PONG, RSV1, TEXT, Deflate, Peer, binary, close, code, frame, ping, text,
    upgrade,
)  # fmt: skip
from oomlib import HANDLE, HIT, LOG, POINTS_MAX, environment, note, points, report

LARGE = b"x" * 150000

# It loads everything before, and says "begun" then. With "trash", objects whose finalizers receive and send die all the
# time; each makes its successor. With "deflate", everything is compressed.
APP = script(r"""
local http = require "moonbridge_http"
local how, filled = ...
local trashes, deflates = (how or ""):find("trash"), (how or ""):find("deflate")
for _, name in ipairs {"blocked", "closing", "failure", "headers", "members", "websocket", "waiting"} do
  require("mb.http." .. name)
end
return http.generate_handler({drain_timeout = 0.2}, function(request)
  local ws = request:upgrade_websocket {close_timeout = 0.2, deflate = deflates and {min_size = 0} or false}
  print("begun")
  local function trash()
    setmetatable({}, {__gc = function()
      if ws.state ~= "open" then return end
      local message, kind = ws:receive_nb()
      if message then ws:send_nb("taken by a finalizer") end
      ws:send_nb("from a finalizer")
      trash()
    end})
  end
  if trashes then for _ = 1, 3 do trash() end end
  if filled then -- with garbage: a large message finds no room before that is collected
    collectgarbage("stop")
    local i = 0
    while i < 4000 and collectgarbage("count") * 1024 < tonumber(filled) do
      i = i + 1
      local _ = ("g"):rep(500) .. i
    end
  end
  for message, kind in ws:messages() do
    if kind == "text" then
      assert(ws:send_call(function() end, message))
    else
      local send = #message < 1000 and ws.write_binary or ws.send_binary
      assert(send(ws, message))
    end
  end
end)
""")

SAID = b"".join(
    (
        upgrade(),
        text("a"),
        text("b" * 3000),
        binary(LARGE[:70000], final=False) + ping(b"p") + frame(CONTINUATION, LARGE[70000:]),
        binary(LARGE),
        text(""),
        close(4000),
    )
)
# It hardly becomes smaller, and what a finalizer sends refers to its end.
NOISY = random.Random(1).randbytes(6000).hex().encode() + b"from a finalizer"
DEFLATE = Deflate()


def in_two(data):
    packed = DEFLATE.pack(data)
    return binary(packed[:70], final=False, bits=RSV1) + ping(b"p") + frame(CONTINUATION, packed[70:])


PACKED = b"".join(
    (
        upgrade(OFFER),
        DEFLATE.text("a"),
        DEFLATE.text("b" * 3000),
        in_two(NOISY),
        DEFLATE.binary(NOISY),
        DEFLATE.text(""),
        close(4000),
    )
)
MESSAGES = [(TEXT, b"a"), (TEXT, b"b" * 3000), (BINARY, LARGE), (BINARY, LARGE), (TEXT, b"")]
PACKED_MESSAGES = [(kind, NOISY if data == LARGE else data) for kind, data in MESSAGES]
EXTRA = [(TEXT, b"from a finalizer"), (TEXT, b"taken by a finalizer"), (PONG, b"p")]


def deflates(arguments):
    return "deflate" in "".join(arguments)


def messages_of(arguments):
    return PACKED_MESSAGES if deflates(arguments) else MESSAGES


def run(env=(), options=(), arguments=()):
    client, conn = tcp_pair()
    with client, conn, open(LOG, "wb") as log:
        client.send(PACKED if deflates(arguments) else SAID)
        client.finish()
        child = Child([HANDLE, "--log-level", "info", *options, APP, *arguments], {0: conn, 1: log, 2: log}, dict(env))
        conn.close()
        came, how = client.end()
        return child.wait(), came, how


def log_text():
    return mbtest.without_ends(mbtest.read_file(LOG))


def frames_of(came):
    """Returns the status of the handshake's response, and the frames behind it; None at the end for a part of one."""
    with Captured(came) as captured:
        if not captured.buffer:
            return None, []
        response = captured.response()
        status, packed = response.status, response.value("Sec-WebSocket-Extensions")
        peer, frames = Peer(captured, Deflate() if packed else None), []
        while captured.buffer:
            try:
                frames.append(peer.read())
            except Malformed as malformed:
                check("end of the output" in str(malformed), malformed)
                frames.append(None)
                captured.buffer = b""
            except zlib.error as error:
                raise mbtest.Failed(f"frame {len(frames)}: {error}") from None
        return status, frames


def fault_of(result, arguments=()):
    """What is wrong with the end of a run, or None."""
    status, came, how = result
    # There was no memory for the library: the client has compressed its messages nevertheless.
    declined = deflates(arguments) and b"Sec-WebSocket-Extensions" not in came
    if status not in (0, 70):
        return f"status {status}"
    try:
        answered, frames = frames_of(came)
    except mbtest.Failed as failed:
        return f"status {status}, {how}: {failed}"
    if answered == 500 or answered is None:
        return None if status == 70 else f"status {status} and {answered}"
    if frames and frames[-1] is None:
        frames.pop()
        if how != "reset" and status == 0:
            return "half a frame, and status 0"
    closes = [f for f in frames if f[0] == CLOSE]
    if declined and closes == [(CLOSE, code(1002))] == frames:
        return None
    if closes and (len(closes) > 1 or frames[-1] != closes[0]):
        return f"frames behind a close: {mbtest.short(frames)}"
    rest = iter(messages_of(arguments))
    for one in frames:
        if one[0] != CLOSE and one not in EXTRA and one not in rest:
            return f"a frame that is not expected: {mbtest.short(one)} of {len(one[1])} bytes"
    if status == 0 and frames[-1:] != [(CLOSE, code(4000))]:
        return f"status 0, and the end is {mbtest.short(frames[-1:])}"
    if status == 70 and closes and closes[0][1] not in (code(1011), code(4000)):
        return f"status 70, and the close {closes}"
    return None


def begin(arguments):
    """A point shortly before the handshake, in allocations."""
    for n in range(32, POINTS_MAX, 32):
        run(environment("from", finalizers=False) | {"FAILALLOC_AT": str(n)}, arguments=arguments)
        if "begun" in log_text():
            break
    os.unlink(HIT)
    return n - 64


def sweep(mode, arguments=()):
    status, came, how = run(arguments=arguments)
    equal((status, how), (0, "eof"), f"with memory; log {log_text()}")
    if "trash" not in "".join(arguments):
        want = [*messages_of(arguments), (CLOSE, code(4000))]
        equal([f for f in frames_of(came)[1] if f[0] != PONG], want, "the frames")
    env = environment(mode, finalizers=mode == "once")
    first, faults, failures = begin(arguments), [], 0
    for n in points(first):
        check(n < POINTS_MAX, f"N = {n}: still hit")
        result = run(env | {"FAILALLOC_AT": str(n)}, arguments=arguments)
        if not os.path.exists(HIT):
            check(n > first + 15, f"N = {n} was not hit: the shim does not work")
            break
        os.unlink(HIT)
        note(faults, f"N = {n}", fault_of(result, arguments))
        failures += result[0] == 70
    mbtest.diagnose(f"{n - first} points, {failures} with status 70")
    report(faults)


test("one allocation fails, each in turn")(lambda: sweep("once"))
test("all from one allocation on fail, each in turn")(lambda: sweep("from"))
test("one allocation fails, each in turn, with compression")(lambda: sweep("once", ("deflate",)))
test("all from one allocation on fail, with compression")(lambda: sweep("from", ("deflate",)))
test("one allocation fails, while finalizers receive and send")(lambda: sweep("once", ("trash",)))
test("all from one allocation on fail, while finalizers receive and send")(lambda: sweep("from", ("trash",)))
test("one allocation fails, with both")(lambda: sweep("once", ("deflate trash",)))


@test("memory that is full of garbage, whose finalizers receive and send, is enough for all messages")
def _():
    faults, good = [], 0
    limit = 1500 * 1024
    for gap in range(4 * 1024, 400 * 1024, 8 * 1024):
        arguments = ("deflate trash" if gap // 8192 % 2 else "trash", str(limit - gap))
        result = run(options=[f"--memory-limit={limit}"], arguments=arguments)
        note(faults, f"gap {gap}", fault_of(result, arguments))
        good += result[0] == 0
    check(good > 10, f"enough in {good} runs")
    report(faults)


@test("--memory-limit in steps, with finalizers and without")
def _():
    faults, good = [], 0
    for arguments in ((), ("trash",), ("deflate trash",)):
        for limit in points(300 * 1024, 8 * 1024):
            if limit > 1200 * 1024:
                break
            result = run(options=[f"--memory-limit={limit}"], arguments=arguments)
            if "begun" in log_text():
                note(faults, f"limit {limit} {arguments}", fault_of(result, arguments))
                good += result[0] == 0
    check(good > 0, "no limit is enough")
    report(faults)


mbtest.main()
