#!/usr/bin/python3
"""moonbridge_http: a script that throws, or does not answer; and a client at fault, also when the script catches that. What
the client gets, what is logged, and the exit status."""

import os
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbhttp import PAIRS, answers, replayed, request, served
from mbtest import check, equal, test

GET, HEAD = request(), request(method="HEAD")
UPGRADE = request(headers=["Upgrade: echo", "Connection: upgrade"])
STATUS = 'request:send_status("200 OK") '
MALFORMED = request("/", "POST", None, ["Transfer-Encoding: chunked"]) + b"3\r\nabc\r\nnonsense\r\n"
SHORT = request("/", "POST", None, ["Content-Length: 10"]) + b"12345"
TCP = PAIRS["TCP"]


def is_refusal(response, status, what):
    """A short text that says no more than the status, and the end."""
    equal((response.status, response.closes(), response.framing), (status, True, "length"), what)
    equal(response.value("Content-Type").partition(";")[0], "text/plain", what)
    check(response.text().startswith(f"{status} {response.reason}"), f"{what}: {response.text()!r}")


# ---- the script's fault ----


@test("an error before a status was sent: 500 without detail, and the end; the log has a traceback; exit status 70")
def _():
    for thrown, log in (
        ('error("secret-detail")', ".lua:2: secret-detail"),
        ('error("secret-detail", 0)', "secret-detail"),
        ('request:close_after_finish() error("secret-detail")', "secret-detail"),
        ('error(setmetatable({}, {__tostring = function() return "secret-object" end}))', "secret-object"),
        ("local x = nil + 1", ".lua:2: attempt to perform arithmetic"),
        ("request.nothing.at.all = 1", ".lua:2: attempt to index"),
        ('request:send_header("A", "b")', ".lua:2: send_header: no status was sent yet"),
        ("request:nonsense()", ".lua:2: attempt to call"),
        ("error()", "nil"),
        ("error({code = 5})", "error object: {code = 5}"),
    ):
        for pair in PAIRS.values():
            response = answers(GET, thrown, pair=pair, status=70, log=log)
            is_refusal(response, 500, thrown)
            equal(response.text(), "500 Internal Server Error\n", f"no detail for {thrown}")


@test("the traceback leads to the script's lines, and is logged once")
def _():
    body = 'local function inner()\nerror("thrown-here")\nend\nlocal function outer()\ninner()\nend\nouter()'
    with served(body, status=70, log=None) as (client, server):
        client.send(GET)
        client.response()
        server.child.wait()
        text = server.rest()
    equal((text.count("thrown-here"), text.count("stack traceback")), (1, 1), f"what is logged: {text!r}")
    for line in (3, 6, 8):
        check(f".lua:{line}: in " in text, f"line {line} in the traceback: {text!r}")
    check("http: in GET /\n" in text, f"the request that has failed: {text!r}")
    for ours in ("?:", "mb.http", "[C]: in ?", "tail calls"):
        check(ours not in text, f"no frame of ours: {text!r}")


@test("HEAD: the 500 has no body; HTTP/1.0 and a body that nobody read: it is there as well")
def _():
    with served("error('x')", status=70, log="x") as (client, _):
        client.send(HEAD)
        equal(client.response("HEAD").status, 500, "HEAD")
        client.nothing_more()
    is_refusal(answers(request(version="1.0"), "error('x')", status=70, log="x"), 500, "HTTP/1.0")
    for body in ("x" * 1000, "x" * (4 << 20)):
        with served("error('x')", pair=TCP, status=70, log="x") as (client, _):
            client.send(request("/", "POST", body))
            is_refusal(client.response(), 500, "with a body")
            client.finish()
            client.nothing_more()


@test("nothing more is read as a request after an error")
def _():
    body = 'if request.path == "bad" then error("x") end ok(request, "good")'
    data = request("/") + request("/bad") + request("/never")
    for pair in PAIRS.values():
        with served(body, pair=pair, status=70, log="x") as (client, _):
            client.send(data)
            equal(client.response().body, b"good", "before the error")
            is_refusal(client.response(), 500, "the error")
            client.nothing_more()
    output = replayed(data, body, status=70, log="x")
    equal([output.response().status, output.response().status], [200, 500], "replay")
    output.nothing_more()


@test("an error while nothing of the response has gone out: 500 in its place; exit status 70 and a traceback")
def _():
    for body in (
        STATUS,
        STATUS + 'request:send_header("X-A", "b") request:close_after_finish()',
        STATUS + 'request:send_data("x") request:send_data("y")',
        STATUS + 'request:send_data("x") request:send_status(201)',
        STATUS + 'request:send_header("Content-Length", 2) request:send_data("x") request:finish()',
        'request:send_status("103 Early Hints") request:send_header("Link", "</a>")',
        "request:send_status(101) request:send_header('Upgrade', 'echo')",
    ):
        throws = f'{body} error("thrown")'
        for pair in PAIRS.values():
            with served(throws, pair=pair, status=70, log="stack traceback") as (client, _):
                client.send(UPGRADE + UPGRADE)
                response = client.response()
                is_refusal(response, 500, body)
                equal((response.text(), response.values("X-A")), ("500 Internal Server Error\n", []), body)
                client.nothing_more()
        output = replayed(UPGRADE, throws, status=70, log="stack traceback")
        is_refusal(output.response(), 500, f"replay: {body}")
        output.nothing_more()
    both = "request:send_status(103) request:finish_headers() " + STATUS
    with served(f'{both} error("thrown")', pair=TCP, status=70, log="thrown") as (client, _):
        client.send(GET)
        response = client.response()
        equal(([r.status for r in response.interim], response.status), ([103], 500), "behind an interim response")
        client.nothing_more()


@test("an error after something of the response has gone out: a reset; exit status 70 and a traceback")
def _():
    for body in (
        STATUS + "request:finish_headers()",
        STATUS + 'request:send_data("x") request:flush()',
        STATUS + 'request:send_header("Content-Length", 5) request:send_data("x") request:flush()',
        STATUS + 'request:send_data(("x"):rep(100000))',
    ):
        with served(f'{body} gate = request.headers error("thrown-late")', pair=TCP, status=70, log="thrown-late") as (client, _):
            client.send(GET)
            data, how = client.end()
            equal(how, "reset", body)
            check(not data.endswith(b"\r\n0\r\n\r\n"), f"{body}: the body was ended: {data!r}")
        output = replayed(GET, f'{body} error("thrown-late")', status=70, log="stack traceback")
        check(b"500" not in output.end()[0], "no 500 behind a status")


@test("an error after finish(): the response was whole, and can be read; the connection ends; exit status 70")
def _():
    with served('ok(request, "whole") error("afterwards")', pair=TCP, status=70, log="afterwards") as (client, _):
        client.send(GET + GET)
        equal(client.response().body, b"whole", "response")
        equal(client.end(), (b"", "eof"), "after it")
    with served('ok(request, "whole") return request.body', pair=TCP, log="http: ") as (client, _):
        client.send(MALFORMED)
        equal(client.response().body, b"whole", "response before the body was read")
        equal(client.end(), (b"", "eof"), "after it")
    upgraded = 'request:send_status(101) request:send_header("Upgrade", "echo") request:finish_headers() request:finish() error("afterwards")'
    with served(upgraded, pair=TCP, status=70, log="afterwards") as (client, _):
        client.send(UPGRADE)
        equal(client.end()[1], "reset", "the other protocol may be in the midst of something")


@test("a handler that returns without a response: the same as an error, and the log says so")
def _():
    for body in ("", "local _ = request.body", "request:flush()", "request:send_status(103) request:finish_headers()"):
        for pair in PAIRS.values():
            response = answers(GET, body, pair=pair, status=70, log="send_status")
            is_refusal(response, 500, body)
            equal(response.text(), "500 Internal Server Error\n", body)


@test("a handler that returns with less than its Content-Length, of which nothing has gone out: the same")
def _():
    body = STATUS + 'request:send_header("Content-Length", 5) request:send_data("x")'
    is_refusal(answers(GET, body, pair=TCP, status=70, log="Content-Length"), 500, body)


@test("what no line of the script has called is an error with the line where the callback begins, and no traceback of ours")
def _():
    head = 'local http = require "moonbridge_http"\n\nlocal function page(request)\n'
    tail = "\nend\nreturn http.generate_handler(page)"
    begins = ".lua:3: in the callback that begins here: "
    for body, log, traceback in (
        ("", ".lua:3: the callback that begins here has returned without a response: it has to call request:send_status", False),
        (STATUS + 'request:send_header("Content-Length", 5) request:send_data("abc")',
         begins + "finish: 3 bytes of body, but Content-Length is 5", False),
        (STATUS + 'request:send_data("abc") return request:monologue()', begins + "monologue: the response head is finished", False),
        ("return request:stream_request_body(5)", begins + "stream_request_body: expected a function, got number", False),
        ("request:stream_request_body(5)", ".lua:4: stream_request_body: expected a function, got number", True),
        ('error("finish: by the script", 2)', "finish: by the script", True),
        ('error("config: by the script", 0)', "mb-handle: config: by the script", True),
    ):  # fmt: skip
        for data in (GET, GET * 2):
            done = mbtest.replay(mbtest.script(head + body + tail), stdin=data)
            text = done.stderr.decode()
            check(done.returncode == 70 and log in text, f"{body}: {text!r}, expected {log!r}")
            equal("traceback" in text, traceback, f"a traceback for {body}: {text!r}")
    done = mbtest.replay(mbtest.script('return require "moonbridge_http".generate_handler(type)'), stdin=GET)
    check(b"mb-handle: the callback has returned without a response" in done.stderr, f"a C function: {done.stderr!r}")


@test("an interim response that was not finished: no response either")
def _():
    with served('request:send_status("103 Early Hints")', pair=TCP, status=70, log="http") as (client, _):
        client.send(GET)
        data, _ = client.end()
        check(data == b"" or data.startswith(b"HTTP/1.1 500 "), f"{data!r}")


@test("an error that the script catches is none")
def _():
    equal(answers(GET, 'pcall(error, "x") pcall(request.send_header, request, "A", "b") ok(request, "fine")').body, b"fine", "response")


@test("a part of ours that could not be loaded, as memory had run out say, is loaded when it is needed again")
def _():
    body = """local loads, n = require, 0
  function require(name) if name == "mb.http.blocked" then require = loads error("once", 0) end return loads(name) end
  eq("once", select(2, pcall(function() return request.body end)))
  request:send_status(200) request:send_data(("x"):rep(1 << 24))"""
    with served(body, pair=TCP) as (client, _):
        client.send(request("/", "POST", None, ["Content-Length: 3"]) + b"a")
        equal(len(client.response().body), 1 << 24, "size of the response")
        client.send(b"bc")


@test("a function of the script's own that is called, with results and yields of its own, is no matter of ours")
def _():
    equal(answers(GET, 'ok(request, "x") return nil, "ignored", request').body, b"x", "results are ignored")
    body = 'local co = coroutine.wrap(function() request:send_status(200) coroutine.yield() request:send_data("y") end) co() co()'
    equal(answers(GET, body).body, b"y", "a response out of a coroutine")


# ---- the client's fault ----


@test("a body that is malformed: an error in the script, request.faulty, and the refusal; one line in the log, exit status 0")
def _():
    for use in ("local _ = request.body", "request:consume_input()", "local _ = request.post_params", "request:stream_request_body()",
                "request:stream_request_body_now(function() end)", "request:stream_request_body_now()",
                "request:stream_request_body(function() end) request:consume_input()",
                "coroutine.wrap(function() return request.body end)()"):  # fmt: skip
        for pair in PAIRS.values():
            for catch in (use, f"eq(false, (pcall(function() {use} end))) eq(true, request.faulty)"):
                with served(catch, pair=pair, log=None) as (client, server):
                    client.send(MALFORMED + GET)
                    is_refusal(client.response(), 400, catch)
                    client.finish()
                    client.nothing_more()
                    equal(server.child.wait(), 0, "exit status")
                    text = server.rest()
                    equal((text.count("\n"), "traceback" in text, "http" in text), (1, False, True), f"log: {text!r}")


@test("a fault that the script catches is no success: whatever it does, the refusal is sent, or the connection reset")
def _():
    caught = "pcall(function() return request.body end) "
    for body in (
        caught,
        caught + 'pcall(request.send_status, request, "200 OK") pcall(request.send_data, request, "x") pcall(request.finish, request)',
        caught + 'ok(request, "x")',
        caught + 'local good, message = pcall(ok, request) error(message, 0)',
    ):
        with served(body, pair=TCP, log="http") as (client, _):
            client.send(MALFORMED)
            is_refusal(client.response(), 400, body)
    for body in (STATUS + caught, STATUS + "return request.body", STATUS + 'request:send_data("x")' + caught,
                 STATUS + caught + "pcall(request.finish, request)"):  # fmt: skip
        with served(body, pair=TCP, log="http") as (client, _):
            client.send(MALFORMED)
            is_refusal(client.response(), 400, body)
    begun = STATUS + 'request:send_data("x") request:flush() '
    for body in (begun + caught, begun + "return request.body", STATUS + "request:finish_headers() " + caught,
                 begun + caught + "pcall(request.finish, request)"):  # fmt: skip
        with served(body, pair=TCP, log="http") as (client, _):
            client.send(MALFORMED)
            equal(client.end()[1], "reset", body)


@test("a faulty request must not be used: every call is an error that says so, at the script's line")
def _():
    calls = """close_after_finish() consume_input() finish() finish_headers() flush() monologue() send_data("x") send_header("A","b")
      send_status(200) send_file("/x") stream_post_param("a",print) stream_post_params("a",print) stream_request_body(print)
      stream_request_body_now(print) stream_request_body()""".split()
    body = "pcall(function() return request.body end)\n"
    body += "".join(f'fails({{"{c.partition("(")[0]}: ", "faulty"}}, function() request:{c} end)\n' for c in calls)
    body += "".join(f'fails({{"{n}: ", "faulty"}}, function() return request.{n} end)\n' for n in ("post_params", "post_params_list"))
    body += 'eq("POST", request.method) eq("chunked", request.headers_value["transfer-encoding"])'
    with served(body, log="http") as (client, _):
        client.send(MALFORMED)
        is_refusal(client.response(), 400, "refusal")


@test("a request whose connection the script has ended is faulty: every call is an error that says so")
def _():
    for end in ("reset", "close"):
        for before in ("", STATUS + 'request:send_data("x") request:flush() '):
            body = f"""{before} eq(false, request.faulty) request.socket:{end}() eq(true, request.faulty)
  local _ = request.method, request.headers.host
  fails({{"send_status: ", "faulty", "closed or reset"}}, function() request:send_status(200) end)
  fails({{"send_data: ", "faulty", "closed or reset"}}, function() request:send_data("x") end)
  fails({{"finish: ", "faulty", "closed or reset"}}, function() request:finish() end)
  fails({{"body: ", "faulty", "closed or reset"}}, function() return request.body end)
  eq(true, request.faulty)"""
            with served(body, pair=TCP) as (client, _):
                client.send(request("/", "POST", b"abc"))
                client.end()


@test("a write of the script's own that fails makes the request faulty, and what follows is the client's fault")
def _():
    wait = 'repeat until not request.socket:flush(("x"):rep(4096)) eq(true, request.faulty)'
    for body in (f"{wait} ok(request, 'x')", f"{STATUS} request:send_data('x') {wait} request:flush()"):
        with served(f'print("writes") {body}', pair=TCP, log=None) as (client, server):
            client.send(GET)
            server.says("writes")
            client.reset()
            equal(server.child.wait(), 0, "exit status")
            text = server.rest()
            equal((text.count("\n"), "lost" in text), (1, True), f"log: {text!r}")


@test("a send_data that is refused as misuse leaves the request as it was")
def _():
    body = """request:send_status(200) request:send_header("Content-Length", "3")
  fails({"send_data: "}, function() request:send_data("long") end)
  eq(false, request.faulty) request:send_data("abc") request:finish() eq(false, request.faulty)"""
    equal(answers(GET, body).body, b"abc", "the response")


@test("an error of the script's own after a fault of the client is one: traceback and exit status 70")
def _():
    with served('pcall(function() return request.body end) error("mine")', pair=TCP, status=70, log="mine") as (client, _):
        client.send(MALFORMED + GET)
        is_refusal(client.response(), 400, "the client gets the refusal")
        client.nothing_more()


@test("a malformed body that nobody read: the response stands, and nothing follows it")
def _():
    for pair in PAIRS.values():
        with served('ok(request, "mine")', pair=pair, log=None) as (client, server):
            client.send(MALFORMED + GET)
            equal(client.response().body, b"mine", "response")
            client.finish()
            client.nothing_more()
            equal(server.child.wait(), 0, "exit status")
            check("traceback" not in server.rest(), "no traceback")


@test("a client that ends in the middle of the body: no success, exit status 0")
def _():
    for pair in PAIRS.values():
        with served('local _ = request.body ok(request, "never")', pair=pair, log="http") as (client, _):
            client.send(SHORT)
            client.finish()
            is_refusal(client.response(), 400, "refusal")
    is_refusal(replayed(SHORT, 'local _ = request.body ok(request, "never")', log="http").response(), 400, "replay")


@test("a client that goes away while it is written to: a Lua error, faulty, one line in the log, exit status 0")
def _():
    for write in ('request:send_data(("x"):rep(65536)) request:flush()', 'request:send_data(("x"):rep(65536))'):
        body = f"""{STATUS}
  local good, message = pcall(function() for _ = 1, 4096 do {write} end end)
  eq(false, good) eq(true, request.faulty) eq("string", type(message))
  fails({{"send_data: ", "faulty"}}, function() request:send_data("x") end)
  fails({{"finish: ", "faulty"}}, function() request:finish() end)"""
        for name, pair in PAIRS.items():
            for catch in (body, f"{STATUS} for _ = 1, 4096 do {write} end"):
                with served(catch, pair=pair, log=None) as (client, server):
                    client.send(GET)
                    client.head()
                    if name == "TCP":
                        client.reset()
                    else:
                        client.sock.close()
                    equal(server.child.wait(), 0, "exit status")
                    text = server.rest()
                    equal((text.count("\n"), "traceback" in text, "lost" in text), (1, False, True), f"log: {text!r}")


@test("a client that resets between requests, or while its body is read: exit status 0")
def _():
    for data, body in ((GET, 'ok(request, "x")'), (b"", ""), (SHORT, 'print("reads") ok(request, request.body)')):
        with served(body, pair=TCP, log=None) as (client, server):
            if data:
                client.send(data)
            if data == GET:
                client.response()
            elif data:
                server.says("reads")
            server.asleep()
            client.reset()
            equal(server.child.wait(), 0, "exit status")
            check("traceback" not in server.rest(), "no traceback")


@test("a request object that is used after its time is an error, and does no harm to the next request")
def _():
    body = """
  if not old then
    old = request
    return ok(request, "first")
  end
  for _, use in ipairs{
    function() old:send_status(200) end, function() old:send_header("A", "b") end, function() old:send_data("x") end,
    function() old:close_after_finish() end, function() old:send_file("/dev/null") end,
  } do eq(false, (pcall(use))) end
  pcall(function() return old.body end)
  pcall(function() old:consume_input() end)
  ok(request, request.body)"""
    with served(body) as (client, _):
        client.send(request("/", "POST", "one") + request("/", "POST", "two") + request("/", "POST", "three"))
        equal([client.response().body for _ in range(3)], [b"first", b"two", b"three"], "responses")


mbtest.main()
