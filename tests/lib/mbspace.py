"""A private mount and process namespace. It has its own /run and /dev, in which a real journal and a real syslog run
beside those of the machine, which it never touches. When its first process ends, all its other processes end too."""

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys

import mbtest

MARK = "MB_TEST_PRIVATE"
NODES = ("null", "zero", "full", "random", "urandom", "tty")
JOURNALD_CONF = """[Journal]
Storage=volatile
RuntimeMaxUse=64M
RateLimitBurst=0
ReadKMsg=no
# Neither on nor off: that switch is the machine's.
Audit=
"""


def enter(cgroup=False):
    """Starts the test file again in the namespace; with cgroup also in a control group of its own. Returns only in that
    second run. Needs root, as do the servers that change to the user they serve as."""
    if os.environ.get(MARK):
        _furnish()
        return
    if os.geteuid() != 0:
        mbtest.bail("only root has a private mount namespace in which servers can change their user")
    unshare = [mbtest.need("unshare"), "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*unshare, "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        mbtest.bail("no private mount namespace here (unshare --mount)")
    env = {**os.environ, MARK: "1", "MB_TEST_TMP": mbtest.TMP}
    groups = _make_groups() if cgroup else []

    def prepare():
        mbtest.die_with_parent()
        for group in groups:
            mbtest.write_file(f"{group}/cgroup.procs", "0")

    again = subprocess.run([*unshare, sys.executable, *sys.argv], env=env, preexec_fn=prepare, check=False)
    sys.exit(again.returncode)


def own_groups():
    """Returns the directories of our control group, in all hierarchies that a service manager uses; cgroup2 first."""
    found = []
    for line in mbtest.read_file("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        roots = {"": ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"), "name=systemd": ("/sys/fs/cgroup/systemd",)}
        for root in roots.get(controllers, ()):
            if os.path.exists(f"{root}/cgroup.procs"):
                found.insert(0 if not controllers else len(found), root + path.rstrip("/"))
    return found


def _make_groups():
    """Makes control groups below our own. Removes them at the end."""
    groups = []
    for own in own_groups():
        group = f"{own}/{os.path.basename(mbtest.TMP)}"
        os.mkdir(group)
        groups.append(group)
        mbtest.cleanup.callback(_remove_group, group)
    return groups


def _remove_group(group):
    for directory, _, _ in os.walk(group, topdown=False):
        try:
            # The processes are killed with the namespace, but it may take a moment until they are gone.
            mbtest.until(lambda d=directory: not mbtest.read_file(f"{d}/cgroup.procs"), "the group is empty")
            os.rmdir(directory)
        except (OSError, mbtest.Failed) as error:
            mbtest.diagnose(f"left behind: {directory}: {error}")


def _mount(*args):
    subprocess.run(["mount", *args], check=True)


def _furnish():
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    os.makedirs("/run/systemd/system")
    os.makedirs("/run/log/journal")
    os.makedirs("/run/lock")
    os.makedirs("/run/systemd/journald.conf.d")
    # The system's manager makes these before it starts the manager of a user.
    os.mkdir("/run/systemd/unit-root", 0o555)
    _inaccessible("/run/systemd/inaccessible")
    mbtest.write_file("/run/systemd/journald.conf.d/mb-test.conf", JOURNALD_CONF)

    # This is a /dev in which /dev/log can be made and removed.
    os.mkdir("/run/dev")
    for node in NODES:
        if os.path.exists(f"/dev/{node}"):
            mbtest.write_file(f"/run/dev/{node}", "")
            _mount("--bind", f"/dev/{node}", f"/run/dev/{node}")
    for directory in ("shm", "pts"):
        os.mkdir(f"/run/dev/{directory}")
        _mount("--rbind", f"/dev/{directory}", f"/run/dev/{directory}")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"/run/dev/{name}")
    os.symlink("/proc/self/fd", "/run/dev/fd")
    os.symlink("pts/ptmx", "/run/dev/ptmx")
    _mount("--rbind", "/run/dev", "/dev")


def _inaccessible(directory):
    """Makes the files that are mounted over others that a service may not see: one of each kind, with mode 0."""
    os.mkdir(directory)
    for name, kind in (("reg", stat.S_IFREG), ("fifo", stat.S_IFIFO), ("sock", stat.S_IFSOCK)):
        os.mknod(f"{directory}/{name}", kind)
    os.mkdir(f"{directory}/dir", 0)
    for name, kind in (("chr", stat.S_IFCHR), ("blk", stat.S_IFBLK)):
        with contextlib.suppress(PermissionError):  # in a container; systemd does without it, too
            os.mknod(f"{directory}/{name}", kind, os.makedev(0, 0))


def _dev_log(there):
    """Makes /dev/log a symbolic link to the journal's socket, as systemd-tmpfiles does."""
    if os.path.lexists("/dev/log"):
        os.unlink("/dev/log")
    if there:
        os.symlink("/run/systemd/journal/dev-log", "/dev/log")


class Journal(mbtest.Process):
    """A real systemd-journald; with dev_log it serves /dev/log too, as on any machine with systemd."""

    def __init__(self, dev_log=True):
        # In a container the machine may have no id yet; the journal's directory is named after it.
        if not mbtest.read_file("/etc/machine-id").strip():
            mbtest.bail("no /etc/machine-id, which systemd-journald needs")
        # With sockets that an earlier journal has left, this one would seem to listen already.
        shutil.rmtree("/run/systemd/journal", ignore_errors=True)
        super().__init__([mbtest.need("systemd-journald")])
        _dev_log(dev_log)
        # Of its sockets (stdout, dev-log, socket) it opens this one last.
        mbtest.until(lambda: os.path.exists("/run/systemd/journal/socket"), "systemd-journald listens")

    def entries(self):
        """Returns all entries as dictionaries, the oldest first."""
        out = subprocess.run(
            [mbtest.need("journalctl"), "--directory=/run/log/journal", "--output=json", "--all", "--quiet"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        ).stdout
        return [json.loads(line) for line in out.splitlines()]

    def find(self, part):
        """Waits for an entry with this text in its message. Returns the first one."""
        return mbtest.until(
            lambda: next((e for e in self.entries() if part in str(e.get("MESSAGE"))), None), f"{part!r} in the journal"
        )

    def priorities(self, part):
        """Returns the priorities of all entries with this text in their messages, sorted."""
        return sorted(entry["PRIORITY"] for entry in self.entries() if part in str(entry.get("MESSAGE")))

    def stop(self, *args):
        super().stop(*args)
        _dev_log(False)


class Syslog(mbtest.Process):
    """A real syslog daemon (busybox's) on /dev/log, with no journal beside it."""

    def __init__(self):
        _dev_log(False)
        self.file = mbtest.tmp("syslog")
        busybox = mbtest.need(os.environ.get("MB_BUSYBOX"), "busybox")
        super().__init__([busybox, "syslogd", "-n", "-O", self.file], "syslogd")
        mbtest.until(lambda: os.path.exists("/dev/log"), "syslogd listens")

    def find(self, part):
        """Waits for a line with this text. Returns the first one."""
        return mbtest.until(
            lambda: next((line for line in mbtest.read_file(self.file).splitlines() if part in line), None),
            f"{part!r} in the syslog",
        )

    def stop(self, *args):
        super().stop(*args)
        _dev_log(False)
