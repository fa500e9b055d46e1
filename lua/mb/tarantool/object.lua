-- Tarantool's socket object. Methods that not every program calls are in modules of their own.

local core = require "mb.tarantool.core"
local method = require "mb.tarantool.method"
local timeref = require "moonbridge_io".timeref
local waiting = require "mb.tarantool.waiting"

local open, fail, call = method.open, method.fail, method.call
local check_socket, check_string, check_number = method.check_socket, method.check_string, method.check_number
local attempt, wait_for, pretended = method.attempt, method.wait_for, method.pretended

local EAGAIN, EBADF, ETIMEDOUT = 11, 9, 110

local LIMIT_MAX = 0x7fffffff -- the most bytes that one read asks for

local methods = {}

-- The modules of the other methods. A module is loaded when the first of its methods is called.
local elsewhere = {
  accept = "endpoint", bind = "endpoint", getsockopt = "endpoint", linger = "endpoint", listen = "endpoint",
  name = "endpoint", peer = "endpoint", setsockopt = "endpoint", sysbind = "endpoint", sysconnect = "endpoint",
  recv = "messages", recvfrom = "messages", send = "messages", sendto = "messages",
}

local function find(key)
  local name = elsewhere[key]
  if not name then return nil end
  for other, f in pairs(require("mb.tarantool." .. name)) do methods[other] = f end
  return methods[key]
end

-- ---- errors ----

function methods:errno()
  check_socket(self)
  return self._errno or 0
end

function methods:error()
  check_socket(self)
  return self._message or self._errno and core.strerror(self._errno) or nil
end

-- ---- life ----

-- The metatable of socket objects; new makes one from a socket of the core.
local object = {}

function object:__index(key)
  local found = methods[key] or find(key)
  if found then return found end
  if key == "rbuf" then
    local c = rawget(self, "_core")
    return c and not c:is_closed() and c:take(LIMIT_MAX, true) or ""
  end
end

-- address_text(a): returns the text of an address, a table with host and port.
function object.address_text(a) return a.host .. ":" .. tostring(a.port) end

function object:__tostring()
  local c = self._core
  if c:is_closed() then return "socket (closed)" end
  local name, peer = c:name(), c:peer()
  return ("fd %d%s%s"):format(c:fd(), name and ", aka " .. object.address_text(name) or "",
    peer and ", peer " .. object.address_text(peer) or "")
end

-- For JSON.
function object:__serialize()
  local c = self._core
  if c:is_closed() then error("attempt to use closed socket", 0) end
  return {fd = c:fd(), name = c:name(), peer = c:peer()}
end

function object.new(c, blocking) return setmetatable({_core = c, _blocking = blocking}, object) end

function methods:close()
  check_socket(self)
  local c = self._core
  if c:is_closed() then return fail(self, false, EBADF) end
  self._errno, self._message = nil, nil
  -- Ends the waits before the descriptor is closed: its number may soon belong to somebody else.
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

-- ---- waiting ----

local function is_ready(s, c, events, timeout)
  local deadline = waiting.deadline(timeout)
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

-- Reads up to the first of the markers (an array of strings, or nil), but at most `limit` bytes. Bytes behind that stay
-- in the buffer. Returns a string, which is shorter only at the end of the stream; or nil.
local function read_until(s, c, limit, markers, timeout)
  local deadline = waiting.deadline(timeout)
  local searched, tried = 0, false
  local lines = markers and table.concat(markers):find("\n", 1, true) ~= nil
  while true do
    local have = c:buffered()
    local size = markers and c:find(markers, limit, searched) or have >= limit and limit
    if size then return c:take(size) end
    -- Try at least once: a timeout of 0 takes what is there.
    if tried and deadline and timeref() > deadline then return fail(s, nil, ETIMEDOUT) end
    searched, tried = have, true
    local received, number = c:fill(limit - have, lines)
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
  data = check_string(data, "write")
  return data == "" or write_all(self, c, data, waiting.deadline(timeout))
end

return object
