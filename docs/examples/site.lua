-- site.lua: a static site: the files of a directory, a page of its own for what is not there, paths that have moved,
-- header fields for caches and for safety. With hosts behind the directory, requests for others are refused, such as
-- those after DNS rebinding. FILE.br, FILE.zst and FILE.gz beside FILE go to clients that take them (gzip -k FILE).
-- Debian packages: none. The handler can read the directory, and nothing else.
-- Try it: mb-handle --serve site.lua /srv/www 127.0.0.1 www.example.com; curl -i http://127.0.0.1:8080/nowhere

local http, router = require "moonbridge_http", require "mb.router"
local reply, static = require "mb.reply", require "mb.static"
local ROOT, hosts = ... or "/srv/www", {}
for _, name in ipairs {select(2, ...)} do hosts[name:lower()] = true end

local MOVED = {
  ["/index.html"] = "/",
  ["/about.html"] = "/about/",
}

local HEADERS = {
  ["Content-Security-Policy"] = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  ["Cross-Origin-Opener-Policy"] = "same-origin",
  ["Referrer-Policy"] = "same-origin",
}

-- What stands below assets/ has a hash in its name, and never changes. Of all else a browser asks whether it has.
local function cache_control(path)
  return path:find("^assets/") and "public, max-age=31536000, immutable" or "no-cache"
end

local function own_page(_, status)
  local file = status == 404 and io.open(ROOT .. "/404.html")
  if not file then return nil end -- a line of text
  local page = file:read("a")
  file:close()
  return page, {["Content-Type"] = "text/html; charset=utf-8", ["Cache-Control"] = "no-cache"}
end

local r = router.new()
r:use(function(handler)
  return function(request, params)
    local host = (request.host or ""):lower():gsub(":%d+$", "")
    if next(hosts) and not hosts[host] then return reply.error(request, 421, "this host is not here") end
    return handler(request, params)
  end
end)
for from, to in pairs(MOVED) do
  r:get(from, function(request) reply.redirect(request, to, 301) end)
end
r:get("/*path", static.new(ROOT, {precompressed = true, cache_control = cache_control}))

listen{
  sandbox = {read = {ROOT}},
  connect = http.generate_handler(r, {on_error = own_page, static_headers = HEADERS})
}
