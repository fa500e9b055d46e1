-- socket:write and flush: arguments, return values, and the order of small and large pieces.
return function(socket)
  assert(socket:write() == socket)
  assert(socket:flush() == socket)
  assert(socket:write("a", 1, 2.5, "", "\0", "\n") == socket)
  assert(socket:write_nb("small") == 0)
  assert(socket:flush_nb() == 0)
  assert(socket:write_nb("x", "y\n") == 0)
  -- Nothing of a wrong call is written.
  for _, wrong in ipairs { nil, true, {}, print } do
    local ok, message = pcall(socket.write, socket, "not written", wrong)
    assert(not ok and message:find("string expected", 1, true), message)
  end
  local ok, message = pcall(socket.write, socket, "not written", nil)
  assert(not ok and message:find("#3", 1, true), message)
  local function wait() end -- a pipe may be slower than we are
  local blocks = {}
  for i = 1, 200 do blocks[i] = ("%04d"):format(i):rep(i) end
  assert(socket:flush("|", table.concat(blocks), "|", table.unpack(blocks)) == socket)
  assert(socket:write("\n", ("z"):rep(100000), "\n") == socket)
  assert(socket:flush_call(wait, "flushed\n") == socket)
  assert(socket:write_call(wait, "written\n") == socket)
  local co = coroutine.wrap(function() return socket:flush_yield("yielded\n") end)
  local result
  repeat result = co() until result
  assert(result == socket)
end
