"""Takes files and commands from docs/deploy as they are, so that a test tries what administrators will copy. Must not
repair them: only ports and directories, which belong to the test's machine, are replaced."""

import os

import mbtest


def text(name):
    found = mbtest.read_file(os.path.join(mbtest.SRCDIR, "docs", "deploy", name))
    mbtest.check(found, f"docs/deploy/{name} is there")
    return found


def replaced(where, content, changes):
    """Returns content with every key of changes replaced by its value. Every key has to occur."""
    for old, new in changes.items():
        mbtest.check(old in content, f"{where} has {old!r}")
        content = content.replace(old, str(new))
    return content


def file(name, changes, path):
    """Writes docs/deploy/NAME to path, with the changes."""
    return mbtest.write_file(path, replaced(f"docs/deploy/{name}", text(name), changes))


def block(name, line, changes=None):
    """Returns the indented block of docs/deploy/NAME that has this line, with the changes. The line must be unique."""
    lines = text(name).splitlines()
    at = [n for n, found in enumerate(lines) if found.strip() == line and found.startswith("    ")]
    mbtest.equal(len(at), 1, f"lines {line!r} in docs/deploy/{name}")
    first = last = at[0]
    while first > 0 and lines[first - 1].startswith("    "):
        first -= 1
    while last + 1 < len(lines) and lines[last + 1].startswith("    "):
        last += 1
    content = "".join(found[4:] + "\n" for found in lines[first : last + 1])
    return replaced(f"{line!r} in docs/deploy/{name}", content, changes or {})
