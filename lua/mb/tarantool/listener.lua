-- With --style=tarantool: what waiting at a listener means when it is the one connection that stands behind it. See
-- src/style.h.

local style = require "mb.style"
local waiting = require "mb.tarantool.waiting"
local timeref = require "moonbridge_io".timeref

local listener = {}

-- The fibers that wait for another connection; it will not come. One that is cancelled leaves, too.
local waiters = {}

-- What other fibers have to do at once is still done, of those that the connection's end has woken.
local function finish()
  local scheduler = waiting.scheduler
  if scheduler and not scheduler:current() then scheduler:step(0) end
  style.finish()
end

-- Whether any fiber but those is left.
local function others_are_left()
  local scheduler = waiting.scheduler
  if not scheduler then return false end
  local waiting_here = scheduler:current() and 1 or 0
  for _ in pairs(waiters) do waiting_here = waiting_here + 1 end
  return scheduler:count() > waiting_here
end

local function wait_in_fiber(deadline)
  if style.serving() then waiting.wait(nil, nil, deadline, waiters) end
end

local function wait_outside(deadline)
  if not others_are_left() then
    waiting.wait(nil, nil, deadline)
  else
    waiting.scheduler:step(deadline)
  end
end

-- Waits for a connection at a listener, of mb.tarantool.core: true when there is one; false at the deadline, while the
-- one that was accepted is open, or when the listener has been closed. Else it ends the program: once the connection is
-- closed, and, without a deadline, when nothing is left to be done.
function listener.wait(c, deadline)
  local in_fiber = waiting.scheduler and waiting.scheduler:current()
  -- A listener has seldom a connection at once: the program expects to get on while the fiber waits for it.
  if in_fiber and style.pending() then coroutine.yield() end
  while not style.pending() do
    if c:is_closed() then return false end
    if not style.serving() then finish() end
    if deadline and timeref() >= deadline then return false end
    if in_fiber then
      wait_in_fiber(deadline)
    elseif not deadline and not others_are_left() then
      finish()
    else
      wait_outside(deadline)
    end
  end
  return not c:is_closed()
end

-- The connection that was accepted has been closed, or a listener has.
function listener.closed() waiting.interrupt(waiters) end

-- The program's chunk has returned: runs the fibers that are left.
function listener.run_rest()
  local scheduler = waiting.scheduler
  if not scheduler then return end
  while others_are_left() and (style.pending() or style.serving()) do scheduler:step() end
  scheduler:step(0)
end

return listener
