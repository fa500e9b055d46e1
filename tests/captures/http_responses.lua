-- Responses in every framing.
local http = require "moonbridge_http"
return http.generate_handler({static_headers = {Date = "Sun, 06 Nov 1994 08:49:37 GMT"}}, function(request)
  local path = request.path
  if path == "early" then
    request:send_status("103 Early Hints")
    request:send_header("Link", "</style.css>; rel=preload")
    request:finish_headers()
  end
  request:send_status(path:match("^%d+") or "200 OK")
  if path == "length" then request:send_header("Content-Length", 6) end
  if path:match("^%d+") then return end
  request:send_data(path == "length" and "length" or "one")
  if path == "chunks" then request:flush() end
  request:send_data(path == "length" and "" or "\ntwo")
end)
