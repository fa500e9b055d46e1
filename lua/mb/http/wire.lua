-- The connection below the requests: waits that end at a deadline, output that is queued and drained, and the faults of
-- the client, which end a request as Lua errors. While the client takes nothing, what it sends is received: it may not
-- read before it has sent all.

local core = require "mb.http.core"
local io = require "moonbridge_io"

local poll, timeref = io.poll, io.timeref

-- Output that may be queued before a write waits for the client.
local QUEUE_MAX_BYTES = 65536

-- So long a client may take nothing before it is suspected of waiting for us to read.
local PATIENCE_SECONDS = 0.05

-- Content that is kept for later at most, where no limit on the body says less.
local STASH_MAX_BYTES = 64 * 1024 * 1024

local wire = {}
wire.__index = wire

-- Fields: socket, input, options; of the current request: request, unread (the client may be sending a body),
-- expects (it waits for a 100), deadline, consumer (takes body content while writing is blocked), fault.
function wire.new(socket, options)
  return setmetatable({
    socket = socket,
    input = core.input(socket, options.request_header_size_limit, options.request_body_size_limit),
    options = options,
    set = {[socket] = true},
    unread = false,
    expects = false,
    deadline = false,
    consumer = false,
    fault = false,
    request = false,
  }, wire)
end

-- The point in time so many seconds from now; math.huge for false.
function wire.after(seconds) return seconds and timeref() + seconds or math.huge end

-- Throws the fault of the client. status: of the response to it, when there may still be one; nil for none.
function wire:fail(reason, status)
  self.fault = {message = "http: " .. reason, reason = reason, status = status}
  if self.request then self.request.faulty = true end
  error(self.fault.message, 0)
end

function wire:lose(message) return self:fail("the connection to the client is lost: " .. message) end

-- Waits until one of the sets is ready. Returns false at the deadline.
function wire:wait(inputs, outputs, deadline)
  while true do
    local left = deadline < math.huge and deadline - timeref() or nil
    if left and left <= 0 then return false end
    local ready, message = poll(inputs, outputs, left)
    if ready then return true end
    if ready == nil then self:lose(message) end
  end
end

-- Waits as above, for the client, until it has done nothing for too long (limit) or the response takes too long.
function wire:wait_for_client(inputs, outputs, limit, what)
  local deadline = self.deadline or math.huge
  if self:wait(inputs, outputs, math.min(limit, deadline)) then return end
  if limit <= deadline then
    self:fail(("the client has %s nothing for %g seconds (stall_timeout)"):format(what, self.options.stall_timeout), 408)
  end
  self:fail(("the response took more than %g seconds (response_timeout)"):format(self.options.response_timeout), 408)
end

-- Takes from the client what it sends of its body, without waiting. Returns whether there was something.
function wire:consume()
  if self.consumer then return self.consumer() end
  local kept = self.input:stash()
  if not kept or kept > STASH_MAX_BYTES then self.unread = false end
  return kept
end

-- Calls step until it returns true; between the calls, waits until the client takes something. step's second result is
-- whether something was sent.
function wire:push(step)
  local limit = wire.after(self.options.stall_timeout)
  local set = self.set
  while true do
    local done, moved = step()
    if done then return end
    if moved then limit = wire.after(self.options.stall_timeout) end
    if not self.unread then
      self:wait_for_client(nil, set, limit, "taken")
    elseif not self:wait(nil, set, math.min(limit, wire.after(PATIENCE_SECONDS))) then
      self:wait_for_client(set, set, limit, "taken")
      if self:consume() then limit = wire.after(self.options.stall_timeout) end
    end
  end
end

-- Waits until no more than so many bytes are queued.
function wire:drain(most)
  local before = math.huge
  self:push(function()
    local pending, message = self.socket:flush_nb()
    if not pending then self:lose(message) end
    local moved = pending < before
    before = pending
    return pending <= most, moved
  end)
end

-- Writes strings; a little may stay queued.
function wire:write(...)
  local pending, message = self.socket:write_nb(...)
  if not pending then self:lose(message) end
  if pending > QUEUE_MAX_BYTES then self:drain(QUEUE_MAX_BYTES) end
end

-- Writes strings; nothing stays queued.
function wire:flush(...)
  local pending, message = self.socket:flush_nb(...)
  if not pending then self:lose(message) end
  if pending > 0 then self:drain(0) end
end

-- Before input is waited for: what is queued may be what the client waits for, and so may be a 100 (Continue).
-- Returns whether something is still queued.
local function flush_before_reading(self)
  local continue = ""
  if self.expects and self.request._state == "start" then
    self.expects = false
    continue = "HTTP/1.1 100 Continue\r\n\r\n"
  end
  local pending, message = self.socket:flush_nb(continue)
  if not pending then self:lose(message) end
  return pending > 0
end

-- Calls a method of the input (read, part, discard), waiting where it blocks. Returns what it returns, nil at the end of
-- the body.
function wire:get(method, most)
  local input, set = self.input, self.set
  local limit
  while true do
    local event, a, b, c = input[method](input, most)
    if event then return event, a, b, c end
    if a == "end" then
      self.unread = false
      return nil
    elseif a == "refused" then
      self:fail(c, b)
    elseif a == "failed" then
      self:lose(c)
    end
    limit = limit or wire.after(self.options.stall_timeout)
    local queued = flush_before_reading(self)
    self:wait_for_client(set, queued and set or nil, limit, "sent")
  end
end

return wire
