-- Development (--serve --dev): what a Lua state has more. Notes each file of Lua that the script loads or looks for,
-- and gives mb.http a page for errors. No other mode loads it.

local core = require "mb.dev.core"
local http_core = require "mb.http.core"
local page = require "mb.dev.page"

local note = core.note
local searchpath = package.searchpath

-- Returns a searcher that notes the file of a module, or those that it may have, and then does what the searcher does.
local function noting_searcher(searcher)
  return function(name, ...)
    if type(package.path) == "string" then
      local file, tried = searchpath(name, package.path)
      if file then note(file) end
      for missing in (tried or ""):gmatch "no file '([^'\n]+)'" do note(missing) end
    end
    return searcher(name, ...)
  end
end

local function noting_loader(loader)
  return function(name, ...)
    if type(name) == "string" then note(name) end
    return loader(name, ...)
  end
end

-- The one for files of Lua stands behind that of mb-handle and that for package.preload.
local FILES = 3
package.searchers[FILES] = noting_searcher(package.searchers[FILES])
dofile, loadfile = noting_loader(dofile), noting_loader(loadfile) -- luacheck: ignore 121

-- core.error_page(err, name, input): returns the body of a response that shows an error, and a table of its fields.
-- err: as core.call has returned it. name: a text in its place, or nil. input: it has read the request
function http_core.error_page(err, name, input)
  return page.make(core.error_text(err, name), "The handler has failed", input:field "accept", input:field "host")
end

-- core.hand_over(socket): see http_idle.h.
http_core.hand_over = core.hand_over
