-- install(): code that requires http.server and http.headers gets ours. The rest of lua-http stays itself.

return function()
  package.loaded["http.server"] = require "mb.http_server"
  package.loaded["http.headers"] = require "mb.http_server.headers"
end
