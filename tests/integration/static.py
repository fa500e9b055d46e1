#!/usr/bin/python3
"""mb-handle-static: what is special about it. It loads nothing, asks mb-handle about names, hands over what it cannot do,
and is chosen for what it can run. Every other file of tests/integration runs with it, too, by $MB_HANDLE."""

import ast
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbpool
import mbspace
import mbtest
from mbtest import CHOSEN, SHARED, check, equal, script, test, until

HAS_STATIC = CHOSEN != SHARED
if not HAS_STATIC and not mbtest.is_sanitized():
    mbtest.bail("there is no mb-handle-static beside mb-handle")


def static_test(name):
    """A test that needs mb-handle-static. The build with AddressSanitizer has none; there, what chooses is tried."""
    return test(name) if HAS_STATIC else lambda function: function


mbtest.need("nm")
mbspace.enter()
HOSTS = mbtest.write_file(mbtest.tmp("hosts"), "127.0.0.1 localhost\n127.0.0.9 only.mb.test other.mb.test\n::1 six.mb.test\n")
subprocess.run(["mount", "--bind", HOSTS, os.path.realpath("/etc/hosts")], check=True)
mbtest.HANDLE = CHOSEN  # for all that follows
os.chmod(mbtest.TMP, 0o711)  # another account is to come in


def place(name, shared=None, mode=0o755):
    """A directory with a copy of mb-handle-static, and with a program of this text in the place of mb-handle, if any.
    Returns the path of the copy."""
    path = mbtest.tmp(name, "mb-handle-static")
    shutil.copy(CHOSEN, path)
    if shared is not None:
        beside = mbtest.write_file(mbtest.tmp(name, "mb-handle"), shared)
        os.chmod(beside, mode)
    os.chmod(os.path.dirname(path), 0o755)
    return path


def replayed(text, *args, program=CHOSEN, status=0, **popen):
    """The output of a handler with this body, and the log."""
    path = script(text if "return function" in text or "listen{" in text else f"return function(socket)\n{text}\nend\n")
    done = subprocess.run([program, *args, path], input=b"", capture_output=True, timeout=mbtest.RUN_MAX, check=False, **popen)
    equal(done.returncode, status, f"exit status; log: {done.stderr.decode()}")
    return done.stdout.decode(), done.stderr.decode()


LOOK_UP = """
local dns = require "mb.luasocket".dns
local function show(...)
  local words = table.pack(...)
  for i = 1, words.n do
    local value = words[i]
    if type(value) == "table" then
      local list = {}
      for key, member in pairs(value) do
        if type(member) == "table" then member = member.addr or table.concat(member, "+") end
        list[#list + 1] = key .. "=" .. member
      end
      table.sort(list)
      value = "{" .. table.concat(list, " ") .. "}"
    end
    words[i] = tostring(value)
  end
  socket:write(table.concat(words, " "), "\\n")
end
"""
NAME = LOOK_UP + 'show(dns.toip("only.mb.test"))\n'
FOUND = "127.0.0.9 {alias=other.mb.test ip=127.0.0.9 name=only.mb.test}\n"
ASKS = r'cannot look up "only.mb.test": mb-handle-static asks %s/mb-handle about names, which %s: %s; start the service by mb-handle'

# --- The program ---


@static_test("it needs no shared object and no loader, and has nothing inside that would load one or ask for accounts")
def _():
    head = subprocess.run(["readelf", "-lWd", CHOSEN], capture_output=True, text=True, check=True).stdout
    check("INTERP" not in head and "NEEDED" not in head, head)
    check("GNU_RELRO" in head and re.search(r"GNU_STACK.* RW ", head), head)
    symbols = subprocess.run(["nm", CHOSEN], capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1] for line in symbols.splitlines()}
    check({"getaddrinfo", "dlopen", "__libc_dlopen_mode"} <= names, "ours are there")
    wrong = re.compile(r"_?_?(getpw.*|getgr(ent|gid|nam).*|initgroups|getserv.*|getproto.*_r|gethostby.*_r|gaih_inet|"
                       r"nss_.*|_dl_open|dl_open_worker|_nss_.*|res_.*|iconv_open)")
    equal(sorted(name for name in names if wrong.fullmatch(name)), [], "functions that it must not have")
    equal([name for name in names if name.startswith(("mb_names_answer", "mb_deploy_load"))], [], "parts of mb-handle")


@static_test("nothing with .so in its name is mapped after look-ups, processes, locales and errors")
def _():
    body = LOOK_UP + """
    show(dns.toip("only.mb.test"))
    show(dns.toip("no.such.host.mb.test"))
    show(dns.getnameinfo("127.0.0.1", "http"))
    for _, name in ipairs{"", "C.UTF-8", "de_DE.UTF-8", "de_DE.ISO-8859-1"} do os.setlocale(name) end
    local file = io.popen("echo popen")
    show(file:read())
    file:close()
    show(os.execute("exit 3"))
    show(io.open("/no/such/file"))
    show(os.date("%c", 0))
    show(pcall(require, "socket.core") and "loaded" or "refused")
    require "moonbridge_io".exec("/bin/true"):wait()
    for line in io.lines("/proc/self/maps") do
      if line:find("%.so") or line:find("ld%-") then show(line) end
    end
    show("end")
    """
    env = {**os.environ, "LANG": "de_DE.ISO-8859-1", "LC_ALL": "C.UTF-8", "LANGUAGE": "de"}
    out, log = replayed(body, env=env)
    lines = out.splitlines()
    equal((lines[0] + "\n", lines[3], lines[7], lines[-2:], log), (FOUND, "popen", "refused", ["refused", "end"], ""), "what was found")


@static_test("a module in C is refused, with words that say what to do, by require and by package.loadlib")
def _():
    module = os.environ.get("MB_ESCAPE") or "/usr/lib/x86_64-linux-gnu/lua/5.3/socket/core.so"
    words = "mb-handle-static loads no modules in C: start mb-handle in its place, or make the units anew"
    out, log = replayed(f'socket:write(tostring(select(2, package.loadlib("{module}", "luaopen_escape"))))')
    equal((out, log), (words, ""), "package.loadlib")
    _, log = replayed(f'package.cpath = "{module}"\nrequire "escape" return function() end', status=78)
    check(f"error loading module 'escape' from file '{module}'" in log and words in log, log)


@static_test("--help and --version are of its own name; messages call it mb-handle")
def _():
    equal(mbtest.output_of(CHOSEN, "--version"), mbtest.output_of(SHARED, "--version").replace("mb-handle", "mb-handle-static"), "--version")
    ours, theirs = (mbtest.output_of(program, "--help") for program in (CHOSEN, SHARED))
    equal(ours, theirs.replace("Usage: mb-handle", "Usage: mb-handle-static"), "--help")
    check(mbtest.output_of(CHOSEN, "--nonsense").startswith("mb-handle: "), "a message")


# --- Names ---


@static_test("names, services, addresses and protocols are found as mb-handle finds them, and so are those that nobody knows")
def _():
    body = LOOK_UP + """
    for _, name in ipairs{"localhost", "only.mb.test", "other.mb.test", "six.mb.test", "no.such.mb.test", "127.0.0.9", "127.1",
                          "::1", "fe80::1%lo", "fe80::1%none", "", "a b", "x\\ny", "*", ("x"):rep(300), ("y"):rep(70000)} do
      show(dns.toip(name))
      show(dns.tohostname(name))
      show(dns.getaddrinfo(name))
      show(dns.getnameinfo(name, "80"))
      show(dns.getnameinfo(name))
    end
    for _, service in ipairs{"http", "80", "65535", "no-such-service", "", ("z"):rep(2000)} do show(dns.getnameinfo(nil, service)) end
    local theirs = require "mb.tarantool.socket"
    for _, hints in ipairs{{}, {family = "AF_INET", type = "SOCK_DGRAM"}, {flags = "AI_CANONNAME"}, {protocol = "no-such"},
                           {flags = {"AI_NUMERICHOST", "AI_PASSIVE"}}, {flags = "AI_ADDRCONFIG"}} do
      for _, host in ipairs{"only.mb.test", "six.mb.test", "127.0.0.1", "::1", "none.mb.test"} do
        for _, port in ipairs{"ssh", "22", "no-such-service"} do
          local list, message = theirs.getaddrinfo(host, port, hints)
          for _, entry in ipairs(list or {}) do show(entry) end
          show(host, port, list and #list, message)
        end
      end
    end
    """
    body += 'show(theirs.getaddrinfo("127.0.0.1", nil, {type = "SOCK_RAW", protocol = "ospf"})[1])'
    (ours, log), theirs = replayed(body), replayed(body, program=SHARED)
    equal((ours.splitlines(), log), (theirs[0].splitlines(), theirs[1]), "answers")
    for part in (FOUND, "protocol=ospf", " http\n", "canonname=only.mb.test"):
        check(part in ours, f"{part!r} is among the answers")


@static_test("tcpconnect, --serve and listen{} by a name; many look-ups one after the other leave nothing behind")
def _():
    path = script("""
    return function(socket)
      local io = require "moonbridge_io"
      local function count()
        local n = 0
        for fd = 0, 100 do
          local file, _, number = require("io").open("/proc/self/fd/" .. fd) -- a socket fails, but is there
          if file then file:close() end
          if number ~= 2 then n = n + 1 end
        end
        return n
      end
      local before = count()
      for _ = 1, 30 do assert(require "mb.luasocket".dns.toip("only.mb.test")) end
      local after = count()
      assert(after == before, before .. " descriptors became " .. after)
      local file = assert(require("io").open("/proc/self/task/" .. io.getpid() .. "/children"))
      socket:write(socket.local_addr, " children ", #file:read("a"), "\\n")
    end
    """)
    port = mbtest.free_port()
    pool = mbpool.Pool(path, where=("localhost", port)).ready()
    for _ in range(3):
        equal(pool.ask(), b"127.0.0.1 children 0\n", "the answer")
    equal(pool.text().count("cannot"), 0, f"log: {pool.text()}")
    client = script(f'return function(s) local c = assert(require "moonbridge_io".tcpconnect("localhost", {port})) s:write((c:read(100, "\\n"))) end')
    equal(mbtest.replay(client).stdout, b"127.0.0.1 children 0\n", "through tcpconnect")
    pool.stop()


def helper(text):
    """A program in the place of mb-handle that notes something first. Returns the static program beside it and the note."""
    helper.count = getattr(helper, "count", 0) + 1
    note = mbtest.tmp(f"note{helper.count}")
    return place(f"helper{helper.count}", f"#!/bin/sh\n{text.replace('NOTE', note)}\n"), note


HELPER = f"""#!{sys.executable} -IS
import os
fds = {{n: os.readlink("/proc/self/fd/" + n) for n in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + n)}}
with open("/proc/self/status") as status, open("NOTE", "w") as note:
    print([sorted(fds.items()), [line.split() for line in status if line.startswith(("SigBlk", "SigIgn"))]], file=note)
"""


@static_test("the process that is asked has a socket on 0 and 1, /dev/null on 2, no other descriptor, and no signal changed")
def _():
    note = mbtest.tmp("note")
    program = place("asked", HELPER.replace("NOTE", note))
    body = """
    local keep = {io.open("/dev/null"), io.open("/dev/zero")}
    require "moonbridge_io".exec("/bin/true"):wait()
    """ + NAME + "return keep"
    # Whoever starts mb-handle may have blocked and ignored signals.
    out, log = replayed(body, program=program, preexec_fn=lambda: (signal.signal(signal.SIGUSR1, signal.SIG_IGN),
                                                                   signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})))
    check("nil" in out and "gave no answer" in log, (out, log))
    fds, signals = ast.literal_eval(mbtest.read_file(note))
    equal([number for number, _ in fds], ["0", "1", "2"], f"descriptors: {fds}")
    check(fds[0][1] == fds[1][1] and fds[0][1].startswith("socket:") and fds[2][1] == "/dev/null", f"{fds}")
    by_python = 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1
    equal([(name, int(mask, 16) & ~by_python) for name, mask in signals], [("SigBlk:", 0), ("SigIgn:", 0)], "signals")


@static_test("without mb-handle, or with one that cannot start or gives no answer, the look-up fails and a line says why")
def _():
    version2 = "mbnm" + r"\002\000\000\000\020\000\000\000\144\000\000\000"
    size2 = "mbnm" + r"\001\000\000\000\377\377\377\377\144\000\000\000"
    short = "mbnm" + r"\001\000\000\000\060\000\000\000\144\000\000\000\000\000"
    kind = "mbnm" + r"\001\000\000\000\020\000\000\000\001\000\000\000"
    empty = "mbnm" + r"\001\000\000\000\020\000\000\000\144\000\000\000"
    for what, text, mode, how, why in (
        ("missing", None, 0, "cannot start", "No such file or directory"),
        ("not executable", "#!/bin/sh\n", 0o644, "cannot start", "Permission denied"),
        ("no program", "\x01\x02", 0o755, "cannot start", "Exec format error"),
        ("silent", "#!/bin/sh\nexit 0\n", 0o755, "gave no answer", "Protocol error"),
        ("killed", "#!/bin/sh\nkill -9 $$\n", 0o755, "gave no answer", "Protocol error"),
        ("garbage", "#!/bin/sh\nhead -c 100000 /dev/urandom\n", 0o755, "gave no answer", "Protocol error"),
        ("another version", f"#!/bin/sh\nprintf '{version2}'\n", 0o755, "gave no answer", "it is of another version: start the service again"),
        ("too large", f"#!/bin/sh\nprintf '{size2}'\n", 0o755, "gave no answer", "Protocol error"),
        ("cut off", f"#!/bin/sh\nprintf '{short}'\n", 0o755, "gave no answer", "Protocol error"),
        ("no answer", f"#!/bin/sh\nprintf '{kind}'\n", 0o755, "gave no answer", "Protocol error"),
        ("garbage and a hang", "#!/bin/sh\necho garbage that is long enough\nexec >/dev/null sleep 60\n", 0o755, "gave no answer", "Protocol error"),
    ):
        program = place(what.replace(" ", "-"), text, mode)
        if what == "not executable" and os.geteuid() != 0:
            mode = 0
        out, log = replayed(NAME, program=program)
        check(out.startswith("nil "), f"{what}: {out}")
        check(re.search(ASKS % (re.escape(os.path.dirname(program)), how, why), log), f"{what}: {log}")
        equal(log.count("\n"), 1, f"{what}: lines of {log}")
    # An answer without what belongs into it.
    out, log = replayed(NAME, program=place("empty", f"#!/bin/sh\nprintf '{empty}'\n"))
    equal((out[:4], log), ("nil ", ""), "an empty answer")


# Has mb-handle answer, and changes one byte of that: which one, and to what, is the count of the calls so far.
CHANGING = f"""#!{sys.executable} -IS
import os, select, socket, subprocess
with socket.socket(fileno=os.dup(0)) as asking:
    request = asking.recv(65536)
count = os.path.getsize("NOTE")
with open("NOTE", "a") as note:
    note.write("x")
ours, theirs = socket.socketpair()
with theirs:
    child = subprocess.Popen(["mb-handle-names"], executable="{SHARED}", stdin=theirs, stdout=theirs)
ours.sendall(request)
answer = bytearray()
while chunk := ours.recv(65536):
    answer += chunk
child.wait()
at, value = 16 + count * 7 % (len(answer) - 16), (0, 0xff, 5)[count % 3]
answer[at] = value
os.write(1, answer)
"""


@static_test("an answer that was changed anywhere is a wrong answer, or none; the program goes on")
def _():
    note = mbtest.write_file(mbtest.tmp("changed"), "")
    program = place("changing", CHANGING.replace("NOTE", note))
    out, _ = replayed(LOOK_UP + """
    local calls = {dns.getaddrinfo, dns.toip, function(name) return require "mb.tarantool.socket".getaddrinfo(name, "ssh") end}
    for i = 1, 120 do calls[(i - 1) // 40 + 1]("only.mb.test") end
    show("end")
    """, program=program)
    equal(out, "end\n", "the handler has come to its end")
    check(os.path.getsize(note) >= 120, "after so many look-ups, and those for the names of changed protocols")


@static_test("a name of the program that does not end in -static; one that was replaced while it runs, as by an upgrade")
def _():
    program = place("renamed")
    other = os.rename(program, mbtest.tmp("renamed", "server")) or mbtest.tmp("renamed", "server")
    _, log = replayed(NAME, program=other)
    check("mb-handle-static asks mb-handle about names, which cannot start: No such file" in log, log)
    program = place("upgraded")
    shutil.copy(SHARED, mbtest.tmp("upgraded", "mb-handle"))
    out, log = replayed(f'os.remove("{program}")\n{NAME}', program=program)
    equal((out, log), (FOUND, ""), "once the file of the program is gone")


@static_test("timeout() ends a look-up that hangs, with the process that hangs")
def _():
    program, note = helper("echo $$ >NOTE; exec sleep 60")
    _, log = replayed("timeout(0.3)\n" + NAME, program=program, status=-signal.SIGALRM)
    check("timeout: time is up" in log, log)
    pid = int(mbtest.read_file(note))
    until(lambda: not mbtest.alive(pid), "the process has ended, too")


@static_test("descriptors 0, 1 and 2 may be closed by the script; without free ones there is an error, and no advice")
def _():
    # The last: Lua does not close what it has opened as standard streams, so that these numbers are free for others.
    body = 'for _, name in ipairs{"stdin", "stdout", "stderr"} do io[name]:close() end\n' + NAME
    out, _ = replayed(body)
    equal(out, FOUND, "with 0, 1 and 2 closed")
    body = """
    local kept, file = {}, nil
    repeat
      file = io.open("/dev/null")
      kept[#kept + 1] = file
    until not file
    local io = require "moonbridge_io"
    socket:write(tostring(select(3, io.tcpconnect("only.mb.test", 9))), "\\n")
    kept = nil
    collectgarbage()
    """ + NAME
    out, log = replayed(body, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)))
    equal((out, log), ("24\n" + FOUND, ""), "EMFILE, and then an answer")


@static_test("an account that may start no process: the look-up fails, and the line says so")
def _():
    if os.geteuid() != 0:
        mbtest.diagnose("not run: root has no such limit, and others no other account")
        return
    program = place("limited")
    shutil.copy(SHARED, mbtest.tmp("limited", "mb-handle"))

    def limit():
        os.setgroups([])
        os.setgid(54321)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        os.setuid(54321)

    _, log = replayed(NAME, program=program, preexec_fn=limit)
    check(re.search(ASKS % (re.escape(os.path.dirname(program)), "cannot start", "Resource temporarily unavailable"), log), log)


@static_test("in a sandbox mb-handle cannot be started: the line says so; an address is found all the same")
def _():
    handler = f"""
    listen{{ connect = function(socket)
    {NAME}
    show(dns.getaddrinfo("127.0.0.1"))
    end, sandbox = "strict" }}"""
    out, log = replayed(handler)
    check(out.startswith("nil ") and out.endswith("{1=127.0.0.1}\n"), out)
    check(re.search(ASKS % (re.escape(os.path.dirname(CHOSEN)), "cannot start", "the sandbox does not allow it"), log), log)


@static_test("a child of the script's ends meanwhile: the script gets its status, and signals go on")
def _():
    out, log = replayed("""
    local io = require "moonbridge_io"
    local child, quick = io.exec("sh", "-c", "read -r x; exit 7"), io.exec("sh", "-c", "exit 5")
    """ + NAME + """
    child.stdin:close()
    show(quick:wait())
    """ + NAME.replace(LOOK_UP, "") + """
    show(child:wait())
    """)
    equal((out, log), (FOUND + "5\n" + FOUND + "7\n", ""), "statuses")


@static_test("a process has 16 lines about look-ups at most")
def _():
    _, log = replayed(LOOK_UP + 'for _ = 1, 40 do dns.toip("only.mb.test") end', program=place("often"))
    equal(log.count("cannot look up"), 16, "lines")


# --- What it hands over ---

TCP = 'listen{{proto="tcp", port=8080}, connect=print}'


def both(*args, env=None, close_stdout=False):
    """Runs both programs with the arguments. Returns what each has said."""
    def close():
        os.close(1)

    found = []
    for program in (CHOSEN, SHARED):
        done = subprocess.run([program, *args], capture_output=True, text=True, check=False, env=env, preexec_fn=close if close_stdout else None)
        found.append((done.returncode, done.stdout, done.stderr))
    return found


@static_test("--check, --inetd, --xinetd and --units are mb-handle's, whichever is called, and so are their errors")
def _():
    path, wrong = script(TCP), script("x x")
    units = os.path.dirname(mbtest.tmp("units", "x"))
    for args in (["--check", path], ["--inetd", path], ["--xinetd", path], ["--check", wrong], ["--inetd", "/no/such/script"],
                 ["--units", units, "--user", path], ["--units", units + "/none", "--user", path], ["--check", "--timeout=9", path, "a b"]):
        both(*args)  # the second time, the units are unchanged
        ours, theirs = both(*args)
        equal(ours, theirs, f"{args}")
    ours, theirs = both("--check", path, close_stdout=True)
    equal(ours, theirs, "with descriptor 1 closed")
    equal(ours[0], 71, "its status")
    name = os.path.basename(path)[:-4]
    text = mbtest.read_file(f"{units}/{name}@.service")
    check(f"ExecStart={CHOSEN} {path}\n" in text, text)
    check("# mb-handle-static starts faster: nothing here loads a module in C.\n" in text, text)
    check("SyslogIdentifier=mb-handle\n" in text, text)


@static_test("without mb-handle beside it, they are an error that says which program does it")
def _():
    program = place("lonely")
    for mode in ("--check", "--inetd", "--xinetd"):
        done = subprocess.run([program, mode, script(TCP)], capture_output=True, text=True, check=False)
        equal((done.returncode, done.stdout), (71, ""), mode)
        check("--check, --units, --inetd and --xinetd are for mb-handle, which cannot be started: "
              f"{os.path.dirname(program)}/mb-handle: No such file or directory\n" in done.stderr, done.stderr)


# --- What is chosen ---

STATIC = "mb-handle-static (nothing here loads a module in C)"
ABSENT = "mb-handle (mb-handle-static is not installed beside it)"


def chosen(text, *args, program=SHARED, name=None):
    path = mbtest.write_file(mbtest.tmp("chosen", name), text) if name else script(text)
    said = mbtest.output_of(program, "--check", *args, path)
    found = re.search(r"(?m)^program: (.*)$", said)
    check(found, f"a line about the program in {said}")
    return found.group(1).replace(path, "SCRIPT")


@test("scripts without modules in C have mb-handle-static: with our modules, modules in Lua, and whatever is no code")
def _():
    directory = os.path.dirname(mbtest.tmp("modules", "x"))
    mbtest.write_file(f"{directory}/good.lua", 'return {f = function() return require \'second\' end, load = 1}')
    mbtest.write_file(f"{directory}/second.lua", "#!/usr/bin/lua\n-- load(dofile), require(x)\nreturn 1")
    path = f'package.path = "{directory}/?.lua;" .. package.path\n'
    for text in (
        "return function() end",
        'local u, m = require "utf8", require "math" return function() return coroutine, os.time, bit32 end',
        'return require "moonbridge_http".generate_handler(function() end)',
        "return function() local http = require('moonbridge_http') end",
        'local a = require "mb.http_server" return print',
        path + 'local a = require "good" return print',
        path + 'return function() require "good" end',
        "local json = setmetatable({}, {}) json.load = print return function() json.load(1) json:load() return json . load end",
        "return function() return debug.traceback(), package.config end",
        'local s = "load(x) \\" require(x) \\\n dofile" local t = [==[ loadfile ]] require(x) ]==] return print',
        'local s = "\\z   \'\\\\" return print -- _G',
        "--[[ load() \n ]] --[==[ _ENV ]] ]==] return print --dofile",
        "local n = 1 local m = n ..2 .. 0x1p4 local a = {n < 3 and 3. or .5} return print",
        'require "mb.luasocket".install() local socket = require "socket" return function() end',
        'require "mb.tarantool".install() local socket = require "socket" local fiber = require "fiber" return print',
        'local c = require "mb.crypto" return function(s) s:write(c.base64(c.random_bytes(9)), c.hex("sha256 of it")) end',
        'local h, r = require "moonbridge_http", require "mb.reply" return function(q) r.text(q, "application/json", json) end',
        'local h = require "moonbridge_http" local type = "application/problem+json; json" local json = 1 return print',
        'local h = require "moonbridge_http" local deflate, s = 1, "gzip, deflate" return function(q) print(s, deflate) end',
        'local r = require "mb.router" return function(q) return q:json(), q.sha256 end',
        'local c = require "mb.cookie" return function(q) c.set(q, "design", "verified", {sign = nil}) end',
        'local a = require "mb.auth" return function(q) return a.basic(q, "sign", print) end',
        'listen{{proto="tcp", port=1}, connect=print, sandbox="strict"}',
        'listen{{proto="tcp", port=1}, connect=print, sandbox={connect={"/run/x.sock"}, read={"/srv"}}}',
    ):
        equal(chosen(text), STATIC if HAS_STATIC else ABSENT, text)


@test("whatever loads a module in C, or cannot be known, has mb-handle, and a reason")
def _():
    directory = os.path.dirname(mbtest.tmp("modules", "x"))
    mbtest.write_file(f"{directory}/bad.lua", 'return {f = function() require "sub.core" end}')
    mbtest.write_file(f"{directory}/own.lua", "return 1")
    with open(f"{directory}/binary.lua", "wb") as f:
        f.write(b"\x1bLuaS")
    os.symlink("/dev/zero", f"{directory}/zero.lua")
    with open(f"{directory}/large.lua", "wb") as f:
        f.truncate((1 << 24) + 1)
    path = f'package.path = "{directory}/?.lua;" .. package.path\n'
    by = "by which a module in C can be loaded"
    for text, why in (
        ('local a = require "socket.core" return print', 'the script has loaded "socket.core", which is no module in Lua'),
        ('return function() require "cjson" end', 'SCRIPT, line 1, requires "cjson", which is no module in Lua'),
        (path + 'return function() return require "bad" end', f'{directory}/bad.lua, line 1, requires "sub.core", which is no module in Lua'),
        (path + 'return function() return require "binary" end', f"{directory}/binary.lua is compiled: it cannot be looked at"),
        (path + 'return function() return require "zero" end', f"{directory}/zero.lua is no regular file: it cannot be looked at"),
        (path + 'return function() return require "large" end', f"{directory}/large.lua is too large: it cannot be looked at"),
        ('\n\nreturn function(x) require(x) end', "SCRIPT, line 3, uses require without the plain name of a module"),
        ('return function(x) require("a" .. x) end', "SCRIPT, line 1, uses require without the plain name of a module"),
        ('return function() return pcall(require, "cjson") end', "SCRIPT, line 1, uses require without the plain name of a module"),
        ("return function() require [[cjson]] end", "SCRIPT, line 1, uses require without the plain name of a module"),
        ('return function() require "cj\\115on" end', "SCRIPT, line 1, uses require without the plain name of a module"),
        ("return print -- the end\r, load", f"SCRIPT, line 1, uses load, {by}"),
        ("\ufeff#!/usr/bin/lua [[\nreturn print, load -- ]]", f"SCRIPT, line 2, uses load, {by}"),
        ("return function() dofile('x') end", f"SCRIPT, line 1, uses dofile, {by}"),
        ("return function() loadfile('x') end", f"SCRIPT, line 1, uses loadfile, {by}"),
        ("return function(x) return ''..load(x) end", f"SCRIPT, line 1, uses load, {by}"),
        ("return function(x) return '' .. load(x) end", f"SCRIPT, line 1, uses load, {by}"),
        ("local l = load return print", f"SCRIPT, line 1, uses load, {by}"),
        ("return function() _G['requ' .. 'ire']('x') end", f"SCRIPT, line 1, uses _G, {by}"),
        ("return function() _ENV['load']('x') end", f"SCRIPT, line 1, uses _ENV, {by}"),
        ("return function() package.loadlib('x', 'y') end", f"SCRIPT, line 1, uses package, {by}"),
        ("return function(p) p.loadlib('x', 'y') end", f"SCRIPT, line 1, uses loadlib, {by}"),
        ("package.cpath = '/x' return print", f"SCRIPT, line 1, uses package, {by}"),
        ("table.insert(package.searchers, print) return print", f"SCRIPT, line 1, uses package, {by}"),
        ("return function() debug.getregistry() end", f"SCRIPT, line 1, uses debug, {by}"),
        ('return function() require "package" end', f'SCRIPT, line 1, uses "package", {by}'),
        (f'return require("mb.style").program("luasocket", "{directory}/own.lua")', f'SCRIPT, line 1, uses "mb.style", {by}'),
        ('local u = require "mb.luasocket" return function() u.udp() end',
         'SCRIPT, line 1, has the word "udp": that part of mb.luasocket loads a module in C'),
        ('require "mb.tarantool".install() return function() local d = box["digest"] end',
         'SCRIPT, line 1, has the word "digest": that part of mb.tarantool loads a module in C'),
        ('local c = require "mb.crypto"\nreturn function(s) s:write(c.sha256("x")) end',
         'SCRIPT, line 2, has the word "sha256": that part of mb.crypto loads a library'),
        ('local sign = require "mb.crypto" . hmac_sha256 return print',
         'SCRIPT, line 1, has the word "hmac_sha256": that part of mb.crypto loads a library'),
        ('local c = require "mb.crypto" return function() return c["sha256"](1) end',
         'SCRIPT, line 1, has the word "sha256": that part of mb.crypto loads a library'),
        ('local c = require "mb.crypto" return function() return c[ [=[sha256]=] ](1) end',
         'SCRIPT, line 1, has the word "sha256": that part of mb.crypto loads a library'),
        ('local c = require "mb.cookie" return function() return c.verify(1, 2, 3) end',
         'SCRIPT, line 1, has the word "verify": that part of mb.cookie loads a library'),
        ('local c = require "mb.cookie" return function() return c.csrf_token(1, 2) end',
         'SCRIPT, line 1, has the word "csrf_token": that part of mb.cookie loads a library'),
        ('local h = require "moonbridge_http" return h.generate_handler(function(r) r:json() end)',
         'SCRIPT, line 1, has the word "json": that part of moonbridge_http loads a module in C'),
        ('local h = require "moonbridge_http" return h.generate_handler(function(r) local j = r["json"] end)',
         'SCRIPT, line 1, has the word "json": that part of moonbridge_http loads a module in C'),
        ('local h = require "moonbridge_http" return h.generate_handler(function(r) r:upgrade_websocket{deflate = true} end)',
         'SCRIPT, line 1, has the word "deflate": that part of moonbridge_http loads a library'),
        ('local h = require "moonbridge_http" local o = {} o.deflate = {} return h.generate_handler(print)',
         'SCRIPT, line 1, has the word "deflate": that part of moonbridge_http loads a library'),
        ('local r = require "mb.reply" return function(q) r.json(q, {}) end',
         'SCRIPT, line 1, has the word "json": that part of mb.reply loads a module in C'),
        ('local r = require "mb.reply" return function(q) r.problem(q, 404) end',
         'SCRIPT, line 1, has the word "problem": that part of mb.reply loads a module in C'),
        ('listen{{proto="tcp", port=1}, connect=print, sandbox={connect={"dns"}}}', "in its sandbox only mb-handle can look names up"),
        ('listen{{proto="tcp", port=1}, connect=print, sandbox={connect={"tcp:5432"}}}', "in its sandbox only mb-handle can look names up"),
        ('listen{{proto="tcp", port=1}, connect=print, sandbox={connect=true}}', "in its sandbox only mb-handle can look names up"),
        ('listen{{proto="tcp", port=1}, connect=print, sandbox={read={"/"}}}', "in its sandbox only mb-handle can look names up"),
        ("return function() ::again::\nload(code)() end", "SCRIPT, line 2, uses load, by which a module in C can be loaded"),
        ('return function() local n = 0x1frequire "lfs" end', 'SCRIPT, line 1, requires "lfs", which is no module in Lua'),
        ('return function() package.path = "/x/?.lua" require "own" end',
         "SCRIPT, line 1, uses package, by which a module in C can be loaded"),
        ("setmetatable(package.loaded, {__index = error}) package.path = nil return print", "the script could not be looked at"),
    ):
        equal(chosen(text), f"mb-handle ({why})", text)
    equal(chosen(path + 'return function() require "own" end', name="own.lua"),
          "mb-handle (SCRIPT, line 2, requires a module with the script's own name)", "its own name")
    equal(chosen("return print", "--style=luasocket"), "mb-handle (with --style the program is loaded when a connection comes)", "--style")
    equal(chosen('listen{{proto="tcp", port=1}, connect=print, sandbox={connect={"dns"}}}', "--sandbox=off"),
          STATIC if HAS_STATIC else ABSENT, "--sandbox=off")
    lonely = shutil.copy(SHARED, mbtest.tmp("alone", "mb-handle"))
    equal(chosen("return print", program=lonely), ABSENT, "not installed")


@static_test("units and entries say which program, and why; a reason with what no comment can have is left out")
def _():
    units = os.path.dirname(mbtest.tmp("why", "x"))
    cjson = '{{proto="tcp", port=8080}, {proto="interval", name="i", delay=9}, connect=function() require "cjson" end}'
    path = script("listen" + cjson)
    name = os.path.basename(path)[:-4]
    for pool in ((), ("--pool",)):
        done = subprocess.run([SHARED, "--units", units, "--user", *pool, path], capture_output=True, text=True, check=False)
        equal((done.returncode, done.stderr), (0, ""), "--units")
        for unit in (f"{name}.service",) if pool else (f"{name}@.service", f"{name}-i.service"):
            text = mbtest.read_file(f"{units}/{unit}")
            check(f'# mb-handle, not mb-handle-static: {path}, line 1, requires "cjson", which is no module in Lua.\n' in text, text)
            check(re.search(rf"(?m)^ExecStart={SHARED} ", text) and "SyslogIdentifier" not in text, text)
    path_of_names = script('listen{{proto="tcp", port=8081}, connect=function() moonbridge_io.tcpconnect("localhost", 1) end}')
    for pool in ((), ("--pool",)):
        said = mbtest.output_of(SHARED, "--units", units, "--user", *pool, path_of_names)
        text = mbtest.read_file(f"{units}/{os.path.basename(path_of_names)[:-4]}{'' if pool else '@'}.service")
        check(("in a pool it looks names up faster" in text) == bool(pool), f"{text}\n{said}")
    for mode in ("--inetd", "--xinetd"):
        text = mbtest.output_of(SHARED, mode, path)
        check(f'# mb-handle, not mb-handle-static: {path}, line 1, requires "cjson", which is no module in Lua.\n' in text, text)
        check(CHOSEN not in text, text)
        text = mbtest.output_of(SHARED, mode, script(TCP))
        check("# mb-handle-static starts faster: nothing here loads a module in C.\n" in text and CHOSEN in text, text)
    odd = mbtest.write_file(mbtest.tmp("why", "a\nExecStart=b.lua"), "return 1")
    text = mbtest.output_of(SHARED, "--inetd", script(f'local o = "{os.path.dirname(odd)}" package.path = o .. "/a\\nExecStart=?.lua;" .. package.path\n'
                                                      f'local n = require "b" {TCP[:-1]}, finish=function() load("") end}}'))
    check(re.search(r"(?m)^# mb-handle, not mb-handle-static: ", text), text)
    check(not re.search(r"(?m)^ExecStart", text), text)


@static_test("a pool goes on with the old script when the new one loads a module in C; --check by it says so before")
def _():
    path = script("return function(s) s:write('one') end")
    pool = mbpool.Pool(path).ready()
    equal(pool.ask(), b"one", "before")
    mbtest.write_file(path, "local core = require 'socket.core' return function(s) s:write('two') end")
    done = subprocess.run([CHOSEN, "--check", path], capture_output=True, text=True, check=False)
    equal(done.returncode, 78, "status of --check")
    check('mb-handle-static cannot run this: the script has loaded "socket.core", which is no module in Lua\n' in done.stderr, done.stderr)
    equal(subprocess.run([SHARED, "--check", path], capture_output=True, check=False).returncode, 0, "of mb-handle --check")
    os.kill(pool.pid, signal.SIGHUP)
    until(lambda: "was not loaded anew" in pool.text(), "the log says that the script does not load")
    check("loads no modules in C" in pool.text(), f"the log says why: {pool.text()}")
    equal(pool.ask(), b"one", "after a reload that has failed")
    mbtest.write_file(path, "return function(s) s:write('three') end")
    pool.reload()
    equal(pool.ask(), b"three", "after one that has not")
    pool.stop()


@static_test("a service manager is told, and asked for its watchdog, without a library")
def _():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        where = mbtest.tmp("notify")
        manager.bind(where)
        manager.settimeout(mbtest.DEADLINE)
        pool = mbpool.Pool(script("return function(s) s:write('x') end"), env={**os.environ, "NOTIFY_SOCKET": where, "WATCHDOG_USEC": "200000"})
        said = b""
        while b"WATCHDOG=1" not in said or b"READY=1" not in said:
            said += manager.recv(4096)
        with open(f"/proc/{pool.pid}/maps", encoding="ascii", errors="replace") as maps:
            check(".so" not in maps.read(), "what is mapped")
        pool.stop()


mbtest.main()
