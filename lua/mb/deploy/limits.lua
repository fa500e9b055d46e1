-- The limits of connections at a time: of all of them, and of those from one address.

local addresses = require "mb.deploy.addresses"

local limits = {}

-- The same as in mb@.socket.
limits.DEFAULT = 1024
local MOST = 2147483647

-- Returns whether the listener's connections begin with the header of a proxy.
function limits.is_proxied(plan, listener)
  if listener.proxy_protocol then return true end
  for _, option in ipairs(plan.options) do
    if option[1] == "proxy-protocol" then return true end
  end
  return false
end

-- Returns whether one source is one client. Behind a proxy, and on a Unix socket or a loopback address, one source
-- stands for many clients.
function limits.has_sources(plan, listener)
  return not limits.is_proxied(plan, listener) and not addresses.is_private(listener)
end

-- A browser opens 6 connections. If only few are allowed, one source may have 8: more than a fair share, but not all.
local FEW = 8

-- Returns the limit for one source: less than all, unless there is only one.
function limits.per_source(total)
  return math.max(1, total // 4, math.min(FEW, total - 1))
end

-- Returns the sum of the max_fork of all listen{} calls that take connections, and true; or the default and false, if
-- one of the calls has none.
function limits.total(plan)
  local sum, counted = 0, {}
  for _, listener in ipairs(plan.listeners) do
    if addresses.is_connection(listener) and not counted[listener.service] then
      counted[listener.service] = true
      if not listener.max_fork then return limits.DEFAULT, false end
      sum = math.min(sum + listener.max_fork, MOST)
    end
  end
  return sum, true
end

return limits
