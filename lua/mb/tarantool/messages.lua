-- The socket object's methods with flags, for datagrams and streams.

local method = require "mb.tarantool.method"

local open, fail, call, attempt = method.open, method.fail, method.call, method.attempt
local check_string = method.check_string

local MSG_DONTWAIT = 0x40

local methods = {}

local function says_dontwait(flags)
  if type(flags) == "number" then return (math.tointeger(flags) or 0) & MSG_DONTWAIT ~= 0 end
  if type(flags) ~= "table" then return flags == "MSG_DONTWAIT" end
  for key, value in pairs(flags) do
    if value == "MSG_DONTWAIT" or key == "MSG_DONTWAIT" and value then return true end
  end
  return false
end

-- Calls attempt(); or only the function, if the flags say that it must not wait.
local function attempt_flagged(s, c, events, flags, f, ...)
  if flags and says_dontwait(flags) then return f(c, ...) end
  return attempt(s, c, events, f, ...)
end

function methods:recv(size, flags)
  local c = open(self)
  local data, number = call("recv", attempt_flagged, self, c, "r", flags, c.recv, size, flags)
  return data or fail(self, nil, number)
end

function methods:recvfrom(size, flags)
  local c = open(self)
  local data, from = call("recvfrom", attempt_flagged, self, c, "r", flags, c.recvfrom, size, flags)
  if not data then return fail(self, nil, from) end
  return data, from
end

function methods:send(data, flags)
  local c = open(self)
  data = check_string(data, "send")
  local stream = c:is_stream()
  local sent = 0
  repeat
    local n, number = call("send", attempt_flagged, self, c, "w", flags, c.send, data, flags, sent)
    if not n and sent == 0 then return fail(self, false, number) end
    if not n then break end
    sent = sent + n
  until sent >= #data or not stream or not self._blocking
  if stream and sent < #data then return sent end
  return true
end

function methods:sendto(host, port, data, flags)
  local c = open(self)
  if data ~= nil then data = check_string(data, "sendto") end
  local sent, number = call("sendto", attempt_flagged, self, c, "w", flags, c.sendto, host, port, data, flags)
  return sent or fail(self, nil, number)
end

return methods
