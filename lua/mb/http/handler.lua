-- The life of a connection: one request after the other, until either side ends it.

local core = require "mb.http.core"
local new_request = require "mb.http.request".new
local wire = require "mb.http.wire"

-- A handler that is busy itself is ended by the alarm timer, so many seconds after a wait for the client would be.
local GRACE_SECONDS = 1

local function closing() return require "mb.http.closing" end

-- The next request's head, as the input gives it; nil at the end of the connection. Throws faults of the client.
local function next_head(c, first)
  -- After a response it is not there yet: to wait is cheaper than to look.
  local method, path, query, minor, keepalive, has_body, expects = c.input:head(first)
  if not method then return c:await_head(path, query, minor, keepalive) end
  return method, path, query, minor, keepalive, has_body, expects
end

-- Runs the callback, and ends its response.
local function answer(callback, request, c)
  callback(request)
  if c.consumer and request._body == "unread" then closing().warn_of_unread(request) end
  if not core.is_open(c.socket) then return end
  if c.receives or c.full then c:forget_body() end
  if c.fault then error(c.fault.message, 0) end
  local state, interim, sent = c.response:state()
  if state == "start" or interim then
    error("http: the handler has returned without a response: it has to call request:send_status", 0)
  end
  if sent == 0 and rawget(request, "_file_failed") then closing().warn_of_no_file(c) end
  request:finish()
end

-- Serves one request. Returns whether another may follow.
local function serve_one(c, callback, first)
  local good, method, path, query, minor, keepalive, has_body, expects = pcall(next_head, c, first)
  if not good then
    closing().end_badly(c, method)
    return false
  end
  if not method then return false end
  local options = c.options
  c.receives, c.full, c.consumer, c.expects, c.keepalive = has_body, false, false, expects, keepalive
  c.deadline = wire.after(options.response_timeout)
  local request, response = new_request(c, method, path, query, minor, keepalive, has_body)
  c.request, c.response = request, response
  local limit = options.response_timeout and options.response_timeout + GRACE_SECONDS or 0
  local done, err = core.call(limit, c.input, answer, callback, request, c)
  if not done then
    closing().end_badly(c, err)
    return false
  end
  -- What the script keeps of the request has nothing to do with the next one.
  request.faulty, request._wire = true, wire.ENDED
  c.deadline, c.request = false, false
  if not core.is_open(c.socket) then return false end
  return response:keeps_connection() and (c.input:is_ended() or closing().skip_body(c))
end

-- serve(socket, callback, options): serves a connection until its end. options: as mb.http.options gives them.
return function(socket, callback, options)
  local c = wire.new(socket, options)
  local first = true
  while serve_one(c, callback, first) do first = false end
  if not core.is_open(socket) then return end
  -- After a 101 the script may have written by itself; what the client does not take is not waited for without end.
  c.receives, c.consumer = false, false
  if core.is_writable(socket) and not pcall(c.flush, c) then
    socket:reset()
  elseif c.ended or c.input:is_clean() and not c.keepalive and core.is_delivered(socket) then
    socket:close() -- nothing more comes that could make a reset of it
  else
    closing().linger(c)
  end
end
