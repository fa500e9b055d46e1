-- A handler that throws after it has sent a status: what was flushed is there, and no end of the body.
local http = require "moonbridge_http"
return http.generate_handler({static_headers = {Date = "Sun, 06 Nov 1994 08:49:37 GMT"}}, function(request)
  request:send_status("200 OK")
  request:send_data("flushed\n")
  request:flush()
  request:send_data("not flushed\n")
  error("deliberate")
end)
