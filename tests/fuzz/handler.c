/*
 * Fuzz harness for the whole of moonbridge_http: the input is what a client sends on a connection,
 * which handler.lua serves. Every response has to be one, nothing follows a refusal, and it is the
 * same in a replay and on a socket, however the input comes and however slowly the output is read.
 */
#include <fcntl.h>
#include <lauxlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "../../src/embedded.h"
#include "../../src/handle.h"
#include "../../src/io_module.h"
#include "../../src/listen.h"
#include "../../src/log.h"
#include "../../src/state.h"
#include "../../src/timeout.h"
#include "fuzz.h"
#include "handler_client.h"
#include "handler_response.h"

/* As many inputs are served in one Lua state: a new one for each would be most of the work. */
#define STATE_INPUTS 500

/* Larger inputs are not fed byte by byte: a wait for each of them takes its time. */
#define BYTES_MAX 400

/* What Lua executes is coverage, too: libFuzzer looks at counters in this section. */
#define COUNTERS 8192
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t counters[COUNTERS];

static struct mb_alloc alloc;
static lua_State *state;
static unsigned inputs;

/* ---- the Lua state ---- */

static void count_line(lua_State *L, lua_Debug *event) {
  uint32_t hash = (uint32_t)event->currentline * 2654435761u;
  if (lua_getinfo(L, "S", event) == 0) return;
  for (const char *c = event->source; *c; c++) hash = (hash ^ (unsigned char)*c) * 16777619u;
  counters[hash % COUNTERS]++;
}

/* As src/script.c does it. Leaves the table of handler.lua on the stack. */
static int open_state(lua_State *L) {
  mb_state_open(L, "handler.lua");
  mb_listen_open(L);
  mb_timeout_open(L);
  mb_handle_open(L);
  mb_io_open(L);
  mb_embedded_open(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "fuzz.handler");
  lua_call(L, 1, 1);
  return 1;
}

static void new_state(void) {
  if (state) lua_close(state);
  mb_log_set_level(LOG_EMERG); /* faults of clients are what this is about */
  alloc = (struct mb_alloc){0};
  state = mb_state_new(&alloc);
  CHECK(state, "no Lua state");
  lua_pushcfunction(state, open_state);
  int status = mb_state_call(state, 0, 1);
  CHECK(status == LUA_OK, "%s", lua_tostring(state, -1));
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
  mb_handle_attach(h, in, kind == MB_FD_FILE ? open_null() : in, kind);
  return 1;
}

/* What came of a connection. */
struct outcome {
  bool thrown;
  const char *message;
  const char *served; /* a line for each request: "GET 1.1" */
  const char *throws; /* what handler.lua says of its own errors: NULL, "may", "must" */
};

/* Leaves on the stack what the outcome points to. */
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
  /* As src/script.c ends a connection. */
  if (mb_handle_is_open(h) && outcome.thrown) mb_handle_reset(h);
  if (mb_handle_is_open(h)) CHECK(mb_handle_close(h) == 0, "close");
  lua_getfield(L, 1, "report");
  CHECK(mb_state_call(L, 0, 3) == LUA_OK, "%s", lua_tostring(L, -1));
  outcome.served = lua_tostring(L, -3);
  outcome.throws = lua_tostring(L, -1);
  CHECK(lua_isnil(L, -2), "%s", lua_tostring(L, -2));
  return outcome;
}

static void check_outcome(const struct outcome *outcome) {
  CHECK(!outcome->thrown || outcome->throws, "%s", outcome->message);
  CHECK(!strstr(outcome->message, "attempt to "), "%s", outcome->message);
  CHECK(!strstr(outcome->message, "bad argument"), "%s", outcome->message);
  if (outcome->throws && strcmp(outcome->throws, "must") == 0) CHECK(outcome->thrown, "no error");
}

/* ---- the responses ---- */

static bool is_refusal(int status) {
  static const int refusals[] = {400, 408, 413, 414, 417, 431, 501, 505};
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

/* Reads the responses, and adds what they say to the transcript. */
static void read_responses(const struct outcome *outcome, struct fuzz_text *transcript) {
  struct mb_span output = fuzz_text_span(&client.output);
  struct mb_span served = {outcome->served, strlen(outcome->served)};
  bool closed = false;
  while (output.size > 0) {
    struct asked asked = next_asked(&served);
    struct response response;
    CHECK(!closed, "something follows the last response");
    bool whole;
    /* Interim responses depend on what was there when. */
    while ((whole = response_read(&output, &asked, client.reset, &response)) &&
           response.status < 200 && response.status != 101) {
      fuzz_text_free(&response.said);
    }
    if (!whole) break;
    closed = response.close;
    if (asked.method.size == 0) {
      CHECK(is_refusal(response.status), "%d, and nobody has asked", response.status);
      CHECK(closed && response.is_text && response.has_length, "a refusal that is none");
    }
    fuzz_addf(transcript, "--\n");
    fuzz_add(transcript, fuzz_text_span(&response.said));
    fuzz_text_free(&response.said);
  }
  if (!client.reset) CHECK(served.size == 0, "a request without a response");
}

static void run(struct mb_span input, enum fuzz_split split, struct fuzz_text *transcript) {
  client_begin(input, split, split == FUZZ_BY_INPUT);
  struct outcome outcome = serve(split == FUZZ_WHOLE ? MB_FD_FILE : MB_FD_LOCAL);
  fuzz_show("output", fuzz_text_span(&client.output));
  check_outcome(&outcome);
  read_responses(&outcome, transcript);
  CHECK(client.reset || client.output_ended, "the connection was left open");
  fuzz_addf(transcript, "%s%s", client.reset ? "reset" : "ended", outcome.thrown ? ", thrown" : "");
  client_end();
  lua_settop(state, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (inputs++ % STATE_INPUTS == 0) new_state();
  struct mb_span input = fuzz_input(data, size);
  struct fuzz_text whole = FUZZ_TEXT_INIT;
  run(input, FUZZ_WHOLE, &whole);
  for (enum fuzz_split split = FUZZ_BYTES; split < FUZZ_SPLITS; split++) {
    if (split == FUZZ_BYTES && input.size > BYTES_MAX) continue;
    struct fuzz_text parts = FUZZ_TEXT_INIT;
    run(input, split, &parts);
    CHECK_EQUAL("the responses", &parts, &whole);
  }
  fuzz_text_free(&whole);
  fuzz_input_free(input);
  return 0;
}
