-- Wrong arguments of read and drain are Lua errors that name the argument; nothing is consumed.
return function(socket)
  local function fails(message, method, ...)
    local ok, got = pcall(load("local socket, a, b = ... return socket:" .. method .. "(a, b)"), socket, ...)
    assert(not ok and got:find(message, 1, true), method .. ": " .. tostring(got))
  end
  for _, method in ipairs { "read", "read_nb", "drain", "drain_nb" } do
    fails("#1", method, -1)
    fails("#1", method, "many")
    fails("#1", method, 1.5)
    fails("#1", method, {})
    fails("single character", method, nil, "")
    fails("single character", method, nil, "\r\n")
    fails("#2", method, nil, {})
  end
  fails("function expected", "read_call", nil)
  fails("function expected", "drain_call", 1)
  fails("function expected", "write_call", "x")
  fails("function expected", "flush_call", {})
  socket:write((socket:read()))
end
