-- Tarantool's errno module: errno() is the number of the last error, errno.ENAME a number, errno.strerror(number) its
-- text.

local core = require "mb.tarantool.core"

local names = core.errnos()

-- strerror([number]): the last error's text, without a number.
function names.strerror(number) return core.strerror(number or core.errno()) end

return setmetatable({}, {
  __index = names,
  __call = function(_, new) return core.errno(new) end,
})
