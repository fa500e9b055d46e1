-- mb.cookie: cookies with safe attributes, values that are signed, and tokens against forged forms. See mb.cookie(3).
-- Beside moonbridge_http. Sources: RFC 6265; draft-ietf-httpbis-rfc6265bis, for SameSite, the prefixes of names and the
-- limits of browsers.

local crypto = require "mb.crypto"

local cookie = {}

local DAY = 24 * 60 * 60

-- Browsers drop what is larger: the bytes of name and value, those of an attribute's value (6265bis, section 5.6), and
-- the seconds that a cookie is kept (section 5.5).
local COOKIE_MAX, ATTRIBUTE_MAX, AGE_MAX = 4096, 1024, 400 * DAY

-- A session that somebody has copied is good for so many seconds when the script does not say.
local SIGNED_SECONDS = DAY

-- Fewer bytes of a key could be tried one after the other. Each key is a computation for whatever anybody sends: a list
-- is for a change of keys, which takes two.
local KEY_MIN, KEYS_MAX = 16, 8

-- ---- what goes into Set-Cookie ----

local function is_token(name) return type(name) == "string" and name:find("^[!#$%%&'*+%-.^_`|~A-Za-z0-9]+$") ~= nil end

-- Returns what is wrong with a value, or nil.
local function value_wrong(value)
  if type(value) ~= "string" then return "expected a string as value, got " .. type(value) end
  if value:find("[^!-~]") or value:find('[",;\\]') then
    return "the value has a byte that no cookie can have: encode it, by crypto.base64url or http.encode_uri"
  end
end

local function path_wrong(path)
  return (type(path) ~= "string" or not path:find("^/[ -:<-~]*$") or #path > ATTRIBUTE_MAX)
    and "option path: expected a path such as /shop" or nil
end

local function domain_wrong(domain)
  if domain == nil then return nil end
  local labels = type(domain) == "string" and #domain <= ATTRIBUTE_MAX and "." .. domain or ""
  return (not labels:find("^[.A-Za-z0-9-]+$") or labels:find("%.%.") or labels:find("%.$"))
    and "option domain: expected a name such as example.com" or nil
end

-- Each option checks its value: returns what is wrong, or nil.
local OPTIONS = {
  path = path_wrong,
  domain = domain_wrong,
  max_age = function(seconds)
    local number = math.type(seconds) and math.tointeger(seconds)
    return not (number and number > 0 and number <= AGE_MAX)
      and ("option max_age: expected a whole number of seconds, from 1 to %d (400 days)"):format(AGE_MAX) or nil
  end,
  secure = function(value) return type(value) ~= "boolean" and "option secure: expected true or false" or nil end,
  http_only = function(value) return type(value) ~= "boolean" and "option http_only: expected true or false" or nil end,
  same_site = function(value)
    return not (value == "Strict" or value == "Lax" or value == "None")
      and 'option same_site: expected "Strict", "Lax" or "None"' or nil
  end,
}

-- Returns the options with the defaults, which are the safe ones; or nil and what is wrong.
local function checked(options)
  local result = {path = "/", secure = true, http_only = true, same_site = "Lax"}
  if options ~= nil and type(options) ~= "table" then
    return nil, "expected a table of options, got " .. type(options)
  end
  for name, value in pairs(options or {}) do
    local check = OPTIONS[name]
    if not check then
      return nil, ("there is no option %s: expected domain, http_only, max_age, path, same_site, secure")
        :format(tostring(name))
    end
    local wrong = check(value)
    if wrong then return nil, wrong end
    result[name] = value
  end
  return result
end

-- Returns what is wrong with a name for these attributes, or nil (6265bis, section 4.1.3). Browsers read its beginning
-- in any case.
local function prefix_wrong(name, o)
  local prefix = name:lower():match("^__host%-") or name:lower():match("^__secure%-")
  if prefix and not o.secure then return "a name that begins with " .. prefix .. " needs secure = true" end
  if prefix == "__host-" and (o.path ~= "/" or o.domain) then
    return "a name that begins with __Host- has the path / and no domain"
  end
  if o.same_site == "None" and not o.secure then return 'same_site = "None" needs secure = true' end
end

-- Returns the value of Set-Cookie; or nil and what is wrong. age: the attributes for how long it is kept; nil: options
-- say that.
local function line_of(name, value, options, age)
  if not is_token(name) then return nil, "expected a name of letters, digits and signs such as - or _" end
  local o, wrong = checked(options)
  wrong = wrong or value_wrong(value) or prefix_wrong(name, o)
  if wrong then return nil, wrong end
  if #name + #value > COOKIE_MAX then
    return nil, ("name and value have %d bytes: browsers keep %d"):format(#name + #value, COOKIE_MAX)
  end
  if o.max_age then age = ("; Max-Age=%d"):format(o.max_age) end
  return table.concat {
    name, "=", value, "; Path=", o.path, o.domain and "; Domain=" .. o.domain or "", age or "",
    o.secure and "; Secure" or "", o.http_only and "; HttpOnly" or "",
    "; SameSite=", o.same_site,
  }
end

-- Calls a method for the script, `level` callers above: an error has the line there.
local function call_for(level, method, request, ...)
  local good, message = pcall(method, request, ...)
  if not good then error(message, type(message) == "string" and level + 1 or 0) end
end

-- Keeps a line until a status is sent, whoever sends it; that of an interim response does not count. So a cookie can be
-- set before mb.reply answers, or a redirection does.
local function keep(request, line)
  local lines = rawget(request, "_cookies")
  if lines then
    lines[#lines + 1] = line
    return
  end
  lines = {line}
  request._cookies = lines
  local methods = require "mb.http.request".methods -- it is there with the first request only
  function request.send_status(self, status)
    if tostring(status):find("^1%d%d") then return methods.send_status(self, status) end
    self.send_status, self._cookies = nil, nil
    call_for(2, methods.send_status, self, status)
    for _, kept in ipairs(lines) do self:send_header("Set-Cookie", kept) end
  end
end

local function send(request, call, line, wrong)
  if type(request) ~= "table" or not request._response then
    require "mb.reply.check".request(request, "cookie." .. call, 4)
  end
  if not line then error(("cookie.%s: %s"):format(call, wrong), 3) end
  if request._response:state() == "start" and not request.faulty then return keep(request, line) end
  call_for(3, request.send_header, request, "Set-Cookie", line)
end

-- cookie.set(request, name, value[, options]): adds Set-Cookie to the response, before its body begins. options: path
-- ("/"), domain (none: this host only), max_age (seconds; none: until the browser ends), secure (true), http_only
-- (true), same_site ("Lax").
function cookie.set(request, name, value, options)
  send(request, "set", line_of(name, value, options))
end

-- cookie.delete(request, name[, options]): has the browser drop a cookie that was set with this path and domain.
function cookie.delete(request, name, options)
  local line, wrong = line_of(name, "", options, "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
  if line and options and options.max_age then line, wrong = nil, "max_age is for cookie.set" end
  send(request, "delete", line, wrong)
end

-- ---- what is signed ----

-- Returns a list of keys; or nil and what is wrong.
local function keys_of(key)
  local keys = type(key) == "table" and key or {key}
  if #keys < 1 or #keys > KEYS_MAX then return nil, ("expected a key, or a list of 1 to %d"):format(KEYS_MAX) end
  for i = 1, #keys do
    local one = keys[i]
    if type(one) ~= "string" then return nil, "expected a string as key, got " .. type(one) end
    if #one < KEY_MIN then
      return nil, ("a key of %d bytes: it needs %d at least; \"openssl rand -hex 32\" makes one, "
        .. "for a file that nobody but the service can read"):format(#one, KEY_MIN)
    end
  end
  return keys
end

local has_library = false

-- Checks the keys, and that codes can be made at all.
local function check_keys(key, call)
  local keys, wrong = keys_of(key)
  if keys and not has_library then
    local message
    has_library, message = pcall(crypto.sha256, "")
    if not has_library then keys, wrong = nil, message end
  end
  if not keys then error(("cookie.%s: %s"):format(call, wrong), 3) end
  return keys
end

-- What each code is computed over. The first part tells apart what one key may be used for, and the parts before the
-- last one have no NUL: so no two different lists of parts have the same code.
local SIGNED, FORM = "mb.cookie 1 signed", "mb.cookie 1 form"

local function code(key, ...) return crypto.hmac_sha256(key, table.concat({...}, "\0")) end

-- Returns the text of the second at which something ends.
local function ending(seconds, call)
  if seconds == nil then seconds = SIGNED_SECONDS end
  if type(seconds) ~= "number" or not (seconds > 0 and seconds <= AGE_MAX) then
    error(("cookie.%s: expected a number of seconds, at most %d (400 days)"):format(call, AGE_MAX), 3)
  end
  return ("%d"):format(os.time() + math.ceil(seconds))
end

-- Returns whether a time is over.
local function is_over(ends) return os.time() >= math.tointeger(tonumber(ends)) end

-- Returns whether one of the keys has made a code. It tries all of them, whichever has.
local function is_made_by(keys, made, ...)
  local found = false
  for _, key in ipairs(keys) do found = crypto.equal(code(key, ...), made) or found end
  return found
end

-- The text of a signed value: base64url of the value, the second at which it ends, base64url of the code.
local SIGNED_FORM = "^([A-Za-z0-9_-]*)%.([1-9]%d*)%.([A-Za-z0-9_-]+)$"

-- cookie.sign(key, name, value[, seconds]): returns a text for a cookie of this name that shows the value, and that
-- nobody without the key can make. key: a string, or a list of which the first one signs. seconds: how long it is good
-- (a day).
function cookie.sign(key, name, value, seconds)
  local keys = check_keys(key, "sign")
  if not is_token(name) then error("cookie.sign: expected the name of a cookie", 2) end
  if type(value) ~= "string" then error("cookie.sign: expected a string as value, got " .. type(value), 2) end
  local ends = ending(seconds, "sign")
  local made = code(keys[1], SIGNED, name, ends, value)
  local text = ("%s.%s.%s"):format(crypto.base64url(value), ends, crypto.base64url(made))
  if #name + #text > COOKIE_MAX then
    error(("cookie.sign: name and signed value have %d bytes: browsers keep %d"):format(#name + #text, COOKIE_MAX), 2)
  end
  return text
end

-- cookie.verify(key, name, text): returns the value that was signed for a cookie of this name; or nil and a reason:
-- "none" (text is nil), "malformed", "forged" or "expired". key: a string, or a list of those that may have signed.
function cookie.verify(key, name, text)
  local keys = check_keys(key, "verify")
  if not is_token(name) then error("cookie.verify: expected the name of a cookie", 2) end
  if text == nil then return nil, "none" end
  if type(text) ~= "string" then error("cookie.verify: expected the text of a cookie, got " .. type(text), 2) end
  if #text > COOKIE_MAX then return nil, "malformed" end
  local shown, ends, made = text:match(SIGNED_FORM)
  local value = shown and crypto.from_base64url(shown)
  made = made and crypto.from_base64url(made)
  if not value or not made or #ends > 12 then return nil, "malformed" end
  if not is_made_by(keys, made, SIGNED, name, ends, value) then return nil, "forged" end
  if is_over(ends) then return nil, "expired" end
  return value
end

-- ---- forms ----

-- Returns a code of 32 bytes, masked with another 32 bytes; or the code that was masked.
local function mask(a, b)
  local a1, a2, a3, a4 = ("<i8i8i8i8"):unpack(a)
  local b1, b2, b3, b4 = ("<i8i8i8i8"):unpack(b)
  return ("<i8i8i8i8"):pack(a1 ~ b1, a2 ~ b2, a3 ~ b3, a4 ~ b4)
end

-- cookie.csrf_token(key, session[, seconds]): returns a token for the forms of a session. session: a text that no other
-- session has, such as the value of its cookie. The token is another one each time, so that it cannot be found from the
-- sizes of compressed pages (BREACH).
function cookie.csrf_token(key, session, seconds)
  local keys = check_keys(key, "csrf_token")
  if type(session) ~= "string" or session == "" then
    error("cookie.csrf_token: expected a text that names the session", 2)
  end
  local ends = ending(seconds, "csrf_token")
  local random = crypto.random_bytes(32)
  return ends .. "." .. crypto.base64url(random .. mask(random, code(keys[1], FORM, ends, session)))
end

-- cookie.csrf_check(key, session, token): returns true if the token was made for this session; or nil and a reason, as
-- cookie.verify. session and token may be nil, as they come from the client.
function cookie.csrf_check(key, session, token)
  local keys = check_keys(key, "csrf_check")
  if session == nil or token == nil then return nil, "none" end
  if type(session) ~= "string" then error("cookie.csrf_check: expected a session, got " .. type(session), 2) end
  if type(token) ~= "string" then error("cookie.csrf_check: expected a token, got " .. type(token), 2) end
  local ends, text = token:match("^([1-9]%d*)%.([A-Za-z0-9_-]+)$")
  local masked = ends and #ends <= 12 and #text == 86 and crypto.from_base64url(text)
  if not masked then return nil, "malformed" end
  local made = mask(masked:sub(1, 32), masked:sub(33))
  if session == "" or not is_made_by(keys, made, FORM, ends, session) then return nil, "forged" end
  if is_over(ends) then return nil, "expired" end
  return true
end

return cookie
