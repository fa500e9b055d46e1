-- print, io.write and io.stderr go to the log, io.read finds nothing: the replay's output is the socket's alone.
return function(socket)
  print("print")
  io.write("io.write\n")
  io.stderr:write("io.stderr\n")
  os.execute("echo child")
  assert(io.read() == nil)
  socket:write((socket:read()))
end
