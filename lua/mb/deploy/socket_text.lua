-- The text of the socket unit: units/mb@.socket, or mb-pool@.socket, with the addresses and limits of a script.

local addresses = require "mb.deploy.addresses"
local limits = require "mb.deploy.limits"
local pool_text = require "mb.deploy.pool_text"
local quote = require "mb.deploy.quote"
local service_text = require "mb.deploy.service_text"

local REOPENING = [[
# When the trigger limit below has closed it, this opens it again. Nothing else does.
OnFailure=mb-reopen@%N.service
PropagatesStopTo=mb-reopen@%N.service
# The default gives up after 5 starts in 10 s.
StartLimitIntervalSec=0
]]

local BRAKES = [[

# The brakes. A manager starts some 100 to 250 services a second. While more connections come than that,
# it only takes or refuses them, and starts no unit at all. See limits.txt.
%s
# When more come within a second, the socket closes; mb-reopen@.service opens it after a moment.
TriggerLimitIntervalSec=1s
TriggerLimitBurst=%d
]]

local TCP_OPTIONS = [[

# The handler's writes are buffered until it flushes: waiting to fill a segment gains nothing.
NoDelay=yes
]]

local BACKLOG_OF_TCP = "# Clients beyond the first of a burst wait in the kernel, and try again after 1 s.\nBacklog=64"
local BACKLOG_OF_BOTH = [[
# TCP clients beyond the first of a burst wait in the kernel, and try again after 1 s. A client of the Unix
# socket that finds no room is told so at once: if many come there, give it a script of its own.
Backlog=64]]
local BACKLOG_OF_LOCAL = "# A local client that finds no room is told so at once: there is room for all.\nBacklog=1024"

local LOCAL = [[

# Every local user may connect, as on a loopback port. SocketMode= and SocketGroup= narrow it.
SocketMode=0666
]]

local LOCAL_PROXIED = [[

# Whoever may connect may say any address, by the PROXY protocol: let only the proxy connect, by SocketGroup=.
SocketMode=0660
]]

local REMOVE = [[
# Without it the file outlives the listener, and clients see "connection refused" for "not there".
RemoveOnStop=yes
]]

-- Returns whether one of the addresses is for IPv6 alone, but would take IPv4 connections as well.
local function has_ip6_only(list)
  for _, a in ipairs(list) do
    if a.family == "ip6" and a.host == "::" then return true end
  end
  return false
end

-- Returns the values of ListenStream= for an address. systemd has the scope behind the port.
local function streams(a, split)
  if a.family == "local" then return {quote.specifiers(a.path)} end
  if a.family == "ip4" then return {a.host .. ":" .. a.port} end
  if a.family == "ip6" then
    local host, scope = addresses.split_scope(a.host)
    return {"[" .. host .. "]:" .. a.port .. (scope and quote.specifiers("%" .. scope) or "")}
  end
  if split then return {"0.0.0.0:" .. a.port, "[::]:" .. a.port} end
  return {tostring(a.port)}
end

-- Returns whether the machine may lack the address: early in the boot, when sockets are made, or always.
local function may_be_missing(a)
  if a.family == "both" or a.family == "local" then return false end
  if a.host == "::1" then return a.listener.host == "localhost" end
  return a.host ~= "0.0.0.0" and a.host ~= "::" and not a.host:find("^127%.")
end

local function has_interface_name(a)
  local _, scope = addresses.split_scope(a.host or "")
  return scope ~= nil and scope:find("%D") ~= nil
end

local function any(list, is)
  for _, a in ipairs(list) do
    if is(a) then return true end
  end
  return false
end

local function listen_text(list, accept)
  local lines, split = {}, has_ip6_only(list)
  for _, a in ipairs(list) do
    for _, stream in ipairs(streams(a, split)) do lines[#lines + 1] = "ListenStream=" .. stream .. "\n" end
  end
  if not split and any(list, function(a) return a.family == "both" end) then
    lines[#lines + 1] = "# A port is for IPv4 and IPv6, whatever net.ipv6.bindv6only says.\nBindIPv6Only=both\n"
  end
  if split then
    lines[#lines + 1] = "# A tcp6 listener takes no IPv4. This holds for all lines: IPv4 has lines of its own.\n"
      .. "BindIPv6Only=ipv6-only\n"
  end
  if any(list, may_be_missing) then
    lines[#lines + 1] = "# An address that the machine does not have, or not yet when it boots, fails no other.\n"
      .. "FreeBind=yes\n"
  end
  if any(list, has_interface_name) then
    lines[#lines + 1] = "# An address is left out if its interface is not there when systemd reads this file: then\n"
      .. "# \"systemctl daemon-reload\", and restart the socket. A number in place of the name is always taken.\n"
  end
  lines[#lines + 1] = "Accept=" .. accept .. "\n"
  return table.concat(lines)
end

local function is_local(a) return a.family == "local" end

local function limits_text(plan, list)
  local total, counted = limits.total(plan)
  local lines = {
    "# Each connection is a process and a unit. At the limit a client is turned away, the socket stays.\n",
    counted and "# The script's max_fork, or the sum of those of its listen{} calls.\n" or "",
    "MaxConnections=", total, "\n",
  }
  if any(list, function(a) return limits.has_sources(plan, a.listener) end) then
    local users = "# On the Unix socket, newer versions count users: a web server in front is one.\n"
    lines[#lines + 1] = "# One address may not take all of them. Behind a proxy on one address, raise it to "
      .. "MaxConnections.\n"
      .. (any(list, is_local) and users or "")
      .. "MaxConnectionsPerSource=" .. limits.per_source(total) .. "\n"
  else
    lines[#lines + 1] = "# No limit for one source: it is this machine, or a proxy, with the connections of many.\n"
  end
  return table.concat(lines)
end

-- Returns the unit's text; nil when the script has no listener that takes connections.
return function(plan, unit)
  local list = addresses.of(plan.listeners)
  if #list == 0 then return nil end
  local has_tcp = any(list, function(a) return not is_local(a) end)
  local has_local = any(list, is_local)
  local backlog = not has_tcp and BACKLOG_OF_LOCAL or has_local and BACKLOG_OF_BOTH or BACKLOG_OF_TCP
  local text = {
    service_text.head(plan, unit, "connections"),
    REOPENING,
    "\n[Socket]\n",
    listen_text(list, plan.pool and "no" or "yes"),
    plan.pool and pool_text.BACKLOG
      or BRAKES:format(backlog, has_tcp and 500 or 200) .. limits_text(plan, list),
  }
  -- With a Unix socket beside them, the manager would log for each of its connections that it cannot set TCP options.
  if has_tcp and not has_local then text[#text + 1] = TCP_OPTIONS end
  local is_proxied = any(list, function(a) return is_local(a) and limits.is_proxied(plan, a.listener) end)
  if has_local then text[#text + 1] = is_proxied and LOCAL_PROXIED or LOCAL end
  if any(list, function(a) return is_local(a) and a.path:find("^/") ~= nil end) then text[#text + 1] = REMOVE end
  text[#text + 1] = "\n[Install]\nWantedBy=sockets.target\n"
  return table.concat(text)
end
