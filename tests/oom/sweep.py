#!/usr/bin/python3
"""Memory that runs out at every point in turn, and a limit that is met at every point in turn: the process ends with
status 0 and the whole answer, or with 70 and at most a part of it, never by a signal. $MB_FAILALLOC is failalloc.c's
shared object."""

import itertools
import os
import socket
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import HANDLE, Child, Client, Failed, check, equal, script, tcp_pair, test

# Short lines, one that makes the input buffer and the output queue grow, and a last one without its end.
ANSWER = b"first\n\nthird\n" + b"long" * 5000 + b"\n" + b"x\n" * 100 + b"last"
ECHO = script("""
listen{
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

POINTS_MAX = 20000  # a sweep that is longer hangs in a loop of its own
FAULTS_MAX = 10  # that are shown
LIMIT_STEP = 128
LIMIT_MAX = 128 * 1024  # enough for the handler
HIT = mbtest.tmp("hit")
LOG = mbtest.tmp("log-of-run")


def shim():
    """The shim's path; compiled when none is given, for a run by hand."""
    path = os.environ.get("MB_FAILALLOC")
    if not path:
        path = mbtest.tmp("failalloc.so")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "failalloc.c")
        mbtest.output_of(mbtest.need("cc", "gcc", "clang"), "-O2", "-shared", "-fPIC", "-o", path, source, "-ldl")
    if not os.path.exists(path):
        mbtest.bail("failalloc.so is not built (MB_FAILALLOC)")
    return mbtest.plain(path)  # $LD_PRELOAD splits at spaces


SHIM = shim()


# --- One run. Returns the status, the output, and how the connection ended ("eof" where there is none) ---


def replay(argv, env):
    source, sink = mbtest.tmp("in"), mbtest.tmp("out")
    with open(source, "wb") as f:
        f.write(ANSWER)
    with open(source, "rb") as stdin, open(sink, "wb") as stdout, open(LOG, "wb") as log:
        status = Child(argv, {0: stdin, 1: stdout, 2: log}, env).wait()
    with open(sink, "rb") as f:
        return status, f.read(), "eof"


def connection(argv, env, pair):
    client, conn = pair()
    with client, conn, open(LOG, "wb") as log:
        client.send(ANSWER)
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


def fault_of(status, data, how, transport):
    """What is wrong with the end of a run, or None."""
    if status not in (0, 70):
        return f"status {status}"
    if not ANSWER.startswith(data):
        return f"wrong bytes: {mbtest.short(data)}"
    if status == 0 and (data != ANSWER or how != "eof"):
        return f"status 0, but {len(data)} of {len(ANSWER)} bytes, then {how}"
    if status == 70 and how != "reset" and transport is over_tcp:
        return "status 70, but the client saw a healthy end"
    if status == 70 and not mbtest.read_file(LOG):
        return "status 70, but nothing in the log"
    return None


def note(faults, where, fault):
    if fault:
        faults.append(f"{where}: {fault}; log: {mbtest.short(mbtest.read_file(LOG))}")


def report(faults):
    if faults:
        more = [f"and {len(faults) - FAULTS_MAX} more"] if len(faults) > FAULTS_MAX else []
        raise Failed("\n".join(faults[:FAULTS_MAX] + more))


# --- The sweeps ---


def sweep(run, mode, handler=ECHO):
    """Lets the Nth allocation fail for N = 1, 2, 3, ... until there is no Nth one."""
    env = {"LD_PRELOAD": SHIM, "FAILALLOC_MODE": mode, "FAILALLOC_HIT": HIT}
    asan_options = os.environ.get("ASAN_OPTIONS", "")
    env["ASAN_OPTIONS"] = f"{asan_options}:verify_asan_link_order=0".lstrip(":")
    faults = []
    for n in itertools.count(1):
        check(n < POINTS_MAX, f"N = {n}: still hit")
        result = run([HANDLE, handler], env | {"FAILALLOC_AT": str(n)})
        note(faults, f"N = {n}", fault_of(*result, run))
        if not os.path.exists(HIT):
            equal(result[0], 0, f"N = {n}, which was not hit: status")
            check(n > 100, f"N = {n} was not hit: the shim does not work")
            break
        os.unlink(HIT)
    report(faults)


def limits(run):
    faults = []
    status = None
    for limit in range(LIMIT_STEP, LIMIT_MAX + 1, LIMIT_STEP):
        status, data, how = run([HANDLE, f"--memory-limit={limit}", ECHO], {})
        note(faults, f"limit {limit}", fault_of(status, data, how, run))
        if status == 70 and "not enough memory" not in mbtest.read_file(LOG):
            note(faults, f"limit {limit}", 'no "not enough memory" in the log')
    report(faults)
    equal(status, 0, f"status with {LIMIT_MAX} bytes")


TRANSPORTS = {"replay": replay, "socketpair": over_socketpair, "TCP": over_tcp}

for _mode, _what in (("once", "one allocation fails"), ("from", "all from one allocation on fail")):
    for _name, _run in TRANSPORTS.items():
        test(f"{_what}, each in turn, {_name}")(lambda run=_run, mode=_mode: sweep(run, mode))
    test(f"{_what}, each in turn, socketpair, _nb and _yield forms")(
        lambda mode=_mode: sweep(over_socketpair, mode, FORMS)
    )
for _name, _run in TRANSPORTS.items():
    test(f"--memory-limit in steps, {_name}")(lambda run=_run: limits(run))


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


mbtest.main()
