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
