/* Collects the paths that come with a wish. What does not exist on this machine is passed over. */
#include "app/sandbox_paths.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ZONES "/usr/share/zoneinfo"

struct path {
  char path[32];
  unsigned char right;
};

/* What every program needs to start. A shell: os.execute, io.popen and moonbridge_io.exec start one. */
static const struct path programs[] = {
    {"/bin/sh", MB_RIGHT_EXEC},
    {"/lib64/ld-linux-x86-64.so.2", MB_RIGHT_EXEC},
    {"/lib/ld-linux-aarch64.so.1", MB_RIGHT_EXEC},
    {"/dev/null", MB_RIGHT_DEVICE},
};

/* Shared libraries, and where the loader finds them. */
static const struct path libraries[] = {
    {"/etc/ld.so.cache", MB_RIGHT_READ}, {"/usr/lib", MB_RIGHT_READ}, {"/lib", MB_RIGHT_READ},
    {"/usr/local/lib", MB_RIGHT_READ},   {"/lib64", MB_RIGHT_READ},
};

/* What the C library reads to look a name up. */
static const struct path resolver[] = {
    {"/etc/resolv.conf", MB_RIGHT_READ}, {"/etc/hosts", MB_RIGHT_READ},
    {"/etc/host.conf", MB_RIGHT_READ},   {"/etc/nsswitch.conf", MB_RIGHT_READ},
    {"/etc/gai.conf", MB_RIGHT_READ},    {"/etc/services", MB_RIGHT_READ},
    {"/etc/protocols", MB_RIGHT_READ},   {"/run/systemd/resolve", MB_RIGHT_READ},
};

static void add(struct mb_more_paths *m, const char *path, enum mb_sandbox_right right) {
  if (m->count == MB_MORE_PATHS) return;
  m->list[m->count++] = (struct mb_sandbox_path){.path = path, .right = right, .is_optional = true};
}

static void add_all(struct mb_more_paths *m, const struct path *paths, size_t count) {
  for (size_t i = 0; i < count; i++) add(m, paths[i].path, paths[i].right);
}
#define ADD_ALL(m, paths) add_all(m, paths, sizeof paths / sizeof *paths)

/* Adds a string, which stays on the stack. */
static void add_string(lua_State *L, struct mb_more_paths *m, enum mb_sandbox_right right) {
  luaL_checkstack(L, 4, "sandbox");
  add(m, lua_tostring(L, -1), right);
}

/* os.date would be wrong without a word. */
static void add_time_zone(lua_State *L, struct mb_more_paths *m) {
  const char *zone = getenv("TZ");
  if (!zone) {
    add(m, "/etc/localtime", MB_RIGHT_READ);
    return;
  }
  if (*zone == ':') zone++;
  if (!*zone) {
    add(m, ZONES "/Universal", MB_RIGHT_READ);
    return;
  }
  lua_pushfstring(L, *zone == '/' ? "%s%s" : "%s/%s", *zone == '/' ? "" : ZONES, zone);
  add_string(L, m, MB_RIGHT_READ);
}

/* mb.static reads it when somebody asks for a file whose extension it does not know. */
static void add_media_types(lua_State *L, struct mb_more_paths *m) {
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "mb.static") != LUA_TNIL) add(m, "/etc/mime.types", MB_RIGHT_READ);
  lua_pop(L, 2);
}

/* The program that runs a script stands in its first line. */
static void add_interpreter(lua_State *L, struct mb_more_paths *m, const char *script) {
  char line[256];
  int fd = open(script, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return;
  ssize_t n = read(fd, line, sizeof line - 1);
  close(fd);
  if (n < 3 || line[0] != '#' || line[1] != '!') return;
  line[n] = '\0';
  const char *begin = line + 2 + strspn(line + 2, " \t");
  lua_pushlstring(L, begin, strcspn(begin, " \t\n"));
  add_string(L, m, MB_RIGHT_EXEC);
}

static void add_programs(lua_State *L, const struct mb_sandbox *s, struct mb_more_paths *m) {
  ADD_ALL(m, programs);
  ADD_ALL(m, libraries);
  for (size_t i = 0; i < s->path_count; i++) {
    if (s->paths[i].right == MB_RIGHT_EXEC) add_interpreter(L, m, s->paths[i].path);
  }
}

/* Debian's modules in .../lua/5.3/ are often links to .../lua/5.1/. Returns the length without the version. */
static size_t above_version(const char *directory, size_t len) {
  static const char version[] = "/lua/5.3/";
  size_t size = sizeof version - 1;
  if (len <= size || memcmp(directory + len - size, version, size) != 0) return len;
  return len - strlen("5.3/");
}

/* Adds the directories of a list of templates, such as "/usr/share/lua/5.3/?.lua;./?.lua": those that are absolute. */
static void add_templates(lua_State *L, struct mb_more_paths *m, const char *field) {
  lua_getglobal(L, "package");
  if (!lua_istable(L, -1) || lua_getfield(L, -1, field) != LUA_TSTRING) return;
  const char *at = lua_tostring(L, -1);
  while (*at) {
    size_t len = strcspn(at, ";"), mark = 0;
    while (mark < len && at[mark] != '?') mark++;
    while (mark > 0 && at[mark - 1] != '/') mark--;
    if (at[0] == '/' && mark > 1) {
      lua_pushlstring(L, at, above_version(at, mark));
      add_string(L, m, MB_RIGHT_READ);
    }
    at += len + (at[len] == ';');
  }
}

static void add_modules(lua_State *L, struct mb_more_paths *m) {
  add_templates(L, m, "path");
  add_templates(L, m, "cpath");
  ADD_ALL(m, libraries);
}

/* A recording is a new file in the directory of the others. */
static void add_directory(lua_State *L, struct mb_more_paths *m, const char *file,
                          enum mb_sandbox_right right) {
  const char *slash = strrchr(file, '/');
  lua_pushlstring(L, slash ? file : ".", slash ? (size_t)(slash - file + 1) : 1);
  add_string(L, m, right);
}

void mb_sandbox_paths(lua_State *L, const struct mb_sandbox *s, const struct mb_options *o,
                      bool records, struct mb_more_paths *ret) {
  ret->count = 0;
  /* What mb-handle itself needs comes first: a script may have more directories than there is room for. */
  add_time_zone(L, ret);
  add_media_types(L, ret);
  if (records && o->record) add_directory(L, ret, o->record, MB_RIGHT_WRITE);
  if (s->wishes & MB_WISH_EXEC) add_programs(L, s, ret);
  if (s->looks_up_names) ADD_ALL(ret, resolver);
  if (s->looks_up_names) ADD_ALL(ret, libraries);
  /* With --dev a page shows the lines of an error. */
  if (s->reads_modules || o->dev) add_modules(L, ret);
  if ((s->reads_modules || o->dev) && o->script) add_directory(L, ret, o->script, MB_RIGHT_READ);
}
