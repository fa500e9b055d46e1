-- In a replay the first tcp or local listener takes the input; several listen{} calls add up.
local function says(text)
  return function(socket) socket:write(text, ": ", (socket:read())) end
end
listen { { proto = "interval", name = "tick", delay = 60, strict = true }, connect = says "interval" }
listen { { proto = "main", name = "background" }, connect = says "main" }
listen {
  { proto = "local", path = "/run/mb/x.sock" },
  { proto = "tcp", port = 8080 },
  { proto = "tcp4", port = 80, localhost = true },
  { proto = "tcp6", port = 80 },
  prepare = function() end,
  connect = says "second",
  finish = function() end,
  memory_limit = 16 * 1024 * 1024,
  pre_fork = 1, min_fork = 2, max_fork = 10, fork_delay = 0.5, fork_error_delay = 1, exit_delay = 2, idle_timeout = 0,
}
listen { { proto = "tcp", host = "127.0.0.1", port = 8081 }, connect = says "third" }
