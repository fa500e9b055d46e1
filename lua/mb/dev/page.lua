-- Shows an error with the lines of the script around it: as a page, and as text. Reads no file but those that the
-- script has loaded.

local core = require "mb.dev.core"
local encode_html = require "mb.http.core".encode_html
local open = io.open

local page = {}

local AROUND = 3        -- lines before and behind the one that is meant
local PLACES_MAX = 6    -- a traceback may have more
local WIDTH_MAX = 400   -- of a line
local DIGITS_MAX = 7    -- of a line's number
local NAME_MAX = 59     -- Lua shows no more of a file's name

-- Returns a file's name as it stands in messages: luaO_chunkid of Lua shows the end of a long one.
local function shown(name)
  if #name <= NAME_MAX then return name end
  return "..." .. name:sub(-(NAME_MAX - 3))
end

-- Returns the places in files of the script that a text names, in their order: {file =, name =, line =}.
local function places(text)
  local found, seen = {}, {}
  for file in core.files() do
    local name = shown(file)
    local from, to = text:find(name .. ":", 1, true)
    while from do
      local line = text:match("^%d+", to + 1)
      if line and #line > DIGITS_MAX then line = nil end
      local before = text:sub(from - 1, from - 1)
      -- Behind "<" a traceback says where a function begins, which is not where it is.
      if line and not before:find "[%w_/.<-]" then found[#found + 1] = {file, name, tonumber(line), from} end
      from, to = text:find(name .. ":", to, true)
    end
  end
  table.sort(found, function(a, b) return a[4] < b[4] end)
  local result = {}
  for _, place in ipairs(found) do
    local key = place[2] .. ":" .. place[3]
    if not seen[key] and #result < PLACES_MAX then
      seen[key] = true
      result[#result + 1] = {file = place[1], name = place[2], line = place[3]}
    end
  end
  return result
end

-- Returns the lines around a place, each {number =, text =}; none when the file has no such line any more.
local function lines_around(place)
  local lines, number = {}, 0
  local file = open(place.file)
  if not file then return lines end
  for text in file:lines() do
    number = number + 1
    if number > place.line + AROUND then break end
    if number >= place.line - AROUND then
      text = text:gsub("\r$", ""):gsub("\t", "    ")
      if #text > WIDTH_MAX then text = text:sub(1, WIDTH_MAX) .. "..." end
      lines[#lines + 1] = {number = number, text = text}
    end
  end
  file:close()
  return number < place.line and {} or lines
end

-- Returns a list of texts, each of which shows one place.
function page.excerpts(text)
  local result = {}
  for _, place in ipairs(places(text)) do
    local part = {("%s:%d"):format(place.name, place.line)}
    for _, line in ipairs(lines_around(place)) do
      local mark = line.number == place.line and ">" or " "
      part[#part + 1] = ("  %s %4d  %s"):format(mark, line.number, line.text)
    end
    if part[2] then result[#result + 1] = table.concat(part, "\n") end
  end
  return result
end

-- ---- the page ----

local STYLE = [[
:root{color-scheme:light dark}
body{margin:0 auto;padding:1rem;max-width:60rem;font:1rem/1.5 system-ui,sans-serif;background:#fff;color:#1c1c1c}
h1{margin:0 0 .5rem;font-size:1.25rem;color:#a40000}
h2{margin:1.5rem 0 .25rem;font-size:1rem}
pre{margin:0;padding:.5rem .75rem;border-radius:.25rem;background:#f3f3f3;font:.875rem/1.5 ui-monospace,monospace;
white-space:pre-wrap;overflow-wrap:anywhere;tab-size:4}
pre.error{background:#fdeaea}
pre span{display:block;padding-left:6ch;text-indent:-6ch}
pre b{font-weight:normal;color:#666}
pre .here{background:#ffd9d9;font-weight:bold}
h2,p{overflow-wrap:anywhere}
@media (prefers-color-scheme:dark){body{background:#1b1b1b;color:#e6e6e6}h1{color:#ff8a8a}pre{background:#2a2a2a}
pre.error{background:#402222}pre b{color:#aaa}pre .here{background:#602a2a}}
]]

-- The policy lets in this style and nothing else: the hash is that of STYLE. tests/integration/dev.py compares them.
local STYLE_HASH = "sha256-IJQyDV6QIiVCCcJfuOYvFEy+nNjsWNpsXEEA8NSuXR8="

local POLICY = "default-src 'none'; style-src '" .. STYLE_HASH ..
  "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

local function fields_of(kind)
  return {
    ["Content-Type"] = kind .. "; charset=utf-8",
    ["Content-Security-Policy"] = POLICY,
    ["X-Content-Type-Options"] = "nosniff",
    ["Cache-Control"] = "no-store",
  }
end

local HEAD = [[
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s</title>
<style>%s</style>
</head>
<body>
<h1>%s</h1>
<pre class="error">%s</pre>
]]

local TAIL = [[
<p>This page is for you who write the script: mb-handle --dev makes it. Save the file, and load the page again.</p>
</body>
</html>
]]

-- Returns a text in HTML, with the bytes that are no UTF-8 as \xHH.
local function html(text)
  text = text:gsub("[\128-\255]+", function(bytes)
    if utf8.len(bytes) then return bytes end
    return (bytes:gsub(".", function(byte) return ("\\x%02x"):format(byte:byte()) end))
  end)
  text = text:gsub("[%z\1-\8\11-\31\127]", function(byte) return ("\\x%02x"):format(byte:byte()) end)
  return encode_html(text)
end

local function html_lines(place)
  local parts = {}
  for _, line in ipairs(lines_around(place)) do
    local class = line.number == place.line and ' class="here"' or ""
    parts[#parts + 1] = ("<span%s><b>%4d</b>  %s</span>"):format(class, line.number, html(line.text))
  end
  return table.concat(parts)
end

local function html_page(what, message, traceback, where)
  local parts = {HEAD:format(html(message:match "^[^\n]*"), STYLE, html(what), html(message))}
  for _, place in ipairs(where) do
    local lines = html_lines(place)
    if lines ~= "" then
      parts[#parts + 1] = ("<h2>%s:%d</h2>\n<pre>%s</pre>\n"):format(html(place.name), place.line, lines)
    end
  end
  if traceback then parts[#parts + 1] = ("<h2>Traceback</h2>\n<pre>%s</pre>\n"):format(html(traceback)) end
  parts[#parts + 1] = TAIL
  return table.concat(parts)
end

-- Returns whether a Host field names this machine. A page of another site whose name leads here, too, must not read
-- the script.
local function is_local(host)
  host = host:lower():gsub(":%d*$", "")
  return host == "localhost" or host:find "%.localhost$" or host == "[::1]" or host:find "^127%.%d+%.%d+%.%d+$"
end

-- make(text, what, accept, host): returns the body of a response that shows an error, and a table of its fields.
-- text: the error's, with its traceback. what: what has happened. accept, host: fields of the request, or nil
function page.make(text, what, accept, host)
  text = text:gsub("%s+$", "")
  if host and host ~= "" and not is_local(host) then
    return "500 Internal Server Error\n\nThe error is in the terminal. This page shows it only when the host is " ..
      "localhost, a name in .localhost, or a loopback address.\n", fields_of "text/plain"
  end
  if (accept or ""):lower():find("text/html", 1, true) then
    local message, traceback = text:match "^(.-)\nstack traceback:\n(.*)$"
    traceback = traceback and traceback:gsub("^\t", ""):gsub("\n\t", "\n")
    return html_page(what, message or text, traceback, places(text)), fields_of "text/html"
  end
  local parts = page.excerpts(text)
  table.insert(parts, 1, what .. "\n\n" .. text)
  return table.concat(parts, "\n\n") .. "\n", fields_of "text/plain"
end

return page
