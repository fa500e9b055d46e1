/* What is wrong with a word of the command line that is no option of ours, and what to write in its place. */
#include "app/options_advice.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

/* The longest list of options that begin alike; more of them would help nobody. */
#define ALIKE_MAX 160

/*
 * What people write who know other programs, and what to write in place of it. An abbreviation that may
 * stand for such a word, too, is refused: --listen 8080 is no --listener 8080.
 */
static const struct {
  char word[16]; /* "-x" or "--word" */
  char advice[MB_OPTIONS_ERROR_MAX - 16];
} foreign[] = {
#define LISTENS                                                                                   \
  "write --serve=PORT, --serve=ADDRESS:PORT or --serve=PATH, to try a script or in a container: " \
  "mb-handle --serve=8080 SCRIPT; as a service, systemctl start mb-pool@PORT.socket"
    {"--address", LISTENS},
    {"--bind", LISTENS},
    {"--host", LISTENS},
    {"--listen", LISTENS},
    {"--port", LISTENS},
    {"-l", LISTENS},
    {"-p", LISTENS},
    {"--handler",
     "write --handlers DIR for a directory of scripts; a script is written without an option: "
     "mb-handle SCRIPT"},
    {"--script", "a script is written without an option: mb-handle SCRIPT"},
    {"-h", "write --help"},
    {"-?", "write --help"},
    {"-V", "write --version"},
    {"-v", "write --version, or --log-level=debug"},
    {"-c", "write --check"},
#undef LISTENS
};

/* Returns whether a word is a long option of ours that is not written in full. */
static bool is_abbreviation(const char *word, size_t len) {
  return len > 2 && strncmp(word, "--", 2) == 0 && !mb_options_find(word + 2, len - 2);
}

bool mb_options_advise(const char *word, bool taken, char error[MB_OPTIONS_ERROR_MAX]) {
  size_t len = word[0] == '-' && word[1] != '-' ? 2 : strcspn(word, "=");
  if (taken && !is_abbreviation(word, len)) return false;
  for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
    size_t whole = strlen(foreign[i].word);
    if (len > whole || (!taken && len < whole) || memcmp(word, foreign[i].word, len) != 0) continue;
    snprintf(error, MB_OPTIONS_ERROR_MAX, "%.*s: %s", (int)len, word, foreign[i].advice);
    return true;
  }
  return false;
}

/*
 * Writes the options that begin like a word, as "--one, --other", when there are several.
 * Returns whether there are.
 */
static bool list_alike(const char *word, char text[ALIKE_MAX]) {
  size_t len = strcspn(word, "="), at = 0;
  int count = 0;
  text[0] = '\0';
  for (const struct mb_option *row = mb_options; row < mb_options + MB_OPTIONS; row++) {
    if (strncmp(row->name, word + 2, len - 2) != 0) continue;
    if (at < ALIKE_MAX)
      at += (size_t)snprintf(text + at, ALIKE_MAX - at, "%s--%s", count ? ", " : "", row->name);
    count++;
  }
  return count > 1;
}

void mb_options_describe_wrong(int c, const char *given, char error[MB_OPTIONS_ERROR_MAX]) {
  if (c == ':') {
    snprintf(error, MB_OPTIONS_ERROR_MAX, "option %s needs a value; try mb-handle --help", given);
  } else if (optopt > ' ' && optopt < 127) {
    snprintf(error, MB_OPTIONS_ERROR_MAX, "unknown option -%c; try mb-handle --help", optopt);
  } else if (strncmp(given, "--", 2) == 0) {
    char alike[ALIKE_MAX];
    if (is_abbreviation(given, strcspn(given, "=")) && list_alike(given, alike)) {
      snprintf(error, MB_OPTIONS_ERROR_MAX, "option %.40s may be one of %s", given, alike);
    } else {
      snprintf(error, MB_OPTIONS_ERROR_MAX, "unknown or wrong option %s; try mb-handle --help",
               given);
    }
  } else {
    snprintf(error, MB_OPTIONS_ERROR_MAX, "unknown option; try mb-handle --help");
  }
}
