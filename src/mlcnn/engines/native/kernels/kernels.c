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
#include "int8.h"
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
int mlcnn_vnni(void) { return VNNI; }
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

/* Buffers are the caller's dense arrays; a step with buffer < 0 has its dense side in m. */
void mlcnn_run(const Step *steps, int64_t count, float *m, const float *constants,
               float *const *buffers, int threads) {
  EACH(i, count) {
    const Step *s = steps + i;
    float *array = (s->buffer < 0 ? m : buffers[s->buffer]) + s->z.at;
    switch (s->op) {
      case CONV: conv(s, m, constants, threads); break;
      case ROWS: conv_rows(s, m, constants, threads); break;
      case WINOGRAD: winograd(s, m, constants, threads); break;
      case DEPTHWISE: depthwise(s, m, constants, threads); break;
      case POOL:
        if (s->paired) pool_pair(s, m, threads), i++;
        else pool(s, m, threads);
        break;
      case MAP: map(s, m, constants, threads); break;
      case BINARY: binary(s, m, threads); break;
      case CODES_CONV: codes_conv(s, m, constants, threads); break;
      case CODES_POOL:
        if (s->mode == POOL_MAX) codes_max(s, m, threads);
        else codes_mean(s, m, threads);
        break;
      case QUANTISE: quantise(s, m, threads); break;
      case DEQUANTISE: dequantise(s, m, threads); break;
      case RECODE: recode(s, m, threads); break;
      case SUMS: sums(s, m, threads); break;
      case BORDER: border(s, m); break;
      case PACK: pack(s, m, constants, array); break;
      case UNPACK: unpack(s, m, constants, array); break;
    }
  }
}
