-- The options of static.new: checks them when it is called. Loaded where a script gives some.

local function is_boolean(value) return type(value) == "boolean" end

-- Returns whether a value can be sent as a header field.
local function is_value(value)
  return type(value) == "string" and require "mb.http.core".field_line("X", value) ~= nil
end

local function is_type(value) return is_value(value) and value:find("^[%w!#$&^_.+-]+/[%w!#$&^_.+-]+") ~= nil end

local function is_index(value)
  return value == false or type(value) == "string" and value ~= "" and not value:find("[/%z]") and value ~= "." and
    value ~= ".."
end

local function are_types(value)
  if type(value) ~= "table" then return false end
  for extension, name in pairs(value) do
    if type(extension) ~= "string" or extension:find("[./]") or extension:find("%u") or not is_type(name) then
      return false
    end
  end
  return true
end

local function is_cache_control(value) return type(value) == "function" or is_value(value) end

local function is_charset(value)
  return value == false or type(value) == "string" and value:find("^[%w_.:-]+$") ~= nil
end

-- A new option is a row here: its check, and what the check expects. Its default stands in mb.static.
local OPTIONS = {
  cache_control = {is_cache_control, "the value of the header field, or a function of a path"},
  charset = {is_charset, "the name of a character set, or false"},
  default_type = {is_type, "a media type"},
  dotfiles = {is_boolean, "true or false"},
  index = {is_index, "the name of a file, without a slash, or false"},
  listing = {is_boolean, "true or false"},
  precompressed = {is_boolean, "true or false"},
  types = {are_types, "a table: extension in lower case, without its dot -> media type"},
}

-- Returns the names of all options, sorted.
local function known()
  local names = {}
  for name in pairs(OPTIONS) do
    local at = 1
    while names[at] and names[at] < name do at = at + 1 end
    for i = #names, at, -1 do names[i + 1] = names[i] end
    names[at] = name
  end
  local text = names[1]
  for i = 2, #names do text = text .. ", " .. names[i] end
  return text
end

-- Sets the options of a script in a table of settings. Throws, with the line of the script that has called static.new.
return function(set, options)
  if type(options) ~= "table" then error("static.new: expected a table of options, got " .. type(options), 3) end
  for name, value in pairs(options) do
    local row = OPTIONS[name]
    if not row then
      error(("static.new: there is no option %s; there are %s"):format(tostring(name), known()), 3)
    elseif not row[1](value) then
      error(("static.new: option %s: expected %s, got %s"):format(name, row[2],
        type(value) == "string" and ("%q"):format(value) or type(value)), 3)
    end
    set[name] = value
  end
end
