-- Tarantool's json module: encode and decode. It follows Tarantool where JSON leaves a choice: which tables are arrays,
-- and what stands for null.

local NULL = require "mb.tarantool.core".null

-- The settings that Tarantool's programs change, and their defaults there.
local DEFAULTS = {
  encode_max_depth = 128, -- also bounds the recursion
  encode_number_precision = 14,
  encode_sparse_convert = true, encode_sparse_ratio = 2, encode_sparse_safe = 10, -- see is_array
  encode_invalid_numbers = true, encode_invalid_as_nil = false, encode_deep_as_nil = false,
  encode_use_tostring = false, encode_load_metatables = true,
  decode_max_depth = 128, decode_invalid_numbers = true, decode_save_metatables = true,
}
-- The most that a setting may ask for: levels of nesting, and digits, of which a number has no more.
local DEPTH_MAX, PRECISION_MAX = 1000, 17
local INT64_END, UINT64_END = 2 ^ 63, 2 ^ 64 -- behind the greatest integers

local find, sub, byte = string.find, string.sub, string.byte

local MAP, SEQ = {__serialize = "map"}, {__serialize = "seq"}

-- ---- encode ----

local ESCAPES = {['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n",
  ["\r"] = "\\r", ["\t"] = "\\t"}

local function escaped(char) return ESCAPES[char] or ("\\u%04x"):format(byte(char)) end

local function text_of(value) return '"' .. value:gsub('["\\/%c]', escaped) .. '"' end

local function number_text(value, settings)
  local integer = math.tointeger(value)
  if integer then return ("%d"):format(integer) end
  if value >= INT64_END and value < UINT64_END then return ("%.0f"):format(value) end
  if value ~= value or value == math.huge or value == -math.huge then
    if settings.encode_invalid_as_nil then return "null" end
    if not settings.encode_invalid_numbers then error("number must not be NaN or Inf", 0) end
    return value ~= value and "nan" or value > 0 and "inf" or "-inf"
  end
  return ("%%.%dg"):format(math.min(settings.encode_number_precision, PRECISION_MAX)):format(value)
end

-- Returns the length of the array if the table is one: all keys are numbers from 1, and few of them are missing.
local function array_length(t, settings)
  local length, count = 0, 0
  for key in pairs(t) do
    if math.type(key) ~= "integer" or key < 1 then return nil end
    count = count + 1
    if key > length then length = key end
  end
  local ratio = settings.encode_sparse_ratio
  if ratio > 0 and length > settings.encode_sparse_safe and length > count * ratio then
    if not settings.encode_sparse_convert then error("excessively sparse array", 0) end
    return nil
  end
  return length
end

local put -- put(out, value, depth, settings): appends the text of a value

local function put_array(out, t, length, depth, settings)
  out[#out + 1] = "["
  for i = 1, length do
    if i > 1 then out[#out + 1] = "," end
    put(out, t[i], depth, settings)
  end
  out[#out + 1] = "]"
end

local function put_map(out, t, depth, settings)
  local separator = "{"
  for key, value in pairs(t) do
    local text
    if type(key) == "string" then
      text = text_of(key)
    elseif math.tointeger(key) then
      text = ('"%d"'):format(key)
    else
      error("table key must be a number or string", 0)
    end
    out[#out + 1] = separator .. text .. ":"
    put(out, value, depth, settings)
    separator = ","
  end
  out[#out + 1] = separator == "{" and "{}" or "}"
end

local function put_table(out, t, depth, settings)
  local meta = settings.encode_load_metatables and getmetatable(t)
  local as = type(meta) == "table" and meta.__serialize or nil
  if depth > math.min(settings.encode_max_depth, DEPTH_MAX) then
    if not settings.encode_deep_as_nil then error("Too high nest level", 0) end
    out[#out + 1] = "null"
  elseif type(as) == "function" then
    put(out, as(t), depth + 1, settings) -- it may return the same table again
  elseif as == "map" or as == "mapping" then
    put_map(out, t, depth + 1, settings)
  else
    local length = array_length(t, settings) or (as == "seq" or as == "sequence" or as == "array") and #t
    if length then return put_array(out, t, length, depth + 1, settings) end
    put_map(out, t, depth + 1, settings)
  end
end

function put(out, value, depth, settings)
  local kind = type(value)
  if kind == "table" then return put_table(out, value, depth, settings) end
  local text
  if kind == "string" then
    text = text_of(value)
  elseif kind == "number" then
    text = number_text(value, settings)
  elseif kind == "boolean" then
    text = tostring(value)
  elseif value == nil or value == NULL or settings.encode_invalid_as_nil then
    text = "null"
  elseif settings.encode_use_tostring then
    text = text_of(tostring(value))
  else
    error(("unsupported Lua type '%s'"):format(kind), 0)
  end
  out[#out + 1] = text
end

-- ---- decode ----

-- A place in the text that is no JSON. s: the text; at: the offset; what: what was expected there.
local function wrong(s, at, what)
  local line, first = 1, 1
  for newline in sub(s, 1, at - 1):gmatch("()\n") do line, first = line + 1, newline + 1 end
  local found = sub(s, at, at)
  error(("Expected %s but found %s on line %d at character %d"):format(
    what, found == "" and "the end" or ("%q"):format(found), line, at - first + 1), 0)
end

local UNESCAPES = {['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t"}

-- Reads the four digits behind \u at an offset. Returns the text, and the offset behind it.
local function unicode(s, at)
  local digits = s:match("^%x%x%x%x", at)
  local code = digits and tonumber(digits, 16)
  if not code or code >= 0xdc00 and code < 0xe000 then wrong(s, at, "a character's number") end
  at = at + 4
  if code < 0xd800 or code >= 0xe000 then return utf8.char(code), at end
  local low = s:match("^\\u([dD][c-fC-F]%x%x)", at)
  if not low then wrong(s, at, "the second half of a character") end
  return utf8.char(0x10000 + (code - 0xd800 << 10) + (tonumber(low, 16) - 0xdc00)), at + 6
end

-- Reads the string whose quotation mark is before the offset. Returns it, and the offset behind it.
local function string_at(s, at)
  local parts
  while true do
    local stop = find(s, '["\\]', at)
    if not stop then wrong(s, #s + 1, "the end of a string") end
    local plain = sub(s, at, stop - 1)
    if byte(s, stop) == 0x22 then
      if not parts then return plain, stop + 1 end
      parts[#parts + 1] = plain
      return table.concat(parts), stop + 1
    end
    parts = parts or {}
    parts[#parts + 1] = plain
    local char = sub(s, stop + 1, stop + 1)
    if char == "u" then
      parts[#parts + 1], at = unicode(s, stop + 2)
    else
      parts[#parts + 1], at = UNESCAPES[char] or wrong(s, stop + 1, "an escape"), stop + 2
    end
  end
end

local WORDS = {["true"] = true, ["false"] = false, null = NULL}
local INVALID = {nan = -(0 / 0), inf = math.huge}

-- Reads true, false or null, or nan or inf with a sign or without.
local function word_at(s, at, settings)
  local word = s:match("^%a+", at)
  if word and WORDS[word] ~= nil then return WORDS[word], at + #word end
  local is_negative = byte(s, at) == 0x2d
  word = word or is_negative and s:match("^%a+", at + 1)
  local number = settings.decode_invalid_numbers and word and INVALID[word]
  if not number then wrong(s, at, "a value") end
  if is_negative then return -number, at + 1 + #word end
  return number, at + #word
end

local function number_at(s, at, settings)
  local _, last = find(s, "^-?%d+", at)
  if not last then return word_at(s, at, settings) end
  local first = byte(s, at) == 0x2d and at + 1 or at
  if byte(s, first) == 0x30 and last > first then wrong(s, at, "a value") end
  local following = byte(s, last + 1)
  if following == 0x2e then _, last = find(s, "^%.%d+", last + 1) end
  if not last then wrong(s, find(s, ".", at, true) + 1, "a digit") end
  following = byte(s, last + 1)
  if following == 0x65 or following == 0x45 then
    local exponent = last + 1
    _, last = find(s, "^[eE][+-]?%d+", exponent)
    if not last then wrong(s, exponent + 1, "a digit") end
  end
  local number = tonumber(sub(s, at, last))
  return math.tointeger(number) or number, last + 1
end

local value_at -- value_at(s, at, depth, settings): returns the value at an offset, and the offset behind it

local function skip(s, at) return find(s, "[^ \t\r\n]", at) or #s + 1 end

-- Reads what stands between the brackets of an array or an object. read(at): reads one member, and returns the offset
-- behind it.
local function members(s, at, close, read)
  at = skip(s, at)
  if byte(s, at) == close then return at + 1 end
  while true do
    at = skip(s, read(at))
    local char = byte(s, at)
    if char == close then return at + 1 end
    if char ~= 0x2c then wrong(s, at, ("a comma or %q"):format(string.char(close))) end
    at = skip(s, at + 1)
  end
end

local function array_at(s, at, depth, settings)
  local array, count = {}, 0
  at = members(s, at, 0x5d, function(from)
    count = count + 1
    array[count], from = value_at(s, from, depth, settings)
    return from
  end)
  return settings.decode_save_metatables and setmetatable(array, SEQ) or array, at
end

local function object_at(s, at, depth, settings)
  local object = {}
  at = members(s, at, 0x7d, function(from)
    if byte(s, from) ~= 0x22 then wrong(s, from, "a key") end
    local key, value
    key, from = string_at(s, from + 1)
    from = skip(s, from)
    if byte(s, from) ~= 0x3a then wrong(s, from, "a colon") end
    value, from = value_at(s, skip(s, from + 1), depth, settings)
    if value == NULL then value = nil end
    object[key] = value
    return from
  end)
  return settings.decode_save_metatables and setmetatable(object, MAP) or object, at
end

function value_at(s, at, depth, settings)
  local char = byte(s, at)
  if char == 0x22 then return string_at(s, at + 1) end
  if char == 0x7b or char == 0x5b then
    if depth >= math.min(settings.decode_max_depth, DEPTH_MAX) then
      error(("Found too many nested data structures (%d)"):format(depth + 1), 0)
    end
    return (char == 0x7b and object_at or array_at)(s, at + 1, depth + 1, settings)
  end
  return number_at(s, at, settings)
end

-- ---- the module ----

local function check_settings(settings, name)
  if type(settings) ~= "table" then error(("bad argument to '%s': expected a table of settings"):format(name), 3) end
  for key, value in pairs(settings) do
    if DEFAULTS[key] == nil then error(("%s: unknown setting %s"):format(name, tostring(key)), 3) end
    if type(value) ~= type(DEFAULTS[key]) then
      error(("%s: %s has to be a %s"):format(name, key, type(DEFAULTS[key])), 3)
    end
    if type(value) == "number" and (not math.tointeger(value) or value < 0) then
      error(("%s: %s has to be an integer, 0 or more"):format(name, key), 3)
    end
  end
  return settings
end

-- new(): returns a module with settings of its own.
local function new()
  local json = {NULL = NULL, null = NULL, map_mt = MAP, array_mt = SEQ, new = new}

  -- cfg{setting = value, ...}: changes settings; cfg.NAME is one.
  json.cfg = setmetatable({}, {
    __index = DEFAULTS,
    __call = function(cfg, settings)
      for key, value in pairs(check_settings(settings, "cfg")) do rawset(cfg, key, value) end
    end,
  })

  local function settings_of(settings, name)
    if settings == nil then return json.cfg end
    local all = setmetatable({}, {__index = json.cfg})
    for key, value in pairs(check_settings(settings, name)) do all[key] = value end
    return all
  end

  -- encode(value, [settings]): returns the text. Throws when the value has none.
  function json.encode(...)
    if select("#", ...) == 0 then error("Usage: json.encode(value [, settings])", 2) end
    local value, settings = ...
    local out = {}
    settings = settings_of(settings, "encode")
    local good, message = pcall(put, out, value, 1, settings)
    if not good then error(message, 2) end
    return table.concat(out)
  end

  -- decode(text, [settings]): returns the value. Throws when it is not JSON. null is nil in an object, so that == nil
  -- holds as in Tarantool; in an array it is NULL, which keeps the length.
  function json.decode(text, settings)
    if type(text) == "number" then text = tostring(text) end
    if type(text) ~= "string" then
      error(("bad argument #1 to 'decode' (string expected, got %s)"):format(type(text)), 2)
    end
    settings = settings_of(settings, "decode")
    local good, value, at = pcall(value_at, text, skip(text, 1), 0, settings)
    if not good then error(value, 2) end
    at = skip(text, at)
    if at <= #text then
      local _, message = pcall(wrong, text, at, "the end")
      error(message, 2)
    end
    return value
  end

  return json
end

return new()
