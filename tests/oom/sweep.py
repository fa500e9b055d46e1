#!/usr/bin/python3
"""Memory that runs out at every point in turn, and a limit that is met at every point in turn: the process ends with
status 0 and the whole answer, or with 70 and at most a part of it, never by a signal. $MB_FAILALLOC is failalloc.c's
shared object."""

import itertools
import os
import socket
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import Child, Client, check, equal, script, tcp_pair, test
from oomlib import HANDLE, HIT, LOG, POINTS_MAX, environment, note, points, report

# Short lines, one that makes the input buffer and the output queue grow, and a last one without its end.
ANSWER = b"first\n\nthird\n" + b"long" * 5000 + b"\n" + b"x\n" * 100 + b"last"
# The memory that fails is noted in a file.
WISHES = '{read = {"/etc"}, write = {"%s"}, connect = {"tcp:80", "/run/x", "dns"}, modules = true}' % os.path.dirname(HIT)
ECHO = script("listen{ sandbox = " + WISHES + """,
  prepare = function() greeted = {} end,
  connect = function(socket)
    socket.name = "echo"
    repeat
      local line, status = socket:read(nil, "\\n")
      assert(socket:write(line))
    until status == "eof"
  end,
  finish = function() greeted = nil end,
}
""")
# The same through the forms that do not block, in a coroutine, with a sub-timer.
FORMS = script("""
return function(socket)
  local copy = coroutine.wrap(function()
    repeat
      local line, status = socket:read_yield(nil, "\\n")
      timeout(60, function() assert(socket:write_nb(line)) end)
      assert(socket:flush_yield())
    until status == "eof"
    return true
  end)
  repeat until copy()
end
""")
# The same through moonbridge_io: over a connection to ourselves, through a child, and over another connection. When it
# fails, nothing may be left open or alive, and it can be tried again.
RELAY = r"""
local mio = moonbridge_io

local function pump(row, total)
  local pumps = {}
  for i = 1, #row, 2 do pumps[#pumps + 1] = { from = row[i], to = row[i + 1], moved = 0, pending = 0 } end
  while pumps[#pumps].moved < total do
    local input, output = {}, {}
    for _, p in ipairs(pumps) do
      if p.pending > 0 then output[p.to] = true elseif p.moved < total then input[p.from] = true end
    end
    assert(mio.poll(input, output, 15))
    for _, p in ipairs(pumps) do
      local data = p.pending == 0 and assert(p.from:read_nb(total - p.moved)) or ""
      p.moved = p.moved + #data
      if #data + p.pending > 0 then p.pending = assert(p.to:flush_nb(data)) end
    end
  end
end

local function work(data)
  local tcp = assert(mio.tcplisten("127.0.0.1", 0))
  local unix = assert(mio.locallisten("@mb-relay-" .. mio.getpid()))
  local near = assert(mio.tcpconnect("127.0.0.1", tcp.local_tcpport))
  local far = assert(tcp:accept())
  local child = assert(mio.exec("cat"))
  local here = assert(mio.localconnect("@mb-relay-" .. mio.getpid()))
  assert(mio.poll({ [unix] = true }, nil, 15))
  local there = assert(unix:accept_nb())
  assert(near:flush_nb(data))
  pump({ far, child.stdin, child.stdout, here }, #data)
  assert(child.stdin:close())
  assert(mio.poll({ [child] = true }, nil, 15))
  assert(child:wait_nb() == 0, "the child has failed")
  here:close()
  local came = assert(there:read())
  assert(#came == #data and came == data, "wrong bytes")
  return came
end

-- Fails when more than the first descriptors is open, or when there is a child.
local function check_nothing_is_left(socket)
  collectgarbage()
  collectgarbage()
  local set = {}
  for fd = 3, 40 do
    set[fd] = true
    if fd ~= socket.fd and select(3, mio.poll(set, nil, 0)) ~= 9 then error("left open: " .. fd, 0) end
    set[fd] = nil
  end
  local begin = mio.timeref()
  while assert(io.open("/proc/thread-self/children")):read("a") ~= "" do
    assert(mio.timeref(begin) < 15, "left alive")
    collectgarbage()
    mio.poll(nil, nil, 0.001)
  end
end
"""
IO = script(
    RELAY
    + """
return function(socket)
  print("begun")
  local data = assert(socket:read())
  local fine, result = pcall(work, data)
  if not fine then
    check_nothing_is_left(socket)
    result = work(data)
  end
  assert(socket:write(result))
end
"""
)

LIMIT_STEP = 128
LIMIT_MAX = 128 * 1024  # enough for the handler


# --- One run. Returns the status, the output, and how the connection ended ("eof" where there is none) ---


def replay(argv, env):
    source, sink = mbtest.tmp("in"), mbtest.tmp("out")
    with open(source, "wb") as f:
        f.write(ANSWER)
    with open(source, "rb") as stdin, open(sink, "wb") as stdout, open(LOG, "wb") as log:
        status = Child(argv, {0: stdin, 1: stdout, 2: log}, env).wait()
    with open(sink, "rb") as f:
        return status, f.read(), "eof"


def connection(argv, env, pair, header=b""):
    client, conn = pair()
    with client, conn, open(LOG, "wb") as log:
        client.send(header + ANSWER)
        client.finish()
        child = Child(argv, {0: conn, 1: log, 2: log}, env)
        conn.close()
        data, how = client.end()
        return child.wait(), data, how


def socketpair():
    ours, theirs = socket.socketpair()
    return Client(ours), theirs


def over_socketpair(argv, env):
    return connection(argv, env, socketpair)


def over_tcp(argv, env):
    return connection(argv, env, tcp_pair)


def behind_proxy(argv, env):
    header = b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n"
    return connection([argv[0], "--proxy-protocol", *argv[1:]], env, tcp_pair, header)


def fault_of(status, data, how, transport):
    """What is wrong with the end of a run, or None."""
    if status not in (0, 70):
        return f"status {status}"
    if not ANSWER.startswith(data):
        return f"wrong bytes: {mbtest.short(data)}"
    if status == 0 and (data != ANSWER or how != "eof"):
        return f"status 0, but {len(data)} of {len(ANSWER)} bytes, then {how}"
    if status == 70 and how != "reset" and transport in (over_tcp, behind_proxy):
        return "status 70, but the client saw a healthy end"
    if status == 70 and not mbtest.read_file(LOG):
        return "status 70, but nothing in the log"
    if "left " in mbtest.read_file(LOG):
        return "something is left"
    return None


# --- The sweeps ---


def sweep(run, mode, handler=ECHO, begun=None):
    """Lets the Nth allocation fail for N = 1, 2, 3, ... until there is no Nth one. With begun, a line that the handler logs
    at its begin, those that are before that are left out: other sweeps have them."""
    # Where there is no memory at all, Lua cannot even call a finalizer: what that would free is left to the end.
    env = environment(mode, finalizers=not (begun and mode == "from"))
    faults = []

    def has_begun(n):
        run([HANDLE, handler], env | {"FAILALLOC_AT": str(n), "FAILALLOC_MODE": "from"})
        return begun in mbtest.read_file(LOG)

    first = 1
    if begun:
        step = 64
        first = next(n for n in range(step, POINTS_MAX, step) if has_begun(n)) - step
        os.unlink(HIT)
    for n in points(first):
        check(n < POINTS_MAX, f"N = {n}: still hit")
        result = run([HANDLE, handler], env | {"FAILALLOC_AT": str(n)})
        note(faults, f"N = {n}", fault_of(*result, run))
        if not os.path.exists(HIT):
            equal(result[0], 0, f"N = {n}, which was not hit: status")
            check(n > first + (20 if begun else 100), f"N = {n} was not hit: the shim does not work")
            break
        os.unlink(HIT)
    report(faults)


def limits(run):
    faults = []
    status = None
    below = itertools.takewhile(lambda limit: limit < LIMIT_MAX, points(LIMIT_STEP, LIMIT_STEP))
    for limit in (*below, LIMIT_MAX):
        status, data, how = run([HANDLE, f"--memory-limit={limit}", ECHO], {})
        note(faults, f"limit {limit}", fault_of(status, data, how, run))
        if status == 70 and "not enough memory" not in mbtest.read_file(LOG):
            note(faults, f"limit {limit}", 'no "not enough memory" in the log')
    report(faults)
    equal(status, 0, f"status with {LIMIT_MAX} bytes")


TRANSPORTS = {"replay": replay, "socketpair": over_socketpair, "TCP": over_tcp, "TCP behind a proxy": behind_proxy}

for _mode, _what in (("once", "one allocation fails"), ("from", "all from one allocation on fail")):
    for _name, _run in TRANSPORTS.items():
        test(f"{_what}, each in turn, {_name}")(lambda run=_run, mode=_mode: sweep(run, mode))
    test(f"{_what}, each in turn, socketpair, _nb and _yield forms")(
        lambda mode=_mode: sweep(over_socketpair, mode, FORMS)
    )
    test(f"{_what}, each in turn, moonbridge_io")(lambda mode=_mode: sweep(over_socketpair, mode, IO, "begun"))
for _name, _run in TRANSPORTS.items():
    test(f"--memory-limit in steps, {_name}")(lambda run=_run: limits(run))


@test("no memory to catch what is printed: that is lost, none of it is in the log as it is, and the handler serves")
def _():
    path = script('return function(socket) print("raw") io.stderr:write("raw\\n") socket:write((socket:read())) end')
    result = replay([HANDLE, path], environment("once") | {"FAILALLOC_AT": "1"})
    equal(result, (0, ANSWER, "eof"), "status and output")
    os.unlink(HIT)
    equal(mbtest.read_file(LOG), "", "the log")


@test("a handler that allocates past listen's memory_limit: status 70, logged, the connection reset")
def _():
    path = script("""
    listen{
      memory_limit = 1024 * 1024,
      connect = function(socket)
        socket:flush("begun")
        local kept = {}
        while true do kept[#kept + 1] = ("x"):rep(1000) .. #kept end
      end,
    }
    """)
    status, data, how = over_tcp([HANDLE, path], {})
    equal((status, how), (70, "reset"), "status and end of the connection")
    check(b"begun".startswith(data), f"what the client saw: {data!r}")
    check("not enough memory" in mbtest.read_file(LOG), f"log: {mbtest.read_file(LOG)!r}")


@test("memory runs out at each point within moonbridge_io, and there is some again: nothing is left open or alive")
def _():
    path = script(
        RELAY
        + """
-- Takes what memory there is, in pieces. Returns how many.
local held, number = {}, 0
for i = 1, 10000 do held[i] = false end
local function hold()
  held[number + 1] = ("x"):rep(64) .. number
  number = number + 1
end
local function take_all()
  local before
  number = 0
  repeat
    before = number
    while pcall(hold) do end
    collectgarbage() -- there may be more by that
  until number == before
  return number
end
local function give_back(first, last)
  for i = first, last do held[i] = false end
  collectgarbage()
end

listen{
  memory_limit = 768 * 1024,
  connect = function(socket)
    local data = ("0123456789"):rep(20)
    work(data)
    check_nothing_is_left(socket)
    local fine, result
    local failures, successes, free = 0, 0, 0
    while successes < 20 do
      local taken = take_all()
      give_back(taken - free, taken)
      fine, result = pcall(work, data)
      give_back(1, taken)
      check_nothing_is_left(socket)
      if fine then
        assert(result == data)
        successes = successes + 1
      else
        failures = failures + 1
      end
      free = free + 1
    end
    print(failures)
    socket:write("ok")
  end,
}
"""
    )
    client, conn = socketpair()
    with client, conn, open(LOG, "wb") as log:
        child = Child([HANDLE, path], {0: conn, 1: log, 2: log})
        conn.close()
        data, _ = client.end()
        equal((child.wait(), data), (0, b"ok"), f"status and answer; log: {mbtest.read_file(LOG)!r}")
    check(int(mbtest.read_file(LOG)) > 50, f"failures: {mbtest.read_file(LOG)}")


@test("memory that has run out half-way through making a listener's or a child's type: it works when there is more")
def _():
    for make, use in (('tcplisten("127.0.0.1", 0)', "made.fd and made:close()"), ('exec("true")', "made.pid and made:wait() == 0")):
        path = script(
            f"""
local ballast = ("x"):rep(4000)
return function(socket)
  local ok, made = pcall(function() return moonbridge_io.{make} end)
  print(ok and "made" or "refused")
  ballast = nil
  collectgarbage()
  if not ok then ok, made = pcall(function() return moonbridge_io.{make} end) end
  if ok then assert({use}) print("works") end
end
"""
        )
        seen = set()
        # A limit that is met at another allocation each time.
        for limit in range(12000, 44000, 64):
            argv = [HANDLE, f"--memory-limit={limit}", path]
            done = subprocess.run(argv, input=b"", capture_output=True, timeout=mbtest.RUN_MAX, check=False)
            log = done.stderr.decode()
            check(done.returncode == 0 or "not enough memory" in log, f"{make}, limit {limit}: {log}")
            seen.add("made" if "made" in log else "works" if "works" in log else "")
        check({"made", "works"} <= seen, f"{make}: it was refused at first and made then at one limit, made at once at another: {seen}")


mbtest.main()
