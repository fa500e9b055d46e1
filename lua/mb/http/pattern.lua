-- Checks a Lua pattern. Lua itself finds a mistake only when matching gets that far, which depends on what clients
-- send.

-- Returns the place after the set that begins at a "[", as in "[^%]a]"; nil when the set does not end.
local function behind_set(pattern, at)
  at = pattern:match("^%[%^?()", at)
  repeat
    at = pattern:match("^%%.()", at) or pattern:match("^.()", at)
    if not at then return nil end
  until pattern:sub(at, at) == "]"
  return at + 1
end

-- Matching goes a level deeper with each repetition, and two with each capture; Lua allows 200.
local DEPTH_MAX = 190

-- Returns nil, or what is wrong with the pattern.
return function(pattern)
  local open, closed = {}, {} -- captures: the numbers of those that are open; number -> true
  local count = 0
  local at = pattern:match("^%^?()")
  while at <= #pattern do
    local c, escaped = pattern:match("^(.)(.?)", at)
    if c == "(" then
      count = count + 1
      open[#open + 1] = count
      at = at + 1
    elseif c == ")" then
      if #open == 0 then return "\")\" without \"(\"" end
      closed[table.remove(open)] = true
      at = at + 1
    elseif c == "[" then
      at = behind_set(pattern, at)
      if not at then return "\"[\" without \"]\"" end
    elseif c ~= "%" then
      at = at + 1
    elseif escaped == "" then
      return "ends with \"%\""
    elseif escaped == "b" then
      if #pattern < at + 3 then return "\"%b\" without two characters" end
      at = at + 4
    elseif escaped == "f" then
      if pattern:sub(at + 2, at + 2) ~= "[" then return "\"%f\" without \"[\"" end
      at = at + 2
    elseif escaped:match("^%d") and not closed[tonumber(escaped)] then
      return "\"%" .. escaped .. "\" without such a capture"
    else
      at = at + 2
    end
  end
  if #open > 0 then return "\"(\" without \")\"" end
  if count > 32 then return "more than 32 captures" end
  local _, repetitions = pattern:gsub("[*+?-]", "")
  if repetitions + 2 * count > DEPTH_MAX then return "too complex" end
  return nil
end
