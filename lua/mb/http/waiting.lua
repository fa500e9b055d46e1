-- Waits for the client between two requests. Adds methods to the connection of mb.http.wire; those of mb.http.blocked,
-- for a wait in the middle of a request, are apart, as most connections never need them.

local after = require "mb.http.wire".after

local FOREVER = after(false)

local waiting = {}

local poll -- loaded when something but the next head is waited for

-- Waits until one of the sets is ready. Returns false at the deadline.
function waiting.wait(_, inputs, outputs, deadline)
  poll = poll or require "moonbridge_io".poll
  while true do
    local left = deadline < FOREVER and deadline - after(0) or nil
    if left and left <= 0 then return false end
    local ready, message = poll(inputs, outputs, left)
    if ready then return true end
    if ready == nil then error("http: poll: " .. message, 0) end
  end
end

-- Interprets what the input says when it has no head yet. Returns whether the head has begun; or nil when the client
-- has ended its output.
function waiting:head_state(state, detail, reason, is_proxy_header)
  if state == "refused" then
    self:fail(reason, detail, false, is_proxy_header and ": a PROXY protocol header that was not expected "
      .. "(proxy_protocol = true in listen{}, or --proxy-protocol)")
  elseif state == "failed" then
    self:lose(reason)
  elseif state == "tls" then
    local client = self.socket.remote_addr
    require "mb.http.core".log("info", "http: the input looks like TLS, which is not spoken here" ..
      (client and (" (client %s)"):format(client) or ""))
    return nil
  elseif state == "end" then
    if detail then self:fail("the request head ended early", 400) end
    return nil
  end
  return detail
end

-- Waits for a request head, after the input has said that there is none yet. first: it is that of the first request.
-- Returns the results of the input's head method; or nil and why no other request comes: "ended" (the client has ended
-- its output) or "silent" (its time is over).
function waiting:await_head(first, state, detail, reason, is_proxy_header)
  local limit = after(self.options.idle_timeout)
  local begun = self:head_state(state, detail, reason, is_proxy_header)
  while begun == false do
    if not self.input:await(limit - after(0), first) then return nil, "silent" end
    local method, path, query, minor, keepalive, has_body, expects = self.input:head(true)
    if method then return method, path, query, minor, keepalive, has_body, expects end
    begun = self:head_state(path, query, minor, keepalive)
  end
  if begun then return self:await_rest() end
  return nil, "ended"
end

return waiting
