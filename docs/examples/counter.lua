-- counter.lua: a page with a number that rises for all who look at it, by server-sent events, when one of them clicks.
-- The number is the size of a file: a click appends a byte, which the system does as a whole, so that processes that do
-- it at once lose none and need no lock. The file is open before the process locks itself, so nothing is wished.
-- Debian packages: none. Try it: mb-handle --serve counter.lua /tmp/clicks, and open http://127.0.0.1:8080/ twice; or
-- curl -N http://127.0.0.1:8080/events in one terminal, and curl -X POST http://127.0.0.1:8080/ in another one.

local http, router = require "moonbridge_http", require "mb.router"
local events, reply = require "mb.events", require "mb.reply"
local PATH, LOOK_SECONDS = ... or "/var/lib/mb/clicks", 0.2 -- how often a process looks at the number
local r, file = router.new() -- file: what prepare has opened

r:get("/", function(request)
  reply.html(request, [[<!DOCTYPE html><title>Counter</title><script src="counter.js" defer></script>
    <form method="post"><button>Clicked <output></output> times</button></form>]])
end)
r:get("/counter.js", function(request)
  reply.text(request, [[new EventSource("events").onmessage = (event) => {
    document.querySelector("output").textContent = event.data; };]], 200, {["Content-Type"] = "text/javascript"})
end)
r:post("/", function(request) -- a browser says when another site has sent it here
  if request.headers_value["Sec-Fetch-Site"] == "cross-site" then return reply.error(request, 403) end
  assert(file:write("+") and file:flush())
  reply.no_content(request)
end)
r:get("/events", function(request)
  local stream, shown = events.open(request, {retry = 1000}), nil
  repeat
    local count = file:seek("end")
    if count ~= shown then stream:send(tostring(count)) end
    shown = count
  until not stream:wait(LOOK_SECONDS) -- the client has gone
end)

listen{sandbox = "strict", prepare = function() file = assert(io.open(PATH, "a")) end,
  connect = http.generate_handler(r, {static_headers = "Content-Security-Policy: default-src 'self'"})}
