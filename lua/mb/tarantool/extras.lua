-- The functions that Tarantool adds to Lua's tables.

local extras = {debug = {}, os = {}, string = {}, table = {}, utf8 = {}}

local strings, tables = extras.string, extras.table

-- Throws, at the caller of a function of this name, if an argument has another type.
local function check(value, kind, name, position)
  if type(value) == kind then return value end
  error(("bad argument #%d to '%s' (%s expected, got %s)"):format(position, name, kind, type(value)), 3)
end

-- ---- splitting, filling, stripping ----

-- Returns the pieces between separators; without one, the words between blanks.
local function pieces(s, separator, max)
  local all, at = {}, 1
  if not separator then at = s:find("%S") or #s + 1 end
  while #all < max do
    local first, last
    if separator then
      first, last = s:find(separator, at, true)
    else
      first, last = s:find("%s+", at)
    end
    if not first then break end
    all[#all + 1] = s:sub(at, first - 1)
    at = last + 1
  end
  if separator or at <= #s then all[#all + 1] = s:sub(at) end
  return all
end

-- split(s, [separator], [max]): returns an array. Splits at most max times.
function strings.split(s, separator, max)
  check(s, "string", "split", 1)
  if separator ~= nil then check(separator, "string", "split", 2) end
  if separator == "" then error("bad argument #2 to 'split' (non-empty string expected, got empty string)", 2) end
  if max ~= nil and (type(max) ~= "number" or max < 0) then
    error("bad argument #3 to 'split' (positive integer expected)", 2)
  end
  return pieces(s, separator, max or math.huge)
end

-- Defines a function (s, width, [char]) that fills up to a width. share(missing): how many characters come before s.
local function define_fill(name, share)
  strings[name] = function(s, width, char)
    check(s, "string", name, 1)
    if type(width) ~= "number" or width < 0 then
      error(("bad argument #2 to '%s' (positive integer expected)"):format(name), 2)
    end
    char = char == nil and " " or char
    if type(char) ~= "string" or #char ~= 1 then error(("bad argument #3 to '%s' (char expected)"):format(name), 2) end
    local missing = math.floor(width) - #s
    if missing <= 0 then return s end
    local before = share(missing)
    return char:rep(before) .. s .. char:rep(missing - before)
  end
end

define_fill("ljust", function() return 0 end)
define_fill("rjust", function(missing) return missing end)
define_fill("center", function(missing) return missing // 2 end)

-- Defines a function (s, [chars]) that takes characters off the ends; without chars, blanks.
local function define_strip(name, at_start, at_end)
  strings[name] = function(s, chars)
    check(s, "string", name, 1)
    if chars ~= nil then check(chars, "string", name, 2) end
    if chars == "" then return s end
    local class = chars and "[" .. chars:gsub("%W", "%%%0") .. "]" or "%s"
    local first, last = 1, #s
    while at_start and first <= last and s:find("^" .. class, first) do first = first + 1 end
    while at_end and first <= last and s:find("^" .. class, last) do last = last - 1 end
    return s:sub(first, last)
  end
end

define_strip("strip", true, true)
define_strip("lstrip", true, false)
define_strip("rstrip", false, true)

-- ---- looking at the ends ----

-- Returns the part of s from first to last, numbers as those of string.sub.
local function part(s, first, last) return s:sub(first or 1, last or -1) end

-- startswith(s, head, [first], [last]): returns whether that part of s begins with head.
function strings.startswith(s, head, first, last)
  check(s, "string", "startswith", 1)
  check(head, "string", "startswith", 2)
  if first == 0 then return false end
  return part(s, first, last):sub(1, #head) == head
end

-- endswith(s, tail, [first], [last]): returns whether that part of s ends with tail.
function strings.endswith(s, tail, first, last)
  check(s, "string", "endswith", 1)
  check(tail, "string", "endswith", 2)
  return tail == "" or part(s, first, last):sub(-#tail) == tail
end

-- ---- hexadecimal digits ----

function strings.hex(s)
  check(s, "string", "hex", 1)
  return (s:gsub(".", function(char) return ("%02x"):format(char:byte()) end))
end

function strings.fromhex(s)
  check(s, "string", "fromhex", 1)
  if #s % 2 == 1 then
    error("bad argument #1 to 'fromhex' (even amount of chars expected, got odd amount)", 2)
  elseif s:find("%X") then
    error("bad argument #1 to 'fromhex' (hex string expected, got non hex chars)", 2)
  end
  return (s:gsub("..", function(digits) return string.char(tonumber(digits, 16)) end))
end

-- ---- tables ----

-- new(array_size, hash_size): the sizes are of use to LuaJIT only.
function tables.new(array_size, hash_size)
  check(array_size, "number", "new", 1)
  check(hash_size, "number", "new", 2)
  return {}
end

function tables.clear(t)
  for key in pairs(check(t, "table", "clear", 1)) do t[key] = nil end
end

-- copy(value): returns a table with the same fields, and the same metatable; what is no table, as it is.
function tables.copy(value)
  if type(value) ~= "table" then return value end
  local meta = getmetatable(value)
  local own = type(meta) == "table" and meta.__copy
  if own then return own(value) end
  local copy = {}
  for key, field in pairs(value) do copy[key] = field end
  return setmetatable(copy, meta)
end

local function deep_copy(value, copies)
  if type(value) ~= "table" then return value end
  if copies[value] then return copies[value] end
  local copy = {}
  copies[value] = copy
  for key, field in pairs(value) do copy[deep_copy(key, copies)] = deep_copy(field, copies) end
  return setmetatable(copy, getmetatable(value))
end

-- deepcopy(value): also copies the tables in it, each once.
function tables.deepcopy(value) return deep_copy(value, {}) end

-- ---- characters ----

-- sub(s, [first], [last]): as string.sub, in characters. A byte that is no UTF-8 counts as one.
function extras.utf8.sub(s, first, last)
  s = type(s) == "number" and tostring(s) or check(s, "string", "sub", 1)
  local _, length = s:gsub("[^\x80-\xbf]", "")
  first, last = check(first, "number", "sub", 2), last == nil and -1 or check(last, "number", "sub", 3)
  if first < 0 then first = first + length + 1 end
  if last < 0 then last = last + length + 1 end
  first, last = math.max(first, 1), math.min(last, length)
  if first > last then return "" end
  first, last = math.floor(first), math.floor(last)
  return s:sub(utf8.offset(s, first), utf8.offset(s, last + 1) - 1)
end

-- next(s, [at]): returns the offset behind a character, and its number; nothing at the end.
function extras.utf8.next(s, at)
  s, at = type(s) == "number" and tostring(s) or check(s, "string", "next", 1), at or 1
  if at < 0 then at = at + #s + 1 end
  if at < 1 or at > #s then return end
  local good, code = pcall(utf8.codepoint, s, at)
  if good then return at + #utf8.char(code), code end
end

-- ---- the program's files ----

-- sourcefile([level]): returns the path of the caller's file, or nil; level is that of debug.getinfo.
function extras.debug.sourcefile(level)
  local info = debug.getinfo(level or 2, "S")
  return info and info.source:match "^@(.*)$"
end

function extras.debug.sourcedir(level)
  local path = extras.debug.sourcefile(level and level + 1 or 3)
  return path and path:match "^(.+)/[^/]*$" or "."
end

-- ---- global functions ----

-- tonumber64(value, [base]): integers of 64 bits are numbers here.
function extras.tonumber64(value, ...)
  local number = tonumber(value, ...)
  if type(value) == "string" and math.type(number) == "float" and value:find "[^%d%s]" then return nil end
  return number
end

-- dostring(text, ...): runs a chunk.
function extras.dostring(text, ...)
  local chunk, message = load(text)
  if not chunk then error(message, 2) end
  return chunk(...)
end

-- ---- the metatable of Lua's tables ----

-- find(library, key, [before]): returns what one of Lua's tables has in Tarantool, or what its earlier metatable gives.
function extras.find(library, key, before)
  local name
  for _, known in ipairs{"debug", "os", "string", "table", "utf8"} do
    if package.loaded[known] == library then name = known end
  end
  local found = name and extras[name][key]
  if found == nil and before then
    found = setmetatable({}, before)[key]
    if found == nil then found = rawget(library, key) end -- Lua 5.1's names, which that metatable has set
  end
  if found ~= nil or not name then return found end
  return require "mb.tarantool.absent".find(name, key)
end

return extras
