"""Scripts that several benchmarks run: the same page, echo or file by mb-handle and by others."""

# Of what lua-http needs, Debian has the modules in plain Lua only where older versions of Lua look for them.
LUA_PATH = "/usr/share/lua/5.3/?.lua;/usr/share/lua/5.2/?.lua;/usr/share/lua/5.2/?/init.lua;;"

# ---- mb-handle ----

HANDLER = """
local http = require "moonbridge_http"
local handler = http.generate_handler(function(request)
  request:send_status("200 OK")
  request:send_header("Content-Type", "text/plain")
  request:send_data("hello\\n")
end)
"""
HELLO = f"{HANDLER}return handler\n"
COUNT_BODY = """
local http = require "moonbridge_http"
return http.generate_handler({request_body_size_limit = false}, function(request)
  local size = 0
  request:stream_request_body(function(piece)
    if piece then size = size + #piece end
  end)
  request:consume_input()
  request:send_status("200 OK")
  request:send_data(size, "\\n")
end)
"""
SEND_FILE = """
local http = require "moonbridge_http"
return http.generate_handler(function(request)
  request:send_status("200 OK")
  assert(request:send_file("%s"))
end)
"""

# ---- lua-http ----

# A function of both kinds of handlers, the real lua-http's and mb.http_server's. It needs http_headers.
LUA_HTTP_REPLY = """
local function reply(_, stream)
  local headers = assert(stream:get_headers())
  local h = http_headers.new()
  h:append(":status", "200")
  h:append("content-type", "text/plain")
  h:append("content-length", "6")
  assert(stream:write_headers(h, headers:get(":method") == "HEAD"))
  assert(stream:write_chunk("hello\\n", true))
end
"""
LUA_HTTP_COUNT_BODY = """
local function reply(_, stream)
  assert(stream:get_headers())
  local size = 0
  for piece in stream:each_chunk() do size = size + #piece end
  local h = http_headers.new()
  h:append(":status", "200")
  assert(stream:write_headers(h, false))
  assert(stream:write_chunk(size .. "\\n", true))
end
"""
LUA_HTTP_SEND_FILE = """
local function reply(_, stream)
  local headers = assert(stream:get_headers())
  local file = assert(io.open("%s", "rb"))
  local h = http_headers.new()
  h:append(":status", "200")
  h:append("content-length", tostring(file:seek("end")))
  file:seek("set")
  local head = headers:get(":method") == "HEAD"
  assert(stream:write_headers(h, head))
  if not head then stream:write_body_from_file(file) end -- fails when the client has enough
  file:close()
end
"""
LUA_HTTP_WEBSOCKET = """
local websocket = require "http.websocket"
local function reply(_, stream)
  local headers = assert(stream:get_headers())
  local ws = assert(websocket.new_from_stream(stream, headers))
  assert(ws:accept())
  for text, kind in ws:each() do
    if not ws:send(text, kind) then break end
  end
  ws:close()
end
"""
WEBSOCKET = f"""
package.path = "{LUA_PATH.removesuffix(';')}" .. package.path
{LUA_HTTP_WEBSOCKET}
local http_server = require "mb.http_server"
return function(socket) http_server.wrap(socket, {{onstream = reply}}):loop() end
"""
# As lua-http's reference has it: add_socket for a connection that inetd has accepted. It ends when that is done.
LUA_HTTP_CONNECTION = f"""
local http_server, http_headers = require "http.server", require "http.headers"
local cqueues, cs = require "cqueues", require "cqueues.socket"
{LUA_HTTP_REPLY}
local cq = cqueues.new()
local server = http_server.new {{cq = cq, tls = false, onstream = reply, onerror = function() end}}
server:add_socket(cs.fdopen(0))
while not cq:empty() do assert(cq:step()) end
"""

# ---- python3 ----

PYTHON_HANDLER = """
import http.server, socket, sys

class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer would wait for the client's delayed acknowledgement
    def log_message(self, *_):
        pass
    def say(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        if self.path == "/":
            self.say(b"hello\\n")
        else:
            super().do_GET()
    def do_POST(self):
        size, left = 0, int(self.headers["Content-Length"])
        while left > 0:
            piece = self.rfile.read(min(left, 65536))
            if not piece:
                break
            size += len(piece)
            left -= len(piece)
        self.say(b"%d\\n" % size)
"""
PYTHON_CONNECTION = f"{PYTHON_HANDLER}\nHandler(socket.socket(fileno=0), (), None)\n"
PYTHON_SERVER = f"""{PYTHON_HANDLER}
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024

Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
PYTHON_WEBSOCKETS = """
import asyncio, sys, websockets

async def echo(websocket):
    async for message in websocket:
        await websocket.send(message)

async def main():
    async with websockets.serve(echo, "127.0.0.1", int(sys.argv[1]), compression=None):
        await asyncio.Future()

asyncio.run(main())
"""

# ---- lua5.3 ----

# One client after the other, as in the examples of LuaSocket.
LUASOCKET_SERVER = """
local server = assert(require "socket".bind("127.0.0.1", arg[1], 1024))
while true do
  local client = assert(server:accept())
  client:settimeout(10)
  repeat
    local line, err = client:receive()
  until err or line == ""
  client:send("HTTP/1.1 200 OK\\r\\nContent-Type: text/plain\\r\\nContent-Length: 6\\r\\n\\r\\nhello\\n")
  client:close()
end
"""
