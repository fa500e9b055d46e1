#!/usr/bin/python3
"""The end of a pool that listens by itself (--serve): who waits to be accepted is served, others are refused, and the
address is free for another pool before the last connection has ended."""

import os
import signal
import socket
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import HANDLE, Client, check, equal, test, until

WAITING = 40
# Each connection ends its process, or not. "hold" makes it wait for a line.
SCRIPT = """
listen{{
  {listener},
  pre_fork = 1, min_fork = 1, max_fork = {most},
  connect = function(socket)
    local line = socket:read(100, "\\n")
    if line == "hold\\n" then
      socket:write("held\\n")
      socket:flush()
      line = socket:read(100, "\\n")
    end
    socket:write("{name} ", line or "")
    return {more}
  end
}}
"""


class Pool:
    def __init__(self, where, more, name="it", most=1):
        self.where = where
        if isinstance(where, str):
            listener = f'{{proto = "local", path = "{where}"}}'
        else:
            listener = f'{{proto = "tcp", host = "{where[0]}", port = {where[1]}}}'
        script = mbtest.script(SCRIPT.format(listener=listener, more=more, name=name, most=most))
        self.process = mbtest.Process([HANDLE, "--serve", script])
        until(lambda: "listening on" in self.process.text(), "the pool serves")

    def crowd(self):
        """A connection that is being served, and those that wait, with their input."""
        holder = Client(self.where)
        holder.send("hold\n")
        equal(holder.line(), "held", "the first answer")
        waiting = [Client(self.where) for _ in range(WAITING)]
        for number, client in enumerate(waiting):
            client.send(f"{number}\n")
        return holder, waiting

    def signal(self, number=signal.SIGTERM):
        self.process.popen.send_signal(number)


def refused(where):
    """Returns whether a client is refused now, or when it tries again by itself."""
    with socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET) as client:
        client.settimeout(mbtest.DEADLINE)
        try:
            client.connect(where)
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        return False


def serves_waiting(where, more, number=signal.SIGTERM):
    pool = Pool(where, more)
    holder, waiting = pool.crowd()
    with holder:
        pool.signal(number)
        if isinstance(where, str):
            until(lambda: refused(where), "another client is refused while those who came before it wait")
        holder.send("over\n")
        equal(holder.end(), (b"it over\n", "eof"), "the connection that was being served")
    for n, client in enumerate(waiting):
        with client:
            equal(client.end(), (f"it {n}\n".encode(), "eof"), f"connection {n} that waited")
    equal(pool.process.popen.wait(mbtest.DEADLINE), 0 if number == signal.SIGTERM else -number, "exit status")
    until(lambda: refused(where), "nobody listens any more")
    return pool


for address, title in ((("127.0.0.1", mbtest.free_port()), "TCP"), (mbtest.tmp("waiting.sock"), "Unix")):
    for goes_on in ("true", "false"):

        @test(f"{title}: SIGTERM: all {WAITING} connections that wait are served, by processes that go on ({goes_on})")
        def _(address=address, goes_on=goes_on):
            serves_waiting(address, goes_on)

    @test(f"{title}: the first process is killed: the others serve those that wait, and end")
    def _(address=address):
        pool = serves_waiting(address, "false", signal.SIGKILL)
        equal(pool.process.text().count("cannot"), 0, "what could not be done")

    @test(f"{title}: another pool has the address while the last connection of the one before goes on")
    def _(address=address):
        pool = Pool(address, "true", most=2)  # one for those who are not refused yet
        with Client(address) as holder:
            holder.send("hold\n")
            equal(holder.line(), "held", "the first answer")
            pool.signal()
            until(lambda: refused(address), "nobody listens any more")
            after = Pool(address, "true", "another")
            holder.send("over\n")
            equal(holder.end(), (b"it over\n", "eof"), "the last connection")
        equal(pool.process.popen.wait(mbtest.DEADLINE), 0, "exit status")
        with Client(address) as client:
            client.send("x\n")
            client.finish()
            equal(client.end(), (b"another x\n", "eof"), "answer of the other pool")
        after.signal()
        equal(after.process.popen.wait(mbtest.DEADLINE), 0, "exit status of the other pool")
        check(not isinstance(address, str) or not os.path.exists(address), "the socket's file is removed")


@test("a pool that has nothing to do ends within a second")
def _():
    for where in (("127.0.0.1", mbtest.free_port()), mbtest.tmp("idle.sock")):
        pool = Pool(where, "true")
        began = time.monotonic()
        pool.signal()
        equal(pool.process.popen.wait(mbtest.DEADLINE), 0, "exit status")
        check(time.monotonic() - began < 1 * mbtest.SLOWNESS, "time")


@test("after SIGHUP those that wait are served by the script that is loaded anew, and none is lost")
def _():
    for where in (("127.0.0.1", mbtest.free_port()), mbtest.tmp("reload.sock")):
        pool = Pool(where, "false")
        holder, waiting = pool.crowd()
        with holder:
            pool.signal(signal.SIGHUP)
            for n, client in enumerate(waiting):
                with client:
                    equal(client.end(), (f"it {n}\n".encode(), "eof"), f"connection {n} that waited")
            holder.send("over\n")
            equal(holder.end(), (b"it over\n", "eof"), "the connection that was being served")
        pool.signal()
        equal(pool.process.popen.wait(mbtest.DEADLINE), 0, "exit status")


mbtest.main()
