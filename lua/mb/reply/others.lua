-- The replies of mb.reply besides text and html, and what they are made of.

local check = require "mb.reply.check"
local core = require "mb.http.core"

-- lua-cjson refuses more levels than 100 (mb.http.cjson).
local LEVELS_MAX = 101

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
    error(("reply.%s: the number %.0f has more digits than JSON gets here, 14: give a string"):format(name, value),
      level + 1)
  end
end

local array = {} -- the metatable of what reply.array has marked
local empty -- stands for an empty array while lua-cjson writes it, which would write {}; nil: none is marked

-- Returns a value with `empty` in the place of empty arrays; tables that have some are copied. levels: deeper ones are
-- for lua-cjson to refuse. done: the tables so far -> what is returned for them; a table within itself stays.
local function without_empty(value, levels, done)
  if type(value) ~= "table" or levels == 0 then return value end
  if next(value) == nil then return getmetatable(value) == array and empty or value end
  if done[value] then return done[value] end
  done[value] = value
  local copy, differs = {}, false
  for key, member in next, value do
    copy[key] = without_empty(member, levels - 1, done)
    differs = differs or copy[key] ~= member
  end
  if differs then done[value] = copy end
  return done[value]
end

local encode -- Debian's cjson; loaded once

-- Returns a value as JSON (RFC 8259).
local function encoded(value, name)
  encode = encode or require "mb.http.cjson"(3).encode
  if empty then value = without_empty(value, LEVELS_MAX, {}) end
  local good, text = pcall(encode, value)
  if not good then error(("reply.%s: %s"):format(name, text), 3) end
  if empty then text = text:gsub('"' .. empty .. '"', "[]") end
  if text:find("%de%+") then check_numbers(value, name, 3) end
  return text
end

-- Returns a reference with whatever a URI may not have as %XX.
local function uri(target)
  return (target:gsub("[^%w%-._~:/?#%[%]@!$&'()*+,;=%%]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local REDIRECTS = {[301] = true, [302] = true, [303] = true, [307] = true, [308] = true}

local others = {}

local send -- that of mb.reply

-- reply.json(request, value[, status[, fields]]): the value as JSON, by Debian's lua-cjson.
function others.json(request, value, status, fields)
  check.request(request, "reply.json", 3)
  if value == nil then error("reply.json: expected a value, got nil; null is cjson.null", 2) end
  local text = encoded(value, "json")
  send(request, "json", status or 200, "application/json", text, fields)
end

-- reply.array(list): marks a table as an array, which is [] in JSON when it is empty. Returns it.
function others.array(list)
  if type(list) ~= "table" or getmetatable(list) ~= nil and getmetatable(list) ~= array then
    error("reply.array: expected a table without a metatable, got " .. type(list), 2)
  end
  -- Nobody can guess it, and have a string taken for an array.
  if not empty then
    local crypto = require "mb.crypto"
    empty = crypto.hex(crypto.random_bytes(16))
  end
  return setmetatable(list, array)
end

-- reply.problem(request, status[, details[, fields]]): an error as RFC 9457 has it. details: a table with title,
-- detail, type, instance and members of the script's own; a string is the detail. status and, without one, title are
-- added.
function others.problem(request, status, details, fields)
  check.request(request, "reply.problem", 3)
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

-- reply.problems: an on_error of generate_handler, which makes such an error of all that is refused.
function others.problems(_, status, message)
  local title = core.reason(status)
  local problem = {status = status, title = title ~= "" and title or nil, detail = message ~= title and message or nil}
  return encoded(problem, "problems"), "application/problem+json"
end

-- reply.redirect(request, location[, status[, fields]]): location is a URL or a path. status: 303 if it is left out:
-- the client comes with GET, also after a POST (RFC 9110, section 15.4).
function others.redirect(request, location, status, fields)
  check.request(request, "reply.redirect", 3)
  if type(location) ~= "string" or location == "" then
    local got = location == "" and "an empty string" or type(location)
    error("reply.redirect: expected a URL or a path, got " .. got, 2)
  end
  if not REDIRECTS[tonumber((tostring(status or 303):match("^%d%d%d")))] then
    error("reply.redirect: expected 301, 302, 303, 307 or 308, got " .. tostring(status), 2)
  end
  local all = {}
  if fields ~= nil then
    check.fields(fields, "redirect", 3)
    for name, value in pairs(fields) do
      if name:lower() ~= "location" then all[name] = value end
    end
  end
  all.Location = uri(location)
  send(request, "redirect", status or 303, nil, nil, all)
end

-- reply.no_content(request[, fields]): 204.
function others.no_content(request, fields)
  check.request(request, "reply.no_content", 3)
  send(request, "no_content", 204, nil, nil, fields)
end

-- reply.not_modified(request[, fields]): 304. fields: those that a 200 would have had and that a cache needs, such as
-- ETag, Last-Modified, Cache-Control, Vary (RFC 9110, section 15.4.5).
function others.not_modified(request, fields)
  check.request(request, "reply.not_modified", 3)
  send(request, "not_modified", 304, nil, nil, fields)
end

-- reply.error(request, status[, message[, fields]]): what on_error of generate_handler makes of it, or a short text.
function others.error(request, status, message, fields)
  check.request(request, "reply.error", 3)
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
  local list = fields and check.fields(fields, "error", 3)
  require "mb.http.failure".answer(request, code, message, list)
  request:finish()
end

-- Adds the functions to the table of the module.
return function(reply, send_of_reply)
  send = send_of_reply
  for name, f in pairs(others) do reply[name] = f end
end
