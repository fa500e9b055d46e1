-- echo.lua: sends every line back, until the client closes (RFC 862, a line at a time).
-- Try it: mb-handle echo.lua, type a few lines, end with Ctrl-D.

local IDLE_SECONDS = 60   -- a client that says nothing for so long has gone away or holds us up
local LINE_BYTES = 65536  -- what one client can make us hold; longer lines come back in pieces
-- Where mb-local@echo.socket listens: a user's own manager (systemctl --user) has a directory of its own for that.
local RUN = os.getenv("XDG_RUNTIME_DIR") or "/run"

listen{
  {proto = "tcp", port = 7},                        -- the port of RFC 862
  {proto = "tcp", port = 7007},                     -- one that needs no privilege
  {proto = "local", path = RUN .. "/mb/echo.sock"}, -- a Unix socket

  sandbox = "strict", -- the handler needs nothing but the connection: no file, no program, no network

  connect = function(socket)
    repeat
      timeout(IDLE_SECONDS)                      -- starts anew with every line
      -- What came, with its "\n", and how it ended: "term" (that "\n"), "maxlen" or "eof".
      local line, status = socket:read(LINE_BYTES, "\n")
      -- nil is a failure: the client has reset the connection, say. There is nobody to answer to.
      if not line then return end
      -- No flush: before the next read waits for the client, it sends what is pending.
      if not socket:write(line) then return end
    until status == "eof"
    -- Returning closes the connection, after all output was sent.
  end
}
