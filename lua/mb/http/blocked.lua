-- Waits for the client in the middle of a request, with deadlines: until it sends input, or takes output. While it
-- takes nothing, its input is received: it may read only after it has sent everything. Adds methods to the connection
-- of mb.http.wire.

local core = require "mb.http.core"

-- A client that takes nothing for so long may be waiting for us to read.
local PATIENCE_SECONDS = 0.05

-- The wait for a client that takes nothing is cut into this number of pieces. After each we look at what it has taken,
-- so the wait ends at most one piece later than stall_timeout.
local LOOKS = 8

local after = require "mb.http.wire".after

local blocked = {}

-- Loaded when the first body comes.
local loaded
local function intake()
  loaded = loaded or require "mb.http.intake"
  return loaded
end

-- Returns an object that counts how fast the client sends. Its module is loaded when that is waited for.
local function new_pace(self)
  return require "mb.http.pace".new(self.input, self.options.stall_timeout, self.options.minimum_input_rate)
end

-- Says that a wait has ended. Fails when the client sends too slowly. ours: see wire:fail.
local function keep_pace(self, pace, ours)
  if not pace:is_slow() then return end
  self:fail(("the client has sent less than %d bytes a second for %g seconds (minimum_input_rate)"):format(
    self.options.minimum_input_rate, self.options.stall_timeout), 408, ours)
end

-- Returns the object for the body of the current request.
local function pace_of_body(self)
  if self.paced ~= self.request then self.paced, self.pace = self.request, new_pace(self) end
  return self.pace
end

-- Waits until one of the sets is ready; then returns true. Returns false when the client has taken something: poll
-- tells only when it has taken much. Fails when the client has done nothing until the limit, or the response takes too
-- long.
function blocked:wait_for_client(inputs, outputs, limit, what)
  local deadline = self.deadline or math.huge
  local seconds = self.options.stall_timeout
  local last = math.min(limit, deadline)
  repeat
    local look = outputs and seconds and math.min(last, after(seconds / LOOKS)) or last
    if self:wait(inputs, outputs, look) then return true end
    if outputs and self:takes() then return false end
  until look == last
  if limit <= deadline then
    self:fail(("the client has %s nothing for %g seconds (stall_timeout)"):format(what, seconds), 408)
  end
  seconds = self.options.response_timeout
  self:fail(("the response took more than %g seconds (response_timeout)"):format(seconds), 408, true)
end

-- Returns whether the client has taken something since the last call.
function blocked:takes()
  local before = self.held
  self.held = core.unsent(self.socket)
  return before and self.held < before
end

-- Calls step until it returns true. Between the calls, waits until the client takes something. step's second result
-- says whether it has sent something.
function blocked:push(step)
  local set, deadline = self.set, self.deadline or math.huge
  local suspicious = false
  local limit, pace
  while true do
    local done, moved = step()
    if done then return end
    if moved or not limit then
      limit, suspicious, pace = after(self.options.stall_timeout), false, nil
      self:takes()
    end
    local alive = true
    if self.state == "over" or not intake().receives(self) then
      alive = self:wait_for_client(nil, set, limit, "taken")
    elseif suspicious or not self:wait(nil, set, math.min(limit, deadline, after(PATIENCE_SECONDS))) then
      suspicious, pace = true, pace or new_pace(self)
      pace:begin()
      alive = self:wait_for_client(set, set, limit, "taken")
      if intake().take(self) then limit = after(self.options.stall_timeout) end
      keep_pace(self, pace, true) -- a client that takes nothing has to send
    end
    if not alive then limit, pace = after(self.options.stall_timeout), nil end
  end
end

-- Waits until at most `most` bytes are queued.
function blocked:drain(most)
  local before = math.huge
  self:push(function()
    local pending, message = self.socket:flush_nb()
    if not pending then self:lose(message) end
    local moved = pending < before
    before = pending
    return pending <= most, moved
  end)
end

-- Waits for the rest of a head. Returns the results of the input's head method.
function blocked:await_rest()
  local stall, whole = self.options.stall_timeout, self.options.request_header_timeout
  local pace, limit = new_pace(self), after(whole)
  while true do
    local stalled = after(stall)
    pace:begin()
    if not self:wait(self.set, nil, math.min(limit, stalled)) then
      self:fail(limit <= stalled and
        ("the request head took more than %g seconds (request_header_timeout)"):format(whole) or
        ("the client has sent nothing for %g seconds (stall_timeout)"):format(stall), 408)
    end
    local method, path, query, minor, keepalive, has_body, expects = self.input:head(true)
    if method then return method, path, query, minor, keepalive, has_body, expects end
    self:head_state(path, query, minor, keepalive)
    keep_pace(self, pace, false) -- a head is small: the client is to blame
  end
end

-- The client does not wait for a 100 (Continue) any more.
function blocked:stop_expecting() self.expects = false end

-- Sends what is queued, and a 100 (Continue) if the client waits for it: otherwise both sides could wait for each
-- other. Returns whether something is still queued.
local function flush_before_reading(self)
  local continue = ""
  if self.expects and not self.response:has_left() then
    self:stop_expecting()
    continue = "HTTP/1.1 100 Continue\r\n" .. self.static .. "\r\n"
  end
  local pending, message = self.socket:flush_nb(continue)
  if not pending then self:lose(message) end
  return pending > 0
end

-- Calls a method of the input (read, part, stash, discard) with its arguments, and waits where it blocks. Returns its
-- results, or nil at the end of the body.
function blocked:get(method, most, keep)
  local input, set = self.input, self.set
  local limit
  while true do
    local event, a, b, c = input[method](input, most, keep)
    if self.expects and (event or a == "end") then self:stop_expecting() end -- the client did not wait to be told
    if event then
      if self.state == "full" then intake().move(self, "receiving") end
      return event, a, b, c
    end
    if a == "end" then
      intake().move(self, "over")
      return nil
    elseif a == "refused" then
      self:fail(c, b)
    elseif a == "failed" then
      self:lose(c)
    end
    -- The input blocks. b says whether something has come that makes no event yet.
    if b or not limit then limit = after(self.options.stall_timeout) end
    local queued = flush_before_reading(self)
    local pace = pace_of_body(self)
    pace:begin()
    self:wait_for_client(set, queued and set or nil, limit, "sent")
    if not queued then keep_pace(self, pace, true) end
  end
end

return blocked
