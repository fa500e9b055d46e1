#!/usr/bin/python3
"""The socket object on real sockets, TCP and Unix: what blocks, what is partial, what fails, and the order of things.
What needs no timing is in tests/captures; what fails is in faults.py and close.py. Handler and test take turns: the handler
prints a word, the test acts on it."""

import os
import pty
import socket
import subprocess
import sys
import threading

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbhandler import PAIRS, TCP, Handler, finish, gets, send, source, turns
from mbtest import DEADLINE, HANDLE, RUN_MAX, Child, Client, check, equal, local_pair, script, tcp_pair, test


def sends_first(pair, data="input"):
    """The client of this new pair has sent something before the handler starts."""
    pair[0].send(data)
    return pair


def nothing(_client, _handler):
    pass


@test("read_nb returns what is there, and 'block'")
def _():
    turns(
        """
  eq(" block", socket:read_nb())
  eq(" block", socket:read_nb(10))
  eq(" block", socket:read_nb(nil, "\\n"))
  eq(" maxlen", socket:read_nb(0))
  print("some") eq("a maxlen", socket:read(1))
  eq("bc block", socket:read_nb(10))
  eq(" block", socket:read_nb(10, "\\n"))
  print("line") eq("l maxlen", socket:read(1))
  eq("ine1\\n term", socket:read_nb(nil, "\\n"))
  eq("li maxlen", socket:read_nb(2, "\\n"))
  eq("ne2 block", socket:read_nb(nil, "\\n"))
  print("end") eq("x eof", socket:read(100))
  eq(" eof", socket:read_nb())
  eq(" eof", socket:read_nb(1, "\\n"))
""",
        ("some", send("abc")),
        ("line", send("line1\nline2")),
        ("end", lambda client, _: (client.send("x"), client.finish())),
    )


@test("is_closed_by_peer tells the end of the peer's output and a reset, with input waiting, and takes none of it")
def _():
    body = """
  eq("false", socket:is_closed_by_peer())
  eq("false", socket:is_closed_by_peer(0.01))
  print("some")
  eq("a maxlen", socket:read(1))
  eq("false", socket:is_closed_by_peer(0))
  print("end")
  eq("true", socket:is_closed_by_peer(1e9))
  eq("bc eof", socket:read())
  eq("true", socket:is_closed_by_peer())
  socket:write("still"):flush()
"""
    turns(body, ("some", send("abc")), ("end", finish))
    with Handler('print("go") eq("true", socket:is_closed_by_peer(1e9))', pair=tcp_pair) as handler:
        handler.says("go")
        handler.client.send("abc")
        handler.client.reset()
        handler.ends(0, "")
    for bad in ("-1", "{}"):
        done = mbtest.replay(script(f"return function(socket) socket:is_closed_by_peer({bad}) end"), b"")
        check(b"bad argument #1 to 'is_closed_by_peer'" in done.stderr, f"{bad}: {done.stderr}")
    text = "return function(socket) print(socket:is_closed_by_peer()) socket:read() print(socket:is_closed_by_peer()) end"
    done = mbtest.replay(script(text), b"input")
    equal(done.stderr, b"false\ntrue\n", "a replay")


@test("drain_nb counts what is there, and says 'block'")
def _():
    turns(
        """
  eq("0 block", socket:drain_nb())
  print("some") eq("a maxlen", socket:read(1))
  eq("2 block", socket:drain_nb(10))
  print("line") eq("l maxlen", socket:read(1))
  eq("5 term", socket:drain_nb(nil, "\\n"))
  eq("2 maxlen", socket:drain_nb(2, "\\n"))
  eq("3 block", socket:drain_nb(nil, "\\n"))
  print("end") eq("1 eof", socket:drain(100))
  eq("0 eof", socket:drain_nb())
""",
        ("some", send("abc")),
        ("line", send("line1\nline2")),
        ("end", lambda client, _: (client.send("x"), client.finish())),
    )


@test("read waits until it has what it was asked for, however the bytes arrive")
def _():
    body = """
  local data, status = socket:read(10)
  print("ten") eq("0123456789 maxlen", data, status)
  data, status = socket:read(nil, "\\n")
  print("line") eq("abc\\n term", data, status)
  data, status = socket:read(5, "\\n")
  print("part") eq("xyzzy maxlen", data, status)
  data, status = socket:drain(6)
  print("drained") eq("6 maxlen", data, status)
  eq("end eof", socket:read())
"""
    data = b"0123456789abc\nxyzzy123456end"
    for pair in PAIRS.values():
        with Handler(body, pair=pair) as handler:
            if pair is tcp_pair:
                handler.client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in data:
                handler.client.send(bytes([byte]))
            handler.client.finish()
            for word in ("ten", "line", "part", "drained"):
                handler.says(word)
            handler.ends()


@test("read_call and drain_call call their function while they are blocked, drain_call with (socket, 'r')")
def _():
    turns(
        """
  local calls = 0
  local function wait(...)
    calls = calls + 1
    eq("0", select("#", ...))
    if calls == 1 then print("one") elseif calls == 2 then print("two") end
    while socket:read_nb(0) and calls > 2 do break end
    os.execute("exec sleep 0.01")
  end
  eq("abcdef\\n term", socket:read_call(wait, nil, "\\n"))
  assert(calls >= 2)
  local drains = 0
  local function wait_drain(...)
    drains = drains + 1
    eq(tostring(socket) .. " r", ...)
    if drains == 1 then print("three") elseif drains == 2 then print("four") end
    os.execute("exec sleep 0.01")
  end
  eq("7 term", socket:drain_call(wait_drain, nil, "\\n"))
  assert(drains >= 2)
  eq(" eof", socket:read_call(function() print("five") socket:read(1) end))
""",
        ("one", send("abc")),
        ("two", send("def\n")),
        ("three", send("123")),
        ("four", send("456\n")),
        ("five", finish),
    )


@test("the _yield forms yield: drain_yield (socket, 'r'), the others nothing; they go on when resumed")
def _():
    turns(
        """
  local function drive(f, want, words)
    local co = coroutine.create(f)
    local n = 0
    while true do
      local results = table.pack(coroutine.resume(co))
      assert(results[1], results[2])
      if coroutine.status(co) == "dead" then return end
      n = n + 1
      eq(want, table.unpack(results, 2, results.n))
      if words[n] then print(words[n]) end
      os.execute("exec sleep 0.01")
    end
  end
  drive(function() eq("ab\\n term", socket:read_yield(nil, "\\n")) end, "", { "one", "two" })
  drive(function() eq("3 term", socket:drain_yield(nil, "\\n")) end, tostring(socket) .. " r", { "three" })
  drive(function() eq("xyz maxlen", socket:read_yield(3)) end, "", { "four" })
  drive(function() eq(tostring(socket), socket:flush_yield(("z"):rep(8 << 20))) end, "", { "five" })
  local ok, message = pcall(socket.read_yield, socket, 1)
  assert(not ok and message:find("outside a coroutine"), message)
""",
        ("one", send("a")),
        ("two", send("b\n")),
        ("three", send("cd\n")),
        ("four", send("xyz")),
        ("five", gets(b"z" * (8 << 20))),
    )


@test("write_nb and flush_nb never wait: what is queued is counted, and sent in order later")
def _():
    turns(
        """
  local block = ("0123456789abcdef"):rep(4096)
  local queued
  repeat queued = socket:write_nb(block) until queued > 0
  assert(queued <= #block, "more in the queue than was not sent")
  local before = queued
  queued = socket:write_nb(block, "tail")
  -- The system may take a little more at any time, never less than nothing.
  assert(queued > #block and queued <= before + #block + 4, queued)
  before = queued
  queued = socket:flush_nb()
  assert(queued > 0 and queued <= before, queued)
  local large = ("y"):rep(20 << 20)
  before = queued
  queued = socket:write_nb(large)
  assert(queued > (19 << 20) and queued <= before + #large, queued)
  print("queued")
  assert(socket:flush() == socket)
  assert(socket:flush_nb() == 0)
  assert(socket:write_nb("small") == 0)
  assert(socket:flush_nb("er") == 0)
""",
        ("queued", lambda client, _: check_pattern(client.end())),
    )


def check_pattern(got):
    data, how = got
    equal(how, "eof", "end")
    check(data.endswith(b"smaller"), f"the last write is last: {data[-20:]!r}")
    data = data[: -len(b"smaller")]
    head, tail, rest = data.partition(b"tail")
    check(tail and len(head) % 65536 == 0 and head == b"0123456789abcdef" * (len(head) // 16), "blocks in order")
    check(rest == b"y" * (20 << 20), "then the large one")


@test("flush_call and write_call call their function while they are blocked, and return the socket")
def _():
    turns(
        """
  local calls = 0
  local function wait(...)
    eq("0", select("#", ...))
    calls = calls + 1
    if calls == 1 then print("blocked") end
    os.execute("exec sleep 0.01")
  end
  assert(socket:flush_call(wait, ("a"):rep(8 << 20)) == socket)
  assert(calls > 0)
  assert(socket:flush_nb() == 0)
  assert(socket:write_call(wait, ("b"):rep(8 << 20), "c") == socket)
  assert(socket:flush_nb() < 4096)
""",
        ("blocked", gets(b"a" * (8 << 20) + b"b" * (8 << 20) + b"c")),
    )


@test("write keeps what is little, flush sends it; a read that has to wait sends it too")
def _():
    turns(
        """
  socket:write("one\\n")
  turn("written")
  socket:write("two\\n")
  turn("waiting")
  socket:flush("three\\n")
  turn("flushed")
""",
        ("written", lambda client, _: (equal(client.line(), "one", "sent while reading"), client.send("go\n"))),
        ("waiting", lambda client, _: (equal(client.line(), "two", "sent while reading"), client.send("go\n"))),
        ("flushed", lambda client, _: (equal(client.line(), "three", "sent at once"), client.send("go\n"))),
    )


@test("a read that sends what is pending does not wait for a client that does not read")
def _():
    turns(
        """
  socket:write_nb(("x"):rep(10 << 20))
  turn("queued")
  socket:reset()
  print("done")
""",
        ("queued", send("go\n")),
        ("done", nothing),
    )


@test("drain counts up to maxlen over several receives, and takes no more")
def _():
    turns(
        """
  eq("a maxlen", socket:read(1))
  print("go")
  eq("100000 maxlen", socket:drain(100000))
  eq("left maxlen", socket:read(4))
  print("nb")
  local count = 0
  repeat
    local n, status = socket:drain_nb(50000 - count)
    count = count + n
  until status == "maxlen"
  eq("50000 left", count, (socket:read(4)))
  local called
  eq("8 maxlen", socket:drain_call(function()
    if not called then print("more") end
    called = true
    os.execute("exec sleep 0.01")
  end, 8))
  eq("rest eof", socket:read())
""",
        ("go", send(b"x" * 100000 + b"left")),
        ("nb", send(b"x" * 50000 + b"left")),
        ("more", lambda client, _: (client.send("1234"), client.send("5678rest"), client.finish())),
        pairs={name: lambda pair=pair: sends_first(pair(), "a") for name, pair in PAIRS.items()},
    )


@test("read_call and the like do not call their function where nothing blocks")
def _():
    turns(
        """
  local function never() error("called") end
  eq("i maxlen", socket:read(1))
  print("go") eq("go maxlen", socket:read(2))
  eq("ab maxlen", socket:read_call(never, 2))
  eq("4 term", socket:drain_call(never, nil, "\\n"))
  coroutine.wrap(function()
    eq("line\\n term", socket:read_yield(nil, "\\n"))
    eq("4 maxlen", socket:drain_yield(4))
    eq(tostring(socket), socket:flush_yield("x"))
    print("done")
  end)()
  eq(tostring(socket), socket:flush_call(never, "y"))
  eq(tostring(socket), socket:write_call(never, "z"))
""",
        ("go", send("goab123\nline\nrest")),
        ("done", gets(b"xyz")),
        pairs={name: lambda pair=pair: sends_first(pair(), "i") for name, pair in PAIRS.items()},
    )


@test("flush_nb returns the number of bytes that wait, be they ever so few; write_nb 0 for less than 4096")
def _():
    body = """
  local total, queued = 0
  repeat
    queued = socket:flush_nb(("x"):rep(1000))
    total = total + 1000
  until queued > 0
  -- Before the last call nothing waited: what waits now is of that.
  assert(queued <= 1000, queued)
  local more = socket:flush_nb("yy")
  assert(more > 0 and more <= queued + 2, more)
  assert(socket:flush_nb() > 0)
  eq("0", socket:write_nb("z"))
  assert(socket:flush_nb() > 0)
  print("full")
  assert(socket:flush() == socket)
  eq("0", socket:flush_nb())
  print(total)
"""
    # Not TCP, which may take a little more at any time.
    with Handler(body) as handler:
        handler.says("full")
        data, how = handler.client.end()
        handler.says(str(len(data) - 3))
        handler.ends()
        equal((data.replace(b"x", b""), how), (b"yyz", "eof"), "what the client got after the first")


@test("TCP_NODELAY is set once something was flushed")
def _():
    client, conn = tcp_pair()
    with conn.dup() as held, Handler('socket:flush("flushed\\n") turn("flushed")', pair=(client, conn)) as handler:
        handler.says("flushed")
        equal(held.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 1, "TCP_NODELAY")
        handler.go()
        handler.ends()


@test("garbage is collected before memory runs out, in a read and in a write")
def _():
    garbage = """
  collectgarbage() collectgarbage("stop")
  local function fill(kilobytes)
    local g = {}
    while collectgarbage("count") < kilobytes do g[#g + 1] = ("g"):rep(10000) .. #g end
  end
"""
    turns(
        garbage
        + """
  print("go")
  fill(2600)
  local data, status = socket:read(1 << 20, "\\n")
  eq("700001 term", #data, status)
""",
        ("go", lambda client, _: client.send(b"x" * 700000 + b"\n")),
        args=("--memory-limit", "3M"),
    )
    # The queue alone; the string to be sent is made before the garbage.
    turns(
        garbage
        + """
  local y = ("y"):rep(12 << 20)
  collectgarbage()
  fill((12 << 10) + 19000)
  local queued = socket:write_nb(y)
  assert(queued > 5 << 20, queued)
  print("queued")
  assert(socket:flush() == socket)
""",
        ("queued", gets(b"y" * (12 << 20))),
        args=("--memory-limit", "32M"),
    )
    # A small write, whose place is in the queue from the start.
    turns(
        garbage
        + """
  for _ = 1, 300 do
    fill(1000)
    assert(socket:write(("z"):rep(100)) == socket)
  end
  print("done")
""",
        ("done", gets(b"z" * 30000)),
        args=("--memory-limit", "1M"),
    )


@test("EOF in the middle: what there is, and 'eof', again and again")
def _():
    turns(
        """
  print("go")
  eq("partial eof", socket:read(nil, "\\n"))
  eq(" eof", socket:read(nil, "\\n"))
  eq(" eof", socket:read(10))
  eq(" maxlen", socket:read(0))
  eq("0 eof", socket:drain())
  socket:write("still writing\\n")
""",
        ("go", lambda client, _: (client.send("partial"), client.finish())),
    )


@test("finish on TCP: the client sees the end, reading goes on; on a Unix socket both directions are at their end")
def _():
    turns(
        """
  socket:write("bye\\n")
  assert(socket:finish() == true)
  print("finished")
  eq("more\\n eof", socket:read())
  assert(socket:close() == true)
""",
        ("finished", lambda client, _: (equal(client.end(), (b"bye\n", "eof"), "answer"), client.send("more\n"), client.finish())),
        pairs=TCP,
    )
    turns(
        """
  eq("i maxlen", socket:read(1))
  socket:write("bye\\n")
  assert(socket:finish() == true)
  eq(" eof", socket:read())
  eq(" eof", socket:read_nb(1, "\\n"))
  eq("0 eof", socket:drain())
  print("finished")
  assert(socket:close() == true)
  print("closed")
""",
        ("finished", gets(b"bye\n")),
        ("closed", nothing),
        pairs={"Unix": lambda: sends_first(local_pair())},
    )


@test("a socket that is collected is reset")
def _():
    turns(
        """
  socket:flush("x")
  turn("go")
  os.exit(0, true)
""",
        ("go", lambda client, _: (client.send("go\n"), equal(client.end(), (b"x", "reset"), "what the client got"))),
        pairs=TCP,
    )


def from_another(family, host):
    """A connection from 127.0.0.2 to 127.0.0.1, through a listener of this family."""
    with socket.socket(family) as listener:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        client = Client(socket.create_connection(("127.0.0.1", port), DEADLINE, ("127.0.0.2", 0)))
        return client, listener.accept()[0]


@test("addresses: raw bytes, ports, text; nil on a Unix socket without a name")
def _():
    show = """
  eq(want, hex(socket.local_ip4), hex(socket.local_ip6), socket.local_addr, hex(socket.remote_ip4), hex(socket.remote_ip6),
    socket.remote_addr)
  eq(ports, socket.local_tcpport, socket.remote_tcpport)
  eq(ports:find("nil") and "nil" or "integer", math.type(socket.local_tcpport or "none"))
  assert(socket.fd > 2)
  socket:close()
  eq("nil", socket.fd)
  eq(ports, socket.local_tcpport, socket.remote_tcpport)
"""
    mapped = "00000000000000000000ffff7f000001"
    six = "0" * 31 + "1"
    for pair, want in (
        (lambda: tcp_pair(), "7f000001 nil 127.0.0.1 7f000001 nil 127.0.0.1"),
        (lambda: tcp_pair(socket.AF_INET6, "::1"), f"nil {six} ::1 nil {six} ::1"),
        (
            lambda: tcp_pair(socket.AF_INET6, "::", "127.0.0.1", dual_stack=True),
            f"7f000001 {mapped} 127.0.0.1 7f000001 {mapped} 127.0.0.1",
        ),
        # Each end an address of its own, so that they cannot be taken for each other.
        (lambda: from_another(socket.AF_INET, "127.0.0.1"), "7f000001 nil 127.0.0.1 7f000002 nil 127.0.0.2"),
        (
            lambda: from_another(socket.AF_INET6, "::"),
            f"7f000001 {mapped} 127.0.0.1 7f000002 {mapped[:-1]}2 127.0.0.2",
        ),
        (local_pair, "nil nil nil nil nil nil"),
    ):
        client, conn = pair()
        ports = "nil nil"
        if client.sock.family != socket.AF_UNIX:
            ports = f"{conn.getsockname()[1]} {client.sock.getsockname()[1]}"
        with Handler(show, pair=(client, conn), want=want, ports=ports) as handler:
            handler.ends()


@test("a wait function that closes the socket: a Lua error, not a crash")
def _():
    turns(
        """
  local ok, message = pcall(socket.read_call, socket, function() socket:close() end, 1)
  assert(not ok and message:find("closed"), message)
  print("done")
""",
        ("done", nothing),
    )


@test("1 MiB both ways at once, byte for byte, in pieces of odd sizes")
def _():
    data = os.urandom(1 << 20)
    for name, pair in PAIRS.items():
        with Handler(
            """
  local size = 1
  while true do
    local chunk, status = socket:read_nb(size)
    if status == "block" and chunk == "" then chunk, status = socket:read(1) end
    socket:write_nb(chunk)
    if status == "eof" then break end
    size = size * 7 % 10007
  end
""",
            pair=pair,
        ) as handler:
            sender = threading.Thread(target=lambda c=handler.client: (c.send(data), c.finish()))
            sender.start()
            got, how = handler.client.end()
            sender.join()
            equal(how, "eof", f"{name}: end")
            check(got == data, f"{name}: {len(got)} bytes, or other ones")
            handler.ends()


@test("--record: the file holds what was read, and replays to the same output")
def _():
    record = mbtest.tmp("recorded")
    body = 'repeat local line, status = socket:read(nil, "\\n") socket:write("> ", line) until status == "eof"'
    with Handler(body, "--record", record + ".%p", pair=tcp_pair) as handler:
        handler.client.send("one\ntwo\n")
        handler.client.finish()
        want = handler.client.end()[0]
        handler.ends()
    with open(f"{record}.{handler.pid}", "rb") as f:
        argv = [HANDLE, script(source(body))]
        done = subprocess.run(argv, stdin=f, capture_output=True, timeout=RUN_MAX, check=False)
    equal(done.stdout, want, "replay")
    done = mbtest.replay("--record", "/no/such/dir/x", script(source(body)), stdin=b"x")
    equal((done.returncode, done.stdout), (0, b"> x"), "a recording that fails does not disturb")
    check(b"--record" in done.stderr, "but is logged")


@test("a replay from a terminal, and to one")
def _():
    main_fd, tty = pty.openpty()
    path = script("return function(socket) socket:write((socket:read(nil, '\\n')):upper()) end")
    with open("/dev/null", "wb") as null:
        child = Child([HANDLE, path], {0: tty, 1: tty, 2: null})
    os.close(tty)
    os.write(main_fd, b"typed\n")
    got = b""
    while b"TYPED" not in got:
        got += os.read(main_fd, 1000)
    equal(child.wait(), 0, "exit status")
    os.close(main_fd)


mbtest.main()
