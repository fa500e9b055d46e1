-- mb.reply: whole responses, one call each, with their type, charset and length. See mb.reply(3). Beside moonbridge_http,
-- and usable with any request of it.

local core = require "mb.http.core"

local reply = {}

-- The request's methods; a call without a request gets an error that says how to call.
local function check(request, name)
  if type(request) ~= "table" or not request._response then
    error(("reply.%s: expected a request as first argument, got %s"):format(name, type(request)), 3)
  end
end

local function send_fields(request, fields)
  if fields == nil then return end
  if type(fields) ~= "table" then
    error("reply: expected a table of header fields, got " .. type(fields), 4)
  end
  for name, value in pairs(fields) do
    if type(value) == "table" then -- a field with several lines, such as Set-Cookie
      for _, line in ipairs(value) do request:send_header(name, line) end
    else
      request:send_header(name, value)
    end
  end
end

-- Returns whether the script has given a field by itself, in any case.
local function has(fields, name)
  for key in pairs(fields or {}) do
    if type(key) == "string" and key:lower() == name then return true end
  end
  return false
end

local function send(request, status, type, body, fields)
  request:send_status(status or 200)
  if not has(fields, "content-type") then request:send_header("Content-Type", type) end
  send_fields(request, fields)
  if body ~= "" then request:send_data(body) end
  request:finish()
end

-- Returns a text, which may be a number.
local function text_of(value, name)
  if type(value) == "number" then return tostring(value) end
  if type(value) ~= "string" then
    error(("reply.%s: expected a string, got %s"):format(name, type(value)), 3)
  end
  return value
end

-- reply.text(request, text[, status[, fields]]): text/plain in UTF-8. status: 200 if it is left out; fields: a table of
-- more header fields.
function reply.text(request, text, status, fields)
  check(request, "text")
  send(request, status, "text/plain; charset=utf-8", text_of(text, "text"), fields)
end

-- reply.html(request, html[, status[, fields]]): text/html in UTF-8.
function reply.html(request, html, status, fields)
  check(request, "html")
  send(request, status, "text/html; charset=utf-8", text_of(html, "html"), fields)
end

local encode -- Debian's cjson; loaded once
local function encoded(value, name)
  encode = encode or require "mb.http.cjson"(3).encode
  local good, text = pcall(encode, value)
  if not good then error(("reply.%s: %s"):format(name, text), 3) end
  return text
end

-- reply.json(request, value[, status[, fields]]): the value as JSON, by Debian's lua-cjson.
function reply.json(request, value, status, fields)
  check(request, "json")
  if value == nil then error("reply.json: expected a value, got nil; null is cjson.null", 2) end
  send(request, status, "application/json", encoded(value, "json"), fields)
end

-- reply.problem(request, status[, details[, fields]]): an error as RFC 9457 has it. details: a table with title, detail,
-- type, instance and members of the script's own; a string is the detail. status and title are added.
function reply.problem(request, status, details, fields)
  check(request, "problem")
  local code = math.tointeger(status) or tonumber((tostring(status):match("^%d%d%d")))
  if not code or code < 400 then
    error("reply.problem: expected the status of an error, such as 404, got " .. tostring(status), 2)
  end
  if details ~= nil and type(details) ~= "table" and type(details) ~= "string" then
    error("reply.problem: expected a table or a string of details, got " .. type(details), 2)
  end
  local problem = {status = code, title = core.reason(code)}
  if type(details) == "string" then details = {detail = details} end
  for key, value in pairs(details or {}) do problem[key] = value end
  send(request, status, "application/problem+json", encoded(problem, "problem"), fields)
end

-- Returns a reference with whatever a URI may not have as %XX.
local function uri(target)
  return (target:gsub("[^%w%-._~:/?#%[%]@!$&'()*+,;=%%]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- reply.redirect(request, location[, status[, fields]]): location is a URL or a path. status: 303 if it is left out: the
-- client comes with GET, also after a POST.
function reply.redirect(request, location, status, fields)
  check(request, "redirect")
  if type(location) ~= "string" or location == "" then
    error("reply.redirect: expected a URL or a path, got " .. (location == "" and "an empty string" or type(location)), 2)
  end
  local code = tonumber((tostring(status or 303):match("^%d%d%d")))
  if not (code == 301 or code == 302 or code == 303 or code == 307 or code == 308) then
    error("reply.redirect: expected 301, 302, 303, 307 or 308, got " .. tostring(status), 2)
  end
  request:send_status(status or 303)
  request:send_header("Location", uri(location))
  send_fields(request, fields)
  request:finish()
end

-- reply.no_content(request[, fields]): 204.
function reply.no_content(request, fields)
  check(request, "no_content")
  request:send_status(204)
  send_fields(request, fields)
  request:finish()
end

-- reply.not_modified(request[, fields]): 304. fields: those that a 200 would have had and that a cache needs, such as
-- ETag, Last-Modified, Cache-Control, Vary (RFC 9110, section 15.4.5).
function reply.not_modified(request, fields)
  check(request, "not_modified")
  request:send_status(304)
  send_fields(request, fields)
  request:finish()
end

-- reply.error(request, status[, message[, fields]]): what on_error of generate_handler makes of it, or a short text.
function reply.error(request, status, message, fields)
  check(request, "error")
  local code = math.tointeger(status)
  if not code or code < 400 or code > 599 then
    error("reply.error: expected a status from 400 to 599, got " .. tostring(status), 2)
  end
  require "mb.http.failure".answer(request, code, message, fields)
  request:finish()
end

return reply
