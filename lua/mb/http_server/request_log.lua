-- The request log (--access-log) of mb.http_server. Loaded only when there is one: it puts itself before methods of the
-- connection.

local core = require "mb.http.core"
local connection = require "mb.http_server.connection"

-- Returns the bytes of body that were to be sent; false for all that goes out behind the head of a 101.
local function sent_of(request)
  if rawget(request, "_log_status") == 101 then return false end
  return request._bodyless and 0 or request._sent
end

-- The head of a response is sent by one call, and before anything else but interim responses.
local function note_head(self, request, ...)
  local status = tonumber(((...) or ""):match("^HTTP/1%.%d (%d%d%d) "))
  if not status or status < 200 and status ~= 101 then return end
  request._log_status = status
  local size = 0
  for i = 1, select("#", ...) do size = size + #select(i, ...) end
  core.log_head(self.input, status, size)
end

local send = connection.send

function connection:send(timeout, ...)
  local request = self.request
  if not request then return send(self, timeout, ...) end
  if not rawget(request, "_log_status") then note_head(self, request, ...) end
  local done, message, number = send(self, timeout, ...)
  if request._ended then core.log_request(self.input, sent_of(request)) end
  return done, message, number
end

local end_stream = connection.end_stream

-- Also for a response that the script has not ended, or has sent by itself.
function connection:end_stream(request)
  local goes_on = end_stream(self, request)
  core.log_request(self.input, sent_of(request))
  return goes_on
end
