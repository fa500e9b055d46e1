-- For http_*.lua: a handler that answers each request with all that it says, in an order that is always the same.
-- What is not printable is written as \XX, and so are quotes and backslashes.
local http = require "moonbridge_http"

local function text(value)
  if type(value) ~= "string" then return tostring(value) end
  return '"' .. value:gsub('[%c"\\\128-\255]', function(c) return ("\\%02x"):format(c:byte()) end) .. '"'
end

local function sorted(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  local i = 0
  return function()
    i = i + 1
    return names[i], map[names[i]]
  end
end

local function texts(list)
  local out = {}
  for i, value in ipairs(list) do out[i] = text(value) end
  return table.concat(out, " ")
end

-- what: "head" for all fields of the head, "body" for the body as a string; otherwise the body is a form. options: as
-- of generate_handler.
return function(what, options)
  options = options or {}
  options.static_headers = "Date: Sun, 06 Nov 1994 08:49:37 GMT"
  return http.generate_handler(options, function(request)
    local lines = {}
    local function say(...) lines[#lines + 1] = table.concat({...}, " ") end
    say("method", text(request.method), "version", text(request.version), "target", text(request.target))
    say("path", text(request.path), "query", text(request.query), "host", text(request.host))
    say("keepalive", tostring(request.keepalive))
    for name, values in sorted(what == "head" and request.headers or {}) do
      say("header", name, texts(values))
      say("  string", text(request.headers_csv_string[name]), "value", text(request.headers_value[name:upper()]))
      say("  table", texts(request.headers_csv_table[name]))
    end
    for name, value in sorted(request.cookies) do say("cookie", text(name), text(value)) end
    for name, values in sorted(request.get_params_list) do
      say("get", text(name), texts(values), "first", text(request.get_params[name]))
    end
    if what == "body" then
      say("body", text(request.body))
    elseif what == "form" then
      for name, values in sorted(request.post_params_list) do
        say("post", text(name), texts(values), "first", text(request.post_params[name]))
      end
      for name, list in sorted(request.post_metadata_list or {}) do
        for _, meta in ipairs(list) do say("metadata", text(name), text(meta.file_name), text(meta.content_type)) end
      end
    end
    request:send_status("200 OK")
    request:send_data(table.concat(lines, "\n"), "\n")
  end)
end
