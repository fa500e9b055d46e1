-- Decides whether a client that is waited for sends fast enough. A limit on silence alone lets a client live by one
-- byte a minute. Time counts only while the client is waited for: a script that is slow to read makes no client slow.

local timeref = require "moonbridge_io".timeref

local pace = {}
pace.__index = pace

-- Returns an object that counts what the input receives. window: the seconds over which the rate is taken; rate: the
-- least bytes a second. Either may be false: no client is too slow.
function pace.new(input, window, rate)
  return setmetatable({
    input = input,
    window = rate and window or math.huge,
    rate = rate,
    count = input:count(), -- what the input had received when the window began
    waited = 0,            -- seconds of the window so far
    since = 0,             -- when the wait began
  }, pace)
end

-- Says that a wait begins.
function pace:begin() self.since = timeref() end

-- Says that the wait has ended. Returns whether a window is over in which the client has sent too little.
function pace:is_slow()
  self.waited = self.waited + timeref() - self.since
  if self.waited < self.window then return false end
  local count = self.input:count()
  local slow = count - self.count < self.rate * self.waited
  self.count, self.waited = count, 0
  return slow
end

return pace
