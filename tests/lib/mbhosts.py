"""The real programs that start mb-handle for a connection: a systemd user manager, openbsd-inetd, xinetd, tcpserver,
systemd-socket-activate. Each ends with its test."""

import os
import pwd
import re

import mbspace
import mbtest

USER = pwd.getpwuid(os.geteuid()).pw_name


def expand(template):
    """Returns a file of units/ as the Makefile would install it, except for the directories."""
    source = "mb-pool@.service" if template == "mb-pool-local@.service" else template
    text = mbtest.read_file(os.path.join(mbtest.SRCDIR, "units", source + ".in"))
    mbtest.check(text, f"units/{template}.in is there")
    for name, value in {
        "bindir": os.path.dirname(mbtest.HANDLE),
        "sysconfdir": mbtest.tmp("etc"),
        "docdir": mbtest.tmp("doc"),
    }.items():
        text = text.replace(f"@{name}@", value)
    return text


class UserManager(mbtest.Process):
    """systemd --user with our unit files only. It has a run-time directory and a home of its own. Must be used within
    mbspace.enter(cgroup=True): two managers in one control group would remove each other's processes."""

    UNITS = ("mb@.socket", "mb@.service", "mb-local@.socket", "mb-local@.service", "mb-reopen@.service")
    POOLS = ("mb-pool@.socket", "mb-pool@.service", "mb-pool-local@.socket", "mb-pool-local@.service")

    def __init__(self, user=None, home_units=False, **env):
        """user: an account without privileges to run as, like the manager of a user; env: more variables."""
        self.runtime = f"/run/user/{pwd.getpwnam(user).pw_uid}" if user else mbtest.tmp("run")
        os.makedirs(self.runtime, 0o700, exist_ok=True)
        self.units = mbtest.tmp("units", "x")[:-2]
        for name in (*self.UNITS, *self.POOLS):
            mbtest.write_file(os.path.join(self.units, name), expand(name))
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": mbtest.tmp("home"),
            "XDG_RUNTIME_DIR": self.runtime,
            # The targets come from systemd. Units of the user and of the administrator are left out. systemctl writes
            # its links to the home, which belongs to the test.
            "SYSTEMD_UNIT_PATH": f"{self.units}:{mbtest.tmp('home')}/.config/systemd/user:/usr/lib/systemd/user",
            "LANG": "C.UTF-8",
            # A program built with AddressSanitizer traces itself at its end, to find leaks. Units that are installed
            # forbid that.
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0",
            **env,
        }
        os.makedirs(self.env["HOME"], exist_ok=True)
        if home_units:  # the test installs units there, as a user would
            self.env["SYSTEMD_UNIT_PATH"] = f"{self.env['HOME']}/.config/systemd/user:" + self.env["SYSTEMD_UNIT_PATH"]
        systemd = mbtest.need("/lib/systemd/systemd", "/usr/lib/systemd/systemd")
        self.as_user = self._give_to(pwd.getpwnam(user)) if user else []
        self.systemctl_path = mbtest.need("systemctl")
        super().__init__([*self.as_user, systemd, "--user"], "systemd", env=self.env, cwd="/")
        mbtest.until(lambda: self.systemctl("is-system-running") == "running", "the user manager is running")

    def _give_to(self, account):
        """Gives the account the files that the manager writes, and the control group. Returns a command prefix that
        starts a program as the account."""
        os.chmod(mbtest.TMP, 0o711)
        for path in (self.runtime, self.env["HOME"], *mbspace.own_groups()):
            os.chown(path, account.pw_uid, account.pw_gid)
            for name in ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
                if os.path.exists(f"{path}/{name}"):
                    os.chown(f"{path}/{name}", account.pw_uid, account.pw_gid)
        ids = (f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups")
        return [mbtest.need("setpriv"), *ids]

    def reload(self, unit):
        """Runs systemctl --user reload. Returns what it says. While a service is being started, the manager takes a
        reload for done when the start is; and a pool answers before it says that it is ready."""
        mbtest.until(lambda: self.prop(unit, "ActiveState") == "active", f"{unit} is active")
        return self.systemctl("reload", unit)

    def systemctl(self, *args):
        """Runs systemctl --user. Returns its output without the last newline."""
        return mbtest.output_of(*self.as_user, self.systemctl_path, "--user", "--no-pager", *args, env=self.env)

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
        """Returns the service instances that the manager still knows, in any state."""
        return self.systemctl("list-units", "--all", "--plain", "--no-legend", "mb@*.service", "mb-local@*.service")

    def failed(self):
        return self.systemctl("list-units", "--failed", "--plain", "--no-legend")


class Inetd(mbtest.Process):
    """openbsd-inetd with lines made from our sample. lines has (ADDRESS:PORT or path, protocol, arguments) of each."""

    def __init__(self, lines, most=None):
        """most: how often a service may start in a minute; None: as often as in the sample."""
        sample = [line for line in expand("inetd.conf.sample").splitlines() if line and not line.startswith("#")]
        mbtest.equal(len(sample), 1, "lines in units/inetd.conf.sample.in that are no comment")
        _, kind, _, wait, _, program, name = sample[0].split()
        wait = f"nowait.{most}" if most else wait
        config = "".join(
            f"{where} {kind} {protocol} {wait} {USER} {program} {name} {args}\n" for where, protocol, args in lines
        )
        super().__init__([mbtest.need("inetd"), "-i", mbtest.write_file(mbtest.tmp("inetd.conf"), config)])


class Xinetd(mbtest.Process):
    """xinetd with our sample, for one port and one script. settings: attributes whose values replace the sample's."""

    def __init__(self, port, script, **settings):
        config = expand("xinetd.sample")
        for old, new in (
            ("= 8080\n", f"= {port}\n"),
            ("= mb-handle\n", f"= {USER}\n"),
            ("#server_args    = " + mbtest.tmp("etc") + "/mb/hello.lua", f"server_args = {script}\n\tbind = 127.0.0.1"),
        ):
            mbtest.equal(config.count(old), 1, f"units/xinetd.sample.in has {old!r} once")
            config = config.replace(old, new)
        for name, value in settings.items():
            config = re.sub(rf"^\t{name}\s*=.*\n", "", config, flags=re.MULTILINE)
            config = config.replace("\n}", f"\n\t{name} = {value}\n}}")
        path = mbtest.write_file(mbtest.tmp("xinetd.conf"), config)
        log = self.xinetd_log = mbtest.tmp("xinetd.log")
        xinetd = mbtest.need(os.environ.get("MB_XINETD"), "xinetd")
        super().__init__([xinetd, "-dontfork", "-f", path, "-filelog", log, "-pidfile", log + ".pid"])


class Tcpserver(mbtest.Process):
    """tcpserver of ucspi-tcp. The connection stands on 0 and 1; stderr is the log."""

    def __init__(self, port, *args):
        super().__init__(
            [mbtest.need("tcpserver"), "-H", "-R", "-l", "0", "-c", "100", "127.0.0.1", str(port), mbtest.HANDLE, *args]
        )


class SocketActivate(mbtest.Process):
    """systemd-socket-activate --accept. It sets LISTEN_FDS, or puts the connection on 0 and 1 with inetd=True."""

    def __init__(self, where, *args, inetd=False):
        address = where if isinstance(where, str) else f"{where[0]}:{where[1]}"
        mode = ["--inetd"] if inetd else []
        super().__init__(
            [mbtest.need("systemd-socket-activate"), "--accept", *mode, "-l", address, mbtest.HANDLE, *args]
        )
