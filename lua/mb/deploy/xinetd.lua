-- --xinetd: entries for xinetd. Settings and comments are those of units/xinetd.sample.

local addresses = require "mb.deploy.addresses"
local limits = require "mb.deploy.limits"
local names = require "mb.deploy.names"
local quote = require "mb.deploy.quote"
local refuse = require "mb.deploy.refuse"
local super_server = require "mb.deploy.super_server"

local ENTRY = [[

service %s
{
	type            = UNLISTED
	port            = %d
%s	socket_type     = stream
	protocol        = tcp
	wait            = no
	user            = %s
	server          = %s
	server_args     = %s

	# The default turns the service off for 10 s after 50 connections in one.
	cps             = 1000 1
	instances       = %d
%s
	# The handler's writes are buffered until it flushes: waiting to fill a segment gains nothing.
	flags           = NODELAY%s
}
]]

local function entry(plan, a, name, command)
  local total = a.listener.max_fork or limits.DEFAULT
  local bind = a.host and ("\tbind            = %s\n"):format(a.host) or ""
  -- Without v6only, xinetd's "::" takes IPv4 as well.
  if a.host == "::" then bind = bind .. "\tv6only          = yes\n" end
  local per_source = limits.has_sources(plan, a.listener)
    and ("\tper_source      = %d\n"):format(limits.per_source(total)) or ""
  return ENTRY:format(name, a.port, bind, plan.account, plan.program, command, total, per_source,
    a.family == "ip6" and " IPv6" or "")
end

-- Returns app-PORT, and adds a number where another address has the same port.
local function unique(app, port, taken)
  local name, n = ("%s-%d"):format(app, port), 1
  while taken[name] do
    n = n + 1
    name = ("%s-%d-%d"):format(app, port, n)
  end
  taken[name] = true
  return name
end

-- Returns a key that is equal for addresses that xinetd cannot tell apart; nil without a host. Of two services that
-- differ only in their scope, xinetd turns the second off.
local function place(a)
  return a.host and ("%s %d"):format(addresses.split_scope(a.host), a.port)
end

return function(plan)
  local list = super_server.addresses(plan)
  local command = quote.command(plan, super_server.word)
  local app = names.base(plan.script):gsub("[^%w_.-]", "_")
  local taken, places, found = {}, {}, 0
  local lines = {"# A file for /etc/xinetd.d, made by mb-handle --xinetd from ", plan.script, "\n",
    super_server.notes(plan)}
  for _, a in ipairs(list) do
    if a.family == "local" then
      lines[#lines + 1] = "# Not here, as xinetd does not listen on Unix sockets: " .. a.path .. "\n"
    elseif places[place(a)] then
      lines[#lines + 1] = ("# Not here, as xinetd takes it for the same address as %s: [%s]:%d\n"):format(
        places[place(a)], a.host, a.port)
    else
      if place(a) then places[place(a)] = a.host end
      lines[#lines + 1], found = entry(plan, a, unique(app, a.port, taken), command), found + 1
    end
  end
  if found == 0 and #list > 0 then
    refuse("xinetd does not listen on Unix sockets: use systemd (mb-handle --units) or openbsd-inetd (--inetd), or "
      .. "add {proto=\"tcp\", port=...}")
  end
  local others = super_server.others(plan)
  if others ~= "" then lines[#lines + 1] = "\n" .. others end
  return table.concat(lines)
end
