-- Tarantool's log module: lines of our log. What it shows by default, info among it, is shown by default here.

local core = require "mb.tarantool.core"

-- Ours by theirs, from the most urgent on; see --log-level.
local LEVELS = {error = "error", warn = "warning", info = "notice", verbose = "info", debug = "debug"}

-- A format and its arguments, or one value.
local function text_of(value, ...)
  if select("#", ...) == 0 then return tostring(value) end
  local good, text = pcall(string.format, value, ...)
  if not good then error(text, 3) end
  return text
end

-- The functions error, warn, info, verbose and debug, which write what prefix and message say.
local function functions(prefix)
  local log = {}
  for name, level in pairs(LEVELS) do
    log[name] = function(...) core.log(level, prefix .. text_of(...)) end
  end
  return log
end

local log = functions("")

-- new(name): the same, each line with the name of a module in front.
function log.new(name) return functions(tostring(name) .. ": ") end

return log
