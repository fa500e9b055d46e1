-- A request and its response, like lua-http's stream. If the client is at fault, the methods return nil, a message
-- and an errno, and never throw; the connection deals with a stream that ends badly.

local core = require "mb.http.core"
local headers = require "mb.http_server.headers"

local list_lines, reason = core.list_lines, core.reason

local stream = {}
local mt = {__name = "http.h1_stream", __index = stream}

local EPIPE = 32

-- Fields, besides lua-http's own (state, connection, type, peer_version, req_method): _minor (of HTTP/1.x), _list (the
-- script has not asked for the head yet), _received (the whole body was received), _expects (the client waits for a
-- 100), _unread (a list of the strings that were put back, the first of them last), _framing (of the response body:
-- "length", "chunked" or "close"; false before the head; "none" when there is to be no body), _bodyless (the body is
-- counted, not sent), _length, _sent, _closing (the connection ends with the response), _ended (the response is
-- complete), _taken (the connection belongs to the script); next_server (see server:add_stream). No field is ever nil:
-- reading a nil field would load the methods that few handlers need.
function stream.new(connection, method, minor, keepalive, received, expects)
  return setmetatable({
    connection = connection,
    type = "server",
    state = "idle",
    peer_version = minor == 0 and 1.0 or 1.1,
    req_method = method,
    _minor = minor,
    _list = true,
    _received = received,
    _expects = expects,
    _unread = false,
    _framing = false,
    _bodyless = method == "HEAD",
    _length = false,
    _sent = 0,
    _closing = not keepalive or minor == 0,
    _ended = false,
    _taken = false,
    next_server = false,
  }, mt)
end

-- Sets the state from what is known about both sides.
local function update(self)
  if self._received then
    self.state = self._ended and "closed" or "half closed (remote)"
  else
    self.state = self._ended and "half closed (local)" or "open"
  end
end

-- stream:get_headers(timeout): returns the request's head. A second call returns the trailer section of a chunked body,
-- once the body has ended; it is always empty, as nothing of it is kept.
function stream:get_headers(timeout)
  if self._list then
    self._list = false
    if self.state == "idle" then update(self) end
    local list, count = self.connection.input:list()
    list._n = count
    return setmetatable(list, headers.mt)
  end
  return self:_get_trailers(timeout)
end

-- Returns the next piece of the body as it comes; nil at the end of the body; or nil, message, errno. deadline: nil
-- gives each wait a deadline of its own. apart: chunks come one by one; otherwise the input joins them, as joining many
-- small ones here would cost far more.
local function receive(self, deadline, apart)
  if self._received or self.state == "closed" then return nil end
  local connection = self.connection
  while true do
    local piece, state, a, b = connection.input:read(math.maxinteger, apart)
    if (piece or state == "end") and connection.fault then connection:forgive() end
    if piece then
      self._expects = false
      return piece
    elseif state == "end" then
      self._expects, self._received = false, true
      update(self)
      return nil
    elseif state ~= "block" then
      return connection:input_failed(state, a, b)
    end
    local ready, message, number = connection:wait_for_body(self, deadline)
    if not ready then return nil, message, number end
  end
end

-- Returns the point in time at which the timeout of a call is over; nil without a timeout.
local function deadline_of(self, timeout)
  if timeout == nil then return nil end
  if type(timeout) ~= "number" then error("timeout: expected a number of seconds, got " .. type(timeout), 3) end
  return self.connection.after(timeout)
end

-- stream:get_next_chunk(timeout)
function stream:get_next_chunk(timeout)
  local unread = self._unread
  if unread then
    if #unread == 1 then self._unread = false end
    return table.remove(unread)
  end
  return receive(self, deadline_of(self, timeout), true)
end

-- stream:each_chunk()
function stream:each_chunk()
  return function() return stream.get_next_chunk(self) end
end

-- Takes the strings that were put back, as one string.
local function take_unread(self)
  local unread = self._unread
  if not unread then return "" end
  self._unread = false
  local text = ""
  for i = #unread, 1, -1 do text = text .. unread[i] end
  return text
end

-- Puts a string back: the next read gets it.
local function put_back(self, text)
  if text == "" then return end
  self._unread = self._unread or {}
  table.insert(self._unread, text)
end

-- stream:get_body_as_string(timeout): what has come before a failure can be read again.
function stream:get_body_as_string(timeout)
  local deadline = deadline_of(self, timeout)
  local pieces = {take_unread(self)}
  while true do
    local piece, message, number = receive(self, deadline)
    if not piece then
      local body = table.concat(pieces)
      if not message then return body end
      put_back(self, body)
      return nil, message, number
    end
    pieces[#pieces + 1] = piece
  end
end

local function is_over(self)
  return self._ended or self.state == "closed"
end

local function after_end() return nil, "Broken pipe", EPIPE end

-- Decides how the body is framed. Returns the lines of the head that say so. Throws at the script's level.
local function framing(self, status, end_stream, length, coding, connection)
  local chunked = false
  local text = ""
  if length and coding then error("Content-Length not allowed in message with a transfer-encoding", 3) end
  if status == "204" or status == "304" then
    if length and status == "204" then
      error("Content-Length not allowed in response with 204 status code", 3)
    end
    self._bodyless = true
    self._framing = "none"
  elseif end_stream and not self._bodyless then
    if length and length > 0 then
      error("cannot end stream after headers if you have a non-zero content-length", 3)
    end
    length = 0
  elseif not end_stream then
    chunked = not length and not self._closing
  end
  if length then text = ("content-length: %d\r\n"):format(length) end
  self._length = length or false
  if not self._framing then self._framing = length and "length" or chunked and "chunked" or "close" end
  if chunked then
    text = text .. "transfer-encoding: chunked\r\n"
    connection = (connection and connection ~= "" and connection .. "," or "") .. "transfer-encoding"
  end
  return connection and text .. "connection: " .. connection .. "\r\n\r\n" or text .. "\r\n"
end

-- Returns the options of Connection without those that say whether the connection is kept; nil if none is left.
local function others(connection)
  local options = {}
  for option in connection:gmatch("[^,]+") do
    if option ~= "keep-alive" and option ~= "close" then options[#options + 1] = option end
  end
  return options[1] and table.concat(options, ",")
end

-- Returns the options of Connection with "close", and without "keep-alive".
local function with_close(connection)
  local rest = connection and connection ~= "close" and others(connection)
  return rest and rest .. ",close" or "close"
end

-- stream:write_headers(headers, end_stream, timeout): sends the head of the response. A second call sends the trailer
-- section.
function stream:write_headers(list, end_stream, timeout)
  if getmetatable(list) ~= headers.mt then list = self:_own_headers(list) end
  if type(end_stream) ~= "boolean" then error("'end_stream' MUST be a boolean", 2) end
  if is_over(self) then return after_end() end
  local lines, status, length, connection, closes, coding, other = list_lines(list, list._n)
  if not lines then error("write_headers: " .. status, 2) end
  if self._framing then return self:_write_trailers(lines, end_stream, timeout) end
  if not status then error("write_headers: header \":status\" is missing", 2) end
  if other then error("write_headers: transfer-encoding other than chunked is not supported", 2) end
  local phrase = reason(tonumber(status))
  local first = ("HTTP/1.%d %s %s\r\n"):format(self._minor, status, phrase ~= "" and phrase or "Unassigned")
  if closes then self._closing = true end
  if status < "200" then
    if end_stream then error("cannot end stream directly after 1xx status code", 2) end
    return self:_write_interim(list, status, first, lines, connection, timeout)
  end
  -- We did not ask for the body, so that it may not come; or it cannot be read to its end.
  if self._expects or self.connection.broken then self._closing = true end
  if self._closing then connection = with_close(connection) end
  local rest = framing(self, status, end_stream, length, coding, connection)
  if end_stream then
    self._ended = true
    update(self)
  end
  return self.connection:send(timeout, first, lines, rest)
end

-- Checks a piece of the response body. Throws at the script's level.
local function check_chunk(self, chunk, end_stream)
  if type(chunk) ~= "string" then error("write_chunk: expected a string, got " .. type(chunk), 3) end
  if not self._framing then error("cannot write body before headers", 3) end
  local sent = self._sent + #chunk
  if self._framing == "none" and sent > 0 then
    error("write_chunk: a response of this status has no body", 3)
  end
  local length = self._length
  if length and (sent > length or (end_stream and sent < length and not self._bodyless)) then
    error(("invalid content-length: %d bytes of body, but %d were announced"):format(sent, length), 3)
  end
  return sent
end

-- stream:write_chunk(chunk, end_stream, timeout)
function stream:write_chunk(chunk, end_stream, timeout)
  if is_over(self) then return after_end() end
  self._sent = check_chunk(self, chunk, end_stream)
  if end_stream then
    self._ended = true
    update(self)
  end
  if self._bodyless then return true end
  local connection = self.connection
  if self._framing ~= "chunked" then
    if chunk == "" then return true end
    return connection:send(timeout, chunk)
  elseif chunk == "" then
    if not end_stream then return true end
    return connection:send(timeout, "0\r\n\r\n")
  end
  return connection:send(timeout, ("%x\r\n"):format(#chunk), chunk, end_stream and "\r\n0\r\n\r\n" or "\r\n")
end

-- stream:write_body_from_string(str, timeout)
function stream:write_body_from_string(str, timeout)
  if type(str) ~= "string" then error("write_body_from_string: expected a string, got " .. type(str), 2) end
  if is_over(self) then return after_end() end
  check_chunk(self, str, true)
  return stream.write_chunk(self, str, true, timeout)
end

-- stream:shutdown(): ends the response; sends a 503 if there was none.
function stream:shutdown()
  self.connection:end_stream(self)
  return true
end

function stream:localname() return self.connection:localname() end

function stream:peername() return self.connection:peername() end

-- stream:checktls(): returns nothing, as we never speak TLS.
function stream.checktls() end

function mt:__tostring()
  return ("http.h1_stream{connection=%s;state=%q}"):format(tostring(self.connection), self.state)
end

-- For mb.http_server.stream_more.
stream.receive, stream.is_over, stream.update = receive, is_over, update
stream.take_unread, stream.put_back, stream.deadline_of = take_unread, put_back, deadline_of
stream.others = others

-- Loads the methods that few handlers need.
setmetatable(stream, {
  __index = function(self, key)
    setmetatable(self, nil)
    for name, method in pairs(require "mb.http_server.stream_more") do self[name] = method end
    return self[key]
  end,
})

return stream
