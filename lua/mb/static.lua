-- mb.static: the files of a directory over HTTP. See mb.static(3). Beside moonbridge_http: static.new returns a
-- callback for generate_handler, or for a route of mb.router. What answers is loaded with the first request.

local core = require "mb.static.core"

local static = {
  date = core.date,
  parse_date = core.parse_date,
}

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

-- A new option is a row here: its check, what the check expects, and the default.
local OPTIONS = {
  cache_control = {is_cache_control, "the value of the header field, or a function of a path"},
  charset = {is_charset, "the name of a character set, or false", "utf-8"},
  default_type = {is_type, "a media type", "application/octet-stream"},
  dotfiles = {is_boolean, "true or false", false},
  index = {is_index, "the name of a file, without a slash, or false", "index.html"},
  listing = {is_boolean, "true or false", false},
  precompressed = {is_boolean, "true or false", false},
  types = {are_types, "a table: extension in lower case, without its dot -> media type"},
}

-- Throws, with the line of the script that has called static.new.
local function refuse(text) error("static.new: " .. text, 4) end

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

-- Returns the settings, all of them.
local function settings(options)
  local set = {}
  for name, row in pairs(OPTIONS) do set[name] = row[3] end
  if options == nil then return set end
  if type(options) ~= "table" then refuse("expected a table of options, got " .. type(options)) end
  for name, value in pairs(options) do
    local row = OPTIONS[name]
    if not row then refuse(("there is no option %s; there are %s"):format(tostring(name), known())) end
    if not row[1](value) then
      refuse(("option %s: expected %s, got %s"):format(name, row[2],
        type(value) == "string" and ("%q"):format(value) or type(value)))
    end
    set[name] = value
  end
  return set
end

local function open(root)
  if type(root) ~= "string" then refuse("expected the path of a directory, got " .. type(root)) end
  local directory, message = core.root(root)
  if not directory then refuse(("%s: %s"):format(root, message)) end
  return directory
end

-- static.new(root[, options]): root is the path of a directory, which is opened now. Returns function(request, params),
-- which answers a GET or HEAD with a file: that of params.path, if there is one, else that of request.path.
function static.new(root, options)
  local set = settings(options)
  set.root = open(root)
  set.known_types = {} -- extension -> media type, as far as somebody has asked for it
  local answer
  return function(request, params)
    answer = answer or require "mb.static.answer"
    return answer(set, request, params)
  end
end

return static
