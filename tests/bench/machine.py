"""The machine on which tests/bench/run measures, as the head of its page tells it. Must never tell the names of hosts,
people and directories."""

import os
import platform
import subprocess
import tempfile
import time

import benchlib

CPUID_TRAPPED = 1000  # ns: on hardware it takes some 100 at most


def output(*argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return done.stdout.decode().strip()


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        fields = [line.partition(":") for line in f]
    names = [value.strip() for key, _, value in fields if key.strip() in ("model name", "Model", "Hardware")]
    return names[0] if names else platform.machine()


def memory():
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"


def virtualization():
    """Of the machine, and of the container in it."""
    kinds = [output("systemd-detect-virt", option) for option in ("--vm", "--container")]
    return ", ".join(kind for kind in kinds if kind not in ("", "none")) or "none that is seen"


def distribution():
    fields = platform.freedesktop_os_release()
    version = fields.get("VERSION_ID", "")
    if fields["ID"] == "debian":
        with open("/etc/debian_version", encoding="ascii") as f:
            version = f.read().strip()
    return f"{fields['NAME']} {version}"


def version_of(package):
    """The installed version of a Debian package; "" when it is not installed."""
    status, _, version = output("dpkg-query", "-W", "-f=${db:Status-Status} ${Version}", package).partition(" ")
    return version if status == "installed" else ""


def missing(packages):
    return [package for package in packages if not version_of(package)]


def facts(packages):
    """[(what, value)] for the head of the page."""
    count = len(os.sched_getaffinity(0))
    return [
        ("date", time.strftime("%Y-%m-%d", time.gmtime())),
        ("processors", f"{count}: {processor()}"),
        ("memory", memory()),
        ("virtualization", virtualization()),
        ("kernel", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("system", distribution()),
        ("C library", os.confstr("CS_GNU_LIBC_VERSION")),
        ("load before", f"{os.getloadavg()[0]:.2f}"),
        ("mb-handle", output(benchlib.HANDLE, "--version").splitlines()[0].removeprefix("mb-handle ")),
        *((package, version_of(package)) for package in packages),
    ]


def cpuid_ns():
    """How long one CPUID takes, in ns; None on processors that have none."""
    if platform.machine() not in ("x86_64", "i686", "i386"):
        return None
    with tempfile.TemporaryDirectory(prefix="mb-bench-") as tmp:
        return int(output(benchlib.compile_helper(tmp, "cpuid")))


def about_starts():
    """What CPUID means for the rows of starts: a paragraph, or an empty text."""
    ns = cpuid_ns()
    if ns is None:
        return ""
    begin = f"One CPUID instruction takes {ns / 1000:.2g} us on this machine."
    if ns < CPUID_TRAPPED:
        return f"{begin} No hypervisor traps it, so the ratios of starts are those of the programs."
    return (
        f"{begin} A hypervisor traps it. The C library executes some 70 of them at the start of every program, also of"
        f" the one that does nothing: that is some {ns * 70 / 1e6:.1f} ms of each start. So all starts look more"
        " alike here than on a machine without a hypervisor, where CPUID takes some 0.1 us or less."
    )
