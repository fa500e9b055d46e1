#!/usr/bin/python3
"""The sandbox as a script sees it: errors of listen{}, what a refused call returns, the lines of the log, --sandbox,
--check, and that it holds in a pool, with --dev, in intervals and mains. sandbox_escape.py tries to break out."""

import http.client
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbpool
import mbspace
import mbtest
from mblacking import KILL, LANDLOCK, SECCOMP, lacking
from mbpool import Pool
from mbtest import HANDLE, check, equal, replay, script, test, until

mbtest.without_leaks()
mbspace.enter()

DIR = mbtest.tmp("files", "x")[:-2]
FILE, SECRET = mbtest.write_file(f"{DIR}/file", "content"), mbtest.write_file(mbtest.tmp("outside", "secret"), "secret")
OUTSIDE = os.path.dirname(SECRET)
OFF, STRICT = "--sandbox=off", "--sandbox=strict"

# say() writes what a call returns, a line for each call.
HEAD = """
local io_ = require "moonbridge_io"
local socket
local function say(...)
  local values = table.pack(...)
  for i = 1, values.n do values[i] = tostring(values[i]) end
  socket:write(table.concat(values, " | "), "\\n")
end
"""


def source(body, wishes=None, before="", listeners=""):
    sandbox = f"sandbox = {wishes}, " if wishes is not None else ""
    return f"{HEAD}{before}\nlisten{{ {listeners}{sandbox}connect = function(s) socket = s\n{body}\nend }}\n"


def run(body, *args, wishes=None, before="", status=0, env=None, **popen):
    """Runs the body with an empty connection. Returns what it says, and the log without our name."""
    env = {n: v for n, v in os.environ.items() if n != "TZ"} | (env or {})
    done = replay(*args, script(source(body, wishes, before)), env=env, **popen)
    log = done.stderr.decode(errors="backslashreplace").replace("mb-handle: ", "")
    equal(done.returncode, status, f"exit status; log: {log}")
    return done.stdout.decode(errors="backslashreplace"), log


# --- listen{} ---


@test("listen{}: a wrong wish is an error that names the wish and what is expected")
def _():
    cases = (
        ("1", 'sandbox: expected "strict" or a table of wishes'),
        ('"stricter"', 'sandbox: expected "strict" or a table of wishes'),
        ("true", 'sandbox: expected "strict" or a table of wishes'),
        ("{ reads = {} }", 'unknown wish "reads": expected one of read, write, connect, listen, exec, modules, '),
        ("{ 'read' }", 'unknown wish "1"'),
        ("{ read = '/srv' }", "read: expected a list of absolute paths"),
        ("{ read = true }", "read: expected a list of absolute paths"),
        ("{ read = { 'relative' } }", "read: expected an absolute path"),
        ("{ read = { './file' } }", "read: expected an absolute path"),
        ("{ read = { '' } }", "read: expected an absolute path"),
        ("{ read = { 1 } }", "read: expected an absolute path"),
        ("{ read = { '/etc\\0x' } }", "read: expected an absolute path"),
        ("{ read = { x = '/etc' } }", "read: expected a list of absolute paths"),
        ("{ read = { '/nonexistent/file' } }", "read: /nonexistent/file: No such file or directory"),
        ("{ read = { '/etc/passwd/file' } }", "read: /etc/passwd/file: Not a directory"),
        ("{ write = { '/nonexistent' } }", "write: /nonexistent: No such file or directory"),
        ("{ write = 1 }", "write: expected a list"),
        ("{ exec = true }", "exec: expected false, or a list of programs"),
        ("{ exec = { 'ls' } }", "exec: expected an absolute path"),
        ("{ exec = { '/nonexistent' } }", "exec: /nonexistent: No such file or directory"),
        ("{ connect = 5432 }", "connect: expected true, false, or a list"),
        ("{ connect = { 5432 } }", 'connect: expected "tcp:PORT"'),
        ("{ connect = { 'tcp:0' } }", 'connect: expected "tcp:PORT"'),
        ("{ connect = { 'tcp:65536' } }", 'connect: expected "tcp:PORT"'),
        ("{ connect = { 'tcp:99999999999999999999' } }", 'connect: expected "tcp:PORT"'),
        ("{ connect = { 'tcp:' } }", 'connect: expected "tcp:PORT"'),
        ("{ connect = { 'tcp:80x' } }", 'connect: expected "tcp:PORT"'),
        ("{ connect = { 'udp:53' } }", 'connect: expected "tcp:PORT"'),
        ("{ connect = { 'dns\\0' } }", 'connect: expected "tcp:PORT"'),
        ("{ connect = { '/%s' } }" % ("x" * 107), "a path of at most 107 bytes"),
        ("{ listen = 1 }", "listen: expected true or false"),
        ("{ modules = 'yes' }", "modules: expected true or false"),
        ("{ required = 1 }", "required: expected true or false"),
        ("{ cpu_seconds = 0 }", "cpu_seconds: expected an integer, 1 or more"),
        ("{ cpu_seconds = 1.5 }", "cpu_seconds: expected an integer"),
        ("{ open_files = -1 }", "open_files: expected an integer"),
        ("{ file_size = -1 }", "file_size: expected an integer, 0 or more"),
        ("{ processes = 'all' }", "processes: expected an integer"),
    )
    for wishes, text in cases:
        _, log = run("", wishes=wishes, status=78)
        check(f"listen: sandbox: {text}" in log or text in log and "listen: sandbox" in log, f"{wishes}: {log}")
        check(re.search(r"script\d+\.lua:\d+: listen: ", log), f"{wishes}: the line of the script: {log}")


@test("listen{}: what is right is taken, also with lists that are empty; a listener has no field sandbox")
def _():
    for wishes in (
        '"strict"',
        "{}",
        "{ read = {}, write = {}, connect = {}, exec = {} }",
        "{ connect = false, listen = false, exec = false, modules = false, required = false }",
        f"{{ read = {{ '{DIR}', '{FILE}' }}, write = {{ '{OUTSIDE}' }} }}",
        "{ connect = { 'tcp:1', 'tcp:65535', '/run/no.sock', 'dns' } }",
        "{ cpu_seconds = 100, open_files = 64, file_size = 0, processes = 1000 }",
    ):
        equal(run('say("served")', wishes=wishes), ("served\n", ""), wishes)
    path = script('listen{ { proto = "tcp", port = 80, sandbox = "strict" }, connect = print }')
    done = replay("--check", path)
    # As it would be no sandbox, without a word.
    equal(done.returncode, 78, f"the field in a listener; log: {done.stderr}")
    check(b'"sandbox"' in done.stderr, f"the log names the field: {done.stderr}")


# --- what a script sees ---


@test("a call that is refused returns nil, a message and the errno; the log names what would allow it")
def _():
    port = mbtest.free_port()
    rows = [
        (
            f'say(io.open("{FILE}"))',
            f"nil | {FILE}: Permission denied | 13",
            f'read of {FILE} refused: sandbox = {{read = {{"{FILE}"}}}}',
        ),
        (
            f'say(io.open("{FILE}", "w"))',
            f"nil | {FILE}: Permission denied | 13",
            f'write of {FILE} refused: sandbox = {{write = {{"{FILE}"}}}}',
        ),
        (f'say(io.open("{FILE}", "r+"))', f"nil | {FILE}: Permission denied | 13", f"write of {FILE} refused"),
        (f'say(io.open("{FILE}", "a"))', f"nil | {FILE}: Permission denied | 13", f"write of {FILE} refused"),
        (f'say(os.remove("{FILE}"))', f"nil | {FILE}: Permission denied | 13", f"write of {FILE} refused"),
        (f'say(loadfile("{FILE}"))', f"nil | cannot open {FILE}: Permission denied", f"read of {FILE} refused"),
        (f'say(pcall(io.lines, "{FILE}"))', "false | .*Permission denied.*", f"read of {FILE} refused"),
        (f'say(pcall(dofile, "{FILE}"))', "false | .*Permission denied", f"read of {FILE} refused"),
        (
            'say(io.popen("echo x"))',
            "nil | echo x: Operation not permitted | 1",
            'exec of /bin/sh refused: sandbox = {exec = {"/bin/sh"}}',
        ),
        ('say(os.execute("true"))', "nil | true: Operation not permitted | 1", "exec of /bin/sh refused"),
        (
            'say(io_.exec("/bin/echo", "x"))',
            "nil | /bin/echo: .* | (1|13)",
            'exec of /bin/echo refused: sandbox = {exec = {"/bin/echo"}}',
        ),
        (
            f'say(io_.tcpconnect("127.0.0.1", {port}))',
            "nil | .* | (1|13)",
            f'connection to TCP port {port} refused: sandbox = {{connect = {{"tcp:{port}"}}}}',
        ),
        (f'say(io_.tcpconnect("::1", {port}))', "nil | .* | (1|13)", f"connection to TCP port {port} refused"),
        (
            'say(io_.localconnect("/run/x.sock"))',
            "nil | .* | (1|13)",
            'connection to /run/x.sock refused: sandbox = {connect = {"/run/x.sock"}}',
        ),
        (
            'say(io_.tcpconnect("localhost", 1))',
            "nil | .* | -?\\d+",
            'look-up of localhost refused: sandbox = {connect = {"dns"}}',
        ),
        (
            f'say(require("mb.luasocket").bind("127.0.0.1", {port}))',
            "nil | .*",
            "listen refused: sandbox = {listen = true}",
        ),
        (
            f'say(require("mb.luasocket").connect("127.0.0.1", {port}))',
            "nil | .*",
            f"connection to TCP port {port} refused",
        ),
    ]
    faults = []
    for body, want, line in rows:
        want = want.replace(" | ", r" \| ")
        for args, wishes in (((STRICT,), None), ((), '"strict"'), ((), "{}")):
            said, log = run(body, *args, wishes=wishes)
            if not re.fullmatch(want + "\n", said, re.DOTALL):
                faults.append(f"{body} says {said!r}, not {want!r}; log {log}")
            elif not re.fullmatch(re.escape(f"sandbox: {line}") + ".* would allow it\n", log):
                faults.append(f"{body}: the log's one line is {line!r} ...: {log!r}")
    if faults:
        raise mbtest.Failed("\n".join(faults))
    equal(mbtest.read_file(FILE), "content", "the file")


@test("a file that does not exist yet: the directory is what can be wished; os.rename tells of both names")
def _():
    new = f'sandbox: write of {DIR}/new refused: sandbox = {{write = {{"{DIR}"}}}} would allow it\n'
    equal(run(f'say(io.open("{DIR}/new", "w"))', STRICT), (f"nil | {DIR}/new: Permission denied | 13\n", new), "made")
    said, log = run(f'say(os.rename("{FILE}", "{DIR}/new"))', STRICT)
    equal(said, "nil | Permission denied | 13\n", "renamed")
    check(new in log and f"sandbox: write of {FILE} refused" in log and log.count("\n") == 2, f"its lines: {log}")
    equal(run(f'say(io.open("{DIR}/new", "w") ~= nil)', wishes=f"{{ write = {{ '{DIR}' }} }}"), ("true\n", ""), "wished")
    os.unlink(f"{DIR}/new")


@test("a call that the sandbox allows, or that fails for another reason, leaves no line")
def _():
    wishes = f"{{ read = {{ '{DIR}' }} }}"
    equal(run(f'say(io.open("{FILE}"):read("a"))', wishes=wishes), ("content\n", ""), "read")
    said, log = run(f'say(io.open("{DIR}/none"))', wishes=wishes)
    equal((said, log), (f"nil | {DIR}/none: No such file or directory | 2\n", ""), "a file that is not there")
    # Its own permissions refuse it, not the sandbox.
    locked = mbtest.write_file(f"{DIR}/locked", "x")
    os.chmod(locked, 0)
    for directory in (mbtest.TMP, DIR):
        os.chmod(directory, 0o755)
    path = script(source(f'say(io.open("{locked}"))', wishes))
    os.chmod(path, 0o644)
    handle = mbtest.tmp("bin", "mb-handle")
    mbtest.output_of("cp", HANDLE, handle)
    os.chmod(os.path.dirname(handle), 0o755)
    done = mbtest.subprocess.run(
        [mbtest.need("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups", handle, path],
        input=b"", capture_output=True, timeout=mbtest.RUN_MAX, check=False,
    )
    equal(done.stdout.decode(), f"nil | {locked}: Permission denied | 13\n", f"a file of another user; {done.stderr}")
    equal(done.stderr, b"", "the log")


@test("the log has each wish once, and 16 lines of a process at most")
def _():
    _, log = run(f'for _ = 1, 5 do io.open("{FILE}") io.open("{FILE}", "w") end', STRICT)
    equal(log.count("\n"), 2, f"lines: {log}")
    _, log = run(f'for n = 1, 40 do io.open("{DIR}/" .. n, "w") end', STRICT)
    equal(log.count("\n"), 16, f"lines: {log}")


@test("a wish makes it work, and its neighbour is refused: read, write, exec, connect, dns")
def _():
    with mbpool.listener() as tcp, mbpool.listener(f"{DIR}/s.sock"):
        port = tcp.getsockname()[1]
        other = mbtest.free_port()
        sock = f"{DIR}/s.sock"
        data = mbtest.tmp("data", "x")[:-2]
        rows = (
            (f"{{ read = {{ '{FILE}' }} }}", f'io.open("{FILE}")', f'io.open("{SECRET}")'),
            (f"{{ write = {{ '{data}' }} }}", f'io.open("{data}/new", "w")', f'io.open("{FILE}", "w")'),
            (
                f"{{ write = {{ '{data}' }} }}",
                f'os.rename("{data}/new", "{data}/renamed")',
                f'os.rename("{data}/renamed", "{DIR}/new")',
            ),
            (f"{{ write = {{ '{data}' }} }}", f'os.remove("{data}/renamed")', f'os.remove("{FILE}")'),
            ("{ exec = { '/bin/echo' } }", 'io_.exec("/bin/echo", "x")', 'io_.exec("/bin/cat", "/etc/passwd")'),
            ("{ exec = { '/bin/echo' } }", 'os.execute("/bin/echo x >/dev/null")', 'io_.exec("/bin/ls")'),
            ("{ exec = { '/bin/echo' } }", 'io.popen("/bin/echo x"):read("a") == "x\\n"', f'io.open("{SECRET}")'),
            (
                f"{{ connect = {{ 'tcp:{port}' }} }}",
                f'io_.tcpconnect("127.0.0.1", {port})',
                f'io_.tcpconnect("127.0.0.1", {other})',
            ),
            (f"{{ connect = {{ '{sock}' }} }}", f'io_.localconnect("{sock}")', f'io_.tcpconnect("127.0.0.1", {port})'),
            (
                f"{{ connect = {{ 'dns', 'tcp:{port}' }} }}",
                f'io_.tcpconnect("localhost", {port})',
                f'io_.tcpconnect("localhost", {other})',
            ),
            ("{ connect = true }", f'io_.tcpconnect("localhost", {port})', f'io.open("{SECRET}")'),
            (
                "{ listen = true }",
                f'require("mb.luasocket").bind("127.0.0.1", {other})',
                f'io_.tcpconnect("127.0.0.1", {port})',
            ),
        )
        faults = []
        for wishes, allowed, refused in rows:
            said, log = run(f"say((assert({allowed})))", wishes=wishes)
            if said.strip() in ("", "nil", "false") or log:
                faults.append(f"{allowed} with {wishes}: {said!r}, {log!r}")
            said, log = run(f"say({refused})", wishes=wishes)
            if not said.startswith("nil | ") or "would allow it" not in log:
                faults.append(f"{refused} with {wishes}: {said!r}, {log!r}")
        if faults:
            raise mbtest.Failed("\n".join(faults))


@test("os.execute() without a command says whether there is a shell: the one that the sandbox lets run")
def _():
    equal(run("say(os.execute())", OFF)[0], "true\n", "without a sandbox")
    equal(run("say(os.execute())", STRICT)[0], "false\n", "strict")
    equal(run("say(os.execute())", wishes="{ exec = { '/bin/echo' } }")[0], "true\n", "with exec")


@test("modules: what was required before is there; a lazy require needs the wish, and works with it")
def _():
    directory = mbtest.tmp("modules", "x")[:-2]
    mbtest.write_file(f"{directory}/lazy.lua", "return 'lazy'")
    os.makedirs(f"{directory}/real", exist_ok=True)
    mbtest.write_file(f"{directory}/real/linked.lua", "return 'linked'")
    before = f'package.path = "{directory}/?.lua"\n'
    lazily = 'say(pcall(require, "lazy"))'
    equal(run(lazily, STRICT, before=before + 'require "lazy"'), ("true | lazy\n", ""), "required before")
    said, log = run(lazily, STRICT, before=before)
    check(said.startswith("false | module 'lazy' not found"), said)
    line = f"sandbox: read of {directory}/lazy.lua refused: sandbox = {{modules = true}} would allow it\n"
    equal(log, line, "the log")
    equal(run(lazily, wishes="{ modules = true }", before=before), ("true | lazy\n", ""), "with the wish")
    # The modules in the program need no file.
    equal(run('say(pcall(require, "mb.http_server"))', STRICT)[0][:4], "true", "a module of the program")


@test("modules = true: a module of the system that is a link, as Debian's are, and one in C")
def _():
    for name in ("ltn12", "socket.core", "lpeg", "lfs"):
        said, _ = run(f'say(pcall(require, "{name}"))', OFF)
        if said.startswith("true"):
            said, log = run(f'say(pcall(require, "{name}"))', wishes="{ modules = true }")
            check(said.startswith("true"), f"{name}: {said} {log}")
        else:
            mbtest.diagnose(f"the module {name} is not installed")


@test("the time zone: /etc/localtime, and what $TZ names")
def _():
    zones = "/usr/share/zoneinfo"
    if not os.path.exists(f"{zones}/Asia/Tokyo"):
        mbtest.bail("tool tzdata missing")
    body = 'say(os.date("%H %Z", 0))'
    for zone, want in (
        ("Europe/Berlin", "01 CET"),
        (":Asia/Tokyo", "09 JST"),
        (f"{zones}/Asia/Tokyo", "09 JST"),
        ("XYZ-5", "05 XYZ"),
        ("UTC", "00 UTC"),
    ):
        equal(run(body, STRICT, env={"TZ": zone}), (want + "\n", ""), f"TZ={zone}")
    if os.path.exists("/etc/localtime"):
        mbtest.subprocess.run(["mount", "--bind", f"{zones}/Asia/Tokyo", "/etc/localtime"], check=True)
        equal(run(body, STRICT), ("09 JST\n", ""), "/etc/localtime")
        mbtest.subprocess.run(["umount", "/etc/localtime"], check=True)
    # Nothing else there may be read.
    said, _ = run(f'say(io.open("{zones}/Asia/Seoul"))', STRICT, env={"TZ": "Asia/Tokyo"})
    check(said.startswith("nil"), f"another zone: {said}")


# --- --sandbox, --check, kernels that lack something ---


@test("--sandbox: strict is for scripts that say nothing; off is for all, and is logged; other words are refused")
def _():
    body = f'say(io.open("{FILE}") and "read" or "refused")'
    for args, wishes, want in (
        ((), None, "read"),
        ((STRICT,), None, "refused"),
        ((), '"strict"', "refused"),
        ((STRICT,), f"{{ read = {{ '{FILE}' }} }}", "read"),
        ((OFF,), '"strict"', "read"),
        ((OFF,), None, "read"),
    ):
        said, log = run(body, *args, wishes=wishes)
        equal(said, want + "\n", f"{args} {wishes}")
        line = "sandbox: off (--sandbox=off)\n"
        equal(line in log, args == (OFF,), f"the log's line with {args}: {log!r}")
    returned = script(f'return function(s) s:write(io.open("{FILE}") and "read" or "refused") end')
    for args, want in (((), b"read"), ((STRICT,), b"refused"), ((OFF,), b"read")):
        equal(replay(*args, returned).stdout, want, f"a script that returns its handler, with {args}")
    for word in ("on", "none", ""):
        done = replay(f"--sandbox={word}", returned)
        equal(done.returncode, 64, f"--sandbox={word}")
        check(b"strict or off" in done.stderr, f"--sandbox={word}: {done.stderr}")


@test("prepare is free, connect and finish are not")
def _():
    path = script(
        f"""local function try(name) print(name, io.open("{FILE}") and "read" or "refused") end
listen{{ sandbox = "strict", prepare = function() try "prepare" end,
  connect = function() try "connect" end, finish = function() try "finish" end }}
try "load"
"""
    )
    said = replay(path).stderr.decode()
    want = [("load", "read"), ("prepare", "read"), ("connect", "refused"), ("finish", "refused")]
    equal(re.findall(r"(?m)^(\w+)\s+(read|refused)$", said), want, said)


def run_lacking(call, path, *args, **how):
    argv = lacking(call, HANDLE, *args, path, **how)
    return mbtest.subprocess.run(argv, input=b"", capture_output=True, timeout=mbtest.RUN_MAX, check=False)


@test("a kernel that lacks a part: the log says which, and what it means; with required = true nobody is served")
def _():
    for call, word in ((LANDLOCK, "Landlock"), (SECCOMP, "seccomp"))[: 2 if SECCOMP else 1]:
        for wishes, status, said in (
            ('"strict"', 0, b"served\n"),
            ("{ required = false }", 0, b"served\n"),
            ("{ required = true }", 78, b""),
        ):
            path = script(source('say("served")', wishes))
            done = run_lacking(call, path)
            equal((done.returncode, done.stdout), (status, said), f"without {word}, {wishes}: {done.stderr}")
            check(b"sandbox: " in done.stderr and word.encode() in done.stderr, f"without {word}: {done.stderr}")
        done = run_lacking(call, script(source('say("served")')))
        equal(done.stdout, b"served\n", f"without a wish: {done.stderr}")
    # Where all is there, required changes nothing.
    equal(run('say("served")', wishes="{ required = true }"), ("served\n", ""), "with all of it")


@test("a service manager that kills who uses Landlock: the log says what the unit lacks, and the process lives")
def _():
    done = run_lacking(LANDLOCK, script(source('say("served")', '"strict"')), answer=KILL)
    equal((done.returncode, done.stdout), (0, b"served\n"), f"status and answer: {done.stderr}")
    check(b"SystemCallFilter= lacks landlock_create_ruleset" in done.stderr, f"the log: {done.stderr}")
    done = run_lacking(LANDLOCK, script(source('say("served")', "{ required = true }")), answer=KILL)
    equal((done.returncode, done.stdout), (78, b""), f"required = true: {done.stderr}")


@test("of root's capabilities a sandbox by wish leaves five; without a wish all stay")
def _():
    # The file is opened before the lock, and says how the process is when it is read.
    body = 'say(status:read("a"):match("CapPrm:%s*(%x+)\\nCapEff:%s*(%x+)"))'
    own = int(re.search(r"CapEff:\s*(\w+)", mbtest.read_file("/proc/self/status")).group(1), 16)
    for wishes, want in (('"strict"', own & 0x4C6), ("nil", own)):
        path = script('local status = io.open("/proc/self/status")\n' + source(body, wishes))
        done = replay(path)
        got = {int(word, 16) for word in done.stdout.decode().split() if word != "|"}
        equal(got, {want}, f"capabilities with {wishes}: {done.stderr}")


@test("required = true in a pool: it does not serve where a part is missing; otherwise it does")
def _():
    path = script(source('say("served")', "{ required = true }"))
    where = ("127.0.0.1", mbtest.free_port())
    process = mbtest.Process(lacking(LANDLOCK, HANDLE, f"--serve=127.0.0.1:{where[1]}", path))
    equal(process.popen.wait(mbtest.DEADLINE), 78, f"status: {process.text()}")
    check("Landlock" in process.text() and "required" in process.text(), f"the log: {process.text()}")
    pool = Pool(path).ready()
    equal(pool.ask(), b"served\n", "where all is there")
    pool.stop()


@test("--check: each listener's sandbox, with what this machine lacks")
def _():
    path = script(
        'listen{ { proto = "tcp", port = 80 }, connect = print }\n'
        'listen{ { proto = "tcp", port = 81 }, sandbox = "strict", connect = print }\n'
        f'listen{{ {{ proto = "tcp", port = 82 }}, {{ proto = "interval", name = "i", delay = 9 }}, connect = print,\n'
        f'  sandbox = {{ read = {{ "{FILE}" }}, write = {{ "{OUTSIDE}" }},\n'
        '  connect = { "tcp:5432", "/run/x.sock", "dns" }, listen = true, exec = { "/bin/echo" }, modules = true,\n'
        "  cpu_seconds = 7, open_files = 64, file_size = 1000, processes = 3 } }\n"
    )
    said = replay("--check", path).stdout.decode()
    parts = re.split(r"(?m)^(?=\d )", said)[1:]
    equal(len(parts), 4, f"listeners of {said}")
    for part in parts:
        check("sandbox:" in part, f"a sandbox in {part}")
        check("has no" not in part, f"nothing is missing: {part}")
    words = [FILE, OUTSIDE, "tcp:5432", "/run/x.sock", "dns", "listen", "/bin/echo", "modules"]
    for word in words + ["cpu_seconds 7", "open_files 64", "file_size 1000", "processes 3"]:
        check(word in parts[2] and word in parts[3], f"{word!r} in {parts[2:]}")
        check(word not in parts[1], f"{word!r} in {parts[1]}")
    said = replay("--check", OFF, path).stdout.decode()
    equal(said.count("sandbox: off"), 4, f"with {OFF}: {said}")
    strict = replay("--check", STRICT, path).stdout.decode()
    first = re.split(r"(?m)^(?=\d )", strict)[1]
    equal(first.split("\n", 1)[1], parts[1].split("\n", 1)[1], f"with {STRICT}: {strict}")
    said = run_lacking(LANDLOCK, path, "--check").stdout.decode()
    equal(said.count("Landlock"), 3, f"without Landlock, the listeners with wishes: {said}")
    check(SECCOMP is None or "seccomp" in run_lacking(SECCOMP, path, "--check").stdout.decode(), "without seccomp")


# --- HTTP, pool, --dev, tasks ---

HTTP = """
local http = require "moonbridge_http"
listen{ %s connect = http.generate_handler(function(request)
  if request.path == "file" then
    request:send_status("200 OK")
    local done, message, errno = request:send_file("%s")
    if not done then request:send_data(tostring(message) .. " " .. tostring(errno)) end
  elseif request.path == "secret" then
    request:send_status("200 OK")
    local done, message, errno = request:send_file("%s")
    if not done then request:send_data(tostring(message) .. " " .. tostring(errno)) end
  else
    request:send_status("200 OK")
    request:send_data(tostring(io.open("%s")) .. " by " .. require("moonbridge_io").getpid())
  end
end) }
"""


def http_source(fields):
    return HTTP % (fields, FILE, SECRET, SECRET)


def get(connection, path):
    connection.request("GET", path)
    return connection.getresponse().read().decode()


@test("HTTP: send_file from a path that is wished; another is refused, with its line in the log")
def _():
    where = ("127.0.0.1", mbtest.free_port())
    pool = Pool(script(http_source(f"sandbox = {{ read = {{ '{DIR}' }} }},")), where=where).ready()
    connection = http.client.HTTPConnection(*where, timeout=mbtest.DEADLINE)
    for _ in range(3):
        equal(get(connection, "/file"), "content", "the file")
        equal(get(connection, "/secret"), f"{SECRET}: Permission denied 13", "another file")
    connection.close()
    line = f'sandbox: read of {SECRET} refused: sandbox = {{read = {{"{SECRET}"}}}} would allow it'
    until(lambda: line in pool.text(), f"{line!r} in {pool.text()}")
    equal(pool.text().count(line), 1, "lines")
    pool.stop()


@test("in a pool a child locks itself once, behind prepare, and serves many connections; so do those after a reload")
def _():
    counted = mbtest.tmp("prepared")
    body = f'say(io.open("{SECRET}") and "read" or "refused", io_.getpid(), file:read(4)) file:seek("set") return true'
    path = script(
        HEAD + f'local file\nlisten{{ pre_fork = 0, min_fork = 1, max_fork = 1, sandbox = "strict",\n'
        f'prepare = function() file = io.open("{SECRET}") io.open("{counted}", "a"):write("x") end,\n'
        f'connect = function(s) socket = s {body} end }}'
    )
    pool = Pool(path).ready()
    answers = {pool.ask() for _ in range(10)}
    equal(len(answers), 1, f"one process: {answers}")
    check(re.fullmatch(rb"refused \| \d+ \| secr\n", answers.pop()), "what it may, and what it has opened before")
    pool.reload()
    answer = pool.ask()
    check(re.fullmatch(rb"refused \| \d+ \| secr\n", answer), f"after a reload: {answer}")
    equal(pool.ask(), answer, "the same process")
    # A script that says something else is loaded anew without its old sandbox.
    text = mbtest.read_file(path)
    mbtest.write_file(path, text.replace('sandbox = "strict"', f'sandbox = {{ read = {{ "{SECRET}" }} }}'))
    pool.reload()
    check(pool.ask().startswith(b"read | "), "with another wish")
    pool.stop()
    equal(pool.popen.returncode, 0, f"status; log: {pool.text()}")
    check("sandbox: off" not in pool.text(), pool.text())
    pool = Pool(path, OFF).ready()
    check(pool.ask().startswith(b"read | "), f"with {OFF}")
    pool.stop()
    equal(pool.text().count("sandbox: off (--sandbox=off)"), 1, f"the log says it once: {pool.text()}")


@test("in a pool: cpu_seconds ends a child behind its connection, and a connection that takes twice as much")
def _():
    body = """
say(io_.getpid()) socket:flush()
local t = os.clock()
while os.clock() - t < SECONDS do end
say("done") return true
"""
    fields = "{ pre_fork = 0, min_fork = 1, max_fork = 1, "
    path = script(source(body.replace("SECONDS", "0.6"), "{ cpu_seconds = 1 }").replace("listen{", "listen" + fields))
    pool = Pool(path).ready()
    answers = [pool.ask().split(b"\n") for _ in range(4)]
    check(all(answer[1] == b"done" for answer in answers), f"each is served to its end: {answers}")
    equal(len({answer[0] for answer in answers}), 2, f"processes: {answers}")
    pool.stop()
    path = script(source(body.replace("SECONDS", "60"), "{ cpu_seconds = 1 }").replace("listen{", "listen" + fields))
    pool = Pool(path).ready()
    with mbtest.Client(pool.where) as client:
        data, how = client.end()
    equal((data.count(b"done"), how), (0, "reset"), f"one that takes longer; log: {pool.text()}")
    until(lambda: "processor time" in pool.text(), f"the log says why: {pool.text()}")
    with mbtest.Client(pool.where) as client:
        check(client.line().isdigit(), "the next client has another process")
    pool.stop(9)


@test("--record in a strict sandbox: one process, and a pool in which each connection has its file")
def _():
    directory = mbtest.tmp("records", "x")[:-2]
    path = script(source("say((socket:read())) return true", '"strict"'))
    client, conn = mbtest.local_pair()
    with client, conn:
        serving = mbtest.Serving(conn, f"--record={directory}/one", path)
        client.send("hello\n")
        client.finish()
        conn.close()
        client.end()
        equal(serving.wait(), 0, f"status; log {serving.log()}")
    check("hello" in mbtest.read_file(f"{directory}/one"), "the record")
    pool = Pool(path, f"--record={directory}/%p-%t").ready()
    for _ in range(3):
        with mbtest.Client(pool.where) as client:
            client.send("hello\n")
            client.finish()
            client.end()
    pool.stop()
    equal(pool.text().count("record"), 0, f"complaints: {pool.text()}")
    records = [name for name in os.listdir(directory) if name != "one"]
    check(records, "there are records")
    check(all("hello" in mbtest.read_file(f"{directory}/{name}") for name in records), f"records: {records}")


@test("--dev: requests have the sandbox; what is saved is served; the page of an error has the line of the script")
def _():
    directory = mbtest.tmp("dev", "x")[:-2]
    path = mbtest.write_file(f"{directory}/app.lua", http_source('sandbox = "strict",'))
    where = ("127.0.0.1", mbtest.free_port())
    process = mbtest.Process([HANDLE, f"--serve=127.0.0.1:{where[1]}", "--dev", "app.lua"], cwd=directory)
    until(lambda: "Ctrl-C ends" in process.text(), f"it serves: {process.text()}")

    def ask(path, **headers):
        connection = http.client.HTTPConnection(*where, timeout=mbtest.DEADLINE)
        connection.request("GET", path, headers={"Accept": "text/html,*/*;q=0.8"} | headers)
        body = connection.getresponse().read().decode()
        connection.close()
        return body

    check(ask("/").startswith("nil by "), "a file is refused")
    kept = http.client.HTTPConnection(*where, timeout=mbtest.DEADLINE)
    kept.request("GET", "/")
    kept.getresponse().read()
    equal(ask("/file"), f"{FILE}: Permission denied 13", "another, too")
    os.rename(mbtest.write_file(f"{path}.new", http_source(f"sandbox = {{ read = {{ '{DIR}' }} }},")), path)
    until(lambda: ask("/file") == "content", "what is saved is served")
    # Its process is locked as the old text wished: it cannot serve the new one.
    try:
        kept.request("GET", "/file")
        ended = kept.getresponse().read()
    except (http.client.HTTPException, OSError):
        ended = True
    equal(ended, True, "a kept connection ends")
    kept.close()
    fails = "local nothing\nlocal x = nothing.field_that_fails\nif x then"
    broken = http_source('sandbox = "strict",').replace('if request.path == "file" then', fails)
    os.rename(mbtest.write_file(f"{path}.new", broken), path)
    until(lambda: "nothing.field_that_fails" in ask("/"), f"the error's page has the line: {ask('/')[:500]}")
    process.stop()


@test("intervals and mains are locked in the same way, by themselves and in a pool")
def _():
    data = mbtest.tmp("tasks", "x")[:-2]
    text = (
        'listen{ { proto = "main", name = "m" }, { proto = "interval", name = "i", delay = 0.05 }, SANDBOX\n'
        f'connect = function() local f = io.open("{data}/out", "a")\n'
        f'f:write(io.open("{SECRET}") and "read\\n" or "refused\\n") f:close() end }}\n'
    )
    for sandbox, want in (("", "read"), (f"sandbox = {{ write = {{ '{data}' }} }},", "refused")):
        path = script(text.replace("SANDBOX", sandbox))
        for option in ("--main=m", "--interval=i"):
            done = replay(option, path)
            equal(done.returncode, 0, f"{option}: {done.stderr}")
            equal(mbtest.read_file(f"{data}/out"), want + "\n", f"{option} with {sandbox!r}")
            os.unlink(f"{data}/out")
        path = script(text.replace("SANDBOX", sandbox) + "listen{ connect = function(s) s:write('x') end }")
        pool = Pool(path).ready()
        until(lambda: mbtest.read_file(f"{data}/out").count("\n") >= 3, f"the interval runs: {pool.text()}")
        pool.stop()
        equal(set(mbtest.read_file(f"{data}/out").split()), {want}, f"in a pool with {sandbox!r}")
        os.unlink(f"{data}/out")


@test("each wish that a script lost its way to is said where it happens: the log of a handler in a pool has it, too")
def _():
    pool = Pool(script(source(f'say(io.open("{SECRET}"))', '"strict"'))).ready()
    check(pool.ask().startswith(b"nil | "), "refused")
    until(lambda: f"sandbox: read of {SECRET} refused" in pool.text(), f"its line: {pool.text()}")
    pool.stop()


@test("what Lua's libraries need is there in a locked process, and where no descriptor is left: ^ and % of floats")
def _():
    handler = 'function(socket) local x = tonumber((socket:read(3))) %s socket:write(x ^ 0.5 > 1.58 and "root" or "", x % 2) end'
    uses_up = "local files = {} repeat files[#files + 1] = io.open('/dev/null') until #files > 100 or not io.open('/dev/null')"
    for text in 'listen{{proto="tcp", port=1}, sandbox="strict", connect=' + handler.replace("%s", "", 1) + "}", \
            "return " + handler.replace("%s", uses_up, 1):
        argv = ["/bin/sh", "-c", 'ulimit -n 40; exec "$@"', "sh", mbtest.HANDLE, mbtest.script(text)]
        done = subprocess.run(argv, input=b"2.5", capture_output=True, timeout=mbtest.RUN_MAX, check=False)
        equal((done.returncode, done.stdout), (0, b"root0.5"), f"status and answer; log: {done.stderr.decode()}")


@test("a library that is opened in a locked process tells of what it was refused")
def _():
    outside = mbtest.write_file(mbtest.tmp("outside", "file"), "secret")
    module = mbtest.write_file(mbtest.tmp("inside", "late.lua"), f'return io.open("{outside}") and "open" or "refused"')
    directory = os.path.dirname(module)
    path = mbtest.write_file(f"{directory}/script.lua", 'listen{{proto="tcp", port=1}, sandbox={read={"%s"}}, connect='
                             'function(socket) socket:write(require "late") end}' % directory)
    done = subprocess.run([mbtest.HANDLE, path], input=b"", capture_output=True, timeout=mbtest.RUN_MAX, check=False)
    equal((done.returncode, done.stdout), (0, b"refused"), f"log: {done.stderr.decode()}")
    check(f"read of {outside} refused" in done.stderr.decode(), done.stderr.decode())


mbtest.main()
