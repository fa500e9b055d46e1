-- Finds out which unit files on the disk are ours, and writes those. Must never touch another file.

local core = require "mb.deploy.core"
local quote = require "mb.deploy.quote"
local refuse = require "mb.deploy.refuse"
local service_text = require "mb.deploy.service_text"

local files = {}

local KINDS = {directory = "a directory", link = "a symbolic link", socket = "a socket", other = "no regular file"}

-- Returns the text of a regular file; or nil and why it cannot be read.
local function read(path)
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local text
  text, message = file:read("a")
  file:close()
  return text, message
end

-- Returns whether two paths lead to the same script.
local function is_same(a, b)
  local real = core.real_path(a)
  return a == b or (real ~= nil and real == core.real_path(b))
end

-- Returns nil if the first line of a file says that this run may write it; else a text that says what the file is.
local function describe(first, plan)
  for _, user in ipairs {true, false} do
    local mark = service_text.mark(user, "")
    if first:sub(1, #mark) == mark then
      local script = first:sub(#mark + 1)
      if not is_same(script, plan.script) then return "made from " .. script end
      if user == (plan.user or false) then return nil end
      return user and "made with --user, for user managers" or "made without --user, for the system's manager"
    end
  end
  return "not made by mb-handle --units"
end

-- Returns the file's text if the file belongs to this script; false if there is no file; or nil and a text that says
-- what the file is.
local function ours(path, plan)
  local kind, message = core.kind(path)
  if kind == false then return false end
  if kind ~= "file" then return nil, KINDS[kind] or message end
  local text
  text, message = read(path)
  if not text then return nil, message end
  local first = text:match("^[^\n]*")
  local why = describe(first, plan)
  return not why and text or nil, why
end

-- Refuses if a unit's file is not ours to write; the message names all such files.
-- units: an array of {name =, text =}. Sets their fields "path" and "old", the text that is there now, or false.
function files.look(units, directory, plan)
  local foreign = {}
  for _, unit in ipairs(units) do
    local path = directory .. "/" .. unit.name
    local old, why = ours(path, plan)
    unit.path, unit.old = path, old
    if old == nil then foreign[#foreign + 1] = ("  %s (%s)"):format(path, why) end
  end
  if #foreign == 0 then return end
  refuse("nothing was written, since this is not ours to overwrite:\n%s\nmove it away, or call the script something "
    .. "else: the units are named after it", table.concat(foreign, "\n"))
end

-- Refuses units that would hide others from the manager, such as a distribution's ssh.socket.
function files.look_elsewhere(units, real, plan, directories)
  local hidden = {}
  for _, directory in ipairs(directories) do
    for _, unit in ipairs(directory ~= real and units or {}) do
      local path = directory .. "/" .. unit.name
      -- "systemctl link" makes a link to our own file.
      local is_link = core.real_path(path) == real .. "/" .. unit.name
      if core.kind(path) and not is_link and not ours(path, plan) then hidden[#hidden + 1] = "  " .. path end
    end
  end
  if #hidden == 0 then return end
  refuse("nothing was written, since there are units of that name, which are not ours:\n%s\ncall the script something "
    .. "else: the units are named after it", table.concat(hidden, "\n"))
end

local EACCES = 13

function files.write(units, is_systems)
  for _, unit in ipairs(units) do
    if unit.old ~= unit.text then
      local good, message, number = core.write(unit.path, unit.text)
      if not good then
        refuse.system("cannot write %s: %s%s", unit.path, message, number == EACCES and is_systems
          and ": the system's units are root's; your own manager's are --units ~/.config/systemd/user --user" or "")
      end
    end
  end
end

-- Returns the names of the script's units that are in the directory and not among the given ones.
function files.left_behind(units, directory, plan)
  local now, left = {}, {}
  for _, unit in ipairs(units) do now[unit.name] = true end
  for _, name in ipairs(core.list(directory) or {}) do
    if not now[name] and (name:find("%.service$") or name:find("%.socket$") or name:find("%.timer$")) then
      if ours(directory .. "/" .. name, plan) then left[#left + 1] = name end
    end
  end
  table.sort(left)
  return left
end

-- Refuses a directory that does not exist. Returns its absolute path without links.
function files.directory(directory)
  local real, message, number = core.real_path(directory)
  if real and core.kind(real) == "directory" then return real end
  if real then refuse("--units: %s is no directory", quote.show(directory)) end
  local ENOENT = 2
  if number == ENOENT and directory:find("^%-%-") then
    refuse("--units: expected a directory, got the option %s", quote.show(directory))
  elseif number == ENOENT then
    refuse("--units: there is no directory %s: make it with mkdir -p %s", quote.show(directory), quote.shell(directory))
  end
  refuse.system("--units: %s: %s", quote.show(directory), message)
end

return files
