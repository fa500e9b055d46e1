-- A handler that throws before it has sent a status: 500 without detail, and the status of the process says so.
local http = require "moonbridge_http"
return http.generate_handler({static_headers = {Date = "Sun, 06 Nov 1994 08:49:37 GMT"}}, function(request)
  if request.path == "good" then return request:send_status("200 OK") end
  error("a secret")
end)
