-- request:json: the request body as JSON.

local methods = {}

-- The most bytes of a body, when the script does not say: what is decoded takes some ten times as much memory.
local LIMIT_BYTES = 1024 * 1024

local decode -- made once

-- Returns whether a media type is that of JSON: application/json, or with +json (RFC 6839, section 3.1).
local function is_json(type)
  local essence = type:match("^[^;]*"):lower():gsub("[ \t]+$", "")
  return essence == "application/json" or essence:match("^[^/]+/.*%+json$") ~= nil
end

-- Reads the body, of at most `limit` bytes.
local function read(self, limit)
  local size, chunks = 0, {}
  self:stream_request_body_now(function(chunk)
    size = size + #chunk
    if size > limit then self._wire:fail(("a body of more than %d bytes"):format(limit), 413) end
    chunks[#chunks + 1] = chunk
  end)
  return table.concat(chunks)
end

-- request:json([limit]): reads the body and returns its value. A body that is not JSON ends the request: the client gets
-- 415, 413 or 400.
function methods.json(self, limit)
  if type(self) ~= "table" then error("json: expected a request; call it as request:json()", 2) end
  limit = limit == nil and LIMIT_BYTES or math.type(limit) and math.tointeger(limit)
  if not limit or limit < 0 then error("json: expected a number of bytes, the most that the body may have", 2) end
  decode = decode or require "mb.http.cjson"(2).decode
  local wire, type = self._wire, self.headers_value["Content-Type"]
  if not (type and is_json(type)) then
    wire:fail(type and "expected a body of the type application/json" or "expected a Content-Type", 415)
  end
  local text = read(self, limit)
  local length, bad = utf8.len(text)
  if not length then wire:fail(("JSON: no UTF-8 at byte %d"):format(bad), 400) end
  local good, value = pcall(decode, text)
  if not good then wire:fail("JSON: " .. tostring(value), 400) end
  return value
end

return {methods = methods}
