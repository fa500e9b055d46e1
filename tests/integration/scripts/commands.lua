-- The handler that the integration tests drive, under every host the same: the client's first line says what to do.
-- Answers that the test reads line by line are flushed at once.

local commands = {}

local function own_pid()
  local file = assert(io.open("/proc/self/stat"))
  local pid = file:read("n")
  file:close()
  return pid
end

local function ip4_text(raw)
  return raw and table.concat({ raw:byte(1, 4) }, ".") or "-"
end

local function ip6_text(raw)
  return raw and (raw:gsub(".", function(c) return string.format("%02x", c:byte()) end)) or "-"
end

-- Sends back what comes, until the client has no more.
function commands.echo(socket)
  repeat
    local chunk, status = assert(socket:read(65536))
    socket:write(chunk)
  until status == "eof"
end

-- Sends back one line, and ends.
function commands.line(socket)
  local line = socket:read(nil, "\n")
  socket:write("you said: ", line)
end

function commands.addresses(socket)
  socket:write(
    "local_ip4 ", ip4_text(socket.local_ip4), "\n",
    "remote_ip4 ", ip4_text(socket.remote_ip4), "\n",
    "local_ip6 ", ip6_text(socket.local_ip6), "\n",
    "remote_ip6 ", ip6_text(socket.remote_ip6), "\n",
    "local_tcpport ", tostring(socket.local_tcpport), "\n",
    "remote_tcpport ", tostring(socket.remote_tcpport), "\n",
    "local_addr ", tostring(socket.local_addr), "\n",
    "remote_addr ", tostring(socket.remote_addr), "\n"
  )
end

-- What the script and a child of its sees of LISTEN_*.
function commands.environment(socket)
  for _, name in ipairs { "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES" } do
    socket:write("script ", name, " ", tostring(os.getenv(name)), "\n")
  end
  local child = io.popen("env | grep ^LISTEN_ || echo none")
  for line in child:lines() do
    socket:write("child ", line, "\n")
  end
  child:close()
end

-- Where the process was started, and a file beside the script.
function commands.directory(socket)
  local child = io.popen("pwd -P")
  socket:write(child:read("l"), "\n")
  child:close()
  socket:write(io.open(moonbridge_io.script_path("commands.lua")):read("l"), "\n")
end

-- A message with a level.
commands["warn"] = function(socket)
  require("mb.log").warning(socket:read(nil, "\n"))
  socket:write("warned\n")
end

-- Shows what a client calls itself, %XX for each byte, in every way.
commands["name"] = function(socket)
  local name = socket:read(nil, "\n"):sub(1, -2):gsub("%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end)
  print(name)
  io.write(name, "\n")
  io.stdout:write(name, "\n")
  io.stderr:write(name, "\n")
  require("mb.log").notice(name)
  error(name, 0)
end

-- Everything a script may print; the word that follows marks it.
commands["print"] = function(socket)
  local mark = socket:read(nil, "\n"):sub(1, -2)
  print(mark .. "-print")
  io.write(mark, "-io.write\n")
  io.stdout:write(mark, "-io.stdout\n")
  io.stderr:write(mark, "-io.stderr\n")
  os.execute("echo " .. mark .. "-child-stdout; echo " .. mark .. "-child-stderr >&2")
  socket:write("printed\n")
end

-- Raises an error with the word that follows in its message; the answer before it is not flushed.
commands["error"] = function(socket)
  local mark = socket:read(nil, "\n"):sub(1, -2)
  socket:write("never sent\n")
  error(mark .. "-error")
end

-- The process id; then, on the client's next line, the end named, and two seconds of work after it.
local function ends_early(method)
  return function(socket)
    socket:flush(own_pid(), "\n")
    socket:read(nil, "\n")
    if method == "close" then socket:write("bye\n") end
    socket[method](socket)
    os.execute("exec sleep 2")
  end
end
commands.close = ends_early("close")
commands.reset = ends_early("reset")

-- A line when the timer starts, of as many seconds as the client says; then nothing but waiting.
commands["timeout"] = function(socket)
  local seconds = tonumber((socket:read(nil, "\n")))
  socket:flush("armed\n")
  timeout(seconds)
  socket:read(nil, "\n")
end

-- timeout() while a child runs that ends with the script, and one that does so by setpriv.
function commands.children(socket)
  timeout(0.5)
  local child = moonbridge_io.exec({end_with_script = true}, "sh", "-c", "sleep 60 & echo $!; wait")
  local other = io.popen("echo $$; exec setpriv --pdeathsig TERM sleep 60")
  socket:flush(child.pid, " ", child.stdout:read(nil, "\n"):match("%d+"), " ", other:read("l"), "\n")
  child:wait()
end

-- Ends the process without ending the connection first.
function commands.exit(socket)
  local status = tonumber((socket:read(nil, "\n")))
  os.exit(status)
end

return function(socket)
  local command = socket:read(nil, "\n"):sub(1, -2)
  if commands[command] then
    commands[command](socket)
  else
    socket:write("unknown command\n")
  end
end
