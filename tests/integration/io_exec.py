#!/usr/bin/python3
"""moonbridge_io.exec and the child object: what the program gets and what it does not, its pipes, its end, and what is
left of it. Handler and test take turns: the handler prints a word, the test acts on it, or looks at the child from
outside."""

import functools
import os
import select
import signal
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhandler
import mbtest
from mbhandler import PAIRS, fds, source, stat
from mbtest import HANDLE, Child, alive, check, equal, local_pair, script, tcp_pair, test, until, within

HEAD = (
    mbhandler.HEAD
    + """
local exec = mb.exec
local function sh(command, ...) return exec("sh", "-c", command, "sh", ...) end
local function collect() collectgarbage() collectgarbage() end
-- What a command prints, on both, and what becomes of it.
local function output(...)
  local child = assert(exec(...))
  child.stdin:close()
  local out, err = child.stdout:read(), child.stderr:read()
  return out .. err, child:wait()
end
"""
)
Handler = functools.partial(mbhandler.Handler, head=HEAD)
runs = functools.partial(mbhandler.run, head=HEAD)


def children(pid):
    """The children of a process: {pid: state}; Z is a zombie."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                state, parent = stat(name)[:2]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(parent) == pid:
                found[int(name)] = state
    return found


def check_fds(pid, what):
    """The process has three pipes and nothing else, once it waits: until then, its loader opens libraries."""

    until(lambda: stat(pid)[0] == "S", f"{what} waits")
    found = fds(pid)
    equal(sorted(found), [0, 1, 2], f"descriptors of {what}: {found}")
    links = set(found.values())
    check(all(link.startswith("pipe:") for link in links) and len(links) == 3, f"{what}: three pipes: {found}")


def signals(pid):
    """The signal masks of a process: {SigIgn: number, ...}."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        rows = dict(line.split(":", 1) for line in f)
    return {name: int(rows[name], 16) for name in ("SigBlk", "SigIgn", "SigCgt", "SigPnd")}


class Outliving:
    """Ends a process that may outlive mb-handle, whose child it is, when the test is done with it."""

    def __init__(self, pid):
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        mbtest.cleanup.callback(self.end)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        if self.pidfd >= 0:
            try:
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            except ProcessLookupError:
                pass
            os.close(self.pidfd)
            self.pidfd = -1


# --- The reference's sentences: "moonbridge_io.exec" ---


@test('"Executes the given command and returns a handle with three sockets named stdin, stdout, and stderr": each is the one it says')
def _():
    runs(
        """
  local child = exec("sh", "-c", "read line; echo \\"out: $line\\"; echo err >&2; cat")
  child.stdin:flush("hello\\nrest")
  eq("out: hello\\n term", child.stdout:read(nil, "\\n"))
  eq("err\\n term", child.stderr:read(nil, "\\n"))
  eq("true", child.stdin:close())
  eq("rest eof", child.stdout:read())
  eq(" eof", child.stderr:read())
  eq("0", child:wait())
  -- The same objects each time.
  assert(child.stdin == child.stdin and child.stdout ~= child.stderr)
  eq("userdata userdata userdata", type(child.stdin), type(child.stdout), type(child.stderr))
  eq("nil", child.nothing)
  child.note = "a script's own"
  eq("a script's own", child.note)
"""
    )


@test('"as well as the following methods": kill, wait, wait_nb, wait_call, wait_yield, on a child only; pid is ours')
def _():
    runs(
        """
  local child = exec("cat")
  for _, name in ipairs { "kill", "wait", "wait_nb", "wait_call", "wait_yield" } do
    eq("function", type(child[name]))
    for _, wrong in ipairs { socket, child.stdin, io.stdout, {}, 1 } do
      throws("bad argument #1", child[name], wrong)
    end
    throws("bad argument #1", child[name])
  end
  eq("integer", math.type(child.pid))
  throws("bad argument #1", child.wait_call, child.stdin, print)
  eq("kill wait", child.kill and "kill", child.wait and "wait")
"""
    )


@test("pid is the number of the process that executes the command; it stays when that has ended; tostring tells it")
def _():
    with Handler(
        """
  local child = exec("sh", "-c", "echo $$; read line")
  local pid = child.pid
  eq(pid .. "\\n term", child.stdout:read(nil, "\\n"))
  eq("child (process " .. pid .. ")", tostring(child))
  eq("socket (pipe to a child)", tostring(child.stdin))
  eq("socket (pipe from a child)", tostring(child.stdout))
  eq("socket (pipe from a child)", tostring(child.stderr))
  turn(pid)
  child.stdin:close()
  eq("socket (closed)", tostring(child.stdin))
  child:wait()
  eq(tostring(pid), child.pid)
  eq("child (ended, was process " .. pid .. ")", tostring(child))
"""
    ) as t:
        pid = t.number()
        check(pid in children(t.pid), f"{pid} is a child: {children(t.pid)}")
        t.go()
        t.ends()


@test(
    '"Use :kill(signal) to terminate the process with the given signal (defaults to SIGTERM)"; "a negative integer is returned"',
    native="valgrind has signal 64",
)
def _():
    runs(
        """
  for _, case in ipairs {
    { nil, -15 }, { 15, -15 }, { 9, -9 }, { 1, -1 }, { 2, -2 }, { 6, -6 }, { 13, -13 }, { 64, -64 }, { "9", -9 }, { 10.0, -10 }
  } do
    local child = exec("cat")
    eq(tostring(child), child:kill(case[1])) -- itself
    eq(tostring(case[2]), child:wait())
    eq("integer", math.type(child:wait()))
  end
  local child = exec("cat")
  eq("-9", child:kill(0):kill(9):wait())
  -- A signal that it sends itself, and one that it catches.
  eq("-11", sh("kill -SEGV $$"):wait())
  child = sh("trap 'exit 7' USR1; echo ready; while read line; do :; done")
  child.stdout:read(nil, "\\n")
  eq("7", child:kill(10):wait())
"""
    )


@test("kill: a wrong signal is an argument error and kills nobody; after its end was waited for: nil, message, ESRCH")
def _():
    runs(
        """
  local child = exec("cat")
  local pid = child.pid
  for _, wrong in ipairs { -1, 65, 1 << 32, (1 << 32) + 9, -9, 1.5, 0/0, "TERM", "", {}, true, print } do
    throws("bad argument #1", function() child:kill(wrong) end)
  end
  eq("nil", child:wait_nb())
  -- Ended, but not waited for: there is a process still.
  local ended = exec("true")
  eq("true", mb.poll { [ended] = true })
  eq(tostring(ended), ended:kill())
  eq("0", ended:wait())
  eq("nil process " .. ended.pid .. ": No such process 3", ended:kill())
  eq("nil process " .. ended.pid .. ": No such process 3", ended:kill(0))
  throws("bad argument #1", function() ended:kill(65) end)
  child:kill():wait()
  eq("nil process " .. pid .. ": No such process 3", child:kill(9))
  child = exec("cat")
  child:kill()
  while not child:wait_nb() do mb.poll({ [child] = true }) end
  eq("nil process " .. child.pid .. ": No such process 3", child:kill())
"""
    )


@test('"The :wait() method will wait for the process to terminate and return its exit code": 0, 1, 255; again and again the same')
def _():
    with Handler(
        """
  for _, code in ipairs { 0, 1, 2, 127, 128, 254, 255 } do
    local child = sh("exit " .. code)
    for i = 1, 3 do
      eq(tostring(code), child:wait())
      eq(tostring(code), child:wait_nb())
      eq(tostring(code), child:wait_call(error))
      eq(tostring(code), child:wait_yield()) -- not in a coroutine: it need not yield
    end
  end
  local child = exec("cat")
  child:kill(9)
  eq("-9 -9 -9", child:wait(), child:wait(), (child:wait_nb()))
  child = exec("cat")
  print(child.pid)
  eq("-15", child:wait())
"""
    ) as t:
        pid = t.number()
        t.asleep()
        # What stops and goes on has not ended.
        for signum, state in ((signal.SIGSTOP, "T"), (signal.SIGCONT, "S")):
            os.kill(pid, signum)
            until(lambda state=state: stat(pid)[0] == state, f"state {state}")
            t.asleep()
        # Nor does a signal end the wait.
        os.kill(t.pid, signal.SIGPIPE)
        t.asleep()
        check(select.select([t.lines], [], [], 0)[0] == [], "it waits")
        os.kill(pid, signal.SIGTERM)
        t.ends()


@test('":wait_nb() ... does not block but returns nil if the child process has not terminated yet", stopped ones too')
def _():
    runs(
        """
  local child = exec("cat")
  for i = 1, 3 do eq("nil", child:wait_nb()) end
  child:kill(19)
  eq("nil", child:wait_nb())
  child:kill(18)
  eq("nil", child:wait_nb())
  child.stdin:close()
  eq("true", mb.poll { [child] = true })
  eq("0", child:wait_nb())
  eq("0", child:wait_nb())
"""
    )


@test('":wait_call() ... calls waitfunc() (in an infinite loop) as long as the process is still running"')
def _():
    runs(
        """
  local child = exec("cat")
  local calls = 0
  eq("0", child:wait_call(function(...)
    eq("0", select("#", ...))
    calls = calls + 1
    if calls == 5 then child.stdin:close() end
    if calls >= 5 then mb.poll { [child] = true } end
    return "ignored"
  end))
  eq("5", calls)
  -- Anything that can be called can.
  child = exec("cat")
  eq("-15", child:wait_call(setmetatable({}, { __call = function() child:kill() mb.poll { [child] = true } end })))
  for _, wrong in ipairs { 1, "print", {}, true } do throws("bad argument #1", function() child:wait_call(wrong) end) end
  throws("bad argument #1", function() child:wait_call() end)
  -- One that waits itself, and one that throws.
  child = exec("cat")
  eq("-9", child:wait_call(function() child:kill(9):wait() end))
  child = exec("cat")
  eq("false stop", pcall(child.wait_call, child, function() error("stop", 0) end))
  eq("nil", child:wait_nb())
  eq("-9", child:kill(9):wait())
"""
    )


@test('":wait_yield() is an alias for :wait_call(coroutine.yield)": in coroutines, several at once')
def _():
    runs(
        """
  local child = exec("cat")
  local co = coroutine.create(function() return child:wait_yield() end)
  for i = 1, 3 do
    eq("true", coroutine.resume(co, "ignored"))
    eq("suspended", coroutine.status(co))
  end
  child.stdin:close()
  eq("true", mb.poll { [child] = true })
  eq("true 0", coroutine.resume(co))
  throws("outside a coroutine", function() exec("cat"):wait_yield() end)
  -- A scheduler's way: whoever ends is served, in that order.
  local order, all, threads, input = {}, {}, {}, {}
  for i = 1, 5 do
    local c = sh("read line; exit " .. i)
    all[i], input[c] = c, true
    threads[c] = coroutine.create(function()
      local code = c:wait_yield()
      order[#order + 1] = code
      input[c] = nil
    end)
    coroutine.resume(threads[c])
  end
  for i = 5, 1, -1 do
    all[i].stdin:close()
    eq("true", mb.poll(input))
    for _, thread in pairs(threads) do coroutine.resume(thread) end
  end
  eq("5,4,3,2,1", table.concat(order, ","))
"""
    )


@test("the wait forms leave each other alone: several children, ended in another order than they are waited for")
def _():
    runs(
        """
  local all = {}
  for i = 1, 20 do all[i] = sh("exit " .. i) end
  for i = 20, 1, -1 do eq(tostring(i), all[i]:wait()) end
  local a, b = exec("cat"), exec("cat")
  b:kill(9):wait()
  eq("nil", a:wait_nb())
  eq("-15", a:kill():wait())
"""
    )


@test("poll on a child: ready when it has ended, waited for or not; not while it runs or is stopped")
def _():
    runs(
        """
  local a, b = exec("cat"), exec("cat")
  local both = { [a] = true, [b] = true }
  eq("false timeout", mb.poll(both, nil, 0))
  eq("false timeout", mb.poll(both, nil, 0.01))
  a:kill(19)
  eq("false timeout", mb.poll(both, nil, 0.01))
  b.stdin:close()
  eq("true", mb.poll(both))
  eq("nil 0", a:wait_nb(), b:wait_nb())
  eq("true", mb.poll(both, nil, 0)) -- as b has
  eq("true", mb.poll({ [b] = true }))
  eq("false timeout", mb.poll({ [a] = true, [b] = false }, nil, 0))
  a:kill(9)
  eq("true", mb.poll({ [a] = true }))
  eq("true", mb.poll({ [a] = true }))
  eq("-9", a:wait())
  eq("true", mb.poll({ [a] = true }))
"""
    )


# --- What does not start ---


@test(
    "what cannot be executed: nil, COMMAND: message, errno; nobody is left behind",
    native="valgrind gives up when execve fails after its own check",
)
def _():
    directory = os.path.dirname(mbtest.tmp("unexecutable", "x"))
    mbtest.write_file(f"{directory}/plain", "#!/bin/sh\necho no\n")
    mbtest.write_file(f"{directory}/nowhere", "#!/no/such/interpreter\n")
    os.chmod(f"{directory}/nowhere", 0o755)
    mbtest.write_file(f"{directory}/broken", "\x7fELF is not enough")
    os.chmod(f"{directory}/broken", 0o644)
    with Handler(
        f"""
  local d = "{directory}"
  eq("nil no-such-command: No such file or directory 2", exec("no-such-command"))
  eq("nil no-such-command: No such file or directory 2", exec("no-such-command", "with", "arguments"))
  eq("nil " .. d .. "/none: No such file or directory 2", exec(d .. "/none"))
  eq("nil " .. d .. "/plain/x: Not a directory 20", exec(d .. "/plain/x"))
  eq("nil " .. d .. "/plain: Permission denied 13", exec(d .. "/plain"))
  eq("nil " .. d .. ": Permission denied 13", exec(d))
  eq("nil /: Permission denied 13", exec("/"))
  eq("nil " .. d .. "/nowhere: No such file or directory 2", exec(d .. "/nowhere"))
  eq("nil : No such file or directory 2", exec(""))
  eq("nil  : No such file or directory 2", exec(" "))
  eq("nil cat -v: No such file or directory 2", exec("cat -v")) -- no shell
  local long = ("x"):rep(5000)
  eq("nil " .. long .. ": File name too long 36", exec(long))
  local nil_, message, number = exec("no-such-command")
  eq("nil string integer", type(nil_), type(message), math.type(number))
  turn("done")
"""
    ) as t:
        t.says("done")
        equal(children(t.pid), {}, "children")
        t.go()
        t.ends()


@test("a command that does not exist is refused at once", native="a bound on time")
def _():
    def measure():
        with Handler('local t = mb.timeref() exec("no-such-command") print(mb.timeref(t))') as t:
            took = float(t.word())
            t.ends()
            return took

    within(0.02, "refusal", measure)


@test("arguments: strings and numbers; anything else, and a NUL byte, is an argument error that says which, and nothing starts")
def _():
    proof = mbtest.tmp("proof")
    runs(
        f"""
  throws("bad argument #1", exec)
  for _, wrong in ipairs {{ true, false, {{}}, print, socket, coroutine.create(print), io.stdout }} do
    if type(wrong) ~= "table" then throws("bad argument #1", exec, wrong) end
    throws("bad argument #2", exec, "touch", wrong)
    throws("bad argument #3", exec, "touch", "{proof}", wrong)
  end
  throws("bad argument #1", exec, nil)
  throws("bad argument #2", exec, "touch", nil)
  throws("bad argument #3", exec, "touch", "{proof}", nil)
  throws("bad argument #1", exec, "touch\\0", "{proof}")
  throws("bad argument #1", exec, "\\0")
  throws("bad argument #2", exec, "touch", "{proof}\\0")
  throws("bad argument #4", exec, "touch", "{proof}", "", "a\\0b")
  eq("1 -2 1.5 1e+100 3.0| 0", (output("sh", "-c", 'printf "$*|"', "sh", 1, -2, 1.5, 1e100, 3.0)), 0)
  eq("[][a b][$HOME][*][\\n][-x]\\n 0", output("sh", "-c", 'printf "[%s]" "$@"; echo', "sh", "", "a b", "$HOME", "*", "\\n", "-x"))
  eq("\\1\\255\\xC3\\xA4\\n 0", output("echo", "\\1\\255\\xC3\\xA4"))
  local number = 5
  exec("true", number)
  eq("integer", math.type(number))
"""
    )
    check(not os.path.exists(proof), "nothing was executed")


@test("a command without arguments, and the number 5 for one: its name is its argument 0, as it was asked for")
def _():
    path = mbtest.write_file(mbtest.tmp("bin", "5"), '#!/bin/sh\nread line\necho "$0 $#"\n')
    os.chmod(path, 0o755)
    with Handler(
        'local c = exec("cat") local five = exec(5) turn(c.pid) c.stdin:close() five.stdin:close() '
        f'eq("{path} 0\\n eof", five.stdout:read())',
        env={"PATH": os.path.dirname(path) + ":" + os.environ["PATH"]},
    ) as t:
        pid = t.number()
        # exec has returned when the old program is gone; the new one's arguments are told a moment later.
        until(lambda: mbtest.read_file(f"/proc/{pid}/cmdline"), "the process has arguments")
        equal(mbtest.read_file(f"/proc/{pid}/cmdline"), "cat\0", "arguments of the process")
        t.go()
        t.ends()


@test(
    "100,000 arguments arrive; too many, or one that is too long, is E2BIG, and leaves nothing behind",
    native="valgrind gives up when execve fails after its own check",
)
def _():
    with Handler(
        """
  local many = {}
  for i = 1, 100000 do many[i] = i % 10 end
  eq("100000 1 0\\n 0", output("sh", "-c", 'echo "$# $1 ${100000}"', "sh", table.unpack(many)))
  local want = "nil true: Argument list too long 7"
  eq(want, exec("true", ("x"):rep(1 << 20)))
  eq(want, exec("true", ("x"):rep(128 << 10)))
  for i = 1, 100000 do many[i] = ("x"):rep(100) end
  eq(want, exec("true", table.unpack(many)))
  for i = 1, 900000 do many[i] = "x" end
  eq(want, exec("true", table.unpack(many)))
  eq("0", exec("true", ("x"):rep((128 << 10) - 1)):wait())
  turn("done")
"""
    ) as t:
        t.says("done")
        equal(children(t.pid), {}, "children")
        t.go()
        t.ends()


@test("the command is searched in $PATH, past what cannot be executed; one with a slash is not")
def _():
    dirs = [os.path.dirname(mbtest.tmp(f"path{i}", "x")) for i in range(3)]
    for directory, text, mode in ((dirs[0], "first", 0o644), (dirs[1], "second", 0o755), (dirs[2], "third", 0o755)):
        path = mbtest.write_file(f"{directory}/mb-probe", f"#!/bin/sh\necho {text}\n")
        os.chmod(path, mode)
    mbtest.write_file(f"{dirs[0]}/mb-plain", "")
    runs(
        f"""
  eq("second\\n 0", output("mb-probe"))
  eq("third\\n 0", output("{dirs[2]}/mb-probe"))
  eq("nil ./mb-probe: No such file or directory 2", exec("./mb-probe"))
  eq("nil mb-plain: Permission denied 13", exec("mb-plain"))
  eq("nil mb-none: No such file or directory 2", exec("mb-none"))
""",
        env={"PATH": ":".join([mbtest.tmp("no-such-directory"), *dirs, os.environ["PATH"]])},
    )


# --- What the child has, and what not ---


@test("a child has the default action for all signals and none blocked, whatever the script and the parent have set")
def _():
    body = """
  mb.catch_sigterm()
  timeout(60)
  exec("true")
  collect() -- SIGCHLD is caught from now on
  local child = exec("cat")
  turn(child.pid)
  child.stdin:close()
  eq("0", child:wait())
"""
    none = {"SigBlk": 0, "SigIgn": 0, "SigCgt": 0, "SigPnd": 0}
    ignored = [signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGTTOU, signal.SIGCHLD, signal.SIGPIPE]
    ignored += [signal.SIGRTMIN + 6, signal.SIGRTMAX]
    blocked = [signal.SIGUSR2, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD, signal.SIGQUIT, signal.SIGRTMIN, signal.SIGRTMAX]
    for disturbed in (False, True):
        before = {}
        try:
            if disturbed:
                signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
                before = {n: signal.signal(n, signal.SIG_IGN) for n in ignored}
            handler = Handler(body)
        finally:
            for number, action in before.items():
                signal.signal(number, action)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
        with handler:
            pid = handler.number()
            if disturbed:  # the parent's settings have reached mb-handle: they are there to be undone
                check(signals(handler.pid)["SigIgn"] & 1 << signal.SIGUSR1 - 1, "SIGUSR1 is ignored by mb-handle")
                check(signals(handler.pid)["SigBlk"] & 1 << signal.SIGUSR2 - 1, "SIGUSR2 is blocked in mb-handle")
            equal(signals(pid), none, "signals of the child")
            handler.go()
            handler.ends()


@test("starting a child changes no signal and no timer of ours", native="the signals are valgrind's")
def _():
    with Handler(
        """
  timeout(60)
  turn("before")
  exec("cat")
  exec("no-such-command")
  assert(timeout() > 30 and timeout() <= 60)
  turn("after")
"""
    ) as t:
        t.says("before")
        before = signals(t.pid)
        t.go()
        t.says("after")
        equal(signals(t.pid), before, "signals of mb-handle")
        t.go()
        t.ends()


@test("a child has no timer: timeout() ends mb-handle, not the child")
def _():
    probe = mbtest.write_file(
        mbtest.tmp("timer.py"),
        "from signal import *\nprint(*(getitimer(t)[0] for t in (ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF)))\n",
    )
    with Handler(
        f"""
  timeout(60)
  eq("0.0 0.0 0.0\\n 0", output("{sys.executable}", "-I", "{probe}"))
  local child = exec("sleep", "60")
  turn(child.pid)
  timeout(0.05)
  child:wait()
"""
    ) as t:
        with Outliving(t.number()) as child:
            t.go()
            t.ends(-signal.SIGALRM, "time is up")
            check(alive(child.pid), "the child goes on")


@test("a child has no descriptors but 0, 1 and 2, which are pipes, whatever the script has open")
def _():
    path = mbtest.tmp("open-file")
    for name, pair in PAIRS.items():
        with Handler(
            f"""
  local first = exec("cat")
  local files = {{}}
  for i = 1, 20 do files[i] = io.open("{path}", "w") end
  local name = "@mb-io-exec-" .. mb.getpid()
  local l = mb.locallisten(name)
  local t = mb.tcplisten("127.0.0.1", 0)
  local a = mb.localconnect(name)
  local b = l:accept()
  local c, d = mb.tcpconnect("127.0.0.1", t.local_tcpport), mb.tcpconnect_nb("127.0.0.1", t.local_tcpport)
  local p = io.popen("cat", "w")
  mb.poll({{ [first] = true }}, nil, 0)
  files[21] = io.tmpfile()
  local child = exec("cat")
  turn(first.pid)
  turn(child.pid)
  for _, one in ipairs {{ first, child }} do
    one.stdin:close()
    eq("0", one:wait()) -- nobody else holds the other end of its input
  end
""",
            pair=pair,
        ) as t:
            for what in ("first", "one started among others"):
                check_fds(t.number(), f"{name}: the {what}")
                t.go()
            t.ends()


@test("pipes, not sockets: the child can open /dev/stdin, /dev/stdout and /dev/stderr")
def _():
    runs(
        """
  local child = sh("echo out >/dev/stdout; echo err >/dev/stderr; cat </dev/stdin")
  child.stdin:flush("input")
  child.stdin:close()
  eq("out\\ninput eof", child.stdout:read())
  eq("err\\n eof", child.stderr:read())
"""
    )


@test("the environment, the working directory, the umask and the limits are passed on")
def _():
    directory = os.path.realpath(os.path.dirname(mbtest.tmp("working directory", "x")))
    back = os.getcwd()
    os.chdir(directory)
    try:
        runs(
            f"""
  eq("{directory}\\n 0", output("pwd", "-P"))
  eq("a b  c;$x\\n 0", output("sh", "-c", 'echo "$MB_TEST_VALUE"'))
  local show = "umask; ulimit -n; ulimit -Hn; id -u; env | grep -v '^_=' | sort"
  local p = io.popen(show)
  local want = p:read("a")
  p:close()
  eq(want .. " 0", output("sh", "-c", show))
""",
            env={"MB_TEST_VALUE": "a b  c;$x"},
        )
    finally:
        os.chdir(back)


# --- The pipes ---


@test("a megabyte through cat with the _nb forms and poll: byte for byte, and no deadlock")
def _():
    runs(
        """
  local parts = {}
  for i = 1, 1 << 16 do parts[i] = string.pack(">I8I8", i * 7919, i) end
  local data = table.concat(parts)
  eq(tostring(1 << 20), #data)
  for _, size in ipairs { 1 << 20, 7777 } do
    local child = exec("cat")
    local input, output = { [child.stdout] = true, [child.stderr] = true }, { [child.stdin] = true }
    local got, at, pending, status, err = {}, 1, 0, nil, nil
    repeat
      eq("true", mb.poll(input, output))
      if output[child.stdin] then
        if pending < size and at <= #data then
          pending = assert(child.stdin:write_nb(data:sub(at, at + size - 1)))
          at = at + size
        else
          pending = assert(child.stdin:flush_nb())
        end
        if pending == 0 and at > #data then
          eq("true", child.stdin:close())
          output[child.stdin] = nil
        end
      end
      got[#got + 1], status = child.stdout:read_nb(100000)
      err = child.stderr:read_nb(10)
      eq("", err)
    until status == "eof"
    assert(table.concat(got) == data, "other bytes came back")
    eq("0", child:wait())
  end
"""
    )


@test("a megabyte on stdout and another on stderr, read in turn as they come")
def _():
    runs(
        """
  local child = sh("(head -c 1048576 /dev/zero | tr '\\\\0' o) & head -c 1048576 /dev/zero | tr '\\\\0' e >&2; wait")
  local count, open = { stdout = 0, stderr = 0 }, { [child.stdout] = true, [child.stderr] = true }
  while next(open) do
    eq("true", mb.poll(open))
    for name in pairs(count) do
      local pipe = child[name]
      local data, status = pipe:read_nb(65536)
      eq("", (data:gsub(name:sub(4, 4), "")))
      count[name] = count[name] + #data
      if status == "eof" then open[pipe] = nil end
    end
  end
  eq("1048576 1048576 0", count.stdout, count.stderr, child:wait())
"""
    )


@test('"All methods on an I/O handle are described in the previous section": the pipes have each of the socket\'s')
def _():
    runs(
        """
  local child = exec("cat")
  for _, name in ipairs { "close", "drain", "drain_call", "drain_nb", "drain_yield", "finish", "flush", "flush_call", "flush_nb",
      "flush_yield", "read", "read_call", "read_nb", "read_yield", "reset", "write", "write_call", "write_nb", "write_yield" } do
    for _, pipe in ipairs { "stdin", "stdout", "stderr" } do
      assert(child[pipe][name] == socket[name] and socket[name], pipe .. ":" .. name)
    end
  end
  local to, from = child.stdin, child.stdout
  eq("true", to:write("one") == to)
  eq(" block", from:read_nb()) -- it is pending
  eq("true", to:flush("two\\n") == to)
  eq("onetwo\\n term", from:read(nil, "\\n"))
  -- The blocking ones wait, however much it is.
  local large = ("x"):rep(300000)
  to:write_nb(large)
  local n = 0
  repeat n = n + from:drain_nb() until to:flush_nb() == 0
  eq(tostring(#large - n), (from:drain(#large - n)))
  eq("true", to:finish())
  eq(" eof", from:read())
  eq("0", child:wait())
  eq("true true true", to:close(), from:close(), child.stderr:reset())
  throws("closed", to.close, to)
  throws("closed", from.read, from)
  throws("reset", child.stderr.read, child.stderr)
  eq("nil nil nil", to.fd, from.fd, child.stderr.fd)
  -- Attributes: a descriptor, and no addresses.
  child = exec("cat")
  for _, name in ipairs { "local_addr", "local_ip4", "local_ip6", "local_tcpport", "remote_addr", "remote_ip4", "remote_tcpport",
      "interval" } do
    eq("nil nil", child.stdin[name], child.stdout[name])
  end
  eq("integer integer integer", math.type(child.stdin.fd), math.type(child.stdout.fd), math.type(child.stderr.fd))
"""
    )


@test("_call and _yield forms on a pipe: who need not wait calls nothing; who must, calls until it goes on, both ways at once")
def _():
    runs(
        """
  -- Calls a form. While it has to wait, it calls wait, or yields and wait is called for it.
  local function call(form, pipe, name, wait, ...)
    if form == "call" then return pipe[name .. "_call"](pipe, wait, ...) end
    local co = coroutine.create(pipe[name .. "_yield"])
    local results = table.pack(coroutine.resume(co, pipe, ...))
    while coroutine.status(co) == "suspended" do
      wait()
      results = table.pack(coroutine.resume(co))
    end
    assert(results[1], results[2])
    return table.unpack(results, 2, results.n)
  end
  local function never() error("need not wait") end
  for _, form in ipairs { "call", "yield" } do
    for _, case in ipairs {
      { "read", "line\\n term", nil, "\\n" }, { "read", "lin maxlen", 3 }, { "drain", "5 term", 10, "\\n" }, { "drain", "3 maxlen", 3 }
    } do
      local name, want = case[1], case[2]
      local child, waits = exec("cat"), 0
      local function wait()
        waits = waits + 1
        if waits < 3 then return end
        child.stdin:flush("line\\n")
        mb.poll { [child.stdout] = true }
      end
      eq(want, call(form, child.stdout, name, wait, case[3], case[4]))
      eq(name .. " 3", name, waits)
      if case[3] == 3 then child.stdout:read(2) end -- the rest of the line
      child.stdin:flush("line\\n")
      mb.poll { [child.stdout] = true }
      eq(want, call(form, child.stdout, name, never, case[3], case[4]))
    end
    local large = ("0123456789abcdef"):rep(1 << 16)
    for _, case in ipairs { { "write", "", large }, { "flush", "", large }, { "flush", large } } do
      local name, pending, data = case[1], case[2], case[3] or ""
      local child, waits = exec("cat"), 0
      eq("true", call(form, child.stdin, "write", never, "sm") == child.stdin)
      eq("true", call(form, child.stdin, "flush", never, "all") == child.stdin)
      eq("small maxlen", child.stdout:read(5))
      child.stdin:write_nb(pending)
      local reader, got = coroutine.create(function() return child.stdout:read_yield() end), nil
      local function go_on() got = select(2, assert(coroutine.resume(reader))) end
      local function wait()
        waits = waits + 1
        mb.poll({ [child.stdout] = true }, { [child.stdin] = true })
        go_on()
      end
      eq("true", call(form, child.stdin, name, wait, data) == child.stdin)
      assert(waits > 0, name)
      child.stdin:close()
      while coroutine.status(reader) ~= "dead" do
        mb.poll { [child.stdout] = true }
        go_on()
      end
      assert(got == large, name)
    end
  end
"""
    )


@test("reading stdin is at its end; writing stdout or stderr is the error of a finished output")
def _():
    runs(
        """
  local child = exec("cat")
  eq(" eof", child.stdin:read())
  eq(" eof", child.stdin:read(10, "\\n"))
  eq(" eof", child.stdin:read_nb())
  eq(" eof", child.stdin:read_call(error))
  eq("0 eof", child.stdin:drain())
  eq(" maxlen", child.stdin:read(0))
  for _, pipe in ipairs { child.stdout, child.stderr } do
    for _, name in ipairs { "write", "write_nb", "flush", "flush_nb", "finish" } do throws("output is finished", pipe[name], pipe) end
    for _, name in ipairs { "write_call", "flush_call" } do throws("output is finished", pipe[name], pipe, print) end
    eq("true", pipe:close())
  end
  child.stdin:flush("x") -- its reading goes on all the same
  child.stdin:close()
  child:wait() -- by SIGPIPE or not: nobody reads what it writes
"""
    )


@test("stdin:close() and stdin:finish() end the child's input, after what is pending; stdin:reset() drops that")
def _():
    runs(
        """
  for _, how in ipairs { "close", "finish" } do
    local child = exec("cat")
    child.stdin:write("pending")
    eq("true", child.stdin[how](child.stdin))
    eq("pending eof", child.stdout:read())
    eq("0", child:wait())
    child = sh("sleep 0.01; wc -c")
    child.stdin:write_nb(("x"):rep(300000)) -- more than the pipe takes
    eq("true", child.stdin[how](child.stdin))
    eq("300000\\n eof", child.stdout:read())
    if how == "finish" then
      throws("output is finished", child.stdin.flush, child.stdin, "x")
      eq(" eof", child.stdin:read())
      eq("true", child.stdin:close())
    end
    throws("closed", child.stdin.close, child.stdin)
  end
  local child = exec("cat")
  child.stdin:write("dropped")
  eq("true", child.stdin:reset())
  eq(" eof", child.stdout:read())
"""
    )


@test("a child that does not read: nil, Broken pipe, EPIPE once it has ended, at each write from then on; the handler goes on")
def _():
    with Handler(
        """
  local child = exec("true")
  child:wait()
  eq("nil Broken pipe 32", child.stdin:flush("x"))
  for _, name in ipairs { "write", "write_nb", "flush", "flush_nb" } do
    eq("nil Broken pipe 32", child.stdin[name](child.stdin, "y"))
  end
  eq("nil Broken pipe 32", child.stdin:flush_call(error, "y"))
  eq("nil Broken pipe 32", child.stdin:close())
  child = exec("true")
  child:wait()
  child.stdin:write("pending")
  eq("nil Broken pipe 32", child.stdin:finish())
  -- While it waits for room.
  child = sh("read line; exec sleep 0.02")
  eq("nil Broken pipe 32", child.stdin:flush("line\\n", ("x"):rep(1 << 20)))
  -- One that has closed its input and lives.
  child = sh("exec <&-; echo closed; exec sleep 60")
  eq("closed\\n term", child.stdout:read(nil, "\\n"))
  eq("nil Broken pipe 32", child.stdin:flush("x"))
  eq("nil", child:wait_nb())
  eq("-9", child:kill(9):wait())
  eq("0", exec("true"):wait())
  socket:write("alive")
"""
    ) as t:
        equal(t.client.end(), (b"alive", "eof"), "what the client gets")
        t.ends()


@test("what a child wrote can be read after its end, then the end again and again; one that closes its output lives on")
def _():
    runs(
        """
  local child = sh("echo out; echo err >&2; exit 3")
  eq("3", child:wait())
  eq("true", mb.poll({ [child.stdout] = true }))
  eq("out\\n eof", child.stdout:read())
  eq("err\\n eof", child.stderr:read())
  eq(" eof", child.stdout:read())
  eq(" eof", child.stdout:read_nb())
  eq("true", child.stdout:close())
  child = sh("exec >&- 2>&-; read line; exit 4")
  eq(" eof", child.stdout:read())
  eq(" eof", child.stderr:read())
  eq("nil", child:wait_nb())
  child.stdin:close()
  eq("4", child:wait())
"""
    )


@test("a child whose output is closed is told so by SIGPIPE")
def _():
    runs(
        """
  local child = exec("yes")
  eq("y\\n term", child.stdout:read(nil, "\\n"))
  eq("true", child.stdout:close())
  eq("-13", child:wait())
  child = exec("yes")
  child.stdout:reset()
  eq("-13", child:wait())
  child = exec("yes")
  eq("0", sh("yes | head -c 1"):wait())
"""
    )


# --- What is left of it ---


@test("a handle that is collected kills nothing: the child goes on, its sockets too, and is reaped when it ends")
def _():
    with Handler(
        """
  local out
  do
    local child = exec("sleep", "60")
    print(child.pid)
    child = sh("read line; echo $line")
    child.stdin:flush("still here\\n")
    out = child.stdout
  end
  collect()
  eq("still here\\n eof", out:read())
  turn("collected")
  turn("reaped")
"""
    ) as t:
        with Outliving(t.number()) as child:
            t.says("collected")
            check(alive(child.pid), "the child goes on")
            child.end()
            until(lambda: children(t.pid) == {}, "nothing is left of both")
        t.go()
        t.says("reaped")
        t.go()
        t.ends()


@test("a child that ended before its handle was collected is reaped then; one that is waited for stays until that")
def _():
    with Handler(
        """
  local held = sh("exit 3")
  local dropped = sh("exit 4")
  turn("ended")
  dropped = nil
  collect()
  turn("collected")
  eq("3", held:wait())
  turn("waited")
"""
    ) as t:
        t.says("ended")
        until(lambda: list(children(t.pid).values()) == ["Z", "Z"], "both have ended")
        t.go()
        t.says("collected")
        equal(list(children(t.pid).values()), ["Z"], "one is left")
        t.go()
        t.says("waited")
        equal(children(t.pid), {}, "none is left")
        t.go()
        t.ends()


@test("many collected at once, ended before and after, one by one and together: no zombie, whatever the handler does meanwhile")
def _():
    for waits in ('turn("collected")', 'print("collected") mb.poll { [socket] = true } eq("go\\n term", socket:read(nil, "\\n"))'):
        with Handler(
            f"""
  local writers = {{}}
  for i = 1, 60 do
    exec("cat") -- ends when its pipe is collected
    exec("true")
    writers[i] = exec("cat").stdin
  end
  collect()
  {waits}
  for i = 1, 30 do writers[i]:close() end
  turn("half")
  writers = nil
  collect()
  turn("all")
"""
        ) as t:
            t.says("collected")
            until(lambda: len(children(t.pid)) == 60, "those are left that have something to read from")
            check("Z" not in children(t.pid).values(), "no zombie")
            t.go()
            t.says("half")
            until(lambda: len(children(t.pid)) == 30, "half of them")
            t.go()
            t.says("all")
            until(lambda: children(t.pid) == {}, "nobody is left")
            t.go()
            t.ends()


@test("nobody's status is stolen: wait, os.execute and io.popen beside abandoned children that end all the time")
def _():
    with Handler(
        """
  local held = {}
  for i = 1, 40 do
    exec("true")
    sh("exit 9")
    held[i] = sh("exit " .. i)
    collect()
    eq("true exit 0", os.execute("exit 0"))
    eq("nil exit 5", os.execute("exit 5"))
    eq("nil signal 9", os.execute("kill -9 $$"))
    local p = io.popen("echo popen; exit 6")
    exec("true")
    collect()
    eq("popen", p:read("a"):sub(1, -2))
    eq("nil exit 6", p:close())
    if i % 3 == 0 then eq(tostring(i), held[i]:wait()) end
  end
  for i = 40, 1, -1 do eq(tostring(i), held[i]:wait()) end
  turn("done")
"""
    ) as t:
        t.says("done")
        until(lambda: children(t.pid) == {}, "nobody is left")
        t.go()
        t.ends()


@test("what is interrupted by an abandoned child's end goes on: reads and writes of sockets, pipes and files")
def _():
    data = b"0123456789abcdef" * 65536
    with Handler(
        """
  local function abandon(seconds) exec("sleep", seconds) end
  for i = 1, 10 do abandon("0.0" .. i) end
  collect()
  local p = io.popen("sleep 0.03; echo popen")
  eq("popen", p:read("l"))
  p:close()
  for i = 1, 10 do abandon("0.0" .. i) end
  collect()
  local child = sh("sleep 0.03; cat")
  child.stdin:flush("data")
  child.stdin:close()
  eq("data eof", child.stdout:read())
  for i = 1, 10 do abandon("0.0" .. i) end
  collect()
  eq("0", exec("sleep", "0.03"):wait())
  for i = 1, 20 do abandon("0.0" .. i % 10) end
  collect()
  print("write")
  assert(socket:flush(("0123456789abcdef"):rep(65536)))
  socket:finish()
"""
    ) as t:
        t.says("write")
        t.asleep()  # its output is full
        got, how = t.client.end()
        check(got == data and how == "eof", f"{len(got)} bytes, {how}")
        t.ends()


@test("when mb-handle ends, its children go on")
def _():
    for how, status in (("", 0), ("os.exit(0, true)", 0), ("os.exit(3)", 3), ('error("thrown")', 70)):
        with Handler(f'local child = exec("sleep", "60") turn(child.pid) {how}') as t:
            with Outliving(t.number()) as child:
                t.go()
                t.ends(status, "thrown" if status == 70 else "")
                check(alive(child.pid), f"the child goes on after {how!r}")


def gone(pids, what):
    until(lambda: not any(alive(pid) for pid in pids), f"{what}: processes {[p for p in pids if alive(p)]} of {pids} are gone")


def group_of(pid):
    """The numbers of all processes in the process group of this one."""
    group = os.getpgid(pid)
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and is_in(int(name), group)]


def is_in(pid, group):
    try:
        return os.getpgid(pid) == group and alive(pid)
    except ProcessLookupError:
        return False


@test("end_with_script: the child, what it has started, and who ignores SIGTERM end with mb-handle, whatever ends that")
def _():
    command = "sleep 60 & (trap '' TERM; sleep 61) & wait"
    for how, status, kill in (
        ("", 0, None),
        ("os.exit(3)", 3, None),
        ('error("thrown")', 70, None),
        ("child = nil collect()", 0, None),
        ("timeout(0.05) child:wait()", -signal.SIGALRM, None),
        ("turn('waits') child:wait()", -signal.SIGKILL, signal.SIGKILL),
        ("turn('waits') child:wait()", -signal.SIGTERM, signal.SIGTERM),
    ):
        with Handler(f'local child = assert(exec({{end_with_script = true}}, "sh", "-c", "{command}")) turn(child.pid) {how}') as t:
            child = t.number()
            check(os.getpgid(child) != os.getpgid(t.pid), "the child has a process group of its own")
            members = until(lambda c=child: len(group_of(c)) >= 4 and group_of(c), "guard, shells and sleeps")
            check_no_connection(members)
            t.go()
            if kill:
                t.says("waits")
                os.kill(t.pid, kill)
            t.ends(status, "thrown" if status == 70 else "time is up" if status == -signal.SIGALRM else "")
            gone(members, f"after {how!r}, {kill}")


def standard_fds(pid):
    """The process's descriptors; None while it has more than 0, 1 and 2, as its loader opens libraries."""
    found = fds(pid)
    return found if sorted(found) == [0, 1, 2] else None


def check_no_connection(pids):
    for pid in pids:
        found = until(lambda p=pid: standard_fds(p), f"{pid} has three descriptors")
        check(all(link.startswith(("pipe:", "/dev/null")) for link in found.values()), f"descriptors of {pid}: {found}")


@test("end_with_script: SIGTERM comes first; once the script has waited for the child, what that left behind ends; no zombie is left")
def _():
    proof = mbtest.tmp("cleaned-up")
    with Handler(
        f"""
  local child = exec({{end_with_script = true}}, "sh", "-c", "trap 'echo x >{proof}; exit' TERM; sleep 60 & echo; wait")
  child.stdout:read(nil, "\\n")
  turn(child.pid)
"""
    ) as t:
        members = group_of(t.number())
        t.go()
        t.ends()
        gone(members, "all of them")
        equal(mbtest.read_file(proof), "x\n", "what the child did at SIGTERM")
    with Handler(
        """
  local child = exec({end_with_script = true}, "sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!")
  turn(child.stdout:read(nil, "\\n"):match("%d+"))
  eq("0", child:wait())
  turn("waited")
  eq("3", exec({end_with_script = true}, "sh", "-c", "exit 3"):wait())
  eq("-9", exec({end_with_script = true}, "sh", "-c", "kill -9 $$"):wait())
  local killed = exec({end_with_script = true}, "sleep", "60")
  killed:kill()
  eq("-15", killed:wait())
  eq("nil no-such-command: No such file or directory 2", exec({end_with_script = true}, "no-such-command"))
  turn("done")
"""
    ) as t:
        left = t.number()
        check(alive(left), "it runs while the child is not waited for")
        t.go()
        t.says("waited")
        gone([left], "left behind")
        t.go()
        t.says("done")
        until(lambda: children(t.pid) == {}, f"no children: {children(t.pid)}")
        t.go()
        t.ends()


@test("exec's options: false is the default; what is none is an argument error, and nothing starts")
def _():
    proof = mbtest.tmp("no-option")
    runs(
        f"""
  throws("end_with_script: expected true or false", exec, {{end_with_script = 1}}, "touch", "{proof}")
  throws("unknown option end_with_scripts: expected end_with_script", exec, {{end_with_scripts = true}}, "touch", "{proof}")
  throws("unknown option 1", exec, {{"touch", "{proof}"}})
  throws("bad argument #2", exec, {{}})
  throws("bad argument #3", exec, {{}}, "touch", {{}})
  eq("x\\n 0", output({{}}, "echo", "x"))
  eq("x\\n 0", output({{end_with_script = true}}, "echo", "x"))
"""
    )
    check(not os.path.exists(proof), "nothing was executed")
    with Handler('turn(exec({end_with_script = false}, "sleep", "60").pid)') as t:
        with Outliving(t.number()) as child:
            t.go()
            t.ends()
            check(alive(child.pid), "it goes on")


@test("os.execute and io.popen: setpriv --pdeathsig ends the program when timeout() ends mb-handle")
def _():
    mbtest.need("setpriv")
    for call in ('os.execute("{}")', 'io.popen("{}"):read("a")'):
        proof = mbtest.tmp("number")
        command = "echo $$ >" + proof + "; exec setpriv --pdeathsig TERM sleep 60"
        with Handler(f"turn('begin') timeout(1) {call.format(command)}") as t:
            t.says("begin")
            t.go()
            pid = int(until(lambda: mbtest.read_file(proof).strip(), "its number"))
            with Outliving(pid):
                t.ends(-signal.SIGALRM, "time is up")
                gone([pid], call)
        os.remove(proof)


@test(
    "1,000 in a row leave no descriptor and no zombie: waited for and closed, or left to be collected; nor do 1,000 that fail",
    native="a bound on time",
)
def _():
    for name, body in {
        "waited for": 'local c = assert(exec("true")) c:wait() close(c)',
        "polled": 'local c = assert(exec("true")) mb.poll { [c] = true } eq("0", c:wait_nb()) close(c)',
        "left": 'assert(exec("true")) if i % 50 == 0 then collect() end',
        "polled and left": 'mb.poll({ [assert(exec("true"))] = true }, nil, i % 2 * 0.001) if i % 50 == 0 then collect() end',
        "failed": 'eq("nil", (exec("no-such-command"))) if i % 50 == 0 then exec("/") end',
    }.items():
        with Handler(
            f"""
  local function close(c) c.stdin:close() c.stdout:close() c.stderr:close() end
  exec("true"):wait()
  collect()
  turn("before")
  for i = 1, 1000 do {body} end
  collect()
  turn("after")
""",
            pair=tcp_pair,  # on a Unix socket the second wait makes a descriptor, which stays
        ) as t:
            t.says("before")
            before = fds(t.pid)
            t.go()
            t.says("after")
            until(lambda: children(t.pid) == {}, f"{name}: no children: {children(t.pid)}")
            equal(fds(t.pid), before, f"{name}: descriptors")
            t.go()
            t.ends()


# What becomes of exec when there is no descriptor to be had, or only garbage has some: faults.py.


@test("poll waits for any number of children, at no cost of descriptors; their end is seen at whatever moment it comes")
def _():
    with Handler(
        """
  local children, input = {}, {}
  for i = 1, 60 do
    children[i] = exec("cat")
    children[i].stdout:close()
    children[i].stderr:close()
    input[children[i]] = true
  end
  turn("before")
  eq("false timeout", mb.poll(input, nil, 0.01))
  turn("polled")
  -- More than there may be descriptors.
  eq("false timeout", mb.poll(input, nil, 0))
  for i = 60, 1, -1 do
    children[i].stdin:close()
    eq("true", mb.poll(input))
    eq("0", children[i]:wait_nb())
    input[children[i]] = nil
    eq("false timeout", mb.poll(input, nil, 0))
  end
  turn("moments")
  for i = 1, 200 do
    local child = exec("true")
    for j = 1, i * 20 do child.pid = nil end -- a while
    eq("true", mb.poll({ [child] = true }, nil, i % 2 == 0 and 10 or nil, i % 3 == 0))
    eq("0", child:wait_nb())
  end
  -- While somebody else waits for a child of his own.
  for i = 1, 5 do
    local child = sh("exit 3")
    os.execute("exec sleep 0.01")
    local p = io.popen("exec sleep 0.01")
    p:close()
    exec("sleep", "0.01"):wait()
    eq("true", mb.poll { [child] = true })
    eq("3", child:wait_nb())
  end
""",
        pair=tcp_pair,  # on a Unix socket the second wait makes a descriptor
    ) as t:
        t.says("before")
        before = fds(t.pid)
        t.go()
        t.says("polled")
        equal(fds(t.pid), before, "descriptors")
        t.may_open(30)
        t.go()
        t.says("moments")
        t.may_open()
        t.go()
        t.ends()


@test("wait and poll work though the parent of mb-handle has ignored or blocked SIGCHLD; what is abandoned is reaped")
def _():
    for act in (
        lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
        lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD]),
    ):
        try:
            act()
            handler = Handler(
                """
  eq("3", sh("exit 3"):wait())
  local child = exec("sleep", "0.01")
  eq("true", mb.poll { [child] = true })
  eq("0", child:wait_nb())
  local writer = exec("cat").stdin
  collect()
  eq("4", sh("exit 4"):wait())
  eq("nil exit 5", os.execute("exit 5"))
  writer:close()
  turn("abandoned")
""",
            )
        finally:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        with handler:
            handler.says("abandoned")
            until(lambda pid=handler.pid: children(pid) == {}, "it is reaped")
            handler.go()
            handler.ends()


# --- A child that outlives us does not hold the connection ---


def inetd(conn, body):
    """mb-handle as inetd starts it: the connection is 0, 1 and 2."""
    child = Child([HANDLE, script(source(body, HEAD))], {0: conn, 1: conn, 2: conn})
    conn.close()
    return child


def activated(conn, body):
    """As systemd does."""
    with open("/dev/null", "r+b") as null:
        child = Child([HANDLE, script(source(body, HEAD))], {0: null, 1: null, 2: null, 3: conn}, listen_fds=1)
    conn.close()
    return child


@test("a child that outlives mb-handle does not hold the client's connection: FIN at once, on TCP and Unix, under inetd and systemd")
def _():
    for start in (inetd, activated):
        for pair in (tcp_pair, local_pair):
            for ending in ("", "child = nil collect()"):

                def measure(start=start, pair=pair, ending=ending):
                    client, conn = pair()
                    with client:
                        handler = start(
                            conn,
                            f"""
  local child = exec("sleep", "60")
  socket:flush(child.pid, "\\n")
  eq("go\\n term", socket:read(nil, "\\n"))
  {ending}
""",
                        )
                        with Outliving(int(client.line())) as child:
                            check_fds(child.pid, "the child")
                            begin = time.monotonic()
                            client.send("go\n")
                            equal(client.end(), (b"", "eof"), "end of the connection")
                            took = time.monotonic() - begin
                            check(alive(child.pid), "the child lives")
                            equal(handler.wait(), 0, "exit status")
                            check(alive(child.pid), "the child goes on living")
                    return took

                within(0.1, f"FIN with {start.__name__}, {pair.__name__}", measure)


@test("mb-handle is killed: the client sees a reset at once, though a child lives")
def _():
    for start in (inetd, activated):
        client, conn = tcp_pair()
        with client:
            handler = start(conn, 'socket:flush(exec("sleep", "60").pid, "\\n") socket:read()')
            with Outliving(int(client.line())) as child:
                handler.kill()
                equal(client.end(), (b"", "reset"), "end of the connection")
                check(alive(child.pid), "the child lives")


@test("exec in prepare, in finish, in a coroutine and in a finalizer")
def _():
    path = script(
        """
local io = moonbridge_io
local function ask() return (io.exec("echo", "x").stdout:read()) end
assert(ask() == "x\\n")
listen{
  prepare = function() early = io.exec("sh", "-c", "read line; echo $line") end,
  connect = function(socket)
    early.stdin:flush("prepared\\n")
    socket:write((early.stdout:read(nil, "\\n")))
    coroutine.wrap(function()
      local child = io.exec("echo", "coroutine")
      child:wait_call(function() io.poll { [child] = true } end)
      socket:write((child.stdout:read()))
    end)()
    setmetatable({}, { __gc = function() socket:write("finalizer ", ask()) end })
    collectgarbage()
  end,
  finish = function() assert(ask() == "x\\n") end,
}
"""
    )
    client, conn = local_pair()
    with client, open("/dev/null", "r+b") as null:
        handler = Child([HANDLE, path], {0: null, 1: null, 2: null, 3: conn}, listen_fds=1)
        conn.close()
        equal(client.end(), (b"prepared\ncoroutine\nfinalizer x\n", "eof"), "what the client gets")
        equal(handler.wait(), 0, "exit status")


mbtest.main()
