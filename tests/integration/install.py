#!/usr/bin/python3
"""make install: each manual page has its place; units in directories where no manager looks are told of."""

import glob
import os
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import check, equal, test

MAKE = mbtest.need("make")
BUILD = os.path.dirname(mbtest.HANDLE)
if not os.path.exists(f"{BUILD}/Makefile"):
    mbtest.bail("no Makefile beside the program (MB_HANDLE)")


def says(**variables):
    """What the step at the end of the installation prints with these variables in place of what was configured."""
    values = {"DESTDIR": "", "systemdsystemunitdir": "/usr/lib/systemd/system", "systemduserunitdir": "/usr/lib/systemd/user", **variables}
    env = {**os.environ, "HOME": "/home/ann", "MAKEFLAGS": ""}
    return mbtest.output_of(MAKE, "-s", "-C", BUILD, "install-data-hook", *(f"{n}={v}" for n, v in values.items()), env=env)


@test("where a manager looks for the units, nothing is said; nor for a package, by DESTDIR")
def _():
    for system in ("/lib/systemd/system", "/usr/local/lib/systemd/system", "/etc/systemd/system"):
        equal(says(systemdsystemunitdir=system), "", system)
    for user in ("/usr/share/systemd/user", "/usr/local/share/systemd/user", "/home/ann/.local/share/systemd/user"):
        equal(says(systemduserunitdir=user), "", user)
    equal(says(systemdsystemunitdir="/opt/mb/units", systemduserunitdir="/opt/mb/user", DESTDIR="/tmp/package"), "", "DESTDIR")


@test("where none looks, a note says so, and what would change that")
def _():
    for name, manager in (("systemdsystemunitdir", "the system's manager does"), ("systemduserunitdir", "user managers do")):
        got = says(**{name: "/opt/mb/units"})
        check(got.startswith(f"note: {manager} not look for units in /opt/mb/units"), got)
        check(f"--with-{name}=/usr/local/" in got, got)
        equal(got.count("note:"), 1, got)


@test("each manual page of the sources is installed, in the directory of its section")
def _():
    to = os.path.dirname(mbtest.tmp("installed", "x"))
    env = {**os.environ, "MAKEFLAGS": ""}
    said = mbtest.output_of(MAKE, "-s", "-C", BUILD, "install-man", f"DESTDIR={to}", "mandir=/man", env=env)
    names = [os.path.basename(path).removesuffix(".in") for path in glob.glob(f"{mbtest.SRCDIR}/docs/*.[1-9]*")]
    check(len(names) > 6, f"pages: {names}")
    if mbtest.CHOSEN == mbtest.SHARED:  # the page of a program that was not built
        names.remove("mb-handle-static.8")
    want = sorted(f"{to}/man/man{name[-1]}/{name}" for name in names)
    equal(sorted(glob.glob(f"{to}/man/*/*")), want, f"installed pages; make said: {said}")


@test("the example board.lua is installed with its page beside it")
def _():
    to = os.path.dirname(mbtest.tmp("examples", "x"))
    names = {os.path.relpath(path, f"{mbtest.SRCDIR}/docs/examples") for path in glob.glob(f"{mbtest.SRCDIR}/docs/examples/board/*")}
    check(len(names) >= 4, f"files of the page: {names}")
    env = {**os.environ, "MAKEFLAGS": ""}
    rules = ("install-dist_examplesDATA", "install-dist_boardDATA")
    said = mbtest.output_of(MAKE, "-s", "-C", BUILD, *rules, f"DESTDIR={to}", "examplesdir=/examples", env=env)
    for name in {"board.lua", *names}:
        equal(mbtest.read_file(f"{to}/examples/{name}"), mbtest.read_file(f"{mbtest.SRCDIR}/docs/examples/{name}"), f"{name}; make said: {said}")


mbtest.main()
