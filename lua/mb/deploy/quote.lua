-- Quotes text from a script or a command line for unit files, for a shell and for messages.

local quote = {}

-- Returns whether the text fits on a line of a file that people read: UTF-8, without control characters.
function quote.is_line(text)
  return utf8.len(text) ~= nil and not text:find("%c")
end

-- Quotes a text for a message.
function quote.show(text)
  local shown = text:gsub("%c", function(c) return ("\\x%02x"):format(c:byte()) end)
  return '"' .. shown .. '"'
end

-- Escapes a text for a unit file, where "%" begins a specifier (systemd.unit(5)).
function quote.specifiers(text)
  return (text:gsub("%%", "%%%%"))
end

local function escape(c) return ("\\x%02x"):format(c:byte()) end

-- Quotes the program in ExecStart= (systemd.service(5)), in which systemd replaces no variables.
function quote.exec_program(text)
  if text:find("^[%w_@/.:,+=-]+$") then return text end
  text = quote.specifiers(text:gsub('[\\"]', "\\%0"))
  local bytes = utf8.len(text) and "%c" or "[%c\x80-\xff]"
  return '"' .. text:gsub(bytes, escape) .. '"'
end

-- Quotes an argument in ExecStart=.
function quote.exec_word(text)
  return (quote.exec_program(text):gsub("%$", "$$"))
end

-- Quotes a word of a shell command.
function quote.shell(text)
  if text:find("^[%w_@%%+=:,./-]+$") then return text end
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- Returns the command line that starts the handler, without the program.
-- word: the function that quotes a word. more: another option, or nil. except: the name of an option to leave out, or
-- nil.
function quote.command(plan, word, more, except)
  local words = {}
  for _, option in ipairs(plan.options) do
    local name, value = option[1], option[2]
    if name ~= except then words[#words + 1] = "--" .. name .. (value and "=" .. value or "") end
  end
  words[#words + 1] = more
  words[#words + 1] = plan.script
  for _, arg in ipairs(plan.args) do words[#words + 1] = arg end
  for i, text in ipairs(words) do words[i] = word(text) end
  return table.concat(words, " ")
end

return quote
