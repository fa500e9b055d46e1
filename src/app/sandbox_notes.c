/* The lines about what a sandbox has refused. */
#include "app/sandbox_notes.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/refused.h"

/* A handler that asks for ever new files must not fill the log. */
#define NOTES_MAX      16
#define NAME_MAX_BYTES 200

static const struct mb_sandbox *sandbox;
static uint32_t noted[NOTES_MAX]; /* hashes */
static int count;

/* ---- the lines ---- */

static uint32_t hash_of(const char *text) {
  uint32_t hash = 2166136261u; /* FNV-1a */
  for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 16777619u;
  return hash;
}

/* Returns whether the line is new, and there is room for it. */
static bool is_new(const char *line) {
  uint32_t hash = hash_of(line);
  for (int i = 0; i < count; i++) {
    if (noted[i] == hash) return false;
  }
  if (count == NOTES_MAX) return false;
  noted[count++] = hash;
  return true;
}

/*
 * Writes a path without "..", links and the current directory, as far as it exists; and so that it can be wished: where
 * the file does not exist, its directory.
 */
static void resolve(enum mb_refused_what what, const char *name, char ret_path[PATH_MAX]) {
  char parent[PATH_MAX];
  size_t len = strlen(name);
  if (len >= PATH_MAX) len = 0;
  memcpy(parent, name, len);
  parent[len] = '\0';
  if (realpath(name, ret_path)) return;
  char *slash = strrchr(parent, '/');
  strcpy(slash ? slash : parent, slash == parent ? "/" : slash ? "" : ".");
  if (!realpath(parent, ret_path) || what != MB_REFUSED_WRITE)
    snprintf(ret_path, PATH_MAX, "%s", name);
}

/* Finds a program in $PATH. Returns false when there is none. */
static bool find_program(const char *name, char ret_path[PATH_MAX]) {
  const char *at = getenv("PATH");
  while (at && *at) {
    size_t len = strcspn(at, ":");
    int size = snprintf(ret_path, PATH_MAX, "%.*s/%s", (int)len, at, name);
    if (size < PATH_MAX && access(ret_path, X_OK) == 0) return true;
    at += len + (at[len] == ':');
  }
  return false;
}

/* Writes the path that a script would have to wish. */
static void advise(enum mb_refused_what what, const char *name, char ret_path[PATH_MAX]) {
  if (what == MB_REFUSED_EXEC && !strchr(name, '/') && find_program(name, ret_path)) return;
  resolve(what, name, ret_path);
  /* A name that can be wished as it is stays: /proc/self is another directory for the process that comes next. */
  bool is_plain = name[0] == '/' && !strstr(name, "/../");
  if (is_plain && (what != MB_REFUSED_WRITE || access(name, F_OK) == 0))
    snprintf(ret_path, PATH_MAX, "%s", name);
}

static bool is_below(const char *path, const char *directory) {
  size_t len = strlen(directory);
  while (len > 1 && directory[len - 1] == '/') len--;
  return strncmp(path, directory, len) == 0 && (len == 1 || path[len] == '/' || path[len] == '\0');
}

bool mb_sandbox_notes_is_wished(enum mb_refused_what what, const char *given) {
  char name[PATH_MAX];
  resolve(what, given, name);
  for (size_t i = 0; i < sandbox->path_count; i++) {
    const struct mb_sandbox_path *p = &sandbox->paths[i];
    bool right = what == MB_REFUSED_WRITE  ? p->right == MB_RIGHT_WRITE
                 : what == MB_REFUSED_EXEC ? p->right == MB_RIGHT_EXEC
                                           : true;
    if (right && (is_below(name, p->path) || is_below(given, p->path))) return true;
  }
  return false;
}

static bool may_connect(enum mb_refused_what what, const char *name, unsigned port) {
  if (sandbox->wishes & MB_WISH_ANY_TCP) return true;
  for (size_t i = 0; what == MB_REFUSED_TCP && i < sandbox->port_count; i++) {
    if (sandbox->ports[i] == port) return true;
  }
  for (size_t i = 0; what == MB_REFUSED_UNIX && i < sandbox->socket_count; i++) {
    if (strcmp(sandbox->sockets[i], name) == 0) return true;
  }
  return false;
}

static void note(enum mb_refused_what what, const char *name, unsigned port) {
  char line[3 * NAME_MAX_BYTES];
  int most = NAME_MAX_BYTES;
  if (!name) name = "";
  switch (what) {
    case MB_REFUSED_READ:
    case MB_REFUSED_WRITE:
    case MB_REFUSED_EXEC: {
      static const char words[][6] = {"read", "write", "exec"};
      char path[PATH_MAX];
      if (mb_sandbox_notes_is_wished(what, name)) return;
      advise(what, name, path);
      snprintf(line, sizeof line, "%s of %.*s refused: sandbox = {%s = {\"%.*s\"}}", words[what],
               most, name, words[what], most, path);
      break;
    }
    case MB_REFUSED_MODULE:
      if (sandbox->reads_modules) return;
      snprintf(line, sizeof line, "read of %.*s refused: sandbox = {modules = true}", most, name);
      break;
    case MB_REFUSED_UNIX:
      if (may_connect(what, name, 0)) return;
      if (name[0] == '@') { /* Landlock knows all abstract sockets, or none */
        snprintf(line, sizeof line, "connection to %.*s refused: sandbox = {connect = true}", most,
                 name);
        break;
      }
      snprintf(line, sizeof line, "connection to %.*s refused: sandbox = {connect = {\"%.*s\"}}",
               most, name, most, name);
      break;
    case MB_REFUSED_TCP:
      if (may_connect(what, name, port)) return;
      snprintf(line, sizeof line,
               "connection to TCP port %u refused: sandbox = {connect = {\"tcp:%u\"}}", port, port);
      break;
    case MB_REFUSED_NAMES:
      if (sandbox->looks_up_names) return;
      snprintf(line, sizeof line, "look-up of %.*s refused: sandbox = {connect = {\"dns\"}}", most,
               name);
      break;
    case MB_REFUSED_SOCKET:
      if (sandbox->wishes & MB_WISH_ANY_TCP) return;
      snprintf(line, sizeof line, "socket refused: sandbox = {connect = true}");
      break;
    case MB_REFUSED_LISTEN:
      if (sandbox->wishes & MB_WISH_LISTEN) return;
      snprintf(line, sizeof line, "listen refused: sandbox = {listen = true}");
      break;
  }
  if (is_new(line)) mb_log(LOG_WARNING, "sandbox: %s would allow it", line);
}

void mb_sandbox_notes_open(const struct mb_sandbox *s) {
  sandbox = s;
  mb_refused_note = note;
}

void mb_sandbox_notes_close(void) {
  mb_refused_note = NULL;
  sandbox = NULL;
}
