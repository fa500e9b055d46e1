-- The life of a connection: one request after the other, until either side ends it.

local core = require "mb.http.core"
local new_request = require "mb.http.request".new
local wire = require "mb.http.wire"

-- The alarm timer ends a handler that runs without waiting for its client, this number of seconds after
-- response_timeout.
local GRACE_SECONDS = 1

local log_request = core.log_request -- nil without a request log

-- Loaded when something goes wrong.
local function closing() return require "mb.http.closing" end

-- Loaded when the first body comes.
local loaded
local function intake()
  loaded = loaded or require "mb.http.intake"
  return loaded
end

-- Returns the next request's head, as the input gives it; or nil and why none comes (see await_head). Throws faults of
-- the client.
local function next_head(c, first)
  -- Right after a response the next head is not there yet: waiting is cheaper than looking.
  local method, path, query, minor, keepalive, has_body, expects = c.input:head(first)
  if not method then return c:await_head(first, path, query, minor, keepalive) end
  return method, path, query, minor, keepalive, has_body, expects
end

-- Runs the callback, and ends its response.
local function answer(callback, request, c, has_body)
  if has_body then intake().move(c, "receiving") end
  callback(request)
  if c.consumer and request._body == "unread" then closing().warn_of_unread(c) end
  if not core.is_open(c.socket) then return end
  if c.state ~= "over" then intake().move(c, "dropping") end
  if c.fault then error(c.fault.message, 0) end
  local state, interim, sent = c.response:state()
  if state == "start" or interim then closing().without_response(c, callback) end
  if sent == 0 and rawget(request, "_file_failed") then closing().warn_of_no_file(c) end
  request:finish()
end

-- Serves one request. Returns true when another may follow; else false and what the client does: "ended" (it has ended
-- its output), "silent" (it has said that it sends no more, or its time is over), or false (it may send more).
local function serve_one(c, callback, first)
  local good, method, path, query, minor, keepalive, has_body, expects = pcall(next_head, c, first)
  if not good then
    closing().end_badly(c, method)
    return false
  end
  if not method then return false, path end
  local options = c.options
  c.consumer, c.expects = false, expects
  c.deadline = wire.after(options.response_timeout)
  local request, response = new_request(c, method, path, query, minor, keepalive, has_body)
  c.request, c.response = request, response
  local limit = options.response_timeout and options.response_timeout + GRACE_SECONDS or 0
  local done, err = core.call(limit, c.input, answer, callback, request, c, has_body)
  if not done then
    closing().end_badly(c, err, callback)
    return false
  end
  if log_request then log_request(c.input, response) end -- the script may have closed the connection in the middle
  local more = core.is_open(c.socket) and response:keeps_connection()
  local ended, wrong = c.input:is_ended()
  if not ended then more = closing().end_body(c, more, wrong) end
  -- The script may keep the request, but cannot reach the next one through it.
  request.faulty, request._wire = true, wire.ENDED
  c.deadline, c.request = false, false
  if not more then return false, not keepalive and "silent" end
  if c.state ~= "over" then intake().finish(c) end
  return true
end

-- serve(socket, callback, options): serves a connection until its end. options: as mb.http.options gives them.
return function(socket, callback, options)
  local c = wire.new(socket, options)
  local goes_on, ending = serve_one(c, callback, true)
  while goes_on do goes_on, ending = serve_one(c, callback, false) end
  if not core.is_open(socket) then return end
  -- After a 101 the script may have queued output of its own; we do not wait for ever until the client takes it.
  if c.state ~= "over" then intake().move(c, "deaf") end
  local flushed = not core.is_writable(socket) or pcall(c.flush, c)
  if log_request then log_request(c.input, false) end -- of a 101
  if not flushed then
    socket:reset()
  elseif ending == "ended" or ending == "silent" and c.input:is_clean() and core.is_delivered(socket) then
    socket:close() -- no input is left that would turn the close into a reset
  else
    closing().linger(c)
  end
end
