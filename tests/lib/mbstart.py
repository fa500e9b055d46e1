"""The starts whose cost is watched (tests/start-cost), and for which the linker has an order (tests/start-order)."""

import os

ECHO = "return function(socket) socket:write(socket:read()) end\n"
HELLO = """return require("moonbridge_http").generate_handler(function(request)
  request:send_status("200 OK")
  request:send_header("Content-Type", "text/plain")
  request:send_data("Hello, world!\\n")
end)
"""
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

# Name: script, replay.
STARTS = {"echo": (ECHO, b"hello\n"), "hello": (HELLO, GET)}


def write_files(directory, name, case):
    """Writes the script and the replay of a case; returns their paths."""
    paths = []
    for ending, content in ("lua", case[0].encode()), ("in", case[1]):
        paths.append(os.path.join(directory, f"{name}.{ending}"))
        with open(paths[-1], "wb") as file:
            file.write(content)
    return paths
