-- close, finish, reset: their results, and that a socket that is at its end says which end it is.
local function fails(message, ...)
  local ok, got = pcall(...)
  assert(not ok and got:find(message, 1, true), got)
end

return function(socket)
  assert(socket:read(1) == "i")
  socket:write("all of it\n")
  assert(socket:finish() == true)
  fails("finished", socket.finish, socket)
  fails("finished", socket.write, socket, "x")
  fails("finished", socket.flush_nb, socket, "x")
  fails("finished", socket.write_yield, socket, "x")
  assert(socket:read() == "nput\n")
  assert(select(2, socket:read(1)) == "eof")
  assert(socket:close() == true)
  for _, method in ipairs { "close", "finish", "reset" } do fails("closed", socket[method], socket) end
  for _, method in ipairs { "read", "read_nb", "read_yield", "drain", "drain_nb", "drain_yield" } do
    fails("closed", socket[method], socket)
  end
  for _, method in ipairs { "write", "write_nb", "write_yield", "flush", "flush_nb", "flush_yield" } do
    fails("closed", socket[method], socket, "x")
  end
  for _, method in ipairs { "read_call", "drain_call", "write_call", "flush_call" } do
    fails("closed", socket[method], socket, print, "x")
  end
  assert(tostring(socket):find("closed"), tostring(socket))
  fails("socket expected", socket.read, io.stdout)
  fails("socket expected", socket.read)
end
