#!/usr/bin/python3
"""--interval and --main: the handler of an interval or a main process runs once, with a table in place of a socket. The
program is started directly; the units that start it are units.py's."""

import os
import signal
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import HANDLE, Child, check, equal, script, test, until

SHOWS = """
local function show(given)
  local keys = {}
  for key, value in pairs(given) do keys[#keys + 1] = key .. "=" .. tostring(value) end
  print("connect", type(given), table.concat(keys, " "))
end
"""
ALL = script(
    SHOWS
    + """
listen{
  { proto = "tcp", port = 8080 }, { proto = "interval", name = "tick", delay = 0.5 },
  { proto = "interval", delay = 60, strict = true }, { proto = "main", name = "worker" }, { proto = "main" },
  connect = show, prepare = function() print("prepare") end, finish = function() print("finish") end,
}
listen{ { proto = "interval", name = "other", delay = 1 }, connect = function(given) print("another", given.interval) end }
"""
)


def run(*args, stdin=None):
    """The exit status and the log of a run: print goes there."""
    log_path = mbtest.tmp("log")
    with open(log_path, "wb") as log, open("/dev/null", "r+b") as null:
        child = Child([HANDLE, *args], {0: stdin or null, 1: log, 2: log})
        status = child.wait()
    return status, mbtest.read_file(log_path)


def shown(kind, name):
    return f"prepare\nconnect\ttable\t{kind}={name}\nfinish\n"


@test("--interval and --main run prepare, connect with a table that has the name, and finish; exit 0")
def _():
    equal(run("--interval", "tick", ALL), (0, shown("interval", "tick")), "--interval tick")
    equal(run("--main", "worker", ALL), (0, shown("main", "worker")), "--main worker")
    equal(run("--interval=other", ALL), (0, "another\tother\n"), "an interval of another listen{}")


@test("without a name of its own it is \"interval\" or \"main\"")
def _():
    equal(run("--interval", "interval", ALL), (0, shown("interval", "interval")), "--interval interval")
    equal(run("--main", "main", ALL), (0, shown("main", "main")), "--main main")


@test("a name that the script does not have: one line that says what there is; exit 78")
def _():
    for option, name in (("--interval", "worker"), ("--main", "tick"), ("--main", "tcp")):
        status, log = run(option, name, ALL)
        equal((status, log.count("\n")), (78, 1), f"status and lines: {log!r}")
        check(f"no {option[2:]} {name}" in log and "interval tick every 0.5 s" in log, f"the log: {log!r}")
    twice = script('listen{ { proto = "main" }, { proto = "main", name = "main" }, connect = print }')
    status, log = run("--main", "main", twice)
    check(status == 78 and "two listeners are main main" in log, f"two of one name: {status}, {log!r}")
    status, log = run("--main", "x", script("return function() end"))
    check(status == 78 and "any connection" in log, f"a script that returns a function: {status}, {log!r}")


@test("a handler of generate_handler's says that it was called without a connection")
def _():
    text = 'local handler = require "moonbridge_http".generate_handler(function() end)\nlisten{ %s, connect = %s }'
    own = 'generate_handler: connect was called for %s "%s", which has no connection: it needs another connect, '
    own += "in a listen{} of its own"
    other = "generate_handler: the handler expects a socket, got "
    listeners = '{ proto = "interval", name = "tick", delay = 1 }, { proto = "main" }'
    for option, name, connect, want in (
        ("--interval", "tick", "handler", own % ("interval", "tick")),
        ("--main", "main", "handler", own % ("main", "main")),
        ("--main", "main", "function() handler() end", other + "nil"),
        ("--main", "main", "function() handler({interval = 1}) end", other + "table"),
    ):
        status, log = run(option, name, script(text % (listeners, connect)))
        equal((status, log.splitlines()[0]), (70, "mb-handle: " + want), f"{option} {connect}; log: {log!r}")


@test("an error in a handler: its traceback, exit 70, and finish runs; not after one in prepare")
def _():
    for where, lines, absent in (
        ("prepare = function() error('boom') end, connect = print", ["boom"], "finish"),
        ("connect = function() error('boom') end", ["boom", "stack traceback", "finish"], "xyz"),
    ):
        path = script(f'listen{{ {{ proto = "main" }}, {where}, finish = function() print("finish") end }}')
        status, log = run("--main", "main", path)
        equal(status, 70, f"status; log: {log!r}")
        check(all(line in log for line in lines) and absent not in log, f"the log: {log!r}")


@test("timeout(), memory_limit and --memory-limit hold; arguments are the script's; listen{} is closed")
def _():
    path = script('listen{ { proto = "main" }, connect = function() timeout(0.1) while true do end end }')
    equal(run("--main", "main", path), (-signal.SIGALRM, "mb-handle: timeout: time is up\n"), "timeout(0.1)")
    for limit, args in (("memory_limit = 1000000,", ()), ("", ("--memory-limit", "1M"))):
        path = script(f'listen{{ {{ proto = "main" }}, {limit} connect = function() x = ("x"):rep(2000000) end }}')
        status, log = run(*args, "--main", "main", path)
        check(status == 70 and "not enough memory" in log, f"{limit}: {status}, {log!r}")
    path = script('local a = ... listen{ { proto = "main" }, connect = function() print(a) listen{} end }')
    status, log = run("--main", "main", path, "argument")
    check(status == 70 and log.startswith("argument\n") and "cannot be called" in log, f"{status}, {log!r}")


@test("standard input is not the handler's; moonbridge_io works; SIGTERM can be caught")
def _():
    path = script(
        """
local io_module = require "moonbridge_io"
listen{ { proto = "main" }, connect = function()
  print(io.read("a"))
  io_module.catch_sigterm()
  print("waiting")
  local _, _, terminated = io_module.poll(nil, nil, nil, true)
  print("terminated", terminated)
end }
"""
    )
    log_path = mbtest.tmp("log of main")
    with open(log_path, "wb") as log, open(__file__, "rb") as stdin:
        child = Child([HANDLE, "--main", "main", path], {0: stdin, 1: log, 2: log})
    until(lambda: "waiting" in mbtest.read_file(log_path), "the handler waits")
    child.kill(signal.SIGTERM)
    equal((child.wait(), mbtest.read_file(log_path)), (0, "\nwaiting\nterminated\ttrue\n"), "status and log")


mbtest.main()
