-- The request object: what every request has. mb.http.members knows where the rest is found.

local core = require "mb.http.core"

local methods = core.request_methods()

local metatable = {__name = "request"}

local members -- loaded when something else than these methods is asked for

function metatable.__index(request, key)
  local method = methods[key]
  if method then return method end
  members = members or require "mb.http.members"
  return members(request, key)
end

-- A request whose head has just come, and its response. Fields that begin with "_" are the HTTP modules' own: _wire,
-- _response, _body, _file_failed and those of body.lua.
local function new_request(wire, method, path, query, minor, keepalive, has_body)
  local response = core.response(method == "HEAD", minor, keepalive, wire.minimum)
  return setmetatable({
    method = method,
    path = path,
    query = query,
    version = minor == 0 and "1.0" or "1.1",
    keepalive = keepalive,
    socket = wire.socket,
    faulty = false,
    fresh = true,
    _wire = wire,
    _response = response,
    _body = has_body and "unread" or "none",
  }, metatable), response
end

return {new = new_request, methods = methods}
