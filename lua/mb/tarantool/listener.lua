-- With --style=tarantool: what waiting at a listener means when it is the one connection that stands behind it. See
-- src/style.h.

local style = require "mb.style"
local waiting = require "mb.tarantool.waiting"
local timeref = require "moonbridge_io".timeref

local listener = {}

-- The fibers that wait for another connection; it will not come.
local waiters, count = {}, 0

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
  local here = scheduler:current() and 1 or 0
  return scheduler:count() > count + here
end

local function wait_in_fiber(deadline)
  if style.serving() then
    count = count + 1
    waiting.wait(nil, nil, deadline, waiters)
    count = count - 1
  end
end

local function wait_outside(deadline)
  if not others_are_left() then
    waiting.wait(nil, nil, deadline)
  else
    waiting.scheduler:step(deadline)
  end
end

-- Waits for a connection: true when there is one; false at the deadline, while the one that was accepted is open. Else
-- it ends the program: once that is closed, and, without a deadline, when nothing is left to be done.
function listener.wait(deadline)
  local in_fiber = waiting.scheduler and waiting.scheduler:current()
  -- A listener has seldom a connection at once: the program expects to get on while the fiber waits for it.
  if in_fiber and style.pending() then coroutine.yield() end
  while not style.pending() do
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
  return true
end

-- The connection that was accepted has been closed.
function listener.closed() waiting.interrupt(waiters) end

-- The program's chunk has returned: runs the fibers that are left.
function listener.run_rest()
  local scheduler = waiting.scheduler
  if not scheduler then return end
  while others_are_left() and (style.pending() or style.serving()) do scheduler:step() end
  scheduler:step(0)
end

return listener
