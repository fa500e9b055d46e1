-- What Tarantool has, and mb.tarantool has not: the errors say so, and what to do.

local absent = {}

local DATABASE = "there is no database here"

-- Module -> what to do in its place.
local modules = {
  ["box.backup"] = DATABASE, ["net.box"] = DATABASE, key_def = DATABASE, merger = DATABASE, swim = DATABASE,
  xlog = DATABASE, console = "there is no console here", tarantool = "this is mb-handle",
  buffer = "use strings", decimal = "use numbers", ffi = "Lua 5.3 has no ffi", jit = "Lua 5.3 has no compiler",
  crypto = "the package lua-luaossl has OpenSSL", csv = "use string.gmatch",
  fio = "use io and os, or the packages lua-posix and lua-filesystem",
  ["http.client"] = "the package lua-http has http.request",
  fun = "use the module of the rock luafun", iconv = "the package lua-iconv has it, with another interface",
  msgpack = "the package lua-messagepack has MessagePack", msgpackffi = "the package lua-messagepack has MessagePack",
  pickle = "use string.pack", popen = "use exec of moonbridge_io(3)", pwd = "the package lua-posix has posix.pwd",
  ["table.clear"] = "use a new table", ["table.new"] = "use {}", tap = "it is for tests", title = "leave it out",
  uuid = "use digest.urandom", yaml = "the package lua-yaml has it, with another interface",
}

-- A searcher (Lua manual, package.searchers), the last one: a program may bring a module of such a name with it.
function absent.search(name)
  local advice = modules[name]
  if not advice then return nil end
  return function()
    error(("the module '%s' of Tarantool is not in mb.tarantool: %s"):format(name, advice), 3)
  end
end

-- The fields of box that need the database.
local fields = {}
for name in ([[atomic backup begin begin_ro broadcast commit ctl execute func index info once prepare priv role rollback
  rollback_to_savepoint savepoint schema sequence session slab snapshot space sql stat tuple unprepare user]])
  :gmatch "%S+" do
  fields[name] = true
end

-- Throws, at the caller's caller, if the field of box is of the database.
function absent.check_field(name)
  if fields[name] then error(("box.%s: %s"):format(name, DATABASE), 3) end
end

return absent
