/* Convolutions of some channels: of the input those that a mask names are read, and results are zero
 * where another mask says so. Weights stay where they are: of each block of the input there is a list
 * of the lanes that count, and the products with the others are passed over. */
INLINE void some_tile(const int NB, const int T, const Step *s, const float *x, const float *w, float *y, const float *bias,
                      const V *kept, const int32_t *lanes, const int32_t *lists, const int32_t *counts, Taps in) {
  V a[GROUP][12];
  const int64_t row = s->x.row * s->dilation_rows, column = s->x.column * s->dilation_columns;
  const int64_t step = s->stride_columns * s->x.column;
  UNROLL for (int f = 0; f < NB; f++) UNROLL for (int t = 0; t < T; t++) a[f][t] = *(V *)(bias + f * B);
  EACH(i, s->blocks) {
    const int64_t tap = (int64_t)lanes[i] * NB * B, n = counts[i];
    const int32_t *list = lists + i * B;
    for (int64_t r = in.rows; r < in.rows_end; r++) for (int64_t k = 0; k < s->kernel_columns; k++) {
      const float *xx = x + i * s->x.plane + r * row + k * column, *ww = w + (r * s->kernel_columns + k) * tap;
      for (int64_t e = 0; e < n; e++) {
        const int64_t c = list[e];
        V v[GROUP];
        UNROLL for (int f = 0; f < NB; f++) {
          v[f] = *(V *)(ww + (c * NB + f) * B);
          IN_REGISTER(v[f]);
        }
        UNROLL for (int t = 0; t < T; t++) {
          const V q = spread(xx[t * step + c]);
          UNROLL for (int f = 0; f < NB; f++) a[f][t] += v[f] * q;
        }
      }
    }
    w += s->kernel_rows * s->kernel_columns * tap;
  }
  const V low = spread(s->low), high = spread(s->high);
  UNROLL for (int f = 0; f < NB; f++) UNROLL for (int t = 0; t < T; t++)
    *(V *)(y + f * s->y.plane + t * s->y.column) = smaller(larger(pick(kept[f] != 0, a[f][t], (V){}), low), high);
}

typedef void (*SomeTile)(const Step *, const float *, const float *, float *, const float *, const V *, const int32_t *,
                         const int32_t *, const int32_t *, Taps);
#define SOME_TILE(NB, T)                                                                                                 \
  static void some_##NB##_##T(const Step *s, const float *x, const float *w, float *y, const float *bias, const V *kept, \
                              const int32_t *lanes, const int32_t *lists, const int32_t *counts, Taps in) {             \
    some_tile(NB, T, s, x, w, y, bias, kept, lanes, lists, counts, in);                                                 \
  }
#define SOME_LISTED(NB, T) some_##NB##_##T,
#if GROUP == 4
UP_TO_12(SOME_TILE, 1) UP_TO_12(SOME_TILE, 2) UP_TO_8(SOME_TILE, 3) UP_TO_6(SOME_TILE, 4)
static const SomeTile some_tiles[GROUP][12] = {{UP_TO_12(SOME_LISTED, 1)}, {UP_TO_12(SOME_LISTED, 2)},
                                               {UP_TO_8(SOME_LISTED, 3)}, {UP_TO_6(SOME_LISTED, 4)}};
#else
UP_TO_12(SOME_TILE, 1) UP_TO_6(SOME_TILE, 2) UP_TO_4(SOME_TILE, 3)
static const SomeTile some_tiles[GROUP][12] = {{UP_TO_12(SOME_LISTED, 1)}, {UP_TO_6(SOME_LISTED, 2)}, {UP_TO_4(SOME_LISTED, 3)}};
#endif

/* Blocks of filters of which none counts give zeros. */
static void zeros_of_block(const Step *s, float *y) {
  const V zero = smaller(larger((V){}, spread(s->low)), spread(s->high));
  EACH(r, s->rows) EACH(q, s->columns) *(V *)(y + r * s->y.row + q * s->y.column) = zero;
}

static int64_t lists_room(const Step *s) { return (int64_t)sizeof(int32_t) * s->blocks * (B + 1); }
/* An image: its lists, then blocks of filters together as far as they lie side by side. */
static void select_image(const Step *s, float *m, const float *constants, int64_t n, int threads) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  int32_t *lists = TAKE_ROOM(m, lists_room(s)), *counts = lists + s->blocks * B;
  int64_t used = 0;
  EACH(i, s->blocks) {
    const float *mask = m + s->mask.at + n * s->mask.image + i * s->mask.plane;
    counts[i] = 0;
    EACH(l, lanes[i]) if (mask[l] != 0) lists[i * B + counts[i]++] = (int32_t)l;
    used += lanes[i];
  }
  const int64_t groups = (s->filters + GROUP - 1) / GROUP;
  (void)threads;
  OMP(parallel for num_threads(threads) if (threads > 1))
  for (int64_t g = 0; g < groups; g++) {
    const int64_t f0 = begin(s->filters, groups, g), nb = begin(s->filters, groups, g + 1) - f0;
    const int64_t parts = (s->columns + widest[nb - 1] - 1) / widest[nb - 1];
    const float *w = constants + s->weights + used * s->kernel_rows * s->kernel_columns * f0 * B;
    float *y = m + s->y.at + n * s->y.image + f0 * s->y.plane;
    V kept[GROUP];
    int any = 0;
    EACH(f, nb) {
      kept[f] = s->z.at < 0 ? spread(1) : *(const V *)(m + s->z.at + n * s->z.image + (f0 + f) * s->z.plane);
      EACH(l, B) any |= kept[f][l] != 0;
    }
    if (!any) {
      EACH(f, nb) zeros_of_block(s, y + f * s->y.plane);
      continue;
    }
    EACH(r, s->rows) {
      const float *x = m + s->x.at + n * s->x.image + r * s->stride_rows * s->x.row;
      const Taps in = taps_of(s, r, n);
      for (int64_t t = 0, q = 0, width; t < parts; t++, q += width) {
        width = begin(s->columns, parts, t + 1) - q;
        some_tiles[nb - 1][width - 1](s, x + q * s->stride_columns * s->x.column, w, y + r * s->y.row + q * s->y.column,
                                      constants + s->biases + f0 * B, kept, lanes, lists, counts, in);
      }
    }
  }
  LEAVE_ROOM(lists);
}
static void select_conv(const Step *s, float *m, const float *constants, int threads) {
  EACH(n, s->images) select_image(s, m, constants, n, threads);
}
