-- The methods of a server that listens, or serves several connections in turns.

local core = require "mb.http.core"
local timeref = require "moonbridge_io".timeref

local scheduled = {}

-- The wait after an accept has failed, for lack of descriptors, say.
local RETRY_SECONDS = 1

-- ---- the tasks ----

local function serve(self, c)
  c:serve()
  self:forget(c)
  if self.accepting then self.scheduler:wake(self.accepting) end
end

-- The listener's task: accepts while it may, and otherwise waits until somebody wakes it.
local function accept(self)
  local scheduler = self.scheduler
  while self.socket do
    if self.paused or self.n_connections >= self.max_concurrent then
      scheduler:wait(nil, nil, nil)
    else
      local socket, message, number = self.socket:accept_nb()
      if socket then
        self:add_socket(socket)
        self:_spawn()
      elseif socket == false then
        scheduler:wait(self.socket, "r", nil)
      else
        if self.onerror_ then
          local good, err = core.try(self.onerror_, self, self.socket, "accept", message, number)
          if not good then
            self.accepting = false -- a later step has to start this task anew
            core.throw_on(err)
          end
        else
          core.log("warning", "http_server: accept: " .. message)
        end
        scheduler:wait(nil, nil, timeref() + RETRY_SECONDS)
      end
    end
  end
  self.accepting = false
end

-- Makes a task of each pending connection, and of the listener. The first call makes the scheduler.
function scheduled:_spawn()
  local scheduler = self.scheduler
  if not scheduler then
    scheduler = require "mb.scheduler".new()
    self.scheduler = scheduler
    self.wait = function(socket, events, deadline) return scheduler:wait(socket, events, deadline) end
  end
  for i, c in ipairs(self.pending) do
    self.pending[i] = nil
    scheduler:spawn(serve, self, c)
  end
  if self.socket and not self.accepting then self.accepting = scheduler:spawn(accept, self) end
  return scheduler
end

-- ---- the listener ----

-- server:listen(timeout)
function scheduled:listen()
  if not self.address or self.ending then return true end
  return require "mb.http_server.listen".open(self)
end

-- server:localname()
function scheduled:localname()
  if self.address then
    local good, message, number = self:listen()
    if not good then return nil, message, number end
  end
  if self.name then return table.unpack(self.name, 1, 3) end
  local l = self.socket
  if not l then return 0 end
  local port = l.local_tcpport
  if port then return l.local_ip4 and 2 or 10, l.local_addr, port end
  return 1, l.local_addr, nil
end

-- server:pause(), server:resume()
function scheduled:pause()
  self.paused = true
  return true
end

function scheduled:resume()
  self.paused = false
  if self.accepting then self.scheduler:wake(self.accepting) end
  return true
end

-- server:close(): accepts no more. The requests that are being served still get their responses.
function scheduled:close()
  self.ending, self.address = true, false
  if self.accepting then self.scheduler:wake(self.accepting) end
  if self.socket then self.socket:close() end
  if self.original then self.original:close() end
  self.socket, self.original = false, false
  return true
end

-- ---- the loop ----

-- Returns whether nothing is left to do: there is no connection, and none can come.
local function is_done(self)
  return self.n_connections == 0 and (self.paused or self.ending or not (self.socket or self.style))
end

-- With --style: takes the connection; in a pool, waits for another one when it is over. Returns whether none has come,
-- so that step or loop has to return. When none can come, that is so once: after that, or when the program would wait
-- for another connection for ever, ends the program.
local function take(self, timeout)
  local style = require "mb.style"
  local accepting = not (self.paused or self.ending)
  if accepting and style.pending() then
    self:add_socket(style.take())
    return false
  end
  if self.n_connections > 0 or style.pending() and not self.ending then return false end
  if accepting and style.source() and not self.in_loop then
    if style.next(timeout) then
      self:add_socket(style.take())
      return false
    end
    if style.source() then return true end -- the time is over
  end
  if accepting and not timeout then style.finish() end
  style.turn(self)
  return true
end

-- With --style: ends the program after its connection, if it would wait for another one for ever.
local function end_style(self)
  if not (self.paused or self.ending) then take(self, nil) end
end

local function step(self, timeout)
  self:_spawn():step(timeout and (timeout > 0 and timeref() + timeout or 0) or nil)
end

-- server:step(timeout)
function scheduled:step(timeout)
  local good, message, number = self:listen()
  if not good then return nil, message, number end
  if not (self.style and take(self, timeout)) then step(self, timeout) end
  return true
end

function scheduled:_loop(timeout)
  local good, message, number = self:listen()
  if not good then return nil, message, number end
  if self.style and not timeout then
    take(self, nil)
    self:serve_alone(end_style)
  end
  local deadline = timeout and timeref() + timeout
  local function left() return deadline and deadline - timeref() end
  repeat
    if self.style and take(self, timeout and math.max(0, left())) or is_done(self) then break end
    if timeout and left() < 0 then break end
    step(self, left())
  until false
  return true
end

-- server:empty()
function scheduled:empty()
  return self.n_connections == 0 and not self.socket and not self.address and (self.ending or not self.style)
end

-- ---- for somebody else's loop ----

-- server:pollfd(), server:events(), server:timeout()
function scheduled:pollfd()
  self.in_loop = true -- which cannot wait for another connection of a pool
  self:listen()
  return self:_spawn():pollfd()
end

function scheduled:events() return self:_spawn():events() end

function scheduled:timeout()
  self.in_loop = true
  if not self:listen() then return 0 end
  local accepting = self.style and not (self.paused or self.ending)
  if accepting and self.n_connections == 0 then return 0 end -- to take the connection, or to end
  return self:_spawn():timeout()
end

return scheduled
