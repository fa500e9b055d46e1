-- Debian's lua-cjson, for request:json and mb.reply. Loaded when JSON is read or written.

-- Levels of arrays and objects. The decoder's work for one is a step of a recursion.
local DEPTH_MAX = 100

-- Returns an instance of cjson with settings of our own: what the script sets in its own is not for us, nor ours for
-- the script. level: that of the script, for an error.
return function(level)
  local good, cjson = pcall(require, "cjson")
  if not good then
    if not tostring(cjson):find("module 'cjson' not found", 1, true) then error(cjson, 0) end
    error("JSON needs the module cjson, which is not found: Debian has it in the package lua-cjson; " ..
      "in a sandbox, require \"cjson\" when the script is loaded", level + 1)
  end
  local mine = cjson.new()
  mine.decode_invalid_numbers(false) -- NaN and hexadecimal numbers are no JSON (RFC 8259, section 6)
  mine.encode_invalid_numbers(false)
  mine.decode_max_depth(DEPTH_MAX)
  mine.encode_max_depth(DEPTH_MAX)
  mine.encode_keep_buffer(false)
  return mine
end
