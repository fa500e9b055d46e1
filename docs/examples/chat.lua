-- chat.lua: a chat. Each member is a process with a WebSocket; Redis carries what one says to all others, and keeps the
-- last lines for those who come later. A member's first message is a name, each further one is what is said.
-- Debian packages: redis-server, lua-redis. mb.luasocket takes the place of LuaSocket.
-- Try it: mb-handle --serve chat.lua; open http://127.0.0.1:8080/ twice. curl http://127.0.0.1:8080/ shows the page,
-- and python3 -m websockets ws://127.0.0.1:8080/chat (Debian package python3-websockets) is a client in a terminal.

local http, router, reply = require "moonbridge_http", require "mb.router", require "mb.reply"
local crypto, luasocket, redis = require "mb.crypto", require "mb.luasocket", require "redis"
local REDIS_PORT, REDIS_SECONDS, KEY, r = ... or "6379", 5, "chat", router.new()
local KEPT_LINES, LINE_BYTES, NAME_BYTES, NAME_SECONDS = 50, 2000, 40, 60

r:get("/", function(request)
  reply.html(request, [[<!DOCTYPE html><title>Chat</title><script src="chat.js" defer></script>
    <ul></ul><form><input autocomplete="off" autofocus></form>]])
end)
r:get("/chat.js", function(request)
  reply.text(request, [[
    const form = document.forms[0], socket = new WebSocket(location.origin.replace("http", "ws") + "/chat");
    const show = (text) => {
      document.querySelector("ul").append(Object.assign(document.createElement("li"), {textContent: text}));
    };
    socket.onopen = () => socket.send(prompt("Your name?") || "somebody");
    socket.onmessage = (event) => show(event.data);
    socket.onclose = (event) => show("The end. " + event.reason);
    form.onsubmit = () => { socket.send(form.elements[0].value); form.reset(); return false; };
  ]], 200, {["Content-Type"] = "text/javascript"})
end)

local function connect()
  local socket = assert(moonbridge_io.tcpconnect("127.0.0.1", REDIS_PORT))
  local wrapped = luasocket.wrap(socket)
  wrapped:settimeout(REDIS_SECONDS)
  return redis.connect {socket = wrapped}, socket
end

-- Tells all, and keeps it, in one step: the order is the same everywhere. No two lines begin with the same 16 digits.
local function say(client, text)
  local line = crypto.hex(crypto.random_bytes(8)) .. text:gsub("%c", " ")
  client:transaction(function(t)
    t:rpush(KEY, line)
    t:ltrim(KEY, -KEPT_LINES, -1)
    t:publish(KEY, line)
  end)
end

local function serve(ws, name)
  local client, feed, feed_socket = connect(), connect()
  local news, known, ready = feed:pubsub {subscribe = KEY}, {}, {}
  local function show(line) ws:send(line:sub(17)) end
  news() -- the subscription holds: what is said from now on comes, also if it is among the lines that were kept
  for _, line in ipairs(client:lrange(KEY, 0, -1)) do
    known[line] = true
    show(line)
  end
  say(client, name .. " has come")
  repeat
    moonbridge_io.poll({[ws] = true, [feed_socket] = true}, nil, ws:timeout(), nil, ready)
    local line = ready[feed_socket] and news().payload
    if line and not known[line] then show(line) end
    local text, kind = ws:receive_nb()
    if kind == "text" then say(client, name .. ": " .. text) elseif kind == "binary" then ws:close(1003) end
  until kind ~= "text" and kind ~= "block"
  say(client, name .. " has gone")
end

r:get("/chat", function(request)
  local ws = request:upgrade_websocket{max_message = LINE_BYTES}
  local name = ws and ws:receive(NAME_SECONDS)
  if not name then return end
  if #name > NAME_BYTES or not name:find("^[^%c:]+$") then return ws:close(1008, "expected a name") end
  local good, message = pcall(serve, ws, name)
  if good then return end
  print("chat: " .. tostring(message))
  ws:close(1013, "The chat is out of order.")
end)

listen{sandbox = {connect = {"tcp:" .. REDIS_PORT}}, connect = http.generate_handler(r, {
  static_headers = "Content-Security-Policy: default-src 'self'"})}
