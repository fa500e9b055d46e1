#!/usr/bin/python3
"""How a WebSocket waits: both directions at once, moonbridge_io.poll, the _call and _yield forms, mb.scheduler,
finalizers in the middle; and where it runs: in a pool, in a sandbox, in the static program."""

import contextlib
import os
import signal
import sys
import threading
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhandler
import mbpool
import mbtest
from mbhttp import Connection, request, served, source
from mbtest import about, check, equal, local_pair, tcp_pair, test, until
from mbwebsocket import BINARY, CLOSE, ECHO, PING, TEXT, Peer, binary, close, code, opened, text, upgrade

BYE = close(1000)
GOODBYE = (CLOSE, code(1000))
OPEN = "local ws = request:upgrade_websocket(%s)\n"
PAIRS = {"TCP": tcp_pair, "Unix": local_pair}

# ---- both directions at once ----


@test("both send 16 MiB before they read: nobody waits for the other for ever")
def _():
    size = 16 << 20
    body = OPEN % f"{{max_message = {size}}}" + f"""
    assert(ws:send_binary(("x"):rep({size})))
    local message = ws:receive() print(#message)
    """
    for name, pair in PAIRS.items():
        with about(name), opened(body, pair=pair, log=f"{size}\n") as (peer, _):
            peer.send(binary(b"y" * size, mask=bytes(4)))
            peer.gets((BINARY, b"x" * size), GOODBYE)
            peer.send(BYE)


@test("a message comes while one is sent: poll sees it, though it was read before, in the middle of the send")
def _():
    body = OPEN % "" + """
    eq({nil, "block"}, {ws:receive_nb()}) print("ready")
    assert(ws:send_binary(("x"):rep(8000000)))
    assert(moonbridge_io.poll({[ws] = true}, nil, 10), "poll does not see it")
    eq({"a", "text"}, {ws:receive_nb()})
    assert(moonbridge_io.poll({[ws] = true}, nil, 10), "poll does not see the second")
    eq({"b", "text"}, {ws:receive_nb()})
    """
    with opened(body, pair=tcp_pair) as (peer, server):
        server.says("ready")
        peer.send(text("a"), text("b"))
        peer.gets((BINARY, b"x" * 8000000), GOODBYE)
        peer.send(BYE)


@test("poll with a fifth argument: a half frame that was looked at is not ready, whatever else is; a whole one is")
def _():
    body = OPEN % "" + """
    local child, ready = moonbridge_io.exec("true"), {}
    local inputs = {[ws] = true, [child.stdout] = true}
    eq(true, (moonbridge_io.poll({[ws] = true}, nil, 20)))
    eq({nil, "block"}, {ws:receive_nb()})
    eq(true, (moonbridge_io.poll(inputs, nil, 20, nil, ready)))
    eq("r", ready[child.stdout]) eq(nil, ready[ws])
    print("half")
    local message
    repeat
      assert(moonbridge_io.poll({[ws] = true}, nil, 20, nil, ready))
      eq("r", ready[ws])
      message = ws:receive_nb()
    until message
    eq("a", message)
    """
    with opened(body) as (peer, server):
        half = text("a")
        peer.send(half[:3])
        server.says("half")
        peer.send(half[3:])
        peer.gets(GOODBYE)
        peer.send(BYE)


@test("poll: a half frame wakes once and not again; two messages in one segment are both seen")
def _():
    body = OPEN % "" + """
    local wakes, got = 0, {}
    while #got < 4 do
      eq(true, moonbridge_io.poll({[ws] = true}, nil, 20))
      wakes = wakes + 1
      local message, why = ws:receive_nb()
      if message then got[#got + 1] = message else eq("block", why) end
    end
    print(table.concat(got, " "), wakes <= 8 or wakes)
    """
    with opened(body, pair=tcp_pair, log="a b c d\ttrue\n") as (peer, _):
        half = text("a")
        peer.send(half[:3])
        time.sleep(0.3)
        peer.send(half[3:])
        peer.send(text("b") + text("c") + text("d")[:5])
        time.sleep(0.3)
        peer.send(text("d")[5:])
        peer.gets(GOODBYE)
        peer.send(BYE)


@test("poll: the object as a key beside a child's pipe, in both sets")
def _():
    body = OPEN % "" + """
    local child = assert(moonbridge_io.exec("cat"))
    child.stdin:flush("from the child\\n")
    local seen = {}
    while not (seen.child and seen.ws) do
      local inputs = {[ws] = true, [child.stdout] = true}
      eq(true, moonbridge_io.poll(inputs, {}, 20))
      if not seen.child then
        local line = child.stdout:read_nb(nil, "\\n")
        if line and line ~= "" then seen.child = line ws:send(line) end
      end
      local message = ws:receive_nb()
      if message then seen.ws = message end
    end
    eq(true, moonbridge_io.poll(nil, {[ws] = true}, 20))
    fails("poll", function() moonbridge_io.poll({ws}, nil, 0) end)
    print(seen.ws)
    child.stdin:close() child:wait()
    """
    with opened(body, log="hello\n") as (peer, _):
        peer.gets((TEXT, b"from the child\n"))
        peer.send(text("hello"))
        peer.gets(GOODBYE)
        peer.send(BYE)


@test("the _call and _yield forms, from a coroutine, byte by byte; errors name the script's argument")
def _():
    body = OPEN % "" + """
    local waits = 0
    local function wait() waits = waits + 1 moonbridge_io.poll({[ws] = true}, nil, 20) end
    eq({"one", "text"}, {ws:receive_call(wait)})
    local co = coroutine.wrap(function()
      eq({"two", "binary"}, {ws:receive_yield()})
      eq({true}, {ws:send_yield("a")}) eq({true}, {ws:send_binary_yield("b")})
      return "done"
    end)
    while co() ~= "done" do wait() end
    eq({true}, {ws:send_call(wait, "c")}) eq({true}, {ws:send_binary_call(wait, "d")})
    fails("#1", function() ws:receive_call() end) fails("#1", function() ws:receive_call(5) end)
    fails({"#1", "send_call"}, function() ws:send_call("x", "y") end)
    fails({"#2", "send_call"}, function() ws:send_call(wait) end)
    fails({"#2", "UTF-8"}, function() ws:send_call(wait, "\\xff") end)
    fails({"#2", "got table"}, function() ws:send_binary_call(wait, {}) end)
    fails({"#1", "send_yield"}, function() ws:send_yield() end)
    fails({"#1", "UTF-8"}, function() ws:send_yield("\\xff") end)
    fails({"#1", "got nil"}, function() ws:send_binary_yield(nil) end)
    fails({"#1", "send"}, function() ws:send() end) fails({"#1", "got boolean"}, function() ws:send(true) end)
    fails({"#1", "UTF-8", "send_binary"}, function() ws:send("\\xff") end)
    fails({"#1", "got nil"}, function() ws:send_nb(nil) end)
    fails({"#1", "125 bytes"}, function() ws:ping(("x"):rep(126)) end) fails("#1", function() ws:ping({}) end)
    fails("websocket", function() ws.send(request.socket, "x") end)
    fails("websocket", function() ws.receive() end)
    assert(select(2, pcall(ws.receive_yield, ws)):find("yield"))
    eq({true}, {ws:ping(("x"):rep(125))}) eq(0, ws:send_nb(5)) eq(0, ws:flush_nb())
    print(waits > 3)
    """
    with opened(body, log="true\n", pair=tcp_pair) as (peer, _):
        said = text("one") + binary(b"two")
        for at in range(len(said)):
            peer.send(said[at : at + 1])
            time.sleep(0.01)
        peer.gets((TEXT, b"a"), (BINARY, b"b"), (TEXT, b"c"), (BINARY, b"d"), (PING, b"x" * 125), (TEXT, b"5"), GOODBYE)
        peer.send(BYE)


# One WebSocket is that of the request, the other is made by the module below, over a connection to a listener of the
# script. Each has a task that sends back what comes.
SCHEDULED = OPEN % "{ping_interval = 0.3}" + """
local tasks, now = require "mb.scheduler".new(), moonbridge_io.timeref
local listener = assert(moonbridge_io.tcplisten("127.0.0.1", 0))
ws:send(tostring(listener.local_tcpport))
local function echo(name, one)
  local function wait_for_input() tasks:wait(one, "r", one:timeout() and now() + one:timeout()) end
  local function wait_for_output() tasks:wait(one, "w") end
  while true do
    local message, why, code = one:receive_call(wait_for_input)
    if not message then print(name, why, code) break end
    assert(one:send_call(wait_for_output, name .. message))
  end
end
tasks:spawn(echo, "first ", ws)
tasks:spawn(function()
  tasks:wait(listener, "r")
  local options = {max_message = 100, ping_interval = false, close_timeout = 1, send_timeout = 1}
  echo("second ", require "mb.websocket".over(assert(listener:accept_nb()), options))
end)
while tasks:count() > 0 do tasks:step() end
"""


@test("mb.scheduler: two WebSockets in tasks, one of which is silent and gets its pings")
def _():
    with opened(SCHEDULED, pair=tcp_pair, log=None) as (peer, server):
        opcode, port = peer.read()
        equal(opcode, TEXT, "the port")
        with Connection(("127.0.0.1", int(port))) as client:
            second = Peer(client)
            for _ in range(3):
                second.send(text("b"))
                second.gets((TEXT, b"second b"))
            peer.gets((PING, b""))
            peer.send(text("a"), text("a"), text("half")[:3])
            peer.gets((TEXT, b"first a"), (TEXT, b"first a"))
            second.send(text("c"), close(4000))
            second.gets((TEXT, b"second c"), (CLOSE, code(4000)))
            peer.send(text("half")[3:], BYE)
            peer.ends((TEXT, b"first half"), GOODBYE)
            server.says("second \tclosed\t4000")
            server.says("first \tclosed\t1000")


@test("a finalizer that receives, sends or closes in the middle: no message is mixed with another, and nothing crashes")
def _():
    body = OPEN % "{max_message = 1 << 22}" + """
    local got = {}
    local function trash(f) setmetatable({}, {__gc = function() pcall(f) trash(f) end}) end
    trash(function() local m = ws:receive_nb() if m then got[#got + 1] = #m end end)
    trash(function() ws:send_nb("from a finalizer") end)
    collectgarbage("setpause", 0) collectgarbage("setstepmul", 10000)
    while true do
      local m, why = ws:receive(20)
      if not m then print(why) break end
      if m ~= "" then got[#got + 1] = #m end
      ws:send_binary(m)
      if m == "end" then break end
    end
    trash = function() end
    """
    with opened(body, pair=tcp_pair, log=None) as (peer, server):
        for size in (10, 1000, 100000, 300000, 4000000):
            peer.send(binary(b"x" * size, mask=bytes(4)))
        peer.send(close(1000))
        seen = 0
        while (got := peer.read())[0] != CLOSE:
            check(got == (TEXT, b"from a finalizer") or set(got[1]) == {ord("x")}, f"{got[0]} {got[1][:60]}")
            seen += 1
        check(seen > 0, "nothing came")


@test("large messages, one after the other: those that the script has dropped make room for the next")
def _():
    body = OPEN % "{max_message = 1 << 24}" + """
    for message in ws:messages() do
      ws:send(#message .. " " .. io.open("/proc/self/status"):read("a"):match("VmHWM:%s*(%d+)"))
    end
    """
    mebibytes = 16
    message = binary(b"x" * (mebibytes << 20), mask=bytes(4))
    with opened(body, pair=tcp_pair) as (peer, _):
        for _ in range(8):
            peer.send(message)
            size, peak = map(int, peer.read()[1].split())
            equal(size, mebibytes << 20, "bytes of a message")
        peer.send(close(1000))
        peer.ends(GOODBYE)
    # What comes, the string that it becomes, and the string before.
    check(peak >> 10 < 3 * mebibytes + 12 or mbtest.is_sanitized(), f"{peak} KiB")


@test("memory_limit: a message that does not fit is an error of the script, 1011, and the process goes on to its end")
def _():
    body = f"""
    local http = require "moonbridge_http"
    listen{{memory_limit = 3000000, connect = http.generate_handler(function(request)
      {OPEN % "{max_message = 1 << 30, close_timeout = 0.3}"} print(ws:receive()) end)}}
    """
    with opened(body, pair=tcp_pair, status=70, log="memory") as (peer, _):
        with contextlib.suppress(OSError):
            peer.send(binary(b"x" * 8000000, mask=bytes(4)))
        got, how = peer.client.end()
        check(got in (b"", b"\x88\x02" + code(1011)), f"{got[:50]} {how}")


# ---- where it runs ----


@contextlib.contextmanager
def ending_in(seconds):
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    check(took < seconds * mbtest.SLOWNESS, f"it took {took:.2f} s")


def conversation(where, ends):
    with Connection(where) as client:
        client.send(upgrade())
        equal(client.response().status, 101, "the handshake")
        peer = Peer(client)
        peer.send(text("x"))
        peer.gets((TEXT, b"x"))
        ends(peer)


@test("--serve: timeout() is 0 when SIGTERM has come, so that a loop of poll and receive_nb does not miss it")
def _():
    body = OPEN % "" + """
    local before = ws:timeout()
    assert(moonbridge_io.exec("kill", "-TERM", moonbridge_io.getpid())):wait()
    local due = ws:timeout()
    local text, why = ws:receive_nb()
    print(before > 20, due == 0, text, why, ws.state, ws:timeout() > 1)
    """
    pool = mbpool.Pool(mbtest.script(source(body))).ready()
    with Connection(pool.where) as client:
        client.send(upgrade())
        equal(client.response().status, 101, "the handshake")
        Peer(client).gets((CLOSE, code(1001)))
        until(lambda: "true\ttrue\tnil\tblock\tclosing\ttrue" in pool.text(), "what the script has found")


@test("--serve: SIGTERM closes with 1001, also while the peer sends without end; the pool ends in time")
def _():
    for name, busy in (("silent", False), ("busy", True)):
        text_of_script = source(OPEN % "{close_timeout = 0.5}" + "ws:send('x') for _ in ws:messages() do end")
        pool = mbpool.Pool(mbtest.script(text_of_script), "--log-level=info").ready()

        def ends(peer, busy=busy, pool=pool):
            stop = threading.Event()

            def flood():
                with contextlib.suppress(OSError):
                    while not stop.is_set():
                        peer.send(text() * 50000)

            thread = threading.Thread(target=flood, daemon=True)
            if busy:
                thread.start()
            pool.popen.send_signal(signal.SIGTERM)
            peer.gets((CLOSE, code(1001)))
            stop.set()
            if busy:
                thread.join(mbtest.DEADLINE)
            with contextlib.suppress(OSError):  # the server may have gone while the flood went on
                peer.send(close(1001))

        with about(name), ending_in(6):
            with Connection(pool.where) as client:
                client.send(upgrade())
                equal(client.response().status, 101, "the handshake")
                peer = Peer(client)
                peer.gets((TEXT, b"x"))
                ends(peer)
            equal(pool.wait(), 0, f"exit status: {pool.text()}")


@test("a request behind another on one connection, and one that is refused: the 101 comes after their responses")
def _():
    body = """
    if request.path == "page" then request:send_status(200) return request:send_data(("x"):rep(50000)) end
    local ws = request:upgrade_websocket() if ws then ws:send(ws:receive()) end"""
    with served(body, pair=tcp_pair) as (client, _):
        client.send(request("/page") + request("/page") + request("/") + upgrade() + text("a") + BYE)
        equal([client.response().status for _ in range(4)], [200, 200, 426, 101], "responses")
        Peer(client).ends((TEXT, b"a"), GOODBYE)


@test("in a pool whose callback goes on, a WebSocket of the connection before is closed")
def _():
    script = """
    local http, before = require "moonbridge_http", nil
    local serve = http.generate_handler(function(request)
      local ws = request:upgrade_websocket()
      local was = before and before.state .. " " .. select(2, before:send("x")) .. select(2, before:receive())
      ws:send(was or "first")
      before = ws
    end)
    listen{pre_fork = 1, min_fork = 1, max_fork = 1, connect = function(socket) serve(socket) return true end}
    """
    pool = mbpool.Pool(mbtest.script(script), "--log-level=info").ready()
    for want in (b"first", b"closed closedclosed", b"closed closedclosed"):
        with Connection(pool.where) as client:
            client.send(upgrade() + BYE)
            equal(client.response().status, 101, "the handshake")
            Peer(client).ends((TEXT, want), GOODBYE)


@test("the limit of another request, in a coroutine, stays when a WebSocket's is lifted")
def _():
    where = ("127.0.0.1", mbtest.free_port())
    script = f"""
    local http = require "moonbridge_http"
    local serve = http.generate_handler({{response_timeout = 0.3}}, function(request)
      if request.path == "slow" then coroutine.yield() end
      local ws = request:upgrade_websocket()
      ws:send("open")
      if request.path == "last" then ws:receive() end
      coroutine.yield()
    end)
    return function(socket)
      local listener = assert(moonbridge_io.tcplisten("127.0.0.1", {where[1]}))
      coroutine.wrap(serve)(socket)
      coroutine.wrap(serve)(listener:accept())
    end"""
    for path, status, log in (("slow", -signal.SIGALRM, "response_timeout"), ("first", 0, "")):
        client, conn = tcp_pair()
        with client, mbhandler.Handler(script, "--log-level", "notice", head=None, pair=(client, conn)) as server:
            client.send(upgrade(target="/" + path))
            mbtest.wait_listening(where)
            with Connection(where) as other:
                other.send(upgrade(target="/last"))
                equal(other.response().status, 101, "the handshake")
                peer = Peer(other)
                peer.gets((TEXT, b"open"))
                time.sleep(1.5)
                if status == 0:
                    peer.send(text("x"))
                    equal(server.child.wait(), 0, f"exit status; log {server.rest()}")
                    continue
                server.ends(status, log)


@test("in a sandbox = \"strict\", and by mb-handle-static")
def _():
    handler = source(ECHO % "").replace("return http.generate_handler", 'local connect = http.generate_handler')
    handler += 'listen{sandbox = "strict", connect = connect}'
    with opened(handler, pair=tcp_pair, log="closed\t1000\t\n") as (peer, _):
        peer.send(text("x"), BYE)
        peer.ends((TEXT, b"x"), GOODBYE)
    if os.access(mbtest.CHOSEN, os.X_OK) and mbtest.CHOSEN != mbtest.HANDLE:
        conn, theirs = tcp_pair()
        with theirs:
            with open(os.devnull, "wb") as null:
                child = mbtest.Child([mbtest.CHOSEN, mbtest.script(source(ECHO % ""))], {0: theirs, 2: null})
        with Connection(conn) as client:
            client.send(upgrade() + text("x") + BYE)
            equal(client.response().status, 101, "the handshake")
            Peer(client).ends((TEXT, b"x"), GOODBYE)
        equal(child.wait(), 0, "exit status")


@test("nothing of it is loaded before it is called")
def _():
    body = """for name in pairs(package.loaded) do assert(not name:find("websocket"), name) end
    print(package.loaded["mb.websocket"]) """ + OPEN % "" + 'print(type(package.loaded["mb.websocket"]))'
    with opened(body, log="nil\ntable\n") as (peer, _):
        peer.send(BYE)
        peer.ends(GOODBYE)


mbtest.main()
