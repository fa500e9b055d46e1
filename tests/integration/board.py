#!/usr/bin/python3
"""docs/examples/board.lua with clients that mean well and others: what one writes comes to all without being asked for, bad
input is refused and harms nobody, the sandbox holds. Its page is in board_page.py."""

import os
import struct
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhttp
import mbtest
import mbwebsocket
from mbboard import ANN, BOB, FORM, PNG, Board, Guest
from mbtest import check, equal, test

PICTURES = {"png": PNG, "jpeg": b"\xff\xd8\xff\xe0 a picture", "gif": b"GIF89a a picture", "webp": b"RIFF\0\0\0\0WEBP a picture"}


def texts(news):
    return [note["text"] for note in news.get("notes") or []]


board = Board("board")


@test("the files of the page have their types, and every answer the policy that forbids what is not ours")
def _():
    types = {"/": "text/html", "/style.css": "text/css", "/script.js": "text/javascript", "/icon.svg": "image/svg+xml"}
    for target, kind in types.items():
        got = board.ask(target)
        equal((got.status, (got.value("Content-Type") or "").split(";")[0]), (200, kind), target)
        for answer in (got, board.ask(target + "-not")):
            check("default-src 'self';" in answer.value("Content-Security-Policy"), answer)
        equal(got.value("X-Content-Type-Options"), "nosniff", target)
    for outside in ("/../board.lua", "/%2e%2e/board.lua", "/pictures/../board.db", "/pictures/%2e%2e/board.db", "/board.db"):
        check(board.ask(outside).status in (400, 404), outside)
    equal(board.ask("/live").status, 426, "no WebSocket")


@test("a note comes to others at once, to those who come later, and to nobody twice; whoever wrote it may remove it")
def _():
    with Guest(board) as ann, Guest(board, BOB) as bob:
        equal((ann.first["notes"], bob.first["notes"]), ({}, {}), "an empty board")
        note = ann.note("one")
        equal([note[field] for field in ("name", "text", "picture", "mine")], ["Ann", "one", "", 1], "Ann's own note")
        equal(bob.news(), {"notes": [{**note, "mine": 0}]}, "what Bob sees")
        second = bob.note("two", "Bob", BOB)
        equal(ann.news(), {"notes": [{**second, "mine": 0}]}, "what Ann sees")
        with Guest(board, BOB) as late:
            equal(texts(late.first), ["one", "two"], "all")
        for other in (note["id"], 999999, -1, 1e300, "1", None, {}, 0.5):
            equal(bob.tell(kind="remove", id=other).get("problem"), "This note is not yours.", other)
        equal(ann.tell(kind="remove", id=note["id"])["gone"], [note["id"]], "removed")
        equal(bob.news(), {"gone": [note["id"]]}, "what Bob sees")
        equal(bob.tell(kind="remove", id=second["id"])["gone"], [second["id"]], "removed")


@test("each kind of picture is kept under a name of its own, served as what it is, and gone with its note")
def _():
    with Guest(board) as ann:
        for kind, data in PICTURES.items():
            equal(board.upload(data).status, 204, kind)
            (note,) = ann.news()["notes"]
            equal(board.pictures(), [note["picture"]], "files")
            got = board.ask("/pictures/" + note["picture"])
            equal((got.status, got.body, got.value("Content-Type")), (200, data, f"image/{kind}"), kind)
            equal((got.value("X-Content-Type-Options"), "immutable" in got.value("Cache-Control")), ("nosniff", True), kind)
            ann.tell(kind="remove", id=note["id"])
            equal(board.pictures(), [], "files")


@test("what is no message, or no note, is said to be none, and the WebSocket goes on")
def _():
    note = {"kind": "note", "name": "Ann", "text": "x", "key": ANN}
    with Guest(board) as ann:
        for raw in ("", "{", "[]", "null", "1", '"x"', "[" * 5000, '{"kind":"note","text":"\\ud800","name":"A","key":"%s"}' % ANN):
            equal(ann.tell(raw).get("problem"), "This is no message of the board.", raw[:20])
        for kind in ("x", "__index", "", 1, None, {}, [], True):
            equal(ann.tell(**{**note, "kind": kind}).get("problem"), "This is no message of the board.", kind)
        for field, values in {
            "name": ("", " \n", "x" * 41, None, 1, {}, [], "\0\x1b"),
            "text": ("", " \t ", "x" * 1001, "x" * 10000, "ü" * 1001, None, 1, {}, []),
            "key": ("", "short", "x" * 65, None, 1, {}),
        }.items():
            for value in values:
                check(ann.tell(**{**note, field: value}).get("problem"), f"{field}: {value!r:.40} is refused")
        equal(ann.tell(kind="hello", key=ANN).get("notes"), None, "nothing has been added")
        ann.tell(kind="remove", id=ann.note("x" * 1000, "y" * 40)["id"])  # what the limits allow


@test("what means something to SQL, HTML or a terminal is text, and comes back as it was")
def _():
    with Guest(board, BOB) as bob:
        for text in (
            "'; DROP TABLE notes; --", "x' || 'y", "?, ?, ? %s %d ${x} {{x}}", '"`[]\\', "<script>alert(1)</script>",
            "ü" * 1000, "a\nb\tc",
        ):
            note = bob.note(text, text[:40].replace("\n", " "), BOB)
            equal(note["text"], text, "text")
        equal(bob.note("a\0b\x1b[31mc\x7f\r\nd", key=BOB)["text"], "ab[31mc\nd", "without control characters")
        for note in bob.tell(kind="hello", key=BOB) and Guest(board, BOB).first["notes"]:
            bob.tell(kind="remove", id=note["id"])


@test("a text that is no UTF-8, and a message that is too large, end their WebSocket and no other")
def _():
    with Guest(board, BOB) as bob:
        for data, code in ((b"\xff", 1007), (b'"\xed\xa0\x80"', 1007), (b" " * 16385, 1009)):
            with Guest(board) as ann:
                ann.send(mbwebsocket.text(data))
                opcode, said = ann.read()
                equal((opcode, said[:2]), (mbwebsocket.CLOSE, struct.pack(">H", code)), f"{data[:9]}")
        for bad in (b"\xed\xa0\x80", b"\xff", b"\xc0\x80", b"\xf4\x90\x80\x80"):  # no UTF-8, though Lua takes the first
            equal(board.upload(text=bad).status, 422, f"an upload with {bad}")
        equal(bob.note("still here", key=BOB)["text"], "still here", "another")
        check(bob.tell(kind="remove", id=Guest(board).first["notes"][0]["id"]).get("gone"), "removed")


@test("uploads that are none, too large, incomplete or of a foreign page are refused, and leave no file")
def _():
    for bad in (b"just a text", b"", None, b"<svg/>", PNG[1:]):
        equal(board.upload(bad).status, 415, f"a picture {bad and bad[:9]!r}")
    equal(board.upload(PNG + b"x" * (5 << 20)).status, 413, "more than 5 MiB")
    for fields in ({"name": None}, {"name": ""}, {"text": "x" * 1001}, {"key": None}, {"key": "short"}, {"text": None}):
        equal(board.upload(**fields).status, 422, fields)
    equal(board.ask("/pictures", method="POST", headers=["Content-Type: application/json"], body="{}").status, 422, "no form")
    equal(board.ask("/pictures", method="POST", headers=[FORM], body="--Bound-ary\r\n").status, 400, "half a form")
    equal(board.ask("/pictures", method="POST", headers=[FORM, "Content-Length: 9000000"]).status, 413, "9 MB")
    with mbhttp.Connection(board.where) as client:
        half = mbhttp.multipart([('name="picture"', None, PNG)])[:300]
        client.send(mbhttp.request("/pictures", "POST", headers=[FORM, "Content-Length: 5000"], body=half))
    for own, origin in ((True, board.base), (False, "http://evil.example"), (False, "null"), (False, board.base + "1")):
        equal(board.upload(b"none", [f"Origin: {origin}"]).status, 415 if own else 403, origin)
        with Guest(board, None, f"Origin: {origin}") as guest:
            equal(guest.status, 101 if own else 403, f"a WebSocket from {origin}")
    equal(board.pictures(), [], "files")
    check("traceback" not in board.text(), board.text())


@test("the oldest notes make room, those with pictures, too; and a message of many notes is one message")
def _():
    small = Board("small", changes=[("200, 200 << 20", f"5, {3 * len(PNG)}")])
    with Guest(small) as ann:
        for number in range(8):
            ann.note(f"note {number}")
    with Guest(small) as bob:
        equal(texts(bob.first), [f"note {number}" for number in range(3, 8)], "the last 5")
        for number in range(4):
            equal(small.upload(text=f"picture {number}").status, 204, "picture")
            while not any(f"picture {number}" in text for text in texts(bob.news())):
                pass
    with Guest(small) as last:
        equal(texts(last.first), [f"picture {number}" for number in range(1, 4)], "what fits")
        equal(small.pictures(), sorted(note["picture"] for note in last.first["notes"]), "files")
    small.stop()


ATTACK = """
function kinds.attack()
  local function try(...) local got, _, errno = ... return got and "done" or errno end
  return table.concat({
    try(io.open("/etc/passwd")), try(io.open(data .. "/board.db", "rb")), try(io.open(data .. "/board.db", "ab")),
    try(io.open(page .. "/script.js", "ab")), try(io.open(data .. "/new", "w")),
    try(os.rename(data .. "/board.db", pictures .. "/x")), try(moonbridge_io.exec("/bin/true")),
    try(moonbridge_io.tcpconnect("127.0.0.1", %d)), try(io.open(pictures .. "/y", "w"))}, " ")
end

-- ---- Pages"""


@test("a handler that somebody has taken over reads and writes pictures, and nothing else: not even the database's file")
def _():
    changes = [("\n-- ---- Pages", ATTACK % mbtest.free_port())]
    taken = Board("taken", changes=changes)
    with Guest(taken) as guest:
        got = guest.tell(kind="attack")["problem"].split()
        check(got[8:] == ["done"] and set(got[:8]) <= {"1", "13"}, f"{got}, log: {taken.text()}")
        guest.note("and it goes on")
    taken.stop()
    free = Board("free", "--sandbox=off", changes=changes)
    with Guest(free) as guest:  # the attack works where nothing forbids it; but nobody listens at that port (ECONNREFUSED)
        equal(guest.tell(kind="attack")["problem"].split(), ["done"] * 7 + ["111", "done"], "without a sandbox")
    free.stop()


mbtest.main()
