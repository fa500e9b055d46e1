"""A handler that takes turns with the test. The test reads its output line by line; a line can say whose turn it is."""

import contextlib
import ctypes
import os
import resource
import select
import socket

import mbtest
from mbtest import DEADLINE, HANDLE, Child, Failed, about, check, equal, local_pair, script, tcp_pair, until

SYS_pidfd_getfd = 438

# What the body of a handler has. eq compares what tostring makes of values; throws wants an error that holds this text;
# turn lets the test act, until it sends "go".
HEAD = """
local socket
local mb = moonbridge_io
local function eq(want, ...)
  local got = table.pack(...)
  for i = 1, got.n do got[i] = tostring(got[i]) end
  got = table.concat(got, " ")
  if got ~= want then error("got <" .. got .. ">, expected <" .. want .. ">", 2) end
end
local function throws(text, f, ...)
  local ok, message = pcall(f, ...)
  if ok or not tostring(message):find(text, 1, true) then
    error("got <" .. tostring(ok) .. " " .. tostring(message) .. ">, expected an error with <" .. text .. ">", 2)
  end
end
local function turn(...)
  print(...)
  eq("go\\n term", socket:read(nil, "\\n"))
end
-- By its number: poll does not see what it belongs to, and goes on with nothing.
local function wait_for_descriptor(s) eq("true", mb.poll(nil, { [s.fd] = true }, 60)) end
local function hex(s) return s and (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
"""


def lua(value):
    """Returns the value as Lua source."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "{" + ",".join(lua(v) for v in value) + "}"
    if isinstance(value, (int, float)):
        return repr(value)
    return '"' + "".join(f"\\{b:03d}" for b in (value.encode() if isinstance(value, str) else value)) + '"'


def source(body, head=HEAD, **values):
    """Returns the script whose handler has this body. values are local variables of it."""
    variables = "".join(f"local {name} = {lua(value)}\n" for name, value in values.items())
    return f"{head}{variables}return function(connection)\nsocket = connection\n{body}\nend\n"


class Handler:
    """mb-handle with a handler of this body on the server's end of a connection; client is the other end. pair makes the
    two ends, or is the two. Without a head, body is the whole script; program: what is executed; values: as of source()."""

    def __init__(self, body, *args, head=HEAD, pair=local_pair, env=None, program=(HANDLE,), **values):
        path = script(source(body, head, **values) if head else body)
        self.client, conn = pair() if callable(pair) else pair
        output, theirs = os.pipe()
        # Unbuffered: otherwise lines could be in a buffer, where select() does not see them.
        self.lines = os.fdopen(output, "rb", buffering=0)
        with conn, open(theirs, "wb") as err, open("/dev/null", "r+b") as null:
            self.child = Child([*program, *args, path], {0: null, 1: null, 2: err, 3: conn}, env, listen_fds=1)
        self.pid = self.child.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.sock.close()

    def word(self):
        """Returns the next line that the handler prints."""
        ready, _, _ = select.select([self.lines], [], [], DEADLINE)
        check(ready, "the handler says nothing")
        return self.lines.readline().decode(errors="replace").rstrip("\n")

    def says(self, want):
        """Waits for a word."""
        line = self.word()
        if line != want:
            raise self._failed(line, repr(want))

    def number(self):
        """Returns a number that the handler prints."""
        line = self.word()
        if not line.isdigit():
            raise self._failed(line, "a number")
        return int(line)

    def _failed(self, line, want):
        with contextlib.suppress(Failed):
            self.child.wait(1)  # with what it says of an error
        self.child.kill()
        os.set_blocking(self.lines.fileno(), False)  # its children may have the other end
        rest = (self.lines.read() or b"").decode(errors="replace")
        return Failed(f"the handler says {line + chr(10) + rest!r}, expected {want}")

    def silent(self):
        """Returns whether there is nothing to read."""
        return not select.select([self.lines], [], [], 0)[0]

    def go(self):
        self.client.send("go\n")

    def asleep(self):
        """Waits until the process is asleep."""
        until(lambda: state(self.pid) == "S", "the handler waits")

    def rest(self):
        """Returns all that the handler still prints until it ends, without the line for the connection's end."""
        return mbtest.without_ends(self.lines.read().decode(errors="replace"))

    def ends(self, status=0, log=""):
        """It ends so, with log in what it prints until then; "": with nothing."""
        got, text = self.child.wait(), self.rest()
        self.lines.close()
        equal(got, status, f"exit status (log: {text!r})")
        check(log in text if log else text == "", f"{log!r} in the log: {text!r}")

    # --- What a process has ---

    def files(self):
        """What the descriptors of the process are."""
        return sorted(fds(self.pid).values())

    def flags(self, fd):
        """The flags of one of its descriptors."""
        info = mbtest.read_file(f"/proc/{self.pid}/fdinfo/{fd}")
        return int(dict(line.split(":", 1) for line in info.splitlines())["flags"], 8)

    def socket(self, fd):
        """One of its sockets, shared."""
        copy = ctypes.CDLL(None, use_errno=True).syscall(SYS_pidfd_getfd, self.child.pidfd, int(fd), 0)
        check(copy >= 0, f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
        return socket.socket(fileno=copy)

    def may_open(self, count=None):
        """So many descriptors the process may have from now on; as many as it can, without a number."""
        hard = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (count or hard, hard))


def stat(pid):
    """The fields of /proc/PID/stat behind the name: state, parent, ..."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        return f.read().rpartition(")")[2].split()


def state(pid):
    """S is asleep, T stopped, Z a zombie."""
    return stat(pid)[0]


def fds(pid):
    """What descriptors a process has: {number: what it is}."""
    found = {}
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(number)] = os.readlink(f"/proc/{pid}/fd/{number}")
        except FileNotFoundError:  # closed meanwhile
            continue
    return found


def run(body, *args, head=HEAD, env=None, **values):
    """A handler that needs nobody."""
    with Handler(body, *args, head=head, env=env, **values) as running:
        running.ends()


# --- Turns: each is an act(client, handler) ---

TCP, UNIX = {"TCP": tcp_pair}, {"Unix": local_pair}
PAIRS = TCP | UNIX


def turns(body, *steps, head=HEAD, pairs=PAIRS, status=0, log="", args=()):
    """Runs the handler's body on each kind of connection; steps are (word that the handler says, act)."""
    for name, pair in pairs.items():
        with Handler(body, *args, head=head, pair=pair) as running:
            with about(name):
                for word, act in steps:
                    running.says(word)
                    act(running.client, running)
                running.ends(status, log)


def send(data):
    return lambda client, _: client.send(data)


def finish(client, _):
    client.finish()


def gets(want, how="eof"):
    return lambda client, _: equal(client.end(), (want, how), "what the client got")
