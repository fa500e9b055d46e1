-- What Tarantool has, and mb.tarantool has not: the errors say so, and what to do.

local absent = {}

local DATABASE = "there is no database here"

-- Module -> what to do in its place.
local modules = {
  ["box.backup"] = DATABASE, ["net.box"] = DATABASE, key_def = DATABASE, merger = DATABASE, swim = DATABASE,
  xlog = DATABASE, console = "there is no console here", tarantool = "this is mb-handle",
  buffer = "use strings", decimal = "use numbers", ffi = "Lua 5.3 has no ffi", jit = "Lua 5.3 has no compiler",
  help = "it is for the console", ["internal.argparse"] = "use arg", ["internal.trigger"] = "it is Tarantool's own",
  crypto = "the package lua-luaossl has OpenSSL", csv = "use string.gmatch",
  fio = "use io and os, or the packages lua-posix and lua-filesystem",
  ["http.client"] = "the package lua-http has http.request",
  fun = "use the module of the rock luafun", iconv = "the package lua-iconv has it, with another interface",
  msgpack = "the package lua-messagepack has MessagePack", msgpackffi = "the package lua-messagepack has MessagePack",
  pickle = "use string.pack", popen = "use exec of moonbridge_io(3)", pwd = "the package lua-posix has posix.pwd",
  tap = "it is for tests", title = "leave it out",
  uuid = "use digest.urandom", yaml = "the package lua-yaml has it, with another interface",
}

-- Tarantool's own modules come before any file; these are of use from a file all the same.
local from_files = {fun = true, iconv = true, yaml = true}

-- A searcher (Lua manual, package.searchers), the last one: a program may bring a module of such a name with it.
function absent.search(name)
  local addition = name:match "^table%.(.*)"
  if addition and table[addition] then return function() return table[addition] end end -- table.new, table.clear
  local advice = modules[name]
  if not advice then return nil end
  return function()
    error(("the module '%s' of Tarantool is not in mb.tarantool: %s"):format(name, advice), 3)
  end
end

-- Does the same if a file that the system has installed is another module than Tarantool's.
function absent.search_other(name, path)
  local script = require "mb.tarantool.core".script() or ""
  local directory = script:match "^(.*/)" or "./"
  local is_own = path:sub(1, #directory) == directory
  return modules[name] and not from_files[name] and not is_own and absent.search(name) or nil
end

-- The fields of box that need the database.
local fields = {error = "use error"}
for name in ([[atomic backup begin begin_ro broadcast commit ctl execute func index info internal once prepare priv role
  rollback rollback_to_savepoint runtime savepoint schema sequence session slab snapshot space sql stat tuple unprepare
  user]]):gmatch "%S+" do
  fields[name] = DATABASE
end

-- Throws, at the caller's caller, if the field of box is of the database.
function absent.check_field(name)
  if fields[name] then error(("box.%s: %s"):format(name, fields[name]), 3) end
end

local CHARACTERS, LOG = "Lua does not know the properties of characters", "see --log-level of mb-handle(8)"
local ENVIRONMENT = "the package lua-posix has posix.stdlib"

-- Functions that Tarantool has in Lua's tables and in the modules that are here -> what to do in their place.
local functions = {
  log = {cfg = LOG, level = LOG, log_format = LOG, pid = LOG, rotate = LOG},
  os = {environ = ENVIRONMENT, setenv = ENVIRONMENT},
  utf8 = {casecmp = CHARACTERS, cmp = CHARACTERS, isalpha = CHARACTERS, isdigit = CHARACTERS, islower = CHARACTERS,
    isupper = CHARACTERS, lower = CHARACTERS .. "; string.lower knows ASCII",
    upper = CHARACTERS .. "; string.upper knows ASCII"},
}

-- find(library, name): returns a function that throws when it is called, if Tarantool has one of this name there.
function absent.find(library, name)
  local advice = functions[library] and functions[library][name]
  if not advice then return nil end
  return function() error(("%s.%s is not in mb.tarantool: %s"):format(library, name, advice), 2) end
end

return absent
