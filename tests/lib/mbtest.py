"""The harness of the integration tests: TAP, a temporary directory, conditions with a deadline, processes by id.
Must never wait for a time where it can wait for a condition, nor end a process that it did not start."""

import atexit
import contextlib
import ctypes
import fcntl
import functools
import itertools
import mmap
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
_SOURCES = os.environ.get("MB_SRCDIR") or os.path.join(os.path.dirname(__file__), "..", "..")
_PROGRAM = os.environ.get("MB_HANDLE") or os.path.join(_SOURCES, "build", "mb-handle")


def is_sanitized():
    """Returns whether the program was built with AddressSanitizer."""
    try:
        with open(_PROGRAM, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as text:
            return text.find(b"__asan_init") >= 0
    except (OSError, ValueError):
        return False


# With $MB_LEAKS_STEP only some files look for leaks, which takes longer than the program: one of so many, and $MB_TURN
# chooses which. The points of a sweep (mbshim.py) depend on the lower digits of that number, this on the others.
_LEAKS_STEP = int(os.environ.get("MB_LEAKS_STEP") or 1)
_turn = int(os.environ.get("MB_TURN") or 0) // int(os.environ.get("MB_SWEEP_STEP") or 1)


def without_leaks():
    """No program looks for leaks. One in a sandbox cannot: a process that traces it would have to do that."""
    os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"


if (_turn + zlib.crc32(os.path.basename(sys.argv[0]).encode())) % _LEAKS_STEP:
    without_leaks()

# Everything may take so many times longer than on an idle machine. MB_LOAD: how many tests run on each processor.
# Every upper bound on time is multiplied by it; a lower one never is.
SLOWNESS = float(os.environ.get("MB_LOAD") or 1) * (4 if VALGRIND else 2 if is_sanitized() else 1)
# After so many seconds a condition that has not come true fails its test. All of them take far less.
DEADLINE = 15 * SLOWNESS
# After so many seconds a whole run of a program that has not ended fails its test.
RUN_MAX = 60 * SLOWNESS


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
    """Calls condition until it returns something true, and returns that. Fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(0.005)


def within(limit, what, measure, attempts=5, early=None):
    """Checks a delay that a busy machine may stretch: compares the best of some attempts with the limit (seconds on an
    idle machine). measure() makes one attempt and returns its delay. It checks by itself what must hold for every
    attempt. early: the delay may be negative by so many seconds, on any machine; None: by any number."""
    limit *= SLOWNESS
    delays = []
    for _ in range(attempts):
        delays.append(measure())
        if delays[-1] <= limit and (early is None or delays[-1] >= -early):
            return
    best = min(delays, key=abs)
    raise Failed(f"{what}: {best * 1000:.0f} ms at best of {attempts}, expected at most {limit * 1000:.0f} ms")


# --- Cleaning up: what was started last ends first ---

cleanup = contextlib.ExitStack()
_processes = []


def _end(signum, _frame):
    sys.exit(128 + signum)


def _remove(path):
    """Removes a directory. Tries it again for a while, since processes that were killed may not be gone yet."""
    deadline = time.monotonic() + DEADLINE
    while os.path.exists(path) and time.monotonic() < deadline:
        shutil.rmtree(path, ignore_errors=True)


atexit.register(cleanup.close)
for _signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(_signum, _end)
# A second run of the same file (mbspace) works in the directory of the first, which removes it.
TMP = os.environ.get("MB_TEST_TMP")
if not TMP:
    # A $TMPDIR with a space in its name will not do: see plain().
    TMP = tempfile.mkdtemp(prefix="mb-", dir="/tmp" if " " in tempfile.gettempdir() else None)
    cleanup.callback(_remove, TMP)


def tmp(*names):
    """Returns a path in the temporary directory, and makes its parents."""
    path = os.path.join(TMP, *names)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def plain(path):
    """Returns the absolute path; if that has a space in it, another path to the same place. A path in inetd.conf, unit
    files or LD_PRELOAD must not have one."""
    path = os.path.abspath(path)
    if not any(c.isspace() for c in path):
        return path
    # The name is the same in a second run of the file (mbspace), and no other path has it.
    link = tmp("plain", f"{zlib.crc32(path.encode()):x}", "-".join(os.path.basename(path).split()))
    if not os.path.lexists(link):
        os.symlink(path, link)
    return link


# The program under test, and the source tree.
SRCDIR = plain(_SOURCES)
HANDLE = plain(_PROGRAM)

# mb-handle, the shared program, when the tests run mb-handle-static, too; and the one that the units of a script have
# that loads no module in C. AddressSanitizer's build has no static one.
SHARED = HANDLE.removesuffix("-static")
CHOSEN = SHARED + "-static" if os.access(SHARED + "-static", os.X_OK) else SHARED
COMMANDS = os.path.join(SRCDIR, "tests", "integration", "scripts", "commands.lua")  # the handler that most tests drive


def write_file(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def read_file(path):
    """Returns the text of the file; an empty one while there is no file."""
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as f:
            return f.read()
    except FileNotFoundError:
        return ""


def without_ends(log):
    """Returns a log without the lines for the end of each connection, which level info has (connection_log.py tests
    them)."""
    return re.sub(r"(?m)^mb-handle: connection from .* bytes out, .*\n", "", log)


_scripts = 0


def script(text):
    """Writes a Lua script for a test and returns its path."""
    global _scripts
    _scripts += 1
    return write_file(tmp(f"script{_scripts}.lua"), text)


# --- Processes ---


def output_of(*argv, env=None):
    """Runs a program. Returns what it prints on stdout and stderr together."""
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout.decode(errors="backslashreplace").rstrip("\n")


def replay(*args, stdin=b"", **popen):
    """mb-handle with this input in place of a connection: its exit status (returncode), stdout and stderr."""
    return subprocess.run([HANDLE, *args], input=stdin, capture_output=True, timeout=RUN_MAX, check=False, **popen)


def without_sandboxes(text):
    """What --check has printed, without the lines about sandboxes, which tests/integration/sandbox.py looks at, and about
    the program, which tests/integration/static.py looks at."""
    others = (b"    ", b"program: ") if isinstance(text, bytes) else ("    ", "program: ")
    return text[:0].join(line for line in text.splitlines(keepends=True) if not line.startswith(others))


def alive(pid):
    """Returns whether the process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def die_with_parent():
    """Runs in a new child. The child gets SIGKILL when the test is killed, as the test cannot clean up then."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Process:
    """A server of the test. A log file takes its output. It is ended when the test ends, if not before."""

    def __init__(self, argv, name=None, stdin=subprocess.DEVNULL, **popen):
        self.name = name or os.path.basename(argv[0])
        self.log = tmp("log", f"{len(_processes)}-{self.name}")
        with open(self.log, "wb") as log:
            self.popen = subprocess.Popen(
                argv, stdin=stdin, stdout=log, stderr=log, preexec_fn=die_with_parent, **popen
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
                self.popen.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()


# A test's children must not have what its parent has left open: make's pipes.
for _fd in map(int, os.listdir("/proc/self/fd")):
    with contextlib.suppress(OSError):  # that of the directory is closed
        os.set_inheritable(_fd, _fd < 3)


@functools.cache
def launcher():
    """The program launch.c, which $MB_LAUNCH names; compiled here when it does not, by hand."""
    path = os.environ.get("MB_LAUNCH") or tmp("launch")
    if not os.path.exists(path):
        said = output_of(need("cc", "gcc", "clang"), "-O2", "-static", "-o", path, f"{SRCDIR}/tests/lib/launch.c")
        check(os.path.exists(path), f"launch.c is compiled: {said}")
    return path


class Child:
    """One mb-handle (or the program of argv) that has exactly the descriptors of fds ({number: file}). env has further
    variables. With listen_fds, LISTEN_FDS and LISTEN_PID are set; listen_pid is the child's own by default."""

    UNSET = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "JOURNAL_STREAM", "MB_SCRIPT")

    def __init__(self, argv, fds, env=None, listen_fds=None, listen_pid=None):
        environ = {n: v for n, v in os.environ.items() if n not in self.UNSET}
        environ.update(env or {})
        listen = ["", ""] if listen_fds is None else [str(listen_fds), str(listen_pid or "self")]
        sys.stdout.flush()
        self.status = None
        with contextlib.ExitStack() as copies:
            # The copies have higher numbers than the child's own: no number is taken before its file was copied.
            high = {n: fcntl.fcntl(f, fcntl.F_DUPFD_CLOEXEC, 100) for n, f in fds.items()}
            for fd in high.values():
                copies.callback(os.close, fd)
            actions = [(os.POSIX_SPAWN_CLOSE, fd) for fd in {0, 1, 2} - fds.keys()]
            actions += [(os.POSIX_SPAWN_DUP2, fd, n) for n, fd in high.items()]
            # Python ignores SIGPIPE, and children inherit that.
            self.pid = os.posix_spawn(
                launcher(), ["launch", *listen, *argv], environ, file_actions=actions, setsigdef=[signal.SIGPIPE]
            )
        self.pidfd = os.pidfd_open(self.pid)
        cleanup.callback(self.kill)

    def wait(self, seconds=DEADLINE):
        """Returns the exit status, or the negative number of the signal that ended it. Fails when it does not end."""
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

_ports = []  # sockets whose abstract names reserve the ports for this process; other tests respect that


def free_port():
    """Returns a TCP port that nobody uses and no parallel test will take, outside the range of outgoing connections."""
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
    """Returns whether somebody listens at (HOST, PORT) or on the Unix socket PATH. Finds it out without connecting."""
    if isinstance(where, str):
        with open("/proc/net/unix", encoding="utf-8", errors="replace") as f:
            # The columns are Num RefCount Protocol Flags Type St Inode Path. A listener has the flag 10000. A path that
            # another test has bound may have the end of a line in it.
            rows = [line.split(maxsplit=7) for line in f]
        return any(len(row) == 8 and row[3] == "00010000" and row[7].strip() == where for row in rows)
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
        """Ends the output of the client."""
        self.sock.shutdown(socket.SHUT_WR)

    def receive(self):
        try:
            return self.sock.recv(65536)
        except TimeoutError:
            raise Failed(f"neither data nor an end within {DEADLINE} s, after {short(self.buffer)}") from None

    def line(self):
        """Returns the next line without its end; when the connection ends first, the part of it that came."""
        while b"\n" not in self.buffer:
            chunk = self.receive()
            if not chunk:
                break
            self.buffer += chunk
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode(errors="backslashreplace")

    def end(self):
        """Reads until the connection ends. Returns the bytes that came, and "eof" or "reset"."""
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
    """Connects and sends nothing. Returns the bytes that come, and how the connection ends."""
    with Client(where) as client:
        return client.end()


def nobody_answers(where):
    """Checks that nobody listens there."""
    try:
        answer(where)
    except (ConnectionRefusedError, FileNotFoundError):
        return
    raise Failed(f"somebody listens at {where}")


def tcp_pair(family=socket.AF_INET, host="127.0.0.1", client_host=None, dual_stack=False):
    """Makes a TCP connection over loopback. Returns (Client, the server's end as accept returned it)."""
    with socket.socket(family) as listener:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual_stack else 1)
        listener.bind((host, 0))
        listener.listen(1)
        client = Client((client_host or host, listener.getsockname()[1]))
        return client, listener.accept()[0]


def unix_pair(path):
    """Makes a connection over a Unix socket at path. Returns (Client, the server's end)."""
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
    """Decorator: makes a test of this name, which passes unless it raises. native: why it cannot run under valgrind."""

    def add(function):
        if not (native and VALGRIND):
            _tests.append((name, function))
        return function

    return add


def bail(reason):
    """Ends the whole file: skips it, or fails where nothing may be skipped."""
    if STRICT:
        print(f"1..1\nnot ok 1 - {reason} (CI: nothing may be skipped)", flush=True)
        sys.exit(1)
    print(f"1..0 # SKIP {reason}", flush=True)
    sys.exit(0)


def need(*tools):
    """Returns the path of the first tool that is installed. If none is, skips the file, naming the first tool."""
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
    only = sys.argv[1:]  # given by hand: parts of the names of the tests to run
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
