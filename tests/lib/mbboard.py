"""docs/examples/board.lua in a pool, its clients, and pictures for it."""

import glob
import json
import math
import os
import shutil
import struct
import zlib

import mbhttp
import mbtest
import mbwebsocket
from mbpool import Pool
from mbtest import equal

mbtest.without_leaks()  # in a sandbox nobody can look for them
EXAMPLE = os.path.join(mbtest.SRCDIR, "docs", "examples", "board.lua")
ANN, BOB = "key of Ann, a secret", "key of Bob, a secret"
FORM = "Content-Type: multipart/form-data; boundary=Bound-ary"


def png(width, height, colour):
    """A picture whose pixels are colour(x, y), with x and y from 0 to 1."""
    rows = b"".join(b"\0" + b"".join(bytes(colour(x / width, y / height)) for x in range(width)) for y in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def hills(x, y):
    if (x - 0.7) ** 2 * 1.8 + (y - 0.3) ** 2 < 0.008:
        return 255, 246, 214
    for top, size, shift, colour in ((0.85, 0.06, 1, (24, 64, 58)), (0.7, 0.08, 2, (52, 104, 92)), (0.55, 0.1, 0, (110, 150, 140))):
        if y > top + size * math.sin(7 * x + shift):
            return colour
    return int(250 - 60 * y), int(214 - 10 * y), int(170 + 60 * y)


PNG = png(160, 120, hills)

class Board(Pool):
    """The board, with a directory of its own. changes: pairs of texts, of which the second takes the place of the first in
    a copy of the script."""

    def __init__(self, name, *args, changes=()):
        script = EXAMPLE
        if changes:
            text = mbtest.read_file(EXAMPLE)
            for old, new in changes:
                equal(text.count(old), 1, f"{old} in the script")
                text = text.replace(old, new)
            script = mbtest.write_file(mbtest.tmp(name, "board.lua"), text)
            shutil.copytree(EXAMPLE.removesuffix(".lua"), mbtest.tmp(name, "board"))
        self.data = mbtest.tmp(f"data of '{name}'", "x")[:-2]
        super().__init__(script, *args, env={**os.environ, "STATE_DIRECTORY": self.data})
        self.ready()
        self.base = f"http://127.0.0.1:{self.where[1]}"

    def pictures(self):
        return sorted(os.path.basename(path) for path in glob.glob(f"{glob.escape(self.data)}/pictures/*"))

    def ask(self, target="/", **how):
        with mbhttp.Connection(self.where) as client:
            client.send(mbhttp.request(target, host=f"127.0.0.1:{self.where[1]}", **how))
            return client.response(how.get("method", "GET"))

    def upload(self, picture=PNG, headers=(), **fields):
        fields = {"name": "Ann", "text": "Look", "key": ANN, **fields}
        parts = [(f'name="{name}"', None, value) for name, value in fields.items() if value is not None]
        if picture is not None:
            parts.append(('name="picture"; filename="../../x.html"', "text/html", picture))
        return self.ask("/pictures", method="POST", headers=(FORM, *headers), body=mbhttp.multipart(parts))


class Guest(mbwebsocket.Peer):
    """A client of the WebSocket. key: None sends no hello."""

    def __init__(self, of, key=ANN, *headers):
        super().__init__(mbhttp.Connection(of.where))
        self.client.send(mbwebsocket.upgrade(*headers, target="/live", host=f"127.0.0.1:{of.where[1]}"))
        self.status = self.client.response().status
        if self.status == 101 and key:
            self.first = self.tell(kind="hello", key=key)
            equal(self.first["done"], "hello", f"the first answer, {self.first}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.sock.close()

    def news(self):
        """What the server says next."""
        opcode, data = self.read()
        equal(opcode, mbwebsocket.TEXT, f"the kind of {data!r}")
        return json.loads(data)

    def tell(self, *raw, **message):
        """Sends a message. Returns the answer; what else comes before is dropped."""
        self.send(mbwebsocket.text(*raw) if raw else mbwebsocket.text(json.dumps(message)))
        while True:
            news = self.news()
            if "done" in news:
                return news

    def note(self, text, name="Ann", key=ANN):
        answer = self.tell(kind="note", name=name, text=text, key=key)
        equal(answer["done"], "note", f"the answer, {answer}")
        return answer["notes"][-1]
