"""What the tests of the manual pages of modules share: a page, its scripts, and what a module has."""

import os
import re

import mbtest
from mbtest import equal


def page(name):
    """The text of a page of docs, such as "mb.reply.3"."""
    return mbtest.read_file(os.path.join(mbtest.SRCDIR, "docs", name))


def displays(name):
    """The scripts in a page, without the escapes of a manual page."""
    text = page(name).replace(r"\e", "\\").replace(r"\(dq", '"').replace(r"\&", "")
    return re.findall(r"(?ms)^\.Bd -literal[^\n]*\n(.*?)^\.Ed", text)


def check_functions(module, objects, *names):
    """Checks that each function of a module has an entry in its manual page, and that each entry is one of them.
    objects: what a call begins with there, as a pattern. names: of functions that the module makes or loads when they are
    asked for; there may be none of a name."""
    text = f"""
  local module, names = require "{module}", {{}}
  for name in ("{" ".join(names)}"):gmatch("%g+") do local _ = module[name] end
  for name, value in pairs(module) do
    if type(value) == "function" and not name:find("^__") then names[#names + 1] = name end
  end
  table.sort(names)
  return function(socket) socket:write(table.concat(names, "\\n")) end
"""
    done = mbtest.replay(mbtest.script(text))
    equal((done.returncode, done.stderr), (0, b""), "exit status and log")
    entries = re.findall(rf"(?m)^\.It Fn (?:{objects})[.:](\w+)", page(f"{module}.3"))
    equal(sorted(entries), done.stdout.decode().split("\n"), "entries")
