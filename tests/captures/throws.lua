-- A handler that throws: what it had flushed is written, the rest is not, and the status says so.
return function(socket)
  socket:flush("sent\n")
  socket:write("dropped\n")
  error("deliberate")
end
