-- Keeps the state of the request body of a connection (mb.http.wire), and receives, keeps or drops its bytes. Loaded
-- when the first body comes, or when a script begins a monologue. Must never wait.

local intake = {}

-- The most input without framing that is dropped in one go.
local RAW_BYTES = 65536

-- The most content that is kept for later, where no limit on the body is lower.
local STASH_MAX_BYTES = 64 * 1024 * 1024

-- The states:
-- over       no body is to come: the request has none, or all of it was read. Each request begins here
-- receiving  the body is received while writing is blocked: the consumer takes it, or it is kept
-- full       no more can be kept: the client has to wait until the script reads
-- dropping   the rest of the body is dropped: nobody will read it
-- ignoring   everything is dropped, and no request follows (request:monologue)
-- deaf       nothing more is received: the connection ends
--
-- The moves from each state: true is legal; false is legal, but has no effect, since the connection is further on; any
-- other is an error.
local MOVES = {
  over = {over = false, receiving = true, ignoring = true},
  receiving = {over = true, full = true, dropping = true, ignoring = true, deaf = true},
  full = {over = true, receiving = true, full = false, dropping = true, ignoring = true, deaf = true},
  dropping = {over = true, ignoring = true, deaf = true},
  ignoring = {over = false, dropping = false, deaf = true},
  deaf = {over = false, dropping = false, deaf = false},
}

-- Moves a connection to a state. Throws when that is not legal: then the mistake is in the HTTP modules.
local function move(c, to)
  local changes = MOVES[c.state][to]
  if changes then
    c.state = to
  elseif changes == nil then
    error(("http: the input cannot go from the state %q to %q"):format(c.state, to), 2)
  end
end

intake.move = move

-- Moves a connection to "over", before the next request. Throws when it stays in another state: no request may follow.
function intake.finish(c)
  move(c, "over")
  if c.state ~= "over" then error(("http: no request may follow in the state %q"):format(c.state), 0) end
end

-- Returns whether input is received while writing is blocked.
function intake.receives(c)
  local state = c.state
  return state == "receiving" or state == "dropping" or state == "ignoring"
end

-- Returns whether nothing that comes is for the script any more.
function intake.ignores(c)
  local state = c.state
  return state == "ignoring" or state == "deaf"
end

-- Keeps for later what the client sends of its body. Returns whether some of it came.
function intake.keep(c)
  local kept, state = c.input:stash()
  if kept and kept > STASH_MAX_BYTES then
    move(c, "full")
  elseif not kept and state ~= "block" then
    move(c, "over")
  end
  return kept
end

-- Takes what the client sends. Returns whether some of its body came: what comes behind the body is no progress, for
-- which the client would be given more time.
function intake.take(c)
  if not intake.receives(c) then return false end
  if c.state == "receiving" then return (c.consumer or intake.keep)(c) end
  local some, state = c.input:discard()
  if some or state == "block" then return some end
  move(c, "over")
  if c.state == "ignoring" then
    some, state = c.socket:drain_nb(RAW_BYTES)
    if not some or state == "eof" then move(c, "deaf") end
  end
  return false
end

return intake
