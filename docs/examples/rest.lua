-- rest.lua: notes over REST, as JSON, in a SQLite file that any number of processes share. The ETag of a note is its
-- version: who changes a note names the one that he has seen, in If-Match, so that nobody undoes what he does not know.
-- Debian packages: lua-cjson, lua-sql-sqlite3. The file is open before the process locks itself, so nothing is wished.
-- Try it: mb-handle --serve rest.lua /tmp/notes.db; curl -i --json '{"text": "buy tea"}' http://127.0.0.1:8080/notes

local http, router, reply = require "moonbridge_http", require "mb.router", require "mb.reply"
local sqlite = require "luasql.sqlite3"
require "cjson" -- for request:json, which cannot load it once the process is locked
local PATH, BODY_BYTES, BUSY_MILLISECONDS = ... or "/var/lib/mb/notes.db", 65536, 5000
local NOTE = "json_object('id', id, 'text', text, 'version', version)"
local LIST = "SELECT json_group_array(" .. NOTE .. ") FROM (SELECT * FROM notes ORDER BY id DESC LIMIT 100)"
local r, db = router.new() -- db: what prepare has opened

-- Runs a statement, a transaction by itself, with values[name] for each :name. No value has a NUL, where escape ends.
-- luasql runs what returns rows twice, so RETURNING is not for it.
local function sql(statement, values)
  return assert(db:execute((statement:gsub(":(%l+)", function(name) return "'" .. db:escape(values[name]) .. "'" end))))
end
local function row(statement, values)
  local cursor = sql(statement, values)
  local a, b, c = cursor:fetch()
  return a, b, c, cursor:close()
end

local function send(request, values, status)
  local note, etag, path = row("SELECT " .. NOTE .. ", etag, '/notes/' || id FROM notes WHERE id = :id", values)
  if not note then return reply.error(request, 404) end
  local location = status == 201 and path or nil
  reply.text(request, note, status, {["Content-Type"] = "application/json", ETag = etag, Location = location})
end

-- Makes the handler that runs a statement: with :text, from the body, and :seen, the version that the client knows.
local function change(statement, status)
  return function(request, values)
    local note = statement:find(":text") and request:json(BODY_BYTES) or {}
    values.seen, values.text = request.headers_value["If-Match"], type(note) == "table" and note.text
    if statement:find(":text") and not (type(values.text) == "string" and values.text:find("^[^\0]+$")) then
      return reply.error(request, 422, "text: expected a string that is not empty, without a NUL")
    elseif statement:find(":seen") and not values.seen then
      return reply.error(request, 428, "If-Match: expected the ETag of the note")
    elseif sql(statement, values) == 0 then
      return reply.error(request, row("SELECT 412 FROM notes WHERE id = :id", values) or 404)
    end
    if status == 204 then return reply.no_content(request) end
    send(request, {id = values.id or db:getlastautoid()}, status)
  end
end

r:get("/notes", function(request) reply.text(request, row(LIST), 200, {["Content-Type"] = "application/json"}) end)
r:get("/notes/:id", function(request, params) send(request, params, 200) end)
r:post("/notes", change("INSERT INTO notes (text) VALUES (:text)", 201))
r:put("/notes/:id", change("UPDATE notes SET text = :text, version = version + 1 WHERE id = :id AND etag = :seen", 200))
r:delete("/notes/:id", change("DELETE FROM notes WHERE id = :id AND etag = :seen", 204))
listen{
  sandbox = "strict",
  prepare = function()
    db = sqlite.sqlite3():connect(PATH, BUSY_MILLISECONDS) or error("SQLite cannot open " .. PATH, 0)
    -- Readers and a writer at once. SQLite does not wait here when others set the same file up.
    while select(2, db:execute("PRAGMA journal_mode = WAL")) == "LuaSQL: database is locked" do end
    sql([[CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT, version INTEGER DEFAULT 1,
      etag TEXT AS ('"' || version || '"'))]])
  end,
  connect = http.generate_handler(r, {on_error = reply.problems})
}
