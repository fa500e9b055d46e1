-- socket.source, socket.sink and the tables they choose from: LTN12 sources and sinks over a socket.

local socket = require("mb.luasocket")

local streams = {sourcet = {}, sinkt = {}}

-- Returns a table that can be called as a function, and that select can wait for as for the socket below.
local function selectable(sock, call)
  return setmetatable({
    getfd = function() return sock:getfd() end,
    dirty = function() return sock:dirty() end,
  }, {__call = function(_, ...) return call(...) end})
end

-- Returns a function f([name, ] a, b), which calls the function of this name in the table; without a name, the one
-- called "default".
function streams.choose(by_name)
  return function(name, a, b)
    if type(name) ~= "string" then
      name, a, b = "default", name, a
    end
    local chosen = by_name[name]
    if not chosen then error("unknown key (" .. name .. ")", 3) end
    return chosen(a, b)
  end
end

streams.sinkt["close-when-done"] = function(sock)
  return selectable(sock, function(chunk)
    if chunk then return sock:send(chunk) end
    sock:close()
    return 1
  end)
end

streams.sinkt["keep-open"] = function(sock)
  return selectable(sock, function(chunk)
    if chunk then return sock:send(chunk) end
    return 1
  end)
end

-- length  in bytes
streams.sourcet["by-length"] = function(sock, length)
  return selectable(sock, function()
    if length <= 0 then return nil end
    local chunk, message = sock:receive(math.min(socket.BLOCKSIZE, length))
    if not chunk then return nil, message end
    length = length - #chunk
    return chunk
  end)
end

streams.sourcet["until-closed"] = function(sock)
  local done = false
  return selectable(sock, function()
    if done then return nil end
    local chunk, message, rest = sock:receive(socket.BLOCKSIZE)
    if chunk then return chunk end
    if message ~= "closed" then return nil, message end
    done = true
    sock:close()
    return rest
  end)
end

streams.sinkt.default = streams.sinkt["keep-open"]
streams.sourcet.default = streams.sourcet["until-closed"]
streams.sink = streams.choose(streams.sinkt)
streams.source = streams.choose(streams.sourcet)

return streams
