#!/usr/bin/python3
"""docs/http-tutorial.txt, step by step: its scripts are written, its commands run, what they print is compared. And
moonbridge_http.3 has an entry for each member of the request, each function and each option, and for nothing else; its log
lines are those of the program. docs/from-moonbridge.txt is right in what it says of an unchanged script.

The layout of the tutorial: a block is what is indented by four spaces. Behind a line such as "name.lua:" it is that file;
behind "In the second terminal:" what the server has logged; else commands ("$ ") and what each prints, where "..." stands
for anything. mb-handle --serve is a server, which runs until there is another one, or the section ends."""

import glob
import os
import re
import signal
import subprocess
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbhosts
import mbhttp
import mbspace
import mbtest
from mbtest import check, equal, test, until

TUTORIAL = os.path.join(mbtest.SRCDIR, "docs", "http-tutorial.txt")
LUA = os.path.join(mbtest.SRCDIR, "lua")
PORT = "8080"  # in the text
INDENT = "    "
LOG_TITLE = "In the second terminal:"
SERVER = "mb-handle --serve "

mbtest.need("curl")
if os.geteuid() == 0:
    for tool in ("/lib/systemd/systemd", "systemctl"):
        mbtest.need(tool)
    mbspace.enter(cgroup=True)  # for a manager of our own: nobody but root has that


# --- The text ---


def sections(text):
    """Pairs: the title of each section, and its lines."""
    result = []
    lines = text.splitlines()
    for line, below in zip(lines, lines[1:] + [""]):
        if line and re.fullmatch("-+", below) and len(below) == len(line):
            result.append((line, []))
        elif result:
            result[-1][1].append(line)
    return result


def blocks(lines):
    """Pairs: the line of text before each block, and the lines of the block without their indentation."""
    result, title, inside = [], "", False
    for line in lines:
        if line.startswith(INDENT):
            if not inside:
                result.append((title, []))
            inside = True
            result[-1][1].append(line[len(INDENT) :])
        elif not line and inside:
            result[-1][1].append("")
        elif line:
            title, inside = line, False
    for _, block in result:
        while block[-1] == "":
            block.pop()
    return result


def commands(block):
    """Pairs: each command of a block, and what it prints."""
    result = []
    for line in block:
        if line.startswith("$ "):
            result.append((line[2:], []))
        else:
            check(result, f"a block of commands begins with one, not with {line!r}")
            result[-1][1].append(line)
    return [(command, "\n".join(output)) for command, output in result]


def matches(got, want):
    return re.fullmatch("[^\n]+?".join(re.escape(piece) for piece in want.rstrip("\n").split("...")), got)


# --- Running it ---


class Reader:
    """Who follows the tutorial: a directory with what he has written so far, and two terminals."""

    def __init__(self):
        self.directory = os.path.dirname(mbtest.tmp("reader", "x"))
        self.port = str(mbtest.free_port())
        self.server = None
        self.manager = None
        bin_directory = os.path.dirname(mbtest.tmp("bin", "x"))
        os.symlink(mbtest.HANDLE, os.path.join(bin_directory, "mb-handle"))
        self.env = {n: v for n, v in os.environ.items() if not n.lower().endswith("_proxy") and n != "MB_SCRIPT"}
        self.env["PATH"] = bin_directory + ":" + self.env["PATH"]

    def write(self, name, lines):
        mbtest.write_file(os.path.join(self.directory, name), "\n".join(lines) + "\n")

    def serve(self, command):
        """Starts a server in the second terminal, in place of the one before."""
        self.stop()
        self.port = str(mbtest.free_port())
        where = "" if self.moved(command) else f"=127.0.0.1:{self.port}"
        argv = command.replace(SERVER, f"mb-handle --serve{where} ").split()
        self.server = mbtest.Process(argv, cwd=self.directory, env=self.env)
        mbtest.wait_listening(("127.0.0.1", int(self.port)))

    def moved(self, command):
        """Returns whether the script says its port itself: then it says one that is free here."""
        path = os.path.join(self.directory, re.search(r"[\w.-]+\.lua", command)[0])
        text, count = re.subn(r"\bport = \d+", f"port = {self.port}", mbtest.read_file(path))
        mbtest.write_file(path, text)
        return count > 0

    def stop(self):
        if self.server:
            self.server.stop(signal.SIGINT)
        self.server = None

    def run(self, command, want):
        env = self.env
        if re.match("(sudo|systemctl) ", command):
            if os.geteuid() != 0:
                return mbtest.diagnose(f"not run, as only root has a manager of its own here: {command}")
            command, env = self.with_manager(command)
        command, want = command.replace(PORT, self.port), want.replace(PORT, self.port)
        done = subprocess.run(
            ["sh", "-c", command], cwd=self.directory, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=mbtest.RUN_MAX, check=False,
        )
        got = done.stdout.decode(errors="backslashreplace").replace("\r\n", "\n").rstrip("\n")
        if mbtest.CHOSEN == mbtest.SHARED:  # the text is of a machine with both programs
            got, want = (re.sub(r"\n?program: .*", "", text) for text in (got, want))
        said = done.stderr.decode(errors="backslashreplace")
        check(matches(got, want), f"{command}\nprinted\n{got}\nexpected\n{want}\non stderr\n{said}")
        equal(done.returncode, 0, f"exit status of {command}; it said {said!r}")

    def with_manager(self, command):
        """The command as it is where the program is installed and the manager is the user's own."""
        if not self.manager:
            self.stop()
            self.port = str(mbtest.free_port())
            self.manager = mbhosts.UserManager()
            handlers = os.path.dirname(mbtest.tmp("handlers", "x"))
            self.manager.drop_in("mb@.service", f"[Service]\nExecStart=\nExecStart={mbtest.HANDLE} --handlers {handlers}\n")
        command = command.removeprefix("sudo ").replace("/etc/mb", mbtest.tmp("handlers"))
        return command, {**self.manager.env, "PATH": self.env["PATH"]}

    def logged(self, lines):
        """The second terminal shows these lines in this order; lines of the server itself may come between."""
        check(self.server, "there is a server")

        def shown():
            text = iter(self.server.text().splitlines())
            return all(line.replace(PORT, self.port) in text for line in lines)

        until(shown, f"{lines} in the log, which is {self.server.text()!r}")

    def follow(self, lines):
        """Does what a section says. Returns how many files, commands and logs there were."""
        counts = [0, 0, 0]
        for title, block in blocks(lines):
            file = re.fullmatch(r"([\w.-]+\.\w+):", title)
            if file:
                counts[0] += 1
                self.write(file[1], block)
            elif title == LOG_TITLE:
                counts[2] += 1
                self.logged(block)
            else:
                for command, want in commands(block):
                    counts[1] += 1
                    if command.startswith(SERVER):
                        self.serve(command)
                    else:
                        self.run(command, want)
        return counts


reader = Reader()


def step(title, lines):
    @test(f"tutorial, {title}")
    def _():
        try:
            counts = reader.follow(lines)
        finally:
            reader.stop()
        check(counts[1] > 0 or not title[0].isdigit(), f"commands in {title!r}")


steps = sections(mbtest.read_file(TUTORIAL))
for step_title, step_lines in steps:
    step(step_title, step_lines)


@test("tutorial: the layout was understood: steps with numbers, a script in most of them, all that is served")
def _():
    numbers = [title.split(".")[0] for title, _ in steps if title[0].isdigit()]
    equal(numbers, [str(n) for n in range(1, len(numbers) + 1)], "numbers of the steps")
    check(len(numbers) >= 9, f"steps: {numbers}")
    scripts = sorted(name for name in os.listdir(reader.directory) if name.endswith(".lua"))
    scripts.remove("broken.lua")  # the one that does not load
    equal(len(scripts), len(numbers) - 1, f"scripts, one in each step but that of the port: {scripts}")
    text = mbtest.read_file(TUTORIAL)
    for name in scripts[:]:
        check(re.search(rf"mb-handle (--serve --dev )?{name}", text), f"{name} is run")
    equal([line for line in text.splitlines() if len(line) > 110 or line != line.rstrip()], [], "long or padded lines")


@test("tutorial: download.lua reads Range as docs/examples/webapp.lua does, in the same words; each is a whole script")
def _():
    def parser(text):
        function = re.search(r"((?:^--[^\n]*\n)+local function wanted_range\(.*?^end\n)", text, re.MULTILINE | re.DOTALL)
        check(function, f"the function wanted_range in {text[:80]!r}...")
        return function[1]

    webapp = mbtest.read_file(os.path.join(mbtest.SRCDIR, "docs", "examples", "webapp.lua"))
    equal(parser(mbtest.read_file(os.path.join(reader.directory, "download.lua"))), parser(webapp), "wanted_range")


# --- The manual page ---


def page():
    return mbtest.read_file(os.path.join(mbtest.SRCDIR, "docs", "moonbridge_http.3"))


def sources():
    """The text of all Lua modules of HTTP."""
    paths = [f"{LUA}/moonbridge_http.lua", *sorted(glob.glob(f"{LUA}/mb/http/*.lua"))]
    return "\n".join(mbtest.read_file(path) for path in paths)


def found(pattern):
    """What the pattern's group matches in the sources."""
    names = set(re.findall(pattern, sources(), re.MULTILINE))
    check(names, f"{pattern} in the sources")
    return names


def table(name):
    """The text of a table in the sources, between its braces."""
    body = re.search(rf"^local {name} = {{\n(.*?)^}}", sources(), re.MULTILINE | re.DOTALL)
    check(body, f"the table {name} in the sources")
    return body[1]


def keys(name):
    """The keys of a table in the sources, one a line."""
    names = set(re.findall(r"^  (\w+) = ", table(name), re.MULTILINE))
    check(names, f"keys of {name}")
    return names


def methods():
    """The request's methods: those of the Lua modules, and those of the response writer in C."""
    writer = mbtest.read_file(os.path.join(mbtest.SRCDIR, "src", "api", "http", "http_response.c"))
    rows = re.search(r"request_methods\[\] = {\n(.*?)^};", writer, re.MULTILINE | re.DOTALL)
    check(rows, "the table request_methods in the sources")
    return found(r"^(?:function )?methods\.(\w+)") | set(re.findall(r'{"([a-z]\w*)",', rows[1]))


def entries(pattern):
    return set(re.findall(pattern, page(), re.MULTILINE))


@test("moonbridge_http(3): each member of the request has an entry, and each entry is a member")
def _():
    members = keys("HOME") | methods()
    text = mbtest.read_file(f"{LUA}/mb/http/request.lua")
    fields = set(re.findall(r"^    ([a-z]\w*) = ", text, re.MULTILINE)) | set(re.findall(r'key == "(\w+)"', text))
    check({"method", "socket", "faulty"} <= fields, f"the fields that request.lua makes: {fields}")
    equal(sorted(entries(r"^\.It (?:Fn|Va) request[:.](\w+)")), sorted(members | fields), "entries of members")


@test("moonbridge_http(3): each member is what the source says it is: a method or a field")
def _():
    equal(sorted(entries(r"^\.It Fn request:(\w+)")), sorted(methods()), "methods")


@test("moonbridge_http(3): each function of the module has an entry, and each entry is a function")
def _():
    core = mbtest.read_file(os.path.join(mbtest.SRCDIR, "src", "api", "http", "http_core.c"))
    rows = re.search(r"luaL_Reg face\[\] = {\n(.*?)^};", core, re.MULTILINE | re.DOTALL)
    check(rows, "the table face in the sources")
    want = set(re.findall(r'{"(\w+)",', rows[1])) | found(r"^function http\.(\w+)")
    equal(sorted(entries(r"^\.It Fn http\.(\w+)")), sorted(want), "entries of functions")


@test("moonbridge_http(3): each limit that the sources have is in the page with its number")
def _():
    def number(file, name):
        found = re.search(rf"{name}\s+(\d+)", mbtest.read_file(os.path.join(mbtest.SRCDIR, file)))
        check(found, f"{name} in {file}")
        return found[1]

    text = page()
    for file, name in (
        ("src/http/http_head.h", "MB_HTTP_FIELDS_MAX"),
        ("src/http/http_chunked.h", "MB_HTTP_CHUNK_LINE_MAX"),
        ("src/http/http_chunked.h", "MB_HTTP_CHUNK_EXTRA_MAX"),
        ("src/http/http_multipart.h", "MB_MULTIPART_BOUNDARY_MAX"),
        ("src/http/http_multipart.h", "MB_MULTIPART_HEAD_MAX"),
        ("src/http/http_multipart.h", "MB_MULTIPART_FIELDS_MAX"),
        ("src/http/http_names.h", "MB_HTTP_NAMES_MAX"),
        ("src/http/http_names.h", "MB_HTTP_LONG_NAMES_MAX"),
        ("src/http/http_names.h", "MB_HTTP_NAME_SHORT"),
        ("src/http/http_names.h", "MB_HTTP_INTERNED"),
        ("src/http/http_names.h", "MB_HTTP_ALIKE_MAX"),
        ("src/http/http_names.h", "MB_HTTP_NAME_MAX"),
    ):
        value = number(file, name)
        check(re.search(rf"\b{value}\b", text), f"{name}, {value}, is in the page")


def literal(block):
    """What mandoc prints for the lines of a literal display."""
    for escape, character in ((r"\e", "\\"), (r"\(aq", "'"), (r"\(dq", '"'), (r"\(ti", "~"), (r"\(ha", "^"), (r"\&", "")):
        block = block.replace(escape, character)
    return block


def displays():
    """The literal displays of the page, as they are printed."""
    return [literal(text) for text in re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed", page(), re.MULTILINE | re.DOTALL)]


@test("moonbridge_http(3): each script of the page loads")
def _():
    scripts = [text for text in displays() if text.startswith("local http = require")]
    check(len(scripts) >= 4, f"scripts in the page: {len(scripts)}")
    for text in scripts:
        got = mbtest.output_of(mbtest.HANDLE, "--check", mbtest.script(text))
        check(re.fullmatch(r"1 (any connection|tcp \S+)\n    sandbox: .*\nprogram: .*", got), f"--check of\n{text}\nsaid {got}")


@test("moonbridge_http(3): the first script of the page answers as the page says")
def _():
    response = mbhttp.replayed(b"GET /?name=%3CAnn%3E HTTP/1.0\r\n\r\n", displays()[1]).response(version="1.0")
    equal(response.text(), "<p>Hello, &lt;Ann&gt;!\n", "body")


@test("moonbridge_http(3): its lines of the log are what the program logs")
def _():
    def line_of(data, status, *script):
        """The first line that is logged for a request over TCP, as the page has it."""
        with mbhttp.served(*script, pair=mbtest.tcp_pair, status=status, log=None) as (client, server):
            client.send(data)
            client.response()
            client.finish()
            client.end()
            equal(server.child.wait(), status, "exit status")
            line = server.rest().splitlines()[0]
        return line.removeprefix("mb-handle: ").replace("127.0.0.1", "192.0.2.7")

    shown = [line for text in displays() for line in text.splitlines() if line.startswith("http: ")]
    got = [
        line_of(b"GET / HTTP/1.1\r\n\r\n", 0, ""),
        line_of(
            b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", 0,
            "return request.body", "request_body_size_limit = 1",
        ),
        line_of(b"GET /report?year=2026 HTTP/1.1\r\nHost: a\r\n\r\n", 70, "error('x')"),
    ]
    equal([line for line in shown if "(client" in line], got, "log lines")
    others = [line for line in shown if "(client" not in line]
    check(others, "a log line without a client in the page")
    with mbhttp.served("while true do end", "response_timeout = 0.1", status=-signal.SIGALRM, log=None) as (client, server):
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.end()
        server.child.wait()
        equal(others, [line.removeprefix("mb-handle: ") for line in server.rest().splitlines()], "log of a busy handler")


@test("the README's script for moonbridge_http answers")
def _():
    readme = mbtest.read_file(os.path.join(mbtest.SRCDIR, "README"))
    scripts = ["\n".join(block) for _, block in blocks(readme.splitlines()) if "moonbridge_http" in block[0]]
    equal(len(scripts), 1, "scripts for moonbridge_http in the README")
    response = mbhttp.replayed(b"GET /?name=Ann HTTP/1.0\r\n\r\n", scripts[0]).response(version="1.0")
    equal(response.text(), "Hello, Ann!\n", "body")
    check(response.value("Content-Type"), "a Content-Type")


@test("--help names every manual page")
def _():
    paths = glob.glob(f"{mbtest.SRCDIR}/docs/*.[378]*")
    # One that begins so is another name of a page.
    pages = [os.path.basename(path).removesuffix(".in") for path in paths if not mbtest.read_file(path).startswith(".so ")]
    check(len(pages) >= 4, f"pages: {pages}")
    said = mbtest.output_of(mbtest.HANDLE, "--help")
    for name in pages:
        want = re.sub(r"\.(\d)$", r"(\1)", name)
        check(want in said, f"{want} in {said}")


@test("docs/from-moonbridge.txt: what means something else now")
def _():
    response = mbhttp.replayed(
        b"GET /?debug&x=1 HTTP/1.0\r\nAccept: a, b\r\nCookie: c=%41; c=2\r\n\r\n",
        """
  request.get_params.y = "stored"
  ok(request, table.concat({
    request.cookies.c, http.decode_uri(request.cookies.c), "[" .. request.get_params.debug .. "]",
    request.headers_value.Accept, #request.get_params_list.y,
  }, "\\n"))
""",
    ).response(version="1.0")
    equal(response.text().split("\n"), ["%41", "A", "[]", "a, b", "0"], "cookie, decoded, ?debug, a header, a list")


@test("docs/from-moonbridge.txt: what is an error of the script now, when it is loaded and when a request comes")
def _():
    handler = 'return require "moonbridge_http".generate_handler(function() end, {%s})'
    scripts = [handler % option for option in ("response_timeout = 0", "poll_function = print")]
    for text in scripts:
        done = mbtest.replay("--check", mbtest.script(text))
        equal(done.returncode, 78, f"exit status of --check of {text}; it said {done.stderr!r}")
    mbtest.output_of(mbtest.HANDLE, "--check", mbtest.script(handler % "response_timeout = false"))
    body = 'request:stream_post_param("a", print) request:stream_post_param("a", print)'
    response = mbhttp.replayed(b"GET / HTTP/1.0\r\n\r\n", body, status=70, log="stream handler already").response(version="1.0")
    equal(response.status, 500, "status at the second function for a field")


mbtest.main()
