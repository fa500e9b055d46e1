-- Attributes in a replay, and a script's own fields.
return function(socket)
  for _, name in ipairs {
    "local_ip4", "local_ip6", "local_tcpport", "local_addr",
    "remote_ip4", "remote_ip6", "remote_tcpport", "remote_addr",
    "interval", "no_such_name", 1,
  } do
    assert(socket[name] == nil, name)
  end
  assert(math.type(socket.fd) == "integer" and socket.fd > 2)
  assert(tostring(socket) == "socket (replay)", tostring(socket))
  assert(getmetatable(socket) == "socket" and not pcall(setmetatable, socket, {}))
  socket.user, socket[1], socket[true] = "mine", "one", "yes"
  assert(socket.user == "mine" and socket[1] == "one" and socket[true] == "yes")
  socket.user = nil
  assert(socket.user == nil)
  local read = socket.read
  socket.read = function(self, ...) return (read(self, ...):upper()) end -- as on a table
  socket:write(socket:read())
  socket.read = nil
  assert(socket.read == read)
end
