/* Convolutions with one channel per group. */
#if GROUP == 4
#define RESULTS 14 /* of a row; 32 registers hold them and the taps of a row */
#define UP_TO_RESULTS(D, K, S) UP_TO_8_OF(D, K, S) D(K, S, 9) D(K, S, 10) D(K, S, 11) D(K, S, 12) D(K, S, 13) D(K, S, 14)
#else
#define RESULTS 8
#define UP_TO_RESULTS(D, K, S) UP_TO_8_OF(D, K, S)
#endif
#define UP_TO_8_OF(D, K, S) \
  D(K, S, 1) D(K, S, 2) D(K, S, 3) D(K, S, 4) D(K, S, 5) D(K, S, 6) D(K, S, 7) D(K, S, 8)

/* T results side by side, with K taps in a row of the kernel: each input is loaded once for all
 * of them. From row to row of the taps x moves on by `row`. */
INLINE void results(const int K, const int S, const int T, const float *x, int64_t row,
                    const float *w, int64_t rows, V bias, V low, V high, float *y) {
  V a[RESULTS];
  UNROLL for (int t = 0; t < T; t++) a[t] = bias;
  for (; rows > 0; rows--, x += row, w += K * B) {
    V v[5];
    UNROLL for (int k = 0; k < K; k++) {
      v[k] = *(V *)(w + k * B);
      IN_REGISTER(v[k]);
    }
    UNROLL_MORE for (int j = 0; j < (T - 1) * S + K; j++) {
      V q = *(V *)(x + j * B);
      IN_REGISTER(q);
      UNROLL for (int k = 0; k < K; k++)
        if (j >= k && (j - k) % S == 0 && (j - k) / S < T) a[(j - k) / S] += v[k] * q;
    }
  }
  UNROLL for (int t = 0; t < T; t++) *(V *)(y + t * B) = smaller(larger(a[t], low), high);
}

typedef void (*Results)(const float *, int64_t, const float *, int64_t, V, V, V, float *);
#define RESULTS_OF(K, S, T)                                                                      \
  static void results_##K##_##S##_##T(const float *x, int64_t row, const float *w, int64_t rows, \
                                      V bias, V low, V high, float *y) {                         \
    results(K, S, T, x, row, w, rows, bias, low, high, y);                                       \
  }
#define RESULTS_LISTED(K, S, T) results_##K##_##S##_##T,
UP_TO_RESULTS(RESULTS_OF, 3, 1)
UP_TO_RESULTS(RESULTS_OF, 3, 2)
UP_TO_RESULTS(RESULTS_OF, 5, 1)
UP_TO_RESULTS(RESULTS_OF, 5, 2)
static const Results results_of_3[2][RESULTS] = {{UP_TO_RESULTS(RESULTS_LISTED, 3, 1)},
                                                 {UP_TO_RESULTS(RESULTS_LISTED, 3, 2)}};
static const Results results_of_5[2][RESULTS] = {{UP_TO_RESULTS(RESULTS_LISTED, 5, 1)},
                                                 {UP_TO_RESULTS(RESULTS_LISTED, 5, 2)}};

/* The kernels of a step's geometry; NULL where it has none. */
INLINE const Results *results_for(const Step *s) {
  if (s->dilation_columns != 1 || s->stride_columns > 2) return NULL;
  if (s->kernel_columns == 3) return results_of_3[s->stride_columns - 1];
  return s->kernel_columns == 5 ? results_of_5[s->stride_columns - 1] : NULL;
}

/* One row of results, of any geometry. */
static void any_results(const Step *s, const float *x, int64_t row, const float *w, int64_t rows,
                        V bias, V low, V high, float *y) {
  EACH(q, s->columns) {
    V a = bias;
    EACH(h, rows) EACH(k, s->kernel_columns)
      a += *(V *)(w + (h * s->kernel_columns + k) * B) *
           *(V *)(x + h * row + (q * s->stride_columns + k * s->dilation_columns) * B);
    *(V *)(y + q * B) = smaller(larger(a, low), high);
  }
}

/* One row of results, by the kernels of its geometry where there are some. */
static void row_of_results(const Step *s, const Results *kernels, const float *x, int64_t row, const float *w,
                           int64_t rows, V bias, V low, V high, float *y) {
  const int64_t parts = (s->columns + RESULTS - 1) / RESULTS;
  if (!kernels) any_results(s, x, row, w, rows, bias, low, high, y);
  else EACH(t, parts) {
    const int64_t q = begin(s->columns, parts, t), width = begin(s->columns, parts, t + 1) - q;
    kernels[width - 1](x + q * s->stride_columns * B, row, w, rows, bias, low, high, y + q * B);
  }
}

static void depthwise(const Step *s, float *m, const float *constants, int threads) {
  const V low = spread(s->low), high = spread(s->high);
  const int64_t row = s->dilation_rows * s->x.row;
  const Results *kernels = results_for(s);
  (void)threads;
  OMP(parallel for collapse(2) num_threads(threads) if (threads > 1))
  for (int64_t n = 0; n < s->images; n++)
    for (int64_t i = 0; i < s->blocks; i++) {
      const V bias = *(V *)(constants + s->biases + i * B);
      EACH(r, s->rows) {
        const int64_t origin = r * s->stride_rows - s->top, first = first_tap(origin, s->dilation_rows);
        const int64_t rows = end_of_taps(origin, s->dilation_rows, s->kernel_rows, s->input_rows) - first;
        const float *w = constants + s->weights + (i * s->kernel_rows + first) * s->kernel_columns * B;
        const float *x = m + s->x.at + n * s->x.image + i * s->x.plane + r * s->stride_rows * s->x.row + first * row;
        float *y = m + s->y.at + n * s->y.image + i * s->y.plane + r * s->y.row;
        row_of_results(s, kernels, x, row, w, rows, bias, low, high, y);
        if (s->function != CLIP) activate(s, y, 1, s->columns);
      }
    }
}
