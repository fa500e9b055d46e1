"""Tests that every host must pass with the same handler (commands.lua). Each function is the body of a test."""

import concurrent.futures
import os
import time

from mbtest import COMMANDS, Client, alive, check, equal, test, until, within


def echo(where, size=1 << 20):
    """Binary data of this size comes back unchanged."""
    data = os.urandom(size)
    with Client(where) as client:
        client.send(b"echo\n")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            sending = pool.submit(lambda: (client.send(data), client.finish()))
            got, how = client.end()
            sending.result()
    equal(how, "eof", "end of the connection")
    check(got == data, f"echo of {size} bytes: got {len(got)} bytes, or other ones")


def line(where, text="hello"):
    with Client(where) as client:
        client.send(f"line\n{text}\n")
        equal(client.end(), (f"you said: {text}\n".encode(), "eof"), "answer")


def addresses(where):
    """The handler sees the addresses that the client's socket has."""
    with Client(where) as client:
        client.send("addresses\n")
        host, port = client.sock.getsockname()
        got = client.end()[0].decode().splitlines()
    mapped = "0" * 20 + "ffff" + bytes(int(n) for n in host.split(".")).hex()
    for want in (f"local_ip4 {host}", f"remote_ip4 {host}", f"local_tcpport {where[1]}", f"remote_tcpport {port}"):
        check(want in got, f"{want!r} in {got}")
    check(f"local_ip6 {mapped}" in got or "local_ip6 -" in got, f"local_ip6 of {host} in {got}")


def environment(where):
    """Neither the script nor its children see how the connection was handed over."""
    with Client(where) as client:
        client.send("environment\n")
        got = client.end()[0].decode().splitlines()
    names = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    equal(got, [f"script {name} nil" for name in names] + ["child none"], "environment")


def directory(where, want):
    """The handler works in this directory, and finds a file beside the script by script_path."""
    with Client(where) as client:
        client.send("directory\n")
        got = client.end()[0].decode().splitlines()
    with open(COMMANDS, encoding="utf-8") as f:
        equal(got, [os.path.realpath(want), f.readline().rstrip("\n")], "directory, and the first line of the script")


def many(where, count, at_a_time):
    """Every connection gets its own text back, byte for byte, when several are open at a time."""

    def one(number):
        text = f"connection {number} " + "x" * (number * 37 % 5000)
        with Client(where) as client:
            client.send(f"line\n{text}\n")
            return client.end() == (f"you said: {text}\n".encode(), "eof")

    with concurrent.futures.ThreadPoolExecutor(at_a_time) as pool:
        wrong = [n for n, right in enumerate(pool.map(one, range(count))) if not right]
    equal(wrong, [], f"wrongly answered of {count} connections")


def ends_early(where, method, want):
    """The client sees the end within 100 ms, although the process works for another 2 s."""

    def measure():
        with Client(where) as client:
            client.send(method + "\n")
            pid = int(client.line())
            start = time.monotonic()
            client.send("go\n")
            got = client.end()
            delay = time.monotonic() - start
            check(alive(pid), f"the process ended {delay * 1000:.0f} ms after {method}, before the client looked")
            equal(got, want, f"what the client saw of {method}")
            return delay

    within(0.1, f"from socket:{method}() to what the client sees", measure)


def timeout(where, seconds=0.3):
    """The client sees a reset within 50 ms of the moment that timeout() names."""

    def measure():
        with Client(where) as client:
            client.send(f"timeout\n{seconds}\n")
            equal(client.line(), "armed", "answer")
            start = time.monotonic()
            equal(client.end(), (b"", "reset"), "end of the connection")
            late = time.monotonic() - start - seconds
            # The line is sent before the timer is set, so the reset cannot come early. But we may read the line late.
            check(late > -seconds, "the reset comes before the timer was set")
            return late

    within(0.05, f"reset after timeout({seconds})", measure, early=0.05)


def children(where):
    """What a handler has started with end_with_script, or by setpriv, is gone after timeout()."""
    with Client(where) as client:
        client.send("children\n")
        pids = [int(word) for word in client.line().split()]
        equal(len(pids), 3, "processes")
        equal(client.end(), (b"", "reset"), "end of the connection")
    until(lambda: not any(alive(pid) for pid in pids), f"{pids} are gone")


def output(where, log, mark):
    """Everything that a handler prints is in the log, and the client gets nothing of it."""
    with Client(where) as client:
        client.send(f"print\n{mark}\n")
        equal(client.end(), (b"printed\n", "eof"), "what the client got")
    for piece in ("print", "io.write", "io.stdout", "io.stderr", "child-stdout", "child-stderr"):
        log.find(f"{mark}-{piece}")


def forging(where, log, mark):
    """A client's name, in all that a handler logs, neither chooses a level nor moves the cursor nor hides anything.
    Returns the first of its lines as the log has it, and the last."""
    with Client(where) as client:
        client.send(f"name\n{mark}-begin%0a<0>{mark}-end%1b[2J%e2%80%ae%c0%8a%0d\n")
        equal(client.end(), (b"", "reset"), "what the client got")
    log.find("stack traceback") # the last line: all is there
    return log.find(f"{mark}-begin"), log.find(f"0>{mark}-end\\x1b[2J\\xe2\\x80\\xae\\xc0\\x8a\\x0d")


def error(where, log, mark):
    """After an error in the handler the client gets a reset and not a byte; the log gets message and traceback."""
    with Client(where) as client:
        client.send(f"error\n{mark}\n")
        equal(client.end(), (b"", "reset"), "what the client got")
    log.find(f"{mark}-error")
    log.find("stack traceback")


class FileLog:
    """The stderr of a host, as a log with find()."""

    def __init__(self, process):
        self.process = process

    def find(self, part):
        return until(
            lambda: next((text for text in self.process.text().splitlines() if part in text), None), f"{part!r} in the log"
        )



def serves(where, log=None, connections=200, label=""):
    """The tests of every host that serves commands.lua at this address. log is where the host's handlers log to, when
    that is one place for all the tests; label tells two hosts of a file apart."""
    bye, reset = (b"bye\n", "eof"), (b"", "reset")
    cases = {
        "a line is answered": lambda: line(where),
        "1 MiB of binary data comes back unchanged": lambda: echo(where),
        f"{connections} connections, 8 at a time, are answered byte for byte": lambda: many(where, connections, 8),
        "the handler sees both addresses": lambda: addresses(where),
        "neither the script nor its children see LISTEN_*": lambda: environment(where),
        "socket:close() is seen within 100 ms though the handler works on": lambda: ends_early(where, "close", bye),
        "socket:reset() is seen within 100 ms though the handler works on": lambda: ends_early(where, "reset", reset),
        "timeout() resets the connection on time": lambda: timeout(where),
    }
    if log:
        cases["what a handler prints is in the log, not with the client"] = lambda: output(where, log, "printing")
        cases["an error is in the log, a reset is all the client gets"] = lambda: error(where, log, "failing")
    cases["afterwards the listener still answers"] = lambda: line(where, "again")
    for name, case in cases.items():
        test(f"{label}: {name}" if label else name)(case)
