-- Tarantool's fibers: tasks of mb.scheduler with a name, a status and an end that can be waited for.

local core = require "mb.tarantool.core"
local timeref = require "moonbridge_io".timeref
local waiting = require "mb.tarantool.waiting"

local CANCELLED = waiting.CANCELLED
local NAME_BYTES_MAX = 255

local scheduler = waiting.fibers()

local fiber, methods = {}, {}

local by_task = setmetatable({}, {__mode = "k"}) -- coroutine -> fiber
local by_id = setmetatable({}, {__mode = "v"})
local last_id = 100 -- in Tarantool, the smaller numbers belong to the system

local function new_fiber(name)
  last_id = last_id + 1
  local f = setmetatable({_id = last_id, _name = name, _joiners = {}}, methods)
  by_id[last_id] = f
  return f
end

local main = new_fiber("main") -- the code outside of any fiber

function fiber.self() return by_task[scheduler.task] or main end

local function check(f, level)
  if getmetatable(f) ~= methods then
    error("usage: fiber:method(), called with something that is no fiber", level or 3)
  end
  return f
end

-- Throws if a method's fiber is dead, as the method can do nothing for it.
local function check_alive(f)
  check(f, 4)
  if f:status() == "dead" then error("the fiber is dead", 3) end
end

-- ---- life ----

local function keep_trace(f)
  return function(err)
    -- Our own frames at the end of the trace are left out.
    local trace = debug.traceback(core.error_text(err), 2)
    f._trace = trace:gsub("\n%s+%[C%]: in function 'xpcall'.*$", "")
    return err
  end
end

local function body(f, run, ...)
  if f._cancelled then
    f._results = {n = 2, false, CANCELLED}
  else
    f._results = table.pack(xpcall(run, keep_trace(f), ...))
  end
  f._done, f.storage = true, nil
  local good, err = f._results[1], f._results[2]
  if not good and not f._joinable and not (f._cancelled and core.error_text(err):find(CANCELLED, 1, true)) then
    core.log("error", ("fiber %d (%s): %s"):format(f._id, f._name, f._trace or core.error_text(err)))
  end
  while waiting.wake(f._joiners) do end
end

local function check_function(run)
  if type(run) == "function" then return end
  local meta = getmetatable(run)
  if not (meta and meta.__call) then error("usage: fiber.create(function, ...)", 3) end
end

-- create(f, ...): runs f(...) at once, until it has to wait, and after that whenever it can. Returns the fiber.
function fiber.create(run, ...)
  check_function(run)
  local f = new_fiber("lua")
  scheduler:start(function(...)
    f._task = coroutine.running()
    by_task[f._task] = f
    body(f, run, ...)
  end, ...)
  return f
end

-- The older name: a fiber with arguments.
fiber.wrap = fiber.create

-- new(f, ...): the same, but f starts when the caller waits.
function fiber.new(run, ...)
  check_function(run)
  local f = new_fiber("lua")
  f._task = scheduler:spawn(body, f, run, ...)
  by_task[f._task] = f
  return f
end

function fiber.find(id) return by_id[id] end

-- ---- for the running one ----

function fiber.testcancel()
  if fiber.self()._cancelled then error(CANCELLED, 0) end
end
waiting.check = fiber.testcancel

function fiber.yield()
  if scheduler:current() then
    coroutine.yield()
  else
    waiting.outside = waiting.outside + 1
    scheduler:step(0)
  end
  fiber.testcancel()
end

function fiber.sleep(seconds)
  if type(seconds) ~= "number" then error("usage: fiber.sleep(seconds)", 2) end
  if seconds <= 0 then return fiber.yield() end
  fiber.testcancel()
  waiting.wait(nil, nil, waiting.deadline(seconds))
end

function fiber.id(f) return (f or fiber.self())._id end

function fiber.status(f) return check(f or fiber.self()):status() end

function fiber.name(f, name, options)
  if f == nil or type(f) == "string" then return fiber.self():name(f, name) end
  return check(f):name(name, options)
end

function fiber.time() return core.time() end
function fiber.time64() return core.time64() end
function fiber.clock() return timeref() end
function fiber.clock64() return core.clock64() end

-- ---- of any fiber ----

methods.__name = "fiber"

function methods:__index(key)
  if key == "storage" then
    if self._done then error("the fiber is dead", 2) end
    local storage = {}
    rawset(self, "storage", storage)
    return storage
  end
  return methods[key]
end

-- For JSON.
function methods:__serialize()
  local status = self:status()
  if status == "dead" then return "the fiber is dead" end
  return {id = self._id, name = self._name, status = status}
end

function methods:__tostring() return ("fiber: %d (%s)"):format(self._id, self._name) end

function methods:id() return check(self)._id end

function methods:status()
  check(self)
  if self == fiber.self() then return "running" end
  if self._done and not (self._joinable and not self._joined) then return "dead" end
  return "suspended"
end

function methods:name(name, options)
  check_alive(self)
  if name == nil then return self._name end
  name = tostring(name)
  if #name > NAME_BYTES_MAX and not (options and options.truncate) then error("Fiber name is too long", 2) end
  self._name = name:sub(1, NAME_BYTES_MAX)
end

-- cancel(): makes the fiber's next wait, or the one that it is in, throw.
function methods:cancel()
  check_alive(self)
  if self == main then error("the main program cannot be cancelled", 2) end
  if self._done then return end
  self._cancelled = true
  if self == fiber.self() then error(CANCELLED, 0) end
  scheduler:wake(self._task)
end
methods.kill = methods.cancel

function methods:wakeup()
  check_alive(self)
  if self._task then scheduler:wake(self._task) end
end

function methods:set_joinable(joinable)
  check_alive(self)
  self._joinable = joinable and true or false
end

-- join([timeout]): waits for the end of the fiber. Returns true and the results of its function; or false and its
-- error.
function methods:join(timeout)
  check_alive(self)
  if not self._joinable or self._joined then error("the fiber is not joinable", 2) end
  local deadline = waiting.deadline(timeout)
  while not self._done do
    if deadline and timeref() >= deadline then return false, "timed out" end
    waiting.park(self._joiners, deadline)
  end
  self._joined = true
  return table.unpack(self._results, 1, self._results.n)
end

fiber.join = methods.join
fiber.wakeup = methods.wakeup
fiber.set_joinable = methods.set_joinable

-- kill(id): cancels the fiber with this number; id may also be a fiber.
function fiber.kill(id)
  local f = id
  if type(id) == "number" then
    f = by_id[id]
  elseif getmetatable(id) ~= methods then
    error("bad argument #1: expected a fiber or its number, got " .. type(id), 2)
  end
  if not f or f._done then error("the fiber is dead", 2) end
  f:cancel()
end

fiber.cancel = fiber.kill

-- info(): returns a table of all living fibers, by number.
function fiber.info()
  local all = {}
  for id, f in pairs(by_id) do
    if not f._done then all[id] = {fid = id, name = f._name, status = f:status()} end
  end
  return all
end

function fiber.channel(capacity) return require "mb.tarantool.channel".new(capacity) end

function fiber.cond() return require "mb.tarantool.cond".new() end

return fiber
