#!/usr/bin/python3
"""A pool under load that meets everything at once: clients that go in the middle, processes that are killed, a reload each
second. Whoever was accepted, and neither aborted nor killed, gets the whole answer; nothing grows."""

import contextlib
import os
import random
import select
import signal
import socket
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbpool
import mbtest
from mbpool import Pool
from mbtest import check, equal, script, test, until

# Under valgrind or sanitizers each connection takes long: fewer of them.
CONNECTIONS = 20000 if mbtest.SLOWNESS <= 2 and not mbtest.is_sanitized() else 2000
FIRST = CONNECTIONS // 10
AT_ONCE = 64
MAX_FORK = 40
SIZE = 30000  # more than a segment: an answer that is cut off shows
BODY = f"""local body = ("x"):rep({SIZE})
local pid = require("moonbridge_io").getpid()
listen{{pre_fork=4, min_fork=8, max_fork={MAX_FORK}, fork_delay=0.01, fork_error_delay=0.01, exit_delay=0.1,
  prepare = function() pid = require("moonbridge_io").getpid() end,
  connect = function(socket)
    local served = socket:read(100, "\\n")
    socket:flush(pid, "\\n")
    if served == "slow\\n" then require("moonbridge_io").poll(nil, nil, 0.05) end
    socket:write(body, ".\\n")
    return served ~= "end\\n"
  end}}
"""
random.seed(int(os.environ.get("MB_TURN") or 1))


class Load:
    """So many connections, AT_ONCE at a time. Each sends a line, and expects a line with a process id, and SIZE bytes."""

    def __init__(self, where, killed, aborts):
        self.where, self.killed, self.aborts = where, killed, aborts
        self.epoll, self.open = select.epoll(), {}
        self.whole = self.aborted = self.of_killed = self.unknown = 0
        self.failed = []

    def begin(self):
        sock = socket.create_connection(self.where, mbtest.DEADLINE)
        sock.sendall(b"slow\n" if random.random() < 0.02 else random.choice((b"on\n", b"on\n", b"end\n")))
        limit = random.randrange(SIZE) if self.aborts and random.random() < 0.05 else None
        self.open[sock.fileno()] = [sock, b"", limit, time.monotonic()]
        self.epoll.register(sock.fileno(), select.EPOLLIN)

    def end(self, fd, how):
        sock, got, _, _ = self.open.pop(fd)
        self.epoll.unregister(fd)
        if how == "abort":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.aborted += 1
        elif how == "eof" and got.endswith(b".\n") and len(got.partition(b"\n")[2]) == SIZE + 2:
            self.whole += 1
        elif b"\n" not in got:
            self.unknown += 1  # a process that was killed before it said who it was
        elif int(got.partition(b"\n")[0]) in self.killed:
            self.of_killed += 1
        else:
            self.failed.append((how, len(got), got[:20]))
        sock.close()

    def step(self):
        for fd, _ in self.epoll.poll(1):
            entry = self.open[fd]
            try:
                data = entry[0].recv(65536)
            except ConnectionResetError:
                self.end(fd, "reset")
                continue
            entry[1] += data
            if not data:
                self.end(fd, "eof")
            elif entry[2] is not None and len(entry[1]) >= entry[2]:
                self.end(fd, "abort")
        late = [fd for fd, entry in self.open.items() if time.monotonic() - entry[3] > mbtest.DEADLINE]
        check(not late, f"{len(late)} connections without an answer")

    def run(self, count, beside):
        begun = 0
        while begun < count or self.open:
            while begun < count and len(self.open) < AT_ONCE:
                self.begin()
                begun += 1
            self.step()
            beside()


def killer(pool, load, killed, pause):
    """Returns a function that kills a process of the pool now and then: each second time one that is in an answer."""
    next_at, most, turns = [time.monotonic()], [0], [0]

    def now():
        if time.monotonic() < next_at[0]:
            return
        next_at[0] = time.monotonic() + pause
        for generation in pool.generations():
            workers = mbpool.children_of(generation)
            most[0] = max(most[0], len(workers))
            turns[0] += 1
            busy = [int(e[1].partition(b"\n")[0]) for e in load.open.values() if b"\n" in e[1]]
            pid = random.choice((busy if turns[0] % 2 else workers) or workers or [0])
            if pid in workers:
                killed.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    return now, most


def judge(load, count, killed, most):
    mbtest.diagnose(
        f"{count} connections: {load.whole} whole, {load.aborted} aborted, {load.of_killed} and {load.unknown} of "
        f"{len(killed)} killed processes, at most {most} processes"
    )
    equal(load.failed, [], "connections that failed for no reason")
    equal(load.whole + load.aborted + load.of_killed + load.unknown, count, "all of them")
    check(load.of_killed + load.unknown <= len(killed), "no more are lost than processes were killed")
    check(load.aborted > 0 and load.of_killed + load.unknown > 0 and load.whole > 0.8 * count, "most are whole")
    check(most <= MAX_FORK, f"max_fork: {most}")


def same(before, after, what):
    check(after <= before * 1.05, f"{what}: {before}, then {after}")


@test("20,000 connections, some aborted, with processes killed: whole answers, and nothing grows")
def _():
    pool = Pool(script(BODY)).ready()
    killed = set()
    load = Load(pool.where, killed, True)
    kill, most = killer(pool, load, killed, 0.02)
    load.run(FIRST, kill)
    processes = (pool.pid, pool.generation())
    first = [(mbpool.rss(pid), mbpool.descriptors(pid)) for pid in processes]
    load.run(CONNECTIONS - FIRST, kill)
    last = [(mbpool.rss(pid), mbpool.descriptors(pid)) for pid in processes]
    judge(load, CONNECTIONS, killed, most[0])
    for name, before, after in zip(("the first process", "the process that loaded"), first, last):
        same(before[0], after[0], f"memory of {name} in KiB")
        equal(after[1], before[1], f"descriptors of {name}")
    pids = [*processes, *pool.workers()]
    pool.stop()
    equal(pool.popen.returncode, 0, "status")
    equal([pid for pid in pids if mbpool.status_of(pid)], [], "processes that are left")


@test("the same with a reload each second: nothing is lost, and the first process does not grow")
def _():
    pool = Pool(script(BODY)).ready()
    held = mbpool.descriptors(pool.pid)
    killed = set()
    load = Load(pool.where, killed, True)
    kill, most = killer(pool, load, killed, 0.03)
    reload_at, reloads = [time.monotonic() + 0.3], [0]

    def beside():
        kill()
        if time.monotonic() >= reload_at[0]:
            reload_at[0] = time.monotonic() + 1
            reloads[0] += 1
            os.kill(pool.pid, signal.SIGHUP)

    load.run(FIRST, beside)
    # A load that still runs has a descriptor, also when its process cannot be seen yet.
    until(lambda: len(pool.generations()) == 1 and mbpool.descriptors(pool.pid) == held, "one generation")
    before = mbpool.rss(pool.pid)
    load.run(CONNECTIONS - FIRST, beside)
    until(lambda: len(pool.generations()) == 1 and mbpool.descriptors(pool.pid) == held, "one generation")
    after = mbpool.rss(pool.pid)
    judge(load, CONNECTIONS, killed, most[0])
    until(lambda: pool.text().count("loaded anew") >= reloads[0] - 1, f"{reloads[0]} reloads")
    same(before, after, "memory of the first process in KiB")
    pool.stop()
    equal(pool.popen.returncode, 0, "status")


mbtest.main()
