-- The text of the service units. The lines that they share with units/mb@.service are here and nowhere else in Lua.

local names = require "mb.deploy.names"
local quote = require "mb.deploy.quote"
local refuse = require "mb.deploy.refuse"

local service_text = {}

-- The lines of mb@.service that hold for a timer and a main as well as for a connection.
local SHARED = [[
StandardOutput=journal
StandardError=journal
# An image of the memory would hold what clients have sent, passwords too.
LimitCORE=0
# What the script writes is not for everybody to read.
UMask=0027
# No program gains privileges: sudo and the like fail.
NoNewPrivileges=yes
]]

-- As in mb-user.conf, only for the system's units: a user's own manager cannot set it, and the units of root's own
-- manager are to keep root's powers.
local POWERLESS = [[
# None of root's powers.
CapabilityBoundingSet=
]]

-- The lines of mb@.service that hold only for a connection.
local CONNECTION = [[
# How timeout() ends the process: a client that took too long is no failure.
SuccessExitStatus=SIGALRM
# For mistakes in the script and for what clients bring about: a loop, files left open, memory that grows, a fork bomb.
LimitCPU=10min:11min
LimitNOFILE=1024
MemoryMax=512M
TasksMax=128
# More of a sandbox, at a price: hardened.conf.sample.
]]

-- For a timer that fires more often than this, the lines "Starting ..." and "Finished ..." would bury everything else
-- in the journal.
local QUIET_BELOW = 60 -- seconds

local QUIET = [[
# No lines for each start and end of a run, which are of level info. What the script prints is one level above.
SyslogLevel=notice
LogLevelMax=notice
]]

-- Returns the first line of each file. By it, a later run knows from which script the file was made, and for which
-- manager.
function service_text.mark(user, script)
  return ("# Made by mb-handle --units %sfrom %s"):format(user and "--user " or "", script)
end

-- Returns the comment at the top of a file, and the section [Unit]. what: what the unit does, for its description.
function service_text.head(plan, unit, what)
  return table.concat {
    service_text.mark(plan.user, plan.script), "\n",
    "# The next run of mb-handle --units writes it anew: changes belong in a drop-in (systemctl ",
    plan.user and "--user " or "", "edit ", unit, ").\n\n",
    "[Unit]\n",
    -- The script's name cannot stand at the end of the line, as it may end with a backslash.
    "Description=", quote.specifiers(plan.script), ": ", quote.specifiers(what):gsub("\\$", "\\ "), "\n",
    "Documentation=man:mb-handle(8)\n",
  }
end

-- Returns the part of [Service] that all units have. more: an option to add to the command, or nil. except: the
-- name of an option to leave out, or nil.
function service_text.service(plan, more, except)
  return table.concat {
    "\n[Service]\n",
    "# ", plan.note, "\n",
    "ExecStart=", quote.exec_program(plan.program), " ", quote.command(plan, quote.exec_word, more, except), "\n",
    plan.is_static and "# The journal's name for it, whichever program it is.\nSyslogIdentifier=mb-handle\n" or "",
    plan.user and "" or "User=" .. plan.account .. "\n" .. POWERLESS,
    SHARED,
  }
end

-- app@.service: one connection.
function service_text.connection(plan, unit)
  return service_text.head(plan, unit, "one connection")
    .. "# A handler that failed (exit 70) is in the journal; the unit must not stay and degrade the system.\n"
    .. "CollectMode=inactive-or-failed\n"
    .. service_text.service(plan)
    .. CONNECTION
end

-- Returns the time span of a delay, in whole microseconds: systemd knows nothing smaller.
function service_text.span(delay, number)
  -- The manager needs some milliseconds for a start.
  if delay < 0.001 then
    refuse("listener %d: an interval with delay=%.14g would do nothing but start processes: write a delay of at least "
      .. "0.001 seconds, or a {proto=\"main\"} with a loop", number, delay)
  end
  if delay > 1e9 then
    refuse("listener %d: expected an interval's delay to be at most 1e9 seconds, got %.14g", number, delay)
  end
  local microseconds = math.floor(delay * 1e6 + 0.5)
  if microseconds % 1000000 == 0 then return microseconds // 1000000 .. "s" end
  if microseconds % 1000 == 0 then return microseconds // 1000 .. "ms" end
  return microseconds .. "us"
end

local function is_verbose(plan)
  for _, option in ipairs(plan.options) do
    if option[1] == "log-level" and (option[2] == "info" or option[2] == "debug") then return true end
  end
  return false
end

-- app-NAME.service: one run of an interval.
function service_text.interval(plan, unit, handler)
  local quiet = handler.listener.delay < QUIET_BELOW and not is_verbose(plan)
  return service_text.head(plan, unit, names.describe(handler.listener))
    .. "# The default ends it after 5 starts in 10 s.\n"
    .. "StartLimitIntervalSec=0\n"
    .. service_text.service(plan, "--interval=" .. handler.name)
    .. "# A run may take as long as it likes: timeout() limits it. One that failed shows until the next.\n"
    .. "Type=oneshot\n"
    .. (quiet and QUIET or "")
end

-- app-NAME.service: a process that is always there.
function service_text.main(plan, unit, handler)
  return service_text.head(plan, unit, names.describe(handler.listener))
    .. "# The default gives up after 5 starts in 10 s.\n"
    .. "StartLimitIntervalSec=0\n"
    -- --timeout is for connections: nobody wants a main that is killed again and again.
    .. service_text.service(plan, "--main=" .. handler.name, "timeout")
    .. "Type=exec\n"
    .. "# An error, or an end by a signal. A main that returns has ended.\n"
    .. "Restart=on-failure\n"
    .. "RestartSec=1s\n"
    .. "\n[Install]\n"
    .. (plan.user and "WantedBy=default.target\n" or "WantedBy=multi-user.target\n")
end

return service_text
