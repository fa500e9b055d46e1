#!/usr/bin/python3
"""docs/deploy/haproxy.cfg and nginx.conf under the real HAProxy and nginx: the client's address by the PROXY protocol
and by X-Forwarded-For, health checks, and two backends under a real systemd user manager, one of which is stopped."""

import concurrent.futures
import http.client
import os
import socket
import sys
import threading

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbdeploy
import mbhosts
import mbspace
import mbtest
from mbtest import HANDLE, Client, check, equal, test, until

for tool in ("haproxy", "nginx", "inetd", "/lib/systemd/systemd", "systemctl", "systemd-journald", "journalctl"):
    mbtest.need(tool)
if not os.path.exists("/usr/lib/nginx/modules/ngx_stream_module.so"):
    mbtest.bail("nginx's module stream missing (libnginx-mod-stream)")
mbspace.enter(cgroup=True)

# Answers with its own name and the client's address and port. A request for /hold hangs if it finds a file to remove;
# one for /half does so in the middle of its response.
APP = """
local http = require "moonbridge_http"
local function answer(request)
  local socket = request.socket
  local hold = (request.path == "hold" or request.path == "half") and os.remove("{hold}")
  request:send_status("200 OK")
  if hold then
    if request.path == "half" then
      request:send_data("half of it\\n")
      request:flush()
    end
    print("held by {name}")
    os.execute("exec sleep 60")
  end
  request:send_data("{name} ", tostring(socket.remote_addr), " ", tostring(socket.remote_tcpport), "\\n")
end
listen{{
  {listener},
  connect = http.generate_handler(answer)
}}
"""
# The same for a connection that is not HTTP; started with --proxy-protocol.
LINE = """
return function(socket)
  socket:write("{name} ", socket.remote_addr, " ", tostring(socket.remote_tcpport), " ", socket:read(100, "\\n") or "")
end
"""

journal = mbspace.Journal()
manager = mbhosts.UserManager()
# HAProxy and nginx connect as users of their own.
for directory in (mbtest.TMP, manager.runtime):
    os.chmod(directory, 0o711)
handlers = os.path.dirname(mbtest.tmp("handlers", "x"))
hold = mbtest.tmp("hold")
for service in ("mb@.service", "mb-local@.service"):
    manager.drop_in(service, f"[Service]\nExecStart=\nExecStart={mbtest.HANDLE} --handlers {handlers}\n")


def app(name, listener):
    return APP.format(name=name, hold=hold, listener=listener)


def unit_of(port):
    return f"mb@{port}.socket"


# One service on two "machines", for HAProxy and once more for nginx, whose http module sends no PROXY header.
one, two, one_plain, two_plain = (mbtest.free_port() for _ in range(4))
for number, name, trust in ((one, "one", ""), (two, "two", ', proxy_trust = {"127.0.0.1"}')):
    listener = f'{{proto = "tcp", port = {number}, proxy_protocol = true{trust}}}'
    mbtest.write_file(f"{handlers}/{number}.lua", app(name, listener))
forwarded = mbdeploy.text("forwarded.lua")
for number in (one_plain, two_plain):
    mbtest.write_file(f"{handlers}/{number}.lua", forwarded)
notes = f"{manager.runtime}/mb/notes.sock"
mbtest.write_file(f"{handlers}/notes.lua", app("notes", f'{{proto = "local", path = "{notes}", proxy_protocol = true}}'))
notes_plain = f"{manager.runtime}/mb/plain.sock"
mbtest.write_file(f"{handlers}/plain.lua", forwarded)
# Under inetd, which has the option on the command line.
one_line, two_line = (mbtest.free_port() for _ in range(2))
inetd = mbhosts.Inetd(
    [
        (f"127.0.0.1:{number}", "tcp4", f"--proxy-protocol --proxy-trust 127.0.0.0/30,::1 {line}")
        for number, line in ((n, mbtest.script(LINE.format(name=name))) for n, name in ((one_line, "one"), (two_line, "two")))
    ]
)
for number in (one, two, one_plain, two_plain):
    manager.drop_in(unit_of(number), mbdeploy.block("proxy.txt", "MaxConnectionsPerSource=1024"))
    manager.start(unit_of(number))
# Everybody may connect to a socket of mb-local@, unless it is said who may.
manager.drop_in("mb-local@notes.socket", mbdeploy.block("proxy.txt", "SocketGroup=haproxy"))
for name in ("notes", "plain"):
    manager.start(f"mb-local@{name}.socket")
for address in (notes, notes_plain, *(("127.0.0.1", n) for n in (one, two, one_plain, two_plain, one_line, two_line))):
    mbtest.wait_listening(address)

haproxy_web, haproxy_line, nginx_web, nginx_line = (mbtest.free_port() for _ in range(4))
CONFIG = {
    "192.0.2.11:8080": f"127.0.0.1:{one}",
    "192.0.2.12:8080": f"127.0.0.1:{two}",
    "192.0.2.11:79": f"127.0.0.1:{one_line}",
    "192.0.2.12:79": f"127.0.0.1:{two_line}",
}
haproxy_config = mbdeploy.file(
    "haproxy.cfg",
    {
        **CONFIG,
        "bind :80\n": f"bind :{haproxy_web}\n",
        "bind :::80 ": f"bind :::{haproxy_web} ",
        "bind :79\n": f"bind :{haproxy_line}\n",
        "bind :::79 ": f"bind :::{haproxy_line} ",
        "/run/mb/notes.sock": notes,
    },
    mbtest.tmp("haproxy.cfg"),
)
nginx_config = mbdeploy.file(
    "nginx.conf",
    {
        "192.0.2.11:8080": f"127.0.0.1:{one_plain}",
        "192.0.2.12:8080": f"127.0.0.1:{two_plain}",
        "192.0.2.11:79": f"127.0.0.1:{one_line}",
        "192.0.2.12:79": f"127.0.0.1:{two_line}",
        "listen 80;": f"listen {nginx_web};",
        "listen [::]:80;": f"listen [::]:{nginx_web};",
        "listen 79;": f"listen {nginx_line};",
        "listen [::]:79;": f"listen [::]:{nginx_line};",
        "/run/mb/notes.sock": notes_plain,
        "/var/log/nginx/": mbtest.tmp("nginx-"),
    },
    mbtest.tmp("nginx.conf"),
)
os.mkdir("/run/haproxy")  # as Debian's unit does
equal(mbtest.output_of("haproxy", "-c", "-f", haproxy_config), "Configuration file is valid", "haproxy -c")
haproxy = mbtest.Process([mbtest.need("haproxy"), "-db", "-f", haproxy_config])
nginx = mbtest.Process([mbtest.need("nginx"), "-c", nginx_config, "-g", "daemon off;"])
for number in (haproxy_web, haproxy_line, nginx_web, nginx_line):
    mbtest.wait_listening(("127.0.0.1", number))

SOURCES = ["127.0.0.2", "127.0.0.3", "127.200.0.4", "::1"]


def connect(port, source):
    """An HTTP connection to the proxy, from this address."""
    host = "::1" if ":" in source else "127.0.0.1"
    return http.client.HTTPConnection(host, port, timeout=mbtest.DEADLINE, source_address=(source, 0))


def request(connection, path="/", method="GET", headers=None):
    """One request. Returns status, text, and the client's own address and port at that time."""
    if connection.sock is None:
        connection.connect()
    address, port = connection.sock.getsockname()[:2]
    connection.request(method, path, headers={"Host": "www.example.org", **(headers or {})})
    response = connection.getresponse()
    return response.status, response.read().decode(), f"{address} {port}"


def single(port, source="127.0.0.2", **how):
    connection = connect(port, source)
    try:
        return request(connection, **how)
    finally:
        connection.close()


def haproxy_states():
    """name -> UP or DOWN, as HAProxy's log has it last; a server begins as UP."""
    states = {}
    for entry in journal.entries():
        words = str(entry["MESSAGE"]).split()
        if words[:1] == ["Server"] and words[2] == "is":
            states[words[1]] = words[3].rstrip(",.")
    return states


def stop(port):
    """The machine goes away: the listener and all that it serves."""
    manager.stop_unit(unit_of(port))
    manager.systemctl("kill", "--signal=KILL", f"mb@*-127.0.0.1:{port}-*.service")


@test("HAProxy, HTTP, version 2: the handler sees the client's address and port, IPv4 and IPv6")
def _():
    for source in SOURCES:
        connection = connect(haproxy_web, source)
        for _ in range(3):
            status, text, own = request(connection)
            equal((status, text.split(" ", 1)[1]), (200, own + "\n"), f"answer for {source}")
        connection.close()


@test("HAProxy, HTTP, version 2 over a Unix socket: the same")
def _():
    for source in SOURCES:
        got = single(haproxy_web, source, headers={"Host": "notes.example.org"})
        equal(got[:2], (200, f"notes {got[2]}\n"), f"answer for {source}")


@test("HAProxy, TCP, version 1, to inetd: the same, with both backends")
def _():
    seen = set()
    for source in SOURCES * 3:
        seen.add(line_by(haproxy_line, source))
    equal(seen, {"one", "two"}, "backends")


@test("nginx, stream, version 1: the same")
def _():
    seen = set()
    for source in SOURCES * 3:
        seen.add(line_by(nginx_line, source))
    equal(seen, {"one", "two"}, "backends")


def line_by(port, source):
    """Checks the address that the handler of one line sees, and returns the backend's name."""
    host = "::1" if ":" in source else "127.0.0.1"
    with Client(socket.create_connection((host, port), mbtest.DEADLINE, (source, 0))) as client:
        address, number = client.sock.getsockname()[:2]
        client.send("hello\n")
        text, how = client.end()
    name, _, rest = text.decode().partition(" ")
    equal((rest, how), (f"{address} {number} hello\n", "eof"), f"answer for {source}")
    return name


@test("nginx, HTTP, X-Forwarded-For: the script sees the client's address, whatever the client claims")
def _():
    for host in ("www.example.org", "notes.example.org"):
        for source in SOURCES:
            for claim in ({}, {"X-Forwarded-For": "198.51.100.7"}):
                got = single(nginx_web, source, headers={"Host": host, **claim})
                equal(got[:2], (200, f"{source}\n"), f"answer for {source}, {host}")


@test("X-Forwarded-For from somebody else than the proxy is not believed")
def _():
    for source, want in (("127.0.0.1", "198.51.100.7"), ("127.0.0.2", "127.0.0.2")):
        got = single(one_plain, source, headers={"X-Forwarded-For": "198.51.100.7"})
        equal(got[:2], (200, f"{want}\n"), f"answer for {source}")


@test("HAProxy's health checks, HTTP and TCP, leave not a line in the log")
def _():
    before = {p: int(manager.prop(unit_of(p), "NAccepted")) for p in (one, two)}
    until(lambda: all(int(manager.prop(unit_of(p), "NAccepted")) >= n + 2 for p, n in before.items()), "two checks each")
    equal(haproxy_states(), {}, "servers whose state has changed")
    ours = [e["MESSAGE"] for e in journal.entries() if e.get("SYSLOG_IDENTIFIER") == "mb-handle"]
    equal(ours, [], "what mb-handle has logged so far")


class Run:
    """At least so many requests, by clients that keep their connection and by some that do not; in the middle stopped()
    is called, and a quarter of them come after that. `lost` is what was not answered rightly."""

    def __init__(self, port, stopped, requests, method="GET"):
        self.port, self.method, self.requests = port, method, requests
        self.lost = []
        self.done = 0
        self.at_stop = None  # how many were done when stopped() had returned
        self.lock = threading.Lock()
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            jobs = [pool.submit(self.client, f"127.0.1.{n + 1}", n < 8) for n in range(10)]
            try:
                until(lambda: self.done >= requests // 2 or self.lost, "half of the requests", mbtest.RUN_MAX)
                stopped()
            finally:  # whatever happens, the clients come to an end
                self.at_stop = self.done
            for job in jobs:
                job.result()

    def over(self):
        return self.at_stop is not None and self.done >= max(self.requests, self.at_stop + self.requests // 4)

    def client(self, source, keep):
        connection = connect(self.port, source)
        while not self.over() and len(self.lost) < 10:
            try:
                status, text, own = request(connection, method=self.method)
                address = text.rstrip("\n").split(" ", 1)[-1]
                wrong = None if status == 200 and address in (own, own.split()[0]) else (status, text, own)
            except (OSError, http.client.HTTPException) as error:
                wrong = repr(error)
            if wrong or not keep:
                connection.close()
            with self.lock:
                self.done += 1
                self.lost += [wrong] if wrong else []


def haproxy_retries():
    """How often HAProxy has tried again, from its log of requests: .../srv_conn/RETRIES with + for another server."""
    total = 0
    for entry in journal.entries():
        if entry.get("SYSLOG_IDENTIFIER") == "haproxy" and " app/" in str(entry["MESSAGE"]):
            counts = [word for word in entry["MESSAGE"].split() if word.count("/") == 4 and word[0].isdigit()]
            total += int(counts[-1].split("/")[-1].lstrip("+")) if counts else 0
    return total


@test("HAProxy: of 2000 GETs not one is lost when one backend is stopped in the middle, its connections killed")
def _():
    equal(Run(haproxy_web, lambda: stop(one), 2000).lost, [], "lost requests")
    check(haproxy_retries() > 0, "HAProxy had to try again")
    until(lambda: haproxy_states().get("app/one") == "DOWN", "HAProxy's log says that the backend is down")


@test("HAProxy: the backend is used again when it is back")
def _():
    manager.start(unit_of(one))
    until(lambda: haproxy_states().get("app/one") == "UP", "HAProxy's log says that the backend is up")
    until(lambda: single(haproxy_web)[1].startswith("one "), "an answer from it")


def admin(command):
    """A command for HAProxy, as `echo COMMAND | socat stdio /run/haproxy/admin.sock` sends it."""
    with Client("/run/haproxy/admin.sock") as client:
        client.send(command + "\n")
        return client.end()[0].decode()


def used_by_one(table):
    """used_cur of app/one in what "show servers conn" prints."""
    title, row = (next(line for line in table.splitlines() if line.startswith(f)) for f in ("# bkname", "app/one "))
    return row.split()[title.split().index("used_cur") - 1]


def take_out():
    """As proxy.txt has it: no new requests, those that are being served come to their end, the listener stops."""
    commands = mbdeploy.block("proxy.txt", 'echo "set server app/one state drain" | socat stdio /run/haproxy/admin.sock')
    words = [line.split('"')[1] for line in commands.splitlines() if line.startswith("echo")]
    equal(words, ["set server app/one state drain", "show servers conn app"], "commands in proxy.txt")
    equal(admin(words[0]).strip(), "", words[0])
    until(lambda: used_by_one(admin(words[1])) == "0", "no request is at the backend any more")
    manager.stop_unit(unit_of(one))


@test("HAProxy: of 600 POSTs not one is lost when a backend is drained and then stopped in the middle")
def _():
    equal(Run(haproxy_web, take_out, 600, method="POST").lost, [], "lost requests")
    manager.start(unit_of(one))
    equal(admin("set server app/one state ready").strip(), "", "set server")
    until(lambda: single(haproxy_web)[1].startswith("one "), "an answer from it")


def held(port, path, method):
    """A request which a backend takes and is killed over, from a thread: (what killed it, the request's result)."""
    mbtest.write_file(hold, "")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(single, port, path=path, method=method)
        until(lambda: not os.path.exists(hold), "a handler has the request")
        for number in (one, two):
            manager.systemctl("kill", "--signal=KILL", f"mb@*-127.0.0.1:{number}-*.service")
        return answer.result()


@test("HAProxy: a GET whose handler dies before it answers is done again; a POST is not, it gets a 502")
def _():
    status, text, own = held(haproxy_web, "/hold", "GET")
    equal((status, text.split(" ", 1)[1]), (200, own + "\n"), "GET")
    status, text, _ = held(haproxy_web, "/hold", "POST")
    equal(status, 502, f"status of POST, {text}")


@test("HAProxy: a response that has begun cannot be retried, and the client can tell")
def _():
    try:
        got = held(haproxy_web, "/half", "GET")
    except (http.client.IncompleteRead, ConnectionError):
        return
    raise mbtest.Failed(f"a whole response: {got}")


@test("nginx: of 2000 GETs not one is lost when one backend is stopped in the middle, its connections killed")
def _():
    equal(Run(nginx_web, lambda: stop(one_plain), 2000).lost, [], "lost requests")
    log = mbtest.read_file(mbtest.tmp("nginx-error.log"))
    check("upstream" in log, f"nginx had to try again: {log}")


@test("past the proxy: refused without a header, and from an address that is not trusted; curl can send one")
def _():
    with Client(("127.0.0.1", two)) as client:
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        equal(client.end(), (b"", "reset"), "answer")
    curl = mbdeploy.block("proxy.txt", "curl --haproxy-protocol http://127.0.0.1:8080/", {"8080": two}).split()
    got = mbtest.output_of(*curl, "--silent", "--show-error", "--interface", "127.0.0.1")
    check(got.startswith("two 127.0.0.1 "), f"with a header, from the proxy's address: {got}")
    got = mbtest.output_of(*curl, "--silent", "--show-error", "--interface", "127.0.0.2")
    check("(56)" in got or "reset" in got, f"with a header, from another one: {got}")
    entry = journal.find("PROXY protocol: connection from 127.0.0.2:")
    equal(entry.get("PRIORITY"), "5", "priority")
    tell = mbtest.script("return function(s) s:write(s.remote_addr, ':', s.remote_tcpport, ' ', s.local_addr) end")
    replay = mbdeploy.block("proxy.txt", "mb-handle --proxy-protocol /etc/mb/8080.lua", {"mb-handle": HANDLE, "/etc/mb/8080.lua": tell})
    equal(mbtest.output_of("sh", "-c", replay), "203.0.113.7:40112 192.0.2.11", "the replay")


mbtest.main()
