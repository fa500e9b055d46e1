#!/usr/bin/python3
"""moonbridge_http: request and response that are larger than what sockets buffer, both at once. The client sends all it has
before it reads anything: whoever waits for it to read first waits for ever."""

import os
import select
import socket
import sys
import threading

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhandler
import mbtest
from mbhandler import lua
from mbhttp import PAIRS, chunked, multipart, request, served
from mbtest import check, equal, local_pair, test, until

SIZE = 8 << 20
DATA = b"".join(b"%015x\n" % n for n in range(SIZE // 16))
CHUNKED = ["Transfer-Encoding: chunked"]
MULTIPART = ["Content-Type: multipart/form-data; boundary=Bound-ary"]
URLENCODED = ["Content-Type: application/x-www-form-urlencoded"]
PARTS = multipart([('name="small"', None, "1"), ('name="f"; filename="x"', "text/plain", DATA), ('name="last"', None, "2")])
FORM = b"small=1&f=" + DATA.replace(b"\n", b".") + b"&last=2"
STATUS = 'request:send_status("200 OK") '
SEND = f'local large = ("0123456789abcde\\n"):rep({SIZE // 16}) '
LARGE = b"0123456789abcde\n" * (SIZE // 16)


def framings(body, headers=()):
    """The same request by length, and chunked."""
    yield request("/", "POST", body, [*headers])
    yield request("/", "POST", chunked(body, 30000), [*headers, *CHUNKED])


def both_ways(requests, body, want, pairs=PAIRS, log=""):
    """Every request is sent as a whole before its response is read; then the next, which the connection stays open for."""
    requests = list(requests)
    for pair in pairs.values():
        with served(STATUS + body, "request_form_size_limit = false", pair=pair, log=log) as (client, _):
            for data in requests:
                client.send(data)
                got = client.response().body
                check(got == want, f"{len(got)} bytes, expected {len(want)}: {mbtest.short(got)}")


def large_file():
    path = mbtest.tmp("large")
    with open(path, "wb") as f:
        f.write(LARGE)
    return path


@test("a large response first, and then the body")
def _():
    both_ways(framings(DATA), SEND + "request:send_data(large) request:send_data(request.body)", LARGE + DATA)


@test("a large response in small pieces, flushed, and then the body")
def _():
    body = SEND + """
  for n = 1, #large, 65536 do request:send_data(large:sub(n, n + 65535)) request:flush() end
  request:send_data(request.body)"""
    both_ways(framings(DATA), body, LARGE + DATA)


@test("a large file first, and then the body")
def _():
    body = f"request:finish_headers() request:send_file({lua(large_file())}) request:send_data(request.body)"
    both_ways(framings(DATA), body, LARGE + DATA)


@test("a large response first, and then the parameters: multipart and urlencoded")
def _():
    body = SEND + """
  request:send_data(large)
  local p = request.post_params
  request:send_data(p.small, p.last, p.f)"""
    both_ways(framings(PARTS, MULTIPART), body, LARGE + b"12" + DATA)
    both_ways(framings(FORM, URLENCODED), body, LARGE + b"12" + DATA.replace(b"\n", b"."))


@test("a large response in the middle of the body")
def _():
    body = SEND + """
  local first = true
  request:stream_request_body_now(function(chunk)
    request:send_data(chunk)
    if first then request:send_data(large) end
    first = false
  end)"""
    for data in framings(DATA):
        with served(STATUS + body) as (client, _):
            client.send(data)
            got = client.response().body
            check(len(got) == 2 * SIZE and got.replace(LARGE, b"", 1) == DATA, f"{len(got)} bytes: {mbtest.short(got)}")


@test("an echo from a stream handler of the body")
def _():
    both_ways(framings(DATA), "request:stream_request_body_now(function(chunk) request:send_data(chunk) end)", DATA)
    both_ways(
        framings(DATA),
        'request:stream_request_body(function(chunk) request:send_data(chunk or "") end) request:consume_input()',
        DATA,
    )
    both_ways(
        framings(DATA),
        'request:set_request_body_streamer(function(chunk) request:send_data(chunk or "") request:flush() end) request:consume_input()',
        DATA,
    )


@test("an echo from a stream handler of a field")
def _():
    for call in ('stream_post_param("f", ', 'stream_post_params("^f$", '):
        body = f'request:{call}function(chunk) request:send_data(chunk or "") end) request:consume_input()'
        both_ways(framings(PARTS, MULTIPART), body, DATA)
        both_ways(framings(FORM, URLENCODED), body, DATA.replace(b"\n", b"."))


@test("stream handlers that are registered are called while the response is blocked, and get all of the body in its order")
def _():
    for register, requests in (
        ("request:stream_request_body(take)", framings(DATA)),
        ('request:stream_post_param("f", take)', framings(PARTS, MULTIPART)),
    ):
        body = f"""
  local all = {{}}
  local function take(chunk) all[#all + 1] = chunk end
  {register}
  {SEND}
  for _ = 1, 4 do request:send_data(large) end
  eq(true, #all > 0) -- else it was kept, and the handlers are called too late
  request:consume_input()
  request:send_data(table.concat(all))"""
        # Not over TCP, which may buffer all of the request: then nothing has to be read for the response to get through.
        both_ways(requests, body, LARGE * 4 + DATA, {"Unix": mbtest.local_pair})


@test("parameters whose processing was begun go on while the response is blocked")
def _():
    body = f"""{SEND}
  request:stream_post_param("small", function(chunk) if chunk then request:send_data(chunk, large) end end)
  request:send_data(request.post_params.last, request.post_params.f)"""
    both_ways(framings(PARTS, MULTIPART), body, b"1" + LARGE + b"2" + DATA)


@test("a body that is never read: a large response, a small one, none but the status")
def _():
    both_ways(framings(DATA), SEND + "request:send_data(large)", LARGE)
    both_ways(framings(DATA), 'request:send_data("small")', b"small")
    both_ways(framings(DATA), "", b"")
    both_ways(framings(DATA), SEND + "request:stream_request_body() request:send_data(large)", LARGE)
    # Where the response is not blocked, nothing is read while it is sent: that is worth a warning.
    streamed = SEND + "request:stream_request_body(function() end) request:send_data(large)"
    both_ways(framings(DATA), streamed, LARGE, log=None)


@test("monologue: a large response while the body is thrown away")
def _():
    for data in framings(DATA):
        for pair in PAIRS.values():
            with served(f"{SEND} request:monologue() {STATUS} request:send_data(large)", pair=pair) as (client, _):
                client.send(data)
                response = client.response()
                check(response.closes() and response.body == LARGE, "the response is whole")
                client.nothing_more()


@test("monologue: what the client sends without a body, or behind it, is thrown away as well")
def _():
    use = ("", "request:consume_input()", "local _ = request.post_params", "request:stream_request_body(print)", "request:stream_request_body()")
    for then in use:
        body = f"{SEND} request:monologue() {then} {STATUS} request:send_data(large, large)"
        with served(body, pair=PAIRS["TCP"]) as (client, _):
            client.send(request("/") + DATA * 4)
            check(client.response().body == LARGE * 2, f"the response is whole after {then}")
            client.nothing_more()
    for data in (request("/"), request("/", "POST", "x")):
        for pair in PAIRS.values():
            for options in ("", f"minimum_output_chunk_size = {4 * SIZE}"):  # sent by send_data, or behind the callback
                with served(f"{SEND} request:monologue() {STATUS} request:send_data(large, large)", options, pair=pair) as (client, _):
                    client.send(data + DATA)
                    response = client.response()
                    check(response.closes() and response.body == LARGE * 2, "the response is whole")
                    client.nothing_more()


@test("a stream handler that is called while the response is blocked may yield, and answer")
def _():
    script = f"""
local http = require "moonbridge_http"
local serve = http.generate_handler(function(request)
  local size = 0
  request:stream_request_body(function(chunk)
    coroutine.yield()
    size = size + #(chunk or "")
  end)
  {SEND} {STATUS}
  for _ = 1, 3 do request:send_data(large) request:flush() end
  request:send_file({lua(large_file())})
  request:consume_input()
  request:send_data(size)
end)
return function(socket)
  local handle = coroutine.create(serve)
  local good, err = coroutine.resume(handle, socket)
  local yields = 0
  while coroutine.status(handle) ~= "dead" do
    yields = yields + 1
    good, err = coroutine.resume(handle)
  end
  if not good then error(err) end
  if yields < 10 then error("not called") end
end
"""
    for data in framings(DATA):
        for pair in PAIRS.values():
            with served(script, pair=pair) as (client, _):
                client.send(data)
                got = client.response().body
                check(got == LARGE * 4 + str(SIZE).encode(), f"{len(got)} bytes: {mbtest.short(got[-100:])}")


@test("a stream handler that answers while an interim response is blocked: the script's own status is an error, heads do not mix")
def _():
    body = """
  local first = true
  request:stream_request_body(function()
    print("called")
    if first then request:send_status(403) request:send_header("X-From", "handler") request:send_data("refused") end
    first = false
  end)
  request:send_status(103)
  for _ = 1, 30 do request:send_header("Link", ("x"):rep(300000)) end
  request:send_status(200)"""
    with served(body, pair=PAIRS["TCP"], status=70, log="send_status: the response head is finished") as (client, server):
        client.send(request("/", "POST", "x" * 10))
        server.says("called")
        data, _ = client.end()
        _, _, rest = data.partition(b"\r\n\r\n")
        check(rest.startswith(b"HTTP/1.1 500 ") and b"handler" not in rest, f"behind the interim one: {mbtest.short(rest)}")


@test("stream handlers are not called any more once the callback has returned")
def _():
    body = f"""
  local returned = false
  request:stream_request_body(function() if returned then error("called too late") end end)
  {SEND} {STATUS}
  request:send_data(large)
  returned = true"""
    options = f"minimum_output_chunk_size = {2 * SIZE}"
    for data in framings(DATA):
        for pair in PAIRS.values():
            with served(body, options, pair=pair, log="call request:consume_input() in POST /") as (client, _):
                client.send(data)
                check(client.response().body == LARGE, "the response is whole")


@test("a form that was kept while the response was blocked is held against request_form_size_limit when it is wanted")
def _():
    body = f"""{SEND} {STATUS}
  request:send_data(large)
  local got, why = pcall(function() return request.post_params end)
  eq(false, got)
  eq(true, why:find("fields of the form are too large", 1, true) ~= nil)
  eq(true, request.faulty)"""
    for form, headers in ((PARTS, MULTIPART), (FORM, URLENCODED)):
        for data in framings(form, headers):
            # The Unix socket is too small for the request: all of it has come when the response is through.
            with served(body, pair=mbtest.local_pair, log="request_form_size_limit") as (client, _):
                client.send(data)
                check(len(client.end()[0]) > SIZE // 2, "most of the response has come")


@test("more body than request_body_size_limit allows is not kept: a handler that never asks for it still answers")
def _():
    # What is kept while the response is blocked has a limit; a client that waits for ever is one that stalls.
    for data in framings(DATA):
        with served(f"{SEND} {STATUS} request:send_data(large)", "request_body_size_limit = 1 << 20, stall_timeout = 0.5",
                    pair=PAIRS["TCP"], log=None) as (client, server):  # fmt: skip
            # Either it is taken and dropped, or the connection ends by the timeout; it must not hang.
            try:
                client.send(data)
                response = client.response()
                check(response.body == LARGE, "the response is whole")
            except (OSError, mbtest.Failed) as error:
                check("reset" in str(error).lower() or "pipe" in str(error).lower(), f"it ends by a reset: {error}")
            client.sock.close()
            equal(server.child.wait(), 0, "exit status")


@test("what is kept is no more than the limit: the memory of the process stays bounded")
def _():
    limit = 1 << 20
    body = f"{SEND} {STATUS} large = nil for _ = 1, 4096 do request:send_data(('x'):rep(16384)) end"
    options = f"request_body_size_limit = {limit}, stall_timeout = 1"
    with served(body, options, pair=PAIRS["TCP"], log=None, args=("--memory-limit", "24M")) as (client, server):
        data = request("/", "POST", None, [f"Content-Length: {64 << 20}"]) + b"x" * (64 << 20)
        try:
            client.send(data)
        except OSError:
            pass
        client.sock.close()
        equal(server.child.wait(), 0, "exit status")
        text = server.rest()
        check("memory" not in text, f"log: {text!r}")


@test("a body without a limit: 64 MiB of it are kept while the response is blocked, then the client has to wait")
def _():
    size = 72 << 20
    data = memoryview(request("/", "POST", None, [f"Content-Length: {size}"]) + b"x" * size)
    body = f"{SEND} {STATUS} request:send_data(large) request:send_data(request._wire.state, ' ', #request.body)"
    with served(body, "request_body_size_limit = false", pair=local_pair) as (client, server):
        sent = 0

        def takes_no_more():
            """The program sleeps although there is more to read."""
            nonlocal sent
            while sent < len(data) and select.select([], [client.sock], [], 0)[1]:
                sent += client.sock.send(data[sent : sent + 65536], socket.MSG_DONTWAIT)
            return sent > 64 << 20 and mbhandler.state(server.pid) == "S"

        until(takes_no_more, "64 MiB are taken")
        check(sent < 66 << 20, f"{sent} bytes are taken")
        rest = threading.Thread(target=client.sock.sendall, args=(data[sent:],))
        rest.start()
        got = client.response().body
        rest.join()
        check(got.startswith(LARGE), f"the response: {len(got)} bytes")
        equal(got[len(LARGE) :], b"full %d" % size, "the state behind the response, and the size of the body")


@test("pipelined requests with large bodies, all sent before the first response is read")
def _():
    count = 8
    for data in framings(DATA[: 1 << 20]):
        for pair in PAIRS.values():
            with served(f"{STATUS} request:send_data(request.body)", pair=pair) as (client, server):
                # More than this would rightly block: a server answers one request after the other.
                client.send(data)
                for _ in range(count):
                    got = client.response().body
                    check(got == DATA[: 1 << 20], f"{len(got)} bytes")
                    client.send(data)
                check(client.response().body == DATA[: 1 << 20], "the last response")


mbtest.main()
