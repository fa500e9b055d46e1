/* Loads zlib, and calls it. Its header file says what its functions take: it is needed at build time. */
#include "base/zlib.h"

#include <errno.h>

#ifdef MB_HAVE_ZLIB

#include <dlfcn.h>
#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

#define LIBRARY "libz.so.1"

/* inflateResetKeep (zlib 1.2.6) is inflateReset, but for the window, which stays. */
#define FUNCTIONS(X)  \
  X(deflate)          \
  X(deflateEnd)       \
  X(deflateInit2_)    \
  X(inflate)          \
  X(inflateEnd)       \
  X(inflateInit2_)    \
  X(inflateResetKeep) \
  X(inflateSetDictionary)

static struct {
#define MEMBER(function) __typeof__(&function) of_##function;
  FUNCTIONS(MEMBER)
#undef MEMBER
} zlib;

static bool is_loaded;

/* zlib counts bytes in 32 bits. */
enum { PIECE_MAX = 1 << 30 };

/* With less room than this behind it, deflate may end a message twice, which costs five bytes. */
enum { ROOM_MIN = 64 };

/* What inflate says in data_type just behind a block, when no bit is left. */
enum { AT_BLOCK_END = 128 };

struct mb_zlib {
  z_stream stream;
  struct mb_alloc *alloc;
  bool inflates;
};

const char *mb_zlib_load(void) {
  if (is_loaded) return NULL;
  void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (!library) return dlerror();
#define FIND(function)                                       \
  *(void **)&zlib.of_##function = dlsym(library, #function); \
  if (!zlib.of_##function) return LIBRARY " lacks the function " #function;
  FUNCTIONS(FIND)
#undef FIND
  is_loaded = true;
  return NULL;
}

/* ---- zlib's memory: each block has its size in front of it, which mb_alloc wants to know ---- */

union front {
  size_t size;
  max_align_t align;
};

static void *allocate(void *alloc, unsigned count, unsigned size) {
  size_t whole;
  if (__builtin_mul_overflow((size_t)count, (size_t)size, &whole)) return NULL;
  if (__builtin_add_overflow(whole, sizeof(union front), &whole)) return NULL;
  union front *block = mb_alloc(alloc, NULL, 0, whole);
  if (!block) return NULL;
  block->size = whole;
  return block + 1;
}

static void release(void *alloc, void *memory) {
  union front *block = (union front *)memory - 1;
  mb_alloc(alloc, block, block->size, 0);
}

static struct mb_zlib *new_one(struct mb_alloc *alloc, bool inflates) {
  struct mb_zlib *z = mb_alloc(alloc, NULL, 0, sizeof *z);
  if (!z) return NULL;
  *z = (struct mb_zlib){.alloc = alloc, .inflates = inflates};
  z->stream.zalloc = allocate;
  z->stream.zfree = release;
  z->stream.opaque = alloc;
  return z;
}

struct mb_zlib *mb_zlib_deflater(struct mb_alloc *alloc, int bits) {
  struct mb_zlib *z = new_one(alloc, false);
  if (!z) return NULL;
  if (bits == MB_ZLIB_BITS_MIN) bits++;
  int level =
      bits - 7; /* of memory: the tables are as large as the window then, as in zlib's default */
  if (zlib.of_deflateInit2_(&z->stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -bits, level,
                            Z_DEFAULT_STRATEGY, ZLIB_VERSION, (int)sizeof z->stream) == Z_OK)
    return z;
  mb_alloc(alloc, z, sizeof *z, 0);
  return NULL;
}

struct mb_zlib *mb_zlib_inflater(struct mb_alloc *alloc, int bits) {
  struct mb_zlib *z = new_one(alloc, true);
  if (!z) return NULL;
  if (zlib.of_inflateInit2_(&z->stream, -bits, ZLIB_VERSION, (int)sizeof z->stream) == Z_OK) {
    /* An empty dictionary makes it take the memory of the window now. */
    if (zlib.of_inflateSetDictionary(&z->stream, (const Bytef *)"", 0) == Z_OK) return z;
    zlib.of_inflateEnd(&z->stream);
  }
  mb_alloc(alloc, z, sizeof *z, 0);
  return NULL;
}

void mb_zlib_free(struct mb_zlib *z) {
  if (!z) return;
  if (z->inflates) {
    zlib.of_inflateEnd(&z->stream);
  } else {
    zlib.of_deflateEnd(&z->stream);
  }
  mb_alloc(z->alloc, z, sizeof *z, 0);
}

/* ---- messages ---- */

static unsigned piece_of(size_t size) { return size < PIECE_MAX ? (unsigned)size : PIECE_MAX; }

int mb_zlib_deflate(struct mb_zlib *z, const char *data, size_t size, struct mb_buf *to) {
  z_stream *s = &z->stream;
  if (mb_buf_reserve(to, z->alloc, size / 4 + ROOM_MIN) < 0) return -ENOMEM;
  s->next_in = (const Bytef *)data;
  do {
    s->avail_in = piece_of(size);
    size -= s->avail_in;
    do {
      size_t room;
      if (mb_buf_reserve(to, z->alloc, ROOM_MIN) < 0) return -ENOMEM;
      s->next_out = (Bytef *)mb_buf_room(to, &room);
      s->avail_out = piece_of(room);
      unsigned before = s->avail_out;
      zlib.of_deflate(s, size > 0 ? Z_NO_FLUSH : Z_SYNC_FLUSH);
      mb_buf_added(to, before - s->avail_out);
    } while (s->avail_out == 0);
  } while (size > 0);
  to->end -= 4;
  return 0;
}

int mb_zlib_inflate(struct mb_zlib *z, const char *data, size_t size, char *to, size_t room,
                    size_t *ret_used, size_t *ret_made) {
  z_stream *s = &z->stream;
  unsigned in = piece_of(size), out = piece_of(room);
  s->next_in = (const Bytef *)data;
  s->avail_in = in;
  s->next_out = (Bytef *)to;
  s->avail_out = out;
  int r;
  do {
    r = zlib.of_inflate(s, Z_SYNC_FLUSH);
    if (r == Z_STREAM_END) zlib.of_inflateResetKeep(s);
  } while (r == Z_STREAM_END && s->avail_in > 0 && s->avail_out > 0);
  *ret_used = in - s->avail_in;
  *ret_made = out - s->avail_out;
  if (r == Z_MEM_ERROR) return -ENOMEM;
  return r == Z_OK || r == Z_STREAM_END || r == Z_BUF_ERROR ? 0 : -EBADMSG;
}

bool mb_zlib_is_at_end(const struct mb_zlib *z) { return z->stream.data_type == AT_BLOCK_END; }

#else

const char *mb_zlib_load(void) {
  return "mb-handle was built without zlib: install its header file (Debian: zlib1g-dev), and "
         "build it again";
}

/* Nobody gets here. */
struct mb_zlib *mb_zlib_deflater(struct mb_alloc *alloc, int bits) {
  (void)alloc;
  (void)bits;
  return NULL;
}

struct mb_zlib *mb_zlib_inflater(struct mb_alloc *alloc, int bits) {
  return mb_zlib_deflater(alloc, bits);
}

void mb_zlib_free(struct mb_zlib *z) { (void)z; }

int mb_zlib_deflate(struct mb_zlib *z, const char *data, size_t size, struct mb_buf *to) {
  (void)z;
  (void)data;
  (void)size;
  (void)to;
  return -ENOMEM;
}

int mb_zlib_inflate(struct mb_zlib *z, const char *data, size_t size, char *to, size_t room,
                    size_t *ret_used, size_t *ret_made) {
  (void)z;
  (void)data;
  (void)size;
  (void)to;
  (void)room;
  *ret_used = *ret_made = 0;
  return -ENOMEM;
}

bool mb_zlib_is_at_end(const struct mb_zlib *z) {
  (void)z;
  return false;
}

#endif
