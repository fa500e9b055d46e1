#!/usr/bin/python3
"""mb.crypto, held against Python's base64, hashlib and hmac; in a sandbox, and in mb-handle-static."""

import base64
import binascii
import hashlib
import hmac
import os
import random
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import CHOSEN, SHARED, check, equal, script, test

SEED = int(os.environ.get("MB_TURN") or 1)
CASES = 300 if mbtest.VALGRIND else 3000


def run(text, data=b"", *args, program=None, status=0):
    """What a handler with this body writes: s is the connection, c the module. Returns its output and the log."""
    path = script(f'local c = require "mb.crypto"\nreturn function(s)\n{text}\nend\n')
    done = subprocess.run([program or mbtest.HANDLE, *args, path], input=data, capture_output=True, timeout=mbtest.RUN_MAX, check=False)
    equal(done.returncode, status, f"exit status; log: {done.stderr.decode()}")
    return done.stdout, done.stderr.decode()


mbtest.HANDLE = SHARED  # what mb-handle-static cannot do is tried below


# What reads the cases of a test: a size and bytes, both as often as a case has parts.
READ = """
local function part()
  local line = s:read(20, "\\n")
  if not line or line == "" then return nil end
  return s:read(tonumber(line)) or ""
end
"""


def parts(cases):
    return b"".join(b"%d\n%s" % (len(piece), piece) for case in cases for piece in case)


def some_bytes(rng, most=200):
    """Bytes of any kind; some of them rather look like text."""
    size = rng.choice((0, 1, 2, 3, 55, 56, 63, 64, 65, 119, 128, rng.randrange(most)))
    if rng.random() < 0.3:
        return bytes(rng.choice(b"ABab09+/-_= \n") for _ in range(size % 12))
    return rng.randbytes(size)


@test(f"{CASES} random inputs are encoded as Python encodes them, and come back (seed {SEED})")
def _():
    rng = random.Random(SEED)
    cases = [(some_bytes(rng),) for _ in range(CASES)]
    out, log = run(READ + """
    for bytes in part do
      local b, u, h = c.base64(bytes), c.base64url(bytes), c.hex(bytes)
      assert(c.from_base64(b) == bytes and c.from_base64url(u) == bytes and c.from_hex(h) == bytes)
      assert(c.from_hex(h:upper()) == bytes)
      s:write(b, " ", u, " ", h, "\\n")
    end
    """, parts(cases))
    want = [b" ".join((base64.b64encode(p), base64.urlsafe_b64encode(p).rstrip(b"="), p.hex().encode())) for p, in cases]
    equal((out.split(b"\n")[:-1], log), (want, ""), "texts")


def decoded(text):
    """What Python makes of base64, and whether it is exactly what it makes of that; else None."""
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return value if base64.b64encode(value) == text else None


def url_decoded(text):
    if b"+" in text or b"/" in text or b"=" in text:
        return None
    return decoded(text.replace(b"-", b"+").replace(b"_", b"/") + b"=" * (-len(text) % 4))


@test(f"{CASES} texts that are base64, nearly so, or not, are taken and refused as by Python, with a message")
def _():
    rng = random.Random(SEED + 1)
    texts = []
    for _ in range(CASES):
        text = bytearray(base64.b64encode(rng.randbytes(rng.randrange(9))))
        for _ in range(rng.randrange(3)):
            how, at = rng.randrange(4), rng.randrange(len(text) + 1)
            if how == 0:
                text[at:at] = bytes([rng.choice(b"ABgQw=+/-_ \n\0\xff")])
            elif how == 1:
                del text[at : at + 1]
            elif how == 2 and at < len(text):
                text[at] = rng.choice(b"ABgQw=+/-_") if rng.random() < 0.7 else rng.randrange(256)
            else:
                text = text.rstrip(b"=")
        texts.append((bytes(text),))
    out, log = run(READ + """
    for text in part do
      for _, decode in ipairs{c.from_base64, c.from_base64url} do
        local bytes, message = decode(text)
        assert(bytes or message:find("^no base64u?r?l? at byte %d+: [a=]"), message)
        s:write(bytes and "=" .. c.hex(bytes) or "nil", " ")
      end
    end
    """, parts(texts))

    def shown(value):
        return "nil" if value is None else "=" + value.hex()

    want = [shown(f(text)) for text, in texts for f in (decoded, url_decoded)]
    equal((out.decode().split(), log), (want, ""), "bytes")
    check(300 < want.count("nil") * 3000 / CASES < 6000, f"{want.count('nil')} of {len(want)} are refused")


@test(f"{CASES} digests and codes are those of hashlib and hmac; so are RFC 4231's, and a large one")
def _():
    rng = random.Random(SEED + 2)
    cases = [(some_bytes(rng) or b"k", some_bytes(rng)) for _ in range(CASES)]
    rfc = [
        (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        (bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
        (b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
        (b"\xaa" * 131, b"This is a test using a larger than block-size key and a larger than block-size data. The key needs "
         b"to be hashed before being used by the HMAC algorithm.", "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
    ]
    cases += [(key, data) for key, data, _ in rfc] + [(b"k" * 5000, rng.randbytes(1 << 20))]
    out, log = run(READ + """
    for key in part do
      local data = part()
      s:write(c.hex(c.sha256(data)), " ", c.hex(c.hmac_sha256(key, data)), "\\n")
    end
    """, parts(cases))
    want = [f"{hashlib.sha256(data).hexdigest()} {hmac.digest(key, data, 'sha256').hex()}" for key, data in cases]
    lines = out.decode().splitlines()
    equal((lines, log), (want, ""), "digests and codes")
    equal([line.split()[1] for line in lines[-len(rfc) - 1 : -1]], [code for _, _, code in rfc], "RFC 4231")


@test("equal() is true for what is the same, and false for one changed bit anywhere and for another size")
def _():
    out, _ = run("""
    local a = c.random_bytes(40)
    assert(c.equal("", "") and c.equal(a, a) and c.equal(a, a:sub(1, 20) .. a:sub(21)))
    for bit = 0, 319 do
      local at = bit // 8 + 1
      local other = a:sub(1, at - 1) .. string.char(a:byte(at) ~ 1 << bit % 8) .. a:sub(at + 1)
      assert(#other == 40 and not c.equal(a, other) and not c.equal(other, a), bit)
    end
    assert(not c.equal(a, a:sub(1, 39)) and not c.equal(a:sub(1, 39), a) and not c.equal("", "\\0"))
    s:write("fine")
    """)
    equal(out, b"fine", "answer")


@test("random_bytes() gives as many as asked, up to 65536, never the same, with every value")
def _():
    out, _ = run("""
    for _, n in ipairs{1, 2, 255, 256, 257, 65536} do assert(#c.random_bytes(n) == n) end
    local seen = {}
    for _ = 1, 1000 do
      local text = c.random_bytes(16)
      assert(not seen[text])
      seen[text] = true
    end
    s:write(c.random_bytes(65536))
    """)
    equal((len(out), len(set(out))), (65536, 256), "bytes, and different ones")


@test("misuse is an error that names the argument and the script's line")
def _():
    for call, words in (
        ("c.base64()", "bad argument #1 to 'base64' (string expected, got no value)"),
        ("c.base64(1)", "bad argument #1 to 'base64' (string expected, got number)"),
        ("c.from_base64(nil)", "bad argument #1 to 'from_base64' (string expected, got nil)"),
        ("c.from_hex({})", "bad argument #1 to 'from_hex' (string expected, got table)"),
        ("c.equal('a', 1)", "bad argument #2 to 'equal' (string expected, got number)"),
        ("c.equal(nil, nil)", "bad argument #1 to 'equal' (string expected, got nil)"),
        ("c.sha256(12)", "bad argument #1 to 'sha256' (string expected, got number)"),
        ("c.hmac_sha256('', 'x')", "bad argument #1 to 'hmac_sha256' (expected a key, got an empty string)"),
        ("c.hmac_sha256('k')", "bad argument #2 to 'hmac_sha256' (string expected, got no value)"),
        ("c.random_bytes(0)", "bad argument #1 to 'random_bytes' (expected 1 to 65536 bytes)"),
        ("c.random_bytes(65537)", "bad argument #1 to 'random_bytes' (expected 1 to 65536 bytes)"),
        ("c.random_bytes(-1)", "bad argument #1 to 'random_bytes' (expected 1 to 65536 bytes)"),
        ("c.random_bytes(1.5)", "bad argument #1 to 'random_bytes' (number has no integer representation)"),
        ("c.random_bytes()", "bad argument #1 to 'random_bytes' (number expected, got no value)"),
    ):
        out, _ = run(f"local good, message = pcall(function()\nlocal x = {call}\nend)\ns:write(tostring(good), message)")
        check(out.startswith(b"false") and out.endswith(f".lua:4: {words}".encode()), f"{call}: {out}")


MAPPED = """
for line in io.lines("/proc/self/maps") do
  if line:find("nettle") then s:write("mapped") return end
end
s:write("not mapped")
"""


@test("the library is loaded by the first call that needs it, not by require, and not by the rest of the module")
def _():
    use = 'c.from_hex(c.hex(c.random_bytes(4))) c.equal(c.base64("a"), "b")'
    equal(run(use + MAPPED)[0], b"not mapped", "without a call")
    equal(run('c.sha256("")' + MAPPED)[0], b"mapped", "after sha256")
    equal(run('c.hmac_sha256("k", "")' + MAPPED)[0], b"mapped", "after hmac_sha256")


@test("in a sandbox the first call may be in the handler; not if only the handler requires the module, and the error says so")
def _():
    call = 's:write(c.hex(c.hmac_sha256("k", "d")))'
    want = hmac.digest(b"k", b"d", "sha256").hex().encode()
    equal(run(call, b"", "--sandbox=strict"), (want, ""), "--sandbox=strict")
    path = script(f'local c = require "mb.crypto"\nlisten{{sandbox = "strict", connect = function(s) {call} end}}')
    done = mbtest.replay(path)
    equal((done.stdout, done.stderr), (want, b""), 'sandbox = "strict"')
    path = script(f'return function(s)\nlocal c = require "mb.crypto"\nassert(c.base64("fine") == "ZmluZQ==")\n{call}\nend')
    done = mbtest.replay("--sandbox=strict", path)
    equal((done.stdout, done.returncode), (b"", 70), "required in the handler")
    check(b".lua:4: hmac_sha256: libnettle.so.8: " in done.stderr and b"in a sandbox, require mb.crypto before the handler runs" in done.stderr,
          done.stderr)


@test("in mb-handle-static all but what needs the library works; that is an error which says what to start")
def _():
    if CHOSEN == SHARED:
        return mbtest.diagnose("there is no mb-handle-static")
    out, log = run('s:write(c.base64(c.from_hex(c.hex("abc"))), #c.random_bytes(16), tostring(c.equal("a", "a")))', program=CHOSEN)
    equal((out, log), (b"YWJj16true", ""), "the rest")
    for call in ('c.sha256("x")', 'c.hmac_sha256("k", "x")'):
        _, log = run(f"local x = {call}", program=CHOSEN, status=70)
        check(f".lua:3: {call[2 : call.index('(')]}: mb-handle-static loads no modules in C: start mb-handle in its place" in log, log)


@test("without a descriptor left the call is an error, and works when there is one")
def _():
    out, _ = run("""
    local files = {}
    while true do
      local file = io.open("/dev/null")
      if not file then break end
      files[#files + 1] = file
    end
    local good, message = pcall(c.sha256, "x")
    for _, file in ipairs(files) do file:close() end
    s:write(tostring(good), " ", message, " ", #c.sha256("x"))
    """)
    check(out.startswith(b"false sha256: libnettle.so.8: ") and b"oo many open files" in out and out.endswith(b" 32"), out)


mbtest.main()
