#!/usr/bin/python3
"""mb.reply, request:json and on_error: whole responses by one call, JSON in and out by Debian's lua-cjson, and what a client
gets in the place of what it has asked for."""

import json
import os
import signal
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbmanual
import mbtest
from mbhandler import lua
from mbhttp import LUA, PAIRS, Connection, answers, chunked, replayed, request, served
from mbtest import check, equal, test

GET, HEAD = request(), request(method="HEAD")
TYPE = ["Content-Type: application/json"]


def script(body, options="", before=""):
    """A script whose handler has this body, with mb.reply at hand. The body's first line is the script's second."""
    return f"""{LUA} local reply = require "mb.reply" {before} return http.generate_handler({{{options}}}, function(request)
{body}
end)
"""


def posted(data, headers=TYPE, target="/"):
    return request(target, "POST", data, list(headers))


def reply(body, data=GET, options="", **how):
    return answers(data, script(body, options), **how)


def parts(response):
    return response.status, response.value("Content-Type"), response.text()


# ---- replies ----


@test("each reply has its status, type, charset and length; the connection goes on")
def _():
    for body, want in (
        ('reply.text(request, "hé")', (200, "text/plain; charset=utf-8", "hé")),
        ("reply.text(request, 5)", (200, "text/plain; charset=utf-8", "5")),
        ('reply.text(request, "")', (200, "text/plain; charset=utf-8", "")),
        ('reply.text(request, "x", 404)', (404, "text/plain; charset=utf-8", "x")),
        ('reply.text(request, "x", "299 Mine")', (299, "text/plain; charset=utf-8", "x")),
        ('reply.text(request, "x", 599)', (599, "text/plain; charset=utf-8", "x")),
        ('reply.html(request, "<p>", nil, {["content-type"] = "text/html"})', (200, "text/html", "<p>")),
        ('reply.html(request, "<p>")', (200, "text/html; charset=utf-8", "<p>")),
        ("reply.json(request, {1, 2.5, true, 'x'})", (200, "application/json", '[1,2.5,true,"x"]')),
        ("reply.json(request, require 'cjson'.null, 201)", (201, "application/json", "null")),
        ("reply.json(request, false)", (200, "application/json", "false")),
        ("reply.no_content(request)", (204, None, "")),
        ("reply.not_modified(request)", (304, None, "")),
        ("reply.redirect(request, '/a')", (303, None, "")),
        ("reply.error(request, 404)", (404, "text/plain; charset=utf-8", "404 Not Found\n")),
        ("reply.error(request, 404, 'no such user')", (404, "text/plain; charset=utf-8", "404 Not Found: no such user\n")),
        ("reply.error(request, 499, 'x')", (499, "text/plain; charset=utf-8", "499: x\n")),
    ):
        for call in (body, "return " + body):
            response = reply(call)
            equal(parts(response), want, call)
            equal((response.framing, response.closes()), ("none" if want[0] in (204, 304) else "length", False), call)
        with served(script(body)) as (client, _):
            for method in ("HEAD", "GET"):
                client.send(request(method=method))
                response = client.response(method)
                equal(response.status, want[0], f"{method} {body}")
            check(want[0] in (204, 304) or response.length() == len(want[2].encode()), f"{body}: length")
        old = reply(body, request(version="1.0", headers=["Connection: keep-alive"]))
        equal(parts(old), want, f"HTTP/1.0: {body}")


@test("header fields of one's own, also several of a name; nothing can be carried out of them")
def _():
    response = reply('reply.text(request, "x", 200, {["Cache-Control"] = "no-store", Age = 5, ["Set-Cookie"] = {"a=1", "b=2"}})')
    equal((response.value("Cache-Control"), response.value("Age")), ("no-store", "5"), "fields")
    equal(response.values("Set-Cookie"), ["a=1", "b=2"], "a field with several lines")
    equal(reply('reply.not_modified(request, {ETag = "\\"1\\""})').value("ETag"), '"1"', "fields of a 304")
    equal(reply('reply.no_content(request, {Allow = "GET"})').value("Allow"), "GET", "fields of a 204")
    equal(reply('reply.error(request, 429, nil, {["Retry-After"] = 5})').value("Retry-After"), "5", "fields of an error")
    for target, want in (
        ("/a b", "/a%20b"),
        ("/a\r\nX: y", "/a%0D%0AX:%20y"),
        ("/ä", "/%C3%A4"),
        ("/%41?x=1&y=[2]#z", "/%41?x=1&y=[2]#z"),
        ('/"<>\\^`{|}\0', "/%22%3C%3E%5C%5E%60%7B%7C%7D%00"),
        ("https://a.example:8080/", "https://a.example:8080/"),
        ("?page=2", "?page=2"),
    ):
        equal(reply(f"reply.redirect(request, {lua(target.encode())})").value("Location"), want, target)
    for status in (301, 302, 307, 308, '"303 Over There"'):
        equal(reply(f'reply.redirect(request, "/", {status})').status, int(str(status).strip('"')[:3]), "status")


@test("a problem has the media type, status and title of RFC 9457, and members of one's own")
def _():
    for call, want in (
        ("404", {"status": 404, "title": "Not Found"}),
        ('"409 Mine"', {"status": 409, "title": "Conflict"}),
        ("404, 'no such user'", {"status": 404, "title": "Not Found", "detail": "no such user"}),
        ("499", {"status": 499}),
        ("422, {type = 'https://a.example/p', title = 'T', errors = {'a'}, status = 200}",
         {"status": 422, "type": "https://a.example/p", "title": "T", "errors": ["a"]}),
    ):  # fmt: skip
        with served(script(f"reply.problem(request, {call})")) as (client, _):  # the order of the members differs
            client.send(GET)
            response = client.response()
        equal((response.status, response.value("Content-Type")), (want["status"], "application/problem+json"), call)
        equal(json.loads(response.body), want, call)
    # The script's table stays as it is.
    with served(script("local t = {detail = 'x'} reply.problem(request, 404, t) eq({detail = 'x'}, t)")) as (client, _):
        client.send(GET)
        equal(client.response().status, 404, "table")


@test("a mistake is an error at the script's line, and nothing of a response is made: another reply can follow")
def _():
    cases = [
        ("reply.text()", "reply.text: expected a request as first argument, got nil"),
        ('reply.text("x")', "expected a request as first argument, got string"),
        ("reply.text({}, 'x')", "expected a request as first argument, got table"),
        ("reply.text(request)", "reply.text: expected a string, got nil"),
        ("reply.html(request, {})", "reply.html: expected a string, got table"),
        ("reply.text(request, 'x', 99)", "reply.text: expected a status from 200 to 599"),
        ("reply.text(request, 'x', 100)", "expected a status"),
        ("reply.text(request, 'x', 600)", "send_status: expected a status"),
        ("reply.text(request, 'x', '2000')", "expected a status"),
        ("reply.text(request, 'x', '200 a\\r\\nX: y')", "reply.text: expected a status"),
        ("reply.text(request, 'x', {})", "expected a status"),
        ("reply.text(request, 'x', 200.5)", "expected a status"),
        ("reply.text(request, 'x', 204)", "reply.text: a 204 response has no content"),
        ("reply.json(request, {}, 304)", "reply.json: a 304 response has no content"),
        ("reply.text(request, 'x', 200, 'A: b')", "expected a table of header fields, got string"),
        ("reply.text(request, 'x', 200, {'A: b'})", "expected names and values of header fields to be strings"),
        ("reply.text(request, 'x', 200, {A = true})", "expected names and values of header fields to be strings"),
        ("reply.text(request, 'x', 200, {A = {true}})", "expected names and values of header fields to be strings"),
        ("reply.text(request, 'x', 200, {A = 'b\\r\\nC: d'})", 'header field "A"'),
        ("reply.text(request, 'x', 200, {['A b'] = 'c'})", 'header field "A b"'),
        ("reply.no_content(request, {A = 'b\\n'})", "reply.no_content: header field"),
        ("reply.no_content(request, 5)", "expected a table of header fields, got number"),
        ("reply.not_modified(request, {A = 'b\\0'})", "reply.not_modified: header field"),
        ("reply.json(request)", "reply.json: expected a value, got nil"),
        ("reply.json(request, print)", "reply.json: Cannot serialise function"),
        ("reply.json(request, {1 / 0})", "reply.json: Cannot serialise number"),
        ("reply.json(request, {[1] = 1, [1000] = 1})", "reply.json: Cannot serialise table"),
        ("local t = {} t.t = t reply.json(request, t)", "reply.json: Cannot serialise"),
        ("reply.json(request, {1764574455123456})", "the number 1764574455123456 has more digits"),
        ("reply.json(request, {{a = 2 ^ 53}})", "the number 9007199254740992 has more digits"),
        ("reply.json(request, {[123456789012345] = 1})", "the number 123456789012345 has more digits"),
        ("reply.problem(request)", "reply.problem: expected the status of an error"),
        ("reply.problem(request, 200)", "reply.problem: expected the status of an error"),
        ("reply.problem(request, 404, 5)", "expected a table or a string of details"),
        ("reply.problem(request, 404, {f = print})", "reply.problem: Cannot serialise"),
        ("reply.redirect(request)", "reply.redirect: expected a URL or a path, got nil"),
        ("reply.redirect(request, '')", "an empty string"),
        ("reply.redirect(request, '/', 200)", "expected 301, 302, 303, 307 or 308, got 200"),
        ("reply.redirect(request, '/', 304)", "expected 301"),
        ("reply.redirect(request, '/', '3030')", "reply.redirect: expected a status"),
        ("reply.redirect(request, '/', 303, {A = '\\n'})", "reply.redirect: header field"),
        ("reply.error(request, 200)", "reply.error: expected a status from 400 to 599"),
        ("reply.error(request, '404')", "reply.error: expected a status from 400 to 599"),
        ("reply.error(request, 404, {})", "reply.error: expected a message"),
        ("reply.error(request, 404, nil, 5)", "reply.error: expected a table of header fields"),
        ("reply.error(request, 404, nil, {A = '\\n'})", "reply.error: header field"),
    ]
    for call, text in cases:
        response = reply(f'fails({lua(text)}, function() {call} end)\nreply.text(request, "fine")')
        equal(parts(response), (200, "text/plain; charset=utf-8", "fine"), call)
    for value, want in (("{100000000000000}", "[1e+14]"), ("{'1e+15', 12345678901234}", '["1e+15",12345678901234]'),
                        ("{1.5e300}", "[1.5e+300]"), ("{0.1}", "[0.1]")):  # fmt: skip
        equal(reply(f"reply.json(request, {value})").text(), want, value)
    # What send_status and the others find, they say of the script's line, too.
    twice = 'reply.text(request, "x") fails("send_status: the response is finished", function() reply.text(request, "y") end)'
    equal(reply(twice).text(), "x", "two replies")
    reply('return reply.text(request, "x", 99)', status=70, log=".lua:1: in the callback that begins here: reply.text: expected")


@test("without lua-cjson, or where it cannot be loaded, the error names the package; nothing else needs it")
def _():
    without = 'package.cpath = "" '
    message = "JSON needs the module cjson, which is not found: Debian has it in the package lua-cjson"
    for call in ("reply.json(request, {})", "reply.problem(request, 404)", "request:json()"):
        body = f'fails("{message}", function() {call} end) reply.text(request, "x")'
        equal(answers(GET, script(body, before=without)).text(), "x", call)
    response = answers(GET, script("reply.json(request, {})", before=without), status=70, log=message)
    equal(response.status, 500, "status")
    env = {**os.environ, "LUA_CPATH": "", "LUA_CPATH_5_3": ""}
    done = mbtest.replay(mbtest.script(script("reply.json(request, {})")), stdin=GET, env=env)
    equal(done.returncode, 70, "with an empty LUA_CPATH")
    check(message.encode() in done.stderr, done.stderr)
    # One that is broken says so by itself.
    broken = "package.preload.cjson = function() error('broken on purpose') end "
    response = answers(GET, script("reply.json(request, {})", before=broken), status=70, log="broken on purpose")
    equal(response.status, 500, "status")
    # In a sandbox it has to be there before.
    if not mbtest.is_sanitized():
        for before, status, log in (("require 'cjson' ", 0, b""), ("", 70, b"in a sandbox, require")):
            path = mbtest.script(script("reply.json(request, {})", before=before))
            done = mbtest.replay("--sandbox=strict", path, stdin=GET)
            equal(done.returncode, status, f"in a sandbox, {before!r}: {done.stderr}")
            check(log in done.stderr, done.stderr)
    # What the script sets in a cjson of its own is not for the replies, nor the other way round.
    own = "local cjson = require 'cjson' cjson.encode_invalid_numbers(true) cjson.decode_invalid_numbers(true) "
    body = "fails('Cannot serialise', function() reply.json(request, {0/0}) end) cjson.encode({0/0}) reply.text(request, 'x')"
    equal(answers(GET, script(body, before=own)).text(), "x", "settings")


# ---- the manual page ----


@test("mb.reply(3): each function has an entry, and each entry is a function; its script does what it says")
def _():
    mbmanual.check_functions("mb.reply", "reply", "json")
    displays = mbmanual.displays("mb.reply.3")
    equal(len(displays), 2, "scripts in the page")
    first, second = displays
    equal(replayed(request("/a"), first + "-- generate_handler").response().text(), '{"path":"a"}', "the first script")
    for data, status, kind, want in (
        (posted("[1, 2.5]", target="/sum"), 200, "application/json", {"sum": 3.5}),
        (posted("5", target="/sum"), 422, "application/problem+json", {"status": 422, "title": "Unprocessable Content", "detail": "expected an array"}),
        (request("/none"), 404, "application/problem+json", {"status": 404, "title": "Not Found"}),
        (b"nonsense\r\n\r\n", 400, "application/problem+json", {"status": 400}),
    ):
        response = replayed(data, second + "-- generate_handler", log=None).response()
        equal((response.status, response.value("Content-Type")), (status, kind), str(data))
        value = json.loads(response.body)
        equal({name: value[name] for name in want}, want, str(data))
    check_said = mbtest.output_of(mbtest.HANDLE, "--check", mbtest.script(second))
    check("mb-handle-static" not in check_said.split("program:")[-1].split("(")[0], f"--check: {check_said}")



# ---- request:json ----


SHOW = "local value = request:json() reply.text(request, show(value))"


@test("request:json returns the body's value, however it is framed")
def _():
    for text, want in (
        ('{"a":[1,2.5,"x",true,null]}', None),
        ("[]", "{}"),
        (' \t\r\n"x" ', '"x"'),
        ("5", "5.0"),
        ("-0.5e1", "-5.0"),
        ("false", "false"),
        ('{"a":1,"a":2}', "{a=2.0}"),
        ('"\\u00e4\\ud83d\\ude00"', None),
        ('"' + "x" * 1000 + '"', None),
        ("1e308", "1e+308"),
        ("[" * 99 + "]" * 99, None),
    ):
        whole = answers(posted(text), script(SHOW))
        equal(whole.status, 200, text[:50])
        check(want is None or whole.text() == want, f"{text}: {whole.text()}")
        for size in (1, 7):
            again = answers(request("/", "POST", chunked(text, size), [*TYPE, "Transfer-Encoding: chunked"]), script(SHOW))
            equal(again.body, whole.body, f"chunked, {text[:50]}")
    for kind in ("application/json", "Application/JSON; charset=utf-8", "application/problem+json", "application/ld+json ;x=y"):
        equal(answers(posted("1", [f"Content-Type: {kind}"]), script(SHOW)).text(), "1.0", kind)
    body = 'eq(require "cjson".null, request:json()) reply.text(request, "x")'
    equal(answers(posted("null"), script(body)).text(), "x", "null")


@test("request:json: 400 for what is not JSON, with the position; the log says it, and the exit status is 0")
def _():
    for text, where in (
        (b"", "at character 1"),
        (b"  ", "at character 3"),
        (b"[1,]", "at character 4"),
        (b"[1", "at character 3"),
        (b"{a:1}", "at character 2"),
        (b'{"a" 1}', "at character 6"),
        (b"[1] x", "at character 5"),
        (b"\xef\xbb\xbf1", "at character 1"),
        (b'"\xff"', "no UTF-8 at character 2"),
        (b'"\xed\xa0\x80"', "no UTF-8 at character 2"),
        (b'"\xc0\x80"', "no UTF-8 at character 2"),
        (b"[1]\0junk", "a control character at character 4"),
        (b'"a\0b"', "a control character at character 3"),
        (b'"a\nb"', "a control character at character 3"),
        (b"\0", "a control character at character 1"),
        (b"1\0", "a control character at character 2"),
        (b"\0001\0", "a control character at character 1"),
        (b'"\\ud800"', "at character 2"),
        (b'"\\x"', "at character 2"),
        (b"nan", "at character 1"),
        (b"-Infinity", "at character 1"),
        (b"0x10", "at character 1"),
        (b"01", "at character 1"),
        (b"1.", "a number that is none at character 1"),
        (b"[-.5]", "a number that is none at character 2"),
        (b"1e999", "too large at character 1"),
        (b"[1, -1e999]", "too large at character 5"),
        (b"7" * 400, "too large at character 1"),
        (b"[" * 101 + b"]" * 101, "at character 101"),
        (b"[" * 200000, "at character 101"),
        (b'{"a":' * 100000, "at character"),
    ):
        response = answers(posted(text), script(SHOW), log="JSON")
        equal((response.status, response.closes()), (400, True), text[:40])
        said = response.text()
        check(said.startswith("400 Bad Request: JSON: ") and where in said, f"{text[:40]}: {said}")


@test("request:json: 415 without the media type, before the body comes; 413 for more than the limit")
def _():
    for headers in ([], ["Content-Type: text/plain"], ["Content-Type: application/jsonp"], ["Content-Type: application/x+jsonx"],
                    ["Content-Type:"], ["Content-Type: json"], ["Content-Type: text/x; a=application/json"]):  # fmt: skip
        response = answers(posted("1", headers), script(SHOW), log="Content-Type" if len(headers) != 1 else "application/json")
        equal((response.status, response.closes()), (415, True), str(headers))
    for limit, size, status in (("5", 5, 200), ("5", 6, 413), ("", 1 << 20, 200), ("", (1 << 20) + 1, 413), ("0", 1, 413),
                                ("2000000", 1500000, 200), ("5.0", 5, 200)):  # fmt: skip
        body = f"local v = request:json({limit}) reply.text(request, #v)"
        text = '"' + "x" * (size - 2) + '"' if size > 1 else "1"
        log = "" if status == 200 else "more than"
        equal(answers(posted(text), script(body), log=log).status, status, f"limit {limit}, {size} bytes")
        again = request("/", "POST", chunked(text, 5000), [*TYPE, "Transfer-Encoding: chunked"])
        equal(answers(again, script(body), log=log).status, status, f"limit {limit}, {size} bytes in chunks")
    # A client that waits for a 100 hears of each of them before it sends anything; or gets its 100.
    for headers, status in ((["Content-Length: 5"], 415), ([*TYPE, "Content-Length: 2000000"], 413)):
        with served(script(SHOW), log="http") as (client, _):
            client.send(request("/", "POST", None, [*headers, "Expect: 100-continue"]))
            response = client.response()
            equal((response.status, response.interim), (status, []), str(headers))
    with served(script(SHOW)) as (client, _):
        client.send(request("/", "POST", None, [*TYPE, "Content-Length: 2", "Expect: 100-continue"]))
        equal(client.head().status, 100, "interim")
        client.send(b"42")
        equal(client.response().text(), "42.0", "behind it")


@test("request:json behind request.body, whose bytes a script may want to see first: the same answers")
def _():
    show = script("local text = request.body " + SHOW.replace("reply.text(request, ", "reply.text(request, #text .. "))
    equal(answers(posted('{"a": [1]}'), show).text(), "10{a={1.0}}", "the value")
    equal(answers(posted("1"), script("local _ = request.body eq(1.0, request:json()) " + SHOW)).text(), "1.0", "once more")
    show = show.replace("request:json()", "request:json(9)")
    for body, headers, status, log in (
        ("{", TYPE, 400, "JSON: "), (b'"\xff"', TYPE, 400, "no UTF-8"), ("1", [], 415, "Content-Type"),
        ("[1,2,3,4,5]", TYPE, 413, "more than 9 bytes"), ("[1, 2, 3]", TYPE, 200, ""),
    ):
        with mbtest.about(f"{status}"):
            equal(answers(posted(body, headers), show, log=log).status, status, "answer")


@test("reply.array: an empty array, at any depth, is []; nothing else changes")
def _():
    for value, want in (
        ("reply.array{}", "[]"), ("{}", "{}"), ("reply.array{1, reply.array{}, {}}", "[1,[],{}]"),
        ("{a = {{b = reply.array{}}}}", '{"a":[{"b":[]}]}'), ("reply.array{false, cjson.null}", "[false,null]"),
        ("reply.array(reply.array{})", "[]"), ("reply.array{a = 1}", '{"a":1}'),
    ):
        for before in ("", "local _ = reply.array{} "):
            equal(reply(f"local cjson = require 'cjson' {before}reply.json(request, {value})").text(), want, value)
    body = "local a = reply.array{} local t = {a, a} reply.problem(request, 400, {t = t}) a[1], t[3] = t, 5 assert(t[1] == a)"
    equal(json.loads(replayed(GET, script(body)).response().body)["t"], [[], []], "the tables stay as they are")
    for call, message in (
        ("reply.array()", "reply.array: expected a table without a metatable, got nil"),
        ("reply.array(setmetatable({}, {}))", "reply.array: expected a table without a metatable, got table"),
        ("local t = reply.array{} t[1], t[2], t[3] = t, t, {t, t} reply.json(request, t)", "reply.json: Cannot serialise"),
        ("local t = {reply.array{}} for _ = 1, 100 do t = {t} end reply.json(request, t)", "reply.json: Cannot serialise"),
    ):
        equal(reply(f"fails({lua(message)}, function() {call} end) reply.text(request, 'x')").text(), "x", call)
    shared = "local a, t = reply.array{}, {} for _ = 1, 15 do t = {t, a} end reply.json(request, t)"
    equal(reply(shared).text(), "[" * 15 + "{}" + ",[]]" * 15, "a table in several places")
    most = "local t = reply.array{} for _ = 1, 99 do t = {t} end reply.json(request, t)"
    equal(reply(most).text(), "[" * 100 + "]" * 100, "100 levels")


@test("reply.problems: what is refused is a problem, with the message as its detail, where that says more than the title")
def _():
    body = "if request.path == 'e' then error('x') end reply.error(request, 409, request.get_params.m)"
    handler = script(body, "on_error = reply.problems")
    for target, status, want, log in (
        ("/?m=gone+already", 409, {"title": "Conflict", "detail": "gone already"}, ""),
        ("/", 409, {"title": "Conflict"}, ""), ("/?m=Conflict", 409, {"title": "Conflict"}, ""),
        ("/e", 500, {"title": "Internal Server Error"}, None),
    ):
        response = replayed(request(target), handler, status=70 if status == 500 else 0, log=log).response()
        equal((response.status, response.value("Content-Type")), (status, "application/problem+json"), target)
        equal(json.loads(response.body), {"status": status, **want}, target)


@test("request:json, once: mistakes of the script are errors at its line")
def _():
    again = "the request body was streamed already"
    for body, text in (
        ("request:json() %s", again),
        ("request:stream_request_body_now(function() end) %s", again),
        ("request:stream_request_body(nil) %s", "json: the request body was discarded"),
        ("request:stream_request_body(function() end) %s", "json: the request body has a stream handler already"),
    ):
        body = body % f"fails({lua(text)}, function() request:json() end)"
        equal(answers(posted("1"), script(body + ' reply.text(request, "x")'), log=None).text(), "x", body)
    for call, text in (
        ("request.json()", "json: expected a request; call it as request:json(...)"),
        ("request.json({})", "json: expected a request; call it as request:json(...)"),
        ("request:json(-1)", "json: expected a number of bytes"),
        ("request:json('5')", "json: expected a number of bytes"),
        ("request:json(1.5)", "json: expected a number of bytes"),
        ("request:json({})", "json: expected a number of bytes"),
    ):
        body = f"fails({lua(text)}, function() {call} end) eq(1.0, request:json()) reply.text(request, 'x')"
        equal(answers(posted("1"), script(body)).text(), "x", call)
    body = f"request:json() fails({lua(again)}, function() local _ = request.body end) reply.text(request, 'x')"
    equal(answers(posted("1"), script(body)).text(), "x", "another reader behind it")


def alike(number, size):
    """Different texts of the same size for which Lua 5.3 computes the same hash, whatever its seed is."""
    step = (size >> 5) + 1
    text, free = bytearray(b"a" * size), [i for i in range(size) if (size - 1 - i) % step]
    for place in free:
        text[place] = 97 + number % 26
        number //= 26
    return text.decode()


@test("strings that a client has made to collide in Lua's tables are 413, and take no time; others are not")
def _():
    escaped = [alike(n, 64) for n in range(2000)]
    for value, status in (
        ({alike(n, 64): 1 for n in range(14000)}, 413),
        ([alike(n, 40) for n in range(23000)], 413),
        ([alike(n, 32) for n in range(1000)], 200),
        ([alike(n, 32) for n in range(1001)], 413),
        ([alike(7, 40)] * 20000, 200),
        ([{alike(n % 900, 64): n} for n in range(10000)], 200),
        ([alike(n, 64) for n in range(14000)], 200),  # no keys, and too long for the table of strings
        ({f"{n * 2654435761 % (1 << 256):064x}": 1 for n in range(12000)}, 200),
    ):
        text = json.dumps(value)
        response = answers(posted(text), script("request:json() reply.text(request, 'x')"), log=None)
        equal(response.status, status, text[:60])
    text = "{" + ",".join('"\\u0061%s":1' % name[1:] for name in escaped) + "}"
    check(json.loads(text) == {name: 1 for name in escaped}, "the escapes are of the same names")
    equal(answers(posted(text), script("request:json() reply.text(request, 'x')"), log=None).status, 413, "with escapes")


# ---- on_error ----

JSON = """on_error = function(request, status, message, err)
  local text = tostring(err):gsub("^[^\\n]-%.lua:%d+: ", "")
  local path = request and request.path or "?"
  return ('{"status":%d,"message":"%s","err":"%s","path":"%s"}'):format(status, message, text, path), "application/json"
end"""


def of(response):
    value = json.loads(response.body)
    return response.status, response.value("Content-Type"), value["status"], value["message"], value["err"], value["path"]


@test("on_error makes what the client gets: for refusals before and after a head, errors of the handler, and reply.error")
def _():
    kind = "application/json"
    for data, body, want, log in (
        (b"nonsense\r\n\r\n", "", (400, kind, 400, None, "nil", "?"), "http"),
        (b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n", "", (414, kind, 414, None, "nil", "?"), "http"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 70000 + b"\r\n\r\n", "", (431, kind, 431, None, "nil", "?"), "http"),
        (request("/p", "POST", b"x" * 99), "local _ = request.body", (413, kind, 413, None, "nil", "p"), "http"),
        (posted("[1,]"), "request:json()", (400, kind, 400, None, "nil", ""), "http"),
        (request("/p"), 'error("mine", 0)', (500, kind, 500, "Internal Server Error", "mine", "p"), "mine"),
        (request("/p"), "error(setmetatable({}, {__tostring = function() return 'obj' end}))",
         (500, kind, 500, "Internal Server Error", "obj", "p"), "obj"),
        (request("/p"), "", (500, kind, 500, "Internal Server Error", None, "p"), "without a response"),
        (request("/p"), "reply.error(request, 404)", (404, kind, 404, "Not Found", "nil", "p"), ""),
        (request("/p"), "reply.error(request, 409, 'taken')", (409, kind, 409, "taken", "nil", "p"), ""),
        (request("/p"), "require 'mb.router'.new()(request)", (404, kind, 404, "Not Found", "nil", "p"), ""),
    ):  # fmt: skip
        options = JSON + ", request_body_size_limit = 50"
        status = 70 if want[0] == 500 else 0
        for pair in (PAIRS["TCP"], mbtest.local_pair):
            response = answers(data, script(body, options), pair=pair, status=status, log=log)
            got = of(response)
            got = tuple(g if w is not None else None for g, w in zip(got, want))
            equal(got, want, f"{data[:40]} {body}")
            equal(response.closes(), bool(log), f"{data[:40]} {body}: ends the connection")
    response = answers(HEAD, script("error('x')", JSON), status=70, log="x")
    check(response.status == 500 and response.length() > 20 and response.body == b"", f"HEAD: {response}")
    equal(of(answers(request("/p", version="1.0"), script("reply.error(request, 404)", JSON)))[0], 404, "HTTP/1.0")


@test("on_error is asked for a 408, too")
def _():
    with served(script("", JSON + ", request_header_timeout = 0.2"), log="http") as (client, _):
        client.send(b"GET / HT")
        equal(of(client.response())[:3], (408, "application/json", 408), "a head that does not come")
    with served(script("local _ = request.body", JSON + ", stall_timeout = 0.2"), log="http") as (client, _):
        client.send(request("/p", "POST", None, ["Content-Length: 5"]))
        got = of(client.response())
        equal((got[0], got[5]), (408, "p"), "a body that does not come")


@test("on_error: behind a 404 of reply.error or a router, the connection goes on; and the hook is asked each time")
def _():
    body = "if request.path == 'x' then reply.error(request, 404) else reply.text(request, 'fine') end"
    with served(script(body, JSON)) as (client, _):
        for target, status in (("/x", 404), ("/", 200), ("/x", 404)):
            client.send(request(target, "POST", b"abc"))
            response = client.response()
            equal((response.status, response.closes()), (status, False), target)
    with served(script(body, JSON), log="http: 400") as (client, _):
        client.send(request("/x") + b"nonsense\r\n\r\n")
        equal([of(client.response())[5] for _ in range(2)], ["x", "?"], "a request that is none, behind another one")


@test("on_error: the log has the handler's error with its traceback, whether on_error fails or not")
def _():
    body = "local function inner() error('mine') end\ninner()"
    for hook in (JSON, "on_error = function() error('another') end", "on_error = function() pcall(error, 'x') end"):
        with served(script(body, hook), status=70, log=None) as (client, server):
            client.send(GET)
            client.response()
            client.finish()
            client.end()
            server.child.wait()
            log = server.rest()
        for part in (": mine\n", "stack traceback", "in local 'inner'", ": in function <"):
            check(part in log, f"{part} in {log!r}")


@test("on_error: nil is the plain text; a Content-Type, a table of fields, or neither; static_headers stay")
def _():
    for returned, want in (
        ("nil", (404, "text/plain; charset=utf-8", "404 Not Found: m\n")),
        ("", (404, "text/plain; charset=utf-8", "404 Not Found: m\n")),
        ('"b"', (404, "text/plain; charset=utf-8", "b")),
        ('""', (404, "text/plain; charset=utf-8", "")),
        ('"b", "text/html"', (404, "text/html", "b")),
        ('"b", {["content-type"] = "a/b", X = 5}', (404, "a/b", "b")),
        ('"b", {}', (404, "text/plain; charset=utf-8", "b")),
    ):
        hook = f'on_error = function() return {returned} end, static_headers = "S: t"'
        for data, body, log in ((GET, "reply.error(request, 404, 'm')", ""), (GET, "request._wire:fail('m', 404)", "http")):
            response = answers(data, script(body, hook), log=log)
            equal(parts(response), want, f"{returned} {body}")
            equal(response.value("S"), "t", f"static_headers, {returned} {body}")
            check("X =" not in returned or response.value("X") == "5", f"X, {returned} {body}")
    typed = 'static_headers = {["Content-Type"] = "a/b"}, on_error = function() return "b" end'
    for body, log in (("reply.error(request, 404)", ""), ("request._wire:fail('m', 404)", "http")):
        equal(parts(answers(GET, script(body, typed), log=log)), (404, "a/b", "b"), "a Content-Type for all responses")
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    dated = f'on_error = function() return "b", {{dAte = "{date}"}} end'
    for body, log in (("reply.error(request, 404)", ""), ("request._wire:fail('m', 404)", "http")):
        equal(answers(GET, script(body, dated), log=log).value("Date"), date, "a Date of its own is the only one")
    # The fields of a 405 are its own, whatever on_error says.
    routes = "local r = require 'mb.router'.new() r:get('/', print)"
    allow = 'on_error = function() return "b", {Allow = "X"} end'
    response = answers(request(method="PUT"), script("r(request)", allow, before=routes))
    equal(response.value("Allow"), "GET, HEAD, OPTIONS", "Allow")


@test("on_error that throws, yields, or returns what is no response: the plain text, and a line in the log")
def _():
    for hook, log in (
        ("function() error 'in the hook' end", ".lua:1: in the hook"),
        ("function() error() end", "on_error has failed for a 404: nil"),
        ("function() error {} end", "on_error has failed for a 404: table"),
        ("function() error(setmetatable({}, {__tostring = function() error 'again' end})) end", "whose __tostring fails"),
        ("function() error(setmetatable({}, {__tostring = function() return {} end})) end", "whose __tostring fails"),
        ("function() coroutine.yield() end", "outside a coroutine"),
        ("function() return 5 end", ".lua:1: on_error: expected the body, a string, or nil; got number"),
        ("function() return {} end", "on_error: expected the body, a string, or nil; got table"),
        ("function() return 'b', 5 end", "on_error: expected a Content-Type or a table of header fields; got number"),
        ("function() return 'b', {5} end", "on_error: expected names and values of header fields to be strings"),
        ("function() return 'b', {A = {}} end", "on_error: expected names and values of header fields to be strings"),
        ("function() return 'b', 'a/b\\r\\nX: y' end", 'on_error: header field "Content-Type"'),
        ("function() return 'b', {['X Y'] = 'z'} end", 'on_error: header field "X Y"'),
        ("function() return 'b', {['content-Length'] = '0'} end", "content-Length is not for scripts to set"),
        ("function() return 'b', {['Transfer-Encoding'] = 'chunked'} end", "Transfer-Encoding is not for scripts to set"),
        ("function() return 'b', {Connection = 'keep-alive'} end", "Connection is not for scripts to set"),
        ("function() return 'b', {Upgrade = 'x'} end", "Upgrade is not for scripts to set"),
        ("function() local function f() return 1 + f() end f() end", "stack overflow"),
    ):
        options = f"on_error = {hook}"
        for data, body, status, want in (
            (GET, "error 'mine'", 70, "500 Internal Server Error\n"),
            (GET, "reply.error(request, 404, 'm')", 0, "404 Not Found: m\n"),
            (b"nonsense\r\n\r\n", "", 0, "400 Bad Request: "),
        ):
            text = log.replace("404", want[:3])
            response = answers(data, script(body, options), status=status, log=text)
            equal((response.status, response.value("Content-Type")), (int(want[:3]), "text/plain; charset=utf-8"), hook)
            check(response.text().startswith(want), f"{hook}: {response.text()!r}")


@test("on_error cannot send by itself, read the body, or keep the request from its answer")
def _():
    for call in (
        'request:send_status(200)',
        'reply.text(request, "x")',
        "request:finish()",
        "request:json()",
        "request:consume_input()",
        "request:stream_request_body_now(print)",
        "request:close_after_finish()",
        "request:monologue()",
        'request:send_file("/etc/passwd")',
    ):  # fmt: skip
        hook = f"local good, why = pcall(function() {call} end) return tostring(good) .. why:match(' .*')"
        hook = f"on_error = function(request) {hook} end"
        response = answers(GET, script("reply.error(request, 404)", hook))
        said = response.text()
        check(response.status == 404 and said.startswith("false") and "faulty" in said, f"{call}: {said}")
        equal(answers(GET, script("error 'x'", hook), status=70, log="x").text()[:5], "false", f"{call} for a 500")
    hook = "on_error = function(request) return request.method .. request.headers_value.host .. (request.get_params.a or '') end"
    equal(answers(request("/?a=b"), script("reply.error(request, 404)", hook)).text(), "GETa.exampleb", "what it can read")
    # The request is as before behind it.
    body = "reply.error(request, 404) eq(false, request.faulty)"
    equal(answers(GET, script(body, "on_error = function(q) eq(true, q.faulty) return 'b' end")).text(), "b", "faulty")


@test("on_error that closes or resets the connection: nothing more is sent, and nothing breaks")
def _():
    for end in ("close", "reset"):
        hook = f"on_error = function(request) request.socket:{end}() return 'b' end"
        for body, status, log in (("error('mine', 0)", 70, "mine"), ("request._wire:fail('m', 400)", 0, "http: 400: m"),
                                  ("reply.error(request, 404)", 70, "faulty")):  # fmt: skip
            with served(script(body, hook), status=status, log=log, pair=PAIRS["TCP"]) as (client, _):
                client.send(GET)
                got = client.end()
                check(got[0] == b"" and got[1] in ("eof", "reset"), f"{end} for {body}: {got}")


@test("on_error that never ends is ended after 10 seconds, also before a head has come; the log says what took too long")
def _():
    # The clock is not waited for: the hook looks at the time that it is given.
    for data, body in ((GET, "reply.error(request, 404)"), (b"nonsense\r\n\r\n", "")):
        hook = "on_error = function() local left = timeout() return ('%.0f'):format(left) end"
        response = answers(data, script(body, hook), log=None)
        check(response.text() in ("9", "10"), f"seconds left: {response.text()}")
        # One that shortens its time is ended by it.
        hook = "on_error = function() timeout(0.1, function() while true do end end) end"
        with served(script(body, hook), status=-signal.SIGALRM, log=None) as (client, server):
            client.send(data)
            client.end()
            server.child.wait()
    # It waits, which takes no processor time; the busy one is above.
    hook = "on_error = function() while true do moonbridge_io.poll(nil, nil, 0.5) end end"
    with served(script("", hook), status=-signal.SIGALRM, log="on_error took too long") as (client, server):
        client.send(b"nonsense\r\n\r\n")
        equal(server.child.wait(10 + mbtest.DEADLINE), -signal.SIGALRM, "the end of a busy hook")


@test("on_error is not asked once something of the response has gone out")
def _():
    body = 'request:send_status(200) request:send_data("x") request:flush() error("mine")'
    with served(script(body, JSON), status=70, log="mine") as (client, _):
        client.send(GET)
        data, _ = client.end()
        check(b"200 OK" in data and b"application/json" not in data, data)


@test("with --dev a handler's error is a page for whoever writes the script, and on_error makes the other answers")
def _():
    port = mbtest.free_port()
    path = mbtest.script(script("if request.path == 'x' then reply.error(request, 404) end error 'mine'", JSON))
    server = mbtest.Process([mbtest.HANDLE, f"--serve=127.0.0.1:{port}", "--dev", path])
    mbtest.wait_listening(("127.0.0.1", port))
    for data, status, kind in (
        (request("/x"), 404, "application/json"),
        (GET, 500, "text/"),
        (b"nonsense\r\n\r\n", 400, "application/json"),
    ):
        with Connection(("127.0.0.1", port)) as client:
            client.send(data)
            response = client.response()
            equal(response.status, status, str(data))
            check(response.value("Content-Type").startswith(kind), response)
    server.stop(signal.SIGINT)


@test("options: on_error is a function, or an object that can be called; it may be false for none only by being left out")
def _():
    good = "on_error = setmetatable({}, {__call = function(_, _, status) return 'called ' .. status end})"
    equal(answers(GET, script("reply.error(request, 404)", good)).text(), "called 404", "an object")
    for value in ("5", "'x'", "{}", "false", "true"):
        done = mbtest.replay(mbtest.script(script("", f"on_error = {value}")))
        equal(done.returncode, 78, f"exit status with {value}")
        check(b"option on_error: expected a function" in done.stderr, done.stderr)


@test("a replay has the same answers")
def _():
    equal(parts(replayed(posted("[1]"), script(SHOW)).response("POST")), (200, "text/plain; charset=utf-8", "{1.0}"), "JSON")


mbtest.main()
