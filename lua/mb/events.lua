-- mb.events: server-sent events (HTML Standard, section 9.2), a response that goes on as things happen. See
-- mb.events(3).

local events = {}
events.__index = events

local clock, core = require "moonbridge_io".timeref, require "mb.http.core"

-- A comment after so many seconds without an event: proxies end a connection on which nothing comes for a minute.
local HEARTBEAT_SECONDS = 15

local function is_seconds(value) return value == false or type(value) == "number" and value > 0 end

-- events.open(request[, options]): begins the response, and returns the stream of events. options:
-- retry      milliseconds after which the client comes again when the connection has ended
-- heartbeat  seconds without an event after which stream:wait sends a comment; false: none
function events.open(request, options)
  if type(request) ~= "table" or not request._response then
    require "mb.reply.check".request(request, "events.open", 3)
  end
  if options ~= nil and type(options) ~= "table" then
    error("events.open: expected a table of options, got " .. type(options), 2)
  end
  local retry, heartbeat = nil, HEARTBEAT_SECONDS
  for name, value in pairs(options or {}) do
    if name == "retry" then
      retry = math.type(value) == "integer" and value >= 0 and value
        or error("events.open: retry: expected a number of milliseconds, an integer", 2)
    elseif name == "heartbeat" then
      if not is_seconds(value) then error("events.open: heartbeat: expected a number of seconds, or false", 2) end
      heartbeat = value
    else
      error(("events.open: there is no option %s: expected heartbeat, retry"):format(tostring(name)), 2)
    end
  end
  request:send_status(200)
  request:send_header("Content-Type", "text/event-stream")
  request:send_header("Cache-Control", "no-store")
  request:send_header("X-Accel-Buffering", "no") -- nginx passes each event on at once
  request:finish_headers()
  if retry then request:send_data("retry: ", retry, "\n\n") end
  request:flush()
  core.lift(request._wire.input)
  request._wire.deadline = false -- stall_timeout stays
  return setmetatable({
    request = request,
    socket = request.socket,
    last_id = request.headers_value["Last-Event-ID"], -- of a client that comes again; or nil
    heartbeat = heartbeat,
    sent = clock(),
    over = request.method == "HEAD", -- nothing more can be sent
  }, events)
end

local function put(self, text)
  self.sent = clock()
  self.request:send_data(text)
  self.request:flush()
end

-- Returns a field of one line.
local function line(name, value)
  if value == nil then return "" end
  if type(value) ~= "string" and type(value) ~= "number" then
    error(("send: %s: expected a string, got %s"):format(name, type(value)), 3)
  end
  value = tostring(value)
  if value:find("[\r\n%z]") then error(("send: %s has the end of a line, or a NUL, in it"):format(name), 3) end
  return ("%s: %s\n"):format(name, value)
end

-- stream:send(event): sends an event, a table with data, event (its type), id and retry, or its data as a string. data
-- may have several lines. A client that has gone ends the request, as with request:send_data.
function events:send(event)
  if type(event) == "string" then event = {data = event} end
  if type(event) ~= "table" then error("send: expected a table or a string, got " .. type(event), 2) end
  for name in pairs(event) do
    if name ~= "data" and name ~= "event" and name ~= "id" and name ~= "retry" then
      error(("send: there is no field %s: expected data, event, id, retry"):format(tostring(name)), 2)
    end
  end
  if event.retry ~= nil and math.type(event.retry) ~= "integer" then
    error("send: retry: expected a number of milliseconds, an integer", 2)
  end
  local data = event.data
  if data ~= nil and type(data) ~= "string" and type(data) ~= "number" then
    error("send: data: expected a string, got " .. type(data), 2)
  end
  local text = line("event", event.event) .. line("id", event.id) .. line("retry", event.retry)
  if data ~= nil then
    text = text .. "data: " .. tostring(data):gsub("\r\n?", "\n"):gsub("\n", "\ndata: ") .. "\n"
  end
  put(self, text .. "\n")
end

-- stream:comment([text]): sends a line that a client drops, so that the connection is not taken for dead.
function events:comment(text)
  text = tostring(text or ""):gsub("\r\n?", "\n"):gsub("\n", "\n: ")
  put(self, ": " .. text .. "\n\n")
end

-- Returns whether the stream has to end; waits at most so many seconds for that.
local function ends(self, seconds) return core.ends(self.socket, seconds) end

-- stream:is_open(): returns whether the client is still there, and the process may go on.
function events:is_open() return not self.over and not ends(self, 0) end

-- stream:wait(seconds): waits; sends heartbeats meanwhile. Returns true after so many seconds; false as soon as the
-- client has gone, or the process is to end, and for a HEAD.
function events:wait(seconds)
  if type(seconds) ~= "number" or seconds < 0 then error("wait: expected a number of seconds", 2) end
  local limit = clock() + seconds
  if self.over then return false end
  while true do
    local now = clock()
    local due = self.heartbeat and self.sent + self.heartbeat or math.huge
    if now >= due then
      self:comment()
    else
      if ends(self, math.max(0, math.min(limit, due) - now)) then return false end
      if clock() >= limit then return true end
    end
  end
end

return events
