#!/usr/bin/python3
"""WebSockets with the clients of others: python3-websockets, Debian's ws for Node.js, and Chromium. Random sequences of
messages come back, compressed or not; random frames, some of which break a rule, end as python3-websockets says that
they have to."""

import asyncio
import codecs
import itertools
import os
import random
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbtest
from mbbrowser import Browser
from mbhttp import Connection, source
from mbtest import DEADLINE, RUN_MAX, about, check, equal, test
from mbwebsocket import BINARY, CLOSE, CONTINUATION, ECHO, PING, PONG, TEXT, Peer, code, frame, upgrade

mbtest.need("systemd-socket-activate")
try:
    import websockets
    from websockets.connection import State
    from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
    from websockets.server import ServerConnection
except ImportError:
    mbtest.bail("python3-websockets missing")

SEED = int(os.environ.get("MB_SEED") or random.SystemRandom().randrange(1 << 30))
print(f"# MB_SEED={SEED}")
# How many sequences there are, of which a slow program (valgrind) gets fewer.
SEQUENCES = 10000 if mbtest.SLOWNESS <= 2 else 500
PER_CONNECTION = 250
MAX_MESSAGE = 70000

# Compresses at /deflate, with the options that are named behind it.
PAGE = '''local asked, deflate = request.get_params, nil
if request.path == "deflate" then
  deflate = {no_context_takeover = asked.alone ~= nil}
  deflate.max_window_bits, deflate.min_size = tonumber(asked.bits), tonumber(asked.least)
end
if request.path == "" then
  request:send_status(200) return request:send_data("<!DOCTYPE html><title>x</title>")
end
'''
where = ("127.0.0.1", mbtest.free_port())
OPTIONS = f'{{max_message = {MAX_MESSAGE}, protocols = {{"chat"}}, deflate = deflate}}'
host = mbhosts.SocketActivate(where, mbtest.script(source(PAGE + ECHO % OPTIONS)))
mbtest.wait_listening(where)
URL = f"ws://127.0.0.1:{where[1]}/ws"
DEFLATE = f"ws://127.0.0.1:{where[1]}/deflate"

SIZES = (0, 1, 2, 3, 7, 8, 9, 31, 32, 33, 124, 125, 126, 127, 128)
SIZES += (1000, 1024, 1025, 4095, 4096, 65535, 65536, MAX_MESSAGE)
LETTERS = ("a", "ä", "€", "😀", "\0", "\x7f", "\u07ff", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff")


def any_size(rnd):
    # Few are large: their bytes take most of the time.
    return rnd.choice(SIZES if rnd.random() < 0.03 else SIZES[:15])


def any_message(rnd):
    if rnd.random() < 0.5:
        return rnd.randbytes(any_size(rnd))
    size = any_size(rnd) // 4
    return "".join(rnd.choices(LETTERS, k=min(size, 50))) + "x" * max(0, size - 50)


def pieces(rnd, message):
    """Cuts a message into some pieces, of which any may be empty."""
    cuts = sorted(rnd.randint(0, len(message)) for _ in range(rnd.randint(1, 4)))
    return [message[a:b] for a, b in zip([0, *cuts], [*cuts, len(message)])]


# ---- python3-websockets as the client ----


async def sequences(rnd, count, url=URL, extension=None):
    """Sends random messages, in fragments or not, and pings between them; all comes back. extension: how the client
    compresses. Returns the value of Sec-WebSocket-Extensions that came."""
    how = {"ping_interval": None, "max_size": None, "compression": None, "subprotocols": ["chat"]}
    before = []
    async with websockets.connect(url, extensions=[extension] if extension else None, **how) as ws:
        equal(ws.subprotocol, "chat", "subprotocol")
        for number in range(count):
            sent, pongs = [], []
            for _ in range(rnd.randint(1, 4)):
                # What came before, too, finds something to refer to.
                message = rnd.choice(before) if extension and before and rnd.random() < 0.4 else any_message(rnd)
                before = [*before[-3:], message]
                await ws.send(pieces(rnd, message) if rnd.random() < 0.5 else message)
                sent.append(message)
                if rnd.random() < 0.2:
                    # The client refuses a second ping with the same bytes before it has the answer to the first.
                    pongs.append(await ws.ping(bytes([len(pongs)]) + rnd.randbytes(rnd.randint(0, 100))))
            for message in sent:
                got = await ws.recv()
                check(got == message, f"sequence {number}: {mbtest.short(got)} instead of {mbtest.short(message)}")
            # A ping whose answer was no longer due has got that of a later one.
            for pong in pongs[-1:]:
                await pong
        await ws.close(3000 + count, "fin")
        equal((ws.close_code, ws.close_reason), (3000 + count, ""), "how it is closed")
        return ws.response_headers.get("Sec-WebSocket-Extensions")


@test(f"{SEQUENCES} random sequences of messages, in fragments, with pings between, come back to python3-websockets")
def _():
    rnd = random.Random(SEED)
    for _ in range(SEQUENCES // PER_CONNECTION):
        asyncio.run(asyncio.wait_for(sequences(rnd, PER_CONNECTION), RUN_MAX))


SWITCH = (False, True)
SERVER_BITS, CLIENT_BITS = (None, 8, 9, 12, 15), (None, True, 9, 15)  # zlib in the client cannot compress with 8


@test("compressed sequences, with every combination of what python3-websockets can offer")
def _():
    rnd = random.Random(SEED)
    options = ("", "least=0", "least=0&bits=9", "least=0&bits=15", "alone=1", "least=0&alone=1&bits=10")
    for offer in itertools.product(SWITCH, SWITCH, SERVER_BITS, CLIENT_BITS):
        url = f"{DEFLATE}?{rnd.choice(options)}"
        with about(f"{offer}, {url}, MB_SEED={SEED}"):
            extension = ClientPerMessageDeflateFactory(*offer)
            answer = asyncio.run(asyncio.wait_for(sequences(rnd, 4, url, extension), RUN_MAX))
            check(answer and answer.startswith("permessage-deflate"), f"the answer: {answer}")


# ---- python3-websockets as the judge ----


WITHIN = "a close within a message"  # which python3-websockets refuses, and RFC 6455 (section 5.4) allows


def judged(said):
    """Returns what an echo sends for these bytes by the rules of python3-websockets: frames, and the code of its close,
    or None."""
    # It has no limit there, as it counts pings that come within a message.
    connection = ServerConnection(state=State.OPEN, max_size=None)
    connection.receive_data(said)
    out, message, kind, decoder = [], b"", None, None
    for event in connection.events_received():
        if event.opcode in (TEXT, BINARY):
            message, kind = b"", event.opcode
            decoder = codecs.getincrementaldecoder("utf-8")() if kind == TEXT else None
        if event.opcode in (TEXT, BINARY, CONTINUATION):
            message += event.data
            if len(message) > MAX_MESSAGE:
                return out, 1009
            try:
                if decoder:
                    decoder.decode(event.data, event.fin)
            except UnicodeDecodeError:
                return out, 1007
            if event.fin:
                out.append((kind, message))
        elif event.opcode == PING:
            out.append((PONG, bytes(event.data)))
        elif event.opcode == CLOSE:
            number = int.from_bytes(event.data[:2], "big")
            return out, number or 1005
    if connection.parser_exc and not isinstance(connection.parser_exc, EOFError):
        within = str(connection.parser_exc) == "incomplete fragmented message"
        return out, WITHIN if within else connection.close_sent.code
    return out, None


def any_frames(rnd):
    """Random frames, some of them wrong."""
    said = b""
    open_message = False
    for _ in range(rnd.randint(1, 8)):
        wrong = rnd.random()
        size = any_size(rnd)
        if rnd.random() < 0.3:
            opcode, size, final = rnd.choice((PING, PONG)), min(size, 125), True
        else:
            opcode = CONTINUATION if open_message else rnd.choice((TEXT, BINARY))
            final = rnd.random() < 0.6
            open_message = not final
        data = rnd.randbytes(size)
        if opcode == TEXT and wrong >= 0.05:
            data = "".join(rnd.choices(LETTERS[:5], k=size // 4)).encode()
        if opcode == CONTINUATION and rnd.random() < 0.8:
            data = b"a" * size
        how = {"final": final, "mask": rnd.randbytes(4)}
        if wrong > 0.98:
            how["bits"] = rnd.choice((0x10, 0x20, 0x40))
        elif wrong > 0.96:
            opcode = rnd.choice((CONTINUATION, TEXT, 3, 7, 11, 15))
        elif wrong > 0.94:
            how["final"] = False
        elif wrong > 0.93:
            number = rnd.choice((999, 1000, 1005, 1015, 3000))
            opcode, data = CLOSE, rnd.choice((b"", b"\x03", code(number), code(1000) + b"\xff"))
            how["final"] = True
        elif wrong > 0.92:
            data += b"x" * MAX_MESSAGE
        elif wrong > 0.91:
            how["mask"] = None
        said += frame(opcode, data, **how)
    return said


@test(f"{SEQUENCES // 20} connections with random frames, some of them wrong, end as python3-websockets has it")
def _():
    rnd = random.Random(SEED)
    codes = {}
    for number in range(SEQUENCES // 20):
        said = any_frames(rnd)
        want, end = judged(said)
        codes[end] = codes.get(end, 0) + 1
        with about(f"connection {number}, MB_SEED={SEED}, {said[:60]!r} {end}"), Connection(where) as client:
            client.send(upgrade(target="/ws") + said)
            equal(client.response().status, 101, "the handshake")
            client.finish()
            peer = Peer(client)
            got = []
            while client.buffer or client.sock.recv(1, 2):
                got.append(peer.read())
            last = got.pop()[1] if got and got[-1][0] == CLOSE else None
            # Only the last of several pings needs an answer, and none behind a close: those that came are among these.
            messages = [f for f in got if f[0] != PONG]
            check(messages == [f for f in want if f[0] != PONG], f"{mbtest.short(got)} instead of {mbtest.short(want)}")
            rest = iter(want)
            check(all(f in rest for f in got), f"the order of {mbtest.short(got)}, of {mbtest.short(want)}")
            if end == WITHIN and last is not None:
                continue
            equal(last, None if end is None else b"" if end == 1005 else code(end), "the close")
    check(mbtest.SLOWNESS > 2 or {None, 1002, 1007, 1009} <= codes.keys(), f"each kind of end: {codes}")


# ---- other clients ----

NODE = """
const WebSocket = require("/usr/share/nodejs/ws");
const ws = new WebSocket(process.argv[2], "chat", JSON.parse(process.argv[3]));
const sent = ["Grüße", Buffer.from([0, 255]), "", Buffer.alloc(70000, 7)];
let got = 0, pongs = 0;
ws.on("open", () => { ws.ping("p"); sent.forEach((m) => ws.send(m)); ws.send("in ", {fin: false}); ws.send("two"); });
ws.on("pong", (data) => { pongs += data.toString() == "p"; });
ws.on("message", (data, isBinary) => {
  const want = got < sent.length ? sent[got] : "in two";
  if (isBinary != (typeof want != "string") || !data.equals(Buffer.from(want))) throw new Error("message " + got);
  if (++got > sent.length) ws.close(3005, "bye");
});
ws.on("close", (code) => console.log(ws.protocol, got, pongs, code, ws.extensions));
"""


@test("ws for Node.js")
def _():
    node = mbtest.need("node")
    if not os.path.isdir("/usr/share/nodejs/ws"):
        mbtest.bail("node-ws missing")
    path = mbtest.write_file(mbtest.tmp("client.js"), NODE)
    packed = b" permessage-deflate"
    for url, options, want in (
        (URL, '{"perMessageDeflate": false}', b""),
        (DEFLATE, "{}", packed),
        (DEFLATE + "?bits=15", '{"perMessageDeflate": {"serverMaxWindowBits": 8, "clientMaxWindowBits": 8}}', packed),
        (DEFLATE + "?alone=1&least=0", '{"perMessageDeflate": {"threshold": 0}}', packed),
    ):
        done = subprocess.run([node, path, url, options], capture_output=True, timeout=DEADLINE, check=False)
        equal((done.stdout.rstrip(), done.stderr), (b"chat 5 1 3005" + want, b""), url)


BROWSER = """
return new Promise((resolve) => {
  const sent = ["Grüße", "", "x".repeat(70000), new Uint8Array([0, 255]), new Uint8Array(70000).fill(7)], got = [];
  const ws = new WebSocket(arguments[0], ["other", "chat"]);
  ws.binaryType = "arraybuffer";
  ws.onopen = () => sent.forEach((m) => ws.send(m));
  ws.onmessage = (e) => {
    got.push(typeof e.data == "string" ? e.data : new Uint8Array(e.data));
    if (got.length == sent.length) ws.close(3005, "bye");
  };
  const same = () => got.every((m, i) => String(m) == String(sent[i]));
  ws.onclose = (e) => resolve([ws.protocol, got.length, same(), e.code, e.wasClean, ws.extensions]);
});
"""


@test("Chromium, from a page of the same origin; one of another is refused")
def _():
    browser = Browser()
    browser.open(f"http://127.0.0.1:{where[1]}/")
    equal(browser.run(BROWSER, URL), ["chat", 5, True, 3005, True, ""], "the same origin")
    packed = "permessage-deflate; client_max_window_bits=12"
    equal(browser.run(BROWSER, DEFLATE), ["chat", 5, True, 3005, True, packed], "compressed")
    packed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    alone = browser.run(BROWSER, DEFLATE + "?alone=1&bits=15")
    equal(alone, ["chat", 5, True, 3005, True, packed], "each message alone")
    browser.open(f"http://localhost:{where[1]}/")
    equal(browser.run(BROWSER, URL)[1:2] + browser.run(BROWSER, URL)[3:5], [0, 1006, False], "another origin")


mbtest.main()
