/* Convolutions, every product computed. */
/* The taps of a kernel that meet the image, not its border of zeros: from, and up to. */
typedef struct {
  int32_t rows, rows_end, columns, columns_end;
} Taps;

/* NB blocks of filters at T neighbouring positions: NB x T sums stay in registers. */
INLINE void tile(const int NB, const int T, const int PAIR, const int64_t step, const int64_t out, const Step *s,
                 const float *x, const float *w, float *y, const float *bias, const float *z,
                 int64_t zc, const int32_t *lanes, Taps in, int64_t unit, int64_t units, int last) {
  V a[GROUP][12];
  const int64_t row = s->x.row * s->dilation_rows, column = s->x.column * s->dilation_columns;
  UNROLL for (int f = 0; f < NB; f++) UNROLL for (int t = 0; t < T; t++) {
    a[f][t] = bias ? *(V *)(bias + f * B) : *(V *)(y + f * s->y.plane + t * out);
    if (z) a[f][t] += *(V *)(z + f * s->z.plane + t * zc);
  }
  for (int64_t i = unit / s->kernel_rows, r = unit % s->kernel_rows; units > 0; units--) {
    const int64_t n = lanes[i], tap = n * NB * B;
    const float *ww = w + in.columns * tap;
    w += s->kernel_columns * tap;
    if (r >= in.rows && r < in.rows_end)
      for (int64_t k = in.columns; k < in.columns_end; k++) {
        const float *xx = x + i * s->x.plane + r * row + k * column;
        for (int64_t c = 0; c < n; c++, ww += NB * B, xx += PAIR ? 2 : 1) {
          V v[GROUP];
          UNROLL for (int f = 0; f < NB; f++) {
            v[f] = *(V *)(ww + f * B);
            IN_REGISTER(v[f]);
          }
          UNROLL for (int t = 0; t < T; t++) {
            const V q = PAIR ? spread_pair(xx + t * step) : spread(xx[t * step]);
            UNROLL for (int f = 0; f < NB; f++) a[f][t] += v[f] * q;
          }
        }
      }
    if (++r == s->kernel_rows) r = 0, i++;
  }
  if (last) {
    const V low = spread(s->low), high = spread(s->high);
    UNROLL for (int f = 0; f < NB; f++) UNROLL for (int t = 0; t < T; t++)
      a[f][t] = smaller(larger(a[f][t], low), high);
  }
  UNROLL for (int f = 0; f < NB; f++) UNROLL for (int t = 0; t < T; t++)
    *(V *)(y + f * s->y.plane + t * out) = a[f][t];
}

typedef void (*Tile)(const Step *, const float *, const float *, float *, const float *,
                     const float *, const int32_t *, Taps, int64_t, int64_t, int);
/* Columns side by side with stride 1 and 2, whose offsets are constants, and any others; and the
 * same for two groups that take the lanes in turn. */
#define TILE(NB, T, NAME, PAIR, STEP, OUT, ZC)                                                    \
  static void tile_##NB##_##T##_##NAME(const Step *s, const float *x, const float *w, float *y,   \
                                       const float *bias, const float *z, const int32_t *lanes,   \
                                       Taps in, int64_t unit, int64_t units, int last) {          \
    tile(NB, T, PAIR, STEP, OUT, s, x, w, y, bias, z, ZC, lanes, in, unit, units, last);          \
  }
#define TILES_ALONE(NB, T)                                                       \
  TILE(NB, T, one, 0, B, B, B)                                                   \
  TILE(NB, T, two, 0, 2 * B, B, B)                                               \
  TILE(NB, T, any, 0, s->stride_columns * s->x.column, s->y.column, s->z.column)
#ifndef PAIRS
#define PAIRS 1 /* whether a step may have groups that take the lanes in turn */
#endif
#if PAIRS
#define TILES(NB, T)                                                             \
  TILES_ALONE(NB, T)                                                             \
  TILE(NB, T, pair, 1, B, B, B)                                                  \
  TILE(NB, T, any_pair, 1, s->stride_columns * s->x.column, s->y.column, s->z.column)
#define ROW(NB, T)                                                                                \
  {tile_##NB##_##T##_one, tile_##NB##_##T##_two, tile_##NB##_##T##_any, tile_##NB##_##T##_pair,   \
   tile_##NB##_##T##_any_pair}
#else
#define TILES TILES_ALONE
#define ROW(NB, T) {tile_##NB##_##T##_one, tile_##NB##_##T##_two, tile_##NB##_##T##_any, 0, 0}
#endif
#define UP_TO_4(D, NB) D(NB, 1) D(NB, 2) D(NB, 3) D(NB, 4)
#define UP_TO_6(D, NB) UP_TO_4(D, NB) D(NB, 5) D(NB, 6)
#define UP_TO_8(D, NB) UP_TO_6(D, NB) D(NB, 7) D(NB, 8)
#define UP_TO_12(D, NB) UP_TO_8(D, NB) D(NB, 9) D(NB, 10) D(NB, 11) D(NB, 12)
#define LISTED(NB, T) ROW(NB, T),
#if GROUP == 4
UP_TO_12(TILES, 1) UP_TO_12(TILES, 2) UP_TO_8(TILES, 3) UP_TO_6(TILES, 4)
static const Tile tiles[GROUP][12][5] = {{UP_TO_12(LISTED, 1)}, {UP_TO_12(LISTED, 2)},
                                         {UP_TO_8(LISTED, 3)}, {UP_TO_6(LISTED, 4)}};
static const int widest[GROUP] = {12, 12, 8, 6};
#else
UP_TO_12(TILES, 1) UP_TO_6(TILES, 2) UP_TO_4(TILES, 3)
static const Tile tiles[GROUP][12][5] = {{UP_TO_12(LISTED, 1)}, {UP_TO_6(LISTED, 2)},
                                         {UP_TO_4(LISTED, 3)}};
static const int widest[GROUP] = {12, 6, 4};
#endif

/* Taps along one axis that meet the image, for the result at a position. */
INLINE int64_t first_tap(int64_t origin, int64_t dilation) {
  return origin < 0 ? (dilation - 1 - origin) / dilation : 0;
}
INLINE int64_t end_of_taps(int64_t origin, int64_t dilation, int64_t kernel, int64_t size) {
  if (size - origin > (kernel - 1) * dilation) return kernel; /* mostly, and division takes long */
  const int64_t end = size > origin ? (size - origin + dilation - 1) / dilation : 0;
  return end < kernel ? end : kernel;
}

/* With `across`, images are computed side by side as columns, and columns one by one: see conv. */
INLINE Taps taps_of(const Step *s, int64_t r, int64_t n) {
  const int64_t row = r * s->stride_rows - s->top, column = n * s->across - s->left;
  Taps in = {first_tap(row, s->dilation_rows),
             end_of_taps(row, s->dilation_rows, s->kernel_rows, s->input_rows), 0, s->kernel_columns};
  if (s->across) {
    in.columns = first_tap(column, s->dilation_columns);
    in.columns_end = end_of_taps(column, s->dilation_columns, s->kernel_columns, s->input_columns);
  }
  return in;
}

/* Rows r0 to r1 of so many images, for filters f0 to f0 + nb (in blocks), whose weights w are. */
static void conv_part(const Step *s, float *m, const float *constants, const float *w, int64_t f0,
                      int64_t nb, int64_t n0, int64_t n1, int64_t r0, int64_t r1) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  const int64_t step = s->stride_columns * s->x.column, parts = (s->columns + widest[nb - 1] - 1) / widest[nb - 1];
  const int side = s->y.column == B && (s->z.at < 0 || s->z.column == B);
  const int pair = s->together == 2 ? 3 : 0, bounded = s->low > -INFINITY || s->high < INFINITY;
  const int kind = side && step == B ? pair : pair ? 4 : side && step == 2 * B ? 1 : 2;
  for (int64_t unit = 0; unit < s->blocks * s->kernel_rows; unit += s->chunk) {
    const int64_t left = s->blocks * s->kernel_rows - unit, units = left < s->chunk ? left : s->chunk;
    int64_t used = 0;
    EACH(u, units) used += lanes[(unit + u) / s->kernel_rows];
    const float *next = w + used * s->kernel_columns * nb * B, *ahead = next;
    /* The next weights come to the cache while these are used. */
    const int64_t lines = (next - w) / (16 * (n1 - n0) * (r1 - r0) * parts) + 1;
    for (int64_t n = n0; n < n1; n++)
      for (int64_t r = r0; r < r1; r++) {
        const float *x = m + s->x.at + n * s->x.image + r * s->stride_rows * s->x.row;
        float *y = m + s->y.at + n * s->y.image + f0 * s->y.plane + r * s->y.row;
        const float *z = m + s->z.at + n * s->z.image + f0 * s->z.plane + r * s->z.row;
        const Taps in = taps_of(s, r, n);
        for (int64_t t = 0, q = 0, width; t < parts; t++, q += width) {
          width = begin(s->columns, parts, t + 1) - q;
          EACH(l, lines) __builtin_prefetch(ahead + l * 16, 0, 2);
          ahead += lines * 16;
          tiles[nb - 1][width - 1][kind](
              s, x + q * step, w, y + q * s->y.column, unit ? 0 : constants + s->biases + f0 * B,
              unit || s->z.at < 0 ? 0 : z + q * s->z.column, lanes, in, unit, units, bounded && units == left);
        }
        if (units == left && s->function != CLIP) EACH(f, nb) activate(s, y + f * s->y.plane, 1, s->columns);
      }
    w = next;
  }
}

#define TOGETHER 1024  /* positions that pay for reading a chunk of weights from the outer cache */
#define INNER 98304    /* floats of input that stay in the inner caches with everything else */

/* Few positions read every weight few times, and from memory: STREAMS parts of the weights at a
 * time, since a single stream leaves most of what memory delivers unused. */
#define STREAMS 4
#define FEW 6
INLINE void few(const int NB, const int T, const Step *s, const float *x, int64_t count,
                const float *w, float *const *y, const float *bias, const float *const *z) {
  V a[GROUP][FEW];
  UNROLL for (int f = 0; f < NB; f++) UNROLL for (int t = 0; t < T; t++) {
    a[f][t] = *(V *)(bias + f * B);
    if (z[t]) a[f][t] += *(V *)(z[t] + f * s->z.plane);
  }
  const int64_t part = count / STREAMS;
  for (int64_t k = 0; k < part + count % STREAMS; k++)
    for (int64_t u = k < part ? 0 : STREAMS - 1; u < STREAMS; u++) {
      const int64_t at = u * part + k;
      V v[GROUP];
      UNROLL for (int f = 0; f < NB; f++) {
        v[f] = *(V *)(w + (at * NB + f) * B);
        IN_REGISTER(v[f]);
      }
      UNROLL for (int t = 0; t < T; t++) {
        const V q = spread(x[at * T + t]);
        UNROLL for (int f = 0; f < NB; f++) a[f][t] += v[f] * q;
      }
    }
  const V low = spread(s->low), high = spread(s->high);
  UNROLL for (int f = 0; f < NB; f++) UNROLL for (int t = 0; t < T; t++)
    *(V *)(y[t] + f * s->y.plane) = smaller(larger(a[f][t], low), high);
}

typedef void (*Few)(const Step *, const float *, int64_t, const float *, float *const *,
                    const float *, const float *const *);
#define FEW_AT(NB, T)                                                                       \
  static void few_##NB##_##T(const Step *s, const float *x, int64_t count, const float *w,  \
                             float *const *y, const float *bias, const float *const *z) {   \
    few(NB, T, s, x, count, w, y, bias, z);                                                 \
  }
#define FEW_LISTED(NB, T) few_##NB##_##T,
UP_TO_6(FEW_AT, 1) UP_TO_6(FEW_AT, 2) UP_TO_6(FEW_AT, 3)
#if GROUP == 4
UP_TO_6(FEW_AT, 4)
#endif
static const Few fews[GROUP][FEW] = {{UP_TO_6(FEW_LISTED, 1)}, {UP_TO_6(FEW_LISTED, 2)},
                                     {UP_TO_6(FEW_LISTED, 3)},
#if GROUP == 4
                                     {UP_TO_6(FEW_LISTED, 4)}
#endif
};

static int64_t few_room(const Step *s, int64_t positions) {
  return (int64_t)sizeof(float) * s->blocks * B * s->kernel_rows * s->kernel_columns * positions;
}
static void conv_few(const Step *s, float *m, const float *constants, int threads) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  const int64_t groups = (s->filters + GROUP - 1) / GROUP;
  const int64_t positions = s->images * s->rows * s->columns;
  const float *from[FEW];
  int64_t to[FEW], add[FEW], count = 0;
  EACH(t, positions) {
    const int64_t n = t / (s->rows * s->columns), r = t / s->columns % s->rows, q = t % s->columns;
    from[t] = m + s->x.at + n * s->x.image + r * s->stride_rows * s->x.row + q * s->stride_columns * s->x.column;
    to[t] = s->y.at + n * s->y.image + r * s->y.row + q * s->y.column;
    add[t] = s->z.at + n * s->z.image + r * s->z.row + q * s->z.column;
  }
  float *x = TAKE_ROOM(m, few_room(s, positions)), *end = x;
  EACH(i, s->blocks) EACH(r, s->kernel_rows) EACH(k, s->kernel_columns) {
    const int64_t at = i * s->x.plane + r * s->dilation_rows * s->x.row + k * s->dilation_columns * s->x.column;
    EACH(l, lanes[i]) EACH(t, positions) *end++ = from[t][at + l];
    count += lanes[i];
  }
  (void)threads;
  OMP(parallel for num_threads(threads) if (threads > 1))
  for (int64_t g = 0; g < groups; g++) {
    const int64_t f0 = begin(s->filters, groups, g), nb = begin(s->filters, groups, g + 1) - f0;
    float *y[FEW];
    const float *z[FEW];
    EACH(t, positions) {
      y[t] = m + to[t] + f0 * s->y.plane;
      z[t] = s->z.at < 0 ? 0 : m + add[t] + f0 * s->z.plane;
    }
    fews[nb - 1][positions - 1](s, x, count, constants + s->weights + count * f0 * B, y,
                                constants + s->biases + f0 * B, z);
    if (s->function != CLIP) EACH(t, positions) EACH(f, nb) activate(s, y[t] + f * s->y.plane, 1, 1);
  }
  LEAVE_ROOM(x);
}

/* Images as columns and columns as images: then no tap over the border is computed. */
static Step turned(const Step *s) {
  Step a = *s;
  a.images = s->columns, a.columns = s->images, a.across = s->stride_columns;
  a.x.image = s->stride_columns * s->x.column, a.stride_columns = s->x.image / s->x.column;
  a.y.image = s->y.column, a.y.column = s->y.image;
  a.z.image = s->z.column, a.z.column = s->z.image;
  return a;
}

static void conv(const Step *s, float *m, const float *constants, int threads) {
  if (s->images * s->rows * s->columns <= FEW && s->together != 2) {
    conv_few(s, m, constants, threads);
    return;
  }
  const Step aside = s->across ? turned(s) : *s;
  s = &aside;
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  const int64_t groups = (s->filters + GROUP - 1) / GROUP;
  int64_t used = 0, images = TOGETHER / (s->rows * s->columns), rows = s->rows;
  EACH(i, s->blocks) used += lanes[i];
  if (images < 1) images = 1;
  if (s->kernel_rows * s->kernel_columns == 1) { /* each filter reads the whole input: part by part it stays near */
    rows = INNER / (s->blocks * s->x.row * s->stride_rows);
    rows = rows < 1 ? 1 : rows > s->rows ? s->rows : rows;
  }
  const int64_t bands = (s->rows + rows - 1) / rows, bunches = (s->images + images - 1) / images;
  (void)threads;
  OMP(parallel for collapse(3) num_threads(threads) if (threads > 1))
  for (int64_t u = 0; u < bunches; u++)
    for (int64_t v = 0; v < bands; v++)
      for (int64_t g = 0; g < groups; g++) {
        const int64_t f0 = begin(s->filters, groups, g), nb = begin(s->filters, groups, g + 1) - f0;
        const int64_t n1 = (u + 1) * images < s->images ? (u + 1) * images : s->images;
        conv_part(s, m, constants, constants + s->weights + used * s->kernel_rows * s->kernel_columns * f0 * B, f0, nb,
                  u * images, n1, begin(s->rows, bands, v), begin(s->rows, bands, v + 1));
      }
}
