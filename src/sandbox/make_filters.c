/*
 * Build tool: prints the filters of all architectures as C for filter.c. It is never installed.
 * Usage: make_filters >filters_data.c
 */
#include <stdio.h>
#include <string.h>

#include "sandbox/filter.h"
#include "sandbox/filter_rules.h"

static const struct {
  uint32_t architecture;
  const char *macro; /* that the compiler defines for it */
} all[] = {{SCMP_ARCH_X86_64, "__x86_64__"}, {SCMP_ARCH_AARCH64, "__aarch64__"}};

/* Prints the filters of an architecture. Returns false after a failure. */
static int print(uint32_t architecture) {
  int at[MB_FILTERS + 1] = {0};
  struct sock_filter filter[MB_FILTER_MAX];
  printf("const struct sock_filter mb_filters[] = {\n");
  for (unsigned number = 0; number < MB_FILTERS; number++) {
    int n = mb_filter_make(architecture, number, filter);
    if (n < 0) {
      fprintf(stderr, "make_filters: filter %u: %s\n", number, strerror(-n));
      return 0;
    }
    at[number + 1] = at[number] + n;
    for (int i = 0; i < n; i++)
      printf("{%u,%u,%u,%u},%s", filter[i].code, filter[i].jt, filter[i].jf, filter[i].k,
             i % 8 == 7 ? "\n" : "");
    printf("\n");
  }
  printf("};\nconst uint16_t mb_filters_at[MB_FILTERS + 1] = {");
  for (int i = 0; i <= MB_FILTERS; i++) printf("%d,", at[i]);
  printf("};\n");
  return 1;
}

int main(void) {
  printf("#include \"sandbox/filter.h\"\n");
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    printf("#%s defined(%s) && !defined(__ILP32__)\n", i == 0 ? "if" : "elif", all[i].macro);
    if (!print(all[i].architecture)) return 1;
  }
  printf(
      "#else\nconst struct sock_filter mb_filters[1];\n"
      "const uint16_t mb_filters_at[MB_FILTERS + 1];\n#endif\n");
  return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
