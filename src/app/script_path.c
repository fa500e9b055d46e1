/* Finds the file of the script. Opens nothing: only looks for names. */
#include "app/script_path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Writes DIR/NAME.lua. Returns false when the path would be too long. */
static bool join(char path[PATH_MAX], const char *directory, const char *name, size_t name_len) {
  int n = snprintf(path, PATH_MAX, "%s/%.*s.lua", directory, (int)name_len, name);
  return n > 0 && n < PATH_MAX;
}

/* Returns whether the script is there. One that cannot be read is an error, not a reason to serve another. */
static bool exists(const char *path) {
  return access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

/*
 * Writes the name that a local address gives its script: "8080", or "echo" for "/run/mb/echo.sock" and
 * for "@echo". Returns its length; 0: there is no name.
 */
static size_t name_of(const struct mb_addr *local, char name[sizeof local->local.sun_path + 1]) {
  uint16_t port = mb_addr_port(local);
  if (port) return (size_t)sprintf(name, "%u", port);
  size_t len = mb_addr_path(local, name);
  if (len == 0) return 0;
  const char *slash = memrchr(name, '/', len);
  const char *base = slash ? slash + 1 : name[0] == '@' ? name + 1 : name;
  len = strlen(base);
  memmove(name, base, len + 1);
  if (len > 5 && strcmp(name + len - 5, ".sock") == 0) len -= 5;
  return len;
}

const char *mb_script_path(const struct mb_options *options, const struct mb_addr *local,
                           char ret_path[PATH_MAX]) {
  if (options->script) return options->script;
  const char *named = getenv("MB_SCRIPT");
  if (named && *named) return named;

  char name[sizeof local->local.sun_path + 1];
  size_t len = name_of(local, name);
  if (len && join(ret_path, options->handlers, name, len) && exists(ret_path)) return ret_path;
  len = strlen("default");
  return join(ret_path, options->handlers, "default", len) && exists(ret_path) ? ret_path : NULL;
}

void mb_script_tried(const struct mb_options *options, const struct mb_addr *local,
                     char ret_text[MB_SCRIPT_TRIED_MAX]) {
  const char *directory = options->handlers;
  char name[sizeof local->local.sun_path + 1];
  size_t len = name_of(local, name);
  if (len) {
    snprintf(ret_text, MB_SCRIPT_TRIED_MAX, "%s/%.*s.lua and %s/default.lua", directory, (int)len,
             name, directory);
  } else {
    snprintf(ret_text, MB_SCRIPT_TRIED_MAX, "%s/default.lua", directory);
  }
}
