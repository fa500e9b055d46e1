-- The methods of Tarantool's socket object: waiting with timeouts, and the error that is kept. What the system is asked
-- is in mb.tarantool.core, whose calls never wait.

local core = require "mb.tarantool.core"
local io = require "moonbridge_io"
local waiting = require "mb.tarantool.waiting"

local timeref = io.timeref
local deadline_of, wait = waiting.deadline, waiting.wait

-- errno(7) on every architecture that Linux has but two.
local EAGAIN, EBADF, EINVAL, EALREADY, ETIMEDOUT, EINPROGRESS = 11, 9, 22, 114, 110, 115

-- connect(2) leaves undecided in a non-blocking socket what is decided soon: it is waited for so long. Enough for one
-- packet that is lost.
local CONNECT_SECONDS = 3

-- How long until a Unix socket whose listener has a full queue is tried again.
local RETRY_SECONDS = 0.01

local MSG_DONTWAIT = 0x40

local LIMIT_MAX = 0x7fffffff -- bytes that one read asks for at most

local methods = {}

-- ---- what they share ----

local function check_socket(s, level)
  if type(s) ~= "table" or type(rawget(s, "_core")) ~= "userdata" then
    error("usage: socket:method(), called with something that is no socket", level or 3)
  end
end

-- The descriptor of an open socket; the last error is forgotten.
local function open(s)
  check_socket(s, 4)
  local c = s._core
  if c:is_closed() then error("attempt to use a closed socket", 3) end
  s._errno, s._message = nil, nil
  return c
end

-- Keeps the error and returns the result.
local function fail(s, result, number, message)
  s._errno, s._message = number, message
  core.errno(number)
  return result
end

local function check_string(value, name, level)
  if type(value) == "string" then return value end
  if type(value) == "number" then return tostring(value) end
  error(("bad argument to '%s': expected a string, got %s"):format(name, type(value)), (level or 1) + 2)
end

local function check_number(value, name)
  if value == nil or type(value) == "number" then return value end
  error(("bad argument to '%s': expected a number, got %s"):format(name, type(value)), 3)
end

-- Calls a function of the core for a method of this name, whose caller is to blame for its Lua errors.
local function call(name, f, ...)
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

-- Waits until the socket is ready. Returns what for; or nil and the number of an error: ETIMEDOUT, EBADF.
local function wait_for(s, c, events, deadline)
  if s._waiters == nil then s._waiters = {} end
  local ready = wait(c:waitable(), events, deadline, s._waiters)
  if c:is_closed() then return nil, EBADF end
  if ready then return ready end
  return nil, ETIMEDOUT
end

-- Calls f(c, ...) until it does not say EAGAIN, waiting in between, where the socket blocks. Returns its results; or
-- nil and the number of an error.
local function attempt(s, c, events, f, ...)
  while true do
    local a, b = f(c, ...)
    if a ~= nil or b ~= EAGAIN or not s._blocking then return a, b end
    local ready, number = wait_for(s, c, events)
    if not ready then return nil, number end
  end
end

-- A listener behind which the connection stands.
local function pretended() return require "mb.tarantool.listener" end

-- ---- what was wrong ----

function methods:errno()
  check_socket(self)
  return self._errno or 0
end

function methods:error()
  check_socket(self)
  return self._message or self._errno and core.strerror(self._errno) or nil
end

-- ---- life ----

-- Makes an object of what the core has.
local object = {}

function object:__index(key)
  local method = methods[key]
  if method then return method end
  if key == "rbuf" then
    local c = rawget(self, "_core")
    return c and not c:is_closed() and c:take(LIMIT_MAX, true) or ""
  end
end

local function address_text(a)
  return a.host .. ":" .. tostring(a.port)
end

function object:__tostring()
  local c = self._core
  if c:is_closed() then return "socket (closed)" end
  local name, peer = c:name(), c:peer()
  return ("fd %d%s%s"):format(c:fd(), name and ", aka " .. address_text(name) or "",
    peer and ", peer " .. address_text(peer) or "")
end

function object.new(c, blocking) return setmetatable({_core = c, _blocking = blocking}, object) end

function methods:close()
  check_socket(self)
  local c = self._core
  if c:is_closed() then return fail(self, false, EBADF) end
  self._errno, self._message = nil, nil
  -- Before that: they wait for a descriptor whose number may be somebody else's soon.
  if self._waiters and waiting.scheduler then waiting.interrupt(self._waiters) end
  local good, number = c:close()
  if self._connection or c:is_pretended() then pretended().closed() end
  return good or fail(self, false, number)
end

function methods:shutdown(how)
  local c = open(self)
  local good, number = call("shutdown", c.shutdown, c, how)
  return good or fail(self, false, number)
end

function methods:nonblock(flag)
  open(self)
  if flag ~= nil then self._blocking = not flag or flag == 0 end
  return not self._blocking
end

function methods:fd() return open(self):fd() end

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

-- The core's getaddrinfo for a function of this name, whose caller is to blame for its Lua errors.
function object.look_up(name, host, port, hints)
  local good, list, number, message = pcall(core.getaddrinfo, host, port, hints)
  if good then return list, number, message end
  if type(list) == "string" then list = list:gsub("^(bad argument #%d to) '.-'", ("%%1 '%s'"):format(name)) end
  error(list, 3)
end

-- For look_up: where a listener can be.
object.PASSIVE = {type = "SOCK_STREAM", protocol = "tcp", flags = "AI_PASSIVE"}

-- Waits for what a started connect comes to.
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
local function connect(s, c, host, port, deadline)
  while true do
    local good, number = c.connect(c, host, port) -- no method call: call() counts the arguments
    if good then return true end
    if number == EINPROGRESS or number == EALREADY then return await_connect(s, c, deadline) end
    if number ~= EAGAIN or not s._blocking or deadline and timeref() >= deadline then return nil, number end
    wait(nil, nil, deadline_of(RETRY_SECONDS), s._waiters)
    if c:is_closed() then return nil, EBADF end
  end
end
object.connect = connect

function methods:sysconnect(host, port)
  local c = open(self)
  local good, number = call("sysconnect", connect, self, c, host, port,
    not self._blocking and deadline_of(CONNECT_SECONDS) or nil)
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

-- ---- waiting ----

local function is_ready(s, c, events, timeout)
  local deadline = deadline_of(timeout)
  if c:is_pretended() then
    if pretended().wait(c, deadline) and events ~= "w" then return "r" end
    return nil, c:is_closed() and EBADF or ETIMEDOUT
  end
  return wait_for(s, c, events, deadline)
end

function methods:readable(timeout)
  local c = open(self)
  check_number(timeout, "readable")
  local ready, number = is_ready(self, c, "r", timeout)
  return ready ~= nil or fail(self, false, number)
end

function methods:writable(timeout)
  local c = open(self)
  check_number(timeout, "writable")
  local ready, number = is_ready(self, c, "w", timeout)
  return ready ~= nil or fail(self, false, number)
end

function methods:wait(timeout)
  local c = open(self)
  check_number(timeout, "wait")
  local ready, number = is_ready(self, c, "rw", timeout)
  return ready and ready:upper() or fail(self, nil, number)
end

-- ---- reading ----

function methods:sysread(size)
  local c = open(self)
  local data, number = call("sysread", attempt, self, c, "r", c.read, size)
  return data or fail(self, nil, number)
end

-- Reads up to the first of the markers, an array of strings, or nil; at most `limit` bytes. What was received and is
-- not returned stays in the buffer. Returns a string, shorter only at the end of the stream; or nil.
local function read_until(s, c, limit, markers, timeout)
  local deadline = deadline_of(timeout)
  local searched, tried = 0, false
  while true do
    local have = c:buffered()
    local size = markers and c:find(markers, limit, searched) or have >= limit and limit
    if size then return c:take(size) end
    -- Once at least: a timeout of 0 takes what is there.
    if tried and deadline and timeref() > deadline then return fail(s, nil, ETIMEDOUT) end
    searched, tried = have, true
    local received, number = c:fill(limit - have)
    if received == 0 then return c:take(have) end
    if not received then
      if number ~= EAGAIN then return fail(s, nil, number) end
      received, number = wait_for(s, c, "r", deadline)
      if not received then return fail(s, nil, number) end
    end
  end
end

local function limit_of(value, name)
  if value == nil then return LIMIT_MAX end
  if type(value) ~= "number" or value < 0 or value ~= value then
    error(("bad argument to '%s': expected a number of bytes, 0 or more"):format(name), 3)
  end
  return value >= LIMIT_MAX and LIMIT_MAX or math.floor(value)
end

local function markers_of(value, name)
  if value == nil then return nil end
  if type(value) == "string" then value = {value} end
  if type(value) ~= "table" then
    error(("bad argument to '%s': expected a string or a table of strings"):format(name), 3)
  end
  for _, marker in ipairs(value) do
    if type(marker) ~= "string" or marker == "" then
      error(("bad argument to '%s': a marker must be a string, and not empty"):format(name), 3)
    end
  end
  return value
end

-- {chunk = limit, delimiter = markers}, as Tarantool's read takes it.
local function is_options(value)
  return type(value) == "table" and value[1] == nil
    and (value.chunk or value.size or value.delimiter or value.line) ~= nil
end

-- read([limit], [timeout]), read(delimiter, [timeout]), read({chunk = limit, delimiter = delimiter}, [timeout])
function methods:read(what, timeout)
  local c = open(self)
  local limit, markers = what, nil
  if is_options(what) then
    limit, markers = what.chunk or what.size, what.delimiter or what.line
  elseif type(what) == "string" or type(what) == "table" then
    limit, markers = nil, what
  end
  check_number(timeout, "read")
  limit, markers = limit_of(limit, "read"), markers_of(markers, "read")
  return read_until(self, c, limit, markers, timeout)
end

local NEWLINE = {"\n"}

-- readline([limit], [markers], [timeout])
function methods:readline(limit, markers, timeout)
  local c = open(self)
  if is_options(limit) then
    limit, markers, timeout = limit.chunk or limit.size, limit.delimiter or limit.line, markers
  elseif type(limit) == "string" or type(limit) == "table" then
    limit, markers, timeout = nil, limit, markers
  elseif type(markers) == "number" and timeout == nil then
    markers, timeout = nil, markers
  end
  check_number(timeout, "readline")
  limit, markers = limit_of(limit, "readline"), markers_of(markers, "readline")
  return read_until(self, c, limit, markers or NEWLINE, timeout)
end

local function says_dontwait(flags)
  if type(flags) == "number" then return flags & MSG_DONTWAIT ~= 0 end
  if type(flags) ~= "table" then return flags == "MSG_DONTWAIT" end
  for key, value in pairs(flags) do
    if value == "MSG_DONTWAIT" or key == "MSG_DONTWAIT" and value then return true end
  end
  return false
end

-- attempt() of a function whose flags may say that it is not to wait.
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

-- ---- writing ----

function methods:syswrite(data)
  local c = open(self)
  data = check_string(data, "syswrite")
  local sent, number = attempt(self, c, "w", c.write, data)
  return sent or fail(self, nil, number)
end

-- Writes all of data. Returns true; or false.
local function write_all(s, c, data, deadline)
  local sent = 0
  while true do
    local n, number = c:write(data, sent)
    sent = sent + (n or 0)
    if sent >= #data and n then return true end
    if not n then
      if number ~= EAGAIN then return fail(s, false, number) end
      n, number = wait_for(s, c, "w", deadline)
      if not n then return fail(s, false, number) end
    end
  end
end

function methods:write(data, timeout)
  local c = open(self)
  check_number(timeout, "write")
  return write_all(self, c, check_string(data, "write"), deadline_of(timeout))
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

return object
