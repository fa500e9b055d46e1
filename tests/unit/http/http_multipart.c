/* src/http/http_multipart.c: the same events and the same content however a body is split; refusals, and
 * their reasons. */
#include "http/http_multipart.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/tap.h"

#define SPAN(text) ((struct mb_span){text, sizeof(text) - 1})

/* The result of reading a body: "[name|file name|content type]content;" for each part; "!" for the closing
 * delimiter; the refusal; "~" when the body may not end here. */
struct transcript {
  char text[65536];
  size_t size;
};

static void note(struct transcript *t, const char *data, size_t size) {
  if (size > sizeof t->text - t->size) tap_bail("the transcript is too long");
  memcpy(t->text + t->size, data, size);
  t->size += size;
}

static void note_text(struct transcript *t, const char *text) { note(t, text, strlen(text)); }

static void note_span(struct transcript *t, struct mb_span span) {
  if (span.data) {
    note(t, span.data, span.size);
  } else {
    note_text(t, "nil");
  }
}

static void note_event(struct transcript *t, const struct mb_multipart *m,
                       enum mb_multipart_event event) {
  char refusal[128];
  switch (event) {
    case MB_MULTIPART_MORE:
      break;
    case MB_MULTIPART_PART:
      note_text(t, "[");
      note_span(t, m->name);
      note_text(t, "|");
      note_span(t, m->file_name);
      note_text(t, "|");
      note_span(t, m->content_type);
      note_text(t, "]");
      break;
    case MB_MULTIPART_DATA:
      if (m->data.size == 0) note_text(t, "<empty data>");
      note(t, m->data.data, m->data.size);
      break;
    case MB_MULTIPART_END:
      note_text(t, ";");
      break;
    case MB_MULTIPART_CLOSED:
      note_text(t, "!");
      break;
    case MB_MULTIPART_REFUSED:
      snprintf(refusal, sizeof refusal, "%d %s", m->refusal.status, m->refusal.why);
      note_text(t, refusal);
      break;
  }
}

/* Feeds bytes in memory of exactly their size, so that a sanitizer sees a read behind them. */
static bool feed(struct mb_multipart *m, struct transcript *t, struct mb_span piece) {
  char *copy = malloc(piece.size + 1);
  if (!copy) tap_bail("no memory");
  char *start = copy + 1;
  memcpy(start, piece.data, piece.size);
  struct mb_span rest = {start, piece.size};
  enum mb_multipart_event event;
  do {
    event = mb_multipart_next(m, &rest);
    note_event(t, m, event);
  } while (event != MB_MULTIPART_MORE && event != MB_MULTIPART_REFUSED);
  if (event == MB_MULTIPART_MORE && rest.size > 0) note_text(t, "<more, but bytes are left>");
  if (event == MB_MULTIPART_REFUSED) {
    int status = m->refusal.status;
    event = mb_multipart_next(m, &rest);
    if (event != MB_MULTIPART_REFUSED || m->refusal.status != status) note_text(t, "<not final>");
  }
  free(copy);
  return event != MB_MULTIPART_REFUSED;
}

/* Reads a body in pieces. The first one has its own size, the others are all of one size. */
static void read_body(struct transcript *t, struct mb_span boundary, struct mb_span body,
                      size_t first, size_t piece) {
  static struct mb_multipart m;
  memset(&m, 0xa5, sizeof m);
  t->size = 0;
  mb_multipart_init(&m, boundary);
  bool going = true;
  size_t next = first;
  for (size_t at = 0; going && at < body.size; next = piece) {
    if (next > body.size - at) next = body.size - at;
    going = feed(&m, t, (struct mb_span){body.data + at, next});
    at += next;
  }
  if (going && !mb_multipart_is_closed(&m)) note_text(t, "~");
  if (!going && mb_multipart_is_closed(&m)) note_text(t, "<closed>");
}

static bool same(const struct transcript *a, const struct transcript *b) {
  return a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
}

/* Returns whether all ways to split the body give the transcript of the whole. */
static bool every_split(struct mb_span boundary, struct mb_span body,
                        const struct transcript *whole) {
  static struct transcript t;
  for (size_t piece = 1; piece <= 8; piece++) {
    read_body(&t, boundary, body, piece, piece);
    if (!same(&t, whole)) return false;
  }
  for (size_t first = 0; first <= body.size; first++) {
    read_body(&t, boundary, body, first, body.size);
    if (!same(&t, whole)) return false;
  }
  return true;
}

static void check(struct mb_span boundary, struct mb_span body, struct mb_span want,
                  const char *what) {
  static struct transcript whole;
  read_body(&whole, boundary, body, body.size, body.size);
  tap_bytes(whole.text, whole.size, want.data, want.size, "%s", what);
  tap_ok(every_split(boundary, body, &whole), "%s, however it is split", what);
}

#define CHECK(body, want, what) check(SPAN("bound"), SPAN(body), SPAN(want), what)

/* Checks a body of one part with these fields, which is refused or not. */
#define HEAD(fields, want, what) \
  CHECK("--bound\r\n" fields "\r\n\r\nx\r\n--bound--\r\n", want, what)
#define DISPOSITION(value, want, what) HEAD("Content-Disposition: " value, want, what)

#define A "Content-Disposition: form-data; name=\"a\"\r\n\r\n"
#define B "Content-Disposition: form-data; name=\"b\"\r\n\r\n"

static void bodies(void) {
  CHECK("--bound\r\n" A "one\r\n--bound\r\n" B "two\r\n--bound--\r\n",
        "[a|nil|nil]one;[b|nil|nil]two;!", "two parts");
  CHECK("--bound\r\n" A "one\r\n--bound--", "[a|nil|nil]one;!", "no CR LF behind the end");
  CHECK("--bound\r\n" A "one\r\n--bound--\r", "[a|nil|nil]one;!", "CR without its LF at the end");
  CHECK("\r\n--bound\r\n" A "one\r\n--bound--", "[a|nil|nil]one;!", "CR LF before the first one");
  CHECK("pre\r\n--boun\r\n--\r\r\namble\r\n--bound\r\n" A
        "one\r\n--bound--\r\nepi\r\n--bound\r\n"
        "\r\nlogue\0",
        "[a|nil|nil]one;!", "preamble and epilogue are passed over");
  CHECK("x--bound\r\n" A "one\r\n--bound\r\n" B "two\r\n--bound--", "[b|nil|nil]two;!",
        "a delimiter begins a line");
  CHECK("--bound--", "!", "no part at all");
  CHECK("--bound--\r\n", "!", "no part at all, and CR LF");
  CHECK("", "~", "empty body");
  CHECK("--boun", "~", "body that ends in the first delimiter");
  CHECK("--bound", "~", "body that ends behind the first delimiter");
  CHECK("--bound-", "~", "body that ends in the closing delimiter");
  CHECK("preamble only", "~", "body without a delimiter");
  CHECK("--bound\r\n" A "one", "[a|nil|nil]one~", "body that ends in content");
  CHECK("--bound\r\n" A "one\r\n--boun", "[a|nil|nil]one~", "body that ends in a delimiter");
  CHECK("--bound\r\n" A "one\r\n--bound", "[a|nil|nil]one~", "body that ends behind one");
  CHECK("--bound\r\n" A "one\r\n--bound\r\n", "[a|nil|nil]one;~", "body that ends before a head");
  CHECK("--bound\r\nContent-Disp", "~", "body that ends in a head");
  CHECK("--bound\r\n" A "\r\n--bound--", "[a|nil|nil];!", "part without content");
  CHECK("--bound\r\n" A "--bound--", "[a|nil|nil];!",
        "part without content whose delimiter has the head's CR LF");
  CHECK("--bound\r\n" A "--bound\r\n" B "\r\n--bound\r\n" A "--bound--",
        "[a|nil|nil];[b|nil|nil];[a|nil|nil];!", "several parts without content");
  CHECK("--bound\r\n" A "--bouncy\r\n--bound--", "[a|nil|nil]--bouncy;!",
        "content that begins nearly like that delimiter");
  CHECK("--bound\r\n" A "-\r\n--bound--", "[a|nil|nil]-;!", "content that is a dash");
  CHECK("--bound\r\n" A "\r\r\n--bound--", "[a|nil|nil]\r;!", "content that is CR");
  CHECK("--bound\r\n" A "\n\r\n--bound--", "[a|nil|nil]\n;!", "content that is LF");
  CHECK("--bound\r\n" A "\r\n\r\n--bound--", "[a|nil|nil]\r\n;!", "content that is CR LF");
  CHECK("--bound\r\n" A "\0\xff\0\r\n--bound--", "[a|nil|nil]\0\xff\0;!", "any byte is content");
  CHECK("--bound\r\n" A "a\r\n--boun\r\n--bounb\r\n-\r\n--\r\n--bound--",
        "[a|nil|nil]a\r\n--boun\r\n--bounb\r\n-\r\n--;!", "content that begins delimiters");
  CHECK("--bound\r\n" A "a\r\r\n\r\r\n--\r\n--boun\r\r\n--bound--",
        "[a|nil|nil]a\r\r\n\r\r\n--\r\n--boun\r;!", "a match that fails at another CR");
  CHECK("--bound\r\n" A "a--bound\n--bound\r--bound--\r\n --bound\r\n--BOUND\r\n--bound--",
        "[a|nil|nil]a--bound\n--bound\r--bound--\r\n --bound\r\n--BOUND;!",
        "only the delimiter itself ends content");
}

static void boundaries(void) {
  check(SPAN("aab"), SPAN("--aab\r\n" A "\r\n--aaab\r\n--aa\r\n--aab--"),
        SPAN("[a|nil|nil]\r\n--aaab\r\n--aa;!"), "a boundary that repeats its beginning");
  check(SPAN("--"), SPAN("----\r\n" A "-\r\n---\r\n--\r\n------"),
        SPAN("[a|nil|nil]-\r\n---\r\n--;!"), "a boundary of dashes");
  check(SPAN("-"), SPAN("---\r\n" A "\r\n--x\r\n-----"), SPAN("[a|nil|nil]\r\n--x;!"),
        "a boundary of one dash");
  check(SPAN("a b"), SPAN("--a b\r\n" A "x\r\n--a b--"), SPAN("[a|nil|nil]x;!"),
        "a boundary with a space");
#define SEVEN   "'()+_,-"
#define SEVENTY SEVEN SEVEN SEVEN SEVEN SEVEN SEVEN SEVEN SEVEN SEVEN "./:=?09"
  check(SPAN(SEVENTY), SPAN("--" SEVENTY "\r\n" A "x\r\n--" SEVENTY "--"), SPAN("[a|nil|nil]x;!"),
        "a boundary of 70 characters");
}

#define GARBAGE  "400 garbage behind a boundary"
#define BLANKS8  " \t \t \t \t"
#define BLANKS64 BLANKS8 BLANKS8 BLANKS8 BLANKS8 BLANKS8 BLANKS8 BLANKS8 BLANKS8
#define BLANKS   BLANKS64 BLANKS64 BLANKS64 BLANKS64

static void delimiter_lines(void) {
  CHECK("--bound \t \r\n" A "x\r\n--bound\t\r\n" B "y\r\n--bound-- \t\r\nepilogue",
        "[a|nil|nil]x;[b|nil|nil]y;!", "padding behind boundaries");
  CHECK("--bound-- ", "!", "padding at the end of the body");
  CHECK("--bound" BLANKS "\r\n" A "x\r\n--bound" BLANKS "\r\n" A "x\r\n--bound--" BLANKS "\r\n",
        "[a|nil|nil]x;[a|nil|nil]x;!", "256 bytes of padding each");
  CHECK("--bound" BLANKS " \r\n" A, "400 too much padding behind a boundary",
        "padding that is too long");
  CHECK("--bound\r\n" A "x\r\n--bound--" BLANKS "\t",
        "[a|nil|nil]x;!400 too much padding behind a boundary",
        "padding behind the end that is too long");
  CHECK("--boundary\r\n" A, GARBAGE, "a longer boundary");
  CHECK("--bound\r\n" A "x\r\n--bound2\r\n", "[a|nil|nil]x" GARBAGE, "a longer boundary later");
  CHECK("--bound\n" A, GARBAGE, "bare LF behind a boundary");
  CHECK("--bound\rx" A, GARBAGE, "bare CR behind a boundary");
  CHECK("--bound\r\r\n" A, GARBAGE, "two CR behind a boundary");
  CHECK("--bound x\r\n" A, GARBAGE, "text behind padding");
  CHECK("--bound --\r\n", GARBAGE, "padding before the closing dashes");
  CHECK("--bound\0\r\n", GARBAGE, "NUL behind a boundary");
  CHECK("--bound-\r\n", GARBAGE, "one dash behind a boundary");
  CHECK("--bound- -\r\n", GARBAGE, "a space between the closing dashes");
  CHECK("--bound--x\r\n", "!" GARBAGE, "text behind the closing delimiter");
  CHECK("--bound---\r\n", "!" GARBAGE, "a dash behind the closing delimiter");
  CHECK("--bound--\n", "!", "bare LF behind the closing delimiter");
  CHECK("--bound--\n--bound\r\n" A, "!", "and an epilogue");
  CHECK("--bound--\rx", "!", "bare CR behind the closing delimiter");
  CHECK("--bound-- \t\r", "!", "half a line end behind padding");
  CHECK("--bound-- \t\n", "!", "the other half");
  CHECK("--bound-- \tx", "!" GARBAGE, "text behind the padding of the closing delimiter");
  CHECK("--bound\r\n" A "x\r\n--bound-x", "[a|nil|nil]x" GARBAGE, "a part is not ended by garbage");
}

#define MALFORMED "400 malformed Content-Disposition of a part"
#define TWICE     "400 parameter twice in a Content-Disposition"

#define FORM "Content-Disposition: form-data; name=a"
#define X4   "X: y\r\nX: y\r\nX: y\r\nX: y\r\n"
#define X16  X4 X4 X4 X4

static void heads(void) {
  HEAD("content-disposition:FORM-Data;NAME=a", "[a|nil|nil]x;!", "no case, no blanks");
  HEAD("Content-Disposition: \t form-data ; name=a \t", "[a|nil|nil]x;!", "blanks around");
  HEAD(FORM "\r\nContent-Type: text/plain; charset=utf-8 \t",
       "[a|nil|text/plain; charset=utf-8]x;!", "Content-Type as it was sent");
  HEAD("CONTENT-TYPE: image/png\r\n" FORM, "[a|nil|image/png]x;!", "Content-Type first");
  HEAD(FORM "\r\nContent-Type:", "[a|nil|]x;!", "empty Content-Type");
  HEAD(FORM "\r\nX-Other: a\xc3\xa4\tb\r\nContent-Transfer-Encoding: 8bit", "[a|nil|nil]x;!",
       "other fields are passed over");
  CHECK("--bound\r\n" FORM "\r\nContent-Type: a/b\r\n\r\nx\r\n--bound\r\n" A "y\r\n--bound--",
        "[a|nil|a/b]x;[a|nil|nil]y;!", "the next part has a head of its own");
  HEAD("Content-Type: text/plain", "400 part without Content-Disposition",
       "no Content-Disposition");
  CHECK("--bound\r\n\r\nx\r\n--bound--", "400 part without Content-Disposition", "no field at all");
  CHECK("--bound  \r\n\r\nx", "400 part without Content-Disposition", "none behind padding");
  CHECK("--bound\r\n--bound\r\n\r\n", "400 field line without a colon in the head of a part",
        "a delimiter directly behind another");
  CHECK("--bound\r\n\r\n--bound--", "400 part without Content-Disposition",
        "a delimiter behind an empty head");
  HEAD(FORM "\r\nContent-Disposition: form-data; name=b", "400 field twice in the head of a part",
       "Content-Disposition twice");
  HEAD(FORM "\r\nContent-Type: a/b\r\ncontent-type: a/b", "400 field twice in the head of a part",
       "Content-Type twice");
  HEAD(FORM "\nX: y", "400 bare LF in the head of a part", "bare LF");
  HEAD("\n" FORM, "400 bare LF in the head of a part", "bare LF at the beginning");
  CHECK("--bound\r\n" FORM "\r\n\nx", "400 bare LF in the head of a part", "bare LF as empty line");
  HEAD(FORM "\r\r", "400 control character in the head of a part", "bare CR at the end of a line");
  HEAD(FORM "\rX: y", "400 control character in the head of a part", "bare CR");
  HEAD(FORM "\r\n\r", "400 field line without a colon in the head of a part", "a line of bare CR");
  HEAD(FORM "\0", "400 control character in the head of a part", "NUL");
  HEAD(FORM "\r\nX: \x7f", "400 control character in the head of a part", "DEL in another field");
  HEAD("Content-Disposition: form-data;\r\n name=a", "[a|nil|nil]x;!", "folded line");
  HEAD(
      "Content-Disposition:\r\n\tform-data\r\n ;\r\n  name\r\n =\r\n \"a\"\r\n "
      "\r\nContent-Type:\r\n a/b",
      "[a|nil|a/b]x;!", "lines folded wherever that is possible");
  HEAD(FORM "; filename=\"a long\r\n file\r\n\tname\"", "[a|a long file\tname|nil]x;!",
       "a fold within a quoted value leaves its blank");
  HEAD(FORM "\r\n\tX: y", MALFORMED, "a fold that adds a field to a value");
  HEAD(" " FORM, "400 bad field name in the head of a part", "a blank before the first line");
  HEAD(X16 X4 X4 X4 "X: y\r\n y\r\nX: y\r\nX: y\r\n" FORM, "[a|nil|nil]x;!",
       "32 fields, one of them in two lines");
  HEAD("X: y\r\n \x01\r\n" FORM, "400 control character in the head of a part",
       "control character in a folded line");
  HEAD("nothing", "400 field line without a colon in the head of a part", "line without a colon");
  HEAD(": y", "400 bad field name in the head of a part", "field without a name");
  HEAD("Content-Disposition : form-data; name=a", "400 bad field name in the head of a part",
       "space before the colon");
  HEAD("X(: y", "400 bad field name in the head of a part", "no token");
  HEAD(X16 X4 X4 X4 "X: y\r\nX: y\r\nX: y\r\n" FORM, "[a|nil|nil]x;!", "32 fields");
  HEAD(X16 X16 FORM, "413 too many fields in the head of a part", "33 fields");
}

static void head_size(void) {
  static const char begin[] = "--bound\r\n" FORM "\r\nX: ";
  for (size_t more = 0; more < 2; more++) {
    char body[9000];
    size_t fields = sizeof begin - 1 - strlen("--bound\r\n");
    size_t fill = MB_MULTIPART_HEAD_MAX - 4 - fields + more;
    memcpy(body, begin, sizeof begin - 1);
    size_t size = sizeof begin - 1;
    memset(body + size, 'y', fill);
    size += fill;
    memcpy(body + size, "\r\n\r\nx\r\n--bound--", 16);
    check(SPAN("bound"), (struct mb_span){body, size + 16},
          more ? SPAN("413 head of a part too long") : SPAN("[a|nil|nil]x;!"),
          more ? "a head of 8193 bytes" : "a head of 8192 bytes");
  }
}

static void dispositions(void) {
  DISPOSITION("form-data; name=\"a\"; filename=\"f.txt\"", "[a|f.txt|nil]x;!", "a file");
  DISPOSITION("form-data; filename=f.txt; name=a", "[a|f.txt|nil]x;!",
              "tokens, the other way round");
  DISPOSITION("form-data; name=a; filename=\"\"", "[a||nil]x;!", "empty file name");
  DISPOSITION("form-data; name=\"\"", "[|nil|nil]x;!", "empty name");
  DISPOSITION("form-data; name=\"a;b=c, d: \xc3\xa4\t\"", "[a;b=c, d: \xc3\xa4\t|nil|nil]x;!",
              "what is quoted is text");
  DISPOSITION("form-data; ; name=a;; size=5 ;", "[a|nil|nil]x;!",
              "empty parameters and unknown ones are passed over");
  DISPOSITION("form-data;name=\"a\\\"b\\\\c\\d\\\\\"", "[a\"b\\c\\d\\|nil|nil]x;!",
              "a backslash escapes a quote and itself only");
  DISPOSITION("form-data;name=a;filename=\"C:\\dir\\f.txt\"", "[a|C:\\dir\\f.txt|nil]x;!",
              "a path of Windows");
  DISPOSITION("form-data;name=\"a%22b%0D%0A%0d%0ac\"", "[a\"b\r\n\r\nc|nil|nil]x;!",
              "quote, CR and LF as the HTML standard writes them");
  DISPOSITION("form-data;name=a;filename=\"%22%0d%0A\"", "[a|\"%0d%0A|nil]x;!",
              "in file names, the quote only");
  DISPOSITION("form-data;name=\"%41%00%2522%0%2%%0\"", "[%41%00%2522%0%2%%0|nil|nil]x;!",
              "no other percent-encoding");
  DISPOSITION("form-data;name=\"\\\\%22\\%22\"", "[\\\"\\\"|nil|nil]x;!",
              "percent-encoding behind a backslash");
  DISPOSITION("form-data;name=%22;filename=%0d", "[%22|%0d|nil]x;!", "none in tokens");
  DISPOSITION("form-data", "400 part without a name", "no name");
  DISPOSITION("form-data; filename=f", "400 part without a name", "file without a name");
  DISPOSITION("form-data; name*=UTF-8''a", "400 part without a name", "name* is no name");
  DISPOSITION("form-data; name=a; name=a", TWICE, "name twice");
  DISPOSITION("form-data; name=\"\"; NAME=a", TWICE, "name twice, once empty");
  DISPOSITION("form-data; name=a; filename=b; filename=b", TWICE, "filename twice");
  DISPOSITION("form-data; name=a; filename*=utf-8''b; filename*=utf-8''b", TWICE,
              "filename* twice");
  DISPOSITION("attachment; name=a", "400 part whose Content-Disposition is not form-data",
              "another disposition");
  DISPOSITION("", "400 part whose Content-Disposition is not form-data", "empty disposition");
  DISPOSITION("form-datax; name=a", "400 part whose Content-Disposition is not form-data",
              "a longer disposition");
  DISPOSITION("form-data, name=a", "400 part whose Content-Disposition is not form-data",
              "a comma for a semicolon");
  DISPOSITION("form-data; name", MALFORMED, "parameter without a value");
  DISPOSITION("form-data; name=", MALFORMED, "empty token");
  DISPOSITION("form-data; name=;filename=f", MALFORMED, "empty token before others");
  DISPOSITION("form-data; =a", MALFORMED, "parameter without a name");
  DISPOSITION("form-data; name = \"a\";filename\t=f", "[a|f|nil]x;!",
              "blanks around the equals sign");
  DISPOSITION("form-data; name=a b", MALFORMED, "two tokens");
  DISPOSITION("form-data; name=a/b", MALFORMED, "no token");
  DISPOSITION("form-data; name=\xc3\xa4", MALFORMED, "no token: not ASCII");
  DISPOSITION("form-data; name=a\"b\"", MALFORMED, "a quote in a token");
  DISPOSITION("form-data; name=\"a\"b", MALFORMED, "a token behind a quoted value");
  DISPOSITION("form-data; name=\"a\" filename=f", MALFORMED, "no semicolon between parameters");
  DISPOSITION("form-data; name=\"a", MALFORMED, "a quote that is not closed");
  DISPOSITION("form-data; name=\"dir\\\"", "[dir\\|nil|nil]x;!",
              "a backslash before the closing quote, as browsers write it");
  DISPOSITION("form-data; name=\"a\\\"; filename=\"b\\\\\\\"", "[a\\|b\\\\\\|nil]x;!",
              "no backslash escapes then");
  DISPOSITION("form-data; name=\"a\\\"; filename=\\\"b\"", "[a\"; filename=\"b|nil|nil]x;!",
              "quotes behind backslashes, as others than browsers write them");
  DISPOSITION("form-data; name=a; filename=\"\\\"b\\\\c\\\"\"", "[a|\"b\\c\"|nil]x;!",
              "a file name that is quoted itself");
  DISPOSITION("form-data; name=\"a\\\"; filename=\"b\\\"c\"", MALFORMED,
              "neither way makes sense of it");
  DISPOSITION("form-data; name=\"a\\\" b", MALFORMED, "nor of this");
  DISPOSITION("form-data; name=\"", MALFORMED, "a quote and nothing else");
}

/* Checks the part of a filename* that cannot be read: filename counts, if there is one. */
static void unreadable(const char *value, const char *what) {
  char body[256];
  for (int beside = 0; beside < 2; beside++) {
    int size = snprintf(body, sizeof body,
                        "--bound\r\nContent-Disposition: form-data;name=a;filename*=%s%s\r\n\r\n"
                        "x\r\n--bound--",
                        value, beside ? ";filename=\"g\"" : "");
    check(SPAN("bound"), (struct mb_span){body, (size_t)size},
          beside ? SPAN("[a|g|nil]x;!") : SPAN("[a|nil|nil]x;!"), what);
  }
}

static void extended(void) {
  DISPOSITION("form-data;name=a;filename*=UTF-8''%c3%A4%20b", "[a|\xc3\xa4 b|nil]x;!",
              "filename* in UTF-8");
  DISPOSITION("form-data;name=a;filename*=iso-8859-1'de'%e4%A0%FF%41b",
              "[a|\xc3\xa4\xc2\xa0\xc3\xbf"
              "Ab|nil]x;!",
              "filename* in ISO-8859-1");
  DISPOSITION("form-data;name=a;filename*=utf-8'en'f;filename=g", "[a|f|nil]x;!",
              "filename* wins over filename");
  DISPOSITION("form-data;name=a;filename=g;filename*=utf-8''f", "[a|f|nil]x;!",
              "filename* wins when it comes last");
  DISPOSITION("form-data;name=a;filename=g;filename*=utf-8''", "[a||nil]x;!", "empty filename*");
  DISPOSITION(
      "form-data;name=a;filename*=utf-8''%C2%A0%DF%BF%E0%A0%80%ED%9F%BF%EE%80%80%F4%8F%BF%BF",
      "[a|\xc2\xa0\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf|nil]x;!",
      "the ends of the ranges of UTF-8");
  unreadable("f", "filename* without a character set");
  unreadable("utf-8'f", "filename* without a language");
  unreadable("\"utf-8''f\"", "filename* in quotes");
  unreadable("utf-8''a'b", "a quote too many");
  unreadable("utf-8''a*b", "no attr-char");
  unreadable("utf-8''a/b", "no token");
  unreadable("utf-8''\xc3\xa4", "a byte that was not escaped");
  unreadable("utf-8''%", "half an escape");
  unreadable("utf-8''%4", "two thirds of an escape");
  unreadable("utf-8''%4g", "an escape that is none");
  unreadable("utf-8''f%00", "NUL in a file name");
  unreadable("utf-8''f%0d%0ag", "a line end in a file name");
  unreadable("iso-8859-1''f%0ag", "a line end in ISO-8859-1");
  unreadable("utf-8''f%1b%5b", "an escape for a terminal");
  unreadable("utf-8''%7f", "DEL");
  unreadable("utf-8''%c2%9b", "a control character of two bytes");
  unreadable("iso-8859-1''%9b", "the same in ISO-8859-1");
  unreadable("utf-8''%ff", "a byte that UTF-8 never has");
  unreadable("utf-8''%80", "the second byte of a character alone");
  unreadable("utf-8''f%c3", "half a character at the end");
  unreadable("utf-8''%c3f", "half a character");
  unreadable("utf-8''%c0%af", "two bytes for a character of one");
  unreadable("utf-8''%e0%9f%bf", "three bytes for a character of two");
  unreadable("utf-8''%f0%8f%bf%bf", "four bytes for a character of three");
  unreadable("utf-8''%ed%a0%80", "a surrogate");
  unreadable("utf-8''%f4%90%80%80", "a character behind the last one");
  unreadable("koi8-r''f", "another character set");
  unreadable("''f", "empty character set");
  DISPOSITION("form-data;name=a;filename*=koi8-r''f;filename*=utf-8''g", TWICE,
              "filename* twice, once unreadable");
}

#define TYPE "multipart/form-data"

static void content_type(struct mb_span value, int want_size, const char *want) {
  char buffer[MB_MULTIPART_BOUNDARY_MAX];
  int size = mb_multipart_boundary(value, buffer);
  char what[128] = "";
  for (size_t i = 0; i < value.size && i < sizeof what - 1; i++) {
    what[i] = value.data[i] > ' ' && value.data[i] <= '~' ? value.data[i] : '.';
  }
  tap_int(size, want_size, "boundary of '%s'", what);
  if (size == want_size && size > 0) {
    tap_bytes(buffer, (size_t)size, want, (size_t)want_size, "it is %s", want);
  }
}

static void content_types(void) {
  content_type(SPAN(TYPE "; boundary=abc"), 3, "abc");
  content_type(SPAN("\tMultipart/Form-Data ;BOUNDARY=\"a b:c\" ; charset=utf-8 "), 5, "a b:c");
  content_type(SPAN(TYPE "; charset=\"a;boundary=b\"; boundary=abc;"), 3, "abc");
  content_type(SPAN(TYPE "; boundary=----=_Part_1/2:(3)?"), 19, "----=_Part_1/2:(3)?");
  content_type(SPAN(TYPE "; boundary = \t/"), 1, "/");
  content_type(SPAN(TYPE "; boundary=\"\\a\\-\\/b\""), 4, "a-/b");
  content_type(SPAN(TYPE "; boundary=\"a\\ \""), -1, NULL);
  content_type(SPAN(TYPE "; boundary=\"a\\\"b\""), -1, NULL);
  content_type(SPAN(TYPE "; boundary=\"a\\\\b\""), -1, NULL);
  content_type(SPAN(TYPE "; boundary=a\\-b"), -1, NULL);
  content_type(SPAN(TYPE "; boundary=" SEVENTY), 70, SEVENTY);
  content_type(SPAN(TYPE "; boundary=\"" SEVENTY "\""), 70, SEVENTY);
  content_type(SPAN(TYPE "; boundary=" SEVENTY "x"), -1, NULL);
  content_type(SPAN(TYPE), -1, NULL);
  content_type(SPAN(TYPE ";"), -1, NULL);
  content_type(SPAN(TYPE "; boundary"), -1, NULL);
  content_type(SPAN(TYPE "; boundary="), -1, NULL);
  content_type(SPAN(TYPE "; boundary=\"\""), -1, NULL);
  content_type(SPAN(TYPE "; boundary=\" \""), -1, NULL);
  content_type(SPAN(TYPE "; boundary=\"a \""), -1, NULL);
  content_type(SPAN(TYPE "; boundary=\"a"), -1, NULL);
  content_type(SPAN(TYPE "; boundary=a\"b\""), -1, NULL);
  content_type(SPAN(TYPE "; boundary=a; boundary=a"), -1, NULL);
  content_type(SPAN(TYPE "; boundary=a b"), -1, NULL);
  content_type(SPAN(TYPE "; boundary=a@b"), -1, NULL);
  content_type(SPAN(TYPE "; boundary=a*"), -1, NULL);
  content_type(SPAN(TYPE "; boundary=\"a;b\""), -1, NULL);
  content_type(SPAN(TYPE "; boundary=a, b=c/d;e"), -1, NULL);
  content_type(SPAN(TYPE "; a=b"), -1, NULL);
  content_type(SPAN(TYPE "; boundary=a\xc3\xa4"), -1, NULL);
  content_type(SPAN(TYPE "; boundary=\"a\r\nb\""), -1, NULL);
  content_type(SPAN(TYPE "; boundary=\"a\0b\""), -1, NULL);
  content_type(SPAN(TYPE "; boundary=a; charset"), -1, NULL);
  content_type(SPAN(TYPE "; boundary=\"a\"charset=b"), -1, NULL);
  content_type(SPAN(TYPE "; charset=a\"; boundary=b"), -1, NULL);
  content_type(SPAN(""), 0, NULL);
  content_type((struct mb_span){NULL, 0}, 0, NULL);
  content_type(SPAN("text/plain; boundary=a"), 0, NULL);
  content_type(SPAN(TYPE "x; boundary=a"), 0, NULL);
  content_type(SPAN("multipart/mixed; boundary=a"), 0, NULL);
  content_type(SPAN("application/x-www-form-urlencoded"), 0, NULL);
}

/* Content is made of pieces of delimiters. A search that is too simple to be wrong has to agree. */
static void random_content(void) {
  static const char *const words[] = {"\r", "\n", "\r\n", "-", "--", "aab", "a", "\r\n--aa", "x"};
  static struct transcript whole;
  unsigned long random = 1;
  const int step = (int)tap_step(10);
  bool right = true, split = true;
  for (int round = 0; round < 3000; round += step) {
    char body[512] = "--aab\r\n" A, want[512] = "[a|nil|nil]";
    const size_t start = strlen(body);
    for (int i = 0; i < 20; i++) {
      random = (random * 1103515245 + 12345) & 0x7fffffff;
      strcat(body, words[(random >> 16) % (sizeof words / sizeof *words)]);
    }
    strcat(body, "\r\n--aab--");
    const char *end = strstr(body + start - 2, "\r\n--aab");
    size_t size = end < body + start ? 0 : (size_t)(end - body) - start;
    strncat(want, body + start, size);
    struct mb_span text = {body, strlen(body)};
    read_body(&whole, SPAN("aab"), text, text.size, text.size);
    right = right && whole.size > strlen(want) && memcmp(whole.text, want, strlen(want)) == 0;
    char behind = whole.size > strlen(want) ? whole.text[strlen(want)] : '\0';
    right = right && (behind == ';' || behind == '4');
    split = split && every_split(SPAN("aab"), text, &whole);
  }
  tap_ok(right, "content that is much like delimiters ends at the first one");
  tap_ok(split, "however it is split");
}

/* Content is reported where it lies, and as much as there is. */
static void pieces(void) {
  static struct mb_multipart m;
  static const char body[] = "--bound\r\n" A "content\r\n--bound--";
  struct mb_span rest = SPAN(body);
  mb_multipart_init(&m, SPAN("bound"));
  tap_int(mb_multipart_next(&m, &rest), MB_MULTIPART_PART, "a part begins");
  const char *content = rest.data;
  tap_int(mb_multipart_next(&m, &rest), MB_MULTIPART_DATA, "its content");
  tap_ok(m.data.data == content, "is not copied");
  tap_bytes(m.data.data, m.data.size, "content", 7, "and in one piece");
  tap_int(mb_multipart_next(&m, &rest), MB_MULTIPART_END, "the part ends");
  tap_ok(mb_multipart_is_closed(&m), "and with it the body, before that is reported");
  rest = (struct mb_span){NULL, 0};
  tap_int(mb_multipart_next(&m, &rest), MB_MULTIPART_CLOSED, "which needs no more bytes");
  tap_int(mb_multipart_next(&m, &rest), MB_MULTIPART_MORE, "nothing is to come");
}

int main(void) {
  bodies();
  boundaries();
  delimiter_lines();
  heads();
  head_size();
  dispositions();
  extended();
  content_types();
  random_content();
  pieces();
  return tap_done();
}
