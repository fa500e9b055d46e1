-- A server program for lua-http, whose handlers are chosen by the path; what their calls return goes to a report.
-- Usage: PORT REPORT
local http_server = require "http.server"
local http_headers = require "http.headers"

local report = assert(io.open(arg[2], "a"))
report:setvbuf("no")

local function show(what, ...)
  local values = table.pack(...)
  for i = 1, values.n do
    local v = values[i]
    values[i] = type(v) == "string" and ("%q"):format(v):gsub("\\\n", "\\n") or tostring(v)
  end
  report:write(what, values.n > 0 and ": " or "", table.concat(values, ", ", 1, values.n), "\n")
  return ...
end

-- Calls a method and reports what it returns; try: an error, too.
local function call(stream, method, ...) return show(method, stream[method](stream, ...)) end
local function try(stream, method, ...) return show(method, pcall(stream[method], stream, ...)) end

local function head(status, ...)
  local headers = http_headers.new()
  headers:append(":status", status)
  for _, field in ipairs {...} do headers:append(field[1], field[2]) end
  return headers
end

local paths = {}

-- A response of a head and one piece of body.
local function simple(path, status, fields, body)
  paths[path] = function(stream)
    try(stream, "write_headers", head(status, table.unpack(fields)), body == nil)
    if body then try(stream, "write_chunk", body, true) end
  end
end

paths["/hello"] = function(stream, request)
  local is_head = request:get(":method") == "HEAD"
  call(stream, "write_headers", head("200", {"content-type", "text/plain"}), is_head)
  if not is_head then call(stream, "write_chunk", "Hello world!\n", true) end
end
simple("/empty", "200", {})
simple("/304", "304", {{"content-length", "5"}, {"etag", "x"}})
simple("/204", "204", {})
simple("/205", "205", {})
simple("/notfound", "404", {})
simple("/unassigned", "599", {})
simple("/fields", "200", {{"x-a", "1"}, {"set-cookie", "a=b"}, {"x-b", ""}, {"set-cookie", "c=d"}, {"X-C", "3"}})
paths["/none"] = function() end
paths["/length"] = function(stream)
  call(stream, "write_headers", head("200", {"content-length", "4"}), false)
  call(stream, "write_chunk", "body", true)
end
paths["/string"] = function(stream)
  call(stream, "write_headers", head("200"), false)
  call(stream, "write_body_from_string", "body")
end
local function file()
  local f = io.tmpfile()
  f:write(("0123456789"):rep(1000))
  f:seek("set", 3)
  return f
end
paths["/file"] = function(stream)
  call(stream, "write_headers", head("200"), false)
  call(stream, "write_body_from_file", file())
end
paths["/part-of-file"] = function(stream)
  call(stream, "write_headers", head("200", {"content-length", "4"}), false)
  call(stream, "write_body_from_file", {file = file(), count = 4})
end
for _, count in ipairs {"-1", "0.5", "0/0", "'x'"} do
  paths["/count=" .. count] = function(stream)
    call(stream, "write_headers", head("200"), false)
    show("good", (pcall(stream.write_body_from_file, stream, {file = file(), count = load("return " .. count)()})))
    error("ends")
  end
end
paths["/object"] = function(stream)
  local reader = {left = 3}
  function reader:read(n)
    self.left = self.left - 1
    if self.left >= 0 then return ("abc"):sub(1, n) end
  end
  call(stream, "write_headers", head("200"), false)
  call(stream, "write_body_from_file", {file = reader})
end
paths["/switch"] = function(stream)
  show("good", (pcall(stream.write_headers, stream, head("101"), false)))
  error("ends")
end
paths["/pieces"] = function(stream)
  call(stream, "write_headers", head("200"), false)
  call(stream, "write_chunk", "abc", false)
  call(stream, "write_chunk", "", false)
  call(stream, "write_chunk", ("x"):rep(100000), false)
  call(stream, "write_chunk", "", true)
  show("state", stream.state)
end
simple("/connection", "200", {{"connection", "foo"}, {"a", "b"}, {"connection", "Bar, x"}}, "abc")
simple("/keep-alive", "200", {{"connection", "keep-alive"}}, "abc")
simple("/close", "200", {{"connection", "close"}}, "abc")
simple("/coding", "200", {{"transfer-encoding", "chunked"}}, "abc")
simple("/repeated-length", "200", {{"content-length", "3"}, {"content-length", "3"}}, "abc")
simple("/upper-case", "200", {{"Content-Type", "x"}, {"CONTENT-LENGTH", "3"}}, "abc")
simple("/204-body", "204", {}, "abc")
simple("/line-end", "200", {{"x-a", "b\r\nc: d"}})
simple("/too-short", "200", {{"content-length", "8"}}, "body")
simple("/bad-connection", "200", {{"connection", "a b"}}, "abc")
paths["/no-status"] = function(stream)
  local headers = http_headers.new()
  headers:append("x", "y")
  try(stream, "write_headers", headers, true)
end
paths["/incomplete"] = function(stream)
  call(stream, "write_headers", head("200"), false)
  call(stream, "write_chunk", "abc")
end
paths["/incomplete-length"] = function(stream)
  call(stream, "write_headers", head("200", {"content-length", "8"}), false)
  call(stream, "write_chunk", "abc")
end
paths["/throws"] = function() error("boom") end
paths["/throws-after-head"] = function(stream)
  call(stream, "write_headers", head("200"), false)
  error("boom")
end
paths["/throws-in-body"] = function(stream)
  call(stream, "write_headers", head("200"), false)
  call(stream, "write_chunk", "abc")
  error("boom")
end
paths["/twice"] = function(stream)
  call(stream, "write_headers", head("200"), false)
  call(stream, "write_headers", head("200"), true)
  show("state", stream.state)
end
paths["/trailers"] = function(stream)
  call(stream, "write_headers", head("200"), false)
  call(stream, "write_chunk", "abc")
  local trailers = http_headers.new()
  trailers:append("x-t", "1")
  call(stream, "write_headers", trailers, true)
  show("state", stream.state)
end
paths["/early-hints"] = function(stream)
  call(stream, "write_headers", head("103", {"link", "x"}), false)
  call(stream, "write_headers", head("200"), true)
end
paths["/continue"] = function(stream)
  call(stream, "write_continue")
  call(stream, "get_body_as_string")
  stream:write_headers(head("200"), false)
  stream:write_body_from_string("got")
end
paths["/shutdown"] = function(stream)
  call(stream, "shutdown")
  show("state", stream.state)
end
paths["/after-shutdown"] = function(stream)
  stream:shutdown()
  call(stream, "write_headers", head("200"), true)
  call(stream, "write_chunk", "x", true)
  call(stream, "get_next_chunk")
  call(stream, "get_headers")
  call(stream, "write_continue")
  call(stream, "shutdown")
end
paths["/after-end"] = function(stream)
  call(stream, "write_headers", head("200"), true)
  call(stream, "write_headers", head("200"), true)
  call(stream, "write_chunk", "x", true)
end
paths["/names"] = function(stream, request)
  call(stream, "localname")
  call(stream, "peername")
  call(stream, "checktls")
  show("connection", stream.connection.type, stream.connection.version, stream.state, tostring(stream))
  for name, value, never in request:each() do show("field", name, value, never) end
  stream:write_headers(head("200"), true)
end
paths["/upgrade-asked"] = function(stream)
  call(stream, "write_headers", head("101", {"upgrade", "foo"}, {"connection", "upgrade"}), false)
end
paths["/upgrade-is-told"] = function(stream)
  call(stream, "write_headers", head("101", {"upgrade", "foo"}, {"connection", "upgrade"}), false)
  local socket = stream.connection:take_socket()
  show("taken", type(socket), stream.connection.socket, stream.state)
  socket:write("raw\n")
  socket:flush()
  socket:close()
end

-- What a request body is read with.
local function reads(path, read)
  paths[path] = function(stream)
    show("reads")
    read(stream)
    stream:write_headers(head("200"), true)
  end
end

paths["/body"] = function(stream)
  show("reads")
  call(stream, "get_body_as_string")
  call(stream, "get_body_as_string")
  call(stream, "get_next_chunk")
  show("state", stream.state)
  stream:write_headers(head("200"), false)
  stream:write_body_from_string("got")
end
reads("/chunks", function(stream)
  local all = {}
  for chunk in stream:each_chunk() do all[#all + 1] = chunk end
  show("all", table.concat(all))
end)
reads("/chars", function(stream)
  for _, n in ipairs {3, 2, 100, 3} do call(stream, "get_body_chars", n) end
end)
reads("/until", function(stream)
  call(stream, "get_body_until", "f", true, true)
  call(stream, "get_body_until", "[hi]", false, false)
  call(stream, "get_body_until", "Z", true, true)
  call(stream, "get_body_until", "Z", true, true)
end)
reads("/unget", function(stream)
  call(stream, "get_body_chars", 4)
  call(stream, "unget", "XYZ")
  call(stream, "get_next_chunk")
  call(stream, "unget", "Q")
  call(stream, "unget", "R")
  call(stream, "get_body_as_string")
  call(stream, "unget", "again")
  call(stream, "get_next_chunk")
  call(stream, "get_next_chunk")
end)
reads("/to-file", function(stream)
  local f = stream:get_body_as_file()
  show("file", io.type(f), f:seek("cur"), f:read("a"))
end)
reads("/save", function(stream)
  local f = io.tmpfile()
  call(stream, "save_body_to_file", f)
  f:seek("set")
  show("file", f:read("a"))
end)
reads("/state", function(stream)
  show("state", stream.state)
  stream:get_body_as_string()
  show("state", stream.state)
end)
reads("/head-twice", function(stream)
  call(stream, "get_body_as_string")
  call(stream, "get_headers")
end)
reads("/timeout", function(stream)
  call(stream, "get_body_as_string", 0.1)
  call(stream, "get_body_as_string")
end)

paths["/misuse-same"] = function(stream)
  try(stream, "write_chunk", "x", true)
  try(stream, "write_headers", head("200"), nil)
  stream:write_headers(head("200"), true)
end

local server = assert(http_server.listen {
  host = "127.0.0.1",
  port = tonumber(arg[1]),
  tls = false, -- otherwise lua-http makes a TLS context at each start, which takes a third of a second
  onstream = function(_, stream)
    local request, message, number = stream:get_headers()
    if not request then
      show("get_headers", request, message, number)
      return
    end
    local path = request:get(":path"):gsub("^http://x", "")
    local handler = paths[path] or paths["/hello"]
    show("begin")
    handler(stream, request)
    show("done")
  end,
  onerror = function(_, _, ...) show("onerror", ...) end,
})
assert(server:listen())
report:write("listening\n")
assert(server:loop())
