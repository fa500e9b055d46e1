-- What we write runs in Lua 5.3 inside mb-handle, with the globals it adds.
std = "lua53"
read_globals = { "_MOONBRIDGE_VERSION", "listen", "moonbridge_io", "timeout" }
max_line_length = 120
