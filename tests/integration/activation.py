#!/usr/bin/python3
"""What mb-handle is started with: LISTEN_FDS or fd 0, each family of address, closed or wrong descriptors, a client
that has gone. The program is started directly, on sockets made here."""

import itertools
import os
import pty
import socket
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import HANDLE, Child, Client, about, check, equal, script, tcp_pair, test, unix_pair

MODES = ("LISTEN_FDS", "fd 0")
STANDARD = {"LISTEN_FDS": (0, 1, 2), "fd 0": (1, 2)}  # what may be anything or nothing
HELLO = script('return function(socket) socket:write("hello ", (socket:read(nil, "\\n"))) end\n')
# The same with everything a script may print, which must harm nobody, wherever 0, 1 and 2 are.
NOISY = script(
    """return function(socket)
  print("noise-print")
  io.write("noise-io.write\\n")
  io.stderr:write("noise-io.stderr\\n")
  os.execute("echo noise-child; echo noise-child-stderr >&2; read line")
  socket:write("hello ", (socket:read(nil, "\\n")))
end
"""
)


def subsets(numbers):
    return itertools.chain.from_iterable(itertools.combinations(numbers, n) for n in range(len(numbers) + 1))


_logs = itertools.count()


class Run:
    """mb-handle on the connection conn, handed over in one of MODES. fds: what stands on the others (default: fd 2 is a
    log file, and 0 and 1 are /dev/null)."""

    def __init__(self, conn, mode, *args, fds=None, env=None, **listen):
        self.log_path = mbtest.tmp(f"stderr{next(_logs)}")
        with open(self.log_path, "wb") as log, open("/dev/null", "r+b") as null:
            if fds is None:
                fds = {0: null, 1: null, 2: log}
            if mode == "fd 0":
                fds = {**fds, 0: conn}
            else:
                fds = {**fds, 3: conn}
                listen = {"listen_fds": 1, **listen}
            self.child = Child([HANDLE, *args], fds, env, **listen)

    def wait(self):
        return self.child.wait()

    def log(self):
        return mbtest.read_file(self.log_path)


def answers(pair, mode, *args, want, said="", status=0, **options):
    """The client of the pair says this, and gets what is wanted until EOF (None: whatever). Returns the run."""
    client, conn = pair
    with client, conn:
        run = Run(conn, mode, *args, **options)
        conn.close()
        if said:
            client.send(said)
        got = client.end()
        equal(run.wait(), status, f"exit status ({mode}); log: {run.log()!r}")
        if want is not None:
            equal(got, (want, "eof"), f"answer ({mode})")
    return run


def serve(pair, mode, handler=HELLO, log="", **options):
    """One line is answered over the pair, the exit status is 0, and the log is this."""
    run = answers(pair, mode, handler, said="world\n", want=b"hello world\n", **options)
    if log is not None:
        equal(run.log(), log, f"log ({mode})")


def refused(run, status, *words):
    """It ends with this status and one line that holds the words."""
    equal(run.wait(), status, "exit status")
    log = run.log()
    equal(log.count("\n"), 1, f"lines in the log {log!r}")
    for word in ("mb-handle: ", *words):
        check(word in log, f"{word!r} in the log {log!r}")


def addresses(pair, mode):
    """What the handler sees of the addresses, as a dictionary."""
    client, conn = pair
    with client, conn:
        run = Run(conn, mode, mbtest.COMMANDS)
        client.send("addresses\n")
        client.finish()
        got = client.end()[0].decode()
        equal(run.wait(), 0, f"exit status ({mode}): {run.log()}")
        return dict(row.split(" ", 1) for row in got.splitlines())


def expect(got, **want):
    for name, value in want.items():
        equal(got.get(name), value, name)


def port_of(sock):
    return str(sock.getsockname()[1])


for mode in MODES:

    @test(f"{mode}: connections of each family, and their addresses; IPv4 on a dual-stack listener fills both kinds")
    def _(mode=mode):
        one, mapped = "0" * 31 + "1", "0" * 20 + "ffff7f000001"
        for make, ip4, ip6, addr in (
            (lambda: tcp_pair(host="127.0.0.2", client_host="127.0.0.2"), "127.0.0.2", "-", "127.0.0.2"),
            (lambda: tcp_pair(socket.AF_INET6, "::1"), "-", one, "::1"),
            (lambda: tcp_pair(socket.AF_INET6, "::", "127.0.0.1", dual_stack=True), "127.0.0.1", mapped, "127.0.0.1"),
        ):
            serve(make(), mode)
            client, conn = make()
            # The client may come from another address of this machine.
            ends = {"local": (addr, port_of(conn)), "remote": (client.sock.getsockname()[0], port_of(client.sock))}
            got = addresses((client, conn), mode)
            for end, (text, port) in ends.items():
                want = {"ip4": text if ip4 != "-" else "-", "ip6": ip6, "addr": text, "tcpport": port}
                expect(got, **{f"{end}_{name}": value for name, value in want.items()})

    @test(f"{mode}: a Unix socket, its own end named and the peer's not")
    def _(mode=mode):
        path = mbtest.tmp(f"named-{MODES.index(mode)}.sock")
        serve(unix_pair(path), mode)
        os.unlink(path)
        got = addresses(unix_pair(path), mode)
        expect(got, local_ip4="-", remote_ip4="-", local_tcpport="nil", remote_tcpport="nil", local_addr=path)

    @test(f"{mode}: a Unix socket with both ends named")
    def _(mode=mode):
        path, own = (mbtest.tmp(f"{name}-{MODES.index(mode)}.sock") for name in ("both", "client"))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1)
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(own)
            sock.connect(path)
            pair = Client(sock), listener.accept()[0]
        expect(addresses(pair, mode), local_addr=path, remote_addr=own)

    @test(f"{mode}: a socketpair, both ends unnamed")
    def _(mode=mode):
        ours, theirs = socket.socketpair()
        serve((Client(ours), theirs), mode)
        ours, theirs = socket.socketpair()
        expect(addresses((Client(ours), theirs), mode), local_ip4="-", local_ip6="-", local_tcpport="nil")

    @test(f"{mode}: 0, 1 and 2 closed, in each combination")
    def _(mode=mode):
        for closed in subsets(STANDARD[mode]):
            with open(mbtest.tmp("out"), "w+b") as out:
                fds = {n: out for n in STANDARD[mode] if n not in closed}
                with about(f"closed {closed}"):
                    serve(tcp_pair(), mode, NOISY, log=None, fds=fds)

    @test(f"{mode}: 0, 1 and 2 the connection itself, in each combination: nothing printed reaches the client")
    def _(mode=mode):
        for same in subsets(STANDARD[mode]):
            with open("/dev/null", "r+b") as null:
                client, conn = tcp_pair()
                fds = {n: conn if n in same else null for n in STANDARD[mode]}
                with about(f"the connection on {same}"):
                    serve((client, conn), mode, NOISY, log=None, fds=fds)

    @test(f"{mode}: what a script prints goes to stderr")
    def _(mode=mode):
        noise = "noise-print\nnoise-io.write\nnoise-io.stderr\nnoise-child\nnoise-child-stderr\n"
        run = answers(tcp_pair(), mode, NOISY, said="world\n", want=None)
        equal(sorted(run.log().splitlines()), sorted(noise.splitlines()), "log")

    @test(f"{mode}: a client that reset the connection before the start is no failure and no news")
    def _(mode=mode):
        for handler in (HELLO, mbtest.COMMANDS):
            client, conn = tcp_pair()
            with conn:
                client.reset()
                run = Run(conn, mode, "--log-level", "notice", handler)
                equal(run.wait(), 0, f"exit status; log: {run.log()!r}")
                equal(run.log(), "", "log")

    @test(f"{mode}: a client that closed the connection before the start gets its answer")
    def _(mode=mode):
        client, conn = tcp_pair()
        with client:
            client.send("world\n")
            client.finish()
            run = Run(conn, mode, HELLO)
            conn.close()
            equal(client.end(), (b"hello world\n", "eof"), "answer")
            equal(run.wait(), 0, "exit status")

    @test(f"{mode}: a datagram socket is refused with a line that says so")
    def _(mode=mode):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
            datagram.bind(("127.0.0.1", 0))
            refused(Run(datagram, mode, HELLO), 78, "stream")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ours, theirs:
            refused(Run(theirs, mode, HELLO), 78, "stream")


@test("LISTEN_FDS: a wrong LISTEN_PID is for somebody else; fd 0 is the connection then")
def _():
    with open("/dev/null", "r+b") as null:
        serve(tcp_pair(), "fd 0", listen_fds=1, listen_pid=1, fds={1: null, 2: null, 3: null})


@test("LISTEN_FDS wins over a connection on fd 0")
def _():
    client, conn = tcp_pair()
    other_client, other = tcp_pair()
    with client, other_client, open("/dev/null", "r+b") as null:
        run = Run(conn, "LISTEN_FDS", HELLO, fds={0: other, 1: null, 2: null})
        conn.close()
        other.close()
        client.send("world\n")
        equal(client.end(), (b"hello world\n", "eof"), "answer")
        equal(run.wait(), 0, "exit status")
        equal(other_client.end()[0], b"", "what the other client got")


@test("several descriptors: the first is served, and a warning says that the others are not")
def _():
    client, conn = tcp_pair()
    other_client, other = tcp_pair()
    with client, other_client, open(mbtest.tmp("several"), "wb") as log, open("/dev/null", "r+b") as null:
        run = Run(conn, "LISTEN_FDS", HELLO, fds={0: null, 1: null, 2: log, 4: other}, listen_fds=2)
        conn.close()
        other.close()
        client.send("world\n")
        equal(client.end(), (b"hello world\n", "eof"), "answer")
        equal(run.wait(), 0, "exit status")
        equal(other_client.end()[0], b"", "what the other client got")
    text = mbtest.read_file(mbtest.tmp("several"))
    check(text.count("\n") == 1 and "2 descriptors" in text, f"one warning in {text!r}")


@test("neither the script nor its children see LISTEN_*")
def _():
    names = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    for mode, listen in (("LISTEN_FDS", {}), ("fd 0", {"listen_fds": 1, "listen_pid": 1})):
        client, conn = tcp_pair()
        with client:
            run = Run(conn, mode, mbtest.COMMANDS, env={"LISTEN_FDNAMES": "connection"}, **listen)
            conn.close()
            client.send("environment\n")
            got = client.end()[0].decode().splitlines()
            equal(run.wait(), 0, "exit status")
        equal(got, [f"script {name} nil" for name in names] + ["child none"], f"environment ({mode})")


@test("children of the script hold no copy of the connection")
def _():
    listing = script(
        """return function(socket)
  local child = io.popen("exec ls -l /proc/self/fd")
  local text = child:read("a")
  child:close()
  socket:write(text)
end
"""
    )
    for mode in MODES:
        client, conn = tcp_pair()
        with client:
            run = Run(conn, mode, listing)
            conn.close()
            got = client.end()[0].decode()
            equal(run.wait(), 0, "exit status")
        check("/fd" in got or "->" in got, f"a listing: {got!r}")
        check("socket:" not in got, f"no socket in a child ({mode}): {got}")


@test("messages carry <N> where $JOURNAL_STREAM names stderr, and only there")
def _():
    failing = script('return function(socket) error("deliberate") end\n')
    for other_device, other_inode in itertools.product((0, 1), (0, 1)):
        named = not other_device and not other_inode
        client, conn = tcp_pair()
        path = mbtest.tmp(f"journal-{other_device}-{other_inode}")
        with client, open(path, "wb") as log, open("/dev/null", "r+b") as null:
            status = os.fstat(log.fileno())
            stream = f"{status.st_dev + other_device}:{status.st_ino + other_inode}"
            run = Run(conn, "LISTEN_FDS", failing, fds={0: null, 1: null, 2: log}, env={"JOURNAL_STREAM": stream})
            equal(run.wait(), 70, "exit status")
        lines = mbtest.read_file(path).splitlines()
        check(lines and "deliberate" in lines[0], f"the error in {lines}")
        prefix = "<3>" if named else "mb-handle: "
        equal([text for text in lines if not text.startswith(prefix)], [], f"lines without {prefix}")


@test("the script is found by port, by the Unix socket's name, or is the default; a missing one is told with its paths")
def _():
    handlers = os.path.dirname(mbtest.tmp("handlers", "x"))

    def writes(text, path):
        mbtest.write_file(path, f'return function(socket) socket:write("{text}\\n") end\n')

    for number, mode in enumerate(MODES):
        client, conn = tcp_pair()
        writes("by port", f"{handlers}/{port_of(conn)}.lua")
        answers((client, conn), mode, "--handlers", handlers, want=b"by port\n")
        writes("by name", f"{handlers}/name{number}.lua")
        answers(unix_pair(mbtest.tmp(f"name{number}.sock")), mode, "--handlers", handlers, want=b"by name\n")
        client, conn = tcp_pair()
        with client, conn:
            refused(Run(conn, mode, "--handlers", handlers), 66, f"{port_of(conn)}.lua", "default.lua")
    writes("by default", f"{handlers}/default.lua")
    answers(tcp_pair(), "fd 0", "--handlers", handlers, want=b"by default\n")


@test("$MB_SCRIPT names the script; one on the command line goes before it; arguments reach it")
def _():
    args = script('local args = {...}\nreturn function(socket) socket:write("args ", table.concat(args, ","), "\\n") end\n')
    for arguments, env, want in (
        ([], {"MB_SCRIPT": args}, b"args \n"),
        ([args, "one", "--two"], {"MB_SCRIPT": "/nowhere.lua"}, b"args one,--two\n"),
    ):
        answers(tcp_pair(), "LISTEN_FDS", *arguments, env=env, want=want)


@test("a terminal in the place of a connection: a line says that what is typed is what the client sends, and how to listen")
def _():
    for args, told in (((HELLO,), True), (("--log-level=warning", HELLO), False)):
        master, terminal = pty.openpty()
        output = mbtest.tmp("typed")
        with open(output, "wb") as out, open(mbtest.tmp("said"), "wb") as said:
            run = Run(terminal, "fd 0", *args, fds={1: out, 2: said})
        os.close(terminal)
        if told:
            mbtest.until(lambda: "Ctrl-D" in mbtest.read_file(mbtest.tmp("said")), "the line")
        os.write(master, b"Ann\n\4")
        equal(run.wait(), 0, "exit status")
        os.close(master)
        equal(mbtest.read_file(output), "hello Ann\n", "the answer")
        log = mbtest.read_file(mbtest.tmp("said"))
        equal(log.count("\n"), told, f"lines in {log!r}")
        check(not told or "to serve clients: mb-handle --serve" in log, log)


@test("a script that is missing, does not load, or does not listen here: exit 66, 78, 78, and a reset")
def _():
    elsewhere = script('listen{{proto="tcp", host="192.0.2.1", port=1}, connect=function() end}\n')
    for path, status, word in (
        ("/nowhere/at-all.lua", 66, "/nowhere/at-all.lua"),
        (script("this is no Lua\n"), 78, "script"),
        (elsewhere, 78, "192.0.2.1"),
    ):
        client, conn = tcp_pair()
        with client:
            run = Run(conn, "LISTEN_FDS", path)
            conn.close()
            equal(client.end()[0], b"", "what the client got")
            equal(run.wait(), status, f"exit status for {path}; log: {run.log()}")
            check(word in run.log(), f"{word!r} in the log {run.log()!r}")


@test("a script that does not load: one line at level error with the script, the line and the address; a reset, exit 78")
def _():
    unix = itertools.count()
    for text, begins in (
        ("return function(socket)\n  socket:write('x'\nend\n", ":3: ')' expected (to close '(' at line 2) near 'end'"),
        ("local x\nx.y = 1\n", ":2: attempt to index a nil value (local 'x')"),
        ("local m = require 'mb-no-such-module'\n", ":1: module 'mb-no-such-module' not found:"),
        ("return require('moonbridge_http').generate_handler()\n", ": "),
        ("listen{ {proto='tcp', port=0}, connect=print }\n", ":1: listen: listener 1: port: "),
        ("local x = 1\n", ": no handler: "),
        ("return 5\n", ": the script returned a number"),
        ("error({})\n", ":1: error object: {}"),
    ):
        path = script(text)
        for client, conn in (tcp_pair(), tcp_pair(socket.AF_INET6, "::1"), unix_pair(mbtest.tmp(f"load{next(unix)}.sock"))):
            address = conn.getsockname()
            label = address if isinstance(address, str) else f"[{address[0]}]:{address[1]}" if len(address) == 4 else "%s:%d" % address
            with client:
                run = Run(conn, "LISTEN_FDS", path, "--log-level=error")
                conn.close()
                equal(client.end()[0], b"", "what the client got")
                equal(run.wait(), 78, f"exit status; log: {run.log()}")
            line = run.log().splitlines()[0]
            check(line.startswith(f"mb-handle: {path}{begins}"), f"{begins!r} in {line!r}")
            check(line.endswith(f" (the script does not load: no answer for the connection to {label})"), line)
            equal(run.log().count(label), 1, f"lines with the address in {run.log()!r}")
    equal(mbtest.replay(script("x x")).stderr.count(b"connection"), 0, "a replay has no address")


@test("a wrong command line: exit 64, one line, and nothing for the client")
def _():
    for arguments in (["--no-such-option"], ["--timeout", "soon"], ["--check", "--record", "x", HELLO]):
        client, conn = tcp_pair()
        with client:
            run = Run(conn, "fd 0", *arguments)
            conn.close()
            equal(client.end()[0], b"", "what the client got")
            refused(run, 64)


mbtest.main()
