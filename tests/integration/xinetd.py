#!/usr/bin/python3
"""mb-handle under a real xinetd with our sample: 0, 1 and 2 are the connection, and the log is a real journal."""

import os
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbcases
import mbhosts
import mbspace
import mbtest

mbtest.need(os.environ.get("MB_XINETD") or "xinetd")
mbtest.need("systemd-journald")
mbtest.need("journalctl")
mbspace.enter()

where = ("127.0.0.1", mbtest.free_port())
journal = mbspace.Journal()
mbhosts.Xinetd(where[1], mbtest.COMMANDS)
mbtest.wait_listening(where)
mbcases.serves(where, journal)

mbtest.main()
