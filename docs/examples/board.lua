-- board.lua: a board on which everybody sees at once what others write: short notes, with or without a picture. Its
-- page is in the directory board beside this script. It shows a WebSocket, uploads, files, and SQLite in a sandbox.
-- Nobody signs in: it is for people who know each other; mb.auth(3) can ask for a password.
--
-- Try it: apt-get install lua-cjson lua-sql-sqlite3
--         mb-handle --serve board.lua         then open http://127.0.0.1:8080/ in two windows
--         mb-handle --serve=8080 board.lua    for others, too: on all addresses of this machine
-- It keeps notes in ~/.local/state/board, or in the directory that is its argument. The tutorial makes a service of it.

local http, router, reply = require "moonbridge_http", require "mb.router", require "mb.reply"
local crypto, static = require "mb.crypto", require "mb.static"
local cjson, luasql = require "cjson", require "luasql.sqlite3"

local LOOK_SECONDS = 0.25           -- how often a process looks for what others have written
local TEXT_MAX, NAME_MAX = 1000, 40 -- characters
local PICTURE_MAX = 5 << 20         -- bytes; script.js has it, too
local NOTES_MAX, PICTURES_MAX = 200, 200 << 20 -- of notes, and bytes of their pictures; the oldest note makes room

-- ---- Files ----

local page = moonbridge_io.script_path("board")
local data = ... or os.getenv("STATE_DIRECTORY") or (os.getenv("HOME") or "") .. "/.local/state/board"
local pictures = data .. "/pictures"
assert(assert(moonbridge_io.exec("mkdir", "-p", "--", pictures)):wait() == 0, "cannot make the directory " .. pictures)

-- The bytes of a picture say what it is. The name of the file, and the type that a client gives, mean nothing.
local BEGIN = {png = "^\x89PNG\r\n\x1a\n", jpg = "^\xff\xd8\xff", gif = "^GIF8[79]a", webp = "^RIFF....WEBP"}
local function extension(bytes)
  for name, beginning in pairs(BEGIN) do if bytes:find(beginning) then return "." .. name end end
end

-- Writes a picture. Returns the name of its file, which nobody can guess.
local function keep(bytes)
  local name = crypto.base64url(crypto.random_bytes(16)) .. extension(bytes)
  local file = assert(io.open(pictures .. "/" .. name, "wb"))
  if file:write(bytes) and file:close() then return name end
  os.remove(pictures .. "/" .. name)
  error("a picture cannot be written")
end

-- ---- The database ----

local database -- the connection of this process
-- Runs a statement. Each "?" in it stands for a value: an integer, or a string, which goes in as hexadecimal digits, so
-- that no byte of it means anything to SQL. Returns the rows.
local function sql(statement, ...)
  local values, count, rows = {...}, 0, {}
  local text = statement:gsub("%?", function()
    count = count + 1
    local value = values[count]
    if math.type(value) == "integer" then return ("%d"):format(value) end
    return "CAST(X'" .. crypto.hex(value) .. "' AS TEXT)"
  end)
  local cursor = assert(database:execute(text))
  if type(cursor) == "number" then return rows end -- the statement was no query
  repeat
    local row, problem = cursor:fetch({}, "a")
    assert(not problem, problem)
    rows[#rows + 1] = row
  until not row
  return rows
end

-- Each process has a connection of its own. It is opened before the process locks itself, with all files that SQLite
-- needs: so the handler may neither open the database nor put another file in its place.
local function open_database()
  database = assert(luasql.sqlite3():connect(data .. "/board.db", 10000)) -- milliseconds to wait for another process
  -- Who reads does not wait for who writes. SQLite does not wait here, where others may make the same file.
  while select(2, database:execute("PRAGMA journal_mode = WAL")) == "LuaSQL: database is locked" do end
  sql([[CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER, name TEXT, text TEXT,
    owner TEXT, picture TEXT, bytes INTEGER)]])
end

local function remove(note)
  sql("DELETE FROM notes WHERE id = ?", note.id)
  if note.picture ~= "" then os.remove(pictures .. "/" .. note.picture) end
end

-- Adds a note, and removes the oldest ones that are too many, or whose pictures are too large together.
local function add(note, picture, bytes)
  sql("INSERT INTO notes (time, name, text, owner, picture, bytes) VALUES (?, ?, ?, ?, ?, ?)",
    os.time(), note.name, note.text, note.key, picture, bytes)
  local old = sql([[SELECT id, picture FROM (SELECT id, picture, row_number() OVER newest AS place,
    sum(bytes) OVER newest AS total FROM notes WINDOW newest AS (ORDER BY id DESC)) WHERE place > ? OR total > ?]],
    NOTES_MAX, PICTURES_MAX)
  for _, each in ipairs(old) do remove(each) end
end

-- ---- What clients send ----

-- Returns a text without control characters, and without blanks around it; nil if it is not UTF-8 of at most so many
-- characters. Lua lets surrogates pass (ED A0 to ED BF), but no WebSocket does: one would end them all.
local function clean(value, most)
  if type(value) ~= "string" or #value > 4 * most then return nil end
  local text = (value:gsub("\r\n", "\n"):gsub("[\0-\8\11-\31\127]", ""):match("%S.*") or ""):match(".*%S") or ""
  return not text:find("\xed[\xa0-\xbf]") and (utf8.len(text) or most + 1) <= most and text or nil
end

-- Returns a note of these fields; or nil and what is wrong with them. Who has the key of a note may remove it.
local function note_of(fields, has_picture)
  local note = {name = clean(fields.name, NAME_MAX), text = clean(fields.text, TEXT_MAX), key = clean(fields.key, 64)}
  if (note.name or "") == "" then return nil, "A name is needed, of at most " .. NAME_MAX .. " characters." end
  if not note.text then return nil, "A note has at most " .. TEXT_MAX .. " characters." end
  if note.text == "" and not has_picture then return nil, "There is nothing in this note." end
  if #(note.key or "") < 16 then return nil, "The key is missing." end
  return note
end

-- What a message of each kind does. A function returns what is wrong, if something is.
local kinds = {}
function kinds.hello(client, message) -- the first message of a page
  client.key = clean(message.key, 64) or ""
end

function kinds.note(_, message)
  local note, problem = note_of(message)
  if not note then return problem end
  add(note, "", 0)
end

function kinds.remove(client, message)
  local note = sql("SELECT id, owner, picture FROM notes WHERE id = ?", math.tointeger(message.id) or 0)[1]
  if not note or not crypto.equal(note.owner, client.key or "") then return "This note is not yours." end
  remove(note)
end

-- ---- Pages and sockets ----

-- Adds to news what the client does not know yet: notes that are new to it, and the numbers of those that are gone.
local function look(client, news)
  local there, gone = {}, {}
  for _, note in ipairs(sql("SELECT id FROM notes")) do there[note.id] = true end
  for id in pairs(client.notes) do
    if not there[id] then gone[#gone + 1], client.notes[id] = id, nil end
  end
  local notes = sql("SELECT id, time, name, text, picture, owner = ? AS mine FROM notes WHERE id > ? ORDER BY id",
    client.key, client.last)
  for _, note in ipairs(notes) do client.notes[note.id], client.last = true, note.id end
  if notes[1] or not client.version then news.notes = notes end
  if gone[1] then news.gone = gone end
end

-- A WebSocket. Between messages the process asks SQLite whether another one has changed something: data_version is a
-- number in memory that they share. A look takes some 60 microseconds, an idle client 0.03 % of a processor.
local function live(request)
  local ws = request:upgrade_websocket{max_message = 16384}
  if not ws then return end
  local client = {notes = {}, last = 0} -- notes: the numbers of those that the page shows
  while true do
    local text, why = ws:receive(LOOK_SECONDS)
    if not text and why ~= "timeout" then return end
    local news = {}
    if text then
      local is_json, message = pcall(cjson.decode, text)
      local act = is_json and type(message) == "table" and kinds[message.kind]
      news.problem = not act and "This is no message of the board." or act(client, message)
      news.done = not news.problem and message.kind
    end
    local version = sql("PRAGMA data_version")[1].data_version
    if client.key and (text or version ~= client.version) then
      look(client, news)
      client.version = version
    end
    if next(news) and not ws:send(cjson.encode(news)) then return end
  end
end

-- A note with a picture, which comes as a form. The picture is in memory until it is whole, so that a client that goes
-- away leaves no half of a file.
local function take_picture(request)
  local origin = request.headers_value.Origin -- that of the page; only ours may send this form
  if origin ~= nil and (origin or ""):match("^https?://(.+)$") ~= request.host then return reply.error(request, 403) end
  local parts = {}
  request:stream_post_param("picture", function(piece) parts[#parts + 1] = piece end)
  local note, problem = note_of(request.post_params, true) -- reads the form
  local bytes = table.concat(parts)
  if not note then return reply.error(request, 422, problem) end
  if not extension(bytes) then return reply.error(request, 415, "It is no PNG, JPEG, GIF or WebP picture.") end
  if #bytes > PICTURE_MAX then return reply.error(request, 413, "It is too large.") end
  add(note, keep(bytes), #bytes)
  reply.no_content(request)
end

local routes = router.new()
routes:get("/live", live)
routes:post("/pictures", take_picture)
routes:mount("/pictures", static.new(pictures, {index = false, cache_control = "max-age=31536000, immutable"}))
routes:get("/*path", static.new(page, {cache_control = "no-cache"}))

listen{
  prepare = open_database,
  sandbox = {read = {page}, write = {pictures}},
  connect = http.generate_handler(routes, {
    request_body_size_limit = PICTURE_MAX + 65536, -- the other fields of the form are beside the picture
    static_headers = {["Content-Security-Policy"] =
      "default-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"},
  }),
}
