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
from mbtest import test

mbtest.need(os.environ.get("MB_XINETD") or "xinetd")
mbtest.need("systemd-journald")
mbtest.need("journalctl")
mbspace.enter()

where = ("127.0.0.1", mbtest.free_port())
journal = mbspace.Journal()
mbhosts.Xinetd(where[1], mbtest.COMMANDS)
mbtest.wait_listening(where)


@test("a line is answered")
def _():
    mbcases.line(where)


@test("1 MiB of binary data comes back unchanged")
def _():
    mbcases.echo(where)


@test("200 connections, 8 at a time, are answered byte for byte")
def _():
    mbcases.many(where, 200, 8)


@test("the handler sees both addresses")
def _():
    mbcases.addresses(where)


@test("what is printed is in the journal, not with the client")
def _():
    mbcases.output(where, journal, "printing")


@test("an error is in the journal, a reset is all the client gets")
def _():
    mbcases.error(where, journal, "failing")


@test("socket:close() is seen within 100 ms though the handler works on")
def _():
    mbcases.ends_early(where, "close", (b"bye\n", "eof"))


@test("timeout() resets the connection on time")
def _():
    mbcases.timeout(where)


@test("afterwards the listener still answers")
def _():
    mbcases.line(where, "again")


mbtest.main()
