-- mb.router: finds the handler of a request by its method and path. See mb.router(3). Beside moonbridge_http: a
-- router is an object that generate_handler takes, and it calls handler(request, params).
-- Loads mb.router.mount and mb.router.failure when they are needed.

local core = require "mb.http.core"
local path_segments, read_pattern = core.path_segments, core.route_pattern

local router = {}
router.__index = router

-- A router is a tree. A node stands for a segment of a path and has
-- fixed     text of the next segment -> node
-- param     the node for any next segment that is not empty, or nil
-- rest      the node for all that follows, or nil
-- entries   method, or "*" for any -> {handler =, names =, pattern =}, or nil
--
-- A look-up goes down the tree by the segments of the path, so that the number of routes does not count. Where a node
-- has both fixed and param, it may have to try both: a path of n segments meets 2^n nodes at most, and none of them
-- twice. A path without escapes that a pattern has word for word is found at once, in the table direct.

-- router.new(): returns a router without routes.
function router.new()
  return setmetatable({root = {fixed = {}}, direct = {}, middleware = {}, parents = {}, count = 0}, router)
end

-- ---- making routes ----
-- level: that of the script, as the caller would give it to error.

local function is_callable(value)
  if type(value) == "function" then return true end
  local meta = getmetatable(value)
  return type(meta) == "table" and meta.__call ~= nil
end

-- Returns the node for the segments of a pattern, which is made if it is new.
local function node_at(self, segments, rest)
  local node = self.root
  for _, text in ipairs(segments) do
    if text then
      node.fixed[text] = node.fixed[text] or {fixed = {}}
      node = node.fixed[text]
    else
      node.param = node.param or {fixed = {}}
      node = node.param
    end
  end
  if not rest then return node end
  node.rest = node.rest or {fixed = {}}
  return node.rest
end

-- Plans a route of this router and, behind their prefixes, of those that it is mounted in. plan: the routes so far, and
-- in plan.taken what they take, node -> method -> pattern. Throws when the route cannot be made.
local function add(plan, self, method, pattern, handler, level)
  local segments, names, rest, path = read_pattern(pattern)
  if not segments then error(names, level + 1) end
  local node = node_at(self, segments, rest)
  local taken = plan.taken[node] or {}
  local other = taken[method] or node.entries and node.entries[method] and node.entries[method].pattern
  if other then error(("route %s %s: there is %s %s already"):format(method, pattern, method, other), level + 1) end
  plan.taken[node], taken[method] = taken, pattern
  for i = #self.middleware, 1, -1 do
    handler = self.middleware[i](handler)
    if not is_callable(handler) then error("use: no handler from the middleware: " .. type(handler), level + 1) end
  end
  local entry = {handler = handler, names = names, pattern = pattern}
  plan[#plan + 1] = {router = self, node = node, path = path, method = method, entry = entry}
  for _, parent in ipairs(self.parents) do
    add(plan, parent.router, method, parent.prefix .. pattern, handler, level + 1)
  end
end

-- Makes the routes of a plan.
local function carry_out(plan)
  for _, route in ipairs(plan) do
    local self, node, entry = route.router, route.node, route.entry
    node.entries = node.entries or {}
    node.entries[route.method] = entry
    if route.path then self.direct[route.path] = node end
    self.count = self.count + 1
    self[self.count] = {method = route.method, pattern = entry.pattern, handler = entry.handler}
  end
end

local function on(self, method, pattern, handler, level)
  if getmetatable(self) ~= router then
    error("expected a router; call it as router:get(...), with a colon", level + 1)
  elseif not is_callable(handler) then
    error(("route %s: expected a handler, a function, got %s"):format(tostring(pattern), type(handler)), level + 1)
  end
  local plan = {taken = {}}
  add(plan, self, method, pattern, handler, level + 1)
  carry_out(plan)
end

-- router:on(method, pattern, handler): handler(request, params) answers the requests with this method whose path fits.
-- In the pattern ":name" stands for a segment, and "*name" at its end for all that follows, which may be empty. Throws
-- when a route for the same requests is there.
function router:on(method, pattern, handler)
  if type(method) ~= "string" or not method:find("^[%u%d_-]+$") then
    error("on: expected a method in capital letters, such as \"PROPFIND\", got " .. tostring(method), 2)
  end
  on(self, method, pattern, handler, 2)
end

for name, method in pairs {
  get = "GET", head = "HEAD", post = "POST", put = "PUT", delete = "DELETE", patch = "PATCH", options = "OPTIONS",
  any = "*", -- for every method that has no route of its own
} do
  router[name] = function(self, pattern, handler) on(self, method, pattern, handler, 2) end
end

-- Loads the methods use and mount.
setmetatable(router, {
  __index = function(_, name)
    if name ~= "use" and name ~= "mount" then return nil end
    require "mb.router.mount"(router, {add = add, carry_out = carry_out, is_callable = is_callable, on = on})
    return rawget(router, name)
  end,
})

-- ---- serving ----

-- Returns the entry for a method. allowed: nil, or a set to which the methods of the node are added.
local function entry_of(node, method, allowed)
  local entries = node and node.entries
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

-- router(request): answers a request: by its route, or with 404, 405 or 400. OPTIONS is answered with the methods.
function router:__call(request)
  local path, method, params = request.path, request.method, {}
  local entry = path and entry_of(self.direct[path], method)
  if not entry then
    local segments, values = path and path_segments(path), {}
    entry = segments and find(self.root, segments, 1, method, values, 0)
    if not entry then return require "mb.router.failure"(self, request, segments, find) end
    local names = entry.names
    for i = 1, #names do params[names[i]] = values[i] end
  end
  request._handler = entry.handler -- an error that has no line names it
  return entry.handler(request, params)
end

return router
