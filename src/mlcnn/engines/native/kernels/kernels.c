/* Kernels of engine "native": images in blocks of B channels, one vector each.
 *
 * A value lies in memory as (image, block of channels, row, column, lane), with a border of zeros
 * around its rows and columns where a convolution pads: no kernel treats the edges of an image
 * differently. Steps name places as offsets in floats, so that memory is planned once, outside.
 */
#include "vectors.h"
#include "step.h"
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
#include "probe.h"

int mlcnn_block(void) { return B; }
int mlcnn_narrow(void) { return NARROW; }
int mlcnn_group(void) { return GROUP; }
int mlcnn_step(void) { return sizeof(Step); }
/* Floats of scratch memory that a bunch of tiles needs. */
int64_t mlcnn_scratch(int64_t kind, int64_t blocks, int64_t filters, int64_t bunch) {
  Values from, to;
  lay_out(transforms + kind, blocks, bunch, &from);
  lay_out(transforms + kind, filters, bunch, &to);
  return from.size + to.size;
}
/* The same of a band of rows, and vectors from one copy of a channel to the next. */
int64_t mlcnn_sparse_scratch(const Step *s) { return band_floats(s); }
int64_t mlcnn_sparse_length(const Step *s) { return band_of(s).length / B; }
int64_t mlcnn_list_scratch(const Step *s) { return list_floats(s); }
/* The same of an input that is packed, of so many channels. */
int64_t mlcnn_bits_scratch(const Step *s, int64_t channels) { return s->op == BITS ? bits_floats(s, channels) : tables_floats(s); }
int mlcnn_tables(void) { return TABLES ? WIDEST_SET : 0; }
int mlcnn_comparators(void) { return COMPARATORS; }
int64_t mlcnn_comparators_scratch(const Step *s) { return comparators_floats(s); }
int mlcnn_vnni(void) { return VNNI; }
int mlcnn_counts(void) { return COUNTS; }
int mlcnn_assembly(void) {
#ifdef NO_ASSEMBLY
  return 0;
#else
  return 1;
#endif
}
int mlcnn_parallel(void) {
#ifdef _OPENMP
  return 1;
#else
  return 0;
#endif
}

int mlcnn_mixes(void) { return MIXES; }
int mlcnn_most_parts(void) { return MOST_PARTS; }
int mlcnn_mix_rows(int kind) { return mix_rows[kind]; }
int mlcnn_mix_columns(int kind) { return mix_columns[kind]; }
void mlcnn_mix_matrix(int kind, float *matrix) { mix_matrix(kind, matrix); }

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
      case CONV: in_groups(conv, s, m, constants, threads); break;
      case ROWS: conv_rows(s, m, constants, threads); break;
      case WINOGRAD: in_groups(winograd, s, m, constants, threads); break;
      case SPARSE: sparse(s, m, constants, threads); break;
      case MIX: between(s, m, constants, threads), i += 2; break;
      case DEPTHWISE: depthwise(s, m, constants, threads); break;
      case POOL:
        if (s->paired) pool_pair(s, m, threads), i++;
        else pool(s, m, threads);
        break;
      case MAP: map(s, m, constants, threads); break;
      case BINARY: binary(s, m, threads); break;
      case CODES_CONV: codes_conv(s, m, constants, threads); break;
      case CODES_DEPTHWISE: codes_depthwise(s, m, constants, threads); break;
      case BITS: bits(s, m, constants, threads); break;
      case TABLE: lookup(s, m, constants, threads); break;
      case COMPARE: compare(s, m, constants, threads); break;
      case COMPARE_AND_ADD: comparators(s, m, constants, threads); break;
      case CODES_POOL:
        if (s->mode == POOL_MAX) codes_max(s, m, threads);
        else codes_mean(s, m, threads);
        break;
      case QUANTISE:
        if (s->buffer >= 0) quantise_array(s, m, constants, array, threads);
        else quantise(s, m, threads);
        break;
      case DEQUANTISE: dequantise(s, m, threads); break;
      case ROUND: round_floats(s, m, constants, threads); break;
      case RECODE: recode(s, m, threads); break;
      case SUMS: sums(s, m, threads); break;
      case LIST: list_conv(s, m, constants, threads); break;
      case SELECT: select_conv(s, m, constants, threads); break;
      case KEEP: keep(s, m, threads); break;
      case MAPS: maps(s, m, constants, array); break;
      case BORDER: border(s, m); break;
      case REDUCE: reduce(s, m, constants); break;
      case REDUCE_IMAGES: reduce_images(s, m, constants); break;
      case WHEN: if ((m[s->x.at] != 0) != s->mode) i += s->until; break;
      case IMAGES: {
        const int64_t images = list_images(s, m);
        if (images) run(steps + i + 1, s->until, images, m, constants, buffers, threads);
        i += s->until;
        break;
      }
      case MOVE_IMAGES: move_images(s, m); break;
      case END: break;
      case PACK: pack(s, m, constants, array); break;
      case UNPACK: unpack(s, m, constants, array); break;
    }
  }
}
void mlcnn_run(const Step *steps, int64_t count, float *m, const float *constants,
               float *const *buffers, int threads) {
  run(steps, count, -1, m, constants, buffers, threads);
}
