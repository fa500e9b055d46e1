-- luasocket-echo.lua: sends every line back, as echo.lua does, with LuaSocket's methods: mb.luasocket(3).
-- Try it: mb-handle luasocket-echo.lua, type a few lines, end with Ctrl-D.

local luasocket = require("mb.luasocket")

local IDLE_SECONDS = 60  -- a client that says nothing for so long has gone away or holds us up

listen{
  {proto = "tcp", port = 7},                        -- the port of RFC 862
  {proto = "tcp", port = 7007},                     -- one that needs no privilege

  sandbox = "strict",               -- the handler needs nothing but the connection: no file, no program, no network
  memory_limit = 16 * 1024 * 1024,  -- bytes: receive() itself takes lines of any length

  connect = function(socket)
    local client = luasocket.wrap(socket)
    client:settimeout(IDLE_SECONDS)
    while true do
      -- The line without its "\r\n"; or nil, "closed" or "timeout", and what there was of a line.
      local line = client:receive("*l")
      if not line then break end
      -- LuaSocket does not buffer output: a line and its end go in one send.
      if not client:send(line .. "\n") then break end
    end
    client:close()
  end
}
