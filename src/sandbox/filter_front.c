/* The front of a filter is a tree of numbers. It is found by running another filter, here, for each of them. */
#include "sandbox/filter_front.h"

#include <errno.h>
#include <string.h>

/* What a filter says about a number. OTHER: it depends on the arguments. */
enum answer { ALLOW, EPERM_, ENOSYS_, OTHER };

static const uint32_t returned[] = {
    [ALLOW] = SECCOMP_RET_ALLOW,
    [EPERM_] = SECCOMP_RET_ERRNO | EPERM,
    [ENOSYS_] = SECCOMP_RET_ERRNO | ENOSYS,
};

static enum answer ask(const struct sock_filter *program, uint32_t architecture, int number) {
  struct seccomp_data call = {.nr = number, .arch = architecture};
  bool looks_at_arguments;
  uint32_t action = mb_filter_run(program, &call, &looks_at_arguments);
  if (looks_at_arguments) return OTHER;
  for (enum answer a = ALLOW; a < OTHER; a++) {
    if (action == returned[a]) return a;
  }
  return OTHER;
}

/* Numbers with the same answer, from `first` to the next range. */
struct range {
  unsigned first;
  enum answer answer;
};

struct tree {
  const struct range *ranges;
  struct sock_filter *nodes;
  unsigned count; /* of nodes */
  unsigned char
      *answers[2 * MB_CALLS_END];   /* jumps that go to an answer: where their distance stands, */
  unsigned from[2 * MB_CALLS_END];  /* from which node, */
  enum answer to[2 * MB_CALLS_END]; /* and to which answer */
  unsigned jumps;
};

static void jump_to_answer(struct tree *t, unsigned char *distance, unsigned node, enum answer to) {
  t->answers[t->jumps] = distance;
  t->from[t->jumps] = node;
  t->to[t->jumps++] = to;
}

/* Writes a tree for ranges[low] to ranges[high], of which there are two at least. */
static void write_tree(struct tree *t, unsigned low, unsigned high) {
  unsigned middle = low + (high - low + 1) / 2, node = t->count++;
  struct sock_filter *n = &t->nodes[node];
  *n = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, t->ranges[middle].first, 0, 0);
  if (middle - 1 > low) {
    write_tree(t, low, middle - 1); /* it follows at once */
  } else {
    jump_to_answer(t, &n->jf, node, t->ranges[low].answer);
  }
  if (high > middle) {
    n->jt = (unsigned char)(t->count - node - 1);
    write_tree(t, middle, high);
  } else {
    jump_to_answer(t, &n->jt, node, t->ranges[middle].answer);
  }
}

/* Collects the ranges of a program. Returns how many there are. */
static unsigned find_ranges(const struct sock_filter *program, uint32_t architecture,
                            struct range ranges[MB_CALLS_END + 1]) {
  unsigned n = 0;
  for (unsigned number = 0; number < MB_CALLS_END; number++) {
    enum answer answer = ask(program, architecture, (int)number);
    if (n == 0 || ranges[n - 1].answer != answer)
      ranges[n++] = (struct range){.first = number, .answer = answer};
  }
  ranges[n++] = (struct range){.first = MB_CALLS_END, .answer = ENOSYS_};
  return n;
}

int mb_filter_front(const struct sock_filter *whole, uint32_t architecture,
                    struct sock_filter filter[MB_FILTER_MAX]) {
  struct range ranges[MB_CALLS_END + 1];
  const struct sock_filter head[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, architecture, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
  };
  const unsigned size = sizeof head / sizeof *head;
  unsigned count = find_ranges(whole, architecture, ranges);
  struct tree tree = {.ranges = ranges, .nodes = filter + size};
  memcpy(filter, head, sizeof head);
  write_tree(&tree, 0, count - 1);
  for (unsigned i = 0; i < tree.jumps; i++) {
    unsigned distance = tree.count + tree.to[i] - tree.from[i] - 1;
    if (distance > UINT8_MAX) return -E2BIG;
    *tree.answers[i] = (unsigned char)distance;
  }
  struct sock_filter *answers = tree.nodes + tree.count;
  for (enum answer a = ALLOW; a < OTHER; a++)
    answers[a] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, returned[a]);
  return (int)(size + tree.count + OTHER);
}

uint32_t mb_filter_run(const struct sock_filter *program, const struct seccomp_data *call,
                       bool *ret_looks_at_arguments) {
  uint32_t a = 0;
  bool begins = true; /* the first instruction loads an argument for another reason */
  *ret_looks_at_arguments = false;
  for (const struct sock_filter *i = program;; i++) {
    switch (i->code) {
      case BPF_LD | BPF_W | BPF_ABS:
        memcpy(&a, (const char *)call + i->k, sizeof a);
        if (!begins && i->k >= offsetof(struct seccomp_data, args)) *ret_looks_at_arguments = true;
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        a &= i->k;
        break;
      case BPF_JMP | BPF_JA:
        i += i->k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        i += a == i->k ? i->jt : i->jf;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        i += a >= i->k ? i->jt : i->jf;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        i += a > i->k ? i->jt : i->jf;
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        i += a & i->k ? i->jt : i->jf;
        break;
      case BPF_RET | BPF_K:
        return i->k;
      default:
        return SECCOMP_RET_KILL_PROCESS; /* libseccomp writes no other */
    }
    begins = false;
  }
}
