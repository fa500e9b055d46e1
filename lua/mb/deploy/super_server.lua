-- Shared by --inetd and --xinetd: words without quotes, and notes about handlers that only another program can start.

local addresses = require "mb.deploy.addresses"
local names = require "mb.deploy.names"
local quote = require "mb.deploy.quote"
local refuse = require "mb.deploy.refuse"

local super_server = {}

-- Returns the text if it can be a word of a line without quotes; else refuses it.
function super_server.word(text)
  if text == "" or text:find("[%s%c]") then
    refuse("%s: neither inetd nor xinetd takes %s in a program's name or argument: rename the file, or say what is "
      .. "meant in the script itself", quote.show(text), text == "" and "an empty word" or "white space")
  end
  return text
end

-- Returns the addresses, after the checks that both modes need. Refuses a script that has nothing to start.
function super_server.addresses(plan)
  addresses.check(plan.listeners, function(listener) return listener.proto ~= "any" end)
  super_server.word(plan.program)
  super_server.word(plan.script)
  names.handlers(names.app(plan.script), plan.listeners)
  return addresses.of(plan.listeners)
end

-- Returns comments about things that may not work.
function super_server.notes(plan)
  return "# " .. plan.note .. "\n"
    .. (plan.account_exists and "" or ("# There is no account %s: make it, or write another.\n"):format(plan.account))
    .. (plan.readable and "" or ("# The account %s may be unable to read the script.\n"):format(plan.account))
    .. (plan.runnable and "" or ("# The account %s may be unable to run %s.\n"):format(plan.account, plan.program))
end

-- Returns a comment for each interval and main, with the command that runs it.
function super_server.others(plan)
  local lines = {}
  for _, listener in ipairs(plan.listeners) do
    local kind = listener.proto
    if kind == "interval" or kind == "main" then
      local option = ("--%s=%s"):format(kind, names.handler(listener))
      local command = quote.shell(plan.program) .. " "
        .. quote.command(plan, quote.shell, option, kind == "main" and "timeout" or nil)
      lines[#lines + 1] = ("# Not started from here: %s%s. %s:\n#   %s\n"):format(names.describe(listener),
        kind == "interval" and (" every %.14g s"):format(listener.delay) or "",
        kind == "interval" and "By cron (whole minutes), or by systemd, see mb-handle --units"
          or "By an init script, or by systemd, see mb-handle --units",
        command)
    elseif kind == "any" then
      lines[#lines + 1] = "# Not started from here: the handler for any connection, which names no address.\n"
    end
  end
  return table.concat(lines)
end

return super_server
