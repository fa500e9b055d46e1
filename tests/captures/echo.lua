-- Sends every line back, the last one also when it has no end.
return function(socket)
  repeat
    local line, status = socket:read(nil, "\n")
    socket:write(line)
  until status == "eof"
end
