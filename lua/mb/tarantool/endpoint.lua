-- The socket object's methods that are about its ends: options, addresses, connecting and listening.

local core = require "mb.tarantool.core"
local method = require "mb.tarantool.method"
local object = require "mb.tarantool.object"
local waiting = require "mb.tarantool.waiting"

local open, fail, call, check_number = method.open, method.fail, method.call, method.check_number
local attempt, pretended = method.attempt, method.pretended

local EBADF, EINVAL = 9, 22

-- connect(2) leaves undecided in a non-blocking socket what is decided soon: it is waited for so long. Enough for one
-- packet that is lost.
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

function methods:sysbind(host, port)
  local c = open(self)
  local good, number, message = call("sysbind", c.bind, c, host, port)
  return good or fail(self, false, number, message)
end

function methods:bind(host, port)
  local c = open(self)
  local good, number, message = call("bind", c.bind, c, host, port)
  if good then return true end
  if number ~= EINVAL or type(host) ~= "string" or host == "unix/" then return fail(self, false, number, message) end
  -- No literal: a name.
  local own = c:name()
  local list
  list, number, message = core.getaddrinfo(host, port,
    {family = own.family, type = own.type, protocol = own.protocol, flags = "AI_PASSIVE"})
  for _, a in ipairs(list or {}) do
    good, number, message = c:bind(a.host, a.port)
    if good then return true end
  end
  return fail(self, false, number, message)
end

function methods:listen(backlog)
  local c = open(self)
  check_number(backlog, "listen")
  local good, number, message = c:listen(backlog and math.floor(backlog))
  return good or fail(self, false, number, message)
end

function methods:accept()
  local c = open(self)
  local style = c:is_pretended()
  if style then pretended().wait(c, not self._blocking and 0 or nil) end
  if c:is_closed() then return fail(self, nil, EBADF) end
  local accepted, number = attempt(self, c, "r", c.accept)
  if not accepted then return fail(self, nil, number) end
  local s = object.new(accepted, true)
  if style then
    s._connection = true
    waiting.handles[accepted:fd()] = accepted:waitable()
  end
  return s, accepted:peer()
end

return methods
