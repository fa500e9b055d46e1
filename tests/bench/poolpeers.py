"""The servers that tests/bench/pool compares: the pool, and its peers. Each listens on a port of its own, has the same
page, and is ended with the test (mbtest.Process)."""

import contextlib
import os
import socket

import benchlib
import mbhosts
import mbspace
import mbtest
from scripts import (
    HANDLER, HELLO, LUA_HTTP_REPLY, LUA_PATH, LUASOCKET_SERVER, PYTHON_SERVER, PYTHON_WEBSOCKETS,
)

WORKERS = 8  # of each server that has workers: one for each client

# A child serves one connection after the other.
GOES_ON = f"""{HANDLER}
listen {{ pre_fork = 1, min_fork = {WORKERS}, max_fork = {WORKERS}, connect = handler }}
"""
# A child serves one connection. As many as there are clients may wait for one, while others end.
ENDS = f"""{HANDLER}
listen {{
  pre_fork = {WORKERS}, min_fork = {WORKERS}, max_fork = {2 * WORKERS},
  connect = function(socket) handler(socket) end,
}}
"""
# The page of forkserver.c, with no more than a plain server needs.
FORK_PAGE = """
return function(head)
  if not head:match("^%u+ %S+ HTTP/1%.[01]\\r\\n") then
    return "HTTP/1.1 400 Bad Request\\r\\nConnection: close\\r\\nContent-Length: 0\\r\\n\\r\\n"
  end
  local page = "hello\\n"
  return "HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Type: text/plain\\r\\nContent-Length: "
    .. #page .. "\\r\\n\\r\\n" .. page
end
"""
# After the example that comes with lua-http, on descriptor 0. It needs a function reply.
LUA_HTTP = """
local server, http_headers = require "http.server", require "http.headers"
%s
local s = assert(server.new {
  socket = require "cqueues.socket".fdopen(0), tls = false, onstream = reply,
  onerror = function() end, -- the client closes when it has enough
})
assert(s:loop())
"""
NGINX = """
daemon off;
user {user};
worker_processes {workers};
pid {tmp}/nginx.pid;
error_log {tmp}/nginx.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  default_type text/plain;
  client_body_temp_path {tmp}/client_body;
  proxy_temp_path {tmp}/proxy;
  fastcgi_temp_path {tmp}/fastcgi;
  uwsgi_temp_path {tmp}/uwsgi;
  scgi_temp_path {tmp}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 "hello\\n"; }}
    {locations}
  }}
}}
"""


class Server:
    """A server that runs until the block ends. processes: those that were started here."""

    def __init__(self, port, *processes):
        self.port, self.processes = port, processes

    def __enter__(self):
        try:
            mbtest.wait_listening(("127.0.0.1", self.port))
        except mbtest.Failed as failed:
            self.stop()
            said = "".join(process.text() for process in self.processes).strip()
            raise RuntimeError(f"{failed}: {said or 'it has said nothing'}") from None
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        for process in self.processes:
            process.stop()

    def settle(self):
        """Waits until nothing is left to do for the clients that have gone."""


def pool(script, *options):
    port = mbtest.free_port()
    argv = [benchlib.HANDLE, f"--serve=127.0.0.1:{port}", *options, mbtest.script(script)]
    return Server(port, mbtest.Process(argv, "pool"))


def fork_server():
    port = mbtest.free_port()
    program = mbtest.tmp("forkserver")
    if not os.path.exists(program):
        flags = mbtest.output_of(benchlib.find("pkg-config"), "--cflags", "--libs", "lua5.3").split()
        benchlib.compile_helper(mbtest.TMP, "forkserver", *flags)
    return Server(port, mbtest.Process([program, str(port), mbtest.script(FORK_PAGE)]))


def nginx(workers, locations=""):
    """locations: more of them, in the words of its configuration."""
    port = mbtest.free_port()
    directory = os.path.dirname(mbtest.tmp(f"nginx{workers}", "x"))
    config = mbtest.write_file(f"{directory}/nginx.conf", NGINX.format(
        tmp=directory, port=port, workers=workers, user=mbhosts.USER, locations=locations))
    program = mbtest.need("nginx")
    return Server(port, mbtest.Process([program, "-e", f"{directory}/nginx.log", "-p", directory, "-c", config]))


def lua_http(reply=LUA_HTTP_REPLY):
    """Processes of lua-http on one listening socket, their descriptor 0. reply: Lua code that defines the function that
    answers a request."""
    port = mbtest.free_port()
    argv = [benchlib.find("lua5.3"), mbtest.script(LUA_HTTP % reply)]
    env = dict(os.environ, LUA_PATH=LUA_PATH)
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        workers = [mbtest.Process(argv, "lua-http", stdin=listener, env=env) for _ in range(WORKERS)]
    return Server(port, *workers)


def _script_server(interpreter, script, **options):
    """A script that listens by itself, at the port of its first argument."""
    port = mbtest.free_port()
    argv = [benchlib.find(interpreter), mbtest.script(script), str(port)]
    return Server(port, mbtest.Process(argv, **options))


def http_server(directory=None):
    """python3's, with a thread for each connection. directory: for its files."""
    return _script_server("python3", PYTHON_SERVER, cwd=directory)


def luasocket():
    return _script_server("lua5.3", LUASOCKET_SERVER)


def websockets():
    return _script_server("python3", PYTHON_WEBSOCKETS)


def websocketd(program=None):
    """It starts a program for each connection, which here sends all lines back. program: cat if it is None."""
    port = mbtest.free_port()
    argv = [benchlib.find("websocketd"), "--address=127.0.0.1", f"--port={port}", "--loglevel=fatal"]
    return Server(port, mbtest.Process([*argv, program or benchlib.find("cat")]))


@contextlib.contextmanager
def accept_yes():
    """mb@.socket and mb@.service as they are installed, under a user's manager with a journal beside it."""
    journal = mbspace.Journal()
    manager = mbhosts.UserManager(SYSTEMD_LOG_TARGET="journal")
    try:
        port = mbtest.free_port()
        said = manager.systemctl("set-environment", f"MB_SCRIPT={mbtest.script(HELLO)}")
        said += manager.systemctl("start", f"mb@127.0.0.1:{port}.socket")
        if said:
            raise RuntimeError(f"the manager says: {said}")
        with Server(port) as server:
            yield server
    finally:
        manager.stop()
        journal.stop()
