-- lua-http-hello.lua: a handler written for lua-http's http.server, on whatever port the connection comes in.
-- The real lua-http takes 25 ms to load before it can answer; mb.http_server(3) is a small fraction of one.
-- It needs nothing but the connection: mb-handle --sandbox=strict takes everything else away.
local http_server = require "mb.http_server"
local http_headers = require "mb.http_server.headers"

local function reply(_, stream)
  local request = assert(stream:get_headers())
  local response = http_headers.new()
  response:append(":status", "200")
  response:append("content-type", "text/plain")
  local head_only = request:get(":method") == "HEAD"
  assert(stream:write_headers(response, head_only))
  if not head_only then assert(stream:write_chunk("Hello from " .. request:get(":path") .. "\n", true)) end
end

return function(socket)
  http_server.wrap(socket, {onstream = reply}):loop()
end
