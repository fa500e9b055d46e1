-- Tarantool's uri module: takes addresses of services apart, and puts them together.

local uri = {}

-- What no URI has: blanks, control characters, some marks, and bytes that are not ASCII (RFC 3986, 2).
local NOT_IN_URI = '[%z\1-\32"<>\\^`{|}\127-\255]'

local function set_unix(parts, path)
  parts.host, parts.service, parts.unix = "unix/", path, path
  return parts
end

-- Splits "login:password@" off the text. Returns the rest; nil when there is an empty login.
local function take_login(parts, text)
  local user, rest = text:match("^([^/@]*)@(.*)$")
  if not user then return text end
  if user == "" then return nil end
  parts.login, parts.password = user:match("^([^:]*):(.*)$")
  if not parts.login then parts.login = user end
  return parts.login ~= "" and rest or nil
end

-- Reads host and service. Returns false when the text is not both.
local function take_host(parts, text)
  local ipv6, service = text:match("^%[([%x:.]+)%](.*)$")
  if ipv6 then
    parts.host, parts.ipv6 = ipv6, ipv6
  else
    parts.host, service = text:match("^([^:%[%]@]+)(.*)$")
    if not parts.host then return false end
    if parts.host:find("^%d+%.%d+%.%d+%.%d+$") then parts.ipv4 = parts.host end
  end
  if service == "" or service == ":" then return true end
  parts.service = service:match("^:(%w[%w_-]*)$")
  return parts.service ~= nil
end

-- parse(text): returns a table with some of scheme, login, password, host, service, path, query, fragment, and ipv4,
-- ipv6 or unix when the host is that; nil when the text is no URI.
function uri.parse(text)
  if type(text) ~= "string" then error("Usage: uri.parse(string)", 2) end
  if text == "" or text:find(NOT_IN_URI) then return nil end
  local parts = {}
  if text:find("^%d+$") then
    parts.service = text
    return parts
  end
  if text:find("^/[^?#]*$") then return set_unix(parts, text) end
  local rest, scheme
  rest, parts.fragment = text:match("^([^#]*)#?(.*)$")
  if not text:find("#", 1, true) then parts.fragment = nil end
  local before, query = rest:match("^([^?]*)%?(.*)$")
  if before then rest, parts.query = before, query end
  scheme, before = rest:match("^(%a[%w+.-]*)://(.*)$")
  if scheme then parts.scheme, rest = scheme, before end
  rest = take_login(parts, rest)
  if not rest then return nil end
  local unix, path = rest:match("^unix/:(/[^:]*):?(.*)$")
  if unix then
    parts.path = path ~= "" and path or nil
    return set_unix(parts, unix)
  end
  before, path = rest:match("^([^/]*)(/.*)$")
  if before then rest, parts.path = before, path end
  if rest == "" then return not (parts.scheme or parts.login) and parts or nil end
  return take_host(parts, rest) and parts or nil
end

-- format(parts, [with_password]): returns the text of what parse returns.
function uri.format(parts, with_password)
  if type(parts) ~= "table" then error("Usage: uri.format(table [, with_password])", 2) end
  local text = {}
  local function add(before, value, after)
    if value ~= nil then text[#text + 1] = before .. tostring(value) .. after end
  end
  add("", parts.scheme, "://")
  if parts.host ~= nil then
    if parts.login ~= nil then
      add("", parts.login, "")
      if with_password and parts.password ~= "" then add(":", parts.password, "") end
      text[#text + 1] = "@"
    end
    local is_ipv6 = parts.ipv6 ~= nil or parts.host:find("^[%x:.]*:[%x:.]*$")
    add(is_ipv6 and "[" or "", parts.host, is_ipv6 and "]" or "")
    add(":", parts.service, "")
  end
  add("", parts.path, "")
  add("?", parts.query, "")
  add("#", parts.fragment, "")
  return table.concat(text)
end

return uri
