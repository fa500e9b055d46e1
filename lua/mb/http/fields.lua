-- Response header fields that mean something to us. Name in lower case -> function(request, value, line), which returns
-- what is to be sent; or nil and what is wrong.

local core = require "mb.http.core"

local format, lower, match = string.format, string.lower, string.match

local fields = {}

-- Content-Length: the body is checked against it.
fields["content-length"] = function(self, value, line)
  local length = match(value, "^%d+$") and math.tointeger(value)
  if not length then return nil, "Content-Length has to be a number of bytes" end
  if self._length then return nil, "Content-Length was sent already" end
  if self._interim or self._code == 204 or self._code == 101 then
    return nil, format("a %d response has no Content-Length", self._code)
  end
  if self._code == 205 and length > 0 then return nil, "a 205 response has no content" end
  self._length = length
  return line
end

fields["transfer-encoding"] = function()
  return nil, "Transfer-Encoding is not for scripts to set: the body is framed by itself"
end

-- Connection: what is said of closing is understood; other options go out as they are.
fields.connection = function(self, value, line)
  local options, others = {}, false
  core.list(value, options)
  for _, option in ipairs(options) do
    option = lower(option)
    if option == "close" then
      self.keepalive = false
    elseif option ~= "keep-alive" then
      others = true
    end
  end
  return others and #options == 1 and line or others and "Connection: upgrade\r\n" or ""
end

fields.date = function(self, _, line)
  self._dated = true
  return line
end

return fields
