-- The connection below the requests: output, and the faults of the client, which end a request as Lua errors.
-- mb.http.waiting and mb.http.blocked add the methods that wait for the client.

local core = require "mb.http.core"

local wire = {}
wire.__index = wire

-- Takes the place of the connection in a request object that has ended.
wire.ENDED = {fault = {message = "it has ended"}}

-- Fields of the connection: socket, input, options (static, static_date and minimum are options, too, for the response
-- writer), set (the socket alone, for poll), held (see takes in mb.http.blocked) and
-- state     what is done with the body that the client sends; only move in mb.http.intake changes it
-- fault     the last fault of the client, or false; only fail sets it, and the connection ends with it
-- Fields that mb.http.handler sets for each request: request, response, deadline (see mb.http.blocked), and two facts
-- that do not depend on the state:
-- expects   the client waits for a 100 (Continue), whatever is done with its body; stop_expecting ends it
-- paced     the request for whose body `pace` (mb.http.pace) counts
-- consumer  a function that takes body content in the place of intake.keep, or false; only mb.http.body sets it
function wire.new(socket, options)
  return setmetatable({
    socket = socket,
    input = core.input(socket, options.request_header_size_limit, options.request_body_size_limit),
    options = options,
    static = options.static_headers.text,
    static_date = options.static_headers.dated,
    minimum = options.minimum_output_chunk_size,
    set = {[socket] = true},
    state = "over",
    expects = false,
    consumer = false,
    deadline = false,
    fault = false,
    response = false,
    held = false,
    request = false,
    paced = false,
  }, wire)
end

-- Returns the point in time that is `seconds` from now; math.huge for false.
wire.after = core.after

-- Throws a fault of the client. status: that of the response, or nil if the client gets none. ours: a limit of the
-- script is to blame as well. hint: a text for the operator, who may have made the mistake.
function wire:fail(reason, status, ours, hint)
  self.fault =
    {message = "http: " .. reason, reason = reason, status = status, ours = ours or hint or status == 413, hint = hint}
  if self.request then self.request.faulty = true end
  error(self.fault.message, 0)
end

function wire:lose(message) return self:fail("the connection to the client is lost: " .. message) end

-- Writes strings, and waits until nothing is queued.
function wire:flush(...)
  local pending, message = self.socket:flush_nb(...)
  if not pending then self:lose(message) end
  if pending > 0 then self:drain(0) end
end

-- Loads the other methods when a connection first has to wait: between requests, or within one.
local homes, home = {"mb.http.waiting", "mb.http.blocked"}, 1

setmetatable(wire, {
  __index = function(self, key)
    if not homes[home] then return nil end
    for name, method in pairs(require(homes[home])) do self[name] = method end
    home = home + 1 -- last: when memory has run out, the next call tries again
    return self[key]
  end,
})

return wire
