-- The methods of http.headers that few scripts call.

local headers = require "mb.http_server.headers"
local methods, set = headers.methods, headers.set

-- headers:clone()
function methods:clone()
  local copy = headers.new()
  for key, value in next, self do rawset(copy, key, value) end
  return copy
end

-- headers:delete(name): all fields of a name. Returns whether there was one.
function methods:delete(name)
  local kept = 0
  local n = self._n
  for i = 1, n do
    local at = 3 * i
    if self[at - 2] ~= name then
      kept = kept + 1
      set(self, kept, self[at - 2], self[at - 1], self[at])
    end
  end
  for at = 3 * kept + 1, 3 * n do self[at] = nil end
  self._n = kept
  return kept < n
end

-- headers:get_as_sequence(name): returns a table of all values, with their number as n.
function methods:get_as_sequence(name)
  local n, sequence = 0, {}
  for at = 1, 3 * self._n, 3 do
    if self[at] == name then
      n = n + 1
      sequence[n] = self[at + 1]
    end
  end
  sequence.n = n
  return sequence
end

-- headers:get_comma_separated(name): returns all values as one string; nil if there is none.
function methods:get_comma_separated(name)
  local sequence = methods.get_as_sequence(self, name)
  if sequence.n == 0 then return nil end
  return table.concat(sequence, ",", 1, sequence.n)
end

-- headers:modifyi(i, value, never_index)
function methods:modifyi(i, value, never_index)
  if math.type(i) ~= "integer" or i < 1 or i > self._n then error("invalid index", 2) end
  set(self, i, self[3 * i - 2], value, never_index)
end

-- Returns whether field a comes before b: by name, names with a colon first, then by value. Of two equal fields, the
-- one with never_index comes first.
local function comes_first(a, b)
  if a[1] ~= b[1] then
    local a_colon, b_colon = a[1]:byte() == 58, b[1]:byte() == 58
    if a_colon ~= b_colon then return a_colon end
    return a[1] < b[1]
  end
  if a[2] ~= b[2] then return a[2] < b[2] end
  return a[3] and not b[3]
end

-- headers:sort(): sorts the fields, as comes_first says.
function methods:sort()
  local fields = {}
  for i = 1, self._n do fields[i] = {methods.geti(self, i)} end
  table.sort(fields, comes_first)
  for i, field in ipairs(fields) do set(self, i, field[1], field[2], field[3]) end
end

-- headers:dump(file, prefix): prints a line for each field.
function methods:dump(file, prefix)
  file, prefix = file or io.stderr, prefix or ""
  for name, value in methods.each(self) do
    assert(file:write(("%s%s: %s\n"):format(prefix, tostring(name), tostring(value))))
  end
  assert(file:flush())
end
