"""Programs where the system lacks a call: a filter answers for it, as a kernel does that does not know it, or as the filter
of a container does."""

import errno
import os
import sys

KILL = -1  # in place of an answer: the call kills, as SystemCallFilter= of a unit does
LANDLOCK, OPENAT2 = 444, 437  # landlock_create_ruleset, openat2: the same on all machines
SECCOMP, PRCTL = {"x86_64": (317, 157), "aarch64": (277, 167)}.get(os.uname().machine, (None, None))

# Installs the filter, then runs the program. Arguments: the call; what it answers; prctl if its PR_SET_SECCOMP fails from
# then on, or 0; and the program.
INSTALL = """
import ctypes, os, struct, sys
def op(code, yes, no, value):
    return struct.pack("HBBI", code, yes, no, value)
def answer(error):
    return op(0x06, 0, 0, 0x80000000 if error == -1 else 0x00050000 | error)
call, error, prctl = (int(n) for n in sys.argv[1:4])
code = op(0x20, 0, 0, 0) + op(0x15, 0, 1, call) + answer(error)
if prctl:
    code += op(0x15, 0, 3, prctl) + op(0x20, 0, 0, 16) + op(0x15, 0, 1, 22) + answer(22)
code += op(0x06, 0, 0, 0x7FFF0000)
buffer = ctypes.create_string_buffer(code)
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)
if libc.prctl(22, 2, struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[4], sys.argv[4:])
"""


def lacking(call, *argv, answer=errno.ENOSYS):
    """The words of a command that runs a program (argv) where a call, by its number, fails with this errno. Where seccomp
    is lacking, so is what prctl has of it."""
    prctl = PRCTL if call == SECCOMP else 0
    return [sys.executable, "-c", INSTALL, str(call), str(answer), str(prctl), *argv]
