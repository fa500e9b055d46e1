/* src/base/encoding.c: the vectors of RFC 4648, each byte, each kind of wrong text. */
#include "base/encoding.h"

#include <string.h>

#include "../../lib/tap.h"

/* RFC 4648, section 10, and bytes whose digits differ between the kinds. */
static const struct {
  const char *bytes, *base64, *url, *hex;
} vectors[] = {
    {"", "", "", ""},
    {"f", "Zg==", "Zg", "66"},
    {"fo", "Zm8=", "Zm8", "666f"},
    {"foo", "Zm9v", "Zm9v", "666f6f"},
    {"foob", "Zm9vYg==", "Zm9vYg", "666f6f62"},
    {"fooba", "Zm9vYmE=", "Zm9vYmE", "666f6f6261"},
    {"foobar", "Zm9vYmFy", "Zm9vYmFy", "666f6f626172"},
    {"\xfb\xff", "+/8=", "-_8", "fbff"},
    {"\x14\xfb\x9c\x03\xd9\x7e", "FPucA9l+", "FPucA9l-", "14fb9c03d97e"}, /* RFC 3548 */
};

/* Checks both directions for one kind. */
static void try_vector(const char *bytes, const char *text, enum mb_base64 kind) {
  char encoded[64];
  unsigned char decoded[64];
  size_t len = strlen(bytes), size = mb_base64_size(len, kind), at, got;
  tap_int((long long)size, (long long)strlen(text), "the size of %s", text);
  mb_base64_encode(encoded, bytes, len, kind);
  tap_bytes(encoded, size, text, strlen(text), "encoded: %s", text);
  tap_str(mb_base64_decode(decoded, text, strlen(text), kind, &got, &at), NULL, "%s is right",
          text);
  tap_bytes(decoded, got, bytes, len, "decoded: %s", text);
}

static void try_hex(const char *bytes, const char *text) {
  char encoded[64];
  unsigned char decoded[64];
  size_t at, len = strlen(bytes);
  mb_hex_encode(encoded, bytes, len);
  tap_bytes(encoded, 2 * len, text, strlen(text), "hex: %s", text);
  tap_str(mb_hex_decode(decoded, text, strlen(text), &at), NULL, "%s is right", text);
  tap_bytes(decoded, strlen(text) / 2, bytes, len, "from hex: %s", text);
}

/* What has to be refused, and at which position. */
static const struct {
  const char *text;
  enum mb_base64 kind;
  size_t at;
  const char *what;
} wrong[] = {
    {"Q", MB_BASE64, 1, "a digit too many"}, {"QUJDR", MB_BASE64_URL, 5, "a digit too many"},
    {"QQ", MB_BASE64, 2, "= is missing"},    {"QQ=", MB_BASE64, 3, "= is missing"},
    {"QUI", MB_BASE64, 3, "= is missing"},   {"QUJD=", MB_BASE64, 4, "= where none"},
    {"QUI==", MB_BASE64, 3, "= where none"}, {"QUJD==", MB_BASE64, 4, "= where none"},
    {"=", MB_BASE64, 0, "= where none"},     {"====", MB_BASE64, 0, "no digit"},
    {"QQ===", MB_BASE64, 2, "no digit"},     {"QQ==QQ==", MB_BASE64, 2, "no digit"},
    {"QQ==", MB_BASE64_URL, 2, "no digit"},  {"QR==", MB_BASE64, 1, "bits"},
    {"QUJ=", MB_BASE64, 2, "bits"},          {"QR", MB_BASE64_URL, 1, "bits"},
    {"QUJ", MB_BASE64_URL, 2, "bits"},       {"-_8=", MB_BASE64, 0, "no digit"},
    {"+/8", MB_BASE64_URL, 0, "no digit"},   {" QQ==", MB_BASE64, 0, "no digit"},
    {"QU\nJD", MB_BASE64, 2, "no digit"},    {"QUJD\n", MB_BASE64, 4, "no digit"},
};

/* Each byte that is a digit has its value, and no other byte is one. */
static void try_bytes(enum mb_base64 kind, const char *digits) {
  unsigned failures = 0;
  for (int c = 0; c < 256; c++) {
    unsigned char decoded[16];
    char text[4] = {'A', 'A', 'A', (char)c};
    size_t len, at;
    const char *is_wrong = mb_base64_decode(decoded, text, 4, kind, &len, &at);
    const char *digit = c ? strchr(digits, c) : NULL;
    if (digit) {
      failures += is_wrong || len != 3 || decoded[2] != digit - digits;
    } else if (kind != MB_BASE64 || c != '=') {
      failures += !is_wrong || at != 3;
    }
  }
  tap_int(failures, 0, "each byte as a digit of kind %d", kind);
}

static void try_wrong_hex(const char *text, size_t at, const char *what) {
  unsigned char decoded[16];
  size_t got = 0;
  const char *why = mb_hex_decode(decoded, text, strlen(text), &got);
  tap_ok(why && strstr(why, what), "hex \"%s\": %s", tap_printable(text, strlen(text)), what);
  tap_int((long long)got, (long long)at, "and where");
}

int main(void) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  char digits[65];
  for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
    try_vector(vectors[i].bytes, vectors[i].base64, MB_BASE64);
    try_vector(vectors[i].bytes, vectors[i].url, MB_BASE64_URL);
    try_hex(vectors[i].bytes, vectors[i].hex);
  }
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    unsigned char decoded[64];
    size_t len = 99, at = 99, size = strlen(wrong[i].text);
    const char *why = mb_base64_decode(decoded, wrong[i].text, size, wrong[i].kind, &len, &at);
    tap_ok(why && strstr(why, wrong[i].what), "\"%s\": %s, got: %s",
           tap_printable(wrong[i].text, size), wrong[i].what, why ? why : "nothing");
    tap_int((long long)at, (long long)wrong[i].at, "and where");
    tap_int((long long)len, 99, "and no size");
  }
  memcpy(digits, letters, 62);
  memcpy(digits + 62, "+/", 3);
  try_bytes(MB_BASE64, digits);
  memcpy(digits + 62, "-_", 3);
  try_bytes(MB_BASE64_URL, digits);
  try_wrong_hex("0", 1, "half of a byte");
  try_wrong_hex("abc", 3, "half of a byte");
  try_wrong_hex("0g", 1, "no digit");
  try_wrong_hex("@0", 0, "no digit");
  try_wrong_hex("0x00", 1, "no digit");
  try_wrong_hex("00 00", 2, "no digit");
  unsigned char decoded[4];
  size_t at;
  tap_str(mb_hex_decode(decoded, "aBFf", 4, &at), NULL, "either case");
  tap_bytes(decoded, 2, "\xab\xff", 2, "and its value");
  return tap_done();
}
