-- What a client gets in the place of what it has asked for: what the script's on_error makes of it, or a short text.
-- Loaded when something goes wrong.

local core = require "mb.http.core"

local failure = {}

-- The seconds that on_error has: it makes a text, and waits for nobody.
local LIMIT_SECONDS = 10

local TEXT = "text/plain; charset=utf-8"

-- The response writer decides on these fields, or they belong to other responses.
local OURS = {["content-length"] = true, ["transfer-encoding"] = true, connection = true, upgrade = true}

-- Returns "404 Not Found".
function failure.title(status) return ("%d %s"):format(status, core.reason(status)) end

-- Returns the short text for a status. message: a text for the client, or nil.
function failure.text(status, message)
  return (failure.title(status):gsub(" $", "")) .. (message and ": " .. message or "") .. "\n"
end

-- Returns whether the option static_headers has a Content-Type.
function failure.has_type(c) return ("\n" .. c.static):lower():find("\ncontent-type:", 1, true) ~= nil end

-- Returns the field lines of static_headers without a Content-Type.
function failure.untyped(c)
  return (("\n" .. c.static):gsub("\n([^:\n]*):[^\n]*", function(name)
    if name:lower() == "content-type" then return "" end
  end):gsub("^\n", ""))
end

-- Returns a table of header fields as a sequence of pairs.
local function pairs_of(fields)
  local list = {}
  for name, value in next, fields do
    if type(name) ~= "string" or type(value) ~= "string" and type(value) ~= "number" then
      error("on_error: expected names and values of header fields to be strings", 0)
    end
    local _, wrong = core.field_line(name, value)
    if wrong then error(("on_error: header field %q: %s"):format(name, wrong), 0) end
    if OURS[name:lower()] then error(("on_error: the header field %s is not for scripts to set"):format(name), 0) end
    list[#list + 1] = {name, value}
  end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  return list
end

-- Checks what on_error has returned. Returns the body and a sequence of header fields; or nil.
local function checked(c, body, fields)
  if body == nil then return nil end
  if type(body) ~= "string" then
    error(("on_error: expected the body, a string, or nil; got %s"):format(type(body)), 0)
  end
  if type(fields) == "string" then fields = {["Content-Type"] = fields} end
  if fields ~= nil and type(fields) ~= "table" then
    error(("on_error: expected a Content-Type or a table of header fields; got %s"):format(type(fields)), 0)
  end
  local list, typed = pairs_of(fields or {}), failure.has_type(c)
  for _, field in ipairs(list) do typed = typed or field[1]:lower() == "content-type" end
  if not typed then list[#list + 1] = {"Content-Type", TEXT} end
  return body, list
end

-- Logs why on_error has failed. Whatever it has thrown may throw again when it is made a text.
local function log_failure(hook, status, err)
  local good, text = pcall(tostring, err)
  if not good then text = "an error object whose __tostring fails" end
  local place = text:find("^on_error: ") and require "mb.http.misuse".place(hook) or ""
  core.log("err", ("http: on_error has failed for a %d: %s%s"):format(status, place, text))
end

-- Asks on_error what a client is to get. Meanwhile the request is faulty: it is not for the script to send.
-- request: nil before a head has come. message: nil for the status's usual phrase. err: what the handler has thrown,
-- or nil. Returns the body, and a sequence of header fields; or nil: there is no on_error, or it leaves it to us, or
-- it has failed.
function failure.ask(c, request, status, message, err)
  local hook = c.options.on_error
  if not hook then return nil end
  local before = request and rawget(request, "faulty")
  if request then request.faulty = true end
  local good, body, fields = core.limit(LIMIT_SECONDS, pcall, function()
    return checked(c, hook(request, status, message or core.reason(status), err))
  end)
  if request then request.faulty = before end
  if good then return body, fields end
  log_failure(hook, status, body)
  return nil
end

-- Answers a request, whose connection goes on. message: a text for the client, or nil. fields: more header fields, a
-- sequence of pairs, or nil; they win over those of on_error. The response must not have begun.
function failure.answer(request, status, message, fields)
  local c = request._wire
  local body, others = failure.ask(c, request, status, message)
  if not body then
    body, others = failure.text(status, message), failure.has_type(c) and {} or {{"Content-Type", TEXT}}
  end
  request:send_status(status)
  local sent = {}
  for _, field in ipairs(fields or {}) do
    sent[field[1]:lower()] = true
    request:send_header(field[1], field[2])
  end
  for _, field in ipairs(others) do
    if not sent[field[1]:lower()] then request:send_header(field[1], field[2]) end
  end
  request:send_data(body)
end

return failure
