#!/usr/bin/python3
"""The hardened drop-in and what docs/deploy/hardening.txt says how to loosen, with real user managers: one of root's,
which can do what the system's does, and one without privileges, as users have them."""

import os
import re
import socket
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbsandbox
import mbspace
import mbtest
from mbtest import Client, check, equal, test, until

for tool in ("/lib/systemd/systemd", "systemctl", "systemd-analyze", "systemd-journald", "journalctl", "setpriv", "cc"):
    mbtest.need(tool)
mbspace.enter(cgroup=True)

WORST = 1.5  # what systemd-analyze security may say of the drop-in
DROP_IN = mbtest.read_file(os.path.join(mbtest.SRCDIR, "units", "mb@.service.d", "hardened.conf.sample"))
DOCUMENT = mbtest.read_file(os.path.join(mbtest.SRCDIR, "docs", "deploy", "hardening.txt"))
SERVICES = ("mb@.service", "mb-local@.service")

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
end
""",
)


def recipe(heading):
    """The settings under a heading of the document: its indented lines from [Service] on."""
    found = re.search(rf"^{re.escape(heading)}\n-+\n(.*?)(?=^[^\n]+\n-+\n|\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    check(found, f"docs/deploy/hardening.txt has {heading!r}")
    settings = re.search(r"^    (\[Service\]\n(?:    .*\n)+)", found.group(1), re.MULTILINE)
    check(settings, f"settings under {heading!r}")
    return settings.group(1).replace("\n    ", "\n")


# --- What systemd-analyze says ---


def installed(drop_in):
    """A root directory with the units as they are installed for the system, the drop-in too if it is to be."""
    root = mbtest.tmp("with" if drop_in else "without", "x")[:-2]
    for service in SERVICES:
        directory = f"{root}/usr/lib/systemd/system/{service}.d"
        os.makedirs(directory, exist_ok=True)
        mbtest.write_file(directory[:-2], mbhosts.expand(service).replace(os.path.dirname(mbtest.HANDLE), "/usr/bin"))
        mbtest.write_file(f"{directory}/10-user.conf", mbhosts.expand("mb-user.conf"))
        if drop_in:
            os.makedirs(f"{root}/etc/systemd/system/{service}.d", exist_ok=True)
            mbtest.write_file(f"{root}/etc/systemd/system/{service}.d/hardened.conf", DROP_IN)
    return root


def exposure(service, drop_in):
    said = mbtest.output_of("systemd-analyze", "security", "--offline=true", f"--root={installed(drop_in)}", service)
    found = re.search(r"Overall exposure level for .*: ([\d.]+) ", said)
    check(found, f"an exposure level in {said[-300:]}")
    return float(found.group(1))


@test(f"systemd-analyze security: at most {WORST} with the drop-in")
def _():
    for service in SERVICES:
        without, hardened = exposure(service, False), exposure(service, True)
        mbtest.diagnose(f"{service}: {without} without the drop-in, {hardened} with it")
        check(hardened <= WORST < without, f"{service}: {without} without the drop-in, {hardened} with it")
        for figure in (without, hardened):
            check(str(figure) in DOCUMENT, f"docs/deploy/hardening.txt has the {figure} of {service}")


@test("systemd-analyze verify has nothing to say about the units with the drop-in")
def _():
    for mode, env in (("--user", {**os.environ, "XDG_RUNTIME_DIR": mbtest.tmp("run")}), ("--system", {**os.environ})):
        units = []
        for service in SERVICES:
            path = mbtest.write_file(mbtest.tmp(f"verify{mode}", service), mbhosts.expand(service))
            mbtest.write_file(mbtest.tmp(f"verify{mode}", f"{service}.d", "hardened.conf"), DROP_IN)
            units.append(path.replace("@.", "@8080."))
        os.makedirs(mbtest.tmp("run"), exist_ok=True)
        equal(mbtest.output_of("systemd-analyze", mode, "--man=no", "verify", *units, env=env), "", f"verify {mode}")


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
    # Its home is not in /tmp, which a service does not see; a place as /home is one.
    home = f"/run/homes/{user or 'root'}"
    os.makedirs("/run/homes", exist_ok=True)
    os.makedirs(home)
    manager = mbhosts.UserManager(user, SYSTEMD_LOG_TARGET="journal", HOME=home)
    manager_of = user


class Service:
    """mb@ with the drop-in and more settings, driven by RUNNING."""

    def __init__(self, settings="", user=None):
        start_manager(user)
        manager.systemctl("set-environment", f"MB_SCRIPT={RUNNING}")
        manager.drop_in("mb@.service", f"{DROP_IN}\n{settings}\n")
        self.where = ("127.0.0.1", mbtest.free_port())
        self.unit = f"mb@{self.where[1]}.socket"
        manager.start(self.unit)

    def run(self, code):
        with Client(self.where) as client:
            client.send(code)
            client.finish()
            data, how = client.end()
        equal(how, "eof", f"end of {code}, after {data}")
        return data.decode(errors="backslashreplace")

    def stop(self):
        until(lambda: manager.instances() == "", "no instance is left")
        equal(manager.failed(), "", "failed units")
        manager.stop_unit(self.unit)


def loosened(heading, attempts, replace=()):
    """Each attempt, {code: pattern of what it returns}, returns that with the recipe, and not without it."""
    settings = recipe(heading)
    for old, new in replace:
        check(old in settings, f"{old!r} in the recipe {heading!r}")
        settings = settings.replace(old, new)
    for text, holds in (("", False), (settings, True)):
        service = Service(text)
        for code, pattern in attempts.items():
            got = service.run(code)
            equal(bool(re.fullmatch(pattern, got)), holds, f"{heading}: {code} returned {got!r} with {text!r}")
        service.stop()


# What can only be seen in what the manager says it has understood; the others are seen in /proc.
UNSEEN = {"AmbientCapabilities", "RemoveIPC", "KeyringMode", "IPAddressDeny", "DevicePolicy", "SystemCallErrorNumber"}
# Where control groups are of the first kind, a user manager has no controller of devices.
NO_CONTROLLER = re.compile(r"devices\.(allow|deny)|/dev/mqueue")


@test("root's manager takes each directive of the drop-in, the process has it, and the service answers")
def _():
    start_manager()
    manager.systemctl("set-environment", f"MB_SCRIPT={answering}")
    settings = mbsandbox.settings_of(DROP_IN)
    check(len(settings) > 25, f"settings of the drop-in: {settings}")
    plain = mbsandbox.Unit(0, "plain")
    units = [mbsandbox.Unit(n, f"{name}={value}", f"{name}={value}\n") for n, (name, value) in enumerate(settings, 1)]
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


def attacks(user=None):
    """What a script that an attacker runs tries, and what comes of it with the whole drop-in."""
    path = f"/tmp/{os.path.basename(mbtest.TMP)}-of-others"
    mbtest.write_file(path, "x")
    mbtest.cleanup.callback(lambda: os.path.exists(path) and os.unlink(path))
    service = Service(user=user)
    for code, pattern in {
        "return io.open('/etc/mb-test', 'w')": "nil .*(Read-only file system|Permission denied).*",
        f"return io.open('{ROOM}/mb-test', 'w')": "nil .*(Read-only file system|Permission denied).*",
        f"return io.open('{path}')": "nil .*No such file.*",
        "return os.execute('ls /home/*')": "nil exit 2",
        "return os.execute('unshare --user true')": "nil exit 1",
        "return require('moonbridge_io').tcpconnect('127.0.0.1', 9)": "nil .*Address family not supported.*",
        "return os.execute('test -e /dev/kmsg -o -e /dev/vda')": "nil exit 1",
        # What it may: programs, files of its own in /tmp.
        "return io.popen('echo piped | cat'):read('a')": "piped\n",
        "local f = assert(io.open('/tmp/mine', 'w')) return f:write('x') == f, f:close()": "true true",
    }.items():
        got = service.run(code)
        check(re.fullmatch(pattern, got), f"{code} returned {got!r}")
    service.stop()


@test("root's manager, the whole drop-in: 20 connections are answered, and what it is to forbid fails")
def _():
    service = Service()
    for number in range(20):
        equal(service.run(f"return {number} * 2"), str(number * 2), "answer")
    service.stop()
    attacks()


@test("root's manager, the whole drop-in: a script's own sandbox is a whole one, Landlock and filters")
def _():
    service = Service()
    handler = mbtest.read_file(RUNNING).partition("return ")[2]
    wishes = 'sandbox = {read = {"/etc/os-release"}, required = true}'
    script = f'listen{{{{proto = "tcp", port = {service.where[1]}}}, {wishes}, connect = {handler}}}'
    manager.systemctl("set-environment", f"MB_SCRIPT={mbtest.write_file(f'{ROOM}/wishing.lua', script)}")
    equal(service.run("return io.open('/etc/os-release') and 'seen'"), "seen", "a file that is wished")
    check("Permission denied" in service.run("return io.open('/etc/passwd')"), "another is refused")
    equal(service.run("return os.execute('true')")[:3], "nil", "so is a program")
    service.stop()


@test("recipe: a connection out")
def _():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(16)
        port = server.getsockname()[1]
        code = f"return require('moonbridge_io').tcpconnect('127.0.0.1', {port})"
        loosened("A connection out", {code: r"socket .*"}, [("192.0.2.10", "127.0.0.1")])


@test("recipe: names (DNS)")
def _():
    # A server of names that answers nothing but has been asked is enough: what is tried is that the question comes out.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        code = (
            "return (io.popen([[python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
            f's.sendto(b"question", ("127.0.0.1", {port})); print(socket.getaddrinfo("localhost", 80)[0][4][1])'
            "' 2>&1]]):read('a'):match('[^\\n]*\\n$'))"
        )
        loosened("Names (DNS)", {code: "80\n"})
        server.settimeout(mbtest.DEADLINE)
        equal(server.recv(100), b"question", "what the server of names gets")


@test("recipe: files under /home")
def _():
    # A /home of the test's own.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/home"], check=True)
    os.makedirs("/home/ann/site")
    os.makedirs("/home/ann/private")
    for name in ("site", "private"):
        mbtest.write_file(f"/home/ann/{name}/page", name)
    loosened("Files under /home", {"local f = io.open('/home/ann/site/page') return f and f:read()": "site"})
    service = Service(recipe("Files under /home"))
    check("No such file" in service.run("return io.open('/home/ann/private/page')"), "the rest of /home is not seen")
    check("Read-only" in service.run("return io.open('/home/ann/site/new', 'w')"), "it is read only")
    service.stop()


@test("recipe: a database's Unix socket; one in /run needs none")
def _():
    with socket.socket(socket.AF_UNIX) as by_path, socket.socket(socket.AF_UNIX) as abstract:
        for server, address in ((by_path, f"{ROOM}/db.sock"), (abstract, f"\0mb-test-{os.getpid()}")):
            server.bind(address)
            server.listen(16)
        connect = "return require('moonbridge_io').localconnect('{}')".format
        service = Service()
        check(service.run(connect(f"{ROOM}/db.sock")).startswith("socket "), "the socket in /run without a recipe")
        service.stop()
        loosened("A database's Unix socket", {connect(f"@mb-test-{os.getpid()}"): "socket .*"})


@test("recipe: files that the script writes")
def _():
    code = (
        "local path = (os.getenv('STATE_DIRECTORY') or '/var/lib/mb-data') .. '/written' "
        "local f = io.open(path, 'w') return f and f:write('x') == f and f:close() and path"
    )
    loosened("Files that the script writes", {code: ".*/mb-data/written"})


@test("recipe: programs that compile at run time")
def _():
    code = "return os.execute([[python3 -c 'import mmap; mmap.mmap(-1, 4096, prot=7)' 2>/dev/null]])"
    loosened("Programs that compile at run time", {code: "true exit 0"})


@test("recipe: /proc")
def _():
    loosened("Programs that look at the machine", {"return io.open('/proc/meminfo') and 'seen'": "seen"})


@test("Lua modules in C work with the drop-in")
def _():
    source = b"void lua_pushinteger(void *, long long); int luaopen_tiny(void *L) { lua_pushinteger(L, 42); return 1; }"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", f"{ROOM}/tiny.so", "-xc", "-"], input=source, check=True)
    service = Service()
    equal(service.run(f"package.cpath = '{ROOM}/?.so' return (require('tiny'))"), "42", "the module")
    service.stop()


@test("a user's own manager, without privileges: mb@.service as shipped is answered, and nothing is passed over")
def _():
    start_manager("nobody")
    manager.systemctl("set-environment", f"MB_SCRIPT={answering}")
    plain = mbsandbox.Unit(100, "plain")
    shipped = mbsandbox.Unit(101, "mb@.service", base=mbhosts.expand("mb@.service"))
    for unit in (plain, shipped):
        unit.write(manager.units)
    manager.systemctl("daemon-reload")
    for unit in (plain, shipped):
        manager.start(f"{unit.unit}.socket")
    manager.systemctl("log-level", "debug")
    looked = plain.probe(journal)
    check(looked, f"the plain unit is answered: {plain.status}")
    check(shipped.probe(journal, looked), f"mb@.service is answered: {shipped.status}")
    equal(shipped.passed_over, [], "what the manager says")
    for name in ("NoNewPrivs", "Max core file size", "Max cpu time", "Umask"):
        check(name in shipped.differs, f"{name} in what is different: {shipped.differs}")
    manager.systemctl("log-level", "info")


@test("a user's own manager, without privileges, the whole drop-in: it answers, and what it is to forbid fails")
def _():
    attacks("nobody")


@test("a user's own manager: without PrivateUsers= the drop-in ends in 218/CAPABILITIES, as the document says")
def _():
    service = Service("[Service]\nPrivateUsers=no", "nobody")
    with Client(service.where) as client:
        equal(client.end()[0], b"", "what the client sees")
    journal.find("status=218/CAPABILITIES")
    service.stop()


mbtest.main()
