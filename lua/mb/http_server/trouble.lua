-- The methods of a connection for unusual cases: writing that blocks, bodies that were not read, requests that are
-- refused, handlers that fail, upgrades.

local core = require "mb.http.core"
local connection = require "mb.http_server.connection"
local headers = require "mb.http_server.headers"

local after = connection.after
local new_pace = require "mb.http.pace".new
local timeref = require "moonbridge_io".timeref

local trouble = {}

local EPIPE, EILSEQ, ETIMEDOUT = 32, 84, 110

-- The time that a client has to send the rest of a body that nobody has read, and to end at the end.
local DRAIN_SECONDS = 2
local DROP_BYTES = 1024 * 1024

-- The time for the rest of a head that has begun.
local HEAD_SECONDS = 120

-- The window of minimum_input_rate.
local PACE_SECONDS = 60

-- The most content that is kept for later, when a client takes nothing before it has sent everything.
local STASH_MAX_BYTES = 64 * 1024 * 1024

-- Notes a fault of the client: what follows from it is no failure of ours. The last fault counts, but a script may
-- still throw the message of an earlier one. ours: an option of the script is to blame as well.
local function note_fault(self, message, status, reason, ours)
  local messages = self.fault and self.fault.messages or {}
  messages[message] = true
  self.fault = {message = message, status = status, reason = reason, ours = ours, messages = messages}
end

-- Notes a fault after which no other request can follow. Returns nil, message, errno.
local function lost(self, message, number, status, reason, ours)
  note_fault(self, message, status, reason, ours)
  self.broken = true
  return nil, message, number
end

-- ---- waiting ----

-- Notes that the time of a response is over, if it is. A script that tries again gets the same: EPIPE says that it need
-- not. Returns whether it is; and nil, message, errno.
local function is_late(self, call)
  if timeref() < self.deadline then return false end
  local reason = ("the response took more than %g seconds (response_timeout)"):format(self.server.response_timeout)
  return true, lost(self, call .. ": " .. reason, EPIPE, 408, reason, true)
end

-- Waits until nothing is queued. Meanwhile receives what the client sends of its body: it may read only after it has
-- sent everything.
function trouble:drain(pending, message, number, timeout)
  local limit = after(timeout)
  local input, socket = self.input, self.socket
  local receives = not input:is_ended()
  while pending and pending > 0 do
    local ready = self:wait(receives and "rw" or "w", limit)
    if not ready then
      local late, none, said, errno = is_late(self, "write")
      if late then return none, said, errno end
      return lost(self, "write: Connection timed out", ETIMEDOUT)
    end
    if receives and ready ~= "w" then
      local kept, state = input:stash()
      receives = kept and kept < STASH_MAX_BYTES or state == "block"
    end
    local before = pending
    pending, message, number = socket:flush_nb()
    if pending and pending < before and not timeout then limit = after() end
  end
  if pending then return true end
  if number ~= EPIPE then message, number = message or "Broken pipe", number or EPIPE end
  return lost(self, message, number)
end

-- Waits for the next piece of the request body; without a deadline, until we give the client up. If the client waits
-- for a 100 (Continue), sends that first. Returns true; or nil, message, errno.
function trouble:wait_for_body(request, deadline)
  if request._expects then
    request._expects = false
    if not request._framing then
      local sent, message, number = self:send(nil, "HTTP/1.1 100 Continue\r\n\r\n")
      if not sent then return nil, message, number end
    end
  end
  local pace = self.pace
  if not pace or pace.request ~= request then
    pace = new_pace(self.input, PACE_SECONDS, self.server.minimum_input_rate)
    pace.request, self.pace = request, pace
  end
  pace:begin()
  local ready = self:wait("r", deadline or after())
  local late, none, message, number = is_late(self, "read")
  if late then return none, message, number end
  -- A script with a deadline of its own decides by itself how long it waits.
  if not deadline and pace:is_slow() then
    local reason = ("the client has sent less than %d bytes a second for %d seconds (minimum_input_rate)"):format(
      self.server.minimum_input_rate, PACE_SECONDS)
    return lost(self, "read: " .. reason, ETIMEDOUT, 408, reason, true)
  end
  if ready then return true end
  note_fault(self, "read: Connection timed out", 408, "the request body took too long")
  return nil, "read: Connection timed out", ETIMEDOUT
end

-- Forgets the fault: some of the body has come after all.
function trouble:forgive()
  if not self.broken then self.fault = false end
end

-- Notes why the input has no body content. state: "refused" or "failed". Returns nil, message, errno.
function trouble:input_failed(state, a, b)
  if state == "failed" then return lost(self, b, a) end
  return lost(self, "read: " .. b, EILSEQ, a, b, a == 413)
end

-- ---- ends of requests ----

local function describe(self)
  local client = self.socket and self.socket.remote_addr
  local request = self.request
  local target = request and (" in %s %s"):format(request.req_method, self.input:target()) or ""
  return target .. (client and (" (client %s)"):format(client) or "")
end

-- Sends a response that has only a status; with a reason, also a short text. Returns whether it was sent, and the size
-- of the text.
local function answer(request, status, reason)
  local head = headers.new()
  head:append(":status", tostring(status))
  if not reason then return request:write_headers(head, true), 0 end
  local body = ("%d %s: %s\n"):format(status, core.reason(status), reason)
  head:append("content-type", "text/plain; charset=utf-8")
  head:append("content-length", tostring(#body))
  head:append("connection", "close")
  return request:write_headers(head, false) and request:write_chunk(body, true), #body
end

-- Logs a fault of the client, once. about: as describe gives it.
local function tell(fault, about)
  if fault.told then return end
  fault.told = true
  core.log(fault.ours and "notice" or "info", "http_server: " .. fault.message .. about)
end

-- Reads the rest of a body and drops it. Returns whether the next request can follow.
local function skip_body(self, request)
  if request._received or self.input:is_ended() then return true end
  if request._expects then return false end
  local limit = after(DRAIN_SECONDS)
  repeat
    local some, state, number, why = self.input:discard()
    if state == "end" then return true end
    if state == "refused" or state == "failed" then self:input_failed(state, number, why) end
    if not some and (state ~= "block" or not self:wait("r", limit)) then return false end
  until after(0) > limit
  return false
end

-- Ends a response that the script has not ended, or whose request it has not read. Returns whether another request may
-- follow.
function trouble:end_unusual(request)
  local fault = self.fault
  if not core.is_writable(self.socket) or self.broken and not request._framing and fault and not fault.status then
    request._closing = true -- there is nobody to answer
  elseif not request._framing then
    request._closing = request._closing or self.broken
    answer(request, fault and fault.status or 503, fault and fault.reason)
  elseif not request._ended and not request._bodyless then
    request._closing = true -- the client sees that it is incomplete, as far as the framing shows it
    if self.broken and request._framing == "close" then
      self.socket:reset()
      self.closed = true
    end
  end
  if self.broken or not request._closing and not skip_body(self, request) then request._closing = true end
  fault = fault or self.fault
  if self.broken and fault then tell(fault, describe(self)) end
  request.state, request._unread = "closed", false
  request._received, request._ended = true, true
  return not request._closing
end

-- Calls the script's error handler. If it throws, ends the connection and throws the error again.
local function report(self, server, context, operation, message, number)
  local good, err = core.try(server.onerror_, server, context, operation, message, number)
  if good then return end
  self:finish()
  server:forget(self)
  core.throw_on(err)
end

-- Answers with a page that shows the error, with --dev.
local function show_error(self, request, err)
  if request._framing or not core.is_writable(self.socket) then return end
  local body, fields = core.error_page(err, nil, self.input)
  local head = headers.new()
  head:append(":status", "500")
  for name, value in pairs(fields) do head:append(name:lower(), value) end
  head:append("content-length", tostring(#body))
  head:append("connection", "close")
  if request:write_headers(head, false) then request:write_chunk(body, true) end
end

-- Returns whether an error is one of those that the script got for the client's faults.
local function is_theirs(fault, err)
  for message in pairs(fault and fault.messages or {}) do
    if type(err) == "string" and err:find(message, 1, true) then return true end
  end
  return false
end

-- Ends a request after the script's function has thrown. Returns whether another request may follow. Throws the errors
-- that the error handler throws.
function trouble:stream_failed(server, request, err)
  local fault = self.fault
  local theirs = is_theirs(fault, err)
  if fault and not theirs then fault.told = true end -- the error is logged, which comes after it
  if core.error_page and not theirs then show_error(self, request, err) end
  -- Without a length, the end of the connection would look like the end of the body.
  if request._framing == "close" and not request._ended and core.is_writable(self.socket) then
    self.socket:reset()
    self.closed = true
  end
  local goes_on = self:end_stream(request)
  if server.onerror_ then
    report(self, server, request, "onstream", err)
    return goes_on
  end
  local about = describe(self)
  self:finish()
  if theirs then
    tell(fault, about)
    return false
  end
  core.log("err", "http_server:" .. about)
  server:forget(self)
  core.throw_on(err)
end

-- ---- heads that are no requests ----

-- Returns a text for the operator about bytes that belong to another protocol, or "".
local function hint(self, status, is_proxy_header)
  if is_proxy_header then
    return ": a PROXY protocol header that was not expected (--proxy-protocol, or proxy_protocol = true in listen{})"
  elseif status == 505 and self.input:target() == "*" then
    return ": the client speaks HTTP/2 (mb.http_server(3), HTTP/2 AND TLS)"
  end
  return ""
end

-- Waits for the rest of a head that has begun. Returns the results of the input's head method, or nil at the end of the
-- connection.
function trouble:await_rest()
  local limit = after(HEAD_SECONDS)
  local pace = new_pace(self.input, PACE_SECONDS, self.server.minimum_input_rate)
  while true do
    pace:begin()
    if not self:wait("r", math.min(limit, after())) then return self:head_failed("slow") end
    local method, path, query, minor, keepalive, has_body, expects = self.input:head(true)
    if method then return method, path, query, minor, keepalive, has_body, expects end
    if path ~= "block" then return self:head_failed(path, query, minor, keepalive) end
    if pace:is_slow() then return self:head_failed("slow") end
  end
end

-- Ends the wait for a head, as none comes. Tells the client, unless it has gone, and the script's error handler.
-- Returns nil.
function trouble:head_failed(state, detail, why, is_proxy_header)
  local message, number, status, reason = why, detail, nil, nil
  local note = ""
  if state == "slow" then
    status, reason, number = 408, "the request head took too long", ETIMEDOUT
  elseif state == "end" then
    status, reason, number = 400, "the request head ended early", EILSEQ
  elseif state == "refused" then
    status, reason, number = detail, why, EILSEQ
    note = hint(self, status, is_proxy_header)
  elseif state == "tls" then
    message, number = "the input looks like TLS, which is not spoken here", EILSEQ
    note = " (mb.http_server(3), HTTP/2 AND TLS)"
  end
  if reason then message = reason end
  lost(self, message, number, status)
  if status and core.is_writable(self.socket) then
    local stream = require "mb.http_server.stream"
    local is_head = self.input:is_head()
    local sent, size = answer(stream.new(self, is_head and "HEAD" or "GET", 1, false, true, false), status, reason)
    if core.log_request then core.log_refusal(self.input, status, sent and not is_head and size or 0) end
  end
  core.log("info", ("http_server: %s%s%s%s"):format(status and status .. ": " or "", message, note, describe(self)))
  local server = self.server
  if server.onerror_ then
    self:finish()
    report(self, server, self, "get_next_incoming_stream", message, number)
  end
  return nil
end

-- ---- the end of the connection ----

-- Closes while the client may still be sending; mb.http.closing says at its linger why a close alone would not do.
function trouble:linger()
  local socket = self.socket
  if core.is_network(socket) and core.is_writable(socket) and core.end_output(socket) then
    local limit = after(DRAIN_SECONDS)
    repeat
      local dropped, state = socket:drain_nb(DROP_BYTES)
    until not dropped or state == "eof" or after(0) > limit or (state == "block" and not self:wait("r", limit))
  end
  if core.is_open(socket) then socket:close() end
end

-- connection:take_socket(): returns the connection, which belongs to the script from now on: a socket of cqueues, as
-- in lua-http, when the program has loaded those; otherwise the socket object. Returns nil when it was taken before.
function trouble:take_socket()
  local socket = self:take_own_socket()
  if not socket or not package.loaded["cqueues.socket"] then return socket end
  return require "mb.http_server.cqueues".give(socket)
end

-- The same, and always the socket object.
function trouble:take_own_socket()
  local request = self.request
  self.closed = true
  if request then
    request._taken, request.state, request._ended = true, "closed", true
  end
  local socket = self.socket
  self.socket = nil
  return socket
end

-- connection:flush(timeout)
function trouble:flush(timeout)
  if self.closed or not core.is_writable(self.socket) then return nil, "Broken pipe", EPIPE end
  return self:send(timeout)
end

-- connection:shutdown(), connection:close(): end the request that is being served, and the connection.
function trouble:shutdown()
  if self.closed then return true end
  if self.request then
    self.request._closing = true
    self:end_stream(self.request)
  end
  self:finish()
  return true
end

trouble.close = trouble.shutdown

-- Returns the descriptor for which another loop can wait.
function trouble:pollfd() return self.socket and self.socket.fd end

function trouble.events() return "" end

function trouble.timeout() return nil end

-- connection:onidle(f): never calls f, as nothing goes on behind the script's back. Returns the function that was set
-- before.
function trouble:onidle(...)
  local before = self.onidle_
  if select("#", ...) > 0 then self.onidle_ = ... end
  return before
end

function trouble.new_stream() error("new_stream: the server cannot begin streams in HTTP/1", 2) end

return trouble
