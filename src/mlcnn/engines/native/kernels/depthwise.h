/* Convolutions with one channel per group. */
static void depthwise(const Step *s, float *m, const float *constants, int threads) {
  const V low = spread(s->low), high = spread(s->high);
  (void)threads;
#pragma omp parallel for collapse(2) num_threads(threads) if (threads > 1)
  for (int64_t n = 0; n < s->images; n++)
    for (int64_t i = 0; i < s->blocks; i++) {
      const float *w = constants + s->weights + i * s->kernel_rows * s->kernel_columns * B;
      const V bias = *(V *)(constants + s->biases + i * B);
      EACH(r, s->rows) {
        const float *x = m + s->x.at + n * s->x.image + i * s->x.plane + r * s->stride_rows * s->x.row;
        float *y = m + s->y.at + n * s->y.image + i * s->y.plane + r * s->y.row;
        for (int64_t q = 0; q < s->columns; q += 8) {
          const int64_t width = s->columns - q < 8 ? s->columns - q : 8;
          V a[8];
          EACH(t, width) a[t] = bias;
          EACH(h, s->kernel_rows) EACH(k, s->kernel_columns) {
            const V v = *(V *)(w + (h * s->kernel_columns + k) * B);
            const float *xx = x + q * s->stride_columns * B + h * s->dilation_rows * s->x.row + k * s->dilation_columns * B;
            if (width == 8) UNROLL for (int t = 0; t < 8; t++) a[t] += v * *(V *)(xx + t * s->stride_columns * B);
            else EACH(t, width) a[t] += v * *(V *)(xx + t * s->stride_columns * B);
          }
          EACH(t, width) *(V *)(y + (q + t) * B) = smaller(larger(a[t], low), high);
        }
      }
    }
}
