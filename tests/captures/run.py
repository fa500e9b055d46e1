#!/usr/bin/python3
"""Replays every NAME.in through NAME.lua and compares what is written with NAME.out, byte for byte; NAME.status, where
there is one, is the exit status, 0 otherwise. A new case is three files. Input comes as a file, a pipe and a recording.
What is too large for a file of the source tree is made here, in INPUTS."""

import glob
import os
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import mbtest
from mbtest import HANDLE, check, equal, test

INPUTS = {"large": b"x" * 299999 + b"\n" + b"y" * 99997 + b"end" + b"".join(b"%07d\n" % n for n in range(1, 60001))}


def read_bytes(path):
    with open(path, "rb") as f:
        return f.read()


def replay(argv, stdin, what):
    done = subprocess.run([HANDLE, *argv], capture_output=True, timeout=mbtest.RUN_MAX, check=False, **stdin)
    return done.stdout, done.returncode, f"{what}; stderr: {done.stderr.decode(errors='backslashreplace')}"


def case(name):
    stem = os.path.join(HERE, name)
    script, capture = stem + ".lua", stem + ".in"
    if name in INPUTS:
        capture = mbtest.tmp(name + ".in")
        with open(capture, "wb") as f:
            f.write(INPUTS[name])
    want = read_bytes(stem + ".out")
    status = int(mbtest.read_file(stem + ".status") or 0)

    def compare(got, got_status, what):
        equal(got_status, status, f"exit status, {what}")
        equal(got, want, f"output, {what}")

    with open(capture, "rb") as f:
        compare(*replay([script], {"stdin": f}, "input from a file"))
    if mbtest.VALGRIND:  # where a start takes a second
        return
    data = read_bytes(capture)
    compare(*replay([script], {"input": data}, "input from a pipe"))
    record = mbtest.tmp(name + ".rec")
    compare(*replay(["--record", record, script], {"input": data}, "while recording"))
    check(data.startswith(read_bytes(record)), "the recording is what was read")
    with open(record, "rb") as f:
        compare(*replay([script], {"stdin": f}, "input from the recording"))


# With $MB_CAPTURES_STEP, as under valgrind, where a start takes a second, one of so many is replayed. $MB_TURN chooses.
STEP, TURN = (int(os.environ.get(name) or default) for name, default in (("MB_CAPTURES_STEP", 1), ("MB_TURN", 0)))
for path in sorted(glob.glob(os.path.join(HERE, "*.lua")))[TURN % STEP :: STEP]:
    case_name = os.path.basename(path)[: -len(".lua")]
    test(case_name)(lambda case_name=case_name: case(case_name))

mbtest.main()
