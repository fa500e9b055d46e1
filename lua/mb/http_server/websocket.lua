-- mb.http_server.websocket: lua-http's http.websocket for the streams of mb.http_server, on the object of mb.websocket.
-- What else http.websocket has, such as its client, comes from the real one, which is loaded when it is asked for.

local core = require "mb.websocket.core"
local headers_of = require "mb.http_server.headers"
local timeref = require "moonbridge_io".timeref

local websocket = {}
local methods = {
  close_timeout = 3, -- seconds that close waits for the peer's close
}
local mt = {__name = "http.websocket"}

local EINVAL, EPIPE, ENOTCONN, ETIMEDOUT = 22, 32, 107, 110
local NO_CODE, LOST = 1005, 1006 -- RFC 6455, section 7.4.1: no peer sends them

-- Of accept, besides headers and protocols. Times are in seconds.
local MAX_MESSAGE, PING_INTERVAL, SEND_TIMEOUT = 1 << 20, 30, 60

local STATES = {open = 1, closing = 2, closed = 3}

function mt:__index(key)
  if key == "readyState" then return self._over and 3 or self._ws and STATES[self._ws.state] or 0 end
  return methods[key]
end

function mt:__tostring() return ("http.websocket{type=%q;readyState=%d}"):format(self.type, self.readyState) end

-- ---- the handshake (RFC 6455, section 4.2) ----

-- Returns the subprotocols that the client offers, as a list that is a set as well; nil without any. Or false.
local function offered(headers)
  local text = headers:get_comma_separated("sec-websocket-protocol")
  if not text then return nil end
  local names = {}
  for name in (text .. ","):gmatch("%s*(.-)%s*,") do
    if not name:find("^[%w!#$%%&'*+.^_`|~-]+$") or names[name] then return false end
    names[name] = true
    names[#names + 1] = name
  end
  return names
end

-- new_from_stream(stream, headers): returns a WebSocket on which accept() can be called; or nil, why the request asks
-- for none, and an errno.
function websocket.new_from_stream(stream, headers)
  local connection = type(stream) == "table" and stream.connection
  if type(connection) ~= "table" or not connection.input then
    error("new_from_stream: expected a stream of mb.http_server, got " .. type(stream), 2)
  end
  if type(headers) ~= "table" or not headers.get_comma_separated then
    error("new_from_stream: expected the stream's headers, got " .. type(headers), 2)
  end
  local wrong = stream.req_method ~= "GET" and "a WebSocket begins with GET"
    or require "mb.http_server.upgrade"(connection.input, "websocket")
  if wrong then return nil, wrong, EINVAL end
  local key = headers:get("sec-websocket-key")
  if not key then return nil, "missing sec-websocket-key", EINVAL end
  local answer = core.accept(key)
  if not answer then return nil, "invalid sec-websocket-key", EINVAL end
  if headers:get("sec-websocket-version") ~= "13" then return nil, "unsupported sec-websocket-version", EINVAL end
  local protocols = offered(headers)
  if protocols == false then return nil, "invalid sec-websocket-protocol header", EINVAL end
  return setmetatable({type = "server", stream = stream, protocols = protocols, _answer = answer}, mt)
end

-- Returns an option of accept: a number, or false for no limit.
local function limit(options, name, default)
  local value = options[name]
  if value == nil then return default end
  if value ~= false and (type(value) ~= "number" or value <= 0) then
    error(("accept: %s: expected a positive number, or false, got %s"):format(name, tostring(value)), 3)
  end
  return value
end

-- websocket:accept(options, timeout): answers with 101. Options: headers, protocols; and max_message, ping_interval,
-- send_timeout as those of request:upgrade_websocket. Returns true; or nil, message, errno.
function methods:accept(options, timeout)
  if not self.stream then error("accept: it was called before", 2) end
  options = options or {}
  local max_message = limit(options, "max_message", MAX_MESSAGE)
  local ping_interval = limit(options, "ping_interval", PING_INTERVAL)
  local send_timeout = limit(options, "send_timeout", SEND_TIMEOUT)
  local response = options.headers and options.headers:clone() or headers_of.new()
  response:upsert(":status", "101")
  response:upsert("upgrade", "websocket")
  response:upsert("connection", "upgrade")
  response:upsert("sec-websocket-accept", self._answer)
  local chosen
  for _, name in ipairs(self.protocols and options.protocols or {}) do
    if self.protocols[name] then
      chosen = name
      response:upsert("sec-websocket-protocol", name)
      break
    end
  end
  local connection = self.stream.connection
  local sent, message, number = self.stream:write_headers(response, false, timeout)
  if not sent then return nil, message, number end
  local socket = connection:take_own_socket()
  -- close() has a limit of its own.
  self._ws = core.over(socket, false, max_message and math.floor(max_message) or math.maxinteger, ping_interval, false,
    send_timeout)
  self._connection, self.socket, self.stream, self.protocol = connection, socket, nil, chosen
  return true
end

-- ---- messages ----

-- Waits until the connection is ready for "r" or "w", something is due, or the deadline has come.
local function wait(self, events, deadline)
  local due = self._ws:timeout()
  if due then deadline = math.min(deadline, timeref() + due) end
  self._connection.server.wait(self._ws, events, deadline)
end

local function deadline_of(timeout) return timeout and timeref() + timeout or math.huge end

-- Why nothing can be received or sent; nil: it can.
local function not_open(self)
  if not self._ws then return "Transport endpoint is not connected", ENOTCONN end
  if self._over then return "Broken pipe", EPIPE end
end

-- Closes the connection.
local function finish(self)
  self._over = true
  self._connection.socket = self.socket
  self._connection:linger()
end

-- Receives a message, as ws:receive does. Alone in its process, the object waits: it sees the end of a pool, too.
local function receive(self, deadline)
  local ws = self._ws
  if not self._connection.server.scheduler then
    return ws:receive(deadline < math.huge and math.max(0, deadline - timeref()) or nil)
  end
  while true do
    local message, kind, code, reason = ws:receive_nb()
    if message or kind ~= "block" then return message, kind, code, reason end
    if timeref() >= deadline then return nil, "timeout" end
    wait(self, "r", deadline)
  end
end

-- websocket:receive(timeout): returns a message, and "text" or "binary". Returns nil, message, errno when the time is
-- over or the connection is lost; nil, the reason and the status code when the WebSocket is closed.
function methods:receive(timeout)
  local wrong, number = not_open(self)
  if wrong then return nil, wrong, number end
  local message, kind, code, reason = receive(self, deadline_of(timeout))
  if message then return message, kind end
  if not code then return nil, "Connection timed out", ETIMEDOUT end
  finish(self)
  if code == LOST then return nil, kind, EPIPE end
  if kind ~= "closed" then return nil, kind, code end
  self.got_close_code, self.got_close_message = code, reason ~= "" and reason or nil
  return nil, self.got_close_message, code == NO_CODE and 1000 or code
end

-- websocket:each(): for message, kind in websocket:each() do ... end
function methods:each()
  return function() return self:receive() end
end

-- Waits until the system has what is queued.
local function drain(self, queued, message, number, deadline)
  while queued and queued > 0 do
    if timeref() >= deadline then return nil, "Connection timed out", ETIMEDOUT end
    wait(self, "w", deadline)
    queued, message, number = self._ws:flush_nb()
  end
  if queued then return true end
  return nil, message, number or EPIPE
end

local BINARY = {[1] = false, text = false, [2] = true, binary = true}

-- websocket:send(data, opcode, timeout): opcode is "text" (or 1, the default) or "binary" (or 2). A text is UTF-8.
-- Returns true; or nil, message, errno.
function methods:send(data, opcode, timeout)
  if type(data) ~= "string" then error("send: expected a string, got " .. type(data), 2) end
  local is_binary = BINARY[opcode or "text"]
  if is_binary == nil then error("send: expected \"text\" or \"binary\", got " .. tostring(opcode), 2) end
  if not is_binary and not core.is_text(data) then error("send: a text is UTF-8; \"binary\" sends any bytes", 2) end
  local wrong, errno = not_open(self)
  if wrong then return nil, wrong, errno end
  local ws = self._ws
  if not timeout and not self._connection.server.scheduler then
    local sent, message, number = ws[is_binary and "send_binary" or "send"](ws, data)
    if sent then return true end
    return nil, message, number or EPIPE
  end
  local queued, message, number = ws[is_binary and "send_binary_nb" or "send_nb"](ws, data)
  return drain(self, queued, message, number, deadline_of(timeout))
end

local function send_control(self, name, data, timeout)
  local wrong, errno = not_open(self)
  if wrong then return nil, wrong, errno end
  local sent, message, number = self._ws[name](self._ws, data)
  if not sent then return nil, message, number or EPIPE end
  return drain(self, self._ws:flush_nb(), nil, nil, deadline_of(timeout))
end

-- websocket:send_ping(data, timeout), websocket:send_pong(data, timeout)
function methods:send_ping(data, timeout) return send_control(self, "ping", data, timeout) end
function methods:send_pong(data, timeout) return send_control(self, "pong", data, timeout) end

-- websocket:close(code, reason, timeout): sends a close, waits for that of the peer, for close_timeout at most, and
-- closes the connection. Returns true.
function methods:close(code, reason, timeout)
  if not self._ws or self._over then return true end
  local deadline = timeref() + math.min(timeout or math.huge, self.close_timeout)
  repeat
    local done, why = self._ws:close_nb(code or 1000, reason)
    if done or why ~= "block" then break end
    wait(self, "r", deadline)
  until timeref() >= deadline
  finish(self)
  return true
end

websocket.methods, websocket.mt = methods, mt

-- ---- the rest of http.websocket ----

-- Loads the real http.websocket, which is not the one that require finds.
local function load_real()
  local path, tried = package.searchpath("http.websocket", package.path)
  if not path then error("http.websocket: only a stream's WebSocket is here; lua-http is missing:" .. tried, 3) end
  return assert(loadfile(path))("http.websocket", path)
end

return setmetatable(websocket, {
  __index = function(self, key)
    if type(key) ~= "string" then return nil end
    setmetatable(self, nil)
    for name, value in pairs(load_real()) do
      if self[name] == nil then self[name] = value end
    end
    return self[key]
  end,
})
