-- The server object of lua-http's http.server. A server with one connection serves it without a scheduler;
-- mb.http_server.scheduled has everything that needs one.

local connection = require "mb.http_server.connection"
local core = require "mb.http.core"
local io = require "moonbridge_io"

local poll, timeref = io.poll, io.timeref

if core.log_request then require "mb.http_server.request_log" end

local server = {}
local mt = {__name = "http.server", __index = server}

-- We keep an idle connection for so long, unless the script says otherwise: each is a process.
local SETUP_SECONDS, IDLE_SECONDS = 10, 65

-- From the head of a request to the end of its response, as in moonbridge_http.
local RESPONSE_SECONDS = 3600

-- A body is often kept in memory as a whole.
local BODY_BYTES = 64 * 1024 * 1024

-- Bytes a second; the slowest lines of mobile telephones bring more.
local INPUT_RATE = 240

-- Waits for a socket, when it is the only one.
local function wait_alone(socket, events, deadline)
  local set = {[socket] = true}
  repeat
    local left = deadline < math.huge and math.max(0, deadline - timeref()) or nil
    local ready, message = poll(events ~= "w" and set or nil, events ~= "r" and set or nil, left)
    if ready then return events end
    if ready == nil then error("http_server: poll: " .. message, 0) end
  until left and timeref() >= deadline
end

local ENOTCONN = 107

local REAL = "; serve such a connection with the real lua-http: mb.http_server(3), HTTP/2 AND TLS, says how"

local function seconds(options, name, default)
  local value = options[name]
  if value == nil then return default end
  if type(value) ~= "number" or value < 0 then
    error(name .. ": expected a number of seconds, got " .. tostring(value), 4)
  end
  return value
end

-- Returns an option that is a number of bytes; false for the one that stands for no limit.
local function bytes(options, name, default, none)
  local value = options[name]
  if value == nil then return default end
  if value == none then return false end
  local number = type(value) == "number" and math.tointeger(value)
  if not number or number < 0 then
    error(("%s: expected a number of bytes, or %s for no limit, got %s"):format(
      name, none == 0 and "0" or "math.huge", tostring(value)), 4)
  end
  return number
end

-- Returns what is wrong with the options, or nil.
local function wrong_with(options)
  local version, onerror, most = options.version, options.onerror, options.max_concurrent
  if options.onstream == nil then return "missing 'onstream'" end
  if options.tls then return "tls = true: TLS is not spoken here" .. REAL end
  if options.ctx and options.tls == nil then return "ctx: TLS is not spoken here" .. REAL end
  if version == 2 then return "version = 2: HTTP/2 is not spoken here" .. REAL end
  if version ~= nil and version ~= 1 and version ~= 1.1 then return "version: expected 1.1 or nil" end
  if options.cq ~= nil then
    return "cq: connections cannot be served by a cqueue; let it call server:step() when server:pollfd() is ready, " ..
      "or after server:timeout()"
  end
  if type(options.onstream) ~= "function" then
    local meta = getmetatable(options.onstream)
    if type(meta) ~= "table" or not meta.__call then
      return "onstream: expected a function, got " .. type(options.onstream)
    end
  end
  if onerror ~= nil and type(onerror) ~= "function" then
    return "onerror: expected a function, got " .. type(onerror)
  end
  if most ~= nil and (type(most) ~= "number" or most < 1) then
    return "max_concurrent: expected a number of connections, got " .. tostring(most)
  end
end

-- Makes a server. Throws at the level of the caller's caller. Fields: socket (the listener, or false), original (the
-- socket of cqueues that the listener is a copy of), address (where to listen: mb.http_server.listen), style (it has
-- listened with --style), name, pending (connections that nobody serves yet), n_connections, scheduler, accepting (the
-- listener's task), in_loop (it is part of somebody else's loop), paused, ending, wait.
local function make(options)
  if type(options) ~= "table" then error("expected a table of options, got " .. type(options), 3) end
  local wrong = wrong_with(options)
  if wrong then error(wrong, 3) end
  return setmetatable({
    onstream = options.onstream,
    onerror_ = options.onerror or false,
    connection_setup_timeout = seconds(options, "connection_setup_timeout", SETUP_SECONDS),
    intra_stream_timeout = seconds(options, "intra_stream_timeout", IDLE_SECONDS),
    response_timeout = seconds(options, "response_timeout", RESPONSE_SECONDS),
    request_body_size_limit = bytes(options, "request_body_size_limit", BODY_BYTES, math.huge),
    minimum_input_rate = bytes(options, "minimum_input_rate", INPUT_RATE, 0),
    max_concurrent = options.max_concurrent or math.huge,
    n_connections = 0,
    pending = {},
    socket = false,
    original = false,
    address = false,
    scheduler = false,
    style = false,
    name = false,
    accepting = false,
    in_loop = false,
    paused = false,
    ending = false,
    wait = wait_alone,
  }, mt)
end

-- Returns the module for sockets of cqueues, if a value is one.
local function cqueues_for(value)
  if type(value) ~= "userdata" or not package.loaded["cqueues.socket"] then return nil end
  local cqueues = require "mb.http_server.cqueues"
  return cqueues.is_socket(value) and cqueues
end

-- new(options): options.socket is a listener of moonbridge_io or of cqueues. Without it, connections come by
-- add_socket.
local function new(options)
  local self = make(options)
  local listener = options.socket
  if cqueues_for(listener) then
    local style = require "mb.style".active() and require "mb.http_server.cqueues_listen"
    self.address = style and style.address_of(listener) or {cqueues = listener}
    self.original = listener
  elseif listener ~= nil then
    if type(listener) ~= "userdata" or not listener.accept_nb then
      error("socket: expected a listener of moonbridge_io or cqueues, or none", 2)
    end
    self.socket = listener
  end
  return self
end

-- wrap(socket, options)
local function wrap(socket, options)
  local self = make(options)
  local good, wrong = pcall(server.add_socket, self, socket)
  if not good then error((wrong:gsub("^add_socket", "wrap")), 2) end
  return self
end

-- server:add_socket(socket): serves a connection, as soon as the server runs.
function server:add_socket(socket)
  local cqueues = cqueues_for(socket)
  if cqueues then
    local style = require "mb.style".active() and require "mb.http_server.cqueues_listen"
    local taken, message, number = style and style.connection_of(socket), nil, nil
    if not taken then taken, message, number = cqueues.take(socket) end
    if not taken and number ~= ENOTCONN then
      error("add_socket: " .. message .. (number and "" or REAL), 2)
    end
    if not taken then return true end -- its client has gone
    socket = taken
  end
  local good, open = pcall(core.is_open, socket)
  if not good then error("add_socket: expected a socket of mb-handle or cqueues, got " .. type(socket), 2) end
  if not open then error("add_socket: the socket is closed", 2) end
  self.pending[#self.pending + 1] = connection.new(self, socket)
  self.n_connections = self.n_connections + 1
  return true
end

server.add_stream = connection.add_stream

-- Forgets a connection that has ended.
function server:forget(_) self.n_connections = self.n_connections - 1 end

-- server:onerror([handler]): sets the error handler. Returns the one that was set before.
function server:onerror(...)
  local before = self.onerror_ or error
  if select("#", ...) > 0 then self.onerror_ = ... or false end
  return before
end

-- Serves the pending connection while it is the only one. again: a function to call after each connection.
function server:serve_alone(again)
  local pending = self.pending
  while #pending == 1 and not self.scheduler do
    local c = table.remove(pending)
    c:serve()
    self:forget(c)
    if again then again(self) end
  end
end

-- server:loop(timeout)
function server:loop(timeout)
  local listens = self.address or self.socket or self.style
  if not (timeout or listens) then self:serve_alone() end
  if self.n_connections == 0 and not listens then return true end
  return self:_loop(timeout)
end

function mt:__tostring()
  return ("http.server{socket=%s;n_connections=%d}"):format(tostring(self.socket or nil), self.n_connections)
end

-- Loads the methods for servers that listen, or are part of somebody else's loop.
setmetatable(server, {
  __index = function(self, key)
    setmetatable(self, nil)
    for name, method in pairs(require "mb.http_server.scheduled") do self[name] = method end
    return self[key]
  end,
})

return {new = new, wrap = wrap, make = make, mt = mt}
