"""Scripts that try mb.tarantool and print every difference from what they expect."""

import subprocess

import mbtest
from mbtest import HANDLE, equal, script

# equal(got, want, what) prints a line if they differ; says(text, f, ...) if f does not throw that text. pair() makes
# both ends of a TCP connection.
PRELUDE = r"""
local mb = require "mb.tarantool"
local socket, fiber, errno = mb.socket, mb.fiber, mb.errno
local clock = moonbridge_io.timeref
local function show(v) return type(v) == "string" and ("%q"):format(v) or tostring(v) end
local function equal(got, want, what)
  if got ~= want then print(("%s: got %s, expected %s"):format(what, show(got), show(want))) end
end
local function says(text, f, ...)
  local good, err = pcall(f, ...)
  if good or not tostring(err):find(text, 1, true) then
    print(("expected the error %q, got %s"):format(text, show(err)))
  end
end
local function listener(family, host, port)
  local s = assert(socket(family or 'AF_INET', 'SOCK_STREAM', 0))
  s:setsockopt('SOL_SOCKET', 'SO_REUSEADDR', true)
  assert(s:bind(host or '127.0.0.1', port or 0), s:error())
  assert(s:listen(10))
  return s
end
local function pair()
  local ms = listener()
  local a = assert(socket.tcp_connect('127.0.0.1', ms:name().port))
  local b = assert(ms:accept())
  ms:close()
  return a, b
end
-- Calls f and says when it has taken less, or much more, than so many seconds.
local function takes(seconds, f, ...)
  local start = clock()
  local results = table.pack(f(...))
  local took = clock(start)
  if took < seconds - 0.001 or took > seconds + SLACK then
    print(("took %.3f s, expected %.3f s"):format(took, seconds))
  end
  return table.unpack(results, 1, results.n)
end
""".replace("SLACK", str(mbtest.SLOWNESS))


def run(text, *args, status=0):
    """Runs a script without a client. Returns what it prints. Its arguments are in arg."""
    done = subprocess.run(
        [HANDLE, script(f"local arg = {{...}}\n{PRELUDE}\n{text}\nreturn function() end\n"), *map(str, args)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=mbtest.DEADLINE * 2,
        check=False,
    )
    output = done.stdout.decode(errors="backslashreplace")
    equal(done.returncode, status, f"exit status; it has printed {output!r}")
    return output


def good(text, *args):
    """Checks that the script finds no difference."""
    equal(run(text, *args), "", "what the script complains about")
