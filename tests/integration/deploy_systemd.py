#!/usr/bin/python3
"""The commands and settings of docs/deploy/systemd.txt and logs.txt, as they stand there, under a real systemd user
manager and with a real journal."""

import json
import os
import socket
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbdeploy
import mbhosts
import mbspace
import mbtest
from mbtest import Client, check, equal, test, until

for tool in ("/lib/systemd/systemd", "systemctl", "systemd-journald", "journalctl", "curl"):
    mbtest.need(tool)
mbspace.enter(cgroup=True)

journal = mbspace.Journal()
manager = mbhosts.UserManager(home_units=True, SYSTEMD_LOG_TARGET="journal")
config = f"{manager.env['HOME']}/.config"
port = mbtest.free_port()
where = ("127.0.0.1", port)
SOCKET = f"mb@{port}.socket"
MACHINE = {"8080": port, "/usr/local/bin/mb-handle": mbtest.HANDLE}
# Where the system's manager has /etc, that of the test has the home.
WITH_HANDLERS = {"/usr/local/bin/mb-handle": f"{mbtest.HANDLE} --handlers {config}/mb"}
AS_USER = {"systemctl ": "systemctl --user ", "/etc/mb": f"{config}/mb"}
ENV = {**manager.env, "PATH": f"{os.path.dirname(mbtest.HANDLE)}:{os.environ['PATH']}"}


def sh(text):
    """Runs a block of commands, in the source tree; the first that fails ends it, and the test. Returns what it prints."""
    out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(["sh", "-eu"], input=text, env=ENV, cwd=mbtest.SRCDIR, text=True, check=False, **out)
    check(done.returncode == 0, f"status {done.returncode} of\n{text}{done.stdout}")
    return done.stdout


def block(line, changes):
    return mbdeploy.block("systemd.txt", line, changes)


def drop_in(unit, text):
    """As systemctl edit does it, which is for a terminal."""
    directory = f"{config}/systemd/user/{unit}.d"
    os.makedirs(directory, exist_ok=True)
    mbtest.write_file(f"{directory}/override.conf", text)
    equal(manager.systemctl("daemon-reload"), "", "daemon-reload")


@test("your own manager: the commands as they stand end with an answer")
def _():
    commands = block("mkdir -p ~/.config/mb ~/.config/systemd/user/mb@.service.d", MACHINE)
    check("Hello, Ann!" in sh(commands), "the answer")
    equal(manager.systemctl("is-enabled", SOCKET), "enabled", SOCKET)


@test("an enabled socket is started with sockets.target, as at boot")
def _():
    manager.stop_unit(SOCKET)
    check(not mbtest.listening(where), "nobody listens")
    manager.systemctl("restart", "sockets.target")
    mbtest.wait_listening(where)


@test("a script for a port: the commands for the system's manager, with --user")
def _():
    text = block("systemctl enable --now mb@8080.socket", {"8080": port, **AS_USER})
    check("Hello, Ann!" in sh(text), "the answer")


@test("the drop-in for a service is in effect with the next connection")
def _():
    line = "ExecStart=/usr/local/bin/mb-handle --timeout 600 --memory-limit 64M --log-level=info"
    drop_in("mb@.service", block(line, WITH_HANDLERS))
    equal(sh(f"curl -s http://127.0.0.1:{port}/Ann").strip(), "Hello, Ann!", "the answer")
    entry = journal.find("connection from 127.0.0.1:")
    check(f"to 127.0.0.1:{port}: " in entry["MESSAGE"], f"the listener in {entry['MESSAGE']}")


@test("the drop-in for a socket moves it to an IPv6 address; a restart interrupts no connection")
def _():
    mbtest.write_file(f"{config}/mb/{port}.lua", 'return function(s) s:write("you said: ", (s:read(nil, "\\n"))) end\n')
    with Client(where) as client:
        # Accepted by now, with a process; a listener that is closed resets what it has not accepted.
        until(lambda: manager.prop(SOCKET, "NConnections") == "1", "the connection is accepted")
        drop_in(SOCKET, block("ListenStream=[::1]:8080", {"8080": port}))
        equal(manager.systemctl("restart", SOCKET), "", "restart")
        client.send("before\n")
        equal(client.end(), (b"you said: before\n", "eof"), "the connection from before")
    with Client(("::1", port)) as client:
        client.send("after\n")
        equal(client.end(), (b"you said: after\n", "eof"), "the new address")
    try:
        Client(where).sock.close()
        raise mbtest.Failed("it listens on IPv4 still")
    except ConnectionRefusedError:
        pass
    equal(manager.prop(SOCKET, "MaxConnections"), "200", "MaxConnections")
    os.unlink(f"{config}/systemd/user/{SOCKET}.d/override.conf")
    manager.systemctl("daemon-reload")
    equal(manager.systemctl("restart", SOCKET), "", "restart")


@test("a new version of a script: checked, renamed, and run by the next connection")
def _():
    new = mbtest.write_file(mbtest.tmp("new.lua"), 'return function(s) s:write("new\\n") end\n')
    changes = {"8080": port, "/etc/mb": f"{config}/mb", "new.lua ": f"{new} "}
    text = block("mb-handle --check /etc/mb/8080.lua.new", changes)
    sh(text)
    with Client(where) as client:
        equal(client.end(), (b"new\n", "eof"), "answer")
    # One that does not load stays beside the one that is in service.
    mbtest.write_file(new, "return function(")
    try:
        sh(text)
    except mbtest.Failed as failed:
        check("status 78" in str(failed), f"the status of mb-handle --check: {failed}")
    with Client(where) as client:
        equal(client.end(), (b"new\n", "eof"), "answer after a new version that does not load")


@test("looking at it: each command prints what the page says")
def _():
    mbtest.write_file(f"{config}/mb/{port}.lua", 'return function(s) s:read(nil, "\\n") end\n')
    with Client(where):
        own = f"mb@*-127.0.0.1:{port}-*.service"
        until(lambda: manager.systemctl("list-units", "--plain", "--no-legend", own), "an instance with both addresses")
        changes = {"8080": port, "systemctl ": "systemctl --user "}
        commands = block("systemctl list-sockets 'mb*'            what listens", changes)
        # Two columns: the command, and what it is for.
        commands = [line.split("  ")[0] for line in commands.splitlines()]
        equal(len(commands), 5, "commands")
        check(SOCKET in sh(commands[0]), commands[0])
        check("Accepted: " in sh(commands[1]), commands[1])
        check("loaded active running" in sh(commands[2]), commands[2])
        sh(commands[3])
        until(lambda: manager.instances() == "", "no instance left after " + commands[3])


def seen():
    """What a client sees that sends nothing. The reset may come before connect() has returned."""
    try:
        return mbtest.answer(where)
    except ConnectionResetError:
        return b"", "reset"


@test("when it does not answer: the log names the error, --check and a replay show it")
def _():
    commands = block("mb-handle --check /etc/mb/8080.lua", {"8080": port, "/etc/mb": f"{config}/mb"})
    path = mbtest.write_file(f"{config}/mb/{port}.lua", mbtest.read_file(f"{mbtest.SRCDIR}/docs/examples/hello.lua"))
    check("Hello, Ann!" in sh(commands), "the replay")
    mbtest.write_file(path, "return function(s) s.nothing.here() end\n")
    equal(seen(), (b"", "reset"), "what the client sees")
    journal.find(f"{path}:1: ")
    os.unlink(path)
    equal(seen(), (b"", "reset"), "what the client sees")
    journal.find(f"{config}/mb/default.lua")


@test("when it does not answer: systemctl status says how many were refused by a limit")
def _():
    drop_in(SOCKET, "[Socket]\nMaxConnections=1\n")
    manager.systemctl("restart", SOCKET)
    mbtest.write_file(f"{config}/mb/{port}.lua", 'return function(s) s:flush("on\\n") s:read(nil, "\\n") end\n')
    with Client(where) as first, Client(where) as second:
        equal(first.line(), "on", "the first")
        equal(second.end()[0], b"", "the second")
    check("Refused: 1" in manager.systemctl("status", SOCKET), "what systemctl status says")


@test("logs.txt: with its drop-in each question is answered by the journal as it says")
def _():
    text = 'return function(s) if s:read(nil, "\\n") == "fail\\n" then error("failed") end end\n'
    mbtest.write_file(f"{config}/mb/{port}.lua", text)
    line = "ExecStart=/usr/local/bin/mb-handle --log-level=info --log-format=journal"
    drop_in("mb@.service", mbdeploy.block("logs.txt", line, WITH_HANDLERS))
    drop_in(SOCKET, "")
    manager.systemctl("restart", SOCKET)
    peers = {}  # a client of each address, and its port
    for source, line in (("127.0.0.2", "fine"), ("127.0.0.3", "fail"), ("127.0.0.4", "fine")):
        with Client(socket.create_connection(where, mbtest.DEADLINE, (source, 0))) as client:
            peers[source] = client.sock.getsockname()[1]
            client.send(line + "\n")
            client.end()
    peer = "127.0.0.3"
    here = {
        "journalctl": "journalctl --directory=/run/log/journal --quiet",
        "203.0.113.7": peer,
        "40112": str(peers[peer]),
        "192.0.2.11:8080": f"127.0.0.1:{port}",
    }

    def ask(line, lines=1):
        """What a line of logs.txt, or a command that begins there, prints here."""
        found = mbdeploy.block("logs.txt", line).splitlines()
        at = found.index(line)
        command = "\n".join(found[at : at + lines])
        for old, new in here.items():
            command = command.replace(old, new)
        return sh(command)

    def seen():
        return len([e for e in journal.entries() if e.get("MB_PEER") in peers]) == 3

    until(seen, "a line with fields for each connection")
    equal(len(ask("journalctl MB_LISTENER=192.0.2.11:8080").splitlines()), 3, "by the listener")
    for line in ("journalctl MB_PEER=203.0.113.7", "journalctl MB_PEER=203.0.113.7 MB_PEER_PORT=40112"):
        found = ask(line).splitlines()
        check(len(found) == 1 and f"from {peer}:{peers[peer]} " in found[0], f"{line}: {found}")
    check(f"from {peer}:" in ask("journalctl MB_STATUS=70"), "by the status")
    check(": failed" in ask("journalctl -t mb-handle -p err"), "errors")
    check(f"127.0.0.1:{port}" in ask("journalctl -F MB_LISTENER"), "values of a field")
    objects = ask("journalctl -t mb-handle -o json --output-fields=MB_PEER,MB_DURATION_USEC").splitlines()
    objects = [json.loads(text) for text in objects]
    equal({o["MB_PEER"] for o in objects if "MB_PEER" in o} & set(peers), set(peers), "as JSON")
    table = ask("journalctl -t mb-handle -o export --output-fields=MB_PEER,MB_DURATION_USEC |", 3).splitlines()
    equal({row.split()[1] for row in table} & set(peers), set(peers), "as a table")
    times = [int(row.split()[0]) for row in table]
    equal(times, sorted(times, reverse=True), "the longest first")


@test("logs.txt: with LogLevelMax= the manager's lines for a connection are gone, and what the script prints stays")
def _():
    mbtest.write_file(f"{config}/mb/{port}.lua", 'return function(socket) print((socket:read(nil, "\\n"))) end')
    mbtest.wait_listening(where)

    def priority_and_noise(word):
        """The level at which a connection's script prints a word, and what the manager says of that connection."""
        with Client(where) as client:
            client.send(word + "\n")
            number = client.sock.getsockname()[1]
            client.end()
        priority = journal.find(word).get("PRIORITY")
        until(lambda: not manager.systemctl("list-units", "--plain", "--no-legend", "mb@*.service"), "the instance is gone")
        ours = [e for e in journal.entries() if e.get("SYSLOG_IDENTIFIER") == "systemd"]
        return priority, [e["MESSAGE"] for e in ours if f":{number}" in str(e["MESSAGE"])]

    drop_in("mb@.service", f"[Service]\nExecStart=\nExecStart={mbtest.HANDLE} --handlers {config}/mb\n")
    priority, noise = priority_and_noise("the first")
    equal(priority, "6", "level of the script's line")
    check(any("Started" in line for line in noise), f"the manager's lines are {noise}")
    text = mbdeploy.block("logs.txt", "LogLevelMax=notice", {})
    drop_in("mb@.service", f"{text}ExecStart=\nExecStart={mbtest.HANDLE} --handlers {config}/mb\n")
    equal(priority_and_noise("the second"), ("5", []), "level of the script's line, and the manager's lines")


@test("a pool: the commands as they stand start it, load a new script, restart it, and stop both units")
def _():
    pool = mbtest.free_port()
    changes, name = {"8080": pool, **AS_USER}, f"mb-pool@{pool}"
    drop_in("mb-pool@.service", f"[Service]\nExecStart=\nExecStart={mbtest.HANDLE} --handlers {config}/mb\n")
    script = f"{config}/mb/{pool}.lua"
    hello = mbtest.read_file(os.path.join(mbtest.SRCDIR, "docs", "examples", "hello.lua"))
    mbtest.write_file(script, hello)
    without_check = {name: value for name, value in changes.items() if name != "/etc/mb"}
    check("Hello, Ann!" in sh(block("systemctl enable --now mb-pool@8080.socket", without_check)), "the answer")
    equal(manager.systemctl("is-enabled", f"{name}.socket"), "enabled", f"{name}.socket")
    checked = "mb-handle --check /etc/mb/8080.lua && systemctl reload mb-pool@8080.service"
    for line, word, changed in (
        ("systemctl reload mb-pool@8080.service", "Welcome", without_check),
        ("systemctl restart mb-pool@8080.service", "Good day", without_check),
        (checked, "Farewell", changes),
    ):
        mbtest.write_file(script, hello.replace("Hello", word))
        # As long as it is being started, systemctl reload is without effect.
        until(lambda: manager.prop(f"{name}.service", "ActiveState") == "active", "the service is active")
        sh(block(line, changed))
        equal(sh(f"curl -s http://127.0.0.1:{pool}/Ann").strip(), f"{word}, Ann!", f"the answer after {line}")
    sh(block("systemctl enable --now mb-pool@8080.service", without_check))
    equal(manager.systemctl("is-enabled", f"{name}.service"), "enabled", f"{name}.service")
    sh(block("systemctl stop mb-pool@8080.socket", without_check))
    for unit in (f"{name}.socket", f"{name}.service"):
        equal(manager.prop(unit, "ActiveState"), "inactive", unit)
        manager.systemctl("disable", unit)
    check(not mbtest.listening(("127.0.0.1", pool)), "nobody listens")
    os.unlink(script)


@test("removal: nobody listens, nothing is enabled, nothing is left")
def _():
    changes = {"8080": port, **AS_USER, "/etc/systemd/system": f"{config}/systemd/user"}
    sh(block("systemctl disable --now mb@8080.socket", changes))
    check(not mbtest.listening(where), "nobody listens")
    equal(manager.systemctl("is-enabled", SOCKET), "disabled", SOCKET)
    check(not os.path.exists(f"{config}/mb/{port}.lua"), "no script")
    until(lambda: manager.instances() == "", "no instance")
    equal(manager.failed(), "", "failed units")


mbtest.main()
