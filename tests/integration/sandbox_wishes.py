#!/usr/bin/python3
"""What a wish allows, and that it allows nothing beside it: a handler that has been taken over tries, by raw system
calls, what is next to each wish, and tricks with links, loaders and memory. sandbox_escape.py tries a sandbox without a
wish."""

import glob
import os
import platform
import re
import shutil
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbescape
import mbspace
import mbtest
from mbescape import ACCOUNT, ROOM, Attack, Peers, Victim, fits, works
from mbtest import check, equal, test

mbspace.enter()
mbescape.prepare()
peers = Peers()
OFF = "--sandbox=off"
REFUSED = "EPERM|EACCES|ENOSYS"
ECHO, OTHER, SHELL = (os.path.realpath(mbtest.need(name)) for name in ("echo", "printf", "sh"))


def fresh():
    """Makes what attacks use, as it is at the beginning: READ, WRITE and OUTSIDE with a file each."""
    shutil.rmtree(f"{ROOM}/tree", ignore_errors=True)
    for name in ("read", "write", "write/sub", "outside"):
        os.makedirs(f"{ROOM}/tree/{name}", exist_ok=True)
        mbtest.write_file(f"{ROOM}/tree/{name}/file", "content")
    os.symlink("../outside/file", f"{ROOM}/tree/read/out")
    for path in ("tree", "tree/write", "tree/write/file", "tree/write/sub"):
        os.chown(f"{ROOM}/{path}", ACCOUNT, ACCOUNT)


def quoted(path):
    return f'"{path}"'


READ, WRITE, OUTSIDE = (f"{ROOM}/tree/{name}" for name in ("read", "write", "outside"))
VALUES = {"read": READ, "write": WRITE, "outside": OUTSIDE, "echo": ECHO, "other": OTHER, "shell": SHELL}


def values(**more):
    fresh()
    return VALUES | peers.values() | more


# --- The table: what each wish allows of all that is tried ---

SENDS = 'return by(%s, DGRAM, nr.sendto, "x", 1, 0, to(%s))'
# The flags that the file has: others may make the file system do more.
FLAGS = """local flags = escape.buffer(8)
on(read .. "/file", nr.ioctl, 0x80086601, flags)
return on(read .. "/file", nr.ioctl, 0x40086602, flags)"""
ACTIONS = {
    "read": 'return open(read .. "/file")',
    "list": "return open(read, 0x10000)",
    "write to read": 'return open(read .. "/file", 1)',
    "truncate what is read": 'return open(read .. "/file", 0x200)',
    "make in read": 'return open(read .. "/new", 0x41)',
    "read in write": 'return open(write .. "/file")',
    "write": 'return open(write .. "/file", 1)',
    "truncate": 'return sys(nr.truncate, write .. "/file", 1)',
    "make": 'return open(write .. "/new", 0x41)',
    "mkdir": 'return sys(nr.mkdirat, CWD, write .. "/made", 511)',
    "remove": 'return sys(nr.unlinkat, CWD, write .. "/file", 0)',
    "rename": 'return sys(nr.renameat2, CWD, write .. "/file", CWD, write .. "/new", 0)',
    "rename to another directory": 'return sys(nr.renameat2, CWD, write .. "/file", CWD, write .. "/sub/new", 0)',
    "symlink": 'return sys(nr.symlinkat, "file", CWD, write .. "/link")',
    "read outside": 'return open(outside .. "/file")',
    "write outside": 'return open(outside .. "/file", 1)',
    "chmod in write": 'return sys(nr.fchmodat, CWD, write .. "/file", 511)',
    "fchmod of what is read": 'return on(read .. "/file", nr.fchmod, 511)',
    "fchown of what is read": 'return on(read .. "/file", nr.fchown, 1, 1)',
    "fsetxattr of what is read": 'return on(read .. "/file", nr.fsetxattr, "trusted.mb", "x", 1, 0)',
    "times of what is read": 'return on(read .. "/file", nr.utimensat, nil, nil, 0)',
    "flags of what is read": FLAGS,
    "a file of another user's rights": 'return open(write .. "/new", 0x41, 2541)',
    "TCP": "return connect(IN, STREAM, inet(port))",
    "TCP as IPv6": 'return connect(IN6, STREAM, inet6(port, ("\\0"):rep(10) .. "\\255\\255\\127\\0\\0\\1"))',
    "another port": "return connect(IN, STREAM, inet(other_port))",
    "another port, IPv6": "return connect(IN6, STREAM, inet6(port6))",
    "Unix": "return connect(UNIX, STREAM, unix(path))",
    "abstract": "return connect(UNIX, STREAM, unix(abstract))",
    "UDP": SENDS % ("IN", "inet(udp_port)"),
    "the journal": SENDS % ("UNIX", "unix(journal)"),
    "abstract datagrams": SENDS % ("UNIX", "unix(abstract_log)"),
    "MPTCP": "return connect(IN, STREAM, inet(other_port), 262)",
    "fast open": 'return by(IN, STREAM, nr.sendto, "x", 1, 0x20000000, to(inet(other_port)))',
    "fast open by sendmsg": 'return by(IN, STREAM, nr.sendmsg, message(inet(other_port), "x"), 0x20000000)',
    "resolv.conf": 'return open("/etc/resolv.conf")',
    "passwd": 'return open("/etc/passwd")',
    "bind": "return by(IN, STREAM, nr.bind, to(inet(0)))",
    "listen": "return by(IN, STREAM, nr.listen, 1)",
    "ICMP": "return sys(nr.socket, IN, 3, 1)",
    "fork": "return escape.process(nr.clone, 17)",
    "exec": 'return become(socket, nr.execve, nil, echo, 0, "executed")',
    "another program": 'return become(socket, nr.execve, nil, other, 0, "executed")',
    "io_uring": "return sys(nr.io_uring_setup, 4, escape.buffer(120))",
    "limit": 'return sys(nr.prlimit64, 0, 7, pack("<I8I8", 64, 64), nil)',
    "signal": "return sys(nr.kill, sys(nr.getppid), 18)",
    "shared memory": "return sys(nr.shmget, 0, 4096, 0x380)",
    "Lua's modules": 'return open(module)',
}
WORKS = "(ok|executed\n?)"
WRITES = {"read in write", "write", "truncate", "make", "mkdir", "remove", "symlink"}
WRITES |= {"rename", "rename to another directory"}
TCP = {"TCP", "TCP as IPv6"}
# What may be allowed or not: the matter of another wish's implementation.
EITHER = {
    # exec brings /usr/lib, where the modules of Lua are, too; and a process made by fork is needed for exec.
    "exec": {"Lua's modules"},
    "dns": {"passwd"},
    # Linux cannot tell one Unix socket with a path from another.
    "Unix": {"the journal"},
    # By its mode a new file may have its owner's rights for others; as with chmod, only root gives rights that matter.
    "write": {"a file of another user's rights"},
    "all": {"abstract", "abstract datagrams", "MPTCP", "fast open", "fast open by sendmsg", "passwd", "resolv.conf"}
    | {"ICMP"},
}


def wish(text, allowed, either=()):
    """Tries all actions in a sandbox of this wish."""
    module = mbtest.need("lua5.3") and next(iter(glob.glob("/usr/share/lua/5.3/*.lua")), "/usr/share/lua/5.3")
    faults = []
    for name, body in ACTIONS.items():
        attack = Attack(body, wishes=text, **values(module=module))
        peers.taken()
        want = WORKS if name in allowed else f"{WORKS}|{REFUSED}" if name in either else REFUSED
        if not fits(attack.got, want):
            faults.append(f"{name} with {text}: {attack.got!r}, status {attack.status}, log {attack.log!r}")
    if faults:
        raise mbtest.Failed("\n".join(faults))


@test("without a sandbox each action of the table works")
def _():
    for name, body in ACTIONS.items():
        attack = Attack(body, OFF, wishes='"strict"', **values(module=ROOM))
        check(fits(attack.got, WORKS), f"{name}: {attack.got!r}, status {attack.status}; log: {attack.log!r}")
        peers.taken()


@test('sandbox = "strict" and sandbox = {}: nothing of it')
def _():
    wish('"strict"', set())
    wish("{}", set())
    wish("{ connect = false, listen = false, exec = false }", set())


@test("read: files and directories are read, and nothing else")
def _():
    wish(f"{{ read = {{ {quoted(READ)} }} }}", {"read", "list"})
    wish(f"{{ read = {{ {quoted(READ)}, {quoted(OUTSIDE + '/file')} }} }}", {"read", "list", "read outside"})
    wish(f"{{ read = {{ {quoted(READ + '/file')} }} }}", {"read"})


@test("write: files below it are read, written, made, renamed and removed; their permissions stay")
def _():
    wish(f"{{ write = {{ {quoted(WRITE)} }} }}", WRITES, EITHER["write"])
    wish(f"{{ write = {{ {quoted(WRITE + '/file')} }} }}", {"read in write", "write", "truncate"})


@test("connect: TCP ports, and nothing beside them")
def _():
    wish(f'{{ connect = {{ "tcp:{peers.port}" }} }}', TCP)
    wish(f'{{ connect = {{ "tcp:{peers.port}", "tcp:{peers.port6}" }} }}', TCP | {"another port, IPv6"})


@test("connect: a Unix socket's path, which opens no port, no abstract socket")
def _():
    wish(f"{{ connect = {{ {quoted(peers.path)} }} }}", {"Unix"}, EITHER["Unix"])
    wish(f'{{ connect = {{ {quoted(peers.path)}, "tcp:{peers.port}" }} }}', TCP | {"Unix"}, EITHER["Unix"])


@test("connect: dns, which is UDP and the files that the resolver reads; no port but 53")
def _():
    wish('{ connect = { "dns" } }', {"UDP", "resolv.conf"}, EITHER["dns"])


@test("connect = true: everything that is a connection, and nothing else")
def _():
    allowed = TCP | {"another port", "another port, IPv6", "Unix", "UDP", "the journal"}
    wish("{ connect = true }", allowed, EITHER["all"])


@test("listen = true: bind and listen, no connection")
def _():
    wish("{ listen = true }", {"bind", "listen"})


@test("exec: this program, no other")
def _():
    wish(f"{{ exec = {{ {quoted(ECHO)} }} }}", {"exec", "fork"}, EITHER["exec"])


@test("modules = true: what require finds, and nothing else")
def _():
    wish("{ modules = true }", {"Lua's modules"})


# --- Out of a directory ---

TREE = f"{{ read = {{ {quoted(READ)} }}, write = {{ {quoted(WRITE)} }} }}"
MOVED = "EPERM|EACCES|EXDEV"
OUT = [
    ("a symbolic link in a directory that is read", 'return open(read .. "/out")', REFUSED),
    (
        "a symbolic link that it makes",
        'sys(nr.symlinkat, outside .. "/file", CWD, write .. "/l") return open(write .. "/l")',
        REFUSED,
    ),
    (
        "the same, written",
        'sys(nr.symlinkat, outside .. "/file", CWD, write .. "/l") return open(write .. "/l", 1)',
        REFUSED,
    ),
    (
        "a link to a directory",
        'sys(nr.symlinkat, outside, CWD, write .. "/l") return open(write .. "/l/new", 0x41)',
        REFUSED,
    ),
    ("a hard link in", 'return sys(nr.linkat, CWD, outside .. "/file", CWD, write .. "/l", 0)', MOVED),
    (
        "a hard link from a directory that is read only",
        'return sys(nr.linkat, CWD, read .. "/file", CWD, write .. "/l", 0)',
        MOVED,
    ),
    ("a hard link out", 'return sys(nr.linkat, CWD, write .. "/file", CWD, outside .. "/l", 0)', MOVED),
    ("renamed in", 'return sys(nr.renameat2, CWD, outside .. "/file", CWD, write .. "/new", 0)', MOVED),
    ("renamed out", 'return sys(nr.renameat2, CWD, write .. "/file", CWD, outside .. "/new", 0)', MOVED),
    ("exchanged", 'return sys(nr.renameat2, CWD, write .. "/file", CWD, outside .. "/file", 2)', MOVED),
    ("the directory renamed", 'return sys(nr.renameat2, CWD, write, CWD, outside .. "/new", 0)', MOVED),
    (
        "a directory of it renamed out",
        'return sys(nr.renameat2, CWD, write .. "/sub", CWD, outside .. "/new", 0)',
        MOVED,
    ),
    ("..", 'return open(write .. "/../outside/file")', REFUSED),
    (
        ".. of a directory that was opened",
        'return sys(nr.openat, open(write, 0x210000), "../outside/file", 0)',
        REFUSED,
    ),
    (
        ".. of a directory that was entered",
        'sys(nr.fchdir, open(write .. "/sub", 0x10000)) return sys(nr.openat, CWD, "../../outside/file", 0)',
        REFUSED,
    ),
    ("a directory that was opened before", 'return sys(nr.openat, before, "outside/file", 1)', REFUSED),
    ("the current directory", 'return sys(nr.openat, CWD, "outside/file", 0)', REFUSED),
    ("/proc/self/root", 'return open("/proc/self/root" .. outside .. "/file")', REFUSED),
    (
        "a device",
        'local d, t, e = sys(nr.mknodat, CWD, write .. "/zero", 0x2180, 0x105) if not d then return d, t, e end '
        'return open(write .. "/zero")',
        REFUSED,
    ),
    ("a disk", 'return sys(nr.mknodat, CWD, write .. "/disk", 0x6180, 0x700)', REFUSED),
    ("a Unix socket", 'return by(UNIX, STREAM, nr.bind, to(unix(write .. "/s")))', REFUSED),
    (
        "a program that it has written",
        'local f = sys(nr.openat, CWD, write .. "/p", 0x41, 493) sys(nr.write, f, "#!" .. shell .. "\\necho '
        'executed\\n", #shell + 17) sys(nr.close, f) return become(socket, nr.execve, nil, write .. "/p", 0)',
        REFUSED,
    ),
    ("permissions by a name", 'return sys(nr.fchmodat, CWD, write .. "/file", 2541)', REFUSED),
    ("an owner by a name", 'return sys(nr.fchownat, CWD, write .. "/file", 1, 1, 0)', REFUSED),
]


@test("links, renames, .. and devices lead nowhere out of a directory; all of them work without a sandbox")
def _():
    faults = []
    for name, body, refusal in OUT:
        for args, want in (((OFF,), WORKS), ((), refusal)):
            before = 'sys(nr.fchdir, open(tree, 0x10000)) local before = open(".", 0x210000)'
            attack = Attack(body, *args, wishes=TREE, before=before, **values(tree=f"{ROOM}/tree"))
            if not fits(attack.got, want):
                faults.append(f"{name} {args}: {attack.got!r}, not {want}; log {attack.log!r}")
            if not args:
                equal(mbtest.read_file(f"{OUTSIDE}/file"), "content", f"{name}: the file outside")
                equal(os.listdir(OUTSIDE), ["file"], f"{name}: the directory outside")
    if faults:
        raise mbtest.Failed("\n".join(faults))


# --- Programs ---


def program(name, text):
    path = mbtest.write_file(f"{ROOM}/{name}", text)
    os.chmod(path, 0o755)
    return path


@test("exec: a script with its interpreter; what it starts has the sandbox, and its signals do not leave it")
def _():
    os.makedirs(READ, exist_ok=True)
    victim = Victim()
    path = program(
        "inherits",
        f"#!{SHELL}\necho executed\n(read line </etc/passwd) 2>/dev/null && echo passwd\n"
        f"(echo x >{OUTSIDE}/new) 2>/dev/null && echo written\n({OTHER} other) 2>/dev/null\n"
        f"kill -CONT {victim.pid} 2>/dev/null && echo signal\n"
        # The program that it may run still may.
        f"{ECHO} echo\n",
    )
    body = 'return become(socket, nr.execve, nil, path, 0)'
    wishes = f"{{ exec = {{ {quoted(path)}, {quoted(ECHO)} }} }}"
    got = Attack(body, OFF, wishes=wishes, **values(path=path) | {"path": path}).got
    equal(got, "executed\npasswd\nwritten\nothersignal\necho\n", "without a sandbox")
    got = Attack(body, wishes=wishes, **values(path=path) | {"path": path})
    equal(got.got, "executed\necho\n", f"in the sandbox; log {got.log}")
    victim.stop()


@test("exec: a child has the filter and no new privileges, as seen from outside")
def _():
    sleep = os.path.realpath(mbtest.need("sleep"))
    body = """
local child = moonbridge_io.exec(sleep, "1000")
if not child then return nil, "no child", 1 end
socket:write(child.pid, "\\n")
socket:flush()
socket:read(1)
child:kill(9):wait()
return 1
"""
    for args, want in (((OFF,), ("0", "0")), ((), ("1", "2"))):
        wishes = f"{{ exec = {{ {quoted(sleep)} }} }}"
        path = mbtest.script(mbescape.source(body, wishes, 'moonbridge_io = require "moonbridge_io"', sleep=sleep))
        client, conn = mbtest.local_pair()
        with client, conn:
            serving = mbtest.Serving(conn, *args, path)
            line = client.line()
            check(line.isdigit(), f"a child: {line!r}; log {serving.log()}")
            text = mbtest.read_file(f"/proc/{line}/status")
            got = tuple(re.search(rf"{name}:\s*(\d)", text).group(1) for name in ("NoNewPrivs", "Seccomp"))
            equal(got, want, f"the child's with {args}")
            client.send("x")
            conn.close()
            client.end()
            equal(serving.wait(), 0, f"status; log {serving.log()}")


LOADER = next(iter(glob.glob("/lib64/ld-linux-x86-64.so.2") + glob.glob("/lib/ld-linux-aarch64.so.1")), None)


@test("exec: the dynamic loader, which comes with it, runs no program that may neither be run nor read")
def _():
    if not LOADER:
        mbtest.diagnose(f"no loader of glibc on {platform.machine()}")
        return
    body = 'return become(socket, nr.execve, nil, loader, 0, other, "executed")'
    wishes = f"{{ exec = {{ {quoted(ECHO)} }} }}"
    works(body, "executed\n?", OFF, wishes=wishes, **values(loader=LOADER))
    attack = Attack(body, wishes=wishes, **values(loader=LOADER))
    check("executed" not in attack.got, f"by the loader: {attack.got}; log {attack.log}")


@test("exec: no program from memory, by its descriptor or by its path in /proc")
def _():
    begin = f"""
local f = assert(io.open({quoted(OTHER)}, "rb"))
local text = f:read("a")
f:close()
"""
    make = """
local program, message, errno = sys(nr.memfd_create, "p", 0)
if not program then return program, message, errno end
sys(nr.write, program, text, #text)
"""
    wishes = f"{{ exec = {{ {quoted(ECHO)} }} }}"
    for call in (
        'return become(socket, nr.execveat, program, "", 0x1000, "executed")',
        'return become(socket, nr.execve, nil, "/proc/self/fd/" .. program, 0, "executed")',
    ):
        works(make + call, "executed\n?", OFF, wishes=wishes, before=begin, **values())
        Attack(make + call, wishes=wishes, before=begin, **values()).refused()


# --- Resources ---


@test("file_size: a file does not grow beyond it, whatever the call; the disk does not fill")
def _():
    wishes = f"{{ write = {{ {quoted(WRITE)} }}, file_size = 1000 }}"

    def size():
        return max(os.path.getsize(path) for path in glob.glob(f"{WRITE}/*") if os.path.isfile(path))

    bodies = {
        "write": 'local f = open(write .. "/new", 0x41) sys(nr.write, f, ("x"):rep(5000), 5000) '
        'return sys(nr.write, f, "x", 1)',
        "ftruncate": 'return sys(nr.ftruncate, open(write .. "/new", 0x41), 5000)',
        "truncate": 'return sys(nr.truncate, write .. "/file", 5000)',
        "fallocate": 'return sys(nr.fallocate, open(write .. "/new", 0x41), 0, 0, 5000)',
    }
    for name, body in bodies.items():
        works(body, "ok|EOPNOTSUPP", OFF, wishes=wishes, **values())
        check(size() >= 5000, f"{name} without a sandbox: {size()} bytes")
        attack = Attack(body, wishes=wishes, **values())
        # Whoever has taken the handler over may let the signal end it.
        check(attack.got in ("EFBIG", "EOPNOTSUPP") or attack.status < 0, f"{name}: {attack.got}, {attack.log}")
        check(size() <= 1000, f"{name}: {size()} bytes")
    body = 'sys(nr.prlimit64, 0, 1, pack("<I8I8", 5000, 5000), nil) '
    body += 'return sys(nr.ftruncate, open(write .. "/new", 0x41), 5000)'
    Attack(body, wishes=wishes, **values()).refused("EFBIG")


@test("open_files: not one more, and the limit is not raised")
def _():
    wishes = f"{{ read = {{ {quoted(READ)} }}, open_files = 32 }}"
    body = """
for n = 1, 200 do
  local fd, text, errno = open(read .. "/file")
  if not fd then return fd, text, errno end
end
return 200
"""
    raise_it = 'sys(nr.prlimit64, 0, 7, pack("<I8I8", 500, 500), nil)\n'
    works(body, "ok 200", OFF, wishes=wishes, **values())
    for attempt in (body, raise_it + body):
        equal(Attack(attempt, wishes=wishes, **values()).got, "EMFILE", "what comes of it")


@test("cpu_seconds: an endless loop ends, and its client sees a reset")
def _():
    attack = Attack("while true do end", wishes="{ cpu_seconds = 1 }")
    check(attack.how == "reset" or attack.got == "", f"the client: {attack.how}, {attack.got}")
    check(attack.status != 0, f"status {attack.status}, log {attack.log}")


CHILDREN = """
local children = {}
for n = 1, 20 do
  local child, message, errno = moonbridge_io.exec(sleep, "1000")
  if not child then children.errno = errno break end
  children[n] = child
end
for _, child in ipairs(children) do child:kill(9):wait() end
return #children .. " " .. tostring(children.errno)
"""


@test("processes: so many of the account, and no more; the limit is not raised")
def _():
    sleep = os.path.realpath(mbtest.need("sleep"))
    before = 'moonbridge_io = require "moonbridge_io"'
    exec_wish = f"exec = {{ {quoted(sleep)} }}"
    for wishes, want in ((f"{{ {exec_wish} }}", "ok 20 nil"), (f"{{ {exec_wish}, processes = 5 }}", "ok [1-4] 11")):
        for first in ("", 'sys(nr.prlimit64, 0, 6, pack("<I8I8", 500, 500), nil)\n'):
            attack = Attack(first + CHILDREN, wishes=wishes, before=before, user=ACCOUNT, sleep=sleep)
            check(re.fullmatch(want, attack.got), f"{wishes}: {attack.got!r}, not {want}; log {attack.log}")


@test("a fork bomb has no first process without exec, not of an account without privileges either")
def _():
    body = """
local made, errno = 0
for n = 1, 100 do
  local got, _, failed = escape.process(nr.clone, 17)
  if got then made = made + 1 else errno = failed end
end
return made .. " " .. tostring(errno)
"""
    for user in (None, ACCOUNT):
        equal(Attack(body, OFF, wishes="{}", user=user).got, "ok 100 nil", "without a sandbox")
        equal(Attack(body, wishes="{ processes = 50 }", user=user).got, "ok 0 1", "in the sandbox")


@test("a handler of an account without privileges has the same sandbox")
def _():
    wishes = f'{{ write = {{ {quoted(WRITE)} }}, connect = {{ "tcp:{peers.port}" }} }}'
    for name in ("make", "passwd", "TCP", "another port", "Unix", "fork"):
        want = WORKS if name in ("make", "TCP") else REFUSED
        attack = Attack(ACTIONS[name], wishes=wishes, user=ACCOUNT, **values())
        check(fits(attack.got, want), f"{name}: {attack.got}, not {want}; log {attack.log}")
        works(ACTIONS[name], WORKS, OFF, wishes=wishes, user=ACCOUNT, **values())
    peers.taken()


@test("two listen calls: each process has the sandbox of its listener")
def _():
    reads = 'return open("/etc/passwd")'
    path = mbtest.script(
        mbescape.source(reads, '"strict"').replace("listen{", 'listen{ { proto = "tcp", port = 1 },', 1)
        + 'listen{ { proto = "tcp", port = 2 }, sandbox = { read = { "/etc/passwd" } },\n'
        + f"connect = function(s) s:write(fails((function() {reads} end)())) end }}\n"
    )
    for number, want in ((1, REFUSED), (2, "ok")):
        client, conn = mbtest.tcp_pair()
        with client, conn:
            serving = mbtest.Serving(conn, f"--listener={number}", path)
            conn.close()
            got = mbescape.result(client.end()[0])
            equal(serving.wait(), 0, f"status; log {serving.log()}")
        check(fits(got, want), f"listener {number}: {got}")



mbtest.main()
