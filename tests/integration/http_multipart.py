#!/usr/bin/python3
"""multipart/form-data through the whole handler: a case of each kind that is refused, what is just not; every way to cut a
body; stream handlers that get the same as the parameters hold; and bodies made by chance of all that looks like a
delimiter. All that unit/http_multipart.c has of a body's syntax is not here again."""

import email.mime.multipart
import email.mime.text
import email.policy
import os
import random
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhttp
import mbsplit
import mbtest
from mbtest import check, equal, test

NEXT = mbhttp.request("/next")
CD = b"Content-Disposition: form-data; "

# Says of each part: name, file name, content type, content, in hexadecimal; as parameters or as streams saw it.
REPORT = """
local function hex(s) return s and (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) or "nil" end
local lines = {}
if request.path == "stream" then
  local part
  request:stream_post_params("", function(...)
    local chunk, metadata = ...
    if select("#", ...) == 0 then
      assert(part, "an end without a beginning")
      lines[#lines + 1] = table.concat(part, " ", 1, 3) .. " " .. table.concat(part, "", 4)
      part = nil
    elseif metadata then
      assert(not part, "a part within a part")
      part = {hex(metadata.field_name), hex(metadata.file_name), hex(metadata.content_type), hex(chunk)}
    else
      assert(part and part[4] ~= "" and chunk ~= "", "an empty chunk")
      part[#part + 1] = hex(chunk)
    end
    assert(not chunk or #chunk <= MAXIMUM, "a chunk that is too long")
  end)
  request:consume_input()
  assert(next(request.post_params) == nil, "streamed parameters among the others")
else
  for name, values in pairs(request.post_params_list) do
    for i, value in ipairs(values) do
      local metadata = request.post_metadata_list[name][i]
      lines[#lines + 1] = table.concat({hex(name), hex(metadata.file_name), hex(metadata.content_type), hex(value)}, " ")
    end
    assert(#request.post_metadata_list[name] == #values, "as many metadata as values")
  end
end
ok(request, table.concat(lines, "\\n"))
"""


def report(maximum=65536):
    return mbhttp.source(REPORT.replace("MAXIMUM", str(maximum)), f"maximum_input_chunk_size = {maximum}")


def expected(parts):
    """The same of parts: (name, file name, content type, content), as bytes or None."""
    return [" ".join("nil" if value is None else value.hex() for value in part) for part in parts]


def upload(body, content_type="multipart/form-data; boundary=b", target="/params"):
    return mbhttp.request(target, "POST", body, [f"Content-Type: {content_type}"])


def part(disposition, content=b"1", *fields):
    return b"--b\r\n" + b"\r\n".join([CD + disposition, *fields]) + b"\r\n\r\n" + content + b"\r\n"


def with_head(*lines):
    """A body whose one part has these lines as head."""
    return b"--b\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n1\r\n--b--\r\n"


END = b"--b--\r\n"


def refused(name, cases, make=upload):
    """A test of (data, status, why)."""

    @test(name)
    def _():
        for data, status, why in cases:
            for target in ("/params", "/stream"):
                request = make(data).replace(b"/params", target.encode())
                client = mbhttp.replayed(request + NEXT, report(), log=why)
                response = client.response()
                equal((response.status, response.closes()), (status, True), f"response to {mbtest.short(data)}: {response}")
                check(why in response.text(), f"{why!r} in {response.text()!r}")
                client.nothing_more()


refused(
    "a boundary that is none",
    [(f"multipart/form-data{more}", 400, "boundary") for more in ("", "; boundary=b c", '; boundary="b "', "; boundary=" + "b" * 71)],
    lambda content_type: upload(b"--b--\r\n", content_type),
)

refused(
    "bodies",
    [
        (b"", 400, "closing delimiter"),
        (part(b'name="a"'), 400, "closing delimiter"),
        (part(b'name="a"') + b"--b-", 400, "closing delimiter"),
        (b"--b x\r\n", 400, "behind a boundary"),
        (part(b'name="a"', b"\r\n--b\n") + END, 400, "behind a boundary"),
        (b"--b--x", 400, "behind a boundary"),
        (b"--b-- x\n", 400, "behind a boundary"),
    ],
)

refused(
    "heads of parts",
    [
        (with_head(), 400, "Content-Disposition"),
        (with_head(b"Content-Disposition: attachment; name=a"), 400, "form-data"),
        (with_head(CD + b'filename="a"'), 400, "name"),
        (with_head(CD + b'name="a" filename="b"'), 400, "Content-Disposition"),
        (with_head(CD + b'name="a"; NAME=b'), 400, "twice"),
        (with_head(CD + b'name="a"', b"X"), 400, "colon"),
        (with_head(b" " + CD + b'name="a"'), 400, "field name"),
        (with_head(CD + b'name="a\0b"'), 400, "control"),
        (b"--b\r\n" + CD + b'name="a"\n\r\n1\r\n--b--\r\n', 400, "bare LF"),
    ],
)

refused(
    "limits",
    [
        (with_head(CD + b'name="a"', b"X: " + b"x" * 8192), 413, "head of a part"),
        (with_head(CD + b'name="' + b"a" * 9000 + b'"'), 413, "head of a part"),
        (b"--b\r\n" + b"x" * 9000, 413, "head of a part"),
        (with_head(CD + b'name="a"', *[b"X: y"] * 32), 413, "fields"),
        (part(b'name="a"', b"") * 10001 + END, 413, "colliding parameters"),
    ],
)


def good(data, parts, content_type="multipart/form-data; boundary=b"):
    """These parts come of it, by parameters and by streams, and another request can follow."""
    for target in ("/params", "/stream"):
        client = mbhttp.replayed(upload(data, content_type, target) + NEXT, report())
        got = client.response()
        equal((got.status, got.interim), (200, []), f"response to {mbtest.short(data)}: {got}")
        lines, want = got.text().split("\n") if got.body else [], expected(parts)
        if target == "/params":
            lines, want = sorted(lines), sorted(want)
        equal(lines, want, f"parts of {mbtest.short(data)}")
        equal(client.response().status, 200, "status of the next response")
        client.nothing_more()


@test("what is just within the limits")
def _():
    padding = 8192 - len(CD) - len(b'name="a"\r\nX: \r\n\r\n')
    good(with_head(CD + b'name="a"', b"X: " + b"x" * padding), [(b"a", None, None, b"1")])
    good(with_head(CD + b'name="a"', *[b"X: y"] * 31), [(b"a", None, None, b"1")])
    good(part(b'name="a"', b"") * 10000 + END, [(b"a", None, None, b"")] * 10000)


@test("boundaries and names as clients write them")
def _():
    for boundary, content_type in (
        (b"-" * 70, "multipart/form-data; boundary=" + "-" * 70),
        (b" b c", 'MULTIPART/FORM-DATA ; x="; boundary=no"; BOUNDARY=" b c"'),
    ):
        body = b'--%s\r\n%sname="a\\"; filename="b\\\\c\\"\r\n\r\n1\r\n--%s--\r\n' % (boundary, CD, boundary)
        good(body, [(b"a\\", b"b\\\\c\\", None, b"1")], content_type)


@test("a form that Python's email package writes, with folded lines")
def _():
    name = "report of the committee on weights and measures.txt"
    form = email.mime.multipart.MIMEMultipart("form-data", "/=_b:1")
    for headers, content in (({"name": "text"}, "one"), ({"name": "file", "filename": name}, "two")):
        text = email.mime.text.MIMEText(content, policy=email.policy.HTTP)
        text.add_header("Content-Disposition", "form-data", **headers)
        form.attach(text)
    head, body = form.as_bytes(policy=email.policy.SMTP).split(b"\r\n\r\n", 1)
    check(b"\r\n filename" in body, f"no folded line in {body}")
    content_type = form["Content-Type"].replace("\n", "")
    plain = b'text/plain; charset="us-ascii"'
    good(body, [(b"text", None, plain, b"one"), (b"file", name.encode(), plain, b"two")], content_type)


@test("what has only one meaning, though it is written in an unusual way")
def _():
    good(with_head(CD[:-1], b'\tname = "a"', b" ;filename=\tb", b"Content-Type:", b" a/b"), [(b"a", b"b", b"a/b", b"1")])
    for boundary in ("b", " b", '"\\b"'):
        for end in (b"--b--\n", b"--b--\r", b"--b-- \t\nx", b"--b--\rx"):
            good(part(b"name=a") + end, [(b"a", None, None, b"1")], f"multipart/form-data; boundary ={boundary}")


@test("filename* that cannot be read, and line ends in file names")
def _():
    for text in (b"koi8-r''b", b"utf-8''%ff", b"utf-8''b%0d%0a", b"utf-8''b%00", b"b"):
        good(part(b"name=a; filename*=" + text) + END, [(b"a", None, None, b"1")])
        good(part(b"name=a; filename*=" + text + b"; filename=c") + END, [(b"a", b"c", None, b"1")])
    good(part(b'name="a%0D%0Ab"; filename="c%22%0D%0Ad"') + END, [(b"a\r\nb", b'c"%0D%0Ad', None, b"1")])


@test("an empty file, no file, and a part that has no content at all")
def _():
    body = part(b'name="f"; filename=""', b"", b"Content-Type: application/octet-stream") + part(b'name="e"; filename="x"', b"")
    body += part(b'name="n"', b"") + END
    good(body, [(b"f", b"", b"application/octet-stream", b""), (b"e", b"x", None, b""), (b"n", None, None, b"")])


@test("no parts, a preamble, an epilogue, and nothing behind the closing delimiter")
def _():
    good(END, [])
    good(b"--b--", [])
    good(b"--b--  \t\r\n--b\r\nnot a part\r\n--b--x", [])
    good(b"\r\n" + END, [])
    good(b"preamble --b\r\n-b\r\n--\r\n--c\r\n--b \t\r\n" + part(b"name=a")[5:] + END + b"--b\r\n", [(b"a", None, None, b"1")])


@test("other types are no forms")
def _():
    for content_type in ("multipart/mixed; boundary=b", "multipart/form-data2; boundary=b", "x-multipart/form-data; boundary=b"):
        data = upload(b"nonsense", content_type)
        mbhttp.shows(
            data,
            ("request.post_params_list", "{}"),
            ("request.post_params", "{}"),
            ("request.post_metadata", "nil"),
            ("request.post_metadata_list", "nil"),
        )


# ---- cut in every way ----

SPLIT_PARTS = [
    (b'a"\\', None, None, b"\r\n--\r\n--B"),
    (b"f", b'x"%41%0d%0A', b"text/plain", b"-Bb\r--Bb\n--Bb"),
    (b"e", b"", None, b""),
    (b"f", "€".encode(), None, b"\r"),
]
SPLIT_BODY = (
    b"pre\r\n--B\r\n--Bb\r\n" + CD + b'name="a\\"\\\\"\r\n\r\n' + SPLIT_PARTS[0][3] + b"\r\n--Bb \r\n"
    b"content-type:text/plain\r\n" + CD + b'filename="x%22%41%0d%0A"; name="f"\r\n\r\n' + SPLIT_PARTS[1][3] + b"\r\n--Bb\r\n"
    b"" + CD + b'name=e; filename=""\r\n\r\n\r\n--Bb\t\r\n' + CD + b"name=f; filename*=UTF-8''%e2%82%ac\r\n\r\n\r\r\n--Bb--\r\n--Bb"
)  # fmt: skip


def in_every_way(data, client, ordered):
    want = expected(SPLIT_PARTS)
    ways = [[data[i : i + size] for i in range(0, len(data), size)] for size in (1, 2, 3)]
    ways += [[data[:at], data[at:]] for at in range(len(data))]
    for pieces in ways:
        check(mbsplit.in_pieces(client.sock, *pieces), "the server takes it all")
        response = client.response()
        lines = response.text().split("\n")
        equal(lines if ordered else sorted(lines), want if ordered else sorted(want), f"parts of {pieces[:2]}")


@test("every way to cut a body gives the same parts")
def _():
    content_type = "multipart/form-data; boundary=Bb"
    for maximum in (65536, 7, 1):
        with mbhttp.served(report(maximum)) as (client, _):
            client.send(NEXT)
            client.response()
            for target in ("/params", "/stream"):
                in_every_way(upload(SPLIT_BODY, content_type, target), client, target == "/stream")


@test("and so does every size of chunks")
def _():
    headers = ["Content-Type: multipart/form-data; boundary=Bb", "Transfer-Encoding: chunked"]
    with mbhttp.served(report()) as (client, _):
        for size in range(1, len(SPLIT_BODY) + 1):
            client.send(mbhttp.request("/stream", "POST", mbhttp.chunked(SPLIT_BODY, size), headers))
            equal(client.response().text().split("\n"), expected(SPLIT_PARTS), f"parts, in chunks of {size} bytes")


@test("parts made by chance")
def _():
    chance = random.Random(4)
    delimiter = b"\r\n--B-b"
    fragments = [b"\r", b"\n", b"\r\n", b"-", b"--", b"B", b"b", b"x" * 50, b"\0", b"\xff", b"B-", b"B-b", b"--B-b", b"--B-b--"]
    fragments += [delimiter[:size] for size in range(1, len(delimiter))]

    def content():
        while True:
            data = b"".join(chance.choices(fragments, k=chance.randrange(12)))
            if delimiter not in b"\r\n" + data + b"\r\n":
                return data

    with mbhttp.served(report(chance.randrange(1, 100))) as (client, _):
        client.send(NEXT)
        client.response()
        for _ in range(400):
            parts = [(b"n%d" % i, b"f", b"a/b", content()) for i in range(chance.randrange(5))]
            body = content() + b"\r\n" if chance.random() < 0.5 else b""
            for name, file_name, kind, data in parts:
                body += b'--B-b\r\n%sname="%s"; filename="%s"\r\nContent-Type: %s\r\n\r\n' % (CD, name, file_name, kind)
                body += data + b"\r\n"
            body += b"--B-b--" + (b"\r\n" + content() if chance.random() < 0.5 else b"")
            headers = ["Content-Type: multipart/form-data; boundary=B-b"]
            if chance.random() < 0.5:
                headers.append("Transfer-Encoding: chunked")
                body = mbhttp.chunked(body, chance.randrange(1, 60))
            data = mbhttp.request("/stream", "POST", body, headers)
            size = chance.randrange(10, 200)
            mbsplit.in_pieces(client.sock, *(data[i : i + size] for i in range(0, len(data), size)))
            got = client.response().text()
            equal(got.split("\n") if got else [], expected(parts), f"parts of {body!r}")


mbtest.main()
