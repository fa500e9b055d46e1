"""What the tests of memory that runs out share: the shim failalloc.c, whose head says how it is told what to do, and how
faults are collected. $MB_FAILALLOC is its shared object."""

import itertools
import os

import mbtest
from mbtest import Failed

POINTS_MAX = 20000  # a sweep that is longer hangs in a loop of its own
FAULTS_MAX = 10  # that are shown
HIT = mbtest.tmp("hit")
LOG = mbtest.tmp("log-of-run")


def shim():
    """The shim's path; compiled when none is given, for a run by hand."""
    path = os.environ.get("MB_FAILALLOC")
    if not path:
        path = mbtest.tmp("failalloc.so")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "failalloc.c")
        mbtest.output_of(mbtest.need("cc", "gcc", "clang"), "-O2", "-shared", "-fPIC", "-o", path, source, "-ldl")
    if not os.path.exists(path):
        mbtest.bail("failalloc.so is not built (MB_FAILALLOC)")
    return mbtest.plain(path)  # $LD_PRELOAD splits at spaces


SHIM = shim()


def environment(mode, finalizers=True):
    """The variables of a sweep in this mode. finalizers: whether they are all called, and what they free is freed."""
    env = {"LD_PRELOAD": SHIM, "FAILALLOC_MODE": mode, "FAILALLOC_HIT": HIT}
    asan_options = os.environ.get("ASAN_OPTIONS", "")
    env["ASAN_OPTIONS"] = f"{asan_options}:verify_asan_link_order=0".lstrip(":")
    if not finalizers:
        env["ASAN_OPTIONS"] += ":detect_leaks=0"
    return env


# A sweep tries each point, unless $MB_SWEEP_STEP says that it tries each so many-th only: .ci/run says so where a run
# takes long. $MB_SWEEP_TURN, a number that changes from run to run, chooses which; each sweep of a file begins one
# further than the one before, so that no run leaves out the same everywhere.
STEP = int(os.environ.get("MB_SWEEP_STEP") or 1)
TURN = int(os.environ.get("MB_SWEEP_TURN") or 0)
_sweeps = itertools.count()


def points(first, distance=1):
    """The points of a sweep, without an end: numbers from first on that are so far apart, or each STEP-th of them."""
    begin = (TURN + next(_sweeps)) % STEP
    if STEP > 1:
        mbtest.diagnose(f"one point of {STEP}, from number {begin} on, which turn {TURN} has chosen")
    return itertools.count(first + begin * distance, STEP * distance)


def note(faults, where, fault):
    if fault:
        faults.append(f"{where}: {fault}; log: {mbtest.short(mbtest.read_file(LOG))}")


def report(faults):
    if faults:
        more = [f"and {len(faults) - FAULTS_MAX} more"] if len(faults) > FAULTS_MAX else []
        raise Failed("\n".join(faults[:FAULTS_MAX] + more))
