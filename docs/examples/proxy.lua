-- proxy.lua: stands between a client and two servers at once. What the client sends goes to a main server,
-- whose answers it gets, and to a trial server, a new version say, whose answers are counted in the log.
-- The slower of the two sets the pace. --sandbox=strict is not for it, as it connects to servers; a script with these
-- two in its text would call listen{} with sandbox = {connect = {"tcp:8081", "tcp:8082"}}.
-- Try it: mb-handle proxy.lua 127.0.0.1:8081 127.0.0.1:8082 < request

local CONNECT_SECONDS = 5
local IDLE_SECONDS = 60 -- when nobody has said anything for so long, it is over
local CHUNK_BYTES = 65536

local main_name = ... or "127.0.0.1:8081"
local trial_name = select(2, ...) or "127.0.0.1:8082"

-- ---- A scheduler: every task is a coroutine, which yields while it cannot go on ----

local Task = {}
Task.__index = Task
local tasks = {}
local stopped = false

local function start(work)
  tasks[#tasks + 1] = setmetatable({thread = coroutine.create(work)}, Task)
end

-- Waits for input. Returns all that is there, "" at the end; or nil and a message.
function Task:receive(socket)
  self.input, self.output = socket, nil -- what run has to wait for when this yields
  local first, status = socket:read_yield(1)
  if not first or first == "" then return first, status end
  local more, message = socket:read_nb(CHUNK_BYTES - 1)
  if not more then return nil, message end
  return first .. more
end

-- Sends data, however slowly it is taken. Returns the socket; or nil and a message.
function Task:send(socket, data)
  self.input, self.output = nil, socket
  return socket:flush_yield(data)
end

local function resume(task)
  local fine, message = coroutine.resume(task.thread, task)
  if not fine then error(debug.traceback(task.thread, message), 0) end
  return coroutine.status(task.thread) ~= "dead"
end

-- Lets the tasks work until all have ended, one says stop, or all have waited for too long. poll does not say which
-- socket is ready: each task tries, and yields again when it was not its own.
local function run()
  while true do
    local left, input, output = {}, {}, {}
    for _, task in ipairs(tasks) do
      local goes_on = resume(task)
      if stopped then return end
      if goes_on then
        left[#left + 1] = task
        if task.input then input[task.input] = true end
        if task.output then output[task.output] = true end
      end
    end
    tasks = left
    if #tasks == 0 or not moonbridge_io.poll(input, output, IDLE_SECONDS) then return end
  end
end

-- ---- The proxy ----

-- Returns a socket; or nil, when it is not known in time whether there is a server.
local function connect(name)
  local host, port = name:match("^%[?(.-)%]?:(%w+)$") -- "host:port" or "[::1]:port"
  if not host then error("expected HOST:PORT, got " .. name, 0) end
  local server, message = moonbridge_io.tcpconnect_nb(host, port)
  if server and not moonbridge_io.poll(nil, {[server] = true}, CONNECT_SECONDS) then
    server, message = nil, name .. ": no connection within " .. CONNECT_SECONDS .. " s"
  end
  if not server then print(message) end
  return server
end

-- Passes on what the client sends, and its end, to each server that still takes it.
local function forward(task, client, servers)
  local data, message
  repeat
    data, message = task:receive(client)
    for i = #servers, 1, -1 do
      local sent, why
      if data and data ~= "" then
        sent, why = task:send(servers[i], data)
      else -- the client has finished, or has gone
        sent, why = servers[i]:finish()
      end
      if not sent then
        print("not sent: " .. why)
        table.remove(servers, i)
      end
    end
  until not data or data == ""
  if not data then print("from the client: " .. message) end
end

-- Passes on what the main server answers, and its end.
local function answer(task, server, client)
  while true do
    local data, message = task:receive(server)
    if not data then
      print("from the main server: " .. message)
      client:reset() -- half an answer must not look like a whole one
      stopped = true
      return
    end
    if data == "" then break end
    local sent, why = task:send(client, data)
    if not sent then
      print("to the client: " .. why)
      return
    end
  end
  client:finish()
end

local function count(task, server)
  local total, data, message = 0
  repeat
    data, message = task:receive(server)
    total = total + #(data or "")
  until not data or data == ""
  print("from the trial server: " .. (data and total .. " bytes" or message))
end

return function(client)
  timeout(2 * CONNECT_SECONDS + 1)
  local main = connect(main_name)
  if not main then return client:reset() end
  local trial = connect(trial_name)
  timeout(0) -- from now on poll looks after the time
  start(function(task) forward(task, client, {main, trial}) end)
  start(function(task) answer(task, main, client) end)
  if trial then start(function(task) count(task, trial) end) end
  run()
end
