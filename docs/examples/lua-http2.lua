-- lua-http2.lua: HTTP/2 and TLS, by the real lua-http (Debian: lua-http), on whatever port the connection comes in.
-- It takes about 30 ms and 8 MB to load: mb.http_server(3) is for what HTTP/1.1 can do.
--   curl --http2-prior-knowledge http://localhost:8080/     curl -k https://localhost:8443/
-- --sandbox=strict is not for it: it loads modules and reads the certificate when a client is there.
-- Debian 12 has some of what lua-http needs for Lua 5.2 only; it runs with 5.3 as well.
package.path = package.path .. ";/usr/share/lua/5.2/?.lua;/usr/share/lua/5.2/?/init.lua"

local cqueues_socket = require "cqueues.socket"
local http_server = require "http.server"
local http_headers = require "http.headers"
local http_tls = require "http.tls"
local detach = require "mb.http_server.detach"

-- MB_TLS=FILE, in the environment: a certificate, those of its chain, and its private key, all in one PEM file. Without
-- it there is no TLS; with it there is nothing else.
-- In inetd.conf: 8443 stream tcp nowait.60000 mb-handle /usr/bin/env env MB_TLS=FILE mb-handle lua-http2.lua, with full
-- paths; in a drop-in of systemd: Environment=MB_TLS=FILE. The handler's account has to be able to read it.
local file = os.getenv "MB_TLS"

local function tls_context()
  local pem = assert(io.open(file)):read("a")
  local x509 = require "openssl.x509"
  local context = http_tls.new_server_context()
  local chain = require "openssl.x509.chain".new()
  local first = true
  for certificate in pem:gmatch("%-%-%-%-%-BEGIN CERTIFICATE.-END CERTIFICATE%-%-%-%-%-") do
    if first then context:setCertificate(x509.new(certificate)) else chain:add(x509.new(certificate)) end
    first = false
  end
  context:setCertificateChain(chain)
  context:setPrivateKey(require "openssl.pkey".new(pem))
  context:setAlpnSelect(function(_, offered)
    for _, name in ipairs(offered) do
      if name == "h2" or name == "http/1.1" then return name end
    end
  end)
  return context
end

local function reply(_, stream)
  local request = assert(stream:get_headers())
  local response = http_headers.new()
  response:append(":status", "200")
  response:append("content-type", "text/plain")
  local head_only = request:get(":method") == "HEAD"
  assert(stream:write_headers(response, head_only))
  if head_only then return end
  assert(stream:write_chunk(("Hello over HTTP/%g, %s\n"):format(
    stream.connection.version, stream:checktls() and "encrypted" or "not encrypted"), true))
end

return function(socket)
  local options = {onstream = reply, tls = false, intra_stream_timeout = 10}
  -- Else what a client does wrong would be an error of this handler.
  function options.onerror(_, context, operation, err)
    io.stderr:write(("%s on %s failed: %s\n"):format(operation, tostring(context), tostring(err)))
  end
  -- options.tls = nil would serve both, as the client begins.
  if file then options.tls, options.ctx = true, tls_context() end
  local server = http_server.new(options)
  server:add_socket(cqueues_socket.fdopen {fd = detach(socket), nodelay = true})
  assert(server:loop())
end
