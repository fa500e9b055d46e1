-- The handler of a connection for which the script has none, as it does not load or has failed: it answers a request
-- with the error.

local http = require "moonbridge_http"
local page = require "mb.dev.page"

-- A client on this machine has its request ready. One that only holds a connection must not keep the process.
local IDLE_SECONDS = 10

-- Returns a connect handler. text: of the error. what: what has happened
return function(text, what)
  return http.generate_handler({idle_timeout = IDLE_SECONDS}, function(request)
    local headers = request.headers_value
    local body, fields = page.make(text, what, headers.Accept, headers.Host)
    request:close_after_finish() -- the next connection has the script as it is then
    request:send_status("500 Internal Server Error")
    for name, value in pairs(fields) do request:send_header(name, value) end
    request:send_data(body)
  end)
end
