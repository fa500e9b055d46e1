/* src/app/sandbox_wish.c: what the field sandbox of listen{} may say, and what is made of it. */
#include "app/sandbox_wish.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../lib/tap.h"

static lua_State *L;
static char directory[4096]; /* has a file "file" and no file "none"; D of the texts */

static int check(lua_State *state) {
  const char *expected = mb_sandbox_wish_check(state);
  return expected ? luaL_error(state, "listen: sandbox: expected %s", expected) : 0;
}

/* Pushes the value of a text in which D is the directory. */
static void push(const char *text) {
  char chunk[1024];
  snprintf(chunk, sizeof chunk, "return %s", text);
  lua_pushstring(L, directory);
  lua_setglobal(L, "D");
  if (luaL_dostring(L, chunk)) tap_bail(lua_tostring(L, -1));
  if (lua_isnone(L, -1)) tap_bail("a text without a value");
}

/* Returns the error of a value, or NULL; until the next call. */
static const char *error_of(const char *text) {
  static char error[1024];
  lua_settop(L, 0);
  lua_pushcfunction(L, check);
  push(text);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK) return NULL;
  snprintf(error, sizeof error, "%s", lua_tostring(L, -1));
  return error;
}

/* Returns what is made of a value. It must be right. */
static const struct mb_sandbox *take(const char *text) {
  const char *error = error_of(text);
  tap_str(error, NULL, "%s", text);
  if (error) tap_bail("what cannot be checked cannot be taken");
  lua_settop(L, 0);
  push(text);
  const struct mb_sandbox *s = mb_sandbox_wish_take(L);
  tap_int(lua_gettop(L), 0, "the value is popped");
  /* All that it points to is kept. */
  lua_gc(L, LUA_GCCOLLECT, 0);
  lua_gc(L, LUA_GCCOLLECT, 0);
  return s;
}

/* Returns whether nothing is wished; but the bits of `wishes`. */
static bool is_strict(const struct mb_sandbox *s, unsigned wishes) {
  return s->wishes == wishes && !s->reads_modules && !s->looks_up_names && !s->is_required &&
         s->path_count == 0 && s->port_count == 0 && s->socket_count == 0 &&
         s->cpu_seconds == MB_LIMIT_NOT_SAID && s->open_files == MB_LIMIT_NOT_SAID &&
         s->file_size == MB_LIMIT_NOT_SAID && s->processes == MB_LIMIT_NOT_SAID;
}

static void nothing_wished(void) {
  static const char *const texts[] = {"'strict'",
                                      "{}",
                                      "{connect = false}",
                                      "{listen = false}",
                                      "{exec = false}",
                                      "{exec = {}}",
                                      "{read = {}, write = {}, connect = {}}",
                                      "{modules = false, required = false}"};
  tap_ok(is_strict(&mb_sandbox_strict, 0), "strict wishes nothing");
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    tap_ok(is_strict(take(texts[i]), 0), "%s wishes nothing", texts[i]);
  tap_ok(is_strict(take("{listen = true}"), MB_WISH_LISTEN), "listen alone");
}

/* Returns whether the path is the one of the index, with the right. path: below the directory */
static bool has_path(const struct mb_sandbox *s, const char *path, enum mb_sandbox_right right) {
  char whole[4200];
  snprintf(whole, sizeof whole, "%s%s", directory, path);
  int found = 0;
  for (size_t i = 0; i < s->path_count; i++) {
    const struct mb_sandbox_path *p = &s->paths[i];
    if (strcmp(p->path, whole) == 0 && p->right == right && !p->is_optional) found++;
  }
  return found == 1;
}

static void paths(void) {
  const struct mb_sandbox *s = take("{read = {D, D .. '/file'}, write = {D .. '/'}}");
  tap_int((long long)s->path_count, 3, "three paths");
  tap_ok(has_path(s, "", MB_RIGHT_READ) && has_path(s, "/file", MB_RIGHT_READ) &&
             has_path(s, "/", MB_RIGHT_WRITE),
         "to be read, and to be written");
  tap_int(s->wishes, 0, "no filter depends on them");
  s = take("{exec = {D .. '/file'}}");
  tap_ok(has_path(s, "/file", MB_RIGHT_EXEC) && s->wishes == MB_WISH_EXEC, "a program");
}

static void targets(void) {
  const struct mb_sandbox *s = take("{connect = {'tcp:1', 'tcp:65535', 'tcp:00080'}}");
  tap_ok(s->port_count == 3 && s->ports[0] == 1 && s->ports[1] == 65535 && s->ports[2] == 80,
         "ports");
  tap_ok(s->wishes == MB_WISH_TCP && s->socket_count == 0 && !s->looks_up_names,
         "and neither sockets nor names");
  s = take("{connect = {'/run/' .. 'none', D}}");
  tap_ok(s->socket_count == 2 && strcmp(s->sockets[0], "/run/none") == 0 &&
             strcmp(s->sockets[1], directory) == 0,
         "paths of sockets, which need not exist");
  tap_ok(s->wishes == MB_WISH_UNIX && s->port_count == 0, "and no ports");
  s = take("{connect = {'dns'}}");
  tap_ok(s->looks_up_names && s->wishes == (MB_WISH_TCP | MB_WISH_UDP) && s->port_count == 1 &&
             s->ports[0] == 53,
         "names");
  s = take("{connect = {'dns', 'tcp:25', '/run/none'}}");
  tap_ok(s->wishes == (MB_WISH_TCP | MB_WISH_UDP | MB_WISH_UNIX) && s->looks_up_names &&
             s->port_count == 2 && s->socket_count == 1,
         "all three");
  s = take("{connect = true}");
  tap_ok(s->wishes == (MB_WISH_UNIX | MB_WISH_TCP | MB_WISH_UDP | MB_WISH_ANY_TCP) &&
             s->looks_up_names && s->port_count == 0,
         "everything");
  s = take("{connect = {'/' .. ('x'):rep(106)}}");
  tap_int((long long)strlen(s->sockets[0]), 107, "the longest path of a socket");
}

static void limits(void) {
  const struct mb_sandbox *s =
      take("{cpu_seconds = 1, open_files = 8, file_size = 0, processes = 0}");
  tap_ok(s->cpu_seconds == 1 && s->open_files == 8 && s->file_size == 0 && s->processes == 0,
         "the least");
  s = take("{cpu_seconds = math.maxinteger, open_files = 100.0, file_size = '5'}");
  tap_ok(s->cpu_seconds == INT64_MAX && s->open_files == 100 && s->file_size == 5 &&
             s->processes == MB_LIMIT_NOT_SAID,
         "the most, a float, and a string that are integers");
  s = take("{modules = true, required = true}");
  tap_ok(s->reads_modules && s->is_required, "switches");
}

static void two_at_once(void) {
  const struct mb_sandbox *one = take("{connect = {'tcp:1'}, read = {D}}");
  const struct mb_sandbox *other = take("{connect = {'tcp:2'}}");
  tap_ok(
      one->ports[0] == 1 && other->ports[0] == 2 && one->path_count == 1 && other->path_count == 0,
      "two sandboxes know nothing of each other");
}

static void a_long_list(void) {
  const struct mb_sandbox *s = take(
      "(function() local t = {} for i = 1, 5000 do t[i] = 'tcp:' .. i end return {connect = t} "
      "end)()");
  bool good = s->port_count == 5000;
  for (size_t i = 0; i < s->port_count; i++) good = good && s->ports[i] == i + 1;
  tap_ok(good, "5000 ports");
}

/* Each error has all of these words. */
static void errors(void) {
  static const struct {
    const char *text, *words[3];
  } rows[] = {
      {"nil", {"sandbox: expected \"strict\"", "", ""}},
      {"true", {"sandbox: expected \"strict\"", "", ""}},
      {"1", {"sandbox: expected \"strict\"", "", ""}},
      {"'off'", {"sandbox: expected \"strict\"", "", ""}},
      {"{reed = {D}}", {"unknown wish \"reed\"", "read, write", ""}},
      {"{D}", {"unknown wish \"1\"", "", ""}},
      {"{[true] = 1}", {"unknown wish \"true\"", "", ""}},
      {"{read = D}", {"sandbox: read: expected a list of absolute paths", "got \"/", ""}},
      {"{read = true}", {"sandbox: read: expected a list", "got true", ""}},
      {"{read = {'file'}}", {"read: expected an absolute path", "got \"file\"", ""}},
      {"{read = {''}}", {"read: expected an absolute path", "got \"\"", ""}},
      {"{read = {1}}", {"read: expected an absolute path", "got 1", ""}},
      {"{read = {D .. '\\0/x'}}", {"read: expected an absolute path", "", ""}},
      {"{read = {D .. '/none'}}", {"sandbox: read: /", "/none: No such file", ""}},
      {"{read = {D .. '/file/x'}}", {"sandbox: read: /", "Not a directory", ""}},
      {"{write = {D .. '/none'}}", {"sandbox: write: /", "No such file", ""}},
      {"{exec = {D .. '/none'}}", {"sandbox: exec: /", "No such file", ""}},
      {"{read = {[2] = D}}", {"read: expected a list", "", ""}},
      {"{read = {D, x = D}}", {"read: expected a list", "", ""}},
      {"{read = {D, D .. '/none'}}", {"/none: No such file", "", ""}},
      {"{exec = true}", {"exec: expected false, or a list", "got true", ""}},
      {"{exec = 'sh'}", {"exec: expected false, or a list", "got \"sh\"", ""}},
      {"{exec = {'sh'}}", {"exec: expected an absolute path", "got \"sh\"", ""}},
      {"{connect = 'dns'}", {"connect: expected true, false, or a list", "got \"dns\"", ""}},
      {"{connect = {80}}", {"connect: expected \"tcp:PORT\"", "got 80", ""}},
      {"{connect = {'80'}}", {"connect: expected \"tcp:PORT\"", "got \"80\"", ""}},
      {"{connect = {'tcp:'}}", {"connect: expected \"tcp:PORT\"", "got \"tcp:\"", ""}},
      {"{connect = {'tcp:0'}}", {"from 1 to 65535", "got \"tcp:0\"", ""}},
      {"{connect = {'tcp:65536'}}", {"from 1 to 65535", "got \"tcp:65536\"", ""}},
      {"{connect = {'tcp:4294967376'}}", {"from 1 to 65535", "", ""}},
      {"{connect = {'tcp:-1'}}", {"from 1 to 65535", "", ""}},
      {"{connect = {'tcp:+1'}}", {"from 1 to 65535", "", ""}},
      {"{connect = {'tcp: 1'}}", {"from 1 to 65535", "", ""}},
      {"{connect = {'tcp:80 '}}", {"from 1 to 65535", "", ""}},
      {"{connect = {'tcp:0x50'}}", {"from 1 to 65535", "", ""}},
      {"{connect = {'TCP:80'}}", {"expected \"tcp:PORT\"", "", ""}},
      {"{connect = {'udp:53'}}", {"expected \"tcp:PORT\"", "", ""}},
      {"{connect = {'tcp:80\\0'}}", {"expected \"tcp:PORT\"", "", ""}},
      {"{connect = {'/' .. ('x'):rep(107)}}", {"a path of at most 107 bytes", "", ""}},
      {"{connect = {'@abstract'}}", {"expected \"tcp:PORT\"", "", ""}},
      {"{listen = 1}", {"listen: expected true or false", "got 1", ""}},
      {"{modules = 'yes'}", {"modules: expected true or false", "got \"yes\"", ""}},
      {"{required = {}}", {"required: expected true or false", "got table", ""}},
      {"{cpu_seconds = 0}", {"cpu_seconds: expected an integer, 1 or more", "got 0", ""}},
      {"{cpu_seconds = 1.5}", {"cpu_seconds: expected an integer", "got 1.5", ""}},
      {"{cpu_seconds = 1 / 0}", {"cpu_seconds: expected an integer", "got inf", ""}},
      {"{cpu_seconds = true}", {"cpu_seconds: expected an integer", "got true", ""}},
      {"{open_files = 7}", {"open_files: expected an integer, 8 or more", "got 7", ""}},
      {"{file_size = -1}", {"file_size: expected an integer, 0 or more", "got -1", ""}},
      {"{processes = math.mininteger}", {"processes: expected an integer", "", ""}},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const char *error = error_of(rows[i].text);
    bool good = error && strstr(error, "listen: sandbox: ") != NULL;
    for (int w = 0; w < 3; w++) good = good && strstr(error, rows[i].words[w]) != NULL;
    tap_ok(good, "%s: %s", rows[i].text, error ? error : "(no error)");
  }
}

int main(void) {
  char file[4200];
  const char *temporary = getenv("TMPDIR");
  snprintf(directory, sizeof directory, "%s/sandbox_wish.XXXXXX", temporary ? temporary : "/tmp");
  if (!mkdtemp(directory)) tap_bail("no directory");
  snprintf(file, sizeof file, "%s/file", directory);
  FILE *made = fopen(file, "w");
  if (!made) tap_bail("no file");
  fclose(made);
  L = luaL_newstate();
  if (!L) tap_bail("no memory for a Lua state");
  luaL_openlibs(L);
  nothing_wished();
  paths();
  targets();
  limits();
  two_at_once();
  a_long_list();
  errors();
  lua_close(L);
  unlink(file);
  rmdir(directory);
  return tap_done();
}
