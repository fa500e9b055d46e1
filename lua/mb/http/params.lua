-- Parameters as tables: name -> first value, and name -> sequence of values.

local core = require "mb.http.core"

local params = {}

local absent = {__index = function() return {} end}

-- Returns a table name -> sequence. A name that does not occur has an empty sequence, which is not stored.
function params.new_list() return setmetatable({}, absent) end

function params.add(list, name, value)
  local values = rawget(list, name)
  if values then
    values[#values + 1] = value
  else
    list[name] = {value}
  end
end

-- Returns a table name -> the first value of the sequence.
function params.first(list)
  local result = {}
  for name, values in pairs(list) do result[name] = values[1] end
  return result
end

params.attributes = {
  get_params_list = function(request)
    local values = core.form(request.query or "", 2)
    if not values then request._wire:fail("too many, too long or colliding parameters in the query", 414) end
    return setmetatable(values, absent)
  end,
  get_params = function(request) return params.first(request.get_params_list) end,
}

return params
