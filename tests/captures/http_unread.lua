-- Bodies that the script does not read are passed over, whatever they are, as long as they have an end.
local http = require "moonbridge_http"
return http.generate_handler({static_headers = {Date = "Sun, 06 Nov 1994 08:49:37 GMT"}}, function(request)
  request:send_status("200 OK")
  request:send_data(request.path, "\n")
end)
