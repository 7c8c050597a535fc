/* Convolutions of codes with one channel per group. Weights lie four columns of the kernel to each
 * lane: where there are the instructions, a shuffle makes four positions of all lanes so, and VNNI
 * sums up their products. Elsewhere codes, or sums of them, become floats, some rows at a time, for the
 * kernels of `depthwise.h`: sums are whole numbers below 2^24, which floats hold. */
#define BAND_FLOATS 24576 /* of an input, that stay in the outer cache */
#define QUADS(s) (((s)->kernel_columns + 3) / 4)

/* What the operations on a row of results share. */
typedef struct {
  int64_t block; /* of channels */
  const M *weights;
  M bias;
  const float *scale, *shift;
} Channels;
INLINE Channels channels_at(const Step *s, const float *constants, int64_t i) {
  return (Channels){i, (const M *)(constants + s->weights) + i * s->kernel_rows * QUADS(s), *(const M *)(constants + s->biases + i * B),
                    constants + s->scales + i * B, constants + s->shifts + i * B};
}
/* Results of count positions, which lie side by side. */
INLINE void end_side_by_side(const Step *s, const Channels *c, const M *sums, int64_t count, Result to) {
  if (s->finish || s->ratio) {
    EACH(t, count) ended(s, sums[t], c->scale, c->shift, to), to = beside(s, to);
    return;
  }
  const V scale = *(const V *)c->scale, low = spread(s->low), high = spread(s->high);
  const int32_t zero = (int32_t)s->zero_y;
  EACH(t, count) put(to.y + B * t, smaller(larger(__builtin_convertvector(sums[t], V) * scale, low), high), zero);
}

#if VNNI && defined(__AVX512VBMI__) && (B == 16 || defined(__AVX512VL__))
#define IN_QUADS(s) (!(s)->mode && (s)->dilation_columns == 1)
/* Byte 4 l + j: lane l of position j. */
INLINE M quads_at(const char *x, M places) {
#if B == 16
  return (M)_mm512_permutexvar_epi8((__m512i)places, _mm512_loadu_si512(x));
#else
  return (M)_mm256_permutexvar_epi8((__m256i)places, _mm256_loadu_si256((const __m256i *)x));
#endif
}
INLINE void quads(const int T, const Step *s, const Channels *c, M places, const char *x, Result to) {
  const int64_t row = 4 * s->dilation_rows * s->x.row, step = B * s->stride_columns;
  const M *w = c->weights;
  M a[WIDEST];
  UNROLL for (int t = 0; t < T; t++) a[t] = c->bias;
  for (int64_t r = 0; r < s->kernel_rows; r++, x += row) {
    const char *from = x;
    for (int64_t k = 0; k < s->kernel_columns; k += 4, from += 4 * B, w++) {
      const Factor weights = {*w, *w};
      UNROLL for (int t = 0; t < T; t++) {
        const M q = quads_at(from + t * step, places);
        a[t] = bytes_dot(a[t], (Factor){q, q}, weights);
      }
    }
  }
  end_side_by_side(s, c, a, T, to);
}
typedef void (*Quads)(const Step *, const Channels *, M, const char *, Result);
#define QUADS_TILE(NB, T)                                                                                          \
  static void quads_##T(const Step *s, const Channels *c, M places, const char *x, Result to) {                \
    quads(T, s, c, places, x, to);                                                                                  \
  }
#define QUADS_LISTED(NB, T) quads_##T,
UP_TO_8(QUADS_TILE, 1)
static const Quads quads_of[WIDEST] = {UP_TO_8(QUADS_LISTED, 1)};

static void plane_in_quads(const Step *s, const Channels *c, const char *x, Result to) {
  const int64_t parts = (s->columns + WIDEST - 1) / WIDEST;
  char at[4 * B];
  EACH(l, B) EACH(j, 4) at[4 * l + j] = (char)(B * j + l);
  M places;
  memcpy(&places, at, sizeof places);
  EACH(r, s->rows) EACH(t, parts) {
    const int64_t q = begin(s->columns, parts, t), width = begin(s->columns, parts, t + 1) - q;
    quads_of[width - 1](s, c, places, x + 4 * (r * s->stride_rows * s->x.row) + B * q * s->stride_columns,
                        at_place(s, to, r, q));
  }
}
#else
#define IN_QUADS(s) 0
INLINE void plane_in_quads(const Step *s, const Channels *c, const char *x, Result to) { (void)s, (void)c, (void)x, (void)to; }
#endif

/* Rows that become floats together. */
typedef struct {
  int64_t columns, halo, rows; /* of the input; of the result */
  int64_t floats;              /* of weights, of these rows and of a row of sums */
} FloatRows;
static FloatRows band_of_codes(const Step *s) {
  FloatRows a = {.columns = (s->columns - 1) * s->stride_columns + (s->kernel_columns - 1) * s->dilation_columns + 1,
            .halo = (s->kernel_rows - 1) * s->dilation_rows + 1};
  const int64_t fit = BAND_FLOATS / (a.columns * B) - a.halo;
  a.rows = fit > 0 ? least(fit / s->stride_rows + 1, s->rows) : 1;
  a.floats = (s->kernel_rows * s->kernel_columns + ((a.rows - 1) * s->stride_rows + a.halo) * a.columns + s->columns) * B;
  return a;
}
INLINE void row_of_floats(const Step *s, const char *x, float *y, int64_t columns) {
  if (s->mode) EACH(q, columns) *(V *)(y + q * B) = __builtin_convertvector(*(const Shorts *)(x + 2 * B * q), V);
  else EACH(q, columns) *(V *)(y + q * B) = number(x + B * q, 0);
}
static void plane_in_floats(const Step *s, const FloatRows *band, const Channels *c, float *weights, const char *x, Result to) {
  const int64_t row = band->columns * B, taps = s->kernel_rows * s->kernel_columns;
  const Results *kernels = results_for(s);
  float *floats = weights + taps * B, *sums = floats + ((band->rows - 1) * s->stride_rows + band->halo) * row;
  EACH(r, s->kernel_rows) EACH(k, s->kernel_columns) EACH(l, B)
    weights[(r * s->kernel_columns + k) * B + l] = ((const int8_t *)(c->weights + r * QUADS(s) + k / 4))[4 * l + k % 4];
  for (int64_t top = 0; top < s->rows; top += band->rows) {
    const int64_t rows = least(band->rows, s->rows - top), inputs = (rows - 1) * s->stride_rows + band->halo;
    EACH(r, inputs) row_of_floats(s, x + 4 * (top * s->stride_rows + r) * s->x.row, floats + r * row, band->columns);
    EACH(r, rows) {
      row_of_results(s, kernels, floats + r * s->stride_rows * row, s->dilation_rows * row, weights, s->kernel_rows, (V){},
                     spread(-INFINITY), spread(INFINITY), sums);
      EACH(q, s->columns) ((M *)sums)[q] = __builtin_convertvector(((const V *)sums)[q], M) + c->bias;
      end_side_by_side(s, c, (const M *)sums, s->columns, at_place(s, to, top + r, 0));
    }
  }
}

static void codes_depthwise(const Step *step, float *m, const float *constants, int threads) {
  const Step ends = *step, *s = &ends; /* which no result overwrites */
  const FloatRows band = band_of_codes(s);
  (void)threads;
  OMP(parallel num_threads(threads) if (threads > 1))
  {
    float *floats = IN_QUADS(s) ? 0 : TAKE_ROOM(m, 4 * band.floats);
    OMP(for collapse(2))
    for (int64_t n = 0; n < s->images; n++)
      for (int64_t i = 0; i < s->blocks; i++) {
        const Channels c = channels_at(s, constants, i);
        const char *x = AT(s, x, n) + 4 * i * s->x.plane;
        const Result to = result_at(s, m, n, 0, 0, i);
        if (IN_QUADS(s)) plane_in_quads(s, &c, x, to);
        else plane_in_floats(s, &band, &c, floats, x, to);
      }
    LEAVE_ROOM(floats);
  }
}
