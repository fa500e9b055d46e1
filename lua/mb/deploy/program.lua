-- Chooses between mb-handle and mb-handle-static, which loads no module in C. Static is what is proven: whatever cannot
-- be known is a reason for mb-handle. Nothing of a script runs here; its text is read as Lua reads it.

local core = require "mb.deploy.core"
local quote = require "mb.deploy.quote"

local program = {}

local FILES_MAX, SIZE_MAX = 1000, 1 << 20 -- files that are looked at, and bytes of each: more are rather data

local function set(words)
  local members = {}
  for word in words:gmatch("%S+") do members[word] = true end
  return members
end

-- The modules that every state has from the beginning, as this one: no script has run here.
local STANDARD = {}
for name in pairs(package.loaded) do STANDARD[name] = true end

-- By these modules a script can run what was not looked at. The names of three count below, too.
local OPEN = set "_G package debug mb.style"

-- Through these a script can get at a module in C without a word that says so. As the field of another table, such as
-- in json.load, a name of the second list is none of them: the tables that have them are in the lists themselves.
local ALWAYS = set "loadlib cpath searchers"
local ALONE = set "_G _ENV package debug load loadstring loadfile dofile dostring getfenv setfenv"

-- Fields of two of these tables that lead nowhere else.
local HARMLESS = {package = {path = true, config = true}, debug = {traceback = true}}

-- Our own modules have parts that load a module in C: a word of such a part counts wherever it stands, also within a
-- string.
local PARTS = {["mb.luasocket"] = "udp", ["mb.tarantool"] = "digest"}

-- These words count as a field or a method, and as a whole string: as text they are common, as in "application/json".
local MODULE = "a module in C"
local LIBRARY = "a library"
local MEMBERS = {
  ["mb.cookie"] = {names = set "sign verify csrf_token csrf_check", loads = LIBRARY},
  ["mb.crypto"] = {names = set "sha256 hmac_sha256", loads = LIBRARY},
  ["mb.reply"] = {names = set "json problem", loads = MODULE},
  ["moonbridge_http"] = {names = set "json", loads = MODULE},
}

-- The option of a method counts as the key of a table, too.
local KEYS = {["moonbridge_http"] = {name = "deflate", loads = LIBRARY}}

-- ---- the text ----

-- Returns the position behind a long bracket that begins at a position; nil if there is none; false if it has no end.
local function behind_long(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then return nil end
  local _, stop = text:find("]" .. level .. "]", at, true)
  return stop and stop + 1 or false
end

-- Returns the position behind a string in quotes, or nil if it has no end.
local function behind_quoted(text, at)
  local mark = text:sub(at, at)
  local i = at + 1
  while true do
    i = text:find("[\\\"'\n\r]", i)
    if not i then return nil end
    local c = text:sub(i, i)
    if c == mark then return i + 1 end
    if c == "\n" or c == "\r" then return nil end
    -- \z takes the white space that follows, and "\" before the end of a line takes that: none of it is a quote.
    if c == "\\" and text:sub(i + 1, i + 1) == "z" then
      i = text:match("^%s*()", i + 2)
    else
      i = i + (c == "\\" and 2 or 1)
    end
  end
end

-- Returns the position behind a number: a word may stand right behind it.
local function behind_number(text, at)
  local exponent, digits = "^[eE][+-]?()", at
  if text:find("^0[xX]", at) then exponent, digits = "^[pP][+-]?()", at + 2 end
  while true do
    local stop = text:match(exponent, digits) or text:match("^[%x.]()", digits)
    if not stop then return digits end
    digits = stop
  end
end

-- Returns the tokens of a text: an array of {kind =, text =, at =}; kind is "word", "string" or "other". Comments are
-- left out. Returns nil if the text is none that Lua would take.
local function tokens(text)
  local list, at = {}, 1
  if text:sub(1, 1) == "#" then at = text:find("\n", 1, true) or #text + 1 end
  while true do
    at = text:match("^%s*()", at)
    if at > #text then return list end
    local kind, stop = "other", at + 1
    local c = text:sub(at, at)
    if text:find("^%-%-", at) then
      stop = behind_long(text, at + 2)
      if stop == nil then stop = text:find("[\n\r]", at) or #text + 1 end
      kind = nil
    elseif c == '"' or c == "'" then
      kind, stop = "string", behind_quoted(text, at)
    elseif text:find("^%[=*%[", at) then
      kind, stop = "string", behind_long(text, at)
    elseif c:find("[%a_]") then
      kind, stop = "word", text:match("^[%w_]+()", at)
    elseif text:find("^%.?%d", at) then
      stop = behind_number(text, at)
    elseif text:find("^::", at) then
      stop = at + 2 -- of a label: what follows is no method
    elseif text:find("^%.%.", at) then
      stop = text:match("^%.+()", at)
    end
    if not stop then return nil end
    if kind then list[#list + 1] = {kind = kind, text = text:sub(at, stop - 1), at = at} end
    at = stop
  end
end

local function line_of(text, at)
  local _, count = text:sub(1, at - 1):gsub("\n", "")
  return count + 1
end

local function is(token, text) return token ~= nil and token.text == text and token.kind == "other" end

-- Returns the name of the module if require at the index of a token is called with nothing but one literal; else nil.
local function required(list, i)
  local next_one = i + 1
  local bracket = is(list[next_one], "(")
  if bracket then next_one = next_one + 1 end
  local literal = list[next_one]
  if not literal or literal.kind ~= "string" or (bracket and not is(list[next_one + 1], ")")) then return nil end
  return literal.text:match("^[\"']([^\\\"']+)[\"']$")
end

-- Returns whether a word is the field of a table.
local function is_field(list, i) return is(list[i - 1], ".") or is(list[i - 1], ":") end

-- Returns the name of the member if a token names one: behind "." or ":", or as a string.
local function member(list, i)
  local token = list[i]
  if token.kind == "word" then return is_field(list, i) and token.text or nil end
  if token.kind ~= "string" then return nil end
  local _, text = token.text:match("^%[(=*)%[(.*)%]%1%]$")
  return text or token.text:sub(2, -2)
end

-- Returns whether a word leads nowhere where it stands: before "=", as a key or a variable that gets a value; or before
-- a harmless field. settled: where a field gets a value, the script's state has told of it.
local function is_harmless(list, i, settled)
  if is(list[i + 1], "=") and not is(list[i + 2], "=") and list[i].text ~= "_ENV" then return true end
  local fields, field = HARMLESS[list[i].text], list[i + 2]
  local gets_value = is(list[i + 3], "=") and not is(list[i + 4], "=")
  return fields and is(list[i + 1], ".") and field and field.kind == "word" and fields[field.text]
    and (settled or not gets_value) or false
end

-- Notes in `parts` what a token names of our modules' parts. line: makes the place of a token.
local function note_parts(parts, list, i, line)
  local token, name = list[i], member(list, i)
  for module, part in pairs(PARTS) do
    if token.text:find(part, 1, true) then parts[module] = parts[module] or {line(token), part, MODULE} end
  end
  for module, members in pairs(name and MEMBERS or {}) do
    if members.names[name] then parts[module] = parts[module] or {line(token), name, members.loads} end
  end
  local key = name or token.kind == "word" and is(list[i + 1], "=") and token.text
  for module, option in pairs(KEYS) do
    if key == option.name then parts[module] = parts[module] or {line(token), key, option.loads} end
  end
end

-- Returns the reason that lies in a part of a module that is used, if any: the same one each time.
local function first_part(parts, used)
  local modules = {}
  for module in pairs(parts) do modules[#modules + 1] = used[module] and module or nil end
  table.sort(modules)
  if not modules[1] then return nil end
  local where, word, what = table.unpack(parts[modules[1]])
  return ("%s, has the word %q: that part of %s loads %s"):format(where, word, modules[1], what)
end

-- ---- files and modules ----

-- src/app/deploy_program.c knows how the first one begins.
local NOT_IN_LUA = "%s %s, which is no module in Lua"
local BY = "%s, uses %s, by which a module in C can be loaded"

-- Returns the text of a file, or nil and why there is none.
local function read(path)
  local real = core.real_path(path)
  if real and core.kind(real) ~= "file" then return nil, path .. " is no regular file" end
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local text
  text, message = file:read(SIZE_MAX + 1)
  file:close()
  if message then return nil, message end
  text = text or "" -- read() has met the end at once
  if #text > SIZE_MAX then return nil, path .. " is too large" end
  text = text:gsub("^\xef\xbb\xbf", "") -- Lua skips that mark
  if text:find("^\27") or text:find("^#[^\n]*\n\27") then return nil, path .. " is compiled" end
  return text
end

-- Returns a search path in which "." is the directory of the script: a service is started elsewhere than this process.
local function beside(script, path)
  local directory = script:match "^(.*/)" or ""
  local templates = {}
  for template in path:gmatch "[^;]+" do
    if template:sub(1, 2) == "./" then template = directory .. template:sub(3) end
    if template:sub(1, 1) == "/" or directory:sub(1, 1) ~= "/" then templates[#templates + 1] = template end
  end
  return table.concat(templates, ";")
end

-- Reads what a script's state says, see src/app/deploy_program.c.
local function read_facts(facts)
  local loaded, given, path = {}, {}, ""
  for kind, value in facts:gmatch("(%l+)=(%Z*)%z") do
    if kind == "path" then path = value
    elseif kind == "given" then given[value] = true
    else loaded[#loaded + 1] = value end
  end
  table.sort(loaded)
  return loaded, given, path
end

-- program.examine(script, facts, is_pool)
-- Returns why mb-handle has to run a script, half a sentence; or nil when mb-handle-static can. is_pool: for a pool.
function program.examine(script, facts, is_pool)
  local loaded, given, path = read_facts(facts)
  path = beside(script, path)
  local uses_names = false
  local queue, seen = {script}, {}
  local used, parts = {}, {} -- the modules with such parts, and where the word of a part stands first

  -- Returns whether a module can be had without one in C; adds its file to those that are to be looked at.
  local function is_known(name)
    for module in pairs(PARTS) do
      if name:sub(1, #module) == module then used[module] = true end
    end
    used[name] = true
    if STANDARD[name] or core.embedded(name) then return true end
    -- In the place of a module of Tarantool's, a file beside the script counts.
    local file = package.searchpath(name, given[name] and (script:match "^(.*/)" or "") .. "?.lua" or path)
    queue[#queue + 1] = file
    return file ~= nil or given[name] or false
  end

  local function examine_file(file)
    local text, message = read(file)
    if not text then return ("%s: it cannot be looked at"):format(message) end
    local list = tokens(text)
    if not list then return ("%s cannot be looked at"):format(file) end
    local function line(token) return ("%s, line %d"):format(file, line_of(text, token.at)) end
    local settled = file == script -- before its first function, the script has run when its state tells of itself
    for i, token in ipairs(list) do
      local word = token.text
      if token.kind == "word" and word == "function" then settled = false end
      if word:find("moonbridge_io", 1, true) or word:find("^[\"']mb%.") then uses_names = true end
      note_parts(parts, list, i, line)
      if token.kind == "word" and word == "require" then
        local name = required(list, i)
        if not name then return line(token) .. ", uses require without the plain name of a module" end
        if name .. ".lua" == script:match("[^/]*$") then
          return line(token) .. ", requires a module with the script's own name"
        end
        if OPEN[name] then return BY:format(line(token), quote.show(name)) end
        if not is_known(name) then return NOT_IN_LUA:format(line(token) .. ", requires", quote.show(name)) end
      elseif token.kind == "word" and (ALWAYS[word] or (ALONE[word] and not is_field(list, i)))
        and not is_harmless(list, i, settled) then
        return BY:format(line(token), word)
      end
    end
  end

  for _, name in ipairs(loaded) do
    if not is_known(name) then return NOT_IN_LUA:format("the script has loaded", quote.show(name)) end
  end
  local i = 1
  while queue[i] do
    local file = queue[i]
    if not seen[file] then
      seen[file] = true
      local why = examine_file(file)
      if why then return why end
    end
    i = i + 1
    if i > FILES_MAX then return ("it has more than %d files"):format(FILES_MAX) end
  end
  local part = first_part(parts, used)
  if part then return part end
  -- Its processes are there already. To look a name up, mb-handle-static starts another one.
  if is_pool and uses_names then return "in a pool it looks names up faster, and starts rarely" end
end

-- program.choose(plan)
-- Sets plan.program, the path of the program that is to run the script; plan.is_static, whether that is
-- mb-handle-static; and plan.note, a line that says why. plan.why comes from the process that has loaded the script,
-- which may be anybody's.
function program.choose(plan)
  local why = plan.why
  if not quote.is_line(why) then why = "the script's process has said no more" end
  if why == "" and plan.static == "" then why = "mb-handle-static is not installed beside it" end
  if why == "" and plan.runnable and not plan.static_runnable then
    why = "not everybody may run mb-handle-static"
  end
  plan.is_static = why == ""
  if plan.is_static then
    plan.program, plan.runnable = plan.static, plan.static_runnable
    plan.note = "mb-handle-static starts faster: nothing here loads a module in C."
  else
    plan.note = ("mb-handle, not mb-handle-static: %s."):format(why)
  end
end

return program
