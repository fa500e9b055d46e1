"""What the tests of failing system calls share: runs of mb-handle under the shim faultio.c, whose head says how it is told
what to do, and how they end. $MB_FAULTIO is its shared object."""

import contextlib
import ctypes
import itertools
import os
import resource
import select
import signal
import threading

import mbshim
import mbtest
from mbshim import LOG
from mbtest import DEADLINE, HANDLE, Child, Failed, check, equal, tcp_pair, unix_pair

CPU_MAX = 20  # seconds that a process may compute: one that goes round and round is ended then
POINTS_MAX = 2000  # a sweep that is longer hangs in a loop of its own
SHIM = mbshim.shim("faults/faultio.c", "MB_FAULTIO", "-lrt")

# Whoever loses its parent becomes a child of the test's: what a handler has left behind is seen.
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER

# --- Runs ---


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def environment(rules="", **more):
    return mbshim.preloaded(SHIM, FAULTIO=rules) | {name: str(value) for name, value in more.items()}


def start(argv, fds, env):
    """mb-handle with its log in LOG, and a limit to what it computes."""
    with open(LOG, "wb") as log, open("/dev/null", "r+b") as null:
        child = Child(argv, {0: null, 1: null, 2: log} | fds, env, listen_fds=1 if 3 in fds else None)
    resource.prlimit(child.pid, resource.RLIMIT_CPU, (CPU_MAX, CPU_MAX + 1))
    return child


def no_orphans():
    """Fails when the processes that have ended left one behind. It is killed, so as not to disturb the tests that follow."""
    with contextlib.suppress(ChildProcessError):
        pid, _ = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            with open("/proc/thread-self/children", encoding="ascii") as f:
                for left in f.read().split():
                    os.kill(int(left), signal.SIGKILL)
                    os.waitpid(int(left), 0)
        raise Failed(f"a child was left behind; log: {mbtest.read_file(LOG)}")


def outcome(child, want=0, log=""):
    """Checks how a process ends; log is a part of what it has to log, or "" for nothing at all."""
    try:
        status = child.wait()
    except Failed as failed:
        child.kill()
        raise Failed(f"{failed}; log: {mbtest.read_file(LOG)[-2000:]}") from None
    text = mbtest.read_file(LOG)
    equal(status, want, f"exit status; log: {text[-2000:]}")
    check(log in text if log else text == "", f"{log!r} in the log: {text[-2000:]!r}")
    no_orphans()


def exchange(client, data):
    """Sends all of data and reads to the end at the same time. Returns what came, and how it ended."""
    sock, came, sent = client.sock, [], 0
    sock.setblocking(False)
    view = memoryview(data)
    while True:
        readable, writable, _ = select.select([sock], [sock] if sent < len(data) else [], [], DEADLINE)
        got = sum(map(len, came))
        check(readable or writable, f"neither data nor an end within {DEADLINE} s; sent {sent}, got {got} bytes")
        try:
            if writable:
                sent += sock.send(view[sent : sent + 65536])
                if sent == len(data):
                    with contextlib.suppress(OSError):  # lost already: reading will tell
                        client.finish()
            if readable:
                chunk = sock.recv(65536)
                if not chunk:
                    return b"".join(came), "eof"
                came.append(chunk)
        except BlockingIOError:
            pass
        except (ConnectionResetError, BrokenPipeError):
            return b"".join(came), "reset"


def socket_pair():
    return unix_pair(mbtest.tmp(f"socket{next(_numbers)}"))


_numbers = itertools.count()


def over(pair, numbers):
    """A run over a connection, which is handed over with these numbers: function(argv, data, env) that returns the child,
    what came, and how it ended. What `beside` makes of the child is a context that is there meanwhile."""

    def run(argv, data, env, beside=contextlib.nullcontext):
        client, conn = pair()
        with client, conn:
            child = start(argv, {number: conn for number in numbers}, env)
            conn.close()
            try:
                with beside(child):
                    return child, *exchange(client, data)
            except BaseException:
                child.kill()
                raise

    return run


def replay(argv, data, env, _beside=None):
    """A run from a pipe to a pipe."""
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()
    child = start(argv, {0: in_read, 1: out_write}, env)
    os.close(in_read)
    os.close(out_write)

    def feed():
        with contextlib.suppress(BrokenPipeError), open(in_write, "wb") as f:
            f.write(data)

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    with open(out_read, "rb") as f:
        came = f.read()
    feeder.join(DEADLINE)
    return child, came, "eof"


# As systemd does it, and as inetd does it, but that the log is elsewhere.
TRANSPORTS = {"TCP": over(tcp_pair, (3,)), "Unix socket": over(socket_pair, (0, 1)), "replay": replay}


def log_text():
    return mbtest.without_ends(mbtest.read_file(LOG))


def conversation(transport, app, rules, sent, **more):
    """(status, what came, how it ended) of a run of a script, which is told the rules, with a client that sends all of sent.
    Fails when it hangs, leaves a process behind, or computes without an end. more: variables of its environment."""
    before = cpu_seconds()
    child, came, how = TRANSPORTS[transport]([HANDLE, "--log-level", "info", app, rules], sent, environment(**more))
    try:
        status = child.wait()
    except Failed:
        child.kill()
        raise Failed(f"hangs; log: {log_text()[-2000:]}") from None
    no_orphans()
    worked = cpu_seconds() - before
    check(worked < CPU_MAX / 2, f"{worked} s of computing")
    return status, came, how
