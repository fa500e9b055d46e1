#!/usr/bin/python3
"""Tries to break out of the sandbox, as code does that has taken a handler over: with raw system calls, from a module
that the script has loaded before the lock. Each attack works with --sandbox=off, and is refused by the part that is
always on, or by a sandbox without a wish. sandbox_wishes.py tries what a wish allows, and what it does not."""

import contextlib
import os
import platform
import re
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbescape
import mbpool
import mbspace
import mbtest
from mbescape import ACCOUNT, ROOM, Attack, Peers, Victim, fits, source, works
from mbtest import check, equal, tcp_pair, test, until

mbspace.enter()
mbescape.prepare()
peers = Peers()
# AddressSanitizer looks for leaks with ptrace: a program that was built with it may use that, and be traced.
SANITIZED = mbtest.is_sanitized()
X86_64 = platform.machine() == "x86_64"
OFF, STRICT = "--sandbox=off", "--sandbox=strict"
REFUSED = "EPERM|EACCES|ENOSYS"


def files():
    """Files that attacks change, new for each."""
    directory = mbtest.tmp("outside", "x")[:-2]
    path = mbtest.write_file(f"{directory}/file", "secret")
    for name in ("new", "link"):
        if os.path.lexists(f"{directory}/{name}"):
            os.unlink(f"{directory}/{name}")
    if os.path.isdir(f"{directory}/made"):
        os.rmdir(f"{directory}/made")
    return {"dir": directory, "file": path}


def tried(rows, kept, refusal=REFUSED):
    """Each row is (name, what it does without a sandbox, body[, what it does in the sandbox]). Checks both; kept: the
    arguments that turn on what is tried."""
    faults = []
    for name, want, body, *own in rows:
        for args, pattern in (((OFF,), want), (kept, own[0] if own else refusal)):
            victim = Victim() if "victim" in body else None
            values = peers.values() | files() | ({"victim": victim.pid} if victim else {})
            attack = Attack(body, *args, **values)
            if not fits(attack.got, pattern):
                log = f", log {attack.log!r}" if attack.status else ""
                faults.append(f"{name} {' '.join(args) or 'always on'}: {attack.got!r}, not {pattern!r}{log}")
            if victim:
                victim.stop()
            peers.taken()
    if faults:
        raise mbtest.Failed("\n".join(faults))


# --- The part that is always on ---

# The first page of memory that another process has for itself.
MAPS = """
local from, size
for line in io.lines("/proc/" .. victim .. "/maps") do
  if line:find("[stack]", 1, true) then from = tonumber(line:match("^%x+"), 16) end
end
local ours = escape.buffer(16)
local here, there = pack("<I8I8", address(ours), 16), pack("<I8I8", from, 16)
"""

OTHERS = [
    ("ptrace of the parent", "ok", "return sys(nr.ptrace, 0x4206, sys(nr.getppid), 0, 0)"),
    ("ptrace of another process", "ok", "return sys(nr.ptrace, 0x4206, victim, 0, 0)"),
    ("ptrace of another process, which stops", "ok", "return sys(nr.ptrace, 16, victim, 0, 0)"),
    ("another's memory is read", "ok 16", MAPS + "return sys(nr.process_vm_readv, victim, here, 1, there, 1, 0)"),
    ("another's memory is written", "ok 16", MAPS + "return sys(nr.process_vm_writev, victim, here, 1, there, 1, 0)"),
    ("kcmp", "ok", "return sys(nr.kcmp, sys(nr.getpid), victim, 0, 0, 0)"),
    ("another's descriptor", "ok", "return sys(nr.pidfd_getfd, sys(nr.pidfd_open, victim, 0), 0, 0)"),
    (
        "process_madvise",
        "ok|EINVAL|ENOMEM",
        MAPS + "return sys(nr.process_madvise, sys(nr.pidfd_open, victim, 0), there, 1, 20, 0)",
    ),
]

KERNEL = [
    (
        "perf_event_open",
        "ok",
        'return sys(nr.perf_event_open, pack("<I4I4I8", 1, 64, 0) .. ("\\0"):rep(64), 0, -1, -1, 0)',
    ),
    ("bpf", "ok", 'return sys(nr.bpf, 0, pack("<I4I4I4I4", 2, 4, 4, 1) .. ("\\0"):rep(56), 72)'),
    ("userfaultfd", "ok", "return sys(nr.userfaultfd, 1)"),
    ("io_uring_setup", "ok", "return sys(nr.io_uring_setup, 4, escape.buffer(120))"),
    ("io_uring_enter", "EBADF", "return sys(nr.io_uring_enter, -1, 0, 0, 0, 0, 0)"),
    ("io_uring_register", "EBADF|EINVAL", "return sys(nr.io_uring_register, -1, 0, 0, 0)"),
    ("add_key", "ok", 'return sys(nr.add_key, "user", "mb-escape", "x", 1, -2)'),
    ("request_key", "ENOKEY", 'return sys(nr.request_key, "user", "mb-escape-none", nil, 0)'),
    ("keyctl", "ok", "return sys(nr.keyctl, 0, -2, 1)"),
    ("kexec_load", "EINVAL|ENOSYS|EADDRNOTAVAIL", "return sys(nr.kexec_load, 0, 100, 0, 0)"),
    ("init_module", "E(?!PERM).*|EPERM", 'return sys(nr.init_module, "x", 1, "")'),
    ("finit_module", "E(?!PERM).*|EPERM", 'return sys(nr.finit_module, -1, "", 0)'),
    ("delete_module", "ENOENT|EPERM|ENOSYS", 'return sys(nr.delete_module, "mb_escape_none", 0)'),
    ("reboot", "EINVAL", "return sys(nr.reboot, 0, 0, 0, 0)"),
    ("swapon", "ENOENT|ENOSYS", 'return sys(nr.swapon, "/nonexistent", 0)'),
    ("swapoff", "ENOENT|ENOSYS", 'return sys(nr.swapoff, "/nonexistent")'),
    ("settimeofday", "EINVAL", 'return sys(nr.settimeofday, pack("<i8i8", 0, 2000000), nil)'),
    ("clock_settime", "EINVAL", 'return sys(nr.clock_settime, 1, pack("<i8i8", 0, 0))'),
    ("clock_adjtime", "EINVAL", 'return sys(nr.clock_adjtime, 0, pack("<I8", 0x100) .. ("\\255"):rep(200))'),
    ("adjtimex", "EINVAL", 'return sys(nr.adjtimex, pack("<I8", 0x100) .. ("\\255"):rep(200))'),
    ("sethostname", "EINVAL", 'return sys(nr.sethostname, "", -1)'),
    ("setdomainname", "EINVAL", 'return sys(nr.setdomainname, "", -1)'),
    ("acct", "ENOENT|ENOSYS", 'return sys(nr.acct, "/nonexistent")'),
    ("quotactl", "E(?!PERM).*", 'return sys(nr.quotactl, 0x800002 << 8, "/nonexistent", 0, 0)'),
    ("quotactl_fd", "E(?!PERM).*", "return sys(nr.quotactl_fd, -1, 0x800002 << 8, 0, 0)"),
    ("syslog", "ok", "return sys(nr.syslog, 10, nil, 0)"),
    ("fanotify_init", "ok|ENOSYS", "return sys(nr.fanotify_init, 0, 0)"),
    ("migrate_pages", "ok|ENOSYS|EINVAL", "return sys(nr.migrate_pages, 0, 0, 0, 0)"),
    ("move_pages", "ok|ENOSYS|EINVAL", "return sys(nr.move_pages, 0, 0, 0, 0, 0, 0)"),
    (
        "open_by_handle_at",
        "ok",
        'local h = escape.buffer(136) local id = escape.buffer(8) sys(nr.fcntl, 0, 1)\n'
        'local given = pack("<I4i4", 128, 0) .. ("\\0"):rep(128)\n'
        "assert(sys(nr.name_to_handle_at, CWD, file, given, id, 0) == 0)\n"
        'return sys(nr.open_by_handle_at, open("/tmp", 0), given, 0)',
    ),
]
if X86_64:
    KERNEL += [
        ("iopl", "EINVAL|ENOSYS", "return sys(nr.iopl, 9)"),
        ("ioperm", "EINVAL|ENOSYS", "return sys(nr.ioperm, 0, 0, 0)"),
        ("modify_ldt", "ok|ENOSYS", "return sys(nr.modify_ldt, 0, escape.buffer(16), 16)"),
    ]

NAMESPACES = [
    (f"unshare({name})", "ok", f"return sys(nr.unshare, {flag})")
    for name, flag in (
        ("mount", 0x20000),
        ("cgroup", 0x2000000),
        ("uts", 0x4000000),
        ("ipc", 0x8000000),
        ("user", 0x10000000),
        ("pid", 0x20000000),
        ("net", 0x40000000),
        ("time", 0x80),
    )
] + [
    ("clone(user)", "ok", "return escape.process(nr.clone, 0x10000000 | 17)"),
    ("clone(net)", "ok", "return escape.process(nr.clone, 0x40000000 | 17)"),
    ("clone(mount)", "ok", "return escape.process(nr.clone, 0x20000 | 17)"),
    (
        "clone3(user)",
        "ok",
        'return escape.process(nr.clone3, pack("<I8I8I8I8I8", 0x10000000, 0, 0, 0, 17) .. ("\\0"):rep(48), 88)',
    ),
    (
        "clone3",
        "ok",
        'return escape.process(nr.clone3, pack("<I8I8I8I8I8", 0, 0, 0, 0, 17) .. ("\\0"):rep(48), 88)',
        "ENOSYS",
    ),
    ("setns", "ok", 'return sys(nr.setns, open("/proc/self/ns/uts"), 0)'),
    ("mount", "ok", 'return sys(nr.mount, "none", dir, "tmpfs", 0, nil)'),
    ("umount2", "ENOENT", 'return sys(nr.umount2, "/nonexistent", 0)'),
    ("pivot_root", "E(?!PERM).*", 'return sys(nr.pivot_root, "/nonexistent", "/nonexistent")'),
    ("chroot", "ok", 'return sys(nr.chroot, "/")'),
    ("fsopen", "ok", 'return sys(nr.fsopen, "tmpfs", 0)'),
    ("fsconfig", "EBADF|EINVAL", "return sys(nr.fsconfig, -1, 6, nil, nil, 0)"),
    ("fsmount", "EBADF", "return sys(nr.fsmount, -1, 0, 0)"),
    ("fspick", "ENOENT", 'return sys(nr.fspick, CWD, "/nonexistent", 0)'),
    ("open_tree", "ok", 'return sys(nr.open_tree, CWD, "/", 1)'),
    ("move_mount", "ENOENT", 'return sys(nr.move_mount, CWD, "/nonexistent", CWD, "/nonexistent", 0)'),
    (
        "mount_setattr",
        "E(?!PERM).*",
        'return sys(nr.mount_setattr, CWD, "/nonexistent", 0, pack("<I8I8I8I8", 1, 0, 0, 0), 32)',
    ),
]

# The kernel takes the lower half of these arguments only: a filter that compares all of it can be passed.
HIGH = "0x100000000 | "
ARGUMENTS = [
    (f"{name}{' with more bits' if high else ''}", want, body.replace("HIGH ", high))
    for high in ("", HIGH)
    for name, want, body in (
        ("TIOCSTI", "ok", 'return sys(nr.ioctl, open("/dev/ptmx", 2), HIGH 0x5412, "x")'),
        ("TIOCLINUX", "ENOTTY|EINVAL", 'return sys(nr.ioctl, open("/dev/ptmx", 2), HIGH 0x541C, "\\0")'),
        ("AF_PACKET", "ok", "return sys(nr.socket, HIGH 17, 3, 0)"),
        ("AF_VSOCK", "ok|EAFNOSUPPORT", "return sys(nr.socket, HIGH 40, 1, 0)"),
        ("AF_ALG", "ok|EAFNOSUPPORT", "return sys(nr.socket, HIGH 38, 5, 0)"),
        ("AF_XDP", "ok|EAFNOSUPPORT", "return sys(nr.socket, HIGH 44, 3, 0)"),
        ("AF_SMC", "ok|EAFNOSUPPORT", "return sys(nr.socket, HIGH 43, 1, 0)"),
        ("AF_KEY", "ok|EAFNOSUPPORT|EINVAL", "return sys(nr.socket, HIGH 15, 3, 2)"),
        ("AF_TIPC", "ok|EAFNOSUPPORT", "return sys(nr.socket, HIGH 30, 1, 0)"),
        ("AF_BLUETOOTH", "ok|EAFNOSUPPORT", "return sys(nr.socket, HIGH 31, 3, 1)"),
        ("AF_CAN", "ok|EAFNOSUPPORT", "return sys(nr.socket, HIGH 29, 3, 1)"),
        ("AF_APPLETALK", "ok|EAFNOSUPPORT", "return sys(nr.socket, HIGH 5, 2, 0)"),
    )
]


@test("always on: other processes are neither traced, nor read, nor written")
def _():
    tried([row for row in OTHERS if not (SANITIZED and "ptrace" in row[2])], ())


@test("always on: the kernel's programs, keys, modules, clocks and names")
def _():
    tried(KERNEL, ())


@test("always on: no namespace, no mount, whatever the call")
def _():
    tried(NAMESPACES, ())


@test("always on: keys for a terminal, rare kinds of sockets; also with bits that the kernel passes over")
def _():
    # EAFNOSUPPORT: as if the kernel did not have the family.
    tried(ARGUMENTS, (), "EPERM|EAFNOSUPPORT")


@test("all rows of src/sandbox/calls.h: refused before the kernel looks at the arguments")
def _():
    said = mbtest.subprocess.run(
        [mbtest.need("cc", "gcc", "clang"), "-E", "-dM", "-"],
        input=b"#include <sys/syscall.h>\n", stdout=mbtest.subprocess.PIPE, check=True,
    ).stdout.decode()
    numbers = dict(re.findall(r"#define __NR_(\w+) (\d+)", said))
    table = mbtest.read_file(f"{mbtest.SRCDIR}/src/sandbox/calls.h")
    rows = re.findall(r'^MB_CALL\("(\w+)", (ALWAYS|WISH),', table, re.MULTILINE)
    check(len(rows) > 80, f"rows: {rows}")
    for args, classes in (((), {"ALWAYS"}), ((STRICT,), {"ALWAYS", "WISH"})):
        calls = [f"{{ '{name}', {numbers[name]} }}" for name, kind in rows if kind in classes and name in numbers]
        body = f"""
local passed = {{}}
for _, call in ipairs {{ {", ".join(calls)} }} do
  local got, _, errno = sys(call[2], -1, -1, -1, -1, -1, -1)
  if got or errno ~= 1 then passed[#passed + 1] = call[1] .. " " .. tostring(errno) end
end
return table.concat(passed, ", ")
"""
        passed = Attack(body, *args).got
        equal(passed, "ok ptrace 3" if SANITIZED else "ok ", f"calls that are not refused with {args}")


@test("always on: the entries for programs of 32 bits and for x32; numbers that are newer than the list")
def _():
    if X86_64:
        # Their numbers of getpid, open and ptrace.
        for arguments in ("20", "5, file, 0", "26, 0x4206, sys(nr.getppid)"):
            values = files()
            body = f"return escape.int80({arguments})"
            attack = Attack(body, OFF, **values)
            check(re.fullmatch("ok .*|ENOSYS", attack.got), f"{body} without a sandbox: {attack.got}")
            for args in ((), (STRICT,)):
                Attack(body, *args, **values).refused("EPERM|ENOSYS")
        # Most kernels have no x32; those that have it answer getpid.
        for number in ("nr.getpid | 0x40000000", "nr.ptrace | 0x40000000", "521 | 0x40000000", "520", "545"):
            for args in ((), (STRICT,)):
                Attack(f"return sys({number}, 0, 0, 0, 0)", *args).refused("EPERM|ENOSYS")
    for number in ("600", "1000", "0x3fffffff", "-1", "0x100000000 | nr.add_key", "0x100000000 | nr.keyctl"):
        Attack(f"return sys({number}, 0, -2, 1)").refused("EPERM|ENOSYS")


@test("always on: ordinary work goes on: files, programs, sockets, threads, limits")
def _():
    rows = [
        ("a file", "return open(file)"),
        ("a socket", "return connect(IN, STREAM, inet(port))"),
        ("a Unix socket", "return connect(UNIX, STREAM, unix(path))"),
        ("a process", "return escape.process(nr.clone, 17)"),
        ("a thread", "return escape.thread(nr.getpid)"),
        ("a program", "return become(socket, nr.execve, nil, '/bin/echo', 0, 'ok')"),
        ("an owner", "return sys(nr.fchmodat, CWD, file, 420)"),
        ("a signal", "return sys(nr.kill, victim, 0)"),
        ("a limit", 'return sys(nr.prlimit64, 0, 7, pack("<I8I8", 64, 64), nil)'),
    ]
    for name, body in rows:
        for args in ((), (OFF,)):
            victim = Victim()
            attack = Attack(body, *args, victim=victim.pid, **peers.values(), **files())
            check(attack.got.startswith("ok"), f"{name} with {args}: {attack.got}; {attack.log}")
            victim.stop()
    peers.taken()


@test("always on: new privileges are none, memory is not for others, and a fault leaves no core file")
def _():
    status = 'local f = io.open("/proc/self/status") local text = f:read("a") return text:match("NoNewPrivs:%s*(%d)")'
    for args, want in (((OFF,), ("0", "1")), ((), ("1", "1" if SANITIZED else "0"))):
        equal(Attack(status, *args).got, f"ok {want[0]}", f"NoNewPrivs with {args}")
        equal(Attack("return sys(nr.prctl, 3)", *args).got, f"ok {want[1]}", f"PR_GET_DUMPABLE with {args}")
    pattern = mbtest.read_file("/proc/sys/kernel/core_pattern").strip()
    # AddressSanitizer turns core files off by itself.
    if not re.match(r"[|/@]", pattern) and not SANITIZED:
        for args, cores in (((OFF,), 1), ((), 0)):
            directory = mbtest.tmp(f"cores{cores}", "x")[:-2]
            program = ["/bin/sh", "-c", f'cd {directory} && ulimit -c unlimited && exec "$@"', "sh"]
            attack = Attack("escape.crash()", *args, program=program)
            equal(attack.status, -11, f"its end: {attack.log}")
            equal(len(os.listdir(directory)), cores, f"core files with {args}")


@test("always on: a program with the bit of another user does not become that user")
def _():
    program = f"{ROOM}/id"
    mbtest.output_of("cp", mbtest.need("id"), program)
    os.chmod(program, 0o4755)
    for args, want in (((OFF,), "0"), ((), str(ACCOUNT))):
        attack = Attack(f"return become(socket, nr.execve, nil, '{program}', 0, '-u')", *args, user=ACCOUNT)
        equal(attack.got.strip(), want, f"who it is with {args}; log {attack.log}")
    os.unlink(program)


# --- Processes of a pool ---


def pool(body, *args, user=None, **values):
    """A pool of two processes that run this attack for each client."""
    path = mbtest.script(source(body, **values).replace("listen{ ", "listen{ pre_fork=2, min_fork=2, max_fork=4, "))
    os.chmod(path, 0o644)
    where = ("127.0.0.1", mbtest.free_port())
    prefix = [mbtest.need("setpriv"), f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    process = mbpool.Pool.__new__(mbpool.Pool)
    process.where = where
    mbtest.Process.__init__(process, [*prefix, f"{ROOM}/mb-handle", f"--serve=127.0.0.1:{where[1]}", *args, path])
    process.ready()
    until(lambda: len(process.workers()) >= 2, "two processes")
    return process


SIBLING = """
local own, parent, sibling = sys(nr.getpid), sys(nr.getppid)
local children = assert(io.open("/proc/" .. parent .. "/task/" .. parent .. "/children"))
for pid in children:read("a"):gmatch("%d+") do
  if tonumber(pid) ~= own then sibling = tonumber(pid) end
end
"""


@test("in a pool: neither parent nor sibling is traced; their memory is not for an account without privileges")
def _():
    # What is tried here a program with AddressSanitizer allows: see SANITIZED.
    for what in () if SANITIZED else ("parent", "sibling"):
        body = SIBLING + f"return sys(nr.ptrace, 0x4206, {what}, 0, 0)"
        for args, pattern in (((OFF,), "ok"), ((), "EPERM")):
            for user in (None, ACCOUNT):
                process = pool(body, *args, user=user)
                got = mbescape.result(process.ask())
                check(fits(got, pattern), f"ptrace of the {what} with {args} as {user}: {got}")
                process.stop()
        for name in ("mem", "environ", "maps"):
            body = SIBLING + f'return open("/proc/" .. {what} .. "/{name}")'
            for args, pattern in (((OFF,), "ok"), ((), "EACCES|EPERM")):
                process = pool(body, *args, user=ACCOUNT)
                got = mbescape.result(process.ask())
                check(fits(got, pattern), f"/proc/PID/{name} of the {what} with {args}: {got}")
                process.stop()


@test("in a pool: all processes have the filter and no new privileges; with --sandbox=off none has")
def _():
    for args, want in (((OFF,), ("0", "0")), ((), ("1", "2")), ((STRICT,), ("1", "2"))):
        process = pool("return 1", *args)
        equal(process.ask(), b"ok 1", "the answer")
        until(lambda p=process: len(p.workers()) >= 2, "two processes")
        for pid in (process.pid, *process.generations(), *process.workers()):
            text = mbtest.read_file(f"/proc/{pid}/status")
            if not text:  # it has ended behind its connection
                continue
            got = tuple(re.search(rf"{name}:\s*(\d)", text).group(1) for name in ("NoNewPrivs", "Seccomp"))
            equal(got, want, f"NoNewPrivs and Seccomp of a process with {args}")
        process.stop()


@test("in a pool with a strict sandbox: no signal reaches the parent, a sibling or another process")
def _():
    for what in ("parent", "sibling", "victim"):
        victim = Victim()
        # SIGCONT harms nobody.
        for args, pattern in (((OFF,), "ok"), ((STRICT,), "EPERM")):
            # A strict sandbox has no /proc: the pids come before the lock, or by trying.
            before = "local victim_pid = %d" % victim.pid
            body = "local target = sys(nr.getppid)\nreturn sys(nr.kill, target, 18)"
            if what == "victim":
                body = before + "\nreturn sys(nr.kill, victim_pid, 18)"
            if what == "sibling":
                # Those beside it have numbers near its own.
                body = (
                    "local own, last = sys(nr.getpid), {}\nfor pid = own - 20, own + 20 do\n"
                    "  if pid > 1 and pid ~= own and pid ~= sys(nr.getppid) then\n"
                    "    local got, text, errno = sys(nr.kill, pid, 18)\n"
                    "    if got then return got end\n"
                    "    if errno ~= 3 then last = { got, text, errno } end\n  end\nend\n"
                    "return table.unpack(last, 1, 3)"
                )
            process = pool(body, *args)
            until(lambda p=process: len(p.workers()) >= 2, "two processes")
            got = mbescape.result(process.ask())
            check(fits(got, pattern), f"a signal to the {what} with {args}: {got}")
            process.stop()
        victim.stop()


# The processes of a pool share memory, in which a child finds its own process id. POKE writes there, or reads.
BOARD = """
local shared = {}
for line in io.lines("/proc/self/maps") do
  local from, to = line:match("^(%x+)%-(%x+) rw%-s .*/dev/zero")
  if from then shared[#shared + 1] = { tonumber(from, 16), tonumber(to, 16) } end
end
local p = escape.buffer(8)
assert(sys(nr.pipe2, p, 0) == 0)
local from, to = string.unpack("<i4i4", escape.bytes(p))
local function peek(at, size)
  local copy = escape.buffer(size)
  assert(sys(nr.write, to, at, size) == size and sys(nr.read, from, copy, size) == size)
  return escape.bytes(copy)
end
local function poke(at, text)
  assert(sys(nr.write, to, text, #text) == #text and sys(nr.read, from, at, #text) == #text)
end
-- Where the own process id is, at each place.
local function own_places()
  local own, found = pack("<i4", sys(nr.getpid)), {}
  for _, area in ipairs(shared) do
    for at = area[1], area[2] - 4096, 4096 do
      local page, found_at = peek(at, 4096), 0
      repeat
        found_at = page:find(own, found_at + 1, true)
        if found_at and (found_at - 1) % 4 == 0 then found[#found + 1] = at + found_at - 1 end
      until not found_at
    end
  end
  return found
end
"""


@test("in a pool with a strict sandbox: what a child writes to the memory of all makes nobody send signals for it")
def _():
    body = """
local places = own_places()
for _, at in ipairs(places) do poke(at, pack("<i4", victim)) end
socket:write(#places, "\\n")
socket:flush()
socket:read(1)
return 1
"""
    victim = Victim()
    process = pool(body, STRICT, "--grace=1", before=BOARD, victim=victim.pid)
    with mbtest.Client(process.where) as client:
        places = client.line()
        check(places.isdigit(), f"places: {places}; {process.text()}")
        os.kill(process.pid, 15)
        # Whoever would send the signal has ended when this process has.
        process.wait()
    check(victim.lives(), "the other process lives")
    victim.stop()


@test("in a pool with a strict sandbox: whatever a child writes to the memory of all, its parent lives")
def _():
    body = """
if socket:read(1) == "x" then
  for _, area in ipairs(shared) do
    for at = area[1], area[2] - 4096, 4096 do poke(at, pack("<i4", number):rep(1024)) end
  end
end
return 1
"""
    faults = []
    for number in (-1, 0, 1, 3, 4, 5, 1 << 12, 1 << 20, -(1 << 20), (1 << 31) - 1, 0x01010101):
        process = pool(body, STRICT, "--grace=1", before=BOARD, number=number)
        generation = process.generation()
        with mbtest.Client(process.where) as client:
            client.send("x")
            with contextlib.suppress(OSError):
                client.end()
            with contextlib.suppress(OSError, mbtest.Failed):
                process.ask("y")
            count = len(mbpool.children_of(generation))
            if count > 4:
                faults.append(f"{number}: {count} processes, where 4 are the most")
            # It has looked at that memory when it has made another generation.
            process.reload()
        if f"process {generation}, which makes the others, was ended" in process.text():
            faults.append(f"{number}: {process.text()}")
        with mbtest.Client(process.where) as client:
            client.send("y")
            equal(client.end(), (b"ok 1", "eof"), f"{number}: a client after the reload; {process.text()}")
        process.stop()
        equal(process.popen.returncode, 0, f"{number}: status; {process.text()}")
    if faults:
        raise mbtest.Failed("\n".join(faults))


@test("in a pool with a strict sandbox: a child that ends the TCP listener of all ends it for a moment")
def _():
    body = """
if socket:read(1) == "x" then
  for fd = 3, 40 do
    if fd ~= socket.fd then
      sys(nr.shutdown, fd, 2)
      sys(nr.connect, fd, ("\\0"):rep(16), 2)
    end
  end
end
return 1
"""
    process = pool(body, STRICT)
    for _ in range(3):
        with mbtest.Client(process.where) as client:
            client.send("x")
            with contextlib.suppress(OSError):
                client.end()

        def served():
            with contextlib.suppress(OSError, mbtest.Failed):
                return process.ask("y") == b"ok 1"

        until(served, f"others are served: {process.text()}")
    process.stop()


# --- A sandbox without a wish ---

PROC = [
    (f"/proc of {what}: {name}", "ok", f'return open("/proc/{pid}/{name}")')
    for what, pid in (("itself", "self"), ("the parent", '" .. sys(nr.getppid) .. "'), ("another", '" .. victim .. "'))
    for name in ("mem", "environ", "maps", "status", "cmdline")
]

FILES = [
    ("a file is read", "ok", 'return open("/etc/passwd")'),
    ("openat2", "ok", 'return sys(nr.openat2, CWD, "/etc/passwd", ("\\0"):rep(24), 24)'),
    ("from a descriptor", "ok", 'return sys(nr.openat, sys(nr.openat, CWD, "/", 0x200000), "etc/passwd", 0)'),
    ("in a new thread", "ok", 'return escape.thread(nr.openat, CWD, "/etc/passwd", 0)'),
    ("a directory is read", "ok", 'return open("/etc", 0x10000)'),
    ("a device", "ok", 'return open("/dev/zero")'),
    ("a file is written", "ok", "return open(file, 1)"),
    ("a file is made", "ok", 'return open(dir .. "/new", 0x41)'),
    ("a file without a name", "ok", "return open(dir, 0x410001)"),
    ("truncate", "ok", "return sys(nr.truncate, file, 0)"),
    ("unlink", "ok", "return sys(nr.unlinkat, CWD, file, 0)"),
    ("rename", "ok", 'return sys(nr.renameat2, CWD, file, CWD, dir .. "/new", 0)'),
    ("link", "ok", 'return sys(nr.linkat, CWD, file, CWD, dir .. "/link", 0)'),
    ("symlink", "ok", 'return sys(nr.symlinkat, file, CWD, dir .. "/link")'),
    ("mkdir", "ok", 'return sys(nr.mkdirat, CWD, dir .. "/made", 511)'),
    ("mknod", "ok", 'return sys(nr.mknodat, CWD, dir .. "/new", 0x11a4, 0)'),
    ("mknod of a device", "ok", 'return sys(nr.mknodat, CWD, dir .. "/new", 0x2180, 0x105)'),
    ("fchmodat", "ok", "return sys(nr.fchmodat, CWD, file, 511)"),
    ("fchmodat2", "ok|ENOSYS", "return sys(nr.fchmodat2, CWD, file, 511, 0)"),
    ("fchownat", "ok", "return sys(nr.fchownat, CWD, file, 1, 1, 0)"),
    ("utimensat", "ok", "return sys(nr.utimensat, CWD, file, nil, 0)"),
    ("setxattr", "ok|EOPNOTSUPP", 'return sys(nr.setxattr, file, "trusted.mb", "x", 1, 0)'),
    ("lsetxattr", "ok|EOPNOTSUPP", 'return sys(nr.lsetxattr, file, "trusted.mb", "x", 1, 0)'),
    (
        "setxattrat",
        "E(?!PERM).*|ok",
        'return sys(nr.setxattrat, CWD, file, 0, "trusted.mb", pack("<I8I4I4", address("x"), 1, 0), 16)',
    ),
    ("file_setattr", "E(?!PERM).*|ok", 'return sys(nr.file_setattr, CWD, file, ("\\0"):rep(24), 24, 0)'),
]
if X86_64:
    FILES += [
        ("open", "ok", 'return sys(nr.open, "/etc/passwd", 0)'),
        ("creat", "ok", 'return sys(nr.creat, dir .. "/new", 438)'),
        ("chmod", "ok", "return sys(nr.chmod, file, 511)"),
        ("chown", "ok", "return sys(nr.chown, file, 1, 1)"),
        ("lchown", "ok", "return sys(nr.lchown, file, 1, 1)"),
        ("utime", "ok", "return sys(nr.utime, file, nil)"),
        ("utimes", "ok", "return sys(nr.utimes, file, nil)"),
        ("futimesat", "ok", "return sys(nr.futimesat, CWD, file, nil)"),
    ]

PROCESSES = [
    ("clone", "ok", "return escape.process(nr.clone, 17)"),
    ("clone with all but a thread's flags", "ok", "return escape.process(nr.clone, 0x600 | 17)"),
    (
        "clone3",
        "ok",
        'return escape.process(nr.clone3, pack("<I8I8I8I8I8", 0, 0, 0, 0, 17) .. ("\\0"):rep(48), 88)',
        "ENOSYS",
    ),
    ("vfork", "ok", "return escape.vfork()"),
    ("execve", "executed\n", 'return become(socket, nr.execve, nil, "/bin/echo", 0, "executed")'),
    (
        "execve of a script's interpreter",
        "executed\n",
        'return become(socket, nr.execve, nil, "/bin/sh", 0, "-c", "echo executed")',
    ),
    ("execveat", "executed\n", 'return become(socket, nr.execveat, CWD, "/bin/echo", 0, "executed")'),
]
if X86_64:
    PROCESSES += [("fork", "ok", "return escape.process(nr.fork)")]

# The program is in memory, or was opened before the lock.
OPENED = "local program = assert(sys(nr.openat, CWD, '/bin/echo', 0, 0))"
IN_MEMORY = """
local f = assert(io.open("/bin/echo", "rb"))
local text = f:read("a")
f:close()
local program = assert(sys(nr.memfd_create, "echo", 0))
assert(sys(nr.write, program, text, #text) == #text)
"""
WRITTEN = """
local program, why, errno = sys(nr.memfd_create, "echo", 0)
if not program then return program, why, errno end
sys(nr.write, program, text, #text)
"""

NET = [
    ("TCP", "ok", "return connect(IN, STREAM, inet(port))"),
    ("TCP over IPv6", "ok", "return connect(IN6, STREAM, inet6(port6))"),
    (
        "TCP, an IPv4 address as IPv6",
        "ok",
        'return connect(IN6, STREAM, inet6(port, ("\\0"):rep(10) .. "\\255\\255\\127\\0\\0\\1"))',
    ),
    ("MPTCP", "ok|EPROTONOSUPPORT|ENOPROTOOPT", "return connect(IN, STREAM, inet(port), 262)"),
    ("SCTP", "ok|EPROTONOSUPPORT|ESOCKTNOSUPPORT|ECONNREFUSED", "return connect(IN, STREAM, inet(port), 132)"),
    (
        "in a new thread",
        "ok",
        "local s = sys(nr.socket, IN, STREAM, 0) return escape.thread(nr.connect, s or -1, to(inet(port)))",
        "EPERM|EACCES|EBADF",
    ),
    ("a Unix socket with a path", "ok", "return connect(UNIX, STREAM, unix(path))"),
    ("an abstract Unix socket", "ok", "return connect(UNIX, STREAM, unix(abstract))"),
    ("UDP, connected", "ok", "return connect(IN, DGRAM, inet(udp_port))"),
    ("UDP", "ok 1", 'return by(IN, DGRAM, nr.sendto, "x", 1, 0, to(inet(udp_port)))'),
    ("UDP by sendmsg", "ok 1", 'return by(IN, DGRAM, nr.sendmsg, message(inet(udp_port), "x"), 0)'),
    ("ICMP", "ok", "return sys(nr.socket, IN, 3, 1)"),
    ("a socket of pings", "ok|EACCES", "return sys(nr.socket, IN, DGRAM, 1)"),
    ("raw IPv6", "ok", "return sys(nr.socket, IN6, 3, 255)"),
    ("the journal's socket", "ok 1", 'return by(UNIX, DGRAM, nr.sendto, "x", 1, 0, to(unix(journal)))'),
    ("the journal's socket by sendmsg", "ok 1", 'return by(UNIX, DGRAM, nr.sendmsg, message(unix(journal), "x"), 0)'),
    (
        "the journal's socket by sendmmsg",
        "ok 1",
        'return by(UNIX, DGRAM, nr.sendmmsg, message(unix(journal), "x") .. ("\\0"):rep(8), 1, 0)',
    ),
    (
        "the journal's socket from a pair",
        "ok 1",
        'local p = escape.buffer(8) local s, t, e = sys(nr.socketpair, UNIX, DGRAM, 0, p) if not s then return s, '
        't, e end s = string.unpack("<i4", escape.bytes(p)) return sys(nr.sendmsg, s, message(unix(journal), "x"), '
        '0)',
    ),
    ("an abstract socket's datagrams", "ok 1", 'return by(UNIX, DGRAM, nr.sendto, "x", 1, 0, to(unix(abstract_log)))'),
] + [
    (f"MSG_FASTOPEN by {call}{' with more bits' if high else ''}", "ok", f"return by(IN, STREAM, nr.{call}, {rest}")
    for high in ("", HIGH)
    for call, rest in (
        ("sendto", f'"x", 1, {high}0x20000000, to(inet(port)))'),
        ("sendmsg", f'message(inet(port), "x"), {high}0x20000000)'),
        ("sendmmsg", f'message(inet(port), "x") .. ("\\0"):rep(8), 1, {high}0x20000000)'),
    )
] + [
    ("a listener without bind", "ok", "return by(IN, STREAM, nr.listen, 1)"),
    ("the name of a listener", "ok", "return by(IN, STREAM, nr.bind, to(inet(0)))"),
    ("a Unix socket's name", "ok", 'return by(UNIX, STREAM, nr.bind, to(unix(dir .. "/new")))'),
    ("an abstract name", "ok", 'return by(UNIX, STREAM, nr.bind, unix("\\0mb-escape-new"), 17)'),
    ("UDP's name", "ok", "return by(IN, DGRAM, nr.bind, to(inet(0)))"),
    (
        "the network's addresses are changed",
        "ok",
        'return by(16, 3, nr.sendto, pack("<I4I2I2I4I4BBBBi4c1", 25, 16, 5, 1, 0, 0, 0, 0, 0, 0, "\\0"), 25, 0, '
        'nil, 0)',
    ),
]

SIGNALS = [
    ("kill", "ok", "return sys(nr.kill, victim, 0)"),
    ("SIGTERM", "ok", "return sys(nr.kill, victim, 15)"),
    ("tkill", "ok", "return sys(nr.tkill, victim, 18)"),
    ("tgkill", "ok", "return sys(nr.tgkill, victim, victim, 18)"),
    ("the parent", "ok", "return sys(nr.kill, sys(nr.getppid), 18)"),
    ("in a new thread", "ok", "return escape.thread(nr.kill, victim, 18)"),
    (
        "rt_sigqueueinfo",
        "ok",
        'return sys(nr.rt_sigqueueinfo, victim, 18, pack("<i4i4i4", 18, 0, -1) .. ("\\0"):rep(116))',
    ),
    (
        "pidfd_send_signal",
        "ok",
        "local fd, t, e = sys(nr.pidfd_open, victim, 0) if not fd then return fd, t, e end return "
        "sys(nr.pidfd_send_signal, fd, 18, nil, 0)",
    ),
    ("setpriority", "ok", "return sys(nr.setpriority, 0, victim, 5)"),
    ("sched_setaffinity", "ok", 'return sys(nr.sched_setaffinity, victim, 8, pack("<I8", 1))'),
    ("sched_setscheduler", "ok", 'return sys(nr.sched_setscheduler, victim, 3, pack("<i4", 0))'),
    ("sched_setparam", "ok", 'return sys(nr.sched_setparam, victim, pack("<i4", 0))'),
    ("ioprio_set", "ok", "return sys(nr.ioprio_set, 1, victim, 3 << 13)"),
    ("another's limit", "ok", 'return sys(nr.prlimit64, victim, 7, pack("<I8I8", 10, 10), nil)'),
    ("setrlimit", "ok", 'return sys(nr.setrlimit, 7, pack("<I8I8", 64, 64))'),
    ("the own limit", "ok", 'return sys(nr.prlimit64, 0, 7, pack("<I8I8", 64, 64), nil)'),
]

IPC = [
    ("shmget", "ok|ENOSYS", "return sys(nr.shmget, 0, 4096, 0x380)"),
    ("semget", "ok|ENOSYS", "return sys(nr.semget, 0, 1, 0x380)"),
    ("msgget", "ok|ENOSYS", "return sys(nr.msgget, 0, 0x380)"),
    (
        "mq_open",
        "ok|ENOSYS",
        'local q, t, e = sys(nr.mq_open, "mb-escape", 0x42, 384, nil) if q then sys(nr.mq_unlink, "mb-escape") end '
        'return q, t, e',
    ),
    ("inotify", "ok", 'return sys(nr.inotify_add_watch, sys(nr.inotify_init1, 0), "/etc", 0x100)', REFUSED + "|EBADF"),
]


@test("strict: no file is read, written, made, removed or changed")
def _():
    tried(FILES, (STRICT,))


@test("strict: /proc of itself, of the parent and of others")
def _():
    tried(PROC, (STRICT,))


@test("strict: no process, no program; a thread is allowed, and has the sandbox")
def _():
    tried(PROCESSES, (STRICT,))
    equal(Attack("return escape.thread(nr.getpid) > 0", STRICT).got, "ok true", "a thread")


@test("strict: nor a program that is in memory, or was opened before the lock")
def _():
    call = 'return become(socket, nr.execveat, program, "", 0x1000, "executed")'
    path = 'return become(socket, nr.execve, nil, "/proc/self/fd/" .. program, 0, "executed")'
    late = IN_MEMORY.split("local program")[0]
    rows = [(OPENED, call), (IN_MEMORY, call), (IN_MEMORY, path), (late, WRITTEN + call), (late, WRITTEN + path)]
    for before, body in rows:
        # execveat calls it "" in its list of words.
        works(body, "executed\n", OFF, before=before)
        Attack(body, STRICT, before=before).refused("EPERM|EACCES|ENOSYS|EBADF|ENOENT")


@test("strict: no connection, no datagram, no listener; neither with the sockets that there are")
def _():
    tried(NET, (STRICT,))


@test("strict: the client's own connection does not become one to somebody else")
def _():
    # AF_UNSPEC ends a connection, after which the same socket may connect anew. The result goes to the log.
    body = """
local s, none = socket.fd, ("\\0"):rep(16)
sys(nr.fcntl, s, 4, 0)
local ended = fails(sys(nr.connect, s, none, 16))
print("anew: " .. fails(sys(nr.connect, s, to(inet(port)))) .. ", ended: " .. ended)
return 1
"""
    for args, pattern, count in (
        ((OFF,), "anew: ok 0, ended: ok 0", 1),
        ((STRICT,), "anew: errno .*, ended: errno 1 ", 0),
    ):
        attack = Attack(body, *args, pair=tcp_pair, **peers.values())
        check(re.search(pattern, attack.log), f"{args}: {attack.log}")
        equal(len(peers.taken()), count, "connections that have come")


@test("strict: signals, priorities and limits of others, and the own limits")
def _():
    tried(SIGNALS, (STRICT,))


@test("strict: a signal that the kernel sends for a descriptor does not reach another process")
def _():
    body = """
local p = escape.buffer(8)
assert(sys(nr.pipe2, p, 0) == 0)
local from, to = string.unpack("<i4i4", escape.bytes(p))
local owner, text, errno = sys(nr.fcntl, from, 8, victim)
sys(nr.fcntl, from, 10, 9)
sys(nr.fcntl, from, 4, 0x2000)
sys(nr.write, to, "x", 1)
return owner, text, errno
"""
    for args, lives in (((OFF,), False), ((STRICT,), True)):
        victim = Victim()
        attack = Attack(body, *args, victim=victim.pid)
        if not lives:
            until(lambda v=victim: not v.lives(), f"it is killed: {attack.got}")
        else:
            # Whatever was sent arrives before this signal of ours does.
            os.kill(victim.pid, 18)
            check(victim.lives(), f"it lives: {attack.got}")
        victim.stop()


@test("strict: shared memory, queues and watches of the system")
def _():
    tried(IPC, (STRICT,))


@test("strict: nothing came at the listeners")
def _():
    peers.taken()
    for name, _, body, *_ in NET:
        Attack(body, STRICT, **peers.values(), **files())
        equal(peers.taken(), [], f"what has come by {name}")


@test("strict: a thread that was started before the lock has the filter; that Landlock does not hold for it is said")
def _():
    before = "escape.start_early()"
    for body in (
        "return escape.early(nr.io_uring_setup, 4, escape.buffer(120))",
        "return escape.early(nr.socket, IN, STREAM, 0)",
        "return escape.early(nr.clone, 17)",
    ):
        Attack(body, STRICT, before=before).refused()
    reads = 'return escape.early(nr.openat, CWD, "/etc/passwd", 0)'
    works(reads, "ok", OFF, before=before)
    attack = Attack(reads, STRICT, before=before)
    check(fits(attack.got, REFUSED) or "thread" in attack.log, f"by an older thread: {attack.got}, {attack.log}")
    attack = Attack(reads, wishes="{ required = true }", before=before)
    check(fits(attack.got, REFUSED) or attack.status == 78, f"required: {attack.got}, {attack.status}, {attack.log}")


@test("strict: what the attacker adds to the sandbox takes nothing away: Landlock and filters only grow")
def _():
    # A ruleset that allows everything below / to whoever has it.
    body = """
local rules = sys(nr.landlock_create_ruleset, pack("<I8", 0x1fff), 8, 0)
if rules then
  local root = sys(nr.openat, CWD, "/", 0x200000)
  sys(nr.landlock_add_rule, rules, 1, pack("<I8i4", 0x1fff, root or -1), 0)
  sys(nr.landlock_restrict_self, rules, 0)
end
return open("/etc/passwd")
"""
    works(body, "ok", OFF)
    Attack(body, STRICT).refused()


mbtest.main()
