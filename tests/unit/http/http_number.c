/* src/http/http_number.c: numbers as text are those of printf. */
#include "http/http_number.h"

#include <inttypes.h>
#include <stdio.h>

#include "../../lib/tap.h"

static const uint64_t numbers[] = {
    0,    1,         9,          10,     15,         16,         99,         100,       255,
    4096, 123456789, UINT32_MAX, 999999, UINT64_MAX, 1ULL << 63, 1ULL << 40, 1000000000};

int main(void) {
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    char want[64], decimal[MB_HTTP_NUMBER_MAX], hex[MB_HTTP_CHUNK_SIZE_MAX];
    char line[MB_HTTP_LENGTH_LINE_MAX];
    size_t len = (size_t)snprintf(want, sizeof want, "%" PRIu64, numbers[i]);
    tap_bytes(decimal, mb_http_number(decimal, numbers[i], 10), want, len, "%s", want);
    len = (size_t)snprintf(want, sizeof want, "Content-Length: %" PRIu64 "\r\n", numbers[i]);
    tap_bytes(line, mb_http_length_line(line, numbers[i]), want, len, "as a length");
    len = (size_t)snprintf(want, sizeof want, "%" PRIx64 "\r\n", numbers[i]);
    tap_bytes(hex, mb_http_chunk_size_line(hex, numbers[i]), want, len, "as the size of a chunk");
  }
  return tap_done();
}
