-- What a script may decide of a response before its end: that its head, or what is buffered, goes out now, and that the
-- connection ends with it. Interim responses, too, which are heads that go out before the response's own.

local response = require "mb.http.response"

local enter, take_pending = response.enter, response.take_pending

local methods = {}

-- An interim response is its head; HTTP/1.0 knows none. The response itself is still to come.
local function end_interim(self)
  local head = self._head
  self._head, self._interim, self._state = false, false, "start"
  if self.version == "1.1" then
    head[#head + 1] = "\r\n"
    self._wire:flush(table.concat(head))
  end
end

-- request:finish_headers()
function methods.finish_headers(self)
  local wire = enter(self, "finish_headers")
  if self._interim then return end_interim(self) end
  self._state = "body"
  if self._head then wire:flush(take_pending(self)) end
end

-- request:flush()
function methods.flush(self)
  local wire = enter(self, "flush")
  if self._state == "body" then
    wire:flush(take_pending(self))
  else
    wire:flush()
  end
end

-- request:close_after_finish()
function methods.close_after_finish(self)
  enter(self, "close_after_finish")
  self.keepalive = false
end

return {methods = methods}
