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


def serve(label, **options):
    """The same tests for each way of handing over."""
    where = ("127.0.0.1", mbtest.free_port())
    host = mbhosts.SocketActivate(where, mbtest.COMMANDS, **options)
    log = mbcases.FileLog(host)
    mbtest.wait_listening(where)

    @test(f"{label}: a line is answered")
    def _():
        mbcases.line(where)

    @test(f"{label}: 1 MiB of binary data comes back unchanged")
    def _():
        mbcases.echo(where)

    @test(f"{label}: 50 connections, 8 at a time, are answered byte for byte")
    def _():
        mbcases.many(where, 50, 8)

    @test(f"{label}: the handler sees both addresses")
    def _():
        mbcases.addresses(where)

    @test(f"{label}: neither the script nor its children see LISTEN_*")
    def _():
        with Client(where) as client:
            client.send("environment\n")
            got = client.end()[0].decode().splitlines()
        names = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
        equal(got, [f"script {name} nil" for name in names] + ["child none"], "environment")

    @test(f"{label}: what a handler prints goes to stderr, not to the client")
    def _():
        mbcases.output(where, log, "printing")

    @test(f"{label}: an error resets the connection and goes to stderr")
    def _():
        mbcases.error(where, log, "failing")

    @test(f"{label}: socket:close() is seen within 100 ms though the handler works on")
    def _():
        mbcases.ends_early(where, "close", (b"bye\n", "eof"))

    @test(f"{label}: timeout() resets the connection on time")
    def _():
        mbcases.timeout(where)


serve("LISTEN_FDS")
serve("--inetd", inetd=True)


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
