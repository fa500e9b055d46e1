-- socket:drain: as read, but the number of bytes.
return function(socket)
  local function show(...)
    local count, status = socket:drain(...)
    socket:write(math.type(count), " ", count, " ", status, "\n")
  end
  show(0)
  show(3)
  show(nil, "\n")
  show(2, "\n")
  show(nil, "\0")
  socket:write(socket:read(1), "\n") -- what follows is still there
  show(10)
  show(nil, "x")
  show()
end
