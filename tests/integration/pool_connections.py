#!/usr/bin/python3
"""One process of a pool serves one connection after another: what belongs to a connection ends with it, and what the
script keeps stays."""

import concurrent.futures
import glob
import os
import re
import signal
import socket
import struct
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbpool
import mbspace
import mbtest
from mbpool import Handed, Pool, descriptors
from mbtest import Client, alive, check, equal, script, test, until

mbtest.need("systemd-journald")
mbspace.enter()

# Runs each client's line as Lua. One process serves all; the answers are lines.
COMMANDS = """
io_ = require "moonbridge_io"
kept = {}
local function connect(s)
  socket = s
  local line = s:read(nil, "\\n")
  local results = table.pack(assert(load(line))())
  for i = 1, results.n do results[i] = tostring(results[i]) end
  s:write(io_.getpid(), " ", table.concat(results, " "), "\\n")
  return true
end
"""


def commands(fields="", head=""):
    return script(
        head + COMMANDS + f"listen{{ {fields} pre_fork = 1, min_fork = 1, max_fork = 1, connect = connect }}\n"
    )


def do(pool, line):
    """Lets the script run a line of Lua. Returns the process and what the line has returned."""
    pid, _, text = pool.ask(line.encode() + b"\n").decode().rstrip("\n").partition(" ")
    return int(pid), text


def both(path, *args, where=None):
    """The two ways of starting, in turn. where: the address that the script names itself."""
    for kind in (Pool, Handed):
        with mbtest.about(kind.__name__):
            if where and kind is Pool:
                pool = Pool(path, *args, where=None).ready()
                pool.where = where
            else:
                pool = (kind(path, *args, where=where) if where else kind(path, *args)).ready()
            yield pool
            pool.stop()


def says(pool, text):
    until(lambda: text in pool.text(), f"the log says {text!r}: {pool.text()}")


@test("a time limit, the locale and half a line of print end with the connection; Lua's values stay")
def _():
    for pool in both(commands()):
        pid, _ = do(pool, 'timeout(0.4) os.setlocale("C.UTF-8") print "first" io.write "half" global = 1')
        equal(do(pool, "return timeout(), os.setlocale(), global"), (pid, "0.0 C 1"), "the next connection")
        says(pool, "half\n")
        time.sleep(0.5)
        equal(do(pool, "return 1")[0], pid, "the limit does not end the process later")
        do(pool, "timeout(5, function() coroutine.wrap(function() timeout(9, coroutine.yield) end)() end)")
        equal(do(pool, "return timeout()"), (pid, "0.0"), "nor does that of a coroutine that was dropped")


@test("the locale that the script has set when it was loaded holds for every connection")
def _():
    pool = Pool(commands(head='os.setlocale("C.UTF-8")\n')).ready()
    pid, _ = do(pool, 'os.setlocale("C")')
    equal(do(pool, "return os.setlocale()"), (pid, "C.UTF-8"), "the next connection")


@test("--timeout: each connection has the whole time, and prepare has it, too; who needs more is reset and replaced")
def _():
    limit = 1.5 * mbtest.SLOWNESS
    for pool in both(commands(), f"--timeout={limit}"):
        pid, _ = do(pool, "return 1")
        for _ in range(4):
            equal(do(pool, f"io_.poll(nil, nil, {limit * 0.3})")[0], pid, "the same process")
        time.sleep(limit + 0.1)
        equal(do(pool, "return 1")[0], pid, "after more idle time than a connection has")
        equal(pool.ask(b"while true do end\n", how="reset"), b"", "one that takes too long")
        says(pool, "timeout: time is up")
        other, _ = do(pool, "return timeout() > 0")
        check(other != pid, "another process serves then")
    endless = "listen{ fork_error_delay = 0.1, prepare = function() while true do end end, connect = print }"
    pool = Pool(script(endless), "--timeout=0.3")
    until(lambda: pool.text().count("timeout: time is up") > 1, f"prepare is ended: {pool.text()}")
    pool.stop()


@test("--silence-timeout: the silence of each connection counts")
def _():
    limit = int(2 * mbtest.SLOWNESS)
    pool = Pool(commands(), f"--silence-timeout={limit}").ready()
    pid, _ = do(pool, "return 1")
    for _ in range(3):
        equal(do(pool, f"io_.poll(nil, nil, {limit * 0.4})")[0], pid, "the same process")
    time.sleep(limit + 0.1)
    equal(do(pool, "return 1")[0], pid, "between connections nobody has to speak")
    pool.ask(b"", how="reset")
    says(pool, "silence: no byte")


@test("a time limit in one process ends no other: its client is reset, and the pool replaces it")
def _():
    path = script(COMMANDS + "listen{ pre_fork = 2, min_fork = 2, max_fork = 4, connect = connect }\n")
    for pool in both(path):
        before = until(lambda p=pool: len(p.workers()) >= 2 and p.workers(), "two processes")
        with Client(pool.where) as other:
            other.send("socket:write(io_.getpid(), '\\n') return (socket:read(nil, '\\n'))\n")
            theirs = int(other.line())
            equal(pool.ask(b"timeout(0.2) while true do end\n", how="reset"), b"", "its client")
            other.send("go on\n")
            equal(other.end()[0].decode(), f"{theirs} go on\n\n", "the other one")
        until(lambda p=pool, b=before: len(set(b) - set(p.workers())) == 1, "one process has ended")
        until(lambda p=pool, b=before: set(p.workers()) - set(b), "it is replaced")


# ---- what a connection leaves open ----

LEAKS = {
    "sockets of tcpconnect": "assert(io_.tcpconnect('127.0.0.1', {port}))",
    "listeners": "assert(io_.tcplisten('127.0.0.1', 0))",
    "pipes of exec": "assert(io_.exec('true'))",
    "LuaSocket's": "local s = require 'mb.luasocket' assert(s.tcp4()) assert(s.bind('127.0.0.1', 0)) "
    "assert(s.connect('127.0.0.1', {port}))",
    "Tarantool's": "local s = require 'mb.tarantool'.socket assert(s('AF_INET', 'SOCK_DGRAM', 'udp')) "
    "assert(s.tcp_connect('127.0.0.1', {port}))",
}


def settled(pid):
    """Returns the number of descriptors of a process that has ended its connection."""
    counts = [0, -1]
    while counts[-1] != counts[-2]:
        time.sleep(0.05)
        counts.append(descriptors(pid))
    return counts[-1]


@test("a descriptor that a connection has opened and dropped is closed at its end; one that the script keeps is not")
def _():
    with mbpool.listener() as peer:
        port = peer.getsockname()[1]
        for pool in both(commands()):
            do(pool, "require 'mb.luasocket' return require 'mb.tarantool'.socket")
            for what, line in LEAKS.items():
                line = line.replace("{port}", str(port))
                pid, _ = do(pool, "return 1")
                before = settled(pid)
                for _ in range(3):
                    equal(do(pool, line)[0], pid, f"{what}: the same process")
                equal(settled(pid), before, f"{what}: descriptors")
            before = settled(pid)
            do(pool, f"kept[1] = assert(io_.tcpconnect('127.0.0.1', {port}))")
            do(pool, LEAKS["listeners"])
            until(lambda: descriptors(pid) == before + 1, "the one that is kept")
            equal(do(pool, "return kept[1].fd ~= nil"), (pid, "true"), "and can be used")
            do(pool, "kept = {}")
            do(pool, LEAKS["listeners"])
            until(lambda: descriptors(pid) == before, "until the script drops it")


@test("garbage is collected after a connection that has opened something; a finalizer that throws ends nothing")
def _():
    pool = Pool(commands()).ready()
    pid, _ = do(pool, "weak = setmetatable({{}}, {__mode = 'v'})")
    do(pool, "setmetatable({}, {__gc = function() error 'in a finalizer' end}) io_.tcplisten('127.0.0.1', 0)")
    equal(do(pool, "return #weak"), (pid, "0"), "what is left")
    says(pool, "in a finalizer")


def ended(pid):
    """Returns whether no process of that number is left, not even a zombie."""
    return not os.path.exists(f"/proc/{pid}")


@test("exec: a program that ends with the script ends with its connection, unless the script keeps it; others go on")
def _():
    start = "local c = assert(io_.exec({end_with_script = %s}, 'sleep', '1000')) %s return c.pid"
    for pool in both(commands()):
        pid, program = do(pool, start % ("true", ""))
        until(lambda: ended(program), "it ends with its connection")
        check(alive(pid), "the process serves on")
        _, keeps = do(pool, start % ("true", "kept[1] = c"))
        _, other = do(pool, start % ("false", ""))
        do(pool, LEAKS["listeners"])
        do(pool, "return 1")
        time.sleep(0.3)
        check(alive(keeps), "one that the script keeps goes on")
        check(alive(other), "so does one that is to stay")
        do(pool, "kept = {}")
        until(lambda: ended(keeps), "until the script drops it")
        os.kill(int(other), signal.SIGKILL)
        until(lambda: ended(other), "the other one leaves no zombie")
        _, keeps = do(pool, start % ("true", "kept[1] = c"))
        os.kill(pid, signal.SIGKILL)
        until(lambda: ended(keeps), "it ends with the process in any case")


# ---- what is said of each connection ----


@test("--record: a file for each connection, also of one process in one second")
def _():
    for pool in both(commands(), f"--record={mbtest.tmp('records', 'r-%t-%p')}"):
        lines = [f"return {n}" for n in range(4)]
        pids = {do(pool, line)[0] for line in lines}
        equal(len(pids), 1, "processes")
        names = glob.glob(mbtest.tmp("records", f"r-*-{pids.pop()}*"))
        equal(sorted(map(mbtest.read_file, names)), sorted(line + "\n" for line in lines), "the recordings")


@test("the PROXY protocol: each connection has its own client, whether the option or the listener asks for it")
def _():
    port = mbtest.free_port()
    asks = commands(f'{{proto="tcp", host="127.0.0.1", port={port}, proxy_protocol=true}},')
    for pools in (
        both(commands(), "--proxy-protocol", "--log-level=info"),
        both(asks, "--log-level=info", where=("127.0.0.1", port)),
    ):
        for pool in pools:
            pid = None
            for n in range(1, 4):
                head = f"PROXY TCP4 192.0.2.{n} 192.0.2.99 {5000 + n} 80\r\n"
                came = pool.ask(f"{head}return socket.remote_addr\n".encode()).decode()
                pid = pid or came.split()[0]
                equal(came, f"{pid} 192.0.2.{n}\n", "the client")
                says(pool, f"connection from 192.0.2.{n}:{5000 + n} via 127.0.0.1")
                equal(pool.ask(b"no header\r\n", how="reset"), b"", "one without a header")
                until(lambda k=n, p=pool: p.text().count("bytes out, refused") == k, f"its line: {pool.text()}")


@test("each connection has its line in the log, also when an error ends it")
def _():
    for pool in both(commands(), "--log-level=info"):
        for n in range(3):
            do(pool, f"return ('x'):rep({n})")
        pool.ask(b"error 'boom'\n", how="reset")
        do(pool, "return 1")
        until(lambda p=pool: p.text().count("connection from") == 5, f"five lines: {pool.text()}")
        line = r"connection from 127.0.0.1:(\d+) to .* (\d+) bytes in, \d+ bytes out, status (\d+)"
        found = re.findall(line, pool.text())
        equal([(size, status) for _, size, status in found],
              [("20", "0")] * 3 + [("13", "70"), ("9", "0")], "bytes and status")
        equal(len({port for port, _, _ in found}), 5, "clients")


@test("--log-format=journal: each connection has its entry, with its fields and the process that served it")
def _():
    journal = mbspace.Journal()
    for pool in both(commands(), "--log-level=info", "--log-format=journal"):
        pid, _ = do(pool, "return 1")
        do(pool, "return 22")

        def of_pid(pid=pid):
            return [e for e in journal.entries() if e.get("_PID") == str(pid) and "MB_PEER_PORT" in e]

        until(lambda: len(of_pid()) == 2, "two entries")
        equal([e["MB_BYTES_IN"] for e in of_pid()], ["9", "10"], "the bytes of each")
        equal(len({e["MB_PEER_PORT"] for e in of_pid()}), 2, "ports of clients")
    journal.stop()


@test("--log-lines: each connection has so many")
def _():
    pool = Pool(commands(), "--log-lines=3").ready()
    for n in range(1, 3):
        do(pool, f"for i = 1, 9 do print('row {n}.' .. i) end")
    until(lambda: pool.text().count("dropped") == 2, f"dropped twice: {pool.text()}")
    for n in range(1, 3):
        check(f"row {n}.3" in pool.text() and f"row {n}.4" not in pool.text(), f"three lines: {pool.text()}")


@test("math.random differs from process to process; a script that waits for SIGTERM hears of it in every connection")
def _():
    path = script(
        'local io_ = require "moonbridge_io"\nio_.catch_sigterm()\n'
        "listen{ pre_fork = 4, min_fork = 4, max_fork = 4, connect = function(s)\n"
        "  if s:read(nil, '\\n') == 'wait\\n' then s:flush('waits\\n')\n"
        "    local _, _, told = io_.poll(nil, nil, nil, true) s:write(tostring(told)) end\n"
        "  s:write(math.random(1 << 30), '\\n') return false end}"
    )
    pool = Pool(path).ready()
    numbers = [pool.ask(b"number\n") for _ in range(8)]
    equal(len(set(numbers)), 8, f"different numbers: {numbers}")
    with Client(pool.where) as client:
        client.send("wait\n")
        equal(client.line(), "waits", "the connection")
        os.kill(pool.pid, signal.SIGTERM)
        check(client.end()[0].startswith(b"true"), "it hears of SIGTERM")
    equal(pool.wait(), 0, "status")


# ---- programs of other libraries ----

# Each answers every connection with its process, how many connections that has served, and what the client has said.

LUASOCKET = """
local socket, pid, count = require "socket", require "moonbridge_io".getpid(), 0
local server = assert(socket.bind(arg[1], tonumber(arg[2])))
while true do
  local client = server:accept()
  count = count + 1
  client:settimeout(10)
  local line = client:receive()
  if line then client:send(pid .. " " .. count .. " " .. line .. "\\n") end
  client:close()
end
"""

# Multiplexes, and has a timer beside its connections.
SELECT = """
local socket, pid, count = require "socket", require "moonbridge_io".getpid(), 0
local server = assert(socket.bind(arg[1], tonumber(arg[2])))
server:settimeout(0)
local set, ticks, due = {server}, 0, socket.gettime() + 0.02
while true do
  local ready = socket.select(set, nil, math.max(0, due - socket.gettime()))
  if socket.gettime() >= due then ticks, due = ticks + 1, due + 0.02 end
  for _, one in ipairs(ready) do
    if one == server then
      set[#set + 1] = server:accept()
      if set[2] then count = count + 1 end
    else
      local line = one:receive()
      if line == "ticks" then line = ticks end
      if line then one:send(pid .. " " .. count .. " " .. line .. "\\n") end
      one:close()
      set[2] = nil
    end
  end
end
"""

# Asks again and again, and sleeps in between.
POLLING = LUASOCKET.replace("while true do", "server:settimeout(0) while true do").replace(
    "local client = server:accept()",
    "local client = server:accept() while not client do socket.sleep(0.01) client = server:accept() end",
)

TARANTOOL = """
local socket, fiber, pid, count = require "socket", require "fiber", require "moonbridge_io".getpid(), 0
local ticks = 0
fiber.create(function() while true do fiber.sleep(0.02) ticks = ticks + 1 end end)
socket.tcp_server(arg[1], tonumber(arg[2]), function(s)
  count = count + 1
  local line = s:read("\\n", 10)
  if line == "ticks\\n" then line = ticks .. "\\n" end
  if line and line ~= "" then s:write(pid .. " " .. count .. " " .. line) end
end)
"""

# Accepts in the main program, without a fiber.
TARANTOOL_LOOP = """
local socket, pid, count = require "socket", require "moonbridge_io".getpid(), 0
local server = socket("AF_INET", "SOCK_STREAM", "tcp")
assert(server:bind(arg[1], tonumber(arg[2])) and server:listen())
while true do
  local s = server:accept()
  count = count + 1
  local line = s:read("\\n", 10)
  if line and line ~= "" then s:write(pid .. " " .. count .. " " .. line) end
  s:close()
end
"""

LUA_HTTP = """
local headers, pid, count = require "http.headers", require "moonbridge_io".getpid(), 0
local function onstream(_, stream)
  local asked = stream:get_headers()
  count = count + 1
  local answer = headers.new()
  answer:append(":status", "200")
  stream:write_headers(answer, false)
  stream:write_chunk(pid .. " " .. count .. " " .. asked:get(":path"):sub(2) .. "\\n", true)
end
local server = require "http.server".listen{host = arg[1], port = tonumber(arg[2]), onstream = onstream}
LOOP
"""

PROGRAMS = {
    "LuaSocket": ("luasocket", LUASOCKET),
    "LuaSocket, select": ("luasocket", SELECT),
    "LuaSocket, polling": ("luasocket", POLLING),
    "Tarantool": ("tarantool", TARANTOOL),
    "Tarantool, a loop": ("tarantool", TARANTOOL_LOOP),
    "lua-http": ("lua-http", LUA_HTTP.replace("LOOP", "assert(server:loop())")),
    "lua-http, in steps": ("lua-http", LUA_HTTP.replace("LOOP", "while true do assert(server:step(0.1)) end")),
    "lua-http, timed": ("lua-http", LUA_HTTP.replace("LOOP", "while true do assert(server:loop(0.1)) end")),
}


def program(kind, style, text, *args):
    """Starts a program in a pool; the program listens on the pool's address."""
    where = ("127.0.0.1", mbtest.free_port())
    path = script(f"arg = {{'{where[0]}', {where[1]}}}\n{text}")
    pool = kind(path, f"--style={style}", *args, where=where).ready()
    pool.style = style
    return pool


def say(pool, text, how="eof"):
    """Returns the process, its number of connections, and the rest of the answer."""
    if pool.style == "lua-http":
        came = pool.ask(f"GET /{text} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode(), how)
        came = b"".join(line + b"\n" for line in came.split(b"\r\n") if re.match(rb"\d+ \d+ ", line))
    else:
        came = pool.ask(f"{text}\n".encode(), how)
    found = re.search(r"(\d+) (\d+) (.*)\n", came.decode())
    check(found, f"an answer to {text!r}: {came!r}; log: {pool.text()[-2000:]}")
    return int(found[1]), int(found[2]), found[3]


def crowd(pool, clients, each):
    """So many clients at a time, of which some go away. Returns all answers."""

    def client(number):
        found = []
        for n in range(each):
            if (number + n) % 7 == 3:
                with Client(pool.where) as gone:
                    gone.send("half a li")
                continue
            text = f"{number}.{n}"
            answer = say(pool, text)
            equal(answer[2], text, "its own answer")
            found.append(answer)
        return found

    with concurrent.futures.ThreadPoolExecutor(clients) as threads:
        return [answer for found in threads.map(client, range(clients)) for answer in found]


@test("--style: accept gives one connection after another in the same process, in every style and way to wait")
def _():
    for name, (style, text) in PROGRAMS.items():
        for kind in (Pool, Handed):
            with mbtest.about(f"{name}, {kind.__name__}"):
                pool = program(kind, style, text, "--log-level=info")
                answers = [say(pool, f"n{n}") for n in range(12)]
                equal([text for _, _, text in answers], [f"n{n}" for n in range(12)], "answers")
                seen = {}
                for pid, count, _ in answers:
                    equal(count, seen.get(pid, 0) + 1, "how many connections the process has served")
                    seen[pid] = count
                check(len(seen) <= 6, f"processes for 12 connections: {seen}")
                until(lambda: pool.text().count("bytes out, status 0") == 12, "a line for each")
                crowd(pool, 6, 12)
                usual = "pool: listening|connection from|the client has gone|http_server: 400"
                check(not re.search(f"mb-handle: (?!{usual})", pool.text()), f"the log: {pool.text()[-2000:]}")
                began = time.monotonic()
                pool.stop()
                equal(pool.wait(), 0, "status")
                check(time.monotonic() - began < 5 * mbtest.SLOWNESS, "SIGTERM ends idle programs at once")


@test("--style: a program that waits for a timer beside its listener has it while no connection is there")
def _():
    for name in ("LuaSocket, select", "Tarantool"):
        with mbtest.about(name):
            pool = program(Pool, *PROGRAMS[name])
            first = {}
            while len(first) < 2:  # both processes
                pid, _, text = say(pool, "ticks")
                first.setdefault(pid, int(text))
            time.sleep(0.5)
            pid, _, text = say(pool, "ticks")
            check(int(text) >= first[pid] + 10, f"ticks of {pid} in 0.5 s: from {first[pid]} to {text}")
            pool.stop()


@test("--style: programs that poll are idle in between: no further processes are made for them")
def _():
    pool = program(Pool, *PROGRAMS["LuaSocket, polling"])
    for n in range(4):
        say(pool, f"n{n}")
    before = len(pool.workers())
    time.sleep(1)
    check(len(pool.workers()) <= before, f"processes: {len(pool.workers())}, before {before}")


@test("--style: the next connection comes in on the listener only when the one before is over, however that ends")
def _():
    drops = LUASOCKET.replace("client:close()", "client, line = nil, nil")
    for name, text in {
        "dropped": drops,
        "kept, in a table": drops.replace("client, line = nil, nil", "all = all or {} all[#all + 1] = client"),
        "selected for": drops.replace("local client", "socket.select({server}) local client"),
        "reset by its client": LUASOCKET.replace("client:close()", "client:receive() client:close()"),
    }.items():
        with mbtest.about(name):
            pool = program(Pool, "luasocket", text)
            answers = [say(pool, f"n{n}") if "reset" not in name else half(pool, n) for n in range(12)]
            equal(len({pid for pid, _, _ in answers}) <= 8, True, f"processes: {answers}")
            pool.stop()


def half(pool, n):
    """A client that goes away amid its connection."""
    with Client(pool.where) as client:
        client.send(f"n{n}\n")
        pid, count, text = client.line().split(" ")
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return int(pid), int(count), text


@test("--style: limits, recordings, PROXY headers and the log are each connection's own")
def _():
    records = mbtest.tmp("programs", "r-%p")
    limit = 1.5 * mbtest.SLOWNESS
    pool = program(Pool, "luasocket", LUASOCKET.replace("client:settimeout(10)", "client:settimeout(nil)"),
                   f"--timeout={limit}", "--proxy-protocol", "--log-level=info", f"--record={records}")
    for n in range(1, 5):
        with Client(pool.where) as client:
            client.send(f"PROXY TCP4 192.0.2.{n} 192.0.2.99 {5000 + n} 80\r\n")
            time.sleep(limit * 0.3)
            client.send(f"n{n}\n")
            check(client.end()[0].endswith(f" n{n}\n".encode()), "an answer")
        equal(pool.ask(b"no header\n", how="reset"), b"", "one without a header")
        until(lambda k=n: f"connection from 192.0.2.{k}:{5000 + k} via" in pool.text(), f"its line: {pool.text()}")
    found = [mbtest.read_file(name) for name in glob.glob(records.replace("%p", "*"))]
    for n in range(1, 5):
        equal(sum(text.endswith(f"80\nn{n}\n") for text in found), 1, f"recordings of n{n} among {found}")
    time.sleep(limit + 0.1)
    head = b"PROXY TCP4 192.0.2.9 192.0.2.99 5009 80\r\n"
    check(pool.ask(head + b"late\n").endswith(b" late\n"), "idle time is nobody's")
    equal(pool.ask(head, how="reset"), b"", "one that takes too long")
    until(lambda: "timeout: time is up" in pool.text(), pool.text())
    check(pool.ask(head + b"n\n").endswith(b" n\n"), "others serve on")


@test("--style: what a program has dropped is closed at the end of the connection")
def _():
    with mbpool.listener() as peer:
        port = peer.getsockname()[1]
        leaking = LUASOCKET.replace("client:send", f"socket.connect('127.0.0.1', {port}) client:send")
        pool = program(Pool, "luasocket", leaking)
        for n in range(4):
            pid, _, _ = say(pool, f"n{n}")
        before = settled(pid)
        for n in range(4, 8):
            pid, _, _ = say(pool, f"n{n}")
        check(settled(pid) <= before, f"descriptors: {settled(pid)}, before {before}")


@test("--style: an error ends the process, and the pool replaces it; a program that ends after a connection, too")
def _():
    for name, text, how in (
        ("an error", LUASOCKET.replace("if line then", "if count == 2 then error 'boom' end if line then"), "reset"),
        ("the end", LUASOCKET.replace("client:close()", "client:close() if count == 2 then return end"), "eof"),
        ("os.exit", LUASOCKET.replace("client:close()", "client:close() if count == 2 then os.exit(0) end"), "eof"),
    ):
        with mbtest.about(name):
            pool = program(Pool, "luasocket", text)
            counts = []
            for n in range(12):
                with Client(pool.where) as client:
                    client.send(f"n{n}\n")
                    came, end = client.end()
                    counts.append(int(came.split()[1]) if came else how)
                    check(came or end == how, f"answer: {came!r}, {end}")
            check(counts.count(1) >= 3, f"several processes: {counts}")
            pool.stop()


@test("--style: SIGHUP ends idle programs, and lets the one that serves finish")
def _():
    for name in ("LuaSocket", "LuaSocket, select", "Tarantool", "lua-http, in steps"):
        with mbtest.about(name):
            pool = program(Pool, *PROGRAMS[name])
            say(pool, "one")
            old = pool.workers()
            with Client(pool.where) as client:
                if pool.style == "lua-http":
                    client.send("GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n")
                time.sleep(0.1)
                pool.reload()
                client.send("\r\n" if pool.style == "lua-http" else "slow\n")
                check(b" slow\n" in client.end()[0], "the one that was served")
            until(lambda: not any(map(alive, old)), "the old processes end")
            check(say(pool, "two")[0] not in old, "another one serves")
            pool.stop()


@test("--style=lua-http: a kept connection without a request ends soon when the pool does")
def _():
    pool = program(Pool, *PROGRAMS["lua-http"])
    with Client(pool.where) as client:
        client.send("GET /kept HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: client.line().endswith(" kept"), "an answer")
        os.kill(pool.pid, signal.SIGTERM)
        began = time.monotonic()
        client.end()
        equal(pool.wait(), 0, "status")
        check(time.monotonic() - began < 5 * mbtest.SLOWNESS, "soon")


@test("--style: over a Unix socket; with several sockets each connection has a process of its own")
def _():
    path = mbtest.tmp("program.sock")
    text = LUASOCKET.replace('require "socket"', 'require "mb.luasocket"')
    unix = """
local socket, pid, count = require "socket", require "moonbridge_io".getpid(), 0
local server = socket("AF_UNIX", "SOCK_STREAM", 0)
assert(server:bind("unix/", arg[1]) and server:listen())
while true do
  local s = server:accept()
  count = count + 1
  s:write(pid .. " " .. count .. " " .. s:read("\\n"))
  s:close()
end
"""
    pool = Pool(script(f"arg = {{'{path}'}}\n{unix}"), "--style=tarantool", where=path).ready()
    pool.style = "tarantool"
    seen = [say(pool, f"n{n}")[:2] for n in range(6)]
    check(len({pid for pid, _ in seen}) <= 3 and max(count for _, count in seen) > 1, f"processes: {seen}")
    pool.stop()
    with mbpool.listener() as one, mbpool.listener() as two, open("/dev/null", "r+b") as null:
        ports = [sock.getsockname()[1] for sock in (one, two)]
        path = script(f"arg = {{'127.0.0.1', 0}}\n{text}")
        fds = {0: null, 1: null, 2: null, 3: one, 4: two}
        child = mbtest.Child([mbtest.HANDLE, "--style=luasocket", path], fds, listen_fds=2)
        for n in range(6):
            with Client(("127.0.0.1", ports[n % 2])) as client:
                client.send("x\n")
                equal(client.end()[0].split()[1:], [b"1", b"x"], "the first connection of its process")
        child.kill(signal.SIGTERM)
        equal(child.wait(), 0, "status")


@test("--style: where a further connection could not be the program's, each has a process of its own")
def _():
    looping = """
local io_ = require "moonbridge_io"
while true do
  io_.poll({[server:pollfd()] = true}, nil, server:timeout())
  assert(server:step(0))
end
"""
    for name, style, text, address in (
        ("one address of all", "luasocket", LUASOCKET, "0.0.0.0"),
        ("in a loop of somebody else", "lua-http", LUA_HTTP.replace("LOOP", looping), "127.0.0.1"),
    ):
        with mbtest.about(name):
            port = mbtest.free_port()
            path = script(f"arg = {{'127.0.0.1', {port}}}\n{text}")
            pool = Handed(path, f"--style={style}", where=(address, port)).ready()
            pool.style, pool.where = style, ("127.0.0.1", port)
            equal([say(pool, f"n{n}")[1] for n in range(4)], [1] * 4, "the first connection of its process")
            equal(pool.stop(), 0, "status")
    port = mbtest.free_port()
    everywhere = script(f"arg = {{'*', {port}}}\n{LUASOCKET}")
    pool = Handed(everywhere, "--style=luasocket", where=("0.0.0.0", port)).ready()
    pool.style, pool.where = "luasocket", ("127.0.0.1", port)
    check(max(say(pool, f"n{n}")[1] for n in range(6)) > 1, "a program for every address goes on")


if __name__ == "__main__":
    mbtest.main()
