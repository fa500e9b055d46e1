#!/usr/bin/python3
"""moonbridge_http and docs/examples/webapp.lua with curl, ab and wrk, over a real openbsd-inetd and a real systemd user
manager: results right, no request failed, no failed unit and no process left."""

import math
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbspace
import mbtest
from mbtest import check, equal, test, until

CURL, AB, WRK = (mbtest.need(tool) for tool in ("curl", "ab", "wrk"))
for needed in ("inetd", "/lib/systemd/systemd", "systemctl", "systemd-journald", "journalctl"):
    mbtest.need(needed)
mbspace.enter(cgroup=True)

EXAMPLE = os.path.join(mbtest.SRCDIR, "docs", "examples", "webapp.lua")
SECONDS = math.ceil(mbtest.RUN_MAX)  # for one run of a client
# Tells what it understood of a request, sorted; forms up to 200,000 bytes are kept.
FORMS = """
local http = require "moonbridge_http"
local function lines(request, name, values, show)
  local texts = {}
  for key, list in pairs(values or {}) do
    for i, value in ipairs(list) do texts[#texts + 1] = ("%s %s %d %s\\n"):format(name, key, i, show(value)) end
  end
  table.sort(texts)
  request:send_data(table.concat(texts))
end
return http.generate_handler({request_body_size_limit = 200000}, function(request)
  request:consume_input() -- what is wrong with it is known before the status
  request:send_status("200 OK")
  request:send_data(request.method, " ", request.version, " ", request.path, " ", request.query, "\\n")
  lines(request, "get", request.get_params_list, tostring)
  lines(request, "post", request.post_params_list, tostring)
  lines(request, "meta", request.post_metadata_list, function(meta)
    return ("%s %s"):format(meta.file_name, meta.content_type)
  end)
end)
"""

journal = mbspace.Journal()
handlers = os.path.dirname(mbtest.tmp("handlers", "x"))


def file_of(name, data):
    """The path of a new file."""
    path = mbtest.tmp("files", name)
    with open(path, "wb") as f:
        f.write(data)
    return path


def listen_with_inetd(ports):
    mbhosts.Inetd([(f"127.0.0.1:{port}", "tcp4", f"--handlers {handlers}") for port in ports])


manager = mbhosts.UserManager()


def listen_with_systemd(ports):
    start = f"[Service]\nExecStart=\nExecStart={mbtest.HANDLE} --handlers {handlers}\n"
    manager.drop_in("mb@.service", start)
    for port in ports:
        manager.start(f"mb@127.0.0.1:{port}.socket")


# ---- curl ----


class Answer:
    """What curl made of one or several requests: the last one's status, head (lines) and body."""

    def __init__(self, *args, data=b"", status=0):
        head, body = mbtest.tmp("curl", "head"), mbtest.tmp("curl", "body")
        for path in (head, body):
            file_of(path, b"")
        done = subprocess.run(
            [CURL, "-q", "-sS", "--noproxy", "*", "--max-time", str(SECONDS), "-D", head, "-o", body, *args],
            input=data,
            capture_output=True,
            timeout=2 * SECONDS,
            check=False,
            env={"PATH": os.environ["PATH"], "HOME": mbtest.TMP, "LC_ALL": "C.UTF-8"},
        )
        self.printed, self.said = done.stdout.decode(), done.stderr.decode(errors="backslashreplace")
        equal(done.returncode, status, f"exit status of curl {' '.join(args)}; it says {self.said!r}")
        with open(head, "rb") as f:
            self.head = f.read().decode().rstrip("\r\n").split("\r\n\r\n")[-1].split("\r\n")
        with open(body, "rb") as f:
            self.body = f.read()
        self.status = self.head[0].partition(" ")[2]
        self.text = self.body.decode(errors="backslashreplace")

    def value(self, name):
        """The value of a field; None when there is none."""
        values = [v.strip() for n, _, v in (line.partition(":") for line in self.head[1:]) if n.lower() == name.lower()]
        check(len(values) <= 1, f"{name} occurs {len(values)} times: {self.head}")
        return values[0] if values else None

    def rows(self):
        """The rows of the example's table of files."""
        row = '<tr class="file"><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>'
        return re.findall(row, self.text)


def good(*args, **options):
    answer = Answer(*args, **options)
    equal(answer.status, "200 OK", f"status; body {mbtest.short(answer.body)}")
    return answer


def pages(app):
    """GET, HEAD, query, cookie, connections."""
    page = good(app)
    check("<h1>Hello, world!</h1>" in page.text, f"the page: {page.text}")
    equal(page.value("Content-Length"), str(len(page.body)), "Content-Length")
    same = good("--compressed", app)
    equal((same.body, same.value("Content-Encoding")), (page.body, None), "--compressed")
    named = good("-G", "--data-urlencode", "name=<b>&\"' ü", app)
    check("<h1>Hello, &lt;b&gt;&amp;&quot;&#39; ü!</h1>" in named.text, f"the name: {named.text}")
    head = good("-I", app)
    equal([line for line in head.head if "Date" not in line], [line for line in page.head if "Date" not in line], "HEAD")
    jar = mbtest.tmp("curl", "jar")
    file_of(jar, b"")
    for number in (1, 2, 3):
        text = good("-b", jar, "-c", jar, app).text
        check(f"You have been here {number} times." in text, f"visit {number}: {text}")


def connections(app):
    """One connection for several requests, where both sides agree."""
    urls = [app, app + "style.css", app + "nothing", app + "download", app]
    outputs = ["-o", os.devnull] * (len(urls) - 1)  # -o of Answer is for one URL
    form = "%{response_code} %{num_connects}\n"
    again = Answer("-w", form, *outputs, *urls)
    equal(again.printed, "200 1\n200 0\n404 0\n200 0\n200 0\n", "five requests, one connection")
    for _ in range(10):
        discarded = Answer("-v", "-w", form, "-o", os.devnull, "-d", "x" * 100000, app + "nothing", app)
        # On a busy machine curl may read the error before it has sent everything: then it stops, and closes.
        if "stop sending" not in discarded.said:
            break
    equal(discarded.printed, "404 1\n405 0\n", "a request body that nobody wants, twice")
    mixed = ["-w", form, "-I", app, "--next", "-sS", "-w", form, "-o", os.devnull, "-T", file_of("t", b"12345"), app + "upload"]
    equal(Answer(*mixed, "--next", "-sS", "-w", form, "-o", os.devnull, app).printed, "200 1\n200 0\n200 0\n", "HEAD, PUT, GET")
    closed = good("-w", form, "-H", "Connection: close", "-o", os.devnull, app, app)
    equal((closed.printed, closed.value("Connection")), ("200 1\n200 1\n", "close"), "Connection: close")
    old = good("-0", "-w", form, "-o", os.devnull, app, app)
    equal((old.printed, old.value("Connection")), ("200 1\n200 1\n", "close"), "HTTP/1.0")
    old = good("-0", "-H", "Connection: keep-alive", app)
    equal((old.value("Connection"), old.value("Content-Length")), ("keep-alive", str(len(old.body))), "HTTP/1.0 that keeps alive")


EVENTS = "retry: 500\n\n" + "".join(f"id: {n}\ndata: tick {n} of 5\n\n" for n in range(1, 6))


def events(app):
    stream = good("-N", app + "events")
    equal((stream.text, stream.value("Transfer-Encoding")), (EVENTS, "chunked"), "events")
    stream = good("-N", "-0", app + "events")
    equal((stream.text, stream.value("Transfer-Encoding"), stream.value("Connection")), (EVENTS, None, "close"), "HTTP/1.0")
    equal(Answer("-H", "Last-Event-ID: 5", app + "events").status, "204 No Content", "behind the last event")
    equal(Answer("-N", "--max-time", "1", app + "events", status=28).text[:12], "retry: 500\n\n", "a client that leaves early")


def refusals(app):
    equal(Answer(app + "nothing").status, "404 Not Found", "an unknown path")
    for method, path, allow in (("DELETE", "upload", "POST, PUT"), ("POST", "", "GET, HEAD")):
        refused = Answer("-X", method, app + path)
        equal((refused.status, refused.value("Allow")), ("405 Method Not Allowed", allow), f"{method} /{path}")
    equal(Answer("-d", "a=b", app + "upload").status, "415 Unsupported Media Type", "a form that has no files")


def uploads(app):
    """multipart/form-data, a body with a length, one with 100 (Continue), and one in chunks."""
    small = file_of("small \"1\"; a=b ü.txt", b"12345")
    big = file_of("big.bin", os.urandom(5 << 20))
    empty = file_of("empty", b"")
    files = ["-F", f'files=@"{quoted(small)}"', "-F", f"files=@{big};type=x/y", "-F", f"files=@{empty};filename=<&>", "-F", "x=y"]
    want = [
        ("small &quot;1&quot;; a=b ü.txt", "text/plain", "5"),
        ("big.bin", "x/y", str(5 << 20)),
        ("&lt;&amp;&gt;", "application/octet-stream", "0"),
    ]
    for escape in ([], ["--form-escape"]):  # %22 as browsers do, and \" as others do
        form = good(*escape, *files, app + "upload")
        equal(form.rows(), want, f"files {escape}")
    sent = good("-H", "Expect:", "-T", small, "-v", app + "upload")
    equal(sent.text, "5 bytes\n", "-T")
    check("100 Continue" not in sent.said, f"no 100 that was not asked for: {sent.said}")
    for expecting, data in ((small, 5), (big, 5 << 20)):
        # curl sends the body when this time is over, too.
        args = ["-H", "Expect: 100-continue", "--expect100-timeout", str(SECONDS), "-v"]
        sent = good(*args, "-T", expecting, app + "upload")
        equal(sent.text, f"{data} bytes\n", "-T with Expect")
        check("< HTTP/1.1 100 Continue" in sent.said, f"100 (Continue): {sent.said}")
    for args in (["-T", "-"], ["-X", "PUT", "-H", "Transfer-Encoding: chunked", "--data-binary", "@-"]):
        sent = good("-v", *args, app + "upload", data=b"x" * 3000001)
        equal(sent.text, "3000001 bytes\n", f"{args}")
        check("> Transfer-Encoding: chunked" in sent.said, f"it was sent in chunks: {sent.said}")
    sent = good("-0", "-T", big, app + "upload")
    equal(sent.text, f"{5 << 20} bytes\n", "HTTP/1.0")


def quoted(text):
    """As curl wants names in -F."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def downloads(app):
    with open(EXAMPLE, "rb") as f:
        data = f.read()
    size, url = len(data), app + "download"
    whole = good(url)
    equal((whole.body, whole.value("Accept-Ranges")), (data, "bytes"), "the download")
    for range_of, first, last in (
        ("0-9", 0, 9),
        ("100-", 100, size - 1),
        ("-5", size - 5, size - 1),
        (f"-{size + 1}", 0, size - 1),
        (f"{size - 1}-99999999999999999999", size - 1, size - 1),
    ):
        part = Answer("-r", range_of, url)
        equal((part.status, part.body), ("206 Partial Content", data[first : last + 1]), range_of)
        equal(part.value("Content-Range"), f"bytes {first}-{last}/{size}", range_of)
    for range_of in (f"{size}-", "99999999999999999999-", "-0"):
        part = Answer("-H", f"Range: bytes={range_of}", url)
        got = part.status, part.value("Content-Range"), part.body
        equal(got, ("416 Range Not Satisfiable", f"bytes */{size}", b""), range_of)
    for args in (["-r", "0-1,3-4"], ["-r", "5-4"], ["-r", "-"], ["-I", "-r", "0-9"], ["-r", "0-9", "-H", 'If-Range: "x"']):
        equal(good(*args, url).value("Content-Length"), str(size), f"{args}")
    half = file_of("half", data[:4000])
    subprocess.run([CURL, "-q", "-sS", "--noproxy", "*", "-C", "-", "-o", half, url], check=True, timeout=SECONDS)
    with open(half, "rb") as f:
        equal(f.read(), data, "a download that was resumed")


def forms(form):
    url = form + "p?a=1&b=%20+&a=2"
    first = "POST 1.1 p ?a=1&b=%20+&a=2\nget a 1 1\nget a 2 2\nget b 1   \n"
    posted = good("--data-urlencode", "ü=<&=+>", "-d", "x&y=", "-d", "y=%41%zz", url)
    equal(posted.text, first + "post x 1 \npost y 1 \npost y 2 A%zz\npost ü 1 <&=+>\n", "urlencoded")
    small = file_of("small.txt", b"from a file")
    args = ["-F", "x=1", "-F", "x=2;type=text/html", "-F", f'f=@{small};filename="a;b"', "-F", f"g=<{small}"]
    want = (
        "post f 1 from a file\npost g 1 from a file\npost x 1 1\npost x 2 2\n"
        "meta f 1 a;b text/plain\nmeta g 1 nil nil\nmeta x 1 nil nil\nmeta x 2 nil text/html\n"
    )
    equal(good(*args, url).text, first + want, "multipart")
    equal(good("-H", "Transfer-Encoding: chunked", *args, url).text, first + want, "multipart in chunks")
    big = file_of("too-big", b"x" * 1000000)
    for args in (["-F", f"f=@{big}"], ["--data-binary", f"@{big}"], ["-T", big], ["-T", "-"]):
        for expect in ("Expect:", "Expect: 100-continue"):
            refused = Answer("-H", expect, *args, form, data=b"x" * 1000000 if args[-1] == "-" else b"")
            equal((refused.status, refused.value("Connection")), ("413 Content Too Large", "close"), f"{expect} {args}")


# ---- ab and wrk ----


def bench(*argv):
    """The output of a client that has exited with 0."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=2 * SECONDS, check=False)
    text = done.stdout.decode(errors="backslashreplace")
    equal(done.returncode, 0, f"exit status of {' '.join(argv)}; it says {text}")
    return text


def ab(count, *args):
    """So many requests, 8 at a time, none of which fails; returns what ab counts."""
    text = bench(AB, "-q", "-n", str(count), "-c", "8", "-s", str(SECONDS), *args)
    counts = {name.strip(): value.split()[0] for name, _, value in (s.partition(":") for s in text.splitlines()) if value.split()}
    equal(counts.get("Complete requests"), str(count), "Complete requests")
    for name in ("Failed requests", "Write errors", "Non-2xx responses"):
        equal(counts.get(name, "0"), "0", f"{name}; ab says {text}")
    return counts


def ab_all(app):
    page = good(app)
    counts = ab(200, app)
    equal(counts["Document Length"], str(len(page.body)), "length")
    counts = ab(2000, "-k", app)
    equal((counts["Document Length"], counts["Keep-Alive requests"]), (str(len(page.body)), "2000"), "length, and kept alive")
    ab(500, "-k", "-i", app + "download")
    body = file_of(
        "multipart",
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="f"\r\n\r\n' + b"y" * 100000 + b"\r\n--x--\r\n",
    )
    for keep in ([], ["-k"]):
        ab(100, *keep, "-p", body, "-T", "multipart/form-data; boundary=x", app + "upload")


# Three requests at once on each connection; and uploads, whose answers are looked at.
PIPELINE = """
local many
function init()
  many = wrk.format("GET", "/?name=a") .. wrk.format("GET", "/style.css") .. wrk.format("GET", "/script.js")
end
function request() return many end
"""
UPLOAD = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "multipart/form-data; boundary=x"
wrk.body = '--x\\r\\nContent-Disposition: form-data; name="files"; filename="f"\\r\\n\\r\\n' .. ("y"):rep(20000) .. '\\r\\n--x--\\r\\n'
function response(status, headers, body)
  if not body:find("<td>f</td><td>not given</td><td>20000</td>", 1, true) then print("wrong answer: " .. body) end
end
"""


def wrk(least, *args):
    """A second with 8 connections, in which at least so many requests succeed on an idle machine, and none fails."""
    least /= mbtest.SLOWNESS
    text = bench(WRK, "-t1", "-c8", "-d2s" if mbtest.SLOWNESS > 2 else "-d1s", "--timeout", f"{SECONDS}s", *args)
    done = re.search(r"(\d+) requests in", text)
    check(done and int(done[1]) >= least, f"at least {least:.0f} requests; wrk says {text}")
    for trouble in ("Non-2xx", "Socket errors", "wrong answer"):
        check(trouble not in text, f"{trouble}; wrk says {text}")


def wrk_all(app):
    wrk(100, app)
    wrk(8, "-H", "Connection: close", app)
    wrk(100, app + "download")
    for script in (PIPELINE, UPLOAD):
        wrk(100, "-s", mbtest.script(script), app + "upload")


# ---- the tests, for each host ----


def handlers_left():
    """The mb-handle processes of this namespace that are alive."""

    def is_one(pid):
        try:
            return mbtest.read_file(f"/proc/{pid}/comm") == "mb-handle\n" and mbtest.alive(pid)
        except ProcessLookupError:  # it has ended while we read
            return False

    return [pid for pid in os.listdir("/proc") if pid.isdigit() and is_one(pid)]


def serve(label, listen):
    ports = mbtest.free_port(), mbtest.free_port()
    os.symlink(EXAMPLE, f"{handlers}/{ports[0]}.lua")
    mbtest.write_file(f"{handlers}/{ports[1]}.lua", FORMS)
    listen(ports)
    for port in ports:
        mbtest.wait_listening(("127.0.0.1", port))
    app, form = (f"http://127.0.0.1:{port}/" for port in ports)

    for name, function, base in (
        ("GET, HEAD, a query, a cookie, --compressed", pages, app),
        ("connections are used again, or closed, as HTTP/1.1 and 1.0 say", connections, app),
        ("server-sent events", events, app),
        ("404, 405 with Allow, 415", refusals, app),
        ("uploads: -F, -T, Expect: 100-continue, chunks, HTTP/1.0", uploads, app),
        ("downloads: whole, in parts, resumed", downloads, app),
        ("forms, urlencoded and multipart; 413 is read whatever the client was sending", forms, form),
    ):
        test(f"{label}: curl: {name}")(lambda function=function, base=base: function(base))
    native = "hundreds of processes"
    test(f"{label}: ab, with and without -k: no request fails", native)(lambda: ab_all(app))
    test(f"{label}: wrk, kept alive, closed, pipelined, uploads: no request fails", native)(lambda: wrk_all(app))

    @test(f"{label}: afterwards: no process is left, none has failed, and the next client is answered")
    def _():
        until(lambda: not handlers_left(), "all handlers have ended")
        errors = [e["MESSAGE"] for e in journal.entries() if int(e.get("PRIORITY", 6)) <= 3 and "mb-handle" in str(e)]
        equal(errors, [], "errors in the journal")
        pages(app)


serve("inetd", listen_with_inetd)
serve("systemd", listen_with_systemd)


@test("systemd: no failed unit, no instance left, the manager is not degraded, and the sockets listen")
def _():
    until(lambda: manager.instances() == "", "no instance left")
    equal(manager.failed(), "", "failed units")
    equal(manager.systemctl("is-system-running"), "running", "state of the manager")
    sockets = manager.systemctl("list-units", "--plain", "--no-legend", "mb@*.socket").splitlines()
    equal([line.split()[1:4] for line in sockets], [["loaded", "active", "listening"]] * 2, "the sockets")


mbtest.main()
