-- Makes the deployment text of --units, --inetd and --xinetd from a script's listen{} calls. Loaded for these only.

local core = require "mb.deploy.core"
local program = require "mb.deploy.program"
local refuse = require "mb.deploy.refuse"

local MODES = {units = "mb.deploy.units", inetd = "mb.deploy.inetd", xinetd = "mb.deploy.xinetd"}

-- Returns the path of a script without "." and "..": so it has one name, from whichever directory it was called.
local function without_dots(script)
  local directory, name = script:match("^(.*)/([^/]+)$")
  if not directory or not script:find("/%.?%.?/") then return script end
  local real = core.real_path(directory .. "/")
  return real and real:gsub("/$", "") .. "/" .. name or script
end

-- deploy(plan, mode, directory)
-- plan: what the command line and the script say; its fields are listed where it is made, in src/app/deploy.c.
-- mode: "units", which writes files to the directory, "inetd" or "xinetd".
-- Returns the text for standard output; or nil, a message that says what to do, and "system" if the system failed.
return function(plan, mode, directory)
  plan.script = without_dots(plan.script)
  for _, option in ipairs(plan.pool and {} or plan.options) do
    if option[1] == "grace" or option[1] == "exit-idle" then
      return nil, ("--%s goes with a pool: mb-handle --units DIR --pool SCRIPT"):format(option[1])
    end
  end
  program.choose(plan)
  local good, result = pcall(require(MODES[mode]), plan, directory)
  if good then return result end
  local message, kind = refuse.read(result)
  if not message then error(result, 0) end
  return nil, message, kind
end
