-- Finds the route of a request whose path is not a pattern word for word: it has parameters, or escapes, or no route.

local path_segments = require "mb.http.core".path_segments

-- It goes down the tree by the segments of the path, so that the number of routes does not count. Where a node has both
-- fixed and param, it may have to try both: a path of n segments meets 2^n nodes at most, and none of them twice.

-- Returns the entry for a method. allowed: nil, or a set to which the methods of the node are added.
local function entry_of(node, method, allowed)
  local entries = node.entries
  if not entries then return nil end
  local entry = entries[method] or method == "HEAD" and entries.GET or entries["*"]
  if not entry and allowed then
    for name in pairs(entries) do allowed[name] = true end
  end
  return entry
end

-- Finds the entry below a node for the segments from i on. values gets those of the parameters.
local function find(node, segments, i, method, values, count, allowed)
  local segment = segments[i]
  if not segment then return entry_of(node, method, allowed) end
  local fixed = node.fixed[segment]
  local entry = fixed and find(fixed, segments, i + 1, method, values, count, allowed)
  if entry then return entry end
  if node.param and segment ~= "" then
    values[count + 1] = segment
    entry = find(node.param, segments, i + 1, method, values, count + 1, allowed)
    if entry then return entry end
  end
  -- The rest never begins with a slash: who opens a file of that name would be at the root of the system.
  if node.rest and (segment ~= "" or not segments[i + 1]) then
    entry = entry_of(node.rest, method, allowed)
    if entry then values[count + 1] = table.concat(segments, "/", i) end
  end
  return entry
end

-- Returns the entry for a request, and its parameters; or nil when the request is answered: there is no route.
return function(self, request)
  local path, values, params = request.path, {}, {}
  local segments = path and path_segments(path)
  local entry = segments and find(self.root, segments, 1, request.method, values, 0)
  if not entry then
    require "mb.router.failure"(self, request, segments, find)
    return nil
  end
  for i, name in ipairs(entry.names) do params[name] = values[i] end
  return entry, params
end
