-- The _call and _yield forms where nothing blocks: the wait function is not called.
return function(socket)
  local function never() error("must not wait") end
  socket:write(select(2, socket:read_call(never, 2)), "\n")
  socket:write(socket:drain_call(never, nil, "\n"), "\n")
  local co = coroutine.wrap(function()
    socket:write((socket:read_yield(nil, "\n")))
    socket:write(socket:drain_yield(), "\n")
    return "done"
  end)
  local result = co() -- a pipe may be slower than we are
  while result ~= "done" do result = co() end
end
