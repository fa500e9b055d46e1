-- request:send_file: sends a file, or a part of it, as response body. Its bytes do not pass through Lua.

local core = require "mb.http.core"

local methods = {}

local EINVAL = 22

-- Opens the file if the source is a path. Returns the file, nil, nil, and true if it was opened here; or nil, message,
-- errno.
local function open(source)
  if type(source) == "string" then
    local file, message, number = core.open_file(source)
    return file, message, number, true
  end
  local kind = io.type(source)
  if kind ~= "file" then
    error("send_file: expected a path or an open file, got " .. (kind or type(source)), 3)
  end
  return source
end

local function position(value, default, what)
  if value == nil then return default end
  local number = math.type(value) and math.tointeger(value)
  if not number then error("send_file: " .. what .. " has to be an integer, the position of a byte", 3) end
  return number
end

-- Notes that nothing was sent: a script that does not check the result answers without a body, and the log has to say
-- why. Returns nil, message, errno.
local function failed(request, message, number)
  request._file_failed = message
  return nil, message, number
end

-- Sends the bytes as they are, and waits for the client.
local function transfer(wire, file, offset, left)
  if left == 0 then return end
  wire:push(function()
    local moved = false
    while left > 0 do
      local sent, message = core.send_file(wire.socket, file, offset, left)
      if sent == nil then wire:lose(message) end
      if not sent then
        wire.request._file_failed = message -- for a caller that catches the error
        error("send_file: the file cannot be sent to its end: " .. message, 0)
      end
      if sent == 0 then return false, moved end
      moved, offset, left = true, offset + sent, left - sent
    end
    return true, true
  end)
end

-- request:send_file(path_or_file[, first[, last]]): first and last are positions of bytes, from 0, as in Range and
-- Content-Range. Sets Content-Length, unless the script has sent it, or a part of the body, before.
-- Returns true; or nil, message, errno when the file cannot be read or has no such bytes: then nothing was sent.
function methods.send_file(self, source, first, last)
  if type(self) ~= "table" then error("send_file: expected a request; call it as request:send_file(...)", 2) end
  self:_check_file()
  first, last = position(first, 0, "first"), position(last, false, "last")
  local file, message, number, opened = open(source)
  if not file then return failed(self, message, number) end
  local size
  size, message, number = core.file_size(file)
  if size then
    last = last or size - 1
    if first < 0 or last >= size or (first > last and (size > 0 or first > 0)) then
      size, number = nil, EINVAL
      message = ("bytes %d to %d: not within the file"):format(first, last)
    end
  end
  if size then
    local count = last - first + 1
    if self:_begin_file(count) then
      transfer(self._wire, file, first, count)
      self:_end_file()
    end
  end
  if opened then file:close() end
  if not size then return failed(self, opened and source .. ": " .. message or message, number) end
  self._file_failed = nil
  return true
end

return {methods = methods}
