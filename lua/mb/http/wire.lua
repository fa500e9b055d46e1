-- The connection below the requests: output, and the faults of the client, which end a request as Lua errors.
-- mb.http.waiting adds what a connection needs that has to wait for its client.

local core = require "mb.http.core"
local timeref = require "moonbridge_io".timeref

local wire = {}
wire.__index = wire

-- What a request object has in place of the connection, once it has ended.
wire.ENDED = {fault = {message = "it has ended"}}

-- Fields: socket, input, options, of which http_response.c reads some that stand by themselves; ended (the client has
-- ended its output); of the current request: request, keepalive (the client may send another one), receives (what it
-- sends is received while writing is blocked), consumer (what does that, where it is not kept), full (no more can be
-- kept), forgets_input (all that comes is dropped, and no request follows), expects (the client waits for a 100),
-- deadline, fault.
function wire.new(socket, options)
  return setmetatable({
    socket = socket,
    input = core.input(socket, options.request_header_size_limit, options.request_body_size_limit),
    options = options,
    static = options.static_headers.text,
    static_date = options.static_headers.dated,
    minimum = options.minimum_output_chunk_size,
    set = {[socket] = true},
    ended = false,
    keepalive = false,
    receives = false,
    full = false,
    expects = false,
    forgets_input = false,
    deadline = false,
    consumer = false,
    fault = false,
    response = false,
    held = false,
    request = false,
  }, wire)
end

-- The point in time so many seconds from now; math.huge for false.
function wire.after(seconds) return seconds and timeref() + seconds or math.huge end

-- Throws the fault of the client. status: of the response to it, when there may still be one; nil for none. ours: a
-- limit of the script's is to blame as well. hint: what the operator is told besides, whose mistake it may be.
function wire:fail(reason, status, ours, hint)
  self.fault =
    {message = "http: " .. reason, reason = reason, status = status, ours = ours or hint or status == 413, hint = hint}
  if self.request then self.request.faulty = true end
  error(self.fault.message, 0)
end

function wire:lose(message) return self:fail("the connection to the client is lost: " .. message) end

-- Writes strings; nothing stays queued.
function wire:flush(...)
  local pending, message = self.socket:flush_nb(...)
  if not pending then self:lose(message) end
  if pending > 0 then self:drain(0) end
end

-- The rest is for connections that have to wait.
setmetatable(wire, {
  __index = function(self, key)
    for name, method in pairs(require "mb.http.waiting") do self[name] = method end
    setmetatable(self, nil)
    return self[key]
  end,
})

return wire
