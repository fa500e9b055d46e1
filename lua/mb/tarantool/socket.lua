-- Tarantool's socket module: socket(domain, type, protocol) and its functions.

local core = require "mb.tarantool.core"
local object = require "mb.tarantool.object"
local waiting = require "mb.tarantool.waiting"

local ETIMEDOUT, EINPROGRESS = 110, 115

local socket = {
  SHUT_RD = 0, SHUT_WR = 1, SHUT_RDWR = 2, -- for s:shutdown()
}

-- Not every program looks up hosts.
local function address() return require "mb.tarantool.address" end

-- The error of the last attempt to make a socket, for socket.errno() and socket.error().
local last = 0

local function new(domain, kind, protocol)
  local good, c, number = pcall(core.socket, domain, kind, protocol)
  if not good then error("usage: socket(domain, type, protocol), names or numbers", 2) end
  last = number or 0
  return c and object.new(c, true) or nil
end

function socket.errno() return last end

function socket.error() return last ~= 0 and core.strerror(last) or nil end

-- getaddrinfo(host, port, [timeout], [hints]). Returns an array of tables; or nil and a message.
function socket.getaddrinfo(host, port, timeout, hints)
  if type(timeout) == "table" then hints = timeout end
  if hints ~= nil and type(hints) ~= "table" then
    error("usage: getaddrinfo(host, port [, timeout] [, hints]), hints a table", 2)
  end
  local list, _, message = address().look_up("getaddrinfo", host, port, hints)
  if not list then return nil, message end
  return list
end

-- Connects to the first address that takes us. Returns an object; or nil and the number of an error.
local function connect_to(list, deadline)
  local number = ETIMEDOUT
  for _, a in ipairs(list) do
    local c, good
    c, number = core.socket(a.family, a.type, a.protocol)
    if c then
      local s = object.new(c, true)
      good, number = address().connect(s, c, a.host, a.port, deadline)
      if good then return s end
      s:close()
      if number == EINPROGRESS then return nil, ETIMEDOUT end
    end
  end
  return nil, number
end

-- tcp_connect(host, port, [timeout]). Returns a socket; or nil and a message.
function socket.tcp_connect(host, port, timeout)
  local deadline = waiting.deadline(timeout)
  local list, number, message
  if host == "unix/" then
    list = {{host = host, port = tostring(port), family = "AF_UNIX", type = "SOCK_STREAM"}}
  else
    list, number, message = address().look_up("tcp_connect", host, port, {type = "SOCK_STREAM", protocol = "tcp"})
  end
  local s
  if list then s, number = connect_to(list, deadline) end
  core.errno(number or 0)
  if not s then return nil, message or core.strerror(number) end
  core.errno(0)
  s:nonblock(true)
  return s
end

-- bind(host, port): makes a stream socket that is bound there. Returns it; or nil and a message.
function socket.bind(host, port)
  local list = {{host = host, port = port, family = "AF_UNIX", type = "SOCK_STREAM"}}
  local _, message
  if host ~= "unix/" then
    list, _, message = address().look_up("bind", host, port, address().PASSIVE)
  end
  for _, a in ipairs(list or {}) do
    local s = new(a.family, a.type, a.protocol)
    if s and s:bind(a.host, a.port) then return s end
    message = s and s:error() or socket.error()
    if s then s:close() end
  end
  return nil, message
end

function socket.tcp_server(...) return require "mb.tarantool.server".tcp_server(...) end

-- The events that iowait takes, and the numbers that it returns for them.
local EVENTS = {[1] = "r", [2] = "w", [3] = "rw", r = "r", w = "w", rw = "rw", wr = "rw"}
local NUMBERS = {r = 1, w = 2, rw = 3}

-- iowait(fd, events, [timeout]): waits for a descriptor; or only for the timeout, if the descriptor is nil or -1.
-- Returns the events for which it is ready, a number or text like the given ones: 0 or "", with errno ETIMEDOUT, at the
-- timeout.
function socket.iowait(fd, events, timeout)
  local deadline = waiting.deadline(timeout)
  if fd == nil or fd == -1 then
    if events == nil then
      waiting.wait(nil, nil, deadline)
      return
    end
  end
  local wanted = EVENTS[type(events) == "string" and events:lower() or events]
  local number = math.tointeger(fd)
  if not number or number < 0 or not wanted then
    error("usage: iowait(fd, 1 | 'r' | 2 | 'w' | 3 | 'rw' [, timeout])", 2)
  end
  local handle = waiting.handles[fd]
  if handle and handle.fd ~= fd then handle = nil end -- it is closed: the number belongs to another
  local ready = waiting.wait(handle or number, wanted, deadline)
  if not ready then core.errno(ETIMEDOUT) end
  if type(events) == "string" then return (ready or ""):upper() end
  return ready and NUMBERS[ready] or 0
end

-- wrap(handle): returns an object for the connection, or for another socket of ours.
function socket.wrap(handle)
  local c = core.wrap(handle, false)
  waiting.handles[c:fd()] = handle
  return object.new(c, true)
end

return setmetatable(socket, {__call = function(_, domain, kind, protocol) return new(domain, kind, protocol) end})
