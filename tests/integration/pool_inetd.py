#!/usr/bin/python3
"""A pool under a real openbsd-inetd ("wait") and a real xinetd (wait = yes): the listening socket stands on descriptor 0."""

import concurrent.futures
import os
import signal
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbdeploy
import mbhosts
import mbspace
import mbtest
from mbtest import HANDLE, Client, alive, check, equal, test, until

mbtest.need("inetd")
XINETD = mbtest.need(os.environ.get("MB_XINETD") or "xinetd")
for tool in ("systemd-journald", "journalctl", "pgrep", "sh"):
    mbtest.need(tool)
mbspace.enter()

journal = mbspace.Journal()
os.mkdir("/run/mb")
TALK = """
local io_ = require "moonbridge_io"
return function(socket)
  local line = socket:read(100, "\\n") or ""
  socket:write("%s ", io_.getpid(), "\\n")
  print("asked for " .. line)
  if line == "wait\\n" then
    socket:flush()
    os.execute("sleep 1")
    socket:write("done\\n")
  end
  return true
end
"""
IDLE = 0.5


class Service:
    """A service of one of the two, and its script."""

    def __init__(self, where, name):
        self.where, self.name = where, name
        self.script = mbtest.write_file(mbtest.tmp(f"{name}.lua"), TALK % "one")

    def command(self):
        return f"--exit-idle={IDLE} {self.script}"

    def ask(self, word="go"):
        """Returns the script's version, and which process has answered."""
        with Client(self.where) as client:
            client.send(f"{word}\n")
            data, how = client.end()
        equal(how, "eof", f"{self.name}: end after {data}")
        version, pid = data.decode().split()[:2]
        return version, int(pid)

    def processes(self):
        """The pool's processes, the first one first."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                is_one = self.script in mbtest.read_file(f"/proc/{pid}/cmdline")
            except OSError:
                continue  # it has ended meanwhile
            if is_one:
                found.append(int(pid))
        return sorted(found)


inetd_tcp = Service(("127.0.0.1", mbtest.free_port()), "inetd-tcp")
inetd_unix = Service("/run/mb/inetd.sock", "inetd-unix")
xinetd_tcp = Service(("127.0.0.1", mbtest.free_port()), "xinetd")
SERVICES = (inetd_tcp, inetd_unix, xinetd_tcp)

# As docs/deploy/inetd.txt has them, but for what is this test's own.
LINES = mbdeploy.block("inetd.txt", "8080 stream tcp wait mb-handle /usr/local/bin/mb-handle mb-handle --exit-idle 300 /etc/mb/app.lua").splitlines()
equal(len(LINES), 2, "lines with wait in docs/deploy/inetd.txt")
conf = ""
for line, service, where, protocol in (
    (LINES[0], inetd_tcp, f"127.0.0.1:{inetd_tcp.where[1]}", "tcp4"),
    (LINES[1], inetd_unix, inetd_unix.where, "unix"),
):
    _, kind, _, wait, _, _, name = line.split()[:7]
    conf += f"{where} {kind} {protocol} {wait} {mbhosts.USER} {HANDLE} {name} {service.command()}\n"
mbtest.Process([mbtest.need("inetd"), "-i", mbtest.write_file(mbtest.tmp("inetd.conf"), conf)])
conf = mbdeploy.block(
    "inetd.txt",
    "service mb-pool",
    {
        "= 8080\n": f"= {xinetd_tcp.where[1]}\n        bind        = 127.0.0.1\n",
        "= mb-handle\n": f"= {mbhosts.USER}\n",
        "= /usr/local/bin/mb-handle\n": f"= {HANDLE}\n",
        "= --exit-idle 300 /etc/mb/app.lua\n": f"= {xinetd_tcp.command()}\n",
    },
)
log = mbtest.tmp("xinetd.log")
path = mbtest.write_file(mbtest.tmp("xinetd.conf"), conf)
mbtest.Process([XINETD, "-dontfork", "-f", path, "-filelog", log, "-pidfile", log + ".pid"])
for service in SERVICES:
    mbtest.wait_listening(service.where)


def each(name):
    """Decorator: makes a test of the function for each service."""

    def add(function):
        for one in SERVICES:
            test(f"{one.name}: {name}")(lambda one=one: function(one))
        return function

    return add


@each("the first connection starts a pool, and it serves the others as well")
def _(service):
    equal(service.processes(), [], "processes before anybody comes")
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        answers = [done.result() for done in [threads.submit(service.ask) for _ in range(200)]]
    equal({version for version, _ in answers}, {"one"}, "answers")
    first = service.processes()[0]
    for _ in range(20):
        service.ask()
        equal(service.processes()[0], first, "the first process")


@each("what is printed is in the log, and a client sees none of it")
def _(service):
    service.ask(f"{service.name} prints")
    entry = journal.find(f"asked for {service.name} prints")
    equal(entry.get("SYSLOG_IDENTIFIER"), "mb-handle", "identifier")


@each("SIGHUP loads the script anew")
def _(service):
    mbtest.write_file(service.script, TALK % "two")
    service.ask()
    line = "kill -HUP $(pgrep -o -f 'mb-handle --exit-idle 300 /etc/mb/app.lua')"
    command = mbdeploy.block("inetd.txt", line, {"--exit-idle 300 /etc/mb/app.lua": service.command()})
    equal(mbtest.output_of("sh", "-c", command), "", command)
    until(lambda: service.ask()[0] == "two", "the new script serves")
    mbtest.write_file(service.script, TALK % "one")
    os.kill(service.processes()[0], signal.SIGHUP)
    until(lambda: service.ask()[0] == "one", "the old script serves again")


@each("--exit-idle: it ends, the socket goes back, and the next connection starts another")
def _(service):
    service.ask()
    first = service.processes()[0]
    until(lambda: service.processes() == [], "no process is left")
    mbtest.wait_listening(service.where)
    equal(service.ask()[0], "one", "answer")
    check(service.processes()[0] != first, "another first process")


@each("--exit-idle: clients that come just when it ends are all served")
def _(service):
    def firsts(seen=set()):
        seen.update(service.processes()[:1])
        return seen

    for number in range(16):
        equal(service.ask()[0], "one", "answer")
        firsts()
        time.sleep(IDLE - 0.02 + 0.01 * (number % 6))
    check(len(firsts()) >= 3, f"it has ended in between: {firsts()}")


@each("the first process is killed: running connections finish, and another pool serves those that wait")
def _(service):
    service.ask()
    first = service.processes()[0]
    with Client(service.where) as client:
        client.send("wait\n")
        check(client.line().startswith("one "), "the handler runs")
        old = set(service.processes())
        os.kill(first, signal.SIGKILL)
        until(lambda: not alive(first), "it is gone")
        time.sleep(0.1)  # idle processes learn of it within a moment
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            answers = [done.result() for done in [threads.submit(service.ask) for _ in range(40)]]
        equal({version for version, _ in answers}, {"one"}, "those that have waited are served")
        equal([pid for _, pid in answers if pid in old], [], "old processes that took a connection")
        equal(client.end(), (b"done\n", "eof"), "the connection that ran")


@each("SIGTERM: the running connection ends, and the next one starts another pool")
def _(service):
    service.ask()
    first = service.processes()[0]
    with Client(service.where) as client:
        client.send("wait\n")
        check(client.line().startswith("one "), "the handler runs")
        os.kill(first, signal.SIGTERM)
        equal(client.end(), (b"done\n", "eof"), "the connection that ran")
    until(lambda: not alive(first), "it ends")
    equal(service.ask()[0], "one", "answer")


@test("a listener that is not the one on descriptor 0: the log says which has none")
def _():
    text = TALK.replace("return function(socket)", 'listen{{proto="tcp", port=%d}, {proto="tcp", port=1}, connect=function(socket)' % inetd_tcp.where[1])
    until(lambda: inetd_tcp.processes() == [], "no process is left")
    mbtest.write_file(inetd_tcp.script, (text % "one").rstrip()[:-3] + "end}")
    with Client(inetd_tcp.where) as client:
        client.send("go\n")
        journal.find("no socket was handed over for listener 2")
        mbtest.write_file(inetd_tcp.script, TALK % "mended")
        check(client.line().startswith("mended "), "the client that has waited is served when it is mended")


@test("a script that does not load is started again while a client waits, but not for ever, as the page says")
def _():
    page = " ".join(mbdeploy.text("inetd.txt").split())
    for service, message, claim in (
        (inetd_unix, "server failing (looping)", "\"server failing (looping)\", and none for ten minutes"),
        (xinetd_tcp, "due to excessive incoming connections.  Restarting in 10 seconds", "50 in a second, and none for ten seconds"),
    ):
        check(claim in page, f"inetd.txt says {claim!r}")
        until(lambda s=service: s.processes() == [], "no process is left")
        mbtest.write_file(service.script, "this is no Lua")
        with Client(service.where) as client:
            client.send("go\n")
            until(lambda m=message: m in mbtest.read_file(log) or any(m in str(e.get("MESSAGE")) for e in journal.entries()), message)
            until(lambda s=service: not mbtest.listening(s.where), f"{service.name} does not listen any more")


mbtest.main()
