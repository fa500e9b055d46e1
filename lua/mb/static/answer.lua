-- Answers a request of mb.static: with a file or a part of it, a redirect, a listing, or a refusal.

local core = require "mb.static.core"
local log = require "mb.http.core".log

-- A file up to this size is read and goes out together with its head; for a larger one sendfile(2) is faster.
local SMALL_BYTES = 16 * 1024

-- A file that changes while it is opened and read is tried again so many times.
local TRIES_MAX = 3

-- Content codings, the best first, and the extensions of their files.
local CODINGS = {
  {name = "br", extension = ".br"},
  {name = "zstd", extension = ".zst"},
  {name = "gzip", extension = ".gz"},
}

local function fail(request, status, message, fields)
  return require "mb.http.failure".answer(request, status, message, fields)
end

-- Answers in the place of a file that core.open has not opened.
local function without_file(request, path, why, message)
  if why == "missing" then return fail(request, 404) end
  if why == "forbidden" then return fail(request, 403) end
  log("err", ("static: %s: %s"):format(path, message))
  return fail(request, 500)
end

-- Returns the value of Content-Type for a path.
local function type_of(set, path)
  local extension = (path:match("[^/]%.([^./]+)$") or ""):lower()
  local found = set.known_types[extension]
  if found then return found end
  found = set.types and set.types[extension] or core.media_type(extension) or
    extension ~= "" and require "mb.static.types"(extension) or set.default_type
  if set.charset and found:find("^text/") and not found:find(";", 1, true) then
    found = found .. "; charset=" .. set.charset
  end
  set.known_types[extension] = found
  return found
end

-- Opens the compressed file that the client likes best. plain: the file itself, with its fields. Returns it, or nil.
local function compressed(request, set, plain)
  local best, weight = nil, 0
  for _, coding in ipairs(CODINGS) do
    local likes = core.weight(request._wire.input, coding.name)
    if likes > weight then
      local file, size, modified, etag, weak, date = core.open(set.root, plain.path .. coding.extension)
      if file and modified >= plain.modified then
        if best then best.file:close() end
        weight = likes
        best = {file = file, size = size, modified = modified, etag = etag:sub(1, -2) .. "-" .. coding.name .. '"',
          weak = weak, date = date, path = plain.path, coding = coding.name}
      elseif file then
        file:close()
      end
    end
  end
  return best
end

-- Opens the file that answers a request. Returns a table; or nil, why, message, as core.open does.
local function open(request, set, path)
  local file, size, modified, etag, weak, date = core.open(set.root, path)
  if not file then return nil, size, modified end
  local plain = {file = file, size = size, modified = modified, etag = etag, weak = weak, date = date, path = path}
  local other = set.precompressed and compressed(request, set, plain)
  if not other then return plain end
  file:close()
  return other
end

-- Sends the fields that a 304 has, too (RFC 9110, section 15.4.5).
local function send_validators(request, set, found)
  request:send_header("ETag", (found.weak and "W/" or "") .. found.etag)
  if found.date then request:send_header("Last-Modified", found.date) end
  if set.precompressed then request:send_header("Vary", "Accept-Encoding") end
  local control = set.cache_control
  if type(control) == "function" then
    control = control(found.path)
    if control ~= nil and type(control) ~= "string" then
      error(("mb.static: cache_control has returned a %s for %s, expected a string or nil"):format(type(control),
        found.path), 0)
    end
  end
  if control then request:send_header("Cache-Control", control) end
end

-- Sends the fields of a 200 or 206.
local function send_fields(request, set, found, content_type)
  request:send_header("Content-Type", content_type)
  send_validators(request, set, found)
  if found.coding then request:send_header("Content-Encoding", found.coding) end
  request:send_header("Accept-Ranges", "bytes")
  request:send_header("X-Content-Type-Options", "nosniff")
end

-- Sends bytes of a file. When they are not there any more, resets the connection, as the client has been promised them,
-- and returns false. Throws when the client is lost.
local function transfer(request, found, first, last)
  request._file_failed = nil
  local good, err, message = pcall(request.send_file, request, found.file, first, last)
  if good and err then return true end
  found.file:close()
  message = message or rawget(request, "_file_failed")
  if not good and not message then error(err, 0) end
  log("warning", ("static: %s: %s while it is sent"):format(found.path, message))
  request.socket:reset()
  return false
end

-- Sends the bytes from first to last, with Content-Length. status and fields(): what comes before them.
-- Returns false, with nothing sent, when the file has become shorter.
local function send_piece(request, found, first, last, status, fields)
  local count = last - first + 1
  local is_head = request.method == "HEAD"
  local data
  if count <= SMALL_BYTES and not is_head then
    data = core.read(found.file, first, count)
    if not data then return false end
  end
  request:send_status(status)
  fields()
  request:send_header("Content-Length", count)
  if data then
    if count > 0 then request:send_data(data) end
  elseif not is_head then
    if not transfer(request, found, first, last) then return true end
  end
  found.file:close()
  return true
end

-- Sends a file that was opened, or refuses it. Returns false, with nothing sent, when it has become shorter.
local function send(request, set, found)
  local status, ranges = core.decide(request._wire.input, found.etag, found.weak, found.modified, found.size,
    request.method == "GET")
  if status == 200 then
    return send_piece(request, found, 0, found.size - 1, 200, function()
      send_fields(request, set, found, type_of(set, found.path))
    end)
  elseif status == 206 and #ranges == 2 then
    return send_piece(request, found, ranges[1], ranges[2], 206, function()
      send_fields(request, set, found, type_of(set, found.path))
      request:send_header("Content-Range", ("bytes %d-%d/%d"):format(ranges[1], ranges[2], found.size))
    end)
  elseif status == 206 then
    local parts = require "mb.static.parts"
    local body = parts.new(ranges, found.size, type_of(set, found.path))
    request:send_status(206)
    send_fields(request, set, found, body.type)
    if not parts.send(request, body, function(first, last) return transfer(request, found, first, last) end) then
      return true
    end
  elseif status == 304 then
    request:send_status(304)
    send_validators(request, set, found)
  elseif status == 416 then
    fail(request, 416, nil, {{"Content-Range", ("bytes */%d"):format(found.size)}})
  else
    fail(request, status)
  end
  found.file:close()
  return true
end

-- Redirects to the same path with a slash. It must not become "//host/", which is another host.
local function redirect(request)
  request:send_status(301)
  request:send_header("Location", "/" .. request.path:gsub("^/+", "") .. "/" .. (request.query or ""))
end

-- Finds what answers the request for a path with a slash at its end. Returns as find does.
local function find_in_directory(request, set, path)
  if set.index then
    local found, why, message = open(request, set, path == "." and set.index or path .. "/" .. set.index)
    if found or why ~= "missing" and why ~= "directory" then return found, why, message end
  end
  local file, why, message = core.open(set.root, path)
  if file then
    file:close()
    return nil, "missing"
  end
  if why ~= "directory" then return nil, why, message end
  if not set.listing then return nil, "forbidden" end
  why, message = require "mb.static.listing"(request, set, path)
  return nil, why or "answered", message
end

-- Finds what answers the request for a path. Returns what open returns; or nil, "answered".
local function find(request, set, path, slashed)
  if slashed then return find_in_directory(request, set, path) end
  local found, why, message = open(request, set, path)
  if why ~= "directory" then return found, why, message end
  redirect(request)
  return nil, "answered"
end

-- Returns the path of a file for a request, and whether it ends with a slash; or nil, status.
local function path_of(request, set, params)
  local given = type(params) == "table" and params.path
  local path, slashed, hidden = core.path(given or request.path, given and true)
  if not path then return nil, slashed end
  if hidden and not set.dotfiles then return nil, 404 end
  return path, slashed
end

-- answer(set, request, params): see static.new.
return function(set, request, params)
  if request.method ~= "GET" and request.method ~= "HEAD" then
    return fail(request, 405, nil, {{"Allow", "GET, HEAD"}})
  end
  local path, slashed = path_of(request, set, params)
  if not path then return fail(request, slashed, slashed == 400 and "a path that no file can have" or nil) end
  for _ = 1, TRIES_MAX do
    local found, why, message = find(request, set, path, slashed)
    if why == "answered" then return end
    if not found then return without_file(request, path, why, message) end
    if send(request, set, found) then return end
    found.file:close()
  end
  log("warning", ("static: %s: it has become shorter each time that it was read"):format(path))
  return fail(request, 503)
end
