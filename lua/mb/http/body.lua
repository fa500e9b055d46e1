-- The request body: as a string, as form parameters, or streamed to functions of the script; it is read once. While a
-- response waits for the client, the reading that was begun here goes on (the consumer of mb.http.wire).

local core = require "mb.http.core"
local intake = require "mb.http.intake"
local params = require "mb.http.params"

local methods, attributes = {}, {}

-- The steps in which all names of a form are compared with patterns: some 0.1 seconds of work. Forms that somebody
-- fills in take some thousands.
local STEPS_MAX = 20000000

-- State of request._body -> why the body cannot be read any more. "none" and "unread" allow everything.
local STATES = {
  string = "the request body was read as request.body",
  processing = "the request body is being processed",
  processed = "the request body was read already, by consume_input or the post_ tables",
  streamed = "the request body was streamed already",
  discarded = "the request body was discarded",
}

-- In the place of a fault while on_error says what the client gets.
local ANSWERED = {message = "on_error is to answer it"}

-- Checks that the request can be used; returns the connection. level: that of the script, as the caller would give it
-- to error.
local function usable(request, call, level)
  if type(request) ~= "table" or not request._wire then
    error(call .. ": expected a request; call it as request:" .. call .. "(...)", level + 1)
  end
  local fault = rawget(request, "faulty") and (request._wire.fault or ANSWERED).message or
    not core.is_open(request._wire.socket) and "the script has closed or reset the connection"
  if fault then error(("%s: the request is faulty (%s)"):format(call, fault), level + 1) end
  request.fresh = false
  return request._wire
end

local function is_unread(request) return request._body == "unread" or request._body == "none" end

-- Checks also that the body can still be read in a new way. whole: the caller wants the whole body, not single fields.
local function begin(request, call, level, whole)
  local wire = usable(request, call, level + 1)
  if not is_unread(request) then error(("%s: %s"):format(call, STATES[request._body]), level + 1) end
  if whole and (request._raw_stream or request._streams) then
    error(call .. ": the request body has a stream handler already", level + 1)
  end
  return wire
end

local function most_of(wire) return wire.options.maximum_input_chunk_size end

-- ---- as a string ----

-- Returns the rest of the body as one string.
local function read_all(wire)
  while wire:get("stash") do end
  return wire.input:read(math.maxinteger) or ""
end

function attributes.body(request)
  local wire = begin(request, "body", 3, true)
  request._body = "string"
  return read_all(wire)
end

-- ---- as a form ----

-- Returns the stream handler for a field, or nil. A handler for the exact name comes before one for a pattern.
local function stream_handler(request, name)
  local streams = request._streams
  if not streams then return nil end
  if streams.by_name[name] then return streams.by_name[name] end
  for _, entry in ipairs(streams.by_pattern) do
    local found, left = entry.find(name, streams.steps)
    if left == nil then
      request._wire:fail("the names of the form's fields take too long to compare", 413, true,
        (" (stream_post_params: with the pattern %q%s)"):format(entry.pattern,
          entry.pattern:find("^^") and "" or "; one that begins with ^ takes less"))
    end
    streams.steps = left
    if found then return entry.handler end
  end
end

-- Calls a stream handler, unless a monologue has begun. If the handler has closed or reset the connection, the request
-- ends. Callers pass metadata twice: by the reference it is the second argument, but the original passed it as the
-- third one, and its applications look there.
local function stream(wire, handler, ...)
  if intake.ignores(wire) then return end
  handler(...)
  if not core.is_open(wire.socket) then wire:fail("the script has ended the connection") end
end

-- Passes a whole value to a stream handler, in pieces.
local function stream_value(wire, handler, value, metadata)
  local most = most_of(wire)
  stream(wire, handler, value:sub(1, most), metadata, metadata)
  for at = most + 1, #value, most do stream(wire, handler, value:sub(at, at + most - 1)) end
  stream(wire, handler)
end

-- Refuses a form when more of it would be kept in memory than the script allows.
local function check_kept(wire, size)
  local limit = wire.options.request_form_size_limit
  if limit and size > limit then
    wire:fail("the fields of the form are too large", 413, true,
      (" (more than request_form_size_limit, %d bytes, to keep in memory: see stream_post_param)"):format(limit))
  end
end

local function check_counted(wire, good)
  if not good then
    wire:fail("too many, too long or colliding parameters in the request body", 413, true,
      " (see LIMITS in moonbridge_http(3))")
  end
end

local function nothing() end

-- Ways to process a body: {method = name of a method of the input, keep = an argument of part, take = function(event,
-- ...), done = function()}.

local function multipart(request, wire, list)
  local metadata_list = params.new_list()
  request._metadata = metadata_list
  local count, kept = core.counter(), 0
  local name, handler, metadata
  local way = {method = "part", done = nothing}
  local function keep(size)
    kept = kept + size
    check_kept(wire, kept)
  end
  function way.take(event, a, b, c)
    if event == "part" then
      check_counted(wire, count(a, not rawget(metadata_list, a)) and count(b) and count(c))
      keep(#a + #(b or "") + #(c or "")) -- the metadata of all parts is kept
      name, handler = a, stream_handler(request, a)
      params.add(metadata_list, name, {file_name = b, content_type = c})
      way.keep = not handler
      if handler then metadata = {field_name = name, file_name = b, content_type = c} end
    elseif event == "data" then
      local first = metadata
      metadata = nil
      if first then stream(wire, handler, a, first, first) else stream(wire, handler, a) end
    elseif event == "kept" then
      keep(a)
    elseif handler then
      if metadata then stream(wire, handler, "", metadata, metadata) end
      stream(wire, handler)
    else
      check_counted(wire, count(a))
      params.add(list, name, a)
    end
  end
  return way
end

local function urlencoded(request, wire, list)
  local input = wire.input
  -- A client that says how much it will send need not send it in vain.
  check_kept(wire, input:length())
  local way = {method = "stash"}
  function way.take(kept) check_kept(wire, kept) end
  function way.done()
    -- All of it may have come before, without an event here.
    local values, names = input:form(wire.options.request_form_size_limit or math.maxinteger)
    if values == false then check_kept(wire, math.maxinteger) end
    check_counted(wire, values)
    for _, name in ipairs(names) do
      local handler = stream_handler(request, name)
      for _, value in ipairs(values[name]) do
        if handler then
          stream_value(wire, handler, value, {field_name = name})
        else
          params.add(list, name, value)
        end
      end
    end
  end
  return way
end

local function raw(wire, handler)
  return {
    method = "read",
    take = function(chunk) stream(wire, handler, chunk) end,
    done = function() stream(wire, handler, nil) end,
  }
end

-- Returns the way to process this body.
local function way_of(request, wire, list)
  if request._raw_stream then return raw(wire, request._raw_stream) end
  if request._body == "none" then return {method = "discard", take = nothing, done = nothing} end
  local is_multipart, state, status, reason = wire.input:multipart()
  if state then wire:fail(reason, status) end
  if is_multipart then return multipart(request, wire, list) end
  local media_type = (wire.input:field("content-type") or ""):match("^[^; \t]*"):lower()
  if media_type == "application/x-www-form-urlencoded" then return urlencoded(request, wire, list) end
  return {method = "discard", take = nothing, done = nothing}
end

-- Handles one event of the input; nil: the body has ended. A stream handler that throws leaves the body in
-- "processing".
local function handle(request, event, ...)
  local way = request._way
  request._busy = true
  if event == nil then
    way.done()
    if request._body == "processing" then request._body = "processed" end
    request._wire.consumer = false
  else
    way.take(event, ...)
  end
  request._busy = false
end

local function start(request, wire)
  if request._way then return end
  local list = params.new_list()
  request._params = list
  request._way = way_of(request, wire, list)
  request._body = "processing"
end

-- The consumer: takes one event without waiting. Returns whether there was one.
local function consume_some(request, wire)
  if request._busy then return intake.keep(wire) end -- a stream handler waits for the client: it reads later
  start(request, wire)
  local way = request._way
  local event, a, b, c = wire.input[way.method](wire.input, most_of(wire), way.keep)
  if event then
    handle(request, event, a, b, c)
    return true
  end
  if a ~= "block" then intake.move(wire, "over") end -- the next read tells of a refusal
  if a == "end" then handle(request, nil) end
  return false
end

-- From now on, the body is processed also while a response waits for the client.
local function install(request, wire)
  request.fresh = false
  wire.consumer = function() return consume_some(request, wire) end
end

-- request:consume_input(): processes the whole body.
function methods.consume_input(self)
  local wire = usable(self, "consume_input", 2)
  if self._busy then error("consume_input: a stream handler is running, or has failed", 2) end
  if not (is_unread(self) or self._body == "processing") then return end
  start(self, wire)
  install(self, wire)
  local way, most = self._way, most_of(wire)
  repeat
    local event, a, b, c = wire:get(way.method, most, way.keep)
    handle(self, event, a, b, c)
  until event == nil or self._body == "discarded" -- by a stream handler
end

methods.process_request_body = methods.consume_input

-- Returns the request once its body has been processed: then it has the form parameters.
local function processed(request, name)
  usable(request, name, 4)
  if request._body == "string" or request._body == "streamed" or request._body == "discarded" then
    error(("%s: %s"):format(name, STATES[request._body]), 4)
  end
  methods.consume_input(request)
  return request
end

function attributes.post_params_list(request) return processed(request, "post_params_list")._params end

function attributes.post_params(request) return params.first(processed(request, "post_params")._params) end

function attributes.post_metadata_list(request) return processed(request, "post_metadata_list")._metadata end

function attributes.post_metadata(request)
  local list = processed(request, "post_metadata")._metadata
  return list and params.first(list)
end

-- ---- streamed ----

local function check_handler(call, handler, level)
  if type(handler) ~= "function" then
    local meta = getmetatable(handler)
    if type(meta) ~= "table" or not meta.__call then
      error(("%s: expected a function, got %s"):format(call, type(handler)), level + 1)
    end
  end
end

local function register(self, call, key, handler, insert)
  local wire = begin(self, call, 3)
  if type(key) ~= "string" then error(("%s: expected a string, got %s"):format(call, type(key)), 3) end
  if self._raw_stream then error(call .. ": the whole request body is streamed already", 3) end
  check_handler(call, handler, 3)
  self._streams = self._streams or {by_name = {}, by_pattern = {}, steps = STEPS_MAX}
  insert(self._streams)
  install(self, wire)
end

-- request:stream_post_param(field_name, callback)
function methods.stream_post_param(self, field_name, callback)
  register(self, "stream_post_param", field_name, callback, function(streams)
    if streams.by_name[field_name] then
      error(("stream_post_param: %q has a stream handler already"):format(field_name), 4)
    end
    streams.by_name[field_name] = callback
  end)
end

-- request:stream_post_params(pattern, callback)
function methods.stream_post_params(self, pattern, callback)
  register(self, "stream_post_params", pattern, callback, function(streams)
    local find, wrong = core.pattern(pattern)
    if not find then error(("stream_post_params: malformed pattern %q: %s"):format(pattern, wrong), 4) end
    table.insert(streams.by_pattern, {pattern = pattern, find = find, handler = callback})
  end)
end

-- Reads the rest of the body and drops it. A client that waits for a 100 (Continue) is not told to send its body: the
-- response says that the connection ends.
local function discard(self, wire)
  if not is_unread(self) then return end
  self._body = "discarded"
  wire.consumer = false
  if wire.expects then return end
  while wire:get("discard") do end
end

-- request:stream_request_body(callback): nil discards the body at once.
function methods.stream_request_body(self, callback)
  if callback == nil then return discard(self, usable(self, "stream_request_body", 2)) end
  local wire = begin(self, "stream_request_body", 2, true)
  check_handler("stream_request_body", callback, 2)
  self._raw_stream = callback
  install(self, wire)
end

methods.set_request_body_streamer = methods.stream_request_body

-- request:stream_request_body_now(callback): nil discards the body.
function methods.stream_request_body_now(self, callback)
  if callback == nil then return discard(self, usable(self, "stream_request_body_now", 2)) end
  local wire = begin(self, "stream_request_body_now", 2, true)
  check_handler("stream_request_body_now", callback, 2)
  self._body = "streamed"
  local most = most_of(wire)
  while true do
    local chunk = wire:get("read", most)
    if not chunk then return end
    stream(wire, callback, chunk)
    if self._body == "discarded" then return end
  end
end

-- request:defer_reading(): for scripts of older revisions. It does nothing, as no body is read before it is needed.
function methods.defer_reading(self) usable(self, "defer_reading", 2) end

-- request:monologue(): does what close_after_finish does, and reads nothing more. Streaming ends here.
function methods.monologue(self)
  if type(self) ~= "table" then error("monologue: expected a request; call it as request:monologue()", 2) end
  self:_begin_monologue()
  local wire, body = self._wire, self._body
  if intake.ignores(wire) then return end
  if body == "unread" or body == "processing" or body == "streamed" then self._body = "discarded" end
  intake.move(wire, "ignoring")
  while intake.take(wire) do end
end

return {methods = methods, attributes = attributes, begin = begin, usable = usable}
