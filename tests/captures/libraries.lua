-- Each library is there, by whatever road a script comes to it. Some words stand in strings and comments only: utf8.
local function types(...)
  local found = {}
  for i = 1, select("#", ...) do found[i] = type((select(i, ...))) end
  return ("%s "):rep(#found):format(require("table").unpack(found))
end

return function(socket)
  local five = 5os.getenv("HOME") -- two statements
  socket:write("behind a number: ", five, "\n")
  local name = "_" .. "G"
  local globals = require(name)
  socket:write("by a computed name: ", types(globals["ma" .. "th"], globals["u\116f8"], globals.coroutine), "\n")
  socket:write("operators: ", 7.5 % 2, " ", 2 ^ 0.5 > 1.41 and "right" or "wrong", "\n")
  socket:write("by require: ", types(require "bit32", require 'debug', require("moonbridge_io")), "\n")
end
