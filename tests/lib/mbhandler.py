"""A handler that takes turns with the test. The test reads its output line by line; a line can say whose turn it is."""

import os
import select

import mbtest
from mbtest import DEADLINE, HANDLE, Child, check, equal, script, until


def state(pid):
    """Returns the letter of a process's state in /proc: S is asleep, T stopped."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        return f.read().rpartition(")")[2].split()[0]


class Handler:
    """mb-handle with this script on the server's end of a connection."""

    def __init__(self, conn, text, *args, env=None):
        self.output, output = os.pipe()
        # Unbuffered: otherwise lines could be in a buffer, where select() does not see them.
        self.lines = os.fdopen(self.output, "rb", buffering=0)
        with open("/dev/null", "r+b") as null:
            self.child = Child([HANDLE, *args, script(text)], {0: null, 1: null, 2: output, 3: conn}, env, listen_fds=1)
        self.pid = self.child.pid
        os.close(output)
        conn.close()

    def word(self):
        """Returns the next line that the handler prints."""
        ready, _, _ = select.select([self.lines], [], [], DEADLINE)
        check(ready, "the handler says nothing")
        return self.lines.readline().decode(errors="replace").rstrip("\n")

    def says(self, want):
        """Waits for a word."""
        line = self.word()
        if line != want:
            # One that waits for its turn would never end; one that fails has a moment to say why.
            if self.child.status is None and not select.select([self.child.pidfd], [], [], 1)[0]:
                self.child.kill()
            rest = line + "\n" + self.rest()
            raise mbtest.Failed(f"the handler says {rest!r}, expected {want!r}")

    def silent(self):
        """Returns whether there is nothing to read."""
        return not select.select([self.lines], [], [], 0)[0]

    def asleep(self):
        """Waits until the process is asleep."""
        until(lambda: state(self.pid) == "S", "the handler waits")

    def rest(self):
        """Returns all that the handler still prints until it ends, without the line for the connection's end."""
        return mbtest.without_ends(self.lines.read().decode(errors="replace"))

    def ends(self, status=0, log=""):
        got, text = self.child.wait(), self.rest()
        equal(got, status, f"exit status (log: {text!r})")
        check(log in text if log else text == "", f"{log!r} in the log: {text!r}")
