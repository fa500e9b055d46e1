-- Unusual ends of a request or a connection. Decides what a client gets when something went wrong, and who learns of
-- it; and closes so that the client can still read the response.

local core = require "mb.http.core"
local wire = require "mb.http.wire"

local closing = {}

-- The most input that is dropped between two looks at the deadline.
local DROP_BYTES = 1024 * 1024

-- Closes while the client may still be sending. A plain close would become a reset, and the client would lose what it
-- has not read yet (RFC 9112, section 9.6). So this ends the output first, and drops input until the client ends, too.
function closing.linger(c)
  local socket = c.socket
  if core.is_network(socket) and core.end_output(socket) then
    local limit = wire.after(c.options.drain_timeout)
    repeat
      local dropped, state = socket:drain_nb(DROP_BYTES)
    until not dropped or state == "eof" or wire.after(0) > limit or
      (state == "block" and not c:wait(c.set, nil, limit))
  end
  socket:close()
end

-- Returns the field lines of a short text.
local function fields_of_text(c)
  local typed = require "mb.http.failure".has_type(c)
  return c.static .. (c.static_date and "" or core.date()) ..
    (typed and "" or "Content-Type: text/plain; charset=utf-8\r\n")
end

local function send_refusal(c, title, body, fields)
  if c.state ~= "over" then require "mb.http.intake".move(c, "deaf") end
  c:flush("HTTP/1.1 ", title, "\r\n", fields or fields_of_text(c),
    "Content-Length: ", #body, "\r\nConnection: close\r\n\r\n",
    c.input:is_head() and "" or body)
end

-- Returns a sequence of header fields as lines, with those for every response.
local function lines_of(c, fields)
  local lines, dated = {c.static}, c.static_date
  for _, field in ipairs(fields) do
    local name = field[1]:lower()
    dated = dated or name == "date"
    if name == "content-type" then lines[1] = require "mb.http.failure".untyped(c) end
    lines[#lines + 1] = core.field_line(field[1], field[2])
  end
  return table.concat(lines) .. (dated and "" or core.date())
end

-- Sends a short response that refuses the request, and closes. reason: a text for the client, or nil. err: what the
-- handler has thrown, or nil. body, fields: those of the response, when it has others than on_error makes.
function closing.refuse(c, status, reason, err, body, fields)
  local failure = require "mb.http.failure"
  if not body then
    body, fields = failure.ask(c, c.request or nil, status, reason, err)
    fields = fields and lines_of(c, fields)
  end
  if not core.is_open(c.socket) then return end -- on_error has closed it
  c.deadline = wire.after(c.options.stall_timeout or c.options.drain_timeout)
  body = body or failure.text(status, reason)
  local sent = pcall(send_refusal, c, failure.title(status), body, fields)
  if core.log_request then core.log_refusal(c.input, status, sent and not c.input:is_head() and #body or 0) end
  if sent then
    closing.linger(c)
  else
    c.socket:reset()
  end
end

-- Returns whether the error is the client's fault, and not another error of the script.
local function is_fault(c, err)
  return c.fault and type(err) == "string" and err:find(c.fault.message, 1, true) ~= nil
end

-- Returns " in GET /path (client 192.0.2.7)", as far as it is known.
local function describe(c)
  local client = c.socket.remote_addr
  local request = c.request
  return (request and (" in %s %s"):format(request.method, request.target) or "") ..
    (client and (" (client %s)"):format(client) or "")
end

-- Warns of a body that was not read: a script that registers stream handlers may expect that no other call is needed.
function closing.warn_of_unread(c)
  if c.request._streams or c.request._raw_stream then
    core.log("warning", "http: stream handlers were registered, but the body was not read: " ..
      "call request:consume_input()" .. describe(c))
  end
end

-- Returns the function of the script that a request was for: that which a router has called, or the callback.
local function culprit(c, callback) return c.request and rawget(c.request, "_handler") or callback end

-- Throws: the callback has returned, and has sent no status.
function closing.without_response(c, callback)
  local at, name = require "mb.http.misuse".place(culprit(c, callback))
  error(("%s%s has returned without a response: it has to call request:send_status"):format(at, name), 0)
end

-- Returns an error with the line where the callback begins, if it comes from a method of the request that no line of
-- the script has called: the last step of a response, or a tail call. Otherwise returns nil.
local function placed(err, callback)
  local method = type(err) == "string" and err:match("^([%l_]+): ")
  local ours = method and require "mb.http.request".methods[method] or
    type(err) == "string" and (err:find("^reply%.[%l_]+: ") or err:find("^JSON needs "))
  if not ours then return nil end
  local at, name = require "mb.http.misuse".place(callback)
  return ("%sin %s: %s"):format(at, name, err)
end

-- Warns of a response without a body: the script has not checked the result of send_file.
function closing.warn_of_no_file(c)
  core.log("warning", ("http: the response has no body, as send_file has failed (%s)%s"):format(
    c.request._file_failed, describe(c)))
end

-- Ends the connection after a response that cannot be taken back. The client gets to read it only if it is whole. A
-- WebSocket is closed with 1011 (RFC 6455, section 7.4.1).
local function abandon(c)
  local websocket = c.request and rawget(c.request, "_websocket")
  local closed = websocket and pcall(websocket.close, websocket, 1011)
  local whole = c.request and (closed or c.response:is_whole()) and core.is_open(c.socket) and
    core.is_writable(c.socket) and c.socket:flush_nb() == 0
  if core.log_request then core.log_request(c.input, c.request and c.response) end
  if whole then closing.linger(c) else c.socket:reset() end
end

-- Returns the body and the field lines of a page that shows an error, with --dev; else nothing.
local function error_page(c, err, place)
  if not core.error_page then return end
  local body, fields = core.error_page(err, place, c.input)
  local lines = {core.date()}
  for name, value in pairs(fields) do lines[#lines + 1] = name .. ": " .. value .. "\r\n" end
  return body, table.concat(lines)
end

-- Ends the connection after a request has failed. Tells the client, as long as no part of another response has gone
-- out. Throws the error again if it is not the client's fault. callback: nil before a head has come.
function closing.end_badly(c, err, callback)
  local fault = c.fault
  local ours = not is_fault(c, err)
  local about = describe(c)
  local request = c.request
  local place = callback and placed(err, culprit(c, callback))
  local message = fault and fault.message
  if core.is_open(c.socket) then
    -- Before a head has come, there is no request that a 500 could answer.
    local answerable = request
    if fault then answerable = fault.status end
    if not answerable or request and c.response:has_left() then
      abandon(c)
    elseif fault then
      closing.refuse(c, fault.status, fault.reason)
      message = ("http: %d: %s"):format(fault.status, fault.reason)
    else
      closing.refuse(c, 500, nil, err, error_page(c, err, place))
    end
  elseif core.log_request then
    core.log_request(c.input, request and c.response)
  end
  if request then request.faulty, request._wire = true, wire.ENDED end
  if ours then
    if about ~= "" then core.log("err", "http:" .. about) end
    core.throw_on(err, place)
  end
  -- The default log level shows the faults that a setting of ours may have caused.
  core.log(fault.ours and "notice" or "info", message .. (fault.hint or "") .. about)
end

-- Reads the rest of a body and drops it. Returns whether the next request can follow; else also what is wrong with the
-- body or the connection, if anything is.
local function drop_body(c)
  local limit = wire.after(c.options.drain_timeout)
  repeat
    local some, state, _, reason = c.input:discard()
    if state == "end" then return true end
    if state == "refused" then return false, reason end
    if state == "failed" then return false, "the connection to the client is lost: " .. reason end
    if not some and not c:wait(c.set, nil, limit) then return false end
  until wire.after(0) > limit
  return false
end

-- Ends a request whose body was not read to its end. Logs what is wrong with the body: nobody else has learned of it.
-- more: another request may follow. wrong: what is known to be wrong with the body, or nil. Returns whether another
-- request still may follow.
function closing.end_body(c, more, wrong)
  local dropped = false
  if more then dropped, wrong = drop_body(c) end
  if wrong then core.log("info", "http: " .. wrong .. describe(c)) end
  return dropped
end

return closing
