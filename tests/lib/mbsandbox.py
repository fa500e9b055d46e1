"""Tries units with settings that harden them in the real manager, for tests/bench/sandbox and the tests. Must never say
that a directive is applied when the manager has passed it over: it looks at the process from outside."""

import os
import re
import shutil
import socket
import time

import mbspace
import mbtest

# It waits for a word of the client, so that we can look at the process before; the word in its answer identifies it.
HANDLER = """
return function(socket)
  socket:write("answer to ", (socket:read(100, "\\n")))
end
"""
SOCKET = """[Socket]
ListenStream=127.0.0.1:{port}
Accept=yes
TriggerLimitIntervalSec=0
NoDelay=yes
"""
# A service that has only the settings that all others have too. Without mb-handle's own sandbox, so that what is seen and
# measured is the manager's.
PLAIN = """[Unit]
CollectMode=inactive-or-failed
[Service]
ExecStart={handle} --sandbox=off --log-level=warning
StandardOutput=journal
StandardError=journal
"""
# Messages of the manager when it goes on without applying a directive.
PASSED_OVER = re.compile(
    # These do not count: the machine lacks something for all units, or the library does not know a new system call.
    r"^(?!.*(oomd|ManagedOOM|varlink|parse system call|\.mount: Failed to load|hugepages|umount|/run/credentials"
    r"|Cannot stat|PR_SET_MM|unit-root/(run|var)/))"
    r".*(\bignoring|not supported|does not support|unsupported|lacks|proceeding without|Failed to|Unknown key)",
    re.I,
)


class Unanswered(Exception):
    """The handler was not started, or could not answer."""


def visible_program():
    """Copies the program to a place that no setting hides, like /usr in service. A build may be in /tmp or /home."""
    directory = "/run/mb-test"
    os.makedirs(directory, exist_ok=True)
    mbtest.HANDLE = shutil.copy(mbtest.HANDLE, f"{directory}/mb-handle")
    script = mbtest.write_file(f"{directory}/script.lua", HANDLER)
    return script


def settings_of(text):
    """Returns the settings of a unit file as [("Name", "value")]. A name may occur twice."""
    lines = [line.strip() for line in text.splitlines()]
    pairs = [line.partition("=") for line in lines if line and line[0] not in "#;["]
    return [(name, value) for name, _, value in pairs]


class Unit:
    """A socket unit of its own, its service, and the results of measuring and looking."""

    def __init__(self, number, name, settings="", base=PLAIN):
        self.name = name
        self.unit = f"tried{number}"
        self.port = mbtest.free_port()
        self.text = base.replace("{handle}", mbtest.HANDLE) + "\n[Service]\n" + settings
        self.count = 0
        self.answer_ms = []  # until the client has its answer and the end
        self.whole_ms = []  # until the manager is rid of the service
        self.status = ""  # the manager's status when it could not start the service, such as 226/NAMESPACE
        self.passed_over = []  # messages of the manager
        self.differs = []  # properties of the process that differ from a process of the plain unit

    def write(self, directory):
        mbtest.write_file(f"{directory}/{self.unit}.socket", SOCKET.format(port=self.port))
        mbtest.write_file(f"{directory}/{self.unit}@.service", self.text)

    def groups(self):
        """Returns the control groups of the instances that exist."""
        parent = f"{mbspace.own_groups()[0]}/app.slice/app-{self.unit}.slice"
        try:
            return [f"{parent}/{name}" for name in os.listdir(parent) if "@" in name]
        except FileNotFoundError:
            return []

    def connect(self):
        client = mbtest.Client(("127.0.0.1", self.port))
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def ask(self, client):
        """Sends a word of its own and checks the answer to it."""
        self.count += 1
        word = f"{self.unit} {self.count}\n".encode()
        try:
            client.send(word)
            got = client.end()
        except OSError as error:
            raise Unanswered(str(error)) from None
        if got != (b"answer to " + word, "eof"):
            raise Unanswered(f"the answer was {mbtest.short(got)}")

    def wait_gone(self):
        deadline = time.monotonic() + mbtest.DEADLINE
        while self.groups():
            mbtest.check(time.monotonic() < deadline, f"{self.name}: the service is gone")
            time.sleep(0.0001)

    def measure(self):
        """Makes one connection, and waits until the manager is rid of the service, so that each pays for itself."""
        start = time.monotonic()
        with self.connect() as client:
            self.ask(client)
        answered = time.monotonic()
        self.wait_gone()
        self.whole_ms.append((time.monotonic() - start) * 1000)
        self.answer_ms.append((answered - start) * 1000)

    def look(self):
        """Returns the properties of the one instance's process that can be seen from outside: {name: value}."""
        (group,) = mbtest.until(self.groups, f"{self.name}: a service")
        pid = [None]

        def waits():
            # The process is in its read: it has made the changes of its start.
            pids = mbtest.read_file(f"{group}/cgroup.procs").split()
            if not pids:
                return not self.groups()
            pid[0] = pids[0]
            try:
                name = os.path.basename(os.readlink(f"/proc/{pids[0]}/exe"))
                return name == "mb-handle" and mbtest.read_file(f"/proc/{pids[0]}/wchan") not in ("", "0")
            except OSError:
                return False

        mbtest.until(waits, f"{self.name}: the handler waits, or has ended")
        try:
            return _look(f"/proc/{pid[0]}", group)
        except OSError:
            raise Unanswered("not started") from None

    def probe(self, journal, plain=None):
        """Makes one connection, and finds out everything except times. The manager logs debug messages to the journal.
        plain: the result of look() for the plain unit. Returns the result for this one, or None without a process."""
        seen = None
        before = len(journal.entries())
        answered = False
        try:
            with self.connect() as client:
                seen = self.look()
                self.ask(client)
                answered = True
        except Unanswered as error:
            self.status = str(error)
        self.wait_gone()
        messages = [str(entry.get("MESSAGE")) for entry in journal.entries()[before:]]
        if not answered:
            ends = [re.search(r"Main process exited, .*status=(\S+)", message) for message in messages]
            self.status = next((f"status={end.group(1)}" for end in ends if end), self.status)
        self.passed_over = list(dict.fromkeys(m for m in messages if PASSED_OVER.search(m)))
        if seen and plain:
            self.differs = sorted(name for name in seen if seen[name] != plain.get(name))
        return seen if answered else None


def _look(proc, group):
    seen = {}
    with open(f"{proc}/status", encoding="ascii", errors="replace") as f:
        for line in f:
            name, _, value = line.partition(":")
            if name in ("Umask", "NoNewPrivs", "Seccomp_filters", "SigIgn") or name.startswith("Cap"):
                seen[name] = value.split()
    for line in mbtest.read_file(f"{proc}/limits").splitlines()[1:]:
        seen[line[:26].strip()] = line[26:].split()[:2]
    for name in os.listdir(f"{proc}/ns"):
        seen[f"{name} namespace"] = os.readlink(f"{proc}/ns/{name}")
    for name in ("oom_score_adj", "timerslack_ns", "personality", "coredump_filter"):
        seen[name] = mbtest.read_file(f"{proc}/{name}")
    for name in ("memory.max", "pids.max", "cpu.max"):
        seen[name] = mbtest.read_file(f"{group}/{name}")
    return seen
