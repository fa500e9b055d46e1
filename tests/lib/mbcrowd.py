"""Crowds of clients that a listener has to survive: each is a process of its own, so that it keeps its pace whatever the
test does meanwhile."""

import json
import os
import select
import socket
import subprocess
import sys
import time


class Crowd:
    """A running crowd. The result of end() has the moments of the answers, in seconds since the start ("answered"), and
    how many connections were made and ended without an answer ("refused")."""

    def __init__(self, where, clients=0, seconds=10.0, pause=0.0, source="127.0.0.1"):
        """where: an address as in mbtest. clients: so many at a time; each asks for a page, reads the answer to its end
        and asks again; one that has got no answer waits for pause seconds. 0 clients: sockets that connect and close at
        once, ten at a time. source: the IPv4 address that they come from."""
        given = json.dumps([where, clients, seconds, pause, source])
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), given], stdout=subprocess.PIPE)
        self.seconds = seconds

    def end(self):
        """Waits for the crowd to go."""
        out, _ = self.process.communicate(timeout=self.seconds * 3 + 30)
        return json.loads(out)


def _socket(where, source):
    if isinstance(where, str):
        return socket.socket(socket.AF_UNIX), where
    sock = socket.socket()
    sock.bind((source, 0))
    return sock, tuple(where)


def _drop(where, seconds, source):
    """Connects and closes, ten at a time, without a pause that would be long enough to serve them."""
    begin, made = time.monotonic(), 0
    while time.monotonic() - begin < seconds:
        batch = []
        for _ in range(10):
            sock, address = _socket(where, source)
            sock.settimeout(5)
            try:
                sock.connect(address)
                made += 1
            except OSError:
                pass
            batch.append(sock)
        for sock in batch:
            sock.close()
        time.sleep(0.01)
    return {"answered": [], "refused": made}


class _Client:
    """One client: its connection, and what it has got so far."""

    def __init__(self, where, source, epoll, clients):
        self.sock, address = _socket(where, source)
        self.sock.setblocking(False)
        self.asked, self.got = False, b""
        try:
            self.sock.connect(address)
        except BlockingIOError:
            if isinstance(where, str):  # the backlog of a Unix socket is full
                self.sock.close()
                raise
        clients[self.sock.fileno()] = self
        epoll.register(self.sock.fileno(), select.EPOLLOUT)

    def goes_on(self, epoll):
        """Sends the request or reads. Returns whether it waits for more."""
        try:
            if not self.asked:
                self.sock.send(b"GET / HTTP/1.0\r\n\r\n")
                self.asked = True
                epoll.modify(self.sock.fileno(), select.EPOLLIN)
                return True
            data = self.sock.recv(4096)
            self.got += data
            return bool(data)
        except OSError:
            self.got = b""
            return False

    def leave(self, epoll, clients):
        """Closes. Returns whether it has got its answer."""
        epoll.unregister(self.sock.fileno())
        del clients[self.sock.fileno()]
        self.sock.close()
        return b"200 OK" in self.got


def _ask(where, clients, seconds, pause, source):
    begin, epoll, there = time.monotonic(), select.epoll(), {}
    answered, refused, waiting = [], 0, [0.0] * clients  # waiting: when each of those outside comes back
    while (now := time.monotonic()) - begin < seconds:
        for _ in range(len(waiting)):
            if waiting[0] > now:
                break
            waiting.pop(0)
            try:
                _Client(where, source, epoll, there)
            except OSError:
                refused += 1
                waiting.append(now + pause)
        for fd, _ in epoll.poll(0.02):
            client = there[fd]
            if client.goes_on(epoll):
                continue
            if client.leave(epoll, there):
                answered.append(round(now - begin, 3))
                waiting.insert(0, 0.0)
            else:
                refused += 1
                waiting.append(now + pause)
    return {"answered": answered, "refused": refused}


if __name__ == "__main__":
    os.nice(10)  # a crowd comes from elsewhere: it takes no processor from those that it plagues
    WHERE, CLIENTS, SECONDS, PAUSE, SOURCE = json.loads(sys.argv[1])
    RESULT = _ask(WHERE, CLIENTS, SECONDS, PAUSE, SOURCE) if CLIENTS else _drop(WHERE, SECONDS, SOURCE)
    json.dump(RESULT, sys.stdout)
