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

local function load_module(t, key)
  local name = names[key]
  if not name then return nil end
  local module = require(name)
  rawset(t, key, module)
  return module
end

setmetatable(tarantool, {__index = load_module})

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
    if name == key then return load_module(t, key) end
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

-- Returns a searcher for files that does not take another module, which the system has installed, for Tarantool's.
local function without_others(searcher)
  return function(name)
    local loader, path = searcher(name)
    if type(path) ~= "string" or path:sub(1, 5) ~= "/usr/" then return loader, path end
    return require "mb.tarantool.absent".search_other(name, path) or loader, path
  end
end

local function set_searchers(searchers)
  if searchers[#searchers] == search_absent then return end
  for i = 3, #searchers do searchers[i] = without_others(searchers[i]) end -- behind ours, and package.preload
  searchers[#searchers + 1] = search_absent
end

-- Tarantool's additions to Lua's tables are loaded when a program first looks for a name that Lua does not have.
local extended = {"debug", "os", "string", "table", "utf8"}

local metas = {} -- the metatable that each had before; false: none

local additions = {
  __index = function(library, key) return require "mb.tarantool.extras".find(library, key, metas[library]) end,
}

local function add_extras(name)
  local library = _G[name]
  local before = getmetatable(library) or false
  if before == additions then return end
  metas[library] = before
  setmetatable(library, additions)
end

local function set_globals()
  if rawget(_G, "_TARANTOOL") ~= nil then return end
  rawset(_G, "_TARANTOOL", "2.6.0-mb-handle") -- whose interface this is
  for _, name in ipairs{"dostring", "tonumber64"} do
    rawset(_G, name, function(...) return require "mb.tarantool.extras"[name](...) end)
  end
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
  set_searchers(package.searchers)
  -- luacheck: globals box
  if type(_G.box) == "table" then
    for _, name in ipairs(in_box) do box[name] = tarantool[name] end
  else
    box = setmetatable({}, box_meta)
  end
  if rawget(box, "cfg") == nil then box.cfg = cfg end
  package.preload.box = function() return box end
  for _, name in ipairs(extended) do add_extras(name) end
  set_globals()
  local style = require "mb.style"
  if style.active() then
    style.at_end(function() require "mb.tarantool.listener".run_rest() end)
  end
end

return tarantool
