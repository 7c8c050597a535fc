/* Sums of products by tables; see ``bits.h``. Entry i of a table is the sum of the multiples that the
 * bits of i say: bit j stands for 2^(j % N) times channel j / N of the table. */
#if defined(__AVX512BW__)
#define TABLES 1
typedef __m512i Built;
INLINE Built spread_channels(__m128i x) { return _mm512_broadcast_i32x4(x); }
INLINE Built picked(Built x, Built pattern) { return _mm512_shuffle_epi8(x, pattern); }
INLINE Built sum_of(Built a, Built b) { return _mm512_add_epi8(a, b); }
#elif defined(__AVX2__)
#define TABLES 1
typedef __m256i Built;
INLINE Built spread_channels(__m128i x) { return _mm256_broadcastsi128_si256(x); }
INLINE Built picked(Built x, Built pattern) { return _mm256_shuffle_epi8(x, pattern); }
INLINE Built sum_of(Built a, Built b) { return _mm256_add_epi8(a, b); }
#else
#define TABLES 0
#endif

#if TABLES
#define SIDE (int64_t)(sizeof(Built) / 16) /* tables that are built together */
#define MOST_BUILT 16
#define WIDEST_LOOKUP 8
#define BUNCH 32 /* positions whose sums stay in the innermost cache */
#define BAND 393216 /* bytes of tables, that stay in the outer cache beside the weights */

typedef struct {
  int64_t tables;   /* of a block of channels */
  int64_t cell, row; /* bytes of the tables of a position, and of a row of them */
  int64_t rows, columns, band; /* of the input that is read; rows of the result at a time */
  int64_t run, most; /* additions that bytes hold, and 16 bits */
} Tables;

static Tables tables_of(const Step *s) {
  const int64_t greatest = ((1 << s->weight_bits) - 1) * s->high_code * (4 / s->weight_bits > 1 ? 4 / s->weight_bits : 1);
  Tables a = {.tables = B / (4 / s->weight_bits > 1 ? 4 / s->weight_bits : 1)};
  a.cell = 16 * a.tables * s->blocks;
  a.columns = (s->columns - 1) * s->stride_columns + (s->kernel_columns - 1) * s->dilation_columns + 1;
  a.row = a.cell * a.columns;
  const int64_t halo = (s->kernel_rows - 1) * s->dilation_rows + 1, fit = BAND / a.row;
  const int64_t rows = fit > halo ? (fit - halo) / s->stride_rows + 1 : 1;
  const int64_t bands = (s->rows + rows - 1) / rows;
  a.band = (s->rows + bands - 1) / bands;
  a.rows = (a.band - 1) * s->stride_rows + halo;
  a.run = 255 / greatest, a.most = 65535 / greatest;
  return a;
}
INLINE int64_t tables_floats(const Step *s) {
  const Tables a = tables_of(s);
  return a.rows * a.row / 4 + a.rows * a.columns + a.band * s->columns + 64;
}

/* Patterns of the shuffles that build the tables of a block: byte i of table t takes from bit j of i. */
static void patterns_of(const Step *s, const Tables *a, uint8_t (*patterns)[4][sizeof(Built)]) {
  const int64_t bits = s->weight_bits, channels = B / a->tables;
  EACH(v, (a->tables + SIDE - 1) / SIDE) EACH(j, 4) EACH(i, (int64_t)sizeof(Built)) {
    const int64_t table = v * SIDE + i / 16, channel = table * channels + j / bits;
    patterns[v][j][i] = (i >> j & 1) && j / bits < channels && j < bits * channels && channel < 16 ? channel : 0x80;
  }
}
static const uint8_t used_lanes[32] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
/* The tables of a row of the input, and the sum of each position's numbers. */
INLINE void build_row_of(const int BITS, const Step *s, const Tables *a, uint8_t (*patterns)[4][sizeof(Built)], const char *x,
                         uint8_t *to, const int32_t *lanes, int32_t *sums) {
  const int64_t vectors = (a->tables + SIDE - 1) / SIDE;
  EACH(q, a->columns) {
    __m128i all = _mm_setzero_si128();
    EACH(i, s->blocks) {
      const Bytes v = numbers_at(s, x + 4 * (q * s->x.column + i * s->x.plane));
      __m128i numbers = _mm_setzero_si128();
      memcpy(&numbers, &v, sizeof v);
      if (lanes[i] < B) numbers = _mm_and_si128(numbers, _mm_loadu_si128((const __m128i *)(used_lanes + 16 - lanes[i])));
      all = _mm_add_epi64(all, _mm_sad_epu8(numbers, _mm_setzero_si128()));
      Built by[4] = {spread_channels(numbers)};
      UNROLL for (int j = 1; j < 4; j++) by[j] = j < BITS ? sum_of(by[j - 1], by[j - 1]) : by[j % BITS];
      uint8_t *table = to + q * a->cell + 16 * i * a->tables;
      EACH(k, vectors) {
        Built built = picked(by[0], *(const Built *)patterns[k][0]);
        UNROLL for (int j = 1; j < 4; j++) built = sum_of(built, picked(by[j], *(const Built *)patterns[k][j]));
        memcpy(table + k * sizeof(Built), &built, sizeof built);
      }
    }
    sums[q] = _mm_cvtsi128_si32(all) + _mm_extract_epi32(all, 2);
  }
}
static void build_row(const Step *s, const Tables *a, uint8_t (*patterns)[4][sizeof(Built)], const char *x, uint8_t *to,
                      const int32_t *lanes, int32_t *sums) {
  if (s->weight_bits == 1) build_row_of(1, s, a, patterns, x, to, lanes, sums);
  else if (s->weight_bits == 2) build_row_of(2, s, a, patterns, x, to, lanes, sums);
  else if (s->weight_bits == 3) build_row_of(3, s, a, patterns, x, to, lanes, sums);
  else build_row_of(4, s, a, patterns, x, to, lanes, sums);
}

/* 32 or 64 filters at T positions. Byte 2 i of a vector is filter i, byte 2 i + 1 that of the other
 * half: sums of 16 bits are those of all bytes, and of the upper ones alone. */
typedef int32_t Sixteen __attribute__((vector_size(64), may_alias, aligned(4)));
typedef uint16_t SixteenShorts __attribute__((vector_size(32), may_alias));
#define LOOKUP(WIDE, VECTOR, SHUFFLE, SPREAD, ADD8, ADD16, SUB16, HIGH, LEFT)                                            \
  INLINE void lookup_##WIDE(const int T, const Step *s, const Tables *a, const uint8_t *const *x, const uint8_t *w,     \
                            int64_t begun, int64_t each, int32_t (*sums)[MOST_SUMS]) {                                  \
    const int64_t column = a->cell * s->dilation_columns, row = a->row * s->dilation_rows;                              \
    const int64_t taps = s->kernel_rows * s->kernel_columns, together = a->most / each;                                \
    int64_t at = 16 * begun, k = 0;                                                                                    \
    for (int64_t tap = 0; tap < taps;) {                                                                               \
      const int64_t pause = least(taps, tap + together);                                                               \
      VECTOR all[WIDEST_LOOKUP], odd[WIDEST_LOOKUP];                                                                   \
      UNROLL for (int t = 0; t < T; t++) all[t] = odd[t] = (VECTOR){};                                                  \
      for (; tap < pause; tap++) {                                                                                     \
        int64_t from = at, last = at + 16 * each;                                                                      \
        while (from < last) {                                                                                          \
          const int64_t end = least(last, from + 16 * a->run);                                                         \
          VECTOR bytes[WIDEST_LOOKUP], index = *(const VECTOR *)w;                                                     \
          UNROLL for (int t = 0; t < T; t++) bytes[t] = SHUFFLE(SPREAD(_mm_load_si128((const __m128i *)(x[t] + from))), index); \
          for (from += 16, w += WIDE; from < end; from += 16, w += WIDE) {                                             \
            index = *(const VECTOR *)w;                                                                                \
            UNROLL for (int t = 0; t < T; t++)                                                                          \
              bytes[t] = ADD8(bytes[t], SHUFFLE(SPREAD(_mm_load_si128((const __m128i *)(x[t] + from))), index));        \
          }                                                                                                            \
          UNROLL for (int t = 0; t < T; t++) {                                                                          \
            all[t] = ADD16(all[t], bytes[t]);                                                                          \
            odd[t] = ADD16(odd[t], HIGH(bytes[t], 8));                                                                 \
          }                                                                                                            \
        }                                                                                                              \
        at += column;                                                                                                  \
        if (++k == s->kernel_columns) k = 0, at += row - s->kernel_columns * column;                                   \
      }                                                                                                                \
      UNROLL for (int t = 0; t < T; t++) {                                                                              \
        const VECTOR even = SUB16(all[t], LEFT(odd[t], 8));                                                            \
        SixteenShorts halves[WIDE / 16];                                                                               \
        memcpy(halves, &even, sizeof even);                                                                            \
        memcpy(halves + WIDE / 32, odd + t, sizeof even);                                                              \
        UNROLL for (int i = 0; i < WIDE / 16; i++)                                                                      \
          *(Sixteen *)(sums[t] + 16 * i) += __builtin_convertvector(halves[i], Sixteen);                               \
      }                                                                                                                \
    }                                                                                                                  \
  }
LOOKUP(32, __m256i, _mm256_shuffle_epi8, _mm256_broadcastsi128_si256, _mm256_add_epi8, _mm256_add_epi16, _mm256_sub_epi16,
       _mm256_srli_epi16, _mm256_slli_epi16)
#if defined(__AVX512BW__)
#define WIDEST_SET 64
LOOKUP(64, __m512i, _mm512_shuffle_epi8, _mm512_broadcast_i32x4, _mm512_add_epi8, _mm512_add_epi16, _mm512_sub_epi16,
       _mm512_srli_epi16, _mm512_slli_epi16)
#else
#define WIDEST_SET 32
#endif

typedef void (*Lookup)(const Step *, const Tables *, const uint8_t *const *, const uint8_t *, int64_t, int64_t, int32_t (*)[MOST_SUMS]);
#define LOOKUP_TILE(WIDE, T)                                                                                            \
  static void lookup_##WIDE##_##T(const Step *s, const Tables *a, const uint8_t *const *x, const uint8_t *w,            \
                                  int64_t begun, int64_t each, int32_t (*sums)[MOST_SUMS]) {                            \
    lookup_##WIDE(T, s, a, x, w, begun, each, sums);                                                                    \
  }
#define LOOKUP_LISTED(WIDE, T) lookup_##WIDE##_##T,
UP_TO_8(LOOKUP_TILE, 32)
#if defined(__AVX512BW__)
UP_TO_8(LOOKUP_TILE, 64)
#define MOST_LOOKUP 8 /* positions whose sums stay in registers */
static const Lookup lookups[2][WIDEST_LOOKUP] = {{UP_TO_8(LOOKUP_LISTED, 32)}, {UP_TO_8(LOOKUP_LISTED, 64)}};
#else
#define MOST_LOOKUP 4
static const Lookup lookups[1][WIDEST_LOOKUP] = {{UP_TO_8(LOOKUP_LISTED, 32)}};
#endif

/* Rows of a band for a set of filters: some positions at a time, for which the tables of some channels
 * after others, with the weights that look them up, stay in the innermost cache. */
static void lookup_part(const Step *s, float *m, const float *constants, const Tables *a, const uint8_t *tables,
                        const int32_t *totals, int64_t image, int64_t top, int64_t rows, int64_t set) {
  const int64_t wide = s->chunk, count = rows * s->columns, bunches = (count + BUNCH - 1) / BUNCH;
  const int64_t f0 = set * wide / B, nb = least(wide / B, s->filters - f0), all = a->cell / 16;
  const int64_t taps = s->kernel_rows * s->kernel_columns, parts = (all + s->bunch - 1) / s->bunch;
  const uint8_t *weights = (const uint8_t *)(constants + s->weights) + set * wide * all * taps;
  const int64_t step = a->cell * s->stride_columns;
  Position at = {image, top, 0};
  EACH(u, bunches) {
    const int64_t number = begin(count, bunches, u + 1) - begin(count, bunches, u), tiles = (number + MOST_LOOKUP - 1) / MOST_LOOKUP;
    const uint8_t *x[BUNCH];
    Summed to[BUNCH];
    int32_t sums[BUNCH][MOST_SUMS] __attribute__((aligned(64)));
    for (int64_t t = 0, along; t < number; t += along, past(s, &at, along)) {
      along = least(number - t, s->columns - at.column);
      const uint8_t *from = tables + (at.row - top) * s->stride_rows * a->row + at.column * step;
      EACH(i, along) x[t + i] = from + i * step;
      put_summed(s, m, at, f0, totals + (at.row - top) * s->columns + at.column, along, to + t);
    }
    EACH(t, number) memset(sums[t], 0, wide * sizeof(int32_t));
    EACH(part, parts) {
      const int64_t begun = begin(all, parts, part), each = begin(all, parts, part + 1) - begun;
      EACH(tile, tiles) {
        const int64_t first = begin(number, tiles, tile), width = begin(number, tiles, tile + 1) - first;
        lookups[wide / 64][width - 1](s, a, x + first, weights + begun * taps * wide, begun, each, sums + first);
      }
    }
    ended_sums(s, constants, sums, to, number, f0, nb);
  }
}

static void lookup(const Step *s, float *m, const float *constants, int threads) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  const Tables a = tables_of(s);
  uint8_t patterns[MOST_BUILT][4][sizeof(Built)] __attribute__((aligned(64)));
  patterns_of(s, &a, patterns);
  uint8_t *tables = (uint8_t *)(m + s->scratch.at);
  int32_t *totals = (int32_t *)(tables + a.rows * a.row + 64), *sums = totals + a.band * s->columns;
  const int64_t sets = (s->filters * B + s->chunk - 1) / s->chunk;
  (void)threads;
  EACH(n, s->images) for (int64_t top = 0; top < s->rows; top += a.band) {
    const int64_t rows = least(a.band, s->rows - top), inputs = (rows - 1) * s->stride_rows + (s->kernel_rows - 1) * s->dilation_rows + 1;
    OMP(parallel for num_threads(threads) if (threads > 1))
    for (int64_t r = 0; r < inputs; r++)
      build_row(s, &a, patterns, AT(s, x, n) + 4 * (top * s->stride_rows + r) * s->x.row, tables + r * a.row, lanes, sums + r * a.columns);
    EACH(r, rows) total_row(s, sums + r * s->stride_rows * a.columns, a.columns, s->stride_columns, s->kernel_columns, s->dilation_columns,
                            totals + r * s->columns);
    const int64_t bunches = threads > 1 ? least(threads, rows) : 1;
    OMP(parallel for collapse(2) num_threads(threads) if (threads > 1))
    for (int64_t u = 0; u < bunches; u++)
      for (int64_t set = 0; set < sets; set++) {
        const int64_t first = begin(rows, bunches, u), end = begin(rows, bunches, u + 1);
        const int64_t skipped = first * s->stride_rows;
        lookup_part(s, m, constants, &a, tables + skipped * a.row, totals + first * s->columns, n, top + first, end - first, set);
      }
  }
}
#else
#define WIDEST_SET 0
INLINE int64_t tables_floats(const Step *s) { return s->images * 0; }
static void lookup(const Step *s, float *m, const float *constants, int threads) { (void)s, (void)m, (void)constants, (void)threads; }
#endif
