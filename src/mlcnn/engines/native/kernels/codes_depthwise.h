/* Convolutions of codes with one channel per group. Their sums are whole numbers below 2^24, which
 * floats hold: codes, or sums of them, become floats, some rows at a time, and the kernels of
 * `depthwise.h` sum up their products exactly. */
#define BAND_FLOATS 24576 /* of an input, that stay in the outer cache */

INLINE void row_of_floats(const Step *s, const char *x, float *y, int64_t columns) {
  if (s->mode) EACH(q, columns) *(V *)(y + q * B) = __builtin_convertvector(*(const Shorts *)(x + 2 * B * q), V);
  else EACH(q, columns) *(V *)(y + q * B) = number(x + B * q, 0);
}
/* The results of a row, from the sums of its products. */
INLINE void end_row(const Step *s, const float *constants, int64_t i, const float *sums, char *y, const char *z) {
  const M bias = *(const M *)(constants + s->biases + i * B);
  EACH(q, s->columns)
    ended(s, __builtin_convertvector(*(const V *)(sums + q * B), M) + bias, constants + s->scales + i * B,
          constants + s->shifts + i * B, y + 4 * q * s->y.column, z ? z + 4 * q * s->z.column : 0);
}

static void codes_depthwise(const Step *step, float *m, const float *constants, int threads) {
  const Step ends = *step, *s = &ends; /* which no result overwrites */
  const int64_t halo = (s->kernel_rows - 1) * s->dilation_rows + 1;
  const int64_t columns = (s->columns - 1) * s->stride_columns + (s->kernel_columns - 1) * s->dilation_columns + 1;
  const int64_t fit = (BAND_FLOATS / (columns * B) - halo) / s->stride_rows + 1, band = fit > 1 ? least(fit, s->rows) : 1;
  const int64_t length = ((band - 1) * s->stride_rows + halo) * columns * B, taps = s->kernel_rows * s->kernel_columns;
  const Results *kernels = results_for(s);
  (void)threads;
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    float *floats = aligned_alloc(64, 4 * (length + s->columns * B + 16) / 64 * 64 + 64), *sums = floats + length;
#pragma omp for collapse(2)
    for (int64_t n = 0; n < s->images; n++)
      for (int64_t i = 0; i < s->blocks; i++) for (int64_t top = 0; top < s->rows; top += band) {
        const int64_t rows = least(band, s->rows - top), inputs = (rows - 1) * s->stride_rows + halo;
        const char *x = AT(s, x, n) + 4 * (i * s->x.plane + top * s->stride_rows * s->x.row);
        EACH(r, inputs) row_of_floats(s, x + 4 * r * s->x.row, floats + r * columns * B, columns);
        EACH(r, rows) {
          row_of_results(s, kernels, floats + r * s->stride_rows * columns * B, s->dilation_rows * columns * B,
                         constants + s->weights + i * taps * B, s->kernel_rows, (V){}, spread(-INFINITY), spread(INFINITY), sums);
          const int64_t y = i * s->y.plane + (top + r) * s->y.row, z = i * s->z.plane + (top + r) * s->z.row;
          end_row(s, constants, i, sums, AT(s, y, n) + 4 * y, s->z.at < 0 ? 0 : AT(s, z, n) + 4 * z);
        }
      }
    free(floats);
  }
}
