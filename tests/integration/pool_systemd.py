#!/usr/bin/python3
"""A pool under a real systemd user manager, with mb-pool@ and mb-pool-local@ as shipped, and a real journal beside it."""

import concurrent.futures
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbspace
import mbtest
from mbtest import HANDLE, Client, alive, check, equal, test, until

for tool in ("/lib/systemd/systemd", "systemctl", "systemd-analyze", "systemd-journald", "journalctl", "sh", "sleep"):
    mbtest.need(tool)
mbspace.enter(cgroup=True)

journal = mbspace.Journal()
manager = mbhosts.UserManager()

# The client's first line says what to do. Each answer begins with the script's version and the process.
TALK = """
local io_ = require "moonbridge_io"
local version = "%s"
return function(socket)
  local line = socket:read(100, "\\n") or ""
  local word, seconds = line:match("^(%%a+) ?([%%d.]*)")
  socket:write(version, " ", io_.getpid(), "\\n")
  if word == "wait" then
    socket:flush()
    local began = io_.timeref()
    repeat local _, why = io_.poll(nil, nil, tonumber(seconds) - io_.timeref(began)) until why == "timeout"
    socket:write("done\\n")
  elseif word == "sleeper" then
    io_.exec("sleep", seconds)
  end
  return true
end
"""
HTTP = """
local http = require "moonbridge_http"
return http.generate_handler(function(request)
  request:send_status("200 OK")
  if request.path:find("slow") then os.execute("sleep 1") end
  request:send_data("page of " .. request.path)
end)
"""
numbers = iter(range(1000))


class Pool:
    """mb-pool@ on a port of its own, or mb-pool-local@, with a script of its own."""

    def __init__(self, text, args="", settings="", local=False, start=True):
        self.script = mbtest.script(text)
        if local:
            self.name = f"mb-pool-local@talk{next(numbers)}"
            self.where = f"{manager.runtime}/mb/{self.name.split('@')[1]}.sock"
        else:
            self.where = ("127.0.0.1", mbtest.free_port())
            self.name = f"mb-pool@{self.where[1]}"
        self.socket, self.service = f"{self.name}.socket", f"{self.name}.service"
        exec_start = f"[Service]\nExecStart=\nExecStart={HANDLE} {args} {self.script}\n{settings}\n"
        manager.drop_in(self.service, exec_start)
        if start:
            manager.start(self.socket)
            mbtest.wait_listening(self.where)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        manager.systemctl("stop", self.socket, self.service)
        manager.systemctl("reset-failed")

    def edit(self, text):
        mbtest.write_file(self.script, text)

    def prop(self, name):
        return manager.prop(self.service, name)

    def main(self):
        """The first process; 0: there is none."""
        return int(self.prop("MainPID"))

    def children(self):
        """All processes of the pool but the first."""
        return [pid for pid in self.processes() if pid != self.main()]

    def processes(self):
        own, group = mbspace.own_groups()[0], self.prop("ControlGroup")
        text = mbtest.read_file(f"{own}/{group.split('/', 2)[2]}/cgroup.procs")
        return [int(pid) for pid in text.split()]

    def generation(self):
        """The process that has loaded the script."""
        (pid,) = mbtest.read_file(f"/proc/{self.main()}/task/{self.main()}/children").split()
        return int(pid)

    def ask(self, word="go"):
        """Returns the script's version, and which process has answered."""
        with Client(self.where) as client:
            client.send(f"{word}\n")
            data, how = client.end()
        equal(how, "eof", f"end after {data}")
        version, pid = data.decode().split()[:2]
        return version, int(pid)

    def open(self, word):
        """Returns a client whose handler runs, and the handler's process."""
        client = Client(self.where)
        client.send(f"{word}\n")
        return client, int(client.line().split()[1])

    def log(self):
        """The messages of the pool's processes. The journal does not know the unit of a process that has ended at once, but
        such a message has the script's name."""
        entries = [(e, str(e.get("MESSAGE"))) for e in journal.entries()]
        return [m for e, m in entries if e.get("_SYSTEMD_UNIT") == self.service or self.script in m]

    def says(self, part):
        return until(lambda: next((m for m in self.log() if part in m), None), f"{part!r} in the journal of {self.service}")


def state(unit):
    return manager.prop(unit, "ActiveState"), manager.prop(unit, "SubState")


def reads_page(client, want):
    """Reads one response. Returns its head."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = client.line()
        check(piece, f"a head of a response, after {head}")
        head += piece.encode() + b"\n"
    length = int(re.search(rb"Content-Length: (\d+)", head).group(1))
    while len(client.buffer) < length:
        piece = client.receive()
        check(piece, f"{length} bytes of body, after {client.buffer}")
        client.buffer += piece
    body, client.buffer = client.buffer[:length], client.buffer[length:]
    equal(body, want, "body")
    return head


# --- The units ---


@test("systemd-analyze verify has nothing to say about the units, for the user and for the system")
def _():
    hardened = mbtest.read_file(os.path.join(mbtest.SRCDIR, "units", "mb-pool-hardened.conf"))
    for directory, mode, env in (("user", "--user", manager.env), ("system", "--system", {"PATH": os.environ["PATH"]})):
        for name in (*manager.POOLS, "mb-reopen@.service"):
            mbtest.write_file(mbtest.tmp(directory, name), mbhosts.expand(name))
            if directory == "system" and name.endswith(".service"):
                mbtest.write_file(mbtest.tmp(directory, f"{name}.d", "10-user.conf"), mbhosts.expand("mb-user.conf"))
                mbtest.write_file(mbtest.tmp(directory, f"{name}.d", "20-hardened.conf"), hardened)
        units = [mbtest.tmp(directory, name.replace("@.", "@8080.")) for name in manager.POOLS]
        env = {**env, "SYSTEMD_UNIT_PATH": f"{mbtest.tmp(directory, 'x')[:-2]}:"}
        equal(mbtest.output_of("systemd-analyze", mode, "--man=no", "verify", *units, env=env), "", f"verify {mode}")


@test("what the units set for a reason is what the manager has understood")
def _():
    shared = {"Accept": "no", "TriggerLimitBurst": "20", "TriggerLimitIntervalUSec": "2s", "Backlog": "4096"}
    service = {
        **{"Type": "notify", "KillMode": "process", "Restart": "on-failure", "RestartUSec": "100ms"},
        **{"TimeoutStopUSec": "40s", "OOMPolicy": "continue", "StartLimitIntervalUSec": "0"},
        **{"LimitNOFILE": "1024", "LimitCORE": "0", "TasksMax": "4096", "NoNewPrivileges": "yes"},
    }
    for unit, wanted in (
        ("mb-pool@8080.socket", {**shared, "NoDelay": "yes", "FreeBind": "yes", "BindIPv6Only": "both"}),
        ("mb-pool-local@x.socket", {**shared, "SocketMode": "0666", "RemoveOnStop": "yes"}),
        ("mb-pool@8080.service", service),
        ("mb-pool-local@x.service", service),
    ):
        for name, value in wanted.items():
            got = manager.prop(unit, name)
            equal(sorted(got.split()), sorted(value.split()), f"{name} of {unit}")


@test("both units of the service are one text")
def _():
    built = os.path.dirname(HANDLE)
    if os.path.exists(f"{built}/units/mb-pool@.service"):
        one, other = (mbtest.read_file(f"{built}/units/{name}@.service") for name in ("mb-pool", "mb-pool-local"))
        check(one and one == other, "mb-pool-local@.service is mb-pool@.service")


# --- The start ---


@test("the first connection starts the pool, which says that it is ready, and how many processes there are")
def _():
    for local in (False, True):
        with Pool(TALK % "one", local=local) as pool:
            equal(state(pool.socket), ("active", "listening"), "the socket")
            equal(state(pool.service), ("inactive", "dead"), "the service")
            equal(pool.ask()[0], "one", "answer")
            equal(state(pool.socket), ("active", "running"), "the socket")
            # A client may have its answer before the manager has heard that the pool is ready.
            until(lambda p=pool: state(p.service) == ("active", "running"), "the service")
            equal(pool.prop("WatchdogUSec"), "30s", "WatchdogSec=")
            text = until(lambda p=pool: p.prop("StatusText"), "a status")
            check(re.fullmatch(r"\d+ processes, \d+ of them with a connection; \d+ connections served", text), text)
            for _ in range(20):
                pool.ask()
            until(lambda p=pool: "; 21 connections" in p.prop("StatusText"), f"21 connections, in {text}", 20)
            check(text in manager.systemctl("status", pool.service) or "connections served" in manager.systemctl(
                "status", pool.service), "systemctl status has it")


@test("started by its service, a pool has its socket; stopping the socket ends the pool and the file of a Unix socket")
def _():
    with Pool(TALK % "one", local=True, start=False) as pool:
        manager.start(pool.service)
        equal(state(pool.socket), ("active", "running"), "the socket")
        equal(pool.ask()[0], "one", "answer")
        manager.stop_unit(pool.socket)
        equal(state(pool.service), ("inactive", "dead"), "the service")
        check(not os.path.exists(pool.where), f"{pool.where} is gone")


@test("a script that does not load: the journal says why, clients wait, and are served when it does")
def _():
    with Pool("this is no Lua") as pool, Client(pool.where) as client:
        client.send("go\n")
        pool.says("syntax error near 'is'")
        time.sleep(2.5)
        starts = len([m for m in pool.log() if "syntax error" in m])
        check(starts <= 4, f"{starts} starts in 3 s: they have a pause")
        equal(state(pool.socket), ("active", "running"), "the socket")
        pool.edit(TALK % "mended")
        check(client.line().startswith("mended "), "the client that has waited is served")


@test("several sockets, TCP and Unix: each listener has its own, by address")
def _():
    port, path = mbtest.free_port(), f"{manager.runtime}/pair.sock"
    text = f"""
        listen{{{{proto="local", path="{path}"}}, connect=function(s) s:write("local") end}}
        listen{{{{proto="tcp", host="127.0.0.1", port={port}}}, connect=function(s) s:write("tcp") end}}
        listen{{{{proto="interval", name="tick", delay=0.1}}, connect=function() print("tick") end}}
        listen{{connect=print}}
    """
    script = mbtest.script(text)
    streams = [f"ListenStream=127.0.0.1:{port}", f"ListenStream={path}"]

    def write(lines):
        mbtest.write_file(f"{manager.units}/pair.socket", "[Socket]\n" + "\n".join(lines) + "\n")
        service = mbhosts.expand("mb-pool@.service").replace("/mb-handle\n", f"/mb-handle {script}\n")
        mbtest.write_file(f"{manager.units}/pair.service", service)
        equal(manager.systemctl("daemon-reload"), "", "systemctl daemon-reload")

    def log():
        entries = [(e, str(e.get("MESSAGE"))) for e in journal.entries()]
        return "\n".join(m for e, m in entries if e.get("_SYSTEMD_UNIT") == "pair.service" or script in m)

    write(streams)
    manager.start("pair.socket")
    for _ in range(5):
        equal(mbtest.answer(path), (b"local", "eof"), "answer on the Unix socket")
        equal(mbtest.answer(("127.0.0.1", port)), (b"tcp", "eof"), "answer on the port")
    until(lambda: "tick" in log(), "the interval runs")
    manager.stop_unit("pair.socket")
    # A socket that nobody wants: here the listener for any connection is not there to take it.
    other = mbtest.free_port()
    mbtest.write_file(script, text.replace("listen{connect=print}", ""))
    write([*streams, f"ListenStream=127.0.0.1:{other}"])
    manager.systemctl("start", "pair.service")
    until(lambda: f"no listener for the socket at 127.0.0.1:{other}" in log(), f"which socket, in {log()}")
    manager.systemctl("stop", "pair.socket")
    # A listener without a socket.
    write(streams[:1])
    manager.systemctl("start", "pair.service")
    until(lambda: 'no socket was handed over for listener 1' in log() and path in log(), f"which listener, in {log()}")
    manager.systemctl("stop", "pair.socket")
    manager.systemctl("reset-failed")


# --- Another script ---


@test("systemctl reload returns when the new script serves, and no earlier")
def _():
    with Pool(TALK % "old") as pool:
        equal(pool.ask()[0], "old", "before")
        main = pool.main()
        client, old = pool.open("wait 3")
        pool.edit("os.execute('sleep 0.7')\n" + TALK % "new")
        begin = time.monotonic()
        equal(manager.reload(pool.service), "", "systemctl reload")
        check(time.monotonic() - begin >= 0.7, "it waits until the script is loaded")
        for _ in range(20):
            equal(pool.ask()[0], "new", "after")
        equal(pool.main(), main, "the first process")
        equal(client.end(), (b"done\n", "eof"), "the connection that the old script serves")
        until(lambda: not alive(old), "the old process ends")
        equal(state(pool.service), ("active", "running"), "the service")
        pool.says("loaded anew")


@test("while it loads, the unit is reloading, and is served by the old script")
def _():
    with Pool(TALK % "old") as pool:
        pool.ask()
        go_on = mbtest.tmp("go-on")
        pool.edit(f"while not io.open('{go_on}') do os.execute('sleep 0.05') end\n" + TALK % "new")
        os.kill(pool.main(), signal.SIGHUP)
        until(lambda: state(pool.service)[0] == "reloading", "the unit is reloading")
        equal(pool.ask()[0], "old", "meanwhile")
        mbtest.write_file(go_on, "")
        until(lambda: state(pool.service)[0] == "active", "it is active again")
        equal(pool.ask()[0], "new", "after")


@test("a reload of a script that does not load: the old one goes on, the journal and the status say so")
def _():
    with Pool(TALK % "old") as pool:
        pool.ask()
        main = pool.main()
        for number, text in enumerate(("this is no Lua", "error{code=5}", "os.exit(0)", 'listen{{proto="main"}, connect=print}')):
            pool.edit(text)
            equal(manager.reload(pool.service), "", "systemctl reload cannot tell")
            until(lambda n=number: sum("not loaded anew" in m for m in pool.log()) == n + 1, f"a line about {text}")
            equal(pool.ask()[0], "old", "answer")
            until(lambda: "not loaded anew" in pool.prop("StatusText"), "the status says so")
        pool.says("syntax error")
        entry = journal.find("not loaded anew")
        equal(entry.get("PRIORITY"), "3", "priority")
        equal((pool.main(), state(pool.service)), (main, ("active", "running")), "the service goes on")
        pool.edit(TALK % "new")
        equal(manager.reload(pool.service), "", "systemctl reload")
        equal(pool.ask()[0], "new", "answer")
        until(lambda: "anew" not in pool.prop("StatusText"), "the status is as before")


# --- An end for want of clients ---


@test("--exit-idle: it ends, is no failure, and the next connection starts it again")
def _():
    with Pool(TALK % "one", "--exit-idle=0.3") as pool:
        _, pid = pool.ask()
        main = pool.main()
        until(lambda: state(pool.service) == ("inactive", "dead"), "it ends")
        check(not alive(pid) and not alive(main), "no process is left")
        equal(pool.prop("Result"), "success", "result")
        equal(state(pool.socket), ("active", "listening"), "the socket")
        pool.says("--exit-idle")
        equal(pool.ask()[0], "one", "the next connection")
        check(pool.main() not in (0, main), "another process")
        # A connection that is open is no idleness.
        client, _ = pool.open("wait 1")
        equal(client.end(), (b"done\n", "eof"), "a connection that takes longer")


@test("--exit-idle: clients that come just when it ends are all served")
def _():
    with Pool(TALK % "one", "--exit-idle=0.1") as pool:
        ends = lambda: sum("--exit-idle" in m for m in pool.log())
        begin, asked = time.monotonic(), 0

        def come_again(pause):
            for number in range(12):
                equal(pool.ask()[0], "one", "answer")
                time.sleep(pause + 0.01 * (number % 5))

        # Only one at a time leaves a gap; three, and then others at the same moment.
        for crowd in (1, 3):
            with concurrent.futures.ThreadPoolExecutor(crowd) as threads:
                for done in [threads.submit(come_again, 0.09) for _ in range(crowd)]:
                    done.result()
                asked += 12 * crowd
        mbtest.diagnose(f"{asked} connections in {time.monotonic() - begin:.1f} s, {ends()} ends")
        check(ends() >= 4, f"it has ended in between: {ends()} times")
        equal(state(pool.socket)[0], "active", "the socket")


# --- The manager looks after it ---


@test("a first process that is stuck is replaced by the watchdog; one that works is not")
def _():
    with Pool(TALK % "one", settings="WatchdogSec=1s") as pool:
        pool.ask()
        main = pool.main()
        client, _ = pool.open("wait 3")
        time.sleep(2.5)
        equal(pool.main(), main, "the first process, which says that it lives")
        equal(client.end(), (b"done\n", "eof"), "a connection meanwhile")
        os.kill(main, signal.SIGSTOP)
        until(lambda: pool.main() not in (0, main), "another process")
        equal(pool.ask()[0], "one", "answer")
        check(not alive(main), "the old one is gone")


def killed(pool, victim):
    """Kills a process of the pool in the midst of connections: those that run finish, those that wait are served, and
    no old process takes one."""
    client, busy = pool.open("wait 1.5")
    old = set(pool.children()) - {pool.generation()}
    check(busy in old, f"the process that serves, {busy}, is one of the pool's: {old}")
    os.kill(victim, signal.SIGKILL)
    # The processes that are idle learn of it within a moment.
    until(lambda: not [pid for pid in old if pid != busy and alive(pid)], "the idle processes end", 1 * mbtest.SLOWNESS)
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        answers = [done.result() for done in [threads.submit(pool.ask) for _ in range(40)]]
    equal({version for version, _ in answers}, {"one"}, "those that have waited are served")
    equal([pid for _, pid in answers if pid in old], [], "old processes that took a connection")
    equal(client.end(), (b"done\n", "eof"), "the connection that ran")
    until(lambda: not alive(busy), "its process ends")


@test("processes that are busy when their parent is killed take no other connection, whatever comes")
def _():
    with Pool(TALK % "one") as pool, concurrent.futures.ThreadPoolExecutor(8) as threads:
        pool.ask()
        generation, over = pool.generation(), threading.Event()

        def come_again():
            got = []
            while not over.is_set():
                _, pid = pool.ask()
                got.append((time.monotonic(), pid))
            return got

        clients = [threads.submit(come_again) for _ in range(8)]
        try:
            time.sleep(0.5)
            old = set(pool.children())
            os.kill(generation, signal.SIGKILL)
            died = time.monotonic()
            until(lambda: set(pool.children()) - old, "new processes")
            time.sleep(0.5)
        finally:
            over.set()
        took = [at - died for each in clients for at, pid in each.result() if pid in old]
        mbtest.diagnose(f"the last answer of an old process: {max(took) * 1000:.0f} ms after the kill")
        check(max(took) < 0.5 * mbtest.SLOWNESS, f"old processes answer {max(took):.3f} s after their parent's death")


@test("the first process is killed: running connections finish, the manager starts another, waiting ones are served")
def _():
    for local in (False, True):
        with Pool(TALK % "one", local=local) as pool:
            pool.ask()
            main = pool.main()
            killed(pool, main)
            check(pool.main() not in (0, main), "another first process")
            equal(pool.prop("NRestarts"), "1", "restarts")
            equal(state(pool.service), ("active", "running"), "the service")


@test("the process that has loaded the script is killed: the same, and the first process goes on")
def _():
    with Pool(TALK % "one") as pool:
        pool.ask()
        main = pool.main()
        killed(pool, pool.generation())
        equal(pool.main(), main, "the first process")
        pool.says("it is started again")
        equal(state(pool.service), ("active", "running"), "the service")


@test("a process that serves is killed: its client sees a reset, the others go on")
def _():
    with Pool(TALK % "one") as pool:
        client, busy = pool.open("wait 60")
        other, _ = pool.open("wait 1")
        os.kill(busy, signal.SIGKILL)
        equal(client.end()[1], "reset", "its client")
        equal(other.end(), (b"done\n", "eof"), "the other")
        equal(pool.ask()[0], "one", "answer")


# --- SIGTERM ---


def stopping(pool):
    """systemctl stop in the background. Returns a function that waits for it."""
    argv = [manager.systemctl_path, "--user", "stop", pool.socket]
    running = subprocess.Popen(argv, env=manager.env)
    mbtest.cleanup.callback(running.kill)
    until(lambda: state(pool.service) == ("deactivating", "stop-sigterm"), "the service stops")
    return lambda: equal(running.wait(mbtest.DEADLINE), 0, "systemctl stop")


@test("systemctl stop: no new connection; a running request ends with Connection: close, a kept one that waits at once")
def _():
    with Pool(HTTP) as pool:
        kept, slow = Client(pool.where), Client(pool.where)
        kept.send("GET /kept HTTP/1.1\r\nHost: x\r\n\r\n")
        check(b"Connection: close" not in reads_page(kept, b"page of kept"), "the first request keeps the connection")
        slow.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: "2 of them with" in pool.prop("StatusText"), "both are served", 20)
        begin = time.monotonic()
        slow.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        reads_page(slow, b"page of slow")
        slow_began = time.monotonic()
        done = stopping(pool)
        equal(kept.end(), (b"", "eof"), "the kept connection")
        check(time.monotonic() - slow_began < 0.9 * mbtest.SLOWNESS, "it does not wait for the others")
        late = Client(pool.where)
        late.send("GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        head = reads_page(slow, b"page of slow")
        check(b"Connection: close" in head, f"the running request: {head}")
        equal(slow.end(), (b"", "eof"), "the connection of the running request")
        done()
        with contextlib.suppress(ConnectionError):
            equal(late.end()[0], b"", "what comes then is not served")
        equal(pool.prop("Result"), "success", "result")
        check(time.monotonic() - begin < 10 * mbtest.SLOWNESS, "all of it is over before the grace is")


@test("the grace ends: what is left is reset, and that is no failure")
def _():
    with Pool(TALK % "one", "--grace=0.5") as pool:
        client, busy = pool.open("wait 60")
        begin = time.monotonic()
        done = stopping(pool)
        equal(client.end()[1], "reset", "the connection")
        check(time.monotonic() - begin >= 0.5, "it had its grace")
        done()
        check(not alive(busy), "its process is gone")
        equal((pool.prop("Result"), pool.prop("ActiveState")), ("success", "inactive"), "the service")
        pool.says("the grace is over")


@test("a second SIGTERM does not wait for the grace")
def _():
    with Pool(TALK % "one", "--grace=60", "TimeoutStopSec=70") as pool:
        client, _ = pool.open("wait 60")
        main = pool.main()
        done = stopping(pool)
        os.kill(main, signal.SIGTERM)
        equal(client.end()[1], "reset", "the connection")
        done()
        equal(pool.prop("Result"), "success", "result")


@test("a restart of the service loses no connection that waits or comes")
def _():
    with Pool(TALK % "one") as pool:
        pool.ask()
        over = threading.Event()

        def come_again():
            count = 0
            while not over.is_set():
                equal(pool.ask()[0], "one", "answer")
                count += 1
            return count

        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            clients = [threads.submit(come_again) for _ in range(4)]
            try:
                for _ in range(3):
                    equal(manager.systemctl("restart", pool.service), "", "systemctl restart")
                    time.sleep(0.2)
            finally:
                over.set()
            counts = [each.result() for each in clients]
        mbtest.diagnose(f"answers meanwhile: {counts}")


@test("a program that a script has left running ends with the pool")
def _():
    with Pool(TALK % "one") as pool:
        pool.ask("sleeper 61.5")
        find = lambda: [p for p in os.listdir("/proc") if p.isdigit() and "sleep\0" "61.5" in mbtest.read_file(f"/proc/{p}/cmdline")]
        (pid,) = until(find, "the program runs")
        begin = time.monotonic()
        manager.stop_unit(pool.socket)
        check(not alive(int(pid)), "it is gone")
        check(time.monotonic() - begin < 5 * mbtest.SLOWNESS, "and nobody has waited for it")


mbtest.main()
