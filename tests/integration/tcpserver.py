#!/usr/bin/python3
"""mb-handle under tcpserver (ucspi-tcp): the connection is fd 0 and 1, stderr is tcpserver's own."""

import os
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbcases
import mbhosts
import mbtest
from mbtest import test

mbtest.need("tcpserver")
where = ("127.0.0.1", mbtest.free_port())
host = mbhosts.Tcpserver(where[1], mbtest.COMMANDS)
log = mbcases.FileLog(host)
mbtest.wait_listening(where)


@test("a line is answered")
def _():
    mbcases.line(where)


@test("1 MiB of binary data comes back unchanged")
def _():
    mbcases.echo(where)


@test("100 connections, 8 at a time, are answered byte for byte")
def _():
    mbcases.many(where, 100, 8)


@test("the handler sees both addresses")
def _():
    mbcases.addresses(where)


@test("what a handler prints goes to stderr, not to the client")
def _():
    mbcases.output(where, log, "printing")


@test("an error resets the connection and goes to stderr")
def _():
    mbcases.error(where, log, "failing")


@test("socket:close() is seen within 100 ms though the handler works on")
def _():
    mbcases.ends_early(where, "close", (b"bye\n", "eof"))


@test("socket:reset() is seen within 100 ms though the handler works on")
def _():
    mbcases.ends_early(where, "reset", (b"", "reset"))


@test("timeout() resets the connection on time")
def _():
    mbcases.timeout(where)


@test("afterwards the listener still answers")
def _():
    mbcases.line(where, "again")


mbtest.main()
