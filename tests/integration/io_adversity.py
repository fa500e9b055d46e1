#!/usr/bin/python3
"""What may go wrong around moonbridge_io: finalizers that interfere, coroutines that are given up, signals that come
together, memory that runs out half-way. Each was a fault once."""

import os
import signal
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import HANDLE, Child, check, equal, script, test


def replay(body):
    """Runs a handler's body as a replay. Returns its output; it has to end well and log nothing."""
    path = script(f"local io_ = moonbridge_io\nreturn function(socket)\n{body}\nend\n")
    done = mbtest.replay(path)
    equal((done.returncode, done.stderr.decode()), (0, ""), "exit status and log")
    return done.stdout.decode()


# Objects whose finalizers run hook, again and again, whenever the collector works.
FINALIZERS = """
  local hook
  local function make()
    setmetatable({}, {__gc = function() if hook then hook() end make() end})
  end
  for i = 1, 20 do make() end
  collectgarbage("setpause", 20)
  collectgarbage("setstepmul", 100000)
  collectgarbage()
"""


@test("poll: a finalizer that ends what is in the set, while the set grows")
def _():
    replay(
        FINALIZERS
        + """
  local set = {}
  for i = 1, 150 do set[assert(io_.exec("true"))] = true end
  hook = function()
    if not debug.traceback():find("poll") then return end
    hook = nil
    for child in pairs(set) do child:wait() end
  end
  assert(io_.poll(set, nil, 10))
  assert(hook == nil, "the finalizer did not run within poll")
"""
    )
    replay(
        FINALIZERS
        + """
  local listener = assert(io_.tcplisten("127.0.0.1", 0))
  local set = {}
  for i = 1, 150 do set[assert(io_.tcpconnect_nb("127.0.0.1", listener.local_tcpport))] = true end
  hook = function()
    if not debug.traceback():find("poll") then return end
    hook = nil
    for s in pairs(set) do s:reset() set[s] = nil end
  end
  local ok, why = io_.poll(nil, set, 0.1)
  assert(hook == nil, "the finalizer did not run within poll")
  assert(ok == false and why == "timeout", tostring(ok) .. " " .. tostring(why))
"""
    )


@test("accept: a finalizer that closes the listener is the error of a closed listener")
def _():
    replay(
        """
  local closed = false
  for i = 1, 1000 do
    local listener = assert(io_.tcplisten("127.0.0.1", 0))
    local client = assert(io_.tcpconnect("127.0.0.1", listener.local_tcpport))
    local accept, in_accept = listener.accept, false
    setmetatable({}, {__gc = function() if in_accept then listener:close() end end})
    collectgarbage("setpause", 0)
    in_accept = true
    local ok, s, message = pcall(accept, listener)
    in_accept = false
    if not ok then
      assert(s:find("the listener is closed"), s)
      closed = true
      break
    end
    assert(s, message)
  end
  assert(closed, "the finalizer did not run within accept")
"""
    )


@test("a child that a finalizer of the script still sees has no made-up result")
def _():
    out = replay(
        """
  do
    local holder = setmetatable({}, {__gc = function(holder)
      local child = holder.child
      local status, _, number = child:wait_nb()
      socket:write(tostring(status), " ", tostring(number), " ", tostring(child:kill(9)), " ", tostring(child))
      os.execute("kill " .. child.pid)
    end})
    holder.child = assert(io_.exec("sleep", "60")) -- later than its holder, so it is finalized first
  end
  collectgarbage()
"""
    )
    check(out.startswith("nil 10 nil child (process "), f"what the finalizer sees: {out!r}")


@test("an error of a wait function is seen where it was thrown by the script's own xpcall")
def _():
    out = replay(
        """
  local listener = assert(io_.tcplisten("127.0.0.1", 0))
  local client = assert(io_.tcpconnect("127.0.0.1", listener.local_tcpport))
  local function innermost() error("given up") end
  local ok, traceback = xpcall(client.read_call, debug.traceback, client, function() innermost() end)
  socket:write(traceback)
"""
    )
    check("in upvalue 'innermost'" in out and "in function 'xpcall'" in out, f"traceback: {out}")


@test("SIGTERM together with the end of a child wakes poll, as SIGTERM alone does")
def _():
    path = script("""
return function(socket)
  moonbridge_io.catch_sigterm()
  local child = moonbridge_io.exec("sleep", "60")
  child = nil
  collectgarbage()
  collectgarbage() -- its end is noticed from now on
  print("ready")
  print(moonbridge_io.poll(nil, nil, 10))
end
""")
    for signals in ((signal.SIGTERM,), (signal.SIGTERM, signal.SIGCHLD), (signal.SIGCHLD, signal.SIGTERM)):
        log_path = mbtest.tmp("log-of-sigterm")
        with open(log_path, "wb") as log, open("/dev/null", "r+b") as null:
            child = Child([HANDLE, path], {0: null, 1: null, 2: log})
            mbtest.until(lambda: "ready" in mbtest.read_file(log_path), "the handler is ready")
            mbtest.until(lambda p=child.pid: state_of(p) == "S", "it waits")
            child.kill(signal.SIGSTOP)
            mbtest.until(lambda p=child.pid: state_of(p) == "T", "it is stopped")
            for number in signals:
                child.kill(number)
            child.kill(signal.SIGCONT)
            equal(child.wait(), 0, "exit status")
        equal(mbtest.read_file(log_path), "ready\nfalse\tsignal received\n", f"what poll returns after {signals}")


def state_of(pid):
    return mbtest.read_file(f"/proc/{pid}/stat").rpartition(")")[2].split()[0]


@test("finish() that fails leaves the socket as it is: every further call is the same failure")
def _():
    replay(
        """
  local listener = assert(io_.tcplisten("127.0.0.1", 0))
  local near = assert(io_.tcpconnect("127.0.0.1", listener.local_tcpport))
  assert(listener:accept()):reset()
  assert(io_.poll({[near] = true}, nil, 10))
  for _, method in ipairs {"finish", "finish", "write", "flush", "close"} do
    local result, message, number = near[method](near)
    assert(result == nil and number == 104, method .. ": " .. tostring(message))
  end
"""
    )


@test("a lookup that finds no descriptor uses those of sockets that are garbage")
def _():
    path = script("""
return function(socket)
  local listener = assert(moonbridge_io.tcplisten("127.0.0.1", 0))
  collectgarbage()
  collectgarbage("stop")
  local function fill()
    repeat until not io.open("/dev/null") -- garbage at once
  end
  fill()
  assert(moonbridge_io.tcpconnect("localhost", listener.local_tcpport)):close()
  fill()
  assert(moonbridge_io.tcplisten("localhost", 0)):close()
end
""")
    argv = ["sh", "-c", 'ulimit -n 60; exec "$0" "$1"', HANDLE, path]
    done = subprocess.run(argv, input=b"", capture_output=True, timeout=mbtest.RUN_MAX, check=False)
    equal((done.returncode, done.stderr.decode()), (0, ""), "exit status and log")


@test("poll: what is no descriptor, but was meant to be a key, is an error; a map of descriptors to objects is not")
def _():
    replay(
        """
  local listener = assert(io_.tcplisten("127.0.0.1", 0))
  local client = assert(io_.tcpconnect("127.0.0.1", listener.local_tcpport))
  local child = assert(io_.exec("true"))
  for _, object in ipairs {listener, client, child} do
    local ok, message = pcall(io_.poll, {object}, nil, 0)
    assert(not ok and message:find("expected {[socket] = true}, not {socket}", 1, true), message)
  end
  assert(io_.poll({[listener.fd] = listener, [client.fd] = client}, {[client.fd] = client}, 10) == true)
"""
    )


mbtest.main()
