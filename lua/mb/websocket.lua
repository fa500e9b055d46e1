-- mb.websocket: WebSocket (RFC 6455) over a connection of moonbridge_http. See mb.websocket(3).
-- request:upgrade_websocket loads it; the object itself is in src/api/http/websocket*.c.

local core = require "mb.websocket.core"

local websocket = {}

-- ---- options ----

local function is_seconds(value) return value == false or type(value) == "number" and value > 0 end

local function is_texts(value)
  if type(value) ~= "table" then return false end
  for _, text in ipairs(value) do
    if type(text) ~= "string" then return false end
  end
  return #value > 0
end

-- A token (RFC 9110, section 5.6.2), as a subprotocol is one.
local function is_token(text) return text:find("^[%w!#$%%&'*+.^_`|~-]+$") ~= nil end

-- What a table for the option deflate has by default. A window of 12 bits and its tables cost 32 KiB for what is sent,
-- one of 15 bits eight times as much. A message of fewer bytes than 64 fits into a packet anyway.
local DEFLATE = {max_window_bits = 12, min_size = 64, no_context_takeover = false}

local function is_size(value) return type(value) == "number" and value >= 0 and math.tointeger(value) ~= nil end

local DEFLATE_CHECKS = {
  max_window_bits = function(value) return is_size(value) and value >= 9 and value <= 15 end,
  min_size = is_size,
  no_context_takeover = function(value) return type(value) == "boolean" end,
}

-- Returns whether the option is good; if it is not, perhaps also the name of the field that is wrong.
local function is_deflate(value)
  if type(value) == "boolean" then return true end
  if type(value) ~= "table" then return false end
  for name, field in pairs(value) do
    local check = DEFLATE_CHECKS[name]
    if not check or not check(field) then return false, tostring(name) end
  end
  return true
end

-- name -> {default, check, what is expected}
local OPTIONS = {
  close_timeout = {5, is_seconds, "a positive number of seconds, or false"},
  deflate = {
    false,
    is_deflate,
    "true, false, or a table of max_window_bits (9 to 15), min_size (bytes) and no_context_takeover (true or false)",
  },
  max_message = {1 << 20, is_size, "a number of bytes"},
  origins = {
    nil,
    function(value) return value == "*" or type(value) == "function" or is_texts(value) end,
    "a list of origins such as {\"https://example.com\"}, \"*\", or a function",
  },
  ping_interval = {30, is_seconds, "a positive number of seconds, or false"},
  protocols = {
    nil,
    function(value)
      if not is_texts(value) then return false end
      for _, name in ipairs(value) do
        if not is_token(name) then return false end
      end
      return true
    end,
    "a list of the names of subprotocols",
  },
  send_timeout = {60, is_seconds, "a positive number of seconds, or false"},
}

local function checked(given, level)
  if given ~= nil and type(given) ~= "table" then
    error("upgrade_websocket: expected a table of options, got " .. type(given), level + 1)
  end
  local options = {}
  for name, row in pairs(OPTIONS) do options[name] = row[1] end
  for name, value in pairs(given or {}) do
    local row = OPTIONS[name]
    if not row then
      local names = {}
      for known in pairs(OPTIONS) do names[#names + 1] = known end
      table.sort(names)
      local expected = table.concat(names, ", ")
      error(("upgrade_websocket: there is no option %s: expected %s"):format(name, expected), level + 1)
    end
    local good, field = row[2](value)
    if not good then
      local where = field and name .. "." .. field or name
      error(("upgrade_websocket: option %s: expected %s"):format(where, row[3]), level + 1)
    end
    options[name] = value
  end
  if options.deflate then
    local fields = {}
    for name, default in pairs(DEFLATE) do fields[name] = default end
    for name, value in pairs(options.deflate == true and {} or options.deflate) do fields[name] = value end
    options.deflate = fields
  end
  return options
end

-- ---- the handshake (RFC 6455, section 4.2) ----

-- Returns the host and the port of "host:port", in lower case. scheme: gives the usual port.
local function authority(text, scheme)
  text = text:lower()
  local host, port = text:match("^(.*):(%d+)$")
  if not host or host:find(":") and host:sub(-1) ~= "]" then host, port = text, nil end
  return host, port or (scheme == "https" and "443" or "80")
end

-- Returns whether a page of this origin may connect. Without an Origin the client is no browser, whose user could be
-- deceived (section 10.2).
local function may_connect(request, origin, origins)
  if not origin then return true end
  if origins == "*" then return true end
  if type(origins) == "function" then return origins(origin, request) and true or false end
  if origins then
    for _, allowed in ipairs(origins) do
      if allowed:lower() == origin:lower() then return true end
    end
    return false
  end
  local scheme, rest = origin:match("^(https?)://([^/]+)$")
  local host = request.host
  if not scheme or not host then return false end
  local of_page, its_port = authority(rest, scheme)
  local of_us, our_port = authority(host, scheme)
  return of_page == of_us and its_port == our_port
end

-- Returns the first of our subprotocols that the client offers, or nil.
local function choose(request, protocols)
  if not protocols then return nil end
  local offered = {}
  for _, name in ipairs(request.headers_csv_table["Sec-WebSocket-Protocol"]) do offered[name] = true end
  for _, name in ipairs(protocols) do
    if offered[name] then return name end
  end
  return nil
end

-- What a client has to ask for.
local UPGRADE = {{"Upgrade", "websocket"}, {"Sec-WebSocket-Version", "13"}}

-- Agrees on permessage-deflate (RFC 7692). wished: the option. Returns the value of Sec-WebSocket-Extensions and the
-- terms for the object; nil if there are none; false if what the client offers is malformed.
local function agree(request, wished)
  if not wished then return nil end
  local offers = request.headers_csv_string["Sec-WebSocket-Extensions"]
  return core.agree(offers, math.tointeger(wished.max_window_bits), wished.no_context_takeover)
end

-- Returns the answer to the client's key, and the extensions and their terms, if there are any; or nil, and the status,
-- message and fields of a refusal.
local function examine(request, options)
  local is_get = request.method == "GET"
  if is_get and request._body ~= "none" then return nil, 400, "a WebSocket's handshake has no body" end
  local wrong = not is_get and "a WebSocket begins with GET"
    or require "mb.http_server.upgrade"(request._wire.input, "websocket")
  if wrong then
    return nil, 426, "this is a WebSocket: " .. wrong, UPGRADE
  end
  if request.headers_value["Sec-WebSocket-Version"] ~= "13" then
    return nil, 426, "expected version 13 of WebSocket", UPGRADE
  end
  local key = request.headers_value["Sec-WebSocket-Key"]
  local answer = key and core.accept(key)
  if not answer then return nil, 400, "expected one Sec-WebSocket-Key, 16 bytes in base64" end
  if #request.headers.Origin > 1 or not may_connect(request, request.headers_value.Origin, options.origins) then
    return nil, 403, "pages of this origin may not connect"
  end
  local extensions, terms = agree(request, options.deflate)
  if extensions == false then return nil, 400, "the list in Sec-WebSocket-Extensions is malformed" end
  return answer, extensions, terms
end

-- The object over a connection whose handshake is over. is_client: the other end is the server. terms: those of
-- permessage-deflate, of a server, or nil.
function websocket.over(socket, options, is_client, terms)
  return core.over(socket, is_client or false, options.max_message, options.ping_interval, options.close_timeout,
    options.send_timeout, terms, terms and math.tointeger(options.deflate.min_size))
end

-- websocket.upgrade(request[, options]): does what request:upgrade_websocket does.
function websocket.upgrade(request, given)
  if type(request) ~= "table" or not request._response then
    error("upgrade_websocket: expected a request; call it as request:upgrade_websocket{...}", 2)
  end
  local options = checked(given, 2)
  if request._response:state() ~= "start" then error("upgrade_websocket: a response to this request has begun", 2) end
  local answer, extensions, terms, fields = examine(request, options)
  if not answer then
    local status, message = extensions, terms
    require "mb.http.failure".answer(request, status, message, fields)
    return nil, message
  end
  local protocol = choose(request, options.protocols)
  request:send_status(101)
  request:send_header("Upgrade", "websocket")
  request:send_header("Sec-WebSocket-Accept", answer)
  if protocol then request:send_header("Sec-WebSocket-Protocol", protocol) end
  if extensions then request:send_header("Sec-WebSocket-Extensions", extensions) end
  request:finish_headers()
  request:flush()
  local ws = websocket.over(request.socket, options, false, terms)
  ws.extensions, ws.protocol = extensions, protocol
  require "mb.http.core".lift(request._wire.input)
  request._wire.deadline = false
  -- The handler calls this when the callback has returned.
  local finish = request.finish
  request.finish = function(self)
    if ws.state == "open" then ws:close() end
    return finish(self)
  end
  request._websocket = ws
  return ws
end

return websocket
