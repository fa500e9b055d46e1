-- The text of a pool's service unit: units/mb-pool@.service, and for the system's manager mb-user.conf and
-- mb-pool-hardened.conf, with the command, the grace and the limits of a script.

local addresses = require "mb.deploy.addresses"
local core = require "mb.deploy.core"
local limits = require "mb.deploy.limits"
local names = require "mb.deploy.names"
local quote = require "mb.deploy.quote"
local refuse = require "mb.deploy.refuse"
local service_text = require "mb.deploy.service_text"

local pool_text = {}

-- Of [Socket], in place of the brakes of a socket that starts a process for each connection.
pool_text.BACKLOG = [[

# Clients wait here while all processes are busy, and while the pool starts. TCP clients that find no room try again
# after 1 s, those of a Unix socket are told so at once. The kernel's own limit is net.core.somaxconn.
Backlog=4096
# It counts starts of the pool, not connections, and hits a pool that ends at once again and again.
TriggerLimitIntervalSec=2s
TriggerLimitBurst=20
]]

local UNIT = [[
# Who starts the service has its socket, too. Who stops the socket ends the service: otherwise it would go on.
Requires=%N.socket
# The default gives up after 5 starts in 10 s, and closes the socket.
StartLimitIntervalSec=0
]]

local RELOADING = [[
# systemctl waits until the script is loaded and serves. The pause is for the pool to say that it has begun.
ExecReload=/bin/sh -c 'kill -HUP "$$MAINPID" && sleep 0.5'
]]

local LIFE = [[
# A first process that was killed takes no connection with it: those that run end by themselves, others wait for the
# next one. That is why only the first process is killed; it ends the others within --grace, which is %s s.
KillMode=process
TimeoutStopSec=%s
Restart=on-failure
RestartSec=100ms
# One that ends by itself has found a script that does not load, say: that takes a moment longer to pass.
ExecStopPost=/bin/sh -c '[ "$$SERVICE_RESULT" != exit-code ] || sleep 1'
# The first process runs nothing of the script: if it is silent for so long, it is stuck.
WatchdogSec=30s
# Limits of the whole pool; of each process is only LimitNOFILE=. limits.txt says what happens at each.
LimitNOFILE=1024
MemoryMax=50%%
OOMPolicy=continue
# Processes for connections, and 15 programs that each of them has started.
TasksMax=%d
# The sandbox, as far as a user's own manager can make it. hardening.txt has a recipe for what a script needs.
KeyringMode=private
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service landlock_create_ruleset landlock_add_rule landlock_restrict_self
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
]]

local HARDENED = [[
# What only the system's manager can do. A script that writes has StateDirectory=, in a drop-in.
AmbientCapabilities=
RemoveIPC=yes
PrivateUsers=yes
ProtectSystem=strict
ReadOnlyPaths=/run
%s%sPrivateDevices=yes
DevicePolicy=closed
PrivateIPC=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
]]

-- The same as MB_POOL_GRACE in src/app/pool.h; how many seconds later systemd kills.
local GRACE, MORE = 30, 10
local TASKS_LEAST, TASKS_OF_PROCESS = 4096, 16

-- Returns the value of an option as it was written, or nil.
local function option(plan, name)
  for _, given in ipairs(plan.options) do
    if given[1] == name then return given[2] end
  end
end

local function is_below(path, directories)
  for _, name in ipairs {path, core.real_path(path)} do
    for _, directory in ipairs(directories) do
      if name:sub(1, #directory) == directory then return true end
    end
  end
  return false
end

-- Returns whether the script or the program is below one of the directories.
local function any_below(plan, ...)
  return is_below(plan.script, {...}) or is_below(plan.program, {...})
end

local function hardened(plan)
  if plan.user then return "" end
  return HARDENED:format(
    any_below(plan, "/home/", "/root/", "/run/user/")
      and "# \"yes\" would hide the script, or mb-handle.\nProtectHome=read-only\n" or "ProtectHome=yes\n",
    any_below(plan, "/tmp/", "/var/tmp/")
      and "# Not PrivateTmp=, which would hide the script, or mb-handle.\n" or "PrivateTmp=yes\n")
end

-- Returns the command that loads the script and says nothing but why it does not load.
local function check_command(plan)
  return ("/bin/sh -c 'exec \"$$@\" >/dev/null' sh %s %s"):format(quote.exec_word(plan.program),
    quote.command(plan, quote.exec_word, "--check"))
end

local function life(plan)
  local grace = option(plan, "grace") or tostring(GRACE)
  local stop = math.ceil(tonumber(grace)) + MORE
  local total, counted = limits.total(plan)
  local tasks = counted and math.max(TASKS_LEAST, total * TASKS_OF_PROCESS) or TASKS_LEAST
  return LIFE:format(grace, stop .. "s", tasks)
end

-- Returns whether the script has intervals or mains: those run in the pool, and so it has to run when nobody connects.
function pool_text.has_tasks(plan)
  for _, listener in ipairs(plan.listeners) do
    if listener.proto == "interval" or listener.proto == "main" then return true end
  end
  return false
end

-- Refuses what makes no pool.
function pool_text.check(plan)
  addresses.check(plan.listeners, addresses.is_connection)
  -- Two with one name would be told apart by nobody who reads the log.
  names.handlers(names.app(plan.script), plan.listeners)
  if option(plan, "exit-idle") and pool_text.has_tasks(plan) then
    refuse("--exit-idle: the script has intervals or mains, which run in the pool and would end with it")
  end
end

-- app.service: all connections, intervals and mains.
function pool_text.service(plan, unit)
  return table.concat {
    service_text.head(plan, unit, "connections, by a pool of processes"),
    UNIT,
    service_text.service(plan),
    "Type=notify\n",
    "# A script that does not load ends the reload here, and the pool goes on as it was.\n",
    "ExecReload=", check_command(plan), "\n",
    RELOADING,
    life(plan),
    hardened(plan),
    "\n[Install]\n",
    plan.user and "WantedBy=default.target\n" or "WantedBy=multi-user.target\n",
  }
end

return pool_text
