-- Media types of files whose extension the built-in table lacks: those of /etc/mime.types, which Debian's package
-- media-types has. It is read once in a process, when the first such file is asked for, and searched for the extension:
-- a table of all of them would take a process a hundred times as long, and most serve one such file.

local PATH = "/etc/mime.types"

-- Debian's has 70 KiB.
local SIZE_MAX = 1024 * 1024

-- Bytes of a line before the end of its extension; Debian's longest line has 99.
local LINE_MAX = 4096

local text, lowered -- the file, and its text in lower case; each with the end of a line before and behind

local function read()
  local file = io.open(PATH, "rb")
  text = "\n" .. (file and file:read(SIZE_MAX) or "") .. "\n"
  if file then file:close() end
  lowered = text:lower()
end

-- Returns the media type for an extension in lower case; or nil. The first line that has the extension counts: a type,
-- blanks, and extensions with blanks between them.
return function(extension)
  if extension:find("[%s#]") then return nil end -- two extensions, or a comment
  if not text then read() end
  local from = 1
  while true do
    local first, last = lowered:find(extension, from, true)
    if not first then return nil end
    from = first + 1
    if lowered:find("^[ \t]", first - 1) and lowered:find("^[ \t\r\n]", last + 1) then
      local line = text:sub(last > LINE_MAX and last - LINE_MAX or 1, last):match(".*\n(.*)$")
      local name = line and line:match("^([^#%s/]+/[^#%s/]+)[ \t][^#]*$") -- not in a comment
      if name then return name end
    end
  end
end
