-- Decides whether a client sends fast enough. A limit on silence alone lets a client live by one byte a minute. Time
-- counts only while the client is waited for: a script that is slow to read makes no client slow.

local pace = {}
pace.__index = pace

-- window: the seconds over which the rate is taken; rate: the least bytes a second. Either may be false: no client is
-- too slow.
function pace.new(input, window, rate)
  return setmetatable({input = input, window = window and rate and window or math.huge, rate = rate, count = input:count(),
    waited = 0}, pace)
end

-- Begins to count anew: the client had no reason to send.
function pace:restart() self.count, self.waited = self.input:count(), 0 end

-- Adds seconds in which the client was waited for. Returns whether it has sent too little in a window that is over.
function pace:is_slow(seconds)
  self.waited = self.waited + seconds
  if self.waited < self.window then return false end
  local slow = self.input:count() - self.count < self.rate * self.waited
  self:restart()
  return slow
end

return pace
