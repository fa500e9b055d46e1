#!/usr/bin/python3
"""The short services of docs/examples, rest, webhook, site and counter (web_chat.py has the chat): what they do, what
they refuse, and what they do for several clients at once; in a pool, and as a process for one connection."""

import gzip
import hashlib
import hmac
import json
import os
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbhttp import Connection, request
from mbservices import alone, ask, at_once, example, serve
from mbtest import about, check, equal, test, tmp, until

mbtest.without_leaks()
# What the same services took when they were written by hand, in lines; an example has half of them at most.
BY_HAND = {"rest": 128, "chat": 156, "webhook": 63, "site": 115, "counter": 73}


@test("each is half as long as by hand, and says what it needs and how it is tried")
def _():
    for name, lines in BY_HAND.items():
        source = mbtest.read_file(example(name))
        check(source.count("\n") <= lines // 2, f"{name}.lua has {source.count(chr(10))} lines")
        head = source[: source.index("\n\n")]
        for part in (f"-- {name}.lua: ", "Debian packages: ", "Try it: ", f"mb-handle --serve {name}.lua", "curl "):
            check(part in head, f"the head of {name}.lua has {part!r}")


# ---- rest ----

JSON = "Content-Type: application/json"
notes = serve("rest", tmp("notes.db"))


def put(number, seen, words, where=notes):
    """Changes a note. seen: the version that the client knows."""
    body = json.dumps({"text": words})
    return ask(where, "PUT", f"/notes/{number}", body, JSON, f'If-Match: "{seen}"')


def post(words):
    return ask(notes, "POST", "/notes", json.dumps({"text": words}), JSON)


@test("rest: a note is made, read, changed and removed; what it says comes back as it was")
def _():
    equal(ask(notes, "GET", "/notes").text(), "[]", "no notes")
    odd = ("it's; DROP TABLE notes --", ":id :text ? %s \\ \"'", "\n\t\x01", "grü\U0001f600", "x" * 50000)
    for words in ("buy tea", *odd):
        made = post(words)
        path = made.value("Location")
        equal((made.status, made.value("ETag")), (201, '"1"'), words)
        got = ask(notes, "GET", path)
        equal((got.status, got.value("Content-Type"), got.body), (200, "application/json", made.body), path)
        equal(json.loads(got.text())["text"], words, path)
    changed = put(1, 1, "buy coffee")
    equal((changed.status, changed.value("ETag"), changed.value("Location")), (200, '"2"', None), "PUT")
    equal(json.loads(changed.text()), {"id": 1, "text": "buy coffee", "version": 2}, "PUT")
    listed = [note["id"] for note in json.loads(ask(notes, "GET", "/notes").text())]
    equal(listed, [6, 5, 4, 3, 2, 1], "the newest is the first")
    removed = ask(notes, "DELETE", "/notes/6", None, 'If-Match: "1"')
    equal((removed.status, removed.body), (204, b""), "DELETE")
    equal(ask(notes, "GET", "/notes/6").status, 404, "it is gone")
    equal(json.loads(post("x").text())["id"], 7, "its number is not given again")


@test("rest: what is wrong is refused with its status, as application/problem+json")
def _():
    good, match = '{"text": "x"}', 'If-Match: "2"'
    for status, method, target, *rest in (
        (404, "GET", "/notes/99"), (404, "GET", "/notes/x'y"), (404, "GET", "/notes/-1"), (404, "GET", "/"),
        (404, "DELETE", "/notes/99", None, match), (404, "PUT", "/notes/99", good, JSON, match),
        (405, "PATCH", "/notes/1", good), (405, "DELETE", "/notes"),
        (412, "PUT", "/notes/1", good, JSON, 'If-Match: "1"'), (412, "DELETE", "/notes/1", None, 'If-Match: W/"2"'),
        (412, "DELETE", "/notes/1", None, "If-Match: '"),
        (428, "DELETE", "/notes/1"), (428, "PUT", "/notes/1", good, JSON), (415, "POST", "/notes", good),
        (400, "POST", "/notes", "{", JSON), (400, "POST", "/notes", b'{"text": "\xff"}', JSON),
        (413, "POST", "/notes", json.dumps({"text": "x" * 70000}), JSON),
        *((422, "POST", "/notes", body, JSON) for body in ("{}", "[]", "null", "false", '"x"', "5")),
        *((422, "POST", "/notes", f'{{"text": {value}}}', JSON) for value in ('""', "5", "null", "{}", '"a\\u0000b"')),
        (422, "PUT", "/notes/1", "false", JSON, match),
    ):
        with about(f"{method} {target} {mbtest.short(rest)}"):
            got = ask(notes, method, target, *rest)
            equal((got.status, got.value("Content-Type")), (status, "application/problem+json"), "answer")
            equal(json.loads(got.text())["status"], status, "answer")
    check("stack traceback" not in notes.text(), notes.text())


@test("rest: of clients that change a note at once, one wins each time; notes that are made at once are all there")
def _():
    def change(client):
        won, seen = 0, 2
        while won < 5:
            got = put(1, seen, f"client {client}")
            check(got.status in (200, 412), got)
            won += got.status == 200
            seen = json.loads(ask(notes, "GET", "/notes/1").text())["version"]
        return won

    at_once(3, change)
    equal(json.loads(ask(notes, "GET", "/notes/1").text())["version"], 2 + 3 * 5, "no change was lost")
    made = at_once(3, lambda _: [json.loads(post("x").text())["id"] for _ in range(5)])
    equal(len(set(sum(made, []))), 15, "numbers")
    with alone("rest", tmp("notes.db")) as client:  # beside the pool
        client.send(request("/notes", "POST", '{"text": "y"}', [JSON]))
        equal(client.response().status, 201, "POST")
        client.send(request("/notes"))
        equal(json.loads(client.response().text())[0]["text"], "y", "GET")
    check("sandbox: " not in notes.text() and "stack traceback" not in notes.text(), notes.text())


# ---- webhook ----

SPOOL = tmp("hooks", "new", "x")[:-6]
os.mkdir(SPOOL + "/seen")
hooks = serve("webhook", mbtest.write_file(tmp("key"), "secret\n"), SPOOL)


def sign(body):
    return hmac.new(b"secret", body, hashlib.sha256).hexdigest()


def deliver(body, *headers):
    return ask(hooks, "POST", "/", body, *headers)


def signed(body):
    return deliver(body, f"X-Hub-Signature-256: sha256={sign(body)}")


def spooled():
    return sorted(os.listdir(SPOOL + "/new"))


@test("webhook: what is signed is in the spool when it is answered, once, also after it was taken away")
def _():
    for body in (b'{"zen": 1}', b"", b"\0\xff" * 1000000):
        equal(signed(body).status, 202, "accepted")
        with open(f"{SPOOL}/new/{sign(body)}", "rb") as file:
            check(file.read() == body, "what is in the file")
        equal(signed(body).status, 200, "the second time")
        os.unlink(f"{SPOOL}/new/{sign(body)}")
        equal(deliver(body, f"X-Hub-Signature-256: sha256={sign(body).upper()}").status, 200, "the third time")
    equal(spooled(), [], "the spool")


@test("webhook: without the right signature nothing is kept, nor what is too large or no POST")
def _():
    right = "X-Hub-Signature-256: sha256=" + sign(b"body")
    for headers in (
        [], [right[:-2]], [right + "00"], [right[:-1] + "g"],
        [right.replace("sha256=", "sha1=")], [right.replace("sha256=", "")],
        ["X-Hub-Signature-256:"], [right, right], ["X-Hub-Signature-256: sha256=" + sign(b"other")],
        ["X-Hub-Signature-256: sha256=" + hashlib.sha256(b"body").hexdigest()],
    ):
        equal(deliver(b"body", *headers).status, 403, headers)
    equal(deliver(b"", right, f"Content-Length: {26 << 20}").status, 413, "a body that is too large")
    for status, method, target in ((405, "GET", "/"), (404, "POST", "/x")):
        equal(ask(hooks, method, target, b"body", right).status, status, f"{method} {target}")
    equal((spooled(), len(os.listdir(SPOOL + "/seen"))), ([], 3), "the spool")


@test("webhook: several at once, of which some are the same")
def _():
    got = at_once(6, lambda number: signed(b"%d" % (number // 2)).status)
    check(set(got) <= {200, 202} and got.count(202) >= 3, got)
    equal(spooled(), sorted(sign(b"%d" % number) for number in range(3)), "the spool, without a part of a file")
    with alone("webhook", tmp("key"), SPOOL) as client:
        client.send(request("/", "POST", b"alone", ["X-Hub-Signature-256: sha256=" + sign(b"alone")]))
        equal(client.response().status, 202, "a process for one connection")
    check("sandbox: " not in hooks.text(), hooks.text())
    for args in ((), (tmp("key"),), (mbtest.write_file(tmp("empty"), ""), SPOOL)):
        done = mbtest.replay("--check", example("webhook"), *args)
        equal(done.returncode, 78, f"it does not load with {args}")


# ---- site ----

WWW = tmp("www", "assets", "x")[:-9]
FILES = {"index.html": "<p>Hello", "404.html": "<p>Nothing here", "assets/a.1f3.css": "p {}", ".secret": "x"}
for path, content in FILES.items():
    mbtest.write_file(f"{WWW}/{path}", content)
with gzip.open(WWW + "/assets/a.1f3.css.gz", "wb") as packed:
    packed.write(b"p {}")
site = serve("site", WWW, "a.example", "b.example")


@test("site: pages, what is compressed and kept for ever, paths that have moved, a page for what is not there")
def _():
    missing = ("nowhere", ".secret", "a/b", "x%25")
    for status, target, body, kind, control in (
        (200, "/", b"<p>Hello", "text/html; charset=utf-8", "no-cache"),
        (200, "/assets/a.1f3.css", b"p {}", "text/css; charset=utf-8", "public, max-age=31536000, immutable"),
        (301, "/index.html", b"", None, None),
        *((404, f"/{name}", b"<p>Nothing here", "text/html; charset=utf-8", "no-cache") for name in missing),
        (400, "/..%2f", None, "text/plain; charset=utf-8", None),
    ):
        with about(target):
            got = ask(site, "GET", target)
            shown = (got.status, got.value("Content-Type"), got.value("Cache-Control"))
            equal(shown, (status, kind, control), "answer")
            check(body in (None, got.body), got)
            check(got.value("Content-Security-Policy").startswith("default-src 'self';"), got)
            equal(got.value("Referrer-Policy"), "same-origin", "Referrer-Policy")
    equal(ask(site, "GET", "/index.html").value("Location"), "/", "Location")
    got = ask(site, "GET", "/assets/a.1f3.css", None, "Accept-Encoding: gzip")
    equal((got.value("Content-Encoding"), gzip.decompress(got.body)), ("gzip", b"p {}"), "compressed")
    equal((ask(site, "HEAD", "/").length(), ask(site, "POST", "/", b"").status), (8, 405), "HEAD, POST")


@test("site: other hosts are refused; without hosts and without a page of its own it does as well; several at once")
def _():
    here, elsewhere = ("A.EXAMPLE:8080", "b.example"), ("c.example", "a.example.c.example", "")
    for host, status in [(host, 200) for host in here] + [(host, 421) for host in elsewhere]:
        with Connection(site.where) as client:
            client.send(request(host=host))
            equal(client.response().status, status, host)
    equal({response.body for response in at_once(4, lambda _: ask(site, "GET", "/"))}, {b"<p>Hello"}, "answers")
    os.unlink(WWW + "/404.html")
    with alone("site", WWW) as client:
        for target, status in (("/", 200), ("/nowhere", 404)):
            client.send(request(target, host="c.example"))
            equal(client.response().status, status, target)
    check("sandbox: " not in site.text(), site.text())


# ---- counter ----


class Viewer(Connection):
    """Somebody who looks at the counter."""

    def __init__(self, where):
        super().__init__(where)
        self.send(request("/events"))
        equal(self.head().value("Content-Type"), "text/event-stream", "the type")
        self.text = b""

    def sees(self, number):
        until(lambda: self.text.endswith(b"data: %d\n\n" % number) or self.read(), f"the number {number}")

    def read(self):
        self.text += self.chunk()


@test("counter: all who look see the number rise, of clicks at once none is lost; who goes ends the process")
def _():
    clicks = serve("counter", tmp("clicks"))
    check(b'src="counter.js"' in ask(clicks, "GET", "/").body, "the page")
    equal(ask(clicks, "GET", "/counter.js").value("Content-Type"), "text/javascript", "its script")
    with Viewer(clicks.where) as one, Viewer(clicks.where) as other:
        one.sees(0)
        other.sees(0)
        equal(ask(clicks, "POST", "/", b"").status, 204, "a click")
        one.sees(1)
        statuses = at_once(4, lambda _: [ask(clicks, "POST", "/", b"").status for _ in range(10)])
        equal(set(sum(statuses, [])), {204}, "clicks")
        one.sees(41)
        other.sees(41)
        equal(ask(clicks, "POST", "/", b"", "Sec-Fetch-Site: cross-site").status, 403, "from another site")
        equal((ask(clicks, "POST", "/x", b"").status, ask(clicks, "DELETE", "/").status), (404, 405), "no such things")
        equal(os.path.getsize(tmp("clicks")), 41, "the file")
    with alone("counter", tmp("clicks")) as client, Viewer(client) as viewer:
        viewer.sees(41)  # the number is still there; alone() waits for the end of the process
    check("sandbox: " not in clicks.text(), clicks.text())


mbtest.main()
