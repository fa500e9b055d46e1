-- A connection, like lua-http's h1_connection: one stream after the other, until either side ends it.
-- mb.http_server.trouble has the methods for everything that goes wrong.

local core = require "mb.http.core"
local stream = require "mb.http_server.stream"
local timeref = require "moonbridge_io".timeref

local connection = {}
local mt = {__name = "http.h1_connection", __index = connection}

local hand_over = core.hand_over -- with --dev: another process, or another text, may take the connection over

local HEAD_BYTES = 65536     -- more than any client's head has
local STALL_SECONDS = 60     -- a client that takes or sends nothing for so long is lost

-- Fields, besides lua-http's own (type, version): socket, input, server, request (the stream that is being served),
-- deadline (of its response; math.huge between two requests), keepalive (the client may send another request), fault
-- (the client's last fault in this request: its message, the status and the reason of a response to it, whether an
-- option of the script is to blame as well, and a set of the messages of all faults), ended (the client has ended its
-- output), broken (no other request can follow), closed.
function connection.new(server, socket)
  return setmetatable({
    type = "server",
    version = 1.1,
    socket = socket,
    input = core.input(socket, HEAD_BYTES, server.request_body_size_limit),
    server = server,
    request = false,
    deadline = math.huge,
    keepalive = true,
    fault = false,
    ended = false,
    broken = false,
    closed = false,
  }, mt)
end

-- Returns the point in time that is `timeout` seconds from now; without a timeout, that at which we give the client up.
function connection.after(timeout) return timeref() + (timeout or STALL_SECONDS) end

local after = connection.after

-- Waits until the socket is ready for "r", "w" or "rw". Returns the events for which it is ready, or nil at the
-- deadline.
function connection:wait(events, deadline)
  return self.server.wait(self.socket, events, math.min(deadline, self.deadline))
end

-- Sends strings, and waits until the system has them all. Returns true; or nil, message, errno.
function connection:send(timeout, ...)
  local pending, message, number = self.socket:flush_nb(...)
  if pending == 0 then return true end
  return self:drain(pending, message, number, timeout)
end

-- ---- from one request to the next ----

-- Waits for input at the beginning of a head. In a pool, others may learn that nothing is lost when the connection ends
-- now.
local function wait_for_head(self, first, limit)
  if self.server.scheduler then return self:wait("r", limit) end
  return self.input:await(math.min(limit, self.deadline) - timeref(), first)
end

-- Waits for a head, after the input has said that there is none yet. Returns the results of the input's head method, or
-- nil at the end of the connection.
local function await_head(self, first, state, detail, why, is_proxy_header)
  local server = self.server
  local limit = after(first and server.connection_setup_timeout or server.intra_stream_timeout)
  while true do
    if state == "end" and not detail then
      self.ended = true
      return nil
    elseif state ~= "block" then
      return self:head_failed(state, detail, why, is_proxy_header)
    end
    if detail then return self:await_rest() end
    if not wait_for_head(self, first, limit) then
      self.keepalive = false -- its time is over
      return nil
    elseif hand_over and not first and hand_over(self.socket) then
      self.closed = true
      return nil
    end
    local method, path, query, minor, keepalive, has_body, expects = self.input:head(true)
    if method then return method, path, query, minor, keepalive, has_body, expects end
    state, detail, why, is_proxy_header = path, query, minor, keepalive
  end
end

local function next_head(self, first)
  -- Right after a response the next head is mostly not there yet: waiting is cheaper than looking.
  local method, path, query, minor, keepalive, has_body, expects = self.input:head(first)
  if method then return method, path, query, minor, keepalive, has_body, expects end
  return await_head(self, first, path, query, minor, keepalive)
end

-- server:add_stream(stream): passes a stream that is being served on to this server's onstream, once the function that
-- has the stream now returns. A script may replace it: then that is called for each stream of the server.
function connection.add_stream(server, request)
  local of = type(request) == "table" and request.connection
  if type(of) ~= "table" or getmetatable(of) ~= mt then
    error("add_stream: expected a stream of this module, got " .. type(request), 2)
  end
  if of.request ~= request then error("add_stream: the stream has ended", 2) end
  request.next_server = server
  return true
end

-- Runs the script's function for a stream, and ends the stream. Returns whether the connection goes on.
local function serve_stream(self, request)
  local server = self.server
  if server.add_stream ~= connection.add_stream then
    local good, err = core.try(server.add_stream, server, request)
    if not good then return self:stream_failed(server, request, err) end
    server, request.next_server = request.next_server, false
  end
  while server do
    local good, err = core.try(server.onstream, server, request)
    if not good then return self:stream_failed(server, request, err) end
    server, request.next_server = request.next_server, false
  end
  return self:end_stream(request)
end

-- Ends a response. Returns whether another request may follow.
function connection:end_stream(request)
  if request._taken or self.closed then return false end
  if not core.is_writable(self.socket) then self.broken = true end -- the script has ended the output
  if request._ended and request._received then
    request.state = "closed"
    return not (request._closing or self.broken)
  end
  return self:end_unusual(request)
end

-- Serves the connection until its end. Throws the errors that the server's error handler throws.
function connection:serve()
  local first = true
  repeat
    local method, _, _, minor, keepalive, _, expects = next_head(self, first)
    if not method or self.closed then break end
    local request = stream.new(self, method, minor, keepalive, self.input:is_ended(), expects)
    self.request, self.keepalive, self.fault = request, keepalive, false
    self.deadline = after(self.server.response_timeout)
    local goes_on = serve_stream(self, request)
    self.request, self.deadline = false, math.huge
    first = false
  until not goes_on or self.server.ending
  self:finish()
end

-- Ends the connection.
function connection:finish()
  if self.closed then return end
  local socket = self.socket
  self.closed = true
  if not core.is_open(socket) then return end
  if self.broken and core.is_writable(socket) and socket:flush_nb() ~= 0 then
    socket:reset() -- the client takes nothing: no more waiting, and it must not believe that it has everything
  elseif self.ended or not self.keepalive and self.input:is_clean() and core.is_delivered(socket) then
    socket:close() -- no input is left that would turn the close into a reset
  else
    self:linger()
  end
end

-- ---- addresses ----

local AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10

-- connection:localname(), connection:peername(): return the address family, and address and port, or the path.
local function name(socket, ip4, ip6, address, port)
  if not core.is_open(socket) or not core.is_network(socket) then return 0 end
  if ip4 then return AF_INET, address, port end
  if ip6 then return AF_INET6, address, port end
  return AF_UNIX, address, nil
end

function connection:localname()
  local s = self.socket
  if not s then return nil end -- the script has taken it
  return name(s, s.local_ip4, s.local_ip6, s.local_addr, s.local_tcpport)
end

function connection:peername()
  local s = self.socket
  if not s then return nil end -- the script has taken it
  return name(s, s.remote_ip4, s.remote_ip6, s.remote_addr, s.remote_tcpport)
end

-- connection:checktls(): returns nothing, as we never speak TLS.
function connection.checktls() end

function mt:__tostring() return ("http.h1_connection{type=%q;version=%.1f}"):format(self.type, self.version) end

-- Loads the other methods when a connection first has trouble.
setmetatable(connection, {
  __index = function(self, key)
    setmetatable(self, nil)
    for method_name, method in pairs(require "mb.http_server.trouble") do self[method_name] = method end
    return self[key]
  end,
})

return connection
