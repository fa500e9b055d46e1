-- What was not flushed before a reset is not written; nor before an error.
return function(socket)
  socket:flush("sent\n")
  socket:write("dropped\n")
  assert(socket:reset() == true)
  local ok, message = pcall(socket.read, socket)
  assert(not ok and message:find("reset", 1, true), message)
end
