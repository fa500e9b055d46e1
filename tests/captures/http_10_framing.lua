-- The end of an HTTP/1.0 response of unknown length is that of the connection, also for a client that would keep it.
local http = require "moonbridge_http"
return http.generate_handler({static_headers = {Date = "Sun, 06 Nov 1994 08:49:37 GMT"}}, function(request)
  request:send_status("200 OK")
  request:send_data("one\n")
  if request.path == "flush" then request:flush() end
  request:send_data("two\n")
end)
