-- Text from a script or a command line, as it stands in unit files, in a shell and in messages.

local quote = {}

-- Whether the text fits on a line of a file that people read: UTF-8, without control characters.
function quote.is_line(text)
  return utf8.len(text) ~= nil and not text:find("%c")
end

-- In a message.
function quote.show(text)
  local shown = text:gsub("%c", function(c) return ("\\x%02x"):format(c:byte()) end)
  return '"' .. shown .. '"'
end

-- In a unit file, where a value may hold specifiers (systemd.unit(5)).
function quote.specifiers(text)
  return (text:gsub("%%", "%%%%"))
end

local function escape(c) return ("\\x%02x"):format(c:byte()) end

-- The program in ExecStart= (systemd.service(5)): variables are not looked for in it.
function quote.exec_program(text)
  if text:find("^[%w_@/.:,+=-]+$") then return text end
  text = quote.specifiers(text:gsub('[\\"]', "\\%0"))
  local bytes = utf8.len(text) and "%c" or "[%c\x80-\xff]"
  return '"' .. text:gsub(bytes, escape) .. '"'
end

-- An argument in ExecStart=.
function quote.exec_word(text)
  return (quote.exec_program(text):gsub("%$", "$$"))
end

-- A word of a shell command.
function quote.shell(text)
  if text:find("^[%w_@%%+=:,./-]+$") then return text end
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- The words of the command that is to be started, each quoted by the function and separated by spaces.
-- more: another option, or nil. except: the name of an option that is left out, or nil.
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
