/* Networks in integers. Codes are bytes in blocks of B channels, u8 with a zero point; a tap of a
 * convolution reads them four channels at a time, 32 bits that are spread over a vector of filters.
 * Fused average pools leave sums of 16 bits, which are read two at a time. Every sum is exact, and
 * rounding is written so that all processors round alike. */
typedef uint8_t Bytes __attribute__((vector_size(B), may_alias, aligned(1)));
typedef int16_t Shorts __attribute__((vector_size(2 * B), may_alias, aligned(2)));
#define AT(step, place, n) ((char *)m + 4 * ((step)->place.at + (n) * (step)->place.image))

/* Sums of four products u8 x s8, or of two s16 x s16, per lane. What a vector of inputs or weights
 * is made of before it is multiplied, is made once: with VNNI it is the vector itself, without it
 * even and odd bytes as 16 bits, whose products cannot overflow a pair's 32. */
typedef struct {
  M even, odd;
} Factor;

#if B == 16 && defined(__AVX512VNNI__)
#define VNNI 1
INLINE M bytes_dot(M a, Factor x, Factor w) { return (M)_mm512_dpbusd_epi32((__m512i)a, (__m512i)x.even, (__m512i)w.even); }
INLINE M shorts_dot(M a, M x, M w) { return (M)_mm512_dpwssd_epi32((__m512i)a, (__m512i)x, (__m512i)w); }
#elif B == 8 && defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define VNNI 1
INLINE M bytes_dot(M a, Factor x, Factor w) { return (M)_mm256_dpbusd_epi32((__m256i)a, (__m256i)x.even, (__m256i)w.even); }
INLINE M shorts_dot(M a, M x, M w) { return (M)_mm256_dpwssd_epi32((__m256i)a, (__m256i)x, (__m256i)w); }
#elif B == 8 && defined(__AVXVNNI__)
#define VNNI 1
INLINE M bytes_dot(M a, Factor x, Factor w) { return (M)_mm256_dpbusd_avx_epi32((__m256i)a, (__m256i)x.even, (__m256i)w.even); }
INLINE M shorts_dot(M a, M x, M w) { return (M)_mm256_dpwssd_avx_epi32((__m256i)a, (__m256i)x, (__m256i)w); }
#else
#define VNNI 0
#if B == 16 && defined(__AVX512BW__)
INLINE M shorts_dot(M a, M x, M w) { return a + (M)_mm512_madd_epi16((__m512i)x, (__m512i)w); }
#elif B == 8 && defined(__AVX2__)
INLINE M shorts_dot(M a, M x, M w) { return a + (M)_mm256_madd_epi16((__m256i)x, (__m256i)w); }
#elif B == 4 && defined(__SSE2__)
INLINE M shorts_dot(M a, M x, M w) { return a + (M)_mm_madd_epi16((__m128i)x, (__m128i)w); }
#else
INLINE M shorts_dot(M a, M x, M w) { return a + (x << 16 >> 16) * (w << 16 >> 16) + (x >> 16) * (w >> 16); }
#endif
INLINE M bytes_dot(M a, Factor x, Factor w) { return shorts_dot(shorts_dot(a, x.even, w.even), x.odd, w.odd); }
#endif

INLINE Factor inputs_of(const char *x) {
  int32_t four;
  memcpy(&four, x, 4);
  const M all = four - (M){};
#if VNNI
  return (Factor){all, all};
#else
  typedef uint16_t U __attribute__((vector_size(4 * B)));
  return (Factor){all & 0x00ff00ff, (M)((U)all >> 8)};
#endif
}
INLINE Factor weights_of(const M *w) {
#if VNNI
  return (Factor){*w, *w};
#else
  typedef int16_t S __attribute__((vector_size(4 * B)));
  return (Factor){(M)((S)*w << 8 >> 8), (M)((S)*w >> 8)};
#endif
}

/* Codes as numbers and back; v holds numbers within 2^22 of zero, and is rounded half to even. */
#define SHIFT 12582912.0f /* 1.5 x 2^23: a number added to it is left with no bits behind the point */
INLINE V number(const char *x, int32_t zero) {
  return __builtin_convertvector(__builtin_convertvector(*(const Bytes *)x, M) - zero, V);
}
INLINE V whole(V v) { return (v + SHIFT) - SHIFT; }
INLINE void put(char *y, V v, int32_t zero) {
  const M code = (M)(v + SHIFT) + zero; /* its low byte */
#if B == 16
  _mm_storeu_si128((__m128i *)y, _mm512_cvtepi32_epi8((__m512i)code));
#elif B == 8 && defined(__AVX2__) /* the compiler would take the bytes one by one */
  const __m256i bytes = _mm256_and_si256((__m256i)code, _mm256_set1_epi32(255));
  const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
  _mm_storel_epi64((__m128i *)y, _mm_packus_epi16(words, words));
#else
  *(Bytes *)y = __builtin_convertvector(code & 255, Bytes);
#endif
}

/* Rounded to its own scale, then, where ratio says so, to another one, together with z. */
INLINE V recoded(const Step *s, V v, const char *z) {
  v *= s->ratio;
  IN_REGISTER(v); /* no fused multiply-add: not every processor has one */
  if (z) {
    V w = number(z, s->zero_z) * s->ratio_z;
    IN_REGISTER(w);
    v += w;
  }
  return smaller(larger(v, spread(s->low_y)), spread(s->high_y));
}

/* Where the result of a position lies: y, what is added to it, and the codes of it if it is a float. */
typedef struct {
  char *y, *rounded;
  const char *z;
} Result;
INLINE Result result_at(const Step *s, float *m, int64_t image, int64_t row, int64_t column, int64_t f0) {
#define IN(place) (AT(s, place, image) + 4 * (row * s->place.row + column * s->place.column + f0 * s->place.plane))
  return (Result){IN(y), s->rounded.at < 0 ? 0 : IN(rounded), s->z.at < 0 ? 0 : IN(z)};
#undef IN
}
/* The same of the next position of the row. */
INLINE Result beside(const Step *s, Result a) {
  return (Result){a.y + 4 * s->y.column, a.rounded ? a.rounded + 4 * s->rounded.column : 0, a.z ? a.z + 4 * s->z.column : 0};
}
/* The same so many rows and columns further. */
INLINE Result at_place(const Step *s, Result a, int64_t r, int64_t q) {
#define ON(place) (a.place ? a.place + 4 * (r * s->place.row + q * s->place.column) : 0)
  return (Result){ON(y), ON(rounded), ON(z)};
#undef ON
}
/* The same f blocks of filters further. */
INLINE Result further(const Step *s, Result a, int64_t f) {
  return (Result){a.y + f * 4 * s->y.plane, a.rounded ? a.rounded + f * 4 * s->rounded.plane : 0, a.z ? a.z + f * 4 * s->z.plane : 0};
}

/* A sum of products on its way: a bias that no code stands for is added, then it is rounded, or it
 * stays a float, to which another one may be added, with its codes beside it. */
INLINE void ended(const Step *s, M sum, const float *scale, const float *shift, Result to) {
  V v = __builtin_convertvector(sum, V) * *(const V *)scale;
  if (s->finish) {
    IN_REGISTER(v); /* see `recoded` */
    v += *(const V *)shift;
  }
  if (s->finish == TO_FLOATS && to.z) v += *(const V *)to.z;
  v = smaller(larger(v, spread(s->low)), spread(s->high));
  if (s->finish == TO_FLOATS) {
    *(V *)to.y = v;
    if (!to.rounded) return;
    v = smaller(larger(v / spread(s->ratio), spread(s->low_y)), spread(s->high_y));
    to.y = to.rounded;
  } else if (s->ratio) v = recoded(s, whole(v), to.z);
  put(to.y, v, s->zero_y);
}

/* Positions of one tile. */
#define WIDEST 8
typedef struct {
  const char *x[WIDEST];
  Result to[WIDEST];
  Taps in;
} Positions;

/* Apart from the tiles, whose registers are few. */
static __attribute__((noinline)) void ended_tile(const Step *s, const M *sums, int64_t blocks, int64_t count, const Positions *p,
                                                 const float *scales, const float *shifts) {
  const Step ends = *s; /* which no result overwrites */
  EACH(f, blocks) EACH(t, count)
    ended(&ends, *sums++, scales + f * B, shifts + f * B, further(&ends, p->to[t], f));
}

/* SHORTS: inputs are sums of 16 bits. FINISH: the results go through `ended`. */
INLINE void codes_tile(const int SHORTS, const int FINISH, const int NB, const int T, const Step *s, const Positions *p,
                       const M *w, const int32_t *biases, const float *scales, const float *shifts, const int32_t *lanes) {
  M a[GROUP][WIDEST];
  const char *x[WIDEST];
  const int64_t plane = 4 * s->x.plane, row = 4 * s->x.row * s->dilation_rows, column = 4 * s->x.column * s->dilation_columns;
  const Taps in = p->in;
  UNROLL for (int t = 0; t < T; t++) x[t] = p->x[t];
  UNROLL for (int f = 0; f < NB; f++) UNROLL for (int t = 0; t < T; t++) a[f][t] = *(const M *)(biases + f * B);
  for (int64_t i = 0; i < s->blocks; i++) {
    const int64_t n = SHORTS ? (lanes[i] + 1) / 2 : (lanes[i] + 3) / 4;
    for (int64_t r = in.rows; r < in.rows_end; r++) {
      int64_t at = i * plane + r * row + in.columns * column;
      const M *ww = w + (r * s->kernel_columns + in.columns) * n * NB;
      for (int64_t k = in.columns; k < in.columns_end; k++, at += column) {
        for (int64_t c = 0; c < n; c++, ww += NB) {
          Factor v[GROUP];
          UNROLL for (int f = 0; f < NB; f++) {
            v[f] = SHORTS ? (Factor){ww[f], ww[f]} : weights_of(ww + f);
            IN_REGISTER(v[f].even);
          }
          UNROLL for (int t = 0; t < T; t++) {
            const char *from = x[t] + at + 4 * c;
            if (SHORTS) {
              int32_t two;
              memcpy(&two, from, 4);
              UNROLL for (int f = 0; f < NB; f++) a[f][t] = shorts_dot(a[f][t], two - (M){}, v[f].even);
            } else {
              const Factor q = inputs_of(from);
              UNROLL for (int f = 0; f < NB; f++) a[f][t] = bytes_dot(a[f][t], q, v[f]);
            }
          }
        }
      }
    }
    w += s->kernel_rows * s->kernel_columns * n * NB;
  }
  if (FINISH) {
    M sums[GROUP * WIDEST];
    UNROLL for (int f = 0; f < NB; f++) UNROLL for (int t = 0; t < T; t++) sums[f * T + t] = a[f][t];
    ended_tile(s, sums, NB, T, p, scales, shifts);
    return;
  }
  const V low = spread(s->low), high = spread(s->high);
  UNROLL for (int f = 0; f < NB; f++) {
    const V scale = *(const V *)(scales + f * B);
    UNROLL for (int t = 0; t < T; t++)
      a[f][t] = (M)smaller(larger(__builtin_convertvector(a[f][t], V) * scale, low), high);
  }
  if (s->ratio) {
    for (int f = 0; f < NB; f++) for (int t = 0; t < T; t++)
        a[f][t] = (M)recoded(s, whole((V)a[f][t]), further(s, p->to[t], f).z);
  }
  UNROLL for (int f = 0; f < NB; f++) {
    char *y[WIDEST];
    UNROLL for (int t = 0; t < T; t++) {
      y[t] = p->to[t].y + f * 4 * s->y.plane;
      put(y[t], (V)a[f][t], s->zero_y);
    }
  }
}

typedef void (*CodesTile)(const Step *, const Positions *, const M *, const int32_t *, const float *, const float *, const int32_t *);
#define CODES_TILE(NB, T)                                                                        \
  static void codes_##NB##_##T(const Step *s, const Positions *p, const M *w, const int32_t *b,  \
                               const float *c, const float *d, const int32_t *lanes) {           \
    codes_tile(0, 0, NB, T, s, p, w, b, c, d, lanes);                                            \
  }                                                                                              \
  static void sums_##NB##_##T(const Step *s, const Positions *p, const M *w, const int32_t *b,   \
                              const float *c, const float *d, const int32_t *lanes) {            \
    codes_tile(1, 1, NB, T, s, p, w, b, c, d, lanes);                                            \
  }                                                                                              \
  static void ended_##NB##_##T(const Step *s, const Positions *p, const M *w, const int32_t *b,  \
                               const float *c, const float *d, const int32_t *lanes) {           \
    codes_tile(0, 1, NB, T, s, p, w, b, c, d, lanes);                                            \
  }
#define CODES_LISTED(NB, T) {codes_##NB##_##T, sums_##NB##_##T, ended_##NB##_##T},
#if GROUP == 4
UP_TO_8(CODES_TILE, 1) UP_TO_8(CODES_TILE, 2) UP_TO_8(CODES_TILE, 3) UP_TO_6(CODES_TILE, 4)
static const CodesTile codes_tiles[GROUP][WIDEST][3] = {
    {UP_TO_8(CODES_LISTED, 1)}, {UP_TO_8(CODES_LISTED, 2)}, {UP_TO_8(CODES_LISTED, 3)}, {UP_TO_6(CODES_LISTED, 4)}};
static const int codes_widest[GROUP] = {8, 8, 8, 6};
#else
UP_TO_8(CODES_TILE, 1) UP_TO_6(CODES_TILE, 2) UP_TO_4(CODES_TILE, 3)
static const CodesTile codes_tiles[GROUP][WIDEST][3] = {
    {UP_TO_8(CODES_LISTED, 1)}, {UP_TO_6(CODES_LISTED, 2)}, {UP_TO_4(CODES_LISTED, 3)}};
static const int codes_widest[GROUP] = {8, 6, 4};
#endif

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int32_t most(int32_t a, int32_t b) { return a > b ? a : b; }

/* Position p of all: images first where images are small, so that a tile's positions meet the
 * same taps. */
typedef struct {
  int64_t image, row, column;
} Position;
INLINE Position position(const Step *s, int images_first, int64_t p) {
  if (images_first) return (Position){p % s->images, p / s->images / s->columns, p / s->images % s->columns};
  return (Position){p / s->columns / s->rows, p / s->columns % s->rows, p % s->columns};
}
/* So many columns further, at most to the first of the next row. */
INLINE void past(const Step *s, Position *p, int64_t columns) {
  p->column += columns;
  if (p->column < s->columns) return;
  p->column = 0;
  if (++p->row < s->rows) return;
  p->row = 0;
  p->image++;
}
INLINE void advance(const Step *s, int images_first, Position *p) {
  if (images_first && ++p->image < s->images) return;
  if (images_first) p->image = 0;
  past(s, p, 1);
}

/* Where the positions from p on lie, for filters from block f0 on, and which taps any of them needs. */
INLINE void gather(const Step *s, float *m, int64_t f0, int images_first, int64_t count, Position *at, Positions *to) {
  to->in = (Taps){s->kernel_rows, 0, s->kernel_columns, 0};
  const int64_t step = 4 * s->stride_columns * s->x.column;
  for (int64_t t = 0; t < count;) {
    const int64_t along = images_first ? 1 : least(count - t, s->columns - at->column); /* in a row */
    const int64_t top = at->row * s->stride_rows - s->top, left = at->column * s->stride_columns - s->left;
    const int64_t right = left + (along - 1) * s->stride_columns;
    to->in.rows = least(to->in.rows, first_tap(top, s->dilation_rows));
    to->in.columns = least(to->in.columns, first_tap(right, s->dilation_columns));
    to->in.rows_end = most(to->in.rows_end, end_of_taps(top, s->dilation_rows, s->kernel_rows, s->input_rows));
    to->in.columns_end = most(to->in.columns_end, end_of_taps(left, s->dilation_columns, s->kernel_columns, s->input_columns));
    const char *x = AT(s, x, at->image) + 4 * at->row * s->stride_rows * s->x.row + at->column * step;
    Result result = result_at(s, m, at->image, at->row, at->column, f0);
    for (const int64_t end = t + along; t < end; t++, x += step, result = beside(s, result)) to->x[t] = x, to->to[t] = result;
    if (images_first) advance(s, 1, at);
    else past(s, at, along);
  }
  /* The biases are made for all taps: those over the border count, unless its code is 0. */
  if (s->zero) to->in = (Taps){0, s->kernel_rows, 0, s->kernel_columns};
}

#define SMALL 64           /* positions of an image whose border is a large part of it */
#define CODES_INNER 524288 /* bytes of input that stay in the outer caches beside the weights */

static void codes_conv(const Step *s, float *m, const float *constants, int threads) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  const int64_t groups = (s->filters + GROUP - 1) / GROUP, positions = s->images * s->rows * s->columns;
  const int64_t bytes = 4 * s->blocks * s->x.row * s->stride_rows * s->rows * s->images, taps = s->kernel_rows * s->kernel_columns;
  const int64_t bunches = positions < 2 * WIDEST ? 1 : 1 + bytes / CODES_INNER;
  const int images_first = s->images > 1 && s->rows * s->columns <= SMALL, shorts = s->mode;
  int64_t used = 0;
  EACH(i, s->blocks) used += shorts ? (lanes[i] + 1) / 2 : (lanes[i] + 3) / 4;
  (void)threads;
  OMP(parallel for collapse(2) num_threads(threads) if (threads > 1))
  for (int64_t u = 0; u < bunches; u++)
    for (int64_t g = 0; g < groups; g++) {
      const int64_t f0 = begin(s->filters, groups, g), nb = begin(s->filters, groups, g + 1) - f0;
      const int64_t first = begin(positions, bunches, u), count = begin(positions, bunches, u + 1) - first;
      const int64_t parts = (count + codes_widest[nb - 1] - 1) / codes_widest[nb - 1];
      const M *w = (const M *)(constants + s->weights) + used * taps * f0;
      Position at = position(s, images_first, first);
      EACH(t, parts) {
        const int64_t width = begin(count, parts, t + 1) - begin(count, parts, t);
        Positions to;
        gather(s, m, f0, images_first, width, &at, &to);
        codes_tiles[nb - 1][width - 1][shorts ? 1 : s->finish ? 2 : 0](s, &to, w, (const int32_t *)(constants + s->biases) + f0 * B,
                                               constants + s->scales + f0 * B, constants + s->shifts + f0 * B, lanes);
      }
    }
}

/* -- from plane to plane */

#define PLANES                                                                                     \
  OMP(parallel for collapse(2) num_threads(threads) if (threads > 1))                              \
  for (int64_t n = 0; n < s->images; n++) for (int64_t i = 0; i < s->blocks; i++)

static void quantise(const Step *s, float *m, int threads) {
  (void)threads;
  PLANES {
    const char *x = AT(s, x, n) + 4 * i * s->x.plane;
    char *y = AT(s, y, n) + 4 * i * s->y.plane;
    EACH(r, s->rows) EACH(q, s->columns) {
      const V v = *(const V *)(x + 4 * (r * s->x.row + q * s->x.column)) / spread(s->ratio);
      put(y + 4 * (r * s->y.row + q * s->y.column), smaller(larger(v, spread(s->low_y)), spread(s->high_y)), s->zero_y);
    }
  }
}
/* A row of a dense array, four channels at a time: the codes of a position are 32 bits side by side. */
INLINE void quantise_row(const Step *s, const float *x, int64_t channels, char *y) {
  const V step = spread(s->ratio), low = spread(s->low_y), high = spread(s->high_y);
  const int32_t zero = (int32_t)s->zero_y;
  const int64_t plane = s->z.plane, columns = s->columns;
  for (int64_t c = 0; c < channels; c += 4) for (int64_t q = 0; q < columns; q += B) {
    const int64_t count = columns - q < B ? columns - q : B, many = channels - c < 4 ? channels - c : 4;
    M four = {};
    EACH(j, many) {
      V v = {};
      const float *from = x + (c + j) * plane + q;
      if (count == B) memcpy(&v, from, sizeof(V));
      else memcpy(&v, from, count * sizeof(float));
      v = smaller(larger(v / step, low), high) + SHIFT;
      four |= (((M)v + zero) & 255) << (int)(8 * j);
    }
    EACH(t, count) memcpy(y + (q + t) * B + c, (const int32_t *)&four + t, 4);
  }
}
static void quantise_array(const Step *s, float *m, const float *constants, const float *dense, int threads) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  const Step a = *s; /* which no result overwrites */
  (void)threads;
  EACH(n, s->images) for (int64_t i = 0, c = 0; i < s->blocks; c += lanes[i++]) {
    const float *x = dense + n * s->z.image + c * s->z.plane;
    char *y = AT(s, y, n) + 4 * i * s->y.plane;
    OMP(parallel for num_threads(threads) if (threads > 1))
    for (int64_t r = 0; r < s->rows; r++) quantise_row(&a, x + r * s->z.row, lanes[i], y + 4 * r * s->y.row);
  }
}
static void dequantise(const Step *s, float *m, int threads) {
  (void)threads;
  PLANES {
    const char *x = AT(s, x, n) + 4 * i * s->x.plane;
    char *y = AT(s, y, n) + 4 * i * s->y.plane;
    EACH(r, s->rows) EACH(q, s->columns) {
      const char *from = x + 4 * (r * s->x.row + q * s->x.column);
      const V v = s->mode ? __builtin_convertvector(*(const Shorts *)from, V) : number(from, s->zero);
      *(V *)(y + 4 * (r * s->y.row + q * s->y.column)) = v * s->ratio;
    }
  }
}
/* Floats to what codes stand for that no byte of one scale holds: multiples of a step per channel. */
static void round_floats(const Step *s, float *m, const float *constants, int threads) {
  (void)threads;
  PLANES {
    const V step = *(const V *)(constants + s->scales + i * B), low = *(const V *)(constants + s->biases + i * B);
    const V high = *(const V *)(constants + s->shifts + i * B);
    const char *x = AT(s, x, n) + 4 * i * s->x.plane;
    char *y = AT(s, y, n) + 4 * i * s->y.plane;
    EACH(r, s->rows) EACH(q, s->columns) {
      const V v = *(const V *)(x + 4 * (r * s->x.row + q * s->x.column)) / step;
      *(V *)(y + 4 * (r * s->y.row + q * s->y.column)) = whole(smaller(larger(v, low), high)) * step;
    }
  }
}
/* Codes of another scale; the sum of two, where there is a z. */
static void recode(const Step *s, float *m, int threads) {
  (void)threads;
  PLANES {
    const char *x = AT(s, x, n) + 4 * i * s->x.plane, *z = AT(s, z, n) + 4 * i * s->z.plane;
    char *y = AT(s, y, n) + 4 * i * s->y.plane;
    EACH(r, s->rows) EACH(q, s->columns) {
      const V v = number(x + 4 * (r * s->x.row + q * s->x.column), s->zero);
      const char *other = s->z.at < 0 ? 0 : z + 4 * (r * s->z.row + q * s->z.column);
      put(y + 4 * (r * s->y.row + q * s->y.column), recoded(s, v, other), s->zero_y);
    }
  }
}

/* The mean of a window, cut at the edges of the image. */
INLINE void mean(const Step *s, const char *x, char *y, int64_t r, int64_t q) {
  const int64_t top = r * s->stride_rows - s->top, left = q * s->stride_columns - s->left;
  const int64_t down = top + (s->kernel_rows - 1) * s->dilation_rows, along = left + (s->kernel_columns - 1) * s->dilation_columns;
  const int cut = top < 0 || left < 0 || down >= s->input_rows || along >= s->input_columns;
  int64_t h0 = 0, k0 = 0, h1 = s->kernel_rows, k1 = s->kernel_columns;
  if (cut) { /* rare, and division takes long */
    h0 = first_tap(top, s->dilation_rows);
    k0 = first_tap(left, s->dilation_columns);
    h1 = end_of_taps(top, s->dilation_rows, s->kernel_rows, s->input_rows);
    k1 = end_of_taps(left, s->dilation_columns, s->kernel_columns, s->input_columns);
  }
  const char *from = x + 4 * (top * s->x.row + left * s->x.column);
  const int64_t row = 4 * s->dilation_rows * s->x.row, column = 4 * s->dilation_columns * s->x.column;
  M a = {};
  for (int64_t h = h0; h < h1; h++) for (int64_t k = k0; k < k1; k++)
      a += __builtin_convertvector(*(const Bytes *)(from + h * row + k * column), M);
  const int64_t inside = (h1 - h0) * (k1 - k0);
  int64_t counted = inside;
  if (cut && s->mode == POOL_AVERAGE_PADDED)
    counted = end_of_taps(top, s->dilation_rows, s->kernel_rows, s->input_rows + s->bottom) *
              end_of_taps(left, s->dilation_columns, s->kernel_columns, s->input_columns + s->right);
  const V v = __builtin_convertvector(a - (int32_t)(inside * s->zero), V) * (s->ratio / (float)counted);
  put(y, smaller(larger(v, spread(s->low_y)), spread(s->high_y)), s->zero_y);
}
static void codes_mean(const Step *s, float *m, int threads) {
  (void)threads;
  PLANES {
    const char *x = AT(s, x, n) + 4 * i * s->x.plane;
    char *y = AT(s, y, n) + 4 * i * s->y.plane;
    EACH(r, s->rows) EACH(q, s->columns) mean(s, x, y + 4 * (r * s->y.row + q * s->y.column), r, q);
  }
}

/* Four positions side by side. */
typedef uint8_t Wide __attribute__((vector_size(4 * B), may_alias, aligned(1)));
INLINE Wide greater(Wide a, Wide b) {
#if B == 16 && defined(__AVX512BW__)
  return (Wide)_mm512_max_epu8((__m512i)a, (__m512i)b);
#elif B == 8 && defined(__AVX2__)
  return (Wide)_mm256_max_epu8((__m256i)a, (__m256i)b);
#elif B == 4 && defined(__SSE2__)
  return (Wide)_mm_max_epu8((__m128i)a, (__m128i)b);
#else
  const Wide more = (Wide)(a > b);
  return (a & more) | (b & ~more);
#endif
}
/* The greatest of count vectors, step bytes apart. */
INLINE Wide greatest(const char *x, int64_t count, int64_t step) {
  Wide a = *(const Wide *)x;
  for (int64_t i = 1; i < count; i++) a = greater(a, *(const Wide *)(x + i * step));
  return a;
}

/* Maxima of a plane: of rows first, into a line with the least code at both ends, then along it. */
static void maxima_of_plane(const Step *s, const char *x, char *y, char *line) {
  const int64_t row = 4 * s->dilation_rows * s->x.row, width = s->input_columns * B, start = s->left * B;
  const int64_t step = s->stride_columns * B, tap = s->dilation_columns * B;
  EACH(r, s->rows) {
    const int64_t top = r * s->stride_rows - s->top, h0 = first_tap(top, s->dilation_rows);
    const int64_t h1 = end_of_taps(top, s->dilation_rows, s->kernel_rows, s->input_rows);
    const char *from = x + 4 * (top * s->x.row) + h0 * row;
    char *to = y + 4 * r * s->y.row;
    for (int64_t j = 0; j < width; j += 4 * B) *(Wide *)(line + start + j) = greatest(from + j, h1 - h0, row);
    memset(line, 0, start);
    memset(line + start + width, 0, (s->right + s->kernel_columns * s->dilation_columns + s->stride_columns) * B);
    if (s->stride_columns > 1) {
      EACH(q, s->columns) {
        const Wide a = greatest(line + q * step, s->kernel_columns, tap);
        memcpy(to + q * B, &a, B);
      }
      continue;
    }
    int64_t j = 0;
    for (; j + 4 * B <= s->columns * B; j += 4 * B) *(Wide *)(to + j) = greatest(line + j, s->kernel_columns, tap);
    if (j < s->columns * B) {
      const Wide a = greatest(line + j, s->kernel_columns, tap);
      memcpy(to + j, &a, s->columns * B - j);
    }
  }
}
static int64_t maxima_room(const Step *s) {
  return B * (s->left + s->input_columns + s->right + s->kernel_columns * s->dilation_columns + s->stride_columns + 8);
}
static void codes_max(const Step *s, float *m, int threads) {
  (void)threads;
  OMP(parallel num_threads(threads) if (threads > 1))
  {
    char *line = TAKE_ROOM(m, maxima_room(s));
    OMP(for collapse(2))
    for (int64_t n = 0; n < s->images; n++)
      for (int64_t i = 0; i < s->blocks; i++)
        maxima_of_plane(s, AT(s, x, n) + 4 * i * s->x.plane, AT(s, y, n) + 4 * i * s->y.plane, line);
    LEAVE_ROOM(line);
  }
}

/* Two positions side by side. */
typedef uint8_t TwoBytes __attribute__((vector_size(2 * B), may_alias, aligned(1)));
typedef int16_t TwoShorts __attribute__((vector_size(4 * B), may_alias, aligned(2)));
INLINE TwoShorts two(const char *x) { return __builtin_convertvector(*(const TwoBytes *)x, TwoShorts); }

/* Windows of 2x2 at two positions from column q on: their sums, or (a + b + c + d) / 4 rounded half
 * to the even distance from the zero point. */
INLINE void two_boxes(const int ROUNDED, const Step *s, const char *x, char *y, int64_t q) {
  const int64_t row = 4 * s->x.row;
  x += q * B;
  const TwoShorts a = two(x) + two(x + B) + two(x + row) + two(x + row + B);
  const int16_t zero = (int16_t)s->zero;
  if (ROUNDED) *(TwoBytes *)(y + q * B) = __builtin_convertvector((a + 1 + (((a >> 2) ^ zero) & 1)) >> 2, TwoBytes);
  else *(TwoShorts *)(y + 2 * q * B) = a - (int16_t)(4 * zero);
}
/* The same sums as bytes, above the least one, at four positions. */
INLINE void four_boxes(const Step *s, const char *x, char *y, int64_t q) {
  const int64_t row = 4 * s->x.row;
  x += q * B;
  *(Wide *)(y + q * B) = *(const Wide *)x + *(const Wide *)(x + B) + *(const Wide *)(x + row) +
                         *(const Wide *)(x + row + B) - (uint8_t)s->base;
}
INLINE void row_of_boxes(const int ROUNDED, const Step *s, const char *x, char *y) {
  for (int64_t q = 0; q < s->columns; q += 2) two_boxes(ROUNDED, s, x, y, q + 2 > s->columns ? q - 1 : q);
}

/* As ``library.Sums`` names them. */
enum { OF_SHORTS, ROUNDED_MEANS, OF_BYTES };
INLINE void sum_or_mean(const Step *s, const char *x, char *y) {
  Shorts a = {};
  EACH(h, s->kernel_rows) EACH(k, s->kernel_columns)
    a += __builtin_convertvector(*(const Bytes *)(x + 4 * (h * s->dilation_rows * s->x.row + k * s->dilation_columns * s->x.column)), Shorts);
  const int64_t count = s->kernel_rows * s->kernel_columns;
  if (s->mode == OF_BYTES) {
    *(Bytes *)y = __builtin_convertvector(a - (int16_t)s->base, Bytes);
    return;
  }
  a -= (int16_t)(s->zero * count);
  if (s->mode == ROUNDED_MEANS) put(y, __builtin_convertvector(a, V) / spread((float)count), s->zero);
  else *(Shorts *)y = a;
}

/* Sums of windows without their zero point, as bytes above the least one where those hold them, or
 * their means as codes of the same scale; a border holds the zero point, so all windows are whole. */
static void sums(const Step *s, float *m, int threads) {
  (void)threads;
  const int boxes = s->kernel_rows == 2 && s->kernel_columns == 2 && s->stride_columns == 1 && s->columns > 1 &&
                    s->dilation_rows == 1 && s->dilation_columns == 1;
  PLANES {
    const char *x = AT(s, x, n) + 4 * i * s->x.plane;
    char *y = AT(s, y, n) + 4 * i * s->y.plane;
    EACH(r, s->rows) {
      const char *from = x + 4 * r * s->stride_rows * s->x.row;
      char *to = y + 4 * r * s->y.row;
      if (boxes && s->mode == OF_BYTES && s->columns >= 4)
        for (int64_t q = 0; q < s->columns; q += 4) four_boxes(s, from, to, least(q, s->columns - 4));
      else if (boxes && s->mode == ROUNDED_MEANS) row_of_boxes(1, s, from, to);
      else if (boxes && s->mode == OF_SHORTS) row_of_boxes(0, s, from, to);
      else EACH(q, s->columns) sum_or_mean(s, from + 4 * q * s->stride_columns * s->x.column, to + 4 * q * s->y.column);
    }
  }
}
