"""What the tests of memory that runs out share: the shim failalloc.c, whose head says how it is told what to do.
$MB_FAILALLOC is its shared object, and $MB_HANDLE_MALLOC a program that gets each block from malloc."""

import os

import mbshim
import mbtest
from mbshim import HIT, LOG, note, points, report  # for those who sweep

__all__ = ["HANDLE", "HIT", "LOG", "POINTS_MAX", "environment", "note", "points", "report"]

HANDLE = mbtest.plain(os.environ.get("MB_HANDLE_MALLOC") or mbtest.bail("$MB_HANDLE_MALLOC is not set"))
POINTS_MAX = 20000  # a sweep that is longer hangs in a loop of its own
SHIM = mbshim.shim("oom/failalloc.c", "MB_FAILALLOC")


def environment(mode, finalizers=True):
    """The variables of a sweep in this mode. finalizers: whether they are all called, and what they free is freed."""
    return mbshim.preloaded(SHIM, "" if finalizers else "detect_leaks=0", FAILALLOC_MODE=mode, FAILALLOC_HIT=HIT)
