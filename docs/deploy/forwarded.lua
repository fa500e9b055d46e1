-- The client's address behind nginx's http module, which has no PROXY protocol: by X-Forwarded-For.
-- Whoever can connect can send that field, so only what a proxy of ours has set counts.
-- It needs nothing but the connection: mb-handle --sandbox=strict takes everything else away.

local http = require "moonbridge_http"

-- The addresses that the proxies connect from.
local PROXIES = {["127.0.0.1"] = true, ["192.0.2.1"] = true}

local function client_address(request)
  local socket = request.socket
  -- Without an IP address it is a Unix socket: its mode may allow none but the proxy (SocketMode=, SocketGroup=).
  local peer = (socket.remote_ip4 or socket.remote_ip6) and socket.remote_addr
  if peer and not PROXIES[peer] then return peer end
  return request.headers_value["X-Forwarded-For"] or peer
end

return http.generate_handler(function(request)
  request:send_status("200 OK")
  request:send_header("Content-Type", "text/plain; charset=utf-8")
  request:send_data(client_address(request) or "unknown", "\n")
end)
