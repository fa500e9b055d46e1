-- mb.router: finds the handler of a request by its method and path. See mb.router(3). Beside moonbridge_http: a
-- router is an object that generate_handler takes, and it calls handler(request, params).
-- Every connection loads this file, so it has what most of them need: plain routes, and the requests for paths that a
-- pattern has word for word. It loads mb.router.find for other requests, and mb.router.more for other routes.

local read_pattern = require "mb.http.core".route_pattern

local router = {
  linked = false, -- of a router: its routes are for others, too, or have functions around them (mb.router.more)
}
router.__index = router

-- A router is a tree. A node stands for a segment of a path and has
-- fixed     text of the next segment -> node
-- param     the node for any next segment that is not empty, or nil
-- rest      the node for all that follows, or nil
-- entries   method, or "*" for any -> {handler =, names =, pattern =, method =}, or nil
-- A path without escapes that a pattern has word for word is found at once, in the table direct. The entries are also
-- in the router itself, as a sequence.

-- router.new(): returns a router without routes.
function router.new()
  return setmetatable({root = {fixed = {}}, direct = {}, count = 0}, router)
end

-- ---- making routes ----
-- level: that of the script, as the caller would give it to error.

-- Returns the node for the segments of a pattern, which is made if it is new.
local function node_at(self, segments, rest)
  local node = self.root
  for i = 1, #segments do
    local text = segments[i]
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

-- Makes a route: entry is {handler =, names =, pattern =, method =}; path: for the table direct, or false.
local function put(self, node, path, entry)
  node.entries = node.entries or {}
  node.entries[entry.method] = entry
  if path then self.direct[path] = node end
  self.count = self.count + 1
  self[self.count] = entry
end

local loaded
local function more()
  loaded = loaded or require "mb.router.more"(router, node_at, put)
  return loaded
end

-- Makes a route if nothing is special about it, and nothing wrong.
local function on(self, method, pattern, handler, level)
  local segments, names, rest, path
  if type(handler) == "function" and getmetatable(self) == router and not self.linked then
    segments, names, rest, path = read_pattern(pattern)
  end
  local node = segments and node_at(self, segments, rest)
  if not node or node.entries and node.entries[method] then
    more().on(self, method, pattern, handler, level + 1)
    return
  end
  put(self, node, path, {handler = handler, names = names, pattern = pattern, method = method})
end

-- router:mount(prefix, other): the routes of another router, now and later, behind a prefix. A function is called for
-- all that begins with the prefix and a slash, with the rest as params.path.
function router:mount(prefix, other)
  if type(other) == "function" and getmetatable(self) == router and type(prefix) == "string" and
    prefix:find("^/.*[^/]$") then
    on(self, "*", prefix .. "/*path", other, 2)
  else
    more().mount(self, prefix, other, 2)
  end
end

-- router:get(pattern, handler) and its like are made when they are first used; "any" is for every method that has no
-- route of its own. In the pattern ":name" stands for a segment, and "*name" at its end for all that follows, which may
-- be empty. Throws when a route for the same requests is there. The methods on and use are in mb.router.more.
local NAMES = " get head post put delete patch options any "

setmetatable(router, {
  __index = function(_, name)
    local word = type(name) == "string" and name:match("^%l+$")
    if word and NAMES:find(" " .. word .. " ", 1, true) then
      local method = word == "any" and "*" or word:upper()
      router[word] = function(self, pattern, handler) on(self, method, pattern, handler, 2) end
    else
      more()
    end
    return rawget(router, name)
  end,
})

-- ---- serving ----

local find -- mb.router.find

-- router(request): answers a request: by its route, or with 404, 405 or 400. OPTIONS is answered with the methods.
function router:__call(request)
  local node, method, params = self.direct[request.path], request.method, nil
  local entries = node and node.entries
  local entry = entries and (entries[method] or method == "HEAD" and entries.GET or entries["*"])
  if not entry then
    find = find or require "mb.router.find"
    entry, params = find(self, request)
    if not entry then return end
  end
  request._handler = entry.handler -- an error that has no line names it
  return entry.handler(request, params or {})
end

return router
