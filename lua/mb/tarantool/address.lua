-- Looks up hosts, and connects to them: for the socket object and for the module's functions.

local core = require "mb.tarantool.core"
local timeref = require "moonbridge_io".timeref
local waiting = require "mb.tarantool.waiting"
local wait_for = require "mb.tarantool.method".wait_for

local EAGAIN, EBADF, EALREADY, ETIMEDOUT, EINPROGRESS = 11, 9, 114, 110, 115

-- The wait before another attempt at a Unix socket whose listener has a full queue.
local RETRY_SECONDS = 0.01

local address = {}

-- Calls the core's getaddrinfo for a function of this name. Lua errors blame the caller of that function.
function address.look_up(name, host, port, hints)
  local good, list, number, message = pcall(core.getaddrinfo, host, port, hints)
  if good then return list, number, message end
  if type(list) == "string" then list = list:gsub("^(bad argument #%d to) '.-'", ("%%1 '%s'"):format(name)) end
  error(list, 3)
end

-- Hints for look_up: the addresses at which a listener can be.
address.PASSIVE = {type = "SOCK_STREAM", protocol = "tcp", flags = "AI_PASSIVE"}

-- Waits for the result of a connect that has begun.
local function await_connect(s, c, deadline)
  local number
  repeat
    local ready
    ready, number = wait_for(s, c, "w", deadline)
    if not ready then return nil, number == ETIMEDOUT and EINPROGRESS or number end
    ready, number = c:connected()
    if ready then return true end
  until number ~= EINPROGRESS
  return nil, number
end

-- Connects until a deadline. Returns true; or nil and the number of an error.
function address.connect(s, c, host, port, deadline)
  while true do
    local good, number = c.connect(c, host, port) -- no method call: call() counts the arguments
    if good then return true end
    if number == EINPROGRESS or number == EALREADY then return await_connect(s, c, deadline) end
    if number ~= EAGAIN or not s._blocking or deadline and timeref() >= deadline then return nil, number end
    waiting.wait(nil, nil, waiting.deadline(RETRY_SECONDS), s._waiters)
    if c:is_closed() then return nil, EBADF end
  end
end

return address
