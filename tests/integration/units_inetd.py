#!/usr/bin/python3
"""mb-handle --inetd and --xinetd: what they print runs in a real openbsd-inetd and xinetd; and what they refuse."""

import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbspace
import mbtest
from mbtest import HANDLE, answer, check, equal, nobody_answers, test

INETD = mbtest.need("inetd")
XINETD = mbtest.need(os.environ.get("MB_XINETD"), "xinetd")
mbspace.enter()

# As on most machines; where IPv6 has no name, nobody comes to [::1] by "localhost".
HOSTS = mbtest.write_file(mbtest.tmp("hosts"), "127.0.0.1 localhost\n::1 localhost\n")
subprocess.run(["mount", "--bind", HOSTS, os.path.realpath("/etc/hosts")], check=True)
# Scripts are loaded as another account, when root is asked for entries.
os.chmod(mbtest.TMP, 0o711)


def printed(mode, script, *args, options=()):
    """What mb-handle --inetd or --xinetd prints: status, stdout, stderr."""
    done = subprocess.run([HANDLE, mode, *options, script, *args], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def entries(*args, **how):
    status, out, err = printed(*args, **how)
    equal((status, err), (0, ""), f"status and stderr; stdout: {out}")
    return out


def as_us(text, pattern):
    """The entries, with the account of the test in place of mb-handle's, which cannot read the test's files."""
    changed, count = re.subn(pattern, rf"\g<1>{mbhosts.USER}\g<2>", text)
    check(count > 0, f"an account in {text}")
    return changed


def refused(want, mode, text, *args, **how):
    status, out, err = printed(mode, mbtest.script(text), *args, **how)
    equal((status, out), (78, ""), f"status and stdout; stderr: {err}")
    for part in (want,) if isinstance(want, str) else want:
        check(part in err, f"{part!r} in {err!r}")


class Script:
    """A script with a listener of each kind, that answers with its arguments."""

    def __init__(self):
        self.ports = ports = [mbtest.free_port() for _ in range(6)]
        self.path = mbtest.tmp(f"sockets{ports[0]}", "x%y.sock")
        self.file = mbtest.script(
            f"""local words = table.concat({{...}}, "|")
            listen{{
              {{proto="tcp", port={ports[0]}}}, {{proto="tcp", host="127.0.0.1", port={ports[0]}}},
              {{proto="tcp", host="127.0.0.3", port={ports[1]}}}, {{proto="tcp4", port={ports[2]}}},
              {{proto="tcp", host="localhost", port={ports[3]}}}, {{proto="tcp6", port={ports[4]}}},
              {{proto="tcp4", port={ports[5]}}}, {{proto="tcp6", port={ports[5]}}},
              {{proto="local", path="{self.path}"}}, {{proto="local", path="@abstract"}}, max_fork=40,
              connect=function(s) s:write(words, " ", tostring(s.local_addr)) end}}
            listen{{{{proto="interval", name="tick", delay=90}}, connect=print}}
            listen{{{{proto="main", name="it's"}}, connect=print}}"""
        )

    def check(self, words):
        ports = self.ports
        for where in (
            ("127.0.0.1", ports[0]), ("127.0.0.2", ports[0]), ("::1", ports[0]), ("127.0.0.3", ports[1]),
            ("127.0.0.2", ports[2]), ("127.0.0.1", ports[3]), ("::1", ports[3]), ("::1", ports[4]),
            ("127.0.0.1", ports[5]), ("::1", ports[5]),
        ):
            mbtest.wait_listening(where)
            equal(answer(where), (f"{words} {where[0]}".encode(), "eof"), f"answer at {where}")
        for where in (("127.0.0.1", ports[1]), ("::1", ports[2]), ("127.0.0.1", ports[4])):
            nobody_answers(where)


# Nothing of it is special to inetd or xinetd.
WORDS = ("#x", "$HOME", "%d", '"q"', "back\\slash", "=", "é", "-a", "--b=c")


@test("--inetd: every line answers in openbsd-inetd, with options and arguments")
def _():
    script = Script()
    out = entries("--inetd", script.file, *WORDS, options=("--log-level=warning",))
    text = as_us(out, r"(?m)^([^#].* nowait\.60000 )mb-handle( )")
    inetd = mbtest.Process([INETD, "-i", mbtest.write_file(mbtest.tmp("inetd.conf"), text)])
    script.check("|".join(WORDS))
    equal(answer(script.path), (f"{'|'.join(WORDS)} {script.path}".encode(), "eof"), "answer at the Unix socket")
    equal(inetd.text(), "", "what inetd says")
    check(re.search(r"(?m)^# Not here, .*: @abstract$", out), f"a comment for the abstract socket in {out}")


def commands(out):
    return [line.removeprefix("#   ") for line in out.splitlines() if line.startswith("#   ")]


@test("what inetd and xinetd do not start stands in comments, with a command that runs it")
def _():
    log = mbtest.tmp("tasks.log")
    text = f"""
      local words = table.concat({{...}}, "|")
      local function note(t)
        local file = io.open("{log}", "a")
        file:write(t.interval or t.main, " ", words, "\\n")
        file:close()
      end
      listen{{{{proto="tcp", port=1}}, connect=print}}
      listen{{{{proto="interval", name="ti ck", delay=90}}, {{proto="main", name="it's"}}, connect=note}}"""
    script = mbtest.script(text)
    for mode in ("--inetd", "--xinetd"):
        mbtest.write_file(log, "")
        out = entries(mode, script, "a", "$b")
        check("interval ti ck every 90 s" in out, out)
        for command in commands(out):
            subprocess.run(["sh", "-c", command], check=True)
        equal(mbtest.read_file(log), "ti ck a|$b\nit's a|$b\n", f"what has run, by {mode}")


@test("--xinetd: every entry answers in xinetd, with options and arguments")
def _():
    script = Script()
    out = entries("--xinetd", script.file, *WORDS, options=("--log-level=warning",))
    text = as_us(out, r"(\n\tuser            = )mb-handle(\n)")
    config, log = mbtest.write_file(mbtest.tmp("xinetd.conf"), text), mbtest.tmp("xinetd.log")
    mbtest.Process([XINETD, "-dontfork", "-f", config, "-filelog", log, "-pidfile", log + ".pid"])
    script.check("|".join(WORDS))
    check("ERROR" not in mbtest.read_file(log), f"no error in {mbtest.read_file(log)}")
    for path in (script.path, "@abstract"):
        check(re.search(rf"(?m)^# Not here, as xinetd .*: {re.escape(path)}$", out), f"a comment for {path} in {out}")
    # One source is one client only where it is not this machine.
    for entry in out.split("\nservice ")[1:]:
        check("\tinstances       = 40\n" in entry, entry)
        equal("\tper_source      = 10\n" in entry, "127.0.0" not in entry and "= ::1" not in entry, entry)
    names = re.findall(r"(?m)^service (.*)$", out)
    equal((len(names), len(set(names))), (8, 8), f"names: {names}")


def settings(text):
    """What an entry for xinetd sets."""
    lines = [line.strip() for line in text.splitlines()]
    rows = [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
    return {name.strip(): value.strip() for name, value in rows}


@test("the lines have what the samples have, but for what is the script's")
def _():
    script = mbtest.script('listen{{proto="tcp", port=8080}, connect=print}')
    sample = next(line for line in mbhosts.expand("inetd.conf.sample").splitlines() if line and line[0] != "#")
    line = next(line for line in entries("--inetd", script).splitlines() if line[0] != "#")
    fields = sample.split()
    equal(fields[-2:], [mbtest.SHARED, "mb-handle"], "the sample's program")
    equal(line.split(), [*fields[:-2], mbtest.CHOSEN, os.path.basename(mbtest.CHOSEN), script], "the line for inetd")
    wanted = {**settings(mbhosts.expand("xinetd.sample")), "server": mbtest.CHOSEN, "server_args": script}
    equal(settings(entries("--xinetd", script)), wanted, "settings for xinetd")


@test("what inetd and xinetd cannot do is refused, and the message says what to do")
def _():
    tcp = 'listen{{proto="tcp", port=1}, connect=print}'
    for mode in ("--inetd", "--xinetd"):
        refused(('"a b"', "white space"), mode, tcp, "a b")
        refused("an empty word", mode, tcp, "")
        name = 'listen{{proto="tcp", host="www.example.org", port=1}, connect=print}'
        refused(("listener 1", "www.example.org"), mode, name)
        refused("does not say where to listen", mode, "return print")
        proxied = 'listen{%s{proto="local", path="/run/mb-test-x.sock", proxy_protocol=true}, connect=print}'
        refused("Unix socket", mode, proxied % "")
        out = entries(mode, mbtest.script(proxied % '{proto="tcp", port=1}, '))
        check(re.search(r"(?m)^# Not here, as .*: /run/mb-test-x.sock$", out), f"a comment in {out}")
        out = entries(mode, mbtest.script('listen{{proto="main"}, connect=print}'))
        check("Not started from here: main." in out and all(line[:1] in "#" for line in out.splitlines()), out)
        refused(("listeners 1 and 3", "name"), mode,
                'listen{{proto="main"}, {proto="tcp", port=1}, {proto="main"}, connect=print}')
    refused("19 arguments", "--inetd", tcp, *["x"] * 19)
    refused("1023 bytes", "--inetd", tcp, "x" * 1000)
    refused(("listener 1", "abstract"), "--inetd", 'listen{{proto="local", path="@x"}, connect=print}')
    refused(("listener 1", "white space"), "--inetd", 'listen{{proto="local", path="/x y"}, connect=print}')
    refused(("listener 1", '":"'), "--inetd", 'listen{{proto="local", path="/x:y"}, connect=print}')
    refused("--inetd", "--xinetd", 'listen{{proto="local", path="/x"}, connect=print}')


@test("inetd's limits are as they are refused: the most that is let through arrives whole")
def _():
    port = mbtest.free_port()
    script = mbtest.script(
        f"""local words = table.concat({{...}}, "|")
        listen{{{{proto="tcp", host="127.0.0.1", port={port}}}, connect=function(s) s:write(words) end}}"""
    )
    words = ["x"] * 18
    line = next(line for line in entries("--inetd", script, *words).splitlines(True) if line[0] != "#")
    words[0] += "y" * (1023 - len(line.encode()))
    equal(printed("--inetd", script, *words, "x")[0], 78, "status with an argument more")
    equal(printed("--inetd", script, words[0] + "y", *words[1:])[0], 78, "status with a byte more")
    text = as_us(entries("--inetd", script, *words), r"(?m)^([^#].* nowait\.60000 )mb-handle( )")
    # As long, whatever the account is called.
    first = ("x" + "y" * 1000)[: len(words[0]) + len("mb-handle") - len(mbhosts.USER)]
    text = text.replace(words[0], first)
    words[0] = first
    equal(max(len(line) for line in text.encode().splitlines(True)), 1023, "bytes of the line")
    mbtest.Process([INETD, "-i", mbtest.write_file(mbtest.tmp("inetd2.conf"), text)])
    mbtest.wait_listening(("127.0.0.1", port))
    equal(answer(("127.0.0.1", port)), ("|".join(words).encode(), "eof"), "the arguments")


mbtest.main()
