#!/usr/bin/python3
"""mb-handle under systemd-socket-activate --accept: by LISTEN_FDS, and with --inetd by fd 0 and 1."""

import os
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbcases
import mbhosts
import mbtest
from mbtest import Client, check, equal, test

mbtest.need("systemd-socket-activate")


for label, options in (("LISTEN_FDS", {}), ("--inetd", {"inetd": True})):
    where = ("127.0.0.1", mbtest.free_port())
    log = mbcases.FileLog(mbhosts.SocketActivate(where, mbtest.COMMANDS, **options))
    mbtest.wait_listening(where)
    mbcases.serves(where, log, connections=50, label=label)


@test("a Unix socket: a line is answered, and a handler is found by the socket's name")
def _():
    handlers = os.path.dirname(mbtest.tmp("handlers", "x"))
    mbtest.write_file(handlers + "/greet.lua", 'return function(socket) socket:write("by name\\n") end\n')
    mbtest.write_file(handlers + "/default.lua", 'return function(socket) socket:write("by default\\n") end\n')
    for name, want in (("greet", b"by name\n"), ("other", b"by default\n")):
        path = mbtest.tmp(name + ".sock")
        host = mbhosts.SocketActivate(path, "--handlers", handlers)
        mbtest.wait_listening(path)
        with Client(path) as client:
            equal(client.end(), (want, "eof"), name)
        check(host.popen.poll() is None, "the host is still there")


mbtest.main()
