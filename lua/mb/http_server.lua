-- mb.http_server: lua-http's http.server, for a connection that exists already; see mb.http_server(3). Speaks HTTP/1.x
-- only: detach() gives the descriptor to the real lua-http for the rest.

local http_server = {}

local HOME = {
  detach = "mb.http_server.detach",
  headers = "mb.http_server.headers",
  install = "mb.http_server.install",
  listen = "mb.http_server.listen",
  mt = "mb.http_server.server",
  new = "mb.http_server.server",
  wrap = "mb.http_server.server",
}

-- new(options), listen(options): return a server, as in lua-http.
-- wrap(socket, options): returns a server whose only connection is the socket.
-- install(): from now on, require "http.server" and require "http.headers" return these modules.
-- detach(socket): returns the socket's descriptor, which belongs to the caller from then on.
-- headers: http.headers.
-- mt: the metatable of servers, as in lua-http.
return setmetatable(http_server, {
  __index = function(self, key)
    local home = HOME[key]
    if not home then return nil end
    local found = require(home)
    local value = type(found) == "table" and found[key] or found
    self[key] = value
    return value
  end,
})
