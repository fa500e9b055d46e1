-- socket.udp, udp4 and udp6: LuaSocket's own, where it is installed. Its objects work with our select.

local path, tried = package.searchpath("socket.core", package.cpath)

-- Loads LuaSocket's core. Does not use require, for which "socket.core" may be ours.
local function load_core()
  if not path then
    return nil, "it is not found in package.cpath: install LuaSocket (Debian's package lua-socket)" .. tried
  end
  local open, message = package.loadlib(path, "luaopen_socket_core")
  if not open then return nil, message end
  return open()
end

local core, message = load_core()
if core then return {udp = core.udp, udp4 = core.udp4, udp6 = core.udp6} end

local function missing(name)
  return function() error("socket." .. name .. " is LuaSocket's own, and " .. message, 2) end
end
return {udp = missing("udp"), udp4 = missing("udp4"), udp6 = missing("udp6")}
