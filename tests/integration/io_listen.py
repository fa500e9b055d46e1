#!/usr/bin/python3
"""moonbridge_io.tcplisten, locallisten, and the listener and the sockets that come of them, in a network of the test's own:
its ports, its /etc/hosts. A comment "Reference:" or "Issue:" at a test is the sentence that it holds."""

import contextlib
import errno
import os
import signal
import socket
import stat
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbhandler import Handler, run
from mbnet import CAP_DAC_OVERRIDE, CAP_NET_BIND_SERVICE, OTHER4, OTHER6, addresses_of, etc, private_network, without
from mbtest import DEADLINE, Client, check, equal, free_port, tcp_pair, test, tmp, until, write_file

private_network()

# --- TCP ---

# Reference: "moonbridge_io.tcplisten(hostname, port): Attempts to open a TCP port for listening. ... On success, a listener
# object is returned which supports the methods :accept(), :accept_nb(), and :close()."; "accept ... in which case a socket
# object is returned"


@test("tcplisten returns a listener: port as a number, in digits, as a service's name, 0 for any free one; names and literals")
def _():
    with etc("hosts", "127.0.0.7 seven\n"):
        http = socket.getservbyname("http", "tcp")
        fixed = free_port()
        for host, at, asked, port in (
            ("127.0.0.1", "127.0.0.1", 0, None),
            ("127.0.0.1", "127.0.0.1", "0", None),
            ("localhost", "127.0.0.1", 0, None),
            ("seven", "127.0.0.7", 0, None),
            ("::1", "::1", 0, None),
            ("127.0.0.1", "127.0.0.1", fixed, fixed),
            ("127.0.0.1", "127.0.0.1", float(fixed), fixed),
            ("::1", "::1", str(fixed), fixed),
            ("127.0.0.1", "127.0.0.1", "http", http),
            ("127.0.0.1", "127.0.0.1", 1, 1),
            ("127.0.0.1", "127.0.0.1", 65535, 65535),
        ):
            handler = Handler(
                """
  local l = assert(mb.tcplisten(host, port))
  eq("listener", getmetatable(l))
  eq("function function function", type(l.accept), type(l.accept_nb), type(l.close))
  print(l.local_tcpport)
  local s = assert(l:accept())
  eq("socket", getmetatable(s))
  s:flush("to the client\\n")
  eq("from the client\\n term", s:read(nil, "\\n"))
  eq("true", s:close())
  eq("true", l:close())
""",
                host=host,
                port=asked,
            )
            got = handler.number()
            check(got == port if port else got > 0, f"{host}, {asked!r}: listens at {got}")
            with Client((at, got)) as client:
                equal(client.line(), "to the client", f"{host}, {asked!r}")
                client.send("from the client\n")
                equal(client.end(), (b"", "eof"), "end")
            handler.ends()


# Reference: "To listen on the loopback interface, use "::1" as hostname if IPv6 shall be used, or use "127.0.0.1" as hostname
# if IPv4 shall be used. To listen on all available interfaces, use "::" (IPv6) or "0.0.0.0" (IPv4) respectively."


@test("127.0.0.1 and ::1 are the loopback interface only, 0.0.0.0 and :: are all; whether :: takes IPv4 is the system's bindv6only")
def _():
    fours, sixes = ["127.0.0.1", OTHER4], ["::1", OTHER6]
    only = "/proc/sys/net/ipv6/bindv6only"
    for host, only6, want in (
        ("127.0.0.1", 0, fours[:1]),
        ("::1", 0, sixes[:1]),
        ("0.0.0.0", 0, fours),
        ("::", 0, fours + sixes),
        ("::", 1, sixes),
        ("::1", 1, sixes[:1]),
    ):
        before = mbtest.read_file(only)
        write_file(only, str(only6))
        try:
            handler = Handler("local l = assert(mb.tcplisten(host, 0)) turn(l.local_tcpport)", host=host)
            port = handler.number()
        finally:
            write_file(only, before)
        got = []
        for address in fours + sixes:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection((address, port), DEADLINE).close()
                got.append(address)
        handler.go()
        handler.ends()
        equal(got, want, f"{host}, bindv6only={only6}: reached by")


# Issue: "on the listener local_ip4 local_ip6 local_tcpport local_addr (ours; so that port 0 is useful)".


@test("a listener has its address, port and descriptor, and shows them in tostring")
def _():
    six = "0" * 31
    for host, want, shown in (
        ("127.0.0.1", "127.0.0.1 7f000001 nil", "127.0.0.1:%d"),
        ("127.0.0.9", "127.0.0.9 7f000009 nil", "127.0.0.9:%d"),
        ("0.0.0.0", "0.0.0.0 00000000 nil", "0.0.0.0:%d"),
        ("::1", f"::1 nil {six}1", "[::1]:%d"),
        ("::", f":: nil {six}0", "[::]:%d"),
        ("::ffff:127.0.0.1", f"127.0.0.1 7f000001 {six[:20]}ffff7f000001", "127.0.0.1:%d"),
    ):
        handler = Handler(
            """
  local l = assert(mb.tcplisten(host, 0))
  eq(want, l.local_addr, hex(l.local_ip4), hex(l.local_ip6))
  eq("integer", math.type(l.local_tcpport))
  eq("listener (" .. shown:format(l.local_tcpport) .. ")", l)
  assert(math.type(l.fd) == "integer" and l.fd > 2)
  eq("nil nil nil", l.remote_addr, l.remote_tcpport, l.no_such)
  l.name, l.number = "mine", l.fd
  eq("mine " .. l.fd, l.name, l.number)
  print(l.fd)
  turn(l.local_tcpport)
  local port = l.local_tcpport
  l:close()
  eq("nil", l.fd)
  eq("listener (closed)", l)
  eq(want .. " " .. port, l.local_addr, hex(l.local_ip4), hex(l.local_ip6), l.local_tcpport)
""",
            host=host,
            want=want,
            shown=shown,
        )
        fd = handler.word()
        port = handler.number()
        # No program that the handler starts has it; accept_nb never waits, whatever happens between poll and accept.
        check(handler.flags(fd) & os.O_CLOEXEC, "close-on-exec")
        check(handler.flags(fd) & os.O_NONBLOCK, "the listener does not block")
        check(mbtest.listening((host, port)), f"somebody listens at port {port}")
        handler.go()
        handler.ends()


@test("an accepted socket has the connection's addresses, not the listener's, ports and descriptor, and shows them in tostring")
def _():
    mapped = "0" * 20 + "ffff"
    six = "0" * 31 + "1"
    for host, at, want, shown in (
        ("127.0.0.1", "127.0.0.1", "127.0.0.1 7f000001 nil 127.0.0.2 7f000002 nil", "127.0.0.1:%d from 127.0.0.2:%d"),
        ("0.0.0.0", "127.0.0.9", "127.0.0.9 7f000009 nil 127.0.0.2 7f000002 nil", "127.0.0.9:%d from 127.0.0.2:%d"),
        (
            "::",
            "127.0.0.9",
            f"127.0.0.9 7f000009 {mapped}7f000009 127.0.0.2 7f000002 {mapped}7f000002",
            "127.0.0.9:%d from 127.0.0.2:%d",
        ),
        ("::", "::1", f"::1 nil {six} ::1 nil {six}", "[::1]:%d from [::1]:%d"),
    ):
        for accept in ("accept", "accept_nb"):
            handler = Handler(
                """
  local l = assert(mb.tcplisten(host, 0))
  turn(l.local_tcpport)
  eq("true", mb.poll({ [l] = true }, nil, 60))
  local s = assert(l[accept](l))
  eq(want, s.local_addr, hex(s.local_ip4), hex(s.local_ip6), s.remote_addr, hex(s.remote_ip4), hex(s.remote_ip6))
  eq(l.local_tcpport .. " integer integer", s.local_tcpport, math.type(s.local_tcpport), math.type(s.remote_tcpport))
  eq("socket (" .. shown:format(l.local_tcpport, s.remote_tcpport) .. ")", s)
  assert(math.type(s.fd) == "integer" and s.fd > 2 and s.fd ~= l.fd)
  eq("nil", s.interval)
  print(s.fd)
  turn(s.remote_tcpport)
  s:close()
  eq("nil", s.fd)
""",
                host=host,
                accept=accept,
                want=want,
                shown=shown,
            )
            port = handler.number()
            source = ("127.0.0.2", 0) if "." in at else None
            with Client(socket.create_connection((at, port), DEADLINE, source)) as client:
                handler.go()
                fd = handler.word()
                equal(handler.number(), client.sock.getsockname()[1], "remote_tcpport")
                equal(handler.flags(fd) & (os.O_CLOEXEC | os.O_NONBLOCK), os.O_CLOEXEC, "flags")
                handler.go()
                handler.ends()


# Reference: "In case of an I/O error, nil (as first return value) plus an error message (as second return value) may be
# returned."


@test("a port that is taken, an address that is not ours, a right that is missing: nil, message with host and port, errno")
def _():
    with socket.create_server(("127.0.0.1", 0)) as other, etc("hosts", "127.0.0.1 mine\n"):
        port = other.getsockname()[1]
        in_use = f"Address already in use {errno.EADDRINUSE}"
        run(
            """
  eq(("nil 127.0.0.1:%d: %s"):format(port, in_use), mb.tcplisten("127.0.0.1", port))
  eq(("nil mine:%d: %s"):format(port, in_use), mb.tcplisten("mine", tostring(port)))
  eq(("nil 0.0.0.0:%d: %s"):format(port, in_use), mb.tcplisten("0.0.0.0", port))
  local l = assert(mb.tcplisten("::1", 0))
  eq(("nil [::1]:%d: %s"):format(l.local_tcpport, in_use), mb.tcplisten("::1", l.local_tcpport))
  eq(("nil [::]:%d: %s"):format(l.local_tcpport, in_use), mb.tcplisten("::", l.local_tcpport))
  assert(mb.tcplisten("127.0.0.2", port)) -- another address
  eq("nil 192.0.2.1:0: Cannot assign requested address " .. not_ours, mb.tcplisten("192.0.2.1", 0))
  eq("nil [2001:db8::1]:80: Cannot assign requested address " .. not_ours, mb.tcplisten("2001:db8::1", 80))
""",
            port=port,
            in_use=in_use,
            not_ours=errno.EADDRNOTAVAIL,
        )
        Handler(
            "eq('nil 127.0.0.1:80: Permission denied ' .. number, mb.tcplisten('127.0.0.1', 80))",
            program=without(CAP_NET_BIND_SERVICE),
            number=errno.EACCES,
        ).ends()


@test("a bad host or port is a Lua error that names the argument, or nil, message, getaddrinfo's number, as of tcpconnect")
def _():
    run(
        """
  local function bad(n, why, ...) throws(("bad argument #%d to 'moonbridge_io.tcplisten' (%s"):format(n, why), mb.tcplisten, ...) end
  bad(1, "string expected, got no value")
  bad(1, "must not contain a NUL byte", "::\\0", 0)
  bad(2, "string expected, got no value", "::1")
  bad(2, "number has no integer representation", "::1", 0.5)
  for _, port in ipairs { -1, 65536, 1 << 32, math.mininteger, "65536", "4294967376" } do
    bad(2, "port out of range (0 to 65535)", "::1", port)
  end
  for _, port in ipairs { "", "-1", "+80", " 80", ("s"):rep(32) } do
    bad(2, "expected a port or the name of a service", "::1", port)
  end
  eq("nil nohost.invalid:0: Name or service not known -2", mb.tcplisten("nohost.invalid", 0))
  eq("nil :0: Name or service not known -2", mb.tcplisten("", 0))
  eq("nil [::]:80 : Unknown service -8", mb.tcplisten("::", "80 "))
"""
    )


@test("of a name with several addresses the first is listened at that can be had; when there is none, nil, message, errno")
def _():
    with etc("hosts", "127.0.0.2 multi\n127.0.0.3 multi\n127.0.0.6 multi\n"), contextlib.ExitStack() as stack:
        order = addresses_of("multi")
        port = free_port()
        body = "eq(want, (assert(mb.tcplisten('multi', port)).local_addr))"
        for address in order:
            run(body, port=port, want=address)
            stack.enter_context(socket.create_server((address, port)))
        run(
            "eq(want, mb.tcplisten('multi', port))",
            port=port,
            want=f"nil multi:{port}: Address already in use {errno.EADDRINUSE}",
        )


@test("a port can be had again though connections from it are still ending")
def _():
    handler = Handler(
        """
  local l = assert(mb.tcplisten("127.0.0.1", 0))
  local port = l.local_tcpport
  print(port)
  local s = assert(l:accept())
  s:close() -- before the client does: it is our end that lingers
  l:close()
  turn("closed")
  l = assert(mb.tcplisten("127.0.0.1", port))
  turn("again")
  eq("client\\n eof", assert(l:accept()):read())
"""
    )
    port = handler.number()

    def lingers():
        rows = [line.split() for line in mbtest.read_file("/proc/net/tcp").splitlines()[1:]]
        return any(row[3] in ("05", "06") and row[1].endswith(f":{port:04X}") for row in rows)  # FIN_WAIT2, TIME_WAIT

    # It does not close: a system with too many connections in TIME_WAIT forgets others at once.
    with Client(("127.0.0.1", port)) as client:
        equal(client.end(), (b"", "eof"), "end")
        handler.says("closed")
        until(lingers, "our end of the connection lingers")
        handler.go()
        handler.says("again")
        check(lingers(), "it lingers still")
    with Client(("127.0.0.1", port)) as client:
        client.send("client\n")
        client.finish()
        handler.go()
        handler.ends()


# --- accept ---

# Reference: "The method :accept() blocks until a new incoming connection is available in which case a socket object is
# returned."


@test("accept waits for a connection, whatever signals come, and returns a socket; each connection once, in their order")
def _():
    for listen, where in (('mb.tcplisten("127.0.0.1", 0)', None), ("mb.locallisten(path)", tmp("accept.sock")), ("mb.locallisten(path)", "@accept")):
        handler = Handler(
            f"""
  mb.catch_sigterm()
  local l = assert({listen})
  print(l.local_tcpport or 0)
  local s = assert(l:accept())
  eq("first eof", s:read())
  turn("first")
  for i = 1, 200 do eq(i .. " eof", assert(l:accept()):read()) end
  eq("false no incoming connection", l:accept_nb())
""",
            path=where or "",
        )
        port = handler.number()
        to = ("127.0.0.1", port) if port else where
        for _ in range(20):
            handler.asleep()
            handler.child.kill(signal.SIGTERM)
        handler.asleep()

        def client(text, to=to):
            sock = socket.socket(socket.AF_INET if isinstance(to, tuple) else socket.AF_UNIX)
            # Whoever connects does not have to wait for accept.
            sock.settimeout(DEADLINE)
            sock.connect("\0" + to[1:] if to[0] == "@" else to)
            sock.sendall(text.encode())
            sock.shutdown(socket.SHUT_WR)
            return sock

        with client("first"):
            handler.says("first")
        socks = [client(str(i)) for i in range(1, 201)]
        handler.go()
        handler.ends()
        for sock in socks:
            sock.close()


# Reference: "The method :accept_nb() works like :accept(), except that the call is nonblocking and returns false (plus a
# notice as second return value) in case no incoming connection is available."


@test("accept_nb does not wait: false and a notice, or a socket")
def _():
    for listen, where in (('mb.tcplisten("127.0.0.1", 0)', None), ("mb.locallisten(path)", tmp("accept_nb.sock"))):
        handler = Handler(
            f"""
  local l = assert({listen})
  eq("false no incoming connection", l:accept_nb())
  -- To ask again and again makes no garbage.
  collectgarbage("stop")
  local before = collectgarbage("count")
  for _ = 1, 1000 do l:accept_nb() end
  assert(collectgarbage("count") - before < 1, "garbage of accept_nb")
  collectgarbage("restart")
  eq("false no incoming connection", l:accept_nb())
  turn(l.local_tcpport or 0)
  eq("true", mb.poll({{ [l] = true }}, nil, 60))
  local first = l:accept_nb()
  eq("socket", getmetatable(first))
  eq("true", mb.poll({{ [l] = true }}, nil, 60))
  local second = l:accept_nb()
  eq("false no incoming connection", l:accept_nb())
  eq("first eof", first:read())
  eq("second eof", second:read())
""",
            path=where or "",
        )
        port = handler.number()
        with Client(("127.0.0.1", port) if port else where) as first, Client(("127.0.0.1", port) if port else where) as second:
            for client, text in ((first, "first"), (second, "second")):
                client.send(text)
                client.finish()
            handler.go()
            handler.ends()


# Reference: "It is possible to wait for an incoming connection by including the listener object in the input_set of the
# moonbridge_io.poll(...) call."


@test("poll waits for a connection to a listener in its input set; in the output set a listener is a Lua error")
def _():
    handler = Handler(
        """
  local tcp = assert(mb.tcplisten("127.0.0.1", 0))
  local path = assert(mb.locallisten("@polled"))
  local both = { [tcp] = true, [path] = true }
  eq("false timeout", mb.poll(both, nil, 0))
  eq("false timeout", mb.poll(both, {}, 0.001))
  throws("expected sockets and file descriptors as keys", mb.poll, nil, { [tcp] = true }, 0)
  throws("expected sockets and file descriptors as keys", mb.poll, both, { [tcp] = true }, 0)
  print(tcp.local_tcpport)
  eq("true", mb.poll(both))
  eq("false timeout", mb.poll({ [path] = true, [tcp] = false }, nil, 0))
  eq("true", mb.poll({ [tcp] = true }, nil, 0)) -- until it is accepted
  eq("true", mb.poll({ [tcp.fd] = true }, nil, 0))
  local s = tcp:accept_nb()
  eq("from 127.0.0.1", "from " .. s.remote_addr)
  eq("false timeout", mb.poll(both, nil, 0))
  print("local")
  eq("true", mb.poll(both))
  eq("socket (@polled from unnamed)", path:accept_nb())
  eq("false no incoming connection", tcp:accept_nb())
  tcp:close()
  throws("the listener is closed", mb.poll, both, nil, 0)
  eq("false timeout", mb.poll({ [path] = true, [tcp] = false }, nil, 0))
"""
    )
    port = handler.number()
    handler.asleep()
    with Client(("127.0.0.1", port)):
        handler.says("local")
        handler.asleep()
        with Client("\0polled"):
            handler.ends()


@test("a client that has gone before it is accepted: its socket says so when it is read, and the next one is served")
def _():
    handler = Handler(
        """
  local l = assert(mb.tcplisten("127.0.0.1", 0))
  turn(l.local_tcpport)
  local s = assert(l:accept())
  eq(want, s:read())
  s = assert(l:accept())
  eq("there", (s:read()))
""",
        want=f"nil Connection reset by peer {errno.ECONNRESET}",
    )
    port = handler.number()
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as gone:
        Client(gone).reset()
    with Client(("127.0.0.1", port)) as client:
        client.send("there")
        client.finish()
        handler.go()
        handler.ends()


# --- close ---

# Reference: "The method :close() will close the listening socket."


@test("close returns true and frees the port; after it every method is a Lua error")
def _():
    run(
        """
  for _, l in ipairs { assert(mb.tcplisten("127.0.0.1", 0)), assert(mb.locallisten("@closed")) } do
    eq("true", l:close())
    throws("the listener is closed", l.close, l)
    throws("the listener is closed", l.accept, l)
    throws("the listener is closed", l.accept_nb, l)
    throws("the listener is closed", mb.poll, { [l] = true }, nil, 0)
    if l.local_tcpport then
      eq(("nil 127.0.0.1:%d: Connection refused %d"):format(l.local_tcpport, refused), mb.tcpconnect("127.0.0.1", l.local_tcpport))
      assert(mb.tcplisten("127.0.0.1", l.local_tcpport))
    else
      eq("nil @closed: Connection refused " .. refused, mb.localconnect("@closed"))
      assert(mb.locallisten("@closed"))
    end
  end
  local l = mb.tcplisten("127.0.0.1", 0)
  for _, method in ipairs { "accept", "accept_nb", "close" } do
    throws("bad argument #1", l[method])
    throws("bad argument #1", l[method], socket)
    throws("bad argument #1", l[method], {})
  end
""",
        refused=errno.ECONNREFUSED,
    )


@test("a listener that is collected frees its port, and so does one whose process ends or is killed")
def _():
    collect = """
  l, a = nil
  collectgarbage()
  assert(mb.tcplisten("127.0.0.1", port))
  assert(mb.locallisten("@collected"))
"""
    for act in (collect, "", "kill"):
        handler = Handler(
            f"""
  local l = assert(mb.tcplisten("127.0.0.1", 0))
  local a = assert(mb.locallisten("@collected"))
  local port = l.local_tcpport
  turn(port)
  {act if act != "kill" else ""}
"""
        )
        port = handler.number()
        if act == "kill":
            handler.child.kill()
        else:
            handler.go()
            handler.ends()
        run("assert(mb.tcplisten('127.0.0.1', port)) assert(mb.locallisten('@collected'))", port=port)


# --- Accepted sockets ---
# How they work and end, see io_connect.py; what becomes of accept when there is no descriptor to be had, faults.py.


@test("an accepted connection lives on when its listener is closed or collected")
def _():
    run(
        """
  for _, listen in ipairs { function() return mb.tcplisten("127.0.0.1", 0) end, function() return mb.locallisten("@lives") end } do
    for _, close in ipairs { true, false } do
      local l = assert(listen())
      local client = assert(l.local_tcpport and mb.tcpconnect("127.0.0.1", l.local_tcpport) or mb.localconnect("@lives"))
      local server = assert(l:accept())
      if close then l:close() end
      l = nil
      collectgarbage()
      client:flush("question\\n")
      eq("question\\n term", server:read(nil, "\\n"))
      server:flush("answer\\n")
      eq("answer\\n term", client:read(nil, "\\n"))
    end
  end
"""
    )


# --- Local sockets ---


def is_socket(path):
    return os.path.lexists(path) and stat.S_ISSOCK(os.lstat(path).st_mode)


# Reference: "moonbridge_io.locallisten(path): Attempts to create a local socket (also known as Unix Domain Socket) to accept
# incoming connections. ... On success, a listener object is returned which supports the methods :accept(), :accept_nb(), and
# :close()."


@test("locallisten creates a Unix socket, or an abstract one with '@', and returns a listener that accepts connections")
def _():
    directory = tmp("create", "x")[:-1]
    for where, shown in ((directory + "s.sock", None), (directory + "with space", None), ("@abstract", None), ("@" + "é" * 50, None)):
        handler = Handler(
            """
  local l = assert(mb.locallisten(where))
  eq("listener", getmetatable(l))
  eq(where .. " nil nil nil", l.local_addr, l.local_ip4, l.local_ip6, l.local_tcpport)
  eq("listener (" .. where .. ")", l)
  assert(math.type(l.fd) == "integer" and l.fd > 2)
  print(l.fd)
  local s = assert(l:accept())
  eq("socket", getmetatable(s))
  eq(where .. " nil", s.local_addr, s.remote_addr)
  for _, what in ipairs { "ip4", "ip6", "tcpport" } do eq("nil nil", s["local_" .. what], s["remote_" .. what]) end
  eq("socket (" .. where .. " from unnamed)", s)
  print(s.fd)
  s:flush("to the client\\n")
  eq("from the client\\n term", s:read(nil, "\\n"))
  turn("done")
  eq("true", s:close())
  eq("true", l:close())
  eq("listener (closed) nil", l, l.fd)
""",
            where=where,
        )
        fd = handler.word()
        equal(handler.flags(fd) & (os.O_CLOEXEC | os.O_NONBLOCK), os.O_CLOEXEC | os.O_NONBLOCK, "flags of the listener")
        check(is_socket(where) or where[0] == "@", "the file is a socket")
        with Client("\0" + where[1:] if where[0] == "@" else where) as client:
            equal(handler.flags(handler.word()) & (os.O_CLOEXEC | os.O_NONBLOCK), os.O_CLOEXEC, "flags of the socket")
            equal(client.line(), "to the client", where)
            client.send("from the client\n")
            handler.says("done")
            handler.go()
            equal(client.end(), (b"", "eof"), "end")
        handler.ends()
    equal(sorted(os.listdir(directory)), ["s.sock", "with space"], "files")


@test("the peer of an accepted local socket is shown by its name, if it has one")
def _():
    mine = tmp("mine.sock")
    handler = Handler(
        """
  local l = assert(mb.locallisten("@named"))
  print("listening")
  for _, name in ipairs { path, "@somebody" } do
    local s = assert(l:accept())
    eq("@named " .. name, s.local_addr, s.remote_addr)
    eq("socket (@named from " .. name .. ")", s)
  end
""",
        path=mine,
    )
    handler.says("listening")
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        for sock, name in ((first, mine), (second, "\0somebody")):
            sock.bind(name)
            sock.connect("\0named")
        handler.ends()


# Reference: "If the file does already exist and is a socket, then it is deleted automatically before being re-created."
# Issue: "an existing socket file is removed".


@test("a socket file that is there is replaced, be it left over, in use, or of another kind of socket")
def _():
    path = tmp("replaced.sock")
    body = """
  local l = assert(mb.locallisten(path))
  eq(path, l.local_addr)
  turn("listening")
  eq("to the new one eof", assert(l:accept()):read())
"""
    for kind, in_use in ((socket.SOCK_STREAM, False), (socket.SOCK_STREAM, True), (socket.SOCK_DGRAM, True), (socket.SOCK_SEQPACKET, False)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with socket.socket(socket.AF_UNIX, kind) as old:
            old.bind(path)
            waiting = None
            if kind == socket.SOCK_STREAM and in_use:
                old.listen(1)
                waiting = Client(path)
            before = os.lstat(path).st_ino
            if not in_use:
                old.close()
            keep = os.open(path, os.O_PATH)  # so that no new file can have the same number
            handler = Handler(body, path=path)
            handler.says("listening")
            check(is_socket(path) and os.lstat(path).st_ino != before, "it is another file now")
            with Client(path) as client:
                client.send("to the new one")
                client.finish()
                handler.go()
                handler.ends()
            os.close(keep)
            if waiting:
                # Whoever listened there before keeps what has come to it.
                old.accept()[0].close()
                old.setblocking(False)
                try:
                    old.accept()
                except BlockingIOError:
                    pass
                else:
                    raise mbtest.Failed("the old listener got the new connection")
                waiting.sock.close()
    # By one and the same process, while the first listener is there.
    run(
        """
  local first = assert(mb.locallisten(path))
  local second = assert(mb.locallisten(path))
  local s = assert(mb.localconnect(path))
  eq("false no incoming connection", first:accept_nb())
  eq("socket", getmetatable(second:accept()))
""",
        path=path,
    )


# Issue: "any other file is an error and stays".


@test("any other file in the way stays as it is and is an error: regular file, directory, symlink, FIFO, device")
def _():
    def place(name):
        return tmp("stays", name)

    write_file(place("regular"), "what it holds")
    write_file(place("empty"), "")
    os.mkdir(place("directory"))
    os.mkfifo(place("fifo"))
    os.mknod(place("device"), 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(place("target"))
    for name, target in (("link-to-socket", "target"), ("link-to-file", "regular"), ("link-to-nothing", "nothing"), ("link-to-itself", "link-to-itself")):
        os.symlink(target, place(name))

    def look():
        def describe(name):
            st = os.lstat(place(name))
            content = os.readlink(place(name)) if stat.S_ISLNK(st.st_mode) else None
            return name, st.st_ino, st.st_mode, st.st_size, st.st_mtime_ns, st.st_ctime_ns, content

        return [describe(name) for name in sorted(os.listdir(place("x")[:-2]))]

    before = look()
    for name in ("regular", "empty", "directory", "fifo", "device", "link-to-socket", "link-to-file", "link-to-nothing", "link-to-itself"):
        path = place(name)
        run("eq(want, mb.locallisten(path))", path=path, want=f"nil {path}: exists and is not a socket {errno.EEXIST}")
        equal(look(), before, f"the files after {name}")
    equal(mbtest.read_file(place("regular")), "what it holds", "the regular file")


@test("an abstract name that is taken: nil, message, errno")
def _():
    with socket.socket(socket.AF_UNIX) as other:
        other.bind("\0taken")
        other.listen(1)
        want = f"Address already in use {errno.EADDRINUSE}"
        run(
            """
  eq("nil @taken: " .. want, mb.locallisten("@taken"))
  local l = assert(mb.locallisten("@take")) -- names are compared whole
  eq("nil @take: " .. want, mb.locallisten("@take"))
""",
            want=want,
        )
        # A file that has this name is not meant.
        before = os.getcwd()
        os.chdir(tmp("cwd", "x")[:-2])
        try:
            with socket.socket(socket.AF_UNIX) as file:
                file.bind("@taken")
            run("eq('nil @taken: ' .. want, mb.locallisten('@taken'))", want=want)
            check(is_socket("@taken"), "the file stays")
            os.unlink("@taken")
            write_file("@taken", "")
            run("eq('nil @taken: ' .. want, mb.locallisten('@taken'))", want=want)
        finally:
            os.chdir(before)


# Reference: "In case of local sockets (Unix Domain Sockets), the socket will not be unlinked in the file system."


@test("the file of a local listener stays when it is closed or collected, or its process is killed; it can be listened at again")
def _():
    path = tmp("left.sock")
    handler = Handler(
        """
  local l = assert(mb.locallisten(path))
  eq("true", l:close())
  turn("closed")
  eq(("nil %s: Connection refused %d"):format(path, refused), mb.localconnect(path))
  l = assert(mb.locallisten(path))
  l = nil
  collectgarbage()
  turn("collected")
  eq(("nil %s: Connection refused %d"):format(path, refused), mb.localconnect(path))
  l = assert(mb.locallisten(path))
  turn("killed")
""",
        path=path,
        refused=errno.ECONNREFUSED,
    )
    for how in ("closed", "collected", "killed"):
        handler.says(how)
        check(is_socket(path), f"the file is there when the listener is {how}")
        if how != "killed":
            handler.go()
    handler.child.kill()
    check(is_socket(path), "the file is there after the process")
    run("local l = assert(mb.locallisten(path)) assert(mb.localconnect(path)) assert(l:accept())", path=path)


# Reference: "In case of an I/O error, nil (as first return value) plus an error message (as second return value) may be
# returned."


@test("a place where no file can be made: nil, message with the path, errno; what is there stays")
def _():
    body = "eq(want, mb.locallisten(path))"
    write_file(tmp("no", "file"), "")
    for path, number in (
        (os.path.join(mbtest.TMP, "no", "directory", "x"), errno.ENOENT),
        (tmp("no", "file") + "/x", errno.ENOTDIR),
        ("relative/nowhere", errno.ENOENT),
        (tmp("no", "x")[:-1] + "n" * 60 + "/x", errno.ENOENT),
    ):
        run(body, path=path, want=f"nil {path}: {os.strerror(number)} {number}")
    # Read-only.
    directory = tmp("ro", "x")[:-2]
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"{directory}/there")
    write_file(f"{directory}/file", "")
    subprocess.run(["mount", "--bind", directory, directory], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", directory], check=True)
        for name in ("new", "there"):
            path = f"{directory}/{name}"
            run(body, path=path, want=f"nil {path}: Read-only file system {errno.EROFS}")
        run(body, path=f"{directory}/file", want=f"nil {directory}/file: exists and is not a socket {errno.EEXIST}")
        check(is_socket(f"{directory}/there"), "the socket file stays")
    finally:
        subprocess.run(["umount", directory], check=True)
    # Not allowed.
    os.chmod(directory, 0o555)
    for name in ("new", "there"):
        path = f"{directory}/{name}"
        Handler(body, program=without(CAP_DAC_OVERRIDE), path=path, want=f"nil {path}: Permission denied {errno.EACCES}").ends()
    check(is_socket(f"{directory}/there"), "the socket file stays")


# Issue: "Over-long paths are an error, not truncated."


@test("a path of 107 bytes, or a name of 108 with its '@', is listened at and connected to; one byte more is an error")
def _():
    directory = tmp("long", "x")[:-1]
    path = directory + "s" * (107 - len(directory))
    name = "@" + "a" * 107
    equal((len(path), len(name)), (107, 108), "lengths")
    run(
        """
  for _, where in ipairs { path .. "s", name .. "a", path .. ("s"):rep(100000) } do
    for _, form in ipairs { "locallisten", "localconnect", "localconnect_nb" } do
      eq(("nil %s: File name too long %d"):format(where, number), mb[form](where))
    end
  end
""",
        path=path,
        name=name,
        number=errno.ENAMETOOLONG,
    )
    equal(os.listdir(directory), [], "files")
    check(f"@{'a' * 107}" not in mbtest.read_file("/proc/net/unix"), "nobody listens at the name")
    for where in (path, name):
        handler = Handler(
            """
  local l = assert(mb.locallisten(where))
  eq(where, l.local_addr)
  eq("listener (" .. where .. ")", l)
  print("listening")
  local s = assert(l:accept())
  eq(where, s.local_addr)
  eq("socket (" .. where .. " from unnamed)", s)
  local again = assert(mb.localconnect_nb(where))
  eq(where, again.remote_addr)
  eq(where, assert(mb.localconnect(where)).remote_addr)
  eq("socket (unnamed to " .. where .. ")", again)
""",
            where=where,
        )
        handler.says("listening")
        with Client("\0" + where[1:] if where[0] == "@" else where):
            handler.ends()
    equal(os.listdir(directory), [os.path.basename(path)], "files")
    # A socket file there is replaced as any other.
    run("assert(mb.locallisten(path)) assert(mb.locallisten(path))", path=path)


@test("listeners that cannot be had leave no descriptor behind, and none that is collected does")
def _():
    path = tmp("leaks")
    write_file(path, "")
    with socket.create_server(("127.0.0.1", 0)) as other:
        handler = Handler(
            """
  local function round()
    mb.tcplisten("127.0.0.1", taken)
    mb.tcplisten("192.0.2.1", 0)
    mb.tcplisten("nohost.invalid", 0)
    mb.tcplisten("127.0.0.1", "nosuch")
    mb.locallisten(path)
    mb.locallisten("/no/such/directory")
    mb.locallisten("@leaks")
  end
  local l = assert(mb.locallisten("@leaks"))
  round() -- whatever is opened once only
  turn("before")
  collectgarbage("stop")
  for _ = 1, 30 do round() end
  turn("failed")
  for _ = 1, 30 do l:accept_nb() end
  turn("nobody")
  collectgarbage("restart")
  for _ = 1, 30 do
    local listener = assert(mb.tcplisten("127.0.0.1", 0))
    assert(mb.tcpconnect("127.0.0.1", listener.local_tcpport))
    assert(listener:accept())
    assert(mb.localconnect("@leaks"))
    assert(l:accept())
  end
  collectgarbage()
  turn("collected")
""",
            pair=tcp_pair,  # on a Unix socket the second wait makes a descriptor
            path=path,
            taken=other.getsockname()[1],
        )
        handler.says("before")
        before = handler.files()
        handler.go()
        for said in ("failed", "nobody", "collected"):
            handler.says(said)
            equal(handler.files(), before, f"descriptors, {said}")
            handler.go()
        handler.ends()


mbtest.main()
