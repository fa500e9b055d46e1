#!/usr/bin/python3
"""listen{}: every field, right and wrong; which listener a connection is for; prepare, connect and finish; memory_limit;
--check and --listener. The program is started directly, on files and sockets made here."""

import os
import socket
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import Serving, check, equal, script, tcp_pair, test, unix_pair


def run(*args, stdin=b"input\n", env=None):
    """A replay. Returns its exit status, output and log."""
    done = mbtest.replay(*args, stdin=stdin, env={**os.environ, **(env or {})})
    out = done.stdout.decode()
    return done.returncode, mbtest.without_sandboxes(out) if "--check" in args else out, done.stderr.decode()


def refused(text, *parts, status=78):
    """The script does not load; one line of the log holds all the parts and the script's line number."""
    path = script(text)
    got, out, log = run(path)
    equal((got, out), (status, ""), f"status and output of {text!r}; log: {log!r}")
    first = log.splitlines()[0]
    for part in parts:
        check(part in first, f"{part!r} in {first!r}, for {text!r}")
    return log


def served(conn, path, *args):
    """Serves the connection with the script. Returns its exit status and log."""
    child = Serving(conn, *args, path)
    return child.wait(), child.log()


SAYS = "local function says(text) return function(socket) socket:write(text) end end\n"


@test("each wrong field is an error that names it, its value and what is expected")
def _():
    service = 'connect = function() end, { proto = "tcp", port = 1 }'
    for field, values, expected in (
        ("prepare", ("1", '"x"', "{}"), "a function"),
        ("finish", ("true",), "a function"),
        ("memory_limit", ("0", "-1", "1.5", '"1M"'), "a number of bytes"),
        ("memory_limit", ("0",), "a number of bytes, 1 or more, got 0 (memory_limit: bytes that the Lua state may hold"),
        ("pre_fork", ("-1", "0.5", '"-1"', '"1x"', "3000000000"), "an integer from 0 to 2147483647"),
        ("min_fork", ("-1", "2147483648"), "an integer from 0 to 2147483647"),
        ("max_fork", ("0", "{}"), "an integer from 1 to 2147483647"),
        ("fork_delay", ("-1", '"-1"', "0/0", "1/0", "true"), "a number of seconds, 0 or more, or false"),
        ("fork_error_delay", ("-0.1",), "a number of seconds"),
        ("exit_delay", ("true",), "a number of seconds"),
        ("idle_timeout", ('"no"',), "a number of seconds"),
        ("min_requests_per_fork", ("-1", "{}"), "an integer from 0 to 2147483647"),
        ("max_requests_per_fork", ("0",), "an integer from 1 to 2147483647"),
        ("http_options", ("1", '"x"'), "a table"),
    ):
        for value in values:
            log = refused(f"\nlisten{{ {service}, {field} = {value} }}", f"{field}: expected {expected}", ".lua:2: listen:")
            if value[0] == '"':
                check(f"got {value}" in log, f"the value {value} in {log!r}")
    refused("listen{}", "connect: expected a function, got nil")
    refused("listen{ connect = 1 }", "connect: expected a function, got 1")
    refused("listen()", "expected a table, got no value")
    refused('listen("x")', "expected a table, got string")
    for fields, name in (('proto = "tcp"', "proto"), ("port = 8080", "port"), ('path = "/x"', "path"), ('host = "::1"', "host")):
        refused(f"listen{{ {service}, {fields} }}", f"{name} belongs to a listener, which is a table of its own: listen{{ {{proto=")
    refused('listen{ proto="tcp", port=8080, connect=print }', "belongs to a listener")
    refused(f"listen{{ {service}, [true] = 1 }}", "unknown field true")
    refused(f"listen{{ {service}, [7] = {{ proto = 'main' }} }}", "unknown field 7")


@test("each wrong field of a listener is an error that says in which")
def _():
    for listener, expected in (
        ("1", "listener 2: expected a table"),
        ("{}", 'listener 2: proto: expected "tcp", "local", "interval" or "main", got nil'),
        ('{ proto = "udp" }', 'proto: expected "tcp", "local", "interval" or "main", got "udp"'),
        ('{ proto = "tcp" }', "listener 2: port: expected an integer from 1 to 65535, got nil"),
        ('{ proto = "tcp", port = 0 }', "port: expected an integer from 1 to 65535, got 0"),
        ('{ proto = "tcp", port = 65536 }', "got 65536"),
        ('{ proto = "tcp", port = "0" }', 'got "0"'),
        ('{ proto = "tcp", port = "http" }', 'got "http"'),
        ('{ proto = "tcp", port = 80.5 }', "got 80.5"),
        ('{ proto = "tcp", port = 80, host = "" }', 'host: expected a string that is not empty, got ""'),
        ('{ proto = "tcp", port = 80, host = 1 }', "host: expected a string"),
        ('{ proto = "tcp", port = 80, host = "127.0.0.1%lo" }', 'host: expected a "%" behind a link-local IPv6 address'),
        ('{ proto = "tcp", port = 80, host = "::1%1" }', 'got "::1%1"'),
        ('{ proto = "tcp", port = 80, host = "fe80::1%" }', 'got "fe80::1%"'),
        ('{ proto = "tcp", port = 80, host = "www.example%lo" }', 'got "www.example%lo"'),
        ('{ proto = "tcp", port = 80, host = "fe80::1%0" }', "behind it an interface's name, or its number from 1"),
        ('{ proto = "tcp", port = 80, host = "fe80::1%2147483648" }', 'got "fe80::1%2147483648"'),
        ('{ proto = "tcp", port = 80, host = "ff02::1%lo" }', "host: expected an address for TCP, which has no multicast"),
        ('{ proto = "tcp", port = 80, host = "ff02::1%mb-none" }', "which has no multicast"),
        ('{ proto = "tcp", port = 80, host = "ff0e::1" }', "which has no multicast"),
        ('{ proto = "tcp", port = 80, host = "224.0.0.1" }', 'which has no multicast addresses, got "224.0.0.1"'),
        ('{ proto = "tcp", port = 80, host = "::ffff:239.1.2.3" }', "which has no multicast"),
        ('{ proto = "tcp", port = 80, path = "/x" }', 'unknown field "path"'),
        ('{ proto = "tcp4", port = 80, localhost = 1 }', "localhost: expected true or false, got 1"),
        ('{ proto = "tcp4", port = 80, host = "::" }', 'unknown field "host"'),
        ('{ proto = "local" }', "path: expected a path of at most 107 bytes, got nil"),
        ('{ proto = "local", path = "" }', "path: expected"),
        ('{ proto = "local", path = ("x"):rep(108) }', "path: expected"),
        ('{ proto = "local", path = "/" }', "path: expected the path of a socket, not of a directory"),
        ('{ proto = "local", path = "/run/mb/" }', "path: expected the path of a socket"),
        ('{ proto = "local", path = "@" }', "path: expected a name behind the @"),
        ('{ proto = "local", path = "/run/mb/.." }', "path: expected the path of a socket"),
        ('{ proto = "interval" }', "delay: expected a number of seconds"),
        ('{ proto = "interval", delay = -1 }', "delay: expected"),
        ('{ proto = "interval", delay = false }', "delay: expected a number of seconds, 0 or more, got false"),
        ('{ proto = "interval", delay = 1, handler = 1 }', "handler: expected a function"),
        ('{ proto = "interval", delay = 1, strict = 1 }', "strict: expected true or false"),
        ('{ proto = "interval", delay = 1, name = 5 }', "name: expected a string"),
        ('{ proto = "main", name = {} }', "name: expected a string"),
        ('{ proto = "main", 1 }', "unknown field 1"),
    ):
        refused(f'listen{{ connect = print, {{ proto = "tcp", port = 1 }}, {listener} }}', expected)


@test("an unknown field is passed over, as Moonbridge does, with a warning that names it and those that there are")
def _():
    call = "prepare, connect, finish, memory_limit, sandbox, pre_fork, min_fork, max_fork, fork_delay, fork_error_delay, exit_delay, "
    call += "idle_timeout, min_requests_per_fork, max_requests_per_fork, http_options"
    for fields, listener, where, want in (
        ("prepair = 1,", "", 'unknown field "prepair"', call),
        ("", "name = 'web'", 'listener 1: unknown field "name"', "proto, host, port, proxy_protocol, proxy_trust"),
        ("", "memory_limit = 5", 'listener 1: unknown field "memory_limit"', "proto, host, port"),
        ("own = setmetatable({}, {__tostring = error}),", "", 'unknown field "own"', call),
        ("['x\\n<0>y'] = '\\n',", "", 'unknown field "x\\x0a<0>y"', call),
    ):
        path = script(f"listen{{ {fields} {{ proto = 'tcp', port = 1, {listener} }},\n  connect = function(s) s:write('served') end }}")
        for options, stdout in (((), b"served"), (("--check",), b"1 tcp [::]:1\n")):
            done = mbtest.replay(*options, path)
            equal((done.returncode, mbtest.without_sandboxes(done.stdout)), (0, stdout), f"{fields} {listener} {options}")
            got = done.stderr.decode()
            want_line = f"mb-handle: {path}:1: listen: {where} is passed over: expected one of {want}"
            check(got.startswith(want_line) and got.count("\n") == 1, f"{got!r}, expected {want_line!r}")


@test("several unknown fields are one warning, in the order of the alphabet, with the fields that may be meant")
def _():
    for fields, want in (
        ("idle_time = 1,", 'field "idle_time" (idle_timeout?) is'),
        ("zeta = 1, idle_time = 2, con = 3, Beta = 4, alpha = 5,",
         'fields "Beta", "alpha", "con", "idle_time" (idle_timeout?), "zeta" are'),
    ):
        path = script(f"listen{{ {fields} {{ proto = 'tcp', port = 1 }}, connect = print }}")
        got = mbtest.replay("--check", path).stderr.decode()
        line = f"mb-handle: {path}:1: listen: unknown {want} passed over: expected one of prepare, "
        check(got.startswith(line) and got.count("\n") == 1, f"{got!r}, expected {line!r}")


# As WebMCP and LiquidFeedback call it: one connect for all kinds of work, and their own fields beside those of listen.
APPLICATION = """
assert(_MOONBRIDGE_VERSION)
local requests = 0
local function application_listen(args)
  for _, listener in ipairs(args) do
    if listener.proto == "interval" then listener.name = listener.name or "unnamed" end
  end
  local handler = require "moonbridge_http".generate_handler(function(request)
    requests = requests + 1
    if requests >= args.max_requests_per_fork then request:close_after_finish() end
    request:send_status("200 OK")
    request:send_data("request ", requests)
  end, args.http_options)
  args.prepare = function() end
  function args.connect(socket)
    if socket.interval or socket.main then
      for _, listener in ipairs(args) do
        if listener.name == (socket.interval or socket.main) then listener.handler() end
      end
      return true
    end
    return handler(socket) and requests < args.min_requests_per_fork
  end
  args.finish = function() end
  listen(args)
end
application_listen {
  pre_fork = 2, min_fork = 4, max_fork = 128, fork_delay = 0.125, fork_error_delay = 2, exit_delay = 2,
  idle_timeout = 900, min_requests_per_fork = 50, max_requests_per_fork = 2,
  http_options = {static_headers = "X-App: yes", request_body_size_limit = 1000},
  {proto = "tcp", host = "127.0.0.1", port = os.getenv "PORT"},
}
application_listen {
  {proto = "interval", name = "notify", delay = 5, handler = function() print("notified") end},
  {proto = "main", name = "events", handler = function() print("processed") end},
  min_fork = 1, max_fork = 1, max_requests_per_fork = 200, min_requests_per_fork = 50,
}
"""


@test("an application of Moonbridge's own: its connections, its interval and its main process, without a warning")
def _():
    path = script(APPLICATION)
    client, conn = tcp_pair()
    port = conn.getsockname()[1]
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    with conn, client.sock:
        serving = Serving(conn, path, env={"PORT": str(port)})
        got = client.end()[0]
        equal((serving.wait(), mbtest.without_ends(serving.log())), (0, ""), "exit status and log")
    equal([got.count(text) for text in (b"X-App: yes", b"request 1", b"request 2", b"request 3")], [2, 1, 1, 0], "responses")
    for option, name, want in (("--interval", "notify", b"notified\n"), ("--main", "events", b"processed\n")):
        done = subprocess.run([mbtest.HANDLE, option, name, path], env={**os.environ, "PORT": "8080"}, capture_output=True,
                              check=False, stdin=subprocess.DEVNULL)  # fmt: skip
        equal((done.returncode, done.stdout, done.stderr), (0, b"", want), name)


@test("a script without a handler, or that fails to load, says so")
def _():
    check("no handler" in refused("", "no handler"), "")
    refused("return 1", "returned a number", "expected a connect handler")
    refused("return {}", "returned a table")
    refused("x x", "syntax error")
    refused("\nerror('at load')", ":2: at load")
    refused("require 'no.such.module'", "no.such.module")
    check("traceback" in refused("local x = nil + 1", "arithmetic"), "an error at load has a traceback")
    check("traceback" not in refused("x x", "syntax error"), "a syntax error needs none")


@test("listen cannot be called from a handler")
def _():
    again = 'listen{ connect = print, { proto = "tcp", port = 1 } }'
    for name in ("prepare", "connect", "finish"):
        text = f"listen{{ connect = print, {{ proto = 'tcp', port = 1 }}, {name} = function() {again} end }}"
        status, _, log = run(script(text))
        equal(status, 70, f"status of {name}; log: {log!r}")
        check("cannot be called from a prepare, connect or finish handler" in log, log)


@test("a handler that takes any connection: a function returned, or listen without listeners")
def _():
    for text in (
        "return function(socket) socket:write(...) end",
        "listen{ connect = function(socket) socket:write('any') end }",
    ):
        client, conn = tcp_pair()
        with client, conn:
            text = text.replace("...", "'any'")
            equal(served(conn, script(text)), (0, ""), "status and log")
            equal(client.end(), (b"any", "eof"), "answer")
        equal(run(script(text))[:2], (0, "any"), "replay")


@test("the listener is found by protocol, address and port")
def _():
    client, conn = tcp_pair()
    client.sock.close()
    conn.close()
    port = conn_port = None
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = conn_port = listener.getsockname()[1]
        listener.listen(20)
        other = port % 60000 + 1
        for rows, want in (
            ([("tcp", port)], "1"),
            ([("tcp", other), ("tcp", port)], "2"),
            ([("tcp", port, "::1"), ("tcp", port, "127.0.0.1")], "2"),
            ([("tcp", port, "127.0.0.2"), ("tcp", port, "0.0.0.0")], "2"),
            ([("tcp", port, "192.0.2.1"), ("tcp", port, "localhost")], "2"),
            ([("tcp", port, "::ffff:127.0.0.1")], "1"),
            ([("tcp6", port), ("tcp4", port)], "2"),
            ([("tcp", port), ("tcp", port)], "1"),
            ([("local", "/run/x.sock"), ("any",), ("tcp", port)], "3"),
            ([("tcp", other), ("any",)], "2"),
        ):
            text = SAYS
            for number, row in enumerate(rows, 1):
                entry = ""
                if row[0] == "local":
                    entry = f'{{ proto = "local", path = "{row[1]}" }}, '
                elif row[0] != "any":
                    host = f', host = "{row[2]}"' if len(row) > 2 else ""
                    entry = f'{{ proto = "{row[0]}", port = {row[1]}{host} }}, '
                text += f'listen{{ {entry}connect = says "{number}" }}\n'
            with mbtest.Client(("127.0.0.1", port)) as client, listener.accept()[0] as conn:
                equal(served(conn, script(text)), (0, ""), f"status and log of {rows}")
                equal(client.end(), (want.encode(), "eof"), f"listener of {rows}")
    equal(port, conn_port, "port")


def matches(at, cases):
    """Connections to a listener at this address; cases: the client's host, the fields of listen{}, whether they match."""
    with socket.socket(socket.AF_INET6 if ":" in at else socket.AF_INET) as listener:
        if at == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((at, 0))
        port = listener.getsockname()[1]
        listener.listen(20)
        for host, entry, takes in cases:
            text = SAYS + f'listen{{ {{ {entry}, port = {port} }}, connect = says "yes" }}'
            with mbtest.Client((host, port)) as client, listener.accept()[0] as conn:
                equal(served(conn, script(text))[0], 0 if takes else 78, f"status of {entry} for {host}")
                equal(client.end()[0], b"yes" if takes else b"", f"answer of {entry} for {host}")


@test("tcp6 and ::1 take IPv6 connections, 0.0.0.0 and tcp4 do not")
def _():
    cases = (
        ("::1", 'proto = "tcp6"', True),
        ("::1", 'proto = "tcp6", localhost = true', True),
        ("::1", 'proto = "tcp", host = "::1"', True),
        ("::1", 'proto = "tcp", host = "0.0.0.0"', False),
        ("::1", 'proto = "tcp4"', False),
    )
    matches("::1", cases)


@test("localhost = true is the loopback address alone; an address that is another one does not match")
def _():
    text = """listen{ { proto = "tcp6", port = 80, localhost = true }, { proto = "tcp6", port = 80, localhost = false },
      { proto = "tcp4", port = 80, localhost = true }, { proto = "tcp4", port = 80 }, connect = print }"""
    want = "1 tcp6 [::1]:80\n2 tcp6 [::]:80\n3 tcp4 127.0.0.1:80\n4 tcp4 0.0.0.0:80\n"
    equal(run("--check", script(text)), (0, want, ""), "--check")
    cases = (
        ("::1", 'proto = "tcp", host = "::2"', False),
        ("127.0.0.1", 'proto = "tcp6", localhost = true', False),
        ("127.0.0.1", 'proto = "tcp", host = "::1"', False),
        ("127.0.0.1", 'proto = "tcp4", localhost = true', True),
        ("127.0.0.2", 'proto = "tcp4", localhost = true', False),
        ("127.0.0.2", 'proto = "tcp4"', True),
    )
    matches("::", cases)


@test("a host name matches the addresses that it has, and no other; one that cannot be looked up matches none")
def _():
    named = (("127.0.0.1", "localhost", True), ("127.0.0.2", "localhost", False), ("127.0.0.1", "no-such-name.invalid", False))
    matches("0.0.0.0", [(host, f'proto = "tcp", host = "{name}"', takes) for host, name, takes in named])


@test("a local listener is found by its path, an abstract one too")
def _():
    path = mbtest.tmp("found.sock")
    for name, lua in ((path, path), (path + "2", os.path.dirname(path) + "/./found.sock2"), ("\0mb-found", "@mb-found")):
        text = SAYS + f'listen{{ {{ proto = "local", path = "/x" }}, {{ proto = "local", path = "{lua}" }}, connect = says "yes" }}'
        client, conn = unix_pair(name)
        with client, conn:
            equal(served(conn, script(text)), (0, ""), f"status and log for {name!r}")
            equal(client.end(), (b"yes", "eof"), "answer")


@test("no match: exit 78, and a line that says what was offered and what came; the client sees a reset")
def _():
    text = 'listen{ { proto = "tcp", port = 1 }, { proto = "local", path = "/run/x.sock" }, connect = print }'
    client, conn = tcp_pair()
    with client, conn:
        name = "%s:%d" % conn.getsockname()
        status, log = served(conn, script(text))
        equal(status, 78, "status")
        equal(client.end(), (b"", "reset"), "what the client sees")
        equal(len(log.splitlines()), 1, f"lines of {log!r}")
        for part in (name, "tcp [::]:1", "local /run/x.sock"):
            check(part in log, f"{part!r} in {log!r}")
    status, out, log = run(script('listen{ { proto = "main", name = "m" }, connect = print }'))
    equal((status, out), (78, ""), "status and output of a replay")
    check("no listener to replay" in log and "main m" in log, log)


@test("--listener takes the Nth, --check numbers them")
def _():
    text = SAYS
    text += 'listen{ { proto = "tcp", port = 80 }, { proto = "interval", name = "i", delay = 0.5, strict = true }, connect = says "a" }\n'
    text += 'listen{ { proto = "local", path = "/x" }, { proto = "main" }, { proto = "tcp4", port = 81, localhost = true }, connect = says "b" }\n'
    text += 'listen{ connect = says "c" }'
    path = script(text)
    want = "1 tcp [::]:80\n2 interval i every 0.5 s, strict\n3 local /x\n4 main (no name)\n5 tcp4 127.0.0.1:81\n6 any connection\n"
    equal(run("--check", path), (0, want, ""), "--check")
    for number, answer in ((1, "a"), (3, "b"), (5, "b"), (6, "c")):
        equal(run("--listener", str(number), path), (0, answer, ""), f"--listener {number}")
    for number in (2, 4, 7):
        status, out, log = run("--listener", str(number), path)
        equal((status, out), (78, ""), f"--listener {number}")
        check(f"listener {number}" in log, log)
    equal(run("--check", script("x x"))[0], 78, "--check of a script that does not load")
    equal(run("--check", "/no/such/script")[0], 66, "--check of no script")
    for nothing in ("", "print('loaded')", "return nil"):
        status, out, log = run("--check", script(nothing))
        equal((status, out), (78, ""), f"--check of a script without a handler; log: {log!r}")
        check("no handler" in log, log)
    equal(run("--check", script("print('hi') return print"))[1], "1 any connection\n", "what --check prints is its own")


@test("prepare, connect, finish in that order; finish also after connect threw, not after prepare did")
def _():
    steps = """
local function step(name) return function() print(name) if os.getenv("THROW") == name then error("in " .. name) end end end
listen{ { proto = "tcp", port = 1 }, prepare = step "prepare", connect = step "connect", finish = step "finish" }
"""
    path = script(steps)
    for throws, status, want in (
        ("", 0, ["prepare", "connect", "finish"]),
        ("prepare", 70, ["prepare"]),
        ("connect", 70, ["prepare", "connect", "finish"]),
        ("finish", 70, ["prepare", "connect", "finish"]),
    ):
        got, out, log = run(path, env={"THROW": throws})
        equal((got, out), (status, ""), f"status and output when {throws!r} throws")
        equal([x for x in log.splitlines() if x in want], want, f"order when {throws!r} throws")
        if throws:
            check(f"in {throws}" in log and "traceback" in log, log)


@test("an error in prepare resets the client at once")
def _():
    path = script('listen{ prepare = function() error("early") end, connect = print, finish = print }')
    client, conn = tcp_pair()
    with client, conn:
        status, log = served(conn, path)
        equal(status, 70, "status")
        equal(client.end(), (b"", "reset"), "what the client sees")
        check("early" in log and "traceback" in log, log)


@test("prepare and finish get no argument, connect the socket and nothing else")
def _():
    path = script(
        """listen{
  prepare = function(...) print("prepare", select("#", ...)) end,
  connect = function(...) print("connect", select("#", ...), type((...).read)) end,
  finish = function(...) print("finish", select("#", ...)) end,
}"""
    )
    equal(run(path), (0, "", "prepare\t0\nconnect\t1\tfunction\nfinish\t0\n"), "status, output and log")


@test("of memory_limit and --memory-limit the lower one holds")
def _():
    needs = """listen{ LIMIT connect = function(socket)
  local all = {}
  for i = 1, 4000 do all[i] = ("x"):rep(1000) .. i end
  socket:write("done\\n")
end }"""
    for limit, args, status in (
        ("memory_limit = 1 << 20,", ("--memory-limit", "16M"), 70),
        ("memory_limit = 16 << 20,", ("--memory-limit", "1M"), 70),
        ("memory_limit = 16 << 20,", ("--memory-limit", "16M"), 0),
        ("memory_limit = 16 << 20,", (), 0),
        ("", ("--memory-limit", "16M"), 0),
    ):
        got, out, log = run(*args, script(needs.replace("LIMIT", limit)))
        equal((got, out), (status, "" if status else "done\n"), f"{limit!r} and {args}; log: {log!r}")


@test("--log-level: a client that has gone is told at info, warnings are hidden at error")
def _():
    gone = "the client has gone"
    handler = script('return function(socket) socket:flush("ready") socket:read() socket:flush("x") socket:write("y") end')
    for level, shown in ((None, False), ("notice", False), ("info", True), ("debug", True)):
        client, conn = tcp_pair()
        with conn:
            client.reset()
            status, log = served(conn, handler, *(("--log-level", level) if level else ()))
            equal((status, gone in log), (0, shown), f"status, and whether it is told at {level}; log: {log!r}")
            # And the line for the connection's end.
            equal(log.count("\n"), 2 * int(shown), f"lines in the log at {level}")
    # The same in the middle of the connection.
    for level, shown in (("notice", False), ("info", True)):
        client, conn = tcp_pair()
        with conn:
            child = Serving(conn, "--log-level", level, handler)
            equal(client.sock.recv(5, socket.MSG_WAITALL), b"ready", "what the client got")
            client.reset()
            equal(child.wait(), 0, "status")
        log = child.log()
        equal((gone in log, log.count("\n")), (shown, 2 * int(shown)), f"whether it is told at {level}: {log!r}")
    answers = script('return function(socket) socket:write("answer") end')
    for level, shown in ((None, True), ("warning", True), ("error", False)):
        options = ("--log-level", level) if level else ()
        status, out, log = run("--record", "/no/such/directory/x", *options, answers)
        equal((status, out), (0, "answer"), f"status and output at {level}")
        equal("--record" in log, shown, f"whether the warning is told at {level}: {log!r}")
    check("wrong" in run("--log-level", "error", script('return function() error("wrong") end'))[2], "errors are told")


@test("memory_limit and --memory-limit: not enough memory, exit 70, an orderly end")
def _():
    hungry = """listen{ { proto = "tcp", port = 1 }, LIMIT connect = function(socket)
  socket:flush("started\\n")
  local all = {}
  for i = 1, 1e6 do all[i] = ("x"):rep(1000) .. i end
end, finish = function() print("finished") end }"""
    for limit, args in (("memory_limit = 2^20 // 1 | 0,", ()), ("", ("--memory-limit", "1M"))):
        status, out, log = run(*args, script(hungry.replace("LIMIT", limit)))
        equal((status, out), (70, "started\n"), f"status and output; log: {log!r}")
        check("not enough memory" in log and "finished" in log, log)
    queue = """return function(socket)
  socket:flush("started\\n")
  while true do socket:write_nb(("x"):rep(100000)) end
end"""
    client, conn = tcp_pair()
    with client, conn:
        status, log = served(conn, script(queue), "--memory-limit", "2M")
        equal(status, 70, "status of a queue that grows past the limit")
        check("not enough memory" in log, log)
        equal(client.end()[1], "reset", "what the client sees")
    # Garbage is no reason: what was dropped is collected first.
    path = script('return function(socket) for i = 1, 2000 do socket:write("") local s = ("x"):rep(10000 + i) end socket:write("done") end')
    equal(run("--memory-limit", "1M", path)[:2], (0, "done"), "a handler that leaves garbage")
    equal(run("--memory-limit", "1K", path)[0], 70, "a limit below what Lua itself needs")


@test("arguments of the script are its ..., and $MB_SCRIPT names a script")
def _():
    path = script("local a, b = ... return function(socket) socket:write(a or '-', b or '-') end")
    equal(run(path, "one", "--two"), (0, "one--two", ""), "arguments")
    equal(run(env={"MB_SCRIPT": path}), (0, "--", ""), "$MB_SCRIPT")


mbtest.main()
