/* Convolutions at the positions that a mask keeps: each position has its own pointer, and every
 * product is computed. Where a transform pays for whole tiles (`least` kept positions or more of
 * one), those are computed so. Elsewhere the result is zero, and what is added to it. */
#define SOME 4096        /* positions of a band: its lists stay in the caches */
#define MOST_ACROSS 1024 /* vectors of a row of which tiles are computed */

typedef struct {
  int64_t count, dropped;
  int32_t *x, *y, *z, *taps;      /* of those kept: offsets in floats; rows of taps that meet the image */
  int32_t *dropped_y, *dropped_z; /* of the others */
  int64_t tiles;                  /* of transforms, */
  Spot *spots;                    /* and which they are */
} List;

/* Images and rows that are listed together. */
typedef struct {
  int64_t images, rows;
} Some;
static Some some_of(const Step *s) {
  const int64_t positions = s->rows * s->columns, lines = SOME / s->columns / 4 * 4;
  if (positions <= SOME) return (Some){SOME / positions, s->rows};
  return (Some){1, lines < 4 ? 4 : lines}; /* whole tiles */
}
/* Positions that the lists have room for: vectors are written whole. */
static int64_t list_room(const Step *s) {
  const Some some = some_of(s);
  return (some.images < s->images ? some.images : s->images) * some.rows * s->columns + B;
}
#define LISTS 6
#define SPOT_FLOATS ((int64_t)(sizeof(Spot) / sizeof(float)))
/* Floats of scratch memory: the lists, the tiles, and their values. */
INLINE int64_t list_floats(const Step *s) {
  if (!s->least) return LISTS * list_room(s);
  Values from, to;
  lay_out(transforms + s->mode, s->blocks, s->bunch, &from);
  lay_out(transforms + s->mode, s->filters, s->bunch, &to);
  return (LISTS + SPOT_FLOATS) * list_room(s) + 2 * B + from.size + to.size;
}

/* Those of `count` numbers from `first` on, a step apart, whose bit is set; returns the end. */
INLINE int32_t *put_kept(int32_t *to, uint32_t bits, int64_t first, int64_t step, int64_t count) {
#if B == 16
  (void)count;
  const __m512i each = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i all = _mm512_add_epi32(_mm512_set1_epi32((int)first), _mm512_mullo_epi32(each, _mm512_set1_epi32((int)step)));
  _mm512_storeu_si512(to, _mm512_maskz_compress_epi32((__mmask16)bits, all));
  return to + __builtin_popcount(bits);
#else
  EACH(l, count) {
    *to = (int32_t)(first + l * step);
    to += bits >> l & 1;
  }
  return to;
#endif
}
INLINE uint32_t bits_of(const float *mask, int64_t count) {
#if B == 16
  const __mmask16 in = (__mmask16)((1u << count) - 1);
  return _mm512_mask_cmp_ps_mask(in, _mm512_maskz_loadu_ps(in, mask), _mm512_setzero_ps(), _CMP_NEQ_UQ);
#else
  uint32_t bits = 0;
  EACH(l, count) bits |= (uint32_t)(mask[l] != 0) << l;
  return bits;
#endif
}

/* The tiles of a row of them that transforms compute; their columns become bits. */
static void list_tiles(const Step *s, const float *m, int64_t n, int64_t n0, int64_t row, uint32_t *taken, List *list) {
  const int64_t size = transforms[s->mode].outputs, left = s->rows - row * size, rows = left < size ? left : size;
  const uint32_t one = (1u << size) - 1;
  for (int64_t q = 0; q < s->columns; q += B) {
    uint32_t bits[SPAN], found = 0;
    const int64_t count = s->columns - q < B ? s->columns - q : B;
    EACH(r, rows) bits[r] = bits_of(m + s->mask.at + n * s->mask.image + (row * size + r) * s->mask.row + q, count);
    for (int64_t c = 0; c < count; c += size) {
      int64_t kept = 0;
      EACH(r, rows) kept += __builtin_popcount(bits[r] >> c & one);
      if (kept < s->least) continue;
      found |= one << c;
      list->spots[list->tiles++] = (Spot){n - n0, row, (q + c) / size};
    }
    taken[q / B] = found;
  }
}

/* The lists of some rows of some images. */
static void list_some(const Step *s, const float *m, int64_t n0, int64_t n1, int64_t r0, int64_t r1, List *list) {
  int32_t *x = list->x, *y = list->y, *z = list->z, *taps = list->taps, *dy = list->dropped_y, *dz = list->dropped_z;
  const int64_t size = s->least ? transforms[s->mode].outputs : 1;
  uint32_t taken[MOST_ACROSS] = {0};
  list->tiles = 0;
  for (int64_t n = n0; n < n1; n++)
    for (int64_t r = r0; r < r1; r++) {
      const float *mask = m + s->mask.at + n * s->mask.image + r * s->mask.row;
      const int64_t xs = s->stride_columns * s->x.column, xx = (n - n0) * s->x.image + r * s->stride_rows * s->x.row;
      const int64_t yy = (n - n0) * s->y.image + r * s->y.row, zz = (n - n0) * s->z.image + r * s->z.row;
      const int32_t *first = x;
      if (s->least && r % size == 0) list_tiles(s, m, n, n0, r / size, taken, list);
      for (int64_t q = 0; q < s->columns; q += B) {
        const int64_t count = s->columns - q < B ? s->columns - q : B;
        const uint32_t kept = bits_of(mask + q, count), others = ~kept & ((1u << count) - 1);
        const uint32_t bits = s->least ? kept & ~taken[q / B] : kept;
        x = put_kept(x, bits, xx + q * xs, xs, count);
        y = put_kept(y, bits, yy + q * s->y.column, s->y.column, count);
        dy = put_kept(dy, others, yy + q * s->y.column, s->y.column, count);
        if (s->z.at < 0) continue;
        z = put_kept(z, bits, zz + q * s->z.column, s->z.column, count);
        dz = put_kept(dz, others, zz + q * s->z.column, s->z.column, count);
      }
      const Taps in = taps_of(s, r, n);
      while (first++ < x) *taps++ = in.rows | in.rows_end << 16;
    }
  list->count = x - list->x, list->dropped = dy - list->dropped_y;
}

#if GROUP == 4
#define AT_ONCE 8
static const int at_once[GROUP] = {8, 8, 8, 6};
#else
#define AT_ONCE 8
static const int at_once[GROUP] = {8, 6, 4};
#endif

/* NB blocks of filters at T listed positions. */
INLINE void listed(const int NB, const int T, const Step *s, const float *x, const int32_t *from, const float *w,
                   float *y, const int32_t *to, const float *bias, const float *z, const int32_t *add,
                   const int32_t *lanes, Taps in, int64_t unit, int64_t units, int last) {
  V a[GROUP][AT_ONCE];
  const float *p[AT_ONCE];
  const int64_t row = s->x.row * s->dilation_rows, column = s->x.column * s->dilation_columns;
  UNROLL for (int t = 0; t < T; t++) p[t] = x + from[t];
  UNROLL for (int f = 0; f < NB; f++) UNROLL for (int t = 0; t < T; t++) {
    a[f][t] = bias ? *(V *)(bias + f * B) : *(V *)(y + f * s->y.plane + to[t]);
    if (z) a[f][t] += *(V *)(z + f * s->z.plane + add[t]);
  }
  for (int64_t i = unit / s->kernel_rows, r = unit % s->kernel_rows; units > 0; units--) {
    const int64_t n = lanes[i];
    if (r >= in.rows && r < in.rows_end) {
      const float *ww = w;
      EACH(k, s->kernel_columns) {
        const int64_t at = i * s->x.plane + r * row + k * column;
        for (int64_t c = at; c < at + n; c++, ww += NB * B) {
          V v[GROUP];
          UNROLL for (int f = 0; f < NB; f++) {
            v[f] = *(V *)(ww + f * B);
            IN_REGISTER(v[f]);
          }
          UNROLL for (int t = 0; t < T; t++) {
            const V q = spread(p[t][c]);
            UNROLL for (int f = 0; f < NB; f++) a[f][t] += v[f] * q;
          }
        }
      }
    }
    w += s->kernel_columns * n * NB * B;
    if (++r == s->kernel_rows) r = 0, i++;
  }
  if (last) {
    const V low = spread(s->low), high = spread(s->high);
    UNROLL for (int f = 0; f < NB; f++) UNROLL for (int t = 0; t < T; t++)
      a[f][t] = smaller(larger(a[f][t], low), high);
  }
  UNROLL for (int f = 0; f < NB; f++) UNROLL for (int t = 0; t < T; t++)
    *(V *)(y + f * s->y.plane + to[t]) = a[f][t];
}

typedef void (*Listed)(const Step *, const float *, const int32_t *, const float *, float *, const int32_t *, const float *,
                       const float *, const int32_t *, const int32_t *, Taps, int64_t, int64_t, int);
#define LISTED_AT(NB, T)                                                                                          \
  static void listed_##NB##_##T(const Step *s, const float *x, const int32_t *from, const float *w, float *y,     \
                                const int32_t *to, const float *bias, const float *z, const int32_t *add,         \
                                const int32_t *lanes, Taps in, int64_t unit, int64_t units, int last) {           \
    listed(NB, T, s, x, from, w, y, to, bias, z, add, lanes, in, unit, units, last);                              \
  }
#define LISTED_NAMED(NB, T) listed_##NB##_##T,
#if GROUP == 4
UP_TO_8(LISTED_AT, 1) UP_TO_8(LISTED_AT, 2) UP_TO_8(LISTED_AT, 3) UP_TO_6(LISTED_AT, 4)
static const Listed listed_of[GROUP][AT_ONCE] = {{UP_TO_8(LISTED_NAMED, 1)}, {UP_TO_8(LISTED_NAMED, 2)},
                                                 {UP_TO_8(LISTED_NAMED, 3)}, {UP_TO_6(LISTED_NAMED, 4)}};
#else
UP_TO_8(LISTED_AT, 1) UP_TO_6(LISTED_AT, 2) UP_TO_4(LISTED_AT, 3)
static const Listed listed_of[GROUP][AT_ONCE] = {{UP_TO_8(LISTED_NAMED, 1)}, {UP_TO_6(LISTED_NAMED, 2)},
                                                 {UP_TO_4(LISTED_NAMED, 3)}};
#endif

#define NEAR_BYTES (192 << 10)
#define NEAREST_BYTES (24 << 10)
/* Rows of taps whose weights are used by all positions before the next ones': all, where they stay in
 * an inner cache, since six positions take longer than their weights to come from there. */
static int64_t together_of(const Step *s, const int32_t *lanes, int64_t nb) {
  int64_t most = 1;
  EACH(i, s->blocks) most = lanes[i] > most ? lanes[i] : most;
  const int64_t all = s->blocks * s->kernel_rows, row = 4 * nb * B * most * s->kernel_columns;
  if (row * all <= NEAR_BYTES) return all;
  return row < NEAREST_BYTES ? NEAREST_BYTES / row : 1;
}

/* The kept positions of a list, for filters f0 to f0 + nb (in blocks), whose weights w are. Those at
 * once have the same taps: rows over the border are not computed. */
static void list_part(const Step *s, const List *list, const float *x, float *y, const float *z,
                      const float *constants, const float *w, int64_t f0, int64_t nb) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes), *taps = list->taps;
  const int64_t chunk = together_of(s, lanes, nb), all = s->blocks * s->kernel_rows;
  const int bounded = s->low > -INFINITY || s->high < INFINITY;
  for (int64_t unit = 0; unit < all; unit += chunk) {
    const int64_t units = all - unit < chunk ? all - unit : chunk;
    const int last = bounded && unit + units == all;
    int64_t used = 0;
    EACH(u, units) used += lanes[(unit + u) / s->kernel_rows] * s->kernel_columns * nb * B;
    const float *ahead = w + used; /* the next weights come while these are used */
    const int64_t lines = unit + units == all ? 0 : used * at_once[nb - 1] / (16 * list->count) + 1;
    for (int64_t p = 0, end; p < list->count; p = end) {
      for (end = p + 1; end < list->count && taps[end] == taps[p];) end++;
      const Taps in = {taps[p] & 0xffff, taps[p] >> 16, 0, 0};
      const int64_t parts = (end - p + at_once[nb - 1] - 1) / at_once[nb - 1];
      for (int64_t t = 0, q = p, width; t < parts; t++, q += width) {
        width = p + begin(end - p, parts, t + 1) - q;
        EACH(l, lines) __builtin_prefetch(ahead + l * 16, 0, 2);
        ahead += lines * 16;
        listed_of[nb - 1][width - 1](s, x, list->x + q, w, y, list->y + q, unit ? 0 : constants + s->biases + f0 * B,
                                     unit ? 0 : z, list->z + q, lanes, in, unit, units, last);
      }
    }
    w += used;
  }
  if (s->function != CLIP) EACH(f, nb) EACH(p, list->count) activate(s, y + f * s->y.plane + list->y[p], 1, 1);
}

/* The others: zero, and what is added. */
static void drop_part(const Step *s, const List *list, float *y, const float *z, int64_t nb) {
  const V zero = clip(s, (V){});
  EACH(f, nb) {
    float *to = y + f * s->y.plane;
    const float *add = z + f * s->z.plane;
    if (z) EACH(p, list->dropped) *(V *)(to + list->dropped_y[p]) = clip(s, *(V *)(add + list->dropped_z[p]));
    else EACH(p, list->dropped) *(V *)(to + list->dropped_y[p]) = zero;
    if (s->function != CLIP) EACH(p, list->dropped) activate(s, to + list->dropped_y[p], 1, 1);
  }
}

/* The listed tiles, some at a time. */
static void tiles_part(const Step *s, const List *list, float *m, const float *constants, float *scratch) {
  const Transform *t = transforms + s->mode;
  Values from, to;
  lay_out(t, s->blocks, s->bunch, &from);
  lay_out(t, s->filters, s->bunch, &to);
  EACH(v, SPAN * SPAN) to.first[v] += from.size;
  for (int64_t tile = 0; tile < list->tiles; tile += s->bunch) {
    Step a = *s;
    const int64_t count = list->tiles - tile < s->bunch ? list->tiles - tile : s->bunch;
    const Spot *spots = list->spots + tile;
    a.weights = s->basis, a.bunch = count;
#define LISTED_IN_KIND(KIND, N, O)                                              \
  case KIND:                                                                    \
    bunch_forward(KIND, N, s, m, &from, spots, 0, count, scratch);              \
    bunch_products(&a, &from, &to, constants, scratch);                         \
    bunch_backward(KIND, N, O, s, m, constants, &to, spots, 0, count, scratch); \
    break;
    switch (s->mode) {
      LISTED_IN_KIND(F43, 6, 4)
      LISTED_IN_KIND(F23, 4, 2)
    }
  }
}

static void list_conv(const Step *s, float *m, const float *constants, int threads) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  const int64_t groups = (s->filters + GROUP - 1) / GROUP, room = list_room(s);
  const Some some = some_of(s);
  int32_t *memory = (int32_t *)(m + s->scratch.at);
  List list = {0, 0, memory, memory + room, memory + 2 * room, memory + 3 * room, memory + 4 * room,
               memory + 5 * room, 0, (Spot *)(((uintptr_t)(memory + LISTS * room) + 7) & ~(uintptr_t)7)};
  float *values = (float *)(((uintptr_t)(list.spots + room) + 63) & ~(uintptr_t)63);
  int64_t used = 0;
  EACH(i, s->blocks) used += lanes[i];
  (void)threads;
  for (int64_t n = 0; n < s->images; n += some.images)
    for (int64_t r = 0; r < s->rows; r += some.rows) {
      const int64_t n1 = n + some.images < s->images ? n + some.images : s->images;
      list_some(s, m, n, n1, r, r + some.rows < s->rows ? r + some.rows : s->rows, &list);
      Step a = *s;
      a.x.at += n * s->x.image, a.y.at += n * s->y.image, a.z.at += s->z.at < 0 ? 0 : n * s->z.image;
      OMP(parallel num_threads(threads) if (threads > 1))
      {
        if (list.tiles) tiles_part(&a, &list, m, constants, values);
        OMP(for)
        for (int64_t g = 0; g < groups; g++) {
          const int64_t f0 = begin(s->filters, groups, g), nb = begin(s->filters, groups, g + 1) - f0;
          float *y = m + a.y.at + f0 * s->y.plane;
          const float *x = m + a.x.at, *z = s->z.at < 0 ? 0 : m + a.z.at + f0 * s->z.plane;
          const float *w = constants + s->weights + used * s->kernel_rows * s->kernel_columns * f0 * B;
          if (list.count) list_part(s, &list, x, y, z, constants, w, f0, nb);
          drop_part(s, &list, y, z, nb);
        }
      }
    }
}

/* What a layer of any kind has computed, times the mask. */
static void keep(const Step *s, float *m, int threads) {
  (void)threads;
  OMP(parallel for collapse(2) num_threads(threads) if (threads > 1))
  for (int64_t n = 0; n < s->images; n++)
    for (int64_t i = 0; i < s->blocks; i++) EACH(r, s->rows) {
        const float *mask = m + s->mask.at + n * s->mask.image + r * s->mask.row;
        const float *x = m + s->x.at + n * s->x.image + i * s->x.plane + r * s->x.row;
        float *y = m + s->y.at + n * s->y.image + i * s->y.plane + r * s->y.row;
        EACH(q, s->columns) *(V *)(y + q * B) = clip(s, mask[q] != 0 ? *(V *)(x + q * B) : (V){});
        if (s->function != CLIP) activate(s, y, 1, s->columns);
      }
}
