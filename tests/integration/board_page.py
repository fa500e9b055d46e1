#!/usr/bin/python3
"""The page of docs/examples/board.lua in headless Chromium, on a phone and a desk, light and dark.

MB_SCREENSHOT: a directory which gets pictures of the page, to be looked at."""

import contextlib
import os
import signal
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbboard import BOB, PNG, Board, Guest
from mbbrowser import Browser
from mbtest import check, equal, test, until

PHONE, DESK = (375, 812), (1280, 800)
LONG = "https://a.example/" + "without_any_place_to_break" * 6


class Page(Browser):
    """Chromium with the board open in two windows."""

    def __init__(self):
        super().__init__()
        self.windows = [self.call("GET", "/window"), self.call("POST", "/window/new", {"type": "window"})["handle"]]
        for number in (1, 0):
            self.look(number)
            self.size(DESK)
            self.open(board.base + "/")
            self.shows("#state", "Live")

    def look(self, number):
        """Turns to the window of this number."""
        self.call("POST", "/window", {"handle": self.windows[number]})

    def size(self, size):
        phone = size == PHONE
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1 + phone, "mobile": phone}
        self.command("Emulation.setDeviceMetricsOverride", **metrics)

    def scheme(self, name):
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def texts(self):
        return self.run("return Array.from(document.querySelectorAll('.text'), (text) => text.textContent)")

    def has(self, *want):
        until(lambda: self.texts() == list(want), f"{want} on the page: {self.texts()}")

    def shown(self, name):
        """Leaves a picture of the page for who wants to look at it. Checks that nothing is wider than the page."""
        if os.environ.get("MB_SCREENSHOT"):
            self.screenshot(os.path.join(os.environ["MB_SCREENSHOT"], name + ".png"))
        wide = """return Array.from(document.querySelectorAll("html, .card, .card :not(.unseen, #chosen-name)"))
          .filter((e) => e.clientWidth && e.scrollWidth > e.clientWidth).map((e) => e.outerHTML)"""
        equal(self.run(wide), [], f"wider than it should be: {name}")


def path_of(name, data):
    """Makes a file to be uploaded. Returns its path."""
    path = mbtest.tmp("uploads", name)
    with open(path, "wb") as f:
        f.write(data)
    return path


COLOURS = ["page", "card", "text", "soft", "accent", "on-accent", "tint", "alarm"]
# Which of them is that of a text, and which that of what is behind it.
TEXTS = [
    ("text", "page"), ("text", "card"), ("soft", "page"), ("soft", "card"), ("accent", "card"), ("accent", "tint"),
    ("on-accent", "accent"), ("alarm", "card"),
]


def luminance(colour):
    """Of "#rgb", "#rrggbb" or "rgb(R, G, B)" (WCAG 2.2)."""
    digits = colour.strip("# ")
    if digits.startswith("rgb("):
        parts = [int(part) / 255 for part in digits[4:-1].split(",")]
    else:
        digits = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


board = Board("board")
page = Page()


@test("a note of one window appears in the other, as text, without a reload; the empty board says that it is empty")
def _():
    check(page.text("#empty").startswith("Nothing is on the board"), page.text("#empty"))
    page.type("#name", "Ann")
    page.type("#text", "<b>Hello</b>")
    page.click("#post")
    page.has("<b>Hello</b>")
    state = page.run("return [text.value, empty.hidden, document.querySelector('.remove').hidden]")
    equal(state, ["", True, False], "the text field, the words for an empty board, and the button that removes, are empty or hidden")
    page.look(1)
    page.has("<b>Hello</b>")
    equal(page.run("return document.querySelectorAll('.text b').length"), 0, "elements")
    with Guest(board, BOB) as bob:
        bob.note(LONG, "Bob", BOB)
        page.has(LONG, "<b>Hello</b>")
        equal(page.run("return news.textContent"), "Bob: " + LONG, "what a screen reader is told")
        check(page.run("return document.querySelector('.remove').hidden"), "nobody else removes it")


@test("Ctrl+Enter posts; a note is removed by a second click, in both windows")
def _():
    page.look(0)
    page.type("#text", "by keys\ue009\ue007")  # Control, Enter
    page.has("by keys", LONG, "<b>Hello</b>")
    for want in ("Remove it?", ""):
        page.click(".note:first-child .remove")
        check(not want or page.text(".note:first-child .remove") == want, "it asks")
    for number in (0, 1):
        page.look(number)
        page.has(LONG, "<b>Hello</b>")


@test("what is no picture, or too large, is said before anything is sent")
def _():
    page.look(0)
    for name, data, want in (
        ("text.png", b"hello", "This file is no PNG"),
        ("large.png", PNG + b"x" * (5 << 20), "This file is too large"),
    ):
        page.type("#file", path_of(name, data))
        until(lambda: page.run("return problem.textContent").startswith(want), f"{want}: {page.run('return problem.textContent')}")
        check(page.run("return chosen.hidden"), "no picture is chosen")
        page.shown(f"refused-{name}")
    page.run("form.requestSubmit()")  # an empty note: the server says so
    page.shows("#problem", "There is nothing in this note.")
    for name, where in (("   ", "name"), ("Ann", "body")):  # a name of blanks is asked for again
        page.run("document.activeElement.blur(); document.getElementById('name').value = arguments[0]; form.requestSubmit()", name)
        equal(page.run("return document.activeElement.id || 'body'"), where, f"the focus with the name {name!r}")


@test("an upload shows how far it is, and can be stopped; the picture appears in both windows")
def _():
    page.look(0)
    page.size(PHONE)
    name = "a picture whose name is longer than any telephone is wide.png"
    watch = """window.seen = []; new MutationObserver(() => seen.push(progress.hidden ? -1 : progress.value))
      .observe(progress, {attributes: true})"""
    page.run(watch)
    for stop, rate in ((True, 1 << 16), (False, 1 << 20)):  # bytes a second
        line = {"offline": False, "latency": 0, "download_throughput": 1 << 22, "upload_throughput": rate}
        page.call("POST", "/chromium/network_conditions", {"network_conditions": line})
        page.type("#file", path_of(name, PNG + os.urandom(1 << 19)))
        page.shows("#chosen-name", name)
        page.run("text.value = 'A view'; seen.length = 0; form.requestSubmit()")
        until(lambda: page.run("return seen.some((value) => value > 0 && value < 1)"), "the bar moves")
        if stop:
            page.shown("upload")
            page.click("#drop")
            page.shows("#problem", "The upload was stopped.")
            equal(page.run("return text.value"), "A view", "the text stays")
    page.has("A view", LONG, "<b>Hello</b>")
    seen = page.run("return seen")
    equal(seen, sorted(seen[:-1]) + [-1], "the bar grows, and goes")
    page.call("DELETE", "/chromium/network_conditions")
    page.look(1)
    page.has("A view", LONG, "<b>Hello</b>")
    until(lambda: page.run("return document.querySelector('.picture img').naturalWidth") == 160, "the picture is shown")


@test("when its process is gone it connects again, tells so, and shows what came meanwhile; a reload keeps all")
def _():
    page.look(0)
    page.run(
        "window.states = []; new MutationObserver(() => states.push(state.textContent)).observe(state, {childList: true})"
    )
    for pid in board.workers():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with Guest(board, BOB) as bob:
        bob.note("meanwhile", "Bob", BOB)
    page.has("meanwhile", "A view", LONG, "<b>Hello</b>")
    page.shows("#state", "Live")
    equal([state for state in page.run("return states") if state != "Connecting again"], ["Connecting", "Live"], "states")
    page.call("POST", "/refresh")
    page.has("meanwhile", "A view", LONG, "<b>Hello</b>")
    equal(page.run("return document.getElementById('name').value"), "Ann", "the name is remembered")


@test("it fits a phone and a desk, light and dark; its colours differ, and have the contrast that WCAG AA wants")
def _():
    page.look(0)
    papers = []
    for scheme in ("light", "dark"):
        page.scheme(scheme)
        for name, size in (("phone", PHONE), ("desk", DESK)):
            page.size(size)
            until(lambda: page.run("return document.querySelector('.picture img').complete"), "the picture")
            page.shown(f"{name}-{scheme}")
            columns = page.run("return new Set(Array.from(document.querySelectorAll('.card'), (e) => e.offsetLeft)).size")
            equal(columns, 1 if size == PHONE else 3, "columns")
        style = "const style = getComputedStyle(document.documentElement); return "
        papers.append(page.run(style + "style.backgroundColor"))
        colour = page.run(style + "Object.fromEntries(arguments[0].map((x) => [x, style.getPropertyValue('--' + x)]))", COLOURS)
        for over, under in TEXTS:
            ratio = contrast(colour[over], colour[under])
            check(ratio >= 4.5, f"{scheme}: {over} on {under}: {ratio:.2f}")
    check(luminance(papers[0]) > 0.8 and luminance(papers[1]) < 0.05, f"the paper: {papers}")


@test("nothing in the console of the browser; nothing in the log of the server but the processes that were killed")
def _():
    equal(page.console(), [], "console")
    said = ("pool: listening on", "(Killed)", "http: 413: the request body is too large")
    equal([line for line in board.text().splitlines() if not any(each in line for each in said)], [], "log")


mbtest.main()
