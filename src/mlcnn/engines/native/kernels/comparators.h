/* Comparator layers at once: bits of comparisons, and the sum of the weights that they choose.
 *
 * Positions are lanes here. The input is turned into a plane for each channel, edges repeated, so that
 * any two taps are two places in one plane. Four comparisons are four bits of a byte; the sums of the
 * four weights that they choose are a table of 16 bytes for each filter, in which a shuffle looks up
 * those of 32 or 64 positions. Tables hold sums above their least one, which stands in the biases;
 * bytes are added while they hold the sums. Weights of many bits are 16 high + low, two tables. */
#if TABLES && B > 4
#define COMPARATORS 1
#define ACROSS ((int64_t)sizeof(Built))
#define BESIDE (2 * (int64_t)sizeof(Built)) /* positions whose sums stay in registers, for four filters */
#define QUAD 4
#define BAND_OF_PLANES 262144 /* bytes of planes and of bits, that stay in the outer cache */
#define SET_OF_TABLES 131072  /* the same of tables */
#define FOUR 20               /* numbers that say what four comparisons are: plane, and two taps */
typedef int8_t Line __attribute__((vector_size(sizeof(Built)), may_alias, aligned(1)));

/* How a band of results is computed. Columns of a plane that are a stride apart lie side by side. */
typedef struct {
  int64_t item, rows, tiles;                    /* bytes of a number; rows of results; tiles of them */
  int64_t lines, width, apart, pitch, plane;    /* rows and columns that are read; of a stride; numbers from row to row */
} Planar;

static Planar planar_of(const Step *s) {
  Planar a = {.item = s->mode ? 4 : 1, .width = (s->columns - 1) * s->stride_columns + s->kernel_columns};
  a.apart = (a.width + s->stride_columns - 1) / s->stride_columns;
  a.pitch = s->stride_columns == 1 ? a.width : a.apart * s->stride_columns;
  const int64_t row = s->blocks * B * a.pitch * s->stride_rows * a.item + s->bases * s->columns;
  const int64_t fit = BAND_OF_PLANES / row > 1 ? BAND_OF_PLANES / row : 1, bands = (s->rows + fit - 1) / fit;
  a.rows = (s->rows + bands - 1) / bands;
  a.lines = (a.rows - 1) * s->stride_rows + s->kernel_rows;
  a.plane = a.lines * a.pitch + B; /* whole vectors are written */
  a.tiles = (a.rows * s->columns + BESIDE - 1) / BESIDE;
  return a;
}
#define BITS_OF_BAND(a) ((a)->tiles * BESIDE + BESIDE)
INLINE int64_t comparators_floats(const Step *s) {
  const Planar a = planar_of(s);
  return (s->blocks * B * a.plane * a.item + a.tiles * s->bases * BESIDE) / 4 + 256;
}

/* Some positions of a block, B of them, as rows of each lane. Codes become numbers with a sign. */
INLINE void turn_codes(const char *x, char *to, int64_t plane) {
#if B == 8
  const __m128i sign = _mm_set1_epi8((char)128);
  __m128i v[4], a[4];
  UNROLL for (int i = 0; i < 4; i++) v[i] = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(x + 16 * i)), sign);
  UNROLL for (int round = 0; round < 2; round++) {
    UNROLL for (int i = 0; i < 4; i++) a[i] = v[i];
    UNROLL for (int i = 0; i < 2; i++) v[2 * i] = _mm_unpacklo_epi8(a[i], a[i + 2]), v[2 * i + 1] = _mm_unpackhi_epi8(a[i], a[i + 2]);
  }
  UNROLL for (int i = 0; i < 2; i++) a[2 * i] = _mm_unpacklo_epi8(v[i], v[i + 2]), a[2 * i + 1] = _mm_unpackhi_epi8(v[i], v[i + 2]);
  UNROLL for (int i = 0; i < 4; i++) {
    _mm_storel_epi64((__m128i *)(to + 2 * i * plane), a[i]);
    _mm_storeh_pd((double *)(to + (2 * i + 1) * plane), _mm_castsi128_pd(a[i]));
  }
#else
  Bytes v[B], a[B];
  UNROLL for (int i = 0; i < B; i++) v[i] = *(const Bytes *)(x + i * B) ^ 128;
  UNROLL for (int round = 0; round < ROUNDS; round++) {
    UNROLL for (int i = 0; i < B; i++) a[i] = v[i];
    UNROLL for (int i = 0; i < B / 2; i++) {
      v[2 * i] = SHUFFLED_AS(Bytes, a[i], a[i + B / 2], IN_TURN);
      v[2 * i + 1] = SHUFFLED_AS(Bytes, a[i], a[i + B / 2], IN_TURN_HIGH);
    }
  }
  UNROLL for (int i = 0; i < B; i++) *(Bytes *)(to + i * plane) = v[i];
#endif
}
INLINE void turn_floats(const char *x, char *to, int64_t plane) {
  V v[B];
  UNROLL for (int i = 0; i < B; i++) v[i] = *(const U *)(x + 4 * i * B);
  transpose(v);
  UNROLL for (int i = 0; i < B; i++) *(U *)(to + 4 * i * plane) = v[i];
}
#define LINE_OF_ROW(a) (((a)->pitch + B) * B * (a)->item)
/* A row of a block with its edges repeated, columns in the order of planes. */
INLINE void put_row_in_order(const int64_t CELL, const Step *s, const Planar *a, const char *x, char *line) {
  const int64_t left = s->left, columns = s->input_columns, stride = s->stride_columns;
  if (stride > 1) {
    EACH(f, stride) EACH(i, a->apart)
      memcpy(line + (f * a->apart + i) * CELL, x + inside(f + i * stride - left, columns) * CELL, CELL);
    return;
  }
  EACH(q, left) memcpy(line + q * CELL, x, CELL);
  memcpy(line + left * CELL, x, columns * CELL);
  for (int64_t q = left + columns; q < a->width; q++) memcpy(line + q * CELL, x + (columns - 1) * CELL, CELL);
}
/* The same as rows of planes. */
static void turn_row(const Step *s, const Planar *a, const char *x, char *to, char *line) {
  const int64_t pitch = a->pitch, plane = a->plane;
  if (s->mode) {
    put_row_in_order(4 * B, s, a, x, line);
    for (int64_t q = 0; q < pitch; q += B) turn_floats(line + 4 * q * B, to + 4 * q, plane);
  } else {
    put_row_in_order(B, s, a, x, line);
    for (int64_t q = 0; q < pitch; q += B) turn_codes(line + q * B, to + q, plane);
  }
}

/* Where two taps of each of four comparisons lie in the planes. */
typedef struct {
  const char *first[QUAD], *second[QUAD];
} Fours;
static Fours fours_of(const Step *s, const Planar *a, const char *planes, const int32_t *four) {
  Fours f;
  EACH(j, QUAD) {
    const int32_t *e = four + 5 * j;
    const char *plane = planes + (e[0] < 0 ? 0 : e[0]) * a->plane * a->item; /* of none: one tap twice */
#define PLACE(row, column) (plane + a->item * ((row) * a->pitch + (column) % s->stride_columns * a->apart + (column) / s->stride_columns))
    f.first[j] = PLACE(e[1], e[2]), f.second[j] = PLACE(e[3], e[4]);
#undef PLACE
  }
  return f;
}
/* Four bits of each of a vector of positions. */
INLINE Line four_of_codes(const Fours *f, int64_t at) {
  Line bits = {};
  UNROLL for (int j = QUAD - 1; j >= 0; j--)
    bits = bits + bits - (Line)(*(const Line *)(f->first[j] + at) > *(const Line *)(f->second[j] + at));
  return bits;
}
INLINE Line four_of_floats(const Fours *f, int64_t at) {
  Line all = {};
#if B == 16
  UNROLL for (int k = 0; k < 4; k++) {
    M bits = {};
    UNROLL for (int j = QUAD - 1; j >= 0; j--)
      bits = bits + bits - (M)(*(const U *)(f->first[j] + 4 * (at + k * B)) > *(const U *)(f->second[j] + 4 * (at + k * B)));
    const __m128i bytes = _mm512_cvtepi32_epi8((__m512i)bits);
    memcpy((char *)&all + k * B, &bytes, B);
  }
#else
  for (int64_t k = 0; k < ACROSS / B; k += 2) {
    M two[2] = {};
    UNROLL for (int i = 0; i < 2; i++) UNROLL for (int j = QUAD - 1; j >= 0; j--)
      two[i] = two[i] + two[i] - (M)(*(const U *)(f->first[j] + 4 * (at + (k + i) * B)) > *(const U *)(f->second[j] + 4 * (at + (k + i) * B)));
    const __m256i shorts = _mm256_permute4x64_epi64(_mm256_packs_epi32((__m256i)two[0], (__m256i)two[1]), 0xd8);
    const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(shorts), _mm256_extracti128_si256(shorts, 1));
    memcpy((char *)&all + k * B, &bytes, 16);
  }
#endif
  return all;
}
/* The bits of four comparisons at all positions of a band, then in its tiles. */
INLINE void bits_of_rows(const int FLOATS, const Step *s, const Planar *a, int64_t rows, Fours f, uint8_t *line) {
  const int64_t columns = s->columns, step = s->stride_rows * a->pitch;
  for (int64_t r = 0, at = 0; r < rows; r++, at += step, line += columns)
    for (int64_t q = 0; q < columns; q += ACROSS)
      *(Line *)(line + q) = FLOATS ? four_of_floats(&f, at + q) : four_of_codes(&f, at + q);
}
static void bits_of_four(const Step *s, const Planar *a, int64_t rows, const Fours *f, uint8_t *line, uint8_t *tiles) {
  if (s->mode) bits_of_rows(1, s, a, rows, *f, line);
  else bits_of_rows(0, s, a, rows, *f, line);
  for (int64_t p = 0; p < rows * s->columns; p += BESIDE, tiles += s->bases * BESIDE) memcpy(tiles, line + p, BESIDE);
}

#if defined(__AVX512BW__)
#define ADD_SHORTS _mm512_add_epi16
#define UPPER_BYTES(v) _mm512_srli_epi16(v, 8)
#define LOWER_BYTES(all, odd) _mm512_sub_epi16(all, _mm512_slli_epi16(odd, 8))
#define LOW_SHORTS _mm512_unpacklo_epi16
#define HIGH_SHORTS _mm512_unpackhi_epi16
#else
#define ADD_SHORTS _mm256_add_epi16
#define UPPER_BYTES(v) _mm256_srli_epi16(v, 8)
#define LOWER_BYTES(all, odd) _mm256_sub_epi16(all, _mm256_slli_epi16(odd, 8))
#define LOW_SHORTS _mm256_unpacklo_epi16
#define HIGH_SHORTS _mm256_unpackhi_epi16
#endif
/* Sums of a vector of positions as 16 bits, in their order. */
INLINE void put_shorts(Built all, Built odd, uint16_t *to) {
  const Built even = LOWER_BYTES(all, odd), halves[2] = {LOW_SHORTS(even, odd), HIGH_SHORTS(even, odd)};
  UNROLL for (int h = 0; h < 2; h++) UNROLL for (int i = 0; i < (int)sizeof(Built) / 16; i++)
    memcpy(to + 16 * i + 8 * h, (const char *)(halves + h) + 16 * i, 16);
}
/* What four filters add up at T vectors of positions. */
INLINE void four_filters(const int T, const Step *s, const uint8_t *bits, const uint8_t *tables, uint16_t (*to)[BESIDE]) {
  Built all[QUAD][2] = {}, odd[QUAD][2] = {};
  for (int64_t g = 0; g < s->bases;) {
    const int64_t end = least(s->bases, g + s->chunk);
    Built sums[QUAD][2] = {};
    for (; g < end; g++, bits += BESIDE, tables += QUAD * 16) {
      Built index[2];
      UNROLL for (int t = 0; t < T; t++) {
        index[t] = *(const Built *)(bits + t * ACROSS);
        IN_REGISTER(index[t]); /* four shuffles read it */
      }
      UNROLL for (int f = 0; f < QUAD; f++) {
        const Built table = spread_channels(_mm_load_si128((const __m128i *)(tables + 16 * f)));
        UNROLL for (int t = 0; t < T; t++) {
          sums[f][t] = sum_of(sums[f][t], picked(table, index[t]));
          IN_REGISTER(sums[f][t]); /* and stays there */
        }
      }
    }
    UNROLL for (int f = 0; f < QUAD; f++) UNROLL for (int t = 0; t < T; t++) {
      all[f][t] = ADD_SHORTS(all[f][t], sums[f][t]);
      odd[f][t] = ADD_SHORTS(odd[f][t], UPPER_BYTES(sums[f][t]));
    }
  }
  UNROLL for (int f = 0; f < QUAD; f++) UNROLL for (int t = 0; t < T; t++) put_shorts(all[f][t], odd[f][t], to[f] + t * ACROSS);
}
static void four_filters_1(const Step *s, const uint8_t *bits, const uint8_t *tables, uint16_t (*to)[BESIDE]) { four_filters(1, s, bits, tables, to); }
static void four_filters_2(const Step *s, const uint8_t *bits, const uint8_t *tables, uint16_t (*to)[BESIDE]) { four_filters(2, s, bits, tables, to); }

/* Eight filters at eight positions: rows become columns. */
INLINE void turn_shorts(const uint16_t (*from)[BESIDE], int64_t p, __m128i *v) {
  __m128i a[8];
  UNROLL for (int i = 0; i < 8; i++) v[i] = _mm_load_si128((const __m128i *)(from[i] + p));
  UNROLL for (int round = 0; round < 3; round++) {
    UNROLL for (int i = 0; i < 8; i++) a[i] = v[i];
    UNROLL for (int i = 0; i < 4; i++) v[2 * i] = _mm_unpacklo_epi16(a[i], a[i + 4]), v[2 * i + 1] = _mm_unpackhi_epi16(a[i], a[i + 4]);
  }
}
/* Sums of a block of filters, position by position. */
INLINE void turn_sums(const Step *s, uint16_t (*shorts)[B][BESIDE], int64_t count, int32_t (*sums)[MOST_SUMS], int64_t first) {
  for (int64_t p = 0; p < count; p += 8) for (int64_t f = 0; f < B; f += 8) {
    __m128i low[8], high[8];
    turn_shorts((const uint16_t (*)[BESIDE])(shorts[0] + f), p, low);
    if (s->bunch > 1) turn_shorts((const uint16_t (*)[BESIDE])(shorts[1] + f), p, high);
    UNROLL for (int i = 0; i < 8; i++) {
      __m256i sum = _mm256_cvtepu16_epi32(low[i]);
      if (s->bunch > 1) sum = _mm256_add_epi32(sum, _mm256_slli_epi32(_mm256_cvtepu16_epi32(high[i]), 4));
      _mm256_store_si256((__m256i *)(sums[p + i] + first + f), sum);
    }
  }
}

/* Positions of a tile, for blocks of filters f0 to f0 + nb. */
static void comparators_of_tile(const Step *s, float *m, const float *constants, const uint8_t *bits, Position at, int64_t count,
                            int64_t f0, int64_t nb) {
  static const int32_t nothing[BESIDE];
  uint16_t shorts[2][B][BESIDE] __attribute__((aligned(64)));
  int32_t sums[BESIDE][MOST_SUMS] __attribute__((aligned(64)));
  const int64_t each = s->bases * QUAD * 16;
  const uint8_t *tables = (const uint8_t *)(constants + s->weights) + f0 * B / QUAD * s->bunch * each;
  for (int64_t end = f0 + nb, some; f0 < end; f0 += some) {
    Summed to[BESIDE];
    Position from = at;
    for (int64_t t = 0, along; t < count; t += along, past(s, &from, along)) {
      along = least(count - t, s->columns - from.column);
      put_summed(s, m, from, f0, nothing, along, to + t);
    }
    some = least(end - f0, MOST_SUMS / B);
    EACH(f, some) {
      EACH(u, B / QUAD) EACH(part, s->bunch) {
        if (count > ACROSS) four_filters_2(s, bits, tables, shorts[part] + u * QUAD);
        else four_filters_1(s, bits, tables, shorts[part] + u * QUAD);
        tables += each;
      }
      turn_sums(s, shorts, count, sums, f * B);
    }
    ended_sums(s, constants, sums, to, count, f0, some);
  }
}

static int64_t comparators_room(const Planar *a) { return LINE_OF_ROW(a) + BITS_OF_BAND(a); }
INLINE int64_t comparators_room_of(const Step *s) {
  const Planar a = planar_of(s);
  return comparators_room(&a);
}
/* A band of rows from `first` on of an image. */
static void comparators_of_band(const Step *s, const Planar *a, float *m, const float *constants, int64_t image, int64_t first, int threads) {
  const int64_t rows = least(a->rows, s->rows - first), lines = (rows - 1) * s->stride_rows + s->kernel_rows;
  const int64_t positions = rows * s->columns, tiles = (positions + BESIDE - 1) / BESIDE;
  const int64_t set = SET_OF_TABLES / (B * s->bases * 16 * s->bunch), together = set > 1 ? set : 1;
  const int64_t sets = (s->filters + together - 1) / together;
  const int32_t *entries = (const int32_t *)(constants + s->entries);
  char *planes = (char *)(m + s->scratch.at);
  uint8_t *bits = (uint8_t *)(((uintptr_t)(planes + s->blocks * B * a->plane * a->item) + 4 * B + 63) & ~(uintptr_t)63);
  (void)threads;
  OMP(parallel num_threads(threads) if (threads > 1))
  {
    char *line = TAKE_ROOM(m, comparators_room(a));
    OMP(for)
    for (int64_t i = 0; i < s->blocks; i++) EACH(h, lines) {
      const char *x = AT(s, x, image) + 4 * (i * s->x.plane + inside(first * s->stride_rows - s->top + h, s->input_rows) * s->x.row);
      turn_row(s, a, x, planes + (i * B * a->plane + h * a->pitch) * a->item, line);
    }
    OMP(for)
    for (int64_t g = 0; g < s->bases; g++) {
      const Fours f = fours_of(s, a, planes, entries + g * FOUR);
      bits_of_four(s, a, rows, &f, (uint8_t *)line, bits + g * BESIDE);
    }
    LEAVE_ROOM(line);
    OMP(for collapse(2))
    for (int64_t u = 0; u < sets; u++) for (int64_t t = 0; t < tiles; t++) {
      const int64_t f0 = begin(s->filters, sets, u), p = t * BESIDE;
      const Position at = {image, first + p / s->columns, p % s->columns};
      comparators_of_tile(s, m, constants, bits + t * s->bases * BESIDE, at, least(BESIDE, positions - p), f0, begin(s->filters, sets, u + 1) - f0);
    }
  }
}
static void comparators(const Step *s, float *m, const float *constants, int threads) {
  const Planar a = planar_of(s);
  EACH(n, s->images) for (int64_t first = 0; first < s->rows; first += a.rows) comparators_of_band(s, &a, m, constants, n, first, threads);
}
#else
#define COMPARATORS 0
INLINE int64_t comparators_floats(const Step *s) { return s->images * 0; }
INLINE int64_t comparators_room_of(const Step *s) { return s->images * 0; }
static void comparators(const Step *s, float *m, const float *constants, int threads) { (void)s, (void)m, (void)constants, (void)threads; }
#endif
