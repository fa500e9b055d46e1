#!/usr/bin/python3
"""mb-handle under a real openbsd-inetd: 0, 1 and 2 are the connection, and the log is a real journal or a real syslog."""

import contextlib
import os
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbcases
import mbhosts
import mbspace
import mbtest
from mbtest import Client, check, equal, test

mbtest.need("inetd")
mbtest.need("systemd-journald")
mbtest.need("journalctl")
mbtest.need(os.environ.get("MB_BUSYBOX") or "busybox")
mbspace.enter()

where = ("127.0.0.1", mbtest.free_port())
by_port = ("127.0.0.1", mbtest.free_port())
by_default = ("127.0.0.1", mbtest.free_port())
by_name = mbtest.tmp("greet.sock")

handlers = os.path.dirname(mbtest.tmp("handlers", "x"))
for name, text in (
    (f"{by_port[1]}.lua", "by port"),
    ("greet.lua", "by name"),
    ("default.lua", "by default"),
):
    mbtest.write_file(f"{handlers}/{name}", f'return function(socket) socket:write("{text}\\n") end\n')

inetd = mbhosts.Inetd(
    [
        (f"127.0.0.1:{where[1]}", "tcp4", mbtest.COMMANDS),
        (f"127.0.0.1:{by_port[1]}", "tcp4", f"--handlers {handlers}"),
        (f"127.0.0.1:{by_default[1]}", "tcp4", f"--handlers {handlers}"),
        (by_name, "unix", f"--handlers {handlers}"),
    ]
)
for address in (where, by_port, by_default, by_name):
    mbtest.wait_listening(address)

mbcases.serves(where)


@test("the script is found by port, by the Unix socket's name, or is the default")
def _():
    for address, want in ((by_port, b"by port\n"), (by_name, b"by name\n"), (by_default, b"by default\n")):
        with Client(address) as client:
            equal(client.end(), (want, "eof"), f"answer at {address}")


@test("what a handler has started ends with timeout(), if it was told to")
def _():
    mbcases.children(where)


@test("the working directory is inetd's own, and a file beside the script is found")
def _():
    mbcases.directory(where, os.readlink(f"/proc/{inetd.pid}/cwd"))


@contextlib.contextmanager
def logging_to(log):
    """Meanwhile there is this log, and then none."""
    try:
        yield log
    finally:
        log.stop()


@test("with a journal on /dev/log: what is printed and an error are in the journal as ours, not with the client")
def _():
    with logging_to(mbspace.Journal()) as journal:
        mbcases.output(where, journal, "journal")
        mbcases.error(where, journal, "journal")
        entry = journal.find("journal-print")
        equal(entry.get("SYSLOG_IDENTIFIER"), "mb-handle", "identifier")
        check(entry.get("SYSLOG_PID", "").isdigit(), f"a process id in {entry}")
        equal(journal.find("journal-error").get("PRIORITY"), "3", "priority")
        mbcases.forging(where, journal, "hostile")
        equal(journal.priorities("hostile-end"), ["3", "5", "6", "6", "6", "6"], "print, io, mb.log, an error")


@test("with a syslog daemon and no journal: what is printed and an error are in the syslog, not with the client")
def _():
    with logging_to(mbspace.Syslog()) as syslog:
        mbcases.output(where, syslog, "syslog")
        mbcases.error(where, syslog, "syslog")
        check(" mb-handle[" in syslog.find("syslog-print"), "our name in the line")
        for line in mbcases.forging(where, syslog, "hostile"):
            check(" mb-handle[" in line, f"our name in {line!r}")


@test("with a journal and no /dev/log: what is printed and an error reach the journal by its own stream")
def _():
    with logging_to(mbspace.Journal(dev_log=False)) as journal:
        mbcases.output(where, journal, "stream")
        mbcases.error(where, journal, "stream")
        entry = journal.find("stream-error")
        equal(entry.get("SYSLOG_IDENTIFIER"), "mb-handle", "identifier")
        equal(entry.get("PRIORITY"), "3", "priority")
        mbcases.forging(where, journal, "streaming")
        equal(journal.priorities("streaming-end"), ["3", "5", "6", "6", "6", "6"], "print, io, mb.log, an error")


@test("with no log at all the client gets its answer, and nothing else")
def _():
    with Client(where) as client:
        client.send("print\nnowhere\n")
        equal(client.end(), (b"printed\n", "eof"), "what the client got")
    with Client(where) as client:
        client.send("error\nnowhere\n")
        equal(client.end(), (b"", "reset"), "what the client got")


mbtest.main()
