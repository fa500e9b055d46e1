#!/usr/bin/python3
"""mb.router: which handler a request gets, with which parameters; what there is no route for; and mistakes in routes, which
are errors of the script when it is loaded."""

import os
import random
import re
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbmanual
import mbtest
from mbhandler import lua
from mbhttp import LUA, answers, replayed, request, served
from mbtest import check, equal, test

GET = request()


def router(routes, options="", after=""):
    """A script: `routes` adds to r, and may use shown(name), a handler that answers with its name and parameters."""
    return f"""{LUA} local router = require "mb.router" local r = router.new()
local function shown(name) return function(request, params) ok(request, name, " ", show(params)) end end
{routes}
{after}
return http.generate_handler(r, {{{options}}})
"""


def get(script, *targets, method="GET"):
    """What the script answers to each target: the body of a 200, or the status. All go over one connection."""
    result = []
    with served(script, log=None) as (client, _):
        for target in targets:
            client.send(request(target, method))
            response = client.response(method)
            result.append(response.text() if response.status == 200 else response.status)
    return result


def same(script, *cases, method="GET"):
    got = get(script, *(target for target, _ in cases), method=method)
    for (target, want), answer in zip(cases, got, strict=True):
        equal(answer, want, f"{method} {target}")


# ---- finding ----


@test("a route gets its requests: fixed text before a parameter, a parameter before the rest; each with what it stands for")
def _():
    script = router(
        """
r:get("/", shown "root")
r:get("/users", shown "users")
r:get("/users/", shown "slash")
r:get("/users/me", shown "me")
r:get("/users/:id", shown "user")
r:get("/users/:id/posts/:post", shown "post")
r:get("/users/me/posts/new", shown "new")
r:get("/files/*path", shown "files")
r:get("/files/fixed", shown "fixed")
r:get("/files/:one/two", shown "two")
r:get("/a%20b/%C3%A4", shown "escaped")
r:get("/+", shown "plus")
r:get("/p%2541", shown "percent")
"""
    )
    same(
        script,
        ("/", "root {}"),
        ("/?q=1", "root {}"),
        ("/users", "users {}"),
        ("/users/", "slash {}"),
        ("/users/me", "me {}"),
        ("/users/%6de", "me {}"),
        ("/users/Me", 'user {id="Me"}'),
        ("/users/42", 'user {id="42"}'),
        ("/users/a%20b+c%C3%A4", 'user {id="a b+cä"}'),
        ("/users/:id", 'user {id=":id"}'),
        ("/users/%25", 'user {id="%"}'),
        ("/users/7/posts/8", 'post {id="7",post="8"}'),
        ("/users/me/posts/8", 'post {id="me",post="8"}'),
        ("/users/me/posts/new", "new {}"),
        ("/users/7/posts/", 404),
        ("/users/7/posts", 404),
        ("/users//posts/8", 404),
        ("/users/7/", 404),
        ("/files", 404),
        ("/files/", 'files {path=""}'),
        ("/files/a", 'files {path="a"}'),
        ("/files/a/b/c/", 'files {path="a/b/c/"}'),
        ("/files/a//b", 'files {path="a//b"}'),
        ("/files//etc/passwd", 404),
        ("/files//", 404),
        ("/files/fixed", "fixed {}"),
        ("/files/fixed/two", 'two {one="fixed"}'),
        ("/files/fixed/three", 'files {path="fixed/three"}'),
        ("/files/x/two/three", 'files {path="x/two/three"}'),
        ("/a%20b/%C3%A4", "escaped {}"),
        ("/a%20b/%c3%a4", "escaped {}"),
        ("/a+b/%C3%A4", 404),
        ("/+", "plus {}"),
        ("/%2B", "plus {}"),
        ("/%20", 404),
        ("/p%2541", "percent {}"),
        ("/p%41", 404),
        ("//", 404),
        ("//users", 404),
        ("http://a.example/users?x", "users {}"),
        ("http://a.example", "root {}"),
        ("/nothing", 404),
        ("/users.json", 404),
    )


# RFC 3986, section 5.4, as raw targets: what a client sends that does not resolve references, or wants to get out.
TRAVERSALS = """/.. /. /../ /./ /../g /./g /b/../g /b/c/.. /b/c/. /b/c/../ /b/c/./ /b/c/../.. /b/c/../../g /b/c/../../../g
/../../../../etc/passwd /b/./g/. /b/g/./h /b/g/../h /b/%2e%2e/g /b/%2E./g /b/.%2e /%2e /b/%2e/ /b/g%2f..%2fh /b/%2F /b/a%00
/b/%00 /b/..%2f..%2fetc /b/%2e%2e%2fetc""".split()
HARMLESS = """/g. /.g /g.. /..g /... /b/..g/h /b/g;x=1/h /b/..;/g /b/%2e%2e%2e /b/.%20. /b/%252e%252e/g /b/%c0%ae%c0%ae
/b/..%5c..%5cetc /b/.;x""".split()


@test("dot segments, encoded slashes and NULs are 400 wherever they stand; what only looks like them is a name")
def _():
    script = router('r:any("/*all", shown "all")')
    same(script, *((target, 400) for target in TRAVERSALS))
    for target, got in zip(HARMLESS, get(script, *HARMLESS), strict=True):
        check(str(got).startswith("all {all="), f"{target}: {got}")
    # Also for a router that has no such route, and a mounted one.
    same(router('r:get("/b/:x/h", shown "h")'), ("/b/../h", 400), ("/b/%2e%2e/h", 400), ("/b/x/h", 'h {x="x"}'))
    same(router('local s = router.new() s:get("/:x", shown "s") r:mount("/m", s)'), ("/m/..", 400), ("/m/%2e%2E", 400))
    same(router('r:mount("/m", function(request, params) ok(request, params.path) end)'),
         ("/m/../x", 400), ("/m/a/b", "a/b"), ("/m/", ""), ("/m//etc/passwd", 404), ("/m", 404))  # fmt: skip


@test("methods: HEAD from GET, any for the rest, 405 with Allow, OPTIONS answered; other places of the tree count")
def _():
    script = router(
        """
r:get("/a", shown "get")
r:post("/a", shown "post")
r:get("/any", shown "get")
r:any("/any", shown "any")
r:head("/h", function(request) request:send_status(200) request:send_header("X", "head") end)
r:get("/h", shown "get")
r:options("/o", shown "options")
r:put("/x/y", shown "fixed")
r:delete("/x/:id", shown "param")
r:patch("/x/*all", shown "rest")
r:on("PROPFIND", "/dav", shown "dav")
"""
    )
    for method, target, status, allow in (
        ("GET", "/a", 200, None),
        ("HEAD", "/a", 200, None),
        ("POST", "/a", 200, None),
        ("PUT", "/a", 405, "GET, HEAD, OPTIONS, POST"),
        ("get", "/a", 405, "GET, HEAD, OPTIONS, POST"),
        ("*", "/a", 405, "GET, HEAD, OPTIONS, POST"),
        ("OPTIONS", "/a", 204, "GET, HEAD, OPTIONS, POST"),
        ("OPTIONS", "/none", 404, None),
        ("OPTIONS", "*", 204, None),
        ("OPTIONS", "/o", 200, None),
        ("GET", "/o", 405, "OPTIONS"),
        ("HEAD", "/o", 405, "OPTIONS"),
        ("PUT", "/x/y", 200, None),
        ("DELETE", "/x/y", 200, None),
        ("PATCH", "/x/y", 200, None),
        ("GET", "/x/y", 405, "DELETE, OPTIONS, PATCH, PUT"),
        ("GET", "/x/z", 405, "DELETE, OPTIONS, PATCH"),
        ("PROPFIND", "/dav", 200, None),
        ("GET", "/dav", 405, "OPTIONS, PROPFIND"),
        ("BREW", "/any", 200, None),
        ("OPTIONS", "/any", 200, None),
        ("POST", "/none", 404, None),
    ):
        response = answers(request(target, method), script, log=None)
        equal((response.status, response.value("Allow")), (status, allow), f"{method} {target}")
        check(response.status != 405 or response.framing in ("length", "none"), f"{method} {target}: {response}")
    equal(answers(request("/h", "HEAD"), script).value("X"), "head", "a HEAD route of its own")
    equal(answers(request("/any", "BREW"), script).text(), "any {}", "any other method")
    equal(answers(request("/any", "HEAD"), script).length(), len("get {}"), "HEAD is GET before it is any")
    equal(answers(request("/x/y", "DELETE"), script).text(), 'param {id="y"}', "the next place that has the method")
    equal(answers(request("/x/y", "PATCH"), script).text(), 'rest {all="y"}', "the rest has the method")


@test("the connection goes on behind a 404, a 405 and a 400 of the router, also where a body was not read")
def _():
    script = router('r:get("/", shown "root")')
    with served(script) as (client, _):
        for target, status in (("/none", 404), ("/", 405), ("/..", 400)):
            for body in (b"x" * 100000, b""):
                client.send(request(target, "POST", body))
                response = client.response()
                equal((response.status, response.closes()), (status, False), f"{target} with {len(body)} bytes")
                equal(response.value("Content-Type"), "text/plain; charset=utf-8", "type")
                client.send(GET)
                equal(client.response().text(), "root {}", f"the request behind {target}")
    # A client that waits for a 100 is not told to send its body.
    with served(script) as (client, _):
        client.send(request("/none", "POST", None, ["Content-Length: 5", "Expect: 100-continue"]))
        response = client.response()
        equal((response.status, response.closes(), response.interim), (404, True, []), "with Expect")
    response = answers(request("/none", version="1.0"), script)
    equal((response.status, response.text()), (404, "404 Not Found\n"), "HTTP/1.0")
    equal(answers(request("/none", "HEAD"), script).length(), len("404 Not Found\n"), "HEAD")


# ---- routers in routers, functions around handlers ----


@test("mount: routes before and after, behind prefixes with parameters, and the same router twice")
def _():
    script = router(
        """
local inner, users = router.new(), router.new()
inner:get("/before", shown "before")
users:mount("/:user/inner", inner)
r:mount("/u", users)
r:mount("/also/:user", users)
inner:get("/after/:x", shown "after")
users:get("/", shown "slash")
"""
    )
    # "/also/:user" and ":user" within would be one name twice: that mount is an error, and leaves nothing behind.
    wrong = mbtest.replay(mbtest.script(script))
    equal(wrong.returncode, 78, "exit status")
    check(b"two parameters have the name user" in wrong.stderr, wrong.stderr)
    good = script.replace('r:mount("/also/:user", users)', 'r:mount("/also/:group", users)')
    same(
        good,
        ("/u/ann/inner/before", 'before {user="ann"}'),
        ("/u/ann/inner/after/1", 'after {user="ann",x="1"}'),
        ("/also/g/ann/inner/after/1", 'after {group="g",user="ann",x="1"}'),
        ("/u/", "slash {}"),
        ("/also/g/", 'slash {group="g"}'),
        ("/u", 404),
        ("/before", 404),
    )


@test("a route that cannot be made in one of the routers that it is mounted in is made in none")
def _():
    script = router(
        """
local inner, other = router.new(), router.new()
r:mount("/one", inner)
other:mount("/two", inner)
other:get("/two/x", shown "mine")
eq(false, (pcall(inner.get, inner, "/x", shown "x")))
r:mount("/other", other)
inner:get("/y", shown "y")
local clash = router.new()
clash:get("/a", shown "a") clash:get("/y", shown "y")
eq(false, (pcall(r.mount, r, "/one", clash)))
clash:get("/later", shown "later")
"""
    )
    same(script, ("/one/x", 404), ("/other/two/x", "mine {}"), ("/other/two/y", "y {}"), ("/one/y", "y {}"),
         ("/one/a", 404), ("/one/later", 404))  # fmt: skip


@test("use: the first middleware is the outermost; those of a router are around the routes of what it mounts")
def _():
    script = router(
        """
local function around(name)
  return function(handler)
    return function(request, params)
      params.trace = (params.trace or "") .. name
      return handler(request, params)
    end
  end
end
local inner = router.new()
r:use(around "1") r:use(around "2")
inner:use(around "3")
inner:get("/early", shown "early")
r:mount("/in", inner)
inner:get("/late/:x", shown "late")
r:get("/", shown "root")
local stops = router.new()
stops:use(function(handler) return function(request) ok(request, "stopped") end end)
stops:get("/", shown "never")
r:mount("/stops", stops)
r:mount("/function", shown "function")
"""
    )
    same(
        script,
        ("/", 'root {trace="12"}'),
        ("/in/early", 'early {trace="123"}'),
        ("/in/late/7", 'late {trace="123",x="7"}'),
        ("/stops/", "stopped"),
        ("/function/x", 'function {path="x",trace="12"}'),
    )
    equal(get(script, "/", "/"), ['root {trace="12"}'] * 2, "each request has parameters of its own")


@test("handlers that can be called, and a router where any other function can be")
def _():
    same(
        router(
            """local s = router.new()
s:get("/x", shown "s")
r:get("/x", setmetatable({}, {__call = function(_, ...) s(...) end}))"""
        ),
        ("/x", "s {}"),
    )
    head = router('r:get("/", shown "root")').partition("return http.generate_handler")[0]
    for arguments in ("r", "r, nil", "r, {}", "{}, r", "{chunk_size = 5}, r", "function(request) r(request) end"):
        equal(answers(GET, f"{head} return http.generate_handler({arguments})").text(), "root {}", arguments)


# ---- the manual page ----


@test("mb.router(3): each function has an entry, and each entry is a function; its script does what it says")
def _():
    methods = ("get", "head", "post", "put", "delete", "connect", "options", "trace", "patch", "any")
    mbmanual.check_functions("mb.router", "r|router", "use", *methods)
    displays = mbmanual.displays("mb.router.3")
    equal(len(displays), 2, "scripts in the page")
    first, second = displays
    response = replayed(request("/users/a%20b"), first + "-- generate_handler").response()
    equal(response.text(), "user a b\n", "the first script")
    for target, headers, want in (
        ("/", [], "This is for everybody.\n"),
        ("/admin/", ["Cookie: user=Ann"], "Hello, Ann!\n"),
        ("/admin/", [], ""),
    ):
        response = replayed(request(target, headers=headers), second + "-- generate_handler").response()
        equal(response.text(), want, f"the second script, {target}")
    equal((response.status, response.value("Location")), (303, "/"), "without a name")



# ---- mistakes ----


@test("a wrong route is an error that says why, at the script's line")
def _():
    f = "shown 'x'"
    cases = [
        (f'r:get("x", {f})', "it has to begin with a slash"),
        (f'r:get("", {f})', "it has to begin with a slash"),
        (f"r:get(nil, {f})", "expected a pattern"),
        (f"r:get(5, {f})", "expected a pattern"),
        (f"r:get({{}}, {f})", "expected a pattern"),
        (f'r:get("/a?b", {f})', "without a query"),
        (f'r:get("/a#b", {f})', "without a query"),
        (f'r:get("/a//b", {f})', "empty segment"),
        (f'r:get("//", {f})', "empty segment"),
        (f'r:get("/:", {f})', "is no name of a parameter"),
        (f'r:get("/*", {f})', "is no name of a parameter"),
        (f'r:get("/:1", {f})', "is no name of a parameter"),
        (f'r:get("/:a-b", {f})', "is no name of a parameter"),
        (f'r:get("/:a.json", {f})', "is no name of a parameter"),
        (f'r:get("/x:a", {f})', "write %3A"),
        (f'r:get("/x*", {f})', "write %2A"),
        (f'r:get("/:a/:a", {f})', "two parameters have the name a"),
        (f'r:get("/:a/*a", {f})', "two parameters have the name a"),
        (f'r:get("/*a/b", {f})', "nothing can follow *a"),
        (f'r:get("/*a/", {f})', "nothing can follow *a"),
        (f'r:get("/a/..", {f})', "no request can have"),
        (f'r:get("/%2e", {f})', "no request can have"),
        (f'r:get("/a%2Fb", {f})', "no request can have"),
        (f'r:get("/a%00", {f})', "no request can have"),
        (f'r:get("/a\\0", {f})', "no request can have"),
        ('r:get("/a")', "expected a handler, a function, got nil"),
        ('r:get("/a", {})', "expected a handler"),
        ('r:get("/a", "print")', "expected a handler"),
        (f'r:get("/taken", {f})', "route GET /taken: there is GET /taken already"),
        (f'r:get("/%74aken", {f})', "there is GET /taken already"),
        (f'r:get("/p/:b", {f})', "there is GET /p/:a already"),
        (f'r:get("/r/*b", {f})', "there is GET /r/*a already"),
        (f'r:any("/any", {f})', "there is * /any already"),
        (f'r.get("/a", {f})', "call it as router:get(...), with a colon"),
        (f"router.get({{}}, '/a', {f})", "call it as router:get(...), with a colon"),
        (f'router:get("/a", {f})', "call it as router:get(...), with a colon"),
        (f"router.any({{}}, '/a', {f})", "call it as router:any(...), with a colon"),
        (f"router.on({{}}, 'GET', '/a', {f})", "call it as router:on(...), with a colon"),
        (f"router.mount({{}}, '/a', {f})", "call it as router:mount(...), with a colon"),
        ("router.use({}, print)", "call it as router:use(...), with a colon"),
        (f'r:on("get", "/a", {f})', "expected a method in capital letters"),
        (f'r:on("*", "/a", {f})', "expected a method in capital letters"),
        (f'r:on("", "/a", {f})', "expected a method in capital letters"),
        (f'r:on(nil, "/a", {f})', "expected a method in capital letters"),
        (f'r:on("GET", "a", {f})', "it has to begin with a slash"),
        ("r:use(5)", "use: expected a function of a handler"),
        ("r:use(print)", "it has to come before the routes"),
        ('local s = router.new() s:use(function() end) s:get("/", print)', "no handler from the middleware: nil"),
        ('r:mount("", router.new())', "expected a prefix"),
        ('r:mount("/", router.new())', "expected a prefix"),
        ('r:mount("/a/", router.new())', "expected a prefix"),
        ('r:mount("a", router.new())', "expected a prefix"),
        ("r:mount(nil, router.new())", "expected a prefix"),
        ('r:mount("/a?b", router.new())', "without a query"),
        ('r:mount("/a//b", router.new())', "empty segment"),
        ('r:mount("/*a", router.new())', "nothing can follow *a"),
        ('r:mount("/a", 5)', "expected a handler"),
        ('r:mount("/a")', "expected a handler"),
        ('r:mount("/a", r)', "the router would be within itself"),
        ('inner:mount("/b", r)', "the router would be within itself"),
        ('local s = router.new() s:get("/x", print) r:mount("/*a", s)', "nothing can follow *a"),
        ('local s = router.new() s:get("/", print) r:mount("/x/:path", s) r:mount("/x/:path", s)', "already"),
        ('r:mount("/x/:path", print)', "two parameters have the name path"),
        ('local s = router.new() s:get("/taken", print) r:mount("/m", s)', "there is GET /m/taken already"),
        ('inner:get("/of-r", print)', "there is GET /in/of-r already"),
        ('local s = router.new() r:mount("/s/:a", s) r:mount("/s/:b", s) s:get("/", print)', "there is GET /s/:a/ already"),
    ]
    lines = "".join(f"fails({lua(text)}, function() {call} end)\n" for call, text in cases)
    script = router(
        f"""
local inner = router.new()
r:get("/taken", shown "") r:get("/p/:a", shown "") r:get("/r/*a", shown "") r:any("/any", shown "")
r:get("/m/taken", shown "") r:get("/in/of-r", shown "")
r:mount("/in", inner)
{lines}
r:get("/", shown "root")
"""
    )
    equal(get(script, "/"), ["root {}"], "all are errors")


@test("a handler without an answer, and a call in it that has no line: the log names the route's handler")
def _():
    for body, log in (
        ("function(request) end", ":4: the callback that begins here has returned without a response"),
        ('function(request) request:send_status(200) request:send_header("Content-Length", 5) end',
         ":4: in the callback that begins here: finish: "),
        ("function(request) request:send_status(99) end", ":4: send_status: expected a status"),
        ("function(request) error 'mine' end", ":4: mine"),
    ):
        response = answers(GET, router(f'\nr:get("/", {body})'), status=70, log=log)
        equal(response.status, 500, body)


# ---- many routes, many paths ----


class Reference:
    """Finds routes as mb.router(3) says it, by looking at all of them."""

    def __init__(self, routes):
        self.routes = routes

    @staticmethod
    def fit(pattern, segments):
        """How well a pattern fits: a key for each segment, 0 fixed, 1 parameter, 2 rest; and the parameters."""
        keys, params = [], {}
        parts = pattern[1:].split("/")
        for i, part in enumerate(parts):
            if part.startswith("*"):
                if i >= len(segments) or segments[i] == "" and i + 1 < len(segments):
                    return None
                params[part[1:]] = "/".join(segments[i:])
                return [*keys, 2], params
            if i >= len(segments):
                return None
            if part.startswith(":"):
                if segments[i] == "":
                    return None
                params[part[1:]] = segments[i]
                keys.append(1)
            elif part == segments[i]:
                keys.append(0)
            else:
                return None
        return (keys, params) if len(parts) == len(segments) else None

    def answer(self, method, path):
        fits = []
        for number, (of, pattern) in enumerate(self.routes):
            fit = self.fit(pattern, path[1:].split("/"))
            if fit:
                fits.append((fit[0], of, number, fit[1]))
        for wanted in sorted({tuple(keys) for keys, *_ in fits}):
            here = {of: (number, params) for keys, of, number, params in fits if tuple(keys) == wanted}
            found = here.get(method) or method == "HEAD" and here.get("GET") or here.get("*")
            if found:
                number, params = found
                return f"{number} " + ",".join(f"{name}={params[name]}" for name in sorted(params))
        if not fits:
            return "404"
        allow = {of for _, of, *_ in fits} | {"OPTIONS"}
        allow |= {"HEAD"} if "GET" in allow else set()
        return f"405 {', '.join(sorted(allow))}"


def random_routes(rand):
    routes, taken = [], set()
    for _ in range(rand.randrange(1, 25)):
        parts = []
        for depth in range(rand.randrange(1, 5)):
            parts.append(rand.choice(["a", "b", "c", "a", "b", f":p{depth}"]))
        if rand.random() < 0.2:
            parts.append(rand.choice(["*rest", ""]))
        pattern = "/" + "/".join(parts)
        method = rand.choice(["GET", "GET", "POST", "*"])
        key = (method, re.sub(r"\w+", lambda m: m[0] if not m[0].startswith(("p", "rest")) else "", pattern))
        if key not in taken:
            taken.add(key)
            routes.append((method, pattern))
    return routes


@test("thousands of random paths go where a matcher sends them that looks at each route")
def _():
    rand = random.Random(int(os.environ.get("MB_TURN") or 0) + 3986)
    cases, calls = [], []
    for _ in range(60):
        routes = random_routes(rand)
        reference = Reference(routes)
        calls.append("r = router.new()")
        for number, (method, pattern) in enumerate(routes):
            call = f'r:any("{pattern}", ' if method == "*" else f'r:on("{method}", "{pattern}", '
            calls.append(call + f"known({number}))")
        for _ in range(60):
            path = "/" + "/".join(rand.choice(["a", "b", "c", "x", "a", ""]) for _ in range(rand.randrange(1, 6)))
            if rand.random() < 0.3:  # one that has a route
                path = re.sub(r"[:*]\w+", lambda _: rand.choice(["a", "b", "x"]), rand.choice(routes)[1])
            method = rand.choice(["GET", "HEAD", "POST", "PUT"])
            cases.append((routes, method, path, reference.answer(method, path)))
            calls.append(f'try("{method}", "{path}")')
    # Without HTTP around it: the router is called with a request that only notes what is sent.
    text = """
local router = require "mb.router"
local r, lines = nil, {}
local function known(number)
  return function(request, params)
    local list = {}
    for name, value in pairs(params) do list[#list + 1] = name .. "=" .. value end
    table.sort(list)
    request.line = number .. " " .. table.concat(list, ",")
  end
end
local noted = {__index = {
  send_status = function(self, status) self.line = tostring(status) end,
  send_header = function(self, name, value) if name == "Allow" then self.line = self.line .. " " .. value end end,
  send_data = function() end,
}}
local wire = {options = {}, static = ""}
local function try(method, path)
  local request = setmetatable({method = method, path = path:sub(2), _wire = wire}, noted)
  r(request)
  lines[#lines + 1] = request.line
end
"""
    # A function has so many constants only.
    blocks = [calls[i : i + 500] for i in range(0, len(calls), 500)]
    text += "".join("do local function part()\n" + "\n".join(block) + "\nend part() end\n" for block in blocks)
    text += 'return function(socket) socket:write(table.concat(lines, "\\n")) end'
    done = mbtest.replay(mbtest.script(text))
    equal((done.returncode, done.stderr), (0, b""), "exit status and log")
    got = done.stdout.decode().split("\n")
    check(len(got) >= 3600, f"{len(got)} answers")
    for (routes, method, path, want), answer in zip(cases, got, strict=True):
        equal(answer, want, f"{method} {path} among {routes}")
    found = sum(not want.startswith("40") for *_, want in cases)
    check(found > 500 and len(cases) - found > 500, f"{found} of {len(cases)} paths have routes: both are tried")


@test("a look-up among 10000 routes takes no more than twice as long as one among 10")
def _():
    text = """
local router = require "mb.router"
local function made(count)
  local r = router.new()
  for i = 1, count do
    r:get("/static/page" .. i, function() end)
    r:get("/users/:id/part" .. i, function() end)
    r:post("/deep" .. i .. "/:a/:b/*rest", function() end)
  end
  return r
end
local function seconds(r, requests)
  local before = os.clock()
  for _ = 1, 20000 do for i = 1, #requests do r(requests[i]) end end
  return os.clock() - before
end
local requests = {{method = "GET", path = "static/page7"}, {method = "GET", path = "users/42/part7"},
  {method = "POST", path = "deep7/1/2/3/4"}}
local few, many = made(10), made(10000)
return function(socket)
  local best = {math.huge, math.huge}
  for _ = 1, 7 do
    best[1] = math.min(best[1], seconds(few, requests))
    best[2] = math.min(best[2], seconds(many, requests))
  end
  socket:write(("%.6f %.6f"):format(best[1], best[2]))
end
"""
    done = mbtest.replay(mbtest.script(text))
    equal((done.returncode, done.stderr), (0, b""), "exit status and log")
    few, many = map(float, done.stdout.split())
    mbtest.diagnose(f"10 routes of three kinds {few:.4f} s, 10000 of each {many:.4f} s")
    check(many <= 2 * few, f"{many} s with many routes, {few} s with few")


@test("a path of 30000 segments is a 404, or the rest of a route, in no time that one would notice")
def _():
    script = router('r:get("/a/:b/c", shown "c") r:get("/rest/*all", function(q, p) ok(q, #p.all) end)')
    with served(script) as (client, _):
        for target, want in (
            ("/" * 30000, "404"),
            ("/a" * 30000, "404"),
            ("/rest" + "/a" * 30000, "59999"),
            ("/.a" * 20000, "404"),
        ):
            client.send(request(target))
            response = client.response()
            equal(response.text()[: len(want)], want, target[:20])
    response = answers(request("/" + "a" * 40000), script)
    equal(response.status, 404, "one long segment")


@test("it can be used in a loop of a pool's process: nothing of one request is in the next")
def _():
    script = router('r:get("/:a", function(q, p) eq(nil, p.b) p.b = 1 ok(q, p.a) end)')
    with served(script) as (client, _):
        for n in range(3):
            client.send(request(f"/{n}"))
            equal(client.response().text(), str(n), "answer")
    equal(replayed(request("/x"), script).response().text(), "x", "in a replay")


mbtest.main()
