-- require finds modules beside the script, whatever the working directory is.
local shout = require "lib.shout"
return function(socket) socket:write(shout((socket:read()))) end
