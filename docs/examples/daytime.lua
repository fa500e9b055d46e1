-- daytime.lua: tells the date and time, and closes (RFC 867). What the client sends is thrown away.
-- Try it: mb-handle daytime.lua < /dev/null

listen{
  {proto = "tcp", port = 13},    -- the port of RFC 867
  {proto = "tcp", port = 1313},  -- one that needs no privilege

  sandbox = "strict",            -- the handler needs nothing but the connection: no file, no program, no network

  connect = function(socket)
    timeout(5)                   -- seconds; the connection is closed within this limit too
    -- "!" is UTC. RFC 867 has no format but an example, "Tuesday, February 22, 1982 17:37:43-PST".
    socket:write(os.date("!%A, %B %d, %Y %H:%M:%S-UTC"), "\r\n")
    -- Returning sends what was written and closes. Where that fails, the client has gone.
  end
}
