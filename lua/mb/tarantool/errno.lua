-- Tarantool's errno module: errno() is the number of the last error, errno.ENAME a number, errno.strerror(number) its
-- text.

local core = require "mb.tarantool.core"

local names = {}

local function check(number, name)
  if number == nil or math.tointeger(number) then return number end
  error(("bad argument to '%s': expected an integer, got %s"):format(name, type(number)), 3)
end

-- strerror([number]): returns the text of an error; without a number, of the last one.
function names.strerror(number) return core.strerror(check(number, "strerror") or core.errno()) end

-- Fills the table when a name is first asked for: there are many, and most programs need none.
local function fill()
  setmetatable(names, nil)
  for name, number in pairs(core.errnos()) do names[name] = number end
end

setmetatable(names, {
  __index = function(_, name)
    fill()
    return names[name]
  end,
  __pairs = function()
    fill()
    return next, names
  end,
})

return setmetatable({}, {
  __index = names,
  __call = function(_, new) return core.errno(check(new, "errno")) end,
  __pairs = function() return pairs(names) end,
})
