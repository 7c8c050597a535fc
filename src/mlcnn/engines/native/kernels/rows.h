/* Convolutions with few filters, of planes: the results of a row are the lanes of a vector, whose
 * lanes filters would mostly leave unused. Strides along columns are 1. */
#define ROW_FILTERS (B < 8 ? B : 8) /* computed together, of one block */
#define ROW_VECTORS 4               /* of a row */
#define ROW_SUMS (GROUP == 4 ? 24 : 12)

/* F filters at T vectors of a row, which begin at columns `from`. */
INLINE void row_part(const int F, const int T, const Step *s, const float *x, const float *w,
                     const float *bias, const int64_t *from, float *y) {
  V a[ROW_FILTERS][ROW_VECTORS];
  UNROLL for (int f = 0; f < F; f++) UNROLL for (int t = 0; t < T; t++) a[f][t] = spread(bias[f]);
  EACH(i, s->blocks) EACH(r, s->kernel_rows) {
    const float *xx = x + i * s->x.plane + r * s->dilation_rows * s->x.row;
    EACH(k, s->kernel_columns) {
      V v[ROW_VECTORS];
      UNROLL for (int t = 0; t < T; t++) {
        memcpy(v + t, xx + k * s->dilation_columns + from[t], sizeof(V));
        IN_REGISTER(v[t]);
      }
      UNROLL for (int f = 0; f < F; f++) {
        const V q = spread(w[f]);
        UNROLL for (int t = 0; t < T; t++) a[f][t] += v[t] * q;
      }
      w += F;
    }
  }
  const V low = spread(s->low), high = spread(s->high);
  UNROLL for (int t = 0; t < T; t++) {
    float results[ROW_FILTERS][B];
    UNROLL for (int f = 0; f < F; f++) {
      const V bounded = smaller(larger(a[f][t], low), high);
      memcpy(results[f], &bounded, sizeof(V));
    }
    EACH(l, B) UNROLL for (int f = 0; f < F; f++) y[(from[t] + l) * B + f] = results[f][l];
  }
}

typedef void (*RowPart)(const Step *, const float *, const float *, const float *, const int64_t *, float *);
#define ROW_PART(F, T)                                                                        \
  static void row_part_##F##_##T(const Step *s, const float *x, const float *w,               \
                                 const float *bias, const int64_t *from, float *y) {          \
    row_part(F, T < ROW_SUMS / F ? T : ROW_SUMS / F, s, x, w, bias, from, y);                 \
  }
#define ROW_PARTS(F) ROW_PART(F, 1) ROW_PART(F, 2) ROW_PART(F, 3) ROW_PART(F, 4)
#define ROW_LISTED(F) {row_part_##F##_1, row_part_##F##_2, row_part_##F##_3, row_part_##F##_4},
#if B < 8
ROW_PARTS(1) ROW_PARTS(2) ROW_PARTS(3) ROW_PARTS(4)
static const RowPart row_parts[ROW_FILTERS][ROW_VECTORS] = {
    ROW_LISTED(1) ROW_LISTED(2) ROW_LISTED(3) ROW_LISTED(4)};
#else
ROW_PARTS(1) ROW_PARTS(2) ROW_PARTS(3) ROW_PARTS(4) ROW_PARTS(5) ROW_PARTS(6) ROW_PARTS(7) ROW_PARTS(8)
static const RowPart row_parts[ROW_FILTERS][ROW_VECTORS] = {
    ROW_LISTED(1) ROW_LISTED(2) ROW_LISTED(3) ROW_LISTED(4)
    ROW_LISTED(5) ROW_LISTED(6) ROW_LISTED(7) ROW_LISTED(8)};
#endif

/* One row of results, for `count` filters of a block. The last vector ends where the row does. */
static void one_row(const Step *s, const float *x, const float *w, const float *bias, int64_t count, float *y) {
  const int64_t together = ROW_SUMS / count < ROW_VECTORS ? ROW_SUMS / count : ROW_VECTORS;
  const int64_t vectors = (s->columns + B - 1) / B, parts = (vectors + together - 1) / together;
  EACH(p, parts) {
    const int64_t first = begin(vectors, parts, p), some = begin(vectors, parts, p + 1) - first;
    int64_t from[ROW_VECTORS];
    EACH(t, some) from[t] = first + t == vectors - 1 ? s->columns - B : (first + t) * B;
    row_parts[count - 1][some - 1](s, x, w, bias, from, y);
  }
}

/* `mode` is the number of filters. */
static void conv_rows(const Step *s, float *m, const float *constants, int threads) {
  const int64_t taps = s->blocks * s->kernel_rows * s->kernel_columns;
  (void)threads;
  OMP(parallel for collapse(2) num_threads(threads) if (threads > 1))
  for (int64_t n = 0; n < s->images; n++)
    for (int64_t r = 0; r < s->rows; r++) {
      const float *x = m + s->x.at + n * s->x.image + r * s->stride_rows * s->x.row;
      for (int64_t f = 0; f < s->mode; f += ROW_FILTERS) {
        const int64_t count = s->mode - f < ROW_FILTERS ? s->mode - f : ROW_FILTERS;
        float *y = m + s->y.at + n * s->y.image + f / B * s->y.plane + r * s->y.row;
        one_row(s, x, constants + s->weights + f * taps, constants + s->biases + f, count, y + f % B);
        const int whole = (f + count) % B == 0 || f + count == s->mode;
        if (whole && s->function != CLIP) activate(s, y, 1, s->columns);
      }
    }
}
