#!/usr/bin/python3
"""moonbridge_http: the functions of the module, and the options of generate_handler, which are checked when the handler is
made. Reference: "HTTP module"."""

import os
import re
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbhandler import lua
from mbhttp import answers, chunked, multipart, replayed, request, served, source
from mbtest import check, equal, test

GET = request()


def output(text, env=None):
    """What a script's handler writes, without HTTP: text is that of the handler, in which "say" writes a line."""
    say = "local function say(...) socket:write(...) socket:write('\\n') end"
    path = mbtest.script(f"return function(socket) {say}\n{text}\nend\n")
    environ = {n: v for n, v in os.environ.items() if n not in ("LUA_PATH", "LUA_PATH_5_3", "LUA_INIT")}
    environ.update(env or {})
    done = mbtest.replay(path, env=environ)
    equal((done.returncode, done.stderr.decode(errors="replace")), (0, ""), "exit status and log")
    return done.stdout


# ---- the module ----


@test("nothing of it is loaded before it is required; loaded, it is a table of five functions, and no global")
def _():
    equal(
        output(
            """
  local before = {}
  for name in pairs(_G) do before[name] = true end
  for name in pairs(package.loaded) do assert(not name:find("http"), name) end
  local http = require "moonbridge_http"
  local names = {}
  for name, value in pairs(http) do names[#names + 1] = name .. " " .. type(value) end
  table.sort(names)
  say(table.concat(names, ", "))
  assert(http == require "moonbridge_http")
  for name in pairs(_G) do assert(before[name], name) end
"""
        ),
        b"decode_path function, decode_uri function, encode_html function, encode_uri function, generate_handler function\n",
        "the module",
    )


@test("the embedded modules win over files of the same name; a user's own modules are found as before")
def _():
    here = mbtest.tmp("modules", "moonbridge_http.lua")
    mbtest.write_file(here, 'error("the file was loaded")\n')
    mbtest.write_file(mbtest.tmp("modules", "mb", "http", "handler.lua"), 'error("the file was loaded")\n')
    mbtest.write_file(mbtest.tmp("modules", "mine.lua"), 'return "mine"\n')
    mbtest.write_file(mbtest.tmp("modules", "mb", "mine.lua"), 'return "mine in mb"\n')
    env = {"LUA_PATH": os.path.join(os.path.dirname(here), "?.lua")}
    text = """
  local http = require "moonbridge_http"
  http.generate_handler(print)
  say(require "mine", ", ", require "mb.mine")
"""
    equal(output(text, env), b"mine, mine in mb\n", "the user's modules")
    text = """
  package.preload.moonbridge_http = function(name, more) return name .. " " .. tostring(more) end
  say(require "moonbridge_http")
"""
    equal(output(text), b"moonbridge_http nil\n", "package.preload wins over both")


@test("decode_path: a plus is one; strict: nil where a NUL or a slash would come of it")
def _():
    cases = (
        (b"a+b%2Bc%2bd", b"a+b+c+d"),
        (b"%4g%%41%zz%", b"%4g%A%zz%"),
        (b"/a/b%2Fc%00", b"/a/b/c\0", None),
        (b"%2f", b"/", None),
        (b"a\0b", b"a\0b", None),
        (b"/a//b/%C3%A4", b"/a//b/\xc3\xa4"),
        (b"%252F", b"%2F"),
        (b"", b""),
        (b"%2F" * 3000, b"/" * 3000, None),
    )
    text = 'local http, r = require "moonbridge_http", {}\n'
    want = []
    for argument, plain, *strict in cases:
        for more, expected in (("", plain), (", false", plain), (", true", strict[0] if strict else plain)):
            text += f"r[#r + 1] = http.decode_path({lua(argument)}{more}) or 'nil'\n"
            want.append(b"nil" if expected is None else expected)
    equal(output(text + 'say(table.concat(r, "\\n"))'), b"\n".join(want) + b"\n", "decoded")
    for bad in ("", "nil", "{}"):
        wrong = f'say(pcall(require "moonbridge_http".decode_path{f"({bad})" if bad else ""}) and "" or "error")'
        if bad:
            wrong = f'say(pcall(function() return (require "moonbridge_http".decode_path({bad})) end) and "" or "error")'
        equal(output(wrong), b"error\n", f"decode_path({bad})")


@test("encode_uri, decode_uri, encode_html")
def _():
    every = bytes(range(256))
    unreserved = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    encoded = b"".join(bytes([c]) if c in unreserved else b"%%%02X" % c for c in every)
    references = {b"&": b"&amp;", b"<": b"&lt;", b">": b"&gt;", b'"': b"&quot;", b"'": b"&#39;"}
    html = b"".join(references.get(bytes([c]), bytes([c])) for c in every)
    for call, argument, want in (
        ("encode_uri", every, encoded),
        ("decode_uri", encoded, every),
        ("encode_uri", b"", b""),
        ("decode_uri", b"a+b%2Bc%2bd", b"a b+c+d"),
        ("decode_uri", b"%", b"%"),
        ("decode_uri", b"%4", b"%4"),
        ("decode_uri", b"%4g%%41%zz%", b"%4g%A%zz%"),
        ("decode_uri", b"%00%FF", b"\0\xff"),
        ("encode_html", every, html),
        ("encode_html", b"", b""),
        ("encode_html", b"&amp;", b"&amp;amp;"),
    ):
        equal(output(f'say(require "moonbridge_http".{call}({lua(argument)}))'), want + b"\n", f"{call} {argument!r}")
    equal(
        output('local http = require "moonbridge_http" say(pcall(http.encode_html) and "" or "error")'), b"error\n", "no argument"
    )


# ---- generate_handler ----


@test("generate_handler(callback), (callback, options), (options, callback), (callback, nil): functions that serve")
def _():
    one = "function(request) ok(request, request.headers_value.host) end"
    head = source("").partition("return http.generate_handler")[0]
    for arguments in (one, f"{one}, {{}}", f"{{}}, {one}", f"{one}, nil", f"{one}, {{chunk_size = 5}}"):
        response = answers(GET, f"{head} return http.generate_handler({arguments})")
        equal((response.status, response.body), (200, b"a.example"), arguments)


@test("its result is a connect handler for listen{} too, and for a socket that a handler was called with")
def _():
    head = source("").partition("return http.generate_handler")[0]
    one = 'http.generate_handler(function(request) ok(request, "served") end)'
    for text in (f"listen{{connect = {one}}}", f"local serve = {one} return function(socket) return serve(socket) end"):
        equal(answers(GET, f"{head} {text}").body, b"served", text)


@test("the callback gets the request as its only argument")
def _():
    head = source("").partition("return http.generate_handler")[0]
    text = head + 'return http.generate_handler(function(...) eq(1, select("#", ...)) ok(..., "one") end)'
    equal(answers(GET, text).body, b"one", "answer")


def refusals(*cases):
    """generate_handler with these arguments throws an error with these texts in it, at the script's line."""
    text = 'local http, f = require "moonbridge_http", function() end\n'
    for arguments, _ in cases:
        text += f"say(select(2, pcall(function() http.generate_handler({arguments}) end)) or 'no error')\n"
    lines = output(text).decode().splitlines()
    for number, ((arguments, parts), line) in enumerate(zip(cases, lines, strict=True), 3):
        for part in (parts,) if isinstance(parts, str) else parts:
            check(part in line, f"generate_handler({arguments}): {line!r}, expected {part!r} in it")
        check(f".lua:{number}: " in line, f"the error points at line {number}: {line!r}")


@test("generate_handler without a function, or with other arguments, is an error")
def _():
    refusals(*((a, "generate_handler") for a in ("", "nil", "{}", "{}, {}", "1", "f, 1", "f, true", "1, f", "f, f", "nil, f")))
    refusals(("http, f", "with a dot"), ("http, f, {}", "with a dot"))


LIMITS = ("request_body_size_limit", "body_size_limit", "request_header_size_limit", "header_size_limit")
OR_FALSE = (*LIMITS[:2], "request_form_size_limit")
SIZES = ("chunk_size", "maximum_input_chunk_size", "minimum_output_chunk_size")
TIMEOUTS = ("idle_timeout", "request_header_timeout", "stall_timeout", "response_timeout", "drain_timeout")


@test("an unknown option, or one of the wrong type or out of range, is an error that names it")
def _():
    cases = [("f, {nonsense = 1}", "nonsense"), ("f, {chunksize = 1}", "chunksize"), ("f, {1}", "option")]
    for name in LIMITS + SIZES + OR_FALSE[2:]:
        cases += [(f"f, {{{name} = {v}}}", name) for v in ('"5"', "true", "{}", "1.5", "-1", "f", "1/0", "0/0", "1e30")]
    for name in TIMEOUTS:
        cases += [(f"f, {{{name} = {v}}}", name) for v in ('"5"', "true", "{}", "-1", "0", "-0.5", "0/0", "f")]
    cases += [(f"f, {{{name} = {v}}}", name) for name in LIMITS[2:] for v in ("false", "0", "63", "16777217")]
    cases += [(f"f, {{{name} = {v}}}", name) for name in SIZES[:2] for v in ("false", "0")]
    cases += [("f, {minimum_output_chunk_size = false}", "minimum_output_chunk_size")]
    cases += [("{idle_timeout = 0}, f", "idle_timeout")]
    refusals(*cases)


@test("an error about an option's value ends with what the option is for, as its row says")
def _():
    text = """
  local http, core = require "moonbridge_http", require "mb.http.core"
  for name, row in pairs(core.option_rows()) do
    local text = core.option_text(name)
    assert(#text > 20 and #text < 64, name)
    local bad = row.type == "function" and 5 or print
    for _, spelling in ipairs{name, row.older} do
      local done, wrong = pcall(http.generate_handler, {[spelling] = bad}, print)
      assert(not done and wrong:find("option " .. spelling .. ": expected ", 1, true), wrong)
      assert(wrong:sub(-#name - #text - 5) == " (" .. name .. ": " .. text .. ")", wrong)
    end
  end
  assert(not core.option_text("nonsense"))
"""
    equal(output(text), b"", "output")
    refusals(
        ("f, {stall_timeout = 0}", "or false, got 0 (stall_timeout: seconds in which no byte comes or goes)"),
        ("f, {body_size_limit = -1}", "got -1 (request_body_size_limit: the most bytes of a request body)"),
        ("f, {static_headers = 5}", "a string or a table (static_headers: header fields for every response)"),
    )


@test("options in range are taken, at both ends")
def _():
    good = [f"{name} = {v}" for name in OR_FALSE for v in ("0", "1", "false", "math.maxinteger", "5.0")]
    good += [f"{name} = {v}" for name in LIMITS[2:] for v in ("64", "16777216", "8192")]
    good += [f"{name} = {v}" for name in SIZES for v in ("1", "65536")] + ["minimum_output_chunk_size = 0"]
    good += [f"{name} = {v}" for name in TIMEOUTS for v in ("0.001", "5", "false", "1e9")]
    text = 'local http, f = require "moonbridge_http", function() end\n'
    output(text + "".join(f"http.generate_handler({{{option}}}, f)\n" for option in good))


@test("an option with its older spelling: an error, unless they are equal")
def _():
    for new, old in (LIMITS[:2], LIMITS[2:]):
        refusals((f"f, {{{new} = 1000, {old} = 1001}}", (new, old)))
        output(f'require "moonbridge_http".generate_handler(print, {{{new} = 1000, {old} = 1000}})')
    refusals(("f, {request_body_size_limit = false, body_size_limit = 5}", "request_body_size_limit"))
    refusals(("f, {request_body_size_limit = 5, body_size_limit = false}", "request_body_size_limit"))


@test("later changes of the table of options have no effect")
def _():
    head = source("").partition("return http.generate_handler")[0]
    text = f"""{head}
local options = {{static_headers = {{"A: b"}}}}
local serve = http.generate_handler(options, function(request) ok(request, "x") end)
options.static_headers[1], options.idle_timeout = "A: c", "x"
return serve
"""
    equal(answers(GET, text).value("A"), "b", "A")


# ---- what they do ----


@test("request_body_size_limit: that many bytes of content, whatever the framing adds; more is 413; false: no limit")
def _():
    body = "ok(request, #request.body)"
    for name in LIMITS[:2]:
        for data in (request("/", "POST", b"x" * 100), request("/", "POST", chunked(b"x" * 100, 1), ["Transfer-Encoding: chunked"])):
            equal(answers(data, body, f"{name} = 100").body, b"100", f"{name} as large as the body")
            response = answers(data, body, f"{name} = 99", log="too large")
            equal((response.status, response.closes()), (413, True), f"{name} smaller than the body")
    equal(answers(request("/", "POST", b""), body, "request_body_size_limit = 0").body, b"0", "limit 0")
    equal(answers(request("/", "POST", b"x"), body, "request_body_size_limit = 0", log="too large").status, 413, "limit 0")
    large = request("/", "POST", b"x" * (65 << 20))
    equal(replayed(large, body, log="too large").response().status, 413, "more than the default")
    equal(replayed(large, body, "request_body_size_limit = false").response().body, b"%d" % (65 << 20), "no limit")
    at_limit = request("/", "POST", b"x" * (64 << 20))
    equal(replayed(at_limit, body).response().body, b"%d" % (64 << 20), "the default limit")


def form_of(*parts):
    return multipart(parts), ["Content-Type: multipart/form-data; boundary=Bound-ary"]


def held_against(limit, script, body, headers, status):
    """A form is answered with this status under a limit of its own, with its length said before and not."""
    for data in (request("/", "POST", body, headers), request("/", "POST", chunked(body, 50), [*headers, "Transfer-Encoding: chunked"])):
        for consume in ("local _ = request.post_params", "request:consume_input()"):
            option = "" if limit is None else f"request_form_size_limit = {limit}"
            log = "" if status == 200 else "request_form_size_limit"
            response = answers(data, f'{script} {consume} ok(request, "kept")', option, log=log)
            equal(response.status, status, f"{limit} for {mbtest.short(body)} and {script!r}")


@test("request_form_size_limit: what is kept of a form, whatever the body may have; more is 413; false: no limit; 1 MiB")
def _():
    urlencoded = ["Content-Type: application/x-www-form-urlencoded"]
    for script, body, headers, kept in (
        # Names and values; file names and types, also of parts whose content is streamed; all of what is urlencoded.
        ("", *form_of(('name="ab"', None, "c" * 98)), 100),
        ("", *form_of(('name="a"', None, "c" * 49), ('name="b"', None, "c" * 49)), 100),
        ("", *form_of(('name="a"; filename="1234567"', "text/x", "c" * 86)), 100),
        ('request:stream_post_param("f", function() end)',
         *form_of(('name="f"; filename="12"', "abc", "x" * 5000), ('name="a"', None, "c" * 93)), 100),
        ('request:stream_post_params("^f", function() end)', *form_of(('name="f"', None, "x" * 5000)), 1),
        ("", b"a=" + b"%41" * 32 + b"&b", urlencoded, 100),
        ('request:stream_post_params("", function() end)', b"a=" + b"%41" * 32 + b"&b", urlencoded, 100),
        ("", *form_of(('name="a"', None, "c" * 99999), ('name="b"', None, "c" * 99999)), 200000),
        ("", b"a=" + b"c" * 199998, urlencoded, 200000),
    ):  # fmt: skip
        held_against(kept, script, body, headers, 200)
        held_against(kept - 1, script, body, headers, 413)
        held_against("false", script, body, headers, 200)
    at_default = (1 << 20) - 2
    for more, status in ((0, 200), (1, 413)):
        held_against(None, "", b"a=" + b"c" * (at_default + more), urlencoded, status)
        held_against(None, "", *form_of(('name="ab"', None, "c" * (at_default + more))), status)
    # Nothing else is held against it.
    large = request("/", "POST", b"a=" + b"c" * (2 << 20), urlencoded)
    for script in ("eq((2 << 20) + 2, #request.body)", "request:stream_request_body_now(function() end)", "request:stream_request_body()"):
        equal(answers(large, script + ' ok(request, "")').status, 200, script)


@test("a form that says that it is larger than request_form_size_limit is refused before it comes")
def _():
    body = "ok(request, request.post_params.a)"
    for headers in (["101"], ["101", "Expect: 100-continue"], ["101, 0101"], ["101", "Content-Length: 101"]):
        lines = ["Content-Type: application/x-www-form-urlencoded", "Content-Length: " + headers[0], *headers[1:]]
        with served(body, "request_form_size_limit = 100", log="request_form_size_limit") as (client, _):
            client.send(request("/", "POST", None, lines))
            equal(client.response().status, 413, "status")


@test("the limit counts when the body is wanted: a handler that does not read it may answer by itself")
def _():
    response = answers(request("/", "POST", b"x" * 100), 'ok(request, "mine")', "body_size_limit = 10")
    equal((response.status, response.body), (200, b"mine"), "response")


@test("request_header_size_limit: a head of that size is taken, a larger one is 431, a longer request line 414")
def _():
    for name in LIMITS[2:]:
        data = request("/", headers=["A: " + "x" * 200])
        equal(answers(data, 'ok(request, "x")', f"{name} = {len(data)}").status, 200, "head as large as the limit")
        equal(answers(data, 'ok(request, "x")', f"{name} = {len(data) - 1}", log="http").status, 431, "larger head")
        equal(answers(request("/" + "x" * 200), 'ok(request, "x")', f"{name} = 100", log="http").status, 414, "request line")


@test("maximum_input_chunk_size, or chunk_size: no piece of a body or of a field is larger")
def _():
    data = bytes(range(256)) * 40
    stream = """
  local most, all = 0, {}
  local function take(chunk) if chunk then most = math.max(most, #chunk) all[#all + 1] = chunk end end
"""
    result = "eq(true, most <= 1000) eq(true, most > 0) ok(request, table.concat(all))"
    form = request("/", "POST", multipart([('name="f"', None, data)]), ["Content-Type: multipart/form-data; boundary=Bound-ary"])
    urlencoded = request("/", "POST", b"f=" + data.hex().encode(), ["Content-Type: application/x-www-form-urlencoded"])
    for options in ("maximum_input_chunk_size = 1000", "chunk_size = 1000", "chunk_size = 5000, maximum_input_chunk_size = 1000"):
        raw = stream + "request:stream_request_body_now(take)" + result
        equal(answers(request("/", "POST", data), raw, options).body, data, f"body, {options}")
        post = stream + 'request:stream_post_param("f", take) request:consume_input()' + result
        equal(answers(form, post, options).body, data, f"multipart, {options}")
        equal(answers(urlencoded, post, options).body, data.hex().encode(), f"urlencoded, {options}")


@test("minimum_output_chunk_size, or chunk_size: smaller pieces are sent together, larger ones at once; 16384 by default")
def _():
    def chunks(options, *sizes):
        body = 'request:send_status("200 OK")\n' + "".join(f'request:send_data(("x"):rep({size}))\n' for size in sizes)
        return [len(chunk) for chunk in answers(GET, body, options).chunks]

    for options in ("minimum_output_chunk_size = 100", "chunk_size = 100", "chunk_size = 9, minimum_output_chunk_size = 100"):
        equal(chunks(options, 60, 60, 10, 10, 100, 5), [120, 120, 5], options)
        equal(chunks(options, 99), [], f"{options}: no chunks, but a length")
        equal(chunks(options, 100), [100], options)
    equal(chunks("", 10000, 6383), [], "16383 bytes by default")
    equal(chunks("", 10000, 6384, 7), [16384, 7], "16384 bytes by default")
    equal(chunks("minimum_output_chunk_size = 0", 1, 2, 0, 3), [1, 2, 3], "0")


# ---- static_headers ----

STATIC = {
    'a string': '"A: b\\r\\nC: d e\\r\\n"',
    "a string with LF": '"A: b\\nC: d e"',
    "a string with empty lines": '"\\r\\n\\nA: b\\r\\n\\r\\n\\nC: d e\\n\\n"',
    "a string with space around values": '"A:b\\r\\nC: \\t d e \\t"',
    "a sequence of strings": '{"A: b", "C: d e"}',
    "a sequence of pairs": '{{"A", "b"}, {"C", "d e"}}',
    "a map": '{A = "b", C = "d e"}',
}


@test("static_headers in all forms: in every response, refusals, errors and interim ones too")
def _():
    for form, value in STATIC.items():
        options = f"static_headers = {value}"
        equal(mine(answers(GET, 'ok(request, "x")', options)), [("A", "b"), ("C", "d e")], form)
        equal(mine(answers(b"nonsense\r\n\r\n", "", options, log="http")), [("A", "b"), ("C", "d e")], f"{form}: a refusal")
        equal(mine(answers(GET, "error()", options, status=70, log="traceback")), [("A", "b"), ("C", "d e")], f"{form}: 500")
        body = 'request:send_status("103 Early Hints") request:finish_headers() ok(request, "x")'
        response = answers(GET, body, options)
        equal(mine(response), [("A", "b"), ("C", "d e")], form)
        with served(body, options) as (client, _):
            client.send(GET)
            equal([mine(r) for r in client.response().interim], [[("A", "b"), ("C", "d e")]], f"{form}: the interim response")
        with served("ok(request, request.body)", options) as (client, _):
            client.send(request(method="POST", headers=["Expect: 100-continue", "Content-Length: 1"]))
            interim = client.head()
            equal((interim.status, mine(interim)), (100, [("A", "b"), ("C", "d e")]), f"{form}: the 100")
            client.send(b"x")
            equal(client.response().status, 200, f"{form}: behind the 100")


def mine(response):
    """The fields of a response that are neither ours nor of the framing."""
    return [h for h in response.headers if h[0] not in ("Date", "Content-Length", "Connection", "Content-Type")]


@test("static_headers: several of a name, numbers as values of a map, an empty value, none at all")
def _():
    for value, want in (
        ('"A: 1\\r\\nA: 2"', [("A", "1"), ("A", "2")]),
        ('{"A: 1", "A: 2"}', [("A", "1"), ("A", "2")]),
        ('{{"A", "1"}, {"A", "2"}}', [("A", "1"), ("A", "2")]),
        ('{A = 5, B = 1.5}', [("A", "5"), ("B", "1.5")]),
        ('"A:"', [("A", "")]),
        ('{A = ""}', [("A", "")]),
        ('"A: b: c"', [("A", "b: c")]),
        ('""', []),
        ("{}", []),
    ):
        equal(mine(answers(GET, 'ok(request, "x")', f"static_headers = {value}")), want, value)


@test("static_headers: a Content-Type is for responses that have none; all else of them stays, in its order")
def _():
    given = "Content-Type-X: 1\\nconTENT-type: a/b\\nX: Content-Type: 3\\nZ: 4"
    options = f'static_headers = "{given}", on_error = function(_, _, message) if message == "mine" then return "x", "e/f" end end'
    stay = [("Content-Type-X", "1"), ("X", "Content-Type: 3"), ("Z", "4")]
    reply = 'require "mb.reply".'
    for data, body, log, types in (
        (GET, 'request:send_status(200) request:send_data("x")', "", ["a/b"]),
        (GET, 'request:send_status(200) request:send_header("A", "B") request:send_header("content-TYPE", "e/f")', "", ["e/f"]),
        (GET, f"{reply}json(request, 1)", "", ["application/json"]),
        (GET, f"{reply}text(request, 'x', 200, {{['Content-Type'] = 'e/f'}})", "", ["e/f"]),
        (GET, f"{reply}no_content(request)", "", ["a/b"]),
        (GET, f"{reply}error(request, 404)", "", ["a/b"]),
        (GET, f"{reply}error(request, 404, 'mine')", "", ["e/f"]),
        (GET, "request._wire:fail('mine', 400)", "http", ["e/f"]),
        (GET, "request._wire:fail('m', 400)", "http", ["a/b"]),
    ):
        response = answers(data, body, options, log=log)
        equal(response.values("Content-Type"), types, body)
        names = [name for name, _ in stay]
        equal([(n, v) for n, v in response.headers if n in names], stay, f"the others: {body}")
    early = 'request:send_status(103) request:send_status(200) request:send_header("Content-Type", "e/f")'
    response = answers(GET, early, options)
    equal((response.values("Content-Type"), len(response.interim)), (["e/f"], 1), "behind an interim response")


@test("static_headers: a Date of their own is the only one")
def _():
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    for name in ("Date", "dAtE"):
        for data, body, status, log in ((GET, 'ok(request, "x")', 200, ""), (b"nonsense\r\n\r\n", "", 400, "http")):
            response = answers(data, body, f'static_headers = "{name}: {date}"', log=log)
            equal((response.status, response.value("Date")), (status, date), name)


@test("an error in the options names the script, also where the call is the script's last, and what there is")
def _():
    path = mbtest.script('return require "moonbridge_http".generate_handler(print, {body_limit = 3})')
    done = mbtest.replay(path)
    equal(done.returncode, 78, "exit status")
    log = done.stderr.decode()
    check(log.startswith(f"mb-handle: {path}: generate_handler: there is no option body_limit: expected chunk_size, "), log)
    equal(log.count("\n"), 1, "lines: a traceback of C and tail calls says nothing")
    callback = "local http = require 'moonbridge_http'\nlocal function page() end\nreturn http.generate_handler"
    for arguments, place in (
        ("(page, {body_limit = 3})", ":2: for the callback that begins here: generate_handler: there is no option body_limit: "),
        ("({body_limit = 3}, page)", ":2: for the callback that begins here: generate_handler: there is no option body_limit: "),
        ("(page, 5)", ":2: for the callback that begins here: generate_handler: expected a table of options, got number\n"),
        ("(5)", ": generate_handler: expected a function (and a table of options), got number\n"),
        ("{connect = page}", ": generate_handler: expected a function (and a table of options), got table\n"),
        ("(page, {body_limit = 3}), 1", ":3: generate_handler: there is no option body_limit: "),
    ):
        path = mbtest.script(callback + arguments)
        log = mbtest.replay(path).stderr.decode()
        check(log.startswith(f"mb-handle: {path}{place}"), f"{arguments}: {log!r}, expected {place!r}")


@test("static_headers: what is no header, or not theirs to set, is an error that names the option")
def _():
    wrong = ['"A"', '"A b: c"', '" A: b"', '"A : b"', '": b"', '"A: b\\rC: d"', '"A: \\0"', '"A: b\\r\\n C: d"', "5", "true", "print"]
    wrong += ['{"A"}', '{"A: b\\r\\nC: d"}', '{"A: b\\nC: d"}', "{5}", "{true}", '{""}']
    wrong += ['{{"A"}}', "{{}}", '{{"A b", "c"}}', '{{"A", "b\\n"}}', '{{"A", {}}}', '{{5, "A"}}', '{{"A", "b", "c"}}']
    wrong += ['{["A b"] = "c"}', '{A = "b\\r\\nC: d"}', '{A = "b\\n"}', '{A = "\\0"}', "{A = true}", "{A = {}}"]
    wrong += ['{[""] = "b"}', '{[true] = "x"}']
    for name in ("Content-Length", "content-length", "Transfer-Encoding", "TRANSFER-ENCODING", "Connection", "connection"):
        wrong += [f'"{name}: 1"', f'{{"{name}: 1"}}', f'{{{{"{name}", "1"}}}}', f'{{["{name}"] = "1"}}']
    wrong += ['"Upgrade: h2c"', '{upgrade = "h2c"}']
    refusals(*((f"f, {{static_headers = {value}}}", "static_headers") for value in wrong))
    for value in ('"B: c\\nA: \\0"', '{["A"] = "\\0"}', '{{"B", "c"}, {"A", "\\0"}}'):
        refusals((f"f, {{static_headers = {value}}}", ('static_headers: "A": ', "control characters")))


@test("the manual has every option with its older spelling, its default and its range, and no other option")
def _():
    text = """
  local core = require "mb.http.core"
  local defaults = core.options()
  for name, row in pairs(core.option_rows()) do
    say(table.concat({name, row.type, row.least, row.most, math.tointeger(defaults[name]) or "none", row.older or "none"}, " "))
  end
"""
    rows = {line.split()[0]: line.split()[1:] for line in output(text).decode().splitlines()}
    check(len(rows) > 10, f"the rows: {rows}")
    page = mbtest.read_file(os.path.join(mbtest.SRCDIR, "docs", "moonbridge_http.3"))
    section = re.search(r"(?s)\n\.Sh OPTIONS\n(.*?)\n\.Sh ", page)[1]
    entries = dict(re.findall(r"(?ms)^\.It Va (\S+)\n(.*?)(?=^\.It |^\.El$)", section))
    older = {m[1]: name for name, entry in entries.items() if (m := re.match(r"Older spelling of\n\.Va (\S+) \.\n$", entry))}
    equal(older, {name: row[4] for name, row in rows.items() if row[4] != "none"}, "the older spellings")
    equal(sorted(set(entries) - set(older.values())), sorted(rows), "the options in the manual, and those that there are")
    for name, (kind, least, most, default, _) in rows.items():
        entry = " ".join(entries[name].split())
        equal("The default is " in entry, default.isdigit(), f"{name}: has a default")
        check(not default.isdigit() or f"The default is {default}" in entry, f"{name}: the default {default} in {entry!r}")
        if kind == "integer":
            check(f", from {least} to {most}." in entry, f"{name}: from {least} to {most} in {entry!r}")


mbtest.main()
