"""A client of WebSocket that is strict about what it reads, and sends whatever it is told to, for tests of servers.

    with opened("local ws = request:upgrade_websocket()\\n...") as (peer, server):
        peer.send(text("Hello"), close(1000))
        peer.gets((TEXT, b"Hello"), (CLOSE, b"\\x03\\xe8"))

frame(), text(), binary(), ping(), pong() and close() make frames as bytes, masked unless told otherwise. Deflate is the
client's half of permessage-deflate."""

import contextlib
import struct
import zlib

from mbhttp import good, request, served
from mbtest import check, equal, local_pair

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
MASK = b"\x37\xfa\x21\x3d"  # section 5.7

# A handler sends back what it gets, and shows how it ends.
ECHO = """
local ws = request:upgrade_websocket(%s)
if not ws then return end
while true do
  local message, kind, code, reason = ws:receive()
  if not message then print(kind, code, reason) break end
  if kind == "text" then assert(ws:send(message)) else assert(ws:send_binary(message)) end
end"""


def masked(data, mask):
    if not mask or mask == bytes(4):
        return data
    repeated = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(data), "big")


def frame(opcode, data=b"", final=True, mask=MASK, bits=0, form=None, length=None):
    """Makes a frame. bits: the reserved ones, as 0x40. form: how many bytes the length has, 0, 2 or 8. length: another
    than that of the data. mask=None: none."""
    length = len(data) if length is None else length
    if form is None:
        form = 0 if length < 126 else 2 if length < 65536 else 8
    short = {0: length, 2: 126, 8: 127}[form]
    head = bytes([(0x80 if final else 0) | bits | opcode, (0x80 if mask else 0) | short])
    head += {0: b"", 2: struct.pack(">H", length & 0xFFFF), 8: struct.pack(">Q", length)}[form]
    return head + (mask or b"") + masked(data, mask)


def text(data="", **how):
    return frame(TEXT, data.encode() if isinstance(data, str) else data, **how)


def binary(data=b"", **how):
    return frame(BINARY, data, **how)


def ping(data=b"", **how):
    return frame(PING, data, **how)


def pong(data=b"", **how):
    return frame(PONG, data, **how)


def code(number, reason=""):
    """The payload of a close."""
    return struct.pack(">H", number) + reason.encode()


def close(number=None, reason="", **how):
    return frame(CLOSE, b"" if number is None else code(number, reason), **how)


def upgrade(*headers, **how):
    """Makes a request for a WebSocket. headers: further lines. How: as for request()."""
    usual = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13")
    return request(headers=(*usual, *headers), **how)


END = b"\0\0\xff\xff"  # of each compressed message; it is not sent (RFC 7692, section 7.2.1)
RSV1 = 0x40
OFFER = "Sec-WebSocket-Extensions: permessage-deflate"


class Deflate:
    """Compresses and decompresses messages. forgets, server_forgets: each message stands alone."""

    def __init__(self, bits=15, server_bits=15, forgets=False, server_forgets=False):
        self.bits, self.server_bits, self.forgets, self.server_forgets = bits, server_bits, forgets, server_forgets
        self.packer = self.unpacker = None

    def pack(self, data):
        if not self.packer or self.forgets:
            self.packer = zlib.compressobj(wbits=-self.bits)
        packed = self.packer.compress(data) + self.packer.flush(zlib.Z_SYNC_FLUSH)
        good(packed.endswith(END), "zlib has ended the message")
        return packed[:-4]

    def unpack(self, data):
        if not self.unpacker or self.server_forgets:
            self.unpacker = zlib.decompressobj(wbits=-self.server_bits)
        return self.unpacker.decompress(data + END)

    def text(self, data, **how):
        return text(self.pack(data.encode()), bits=RSV1, **how)

    def binary(self, data, **how):
        return binary(self.pack(data), bits=RSV1, **how)


class Peer:
    """The client's end, behind the handshake. deflate: a Deflate, if that was agreed on; sizes then has the size of each
    payload that came compressed."""

    def __init__(self, client, deflate=None):
        self.client, self.deflate, self.sizes = client, deflate, []

    def send(self, *frames):
        self.client.send(b"".join(frames))

    def read(self):
        """Returns the opcode and the payload of the next frame, which has to be final and well-formed."""
        first, second = self.client.take(2, "in the head of a frame")
        compressed = self.deflate and first & RSV1 and first & 15 in (TEXT, BINARY)
        bits = first & 0xF0 & ~(RSV1 if compressed else 0)
        good(bits == 0x80 and not second & 0x80, f"a frame begins with {first:x} {second:x}")
        length = second
        if second >= 126:
            length = int.from_bytes(self.client.take(2 if second == 126 else 8, "in a length"), "big")
            good(length >= (126 if second == 126 else 65536), f"a length of {length} in {second}")
        data = self.client.take(length, f"in a frame of {length} bytes")
        if compressed:
            self.sizes.append(length)
            data = self.deflate.unpack(data)
        return first & 15, data

    def gets(self, *frames):
        for want in frames:
            equal(self.read(), want, "the next frame")

    def ends(self, *frames, how="eof"):
        """Gets these frames, and then nothing more."""
        self.gets(*frames)
        self.client.nothing_more(how)

    def closed(self, number):
        """Gets a close with this code, and then nothing more."""
        self.ends((CLOSE, code(number)))


@contextlib.contextmanager
def opened(body, options="", headers=(), said=b"", pair=local_pair, deflate=None, **how):
    """Runs mb-handle with a handler on a connection, and makes a WebSocket of that. Gives (Peer, mbhandler.Handler).
    said: bytes that come with the request. deflate: a Deflate, for what is offered then. how: as for mbhttp.served()."""
    headers = [*headers, OFFER] if deflate else headers
    with served(body, options, pair, **how) as (client, server):
        client.send(upgrade(*headers) + said)
        response = client.response()
        equal((response.status, response.value("Sec-WebSocket-Accept")), (101, ACCEPT), f"the handshake: {response}")
        check(response.value("Upgrade") == "websocket" and response.connection() == ["upgrade"], response)
        if deflate:
            check(response.value("Sec-WebSocket-Extensions").startswith("permessage-deflate"), response)
        yield Peer(client, deflate), server


@contextlib.contextmanager
def echoing(websocket="", log="closed\t1000\t\n", **how):
    """Does the same with the handler ECHO. websocket: options of upgrade_websocket, the inside of a table."""
    with opened(ECHO % (f"{{{websocket}}}"), log=log, **how) as both:
        yield both
