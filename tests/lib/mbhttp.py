"""A strict reader of HTTP responses, for tests of what servers send: whatever RFC 9112 does not allow raises Malformed.
Must never put up with what a lenient client puts up with, nor read further than to the end of a response.

    with Connection(where) as client:         # what mbtest.Client takes, or a Client
        client.send("GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        response = client.response()          # response("HEAD") after a HEAD request, response(version="1.0") after a 1.0 one
        response.status, response.reason, response.value("Date"), response.body, response.framing, response.interim
        client.nothing_more()                 # the server ended the connection, without another byte

Piecewise: head() and then chunk() until it returns b"", or data(response) for a body of any framing.
request(), multipart() and chunked() make requests as bytes. served(), replayed() and checked() run a handler."""

import contextlib
import os
import re

import mbhandler
import mbtest
from mbtest import DEADLINE, Failed, check, equal, local_pair, short

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ([\t -~\x80-\xff]*)")
IMF_FIXDATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3]\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} [0-2]\d:[0-5]\d:[0-6]\d GMT"
)
LINE_MAX = 65536  # no test has a longer line; a server that never ends its line does not fill the memory
# A response may have each of these fields once; it may have several of any other.
SINGLE = ("date", "content-length", "transfer-encoding", "content-type", "content-range", "last-modified")


class Malformed(Failed):
    """The response breaks the rules of RFC 9110 or 9112, or ended early."""


def good(condition, what):
    if not condition:
        raise Malformed(what)


class Response:
    """A response. headers is a list of (name, value) as sent. framing is "none" (no body is allowed), "length",
    "chunked" or "close". chunks has the chunks of a chunked body, interim the 1xx responses that came before."""

    def __init__(self, status, reason, headers):
        self.status, self.reason, self.headers = status, reason, headers
        self.framing, self.body, self.chunks, self.interim = "none", b"", [], []

    def values(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def value(self, name):
        """Returns the value of a field that may occur once; None when it does not occur."""
        values = self.values(name)
        check(len(values) <= 1, f"{name} occurs {len(values)} times: {values}")
        return values[0] if values else None

    def length(self):
        return None if self.value("Content-Length") is None else int(self.value("Content-Length"))

    def connection(self):
        """Returns the options of Connection, in lower case."""
        return [option.strip().lower() for value in self.values("Connection") for option in value.split(",")]

    def closes(self):
        return "close" in self.connection()

    def text(self):
        return self.body.decode(errors="backslashreplace")

    def __repr__(self):
        return f"<{self.status} {self.reason} {self.headers} {self.framing} {short(self.body)}>"


class Connection(mbtest.Client):
    """A client that reads responses. where: as for mbtest.Client, or a Client, whose socket it takes over."""

    def __init__(self, where):
        if isinstance(where, mbtest.Client):
            super().__init__(where.sock)
            self.buffer = where.buffer
        else:
            super().__init__(where)

    # ---- bytes ----

    def more(self, what):
        """Receives something. what: where in the response we are, for the message."""
        try:
            data = self.sock.recv(1 << 18)
        except TimeoutError:
            raise Malformed(f"nothing within {DEADLINE} s {what}, after {short(self.buffer)}") from None
        except ConnectionResetError:
            raise Malformed(f"reset {what}, after {short(self.buffer)}") from None
        good(data, f"end of the connection {what}, after {short(self.buffer)}")
        self.buffer += data

    def take(self, size, what):
        """Reads exactly so many bytes."""
        pieces, have = [self.buffer], len(self.buffer)
        while have < size:
            self.buffer = b""
            self.more(f"{what} ({have} of {size} bytes)")
            pieces.append(self.buffer)
            have += len(self.buffer)
        data = b"".join(pieces)
        self.buffer = data[size:]
        return data[:size]

    def crlf_line(self, what):
        """Reads a line. Returns it without its CR LF. A bare CR or LF is malformed."""
        while b"\n" not in self.buffer:
            good(len(self.buffer) <= LINE_MAX, f"a line without an end {what}: {short(self.buffer)}")
            self.more(what)
        line, _, self.buffer = self.buffer.partition(b"\n")
        good(line.endswith(b"\r"), f"a line that ends with a bare LF {what}: {short(line)}")
        line = line[:-1]
        good(not any(b in line for b in (b"\r", b"\0")), f"CR or NUL {what}: {short(line)}")
        return line

    # ---- responses ----

    def head(self, method="GET", version="1.1"):
        """Reads the head of a response, which may be an interim one. Its framing is that of the body."""
        line = self.crlf_line("in the status line")
        matched = STATUS_LINE.fullmatch(line)
        good(matched, f"status line {short(line)}")
        headers = []
        while field := self.crlf_line("in the head"):
            name, colon, value = field.partition(b":")
            good(colon and TOKEN.fullmatch(name), f"field line {short(field)}")
            value = value.strip(b" \t")
            good(not any(c < 32 and c != 9 or c == 127 for c in value), f"control character in {short(field)}")
            headers.append((name.decode(), value.decode("latin-1")))
        response = Response(int(matched[1]), matched[2].decode("latin-1"), headers)
        self._check_head(response, version)
        response.framing = self._framing(response, method, version)
        return response

    @staticmethod
    def _check_head(response, version):
        for name in SINGLE:
            good(len(response.values(name)) <= 1, f"{name} occurs several times: {response}")
        if response.status >= 200:
            good(response.value("Date") is not None, f"no Date: {response}")
        if response.value("Date") is not None:
            good(IMF_FIXDATE.fullmatch(response.value("Date")), f"Date {response.value('Date')!r}")
        good(response.status >= 200 or version != "1.0", f"an interim response to HTTP/1.0: {response}")

    @staticmethod
    def _framing(response, method, version):
        length, coding = response.value("Content-Length"), response.value("Transfer-Encoding")
        good(length is None or re.fullmatch("[0-9]+", length), f"Content-Length {length!r}")
        good(length is None or coding is None, "Content-Length and Transfer-Encoding")
        if response.status < 200 or response.status == 204:
            good(length is None and coding is None, f"a {response.status} response with {response.headers}")
            return "none"
        if response.status == 205:
            good(length == "0" and coding is None, f"a 205 response with {response.headers}")
        if coding is not None:
            good(coding == "chunked" and version != "1.0", f"Transfer-Encoding {coding!r} to HTTP/{version}")
        if method == "HEAD" or response.status == 304:
            return "none"
        if length is None and coding is None:
            good(response.closes(), f"a body without framing, and no Connection: close: {response.headers}")
            return "close"
        return "chunked" if coding else "length"

    def chunk(self):
        """Reads the next chunk of a chunked body. Returns b"" for the last, having read the empty trailer section."""
        line = self.crlf_line("in the line of a chunk")
        good(re.fullmatch(rb"[0-9a-fA-F]{1,16}", line), f"chunk line {short(line)}")
        size = int(line, 16)
        data = self.take(size, "in a chunk")
        good(self.take(2, "after a chunk") == b"\r\n", "no CR LF behind a chunk (or a trailer, which none has)")
        return data

    def to_end(self):
        """Reads everything up to the end of the connection, which must not be a reset."""
        data, how = self.end()
        good(how == "eof", f"{how} after {short(data)}")
        return data

    def data(self, response):
        """Reads the body that belongs to a head; returns it."""
        if response.framing == "length":
            response.body = self.take(response.length(), "in the body")
        elif response.framing == "chunked":
            while chunk := self.chunk():
                response.chunks.append(chunk)
            response.body = b"".join(response.chunks)
        elif response.framing == "close":
            response.body = self.to_end()
        return response.body

    def response(self, method="GET", version="1.1"):
        """Reads a response with its body, behind any number of interim ones. A 101 counts as a final one."""
        interim = []
        while True:
            response = self.head(method, version)
            if response.status >= 200 or response.status == 101:
                break
            interim.append(response)
        response.interim = interim
        self.data(response)
        return response

    def nothing_more(self, how="eof"):
        """Checks that the server ends the connection now and sends nothing more."""
        got = self.end()
        check(got == (b"", how), f"after the response: {short(got)}, expected nothing and {how}")


class Captured(Connection):
    """Reads the output of a replay in the same way."""

    def __init__(self, data):  # pylint: disable=super-init-not-called
        self.buffer = data

    def __exit__(self, *_):
        pass

    def more(self, what):
        raise Malformed(f"end of the output {what}, after {short(self.buffer)}")

    def end(self):
        data, self.buffer = self.buffer, b""
        return data, "eof"


# ---- requests ----


def data_of(value):
    return value.encode("latin-1") if isinstance(value, str) else value


def request(target="/", method="GET", body=None, headers=(), version="1.1", host="a.example"):
    """Makes a request as bytes. headers are lines. Adds Content-Length for a body, unless a header frames it."""
    lines = [f"{method} {target} HTTP/{version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += headers
    framed = any(h.lower().startswith(("content-length:", "transfer-encoding:")) for h in headers)
    if body is not None and not framed:
        lines.append(f"Content-Length: {len(data_of(body))}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + data_of(body or b"")


def chunked(data, size):
    """Makes a chunked body: the data in chunks of this size, and the last chunk."""
    data = data_of(data)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def multipart(parts, boundary="Bound-ary"):
    """Makes a multipart/form-data body. Each part is (disposition parameters, Content-Type or None, data)."""
    body = b""
    for parameters, content_type, data in parts:
        body += f"--{boundary}\r\nContent-Disposition: form-data; {parameters}\r\n".encode()
        body += f"Content-Type: {content_type}\r\n\r\n".encode() if content_type else b"\r\n"
        body += data_of(data) + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


# ---- handlers ----

# Functions for checks in handlers. fails(texts, f): f throws an error that has these texts and points at a line of f.
# All of it is in one line, so that the handler's first line is the script's second.
LUA = " ".join(
    r"""
local http, moonbridge_io = require "moonbridge_http", require "moonbridge_io"
local function show(v)
  if type(v) == "string" then return (("%q"):format(v):gsub("\\\n", "\\n")) end
  if type(v) ~= "table" then return tostring(v) end
  local texts, keys, done = {}, {}, {}
  for i = 1, rawlen(v) do texts[i], done[i] = show(v[i]), true end
  for k in pairs(v) do if not done[k] then keys[#keys + 1] = k end end
  table.sort(keys)
  for _, k in ipairs(keys) do
    local name = tostring(k):find("^[%a_][%w_]*$") and k or "[" .. show(k) .. "]"
    texts[#texts + 1] = name .. "=" .. show(v[k])
  end
  return "{" .. table.concat(texts, ",") .. "}"
end
local function eq(want, got)
  want, got = show(want), show(got)
  if got ~= want then error(("got %s, expected %s"):format(got:sub(1, 300), want:sub(1, 300)), 2) end
end
local function fails(texts, f)
  local good, message = pcall(f)
  if good then error("no error, expected one with " .. show(texts), 2) end
  for _, text in ipairs(type(texts) == "table" and texts or {texts}) do
    if not tostring(message):find(text, 1, true) then
      error(("got the error %s, expected %s"):format(message, text), 2)
    end
  end
  local info = debug.getinfo(f, "S")
  local line = math.tointeger(tostring(message):match("^[^\n]-script%d+%.lua:(%d+): "))
  if not line or line < info.linedefined or line > info.lastlinedefined then
    error(("does not point at a line from %d to %d: %s"):format(info.linedefined, info.lastlinedefined, message), 2)
  end
end
local function ok(request, ...)
  request:send_status("200 OK") request:send_data(...) request:finish()
end
""".split("\n")
)


def source(body, options=""):
    """Makes a script whose handler has this body and these options (the inside of a table)."""
    return f"{LUA} return http.generate_handler({{{options}}}, function(request)\n{body}\nend)\n"


# Only this level logs the faults of clients.
ARGS = ("--log-level", "info")
PAIRS = dict(mbhandler.PAIRS)
if mbtest.VALGRIND:  # where a start takes a second; both are among what is not tried with each
    del PAIRS["Unix"]


@contextlib.contextmanager
def served(body, options="", pair=local_pair, status=0, log="", args=(), program=(mbtest.HANDLE,)):
    """Runs mb-handle with this handler (source(), or a whole script) on a connection. Gives (Connection,
    mbhandler.Handler). At the end no more requests come, and mb-handle has to exit with this status. log is a text that
    its log must have; with "" the log must be empty, with None it may have anything. program: what is executed."""
    text = body if "generate_handler" in body else source(body, options)
    client, conn = pair()
    with Connection(client) as connection:
        server = mbhandler.Handler(text, *ARGS, *args, head=None, pair=(client, conn), program=program)
        try:
            yield connection, server
            with contextlib.suppress(OSError):
                connection.finish()
            got = server.child.wait()
        except (Failed, OSError) as error:
            with contextlib.suppress(Failed):
                server.child.wait(1)  # the log at its end says why
            server.child.kill()
            raise Failed(f"{type(error).__name__}: {error}; log: {server.rest()!r}") from None
        text = server.rest()
        equal(got, status, f"exit status (log: {text!r})")
        check(log is None or (log in text if log else text == ""), f"{log!r} in the log: {text!r}")


def replayed(data, body, options="", status=0, log=""):
    """Does the same in a replay of these bytes. Returns the output as Captured."""
    text = body if "generate_handler" in body else source(body, options)
    env = {n: v for n, v in os.environ.items() if n not in mbtest.Child.UNSET}
    done = mbtest.replay(*ARGS, mbtest.script(text), stdin=data_of(data), env=env)
    got = done.stderr.decode(errors="backslashreplace")
    equal(done.returncode, status, f"exit status of the replay (log: {got!r})")
    check(log is None or (log in got if log else got == ""), f"{log!r} in the log of the replay: {got!r}")
    return Captured(done.stdout)


def answers(data, body, options="", pair=local_pair, **how):
    """Returns the one response to this request. It is the same over a socket and in a replay. how: as for served()."""
    method = data_of(data).split(b" ", 1)[0].decode()
    version = data_of(data).split(b"\r\n", 1)[0][-3:].decode()
    with served(body, options, pair, **how) as (client, _):
        client.send(data)
        response = client.response(method, version)
    if mbtest.VALGRIND:  # captures have replays
        return response
    again = replayed(data, body, options, **how).response(method, version)

    def parts(r):
        return r.status, r.reason, [h for h in r.headers if h[0] != "Date"], r.framing, r.body

    equal(parts(again), parts(response), "the response in a replay, with that of the socket expected")
    return response


def checked(data, body, options=""):
    """Runs a handler that checks something by itself, with eq and fails."""
    equal(answers(data, body + '\nok(request, "fine")', options).body, b"fine", "answer")


def shows(data, *cases, before="", options=""):
    """Checks expressions with the request. Each case is (expression, the text that show() makes of its value)."""
    body = before + "\nlocal r = {}\n" + "".join(f"r[#r + 1] = show({expression})\n" for expression, _ in cases)
    response = answers(data, body + 'ok(request, table.concat(r, "\\n"))', options)
    lines = response.body.decode("latin-1").split("\n")
    for (expression, want), got in zip(cases, lines, strict=True):
        equal(got, want, expression)
