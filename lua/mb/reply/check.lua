-- The checks of mb.reply that most replies do not need; other modules have the first one, too. Each throws what is
-- wrong with an argument of the function of this name; level: that of the script, seen from the check.

local core = require "mb.http.core"

local check = {}

-- call: the whole name of the function, such as "reply.text", also of another module.
function check.request(request, call, level)
  if type(request) ~= "table" or not request._response then
    error(("%s: expected a request as first argument, got %s"):format(call, type(request)), level)
  end
end

-- Returns a text, which may be a number.
function check.text(value, name, level)
  if type(value) == "number" then return tostring(value) end
  if type(value) ~= "string" then error(("reply.%s: expected a string, got %s"):format(name, type(value)), level) end
  return value
end

-- bodyless: the set of the codes that this response may not have.
function check.status(status, name, bodyless, level)
  local code = type(status) == "number" and status
  if type(status) == "string" and not status:find("[%c\127]") then
    code = tonumber((status:match("^[2-5]%d%d$") or status:match("^([2-5]%d%d) ")))
  end
  if not code or code < 200 then
    error(("reply.%s: expected a status from 200 to 599, such as \"200 OK\" or 200, got %s"):format(
      name, tostring(status)), level)
  end
  if bodyless[code] then error(("reply.%s: a %d response has no content"):format(name, code), level) end
end

-- Returns a table of header fields as a sequence of pairs, and whether Content-Type is among them.
function check.fields(fields, name, level)
  if type(fields) ~= "table" then
    error(("reply.%s: expected a table of header fields, got %s"):format(name, type(fields)), level)
  end
  local list, names, typed = {}, {}, false
  local function add(key, value)
    if type(key) ~= "string" or type(value) ~= "string" and type(value) ~= "number" then
      error(("reply.%s: expected names and values of header fields to be strings"):format(name), level + 1)
    end
    local _, wrong = core.field_line(key, value)
    if wrong then error(("reply.%s: header field %q: %s"):format(name, key, wrong), level + 1) end
    list[#list + 1] = {key, value}
    typed = typed or key:lower() == "content-type"
  end
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

return check
