-- Debian's lua-cjson, for request:json and mb.reply. Loaded when JSON is read or written.

-- Returns an instance of cjson with settings of our own: what the script sets in its own is not for us, nor ours for the
-- script. level: that of the script, for an error.
return function(level)
  local good, cjson = pcall(require, "cjson")
  if not good then
    if not tostring(cjson):find("not found", 1, true) then error(cjson, 0) end
    error("JSON needs the module cjson, which is not there: Debian has it in the package lua-cjson", level + 1)
  end
  local mine = cjson.new()
  mine.decode_invalid_numbers(false) -- NaN and hexadecimal numbers are no JSON (RFC 8259, section 6)
  mine.encode_invalid_numbers(false)
  mine.decode_max_depth(100)
  mine.encode_max_depth(100)
  mine.encode_keep_buffer(false)
  return mine
end
