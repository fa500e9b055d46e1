-- LuaJIT's bit module: operations on 32 bits, with signed results.

local bit = {}

-- Returns the value of 32 bits as a signed number.
local function signed(n)
  n = n & 0xffffffff
  return n >= 0x80000000 and n - 0x100000000 or n
end

-- Returns an integer for the argument of a function. A fraction is rounded, .5 to the even neighbour.
local function integer(value, name, position)
  local number = tonumber(value)
  if not number then
    error(("bad argument #%d to '%s' (number expected, got %s)"):format(position, name, type(value)), 3)
  end
  local whole = math.tointeger(number)
  if whole then return whole end
  local floor = math.floor(number)
  local rest = number - floor
  if rest > 0.5 or rest == 0.5 and floor % 2 == 1 then floor = floor + 1 end
  return math.tointeger(floor) or math.tointeger(floor % 2 ^ 32) or 0
end

function bit.tobit(x) return signed(integer(x, "tobit", 1)) end
function bit.bnot(x) return signed(~integer(x, "bnot", 1)) end

-- Defines a function of any number of arguments.
local function define(name, combine)
  bit[name] = function(first, ...)
    local result = integer(first, name, 1)
    for i = 1, select("#", ...) do result = combine(result, integer(select(i, ...), name, i + 1)) end
    return signed(result)
  end
end

define("band", function(a, b) return a & b end)
define("bor", function(a, b) return a | b end)
define("bxor", function(a, b) return a ~ b end)

-- Defines a function that moves bits. It gets them as 0 to 0xffffffff, and a distance of 0 to 31.
local function define_move(name, move)
  bit[name] = function(x, n)
    return signed(move(integer(x, name, 1) & 0xffffffff, integer(n, name, 2) & 31))
  end
end

define_move("lshift", function(x, n) return x << n end)
define_move("rshift", function(x, n) return x >> n end)
define_move("arshift", function(x, n) return signed(x) // (1 << n) end)
define_move("rol", function(x, n) return x << n | x >> 32 - n end)
define_move("ror", function(x, n) return x >> n | x << 32 - n end)

function bit.bswap(x)
  return signed((string.unpack(">I4", string.pack("<I4", integer(x, "bswap", 1) & 0xffffffff))))
end

-- tohex(x, [n]): returns n hexadecimal digits, 8 by default; capital letters when n is negative.
function bit.tohex(x, n)
  n = n == nil and 8 or integer(n, "tohex", 2)
  local digits = (n < 0 and "%08X" or "%08x"):format(integer(x, "tohex", 1) & 0xffffffff)
  n = math.min(math.abs(n), 8)
  return digits:sub(9 - n)
end

return bit
