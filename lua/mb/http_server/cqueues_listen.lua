-- With --style: a listener that the program makes with cqueues is one that the connection stands in for, like those of
-- http.server's listen. So it must never bind.

local style = require "mb.style"
local listening = require "mb.http_server.listen"

local addresses = setmetatable({}, {__mode = "k"})

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
    local theirs = library.pair("stream") -- cqueues binds at once, and would replace the file of a Unix socket
    local options = type(host) == "table" and host or {host = host, port = port}
    addresses[theirs] = {host = options.host, path = options.path, port = listening.port_of(options.port)}
    return theirs
  end

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

-- Returns where a socket of cqueues was to listen; nil for any other.
local function address_of(theirs) return addresses[theirs] end

return {load = load, address_of = address_of}
