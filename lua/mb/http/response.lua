-- The response: status, header fields, body. Its states only move forward; a call that is not allowed in a state is an
-- error of the script. What is written goes out as late as possible: a response that is small goes out in one piece,
-- with its length.

local core = require "mb.http.core"

local concat, format, lower, match = table.concat, string.format, string.lower, string.match
local field_line = core.field_line

local methods = {}

-- State -> what to say of it.
local STATES = {
  start = "no status was sent yet: request:send_status comes first",
  head = "the status was sent already",
  body = "the response head is finished",
  finished = "the response is finished",
}

-- Call -> states in which it is allowed.
local ALLOWED = {
  send_status = {start = true},
  send_header = {head = true},
  close_after_finish = {start = true, head = true},
  monologue = {start = true, head = true},
  finish_headers = {head = true, body = true},
  send_data = {head = true, body = true},
  send_file = {head = true, body = true},
  flush = {start = true, head = true, body = true, finished = true},
  finish = {head = true, body = true, finished = true},
}

-- Checks that a call is allowed; returns the connection.
local function enter(request, call)
  local state = type(request) == "table" and request._state
  if not state then error(call .. ": expected a request; call it as request:" .. call .. "(...)", 3) end
  if request.faulty then
    error(format("%s: the request is faulty (%s)", call, request._wire.fault.message), 3)
  end
  if not ALLOWED[call][state] then error(format("%s: %s", call, STATES[state]), 3) end
  request.fresh = false
  return request._wire
end

-- Responses that have no body, whatever a script sends; those to HEAD are another matter (RFC 9110, section 6.4.1).
local function is_bodyless(code) return code == 204 or code == 205 or code == 304 or code == 101 end

-- ---- the head ----

-- request:send_status(status): "404 Not Found", "404", or 404 with the usual phrase.
function methods.send_status(self, status)
  local wire = enter(self, "send_status")
  if math.type(status) == "integer" then
    status = status .. " " .. (require "mb.http.reasons"[status] or "")
  end
  local code = type(status) == "string" and (match(status, "^[1-5]%d%d ") or match(status, "^[1-5]%d%d$"))
  if not code or not core.is_text(status) then
    error("send_status: expected a status such as \"200 OK\": three digits and a text without line ends", 2)
  end
  if #status == 3 then status = status .. " " end
  self._code = math.tointeger(code)
  self._interim = self._code < 200 and self._code ~= 101
  self._head = {"HTTP/1.1 ", status, "\r\n", self._interim and "" or wire.options.static_headers.text}
  self._state = "head"
end

local function end_connection(self) self.keepalive = false end

-- Content-Length: the body is checked against it.
local function on_length(self, value, line)
  local length = match(value, "^%d+$") and math.tointeger(value)
  if not length then return nil, "Content-Length has to be a number of bytes" end
  if self._length then return nil, "Content-Length was sent already" end
  if self._interim or self._code == 204 or self._code == 101 then
    return nil, format("a %d response has no Content-Length", self._code)
  end
  if self._code == 205 and length > 0 then return nil, "a 205 response has no content" end
  self._length = length
  return line
end

local function on_framing() return nil, "Transfer-Encoding is not for scripts to set: the body is framed by itself" end

-- Connection: what is said of closing is understood; other options go out as they are.
local function on_connection(self, value, line)
  local options, others = {}, false
  core.list(value, options)
  for _, option in ipairs(options) do
    option = lower(option)
    if option == "close" then
      end_connection(self)
    elseif option ~= "keep-alive" then
      others = true
    end
  end
  return others and #options == 1 and line or others and "Connection: upgrade\r\n" or ""
end

local function on_date(self, _, line)
  self._dated = true
  return line
end

-- Fields that mean something to us: function(request, value, line), which returns the line, or nil and what is wrong.
local SPECIAL = {
  ["content-length"] = on_length,
  ["transfer-encoding"] = on_framing,
  connection = on_connection,
  date = on_date,
}

-- request:send_header(key, value): a value may be a number.
function methods.send_header(self, key, value)
  enter(self, "send_header")
  if type(value) == "number" then value = tostring(value) end
  if type(key) ~= "string" or type(value) ~= "string" then
    error(format("send_header: expected a name and a value, got %s and %s", type(key), type(value)), 2)
  end
  local line, wrong = field_line(key, value)
  local special = line and SPECIAL[lower(key)]
  if special then line, wrong = special(self, value, line) end
  if not line then error("send_header: " .. wrong, 2) end
  local head = self._head
  head[#head + 1] = line
end

-- How the body is framed, as a header line. size: of the whole body, or nil when that is not known.
local function framing(self, size)
  local code = self._code
  if code == 101 or code == 204 or code == 304 or self._length then return "" end
  if code == 205 then return "Content-Length: 0\r\n" end
  if size then return "Content-Length: " .. size .. "\r\n" end
  if self.method == "HEAD" then return "" end
  if self.version == "1.1" then
    self._chunked = true
    return "Transfer-Encoding: chunked\r\n"
  end
  end_connection(self) -- the end of the connection is that of the body
  return ""
end

-- Ends the head; returns it as it goes out.
local function end_head(self, size)
  local wire, head = self._wire, self._head
  local n = #head
  self._head = false
  if not self._dated and not wire.options.static_headers.dated then
    n = n + 1
    head[n] = core.date()
  end
  head[n + 1] = framing(self, size)
  -- The client has not been told to send its body: nobody knows whether it will.
  if wire.expects then end_connection(self) end
  if self._code == 101 then
    self.keepalive = false -- what follows is another protocol, and the script's
  elseif not self.keepalive then
    head[n + 2] = "Connection: close\r\n"
  elseif self.version == "1.0" then
    head[n + 2] = "Connection: keep-alive\r\n"
  end
  head[#head + 1] = "\r\n"
  return concat(head)
end

-- An interim response is its head; HTTP/1.0 knows none. The response itself is still to come.
local function end_interim(self)
  local head = self._head
  self._head, self._interim, self._state = false, false, "start"
  if self.version == "1.1" then
    head[#head + 1] = "\r\n"
    self._wire:flush(concat(head))
  end
end

-- request:close_after_finish()
function methods.close_after_finish(self)
  enter(self, "close_after_finish")
  end_connection(self)
end

-- ---- the body ----

-- The head, if it has not gone out yet, and what is buffered of the body: strings to write.
local function take_pending(self, size)
  local head = self._head and end_head(self, size) or ""
  local pieces, buffered = self._pieces, self._buffered
  if not pieces or buffered == 0 then return head, "", "", "" end
  self._pieces, self._buffered = nil, 0
  local data = #pieces == 1 and pieces[1] or concat(pieces)
  if self._chunked then return head, format("%x\r\n", buffered), data, "\r\n" end
  return head, data, "", ""
end

-- request:finish_headers()
function methods.finish_headers(self)
  local wire = enter(self, "finish_headers")
  if self._interim then return end_interim(self) end
  self._state = "body"
  if self._head then wire:flush(take_pending(self)) end
end

-- Counts bytes that are about to be sent, and checks that they may be. level: of the script for error.
local function count(self, call, size, level)
  if self._interim then
    error(call .. ": an interim response has no body: request:finish_headers ends it", level)
  end
  if size > 0 and is_bodyless(self._code) then
    error(format("%s: a %d response has no body", call, self._code), level)
  end
  local sent = (self._sent or 0) + size
  if self._length and sent > self._length then
    error(format("%s: %d bytes of body, but Content-Length is %d", call, sent, self._length), level)
  end
  self._sent = sent
  self._state = "body"
end

-- request:send_data(...)
function methods.send_data(self, ...)
  local wire = enter(self, "send_data")
  local data = ...
  if select("#", ...) ~= 1 then
    local texts = table.pack(...)
    for i = 1, texts.n do texts[i] = tostring(texts[i]) end
    data = concat(texts)
  elseif type(data) ~= "string" then
    data = tostring(data)
  end
  if self.method == "HEAD" then
    if self._interim then count(self, "send_data", 0, 3) end
    self._sent = (self._sent or 0) + #data
    self._state = "body"
    return
  end
  count(self, "send_data", #data, 3)
  if data == "" then return end
  local pieces = self._pieces
  if pieces then
    pieces[#pieces + 1] = data
  else
    self._pieces = {data}
  end
  self._buffered = (self._buffered or 0) + #data
  if self._buffered >= wire.options.minimum_output_chunk_size then wire:write(take_pending(self)) end
end

-- request:flush()
function methods.flush(self)
  local wire = enter(self, "flush")
  if self._state == "body" then
    wire:flush(take_pending(self))
  else
    wire:flush()
  end
end

-- request:finish()
function methods.finish(self)
  local wire = enter(self, "finish")
  if self._state == "finished" then return end
  count(self, "finish", 0, 3)
  local sent = self._sent
  if self._length and sent ~= self._length and self.method ~= "HEAD" and not is_bodyless(self._code) then
    error(format("finish: %d bytes of body, but Content-Length is %d", sent, self._length), 2)
  end
  self._state = "finished"
  if self.method == "HEAD" and sent == 0 then sent = nil end -- a script that knows HEAD sends nothing
  local head, size, data, line_end = take_pending(self, sent)
  wire:flush(head, size, data, line_end, self._chunked and "0\r\n\r\n" or "")
end

-- For the modules that add methods: checks a call, counts a body, takes what is to be sent before it, sends an interim head.
return {methods = methods, enter = enter, count = count, take_pending = take_pending}
