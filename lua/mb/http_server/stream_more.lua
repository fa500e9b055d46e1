-- The methods of a stream that few handlers call, and the rare parts of a response.

local headers = require "mb.http_server.headers"
local stream = require "mb.http_server.stream"

local receive, is_over, update = stream.receive, stream.is_over, stream.update
local take_unread, put_back, deadline_of = stream.take_unread, stream.put_back, stream.deadline_of
local others = stream.others

local more = {}

-- The most that one read of a file asks for.
local FILE_BYTES = 65536

-- ---- the request body ----

-- stream:unget(str): puts str back, so that it is read next.
function more:unget(str)
  if type(str) ~= "string" then error("unget: expected a string, got " .. type(str), 2) end
  put_back(self, str)
  return true
end

-- Reads until enough(everything so far) returns a number n, and returns n bytes. At the end of the body returns the
-- rest, or nil if nothing is left; or nil, message, errno. Bytes beyond that number can be read again, and so can all
-- bytes after a failure.
local function read_until(self, deadline, enough)
  local text = take_unread(self)
  while true do
    local count = enough(text)
    if count then
      put_back(self, text:sub(count + 1))
      return text:sub(1, count)
    end
    local piece, message, number = receive(self, deadline)
    if not piece then
      if not message then return text ~= "" and text or nil end
      put_back(self, text)
      return nil, message, number
    end
    text = text .. piece
  end
end

-- stream:get_body_chars(n, timeout)
function more:get_body_chars(n, timeout)
  if type(n) ~= "number" then error("get_body_chars: expected a number of bytes, got " .. type(n), 2) end
  if n <= 0 or n ~= n then return nil end
  n = math.tointeger(math.ceil(n)) or math.maxinteger
  local deadline = deadline_of(self, timeout)
  local pieces = {take_unread(self)}
  local size = #pieces[1]
  while size < n do
    local piece, message, number = receive(self, deadline)
    if not piece and message then
      put_back(self, table.concat(pieces))
      return nil, message, number
    elseif not piece then
      break
    end
    pieces[#pieces + 1] = piece
    size = size + #piece
  end
  local text = table.concat(pieces)
  if size > n then put_back(self, text:sub(n + 1)) end
  return text ~= "" and text:sub(1, n) or nil
end

-- stream:get_body_until(pattern, plain, include_pattern, timeout)
function more:get_body_until(pattern, plain, include_pattern, timeout)
  if type(pattern) ~= "string" then error("get_body_until: expected a pattern, got " .. type(pattern), 2) end
  local skipped = 0
  local from = 1
  local text, message, number = read_until(self, deadline_of(self, timeout), function(all)
    local first, last = all:find(pattern, plain and from or 1, plain)
    if not first then
      from = math.max(1, #all - #pattern + 2) -- a plain text cannot begin before that
      return nil
    end
    skipped = include_pattern and 0 or last - first + 1
    return last
  end)
  if not text then return nil, message, number end
  return text:sub(1, #text - skipped)
end

-- stream:save_body_to_file(file, timeout)
function more:save_body_to_file(file, timeout)
  local deadline = deadline_of(self, timeout)
  if self._unread then
    local text = take_unread(self)
    local written, message, number = file:write(text)
    if not written then
      put_back(self, text)
      return nil, message, number
    end
  end
  while true do
    local piece, message, number = receive(self, deadline)
    if not piece and message then return nil, message, number end
    if not piece then return true end
    local written
    written, message, number = file:write(piece)
    if not written then return nil, message, number end
  end
end

-- stream:get_body_as_file(timeout)
function more:get_body_as_file(timeout)
  local file, message, number = io.tmpfile()
  if not file then return nil, message, number end
  local saved
  saved, message, number = more.save_body_to_file(self, file, timeout)
  if saved then saved, message, number = file:seek("set") end
  if not saved then
    file:close()
    return nil, message, number
  end
  return file
end

-- The second call of get_headers: receives the rest of the body, which can still be read. Returns a headers object
-- without fields, as nothing of a trailer section is kept; nil if there was none; or nil, message, errno.
function more:_get_trailers(timeout)
  if self.state == "closed" then return nil end
  if not self._received then
    local body, message, number = stream.get_body_as_string(self, timeout)
    if message then return nil, message, number end
    put_back(self, body)
  end
  local coding = self.connection.input:field("transfer-encoding")
  if not coding or self._had_trailers then return nil end
  self._had_trailers = true
  return headers.new()
end

-- ---- the response ----

-- Returns a headers object of ours with the fields of one that the real http.headers has made, as http.websocket does.
-- Throws at the level of the caller's caller for any other value.
function more._own_headers(_, list)
  local meta = type(list) == "table" and getmetatable(list)
  if type(meta) ~= "table" or meta.__name ~= "http.headers" then
    error("write_headers: expected a headers object, as http.headers makes them, got " .. type(list), 3)
  end
  local own = headers.new()
  for name, value, never_index in list:each() do own:append(name, value, never_index) end
  return own
end

-- stream:write_continue(timeout): tells the client to send its body.
function more:write_continue(timeout)
  if is_over(self) then return nil, "Broken pipe", 32 end
  if self._framing then error("write_continue: the response has begun", 2) end
  self._expects = false
  if self._minor == 0 then return true end -- the client would not understand it
  return self.connection:send(timeout, "HTTP/1.1 100 Continue\r\n\r\n")
end

-- Throws when a 101 must not answer the request: its client has to have asked for the protocol that the 101 names
-- (RFC 9110, section 7.8).
local function check_upgrade(self, list)
  local protocols = list:get_comma_separated("upgrade") or list:get_comma_separated("Upgrade")
  local wrong = require "mb.http_server.upgrade"(self.connection.input, protocols)
  if wrong then error("write_headers: a 101 cannot be sent: " .. wrong, 3) end
  if not protocols then error("write_headers: a 101 has to name the protocol in \"upgrade\"", 3) end
end

-- Sends an interim response. Only the final response says that the connection closes. After a 101, the connection
-- belongs to another protocol: connection:take_socket() returns it.
function more:_write_interim(list, status, first, lines, connection, timeout)
  if status == "101" then check_upgrade(self, list) end
  if self._minor == 0 then return true end
  if status == "100" then self._expects = false end
  if status == "101" then
    self._framing, self._closing = "close", true
    self.connection.deadline = math.huge -- another protocol may go on for days
  end
  connection = connection and others(connection)
  local last = connection and "connection: " .. connection .. "\r\n\r\n" or "\r\n"
  return self.connection:send(timeout, first, lines, last)
end

-- Sends the trailer section of a chunked body, and ends the response. After any other body no fields can be sent.
function more:_write_trailers(lines, _, timeout)
  if self._length and self._sent < self._length and not self._bodyless then
    error(("invalid content-length: %d bytes of body, but %d were announced"):format(self._sent, self._length), 2)
  end
  self._ended = true
  update(self)
  if self._bodyless or self._framing ~= "chunked" then return true end
  return self.connection:send(timeout, "0\r\n", lines, "\r\n")
end

-- stream:write_body_from_file(file, timeout): a table {file =, count =} may take the place of the file.
function more:write_body_from_file(options, timeout)
  local file, count = options, math.huge
  if type(options) == "table" then file, count = options.file, options.count or math.huge end
  local kind = io.type(file)
  if kind ~= "file" and (kind or type(file) ~= "table" or not file.read) then
    error("write_body_from_file: expected an open file, got " .. (kind or type(file)), 2)
  end
  if type(count) ~= "number" or count < 0 or (count % 1 ~= 0 and count ~= math.huge) then
    error("write_body_from_file: count: expected a number of bytes, got " .. tostring(count), 2)
  end
  if is_over(self) then return nil, "Broken pipe", 32 end
  local after = self.connection.after
  local deadline = timeout and after(timeout)
  local last
  while count > 0 do
    local text, message = file:read(math.tointeger(count) and math.min(FILE_BYTES, math.tointeger(count)) or FILE_BYTES)
    if not text then
      if message then error("write_body_from_file: " .. message, 2) end
      if count < math.huge then error("write_body_from_file: the file is shorter than count says", 2) end
      break
    end
    count = count - #text
    if last then
      local sent, wrong, number = stream.write_chunk(self, last, false, deadline and deadline - after(0))
      if not sent then return nil, wrong, number end
    end
    last = text
  end
  return stream.write_chunk(self, last or "", true, deadline and deadline - after(0))
end

-- stream:step(timeout): does nothing, as nothing is read ahead.
function more.step() return true end

-- stream:set_state(new)
function more:set_state(new)
  if type(new) ~= "string" then error("set_state: expected a state, got " .. type(new), 2) end
  self.state = new
  if new == "closed" or new == "half closed (local)" then self._ended = true end
end

more.read_headers, more.read_next_chunk = stream.get_headers, stream.get_next_chunk

return more
