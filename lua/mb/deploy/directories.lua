-- The directories that a manager reads units from (systemd.unit(5), UNIT FILE LOAD PATH).

local core = require "mb.deploy.core"

local directories = {}

local SYSTEM = {
  "/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient",
  "/etc/systemd/system.attached", "/run/systemd/system.attached",
  "/run/systemd/generator.early", "/run/systemd/generator", "/run/systemd/generator.late",
  "/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
  "/lib/systemd/system",
}
local USER = {
  "/etc/systemd/user", "/run/systemd/user", "/usr/local/share/systemd/user", "/usr/share/systemd/user",
  "/usr/local/lib/systemd/user", "/usr/lib/systemd/user",
}

local function environment(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

local function homes()
  local home, list = environment("HOME"), {}
  local function add(variable, default, names)
    local base = environment(variable) or (home and default and home .. default)
    for _, name in ipairs(base and (names or {"user"}) or {}) do list[#list + 1] = base .. "/systemd/" .. name end
  end
  add("XDG_CONFIG_HOME", "/.config", {"user.control", "user"})
  add("XDG_RUNTIME_DIR", nil, {"user.control", "transient", "generator.early", "user", "generator", "generator.late"})
  add("XDG_DATA_HOME", "/.local/share")
  return list
end

-- Returns the directories that exist, as paths without links.
function directories.of(user)
  local found, known = {}, {}
  local function add(list)
    for _, path in ipairs(list) do
      local real = core.real_path(path)
      if real and not known[real] then
        known[real] = true
        found[#found + 1] = real
      end
    end
  end
  local path = environment("SYSTEMD_UNIT_PATH")
  if path then
    local list = {}
    for directory in path:gmatch("[^:]+") do list[#list + 1] = directory end
    add(list)
    if not path:find(":$") then return found end -- only a ":" at the end adds the usual directories
  end
  if user then add(homes()) end
  add(user and USER or SYSTEM)
  return found
end

function directories.has(list, real)
  for _, directory in ipairs(list) do
    if directory == real then return true end
  end
  return false
end

-- Returns the manager that reads units from a directory, whatever the environment says: "system", "user", or nil.
function directories.manager(real)
  if real:find("/%.config/systemd/user$") or real:find("/%.local/share/systemd/user$") then return "user" end
  for name, list in pairs {system = SYSTEM, user = USER} do
    for _, path in ipairs(list) do
      if path == real or core.real_path(path) == real then return name end
    end
  end
  for _, path in ipairs(homes()) do
    if core.real_path(path) == real then return "user" end
  end
end

return directories
