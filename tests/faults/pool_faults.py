#!/usr/bin/python3
"""System calls that fail in a pool: processes that cannot be made, connections that cannot be accepted, and each other call
once. Nothing spins, nothing is left, and what passes is waited out. faultio.c is the shim."""

import contextlib
import itertools
import os
import socket
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbpool
import mbshim
import mbtest
from faultlib import SHIM
from mbpool import Pool
from mbtest import check, equal, script, test, until

SPIN_SECONDS = 0.5  # of processor time within the two seconds of a fault that lasts
CALLS = 90  # so many calls a pool makes until it has served, and some more
TICK = os.sysconf("SC_CLK_TCK")
HELLO = script(
    "listen{pre_fork=1, min_fork=2, max_fork=4, fork_error_delay=0.2, "
    'connect = function(socket) socket:write("hello") return true end}\n'
)


def faulty(rules, *args, path=HELLO):
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "FAULTIO")}
    return Pool(path, *args, env=env | mbshim.preloaded(SHIM, FAULTIO=rules))


def ask(pool, seconds=mbtest.DEADLINE):
    """Returns what the pool answers; None when it refuses or resets."""
    with contextlib.suppress(OSError), socket.create_connection(pool.where, seconds) as sock:
        sock.settimeout(seconds)
        got = b""
        while chunk := sock.recv(100):
            got += chunk
        return got
    return None


def processes(pool):
    return [pool.pid, *pool.generations(), *pool.workers()]


def seconds_of(pids):
    """Processor time, in seconds, of those that still run."""
    fields = filter(None, map(mbpool.status_of, pids))
    return sum(int(f[11]) + int(f[12]) for f in fields) / TICK


def ends(pool):
    pids = processes(pool)
    pool.stop()
    until(lambda: not any(mbpool.status_of(pid) for pid in pids), f"nothing is left; log: {pool.text()}")


@test("accept: clients that go, and networks that are down, are passed over")
def _():
    for name in ("ECONNABORTED", "EPROTO", "EINTR", "ENETDOWN"):
        pool = faulty(f"accept4 {name} storm=2").ready()
        equal([ask(pool) for _ in range(20)], [b"hello"] * 20, name)
        ends(pool)
        check("accept" not in pool.text(), f"nothing in the log: {pool.text()}")


@test("accept: no descriptors, no memory: waited out without spinning, and logged once by a process")
def _():
    for name in ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"):
        pool = faulty(f"accept4 {name} storm=3").ready()
        equal([ask(pool) for _ in range(4)], [b"hello"] * 4, name)
        ends(pool)
    # A pool that ends tries to serve what waits in its socket, until the grace is over.
    pool = faulty("accept4 EMFILE from=1", "--grace=1").ready()
    with socket.create_connection(pool.where):
        pids = processes(pool)
        before = seconds_of(pids)
        time.sleep(2)
        used = seconds_of(pids) - before
    check(used < SPIN_SECONDS, f"{used} s of processor time")
    check(1 <= pool.text().count("cannot accept a connection: Too many open files") <= 2, pool.text())
    ends(pool)


@test("fork: no process can be made: tried again after fork_error_delay, logged once")
def _():
    for name in ("EAGAIN", "ENOMEM"):
        pool = faulty(f"fork {name} once=2").ready()  # the first makes the process that loads the script
        equal(ask(pool), b"hello", name)
        equal(pool.text().count("cannot make a process"), 1, pool.text())
        ends(pool)
    pool = faulty("fork EAGAIN from=3").ready()
    equal([ask(pool) for _ in range(5)], [b"hello"] * 5, "one process serves all")
    pids = processes(pool)
    before = seconds_of(pids)
    time.sleep(2)
    used = seconds_of(pids) - before
    check(used < SPIN_SECONDS, f"{used} s of processor time")
    equal(pool.text().count("cannot make a process"), 1, pool.text())
    ends(pool)
    pool = faulty("fork EAGAIN once=1").ready()  # the first process tries again, too
    equal(ask(pool), b"hello", "after the first process's own failure")
    ends(pool)


@test("each other call fails once: the pool serves, or it ends and says why")
def _():
    served = 0
    for name in ("EMFILE", "ENOMEM", "EINTR"):
        for n in itertools.takewhile(lambda n: n <= CALLS, mbshim.points(1)):
            pool = faulty(f"any {name} once={n}")
            until(lambda pool=pool: "listening on" in pool.text() or pool.popen.poll() is not None, f"{name} {n}")
            if pool.popen.poll() is None:
                # A client may meet the fault itself; the next one does not.
                answers = [ask(pool) for _ in range(3)]
                check(answers.count(b"hello") >= 1, f"{name} at call {n}: {answers}; log: {pool.text()}")
                served += 1
                ends(pool)
            else:
                check(pool.popen.returncode in (64, 66, 70, 71, 78), f"{name} at call {n}: {pool.popen.returncode}")
                check(pool.text(), f"{name} at call {n}: it says why")
    check(served > 0, "some serve")


mbtest.main()
