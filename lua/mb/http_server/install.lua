-- install(): code that requires http.server, http.headers and http.websocket gets ours from now on. The rest of
-- lua-http is not changed.

return function()
  package.loaded["http.server"] = require "mb.http_server"
  package.loaded["http.headers"] = require "mb.http_server.headers"
  package.preload["http.websocket"] = function() return require "mb.http_server.websocket" end
  if require "mb.style".active() then
    package.preload["cqueues.socket"] = function(name) return require "mb.http_server.cqueues_listen".load(name) end
  end
end
