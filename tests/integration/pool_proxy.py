#!/usr/bin/python3
"""Two pools behind the real HAProxy (docs/deploy/haproxy-pool.cfg) and nginx (nginx.conf): the client's address, health
checks, shared connections; and under load a pool that is drained, reloaded, killed."""

import concurrent.futures
import http.client
import os
import re
import signal
import sys
import threading

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbdeploy
import mbspace
import mbtest
from mbtest import HANDLE, Client, check, equal, test, until

for tool in ("haproxy", "nginx", "systemd-journald"):
    mbtest.need(tool)
if not os.path.exists("/usr/lib/nginx/modules/ngx_stream_module.so"):
    mbtest.bail("nginx's module stream missing (libnginx-mod-stream)")
mbspace.enter()
journal = mbspace.Journal()
os.chmod(mbtest.TMP, 0o711)  # HAProxy and nginx connect as users of their own

NAMES = ("one", "two")
MACHINES = {"one": "192.0.2.11", "two": "192.0.2.12"}
BIG = 300000  # bytes of the answer to /big: more than the system keeps for a client that does not read
# What the load asks for besides the page: answers that take their time, and long ones.
MORE = f"""local function answer(request)
  if request.path == "slow" then require "moonbridge_io".poll(nil, nil, 0.05) end
  if request.path == "hold" then require "moonbridge_io".poll(nil, nil, 3) end
  if request.path == "big" then
    request:send_status("200 OK")
    request:send_data(("x"):rep({BIG}))
    return
  end
"""


def number_of(text, name):
    """The number after a name in one of the files."""
    return int(re.search(rf"\b{name}\b\D*(\d+)", text).group(1))


@test("haproxy-pool.cfg lets no more connections through than pool.lua has processes for")
def _():
    config = mbdeploy.text("haproxy-pool.cfg")
    for line in (line for line in config.splitlines() if "pool-max-conn" in line and "default-server" in line):
        most = number_of(line, "maxconn") + number_of(line, "pool-max-conn")
        check(most < number_of(mbdeploy.text("pool.lua"), "max_fork"), line)


class Backend:
    """A pool on one "machine"."""

    def __init__(self, name, port, argv, drain=None):
        self.name, self.port, self.argv, self.drain = name, port, argv, drain
        self.process = None
        self.start()

    def start(self):
        self.process = mbtest.Process([HANDLE, *self.argv], name=self.name)
        mbtest.wait_listening(("127.0.0.1", self.port))

    def tree(self):
        """The first process and all below it."""
        parents = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            stat = mbtest.read_file(f"/proc/{pid}/stat")
            if stat:
                parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(pid))
        found = [self.process.pid]
        for pid in found:
            found += parents.get(pid, [])
        return found

    def kill(self):
        """The machine fails: all processes end at once, and whatever they served."""
        for pid in self.tree():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.popen.wait()

    def end(self):
        """SIGTERM, and the wait for the end."""
        self.process.popen.send_signal(signal.SIGTERM)
        equal(self.process.popen.wait(mbtest.DEADLINE), 0, "exit status")

    def said(self, text):
        return self.process.text().count(text)

    def reload(self):
        before = self.said("loaded anew")
        self.process.popen.send_signal(signal.SIGHUP)
        until(lambda: self.said("loaded anew") > before, "the script is loaded anew")


def backend_app(name):
    port, drain = mbtest.free_port(), mbtest.tmp(f"drain-{name}")
    changes = {
        "port = 8080": f"port = {port}",
        "192.0.2.1": "127.0.0.1",
        "/run/mb-drain": drain,
        "local function answer(request)\n": MORE,
    }
    script = mbdeploy.file("pool.lua", changes, mbtest.tmp(f"{name}.lua"))
    command = mbdeploy.block("proxy.txt", "mb-handle --serve /etc/mb/pool.lua", {"/etc/mb/pool.lua": script})
    return Backend(name, port, command.split()[1:], drain)


def backend_forwarded(name):
    port = mbtest.free_port()
    status = 'request:send_status("200 OK")'
    changes = {status: f'{status}\n  request:send_header("X-Backend", "{name}")'}
    script = mbdeploy.file("forwarded.lua", changes, mbtest.tmp(f"forwarded-{name}.lua"))
    return Backend(name, port, [f"--serve=127.0.0.1:{port}", script])


apps = [backend_app(name) for name in NAMES]
forwarded = [backend_forwarded(name) for name in NAMES]

haproxy_web, nginx_web, nginx_line, single_web, single_line = (mbtest.free_port() for _ in range(5))
haproxy_config = mbdeploy.file(
    "haproxy-pool.cfg",
    {
        **{f"{MACHINES[b.name]}:8080": f"127.0.0.1:{b.port}" for b in apps},
        **{f"{MACHINES[n]}:8081": f"127.0.0.1:{b.port}" for n, b in zip(NAMES, forwarded)},
        "bind :80\n": f"bind :{haproxy_web}\n",
        "bind :::80 ": f"bind :::{haproxy_web} ",
    },
    mbtest.tmp("haproxy.cfg"),
)


def start_nginx(name, web, line, changes=None):
    config = mbdeploy.file(
        "nginx.conf",
        {
            **{f"{MACHINES[n]}:8080": f"127.0.0.1:{b.port}" for n, b in zip(NAMES, forwarded)},
            "listen 80;": f"listen {web};",
            "listen [::]:80;": f"listen [::]:{web};",
            "listen 79;": f"listen {line};",
            "listen [::]:79;": f"listen [::]:{line};",
            "/var/log/nginx/": mbtest.tmp(f"{name}-"),
            "/run/nginx.pid": f"/run/{name}.pid",
            **(changes or {}),
        },
        mbtest.tmp(f"{name}.conf"),
    )
    mbtest.Process([mbtest.need("nginx"), "-c", config, "-g", "daemon off;"], name=name)
    mbtest.wait_listening(("127.0.0.1", web))


os.mkdir("/run/haproxy")  # as Debian's unit does
equal(mbtest.output_of("haproxy", "-c", "-f", haproxy_config), "Configuration file is valid", "haproxy -c")
haproxy = mbtest.Process([mbtest.need("haproxy"), "-db", "-f", haproxy_config])
mbtest.wait_listening(("127.0.0.1", haproxy_web))
start_nginx("nginx", nginx_web, nginx_line)
start_nginx("nginx-single", single_web, single_line, {"keepalive 16;": ""})

APP, SHARED = "www.example.org", "shared.example.org"


def connect(port, source="127.0.0.2"):
    """An HTTP connection to the proxy, from this address."""
    return http.client.HTTPConnection("127.0.0.1", port, timeout=mbtest.DEADLINE, source_address=(source, 0))


def request(connection, path="/", method="GET", host=APP, headers=None):
    """One request. Returns status and text."""
    connection.request(method, path, headers={"Host": host, **(headers or {})})
    response = connection.getresponse()
    return response.status, response.read().decode()


def single(port, source="127.0.0.2", **how):
    connection = connect(port, source)
    try:
        return request(connection, **how)
    finally:
        connection.close()


def admin(command):
    """A command for HAProxy, as `echo COMMAND | socat stdio /run/haproxy/admin.sock` sends it."""
    with Client("/run/haproxy/admin.sock") as client:
        client.send(command + "\n")
        return client.end()[0].decode()


def stats(backend, server, *columns):
    rows = [line.split(",") for line in admin("show stat").splitlines() if "," in line]
    title = rows[0]
    title[0] = title[0].lstrip("# ")
    row = next(r for r in rows if r[:2] == [backend, server])
    return [row[title.index(c)] for c in columns]


def state(server, backend="app"):
    return stats(backend, server, "status")[0].split()[0]


def served_by(backend):
    """Requests that HAProxy has sent to a backend of app."""
    return int(stats("app", backend.name, "stot")[0])


class Load:
    """Clients that keep their connection and some that do not ask again and again, while act() runs, and for some time
    before and after that. `lost` is what was not answered rightly."""

    def __init__(self, port, act, host=APP, methods=("GET",), paths=("/", "/slow", "/big"), clients=16, least=1000):
        self.port, self.host, self.methods, self.paths = port, host, methods, paths
        self.lost, self.done, self.enough = [], 0, None
        self.lock = threading.Lock()
        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            jobs = [pool.submit(self.client, n) for n in range(clients)]
            try:
                until(lambda: self.done >= least or self.lost, "requests before", mbtest.RUN_MAX)
                act()
            finally:  # whatever happens, the clients come to an end
                self.enough = self.done + least // 2
            for job in jobs:
                job.result()

    def over(self):
        return len(self.lost) >= 10 or self.enough is not None and self.done >= self.enough

    def client(self, number):
        source, keeps = f"127.0.1.{number + 1}", number % 3 > 0
        connection = connect(self.port, source)
        turn = number
        while not self.over():
            turn += 1
            path = self.paths[turn % len(self.paths)]
            method = self.methods[turn // len(self.paths) % len(self.methods)]
            try:
                got = request(connection, path, method, self.host)
                wrong = None if got[0] == 200 and self.is_whole(path, got[1], source) else (got[0], got[1][:100])
            except (OSError, http.client.HTTPException) as error:
                wrong = repr(error)
            if wrong or not keeps:
                connection.close()
            with self.lock:
                self.done += 1
                self.lost += [f"{method} {path}, {'kept' if keeps else 'single'}: {wrong}"] if wrong else []

    @staticmethod
    def is_whole(path, text, source):
        return text in (f"hello, {source}\n", f"{source}\n") if path != "/big" else len(text) == BIG


def in_use():
    until(lambda: all(state(n) == "UP" for n in NAMES), "both are in use")


@test("HAProxy: the client's address by the PROXY protocol, and by X-Forwarded-For over shared connections")
def _():
    for source in ("127.0.0.2", "127.0.0.3", "127.200.0.4"):
        equal(single(haproxy_web, source), (200, f"hello, {source}\n"), "PROXY protocol")
        claim = {"X-Forwarded-For": "198.51.100.7"}
        equal(single(haproxy_web, source, host=SHARED, headers=claim), (200, f"{source}\n"), "X-Forwarded-For")


@test("HAProxy: with the PROXY protocol each client has connections of its own; with the header field they share them")
def _():
    begin = {backend: int(stats(backend, "BACKEND", "connect")[0]) for backend in ("app", "shared")}
    for host in (APP, SHARED):
        clients = [connect(haproxy_web, f"127.0.3.{n + 1}") for n in range(20)]
        for client in clients:
            for _ in range(2):
                equal(request(client, host=host)[0], 200, "status")
        for client in clients:
            client.close()
    made = {backend: int(stats(backend, "BACKEND", "connect")[0]) - n for backend, n in begin.items()}
    check(20 <= made["app"] <= 20 * len(NAMES), f"connections that belong to a client: {made['app']}")
    check(made["shared"] <= 4, f"connections that are shared: {made['shared']}")


@test("HAProxy's health check: 404 while the pool's machine is being taken out: no new requests, and nothing is lost")
def _():
    backend = apps[0]

    def take_out():
        touch = mbdeploy.block("proxy.txt", "touch /run/mb-drain", {"/run/mb-drain": backend.drain})
        equal(mbtest.output_of("sh", "-c", touch), "", "touch")
        until(lambda: state(backend.name) == "NOLB", "HAProxy sends it nothing new")
        journal.find(f"Server app/{backend.name} is stopping")
        backend.end()

    load = Load(haproxy_web, take_out, methods=("POST", "GET"), paths=("/", "/slow"))
    equal(load.lost, [], f"lost of {load.done}")
    os.remove(backend.drain)
    backend.start()
    until(lambda: state(backend.name) == "UP", "HAProxy uses it again")
    before = served_by(backend)
    until(lambda: single(haproxy_web)[0] == 200 and served_by(backend) > before, "a request that it serves")


def drains(backends, port, ready, **how):
    """Ends each pool by SIGTERM under load, and starts it again."""
    for backend in backends:
        ready()
        load = Load(port, backend.end, **how)
        equal(load.lost, [], f"lost of {load.done} while {backend.name} ended")
        backend.start()


def reloads(backends, port, ready, **how):
    """Reloads the pools in turn, under load."""
    ready()

    def act():
        for _ in range(3):
            for backend in backends:
                backend.reload()

    load = Load(port, act, **how)
    equal(load.lost, [], f"lost of {load.done}")


@test("HAProxy: a pool is ended by SIGTERM under load, as it is: not a request is lost, POSTs neither")
def _():
    drains(apps, haproxy_web, in_use, methods=("POST", "GET"), paths=("/", "/slow", "/big"))
    drains(apps, haproxy_web, in_use)


@test("HAProxy: a request that is being served when SIGTERM comes has its whole answer, within the grace")
def _():
    in_use()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(single, haproxy_web, path="/hold", method="POST") for _ in range(8)]
        until(lambda: int(stats("app", "BACKEND", "scur")[0]) == 8, "all are at a pool")
        for backend in apps:
            backend.process.popen.send_signal(signal.SIGTERM)
        for job in jobs:
            equal(job.result(), (200, "hello, 127.0.0.2\n"), "answer")
    for backend in apps:
        equal(backend.process.popen.wait(mbtest.DEADLINE), 0, "exit status")
        backend.start()
    in_use()


@test("HAProxy: both pools are reloaded in turn under load: not a request is lost, POSTs neither")
def _():
    reloads(apps, haproxy_web, in_use, methods=("POST", "GET"))


@test("HAProxy, shared connections: a pool that ends, and reloads: not a request is lost")
def _():
    def ready():
        until(lambda: all(state(n, "shared") == "UP" for n in NAMES), "both are in use")

    for methods in (("GET",), ("POST",)):
        drains(forwarded, haproxy_web, ready, host=SHARED, paths=("/",), methods=methods)
        reloads(forwarded, haproxy_web, ready, host=SHARED, paths=("/",), methods=methods)


@test("HAProxy: the first process of a pool is killed under load: not a request is lost, POSTs neither")
def _():
    for backend in apps:

        def kill(backend=backend):
            others = backend.tree()[1:]
            backend.process.popen.kill()
            backend.process.popen.wait()
            until(lambda: not any(mbtest.alive(pid) for pid in others), "the others end")

        in_use()
        load = Load(haproxy_web, kill, methods=("POST", "GET"), paths=("/", "/slow"))
        equal(load.lost, [], f"lost of {load.done}")
        backend.start()


def kills(backend, port, **how):
    """Kills all processes of a pool under load. Returns what was lost."""
    try:
        return Load(port, backend.kill, **how).lost
    finally:
        backend.start()


@test("HAProxy: all processes of a pool are killed under load: no GET is lost whose answer had not begun")
def _():
    for backend in apps:
        in_use()
        equal(kills(backend, haproxy_web, paths=("/", "/slow")), [], "lost")


@test("HAProxy: of answers that had begun and of POSTs a kill loses those that were at the pool then, and no others")
def _():
    for backend in apps:
        in_use()
        lost = kills(backend, haproxy_web, methods=("POST", "GET"), paths=("/slow", "/big"), clients=16)
        check(len(lost) <= 16, f"one for each client at most: {lost}")
        mbtest.diagnose(f"lost with {backend.name}: {lost}")
        for text in lost:
            # A GET /big that was cut is not whole, and the client knows it.
            check(text.startswith("POST") or text.startswith("GET /big") and "IncompleteRead" in text, text)


def in_use_by_nginx(port):
    """nginx leaves a backend that has failed alone for some seconds."""

    def name():
        connection = connect(port)
        connection.request("GET", "/")
        found = connection.getresponse().headers["X-Backend"]
        connection.close()
        return found

    for wanted in NAMES:
        until(lambda w=wanted: name() == w, f"{wanted} is in use")


@test("nginx: a pool is ended by SIGTERM, and both are reloaded, under load: not a GET is lost")
def _():
    for how in (drains, reloads):
        how(forwarded, nginx_web, lambda: in_use_by_nginx(nginx_web), paths=("/",))


@test("nginx without keepalive to the pools: the same, and POSTs neither")
def _():
    for how in (drains, reloads):
        how(forwarded, single_web, lambda: in_use_by_nginx(single_web), paths=("/",), methods=("POST",))


@test("nginx: all processes of a pool are killed under load: no GET is lost")
def _():
    for backend in forwarded:
        in_use_by_nginx(nginx_web)
        equal(kills(backend, nginx_web, paths=("/",)), [], "lost")


@test("no pool has complained of anything")
def _():
    for backend in apps + forwarded:
        log = backend.process.text()
        equal([line for line in log.splitlines() if "listening on" not in line], [], f"log of {backend.name}")


mbtest.main()
