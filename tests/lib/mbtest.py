"""The harness of the integration tests: TAP, a temporary directory, conditions with a deadline, processes by id.
Must never wait for a time where it can wait for a condition, nor end a process that it did not start."""

import atexit
import contextlib
import ctypes
import fcntl
import itertools
import os
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import traceback
import zlib

STRICT = os.environ.get("CI") == "true"  # nothing may be skipped
VALGRIND = os.environ.get("MB_VALGRIND") == "true"  # MB_HANDLE runs under it
# Seconds until a condition that does not come true fails its test: far above what any takes.
DEADLINE = 60 if VALGRIND else 15


class Failed(Exception):
    """A check that did not hold."""


def check(condition, what):
    if not condition:
        raise Failed(what)


def equal(got, want, what):
    if got != want:
        raise Failed(f"{what}: got {short(got)}, expected {short(want)}")


def short(value):
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}... (repr of {len(text)} characters)"


@contextlib.contextmanager
def about(what):
    """A failure in here says what it was about."""
    try:
        yield
    except Failed as failed:
        raise Failed(f"{what}: {failed}") from None


def until(condition, what, seconds=DEADLINE):
    """Calls condition until it returns something true, and returns that; fails when seconds have gone."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(0.005)


def within(limit, what, measure, attempts=5):
    """Checks a delay that a busy machine may stretch: the best of some attempts is held against the limit (seconds).
    measure() makes one attempt and returns its delay; it checks by itself what must hold for every attempt."""
    delays = []
    for _ in range(attempts):
        delays.append(measure())
        if delays[-1] <= limit:
            return
    raise Failed(f"{what}: {min(delays) * 1000:.0f} ms at best of {attempts}, expected at most {limit * 1000:.0f} ms")


# --- Cleaning up, in the reverse order of what was started ---

cleanup = contextlib.ExitStack()
_processes = []


def _end(signum, _frame):
    sys.exit(128 + signum)


def _remove(path):
    """Removes a directory; again and again for a while, since what was killed may not be gone yet."""
    deadline = time.monotonic() + 5
    while os.path.exists(path) and time.monotonic() < deadline:
        shutil.rmtree(path, ignore_errors=True)


atexit.register(cleanup.close)
for _signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(_signum, _end)
# A second run of the same file (mbspace) works in the directory of the first, which removes it.
TMP = os.environ.get("MB_TEST_TMP")
if not TMP:
    # Not in a $TMPDIR with a space in its name: see plain().
    TMP = tempfile.mkdtemp(prefix="mb-", dir="/tmp" if " " in tempfile.gettempdir() else None)
    cleanup.callback(_remove, TMP)


def tmp(*names):
    """A path in the temporary directory, its parents made."""
    path = os.path.join(TMP, *names)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def plain(path):
    """The absolute path, or one that leads to the same place if that has a space in it: inetd.conf, unit files and
    LD_PRELOAD take none."""
    path = os.path.abspath(path)
    if not any(c.isspace() for c in path):
        return path
    # The same one in a second run of the file (mbspace), and none that two paths share.
    link = tmp("plain", f"{zlib.crc32(path.encode()):x}", "-".join(os.path.basename(path).split()))
    if not os.path.lexists(link):
        os.symlink(path, link)
    return link


# What is tested, and the source tree.
SRCDIR = plain(os.environ.get("MB_SRCDIR") or os.path.join(os.path.dirname(__file__), "..", ".."))
HANDLE = plain(os.environ.get("MB_HANDLE") or os.path.join(SRCDIR, "build", "mb-handle"))
COMMANDS = os.path.join(SRCDIR, "tests", "integration", "scripts", "commands.lua")  # the handler that most tests drive


def write_file(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def read_file(path):
    """The file's text; empty while there is no file."""
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as f:
            return f.read()
    except FileNotFoundError:
        return ""


def without_ends(log):
    """A log without the lines for a connection's end, which level info has for each (connection_log.py tests them)."""
    return re.sub(r"(?m)^mb-handle: connection from .* bytes out, .*\n", "", log)


_scripts = 0


def script(text):
    """Writes a Lua script of a test's own and returns its path."""
    global _scripts
    _scripts += 1
    return write_file(tmp(f"script{_scripts}.lua"), text)


# --- Processes ---


def output_of(*argv, env=None):
    """What a program prints, on stdout and stderr together."""
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout.decode(errors="backslashreplace").rstrip("\n")


def replay(*args, stdin=b"", **popen):
    """mb-handle with this input in place of a connection: its exit status (returncode), stdout and stderr."""
    return subprocess.run([HANDLE, *args], input=stdin, capture_output=True, timeout=60, check=False, **popen)


def alive(pid):
    """Whether the process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def die_with_parent():
    """In a new child: it gets SIGKILL should the test be killed, which then cleans up nothing itself."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Process:
    """A server of the test's, its output in a log file, ended at the latest when the test ends."""

    def __init__(self, argv, name=None, **popen):
        self.name = name or os.path.basename(argv[0])
        self.log = tmp("log", f"{len(_processes)}-{self.name}")
        with open(self.log, "wb") as log:
            self.popen = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent, **popen
            )
        self.pid = self.popen.pid
        _processes.append(self)
        cleanup.callback(self.stop)

    def text(self):
        return read_file(self.log)

    def stop(self, signum=signal.SIGTERM):
        if self.popen.poll() is None:
            self.popen.send_signal(signum)
            try:
                self.popen.wait(10)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()


class Child:
    """One mb-handle (or what argv says) with exactly the descriptors of fds ({number: file}); all others are closed.
    env holds further variables. With listen_fds, LISTEN_FDS and LISTEN_PID (listen_pid, default the child's own) are set."""

    UNSET = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "JOURNAL_STREAM", "MB_SCRIPT")

    def __init__(self, argv, fds, env=None, listen_fds=None, listen_pid=None):
        environ = {n: v for n, v in os.environ.items() if n not in self.UNSET}
        environ.update(env or {})
        sys.stdout.flush()
        self.status = None
        self.pid = os.fork()
        if self.pid == 0:
            self._exec(argv, fds, environ, listen_fds, listen_pid)
        self.pidfd = os.pidfd_open(self.pid)
        cleanup.callback(self.kill)

    @staticmethod
    def _exec(argv, fds, environ, listen_fds, listen_pid):
        try:
            die_with_parent()
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # python ignores it, and children inherit that
            numbers = {n: f if isinstance(f, int) else f.fileno() for n, f in fds.items()}
            numbers = {n: fcntl.fcntl(f, fcntl.F_DUPFD, 100) for n, f in numbers.items()}
            os.closerange(0, 100)
            for number, fd in numbers.items():
                os.dup2(fd, number)
            os.closerange(100, 4096)
            if listen_fds is not None:
                environ["LISTEN_FDS"] = str(listen_fds)
                environ["LISTEN_PID"] = str(os.getpid() if listen_pid is None else listen_pid)
            os.execve(argv[0], argv, environ)
        finally:
            os._exit(127)

    def wait(self, seconds=DEADLINE):
        """The exit status, or the negative number of the signal that ended it; fails when it does not end."""
        if self.status is None:
            ready, _, _ = select.select([self.pidfd], [], [], seconds)
            check(ready, f"process not ended within {seconds} s")
            self._reap()
        return self.status

    def kill(self, signum=signal.SIGKILL):
        if self.status is None:
            os.kill(self.pid, signum)
            if signum == signal.SIGKILL:
                self._reap()

    def _reap(self):
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.pidfd)


_logs = itertools.count()


class Serving(Child):
    """mb-handle on a connection as systemd hands it over, with its log in a file. The connection stays open here too, as
    it does in the manager, until whoever made it closes it."""

    def __init__(self, conn, *args, env=None):
        self.log_path = tmp("log", f"serving{next(_logs)}")
        with open(self.log_path, "wb") as log, open("/dev/null", "r+b") as null:
            super().__init__([HANDLE, *args], {0: null, 1: null, 2: log, 3: conn}, env, listen_fds=1)

    def log(self):
        return read_file(self.log_path)


# --- Addresses and clients ---

_ports = []  # sockets whose abstract names hold the ports for this process, as a lock other tests respect


def free_port():
    """A TCP port that nobody uses, outside the range of outgoing connections, and that no parallel test will take."""
    for port in range(20000 + os.urandom(2)[0] * 40, 32000):
        holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            holder.bind(f"\0mb-test-port-{port}")
            with socket.socket(socket.AF_INET6) as probe:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("::", port))
        except OSError:
            holder.close()
            continue
        _ports.append(holder)
        return port
    raise Failed("no free port")


def listening(where):
    """Whether someone listens at (HOST, PORT) or on the Unix socket PATH; found without connecting."""
    if isinstance(where, str):
        with open("/proc/net/unix", encoding="utf-8", errors="replace") as f:
            # Num RefCount Protocol Flags Type St Inode Path; flag 10000 is a listener.
            rows = [line.split(maxsplit=7) for line in f]
        return any(row[3] == "00010000" and row[-1].strip() == where for row in rows)
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table, encoding="ascii") as f:
            rows = [line.split() for line in f][1:]
        if any(row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == where[1] for row in rows):
            return True
    return False


def wait_listening(where):
    until(lambda: listening(where), f"a listener at {where}")


class Client:
    """The client's end of a connection to where: (HOST, PORT), a Unix socket's path, or a socket that exists."""

    def __init__(self, where):
        if isinstance(where, socket.socket):
            self.sock = where
        elif isinstance(where, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(where)
        else:
            self.sock = socket.create_connection(where, DEADLINE)
        self.sock.settimeout(DEADLINE)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def finish(self):
        """No more input from the client."""
        self.sock.shutdown(socket.SHUT_WR)

    def receive(self):
        try:
            return self.sock.recv(65536)
        except TimeoutError:
            raise Failed(f"neither data nor an end within {DEADLINE} s, after {short(self.buffer)}") from None

    def line(self):
        """The next line, without its end; what there is when the connection ends first."""
        while b"\n" not in self.buffer:
            chunk = self.receive()
            if not chunk:
                break
            self.buffer += chunk
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode(errors="backslashreplace")

    def end(self):
        """Reads until the connection ends. Returns what came, and "eof" or "reset"."""
        how = "eof"
        try:
            while chunk := self.receive():
                self.buffer += chunk
        except ConnectionResetError:
            how = "reset"
        data, self.buffer = self.buffer, b""
        return data, how

    def reset(self):
        """Ends the connection with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


def answer(where):
    """What comes from where without being asked, and how the connection ends."""
    with Client(where) as client:
        return client.end()


def nobody_answers(where):
    """Fails when somebody listens there."""
    try:
        answer(where)
    except (ConnectionRefusedError, FileNotFoundError):
        return
    raise Failed(f"somebody listens at {where}")


def tcp_pair(family=socket.AF_INET, host="127.0.0.1", client_host=None, dual_stack=False):
    """A TCP connection over loopback: (Client, the server's end as accept returned it)."""
    with socket.socket(family) as listener:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual_stack else 1)
        listener.bind((host, 0))
        listener.listen(1)
        client = Client((client_host or host, listener.getsockname()[1]))
        return client, listener.accept()[0]


def unix_pair(path):
    """A connection over a Unix socket at path: (Client, the server's end)."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        client = Client(path)
        return client, listener.accept()[0]


def local_pair():
    """A local connection without a path."""
    ours, theirs = socket.socketpair()
    return Client(ours), theirs


def unread_pipe():
    """A pipe that is full and that nobody reads: its read end and its write end."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    try:
        while True:
            os.write(write_end, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(write_end, True)
    return read_end, write_end


# --- TAP ---

_tests = []


def test(name, native=None):
    """Decorator: a test of this name. It passes unless it raises. native: why it can only run without valgrind."""

    def add(function):
        if not (native and VALGRIND):
            _tests.append((name, function))
        return function

    return add


def bail(reason):
    """Ends the whole file: skipped, or failed where nothing may be skipped."""
    if STRICT:
        print(f"1..1\nnot ok 1 - {reason} (CI: nothing may be skipped)", flush=True)
        sys.exit(1)
    print(f"1..0 # SKIP {reason}", flush=True)
    sys.exit(0)


def need(*tools):
    """The path of the first tool there is; without one of them the file is skipped, naming the first."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/lib/systemd:/lib/systemd"
    for tool in tools:
        found = tool and shutil.which(tool, path=path)
        if found:
            return found
    return bail(f"tool {tools[0]} missing")


def diagnose(text):
    for line in text.splitlines():
        print(f"# {line}")


def main():
    """Runs the tests in their order and prints the plan."""
    failed = 0
    only = sys.argv[1:]  # by hand: parts of the names of the tests to run
    tests = [t for t in _tests if not only or any(part in t[0] for part in only)]
    for number, (name, function) in enumerate(tests, 1):
        sizes = {p: len(p.text()) for p in _processes}
        try:
            function()
            print(f"ok {number} - {name}", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            print(f"not ok {number} - {name}")
            diagnose(str(error) if isinstance(error, Failed) else traceback.format_exc())
            for process in _processes:
                fresh = process.text()[sizes.get(process, 0) :].splitlines()[-20:]
                diagnose("\n".join(f"{process.name}: {line}" for line in fresh))
            sys.stdout.flush()
    print(f"1..{len(tests)}", flush=True)
    sys.exit(1 if failed else 0)


if not (os.path.exists(HANDLE) and os.stat(HANDLE).st_mode & stat.S_IXUSR):
    bail("the program mb-handle is not built (MB_HANDLE)")
