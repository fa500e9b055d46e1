#!/usr/bin/python3
"""mb-handle --units: what it writes runs in a real systemd user manager, by the commands it prints; what it refuses."""

import contextlib
import os
import pty
import re
import resource
import shutil
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbspace
import mbtest
from mbtest import HANDLE, Client, alive, answer, check, equal, nobody_answers, test, until

for tool in ("/lib/systemd/systemd", "systemctl", "systemd-analyze", "systemd-journald", "journalctl"):
    mbtest.need(tool)
mbspace.enter(cgroup=True)
# As on most machines; where IPv6 has no name, nobody comes to [::1] by "localhost".
HOSTS = mbtest.write_file(mbtest.tmp("hosts"), "127.0.0.1 localhost\n::1 localhost\n")
subprocess.run(["mount", "--bind", HOSTS, os.path.realpath("/etc/hosts")], check=True)

journal = mbspace.Journal()
manager = mbhosts.UserManager()
NEW = ("wrote ", "unchanged ")
# When root makes units for the system's manager, scripts are loaded as another account.
os.chmod(mbtest.TMP, 0o711)


def directory(*names):
    """A directory of the test's."""
    path = os.path.join(mbtest.TMP, *names)
    os.makedirs(path, exist_ok=True)
    return path


def source(name, text):
    return mbtest.write_file(mbtest.tmp("srv", name), text)


def generate(script, *args, to=None, options=("--user",), env=None, **popen):
    """Runs mb-handle --units. Returns its status, and what it printed on stdout and on stderr."""
    argv = [HANDLE, "--units", to or manager.units, *options, script, *args]
    env = {**manager.env, **(env or {})}
    popen.update(capture_output=True, text=True, check=False, timeout=mbtest.DEADLINE)
    done = subprocess.run(argv, env=env, **popen)
    return done.returncode, done.stdout, done.stderr


def written(*args, **how):
    """What mb-handle --units prints when it succeeds."""
    status, out, err = generate(*args, **how)
    equal((status, err), (0, ""), f"status and stderr; stdout: {out}")
    return out


def units_of(out):
    """The paths that the output names, in its order."""
    return [line.split(" ", 1)[1] for line in out.splitlines() if line.startswith(NEW)]


def commands_of(out, section="to run them"):
    """The commands that are printed behind the line that begins with section."""
    lines = out[out.index(section) :].splitlines()[1:]
    end = next((i for i, line in enumerate(lines) if not line.startswith("  ")), len(lines))
    return "".join(line.strip() + "\n" for line in lines[:end])


def run(out, section="to run them"):
    """Runs the commands that were printed, in a shell, as a user would."""
    commands = commands_of(out, section)
    check("systemctl" in commands, f"a systemctl command in {commands!r}")
    done = subprocess.run(["sh", "-ec", commands], env=manager.env, capture_output=True, text=True, check=False)
    equal(done.returncode, 0, f"status of {commands!r}, which said {done.stderr!r}")


def serve(script, *args, **how):
    out = written(script, *args, **how)
    run(out)
    return out


def refused(want, script, *args, status=78, **how):
    """--units fails with this in its message, and leaves the directory as it was. Returns the message."""
    to = how.setdefault("to", directory("refused"))
    before = sorted(os.listdir(to))
    got, out, err = generate(script, *args, **how)
    equal((got, out), (status, ""), f"status and stdout; stderr: {err}")
    for part in (want,) if isinstance(want, str) else want:
        check(part in err, f"{part!r} in {err!r}")
    equal(sorted(os.listdir(to)), before, "files in the directory")
    return err


# --- Connections ---


@test("every kind of listener answers, by the commands that are printed")
def _():
    ports = [mbtest.free_port() for _ in range(5)]
    path, abstract = mbtest.tmp("sockets", "a %b.sock"), f"mb-units-{ports[0]}"
    script = source(
        "every.lua",
        f"""local connect = function(s) s:write(tostring(s.local_addr), "\\n") end
        listen{{
          {{proto="tcp", port={ports[0]}}}, {{proto="tcp", host="127.0.0.1", port={ports[0]}}},
          {{proto="tcp", host="127.0.0.3", port={ports[1]}}}, {{proto="tcp4", port={ports[2]}}},
          {{proto="tcp", host="localhost", port={ports[3]}}}, {{proto="tcp6", port={ports[4]}, localhost=true}},
          connect=connect}}
        listen{{{{proto="local", path="{path}"}}, {{proto="local", path="@{abstract}"}}, connect=connect}}""",
    )
    out = serve(script)
    equal(units_of(out), [f"{manager.units}/every.socket", f"{manager.units}/every@.service"], "files")
    for where, want in (
        (("127.0.0.1", ports[0]), "127.0.0.1"),
        (("::1", ports[0]), "::1"),
        (("127.0.0.3", ports[1]), "127.0.0.3"),
        (("127.0.0.2", ports[2]), "127.0.0.2"),
        (("127.0.0.1", ports[3]), "127.0.0.1"),
        (("::1", ports[3]), "::1"),
        (("::1", ports[4]), "::1"),
        (path, path),
        ("\0" + abstract, "@" + abstract),
    ):
        equal(answer(where), (want.encode() + b"\n", "eof"), f"answer at {where!r}")
    for where in (("::1", ports[2]), ("127.0.0.1", ports[4]), ("127.0.0.1", ports[1])):
        nobody_answers(where)
    equal(oct(os.stat(path).st_mode & 0o777), "0o666", "mode of the Unix socket")
    manager.stop_unit("every.socket")
    check(not os.path.exists(path), "the Unix socket's file is gone with the listener")


@test("tcp6 beside tcp: IPv6 alone for the one, both for the other")
def _():
    six, both = mbtest.free_port(), mbtest.free_port()
    script = source(
        "six.lua",
        f"""listen{{{{proto="tcp6", port={six}}}, {{proto="tcp", port={both}}},
          connect=function(s) s:write("here") end}}""",
    )
    serve(script)
    for where in (("::1", six), ("::1", both), ("127.0.0.1", both)):
        equal(answer(where), (b"here", "eof"), f"answer at {where}")
    nobody_answers(("127.0.0.1", six))


# What a shell, specifiers, variables and quoting could each make something else of.
WORDS = ["", "a b", "%n%%", "$HOME ${HOME} $$", ";", "-x", "--users", "'", '"', "\\", "\\n\\x41", "é ∞", "#", "a\tb\nc"]
WORDS += ["}", "\\"]  # the last: a line that ends with it goes on in the next


def words_source(port):
    return f"""local words = {{...}}
    listen{{{{proto="tcp", host="127.0.0.1", port={port}}}, connect=function(s)
      for _, word in ipairs(words) do s:write(word, "\\0") end
    end}}"""


@test("the script's name and arguments come through, whatever is in them")
def _():
    for name in (
        *("plain.lua", "my app.lua", "100%n $HOME ${PWD}.lua", "it's \"quoted\" é.lua", "back\\slash\\"),
        *("-dash", ".lua", "a@b;c.lua", "#x.lua"),
    ):
        port = mbtest.free_port()
        out = serve(source(os.path.join("odd name's %i", name), words_source(port)), *WORDS)
        got, how = answer(("127.0.0.1", port))
        equal((got.decode().split("\0")[:-1], how), (WORDS, "eof"), f"arguments of {name}")
        for path in units_of(out):
            check(re.fullmatch(r"[A-Za-z0-9:_.\\@-]+", os.path.basename(path)), f"characters of {path}")
            equal(path.count("@"), int(path.endswith("@.service")), f"@ in {path}")


@test("the program's own path comes through, whatever is in it")
def _():
    program = os.path.join(directory("bin %n $HOME ${HOME} é"), "mb handle;")
    shutil.copy(HANDLE, program)
    port = mbtest.free_port()
    script = source("program.lua", words_source(port))
    done = subprocess.run(
        [program, "--units", manager.units, "--user", script, *WORDS], env=manager.env, capture_output=True, text=True,
        check=True,
    )
    run(done.stdout)
    equal(answer(("127.0.0.1", port))[0].decode().split("\0")[:-1], WORDS, "arguments")
    # What systemd takes in no way is refused.
    for name in ("it's", "back\\slash", 'a "b"'):
        program = shutil.copy(HANDLE, mbtest.tmp("bin", name))
        done = subprocess.run([program, "--units", manager.units, script], capture_output=True, text=True, check=False)
        equal((done.returncode, "quotes or backslashes" in done.stderr), (78, True), f"status; stderr: {done.stderr}")


@test("options are carried over, by the one name that each has")
def _():
    port = mbtest.free_port()
    script = source("options.lua", f'listen{{{{proto="tcp", host="127.0.0.1", port={port}}}, connect=function(s) '
                    's:write(("x"):rep(2^22)) end}')
    serve(script, options=("--user", "--memory-limit", "1M", "--log-level=info", "--timeout", "7.5"))
    line = re.search("^ExecStart=(.*)$", mbtest.read_file(f"{manager.units}/options@.service"), re.M).group(1)
    equal(line, f"{mbtest.CHOSEN} --memory-limit=1M --log-level=info --timeout=7.5 {script}", "ExecStart=")
    equal(answer(("127.0.0.1", port)), (b"", "reset"), "answer within 1 MiB")
    journal.find("not enough memory")
    # Enough for a script, and not for the text of its units: the limit is not for that.
    service = units_of(written(script, options=("--user", "--memory-limit=64K")))[1]
    check("--memory-limit=64K" in mbtest.read_file(service), "the limit in the service")


@test("a Unix socket behind a proxy is for the proxy's group alone, and a note says how that is set")
def _():
    path = f"{manager.runtime}/proxied.sock"
    text = 'listen{{proto="local", path="%s"%s}, connect=function(s) s:write(s.remote_addr) end}'
    for fields, options, mode in ((", proxy_protocol=true", (), 0o660), ("", ("--proxy-protocol",), 0o660), ("", (), 0o666)):
        script = source("proxied.lua", text % (path, fields))
        out = serve(script, options=("--user", *options))
        equal(oct(os.stat(path).st_mode & 0o777), oct(mode), f"mode with {fields} {options}")
        equal("SocketGroup=" in out, mode == 0o660, out)
        if mode == 0o660:
            with Client(path) as client:
                client.send("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\n")
                equal(client.end(), (b"192.0.2.1", "eof"), "answer")


@test("an option behind the script is the script's argument, and a line says so")
def _():
    script = source("behind.lua", 'listen{{proto="tcp", port=1}, connect=print}')
    status, out, err = generate(script, "--user", "--timeout=5", "--else", to=directory("behind"))
    equal((status, err.count("\n")), (0, 2), f"status and lines; stderr: {err}")
    check("--user stands behind the script" in err and "--timeout=5 stands behind" in err, err)
    check("lua --user --timeout=5 --else\n" in mbtest.read_file(units_of(out)[1]), "the arguments")


@test("--timeout is for what is started: making the units may take longer")
def _():
    script = source("slow.lua", 'os.execute("sleep 0.3") listen{{proto="tcp", port=1}, connect=print}')
    out = written(script, to=directory("slow"), options=("--user", "--timeout=0.1"))
    check("--timeout=0.1" in mbtest.read_file(units_of(out)[1]), "the option is carried over")


@test("limits: max_fork is MaxConnections, a quarter of it for one source, none where a source is many clients")
def _():
    def limits(name, text, options=()):
        script = source(f"{name}.lua", text)
        run_out = written(script, options=("--user", *options))
        equal(manager.systemctl("daemon-reload"), "", "systemctl daemon-reload")
        check(f"{name}.socket" in run_out, run_out)
        return tuple(int(manager.prop(f"{name}.socket", p)) for p in ("MaxConnections", "MaxConnectionsPerSource"))

    def tcp(port, more="", host="192.0.2.1"):
        return f'{{proto="tcp", host="{host}", port={port}{more}}}'

    done = "connect=print"
    for name, text, want, *options in (
        ("lim-none", f"listen{{{tcp(1)}, {done}}}", (1024, 256)),
        ("lim-one", f"listen{{{tcp(1)}, {tcp(2)}, max_fork=64, {done}}}", (64, 16)),
        ("lim-two", f"listen{{{tcp(1)}, max_fork=64, {done}}} listen{{{tcp(2)}, max_fork=6, {done}}}", (70, 17)),
        ("lim-half", f"listen{{{tcp(1)}, max_fork=64, {done}}} listen{{{tcp(2)}, {done}}}", (1024, 256)),
        ("lim-task", f'listen{{{tcp(1)}, max_fork=8, {done}}} listen{{{{proto="main"}}, {done}}}', (8, 7)),
        ("lim-few", f"listen{{{tcp(1)}, max_fork=20, {done}}}", (20, 8)),
        ("lim-two-of", f"listen{{{tcp(1)}, max_fork=2, {done}}}", (2, 1)),
        ("lim-small", f"listen{{{tcp(1)}, max_fork=1, {done}}}", (1, 1)),
        ("lim-loop", f'listen{{{tcp(1, host="127.1.2.3")}, {{proto="local", path="/x"}}, {done}}}', (1024, 0)),
        ("lim-loop6", f'listen{{{tcp(1, host="::1")}, {tcp(2, host="localhost")}, {done}}}', (1024, 0)),
        ("lim-both", f'listen{{{tcp(1)}, {{proto="local", path="/x"}}, {done}}}', (1024, 256)),
        ("lim-proxy", f"listen{{{tcp(1, ', proxy_protocol=true')}, {done}}}", (1024, 0)),
        ("lim-proxies", f"listen{{{tcp(1)}, {done}}}", (1024, 0), "--proxy-protocol"),
    ):
        equal(limits(name, text, options), want, f"limits of {text}")


@test("what the socket sets for a reason is what the manager has understood")
def _():
    tcp = source("set-tcp.lua", 'listen{{proto="tcp", host="192.0.2.1", port=1}, connect=print}')
    local = source("set-local.lua", 'listen{{proto="local", path="/x"}, connect=print}')
    mixed = source("set-mixed.lua", 'listen{{proto="local", path="/x"}, {proto="tcp", port=1}, connect=print}')
    for script in (tcp, local, mixed):
        written(script)
    equal(manager.systemctl("daemon-reload"), "", "systemctl daemon-reload")
    all_of_them = {"Accept": "yes", "TriggerLimitIntervalUSec": "1s"}
    for unit, wanted in (
        ("set-tcp.socket", {"TriggerLimitBurst": "500", "Backlog": "64", "NoDelay": "yes", "FreeBind": "yes", "RemoveOnStop": "no"}),
        ("set-local.socket", {"NoDelay": "no", "SocketMode": "0666", "RemoveOnStop": "yes"}),
        ("set-local.socket", {"TriggerLimitBurst": "200", "Backlog": "1024", "BindIPv6Only": "default"}),
        # The manager would log an error for each connection to the Unix socket.
        ("set-mixed.socket", {"NoDelay": "no", "FreeBind": "no"}),
        ("set-mixed.socket", {"TriggerLimitBurst": "500", "Backlog": "64", "BindIPv6Only": "both"}),
    ):
        for name, value in {**all_of_them, **wanted}.items():
            equal(manager.prop(unit, name), value, f"{name} of {unit}")
    for name in ("set-tcp", "set-local", "set-mixed"):
        says = "if many come there, give it a script of its own" in mbtest.read_file(f"{manager.units}/{name}.socket")
        equal(says, name == "set-mixed", f"{name}.socket says what its Unix socket lacks")


def settings(text):
    """The settings of a unit, without comments: {section: set of lines}."""
    found, section = {}, None
    for line in text.splitlines():
        if line.startswith("["):
            section = found.setdefault(line, set())
        elif line and not line.startswith("#"):
            section.add(line)
    return found


@test("the units have the lines of the ones that are installed, but for what is the script's")
def _():
    # mb@ has FreeBind= for an address in its name.
    own = {"[Unit]": ("Description=",), "[Service]": ("ExecStart=", "SyslogIdentifier="), "[Socket]": ("ListenStream=", "FreeBind=")}
    tcp = source("same-tcp.lua", 'listen{{proto="tcp", port=1}, connect=print}')
    local = source("same-local.lua", 'listen{{proto="local", path="/x"}, connect=print}')
    for script, template in ((tcp, "mb@"), (local, "mb-local@")):
        socket, service = (mbtest.read_file(path) for path in units_of(written(script)))
        for text, like in ((socket, f"{template}.socket"), (service, f"{template}.service")):
            got, want = ({section: {line for line in lines if not line.startswith(own.get(section, ("?",)))}
                          for section, lines in settings(t).items()} for t in (text, mbhosts.expand(like)))
            equal(got, want, f"settings, beside those of {like}")
        # For the system's manager, the lines of the drop-in come to them.
        env = {"SYSTEMD_UNIT_PATH": ""}  # the user manager's units are in the way
        service = units_of(written(script, options=(), to=directory("same-system"), env=env))[1]
        dropin = settings(mbhosts.expand("mb-user.conf"))["[Service]"]
        got = settings(mbtest.read_file(service))["[Service]"] - settings(text)["[Service]"]
        equal(got, dropin, "what is for the system's manager alone")


# --- Intervals and mains ---


def tasks_source(log, name):
    """A script whose handlers write lines "NAME what seconds" to a file."""
    return f"""
    local io_ = require "moonbridge_io"
    local function note(name, what)
      local file = io.open("{log}", "a")
      file:write(("%s %s %.6f\\n"):format(name, what, io_.timeref()))
      file:close()
    end
    local function exists(name)
      local file = io.open("{log}." .. name)
      if file then file:close() end
      return file ~= nil
    end
    local function wait(seconds) io_.poll(nil, nil, seconds) end
    local function interval(name, delay, strict, seconds)
      listen{{{{proto="interval", name=name, delay=delay, strict=strict}}, connect=function(t)
        note(t.interval, "start")
        if exists("bad-" .. t.interval) then error(t.interval .. " is bad") end
        print(t.interval .. " {name} prints")
        wait(seconds)
        note(t.interval, "end")
      end}}
    end
    interval("loose", 0.5, false, 0.3)
    interval("strict", 0.5, true, 0.3)
    interval("long", 0.25, true, 0.35)
    interval("often", 0.1, nil, 0)
    interval(nil, 0.25, nil, 0)
    listen{{{{proto="interval", name="hourly", delay=3600}}, connect=print}}
    listen{{{{proto="main", name="works"}}, connect=function(t)
      note("main-" .. t.main, "start")
      if exists("bad-main") then error("main is bad") end
      io_.catch_sigterm()
      local _, _, terminated = io_.poll(nil, nil, 60, true)
      note("main-" .. t.main, terminated and "terminated" or "idle")
    end}}
    """


tasks_log = mbtest.tmp("tasks.log")
tasks = {}


def runs(name):
    """[(what, seconds)] of a handler, in order."""
    rows = [line.split() for line in mbtest.read_file(tasks_log).splitlines()]
    return [(row[1], float(row[2])) for row in rows if row[0] == name]


def starts(name):
    return [seconds for what, seconds in runs(name) if what == "start"]


@test("intervals and a main are started by the commands that are printed")
def _():
    script = source("tasks.lua", tasks_source(tasks_log, "tasks"))
    out = written(script)
    names = [os.path.basename(path) for path in units_of(out)]
    wanted = []
    for name in ("loose", "strict", "long", "often", "interval", "hourly"):
        wanted += [f"tasks-{name}.timer", f"tasks-{name}.service"]
    equal(names, [*wanted, "tasks-works.service"], "files")
    tasks["started"] = time.monotonic()
    run(out)
    for name in ("interval", "often", "loose", "strict", "long", "main-works"):
        until(lambda n=name: starts(n), f"a first run of {name}")


@test("delay=0.5: again and again, and never less than half a second from the end to the next start")
def _():
    until(lambda: len(starts("loose")) >= 4, "four runs")
    rows = runs("loose")
    equal([what for what, _ in rows][:6], ["start", "end"] * 3, "order")
    check(rows[0][1] - tasks["started"] >= 0.5, "the first run comes after one delay")
    for (what, before), (_, after) in zip(rows, rows[1:]):
        if what == "end":
            check(after - before >= 0.5, f"{after - before:.3f} s from an end to the next start")


@test("strict: half a second from start to start, though the handler takes 0.3 s of it")
def _():
    until(lambda: len(starts("strict")) >= 4, "four runs")
    # Were it from end to start, all would be more than 0.8 s apart.
    until(lambda: any(b - a < 0.75 for a, b in zip(starts("strict"), starts("strict")[1:])), "two starts within 0.75 s")
    for number, seconds in enumerate(starts("strict"), 1):
        check(seconds - tasks["started"] >= number * 0.5, f"run {number} after {seconds - tasks['started']:.3f} s")


@test("strict, and a handler that takes longer than its delay: one run after the other, without a pause")
def _():
    until(lambda: len(starts("long")) >= 5, "five runs")
    rows = runs("long")
    equal([what for what, _ in rows][:8], ["start", "end"] * 4, "order")
    gaps = [after - before for (what, before), (_, after) in zip(rows, rows[1:]) if what == "end"]
    # From end to start, none could be below it.
    check(min(gaps) < 0.25, f"the shortest pause is below the delay: {min(gaps):.3f} s")


@test("more starts than a unit may have by default (5 in 10 s); what is printed is in the journal")
def _():
    until(lambda: len(starts("often")) >= 8, "eight runs")
    check(starts("often")[7] - starts("often")[0] < 10, "eight starts within 10 s")
    equal(journal.find("often tasks prints").get("PRIORITY"), "5", "priority: the manager's own lines are below it")
    equal(manager.prop("tasks-often.service", "LogLevelMax"), "5", "LogLevelMax")
    equal(manager.prop("tasks-hourly.service", "LogLevelMax"), "-1", "LogLevelMax of an hourly one")


@test("an interval that fails shows as failed, its timer goes on, and the next success clears it")
def _():
    bad = mbtest.write_file(f"{tasks_log}.bad-interval", "")
    until(lambda: "tasks-interval.service" in manager.failed(), "it is among the failed units")
    journal.find("interval is bad")
    before = len(starts("interval"))
    until(lambda: len(starts("interval")) >= before + 3, "three more runs")
    check(all(what == "start" for what, _ in runs("interval")[-3:]), "they have all failed")
    os.unlink(bad)
    until(lambda: runs("interval")[-1][0] == "end", "a run that succeeds")
    until(lambda: manager.failed() == "", "no failed unit")


@test("stopping the timer stops the runs")
def _():
    for name in ("loose", "strict", "long", "interval"):
        manager.stop_unit(f"tasks-{name}.timer")
    manager.stop_unit("tasks-often.timer")
    until(lambda: manager.prop("tasks-often.service", "ActiveState") == "inactive", "the last run ends")
    before = len(starts("often"))
    # The time in which some fifty would have been: as long as another timer takes for three.
    manager.start("tasks-loose.timer")
    loose = len(starts("loose"))
    until(lambda: len(starts("loose")) >= loose + 2, "two runs of another")
    equal(len(starts("often")), before, "runs of the one that was stopped")
    manager.stop_unit("tasks-loose.timer")


@test("a main gets SIGTERM when it is stopped, and that is no failure")
def _():
    manager.stop_unit("tasks-works.service")
    equal([what for what, _ in runs("main-works")], ["start", "terminated"], "what it noted")
    equal(manager.prop("tasks-works.service", "Result"), "success", "result")


@test("a main that fails is started again, oftener than a unit may by default; one that is killed too")
def _():
    unit = "tasks-works.service"
    # The pause of a second is for operators; without it, this would take as long as the default allows five starts.
    manager.drop_in(unit, "[Service]\nRestartSec=50ms\n")
    bad = mbtest.write_file(f"{tasks_log}.bad-main", "")
    before = len(starts("main-works"))
    manager.systemctl("start", "--no-block", unit)
    until(lambda: len(starts("main-works")) >= before + 7, "seven starts")
    journal.find("main is bad")
    os.unlink(bad)

    def pid():
        running = runs("main-works")[-1][0] == "start" and manager.prop(unit, "SubState") == "running"
        return running and int(manager.prop(unit, "MainPID"))

    time_of = starts("main-works")[-1]
    first = until(pid, "it runs")
    until(lambda: starts("main-works")[-1] >= time_of, "its last start")
    os.kill(first, 9)
    until(lambda: pid() not in (False, 0, first), "another process")
    manager.drop_in(unit, "")
    equal(manager.prop(unit, "RestartUSec"), "1s", "RestartSec= as it is made")
    manager.stop_unit(unit)
    manager.systemctl("reset-failed")


@test("--timeout is for connections and intervals, not for a main; --log-level=info shows the manager's lines")
def _():
    to = directory("options")
    options = ("--user", "--timeout=9", "--log-level=info")
    written(source("opt.lua", tasks_source(tasks_log, "opt")), options=options, to=to)
    texts = {name: mbtest.read_file(f"{to}/opt-{name}.service") for name in ("often", "works")}
    equal(["--timeout=9" in texts[name] for name in ("often", "works")], [True, False], "--timeout in each")
    check("LogLevelMax" not in texts["often"], "LogLevelMax")


@test("delays keep their fractions")
def _():
    delays = {"0.5": "500ms", "1e-3": "1ms", "1/3": "333.333ms", "2.0000005": "2.000001s", "3": "3s"}
    delays["86400.25"] = "1d 250ms"
    rows = ", ".join(f'{{proto="interval", name="d{i}", delay={delay}}}' for i, delay in enumerate(delays))
    written(source("delays.lua", f"listen{{{rows}, connect=print}}"))
    equal(manager.systemctl("daemon-reload"), "", "systemctl daemon-reload")
    for i, want in enumerate(delays.values()):
        got = re.findall(r"OnUnitInactiveUSec=(.*?) ;", manager.prop(f"delays-d{i}.timer", "TimersMonotonic"))
        equal(got, [want], f"delay number {i}")


# --- The files ---


@test("systemd-analyze verify has nothing to say, for the user and for the system")
def _():
    script = source(
        "verify %n.lua",
        """listen{{proto="tcp", port=1}, {proto="tcp6", port=2}, {proto="tcp", host="::1", port=3},
          {proto="local", path="/a %b"}, {proto="local", path="@abc"}, {proto="main"}, {proto="main", name="a b"},
          {proto="interval", delay=0.5}, {proto="interval", name="é %n", delay=1/3, strict=true}, connect=print}""",
    )
    for mode, options in (("--user", ("--user",)), ("--system", ())):
        to = directory("verify", mode)
        paths = units_of(written(script, "a b", "%h", options=("--log-level=info", *options), to=to))
        equal(len(paths), 8, f"files: {paths}")
        units = [path.replace("@.", "@1.") for path in paths]
        env = {"PATH": os.environ["PATH"], "HOME": "/", "XDG_RUNTIME_DIR": manager.runtime}
        equal(mbtest.output_of("systemd-analyze", mode, "--man=no", "verify", *units, env=env), "", f"verify {mode}")
        users = [path for path in paths if "\nUser=mb-handle\n" in mbtest.read_file(path)]
        wanted = [path for path in paths if path.endswith(".service")] if mode == "--system" else []
        equal(users, wanted, f"files with User= for {mode}")


@test("what is enabled starts at boot, or with the user's manager")
def _():
    script = source(
        "boot.lua",
        'listen{{proto="tcp", port=1}, {proto="main"}, {proto="interval", name="tick", delay=1}, connect=print}',
    )
    for mode, options, main in (("system", (), "multi-user"), ("user", ("--user",), "default")):
        root = directory("boot", mode)
        units = directory("boot", mode, "etc", "systemd", mode)
        out = written(script, to=units, options=options)
        enabled = re.search("enable --now (.*)", out).group(1).split()
        # Without a manager: systemctl makes the links.
        flag = "--global" if mode == "user" else "--system"
        subprocess.run(["systemctl", flag, f"--root={root}", "-q", "enable", *enabled], check=True)
        got = sorted(os.path.relpath(os.path.join(d, f), units) for d, _, fs in os.walk(units) for f in fs if d != units)
        want = ["sockets.target.wants/boot.socket", "timers.target.wants/boot-tick.timer"]
        equal(got, sorted([f"{main}.target.wants/boot-main.service", *want]), f"links for the {mode}'s manager")


@test("the same input gives the same bytes, and files that have them are left alone")
def _():
    script = source("same.lua", tasks_source(tasks_log, "same"))
    to = directory("same")
    paths = units_of(written(script, "x", to=to))

    def state():
        return [(mbtest.read_file(path), os.stat(path).st_mtime_ns, os.stat(path).st_ino) for path in paths]

    before = state()
    out = written(script, "x", to=to)
    equal(state(), before, "the files")
    equal([line.split()[0] for line in out.splitlines()[: len(paths)]], ["unchanged"] * len(paths), "what is said")
    # Whether the first run's commands were run, it cannot know.
    commands = [command.split() for command in commands_of(out).splitlines()]
    equal([c[2] for c in commands], ["link", "daemon-reload", "enable", "restart", "start"], f"the commands {commands}")
    equal(sorted(commands[2][3:]), sorted(commands[3][3:] + commands[4][3:]), "what is enabled and what is started")
    equal(commands[4][3:], ["same-works.service"], "a main that is as it was is not restarted")
    equal({oct(os.stat(path).st_mode & 0o777) for path in paths}, {"0o644"}, "modes")
    other = directory("same", "other")
    texts = [mbtest.read_file(path) for path in units_of(written(script, "x", to=other))]
    # Neither the directory nor the time is in them.
    equal(texts, [text for text, _, _ in before], "the same in another directory")


@test("a changed script: what has changed is written and restarted; what it no longer has is named")
def _():
    old, new = mbtest.free_port(), mbtest.free_port()
    text = 'listen{{proto="tcp", host="127.0.0.1", port=%d}, connect=function(s) s:write("new") end}'
    gone = ' listen{{proto="interval", name="gone now", delay=3600}, connect=print}'
    script = source("change.lua", text % old + gone)
    serve(script)
    equal(answer(("127.0.0.1", old)), (b"new", "eof"), "answer at the old port")
    equal(manager.prop(r"change-gone\x20now.timer", "ActiveState"), "active", "state of the timer")
    mbtest.write_file(script, text % new)
    out = serve(script)
    equal([line.split()[0] for line in out.splitlines()[:2]], ["wrote", "unchanged"], "what is said")
    equal(answer(("127.0.0.1", new)), (b"new", "eof"), "answer at the new port")
    check(not mbtest.listening(("127.0.0.1", old)), "nobody listens at the old port")
    # A run of what is gone has failed before anybody has removed it.
    manager.systemctl("start", r"change-gone\x20now.service")
    equal(manager.prop(r"change-gone\x20now.service", "ActiveState"), "failed", "state of the service")
    run(out, "note: units that the script no longer has")
    equal(manager.prop(r"change-gone\x20now.timer", "LoadState"), "not-found", "the timer")
    equal(manager.failed(), "", "failed units")
    check(not os.path.exists(f"{manager.units}/change-gone\\x20now.service"), "its files are gone")
    check("no longer has" not in written(script), "nothing is named any more")
    # A run whose commands were not run, and one more: it is the second one's commands that have to serve.
    mbtest.write_file(script, text % old)
    written(script)
    out = serve(script)
    equal([line.split()[0] for line in out.splitlines()[:2]], ["unchanged", "unchanged"], "what is said")
    equal(answer(("127.0.0.1", old)), (b"new", "eof"), "answer at the old port, which is the new one")
    check(not mbtest.listening(("127.0.0.1", new)), "nobody listens at the other")


@test("a directory that the manager does not read: the commands link the units")
def _():
    port = mbtest.free_port()
    script = source(
        "linked.lua",
        f'listen{{{{proto="tcp", host="127.0.0.1", port={port}}}, connect=function(s) s:write("linked") end}}',
    )
    to = directory("some where")
    out = serve(script, to=to)
    equal(answer(("127.0.0.1", port)), (b"linked", "eof"), "answer")
    # And again, when the links are there.
    again = serve(script, to=to).replace("unchanged", "wrote")
    enable = "systemctl --user enable linked.socket\n  systemctl --user restart linked.socket\n"
    equal(again, out.replace("systemctl --user enable --now linked.socket\n", enable), "what is said")
    equal(answer(("127.0.0.1", port)), (b"linked", "eof"), "answer")
    # What is linked and gone again leaves no link.
    free = mbtest.read_file(script).replace(str(port), str(mbtest.free_port()))
    extra = source("extra.lua", free + ' listen{{proto="interval", name="i", delay=3600}, connect=print}')
    serve(extra, to=to)
    mbtest.write_file(extra, 'listen{{proto="main"}, connect=print}')
    run(written(extra, to=to), "note: units that the script no longer has")
    for name in ("extra.socket", "extra@1.service", "extra-i.timer", "extra-i.service"):
        equal(manager.prop(name, "LoadState"), "not-found", name)
    equal([n for n in os.listdir(f"{manager.env['HOME']}/.config/systemd/user") if n.startswith("extra")], [], "links")
    # A relative directory: the files go there, and the commands lead there.
    out = written(script, to=".", cwd=to)
    check(f"unchanged {to}/linked.socket\n" in out, out)
    # A link that leads to the script is another name of it, which stays as it is given.
    link = mbtest.tmp("link")
    os.symlink(os.path.dirname(source("by-link.lua", mbtest.read_file(script))), link)
    linked_to = directory("by-link")
    by_link = units_of(written(f"{link}/by-link.lua", to=linked_to))[1]
    check(f" {link}/by-link.lua\n" in mbtest.read_file(by_link), "the script's name has the link in it")
    written("by-link.lua", to=linked_to, cwd=link)
    # And the script, by other ways.
    where, name = os.path.split(script)
    for way in (name, f".//{name}", f"../{os.path.basename(where)}/./{name}", f"{where}//..///{os.path.basename(where)}/{name}"):
        out = written(way, to=to, cwd=where)
        check(f"unchanged {to}/linked.socket\nunchanged {to}/linked@.service\n" in out, f"{way}: {out}")


@test("files that are not ours are named, all of them, and nothing is written")
def _():
    script = source("mine.lua", tasks_source(tasks_log, "mine"))
    to = directory("mine")
    target = mbtest.write_file(mbtest.tmp("target"), "somebody's")
    own = written(script, to=directory("mine-elsewhere"))
    mark = mbtest.read_file(units_of(own)[0]).splitlines()[0]
    mbtest.write_file(f"{to}/mine-loose.timer", "[Timer]\n")
    os.symlink(target, f"{to}/mine-loose.service")
    os.mkdir(f"{to}/mine-strict.timer")
    os.mkfifo(f"{to}/mine-strict.service")
    mbtest.write_file(f"{to}/mine-long.timer", mark.replace("mine.lua", "yours.lua") + "\n")
    mbtest.write_file(f"{to}/mine-long.service", mark + " and more\n")
    mbtest.write_file(f"{to}/mine-often.timer", "\n" + mark + "\n")
    mbtest.write_file(f"{to}/mine-often.service", "")
    os.symlink("/nowhere", f"{to}/mine-works.service")
    names = (
        *("loose.timer (not made by", "loose.service (a symbolic link)", "strict.timer (a directory)"),
        *("strict.service (no regular file)", "long.timer (made from", "long.service (made from"),
        *("often.timer (not made by", "often.service (not made by", "works.service (a symbolic link)"),
    )
    refused([f"{to}/mine-{name}" for name in names], script, to=to)
    equal(mbtest.read_file(target), "somebody's", "what the link leads to")


@test("units that would hide those of another directory are refused")
def _():
    other = directory("other-units")
    mbtest.write_file(f"{other}/hide.socket", "[Socket]\n")
    script = source("hide.lua", 'listen{{proto="tcp", port=1}, connect=print}')
    env = {"SYSTEMD_UNIT_PATH": f"{manager.units}:{other}"}
    refused((f"{other}/hide.socket", "call the script something else"), script, env=env)
    # The names that are installed with mb-handle are such names.
    refused("mb@.service", source("mb.lua", 'listen{{proto="tcp", port=1}, connect=print}'), env=env)


@test("a write that fails leaves the old file whole, and nothing beside it")
def _():
    to = directory("full")
    script = source("full.lua", 'listen{{proto="tcp", port=1}, connect=print}')
    paths = units_of(written(script, to=to))
    before = [mbtest.read_file(path) for path in paths]
    mbtest.write_file(script, 'listen{{proto="tcp", port=2}, connect=print}')
    # SIGXFSZ stays ignored, as Python has it: the write fails.
    limits = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)), "restore_signals": False}
    refused(("cannot write", "full.socket", "File too large"), script, to=to, status=71, **limits)
    equal([mbtest.read_file(path) for path in paths], before, "the files")


@test("directories that are none: the message says what to do")
def _():
    script = source("nodir.lua", 'listen{{proto="tcp", port=1}, connect=print}')
    missing = os.path.join(mbtest.TMP, "not there")
    status, out, err = generate(script, to=missing)
    equal((status, out), (78, ""), "status and stdout")
    check(f"mkdir -p '{missing}'" in err, err)
    status, _, err = generate(script, to=script)
    equal((status, "is no directory" in err), (78, True), f"status; {err}")
    status, _, err = generate(script, to="/proc")
    equal((status, "cannot write /proc/nodir.socket" in err), (71, True), f"status; {err}")


# --- What is refused ---


@test("listeners that no unit can have: the message names the listener and says what to do")
def _():
    tcp = '{proto="tcp", port=1}'
    for text, want, *options in (
        ("return print", ("does not say where to listen", "mb@PORT.socket")),
        ("listen{connect=print}", "does not say where to listen"),
        (
            f'listen{{{tcp}, {{proto="tcp", host="www.example.org", port=1}}, connect=print}}',
            ("listener 2", "www.example.org"),
        ),
        (f'listen{{{tcp}, {{proto="tcp", host="1.2.3", port=1}}, connect=print}}', ("listener 2", "1.2.3")),
        ('listen{{proto="local", path="x.sock"}, connect=print}', ("listener 1", "relative", "/run/x.sock")),
        ('listen{{proto="local", path="/a\\nb"}, connect=print}', ("listener 1", "control characters", "\\x0a")),
        ('listen{{proto="local", path="/a\\xff"}, connect=print}', "no UTF-8"),
        ('listen{{proto="local", path="/a "}, connect=print}', "a space"),
        ('listen{{proto="local", path="@a"}, connect=print}', ("listener 1", "abstract"), "--proxy-protocol"),
        (f'listen{{{{proto="local", path="{HOSTS}"}}, connect=print}}', ("is there and is no socket", "another path")),
        ('listen{{proto="local", path="/tmp"}, connect=print}', "is there and is no socket"),
        ('listen{{proto="interval", delay=0}, connect=print}', ("listener 1", "main")),
        ('listen{{proto="interval", delay=1e-4}, connect=print}', ("listener 1", "0.0001")),
        ('listen{{proto="interval", delay=1}, {proto="interval", delay=2}, connect=print}', ("s 1 and 2", "name")),
        ('listen{{proto="main"}, {proto="main"}, connect=print}', ("listeners 1 and 2", '{proto="main", name="..."}')),
        (
            'listen{{proto="main", name="x"}, {proto="interval", name="x", delay=1}, connect=print}',
            ("1 and 2", "one unit"),
        ),
        ('listen{{proto="main", name="a\\nb"}, connect=print}', ("listener 1", "control characters")),
        (f'listen{{{{proto="main", name="{"x" * 250}"}}, connect=print}}', ("listener 1", "too long")),
    ):
        refused(want, source("wrong.lua", text), options=("--user", *options))
    refused("control characters", source("new\nline.lua", "listen{{proto='tcp', port=1}, connect=print}"))
    refused("too long", source("x" * 200 + ".lua", "listen{{proto='tcp', port=1}, connect=print}"))


@test("notes: --user and directories that do not go together, an any handler without an address")
def _():
    script = source("notes.lua", 'listen{{proto="main"}, connect=print} listen{connect=print}')
    check("the handler for any connection has no address" in written(script, to=directory("notes")), "a note")
    config = directory("config", "systemd", "user")
    env = {"XDG_CONFIG_HOME": os.path.dirname(os.path.dirname(config)), "SYSTEMD_UNIT_PATH": ""}
    refused("add --user", script, to=config, options=(), env=env)
    # A service of the system's without its User= would run as root.
    system = directory("usr", "systemd")
    env = {"SYSTEMD_UNIT_PATH": system, "HOME": ""}
    both = '[ "$1" ] && mount --bind "$0" /etc/systemd/system && shift && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-c", both, system, HANDLE, HANDLE, "--units", "/etc/systemd/system", "--user", script]
    done = subprocess.run(argv, env={**manager.env, "SYSTEMD_UNIT_PATH": ""}, capture_output=True, text=True, check=False)
    equal((done.returncode, os.listdir(system)), (78, []), f"status and files; {done.stderr}")
    check("is for the system's manager: leave --user out" in done.stderr, done.stderr)
    # Whatever the environment says of where units are looked for.
    for path in ("/etc/systemd/system", "/etc/systemd/system:"):
        done = subprocess.run(argv, env={**manager.env, "SYSTEMD_UNIT_PATH": path}, capture_output=True, text=True, check=False)
        equal((done.returncode, os.listdir(system)), (78, []), f"status and files; {done.stderr}")
    refused("is for user managers", script, to=directory("nobody", ".config", "systemd", "user"), options=())
    # Elsewhere nobody knows what the directory is for, but the files say so.
    to = directory("both")
    written(script, to=to)
    refused("made with --user", script, to=to, options=())
    to = directory("both-system")
    written(script, to=to, options=())
    refused("made without --user", script, to=to)
    env = {"XDG_CONFIG_HOME": os.path.dirname(os.path.dirname(config)), "SYSTEMD_UNIT_PATH": ""}
    out = written(source("notes2.lua", 'listen{{proto="main"}, connect=print}'), to=config, env=env)
    check("add --user" not in out and "link" not in commands_of(out), out)
    check("loginctl enable-linger" in out, "a note")


def with_accounts(lines, script, to, program=HANDLE, prefix=(), status=0, cwd="/", without=("mb-handle",)):
    """What --units prints, on both, for the system's manager where these accounts stand in place of mb-handle."""
    users = [line for line in mbtest.read_file("/etc/passwd").splitlines() if line.split(":")[0] not in without]
    passwd = mbtest.write_file(mbtest.tmp("passwd"), "".join(line + "\n" for line in [*users, *lines]))
    files = mbtest.write_file(mbtest.tmp("nsswitch"), "passwd: files\n")  # systemd's module always knows nobody
    mount = f'mount --bind "{passwd}" /etc/passwd && mount --bind "{files}" /etc/nsswitch.conf && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-c", mount, "sh", *prefix, program, "--units", to, script]
    done = subprocess.run(argv, env=manager.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=cwd)
    equal(done.returncode, status, f"status of --units; it said {done.stdout!r}")
    return done.stdout


ACCOUNT = "mb-handle:x:4242:4343::/:/bin/false"


@test("notes for the system's manager: a missing account, with a command that makes it; a script it cannot read")
def _():
    text = 'listen{{proto="tcp", port=1}, connect=print}'
    shared, to = source("shared.lua", text), directory("system-notes")
    out = with_accounts([], shared, to)
    command = re.search("there is no account mb-handle.*\n  (.*)", out).group(1)
    root = directory("sysusers", "etc")
    done = subprocess.run(["sh", "-c", f"{command} --root={os.path.dirname(root)}"], capture_output=True, check=False)
    check("\nmb-handle:" in "\n" + mbtest.read_file(f"{root}/passwd"), f"the account, made by {command}: {done.stderr}")
    check("unable to read" not in out, "no note for a script that everybody may read")
    hidden = mbtest.tmp("hidden", "mb-handle")
    shutil.copy(HANDLE, hidden)
    os.chmod(os.path.dirname(hidden), 0o700)
    check(f"unable to run {hidden}" in with_accounts([], shared, to, hidden), "a note about the program")
    check("no account" not in written(shared, to=directory("user-notes")), "no such note for a user manager")
    # Who is not root loads the script as himself, and may read more than the account may.
    own, ours = source("own.lua", text), directory("own-notes")
    for path in (own, ours):
        os.chown(path, 65534, 65534)
    os.chmod(own, 0o600)
    other = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    check(f"the account mb-handle may be unable to read {own}" in with_accounts([ACCOUNT], own, ours, prefix=other), "a note")


@test("root has the script loaded as the account that will run it, or as nobody; one that this cannot read is refused")
def _():
    to = directory("as-account")
    script = source("who.lua", """
        local status = io.open("/proc/self/status"):read("a")
        for _, name in ipairs{"Uid", "Gid", "Groups", "NoNewPrivs"} do print(status:match("\\n" .. name .. ":[^\\n]*")) end
        listen{{proto="tcp", port=1}, connect=print}""")
    for accounts, uid, gid in (([ACCOUNT], 4242, 4343), ([], 65534, 65534)):
        words = with_accounts(accounts, script, to).split()
        at = words.index("Uid:")
        equal(words[at + 1 : at + 5], [str(uid)] * 4, "user")
        equal(words[at + 6 : at + 10], [str(gid)] * 4, "group")
        equal(words[at + 10 : at + 14], ["Groups:", str(gid), "NoNewPrivs:", "1"], "the other groups, and new privileges")
    equal(os.stat(f"{to}/who.socket").st_uid, 0, "owner of the unit")
    os.chown(script, 0, 4343)
    os.chmod(script, 0o640)
    check("unable to read" not in with_accounts([ACCOUNT], script, to), "no note for a script that the account has read")
    out = with_accounts([], script, to, status=66)
    check("Permission denied" in out and "loaded as nobody, the account that will run it" in out, out)
    out = with_accounts(["mb-handle:x:0:0::/:/bin/false"], script, to, status=71)
    check("cannot load the script as mb-handle" in out, out)
    os.chmod(script, 0o644)
    out = with_accounts([], script, to, status=71, without=("mb-handle", "nobody"))
    check("root does not load it, and there is no account for it, mb-handle or nobody" in out, out)


@test("a script that another account loads has the log and its pipe, and cannot read what root types")
def _():
    script = source("types.lua", """
        os.execute("head -c 1 <&2 | tr X Y >&2; echo end")
        for fd = 4, 20 do if io.open("/proc/self/fd/" .. fd) then print("has " .. fd) end end
        listen{{proto="tcp", port=1}, connect=print}""")
    ours, theirs = pty.openpty()
    os.write(ours, b"X\n")
    run_it = {"stdin": theirs, "stdout": subprocess.DEVNULL, "stderr": theirs, "pass_fds": (ours,), "check": True}
    subprocess.run([HANDLE, "--inetd", script], **run_it)
    os.close(theirs)
    out = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while piece := os.read(ours, 4096):
            out += piece
    check(b"end" in out and b"Y" not in out and b"has" not in out, f"{out}")


@test("a script is loaded in the directory where services are started: no module of the current one, no file either")
def _():
    here = directory("here")
    mbtest.write_file(f"{here}/mb-test-module.lua", 'print("loaded from here") return {}')
    require = source("requires.lua", 'require "mb-test-module" listen{{proto="tcp", port=1}, connect=print}')
    reads = source("reads.lua", 'dofile("mb-test-module.lua") listen{{proto="tcp", port=1}, connect=print}')
    source("beside/beside.lua", 'require "mb-test-module" listen{{proto="tcp", port=1}, connect=print}')
    shutil.copy(f"{here}/mb-test-module.lua", mbtest.tmp("srv", "beside"))
    for path, want in ((require, "module 'mb-test-module' not found"), (reads, "cannot open mb-test-module.lua")):
        refused(want, path, cwd=here)
        check(want in with_accounts([], path, directory("refused"), status=78, cwd=here), "as root")
        done = subprocess.run([HANDLE, "--inetd", path], cwd=here, capture_output=True, text=True, check=False)
        equal((done.returncode, want in done.stderr), (78, True), f"--inetd said {done.stderr}")
    status, out, err = generate("beside.lua", to=directory("here-units"), cwd=mbtest.tmp("srv", "beside"))
    equal((status, err), (0, "loaded from here\n"), f"a module beside the script; stdout: {out}")


@test("what the script's process says of its listeners is checked once more; a process that dies says nothing")
def _():
    # The pipe to the other process is the one that this one can write to.
    forge = """
        for fd = 3, 20 do
          local pipe = io.open("/proc/self/fd/" .. fd, "w")
          if pipe then pipe:write(("{}"):gsub(" ", "\\0"), "\\0") pipe:close() end
        end
        os.exit(0)"""
    for number, (text, want, status) in enumerate((
        ("call listener proto=tcp port=99999 end", "port: expected an integer from 1 to 65535", 70),
        ("call listener proto=tcp port=80 host=", "host: expected a string that is not empty", 70),
        ("call listener proto=udp end", "proto: expected", 70),
        ("call connect=1 end", "connect: neither a function nor a table can be sent", 70),
        ("call listener proto=tcp port=x end", "port: not a number", 70),
        ("call listener proto=tcp port=80 what=1 end", "no field: what=1", 70),
        ("call port=80 listener end", "port belongs to a listener", 70),
        ("listener proto=main end", "it does not begin with a call", 70),
        ("call listener proto=tcp port=80 host=end", "ended the process while it was loaded", 78),
        ("xend", "ended the process while it was loaded", 78),
        ("", "ended the process while it was loaded", 78),
        ("end", "", 0),
    )):
        ends = text == "" or text.endswith("end")
        got, out, err = generate(source(f"forge{number}.lua", forge.format(text if ends else text + " end")), to=directory("forged"))
        check(want in err, f"{want!r} in {err!r} for {text!r}")
        check(got == status or text == "end", f"status {got}; {out}")
    equal(os.listdir(directory("forged")), [], "units")
    refused("signal 9 has ended the process that loads it", source("killed.lua", 'os.execute("kill -9 $PPID")'), status=70)
    refused("", source("exits.lua", "os.exit(3)"), status=3)
    many = 'for i = 1, 20000 do listen{{proto="local", path="/" .. ("x"):rep(90)}, connect=print} end'
    err = refused("its listeners are more than 1 MiB", source("many.lua", many), status=71)
    check("signal" not in err, err)
    # Its end does not hang on a terminal.
    endless = source("endless.lua", 'io.stderr:write("loads\\n") while true do end')
    for how in ("--inetd",), ("--user", "--units", directory("forged")):
        with subprocess.Popen([HANDLE, *how, endless], stderr=subprocess.PIPE) as caller:
            equal(caller.stderr.readline(), b"loads\n", "the script is loaded")
            (child,) = mbtest.read_file(f"/proc/{caller.pid}/task/{caller.pid}/children").split()
            caller.kill()
            until(lambda pid=child: not alive(pid), "the script's process ends with its caller")


mbtest.main()
