/*
 * Fuzz harness for whole handlers. The input is all that a client sends on a connection, which a script
 * serves: handler.lua with moonbridge_http, or http_server.lua with mb.http_server, as the build says. The
 * rules for both are here; the script's table has those that differ. Every response has to be well-formed,
 * and nothing follows a refusal. The responses are the same in a replay and on a socket, however the input
 * comes and however slowly the client reads the output.
 */
#include <fcntl.h>
#include <lauxlib.h>
#include <string.h>
#include <unistd.h>

#include "app/embedded.h"
#include "socket/handle.h"
#include "api/io/io_module.h"
#include "app/listen.h"
#include "state/libraries.h"
#include "state/state.h"
#include "socket/timeout.h"
#include "fuzz.h"
#include "handler_client.h"
#include "handler_response.h"

/* One Lua state serves so many inputs: making a new state for each would be most of the work. */
#define STATE_INPUTS 500

/* Larger inputs are not fed byte by byte: a wait for each byte takes its time. */
#define BYTES_MAX 400

/* The lines that Lua executes are coverage, too: libFuzzer looks at the counters in this section. */
#define COUNTERS 8192
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t counters[COUNTERS];

static struct mb_state c_state;
static lua_State *state;
static unsigned inputs;
static struct response_rules rules;

/* ---- the Lua state ---- */

static void count_line(lua_State *L, lua_Debug *event) {
  uint32_t hash = (uint32_t)event->currentline * 2654435761u;
  if (lua_getinfo(L, "S", event) == 0) return;
  for (const char *c = event->source; *c; c++) hash = (hash ^ (unsigned char)*c) * 16777619u;
  counters[hash % COUNTERS]++;
}

/* Opens the state as src/app/script.c does. Leaves the script's table on the stack. */
static int open_state(lua_State *L) {
  mb_state_open(L, "fuzz.lua");
  mb_libraries_open(L, MB_LIBRARIES_ALL);
  mb_listen_open(L);
  mb_timeout_open(L);
  mb_handle_open(L);
  mb_io_open(L);
  mb_embedded_open(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "fuzz.script");
  lua_call(L, 1, 1);
  return 1;
}

static bool rule(lua_State *L, const char *name) {
  lua_getfield(L, -1, name);
  bool holds = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return holds;
}

static void read_rules(lua_State *L) {
  lua_getfield(L, 1, "rules");
  rules.dates = rule(L, "dates");
  rules.echoes_version = rule(L, "echoes_version");
  rules.trailers = rule(L, "trailers");
  rules.upgrades = rule(L, "upgrades");
  rules.any_status = rule(L, "any_status");
  rules.tells_half = rule(L, "tells_half");
  lua_pop(L, 1);
}

static void new_state(void) {
  if (state) lua_close(state);
  c_state = (struct mb_state){.alloc.limit = 0};
  state = mb_state_new(&c_state);
  CHECK(state, "no Lua state");
  lua_pushcfunction(state, open_state);
  int status = mb_state_call(state, 0, 1);
  CHECK(status == LUA_OK, "%s", lua_tostring(state, -1));
  read_rules(state);
  lua_sethook(state, count_line, LUA_MASKLINE, 0);
}

/* ---- a connection ---- */

static int open_null(void) {
  int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  CHECK(fd >= 0, "/dev/null");
  return fd;
}

static int new_connection(lua_State *L) {
  enum mb_fd_kind kind = (enum mb_fd_kind)lua_tointeger(L, 1);
  struct mb_handle *h = mb_handle_new(L);
  int in = open_null();
  struct mb_channel channel = {
      .transport = &client_transport, .kind = kind, .in_fd = in, .out_fd = in};
  if (kind == MB_FD_FILE) channel.out_fd = open_null();
  mb_handle_attach(h, channel);
  return 1;
}

/* The result of a connection. */
struct outcome {
  bool thrown;
  const char *message;
  const char *served; /* a line for each request: "GET 1.1" */
  const char *throws; /* whether the script, as it says, throws errors: NULL, "may", "must" */
  const char *half;   /* how it has left the last response: NULL, "returned", "thrown", "reset" */
};

/* Serves the client. Leaves the strings that the outcome points to on the stack. */
static struct outcome serve(enum mb_fd_kind kind) {
  struct outcome outcome = {false};
  lua_State *L = state;
  lua_pushcfunction(L, new_connection);
  lua_pushinteger(L, (lua_Integer)kind);
  CHECK(mb_state_call(L, 1, 1) == LUA_OK, "no connection");
  struct mb_handle *h = lua_touserdata(L, -1);
  lua_getfield(L, 1, "serve");
  lua_pushvalue(L, -2);
  outcome.thrown = mb_state_call(L, 1, 0) != LUA_OK;
  outcome.message = outcome.thrown ? lua_tostring(L, -1) : "";
  /* This ends the connection as src/app/serve.c does. */
  mb_handle_end(h, !outcome.thrown);
  lua_getfield(L, 1, "report");
  CHECK(mb_state_call(L, 0, 4) == LUA_OK, "%s", lua_tostring(L, -1));
  outcome.served = lua_tostring(L, -4);
  outcome.throws = lua_tostring(L, -2);
  outcome.half = lua_tostring(L, -1);
  CHECK(lua_isnil(L, -3), "%s", lua_tostring(L, -3));
  return outcome;
}

/* lost: the connection may have failed before the script did */
static void check_outcome(const struct outcome *outcome, bool lost) {
  CHECK(!outcome->thrown || outcome->throws, "%s", outcome->message);
  CHECK(!strstr(outcome->message, "attempt to "), "%s", outcome->message);
  CHECK(!strstr(outcome->message, "bad argument"), "%s", outcome->message);
  bool must = outcome->throws && strcmp(outcome->throws, "must") == 0;
  if (must && !lost) CHECK(outcome->thrown, "no error");
}

/* ---- the responses ---- */

static bool is_refusal(int status) {
  static const int refusals[] = {400, 408, 413, 414, 417, 421, 431, 501, 505};
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
    if (refusals[i] == status) return true;
  }
  return false;
}

/* Takes the next request off the list; method is empty when there was none. */
static struct asked next_asked(struct mb_span *served) {
  struct mb_span line = fuzz_take_line(served);
  struct asked asked = {.method = {line.data, 0}, .minor = 1};
  if (line.size < 5) return asked;
  asked.method.size = line.size - 4;
  asked.minor = line.data[line.size - 1] - '0';
  return asked;
}

static unsigned count_text(struct mb_span in, const char *text) {
  unsigned count = 0;
  const char *found, *end = in.data + in.size;
  while ((found = memmem(in.data, (size_t)(end - in.data), text, strlen(text)))) {
    count++;
    in.data = found + 1;
  }
  return count;
}

/* Checks the refusal of a request that the handler has not seen. lost: the text may be missing. */
static void check_refusal(const struct response *response, struct mb_span served, bool lost) {
  CHECK(is_refusal(response->status), "%d, and nobody has asked", response->status);
  CHECK(response->close && response->is_text && response->has_length, "a refusal that is none");
  if (response->content > 0 || lost) return;
  CHECK(count_text(client.input, "HEAD") > count_text(served, "HEAD "), "a refusal without a text");
}

/*
 * Checks that the client sees it when the script, as it says, has not ended its last response.
 * whole  whether the last response looks complete to the client
 */
static void check_half(const struct outcome *outcome, bool whole, bool until_close) {
  if (!rules.tells_half) return;
  CHECK(!client.reset || outcome->half, "a reset for nothing");
  if (!outcome->half || strcmp(outcome->half, "reset") == 0) return;
  CHECK(!whole, "an incomplete response looks complete");
  bool resets = strcmp(outcome->half, "thrown") == 0 && until_close;
  CHECK(client.reset == resets, "an end that is %s", client.reset ? "a reset" : "none");
}

/* Reads a response, and the interim ones before it, which depend on how fast the input came. */
static bool read_final(struct mb_span *output, const struct asked *asked, bool cut,
                       struct response *ret) {
  while (response_read(output, asked, cut, &rules, ret)) {
    if (ret->status >= 200 || ret->status == 101) return true;
    fuzz_text_free(&ret->said);
  }
  return false;
}

/*
 * Reads the responses, and adds their text to the transcript.
 * lost  the client has broken the connection: the last response may be cut off
 */
static void read_responses(const struct outcome *outcome, bool lost, struct fuzz_text *transcript) {
  struct mb_span output = fuzz_text_span(&client.output);
  const struct mb_span all = {outcome->served, strlen(outcome->served)};
  struct mb_span served = all;
  bool closed = false, whole = false, until_close = false;
  while (output.size > 0) {
    struct asked asked = next_asked(&served);
    struct response response;
    CHECK(!closed, "something follows the last response");
    whole = read_final(&output, &asked, lost || client.reset || outcome->half, &response);
    until_close = response.until_close;
    if (!whole) break;
    closed = response.close;
    if (asked.method.size == 0) check_refusal(&response, all, lost);
    fuzz_addf(transcript, "--\n");
    fuzz_add(transcript, fuzz_text_span(&response.said));
    fuzz_text_free(&response.said);
    if (rules.upgrades && response.status == 101) {
      fuzz_add(transcript, output);
      output.size = 0;
    }
  }
  if (lost) return;
  if (!client.reset) CHECK(served.size == 0, "a request without a response");
  check_half(outcome, whole, until_close);
}

/* The longest time of a connection: no wait is longer than the options say, and there are few of them. */
#define LONGEST_USEC (600 * (int64_t)1000000)

/* Serves a client. Fills in the transcript, which is the same for all clients that send the same. */
static void run(struct mb_span input, enum mb_fd_kind kind, const struct client_nature *nature,
                struct fuzz_text *transcript) {
  client_begin(input, nature);
  int64_t begun = client.now;
  struct outcome outcome = serve(kind);
  fuzz_show("output", fuzz_text_span(&client.output));
  bool lost = nature->breaks_after < SIZE_MAX;
  check_outcome(&outcome, lost);
  read_responses(&outcome, lost, transcript);
  CHECK(lost || client.reset || client.output_ended, "the connection was left open");
  CHECK(client.log_lines <= 1, "%u lines in the log", client.log_lines);
  CHECK(client.log_alarms == 0 || outcome.thrown, "an alarm, and the client is at fault");
  if (!nature->slow) CHECK(client.now - begun < LONGEST_USEC, "%f s", 1e-6 * (double)client.now);
  fuzz_addf(transcript, "%s%s", client.reset ? "reset" : "ended", outcome.thrown ? ", thrown" : "");
  client_end();
  lua_settop(state, 1);
}

/* The clients that get the same responses. */
static const struct client_nature alike[] = {
    {.split = FUZZ_WHOLE, .breaks_after = SIZE_MAX},
    {.split = FUZZ_BYTES, .breaks_after = SIZE_MAX},
    {.split = FUZZ_BY_INPUT, .slow = true, .breaks_after = SIZE_MAX},
};

/* Serves a client that may get other responses: it waits when it has sent everything, or goes away. */
static void run_unlike(struct mb_span input) {
  struct fuzz_text ignored = FUZZ_TEXT_INIT;
  struct client_nature nature = {.split = FUZZ_BY_INPUT, .breaks_after = SIZE_MAX};
  if (input.size % 2) {
    nature.stays = true;
  } else {
    nature.breaks_after = 100 + 7 * (unsigned char)input.data[input.size / 2];
  }
  run(input, MB_FD_LOCAL, &nature, &ignored);
  fuzz_text_free(&ignored);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (inputs++ % STATE_INPUTS == 0) new_state();
  struct mb_span input = fuzz_input(data, size);
  struct fuzz_text whole = FUZZ_TEXT_INIT;
  run(input, MB_FD_FILE, &alike[0], &whole);
  for (size_t i = 1; i < sizeof alike / sizeof *alike; i++) {
    if (alike[i].split == FUZZ_BYTES && input.size > BYTES_MAX) continue;
    struct fuzz_text parts = FUZZ_TEXT_INIT;
    run(input, MB_FD_LOCAL, &alike[i], &parts);
    CHECK_EQUAL("the responses", &parts, &whole);
  }
  fuzz_text_free(&whole);
  if (input.size > 0) run_unlike(input);
  fuzz_input_free(input);
  return 0;
}
