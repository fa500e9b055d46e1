#!/usr/bin/python3
"""mb.events: server-sent events (HTML Standard, section 9.2), and how a handler learns that its client has gone."""

import os
import re
import select
import signal
import sys
import time

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbpool
import mbtest
from mbhttp import Connection, request, served, source
from mbtest import about, check, equal, test

OPEN = """
  local events = require "mb.events"
  local stream = events.open(request%s)
"""


def parsed(text):
    """What an EventSource makes of a stream: (events as (type, data, id), retry, comments)."""
    found, retry, comments, kind, data, last = [], None, [], "", [], ""
    for line in re.split("\r\n|\r|\n", text):
        name, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if line == "":
            if data:
                found.append((kind or "message", "\n".join(data), last))
            kind, data = "", []
        elif name == "":
            comments.append(value)
        elif name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id":
            last = value
        elif name == "retry":
            retry = int(value)
        else:
            raise mbtest.Failed(f"a field {name!r}")
    return found, retry, comments


def streamed(body, options="", head=(), **how):
    """The response to a GET with this handler."""
    with served(OPEN % options + body, **how) as (client, _):
        client.send(request("/", "GET", None, ["Connection: close", *head]))
        return client.response()


@test("events, each with its fields; data in several lines; retry; the header fields that proxies need")
def _():
    response = streamed(
        """
  stream:send("one")
  stream:send{data = "a\\nb\\r\\nc\\rd"}
  stream:send{event = "news", data = 5, id = 7}
  stream:send{data = ""}
  stream:send{data = "\\n"}
  stream:send{retry = 20, data = "\\195\\169: x"}
  stream:comment("busy\\nevent: none\\revent: none\\r\\nevent: none")
  stream:comment()
""",
        ", {retry = 3000}",
    )
    equal((response.status, response.framing), (200, "chunked"), "status and framing")
    for name, value in (("Content-Type", "text/event-stream"), ("Cache-Control", "no-store"), ("X-Accel-Buffering", "no")):
        equal(response.value(name), value, name)
    text = response.text()
    check(text.startswith("retry: 3000\n\n"), text)
    found, retry, comments = parsed(text)
    equal(retry, 20, "the last retry")
    equal(comments, ["busy", *["event: none"] * 3, ""], "comments")
    equal(
        found,
        [
            ("message", "one", ""),
            ("message", "a\nb\nc\nd", ""),
            ("news", "5", "7"),
            ("message", "", "7"),
            ("message", "\n", "7"),
            ("message", "é: x", "7"),
        ],
        "events",
    )
    equal(len(response.chunks), 9, "each goes out by itself")


@test("a client that comes again tells its last id")
def _():
    body = "stream:send(tostring(stream.last_id))"
    equal(parsed(streamed(body).text())[0], [("message", "nil", "")], "the first time")
    again = streamed(body, head=["Last-Event-ID: a 5"])
    equal(parsed(again.text())[0], [("message", "a 5", "")], "later")


@test("what is wrong is an error that says so, with the script's line")
def _():
    for call, message in (
        ('events.open("x")', "events.open: expected a request as first argument, got string"),
        ("events.open(request, 5)", "events.open: expected a table of options, got number"),
        ("events.open(request, {retry = 0.5})", "retry: expected a number of milliseconds"),
        ("events.open(request, {retry = -1})", "retry: expected a number of milliseconds"),
        ("events.open(request, {heartbeat = 0})", "heartbeat: expected a number of seconds, or false"),
        ("events.open(request, {colour = 1})", "there is no option colour: expected heartbeat, retry"),
        ("stream:send()", "send: expected a table or a string, got nil"),
        ("stream:send{name = 'x'}", "send: there is no field name: expected data, event, id, retry"),
        ("stream:send{data = {}}", "send: data: expected a string, got table"),
        ("stream:send{data = '', event = 'a\\nb'}", "send: event has the end of a line, or a NUL, in it"),
        ("stream:send{data = '', event = 'a\\rb'}", "send: event has the end of a line, or a NUL, in it"),
        ("stream:send{data = '', event = false}", "send: event: expected a string, got boolean"),
        ("stream:send{data = '', id = '\\0'}", "send: id has the end of a line, or a NUL, in it"),
        ("stream:send{data = '', retry = 'x'}", "send: retry: expected a number of milliseconds"),
        ("stream:wait(-1)", "wait: expected a number of seconds"),
    ):
        body = f"""
  local good, err = pcall(function() {call} end)
  assert(not good and err:find("^/.*%.lua:%d+: "), tostring(err))
  stream:send(err:gsub("^.-:%d+: ", ""), nil)
"""
        body = body.replace('stream:send(err:gsub("^.-:%d+: ", ""), nil)', 'stream:send((err:gsub("^.-:%d+: ", "")))')
        data = parsed(streamed(body).text())[0][0][1]
        check(message in data, f"{call}: {data!r}, expected {message!r}")


@test("wait ends as soon as the client has gone, with no line in the log; nothing is sent in vain")
def _():
    with served(OPEN % "" + "print(stream:is_open()) print(stream:wait(1000)) print(stream:is_open())", log=None) as (client, server):
        client.send(request("/") + request("/next"))  # the second one waits, and is no end
        server.says("true")
        began = time.monotonic()
        client.sock.close()
        server.says("false")
        server.says("false")
        check(time.monotonic() - began < mbtest.DEADLINE, "at once")


@test("a handler that sends without asking ends when the client has gone: at info, as any lost connection")
def _():
    body = OPEN % "" + 'for i = 1, 1e9 do stream:send(("x"):rep(10000)) end'
    with served(body, log="the connection to the client is lost") as (client, _):
        client.send(request("/"))
        client.head()
        client.sock.close()


@test("heartbeats while nothing happens; wait is as long as it was told")
def _():
    response = streamed('print(stream:wait(0.5)) stream:send("x")', ", {heartbeat = 0.1}", log="true")
    found, _, comments = parsed(response.text())
    check(1 <= len(comments) <= 5 and len(found) == 1, f"{comments}, {found}")
    for option in ("false", "100"):
        response = streamed('stream:wait(0.3) stream:send("x")', f", {{heartbeat = {option}}}")
        equal(parsed(response.text())[2], [], f"comments with heartbeat = {option}")


@test("HEAD has an end at once; HTTP/1.0 gets the stream until the end of the connection")
def _():
    body = OPEN % "" + 'while stream:wait(0.05) do stream:send("x") if request.version == "1.0" then break end end'
    with served(body) as (client, _):
        client.send(request("/", "HEAD"))
        equal(client.response("HEAD").status, 200, "HEAD")
    with served(OPEN % "" + "print(stream:is_open(), stream:wait(0))", log=None) as (client, server):
        client.send(request("/", "HEAD"))
        server.says("false\tfalse")
    with served(body) as (client, _):
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        response = client.response("GET", "1.0")
        equal((response.framing, parsed(response.text())[0]), ("close", [("message", "x", "")]), "HTTP/1.0")


@test("response_timeout does not end a stream; a timeout() of the script does")
def _():
    body = OPEN % "" + 'print("open") stream:wait(0.5) stream:send(("late"):rep(1e6)) stream:wait(1e6)'
    with served(body, "response_timeout = 0.2", log=None) as (client, server):
        client.send(request("/"))
        server.says("open")
        client.head()
        time.sleep(0.7)  # it waits until there is room for the event
        equal(client.chunk(), b"data: " + b"late" * 10**6 + b"\n\n", "an event behind the time")
        time.sleep(1)
        check(not select.select([server.child.pidfd], [], [], 0)[0], "it runs")
        client.sock.close()
    with served("timeout(0.2)" + body, status=-14, log=None) as (client, server):
        client.send(request("/"))
        server.child.wait()


@test("in a pool that ends or is loaded anew a stream ends, whole, and holds nothing up")
def _():
    polls = "repeat moonbridge_io.poll(nil, nil, 1000, true) until not stream:is_open()"
    for body in ("while stream:wait(1000) do end", polls):
        pool = mbpool.Pool(mbtest.script(source(OPEN % ", {heartbeat = false}" + body))).ready()
        for signum in (signal.SIGHUP, signal.SIGTERM):
            with about(f"{signal.Signals(signum).name}, {body}"), Connection(pool.where) as client:
                client.send(request("/"))
                response = client.head()
                os.kill(pool.pid, signum)
                equal(client.data(response), b"", "the stream, with its end")
                client.nothing_more()
        equal(pool.wait(), 0, "exit status")
        check("grace" not in pool.text() and "stack traceback" not in pool.text(), pool.text())


mbtest.main()
