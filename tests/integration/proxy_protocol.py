#!/usr/bin/python3
"""PROXY protocol: the client's addresses from a proxy's header, in both versions; who is believed; what is refused, and
what the log says then. The program is started directly, on sockets made here."""

import os
import socket
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtest import HANDLE, SLOWNESS, Serving, check, equal, script, tcp_pair, test, unix_pair

NGINX = mbtest.need("nginx")
MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
if not os.path.exists(MODULE):
    mbtest.bail("nginx's module stream missing (libnginx-mod-stream)")

V1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

# Says all addresses, and what it reads.
TELLS = """
local function tell(socket)
  socket:write(socket.remote_addr or "nil", " ", socket.remote_tcpport or "nil", " ", socket.local_addr or "nil", " ",
    socket.local_tcpport or "nil", " ", tostring(socket.remote_ip4 and #socket.remote_ip4), " ",
    tostring(socket.remote_ip6 and #socket.remote_ip6), "\\n", (socket:read()))
end
"""
ANY = script(TELLS + "return tell\n")


def v2(family, addresses, command=0x21, more=b""):
    return SIGNATURE + struct.pack("!BBH", command, family, len(addresses + more)) + addresses + more


def listening_script(port, fields, head=""):
    return script(f'{TELLS}{head}\nlisten{{ {{ proto = "tcp", port = {port}, {fields} }}, connect = tell }}\n')


def serve(pair, *args, pieces):
    """What the client receives that sends these pieces, how the connection ends, and the log; the status is 0."""
    client, conn = pair
    with client, conn:
        child = Serving(conn, *args)
        conn.close()
        try:
            for piece in pieces:
                client.send(piece)
            client.finish()
            got = client.end()
        except OSError:  # reset before all was sent, which is told once
            got = client.end()[0], "reset"
        equal(child.wait(), 0, f"exit status; log: {child.log()!r}")
    return *got, child.log()


def told(pair, *args, pieces, want):
    """The handler has told this, then the rest of the pieces; nothing is logged."""
    equal(serve(pair, *args, pieces=pieces), (want, "eof", ""), f"answer, end and log for {pieces}")


def refused(pair, *args, pieces, because):
    """The connection is reset, no handler has run, and one line says why."""
    answer, how, log = serve(pair, *args, pieces=pieces)
    equal((answer, how), (b"", "reset"), f"answer and end for {pieces}")
    equal(log.count("\n"), 1 if because else 0, f"lines in the log: {log!r}")
    check(because in log and ("refused" in log or not because), f"{because!r} in {log!r}")


@test("version 1 and 2, IPv4 and IPv6: the addresses on the socket are the client's")
def _():
    ip6 = bytes.fromhex("20010db8000000000000000000000001")
    for header, want in (
        (V1, "192.0.2.1 12345 198.51.100.2 443 4 nil"),
        (b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", "2001:db8::1 1 ::1 65535 nil 16"),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1 1 ::1 2 4 16"),
        (b"PROXY TCP6 2001:db8::1 127.0.0.1 51512 80\r\n", "2001:db8::1 51512 127.0.0.1 80 nil 16"),
        (b"PROXY TCP4 192.0.2.1 ::1 51512 80\r\n", "192.0.2.1 51512 ::1 80 4 nil"),
        (v2(0x11, bytes((192, 0, 2, 1, 198, 51, 100, 2)) + struct.pack("!HH", 80, 8080)), "192.0.2.1 80 198.51.100.2 8080 4 nil"),
        (v2(0x21, ip6 + ip6 + struct.pack("!HH", 80, 8080)), "2001:db8::1 80 2001:db8::1 8080 nil 16"),
        (v2(0x31, b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0")), "/run/a nil /run/b nil nil nil"),
    ):
        told(tcp_pair(), "--proxy-protocol", ANY, pieces=(header + b"the request",), want=want.encode() + b"\nthe request")


# Two nginx in a row, as a chain of them is set up: the first sends the header, the second takes the client's address from
# it, listens on an address of the other family or on a Unix socket, and sends the header on.
CHAIN = """
load_module {module};
{user}
daemon off; pid {tmp}/nginx.pid; error_log stderr;
events {{ }}
stream {{
  proxy_protocol on; proxy_half_close on;
  server {{ listen [::1]:{six}; proxy_pass 127.0.0.1:{four}; }}
  server {{ listen 127.0.0.1:{reverse}; proxy_pass [::1]:{four}; }}
  server {{ listen [::1]:{local}; proxy_pass unix:{tmp}/chain.sock; }}
  server {{
    listen 127.0.0.1:{four} proxy_protocol;
    listen [::1]:{four} proxy_protocol;
    listen unix:{tmp}/chain.sock proxy_protocol;
    set_real_ip_from 127.0.0.1; set_real_ip_from ::1; set_real_ip_from unix:;
    proxy_pass 127.0.0.1:{to};
  }}
}}
"""


@test("nginx's stream module, two in a row: the client is IPv6 and the address it came to IPv4, the reverse, and a Unix socket")
def _():
    ports = {name: mbtest.free_port() for name in ("six", "four", "reverse", "local")}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(mbtest.DEADLINE)
        config = mbtest.write_file(mbtest.tmp("chain.conf"), CHAIN.format(
            module=MODULE, user="user root;" if os.geteuid() == 0 else "", tmp=mbtest.TMP, to=listener.getsockname()[1], **ports))
        chain = mbtest.Process([NGINX, "-p", mbtest.TMP, "-c", config])
        try:
            for host, port, came in (
                ("::1", ports["six"], f"127.0.0.1 {ports['four']} nil 16"),
                ("127.0.0.1", ports["reverse"], f"::1 {ports['four']} 4 nil"),
                ("::1", ports["local"], f"{mbtest.TMP}/chain.sock nil nil 16"),
            ):
                mbtest.wait_listening((host, port))
                ours = socket.create_connection((host, port), mbtest.DEADLINE)
                own = ours.getsockname()[1]
                ours.sendall(b"hello")  # nginx connects to the next one with the first byte
                told((mbtest.Client(ours), listener.accept()[0]), "--proxy-protocol", ANY, pieces=(),
                     want=f"{host} {own} {came}\nhello".encode())
        except mbtest.Failed as failed:
            raise mbtest.Failed(f"{failed}; nginx: {chain.text()}") from None
        finally:
            chain.stop()


@test("the header may come byte by byte, and the request with it or later")
def _():
    for header in (V1, v2(0x11, bytes(12), more=b"\x04\0\5hello")):
        first = b"192.0.2.1 12345 198.51.100.2 443 4 nil\n" if header == V1 else b"0.0.0.0 nil 0.0.0.0 nil 4 nil\n"
        told(tcp_pair(), "--proxy-protocol", ANY, pieces=[bytes((b,)) for b in header + b"x"], want=first + b"x")
        told(tcp_pair(), "--proxy-protocol", ANY, pieces=(header, b"abc" * 100000), want=first + b"abc" * 100000)
        told(tcp_pair(), "--proxy-protocol", ANY, pieces=(header,), want=first)


@test("LOCAL and UNKNOWN, as health checks send them, leave the real addresses")
def _():
    for header in (v2(0, b"", command=0x20), v2(0x11, bytes(12), command=0x20), b"PROXY UNKNOWN\r\n", v2(0, b"xyz")):
        client, conn = tcp_pair()
        port, own = client.sock.getpeername()[1], client.sock.getsockname()[1]
        told((client, conn), "--proxy-protocol", ANY, pieces=(header,), want=f"127.0.0.1 {own} 127.0.0.1 {port} 4 nil\n".encode())


@test("proxy_protocol = true in a listener; the listener is found by the address that the connection came in on")
def _():
    client, conn = tcp_pair()
    port = conn.getsockname()[1]
    path = listening_script(port, "proxy_protocol = true")
    told((client, conn), path, pieces=(V1, b"hi"), want=b"192.0.2.1 12345 198.51.100.2 443 4 nil\nhi")
    client, conn = tcp_pair()
    off = listening_script(conn.getsockname()[1], "proxy_protocol = false")
    answer, _, _ = serve((client, conn), off, pieces=(V1,))
    check(answer.startswith(b"127.0.0.1 ") and answer.endswith(V1), f"without it, the header is input: {answer}")


@test("a Unix socket: its peer is trusted, and what tostring shows is the client")
def _():
    path = mbtest.tmp("proxied.sock")
    text = script(f'listen{{ {{ proto = "local", path = "{path}", proxy_protocol = true }},\n'
                  "connect = function(socket) socket:write(tostring(socket)) end }\n")
    told(unix_pair(path), text, pieces=(V1,), want=b"socket (198.51.100.2:443 from 192.0.2.1:12345)")


def pair_of_stranger(path, mode):
    """A connection over a Unix socket, by another user if we can be one: only where he may connect."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        os.chmod(path, mode)
        ours = socket.socket(socket.AF_UNIX)
        user = os.geteuid()
        os.seteuid(65534 if user == 0 and mode & 2 else user)
        try:
            ours.connect(path)
        finally:
            os.seteuid(user)
        return mbtest.Client(ours), listener.accept()[0]


@test("a Unix socket that everybody may connect to, as mb-local@ makes it: refused, and the log says what to do; unix: trusts all")
def _():
    directory = os.path.dirname(mbtest.tmp("open", "x"))
    os.chmod(directory, 0o755)
    before = os.stat(mbtest.TMP).st_mode
    os.chmod(mbtest.TMP, 0o711)
    try:
        for number, (mode, options, fields, trusted) in enumerate((
            (0o666, (), "", False),
            (0o666, ("--proxy-protocol", "--proxy-trust=0.0.0.0/0"), "", False),
            (0o666, ("--proxy-protocol", "--proxy-trust=::1,unix:"), "", True),
            (0o666, (), ', proxy_trust = {"unix:"}', True),
            (0o660, (), "", True),
        )):
            path = f"{directory}/{number}.sock"
            pair = pair_of_stranger(path, mode)
            listener = f'{{proto = "local", path = "{path}", proxy_protocol = true{fields}}}'
            text = script(f"listen{{ {listener}, connect = function(socket) socket:write(socket.remote_addr) end }}\n")
            if trusted:
                told(pair, *options, text, pieces=(V1,), want=b"192.0.2.1")
            elif os.geteuid() == 0:
                answer, _, log = serve(pair, *options, text, pieces=(V1,))
                check(answer == b"" and "from uid 65534 refused: everybody may" in log, f"answer {answer}, log {log!r}")
                own = unix_pair(f"{directory}/own.sock")
                os.chmod(f"{directory}/own.sock", 0o666)
                told(own, "--proxy-protocol", ANY, pieces=(V1,), want=b"192.0.2.1 12345 198.51.100.2 443 4 nil\n")
                os.remove(f"{directory}/own.sock")
            else:
                mbtest.diagnose("nobody but root can connect as somebody else: not tried")
    finally:
        os.chmod(mbtest.TMP, before)


@test("--check says which listeners expect a header")
def _():
    path = script('listen{ {proto = "tcp", port = 1, proxy_protocol = true}, {proto = "tcp", port = 2}, connect = print }')
    out = mbtest.without_sandboxes(mbtest.output_of(HANDLE, "--check", path)).rstrip("\n")
    equal(out, "1 tcp [::]:1, PROXY protocol\n2 tcp [::]:2", "listeners")


@test("a header that no listener expects: HTTP refuses it, and the log at its default level says what to do")
def _():
    page = script('return require("moonbridge_http").generate_handler(function(request) request:send_data("x") end)')
    for header in (V1, v2(0x11, bytes(12))):
        for pieces in ((header + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",), (header, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")):
            answer, _, log = serve(tcp_pair(), page, pieces=pieces)
            check(answer.startswith(b"HTTP/1.1 400 "), f"answer {answer}")
            check("http: 400: " in log and ": a PROXY protocol header" in log and "--proxy-protocol" in log, f"log {log!r}")
    for none in (b"PROXIES / HTTP/1.1\r\nHost: a b\r\n\r\n", b"PROXY / HTTP/1.1\r\n\r\n"):
        answer, _, log = serve(tcp_pair(), page, pieces=(none,))
        equal((answer[:12], log), (b"HTTP/1.1 400", ""), "what is none")


@test("an https URL is served behind a proxy, which may have ended its TLS; without one it is a 421")
def _():
    page = script("""return require("moonbridge_http").generate_handler(function(request)
      request:send_status(200) request:send_data(request.host, " ", request.path) end)""")
    asked = b"GET https://b/c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    for header in (V1, v2(0x11, bytes(12)), v2(0, b"", 0x20)):
        answer, _, log = serve(tcp_pair(), "--proxy-protocol", page, pieces=(header + asked,))
        check(answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\nb c"), f"answer {answer}, log {log!r}")
    answer, _, _ = serve(tcp_pair(), page, pieces=(asked,))
    check(answer.startswith(b"HTTP/1.1 421 Misdirected Request\r\n"), f"answer {answer}")


@test("an abstract Unix socket, which anybody may connect to, is refused")
def _():
    name = f"\0mb-test-proxied-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen(1)
        ours = socket.socket(socket.AF_UNIX)
        ours.connect(name)
        pair = mbtest.Client(ours), listener.accept()[0]
    answer, _, log = serve(pair, "--proxy-protocol", ANY, pieces=(V1,))
    check(answer == b"" and "an abstract socket has no permissions" in log, f"answer {answer}, log {log!r}")


@test("no header, a malformed one, half of one: reset, one line, no handler runs")
def _():
    loud = script('print("loaded") return function() print("the handler runs") end')
    for header, because in (
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "there is no header"),
        (b"\x16\x03\x01\x02\0", "there is no header"),
        (V1.replace(b"12345", b"123456"), "the addresses of version 1 are malformed"),
        (V1.replace(b"\r\n", b"\n"), "ends without CR"),
        (b"PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n", "TCP4, TCP6, UNKNOWN"),
        (v2(0x12, bytes(12)), "no stream"),
        (v2(0x11, bytes(11)), "too short"),
        (v2(0x11, bytes(12), more=b"\x03\0\4\0\0\0\0"), "checksum"),
        (SIGNATURE + b"\x21\x11\xff\xff", "too long"),
        (b"PROXY TCP4 1", "ended before its header"),
        (SIGNATURE[:5], "ended before its header"),
    ):
        answer, how, log = serve(tcp_pair(), "--proxy-protocol", loud, pieces=(header,))
        equal((answer, how), (b"", "reset"), f"answer and end for {header}; log: {log!r}")
        lines = log.splitlines()
        equal((lines[0], len(lines)), ("loaded", 2), f"the log: {log!r}")
        check(because in lines[1] and " refused: " in lines[1] and "127.0.0.1:" in lines[1], f"{because!r} in {log!r}")


@test("a connection that says nothing, as port scanners and health checks make, is told at level info only")
def _():
    refused(tcp_pair(), "--proxy-protocol", ANY, pieces=(), because="")
    answer, _, log = serve(tcp_pair(), "--proxy-protocol", "--log-level=info", ANY, pieces=())
    check(answer == b"" and "ended before its header" in log, f"the log at info: {log!r}")


@test("a header that does not come is waited for 5 seconds, in which nothing is burnt; in a replay, as long as it takes")
def _():
    replay = subprocess.Popen([HANDLE, "--proxy-protocol", ANY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    client, conn = tcp_pair()
    with client, conn:
        begin, before = time.monotonic(), os.times()
        child = Serving(conn, "--proxy-protocol", ANY)
        client.send(V1[:10])
        equal(client.end(), (b"", "reset"), "what the client saw")
        took = time.monotonic() - begin
        equal(child.wait(), 0, "exit status")
        check(4.9 <= took < 5 + 5 * SLOWNESS, f"it took {took:.1f} s")
        check("did not come in time" in child.log(), "the log says so")
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        check(used < 1, f"processor time: {used} s")
    got, _ = replay.communicate(V1 + b"late", mbtest.DEADLINE)
    equal((replay.returncode, got), (0, b"192.0.2.1 12345 198.51.100.2 443 4 nil\nlate"), "the replay")


@test("only trusted sources are believed; without a list that is this machine; a list replaces that")
def _():
    elsewhere = lambda: tcp_pair(host="127.0.0.1", client_host="127.0.0.1")
    told(elsewhere(), "--proxy-protocol", "--proxy-trust", "127.0.0.1", ANY, pieces=(V1,), want=b"192.0.2.1 12345 198.51.100.2 443 4 nil\n")
    told(elsewhere(), "--proxy-protocol", "--proxy-trust", "::1,127.0.0.0/8", ANY, pieces=(V1,), want=b"192.0.2.1 12345 198.51.100.2 443 4 nil\n")
    refused(elsewhere(), "--proxy-protocol", "--proxy-trust", "10.0.0.0/8", ANY, pieces=(V1,), because="not in proxy_trust")
    for fields, trusted in (
        ('proxy_protocol = true, proxy_trust = {"127.0.0.0/8"}', True),
        ('proxy_protocol = true, proxy_trust = {"10.0.0.0/8", "127.0.0.1"}', True),
        ('proxy_protocol = true, proxy_trust = {"10.0.0.0/8", "192.0.2.0/24"}', False),
    ):
        client, conn = elsewhere()
        path = listening_script(conn.getsockname()[1], fields)
        if trusted:
            told((client, conn), path, pieces=(V1,), want=b"192.0.2.1 12345 198.51.100.2 443 4 nil\n")
        else:
            refused((client, conn), path, pieces=(V1,), because="not in proxy_trust")
    # The option goes before the listener.
    client, conn = elsewhere()
    path = listening_script(conn.getsockname()[1], 'proxy_protocol = true, proxy_trust = {"127.0.0.1"}')
    refused((client, conn), "--proxy-protocol", "--proxy-trust=10.0.0.1", path, pieces=(V1,), because="not in proxy_trust")


@test("an address of this machine that is not a loopback one is not trusted without a list")
def _():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Connecting a datagram socket sends nothing: it only asks for the route.
        probe.connect(("192.0.2.1", 9))
        own = probe.getsockname()[0]
    check(not own.startswith("127."), f"{own} is no loopback address")
    refused(tcp_pair(host=own), "--proxy-protocol", ANY, pieces=(V1,), because="only loopback addresses are believed")
    told(tcp_pair(host=own), "--proxy-protocol", f"--proxy-trust={own}", ANY, pieces=(V1,), want=b"192.0.2.1 12345 198.51.100.2 443 4 nil\n")


@test("each wrong field is an error that says what is expected")
def _():
    for fields, expected in (
        ('proxy_protocol = "yes"', "proxy_protocol: expected true or false"),
        ('}, {proto = "local", path = "@x", proxy_protocol = true', "an abstract socket has no permissions"),
        ('}, {proto = "local", path = "/x", proxy_protocol = true, proxy_trust = {"::1"}', '"::1" is no client of a Unix socket'),
        ('}, {proto = "local", path = "/x", proxy_protocol = true, proxy_trust = {"unix:", "::1"}', '"::1" is no client'),
        ('}, {proto = "local", path = "/x", proxy_trust = {"unix:"}', "proxy_trust: goes with proxy_protocol = true"),
        ('proxy_protocol = true, proxy_trust = {"::1", "unix:"}', '"unix:" goes with proto = "local"'),
        ('proxy_trust = {"::1"}', "proxy_trust: goes with proxy_protocol = true"),
        ('proxy_protocol = true, proxy_trust = "127.0.0.1"', "proxy_trust: expected a list of addresses and networks"),
        ("proxy_protocol = true, proxy_trust = {}", "proxy_trust: expected a list"),
        ("proxy_protocol = true, proxy_trust = {1}", "in each place of the list, got 1"),
        ('proxy_protocol = true, proxy_trust = {"10.0.0.0/8,::1"}', 'in each place of the list, got "10.0.0.0/8,::1"'),
        ('proxy_protocol = true, proxy_trust = {"::1", "10.0.0.1/8"}', 'nothing but zeros behind its prefix'),
        ('proxy_protocol = true, proxy_trust = {"::1", "10.0.0.1/8"}', 'got "10.0.0.1/8"'),
        ('proxy_protocol = true, proxy_trust = {"::1", x = 1}', "proxy_trust: expected a list"),
        ('proxy_protocol = true, proxy_trust = {"localhost"}', 'got "localhost"'),
    ):
        done = subprocess.run([HANDLE, "--check", listening_script(1, fields)], capture_output=True, check=False)
        equal(done.returncode, 78, f"exit status for {fields}")
        check(expected in done.stderr.decode(), f"{expected!r} in {done.stderr}")


@test("a replay may begin with a header, and need not; a recording has it")
def _():
    record = mbtest.tmp("recorded")
    told(tcp_pair(), "--proxy-protocol", "--record", record, ANY, pieces=(V1, b"hello"), want=b"192.0.2.1 12345 198.51.100.2 443 4 nil\nhello")
    equal(mbtest.read_file(record).encode(), V1.replace(b"\r\n", b"\n") + b"hello", "the recording")
    for stdin, want in (
        (V1 + b"hello", b"192.0.2.1 12345 198.51.100.2 443 4 nil\nhello"),
        (b"hello", b"nil nil nil nil nil nil\nhello"),
        (b"", b"nil nil nil nil nil nil\n"),
    ):
        done = mbtest.replay("--proxy-protocol", ANY, stdin=stdin)
        equal((done.returncode, done.stdout, done.stderr), (0, want, b""), f"replay of {stdin}")
    done = mbtest.replay("--proxy-protocol", ANY, stdin=b"PROXY TCP4 nonsense\r\n")
    check(done.stderr.startswith(b"mb-handle: PROXY protocol: the replay refused: "), f"log: {done.stderr}")


@test("prepare and finish do not run for a connection that is refused")
def _():
    path = script('listen{ connect = print, prepare = function() print("prepare") end, finish = function() print("finish") end }')
    answer, how, log = serve(tcp_pair(), "--proxy-protocol", path, pieces=(b"no\n",))
    check((answer, how) == (b"", "reset") and "prepare" not in log and "finish" not in log, f"the log: {log!r}")


mbtest.main()
