-- Tarantool's clock module: seconds as numbers with fractions; with 64, nanoseconds as integers.

local core = require "mb.tarantool.core"
local timeref = require "moonbridge_io".timeref

local clock = {
  time = core.time, realtime = core.time,
  monotonic = function() return timeref() end,
  -- There is one thread: its processor time is that of the process.
  proc = os.clock, thread = os.clock,
}

function clock.time64() return core.time64() * 1000 end
clock.realtime64 = clock.time64
function clock.monotonic64() return core.clock64() * 1000 end
function clock.proc64() return math.floor(os.clock() * 1e9) end
clock.thread64 = clock.proc64

-- bench(f, ...): returns a table: the processor time that f(...) has taken, and its results.
function clock.bench(f, ...)
  local start = os.clock()
  local results = table.pack(f(...))
  return {os.clock() - start, table.unpack(results, 1, results.n)}
end

return clock
