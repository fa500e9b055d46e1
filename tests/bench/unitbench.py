"""What tests/bench/sandbox and tests/bench/sandbox-process share: units that harden mb-handle under a real user
manager, measured by turns. To be imported before mbtest; its user calls mbspace.enter(cgroup=True)."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
# Before mbtest reads it: the default of benchlib.
os.environ.setdefault("MB_HANDLE", os.path.join(HERE, "..", "..", "build", "mb-handle"))
import mbhosts
import mbsandbox
import mbtest


def drop_in_groups():
    """The drop-in's groups, {name: settings}: each begins with a comment "# --- NAME"."""
    groups = {}
    name = None
    path = os.path.join(mbtest.SRCDIR, "units", "mb@.service.d", "hardened.conf.sample")
    for line in mbtest.read_file(path).splitlines():
        if line.startswith("# --- "):
            name = line[6:].split(":")[0]
        elif "=" in line and not line.startswith("#"):
            groups[name] = groups.get(name, "") + line + "\n"
    return groups


def start_manager():
    """Copies the program and a script to where all units see them, and starts a manager whose units run that script.
    MB_USER=ACCOUNT: a manager of that account, which has no privileges."""
    script = mbsandbox.visible_program()
    manager = mbhosts.UserManager(user=os.environ.get("MB_USER"), SYSTEMD_LOG_TARGET="journal")
    manager.systemctl("set-environment", f"MB_SCRIPT={script}")
    return manager


def install(manager, units):
    for unit in units:
        unit.write(manager.units)
    manager.systemctl("daemon-reload")


def measure_by_turns(units, connections):
    """Each unit has as many connections; who comes first changes."""
    for number in range(connections):
        for unit in units if number % 2 else reversed(units):
            try:
                unit.measure()
            except mbsandbox.Unanswered as error:
                raise RuntimeError(f"{unit.name}: {error}") from None
