-- What we write runs in Lua 5.3 inside mb-handle, with its two global functions.
std = "lua53"
read_globals = { "listen", "timeout" }
max_line_length = 120
