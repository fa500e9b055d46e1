#!/usr/bin/python3
"""moonbridge_http: the request body as a string, as a form, and streamed; what excludes what. Each sentence of the
reference on it (revision 218 and the older one) is a test. Reading and writing at once: http_both_ways.py; Expect:
http_expect.py."""

import os
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbhandler import lua
from mbhttp import PAIRS, answers, checked, chunked, multipart, request, served, shows
from mbtest import equal, test

GET = request()
CHUNKED = ["Transfer-Encoding: chunked"]
URLENCODED = ["Content-Type: application/x-www-form-urlencoded"]
MULTIPART = ["Content-Type: multipart/form-data; boundary=Bound-ary"]


def form(data, headers=()):
    return request("/", "POST", data, [*URLENCODED, *headers])


def parts(*which, headers=()):
    return request("/", "POST", multipart(which), [*MULTIPART, *headers])


FORM = form("a=1&b=2&a=3")
PARTS = parts(
    ('name="a"', None, "1"), ('name="file"; filename="x.txt"', "text/plain", "first"), ('name="a"', "text/html", "2"),
    ('name="file"; filename="y.bin"', "application/x", "second"), ('name="empty"; filename=""', "application/octet-stream", ""),
)  # fmt: skip
# A stream handler that notes its calls, each with its arguments.
NOTE = """
  local calls = {}
  local function note(...)
    local call = table.pack(...)
    call.n = nil
    for i = 1, select("#", ...) do if call[i] == nil then call[i] = "nil" end end
    if #call > 1 then eq(call[2], call[3]) end -- metadata, which comes a second time as third argument
    call[3] = nil
    calls[#calls + 1] = call
  end
"""


# ---- body ----


@test("body: the request body without headers, as a string; '' when there is none; the same when asked again")
def _():
    every = bytes(range(256)) * 300
    for data, size in (
        (GET, 0),
        (request("/", "POST", ""), 0),
        (request("/", "POST", every), len(every)),
        (request("/", "PUT", chunked(every, 1000), CHUNKED), len(every)),
        (request("/", "GET", every), len(every)),
        (request("/", "POST", chunked("", 1), CHUNKED), 0),
        (form("a=1&b"), 5),
    ):
        body = "local first = request.body eq(true, rawequal(first, request.body)) ok(request, first)"
        equal(answers(data, body).body, every if size == len(every) else b"a=1&b"[:size], f"a body of {size} bytes")


READ = "request body was read as request.body"
OTHER_WAYS = {
    "post_params": "local _ = request.post_params",
    "post_params_list": "local _ = request.post_params_list",
    "post_metadata": "local _ = request.post_metadata",
    "post_metadata_list": "local _ = request.post_metadata_list",
    "stream_request_body": "request:stream_request_body(print)",
    "stream_request_body_now": "request:stream_request_body_now(print)",
    "stream_post_param": 'request:stream_post_param("x", print)',
    "stream_post_params": 'request:stream_post_params("x", print)',
}


@test("after body, the parameters and streaming are errors, which say so and point at the script's line")
def _():
    for data in (FORM, PARTS, GET, request("/", "POST", "x")):
        for name, use in OTHER_WAYS.items():
            checked(data, f'local _ = request.body fails({{"{name}: ", "{READ}"}}, function() {use} end)')


@test("after the parameters, consume_input or a stream, body is an error")
def _():
    for use in (
        "local _ = request.post_params",
        "local _ = request.post_params_list",
        "local _ = request.post_metadata",
        "request:consume_input()",
        "request:process_request_body()",
        "request:stream_request_body_now(function() end)",
        "request:stream_request_body()",
        "request:stream_request_body_now()",
    ):
        for data in (FORM, PARTS, request("/", "POST", "x")):
            checked(data, f'{use} fails("body: ", function() local _ = request.body end)')


@test("after the body was processed, no stream handler can be registered; other ways to read it are errors")
def _():
    for name, use in OTHER_WAYS.items():
        if name.startswith("stream"):
            checked(FORM, f'request:consume_input() fails("{name}: ", function() {use} end)')
            checked(FORM, f'local _ = request.post_params fails("{name}: ", function() {use} end)')
    checked(FORM, 'request:stream_request_body_now(function() end) fails("post_params: ", function() return request.post_params.x end)')


# ---- forms ----


@test("post_params, post_params_list of urlencoded forms, by length and chunked, whatever the method")
def _():
    for data, first, everything in (
        ("", "{}", "{}"),
        ("a=1&b=2&a=3", '{a="1",b="2"}', '{a={"1","3"},b={"2"}}'),
        ("a", '{a=""}', '{a={""}}'),
        ("a+b=c+d&%41=%2B", '{A="+",["a b"]="c d"}', '{A={"+"},["a b"]={"c d"}}'),
        ("a=1\r\n", '{a="1\\13\\n"}', '{a={"1\\13\\n"}}'),
    ):
        want = (("request.post_params", first), ("request.post_params_list", everything), ("request.post_metadata", "nil"))
        shows(form(data), *want)
        shows(form(chunked(data, 1), CHUNKED), *want)
        shows(request("/", "PUT", data, ["Content-Type: Application/X-WWW-Form-urlencoded;charset=UTF-8"]), *want)


@test("post_params of multipart forms; post_metadata and its list: file_name and content_type, as sent")
def _():
    want = (
        ("request.post_params", '{a="1",empty="",file="first"}'),
        ("request.post_params_list", '{a={"1","2"},empty={""},file={"first","second"}}'),
        ("request.post_metadata.file", '{content_type="text/plain",file_name="x.txt"}'),
        ("request.post_metadata.a", "{}"),
        ("request.post_metadata.empty", '{content_type="application/octet-stream",file_name=""}'),
        ("request.post_metadata.absent", "nil"),
        (
            "request.post_metadata_list.file",
            '{{content_type="text/plain",file_name="x.txt"},{content_type="application/x",file_name="y.bin"}}',
        ),
        ("request.post_metadata_list.a", '{{},{content_type="text/html"}}'),
        ("request.post_metadata_list.absent", "{}"),
    )
    shows(PARTS, *want)
    shows(PARTS, *reversed(want))
    body = PARTS.partition(b"\r\n\r\n")[2]
    shows(request("/", "POST", chunked(body, 1), [*MULTIPART, *CHUNKED]), *want)


@test("the tables of parameters: an absent name is nil, in the list an empty table that is not stored; pairs() works")
def _():
    for data in (FORM, PARTS, GET):
        checked(
            data,
            """
  eq(nil, request.post_params.absent)
  eq({}, request.post_params_list.absent)
  request.post_params_list.absent[1] = "x"
  eq({}, request.post_params_list.absent)
  for name, values in pairs(request.post_params_list) do eq(values[1], request.post_params[name]) end
  for name, value in pairs(request.post_params) do eq(value, request.post_params_list[name][1]) end
  eq(true, rawequal(request.post_params, request.post_params))
  eq(true, rawequal(request.post_params_list, request.post_params_list))
""",
        )


@test("without a form in the body, the tables are empty, and there is no metadata; the body is gone")
def _():
    for data in (GET, request("/", "POST", "a=1"), request("/", "POST", "a=1", ["Content-Type: text/plain"])):
        for before in ("", "request:consume_input()"):
            shows(
                data,
                ("request.post_params", "{}"),
                ("request.post_params_list", "{}"),
                ("request.post_metadata", "nil"),
                ("request.post_metadata_list", "nil"),
                before=before,
            )


@test("consume_input is done once: again it does nothing")
def _():
    checked(
        FORM,
        """
  local calls = 0
  request:stream_post_param("a", function() calls = calls + 1 end)
  request:consume_input()
  eq(4, calls)
  request:consume_input() request:process_request_body()
  local _ = request.post_params
  eq(4, calls)
""",
    )


# ---- stream handlers of fields ----


@test("stream_post_param: first (chunk, metadata, metadata), then (chunk), at the end (); chunks are not empty")
def _():
    data = parts(('name="f"; filename="n"', "text/x", "0123456789" * 3), ('name="other"', None, "1"))
    shows(
        data,
        ("calls", '{{"0123456789",{content_type="text/x",field_name="f",file_name="n"}},{"0123456789"},{"0123456789"},{}}'),
        ("calls[1][2].field_name", '"f"'),
        ("#calls[4]", "0"),
        before=NOTE
        + """
  local all, sizes, metas, ends = "", {}, {}, 0
  request:stream_post_param("f", function(...)
    local n = select("#", ...)
    local chunk, meta = ...
    if n == 0 then ends = ends + 1 return end
    eq(0, ends) -- nothing comes after the end
    if meta then metas[#metas + 1] = meta eq(3, n) eq(meta, (select(3, ...))) eq("", all) else eq(1, n) eq(true, #chunk > 0) end
    all = all .. chunk
  end)
  request:consume_input()
  eq(("0123456789"):rep(3), all) eq(1, #metas) eq(1, ends)
  -- Where the pieces are cut is not laid down but for their greatest size.
  for at = 1, #all, 10 do if at == 1 then note(all:sub(1, 10), metas[1], metas[1]) else note(all:sub(at, at + 9)) end end
  note()
""",
        options="chunk_size = 10",
    )


@test("stream_post_param of an empty file: ('', metadata, metadata), then ()")
def _():
    shows(
        parts(('name="f"; filename=""', "application/octet-stream", "")),
        ("calls", '{{"",{content_type="application/octet-stream",field_name="f",file_name=""}},{}}'),
        before=NOTE + 'request:stream_post_param("f", note) request:consume_input()',
    )
    shows(
        form("f=&g=1"),
        ("calls", '{{"",{field_name="f"}},{}}'),
        before=NOTE + 'request:stream_post_param("f", note) request:consume_input()',
    )


@test("several values of one field are streamed after one another, each with its metadata")
def _():
    shows(
        PARTS,
        ("calls", '{{"first",{content_type="text/plain",field_name="file",file_name="x.txt"}},{},'
         '{"second",{content_type="application/x",field_name="file",file_name="y.bin"}},{}}'),
        before=NOTE + 'request:stream_post_param("file", note) request:consume_input()',
    )  # fmt: skip
    shows(
        FORM,
        ("calls", '{{"1",{field_name="a"}},{},{"3",{field_name="a"}},{}}'),
        before=NOTE + 'request:stream_post_param("a", note) request:consume_input()',
    )


@test("fields with a stream handler are not in post_params, but their metadata is in post_metadata")
def _():
    for consume in ("", "request:consume_input()"):
        shows(
            PARTS,
            ("request.post_params", '{a="1",empty=""}'),
            ("request.post_params_list", '{a={"1","2"},empty={""}}'),
            ("request.post_metadata.file", '{content_type="text/plain",file_name="x.txt"}'),
            ("#request.post_metadata_list.file", "2"),
            ("#calls", "4"),
            before=NOTE + f'request:stream_post_param("file", note) {consume}',
        )
        shows(FORM, ("request.post_params", '{b="2"}'), before=NOTE + f'request:stream_post_param("a", note) {consume}')


@test("stream_post_params: a Lua string pattern for several names; the exact name goes first, then patterns in their order")
def _():
    data = parts(*((f'name="{n}"', None, n) for n in ("file_1", "file_12", "xfile_1", "file_x", "exact_1")))
    shows(
        data,
        ("seen", '{"digits file_1","digits file_12","any xfile_1","any file_x","exact exact_1"}'),
        ("request.post_params", "{}"),
        before="""
  local seen = {}
  local function see(who) return function(chunk, meta) if chunk then seen[#seen + 1] = who .. " " .. meta.field_name end end end
  request:stream_post_params("^file_[0-9]+$", see "digits")
  request:stream_post_params("_", see "any")
  request:stream_post_params("^exact", see "never")
  request:stream_post_param("exact_1", see "exact")
  request:consume_input()
""",
    )
    checked(data, 'request:stream_post_param("file_.", error) eq("file_1", request.post_params.file_1)')


@test("registering: a name twice, a bad pattern, no function, no string are errors at the script's line; nothing is changed")
def _():
    checked(
        FORM,
        """
  local calls = 0
  local function count() calls = calls + 1 end
  request:stream_post_param("a", count)
  fails({"stream_post_param", "a"}, function() request:stream_post_param("a", error) end)
  fails("stream_post_params: ", function() request:stream_post_params("[", error) end)
  fails("stream_post_params: ", function() request:stream_post_params("%", error) end)
  fails("stream_post_param: ", function() request:stream_post_param("b") end)
  fails("stream_post_param: ", function() request:stream_post_param("b", "x") end)
  fails("stream_post_param: ", function() request:stream_post_param(nil, error) end)
  fails("stream_post_param: ", function() request:stream_post_param({}, error) end)
  fails("stream_post_params: ", function() request:stream_post_params(nil, error) end)
  fails("stream_request_body: ", function() request:stream_request_body(5) end)
  fails("stream_request_body_now: ", function() request:stream_request_body_now(5) end)
  eq({b = "2"}, request.post_params)
  eq(4, calls)
""",
    )


@test("a malformed pattern is an error when it is registered, also where matching would not get to the mistake")
def _():
    wrong = ("^file[", "x[^]", "x[]", "x[%]", "x[a-%", "x(", "x(a)(", "x)", "x(a))", "x%", "x%b", "x%bx", "x%f", "x%fa", "x%1", "x%0",
             "x(%1)", "x(a)%2", "x" + "()" * 33, "a?" * 191)  # fmt: skip
    good = ("", "^", "$", "^$", "x^", "[]]", "[^]]", "[%]]", "[[]", "[a-]", "[%a_]+", "(a)%1", "((a)b)%2%1", "()x", "%bxy", "%f[%w]x",
            "%%", "%]", "%[", "x-", "^file_%d+$", ".", "[^%s]", "%(%)", "x" + "()" * 32, "a?" * 190)  # fmt: skip
    calls = [f'fails({{"stream_post_params: malformed pattern", {lua(p)}}}, function() request:stream_post_params({lua(p)}, error) end)'
             for p in wrong]  # fmt: skip
    calls += [f"request:stream_post_params({lua(p)}, print)" for p in good]
    checked(FORM, "\n".join(calls) + " request:stream_request_body()")


@test("a pattern that we call malformed is the only one that Lua may refuse, and the others match the same: by chance")
def _():
    body = """
  local pattern_of = require "mb.http.core".pattern
  local pieces = {"^", "$", "(", ")", "()", "[", "]", "[^", "-", "%", "%%", "%b", "%f", "%f[", "%1", "%2", "%0", "%a", ".", "*", "a", "b",
    "+", "?", "(", ")", "(", ")", "a", "b", "[ab]", "%A", "%bab", "(a*)", "[^%a]", "[+--]", "%z", "%W"}
  local subjects = {"", "a", "ab", "aab", "(a)", "[b]", "%", "a]b", "abab", "aaabab", "b-a,b", "\\0a", "aabb[aabb"}
  local state, good, bad, matches = 1, 0, 0, 0
  local function random(n) state = (state * 1103515245 + 12345) % 2147483648 return state // 65536 % n + 1 end
  for _ = 1, 60000 do
    local pattern = ""
    for _ = 1, random(7) do pattern = pattern .. pieces[random(#pieces)] end
    local find = pattern_of(pattern)
    if find then good = good + 1 else bad = bad + 1 end
    for _, subject in ipairs(subjects) do
      local done, at = pcall(string.find, subject, pattern)
      if find and not done then error(("%q: %s"):format(pattern, at)) end
      if find and find(subject, 100000) ~= (at ~= nil) then error(("%q in %q: %s"):format(pattern, subject, at)) end
      if find and at then matches = matches + 1 end
    end
  end
  eq(true, good > 10000 and bad > 10000 and matches > 10000)"""
    checked(GET, body)


@test("a field that is not there, or a body that is no form: its stream handler is not called")
def _():
    for data in (PARTS, FORM, GET, request("/", "POST", "x=1")):
        checked(data, 'request:stream_post_param("x", error) request:consume_input()')


@test("an error that a stream handler throws is the script's, with a traceback that leads to its line")
def _():
    for register in ('request:stream_post_param("a", f)', 'request:stream_post_params("a", f)', "request:stream_request_body(f)"):
        body = f'local function f() error("thrown") end {register}\nrequest:consume_input()'
        for data in (FORM, PARTS):
            equal(answers(data, body, status=70, log="thrown").status, 500, register)
    body = 'request:stream_request_body_now(function()\nerror("thrown") end)'
    equal(answers(FORM, body, status=70, log=".lua:3: thrown").status, 500, "stream_request_body_now")


# ---- the whole body, streamed ----

STREAMED = """
  local all, calls, last = "", 0, "none"
  local function take(...)
    calls, last = calls + 1, select("#", ...) > 0 and (...) or nil
    if ... then eq(true, #... > 0) all = all .. ... end
  end
"""


@test("stream_request_body: each chunk, and nil at the end, when consume_input is called; not before")
def _():
    data = bytes(range(256)) * 300
    for body in (request("/", "POST", data), request("/", "POST", chunked(data, 77), CHUNKED)):
        for call in ("stream_request_body", "set_request_body_streamer"):
            response = answers(body, STREAMED + f'request:{call}(take) eq(0, calls) request:consume_input() eq(nil, last) ok(request, all)')
            equal(response.body, data, call)
    for body in (FORM, PARTS):
        checked(body, STREAMED + 'request:stream_request_body(take) request:consume_input() eq({}, request.post_params) eq(true, #all > 0)')
    checked(GET, STREAMED + 'request:stream_request_body(take) request:consume_input() eq(1, calls) eq(nil, last) eq("", all)')


@test("stream_request_body_now: each chunk, at once; returns at the end, and the end is no call")
def _():
    data = bytes(range(256)) * 300
    for body in (request("/", "POST", data), request("/", "POST", chunked(data, 77), CHUNKED)):
        response = answers(body, STREAMED + 'request:stream_request_body_now(take) eq("string", type(last)) ok(request, all)')
        equal(response.body, data, "body")
    checked(GET, STREAMED + 'request:stream_request_body_now(take) eq(0, calls) eq("none", last)')
    checked(request("/", "POST", ""), STREAMED + "request:stream_request_body_now(take) eq(0, calls)")


@test("stream_request_body: once; with stream handlers of fields, either way round, it is an error")
def _():
    checked(
        FORM,
        """
  request:stream_request_body(function() end)
  fails("stream_request_body: ", function() request:stream_request_body(function() end) end)
  fails("stream_post_param: ", function() request:stream_post_param("a", function() end) end)
  fails("stream_post_params: ", function() request:stream_post_params("a", function() end) end)
  request:consume_input()
""",
    )
    checked(
        FORM,
        """
  request:stream_post_param("a", function() end)
  fails("stream_request_body: ", function() request:stream_request_body(function() end) end)
  request:consume_input()
""",
    )


@test("stream_request_body(nil), stream_request_body_now(nil): discard the body; allowed also after it was read or processed")
def _():
    for call in ("request:stream_request_body(nil)", "request:stream_request_body()", "request:stream_request_body_now(nil)"):
        for data in (FORM, PARTS, GET, request("/", "POST", chunked("x" * 100000, 999), CHUNKED)):
            checked(data, f"{call} {call}")
            checked(data, f"local body = request.body {call} eq(body, request.body)")
            checked(data, f"local params = request.post_params {call} eq(params, request.post_params)")
            checked(data, f"request:consume_input() {call}")
        with served(f'{call} ok(request, request.path)') as (client, _):
            client.send(request("/1", "POST", "x" * 500000) + request("/2"))
            equal([client.response().body, client.response().body], [b"1", b"2"], "the next request after the body")


@test("stream_request_body(nil) has read all when it returns: it waits for the client")
def _():
    with served('request:stream_request_body() print("read") ok(request, "x")') as (client, server):
        client.send(request("/", "POST", None, ["Content-Length: 10"]) + b"12345")
        server.asleep()
        equal(server.silent(), True, "it waits")
        client.send(b"67890")
        server.says("read")
        equal(client.response().status, 200, "status")


@test("defer_reading is accepted and has no effect")
def _():
    for data in (FORM, PARTS):
        checked(data, 'request:defer_reading() eq("1", request.post_params.a) request:defer_reading()')
    checked(FORM, 'request:defer_reading() eq("a=1&b=2&a=3", request.body)')


@test("a stream handler may send the response, and read nothing else of the body meanwhile")
def _():
    for register in ('request:stream_post_param("a", f)', "request:stream_request_body(f)"):
        body = f"""
  request:send_status("200 OK")
  local function f(chunk)
    fails("body", function() local _ = request.body end)
    fails("consume_input: ", function() request:consume_input() end)
    fails("stream_request_body_now: ", function() request:stream_request_body_now(print) end)
    fails("stream_post_param: ", function() request:stream_post_param("b", print) end)
    request:send_data(chunk or "|")
  end
  {register}
  request:consume_input()"""
        equal(answers(FORM, body).body, b"1|3|" if "param" in register else b"a=1&b=2&a=3|", register)


@test("monologue in a stream handler: what follows is dropped, and no handler is called with it, nor told of an end")
def _():
    parts = [('name="f"; filename="x"', "text/plain", "A" * 500), ('name="secret"', None, "first half second half"), ('name="o"', None, "2")]
    form = multipart(parts)
    for register, length, got in (
        ('request:stream_post_param("f", take) request:consume_input()', len(form), b"A"),
        ("request:stream_request_body(take) request:consume_input()", len(form), b"-"),
        ("request:stream_request_body_now(take)", len(form), b"-"),
    ):
        body = f"""
  local pieces = {{}}
  local function take(chunk)
    if #pieces == 0 then request:monologue() end
    pieces[#pieces + 1] = chunk and chunk:sub(1, 1) or "<end>"
  end
  {register}
  fails({{"post_params", "discarded"}}, function() local _ = request.post_params end)
  fails({{"body", "discarded"}}, function() local _ = request.body end)
  request:consume_input()
  ok(request, table.concat(pieces))"""
        with served(body, "maximum_input_chunk_size = 80") as (client, server):
            client.send(request("/", "POST", None, [*MULTIPART, f"Content-Length: {length}"]) + form[:640])
            server.asleep()
            client.send(form[640:] + GET)
            response = client.response()
            equal((response.body, response.closes()), (got, True), register)
            client.nothing_more()


@test("monologue in a stream handler is its last call: of a value that is read at once, of an empty part; monologue may be called again")
def _():
    empty = multipart([('name="a"; filename=""', "text/plain", ""), ('name="b"', None, "2")])
    for data, got in (
        (FORM, b"1"),
        (request("/", "POST", empty, MULTIPART), b""),
    ):
        body = """
  local all = {}
  local function take(chunk) request:monologue() request:monologue() all[#all + 1] = chunk or "<end>" end
  request:stream_post_params("^[ab]$", take)
  request:consume_input()
  ok(request, table.concat(all))"""
        equal(answers(data, body).body, got, "what was streamed")
    checked(GET, "request:monologue() request:monologue() eq({}, request.post_params)")
    checked(FORM, 'request:consume_input() request:monologue() request:monologue() eq("2", request.post_params.b)')
    checked(FORM, 'request:monologue() fails({"post_params", "discarded"}, function() local _ = request.post_params end)')


@test("a stream handler that resets or closes the connection ends the callback; that is no error")
def _():
    for end in ("reset", "close"):
        for register in (
            'request:stream_post_param("a", f) request:consume_input()',
            "request:stream_request_body(f) request:consume_input()",
            "request:stream_request_body_now(f)",
        ):
            body = f'local function f() request.socket:{end}() end {register} error("not ended")'
            with served(body, pair=PAIRS["TCP"], log="http: the script has ended the connection in POST /") as (client, _):
                client.send(FORM)
                equal(client.end(), (b"", "reset" if end == "reset" else "eof"), f"{end} in {register}")


@test("a body that nobody asks for is passed over: the next request is found behind it")
def _():
    data = "".join(f"{n:08d}" for n in range(20000))
    for body in (request("/", "POST", data), request("/", "POST", chunked(data, 1234), CHUNKED), FORM, PARTS):
        for use in ("", "request:stream_request_body(print)", 'request:stream_post_param("a", print)'):
            for pair in PAIRS.values():
                with served(f"{use} ok(request, request.method)", pair=pair, log=None) as (client, _):
                    client.send(body + GET)
                    equal([client.response().body, client.response().body], [b"POST", b"GET"], "responses")


mbtest.main()
