-- The deployment text of --units, --inetd and --xinetd, made from a script's listen{} calls. Loaded for these only.

local refuse = require "mb.deploy.refuse"

local MODES = {units = "mb.deploy.units", inetd = "mb.deploy.inetd", xinetd = "mb.deploy.xinetd"}

-- deploy(plan, mode, directory)
-- plan: what the command line and the script say; its fields are listed where it is made, in src/deploy.c.
-- mode: "units", which writes files to the directory, "inetd" or "xinetd".
-- Returns the text for standard output; or nil, a message that says what to do, and "system" if the system failed.
return function(plan, mode, directory)
  local good, result = pcall(require(MODES[mode]), plan, directory)
  if good then return result end
  local message, kind = refuse.read(result)
  if not message then error(result, 0) end
  return nil, message, kind
end
