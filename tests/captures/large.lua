-- Lines and blocks that are larger than any buffer; nothing is lost at a buffer's edge.
return function(socket)
  local first, status = socket:read(nil, "\n")
  socket:write(#first, " ", status, "\n")
  local second
  second, status = socket:read(100000)
  socket:write(#second, " ", status, " ", second:sub(-3), "\n")
  local count = 0
  repeat
    local line
    line, status = socket:read(nil, "\n")
    if status == "term" then
      count = count + 1
      assert(line == ("%07d"):format(count) .. "\n", line)
    end
  until status == "eof"
  socket:write(count, "\n")
end
