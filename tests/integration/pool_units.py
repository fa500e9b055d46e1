#!/usr/bin/python3
"""mb-handle --units --pool: what it writes runs in a real systemd user manager, by the commands it prints; changes from
units without a pool and back; what it refuses."""

import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbspace
import mbtest
from mbtest import HANDLE, answer, check, equal, test, until

for tool in ("/lib/systemd/systemd", "systemctl", "systemd-analyze", "systemd-journald", "journalctl", "sh", "sleep"):
    mbtest.need(tool)
mbspace.enter(cgroup=True)

journal = mbspace.Journal()
manager = mbhosts.UserManager()
os.chmod(mbtest.TMP, 0o711)  # when root makes units for the system's manager, scripts are loaded as another account


def source(name, text):
    return mbtest.write_file(mbtest.tmp("srv", name), text)


def generate(script, *args, options=("--user", "--pool"), to=None):
    """Runs mb-handle --units. Returns its status, and what it printed on both."""
    argv = [HANDLE, "--units", to or manager.units, *options, script, *args]
    env = manager.env if "--user" in options else {**manager.env, "SYSTEMD_UNIT_PATH": ""}
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def written(*args, **how):
    status, out = generate(*args, **how)
    equal(status, 0, f"status; it said {out}")
    return out


def files(out):
    return [os.path.basename(line.split(" ", 1)[1]) for line in out.splitlines() if line.startswith(("wrote ", "unchanged "))]


def run(out):
    """Runs all commands that were printed, in their order, in a shell that ends with the first error."""
    lines = out[: out.index("\nnote:")] if "\nnote:" in out else out
    commands = "".join(line.strip() + "\n" for line in lines.splitlines() if line.startswith("  "))
    done = subprocess.run(["sh", "-ec", commands], env=manager.env, capture_output=True, text=True, check=False)
    equal(done.returncode, 0, f"status of {commands!r}, which said {done.stderr!r}")


def serve(*args, **how):
    out = written(*args, **how)
    run(out)
    return out


def settings(text):
    """The settings of a unit, without comments: {section: set of lines}."""
    found, section = {}, None
    for line in text.splitlines():
        if line.startswith("["):
            section = found.setdefault(line, set())
        elif line and not line.startswith("#"):
            section.add(line)
    return found


def messages(unit):
    return [str(e.get("MESSAGE")) for e in journal.entries() if e.get("_SYSTEMD_UNIT") == unit]


def everything(port, path, version="one"):
    return f"""
        local function hello(s) s:write("{version}") end
        listen{{{{proto="tcp", host="127.0.0.1", port={port}}}, {{proto="local", path="{path}"}}, connect=hello}}
        listen{{{{proto="interval", name="tick", delay=0.2}}, connect=function() print("tick") end}}
        listen{{{{proto="main", name="works"}}, connect=function()
          print("main begins")
          local io_ = require "moonbridge_io"
          io_.catch_sigterm()
          io_.poll(nil, nil, 600, true)
          print("main ends")
        end}}
        listen{{connect=print}}"""


@test("TCP, a Unix socket, an interval and a main: one socket, one service, and all of it runs by the printed commands")
def _():
    port, path = mbtest.free_port(), f"{manager.runtime}/all.sock"
    script = source("all.lua", everything(port, path))
    out = serve(script)
    equal(files(out), ["all.socket", "all.service"], "files")
    until(lambda: {"tick", "main begins"} <= set(messages("all.service")), "the interval and the main run before anybody comes")
    for where in (("127.0.0.1", port), path):
        equal(answer(where), (b"one", "eof"), f"answer at {where}")
    equal(oct(os.stat(path).st_mode & 0o777), "0o666", "mode of the Unix socket")
    manager.stop_unit("all.socket")
    equal(manager.prop("all.service", "ActiveState"), "inactive", "the service")
    journal.find("main ends")
    check(not os.path.exists(path), "the Unix socket's file is gone")


@test("what it writes once more is the same, and the commands put it to work again")
def _():
    port = mbtest.free_port()
    script = source("again.lua", everything(port, f"{manager.runtime}/again.sock"))
    serve(script)
    equal(answer(("127.0.0.1", port))[0], b"one", "answer")
    out = written(script)
    equal(out.count("unchanged "), 2, out)
    check("systemctl --user reload again.service" in out, "the advice for a script whose listeners are the same")
    other = mbtest.free_port()
    mbtest.write_file(script, everything(other, f"{manager.runtime}/again.sock", "two"))
    serve(script)
    equal(answer(("127.0.0.1", other))[0], b"two", "answer")
    mbtest.nobody_answers(("127.0.0.1", port))
    manager.stop_unit("again.socket")


@test("from one process for each connection to a pool and back: nothing stays of what was there")
def _():
    port, path = mbtest.free_port(), f"{manager.runtime}/switch.sock"
    script = source("switch.lua", everything(port, path))
    single = ["switch.socket", "switch@.service", "switch-tick.timer", "switch-tick.service", "switch-works.service"]
    pool = ["switch.socket", "switch.service"]

    def check_only(wanted, gone):
        there = sorted(n for n in os.listdir(manager.units) if n.startswith("switch"))
        equal(there, sorted(wanted), "files")
        for where in (("127.0.0.1", port), path):
            equal(answer(where), (b"one", "eof"), f"answer at {where}")
        for name in gone:
            equal(manager.prop(name.replace("@.", "@x."), "LoadState"), "not-found", name)
        links = [n for _, _, names in os.walk(f"{manager.env['HOME']}/.config") for n in names if n.startswith("switch")]
        check(not set(links) & set(gone), f"links of what is gone: {links}")
        equal(manager.failed(), "", "failed units")
        mains = [p for p in os.listdir("/proc") if p.isdigit() and "switch.lua" in mbtest.read_file(f"/proc/{p}/cmdline")]
        return len(mains)

    serve(script, options=("--user",))
    until(lambda: "tick" in messages("switch-tick.service"), "the timer runs")
    check_only(single, ["switch.service"])
    out = serve(script)
    check("units without a pool are in the way; to remove them first:" in out, out)
    check_only(pool, [n for n in single if n not in pool])
    until(lambda: "tick" in messages("switch.service"), "the interval runs in the pool")
    ticks = len(messages("switch-tick.service"))
    until(lambda: messages("switch.service").count("tick") > 5, "five more runs")
    equal(len(messages("switch-tick.service")), ticks, "runs of the timer that is gone")
    check("in the way" not in written(script), "nothing is named any more")
    out = serve(script, options=("--user",))
    check("units of a pool are in the way; to remove them first:" in out, out)
    check_only(single, ["switch.service"])
    equal(manager.prop("switch.service", "MainPID"), "0", "no pool runs")
    ticks = len(messages("switch.service"))
    before = len(messages("switch-tick.service"))
    until(lambda: len(messages("switch-tick.service")) > before + 2, "the timer runs again")
    equal(len(messages("switch.service")), ticks, "runs in the pool that is gone")
    for unit in ("switch.socket", "switch-tick.timer", "switch-works.service"):
        manager.stop_unit(unit)


@test("systemctl reload: a new text is served when it returns; one that does not load fails it, and the old one goes on")
def _():
    port = mbtest.free_port()
    text = 'listen{{proto="tcp", host="127.0.0.1", port=%d}, connect=function(s) s:write("%s") end}'
    script = source("load.lua", text % (port, "one"))
    serve(script, "arg", options=("--user", "--pool", "--timeout=9.5"))
    where = ("127.0.0.1", port)
    equal(answer(where)[0], b"one", "answer")
    main = manager.prop("load.service", "MainPID")
    mbtest.write_file(script, text % (port, "two"))
    equal(manager.reload("load.service"), "", "systemctl reload")
    for _ in range(10):
        equal(answer(where)[0], b"two", "answer")
    mbtest.write_file(script, "this is no Lua")
    check("failed" in manager.reload("load.service"), "systemctl reload fails")
    check(journal.find(f"{script}:1: syntax error near 'is'"), "the journal says why")
    equal(answer(where)[0], b"two", "answer")
    mbtest.write_file(script, text % (port, "three"))
    equal(manager.reload("load.service"), "", "systemctl reload")
    equal(answer(where)[0], b"three", "answer")
    equal(manager.prop("load.service", "MainPID"), main, "the first process")
    manager.stop_unit("load.socket")


@test("what a shell, specifiers and quoting could make something else of comes through, in a reload too")
def _():
    port = mbtest.free_port()
    words = ["", "a b", "%n%%", "$HOME ${HOME} $$", ";", "'", '"', "\\", "é ∞", "a\tb\nc", "$@"]
    text = f"""local words = {{...}}
        listen{{{{proto="tcp", host="127.0.0.1", port={port}}}, connect=function(s)
          for _, word in ipairs(words) do s:write(word, "\\0") end
        end}}
        assert(#words == {len(words)} and words[2] == "a b")"""
    script = source("odd %i's $HOME.lua", text)
    serve(script, *words)
    where = ("127.0.0.1", port)
    for _ in range(2):
        equal(answer(where)[0].decode().split("\0")[:-1], words, "arguments")
        (unit,) = [n for n in os.listdir(manager.units) if n.startswith("odd") and n.endswith(".service")]
        equal(manager.reload(unit), "", "systemctl reload")
    manager.stop_unit(unit.replace(".service", ".socket"))


@test("options are carried over; systemd waits for longer than --grace")
def _():
    port = mbtest.free_port()
    script = source("opt.lua", f'listen{{{{proto="tcp", host="127.0.0.1", port={port}}}, max_fork=1000, connect=print}}')
    for grace, want in (("", "40s"), ("--grace=0.5", "11s"), ("--grace=45", "55s"), ("--grace=1e9", "31y 8month 1w 19h 46min 50s")):
        options = [o for o in ("--user", "--pool", "--exit-idle=0.2", grace, "--memory-limit=8M") if o]
        written(script, options=options)
        equal(manager.systemctl("daemon-reload"), "", "systemctl daemon-reload")
        equal(manager.prop("opt.service", "TimeoutStopUSec"), want, f"TimeoutStopSec= with {grace}")
        line = re.search("^ExecStart=(.*)$", mbtest.read_file(f"{manager.units}/opt.service"), re.M).group(1)
        equal(line, " ".join([mbtest.CHOSEN, *options[2:], script]), "ExecStart=")
    equal(manager.prop("opt.service", "TasksMax"), "16000", "TasksMax=, by max_fork")
    run(written(script, options=("--user", "--pool", "--exit-idle=0.2")))
    answer(("127.0.0.1", port))
    until(lambda: manager.prop("opt.service", "ActiveState") == "inactive", "--exit-idle ends it")
    equal(manager.prop("opt.service", "Result"), "success", "result")
    manager.stop_unit("opt.socket")


@test("the units have the lines of the ones that are installed, but for what is the script's")
def _():
    own = {
        "[Unit]": ("Description=",),
        # The template cannot check a script whose name it does not know.
        "[Service]": ("ExecStart=", "ExecReload=/bin/sh -c 'exec", "SyslogIdentifier="),
        "[Socket]": ("ListenStream=", "FreeBind="),
        "[Install]": ("WantedBy=multi-user", "WantedBy=default"),
    }

    def without_own(found):
        return {section: {line for line in lines if not line.startswith(own.get(section, ("?",)))} for section, lines in found.items()}

    tcp = source("same-tcp.lua", 'listen{{proto="tcp", port=1}, connect=print}')
    local = source("same-local.lua", 'listen{{proto="local", path="/x"}, connect=print}')
    for script, template in ((tcp, "mb-pool@"), (local, "mb-pool-local@")):
        name = os.path.basename(script)[:-4]
        written(script)
        for kind in ("socket", "service"):
            got = settings(mbtest.read_file(f"{manager.units}/{name}.{kind}"))
            equal(without_own(got), without_own(settings(mbhosts.expand(f"{template}.{kind}"))), f"{kind}, beside {template}")
        # For the system's manager, the lines of both drop-ins come to them. This script would be hidden by PrivateTmp=.
        to = os.path.dirname(mbtest.tmp("same-system", "x"))
        written(script, options=("--pool",), to=to)
        got = settings(mbtest.read_file(f"{to}/{name}.service"))["[Service]"]
        drop_ins = settings(mbhosts.expand("mb-user.conf"))["[Service]"]
        hardened = mbtest.read_file(os.path.join(mbtest.SRCDIR, "units", "mb-pool-hardened.conf"))
        drop_ins |= settings(hardened)["[Service]"]
        more = got - settings(mbtest.read_file(f"{manager.units}/{name}.service"))["[Service]"]
        equal(sorted(more | {"PrivateTmp=yes", "ProtectHome=yes"}), sorted((drop_ins | more & {"ProtectHome=read-only"})), "what is for the system's manager alone")


@test("in the manager's sandbox a name is looked up; a reload of a script that needs another program fails, and it serves")
def _():
    port = mbtest.free_port()
    text = f"""listen{{{{proto="tcp", host="127.0.0.1", port={port}}}, connect=function(socket)
      socket:write(tostring(require "mb.luasocket".dns.toip("localhost")))
    end}}
    """
    # A pool with names is one for mb-handle: here they come later.
    script = source("names.lua", text.replace('require "mb.luasocket".dns.toip("localhost")', '"nothing yet"'))
    serve(script)
    equal(answer(("127.0.0.1", port)), (b"nothing yet", "eof"), "without names")
    mbtest.write_file(script, text)
    equal(manager.reload("names.service"), "", "a reload")
    equal(answer(("127.0.0.1", port)), (b"127.0.0.1", "eof"), "the look-up")
    with open(f"/proc/{manager.prop('names.service', 'MainPID')}/cmdline", encoding="ascii", errors="replace") as f:
        equal(f.read().split("\0")[0], mbtest.CHOSEN, "the program")
    mbtest.write_file(script, 'require "socket.core"\n' + text)
    said = manager.reload("names.service")
    if mbtest.CHOSEN != mbtest.SHARED:
        check("failed" in said, f"a reload that must fail: {said!r}")
        said = 'mb-handle-static cannot run this: the script has loaded "socket.core", which is no module in Lua'
        journal.find(said)  # under a user's manager without the unit, when the process has ended before the journal looks
    equal(answer(("127.0.0.1", port)), (b"127.0.0.1", "eof"), "after that")
    manager.stop_unit("names.socket")


@test("systemd-analyze verify has nothing to say, for the user and for the system")
def _():
    script = source("verify %n.lua", everything(1, "/a %b") + 'listen{{proto="tcp6", port=2}, {proto="local", path="@abc"}, connect=print}')
    for mode, options in (("--user", ("--user", "--pool")), ("--system", ("--pool",))):
        to = os.path.dirname(mbtest.tmp("verify", mode, "x"))
        out = written(script, "a b", "%h", options=(*options, "--grace=3"), to=to)
        units = [f"{to}/{name}" for name in files(out)]
        equal(len(units), 2, f"files: {units}")
        env = {"PATH": os.environ["PATH"], "HOME": "/", "XDG_RUNTIME_DIR": manager.runtime}
        equal(mbtest.output_of("systemd-analyze", mode, "--man=no", "verify", *units, env=env), "", f"verify {mode}")


@test("a script in a home or in /tmp is not hidden from its service")
def _():
    to = os.path.dirname(mbtest.tmp("hidden", "x"))
    text = 'listen{{proto="tcp", port=1}, connect=print}'
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/home"], check=True)
    os.makedirs("/home/ann")
    home = mbtest.write_file("/home/ann/home.lua", text)
    os.makedirs("/run/apps")
    plain = mbtest.write_file("/run/apps/plain.lua", text)
    os.symlink(home, "/run/apps/link.lua")
    for script, protect in ((home, "read-only"), (plain, "yes"), ("/run/apps/link.lua", "read-only")):
        written(script, options=("--pool",), to=to)
        lines = mbtest.read_file(f"{to}/{os.path.basename(script)[:-4]}.service").splitlines()
        below_home = any(os.path.realpath(HANDLE).startswith(d) for d in ("/home/", "/root/", "/run/user/"))
        check(f"ProtectHome={'read-only' if below_home else protect}" in lines, f"ProtectHome= for {script}: {lines}")
        in_tmp = os.path.realpath(HANDLE).startswith(("/tmp/", "/var/tmp/"))
        equal("PrivateTmp=yes" in lines, not in_tmp, f"PrivateTmp= for {script}")
    in_tmp = source("tmp.lua", text)
    written(in_tmp, options=("--pool",), to=to)
    equal("PrivateTmp=yes" in mbtest.read_file(f"{to}/tmp.service"), not in_tmp.startswith(("/tmp/", "/var/tmp/")), "PrivateTmp=")


@test("what makes no pool is refused, and says what to do")
def _():
    tcp = source("tcp.lua", 'listen{{proto="tcp", port=1}, connect=print}')
    task = source("task.lua", 'listen{{proto="main"}, connect=print}')
    both = source("both.lua", 'listen{{proto="tcp", port=1}, connect=print} listen{{proto="interval", delay=1}, connect=print}')
    any_one = source("any.lua", "return print")
    to = os.path.dirname(mbtest.tmp("refused", "x"))
    for script, options, want, status in (
        (task, ("--user", "--pool"), "does not say where to listen", 78),
        (any_one, ("--user", "--pool"), "does not say where to listen", 78),
        (both, ("--user", "--pool", "--exit-idle=5"), "--exit-idle: the script has intervals or mains", 78),
        (tcp, ("--user", "--grace=5"), "--grace goes with a pool: mb-handle --units DIR --pool SCRIPT", 78),
        (tcp, ("--user", "--exit-idle=5"), "--exit-idle goes with a pool", 78),
    ):
        got, out = generate(script, options=options, to=to)
        check(want in out and got == status, f"{options}: {got}, {out!r}")
    equal(os.listdir(to), [], "files")


mbtest.main()
