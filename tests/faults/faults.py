#!/usr/bin/python3
"""System calls that fail, are interrupted or do less than they were asked for, at every point where that may be. $MB_FAULTIO
is faultio.c's shared object, whose head says how it is told what to do. A script tells it by faults(RULES)."""

import contextlib
import errno
import itertools
import os
import random
import re
import signal
import socket
import sys
import threading
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from faultlib import CPU_MAX, POINTS_MAX, SHIM, TRANSPORTS, cpu_seconds, environment, no_orphans, outcome, over, start
from mbshim import HIT, LOG
from mbtest import HANDLE, about, check, equal, script, tcp_pair, test, until

# --- What the handlers share ---

ERRNOS = (
    "EADDRINUSE EAGAIN EBUSY ECHILD ECONNABORTED ECONNREFUSED ECONNRESET EHOSTDOWN EHOSTUNREACH EINTR EIO EMFILE ENETDOWN "
    "ENETUNREACH ENFILE ENOBUFS ENOMEM ENONET ENOPROTOOPT ENOSPC EOPNOTSUPP EPERM EPIPE EPROTO ETIMEDOUT"
).split()

PRELUDE = (
    "local E = {"
    + ", ".join(f'{name} = {{{getattr(errno, name)}, "{os.strerror(getattr(errno, name))}"}}' for name in ERRNOS)
    + "}\n"
    + f"local DEADLINE = {mbtest.DEADLINE}\n"
    + r"""
local mio = moonbridge_io

-- Replaces the shim's rules. Returns how many faults there were under the old ones, and of how many calls.
local function faults(rules)
  local file = assert(io.open("/faultio/" .. rules))
  local hits, calls = file:read("n", "n")
  file:close()
  return hits, calls
end

local function contents(path)
  local file, message, number = io.open(path)
  if number == 24 then return "" end -- where descriptors are scarce, it is not looked at
  assert(file, message)
  local text = file:read("a")
  file:close()
  return text
end

-- What a handler may not leave behind: open descriptors, and children, dead or alive.
local has_shim = os.getenv("FAULTIO")
local function holdings()
  collectgarbage()
  collectgarbage()
  local open = has_shim and contents("/faultio?descriptors") or "unknown"
  return "descriptors " .. open .. "; children " .. contents("/proc/thread-self/children")
end

local function text_of(...)
  local values = table.pack(...)
  for i = 1, values.n do values[i] = type(values[i]) == "string" and ("%q"):format(values[i]) or tostring(values[i]) end
  return table.concat(values, ", ")
end

local function same(got, want, what)
  if got ~= want then error((what or "result") .. ": got " .. text_of(got) .. ", expected " .. text_of(want), 2) end
end

-- A call has returned exactly these results: is(expected, expected, ...)(got, got, ...)
local function is(...)
  local want = text_of(...)
  return function(...)
    local got = text_of(...)
    if got ~= want then error("got " .. got .. "; expected " .. want, 2) end
    return ...
  end
end

-- A call has failed with this errno, and a message that begins like this.
local function failed(name, before, ...)
  local want, got = text_of(nil, (before or "") .. E[name][2], E[name][1]), text_of(...)
  if got ~= want then error("got " .. got .. "; expected " .. want, 2) end
end

-- Calls a function under rules that must strike just so often. Returns its results.
local function under(rules, times, f, ...)
  faults(rules)
  local results = table.pack(f(...))
  local hits = faults("")
  same(hits, times, "faults under " .. rules)
  return table.unpack(results, 1, results.n)
end

local function once(rules, f, ...) return under(rules, 1, f, ...) end

-- Calls a function when a call ("socket EMFILE") fails for good: where descriptors have run out, it is made once more.
local function in_vain(rule, f, ...)
  return under(rule .. " from=1", rule:find("[MN]FILE") and 2 or 1, f, ...)
end

-- Waits with poll, whatever interrupts it.
local function wait_for(input, output)
  local ready, why
  repeat
    ready, why = mio.poll(input and {[input] = true}, output and {[output] = true}, DEADLINE)
    if not ready and why ~= "signal received" then error(why, 2) end
  until ready
end

-- The same for a call that takes a function.
local function waiter(input, output)
  return function() wait_for(input, output) end
end

local function until_true(condition, what)
  local begin = mio.timeref()
  while not condition() do
    if mio.timeref(begin) > DEADLINE then error("not within " .. DEADLINE .. " s: " .. what, 2) end
    mio.poll(nil, nil, 0.001)
  end
end

local unique = 0
local function local_name()
  unique = unique + 1
  return ("@mb-faults-%d-%d"):format(mio.getpid(), unique)
end

local function pair_of(listener, near)
  assert(near)
  local far = assert(listener:accept())
  listener:close()
  return near, far
end

-- How to get two ends of which each reads what the other writes; for a pipe, the first reads, and the second writes.
local PAIRS = {
  TCP = function()
    local listener = assert(mio.tcplisten("127.0.0.1", 0))
    return pair_of(listener, mio.tcpconnect("127.0.0.1", listener.local_tcpport))
  end,
  Unix = function()
    local name = local_name()
    local listener = assert(mio.locallisten(name))
    return pair_of(listener, mio.localconnect(name))
  end,
  pipe = function()
    local child = assert(mio.exec("cat"))
    return child.stdout, child.stdin, child
  end,
}
local READS = { TCP = "recv", Unix = "recv", pipe = "read" }
local WRITES = { TCP = "sendmsg", Unix = "sendmsg", pipe = "writev" }

-- All forms of a call, by name; each is called with the socket, and must not have to wait.
local function yielding(name)
  return function(socket, ...) return coroutine.wrap(socket[name])(socket, ...) end
end
local function calling(name)
  return function(socket, ...) return socket[name](socket, function() error("has to wait", 2) end, ...) end
end
local function forms_of(name)
  return {
    [name] = function(socket, ...) return socket[name](socket, ...) end,
    [name .. "_nb"] = function(socket, ...) return socket[name .. "_nb"](socket, ...) end,
    [name .. "_call"] = calling(name .. "_call"),
    [name .. "_yield"] = yielding(name .. "_yield"),
  }
end
"""
)


def handler(body):
    """A script whose handler is `body`; what it was started with is `argument` there."""
    return script(f"{PRELUDE}\nlocal argument = ...\nreturn function(socket)\n{body}\nend\n")


def inside(body, rules=""):
    """Runs `body` in a replay without input; nothing may be left open or alive when it is through."""
    path = handler(f'local before = holdings();\n(function()\n{body}\nend)()\nsame(holdings(), before)\nsocket:write("ok")')
    sink = mbtest.tmp("out")
    with open(sink, "wb") as out:
        child = start([HANDLE, path], {1: out}, environment(rules))
    outcome(child)
    equal(mbtest.read_file(sink), "ok", "answer")


# --- What a failure does: the call, and those that follow ---


@test("reading fails: what had come before can be read, then all forms say so, and for ever; writing goes on")
def _():
    inside(
        """
  for kind, make in pairs(PAIRS) do
    for _, name in ipairs { "ECONNRESET", "EIO", "ENOMEM", "ETIMEDOUT" } do
      local reader, writer, child = make()
      assert(writer:flush("abc\\ndef"))
      wait_for(reader)
      is("a", "maxlen")(reader:read_nb(1))
      faults(("%s %s once=1 fd=%d"):format(READS[kind], name, reader.fd))
      is("bc\\n", "term")(reader:read(nil, "\\n"))
      failed(name, nil, reader:read(4))
      is(1, 1)(faults(""))
      is("de", "maxlen")(reader:read(2))
      is("f", "term")(reader:read_nb(2, "f"))
      assert(writer:flush("more"))
      wait_for(reader)
      is(true)(mio.poll({ [reader] = true }, nil, 0))
      for _, method in ipairs { "read", "drain" } do
        for _, form in pairs(forms_of(method)) do failed(name, nil, form(reader, 1)) end
      end
      if not child then
        assert(reader:flush("still"))
        is("still", "maxlen")(writer:read(5))
      end
      is(true)(reader:close())
      is(true)(writer:close())
      if child then child:wait() end
    end
  end
"""
    )


@test("writing fails: all forms, finish and close say so from then on; reading goes on")
def _():
    inside(
        """
  local names = { "ECONNRESET", "EIO", "ENOBUFS", "ENOMEM", "ENOSPC", "EPERM", "EPIPE", "ETIMEDOUT" }
  for kind, make in pairs(PAIRS) do
    for _, name in ipairs(names) do
      for first, first_form in pairs(forms_of("flush")) do
        local reader, writer, child = make()
        is(1, 1)((function()
          faults(("%s %s once=1 fd=%d"):format(WRITES[kind], name, writer.fd))
          failed(name, nil, first_form(writer, "lost"))
          return faults("")
        end)())
        is(true)(mio.poll(nil, { [writer] = true }, 0))
        for _, method in ipairs { "write", "flush" } do
          for _, form in pairs(forms_of(method)) do
            failed(name, nil, form(writer, "x"))
            failed(name, nil, form(writer))
          end
        end
        if not child then
          assert(reader:flush("still"))
          is("still", "maxlen")(writer:read(5))
        end
        failed(name, nil, writer:finish())
        failed(name, nil, writer:finish())
        failed(name, nil, writer:close())
        same(pcall(writer.flush, writer), false, first)
        -- Half an answer is not a whole one.
        if kind == "TCP" then failed("ECONNRESET", nil, reader:read()) else is("", "eof")(reader:read()) end
        reader:close()
        if child then child:wait() end
      end
    end
  end
"""
    )


@test("a connection that writing has found lost does not end in a healthy way for reading; other failures leave it alone")
def _():
    inside(
        """
  for kind in pairs { TCP = 1, Unix = 1 } do
    for name, lost in pairs { ECONNRESET = true, ETIMEDOUT = true, ENOBUFS = false, EPIPE = false } do
      local near, far = PAIRS[kind]()
      failed(name, nil, once(("sendmsg %s once=1 fd=%d"):format(name, near.fd), near.flush, near, "x"))
      assert(far:flush("last"))
      far:close()
      is("last", "maxlen")(near:read(4))
      if lost then failed(name, nil, near:read()) else is("", "eof")(near:read()) end
      near:reset()
    end
  end
"""
    )


@test("a write that fails half-way: what was taken before arrives once, and nothing after it")
def _():
    inside(
        """
  for _, kind in ipairs { "Unix", "pipe" } do
    for _, form in pairs(forms_of("flush")) do
      local reader, writer, child = PAIRS[kind]()
      assert(writer:write("ab"))
      faults(("%s short max=5 fd=%d; %s ENOBUFS once=3 fd=%d"):format(WRITES[kind], writer.fd, WRITES[kind], writer.fd))
      failed("ENOBUFS", nil, form(writer, "cde", "fgh", ("i"):rep(100)))
      is(3, 5)(faults(""))
      failed("ENOBUFS", nil, writer:flush("more"))
      writer:close()
      is("abcdefghii", "eof")(reader:read())
      reader:close()
      if child then child:wait() end
    end
  end
"""
    )


@test("EAGAIN and EINTR cost one call more, and EAGAIN one that waits: nothing goes round")
def _():
    inside(
        """
  local never = "; poll EIO once=1000000" -- for the number of calls only
  for kind, make in pairs(PAIRS) do
    for name, more in pairs { EAGAIN = 2, EINTR = 1 } do
      local reader, writer, child = make()
      faults(("%s %s once=1 fd=%d%s"):format(WRITES[kind], name, writer.fd, never))
      is(writer)(writer:flush("abc"))
      is(1, 1 + more)(faults(""))
      wait_for(reader)
      faults(("%s %s once=1 fd=%d%s"):format(READS[kind], name, reader.fd, never))
      is("abc", "maxlen")(reader:read(3))
      is(1, 1 + more)(faults(""))

      faults(("%s %s once=1 fd=%d%s"):format(WRITES[kind], name, writer.fd, never))
      is(name == "EAGAIN" and 3 or 0)(writer:flush_nb("def"))
      is(1, name == "EAGAIN" and 1 or 2)(faults(""))
      is(0)(writer:flush_nb())
      wait_for(reader)
      faults(("%s %s once=1 fd=%d%s"):format(READS[kind], name, reader.fd, never))
      is(name == "EAGAIN" and "" or "def", name == "EAGAIN" and "block" or "maxlen")(reader:read_nb(3))
      is(1, name == "EAGAIN" and 1 or 2)(faults(""))
      if name == "EAGAIN" then is("def", "maxlen")(reader:read_nb(3)) end

      -- The forms that call: once, for the one time that it is blocked. What is new is tried to be sent at once,
      -- and what is pending is too, before the first wait.
      local waits = 0
      local function wait() waits = waits + 1 end
      for _, method in ipairs { "flush_call", "write_call" } do
        waits = 0
        local rule = ("%s %s once=1 fd=%d"):format(WRITES[kind], name, writer.fd)
        faults(rule .. ";" .. rule .. never)
        is(writer)(writer[method](writer, wait, ("g"):rep(5000)))
        is(2, 5)(faults("")) -- both rules count the third call
        same(waits, name == "EAGAIN" and 1 or 0, method)
        is(("g"):rep(5000), "maxlen")(reader:read(5000))
      end
      for _, method in ipairs { "read_call", "drain_call" } do
        waits = 0
        assert(writer:flush("h"))
        wait_for(reader)
        faults(("%s %s once=1 fd=%d%s"):format(READS[kind], name, reader.fd, never))
        is(method == "read_call" and "h" or 1, "maxlen")(reader[method](reader, wait, 1))
        is(1, 2)(faults(""))
        same(waits, name == "EAGAIN" and 1 or 0, method)
      end
      writer:close()
      reader:close()
      if child then child:wait() end
    end
  end
"""
    )


@test("waiting to read or write fails: a failure of that direction")
def _():
    inside(
        """
  for kind, make in pairs(PAIRS) do
    local reader, writer, child = make()
    faults(("%s EAGAIN once=1 fd=%d; poll ENOMEM once=1 fd=%d"):format(READS[kind], reader.fd, reader.fd))
    failed("ENOMEM", nil, reader:read(1))
    is(2, 2)(faults(""))
    failed("ENOMEM", nil, reader:read(1))
    faults(("%s EAGAIN once=1 fd=%d; poll ENOMEM once=1 fd=%d"):format(WRITES[kind], writer.fd, writer.fd))
    failed("ENOMEM", nil, writer:flush("x"))
    is(2, 2)(faults(""))
    failed("ENOMEM", nil, writer:flush("x"))
    failed("ENOMEM", nil, writer:close())
    reader:close()
    if child then child:wait() end
  end
"""
    )


@test("a read that waits sends what is pending, and is not put off by a signal or a failure of that")
def _():
    inside(
        """
  for kind in pairs { TCP = 1, Unix = 1 } do
    local near, far = PAIRS[kind]()
    assert(far:flush("answer"))
    wait_for(near)
    assert(near:write("question"))
    -- Nothing seems to be there at first, and the question cannot be sent at first.
    faults(("recv EAGAIN once=1 fd=%d; sendmsg EAGAIN once=1; poll EINTR once=1"):format(near.fd))
    is("answer", "maxlen")(near:read(6))
    is(3, 6)(faults(""))
    wait_for(far)
    is("question", "maxlen")(far:read_nb(8))

    assert(far:flush("answer"))
    wait_for(near)
    assert(near:write("question"))
    faults(("recv EAGAIN once=1 fd=%d; sendmsg EPIPE once=1"):format(near.fd))
    is("answer", "maxlen")(near:read(6))
    is(2, 3)(faults(""))
    failed("EPIPE", nil, near:flush())
    near:reset()
    far:reset()
  end
"""
    )


@test("finish fails with what shutdown says, and close then does not say that all was well")
def _():
    inside(
        """
  local near, far = PAIRS.TCP()
  failed("ECONNRESET", nil, once("shutdown ENOTCONN once=1 fd=" .. near.fd, near.finish, near))
  failed("ECONNRESET", nil, near:close())
  far:reset()
"""
    )


@test("close drops what was not read, however it comes: the peer sees a healthy end")
def _():
    inside(
        """
  for kind in pairs { TCP = 1, Unix = 1 } do
    for _, rule in ipairs { "recv EINTR once=1", "recv short max=100", "shutdown ENOTCONN once=1" } do
      local near, far = PAIRS[kind]()
      assert(far:flush(("u"):rep(2000)))
      assert(near:flush("last"))
      wait_for(near)
      faults(rule .. " fd=" .. near.fd)
      if rule:find("ENOTCONN") then failed("ECONNRESET", nil, near:close()) else is(true)(near:close()) end
      if faults("") == 0 then error("not met: " .. rule) end
      if not rule:find("ENOTCONN") then is("last", "eof")(far:read()) end
      far:close()
    end
  end
"""
    )


@test("accept: clients that have gone are passed over; out of descriptors or memory, the connection stays in the queue")
def _():
    inside(
        """
  local gone = { "ECONNABORTED", "EPROTO", "ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH", "ENONET", "ENOPROTOOPT",
    "EOPNOTSUPP", "EINTR" }
  local ours = { "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPERM" }
  local name = local_name()
  local tcp, unix = assert(mio.tcplisten("127.0.0.1", 0)), assert(mio.locallisten(name))
  local port = tcp.local_tcpport
  local listeners = {
    [tcp] = { function() return mio.tcpconnect("127.0.0.1", port) end, "127.0.0.1:" .. port .. ": " },
    [unix] = { function() return mio.localconnect(name) end, name .. ": " },
  }
  for listener, with in pairs(listeners) do
    local connect, label = table.unpack(with)
    local function check_and_close(near, far)
      assert(near:flush("hello"))
      is("hello", "maxlen")(far:read(5))
      near:close()
      is("", "eof")(far:read())
      far:close()
    end
    for _, method in ipairs { "accept", "accept_nb" } do
      for _, e in ipairs(gone) do
        local near = assert(connect())
        faults("accept4 " .. e .. " once=1")
        local far = assert(listener[method](listener))
        is(1, 2)(faults(""))
        check_and_close(near, far)
      end
      for _, e in ipairs(ours) do
        local near = assert(connect())
        failed(e, label, in_vain("accept4 " .. e, listener[method], listener))
        is(true)(mio.poll({ [listener] = true }, nil, 0))
        check_and_close(near, assert(listener[method](listener)))
      end
    end
    -- The client that poll has seen has gone: none is there, or the next one is waited for.
    local near = assert(connect())
    is(false, "no incoming connection")(once("accept4 EAGAIN once=1", listener.accept_nb, listener))
    check_and_close(near, (once("accept4 EAGAIN once=1", listener.accept, listener)) or nil)
  end
  tcp:close()
  unix:close()
"""
    )


@test("accept: waiting fails, and the next call is as if nothing had been; the addresses of a connection cannot be had")
def _():
    inside(
        """
  local listener = assert(mio.tcplisten("127.0.0.1", 0))
  local port = listener.local_tcpport
  local label = "127.0.0.1:" .. port .. ": "
  failed("ENOMEM", label, once("poll ENOMEM once=1", listener.accept, listener))
  failed("ENOMEM", label, once("poll ENOMEM once=1", listener.accept_nb, listener))
  is(false, "no incoming connection")(once("poll EINTR once=1", listener.accept_nb, listener))
  local near = assert(mio.tcpconnect("127.0.0.1", port))
  local far = assert(once("getsockname ENOBUFS once=1", listener.accept, listener))
  is(nil)(far.local_addr)
  is("127.0.0.1")(far.remote_addr)
  assert(tostring(far))
  assert(near:flush("x"))
  is("x", "maxlen")(far:read(1))
  listener:close()
  near:reset()
  far:reset()
"""
    )


@test("tcpconnect: what is of this machine ends it, what is of an address leads to the next one; nothing is left open")
def _():
    inside(
        """
  local listener = assert(mio.tcplisten("127.0.0.1", 0))
  local port = listener.local_tcpport
  local one, two = "127.0.0.1", "127.0.0.2,127.0.0.1"
  local target = one .. ":" .. port .. ": "
  for _, name in ipairs { "tcpconnect", "tcpconnect_nb" } do
    local connect = mio[name]
    local function works(host, rules, hits, calls)
      faults(rules)
      local near = assert(connect(host, port))
      if name == "tcpconnect_nb" then
        local fd = near.fd
        wait_for(nil, near)
        same(near.fd, fd, "fd")
      end
      is(hits, calls)(faults(""))
      same(near.remote_addr, "127.0.0.1")
      assert(near:flush("x"))
      local far = assert(listener:accept())
      is("x", "maxlen")(far:read(1))
      near:close()
      far:close()
    end
    for _, e in ipairs { "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM" } do
      failed(e, target, in_vain("socket " .. e, connect, one, port))
      failed(e, ("%s:%d (127.0.0.2:%d): "):format(two, port, port), in_vain("socket " .. e, connect, two, port))
    end
    for _, e in ipairs { "ENOBUFS", "ENOMEM" } do
      faults("connect " .. e .. " from=1")
      failed(e, ("%s:%d (127.0.0.2:%d): "):format(two, port, port), connect(two, port))
      is(1, 1)(faults(""))
    end
    works(one, "connect EINTR once=1", 1, 1)
    for _, e in ipairs { "ECONNREFUSED", "ENETUNREACH", "EHOSTUNREACH", "ETIMEDOUT", "EPERM" } do
      works(two, "connect " .. e .. " once=1", 1, 2)
      faults("connect " .. e .. " from=1")
      failed(e, ("%s:%d (127.0.0.1:%d): "):format(two, port, port), connect(two, port))
      is(2, 2)(faults(""))
    end
    -- What getsockopt says stands for what SO_ERROR does: nobody listens at the first address.
    for _, e in ipairs { "ECONNREFUSED", "ETIMEDOUT" } do
      works(two, "getsockopt " .. e .. " once=1", 1, 2)
    end
    works(one, "poll EINTR once=1; getsockopt EIO once=100", 1, 3)
  end
  -- The next socket has another number, as a lower one has become free meanwhile, and is put in the place of the first.
  local spare = assert(io.open("/dev/null"))
  faults("getsockopt ECONNREFUSED once=1; dup3 EINTR once=1")
  local near = assert(mio.tcpconnect_nb(two, port))
  local fd = near.fd
  spare:close()
  wait_for(nil, near)
  same(near.fd, fd, "fd")
  is(2, 4)(faults(""))
  assert(near:flush("x"))
  is("x", "maxlen")(assert(listener:accept()):read(1))
  near:close()
  listener:close()
"""
    )


@test("tcpconnect_nb: a failure that comes later is the result of every call from then on")
def _():
    inside(
        """
  local listener = assert(mio.tcplisten("127.0.0.1", 0))
  local port = listener.local_tcpport
  local two = "127.0.0.2,127.0.0.1"
  local one_target, two_target = ("127.0.0.1:%d: "):format(port), ("%s:%d (127.0.0.1:%d): "):format(two, port, port)
  local cases = {
    { "127.0.0.1", "ECONNREFUSED", "getsockopt ECONNREFUSED once=1", 1, one_target },
    { "127.0.0.1", "ETIMEDOUT", "getsockopt ETIMEDOUT once=1", 1, one_target },
    { "127.0.0.1", "ENOBUFS", "getpeername ENOBUFS once=1", 1, one_target },
    { "127.0.0.1", "ENOMEM", "poll ENOMEM once=1", 1, one_target },
    { two, "ETIMEDOUT", "getsockopt ETIMEDOUT from=1", 2, two_target },
    { two, "EMFILE", "getsockopt ECONNREFUSED once=1; socket EMFILE once=2", 2, two_target },
    { two, "ENETUNREACH", "getsockopt ECONNREFUSED once=1; connect ENETUNREACH once=2", 2, two_target },
    { two, "EIO", "getsockopt ECONNREFUSED once=1; dup3 EIO once=1", 2, two_target },
  }
  local calls = { poll = function(near) wait_for(nil, near) end }
  for _, method in ipairs { "read", "drain", "flush" } do
    for name, form in pairs(forms_of(method)) do calls[name] = form end
  end
  -- The write forms keep what is little, undecided or not.
  for name, form in pairs(forms_of("write")) do
    calls[name] = function(near) return form(near, ("x"):rep(5000)) end
  end
  for _, case in ipairs(cases) do
    local host, e, rules, hits, target = table.unpack(case)
    for name, first in pairs(calls) do
      local before = holdings()
      faults(rules)
      local spare = assert(io.open("/dev/null"))
      local near = assert(mio.tcpconnect_nb(host, port))
      spare:close() -- a number below its own, so that the next socket has to be moved
      wait_for(nil, near.fd) -- the system's word, not ours
      first(near, name:find("flush") and "x" or nil)
      -- All addresses are tried before that.
      if faults(rules) < hits then error(name .. " under " .. rules .. ": not all faults were met") end
      faults("")
      is(true)(mio.poll({ [near] = true }, nil, 0))
      is(true)(mio.poll(nil, { [near] = true }, 0))
      for _, method in ipairs { "read", "drain", "write", "flush" } do
        for _, form in pairs(forms_of(method)) do
          failed(e, target, form(near))
        end
      end
      failed(e, target, near:finish())
      failed(e, target, near:close())
      near = nil
      local far
      repeat far = listener:accept_nb() until not far
      same(holdings(), before, name .. " under " .. rules)
    end
  end
  listener:close()
"""
    )


@test("listening fails: nothing is left open; a file is removed only to listen in its place")
def _():
    path = mbtest.tmp("listened-at")
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(path)
    inside(
        f"""
  local path = "{path}"
  local tcp = {{ "socket EMFILE", "socket ENFILE", "socket ENOBUFS", "socket ENOMEM", "setsockopt ENOBUFS",
    "bind EADDRINUSE", "listen EADDRINUSE" }}
  for _, rule in ipairs(tcp) do
    local e = rule:match("E.*")
    failed(e, "127.0.0.1:0: ", in_vain(rule, mio.tcplisten, "127.0.0.1", 0))
    local listener = assert(once(rule .. " once=1", mio.tcplisten, "127.0.0.2,127.0.0.1", 0))
    same(listener.local_addr, "127.0.0.1")
    listener:close()
    faults(rule .. " from=1")
    failed(e, "127.0.0.2,127.0.0.1:0: ", mio.tcplisten("127.0.0.2,127.0.0.1", 0))
    faults("")
  end
  local unix = {{ "socket EMFILE", "socket ENFILE", "socket ENOBUFS", "socket ENOMEM", "bind ENOMEM", "lstat EIO",
    "unlink EPERM" }}
  for _, rule in ipairs(unix) do
    if rule:find("FILE") then
      failed(rule:match("E.*"), path .. ": ", in_vain(rule, mio.locallisten, path))
    else
      failed(rule:match("E.*"), path .. ": ", once(rule .. " once=1", mio.locallisten, path))
    end
    same(os.rename(path, path), true, "the file is there after " .. rule)
  end
  faults("bind EADDRINUSE from=1")
  failed("EADDRINUSE", path .. ": ", mio.locallisten(path))
  is(2, 2)(faults(""))
  -- What is in the way goes away meanwhile.
  local listener = assert(mio.locallisten(path))
  listener:close()
  os.remove(path)
  listener = assert(once("bind EADDRINUSE once=1", mio.locallisten, path))
  listener:close()
  failed("EADDRINUSE", path .. ": ", once("listen EADDRINUSE once=1", mio.locallisten, path))
"""
    )


@test("localconnect: interrupted, it goes on; a queue that is full, descriptors that run out")
def _():
    inside(
        """
  local name = local_name()
  local listener = assert(mio.locallisten(name))
  for _, method in ipairs { "localconnect", "localconnect_nb" } do
    for _, rule in ipairs { "socket EMFILE", "socket ENFILE", "socket ENOMEM", "connect EAGAIN", "connect ECONNREFUSED" } do
      failed(rule:match("E.*"), name .. ": ", in_vain(rule, mio[method], name))
    end
    faults("connect EINTR storm=20")
    local near = assert(mio[method](name))
    assert(faults("") > 0)
    local far = assert(listener:accept())
    assert(near:flush("x"))
    is("x", "maxlen")(far:read(1))
    near:close()
    far:close()
  end
  failed("EIO", name .. ": ", once("fcntl EIO once=1", mio.localconnect_nb, name))
  local far
  repeat far = listener:accept_nb() until not far
  listener:close()
"""
    )


@test("exec fails at any point: the failure is told, and neither a process nor a pipe is left")
def _():
    inside(
        """
  local before = holdings()
  for n = 1, 4 do
    for _, e in ipairs { "EMFILE", "ENFILE" } do
      failed(e, "cat: ", under(("pipe2 %s from=%d"):format(e, n), 2, mio.exec, "cat"))
      same(holdings(), before)
    end
  end
  for _, e in ipairs { "EAGAIN", "ENOMEM" } do
    failed(e, "cat: ", once("vfork " .. e .. " once=1", mio.exec, "cat"))
    same(holdings(), before)
  end
  -- The guard of a process group is a process and a pipe more.
  local guarded = { end_with_script = true }
  for n = 1, 6 do
    for _, e in ipairs { "EMFILE", "ENFILE" } do
      failed(e, "cat: ", under(("pipe2 %s from=%d"):format(e, n), 2, mio.exec, guarded, "cat"))
      same(holdings(), before)
    end
  end
  for n = 1, 2 do
    failed("EAGAIN", "cat: ", once("vfork EAGAIN once=" .. n, mio.exec, guarded, "cat"))
    same(holdings(), before)
  end
  -- The guard is killed before it learns of the end, and so begins nothing.
  faults("kill late once=1")
  is(nil, "/no/such/program: No such file or directory", 2)(mio.exec(guarded, "/no/such/program"))
  if faults("") < 1 then error("not met: kill") end
  same(holdings(), before)
  -- In the child, on the way to the program; the report of it may be interrupted.
  for _, rule in ipairs { "dup2 EBUSY once=1", "dup2 EBUSY once=2", "dup2 EBUSY once=3", "dup3 EBUSY once=1" } do
    faults(rule .. "; read,write EINTR storm=5")
    failed("EBUSY", "cat: ", mio.exec("cat"))
    if faults("") < 1 then error("not met: " .. rule) end
    same(holdings(), before)
  end
  for n = 1, 3 do
    failed("EPERM", "cat: ", once("fcntl EPERM once=" .. 2 * n, mio.exec, "cat"))
    same(holdings(), before)
  end
  faults("read,write,waitpid EINTR storm=5")
  local child, message, number = mio.exec("/no/such/program")
  is(nil, "/no/such/program: No such file or directory", 2)(child, message, number)
  if faults("") < 1 then error("not met") end
"""
    )


@test("descriptors that garbage holds are had back before any call says that there are none")
def _():
    inside(
        """
  local name = local_name()
  local tcp, unix = assert(mio.tcplisten("127.0.0.1", 0)), assert(mio.locallisten(name))
  local port = tcp.local_tcpport
  local collected
  -- In a function of its own: no register keeps the table.
  local function arm() setmetatable({}, { __gc = function() collected = true end }) end
  local near_tcp, near_unix = assert(mio.tcpconnect("127.0.0.1", port)), assert(mio.localconnect(name))
  local calls = {
    { "accept4", function() return tcp:accept() end },
    { "accept4", function() return unix:accept_nb() end },
    { "socket", function() return mio.tcpconnect("127.0.0.1", port) end },
    { "socket", function() return mio.tcpconnect_nb("127.0.0.1", port) end },
    { "socket", function() return mio.localconnect(name) end },
    { "socket", function() return mio.localconnect_nb(name) end },
    { "socket", function() return mio.tcplisten("127.0.0.1", 0) end },
    { "socket", function() return mio.locallisten(local_name()) end },
    { "pipe2", function() return mio.exec("true") end },
  }
  for i, case in ipairs(calls) do
    for _, e in ipairs { "EMFILE", "ENFILE" } do
      collected = false
      arm()
      local made = assert(once(("%s %s once=1"):format(case[1], e), case[2]))
      same(collected, true, "garbage was collected, " .. i)
      if made.wait then made:wait() elseif made.reset then made:reset() else made:close() end
      if i == 1 then near_tcp = assert(mio.tcpconnect("127.0.0.1", port)) end
      if i == 2 then near_unix = assert(mio.localconnect(name)) end
    end
  end
  tcp:close()
  unix:close()
  near_tcp:reset()
  near_unix:reset()
"""
    )


@test("waiting for a child: interrupted, it goes on; a failure does not stay; kill")
def _():
    inside(
        """
  local forms = {
    wait = function(child) return child:wait() end,
    wait_call = function(child) return child:wait_call(waiter(child)) end,
    wait_yield = function(child)
      local wait = coroutine.wrap(function() return child:wait_yield() end)
      local result = table.pack(wait())
      while result.n == 0 do
        wait_for(child)
        result = table.pack(wait())
      end
      return table.unpack(result, 1, result.n)
    end,
    wait_nb = function(child)
      wait_for(child)
      return child:wait_nb()
    end,
  }
  for name, wait in pairs(forms) do
    local child = assert(mio.exec("sh", "-c", "read line; exit 7"))
    local label = ("process %d: "):format(child.pid)
    is(nil)(child:wait_nb())
    -- Reaped by somebody else, it has ended.
    is(true)(once("waitid ECHILD once=1", mio.poll, { [child] = true }, nil, 0))
    is(false, "timeout")(mio.poll({ [child] = true }, nil, 0))
    failed("EPERM", label, once("kill EPERM once=1", child.kill, child))
    is(child)(child:kill(0))
    assert(child.stdin:flush("go\\n"))
    failed("ECHILD", label, once("waitpid,waitpid_nb ECHILD once=1", wait, child))
    faults("waitpid,ppoll EINTR storm=4")
    is(7)(wait(child))
    faults("")
    is(7)(wait(child))
    is(nil, label .. "No such process", 3)(child:kill())
  end
  local child = assert(mio.exec("cat"))
  is(child)(child:kill())
  faults("waitpid EINTR once=1; waitpid EINTR once=1")
  is(-15)(child:wait())
  is(2, 5)(faults(""))
"""
    )


@test("children that nobody waits for are reaped when they end, whatever is interrupted")
def _():
    inside(
        """
  faults("ppoll,poll,read,write,writev,close EINTR storm=3")
  for i = 1, 5 do
    assert(mio.exec("true"))
    assert(mio.exec("cat")) -- ends when its input is collected
  end
  collectgarbage()
  collectgarbage()
  until_true(function() return contents("/proc/thread-self/children") == "" end, "no children are left")
  -- poll does not report their end: here it is nobody's business.
  faults("")
  assert(mio.exec("sh", "-c", "sleep 0.02"))
  collectgarbage()
  collectgarbage()
  repeat is(false, "timeout")(mio.poll(nil, nil, 0.05)) until contents("/proc/thread-self/children") == ""
"""
    )


@test("poll: a signal and a failure are told once; the signal mask is as it was")
def _():
    inside(
        """
  local near, far = PAIRS.TCP()
  local function blocked() return contents("/proc/thread-self/status"):match("SigBlk:%s*(%x+)") end
  local before = blocked()
  assert(far:flush("x"))
  wait_for(near)
  for _, wakeup in ipairs { false, true } do
    local function poll() return mio.poll({ [near] = true }, { [far] = true }, 5, wakeup) end
    is(false, "signal received")(once("ppoll EINTR once=1", poll))
    is(true)(poll())
    failed("ENOMEM", "poll: ", once("ppoll ENOMEM once=1", poll))
    same(blocked(), before, "signals blocked")
    is(true)(poll())
    faults("ppoll EINTR storm=10")
    local signals = 0
    for _ = 1, 100 do
      local ready, why = poll()
      if ready ~= true then is(false, "signal received")(ready, why) signals = signals + 1 end
    end
    is(signals, 100)(faults(""))
  end
  near:reset()
  far:reset()
"""
    )


def to_file(body, rules, want, log):
    """A replay from a file to a file, whose handler sees a failure and deals with it. Returns what was written."""
    source, sink = mbtest.tmp("in"), mbtest.tmp("out")
    mbtest.write_file(source, "input\n" * 1000)
    path = handler(f'{body}\nprint("dealt with")')
    with open(source, "rb") as stdin, open(sink, "wb") as out:
        child = start([HANDLE, path], {0: stdin, 1: out}, environment(rules))
    outcome(child, want, "dealt with")
    check(log in mbtest.read_file(LOG), f"{log!r} in the log: {mbtest.read_file(LOG)!r}")
    return mbtest.read_file(sink)


@test("a replay whose output fails: the handler is told, and status 71 tells the rest")
def _():
    for name in ("ENOSPC", "EIO"):
        for form in ("flush", "flush_nb", "flush_call", "flush_yield"):
            written = to_file(
                f"""
  local form = forms_of("flush").{form}
  form(socket, "first ")
  failed("{name}", nil, once("write,writev {name} once=1", form, socket, "is lost"))
  for _, again in pairs(forms_of("write")) do failed("{name}", nil, again(socket, "x")) end
  failed("{name}", nil, socket:finish())
  failed("{name}", nil, socket:close())
""",
                "",
                71,
                "cannot write the output: " + os.strerror(getattr(errno, name)),
            )
            equal(written, "first ", f"output of {form}")


@test("a replay whose output fails only when it is closed: finish and close tell, and so does status 71")
def _():
    for end in ("finish", "close"):
        to_file(
            f"""
  assert(socket:flush("all"))
  failed("ENOSPC", nil, once("close ENOSPC once=1", socket.{end}, socket))
""",
            "",
            71,
            "cannot write the output: No space left",
        )
    # A signal there is no failure: it is closed.
    written = to_file('is(true)(once("close EINTR once=1", socket.finish, socket, socket:flush("all") and nil))', "", 0, "")
    equal(written, "all", "output")


@test("a replay whose input fails: the handler is told, and can go on")
def _():
    written = to_file(
        """
  is("input\\n", "term")(socket:read(nil, "\\n"))
  faults("read EIO once=1")
  failed("EIO", nil, socket:read())
  is(1, 1)(faults(""))
  failed("EIO", nil, socket:read())
  assert(socket:write("answer"))
""",
        "",
        0,
        "",
    )
    equal(written, "answer", "output")


# --- Descriptors that run out, and failures of any call at any point ---

# Does all there is to do, and deals with every failure. Returns how many of the steps failed, and lets nothing live on.
EVERYTHING = r"""
local function tell(failures, ...)
  local first, message, number = ...
  if first then return ... end
  -- What is no failure: nothing there yet, or a signal.
  if first == false and (message == "no incoming connection" or message == "signal received") then return first, message end
  if first ~= nil or type(message) ~= "string" or math.type(number) ~= "integer" or number < 1 or select("#", ...) ~= 3 then
    error("no failure is told like this: " .. text_of(...))
  end
  failures[#failures + 1] = message
  return nil
end

-- Waits until there is a connection; nil after a failure.
local function accept_nb(failures, listener)
  repeat
    local socket = tell(failures, listener:accept_nb())
    if socket ~= false then return socket end
    if tell(failures, mio.poll({ [listener] = true }, nil, DEADLINE)) == nil then return nil end
  until false
end

-- Says something in one direction, and closes: nothing but what was said may arrive.
local function talk(failures, from, to)
  if tell(failures, from:write("abc")) and tell(failures, from:flush("def\n")) then
    local line = tell(failures, to:read(10, "\n"))
    if line and line ~= "abcdef\n" then error("wrong bytes: " .. text_of(line)) end
  end
  tell(failures, from:close())
  -- The end can be waited for: whatever failed, the other side is closed.
  local rest = tell(failures, to:read())
  if rest and not ("abcdef\n"):find(rest, 1, true) then error("wrong bytes: " .. text_of(rest)) end
  tell(failures, to:close())
end

local function connections(failures, listener, connect, method)
  if not listener then return end
  local near = tell(failures, connect(listener))
  if near then
    repeat local ready, why = tell(failures, mio.poll(nil, { [near] = true }, DEADLINE)) until why ~= "signal received"
    -- Whether it is connected: else nobody would come.
    if not ready or not tell(failures, near:flush_nb()) then near = near:reset() and nil end
  end
  local far
  if near then
    if method == "accept" then far = tell(failures, listener:accept()) else far = accept_nb(failures, listener) end
  end
  if far then talk(failures, near, far) end
  listener:close()
end

local function tcp(failures, name, method)
  connections(failures, tell(failures, mio.tcplisten("127.0.0.1", 0)), function(listener)
    -- Without an address, when that could not be had.
    return mio[name]("127.0.0.2,127.0.0.1", listener.local_tcpport or 1)
  end, method)
end

local function unix(failures, name, method)
  local path = local_name()
  connections(failures, tell(failures, mio.locallisten(path)), function() return mio[name](path) end, method)
end

local function child(failures, wait)
  local child = tell(failures, mio.exec("cat"))
  if not child then return end
  talk(failures, child.stdin, child.stdout)
  tell(failures, child.stderr:close())
  local status
  for _ = 1, 3 do
    status = status or tell(failures, wait(child))
  end
  -- cat itself may have been cut short.
  if status ~= 0 and status ~= 1 and status ~= -13 then error("exit status " .. text_of(status)) end
end

local function everything()
  local failures = {}
  tcp(failures, "tcpconnect", "accept")
  tcp(failures, "tcpconnect_nb", "accept_nb")
  unix(failures, "localconnect", "accept_nb")
  unix(failures, "localconnect_nb", "accept")
  child(failures, function(c) return c:wait() end)
  child(failures, function(c)
    return c:wait_call(function() tell(failures, mio.poll({ [c] = true }, nil, DEADLINE)) end)
  end)
  tell(failures, mio.exec("/no/such/program"))
  if failures[#failures]:find("No such file", 1, true) then table.remove(failures) end
  return #failures
end
"""


@test("any call fails once, each in turn: every failure is told, nothing is left open, and all goes well afterwards")
def _():
    for name in ("EIO", "ENOMEM", "ECONNRESET"):
        inside(
            EVERYTHING
            + f"""
  is(0)(everything())
  local before = holdings()
  for n = 1, {POINTS_MAX} do
    faults("any {name} once=" .. n)
    local fine, result = xpcall(everything, debug.traceback)
    local hits = faults("")
    if not fine then error("N = " .. n .. ": " .. result, 0) end
    same(holdings(), before, "N = " .. n)
    if hits == 0 then
      same(result, 0, "failures without a fault")
      if n < 100 then error("N = " .. n .. " was not hit: the shim does not work") end
      return
    end
  end
  error("still hit")
"""
        )


@test("no descriptors from some point on: every failure is told, nothing is left open, and all goes well afterwards")
def _():
    for name in ("EMFILE", "ENFILE"):
        inside(
            EVERYTHING
            + f"""
  is(0)(everything())
  local before = holdings()
  for n = 1, {POINTS_MAX} do
    faults("making {name} from=" .. n)
    local result = everything()
    local hits = faults("")
    same(holdings(), before, "N = " .. n)
    if hits == 0 then
      same(result, 0, "failures without a fault")
      if n < 20 then error("N = " .. n .. " was not hit: the shim does not work") end
      return
    elseif result == 0 then
      error("N = " .. n .. ": no failure was told")
    end
  end
  error("still hit")
"""
        )


# Says that it has begun; then descriptors and failures are its own affair.
SERVES = handler(
    EVERYTHING
    + r"""
  print("begun")
  local before = holdings()
  everything()
  faults("")
  same(holdings(), before)
  repeat
    local line, status = assert(socket:read(nil, "\n"))
    assert(socket:write(line))
  until status == "eof"
"""
)


def serves_or_says_why(run, data, env, argv):
    """One run of SERVES: once the handler has begun, it has to be served; before, a failure has to be told."""
    child, came, how = run(argv, data, env)
    status = child.wait()
    text = mbtest.read_file(LOG)
    no_orphans()
    if "begun" in text or status == 0:
        equal((status, came == data, how), (0, True, "eof"), f"status, all of the answer, end; log: {text[-1000:]}")
    else:
        check(status in (66, 71) and text, f"status {status}, log: {text[-1000:]!r}")
        equal(came, b"", "what came")
    return status


@test("a descriptor that cannot be had, each in turn from the start of the process on")
def _():
    for name, run in TRANSPORTS.items():
        for mode in ("once", "from"):
            seen = set()
            for n in itertools.count(1):
                check(n < POINTS_MAX, f"{name}, N = {n}: still hit")
                env = environment(f"making EMFILE {mode}={n}", FAULTIO_HIT=HIT)
                with about(f"{name}, {mode} N = {n}"):
                    seen.add(serves_or_says_why(run, b"some\nlines\n", env, [HANDLE, SERVES]))
                if not os.path.exists(HIT):
                    check(n > 10, f"N = {n} was not hit: the shim does not work")
                    break
                os.unlink(HIT)
            # 66: the script cannot be opened.
            equal(seen, {0, 66} if name == "TCP" else {0, 66, 71}, f"{name}, {mode}: statuses seen")


@test("a limit of descriptors, each in turn: also what libc opens by itself counts")
def _():
    for name, run in TRANSPORTS.items():
        seen = set()
        # The least with which the program itself can be loaded; the most that any step has to do with.
        for limit in range(5 if name == "TCP" else 4, 26):
            # A program that has the shim hands it down to none.
            env = environment(LATER=SHIM, LD_PRELOAD="")
            argv = ["/bin/sh", "-c", f'ulimit -n {limit}; export LD_PRELOAD="$LATER"; exec "$@"', "sh", HANDLE, SERVES]
            with about(f"{name}, limit {limit}"):
                seen.add(serves_or_says_why(run, b"some\nlines\n", env, argv))
        equal(seen, {0} if name == "TCP" else {0, 71}, f"{name}: statuses seen")


@test("any call fails once before the handler begins, each in turn: it serves, or says why not")
def _():
    path = handler('print("begun") faults("") socket:write((socket:read()))')
    for name, run in TRANSPORTS.items():
        for n in itertools.count(1):
            check(n < POINTS_MAX, f"{name}, N = {n}: still hit")
            env = environment(f"any EIO once={n}", FAULTIO_HIT=HIT)
            with about(f"{name}, N = {n}"):
                serves_or_says_why(run, b"some\nlines\n", env, [HANDLE, path])
            if not os.path.exists(HIT):
                check(n > 5, f"N = {n} was not hit: the shim does not work")
                break
            os.unlink(HIT)


# --- Bytes that go through: nothing may be lost, doubled or out of order ---

DATA = random.Random(1).randbytes(800 * 1024)
AGAIN = "read,recv,sendmsg,write,writev,accept4 EAGAIN"

# Under each, how much is sent: calls that move a byte each are slow.
WEATHERS = {
    "EINTR three times out of four": (environment("interruptible EINTR storm=4"), len(DATA)),
    "EAGAIN every other time": (environment(f"{AGAIN} storm=2"), len(DATA)),
    "at most 1000 bytes a call, EAGAIN and EINTR": (
        environment(f"moving short max=1000; {AGAIN} storm=3; interruptible EINTR storm=3"),
        len(DATA),
    ),
    "a byte a call": (environment("moving short max=1"), 20000),
    "a signal every 50 µs": (environment(FAULTIO_SIGNALS=50), len(DATA)),
    "all of it": (
        environment(f"moving short max=1; {AGAIN} storm=3; interruptible EINTR storm=3", FAULTIO_SIGNALS=200),
        4000,
    ),
}

# What the echo is made of: one form that reads, and one that writes.
ECHOES = {
    "read and write": (
        "return socket:read(1000)",
        "return socket:write(data)",
        "return socket:flush()",
    ),
    "read_nb and write_nb": (
        "wait_for(socket) return socket:read_nb(1000)",
        "return socket:write_nb(data)",
        "while assert(socket:flush_nb()) > 0 do wait_for(nil, socket) end return true",
    ),
    "read_call and write_call": (
        "return socket:read_call(waiter(socket), 1000)",
        "return socket:write_call(waiter(nil, socket), data)",
        "return socket:flush_call(waiter(nil, socket))",
    ),
    "read_yield and flush_yield": (
        "return scheduled(socket, socket.read_yield, 1000)",
        "return scheduled(nil, socket.flush_yield, data)",
        "return true",
    ),
}


def echo(forms):
    read, write, flush = forms
    return handler(
        f"""
  -- Calls a method in a coroutine, and waits whenever that yields.
  local function scheduled(input, method, ...)
    local thread = coroutine.create(method)
    local result = table.pack(coroutine.resume(thread, socket, ...))
    while coroutine.status(thread) ~= "dead" do
      wait_for(input, not input and socket or nil)
      result = table.pack(coroutine.resume(thread))
    end
    return table.unpack(result, 2, result.n)
  end
  local function read() {read} end
  local function write(data) {write} end
  local function flush() {flush} end
  repeat
    local data, status = assert(read())
    assert(write(data))
  until status == "eof"
  assert(flush())
"""
    )


def passes(run, path, env, sent, want, beside=contextlib.nullcontext):
    """What a handler is sent comes back as it should, and the process ends well, without having worked too much."""
    before = cpu_seconds()
    child, came, how = run([HANDLE, path], sent, env, beside)
    outcome(child)
    same = len(os.path.commonprefix([came, want]))
    check(came == want, f"{len(came)} of {len(want)} bytes, the same up to {same}")
    equal(how, "eof", "end")
    worked = cpu_seconds() - before
    check(worked < CPU_MAX / 2, f"{worked} s of computing")


for _weather, (_env, _size) in WEATHERS.items():

    @test(f"echo, all forms and transports: {_weather}")
    def _(env=_env, size=_size):
        for forms_name, forms in ECHOES.items():
            path = echo(forms)
            for name, run in TRANSPORTS.items():
                with about(f"{forms_name}, {name}"):
                    passes(run, path, env, DATA[:size], DATA[:size])


# Pumps bytes through a row of pairs, { from, to, from, to, ... }, until as many as there are have gone through all.
PUMP = r"""
local function pump(row, total)
  local pumps = {}
  for i = 1, #row, 2 do pumps[#pumps + 1] = { from = row[i], to = row[i + 1], moved = 0, pending = 0 } end
  while pumps[#pumps].moved < total or pumps[#pumps].pending > 0 do
    local input, output = {}, {}
    for _, p in ipairs(pumps) do
      if p.pending > 0 then output[p.to] = true elseif p.moved < total then input[p.from] = true end
    end
    local ready, why = mio.poll(input, output, DEADLINE)
    if not ready and why ~= "signal received" then error(why) end
    for _, p in ipairs(pumps) do
      local data = ""
      if p.pending == 0 and p.moved < total then data = assert(p.from:read_nb(math.min(total - p.moved, 30000))) end
      p.moved = p.moved + #data
      if data ~= "" or p.pending > 0 then p.pending = assert(p.to:flush_nb(data)) end
    end
  end
end

-- A listener, and how to connect to it.
local ENDS = {
  TCP = function(nb)
    local listener = assert(mio.tcplisten("127.0.0.1", 0))
    return listener, function() return mio[nb and "tcpconnect_nb" or "tcpconnect"]("127.0.0.1", listener.local_tcpport) end
  end,
  Unix = function(nb)
    local name = local_name()
    local listener = assert(mio.locallisten(name))
    return listener, function() return mio[nb and "localconnect_nb" or "localconnect"](name) end
  end,
}
"""

# A proxy: what comes goes over a connection, whose other end is here as well and sends it back. The end of that other end
# comes after all bytes.
PROXY = handler(
    PUMP
    + r"""
  local before = holdings()
  local total = assert(tonumber((socket:read(20, "\n"))))
  for _, kind in ipairs { "TCP", "Unix" } do
    for _, nb in ipairs { true, false } do
      local listener, connect = ENDS[kind](nb)
      local near = assert(connect())
      local far
      repeat
        wait_for(listener)
        far = listener:accept_nb()
      until far
      listener:close()
      pump({ socket, near, far, far, near, socket }, total)
      is(true)(near:finish())
      is("", "eof")(far:read())
      is(true)(far:close())
      is("", "eof")(near:read())
      is(true)(near:close())
    end
  end
  same(holdings(), before)
"""
)

# Through four processes, one behind the other, each waited for in another way.
FILTERS = handler(
    PUMP
    + r"""
  local before = holdings()
  local total = assert(tonumber((socket:read(20, "\n"))))
  local children = {}
  for i = 1, 4 do children[i] = assert(mio.exec("sh", "-c", "cat && printf 'well done' >&2; exit " .. i)) end
  local a, b, c, d = table.unpack(children)
  pump({ socket, a.stdin, a.stdout, b.stdin, b.stdout, c.stdin, c.stdout, d.stdin, d.stdout, socket }, total)
  for _, child in ipairs(children) do
    is(true)(child.stdin:close())
    is("", "eof")(child.stdout:read())
    is("well done", "eof")(child.stderr:read())
  end
  is(1)(a:wait())
  is(2)(b:wait_call(waiter(b)))
  local wait = coroutine.wrap(function() return c:wait_yield() end)
  local status = wait()
  while not status do
    wait_for(c)
    status = wait()
  end
  is(3)(status)
  wait_for(d)
  is(4)(d:wait_nb())
  a, b, c, d, children = nil
  same(holdings(), before)
"""
)


def pumps(run, path, env, size, beside=contextlib.nullcontext):
    """Sends PROXY or FILTERS how much there is, and that as often as it takes it."""
    data, times = (DATA[: size // 4], 4) if path == PROXY else (DATA[: size // 2], 1)
    passes(run, path, env, f"{len(data)}\n".encode() + data * times, data * times, beside)


for _weather, (_env, _size) in WEATHERS.items():

    @test(f"a proxy with connections of each kind: {_weather}")
    def _(env=_env, size=_size):
        for name, run in TRANSPORTS.items():
            with about(name):
                pumps(run, PROXY, env, size)

    @test(f"filters, one behind the other: {_weather}")
    def _(env=_env, size=_size):
        for name, run in TRANSPORTS.items():
            with about(name):
                pumps(run, FILTERS, env, size)


@contextlib.contextmanager
def signals_for(child):
    """Signals for a process, one after the other. SIGPIPE is one that it handles by doing nothing, once it has begun."""
    bit = 1 << (signal.SIGPIPE - 1)

    def is_caught():
        return int(re.search(r"SigCgt:\s*(\w+)", mbtest.read_file(f"/proc/{child.pid}/status"))[1], 16) & bit

    until(is_caught, "SIGPIPE is caught")
    stop = threading.Event()

    def send():
        while not stop.wait(0.0001):
            os.kill(child.pid, signal.SIGPIPE)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    try:
        yield
    finally:
        stop.set()
        sender.join()


@test("signals from outside, without the shim: a proxy, filters, and waiting that says so")
def _():
    run = over(tcp_pair, (3,))
    for path in (PROXY, FILTERS):
        pumps(run, path, {}, len(DATA), signals_for)
    told = handler(
        """
  repeat until select(2, mio.poll(nil, nil, 15)) == "signal received"
  socket:write((socket:read()))
"""
    )
    passes(run, told, {}, b"x", b"x", signals_for)
    # And with those that the shim sends, which interrupt every call that waits.
    passes(run, told, environment(FAULTIO_SIGNALS=50), b"x", b"x")


@test("a connection that is lost in the middle: what had come until then came once and in order, and all is closed")
def _():
    inside(
        r"""
  local before = holdings()
  local pieces = {}
  for i = 1, 2000 do pieces[i] = ("%07d\n"):format(i) end
  local all = table.concat(pieces)
  -- Sends all from near to far and back. Returns what came back, and the failure.
  local function there_and_back(near, far)
    local sent, back = 0, {}
    while true do
      local piece = all:sub(sent + 1, sent + 1000)
      sent = sent + #piece
      local pending, message = near:flush_nb(piece)
      if not pending then return table.concat(back), message end
      local there, why = far:read_nb(100000)
      if not there then return table.concat(back), why end
      pending, message = far:flush_nb(there)
      if not pending then return table.concat(back), message end
      there, why = near:read_nb(100000)
      if not there then return table.concat(back), why end
      back[#back + 1] = there
      if #table.concat(back) == #all then return all end
    end
  end
  for _, kind in ipairs { "TCP", "Unix" } do
    for _, name in ipairs { "ECONNRESET", "EPIPE", "ETIMEDOUT" } do
      for n = 1, 60, 3 do
        local near, far = PAIRS[kind]()
        faults(("moving short max=700; recv,sendmsg %s once=%d; recv,sendmsg EAGAIN storm=4"):format(name, n))
        local back, message = there_and_back(near, far)
        faults("")
        same(message, E[name][2])
        same(all:sub(1, #back), back)
        near:close()
        far:close()
        near, far = nil
        same(holdings(), before)
      end
    end
  end
"""
    )


@test("a client that resets in the middle: the handler is told, whatever else goes wrong, and the process ends well")
def _():
    path = handler(
        """
  local data, message, number
  repeat
    data, message, number = socket:read(1000)
    if data then
      data, message, number = socket:write(data)
      if data then message = nil end
    end
  until message
  print("told", message, number)
  failed(number == 104 and "ECONNRESET" or "EPIPE", nil, data, message, number)
"""
    )
    for env, _ in WEATHERS.values():
        client, conn = tcp_pair()
        child = start([HANDLE, path], {3: conn}, env)
        conn.close()
        client.send(DATA[:3000])
        client.receive()
        client.reset()
        outcome(child, 0, "told")


# --- Waiting: without work, though it was interrupted ---


def asleep(pid):
    """Whether the process waits, and was not awake between some looks."""

    def look():
        text = mbtest.read_file(f"/proc/{pid}/status")
        return re.search(r"State:\s*(\w)", text)[1], re.findall(r"ctxt_switches:\s*(\d+)", text)

    looks = []
    for _ in range(10):
        looks.append(look())
        time.sleep(0.001)
    return looks[0][0] == "S" and all(l == looks[0] for l in looks)


def connect_to(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)


def written(path):
    with open(path, "wb") as f:
        f.write(b"x\n")


# What the handler does, where "go" is the client to do something, and what that is.
WAITS = {
    "read": ('is("x", "maxlen")(socket:read(1))', lambda client, _: client.send("x")),
    "read_call": ('is("x", "maxlen")(socket:read_call(waiter(socket), 1))', lambda client, _: client.send("x")),
    "drain": ('is(2, "term")(socket:drain(nil, "\\n"))', lambda client, _: client.send("x\n")),
    "poll": ("wait_for(socket)", lambda client, _: client.send("x")),
    "write": ("assert(socket:flush(large))", lambda client, _: client.send("")),
    "flush_call": ("assert(socket:flush_call(waiter(nil, socket), large))", lambda client, _: client.send("")),
    "read with pending output": (
        'assert(socket:write_nb(large)) is("x", "maxlen")(socket:read(1))',
        lambda client, _: client.send("x"),
    ),
    "accept": ("assert(mio.locallisten(argument):accept()):reset()", lambda _, path: connect_to(path)),
    "a child's output": (
        'local child = assert(mio.exec("cat", argument)) is("x\\n", "eof")(child.stdout:read()) is(0)(child:wait())',
        lambda _, path: written(path),
    ),
    "a child's end": ('is(0)(assert(mio.exec("sh", "-c", "read x <$0", argument)):wait())', lambda _, path: written(path)),
    "a child's end, by poll": (
        'local child = assert(mio.exec("sh", "-c", "read x <$0", argument)) wait_for(child) is(0)(child:wait_nb())',
        lambda _, path: written(path),
    ),
    "a child's input": (
        'local child = assert(mio.exec("sh", "-c", "read x <$0; cat >/dev/null", argument)) '
        "assert(child.stdin:flush(large)) child.stdin:close() is(0)(child:wait())",
        lambda _, path: written(path),
    ),
}


@test("whatever waits goes to sleep, after some interruptions and calls that were in vain")
def _():
    rules = "recv,read,sendmsg,writev,accept4 EAGAIN storm=3; interruptible EINTR storm=3"
    for name, (waits, go) in WAITS.items():
        argument = mbtest.tmp("asleep")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(argument)
        if name.startswith("a child"):
            os.mkfifo(argument)
        path = handler(f'local large = ("l"):rep(8 << 20)\nsocket:flush("begun\\n")\nfaults("{rules}")\n{waits}\nfaults("")')
        client, conn = tcp_pair()
        with client, conn:
            child = start([HANDLE, path, argument], {3: conn}, environment())
            conn.close()
            try:
                equal(client.line(), "begun", "the handler")
                until(lambda: asleep(child.pid), f"{name}: the process sleeps")
                go(client, argument)
                client.finish()
                client.end()
            except BaseException:
                child.kill()
                raise
            outcome(child)


mbtest.main()
