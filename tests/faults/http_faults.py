#!/usr/bin/python3
"""moonbridge_http where system calls fail, are interrupted or do less than they were asked for, at every point of a
conversation: the right responses, or an end of the connection that no client takes for the end of a whole response."""

import contextlib
import os
import random
import re
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from faultlib import POINTS_MAX, TRANSPORTS, conversation, environment, log_text, no_orphans, start
from mbhandler import lua
from mbhttp import Captured, chunked, multipart, request
from mbshim import FAULTS_MAX, HIT, points
from mbtest import HANDLE, Failed, about, check, equal, script, tcp_pair, test

BYTES = random.Random(2).randbytes(6000)
FILE = mbtest.tmp("file")
with open(FILE, "wb") as _f:
    _f.write(BYTES)

# A page for each way to read and to write. The rules that it is started with hold while it serves; "?": from the first
# response on that it sends. A fixed date: the bytes are the same each time.
APP = script(
    f"local FILE = {lua(FILE)}\n"
    + r"""
local http = require "moonbridge_http"
local argument = ...

local function faults(rules) assert(io.open("/faultio/" .. rules)):close() end

local pages = {}

function pages.page(request)
  request:send_header("Content-Type", "text/plain")
  request:send_data(request.headers_value["x-name"], " ", request.cookies.c, " ", request.get_params.q)
end

function pages.big(request)
  for i = 1, 30 do
    request:send_data((("%07d\n"):format(i):rep(40)))
    if i % 10 == 0 then request:flush() end
  end
end

function pages.form(request)
  request:send_data(request.post_params.a, ",", table.concat(request.post_params_list.b, ","))
end

function pages.multipart(request)
  local pieces = {}
  request:stream_post_param("file", function(chunk, metadata)
    if metadata then pieces[#pieces + 1] = metadata.file_name .. ":" end
    pieces[#pieces + 1] = chunk or "."
  end)
  request:consume_input()
  request:send_data(request.post_params.text, ";", table.concat(pieces))
end

function pages.body(request) request:send_data(request.body) end

-- The body is read before a status is sent.
function pages.read_first(request) request:send_data(request.body) end

function pages.pipe(request)
  request:send_header("Content-Length", 6001) -- chunks would be those that came
  request:stream_request_body(function(chunk) request:send_data(chunk or ".") end)
  request:consume_input()
end

-- Sends before it has read.
function pages.late(request)
  request:send_data(("l"):rep(9000))
  request:flush()
  request:send_data(request.body)
end

local function said(request, good, message)
  if not good then request:send_data("cannot: ", message) end
end

function pages.file(request) said(request, request:send_file(FILE)) end

function pages.range(request) said(request, request:send_file(FILE, 1000, 3999)) end

function pages.files(request)
  request:send_data("<")
  request:flush()
  said(request, request:send_file(FILE, 0, 4999))
  said(request, request:send_file(FILE, 5000))
  request:send_data(">")
end

-- A script that does not look at errors.
function pages.caught(request) pcall(request.send_file, request, FILE) end

function pages.caught_part(request)
  request:send_data("<")
  pcall(request.send_file, request, FILE)
  request:send_data(">")
end

local serve = http.generate_handler({
  static_headers = {Date = "Thu, 01 Jan 1970 00:00:00 GMT"},
  minimum_output_chunk_size = 4096,
}, function(request)
  local page = assert(pages[request.path])
  if page == pages.read_first then local _ = request.body end
  request:send_status("200 OK")
  page(request)
end)

return function(socket)
  faults(argument)
  serve(socket)
end
"""
)

FORM_TYPE = "Content-Type: application/x-www-form-urlencoded"
MULTIPART = multipart(
    [('name="text"', None, "value"), ('name="file"; filename="f.bin"', "application/octet-stream", BYTES[:3000])]
)
MULTIPART_TYPE = 'Content-Type: multipart/form-data; boundary="Bound-ary"'


def whole(body):
    return f"Content-Length: {len(body)}"


# The requests, and the bodies of the responses. The last one is refused, which ends the connection.
TALK = [
    (request("/page?q=query", headers=["X-Name: name", "Cookie: c=cookie"]), b"name cookie query"),
    (request("/big"), b"".join((b"%07d\n" % i) * 40 for i in range(1, 31))),
    (request("/form", "POST", "a=1+1&b=x&b=y", [FORM_TYPE]), b"1 1,x,y"),
    (request("/multipart", "POST", MULTIPART, [MULTIPART_TYPE]), b"value;f.bin:" + BYTES[:3000] + b"."),
    (request("/read_first", "POST", BYTES[:2000], ["Expect: 100-continue"]), BYTES[:2000]),
    (request("/body", "POST", chunked(BYTES[:1500], 400), ["Transfer-Encoding: chunked"]), BYTES[:1500]),
    (request("/pipe", "POST", chunked(BYTES, 1000), ["Transfer-Encoding: chunked"]), BYTES + b"."),
    (request("/file"), BYTES),
    (request("/late", "POST", BYTES), b"l" * 9000 + BYTES),
    (request("/range"), BYTES[1000:4000]),
    (request("/files"), b"<" + BYTES + b">"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nBad field: x\r\n\r\n", b"400 Bad Request: "),
]
SENT = b"".join(data for data, _ in TALK)
CONTINUE = b"HTTP/1.1 100 Continue\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n"


def run(transport, rules, sent=SENT, **more):
    """(status, what came, how it ended, log) of a conversation under these rules."""
    return *conversation(transport, APP, rules, sent, **more), log_text()


def responses(data):
    """Splits what came without faults into responses, which are checked, as bytes."""
    reader, result = Captured(data), []
    for _, body in TALK:
        before = reader.buffer
        response = reader.response()
        got = response.body[: len(body)] if body.startswith(b"400") else response.body
        equal((response.status, got), (400 if body.startswith(b"400") else 200, body), "response")
        equal(response.interim, [], "interim responses where the body is there already")
        result.append(before[: len(before) - len(reader.buffer)])
    equal(reader.buffer, b"", "behind the last response")
    return result


WANT = None  # the responses of TALK, found by the first test


def wanted():
    global WANT
    if WANT is None:
        status, came, how, log = run("TCP", "")
        equal((status, how), (0, "eof"), f"without faults; log: {log}")
        WANT = responses(came)
    return WANT


def served(came, others=()):
    """Follows the responses as far as they are right; before those for which the client may get one there may be a 100
    (Continue), and in place of each may be one of the others (patterns). Returns how many are whole, whether the rest is a
    part of one, and whether the last was one of the others that ends the connection. Throws when the rest is else."""
    count, at = 0, 0
    while at < len(came) and count < len(wanted()):
        request_data = TALK[count][0]
        if b"100-continue" in request_data and came.startswith(CONTINUE, at):
            at += len(CONTINUE)
        want = wanted()[count]
        if came.startswith(want, at):
            count, at = count + 1, at + len(want)
            continue
        for other in others:
            matched = re.compile(other, re.DOTALL).match(came, at)
            if matched:
                at, closes = matched.end(), b"Connection: close" in matched[0]
                count += 1
                if closes:
                    equal(came[at:], b"", "behind a response that ends the connection")
                    return count, False, True
                break
        else:
            rest = came[at:]
            good = want.startswith(rest) or (CONTINUE + want).startswith(rest)
            check(good, f"response {count + 1}: {mbtest.short(rest)}")
            return count, True, False
    equal(came[at:], b"", "behind the last response")
    return count, False, False


def check_log(status, log):
    """One line about a client, or an error of the script's with its traceback."""
    lines = log.splitlines()
    if status == 0:
        check(len(lines) <= 1, f"{len(lines)} lines in the log")
        check(all("http: " in line or "client has gone" in line for line in lines), "another line in the log")
    else:
        check("stack traceback" in log or status == 71, "no traceback")
        check(log.count("stack traceback") <= 1, "several tracebacks")


def judge(transport, result, statuses=(0,), others=()):
    """Checks the outcome of a run with faults. Returns how many responses came."""
    status, came, how, log = result
    check(status in statuses, f"status {status}, expected {statuses}")
    count, cut, ended = served(came, others)
    check_log(status, log)
    if transport == "TCP" and count < len(TALK) and not ended:
        # A client must not think that this is all; behind a whole response, it knows that others are missing.
        allowed = ("reset", "eof") if status == 70 and not cut else ("reset",)
        check(how in allowed, f"{how} after {count} responses and {'a part' if cut else 'nothing'} of the next")
    return count


def sweep(transport, rule, statuses=(0,), others=()):
    """rule is one with {n} in it, which counts from 1 until it strikes no more."""
    faults = []
    for n in points(1):
        check(n < POINTS_MAX, "still hit")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(HIT)
        result = run(transport, rule.format(n=n), FAULTIO_HIT=HIT)
        hit = os.path.exists(HIT)
        try:
            count = judge(transport, result, statuses, others)
            if not hit:
                equal((result[0], count), (0, len(TALK)), "status and responses without a fault")
        except Failed as failed:
            faults.append(f"{rule.format(n=n)}: {failed}; log: {result[3][-600:]!r}")
        if not hit:
            break
    if faults:
        raise Failed("\n".join(faults[:FAULTS_MAX] + [f"{len(faults)} of {n} points"]))
    check(n > 5, f"{rule}: {n - 1} points only: the shim does not work")


# ---- faults that pass ----

AGAIN = "recv,sendmsg,sendfile,read,writev EAGAIN"
EINTR = "interruptible EINTR"
WEATHERS = {
    "a byte a call": "moving short max=1",
    "EINTR three times out of four": f"{EINTR} storm=4",
    "EAGAIN every other time": f"{AGAIN} storm=2",
    "at most 100 bytes a call, EAGAIN and EINTR": f"moving short max=100; {AGAIN} storm=3; {EINTR} storm=3",
    "sendfile knows no such file": "sendfile EINVAL from=1",
    "sendfile is not there": "sendfile ENOSYS from=1",
    "sendfile fails now and then": (
        "sendfile EINVAL storm=2; sendfile short max=700; pread short max=300; pread EINTR storm=2"
    ),
    "waiting is interrupted": f"{AGAIN} storm=3; poll,ppoll EINTR storm=3",
    "small calls that do not matter": "setsockopt,getpeername EIO from=1",
}


def right(transport, rules, **more):
    """All responses come and are right, with a 100 (Continue) at most before them."""
    result = run(transport, rules, **more)
    status, came, how, log = result
    equal((status, how), (0, "eof"), f"status and end; log: {log}")
    equal(judge(transport, result), len(TALK), "responses")
    check(" 400: " in log, f"the refusal is logged: {log!r}")


@test("without faults: every page, over TCP, a Unix socket and in a replay")
def _():
    for transport in TRANSPORTS:
        right(transport, "")


for _weather, _rules in WEATHERS.items():

    @test(f"all responses are right, one line in the log: {_weather}")
    def _(rules=_rules):
        for transport in TRANSPORTS:
            with about(transport):
                right(transport, rules)


@test("all responses are right: a signal every 100 µs, from the start of the process on")
def _():
    for transport in TRANSPORTS:
        right(transport, "", FAULTIO_SIGNALS=100)


@test("one call is interrupted, or in vain, each in turn: all responses are right")
def _():
    for rule in (f"{EINTR} once={{n}}", f"{AGAIN} once={{n}}", "sendfile EINVAL once={n}; sendfile short max=1000"):
        for transport in ("TCP",):
            n = 0
            while True:
                n += 1
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(HIT)
                right(transport, rule.format(n=n), FAULTIO_HIT=HIT)
                if not os.path.exists(HIT) or ("short" in rule and n > 25):
                    break
            check(n > 15, f"{rule}: {n} points")


# ---- the connection is lost ----

LOST = ("ECONNRESET", "EPIPE", "ETIMEDOUT")


@test("receiving fails, each time in turn: what was answered is right, nothing follows; one line, exit status 0")
def _():
    for name in LOST:
        for transport in ("TCP", "Unix socket"):
            sweep(transport, f"recv {name} once={{n}}; recv short max=700")


@test("sending fails, each time in turn: what came until then is right, nothing follows; one line, exit status 0")
def _():
    for name in LOST:
        for transport in ("TCP", "Unix socket"):
            sweep(transport, f"sendmsg {name} once={{n}}; sendmsg short max=1500")
            sweep(transport, f"sendfile {name} once={{n}}; sendfile short max=1500")


@test("the same where calls are in vain besides, so that it has to wait")
def _():
    sweep("TCP", f"recv ECONNRESET once={{n}}; {AGAIN} storm=3")
    sweep("TCP", f"sendmsg ECONNRESET once={{n}}; {AGAIN} storm=3")


@test("all calls fail from one on: no call after another, no hang")
def _():
    sweep("TCP", "recv,sendmsg,sendfile ECONNRESET from={n}; moving short max=2000")
    sweep("Unix socket", "recv,sendmsg,sendfile EPIPE from={n}; moving short max=2000")


@test("ending the connection fails: nobody minds, as all was said")
def _():
    for rules in ("shutdown ENOTCONN from=1", "shutdown EIO once=1", "close EIO from=1", "connect,disconnect EIO from=1"):
        status, came, _, log = run("TCP", rules)
        equal((status, served(came)[0]), (0, len(TALK)), f"status and responses under {rules}; log: {log}")
        check_log(status, log)


# ---- a client that waits for a 100 (Continue) ----

EXPECTED = request("/read_first", "POST", BYTES[:2000], ["Expect: 100-continue"])[:-2000]


def expecting(rules, **more):
    """A client that sends its body when it is told to. Returns (status, what came, how it ended, log)."""
    client, conn = tcp_pair()
    with client, conn:
        child = start([HANDLE, "--log-level", "info", APP, rules], {3: conn}, environment(**more))
        conn.close()
        came = b""
        try:
            try:
                client.send(EXPECTED)
                while len(came) < len(CONTINUE) and (chunk := client.receive()):
                    came += chunk
                client.send(BYTES[:2000])
                client.finish()
                rest, how = client.end()
            except OSError:  # lost
                rest, how = client.buffer, "reset"
            status = child.wait()
        except BaseException:
            child.kill()
            raise
    no_orphans()
    return status, came + rest, how, log_text()


@test("a client that waits for the 100 gets it once and whole, whatever passes")
def _():
    status, want, how, log = expecting("")
    check(want.startswith(CONTINUE + b"HTTP/1.1 200 OK\r\n") and want.endswith(BYTES[:2000]), mbtest.short(want))
    equal((status, how, log), (0, "eof", ""), "status, end and log")
    for weather, rules in WEATHERS.items():
        equal(expecting(rules), (0, want, "eof", ""), weather)


@test("a client that waits for the 100, and sending or receiving fails: nothing or a part, and a reset; no hang")
def _():
    want = expecting("")[1]
    for rule in ("sendmsg EPIPE once={n}; sendmsg short max=20", "recv ECONNRESET once={n}; recv short max=200"):
        n = 0
        while True:
            n += 1
            with contextlib.suppress(FileNotFoundError):
                os.unlink(HIT)
            status, came, how, log = expecting(rule.format(n=n), FAULTIO_HIT=HIT)
            at = f"{rule.format(n=n)}; log: {log!r}"
            check(want.startswith(came) and status == 0, f"{at}: status {status}, {mbtest.short(came)}")
            check_log(status, log)
            if not os.path.exists(HIT):
                break
            # When all was said, nobody minds.
            check(came == want or (how == "reset" and "connection to the client is lost" in log), f"{how} under {at}")
        check(n > 10, f"{rule}: {n} points")


# ---- the file, descriptors, memory of the system ----

CANNOT = rb"HTTP/1\.1 200 OK\r\n(?:(?!HTTP/1\.1 ).)*?cannot: .*?(?=HTTP/1\.1 |\Z)"
ERROR_500 = rb"HTTP/1\.1 500 Internal Server Error\r\n(?:(?!\r\n\r\n).)*\r\n\r\n500 Internal Server Error\n"


@test("the file cannot be read to its end: an error of the handler's, a reset, exit status 70")
def _():
    for rule in (
        "sendfile EIO once={n}; sendfile short max=2000",
        "pread EIO once={n}; sendfile EINVAL from=1; pread short max=2000",
        "pread EIO once={n}; sendfile EINVAL from=1; sendmsg short max=900",
    ):
        sweep("TCP", rule, statuses=(0, 70))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(HIT)
        status, came, how, log = run("TCP", rule.format(n=2))
        equal((status, how), (70, "reset"), f"status and end under {rule}")
        check("send_file" in log and "Input/output error" in log, f"log: {log!r}")
        check(served(came)[1], "a part of the response came")


@test("the file cannot be read to its end, and the script does not look: no response looks whole, or comes behind it")
def _():
    for page in ("/caught", "/caught_part"):
        for n in (1, 2):
            rules = f"sendfile EIO once={n}; sendfile short max=2000"
            status, came, how, log = run("TCP", rules, request(page) + TALK[0][0])
            at = f"{page} under {rules}"
            equal((came.count(b"HTTP/1.1"), how), (1, "reset"), f"{at}: responses, end; log: {log!r}")
            equal(status, 70, f"{at}: status; log: {log!r}")


@test("no descriptor for the file: send_file says so, has sent nothing, and the connection goes on")
def _():
    texts = {"EMFILE": b"Too many open files", "ENFILE": b"Too many open files in system", "EIO": b"Input/output error"}
    for name, text in texts.items():
        for n in (1, 2):
            result = run("TCP", f"open {name} from=1" if n == 1 else f"open {name} from=2")
            status, came, how, log = result
            equal((status, how), (0, "eof"), f"status and end; log: {log}")
            reader, bodies = Captured(came), []
            for _ in TALK:
                bodies.append(reader.response().body)
            equal(reader.buffer, b"", "behind the last response")
            for (data, want), body in zip(TALK, bodies, strict=True):
                path = data.split(b" ")[1]
                if path in (b"/range", b"/files") or (path == b"/file" and n == 1):
                    check(b"cannot: " in body and text in body, f"{path} under {name}: {mbtest.short(body)}")
                    check(want[:2] not in body, f"{path} under {name}: part of the file")
                else:
                    check(body.startswith(want), f"{path} under {name}: {mbtest.short(body)}")


@test("waiting fails: an end of the connection, no hang")
def _():
    sweep("TCP", f"poll,ppoll ENOMEM once={{n}}; {AGAIN} storm=3", statuses=(0, 70), others=(ERROR_500,))


@test("flags of descriptors cannot be had or set: a file that is not sent, or an end of the connection")
def _():
    for name in ("EIO", "ENOMEM"):
        sweep("TCP", f"fcntl {name} once={{n}}", statuses=(0, 70), others=(CANNOT, ERROR_500))


@test("any call fails once, each in turn: what came is right, and an end before all of it is no healthy one")
def _():
    for name in ("EIO", "ENOMEM", "ECONNRESET"):
        for transport in ("TCP", "replay"):
            sweep(transport, f"any {name} once={{n}}", statuses=(0, 70, 71), others=(CANNOT, ERROR_500))


mbtest.main()
