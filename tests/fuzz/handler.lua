-- What the handler's fuzz harness serves: the first piece of a request's path says what is done with the request, so
-- that the fuzzer chooses. Whatever must hold of the request object is checked here; the responses are checked in C.

local http = require "moonbridge_http"

local LAST = 16 -- requests on one connection: more are not worth their time

local served = {} -- a line for each request of this connection: method, minor version
local finding -- what did not hold
local throws -- whether the script throws by itself: nil, "must", "may"

local function check(condition, what)
  if not condition and not finding then finding = debug.traceback(what, 2) end
end

local function sorted(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return ipairs(keys)
end

local function dump(value)
  if type(value) ~= "table" then return ("%q"):format(tostring(value)) end
  local pieces = {}
  for _, key in sorted(value) do pieces[#pieces + 1] = dump(key) .. "=" .. dump(value[key]) end
  return "{" .. table.concat(pieces, ",") .. "}"
end

-- ---- what must hold of every request ----

local function check_head(request)
  local asterisk = request.target == "*"
  check(type(request.method) == "string" and request.method:find("^[^%c \127-\255]+$"), "method")
  check(request.version == "1.0" or request.version == "1.1", "version")
  check((request.path == nil) == asterisk and (request.query == nil) == asterisk, "path and query of *")
  check(not asterisk or request.method == "OPTIONS", "* without OPTIONS")
  check(asterisk or request.query == "" or request.query:find("^%?"), "query")
  check(asterisk or not request.path:find("?", 1, true), "a question mark in the path")
  check(request.version == "1.0" or request.host, "HTTP/1.1 without a host")
  check(type(request.keepalive) == "boolean" and request.faulty == false, "keepalive, faulty")
  for _, name in ipairs {"method", "path", "query", "target", "host"} do
    check(not (request[name] or ""):find("[%z\1-\32\127]"), "a control character in " .. name)
  end
end

local function check_headers(request)
  for name, lines in pairs(request.headers) do
    local other = name:upper()
    check(name == name:lower() and #lines > 0, "names of headers")
    check(rawequal(request.headers[other], lines), "headers in another spelling")
    check(request.headers_csv_string[other] == table.concat(lines, ", "), "headers_csv_string")
    check(request.headers_value[other] == (#lines == 1 and lines[1]), "headers_value")
    for _, line in ipairs(lines) do check(not line:find("[%z\1-\8\10-\31\127]"), "a control character in a header") end
    for _, element in ipairs(request.headers_csv_table[other]) do
      check(element ~= "", "an empty element of headers_csv_table")
      check(request.headers_flags[other][element:upper()] == true, "headers_flags")
    end
    check(request.headers_flags[name]["no such element"] == false, "headers_flags of what is not there")
  end
  check(next(request.headers["no such header"]) == nil and not rawget(request.headers, "no such header"), "absent")
  check(request.headers_csv_string["no such header"] == "", "absent headers_csv_string")
  check(request.headers_value["no such header"] == nil, "absent headers_value")
  check(request.headers_flags["no such header"].close == false, "absent headers_flags")
end

local function check_params(first, list)
  for name, values in pairs(list) do
    check(#values > 0 and rawequal(first[name], values[1]), "the first of several values")
  end
  for name in pairs(first) do check(rawget(list, name), "a value that is in one table only") end
  check(next(list["no such parameter"]) == nil and not rawget(list, "no such parameter"), "an absent parameter")
end

-- The query's parameters and the cookies, read once more.
local function check_pairs(request)
  local params, cookies = {}, {}
  for piece in (request.query or ""):sub(2):gmatch("[^&]+") do
    local name, value = piece:match("^([^=]*)=?(.*)$")
    name = http.decode_uri(name)
    params[name] = params[name] or {}
    table.insert(params[name], http.decode_uri(value))
  end
  for _, line in ipairs(request.headers.cookie) do
    for piece in line:gmatch("[^;]+") do
      local name, value = piece:match("^[ \t]*([^=]-)[ \t]*=[ \t]*(.-)[ \t]*$")
      if name and name ~= "" then cookies[name] = cookies[name] or value end
    end
  end
  check(dump(params) == dump(request.get_params_list), "get_params_list")
  check(dump(cookies) == dump(request.cookies), "cookies")
end

-- Everything that the head says, as text.
local function describe(request)
  check(request.fresh == (#served < LAST), "fresh")
  check_head(request)
  check_headers(request)
  check_params(request.get_params, request.get_params_list)
  check_pairs(request)
  local pieces = {}
  for _, name in ipairs {
    "method", "path", "query", "target", "version", "host", "headers", "headers_csv_string", "headers_csv_table",
    "headers_value", "cookies", "get_params_list",
  } do
    pieces[#pieces + 1] = name .. ": " .. dump(request[name]) .. "\n"
  end
  return table.concat(pieces)
end

-- ---- what is done with a request ----

local function answer(request, ...)
  request:send_status("200 OK")
  request:send_header("Content-Type", "text/plain")
  request:send_data(...)
end

-- Calls a method that has to throw, and to throw an error of its own.
local function refuses(request, name, ...)
  local good, message = pcall(request[name], request, ...)
  check(not good, name .. " is allowed")
  check(good or not tostring(message):find("attempt to ", 1, true), tostring(message))
end

local actions = {}

function actions.describe(request) answer(request, describe(request)) end

function actions.body(request)
  local body = request.body
  check(rawequal(request.body, body) and request.fresh == false, "body twice")
  refuses(request, "stream_request_body", print)
  check(not pcall(function() return request.post_params end), "post_params behind body")
  answer(request, body)
end

function actions.form(request)
  check_params(request.post_params, request.post_params_list)
  local metadata = request.post_metadata_list
  check((metadata == nil) == (request.post_metadata == nil), "post_metadata")
  if metadata then
    check_params(request.post_metadata, metadata)
    for name, list in pairs(metadata) do check(#list == #request.post_params_list[name], "a value without metadata") end
  end
  check(not pcall(function() return request.body end), "body behind post_params")
  answer(request, dump(request.post_params_list), dump(metadata))
end

-- A stream handler that checks how it is called, and adds what it gets to the pieces.
local function collector(request, pieces)
  local open = false
  return function(chunk, metadata)
    if metadata then
      check(not open and type(chunk) == "string", "a stream within a stream")
      open = true
      pieces[#pieces + 1] = dump(metadata)
    elseif chunk then
      check(open and chunk ~= "", "an empty chunk")
    else
      check(open, "the end of no stream")
      open = false
    end
    check(#(chunk or "") <= 100, "a chunk that is too large")
    check(request.fresh == false, "fresh in a stream handler")
    pieces[#pieces + 1] = chunk or "\n"
  end
end

function actions.stream(request)
  local exact, pattern = {}, {}
  request:stream_post_param("a", collector(request, exact))
  request:stream_post_params("^[bc]", collector(request, pattern))
  request:consume_input()
  request:process_request_body()
  check(not rawget(request.post_params, "a"), "a streamed field among post_params")
  answer(request, table.concat(exact), "\n", table.concat(pattern), "\n", dump(request.post_params_list),
    dump(request.post_metadata_list))
end

-- Answers while it reads.
function actions.echo(request)
  local ended = false
  request:send_status("200 OK")
  request:set_request_body_streamer(function(chunk)
    check(not ended, "a chunk behind the end")
    ended = chunk == nil
    if chunk then request:send_data(chunk) end
  end)
  request:send_data("echo\n")
  request:flush()
  request:consume_input()
  check(ended, "a stream without an end")
end

function actions.now(request)
  local pieces = {}
  request:stream_request_body_now(function(chunk)
    check(#chunk > 0 and #chunk <= 100, "the size of a chunk")
    pieces[#pieces + 1] = chunk
  end)
  answer(request, table.concat(pieces))
end

function actions.drop(request)
  request:stream_request_body(nil)
  answer(request, "dropped")
end

-- Whether the client may be waiting to be let to send its body.
local function expects(request)
  local length = tonumber(request.headers_csv_table["content-length"][1])
  return request.version == "1.1" and request.headers_flags.expect["100-continue"] and
    (request.headers_value["transfer-encoding"] or (length and length > 0))
end

function actions.skip(request)
  answer(request, "skipped")
  request:finish()
  check(not (expects(request) and request.keepalive), "nobody knows whether the body will come")
end

-- More than a slow client takes at once, while the body is still to come.
function actions.big(request)
  request:send_status("200 OK")
  for i = 1, 30 do
    request:send_data((i .. "\n"):rep(40))
    if i % 10 == 0 then request:flush() end
  end
  request:send_data(request.body)
end

function actions.monologue(request)
  request:monologue()
  check(request.keepalive == false, "keepalive in a monologue")
  answer(request, "monologue")
end

function actions.close(request)
  request:close_after_finish()
  answer(request, "closing")
end

function actions.length(request)
  local data = request.get_params.d or ""
  request:send_status("200 OK")
  request:send_header("Content-Length", #data)
  if #data > 0 then refuses(request, "send_header", "Content-Length", #data) end
  request:send_data(data)
  if request.method ~= "HEAD" then refuses(request, "send_data", "x") end
end

function actions.empty(request)
  local status = ({["204"] = 204, ["205"] = 205, ["304"] = 304})[request.get_params.s] or 204
  request:send_status(status)
  if request.method ~= "HEAD" then refuses(request, "send_data", "x") end
  request:send_data("")
end

function actions.interim(request)
  request:send_status("103 Early Hints")
  request:send_header("Link", "</style.css>; rel=preload")
  for _, name in sorted(request.get_params) do pcall(request.send_header, request, name, request.get_params[name]) end
  request:finish_headers()
  answer(request, "later")
end

-- What comes from the client must not become framing, whatever a script does with it.
function actions.inject(request)
  local params = request.get_params
  throws = "may"
  if not pcall(request.send_status, request, params.s or "200 OK") then request:send_status("400 Bad") end
  for _, name in sorted(params) do pcall(request.send_header, request, name, params[name]) end
  for _, value in ipairs(request.get_params_list.h) do pcall(request.send_header, request, "X-Value", value) end
  pcall(request.send_data, request, params.d or "data")
end

local file = io.tmpfile()
file:write(("0123456789"):rep(300))

-- f and l: first and last byte.
function actions.file(request)
  local first, last = math.tointeger(tonumber(request.get_params.f)), math.tointeger(tonumber(request.get_params.l))
  request:send_status("200 OK")
  if request.get_params.b then request:send_data("before\n") end
  local sent, message, number = request:send_file(file, first, last)
  local good = (first or 0) >= 0 and (last or 2999) < 3000 and (first or 0) <= (last or 2999)
  check(sent == (good or nil), "send_file: " .. tostring(message))
  check(sent or number == 22, "send_file: errno")
  check(request:send_file("/no such file") == nil, "send_file without a file")
  if not sent then request:send_data("nothing") end
end

function actions.misuse(request)
  refuses(request, "send_header", "a", "b")
  refuses(request, "send_data", "x")
  refuses(request, "finish_headers")
  refuses(request, "finish")
  refuses(request, "send_status", "99 No")
  refuses(request, "send_status", "200 a\r\nb: c")
  request:send_status("200 OK")
  refuses(request, "send_status", "200 OK")
  refuses(request, "send_header", "a", "b\r\nc: d")
  refuses(request, "send_header", "a b", "c")
  refuses(request, "send_header", "Transfer-Encoding", "chunked")
  request:finish_headers()
  refuses(request, "send_header", "a", "b")
  refuses(request, "close_after_finish")
  request:finish()
  request:finish()
  refuses(request, "send_data", "x")
end

-- A client's fault that the script does not care for is one all the same.
function actions.catch(request)
  local good, body = pcall(function() return request.body end)
  check(good ~= request.faulty, "faulty")
  if good then
    answer(request, body)
  else
    refuses(request, "send_status", "200 OK")
  end
end

function actions.throw()
  throws = "must"
  error("deliberate")
end

function actions.late(request)
  throws = "must"
  answer(request, "half")
  request:flush()
  error("deliberate")
end

function actions.none() throws = "must" end

function actions.short(request)
  throws = "must"
  request:send_status("200 OK")
  request:send_header("Content-Length", 5)
  request:send_data("half")
end

function actions.reset(request) request.socket:reset() end

-- A WebSocket that sends back what comes. Its pings end the wait for a client that says nothing.
function actions.websocket(request)
  local ws, why = request:upgrade_websocket {max_message = 2000, deflate = {min_size = 0}}
  if not ws then return check(type(why) == "string", "a refusal without a reason") end
  refuses(request, "upgrade_websocket")
  for message, kind in ws:messages() do
    check(#message <= 2000 and (kind == "binary" or kind == "text" and utf8.len(message)), "a message")
    local send = kind == "text" and ws.send or ws.send_binary
    check(ws.state == "open" and ws.close_code == nil, "a message when it is closed")
    if not send(ws, message) then break end
  end
  local message, text, code, reason = ws:receive()
  check(message == nil and type(text) == "string" and ws.state == "closed", "the end")
  check(code == ws.close_code and code >= 1000 and code < 5000 and utf8.len(reason), "the close")
  check(ws:send("x") == nil and ws:send_nb("x") == nil and ws:ping() == nil, "something is sent behind the end")
end

local function callback(request)
  served[#served + 1] = ("%s %s\n"):format(request.method, request.version)
  if #served == LAST then request:close_after_finish() end
  local action = (request.path or ""):match("^%l*")
  local act = actions[action] or actions.describe
  act(request)
end

local handler = http.generate_handler(callback, {
  request_body_size_limit = 5000,
  request_form_size_limit = 1500,
  request_header_size_limit = 2000,
  maximum_input_chunk_size = 100,
  minimum_output_chunk_size = 200,
  static_headers = {"X-Static: yes"},
  response_timeout = false, -- the alarm timer belongs to the fuzzer
})

-- serve(socket): serves a connection. report(): what was served, what did not hold, whether the script may have thrown.
-- rules: see handler_response.h.
return {
  serve = function(socket)
    served, finding, throws = {}, nil, nil
    handler(socket)
  end,
  report = function()
    for _, text in ipairs {"a b&c=d/e%+", table.concat(served)} do
      check(http.decode_uri(http.encode_uri(text)) == text, "decode_uri(encode_uri(text))")
    end
    return table.concat(served), finding, throws
  end,
  rules = {dates = true, upgrades = true},
}
