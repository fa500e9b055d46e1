"""The rows of tests/bench/run: what each of them measures, and the programs that it compares. To be imported behind
crowd."""

import dataclasses
import os
from typing import Callable

import benchlib
import crowd
import hosts
import mbtest
import scripts


@dataclasses.dataclass
class Column:
    """A program of the table."""

    heading: tuple  # two lines of at most 6 characters
    name: str  # at most 22 characters
    what: str
    colour: str  # of the drawing; readable on white and on black
    symbol: int  # gnuplot's number of the point's type


ORANGE, GREY, BLUE, BROWN, GREEN, PINK = "#d55e00", "#888888", "#3a8fd0", "#b07d00", "#009e73", "#c46aa0"
COLUMNS = {
    "handle": Column(("mb-", "handle"), "mb-handle", "mb-handle, started for each connection", ORANGE, 7),
    "static": Column(("mb-h.", "static"), "mb-handle-static", "the same, linked statically", ORANGE, 9),
    "pool": Column(("", "pool"), "pool", "mb-handle --serve: a process has one connection after another", ORANGE, 5),
    "pool1": Column(("pool,", "1 each"), "pool, 1 each", "mb-handle --serve: a child for each connection", ORANGE, 4),
    "c": Column(("", "C"), "C", "a C program that does nothing", GREY, 7),
    "sh": Column(("", "shell"), "shell", "a script of /bin/sh", GREY, 5),
    "lua": Column(("", "lua5.3"), "lua5.3", "lua5.3; with LuaSocket where it listens by itself", BLUE, 7),
    "luahttp": Column(("lua-", "http"), "lua-http", "lua-http, with lua5.3", BLUE, 5),
    "python": Column(("http.", "server"), "http.server", "python3's http.server", BROWN, 7),
    "nginx": Column(("", "nginx"), "nginx", "nginx", GREEN, 7),
    "websocketd": Column(("websoc", "ketd"), "websocketd", "websocketd, which starts cat", PINK, 7),
    "websockets": Column(("websoc", "kets"), "python3-websockets", "a module of python3", BROWN, 5),
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
    what: str
    other: str = "c"


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

LUA_ECHO = 'for line in io.lines(nil, "L") do io.write(line) end\n'
SH_ECHO = "while read -r line; do printf '%s\\n' \"$line\"; done\n"


def ours(script):
    """mb-handle and mb-handle-static, if that is there, as they are installed: {column: [program, script]}."""
    path = mbtest.script(script)
    programs = {"handle": benchlib.HANDLE, "static": benchlib.HANDLE + "-static"}
    return {
        column: [benchlib.installed(program, mbtest.TMP), path]
        for column, program in programs.items()
        if os.path.exists(program)
    }


def do_nothing():
    return [benchlib.installed(benchlib.compile_helper(mbtest.TMP, "nothing"), mbtest.TMP)]


def start(scale):
    lua = benchlib.find("lua5.3")
    echoes = {
        **ours("return " + benchlib.ECHO),
        "sh": ["/bin/sh", mbtest.script(SH_ECHO)],
        "lua": [lua, mbtest.script(LUA_ECHO)],
    }
    programs = {
        "c": ["", *do_nothing()],
        **{column: [benchlib.CAPTURE, *argv] for column, argv in echoes.items()},
        "luahttp": ["", lua, mbtest.script('require "http.server" require "http.headers"\n')],
        "python": ["", benchlib.find("python3"), mbtest.script("import http.server\n")],
    }
    os.environ["LUA_PATH"] = scripts.LUA_PATH  # spawn passes it on
    times = benchlib.starts(mbtest.TMP, scale.starts, programs)
    return {column: [ns / 1000 for ns in column_times] for column, column_times in times.items()}


def line_programs():
    """Each answers a line with the same line, but for the C program: {column: arguments}."""
    return {
        "c": do_nothing(),
        **ours(LINE),
        "sh": ["/bin/sh", mbtest.script(SH_LINE)],
        "lua": [benchlib.find("lua5.3"), mbtest.script(LUA_LINE)],
    }


# ---- servers ----


def speeds(servers, scale, clients, kinds):
    """Loads the servers {column: server} by turns. kinds: {column: what the clients do}. Returns their speeds."""

    def job(column, server):
        def speed():
            server.settle()
            return crowd.load(kinds[column], server, clients=clients, seconds=scale.seconds).speed

        return speed

    crowd.compile_generator()
    return benchlib.alternate(scale.rounds, {column: job(column, server) for column, server in servers.items()})


def lines(host, clients):
    def measure(scale):
        with host(line_programs()) as servers:
            return speeds(servers, scale, clients, {column: "end" if column == "c" else "line" for column in servers})

    return measure


# ---- the table ----

CONNECTIONS = "connections/s"
STARTS_PER_CONNECTION = (
    "A client connects, sends a line, reads the same line and the end of the connection. The C program does nothing:"
    " its clients send nothing, and read the end."
)

ROWS = {
    "start": Row(
        "start", "us", "The time from posix_spawn to the end of the program. mb-handle, the shell and lua5.3 read ten"
        " lines and write them again. lua-http and python3's http.server are loaded, and no more.",
        ["lua5.3", "lua-http", "python3"], start, less=True,
    ),
    "tcpserver-1": Row(
        "tcpserver, one by one", CONNECTIONS, STARTS_PER_CONNECTION, ["ucspi-tcp", "lua5.3"], lines(hosts.tcpserver, 1),
    ),
}
