"""Units with settings that harden them, tried with the real manager: what tests/bench/sandbox and the tests share.
Must never call a directive applied that the manager has passed over: what the process has is looked at from outside."""

import os
import re
import shutil
import socket
import time

import mbspace
import mbtest

# A word of the client's, so that the process can be looked at before it answers; and so that an answer is its own.
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
# A service with no settings but those that the others have too.
PLAIN = """[Unit]
CollectMode=inactive-or-failed
[Service]
ExecStart={handle}
StandardOutput=journal
StandardError=journal
"""
# What the manager says when it goes on without what a directive asks for.
PASSED_OVER = re.compile(
    # Not: what the machine lacks for everybody, and names of system calls that are newer than the library.
    r"^(?!.*(oomd|ManagedOOM|varlink|parse system call|\.mount: Failed to load|hugepages|umount|/run/credentials"
    r"|Cannot stat|PR_SET_MM|unit-root/(run|var)/))"
    r".*(\bignoring|not supported|does not support|unsupported|lacks|proceeding without|Failed to|Unknown key)",
    re.I,
)


class Unanswered(Exception):
    """The handler was not started, or could not answer."""


def visible_program():
    """Copies the program to where no setting hides it, as /usr is in service; a build may be in /tmp or /home."""
    directory = "/run/mb-test"
    os.makedirs(directory, exist_ok=True)
    mbtest.HANDLE = shutil.copy(mbtest.HANDLE, f"{directory}/mb-handle")
    script = mbtest.write_file(f"{directory}/script.lua", HANDLER)
    return script


def settings_of(text):
    """The settings of a unit file, [("Name", "value")]; a name may stand there twice."""
    lines = [line.strip() for line in text.splitlines()]
    pairs = [line.partition("=") for line in lines if line and line[0] not in "#;["]
    return [(name, value) for name, _, value in pairs]


class Unit:
    """A socket unit of its own and its service, with what was measured and seen."""

    def __init__(self, number, name, settings="", base=PLAIN):
        self.name = name
        self.unit = f"tried{number}"
        self.port = mbtest.free_port()
        self.text = base.replace("{handle}", mbtest.HANDLE) + "\n[Service]\n" + settings
        self.count = 0
        self.answer_ms = []  # until the client has its answer and the end
        self.whole_ms = []  # until the manager is rid of the service
        self.status = ""  # how the manager says that it could not be started, such as 226/NAMESPACE
        self.passed_over = []  # messages of the manager
        self.differs = []  # what the process has that one of the plain unit has not

    def write(self, directory):
        mbtest.write_file(f"{directory}/{self.unit}.socket", SOCKET.format(port=self.port))
        mbtest.write_file(f"{directory}/{self.unit}@.service", self.text)

    def groups(self):
        """The control groups of the instances there are."""
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
        """One connection. The next one waits until the manager is rid of it, so that each pays for itself."""
        start = time.monotonic()
        with self.connect() as client:
            self.ask(client)
        answered = time.monotonic()
        self.wait_gone()
        self.whole_ms.append((time.monotonic() - start) * 1000)
        self.answer_ms.append((answered - start) * 1000)

    def look(self):
        """What can be seen of the one instance's process from outside: {name: value}."""
        (group,) = mbtest.until(self.groups, f"{self.name}: a service")
        pid = [None]

        def waits():
            # In its read: what the program itself changes at its start is done.
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
        """One connection, in which all is found out that is no figure. The manager logs debug messages to the journal.
        plain: what look() returned for the plain unit. Returns what it returns for this one, None if there was none."""
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
