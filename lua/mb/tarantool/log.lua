-- Tarantool's log module: writes lines to our log. The levels that Tarantool shows by default, info among them, are
-- shown by default here, too.

local core = require "mb.tarantool.core"

-- Tarantool's level -> ours, the most urgent first; see --log-level.
local LEVELS = {error = "error", warn = "warning", info = "notice", verbose = "info", debug = "debug"}

local function is_table(value)
  local meta = getmetatable(value)
  return type(value) == "table" and not (meta and meta.__name == "fiber") -- Tarantool's fibers are no tables
end

-- Returns the text of a format and its arguments, or of one value: a table's is JSON.
local function text_of(value, ...)
  if select("#", ...) == 0 then
    if not is_table(value) then return tostring(value) end
    local good, text = pcall(require("mb.tarantool.json").encode, value)
    return good and text or tostring(value) -- what has no JSON
  end
  local good, text = pcall(string.format, value, ...)
  if not good then error(text, 3) end
  return text
end

-- Returns the functions error, warn, info, verbose and debug, which write the prefix and a message.
local function functions(prefix)
  local log = {}
  for name, level in pairs(LEVELS) do
    log[name] = function(...) core.log(level, prefix .. text_of(...)) end
  end
  return log
end

local log = functions("")

-- new(name): returns the same functions; the name of a module comes first in each of their lines.
function log.new(name) return functions(tostring(name) .. ": ") end

-- What Tarantool has there besides.
local function missing(_, name) return require "mb.tarantool.absent".find("log", name) end

return setmetatable(log, {__index = missing})
