#!/usr/bin/python3
"""mb-handle under a real systemd user manager with our own unit files, and a real journal beside it."""

import os
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbcases
import mbhosts
import mbspace
import mbtest
from mbtest import Client, check, equal, test, until

for tool in ("/lib/systemd/systemd", "systemctl", "systemd-analyze", "systemd-journald", "journalctl"):
    mbtest.need(tool)
mbspace.enter(cgroup=True)

journal = mbspace.Journal()
manager = mbhosts.UserManager()
# The units are the shipped ones, ExecStart= included: the script comes by the environment.
manager.systemctl("set-environment", f"MB_SCRIPT={mbtest.COMMANDS}")
where = ("127.0.0.1", mbtest.free_port())
SOCKET = f"mb@{where[1]}.socket"
local = f"{manager.runtime}/mb/talk.sock"
LOCAL_SOCKET = "mb-local@talk.socket"
for unit, address in ((SOCKET, where), (LOCAL_SOCKET, local)):
    manager.start(unit)
    mbtest.wait_listening(address)


def nothing_left():
    """No instance is left over, no unit failed, and the manager is not degraded."""
    until(lambda: manager.instances() == "", "no instance left, of: " + manager.instances())
    equal(manager.failed(), "", "failed units")
    equal(manager.systemctl("is-system-running"), "running", "state of the manager")


def still_listening(unit, address):
    equal(manager.prop(unit, "SubState"), "listening", f"state of {unit}")
    equal(manager.prop(unit, "Result"), "success", f"result of {unit}")
    mbcases.line(address, "still there")


@test("systemd-analyze verify has nothing to say about the units, for the user and for the system")
def _():
    # As installed: the drop-in with User= is for the system only.
    for directory, mode, env in (("user", "--user", manager.env), ("system", "--system", {"PATH": os.environ["PATH"]})):
        for name in manager.UNITS:
            mbtest.write_file(mbtest.tmp(directory, name), mbhosts.expand(name))
            if directory == "system" and name.endswith(".service"):
                mbtest.write_file(mbtest.tmp(directory, f"{name}.d", "10-user.conf"), mbhosts.expand("mb-user.conf"))
        units = [mbtest.tmp(directory, name.replace("@.", "@8080.")) for name in manager.UNITS]
        # The manual page is looked for among the installed ones; whether it is there is not the units' matter.
        equal(mbtest.output_of("systemd-analyze", mode, "--man=no", "verify", *units, env=env), "", f"verify {mode}")


@test("systemd-sysusers takes the account's file")
def _():
    path = mbtest.write_file(mbtest.tmp("mb-handle.conf"), mbhosts.expand("mb-handle.sysusers"))
    root = os.path.dirname(mbtest.tmp("root", "etc", "x"))
    said = mbtest.output_of("systemd-sysusers", f"--root={os.path.dirname(root)}", path)
    check("mb-handle:" in mbtest.read_file(f"{root}/passwd"), f"the account is made; systemd-sysusers said: {said}")


SOCKET_LIMITS = {"Accept": "yes", "TriggerLimitIntervalUSec": "1s", "MaxConnections": "1024"}
SERVICE = {
    "CollectMode": "inactive-or-failed",
    "StandardInput": "null",
    "StandardOutput": "journal",
    "StandardError": "journal",
}


@test("what the units set for a reason is what the manager has understood")
def _():
    for unit, wanted in (
        (
            SOCKET,
            {
                **SOCKET_LIMITS,
                "TriggerLimitBurst": "500",
                "Backlog": "64",
                "MaxConnectionsPerSource": "256",
                "FreeBind": "yes",
                "BindIPv6Only": "both",
                "NoDelay": "yes",
            },
        ),
        # A limit for each user would be one for the web server in front.
        (
            LOCAL_SOCKET,
            {
                **SOCKET_LIMITS,
                "TriggerLimitBurst": "200",
                "Backlog": "1024",
                "MaxConnectionsPerSource": "0",
                "SocketMode": "0666",
                "RemoveOnStop": "yes",
            },
        ),
        ("mb@1-2-3.service", SERVICE),
        ("mb-local@1-2-3.service", SERVICE),
    ):
        for name, value in wanted.items():
            equal(manager.prop(unit, name), value, f"{name} of {unit}")
    mode = os.stat(local).st_mode & 0o777
    equal(oct(mode), "0o666", f"mode of {local}")


@test("mb@PORT.socket: 200 connections, 8 at a time, are answered byte for byte")
def _():
    mbcases.many(where, 200, 8)


@test("after them: no failed unit, no instance left, and the socket listens")
def _():
    nothing_left()
    equal(manager.prop(SOCKET, "NAccepted"), "200", "accepted connections")
    equal(manager.prop(SOCKET, "NConnections"), "0", "connections")
    still_listening(SOCKET, where)


@test("a burst of 240 connections at once does not fail the socket, as the default limit (200 in 2 s) would")
def _():
    time.sleep(1)  # the connections before are of another second, by which the trigger limit counts
    mbcases.many(where, 240, 240)
    nothing_left()
    still_listening(SOCKET, where)


@test("1 MiB of binary data comes back unchanged")
def _():
    mbcases.echo(where)


@test("the handler sees both addresses")
def _():
    mbcases.addresses(where)


@test("neither the script nor its children see LISTEN_*")
def _():
    mbcases.environment(where)


@test("the working directory is the user's home, and a file beside the script is found")
def _():
    mbcases.directory(where, manager.env["HOME"])
    mbcases.directory(local, manager.env["HOME"])


@test("socket:close() is seen within 100 ms though the handler works on and the manager holds a copy")
def _():
    mbcases.ends_early(where, "close", (b"bye\n", "eof"))


@test("socket:reset() is seen within 100 ms though the handler works on and the manager holds a copy")
def _():
    mbcases.ends_early(where, "reset", (b"", "reset"))


@test("what is printed is in the journal as ours, not with the client")
def _():
    mbcases.output(where, journal, "printing")
    equal(journal.find("printing-print").get("SYSLOG_IDENTIFIER"), "mb-handle", "identifier")


@test("a client's name that looks like a line with a priority has the handler's priority in the journal")
def _():
    mbcases.forging(where, journal, "hostile")
    equal(journal.priorities("hostile-end"), ["3", "5", "6", "6", "6", "6"], "print, io, mb.log, an error")


@test("a message of mb.log has its level in the journal")
def _():
    with Client(where) as client:
        client.send("warn\nwarned-of\n")
        equal(client.end(), (b"warned\n", "eof"), "what the client got")
    entry = journal.find("warned-of")
    equal((entry.get("PRIORITY"), entry["MESSAGE"], entry.get("_TRANSPORT")), ("4", "warned-of", "stdout"), "entry")


@test("an error is in the journal as an error; no failed unit and no instance is left")
def _():
    mbcases.error(where, journal, "failing")
    entry = journal.find("failing-error")
    equal(entry.get("PRIORITY"), "3", "priority")
    check(not str(entry["MESSAGE"]).startswith("<"), f"no <N> left in {entry['MESSAGE']}")
    nothing_left()
    still_listening(SOCKET, where)


@test("timeout() resets the connection on time; no failed unit and no instance is left")
def _():
    mbcases.timeout(where)
    nothing_left()
    still_listening(SOCKET, where)


@test("timeout() is a success of the service, where failed units are kept too")
def _():
    for service, address in (("mb@.service", where), ("mb-local@.service", local)):
        manager.drop_in(service, "[Unit]\nCollectMode=inactive\n")
        if address == where:
            mbcases.timeout(address)
        else:
            with Client(address) as client:
                client.send("timeout\n0.1\n")
                equal(client.end()[0], b"armed\n", "answer")
        nothing_left()
        # That this would have shown: an error in a handler is a failure.
        with Client(address) as client:
            client.send("error\nkept\n")
            client.end()
        failed = until(manager.failed, "an error in a handler is a failed unit").split()[0]
        equal(manager.prop(failed, "Result"), "exit-code", f"result of {failed}")
        manager.systemctl("reset-failed")
        manager.drop_in(service, "")
        nothing_left()


@test("a client that resets the connection leaves no failed unit")
def _():
    for data in ("", "line\n", "echo\n" + "x" * 100000):
        client = Client(where)
        client.send(data)
        client.reset()
    nothing_left()
    still_listening(SOCKET, where)


@test("a handler that is killed resets the connection; no failed unit and no instance is left")
def _():
    with Client(where) as client:
        client.send("close\n")
        os.kill(int(client.line()), 9)
        equal(client.end(), (b"", "reset"), "what the client saw")
    nothing_left()


@test("mb-local@NAME.socket listens in the run-time directory and is answered")
def _():
    mbcases.line(local)
    mbcases.echo(local)
    mbcases.many(local, 40, 8)
    nothing_left()
    still_listening(LOCAL_SOCKET, local)


@test("mb-local@NAME.socket: an early close is seen within 100 ms")
def _():
    mbcases.ends_early(local, "close", (b"bye\n", "eof"))


@test("mb-local@NAME.socket: a handler that is killed resets the connection, though the manager has a copy of it")
def _():
    with Client(local) as client:
        client.send("close\n")
        os.kill(int(client.line()), 9)
        equal(client.end(), (b"", "reset"), "what the client saw")
    nothing_left()


@test("mb-local@NAME.socket: stopping removes the file")
def _():
    manager.stop_unit(LOCAL_SOCKET)
    check(not os.path.exists(local), f"{local} is gone")


@test("without MB_SCRIPT the script is found by port or by name, or is the default")
def _():
    handlers = os.path.dirname(mbtest.tmp("handlers", "x"))
    by_port, by_default = (("127.0.0.1", mbtest.free_port()) for _ in range(2))
    by_name = f"{manager.runtime}/mb/greet.sock"
    for name, text in ((str(by_port[1]), "by port"), ("greet", "by name"), ("default", "by default")):
        mbtest.write_file(f"{handlers}/{name}.lua", f'return function(socket) socket:write("{text}\\n") end\n')
    exec_start = f"[Service]\nExecStart=\nExecStart={mbtest.HANDLE} --handlers {handlers}\nUnsetEnvironment=MB_SCRIPT\n"
    for unit in ("mb@.service", "mb-local@.service"):
        manager.drop_in(unit, exec_start)
    for unit, address, want in (
        (f"mb@{by_port[1]}.socket", by_port, b"by port\n"),
        (f"mb@127.0.0.1:{by_default[1]}.socket", by_default, b"by default\n"),
        ("mb-local@greet.socket", by_name, b"by name\n"),
    ):
        manager.start(unit)
        mbtest.wait_listening(address)
        with Client(address) as client:
            equal(client.end(), (want, "eof"), unit)
    nothing_left()


@test("a port without a script: the client sees an end, the journal says what was tried, nothing failed is left")
def _():
    missing = mbtest.tmp("nothing-here")
    manager.drop_in(
        "mb@.service",
        f"[Service]\nExecStart=\nExecStart={mbtest.HANDLE} --handlers {missing}\nUnsetEnvironment=MB_SCRIPT\n",
    )
    with Client(where) as client:
        equal(client.end()[0], b"", "what the client got")
    journal.find(f"{missing}/{where[1]}.lua")
    nothing_left()
    equal(manager.prop(SOCKET, "SubState"), "listening", "state of the socket")


mbtest.main()
