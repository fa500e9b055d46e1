-- The response: status, header fields, body. Its states only move forward; a call that is not allowed in a state is an
-- error of the script. What is written goes out as late as possible: a response that is small goes out in one piece,
-- with its length.

local core = require "mb.http.core"

local concat, format, lower, match = table.concat, string.format, string.lower, string.match
local field_line = core.field_line

local methods = {}

-- The states, as bits, and for each call those in which it is allowed. mb.http.misuse has the words for the others.
local STATE = {start = 1, head = 2, body = 4, finished = 8}
local ALLOWED = {
  send_status = 1,
  send_header = 2,
  close_after_finish = 1 | 2,
  monologue = 1 | 2,
  finish_headers = 2 | 4,
  send_data = 2 | 4,
  send_file = 2 | 4,
  flush = 1 | 2 | 4 | 8,
  finish = 2 | 4 | 8,
}

-- Checks that a call is allowed; returns the connection.
local function enter(request, call)
  if type(request) ~= "table" or request.faulty or ALLOWED[call] & (STATE[request._state] or 0) == 0 then
    require "mb.http.misuse"(request, call, 4)
  end
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

-- Fields that mean something to us: mb.http.fields has what.
local SPECIAL = {["content-length"] = true, ["transfer-encoding"] = true, connection = true, date = true}

-- request:send_header(key, value): a value may be a number.
function methods.send_header(self, key, value)
  enter(self, "send_header")
  if type(value) == "number" then value = tostring(value) end
  if type(key) ~= "string" or type(value) ~= "string" then
    error(format("send_header: expected a name and a value, got %s and %s", type(key), type(value)), 2)
  end
  local line, wrong = field_line(key, value)
  if line and SPECIAL[lower(key)] then line, wrong = require "mb.http.fields"[lower(key)](self, value, line) end
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
  self.keepalive = false -- the end of the connection is that of the body
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
  if wire.expects then self.keepalive = false end
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

-- Counts bytes that are about to be sent, and checks that they may be. level: of the script, for error.
local function count(self, call, size, level)
  local sent = (self._sent or 0) + size
  if self._interim or (size > 0 and is_bodyless(self._code)) or (self._length and sent > self._length) then
    require "mb.http.misuse"(self, call, level + 1, sent)
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

-- request:finish()
function methods.finish(self)
  local wire = enter(self, "finish")
  if self._state == "finished" then return end
  count(self, "finish", 0, 3)
  local sent = self._sent
  if self._length and sent ~= self._length and self.method ~= "HEAD" and not is_bodyless(self._code) then
    require "mb.http.misuse"(self, "finish", 3, sent)
  end
  self._state = "finished"
  if self.method == "HEAD" and sent == 0 then sent = nil end -- a script that knows HEAD sends nothing
  local head, size, data, line_end = take_pending(self, sent)
  wire:flush(head, size, data, line_end, self._chunked and "0\r\n\r\n" or "")
end

-- For the modules that add methods: checks a call, counts a body, takes what is to be sent before it.
return {methods = methods, enter = enter, count = count, take_pending = take_pending}
