"""What the benchmarks of servers share: the generator httpcrowd, what it has measured, and the modules of the tests.
To be imported before mbtest."""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
# Before mbtest reads them: what is missing is no success; and the default of benchlib.
os.environ["CI"] = "true"
os.environ.setdefault("MB_HANDLE", os.path.join(HERE, "..", "..", "build", "mb-handle"))
import benchlib
import mbtest

CLIENTS = 8
SECONDS = 2.0  # of one measurement
SECONDS_MAX = 180  # until the generator has ended


class Load:
    """What httpcrowd has measured."""

    def __init__(self, numbers):
        (self.answered, self.failed, self.repeated, self.seconds, self.median, self.p99, self.max,
         self.cpu) = map(float, numbers)
        self.speed = self.answered / self.seconds


def compile_generator():
    benchlib.compile_helper(mbtest.TMP, "httpcrowd")


def begin_load(kind, server, clients=CLIENTS, seconds=SECONDS, rate=0):
    argv = [mbtest.tmp("httpcrowd"), kind, str(server.port), str(clients), str(round(seconds * 1000))]
    return subprocess.Popen([*argv, str(rate)], stdout=subprocess.PIPE)


def end_load(process):
    out, _ = process.communicate(timeout=SECONDS_MAX)
    if process.returncode != 0:
        raise RuntimeError(f"httpcrowd ended with status {process.returncode}")
    return Load(out.split())


def load(kind, server, **options):
    result = end_load(begin_load(kind, server, **options))
    if result.failed or not result.answered:
        raise RuntimeError(f"{result.failed:.0f} requests failed, {result.answered:.0f} were answered")
    return result
