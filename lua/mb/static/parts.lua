-- Several ranges of a file in one response: multipart/byteranges (RFC 9110, section 14.6).

local core = require "mb.static.core"

local parts = {}

-- parts.new(ranges, size, content_type): ranges are positions first, last, first, last, ... of a file of this size.
-- Returns a table for parts.send; its type is the response's Content-Type.
function parts.new(ranges, size, content_type)
  local boundary = core.boundary()
  local body = {type = "multipart/byteranges; boundary=" .. boundary, tail = ("\r\n--%s--\r\n"):format(boundary)}
  body.length = #body.tail
  local format = "\r\n--%s\r\nContent-Type: %s\r\nContent-Range: bytes %d-%d/%d\r\n\r\n"
  for i = 1, #ranges, 2 do
    local first, last = ranges[i], ranges[i + 1]
    local head = format:format(boundary, content_type, first, last, size)
    body[#body + 1] = {head = head, first = first, last = last}
    body.length = body.length + #head + last - first + 1
  end
  return body
end

-- parts.send(request, body, transfer): sends the rest of the head, and the parts. transfer(first, last) sends bytes of
-- the file. Returns whether it always returned true.
function parts.send(request, body, transfer)
  request:send_header("Content-Length", body.length)
  for _, part in ipairs(body) do
    request:send_data(part.head)
    if not transfer(part.first, part.last) then return false end
  end
  request:send_data(body.tail)
  return true
end

return parts
