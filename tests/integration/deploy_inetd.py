#!/usr/bin/python3
"""The lines and settings of docs/deploy/inetd.txt, as they stand there, under a real openbsd-inetd and a real xinetd."""

import os
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbcases
import mbdeploy
import mbhosts
import mbspace
import mbtest
from mbtest import check, equal, test

mbtest.need("inetd")
xinetd = mbtest.need(os.environ.get("MB_XINETD") or "xinetd")
for tool in ("systemd-journald", "journalctl", "sh"):
    mbtest.need(tool)
mbspace.enter()

journal = mbspace.Journal()
port, port4, port6, xport = (mbtest.free_port() for _ in range(4))
local = "/run/mb/hello.sock"
os.mkdir("/run/mb")
handlers = os.path.dirname(mbtest.tmp("handlers", "x"))
for name in (port, port4, port6, xport, "hello"):
    os.symlink(mbtest.COMMANDS, f"{handlers}/{name}.lua")


def changes(number):
    """What is this test's own: a port, the account, the program, and where scripts are."""
    program = {"/usr/local/bin/mb-handle mb-handle": f"{mbtest.HANDLE} mb-handle --handlers {handlers}"}
    return {**({"8080": number} if number else {}), " mb-handle /usr": f" {mbhosts.USER} /usr", **program}


def lines():
    """inetd.conf: the line that the first commands append to it, and those with an address or a path."""
    block = mbdeploy.block("inetd.txt", "install -D -m 644 docs/examples/hello.lua /etc/mb/8080.lua").splitlines()
    (first,) = [line for line in block if line.startswith("echo ")]
    first = mbtest.output_of("sh", "-c", first.partition(" >>")[0])
    other = mbdeploy.block(
        "inetd.txt", "/run/mb/hello.sock stream unix nowait.60000 mb-handle /usr/local/bin/mb-handle mb-handle"
    ).splitlines()
    equal(len(other), 3, "lines with an address or a path")
    made = [mbdeploy.replaced(line, line, changes(n)) for line, n in zip((first, *other), (port, port4, port6, None))]
    return "".join(line + "\n" for line in made)


conf = mbtest.write_file(mbtest.tmp("inetd.conf"), lines())
mbtest.Process([mbtest.need("inetd"), "-i", conf])
service = mbdeploy.block(
    "inetd.txt",
    "service mb-8080",
    {
        "= 8080\n": f"= {xport}\n",
        "= mb-handle\n": f"= {mbhosts.USER}\n",
        "= /usr/local/bin/mb-handle\n": f"= {mbtest.HANDLE}\n    server_args = --handlers {handlers}\n",
    },
)
log = mbtest.tmp("xinetd.log")
xconf = mbtest.write_file(mbtest.tmp("xinetd.conf"), service)
mbtest.Process([xinetd, "-dontfork", "-f", xconf, "-filelog", log, "-pidfile", log + ".pid"])
for address in (("", port), ("", port4), ("", port6), ("", xport), local):
    mbtest.wait_listening(address)


def refuses(address):
    try:
        mbtest.Client(address).sock.close()
    except ConnectionRefusedError:
        return True
    return False


@test("openbsd-inetd: a port alone is IPv4 and IPv6, an address is one of them, a path is a Unix socket")
def _():
    for address in (("127.0.0.1", port), ("::1", port), ("127.0.0.1", port4), ("::1", port6), local):
        mbcases.line(address)
    for address in (("::1", port4), ("127.0.0.2", port4), ("127.0.0.1", port6)):
        check(refuses(address), f"nobody listens at {address}")


@test("openbsd-inetd: it has nothing to say of these lines")
def _():
    said = [entry["MESSAGE"] for entry in journal.entries() if "inetd" in str(entry.get("SYSLOG_IDENTIFIER"))]
    equal(said, [], "messages of inetd")


@test("openbsd-inetd: more than the default of 256 connections are served")
def _():
    mbcases.many(("127.0.0.1", port), 300, 8)


@test("xinetd: the file as it stands is answered on IPv4 and IPv6, more than 50 connections too")
def _():
    for address in (("127.0.0.1", xport), ("::1", xport)):
        mbcases.line(address)
    mbcases.many(("127.0.0.1", xport), 100, 8)


@test("journalctl -t mb-handle has what scripts print")
def _():
    for address in (("127.0.0.1", port), ("127.0.0.1", xport)):
        mbcases.output(address, journal, f"printed-{address[1]}")
    out = mbtest.output_of("journalctl", "--directory=/run/log/journal", "--quiet", "-t", "mb-handle", "-o", "cat")
    for number in (port, xport):
        check(f"printed-{number}-print" in out, f"what was printed at {number}")


mbtest.main()
