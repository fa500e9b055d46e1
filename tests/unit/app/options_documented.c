/* src/app/options.c: the manual and the completions have every option, as its row has it. */
#include "app/options.h"

#include <stdlib.h>
#include <string.h>

#include "../../lib/manual.h"
#include "../../lib/tap.h"

static const struct mb_option *end = mb_options + MB_OPTIONS;

/* The words of a choice, "a, b or c", with one space between two. */
static void words_of(const struct mb_option *row, char words[96]) {
  size_t n = 0;
  for (const char *p = row->expected; *p; p++) {
    if (*p == ',') continue;
    if (strncmp(p, " or ", 4) == 0) p += 3;
    words[n++] = *p;
  }
  words[n] = '\0';
}

/* ---- the manual and the completions ---- */

static const struct mb_option *find(const char *name) {
  for (const struct mb_option *row = mb_options; row < end; row++) {
    if (strcmp(row->name, name) == 0) return row;
  }
  return NULL;
}

static const struct mb_option *entry; /* of the line that is looked at */
static const struct mb_option *documented[2 * MB_OPTIONS];
static int ndocumented;

static bool is_optional(const struct mb_option *row) { return row->value[0] == '['; }

/* Returns whether a word is the name of the row's value: FORMAT, also of "[=FORMAT]". */
static bool is_value(const struct mb_option *row, const char *word) {
  const char *value = row->value + (is_optional(row) ? 2 : 0);
  size_t len = strcspn(value, "]");
  return len > 0 && strlen(word) == len && strncasecmp(word, value, len) == 0;
}

/* A word of ".It Fl Fl handlers Ar dir", or of ".It Fl Fl access-log Ns Op = Ns Ar format". */
static void take(const char *word) {
  static const char *const macros[] = {"Ar", "Ns", "Op", "="};
  for (size_t i = 0; i < sizeof macros / sizeof *macros; i++) {
    if (strcmp(word, macros[i]) != 0) continue;
    if (i > 0)
      tap_ok(entry && is_optional(entry), "%s: its value may be left out",
             entry ? entry->name : "");
    return;
  }
  if (entry && is_value(entry, word)) {
    entry = NULL; /* its value has come */
    return;
  }
  tap_ok(!entry || !entry->value[0], "%s: before %s comes its value", entry ? entry->name : "",
         word);
  entry = find(word);
  tap_ok(entry != NULL, "%s, which the manual names, is an option", word);
  if (entry && ndocumented < 2 * MB_OPTIONS) documented[ndocumented++] = entry;
}

static void choices_are_documented(const char *manual, const struct mb_option *row) {
  char begin[64], words[96], *rest = words;
  snprintf(begin, sizeof begin, "\n.It Fl Fl %.15s ", row->name);
  char *text = manual_part(manual, begin, "\n.It ");
  words_of(row, words);
  for (char *word; (word = strsep(&rest, " ")) != NULL;) {
    tap_ok(strstr(text, word) != NULL, "%s: the manual has %s", row->name, word);
    /* 0 is what an option is set to without it, and the first word what it is set to without a value. */
    bool is_first = (row->least == 0 || is_optional(row)) && word == words;
    bool is_default = row->fallback[0] ? strcmp(row->fallback, word) == 0 : is_first;
    tap_ok(manual_has(text, "%s\n(the default", word) == is_default,
           "%s: the manual says whether %s is the default", row->name, word);
    tap_ok(manual_has(row->text, "%s (default)", word) == is_default, "%s: so does --help",
           row->name);
  }
  free(text);
}

static void the_manual_has_each_option(void) {
  char *page = manual_read("docs/mb-handle.8.in");
  char *manual = manual_part(page, "\n.Ss Options\n", "\n.Sh ");
  manual_words(manual, ".It Fl Fl", take);
  tap_int(ndocumented, MB_OPTIONS, "as many entries as there are options");
  for (int i = 0; i < MB_OPTIONS; i++)
    tap_ok(documented[i] == &mb_options[i], "%s: has its entry, in order", mb_options[i].name);
  for (const struct mb_option *row = mb_options; row < end; row++) {
    if (row->type == MB_OPTION_CHOICE) choices_are_documented(manual, row);
  }
  free(manual);
  free(page);
}

static int ncompleted;

static void complete(const char *word) {
  const struct mb_option *row = strncmp(word, "--", 2) == 0 ? find(word + 2) : NULL;
  tap_ok(row != NULL, "%s, which bash completes, is an option", word);
  ncompleted++;
}

static void the_completions_have_each_option(void) {
  char *bash = manual_read("docs/completion/mb-handle.bash");
  char *zsh = manual_read("docs/completion/_mb-handle");
  char *words = manual_part(bash, "local options='", "'"), *rest = words;
  for (char *word; (word = strsep(&rest, " \n")) != NULL;) {
    if (*word) complete(word);
  }
  tap_int(ncompleted, MB_OPTIONS, "bash completes as many options as there are");
  for (const struct mb_option *row = mb_options; row < end; row++) {
    char choices[96];
    const char *behind = is_optional(row) ? "=-" : row->value[0] ? "=" : "";
    tap_ok(manual_has(zsh, "--%s%s[", row->name, behind),
           "%s: zsh completes it, and knows whether it takes a value", row->name);
    if (row->type != MB_OPTION_CHOICE) continue;
    words_of(row, choices);
    tap_ok(manual_has(bash, "--%s) mapfile -t COMPREPLY < <(compgen -W '%s'", row->name, choices),
           "%s: bash completes %s", row->name, choices);
    tap_ok(manual_has(zsh, ":(%s)", choices), "%s: so does zsh", row->name);
    if (!is_optional(row)) continue;
    tap_ok(manual_has(zsh, "--%s=-[", row->name) && manual_has(bash, " --%s ", row->name),
           "%s: both know that its value stands behind a =", row->name);
  }
  free(words);
  free(zsh);
  free(bash);
}

int main(void) {
  the_manual_has_each_option();
  the_completions_have_each_option();
  return tap_done();
}
