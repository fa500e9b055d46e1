-- mb.router: finds the handler of a request by its method and path. See mb.router(3). Beside moonbridge_http: a
-- router is an object that generate_handler takes, and it calls handler(request, params).

local path_segments = require "mb.http.core".path_segments

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

local function is_callable(value)
  local meta = type(value) ~= "function" and getmetatable(value)
  return type(value) == "function" or type(meta) == "table" and meta.__call ~= nil
end

local function check(self, level)
  if getmetatable(self) ~= router then
    error("expected a router; call it as router:get(...), with a colon", level + 1)
  end
end

-- Returns the segments of a pattern and the names of its parameters, or throws. level: that of the script.
local function parse(pattern, level)
  local function refuse(why) error(("route %s: %s"):format(pattern, why), level + 2) end
  if type(pattern) ~= "string" then
    error("expected a pattern such as \"/users/:id\", got " .. type(pattern), level + 1)
  end
  if pattern:sub(1, 1) ~= "/" then refuse("it has to begin with a slash") end
  if pattern:find("[?#]") then refuse("it is for the path of a URL only, without a query") end
  local segments, names, seen = {}, {}, {}
  for segment, at in pattern:gmatch("/([^/]*)()") do
    local kind, name = segment:match("^([:*])(.*)$")
    if kind then
      if not name:find("^[%a_][%w_]*$") then refuse(("%q is no name of a parameter"):format(name)) end
      if seen[name] then refuse(("two parameters have the name %s"):format(name)) end
      if kind == "*" and at <= #pattern then
        refuse(("nothing can follow *%s, which takes all the rest"):format(name))
      end
      names[#names + 1], seen[name] = name, true
    else
      local mark = segment:match("[:*]")
      if mark then
        refuse(("%q is no name of a parameter; for the character, write %%%02X"):format(segment, mark:byte()))
      end
      local decoded = path_segments(segment)
      if not decoded then refuse(("no request can have the segment %q"):format(segment)) end
      if segment == "" and at <= #pattern then refuse("it has an empty segment") end
      segment = decoded[1]
    end
    segments[#segments + 1] = {kind = kind, text = segment}
  end
  return segments, names
end

-- Returns the node for a pattern, which is made if it is new; and the path without its first slash if only one path
-- without escapes fits.
local function node_at(self, segments)
  local node, texts = self.root, {}
  for i, segment in ipairs(segments) do
    if segment.kind == ":" then
      node.param = node.param or {fixed = {}}
      node, texts = node.param, false
    elseif segment.kind == "*" then
      node.rest = node.rest or {fixed = {}}
      node, texts = node.rest, false
    else
      node.fixed[segment.text] = node.fixed[segment.text] or {fixed = {}}
      node = node.fixed[segment.text]
      if texts then texts[i] = segment.text end
    end
  end
  local path = texts and table.concat(texts, "/")
  return node, path and not path:find("%", 1, true) and path
end

-- Plans a route of this router and, behind their prefixes, of those that it is mounted in. plan: the routes so far, and
-- in plan.taken what they take, node -> method -> pattern. Throws when the route cannot be made; level: that of the
-- script.
local function add(plan, self, method, pattern, handler, level)
  local segments, names = parse(pattern, level + 1)
  local node, path = node_at(self, segments)
  local taken = plan.taken[node] or {}
  local other = taken[method] or node.entries and node.entries[method] and node.entries[method].pattern
  if other then
    error(("route %s %s: there is %s %s already"):format(method, pattern, method, other), level + 1)
  end
  plan.taken[node], taken[method] = taken, pattern
  for i = #self.middleware, 1, -1 do
    handler = self.middleware[i](handler)
    if not is_callable(handler) then
      error("the middleware has returned no handler, but " .. type(handler), level + 1)
    end
  end
  plan[#plan + 1] = {
    router = self, node = node, path = path, method = method,
    entry = {handler = handler, names = names, pattern = pattern},
  }
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

-- router:on(method, pattern, handler): handler(request, params) answers the requests with this method whose path fits.
-- In the pattern ":name" stands for a segment, and "*name" at its end for all that follows, which may be empty. Throws
-- when a route for the same requests is there.
local function on(self, method, pattern, handler, level)
  check(self, level + 1)
  if not is_callable(handler) then
    error(("route %s: expected a handler, a function, got %s"):format(tostring(pattern), type(handler)), level + 1)
  end
  local plan = {taken = {}}
  add(plan, self, method, pattern, handler, level + 1)
  carry_out(plan)
end

function router:on(method, pattern, handler)
  if type(method) ~= "string" or not method:find("^[%u%d_-]+$") then
    error("on: expected a method in capital letters, such as \"PROPFIND\", got " .. tostring(method), 2)
  end
  on(self, method, pattern, handler, 2)
end

for _, method in ipairs {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} do
  router[method:lower()] = function(self, pattern, handler) on(self, method, pattern, handler, 2) end
end

-- router:any(pattern, handler): for every method that has no route of its own.
function router:any(pattern, handler) on(self, "*", pattern, handler, 2) end

-- router:use(middleware): middleware(handler) returns another handler, which may call the first one. It is for all
-- routes of this router, and has to come before them; the first one is the outermost.
function router:use(middleware)
  check(self, 2)
  if not is_callable(middleware) then
    error("use: expected a function of a handler, got " .. type(middleware), 2)
  end
  if self.count > 0 then error("use: it has to come before the routes that it is for", 2) end
  self.middleware[#self.middleware + 1] = middleware
end

local function leads_to(from, to)
  if from == to then return true end
  for _, parent in ipairs(from.parents) do
    if leads_to(parent.router, to) then return true end
  end
  return false
end

-- router:mount(prefix, other): the routes of another router, now and later, behind a prefix. A function is called for
-- all that begins with the prefix and a slash, with the rest as params.path.
function router:mount(prefix, other)
  check(self, 2)
  if type(prefix) ~= "string" or not prefix:find("^/.*[^/]$") then
    error("mount: expected a prefix such as \"/api\", without a slash at its end, got " .. tostring(prefix), 2)
  end
  if getmetatable(other) ~= router then
    on(self, "*", prefix .. "/*path", other, 2)
    return
  end
  if leads_to(self, other) then error("mount: the router would be within itself", 2) end
  local plan = {taken = {}}
  for _, route in ipairs(other) do add(plan, self, route.method, prefix .. route.pattern, route.handler, 2) end
  carry_out(plan)
  other.parents[#other.parents + 1] = {router = self, prefix = prefix}
end

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

-- Returns the value of Allow.
local function listed(allowed)
  local names = {}
  if allowed.GET then allowed.HEAD = true end
  allowed.OPTIONS = true
  for name in pairs(allowed) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, ", ")
end

-- Answers a request for which there is no route: with 404, 405, or the methods that there are.
local function without_route(self, request, segments)
  local failure, allowed = require "mb.http.failure", {}
  find(self.root, segments, 1, request.method, {}, 0, allowed)
  if next(allowed) == nil then return failure.answer(request, 404) end
  local allow = listed(allowed)
  if request.method ~= "OPTIONS" then return failure.answer(request, 405, nil, {{"Allow", allow}}) end
  request:send_status(204)
  request:send_header("Allow", allow)
end

-- router(request): answers a request: by its route, or with 404, 405 or 400. OPTIONS is answered with the methods.
function router:__call(request)
  local path, method, params = request.path, request.method, {}
  if not path then -- OPTIONS *
    request:send_status(204)
    return
  end
  local entry = entry_of(self.direct[path], method)
  if not entry then
    local segments, values = path_segments(path), {}
    if not segments then return require "mb.http.failure".answer(request, 400, "a path that no resource can have") end
    entry = find(self.root, segments, 1, method, values, 0)
    if not entry then return without_route(self, request, segments) end
    local names = entry.names
    for i = 1, #names do params[names[i]] = values[i] end
  end
  request._handler = entry.handler -- an error that has no line names it
  return entry.handler(request, params)
end

return router
