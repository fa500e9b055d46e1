-- hello.lua: answers one HTTP request with a greeting, on whatever port the connection comes in.
-- Just enough HTTP for curl and browsers; the module moonbridge_http will do this properly.
-- It needs nothing but the connection: mb-handle --sandbox=strict takes everything else away.
return function(socket)
  timeout(10)                                      -- seconds, then the client is cut off
  local request, status = socket:read(1000, "\n")  -- "GET /Ann HTTP/1.1", at most 1000 bytes
  if status ~= "term" then return end              -- too long, or the client has gone
  local name = request:match("^GET /(%a+) ") or "world"
  repeat                                           -- skip the header, up to an empty line
    local size, ended = socket:drain(1000, "\n")
  until ended ~= "term" or size <= 2
  socket:write("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nHello, ", name, "!\n")
end
