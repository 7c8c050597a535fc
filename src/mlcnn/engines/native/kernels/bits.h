/* Convolutions of codes that have few bits.
 *
 * A weight is factor q + offset with q of N bits, an input the least code and a number of A bits:
 * then a sum of products is factor sum(q a) + offset sum(a), of which the second sum is the same for
 * all filters, and what the least code adds stands in the biases. Two ways to sum up q a:
 *
 * BITS: numbers become planes of bits, 64 channels to a word; a product of two planes is AND and a
 * count of ones, for eight filters at once, and Horner's rule weighs the planes. Where channels fill
 * no words, the columns of the kernel are packed together with them.
 *
 * TABLES: for 4 / N channels of a position all 16 sums of their multiples are one vector of bytes, in
 * which a shuffle looks up what 32 or 64 filters need. Bytes are added while they hold the sums. */
typedef uint64_t Words __attribute__((vector_size(64), may_alias, aligned(8)));
#define LANES_OF_WORDS 8
#define MOST_VECTORS 4  /* of eight filters, whose sums stay in registers */
#define MOST_POSITIONS 6 /* with them */
#define UNIT (B > 8 ? B : 8) /* filters that belong together: whole vectors and whole blocks */
#define MOST_SUMS 64    /* filters that a tile computes */

/* What a call packs its input into. */
typedef struct {
  int64_t folded;       /* whether the columns of the kernel lie in the words of a position: one for each result */
  int64_t length, words; /* bytes of a position's string, and its words per plane */
  int64_t rows, columns; /* of the packed input */
  int64_t down, skip;    /* its rows from result to result, and rows of the input from one of them to the next */
  int64_t cell;         /* words of a position, in all planes */
} Strings;

static int64_t channels_of(const Step *s, const int32_t *lanes) {
  int64_t count = 0;
  EACH(i, s->blocks) count += lanes[i];
  return count;
}
static Strings strings_of(const Step *s, int64_t channels) {
  const int64_t apart = (channels + 63) / 64 * s->kernel_columns, together = (s->kernel_columns * channels + 63) / 64;
  const int whole = s->kernel_rows == 1; /* then no rows are packed but those that results read */
  Strings a = {.folded = together < apart || s->kernel_columns == 1, .down = whole ? 1 : s->stride_rows, .skip = whole ? s->stride_rows : 1};
  a.length = a.folded ? s->kernel_columns * channels : channels;
  a.words = (a.length + 63) / 64;
  a.rows = (s->rows - 1) * a.down + (s->kernel_rows - 1) * s->dilation_rows + 1;
  a.columns = a.folded ? s->columns : (s->columns - 1) * s->stride_columns + (s->kernel_columns - 1) * s->dilation_columns + 1;
  a.cell = a.words * s->input_bits;
  return a;
}
#define LINE(a) ((a).columns * (a).words * 64 + 64) /* bytes of a row of strings */
INLINE int64_t bits_floats(const Step *s, int64_t channels) {
  const Strings a = strings_of(s, channels);
  return s->images * (a.rows * a.columns * (2 * a.cell + 1) + s->rows * s->columns) + 32;
}

/* What the codes of a block, or sums of them, are above the least one. */
INLINE Bytes numbers_at(const Step *s, const char *x) {
  if (s->mode) return __builtin_convertvector(*(const Shorts *)x - (int16_t)s->base, Bytes);
  return *(const Bytes *)x - (uint8_t)s->base;
}
/* The numbers of a position side by side, those of the lanes in use. */
INLINE uint8_t *strung(const Step *s, const int32_t *lanes, const char *x, uint8_t *to) {
  EACH(i, s->blocks) {
    const char *from = x + 4 * i * s->x.plane;
    *(Bytes *)to = numbers_at(s, from);
    to += lanes[i];
  }
  return to;
}
/* Bit m of 64 numbers. */
INLINE uint64_t plane_of(const uint8_t *numbers, int64_t m) {
#if defined(__AVX512BW__)
  return _mm512_test_epi8_mask(_mm512_loadu_si512(numbers), _mm512_set1_epi8((char)(1 << m)));
#elif defined(__AVX2__)
  const __m256i low = _mm256_loadu_si256((const __m256i *)numbers), high = _mm256_loadu_si256((const __m256i *)(numbers + 32));
  const uint32_t a = (uint32_t)_mm256_movemask_epi8(_mm256_slli_epi16(low, (int)(7 - m)));
  const uint32_t b = (uint32_t)_mm256_movemask_epi8(_mm256_slli_epi16(high, (int)(7 - m)));
  return a | (uint64_t)b << 32;
#else
  uint64_t word = 0;
  for (int i = 0; i < 64; i++) word |= (uint64_t)(numbers[i] >> m & 1) << i;
  return word;
#endif
}
#if B == 16 && defined(__AVX512BW__)
/* Sixty-four channels of a position from its blocks, of which there are so many. */
INLINE __m512i sixty_four(const Step *s, const char *x, int64_t blocks) {
  const int64_t plane = 4 * s->x.plane;
  __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)x));
  if (blocks > 1) v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(x + plane)), 1);
  if (blocks > 2) v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(x + 2 * plane)), 2);
  if (blocks > 3) v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(x + 3 * plane)), 3);
  return _mm512_sub_epi8(v, _mm512_set1_epi8((char)s->base));
}
/* Whether channels are packed as they lie in blocks: without strings, which cost as much again. */
INLINE int lie_in_words(const Step *s, const Strings *a, const int32_t *lanes) {
  int64_t full = !s->mode && !a->folded;
  EACH(i, s->blocks - 1) full &= lanes[i] == B;
  return (int)full;
}
static void pack_words(const Step *s, const Strings *a, const char *x, uint64_t *words, int32_t *sums) {
  const int64_t bits = s->input_bits, rest = a->length - 64 * (a->words - 1);
  const __mmask64 last = rest < 64 ? ((__mmask64)1 << rest) - 1 : ~(__mmask64)0;
  EACH(q, a->columns) {
    int64_t sum = 0;
    EACH(w, a->words) {
      const __m512i v = sixty_four(s, x + 4 * (q * s->x.column + 4 * w * s->x.plane), s->blocks - 4 * w);
      const __mmask64 used = w == a->words - 1 ? last : ~(__mmask64)0;
      EACH(m, bits) {
        const uint64_t word = _mm512_mask_test_epi8_mask(used, v, _mm512_set1_epi8((char)(1 << m)));
        sum += (int64_t)__builtin_popcountll(word) << m;
        words[m * a->words + w] = word;
      }
    }
    words += a->cell;
    sums[q] = (int32_t)sum;
  }
}
#else
INLINE int lie_in_words(const Step *s, const Strings *a, const int32_t *lanes) { return (void)s, (void)a, (void)lanes, 0; }
INLINE void pack_words(const Step *s, const Strings *a, const char *x, uint64_t *words, int32_t *sums) { (void)s, (void)a, (void)x, (void)words, (void)sums; }
#endif
/* A row of the input as planes of bits, and the sum of each position's numbers. */
static void pack_row(const Step *s, const Strings *a, const int32_t *lanes, const char *x, uint8_t *line,
                     uint64_t *words, int32_t *sums) {
  if (lie_in_words(s, a, lanes)) {
    pack_words(s, a, x, words, sums);
    return;
  }
  const int64_t step = a->words * 64, taps = a->folded ? s->kernel_columns : 1;
  EACH(q, a->columns) {
    uint8_t *to = line + q * step;
    const int64_t column = a->folded ? q * s->stride_columns : q;
    EACH(k, taps) to = strung(s, lanes, x + 4 * (column + k * s->dilation_columns) * s->x.column, to);
    memset(to, 0, line + (q + 1) * step - to);
  }
  EACH(q, a->columns) {
    int32_t sum = 0;
    EACH(m, s->input_bits) EACH(w, a->words) {
      const uint64_t word = plane_of(line + q * step + 64 * w, m);
      sum += __builtin_popcountll(word) << m;
      *words++ = word;
    }
    *sums++ = sum;
  }
}

/* The sum of all inputs of each result of a row. */
WIDE_LOOPS static void total_row(const Step *s, const int32_t *sums, int64_t row, int64_t stride, int64_t taps, int64_t dilation, int32_t *totals) {
  EACH(q, s->columns) totals[q] = 0;
  EACH(r, s->kernel_rows) EACH(k, taps) {
    const int32_t *from = sums + r * s->dilation_rows * row + k * dilation;
    if (stride == 1) EACH(q, s->columns) totals[q] += from[q];
    else EACH(q, s->columns) totals[q] += from[q * stride];
  }
}

/* Ones are counted by one instruction, by a table of 16, or word by word. */
#if defined(__AVX512VPOPCNTDQ__)
#define COUNTS 2
#elif defined(__AVX2__)
#define COUNTS 1
#else
#define COUNTS 0
#endif
/* By address: without AVX-512 they are more than one register, which no calling convention passes. */
INLINE void add_ones(Words *sum, const Words *v) {
#if defined(__AVX512VPOPCNTDQ__)
  *sum += (Words)_mm512_popcnt_epi64((__m512i)*v);
#elif defined(__AVX2__)
  typedef struct { __m256i half[2]; } Halves;
  const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i low = _mm256_set1_epi8(15);
  Halves a;
  Words counted;
  memcpy(&a, v, sizeof a);
  UNROLL for (int i = 0; i < 2; i++)
    a.half[i] = _mm256_sad_epu8(_mm256_add_epi8(_mm256_shuffle_epi8(table, _mm256_and_si256(a.half[i], low)),
                                                _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(a.half[i], 4), low))),
                                _mm256_setzero_si256());
  memcpy(&counted, &a, sizeof a);
  *sum += counted;
#else
  UNROLL for (int i = 0; i < LANES_OF_WORDS; i++) (*sum)[i] += (uint64_t)__builtin_popcountll((*v)[i]);
#endif
}

/* Sums of position t, as 32 bits: a store for each load that reads them. */
INLINE void put_words(const int NV, Words (*a)[MOST_POSITIONS], int t, int32_t *sums) {
#if defined(__AVX512F__)
  const __m512i low = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  UNROLL for (int f = 0; f + 1 < NV; f += 2)
    _mm512_store_si512(sums + 8 * f, _mm512_permutex2var_epi32((__m512i)a[f][t], low, (__m512i)a[f + 1][t]));
  if (NV % 2) _mm256_store_si256((__m256i *)(sums + 8 * (NV - 1)), _mm512_cvtepi64_epi32((__m512i)a[NV - 1][t]));
#else
  typedef int32_t Eight __attribute__((vector_size(32), may_alias, aligned(4)));
  UNROLL for (int f = 0; f < NV; f++) *(Eight *)(sums + 8 * f) = __builtin_convertvector(a[f][t], Eight);
#endif
}
/* Sums of q a of 8 NV filters at T positions. */
INLINE void bits_tile(const int NV, const int T, const Step *s, const Strings *p, const uint64_t *const *x, const Words *w,
                      int32_t (*sums)[MOST_SUMS]) {
  Words a[MOST_VECTORS][MOST_POSITIONS];
  const int64_t columns = p->folded ? 1 : s->kernel_columns, top = s->input_bits + s->weight_bits - 2;
  const int64_t row = p->columns * p->cell * s->dilation_rows, column = p->cell * s->dilation_columns;
  const int64_t plane = s->kernel_rows * columns * p->words * NV;
  UNROLL for (int f = 0; f < NV; f++) UNROLL for (int t = 0; t < T; t++) a[f][t] = (Words){};
  for (int64_t power = top; power >= 0; power--) {
    if (power < top) UNROLL for (int f = 0; f < NV; f++) UNROLL for (int t = 0; t < T; t++) a[f][t] += a[f][t];
    for (int64_t n = 0; n < s->weight_bits && n <= power; n++) {
      const int64_t m = power - n;
      if (m >= s->input_bits) continue;
      const Words *v = w + n * plane;
      for (int64_t r = 0; r < s->kernel_rows; r++) for (int64_t k = 0; k < columns; k++) {
        const int64_t at = r * row + k * column + m * p->words;
        for (int64_t i = at; i < at + p->words; i++, v += NV) {
          Words weights[MOST_VECTORS];
          UNROLL for (int f = 0; f < NV; f++) {
            weights[f] = v[f];
#if defined(__AVX512F__) /* elsewhere it is more than one register */
            IN_REGISTER(weights[f]);
#endif
          }
          UNROLL for (int t = 0; t < T; t++) UNROLL for (int f = 0; f < NV; f++) {
            const Words both = weights[f] & (x[t][i] - (Words){});
            add_ones(&a[f][t], &both);
          }
        }
      }
    }
  }
  UNROLL for (int t = 0; t < T; t++) put_words(NV, a, t, sums[t]);
}

typedef void (*BitsTile)(const Step *, const Strings *, const uint64_t *const *, const Words *, int32_t (*)[MOST_SUMS]);
#define BITS_TILE(NV, T)                                                                                               \
  static void bits_##NV##_##T(const Step *s, const Strings *p, const uint64_t *const *x, const Words *w,                \
                              int32_t (*sums)[MOST_SUMS]) {                                                            \
    bits_tile(NV, T, s, p, x, w, sums);                                                                                \
  }
#define BITS_LISTED(NV, T) bits_##NV##_##T,
UP_TO_6(BITS_TILE, 1) UP_TO_6(BITS_TILE, 2) UP_TO_6(BITS_TILE, 3) UP_TO_6(BITS_TILE, 4)
static const BitsTile bits_tiles[MOST_VECTORS][MOST_POSITIONS] = {
    {UP_TO_6(BITS_LISTED, 1)}, {UP_TO_6(BITS_LISTED, 2)}, {UP_TO_6(BITS_LISTED, 3)}, {UP_TO_6(BITS_LISTED, 4)}};

/* -- from sums to results */

/* What becomes of the sums of a position, for filters from block f0 on. */
typedef struct {
  Result at;
  int32_t shared; /* what the sums of all filters have in common */
} Summed;
/* The same of count positions side by side in a row, of whose inputs these are the sums. */
INLINE void put_summed(const Step *s, float *m, Position at, int64_t f0, const int32_t *totals, int64_t count, Summed *to) {
  Result result = result_at(s, m, at.image, at.row, at.column, f0);
  const int32_t offset = (int32_t)s->offset;
  EACH(t, count) to[t] = (Summed){result, totals[t] * offset}, result = beside(s, result);
}
/* What becomes of the sums of count positions, for nb blocks of filters from f0 on. */
static __attribute__((noinline)) void ended_in_general(const Step *s, const float *constants, int32_t (*sums)[MOST_SUMS], const Summed *to,
                                                       int64_t count, int64_t f0, int64_t nb) {
  const Step ends = *s; /* which no result overwrites */
  const int32_t *biases = (const int32_t *)(constants + s->biases) + f0 * B, factor = (int32_t)s->factor;
  const float *scales = constants + s->scales + f0 * B, *shifts = constants + s->shifts + f0 * B;
  EACH(f, nb) {
    const M bias = *(const M *)(biases + f * B);
    EACH(t, count) {
      const M sum = *(const M *)(sums[t] + f * B) * factor + to[t].shared + bias;
      ended(&ends, sum, scales + f * B, shifts + f * B, further(&ends, to[t].at, f));
    }
  }
}
/* The same where sums become codes at once: what `ended` does, with all it needs in registers. */
INLINE void ended_as_codes(const int SHIFTED, const Step *s, const float *constants, int32_t (*sums)[MOST_SUMS], const Summed *to,
                           int64_t count, int64_t f0, int64_t nb) {
  const V low = spread(s->low), high = spread(s->high);
  const int32_t zero = (int32_t)s->zero_y, factor = (int32_t)s->factor;
  const int32_t *biases = (const int32_t *)(constants + s->biases) + f0 * B;
  const float *scales = constants + s->scales + f0 * B, *shifts = constants + s->shifts + f0 * B;
  const int64_t y = 4 * s->y.plane;
  EACH(f, nb) {
    const M bias = *(const M *)(biases + f * B);
    const V scale = *(const V *)(scales + f * B), shift = SHIFTED ? *(const V *)(shifts + f * B) : (V){};
    EACH(t, count) {
      V v = __builtin_convertvector(*(const M *)(sums[t] + f * B) * factor + (to[t].shared + bias), V) * scale;
      if (SHIFTED) {
        IN_REGISTER(v); /* see `recoded` */
        v += shift;
      }
      put(to[t].at.y + f * y, smaller(larger(v, low), high), zero);
    }
  }
}
INLINE void ended_sums(const Step *s, const float *constants, int32_t (*sums)[MOST_SUMS], const Summed *to, int64_t count,
                       int64_t f0, int64_t nb) {
  if (s->finish == TO_FLOATS || s->ratio) ended_in_general(s, constants, sums, to, count, f0, nb);
  else if (s->finish) ended_as_codes(1, s, constants, sums, to, count, f0, nb);
  else ended_as_codes(0, s, constants, sums, to, count, f0, nb);
}

/* Positions from `first` on, for the filters of vectors v0 to v0 + nv. */
static void bits_part(const Step *s, float *m, const float *constants, const Strings *p, const uint64_t *words, int64_t v0,
                      int64_t nv, int64_t first, int64_t count) {
  const int64_t parts = (count + MOST_POSITIONS - 1) / MOST_POSITIONS, columns = p->folded ? 1 : s->kernel_columns;
  const int64_t f0 = v0 * 8 / B, nb = least(nv * 8 / B, s->filters - f0);
  const int32_t *totals = (const int32_t *)(words + s->images * p->rows * p->columns * p->cell);
  const Words *w = (const Words *)(constants + s->weights) + s->kernel_rows * columns * p->words * s->weight_bits * v0;
  const int64_t step = p->cell * (p->folded ? 1 : s->stride_columns);
  Position at = position(s, 0, first);
  EACH(part, parts) {
    const int64_t width = begin(count, parts, part + 1) - begin(count, parts, part);
    const uint64_t *x[MOST_POSITIONS];
    Summed to[MOST_POSITIONS];
    int32_t sums[MOST_POSITIONS][MOST_SUMS] __attribute__((aligned(64)));
    for (int64_t t = 0, along; t < width; t += along, past(s, &at, along)) {
      along = least(width - t, s->columns - at.column);
      const uint64_t *from = words + (at.image * p->rows + at.row * p->down) * p->columns * p->cell + at.column * step;
      EACH(i, along) x[t + i] = from + i * step;
      put_summed(s, m, at, f0, totals + (at.image * s->rows + at.row) * s->columns + at.column, along, to + t);
    }
    bits_tiles[nv - 1][width - 1](s, p, x, w, sums);
    ended_sums(s, constants, sums, to, width, f0, nb);
  }
}

static void bits(const Step *s, float *m, const float *constants, int threads) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  const Strings p = strings_of(s, channels_of(s, lanes));
  const int64_t cells = s->images * p.rows * p.columns;
  uint64_t *words = (uint64_t *)(m + s->scratch.at);
  int32_t *totals = (int32_t *)(words + cells * p.cell), *sums = totals + s->images * s->rows * s->columns;
  (void)threads;
  OMP(parallel num_threads(threads) if (threads > 1))
  {
    uint8_t *line = TAKE_ROOM(m, LINE(p));
    OMP(for)
    for (int64_t u = 0; u < s->images * p.rows; u++)
      pack_row(s, &p, lanes, AT(s, x, u / p.rows) + 4 * (u % p.rows) * p.skip * s->x.row, line, words + u * p.columns * p.cell,
               sums + u * p.columns);
    LEAVE_ROOM(line);
    OMP(for)
    for (int64_t u = 0; u < s->images * s->rows; u++)
      total_row(s, sums + (u / s->rows * p.rows + u % s->rows * p.down) * p.columns, p.columns,
                p.folded ? 1 : s->stride_columns, p.folded ? 1 : s->kernel_columns, s->dilation_columns, totals + u * s->columns);
  }
  const int64_t units = (s->filters * B + UNIT - 1) / UNIT, each = MOST_VECTORS * 8 / UNIT, groups = (units + each - 1) / each;
  const int64_t positions = s->images * s->rows * s->columns, bunches = threads > 1 ? threads : 1;
  OMP(parallel for collapse(2) num_threads(threads) if (threads > 1))
  for (int64_t u = 0; u < bunches; u++)
    for (int64_t g = 0; g < groups; g++) {
      const int64_t v0 = begin(units, groups, g) * UNIT / 8, nv = begin(units, groups, g + 1) * UNIT / 8 - v0;
      const int64_t first = begin(positions, bunches, u), count = begin(positions, bunches, u + 1) - first;
      bits_part(s, m, constants, &p, words, v0, nv, first, count);
    }
}
