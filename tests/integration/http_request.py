#!/usr/bin/python3
"""moonbridge_http: what the request object says of the request's head. Each sentence of the reference on it (revision 218
and the older one) is a test. The body: http_body.py; the response: http_response.py."""

import os
import socket
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbhandler import lua
from mbhttp import PAIRS, Connection, answers, checked, replayed, request, served, shows
from mbtest import equal, test

HEADERS = ["One: 1", "TWO: a, b", "two: c", "Two: ,, \"x, y\" ,", "Empty:", "Flags: Gzip, BR ,deflate;q=0.5", "Flags: Other"]
GET = request()


# ---- the request line ----


@test("method: as it was sent")
def _():
    for method in ("GET", "POST", "OPTIONS", "DELETE", "PATCH", "get", "M-SEARCH", "X"):
        shows(request(method=method), ("request.method", f'"{method}"'))
    # A response to HEAD has no body to say so.
    checked(GET, 'eq("GET", request.method)')
    with served('eq("HEAD", request.method) ok(request)') as (client, _):
        client.send(request(method="HEAD"))
        equal(client.response("HEAD").status, 200, "HEAD")


@test("path, query, target: without the leading slash and the query; with the question mark; as sent")
def _():
    for target, path, query in (
        ("/", "", ""),
        ("/index.html", "index.html", ""),
        ("/index.html?a=b&c=d", "index.html", "?a=b&c=d"),
        ("//a", "/a", ""),
        ("/?", "", "?"),
        ("/a%2Fb%20c?%41", "a%2Fb%20c", "?%41"),
        ("http://h.example/p?q=1", "p", "?q=1"),
        ("http://h.example", "", ""),
        ("/[]?\\^`{|}%", "[]", "?\\^`{|}%"),
    ):
        checked(
            request(target),
            "\n".join(f"eq({lua(v.encode('latin-1'))}, request.{n})" for n, v in (("path", path), ("query", query), ("target", target))),
        )


@test("path and query are nil for OPTIONS * only")
def _():
    for name, want in (("path", "nil"), ("query", "nil"), ("target", '"*"'), ("get_params", "{}")):
        shows(request("*", "OPTIONS"), (f"request.{name}", want))
    shows(request("/*", "OPTIONS"), ("request.path", '"*"'), ("request.query", '""'))


@test("version is that of the request; any other 1.x counts as 1.1")
def _():
    for version, want in (("1.0", "1.0"), ("1.1", "1.1"), ("1.2", "1.1"), ("1.9", "1.1")):
        shows(request(version=version), ("request.version", f'"{want}"'))


@test("host: the authority of the request: Host's, or that of the target; '' when it is empty; nil without one in 1.0")
def _():
    for target, host, version, want in (
        ("/", "a.example", "1.1", '"a.example"'),
        ("/", "a.example:8080", "1.1", '"a.example:8080"'),
        ("/", "", "1.1", '""'),
        ("/", None, "1.0", "nil"),
        ("/", "a.example", "1.0", '"a.example"'),
        ("http://b.example:81/x", "a.example", "1.1", '"b.example:81"'),
        ("http://b.example/x", None, "1.0", '"b.example"'),
    ):
        shows(request(target, host=host, version=version), ("request.host", want))


@test("keepalive: whether the connection will be used again as things stand; false after close_after_finish")
def _():
    for version, headers, want in (
        ("1.1", [], True),
        ("1.1", ["Connection: close"], False),
        ("1.1", ["Connection: keep-alive", "Connection: close"], False),
        ("1.1", ["Connection: keep-alive"], True),
        ("1.0", [], False),
        ("1.0", ["Connection: keep-alive"], True),
        ("1.0", ["Connection: keep-alive, close"], False),
    ):
        shows(request(headers=headers, version=version), ("request.keepalive", "true" if want else "false"))
    for call in ("close_after_finish", "monologue"):
        shows(GET, ("request.keepalive", "false"), before=f"eq(true, request.keepalive) request:{call}()")


# ---- header fields ----


@test("headers: case-insensitively, a sequence of values, one for each line")
def _():
    shows(
        request(headers=HEADERS),
        ("request.headers.one", '{"1"}'),
        ("request.headers['ONE']", '{"1"}'),
        ("request.headers.two", '{"a, b","c",",, \\"x, y\\" ,"}'),
        ("request.headers.Two", '{"a, b","c",",, \\"x, y\\" ,"}'),
        ("request.headers.empty", '{""}'),
        ("request.headers.absent", "{}"),
        ("request.headers.Host", '{"a.example"}'),
    )


@test("headers_csv_string: all lines of a name, merged with commas")
def _():
    shows(
        request(headers=HEADERS),
        ("request.headers_csv_string.one", '"1"'),
        ("request.headers_csv_string.tWO", '"a, b, c, ,, \\"x, y\\" ,"'),
        ("request.headers_csv_string.empty", '""'),
        ("request.headers_csv_string.absent", '""'),
    )


@test("headers_csv_table: an entry for every value between commas; quoted strings are whole, empty elements are none")
def _():
    shows(
        request(headers=[*HEADERS, 'Q: "a\\",b", c']),
        ("request.headers_csv_table.one", '{"1"}'),
        ("request.headers_csv_table.TWO", '{"a","b","c","\\"x, y\\""}'),
        ("request.headers_csv_table.empty", "{}"),
        ("request.headers_csv_table.absent", "{}"),
        ("request.headers_csv_table.Flags", '{"Gzip","BR","deflate;q=0.5","Other"}'),
        ("#request.headers_csv_table.q", "2"),
        ("request.headers_csv_table.q[2]", '"c"'),
    )


@test("headers_flags: whether a value is among them, case-insensitively for names and values")
def _():
    shows(
        request(headers=HEADERS),
        ("request.headers_flags.flags.gzip", "true"),
        ("request.headers_flags.FLAGS.GZIP", "true"),
        ("request.headers_flags.flags.Br", "true"),
        ("request.headers_flags.flags.other", "true"),
        ("request.headers_flags.flags.nope", "false"),
        ("request.headers_flags.flags['deflate;q=0.5']", "true"),
        ("request.headers_flags.absent.gzip", "false"),
        ("request.headers_flags.two.C", "true"),
    )


@test("headers_value: the value; false with several lines; nil without one")
def _():
    shows(
        request(headers=HEADERS),
        ("request.headers_value.one", '"1"'),
        ("request.headers_value.ONE", '"1"'),
        ("request.headers_value.two", "false"),
        ("request.headers_value.empty", '""'),
        ("request.headers_value.absent", "nil"),
    )


@test("the tables of headers: pairs() gives the names in lower case; absent ones are not stored; each is made once")
def _():
    checked(
        request(headers=HEADERS),
        """
  for _, name in ipairs{"headers", "headers_csv_string", "headers_csv_table", "headers_flags", "headers_value"} do
    local t = request[name]
    local _ = t.absent, t.Absent
    eq(true, rawequal(t, request[name]))
    local names = {}
    for key in pairs(t) do names[#names + 1] = key end
    table.sort(names)
    eq({"empty", "flags", "host", "one", "two"}, names)
    eq(nil, rawget(t, "Absent"))
  end
  request.headers.absent[1] = "x"
  eq({}, request.headers.absent)
""",
    )


@test("values are trimmed of blanks, and are bytes")
def _():
    shows(
        request(headers=["A: \t x  y\t ", "B:z", "C: \xe4\xff", "D: a:b", "E: \t "]),
        ("request.headers_value.a", '"x  y"'),
        ("request.headers_value.b", '"z"'),
        ("#request.headers_value.c", "2"),
        ("request.headers_value.c:byte(1, -1)", "228"),
        ("request.headers_value.d", '"a:b"'),
        ("request.headers_value.e", '""'),
    )


# ---- parameters and cookies ----


@test("get_params, get_params_list: decoded names and values, the first value, and a sequence of all")
def _():
    for query, first, everything in (
        ("", "{}", "{}"),
        ("?a=1&b=2&a=3", '{a="1",b="2"}', '{a={"1","3"},b={"2"}}'),
        ("?a", '{a=""}', '{a={""}}'),
        ("?=b", '{[""]="b"}', '{[""]={"b"}}'),
        ("?&&a=1&&", '{a="1"}', '{a={"1"}}'),
        ("?%61%62=%63%2B%26%3d", '{ab="c+&="}', '{ab={"c+&="}}'),
    ):
        shows(request("/p" + query), ("request.get_params", first), ("request.get_params_list", everything))


@test("get_params: absent names: nil; in the list an empty table, which is not stored; there are no names of Lua's own")
def _():
    checked(
        request("/?a=1"),
        """
  eq(nil, request.get_params.b)
  eq({}, request.get_params_list.b)
  request.get_params_list.b[1] = "x"
  eq({}, request.get_params_list.b)
  local names = {}
  for name, value in pairs(request.get_params_list) do names[name] = value end
  for name, value in pairs(request.get_params) do names[name .. "1"] = value end
  eq({a = {"1"}, a1 = "1"}, names)
  for _, name in ipairs{"__index", "__gc", "__metatable", "insert"} do
    eq(nil, request.get_params[name])
    eq({}, request.get_params_list[name])
  end
""",
    )


@test("ten thousand GET parameters")
def _():
    shows(request("/?" + "a&" * 10000), ("#request.get_params_list.a", "10000"))


@test("cookies: all that the client sent")
def _():
    for headers, want in (
        ([], "{}"),
        (["Cookie: a=1"], '{a="1"}'),
        (["Cookie: a=1; b=2;c=3 ; d = 4"], '{a="1",b="2",c="3",d="4"}'),
        (["Cookie: a=1; a=2"], '{a="1"}'),
        (["Cookie: a=1", "cookie: b=2; a=3"], '{a="1",b="2"}'),
        (["Cookie: a; =b; ;; c="], '{c=""}'),
        (["Cookie: A=1; a=2"], '{A="1",a="2"}'),
        (["Cookie:"], "{}"),
    ):
        shows(request(headers=headers), ("request.cookies", want))


# ---- the object ----


@test("socket is the underlying socket: the one the handler was called with")
def _():
    head = "local http, of = require 'moonbridge_http'"
    text = f"""{head}
local serve = http.generate_handler(function(request)
  request:send_status("200 OK") request:send_data(tostring(request.socket == of)) request:finish()
end)
return function(socket) of = socket return serve(socket) end"""
    equal(answers(GET, text).body, b"true", "request.socket")


@test("socket: can be used to force a reset, which is no failure; or to close")
def _():
    for call, how in (("reset", "reset"), ("close", "eof")):
        with served(f"request.socket:{call}()", pair=PAIRS["TCP"]) as (client, _):
            client.send(GET)
            client.nothing_more(how)
    body = 'request:send_status("200 OK") request:send_data("x") request:flush() request.socket:reset()'
    with served(body, pair=PAIRS["TCP"]) as (client, _):
        client.send(GET)
        equal(client.end()[1], "reset", "after half a response")


@test("fresh: true until the request object has been used; looking at the head is no use of it")
def _():
    checked(
        request("/?a=b", headers=["Cookie: a=b"]),
        """
  local _ = request.method, request.path, request.query, request.headers.x, request.cookies.a, request.get_params.a
  _ = request.socket, request.faulty, request.keepalive, request.host, request.target, request.version
  _ = request.headers_value.x, request.headers_flags.x, request.get_params_list.a
  eq(true, request.fresh)
""",
    )
    for use in (
        'request:send_status("200 OK")',
        "local _ = request.body",
        "local _ = request.post_params",
        "local _ = request.post_params_list",
        "local _ = request.post_metadata",
        "request:consume_input()",
        'request:stream_post_param("a", print)',
        'request:stream_post_params("a", print)',
        "request:stream_request_body(print)",
        "request:stream_request_body_now(print)",
        "request:stream_request_body()",
        "request:close_after_finish()",
        "request:monologue()",
        "request:flush()",
    ):
        status = "" if "send_status" in use else 'request:send_status("200 OK")'
        answers(GET, f"eq(true, request.fresh) {use} eq(false, request.fresh) {status}")


@test("faulty: false, as long as nothing fails")
def _():
    checked(GET, "eq(false, request.faulty)")
    answers(GET, 'request:send_status("200 OK") request:send_data("x") request:finish() eq(false, request.faulty)')


@test("every member of both revisions is there; what is none is nil; a script's own fields stay")
def _():
    methods = """close_after_finish consume_input defer_reading finish finish_headers flush monologue process_request_body
      send_data send_file send_header send_status set_request_body_streamer stream_post_param stream_post_params
      stream_request_body stream_request_body_now""".split()
    checked(GET, "\n".join(f'eq("function", type(request.{name}))' for name in methods))
    for name, kind in {
        "body": "string", "cookies": "table", "faulty": "boolean", "fresh": "boolean", "get_params": "table",
        "get_params_list": "table", "headers": "table", "headers_csv_string": "table", "headers_csv_table": "table",
        "headers_flags": "table", "headers_value": "table", "host": "string", "keepalive": "boolean", "method": "string",
        "path": "string", "post_metadata": "nil", "post_metadata_list": "nil", "post_params": "table",
        "post_params_list": "table", "query": "string", "socket": "userdata", "target": "string", "version": "string",
    }.items():  # fmt: skip
        shows(GET, (f"type(request.{name})", f'"{kind}"'))
    checked(GET, "eq(nil, request.nonsense) eq(nil, request[1]) request.mine = 5 eq(5, request.mine)")


@test("process_request_body is consume_input, set_request_body_streamer is stream_request_body")
def _():
    checked(
        GET,
        """
  eq(true, request.process_request_body == request.consume_input)
  eq(true, request.set_request_body_streamer == request.stream_request_body)
""",
    )


@test("a method that is called with a dot, or without a request, is an error that says so")
def _():
    names = "close_after_finish consume_input finish finish_headers flush monologue send_data send_header send_status".split()
    names += "send_file defer_reading stream_post_param stream_request_body stream_request_body_now".split()
    checked(GET, "\n".join(f'fails({{"{n}", "request:{n}"}}, function() request.{n}("x") end)' for n in names))


# ---- requests after one another ----


@test("the next request on the connection has an object of its own: nothing is left of the one before")
def _():
    body = """
  eq(true, request.fresh)
  local all = show{request.method, request.headers_value.x or "-", request.get_params.a or "-", request.cookies.c or "-", request.body}
  ok(request, all)
"""
    first = request("/?a=1", "POST", "body", ["X: y", "Cookie: c=d"])
    with served(body) as (client, _):
        for data, want in (
            (first, b'{"POST","y","1","d","body"}'),
            (GET, b'{"GET","-","-","-",""}'),
            (first, b'{"POST","y","1","d","body"}'),
        ):
            client.send(data)
            equal(client.response().body, want, "request")


@test("pipelined requests are answered in their order, on sockets and in a replay")
def _():
    count = 200
    body = "ok(request, request.path, request.body)"
    data = b"".join(request(f"/{n}", "POST", "x" * n) if n % 2 else request(f"/{n}") for n in range(count))
    for pair in PAIRS.values():
        with served(body, pair=pair) as (client, _):
            client.send(data)
            for n in range(count):
                equal(client.response().text(), f"{n}" + "x" * n * (n % 2), f"response {n}")
    output = replayed(data, body)
    for n in range(count):
        equal(output.response().text(), f"{n}" + "x" * n * (n % 2), f"response {n} of the replay")
    output.nothing_more()


@test("the client's Connection: close ends it: what follows is not read; so does the end of its requests")
def _():
    with served('ok(request, "x")', pair=PAIRS["TCP"]) as (client, _):
        client.send(request(headers=["Connection: close"]) + GET)
        equal(client.response().closes(), True, "Connection: close")
        client.nothing_more()
    with served('ok(request, "x")') as (client, _):
        client.send(GET)
        equal(client.response().closes(), False, "Connection: close")
        client.finish()
        client.nothing_more()


@test("a connection without a request is closed without a word")
def _():
    for pair in PAIRS.values():
        with served("error()", pair=pair) as (client, _):
            client.finish()
            client.nothing_more()
    replayed(b"", "error()").nothing_more()
    with served("error()") as (client, _):
        client.send(b"\r\n\r\n")
        client.finish()
        client.nothing_more()


# ---- other handles ----


@test("a socket that moonbridge_io accepted, or connected, is served as well")
def _():
    port = mbtest.free_port()
    listens = f"""
local io_module, http = require "moonbridge_io", require "moonbridge_http"
local serve = http.generate_handler(function(request)
  request:send_status("200 OK") request:send_data("served ", request.body) request:finish()
end)
return function(socket)
  local listener = assert(io_module.tcplisten("127.0.0.1", {port}))
  socket:flush("listening\\n")
  serve(listener:accept())
end"""
    client, conn = mbtest.tcp_pair()
    with client:
        with served(listens, pair=lambda: (client, conn)) as (control, _):
            equal(control.line(), "listening", "control connection")
            exchange(socket.create_connection(("127.0.0.1", port)))
    listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        connects = f"""
local io_module, http = require "moonbridge_io", require "moonbridge_http"
local serve = http.generate_handler(function(request)
  request:send_status("200 OK") request:send_data("served ", request.body) request:finish()
end)
return function(socket) serve(assert(io_module.tcpconnect("127.0.0.1", {listener.getsockname()[1]}))) end"""
        with served(connects):
            exchange(listener.accept()[0])


def exchange(sock):
    """Two requests on this connection, and its end."""
    with Connection(sock) as client:
        for text in ("one", "two"):
            client.send(request("/", "POST", text))
            equal(client.response().text(), "served " + text, "response")
        client.finish()
        client.nothing_more()


mbtest.main()
