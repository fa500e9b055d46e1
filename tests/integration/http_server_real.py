#!/usr/bin/python3
"""docs/examples/lua-http2.lua: the real lua-http, given the connection by mb.http_server.detach, speaks HTTP/2 and TLS
with curl, under the real inetd and a real systemd user manager."""

import os
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbspace
import mbtest
from mbtest import Client, check, equal, free_port, test, until

for tool in ("curl", "inetd", "openssl", "lua5.3", "/lib/systemd/systemd", "systemctl"):
    mbtest.need(tool)
DEBIAN = {"LUA_PATH": "/usr/share/lua/5.3/?.lua;/usr/share/lua/5.2/?.lua;/usr/share/lua/5.2/?/init.lua;;"}
if subprocess.run(["lua5.3", "-e", "require 'http.server'"], env={**os.environ, **DEBIAN}, check=False,
                  capture_output=True).returncode:  # fmt: skip
    mbtest.bail("Debian's lua-http missing")
mbspace.enter(cgroup=True)

EXAMPLE = os.path.join(mbtest.SRCDIR, "docs", "examples", "lua-http2.lua")


def certificate():
    """One that a client can check, its key with it in one file; returns both paths."""
    key, cert, both = mbtest.tmp("tls", "key.pem"), mbtest.tmp("tls", "cert.pem"), mbtest.tmp("tls", "both.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True)  # fmt: skip
    mbtest.write_file(both, mbtest.read_file(cert) + mbtest.read_file(key))
    os.chmod(both, 0o644)
    return cert, both


CERT, BOTH = certificate()
encrypted = ("127.0.0.1", free_port())
plain = ("127.0.0.1", free_port())
# inetd has one environment for all.
with_tls = mbtest.script(f"""
local getenv = os.getenv
function os.getenv(name) return name == "MB_TLS" and "{BOTH}" or getenv(name) end
return dofile("{EXAMPLE}")
""")
mbhosts.Inetd(
    [(f"127.0.0.1:{encrypted[1]}", "tcp4", with_tls), (f"127.0.0.1:{plain[1]}", "tcp4", EXAMPLE)],
    most=1000,
)

manager = mbhosts.UserManager()
manager.systemctl("set-environment", f"MB_SCRIPT={EXAMPLE}", f"MB_TLS={BOTH}")
activated = ("127.0.0.1", free_port())
SOCKET = f"mb@{activated[1]}.socket"
manager.start(SOCKET)
for address in (encrypted, plain, activated):
    mbtest.wait_listening(address)


def curl(*args):
    argv = ["curl", "-sS", "--max-time", str(mbtest.DEADLINE), "-w", "%{http_version}", *args]
    done = subprocess.run(argv, capture_output=True, check=False)
    equal((done.returncode, done.stderr.decode()), (0, ""), f"curl {' '.join(args)}")
    return done.stdout.decode()


@test("HTTP/2 with prior knowledge, and HTTP/1.1, under inetd")
def _():
    url = f"http://127.0.0.1:{plain[1]}/"
    equal(curl("--http2-prior-knowledge", url), "Hello over HTTP/2, not encrypted\n2", "HTTP/2")
    equal(curl("--http1.1", url), "Hello over HTTP/1.1, not encrypted\n1.1", "HTTP/1.1")
    equal(curl("--http2-prior-knowledge", "-I", url).splitlines()[0].strip(), "HTTP/2 200", "HEAD")


def over_tls(where):
    url = f"https://localhost:{where[1]}/"
    trust = ["--cacert", CERT, "--resolve", f"localhost:{where[1]}:127.0.0.1"]
    equal(curl("--http2", *trust, url), "Hello over HTTP/2, encrypted\n2", "ALPN h2")
    equal(curl("--http2", *trust, url, url), "Hello over HTTP/2, encrypted\n2" * 2, "two streams of a connection")
    equal(curl("--http1.1", *trust, url), "Hello over HTTP/1.1, encrypted\n1.1", "ALPN http/1.1")
    equal(curl("-k", "--no-alpn", url.replace("localhost", "127.0.0.1")), "Hello over HTTP/1.1, encrypted\n1.1", "no ALPN")
    with Client(where) as client:
        client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        check(b"Hello" not in client.end()[0], "who comes without TLS is not served")


@test("TLS under inetd: ALPN gives HTTP/2 or HTTP/1.1")
def _():
    over_tls(encrypted)


@test("TLS and HTTP/2 under a systemd user manager; no unit is left or failed")
def _():
    over_tls(activated)
    until(lambda: manager.instances() == "", "no instance left")
    equal(manager.failed(), "", "failed units")


@test("HTTP/2 with prior knowledge under the user manager, without a certificate")
def _():
    manager.systemctl("unset-environment", "MB_TLS")
    url = f"http://127.0.0.1:{activated[1]}/"
    equal(curl("--http2-prior-knowledge", url), "Hello over HTTP/2, not encrypted\n2", "h2c")
    until(lambda: manager.instances() == "", "no instance left")
    equal(manager.failed(), "", "failed units")


@test("the connection ends as soon as the server ends it, though the manager holds a copy of the descriptor")
def _():
    with Client(activated) as client:
        client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data, how = client.end()
        check(data.endswith(b"Hello over HTTP/1.1, not encrypted\n") and how == "eof", f"{data} {how}")
    until(lambda: manager.instances() == "", "no instance left")


@test("a client that speaks neither, and one that goes away, leave no failed unit")
def _():
    for said in (b"\x16\x03\x01\x00\x05hello", b"bogus\r\n\r\n", b""):
        with Client(activated) as client:
            client.send(said)
            client.finish()
            client.end()
    with Client(activated) as client:
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        client.reset()
    until(lambda: manager.instances() == "", "no instance left")
    equal(manager.failed(), "", "failed units")


mbtest.main()
