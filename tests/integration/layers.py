#!/usr/bin/python3
"""tests/layers: the source's includes go down its rooms, and a wrong one is found."""

import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import SRCDIR, equal, test

LAYERS = "# rank, room\n0 low\n1 api/one\n1 api/two\n2 top\n"


def layers(directory):
    """Returns the status and what it prints."""
    script = os.path.join(SRCDIR, "tests", "layers")
    ran = subprocess.run(["sh", script, directory], capture_output=True, text=True, timeout=mbtest.RUN_MAX)
    return ran.returncode, ran.stdout


def new_root():
    return tempfile.mkdtemp(dir=os.path.dirname(mbtest.tmp("x")))


def tree(*files):
    """A source tree of (path, included path) beside files of which nothing can be wrong."""
    root = new_root()
    for path, included in (("low/a.h", "low/b.h"), ("top/main.c", "api/one/x.h"), *files):
        name = os.path.join(root, path)
        os.makedirs(os.path.dirname(name), exist_ok=True)
        line = included if "#" in included else f'#include "{included}"'
        mbtest.write_file(name, f"#include <stdio.h>\n{line}\n")
    mbtest.write_file(os.path.join(root, "LAYERS"), LAYERS)
    return root


@test("the includes of src/ go down the rooms")
def _():
    equal(layers(os.path.join(SRCDIR, "src")), (0, ""), "status and findings")


@test("an include goes to its own room and to rooms below")
def _():
    equal(layers(tree(("api/one/x.c", "api/one/x.h"), ("api/two/y.c", "low/a.h"))), (0, ""), "status and findings")


@test("an include of a higher room, of a sibling or of no room is found, with its place")
def _():
    for included, why in (
        ("top/main.h", "api/one (rank 1) must not include top (rank 2)"),
        ("api/two/y.h", "api/one (rank 1) must not include api/two (rank 1)"),
        ("attic/z.h", "LAYERS has no room attic"),
        ("x.h", "LAYERS has no room (none)"),
    ):
        equal(layers(tree(("api/one/x.c", included))), (1, f'api/one/x.c:2: #include "{included}": {why}\n'), included)
    for line in ('  #\tinclude "top/main.c"', "#include <top/main.c>"):
        status, said = layers(tree(("low/z.c", line)))
        equal((status, said), (1, 'low/z.c:2: #include "top/main.c": low (rank 0) must not include top (rank 2)\n'), line)


@test("a file in a room without a line is found, with includes or without")
def _():
    for line in ("low/a.h", "#define X"):
        equal(layers(tree(("attic/z.c", line))), (1, "attic/z.c: LAYERS has no room attic\n"), line)


@test("where there is nothing to check, that is said")
def _():
    root = new_root()
    mbtest.write_file(os.path.join(root, "LAYERS"), LAYERS)
    os.mkdir(os.path.join(root, "low"))
    mbtest.write_file(os.path.join(root, "low", "x.c"), "int x;\n")
    equal(layers(root), (1, "no #include was found\n"), "status and findings")


mbtest.main()
