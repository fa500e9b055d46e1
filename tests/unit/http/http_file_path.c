/* src/http/http_file_path.c, http_media.c: the path of a URL becomes that of a file, which stays below its directory; and
 * its media type. */
#include "http/http_file_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/tap.h"
#include "http/http_media.h"

/* The result as text: "/a/b", with "/" behind it for a directory and "~" for a hidden one; or the status. */
static const char *convert(const char *path, size_t size, bool decoded) {
  static char text[256];
  struct mb_http_file_path found = {9999, true, true};
  char *to = malloc(size + 2), *from = malloc(size > 0 ? size : 1); /* a sanitizer sees more */
  if (!to || !from) tap_bail("no memory");
  memcpy(from, path, size);
  int status = mb_http_file_path(to, (struct mb_span){from, size}, decoded, &found);
  if (status != 0) {
    snprintf(text, sizeof text, "%d", status);
  } else {
    if (strlen(to) != found.size) tap_ok(false, "%s: the size is that of the text", path);
    snprintf(text, sizeof text, "%s%s%s", to, found.is_directory ? "/" : "",
             found.is_hidden ? "~" : "");
  }
  free(from);
  free(to);
  return text;
}

static const struct {
  const char *path, *want,
      *decoded; /* decoded: what comes of it when it is decoded already; NULL: the same */
} cases[] = {
    {"", "./", NULL},
    {"a", "a", NULL},
    {"a/", "a/", NULL},
    {"a/b", "a/b", NULL},
    {"a/b/", "a/b/", NULL},
    {"a+b", "a+b", NULL},
    {"a%20b", "a b", "a%20b"},
    {"%61/%62/", "a/b/", "%61/%62/"},
    {"a%252e", "a%2e", "a%252e"},
    {"...", "...~", NULL},
    {".a", ".a~", NULL},
    {"a/.b/c", "a/.b/c~", NULL},
    {"%2ea", ".a~", "%2ea"},
    {".well-known/x", ".well-known/x", NULL},
    {".well-known/.x", ".well-known/.x~", NULL},
    {"a/.well-known/x", "a/.well-known/x~", NULL},
    {".well-known2", ".well-known2~", NULL},
    {"a..b/..c", "a..b/..c~", NULL},
    /* no file can have such a name */
    {"..", "400", NULL},
    {".", "400", NULL},
    {"../a", "400", NULL},
    {"a/..", "400", NULL},
    {"a/../b", "400", NULL},
    {"a/./b", "400", NULL},
    {"%2e%2e/a", "400", "%2e%2e/a"},
    {".%2e", "400", ".%2e~"},
    {"a%2fb", "400", "a%2fb"},
    {"a%2Fb", "400", "a%2Fb"},
    {"%2f", "400", "%2f"},
    {"a%00", "400", "a%00"},
    {"%00", "400", "%00"},
    /* another name of the same file */
    {"/", "404", NULL},
    {"/a", "404", NULL},
    {"//", "404", NULL},
    {"a//b", "404", NULL},
    {"a//", "404", NULL},
};

static void has_type(const char *extension, const char *want) {
  tap_str(mb_http_media_type((struct mb_span){extension, strlen(extension)}), want, ".%s",
          extension);
}

int main(void) {
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *path = cases[i].path, *want = cases[i].want;
    tap_str(convert(path, strlen(path), false), want, "\"%s\"", path);
    tap_str(convert(path, strlen(path), true), cases[i].decoded ? cases[i].decoded : want,
            "\"%s\", decoded already", path);
  }
  tap_str(convert("a\0b", 3, true), "400", "a NUL in a decoded path");
  tap_str(convert("\0", 1, true), "400", "nothing but a NUL");
  has_type("html", "text/html");
  has_type("7z", "application/x-7z-compressed");
  has_type("zst", "application/zstd");
  has_type("JPEG", "image/jpeg");
  has_type("webmanifest", "application/manifest+json");
  has_type("js", "text/javascript");
  has_type("woff2", "font/woff2");
  has_type("", NULL);
  has_type("htm ", NULL);
  has_type("unheard-of-extension", NULL);
  return tap_done();
}
