/* Reads the manual. It must never skip: a manual that cannot be found is a failure. */
#include "manual.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

char *manual_read(const char *name) {
  const char *top = getenv("MB_SRCDIR");
  enum { MOST = 1 << 20 };
  char *path, *text = calloc(1, MOST);
  if (asprintf(&path, "%s/%s", top ? top : ".", name) < 0) tap_bail("no memory");
  FILE *file = fopen(path, "r");
  if (!file || !text || fread(text, 1, MOST - 1, file) == 0) tap_bail(path);
  fclose(file);
  free(path);
  return text;
}

char *manual_part(const char *text, const char *begin, const char *end) {
  const char *from = strstr(text, begin);
  if (!from) tap_bail(begin);
  from += strlen(begin);
  const char *to = strstr(from, end);
  if (!to) tap_bail(end);
  return strndup(from, (size_t)(to - from));
}

void manual_words(const char *text, const char *macro, void (*f)(const char *word)) {
  size_t len = strlen(macro);
  for (const char *line = text; line; line = strchr(line, '\n')) {
    line += *line == '\n';
    if (strncmp(line, macro, len) != 0 || line[len] != ' ') continue;
    char *words = strndup(line, strcspn(line, "\n")), *rest = words + len;
    for (char *word; (word = strsep(&rest, " ")) != NULL;) {
      if (*word) f(word);
    }
    free(words);
  }
}

bool manual_has(const char *text, const char *format, ...) {
  char *part;
  va_list args;
  va_start(args, format);
  if (vasprintf(&part, format, args) < 0) tap_bail("no memory");
  va_end(args);
  bool has = strstr(text, part) != NULL;
  free(part);
  return has;
}
