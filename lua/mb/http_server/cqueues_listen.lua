-- With --style: a listener that the program makes with cqueues is one that the connection stands in for, like those of
-- http.server's listen. So it must never bind. A program that inetd is to start takes its connection from descriptor 0:
-- the connection stands in for that, too.

local style = require "mb.style"
local listening = require "mb.http_server.listen"

local addresses = setmetatable({}, {__mode = "k"})
local connections = setmetatable({}, {__mode = "k"})

local function claim(theirs, address)
  local claimed, message = style.claims(address.path or address.host, address.port)
  if claimed then return theirs end
  error(message, 3) -- cqueues throws, too
end

-- load(name): loads cqueues.socket, and changes it.
local function load(name)
  package.preload[name] = nil
  local library = require(name)

  function library.listen(host, port)
    local options = type(host) == "table" and host or {host = host, port = port}
    local address = {host = options.host, path = options.path, port = listening.port_of(options.port)}
    if not address.path and not (address.host and address.port) then
      error("listen: expected a path, or a host and a port as a number from 0 to 65535", 2)
    end
    local theirs = library.pair("stream") -- cqueues binds at once, and would replace the file of a Unix socket
    addresses[theirs] = address
    return theirs
  end

  local function stand_in(open)
    return function(from, ...)
      local fd = type(from) == "table" and from.fd or from
      if (fd ~= 0 and fd ~= io.stdin and fd ~= style.fd()) or not style.pending() then return open(from, ...) end
      local theirs = library.pair("stream")
      connections[theirs] = true
      return theirs
    end
  end
  library.fdopen, library.dup = stand_in(library.fdopen), stand_in(library.dup)

  local bind, localname
  bind = library.interpose("listen", function(theirs, timeout)
    local address = addresses[theirs]
    if not address then return bind(theirs, timeout) end
    return claim(theirs, address)
  end)
  localname = library.interpose("localname", function(theirs)
    local address = addresses[theirs]
    if not address then return localname(theirs) end
    claim(theirs, address)
    return table.unpack(listening.pretended(style, address), 1, 3)
  end)
  return library
end

-- Returns the connection for which a socket of cqueues stands; nil for any other.
local function connection_of(theirs)
  if not connections[theirs] or not style.pending() then return nil end
  theirs:close()
  return style.take()
end

-- Returns where a socket of cqueues was to listen; nil for any other.
local function address_of(theirs) return addresses[theirs] end

return {load = load, address_of = address_of, connection_of = connection_of}
