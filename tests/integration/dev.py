#!/usr/bin/python3
"""--serve --dev: what is saved is served from the next request on, also on a connection that was kept; an error is a page
in the browser and a text on the terminal; a request has its line there; Ctrl-C ends all of it."""

import base64
import contextlib
import hashlib
import http.client
import os
import pty
import re
import select
import signal
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbpool
import mbtest
from mbbrowser import Browser
from mbtest import HANDLE, Client, check, equal, test, until, write_file

PHONE = (360, 640)
HTML = {"Accept": "text/html,*/*;q=0.8"}

_directories = 0


class Dev(mbtest.Process):
    """A directory with a script, app.lua, and mb-handle --serve --dev on it."""

    def __init__(self, text, *args, files=None, where="", env=None):
        global _directories
        _directories += 1
        self.directory = os.path.dirname(mbtest.tmp(f"dev{_directories}", "x"))
        for name, content in (files or {}).items():
            self.save(content, name)
        self.save(text)
        self.where = where or ("127.0.0.1", mbtest.free_port())
        address = f"--serve={self.where if isinstance(self.where, str) else '%s:%d' % self.where}"
        env = {**os.environ, **(env or {})}
        super().__init__([HANDLE, address, "--dev", *args, "app.lua"], cwd=self.directory, env=env)
        until(lambda: "Ctrl-C ends" in self.text() or self.popen.poll() is not None, "it serves")
        check(self.popen.poll() is None, f"it has ended: {self.text()}")

    def path(self, name="app.lua"):
        return os.path.join(self.directory, name)

    def save(self, text, name="app.lua"):
        """As most editors do: a new file takes the place of the old one."""
        os.rename(write_file(self.path(".new"), text), self.path(name))

    def save_in_place(self, text, name="app.lua"):
        write_file(self.path(name), text)

    def says(self, text, times=1):
        until(lambda: self.text().count(text) >= times, f"{text!r} in {self.text()}")

    def connect(self):
        connection = http.client.HTTPConnection(*self.where, timeout=mbtest.DEADLINE)
        connection.connect()
        connection.auto_open = 0  # it must be the same connection all the time
        mbtest.cleanup.callback(connection.close)
        return connection

    def get(self, path="/", headers=None, connection=None, method="GET"):
        """Returns the status, the head and the body."""
        c = connection or self.connect()
        c.request(method, path, headers=headers or {})
        response = c.getresponse()
        body = response.read().decode()
        if not connection:
            c.close()
        return response.status, response.headers, body

    def body(self, *args, **more):
        return self.get(*args, **more)[2]

    def ctrl_c(self):
        os.kill(self.pid, signal.SIGINT)
        return self.popen.wait(mbtest.DEADLINE)


def page(text, before=""):
    return f"""{before}
return require("moonbridge_http").generate_handler(function(request)
  request:send_status("200 OK")
  request:send_data({text})
end)
"""


def everyone(pid):
    """The process and all below it."""
    found = [pid]
    for child in mbpool.children_of(pid):
        found += everyone(child)
    return found


# ---- edits ----


@test("each way of saving: the next request has the new text, on a new connection and on one that was kept")
def _():
    dev = Dev(page('"0"'))
    kept = dev.connect()
    equal(dev.body(connection=kept), "0", "before")
    for n, save in enumerate((dev.save, dev.save_in_place, dev.save, dev.save_in_place), 1):
        save(page(f'"{n}"'))
        equal(dev.body(connection=kept), str(n), f"kept, text {n}")
        equal(dev.body(), str(n), f"new, text {n}")
    dev.says("app.lua has changed")


@test("a text of the same length, with the time of the old one set back to it, is a new text")
def _():
    dev = Dev(page('"old"'))
    kept = dev.connect()
    before = os.stat(dev.path())
    equal(dev.body(connection=kept), "old", "before")
    dev.save_in_place(page('"new"'))
    os.utime(dev.path(), ns=(before.st_atime_ns, before.st_mtime_ns))
    equal(dev.body(connection=kept), "new", "after")


@test("files that require, dofile and loadfile have read count, also those that a handler has read; another one does not")
def _():
    text = page('one.word .. two.word .. three() .. request_word()', """
one = require "sub.one"
two = dofile "two.lua"
three = loadfile "three.lua"
function request_word() return require("four").word end
""")
    files = {"sub/one.lua": 'return {word = "a"}', "two.lua": 'return {word = "b"}', "three.lua": 'return "c"',
             "four.lua": 'return {word = "d"}', "other.lua": ""}
    mbtest.tmp(f"dev{_directories + 1}", "sub", "x")
    dev = Dev(text, files=files)
    kept = dev.connect()
    equal(dev.body(connection=kept), "abcd", "before")
    pids = mbpool.children_of(dev.pid)
    dev.save("nothing of this counts", "other.lua")
    equal(dev.body(connection=kept), "abcd", "after an edit of another file")
    want = "abcd"
    for old, new, name in zip("abcd", "ABCD", ("sub/one.lua", "two.lua", "three.lua", "four.lua")):
        dev.save(files[name].replace(f'"{old}"', f'"{new}"'), name)
        want = want.replace(old, new)
        equal(dev.body(connection=kept), want, f"after an edit of {name}")
        dev.says(f"{name} has changed")
    check("other.lua" not in dev.text(), f"not named: {dev.text()}")
    check(pids != mbpool.children_of(dev.pid), "the pool has loaded it anew")


@test("a module that was looked for and not found counts when it comes")
def _():
    dev = Dev(page("word", 'local found, m = pcall(require, "late")\nword = found and m or "none"'))
    kept = dev.connect()
    equal(dev.body(connection=kept), "none", "before")
    dev.save('return "come"', "late.lua")
    equal(dev.body(connection=kept), "come", "after")
    dev.says("late.lua has changed")


@test("a script behind a symbolic link: an edit of its file, and another link")
def _():
    directory = os.path.dirname(mbtest.tmp("linked", "x"))
    write_file(f"{directory}/real.lua", page('"1"'))
    dev = Dev(page('"0"'))
    os.symlink(f"{directory}/real.lua", dev.path(".link"))
    os.rename(dev.path(".link"), dev.path())
    dev.says("loaded anew")
    equal(dev.body(), "1", "another link")
    write_file(f"{directory}/real.lua", page('"2"'))
    dev.says("loaded anew", 2)
    equal(dev.body(), "2", "another text")


@test("pipelined requests are all answered, and no byte of a kept connection is lost when the text changes")
def _():
    dev = Dev(page('"0"'))
    with Client(dev.where) as client:
        client.send("GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: "GET /1 200" in dev.text(), "the first answer")
        dev.save(page('"X", request.path'))
        client.send("GET /2 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /3 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        came, how = client.end()
    equal(how, "eof", "end")
    equal(re.findall(rb"\r\n\r\n(0|X\d)", came), [b"0", b"X2", b"X3"], f"bodies in {came!r}")


@test("a client that ends a kept connection has nothing loaded for it")
def _():
    dev = Dev(page('"0"'))
    kept = dev.connect()
    dev.body(connection=kept)
    dev.save("this is wrong")
    dev.says("not loaded anew")
    kept.close()
    equal(dev.get()[0], 500, "status of another")
    equal(dev.text().count("syntax error near 'is'"), 2, f"once for the edit, once for the request: {dev.text()}")


@test("a connection that was opened before an edit, as browsers do: its first request has the new text")
def _():
    plain = """return function(socket)
  local line = socket:read(1000, "\\n")
  socket:write("HTTP/1.0 200 OK\\r\\n\\r\\n", "{}", line)
end
"""
    dev = Dev(page('"0"'))
    for n, text in enumerate((page('"1"'), plain.format("2"), plain.format("3"), page('"4"'), "wrong", page('"6"')), 1):
        errors = dev.text().count("syntax error")
        early = dev.connect()
        if n == 6:  # it does not load
            dev.says("syntax error", errors + 1)
        else:
            until(lambda: any(loads(pid) for pid in everyone(dev.pid)), "a process has loaded the script for it")
        dev.save(text)
        body = dev.body("/x", connection=early, headers={"Connection": "close"})
        check(("app.lua:1: syntax error" if text == "wrong" else str(n)) in body, f"text {n}: {body!r}")
        early.close()


def loads(pid):
    """Whether the process serves a connection: it has the memory for what the client sends."""
    with contextlib.suppress(OSError):
        return any("mb-handle-dev" in os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))


@test("behind a proxy that names the client: the name stays with a kept connection that has a new text")
def _():
    dev = Dev(page('request.socket.remote_addr, " 0"'), "--proxy-protocol")
    with Client(dev.where) as client:
        client.send("PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n")
        for n in range(3):
            client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while not (line := client.receive()).endswith(f"192.0.2.7 {n}".encode()):
                check(line, f"text {n}")
            dev.save(page(f'request.socket.remote_addr, " {n + 1}"'))
    dev.says("192.0.2.7 GET / 200", 3)


@test("on a Unix socket, too: a kept connection has the new text")
def _():
    path = mbtest.tmp("dev.sock")
    dev = Dev(page('"0"'), where=path)
    check(f"app.lua: {path}" in dev.text(), f"the address in {dev.text()}")
    with Client(path) as client:
        for n in range(3):
            dev.save(page(f'"[{n}]\\n"'))
            client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while (line := client.line()) and not line.startswith("["):
                pass
            equal(line, f"[{n}]", "body")
    equal(dev.ctrl_c(), 0, "exit status")
    check(not os.path.exists(path), "the socket's file is gone")


@test("mb.http_server and --style=lua-http: a kept connection has the new text, and an error is a page")
def _():
    def program(expression):
        return f"""
local server = require "http.server"
local headers = require "http.headers"
assert(server.listen{{host = "127.0.0.1", port = 0, onstream = function(_, stream)
  local head, text = headers.new(), {expression}
  head:append(":status", "200")
  head:append("content-length", tostring(#text))
  stream:write_headers(head, false)
  stream:write_body_from_string(text)
end}}):loop()
"""

    dev = Dev(program('"0"'), "--style=lua-http")
    kept = dev.connect()
    equal(dev.body(connection=kept), "0", "before")
    for n in (1, 2):
        dev.save(program(f'"{n}"'))
        equal(dev.body(connection=kept), str(n), f"text {n}")
    dev.save(program('nil .. "<script>"'))
    status, head, body = dev.get(connection=kept, headers=HTML)
    equal((status, head["Content-Type"]), (500, "text/html; charset=utf-8"), "an error's page")
    check("app.lua:5" in body and "&lt;script&gt;" in body and "<script>" not in body, f"page: {body}")
    equal(dev.get()[1]["Content-Type"], "text/plain; charset=utf-8", "for curl")


@test("an interval runs the new text, and a main is started anew")
def _():
    def text(word):
        return f"""
listen{{{{proto = "interval", name = "tick", delay = 0.05}}, connect = function() print("tick {word}") end}}
listen{{{{proto = "main"}}, connect = function() print("main {word}") require("moonbridge_io").poll() end}}
listen{{{{proto = "tcp", host = "127.0.0.1", port = {port}}}, connect = print}}
"""

    port = mbtest.free_port()
    directory = os.path.dirname(mbtest.tmp("tasks", "x"))
    write_file(f"{directory}/app.lua", text("one"))
    dev = mbtest.Process([HANDLE, "--serve", "--dev", f"{directory}/app.lua"])
    says = lambda word: until(lambda: word in dev.text(), f"{word!r} in {dev.text()}")
    says("tick one")
    says("main one")
    write_file(f"{directory}/app.lua", text("two"))
    says("tick two")
    says("main two")
    other = mbtest.free_port()
    equal(mbtest.listening(("127.0.0.1", other)), False, "before")
    old, port = port, other
    write_file(f"{directory}/app.lua", text("three"))
    mbtest.wait_listening(("127.0.0.1", other))
    until(lambda: not mbtest.listening(("127.0.0.1", old)), "the old address is closed")


# ---- errors ----


@test("a script that does not load: a page in the browser, the text for curl, the same on the terminal; and back again")
def _():
    dev = Dev(page('"fine"'))
    kept = dev.connect()
    equal(dev.body(connection=kept), "fine", "before")
    dev.save_in_place("local a = 1\nlocal b = <script>alert(1)</script>\nreturn a\n")
    status, head, body = dev.get(headers=HTML, connection=kept)
    equal((status, head["Content-Type"]), (500, "text/html; charset=utf-8"), "status and type")
    check("app.lua:2: unexpected symbol near &#39;&lt;&#39;" in body, f"message in {body}")
    check("local b = &lt;script&gt;alert(1)&lt;/script&gt;" in body and "<script" not in body, f"line in {body}")
    check('<span class="here"><b>   2</b>' in body, f"the line is marked: {body}")
    status, head, body = dev.get()
    equal((status, head["Content-Type"]), (500, "text/plain; charset=utf-8"), "status and type for curl")
    check("app.lua:2: unexpected symbol" in body and "  >    2  local b = <script>alert(1)</script>\n" in body, body)
    dev.says("app.lua:2: unexpected symbol")
    dev.says("  >    2  local b = <script>alert(1)</script>")
    check("no answer for the connection" not in dev.text(), "there is one")
    status, _, body = dev.get(method="HEAD", headers=HTML)
    equal((status, body), (500, ""), "HEAD")
    dev.save(page('"fine again"'))
    equal(dev.body(), "fine again", "back again")


@test("it does not load when it is started: it serves the error, and then the script")
def _():
    dev = Dev('require "absent"')
    status, _, body = dev.get()
    equal(status, 500, "status")
    check("module 'absent' not found" in body and "app.lua:1" in body, body)
    dev.save('return "not a handler"', "absent.lua")
    dev.says("absent.lua has changed")
    body = dev.body()
    check("no handler: the script neither called listen" in body, body)
    dev.save(page('"fine"'))
    equal(dev.body(), "fine", "repaired")
    os.remove(dev.path())
    dev.says("app.lua is not there any more")
    check("cannot open app.lua" in dev.body(), "without the file")
    dev.save(page('"back"'))
    dev.says("loaded anew", 2)
    equal(dev.body(), "back", "with it")


@test("a module that does not load, and one that throws: the page shows the lines of both files")
def _():
    dev = Dev('local m = require "m"\n' + page('m.word()'), files={"m.lua": "return {word = function()\n  error(nil .. 1)\nend}"})
    body = dev.body(headers=HTML)
    check("<h2>./m.lua:2</h2>" in body and "<h2>app.lua:5</h2>" in body, body)
    check("<h2>Traceback</h2>" in body, body)
    dev.save("return {word = }", "m.lua")
    body = dev.body(headers=HTML)
    check("<h2>./m.lua:1</h2>" in body and "<h2>app.lua:1</h2>" in body, body)


@test("prepare that throws, a handler of a plain socket that throws, a listener that is not there: each is a page")
def _():
    dev = Dev('-- at once\nreturn function(socket) error("at once") end')
    check("app.lua:2: at once" in dev.body(), "without a read")
    dev.save('return function(socket)\n  local line = socket:read(100, "\\n")\n  error("after " .. line)\nend')
    body = dev.body("/some", headers=HTML)
    check("app.lua:3: after GET /some HTTP/1.1" in body and "<h2>app.lua:3</h2>" in body, body)
    dev.save('return function(socket)\n  socket:read(20000)\n  error("much")\nend')
    with Client(dev.where) as client:
        client.send("GET / HTTP/1.0\r\n" + "X: y\r\n" * 4000)
        equal(client.end(), (b"", "reset"), "more was read than is kept")
    check("--record" not in dev.text(), f"no word of a recording: {dev.text()[-3000:]}")
    dev.save('return function(socket) socket:read(100, "\\n")\n  socket:write("HTTP/1.0 200 OK\\r\\n\\r\\nhalf")\n  error("late")\nend')
    with Client(dev.where) as client:
        client.send("GET / HTTP/1.0\r\n\r\n")
        equal(client.end()[1], "reset", "an answer that has begun")
    dev.says("app.lua:3: late")
    dev.save('listen{{proto = "tcp", port = %d}, prepare = function() error("not ready") end, connect = print}\n' % dev.where[1])
    check("app.lua:1: not ready" in dev.body(), "prepare")
    dev.save('listen{{proto = "tcp", port = 1}, connect = print}\n')
    check("no listener for the connection to 127.0.0.1:" in dev.body(), "no listener")


@test("a handler that throws behind the begin of its response: the terminal has it, the client a reset")
def _():
    dev = Dev("""return require("moonbridge_http").generate_handler(function(request)
  request:send_status("200 OK")
  request:send_header("Content-Length", "100")
  request:send_data("begun")
  request:flush()
  error("in the middle")
end)""")
    with Client(dev.where) as client:
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        came, how = client.end()
    check(how == "reset" and b"in the middle" not in came, f"{how}: {came!r}")
    dev.says("app.lua:6: in the middle")


@test("static_headers of the script do not change the page, and a body that was sent does not harm it")
def _():
    dev = Dev("""return require("moonbridge_http").generate_handler({
  static_headers = {["Content-Security-Policy"] = "default-src *", ["Content-Type"] = "image/png"},
}, function(request) error("wrong") end)""")
    connection = dev.connect()
    connection.request("POST", "/", body="x" * 3000000, headers=HTML)
    response = connection.getresponse()
    equal(response.headers.get_all("Content-Type"), ["text/html; charset=utf-8"], "type")
    equal(len(response.headers.get_all("Content-Security-Policy")), 1, "policies")
    check("app.lua:3: wrong" in response.read().decode(), "page")


@test("nothing but the script's own files is shown, and bytes that are no text do no harm")
def _():
    secret = write_file(mbtest.tmp("secret"), "the secret\n" * 9)
    dev = Dev(f'error("{secret}:3: \\1\\27[31m\\255<b> {secret}:4: app.lua:1: 99999999999999999999")')
    body = dev.body(headers=HTML)
    check("the secret" not in body, body)
    check("\\x01\\x1b[31m\\xff&lt;b&gt;" in body, body)
    check("the secret" not in dev.text() and "\x1b" not in dev.text(), dev.text())


@test("a page that another site's name leads to does not get the script")
def _():
    dev = Dev('error("the secret")')
    for host, shown in (("localhost:1", True), ("127.8.8.8", True), ("[::1]:80", True), ("app.localhost", True),
                        ("evil.example", False), ("127.0.0.1.evil.example", False), ("localhost.evil.example:80", False)):
        for headers in ({}, HTML):
            status, _, body = dev.get(headers={**headers, "Host": host})
            equal((status, "the secret" in body), (500, shown), f"Host: {host}")


@test("a client that does not speak HTTP gets a reset, also one that says nothing")
def _():
    dev = Dev("wrong")
    for data in (b"EHLO localhost\r\n", b"\x16\x03\x01\x00\xa5", b"\n", b"GET /\r\n"):
        with Client(dev.where) as client:
            client.send(data)
            equal(client.end(), (b"", "reset"), f"answer to {data!r}")
    with Client(dev.where) as client:
        equal(client.end(), (b"", "reset"), "answer to nothing")
    with Client(dev.where) as client:
        client.send("GET / HTTP/1.1\r\n")
        client.send("Host: localhost\r\n\r\n")
        check(client.end()[0].startswith(b"HTTP/1.1 500 "), "one that comes in parts")


@test("in the browser: the page at a telephone's width has its style, nothing is refused, nothing scrolls sideways")
def _():
    long_word = "x" * 300
    dev = Dev(f"""-- {long_word}
local http = require "moonbridge_http"
return http.generate_handler(function(request)
  if request.path == "long" then error("<b>{long_word}</b>") end
  local t = nil; return t.name -- {long_word} <script>document.title = "run"</script>
end)""")
    browser = Browser(phone=PHONE)
    for path, what in (("/", "attempt to index a nil value (local 't')"), ("/long", f"<b>{long_word}</b>")):
        browser.open(f"http://127.0.0.1:{dev.where[1]}{path}")
        check(what in browser.text("pre.error"), f"message: {browser.text('pre.error')}")
        width, scrolls = browser.run("return [innerWidth, document.documentElement.scrollWidth]")
        equal((width, scrolls <= width), (PHONE[0], True), f"width; it scrolls to {scrolls}")
        equal(browser.run("return document.querySelectorAll('script,b b,pre.error b').length"), 0, "elements that were put in")
        here = browser.run("return getComputedStyle(document.querySelector('.here')).fontWeight")
        equal(here, "700", "weight of the marked line: the style holds")
        small = browser.run("return parseFloat(getComputedStyle(document.querySelector('pre')).fontSize)")
        check(small >= 12, f"size of the code's letters: {small}")
    if os.environ.get("MB_SCREENSHOT"):  # by hand: to be looked at
        browser.open(f"http://127.0.0.1:{dev.where[1]}/")
        with open(os.environ["MB_SCREENSHOT"], "wb") as f:
            f.write(base64.b64decode(browser.call("GET", "/screenshot")))
    dev.save(page('"<!DOCTYPE html><h1>repaired</h1>"').replace("request:send_data", 'request:send_header("Content-Type", "text/html") request:send_data'))
    browser.call("POST", "/refresh")
    browser.shows("h1", "repaired")
    browser.quit()


@test("the page's policy lets in its style by its hash, and nothing else")
def _():
    dev = Dev("wrong")
    _, head, body = dev.get(headers=HTML)
    style = re.search("<style>(.*?)</style>", body, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = head["Content-Security-Policy"]
    check(f"default-src 'none'; style-src 'sha256-{digest}';" in policy, f"{digest} in {policy}")
    equal((head["X-Content-Type-Options"], head["Cache-Control"]), ("nosniff", "no-store"), "other fields")
    check("http" not in body.replace("moonbridge_http", ""), "nothing from elsewhere")


@test("never without --dev: no file is watched, an edit counts from the next connection on, and no error is shown")
def _():
    path = write_file(mbtest.tmp("plain", "app.lua"), page('nil .. "secret"'))
    pool = mbpool.Pool(path).ready()
    connection = http.client.HTTPConnection(*pool.where, timeout=mbtest.DEADLINE)
    connection.request("GET", "/", headers=HTML)
    response = connection.getresponse()
    equal((response.status, response.read()), (500, b"500 Internal Server Error\n"), "response")
    for pid in everyone(pool.pid):
        try:
            held = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        except FileNotFoundError:  # the process whose handler has failed ends
            continue
        check(not any("inotify" in name for name in held), f"inotify: {held}")
    check("GET" not in pool.text().split("mb-handle: http: in GET")[0], f"no request log: {pool.text()}")


@test("--dev refuses addresses that are not loopback's, whoever names them")
def _():
    path = write_file(mbtest.tmp("refused", "app.lua"), page('"x"'))
    port = mbtest.free_port()
    listens = write_file(mbtest.tmp("refused", "listens.lua"), f"""
listen{{{{proto = "tcp", host = "0.0.0.0", port = {port}}}, connect = print}}
""")
    for args in ([f"--serve=0.0.0.0:{port}", "--dev", path], [f"--serve=[::]:{port}", "--dev", path],
                 ["--serve", "--dev", listens]):
        said = mbtest.replay(*args)
        check(said.returncode != 0 and b"listens on loopback only" in said.stderr, f"{args}: {said}")
    everywhere = write_file(mbtest.tmp("refused", "everywhere.lua"), f"""
listen{{{{proto = "tcp", port = {port}}}, connect = function(socket) socket:write("x") end}}
""")
    pool = mbtest.Process([HANDLE, "--serve", "--dev", everywhere])
    mbtest.wait_listening(("127.0.0.1", port))
    until(lambda: f"http://127.0.0.1:{port}/" in pool.text(), "one that names no host is at 127.0.0.1")
    pool.stop(signal.SIGINT)
    said = mbtest.replay("--dev", path)
    check(said.returncode == 64 and b"--dev goes with --serve" in said.stderr, f"without --serve: {said}")
    for address in (f"[::1]:{port}", str(port)):
        pool = mbtest.Process([HANDLE, f"--serve={address}", "--dev", path])
        mbtest.wait_listening(("127.0.0.1", port))
        until(lambda pool=pool: f"http://{'[::1]' if '[' in address else '127.0.0.1'}:{port}/" in pool.text(), "the URL")
        pool.stop(signal.SIGINT)


# ---- the terminal ----


class Terminal:
    """mb-handle --serve --dev on a terminal."""

    def __init__(self, path, port, env=None):
        self.text = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            for name in ("NO_COLOR",):
                os.environ.pop(name, None)
            os.environ.update(env or {})
            os.execv(HANDLE, [HANDLE, f"--serve=127.0.0.1:{port}", "--dev", path])
        self.status = None
        mbtest.cleanup.callback(self.kill)

    def read(self):
        if select.select([self.fd], [], [], 0.05)[0]:
            try:
                self.text += os.read(self.fd, 65536).decode(errors="replace").replace("\r\n", "\n")
            except OSError:  # EIO: nobody has the terminal open any more
                return False
        return True

    def shows(self, text):
        until(lambda: self.read() and text in self.text, f"{text!r} in {self.text!r}")

    def ctrl_c(self):
        os.write(self.fd, b"\3")
        until(lambda: not self.read(), "the end of the terminal")
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def kill(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGINT)
            os.waitpid(self.pid, 0)


LINE = r"\d\d:\d\d:\d\d 127\.0\.0\.1 GET /\S* %s \d+ B \d+\.\d ms\n"


@test("a request's line: plain into a file, with colours on a terminal, without where NO_COLOR is set")
def _():
    dev = Dev(page('"hello"'))
    dev.get("/a?b=%22%1b")
    dev.says("GET /a?b")
    check(re.search(LINE % 200, dev.text()), dev.text())
    check("\x1b" not in dev.text(), "no colour")
    port = mbtest.free_port()
    path = write_file(mbtest.tmp("coloured", "app.lua"), page('"hello"') + "-- ")
    for env, status in (({}, "\x1b[32m200\x1b[0m"), ({"NO_COLOR": "1"}, "200"), ({"NO_COLOR": ""}, "\x1b[32m200\x1b[0m")):
        terminal = Terminal(path, port, env)
        terminal.shows(f"http://127.0.0.1:{port}/")
        terminal.shows("Ctrl-C ends")
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=mbtest.DEADLINE)
        c.request("GET", "/")
        equal(c.getresponse().read(), b"hello", "answer")
        terminal.shows(" ms\n")
        check(re.search(LINE % re.escape(status), terminal.text), f"{env}: {terminal.text!r}")
        c.close()
        equal(terminal.ctrl_c(), 0, "exit status")


@test("Ctrl-C ends it at once, amid requests, kept connections and a program that runs; a second run on the port works")
def _():
    port = mbtest.free_port()
    path = write_file(mbtest.tmp("ended", "app.lua"), """
local io = require "moonbridge_io"
return require("moonbridge_http").generate_handler(function(request)
  if request.path == "busy" then while true do end end
  if request.path == "program" then os.execute("exec sleep 7777") end
  if request.path == "exec" then io.exec({end_with_script = true}, "sleep", "7778").stdout:read() end
  request:send_status("200 OK")
  request:send_data("hello")
end)
""")
    for _ in range(2):
        terminal = Terminal(path, port)
        terminal.shows("Ctrl-C ends")
        clients = []
        for name in ("busy", "program", "exec", "kept"):
            clients.append(Client(("127.0.0.1", port)))
            clients[-1].send(f"GET /{name} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        terminal.shows("GET /kept")
        clients.append(Client(("127.0.0.1", port)))

        def all_below():
            found = everyone(terminal.pid)
            names = [mbtest.read_file(f"/proc/{pid}/cmdline") for pid in found]
            return found if any("7777" in n for n in names) and any("7778" in n for n in names) else None

        processes = until(all_below, "both programs run")

        def measure(terminal=terminal):
            began = time.monotonic()
            equal(terminal.ctrl_c(), 0, "exit status")
            return time.monotonic() - began

        mbtest.within(1, "from Ctrl-C to the end", measure, attempts=1)
        until(lambda processes=processes: not [pid for pid in processes if mbtest.alive(pid)], "no process is left")
        for client in clients:
            client.end()
            client.sock.close()


@test("SIGTERM lets a request finish, and ends kept connections, also those from before an edit")
def _():
    dev = Dev(page('"0"'))
    kept = dev.connect()
    equal(dev.body(connection=kept), "0", "before")
    dev.save(page('"1"', 'if slow then end'))
    dev.says("loaded anew")
    check(len(mbpool.children_of(dev.pid)) == 2, "the process that the kept connection belongs to is there")
    os.kill(dev.pid, signal.SIGTERM)
    equal(dev.popen.wait(mbtest.DEADLINE), 0, "exit status")
    equal(kept.sock.recv(1), b"", "the kept connection has ended")


@test("many edits leave neither processes nor descriptors behind")
def _():
    dev = Dev(page('"0"'))
    equal(dev.body(), "0", "before")
    until(lambda: len(mbpool.children_of(dev.pid)) == 1, "one generation")
    descriptors = mbpool.descriptors(dev.pid)
    for n in range(1, 21):
        dev.save(page(f'"{n}"') if n % 4 else "wrong")
        (dev.says("loaded anew", n - n // 4) if n % 4 else dev.says("not loaded anew", n // 4))
    until(lambda: len(mbpool.children_of(dev.pid)) == 1, "one generation again")
    equal(mbpool.descriptors(dev.pid), descriptors, "descriptors")


mbtest.main()
