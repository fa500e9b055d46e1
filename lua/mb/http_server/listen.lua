-- listen(options): a server with a listener of its own. With --style, the connection for which we were started stands
-- in for the listener.

local make = require "mb.http_server.server".make

local EADDRNOTAVAIL = 99

-- Returns a port as a number; nil when it is none.
local function port_of(port)
  port = math.tointeger(tonumber(port))
  return port and port >= 0 and port <= 65535 and port or nil
end

local function listen(options)
  if type(options) ~= "table" then error("expected a table of options, got " .. type(options), 2) end
  local host, path, port = options.host, options.path, options.port
  if (host == nil) == (path == nil) then error("need host or path", 2) end
  if host and port == nil then
    if options.tls ~= false then error("need port", 2) end
    port = 80
  end
  if host then
    if type(host) ~= "string" then error("host: expected a string, got " .. type(host), 2) end
    port = port_of(port)
    if not port then error("port: expected a number from 0 to 65535", 2) end
  elseif type(path) ~= "string" then
    error("path: expected a string, got " .. type(path), 2)
  end
  local self = make(options)
  self.address = {
    host = host, path = path, port = port, family = options.family, v6only = options.v6only,
    mode = options.mode, mask = options.mask,
    unlink = options.unlink, reuseaddr = options.reuseaddr, reuseport = options.reuseport,
  }
  return self
end

-- Returns the name of a pretended listener, as its program sees it.
local function pretended(style, address)
  if address.path then return {1, address.path} end
  local host, port = style.bound(address.host, address.port)
  if host == "localhost" then host = "127.0.0.1" end
  if host == "*" or host == "" then host = "0.0.0.0" end
  return {host:find(":", 1, true) and 10 or 2, host, port}
end

-- Listens. Returns true; or nil, message, errno.
local function open(server)
  local address = server.address
  local style = require "mb.style"
  if style.active() then
    local claimed, message = style.claims(address.path or address.host, address.port)
    if not claimed then return nil, message, EADDRNOTAVAIL end
    server.style, server.address, server.name = true, false, pretended(style, address)
    return true
  end
  local listener, message, number
  if address.cqueues then
    listener, message, number = require "mb.http_server.cqueues".listen(address.cqueues)
  else
    listener, message, number = require "mb.http_server.listener"(address)
  end
  if not listener then return nil, message, number end
  server.socket, server.address = listener, false
  return true
end

return {listen = listen, open = open, port_of = port_of, pretended = pretended}
