-- The members of the request object that are made when a script asks for them. Their modules are loaded then, too.

local methods = require "mb.http.request".methods

-- Members that most requests never need, and their modules. A new member is a row here.
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
  json = "json",
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
  upgrade_websocket = "websocket",
}

local attributes = {} -- name -> function(request), whose result is kept

local function load_home(name)
  local home = require("mb.http." .. name)
  for key, method in pairs(home.methods or {}) do methods[key] = method end
  for key, attribute in pairs(home.attributes or {}) do attributes[key] = attribute end
end

-- Returns a member, or nil if no member has this name.
return function(request, key)
  local home = HOME[key]
  if not home then return nil end
  if request.faulty and not request._wire.input then error(key .. ": the request has ended", 2) end
  if not methods[key] and not attributes[key] then load_home(home) end
  local method = methods[key]
  if method then return method end
  local value = attributes[key](request)
  rawset(request, key, value)
  return value
end
