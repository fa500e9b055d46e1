-- Sockets of cqueues, the library below lua-http: programs for lua-http have them. Asks for cqueues only where the
-- program has loaded it.

local adopt = require "mb.http_server.adopt"
local detach = require "mb.http_server.detach"
local listener = require "mb.http_server.listener"

local cqueues = {}

-- How long a socket may take to send what its program has written.
local FLUSH_SECONDS = 10

-- As lua-http has it: an error is a result, and not thrown.
local function return_errno(_, _, number) return number end

-- Returns whether a value is an open socket of cqueues.
function cqueues.is_socket(value)
  local library = package.loaded["cqueues.socket"]
  return library ~= nil and library.type(value) == "socket"
end

-- Takes a connection out of a socket of cqueues, which is closed. Returns a socket of ours; or nil, message, errno;
-- without an errno when it speaks TLS.
function cqueues.take(theirs)
  if theirs:checktls() then return nil, "it speaks TLS, which is not spoken here" end
  theirs:onerror(return_errno)
  local input, output = theirs:pending()
  if output > 0 then
    local sent, number = theirs:flush("n", FLUSH_SECONDS)
    if not sent then return nil, require "cqueues.errno".strerror(number), number end
  end
  local ours, message, number = adopt(theirs:pollfd(), input > 0 and theirs:recv(-input, "b") or nil)
  if not ours then return nil, message, number end
  theirs:close()
  return ours
end

-- Makes a socket of cqueues of a connection, as lua-http makes them. The socket of ours is closed.
function cqueues.give(ours)
  local fd, unread = detach(ours, true)
  -- nodelay, as lua-http has it for its own: else small frames of WebSocket wait 40 ms for acknowledgements.
  local theirs, number = package.loaded["cqueues.socket"].fdopen {fd = fd, nodelay = true}
  if not theirs then error("take_socket: " .. require "cqueues.errno".strerror(number), 3) end
  theirs:setvbuf("full", math.huge)
  theirs:setmode("b", "bf")
  if unread ~= "" then theirs:unget(unread) end
  return theirs
end

-- Listens with a socket of cqueues. Returns a listener of ours for the same address; or nil, message, errno.
function cqueues.listen(theirs)
  theirs:onerror(return_errno)
  local bound, number = theirs:listen()
  if not bound then return nil, require "cqueues.errno".strerror(number), number end
  return listener {fd = theirs:pollfd()}
end

return cqueues
