-- All waits of mb.tarantool. The other fibers run meanwhile, whether the caller is a fiber or not; without fibers it is
-- poll(2) alone. The scheduler is loaded when the first fiber is made.

local timeref = require "moonbridge_io".timeref
local poll = require "mb.scheduler.core".poll

-- Some 30 years: more is no limit.
local SECONDS_MAX = 1e9

local waiting = {
  scheduler = false,
  check = false, -- check(): set by the fibers; throws in one that was cancelled
  outside = 0, -- how many waits outside of any fiber have begun
  -- Descriptor -> a socket of ours, which may hold input that the system has already handed over.
  handles = setmetatable({}, {__mode = "v"}),
  CANCELLED = "fiber is cancelled",
}

-- The scheduler of all fibers.
function waiting.fibers()
  if not waiting.scheduler then waiting.scheduler = require "mb.scheduler".new() end
  return waiting.scheduler
end

-- Returns the time of timeref() at which a timeout in seconds is over; nil: never. If the timeout is no number, the
-- error blames the caller of the function that calls this.
function waiting.deadline(timeout)
  if timeout == nil then return nil end
  if type(timeout) ~= "number" then
    error(("bad timeout: expected a number of seconds, got %s"):format(type(timeout)), 3)
  end
  if timeout >= SECONDS_MAX then return nil end
  return timeref() + (timeout > 0 and timeout or 0)
end

-- Waits in a fiber. waiters: a table in which waiting.interrupt finds the fiber; or nil.
local function wait_in_fiber(scheduler, object, events, deadline, waiters)
  local task = scheduler:current()
  if waiting.check then waiting.check() end
  if waiters then waiters[task] = true end
  local ready = scheduler:wait(object, events, deadline)
  if waiters then waiters[task] = nil end
  if waiting.check then waiting.check() end
  return ready
end

-- wait(object, events, deadline, waiters): waits until the object (what mb.scheduler takes; nil: none) is ready.
-- Returns "r", "w" or "rw"; nil at the deadline, or when somebody has called waiting.interrupt(waiters).
function waiting.wait(object, events, deadline, waiters)
  local scheduler = waiting.scheduler
  if not scheduler or scheduler:empty() then
    if not object then events = "" end
    local left = deadline and math.max(0, deadline - timeref())
    return poll({object or false}, {events}, object and 1 or 0, left)[1] or nil
  end
  if scheduler:current() then return wait_in_fiber(scheduler, object, events, deadline, waiters) end
  waiting.outside = waiting.outside + 1
  -- The wait needs a fiber of its own, since only fibers can be woken.
  local done, ready = false, nil
  scheduler:spawn(function()
    ready = wait_in_fiber(scheduler, object, events, deadline, waiters)
    done = true
  end)
  while not done do scheduler:step() end
  return ready
end

-- Ends the waits of the fibers in a table of waiters.
function waiting.interrupt(waiters)
  for task in pairs(waiters) do waiting.scheduler:wake(task) end
end

-- ---- waiting for another fiber ----

-- park(list, deadline, value): adds an entry with the value to the list, and waits until somebody wakes it, or until
-- the deadline. Returns the entry; its field woken says whether somebody has woken it.
function waiting.park(list, deadline, value)
  local scheduler = waiting.fibers()
  if waiting.check then waiting.check() end
  local entry = {task = scheduler:current(), woken = false, value = value}
  list[#list + 1] = entry
  if entry.task then
    scheduler:wait(nil, nil, deadline)
  else
    waiting.outside = waiting.outside + 1
    while not entry.woken and not (deadline and timeref() >= deadline) do
      if scheduler:empty() then
        if not deadline then error("nobody is left who could end this wait", 0) end
        scheduler:wait(nil, nil, deadline)
      else
        scheduler:step(deadline)
      end
    end
  end
  if entry.woken then return entry end -- also in a cancelled fiber, whose next wait throws
  for i, other in ipairs(list) do
    if other == entry then table.remove(list, i) break end
  end
  if entry.task and waiting.check then waiting.check() end
  return entry
end

-- wake(list): wakes the first entry of a list, and removes it from the list. Returns the entry, or nil.
function waiting.wake(list)
  local entry = table.remove(list, 1)
  if not entry then return nil end
  entry.woken = true
  if entry.task then waiting.scheduler:wake(entry.task) end
  return entry
end

return waiting
