-- request:json: the request body as JSON. Must refuse what is no JSON, though the decoder puts up with it, and what
-- costs more than its size.

local core = require "mb.http.core"
local body = require "mb.http.body"

local methods = {}

-- The most bytes of a body, when the script does not say: what is decoded takes up to thirty times as much memory.
local LIMIT_BYTES = 1024 * 1024

local decode -- made once

-- Returns whether a media type is that of JSON: application/json, or with +json (RFC 6839, section 3.1).
local function is_json(type)
  local essence = type:match("^[^;]*"):lower():gsub("[ \t]+$", "")
  return essence == "application/json" or essence:match("^[^/]+/.*%+json$") ~= nil
end

-- Refuses a body of more than `limit` bytes.
local function check_size(wire, size, limit)
  if size > limit then
    wire:fail(("a body of more than %d bytes"):format(limit), 413, true, " (see request:json in moonbridge_http(3))")
  end
end

-- Reads the body, of at most `limit` bytes.
local function read(request, wire, limit)
  check_size(wire, wire.input:length(), limit) -- a client that says how much it will send need not send it in vain
  local size, chunks = 0, {}
  request._body = "streamed"
  local most = wire.options.maximum_input_chunk_size
  while true do
    local chunk = wire:get("read", most)
    if not chunk then return table.concat(chunks) end
    size = size + #chunk
    check_size(wire, size, limit)
    chunks[#chunks + 1] = chunk
  end
end

-- Refuses what the decoder would not: bytes that are no UTF-8, control characters, numbers such as "1.", numbers that
-- become infinite, and strings that are made to collide in Lua's tables (src/http/http_names.h).
local function check(wire, text)
  local _, bad = utf8.len(text)
  bad = bad or text:find("\xED[\xA0-\xBF]") -- half of a surrogate pair
  if bad then wire:fail(("JSON: no UTF-8 at character %d"):format(bad), 400) end
  local fits, at = core.counter(), 1
  while true do
    local kind, first, last, after = core.json_look(text, at)
    if not kind then return end
    at = after
    local part = text:sub(first, last)
    if kind == "control" then
      wire:fail(("JSON: a control character at character %d"):format(first), 400)
    elseif kind == "wrong" then
      wire:fail(("JSON: a number that is none at character %d"):format(first), 400)
    elseif kind == "number" then
      if math.abs(tonumber(part)) == math.huge then
        wire:fail(("JSON: a number that is too large at character %d"):format(first), 400)
      end
    else
      local good, value = true, part
      if part:find("\\", 1, true) then good, value = pcall(decode, '"' .. part .. '"') end
      if good and not fits(value, kind == "name" and "key" or nil) then
        wire:fail("JSON: too many colliding strings", 413)
      end
    end
  end
end

-- request:json([limit]): returns the value of the body, which it reads, unless request.body has done that: a script may
-- want to see its bytes first. A body that is not JSON ends the request: the client gets 415, 413 or 400.
function methods.json(self, limit)
  local is_read = type(self) == "table" and self._body == "string"
  local wire = (is_read and body.usable or body.begin)(self, "json", 2, true)
  limit = limit == nil and LIMIT_BYTES or math.type(limit) and math.tointeger(limit)
  if not limit or limit < 0 then error("json: expected a number of bytes, the most that the body may have", 2) end
  decode = decode or require "mb.http.cjson"(2).decode
  local type = self.headers_value["Content-Type"]
  if not (type and is_json(type)) then
    wire:fail(type and "expected a body of the type application/json" or "expected a Content-Type", 415)
  end
  if is_read then check_size(wire, #self.body, limit) end
  local text = is_read and self.body or read(self, wire, limit)
  check(wire, text)
  local good, value = pcall(decode, text)
  if not good then wire:fail("JSON: " .. tostring(value), 400) end
  return value
end

return {methods = methods}
