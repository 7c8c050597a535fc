/* Small matrices over channels: output b is a sum of parts of the input, each as many channels.
 *
 * A value of k n blocks is k parts of n; a mix makes r parts of it, r n blocks. Matrices of the
 * real Fourier transform, as its bins are multiplied with three products each, are compiled in as
 * butterflies; any other is multiplied as it is.
 *
 * Paired, a part is n half blocks, and the bins' side holds two parts in n blocks, their channels
 * one by one in turn: a convolution then computes two bins with the lanes of one vector. */
enum { BINS_2, BINS_4, BINS_8, BINS_16, BACK_2, BACK_4, BACK_8, BACK_16, ANY_FORTH, ANY_BACK };
#define MIXES ANY_FORTH    /* with matrices of their own */
#define IS_BACK(kind) ((kind) == ANY_BACK || ((kind) >= BACK_2 && (kind) < MIXES))
#define MOST_PARTS 384
#define HALF (B / 2)
#define UNROLL_ALL _Pragma("GCC unroll 64")
static const int64_t mix_rows[MIXES] = {2, 5, 11, 23, 2, 4, 8, 16};
static const int64_t mix_columns[MIXES] = {2, 4, 8, 16, 2, 5, 11, 23};

/* -- butterflies */

#define COS_8 0.92387953251128676f /* of pi / 8, 2 pi / 8, 3 pi / 8 */
#define COS_4 0.70710678118654752f
#define SIN_8 0.38268343236508977f
static const float turns[] = {1, COS_8, COS_4, SIN_8, 0};

/* Bins 0 to N / 2 from those of the even and of the odd values. */
INLINE void bins_joined(const int N, const V *er, const V *ei, const V *or, const V *oi, V *re, V *im) {
  re[0] = er[0] + or[0], re[N / 2] = er[0] - or[0];
  UNROLL_ALL for (int i = 1; i < N / 4; i++) {
    const float c = turns[i * 16 / N], s = turns[4 - i * 16 / N];
    const V real = or[i] * c + oi[i] * s, imaginary = oi[i] * c - or[i] * s;
    re[i] = er[i] + real, re[N / 2 - i] = er[i] - real;
    im[i] = ei[i] + imaginary, im[N / 2 - i] = imaginary - ei[i];
  }
  re[N / 4] = er[N / 4], im[N / 4] = -or[N / 4];
}
INLINE void bins_2(const V *x, const int step, V *re) { re[0] = x[0] + x[step], re[1] = x[0] - x[step]; }
INLINE void bins_4(const V *x, const int step, V *re, V *im) {
  V even[2], odd[2];
  bins_2(x, 2 * step, even);
  bins_2(x + step, 2 * step, odd);
  bins_joined(4, even, 0, odd, 0, re, im);
}
INLINE void bins_8(const V *x, const int step, V *re, V *im) {
  V er[3], ei[3], or[3], oi[3];
  bins_4(x, 2 * step, er, ei);
  bins_4(x + step, 2 * step, or, oi);
  bins_joined(8, er, ei, or, oi, re, im);
}
INLINE void bins_16(const V *x, const int step, V *re, V *im) {
  V er[5], ei[5], or[5], oi[5];
  bins_8(x, 2 * step, er, ei);
  bins_8(x + step, 2 * step, or, oi);
  bins_joined(16, er, ei, or, oi, re, im);
}

/* N times the values from bins 0 to N / 2: even and odd ones have bins of their own. */
INLINE void bins_split(const int N, const V *re, const V *im, V *er, V *ei, V *or, V *oi) {
  er[0] = re[0] + re[N / 2], or[0] = re[0] - re[N / 2];
  UNROLL_ALL for (int i = 1; i < N / 4; i++) {
    const float c = turns[i * 16 / N], s = turns[4 - i * 16 / N];
    const V real = re[i] - re[N / 2 - i], imaginary = im[i] + im[N / 2 - i];
    er[i] = re[i] + re[N / 2 - i], ei[i] = im[i] - im[N / 2 - i];
    or[i] = real * c - imaginary * s, oi[i] = imaginary * c + real * s;
  }
  er[N / 4] = re[N / 4] + re[N / 4], or[N / 4] = -(im[N / 4] + im[N / 4]);
}
INLINE void values_2(const V *re, V *y, const int step) { y[0] = re[0] + re[1], y[step] = re[0] - re[1]; }
INLINE void values_4(const V *re, const V *im, V *y, const int step) {
  V even[2], odd[2];
  bins_split(4, re, im, even, 0, odd, 0);
  values_2(even, y, 2 * step);
  values_2(odd, y + step, 2 * step);
}
INLINE void values_8(const V *re, const V *im, V *y, const int step) {
  V er[3], ei[3], or[3], oi[3];
  bins_split(8, re, im, er, ei, or, oi);
  values_4(er, ei, y, 2 * step);
  values_4(or, oi, y + step, 2 * step);
}
INLINE void values_16(const V *re, const V *im, V *y, const int step) {
  V er[5], ei[5], or[5], oi[5];
  bins_split(16, re, im, er, ei, or, oi);
  values_8(er, ei, y, 2 * step);
  values_8(or, oi, y + step, 2 * step);
}

/* A complex bin (a, b) is multiplied as a + b, a and b; what comes back of it is the sum of two. */
INLINE void bins_listed(const int N, const V *re, const V *im, V *rows) {
  rows[0] = re[0], rows[1] = re[N / 2];
  UNROLL_ALL for (int i = 1; i < N / 2; i++)
    rows[3 * i - 1] = re[i] + im[i], rows[3 * i] = re[i], rows[3 * i + 1] = im[i];
}
INLINE void bins_summed(const int N, const V *rows, V *re, V *im) {
  re[0] = rows[0], re[N / 2] = rows[1];
  UNROLL_ALL for (int i = 1; i < N / 2; i++)
    re[i] = rows[3 * i - 1] - rows[3 * i + 1], im[i] = rows[3 * i - 1] + rows[3 * i];
}

/* The matrix (rows a multiple of four) times `in`. */
INLINE void multiplied(int64_t rows, int64_t columns, const float *matrix, const V *in, V *out) {
  for (int64_t b = 0; b < rows; b += 4) {
    V a[4] = {};
    EACH(c, columns) UNROLL for (int j = 0; j < 4; j++) a[j] += in[c] * matrix[(b + j) * columns + c];
    UNROLL for (int j = 0; j < 4; j++) out[b + j] = a[j];
  }
}

INLINE void mixed(const int kind, int64_t rows, int64_t columns, const float *matrix, const V *in, V *out) {
  V re[9], im[9];
  switch (kind) {
    case BINS_2: case BACK_2: bins_2(in, 1, out); break;
    case BINS_4: bins_4(in, 1, re, im), bins_listed(4, re, im, out); break;
    case BINS_8: bins_8(in, 1, re, im), bins_listed(8, re, im, out); break;
    case BINS_16: bins_16(in, 1, re, im), bins_listed(16, re, im, out); break;
    case BACK_4: bins_summed(4, in, re, im), values_4(re, im, out, 1); break;
    case BACK_8: bins_summed(8, in, re, im), values_8(re, im, out, 1); break;
    case BACK_16: bins_summed(16, in, re, im), values_16(re, im, out, 1); break;
    default: multiplied(rows, columns, matrix, in, out);
  }
}

/* -- halves of vectors */

/* Half a vector from each of two places, and back. */
INLINE V of_halves(const float *low, const float *high) {
#if B == 16
  return (V)_mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(low)), _mm256_loadu_ps(high), 1);
#elif B == 8
  return (V)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high), 1);
#else
  V v;
  memcpy(&v, low, sizeof(float) * HALF);
  memcpy((float *)&v + HALF, high, sizeof(float) * HALF);
  return v;
#endif
}
INLINE void to_halves(V v, float *low, float *high) {
#if B == 16
  _mm256_storeu_ps(low, _mm512_castps512_ps256((__m512)v));
  _mm256_storeu_ps(high, _mm512_extractf32x8_ps((__m512)v, 1));
#elif B == 8
  _mm_storeu_ps(low, _mm256_castps256_ps128((__m256)v));
  _mm_storeu_ps(high, _mm256_extractf128_ps((__m256)v, 1));
#else
  memcpy(low, &v, sizeof(float) * HALF);
  memcpy(high, (float *)&v + HALF, sizeof(float) * HALF);
#endif
}
#define EVENS(i) (2 * (i))
#define ODDS(i) (2 * (i) + 1)

/* -- mixes */

static __attribute__((noinline)) V applied(const Step *s, V v) { return apply(s->function, s, v); }

/* What is done with a result: a factor and a shift of its channels, bounds or a function. */
INLINE V mix_end(const Step *s, const float *constants, const int paired, int64_t part, V v) {
  if (s->scales >= 0) {
    const float *scale = constants + s->scales, *shift = constants + s->biases;
    const int64_t at = part * (paired ? HALF : B);
    v = paired ? v * of_halves(scale + at, scale + at) + of_halves(shift + at, shift + at)
               : v * *(V *)(scale + at) + *(V *)(shift + at);
  }
  return s->function == CLIP ? clip(s, v) : applied(s, v);
}

INLINE int64_t half_at(int64_t half, int64_t plane) { return half / 2 * plane + half % 2 * HALF; }

/* Input and output c of a mix at column `at` (and at `at` + `next`), part h of each. */
INLINE V mix_read(const int paired, const int back, const Step *s, const float *x, int64_t c, int64_t h, int64_t next) {
  const int64_t part = c * s->blocks + h;
  if (!paired) return *(V *)(x + part * s->x.plane);
  if (!back) {
    x += half_at(part, s->x.plane);
    return of_halves(x, x + next);
  }
  x += (c / 2 * s->blocks + h) * s->x.plane;
  const V a = *(V *)x, b = *(V *)(x + next);
  return c % 2 ? SHUFFLED(a, b, ODDS) : SHUFFLED(a, b, EVENS);
}
INLINE void mix_write(const int paired, const int back, const Step *s, const float *constants, float *y, const V *out,
                      int64_t b, int64_t h, int64_t next) {
  const int64_t part = b * s->blocks + h;
  const V v = back ? mix_end(s, constants, paired, part, out[b]) : out[b];
  if (!paired) {
    *(V *)(y + part * s->y.plane) = v;
  } else if (back) {
    y += half_at(part, s->y.plane);
    to_halves(v, y, y + next);
  } else if (b % 2) {
    y += (b / 2 * s->blocks + h) * s->y.plane;
    *(V *)y = SHUFFLED(out[b - 1], v, IN_TURN);
    *(V *)(y + next) = SHUFFLED(out[b - 1], v, IN_TURN_HIGH);
  }
}

/* A row of part h. Where a pair of columns has only one, it is computed twice. */
INLINE void mix_row(const int kind, const int rows, const int columns, const int paired, const Step *s,
                    const float *constants, const float *x, float *y, int64_t h, V *in, V *out) {
  const int back = IS_BACK(kind), written = back || !paired ? rows : rows + rows % 2;
  const float *matrix = constants + s->weights;
  if (rows % 2) out[rows] = (V){};
  for (int64_t t = 0; t < s->columns; t += paired ? 2 : 1) {
    const int two = paired && t + 1 < s->columns;
    const float *xt = x + t * s->x.column;
    float *yt = y + t * s->y.column;
    const int64_t xn = two ? s->x.column : 0, yn = two ? s->y.column : 0;
    if (kind < MIXES) {
      UNROLL_ALL for (int c = 0; c < columns; c++) in[c] = mix_read(paired, back, s, xt, c, h, xn);
      mixed(kind, rows, columns, matrix, in, out);
      UNROLL_ALL for (int b = 0; b < written; b++) mix_write(paired, back, s, constants, yt, out, b, h, yn);
    } else {
      EACH(c, columns) in[c] = mix_read(paired, back, s, xt, c, h, xn);
      mixed(kind, (rows + 3) / 4 * 4, columns, matrix, in, out);
      EACH(b, written) mix_write(paired, back, s, constants, yt, out, b, h, yn);
    }
  }
}

#define MIX_AS(KIND, ROWS, COLUMNS, PAIRED, MOST)                                                           \
  static void mix_##KIND##_##PAIRED(const Step *s, float *m, const float *constants, int threads) {         \
    (void)threads;                                                                                          \
    OMP(parallel for collapse(3) num_threads(threads) if (threads > 1))                                     \
    for (int64_t n = 0; n < s->images; n++)                                                                 \
      for (int64_t r = 0; r < s->rows; r++)                                                                 \
        for (int64_t h = 0; h < s->blocks; h++) {                                                           \
          V in[MOST], out[MOST];                                                                            \
          mix_row(KIND, ROWS, COLUMNS, PAIRED, s, constants, m + s->x.at + n * s->x.image + r * s->x.row,   \
                  m + s->y.at + n * s->y.image + r * s->y.row, h, in, out);                                 \
        }                                                                                                   \
  }
#define MIX_KIND(KIND, ROWS, COLUMNS, MOST) MIX_AS(KIND, ROWS, COLUMNS, 0, MOST) MIX_AS(KIND, ROWS, COLUMNS, 1, MOST)
MIX_KIND(BINS_2, 2, 2, 2) MIX_KIND(BINS_4, 5, 4, 6) MIX_KIND(BINS_8, 11, 8, 12) MIX_KIND(BINS_16, 23, 16, 24)
MIX_KIND(BACK_2, 2, 2, 2) MIX_KIND(BACK_4, 4, 5, 6) MIX_KIND(BACK_8, 8, 11, 12) MIX_KIND(BACK_16, 16, 23, 24)
MIX_KIND(ANY_FORTH, s->kernel_rows, s->kernel_columns, MOST_PARTS + 4)
MIX_KIND(ANY_BACK, s->kernel_rows, s->kernel_columns, MOST_PARTS + 4)

typedef void (*Mix)(const Step *, float *, const float *, int);
#define MIX_LISTED(KIND) {mix_##KIND##_0, mix_##KIND##_1}
static const Mix mixes[][2] = {MIX_LISTED(BINS_2), MIX_LISTED(BINS_4), MIX_LISTED(BINS_8), MIX_LISTED(BINS_16),
                               MIX_LISTED(BACK_2), MIX_LISTED(BACK_4), MIX_LISTED(BACK_8), MIX_LISTED(BACK_16),
                               MIX_LISTED(ANY_FORTH), MIX_LISTED(ANY_BACK)};
static void mix(const Step *s, float *m, const float *constants, int threads) {
  mixes[s->mode][s->together == 2](s, m, constants, threads);
}

/* The matrix of a compiled mix, and its shape. */
INLINE void mix_matrix(const int kind, float *matrix) {
  EACH(c, mix_columns[kind]) {
    V in[24] = {}, out[24];
    in[c] = spread(1);
#define MATRIX_OF(KIND) case KIND: mixed(KIND, 0, 0, 0, in, out); break;
    switch (kind) {
      MATRIX_OF(BINS_2) MATRIX_OF(BINS_4) MATRIX_OF(BINS_8) MATRIX_OF(BINS_16)
      MATRIX_OF(BACK_2) MATRIX_OF(BACK_4) MATRIX_OF(BACK_8) MATRIX_OF(BACK_16)
    }
    EACH(b, mix_rows[kind]) matrix[b * mix_columns[kind] + c] = out[b][0];
  }
}
