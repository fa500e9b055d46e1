"""What the tests of memory that runs out share: the shim failalloc.c, whose head says how it is told what to do.
$MB_FAILALLOC is its shared object."""

import mbshim
from mbshim import HIT, LOG, note, points, report  # for those who sweep

__all__ = ["HIT", "LOG", "POINTS_MAX", "environment", "note", "points", "report"]

POINTS_MAX = 20000  # a sweep that is longer hangs in a loop of its own
SHIM = mbshim.shim("oom/failalloc.c", "MB_FAILALLOC")


def environment(mode, finalizers=True):
    """The variables of a sweep in this mode. finalizers: whether they are all called, and what they free is freed."""
    return mbshim.preloaded(SHIM, "" if finalizers else "detect_leaks=0", FAILALLOC_MODE=mode, FAILALLOC_HIT=HIT)
