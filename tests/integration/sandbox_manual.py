#!/usr/bin/python3
"""mb-handle-sandbox(7) says what the program does: each of its recipes serves in its sandbox, each wish has an
entry, and the lines of the log and of --check are those that the page shows."""

import os
import re
import socket
import sys
import threading

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhttp
import mbpool
import mbtest
from mbtest import SRCDIR, check, equal, test

PAGE = mbtest.read_file(os.path.join(SRCDIR, "docs", "mb-handle-sandbox.7"))


def part(title, end=r"\.S[hs]"):
    """The text of the page from one heading to the next."""
    found = re.search(rf"^\.S[hs] {re.escape(title)}\n(.*?)^{end} ", PAGE, re.MULTILINE | re.DOTALL)
    check(found, f"{title} in the page")
    return found[1]


def displays(text):
    """The literal displays of a part of the page, as they are printed."""
    for escape, character in ((r"\e", "\\"), (r"\(aq", "'"), (r"\(dq", '"'), (r"\(ti", "~"), (r"\&", "")):
        text = text.replace(escape, character)
    return re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed", text, re.MULTILINE | re.DOTALL)


class Recipe:
    """A script of the page, served at a free port. places: what stands in the page -> what there is here."""

    def __init__(self, title, places=None, beside=None):
        text = displays(part(title))[0]
        self.where = ("127.0.0.1", mbtest.free_port())
        listener = '{proto = "tcp", port = 8080}'
        for old, new in {listener: '{proto = "tcp", host = "%s", port = %d}' % self.where, **(places or {})}.items():
            check(old in text, f"{old} in the script of {title}")
            text = text.replace(old, new)
        self.directory = os.path.dirname(mbtest.tmp(title.replace(" ", "-"), "app.lua"))
        for name, content in (beside or {}).items():
            path = os.path.join(self.directory, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            mbtest.write_file(path, content)
        self.pool = mbpool.Pool(mbtest.write_file(os.path.join(self.directory, "app.lua"), text), where=None).ready()

    def ask(self, *request, **more):
        """Sends a request of mbhttp. Returns the response."""
        with mbhttp.Connection(self.where) as client:
            client.send(mbhttp.request(*request, **more))
            return client.response(method=more.get("method", "GET"))

    def log(self):
        return self.pool.text()

    def refuses_nothing(self):
        """Checks that the script has all that it needs."""
        check("sandbox:" not in self.log(), f"the log: {self.log()}")


def counter(listening):
    """A server that answers each line as Redis answers INCR, in a thread. The thread ends with the test's process."""
    visits = iter(range(1, 1000))

    def serve(connection):
        with connection, connection.makefile("rwb") as stream:
            for line in stream:
                equal(line, b"INCR visits\r\n", "what the script asks the database")
                stream.write(b":%d\r\n" % next(visits))
                stream.flush()

    def accept():
        while True:
            threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


@test("a database over TCP: the handler connects to the wished port")
def _():
    listening = socket.create_server(("127.0.0.1", 0))
    counter(listening)
    recipe = Recipe("A database over TCP", {"6379": str(listening.getsockname()[1])})
    equal([recipe.ask().text() for _ in range(2)], ["Visit 1\n", "Visit 2\n"], "answers")
    recipe.refuses_nothing()


@test("a database over a Unix socket: what prepare has opened is used without a wish")
def _():
    path = mbtest.tmp("redis.sock")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    counter(listening)
    recipe = Recipe("A database over a Unix socket", {"/run/redis/redis.sock": path})
    equal([recipe.ask().text() for _ in range(2)], ["Visit 1\n", "Visit 2\n"], "answers")
    recipe.refuses_nothing()


SENDMAIL = """#!/usr/bin/python3 -IS
import socket, sys
with open("%s") as file:
    port = int(file.read())
with socket.create_connection(("127.0.0.1", port)) as server:
    server.sendall(" ".join(sys.argv[1:]).encode() + b"\\n" + sys.stdin.buffer.read())
"""


@test("mail by sendmail: the program has what it needs, and reaches its server")
def _():
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    rc = mbtest.write_file(mbtest.tmp("msmtprc"), str(port))
    sendmail = mbtest.write_file(mbtest.tmp("sendmail"), SENDMAIL % rc)
    os.chmod(sendmail, 0o755)
    certs = os.path.dirname(mbtest.tmp("certs", "x"))
    places = {"/usr/sbin/sendmail": sendmail, "/etc/msmtprc": rc, "/etc/ssl/certs": certs, "587": str(port)}
    recipe = Recipe("Mail by sendmail", places)
    response = recipe.ask(
        "/", "POST", b"text=Good+morning", headers=["Content-Type: application/x-www-form-urlencoded"]
    )
    equal((response.status, response.text()), (200, "Sent.\n"), f"status and text; log: {recipe.log()}")
    listening.settimeout(mbtest.DEADLINE)
    with mbtest.Client(listening.accept()[0]) as came:
        want = b"-i -- webmaster@example.com\nSubject: from the form\n\nGood morning\n"
        equal(came.end(), (want, "eof"), "what the program was given")
    recipe.refuses_nothing()


@test("static files: those of the directory are sent, and a link that leads out of it is not")
def _():
    root = os.path.dirname(mbtest.tmp("www", "x"))
    mbtest.write_file(os.path.join(root, "index.html"), "<p>Hello\n")
    outside = mbtest.write_file(mbtest.tmp("secret.html"), "secret")
    os.symlink(outside, os.path.join(root, "link.html"))
    recipe = Recipe("Static files", {"/srv/www": root})
    response = recipe.ask("/index.html")
    equal((response.status, response.text()), (200, "<p>Hello\n"), "status and text")
    equal(response.value("Content-Type"), "text/html", "type")
    equal(recipe.ask("/none.html").status, 404, "status of a file that is not there")
    equal(recipe.ask("/link.html").status, 404, "status of a link that leads out of the directory")
    recipe.refuses_nothing()


@test("uploads: a file comes whole and under its name; nothing else is left; one that is too long is refused")
def _():
    root = os.path.dirname(mbtest.tmp("uploads", "x"))
    recipe = Recipe("Uploads", {"/srv/uploads": root, "1024 * 1024 * 1024": "100000"})
    equal(recipe.ask("/a.txt", "PUT", b"x" * 90000).status, 201, "status")
    equal(mbtest.read_file(os.path.join(root, "a.txt")), "x" * 90000, "the file")
    equal(os.listdir(root), ["a.txt"], "what is in the directory")
    equal(recipe.ask("/b.txt", "PUT", b"x" * 100001).status, 413, "status of a body that is too long")
    recipe.refuses_nothing()


@test("modules that are loaded late: require works in the handler")
def _():
    module = displays(part("Modules that are loaded late"))[1]
    recipe = Recipe("Modules that are loaded late", beside={"pages/start.lua": module})
    equal(recipe.ask("/").text(), "Welcome!\n", "the page")
    equal(recipe.ask("/none").status, 404, "status of a page that is not there")
    recipe.refuses_nothing()


@test("each wish has a row in the table and an entry")
def _():
    table = re.findall(r"^\.It Li (\w+) Ta ", part("WISHES"), re.MULTILINE)
    entries = re.findall(r"^\.It Va (\w+)", PAGE, re.MULTILINE)
    equal(sorted(set(entries)), sorted(table), "entries, beside the rows of the table")
    for wish in table:
        equal(wish in says('{%s = function() end}' % wish), True, f"the program knows {wish}")
        check("unknown" not in says('{%s = function() end}' % wish), f"the program knows {wish}")
    check("unknown" in says("{no_such_wish = true}"), says("{no_such_wish = true}"))


def says(wishes, listener=""):
    """What --check says of a script with such a sandbox."""
    text = "listen{%ssandbox = %s, connect = function() end}" % (listener, wishes)
    return mbtest.output_of(mbtest.HANDLE, "--check", mbtest.script(text))


REFUSED = """
listen{sandbox = "strict", connect = function()
  io.open("/etc/passwd")
  io.open(moonbridge_io.script_path("new.txt"), "w")
  moonbridge_io.tcpconnect("127.0.0.1", 5432)
  moonbridge_io.exec("/bin/ls")
  moonbridge_io.tcpconnect("db.example.com", 5432)
  pcall(require, "page")
  moonbridge_io.tcplisten("127.0.0.1", 0)
end}
"""


@test("the lines of the log are those that the page shows, in their order")
def _():
    shown = displays(part("ERRORS AND LOG"))[1]
    path = mbtest.tmp("refused", "app.lua")
    mbtest.write_file(path, REFUSED)
    mbtest.write_file(mbtest.tmp("refused", "page.lua"), "")
    done = mbtest.replay(path)
    equal(done.returncode, 0, f"exit status; it said {done.stderr!r}")
    got = done.stderr.decode().replace("mb-handle: ", "").replace(os.path.dirname(path), "/srv")
    equal(got, re.sub(r"\n +", " ", shown), "the log")


@test("an error of listen and the lines of --check are those that the page shows")
def _():
    error = displays(part("ERRORS AND LOG"))[0].strip()
    check("/srv/wwww" in error, f"a path in {error}")
    got = says('{read = {"/srv/wwww"}}')
    check(error in got, f"{error} in {got}")
    command, *shown = displays(part("CHECKING A SANDBOX"))[0].splitlines()
    check(command.startswith("$ mb-handle --check "), command)
    root = os.path.dirname(mbtest.tmp("www", "x"))
    listener = '{proto = "tcp", host = "127.0.0.1", port = 8080}, '
    got = says('{read = {"%s"}, connect = {"tcp:5432"}}' % root, listener).replace(root, "/srv/www").splitlines()
    equal(got[: len(shown)], shown, "what --check prints")  # behind it stands what this machine lacks
    check("sandbox: only what every process has" in part("CHECKING A SANDBOX"), "the line without wishes")


mbtest.main()
