-- mb.static: the files of a directory over HTTP. See mb.static(3). Beside moonbridge_http: static.new returns a
-- callback for generate_handler, or for a route of mb.router. What answers is loaded with the first request, so that a
-- connection that asks for no file pays little.

local core = require "mb.static.core"

local static = {
  date = core.date,
  parse_date = core.parse_date,
}

-- static.new(root[, options]): root is the path of a directory, which is opened now. Returns function(request, params),
-- which answers a GET or HEAD with a file: that of params.path, if there is one, else that of request.path.
function static.new(root, options)
  local set = {
    charset = "utf-8",
    default_type = "application/octet-stream",
    dotfiles = false,
    index = "index.html",
    listing = false,
    precompressed = false,
    known_types = {}, -- extension -> media type, as far as somebody has asked for it
  }
  if options ~= nil then require "mb.static.options"(set, options) end
  if type(root) ~= "string" then error("static.new: expected the path of a directory, got " .. type(root), 2) end
  local message
  set.root, message = core.root(root)
  if not set.root then error(("static.new: %s: %s"):format(root, message), 2) end
  local answer
  return function(request, params)
    answer = answer or require "mb.static.answer"
    return answer(set, request, params)
  end
end

return static
