-- tarantool-echo.lua: sends every line back, until the client closes; a program for Tarantool, unchanged.
-- Try it: mb-handle --style=tarantool tarantool-echo.lua, type a few lines, end with Ctrl-D.
-- For inetd: 7007 stream tcp nowait.60000 mb-handle /usr/local/bin/mb-handle mb-handle --style=tarantool FILE
-- --sandbox=strict is not for it: all of a program runs in the sandbox, also the lines that open a socket.

local socket = require('socket')
local fiber = require('fiber')

local IDLE_SECONDS = 60   -- a client that says nothing for so long is not waited for
local LINE_BYTES = 65536  -- longer lines come back in pieces

local function echo(client)
  repeat
    local line = client:readline(LINE_BYTES, {"\n"}, IDLE_SECONDS)
    -- nil: nothing came in time, or the client has gone; "": it has closed.
  until not line or line == "" or not client:write(line, IDLE_SECONDS)
  client:close()
end

local listener = socket('AF_INET', 'SOCK_STREAM', 'tcp')
listener:setsockopt('SOL_SOCKET', 'SO_REUSEADDR', true)
listener:nonblock(true)
-- Here it succeeds without binding, if the connection came in on this port.
if not listener:bind('0.0.0.0', 7007) then error(listener:error()) end
listener:listen(128)

while listener:readable() do -- once; then, when that connection is done, the program ends
  local client = listener:accept()
  if client then
    client:nonblock(true)
    fiber.create(echo, client)
  end
end
