-- Tasks are coroutines that take turns: one runs until it has to wait, for a socket or for a time. For interfaces that
-- have fibers or serve several connections at once. Must know nothing of what the tasks do.

local core = require "mb.scheduler.core"
local timeref = require "moonbridge_io".timeref

local running, isyieldable = coroutine.running, coroutine.isyieldable
local resume = coroutine.resume

local scheduler = {}
scheduler.__index = scheduler

-- The script may set the field on_error, a function that is called with a task's coroutine and its error. Without it,
-- the step in which the task ran throws the error.
function scheduler.new()
  return setmetatable({
    on_error = false,
    -- The tasks that can run, from `first` to `last`, and the results of their waits.
    queue = {}, results = {}, first = 1, last = 0,
    -- The waits, in parallel lists, and the place of each waiter in them.
    waiters = {}, objects = {}, wanted = {}, deadlines = {}, waiting = 0, place = {},
    tasks = {}, task_count = 0,
    task = false, -- the running task
    watch = false,
    -- The memory that poll works with, and the number of waiters for which it has room.
    ready = {}, over = {}, over_results = {}, room = core.room(4), room_for = 4,
  }, scheduler)
end

-- Returns the coroutine of the running task. Returns nil outside of tasks, in a coroutine that a task has made itself,
-- and where a task cannot yield, as in a finalizer or in a function that table.sort calls.
function scheduler:current()
  return self.task and running() == self.task and isyieldable() and self.task or nil
end

function scheduler:count() return self.task_count end

function scheduler:empty() return self.task_count == 0 end

-- Returns how many tasks can run; the running one does not count.
function scheduler:runnable() return self.last - self.first + 1 end

local function make_runnable(self, waiter, result)
  local last = self.last + 1
  self.last, self.queue[last], self.results[last] = last, waiter, result
end

local function add_wait(self, waiter, object, events, deadline)
  local n = self.waiting + 1
  self.waiting, self.place[waiter] = n, n
  self.waiters[n], self.deadlines[n] = waiter, deadline or math.huge
  self.objects[n], self.wanted[n] = object or false, object and events or ""
end

-- Removes a wait. The last wait of the lists takes its place.
local function remove_wait(self, waiter)
  local at, n = self.place[waiter], self.waiting
  self.place[waiter] = nil
  if at < n then
    local other = self.waiters[n]
    self.waiters[at], self.deadlines[at] = other, self.deadlines[n]
    self.objects[at], self.wanted[at] = self.objects[n], self.wanted[n]
    self.place[other] = at
  end
  self.waiters[n], self.deadlines[n], self.objects[n], self.wanted[n] = nil, nil, nil, nil
  self.waiting = n - 1
end

local function new_task(self, f, ...)
  local arguments = table.pack(...)
  local task
  task = coroutine.create(function()
    f(table.unpack(arguments, 1, arguments.n))
    self.tasks[task] = nil
  end)
  self.tasks[task] = true
  self.task_count = self.task_count + 1
  return task
end

-- spawn(f, ...): makes a task that runs f(...) from the next step on. Returns its coroutine.
function scheduler:spawn(f, ...)
  local task = new_task(self, f, ...)
  make_runnable(self, task)
  return task
end

-- wake(waiter, result): ends the wait of a task (its coroutine); the wait returns the result. Returns whether the task
-- was waiting.
function scheduler:wake(waiter, result)
  if not self.place[waiter] then return false end
  remove_wait(self, waiter)
  make_runnable(self, waiter, result)
  return true
end

local function fail(self, task, err)
  if self.on_error then return self.on_error(task, err) end
  if type(err) == "string" then err = debug.traceback(task, err) end
  error(err, 0)
end

-- Between the task's wait and the end of this function, nothing may collect garbage, as coroutine.status would: a
-- finalizer may run the tasks, and this task is one of them.
local function run(self, task, result)
  local before = self.task
  self.task = task
  local good, err = resume(task, result)
  self.task = before
  if not good then self.tasks[task] = nil end
  if not self.tasks[task] then
    self.task_count = self.task_count - 1
    if not good then fail(self, task, err) end
  elseif not self.place[task] then
    make_runnable(self, task) -- it has yielded by itself, to let others run
  end
end

-- start(f, ...): makes a task that runs f(...) at once until it has to wait. Returns its coroutine.
function scheduler:start(f, ...)
  local task = new_task(self, f, ...)
  run(self, task)
  return task
end

-- Waits until a wait is over, or until a deadline; makes the waiters runnable whose waits are over. Allocates nothing
-- once it reads the lists: a finalizer may run this function, too, or wake a waiter.
local function poll(self, deadline)
  if self.waiting > self.room_for then
    local room_for = 2 * self.waiting
    self.room, self.room_for = core.room(room_for), room_for
    return poll(self, deadline)
  end
  local n = self.waiting
  if n == 0 and deadline == 0 then return end
  for i = 1, n do deadline = math.min(deadline, self.deadlines[i]) end
  local ready, over, results = self.ready, self.over, self.over_results
  core.poll(self.objects, self.wanted, n, deadline < math.huge and deadline - timeref() or nil, ready, self.room)
  local now = timeref()
  local count = 0
  for i = 1, n do
    if ready[i] or self.deadlines[i] <= now then
      count = count + 1
      over[count], results[count] = self.waiters[i], ready[i]
    end
  end
  for k = 1, count do
    self:wake(over[k], results[k] or nil)
    over[k] = false
  end
end

-- step(deadline): runs each task that can run, once. When none can run, waits for one until the deadline, a time of
-- timeref(); nil means for ever, 0 not at all. Returns whether any task is left.
function scheduler:step(deadline)
  local idle = self.first > self.last
  poll(self, idle and (deadline or math.huge) or 0)
  local limit = self.last
  while self.first <= limit do
    local first = self.first
    local waiter, result = self.queue[first], self.results[first]
    self.queue[first], self.results[first] = nil, nil
    self.first = first + 1
    if type(waiter) == "table" then
      waiter.over, waiter.result = true, result -- a wait outside of any task
    else
      run(self, waiter, result)
    end
  end
  return self.task_count > 0
end

-- run(): steps until no task is left.
function scheduler:run()
  while self.task_count > 0 do self:step() end
end

-- wait(object, events, deadline): waits until the object (a socket, a listener or a descriptor; nil: none) is ready for
-- one of the events, "r", "w" or "rw", or until the deadline, a time of timeref(). The other tasks run meanwhile, also
-- when the caller is not a task. Returns the events for which the object is ready, or nil at the deadline.
function scheduler:wait(object, events, deadline)
  if self:current() then
    add_wait(self, self.task, object, events, deadline)
    return (coroutine.yield())
  end
  local waiter = {over = false}
  add_wait(self, waiter, object, events, deadline)
  while not waiter.over do
    local good, err = pcall(self.step, self, nil)
    if not good then
      if self.place[waiter] then remove_wait(self, waiter) end
      error(err, 0)
    end
  end
  return waiter.result
end

-- ---- for somebody else's loop ----

-- pollfd(): returns a descriptor that is ready for reading when a step has something to do; always the same one.
function scheduler:pollfd()
  if not self.watch then self.watch, self.watch_fd = core.watch() end
  core.fill(self.objects, self.wanted, self.waiting, self.watch)
  return self.watch_fd
end

function scheduler.events() return "r" end

-- timeout(): returns after how many seconds a step has something to do in any case; nil: never. Call it after each
-- step: it updates the events that pollfd's descriptor waits for.
function scheduler:timeout()
  if self.first <= self.last then return 0 end
  if self.watch and core.fill(self.objects, self.wanted, self.waiting, self.watch) then return 0 end
  local deadline = math.huge
  for i = 1, self.waiting do deadline = math.min(deadline, self.deadlines[i]) end
  return deadline < math.huge and math.max(0, deadline - timeref()) or nil
end

return scheduler
