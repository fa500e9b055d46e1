-- The names of a script's units: systemd.unit(5) says which characters a unit's name may have.

local quote = require "mb.deploy.quote"
local refuse = require "mb.deploy.refuse"

local names = {}

-- A unit's name has at most 255 bytes. The name of a connection's instance contains two addresses as well.
local APP_MAX, UNIT_MAX = 120, 255

local function hex(c) return ("\\x%02x"):format(c:byte()) end

-- Escapes a text as systemd-escape does, except for "-": scripts have it in their names, and a unit's name may have it,
-- too. At the beginning of a name, commands would take it for an option.
local function escape(text)
  local escaped = text:gsub("[^%w:_.-]", hex)
  return (escaped:gsub("^[.-]", hex))
end

-- Returns the script's base name without .lua.
function names.base(script)
  local base = script:match("[^/]+$")
  return base:match("^(.+)%.lua$") or base
end

-- Returns the first part of the names of all units of a script.
function names.app(script)
  local app = escape(names.base(script))
  if #app > APP_MAX then
    refuse("%s: this name is too long for units; call the script something shorter, or give it a symbolic link",
      quote.show(script))
  end
  return app
end

-- Returns the name by which --interval or --main selects a listener.
function names.handler(listener)
  return listener.name or listener.proto
end

-- Returns "interval tick", or only "interval" for a listener without a name.
function names.describe(listener)
  return listener.name and listener.proto .. " " .. listener.name or listener.proto
end

-- Returns the intervals and the mains of a script: an array of {name =, unit =, listener =, number =}, where "unit" is
-- the unit's name without .timer or .service. Refuses two with the same name.
function names.handlers(app, listeners)
  local handlers, taken = {}, {}
  for number, listener in ipairs(listeners) do
    local kind = listener.proto
    if kind == "interval" or kind == "main" then
      local name = names.handler(listener)
      local other = taken[name]
      if other and other.kind == kind then
        refuse("listeners %d and %d: two of proto \"%s\" with the name %s: give each a name of its own, as in "
          .. "{proto=\"%s\", name=\"...\"%s}", other.number, number, kind, quote.show(name), kind,
          kind == "interval" and ", delay=..." or "")
      elseif other then
        refuse("listeners %d and %d: an interval and a main with the name %s, which would be one unit: give one of "
          .. "them another name", other.number, number, quote.show(name))
      end
      if not quote.is_line(name) then
        refuse("listener %d: the name %s has control characters or is no UTF-8", number, quote.show(name))
      end
      local unit = app .. "-" .. escape(name)
      if #unit + #".service" > UNIT_MAX then
        refuse("listener %d: the name %s is too long for a unit", number, quote.show(name))
      end
      taken[name] = {kind = kind, number = number}
      handlers[#handlers + 1] = {name = name, unit = unit, listener = listener, number = number}
    end
  end
  return handlers
end

return names
