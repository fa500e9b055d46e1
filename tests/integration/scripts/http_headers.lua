-- Calls every method of lua-http's headers objects, and prints what it returns. Usage: MODULE
local H = require(arg[1])
io.stdout:setvbuf("no")

local function show(...)
  local values = table.pack(...)
  for i = 1, values.n do
    local v = values[i]
    if type(v) == "string" then
      values[i] = ("%q"):format(v)
    elseif type(v) == "table" and not getmetatable(v) then
      local pairs_of = {}
      for k, x in pairs(v) do pairs_of[#pairs_of + 1] = tostring(k) .. "=" .. tostring(x) end
      table.sort(pairs_of)
      values[i] = "{" .. table.concat(pairs_of, ",") .. "}"
    else
      values[i] = tostring(v)
    end
  end
  print(debug.getinfo(2, "l").currentline, table.concat(values, ", ", 1, values.n))
end

local h = H.new()
show(h)
show(#h, h:len())
show(h:append("a", "1"))
show(h:append("b", "2", true))
h:append("a", "3")
h:append("cookie", "x")
h:append("Set-Cookie", "x")
h:append("set-cookie", "x", false)
h:append("proxy-authorization", "x")
h:append("n", nil)
show(h)
for i = -1, 12 do show(h:geti(i)) end
show(h:get("a"))
show((h:get("a")))
show(h:get("A"))
show(h:get("none"))
show(h:has("a"), h:has("A"), h:has("none"))
show(h:get_as_sequence("a"))
show(h:get_as_sequence("none"))
show(h:get_comma_separated("a"))
show(h:get_comma_separated("b"))
show(h:get_comma_separated("none"))
show(pcall(h.modifyi, h, 1, "new"))
show(h:geti(1))
show(pcall(h.modifyi, h, 1, "q", true))
show(h:geti(1))
show(pcall(h.modifyi, h, 4, "q"))
show(h:geti(4))
show(pcall(h.modifyi, h, 99, "x"))
show(pcall(h.modifyi, h, 0, "x"))
show(pcall(h.upsert, h, "a", "x"))
show(pcall(h.upsert, h, "b", "x"))
show(h:geti(2))
show(pcall(h.upsert, h, "new", "x", true))
show(h:geti(#h))
show(h:delete("a"))
show(h:delete("none"))
show(#h)
for name, value, never in h:each() do show(name, value, never) end
for name, value in pairs(h) do show(name, value) end
local c = h:clone()
show(c)
c:append("only", "c")
show(h:has("only"), c:has("only"), c:get("b"))
c:upsert("b", "other")
show(h:get("b"), c:get("b"))
local s = H.new()
local unsorted = {{"z", "1"}, {":status", "200"}, {"a", "2"}, {"a", "1"}, {"a", "1", true}, {":a", "x"}, {"B", "x"}}
for _, field in ipairs(unsorted) do
  s:append(table.unpack(field))
end
s:sort()
for name, value, never in s:each() do show(name, value, never) end
show(s:get("a"))
show(s:has("B"), s:get(":status"))
s:dump(io.stderr, "> ")
s:dump()
local e = H.new()
e:upsert(":status", nil)
e:upsert(":status", "1")
e:upsert(":status", "2")
show(e:get(":status"))
show(e:len(), e:delete(":status"), e:len())
show(pcall(function() return e.none end))
show(tostring(e), type(getmetatable(e).__index))
