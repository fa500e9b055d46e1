-- finger.lua: tells who is who, in the manner of RFC 1288. The client sends one line, empty for
-- all users, "ann" for one, "/W ann" for the same at length, and gets a text.
-- Try it: echo "/W ann" | mb-handle finger.lua

local SECONDS = 20      -- a question is one line: who needs longer holds a process for nothing
local LINE_BYTES = 128  -- "/W ", a user's name and CR LF, with room to spare

local users = {
  ann = {name = "Ann Archer", plan = "Read RFC 1288 once more.\nThen tea."},
  bob = {name = "Bob Baker"},
}

-- The protocol's lines end with CR LF.
local function say(socket, text)
  return socket:write((text:gsub("\n", "\r\n")), "\r\n")
end

local function list(socket)
  local logins = {}
  for login in pairs(users) do logins[#logins + 1] = login end
  table.sort(logins)
  for _, login in ipairs(logins) do
    say(socket, ("%-12s %s"):format(login, users[login].name))
  end
end

local function show(socket, login, long)
  local user = users[login]
  if not user then return say(socket, "No such user.") end
  say(socket, ("Login: %s\nName:  %s"):format(login, user.name))
  if long then say(socket, "Plan:\n" .. (user.plan or "(none)")) end
end

local function answer(socket)
  timeout(SECONDS)
  local line, status = socket:read(LINE_BYTES, "\n")
  -- A failure (nil), or a client that closed before the line's end: there is nobody to answer to.
  if not line or status == "eof" then return end
  if status == "maxlen" then return say(socket, "Line too long.") end

  -- Without the line's end, and without "/W"; long is how many of that there were.
  local query, long = line:gsub("%s+$", ""):gsub("^/W%s*", "")
  -- Forwarding, "user@host", would let strangers ask others in our name (RFC 1288, 3.2.1).
  if query:find("@", 1, true) then return say(socket, "Finger forwarding service denied.") end
  if query == "" then return list(socket) end
  -- The query is only ever a key of a table: never part of a file name, a command or an answer.
  return show(socket, query, long > 0)
end

listen{
  {proto = "tcp", port = 79},    -- the port of RFC 1288
  {proto = "tcp", port = 7979},  -- one that needs no privilege
  sandbox = "strict",            -- a mistake in what follows opens no file and starts no program
  connect = answer
}
