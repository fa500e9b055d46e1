-- mb.reply: whole responses, one call each, with their type, charset and length. See mb.reply(3). Beside
-- moonbridge_http, and usable with any request of it. Must find every mistake before anything of a response is made.

local core = require "mb.http.core"

local reply = {}

-- ---- checks ----
-- Each is called by a function of the module, or by send; the errors point at the line of the script that has called
-- that function.

local function check_request(request, name)
  if type(request) ~= "table" or not request._response then
    error(("reply.%s: expected a request as first argument, got %s"):format(name, type(request)), 3)
  end
end

-- Returns the number of a status, which is one of a whole response.
local function code_of(status, name)
  local text = math.type(status) == "integer" and tostring(status) or status
  local code = type(text) == "string" and (text:match("^[2-5]%d%d$") or text:match("^([2-5]%d%d) "))
  if not code then
    error(("reply.%s: expected a status from 200 to 599, such as \"200 OK\" or 200, got %s"):format(
      name, tostring(status)), 4)
  end
  return tonumber(code)
end

-- Returns a table of header fields as a sequence of pairs, and whether Content-Type is among them.
-- level: that of the script, as the caller would give it to error.
local function list_of(fields, name, level)
  local list, typed = {}, false
  local function add(key, value)
    if type(key) ~= "string" or type(value) ~= "string" and type(value) ~= "number" then
      error(("reply.%s: expected names and values of header fields to be strings"):format(name), level + 2)
    end
    local _, wrong = core.field_line(key, value)
    if wrong then error(("reply.%s: header field %q: %s"):format(name, key, wrong), level + 2) end
    list[#list + 1] = {key, value}
    typed = typed or key:lower() == "content-type"
  end
  local names = {}
  for key in pairs(fields) do names[#names + 1] = type(key) == "string" and key or add(key) end
  table.sort(names) -- the same order in every response
  for _, key in ipairs(names) do
    local value = fields[key]
    if type(value) == "table" then -- a field with several lines, such as Set-Cookie
      for i = 1, #value do add(key, value[i]) end
    else
      add(key, value)
    end
  end
  return list, typed
end

-- Returns a text, which may be a number.
local function text_of(value, name)
  if type(value) == "number" then return tostring(value) end
  if type(value) ~= "string" then
    error(("reply.%s: expected a string, got %s"):format(name, type(value)), 3)
  end
  return value
end

-- ---- responses ----

-- Sends a response. type: the Content-Type, or nil for a response without a body. body: nil as well then, or the
-- value of Location.
local function send(request, name, status, type_of_body, body, fields)
  local code = code_of(status, name)
  if type_of_body and (code == 204 or code == 205 or code == 304) then
    error(("reply.%s: a %d response has no content"):format(name, code), 3)
  end
  local list, typed
  if fields ~= nil then
    if type(fields) ~= "table" then
      error(("reply.%s: expected a table of header fields, got %s"):format(name, type(fields)), 3)
    end
    list, typed = list_of(fields, name, 3)
  end
  request:send_status(status)
  if type_of_body then
    if not typed then request:send_header("Content-Type", type_of_body) end
  elseif body then
    request:send_header("Location", body)
  end
  for i = 1, list and #list or 0 do request:send_header(list[i][1], list[i][2]) end
  if type_of_body and body ~= "" then request:send_data(body) end
  request:finish()
end

-- reply.text(request, text[, status[, fields]]): text/plain in UTF-8. status: 200 if it is left out; fields: a table of
-- more header fields.
function reply.text(request, text, status, fields)
  check_request(request, "text")
  send(request, "text", status or 200, "text/plain; charset=utf-8", text_of(text, "text"), fields)
end

-- reply.html(request, html[, status[, fields]]): text/html in UTF-8.
function reply.html(request, html, status, fields)
  check_request(request, "html")
  send(request, "html", status or 200, "text/html; charset=utf-8", text_of(html, "html"), fields)
end

-- Throws if lua-cjson has written a number with fewer digits than it has: it writes 14. Its caller has found that there
-- are numbers of that size.
local function check_numbers(value, name, level)
  if type(value) == "table" then
    for key, member in pairs(value) do
      check_numbers(key, name, level + 1)
      check_numbers(member, name, level + 1)
    end
  elseif type(value) == "number" and value % 1 == 0 and tonumber(("%.14g"):format(value)) ~= value and
    (math.type(value) == "integer" or math.abs(value) <= 2 ^ 53) then
    error(("reply.%s: the number %.0f has more digits than JSON gets here, 14: give it as a string"):format(name, value),
      level + 1)
  end
end

local encode -- Debian's cjson; loaded once

-- Returns a value as JSON (RFC 8259).
local function encoded(value, name)
  encode = encode or require "mb.http.cjson"(3).encode
  local good, text = pcall(encode, value)
  if not good then error(("reply.%s: %s"):format(name, text), 3) end
  if text:find("%de%+") then check_numbers(value, name, 3) end
  return text
end

-- reply.json(request, value[, status[, fields]]): the value as JSON, by Debian's lua-cjson.
function reply.json(request, value, status, fields)
  check_request(request, "json")
  if value == nil then error("reply.json: expected a value, got nil; null is cjson.null", 2) end
  local text = encoded(value, "json")
  send(request, "json", status or 200, "application/json", text, fields)
end

-- reply.problem(request, status[, details[, fields]]): an error as RFC 9457 has it. details: a table with title,
-- detail, type, instance and members of the script's own; a string is the detail. status and, without one, title are
-- added.
function reply.problem(request, status, details, fields)
  check_request(request, "problem")
  local code = tonumber((tostring(status):match("^[45]%d%d")))
  if not code then
    error("reply.problem: expected the status of an error, such as 404, got " .. tostring(status), 2)
  end
  if details ~= nil and type(details) ~= "table" and type(details) ~= "string" then
    error("reply.problem: expected a table or a string of details, got " .. type(details), 2)
  end
  if type(details) == "string" then details = {detail = details} end
  local title = core.reason(code)
  local problem = {title = title ~= "" and title or nil}
  for key, value in pairs(details or {}) do problem[key] = value end
  problem.status = code -- as that of the response (RFC 9457, section 3.1.2)
  local text = encoded(problem, "problem")
  send(request, "problem", status, "application/problem+json", text, fields)
end

-- Returns a reference with whatever a URI may not have as %XX.
local function uri(target)
  return (target:gsub("[^%w%-._~:/?#%[%]@!$&'()*+,;=%%]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local REDIRECTS = {[301] = true, [302] = true, [303] = true, [307] = true, [308] = true}

-- reply.redirect(request, location[, status[, fields]]): location is a URL or a path. status: 303 if it is left out:
-- the client comes with GET, also after a POST (RFC 9110, section 15.4).
function reply.redirect(request, location, status, fields)
  check_request(request, "redirect")
  if type(location) ~= "string" or location == "" then
    local got = location == "" and "an empty string" or type(location)
    error("reply.redirect: expected a URL or a path, got " .. got, 2)
  end
  if not REDIRECTS[tonumber((tostring(status or 303):match("^%d%d%d")))] then
    error("reply.redirect: expected 301, 302, 303, 307 or 308, got " .. tostring(status), 2)
  end
  send(request, "redirect", status or 303, nil, uri(location), fields)
end

-- reply.no_content(request[, fields]): 204.
function reply.no_content(request, fields)
  check_request(request, "no_content")
  send(request, "no_content", 204, nil, nil, fields)
end

-- reply.not_modified(request[, fields]): 304. fields: those that a 200 would have had and that a cache needs, such as
-- ETag, Last-Modified, Cache-Control, Vary (RFC 9110, section 15.4.5).
function reply.not_modified(request, fields)
  check_request(request, "not_modified")
  send(request, "not_modified", 304, nil, nil, fields)
end

-- reply.error(request, status[, message[, fields]]): what on_error of generate_handler makes of it, or a short text.
function reply.error(request, status, message, fields)
  check_request(request, "error")
  local code = math.type(status) and math.tointeger(status)
  if not code or code < 400 or code > 599 then
    error("reply.error: expected a status from 400 to 599, got " .. tostring(status), 2)
  end
  if message ~= nil and type(message) ~= "string" then
    error("reply.error: expected a message, a string, got " .. type(message), 2)
  end
  if fields ~= nil and type(fields) ~= "table" then
    error("reply.error: expected a table of header fields, got " .. type(fields), 2)
  end
  local list = fields and list_of(fields, "error", 2)
  require "mb.http.failure".answer(request, code, message, list)
  request:finish()
end

return reply
