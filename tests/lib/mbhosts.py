"""The programs that start mb-handle for a connection, each started for real: a systemd user manager, openbsd-inetd,
xinetd, tcpserver, systemd-socket-activate. Each ends with its test."""

import glob
import os
import pwd

import mbtest

USER = pwd.getpwuid(os.geteuid()).pw_name


def expand(template):
    """A file of units/ as the Makefile would install it, but for the directories."""
    text = mbtest.read_file(os.path.join(mbtest.SRCDIR, "units", template + ".in"))
    mbtest.check(text, f"units/{template}.in is there")
    for name, value in {
        "bindir": os.path.dirname(mbtest.HANDLE),
        "sysconfdir": mbtest.tmp("etc"),
        "docdir": mbtest.tmp("doc"),
    }.items():
        text = text.replace(f"@{name}@", value)
    return text


class UserManager(mbtest.Process):
    """systemd --user with our unit files. Everything of it is private: run-time directory, home, unit path, cgroup."""

    UNITS = ("mb@.socket", "mb@.service", "mb-local@.socket", "mb-local@.service")

    def __init__(self):
        self.runtime = mbtest.tmp("run", "x")[:-2]
        os.chmod(self.runtime, 0o700)
        self.units = mbtest.tmp("units", "x")[:-2]
        for name in self.UNITS:
            mbtest.write_file(os.path.join(self.units, name), expand(name))
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": mbtest.tmp("home"),
            "XDG_RUNTIME_DIR": self.runtime,
            # The targets are systemd's; the user's and the administrator's own units stay out of it.
            "SYSTEMD_UNIT_PATH": self.units + ":/usr/lib/systemd/user",
            "LANG": "C.UTF-8",
        }
        os.mkdir(self.env["HOME"])
        systemd = mbtest.need("/lib/systemd/systemd", "/usr/lib/systemd/systemd")
        self.systemctl_path = mbtest.need("systemctl")
        with PrivateCgroup():
            super().__init__([systemd, "--user"], "systemd", env=self.env, cwd="/")
        mbtest.until(lambda: self.systemctl("is-system-running") == "running", "the user manager is running")

    def systemctl(self, *args):
        """The output of systemctl --user, without its last newline."""
        return mbtest.output_of(self.systemctl_path, "--user", "--no-pager", *args, env=self.env)

    def drop_in(self, unit, text):
        """Adds settings to a unit, as systemctl edit does."""
        path = os.path.join(self.units, unit + ".d", "test.conf")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        mbtest.write_file(path, text)
        mbtest.equal(self.systemctl("daemon-reload"), "", "systemctl daemon-reload")

    def start(self, unit):
        mbtest.equal(self.systemctl("start", unit), "", f"systemctl start {unit}")

    def stop_unit(self, unit):
        mbtest.equal(self.systemctl("stop", unit), "", f"systemctl stop {unit}")

    def prop(self, unit, name):
        return self.systemctl("show", "--value", "--property", name, unit)

    def instances(self):
        """The service instances that the manager still knows, in whatever state."""
        return self.systemctl("list-units", "--all", "--plain", "--no-legend", "mb@*.service", "mb-local@*.service")

    def failed(self):
        return self.systemctl("list-units", "--failed", "--plain", "--no-legend")


class PrivateCgroup:
    """While this is entered, what is started stands in a new control group: two managers that begin in the same one
    would remove and kill each other's. Without the right to make one the manager does with what it has."""

    def __enter__(self):
        self.back = []
        name = f"mb-test-{os.urandom(4).hex()}"
        for line in mbtest.read_file("/proc/self/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            for root in self._roots(controllers):
                self._enter(root + path.rstrip("/"), name)

    @staticmethod
    def _roots(controllers):
        if controllers == "":
            return [d for d in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup") if os.path.exists(d + "/cgroup.controllers")]
        return [f"/sys/fs/cgroup/{controllers.removeprefix('name=')}"]

    def _enter(self, parent, name):
        group = os.path.join(parent, name)
        try:
            os.mkdir(group)
            mbtest.cleanup.callback(self._remove, group)
            mbtest.write_file(os.path.join(group, "cgroup.procs"), "0")
            self.back.append(parent)
        except OSError:
            pass

    def __exit__(self, *_):
        for parent in self.back:
            mbtest.write_file(os.path.join(parent, "cgroup.procs"), "0")

    @staticmethod
    def _remove(group):
        for directory, _, _ in os.walk(group, topdown=False):
            try:
                mbtest.until(lambda d=directory: not mbtest.read_file(d + "/cgroup.procs"), "the group is empty", 5)
                os.rmdir(directory)
            except (OSError, mbtest.Failed):
                pass


class Inetd(mbtest.Process):
    """openbsd-inetd with the given lines: (ADDRESS:PORT or path, protocol, arguments of mb-handle)."""

    def __init__(self, lines):
        config = "".join(
            f"{where} stream {protocol} nowait.60000 {USER} {mbtest.HANDLE} mb-handle {args}\n"
            for where, protocol, args in lines
        )
        super().__init__([mbtest.need("inetd"), "-i", mbtest.write_file(mbtest.tmp("inetd.conf"), config)])


class Xinetd(mbtest.Process):
    """xinetd with our sample, for one port and one script."""

    def __init__(self, port, script):
        config = expand("xinetd.sample")
        for old, new in (
            ("= 8080\n", f"= {port}\n"),
            ("= mb-handle\n", f"= {USER}\n"),
            ("#server_args    = " + mbtest.tmp("etc") + "/mb/hello.lua", f"server_args = {script}\n\tbind = 127.0.0.1"),
        ):
            mbtest.equal(config.count(old), 1, f"units/xinetd.sample.in has {old!r} once")
            config = config.replace(old, new)
        path = mbtest.write_file(mbtest.tmp("xinetd.conf"), config)
        log = mbtest.tmp("xinetd.log")
        super().__init__(
            [mbtest.need(os.environ.get("MB_XINETD"), "xinetd"), "-dontfork", "-f", path, "-filelog", log, "-pidfile", log + ".pid"]
        )


class Tcpserver(mbtest.Process):
    """tcpserver of ucspi-tcp: the connection is 0 and 1, stderr is the log."""

    def __init__(self, port, *args):
        super().__init__(
            [mbtest.need("tcpserver"), "-H", "-R", "-l", "0", "-c", "100", "127.0.0.1", str(port), mbtest.HANDLE, *args]
        )


class SocketActivate(mbtest.Process):
    """systemd-socket-activate --accept: LISTEN_FDS, or with inetd=True the connection on 0 and 1."""

    def __init__(self, where, *args, inetd=False):
        address = where if isinstance(where, str) else f"{where[0]}:{where[1]}"
        mode = ["--inetd"] if inetd else []
        super().__init__(
            [mbtest.need("systemd-socket-activate"), "--accept", *mode, "-l", address, mbtest.HANDLE, *args]
        )


def children(pid):
    """The ids of a process's children that are no zombies."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        fields = mbtest.read_file(path).rpartition(")")[2].split()
        if len(fields) > 1 and fields[1] == str(pid) and fields[0] not in "ZX":
            found.append(int(path.split("/")[2]))
    return found
