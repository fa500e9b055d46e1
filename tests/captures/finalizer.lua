-- A finalizer that reads from the socket while a read is under way: every byte goes to one of the two.
return function(socket)
  local read, drained = 0, 0
  local function arm()
    setmetatable({}, { __gc = function()
      drained = drained + socket:drain(700)
      arm()
    end })
  end
  arm()
  collectgarbage("setpause", 100)
  local status
  repeat
    local data
    data, status = socket:read(5000)
    read = read + #data
  until status == "eof"
  assert(drained > 0, "no finalizer ran")
  socket:write(read + drained, "\n")
end
