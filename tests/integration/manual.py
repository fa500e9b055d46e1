#!/usr/bin/python3
"""The manual pages' tables: what stands in a column fits in it, in each program that shows the pages."""

import glob
import os
import re
import shlex
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import SRCDIR, check, equal, test

PAGES = sorted(glob.glob(os.path.join(SRCDIR, "docs", "*.[378]")) + glob.glob(os.path.join(SRCDIR, "docs", "*.8.in")))


def tables(page):
    """Yields the widths of each list of columns, and its rows as lists of cells. Of the last cell, which may go on in more
    lines, it is the beginning."""
    rows = None
    for line in mbtest.read_file(page).splitlines():
        if line.startswith(".Bl -column"):
            widths, rows = [plain(w) for w in shlex.split(line)[2:]], []
        elif line == ".El" and rows is not None:
            yield widths, rows
            rows = None
        elif line.startswith(".It ") and rows is not None:
            rows.append(re.split(r" ?\bTa\b ?", line[4:]))


def plain(text):
    """The text of a cell or a width as it is shown."""
    text = text.replace(r"\(dq", '"').replace(r"\-", "-")
    text = re.sub(r"Fn (\S+)", r"\1()", text)
    text = re.sub(r"\b(Fa|Li|Sy|No|Va) ", "", text)
    return re.sub(r"Qo (.*?) Qc", r'"\1"', text).replace(" , ", ", ").strip()


@test("each cell of a table fits in its column, and the last column, which goes to the margin, has no width")
def _():
    found = 0
    for page in PAGES:
        for widths, rows in tables(page):
            found += 1
            name = f"{os.path.basename(page)}, {rows[0]}"
            equal(len(widths), len(rows[0]) - 1, f"{name}: columns with a width")
            for row in rows:
                equal(len(row), len(rows[0]), f"{name}: cells of {row}")
                for width, cell in zip(widths, row):
                    check(len(plain(cell)) <= len(width), f"{name}: {plain(cell)!r} is wider than {width!r}")
                    # groff closes such a quotation at the end of the row.
                    check(not re.search(r"\b(Dq|Pq|Ql|Qq|Sq)\b", cell), f"{name}: {cell!r}")
    check(found > 8, f"{found} tables")


mbtest.main()
