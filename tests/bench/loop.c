/* mb-handle is compared with this, the plainest C loop over 64 KiB: loop echo|drain, on fd 0. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char buffer[65536];

static int put(const char *data, size_t len) {
  while (len > 0) {
    ssize_t n = write(0, data, len);
    if (n < 0) return -1;
    data += n;
    len -= (size_t)n;
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  int echo = strcmp(argv[1], "echo") == 0;
  unsigned long long total = 0;
  ssize_t n;
  while ((n = read(0, buffer, sizeof buffer)) > 0) {
    total += (unsigned long long)n;
    if (echo && put(buffer, (size_t)n) < 0) return 1;
  }
  if (n < 0) return 1;
  if (echo) return 0;
  int len = snprintf(buffer, sizeof buffer, "%llu\n", total);
  return put(buffer, (size_t)len) < 0;
}
