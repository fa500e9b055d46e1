#!/usr/bin/python3
"""docs/examples/webapp.lua in a real browser: headless Chromium, told by chromedriver (W3C WebDriver) what to fill in and
click; the connections come by systemd-socket-activate --accept."""

import os
import struct
import sys
import zlib
from base64 import b64decode

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbtest
from mbbrowser import HEIGHT, WIDTH, Browser
from mbtest import check, equal, test, until

mbtest.need("systemd-socket-activate")

EXAMPLE = os.path.join(mbtest.SRCDIR, "docs", "examples", "webapp.lua")
# ---- PNG (RFC 2083), as far as screenshots need it ----


def paeth(a, b, c):
    distances = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    return (a, b, c)[distances.index(min(distances))]


def unfiltered(kind, row, above, step):
    """A row of bytes, from its differences (section 6)."""
    if kind == 2:
        return bytearray((x + b) & 255 for x, b in zip(row, above))
    row = bytearray(row)
    for i, x in enumerate(row) if kind else ():
        a, c = (row[i - step], above[i - step]) if i >= step else (0, 0)
        row[i] = (x + {1: a, 3: (a + above[i]) // 2, 4: paeth(a, above[i], c)}[kind]) & 255
    return row


def decode_png(data):
    """Width, height, and the set of colours, each as its bytes. Checks the form of the file on the way."""
    equal(data[:8], b"\x89PNG\r\n\x1a\n", "signature")
    at, pixels, header, kind = 8, b"", None, None
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + 8 + length]
        equal(struct.unpack_from(">I", data, at + 8 + length)[0], zlib.crc32(kind + content), f"checksum of {kind}")
        header = struct.unpack(">IIBBBBB", content) if kind == b"IHDR" else header
        pixels += content if kind == b"IDAT" else b""
        at += 12 + length
    width, height, depth, colour_type, *methods = header
    check(depth == 8 and colour_type in (2, 6) and methods == [0, 0, 0], f"8 bits, RGB or RGBA, not interlaced: {header}")
    step = 3 if colour_type == 2 else 4
    pixels = zlib.decompress(pixels)
    line = width * step
    equal(len(pixels), height * (line + 1), "bytes of pixels")
    colours, above = set(), bytearray(line)
    for start in range(0, len(pixels), line + 1):
        above = unfiltered(pixels[start], pixels[start + 1 : start + 1 + line], above, step)
        colours.update(bytes(above[i : i + step]) for i in range(0, line, step))
    return width, height, colours


# ---- the application in the browser ----

NAME = "<b>&\"' ünï"
# File names as bad as the file system and WebDriver (which takes a list of lines) permit, and what is in the files.
FILES = {
    "grüße \"quoted\" <b>&amp;'; name=x.txt": b"x" * 1000,
    "semi;colon=100%\\\"日本.bin": os.urandom(4 << 20),
    "empty.html": b"",
}

where = ("127.0.0.1", mbtest.free_port())
host = mbhosts.SocketActivate(where, EXAMPLE)
mbtest.wait_listening(where)
BASE = f"http://127.0.0.1:{where[1]}"
browser = Browser()


def visits():
    words = browser.text("#visits").split()
    equal(" ".join(words[:4] + words[5:]), "You have been here times.", "what is said of visits")
    return int(words[4])


@test("the page is shown, in standards mode, with its style and nothing refused")
def _():
    browser.open(BASE + "/")
    equal(browser.text("h1"), "Hello, world!", "heading")
    equal(browser.run("return document.compatMode"), "CSS1Compat", "mode")
    equal(browser.run("return document.contentType + ' ' + document.characterSet"), "text/html UTF-8", "type")
    equal(browser.run("return getComputedStyle(document.querySelector('h1')).color"), "rgb(34, 68, 102)", "colour of h1")


@test("what is filled in comes back as text, not as markup, in the heading and in the field")
def _():
    browser.open(BASE + "/")
    browser.type("#name", NAME)
    browser.click("#greet")
    browser.shows("h1", f"Hello, {NAME}!")
    equal(browser.run("return document.querySelectorAll('b').length"), 0, "elements that were put in")
    equal(browser.run("return document.getElementById('name').value"), NAME, "the field")
    equal(browser.run("return document.title"), f"Hello, {NAME}!", "title")


@test("what a browser does not escape in a query comes back, though RFC 3986 has it in no URI")
def _():
    name = "\\^`{|}[]100%"
    browser.open(BASE + f"/?name={name}")
    equal(browser.text("h1"), f"Hello, {name}!", "heading")


@test("the cookie counts, and is not for scripts nor for other sites")
def _():
    browser.open(BASE + "/")
    before = visits()
    for number in (1, 2):
        browser.call("POST", "/refresh")
        equal(visits(), before + number, f"visits after {number} reloads")
    equal(browser.run("return document.cookie"), "", "what a script sees")
    cookie = browser.call("GET", "/cookie/visits")
    got = {key: cookie.get(key) for key in ("value", "path", "httpOnly", "sameSite")}
    equal(got, {"value": str(before + 2), "path": "/", "httpOnly": True, "sameSite": "Lax"}, "the cookie")
    browser.call("DELETE", "/cookie")
    browser.open(BASE + "/")
    equal(visits(), 1, "visits without a cookie")


@test("files with bad names and an empty one are uploaded by a click; names, types and sizes come back")
def _():
    paths = []
    for name, data in FILES.items():
        paths.append(mbtest.tmp("files", name))
        with open(paths[-1], "wb") as f:
            f.write(data)
    browser.open(BASE + "/")
    browser.type("#files", "\n".join(paths))
    chosen = browser.run("return Array.from(document.getElementById('files').files, (file) => file.name)")
    equal(chosen, list(FILES), "the files that are chosen")
    browser.click("#upload")
    browser.shows("h1", f"{len(FILES)} files")
    rows = browser.run(
        "return Array.from(document.querySelectorAll('.file'), (row) => Array.from(row.cells, (cell) => cell.textContent))"
    )
    types = ("text/plain", "application/octet-stream", "text/html")
    want = [[name, media_type, str(len(data))] for (name, data), media_type in zip(FILES.items(), types)]
    equal(rows, want, "name, type and size of each")
    equal(browser.run("return document.querySelectorAll('b').length"), 0, "elements that were put in")


@test("an upload without a file is no file")
def _():
    browser.open(BASE + "/")
    browser.click("#upload")
    browser.shows("h1", "0 files")


@test("EventSource gets every event once, one at a time, asks again at the end, and is told that there are no more")
def _():
    browser.open(BASE + "/")
    browser.shows("#state", "No more events")
    equal(browser.text("#ticks"), "\n".join(f"tick {n} of 5" for n in range(1, 6)), "events")


@test("events come when they are sent, every 500 ms, and not all at the end")
def _():
    browser.open("about:blank")
    browser.open(BASE + "/style.css")  # of the same origin, without events of its own
    script = """
      return new Promise((done) => {
        const times = [], source = new EventSource("/events");
        source.onmessage = () => times.push(performance.now());
        source.onerror = () => { source.close(); done(times); };
      });
    """

    def measure():
        times = browser.run(script)
        equal(len(times), 5, "events")
        return (times[-1] - times[0]) / 1000 - 2

    mbtest.within(0.5, "from the first event to the last, but for 2 s", measure, early=0.5)


@test("an EventSource that goes on after an event gets those behind it")
def _():
    browser.open(BASE + "/")
    script = """
      return fetch("/events", {headers: {"Last-Event-ID": "3"}}).then((response) => response.text());
    """
    equal(browser.run(script), "retry: 500\n\nid: 4\ndata: tick 4 of 5\n\nid: 5\ndata: tick 5 of 5\n\n", "events")


@test("leaving the page in the midst of the events ends their process")
def _():
    browser.open(BASE + "/")
    until(lambda: browser.text("#ticks") != "", "an event")
    before = host.text().count("died with code")
    browser.open("about:blank")
    # Only this one: what is idle the browser keeps.
    until(lambda: host.text().count("died with code") > before, "a process has ended")


@test("the download is saved under its name, byte for byte")
def _():
    browser.open(BASE + "/")
    browser.click("#download")
    path = os.path.join(browser.downloads, "webapp.lua")
    until(lambda: mbtest.read_file(path), "the file is there")  # it is empty until the download is renamed to it
    equal(mbtest.read_file(path), mbtest.read_file(EXAMPLE), "what was saved")


@test("a part of the download, by fetch")
def _():
    browser.open(BASE + "/")
    script = """
      return fetch("/download", {headers: {Range: arguments[0]}}).then((response) => response.text().then((text) =>
        [response.status, response.headers.get("Content-Range"), text]));
    """
    with open(EXAMPLE, "rb") as f:
        data = f.read()
    size = len(data)
    equal(browser.run(script, "bytes=3-9"), [206, f"bytes 3-9/{size}", data[3:10].decode()], "bytes 3 to 9")
    equal(browser.run(script, f"bytes={size}-"), [416, f"bytes */{size}", ""], "bytes behind the end")


@test("a screenshot is a picture of the page's size with more than one colour, the heading's among them")
def _():
    browser.open(BASE + "/?name=" + "A%20%26%20%3Cb%3E")
    browser.shows("#state", "No more events")
    data = b64decode(browser.call("GET", "/screenshot"))
    path = mbtest.tmp("screenshot.png")
    with open(path, "wb") as f:
        f.write(data)
    if os.environ.get("MB_SCREENSHOT"):  # by hand: to be looked at
        os.replace(path, os.environ["MB_SCREENSHOT"])
    check(len(data) > 5000, f"a screenshot of {len(data)} bytes")
    width, height, colours = decode_png(data)
    inner = browser.run("return [innerWidth, innerHeight]")
    equal([width, height], inner, "size of the screenshot, and of the window's inside")
    check(width >= WIDTH // 2 and height >= HEIGHT // 2, f"{width} x {height} pixels")
    check(len(colours) > 10, f"{len(colours)} colours")
    for name, rgb in (("the page's", b"\xff\xff\xff"), ("a form's", b"\xdd\xee\xff"), ("the heading's", b"\x22\x44\x66")):
        check(any(colour[:3] == rgb for colour in colours), f"{name} colour, {rgb.hex()}, is in the picture")


@test("the browser quits; no process of it is left, every connection's has exited with 0, and nothing went wrong")
def _():
    browser.quit()
    until(lambda: not browser.processes(), "all processes of the browser are gone")
    until(lambda: host.text().count("Spawned") == host.text().count("died with code"), "all handlers have ended")
    text = host.text()
    equal([line for line in text.splitlines() if "died with code" in line and "code 0" not in line], [], "exit statuses")
    check("traceback" not in text, f"log: {text}")


mbtest.main()
