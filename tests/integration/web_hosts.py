#!/usr/bin/python3
"""The web modules together, as one script has them, behind each front door: units that mb-handle --units has made, in a
real systemd user manager; openbsd-inetd by the lines of --inetd; and a pool."""

import base64
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbpool
import mbspace
import mbtest
from mbhandler import lua
from mbhttp import Connection, request
from mbtest import HANDLE, check, equal, test, until
from mbwebsocket import CLOSE, PONG, TEXT, Peer, close, code, ping, text, upgrade

for tool in ("/lib/systemd/systemd", "systemctl", "systemd-journald", "journalctl", "inetd"):
    mbtest.need(tool)
mbspace.enter(cgroup=True)

journal = mbspace.Journal()
manager = mbhosts.UserManager()
os.chmod(mbtest.TMP, 0o711)  # when root asks for lines of inetd, scripts are loaded as another account

ROOT = os.path.dirname(mbtest.write_file(mbtest.tmp("site", "digits.txt"), "0123456789"))


def site(port):
    """A script for a port. Its sandbox lets it read its files, and nothing else."""
    return mbtest.script(
        f"local PORT, ROOT = {port}, {lua(ROOT)}\n"
        + """
local http, router, reply = require "moonbridge_http", require "mb.router", require "mb.reply"
local static, cookie, auth, events = require "mb.static", require "mb.cookie", require "mb.auth", require "mb.events"
require "cjson"

local routes = router.new()
routes:mount("/files", static.new(ROOT))
routes:get("/", function(request)
  cookie.set(request, "seen", "yes")
  reply.html(request, "<p>Hello, " .. (request.cookies.seen or "stranger"))
end)
routes:post("/sum", function(request)
  local sum = 0
  for _, value in ipairs(request:json()) do sum = sum + value end
  reply.json(request, {sum = sum})
end)
routes:get("/private", function(request)
  local user = auth.basic(request, "private", function(_, password) return password == "secret" end)
  if user then reply.text(request, user) end
end)
routes:get("/events", function(request)
  local stream = events.open(request)
  stream:send {event = "tick", id = "1", data = "first\\nsecond"}
  while stream:wait(60) do end
end)
routes:get("/echo", function(request)
  local ws = request:upgrade_websocket()
  if not ws then return end
  for message in ws:messages() do assert(ws:send(message)) end
end)

listen {
  {proto = "tcp", host = "127.0.0.1", port = PORT},
  sandbox = {read = {ROOT}},
  connect = http.generate_handler({
    on_error = function(_, status) return ('{"status":%d}'):format(status), "application/problem+json" end,
  }, routes),
}
"""
    )


JSON = ["Content-Type: application/json"]
BASIC = "Authorization: Basic " + base64.b64encode(b"ann:secret").decode()


def visit(where):
    """What a browser may ask for."""
    with Connection(where) as client:
        for data, status, kind, body in (
            (request("/"), 200, "text/html; charset=utf-8", b"<p>Hello, stranger"),
            (request("/", headers=["Cookie: seen=you"]), 200, "text/html; charset=utf-8", b"<p>Hello, you"),
            (request("/sum", "POST", b"[1, 2.5]", JSON), 200, "application/json", b'{"sum":3.5}'),
            (request("/files/digits.txt"), 200, "text/plain; charset=utf-8", b"0123456789"),
            (request("/files/digits.txt", headers=["Range: bytes=2-4"]), 206, "text/plain; charset=utf-8", b"234"),
            (request("/private"), 401, "application/problem+json", b'{"status":401}'),
            (request("/private", headers=[BASIC]), 200, "text/plain; charset=utf-8", b"ann"),
            (request("/files/none"), 404, None, None),
            (request("/none"), 404, "application/problem+json", b'{"status":404}'),
            (request("/echo"), 426, "application/problem+json", b'{"status":426}'),
            (request("/sum", "POST", b"[1,", JSON), 400, "application/problem+json", b'{"status":400}'),
        ):
            client.send(data)
            response = client.response()
            equal(response.status, status, f"status of {data[:40]}")
            if kind:
                equal((response.value("Content-Type"), response.body), (kind, body), f"{data[:40]}")
        client.nothing_more()
    with Connection(where) as client:
        client.send(request("/events"))
        response = client.head()
        equal((response.status, response.value("Content-Type")), (200, "text/event-stream"), "the head of the events")
        equal(client.chunk(), b"event: tick\nid: 1\ndata: first\ndata: second\n\n", "the event")
    with Connection(where) as client:
        client.send(upgrade(target="/echo"))
        equal(client.response().status, 101, "the handshake")
        peer = Peer(client)
        peer.send(text("hello"), ping(b"p"), text("x" * 70000))
        peer.gets((TEXT, b"hello"), (PONG, b"p"), (TEXT, b"x" * 70000))
        peer.send(close(1000))
        peer.ends((CLOSE, code(1000)))


def output(argv, **how):
    """The status of a command, and what it prints on stdout and on stderr."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=mbtest.DEADLINE, **how)
    return done.returncode, done.stdout, done.stderr


def errors():
    """The messages of the journal so far that are errors, or worse."""
    return [entry.get("MESSAGE") for entry in journal.entries() if int(entry.get("PRIORITY", 6)) <= 3]


@test("units of --units, in the user manager: all of it answers, no unit has failed, and the journal has no error")
def _():
    port = mbtest.free_port()
    status, out, err = output([HANDLE, "--units", manager.units, "--user", site(port)], env=manager.env)
    equal((status, err), (0, ""), "status and stderr of --units")
    commands = re.findall(r"(?m)^  (systemctl --user .*)$", out)
    status, _, err = output(["sh", "-ec", "\n".join(commands)], env=manager.env)
    equal(status, 0, f"status of {commands}, which said {err}")
    mbtest.wait_listening(("127.0.0.1", port))
    visit(("127.0.0.1", port))
    running = ("list-units", "--all", "--plain", "--no-legend", f"*127.0.0.1:{port}-*.service")
    until(lambda: manager.systemctl(*running) == "", "no instance is left: a stream of events ends with its client")
    equal(manager.failed(), "", "failed units")
    equal(errors(), [], "errors in the journal")


@test("a line of --inetd, in openbsd-inetd: all of it answers, and the journal has no error")
def _():
    port = mbtest.free_port()
    status, out, err = output([HANDLE, "--inetd", site(port)])
    equal((status, err), (0, ""), "status and stderr of --inetd")
    config, count = re.subn(r"(?m)^([^#].* nowait\S* )mb-handle ", rf"\g<1>{mbhosts.USER} ", out)
    equal(count, 1, f"lines in {out}")
    inetd = mbtest.Process([mbtest.need("inetd"), "-i", mbtest.write_file(mbtest.tmp("inetd.conf"), config)])
    mbtest.wait_listening(("127.0.0.1", port))
    visit(("127.0.0.1", port))
    until(lambda: mbpool.children_of(inetd.pid) == [], "no process is left")
    equal((inetd.text(), errors()), ("", []), "what inetd says, and errors in the journal")


@test("a pool: all of it answers, and its log has no error")
def _():
    port = mbtest.free_port()
    pool = mbpool.Pool(site(port), where=None).ready()
    visit(("127.0.0.1", port))
    pool.stop()
    check(all(": pool: " in line for line in pool.text().splitlines()), f"another line than the pool's: {pool.text()}")


mbtest.main()
