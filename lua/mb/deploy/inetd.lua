-- --inetd: lines for inetd.conf, as openbsd-inetd reads it. Settings and comments are those of units/inetd.conf.sample.

local limits = require "mb.deploy.limits"
local quote = require "mb.deploy.quote"
local refuse = require "mb.deploy.refuse"
local super_server = require "mb.deploy.super_server"

-- openbsd-inetd silently drops all arguments after the 20th, and all bytes of a line after the 1023rd.
local ARGUMENTS_MAX, LINE_MAX = 20, 1023

-- Returns the first and the third field of the line.
local function service(a)
  if a.family == "local" then return a.path, "unix" end
  if a.family == "both" then return tostring(a.port), "tcp" end
  if a.family == "ip4" then return a.host .. ":" .. a.port, "tcp4" end
  return "[" .. a.host .. "]:" .. a.port, "tcp6"
end

-- Returns why inetd cannot listen there, or nil.
local function wrong(plan, a)
  if a.family ~= "local" then return nil end
  if limits.is_proxied(plan, a.listener) then
    return "inetd lets everybody connect to a Unix socket, who could say any address by the PROXY protocol"
  end
  if a.path:find("^@") then return "inetd knows no abstract sockets" end
  if a.path:find("[%s:]") then return "a path in inetd.conf has no white space and no \":\"" end
end

return function(plan)
  local list = super_server.addresses(plan)
  local command = quote.command(plan, super_server.word)
  local _, spaces = command:gsub(" ", " ")
  if spaces + 2 > ARGUMENTS_MAX then -- the words of the command, and the program's name before them
    refuse("inetd passes %d arguments, and there are %d: say what is meant in the script itself", ARGUMENTS_MAX - 1,
      spaces + 1)
  end
  local lines, problem = {
    "# For /etc/inetd.conf, made by mb-handle --inetd from ", plan.script, "\n",
    "# \"nowait.60000\": after 256 connections in a minute the default drops the others until it is over, or\n",
    "# turns the service off for ten (tcp6, unix, ports below 1024).\n",
    super_server.notes(plan),
  }, nil
  local found = 0
  for _, a in ipairs(list) do
    local why = wrong(plan, a)
    if why then
      problem = problem or ("listener %d: %s: %s"):format(a.number, a.path, why)
      lines[#lines + 1] = ("# Not here, as %s: %s\n"):format(why, a.path)
    else
      local where, protocol = service(a)
      local line = ("%s stream %s nowait.60000 %s %s %s %s\n"):format(where, protocol, plan.account,
        plan.program, plan.program:match("[^/]*$"), command)
      if #line > LINE_MAX then refuse("inetd reads %d bytes of a line, and there are %d", LINE_MAX, #line) end
      lines[#lines + 1], found = line, found + 1
    end
  end
  if found == 0 and #list > 0 then refuse("%s", problem) end
  lines[#lines + 1] = super_server.others(plan)
  return table.concat(lines)
end
