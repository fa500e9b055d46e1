-- mb.auth: who the client is, by the Authorization field (RFC 9110, section 11). See mb.auth(3). Beside
-- moonbridge_http.

local crypto = require "mb.crypto"

local auth = {}

-- Returns the user and the password of a request; nil if there are none that can be read (RFC 7617, section 2).
local function credentials(request)
  local value = request.headers_value["Authorization"] -- nil or false: none, or more than one
  local scheme, token = (value or ""):match("^(%a+) +([A-Za-z0-9+/=]+)$")
  if not scheme or scheme:lower() ~= "basic" then return nil end
  local text = crypto.from_base64(token)
  if not text or not utf8.len(text) or text:find("[\0-\31\127]") then return nil end
  return text:match("^([^:]*):(.*)$")
end

-- auth.basic(request, realm, check): returns the user, whose password check(user, password) has found to be right. Else
-- it answers with 401, which has the browser ask, and returns nil: the script returns then. realm: what the user is
-- asked for; without control characters.
function auth.basic(request, realm, check)
  if type(request) ~= "table" or not request._response then
    require "mb.reply.check".request(request, "auth.basic", 3)
  end
  if type(realm) ~= "string" or realm:find("[^ -~]") then
    error("auth.basic: expected the realm, a string in ASCII without control characters", 2)
  end
  if type(check) ~= "function" then
    error("auth.basic: expected a function of user and password, got " .. type(check), 2)
  end
  if request._response:state() ~= "start" then error("auth.basic: the response has begun", 2) end
  local user, password = credentials(request)
  if user and check(user, password) then return user end
  require "mb.http.failure".answer(request, 401, nil, {
    {"WWW-Authenticate", ('Basic realm="%s", charset="UTF-8"'):format(realm:gsub('["\\]', "\\%0"))},
  })
  return nil
end

return auth
