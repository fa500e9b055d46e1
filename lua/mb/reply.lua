-- mb.reply: whole responses, one call each, with their type, charset and length. See mb.reply(3). Beside
-- moonbridge_http, and usable with any request of it. Must find every mistake before anything of a response is made.
-- Loads the less usual replies, mb.reply.others, and checks, mb.reply.check, when they are needed.

local reply = {}

local BODYLESS = {[204] = true, [205] = true, [304] = true}

-- Sends a response for the function of this name, which the script has called. kind: the Content-Type, or nil for a
-- response without a body.
local function send(request, name, status, kind, body, fields)
  if type(request) ~= "table" or not request._response then
    require "mb.reply.check".request(request, "reply." .. name, 4)
  end
  if kind and type(body) ~= "string" then body = require "mb.reply.check".text(body, name, 4) end
  if type(status) ~= "number" or status < 200 or kind and BODYLESS[status] then
    require "mb.reply.check".status(status, name, kind and BODYLESS or {}, 4)
  end
  local list, typed
  if fields ~= nil then list, typed = require "mb.reply.check".fields(fields, name, 4) end
  request:send_status(status) -- throws if it is none
  if kind and not typed then request:send_header("Content-Type", kind) end
  for i = 1, list and #list or 0 do request:send_header(list[i][1], list[i][2]) end
  if kind and body ~= "" then request:send_data(body) end
  request:finish()
end

-- reply.text(request, text[, status[, fields]]): text/plain in UTF-8. status: 200 if it is left out; fields: a table of
-- more header fields.
function reply.text(request, text, status, fields)
  send(request, "text", status or 200, "text/plain; charset=utf-8", text, fields)
end

-- reply.html(request, html[, status[, fields]]): text/html in UTF-8.
function reply.html(request, html, status, fields)
  send(request, "html", status or 200, "text/html; charset=utf-8", html, fields)
end

return setmetatable(reply, {
  __index = function(_, name)
    require "mb.reply.others"(reply, send)
    return rawget(reply, name)
  end,
})
