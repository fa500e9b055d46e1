-- websocketd.lua: any program behind a WebSocket, as websocketd does it. Each message is a line of the program's input,
-- each line of its output is a message; what it writes to stderr goes to the log. --sandbox=strict is not for it, as it
-- starts a program; a script with this in its text would call listen{} with sandbox = {exec = {"/usr/bin/bc"}}.
-- Try it: mb-handle --serve=127.0.0.1:8080 websocketd.lua bc -l

local http = require "moonbridge_http"

local LINE_MAX = 65536 -- bytes of a line, and of a message
local program = {...}

-- Carries lines in both directions, until one side ends. Neither gets more than it takes: what is queued for one is
-- sent before more is read from the other.
local function carry(ws, child)
  local to_child, to_peer, line, errors = 0, 0, "", child.stderr
  while true do
    local inputs, outputs = {}, {}
    if errors then inputs[errors] = true end
    if to_child == 0 then inputs[ws] = true else outputs[child.stdin] = true end
    if to_peer == 0 then inputs[child.stdout] = true else outputs[ws] = true end
    moonbridge_io.poll(inputs, outputs, ws:timeout())
    local message, why
    if to_child == 0 then message, why = ws:receive_nb() end
    if why and why ~= "block" and not message then return end
    to_child = child.stdin:flush_nb(message or "", message and "\n" or "") or 0 -- nil: the program reads no more
    if to_peer == 0 then
      local part, status = child.stdout:read_nb(LINE_MAX - #line, "\n")
      line = line .. (part or "")
      if status == "term" or #line == LINE_MAX then
        line = line:gsub("\r?\n$", "")
        if not pcall(ws.send_nb, ws, line) then ws:send_binary_nb(line) end -- it is no UTF-8
        line = ""
      elseif status ~= "block" then
        return
      end
    end
    to_peer = ws:flush_nb() or 0
    if errors then
      local text, status = errors:read_nb(LINE_MAX)
      io.stderr:write(text or "")
      if status == "eof" then errors = nil end
    end
  end
end

return http.generate_handler(function(request)
  local ws = request:upgrade_websocket{max_message = LINE_MAX}
  if not ws then return end
  local child = assert(moonbridge_io.exec({end_with_script = true}, table.unpack(program)))
  carry(ws, child)
  ws:close()
end)
