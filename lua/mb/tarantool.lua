-- Tarantool's modules socket, fiber, errno and log, for the connection and for sockets that the script makes. Each is
-- loaded when the script first asks for it.

local tarantool = {}

local names = {
  socket = "mb.tarantool.socket",
  fiber = "mb.tarantool.fiber",
  errno = "mb.tarantool.errno",
  log = "mb.tarantool.log",
}

local function load(t, key)
  local name = names[key]
  if not name then return nil end
  local module = require(name)
  rawset(t, key, module)
  return module
end

setmetatable(tarantool, {__index = load})

-- wrap(socket): returns the connect handler's socket, or another of ours, as Tarantool's socket object. Only its
-- close() closes it; the garbage collector does not.
function tarantool.wrap(socket)
  local good, wrapped = pcall(tarantool.socket.wrap, socket)
  if good then return wrapped end
  error(tostring(wrapped):gsub("^.*bad argument #1 to '.-'", "bad argument #1 to 'wrap'"), 2)
end

-- run(): runs the fibers until none is left.
function tarantool.run()
  local scheduler = require "mb.tarantool.waiting".scheduler
  if scheduler then scheduler:run() end
end

-- Many programs begin with box.cfg{...}. There is no database here to set up.
local function cfg(options)
  if type(options) == "table" and options.listen ~= nil then
    error("box.cfg: listen: there is no database here that could listen", 2)
  end
end

-- install(): from now on, require returns these modules under their names in Tarantool, and the global box has them.
function tarantool.install()
  for name in pairs(names) do
    package.loaded[name] = nil
    package.preload[name] = function() return tarantool[name] end
  end
  -- luacheck: globals box
  if type(_G.box) == "table" then
    for name in pairs(names) do box[name] = tarantool[name] end
  else
    box = setmetatable({}, {__index = load})
  end
  if box.cfg == nil then box.cfg = cfg end
  local style = require "mb.style"
  if style.active() then
    style.at_end(function() require "mb.tarantool.listener".run_rest() end)
  end
end

return tarantool
