-- The listing of a directory: a page of links, without scripts, that reads well on a phone, in the dark and on paper.

local core = require "mb.static.core"
local encode_html = require "mb.http.core".encode_html

-- A page with more entries helps nobody, and costs memory: some 200 bytes for each.
local ENTRIES_MAX = 10000

-- That of the year 9999.
local LAST_SECOND = 253402300799

local PAGE = [[
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>%s</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.25rem; overflow-wrap: anywhere; }
table { width: 100%%; border-collapse: collapse; }
td { padding: .3rem .5rem .3rem 0; border-top: 1px solid #8886; vertical-align: top; }
td:first-child { overflow-wrap: anywhere; }
td + td { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
a { text-decoration: none; }
a:hover, a:focus { text-decoration: underline; }
@media (max-width: 30rem) { td:nth-child(3) { display: none; } }
</style>
</head>
<body>
<h1>%s</h1>
<table>
%s</table>
%s</body>
</html>
]]

local POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; " ..
  "frame-ancestors 'self'"

-- Returns a name as a relative reference, which no browser takes for a URL with a scheme.
local function link(name)
  return "./" .. name:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end)
end

-- Returns a text as valid UTF-8 without control characters, for HTML.
local function shown(text)
  local pieces, at = {}, 1
  while at <= #text do
    local good, bad = utf8.len(text, at)
    local last = good and #text or bad - 1
    pieces[#pieces + 1] = text:sub(at, last)
    if not good then pieces[#pieces + 1] = "\u{FFFD}" end
    at = last + 2
  end
  return encode_html((table.concat(pieces):gsub("%c", "\u{FFFD}")))
end

local UNITS = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

local function size_text(size)
  if size < 1024 then return size .. " B" end
  local unit = 0
  repeat
    size, unit = size / 1024, unit + 1
  until size < 1024 or unit == #UNITS
  return ("%.1f %s"):format(size, UNITS[unit])
end

-- Returns a time; "" for one that no calendar has.
local function time_text(seconds)
  if seconds < 0 or seconds > LAST_SECOND then return "" end
  return os.date("!%Y-%m-%d %H:%M", seconds)
end

local function row(entry)
  local slash = entry.size and "" or "/"
  return ('<tr><td><a href="%s">%s</a><td>%s<td>%s\n'):format(link(entry.name) .. slash, shown(entry.name) .. slash,
    entry.size and size_text(entry.size) or "", time_text(entry.modified))
end

-- Directories come first; names are compared byte by byte.
local function before(a, b)
  if (a.size == nil) ~= (b.size == nil) then return a.size == nil end
  return a.name < b.name
end

local function page(title, entries, cut, has_parent)
  table.sort(entries, before)
  local rows = {has_parent and '<tr><td><a href="../">../</a><td><td>\n' or ""}
  for _, entry in ipairs(entries) do rows[#rows + 1] = row(entry) end
  local note = cut and ("<p>Only %d entries are shown.</p>\n"):format(#entries) or ""
  return PAGE:format(title, title, table.concat(rows), note)
end

-- Answers with the listing of a directory. Returns nil; or why and a message, as core.list does.
return function(request, set, path)
  local entries, cut, message = core.list(set.root, path, set.dotfiles, ENTRIES_MAX)
  if not entries then return cut, message end
  local title = shown(path == "." and "/" or "/" .. path .. "/")
  request:send_status(200)
  request:send_header("Content-Type", "text/html; charset=utf-8")
  request:send_header("Cache-Control", "no-cache")
  request:send_header("Content-Security-Policy", POLICY)
  request:send_header("X-Content-Type-Options", "nosniff")
  request:send_data(page(title, entries, cut, path ~= "."))
end
