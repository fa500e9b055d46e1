"""Handlers written for mb.luasocket. Each is the body of a function that has the connection."""

import subprocess

import mbtest
from mbhandler import Handler
from mbtest import tcp_pair

_lua = mbtest.need("lua5.3")
if subprocess.run([_lua, "-e", 'require "socket.http"'], stderr=subprocess.DEVNULL, check=False).returncode != 0:
    mbtest.bail("Debian package lua-socket missing")

# The body has the native socket s and the client object c. say() prints a line for the test, without nils at its end.
HEAD = """
local luasocket = require("mb.luasocket")
local function say(...)
  local t = table.pack(...)
  while t.n > 1 and t[t.n] == nil do t.n = t.n - 1 end
  for i = 1, t.n do t[i] = tostring(t[i]) end
  io.stderr:write(table.concat(t, " "), "\\n")
end
return function(s)
  local c = luasocket.wrap(s)
  local function turn() say("turn") assert(c:receive() == "go") end
"""


def handler(conn, body, *args, env=None):
    return Handler(f"{HEAD}{body}\nend\n", *args, head=None, pair=(None, conn), env=env)


def run(body, said=b"", pair=tcp_pair, args=(), status=0, finish=True, says=()):
    """Sends `said` as a client. Returns the bytes that come back, and how the connection ends. says: the lines that the
    handler has to print."""
    client, conn = pair()
    with client:
        h = handler(conn, body, *args)
        client.send(said)
        if finish:
            client.finish()
        got = client.end()
        for line in says:
            h.says(line)
        h.ends(status)
    return got
