-- Tarantool's digest module. Base64, the checksums and urandom are here; the cryptography is OpenSSL's, through the Lua
-- module openssl of Debian's package lua-luaossl, which is loaded when a program first calls such a function.

local digest = {}

-- Returns a module of lua-luaossl. Otherwise the error blames the caller of the function that calls this, which is at
-- the level 3, or at another.
local function openssl(name, user, level)
  local good, module = pcall(require, "openssl." .. name)
  if good then return module end
  if not tostring(module):find("module 'openssl." .. name .. "' not found", 1, true) then error(module, 0) end
  error(("digest.%s needs the Lua module openssl: install the package lua-luaossl"):format(user), level or 3)
end

local function check_string(value, name)
  if type(value) ~= "string" then error(("Usage: digest.%s(string)"):format(name), 3) end
  return value
end

local function hex(text) return (text:gsub(".", function(char) return ("%02x"):format(char:byte()) end)) end

-- ---- hashes ----

-- Returns a hash of lua-luaossl for a function of the module. Errors blame the caller of that function.
local function new_hash(name, user)
  local good, hash = pcall(openssl("digest", user, 4).new, name)
  if good then return hash end
  error(("digest.%s: this system's OpenSSL has no %s"):format(user, name), 3)
end

for _, name in ipairs{"md4", "md5", "sha1", "sha224", "sha256", "sha384", "sha512"} do
  digest[name] = function(text)
    check_string(text, name)
    local hash = new_hash(name, name)
    return hash:final(text)
  end
  digest[name .. "_hex"] = function(text)
    check_string(text, name .. "_hex")
    return hex(new_hash(name, name .. "_hex"):final(text))
  end
end

local KEY_BYTES, KEY_ROUNDS = 128, 100000 -- Tarantool's defaults

local function pbkdf2(name, password, salt, rounds, length)
  if type(password) ~= "string" or type(salt) ~= "string" then
    error(("Usage: digest.%s(password, salt [, iterations [, length]])"):format(name), 3)
  end
  local kdf = openssl("kdf", name, 4)
  return kdf.derive{type = "PBKDF2", md = "sha256", pass = password, salt = salt,
    iter = rounds or KEY_ROUNDS, outlen = length or KEY_BYTES}
end

function digest.pbkdf2(...)
  local key = pbkdf2("pbkdf2", ...)
  return key
end

function digest.pbkdf2_hex(...)
  local key = pbkdf2("pbkdf2_hex", ...)
  return hex(key)
end

digest.aes256cbc = {}
for _, direction in ipairs{"encrypt", "decrypt"} do
  digest.aes256cbc[direction] = function(text, key, start)
    check_string(text, "aes256cbc." .. direction)
    local cipher = openssl("cipher", "aes256cbc." .. direction).new("aes-256-cbc")
    return cipher[direction](cipher, key, start):final(text)
  end
end

-- ---- random bytes ----

-- urandom(n): returns n bytes that nobody can guess.
function digest.urandom(n)
  n = math.tointeger(n)
  if not n or n < 0 then error("Usage: digest.urandom(len)", 2) end
  local file = assert(io.open("/dev/urandom", "rb"))
  file:setvbuf("no") -- a buffer would take more from the system than it returns
  local bytes = n == 0 and "" or file:read(n)
  file:close()
  if not bytes or #bytes < n then error("digest.urandom: /dev/urandom has not enough bytes", 2) end
  return bytes
end

-- ---- base64 ----

local PLAIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local FOR_URLS = PLAIN:sub(1, 62) .. "-_"
local LINE_CHARS = 72

-- base64_encode(text, [options]): returns lines of 72 characters. Options: nopad, nowrap, and urlsafe, which is both
-- with the alphabet of URLs.
function digest.base64_encode(text, options)
  if type(text) ~= "string" then error("Usage: digest.base64_encode(string[, table])", 2) end
  options = options or {}
  local alphabet = options.urlsafe and FOR_URLS or PLAIN
  local encoded = text:gsub("..?.?", function(bytes)
    local a, b, c = bytes:byte(1, 3)
    local bits = a << 16 | (b or 0) << 8 | (c or 0)
    local chars = {}
    for i = 0, #bytes do
      local index = (bits >> 18 - 6 * i & 63) + 1
      chars[i + 1] = alphabet:sub(index, index)
    end
    return table.concat(chars)
  end)
  local padding = (options.nopad or options.urlsafe) and "" or ("="):rep(-#encoded % 4)
  if not (options.nowrap or options.urlsafe) then encoded = encoded:gsub(("."):rep(LINE_CHARS), "%0\n") end
  return encoded .. padding
end

-- base64_decode(text): takes both alphabets, and passes over other characters.
function digest.base64_decode(text)
  if type(text) ~= "string" then error("Usage: digest.base64_decode(string)", 2) end
  local values = {}
  for i = 1, 64 do values[PLAIN:byte(i)], values[FOR_URLS:byte(i)] = i - 1, i - 1 end
  text = text:gsub("[^%w+/_-]", "")
  if #text % 4 == 1 then text = text:sub(1, -2) end -- one character alone is no byte
  return (text:gsub("...?.?", function(chars)
    local bits = 0
    for i = 1, 4 do bits = bits << 6 | (values[chars:byte(i)] or 0) end
    return (string.pack(">I3", bits):sub(1, #chars - 1))
  end))
end

-- ---- checksums ----

local crc_table

-- Continues a CRC-32C.
local function crc32_update(crc, text)
  if not crc_table then
    crc_table = {}
    for i = 0, 255 do
      local c = i
      for _ = 1, 8 do c = c & 1 == 1 and c >> 1 ~ 0x82f63b78 or c >> 1 end
      crc_table[i] = c
    end
  end
  for i = 1, #text do crc = crc >> 8 ~ crc_table[(crc ~ text:byte(i)) & 0xff] end
  return crc
end

local MURMUR_SEED, CRC_BEGIN = 13, 0xffffffff

local function murmur(seed, text)
  local hash = seed & 0xffffffff
  local function mixed(k)
    k = k * 0xcc9e2d51 & 0xffffffff
    k = (k << 15 | k >> 17) & 0xffffffff
    return k * 0x1b873593 & 0xffffffff
  end
  local whole = #text - #text % 4
  for i = 1, whole, 4 do
    hash = hash ~ mixed((string.unpack("<I4", text, i)))
    hash = (hash << 13 | hash >> 19) & 0xffffffff
    hash = hash * 5 + 0xe6546b64 & 0xffffffff
  end
  local rest = text:sub(whole + 1)
  if rest ~= "" then hash = hash ~ mixed((string.unpack("<I4", rest .. ("\0"):rep(4 - #rest)))) end
  hash = hash ~ #text
  hash = (hash ~ hash >> 16) * 0x85ebca6b & 0xffffffff
  hash = (hash ~ hash >> 13) * 0xc2b2ae35 & 0xffffffff
  return hash ~ hash >> 16
end

-- Makes the object that is called for a whole text, and whose new() takes it in parts. start(options) returns the first
-- state, add(state, text) the next, result(state) the number.
local function checksum(name, extra, start, add, result)
  local methods = {}
  methods.__index = methods

  function methods:update(text) self.state = add(self.state, check_string(text, name)) end
  function methods:result() return result(self.state) end
  function methods:clear() self.state = start(self.options) end
  function methods:copy() return setmetatable({state = self.state, options = self.options}, methods) end

  function extra.new(options)
    local object = setmetatable({options = options or {}}, methods)
    object:clear()
    if options and options.string then object:update(options.string) end
    return object
  end
  return setmetatable(extra, {__call = function(_, text)
    check_string(text, name)
    return result(add(start{}, text))
  end})
end

digest.crc32_update = function(crc, text) return crc32_update(crc & 0xffffffff, check_string(text, "crc32_update")) end
digest.crc32 = checksum("crc32", {crc_begin = CRC_BEGIN},
  function(options) return options.crc_begin or CRC_BEGIN end, crc32_update, function(crc) return crc end)
digest.murmur = checksum("murmur", {default_seed = MURMUR_SEED},
  function(options) return {seed = options.seed or MURMUR_SEED, text = ""} end,
  function(state, text) return {seed = state.seed, text = state.text .. text} end,
  function(state) return murmur(state.seed, state.text) end)

-- guava(state, buckets): returns the bucket of a number, 0 to buckets - 1, by jump consistent hashing (Lamping and
-- Veach, 2014).
function digest.guava(state, buckets)
  state, buckets = math.tointeger(state), math.tointeger(buckets)
  if not state or not buckets or buckets < 1 then
    error("Usage: digest.guava(state, buckets), integers", 2)
  end
  local candidate = 0
  while true do
    state = state * 2862933555777941757 + 1
    local following = math.floor((candidate + 1) / (((state >> 33) + 1) / 2 ^ 31))
    if following >= buckets then return candidate end
    candidate = following
  end
end

return digest
