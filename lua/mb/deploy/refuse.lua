-- A module below mb.deploy gives up by throwing a refusal, which mb.deploy returns to its caller as nil, message.

local refusal = {}

-- refuse(format, ...): throws a refusal, which says what is wrong with the script or the command line, and what to do.
-- refuse.system(format, ...): throws a refusal, because the system has refused something.
-- refuse.read(thrown): returns the message of a refusal, and "system" or nil; returns nothing for another error.
local refuse = {}

local function throw(kind, format, ...)
  error(setmetatable({message = format:format(...), kind = kind}, refusal), 0)
end

function refuse.system(...) throw("system", ...) end

function refuse.read(thrown)
  if getmetatable(thrown) == refusal then return thrown.message, thrown.kind end
end

return setmetatable(refuse, {__call = function(_, ...) throw(nil, ...) end})
