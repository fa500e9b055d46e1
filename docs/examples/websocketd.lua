-- websocketd.lua: any program behind a WebSocket, as websocketd does it. Each message is a line of the program's input,
-- each line of its output is a message; what it writes to stderr goes to the log. --sandbox=strict is not for it, as it
-- starts a program; a script with this in its text would call listen{} with sandbox = {exec = {"/usr/bin/bc"}}.
-- Try it: mb-handle --serve=127.0.0.1:8080 websocketd.lua bc -l

local http = require "moonbridge_http"

local LINE_MAX = 65536 -- bytes of a line, and of a message
local program = {...}

return http.generate_handler(function(request)
  local ws = request:upgrade_websocket{max_message = LINE_MAX}
  if not ws then return end
  local child = assert(moonbridge_io.exec({end_with_script = true}, table.unpack(program)))
  local queued, line, errors, status = 0, "", child.stderr
  repeat
    local inputs, outputs = {[child.stdout] = true}, {}
    if errors then inputs[errors] = true end
    if queued == 0 then inputs[ws] = true else outputs[child.stdin] = true end
    moonbridge_io.poll(inputs, outputs, ws:timeout())

    local message, why -- nothing more is received while the program has not read what came before
    if queued == 0 then message, why = ws:receive_nb() end
    if why and not message and why ~= "block" then break end
    queued = child.stdin:flush_nb(message or "", message and "\n" or "") or 0 -- nil: the program reads no more

    local part
    part, status = child.stdout:read_nb(LINE_MAX - #line, "\n")
    line = line .. (part or "")
    if status == "term" or #line == LINE_MAX then
      line = line:gsub("\r?\n$", "")
      if not pcall(ws.send, ws, line) then ws:send_binary(line) end -- it is no UTF-8
      line = ""
    end

    local text = errors and errors:read_nb(LINE_MAX)
    if text then io.stderr:write(text) else errors = nil end
  until status == "eof"
  ws:close()
end)
