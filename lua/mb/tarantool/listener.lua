-- With --style=tarantool: waits at a listener behind which the connection stands: the one that there is or, in a pool,
-- one after another. See src/socket/standin.h.

local style = require "mb.style"
local waiting = require "mb.tarantool.waiting"
local timeref = require "moonbridge_io".timeref

local listener = {}

-- The fibers that wait for another connection. A cancelled fiber leaves the table, too.
local waiters = {}

-- The listeners at which the program has waited.
local listeners = setmetatable({}, {__mode = "k"})

-- The most rounds of the fibers that can run when the connection is over. One that always can, such as a loop of
-- fiber.yield(), must not keep the process.
local ROUNDS_MAX = 10000

local ending = 0 -- how many fibers are in run_ready

-- Runs the fibers that can run, and those that they wake, until none can. Does not wait.
local function run_ready()
  local scheduler = waiting.scheduler
  if not scheduler then return end
  local in_fiber = scheduler:current()
  if in_fiber then ending = ending + 1 end
  local idle, seen = 0, waiting.outside
  for _ = 1, ROUNDS_MAX do
    if in_fiber then coroutine.yield() else scheduler:step(0) end
    -- One idle round is not enough: a fiber can have woken the main program, which runs after the round.
    local others = scheduler:runnable() - ending + (in_fiber and 1 or 0)
    idle = others == 0 and waiting.outside == seen and idle + 1 or 0
    if idle == 2 then break end
    seen = waiting.outside
  end
  if in_fiber then ending = ending - 1 end
end

-- Returns whether any fiber is left that does not wait here.
local function others_are_left()
  local scheduler = waiting.scheduler
  if not scheduler then return false end
  if scheduler:runnable() > 0 then return true end -- also one that has been cancelled, and is in the table still
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

-- Waits once for the end of the connection. Ends it when nobody is left who could.
local function await_end(in_fiber, deadline)
  if in_fiber then
    wait_in_fiber(deadline)
  elseif deadline or others_are_left() then
    wait_outside(deadline)
  elseif not style.next() then
    style.finish()
  end
end

-- Waits once for the connection after the one that is over. The other fibers run meanwhile.
local function await_next(deadline)
  if style.next(0) then return end
  local fd = style.source()
  if fd and not (deadline and timeref() >= deadline) then waiting.wait(fd, "r", deadline, waiters) end
end

-- Waits for a connection at a listener of mb.tarantool.core. Returns true when there is one. Returns false when the
-- listener has been closed, at the deadline, and, with a deadline, once after the accepted connection has been closed
-- and no other can come. Otherwise it then ends the program; also when nothing is left to do, without a deadline.
function listener.wait(c, deadline)
  listeners[c] = true
  local in_fiber = waiting.scheduler and waiting.scheduler:current()
  -- A real listener seldom has a connection at once: the program expects to go on while the fiber waits for one.
  if in_fiber and style.pending() then coroutine.yield() end
  while not style.pending() do
    if c:is_closed() then return false end
    local over = style.over()
    if over and not style.source() then
      run_ready()
      if c:is_closed() then return false end
      if not deadline then style.finish() end
      style.turn(c)
      return false
    end
    if over then await_next(deadline) end
    if style.pending() then break end
    if deadline and timeref() >= deadline then return false end
    if not over then await_end(in_fiber, deadline) end
  end
  return not c:is_closed()
end

-- Ends the waits after the connection that was accepted, or a listener, has been closed.
function listener.closed() waiting.interrupt(waiters) end

-- Returns whether the fibers may get another connection.
local function goes_on()
  if not style.source() or waiting.scheduler:empty() then return false end
  for c in pairs(listeners) do
    if not c:is_closed() then return true end
  end
  return false
end

-- Runs the fibers that are left after the program's chunk has returned.
function listener.run_rest()
  local scheduler = waiting.scheduler
  if not scheduler then return end
  while goes_on() or others_are_left() and (style.pending() or style.serving()) do
    if style.serving() and not others_are_left() then
      style.next(0) -- ends the connection, as no fiber is left that could
      listener.closed()
    end
    scheduler:step()
  end
  run_ready()
end

return listener
