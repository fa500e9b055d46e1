-- The request object, with the members that every request has. mb.http.members knows the others.

local core = require "mb.http.core"

local methods = core.request_methods()

local metatable = {__name = "request"}

local members -- loaded when a script asks for another member

function metatable.__index(request, key)
  local method = methods[key]
  if method then return method end
  -- It is a field of its own only once it is true: the script may end the connection at any time.
  if key == "faulty" then return request._response:is_faulty() end
  members = members or require "mb.http.members"
  return members(request, key)
end

-- Returns a request whose head has just come, and its response. Fields that begin with "_" belong to the HTTP modules:
-- _wire, _response, _body, _file_failed, _handler (of mb.router) and those of body.lua.
local function new_request(wire, method, path, query, minor, keepalive, has_body)
  local response = core.response(method == "HEAD", minor, keepalive, wire.minimum, wire.socket, has_body)
  return setmetatable({
    method = method,
    path = path,
    query = query,
    version = minor == 0 and "1.0" or "1.1",
    keepalive = keepalive,
    socket = wire.socket,
    fresh = true,
    _wire = wire,
    _response = response,
    _body = has_body and "unread" or "none",
  }, metatable), response
end

return {new = new_request, methods = methods}
