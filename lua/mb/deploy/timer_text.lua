-- The text of an interval's timer unit.

local names = require "mb.deploy.names"
local service_text = require "mb.deploy.service_text"

return function(plan, unit, handler)
  local span = service_text.span(handler.listener.delay, handler.number)
  return table.concat {
    service_text.head(plan, unit, names.describe(handler.listener)),
    "\n[Timer]\n",
    "# The first run comes after one delay.\n",
    "OnActiveSec=", span, "\n",
    handler.listener.strict
      and "# strict: from start to start. A run that takes longer is followed by the next at once.\nOnUnitActiveSec="
      or "# From the end of a run to the start of the next.\nOnUnitInactiveSec=",
    span, "\n",
    "# The default is a minute.\n",
    "AccuracySec=1us\n",
    "\n[Install]\nWantedBy=timers.target\n",
  }
end
