#!/usr/bin/python3
"""mb-handle under tcpserver (ucspi-tcp): the connection is fd 0 and 1, stderr is tcpserver's own."""

import os
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbcases
import mbhosts
import mbtest

for tool in ("tcpserver", "setpriv"):
    mbtest.need(tool)
where = ("127.0.0.1", mbtest.free_port())
host = mbhosts.Tcpserver(where[1], mbtest.COMMANDS)
log = mbcases.FileLog(host)
mbtest.wait_listening(where)
mbcases.serves(where, log, connections=100)


@mbtest.test("what a handler has started ends with timeout(), if it was told to")
def _():
    mbcases.children(where)


mbtest.main()
