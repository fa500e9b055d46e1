-- Media types of files whose extension the built-in table lacks: those of /etc/mime.types, which Debian's package
-- media-types has. It is read once in a process, when the first such file is asked for.

local PATH = "/etc/mime.types"

-- Debian's has 70 KiB.
local SIZE_MAX = 1024 * 1024

local types -- extension -> media type

local function read()
  local found = {}
  local file = io.open(PATH, "rb")
  if not file then return found end
  local text = file:read(SIZE_MAX) or ""
  file:close()
  for name, extensions in text:gmatch("([^\n#%s]+/[^\n#%s]+)[ \t]+([^\n#]+)") do
    for extension in extensions:gmatch("%S+") do
      extension = extension:lower()
      found[extension] = found[extension] or name
    end
  end
  return found
end

-- Returns the media type for an extension in lower case; or nil.
return function(extension)
  types = types or read()
  return types[extension]
end
