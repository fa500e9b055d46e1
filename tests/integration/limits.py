#!/usr/bin/python3
"""Limits that users meet, under a real user manager, xinetd and inetd: what the client sees at each, that
the socket lives on, and that no failed unit is left. What docs/deploy/limits.txt says of them is what is tried here."""

import contextlib
import os
import re
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbspace
import mbtest
from mbtest import Client, check, equal, test, until

for tool in ("/lib/systemd/systemd", "systemctl", "systemd-journald", "journalctl", "inetd"):
    mbtest.need(tool)
mbtest.need(os.environ.get("MB_XINETD") or "xinetd")
mbspace.enter(cgroup=True)

# Greets, then runs the Lua that the client sends, and answers with what that returns.
SCRIPT = mbtest.script(
    """
listen{
  memory_limit = 32 * 1024 * 1024,
  connect = function(socket)
    socket:write("hello\\n")
    socket:flush()
    local line = socket:read(10000, "\\n")
    if line == "" then return end
    local values = table.pack(assert(load(line))())
    for n = 1, values.n do values[n] = tostring(values[n]) end
    socket:write(table.concat(values, " "), "\\n")
  end
}
"""
)
with open(mbtest.HANDLE, "rb") as program:
    SANITIZED = b"__asan_init" in program.read()  # which needs more addresses than any limit here
journal = mbspace.Journal()
manager = mbhosts.UserManager(SYSTEMD_LOG_TARGET="journal")
manager.systemctl("set-environment", f"MB_SCRIPT={SCRIPT}")


class Listener:
    """A socket unit of mb@ with more settings for it and for its service, while a test runs."""

    def __init__(self, sockets="", services=""):
        manager.drop_in("mb@.socket", f"[Socket]\n{sockets}\n")
        manager.drop_in("mb@.service", f"[Service]\n{services}\n")
        self.where = ("127.0.0.1", mbtest.free_port())
        self.unit = f"mb@{self.where[1]}.socket"
        manager.start(self.unit)

    def prop(self, name):
        return manager.prop(self.unit, name)

    @staticmethod
    def limit(name):
        return manager.prop("mb@1-2-3.service", name)

    def run(self, code):
        """What a client sees whose code the handler runs."""
        with Client(self.where) as client:
            equal(client.line(), "hello", "greeting")
            client.send(code + "\n")
            return client.end()

    def lives_on(self):
        """The socket listens and is answered; nothing has failed and no instance is left."""
        until(lambda: manager.instances() == "", "no instance is left")
        equal(manager.failed(), "", "failed units")
        equal(manager.systemctl("is-system-running"), "running", "state of the manager")
        equal((self.prop("SubState"), self.prop("Result")), ("listening", "success"), f"state of {self.unit}")
        equal(self.run("return 1 + 1"), (b"2\n", "eof"), "a later client")
        until(lambda: manager.instances() == "", "no instance is left")
        manager.stop_unit(self.unit)


def connect_from(host, where, count):
    """So many connections from an address: those that were served, by their greeting, and the number of the others."""
    clients = []
    for _ in range(count):
        # inetd may have stopped to listen already, or stops in the middle of the handshake
        with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
            clients.append(Client(mbtest.socket.create_connection(where, mbtest.DEADLINE, (host, 0))))
    served = []
    for client in clients:
        try:
            greeting = client.line()
        except ConnectionError:
            greeting = ""
        if greeting:
            equal(greeting, "hello", "greeting")
            served.append(client)
        else:
            client.sock.close()
    return served, count - len(served)


@test("300 clients at once against MaxConnections=64: 64 are served, none waits, all later ones are served")
def _():
    listener = Listener("MaxConnections=64\nMaxConnectionsPerSource=64")
    served, refused = connect_from("127.0.0.1", listener.where, 300)
    equal((len(served), refused), (64, 236), "served and refused")
    equal(listener.prop("NConnections"), "64", "connections")
    check("Too many incoming connections" in str(journal.find("Too many incoming")), "the journal says why")
    # Those that have waited for nobody are served to their end, and so are as many again.
    for _ in range(2):
        for client in served:
            client.send("return 'served'\n")
            equal(client.end(), (b"served\n", "eof"), "what a client got")
        until(lambda: listener.prop("NConnections") == "0", "room for others")
        served, refused = connect_from("127.0.0.1", listener.where, 64)
        equal((len(served), refused), (64, 0), "served and refused later")
    for client in served:
        client.sock.close()
    listener.lives_on()


@test("one source that holds all it can get does not lock out another: MaxConnectionsPerSource=16")
def _():
    listener = Listener("MaxConnections=64\nMaxConnectionsPerSource=16")
    hostile, refused = connect_from("127.0.0.1", listener.where, 120)
    equal((len(hostile), refused), (16, 104), "what the hostile source has got and not")
    others, refused = connect_from("127.0.0.2", listener.where, 8)
    equal((len(others), refused), (8, 0), "what the other source has got and not")
    for client in others:
        client.send("return 'served'\n")
        equal(client.end(), (b"served\n", "eof"), "what the other source sees")
    more, refused = connect_from("127.0.0.1", listener.where, 8)
    equal((len(more), refused), (0, 8), "the hostile source again, which still holds its 16")
    journal.find("from source 127.0.0.1, dropping connection")
    for client in hostile:
        client.sock.close()
    listener.lives_on()


# --- One connection ---


def ends_in_reset(settings, code, message):
    """A client that drives its handler over a limit sees a reset; the journal names it; everybody else is served."""
    listener = Listener(services=settings)
    equal(listener.run(code), (b"", "reset"), "what the client sees")
    journal.find(message)
    listener.lives_on()


@test("memory_limit: a reset; the journal says that memory has run out")
def _():
    ends_in_reset("", "return #('x'):rep(64 * 1024 * 1024)", "not enough memory")


@test("LimitAS= below memory_limit: the same")
def _():
    # What is tried instead where that cannot be: that the limit is the service's.
    if SANITIZED:
        equal(Listener(services="LimitAS=24M").limit("LimitAS"), str(24 << 20), "LimitAS of the service")
        return
    ends_in_reset("LimitAS=24M", "return #('y'):rep(16 * 1024 * 1024)", "not enough memory")


@test("LimitCPU=1s:2s: a reset once the processor has worked for so long; the journal says XCPU")
def _():
    ends_in_reset("LimitCPU=1s:2s", "while true do end", "status=24/XCPU")


@test("LimitCPU= does not count the time in which a handler waits for its client")
def _():
    listener = Listener(services="LimitCPU=1s:2s")
    with Client(listener.where) as client:
        equal(client.line(), "hello", "greeting")
        # Not ended by the limit that has ended the endless loop in the same time.
        equal(listener.run("while true do end"), (b"", "reset"), "an endless loop meanwhile")
        client.send("return 'still there'\n")
        equal(client.end(), (b"still there\n", "eof"), "what the client that waited sees")
    listener.lives_on()


@test("RuntimeMaxSec=1: a reset when the time is over, whatever the handler does; the journal says so")
def _():
    ends_in_reset("RuntimeMaxSec=1", "return os.execute('sleep 60')", "reached runtime time limit")


@test("LimitNOFILE=16: opening one more fails, and the script can say so")
def _():
    listener = Listener(services="LimitNOFILE=16")
    code = "local t, f, e = {} repeat t[#t + 1] = f; f, e = io.open('/dev/null') until not f return e"
    equal(listener.run(code), (b"/dev/null: Too many open files\n", "eof"), "what the client sees")
    listener.lives_on()


@test("LimitFSIZE=1000: writing more fails, and the script can say so; the file has what fits")
def _():
    listener = Listener(services="LimitFSIZE=1000")
    path = mbtest.tmp("large")
    code = f"local f = assert(io.open('{path}', 'w')) f:setvbuf('no') return (select(2, f:write(('x'):rep(5000))))"
    equal(listener.run(code), (b"File too large\n", "eof"), "what the client sees")
    equal(os.path.getsize(path), 1000, "size of the file")
    listener.lives_on()


def controllers():
    return mbtest.read_file(f"{mbspace.own_groups()[0]}/cgroup.controllers").split()


@test("MemoryMax= and TasksMax=: a reset, or a program that cannot be started, where the manager has the controllers")
def _():
    # Where it has none, the settings of mb@.service must not be in the way; what the control group has is looked at.
    has = controllers()
    for name, settings, code in (
        ("memory", "MemoryMax=24M\nMemorySwapMax=0", "return os.execute('head -c 64M /dev/zero | tail >/dev/null')"),
        ("pids", "TasksMax=2", "return os.execute('true | true | true')"),
    ):
        listener = Listener(services=settings)
        if name in has:
            check(listener.run(code)[0] != b"true exit 0\n", f"{settings} holds")
        else:
            mbtest.diagnose(f"this user manager has no controller {name}: not tried")
            equal(listener.run(code), (b"true exit 0\n", "eof"), f"{settings} is passed over")
        listener.lives_on()


@test("mb@.service has the limits that docs/deploy/limits.txt says it has, and mb@.socket too")
def _():
    table = mbtest.read_file(os.path.join(mbtest.SRCDIR, "docs", "deploy", "limits.txt"))
    rows = re.findall(r"^  (\w+)=(\S*) +in (mb(?:-pool)?@\.\w+) *$", table, re.MULTILINE)
    check(len(rows) >= 8, f"rows of the table: {rows}")
    for template in ("mb@.socket", "mb@.service", "mb-pool@.socket", "mb-pool@.service"):
        limits = r"^(?:MaxConn\w*|Limit\w+|\w+Max|Backlog|TriggerLimit\w*)=.*$"
        have = re.findall(limits, mbhosts.expand(template), re.MULTILINE)
        said = [f"{name}={value}" for name, value, unit in rows if unit == template]
        equal(sorted(said), sorted(have), f"limits in {template}")


# --- The same under xinetd and inetd ---


def xinetd(**settings):
    where = ("127.0.0.1", mbtest.free_port())
    server = mbhosts.Xinetd(where[1], SCRIPT, **settings)
    mbtest.wait_listening(where)
    return where, server


@test("xinetd, instances: clients beyond it see an end, the others are served, and later ones too")
def _():
    where, server = xinetd(instances=8, per_source=8)
    served, refused = connect_from("127.0.0.1", where, 20)
    equal((len(served), refused), (8, 12), "served and refused")
    for client in served:
        client.sock.close()
    until(lambda: connect_from("127.0.0.1", where, 1)[1] == 0, "a later client is served")
    server.stop()


@test("xinetd, per_source: one source that holds all it can get does not lock out another")
def _():
    where, server = xinetd(instances=64, per_source=8)
    hostile, refused = connect_from("127.0.0.1", where, 20)
    equal((len(hostile), refused), (8, 12), "what the hostile source has got and not")
    others, refused = connect_from("127.0.0.2", where, 4)
    equal((len(others), refused), (4, 0), "what the other source has got and not")
    server.stop()


@test("xinetd, cps: more in a second turn the service off for so many seconds, for everybody; then it is back")
def _():
    where, server = xinetd(cps="5 1")
    served, refused = connect_from("127.0.0.1", where, 20)
    check(len(served) <= 6 and refused >= 14, f"served {len(served)}, refused {refused}")
    until(lambda: "due to excessive incoming connections" in mbtest.read_file(server.xinetd_log), "its log says so")
    until(lambda: not mbtest.listening(where), "it listens no longer")

    def served_again():
        # It counts by the clock's seconds: a client in the same one as its restart turns it off once more.
        try:
            return mbtest.listening(where) and connect_from("127.0.0.1", where, 1)[1] == 0
        except ConnectionRefusedError:
            return False

    until(served_again, "it listens again, and a later client is served")
    server.stop()


@test("xinetd, rlimit_as and rlimit_cpu: a reset for the client that drives its handler there")
def _():
    for settings, code in (
        ({"rlimit_as": "24M"}, "return #('y'):rep(16 * 1024 * 1024)"),
        ({"rlimit_cpu": "1"}, "while true do end"),
    )[1 if SANITIZED else 0 :]:
        where, server = xinetd(**settings)
        with Client(where) as client:
            equal(client.line(), "hello", f"greeting with {settings}")
            client.send(code + "\n")
            equal(client.end(), (b"", "reset"), f"what the client sees of {settings}")
        equal(connect_from("127.0.0.1", where, 1)[1], 0, "refused later")
        server.stop()


@test("openbsd-inetd, nowait.5: from the fifth in a minute on tcp4 clients see an end, of this service only")
def _():
    where, other = (("127.0.0.1", mbtest.free_port()) for _ in range(2))
    mbhosts.Inetd([(f"127.0.0.1:{port}", "tcp4", SCRIPT) for _, port in (where, other)], most=5)
    mbtest.wait_listening(where)
    mbtest.wait_listening(other)
    served, refused = connect_from("127.0.0.1", where, 10)
    equal((len(served), refused), (4, 6), "served and refused")
    for client in served:
        client.sock.close()
    equal(connect_from("127.0.0.1", where, 1)[1], 1, "refused though nobody is connected any more")
    equal(connect_from("127.0.0.1", other, 1)[1], 0, "refused by the other service")


@test("openbsd-inetd, nowait.5 with tcp6: it stops to listen, and the log says for how long")
def _():
    where = ("::1", mbtest.free_port())
    mbhosts.Inetd([(f"[::1]:{where[1]}", "tcp6", SCRIPT)], most=5)
    mbtest.wait_listening(where)
    served, refused = connect_from("::1", where, 8)
    equal((len(served), refused), (4, 4), "served and refused")
    journal.find("server failing (looping), service terminated for 10 min")
    until(lambda: not mbtest.listening(where), "it listens no longer")


mbtest.main()
