#!/usr/bin/python3
"""mb.tarantool: Tarantool's sockets, of the script's own: making them, their addresses, options and ends; errno.
tarantool_transfer.py has what passes through them, tarantool_fiber.py fibers, tarantool_serving.py the connection."""

import os
import re
import socket
import sys
import threading

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbnet
import mbtest
from mbtarantool import good, run
from mbtest import equal, script, test, tmp

mbnet.private_network()

# ---- making sockets, errors ----


@test("socket(): names, numbers and their aliases; what is unknown is nil with an error")
def _():
    good(
        r"""
for _, c in ipairs{
  {'AF_INET', 'SOCK_STREAM', 'tcp', 'AF_INET', 'SOCK_STREAM', 'tcp'},
  {'PF_INET', 'SOCK_STREAM', 6, 'AF_INET', 'SOCK_STREAM', 'tcp'},
  {2, 1, nil, 'AF_INET', 'SOCK_STREAM', 'tcp'},
  {'AF_INET6', 'SOCK_STREAM', 'tcp', 'AF_INET6', 'SOCK_STREAM', 'tcp'},
  {'PF_INET6', 'SOCK_DGRAM', 'udp', 'AF_INET6', 'SOCK_DGRAM', 'udp'},
  {'AF_INET', 'SOCK_DGRAM', 'udp', 'AF_INET', 'SOCK_DGRAM', 'udp'},
  {'AF_INET', 'SOCK_RAW', 'icmp', 'AF_INET', 'SOCK_RAW', 'icmp'},
  {'AF_UNIX', 'SOCK_STREAM', 0, 'AF_UNIX', 'SOCK_STREAM', 'ip'},
  {'AF_LOCAL', 'SOCK_DGRAM', nil, 'AF_UNIX', 'SOCK_DGRAM', 'ip'},
  {'PF_UNIX', 'SOCK_SEQPACKET', 'ip', 'AF_UNIX', 'SOCK_SEQPACKET', 'ip'},
} do
  local s = assert(socket(c[1], c[2], c[3]), c[1] .. c[2])
  equal(s:errno(), 0, "errno") equal(s:error(), nil, "error") equal(type(s), "table", "type")
  local name = s:name()
  equal(name.family, c[4], "family") equal(name.type, c[5], "type") equal(name.protocol, c[6], "protocol")
  equal(s:close(), true, "close")
end
equal(socket:errno(), 0, "no error")
for _, c in ipairs{
  {'AF_FOO', 'SOCK_STREAM', 'tcp', 'EAFNOSUPPORT'}, {'AF_INET', 'SOCK_FOO', 'tcp', 'ESOCKTNOSUPPORT'},
  {'AF_INET', 'SOCK_STREAM', 'tcp121222', 'EPROTONOSUPPORT'}, {'AF_INET', 'SOCK_STREAM', 'udp', 'EPROTONOSUPPORT'},
} do
  equal(socket(c[1], c[2], c[3]), nil, "socket")
  equal(errno(), errno[c[4]], "errno() of " .. c[4])
  equal(socket:errno(), errno[c[4]], "socket:errno()")
  equal(socket:error(), errno.strerror(errno[c[4]]), "socket:error()")
end
says("usage: socket(domain, type, protocol)", socket, {}, 1)
"""
    )


@test("errno: the number and the text of the last error, all names of the system, and that they can be listed")
def _():
    names = {name: getattr(__import__("errno"), name) for name in dir(__import__("errno")) if name.startswith("E")}
    rows = "".join(f"equal(errno.{name}, {number}, '{name}')\n" for name, number in names.items())
    good(
        rows
        + r"""
equal(errno.EFOO, nil, "an unknown name")
local s = socket('AF_INET', 'SOCK_STREAM', 'tcp')
equal(s:syswrite("x"), nil, "not connected")
equal(errno(), errno.EPIPE, "errno") equal(errno.strerror(), "Broken pipe", "strerror")
equal(errno.strerror(errno.ENOENT), "No such file or directory", "strerror(n)")
equal(errno(0), errno.EPIPE, "the old one") equal(errno(), 0, "the new one")
"""
    )
    good("local n = 0 for k, v in pairs(getmetatable(errno).__index) do n = n + 1 end equal(n > 100, true, 'pairs')")


@test("install(): require and box give the modules; an existing box is kept")
def _():
    good(
        r"""
box = {cfg = "mine"}
mb.install()
for _, name in ipairs{"socket", "fiber", "errno"} do
  equal(require(name), mb[name], name) equal(package.loaded[name], mb[name], name) equal(box[name], mb[name], name)
end
equal(box.cfg, "mine", "box.cfg")
"""
    )
    good(
        """
mb.install()
equal(box.socket, require "socket", "a new box")
equal(box.cfg{log_level = 5}, nil, "box.cfg") says("box.cfg: listen", box.cfg, {listen = 3301})
"""
    )


# ---- names and addresses ----


@test("getaddrinfo: hints, one by one and together, with names and numbers; what cannot be found")
def _():
    with mbnet.etc("hosts", "192.0.2.1 many\n192.0.2.2 many\n2001:db8::1 many\n"):
        good(
            r"""
local function list(...) return assert(socket.getaddrinfo(...)) end
local all = list('many', 8080, nil, {type = 'SOCK_STREAM'})
equal(#all, 3, "all")
local hosts = {}
for _, a in ipairs(all) do
  hosts[a.host] = a.family
  equal(a.port, 8080, "port") equal(a.type, 'SOCK_STREAM', "type") equal(a.protocol, 'tcp', "protocol")
end
equal(hosts['192.0.2.1'], 'AF_INET', "first") equal(hosts['192.0.2.2'], 'AF_INET', "second")
equal(hosts['2001:db8::1'], 'AF_INET6', "third")
equal(#list('many', 80, nil, {family = 'AF_INET', protocol = 'tcp'}), 2, "family, protocol")
equal(#list('many', 80, {family = 10, protocol = 17}), 1, "numbers, as the third argument")
equal(list('many', 80, 5, {family = 'AF_INET6', type = 'SOCK_DGRAM'})[1].protocol, 'udp', "udp")
equal(#list('127.0.0.1', '80'), 3, "no hints: stream, datagram, raw")
equal(list(nil, 80, nil, {flags = {'AI_PASSIVE'}, protocol = 'tcp', family = 'AF_INET'})[1].host, '0.0.0.0', "passive")
equal(list(nil, 80, nil, {flags = 'AI_PASSIVE', protocol = 'tcp', family = 'AF_INET6'})[1].host, '::', "one flag")
equal(list('', 80, nil, {protocol = 'tcp', family = 'AF_INET'})[1].host, '127.0.0.1', "not passive")
equal(list('many', nil, nil, {flags = {AI_CANONNAME = true}, protocol = 'tcp'})[1].canonname, 'many', "canonname")
equal(list('127.0.0.1', 'http', nil, {protocol = 'tcp'})[1].port, 80, "a service")
for _, c in ipairs{
  {{flags = {'AI_NUMERICHOST'}}, 'ENXIO'}, {{family = 'AF_FOO'}, 'EINVAL'}, {{type = 'SOCK_FOO'}, 'EINVAL'},
  {{protocol = 'foo'}, 'EINVAL'}, {{flags = {'AI_FOO'}}, 'EINVAL'}, {{flags = {'AI_PASSIVE', 'AI_FOO'}}, 'EINVAL'},
  {{family = 'AF_UNIX'}, 'EAFNOSUPPORT'}, {{type = 'SOCK_SEQPACKET', protocol = 'tcp'}, 'ESOCKTNOSUPPORT'},
  {{family = {}}, 'EINVAL'}, {{type = true}, 'EINVAL'},
} do
  local got, message = socket.getaddrinfo('many', 80, nil, c[1])
  equal(got, nil, "result") equal(type(message), "string", "message") equal(errno(), errno[c[2]], c[2])
end
equal(socket.getaddrinfo('nosuch', 80), nil, "no such name") equal(errno(), errno.ENXIO, "errno")
equal(select(2, socket.getaddrinfo('nosuch', 80)), "Name or service not known", "message")
equal(socket.getaddrinfo('many', 'nosuch'), nil, "no such service")
for _, port in ipairs{80, "80", 160 / 2, "80" + 0, "80.0"} do equal(list('127.0.0.1', port)[1].port, 80, "a port") end
equal(socket.getaddrinfo('127.0.0.1', 80.5), nil, "no port") equal(socket.getaddrinfo('127.0.0.1', '.0'), nil, "no port")
"""
        )


@test("sysbind, bind, sysconnect: the forms of an address; no name but in bind")
def _():
    with mbnet.etc("hosts", "127.0.0.2 here\n192.0.2.1 elsewhere\n"):
        good(
            r"""
local function bound(family, method, host, port)
  local s = assert(socket(family, 'SOCK_STREAM', 0))
  local good = s[method](s, host, port)
  return good, good and s:name() or {}, s
end
for _, method in ipairs{"bind", "sysbind"} do
  local function try(family, host, port, want)
    local good, name = bound(family, method, host, port)
    equal(good, true, method .. " " .. tostring(host)) equal(name.host, want, "host")
    if name.port == 0 then print("no port") end
  end
  try('AF_INET', '127.0.0.1', 0, '127.0.0.1')
  try('AF_INET', '127.0.0.1', '0', '127.0.0.1')
  try('AF_INET', '127.0.0.1', nil, '127.0.0.1')
  try('AF_INET', 0, 0, '0.0.0.0')
  try('AF_INET6', '::1', 0, '::1')
  try('AF_INET6', 0, 0, '::')
end
local good, name, s = bound('AF_INET', 'bind', 'here', 0)
equal(good, true, "a name") equal(name.host, '127.0.0.2', "its address")
equal(s:bind('127.0.0.1', 0), false, "bound twice") equal(s:errno(), errno.EINVAL, "errno")
for _, c in ipairs{
  {'AF_INET', 'sysbind', 'here', 0, 'EINVAL'}, {'AF_INET', 'sysconnect', 'here', 80, 'EINVAL'},
  {'AF_INET', 'bind', 'elsewhere', 0, 'EADDRNOTAVAIL'}, {'AF_INET', 'bind', 'nosuch', 0, 'ENXIO'},
  {'AF_INET', 'sysbind', '::1', 0, 'EAFNOSUPPORT'}, {'AF_INET', 'sysbind', '127.0.0.1', 65536, 'EINVAL'},
  {'AF_INET', 'sysbind', '127.0.0.1', -1, 'EINVAL'}, {'AF_INET', 'sysconnect', '127.0.0.1', 'x', 'EINVAL'},
  {'AF_INET', 'sysconnect', 'unix/', '/x', 'EAFNOSUPPORT'}, {'AF_UNIX', 'sysconnect', '127.0.0.1', 1, 'EAFNOSUPPORT'},
  {'AF_UNIX', 'sysconnect', 'unix/', '/nosuch/x', 'ENOENT'}, {'AF_UNIX', 'sysbind', 'unix/', ('x'):rep(200), 'ENAMETOOLONG'},
  {'AF_UNIX', 'bind', 'unix/', '', 'EINVAL'}, {'AF_UNIX', 'bind', 'unix/', 'a\0b', 'EINVAL'},
} do
  local good, _, s = bound(c[1], c[2], c[3], c[4])
  equal(good, false, c[2] .. " " .. c[3]) equal(s:errno(), errno[c[5]], c[2] .. " " .. c[3])
  equal(errno(), errno[c[5]], "errno()")
end
local a = listener()
local good, _, s = bound('AF_INET', 'bind', '127.0.0.1', a:name().port)
equal(good, false, "in use") equal(s:error(), "Address already in use", "error")
says("bad argument #1 to 'sysbind'", s.sysbind, s)
says("bad argument #2 to 'sysconnect'", s.sysconnect, s, '127.0.0.1', {})
"""
        )


@test("socket.bind: a bound socket, or nil and a message")
def _():
    good(
        r"""
local s = assert(socket.bind('localhost', 0))
equal(s:name().host, '127.0.0.1', "host") s:listen() equal(s:name().port > 0, true, "port")
local other, message = socket.bind('127.0.0.1', s:name().port)
equal(other, nil, "in use") equal(message, "Address already in use", "message")
"""
    )


@test("name, peer, tostring")
def _():
    good(
        r"""
local a, b = pair()
equal(a:peer().port, b:name().port, "port") equal(a:name().port, b:peer().port, "port")
for _, t in ipairs{a:name(), a:peer(), b:name(), b:peer()} do
  equal(t.host, '127.0.0.1', "host") equal(t.family, 'AF_INET', "family")
  equal(t.type, 'SOCK_STREAM', "type") equal(t.protocol, 'tcp', "protocol")
end
equal(tostring(a), ("fd %d, aka 127.0.0.1:%d, peer 127.0.0.1:%d"):format(a:fd(), a:name().port, a:peer().port), "text")
local s = socket('AF_INET', 'SOCK_STREAM', 'tcp')
equal(s:peer(), nil, "no peer") equal(s:errno(), errno.ENOTCONN, "errno") equal(s:name().host, "0.0.0.0", "name")
equal(tostring(s), "fd " .. s:fd() .. ", aka 0.0.0.0:0", "text")
s:close() equal(tostring(s), "socket (closed)", "text")
"""
    )


# ---- life ----


@test("install(): what is not asked for is not loaded; a module that had the name before is replaced")
def _():
    loaded = """
local function loaded(name) return package.loaded["mb.tarantool." .. name] ~= nil end
local function are(want, ...) for _, name in ipairs{...} do if loaded(name) ~= want then print(name) end end end
"""
    text = (
        loaded
        + """
package.loaded.socket = "another"
require("mb.tarantool").install()
are(false, "socket", "fiber", "errno", "object", "endpoint", "messages", "address", "channel", "server")
local socket = require "socket"
local s = socket('AF_INET', 'SOCK_STREAM', 'tcp')
s:writable(0)
are(true, "socket", "object") are(false, "fiber", "errno", "endpoint", "messages", "address")
s:bind('127.0.0.1', 0) are(true, "endpoint") are(false, "fiber", "errno", "messages", "address")
if require "errno" ~= box.errno or require "fiber" ~= box.fiber or box.socket ~= socket then print("box") end
are(true, "fiber", "errno") are(false, "channel", "server", "address")
return function() end
"""
    )
    done = mbtest.replay(script(text))
    equal((done.returncode, done.stdout, done.stderr), (0, b"", b""), "status, output, log")


@test("misuse of what is not a method is blamed on the caller's line, and names the function")
def _():
    output = run(
        r"""
for want, f in pairs{
  ["bad timeout: expected a number of seconds, got string"] = function() fiber.channel():get("x") end,
  ["bad timeout: expected a number of seconds, got boolean"] = function() fiber.cond():wait(true) end,
  ["bad timeout: expected a number of seconds, got table"] = function() socket.tcp_connect("127.0.0.1", 1, {}) end,
  ["bad timeout: expected a number of seconds, got function"] = function() socket.iowait(0, "R", print) end,
  ["usage: fiber.channel([capacity]), a number"] = function() local c = fiber.channel("x") c:close() end,
  ["bad argument #1 to 'getaddrinfo' (string expected, got table)"] = function() socket.getaddrinfo({}, 1) end,
  ["bad argument #1 to 'tcp_connect' (string expected, got table)"] = function() local s = socket.tcp_connect({}, 1) s:close() end,
  ["bad argument #1 to 'bind' (string expected, got table)"] = function() local s = socket.bind({}, 1) s:close() end,
  ["bad argument #1 to 'tcp_server' (string expected, got table)"] = function() local s = socket.tcp_server({}, 1, print) s:close() end,
  ["usage: tcp_server(host, port, handler or {handler = ...} [, timeout])"] = function() local s = socket.tcp_server("127.0.0.1", 0) s:close() end,
  ["bad argument to 'strerror': expected an integer, got string"] = function() errno.strerror("x") end,
  ["bad argument to 'errno': expected an integer, got boolean"] = function() errno(true) end,
  ["bad argument #1 to 'sysread' (expected a number of bytes, 0 or more)"] = function() local a = pair() a:sysread(-1) end,
  ["usage: socket:method(), called with something that is no socket"] = function() local a = pair() a.errno(5) end,
} do
  local good, err = pcall(f)
  local line = debug.getinfo(f, "S").linedefined
  equal(tostring(err):match(":" .. line .. ": (.*)"), want, tostring(err))
end
local count = 0
for name, number in pairs(errno) do if name:find("^E") then count = count + 1 equal(number, errno[name], name) end end
equal(count > 100, true, "errno's names")
"""
    )
    equal(output, "", "what the script complains about")


@test("close: the peer sees the end; twice is false; every other method of a closed socket throws at its caller")
def _():
    good(
        r"""
local a, b = pair()
equal(a:close(), true, "close") equal(b:read(), "", "the end")
equal(a:close(), false, "closed twice") equal(a:errno(), errno.EBADF, "errno")
equal(a:error(), "Bad file descriptor", "error")
for _, name in ipairs{"sysconnect", "sysread", "syswrite", "nonblock", "shutdown", "sysbind", "bind", "listen", "accept",
  "setsockopt", "getsockopt", "linger", "readable", "writable", "wait", "read", "readline", "write", "recv", "send",
  "recvfrom", "sendto", "name", "peer", "fd"} do
  says("attempt to use closed socket", a[name], a, "127.0.0.1", 1, "x")
  says("called with something that is no socket", a[name], {})
  says("called with something that is no socket", a[name])
end
says("called with something that is no socket", a.close, 1)
"""
    )
    output = run("local s = socket('AF_INET', 'SOCK_STREAM', 0)\ns:close()\ns:read() --[[here]]", status=78)
    path, number = re.search(r" (/\S+):(\d+): attempt to use closed socket", output).groups()
    line = mbtest.read_file(path).splitlines()[int(number) - 1]
    equal(line, "s:read() --[[here]]", f"the line of the error {output!r}")


@test("garbage is closed")
def _():
    good(
        r"""
local ms = listener()
local a = socket.tcp_connect('127.0.0.1', ms:name().port)
do ms:accept() end
collectgarbage() collectgarbage()
equal(a:read(), "", "the end")
"""
    )


@test("shutdown: each spelling of each direction")
def _():
    good(
        r"""
for _, how in ipairs{"W", "WRITE", 1, socket.SHUT_WR, "SHUT_WR"} do
  local a, b = pair()
  equal(a:shutdown(how), true, how) equal(b:read(), "", "the peer sees the end")
  equal(a:write("x"), false, "write") equal(a:errno(), errno.EPIPE, "errno")
  b:write("still there\n") equal(a:readline(), "still there\n", "reading goes on")
end
for _, how in ipairs{"R", "READ", 0, socket.SHUT_RD} do
  local a, b = pair()
  equal(a:shutdown(how), true, how) equal(a:read(), "", "the end of input")
  equal(a:write("x"), true, "write") equal(b:read(1), "x", "writing goes on")
end
for _, how in ipairs{"RW", "READ_WRITE", 2, socket.SHUT_RDWR, false} do
  local a, b = pair()
  equal(a:shutdown(how or nil), true, tostring(how)) equal(a:read(), "", "the end of input")
  equal(b:read(), "", "the end")
  equal(a:write("x"), false, "write")
end
local s = socket('AF_INET', 'SOCK_STREAM', 'tcp')
equal(s:shutdown('RW'), false, "not connected") equal(s:errno(), errno.ENOTCONN, "errno")
local a = pair()
equal(a:shutdown('X'), false, "unknown") equal(a:errno(), errno.EINVAL, "errno")
equal(a:shutdown(3), false, "unknown") equal(a:shutdown(-1), false, "unknown")
"""
    )


@test("linger: what it returns; with 0 seconds a close resets")
def _():
    with socket.socket() as ls:
        ls.bind(("127.0.0.1", 0))
        ls.listen(2)
        accepted = []
        for _ in range(2):
            thread = threading.Thread(target=lambda: accepted.append(ls.accept()[0]))
            thread.start()
            good(
                f"local linger, port = {str(len(accepted) == 0).lower()}, {ls.getsockname()[1]}"
                + r"""
local s = socket.tcp_connect('127.0.0.1', port)
local function l(on, seconds, ...)
  local a, b = s:linger(...)
  equal(a, on, "active") equal(b, seconds, "seconds")
end
l(false, 0) l(true, 5, true, 5) l(true, 5) l(false, 5, false, 5) l(false, 5) l(true, 0, 1) l(false, 0, 0)
if linger then l(true, 0, true) end
s:close()
"""
            )
            thread.join()
    try:
        equal(accepted[0].recv(1), None, "after a reset")
    except ConnectionResetError:
        pass
    equal(accepted[1].recv(1), b"", "after an ordinary end")


# ---- options ----


OPTIONS = r"""
local seen = {}
local function set(s, name, value, want, level)
  seen[name] = true
  equal(s:setsockopt(level or 'SOL_SOCKET', name, value), true, "set " .. name)
  equal(s:error(), nil, name)
  if want ~= nil then equal(s:getsockopt(level or 'SOL_SOCKET', name), want, name) end
end
local function get(s, name, want)
  seen[name] = true
  equal(s:getsockopt('SOL_SOCKET', name), want, name)
  equal(s:error(), nil, name)
end
local ms = listener()
local s = socket('AF_INET', 'SOCK_STREAM', 'tcp')
local d = socket('AF_INET', 'SOCK_DGRAM', 'udp')
get(ms, 'SO_ACCEPTCONN', 1) get(s, 'SO_ACCEPTCONN', 0)
get(s, 'SO_DOMAIN', 2) get(s, 'SO_ERROR', 0) get(s, 'SO_PROTOCOL', 6) get(d, 'SO_PROTOCOL', 17)
get(s, 'SO_TYPE', 1) get(d, 'SO_TYPE', 2)
for _, name in ipairs{'SO_BROADCAST', 'SO_DEBUG', 'SO_DONTROUTE', 'SO_KEEPALIVE', 'SO_OOBINLINE', 'SO_REUSEADDR',
    'SO_REUSEPORT', 'SO_TIMESTAMP'} do
  set(name == 'SO_KEEPALIVE' and s or d, name, true, 1) set(name == 'SO_KEEPALIVE' and s or d, name, false, 0)
  set(d, name, 1) set(d, name, 0, 0)
end
set(s, 'SO_BSDCOMPAT', true)
set(s, 'SO_MARK', 17, 17) set(s, 'SO_PRIORITY', 5, 5) set(s, 'SO_RCVLOWAT', 100, 100)
set(s, 'SO_RCVBUF', 10000, 20000) set(s, 'SO_SNDBUF', 10000, 20000)
set(s, 'SO_RCVBUFFORCE', 20000, 40000) set(s, 'SO_SNDBUFFORCE', 20000, 40000)
set(s, 'SO_RCVTIMEO', 1.5, 1.5) set(s, 'SO_SNDTIMEO', 2.5, 2.5) set(s, 'SO_SNDTIMEO', 0, 0.0)
set(s, 'SO_BINDTODEVICE', 'lo', 'lo') set(s, 'SO_BINDTODEVICE', '', '')
get(s, 'SO_SNDLOWAT', 1)
equal(s:setsockopt('SOL_SOCKET', 'SO_SNDLOWAT', 5), false, "not in Linux") equal(s:errno(), errno.ENOPROTOOPT, "errno")
set(s, 'TCP_NODELAY', true, 1, 'IPPROTO_TCP') set(s, 'TCP_NODELAY', false, 0, 'SOL_TCP') set(s, 'TCP_NODELAY', true, 1, 6)
set(s, 'TCP_KEEPCNT', 3, 3, 'tcp')
local u = socket('AF_UNIX', 'SOCK_STREAM', 0)
set(u, 'SO_PASSCRED', true, 1)
assert(u:sysconnect('unix/', arg[1]))
local user = u:getsockopt('socket', 'SO_PEERCRED')
seen.SO_PEERCRED = true
print(user.pid, user.uid, user.gid)
for name in ([[SO_ACCEPTCONN SO_BINDTODEVICE SO_BROADCAST SO_BSDCOMPAT SO_DEBUG SO_DOMAIN SO_ERROR SO_DONTROUTE
  SO_KEEPALIVE SO_MARK SO_OOBINLINE SO_PASSCRED SO_PEERCRED SO_PRIORITY SO_PROTOCOL SO_RCVBUF SO_RCVBUFFORCE SO_RCVLOWAT
  SO_SNDLOWAT SO_RCVTIMEO SO_SNDTIMEO SO_REUSEADDR SO_SNDBUF SO_SNDBUFFORCE SO_TIMESTAMP SO_TYPE]]):gmatch("%S+") do
  equal(seen[name], true, name .. " was tried")
end
-- What is wrong.
for _, name in ipairs{'SO_ACCEPTCONN', 'SO_DOMAIN', 'SO_ERROR', 'SO_PEERCRED', 'SO_PROTOCOL', 'SO_TYPE'} do
  says("socket option " .. name .. " is read only", s.setsockopt, s, 'SOL_SOCKET', name, 1)
end
says("unknown socket option SO_FOO", s.setsockopt, s, 'SOL_SOCKET', 'SO_FOO', 1)
says("unknown socket option SO_FOO", s.getsockopt, s, 'SOL_SOCKET', 'SO_FOO')
says("socket:linger()", s.getsockopt, s, 'SOL_SOCKET', 'SO_LINGER')
says("socket:linger()", s.getsockopt, s, 'SOL_SOCKET', 13)
says("bad argument #2 to 'linger'", s.linger, s, true, -1)
says("bad argument #3 to 'setsockopt'", s.setsockopt, s, 'SOL_SOCKET', 'SO_RCVBUF', "much")
says("bad argument #3 to 'setsockopt'", s.setsockopt, s, 'SOL_SOCKET', 'SO_RCVTIMEO', -1)
for _, level in ipairs{'SOL_FOO', false} do
  equal(s:setsockopt(level or nil, 'SO_RCVBUF', 1), false, "level") equal(s:errno(), errno.EINVAL, "errno")
  equal(s:getsockopt(level or nil, 'SO_RCVBUF'), nil, "level") equal(s:errno(), errno.EINVAL, "errno")
end
equal(s:setsockopt('SOL_SOCKET', 'SO_BINDTODEVICE', 'nosuch'), false, "no such device")
equal(s:errno(), errno.ENODEV, "errno")
equal(s:getsockopt('SOL_SOCKET', 3), 1, "an option by number") -- SO_TYPE
"""


@test("setsockopt and getsockopt: every option of the reference, in its form; what is unknown or read only throws")
def _():
    path = tmp("options.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        output = run(OPTIONS, path)
    equal(output, f"{os.getpid()}\t{os.getuid()}\t{os.getgid()}\n", "complaints, and the peer's pid, uid, gid")


mbtest.main()
