#!/usr/bin/python3
"""The sandbox of mb-pool@ and of its drop-in for the system, and what docs/deploy/hardening.txt says of it, with real user
managers: one of root's, which can do what the system's does, and one without privileges, as users have them."""

import os
import re
import socket
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbsandbox
import mbspace
import mbtest
from mbtest import Client, check, equal, test, until

for tool in ("/lib/systemd/systemd", "systemctl", "systemd-analyze", "systemd-journald", "journalctl", "setpriv"):
    mbtest.need(tool)
mbspace.enter(cgroup=True)

WORST = 1.5  # what systemd-analyze security may say of the pool's units
HARDENED = mbtest.read_file(os.path.join(mbtest.SRCDIR, "units", "mb-pool-hardened.conf"))
DOCUMENT = mbtest.read_file(os.path.join(mbtest.SRCDIR, "docs", "deploy", "hardening.txt"))
POOL = DOCUMENT.partition("\nTHE POOL\n")[2]
SERVICES = ("mb-pool@.service", "mb-pool-local@.service")
# The part of mb-pool@.service that is no sandbox, and cannot be tried alone or is tried by pool_systemd.py.
OTHER = {
    *("Description", "Documentation", "Requires", "StartLimitIntervalSec", "Type", "ExecStart", "ExecReload", "ExecStopPost"),
    *("StandardOutput", "StandardError", "KillMode", "TimeoutStopSec", "Restart", "RestartSec", "WatchdogSec", "WantedBy"),
    *("OOMPolicy", "MemoryMax", "TasksMax"),
}

answering = mbsandbox.visible_program()
ROOM = os.path.dirname(answering)  # what the services see, and may not write to
# Runs the Lua that the client sends, and answers with what that returns.
RUNNING = mbtest.write_file(
    f"{ROOM}/run.lua",
    """
return function(socket)
  local values = table.pack(assert(load((socket:read(100000))))())
  for n = 1, values.n do values[n] = tostring(values[n]) end
  socket:write(table.concat(values, " "))
  return true
end
""",
)


def recipe(heading, text=POOL):
    """The settings under a heading of the document, or of its part about pools."""
    found = re.search(rf"^{re.escape(heading)}\n-+\n(.*?)(?=^[^\n]+\n-+\n|\Z)", text, re.MULTILINE | re.DOTALL)
    check(found, f"docs/deploy/hardening.txt has {heading!r}")
    settings = re.search(r"^    (\[Service\]\n(?:    .*\n)+)", found.group(1), re.MULTILINE)
    check(settings, f"settings under {heading!r}")
    return settings.group(1).replace("\n    ", "\n")


# --- What systemd-analyze says ---


@test(f"systemd-analyze security: at most {WORST} for the system's units")
def _():
    root = mbtest.tmp("root", "x")[:-2]
    for service in SERVICES:
        directory = f"{root}/usr/lib/systemd/system/{service}.d"
        os.makedirs(directory, exist_ok=True)
        mbtest.write_file(directory[:-2], mbhosts.expand(service).replace(os.path.dirname(mbtest.HANDLE), "/usr/bin"))
        mbtest.write_file(f"{directory}/10-user.conf", mbhosts.expand("mb-user.conf"))
        mbtest.write_file(f"{directory}/20-hardened.conf", HARDENED)
        said = mbtest.output_of("systemd-analyze", "security", "--offline=true", f"--root={root}", service)
        found = re.search(r"Overall exposure level for .*: ([\d.]+) ", said)
        check(found and float(found.group(1)) <= WORST, f"an exposure level in {said[-300:]}")
        mbtest.diagnose(f"{service}: {found.group(1)}")
        check(f"{found.group(1)} " in POOL, f"docs/deploy/hardening.txt has the {found.group(1)} of {service}")


# --- With the real manager ---

journal = mbspace.Journal()
manager = None
manager_of = None  # the name of the account; None: ours


def start_manager(user=None):
    """One of this user's, unless it runs already; there can be only one."""
    global manager, manager_of
    if manager and manager_of == user:
        return
    if manager:
        manager.stop()
        # Another user could not use the control groups that this one has left.
        for own in mbspace.own_groups():
            for directory, _, _ in os.walk(own, topdown=False):
                if directory != own:
                    until(lambda d=directory: not mbtest.read_file(f"{d}/cgroup.procs"), f"{directory} is empty")
                    os.rmdir(directory)
    home = f"/run/homes/{user or 'root'}"  # not in /tmp, which a service does not see
    os.makedirs(home)
    # Nor is its socket, to which a pool says that it is ready: the system's is in /run/systemd.
    env = {} if user else {"XDG_RUNTIME_DIR": "/run/manager"}
    os.makedirs("/run/manager", 0o700, exist_ok=True)
    manager = mbhosts.UserManager(user, SYSTEMD_LOG_TARGET="journal", HOME=home, **env)
    manager_of = user


class Unit(mbsandbox.Unit):
    """A pool of its own in place of a process for each connection."""

    # Without mb-handle's own sandbox, so that what is seen is the manager's.
    PLAIN = """[Service]
Type=notify
ExecStart={handle} --sandbox=off --log-level=warning
StandardOutput=journal
StandardError=journal
"""

    def __init__(self, number, name, settings="", base=PLAIN):
        super().__init__(number, name, settings, base)

    def write(self, directory):
        mbtest.write_file(f"{directory}/{self.unit}.socket", f"[Socket]\nListenStream=127.0.0.1:{self.port}\n")
        mbtest.write_file(f"{directory}/{self.unit}.service", self.text)

    def groups(self):
        group = f"{mbspace.own_groups()[0]}/app.slice/{self.unit}.service"
        return [group] if os.path.exists(group) else []

    def wait_gone(self):
        manager.systemctl("stop", f"{self.unit}.socket", f"{self.unit}.service")
        super().wait_gone()


# What can only be seen in what the manager says it has understood; the others are seen in /proc.
UNSEEN = {"AmbientCapabilities", "RemoveIPC", "KeyringMode", "DevicePolicy", "SystemCallErrorNumber", "RestrictSUIDSGID"}
# Where control groups are of the first kind, a user manager has no controller of devices, nor of memory. And systemctl
# does not wait for the last of its messages.
NO_CONTROLLER = re.compile(r"devices\.(allow|deny)|/dev/mqueue|memory\.limit_in_bytes|Failed to send unit|type=method_call")


def sandbox(text):
    return [(name, value) for name, value in mbsandbox.settings_of(text) if name not in OTHER and "[" not in name]


@test("root's manager takes each directive of the sandbox, the processes have it, and the pool answers")
def _():
    start_manager()
    manager.systemctl("set-environment", f"MB_SCRIPT={answering}")
    settings = sandbox(mbhosts.expand("mb-pool@.service")) + sandbox(HARDENED)
    check(len(settings) > 28, f"settings of the sandbox: {settings}")
    plain = Unit(0, "plain")
    units = [Unit(n, f"{name}={value}", f"{name}={value}\n") for n, (name, value) in enumerate(settings, 1)]
    for unit in (plain, *units):
        unit.write(manager.units)
    manager.systemctl("daemon-reload")
    for unit in (plain, *units):
        manager.start(f"{unit.unit}.socket")
    manager.systemctl("log-level", "debug")
    looked = plain.probe(journal)
    check(looked, f"the plain unit is answered: {plain.status}")
    for unit in units:
        check(unit.probe(journal, looked), f"{unit.name} is answered: {unit.status}")
        passed_over = [message for message in unit.passed_over if not NO_CONTROLLER.search(message)]
        equal(passed_over, [], f"{unit.name}: what the manager says")
        check(unit.differs or unit.name.split("=")[0] in UNSEEN, f"{unit.name}: something is different in /proc")
    manager.systemctl("log-level", "info")


class Service:
    """mb-pool@ with the drop-in for the system and more settings, driven by RUNNING.
    wishes: the sandbox of the script."""

    def __init__(self, settings="", user=None, hardened=HARDENED, wishes=None):
        start_manager(user)
        self.where = ("127.0.0.1", mbtest.free_port())
        script = self.wishing(wishes) if wishes else RUNNING
        manager.systemctl("set-environment", f"MB_SCRIPT={script}")
        manager.drop_in("mb-pool@.service", f"{hardened}\n{settings}\n")
        self.name = f"mb-pool@{self.where[1]}"
        manager.start(f"{self.name}.socket")

    def wishing(self, wishes):
        """Writes a script that does the same as RUNNING, in a sandbox of its own."""
        handler = mbtest.read_file(RUNNING).partition("return ")[2]
        listener = f'{{proto = "tcp", port = {self.where[1]}}}'
        return mbtest.write_file(f"{ROOM}/wishing.lua", f"listen{{{listener}, sandbox = {wishes}, connect = {handler}}}")

    def run(self, code):
        with Client(self.where) as client:
            client.send(code)
            client.finish()
            data, how = client.end()
        equal(how, "eof", f"end of {code}, after {data}")
        return data.decode(errors="backslashreplace")

    def returns(self, attempts):
        """Each code returns what fits its pattern."""
        for code, pattern in attempts.items():
            got = self.run(code)
            check(re.fullmatch(pattern, got, re.DOTALL), f"{code} returned {got!r}, not {pattern!r}")

    def stop(self):
        # A child may answer before the manager has read that the pool is ready.
        until(lambda: manager.prop(f"{self.name}.service", "ActiveState") == "active", "the service is active")
        equal(manager.failed(), "", "failed units")
        manager.stop_unit(f"{self.name}.socket")


def loosened(heading, attempts, user=None):
    """Each attempt, {code: pattern of what it returns}, returns that with the recipe, and not without it."""
    for text, holds in (("", False), (recipe(heading), True)):
        service = Service(text, user)
        for code, pattern in attempts.items():
            got = service.run(code)
            equal(bool(re.fullmatch(pattern, got)), holds, f"{heading}: {code} returned {got!r} with {text!r}")
        service.stop()


WRITING = "nil .*(Read-only file system|Permission denied).*"


@test("root's manager, all of it: what scripts need works, as shipped")
def _():
    service = Service()
    for number in range(50):
        equal(service.run(f"return {number} * 2"), str(number * 2), "answer")
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as local, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dns:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen(16)
        local.bind(f"{ROOM}/db.sock")
        local.listen(16)
        dns.bind(("127.0.0.1", 0))
        service.returns(
            {
                f"return require('moonbridge_io').tcpconnect('127.0.0.1', {tcp.getsockname()[1]})": "socket .*",
                f"return require('moonbridge_io').tcpconnect('localhost', {tcp.getsockname()[1]})": "socket .*",
                f"return require('moonbridge_io').localconnect('{ROOM}/db.sock')": "socket .*",
                "local p = require('moonbridge_io').exec('echo', 'by exec') return p.stdout:read(100), p:wait()": "by exec\n.*0.*",
                "return os.execute('exit 3')": "nil exit 3",
                "return io.popen('echo piped | cat'):read('a')": "piped\n",
                "local f = assert(io.open('/tmp/mine', 'w')) return f:write('x') == f, f:close()": "true true",
                # The question of a resolver comes out by UDP.
                "return (io.popen([[python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
                f's.sendto(b"question", ("127.0.0.1", {dns.getsockname()[1]})); '
                "print(socket.getaddrinfo(\"localhost\", 80)[0][4][1])' 2>&1]]):read('a'))": "80\n",
            }
        )
        dns.settimeout(mbtest.DEADLINE)
        equal(dns.recv(100), b"question", "what the server of names gets")
    equal(manager.reload(f"{service.name}.service"), "", "systemctl reload")
    equal(service.run("return 1"), "1", "answer after it")
    service.stop()


@test("root's manager, all of it: what an attacker would try fails")
def _():
    path = f"/tmp/{os.path.basename(mbtest.TMP)}-of-others"
    mbtest.write_file(path, "x")
    mbtest.cleanup.callback(lambda: os.path.exists(path) and os.unlink(path))
    service = Service()
    service.returns(
        {
            "return io.open('/etc/mb-test', 'w')": WRITING,
            f"return io.open('{ROOM}/mb-test', 'w')": WRITING,
            f"return io.open('{path}')": "nil .*No such file.*",
            "return os.execute('ls /home/*')": "nil exit 2",
            "return os.execute('unshare --user true')": "nil exit 1",
            "return os.execute('test -e /dev/kmsg -o -e /dev/vda')": "nil exit 1",
            "return os.execute([[python3 -c 'import mmap; mmap.mmap(-1, 4096, prot=7)' 2>/dev/null]])": "nil exit 1",
            "return os.execute([[python3 -c 'import socket; socket.socket(socket.AF_PACKET)' 2>/dev/null]])": "nil exit 1",
            "return os.execute([[python3 -c 'import os; os.setpriority(os.PRIO_PROCESS, 0, 5)' 2>/dev/null]])": "nil exit 1",
            "return io.open('/proc/meminfo')": "nil .*",
        }
    )
    service.stop()


def locks_itself(**service_of):
    """Under the units a script's own sandbox lacks nothing: neither Landlock nor filters."""
    service = Service(wishes='{read = {"/etc/os-release"}, required = true}', **service_of)
    service.returns(
        {
            "return io.open('/etc/os-release') and 'seen'": "seen",
            "return io.open('/etc/passwd')": "nil .*Permission denied.*",
            "return os.execute('true')": "nil .*",
        }
    )
    service.stop()


@test("root's manager, all of it: a script's own sandbox is a whole one")
def _():
    locks_itself()


@test("recipe: files that the script writes")
def _():
    code = (
        "local path = (os.getenv('STATE_DIRECTORY') or '/var/lib/mb-data') .. '/written' "
        "local f = io.open(path, 'w') return f and f:write('x') == f and f:close() and path"
    )
    loosened("Files that the script writes", {code: ".*/mb-data/written"})


@test("recipe: no way out")
def _():
    with socket.socket() as tcp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen(16)
        code = f"return require('moonbridge_io').tcpconnect('127.0.0.1', {tcp.getsockname()[1]})"
        service = Service(recipe("No way out"))
        service.returns({code: "nil .*", "return 1 + 1": "2"})
        service.stop()


@test("recipe: programs that compile at run time; /proc")
def _():
    code = "return os.execute([[python3 -c 'import mmap; mmap.mmap(-1, 4096, prot=7)' 2>/dev/null]])"
    for heading, attempt in (
        ("Programs that compile at run time", {code: "true exit 0"}),
        ("Programs that look at the machine", {"return io.open('/proc/meminfo') and 'seen'": "seen"}),
    ):
        service = Service(recipe(heading, DOCUMENT))
        service.returns(attempt)
        service.stop()


@test("a user's own manager, without privileges: mb-pool@.service as shipped is answered, and nothing is passed over")
def _():
    start_manager("nobody")
    manager.systemctl("set-environment", f"MB_SCRIPT={answering}")
    plain, shipped = Unit(100, "plain"), Unit(101, "mb-pool@.service", base=mbhosts.expand("mb-pool@.service"))
    for unit in (plain, shipped):
        unit.write(manager.units)
    manager.systemctl("daemon-reload")
    for unit in (plain, shipped):
        manager.start(f"{unit.unit}.socket")
    manager.systemctl("log-level", "debug")
    looked = plain.probe(journal)
    check(looked, f"the plain unit is answered: {plain.status}")
    check(shipped.probe(journal, looked), f"mb-pool@.service is answered: {shipped.status}")
    equal([m for m in shipped.passed_over if not NO_CONTROLLER.search(m)], [], "what the manager says")
    for name in ("NoNewPrivs", "Max core file size", "Umask", "Seccomp_filters"):
        check(name in shipped.differs, f"{name} in what is different: {shipped.differs}")
    manager.systemctl("log-level", "info")
    service = Service(user="nobody", hardened="")
    service.returns(
        {
            "return os.execute('unshare --user true')": "nil exit 1",
            "local p = require('moonbridge_io').exec('echo', 'by exec') return p.stdout:read(100), p:wait()": "by exec\n.*0.*",
            "local f = assert(io.open(os.getenv('HOME') .. '/mine', 'w')) return f:write('x') == f, f:close()": "true true",
        }
    )
    equal(manager.reload(f"{service.name}.service"), "", "systemctl reload")
    equal(service.run("return 1"), "1", "answer after it")
    service.stop()
    locks_itself(user="nobody", hardened="")


mbtest.main()
