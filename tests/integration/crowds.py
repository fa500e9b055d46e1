#!/usr/bin/python3
"""Crowds that come faster than the manager starts services: under a real user manager, with the sockets as shipped and
as generated, other units start, other sockets answer, and clients are served; when the crowd has gone, all is as before."""

import contextlib
import os
import re
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbcrowd
import mbhosts
import mbspace
import mbtest
from mbtest import Client, check, equal, test, until

for tool in ("/lib/systemd/systemd", "systemctl", "systemd-journald", "journalctl", "sh", "sleep"):
    mbtest.need(tool)
mbspace.enter(cgroup=True)

# What is tried here is the manager, whose processor time is not that of the tests beside.
os.setpriority(os.PRIO_PROCESS, 0, -10)
SECONDS = 7  # how long a crowd stays
LONG = 15  # where clients whose SYN was dropped come again after 1, 3 and 7 seconds
journal = mbspace.Journal()
manager = mbhosts.UserManager(SYSTEMD_LOG_TARGET="journal")
manager.systemctl("set-environment", f"MB_SCRIPT={os.path.join(mbtest.SRCDIR, 'docs', 'examples', 'hello.lua')}")
mbtest.write_file(f"{manager.units}/other@.service", "[Service]\nType=oneshot\nExecStart=true\n")


def started(port=None):
    """Starts mb@ on a port. Returns where it listens, and the unit."""
    where = ("127.0.0.1", port or mbtest.free_port())
    manager.start(f"mb@{where[1]}.socket")
    return where, f"mb@{where[1]}.socket"


OTHER, OTHER_UNIT = started()


def seconds_of(action):
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


def answered(where, seconds=5 * mbtest.SLOWNESS):
    """A client that comes again when it is refused gets its answer."""

    def answer():
        try:
            with Client(where) as client:
                client.send("GET / HTTP/1.0\r\n\r\n")
                return b"200 OK" in client.end()[0]
        except OSError:
            return False

    until(answer, f"an answer from {where}", seconds)


def meets(unit, where, crowd, polite, seconds):
    """A socket meets a crowd, beside clients that are polite, and all is as before when it has gone. Returns how long
    other units took to start, how long another socket took to answer, and how many answers a second the polite ones got,
    or the crowd without them."""
    crowds = [mbcrowd.Crowd(where, seconds=seconds, **each) for each in (crowd, polite) if each]
    begin, number = time.monotonic(), 0
    time.sleep(1)  # the crowd comes up to its strength
    units, sockets = [], []
    while time.monotonic() - begin < seconds - 1:
        number += 1
        units.append(seconds_of(lambda: manager.start(f"other@{unit[:8]}-{number}.service")))
        sockets.append(seconds_of(lambda: answered(OTHER)))
        time.sleep(0.2)
    results = [each.end() for each in crowds]
    gone = time.monotonic()
    answered(where, 10 * mbtest.SLOWNESS)
    until(lambda: manager.instances() == "", "no instance is left", 10 * mbtest.SLOWNESS)
    equal(manager.failed(), "", "failed units")
    equal(manager.prop(unit, "ActiveState"), "active", "the socket")
    rates = [len(each["answered"]) / seconds for each in results]
    hits = sum("Trigger limit hit" in str(e.get("MESSAGE")) and unit in str(e) for e in journal.entries())
    mbtest.diagnose(
        f"{unit}: answers a second {rates}, refused {[each['refused'] for each in results]}, other units after "
        f"{max(units):.2f} s, other socket after {max(sockets):.2f} s, closed {hits} times, as before after "
        f"{time.monotonic() - gone:.1f} s"
    )
    return units, sockets, rates[-1]


def pace(where):
    """How many clients a second the manager serves here and now, where only a few come at a time."""
    return len(mbcrowd.Crowd(where, 8, 2).end()["answered"]) / 2


def withstands(unit, where, crowd, polite=None, seconds=SECONDS):
    """The bounds of docs/deploy/limits.txt, or, where the manager is slow, the time that so many starts take. Beside other
    tests, which take both processors now and then, there are three attempts."""
    for more in reversed(range(1 if mbtest.SLOWNESS == 1 else 3)):
        starts = pace(where)
        units, sockets, rate = meets(unit, where, crowd, polite, seconds)
        unit_bound, socket_bound, rate_bound = max(2, 400 / starts), max(5, 1000 / starts), min(50, starts / 4)
        if max(units) < unit_bound and max(sockets) < socket_bound and rate >= rate_bound:
            return
        check(
            more,
            f"other units start after {units}, another socket answers after {sockets}, answers a second: {rate}; "
            f"without a crowd: {starts}",
        )


def crowd_test(name):
    """Under sanitizers each connection takes so long that what a crowd does says nothing."""
    return (lambda function: function) if mbtest.is_sanitized() else test(name)


AT_ONCE = {"clients": 300}
DROPPING = {"clients": 0}
POLITE = {"clients": 100, "pause": 0.1, "source": "127.0.0.2"}


@crowd_test("mb@: 200 clients at a time are served, and none is refused")
def _():
    where, unit = started()
    starts = pace(where)
    seconds = max(SECONDS / 2, 600 / starts)  # the first answers may come when all have been started
    result = mbcrowd.Crowd(where, 200, seconds, 0.1).end()
    manager.stop_unit(unit)
    equal(result["refused"], 0, "refused")
    rate = len(result["answered"]) / seconds
    check(rate > starts / 4, f"answers a second: {rate}; with 8 clients: {starts}")


@crowd_test("mb@: 300 clients of one address that come again at once, beside polite clients")
def _():
    where, unit = started()
    withstands(unit, where, AT_ONCE, POLITE, LONG)
    manager.stop_unit(unit)


@crowd_test("mb@: sockets that connect and close, beside polite clients")
def _():
    where, unit = started()
    withstands(unit, where, DROPPING, POLITE)
    manager.stop_unit(unit)


@crowd_test("mb-local@: 300 clients that come again at once")
def _():
    manager.start("mb-local@at-once.socket")
    withstands("mb-local@at-once.socket", f"{manager.runtime}/mb/at-once.sock", AT_ONCE)
    manager.stop_unit("mb-local@at-once.socket")


@crowd_test("mb-local@: sockets that connect and close, beside polite clients")
def _():
    manager.start("mb-local@dropping.socket")
    path = f"{manager.runtime}/mb/dropping.sock"
    withstands("mb-local@dropping.socket", path, DROPPING, POLITE)
    manager.stop_unit("mb-local@dropping.socket")


@crowd_test("units of --units: sockets that connect and close, beside polite clients")
def _():
    where = ("127.0.0.1", mbtest.free_port())
    script = mbtest.write_file(
        mbtest.tmp("crowded.lua"),
        f'listen{{{{proto="tcp", host="127.0.0.1", port={where[1]}}}, connect=function(socket)\n'
        'socket:read(1000, "\\n") socket:write("HTTP/1.0 200 OK\\r\\n\\r\\n") end}',
    )
    out = mbtest.output_of(mbtest.HANDLE, f"--units={manager.units}", "--user", script, env=manager.env)
    check("mb-reopen@.service" not in out, f"nothing is missing: {out}")
    equal(manager.systemctl("daemon-reload"), "", "systemctl daemon-reload")
    manager.start("crowded.socket")
    withstands("crowded.socket", where, DROPPING, POLITE)
    manager.stop_unit("crowded.socket")


@crowd_test("mb-pool@: 300 clients of one address that come again at once, beside polite clients")
def _():
    port = mbtest.free_port()
    manager.start(f"mb-pool@{port}.socket")
    withstands(f"mb-pool@{port}.socket", ("127.0.0.1", port), AT_ONCE, POLITE)
    manager.stop_unit(f"mb-pool@{port}.socket")


@crowd_test("mb-pool-local@: 300 clients that come again at once, beside polite clients of the same socket")
def _():
    manager.start("mb-pool-local@at-once.socket")
    withstands("mb-pool-local@at-once.socket", f"{manager.runtime}/mb/at-once.sock", AT_ONCE, POLITE)
    manager.stop_unit("mb-pool-local@at-once.socket")


@crowd_test("mb-pool-local@: sockets that connect and close, beside polite clients")
def _():
    manager.start("mb-pool-local@dropping.socket")
    withstands("mb-pool-local@dropping.socket", f"{manager.runtime}/mb/dropping.sock", DROPPING, POLITE)
    manager.stop_unit("mb-pool-local@dropping.socket")


@crowd_test("units of --units --pool, TCP and Unix: 300 clients of the Unix socket that come again at once, beside polite ones")
def _():
    where, path = ("127.0.0.1", mbtest.free_port()), f"{manager.runtime}/both.sock"
    script = mbtest.write_file(
        mbtest.tmp("both.lua"),
        f'listen{{{{proto="tcp", host="127.0.0.1", port={where[1]}}}, {{proto="local", path="{path}"}},\n'
        'connect=function(socket) socket:read(1000, "\\n") socket:write("HTTP/1.0 200 OK\\r\\n\\r\\n") end}',
    )
    mbtest.output_of(mbtest.HANDLE, f"--units={manager.units}", "--user", "--pool", script, env=manager.env)
    equal(manager.systemctl("daemon-reload"), "", "systemctl daemon-reload")
    manager.start("both.socket")
    withstands("both.socket", path, AT_ONCE, POLITE)
    answered(where)
    manager.stop_unit("both.socket")


def closes(where, unit):
    """Clients come until the trigger limit, set to 5 in 3 s, closes the socket."""

    def closed():
        with contextlib.suppress(OSError), Client(where):
            pass
        return manager.prop(unit, "Result") == "trigger-limit-hit"

    until(closed, "the socket closes")


@test("a socket that its trigger limit closes is opened again, as often as it is closed")
def _():
    for template in ("mb@.socket", "mb-local@.socket"):
        manager.drop_in(template, "[Socket]\nTriggerLimitIntervalSec=3s\nTriggerLimitBurst=5\n")
    escaped = r"a\x2db\x20c"  # by systemd-escape; the unit that opens it again has it from a shell
    # The unit takes its time to end: the socket closes again before that.
    manager.drop_in(f"mb-reopen@mb-local@{escaped}.service", "[Service]\nExecStartPost=sleep 1\n")
    manager.start(f"mb-local@{escaped}.socket")
    local = f"{manager.runtime}/mb/{escaped}.sock", f"mb-local@{escaped}.socket"
    for (where, unit), times in ((local, 2), (started(), 7)):  # by default systemd gives up after 5 starts in 10 s
        for _ in range(times):
            closes(where, unit)
            until(lambda name=unit: manager.prop(name, "SubState") == "listening", f"{unit} is opened again")
        equal(manager.failed(), "", "failed units")
        manager.stop_unit(unit)


@test("limits.txt says what was measured")
def _():
    rows = mbtest.read_file(os.path.join(mbtest.SRCDIR, "docs", "deploy", "limits.txt")).split("WITH SYSTEMD: CROWDS")[1]
    figures = re.findall(r"^  .*@ +(\d+) +(\d\.\d) s +(\d\.\d) s$", rows, re.MULTILINE)
    equal(len(figures), 8, f"rows with figures: {figures}")
    for answers, other_unit, other_socket in figures:
        check(int(answers) >= 50 and float(other_unit) < 2 and float(other_socket) < 5, "the bounds of these tests")


@test("one that is stopped in that moment stays stopped")
def _():
    where, unit = started()
    closes(where, unit)
    manager.stop_unit(unit)
    time.sleep(1.5)
    equal(manager.prop(unit, "ActiveState"), "failed", "the socket")
    manager.systemctl("reset-failed", unit)
    check(not mbtest.listening(where), "nobody listens")


def in_use(unit):
    """How often the unit's port was in use."""
    messages = (str(e.get("MESSAGE")) for e in journal.entries())
    return sum(m.startswith(f"{unit}: Failed to create listening socket") for m in messages)


@test("one that could not listen is tried once more, and not again and again")
def _():
    with mbtest.socket.create_server(("127.0.0.1", 0)) as taken:
        unit = f"mb@127.0.0.1:{taken.getsockname()[1]}.socket"
        manager.systemctl("start", unit)
        equal(manager.prop(unit, "Result"), "resources", "the result")
        until(lambda: in_use(unit) == 2, "it is tried once more")
    time.sleep(1.5)
    equal(manager.prop(unit, "ActiveState"), "failed", "the socket, now that the port is free")
    manager.systemctl("reset-failed", unit)


mbtest.main()
