#!/usr/bin/python3
"""mb.cookie and mb.auth: what they send is read by Python and by curl; what Python signs and what it changes is verified.
The scripts of their manual pages run."""

import base64
import hashlib
import hmac
import html
import http.cookies
import os
import random
import re
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbmanual
import mbtest

mbtest.HANDLE = mbtest.SHARED  # for the modules below, too; what mb-handle-static cannot do is tried at the end
import mbhttp  # pylint: disable=wrong-import-position
import mbpool  # pylint: disable=wrong-import-position
from mbtest import CHOSEN, SHARED, check, equal, script, test

mbtest.need("curl")
SEED = int(os.environ.get("MB_TURN") or 1)
BEFORE = 'local cookie, auth = require "mb.cookie", require "mb.auth"\n'
KEY, OTHER = "an old key, 16 bytes at least", "another key, which is newer"
LIMIT = 400 * 24 * 60 * 60


def handler(body):
    return mbhttp.source(BEFORE + body)


def lua(value):
    return '"' + "".join(f"\\{b:03d}" for b in (value.encode() if isinstance(value, str) else value)) + '"'


def url64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def code(key, *parts):
    """What a code is computed over; a change of it makes what is out there invalid."""
    return hmac.digest(key.encode(), b"\0".join(p if isinstance(p, bytes) else p.encode() for p in parts), hashlib.sha256)


def signed(key, name, value, ends, purpose="mb.cookie 1 signed"):
    """A signed value as this file makes it."""
    return f"{url64(value)}.{ends}.{url64(code(key, purpose, name, str(ends), value))}"


def form_token(key, session, ends, mask=None):
    mask = mask or os.urandom(32)
    made = code(key, "mb.cookie 1 form", str(ends), session)
    return f"{ends}.{url64(mask + bytes(a ^ b for a, b in zip(mask, made)))}"


def judged(calls, key=lua(KEY)):
    """What calls, as Lua, return: a list of the texts of two results each."""
    body = "local r = {}\nlocal key = " + key + "\n"
    body += "local function add(a, b) r[#r + 1] = tostring(a) .. ' ' .. tostring(b) end\n"
    # A function of Lua's has a limit of constants.
    for begin in range(0, len(calls), 100):
        body += "do local function some()\n" + "\n".join(f"add({call})" for call in calls[begin : begin + 100]) + "\nend some() end\n"
    output = mbhttp.replayed(mbhttp.request(), BEFORE + body + 'ok(request, table.concat(r, "\\n"))')
    return output.response().text().split("\n")


def verify(text, name="n"):
    return f"cookie.verify(key, {lua(name)}, {lua(text)})"


def form_check(token, session="s"):
    return f"cookie.csrf_check(key, {lua(session)}, {lua(token)})"


# --- Set-Cookie ---


@test("the attributes are safe by default, and each option changes its own")
def _():
    for call, want in (
        ('set(request, "a", "1")', "a=1; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ('set(request, "a", "")', "a=; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ('set(request, "a", "1", {})', "a=1; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ('set(request, "a", "1", {path = "/x y"})', "a=1; Path=/x y; Secure; HttpOnly; SameSite=Lax"),
        ('set(request, "a", "1", {domain = "b.example"})', "a=1; Path=/; Domain=b.example; Secure; HttpOnly; SameSite=Lax"),
        ('set(request, "a", "1", {max_age = 60})', "a=1; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Lax"),
        (f'set(request, "a", "1", {{max_age = {LIMIT}.0}})', f"a=1; Path=/; Max-Age={LIMIT}; Secure; HttpOnly; SameSite=Lax"),
        ('set(request, "a", "1", {secure = false})', "a=1; Path=/; HttpOnly; SameSite=Lax"),
        ('set(request, "a", "1", {http_only = false})', "a=1; Path=/; Secure; SameSite=Lax"),
        ('set(request, "a", "1", {same_site = "Strict"})', "a=1; Path=/; Secure; HttpOnly; SameSite=Strict"),
        ('set(request, "a", "1", {same_site = "None"})', "a=1; Path=/; Secure; HttpOnly; SameSite=None"),
        ('set(request, "__Host-a", "1")', "__Host-a=1; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ('set(request, "__Secure-a", "1", {domain = "b.example", path = "/x"})',
         "__Secure-a=1; Path=/x; Domain=b.example; Secure; HttpOnly; SameSite=Lax"),
        ('delete(request, "a", {path = "/x"})',
         "a=; Path=/x; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; HttpOnly; SameSite=Lax"),
        ('delete(request, "__Host-a")',
         "__Host-a=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; HttpOnly; SameSite=Lax"),
        (f'set(request, "a", ("x"):rep({4096 - 1}))', f"a={'x' * 4095}; Path=/; Secure; HttpOnly; SameSite=Lax"),
    ):
        response = mbhttp.answers(mbhttp.request(), BEFORE + f'cookie.{call}\nok(request, "x")')
        equal(response.values("Set-Cookie"), [want], call)


@test("before the status or after it, several, and with interim responses: each is in the final head once")
def _():
    safe = "Path=/; Secure; HttpOnly; SameSite=Lax"
    for body in (
        'cookie.set(request, "a", "1") cookie.set(request, "b", "2") ok(request, "x")',
        'request:send_status(200) cookie.set(request, "a", "1") cookie.set(request, "b", "2") request:send_data("x")',
        'cookie.set(request, "a", "1") request:send_status(200) cookie.set(request, "b", "2") request:send_data("x")',
        'cookie.set(request, "a", "1") request:send_status("103 Early Hints") request:send_header("Link", "<x>") '
        'request:send_status(200) cookie.set(request, "b", "2") request:send_data("x")',
        'cookie.set(request, "a", "1") cookie.set(request, "b", "2") require "mb.reply".text(request, "x")',
    ):
        response = mbhttp.answers(mbhttp.request(), BEFORE + body)
        equal((response.values("Set-Cookie"), response.text()), ([f"a=1; {safe}", f"b=2; {safe}"], "x"), body)
        for interim in response.interim:
            equal(interim.values("Set-Cookie"), [], "of an interim response")
    # The next request on the connection has none of them.
    with mbhttp.served(BEFORE + 'if request.path == "a" then cookie.set(request, "a", "1") end ok(request, "x")') as (client, _):
        for path, want in (("/a", 1), ("/b", 0), ("/a", 1)):
            client.send(mbhttp.request(path))
            equal(len(client.response().values("Set-Cookie")), want, path)


@test("misuse is an error that says what is expected, at the script's line, before anything is sent")
def _():
    cases = (
        ('cookie.set(nil, "a", "1")', "cookie.set: expected a request as first argument, got nil"),
        ('cookie.set({}, "a", "1")', "cookie.set: expected a request as first argument, got table"),
        ('cookie.set(request, "", "1")', "cookie.set: expected a name of letters"),
        ('cookie.set(request, "a b", "1")', "cookie.set: expected a name of letters"),
        ('cookie.set(request, "a=b", "1")', "cookie.set: expected a name of letters"),
        ('cookie.set(request, "a\\0", "1")', "cookie.set: expected a name of letters"),
        ('cookie.set(request, 1, "1")', "cookie.set: expected a name of letters"),
        ('cookie.set(request, "a", 1)', "cookie.set: expected a string as value, got number"),
        ('cookie.set(request, "a")', "cookie.set: expected a string as value, got nil"),
        ('cookie.set(request, "a", "1", "secure")', "cookie.set: expected a table of options, got string"),
        ('cookie.set(request, "a", "1", {sceure = true})', "cookie.set: there is no option sceure: expected domain, "),
        ('cookie.set(request, "a", "1", {secure = 1})', "option secure: expected true or false"),
        ('cookie.set(request, "a", "1", {http_only = "no"})', "option http_only: expected true or false"),
        ('cookie.set(request, "a", "1", {same_site = "lax"})', "option same_site: expected"),
        ('cookie.set(request, "a", "1", {same_site = "None", secure = false})', 'same_site = "None" needs secure = true'),
        ('cookie.set(request, "a", "1", {max_age = 0})', "option max_age: expected a whole number of seconds, from 1 to 34560000"),
        ('cookie.set(request, "a", "1", {max_age = "60"})', "option max_age"),
        (f'cookie.set(request, "a", "1", {{max_age = {LIMIT + 1}}})', "option max_age"),
        ('cookie.set(request, "a", "1", {max_age = 0/0})', "option max_age"),
        ('cookie.set(request, "a", "1", {path = "x"})', "option path"),
        ('cookie.set(request, "a", "1", {path = "/;x"})', "option path"),
        ('cookie.set(request, "a", "1", {path = "/\\n"})', "option path"),
        ('cookie.set(request, "a", "1", {path = "/" .. ("x"):rep(1024)})', "option path"),
        ('cookie.set(request, "a", "1", {domain = ""})', "option domain"),
        ('cookie.set(request, "a", "1", {domain = ".b"})', "option domain"),
        ('cookie.set(request, "a", "1", {domain = "b..c"})', "option domain"),
        ('cookie.set(request, "a", "1", {domain = "b."})', "option domain"),
        ('cookie.set(request, "a", "1", {domain = "b; Secure"})', "option domain"),
        ('cookie.set(request, "__Host-a", "1", {secure = false})', "begins with __host- needs secure = true"),
        ('cookie.set(request, "__Host-a", "1", {path = "/x"})', "__Host- has the path / and no domain"),
        ('cookie.set(request, "__hOST-a", "1", {domain = "b"})', "__Host- has the path / and no domain"),
        ('cookie.set(request, "__Secure-a", "1", {secure = false})', "begins with __secure- needs secure = true"),
        ('cookie.delete(request, "__Host-a", {path = "/x"})', "cookie.delete: a name that begins with __Host-"),
        ('cookie.delete(request, "a", {max_age = 1})', "cookie.delete: max_age is for cookie.set"),
        ('cookie.set(request, "ab", ("x"):rep(4095))', "name and value have 4097 bytes: browsers keep 4096"),
        ('cookie.sign("short", "a", "1")', 'cookie.sign: a key of 5 bytes: it needs 16 at least; "openssl rand -hex 32" makes one'),
        ('cookie.sign(nil, "a", "1")', "cookie.sign: expected a key, or a list of 1 to 8"),
        ('cookie.sign({}, "a", "1")', "cookie.sign: expected a key, or a list of 1 to 8"),
        ('cookie.sign({key, "short"}, "a", "1")', "cookie.sign: a key of 5 bytes"),
        ('cookie.sign({key, key, key, key, key, key, key, key, key}, "a", "1")', "expected a key, or a list of 1 to 8"),
        ('cookie.sign({1}, "a", "1")', "cookie.sign: expected a string as key, got number"),
        ('cookie.sign(key, "a b", "1")', "cookie.sign: expected the name of a cookie"),
        ('cookie.sign(key, "a", 1)', "cookie.sign: expected a string as value, got number"),
        ('cookie.sign(key, "a", "1", 0)', "cookie.sign: expected a number of seconds"),
        (f'cookie.sign(key, "a", "1", {LIMIT + 1})', "cookie.sign: expected a number of seconds"),
        ('cookie.sign(key, "a", "1", 0/0)', "cookie.sign: expected a number of seconds"),
        ('cookie.sign(key, "a", ("x"):rep(4000))', "cookie.sign: name and signed value have"),
        ('cookie.verify("short", "a", "1")', "cookie.verify: a key of 5 bytes"),
        ('cookie.verify(key, nil, "1")', "cookie.verify: expected the name of a cookie"),
        ('cookie.verify(key, "a", 1)', "cookie.verify: expected the text of a cookie, got number"),
        ("cookie.csrf_token(key, nil)", "cookie.csrf_token: expected a text that names the session"),
        ('cookie.csrf_token(key, "")', "cookie.csrf_token: expected a text that names the session"),
        ('cookie.csrf_token("short", "s")', "cookie.csrf_token: a key of 5 bytes"),
        ('cookie.csrf_check("short", "s", "t")', "cookie.csrf_check: a key of 5 bytes"),
        ('cookie.csrf_check(key, 1, "t")', "cookie.csrf_check: expected a session, got number"),
        ('cookie.csrf_check(key, "s", {})', "cookie.csrf_check: expected a token, got table"),
        ('auth.basic(nil, "r", print)', "auth.basic: expected a request as first argument, got nil"),
        ('auth.basic(request, nil, print)', "auth.basic: expected the realm"),
        ('auth.basic(request, "a\\r\\nb", print)', "auth.basic: expected the realm"),
        ('auth.basic(request, "r")', "auth.basic: expected a function of user and password, got nil"),
    )
    bytes_wrong = [f'cookie.set(request, "a", "{text}")' for text in (" ", "a,b", "a;b", 'a\\"b', "a\\\\b", "\\n", "\\127", "\\200", "\\0")]
    body = f"local key = {lua(KEY)}\n"
    for call, words in [*cases, *((call, "the value has a byte that no cookie can have") for call in bytes_wrong)]:
        body += f"fails({lua(words)}, function()\nlocal x = {call}\nend)\n"
    # What was refused before the status is not sent with it.
    response = mbhttp.answers(mbhttp.request(), BEFORE + body + 'ok(request, "fine")')
    equal((response.text(), response.values("Set-Cookie")), ("fine", []), "answer")
    response = mbhttp.answers(mbhttp.request(), BEFORE + """
    request:send_status(200)
    fails("auth.basic: the response has begun", function()
      local x = auth.basic(request, "r", print)
    end)
    request:send_data("fine")
    fails("send_header: the response head is finished", function()
      local x = cookie.set(request, "a", "1")
    end)
    """)
    equal(response.text(), "fine", "answer of a response that has begun")


@test("Python's http.cookies and curl's cookie jar read what is set, and send it back; curl drops what is deleted")
def _():
    values = ["1", "", "a=b", "abc.123.-_~", "!#$%&'()*+/:<>?@[]^`{|}"]
    body = "".join(f'cookie.set(request, "__Host-n{i}", {lua(v)}, {{max_age = 60}})\n' for i, v in enumerate(values))
    sent = mbhttp.answers(mbhttp.request(), BEFORE + body + 'ok(request, "x")').values("Set-Cookie")
    for i, (line, value) in enumerate(zip(sent, values, strict=True)):
        morsel = http.cookies.SimpleCookie(line)[f"__Host-n{i}"]
        got = [morsel.value, morsel["path"], morsel["secure"], morsel["httponly"], morsel["samesite"], morsel["max-age"], morsel["domain"]]
        equal(got, [value, "/", True, True, "Lax", "60", ""], line)
    path = script(handler(f"""
    local names = {{}}
    if request.path == "set" then
      {body}
    elseif request.path == "delete" then
      cookie.delete(request, "__Host-n0")
    end
    for name, value in pairs(request.cookies) do names[#names + 1] = name .. "=" .. value end
    table.sort(names)
    ok(request, table.concat(names, "\\n"))
    """))
    pool = mbpool.Pool(path).ready()
    jar = mbtest.tmp("jar")

    def ask(what):
        url = f"http://127.0.0.1:{pool.where[1]}/{what}"
        return subprocess.run(["curl", "-s", "--noproxy", "*", "-b", jar, "-c", jar, url], capture_output=True, check=True, timeout=mbtest.RUN_MAX).stdout.decode()

    equal(ask("set"), "", "before")
    equal(ask("").split("\n"), [f"__Host-n{i}={value}" for i, value in enumerate(values)], "sent back")
    ask("delete")
    equal(ask("").split("\n")[0], "__Host-n1=" + values[1], "after one was deleted")
    pool.stop()


# --- Signed values ---


@test("what is signed is what Python signs, with its end; Python's is verified, with any value")
def _():
    rng = random.Random(SEED)
    now = int(time.time())
    for seconds, least in (("", 86400), (", 60", 60), (", 0.5", 1), (f", {LIMIT}", LIMIT)):
        got = judged([f"cookie.sign(key, 'n', 'v\\0\\255'{seconds})"])[0].split(" ")[0]
        ends = int(got.split(".")[1])
        check(least <= ends - now <= least + mbtest.RUN_MAX, f"{seconds}: ends {ends - now} s from now")
        equal(got, signed(KEY, "n", b"v\0\xff", ends), f"signed{seconds}")
    values = [b"", b"\0", b"a.b", *(rng.randbytes(rng.randrange(100)) for _ in range(200))]
    calls = [verify(signed(KEY, "n", value, now + 1000)).replace("cookie.verify", "hexed", 1) for value in values]
    body = "local hexed = function(...) local v, why = cookie.verify(...) return v and require 'mb.crypto'.hex(v), why end\n"
    equal(judged([f"(function() {body} return {call} end)()" for call in calls]), [f"{v.hex()} nil" for v in values], "values")


@test("a signed value with any bit changed, cut off, made longer or put together anew is refused")
def _():
    now = int(time.time())
    text = signed(KEY, "n", b"user=ann", now + 1000)
    equal(judged([verify(text)]), ["user=ann nil"], "as it is")
    wrong = []
    for i, byte in enumerate(text.encode()):
        for bit in range(8):
            wrong.append(text.encode()[:i] + bytes([byte ^ 1 << bit]) + text.encode()[i + 1 :])
    wrong += [text.encode()[:n] for n in range(len(text))] + [text.encode() + extra for extra in (b".", b"A", b"=", b" ", b"\0")]
    value, ends, made = text.split(".")
    wrong += [part.encode() for part in (
        f"{value}.{int(ends) + 1}.{made}", f"{value}.0{ends}.{made}", f"{value}.+{ends}.{made}", f".{ends}.{made}", f"{value}..{made}",
        f"{value}.{ends}.", f"{value}{ends}.{made}", f"{value}.{ends}.{made}.{made}", f"{value}.{'9' * 400}.{made}", "A" * 5000, "", "..")]
    reasons = judged([verify(w) for w in wrong])
    equal({r for r in reasons} - {"nil malformed", "nil forged"}, set(), "reasons")
    check(reasons.count("nil forged") > 200 and reasons.count("nil malformed") > 200, f"{len(reasons)} reasons")


@test("the end, the name and the key count: expired, forged, none")
def _():
    now = int(time.time())
    calls = [
        verify(signed(KEY, "n", b"v", now - 1)), verify(signed(KEY, "n", b"v", 1)), verify(signed(KEY, "n", b"v", now + 1000), "m"),
        verify(signed(OTHER, "n", b"v", now + 1000)), verify(signed(OTHER, "n", b"v", 1)), "cookie.verify(key, 'n', nil)",
        verify(signed(KEY, "n", b"v", now + 1000, "mb.cookie 1 form")),
        verify(signed(KEY, "n", b"v", 10**12)), verify(signed(KEY, "n", b"v", 10**12 - 1)),
    ]
    equal(judged(calls), ["nil expired", "nil expired", "nil forged", "nil forged", "nil forged", "nil none", "nil forged", "nil malformed",
                          "v nil"], "reasons")


@test("of a list of keys the first one signs, and all verify; so do those of forms")
def _():
    now = int(time.time())
    both = "{" + lua(OTHER) + ", " + lua(KEY) + "}"
    new, old, none = (signed(k, "n", b"v", now + 1000) for k in (OTHER, KEY, "a key that nobody has"))
    equal(judged([verify(new), verify(old), verify(none)], both), ["v nil", "v nil", "nil forged"], "with both")
    equal(judged([verify(new), verify(old)], "{" + lua(OTHER) + "}"), ["v nil", "nil forged"], "with the new one")
    made = judged(["cookie.sign(key, 'n', 'v')"], both)[0].split(" ")[0]
    equal(made, signed(OTHER, "n", b"v", made.split(".")[1]), "who signs")
    forms = [form_check(form_token(k, "s", now + 1000)) for k in (OTHER, KEY, "a key that nobody has")]
    equal(judged(forms, both), ["true nil", "true nil", "nil forged"], "forms")


# --- Forms ---


@test("a token for a form is another one each time, is what Python makes of it, and is good for its session and time only")
def _():
    now = int(time.time())
    tokens = [line.split(" ")[0] for line in judged(["cookie.csrf_token(key, 's')"] * 50)]
    masks, made = set(), set()
    for token in tokens:
        ends, text = token.split(".")
        data = base64.urlsafe_b64decode(text + "==")
        masks.add(data[:32])
        made.add(data[32:])
        equal(token, form_token(KEY, "s", ends, data[:32]), "token")
    equal((len(masks), len(made)), (50, 50), "different masks, and codes")
    token = form_token(KEY, "s", now + 1000)
    equal(judged([
        form_check(tokens[0]), form_check(token), form_check(token, "t"), form_check(token, ""), form_check(form_token(KEY, "s", now - 1)),
        f"cookie.csrf_check(key, nil, {lua(token)})", "cookie.csrf_check(key, 's', nil)", form_check(""), form_check(form_token(KEY, "", now + 9), ""),
        form_check(signed(KEY, "s", b"", now + 1000)), form_check(form_token(OTHER, "s", now + 1000)), form_check(token, token),
    ]), ["true nil", "true nil", "nil forged", "nil forged", "nil expired", "nil none", "nil none", "nil malformed", "nil forged",
         "nil malformed", "nil forged", "nil forged"], "reasons")


@test("a token with any bit changed, or cut off, is refused")
def _():
    token = form_token(KEY, "s", int(time.time()) + 1000).encode()
    wrong = [token[:n] for n in range(len(token))] + [token + b"A", token + b"."]
    wrong += [token[:i] + bytes([byte ^ 1 << bit]) + token[i + 1 :] for i, byte in enumerate(token) for bit in range(8)]
    reasons = set(judged([form_check(w) for w in wrong]))
    equal(reasons, {"nil malformed", "nil forged"}, "reasons")


# --- Basic authentication ---

BASIC = """
local user = auth.basic(request, 'my "realm"', function(user, password) return WANT == "any" or user .. "/" .. password == WANT end)
if not user then return end
ok(request, "user ", user)
"""
CHALLENGE = 'Basic realm="my \\"realm\\"", charset="UTF-8"'


def basic(value, want="ann/pass:word", more=(), **how):
    headers = [*([] if value is None else [f"Authorization: {value}"]), *more]
    return mbhttp.answers(mbhttp.request(headers=headers), BEFORE + BASIC.replace("WANT", lua(want)), **how)


def credentials(text):
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


@test("basic: what can be read is checked by the script, in whatever case the scheme is")
def _():
    for value, want, user in (
        ("Basic " + credentials("ann:pass:word"), "ann/pass:word", "ann"),
        ("bAsIc  " + credentials("ann:pass:word"), "ann/pass:word", "ann"),
        ("Basic " + credentials(":"), "/", ""),
        ("Basic " + credentials("ann:"), "ann/", "ann"),
        ("Basic " + credentials("änn:pä ss"), "änn/pä ss", "änn"),
    ):
        response = basic(value, want)
        equal((response.status, response.body.decode()), (200, f"user {user}"), value)


@test("basic: without credentials, with wrong ones, or with any that cannot be read, the answer is 401, which names the realm")
def _():
    good = credentials("ann:pass:word")
    for text in ("ann:wrong", "ann:", "ann:pass", "ann:pass:word ", "Ann:pass:word", ":", "pass:word:ann"):
        response = basic("Basic " + credentials(text))
        equal((response.status, response.value("WWW-Authenticate"), response.text()), (401, CHALLENGE, "401 Unauthorized\n"), text)
    for value in (  # here the script would take any
        None, "Basic", "Basic ", "Bearer " + good, "Basic" + good, f"Basic {good} x", f"Basic {good}=", "Basic " + good.rstrip("="),
        f"Basic {good[:-5]}", "Basic ?", 'Basic "' + good + '"', "Basic " + credentials("ann"),
        "Basic " + credentials("ann:pass:word\0"), "Basic " + credentials("a\nnn:pass:word"), "Basic " + credentials("ann:pass:word\x7f"),
        "Basic " + credentials(b"ann:\xff"), "Basic " + base64.b64encode(b"ann:pass:word?>").decode().replace("+", "-"), f"Digest {good}",
    ):
        response = basic(value, "any")
        equal((response.status, response.value("WWW-Authenticate"), response.text()), (401, CHALLENGE, "401 Unauthorized\n"), f"{value}")
    response = basic(f"Basic {good}", "any", more=[f"Authorization: Basic {good}"])
    equal((response.status, response.value("WWW-Authenticate")), (401, CHALLENGE), "two fields")
    response = basic(None, options='on_error = function(_, status) return "ours " .. status end')
    equal((response.status, response.value("WWW-Authenticate"), response.text()), (401, CHALLENGE, "ours 401"), "with on_error")


# --- Elsewhere ---


@test("in a strict sandbox values are signed and verified")
def _():
    path = script("local cookie = require 'mb.cookie'\nreturn function(s)\n"
                  f"local key = {lua(KEY)}\ns:write(cookie.verify(key, 'n', cookie.sign(key, 'n', 'fine')))\nend\n")
    done = mbtest.replay("--sandbox=strict", path)
    equal((done.stdout, done.stderr), (b"fine", b""), "answer")


@test("mb-handle-static sets cookies and reads passwords; to sign is an error that says what to start")
def _():
    if CHOSEN == SHARED:
        return mbtest.diagnose("there is no mb-handle-static")
    path = script(handler(f"""
    cookie.set(request, "a", "1")
    if request.path == "sign" then local x = cookie.sign({lua(KEY)}, "n", "v") end
    if auth.basic(request, "r", function() return true end) then ok(request, "x") end
    """))

    def ask(target):
        data = mbhttp.request(target, headers=["Connection: close", "Authorization: Basic " + credentials("a:b")])
        return subprocess.run([CHOSEN, path], input=data, capture_output=True, timeout=mbtest.RUN_MAX, check=False)

    done = ask("/")
    check(done.stdout.startswith(b"HTTP/1.1 200 ") and b"\r\nSet-Cookie: a=1; " in done.stdout and not done.stderr, f"{done}")
    done = ask("/sign")
    check(re.search(rb"script\d+\.lua:5: cookie\.sign: sha256: mb-handle-static loads no modules in C: start mb-handle in its place",
                    done.stderr), f"{done}")


# --- The manual pages ---


def example(page, replaced=()):
    """The last display of a page, as a script."""
    text = mbmanual.displays(page)[-1]
    for old, new in replaced:
        check(old in text, f"{old} in the example of {page}")
        text = text.replace(old, new)
    return script(text)


@test("mb.cookie(3): in the login, forms need their token, the session changes with the user, and logging out ends it")
def _():
    key_file = mbtest.write_file(mbtest.tmp("login.key"), KEY + "\n")
    listed = re.search(r'ann = "([0-9a-f]{64})"', mbmanual.page("mb.cookie.3"))[1]
    path = example("mb.cookie.3", [("/etc/mb/login.key", key_file), (listed, code(KEY, "login", "ann", "secret & more").hex())])
    pool = mbpool.Pool(path, "--sandbox=strict").ready()
    jar = mbtest.tmp("login-jar")

    def ask(*args, kept=True):
        jars = ["-b", jar, "-c", jar] if kept else []
        done = subprocess.run(["curl", "-s", "--noproxy", "*", "-w", "%{http_code}", *jars, *args, f"http://127.0.0.1:{pool.where[1]}/"],
                              capture_output=True, check=True, timeout=mbtest.RUN_MAX)
        return int(done.stdout[-3:]), done.stdout[:-3].decode()

    def token(page):
        return html.unescape(re.search(r'name="token" value="([^"]*)"', page)[1])

    def session():
        return re.search(r"__Host-session\t(\S+)", mbtest.read_file(jar))[1]

    status, form = ask()
    check(status == 200 and "Log in" in form, f"{status} {form}")
    first = session()
    login = ["--data-urlencode", "user=ann", "--data-urlencode", "password=secret & more"]
    equal(ask(*login)[0], 403, "without a token")
    equal(ask(*login, "-d", "token=" + token(form), kept=False)[0], 403, "with a token, and without its session")
    equal(ask("-d", f"user=ann&password=wrong&token={token(form)}")[0], 403, "with a wrong password")
    equal(ask("-d", f"user=nobody&password=&token={token(form)}")[0], 403, "another user")
    equal(session(), first, "the session so far")
    equal(ask(*login, "-d", "token=" + token(form))[0], 303, "logged in")
    check(session() != first, "another session")
    status, inside = ask()
    check(status == 200 and "You are ann." in inside, f"{status} {inside}")
    equal(ask("-d", "logout=1&token=" + token(form))[0], 403, "logging out by the form of before")
    equal(ask("-d", "logout=1&token=" + token(inside))[0], 303, "logging out")
    check("Log in" in ask()[1], "logged out")
    pool.stop()
    check("Permission denied" not in pool.text(), pool.text())


@test("mb.auth(3): the example lets those in who have a password")
def _():
    pool = mbpool.Pool(example("mb.auth.3")).ready()
    for given, want in (("ann:correct horse", (200, "Hello, ann!\n")), ("bob:correct horse", (401, "401 Unauthorized\n")),
                        ("eve:", (401, "401 Unauthorized\n")), (None, (401, "401 Unauthorized\n"))):
        with mbhttp.Connection(pool.where) as client:
            client.send(mbhttp.request(headers=["Authorization: Basic " + credentials(given)] if given else []))
            response = client.response()
            equal((response.status, response.text()), want, f"{given}")
    pool.stop()


mbtest.main()
