-- The request object: what every request has, and where the rest of its members is found when a script asks for it.

local methods = require "mb.http.response".methods

-- Members that most requests never need, and the module that has them. A new member is a row here.
local HOME = {
  headers = "headers",
  headers_csv_string = "headers",
  headers_csv_table = "headers",
  headers_flags = "headers",
  headers_value = "headers",
  cookies = "headers",
  host = "headers",
  target = "headers",
  get_params = "params",
  get_params_list = "params",
  body = "body",
  consume_input = "body",
  defer_reading = "body",
  monologue = "body",
  post_metadata = "body",
  post_metadata_list = "body",
  post_params = "body",
  post_params_list = "body",
  process_request_body = "body",
  set_request_body_streamer = "body",
  stream_post_param = "body",
  stream_post_params = "body",
  stream_request_body = "body",
  stream_request_body_now = "body",
  send_file = "send_file",
}

local attributes = {} -- name -> function(request), whose result is kept

local function load_home(name)
  local home = require("mb.http." .. name)
  for key, method in pairs(home.methods or {}) do methods[key] = method end
  for key, attribute in pairs(home.attributes or {}) do attributes[key] = attribute end
end

local metatable = {__name = "request"}

function metatable.__index(request, key)
  local method = methods[key]
  if method then return method end
  local attribute = attributes[key]
  if attribute then
    local value = attribute(request)
    rawset(request, key, value)
    return value
  end
  local home = HOME[key]
  if not home then return nil end
  load_home(home)
  if not methods[key] and not attributes[key] then error("no " .. key .. " in mb.http." .. home) end
  return metatable.__index(request, key)
end

-- A request whose head has just come. Fields that begin with "_" are the HTTP modules' own: _wire, _state and those of
-- response.lua, _body and those of body.lua.
return function(wire, method, path, query, minor, keepalive, has_body)
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
    _state = "start",
    _body = has_body and "unread" or "none",
  }, metatable)
end
