#!/usr/bin/python3
"""moonbridge_http: request:send_file(path_or_file[, first[, last]]), a file or a part of it as response body."""

import os
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbhandler import lua
from mbhttp import PAIRS, Captured, Malformed, answers, request, served, source
from mbtest import HANDLE, check, equal, test

GET, HEAD = request(), request(method="HEAD")
STATUS = 'request:send_status("200 OK") '
DATA = bytes(range(256)) * 1000


def file_of(name, data):
    path = mbtest.tmp("files", name)
    with open(path, "wb") as f:
        f.write(data)
    return path


SMALL, EMPTY = file_of("small", b"0123456789"), file_of("empty", b"")
MEDIUM, LARGE = file_of("medium", DATA), file_of("large", DATA * 128)
FIFO = mbtest.tmp("files", "fifo")
os.mkfifo(FIFO)
MISSING = mbtest.tmp("files", "missing")
DIRECTORY = os.path.dirname(SMALL)
OPEN = f"local small, medium, empty = {lua(SMALL)}, {lua(MEDIUM)}, {lua(EMPTY)} local file = io.open(small) "


def sends(body, want, framing="length", data=GET, log=""):
    """The response to this has this body; the same from TCP, a Unix socket and a replay."""
    for pair in PAIRS.values():
        response = answers(data, OPEN + STATUS + body, pair=pair, log=log)
        equal((response.framing, response.body), (framing, want), body)
        if framing == "length":
            equal(response.length(), len(want), f"Content-Length for {body}")


@test("a whole file by its path, or open as a Lua file: its size is the Content-Length; it returns true")
def _():
    sends("eq(true, request:send_file(small))", b"0123456789")
    sends("eq(true, request:send_file(file))", b"0123456789")
    sends("eq(true, request:send_file(medium))", DATA)
    sends("eq(true, request:send_file(empty))", b"")
    sends("eq(true, request:send_file(io.open(empty)))", b"")
    sends("eq(true, request:send_file(small)) request:finish() request:finish()", b"0123456789")


@test("a part of a file: positions of the first and the last byte, from zero")
def _():
    for arguments, want in (
        ("0", b"0123456789"),
        ("5", b"56789"),
        ("9", b"9"),
        ("0, 9", b"0123456789"),
        ("0, 0", b"0"),
        ("3, 6", b"3456"),
        ("nil, 4", b"01234"),
        ("9, 9", b"9"),
        ("nil, nil", b"0123456789"),
    ):
        for what in ("small", "file"):
            sends(f"eq(true, request:send_file({what}, {arguments}))", want)
    sends("eq(true, request:send_file(medium, 70000, 200000))", DATA[70000:200001])


@test("a range that is not within the file: nil, message, EINVAL; the state is as before")
def _():
    for arguments in ("-1", "10", "0, 10", "5, 4", "11, 12", "-2, 3", "0, -1", "1 << 62", "0, math.maxinteger", "math.mininteger"):
        for what in ("small", "file"):
            body = f"""
  local done, message, errno = request:send_file({what}, {arguments})
  eq(nil, done) eq("string", type(message)) eq(22, errno)
  request:send_header("A", "b") request:send_file(small)"""
            sends(body, b"0123456789")
    for arguments in ("0, 0", "1", "1, 0"):
        failed = "the response has no body, as send_file has failed"
        sends(f"eq(22, select(3, request:send_file(empty, {arguments})))", b"", log=failed)


@test("a failure that leaves the response without a body is logged, for scripts that do not look; no other is")
def _():
    missing = f"request:send_file({lua(MISSING)}) "
    log = f"no body, as send_file has failed ({MISSING}: No such file or directory) in GET /"
    sends(missing, b"", log=log)
    sends(missing + "request:finish()", b"", log=log)
    sends(missing + 'request:send_data("not found")', b"not found")
    sends(missing + "request:send_file(small)", b"0123456789")
    sends(missing + "request:send_file(empty)", b"")


@test("data behind a file that has set the Content-Length: an error that says what to do; and doing that helps")
def _():
    body = 'request:send_file(small) local _, message = pcall(request.send_data, request, "x") '
    sends(body + 'eq(true, message:find("11 bytes of body, but Content-Length is 10, as send_file", 1, true) ~= nil)', b"0123456789")
    sends('request:finish_headers() request:send_file(small) request:send_data("x")', b"0123456789x", "chunked")


@test("a missing file, a directory, what is no regular file: nil, message, errno; nothing was sent, the state is as before")
def _():
    for what, errno in (
        (lua(MISSING), 2),
        (lua(DIRECTORY), 21),
        (f"io.open({lua(DIRECTORY)})", 21),
        (lua(SMALL + "/x"), 20),
        ('"/dev/null"', None),
        ('io.open("/dev/null")', None),
        ('io.popen("true")', None),
        (lua(FIFO), None),
        ('""', 2),
    ):
        body = f"""
  local done, message, errno = request:send_file({what})
  eq(nil, done) eq("string", type(message)) eq("integer", math.type(errno))
  {f"eq({errno}, errno)" if errno else ""}
  request:send_header("A", "b") request:send_data("instead")"""
        for data in (GET, HEAD):
            response = answers(data, STATUS + body)
            equal((response.value("A"), response.length()), ("b", 7), what)


@test("a file that was opened for writing only cannot be read: nil, message, errno")
def _():
    path = file_of("writable", b"content")
    sends(f'eq(true, request:send_file(io.open({lua(path)}, "r+")))', b"content")
    body = f'local done, message, errno = request:send_file(io.open({lua(path)}, "a"))'
    sends(body + ' request:send_data(show(done), " ", show(errno))', b"nil 9")


@test("what is no file and no position is an error at the script's line, before anything is sent")
def _():
    wrong = ["", "nil", "5", "{}", "true", "print", "request.socket", "request"]
    wrong += ['small, "1"', "small, 1.5", "small, {}", "small, true", "small, 0, 1.5", 'small, 0, "x"', "small, 0/0", "small, 1e300"]
    body = STATUS + OPEN + "".join(f'fails("send_file: ", function() request:send_file({w}) end)\n' for w in wrong)
    body += 'file:close() fails("send_file: ", function() request:send_file(file) end) request:send_data("fine")'
    equal(answers(GET, body).body, b"fine", "response")


@test("the position of a Lua file is not moved, and the file stays open; a path is closed again")
def _():
    body = """
  eq("012", file:read(3))
  request:send_file(file)
  eq(3, file:seek()) eq("345", file:read(3))
  eq("0123", file:seek("set") and file:read(4))"""
    sends(body, b"0123456789")
    script = OPEN + STATUS + f"""
  request:send_file({lua(MISSING)}) request:send_file({lua(DIRECTORY)}) request:send_file(small, 10) request:send_file(small)"""
    count = 1500
    with served(script) as (client, server):
        client.send(GET)
        client.response()
        before = len(os.listdir(f"/proc/{server.pid}/fd"))
        after = []
        for _ in range(count):
            client.send(GET)
            equal(client.response().body, b"0123456789", "response")
            after.append(len(os.listdir(f"/proc/{server.pid}/fd")))
        # The script's own file is closed by the collector, in its time: what counts is where that ends.
        least = min(after[count // 2 :])
        check(least < before + 100, f"{before} descriptors at first, at least {least} after {count // 2} requests")


@test("several files and data in one response: chunked, or within the Content-Length of the script")
def _():
    sends('request:send_data("<") request:send_file(small) request:send_data(">")', b"<0123456789>", "chunked")
    sends("request:finish_headers() request:send_file(small)", b"0123456789", "chunked")
    sends(
        'request:finish_headers() request:send_file(small) request:send_file(medium) request:send_data("-") request:send_file(file, 2, 4)',
        b"0123456789" + DATA + b"-234",
        "chunked",
    )
    sends(
        'request:finish_headers() request:send_file(empty) request:send_data("-") request:send_file(empty) request:send_file(small)',
        b"-0123456789",
        "chunked",
    )
    sends(
        'request:send_header("Content-Length", 15) request:send_file(small) request:send_data("ab") request:send_file(file, 0, 2)',
        b"0123456789ab012",
    )
    sends('request:send_header("Content-Length", 10) request:finish_headers() request:send_file(small)', b"0123456789")
    flushed = 'request:send_data("a") request:flush() request:send_file(small) request:flush() request:send_data("b")'
    sends(flushed, b"a0123456789b", "chunked")


@test("the Content-Length that send_file has set, or the script, is kept: more is an error, and nothing of it is sent")
def _():
    sends(
        """
  request:send_file(small)
  fails({"send_data: ", "Content-Length"}, function() request:send_data("x") end)
  fails({"send_file: ", "Content-Length"}, function() request:send_file(small, 1, 1) end)
  eq(true, request:send_file(empty))""",
        b"0123456789",
    )
    sends(
        """
  request:send_header("Content-Length", 9)
  fails({"send_file: ", "Content-Length"}, function() request:send_file(small) end)
  request:send_file(small, 1)""",
        b"123456789",
    )


@test("204, 205, 304: a file with content is an error, an empty one is none")
def _():
    for code in (204, 205, 304):
        for what in ("small", "file"):
            fails = f'fails({{"send_file: ", "{code}"}}, function() request:send_file({what}) end)'
            equal(answers(GET, f"{OPEN} request:send_status({code}) {fails}").status, code, f"{code}")


@test("HEAD: only the Content-Length is sent; the next request follows")
def _():
    for arguments, length in (("small", 10), ("small, 3, 5", 3), ("file", 10), ("empty", 0), (lua(LARGE), len(DATA) * 128)):
        with served(OPEN + STATUS + f"eq(true, request:send_file({arguments}))") as (client, _):
            for _ in range(2):
                client.send(HEAD)
                equal(client.response("HEAD").length(), length, arguments)
            client.send(GET)
            equal(client.response().length(), length, arguments)
    with served(OPEN + STATUS + "request:finish_headers() request:send_file(small)") as (client, _):
        client.send(HEAD)
        client.response("HEAD")
        client.send(GET)
        equal(client.response().body, b"0123456789", "GET after HEAD")


@test("HTTP/1.0: with its length the connection can stay; without one its end is that of the file")
def _():
    keep = request(version="1.0", headers=["Connection: keep-alive"])
    with served(OPEN + STATUS + "request:send_file(medium)") as (client, _):
        for _ in range(2):
            client.send(keep)
            response = client.response(version="1.0")
            equal((response.body, response.connection()), (DATA, ["keep-alive"]), "response")
    sends('request:send_data("a") request:send_file(medium)', b"a" + DATA, "close", data=keep)


@test("a file larger than the socket's buffers, and a reader that lets it wait; pipelined requests behind it")
def _():
    for pair in PAIRS.values():
        with served(OPEN + STATUS + f'request:send_file(request.path == "large" and {lua(LARGE)} or small)', pair=pair) as (client, server):
            client.send(request("/large") + request("/small"))
            server.asleep()
            head = client.head()
            equal(head.length(), len(DATA) * 128, "Content-Length")
            for _ in range(3):
                equal(client.take(len(DATA), "in the file"), DATA, "a piece of the file")
                server.asleep()
            for _ in range(125):
                equal(client.take(len(DATA), "in the file"), DATA, "a piece of the file")
            equal(client.response().body, b"0123456789", "the next response")


@test("a file that becomes shorter while it is sent: a reset, exit status 70, and a line in the log")
def _():
    path = file_of("shrinking", DATA * 128)
    for name, pair in PAIRS.items():
        file_of("shrinking", DATA * 128)
        with served(STATUS + f"request:send_file({lua(path)})", pair=pair, status=70, log="shorter") as (client, server):
            client.send(GET)
            server.asleep()
            os.truncate(path, 1000)
            try:
                client.response()
                raise mbtest.Failed("the response is whole")
            except Malformed as malformed:
                check(name != "TCP" or "reset" in str(malformed), f"the end is a reset: {malformed}")


@test("beyond 4 GiB: a part of a sparse file")
def _():
    path = mbtest.tmp("files", "sparse")
    with open(path, "wb") as f:
        f.truncate(5 << 30)
        f.seek((5 << 30) - 3)
        f.write(b"end")
    sends(f"request:send_file({lua(path)}, {(5 << 30) - 5})", b"\0\0end")
    equal(answers(HEAD, STATUS + f"request:send_file({lua(path)})").length(), 5 << 30, "Content-Length")


@test("a replay that writes to a file, and to a pipe whose reader is slow")
def _():
    script = mbtest.script(source(STATUS + f"request:send_file({lua(LARGE)})"))
    out = mbtest.tmp("output")
    with open(out, "wb") as f:
        subprocess.run([HANDLE, script], input=GET, stdout=f, timeout=mbtest.RUN_MAX, check=True)
    with open(out, "rb") as f:
        equal(Captured(f.read()).response().body, DATA * 128, "what is in the file")
    with subprocess.Popen([HANDLE, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as replay:
        replay.stdin.write(GET)
        replay.stdin.close()
        equal(Captured(replay.stdout.read()).response().body, DATA * 128, "what came through the pipe")
        equal(replay.wait(), 0, "exit status")


@test("a client that goes away while a file is sent is no failure of ours: exit status 0, no traceback")
def _():
    with served(STATUS + f"request:send_file({lua(LARGE)})", pair=PAIRS["TCP"], log=None) as (client, server):
        client.send(GET)
        server.asleep()
        client.reset()
        equal(server.child.wait(), 0, "exit status")
        text = server.rest()
        check("lost" in text and "traceback" not in text, f"log: {text!r}")


mbtest.main()
