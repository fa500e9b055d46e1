-- The _call and _yield forms on input that is there, or comes slowly: the results are the same however often they wait.
return function(socket)
  local function wait() end -- from a pipe, any read may have to
  socket:write(select(2, socket:read_call(wait, 2)), "\n")
  socket:write(socket:drain_call(wait, nil, "\n"), "\n")
  local co = coroutine.wrap(function()
    socket:write((socket:read_yield(nil, "\n")))
    socket:write(socket:drain_yield(), "\n")
    return "done"
  end)
  local result
  repeat result = co() until result == "done"
end
