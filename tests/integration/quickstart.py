#!/usr/bin/python3
"""docs/quickstart.sh at a terminal: it serves until Ctrl-C, and its last words say what comes next, and how mb-handle gets
into PATH. Run by .ci/run, not by "make check": it builds the program once more, in the source tree."""

import os
import pty
import re
import select
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import check, equal, test

BUILD_MAX = 300 * mbtest.SLOWNESS


class Terminal:
    """The script, and what it has shown so far."""

    def __init__(self, port):
        self.text = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["MB_PORT"] = str(port)
            os.execvp("sh", ["sh", os.path.join(mbtest.SRCDIR, "docs", "quickstart.sh")])
        self.status = None
        mbtest.cleanup.callback(self.end)

    def read(self, seconds):
        """Reads what has come. Returns False at the end."""
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:  # EIO: nobody has the terminal open any more
                return False
            self.text += data.decode(errors="replace").replace("\r\n", "\n")
        return True

    def wait_for(self, text, seconds):
        deadline = time.monotonic() + seconds
        while text not in self.text:
            check(self.read(1), f"the script has ended: {self.text}")
            check(time.monotonic() < deadline, f"not within {seconds} s: {text!r} in {self.text}")

    def end(self):
        """Presses Ctrl-C and returns the exit status."""
        if self.status is None:
            os.write(self.fd, b"\3")
            deadline = time.monotonic() + mbtest.DEADLINE
            while self.read(1) and time.monotonic() < deadline:
                pass
            os.close(self.fd)
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status


@test("at a terminal: it serves until Ctrl-C; what it says then has the tutorial's commands work")
def _():
    port = mbtest.free_port()
    terminal = Terminal(port)
    terminal.wait_for("Ctrl-C ends this.", BUILD_MAX)
    url = re.search(r"curl (http://127\.0\.0\.1:\d+/Ann)", terminal.text)
    equal(mbtest.output_of("curl", "-sS", "--noproxy", "*", url[1]), "Hello, Ann!", "the answer")
    equal(terminal.end(), 0, "exit status")
    last = terminal.text.partition("Stopped.")[2]
    check("Next: README, docs/http-tutorial.txt" in last, f"the end of {terminal.text}")
    line = re.search(r'^ +(PATH=".*")$', last, re.MULTILINE)
    check(line, f"a line for PATH in {last}")
    said = mbtest.output_of("sh", "-c", f"cd /; {line[1]}; mb-handle --version")
    check(re.fullmatch(r"mb-handle \S+", said), f"{line[1]}: {said}")


mbtest.main()
