-- install(): code that requires http.server and http.headers gets ours from now on. The rest of lua-http is not
-- changed.

return function()
  package.loaded["http.server"] = require "mb.http_server"
  package.loaded["http.headers"] = require "mb.http_server.headers"
  if require "mb.style".active() then
    package.preload["cqueues.socket"] = function(name) return require "mb.http_server.cqueues_listen".load(name) end
  end
end
