-- fiber.cond(): a condition that fibers wait for and others signal.

local waiting = require "mb.tarantool.waiting"

local cond = {}
cond.__index = cond

function cond.new() return setmetatable({waiters = {}}, cond) end

-- wait([timeout]): returns true when it was signalled, false at the timeout.
function cond:wait(timeout) return waiting.park(self.waiters, waiting.deadline(timeout)).woken end

function cond:signal() waiting.wake(self.waiters) end

function cond:broadcast()
  while waiting.wake(self.waiters) do end
end

return cond
