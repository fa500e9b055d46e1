/* The program behind websocketd: sends back what it reads, as soon as it has it. Its lines are messages. */
#include <unistd.h>

int main(void) {
  static char buffer[65536];
  ssize_t n;
  while ((n = read(0, buffer, sizeof buffer)) > 0) {
    for (ssize_t done = 0, m; done < n; done += m) {
      if ((m = write(1, buffer + done, (size_t)(n - done))) < 0) return 1;
    }
  }
  return n < 0;
}
