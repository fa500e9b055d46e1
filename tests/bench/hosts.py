"""What starts a program for each connection, for tests/bench/run: the real inetd, tcpserver and systemd's user manager.
Each runs until its block ends, and gives {name: Server}. All programs that are compared have the same settings. To be
imported behind crowd."""

import contextlib
import os

import benchlib
import mbhosts
import mbtest
from poolpeers import Server
from scripts import LUA_PATH

ENVIRONMENT = dict(os.environ, LUA_PATH=LUA_PATH)


@contextlib.contextmanager
def inetd(programs):
    """One openbsd-inetd with a service for each program. programs: {name: arguments}."""
    ports = {name: mbtest.free_port() for name in programs}
    entries = "".join(
        f"127.0.0.1:{ports[name]} stream tcp nowait.1000000 {mbhosts.USER} {argv[0]} {' '.join(argv)}\n"
        for name, argv in programs.items()
    )
    config = mbtest.write_file(mbtest.tmp("bench-inetd.conf"), entries)
    process = mbtest.Process([mbtest.need("inetd"), "-i", config], env=ENVIRONMENT)
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Server(port, process)) for name, port in ports.items()}


@contextlib.contextmanager
def tcpserver(programs):
    """A tcpserver for each program, which asks nobody for the names of its clients."""
    with contextlib.ExitStack() as stack:
        servers = {}
        for name, argv in programs.items():
            port = mbtest.free_port()
            command = [benchlib.find("tcpserver"), "-H", "-R", "-l", "0", "-c", "1000", "127.0.0.1", str(port), *argv]
            servers[name] = stack.enter_context(Server(port, mbtest.Process(command, env=ENVIRONMENT)))
        yield servers


class _Units:
    """The manager, and a socket unit with its service for each program."""

    def __init__(self):
        self.manager = mbhosts.UserManager(SYSTEMD_LOG_TARGET="journal", LUA_PATH=LUA_PATH)
        self.names = []

    def add(self, argv, port):
        """The units as they are installed, but that no limit closes the socket while it is measured. A program that
        does not know how systemd passes a connection has it as its input and output."""
        name = f"bench{len(self.names)}"
        self.names.append(name)
        service = mbhosts.expand("mb@.service")
        command = f"ExecStart={mbtest.HANDLE}\n"
        mbtest.equal(service.count(command), 1, "commands in mb@.service")
        service = service.replace(command, f"ExecStart={' '.join(argv)}\n")
        if not os.path.basename(argv[0]).startswith("mb-handle"):
            service += "[Service]\nStandardInput=socket\nStandardOutput=socket\n"
        socket = mbhosts.expand("mb@.socket").replace("ListenStream=%i", f"ListenStream=127.0.0.1:{port}")
        socket += "[Socket]\nTriggerLimitIntervalSec=0\nMaxConnectionsPerSource=1024\n"
        mbtest.write_file(f"{self.manager.units}/{name}@.service", service)
        mbtest.write_file(f"{self.manager.units}/{name}.socket", socket)

    def start(self):
        said = self.manager.systemctl("daemon-reload")
        said += self.manager.systemctl("start", *(f"{name}.socket" for name in self.names))
        if said:
            raise RuntimeError(f"the manager says: {said}")

    def are_gone(self):
        """Returns whether no service is left of those that were started."""
        return not self.manager.systemctl("list-units", "--all", "--plain", "--no-legend", "bench*@*.service")


class _UnitServer(Server):
    """A socket unit. The manager still ends services when their clients have gone: that is waited for."""

    def __init__(self, port, units):
        super().__init__(port)
        self.units = units

    def settle(self):
        mbtest.until(self.units.are_gone, "all services have ended")


@contextlib.contextmanager
def user_manager(programs):
    """Accept=yes: systemd starts a service for each connection."""
    units = _Units()
    try:
        ports = {name: mbtest.free_port() for name in programs}
        for name, argv in programs.items():
            units.add(argv, ports[name])
        units.start()
        with contextlib.ExitStack() as stack:
            yield {name: stack.enter_context(_UnitServer(port, units)) for name, port in ports.items()}
    finally:
        units.manager.stop()
