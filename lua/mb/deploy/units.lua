-- --units: writes the units of a script, and says which commands to run then.

local addresses = require "mb.deploy.addresses"
local core = require "mb.deploy.core"
local directories = require "mb.deploy.directories"
local files = require "mb.deploy.files"
local limits = require "mb.deploy.limits"
local names = require "mb.deploy.names"
local pool_text = require "mb.deploy.pool_text"
local quote = require "mb.deploy.quote"
local refuse = require "mb.deploy.refuse"
local service_text = require "mb.deploy.service_text"
local socket_text = require "mb.deploy.socket_text"
local timer_text = require "mb.deploy.timer_text"

-- Returns the units, an array of {name =, text =, starts =}. starts is true for a unit that is to be enabled.
local function make(plan)
  local app = names.app(plan.script)
  local units = {}
  local function add(name, text, starts) units[#units + 1] = {name = name, text = text, starts = starts} end
  local socket = socket_text(plan, app .. ".socket")
  if plan.pool then
    add(app .. ".socket", socket, true)
    add(app .. ".service", pool_text.service(plan, app .. ".service"), pool_text.has_tasks(plan))
    return units
  end
  if socket then
    add(app .. ".socket", socket, true)
    add(app .. "@.service", service_text.connection(plan, app .. "@.service"))
  end
  for _, handler in ipairs(names.handlers(app, plan.listeners)) do
    local timer, service = handler.unit .. ".timer", handler.unit .. ".service"
    if handler.listener.proto == "interval" then
      add(timer, timer_text(plan, timer, handler), true)
      add(service, service_text.interval(plan, service, handler))
    else
      add(service, service_text.main(plan, service, handler), true)
    end
  end
  return units
end

-- Returns the names, quoted for a shell, of the units for which is() is true; nil when there is none.
local function list(units, is)
  local words = {}
  for _, unit in ipairs(units) do
    if is(unit) then words[#words + 1] = quote.shell(unit.name) end
  end
  return #words > 0 and table.concat(words, " ") or nil
end

local function starts(unit) return unit.starts end

-- Returns whether the unit may be running in an older form: a reload alone would end its listener, and start nothing.
local function was_there(unit) return unit.starts and unit.old end

-- Returns the shell commands that put the units to work.
local function commands(plan, units, directory, is_read)
  local systemctl = plan.user and "systemctl --user " or "systemctl "
  local lines = {}
  local function add(...) lines[#lines + 1] = "  " .. table.concat {...} end
  if not is_read then
    local paths = {}
    for i, unit in ipairs(units) do paths[i] = quote.shell(directory .. "/" .. unit.name) end
    add(systemctl, "link ", table.concat(paths, " "))
  end
  add(systemctl, "daemon-reload")
  -- Nobody knows whether somebody ran the commands of an earlier run: these commands do whatever is left of them.
  local again = list(units, was_there) ~= nil
  add(systemctl, again and "enable " or "enable --now ", list(units, starts))
  -- A main process whose unit has not changed is not interrupted.
  local function is_main(unit) return unit.starts and unit.name:find("%.service$") and unit.old == unit.text end
  local restart = list(units, function(unit) return unit.starts and not is_main(unit) end)
  if again and restart then add(systemctl, "restart ", restart) end
  if again and list(units, is_main) then add(systemctl, "start ", list(units, is_main)) end
  return lines
end

local function linger(user)
  local name = os.getenv("USER") or ""
  local file = user and name ~= "" and not name:find("/") and io.open("/var/lib/systemd/linger/" .. name)
  if file then file:close() end
  return file or not user
end

local function has_proxied_socket(plan)
  for _, listener in ipairs(plan.listeners) do
    if listener.proto == "local" and limits.is_proxied(plan, listener) then return true end
  end
  return false
end

-- Returns a pattern for systemctl, which says nothing where no unit matches a pattern.
local function pattern(name) return quote.shell((name:gsub("e$", "[e]"))) end

-- Returns whether the units are those of a pool.
local function is_pool(plan, list_of_names)
  local service = names.app(plan.script) .. ".service"
  for _, name in ipairs(list_of_names) do
    if name == service then return true end
  end
  return false
end

-- Returns the commands that remove units. They stop the units first, and timers before the services that these start:
-- once "disable" has removed a link, systemctl does not know the unit any more. They forget failed runs: a run that has
-- failed since the script changed is no failure.
local function removal(plan, names_left, directory)
  local systemctl = plan.user and "systemctl --user " or "systemctl "
  local paths, all, running, failed = {}, {}, {}, {}
  table.sort(names_left, function(a, b) return (a:gsub("timer$", "a")) < (b:gsub("timer$", "a")) end)
  for i, name in ipairs(names_left) do
    paths[i], all[i] = quote.shell(directory .. "/" .. name), quote.shell(name)
    if not name:find("@%.service$") then running[#running + 1] = all[i] end
    if name:find("[^@]%.service$") then failed[#failed + 1] = pattern(name) end
  end
  -- A pool's socket would start it again.
  if is_pool(plan, names_left) then table.insert(running, 1, quote.shell(names.app(plan.script) .. ".socket")) end
  local lines = {}
  local function line(...) lines[#lines + 1] = "  " .. table.concat {...} end
  if #running > 0 then line(systemctl, "stop ", table.concat(running, " ")) end
  line(systemctl, "disable ", table.concat(all, " "))
  line("rm ", table.concat(paths, " "))
  line(systemctl, "daemon-reload")
  if #failed > 0 then line(systemctl, "reset-failed ", table.concat(failed, " ")) end
  return table.concat(lines, "\n")
end

-- Refuses to write units for one manager into a directory of the other: the system's manager would run a service
-- without User= as root.
local function check_manager(plan, directory, real)
  local manager = directories.manager(real)
  if not manager or manager == (plan.user and "user" or "system") then return end
  refuse("%s is for %s: %s", directory, plan.user and "the system's manager" or "user managers",
    plan.user and "leave --user out for that, or write to ~/.config/systemd/user" or "add --user for that")
end

-- Returns whether one of the manager's directories has the unit that opens a socket again.
local function has_reopening(read)
  for _, path in ipairs(read) do
    if core.real_path(path .. "/mb-reopen@.service") then return true end
  end
  return false
end

-- Returns lines about what else there is to do or to know. read: the directories that the manager reads.
local function notes(plan, units, read)
  local lines = {}
  local function add(...) lines[#lines + 1] = "note: " .. table.concat {...} end
  if not plan.user and not plan.account_exists then
    add("there is no account ", plan.account, ", as which the units run; to make it:\n  systemd-sysusers --inline ",
      quote.shell(("u %s - \"Lua connection handlers\""):format(plan.account)))
  end
  if not plan.user and not plan.readable then
    add("the account ", plan.account, " may be unable to read ", plan.script,
      ": not everybody may read it and enter its directories")
  end
  if not plan.user and not plan.runnable then
    add("the account ", plan.account, " may be unable to run ", plan.program,
      ": not everybody may enter its directories: install it first")
  end
  if has_proxied_socket(plan) then
    add("who may connect to the Unix socket of a proxy may say any address, so the mode of all Unix sockets of the\n"
      .. "script is 0660; the group that may connect is yours to set, by systemctl ", plan.user and "--user " or "",
      "edit ", units[1].name, ", [Socket], SocketGroup=")
  end
  if not linger(plan.user) then
    add("user units run while the user is logged in; to have them run from boot on:\n  loginctl enable-linger")
  end
  for _, listener in ipairs(plan.listeners) do
    if listener.proto == "any" and not units.has_socket then
      add("the handler for any connection has no address, and no unit: listen{} would say where it listens")
    end
  end
  if units.has_socket and not has_reopening(read) then
    add("mb-reopen@.service is in none of the manager's directories: without it, a socket that has met its trigger\n"
      .. "limit stays closed; \"make install\" puts it beside mb@.service")
  end
  if plan.pool then
    add("when the text of the script changes, but not its listen{} calls, this loads it and loses no connection:\n",
      "  systemctl ", plan.user and "--user " or "", "reload ", quote.shell(names.app(plan.script) .. ".service"))
  end
  return lines
end

-- Refuses a listener that would refuse each of its connections.
local function check_abstract(plan)
  for number, listener in ipairs(plan.listeners) do
    if listener.proto == "local" and listener.path:find("^@") and limits.is_proxied(plan, listener) then
      refuse("listener %d: the PROXY protocol is not taken over an abstract socket, which has no permissions: anybody "
        .. "could say any address; write path=\"/run/NAME.sock\"", number)
    end
  end
end

-- Refuses paths that cannot stand in unit files.
local function check_paths(plan)
  if not quote.is_line(plan.script) or not quote.is_line(plan.program) then
    refuse("the name %s has control characters or is no UTF-8: it cannot stand in a unit file",
      quote.show(quote.is_line(plan.script) and plan.program or plan.script))
  end
  -- In the path of a program there is no way to write these characters.
  if plan.program:find("[\\\"']") then
    refuse("systemd starts no program with quotes or backslashes in its path: install mb-handle elsewhere than %s",
      quote.show(plan.program))
  end
end

return function(plan, directory)
  check_paths(plan)
  addresses.check(plan.listeners, function(listener) return listener.proto ~= "any" end)
  check_abstract(plan)
  if plan.pool then pool_text.check(plan) end
  local units = make(plan)
  for _, unit in ipairs(units) do units.has_socket = units.has_socket or unit.name:find("%.socket$") ~= nil end
  local real = files.directory(directory)
  -- People know the directory by the path that they gave, even if it is a link; but a relative path is of no use to
  -- systemctl.
  directory = directory:find("^/") and (directory:match("^(.-)/*$")) or real
  check_manager(plan, directory, real)
  local read = directories.of(plan.user)
  files.look(units, directory, plan)
  files.look_elsewhere(units, real, plan, read)
  files.write(units, directories.manager(real) == "system")
  local lines = {}
  for _, unit in ipairs(units) do
    lines[#lines + 1] = (unit.old == unit.text and "unchanged " or "wrote ") .. unit.path
  end
  local left = files.left_behind(units, directory, plan)
  -- All that a pool leaves behind, or is left behind for, would serve and run beside what is made now.
  local has_switched = #left > 0 and (plan.pool or is_pool(plan, left))
  if has_switched then
    lines[#lines + 1] = plan.pool and "units without a pool are in the way; to remove them first:"
      or "units of a pool are in the way; to remove them first:"
    lines[#lines + 1] = removal(plan, left, directory)
  end
  local is_read = directories.has(read, real)
  lines[#lines + 1] = is_read and "to run them:"
    or ("to run them (%s is no directory of the manager's: links lead there):"):format(directory)
  for _, line in ipairs(commands(plan, units, directory, is_read)) do lines[#lines + 1] = line end
  for _, line in ipairs(notes(plan, units, read)) do lines[#lines + 1] = line end
  if #left > 0 and not has_switched then
    lines[#lines + 1] = "note: units that the script no longer has; to remove them:\n" .. removal(plan, left, directory)
  end
  return table.concat(lines, "\n") .. "\n"
end
