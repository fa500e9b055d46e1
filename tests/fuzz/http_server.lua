-- What the fuzz harness http_server serves, as handler.lua for moonbridge_http: the first piece of a request's path
-- says what is done with it. What must hold of streams and headers is checked here; the responses are checked in C.

local http_server = require "mb.http_server"
local new_headers = require "mb.http_server.headers".new
local upgrade = require "mb.http_server.upgrade"
local poll = require "moonbridge_io".poll
local decode_uri = require "moonbridge_http".decode_uri

local LAST = 16 -- requests on one connection: more are not worth their time

local EPIPE, EILSEQ, ETIMEDOUT = 32, 84, 110

local server -- of this connection
local served = {} -- a line for each request of this connection: method, minor version
local finding -- what did not hold
local throws -- whether the script throws by itself: nil, "must", "may"
local half -- how the script has left the last response incomplete: nil, "returned", "thrown", "reset"
local response -- what was written of the response: nil before its head; see begin

local function check(condition, what)
  if not condition and not finding then finding = debug.traceback(what, 2) end
end

local function sorted(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return ipairs(keys)
end

-- The decoded query of a target, names and values.
local function query(target)
  local params = {}
  for piece in (target:match("%?(.*)") or ""):gmatch("[^&]+") do
    local name, value = piece:match("^([^=]*)=?(.*)$")
    params[decode_uri(name)] = decode_uri(value)
  end
  return params
end

-- ---- what must hold of every stream ----

-- A state never goes back.
local RANKS = {idle = 0, open = 1, ["half closed (remote)"] = 2, ["half closed (local)"] = 2, closed = 3}

local function check_state(stream)
  local rank = RANKS[stream.state]
  check(rank and rank >= stream.test_rank, "the state " .. tostring(stream.state))
  stream.test_rank = rank or 0
end

-- Results of a method that fails with nil, message, errno, and how it may end without.
local function check_results(stream, value, message, number)
  check_state(stream)
  if value == nil and message ~= nil then
    check(type(message) == "string", "a failure without a message")
    check(number == EPIPE or number == EILSEQ or number == ETIMEDOUT or number == 104, "errno " .. tostring(number))
  end
  return value, message, number
end

-- Fails as a script does that wants it to succeed.
local function must(stream, ...) return (assert(check_results(stream, ...))) end

local function check_fields(list)
  local n, seen = 0, {}
  for name, value, never_index in list:each() do
    n = n + 1
    local first, second, third = list:geti(n)
    check(first == name and second == value and third == never_index, "each and geti")
    check(name == name:lower() and name:find("^:?[^%c%s:\127-\255]+$"), "the name of a field")
    check(not value:find("[%z\1-\8\10-\31\127]") and not value:find("^[ \t]") and not value:find("[ \t]$"), "a value")
    check(never_index == (name == "authorization" or name == "cookie" or name == "proxy-authorization" or
      name == "set-cookie"), "a secret")
    check(not (name:find("^:") and seen[name]), "a pseudo-header field twice")
    seen[name] = seen[name] or {}
    table.insert(seen[name], value)
  end
  check(n == #list and n == list:len() and list:geti(n + 1) == nil and list:geti(0) == nil, "the number of fields")
  for name, values in pairs(seen) do
    check(list:has(name) and table.concat({list:get(name)}, ",") == table.concat(values, ","), "get")
    check(list:get_comma_separated(name) == table.concat(values, ","), "get_comma_separated")
    check(list:get_as_sequence(name).n == #values, "get_as_sequence")
    local copy = list:clone()
    check(copy:delete(name) and not copy:has(name) and #copy == n - #values and #list == n, "delete")
    check(pcall(copy.upsert, copy, name, "x") and copy:get(name) == "x", "upsert of what is not there")
    check(pcall(list.upsert, list, name, values[1]) == (#values == 1), "upsert")
  end
  check(not list:has("no such header") and select("#", list:get("no such header")) == 0, "an absent field")
end

local function check_head(stream, list)
  check(list:get(":method") == stream.req_method and list:get(":scheme") == "http", "method and scheme")
  check(stream.req_method:find("^[^%c \127-\255]+$"), "method")
  check(stream.peer_version == 1.0 or stream.peer_version == 1.1, "version")
  check(stream.peer_version == 1.0 or list:has(":authority"), "HTTP/1.1 without a host")
  check(not list:has("host") and not list:get(":path"):find("[%z\1-\32\127]"), "host and path")
  check(stream.state == "open" or stream.state == "half closed (remote)", "the state at the beginning")
end

-- Everything that the head says, as text.
local function describe(stream, list)
  check_head(stream, list)
  check_fields(list)
  local pieces = {("%s %s\n"):format(stream.peer_version, stream.connection.version)}
  for name, value, never_index in list:each() do
    pieces[#pieces + 1] = ("%s: %q %s\n"):format(name, value, never_index)
  end
  local copy = list:clone()
  copy:sort()
  check(#copy == #list, "sort")
  for name in copy:each() do pieces[#pieces + 1] = name .. "\n" end
  return table.concat(pieces)
end

-- ---- the response ----

-- Begins the response with a list of fields.
local function begin(stream, list, ends)
  local good, message, number = stream:write_headers(list, ends)
  local status = list:get(":status")
  if status >= "200" then
    response = {
      ended = ends, sent = 0, empty = stream.req_method == "HEAD" or status == "204" or status == "304", length = nil,
    }
    for name, value in list:each() do
      if name:lower() == "content-length" then response.length = tonumber(value) end
    end
  elseif status == "101" then
    response = {ended = true, empty = true, sent = 0}
  end
  must(stream, good, message, number)
end

-- The rest: names and values.
local function head(stream, status, ends, ...)
  local list = new_headers()
  list:append(":status", tostring(status))
  for i = 1, select("#", ...), 2 do list:append(select(i, ...), (select(i + 1, ...))) end
  begin(stream, list, ends)
end

local function send(stream, text, ends)
  local good, message, number = stream:write_chunk(text, ends)
  response.sent, response.ended = response.sent + #text, response.ended or ends
  must(stream, good, message, number)
end

local function answer(stream, ...)
  head(stream, 200, false, "content-type", "text/plain")
  for i = 1, select("#", ...) do send(stream, (select(i, ...)), false) end
  send(stream, "", true)
end

-- Whether what is left of the response would look complete.
local function is_whole()
  return not response or response.ended or response.empty or response.length and response.sent >= response.length
end

-- Calls a method that has to throw, and to throw an error of its own.
local function refuses(stream, name, ...)
  local good, message = pcall(stream[name], stream, ...)
  check(not good, name .. " is allowed")
  check(good or not tostring(message):find("attempt to ", 1, true), tostring(message))
end

-- Throws, as only a script with a fault does.
local function deliberate()
  if not server.test_handled then throws = "must" end
  error("deliberate")
end

-- ---- the request body ----

local function read_all(stream) return must(stream, stream:get_body_as_string()) end

-- One way each to read a piece.
local readers = {
  function(stream) return stream:get_next_chunk() end,
  function(stream) return stream:get_body_chars(7) end,
  function(stream) return stream:get_body_until("\n", true, true) end,
  function(stream) return stream:get_body_until("[,;]", false, true) end,
  function(stream)
    local some, message, number = stream:get_next_chunk()
    if not some then return nil, message, number end
    stream:unget(some:sub(2))
    return some:sub(1, 1)
  end,
  -- A timeout loses nothing.
  function(stream)
    local some, message, number = stream:get_body_chars(20, 5e-6)
    if number == ETIMEDOUT then return stream:get_next_chunk() end
    return some, message, number
  end,
  function(stream) return stream:get_body_until("0\r", true, true) end,
}

-- The body, read piece by piece; order: digits, which reader comes when.
local function read_mixed(stream, order, consumer)
  order = order:find("^[0-6]+$") and order or "0123456"
  for i = 1, math.huge do
    local at = (i - 1) % #order + 1
    local piece, message, number = check_results(stream, readers[tonumber(order:sub(at, at)) + 1](stream))
    if not piece then
      if message then error(message, 0) end
      check(number == nil and stream:get_next_chunk() == nil, "the end, and more")
      return
    end
    check(piece ~= "", "an empty piece")
    consumer(piece)
  end
end

-- ---- what is done with a request ----

local actions = {}

function actions.describe(stream, list) answer(stream, describe(stream, list)) end

function actions.body(stream)
  local body = read_all(stream)
  check(stream:get_next_chunk() == nil and stream:get_body_as_string() == "", "body twice")
  -- Whatever way it is read, it is the same.
  for i = 0, 6 do
    local pieces = {}
    stream:unget(body:sub(4))
    stream:unget(body:sub(1, 3))
    read_mixed(stream, tostring(i), function(piece) pieces[#pieces + 1] = piece end)
    check(table.concat(pieces) == body, "the body by reader " .. i)
  end
  answer(stream, body)
end

-- r: the order of the ways to read.
function actions.stream(stream, list)
  local pieces = {}
  read_mixed(stream, query(list:get(":path")).r or "", function(piece) pieces[#pieces + 1] = piece end)
  answer(stream, table.concat(pieces))
end

-- Fields between separators.
function actions.form(stream, list)
  local separator = query(list:get(":path")).s or "&"
  local pieces = {}
  if separator == "" then separator = "&" end
  while true do
    local piece, message, number = check_results(stream, stream:get_body_until(separator, true, false))
    if not piece then
      if message then error(message, 0) end
      check(number == nil, "the end, and an errno")
      break
    end
    check(not piece:find(separator, 1, true), "more than one field")
    pieces[#pieces + 1] = piece
  end
  answer(stream, table.concat(pieces, "\n"))
end

-- Answers while it reads.
function actions.echo(stream, list)
  head(stream, 200, false)
  send(stream, "echo\n", false)
  read_mixed(stream, query(list:get(":path")).r or "", function(piece) send(stream, piece, false) end)
  send(stream, "", true)
end

function actions.now(stream)
  local pieces = {}
  for piece in stream:each_chunk() do pieces[#pieces + 1] = piece end
  local trailers, message = stream:get_headers()
  check(trailers == nil or #trailers == 0, "trailers are not kept")
  -- It does not say whether it was the end.
  if stream.connection.fault then
    check(stream:get_next_chunk() == nil, "a piece behind a fault")
    error(message or stream.connection.fault.message, 0)
  end
  answer(stream, table.concat(pieces))
end

-- Reads only the beginning.
function actions.drop(stream)
  local begins = check_results(stream, stream:get_body_chars(3))
  answer(stream, begins or "nothing")
end

function actions.skip(stream) answer(stream, "skipped") end

-- More than a slow client takes at once, while the body is still to come.
function actions.big(stream)
  head(stream, 200, false)
  for i = 1, 30 do send(stream, (i .. "\n"):rep(40), false) end
  send(stream, read_all(stream), true)
end

function actions.monologue(stream)
  head(stream, 200, false, "connection", "close")
  for i = 1, 30 do send(stream, (i .. "\n"):rep(40), i == 30) end
end

function actions.close(stream) head(stream, 200, true, "Connection", "Keep-Alive, foo", "connection", "CLOSE") end

-- d: the data.
function actions.length(stream, list)
  local data = query(list:get(":path")).d or ""
  head(stream, 200, false, "content-length", tostring(#data))
  send(stream, data, false)
  refuses(stream, "write_chunk", "x", false)
  must(stream, stream:write_body_from_string(""))
  response.ended = true
  check(select(3, stream:write_chunk("x", true)) == EPIPE, "a piece behind the end")
end

function actions.string(stream, list)
  head(stream, 200, false)
  response.ended = true -- or the connection fails
  must(stream, stream:write_body_from_string(query(list:get(":path")).d or ""))
end

-- s: the status; e: the head is its end.
function actions.empty(stream, list)
  local params = query(list:get(":path"))
  local status = ({["204"] = 204, ["205"] = 205, ["304"] = 304})[params.s] or 204
  head(stream, status, params.e ~= nil)
  if params.e then return end
  if status ~= 205 then refuses(stream, "write_chunk", "x", true) end
  send(stream, "", true)
end

function actions.interim(stream, list)
  local params = query(list:get(":path"))
  for _, name in sorted(params) do pcall(head, stream, 103, false, name, params[name]) end
  head(stream, 103, false, "link", "</style.css>; rel=preload")
  must(stream, stream:write_continue())
  answer(stream, read_all(stream))
end

-- What comes from the client must not become framing, whatever a script does with it.
function actions.inject(stream, list)
  local params = query(list:get(":path"))
  local fields = new_headers()
  fields:append(":status", params.s or "200")
  for _, name in sorted(params) do fields:append(name, params[name]) end
  if not pcall(begin, stream, fields, params.e ~= nil) and not response then head(stream, 400, false) end
  local text = params.d or "data"
  pcall(send, stream, text, false)
  if params.t then
    local trailers = new_headers()
    for _, name in sorted(params) do trailers:append(name, params[name]) end
    if pcall(stream.write_headers, stream, trailers, true) then response.ended = true end
  end
  if response and not response.ended then pcall(send, stream, "", true) end
end

function actions.trailers(stream)
  head(stream, 200, false, "trailer", "a, b")
  send(stream, "data", false)
  local trailers = new_headers()
  for _, name in ipairs {"a", "content-length", "transfer-encoding", "connection"} do trailers:append(name, "1") end
  response.ended = true -- or the connection fails
  must(stream, stream:write_headers(trailers, true))
end

local file = io.tmpfile()
file:write(("0123456789"):rep(300))

-- f: the first byte; n: how many; l: they are announced. The request body comes as a file, too.
function actions.file(stream, list)
  local params = query(list:get(":path"))
  local first, count = math.tointeger(tonumber(params.f)) or 0, math.tointeger(tonumber(params.n))
  if first < 0 or first > 3000 then first = 0 end
  if count and (count < 0 or first + count > 3000) then count = nil end
  local body = must(stream, stream:get_body_as_file())
  local text = body:read("a")
  body:close()
  head(stream, 200, false, params.l and "content-length" or "x", tostring(#text + (count or 3000 - first)))
  send(stream, text, false)
  file:seek("set", first)
  response.ended = true -- or the connection fails
  must(stream, stream:write_body_from_file(count and {file = file, count = count} or file))
end

local function wrong_fields()
  return {
    {":status", "99"}, {":status", "1000"}, {":status", "200", ":path", "/"}, {":status", "200", "a", "b\r\nc: d"},
    {":status", "200", "a b", "c"}, {":status", "200", "", "c"}, {":status", "200", "a", 1}, {"a", "b"},
    {":status", "200", "transfer-encoding", "gzip"}, {":status", "200", "Content-Length", "-1"},
    {":status", "200", "content-length", "1", "Content-Length", "2"}, {":status", "204", "content-length", "1"},
    {":status", "200", "content-length", "1", "transfer-encoding", "chunked"},
  }
end

function actions.misuse(stream)
  refuses(stream, "write_chunk", "x", true)
  refuses(stream, "write_body_from_string", "x")
  refuses(stream, "write_body_from_file", "x")
  refuses(stream, "write_headers", {}, true)
  refuses(stream, "write_headers", new_headers(), true)
  refuses(stream, "unget", 1)
  refuses(stream, "get_body_chars", "x")
  refuses(stream, "get_body_until", nil)
  for _, fields in ipairs(wrong_fields()) do
    local list = new_headers()
    for i = 1, #fields, 2 do list:append(fields[i], fields[i + 1]) end
    refuses(stream, "write_headers", list, false)
  end
  local list = new_headers()
  list:append(":status", "100")
  refuses(stream, "write_headers", list, true)
  list:upsert(":status", "200")
  refuses(stream, "write_headers", list)
  head(stream, 200, false, "content-length", "4")
  refuses(stream, "write_continue")
  refuses(stream, "write_chunk", "12345", true)
  refuses(stream, "write_chunk", 1234, true)
  send(stream, "half", true)
  check(select(3, stream:write_headers(list, true)) == EPIPE, "a head behind the end")
  check(select(3, stream:write_continue()) == EPIPE, "a 100 behind the end")
end

-- A client's fault that the script answers itself.
function actions.catch(stream)
  local body, message, number = check_results(stream, stream:get_body_as_string())
  check(body or message, "neither a body nor a failure")
  if body then return answer(stream, body) end
  if number == EILSEQ then check(select(3, stream:get_body_as_string()) == EILSEQ, "a fault that goes away") end
  answer(stream, "no body: ", message)
end

-- From here on, errors are the error handler's. t: it throws itself.
function actions.handle(stream, list)
  local params = query(list:get(":path"))
  server.test_handled = not params.t
  check(type(server:onerror(function(s, context, operation, message)
    check(s == server and (operation == "onstream") == (context.get_headers ~= nil), "the context of an error")
    check(operation == "onstream" or operation == "get_next_incoming_stream", operation)
    check(type(message) == "string" and not message:find("attempt to ", 1, true), tostring(message))
    if not params.t then return end
    throws = "must"
    error("an error of the error handler", 0)
  end)) == "function", "no error handler before")
  answer(stream, "handled")
end

function actions.throw() deliberate() end

function actions.late(stream)
  head(stream, 200, false)
  send(stream, "half", false)
  deliberate()
end

-- a: how it ends; r: the body is read.
function actions.none(stream, list)
  local ways = {stream = stream, connection = stream.connection}
  local params = query(list:get(":path"))
  if params.r then read_mixed(stream, params.r, function() end) end
  local way = ways[params.a]
  if way then
    check(way:shutdown() == true, "shutdown")
    check(stream.state == "closed" and stream:get_next_chunk() == nil, "open behind shutdown")
    check(select(3, stream:write_chunk("x", true)) == EPIPE, "a response behind shutdown")
    check(way:shutdown() == true, "shutdown again")
  end
end

-- d: what is sent of 5 bytes.
function actions.short(stream, list)
  head(stream, 200, false, "content-length", "5")
  send(stream, (query(list:get(":path")).d or "half"):sub(1, 5), false)
end

-- a: behind a response.
function actions.reset(stream, list)
  if query(list:get(":path")).a then answer(stream, "before") end
  stream.connection.socket:reset()
  half = "reset"
end

function actions.next(stream)
  local other = http_server.new {onstream = function(_, same)
    check(same == stream, "another stream")
    answer(same, "next")
  end}
  check(server.add_stream(other, stream), "add_stream")
end

-- Another protocol behind a 101: what comes is sent back.
function actions.upgrade(stream)
  read_all(stream)
  if upgrade(stream.connection.input, "echo") then return answer(stream, "no") end
  head(stream, 101, false, "upgrade", "echo", "connection", "upgrade")
  local socket = stream.connection:take_socket()
  socket:write("HTTP/1.1 is over\r\n\r\n")
  -- A client that waits is not waited for.
  local text, ended = "", false
  while #text < 20 and not ended and poll({[socket] = true}, nil, 5) do
    local some, state = socket:read_nb(20 - #text)
    text, ended = text .. (some or ""), some == nil or state == "eof"
  end
  socket:write(text)
  socket:close()
end

-- ---- the server ----

-- The script's function. How it leaves the response is noted.
local function onstream(self, stream)
  check(self == server, "another server")
  check(stream.state == "idle", "the state before the head is asked for")
  served[#served + 1] = ("%s %.1f\n"):format(stream.req_method, stream.peer_version)
  if #served == LAST then server:close() end
  response, stream.test_rank = nil, 0
  local list = must(stream, stream:get_headers())
  local act = actions[list:get(":path"):match("^/(%l*)")] or actions.describe
  local good, err = pcall(act, stream, list)
  if not is_whole() then half = good and "returned" or "thrown" end
  if not good then error(err, 0) end
end

-- serve(socket): serves a connection. report(): what was served, what did not hold, whether the script may have thrown,
-- how the last response was left. rules: see handler_response.h.
return {
  serve = function(socket)
    served, finding, throws, half = {}, nil, nil, nil
    server = http_server.wrap(socket, {onstream = onstream})
    server.test_handled = false
    check(server:loop() == true, "loop")
  end,
  report = function()
    check(server:empty(), "a connection that is over, and is not")
    return table.concat(served), finding, throws, half
  end,
  rules = {echoes_version = true, trailers = true, upgrades = true, any_status = true, tells_half = true},
}
