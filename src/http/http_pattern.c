/* Reads Lua's patterns into a list of items, and searches texts for them. */
#include "http/http_pattern.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

enum {
  CLASS,    /* a character of a set */
  OPEN,     /* "(" */
  CLOSE,    /* ")" */
  POSITION, /* "()" */
  BACK,     /* %1 */
  BALANCE,  /* %bxy */
  FRONTIER, /* %f[set] */
  END,      /* "$" */
};

/* ---- reading ---- */

static bool has(const unsigned char *set, unsigned char c) { return set[c >> 3] >> (c & 7) & 1; }

static void add(unsigned char *set, unsigned char c) {
  set[c >> 3] = (unsigned char)(set[c >> 3] | 1 << (c & 7));
}

/* Returns whether c belongs to the class of a letter in lower case; -1 when the letter has no class. */
static int is_of_class(char letter, int c) {
  switch (letter) {
    case 'a':
      return isalpha(c) != 0;
    case 'c':
      return iscntrl(c) != 0;
    case 'd':
      return isdigit(c) != 0;
    case 'g':
      return isgraph(c) != 0;
    case 'l':
      return islower(c) != 0;
    case 'p':
      return ispunct(c) != 0;
    case 's':
      return isspace(c) != 0;
    case 'u':
      return isupper(c) != 0;
    case 'w':
      return isalnum(c) != 0;
    case 'x':
      return isxdigit(c) != 0;
    case 'z':
      return c == 0;
    default:
      return -1;
  }
}

/* Adds what "%" and a letter stand for: its class, or the rest for a letter in upper case. */
static void add_escape(unsigned char *set, char c) {
  char letter = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
  if (is_of_class(letter, 0) < 0) {
    add(set, (unsigned char)c);
    return;
  }
  for (int member = 0; member < 256; member++) {
    if (is_of_class(letter, member) == (letter == c)) add(set, (unsigned char)member);
  }
}

/* Takes a set with its brackets. Returns false when it has no end. */
static bool take_set(struct mb_span *rest, unsigned char *set) {
  mb_http_take(rest, 1);
  bool negated = rest->size > 0 && rest->data[0] == '^';
  if (negated) mb_http_take(rest, 1);
  size_t size = 0;
  do { /* the first character is no end, even if it is a bracket */
    if (size >= rest->size) return false;
    size += rest->data[size] == '%' ? 2 : 1;
  } while (size >= rest->size || rest->data[size] != ']');
  struct mb_span inner = mb_http_take(rest, size);
  while (inner.size > 0) {
    char c = *mb_http_take(&inner, 1).data;
    if (c ==
        '%') { /* in "[+-%%]", the second one escapes the bracket, which ends the set all the same */
      add_escape(set, inner.size > 0 ? *mb_http_take(&inner, 1).data : ']');
    } else if (inner.size > 1 && inner.data[0] == '-') {
      unsigned char last = (unsigned char)mb_http_take(&inner, 2).data[1];
      for (int member = (unsigned char)c; member <= last; member++) add(set, (unsigned char)member);
    } else {
      add(set, (unsigned char)c);
    }
  }
  mb_http_take(rest, 1);
  for (size_t i = 0; negated && i < 32; i++) set[i] = (unsigned char)~set[i];
  return true;
}

/* Takes a class, and how often it is repeated. Returns false when it has no end. */
static bool take_class(struct mb_span *rest, struct mb_http_pattern_item *item) {
  char c = rest->data[0];
  item->kind = CLASS;
  if (c == '[') {
    if (!take_set(rest, item->set)) return false;
  } else if (c == '%') {
    add_escape(item->set, mb_http_take(rest, 2).data[1]);
  } else {
    mb_http_take(rest, 1);
    if (c == '.') memset(item->set, 0xff, sizeof item->set);
    add(item->set, (unsigned char)c);
  }
  if (rest->size > 0 && strchr("*+-?", rest->data[0]) && rest->data[0]) {
    item->repeat = *mb_http_take(rest, 1).data;
  }
  return true;
}

/* What is known of the captures while a pattern is read. */
struct captures {
  unsigned count, open_count;
  unsigned char open[MB_HTTP_PATTERN_CAPTURES]; /* those that are open, the last one at the end */
  bool closed[MB_HTTP_PATTERN_CAPTURES];
};

static const char *take_open(struct mb_span *rest, struct mb_http_pattern_item *item,
                             struct captures *captures) {
  mb_http_take(rest, 1);
  if (captures->count == MB_HTTP_PATTERN_CAPTURES) return "more than 32 captures";
  item->a = (unsigned char)captures->count++;
  if (rest->size > 0 && rest->data[0] == ')') {
    mb_http_take(rest, 1);
    item->kind = POSITION;
    captures->closed[item->a] = true;
  } else {
    item->kind = OPEN;
    captures->open[captures->open_count++] = item->a;
  }
  return NULL;
}

static const char *take_close(struct mb_span *rest, struct mb_http_pattern_item *item,
                              struct captures *captures) {
  mb_http_take(rest, 1);
  if (captures->open_count == 0) return "\")\" without \"(\"";
  item->kind = CLOSE;
  item->a = captures->open[--captures->open_count];
  captures->closed[item->a] = true;
  return NULL;
}

/* Takes what begins with "%". */
static const char *take_escape(struct mb_span *rest, struct mb_http_pattern_item *item,
                               const struct captures *captures) {
  if (rest->size == 1) return "ends with \"%\"";
  unsigned char c = (unsigned char)rest->data[1];
  if (c == 'b') {
    if (rest->size < 4) return "\"%b\" without two characters";
    struct mb_span taken = mb_http_take(rest, 4);
    item->kind = BALANCE;
    item->a = (unsigned char)taken.data[2];
    item->b = (unsigned char)taken.data[3];
  } else if (c == 'f') {
    mb_http_take(rest, 2);
    if (rest->size == 0 || rest->data[0] != '[') return "\"%f\" without \"[\"";
    item->kind = FRONTIER;
    if (!take_set(rest, item->set)) return "\"[\" without \"]\"";
  } else if (c >= '0' && c <= '9') {
    mb_http_take(rest, 2);
    item->kind = BACK;
    item->a = (unsigned char)(c - '1');
    if (c == '0' || !captures->closed[item->a])
      return "a number behind \"%\" without such a capture";
  } else {
    take_class(rest, item);
  }
  return NULL;
}

static const char *take_item(struct mb_span *rest, struct mb_http_pattern_item *item,
                             struct captures *captures) {
  char c = rest->data[0];
  if (c == '(') return take_open(rest, item, captures);
  if (c == ')') return take_close(rest, item, captures);
  if (c == '%') return take_escape(rest, item, captures);
  if (c == '$' && rest->size == 1) {
    mb_http_take(rest, 1);
    item->kind = END;
    return NULL;
  }
  return take_class(rest, item) ? NULL : "\"[\" without \"]\"";
}

const char *mb_http_pattern_read(struct mb_span text, struct mb_http_pattern *ret) {
  struct captures captures = {0};
  unsigned repeated = 0;
  ret->count = 0;
  ret->anchored = text.size > 0 && text.data[0] == '^';
  if (ret->anchored) mb_http_take(&text, 1);
  while (text.size > 0) {
    struct mb_http_pattern_item *item = &ret->items[ret->count++];
    memset(item, 0, sizeof *item);
    const char *wrong = take_item(&text, item, &captures);
    if (wrong) return wrong;
    if (item->repeat) repeated++;
  }
  if (captures.open_count > 0) return "\"(\" without \")\"";
  if (repeated + 2 * captures.count > MB_HTTP_PATTERN_DEPTH) return "too complex";
  return NULL;
}

/* ---- searching ---- */

struct search {
  const struct mb_http_pattern *pattern;
  struct mb_span text;
  unsigned long steps;
  size_t start[MB_HTTP_PATTERN_CAPTURES], size[MB_HTTP_PATTERN_CAPTURES];
};

static bool is_in(const struct search *s, const struct mb_http_pattern_item *item, size_t at) {
  return at < s->text.size && has(item->set, (unsigned char)s->text.data[at]);
}

/* Takes steps. Returns whether there were so many. */
static bool step(struct search *s, size_t count) {
  bool enough = s->steps >= count;
  s->steps = enough ? s->steps - count : 0;
  return enough;
}

/* Each of these returns 1 when the item matches at *at, which it moves behind the match; otherwise 0, or -1. */

static int match_back(struct search *s, const struct mb_http_pattern_item *item, size_t *at) {
  size_t size = s->size[item->a];
  if (size > s->text.size - *at) return 0; /* of a position capture, too */
  if (!step(s, size)) return -1;
  if (size > 0 && memcmp(s->text.data + s->start[item->a], s->text.data + *at, size) != 0) return 0;
  *at += size;
  return 1;
}

static int match_balance(struct search *s, const struct mb_http_pattern_item *item, size_t *at) {
  size_t depth = 0;
  for (size_t i = *at; i < s->text.size; i++) {
    unsigned char c = (unsigned char)s->text.data[i];
    if (!step(s, 1)) return -1;
    if (i > *at && c == item->b) {
      if (--depth == 0) {
        *at = i + 1;
        return 1;
      }
    } else if (c == item->a) {
      depth++;
    }
    if (depth == 0) return 0;
  }
  return 0;
}

static int match_frontier(const struct search *s, const struct mb_http_pattern_item *item,
                          size_t at) {
  unsigned char before = at > 0 ? (unsigned char)s->text.data[at - 1] : 0;
  unsigned char behind = at < s->text.size ? (unsigned char)s->text.data[at] : 0;
  return !has(item->set, before) && has(item->set, behind);
}

static int match_one(struct search *s, const struct mb_http_pattern_item *item, size_t *at) {
  switch (item->kind) {
    case OPEN:
      s->start[item->a] = *at;
      return 1;
    case CLOSE:
      s->size[item->a] = *at - s->start[item->a];
      return 1;
    case POSITION:
      s->size[item->a] = SIZE_MAX;
      return 1;
    case BACK:
      return match_back(s, item, at);
    case BALANCE:
      return match_balance(s, item, at);
    case FRONTIER:
      return match_frontier(s, item, *at);
    case END:
      return *at == s->text.size;
    default:
      if (!is_in(s, item, *at)) return 0;
      (*at)++;
      return 1;
  }
}

/*
 * Matches the items from `from` on at a place. Tries few repetitions before many: which of several matches is
 * found does not matter here. Goes a level deeper with each repeated class.
 */
static int match(struct search *s, size_t from, size_t at) {
  for (; from < s->pattern->count; from++) {
    const struct mb_http_pattern_item *item = &s->pattern->items[from];
    int found = 1;
    if (!step(s, 1)) return -1;
    if (!item->repeat || item->repeat == '+') found = match_one(s, item, &at);
    if (found <= 0) return found;
    if (!item->repeat) continue;
    size_t most = item->repeat == '?' ? at + 1 : SIZE_MAX;
    while ((found = match(s, from + 1, at)) == 0 && at < most && is_in(s, item, at)) at++;
    return found;
  }
  return 1;
}

int mb_http_pattern_find(const struct mb_http_pattern *pattern, struct mb_span text,
                         unsigned long *steps) {
  struct search s = {.pattern = pattern, .text = text, .steps = *steps};
  size_t last = pattern->anchored ? 0 : text.size;
  int found = 0;
  for (size_t at = 0; found == 0 && at <= last; at++) {
    found = step(&s, 1) ? match(&s, 0, at) : -1;
  }
  *steps = s.steps;
  return found;
}
