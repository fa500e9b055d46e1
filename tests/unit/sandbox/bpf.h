/* Runs a seccomp filter as the kernel does, so that no process has to enter it. */
#ifndef TEST_BPF_H
#define TEST_BPF_H

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

#include "../../lib/tap.h"

/* A system call, as its filter sees it. */
struct bpf_call {
  uint32_t architecture; /* AUDIT_ARCH_... */
  uint32_t number;
  uint64_t args[6];
};

/* Returns four bytes of struct seccomp_data, on a machine that has low bytes first. */
static inline uint32_t bpf_load(const struct bpf_call *call, uint32_t offset) {
  if (offset == 0) return call->number;
  if (offset == 4) return call->architecture;
  if (offset % 4 != 0 || offset < 16 || offset >= 64) tap_bail("a filter loads what is not there");
  uint64_t arg = call->args[(offset - 16) / 8];
  return (uint32_t)(offset % 8 ? arg >> 32 : arg);
}

static inline bool bpf_holds(const struct sock_filter *i, uint32_t accumulator) {
  switch (BPF_OP(i->code)) {
    case BPF_JEQ:
      return accumulator == i->k;
    case BPF_JGE:
      return accumulator >= i->k;
    case BPF_JGT:
      return accumulator > i->k;
    case BPF_JSET:
      return (accumulator & i->k) != 0;
    default:
      tap_bail("a filter has a jump that this test does not know");
  }
}

/* Returns the answer, SECCOMP_RET_... with its data. */
static inline uint32_t bpf_run(const struct sock_filter *program, size_t size,
                               const struct bpf_call *call) {
  uint32_t accumulator = 0;
  for (size_t at = 0; at < size; at++) {
    const struct sock_filter *i = &program[at];
    switch (i->code) {
      case BPF_LD | BPF_W | BPF_ABS:
        accumulator = bpf_load(call, i->k);
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        accumulator &= i->k;
        break;
      case BPF_RET | BPF_K:
        return i->k;
      case BPF_JMP | BPF_JA:
        at += i->k;
        break;
      default:
        if (BPF_CLASS(i->code) != BPF_JMP || BPF_SRC(i->code) != BPF_K)
          tap_bail("a filter has an instruction that this test does not know");
        at += bpf_holds(i, accumulator) ? i->jt : i->jf;
    }
  }
  tap_bail("a filter does not come to an answer");
}

#endif
