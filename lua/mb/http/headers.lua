-- The tables of the request object that are made from the head, besides method, path and query. Field names are
-- compared without regard to case.

local core = require "mb.http.core"

local lower = string.lower

local attributes = {}

-- Lets a table, whose keys are in lower case, be read with any spelling of a key. absent: makes the value for a name
-- that does not occur; the value is not stored.
local function any_case(values, absent)
  return setmetatable(values, {
    __index = function(self, key)
      if type(key) ~= "string" then return nil end
      local value = rawget(self, lower(key))
      if value == nil and absent then return absent() end
      return value
    end,
  })
end

local function empty() return {} end

local function map(values, convert)
  local result = {}
  for name, lines in pairs(values) do result[name] = convert(lines) end
  return result
end

function attributes.headers(request) return any_case(request._wire.input:fields(), empty) end

function attributes.headers_csv_string(request)
  return any_case(map(request.headers, function(lines) return table.concat(lines, ", ") end), function() return "" end)
end

function attributes.headers_csv_table(request)
  return any_case(map(request.headers, function(lines)
    return core.list(lines) or request._wire:fail("too many or colliding elements in a header field", 431)
  end), empty)
end

-- Returns the set of the elements. A string that is not among them is false in it, not nil.
local function flags(elements)
  local set = {}
  for _, element in ipairs(elements) do set[lower(element)] = true end
  return setmetatable(set, {
    __index = function(self, key) return type(key) == "string" and rawget(self, lower(key)) or false end,
  })
end

function attributes.headers_flags(request)
  return any_case(map(request.headers_csv_table, flags), function() return flags {} end)
end

function attributes.headers_value(request)
  return any_case(map(request.headers, function(lines) return #lines == 1 and lines[1] end))
end

function attributes.cookies(request)
  local wire = request._wire
  return wire.input:cookies() or wire:fail("too many or colliding cookies", 431)
end

function attributes.host(request) return request._wire.input:host() end

function attributes.target(request) return request._wire.input:target() end

return {attributes = attributes}
