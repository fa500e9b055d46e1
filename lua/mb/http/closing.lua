-- Ends of a connection that are not the usual one: refusals, and closing so that the client gets to read them.

local core = require "mb.http.core"
local reasons = require "mb.http.reasons"
local wire = require "mb.http.wire"

local closing = {}

-- Input that is dropped in one go: the deadline is looked at in between.
local DROP_BYTES = 1024 * 1024

-- Closes while the client may still be sending: a close would become a reset, which costs it what it has not read yet
-- (RFC 9112, section 9.6). So the output is ended first, and input dropped until the client ends too.
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

local function send_refusal(c, status, reason)
  local title = ("%d %s"):format(status, reasons[status])
  local body = title .. (reason and ": " .. reason or "") .. "\n"
  local static = c.options.static_headers
  c.unread, c.consumer = false, false
  c:flush("HTTP/1.1 ", title, "\r\n", static.text, static.dated and "" or core.date(),
    "Content-Type: text/plain; charset=utf-8\r\nContent-Length: ", #body, "\r\nConnection: close\r\n\r\n",
    c.request and c.request.method == "HEAD" and "" or body)
end

-- Sends a short response that refuses the request, and closes. reason: why; nil for none.
function closing.refuse(c, status, reason)
  c.deadline = false
  local sent = pcall(send_refusal, c, status, reason)
  if sent then
    closing.linger(c)
  else
    c.socket:reset()
  end
end

return closing
