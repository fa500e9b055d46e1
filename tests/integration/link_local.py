#!/usr/bin/python3
"""Link-local addresses: two interfaces have the same one, and a listener on one of them takes nothing that came in on
the other. The connections are handed over here, and by a real openbsd-inetd, xinetd and systemd that listen as
mb-handle --inetd, --xinetd and --units say."""

import errno
import os
import re
import socket
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbnet
import mbspace
import mbtest
from mbtest import HANDLE, Child, Client, check, equal, script, test

for tool in ("/lib/systemd/systemd", "systemctl", "systemd-analyze", "systemd-journald", "journalctl"):
    mbtest.need(tool)
INETD = mbtest.need("inetd")
XINETD = mbtest.need(os.environ.get("MB_XINETD"), "xinetd")
mbnet.private_network(cgroup=True)
os.chmod(mbtest.TMP, 0o711)  # scripts are loaded as another account, when root is asked for units

HERE, THERE, ADDRESS, PORT = "mb-here", "mb-there", "fe80::1", 8080
mbnet.two_links((HERE, THERE), ADDRESS)
NUMBER = socket.if_nametoindex(HERE)
SAYS = "local function says(text) return function(s) s:write(text, ' ', s.local_addr, ' ', s.remote_addr) end end\n"


def where(interface, port=PORT):
    """The address, as the system takes it."""
    return ADDRESS, port, 0, socket.if_nametoindex(interface)


def connect(interface, port=PORT):
    sock = socket.socket(socket.AF_INET6)
    sock.settimeout(mbtest.DEADLINE)
    sock.connect(where(interface, port))
    return Client(sock)


def answer(interface, port=PORT):
    with connect(interface, port) as client:
        return client.end()


def listener(host, port=PORT, more=""):
    return f'{{proto="tcp", host="{host}", port={port}{more}}}'


def served(interface, path, *args, by=(), header=b""):
    """Serves a connection that comes in on the interface. by: what starts mb-handle; header: what a proxy sends.
    Returns what the client got, the exit status and the log."""
    with socket.socket(socket.AF_INET6) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("::", PORT))
        s.listen(1)
        with connect(interface) as client, s.accept()[0] as conn:
            client.send(header)
            log = mbtest.tmp("stderr")
            with open(log, "wb") as err, open("/dev/null", "r+b") as null:
                status = Child([*by, HANDLE, *args, path], {0: null, 1: null, 2: err, 3: conn}, listen_fds=1).wait()
            return client.end(), status, mbtest.read_file(log)


@test("a listener with a scope takes connections of that interface; one without takes those of all")
def _():
    for host, on_here, on_there in (
        (f"{ADDRESS}%{HERE}", True, False),
        (f"{ADDRESS}%{NUMBER}", True, False),
        (f"FE80:0::1%{HERE}", True, False),
        (f"{ADDRESS}%{THERE}", False, True),
        (ADDRESS, True, True),
        ("::", True, True),
        (f"fe80::2%{HERE}", False, False),
        (f"{ADDRESS}%mb-none", False, False),
        (f"{ADDRESS}%lo", False, False),
        (f"{ADDRESS}%{HERE.upper()}", False, False),
    ):
        path = script(f'{SAYS} listen{{{listener(host)}, connect=says "yes"}}')
        for interface, takes in ((HERE, on_here), (THERE, on_there)):
            got, status, log = served(interface, path)
            full = f"{ADDRESS}%{interface}"
            if takes:
                equal((got, status, log), ((f"yes {full} {full}".encode(), "eof"), 0, ""), f"{host} on {interface}")
            else:
                equal((got, status), ((b"", "reset"), 78), f"{host} on {interface}; log: {log}")
                check(f"[{full}]:{PORT}" in log and f"tcp [{host}]:{PORT}" in log, f"both addresses in {log!r}")


@test("of two listeners with the same address each has its interface")
def _():
    path = script(
        f"""{SAYS} listen{{{listener(f"{ADDRESS}%{THERE}")}, connect=says "there"}}
        listen{{{listener(f"{ADDRESS}%{HERE}")}, connect=says "here"}}
        listen{{{listener(ADDRESS)}, connect=says "neither"}}"""
    )
    for interface, want in ((HERE, b"here "), (THERE, b"there ")):
        got, status, log = served(interface, path)
        equal((got[0].startswith(want), status), (True, 0), f"{interface}: {got} {log}")


def proxied(trust):
    more = f', proxy_protocol=true, proxy_trust={{"{trust}"}}'
    return script(f'{SAYS} listen{{{listener("::", more=more)}, connect=says "yes"}}')


@test("proxy_trust believes a proxy on its interface alone")
def _():
    for trust, on_there in ((f"{ADDRESS}%{HERE}", False), (f"fe80::%{HERE}/64", False), ("fe80::/10", True)):
        for interface, trusted in ((HERE, True), (THERE, on_there)):
            got, status, log = served(interface, proxied(trust), header=b"PROXY UNKNOWN\r\n")
            full = f"{ADDRESS}%{interface}"
            want = (f"yes {full} {full}".encode(), "eof") if trusted else (b"", "reset")
            equal((got, status), (want, 0), f"{trust} on {interface}; log: {log}")
            refused = full in log and "it is not in proxy_trust" in log
            equal(refused, not trusted, f"a refusal of {interface} in {log!r}")


@test("a handler with a network of its own, as PrivateNetwork= gives it, knows the interfaces of the connection's")
def _():
    by = (mbtest.need("unshare"), "--net")
    path = script(f'{SAYS} listen{{{listener(f"{ADDRESS}%{HERE}")}, connect=says "yes"}}')
    got, status, log = served(HERE, path, by=by)
    equal((got[0].startswith(b"yes "), status, log), (True, 0, ""), f"on the interface: {got}")
    got, status, log = served(THERE, path, by=by)
    equal((got, status), ((b"", "reset"), 78), f"on the other; log: {log}")
    got, status, log = served(HERE, proxied(f"{ADDRESS}%{HERE}"), by=by, header=b"PROXY UNKNOWN\r\n")
    equal((got[0].startswith(b"yes "), status, log), (True, 0, ""), f"a proxy on the interface: {got}")
    got, status, log = served(THERE, proxied(f"{ADDRESS}%{HERE}"), by=by, header=b"PROXY UNKNOWN\r\n")
    equal((got, status), ((b"", "reset"), 0), f"a proxy on the other; log: {log}")


@test("a program of another library is served where it binds to")
def _():
    path = script(
        f"""local server = assert(require "socket".bind("{ADDRESS}%{HERE}", {PORT}))
        server:accept():send("served\\n")"""
    )
    equal(served(HERE, path, "--style=luasocket"), ((b"served\n", "eof"), 0, ""), "on its interface")
    got, status, log = served(THERE, path, "--style=luasocket")
    equal((got, status), ((b"", "reset"), 70), f"on the other; log: {log}")
    check(f"[{ADDRESS}%{HERE}]:{PORT}" in log and f"[{ADDRESS}%{THERE}]:{PORT}" in log, f"both addresses in {log!r}")


# --- Real servers ---


def links(first):
    """A script that answers at three ports: on one interface, by its name and by its number, and on both."""
    return mbtest.write_file(
        mbtest.tmp("srv", f"links{first}.lua"),
        f"""{SAYS} listen{{
          {listener(f"{ADDRESS}%{HERE}", first)}, {listener(f"{ADDRESS}%{NUMBER}", first + 1)},
          {listener(f"{ADDRESS}%{HERE}", first + 2)}, connect=says "here"}}
        listen{{{listener(f"{ADDRESS}%{THERE}", first + 2)}, connect=says "there"}}""",
    )


def check_links(first, host, on_both=True):
    """on_both: the server can listen at the third port of both interfaces; else it listens on the first alone."""
    for port in range(first, first + 3):
        mbtest.wait_listening((ADDRESS, port))
        full = f"{ADDRESS}%{HERE}"
        equal(answer(HERE, port), (f"here {full} {full}".encode(), "eof"), f"{host}: answer on {HERE}, port {port}")
        full = f"{ADDRESS}%{THERE}"
        if on_both and port == first + 2:
            # The other listener of this port may have been there first.
            mbtest.until(lambda p=port: is_taken(THERE, p), f"{host} listens on {THERE}")
            equal(answer(THERE, port), (f"there {full} {full}".encode(), "eof"), f"{host}: answer on {THERE}")
        else:
            check(not is_taken(THERE, port), f"{host} listens on {THERE}, port {port}")


def is_taken(interface, port):
    """Returns whether somebody listens there, without connecting."""
    with socket.socket(socket.AF_INET6) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(where(interface, port))
        except OSError as error:
            equal(error.errno, errno.EADDRINUSE, f"errno of bind: {error}")
            return True
    return False


def printed(mode, path):
    done = subprocess.run([HANDLE, mode, path], capture_output=True, text=True, check=False)
    equal((done.returncode, done.stderr), (0, ""), f"status and stderr of {mode}")
    return done.stdout


@test("--inetd: openbsd-inetd listens on each interface")
def _():
    text = re.sub(r"(?m)^([^#].* nowait\.60000 )mb-handle ", rf"\g<1>{mbhosts.USER} ", printed("--inetd", links(9000)))
    check(f"[{ADDRESS}%{HERE}]:9000 stream tcp6 " in text, text)
    inetd = mbtest.Process([INETD, "-i", mbtest.write_file(mbtest.tmp("inetd.conf"), text)])
    check_links(9000, "inetd")
    equal(inetd.text(), "", "what inetd says")


@test("--xinetd: xinetd listens on an interface; what it cannot tell from that stands in a comment")
def _():
    text = printed("--xinetd", links(9100)).replace("= mb-handle\n", f"= {mbhosts.USER}\n")
    check(f"\tbind            = {ADDRESS}%{HERE}\n" in text, text)
    config, log = mbtest.write_file(mbtest.tmp("xinetd.conf"), text), mbtest.tmp("xinetd.log")
    mbtest.Process([XINETD, "-dontfork", "-f", config, "-filelog", log, "-pidfile", log + ".pid"])
    check_links(9100, "xinetd", on_both=False)
    remark = f"# Not here, as xinetd takes it for the same address as {ADDRESS}%{HERE}: [{ADDRESS}%{THERE}]:9102"
    check(remark in text.splitlines(), text)
    check("ERROR" not in mbtest.read_file(log), f"no error in {mbtest.read_file(log)}")


journal = mbspace.Journal()
manager = mbhosts.UserManager()


def units(path):
    argv = [HANDLE, "--units", manager.units, "--user", path]
    done = subprocess.run(argv, env=manager.env, capture_output=True, text=True, check=False)
    equal(done.returncode, 0, f"status of --units; stderr: {done.stderr}")
    return done.stderr


@test("--units: systemd listens on each interface")
def _():
    equal(units(links(9200)), "", "stderr")
    unit = os.path.join(manager.units, "links9200.socket")
    lines = [line for line in mbtest.read_file(unit).splitlines() if line.startswith("ListenStream=")]
    want = [f"9200%%{HERE}", f"9201%%{NUMBER}", f"9202%%{HERE}", f"9202%%{THERE}"]
    equal(lines, [f"ListenStream=[{ADDRESS}]:{text}" for text in want], "lines")
    equal(mbtest.output_of("systemd-analyze", "--user", "--man=no", "verify", unit, env=manager.env), "", "verify")
    equal(manager.systemctl("daemon-reload"), "", "systemctl daemon-reload")
    manager.start("links9200.socket")
    check_links(9200, "systemd")


@test("spellings of one interface on one port are one address; a number has no leading zeros")
def _():
    spellings = [f"{ADDRESS}%{HERE}", f"{ADDRESS}%{NUMBER}", f"{ADDRESS}%0{NUMBER}", f"FE80:0::1%{HERE}"]
    for name, hosts, want in (("again", spellings, HERE), ("zeros", spellings[2:1:-1] + spellings, NUMBER)):
        rows = ", ".join(listener(host, 9400) for host in hosts)
        text = f'{SAYS} listen{{{rows}, {listener(f"{ADDRESS}%{THERE}", 9400)}, connect=says "yes"}}'
        path = mbtest.write_file(mbtest.tmp("srv", f"{name}.lua"), text)
        equal(units(path), "", "stderr")
        lines = re.findall("ListenStream=(.*)", mbtest.read_file(os.path.join(manager.units, f"{name}.socket")))
        equal(lines, [f"[{ADDRESS}]:9400%%{scope}" for scope in (want, THERE)], "lines of the unit")
        lines = re.findall(r"(?m)^(\S+) stream", printed("--inetd", path))
        equal(lines, [f"[{ADDRESS}%{scope}]:9400" for scope in (want, THERE)], "lines for inetd")
        text = printed("--xinetd", path)
        equal(re.findall(r"bind\s+= (.*)", text), [f"{ADDRESS}%{want}"], "entries for xinetd")
        equal(text.count("# Not here"), 1, f"one address is left out of {text}")
    equal(manager.systemctl("daemon-reload"), "", "systemctl daemon-reload")
    manager.start("again.socket")
    equal(answer(HERE, 9400)[0][:4], b"yes ", "answer")


@test("an interface that is not there: the unit says what helps, and systemd takes the other addresses")
def _():
    rows = f"{listener(f'{ADDRESS}%mb-none', 9300)}, {listener(f'{ADDRESS}%{HERE}', 9300)}"
    path = mbtest.write_file(mbtest.tmp("srv", "missing.lua"), f"{SAYS} listen{{{rows}, connect=says 'here'}}")
    equal(units(path), "", "stderr")
    text = mbtest.read_file(os.path.join(manager.units, "missing.socket"))
    check("systemctl daemon-reload" in text, text)
    equal(manager.systemctl("daemon-reload"), "", "systemctl daemon-reload")
    manager.start("missing.socket")
    equal(answer(HERE, 9300)[0][:5], b"here ", "answer")
    equal(manager.prop("missing.socket", "Listen").count("mb-none"), 0, "addresses that systemd knows")
    # A number is not looked for: no such remark.
    text = f"listen{{{listener(f'{ADDRESS}%2', 9301)}, connect=print}}"
    equal(units(mbtest.write_file(mbtest.tmp("srv", "number.lua"), text)), "", "stderr")
    text = mbtest.read_file(os.path.join(manager.units, "number.socket"))
    check("daemon-reload" not in text, f"no such remark in {text}")


@test("a port is for IPv4 and IPv6 for mb@ and for --units, also with net.ipv6.bindv6only=1")
def _():
    path = mbtest.write_file(mbtest.tmp("srv", "both.lua"), f"{SAYS} listen{{{listener('::', 9501)}, connect=says 'both'}}")
    equal(units(path), "", "stderr")
    equal(manager.systemctl("daemon-reload"), "", "systemctl daemon-reload")
    anywhere = script(f"{SAYS} return says 'any'")
    manager.systemctl("set-environment", f"MB_SCRIPT={anywhere}")
    mbtest.write_file("/proc/sys/net/ipv6/bindv6only", "1")
    try:
        manager.start("mb@9500.socket")
        manager.start("both.socket")
    finally:
        mbtest.write_file("/proc/sys/net/ipv6/bindv6only", "0")
    for host in ("127.0.0.1", "::1"):
        equal(mbtest.answer((host, 9501))[0][:5], b"both ", f"answer of --units at {host}")
        equal(mbtest.answer((host, 9500))[0][:4], b"any ", f"answer of mb@ at {host}")
    for unit in ("both.socket", "mb@9500.socket"):
        manager.stop_unit(unit)


@test("mb@ADDRESS:PORT listens at an address that the machine gets later")
def _():
    manager.start("mb@192.0.2.7:9502.socket")
    subprocess.run(["ip", "address", "add", "192.0.2.7/32", "dev", "lo"], check=True)
    equal(mbtest.answer(("192.0.2.7", 9502))[0][:14], b"any 192.0.2.7 ", "answer")
    manager.stop_unit("mb@192.0.2.7:9502.socket")


@test("what nobody can listen at is refused, and the message says what to write")
def _():
    for mode in ("--units", "--inetd", "--xinetd"):
        argv = [HANDLE, mode, *([mbtest.TMP] if mode == "--units" else [])]
        for host, parts in (
            (ADDRESS, ("listener 2", f'"{ADDRESS}" is link-local', f'host="{ADDRESS}%INTERFACE"')),
            (f"{ADDRESS}%a,b", ("listener 2", "the interface", "write its number")),
            ("127.0.0.1%lo", ("listener 2", "host: expected", "link-local", 'got "127.0.0.1%lo"')),
            ("::1%lo", ("listener 2", "host: expected", "link-local", 'got "::1%lo"')),
            (f"{ADDRESS}%0", ("listener 2", "host: expected", "number from 1", f'got "{ADDRESS}%0"')),
            (f"{ADDRESS}%2147483648", ("listener 2", "host: expected", "number from 1")),
            (f"ff02::1%{HERE}", ("listener 2", "host: expected", "no multicast", f'got "ff02::1%{HERE}"')),
        ):
            path = script(f"listen{{{listener('::', 1)}, {listener(host, 2)}, connect=print}}")
            done = subprocess.run([*argv, path], capture_output=True, text=True, check=False)
            equal((done.returncode, done.stdout), (78, ""), f"status and stdout of {mode} with {host}: {done.stderr}")
            for part in parts:
                check(part in done.stderr, f"{part!r} in {done.stderr!r}")


mbtest.main()
