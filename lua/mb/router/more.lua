-- Routes of mb.router that are not plain: of routers in routers, with functions around their handlers, with handlers
-- that are no functions; and all errors. The methods on and use.

local core = require "mb.http.core"

local router, node_at, put -- those of mb.router

-- A router that is linked has
-- middleware  functions of a handler, the outermost first; or nil
-- parents     {router =, prefix =} for each router that it is mounted in; or nil

local function check(self, name, level)
  if getmetatable(self) ~= router then
    error(("expected a router; call it as router:%s(...), with a colon"):format(name), level + 1)
  end
end

local function is_callable(value)
  if type(value) == "function" then return true end
  local meta = getmetatable(value)
  return type(meta) == "table" and meta.__call ~= nil
end

-- Returns a list of a router that is empty at first.
local function list_of(self, name)
  self.linked = true
  self[name] = rawget(self, name) or {}
  return self[name]
end

-- Plans a route of this router and, behind their prefixes, of those that it is mounted in. plan: the routes so far, and
-- in plan.taken what they take, node -> method -> pattern. Throws when the route cannot be made.
local function add(plan, self, method, pattern, handler, level)
  local segments, names, rest, path = core.route_pattern(pattern)
  if not segments then error(names, level + 1) end
  local node = node_at(self, segments, rest)
  local taken = plan.taken[node] or {}
  local other = taken[method] or node.entries and node.entries[method] and node.entries[method].pattern
  if other then error(("route %s %s: there is %s %s already"):format(method, pattern, method, other), level + 1) end
  plan.taken[node], taken[method] = taken, pattern
  local middleware = rawget(self, "middleware") or {}
  for i = #middleware, 1, -1 do
    handler = middleware[i](handler)
    if not is_callable(handler) then error("use: no handler from the middleware: " .. type(handler), level + 1) end
  end
  local entry = {handler = handler, names = names, pattern = pattern, method = method}
  plan[#plan + 1] = {router = self, node = node, path = path, entry = entry}
  for _, parent in ipairs(rawget(self, "parents") or {}) do
    add(plan, parent.router, method, parent.prefix .. pattern, handler, level + 1)
  end
end

-- Makes the routes of a plan.
local function carry_out(plan)
  for _, route in ipairs(plan) do put(route.router, route.node, route.path, route.entry) end
end

local more = {}

-- Makes a route, as mb.router's function of this name; of every kind.
function more.on(self, method, pattern, handler, level)
  if getmetatable(self) ~= router then
    check(self, method == "*" and "any" or method:lower(), level + 1)
  elseif not is_callable(handler) then
    error(("route %s: expected a handler, a function, got %s"):format(tostring(pattern), type(handler)), level + 1)
  end
  local plan = {taken = {}}
  add(plan, self, method, pattern, handler, level + 1)
  carry_out(plan)
end

-- router:on(method, pattern, handler): handler(request, params) answers the requests with this method whose path fits.
local function on(self, method, pattern, handler)
  check(self, "on", 2)
  if type(method) ~= "string" or not method:find("^[%u%d_-]+$") then
    error("on: expected a method in capital letters, such as \"PROPFIND\", got " .. tostring(method), 2)
  end
  more.on(self, method, pattern, handler, 2)
end

-- router:use(middleware): middleware(handler) returns another handler, which may call the first one. It is for all
-- routes of this router, and has to come before them; the first one is the outermost.
local function use(self, middleware)
  check(self, "use", 2)
  if not is_callable(middleware) then error("use: expected a function of a handler, got " .. type(middleware), 2) end
  if self.count > 0 then error("use: it has to come before the routes that it is for", 2) end
  local list = list_of(self, "middleware")
  list[#list + 1] = middleware
end

-- Returns whether a router is the other one, or is mounted in it at any depth.
local function leads_to(from, to)
  if from == to then return true end
  for _, parent in ipairs(rawget(from, "parents") or {}) do
    if leads_to(parent.router, to) then return true end
  end
  return false
end

-- Mounts a router, or whatever else can be called; as mb.router's mount.
function more.mount(self, prefix, other, level)
  check(self, "mount", level + 1)
  if type(prefix) ~= "string" or not prefix:find("^/.*[^/]$") then
    error("mount: expected a prefix such as \"/api\", without a slash at its end, got " .. tostring(prefix), level + 1)
  end
  if getmetatable(other) ~= router then
    more.on(self, "*", prefix .. "/*path", other, level + 1)
    return
  end
  local segments, wrong = core.route_pattern(prefix .. "/")
  if not segments then error(wrong, level + 1) end
  if leads_to(self, other) then error("mount: the router would be within itself", level + 1) end
  local plan = {taken = {}}
  for _, route in ipairs(other) do
    add(plan, self, route.method, prefix .. route.pattern, route.handler, level + 1)
  end
  carry_out(plan)
  local parents = list_of(other, "parents")
  parents[#parents + 1] = {router = self, prefix = prefix}
end

-- Adds the methods to the class. node_of, put_route: functions of mb.router. Returns those that mb.router calls.
return function(class, node_of, put_route)
  router, node_at, put = class, node_of, put_route
  class.on, class.use = on, use
  return more
end
