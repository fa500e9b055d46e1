-- Shared by the methods of Tarantool's socket object: arguments, waits, and the last error. mb.tarantool.core makes the
-- system calls, and never waits.

local core = require "mb.tarantool.core"
local waiting = require "mb.tarantool.waiting"

-- These numbers are the same on all architectures of Linux but two.
local EAGAIN, EBADF, ETIMEDOUT = 11, 9, 110

local method = {}

function method.check_socket(s, level)
  if type(s) ~= "table" or type(rawget(s, "_core")) ~= "userdata" then
    error("usage: socket:method(), called with something that is no socket", level or 3)
  end
end

-- Returns the core of an open socket; forgets the last error.
function method.open(s)
  method.check_socket(s, 4)
  local c = s._core
  if c:is_closed() then error("attempt to use closed socket", 3) end
  s._errno, s._message = nil, nil
  return c
end

-- Keeps the error and returns the result.
function method.fail(s, result, number, message)
  s._errno, s._message = number, message
  core.errno(number)
  return result
end

function method.check_string(value, name, level)
  if type(value) == "string" then return value end
  if type(value) == "number" then return tostring(value) end
  error(("bad argument to '%s': expected a string, got %s"):format(name, type(value)), (level or 1) + 2)
end

function method.check_number(value, name)
  if value == nil or type(value) == "number" then return value end
  error(("bad argument to '%s': expected a number, got %s"):format(name, type(value)), 3)
end

-- Calls a function of the core for a method of this name. Lua errors blame the caller of that method.
function method.call(name, f, ...)
  local results = table.pack(pcall(f, ...))
  if results[1] then return table.unpack(results, 2, results.n) end
  local err = results[2]
  if err == waiting.CANCELLED then error(err, 0) end
  if type(err) == "string" then -- the core's first argument is the socket
    err = err:gsub("^bad argument #(%d+) to '.-'", function(n)
      return ("bad argument #%d to '%s'"):format(n - 1, name)
    end)
  end
  error(err, 3)
end

-- Waits until the socket is ready. Returns the events for which it is ready; or nil and the number of an error:
-- ETIMEDOUT, EBADF.
function method.wait_for(s, c, events, deadline)
  if s._waiters == nil then s._waiters = {} end
  local ready = waiting.wait(c:waitable(), events, deadline, s._waiters)
  if c:is_closed() then return nil, EBADF end
  if ready then return ready end
  return nil, ETIMEDOUT
end

-- Calls f(c, ...). If the socket blocks, waits and calls it again as long as it returns EAGAIN. Returns its results; or
-- nil and the number of an error.
function method.attempt(s, c, events, f, ...)
  while true do
    local a, b = f(c, ...)
    if a ~= nil or b ~= EAGAIN or not s._blocking then return a, b end
    local ready, number = method.wait_for(s, c, events)
    if not ready then return nil, number end
  end
end

-- Returns the module for a listener behind which the connection stands.
function method.pretended() return require "mb.tarantool.listener" end

return method
