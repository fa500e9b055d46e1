"""Shared objects that are preloaded into mb-handle, where they stand between it and libc; and what the tests that try a
fault at every point have in common."""

import itertools
import os

import mbtest
from mbtest import Failed, check, need, output_of, plain, tmp

LOG = tmp("log-of-run")
HIT = tmp("hit")  # the shim makes this file when the point was reached
FAULTS_MAX = 10  # that are shown


def compiled(source, *libraries):
    """The shared object of a C file."""
    path = tmp(os.path.basename(source).replace(".c", ".so"))
    said = output_of(need("cc", "gcc", "clang"), "-O2", "-shared", "-fPIC", "-o", path, source, "-ldl", *libraries)
    check(os.path.exists(path), f"{source} is compiled: {said}")
    return plain(path)  # $LD_PRELOAD splits at spaces


def shim(source, variable, *libraries):
    """The one that this environment variable names; compiled from its source in tests/ when it does not, by hand."""
    path = os.environ.get(variable)
    if not path:
        return compiled(os.path.join(mbtest.SRCDIR, "tests", source), *libraries)
    if not os.path.exists(path):
        mbtest.bail(f"{os.path.basename(path)} is not built ({variable})")
    return plain(path)


def preloaded(path, asan="", **variables):
    """The variables of a process with this shim; asan: more options for AddressSanitizer."""
    options = ":".join(o for o in (os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0", asan) if o)
    return {"LD_PRELOAD": path, "ASAN_OPTIONS": options} | {name: str(value) for name, value in variables.items()}


def note(faults, where, fault):
    """Adds a fault, if it is one, to the list of them."""
    if fault:
        faults.append(f"{where}: {fault}; log: {mbtest.short(mbtest.read_file(LOG))}")


def report(faults):
    """Fails with the first faults of a list, if there are any."""
    if faults:
        more = [f"and {len(faults) - FAULTS_MAX} more"] if len(faults) > FAULTS_MAX else []
        raise Failed("\n".join(faults[:FAULTS_MAX] + more))


# A sweep tries each point. With $MB_SWEEP_STEP, which .ci/run sets, it tries one of so many: $MB_TURN, a number that
# changes from commit to commit, chooses which. Each sweep of a file begins one point further than the one before, so
# that a run does not leave out the same points everywhere.
STEP = int(os.environ.get("MB_SWEEP_STEP") or 1)
TURN = int(os.environ.get("MB_TURN") or 0)
_sweeps = itertools.count()


def points(first, distance=1):
    """The points of a sweep, without an end: numbers from first on that are so far apart, or each STEP-th of them."""
    begin = (TURN + next(_sweeps)) % STEP
    if STEP > 1:
        mbtest.diagnose(f"one point of {STEP}, from number {begin} on, which turn {TURN} has chosen")
    return itertools.count(first + begin * distance, STEP * distance)
