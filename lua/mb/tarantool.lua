-- Tarantool's modules: socket, fiber, errno and log, for the connection and for sockets that the script makes; and
-- those that most of its programs load besides. Each is loaded when the script first asks for it.

local tarantool = {}

local names = {
  bit = "mb.tarantool.bit",
  clock = "mb.tarantool.clock",
  digest = "mb.tarantool.digest",
  errno = "mb.tarantool.errno",
  fiber = "mb.tarantool.fiber",
  json = "mb.tarantool.json",
  log = "mb.tarantool.log",
  socket = "mb.tarantool.socket",
  strict = "mb.tarantool.strict",
  uri = "mb.tarantool.uri",
}

-- The modules that box has as well. No file of the program takes their place.
local in_box = {"errno", "fiber", "log", "socket"}

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

local box_meta = {}

function box_meta.__index(t, key)
  for _, name in ipairs(in_box) do
    if name == key then return load(t, key) end
  end
  if key == "NULL" then return require "mb.tarantool.core".null end
  require "mb.tarantool.absent".check_field(key) -- no tail call: it blames the caller
end

-- Loads a module by its name in Tarantool. A file of that name in the script's directory takes the place of ours; what
-- is elsewhere on the system does not: it has another interface.
local function load_unless_own(name)
  local script = require "mb.tarantool.core".script() or ""
  local path = package.searchpath(name, (script:match "^(.*/)" or "") .. "?.lua")
  if not path or path == script then return tarantool[name] end
  local chunk, message = loadfile(path)
  if not chunk then error(message, 0) end
  return chunk(name, path)
end

-- The last searcher: for a module of Tarantool that is nowhere.
local function search_absent(name) return require "mb.tarantool.absent".search(name) end

-- Tarantool's additions to the tables string and table are loaded when a program calls the first of them.
-- What a metatable of such a table has given before, it still gives.
local extended = {}
local function add_extras(name)
  local library = _G[name]
  if extended[library] then return end
  extended[library] = true
  local before = getmetatable(library)
  setmetatable(library, {__index = function(_, key)
    local extra = require "mb.tarantool.extras"[name][key]
    if extra ~= nil or not before then return extra end
    local found = setmetatable({}, before)[key]
    if found ~= nil then return found end
    return rawget(library, key) -- Lua 5.1's names, which the one before has set
  end})
end

-- install(): from now on, require returns these modules under their names in Tarantool, and the global box has those
-- that it has there.
function tarantool.install()
  for name in pairs(names) do
    package.loaded[name] = nil
    package.preload[name] = load_unless_own
  end
  for _, name in ipairs(in_box) do
    package.preload[name] = function() return tarantool[name] end
  end
  local searchers = package.searchers
  if searchers[#searchers] ~= search_absent then searchers[#searchers + 1] = search_absent end
  -- luacheck: globals box
  if type(_G.box) == "table" then
    for _, name in ipairs(in_box) do box[name] = tarantool[name] end
  else
    box = setmetatable({}, box_meta)
  end
  if rawget(box, "cfg") == nil then box.cfg = cfg end
  package.preload.box = function() return box end
  add_extras("string")
  add_extras("table")
  local style = require "mb.style"
  if style.active() then
    style.at_end(function() require "mb.tarantool.listener".run_rest() end)
  end
end

return tarantool
