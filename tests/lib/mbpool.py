"""A pool under test: mb-handle --serve on a free port of loopback, and its processes."""

import os
import signal
import socket
import time

import mbtest
from mbtest import Client, check, until


def status_of(pid):
    """Returns the fields of /proc/PID/stat behind the name, or None when the process has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            fields = f.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields


def children_of(pid):
    found = []
    for name in os.listdir("/proc"):
        fields = status_of(name) if name.isdigit() else None
        if fields and int(fields[1]) == pid:
            found.append(int(name))
    return sorted(found)


def rss(pid):
    """The resident memory in KiB."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class Pool(mbtest.Process):
    """Serves the script (its path) at a free port. args: further options. where=None: no address is given."""

    def __init__(self, script, *args, where="", **popen):
        self.where = ("127.0.0.1", mbtest.free_port()) if where == "" else where
        if self.where is None:
            serve = "--serve"
        elif isinstance(self.where, str):
            serve = f"--serve={self.where}"
        else:
            serve = f"--serve={self.where[0]}:{self.where[1]}"
        super().__init__([mbtest.HANDLE, serve, *args, script], **popen)

    def ready(self):
        """Waits until it serves. Returns the pool."""
        until(lambda: "pool: listening on" in self.text() or self.popen.poll() is not None, "the pool listens")
        check(self.popen.poll() is None, f"it has ended: {self.text()}")
        return self

    def generations(self):
        return children_of(self.pid)

    def generation(self):
        """The process that has loaded the script, when there is one only."""
        until(lambda: len(self.generations()) == 1, f"one generation: {self.generations()}")
        return self.generations()[0]

    def workers(self):
        """The processes that serve."""
        return [child for generation in self.generations() for child in children_of(generation)]

    def reload(self):
        """Loads the script anew, and waits until that serves."""
        before = self.text().count("loaded anew")
        os.kill(self.pid, signal.SIGHUP)
        until(lambda: self.text().count("loaded anew") > before, f"loaded anew: {self.text()}")

    def ask(self, data=b"", how="eof"):
        """Sends data on a connection of its own. Returns all that comes."""
        with Client(self.where) as client:
            if data:
                client.send(data)
            came, end = client.end()
        check(end == how, f"the connection ends by {how}: {end}, {came!r}; log: {self.text()[-2000:]}")
        return came

    def wait(self):
        """Waits for its end. Returns the exit status."""
        return self.popen.wait(mbtest.DEADLINE)


class Handed(Pool):
    """The same with a listening socket that was handed over, as a service manager does it."""

    def __init__(self, script, *args, where=None, env=None):
        self.log = mbtest.tmp("log", f"handed-{time.monotonic_ns()}")
        with listener(where) as sock, open(self.log, "wb") as out, open("/dev/null", "r+b") as null:
            self.where = where or sock.getsockname()
            fds = {0: null, 1: null, 2: out, 3: sock}
            self.child = mbtest.Child([mbtest.HANDLE, *args, script], fds, env, listen_fds=1)
        self.pid = self.child.pid

    def ready(self):
        until(lambda: "pool: listening on" in self.text() or status_of(self.pid) is None, "the pool listens")
        check(status_of(self.pid), f"it has ended: {self.text()}")
        return self

    def stop(self, signum=signal.SIGTERM):
        self.child.kill(signum)
        return self.wait()

    def wait(self):
        return self.child.wait()


def refused(where):
    """Returns whether nobody listens there."""
    try:
        Client(where).sock.close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    return False


def listener(where=None):
    """Makes a listening socket, as a service manager has it."""
    if isinstance(where, str):
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(where)
    else:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where or ("127.0.0.1", 0))
    sock.listen(128)
    return sock
