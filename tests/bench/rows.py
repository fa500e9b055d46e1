"""The rows of tests/bench/run: what each of them measures, and the programs that it compares. To be imported behind
crowd."""

import contextlib
import dataclasses
import os
import re
import socket
import tempfile
import time
from typing import Callable

import benchlib
import crowd
import hosts
import mbtest
import poolpeers
import scripts

SECONDS_MAX = 60  # for an answer
DEPTH = 8  # messages of a WebSocket that are on their way
MESSAGE = 70  # bytes of each


@dataclasses.dataclass
class Column:
    """A program of the table."""

    heading: tuple  # two lines of at most 6 characters
    what: str
    colour: str  # of the drawing; readable on white and on black
    symbol: int  # gnuplot's number of the point's type


ORANGE, GREY, BLUE, BROWN, GREEN, PINK = "#d55e00", "#888888", "#3a8fd0", "#b07d00", "#009e73", "#c46aa0"
# The name of each has at most 22 characters.
COLUMNS = {
    "mb-handle": Column(("mb-", "handle"), "mb-handle, started for each connection", ORANGE, 7),
    "mb-handle-static": Column(("mb-h.", "static"), "the same, linked statically", ORANGE, 9),
    "pool": Column(("", "pool"), "mb-handle --serve: many connections in a process", ORANGE, 5),
    "pool, 1 each": Column(("pool,", "1 each"), "mb-handle --serve: a child for each connection", ORANGE, 4),
    "C": Column(("", "C"), "a C program that does nothing", GREY, 7),
    "shell": Column(("", "shell"), "a script of /bin/sh", GREY, 5),
    "lua5.3": Column(("", "lua5.3"), "lua5.3; with LuaSocket where it listens by itself", BLUE, 7),
    "lua-http": Column(("lua-", "http"), "lua-http, with lua5.3", BLUE, 5),
    "http.server": Column(("http.", "server"), "python3's http.server", BROWN, 7),
    "nginx": Column(("", "nginx"), "nginx", GREEN, 7),
    "websocketd": Column(("websoc", "ketd"), "websocketd, which starts cat", PINK, 7),
    "python3-websockets": Column(("websoc", "kets"), "a module of python3", BROWN, 5),
}


@dataclasses.dataclass
class Scale:
    """How much is measured."""

    rounds: int
    starts: int  # rounds of starts: these are short
    seconds: float  # of one measurement of a server
    mebibytes: int  # of a file


@dataclasses.dataclass
class Bar:
    """What a row requires: this column takes at most so many times as long as the other."""

    column: str
    most: float
    other: str = "C"


@dataclasses.dataclass
class Row:
    title: str  # at most 23 characters
    unit: str
    what: str  # a paragraph of the page
    packages: list  # of Debian
    measure: Callable  # with a Scale; returns {column: [figure of each round]}
    hosted: bool = False  # it needs root, and a private namespace with a journal
    less: bool = False  # a smaller figure is better
    bars: list = dataclasses.field(default_factory=list)


# ---- programs that are started for a connection ----

LINE = """
return function(socket)
  socket:write((socket:read(1000, "\\n")))
end
"""
LUA_LINE = 'io.write(io.read("L"))\n'
SH_LINE = "read -r line\nprintf '%s\\n' \"$line\"\n"

SH_PAGE = r"""
end=$(printf '\r')
while read -r line && [ "$line" != "$end" ]; do :; done
printf 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n'
"""

LUA_ECHO = 'for line in io.lines(nil, "L") do io.write(line) end\n'
SH_ECHO = "while read -r line; do printf '%s\\n' \"$line\"; done\n"


def ours(script):
    """mb-handle and mb-handle-static, if that is there, as they are installed: {column: [program, script]}."""
    return benchlib.ours(mbtest.TMP, mbtest.script(script))


def do_nothing():
    return [benchlib.installed(benchlib.compile_helper(mbtest.TMP, "nothing"), mbtest.TMP)]


def start(scale):
    lua = benchlib.find("lua5.3")
    echoes = {
        **ours("return " + benchlib.ECHO),
        "shell": ["/bin/sh", mbtest.script(SH_ECHO)],
        "lua5.3": [lua, mbtest.script(LUA_ECHO)],
    }
    programs = {
        "C": ["", *do_nothing()],
        **{column: [benchlib.CAPTURE, *argv] for column, argv in echoes.items()},
        "lua-http": ["", lua, mbtest.script('require "http.server" require "http.headers"\n')],
        "http.server": ["", benchlib.find("python3"), mbtest.script("import http.server\n")],
    }
    os.environ["LUA_PATH"] = scripts.LUA_PATH  # spawn passes it on
    times = benchlib.starts(mbtest.TMP, scale.starts, programs)
    return {column: [ns / 1000 for ns in column_times] for column, column_times in times.items()}


def line_programs():
    """Each answers a line with the same line, but for the C program: {column: arguments}."""
    return {
        "C": do_nothing(),
        **ours(LINE),
        "shell": ["/bin/sh", mbtest.script(SH_LINE)],
        "lua5.3": [benchlib.find("lua5.3"), mbtest.script(LUA_LINE)],
    }


def page_programs():
    """Each answers a request of HTTP with a page: {column: arguments}."""
    return {
        **ours(scripts.HELLO),
        "shell": ["/bin/sh", mbtest.script(SH_PAGE)],
        "lua-http": [benchlib.find("lua5.3"), mbtest.script(scripts.LUA_HTTP_CONNECTION)],
        "http.server": [benchlib.find("python3"), mbtest.script(scripts.PYTHON_CONNECTION)],
    }


# ---- connections ----


def speeds(servers, scale, clients, kinds):
    """Loads the servers {column: server} by turns. kinds: {column: what the clients do}. Returns their speeds."""

    def job(column, server):
        def speed():
            server.settle()
            return crowd.load(kinds[column], server, clients=clients, seconds=scale.seconds).speed

        return speed

    crowd.compile_generator()
    return benchlib.alternate(scale.rounds, {column: job(column, server) for column, server in servers.items()})


def lines(host, clients, longer=1):
    """longer: so many times as long as other rows, where there are few connections in a second."""

    def measure(scale):
        scale = dataclasses.replace(scale, seconds=longer * scale.seconds)
        with host(line_programs()) as servers:
            return speeds(servers, scale, clients, {column: "end" if column == "C" else "line" for column in servers})

    return measure


def pages_by_inetd(scale):
    with hosts.inetd(page_programs()) as servers:
        return speeds(servers, scale, 1, dict.fromkeys(servers, "close"))


# ---- servers ----


@contextlib.contextmanager
def running(servers):
    """Starts servers that run until the block ends: {column: server}."""
    with contextlib.ExitStack() as stack:
        yield {column: stack.enter_context(server) for column, server in servers.items()}


def page_servers():
    return {
        "pool": poolpeers.pool(poolpeers.GOES_ON),
        "lua-http": poolpeers.lua_http(),
        "http.server": poolpeers.http_server(),
        "nginx": poolpeers.nginx(len(os.sched_getaffinity(0))),
    }


def new_connections(clients):
    def measure(scale):
        more = {"pool, 1 each": poolpeers.pool(poolpeers.ENDS), "lua5.3": poolpeers.luasocket()}
        with running({**page_servers(), **more}) as servers:
            return speeds(servers, scale, clients, dict.fromkeys(servers, "close"))

    return measure


def kept_connections(clients):
    def measure(scale):
        with running(page_servers()) as servers:
            return speeds(servers, scale, clients, dict.fromkeys(servers, "keep"))

    return measure


# ---- large bodies ----


@contextlib.contextmanager
def file_directory(scale):
    """A directory with a file to send. Gives both paths."""
    size = scale.mebibytes * 2**20
    with tempfile.TemporaryDirectory(prefix="mb-bench-", dir=benchlib.memory_directory(2 * size)) as directory:
        os.chmod(directory, 0o755)
        yield directory, benchlib.write_counting(directory, size)


def transfer(scale, servers, seconds):
    """Calls seconds(column, server) by turns, once more at the beginning. Returns the speeds in MB/s."""
    jobs = {column: lambda c=column, s=server: seconds(c, s) for column, server in servers.items()}
    benchlib.alternate(1, jobs)
    size = scale.mebibytes * 2**20
    results = benchlib.alternate(scale.rounds, jobs)
    return {column: [size / each / 1e6 for each in results[column]] for column in jobs}


def download(scale):
    fetch = [benchlib.compile_helper(mbtest.TMP, "httpload"), "fetch", str(scale.mebibytes * 2**20)]
    with file_directory(scale) as (directory, path), running({
        "pool": poolpeers.pool(scripts.SEND_FILE % path),
        "lua-http": poolpeers.lua_http(scripts.LUA_HTTP_SEND_FILE % path),
        "http.server": poolpeers.http_server(directory),
        "nginx": poolpeers.nginx(1, f"location = /file {{ root {directory}; sendfile on; }}"),
    }) as servers:
        return transfer(scale, servers, lambda _, server: benchlib.helper(*fetch, str(server.port))[0])


def upload(scale):
    with file_directory(scale) as (directory, path), running({
        "pool": poolpeers.pool(scripts.COUNT_BODY),
        "lua-http": poolpeers.lua_http(scripts.LUA_HTTP_COUNT_BODY),
        "http.server": poolpeers.http_server(),
        "nginx": poolpeers.nginx(1, NGINX_PUT.format(directory=directory)),
    }) as servers:
        return transfer(scale, servers, lambda column, server: send(server.port, path, column == "nginx"))


NGINX_PUT = """
    location = /put {{
      root {directory};
      dav_methods PUT;
      client_max_body_size 0;
      client_body_temp_path {directory}/body;
    }}
"""


def send(port, path, stored):
    """Sends a file to a server that counts its bytes, or stores it as "put" beside the file. Returns the seconds."""
    size = os.path.getsize(path)
    method = "PUT /put" if stored else "POST /"
    head = f"{method} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), SECONDS_MAX) as client, open(path, "rb") as f:
        began = time.perf_counter()
        client.sendall(head.encode())
        client.sendfile(f)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
        seconds = time.perf_counter() - began
    if stored:
        put = os.path.join(os.path.dirname(path), "put")
        right = re.match(rb"HTTP/1\.1 20[14] ", answer) and os.path.getsize(put) == size
    else:
        right = answer.startswith(b"HTTP/1.1 200 ") and re.search(rb"\b%d\n" % size, answer)
    if not right:
        raise RuntimeError(f"wrong answer to an upload: {answer[:300]!r}")
    if stored:
        os.unlink(put)  # else the next one would have to remove it
    return seconds


# ---- WebSocket ----


def messages(scale):
    load = benchlib.compile_helper(mbtest.TMP, "wsload")
    argv = [load, "messages", str(round(scale.seconds * 1000)), str(DEPTH), str(MESSAGE)]

    def job(server):
        def per_second():
            count, seconds = benchlib.helper(*argv, str(server.port))
            return count / seconds

        return per_second

    with running({
        "pool": poolpeers.pool(scripts.WEBSOCKET),
        "lua-http": poolpeers.lua_http(scripts.LUA_HTTP_WEBSOCKET),
        "websocketd": poolpeers.websocketd(),
        "python3-websockets": poolpeers.websockets(),
    }) as servers:
        return benchlib.alternate(scale.rounds, {column: job(server) for column, server in servers.items()})


# ---- the table ----

CONNECTIONS, PAGES = "connections/s", "requests/s"
LINES = (
    "A client connects, sends a line, reads the same line and the end of the connection. The C program does nothing:"
    " its clients send nothing, and read the end."
)
BY_SYSTEMD = (
    "The user manager of systemd starts a service for each connection (Accept=yes), with the settings of mb@.service."
    f" The rest as under inetd: {LINES[0].lower()}{LINES[1:]}"
)
POOL = (
    "Servers that run. A client connects, asks for a page of 6 bytes, reads it and the end of the connection."
    f" The pool and lua-http have {poolpeers.WORKERS} processes, nginx has one for each processor, http.server a thread"
    " for each connection. The program of LuaSocket serves one client after the other."
)
KEPT = (
    "The same servers, but for two that end the connection after each page. Each client asks for the page again and"
    " again on one connection."
)
BY_INETD = ["openbsd-inetd", "lua5.3"]
SERVERS = ["lua5.3", "lua-http", "nginx-light", "python3"]

ROWS = {
    "start": Row(
        "start", "us per start", "The time from posix_spawn to the end of the program. mb-handle, the shell and lua5.3"
        " read ten lines and write them again. lua-http and http.server are loaded, and no more.",
        ["lua5.3", "lua-http", "python3"], start, less=True,
    ),
    "inetd-1": Row(
        "inetd, one by one", CONNECTIONS, f"openbsd-inetd. {LINES}", BY_INETD, lines(hosts.inetd, 1), hosted=True,
        bars=[Bar("mb-handle", 1.2), Bar("mb-handle-static", 1.2)],
    ),
    "inetd-8": Row(
        "inetd, 8 at a time", CONNECTIONS, "The same with 8 clients at a time.", BY_INETD, lines(hosts.inetd, 8),
        hosted=True,
    ),
    "inetd-page": Row(
        "inetd, a page", CONNECTIONS, "openbsd-inetd. A client connects, asks for a page of 6 bytes, reads it and the"
        " end of the connection. The shell looks for the end of the request, and no more.",
        [*BY_INETD, "lua-http", "python3"], pages_by_inetd, hosted=True,
    ),
    "tcpserver-1": Row(
        "tcpserver, one by one", CONNECTIONS, f"tcpserver of ucspi-tcp. {LINES}", ["ucspi-tcp", "lua5.3"],
        lines(hosts.tcpserver, 1),
    ),
    "tcpserver-8": Row(
        "tcpserver, 8 at a time", CONNECTIONS, "The same with 8 clients at a time.", ["ucspi-tcp", "lua5.3"],
        lines(hosts.tcpserver, 8),
    ),
    "systemd-1": Row(
        "systemd, one by one", CONNECTIONS, BY_SYSTEMD, ["systemd", "lua5.3"], lines(hosts.user_manager, 1, 2),
        hosted=True, bars=[Bar("mb-handle", 1.05), Bar("mb-handle-static", 1.05)],
    ),
    "systemd-8": Row(
        "systemd, 8 at a time", CONNECTIONS, "The same with 8 clients at a time.", ["systemd", "lua5.3"],
        lines(hosts.user_manager, 8, 2), hosted=True,
    ),
    "pool-1": Row(
        "pool, one by one", CONNECTIONS, POOL, [*SERVERS, "lua-socket"], new_connections(1),
    ),
    "pool-8": Row(
        "pool, 8 at a time", CONNECTIONS, "The same with 8 clients at a time.", [*SERVERS, "lua-socket"],
        new_connections(8),
    ),
    "kept-1": Row("kept, 1 client", PAGES, KEPT, SERVERS, kept_connections(1)),
    "kept-8": Row("kept, 8 clients", PAGES, KEPT, SERVERS, kept_connections(8)),
    "upload": Row(
        "upload", "MB/s", "One client sends a large body with its length. The servers count its bytes, but nginx stores"
        " it in a file in memory.", SERVERS, upload,
    ),
    "download": Row("download", "MB/s", "One client gets a large file, which is in memory.", SERVERS, download),
    "websocket": Row(
        "WebSocket", "messages/s",
        f"One client sends messages of {MESSAGE} bytes, {DEPTH} at a time, and gets each back."
        " mb-handle's side of it is lua-http's module on mb.http_server, in the pool.",
        ["lua5.3", "lua-http", "python3-websockets", "websocketd"], messages,
    ),
}
