-- Tarantool's strict module: with on(), reading a global variable that nobody has assigned is an error, and so is the
-- assignment of a new one in a function.

local strict = {}

local declared = {}

-- Returns what uses the variable: "main", "Lua" or "C". The stack has this function and the metamethod below it.
local function user()
  local info = debug.getinfo(3, "S")
  return info and info.what or "C"
end

local function assign(globals, name, value)
  if not declared[name] then
    local what = user()
    if what ~= "main" and what ~= "C" then
      error(("assign to undeclared variable '%s'"):format(tostring(name)), 2)
    end
    declared[name] = true
  end
  rawset(globals, name, value)
end

local function read(_, name)
  if not declared[name] and user() ~= "C" then
    error(("variable '%s' is not declared"):format(tostring(name)), 2)
  end
  return nil
end

function strict.on()
  local meta = getmetatable(_G) or {}
  meta.__newindex, meta.__index = assign, read
  setmetatable(_G, meta)
end

function strict.off()
  local meta = getmetatable(_G)
  if meta then meta.__newindex, meta.__index = nil, nil end
end

return strict
