/* The steps of a program, one after another.
 *
 * A deployed network says which kernels it has, as bits of KERNELS; the compiler drops the others. */
#include "vectors.h"
#include "step.h"
#include "room.h"
#include "functions.h"
#include "direct.h"
#include "rows.h"
#include "winograd.h"
#include "depthwise.h"
#include "pools.h"
#include "elementwise.h"
#include "layout.h"
#include "sparse.h"
#include "mixes.h"
#include "list.h"
#include "maps.h"
#include "selected.h"
#include "branches.h"
#include "int8.h"
#include "codes_depthwise.h"
#include "bits.h"
#include "tables.h"
#include "compare.h"
#include "comparators.h"

#ifndef KERNELS
#define KERNELS ~0ull
#endif
#define STEP(OP) \
  case OP:       \
    if (!((KERNELS) >> (OP) & 1)) break;

typedef void (*Kernel)(const Step *, float *, const float *, int);
/* A convolution group by group. */
static void in_groups(Kernel kernel, const Step *s, float *m, const float *constants, int threads) {
  Step a = *s;
  for (int64_t g = 0; g < s->groups || g < 1; g++) {
    kernel(&a, m, constants, threads);
    a.x.at += s->blocks * s->x.plane, a.y.at += s->filters * s->y.plane;
    a.weights += s->group_weights, a.biases += s->filters * B;
  }
}

/* A convolution between two mixes, so many images at a time: what is between stays in the cache. */
static void between(const Step *s, float *m, const float *constants, int threads) {
  for (int64_t n = 0; n < s->images; n += s->bunch) {
    Step forth = s[0], inner = s[1], back = s[2];
    forth.images = inner.images = back.images = s->images - n < s->bunch ? s->images - n : s->bunch;
    forth.x.at += n * s->x.image, back.y.at += n * back.y.image;
    mix(&forth, m, constants, threads);
    in_groups(inner.op == CONV ? conv : winograd, &inner, m, constants, threads);
    mix(&back, m, constants, threads);
  }
}

/* Where the dense side of a step lies: in m, among its weights, or in an array of the caller's. */
enum { IN_MEMORY = -1, IN_WEIGHTS = -2 };
INLINE float *array_of(const Step *s, float *m, const float *constants, float *const *buffers) {
  if (s->buffer == IN_WEIGHTS) return (float *)constants + s->weights;
  return (s->buffer == IN_MEMORY ? m : buffers[s->buffer]) + s->z.at;
}

/* With `some` not negative for so many of the images alone. */
static void run(const Step *steps, int64_t count, int64_t some, float *m, const float *constants,
                float *const *buffers, int threads) {
  EACH(i, count) {
    const Step *s = steps + i;
    Step fewer[3];
    if (some >= 0) for_images(s, some, fewer), s = fewer;
    float *array = array_of(s, m, constants, buffers);
    switch (s->op) {
      STEP(CONV) in_groups(conv, s, m, constants, threads); break;
      STEP(ROWS) conv_rows(s, m, constants, threads); break;
      STEP(WINOGRAD) in_groups(winograd, s, m, constants, threads); break;
      STEP(SPARSE) sparse(s, m, constants, threads); break;
      STEP(MIX) between(s, m, constants, threads), i += 2; break;
      STEP(DEPTHWISE) depthwise(s, m, constants, threads); break;
      STEP(POOL)
        if (s->paired) pool_pair(s, m, threads), i++;
        else pool(s, m, threads);
        break;
      STEP(MAP) map(s, m, constants, threads); break;
      STEP(BINARY) binary(s, m, threads); break;
      STEP(CODES_CONV) codes_conv(s, m, constants, threads); break;
      STEP(CODES_DEPTHWISE) codes_depthwise(s, m, constants, threads); break;
      STEP(BITS) bits(s, m, constants, threads); break;
      STEP(TABLE) lookup(s, m, constants, threads); break;
      STEP(COMPARE) compare(s, m, constants, threads); break;
      STEP(COMPARE_AND_ADD) comparators(s, m, constants, threads); break;
      STEP(CODES_POOL)
        if (s->mode == POOL_MAX) codes_max(s, m, threads);
        else codes_mean(s, m, threads);
        break;
      STEP(QUANTISE)
        if (s->buffer >= 0) quantise_array(s, m, constants, array, threads);
        else quantise(s, m, threads);
        break;
      STEP(DEQUANTISE) dequantise(s, m, threads); break;
      STEP(ROUND) round_floats(s, m, constants, threads); break;
      STEP(RECODE) recode(s, m, threads); break;
      STEP(SUMS) sums(s, m, threads); break;
      STEP(LIST) list_conv(s, m, constants, threads); break;
      STEP(SELECT) select_conv(s, m, constants, threads); break;
      STEP(KEEP) keep(s, m, threads); break;
      STEP(MAPS) maps(s, m, constants, array); break;
      STEP(BORDER) border(s, m); break;
      STEP(REDUCE) reduce(s, m, constants); break;
      STEP(REDUCE_IMAGES) reduce_images(s, m, constants); break;
      STEP(WHEN) if ((m[s->x.at] != 0) != s->mode) i += s->until; break;
      STEP(IMAGES) {
        const int64_t images = list_images(s, m);
        if (images) run(steps + i + 1, s->until, images, m, constants, buffers, threads);
        i += s->until;
        break;
      }
      STEP(MOVE_IMAGES) move_images(s, m); break;
      STEP(END) break;
      STEP(PACK) pack(s, m, constants, array); break;
      STEP(UNPACK) unpack(s, m, constants, array); break;
    }
  }
}
