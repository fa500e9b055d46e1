-- http.headers of lua-http: header fields, in order; names are compared as they are. The object is the list of
-- mb.http.core (triples of name, value, never_index from index 1 on), with the number of fields as _n.

local headers = {}
local methods = {}
local mt = {__name = "http.headers", __index = methods}

headers.methods, headers.mt = methods, mt

function headers.new() return setmetatable({_n = 0}, mt) end

local SECRET = {authorization = true, ["proxy-authorization"] = true, cookie = true, ["set-cookie"] = true}

local function set(self, i, name, value, never_index)
  if never_index == nil then never_index = SECRET[name] or false end
  local at = 3 * i
  self[at - 2], self[at - 1], self[at] = name, value, never_index
end

headers.set = set -- for mb.http_server.headers_more

-- headers:append(name, value, never_index)
function methods:append(name, value, never_index)
  if name == nil then error("append: expected a name, got nil", 2) end
  local n = self._n + 1
  self._n = n
  set(self, n, name, value, never_index)
end

-- headers:get(name): returns all values of a name; nothing at all if there is none.
function methods:get(name)
  local known, found, more = false, nil, nil
  for at = 1, 3 * self._n, 3 do
    if self[at] == name then
      if more then
        more[#more + 1] = self[at + 1]
      elseif known then
        more = {found, self[at + 1]}
      else
        known, found = true, self[at + 1]
      end
    end
  end
  if more then return table.unpack(more) end
  if known then return found end
end

-- headers:has(name)
function methods:has(name)
  for at = 1, 3 * self._n, 3 do
    if self[at] == name then return true end
  end
  return false
end

-- headers:upsert(name, value, never_index): replaces the only value of a name, or appends it.
function methods:upsert(name, value, never_index)
  local found
  for i = 1, self._n do
    if self[3 * i - 2] == name then
      if found then error("Cannot upsert multi-valued field", 2) end
      found = i
    end
  end
  if found then
    set(self, found, name, value, never_index)
  else
    methods.append(self, name, value, never_index)
  end
end

-- headers:geti(i): returns name, value, never_index; nil if there is no such field.
function methods:geti(i)
  if math.type(i) ~= "integer" or i < 1 or i > self._n then return nil end
  return self[3 * i - 2], self[3 * i - 1], self[3 * i]
end

-- headers:each(): iterates over name, value, never_index.
function methods:each()
  local i = 0
  return function()
    i = i + 1
    return methods.geti(self, i)
  end
end

-- headers:len(), #headers
function methods:len() return self._n end

mt.__len = methods.len
mt.__pairs = methods.each

function mt:__tostring() return ("http.headers{%d headers}"):format(self._n) end

-- Loads the methods that few responses need.
setmetatable(methods, {
  __index = function(self, key)
    setmetatable(self, nil)
    require "mb.http_server.headers_more"
    return self[key]
  end,
})

return headers
