/* Kernels of engine "native": images in blocks of B channels, one vector each.
 *
 * A value lies in memory as (image, block of channels, row, column, lane), with a border of zeros
 * around its rows and columns where a convolution pads: no kernel treats the edges of an image
 * differently. Steps name places as offsets in floats, so that memory is planned once, outside.
 */
#include "run.h"
#include "processor.h"
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
/* Bytes that a thread needs while a step runs, for some of its images or all; see room.h. */
int64_t mlcnn_room(const Step *s, const float *constants) {
  const int64_t positions = s->images * s->rows * s->columns;
  switch (s->op) {
    case CONV: return few_room(s, positions < FEW ? positions : FEW);
    case POOL: return s->paired ? pair_room(s) : 0;
    case BITS: {
      const Strings p = strings_of(s, channels_of(s, (const int32_t *)(constants + s->lanes)));
      return LINE(p);
    }
    case CODES_POOL: return s->mode == POOL_MAX ? maxima_room(s) : 0;
    case CODES_DEPTHWISE: return IN_QUADS(s) ? 0 : 4 * band_of_codes(s).floats;
    case COMPARE_AND_ADD: return comparators_room_of(s);
    case SELECT: return lists_room(s);
    default: return 0;
  }
}
/* Whether this processor has the instructions that they are compiled to; see processor.h. */
int mlcnn_runs_here(void) { return runs_here(); }
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

void mlcnn_run(const Step *steps, int64_t count, float *m, const float *constants,
               float *const *buffers, int threads) {
  run(steps, count, -1, m, constants, buffers, threads);
}
