#!/usr/bin/python3
"""tests/bench/run: its page and its drawing say what was measured; a program that answers wrongly is an error. The
figures themselves are not looked at: the machine is busy with other tests. tests/bench/web: the same for its report."""

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import check, equal, test

for tool in ("tcpserver", "lua5.3", "gnuplot", "cc", "nginx"):
    mbtest.need(tool)
BENCH = os.path.join(mbtest.SRCDIR, "tests", "bench")
LINE = re.compile(r" {4}(\S.*?) +([\d.,]+) +([\d.,]+) {3}([\d.,]+) to ([\d.,]+)")


def run(*args, script="run", **env):
    """One round of each program."""
    # A directory of its own, as it makes and removes one.
    env = {name: value for name, value in os.environ.items() if name != "MB_TEST_TMP"} | {"MB_ROUNDS": "1"} | env
    return subprocess.run([sys.executable, os.path.join(BENCH, script), *args], env=env, capture_output=True, text=True, timeout=mbtest.RUN_MAX)


def number(text):
    return float(text.replace(",", ""))


@test("a row is measured, printed, written and drawn, with ratios to its best")
def _():
    directory = os.path.dirname(mbtest.tmp("written", "x"))
    done = run("--quick", "--output", directory, "tcpserver-1", MB_HANDLE=mbtest.HANDLE)
    equal(done.returncode, 0, f"status; it said {done.stderr}")
    page = mbtest.read_file(f"{directory}/benchmarks.txt")
    equal(done.stdout, page, "what is printed")
    table, _, figures = page.partition("All figures\n")
    rows = [line for line in table.splitlines() if line.startswith("tcpserver, one by one")]
    equal(len(rows), 1, f"rows of the table in {table}")
    found = {m[1]: [number(text) for text in m.groups()[1:]] for m in map(LINE.fullmatch, figures.splitlines()) if m}
    equal(found.keys() - {"mb-handle-static"}, {"mb-handle", "C", "shell", "lua5.3"}, "programs")
    equal(sorted(map(float, rows[0].split()[4:])), sorted(f[1] for f in found.values()), "ratios of the table")
    best = max(speed for speed, *_ in found.values())
    for name, (speed, ratio, low, high) in found.items():
        check(abs(ratio - best / speed) < 0.02 * ratio and low == ratio == high, f"{name}: {found}")
    for private in (mbtest.SRCDIR, mbtest.TMP, directory):
        check(private not in page, f"{private} in {page}")
    svg = mbtest.read_file(f"{directory}/benchmarks.svg")
    words = [e.text for e in xml.etree.ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}tspan")]
    for word in ("tcpserver, one by one", "1", *found):
        check(word in words, f"{word!r} is drawn: {words}")


@test("a program that answers wrongly is named, and the status is 1")
def _():
    # It writes the script in place of what the script would answer.
    wrong = shutil.copy(mbtest.need("cat"), mbtest.tmp("wrong", "mb-handle"))
    done = run("--quick", "tcpserver-1", MB_HANDLE=wrong)
    check(done.returncode == 1 and not done.stdout, f"status {done.returncode}, {done.stdout}")
    last = done.stderr.splitlines()[-1]
    check(re.fullmatch(r"bench: tcpserver-1: mb-handle: \d+ requests failed, 0 were answered", last), done.stderr)


@test("a row that is not there is an error that lists those that are")
def _():
    done = run("tcpserver")
    check(done.returncode == 2 and "no row tcpserver: there are start, inetd-1," in done.stderr, done.stderr)


@test("bench/web: each figure has its bar beside it, and says whether that is met")
def _():
    done = run("--quick", "start", "small_file", "large_messages", script="web", MB_HANDLE=mbtest.HANDLE)
    equal(done.returncode, 0, f"status; it said {done.stderr}")
    found = {"most": 0, "least": 0}
    for line in done.stdout.splitlines():
        verdict = re.search(r"^(NOT )?met: .* at (most|least) ([\d.]+) .*: ([\d.]+)$", line)
        if verdict:
            is_met, kind, bar, ratio = not verdict[1], verdict[2], float(verdict[3]), float(verdict[4])
            found[kind] += 1
            check(bar == ratio or is_met == (ratio < bar if kind == "most" else ratio > bar), line)
    check(found["most"] in (1, 2) and found["least"] == 5, f"{found} in {done.stdout}")


@test("bench/web: an answer that is wrong, and a figure that is not there, are errors")
def _():
    wrong = shutil.copy(mbtest.need("cat"), mbtest.tmp("wrong-web", "mb-handle"))
    done = run("--quick", "start", script="web", MB_HANDLE=wrong)
    check(done.returncode == 1 and "wrong answer" in done.stderr, f"status {done.returncode}, {done.stderr}")
    done = run("starts", script="web", MB_HANDLE=mbtest.HANDLE)
    check(done.returncode == 2 and "no figure starts: there are start, small_file," in done.stderr, done.stderr)


mbtest.main()
