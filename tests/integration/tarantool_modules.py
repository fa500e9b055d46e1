#!/usr/bin/python3
"""mb.tarantool: the modules beside sockets and fibers, as far as Tarantool itself (tarantool_differential.py) does not
show it: what is loaded, and from where; what is missing; limits."""

import json
import os
import sys

sys.dont_write_bytecode = True  # the source tree may be read-only
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mbtest
from mbtarantool import PRELUDE, good
from mbtest import Serving, equal, script, tcp_pair, test, tmp

NAMES = "bit", "clock", "digest", "json", "strict", "uri"


def prints(text, directory, *args, name="main.lua"):
    """Runs a script in a directory. Returns the lines that it prints, and its log."""
    end = "os.exit()" if args else "return function() end"
    done = mbtest.replay(*args, mbtest.write_file(tmp(directory, name), f"{PRELUDE}\n{text}\n{end}\n"))
    equal(done.returncode, 0, f"exit status; log: {done.stderr!r}")
    return done.stdout.decode() + done.stderr.decode()


@test("each module is loaded when it is asked for, and none before")
def _():
    good(
        r"""
mb.install()
local function loaded() -- but for what the tests load
  local names = {}
  for name in pairs(package.loaded) do
    name = name:match("^mb%.tarantool%.(%a+)$")
    local theirs = ("core socket object method waiting fiber errno"):find(name or "", 1, true)
    if name and not theirs then names[#names + 1] = name end
  end
  table.sort(names)
  return table.concat(names, " ")
end
equal(loaded(), "", "at first") require "json" equal(loaded(), "json", "json")
for _, name in ipairs{"bit", "clock", "digest", "strict", "uri"} do equal(require(name), mb[name], name) end
equal(loaded(), "bit clock digest json strict uri", "all")
for name in pairs(package.loaded) do if name:find("openssl") then print(name) end end
"""
    )


@test("a file beside the script takes the place of a module; one elsewhere in package.path does not")
def _():
    for name in NAMES + ("fio", "msgpack"):
        mbtest.write_file(tmp("beside", f"{name}.lua"), "local name, path = ... return {own = name, path = path}")
    text = f"""
package.path = package.path .. ";{tmp('beside')}/?.lua"
mb.install()
for name in ("{' '.join(NAMES)} fio"):gmatch("%S+") do
  local module = require(name)
  io.write(name, " ", tostring(module.own), " ", tostring(module.path and module.path:match("[^/]*$")), "\\n")
end
"""
    want = "".join(f"{name} {name} {name}.lua\n" for name in NAMES + ("fio",))
    equal(prints(text, "beside"), want, "beside the script")
    equal(prints(text, "beside", "--style=tarantool"), want, "beside a program")
    want = "".join(f"{name} nil nil\n" for name in NAMES) + "fio fio fio.lua\n"
    equal(prints(text, "elsewhere"), want, "elsewhere")
    equal(prints(text, "elsewhere", "--style=tarantool"), want, "elsewhere, a program")
    text = 'mb.install() print(require("clock").time() > 1e9)'
    for args in (), ("--style=tarantool",):
        equal(prints(text, "named", *args, name="clock.lua"), "true\n", f"a script clock.lua {args}")
    mbtest.write_file(tmp("client/http", "client.lua"), "return {own = true}")
    equal(prints('mb.install() print(require("http.client").own)', "client"), "true\n", "a name of Debian's lua-http")
    mbtest.write_file(tmp("broken", "json.lua"), "return {")
    log = prints('mb.install() print(select(2, pcall(require, "json")))', "broken")
    equal("json.lua:1: unexpected symbol near <eof>" in log, True, f"the fault of such a file: {log!r}")


@test("a module that is missing is an error that names it, and what to do, at the line of require")
def _():
    good(
        r"""
mb.install() mb.install()
for name, advice in pairs{
  ["net.box"] = "there is no database here", msgpack = "lua-messagepack", fio = "lua-posix", yaml = "lua-yaml",
  ffi = "Lua 5.3 has no ffi", console = "no console", tarantool = "mb-handle", help = "console",
  ["http.client"] = "lua-http", ["internal.argparse"] = "arg", -- also where Debian's package lua-http is installed
} do
  local f = function() local module = require(name) return module end
  local good, message = pcall(f)
  equal(good, false, name)
  local line = debug.getinfo(f, "S").linedefined
  equal(message:match(":" .. line .. ": the module '(.-)' of Tarantool is not in mb.tarantool: "), name, message)
  equal(message:find(advice, 1, true) ~= nil, true, message)
end
says("module 'nosuch.module' not found:", require, "nosuch.module")
"""
    )


@test("box: the fields of the database are errors, NULL is json's, others are nil")
def _():
    good(
        r"""
mb.install()
equal(require "box", box, "require") equal(box.NULL, require("json").NULL, "NULL")
equal(box.nosuch, nil, "another") equal(box.json, nil, "json")
for _, name in ipairs{"space", "schema", "once", "begin", "info"} do
  local f = function() return box[name] end
  local line, _, message = debug.getinfo(f, "S").linedefined, pcall(f)
  equal(message:match(":" .. line .. ": (.*)"), "box." .. name .. ": there is no database here", message)
end
"""
    )


@test("digest without lua-luaossl: what needs it names the package, at the caller; the rest works")
def _():
    good(
        r"""
package.path, package.cpath = "", ""
local digest = mb.digest
equal(digest.base64_decode(digest.base64_encode("text")), "text", "base64") equal(digest.crc32(""), 4294967295, "crc32")
equal(#digest.urandom(20), 20, "urandom")
for name, f in pairs{
  sha256 = function() local x = digest.sha256("") return x end,
  md5_hex = function() local x = digest.md5_hex("") return x end,
  pbkdf2 = function() local x = digest.pbkdf2("", "") return x end,
  ["aes256cbc.encrypt"] = function() local x = digest.aes256cbc.encrypt("", ("k"):rep(32), ("i"):rep(16)) return x end,
} do
  local _, message = pcall(f)
  local line = debug.getinfo(f, "S").linedefined
  local want = "digest." .. name .. " needs the Lua module openssl: install the package lua-luaossl"
  equal(message:match(":" .. line .. ": (.*)"), want, message)
end
package.preload["openssl.digest"] = function() error("broken", 0) end
says("broken", digest.sha1, "")
"""
    )


@test("json: settings are checked; their limits have limits; the line and the place of a fault")
def _():
    good(
        r"""
local json = mb.json
says("decode: unknown setting depth", json.decode, "1", {depth = 5})
says("cfg: decode_max_depth has to be a number", json.cfg, {decode_max_depth = true})
says("bad argument to 'encode': expected a table of settings", json.encode, 1, 2)
for _, number in ipairs{-1, 2.5, 0/0, 1/0} do
  says("cfg: encode_number_precision has to be an integer, 0 or more", json.cfg, {encode_number_precision = number})
end
local settings = {decode_max_depth = 1e9, encode_max_depth = 1e9, encode_number_precision = 1e9}
says("too many nested data structures (1001)", json.decode, ("["):rep(100000), settings)
says("too many nested data structures (1001)", json.decode, ('{"a":'):rep(100000), settings)
local t = {} for _ = 1, 2000 do t = {t} end says("Too high nest level", json.encode, t, settings)
equal(json.encode(0.1, settings), "0.10000000000000001", "digits")
equal(settings.decode_max_depth, 1e9, "the caller's table")
local loop = {} loop[1] = setmetatable({}, {__serialize = function() return loop end})
says("Too high nest level", json.encode, loop)
loop = setmetatable({}, {__serialize = function(self) return self end}) says("Too high nest level", json.encode, loop)
says("Expected a key but found \"}\" on line 2 at character 8", json.decode, '{\n"a": 1,}')
says("Expected a comma or \"]\" but found the end on line 1 at character 3", json.decode, "[1")
local start = os.clock()
local long = (" "):rep(300000)
says("found \"x\" on line 3 at character 300001", json.decode, "[\n" .. long .. "\n" .. long .. "x")
equal(os.clock() - start < 5, true, "the place in long lines is found in a moment")
local f = function() local x = json.decode("[") return x end
equal(select(2, pcall(f)):match(":(%d+): Expected"), tostring(debug.getinfo(f, "S").linedefined), "the caller's line")
says("excessively sparse array", json.encode, {[1000] = 1}, {encode_sparse_convert = false})
for _, key in ipairs {"007", "0x10", " 5 ", "1e2", "7"} do
  equal(json.encode({[key] = 1}), ('{"%s":1}'):format(key), "a key that is a string")
end
equal(json.encode({[1000] = 1}, {encode_sparse_ratio = 0}):len(), 4 * 1000 + 998, "without a ratio")
"""
    )


@test("json: any bytes are a value or an error; what encode writes, decode reads")
def _():
    good(
        r"""
math.randomseed(1)
local json = mb.json
local seed = [==[{"a":[1,-2.5e3,true,null,"x\u00e9\ud83d\ude00\n",{}],"b":{"c":[[],{"d":0}]}, "e":"\\\"/"}]==]
assert(json.decode(seed))
for _ = 1, 20000 do
  local bytes = {seed:byte(1, -1)}
  for _ = 1, math.random(4) do
    local byte = math.random(4) == 1 and math.random(0, 255) or seed:byte(math.random(#seed))
    bytes[math.random(#bytes)] = byte
  end
  local text = string.char(table.unpack(bytes)):sub(1, math.random(#seed * 3))
  local good, value = pcall(json.decode, text)
  if good then
    local again = json.encode(value)
    equal(json.encode(json.decode(again)):len(), again:len(), "encoded once more: " .. text)
  elseif not value:find("Expected .- but found .- on line %d+ at character %d+$") then
    print(value)
  end
end
"""
    )


@test("log: a table is written as JSON; what has none, as it is printed")
def _():
    text = """
local log = require("mb.tarantool").log
log.info({code = 5, list = {1, "two"}}) log.error({})
log.info(setmetatable({print}, {__tostring = function() return "own" end}))
log.info(require("mb.tarantool").fiber.self())
"""
    log = prints(text, "log")
    lines = [line.partition(": ")[2] for line in log.splitlines()]
    equal(json.loads(lines[0]), {"code": 5, "list": [1, "two"]}, "a table")
    equal(lines[1:], ["[]", "own", "fiber: 101 (main)"], "an empty one, one that has no JSON, and a fiber")


@test("digest: a hash that OpenSSL does not have is an error that names it, at the caller")
def _():
    good(
        r"""
package.preload["openssl.digest"] = function() return {new = function() error("digest.new: iL:386:error:0308010C") end} end
for _, name in ipairs{"md4", "md4_hex"} do
  local f = function() local text = mb.digest[name]("a") return text end
  local line, _, message = debug.getinfo(f, "S").linedefined, pcall(f)
  equal(message:match(":" .. line .. ": (.*)"), "digest." .. name .. ": this system's OpenSSL has no md4", message)
end
"""
    )


@test("a function of Tarantool that is missing throws an error that names it, when it is called; a probe of any other is nil")
def _():
    good(
        r"""
mb.install()
for _, name in ipairs{"utf8.upper", "utf8.lower", "utf8.isalpha", "utf8.casecmp", "os.environ", "os.setenv", "log.level",
  "log.rotate"} do
  local library, key = name:match("(.*)%.(.*)")
  local missing = (_G[library] or require(library))[key]
  local f = function() missing() return 1 end
  local line, _, message = debug.getinfo(f, "S").linedefined, pcall(f)
  equal(tostring(message):match(":" .. line .. ": (.*) is not in mb.tarantool: "), name, message)
end
for _, library in ipairs{"debug", "os", "string", "table", "utf8", "log"} do
  equal((_G[library] or require(library)).nosuch, nil, library)
end
says("box.error: use error", function() return box.error end)
equal(_TARANTOOL:match("^%d%.%d"), "2.6", "version")
"""
    )
    good("equal(_TARANTOOL, nil, 'without install()') equal(os.setenv, nil, 'without install()')")


@test("string and table: additions are loaded when one is called; a metatable of the program's stays")
def _():
    good(
        r"""
mb.install()
equal(package.loaded["mb.tarantool.extras"], nil, "at first") equal(("a b"):split()[2], "b", "split")
equal(type(package.loaded["mb.tarantool.extras"]), "table", "then")
equal(rawget(string, "split"), nil, "string as it was")
"""
    )
    good(
        r"""
setmetatable(string, {__index = {own = 5}}) mb.install() mb.install()
equal(string.own, 5, "own") equal(("x"):hex(), "78", "ours") equal(string.nosuch, nil, "another")
equal(table.copy{7}[1], 7, "table")
"""
    )
    good("equal(string.split, nil, 'without install()')")
    text = 'print(("ab"):startswith("a"), string.gfind == string.gmatch, table.getn{1}, table.copy(5), string.nosuch)'
    equal(prints(text, "names", "--style=tarantool"), "true\ttrue\t1\t5\tnil\n", "with Lua 5.1's names")


@test("a program with --style=tarantool answers in JSON, and is strict; an error of the database ends it")
def _():
    text = r"""
box.cfg{}
require('strict').on()
local json, socket, log = require('json'), require('socket'), require('log')
socket.tcp_server('127.0.0.1', PORT, function(s)
  local request = json.decode(s:read('\n'))
  s:write(json.encode({sum = request.a + request.b, missing = request.c == nil}) .. '\n')
  undeclared = 1
end)
"""
    client, conn = tcp_pair()
    with client:
        path = script(text.replace("PORT", str(conn.getsockname()[1])))
        serving = Serving(conn, "--style=tarantool", path)
        conn.close()
        client.send(b'{"a": 1, "b": 2, "c": null}\n')
        equal(json.loads(client.line()), {"sum": 3, "missing": True}, "the answer")
        equal(client.end(), (b"", "eof"), "the end")
        equal(serving.wait(), 0, "exit status")
    equal(f"{path}:8: assign to undeclared variable 'undeclared'" in serving.log(), True, f"log {serving.log()!r}")
    client, conn = tcp_pair()
    with client:
        path = script("box.cfg{}\nbox.schema.space.create('x')\n")
        serving = Serving(conn, "--style=tarantool", path)
        conn.close()
        equal(serving.wait(), 70, "exit status")
    equal(f"{path}:2: box.schema: there is no database here" in serving.log(), True, f"log {serving.log()!r}")


mbtest.main()
