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

-- The position of the port in the arguments of the methods that take one.
local port_at = {sendto = 4, setpeername = 3, setsockname = 3}

-- Makes the methods of both classes take ports as our TCP objects do.
local function take_ports()
  local port, classes = require "mb.luasocket.udp.port", debug.getregistry()
  for _, class in ipairs {"udp{connected}", "udp{unconnected}"} do
    local methods = classes[class].__index
    for name, at in pairs(port_at) do
      if methods[name] then methods[name] = port(methods[name], at) end
    end
  end
end

local core, message = load_core()
if core then
  take_ports()
  return {udp = core.udp, udp4 = core.udp4, udp6 = core.udp6}
end

local function missing(name)
  return function() error("socket." .. name .. " is LuaSocket's own, and " .. message, 2) end
end
return {udp = missing("udp"), udp4 = missing("udp4"), udp6 = missing("udp6")}
