#!/usr/bin/python3
"""mb.luasocket on the connection that came in: beside the native socket, on every kind of connection, at its end, waiting.
What it shares with LuaSocket is in luasocket_differential.py, whole programs in luasocket_programs.py."""

import os
import resource
import select
import socket
import sys
import threading

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbluasocket import HEAD, handler, run
from mbnet import addresses_of, etc, private_network
from mbtest import Client, check, equal, script, tcp_pair, test, unix_pair

private_network()

# --- Beside the native socket ---


@test("what one of both has received and not taken, the other has")
def _():
    body = """
    say(s:read(4, "\\n")) say(c:dirty()) say(c:receive(3)) say(s:read(nil, "\\n")) say(c:receive("*a", "rest ")) say(c:dirty())
    """
    says = ("one", " term", "true", "two", " three", " term", "rest four", "false")
    equal(run(body, "one\ntwo three\nfour", says=says), (b"", "eof"), "end")


@test("what the native socket has queued goes before what send sends")
def _():
    equal(run('s:write("first ") c:send("second ") s:write("third") c:close()'), (b"first second third", "eof"), "order")


@test("what the native socket has queued goes out before receive waits, with a timeout and without")
def _():
    for timeout in ("nil", "30"):
        client, conn = tcp_pair()
        with client:
            h = handler(conn, f'c:settimeout({timeout}) s:write("question\\n") say(c:receive()) say(c:receive(2))')
            equal(client.line(), "question", "what is queued")
            client.send("answer\nxy")
            for line in ("answer", "xy"):
                h.says(line)
            equal(client.end(), (b"", "eof"), "end")
            h.ends()


@test("a wrapper that is collected does not close the connection; what is wrapped twice is the same")
def _():
    body = """
    c = nil collectgarbage() collectgarbage()
    s:flush("still here\\n") c = luasocket.wrap(s) local d = luasocket.wrap(s) assert(c ~= d)
    c:receive(1) say(d:receive()) d:close() say(c:receive()) say(pcall(s.read, s))
    """
    says = ("bc", "nil closed ", "false the socket is closed")
    equal(run(body, "abc\n", says=says), (b"still here\n", "eof"), "end")


@test("wrap takes sockets only; one that is closed is closed")
def _():
    body = """
    say(pcall(luasocket.wrap)) say(pcall(luasocket.wrap, 5)) s:close() say(luasocket.wrap(s):receive())
    say(luasocket.wrap(s):getfd()) say(luasocket.wrap(s):getpeername())
    """
    says = (
        "false bad argument #1 to 'mb.luasocket.wrap' (socket expected, got no value)",
        "false bad argument #1 to 'mb.luasocket.wrap' (socket expected, got number)",
        "nil closed ", "-1", "nil Bad file descriptor",
    )
    equal(run(body, says=says), (b"", "eof"), "end")


@test("sockets of moonbridge_io can be wrapped too")
def _():
    body = """
    local l = moonbridge_io.tcplisten("127.0.0.1", 0)
    local there = luasocket.wrap(moonbridge_io.tcpconnect("127.0.0.1", l.local_tcpport))
    local here = luasocket.wrap(l:accept())
    there:send("line\\n") say(here:receive()) say(select("#", there:getpeername()), (there:getpeername())) there:close()
    say(here:receive())
    """
    run(body, says=("line", "3 127.0.0.1", "nil closed "))


# --- Kinds of connections ---


@test("a Unix socket: names, both directions, shutdown, options that it does not have")
def _():
    path = mbtest.tmp("names.sock")
    body = """
    say(c:getsockname()) say(c:getpeername()) say(c:receive()) c:send("answer") say(c:setoption("tcp-nodelay", true))
    say(c:getoption("keepalive")) c:shutdown("send") say(c:receive("*a")) say(c:send("x"))
    """
    says = (f"{path} 0 unix", " 0 unix", "line", "nil setsockopt failed", "false", "rest", "nil closed 0.0")
    equal(run(body, "line\nrest", lambda: unix_pair(path), says=says), (b"answer", "eof"), "end")


@test("a replay: a file in, a file out, no names, no options, shutdown, select")
def _():
    body = """
    say(c:receive()) say(c:receive(3)) say(#luasocket.select({c}, {c}, 5), c:getpeername()) say(c:getsockname())
    say(c:setoption("keepalive", true)) say(c:getoption("linger").on) c:settimeout(0) say(c:receive("*a")) say(c:receive())
    c:settimeout(5) say(c:send("sent", 2)) c:shutdown("send") say(c:send("x")) say(c:getstats() > 5)
    """
    done = mbtest.replay(script(f"{HEAD}{body}\nend\n"), stdin=b"line\r\nabcrest")
    equal(done.returncode, 0, "exit status")
    equal(done.stdout, b"ent", "output")
    want = """line\nabc\n1 nil Socket operation on non-socket\nnil Socket operation on non-socket
nil setsockopt failed\nfalse\nrest\nnil closed \n4.0\nnil closed 0.0\ntrue\n"""
    equal(done.stderr.decode(), want, "what it says")


@test("IPv6; an IPv4 client on a listener for both reads as IPv4")
def _():
    body = 'local ip, port, family = c:getpeername() say(ip, family) ip, port, family = c:getsockname() say(ip, family)'
    run(body, pair=lambda: tcp_pair(socket.AF_INET6, "::1"), says=("::1 inet6", "::1 inet6"))
    mapped = lambda: tcp_pair(socket.AF_INET6, "::", "127.0.0.1", dual_stack=True)
    run(body, pair=mapped, says=("127.0.0.1 inet", "127.0.0.1 inet"))


@test("behind a proxy, the names are those of its header, and what follows it is read")
def _():
    body = "say(c:getpeername()) say(c:getsockname()) say(c:receive())"
    said = "PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\nafter the header\n"
    says = ("192.0.2.1 12345 inet", "198.51.100.2 443 inet", "after the header")
    run(body, said, args=("--proxy-protocol", "--proxy-trust=127.0.0.1"), says=says)


@test("--record has what was received")
def _():
    record = mbtest.tmp("record")
    run('c:receive() c:receive("*a")', "a\r\nbc", args=(f"--record={record}",))
    with open(record, "rb") as f:
        equal(f.read(), b"a\r\nbc", "record")


# --- Its end ---


@test("close is seen by the client at once, though the handler works on and others hold the descriptor")
def _():
    client, conn = tcp_pair()
    copy = conn.dup()
    with client, copy:
        h = handler(conn, 'c:send("bye\\n") c:close() say("closed") local mio = moonbridge_io mio.poll(nil, nil, 60)')
        h.says("closed")
        equal(client.end(), (b"bye\n", "eof"), "end")
        check(h.child.status is None and mbtest.alive(h.pid), "the handler works on")
        h.child.kill()


@test("unread input does not cost the client the answer")
def _():
    equal(run('c:receive() c:send("answer") c:close()', "line\n" + "unread" * 1000, finish=False), (b"answer", "eof"), "end")


@test("linger: what kills us resets, a script sees nothing of that, and closes as it says")
def _():
    client, conn = tcp_pair()
    with client:
        h = handler(conn, """
        say(c:getoption("linger").on) say(c:setoption("linger", {on = false, timeout = 0})) turn() moonbridge_io.poll(nil, nil, 60)
        """)
        h.says("false")
        h.says("1.0")
        h.says("turn")
        client.send("go\n")
        h.asleep()
        h.child.kill()
        equal(client.end(), (b"", "reset"), "end of a handler that is killed")
    for linger, how in (("on = true, timeout = 0", "reset"), ("on = true, timeout = 5", "eof"), ("on = false, timeout = 0", "eof")):
        body = f'c:setoption("linger", {{{linger}}}) c:receive() c:close()'
        equal(run(body, "x\n", finish=False)[1], how, f"end after {linger}")


@test("linger with a timeout: close waits until the client has taken everything")
def _():
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    port = listener.getsockname()[1]
    client, conn = tcp_pair()
    body = f"""
    local out = assert(luasocket.connect("127.0.0.1", {port}))
    out:setoption("linger", {{on = true, timeout = 60}}) out:settimeout(0) say((select(3, out:send(("x"):rep(10000000)))) > 1000)
    out:close() say("closed")
    """
    with client, listener:
        h = handler(conn, body)
        peer = Client(listener.accept()[0])
        h.says("true")
        h.asleep()
        check(h.silent(), "it is closing")
        with peer:
            check(peer.end()[1] == "eof", "a healthy end")
        h.says("closed")
        h.ends()


@test("a client that resets is an error value, in receive and in send, and no failure of the handler")
def _():
    for body in ('say(c:receive("*a")) say(c:receive())',
                 'local i, m repeat i, m = c:send(("x"):rep(100000)) until not i say(i, m, "") say(c:receive())'):
        client, conn = tcp_pair()
        h = handler(conn, 'turn() turn() c:settimeout(60) ' + body)
        h.says("turn")
        client.send("go\n")
        h.says("turn")
        client.send("go\n")
        client.reset()
        h.says("nil closed ")
        h.says("nil closed ")
        h.ends()


@test("shutdown by mode, as the client sees it")
def _():
    equal(run('c:shutdown("send") say(c:receive("*a"))', "after", says=("after",)), (b"", "eof"), "send")
    equal(run('s:write("queued ") c:send("sent") c:shutdown() s = nil', ""), (b"queued sent", "eof"), "both")


@test("a descriptor that is given away is not reset when its new owner closes it")
def _():
    body = """
    local core = assert(package.loadlib(package.searchpath("socket.core", package.cpath), "luaopen_socket_core"))()
    local theirs = core.tcp() theirs:connect("127.0.0.1", 1) theirs:close() -- a client now
    theirs:setfd(c:getfd()) c:setfd(-1)
    assert(theirs:send("from LuaSocket")) theirs:close() say(c:getfd())
    """
    client, conn = tcp_pair()
    with client:
        h = handler(conn, body)
        equal(client.end(), (b"from LuaSocket", "eof"), "end")
        h.says("-1")
        h.ends()


# --- Waiting ---


@test("timeouts: a client that sends a byte now and then does not lengthen a block or a total timeout")
def _():
    for mode in ("b", "t"):
        client, conn = tcp_pair()
        body = f"""
        c:settimeout(0.4, "{mode}") turn() local t = moonbridge_io.timeref()
        local line, message, part = c:receive() local took = moonbridge_io.timeref(t)
        say(line, message, #part >= 2, took >= 0.4 and took < 30) c:settimeout(-1, "{mode}") say(c:receive())
        """
        with client:
            h = handler(conn, body)
            h.says("turn")
            client.send("go\n")
            while h.silent():
                client.send("x")
                threading.Event().wait(0.05)
            h.says("nil timeout true true")
            client.send("rest\n")
            check(h.word().endswith("rest"), "the next line")
            h.ends()


@test("send waits for a slow client: block by block, with a timeout and without")
def _():
    for timeout in ("60", "-1"):
        client, conn = tcp_pair()
        with client:
            h = handler(conn, f'c:settimeout({timeout}) say(c:send(("0123456789"):rep(2000000)))')
            h.asleep()
            got, how = client.end()
            equal((len(got), how), (20000000, "eof"), "what came")
            check(got == b"0123456789" * 2000000, "in its order")
            h.says("20000000.0")
            h.ends()


@test("a call that waits is not in a hurry: no processor time goes by", native="processor time")
def _():
    client, conn = tcp_pair()
    with client:
        h = handler(conn, 'c:settimeout(60) turn() c:receive() luasocket.select({c}, nil, 60)')
        h.says("turn")
        for line in ("go\n", "x\n"):
            client.send(line)
            h.asleep()
        fields = mbtest.read_file(f"/proc/{h.pid}/stat").rpartition(")")[2].split()
        check(int(fields[11]) + int(fields[12]) < 20, f"ticks: {fields[11]} {fields[12]}")
        client.finish()
        h.ends()


@test("select: more than 1024 descriptors, in both lists, with a limit that holds each but once")
def _():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2000:
        mbtest.diagnose(f"skipped: RLIMIT_NOFILE {hard}")
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (2000, hard))
    try:
        body = """
        local all = {}
        for i = 1, 1500 do all[i] = assert(luasocket.tcp4()) all[i]:bind("127.0.0.1", 0) all[i]:listen() end
        local _, port = all[1400]:getsockname()
        local out = luasocket.connect("127.0.0.1", port)
        all[1501] = out
        local r, w = luasocket.select(all, all, 5)
        say(#r, r[1] == all[1400], w[out] ~= nil, r[all[1400]])
        """
        client, conn = tcp_pair()
        with client:
            h = handler(conn, body)
            h.says("1 true true 1.0")
            h.ends()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@test("select: the connection is ready with what the native socket has left, and at its end")
def _():
    body = """
    s:read(1) say(#luasocket.select({c}, nil, 0)) say(c:receive()) say(#luasocket.select({c}, nil, 5)) say(c:receive())
    say(#luasocket.select({c}, nil, 0)) c:close() say(select(3, luasocket.select({c}, {c}, 0)))
    """
    run(body, "abc\n", says=("1", "bc", "1", "nil closed ", "1", "timeout"))


@test("select: a native socket that goes on connecting is not readable, until it has input or has failed for good")
def _():
    body = """
    local function connect(port) return luasocket.wrap(assert(moonbridge_io.tcpconnect_nb("two", port))) end
    local function ready(...) local r, w, message = luasocket.select(...) return #r, #w, message end
    local now, later, never = connect(%d), connect(%d), connect(%d)
    say(ready({now}, nil, 0.1)) say(ready({now}, {now}, 5)) -- connected to the second address
    say(ready({later}, nil, 0.1)) say(ready({later}, {later}, 0.1)) turn() -- undecided
    say(ready({later}, {later}, 60)) say(ready({later}, nil, 0.1)) turn()
    say(ready({later}, nil, 60)) say(later:receive())
    say(ready({never}, nil, 5)) say(ready({never}, {never}, 5)) say(never:receive())
    """
    with etc("hosts", "127.0.0.2 two\n127.0.0.3 two\n"):
        second = addresses_of("two")[1]
        # Nobody listens at the first address, and the queue of one listener is full.
        with socket.create_server((second, 0)) as open_one, socket.create_server((second, 0), backlog=0) as full_one:
            full_one.settimeout(mbtest.DEADLINE)
            ports = open_one.getsockname()[1], full_one.getsockname()[1]
            with socket.create_connection(full_one.getsockname()):
                check(select.select([full_one], [], [], mbtest.DEADLINE)[0], "the queue is full")
                client, conn = tcp_pair()
                with client:
                    h = handler(conn, body % (*ports, mbtest.free_port()))
                    for line in ("0 0 timeout", "0 1", "0 0 timeout", "0 0 timeout", "turn"):
                        h.says(line)
                    full_one.listen(128)
                    client.send("go\n")
                    for line in ("0 1", "0 0 timeout", "turn"):
                        h.says(line)
                    full_one.accept()[0].close()
                    with Client(full_one.accept()[0]) as peer:
                        peer.send("line\n")
                        client.send("go\n")
                        for line in ("1 0", "line", "1 0", "1 1", "nil connection refused "):
                            h.says(line)
                        h.ends()


@test("descriptors run out: what is garbage is closed, for tcp4, accept and connect")
def _():
    body = """
    local server = luasocket.bind("127.0.0.1", 0) local _, port = server:getsockname()
    local held = {}
    for round = 1, 3 do -- so that it is each one's turn to find none left
      for i = 1, 100 do
        local o = assert(luasocket.tcp4()) local out = assert(luasocket.connect("127.0.0.1", port)) local a = assert(server:accept())
      end
      say(round) held[round] = luasocket.tcp4()
    end
    """
    client, conn = tcp_pair()
    with client:
        h = handler(conn, "collectgarbage('stop') turn()\n" + body)
        h.says("turn")
        resource.prlimit(h.pid, resource.RLIMIT_NOFILE, (64, 64))
        client.send("go\n")
        for number in ("1", "2", "3"):
            h.says(number)
        h.ends()


@test("nothing that it opens is inherited by children")
def _():
    body = """
    local server = luasocket.bind("127.0.0.1", 0) local _, port = server:getsockname()
    local out = luasocket.connect("127.0.0.1", port) local a = server:accept()
    local text = io.popen("ls -l /proc/self/fd"):read("a") say(#text > 0, text:find("socket:") == nil)
    """
    run(body, says=("true true",))


# --- The module ---


@test("install: require gives ours under LuaSocket's names; what is rare is loaded when it is asked for")
def _():
    body = """
    say(package.loaded["socket"] == nil) say(luasocket.install() == luasocket)
    say(require("socket") == luasocket, require("socket.core") == luasocket, require("mb.luasocket") == luasocket)
    say(package.loaded["mb.luasocket.streams"] == nil, type(luasocket.sink), package.loaded["mb.luasocket.streams"] ~= nil)
    local n = {} for k in pairs(luasocket) do n[k] = true end say(n.tcp, n.bind, n.select, n.wrap, n.gettime)
    n = {} for k in pairs(getmetatable(c).__index) do n[k] = true end say(n.receive, n.class, n.settimeout)
    say(luasocket.nosuch, c.nosuch, luasocket[1], rawget(luasocket, "nosuch"))
    luasocket.mine = 1 say(luasocket.mine)
    """
    says = ("true", "true", "true true true", "true function true", "true true true true true", "true true true",
            "nil", "1")
    run(body, says=says)


@test("a port may be a float with an integer value, or the text of one, wherever there is one")
def _():
    body = """
    local server = assert(luasocket.bind("127.0.0.1", 0.0)) local _, number = server:getsockname()
    for _, port in ipairs {number, number / 1, number .. ".0", number .. ".000"} do
      local out = assert(luasocket.connect("127.0.0.1", port, "127.0.0.1", 0.0)) server:accept():close() out:close()
      out = luasocket.tcp() assert(out:bind("127.0.0.1", "0.0")) assert(out:connect("127.0.0.1", port)) server:accept()
      say(math.type(port), select(2, out:getpeername()) == number)
    end
    say(luasocket.tcp():bind("127.0.0.1", number / 1))
    local u = luasocket.udp() assert(u:setsockname("127.0.0.1", 0.0)) local _, port = u:getsockname()
    assert(luasocket.udp():sendto("one", "127.0.0.1", port / 1)) say((u:receive()))
    local v = luasocket.udp4() assert(v:setpeername("127.0.0.1", port .. ".0")) v:send("two") say((u:receive()))
    assert(v:setpeername("*")) assert(v:sendto("three", "127.0.0.1", port)) say((u:receive()))
    for _, port in ipairs {80.5, "80.", ".0", "80.01", "80x", 1e15, 65536.0, -1.0} do
      local message = select(2, luasocket.connect("127.0.0.1", port))
      say(message, message:match(": port .*") == select(2, v:sendto("x", "127.0.0.1", port)):match(": port .*"))
    end
    local _, message = pcall(function() v:sendto("x", "127.0.0.1") end) say((message:gsub("^.-:%d+: ", "")))
    """
    none = 'service not supported for socket type: port "%s" true'
    says = ("integer true", "float true", "nil true", "nil true", "nil address already in use", "one", "two", "three")
    says += tuple(none % port for port in ("80.5", "80.", ".0", "80.01", "80x", "1e+15", "65536", "-1.0"))
    run(body, says=says + ("bad argument #3 to 'sendto' (string expected, got no value)",))


@test("UDP is LuaSocket's own; where that is not installed, calling it says which package to install")
def _():
    body = """
    local u = luasocket.udp4() u:setsockname("127.0.0.1", 0) local _, port = u:getsockname()
    luasocket.udp():sendto("datagram", "127.0.0.1", port) say(luasocket.select({c, u}, nil, 5)[1] == u) say((u:receive()))
    """
    client, conn = tcp_pair()
    with client:
        h = handler(conn, "luasocket.install() " + body)
        h.says("true")
        h.says("datagram")
        h.ends()
    body = 'package.cpath = "/nowhere/?.so" say(pcall(luasocket.udp))'
    client, conn = tcp_pair()
    with client:
        h = handler(conn, body)
        check("install LuaSocket (Debian's package lua-socket)" in h.word(), "the package's name")
        h.child.wait()


mbtest.main()
