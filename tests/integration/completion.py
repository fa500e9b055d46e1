#!/usr/bin/python3
"""Completion in a real bash and a real zsh, on a terminal: what a user gets who presses the tabulator key."""

import os
import pty
import re
import select
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import DEADLINE, HANDLE, SRCDIR, Failed, check, equal, test

COMPLETION = os.path.join(SRCDIR, "docs", "completion")
END_MARK = "END-OF-LINE"
home = os.path.dirname(mbtest.tmp("home", "x"))
for name in ("app.lua", "notes.txt", "scripts/more.lua"):
    mbtest.write_file(mbtest.tmp("home", name), "")


class Shell:
    """An interactive shell on a terminal of its own."""

    def __init__(self, argv, setup):
        env = {"PATH": os.environ["PATH"], "HOME": home, "TERM": "dumb", "LC_ALL": "C.UTF-8", "PS1": "$ "}
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            mbtest.die_with_parent()
            os.chdir(home)
            os.execve(argv[0], argv, env)
        mbtest.cleanup.callback(self.stop)
        self.seen = ""
        for line in setup:
            self.run(line)

    def stop(self):
        os.close(self.fd)
        os.waitpid(self.pid, 0)

    def send(self, text):
        os.write(self.fd, text.encode())

    def wait(self, pattern):
        """Reads until the pattern has come. Returns the match; what came up to its end is forgotten."""
        deadline = time.monotonic() + DEADLINE
        while not (match := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise Failed(f"{pattern!r} did not come; the shell said {self.seen!r}")
            self.seen += os.read(self.fd, 65536).decode(errors="replace")
        self.seen = self.seen[match.end() :]
        return match

    def run(self, line):
        """Runs a command; returns what it prints. The mark is not on the line as it is typed."""
        mark, self.seen = f"done{os.urandom(4).hex()}", ""
        self.send(f"{line}; printf '%s%s\\n' {mark[:4]} {mark[4:]}\r")
        return self.wait(f"(?s)\r?\n(.*){mark}\r?\n")[1]

    def completed(self, typed):
        """The words of the line after one tabulator key: printed by the shell, as it would have run them."""
        self.run("mb-handle() { printf '<%s>' \"$@\"; printf '\\n'; }")
        self.seen = ""
        self.send(f"mb-handle {typed}\t {END_MARK}\r")
        return re.findall("<([^>]*)>", self.wait(rf"(?m)^((?:<[^>\r\n]*>)*<{END_MARK}>)\r?$")[1])[:-1]


def bash():
    shell = Shell([mbtest.need("bash"), "--norc", "--noprofile", "-i"], ["bind 'set enable-bracketed-paste off'"])
    shell.run(f". {COMPLETION}/mb-handle-static.bash")
    return shell


def zsh():
    shell = Shell([mbtest.need("zsh"), "-f", "-i"], ["unsetopt zle_bracketed_paste prompt_cr prompt_sp"])
    shell.run(f"fpath=({COMPLETION} $fpath); autoload -U compinit; compinit -u -D")
    return shell


CASES = (
    # What is typed before the key, and what the words are then. An ambiguous beginning stays as it is.
    ("--che", ["--check"]),
    ("--proxy-t", {"--proxy-trust", "--proxy-trust="}),
    ("--log-level deb", ["--log-level", "debug"]),
    ("--log-level=war", ["--log-level=warning"]),
    ("--log-format jou", ["--log-format", "journal"]),
    ("--access-log=js", ["--access-log=json"]),
    ("--access-log ap", ["--access-log", "app.lua"]),
    ("--access-log=json ap", ["--access-log=json", "app.lua"]),
    ("--sandbox str", ["--sandbox", "strict"]),
    ("--sandbox=o", ["--sandbox=off"]),
    ("--style tar", ["--style", "tarantool"]),
    ("--units scr", {"--units scripts/", "--units scripts"}),
    ("--units=scr", {"--units=scripts/", "--units=scripts"}),
    ("--record not", ["--record", "notes.txt"]),
    ("ap", ["app.lua"]),
    ("--timeout 5 ap", ["--timeout", "5", "app.lua"]),
    ("--interval tick ap", ["--interval", "tick", "app.lua"]),
    ("--check ap", ["--check", "app.lua"]),
    ("app.lua not", ["app.lua", "notes.txt"]),
    ("app.lua --che", ["app.lua", "--che"]),  # behind the script all is the script's
)


def complete_all(shell):
    for typed, want in CASES:
        got = shell.completed(typed)
        if isinstance(want, set):
            check(" ".join(got) in want, f"{typed!r} becomes {got}, expected one of {want}")
        else:
            equal(got, want, f"what {typed!r} becomes")


@test("bash: options, their values, scripts, and nothing of ours behind the script")
def _():
    shell = bash()
    complete_all(shell)
    equal(shell.completed("no"), ["no"], "a file that is no script")


@test("zsh: the same")
def _():
    complete_all(zsh())


@test("both know every option that there is, and no other")
def _():
    text = subprocess.run([HANDLE, "--help"], stdout=subprocess.PIPE, check=True).stdout.decode()
    options = re.findall(r"(?m)^  (--[a-z-]+)", text)
    check(len(options) > 15, f"options in --help: {options}")
    in_bash = re.search(r"local options='([^']*)'", mbtest.read_file(f"{COMPLETION}/mb-handle.bash"))[1].split()
    equal(sorted(in_bash), sorted(options), "bash's options")
    in_zsh = re.findall(r"(?m)^  ['\"](?:\$\{\w+\}|\([- *a-z]+\))?(--[a-z-]+)", mbtest.read_file(f"{COMPLETION}/_mb-handle"))
    equal(sorted(in_zsh), sorted(options), "zsh's options")
    # An option that takes a value waits for it in both.
    with_value = re.findall(r"(?m)^  (--[a-z-]+)(?: |\[=)[A-Z]+", text)
    values = re.search(r"(?s)_mb_handle_values\(\).*?\n}", mbtest.read_file(f"{COMPLETION}/mb-handle.bash"))[0]
    equal(sorted(re.findall(r"--[a-z-]+", values)), sorted(with_value), "bash's options with a value")
    in_zsh = re.findall(r"(--[a-z-]+)=-?\[", mbtest.read_file(f"{COMPLETION}/_mb-handle"))
    equal(sorted(in_zsh), sorted(with_value), "zsh's options with a value")


mbtest.main()
