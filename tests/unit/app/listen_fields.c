/* src/app/listen_fields.c: the table of fields is sound, and mb-handle(8) tells the same. */
#include "app/listen_fields.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/manual.h"
#include "../../lib/tap.h"

static const struct mb_listen_field *end = mb_listen_fields + MB_LISTEN_FIELDS;
static char documented[1024] = " "; /* the words, with a space on both sides of each */

static const struct mb_listen_field *find(const char *name) {
  for (const struct mb_listen_field *f = mb_listen_fields; f < end; f++) {
    if (strcmp(f->name, name) == 0) return f;
  }
  return NULL;
}

static void take(const char *word) {
  if (!isalpha((unsigned char)*word)) return; /* punctuation */
  tap_ok(find(word) != NULL, "%s, which the manual names, is a field", word);
  size_t used = strlen(documented);
  snprintf(documented + used, sizeof documented - used, "%s ", word);
}

static bool is_terminated(const char *text, size_t size) { return strnlen(text, size) < size; }

static void each_row_is_sound(void) {
  for (const struct mb_listen_field *f = mb_listen_fields; f < end; f++) {
    tap_ok(is_terminated(f->name, sizeof f->name) && is_terminated(f->text, sizeof f->text) &&
               is_terminated(f->fallback, sizeof f->fallback),
           "%s: the strings end", f->name);
    tap_ok(f->name[0] && f->text[0], "%s: has a text", f->name);
    tap_ok(find(f->name) == f, "%s: is there once", f->name);
    tap_ok(f->owners == MB_FIELD_OF_CALL || !(f->owners & MB_FIELD_OF_CALL),
           "%s: belongs to the call or to listeners", f->name);
    bool is_number = f->type == MB_FIELD_INTEGER || f->type == MB_FIELD_BYTES;
    tap_ok(!is_number || f->least < f->most, "%s: has a range", f->name);
    for (const struct mb_listen_field *other = mb_listen_fields; other < f; other++) {
      if (!(f->owners & other->owners) || f->offset == MB_FIELD_NOT_STORED) continue;
      tap_ok(f->offset != other->offset, "%s and %s are stored in two places", f->name,
             other->name);
    }
  }
}

/* Returns whether the entry of the field, perhaps among others, begins with the two texts. */
static bool item_says(const char *manual, const char *name, const char *text, const char *range) {
  for (const char *at = manual; (at = strstr(at, "\n.It Va ")) != NULL;) {
    char line[128], want[96];
    size_t len = strcspn(++at, "\n");
    snprintf(line, sizeof line, "%.*s ", (int)len, at);
    snprintf(want, sizeof want, "%s%s", text, range);
    if (manual_has(line, " %s ", name)) return strncmp(at + len + 1, want, strlen(want)) == 0;
  }
  return false;
}

static void the_manual_tells_the_same(const char *manual) {
  manual_words(manual, ".Va", take);
  manual_words(manual, ".It Va", take);
  for (const struct mb_listen_field *f = mb_listen_fields; f < end; f++) {
    long long least = f->least, most = f->most;
    tap_ok(manual_has(documented, " %s ", f->name), "%s: is in the manual", f->name);
    if (f->type == MB_FIELD_INTEGER) {
      char range[64];
      snprintf(range, sizeof range, " from %lld to %lld.", least, most);
      tap_ok(manual_has(manual, ".Va %s ,\nan integer%s", f->name, range) ||
                 item_says(manual, f->name, "An integer", range) ||
                 item_says(manual, f->name, "Integers", range),
             "%s: the manual has its range", f->name);
    } else if (f->type == MB_FIELD_PATH) {
      tap_ok(manual_has(manual, ".Va %s ,\nat most %lld bytes.", f->name, most),
             "%s: the manual has its length", f->name);
    }
    if (!f->fallback[0]) continue;
    tap_ok(manual_has(manual, ".Va %s\nis an address or a name, by default\n.Ql %s", f->name,
                      f->fallback),
           "%s: the manual says what holds without it", f->name);
  }
}

static void protocols(const char *manual) {
  for (enum mb_proto proto = MB_PROTO_TCP; proto < MB_PROTO_COUNT; proto++) {
    const char *name = mb_proto_name(proto);
    tap_ok(manual_has(manual, ".It Qq %s\n", name) || manual_has(manual, "\\(dq%s\\(dq", name),
           "%s: is in the manual", name);
    tap_ok(mb_listen_next(NULL, MB_FIELD_OF(proto)) == find("proto"), "%s: has the field proto",
           name);
  }
}

int main(void) {
  char *page = manual_read("docs/mb-handle.8.in");
  char *manual = manual_part(page, "\n.Ss listen{...}\n", "\n.Ss ");
  each_row_is_sound();
  the_manual_tells_the_same(manual);
  protocols(manual);
  free(manual);
  free(page);
  return tap_done();
}
