-- Decides whether a client that is waited for sends fast enough. A limit on silence alone lets a client live by one
-- byte a minute. Time counts only while the client is waited for: a script that is slow to read makes no client slow.

local timeref = require "moonbridge_io".timeref

local pace = {}
pace.__index = pace

-- Fields: wire; count (the bytes that the input had received when the window began), waited (seconds of the window so
-- far), since (when the wait began), ours (whether a setting of ours may be to blame: see wire:fail).
function pace.new(wire, ours)
  return setmetatable({wire = wire, count = wire.input:count(), waited = 0, since = 0, ours = ours}, pace)
end

-- Returns the object for the body of the current request.
function pace.of_body(wire)
  if wire.paced ~= wire.request then wire.paced, wire.pace = wire.request, pace.new(wire, true) end
  return wire.pace
end

-- Says that a wait begins.
function pace:begin() self.since = timeref() end

-- Says that a wait has ended. Fails when a window of stall_timeout seconds is over, and too little has come in it.
function pace:keep()
  local wire = self.wire
  local window, rate = wire.options.stall_timeout, wire.options.minimum_input_rate
  self.waited = self.waited + timeref() - self.since
  if not (window and rate) or self.waited < window then return end
  local count = wire.input:count()
  if count - self.count < rate * self.waited then
    wire:fail(("the client has sent less than %d bytes a second for %g seconds (minimum_input_rate)"):format(
      rate, window), 408, self.ours)
  end
  self.count, self.waited = count, 0
end

return pace
