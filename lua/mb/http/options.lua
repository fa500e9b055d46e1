-- Checks the options that generate_handler is given; the rows of src/api/http/http_options.c say what each may be. Must
-- find every mistake when the handler is made, not when a client comes.

local core = require "mb.http.core"

-- Each type takes an option's row, and returns a function that checks a value. That function returns what the option is
-- set to; or nil and what is wrong.
local TYPES = {}

function TYPES.integer(row)
  local least, most = row.least, row.most
  local range = most < math.maxinteger and ("from %d to %d"):format(least, most) or ("of %d or more"):format(least)
  return function(value)
    local number = math.type(value) and math.tointeger(value)
    if not number or number < least or number > most then return nil, "expected an integer " .. range end
    return number
  end
end

function TYPES.integer_or_false(row)
  local check = TYPES.integer(row)
  return function(value)
    if value == false then return false end
    local number, wrong = check(value)
    return number, wrong and wrong .. ", or false for none"
  end
end

function TYPES.seconds()
  return function(value)
    if value == false then return false end
    if type(value) == "number" and value > 0 then return value end
    return nil, "expected a positive number of seconds, or false"
  end
end

TYPES["function"] = function()
  return function(value)
    local meta = getmetatable(value)
    if type(value) == "function" or type(meta) == "table" and meta.__call then return value end
    return nil, "expected a function"
  end
end

-- The response writer decides on these fields anew for every response.
local OURS = {["content-length"] = true, ["transfer-encoding"] = true, connection = true}

-- Adds a static header; or returns what is wrong with it.
local function add_header(headers, name, value)
  if type(name) ~= "string" or (type(value) ~= "string" and type(value) ~= "number") then
    return "expected names and values to be strings"
  end
  local line, wrong = core.field_line(name, value)
  if not line then return ("%q: %s"):format(name, wrong) end
  local lower = name:lower()
  if OURS[lower] then return name .. " is not for scripts to set" end
  if lower == "upgrade" then return name .. " belongs to a 101 or 426 response, and not to each" end
  headers.dated = headers.dated or lower == "date"
  headers[#headers + 1] = line
end

local function add_line(headers, line)
  if type(line) ~= "string" then return "expected strings" end
  local name, value = line:match("^([^:]*):[ \t]*(.-)[ \t]*$")
  if not name then return ("expected \"Name: value\", got %q"):format(line) end
  return add_header(headers, name, value)
end

-- Reads the option static_headers in its three forms: a string of lines, a sequence of lines or of pairs, a map.
local function static_headers(value)
  local headers, wrong = {dated = false}, nil
  if type(value) == "string" then
    for line in value:gmatch("[^\n]+") do
      line = line:gsub("\r$", "")
      if line ~= "" then wrong = wrong or add_line(headers, line) end
    end
  elseif type(value) ~= "table" then
    return nil, "expected a string or a table"
  else
    for _, entry in ipairs(value) do
      if type(entry) == "table" then
        wrong = wrong or #entry ~= 2 and "expected pairs of name and value" or add_header(headers, entry[1], entry[2])
      else
        wrong = wrong or add_line(headers, entry)
      end
    end
    local names = {}
    for name in pairs(value) do
      if math.type(name) ~= "integer" or name < 1 or name > #value then
        if type(name) ~= "string" then return nil, "expected names and values to be strings" end
        names[#names + 1] = name
      end
    end
    table.sort(names) -- the same order in every response, and in every process
    for _, name in ipairs(names) do wrong = wrong or add_header(headers, name, value[name]) end
  end
  if wrong then return nil, wrong end
  return {text = table.concat(headers), dated = headers.dated}
end

function TYPES.headers() return static_headers end

local function describe(value)
  return type(value) == "string" and ("%q"):format(value) or tostring(value)
end

local function names(rows)
  local list = {}
  for name in pairs(rows) do list[#list + 1] = name end
  table.sort(list)
  return table.concat(list, ", ")
end

-- Returns a table with the newer spelling for each older one.
local function newer_spellings(rows)
  local newer = {}
  for name, row in pairs(rows) do
    if row.older then newer[row.older] = name end
  end
  return newer
end

-- Returns the given options in their newer spelling, and the defaults of the others; or nil and what is wrong.
return function(given)
  local rows, options = core.option_rows(), {}
  local newer = newer_spellings(rows)
  for name, value in pairs(given) do
    local key = newer[name] or name
    local row = rows[key]
    if not row then return nil, ("there is no option %s: expected %s"):format(tostring(name), names(rows)) end
    if key ~= name and given[key] ~= nil and given[key] ~= value then
      return nil, ("options %s and %s are the same and must not differ"):format(key, name)
    end
    local checked, wrong = TYPES[row.type](row)(value)
    if checked == nil then
      if key ~= "static_headers" then wrong = wrong .. ", got " .. describe(value) end
      return nil, ("option %s: %s (%s: %s)"):format(name, wrong, key, core.option_text(key))
    end
    options[key] = checked
  end
  options.maximum_input_chunk_size = options.maximum_input_chunk_size or options.chunk_size
  options.minimum_output_chunk_size = options.minimum_output_chunk_size or options.chunk_size
  return setmetatable(options, {__index = core.options()})
end
