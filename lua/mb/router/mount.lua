-- The methods of mb.router for routers in routers, and for functions around handlers.

local core = require "mb.http.core"

local add, carry_out, is_callable, on -- those of mb.router
local router

local function check(self, level)
  if getmetatable(self) ~= router then
    error("expected a router; call it as router:mount(...), with a colon", level + 1)
  end
end

-- router:use(middleware): middleware(handler) returns another handler, which may call the first one. It is for all
-- routes of this router, and has to come before them; the first one is the outermost.
local function use(self, middleware)
  check(self, 2)
  if not is_callable(middleware) then error("use: expected a function of a handler, got " .. type(middleware), 2) end
  if self.count > 0 then error("use: it has to come before the routes that it is for", 2) end
  self.middleware[#self.middleware + 1] = middleware
end

-- Returns whether a router is the other one, or is mounted in it at any depth.
local function leads_to(from, to)
  if from == to then return true end
  for _, parent in ipairs(from.parents) do
    if leads_to(parent.router, to) then return true end
  end
  return false
end

-- router:mount(prefix, other): the routes of another router, now and later, behind a prefix. A function is called for
-- all that begins with the prefix and a slash, with the rest as params.path.
local function mount(self, prefix, other)
  check(self, 2)
  if type(prefix) ~= "string" or not prefix:find("^/.*[^/]$") then
    error("mount: expected a prefix such as \"/api\", without a slash at its end, got " .. tostring(prefix), 2)
  end
  if getmetatable(other) ~= router then
    on(self, "*", prefix .. "/*path", other, 2)
    return
  end
  local segments, wrong = core.route_pattern(prefix .. "/")
  if not segments then error(wrong, 2) end
  if leads_to(self, other) then error("mount: the router would be within itself", 2) end
  local plan = {taken = {}}
  for _, route in ipairs(other) do add(plan, self, route.method, prefix .. route.pattern, route.handler, 2) end
  carry_out(plan)
  other.parents[#other.parents + 1] = {router = self, prefix = prefix}
end

-- Adds the methods to the class. tools: the functions of mb.router that make routes.
return function(class, tools)
  router, add, carry_out, is_callable, on = class, tools.add, tools.carry_out, tools.is_callable, tools.on
  class.use, class.mount = use, mount
end
