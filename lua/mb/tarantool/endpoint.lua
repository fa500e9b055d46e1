-- The socket object's methods for its two ends: options, addresses, connecting and listening.

local core = require "mb.tarantool.core"
local method = require "mb.tarantool.method"
local object = require "mb.tarantool.object"
local style = require "mb.style"
local waiting = require "mb.tarantool.waiting"

local open, fail, call, check_number = method.open, method.fail, method.call, method.check_number
local attempt, pretended = method.attempt, method.pretended

local EBADF, EINVAL = 9, 22

-- In a non-blocking socket, connect(2) returns before a result that is near. We wait for it for so long: enough for the
-- loss of one packet.
local CONNECT_SECONDS = 3

local methods = {}

-- ---- options and addresses ----

function methods:linger(active, timeout)
  local c = open(self)
  local on, seconds = call("linger", c.linger, c, active, timeout)
  if on == nil then return fail(self, nil, seconds) end
  return on, seconds
end

function methods:setsockopt(level, name, value)
  local c = open(self)
  local good, number = call("setsockopt", c.setsockopt, c, level, name, value)
  return good or fail(self, false, number)
end

function methods:getsockopt(level, name)
  local c = open(self)
  local value, number = call("getsockopt", c.getsockopt, c, level, name)
  if value == nil then return fail(self, nil, number) end
  return value
end

function methods:name()
  local name, number = open(self):name()
  return name or fail(self, nil, number)
end

function methods:peer()
  local peer, number = open(self):peer()
  return peer or fail(self, nil, number)
end

-- ---- connecting, listening ----

function methods:sysconnect(host, port)
  local c = open(self)
  local connect = require "mb.tarantool.address".connect
  local good, number = call("sysconnect", connect, self, c, host, port,
    not self._blocking and waiting.deadline(CONNECT_SECONDS) or nil)
  return good or fail(self, false, number)
end

-- Returns the result of a bind. Keeps a failure for listen().
local function bound(s, good, number, message)
  s._unbound = not good and (message or core.strerror(number)) or nil
  return good or fail(s, false, number, message)
end

function methods:sysbind(host, port)
  local c = open(self)
  return bound(self, call("sysbind", c.bind, c, host, port))
end

function methods:bind(host, port)
  local c = open(self)
  local good, number, message = call("bind", c.bind, c, host, port)
  if good or number ~= EINVAL or type(host) ~= "string" or host == "unix/" then
    return bound(self, good, number, message)
  end
  -- The host is a name, not an address.
  local own = c:name()
  local list
  list, number, message = core.getaddrinfo(host, port,
    {family = own.family, type = own.type, protocol = own.protocol, flags = "AI_PASSIVE"})
  for _, a in ipairs(list or {}) do
    good, number, message = c:bind(a.host, a.port)
    if good then break end
  end
  return bound(self, good, number, message)
end

-- Throws if the bind before has failed. A program that did not check it would listen at a port that the system chooses,
-- and wait there for ever.
local function check_bound(s, c, name)
  if not s._unbound or c:is_pretended() or not style.active() then return end
  error(("cannot %s, as the bind before it has failed: %s"):format(name, s._unbound), 3)
end

function methods:listen(backlog)
  local c = open(self)
  check_number(backlog, "listen")
  check_bound(self, c, "listen")
  local good, number, message = c:listen(backlog and math.floor(backlog))
  if message then self._unbound = message end
  return good or fail(self, false, number, message)
end

function methods:accept()
  local c = open(self)
  check_bound(self, c, "accept")
  local is_pretended = c:is_pretended()
  if is_pretended then pretended().wait(c, not self._blocking and 0 or nil) end
  if c:is_closed() then return fail(self, nil, EBADF) end
  local accepted, number = attempt(self, c, "r", c.accept)
  if not accepted then return fail(self, nil, number) end
  local s = object.new(accepted, true)
  if is_pretended then
    s._connection = true
    waiting.handles[accepted:fd()] = accepted:waitable()
  end
  return s, accepted:peer()
end

return methods
