-- The addresses at which something has to listen for a script, from its tcp and local listeners.

local core = require "mb.deploy.core"
local quote = require "mb.deploy.quote"
local refuse = require "mb.deploy.refuse"

local addresses = {}

local ANY = {ip4 = "0.0.0.0", ip6 = "::"}

-- Both loopback addresses: a client that looks "localhost" up may use either.
local LOCALHOST =
  {{family = "ip4", host = "127.0.0.1", place = "127.0.0.1"}, {family = "ip6", host = "::1", place = "::1"}}

function addresses.is_connection(listener)
  return listener.proto == "local" or listener.proto:find("^tcp") ~= nil
end

-- Returns whether only this machine can connect to a listener.
function addresses.is_private(listener)
  if listener.proto == "local" or listener.host == "localhost" then return true end
  local host = core.address(listener.host)
  return host == "::1" or (host and host:find("^127%.")) ~= nil
end

-- Returns an address without its scope, and the scope, or nil when it has no scope.
function addresses.split_scope(host)
  local address, scope = host:match("^(.-)%%(.*)$")
  return address or host, scope
end

local function of_local(listener, number)
  local path = listener.path
  if not path:find("^[/@]") then
    refuse("listener %d: the path %s is relative, and whoever listens has no working directory of yours: write an "
      .. "absolute one, /run/%s say, or @NAME for an abstract socket", number, quote.show(path), path:match("[^/]*$"))
  end
  if not quote.is_line(path) or path:find("[ \\]$") then
    refuse("listener %d: the path %s cannot stand in a unit file: it has control characters, is no UTF-8, or ends "
      .. "with a space or a backslash", number, quote.show(path))
  end
  -- The program that listens removes a file that is there.
  local kind = path:find("^/") and core.kind(path)
  if kind and kind ~= "socket" then
    refuse("listener %d: %s is there and is no socket: whoever listens would remove it; choose another path", number,
      quote.show(path))
  end
  return {{family = "local", path = path}}
end

local function of_tcp(listener, number)
  local host = listener.host
  if listener.proto == "tcp" and host == "::" then return {{family = "both"}} end
  if host == "localhost" then return LOCALHOST end
  local usual, family, lacks_scope, interface = core.address(host)
  if not usual then
    refuse("listener %d: the host %s is a name, and whoever listens takes addresses only: write host=\"ADDRESS\", or "
      .. "leave the host out for all addresses", number, quote.show(host))
  end
  if lacks_scope then
    refuse("listener %d: the host %s is link-local, and nobody can listen there without the interface: write "
      .. "host=\"%s%%INTERFACE\"", number, quote.show(host), usual)
  end
  local address, scope = addresses.split_scope(usual)
  if scope and not scope:find("^[%w_.-]+$") then
    refuse("listener %d: the name of the interface in %s cannot stand in these files: it has more than letters, "
      .. "digits, \"_\", \".\" and \"-\"; write its number", number, quote.show(host))
  end
  if listener.proto == "tcp" and usual == "::" then return {{family = "both"}} end
  return {{family = family, host = usual, place = interface and ("%s%%%d"):format(address, interface) or usual}}
end

-- Returns whether a takes all connections that b would take: then nobody can listen at both.
local function covers(a, b)
  if a.family == "local" or b.family == "local" then return a.path == b.path and a.path ~= nil end
  if a.port ~= b.port then return false end
  if a.family == "both" then return true end
  return a.family == b.family and (a.place == b.place or a.host == ANY[a.family])
end

local function is_covered(found, index)
  for i, other in ipairs(found) do
    -- The first of two equal addresses stays.
    local is_same = covers(found[index], other)
    if i ~= index and covers(other, found[index]) and (i < index or not is_same) then return true end
  end
  return false
end

-- Returns the addresses in the order of the listeners, each of them once: {family =, host =, place =, port =, path =,
-- listener =, number =}. "family" is "ip4", "ip6", "both" (all addresses) or "local". "place" is the same for two
-- spellings of one address: an interface that is here stands in it by its number.
function addresses.of(listeners)
  local found = {}
  for number, listener in ipairs(listeners) do
    if addresses.is_connection(listener) then
      local list = (listener.proto == "local" and of_local or of_tcp)(listener, number)
      for _, a in ipairs(list) do
        found[#found + 1] = {family = a.family, host = a.host, place = a.place, path = a.path, port = listener.port,
          listener = listener, number = number}
      end
    end
  end
  local kept = {}
  for i, a in ipairs(found) do
    if not is_covered(found, i) then kept[#kept + 1] = a end
  end
  return kept
end

-- Refuses a script without a listener for which is_enough(listener) is true.
function addresses.check(listeners, is_enough)
  for _, listener in ipairs(listeners) do
    if is_enough(listener) then return end
  end
  refuse("the script does not say where to listen: call listen{{proto=\"tcp\", port=8080}, connect=...}, or "
    .. "{proto=\"local\", path=\"/run/NAME.sock\"}; or install it as PORT.lua in the handler directory, for "
    .. "mb@PORT.socket or mb-pool@PORT.socket")
end

return addresses
