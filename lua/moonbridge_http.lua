-- moonbridge_http: turns a function of a request into a handler of a connection. The face of the modules below mb.http;
-- see moonbridge_http(3). Source: reference, "HTTP module".

local core = require "mb.http.core"

local http = core.face() -- the functions that are in C

-- generate_handler(callback[, options]), in either order, where callback is a function or an object that can be called,
-- such as a router of mb.router: returns a connect handler, which returns true. If an option is wrong, throws an error
-- that names it.
function http.generate_handler(callback, options)
  if type(callback) ~= "function" then
    callback, options = require "mb.http.misuse".arguments(callback, options, http)
  end
  if options ~= nil and type(options) ~= "table" then
    require "mb.http.misuse".fail("generate_handler: expected a table of options, got " .. type(options), callback)
  end
  local checked, wrong
  if options and next(options) ~= nil then
    checked, wrong = require "mb.http.options"(options)
    if not checked then require "mb.http.misuse".fail("generate_handler: " .. wrong, callback) end
  else
    checked = core.options()
  end
  local serve = require "mb.http.handler"
  return function(socket)
    serve(socket, callback, checked)
    return true -- the process may serve another connection
  end
end

return http
