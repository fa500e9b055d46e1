-- fiber.channel(capacity): a queue of messages between fibers.

local waiting = require "mb.tarantool.waiting"

local channel = {}
channel.__index = channel

function channel.new(capacity)
  if capacity ~= nil and (type(capacity) ~= "number" or capacity < 0) then
    error("usage: fiber.channel([capacity]), a number", 2)
  end
  return setmetatable({
    capacity = capacity or 0, closed = false,
    messages = {}, first = 1, last = 0,
    readers = {}, writers = {},
  }, channel)
end

function channel:count() return self.last - self.first + 1 end
function channel:size() return self.capacity end
function channel:is_empty() return self:count() == 0 end
function channel:is_full() return self:count() >= self.capacity end
function channel:has_readers() return #self.readers > 0 end
function channel:has_writers() return #self.writers > 0 end
function channel:is_closed() return self.closed end

local function append(self, message)
  self.last = self.last + 1
  self.messages[self.last] = message
end

-- put(message, [timeout]): returns whether the message was taken, or queued; false at the timeout, or when the channel
-- is closed.
function channel:put(...)
  if select("#", ...) == 0 then error("usage: channel:put(message [, timeout])", 2) end
  local message, timeout = ...
  local deadline = waiting.deadline(timeout)
  if self.closed then return false end
  local reader = waiting.wake(self.readers)
  if reader then
    reader.value = message
    return true
  end
  if not self:is_full() then
    append(self, message)
    return true
  end
  return waiting.park(self.writers, deadline, message).taken == true
end

-- get([timeout]): returns a message; nil at the timeout, or when the channel is closed and empty.
function channel:get(timeout)
  local deadline = waiting.deadline(timeout)
  local message
  if not self:is_empty() then
    message, self.messages[self.first] = self.messages[self.first], nil
    self.first = self.first + 1
    local writer = waiting.wake(self.writers)
    if writer then
      writer.taken = true
      append(self, writer.value)
    end
    return message
  end
  local writer = waiting.wake(self.writers)
  if writer then
    writer.taken = true
    return writer.value
  end
  if self.closed then return nil end
  return waiting.park(self.readers, deadline).value
end

-- close(): ends the waits. Messages that nobody has taken can still be got, as in Tarantool 3.
function channel:close()
  self.closed = true
  while waiting.wake(self.readers) do end
  while waiting.wake(self.writers) do end
end

return channel
