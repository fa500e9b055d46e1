#!/usr/bin/python3
"""mb.scheduler: tasks take turns, waits end by readiness, deadline or being woken; its descriptor in somebody else's
loop. Handler and test take turns: the handler prints a word, the test acts on it."""

import os
import resource
import signal
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhandler
import mbtest
from mbhandler import Handler, source
from mbtest import HANDLE, Child, check, equal, script, test

HEAD = mbhandler.HEAD + """
local now = mb.timeref
local s = require("mb.scheduler").new()
local said = {}
local function say(...) for _, word in ipairs {...} do said[#said + 1] = tostring(word) end end
local function heard(want)
  local got = table.concat(said, " ")
  said = {}
  if got ~= want then error("heard <" .. got .. ">, expected <" .. want .. ">", 2) end
end
"""


def passes(name, body):
    """The body, which checks by itself, runs to its end."""

    @test(name)
    def _():
        mbhandler.run(body, head=HEAD)


passes("tasks run from the next step on, in the order they were made, with their arguments, nil among them", """
  local task = s:spawn(function(...) say("one", select("#", ...), ...) end, "a", nil, nil)
  s:spawn(function() say("two", s:current() ~= task) end)
  heard("")
  eq("2 false", s:count(), s:empty())
  eq("false", s:step(0))
  heard("one 3 a two true")
  eq("0 true", s:count(), s:empty())
""")

passes("a task that yields by itself goes on in the next step, after the others", """
  s:spawn(function() say("a") coroutine.yield() say("b") end)
  s:spawn(function() say("c") s:spawn(function() say("d") end) end)
  eq("true", s:step(0)) heard("a c")
  eq("false", s:step(0)) heard("b d")
""")

passes("of several waits the one with the first deadline ends, alone and not before, whichever it is; then others", """
  -- The other deadlines are so far away that none passes in the same step, however busy the machine is.
  local others = {}
  for first = 1, 3 do
    for number = 1, 3 do
      local deadline = now() + (number == first and 0.02 or 1000 + number)
      local task = s:spawn(function()
        say(number, tostring(s:wait(nil, nil, deadline)), number ~= first or now() >= deadline)
      end)
      if number ~= first then others[#others + 1] = task end
    end
    repeat s:step() until #said > 0
    heard(first .. " nil true")
  end
  eq("6", s:count())
  for _, task in ipairs(others) do eq("true", s:wake(task, "woken")) end
  s:run()
  heard("2 woken true 3 woken true 1 woken true 3 woken true 1 woken true 2 woken true")
  local began, ended = now(), 0
  for _, seconds in ipairs {0.06, 0.02, 0.04} do
    s:spawn(function()
      eq("nil true", s:wait(nil, nil, began + seconds), now() >= began + seconds)
      ended = ended + 1
    end)
  end
  s:run()
  eq("3", ended)
""")

passes("a step with a deadline waits no longer than that", """
  local task = s:spawn(function() s:wait(socket, "r") end)
  local began = now()
  eq("true", s:step(began + 0.03)) -- starts it, does not wait
  eq("true", s:step(began + 0.03))
  eq("true", now() >= began + 0.03)
  eq("true", s:step(0))
""")

passes("readiness says for what; what is buffered or closed is ready, and so is the end of input", """
  local child = mb.exec("cat")
  eq("w", s:wait(socket, "rw"))
  eq("nil", s:wait(child.stdout, "r", now() + 0.01))
  child.stdin:write("two\\nlines\\n") child.stdin:flush()
  eq("r", s:wait(child.stdout, "r"))
  eq("two\\n term", child.stdout:read(nil, "\\n"))
  eq("r", s:wait(child.stdout, "r", 0))
  eq("lines\\n term", child.stdout:read(nil, "\\n"))
  child.stdin:close()
  eq("r", s:wait(child.stdout.fd, "r"))
  eq("nil eof", tostring(child.stdout:read(1) or nil) == "" and nil, select(2, child.stdout:read(1)))
  local fd = child.stdout.fd
  child.stdout:close()
  eq("r", s:wait(child.stdout, "r"))
  eq("rw", s:wait(fd, "rw")) -- not open: whoever uses it is told
  child:wait()
""")

passes("a listener; two tasks that wait for the same thing", """
  local listener = mb.tcplisten("127.0.0.1", 0)
  for name = 1, 2 do s:spawn(function() say(name, s:wait(listener, "r")) end) end
  s:step(0) s:step(0)
  heard("")
  local client = mb.tcpconnect("127.0.0.1", listener.local_tcpport)
  s:run()
  heard("1 r 2 r")
""")

passes("outside of a task a wait lets the others run, and a coroutine that a task has made waits like that", """
  s:spawn(function() for i = 1, 3 do say(i) coroutine.yield() end end)
  eq("nil", s:wait(nil, nil, now() + 0.5))
  heard("1 2 3")
  s:spawn(function()
    local inner = coroutine.wrap(function()
      eq("nil", s:current())
      return s:wait(nil, nil, now() + 0.01)
    end)
    eq("nil", inner())
    say("inner")
  end)
  s:spawn(function() say("other") end)
  s:run()
  heard("other inner")
""")

passes("wake ends a wait, with a result; not that of one who does not wait", """
  local task = s:spawn(function() say(s:wait()) say(s:wait(socket, "r", now() + 100)) end)
  eq("false", s:wake(task, 1)) -- has not begun
  s:step(0)
  eq("true", s:wake(task, "first"))
  eq("false", s:wake(task, "again"))
  s:step(0)
  eq("true", s:wake(task, "second"))
  s:run()
  heard("first second")
""")

passes("what a task throws is thrown by the step, with its traceback, and the others go on", """
  local function failing() local x = nil; x() end
  s:spawn(failing)
  s:spawn(function() say("other") end)
  local good, message = pcall(s.run, s)
  eq("false", good)
  assert(message:find("attempt to call a nil value", 1, true) and message:find("stack traceback:", 1, true), message)
  s:run()
  heard("other")
  s:spawn(error, {code = 7})
  eq("false 7", (function(g, e) return g, e.code end)(pcall(s.run, s)))
  s:spawn(failing)
  eq("false", (pcall(s.wait, s, nil, nil, now() + 10)))
  eq("nil 0", s:timeout(), s:count()) -- that wait is over, too
  local task
  s.on_error = function(co, err) say(co == task, (err:gsub("^.*: ", ""))) end
  task = s:spawn(error, "x: told")
  s:run()
  heard("true told")
""")

passes("a thousand tasks that wait for times and wake each other", """
  local tasks, over = {}, 0
  for i = 1, 1000 do
    tasks[i] = s:spawn(function()
      if i % 2 == 0 then s:wait(nil, nil, now() + i % 7 / 1000) else s:wait() end
      if tasks[i - 1] then s:wake(tasks[i - 1]) end
      over = over + 1
    end)
  end
  s:run()
  eq("1000 0", over, s:count())
""")


@test("a finalizer that runs the tasks, wherever garbage may be collected, disturbs none")
def _():
    # What the scheduler calls when a task has gone to wait, and may collect garbage, does so here.
    collects = """
    for module, names in pairs {[coroutine] = {"create", "status"}, [table] = {"pack"}} do
      for _, name in ipairs(names) do
        local f = module[name]
        module[name] = function(...) collectgarbage() return f(...) end
      end
    end
    """
    mbhandler.run("""
      local ended, resumed = 0, 0
      for _ = 1, 20 do
        s:spawn(function()
          for i = 1, 5 do
            setmetatable({}, {__gc = function() s:step(0) end})
            if i % 2 == 0 then coroutine.yield() else eq("nil", s:wait(nil, nil, now())) end
            resumed = resumed + 1
          end
          ended = ended + 1
        end)
      end
      s:run()
      eq("20 100 0", ended, resumed, s:count())
    """, head=collects + HEAD)


@test("as many can be waited for as the process may have descriptors")
def _():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
    try:
        running = Handler("""
          local listeners = {}
          for i = 1, 180 do
            local listener = assert(mb.locallisten("@mb-scheduler-" .. mb.getpid() .. "-" .. i))
            listeners[i] = listener
            s:spawn(function() say(s:wait(listener, "rw", now() + 100)) end)
          end
          s:step(0) s:step(0)
          heard("")
          local client = mb.localconnect("@mb-scheduler-" .. mb.getpid() .. "-180")
          s:step()
          heard("r")
        """, head=HEAD)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    with running:
        running.ends()


@test("its descriptor stays the same, and is ready when a step has something to do")
def _():
    running = Handler("""
      local fd = s:pollfd()
      local set = {[fd] = true}
      eq("nil r", s:timeout(), s:events())
      local task = s:spawn(function()
        s:wait(socket, "r") say(socket:read(3))
        s:wait(nil, nil, now() + 1000) say("woken")
        s:wait(nil, nil, now() + 0.05) say("over")
      end)
      eq("0", s:timeout())
      s:step(0)
      eq("nil", s:timeout())
      eq("false timeout", mb.poll(set, nil, 0))
      print("send")
      eq("true", mb.poll(set))
      s:step(0) heard("abc maxlen")
      eq("true", s:timeout() > 900 and s:timeout() <= 1000)
      s:wake(task)
      s:step(0) heard("woken")
      eq("true", s:timeout() <= 0.05)
      eq("false timeout", mb.poll(set, nil, s:timeout()))
      s:step(0) heard("over")
      eq(tostring(fd), s:pollfd())
      socket:read(1, nil) -- "d" and what is behind it are buffered
      s:spawn(function() s:wait(socket, "r") say("at once") end)
      s:step(0)
      eq("0", s:timeout())
      s:step(0) heard("at once")
    """, head=HEAD)
    with running:
        running.says("send")
        running.client.send("abcdef")
        running.ends()


@test("a signal that is handled does not end a wait")
def _():
    running = Handler("""
      s:spawn(function() s:wait(socket, "r") say("come") end)
      print("wait")
      s:run()
      heard("come")
    """, head=HEAD)
    with running:
        running.says("wait")
        running.asleep()
        os.kill(running.pid, signal.SIGPIPE)
        running.asleep()
        check(running.silent(), "it still waits")
        running.client.send("x")
        running.ends()


@test("in a replay the input, a file, is always ready")
def _():
    body = """
      eq("0", (function() s:pollfd() s:spawn(function() s:wait(socket, "r") say(socket:read()) end) s:step(0)
        return s:timeout() end)())
      s:run()
      heard("input eof")
      eq("rw", s:wait(socket, "rw"))
    """
    with open(mbtest.tmp("input"), "w+", encoding="ascii") as given:
        given.write("input")
        given.flush()
        given.seek(0)
        log = open(mbtest.tmp("log"), "w+", encoding="ascii")
        child = Child([HANDLE, script(source(body, HEAD))], {0: given, 1: log, 2: log})
        equal((child.wait(), mbtest.read_file(log.name)), (0, ""), "exit status and log")


mbtest.main()
