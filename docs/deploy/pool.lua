-- A script for pools on several machines, behind haproxy-pool.cfg: a page, and what the proxy asks to learn whether
-- this machine takes requests.

local http = require "moonbridge_http"

-- While this file is there, the proxy sends no new requests: touch(1) it before the machine is taken out of use.
local DRAIN = "/run/mb-drain"
-- What is named in a sandbox has to be there already: so it is the directory.
local DRAIN_DIRECTORY = DRAIN:match("^(.*)/")

local function is_draining()
  local file = io.open(DRAIN)
  if file then file:close() end
  return file ~= nil
end

local function answer(request)
  if request.path == "health" then
    request:send_status(is_draining() and "404 Not Found" or "200 OK")
    return
  end
  request:send_status("200 OK")
  request:send_header("Content-Type", "text/plain; charset=utf-8")
  request:send_data("hello, ", request.socket.remote_addr, "\n")
end

listen{
  {proto = "tcp", port = 8080, proxy_protocol = true, proxy_trust = {"192.0.2.1"}},
  max_fork = 256, -- HAProxy's maxconn and pool-max-conn together are less
  sandbox = {read = {DRAIN_DIRECTORY}},
  connect = http.generate_handler(answer)
}
