"""What the tests of memory that runs out share: the shim failalloc.c, whose head says how it is told what to do.
$MB_FAILALLOC is its shared object."""

import itertools
import os

import mbshim
import mbtest
from mbshim import HIT, LOG, note, report  # for those who sweep

__all__ = ["HIT", "LOG", "POINTS_MAX", "environment", "note", "points", "report"]

POINTS_MAX = 20000  # a sweep that is longer hangs in a loop of its own
SHIM = mbshim.shim("oom/failalloc.c", "MB_FAILALLOC")


def environment(mode, finalizers=True):
    """The variables of a sweep in this mode. finalizers: whether they are all called, and what they free is freed."""
    return mbshim.preloaded(SHIM, "" if finalizers else "detect_leaks=0", FAILALLOC_MODE=mode, FAILALLOC_HIT=HIT)


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
