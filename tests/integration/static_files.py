#!/usr/bin/python3
"""mb.static: files of a directory, side by side with a real nginx; what leads out of the directory, or is no file; files
that change meanwhile; options, listings, and the sandbox."""

import contextlib
import email.utils
import errno
import gzip
import os
import re
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.parse

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbspace
import mbtest
from mbhandler import lua
from mbhttp import Connection, Malformed, request, served
from mblacking import OPENAT2, lacking
from mbtest import about, check, equal, free_port, need, tcp_pair, test

nginx = need("nginx")
mbspace.enter()
HOUR_AGO = int(time.time()) - 3600
DATE = email.utils.formatdate(HOUR_AGO, usegmt=True)
BEFORE = email.utils.formatdate(HOUR_AGO - 1, usegmt=True)
AFTER = email.utils.formatdate(HOUR_AGO + 1, usegmt=True)
LARGE_SIZE = 5 * 1024**3  # more than 32 bits hold; a sparse file


def settle(path, when=HOUR_AGO):
    os.utime(path, (when, when))
    return path


def put(path, data, when=HOUR_AGO):
    with open(mbtest.tmp(*path.split("/")), "wb") as f:
        f.write(data)
    return settle(f.name, when)


# What both servers serve.
ROOT = os.path.join(mbtest.TMP, "site")
DIGITS = b"0123456789"
PAGE = b"<!DOCTYPE html><title>Page</title>"
put("site/digits.txt", DIGITS)
put("site/index.html", PAGE)
put("site/empty.txt", b"")
put("site/dir/index.html", b"<p>in dir")
put("site/dir/other.css", b"p {}")
put("site/bare/file.json", b"{}")
put("site/with space & more.html", b"<p>a space")
put("site/f\u00fcr.txt", b"umlaut")
put("site/100%.txt", b"percent")
put("site/no-extension", b"x")
put("site/photo.JPG", b"\xff\xd8")
put("site/pack.tar.gz", b"\x1f\x8b")
put("site/app.js", b"let a = 1\n" * 100)
put("site/app.js.gz", gzip.compress(b"let a = 1\n" * 100))
put("site/medium.bin", bytes(range(256)) * 1000)
with open(os.path.join(ROOT, "large.bin"), "wb") as large:
    large.truncate(LARGE_SIZE)
    large.seek(LARGE_SIZE - 5)
    large.write(b"at 5G")
settle(large.name)

CONFIG = f"""
daemon off; master_process off; pid {mbtest.tmp("nginx", "pid")}; error_log {mbtest.tmp("nginx", "error")};
events {{ }}
http {{
  access_log off; root {ROOT}; default_type application/octet-stream; sendfile on;
  types {{ text/html html; text/plain txt; text/css css; application/json json; text/javascript js; image/jpeg jpg;
          application/gzip gz; }}
  charset utf-8; charset_types text/plain text/css text/javascript;
  if_modified_since before; absolute_redirect off; gzip_static on; gzip_vary on; gzip_types *; port_in_redirect off;
  client_body_temp_path {mbtest.tmp("nginx", "1")}; proxy_temp_path {mbtest.tmp("nginx", "2")};
  fastcgi_temp_path {mbtest.tmp("nginx", "3")}; uwsgi_temp_path {mbtest.tmp("nginx", "4")};
  scgi_temp_path {mbtest.tmp("nginx", "5")};
  server {{ listen 127.0.0.1:%d; }}
}}
"""


def direct(root=ROOT, options=""):
    """A script whose callback is that of mb.static."""
    return (
        'local http, static = require "moonbridge_http", require "mb.static" '
        f"return http.generate_handler(static.new({lua(root)}, {{{options}}}))"
    )


def routed(root=ROOT, options=""):
    """A script that has the same files below /files/."""
    return f"""
local http, static, router = require "moonbridge_http", require "mb.static", require "mb.router"
local routes = router.new()
routes:get("/hello", function(request) request:send_status(200) request:send_data("hello") end)
routes:mount("/files", static.new({lua(root)}, {{{options}}}))
return http.generate_handler(routes)"""


def locked(sandbox, root=ROOT, options="listing = true, precompressed = true"):
    """A script that has them in a sandbox."""
    return f"""
local http, static = require "moonbridge_http", require "mb.static"
local files = static.new({lua(root)}, {{{options}}})
listen{{sandbox = {sandbox}, connect = http.generate_handler(files)}}"""


def ask(client, target="/", method="GET", headers=()):
    client.send(request(target, method, headers=list(headers)))
    return client.response(method)


def parts_of(response):
    """The parts of a multipart/byteranges: a list of (Content-Type, Content-Range, body)."""
    boundary = re.fullmatch("multipart/byteranges; boundary=([0-9a-z]+)", response.value("Content-Type"))[1]
    first, *parts, last = (b"\r\n" + response.body).split(f"\r\n--{boundary}".encode())
    equal((first.strip(), last.strip()), (b"", b"--"), "the ends of the parts")
    found = []
    for part in parts:
        head, _, body = part.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().strip().split("\r\n"))
        found.append((fields["Content-Type"], fields["Content-Range"], body))
    return found


def seen(response):
    """What both servers must have in common."""
    good = response.status < 300
    result = {"status": response.status}
    if good or response.status == 304:
        for name in ("Last-Modified", "Content-Encoding"):
            result[name] = response.value(name)
        result["etag"] = response.value("ETag") is not None
    if response.status == 200 and not response.value("Content-Encoding"):  # nginx has it nowhere else
        result["Accept-Ranges"] = response.value("Accept-Ranges")
    if response.status == 301:
        result["Location"] = response.value("Location")
    if response.status == 206 and response.value("Content-Type").startswith("multipart/"):
        result["parts"] = parts_of(response)
    elif good:
        result |= {"body": response.body, "type": response.value("Content-Type"), "length": response.length()}
    if response.status in (206, 416):
        result["range"] = response.value("Content-Range")
    return result


def tell(client, prefix, target, method, lines):
    """Asks one of them; returns what seen() says of its response."""
    etag = ask(client, prefix + target).value("ETag") if any("ETAG" in line for line in lines) else ""
    result = seen(ask(client, prefix + target, method, [line.replace("ETAG", etag) for line in lines]))
    if result.get("Location"):
        result["Location"] = result["Location"].removeprefix(prefix)
    return result


# Requests that both answer in the same way: target, method, header lines. ETAG stands for the server's own one.
SAME = [
    *[(target, "GET", ()) for target in (
        "/digits.txt", "/", "/empty.txt", "/dir/", "/dir", "/dir?a=b", "/dir/other.css", "/bare", "/bare/",
        "/bare/file.json", "/with%20space%20%26%20more.html", "/with%20space%20&%20more.html", "/f%c3%bcr.txt",
        "/100%25.txt", "/%64igits.txt", "/no-extension", "/photo.JPG", "/pack.tar.gz", "/medium.bin", "/digits.txt?query",
        "/missing", "/missing/", "/digits.txt/", "/digits.txt/x", "/dir/missing", "/" + "x" * 300, "/.hidden",
    )],
    *[(target, "HEAD", ()) for target in ("/digits.txt", "/", "/empty.txt", "/dir", "/missing", "/medium.bin", "/large.bin")],
    *[("/digits.txt", method, ()) for method in ("POST", "PUT", "DELETE", "PATCH")],
    # conditions
    *[("/digits.txt", "GET", lines) for lines in (
        ("If-None-Match: ETAG",), ("If-None-Match: W/ETAG",), ('If-None-Match: "x", ETAG',), ("If-None-Match: *",),
        ('If-None-Match: "x"',), (f"If-Modified-Since: {DATE}",), (f"If-Modified-Since: {AFTER}",),
        (f"If-Modified-Since: {BEFORE}",), ("If-Modified-Since: x",), ("If-Match: ETAG",), ("If-Match: *",),
        ('If-Match: "x"',), (f"If-Unmodified-Since: {DATE}",), (f"If-Unmodified-Since: {BEFORE}",),
        ('If-Match: "x"', "If-None-Match: ETAG"),
        ("If-Match: ETAG", "If-None-Match: ETAG"),
    )],
    ("/digits.txt", "HEAD", ("If-None-Match: ETAG",)),
    # ranges
    *[("/digits.txt", "GET", (f"Range: {value}",)) for value in (
        "bytes=0-0", "bytes=0-4", "bytes=2-", "bytes=-3", "bytes=-20", "bytes=0-20", "bytes=10-", "bytes=20-30",
        "bytes=0-1,4-5", "bytes=4-5,0-1", "bytes=0-1,20-30", "bytes=0-9,0-9", "bytes=0-,0-", "bytes=x", "bytes=-",
        "bytes=1", "items=0-1", "bytes=5-4", "bytes=-0", "bytes=0-1,3-4,6-7",
        "bytes=99999999999999999999-",
    )],
    *[("/digits.txt", "GET", ("Range: bytes=2-4", f"If-Range: {value}")) for value in (
        "ETAG", "W/ETAG", '"x"', DATE, BEFORE, AFTER,
    )],
    ("/digits.txt", "GET", ("Range: bytes=2-4", "If-None-Match: ETAG")),
    ("/digits.txt", "GET", ("Range: bytes=20-", 'If-Match: "x"')),
    ("/medium.bin", "GET", ("Range: bytes=70000-200000",)),
    ("/medium.bin", "GET", ("Range: bytes=0-70000,100000-200000",)),
    ("/large.bin", "GET", (f"Range: bytes={LARGE_SIZE - 5}-",)),
    ("/large.bin", "GET", ("Range: bytes=-5",)),
    ("/large.bin", "GET", ("Range: bytes=4294967295-4294967297",)),
    ("/empty.txt", "GET", ("Range: bytes=0-",)),
    # codings
    *[("/app.js", "GET", (f"Accept-Encoding: {value}",)) for value in ("gzip", "gzip;q=0", "br", "gzip, br", "identity")],
    ("/app.js", "HEAD", ("Accept-Encoding: gzip",)),
]  # fmt: skip


@test("the same requests as to nginx: the same status, fields that matter, and bytes; as a callback and as a route")
def _():
    port = free_port()
    config = mbtest.write_file(mbtest.tmp("nginx", "conf"), CONFIG % port)
    server = mbtest.Process([nginx, "-p", mbtest.TMP, "-e", mbtest.tmp("nginx", "error"), "-c", config])
    mbtest.wait_listening(("127.0.0.1", port))
    types = "types = {gz = 'application/gzip'}, precompressed = true"
    for script, prefix in ((direct(options=types), ""), (routed(options=types), "/files")):
        with served(script, pair=tcp_pair) as (ours, _):
            for target, method, lines in SAME:
                # nginx ends a connection after a 412, though it has said that it stays.
                with about(f"{method} {target[:60]} {lines}"), Connection(("127.0.0.1", port)) as theirs:
                    want = tell(theirs, "", target, method, lines)
                    equal(tell(ours, prefix, target, method, lines), want, "ours, with nginx's expected")
    server.stop()


@test("where nginx does something else: what we do, and why")
def _():
    with served(direct(options="precompressed = true")) as (client, _):
        # RFC 9110, section 13.2.2: with If-None-Match, If-Modified-Since does not count.
        etag = ask(client, "/digits.txt").value("ETag")
        both = [f"If-None-Match: {etag}", f"If-Modified-Since: {BEFORE}"]
        equal(ask(client, "/digits.txt", headers=both).status, 304, "If-None-Match and If-Modified-Since")
        # A compressed file has ranges of its own.
        response = ask(client, "/app.js", headers=["Accept-Encoding: gzip", "Range: bytes=0-1"])
        equal((response.status, response.body, response.value("Content-Encoding")), (206, b"\x1f\x8b", "gzip"), "a range")
        # RFC 9110, section 14.2: Range is for GET only.
        equal(ask(client, "/digits.txt", "HEAD", ["Range: bytes=0-1"]).status, 200, "HEAD with Range")
        # Two names of one file would go past a guard of one of them.
        for target in ("//digits.txt", "/dir//index.html", "//", "/dir//"):
            equal(ask(client, target).status, 404, target)
        for target in ("/dir/../digits.txt", "/./digits.txt", "/dir/..", "/.", "/..", "/../..", "/%2e%2e/digits.txt",
                       "/dir%2findex.html", "/digits.txt%00", "/%2e", "/dir/%2e%2e/digits.txt", "/..%2fsite%2fdigits.txt"):  # fmt: skip
            equal(ask(client, target).status, 400, target)
        response = ask(client, "/digits.txt")
        equal(response.value("X-Content-Type-Options"), "nosniff", "X-Content-Type-Options")
        equal(ask(client, "/digits.txt", "POST").value("Allow"), "GET, HEAD", "Allow")
        equal(ask(client, "*", "OPTIONS").status, 405, "OPTIONS *")


def make_escapes():
    """Makes a root with files, links, and others. Returns it."""
    root = os.path.join(mbtest.TMP, "escape", "root")
    put("escape/secret", b"secret")
    put("escape/root/file.txt", b"in the root")
    put("escape/root/sub/deep.txt", b"deep")
    put("escape/root/.secret", b"hidden")
    put("escape/root/.git/config", b"hidden")
    put("escape/root/.well-known/acme", b"for everybody")
    for name, target in {
        "up": "../secret", "absolute": "/etc/passwd", "parent": "..", "slash": "/", "proc": "/proc/self/root",
        "loop": "loop", "inside": "file.txt", "sub/inside": "../file.txt", "sub/up": "../../secret", "into": "sub",
        "itself": os.path.join(root, "file.txt"), "nowhere": "nothing", "tty": "/dev/zero",
    }.items():  # fmt: skip
        os.symlink(target, os.path.join(root, name))
    os.mkfifo(os.path.join(root, "fifo"))
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.join(root, "socket"))
    device = os.path.join(root, "device")
    with contextlib.suppress(PermissionError):
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    unreadable = put("escape/root/unreadable", b"x")
    os.chmod(unreadable, 0)
    return root


@test("what leads out of the root, and what is no regular file, is refused; the rest of the connection is as before")
def _():
    root = make_escapes()
    cases = {
        "/file.txt": 200, "/sub/deep.txt": 200, "/inside": 200, "/sub/inside": 200, "/into/deep.txt": 200,
        "/.well-known/acme": 200,
        "/up": 403, "/absolute": 403, "/parent/secret": 403, "/slash/etc/passwd": 403, "/proc/etc/passwd": 403, "/loop": 403,
        "/sub/up": 403, "/itself": 403, "/tty": 403, "/parent/": 403, "/slash/": 403, "/parent": 403,
        "/nowhere": 404, "/fifo": 404, "/socket": 404, "/device": 404, "/fifo/": 404,
        "/.secret": 404, "/.git/config": 404, "/.git/": 404, "/.git": 404, "/%2egit/config": 404,
        "/unreadable": 200 if os.geteuid() == 0 else 403,
    }  # fmt: skip
    for script, prefix in ((direct(root), ""), (routed(root), "/files")):
        with served(script) as (client, _):
            for target, status in cases.items():
                for method in ("GET", "HEAD"):
                    response = ask(client, prefix + target, method)
                    equal(response.status, status, f"{method} {target}")
                    check(b"secret" not in response.body and b"root:" not in response.body, f"{target}: {response.body}")
    with served(direct(root, "dotfiles = true")) as (client, _):
        for target in ("/.secret", "/.git/config", "/.well-known/acme"):
            equal(ask(client, target).status, 200, f"{target} with dotfiles")
        equal(ask(client, "/../secret").status, 400, "dot segments all the same")

    # Without openat2 no link is followed; all else is answered as before.
    links = dict.fromkeys(("/inside", "/sub/inside", "/into/deep.txt", "/nowhere"), 403)
    wish = f"{{read = {{{lua(root)}}}}}"
    for answer in (errno.ENOSYS, errno.EPERM):
        program = lacking(OPENAT2, mbtest.HANDLE, answer=answer)
        for script, prefix in ((direct(root), ""), (routed(root), "/files"), (locked(wish, root), "")):
            with about(errno.errorcode[answer]), served(script, program=program) as (client, _):
                for target, status in (cases | links).items():
                    response = ask(client, prefix + target)
                    equal(response.status, status, f"{target} without openat2")
                    check(b"secret" not in response.body and b"root:" not in response.body, f"{target}: {response.body}")
                response = ask(client, prefix + "/sub/deep.txt", headers=["Range: bytes=1-2"])
                equal((response.status, response.body), (206, b"ee"), "a part without openat2")


@test("a FIFO is not opened: who waits for a reader goes on waiting")
def _():
    root = os.path.join(mbtest.TMP, "fifo")
    os.mkdir(root)
    path = os.path.join(root, "fifo")
    os.mkfifo(path)
    asked, released = [], []

    def write():
        fd = os.open(path, os.O_WRONLY)  # waits for a reader
        released.append(bool(asked))
        os.close(fd)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    with served(direct(root)) as (client, _):
        for _ in range(20):
            equal(ask(client, "/fifo").status, 404, "the FIFO")
    asked.append(True)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer.join(mbtest.DEADLINE)
    os.close(reader)
    equal(released, [True], "the writer was released by us")


@test("a redirect leads to no other host; a query stays")
def _():
    with served(direct()) as (client, _):
        equal(ask(client, "/dir?a=b&c=/").value("Location"), "/dir/?a=b&c=/", "Location")
        equal(ask(client, "//dir").status, 404, "two slashes")
    script = f"""
local http, static = require "moonbridge_http", require "mb.static"
local files = static.new({lua(ROOT)})
return http.generate_handler(function(request) return files(request, {{path = "dir"}}) end)"""
    with served(script) as (client, _):
        for target in ("//evil.example", "///evil.example", "/evil.example"):
            equal(ask(client, target).value("Location"), "/evil.example/", target)


@test("ETag: a strong one, other for each version; weak as long as the file has just changed")
def _():
    path = put("etag/file.txt", b"first")
    root = os.path.dirname(path)
    with served(direct(root)) as (client, _):
        first = ask(client, "/file.txt").value("ETag")
        check(re.fullmatch('"[0-9a-f-]+"', first), f"a strong etag: {first}")
        equal(ask(client, "/file.txt").value("ETag"), first, "the same again")
        put("etag/new", b"other")  # as large, and as old
        os.rename(os.path.join(root, "new"), path)
        second = ask(client, "/file.txt").value("ETag")
        check(second != first, f"a replaced file has another etag: {second}")
        equal(ask(client, "/file.txt", headers=[f"If-None-Match: {first}"]).body, b"other", "the new version")
        put("etag/file.txt", b"now", time.time())
        third = ask(client, "/file.txt").value("ETag")
        check(third.startswith('W/"'), f"a weak etag: {third}")
        equal(ask(client, "/file.txt", headers=[f"If-None-Match: {third}"]).status, 304, "If-None-Match with it")
        for line in (f"If-Range: {third}", f"If-Range: {third[2:]}"):
            equal(ask(client, "/file.txt", headers=["Range: bytes=0-0", line]).body, b"now", line)
        put("etag/file.txt", b"later", time.time() + 10000)
        response = ask(client, "/file.txt")
        equal(response.value("Last-Modified"), response.value("Date"), "no file has changed after the response")
        put("etag/file.txt", b"early", -1000)
        equal(ask(client, "/file.txt").value("Last-Modified"), None, "no date before 1970")


@test("a file that shrinks while it is sent: the client sees that it is not whole, and the log has one line")
def _():
    size = 64 * 1024 * 1024
    for headers in ([], ["Range: bytes=0-50000000"], ["Range: bytes=0-50000000,60000000-60000001"]):
        path = put("shrink/file.bin", b"")
        os.truncate(path, size)
        with served(direct(os.path.dirname(path)), pair=tcp_pair, log=None) as (client, server):
            client.send(request("/file.bin", headers=headers))
            head = client.head()
            check(head.length() > 50000000, f"Content-Length: {head.length()}")
            os.truncate(path, 10)
            try:
                client.data(head)
            except Malformed as error:
                check("reset" in str(error), f"a reset: {error}")
            else:
                check(False, "the response was whole")
            server.child.wait()
            lines = [line for line in mbtest.without_ends(server.rest()).splitlines() if line]
            equal(len(lines), 1, f"lines of the log: {lines}")
            check("file.bin" in lines[0] and "shorter" in lines[0], f"the line: {lines[0]}")
    with served(direct(os.path.dirname(path))) as (client, _):  # whole again
        equal(ask(client, "/file.bin").body, b"\0" * 10, "the file afterwards")


@test("a client that goes away in the middle of a file, or of several parts: a line for the client's fault, no failure")
def _():
    for headers in ([], ["Range: bytes=0-1,100-5000000000"]):
        with served(direct(), pair=tcp_pair, log="the connection to the client is lost") as (client, server):
            client.send(request("/large.bin", headers=headers))
            client.head()
            client.reset()
            equal(server.child.wait(), 0, "exit status")


@test("a callback that fails: an error of the script, as anywhere, which names its line")
def _():
    for function, want in (('error("broken")', "broken"), ("return 5 == 5", "cache_control"), ("return {}", "cache_control")):
        script = direct(options=f"cache_control = function() {function} end").replace("return http", "\nreturn http")
        with served(script, status=70, log=want) as (client, _):
            equal(ask(client, "/digits.txt").status, 500, function)


@test("dates: static.date and static.parse_date")
def _():
    script = mbtest.script("""local static = require "mb.static"
print(static.date(784111777), static.parse_date("Sun Nov  6 08:49:37 1994"), static.parse_date("now"))
print(pcall(static.date, -1))
return print""")
    said = mbtest.replay(script).stderr.decode()
    check("Sun, 06 Nov 1994 08:49:37 GMT\t784111777\tnil" in said, said)
    check("not within the years 1970 to 9999" in said, said)


@test("64 KiB of Range, and the most ranges: whole files or parts, never an error of ours")
def _():
    with served(direct(), options="", log=None) as (client, _):
        many = "bytes=" + ",".join("1-1" for _ in range(16000))
        check(len(many) > 63000, "the length of the field")
        equal(ask(client, "/digits.txt", headers=[f"Range: {many}"]).status, 200, "a Range of 64 KiB")
        for count, status in ((2, 206), (16, 206), (17, 200)):
            ranges = "bytes=" + ",".join(f"{10 * i}-{10 * i}" for i in range(count))
            equal(ask(client, "/medium.bin", headers=[f"Range: {ranges}"]).status, status, f"{count} ranges")
        overlapping = "bytes=" + ",".join("0-" for _ in range(16))
        equal(ask(client, "/medium.bin", headers=[f"Range: {overlapping}"]).body, bytes(range(256)) * 1000, "all of it often")


@test("precompressed: by Accept-Encoding, with an etag of its own; not an older one; Vary on every answer")
def _():
    put("zip/a.txt", b"plain")
    put("zip/a.txt.gz", b"gzip")
    put("zip/a.txt.br", b"brotli")
    put("zip/a.txt.zst", b"zstd")
    put("zip/b.txt", b"plain")
    put("zip/b.txt.gz", b"too old", HOUR_AGO - 10)
    os.mkdir(os.path.join(mbtest.TMP, "zip", "b.txt.br"))
    root = os.path.join(mbtest.TMP, "zip")
    cases = {
        "gzip": b"gzip", "br": b"brotli", "zstd": b"zstd", "gzip, br": b"brotli", "gzip, zstd": b"zstd",
        "gzip;q=1, br;q=0.5": b"gzip", "*": b"brotli", "br;q=0, *": b"zstd", "identity": b"plain", "": b"plain",
        "deflate": b"plain",
    }  # fmt: skip
    with served(direct(root, "precompressed = true")) as (client, _):
        etags = {}
        for accept, want in cases.items():
            response = ask(client, "/a.txt", headers=[f"Accept-Encoding: {accept}"])
            equal(response.body, want, accept)
            coding = {b"gzip": "gzip", b"brotli": "br", b"zstd": "zstd"}.get(want)
            equal(response.value("Content-Encoding"), coding, accept)
            equal(response.value("Content-Type"), "text/plain; charset=utf-8", accept)
            equal(response.value("Vary"), "Accept-Encoding", accept)
            equal(etags.setdefault(want, response.value("ETag")), response.value("ETag"), f"one etag for {want}")
            same = [f"Accept-Encoding: {accept}", f"If-None-Match: {response.value('ETag')}"]
            again = ask(client, "/a.txt", headers=same)
            equal((again.status, again.value("Vary")), (304, "Accept-Encoding"), f"{accept}: 304")
        equal(len(set(etags.values())), 4, f"etags: {etags}")
        equal(ask(client, "/b.txt", headers=["Accept-Encoding: gzip, br"]).body, b"plain", "an older one, and a directory")
        equal(ask(client, "/a.txt.gz").value("Content-Encoding"), None, "the compressed file itself")
    with served(direct(root)) as (client, _):
        response = ask(client, "/a.txt", headers=["Accept-Encoding: gzip"])
        equal((response.body, response.value("Vary")), (b"plain", None), "without the option")


@test("options: index, cache_control, types, default_type, charset")
def _():
    def one(options, target, name):
        with served(direct(options=options)) as (client, _):
            response = ask(client, target)
            return response.status if name is None else response.value(name)

    equal(one("index = 'digits.txt'", "/", "Content-Type"), "text/plain; charset=utf-8", "another index")
    equal(one("index = false", "/", None), 403, "no index")
    equal(one("cache_control = 'max-age=60'", "/digits.txt", "Cache-Control"), "max-age=60", "cache_control")
    by_path = "cache_control = function(path) return path == 'dir/other.css' and 'immutable' or nil end"
    equal(one(by_path, "/dir/other.css", "Cache-Control"), "immutable", "cache_control by a function")
    equal(one(by_path, "/digits.txt", "Cache-Control"), None, "cache_control by a function that returns nil")
    equal(one("types = {txt = 'text/x-mine'}", "/digits.txt", "Content-Type"), "text/x-mine; charset=utf-8", "types")
    typed = "types = {txt = 'text/x; charset=latin1'}"
    equal(one(typed, "/digits.txt", "Content-Type"), "text/x; charset=latin1", "types")
    equal(one("charset = false", "/digits.txt", "Content-Type"), "text/plain", "charset")
    equal(one("default_type = 'a/b'", "/no-extension", "Content-Type"), "a/b", "default_type")


TYPES = """# application/x-comment  commented
#application/x-out	out
application/x-one  one  	One.Two
application/x-second one two-more
no-type  lone
application/x-none
application/x-tab	tab # hash
application/x-LONG              """ + " ".join(f"filler{i}" for i in range(300)) + """ end
text/x-tex	text-like
application/x-last last"""


@test("/etc/mime.types: what its lines say, in any sandbox; an empty one, and one without an end")
def _():
    wanted = {
        "one": "application/x-one", "ONE": "application/x-one", "tab": "application/x-tab", "end": "application/x-LONG",
        "two-more": "application/x-second", "text-like": "text/x-tex; charset=utf-8", "last": "application/x-last",
        **dict.fromkeys(("commented", "out", "two", "lone", "hash", "#", "on", "ne", "x-none", "x-tab", "filler", "%", "x"), "a/b"),
        "one two-more": "a/b",
    }  # fmt: skip
    root = os.path.dirname(put("types/none", b""))
    for extension in wanted:
        put(f"types/file.{extension}", b"x")
    file = mbtest.write_file(mbtest.tmp("mime.types"), TYPES)
    path = os.path.realpath("/etc/mime.types")
    check(os.path.exists(path), "/etc/mime.types, of Debian's package media-types, is there")

    def types(sandbox):
        with served(locked(sandbox, root, "default_type = 'a/b'")) as (client, _):
            return {e: ask(client, f"/file.{urllib.parse.quote(e)}").value("Content-Type") for e in wanted}

    wish = f"{{read = {{{lua(root)}}}}}"
    for name, there, want in (
        ("a file", file, wanted),
        ("bytes without an end", "/dev/zero", dict.fromkeys(wanted, "a/b")),
        ("nothing in it", "/dev/null", dict.fromkeys(wanted, "a/b")),
    ):
        subprocess.run(["mount", "--bind", there, path], check=True)
        try:
            for sandbox in (wish, "nil"):
                got = types(sandbox)
                equal({e: got[e] for e in got if got[e] != want[e]}, {}, f"what is not as expected of {name} in {sandbox}")
        finally:
            subprocess.run(["umount", path], check=True)


@test("misuse is an error at the script's line that names the option, when static.new is called")
def _():
    cases = [
        ("nil", "expected the path of a directory, got nil"),
        ('"/nonexistent"', "/nonexistent: No such file or directory"),
        (lua(os.path.join(ROOT, "digits.txt")), "Not a directory"),
        ('"/", 5', "expected a table of options, got number"),
        ('"/", {lsiting = true}', "there is no option lsiting; there are cache_control, charset, default_type, dotfiles, index, "
                                  "listing, precompressed, types"),
        ('"/", {listing = 1}', "option listing: expected true or false, got number"),
        ('"/", {index = "a/b"}', "option index: expected"),
        ('"/", {index = true}', "option index: expected"),
        ('"/", {index = ".."}', "option index: expected"),
        ('"/", {cache_control = "a\\nb"}', "option cache_control: expected"),
        ('"/", {cache_control = 60}', "option cache_control: expected"),
        ('"/", {types = {[".html"] = "text/html"}}', "option types: expected"),
        ('"/", {types = {html = "html"}}', "option types: expected"),
        ('"/", {default_type = "text"}', "option default_type: expected"),
        ('"/", {charset = "a b"}', "option charset: expected"),
    ]  # fmt: skip
    for arguments, want in cases:
        path = mbtest.script(f'local static = require "mb.static"\nstatic.new({arguments})\nreturn print')
        done = mbtest.replay(path)
        said = done.stderr.decode()
        equal(done.returncode, 78, f"exit status for {arguments} ({said})")
        check(f"{os.path.basename(path)}:2: static.new: " in said and want in said, f"{arguments}: {said}")


@test("the manual page has each option, with its default, in the order of the alphabet")
def _():
    page = mbtest.read_file(os.path.join(mbtest.SRCDIR, "docs", "mb.static.3"))
    source = mbtest.read_file(os.path.join(mbtest.SRCDIR, "lua", "mb", "static", "options.lua"))
    rows = source.partition("local OPTIONS = {")[2].partition("\n}\n")[0]
    options = re.findall(r"^  (\w+) = \{", rows, re.M)
    check(len(options) >= 8 and options == sorted(options), f"the options: {options}")
    equal(re.findall(r"^\.It Li (\w+) Ta ", page, re.M), options, "the table")
    equal(re.findall(r"^\.It Va (\w+)$", page, re.M), options, "the list")
    face = mbtest.read_file(os.path.join(mbtest.SRCDIR, "lua", "mb", "static.lua"))
    for name in options:
        default = re.search(rf'^    {name} = "?([^",]+)"?,$', face, re.M)
        shown = re.search(rf"^\.It Li {name} Ta (.*?) Ta ", page, re.M)[1]
        equal(shown, default[1] if default else "(none)", f"the default of {name}")


@test("a relative root is that of the working directory when static.new is called, and it stays when it is renamed")
def _():
    put("moved/before/file.txt", b"here")
    root = os.path.join(mbtest.TMP, "moved", "before")
    with served(direct(root)) as (client, _):
        equal(ask(client, "/file.txt").body, b"here", "before")
        os.rename(root, root + "-after")
        equal(ask(client, "/file.txt").body, b"here", "after")


@test("listing: sorted, escaped, in UTF-8; only what can be asked for; every link leads to its file")
def _():
    names = ["a<b>&\"'.txt", "f\u00fcr.txt", "javascript:alert(1)", "100%.txt", "with space", "?query#fragment", "\udcff.bin"]
    for name in names:
        put("list/" + name, b"x" * 2000)
    for name in ("zdir/x", ".hidden"):
        put("list/" + name, b"x")
    root = os.path.join(mbtest.TMP, "list")
    os.symlink("/etc/passwd", os.path.join(root, "outside"))
    os.symlink("zdir", os.path.join(root, "inside"))
    os.mkfifo(os.path.join(root, "fifo"))
    with served(direct(root, "listing = true")) as (client, _):
        response = ask(client, "/")
        page = response.body.decode("utf-8")
        links = re.findall('<a href="([^"]*)">', page)
        check("default-src 'none'" in response.value("Content-Security-Policy"), "Content-Security-Policy")
        check("<script" not in page and "a<b>" not in page and "a&lt;b&gt;&amp;&quot;" in page, f"the page: {page}")
        equal([link for link in links if link.endswith("/")], ["./inside/", "./zdir/"], "directories")
        equal(links[:2], ["./inside/", "./zdir/"], "directories come first")
        equal(len(links), len(names) + 2, f"links: {links}")
        check("2.0 KiB" in page, "sizes")
        for link in links:
            check(link.startswith("./"), link)
            equal(ask(client, link[1:]).status, 200, link)
        page = ask(client, "/zdir/").body.decode()
        equal(re.findall('<a href="([^"]*)">', page), ["../", "./x"], "links of a directory below")
        equal(ask(client, "/zdir/", "HEAD").status, 200, "HEAD")
    with served(direct(root, "listing = true, dotfiles = true")) as (client, _):
        check('href="./.hidden"' in ask(client, "/").text(), "dotfiles")
    with served(direct(root)) as (client, _):
        equal(ask(client, "/").status, 403, "without the option")


@test("sandbox: the wish to read the root is enough; without it nothing is read, and the log says what is missing")
def _():
    os.symlink("digits.txt", os.path.join(ROOT, "link.txt"))
    with served(locked(f"{{read = {{{lua(ROOT)}}}}}")) as (client, _):
        equal(ask(client, "/digits.txt").body, DIGITS, "a small file")
        equal(ask(client, "/link.txt").body, DIGITS, "by a symbolic link, which needs openat2")
        equal(ask(client, "/medium.bin").body, bytes(range(256)) * 1000, "a large file")
        equal(ask(client, "/digits.txt", headers=["Range: bytes=0-1,3-4"]).status, 206, "parts")
        equal(ask(client, "/bare/").status, 200, "a listing")
        equal(ask(client, "/missing").status, 404, "what is missing")
    with served(locked('"strict"'), log="digits.txt") as (client, _):
        equal(ask(client, "/digits.txt").status, 403, "without the wish")


@test("no descriptor is left by any answer; where none is free, the answer is 500 and a line of the log")
def _():
    with served(direct(options="precompressed = true, listing = true"), log="Too many open files") as (client, server):
        targets = [(t, m, h) for t, m, h in SAME if m != "POST" and not any("ETAG" in line for line in h)]
        ask(client)
        before = len(os.listdir(f"/proc/{server.pid}/fd"))
        for target, method, lines in targets:
            ask(client, target, method, lines)
            after = len(os.listdir(f"/proc/{server.pid}/fd"))
            equal(after, before, f"descriptors after {method} {target} {lines}")
        server.may_open(before)
        equal(ask(client, "/digits.txt").status, 500, "no free descriptor")
        server.may_open()
        equal(ask(client, "/digits.txt").status, 200, "and again")


@test("a route beside others: what is not below the prefix is not ours")
def _():
    with served(routed()) as (client, _):
        equal(ask(client, "/hello").body, b"hello", "another route")
        equal(ask(client, "/files/digits.txt").body, DIGITS, "a file")
        equal(ask(client, "/digits.txt").status, 404, "without the prefix")
        equal(ask(client, "/files/%252e%252e/digits.txt").status, 404, "nothing is decoded twice")
        equal(ask(client, "/files/100%25.txt").body, b"percent", "a percent sign")
        equal(ask(client, "/files/dir").value("Location"), "/files/dir/", "a redirect")


mbtest.main()
