-- socket:read: every form of its arguments, and what each returns.
return function(socket)
  local function show(...)
    local data, status = socket:read(...)
    socket:write(string.format("%q %s\n", data, status))
  end
  show(0)
  show(3)
  show(nil, "\n")
  show(0, "\n")
  show(2, "\n") -- ends before the terminator
  show(2, "\n") -- the terminator is the last byte allowed
  show(100, "\n") -- the terminator comes first
  show(1, "\n") -- an empty line
  show(nil, "\0")
  show(nil, "\xff")
  show(3.0, nil)
  show(math.maxinteger, "e") -- the end comes before the terminator
  show(nil, nil)
  show(5)
  show(0)
  show(nil, "\n")
end
