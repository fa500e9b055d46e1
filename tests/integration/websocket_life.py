#!/usr/bin/python3
"""The life of a WebSocket: its times, and its ends, by either side and by the script. websocket.py has what is sent
byte by byte, websocket_waits.py how it waits and where it runs."""

import contextlib
import os
import signal
import sys
import threading
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import DEADLINE, about, check, equal, local_pair, tcp_pair, test
from mbwebsocket import BINARY, CLOSE, PING, PONG, TEXT, binary, close, code, echoing, opened, ping, pong, text

BYE = close(1000)
GOODBYE = (CLOSE, code(1000))
OPEN = "local ws = request:upgrade_websocket(%s)\n"
LATE = "the peer has not answered the close"
PAIRS = {"TCP": tcp_pair, "Unix": local_pair}


def takes(least, most=None):
    """A context that has to take so many seconds."""

    @contextlib.contextmanager
    def measured():
        began = time.monotonic()
        yield
        took = time.monotonic() - began
        check(least <= took <= (most or least + 2) * mbtest.SLOWNESS, f"it took {took:.2f} s, expected {least} s")

    return measured()


# ---- closing ----


@test("the script closes: code and reason are sent, the answer is awaited, messages before it are dropped")
def _():
    body = OPEN % "" + """
    print(ws:close(4000, "enough"))
    eq("closed", ws.state) eq(4000, ws.close_code) eq("as you like", ws.close_reason)
    eq({nil, "closed", 4000, "as you like"}, {ws:receive()})
    eq({nil, "closed"}, {ws:send("x")}) eq({nil, "closed"}, {ws:send_nb("x")}) eq({nil, "closed"}, {ws:ping()})
    eq(true, ws:close()) for _ in ws:messages() do error("a message") end
    eq(true, ws:timeout() == 0) -- a loop of poll learns of the end
    """
    for name, pair in PAIRS.items():
        with about(name), opened(body, pair=pair, log="true\n") as (peer, _):
            peer.send(text("one"), ping(b"p"))
            seen = [peer.read(), peer.read()]
            check(sorted(seen) == sorted([(CLOSE, code(4000, "enough")), (PONG, b"p")]), seen)
            peer.send(text("two"), close(4000, "as you like"))
            peer.client.nothing_more()


@test("close_nb, close_call and close_yield: they send one close, drop messages, and say when it is answered")
def _():
    ways = """
    local waits, poll = 0, moonbridge_io.poll
    local function wait() waits = waits + 1 poll({[ws] = true}, nil, ws:timeout()) end
    """
    for body in (
        """local done, why repeat done, why = ws:close_nb(4000, 'enough') if why == 'block' then wait() end
        until why ~= 'block'""",
        "local done, why = ws:close_call(wait, 4000, 'enough')",
        """local co = coroutine.wrap(function() return 'over', ws:close_yield(4000, 'enough') end)
        local state, done, why repeat state, done, why = co() if not state then wait() end until state""",
    ):
        after = "eq('closed', ws.state) eq(true, waits >= 2) eq(true, ws:close_nb()) print(done, why)"
        with opened(OPEN % "" + ways + body + " " + after, log="true\tnil\n") as (peer, _):
            peer.gets((CLOSE, code(4000, "enough")))
            peer.send(text("one"), ping(b"p"), text("two"))
            peer.send(*[text("more")] * 40)
            peer.gets((PONG, b"p"))  # it waits more than once
            peer.send(close(4000))
            peer.client.nothing_more()
        after = " eq(true, waits > 0) print(done, why)"
        with opened(OPEN % "{close_timeout = 0.1}" + ways + body + after, log=f"nil\t{LATE}\n") as (peer, _):
            peer.gets((CLOSE, code(4000, "enough")))
            peer.client.nothing_more()


@test("both close at once: each takes the other's close for the answer")
def _():
    body = OPEN % "" + "print(ws:close(4001)) eq(4002, ws.close_code)"
    with opened(body, said=close(4002), log="true\n") as (peer, _):
        peer.ends((CLOSE, code(4001)))


@test("a close of the script that is wrong is an error at its line, and the WebSocket stays open")
def _():
    body = OPEN % "" + """
    local wrong = {0, -1, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65536 + 1000, math.mininteger, math.maxinteger}
    for _, number in ipairs(wrong) do
      fails({"#1", "status code"}, function() ws:close(number) end)
    end
    fails({"#1 to 'close_nb'", "status code"}, function() ws:close_nb(1005) end)
    fails({"#2 to 'close_call'", "status code"}, function() ws:close_call(print, 1005) end)
    fails("#1 to 'close_call'", function() ws:close_call(5) end)
    fails({"#1 to 'close_yield'", "status code"}, function() ws:close_yield(1005) end)
    fails("#1", function() ws:close("x") end)
    fails("#1", function() ws:close(1000.5) end)
    fails({"#2", "123 bytes"}, function() ws:close(1000, ("x"):rep(124)) end)
    fails({"#2", "UTF-8"}, function() ws:close(1000, "\\xff") end)
    fails({"#2", "UTF-8"}, function() ws:close(1000, "\\xe2\\x82") end)
    fails("#2", function() ws:close(1000, {}) end)
    eq("open", ws.state)
    ws:close(1000, ("x"):rep(123))
    """
    with opened(body) as (peer, _):
        peer.gets((CLOSE, code(1000, "x" * 123)))
        peer.send(BYE)


@test("close_timeout: a peer that does not answer, one that sends messages, pings or fragments without end")
def _():
    body = OPEN % "{close_timeout = 0.3}" + "print(ws:close()) eq(1006, ws.close_code)"
    # The smallest come faster than they are dealt with.
    endless = {"nothing": b"", "messages": text() * 50000, "pings": ping() * 50000}
    endless["half a frame"] = binary(b"x" * 70000)[:60000]
    for name, said in endless.items():
        with about(name), opened(body, "drain_timeout = 0.1", pair=tcp_pair, log=f"nil\t{LATE}\n") as (peer, server):
            stop = threading.Event()

            def flood(sock=peer.client.sock, said=said, stop=stop):
                with contextlib.suppress(OSError):
                    while said and not stop.is_set():
                        sock.sendall(said)
                        if said[0] == 0x82:
                            return

            peer.gets(GOODBYE)
            thread = threading.Thread(target=flood, daemon=True)
            thread.start()
            with takes(0.2, 3):
                server.child.wait()
            stop.set()
            thread.join(DEADLINE)


@test("a handler that returns closes with 1000, one that throws with 1011; the log has its error")
def _():
    for name, pair in PAIRS.items():
        with about(name):
            with opened(OPEN % "", pair=pair) as (peer, _):
                peer.gets(GOODBYE)
                peer.send(BYE)
                peer.client.nothing_more()
            body = OPEN % "" + "print(ws:receive()) error('on purpose')"
            with opened(body, pair=pair, status=70, log="on purpose") as (peer, _):
                peer.send(text("x"))
                peer.gets((CLOSE, code(1011)))
                peer.send(close(1011))
                peer.client.nothing_more()


@test("a peer that ends or resets without a close: 1006 and why")
def _():
    with echoing(log="the connection has ended without a close\t1006\t\n") as (peer, _):
        peer.send(text("x") + text("half")[:-1])
        peer.gets((TEXT, b"x"))
        peer.client.finish()
        peer.client.nothing_more()
    with echoing(log="Connection reset by peer\t1006\t\n", pair=tcp_pair) as (peer, _):
        peer.send(text("x"))
        peer.gets((TEXT, b"x"))
        peer.client.reset()


@test("the socket closed, reset, finished or drained by the script: nil and why, never a crash")
def _():
    for how in ("close()", "reset()"):
        body = OPEN % "" + f"""
        ws.socket:{how}
        eq("closed", ws.state) eq(1006, ws.close_code) eq("websocket (closed)", tostring(ws))
        eq({{nil, "the socket is closed", 1006, ""}}, {{ws:receive()}})
        eq("closed", ws.state) eq(1006, ws.close_code)
        eq({{nil, "the socket is closed"}}, {{ws:send("x")}}) eq({{nil, "the socket is closed"}}, {{ws:send_nb("x")}})
        eq({{nil, "the socket is closed"}}, {{ws:flush_nb()}}) eq({{nil, "the socket is closed"}}, {{ws:ping()}})
        eq({{nil, "the socket is closed", 1006, ""}}, {{ws:receive_nb()}})
        eq({{nil, "the socket is closed"}}, {{ws:close()}})
        for _ in ws:messages() do error("a message") end
        print("fine")
        """
        with about(how), opened(body, log="fine\n") as (peer, _):
            with contextlib.suppress(mbtest.Failed, OSError):
                peer.client.end()
    body = OPEN % "{close_timeout = 0.1}" + """
    ws:send("a") ws.socket:drain_nb(3) print(ws:receive()) print(ws:close())"""
    with opened(body, said=text("abc") + text("d"), log=None) as (peer, server):
        peer.gets((TEXT, b"a"))
        peer.read()
    body = OPEN % "{close_timeout = 0.1}" + "ws.socket:finish() print(ws:send('x')) print(ws:close())"
    with opened(body, pair=tcp_pair, log="nil\tclosed\nnil\tthe connection has ended without a close\n") as (peer, _):
        peer.client.finish()
        peer.client.nothing_more()


@test("bytes that the script writes to the socket itself before and between come in their order")
def _():
    body = OPEN % "" + "request.socket:write('\\x81\\x01a') ws:send('b') request.socket:write('\\x81\\x01c') ws:close()"
    with opened(body) as (peer, _):
        peer.gets((TEXT, b"a"), (TEXT, b"b"), (TEXT, b"c"), GOODBYE)
        peer.send(BYE)


# ---- times ----


@test("ping_interval: a silent peer gets a ping, and is lost without an answer; one that answers is not")
def _():
    body = OPEN % "{ping_interval = 0.2, close_timeout = 0.1}" + "print(ws:receive())"
    with opened(body, pair=tcp_pair, log="nil\tthe peer has not answered a ping\t1006\t\n") as (peer, _):
        with takes(0.3):
            peer.gets((PING, b""))
            peer.client.nothing_more()
    with opened(body, pair=tcp_pair, log="late\ttext\n") as (peer, _):
        for _ in range(3):
            peer.gets((PING, b""))
            peer.send(pong())
        peer.send(text("late"))
        while (got := peer.read())[0] == PING:
            peer.send(pong())
        equal(got, GOODBYE, "the end")
        peer.send(BYE)


@test("receive(seconds), and timeout(), which says when there is something to do")
def _():
    body = OPEN % "" + """
    eq({nil, "timeout"}, {ws:receive(0)}) eq({nil, "timeout"}, {ws:receive(0.1)}) eq({nil, "block"}, {ws:receive_nb()})
    for _, wrong in ipairs{-1, 0/0, "x", {}, true} do fails("#1", function() ws:receive(wrong) end) end
    assert(ws:timeout() > 29 and ws:timeout() <= 30)
    print("now") eq({"x", "text"}, {ws:receive(1e300)}) eq({"y", "text"}, {ws:receive(math.huge)})
    """
    with opened(body, log="now\n") as (peer, server):
        time.sleep(0.2)
        peer.send(text("x"), text("y"))
        peer.gets(GOODBYE)
        peer.send(BYE)
    with opened(OPEN % "{ping_interval = false}" + "eq('nil', tostring(ws:timeout()))") as (peer, _):
        peer.gets(GOODBYE)
        peer.send(BYE)


@test("a flood of pings does not stretch receive(seconds), nor hold receive_nb")
def _():
    body = OPEN % "{close_timeout = 0.2}" + """
    while ws:receive_nb() ~= "go" do end
    local began = moonbridge_io.timeref()
    local message, why = ws:receive(0.3)
    print(why, moonbridge_io.timeref(began) < 3)
    for _ = 1, 3 do eq({nil, "block"}, {ws:receive_nb()}) end
    ws.socket:reset()
    """
    with opened(body, pair=tcp_pair, log="timeout\ttrue\n") as (peer, _):
        peer.send(text("go"))
        with contextlib.suppress(OSError):
            while True:
                peer.client.sock.sendall(pong(b"x") * 10000)


@test("send_timeout: a peer that takes nothing is reset")
def _():
    body = OPEN % "{send_timeout = 0.3}" + "print(ws:send_binary(('x'):rep(30000000))) print(ws:send('x'))"
    with opened(body, pair=tcp_pair, log="nil\tthe peer takes nothing\n" * 2) as (peer, server):
        with takes(0.25, 4):
            server.child.wait()
        peer.client.end()


@test("response_timeout ends with the handshake; a timeout() of the script stays")
def _():
    with echoing(options="response_timeout = 0.3", pair=tcp_pair) as (peer, _):
        time.sleep(1.6)
        peer.send(text("x"), BYE)
        peer.ends((TEXT, b"x"), GOODBYE)
    body = "timeout(0.4, function()\n" + OPEN % "" + "ws:receive() end)"
    with opened(body, pair=tcp_pair, status=-signal.SIGALRM, log="timeout: time is up") as (peer, _):
        peer.client.nothing_more("reset")


@test("a ping that a finalizer takes in the middle of a send is answered behind it")
def _():
    body = """
    local ws = request:upgrade_websocket()
    local large, answer = ("y"):rep(3000000), nil
    collectgarbage() collectgarbage("stop")
    for i = 1, 150 do local _ = ("x"):rep(10000) .. i end -- what the peer sends finds no room before that is collected
    setmetatable({}, {__gc = function() answer = {ws:receive_nb()} end})
    eq({true}, {ws:send_binary(large)})
    print(answer and "in the middle")
    repeat until ws:receive() == "end"
    """
    with opened(body, args=["--memory-limit=6400000"], log="in the middle\n") as (peer, _):
        peer.send(ping(b"p"), binary(b"z" * 900000))
        peer.gets((BINARY, b"y" * 3000000), (PONG, b"p"))
        peer.send(text("end"), BYE)
        peer.ends(GOODBYE)


mbtest.main()
