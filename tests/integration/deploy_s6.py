#!/usr/bin/python3
"""The run scripts of docs/deploy under a real s6: s6-ipcserver for a Unix socket, tcpserver for a port, s6-log for the log."""

import os
import pwd
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbcases
import mbdeploy
import mbspace
import mbtest
from mbtest import Client, check, equal, test, until

for tool in ("s6-svscan", "s6-svc", "s6-svwait", "s6-ipcserver", "s6-log", "s6-envuidgid", "tcpserver"):
    mbtest.need(tool)
mbspace.enter()

# The account that `make install` makes may not be here; that of the test cannot show that it was changed.
ACCOUNT = "nobody"
# That account has to reach the program and the script: both lie in the /run of this test.
for directory in ("/run/bin", "/run/handlers", "/run/service"):
    os.mkdir(directory)
shutil.copy(mbtest.HANDLE, "/run/bin/mb-handle")
for name in ("hello.lua", "8080.lua"):
    shutil.copyfile(mbtest.COMMANDS, f"/run/handlers/{name}")
os.chmod(mbtest.TMP, 0o755)

port = mbtest.free_port()
where = ("127.0.0.1", port)
local = "/run/mb/hello.sock"
os.rename("/run/handlers/8080.lua", f"/run/handlers/{port}.lua")
PROGRAM = {"/usr/local/bin/mb-handle": "/run/bin/mb-handle --handlers /run/handlers", "mb-handle \\": f"{ACCOUNT} \\"}


class Log:
    """What s6-log has written for a service."""

    def __init__(self, service):
        self.path = f"/run/log/{service}/current"

    def find(self, part):
        return until(
            lambda: next((line for line in mbtest.read_file(self.path).splitlines() if part in line), None),
            f"{part!r} in the log",
        )


# The files of docs/deploy, as they are but for this machine, and then the commands of supervisors.txt.
files = os.path.dirname(mbtest.tmp("deploy", "x"))
mbdeploy.file("s6-local.run", PROGRAM, f"{files}/s6-local.run")
mbdeploy.file("s6-tcp.run", {**PROGRAM, " 8080 ": f" {port} "}, f"{files}/s6-tcp.run")
mbdeploy.file("s6-log.run", {"/var/log/": "/run/log/"}, f"{files}/s6-log.run")
commands = mbdeploy.block(
    "supervisors.txt",
    "s6-svscan /etc/s6",
    {"apt-get install s6 ucspi-tcp\n": "", "s6-svscan /etc/s6\n": "", "/etc/s6": "/run/service"},
)
subprocess.run(["sh", "-eu"], input=commands, text=True, cwd=files, check=True)
local_log, tcp_log = Log("mb-hello"), Log("mb-8080")
svscan = mbtest.Process([mbtest.need("s6-svscan"), "/run/service"])
for directory in ("/run/service/mb-hello", "/run/service/mb-8080"):
    until(lambda d=directory: subprocess.run(["s6-svok", d], check=False).returncode == 0, f"{directory} is supervised")
mbtest.wait_listening(where)


@test("s6 is told when s6-ipcserver listens, and the socket is there then")
def _():
    equal(mbtest.output_of("s6-svwait", "-U", "-t", "10000", "/run/service/mb-hello"), "", "s6-svwait")
    check(mbtest.listening(local), f"a listener at {local}")
    equal(oct(os.stat(local).st_mode & 0o777), "0o666", f"mode of {local}")


@test("both listeners answer, 1 MiB comes back unchanged, 100 connections, 8 at a time, are answered")
def _():
    for address in (where, local):
        mbcases.line(address)
        mbcases.echo(address)
        mbcases.many(address, 100, 8)


@test("the handler of the port sees both addresses")
def _():
    mbcases.addresses(where)


@test("handlers run as the account, not as root")
def _():
    wanted = pwd.getpwnam(ACCOUNT).pw_uid
    for address in (where, local):
        with Client(address) as client:
            client.send("close\n")
            pid = int(client.line())
            equal(os.stat(f"/proc/{pid}").st_uid, wanted, f"owner of the process for {address}")


@test("more than 40 connections at once are served, which is the limit by default")
def _():
    for address in (where, local):
        clients = [Client(address) for _ in range(60)]
        for client in clients:
            client.send("close\n")
        for client in clients:
            check(int(client.line()) > 0, "an answer while the others wait")
        for client in clients:
            client.sock.close()


@test("what a handler prints, and its error, are in the log with the time, not with the client")
def _():
    mbcases.error(where, tcp_log, "failing")
    for address, log in ((where, tcp_log), (local, local_log)):
        mbcases.output(address, log, "printing")
        stamp = log.find("printing-print").split("printing-print")[0]
        check(stamp[:2] == "20" and stamp.count(":") == 2, f"a time before the line: {stamp!r}")


@test("socket:close() is seen within 100 ms though the handler works on, timeout() resets on time")
def _():
    for address in (where, local):
        mbcases.ends_early(address, "close", (b"bye\n", "eof"))
    mbcases.timeout(where)


def pid_of(name):
    return mbtest.output_of("s6-svstat", "-o", "pid", f"/run/service/{name}")


@test("a listener that is killed is back")
def _():
    for name, address in (("mb-8080", where), ("mb-hello", local)):
        before = pid_of(name)
        os.kill(int(before), 9)
        until(lambda n=name, b=before: pid_of(n) not in (b, "-1"), "a new one")
        mbtest.wait_listening(address)
        mbcases.line(address, "again")


@test("s6-svc -d ends the listener; a connection that is being served goes on")
def _():
    with Client(where) as client:
        client.send("close\n")
        client.line()
        equal(mbtest.output_of("s6-svc", "-wD", "-d", "/run/service/mb-8080"), "", "s6-svc -d")
        check(not mbtest.listening(where), "nobody listens")
        client.send("go\n")
        equal(client.end(), (b"bye\n", "eof"), "after")


mbtest.main()
