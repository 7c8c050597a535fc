/* Convolutions most of whose weights are zero: only products with the others are computed.
 *
 * Positions are the lanes of a vector, so that a weight meets as many as registers hold. Blocks of
 * channels are turned into planes for that, some rows of an image at a time (a band), and what the
 * weights of a channel read of its plane is copied side by side, so that no read crosses a cache
 * line: SHIFTED, once for each column of the kernel (rows of whole vectors); TAPS, once for each tap;
 * or BASES, the plane's convolutions with a few kernels that all filters share (columns one by one). Weights stand by
 * parts of a block, whose copies stay in the innermost cache, and there filter by filter. */
enum { SHIFTED, TAPS, BASES };

typedef struct {
  int64_t line, lines, plane;      /* of a plane: positions of a line, lines, and floats in all */
  int64_t copies, height, length;  /* of a channel: copies, rows and floats of each */
  int64_t vectors, sums;           /* of a filter's results: vectors, and floats to the next filter */
  float *planes, *copied, *summed;
} Band;

/* Floats to what comes next: an odd number of cache lines, which fills the sets of a cache evenly. */
INLINE int64_t odd_lines(int64_t floats) { return ((floats + 15) / 16 | 1) * 16; }

INLINE Band band_of(const Step *s) {
  Band h;
  h.line = (s->columns - 1) * s->stride_columns + (s->kernel_columns - 1) * s->dilation_columns + 1;
  h.lines = (s->bunch - 1) * s->stride_rows + (s->kernel_rows - 1) * s->dilation_rows + 1;
  h.plane = odd_lines(h.lines * h.line + B);
  h.copies = s->mode == BASES ? s->bases : s->kernel_columns * (s->mode == TAPS ? s->kernel_rows : 1);
  h.height = s->mode == SHIFTED ? h.lines : s->bunch;
  h.length = odd_lines(h.height * s->pitch + B);
  h.vectors = (s->bunch * s->pitch + B - 1) / B;
  h.sums = odd_lines(h.vectors * B);
  return h;
}
/* Reads of a plane's last line may go on for a row of vectors and its shift. */
INLINE int64_t planes_of(const Step *s, const Band *h) {
  return odd_lines(B * h->plane + (s->pitch + 2 * B) * s->stride_columns + h->line);
}
INLINE int64_t band_floats(const Step *s) {
  const Band h = band_of(s);
  return planes_of(s, &h) + B * h.copies * h.length + s->filters * B * h.sums;
}

/* So many positions of a block, side by side from x on, become parts of planes. */
static void turn_run(const float *x, int64_t positions, int64_t lanes, float *to, int64_t plane) {
  for (int64_t p = 0; p < positions; p += B) {
    V v[B];
    UNROLL for (int t = 0; t < B; t++) v[t] = *(V *)(x + (p + t) * B);
    transpose(v);
    if (lanes == B) UNROLL for (int c = 0; c < B; c++) *(U *)(to + c * plane + p) = v[c];
    else EACH(c, lanes) *(U *)(to + c * plane + p) = v[c];
  }
}
static void turn_block(const Step *s, const Band *h, const float *x, int64_t lines, int64_t lanes) {
  if (s->x.row == h->line * B) turn_run(x, lines * h->line, lanes, h->planes, h->plane);
  else EACH(r, lines) turn_run(x + r * s->x.row, h->line, lanes, h->planes + r * h->line, h->plane);
}

/* Rows, every so many lines and columns of a plane; what is written beyond one, the next overwrites. */
#define EVEN(i) (2 * (i))
INLINE void copy_rows(const float *x, int64_t line, int64_t stride, int64_t rows, int64_t columns, float *y, int64_t pitch) {
  if (stride == 1 && columns <= B) EACH(i, rows) *(U *)(y + i * pitch) = *(U *)(x + i * line);
  else if (stride == 1)
    EACH(i, rows) for (int64_t j = 0; j < columns; j += B) *(U *)(y + i * pitch + j) = *(U *)(x + i * line + j);
  else if (stride == 2)
    EACH(i, rows) for (int64_t j = 0; j < columns; j += B) {
      const V a = *(U *)(x + i * line + 2 * j), b = *(U *)(x + i * line + 2 * j + B);
      *(U *)(y + i * pitch + j) = SHUFFLED(a, b, EVEN);
    }
  else EACH(i, rows) EACH(j, columns) y[i * pitch + j] = x[i * line + j * stride];
}
/* What the weights of a channel read. */
static void copy_channel(const Step *s, const Band *h, int64_t c, int64_t rows) {
  const float *x = h->planes + c * h->plane;
  float *y = h->copied + c * h->copies * h->length;
  const int64_t taps = s->mode == TAPS ? s->kernel_rows : 1, step = s->mode == TAPS ? s->stride_rows : 1;
  EACH(r, taps) EACH(k, s->kernel_columns) {
    const float *from = x + r * s->dilation_rows * h->line + k * s->dilation_columns;
    copy_rows(from, step * h->line, s->stride_columns, rows, s->columns, y, s->pitch);
    y += h->length;
  }
}

#if GROUP == 4
#define BASE_VECTORS 4 /* with up to 6 kernels */
#else
#define BASE_VECTORS 2
#endif

/* Vectors of each of D convolutions with kernels that follow one another in w. */
INLINE void some_bases(const int D, const Step *s, const Band *h, const float *w,
                       const float *const *x, float *const *y) {
  const int T = BASE_VECTORS;
  const int64_t taps = s->kernel_rows * s->kernel_columns;
  V a[6][BASE_VECTORS];
  UNROLL for (int d = 0; d < D; d++) UNROLL for (int t = 0; t < T; t++) a[d][t] = (V){};
  EACH(r, s->kernel_rows) EACH(k, s->kernel_columns) {
    const int64_t at = r * s->dilation_rows * h->line + k * s->dilation_columns;
    V v[BASE_VECTORS];
    UNROLL for (int t = 0; t < T; t++) {
      v[t] = *(U *)(x[t] + at);
      IN_REGISTER(v[t]);
    }
    UNROLL for (int d = 0; d < D; d++) {
      const V q = spread(w[d * taps]);
      UNROLL for (int t = 0; t < T; t++) a[d][t] += v[t] * q;
    }
    w++;
  }
  UNROLL for (int d = 0; d < D; d++) UNROLL for (int t = 0; t < T; t++) *(U *)(y[t] + d * h->length) = a[d][t];
}
#define BASES_OF(D)                                                                                     \
  static void bases_of_##D(const Step *s, const Band *h, const float *w, const float *const *x, float *const *y) { \
    some_bases(D, s, h, w, x, y);                                                         \
  }
BASES_OF(1) BASES_OF(2) BASES_OF(3) BASES_OF(4) BASES_OF(5) BASES_OF(6)
typedef void (*SomeBases)(const Step *, const Band *, const float *, const float *const *, float *const *);
static const SomeBases bases_by_count[6] = {bases_of_1, bases_of_2, bases_of_3, bases_of_4, bases_of_5, bases_of_6};

/* The convolutions of a channel's plane. Vectors beyond the last are computed at its place again. */
static void base_channel(const Step *s, const Band *h, const float *w, int64_t c, int64_t rows) {
  const float *plane = h->planes + c * h->plane;
  float *copied = h->copied + c * h->copies * h->length;
  const int64_t across = (s->columns + B - 1) / B, all = rows * across;
  for (int64_t first = 0; first < all; first += BASE_VECTORS) {
    const float *x[BASE_VECTORS];
    float *y[BASE_VECTORS];
    EACH(t, BASE_VECTORS) {
      const int64_t unit = first + t < all ? first + t : all - 1, r = unit / across, j = unit % across * B;
      x[t] = plane + r * s->stride_rows * h->line + j;
      y[t] = copied + r * s->pitch + j;
    }
    for (int64_t d = 0; d < s->bases; d += 6) {
      const int64_t count = s->bases - d < 6 ? s->bases - d : 6;
      float *to[BASE_VECTORS];
      EACH(t, BASE_VECTORS) to[t] = y[t] + d * h->length;
      bases_by_count[count - 1](s, h, w + d * s->kernel_rows * s->kernel_columns, x, to);
    }
  }
}

/* Weights of a part of a block, for all filters: how many there are before those of each, the
 * vectors that they multiply, and they. */
typedef struct {
  const int32_t *starts;
  const uint16_t *entries;
  const float *weights;
} Weights;

/* T vectors of every filter's sums; the first part begins with the biases. */
INLINE void sum_filters(const int T, int64_t filters, Weights w, const float *bias, const float *x,
                        float *y, int64_t sums) {
  for (int64_t f = 0; f < filters; f++, y += sums) {
    const int64_t first = w.starts[f], end = w.starts[f + 1];
    if (first == end && !bias) continue;
    V a[8], b[4] = {};
    UNROLL for (int t = 0; t < T; t++) a[t] = bias ? spread(bias[f]) : *(V *)(y + t * B);
    int64_t e = first;
    if (T <= 4) { /* twice as many sums, so that none waits for the one before it */
      for (; e + 1 < end; e += 2) {
        const float *v = x + (int64_t)w.entries[e] * B, *u = x + (int64_t)w.entries[e + 1] * B;
        const V q = spread(w.weights[e]), r = spread(w.weights[e + 1]);
        UNROLL for (int t = 0; t < T; t++) a[t] += q * *(V *)(v + t * B);
        UNROLL for (int t = 0; t < T; t++) b[t] += r * *(V *)(u + t * B);
      }
      UNROLL for (int t = 0; t < T; t++) a[t] += b[t];
    }
    for (; e < end; e++) {
      const float *v = x + (int64_t)w.entries[e] * B;
      const V q = spread(w.weights[e]);
      UNROLL for (int t = 0; t < T; t++) a[t] += q * *(V *)(v + t * B);
    }
    UNROLL for (int t = 0; t < T; t++) *(V *)(y + t * B) = a[t];
  }
}
typedef void (*SumFilters)(int64_t, Weights, const float *, const float *, float *, int64_t);
#define SUM_FILTERS(K, S, T)                                                                       \
  static void sum_filters_##T(int64_t filters, Weights w, const float *bias, const float *x, float *y, int64_t sums) { \
    sum_filters(T, filters, w, bias, x, y, sums);                                                  \
  }
#define SUM_LISTED(K, S, T) sum_filters_##T,
UP_TO_8_OF(SUM_FILTERS, , )
static const SumFilters sums_of[8] = {UP_TO_8_OF(SUM_LISTED, , )};

/* Sums of a block of filters go back to where lanes are filters. */
static void end_block(const Step *s, const Band *h, const float *sums, int64_t rows, float *y, const float *z) {
  const V low = spread(s->low), high = spread(s->high);
  int64_t r = 0, q = 0;
  for (int64_t p = 0; r < rows; p += B) {
    V v[B];
    UNROLL for (int f = 0; f < B; f++) v[f] = *(V *)(sums + f * h->sums + p);
    transpose(v);
    EACH(t, B) {
      if (q < s->columns) {
        V a = v[t];
        if (z) a += *(V *)(z + r * s->z.row + q * s->z.column);
        *(V *)(y + r * s->y.row + q * s->y.column) = smaller(larger(a, low), high);
      }
      if (++q == s->pitch && (q = 0, ++r == rows)) break;
    }
  }
  if (s->function != CLIP) activate(s, y, rows, s->columns);
}

/* Sums of a filter go to its plane. */
static void end_plane(const Step *s, const float *sums, int64_t rows, float *y, const float *z) {
  const V low = spread(s->low), high = spread(s->high);
  EACH(r, rows) for (int64_t q = 0; q < s->columns; q += B) {
    V a = *(U *)(sums + r * s->pitch + q);
    if (z) a += *(U *)(z + r * s->z.row + q);
    a = s->function == CLIP ? smaller(larger(a, low), high) : apply(s->function, s, a);
    if (s->columns - q >= B) *(U *)(y + r * s->y.row + q) = a;
    else store_first(y + r * s->y.row + q, a, s->columns - q);
  }
}

/* Rows r0 to r0 + rows of an image. */
static void sparse_band(const Step *s, const Band *h, float *m, const float *constants, int64_t n, int64_t r0,
                        int64_t rows) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes), *starts = (const int32_t *)(constants + s->starts);
  const int64_t filters = s->filters * B, vectors = (rows * s->pitch + B - 1) / B, tiles = (vectors + 7) / 8;
  const int64_t lines = (rows - 1) * s->stride_rows + (s->kernel_rows - 1) * s->dilation_rows + 1;
  const float *x = m + s->x.at + n * s->x.image + r0 * s->stride_rows * s->x.row;
  EACH(i, s->blocks) {
    Band b = *h;
    if (s->x.column == 1) b.planes = (float *)x + i * B * s->x.plane;
    else {
      OMP(single)
      turn_block(s, h, x + i * s->x.plane, lines, lanes[i]);
    }
    OMP(for)
    for (int64_t c = 0; c < lanes[i]; c++)
      if (s->mode == BASES) base_channel(s, &b, constants + s->basis, c, rows);
      else copy_channel(s, &b, c, s->mode == SHIFTED ? lines : rows);
    OMP(for)
    for (int64_t t = 0; t < tiles; t++) {
      const int64_t v = begin(vectors, tiles, t), count = begin(vectors, tiles, t + 1) - v;
      EACH(p, s->chunk) {
        const Weights w = {starts + (i * s->chunk + p) * filters, (const uint16_t *)(constants + s->entries),
                           constants + s->weights};
        const float *copied = h->copied + begin(B, s->chunk, p) * h->copies * h->length + v * B;
        sums_of[count - 1](filters, w, i + p ? 0 : constants + s->biases, copied, h->summed + v * B, h->sums);
      }
    }
  }
  if (s->y.column == 1) {
    OMP(for)
    for (int64_t f = 0; f < s->outputs; f++) {
      float *y = m + s->y.at + n * s->y.image + f * s->y.plane + r0 * s->y.row;
      const float *z = m + s->z.at + n * s->z.image + f * s->z.plane + r0 * s->z.row;
      end_plane(s, h->summed + f * h->sums, rows, y, s->z.at < 0 ? 0 : z);
    }
    return;
  }
  OMP(for)
  for (int64_t f = 0; f < s->filters; f++) {
    float *y = m + s->y.at + n * s->y.image + f * s->y.plane + r0 * s->y.row;
    const float *z = m + s->z.at + n * s->z.image + f * s->z.plane + r0 * s->z.row;
    end_block(s, h, h->summed + f * B * h->sums, rows, y, s->z.at < 0 ? 0 : z);
  }
}

static void sparse(const Step *s, float *m, const float *constants, int threads) {
  Band h = band_of(s);
  h.planes = m + s->scratch.at;
  h.copied = h.planes + planes_of(s, &h);
  h.summed = h.copied + B * h.copies * h.length;
  if (s->x.column == 1) h.line = s->x.row, h.plane = s->x.plane; /* planes already */
  (void)threads;
  OMP(parallel num_threads(threads) if (threads > 1))
  EACH(n, s->images)
    for (int64_t r = 0; r < s->rows; r += s->bunch)
      sparse_band(s, &h, m, constants, n, r, s->rows - r < s->bunch ? s->rows - r : s->bunch);
}
