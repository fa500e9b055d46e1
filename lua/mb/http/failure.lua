-- What a client gets in the place of what it has asked for: what the script's on_error makes of it, or a short text.
-- Loaded when something goes wrong.

local core = require "mb.http.core"

local failure = {}

-- The seconds that on_error has.
local LIMIT_SECONDS = 10

-- Returns "404 Not Found".
local function title(status) return ("%d %s"):format(status, core.reason(status)) end

failure.title = title

-- Checks what on_error has returned.
local function checked(body, fields)
  if body == nil then return nil end
  if type(body) ~= "string" then
    error(("on_error: expected the body, a string, or nil; got %s"):format(type(body)), 0)
  end
  if fields == nil or type(fields) == "string" then
    fields = {["Content-Type"] = fields or "text/plain; charset=utf-8"}
  elseif type(fields) ~= "table" then
    error(("on_error: expected a Content-Type or a table of header fields; got %s"):format(type(fields)), 0)
  end
  for name, value in pairs(fields) do
    local line, wrong = core.field_line(name, value)
    if not line then error(("on_error: header field %s: %s"):format(name, wrong), 0) end
  end
  return body, fields
end

-- Asks on_error what a client is to get. Meanwhile the request is faulty: it is for this module to send.
-- request: nil before a head has come. message: nil for the status's usual phrase. err: what the handler has thrown, or nil.
-- Returns the body, and a table of header fields; or nil: there is no on_error, or it leaves it to us, or it has failed.
function failure.ask(c, request, status, message, err)
  local hook = c.options.on_error
  if not hook then return nil end
  message = message or core.reason(status)
  local good, body, fields
  local function ask() good, body, fields = pcall(function() return checked(hook(request, status, message, err)) end) end
  if request then
    local before = rawget(request, "faulty")
    request.faulty = true
    core.call(LIMIT_SECONDS, c.input, ask)
    request.faulty = before
  else
    ask()
  end
  if good then return body, fields end
  core.log("err", ("http: on_error has failed for a %d: %s"):format(status, tostring(body)))
  return nil
end

-- Answers a request, whose connection goes on. message: a text for the client, or nil. fields: more header fields, or
-- nil. The response must not have begun.
function failure.answer(request, status, message, fields)
  local body, others = failure.ask(request._wire, request, status, message)
  if not body then
    body = title(status) .. (message and ": " .. message or "") .. "\n"
    others = {["Content-Type"] = "text/plain; charset=utf-8"}
  end
  request:send_status(status)
  for name, value in pairs(fields or {}) do request:send_header(name, value) end
  for name, value in pairs(others) do request:send_header(name, value) end
  request:send_data(body)
end

return failure
