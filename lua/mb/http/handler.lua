-- The life of a connection: one request after the other, until either side ends it. Decides what a client gets when
-- something went wrong, and who is told.

local core = require "mb.http.core"
local new_request = require "mb.http.request"
local wire = require "mb.http.wire"

local timeout = timeout -- the global function; a script may hide it

-- A handler that is busy itself is ended by the alarm timer, so many seconds after waiting for the client would have ended.
local GRACE_SECONDS = 1

local function closing() return require "mb.http.closing" end

-- Waits for a request. Returns method, path, query, minor version, whether the client keeps the connection, whether
-- there is a body, whether it expects a 100; or nil at the end of the connection. Throws faults of the client.
local function next_head(c, first)
  local input, options = c.input, c.options
  local receive, begun, limit = first, false, nil
  while true do
    local method, path, query, minor, keepalive, has_body, expects = input:head(receive)
    if method then return method, path, query, minor, keepalive, has_body, expects end
    local state, detail, reason = path, query, minor
    if state == "refused" then
      c:fail(reason, detail)
    elseif state == "failed" then
      c:lose(reason)
    elseif state == "end" then
      if detail then c:fail("the request head ended early", 400) end
      return nil
    end
    if detail and not begun then
      begun, limit = true, wire.after(options.request_header_timeout)
    end
    limit = limit or wire.after(options.idle_timeout)
    if not c:wait(c.set, nil, limit) then
      if not begun then return nil end
      c:fail(("the request head took more than %g seconds (request_header_timeout)"):format(
        options.request_header_timeout), 408)
    end
    receive = true
  end
end

-- Runs the callback, and ends its response.
local function answer(callback, request)
  callback(request)
  if not core.is_open(request.socket) then return end
  if request.faulty then error(request._wire.fault.message, 0) end
  if request._state == "start" or request._interim then
    error("http: the handler has returned without a response: it has to call request:send_status", 0)
  end
  request:finish()
end

-- Whether the error is the client's fault, and no other that the script threw.
local function is_fault(c, err)
  return c.fault and type(err) == "string" and err:find(c.fault.message, 1, true) ~= nil
end

-- After the callback has failed: the client is told if it was told nothing else yet.
local function end_badly(c, err)
  local ours = not is_fault(c, err)
  if core.is_open(c.socket) then
    local begun = c.request and c.request._state ~= "start"
    if begun or (c.fault and not c.fault.status) then
      c.socket:reset()
    elseif ours and not c.fault then
      closing().refuse(c, 500)
    else
      closing().refuse(c, c.fault.status, c.fault.reason)
    end
  end
  if ours then core.throw_on(err) end
  local client = c.socket.remote_addr
  core.log(client and ("%s (client %s)"):format(c.fault.message, client) or c.fault.message)
end

-- Reads over what is left of the body. Returns whether the next request can follow.
local function skip_body(c)
  if not c.unread then return true end
  local limit = wire.after(c.options.drain_timeout)
  repeat
    local some, state = c.input:discard()
    if state == "end" then return true end
    if not some and (state ~= "block" or not c:wait(c.set, nil, limit)) then return false end
  until wire.after(0) > limit
  return false
end

-- Serves one request. Returns whether another may follow.
local function serve_one(c, callback, first)
  local good, method, path, query, minor, keepalive, has_body, expects = pcall(next_head, c, first)
  if not good then
    if not is_fault(c, method) then error(method, 0) end
    end_badly(c, method)
    return false
  end
  if not method then return false end
  local options = c.options
  c.unread, c.expects, c.consumer = has_body, expects, false
  c.deadline = wire.after(options.response_timeout)
  local request = new_request(c, method, path, query, minor, keepalive, has_body)
  c.request = request
  local limit = options.response_timeout and options.response_timeout + GRACE_SECONDS or 0
  local done, err = core.call(timeout, limit, answer, callback, request)
  if not done then
    end_badly(c, err)
    return false
  end
  if not core.is_open(c.socket) then return false end
  c.deadline, c.request = false, false
  return request.keepalive and skip_body(c)
end

-- serve(socket, callback, options): serves a connection until its end. options: as mb.http.options gives them.
return function(socket, callback, options)
  local c = wire.new(socket, options)
  local first = true
  while serve_one(c, callback, first) do first = false end
  if not core.is_open(socket) then return end
  if c.input:is_clean() then
    socket:close()
  else
    closing().linger(c)
  end
end
