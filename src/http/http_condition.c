/* Compares what a client has with what there is. A malformed etag is like no other; a malformed date has no effect. */
#include "http/http_condition.h"

#include <string.h>

#include "http/http_date.h"

/* ---- etags ---- */

/*
 * Takes an etag from the front: [W/] and text in quotes, in which a backslash is a character as any other.
 * Returns whether there was one.
 */
static bool take_etag(struct mb_span *from, struct mb_span *ret_etag, bool *ret_is_weak) {
  *ret_is_weak = from->size >= 2 && from->data[0] == 'W' && from->data[1] == '/';
  if (*ret_is_weak) mb_http_take(from, 2);
  if (from->size < 2 || from->data[0] != '"') return false;
  const char *end = memchr(from->data + 1, '"', from->size - 1);
  if (!end) return false;
  *ret_etag = mb_http_take(from, (size_t)(end - from->data) + 1);
  return true;
}

static bool is_same(struct mb_span a, struct mb_span b) {
  return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/* Takes blanks and commas from the front. */
static void skip_separators(struct mb_span *list) {
  while (list->size > 0 && (mb_http_is_blank(list->data[0]) || list->data[0] == ','))
    mb_http_take(list, 1);
}

bool mb_http_etag_is_in(struct mb_span list, const struct mb_http_validators *v, bool strong) {
  struct mb_span etag;
  bool is_weak;
  if (strong && v->is_weak) return false;
  for (skip_separators(&list); take_etag(&list, &etag, &is_weak); skip_separators(&list)) {
    if (is_same(etag, v->etag) && !(strong && is_weak)) return true;
  }
  return false;
}

/* ---- fields ---- */

const struct mb_http_field *mb_http_head_only(const struct mb_http_head *head, const char *name) {
  const struct mb_http_field *only = NULL;
  for (unsigned i = 0; i < head->field_count; i++) {
    if (!mb_http_equals(head->fields[i].name, name)) continue;
    if (only) return NULL;
    only = &head->fields[i];
  }
  return only;
}

/* Returns whether a field with a list of etags, which may be in several lines, has this one, or is "*". */
static bool lists(const struct mb_http_head *head, const char *name,
                  const struct mb_http_validators *v, bool strong) {
  for (unsigned i = 0; i < head->field_count; i++) {
    struct mb_span value = head->fields[i].value;
    if (!mb_http_equals(head->fields[i].name, name)) continue;
    if (mb_http_equals(value, "*") || mb_http_etag_is_in(value, v, strong)) return true;
  }
  return false;
}

/* Reads the date of a field. Returns whether there is one. */
static bool date_of(const struct mb_http_head *head, const char *name, int64_t now, int64_t *ret) {
  const struct mb_http_field *field = mb_http_head_only(head, name);
  return field && mb_http_date_parse(field->value, now, ret);
}

enum mb_http_condition mb_http_conditions(const struct mb_http_head *head,
                                          const struct mb_http_validators *v, int64_t now) {
  int64_t date;
  if (mb_http_head_field(head, "if-match")) {
    if (!lists(head, "if-match", v, true)) return MB_HTTP_CONDITION_FAILED;
  } else if (date_of(head, "if-unmodified-since", now, &date)) {
    if (v->modified > date) return MB_HTTP_CONDITION_FAILED;
  }
  if (mb_http_head_field(head, "if-none-match")) {
    if (lists(head, "if-none-match", v, false)) return MB_HTTP_NOT_MODIFIED;
  } else if (date_of(head, "if-modified-since", now, &date)) {
    if (v->modified <= date) return MB_HTTP_NOT_MODIFIED;
  }
  return MB_HTTP_CONDITION_HOLDS;
}

bool mb_http_range_counts(const struct mb_http_head *head, const struct mb_http_validators *v,
                          int64_t now) {
  int64_t date;
  if (!mb_http_head_field(head, "if-range")) return true;
  const struct mb_http_field *field = mb_http_head_only(head, "if-range");
  if (!field || v->is_weak) return false;
  struct mb_span rest = field->value, etag;
  bool is_weak;
  if (take_etag(&rest, &etag, &is_weak))
    return rest.size == 0 && !is_weak && is_same(etag, v->etag);
  return mb_http_date_parse(field->value, now, &date) && date == v->modified;
}
