-- socket.tcp_server: a listener, and a fiber for each of its connections.

local core = require "mb.tarantool.core"
local fiber = require "mb.tarantool.fiber"
local object = require "mb.tarantool.object"
local address = require "mb.tarantool.address"
local socket = require "mb.tarantool.socket"

local EADDRINUSE, ECONNREFUSED = 98, 111

-- The wait after an accept has failed, mostly for lack of descriptors.
local PAUSE_SECONDS = 0.1

local server = {}

-- Binds. Removes the file of a Unix socket at which nobody listens, as it is in the way.
local function bind(s, a)
  if s:bind(a.host, a.port) then return true end
  if a.host ~= "unix/" or s:errno() ~= EADDRINUSE then return false end
  local message = s:error()
  local other = socket("AF_UNIX", "SOCK_STREAM")
  local refused = other and not other:sysconnect("unix/", a.port) and other:errno() == ECONNREFUSED
  if other then other:close() end
  if refused and os.remove(a.port) then return s:bind(a.host, a.port) end
  s._message = message
  return false
end

-- Returns a listener; or nil and a message.
local function listen(a, prepare)
  local s = socket(a.family, a.type, a.protocol)
  if not s then return nil, socket.error() end
  local backlog
  if prepare then
    backlog = prepare(s, a)
  else
    s:setsockopt("SOL_SOCKET", "SO_REUSEADDR", true)
  end
  s:nonblock(true)
  if bind(s, a) and s:listen(type(backlog) == "number" and backlog or nil) then return s end
  local message = s:error()
  s:close()
  return nil, message
end

local function serve(client, from, name, handler)
  fiber.name(("%s/%s"):format(name, from and object.address_text(from) or ""), {truncate = true})
  local function trace(e) return debug.traceback(core.error_text(e), 2) end
  local good, err = xpcall(handler, trace, client, from)
  client:close() -- false when the handler has done it
  if not good then error(err, 0) end
end

local function accept_all(s, path, name, handler)
  local own = s:name()
  fiber.name(("%s/%s"):format(name, own and object.address_text(own) or ""), {truncate = true})
  while not s._core:is_closed() do
    if s:readable() then
      local client, from = s:accept()
      if client then
        client:nonblock(true)
        fiber.create(serve, client, from, name, handler)
      elseif not s._core:is_closed() then
        fiber.sleep(PAUSE_SECONDS)
      end
    end
  end
  if path then os.remove(path) end
end

-- tcp_server(host, port, handler), tcp_server(host, port, {handler =, prepare =, name =}). Returns a socket and its
-- address, a table; or nil and a message.
function server.tcp_server(host, port, what)
  local options = type(what) == "table" and what or {handler = what}
  local handler = options.handler
  local meta = getmetatable(handler)
  if type(handler) ~= "function" and not (meta and meta.__call) then
    error("usage: tcp_server(host, port, handler or {handler = ...} [, timeout])", 2)
  end
  local list, _, message
  if host == "unix/" then
    list = {{host = host, port = port, family = "AF_UNIX", type = "SOCK_STREAM"}}
  else
    list, _, message = address.look_up("tcp_server", host, port, address.PASSIVE)
  end
  for _, a in ipairs(list or {}) do
    local s
    s, message = listen(a, options.prepare)
    if s then
      local path = host == "unix/" and not s._core:is_pretended() and port or nil
      fiber.create(accept_all, s, path, options.name or "server", handler)
      core.errno(0)
      return s, s:name()
    end
  end
  return nil, message
end

return server
