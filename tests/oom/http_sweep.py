#!/usr/bin/python3
"""moonbridge_http where memory runs out at every point in turn, and where a limit is met at every point: the process ends
with status 0 and the right responses; or with 70, a line about it, and what no client takes for a whole response: a part
and a reset, or a 500."""

import os
import re
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbhandler import lua
from mbhttp import Captured, Malformed, chunked, multipart, request
from mbtest import Child, check, equal, script, tcp_pair, test
from oomlib import HANDLE, HIT, LOG, POINTS_MAX, environment, note, points, report

FILE = mbtest.tmp("file")
CONTENT = bytes(range(256)) * 40
with open(FILE, "wb") as _f:
    _f.write(CONTENT)

MEMORY = 512 * 1024  # the limit of the test of garbage

# A page for each way to read and to write. A fixed date: the bytes are the same each time.
APP = script(
    f'print("script") local FILE, MEMORY = {lua(FILE)}, {MEMORY}\n'
    + r"""
local http = require "moonbridge_http"
local preload, gap = ...
if preload == "all" then
  -- What would be loaded when it is needed: one kind of each has that swept.
  for _, name in ipairs {"blocked", "body", "cjson", "closing", "headers", "json", "members", "pace", "params", "request",
    "send_file", "waiting"} do
    require("mb.http." .. name)
  end
end
local router, reply = require "mb.router", require "mb.reply"
-- What is sent before the page is called.
local STATUS = {throws = "none", refused = "none", interim = "103 Early Hints", ["route/1"] = "none", route = "none",
  json = "none"}
local pages = {}

local routes = router.new()
routes:get("/route/:id", function(request, params) reply.text(request, params.id, 200, {["X-A"] = {"b", "c"}}) end)
pages["route"], pages["route/1"] = routes, routes

function pages.page(request) request:send_data("a small page\n") end

function pages.fields(request)
  request:send_header("X-Flag", tostring(request.headers_flags.tE.TRAILERS))
  request:send_data(
    request.headers.host[1], request.headers_value["X-NAME"], request.headers_csv_string["accept"],
    #request.headers_csv_table.accept, request.cookies.b, request.get_params.q, #request.get_params_list.q, request.host
  )
end

function pages.multipart(request)
  local size, ends = 0, 0
  request:stream_post_params("^file", function(chunk)
    if chunk then size = size + #chunk else ends = ends + 1 end
  end)
  request:send_data(request.post_params.text, " ", request.post_metadata.file.file_name, " ", size, " ", ends)
end

function pages.form(request)
  request:send_data(request.post_params.a, #request.post_params_list.b, request.post_params_list.b[2])
end

function pages.body(request) request:send_data(request.body) end

function pages.json(request) reply.json(request, {got = request:json()}) end

function pages.pipe(request)
  request:send_header("Content-Length", #FILE)
  request:stream_request_body(function() end)
  request:consume_input()
  request:send_data(FILE)
end

function pages.chunks(request)
  for i = 1, 12 do
    request:send_data((("%03d\n"):format(i):rep(100)))
    if i == 6 then request:flush() end
  end
end

-- A response before the response.
function pages.interim(request)
  request:send_header("Link", "</a>")
  request:finish_headers()
  request:send_status("200 OK")
  request:send_data("behind an interim one")
end

function pages.file(request) assert(request:send_file(FILE)) end

function pages.files(request)
  request:send_data("<")
  assert(request:send_file(FILE, 0, 99))
  assert(request:send_file(FILE, 100, 199))
  request:send_data(">")
end

-- A script that goes on after errors: what a call that failed was to send is lost.
local function try(method, ...)
  local good, _, message = pcall(method, ...)
  if not good or message then io.stderr:write("lost\n") end
end

function pages.caught(request)
  for i = 1, 12 do try(request.send_data, request, (("%03d\n"):format(i):rep(100))) end
  try(request.send_file, request, FILE, 0, 99)
  try(request.send_file, request, FILE, 100, 199)
end

-- Leaves so many bytes of --memory-limit, the rest of which is garbage.
function pages.garbage(request)
  local data = ("x"):rep(3000)
  collectgarbage()
  collectgarbage("stop")
  local used = MEMORY - (gap or MEMORY)
  for i = 1, 40000 do
    if collectgarbage("count") * 1024 > used then break end
    local _ = ("g"):rep(50) .. i
  end
  request:send_data("small")
  request:send_data(data)
end

-- The body is read before a status was sent.
function pages.refused(request) return request.body end

function pages.throws() error("thrown") end

local serve = http.generate_handler({
  static_headers = {Date = "Thu, 01 Jan 1970 00:00:00 GMT"},
  minimum_output_chunk_size = 1000,
  request_body_size_limit = 20000,
  on_error = function(_, status, message) if status == 404 then return message, {["X-Error"] = "1"} end end,
}, function(request)
  local status = STATUS[request.path] or "200 OK"
  if status ~= "none" then request:send_status(status) end
  pages[request.path](request)
end)

return function(socket)
  print("begun")
  serve(socket)
end
"""
)

FORM = ["Content-Type: application/x-www-form-urlencoded"]
FIELDS = ["X-Name: name", "Accept: a, b", "Accept: c", "TE: trailers", "Cookie: a=1; b=2", "Cookie: c=3"]
UPLOAD = multipart([('name="text"', None, "value"), ('name="file"; filename="f"', "image/png", CONTENT[:5000])])
JSON = b'{"' + b"name" * 10 + b'": [1, 2.5, 1e3, null, "' + b"text" * 9 + rb'\u0041", {"long": "' + b"long" * 500 + b'"}]}'
PAGE = request("/page")

# What is sent.
KINDS = {
    "a page": PAGE,
    "two pages on one connection": PAGE + PAGE,
    "multipart with a parameter and a stream": request(
        "/multipart", "POST", UPLOAD, ["Content-Type: multipart/form-data; boundary=Bound-ary"]
    ),
    "a form": request("/form", "POST", "a=1+2&b=x&b=%41", FORM),
    "a chunked body as a string": request("/body", "POST", chunked(CONTENT, 999), ["Transfer-Encoding: chunked"]),
    "a body that is streamed": request("/pipe", "POST", CONTENT),
    "fields, cookies and the query": request("/fields?q=1&r=%20&q=2", headers=FIELDS),
    "a chunked response": request("/chunks") + PAGE,
    "an interim response": request("/interim"),
    "a file": request("/file") + PAGE,
    "files and data": request("/files") + PAGE,
    "a script that does not look at errors": request("/caught") + PAGE,
    "a route, and a path without one": request("/route/1") + request("/route"),
    "JSON that is decoded and encoded": request("/json", "POST", JSON, ["Content-Type: application/json"]) + PAGE,
    "a head that is refused": b"GET / HTTP/1.1\r\nHost: a\r\nBad field: x\r\n\r\n",
    "a body that is refused": request("/refused", "POST", b"x" * 20001),
}
# For the others, all modules are loaded before.
LAZY = (("multipart with a parameter and a stream", "once"), ("a head that is refused", "from"))


# --- One run ---


def log_text():
    return mbtest.without_ends(mbtest.read_file(LOG))


def run(data, env=(), options=(), arguments=()):
    """(status, what came, how the connection ended) of a client that sends this and no more."""
    client, conn = tcp_pair()
    env = dict(env)
    if data.startswith(b"POST /json"):  # when lua-cjson cannot be loaded for lack of memory, it loses its buffer
        env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", "")) + ":detect_leaks=0"
    with client, conn, open(LOG, "wb") as log:
        client.send(data)
        client.finish()
        argv = [HANDLE, "--log-level", "info", *options, APP, *arguments]
        child = Child(argv, {0: conn, 1: log, 2: log}, env)
        conn.close()
        came, how = client.end()
        return child.wait(), came, how


INTERIM = re.compile(rb"HTTP/1\.1 1\d\d .*?\r\n\r\n", re.DOTALL)


def boundaries(data):
    """Where the responses in these bytes begin or end, interim ones too; all are whole."""
    reader, result = Captured(data), [0]
    while reader.buffer:
        at = result[-1]
        if interim := INTERIM.match(data, at):
            result.append(interim.end())
        reader.response()
        result.append(len(data) - len(reader.buffer))
    return result


def answer(data):
    """What comes where there is enough memory: whole responses."""
    status, came, how = run(data)
    equal(how, "eof", f"end; status {status}, log: {log_text()}")
    check(len(boundaries(came)) > 1, "no response")
    return came


FAILURE = answer(request("/throws"))
check(FAILURE.startswith(b"HTTP/1.1 500 "), f"the 500: {FAILURE!r}")


def are_whole(came):
    """Whether these are two responses, each with all that its head promises."""
    try:
        with Captured(came) as responses:
            return [responses.response().status for _ in range(2)] == [200, 200]
    except Malformed:
        return False


# What the loader says when it has no memory for a module in C, and what lua-cjson says before it exits with 255.
LOADER = ("cjson, which is not found", "cannot open shared object", "cannot create shared object")
CJSON_WORDS, CJSON_STATUS = "\nOut of memory\n", 255


def fault_of(result, want):
    """What is wrong with the end of a run, or None."""
    status, came, how = result
    log = log_text()
    if status == CJSON_STATUS and CJSON_WORDS in log:
        return None if how == "reset" and want.startswith(came) else f"{how} after {mbtest.short(came)}"
    if status == 0 and "lost\n" in log and how == "eof":
        return None if are_whole(came) else f"status 0, but malformed responses: {mbtest.short(came)}"
    if status == 0:
        return None if (came, how) == (want, "eof") else f"status 0, but {how} after {mbtest.short(came)}"
    if status != 70:
        return f"status {status}"
    # A script that does not look at errors has hidden the first one.
    words = ("not enough memory", "Cannot allocate memory", "an error has left the response incomplete", *LOADER)
    if not any(word in log for word in words):
        return "status 70, but the log says nothing of memory"
    if came == want:
        return None
    # In place of one of the responses, the 500 may come.
    for at in boundaries(want)[:-1]:
        if came == want[:at] + FAILURE:
            return None
        if (want[:at] + FAILURE).startswith(came):
            break
    else:
        if not want.startswith(came):
            return f"what came is neither the responses nor a 500: {mbtest.short(came)}"
    return None if how == "reset" else f"status 70, but {how} after a part: {mbtest.short(came)}"


# --- The sweeps ---

_begins = {}


def begin(word, arguments):
    """A point shortly before the script prints this word, in allocations."""
    if (word, arguments) not in _begins:
        step = 32
        for n in range(step, POINTS_MAX, step):
            run(PAGE, environment("from", finalizers=False) | {"FAILALLOC_AT": str(n)}, arguments=arguments)
            if word in log_text():
                break
        os.unlink(HIT)
        _begins[word, arguments] = n - step
    return _begins[word, arguments]


def sweep(kind, mode, word="begun"):
    """Lets the Nth allocation fail for N = 1, 2, 3, ... until there is no Nth one; from where the handler begins, or
    the script."""
    data = KINDS[kind]
    want = answer(data)
    arguments = () if (kind, mode) in LAZY or word == "script" else ("all",)
    first = begin(word, arguments)
    env = environment(mode, finalizers=mode == "once")
    faults, failures = [], []
    for n in points(first):
        check(n < POINTS_MAX, f"N = {n}: still hit")
        result = run(data, env | {"FAILALLOC_AT": str(n)}, arguments=arguments)
        if not os.path.exists(HIT):
            equal(result[0], 0, f"N = {n}, which was not hit: status")
            check(n > first + 15, f"N = {n} was not hit: the shim does not work")
            break
        os.unlink(HIT)
        begun = "begun" in log_text()
        if begun or result[0] != 70 or result[1]:
            note(faults, f"N = {n}", fault_of(result, want))
        if begun and result[0] == 70:
            failures.append(n)
    mbtest.diagnose(f"{n - first} points, {len(failures)} with status 70")
    report(faults)


test("one allocation fails, each in turn from the script's begin on: a page")(lambda: sweep("a page", "once", "script"))

for _mode, _what in (("once", "one allocation fails"), ("from", "all from one allocation on fail")):
    for _kind in KINDS:
        test(f"{_what}, each in turn: {_kind}")(lambda kind=_kind, mode=_mode: sweep(kind, mode))

LIMIT_STEP = 512
LIMIT_MAX = 512 * 1024  # enough for each


@test("--memory-limit in steps, each kind")
def _():
    def limited(data, limit):
        result = run(data, options=[f"--memory-limit={limit}"])
        return "begun" in log_text(), result

    faults = []
    step = 16 * LIMIT_STEP
    least = next(limit for limit in range(step, LIMIT_MAX, step) if limited(PAGE, limit)[0]) - step
    for kind, data in KINDS.items():
        want = answer(data)
        for limit in points(least, LIMIT_STEP):
            check(limit < LIMIT_MAX, f"{kind}: {limit} bytes are not enough")
            begun, result = limited(data, limit)
            if not begun:
                continue
            note(faults, f"{kind}, limit {limit}", fault_of(result, want))
            if result[0] == 0:
                break
    report(faults)


@test("memory that is full of garbage is enough for a response")
def _():
    data = request("/garbage")
    want = answer(data)
    faults = []
    for gap in range(0, 64 * 1024, 1024):
        result = run(data, options=[f"--memory-limit={MEMORY}"], arguments=("all", str(gap)))
        fault = fault_of(result, want)
        note(faults, f"gap {gap}", fault or (f"status {result[0]}" if result[0] else None))
    report(faults)


mbtest.main()
