-- webapp.lua: a small web application to copy from: routes, a page, a query, a cookie, an upload of several files,
-- events that the server sends, a download. What clients send is escaped before it is shown, and never kept whole.
-- Try it: mb-handle --serve --dev webapp.lua, then open http://127.0.0.1:8080/
-- With --sandbox=strict all but /download works, which reads a file. A script with a port of its own calls listen{} and
-- says what it needs: sandbox = {read = {"/srv/webapp"}}.

local http = require "moonbridge_http"

local UPLOAD_BYTES = 1024 * 1024 * 1024 -- one request; its files take time, but no memory
local TICKS, TICK_SECONDS = 5, 0.5      -- of /events
local DOWNLOAD = debug.getinfo(1, "S").source:sub(2) -- what /download sends: this script

-- ---- Pages ----

-- Puts values in the place of {names}. Each is escaped here, so that none is forgotten.
local function fill(template, values)
  return (template:gsub("{(%w+)}", function(name) return http.encode_html(tostring(values[name])) end))
end

-- Script and style are files of their own: the Content-Security-Policy below forbids them within a page, so that markup
-- of an attacker, should some get in, can do nothing.
local PAGE_HEAD = [[
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<h1>{title}</h1>
]]

local START_PAGE = PAGE_HEAD .. [[
<p id="visits">You have been here {visits} times.</p>
<form action="/">
  <label>Your name: <input id="name" name="name" value="{name}"></label>
  <button id="greet">Greet</button>
</form>
<form action="/upload" method="post" enctype="multipart/form-data">
  <label>Files: <input id="files" type="file" name="files" multiple></label>
  <button id="upload">Upload</button>
</form>
<p><a id="download" href="/download">Download the source</a></p>
<ol id="ticks"></ol>
<p id="state">Waiting for events</p>
<script src="/script.js"></script>
</body>
</html>
]]

local UPLOAD_PAGE_HEAD = PAGE_HEAD .. "<table>\n<tr><th>Name</th><th>Type</th><th>Bytes</th></tr>\n"
local UPLOAD_ROW = '<tr class="file"><td>{name}</td><td>{type}</td><td>{size}</td></tr>\n'
local UPLOAD_PAGE_END = '</table>\n<p><a href="/">Back</a></p>\n</body>\n</html>\n'

local STYLE = [[
body { font-family: sans-serif; margin: 2em auto; max-width: 40em; }
h1 { color: #246; }
form { margin: 1em 0; padding: 1em; background: #def; }
td, th { padding: 0.2em 1em 0.2em 0; text-align: left; }
]]

-- A browser asks for the events again when the response has ended, until the answer is 204.
local SCRIPT = [[
const source = new EventSource("/events");
source.onmessage = (event) => {
  const item = document.createElement("li");
  item.textContent = event.data;
  document.getElementById("ticks").append(item);
};
source.onerror = () => {
  const closed = source.readyState === EventSource.CLOSED;
  document.getElementById("state").textContent = closed ? "No more events" : "Connecting again";
};
]]

-- ---- Responses ----

local function begin(request, status, media_type)
  request:send_status(status)
  request:send_header("Content-Type", media_type)
end

-- A response that is one string: a page, or a text.
local function send(request, status, media_type, text)
  begin(request, status, media_type .. "; charset=utf-8")
  request:send_data(text)
end

-- Something that is the same for everyone.
local function constant(media_type, text)
  return {GET = function(request) send(request, "200 OK", media_type, text) end}
end

local function refuse(request, status)
  send(request, status, "text/plain", status .. "\n")
end

-- ---- What the application does ----

-- The page; ?name=... greets by name.
local function show_start(request)
  -- A client may put anything into a cookie: only a few digits count.
  local digits = (request.cookies.visits or ""):match("^%d+$") or "0"
  local visits = #digits <= 9 and tonumber(digits) + 1 or 1
  local name = request.get_params.name or ""
  begin(request, "200 OK", "text/html; charset=utf-8")
  -- HttpOnly: not for scripts. SameSite=Lax: not sent along with forms on other people's pages. Over https add Secure.
  request:send_header("Set-Cookie", ("visits=%d; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"):format(visits))
  request:send_header("Cache-Control", "no-store") -- or a reload might count nothing
  request:send_data(fill(START_PAGE, {
    title = "Hello, " .. (name ~= "" and name or "world") .. "!",
    visits = visits,
    name = name,
  }))
end

-- Takes any number of files, of any size, a chunk at a time, and tells what came.
local function take_form(request)
  local media_type = (request.headers_value["Content-Type"] or ""):match("^[^; ]*"):lower()
  if media_type ~= "multipart/form-data" then return refuse(request, "415 Unsupported Media Type") end
  local files, file = {}, nil
  -- "" is a pattern that every field matches, whatever its name: what no function takes would be kept in memory, and
  -- would have to fit into request_form_size_limit.
  request:stream_post_params("", function(chunk, metadata)
    if metadata then -- comes with the first chunk
      file = {name = metadata.file_name or "", type = metadata.content_type or "not given", size = 0}
      -- Without a name it is a field of another kind, or a form in which no file was chosen.
      if file.name ~= "" then files[#files + 1] = file end
    end
    if chunk then file.size = file.size + #chunk end -- here it would be written to a file, say
  end)
  request:consume_input() -- returns when all has come
  begin(request, "200 OK", "text/html; charset=utf-8")
  request:send_data(fill(UPLOAD_PAGE_HEAD, {title = ("%d files"):format(#files)}))
  for _, each in ipairs(files) do request:send_data(fill(UPLOAD_ROW, each)) end
  request:send_data(UPLOAD_PAGE_END)
end

-- The same for programs: the request body is the file (curl -T FILE http://.../upload).
local function take_file(request)
  local size = 0
  request:stream_request_body_now(function(chunk) size = size + #chunk end)
  send(request, "200 OK", "text/plain", ("%d bytes\n"):format(size))
end

-- Server-sent events: a response that goes on for a while. A browser that has lost the connection says which event it
-- got last, and gets those behind it.
local function send_events(request)
  local last = tonumber((request.headers_value["Last-Event-ID"] or ""):match("^%d+$") or 0)
  if last >= TICKS then return request:send_status("204 No Content") end
  begin(request, "200 OK", "text/event-stream")
  request:send_header("Cache-Control", "no-store")
  if request.method == "HEAD" then return end -- nobody would see us tick
  request:send_data("retry: 500\n\n") -- milliseconds until the browser asks again
  for number = last + 1, TICKS do
    moonbridge_io.poll(nil, nil, TICK_SECONDS) -- waits for nothing but the time
    request:send_data(("id: %d\ndata: tick %d of %d\n\n"):format(number, number, TICKS))
    request:flush() -- else it would wait for more, or for the end. When the client has gone, this ends the request.
  end
end

-- The part of a file that a request asks for (RFC 9110, section 14): its first and its
-- last byte, counted from 0; nothing for the whole file; false if the file has no such part.
local function wanted_range(request, size)
  local headers = request.headers_value
  -- Only GET has ranges. If-Range asks for one only if the file is still the same, which
  -- nobody knows here.
  if request.method ~= "GET" or headers["If-Range"] ~= nil then return end
  local from, to = (headers.Range or ""):match("^[Bb][Yy][Tt][Ee][Ss]=(%d*)%-(%d*)$")
  from, to = tonumber(from), tonumber(to)
  -- No range, several, or one that is not in bytes: the whole file is always a right answer.
  if not from and not to then return end
  if not from then -- the last `to` bytes
    if to == 0 or size == 0 then return false end
    return math.max(size - to, 0), size - 1
  end
  if to and to < from then return end -- not a range
  if from >= size then return false end
  return from, math.min(to or size - 1, size - 1)
end

local function send_download(request)
  local file = io.open(DOWNLOAD, "rb")
  if not file then return refuse(request, "404 Not Found") end
  local size = file:seek("end")
  local first, last = wanted_range(request, size)
  if first == false then
    request:send_status("416 Range Not Satisfiable")
    request:send_header("Content-Range", ("bytes */%d"):format(size))
    return file:close()
  end
  begin(request, first and "206 Partial Content" or "200 OK", "text/x-lua; charset=utf-8")
  request:send_header("Accept-Ranges", "bytes")
  request:send_header("Content-Disposition", 'attachment; filename="webapp.lua"')
  if first then request:send_header("Content-Range", ("bytes %d-%d/%d"):format(first, last, size)) end
  local sent, message = request:send_file(file, first, last)
  file:close()
  if not sent then error(message) end -- the log gets the message, the client a 500, or a reset if a part was sent
end

-- ---- Routes ----

-- Path, without its first slash -> method -> function(request). GET answers HEAD too: send_data and send_file know.
local routes = {
  [""] = {GET = show_start},
  ["upload"] = {POST = take_form, PUT = take_file},
  ["events"] = {GET = send_events},
  ["download"] = {GET = send_download},
  ["script.js"] = constant("text/javascript", SCRIPT),
  ["style.css"] = constant("text/css", STYLE),
}

local function allowed(route)
  local methods = {}
  for method in pairs(route) do methods[#methods + 1] = method end
  if route.GET then methods[#methods + 1] = "HEAD" end
  table.sort(methods)
  return table.concat(methods, ", ")
end

local function answer(request)
  local route = routes[request.path]
  if not route then return refuse(request, "404 Not Found") end
  local act = route[request.method == "HEAD" and "GET" or request.method]
  if act then return act(request) end
  local status = "405 Method Not Allowed"
  begin(request, status, "text/plain; charset=utf-8")
  request:send_header("Allow", allowed(route))
  request:send_data(status, "\n")
end

return http.generate_handler(answer, {
  request_body_size_limit = UPLOAD_BYTES,
  static_headers = {
    "X-Content-Type-Options: nosniff",
    "Content-Security-Policy: default-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  },
})
