#!/usr/bin/python3
"""What is larger than the memory that it may take: bodies of more than 4 GiB by both framings, streamed, and responses
that a client does not read. A process of these stays below 8 MiB all the time."""

import mmap
import os
import socket
import sys
import threading

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhttp
import mbtest
from mbtest import HANDLE, check, equal, tcp_pair, test, until

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
LIMIT_KIB = 8 * KIB  # of a process, with everything
LARGE = 4 * GIB + 5  # whose size, and the rest of which, no 32 bits hold
BLOCK = memoryview(bytes(4 * MIB))
END = b"<end>"
GET = mbhttp.request()
SLOW = "minutes of copying there"

with open(HANDLE, "rb") as program, mmap.mmap(program.fileno(), 0, access=mmap.ACCESS_READ) as text:
    SANITIZED = text.find(b"__asan_init") >= 0  # which has memory of its own


def peak(pid):
    """The most memory that the process ever had, in KiB; 0 when it is not there yet, or is gone."""
    try:
        if not os.path.samefile(f"/proc/{pid}/exe", HANDLE):
            return 0  # still a copy of this process
    except OSError:
        return 0
    for line in mbtest.read_file(f"/proc/{pid}/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


def check_memory(kib, what):
    mbtest.diagnose(f"{what}: {kib} KiB at most")
    check(kib > 0, f"the memory of the process, {what}")
    check(SANITIZED or kib < LIMIT_KIB, f"{what}: {kib} KiB at the peak, expected less than {LIMIT_KIB}")


def peak_until_end(server):
    """The same while it runs, seen until it has ended."""
    seen = 0

    def ended():
        nonlocal seen
        if not mbtest.alive(server.pid):
            return True
        seen = max(seen, peak(server.pid))
        return False

    until(ended, "the end of the process", mbtest.RUN_MAX)
    return seen


# ---- a client that does not read ----


def unread(body, what, prepare=lambda client: client.send(GET), log="stall_timeout"):
    """The response is ended by stall_timeout, the memory small until then. prepare may return a function that tells how
    the connection ended."""
    with mbhttp.served(mbhttp.source(body, "stall_timeout = 0.5"), pair=tcp_pair, log=log) as (client, server):
        how = prepare(client) or (lambda: client.end()[1])
        check_memory(peak_until_end(server), what)
        equal(server.child.wait(), 0, "exit status")
        equal(how(), "reset", "the end of the connection")


def sparse_file(size=GIB):
    """A file that is one hole. A tmpfs reads zeros there at once; other file systems fill the page cache with them."""
    path = mbtest.tmp(f"sparse{size}")
    if os.access("/dev/shm", os.W_OK):
        path = f"/dev/shm/{os.path.basename(mbtest.TMP)}-sparse{size}"
    with open(path, "wb") as f:
        mbtest.cleanup.callback(os.unlink, path)
        f.truncate(size)
    return path


@test("a client that never reads a response of 1 GiB: send_data", native="memory")
def _():
    body = """
      request:send_status("200 OK")
      {}
      local piece = ("x"):rep(65536)
      for i = 1, 16384 do request:send_data(piece) {} end
    """
    unread(body.format("", ""), "64 KiB at a time")
    unread(body.format("request:send_header('Content-Length', 1 << 30)", ""), "with a length")
    unread(body.format("", "request:flush()"), "flushed each time")
    unread(body.format("request:finish_headers()", "collectgarbage()"), "garbage collected")
    small = 'request:send_status("200 OK") for i = 1, 1 << 26 do request:send_data("sixteen bytes...") end'
    unread(small, "16 bytes at a time")
    large = 'request:send_status("200 OK") local x = ("x"):rep(1 << 20) for i = 1, 1024 do request:send_data(x) end'
    unread(large, "1 MiB at a time")


@test("a thousand requests on one connection take no more memory than one", native="memory")
def _():
    # Nothing that would set the collector to work: what the responses gather, it does not see.
    body = 'x = x or ("x"):rep(500000) request:send_status("200 OK") request:send_data(x) request:send_data(x)'
    with mbhttp.served(body, "minimum_output_chunk_size = 1 << 20", pair=tcp_pair) as (client, server):
        peaks = []
        for count in (20, 980):
            for _ in range(count):
                client.send(GET)
                equal(len(client.response().body), 1000000, "response")
            peaks.append(peak(server.pid))
        mbtest.diagnose(f"{peaks} KiB at most after 20 and 1000 responses of 1 MB, gathered")
        check(SANITIZED or peaks[1] < peaks[0] + 1024, f"{peaks} KiB")


@test("a client that never reads a response of 1 GiB: send_file", native="memory")
def _():
    path = sparse_file()
    unread(f'request:send_status("200 OK") request:send_file("{path}")', "send_file")
    unread(f'request:send_status("200 OK") request:send_data("x") request:send_file("{path}")', "send_file in a chunk")
    unread(f'request:send_status("200 OK") request:send_file(io.open("{path}"), 5, (1 << 30) - 6)', "part of an open file")


@test("a client that never reads, and sends a body all the while, streamed: nothing piles up", native="memory")
def _():
    def sends(client):
        client.send(mbhttp.request(method="POST", headers=[f"Content-Length: {LARGE}"]))

        ends = []

        def send():
            try:
                while True:
                    client.sock.sendall(BLOCK[:65536])
            except (ConnectionResetError, BrokenPipeError):
                ends.append("reset")  # told once, to whoever asks first

        sender = threading.Thread(target=send, daemon=True)
        sender.start()

        def how():
            sender.join(mbtest.DEADLINE)
            return (ends or [client.end()[1]])[0]

        return how

    body = """
      request:stream_request_body(function(chunk) end)
      request:send_status("200 OK")
      local piece = ("x"):rep(65536)
      while true do request:send_data(piece) end
    """
    unread(body, "stream_request_body", sends)
    unread(body.replace("request:stream_request_body(function(chunk) end)", "request:monologue()"), "monologue", sends)


# ---- bodies of more than 4 GiB ----


def zeros(client, count):
    """So many bytes, the last of them END."""
    count -= len(END)
    while count > 0:
        count -= client.sock.send(BLOCK[: min(count, len(BLOCK))])
    client.send(END)


def uploaded(body, options, head, before, after, pair):
    """A body of LARGE bytes with something around it: the handler says how many there were, the longest chunk, and the end."""
    options += " request_body_size_limit = false, maximum_input_chunk_size = 32768"
    text = mbhttp.source(
        """
        local size, longest, tail, calls = 0, 0, "", {}
        local function take(chunk, metadata)
          if metadata then calls[#calls + 1] = metadata.field_name end
          if not chunk then calls[#calls + 1] = "end" return end
          size = size + #chunk
          if #chunk > longest then longest = #chunk end
          tail = #chunk < 5 and (tail .. chunk):sub(-5) or chunk:sub(-5)
        end
        """
        + body
        + '\nok(request, size, " ", longest <= 32768, " ", tail, " ", table.concat(calls, ","))',
        options,
    )
    with mbhttp.served(text, pair=pair) as (client, server):
        client.send(head + before)
        zeros(client, LARGE)
        client.send(after)
        answer = client.response().text()
        check_memory(peak(server.pid), "an upload")
        client.send(mbhttp.request(headers=["Connection: close"]))
        client.response()
        client.nothing_more()
    return answer


@test("a body of 4 GiB and 5 bytes by Content-Length", native=SLOW)
def _():
    head = mbhttp.request(method="POST", headers=[f"Content-Length: {LARGE}"])
    body = "request:stream_request_body_now(take)"
    equal(uploaded(body, "", head, b"", b"", tcp_pair), f"{LARGE} true <end> ", "what came")


@test("a body of 4 GiB and 5 bytes in one chunk, and a few small ones", native=SLOW)
def _():
    head = mbhttp.request(method="POST", headers=["Transfer-Encoding: chunked"])
    body = "request:stream_request_body(take) request:consume_input()"
    before = b"1\r\nx\r\n%x;large\r\n" % LARGE
    got = uploaded(body, "", head, before, b"\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n", mbtest.local_pair)
    equal(got, f"{LARGE + 4} true d>abc end", "what came")


@test("a file of 4 GiB and 5 bytes in a multipart body, by Content-Length", native=SLOW)
def _():
    before = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    before += b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n'
    after = b'\r\n--b\r\nContent-Disposition: form-data; name="z"\r\n\r\n2\r\n--b--\r\n'
    size = len(before) + LARGE + len(after)
    head = mbhttp.request(method="POST", headers=[f"Content-Length: {size}", "Content-Type: multipart/form-data; boundary=b"])
    body = """
      request:stream_post_param("f", take)
      request:consume_input()
      calls[#calls + 1] = request.post_params.a
      calls[#calls + 1] = request.post_params.z
    """
    got = uploaded(body, "", head, before, after, tcp_pair)
    equal(got, f"{LARGE} true <end> f,end,1,2", "what came")


@test("a limit above 4 GiB holds, and so does the largest Content-Length")
def _():
    limit = f"request_body_size_limit = {LARGE - 1}"
    for size in (LARGE, (1 << 63) - 1):
        with mbhttp.served("return request.body", limit, log="too large") as (client, _):
            client.send(mbhttp.request(method="POST", headers=[f"Content-Length: {size}"]))
            equal(client.response().status, 413, "status")
            client.nothing_more()


# ---- responses of more than 4 GiB ----


def swallow(client, count):
    """Drops so many bytes that come; they are not even copied."""
    count -= len(client.buffer)
    client.buffer = b""
    room = bytearray(4 * MIB)
    while count > 0:
        got = client.sock.recv_into(room, min(count, len(room)), socket.MSG_TRUNC)
        check(got > 0, f"end of the connection, {count} bytes too early")
        count -= got


@test("send_file of 4 GiB and 5 bytes, and the connection goes on", native=SLOW)
def _():
    path = sparse_file(LARGE)
    body = f'if request.path == "file" then request:send_status("200 OK") request:send_file("{path}") else ok(request, "x") end'
    with mbhttp.served(body, pair=tcp_pair) as (client, server):
        client.send(mbhttp.request("/file") + GET)
        head = client.head()
        equal(head.length(), LARGE, "Content-Length")
        swallow(client, LARGE)
        equal(client.response().body, b"x", "next response")
        check_memory(peak(server.pid), "send_file")


@test("a response of 4 GiB and 5 bytes with a length, and the connection goes on", native=SLOW)
def _():
    body = f"""
      if request.path ~= "large" then return ok(request, "x") end
      request:send_status("200 OK")
      request:send_header("Content-Length", {LARGE})
      local piece = ("x"):rep(1 << 18)
      for i = 1, {LARGE >> 18} do request:send_data(piece) end
      request:send_data("12345")
    """
    with mbhttp.served(body, pair=tcp_pair) as (client, server):
        client.send(mbhttp.request("/large") + GET)
        equal(client.head().length(), LARGE, "Content-Length")
        swallow(client, LARGE)
        equal(client.response().body, b"x", "next response")
        check_memory(peak(server.pid), "send_data")


mbtest.main()
