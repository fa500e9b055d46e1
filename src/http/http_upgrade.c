/* Reads Upgrade, of which a request may have several lines, beside Connection. */
#include "http/http_upgrade.h"

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c; }

/* Returns whether the spans are the same, in any case. */
static bool same(struct mb_span a, struct mb_span b) {
  if (a.size != b.size) return false;
  for (size_t i = 0; i < a.size; i++) {
    if (lower(a.data[i]) != lower(b.data[i])) return false;
  }
  return true;
}

/* Returns whether a field of the request, in one of its lines, has the element; NULL: any element. */
static bool has(const struct mb_http_head *head, const char *name, const struct mb_span *wanted) {
  for (unsigned i = 0; i < head->field_count; i++) {
    struct mb_span list = head->fields[i].value, element;
    if (!mb_http_equals(head->fields[i].name, name)) continue;
    while (mb_http_list_next(&list, &element)) {
      if (!wanted || same(element, *wanted)) return true;
    }
  }
  return false;
}

const char *mb_http_upgrade_wrong(const struct mb_http_head *head) {
  static const struct mb_span option = {"upgrade", 7};
  if (head->minor == 0) return "an HTTP/1.0 client cannot change the protocol";
  if (!has(head, "upgrade", NULL)) return "the client has not sent Upgrade";
  if (!has(head, "connection", &option)) {
    return "the client has sent Upgrade without Connection: upgrade";
  }
  return NULL;
}

bool mb_http_upgrade_offered(const struct mb_http_head *head, struct mb_span protocols) {
  struct mb_span protocol;
  bool some = false;
  while (mb_http_list_next(&protocols, &protocol)) {
    if (!has(head, "upgrade", &protocol)) return false;
    some = true;
  }
  return some;
}
