-- webhook.lua: takes webhooks that are signed as GitHub signs them (X-Hub-Signature-256), and answers when they are in
-- DIR/new, where another program, one that systemd.path(5) starts say, takes them away in its own time. The name of a
-- file is its signature, and stays in DIR/seen: what GitHub or an eavesdropper sends once more has no effect.
-- Debian packages: libnettle8. Try it: mkdir -p /tmp/hooks/new /tmp/hooks/seen; echo secret >/tmp/key
--   mb-handle --serve webhook.lua /tmp/key /tmp/hooks
--   SIGNATURE=$(printf '{}' | openssl dgst -r -hmac secret | head -c 64)
--   curl -d '{}' -H "X-Hub-Signature-256: sha256=$SIGNATURE" http://127.0.0.1:8080/

local http, router, reply = require "moonbridge_http", require "mb.router", require "mb.reply"
local crypto = require "mb.crypto"
local KEY_FILE, DIR = ...
assert(DIR, "expected a file with a key, and a directory") -- the handler can read and write DIR, and no more
local r, key = router.new(), assert(assert(io.open(KEY_FILE)):read("a"):match("^[^\n]+"), "the key is empty")

r:post("/", function(request)
  local code = crypto.hmac_sha256(key, request.body)
  local given = crypto.from_hex((request.headers_value["X-Hub-Signature-256"] or ""):match("^sha256=(.*)$") or "")
  if not given or not crypto.equal(given, code) then return reply.error(request, 403, "not signed with the key") end
  local name, seen = crypto.hex(code), io.open(DIR .. "/seen/" .. crypto.hex(code))
  if seen then
    seen:close()
    return reply.text(request, "This has come before.\n")
  end
  local part = ("%s/new/.%s.%d"):format(DIR, name, moonbridge_io.getpid())
  local file = assert(io.open(part, "w"))
  assert(file:write(request.body) and file:close())
  assert(os.rename(part, DIR .. "/new/" .. name) and io.open(DIR .. "/seen/" .. name, "w")):close()
  reply.text(request, "Accepted.\n", 202)
end)

listen{sandbox = {write = {DIR}}, connect = http.generate_handler(r, {request_body_size_limit = 25 << 20})}
