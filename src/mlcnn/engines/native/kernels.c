/* Kernels of engine "native": images in blocks of B channels, one vector each.
 *
 * A value lies in memory as (image, block of channels, row, column, lane), with a border of zeros
 * around its rows and columns where a convolution pads: no kernel treats the edges of an image
 * differently. Steps name places as offsets in floats, so that memory is planned once, outside.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#define B 16
#elif defined(__AVX__)
#include <immintrin.h>
#define B 8
#else
#define B 4
#endif

#if defined(__AVX512F__) || defined(__aarch64__)
#define GROUP 4 /* blocks of filters per tile: 32 registers hold 4 x 6 sums */
#else
#define GROUP 3 /* 16 registers hold 3 x 4 */
#endif

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#define EACH(name, count) for (int64_t name = 0; name < (count); name++)

typedef float V __attribute__((vector_size(4 * B), may_alias));
typedef int32_t M __attribute__((vector_size(4 * B), may_alias));

enum { CONV, DEPTHWISE, POOL, MAP, BINARY, BORDER, PACK, UNPACK };
enum { CLIP, LEAKY, SIGMOID, TANH, SILU, HARD_SWISH, GELU, ELU, EXP, ERF, SQRT, ABS };
enum { ADD, SUB, MUL, DIV, MAX, MIN };
enum { POOL_MAX, POOL_AVERAGE, POOL_AVERAGE_PADDED };

typedef struct {
  int64_t at, image, plane, row, column; /* offset and strides in floats */
} Place;

typedef struct {
  int64_t op, mode, images, blocks, filters; /* filters: blocks of them */
  Place x, y, z;                             /* z: a second input; at < 0 where there is none */
  int64_t weights, biases, lanes;            /* offsets of constants; lanes in use, per block */
  int64_t kernel_rows, kernel_columns, stride_rows, stride_columns, dilation_rows, dilation_columns;
  int64_t input_rows, input_columns, top, left, bottom, right, rows, columns;
  int64_t chunk, buffer, paired;
  float low, high, alpha;
} Step;

int mlcnn_block(void) { return B; }
int mlcnn_group(void) { return GROUP; }
int mlcnn_step(void) { return sizeof(Step); }
int mlcnn_parallel(void) {
#ifdef _OPENMP
  return 1;
#else
  return 0;
#endif
}

INLINE V spread(float s) { return s - (V){}; }
INLINE V pick(M mask, V a, V b) { return (V)((mask & (M)a) | (~mask & (M)b)); }

/* NaN in a stays NaN. */
INLINE V larger(V a, V b) {
#if B == 16
  return (V)_mm512_max_ps((__m512)b, (__m512)a);
#elif B == 8
  return (V)_mm256_max_ps((__m256)b, (__m256)a);
#else
  return pick(b > a, b, a);
#endif
}
INLINE V smaller(V a, V b) {
#if B == 16
  return (V)_mm512_min_ps((__m512)b, (__m512)a);
#elif B == 8
  return (V)_mm256_min_ps((__m256)b, (__m256)a);
#else
  return pick(b < a, b, a);
#endif
}

/* ---- convolution ------------------------------------------------------------------------- */

/* NB blocks of filters at T neighbouring positions: NB x T sums stay in registers. */
INLINE void tile(const int NB, const int T, const int64_t step, const int64_t out, const Step *s,
                 const float *x, const float *w, float *y, const float *bias, const float *z,
                 int64_t zc, const int32_t *lanes, int64_t unit, int64_t units, int last) {
  V a[GROUP][12];
  const int64_t row = s->x.row * s->dilation_rows, column = s->x.column * s->dilation_columns;
  UNROLL for (int f = 0; f < NB; f++) UNROLL for (int t = 0; t < T; t++) {
    a[f][t] = bias ? *(V *)(bias + f * B) : *(V *)(y + f * s->y.plane + t * out);
    if (z) a[f][t] += *(V *)(z + f * s->z.plane + t * zc);
  }
  for (int64_t i = unit / s->kernel_rows, r = unit % s->kernel_rows; units > 0; units--) {
    const int64_t n = lanes[i];
    for (int64_t k = 0; k < s->kernel_columns; k++) {
      const float *xx = x + i * s->x.plane + r * row + k * column;
      for (int64_t c = 0; c < n; c++, w += NB * B, xx++) {
        V v[GROUP];
        UNROLL for (int f = 0; f < NB; f++) v[f] = *(V *)(w + f * B);
        UNROLL for (int t = 0; t < T; t++) {
          const V q = spread(xx[t * step]);
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
                     const float *, const int32_t *, int64_t, int64_t, int);
/* Columns side by side with stride 1 and 2, whose offsets are constants, and any others. */
#define TILE(NB, T, NAME, STEP, OUT, ZC)                                                        \
  static void tile_##NB##_##T##_##NAME(const Step *s, const float *x, const float *w, float *y, \
                                       const float *bias, const float *z, const int32_t *lanes, \
                                       int64_t unit, int64_t units, int last) {                 \
    tile(NB, T, STEP, OUT, s, x, w, y, bias, z, ZC, lanes, unit, units, last);                       \
  }
#define TILES(NB, T)        \
  TILE(NB, T, one, B, B, B) \
  TILE(NB, T, two, 2 * B, B, B) \
  TILE(NB, T, any, s->stride_columns * s->x.column, s->y.column, s->z.column)
#define ROW(NB, T) {tile_##NB##_##T##_one, tile_##NB##_##T##_two, tile_##NB##_##T##_any}
#define UP_TO_4(D, NB) D(NB, 1) D(NB, 2) D(NB, 3) D(NB, 4)
#define UP_TO_6(D, NB) UP_TO_4(D, NB) D(NB, 5) D(NB, 6)
#define UP_TO_8(D, NB) UP_TO_6(D, NB) D(NB, 7) D(NB, 8)
#define UP_TO_12(D, NB) UP_TO_8(D, NB) D(NB, 9) D(NB, 10) D(NB, 11) D(NB, 12)
#define LISTED(NB, T) ROW(NB, T),
#if GROUP == 4
UP_TO_12(TILES, 1) UP_TO_12(TILES, 2) UP_TO_8(TILES, 3) UP_TO_6(TILES, 4)
static const Tile tiles[GROUP][12][3] = {{UP_TO_12(LISTED, 1)}, {UP_TO_12(LISTED, 2)},
                                         {UP_TO_8(LISTED, 3)}, {UP_TO_6(LISTED, 4)}};
static const int widest[GROUP] = {12, 12, 8, 6};
#else
UP_TO_12(TILES, 1) UP_TO_6(TILES, 2) UP_TO_4(TILES, 3)
static const Tile tiles[GROUP][12][3] = {{UP_TO_12(LISTED, 1)}, {UP_TO_6(LISTED, 2)},
                                         {UP_TO_4(LISTED, 3)}};
static const int widest[GROUP] = {12, 6, 4};
#endif

/* Part i of n of a whole, as equal as can be. */
INLINE int64_t begin(int64_t whole, int64_t parts, int64_t i) { return whole * i / parts; }

/* Rows r0 to r1 of so many images, for filters f0 to f0 + nb (in blocks), whose weights w are. */
static void conv_part(const Step *s, float *m, const float *constants, const float *w, int64_t f0,
                      int64_t nb, int64_t n0, int64_t n1, int64_t r0, int64_t r1) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  const int64_t step = s->stride_columns * s->x.column, parts = (s->columns + widest[nb - 1] - 1) / widest[nb - 1];
  const int side = s->y.column == B && (s->z.at < 0 || s->z.column == B);
  const int kind = side && step == B ? 0 : side && step == 2 * B ? 1 : 2;
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
        EACH(t, parts) {
          const int64_t q = begin(s->columns, parts, t), width = begin(s->columns, parts, t + 1) - q;
          EACH(l, lines) __builtin_prefetch(ahead + l * 16, 0, 2);
          ahead += lines * 16;
          tiles[nb - 1][width - 1][kind](
              s, x + q * step, w, y + q * s->y.column, unit ? 0 : constants + s->biases + f0 * B,
              unit || s->z.at < 0 ? 0 : z + q * s->z.column, lanes, unit, units, units == left);
        }
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
      UNROLL for (int f = 0; f < NB; f++) v[f] = *(V *)(w + (at * NB + f) * B);
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

static void conv_few(const Step *s, float *m, const float *constants, int threads) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  const int64_t groups = (s->filters + GROUP - 1) / GROUP, taps = s->kernel_rows * s->kernel_columns;
  const int64_t positions = s->images * s->rows * s->columns;
  const float *from[FEW];
  int64_t to[FEW], add[FEW], count = 0;
  EACH(t, positions) {
    const int64_t n = t / (s->rows * s->columns), r = t / s->columns % s->rows, q = t % s->columns;
    from[t] = m + s->x.at + n * s->x.image + r * s->stride_rows * s->x.row + q * s->stride_columns * s->x.column;
    to[t] = s->y.at + n * s->y.image + r * s->y.row + q * s->y.column;
    add[t] = s->z.at + n * s->z.image + r * s->z.row + q * s->z.column;
  }
  float *x = malloc(sizeof(float) * s->blocks * B * taps * positions), *end = x;
  EACH(i, s->blocks) EACH(r, s->kernel_rows) EACH(k, s->kernel_columns) {
    const int64_t at = i * s->x.plane + r * s->dilation_rows * s->x.row + k * s->dilation_columns * B;
    EACH(l, lanes[i]) EACH(t, positions) *end++ = from[t][at + l];
    count += lanes[i];
  }
  (void)threads;
#pragma omp parallel for num_threads(threads) if (threads > 1)
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
  }
  free(x);
}

static void conv(const Step *s, float *m, const float *constants, int threads) {
  if (s->images * s->rows * s->columns <= FEW) {
    conv_few(s, m, constants, threads);
    return;
  }
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
#pragma omp parallel for collapse(3) num_threads(threads) if (threads > 1)
  for (int64_t u = 0; u < bunches; u++)
    for (int64_t v = 0; v < bands; v++)
      for (int64_t g = 0; g < groups; g++) {
        const int64_t f0 = begin(s->filters, groups, g), nb = begin(s->filters, groups, g + 1) - f0;
        const int64_t n1 = (u + 1) * images < s->images ? (u + 1) * images : s->images;
        conv_part(s, m, constants, constants + s->weights + used * s->kernel_rows * s->kernel_columns * f0 * B, f0, nb,
                  u * images, n1, begin(s->rows, bands, v), begin(s->rows, bands, v + 1));
      }
}

static void depthwise(const Step *s, float *m, const float *constants, int threads) {
  const V low = spread(s->low), high = spread(s->high);
  (void)threads;
#pragma omp parallel for collapse(2) num_threads(threads) if (threads > 1)
  for (int64_t n = 0; n < s->images; n++)
    for (int64_t i = 0; i < s->blocks; i++) {
      const float *w = constants + s->weights + i * s->kernel_rows * s->kernel_columns * B;
      const V bias = *(V *)(constants + s->biases + i * B);
      EACH(r, s->rows) {
        const float *x = m + s->x.at + n * s->x.image + i * s->x.plane + r * s->stride_rows * s->x.row;
        float *y = m + s->y.at + n * s->y.image + i * s->y.plane + r * s->y.row;
        for (int64_t q = 0; q < s->columns; q += 8) {
          const int64_t width = s->columns - q < 8 ? s->columns - q : 8;
          V a[8];
          EACH(t, width) a[t] = bias;
          EACH(h, s->kernel_rows) EACH(k, s->kernel_columns) {
            const V v = *(V *)(w + (h * s->kernel_columns + k) * B);
            const float *xx = x + q * s->stride_columns * B + h * s->dilation_rows * s->x.row + k * s->dilation_columns * B;
            if (width == 8) UNROLL for (int t = 0; t < 8; t++) a[t] += v * *(V *)(xx + t * s->stride_columns * B);
            else EACH(t, width) a[t] += v * *(V *)(xx + t * s->stride_columns * B);
          }
          EACH(t, width) *(V *)(y + (q + t) * B) = smaller(larger(a[t], low), high);
        }
      }
    }
}

/* ---- pools ------------------------------------------------------------------------------- */

INLINE V either(const int mode, V a, V b) {
  if (mode == POOL_MAX) return larger(a, b);
  return a + b;
}
INLINE V down(const int64_t KH, const int mode, const float *x, int64_t row) {
  V a = *(V *)x;
  for (int64_t h = 1; h < KH; h++) a = either(mode, a, *(V *)(x + h * row));
  return a;
}

/* One plane. The step is a copy: the compiler knows then that results do not overwrite it. */
INLINE void pool_plane(const int64_t KH, const int64_t KW, const int mode, const Step s,
                       const float *x, float *y) {
  const V low = spread(s.low), high = spread(s.high), share = spread(1.0f / (float)(KH * KW));
  const int64_t row = s.dilation_rows * s.x.row, column = s.dilation_columns * B;
  const int64_t step = s.stride_columns * B;
  /* Columns whose windows lie inside the image. */
  const int64_t room = s.input_columns + s.left - (KW - 1) * s.dilation_columns - 1;
  int64_t begin = (s.left + s.stride_columns - 1) / s.stride_columns;
  int64_t end = room < 0 ? 0 : room / s.stride_columns + 1;
  if (end > s.columns) end = s.columns;
  if (begin > end) begin = end;
  EACH(r, s.rows) {
    const int64_t h0 = r * s.stride_rows - s.top;
    const int inside = h0 >= 0 && h0 + (KH - 1) * s.dilation_rows < s.input_rows;
    const float *xx = x + h0 * s.x.row - s.left * B;
    float *yy = y + r * s.y.row;
    if (inside && begin < end && (KW == 2 || KW == 3) && step == B && column == B) {
      /* Neighbouring windows share columns. */
      V a = down(KH, mode, xx + begin * B, row);
      V b = KW == 2 ? a : down(KH, mode, xx + (begin + 1) * B, row);
      for (int64_t q = begin; q < end; q++) {
        const V c = down(KH, mode, xx + (q + KW - 1) * B, row);
        V all = either(mode, a, c);
        if (KW == 3) all = either(mode, all, b);
        if (mode != POOL_MAX) all *= share;
        *(V *)(yy + q * B) = smaller(larger(all, low), high);
        a = KW == 2 ? c : b;
        b = c;
      }
    } else if (inside) {
      for (int64_t q = begin; q < end; q++) {
        V a = down(KH, mode, xx + q * step, row);
        for (int64_t k = 1; k < KW; k++) a = either(mode, a, down(KH, mode, xx + q * step + k * column, row));
        if (mode != POOL_MAX) a *= share;
        *(V *)(yy + q * B) = smaller(larger(a, low), high);
      }
    }
    EACH(q, s.columns) {
      if (inside && q >= begin && q < end) { q = end - 1; continue; }
      const int64_t w0 = q * s.stride_columns - s.left;
      int64_t covered = 0, padded = 0;
      V a = mode == POOL_MAX ? spread(-INFINITY) : (V){};
      EACH(h, KH) EACH(k, KW) {
        const int64_t i = h0 + h * s.dilation_rows, j = w0 + k * s.dilation_columns;
        padded += i < s.input_rows + s.bottom && j < s.input_columns + s.right;
        if (i < 0 || j < 0 || i >= s.input_rows || j >= s.input_columns) continue;
        covered++;
        const V v = *(V *)(x + i * s.x.row + j * B);
        a = either(mode, a, v);
      }
      if (mode != POOL_MAX) a /= spread((float)(mode == POOL_AVERAGE ? covered : padded));
      *(V *)(yy + q * B) = smaller(larger(a, low), high);
    }
  }
}

INLINE void pool_window(const int mode, const Step *s, const float *x, float *y) {
  if (s->kernel_rows == 3 && s->kernel_columns == 3) pool_plane(3, 3, mode, *s, x, y);
  else if (s->kernel_rows == 2 && s->kernel_columns == 2) pool_plane(2, 2, mode, *s, x, y);
  else pool_plane(s->kernel_rows, s->kernel_columns, mode, *s, x, y);
}

INLINE void pool_any(const Step *s, const float *x, float *y) {
  if (s->mode == POOL_MAX) pool_window(POOL_MAX, s, x, y);
  else if (s->mode == POOL_AVERAGE) pool_window(POOL_AVERAGE, s, x, y);
  else pool_window(POOL_AVERAGE_PADDED, s, x, y);
}

static void pool(const Step *s, float *m, int threads) {
  (void)threads;
#pragma omp parallel for collapse(2) num_threads(threads) if (threads > 1)
  for (int64_t n = 0; n < s->images; n++)
    for (int64_t i = 0; i < s->blocks; i++)
      pool_any(s, m + s->x.at + n * s->x.image + i * s->x.plane,
               m + s->y.at + n * s->y.image + i * s->y.plane);
}

/* A pool whose result only the next pool reads: plane by plane, so that it never leaves the cache. */
static void pool_pair(const Step *steps, float *m, int threads) {
  Step first = steps[0], second = steps[1];
  first.y.row = second.x.row = first.columns * B;
  (void)threads;
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    float *plane = aligned_alloc(64, sizeof(float) * first.rows * first.columns * 16);
#pragma omp for collapse(2)
    for (int64_t n = 0; n < first.images; n++)
      for (int64_t i = 0; i < first.blocks; i++) {
        pool_any(&first, m + first.x.at + n * first.x.image + i * first.x.plane, plane);
        pool_any(&second, plane, m + second.y.at + n * second.y.image + i * second.y.plane);
      }
    free(plane);
  }
}

/* ---- element by element ------------------------------------------------------------------ */

/* Cody and Waite's reduction, then a polynomial of degree 6: 2 units in the last place. */
INLINE V exponential(V x) {
  const V high = spread(88.7228317f), low = spread(-87.3365447504019f);
  V c = smaller(larger(low, x), high); /* NaN becomes low, as an integer needs it */
  V f = c * 1.44269504088896341f;
  V n;
  UNROLL for (int i = 0; i < B; i++) n[i] = __builtin_rintf(f[i]);
  V r = c - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  V p = spread(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  M whole;
  UNROLL for (int i = 0; i < B; i++) whole[i] = (int32_t)n[i];
  const M half = whole >> 1; /* 2^128 is no number, but two factors are */
  V y = p * (V)((half + 127) << 23) * (V)((whole - half + 127) << 23);
  y = pick(x > high, spread(INFINITY), y);
  y = pick(x < low, (V){}, y);
  return pick(x != x, x, y);
}
INLINE V sigmoid(V x) { return 1.0f / (1.0f + exponential(-x)); }
INLINE V each(float (*f)(float), V x) {
  for (int i = 0; i < B; i++) x[i] = f(x[i]);
  return x;
}
INLINE V clip(const Step *s, V x) { return smaller(larger(x, spread(s->low)), spread(s->high)); }

INLINE V apply(const int64_t mode, const Step *s, V x) {
  switch (mode) {
    case LEAKY: return pick(x < (V){}, x * s->alpha, x);
    case SIGMOID: return sigmoid(x);
    case TANH: return each(tanhf, x);
    case SILU: return x * sigmoid(x);
    case HARD_SWISH: return x * smaller(larger(x / 6.0f + 0.5f, (V){}), spread(1));
    case GELU: return 0.5f * x * (1.0f + each(erff, x * 0.70710678118654752f));
    case ELU: return pick(x < (V){}, s->alpha * each(expm1f, x), x);
    case EXP: return exponential(x);
    case ERF: return each(erff, x);
    case SQRT: return each(sqrtf, x);
    case ABS: return larger(x, -x);
    default: return clip(s, x);
  }
}

/* f(scale x + shift), with a scale and a shift per channel */
static void map(const Step *s, float *m, const float *constants, int threads) {
  (void)threads;
#pragma omp parallel for collapse(2) num_threads(threads) if (threads > 1)
  for (int64_t n = 0; n < s->images; n++)
    for (int64_t i = 0; i < s->blocks; i++) {
      const V scale = *(V *)(constants + s->weights + i * B), shift = *(V *)(constants + s->biases + i * B);
      const int64_t c = s->x.column;
      EACH(r, s->rows) {
        const float *x = m + s->x.at + n * s->x.image + i * s->x.plane + r * s->x.row;
        float *y = m + s->y.at + n * s->y.image + i * s->y.plane + r * s->y.row;
        if (s->mode == CLIP) EACH(q, s->columns) *(V *)(y + q * B) = clip(s, *(V *)(x + q * c) * scale + shift);
        else EACH(q, s->columns) *(V *)(y + q * B) = apply(s->mode, s, *(V *)(x + q * c) * scale + shift);
      }
    }
}

INLINE V combine(const int64_t mode, V a, V b) {
  switch (mode) {
    case ADD: return a + b;
    case SUB: return a - b;
    case MUL: return a * b;
    case DIV: return a / b;
    case MAX: return pick(b != b, b, larger(a, b));
    default: return pick(b != b, b, smaller(a, b));
  }
}

static void binary(const Step *s, float *m, int threads) {
  (void)threads;
#pragma omp parallel for collapse(2) num_threads(threads) if (threads > 1)
  for (int64_t n = 0; n < s->images; n++)
    for (int64_t i = 0; i < s->blocks; i++) EACH(r, s->rows) {
        const float *x = m + s->x.at + n * s->x.image + i * s->x.plane + r * s->x.row;
        const float *z = m + s->z.at + n * s->z.image + i * s->z.plane + r * s->z.row;
        float *y = m + s->y.at + n * s->y.image + i * s->y.plane + r * s->y.row;
        EACH(q, s->columns)
          *(V *)(y + q * B) =
              clip(s, combine(s->mode, *(V *)(x + q * s->x.column), *(V *)(z + q * s->z.column)));
      }
}

/* ---- layout ------------------------------------------------------------------------------ */

/* Zeros around p x q positions that begin at y. */
static void border(const Step *s, float *m) {
  EACH(n, s->images) EACH(i, s->blocks) {
    float *y = m + s->y.at + n * s->y.image + i * s->y.plane;
    const int64_t row = s->y.row;
    memset(y - s->top * row - s->left * B, 0, sizeof(float) * s->top * row);
    EACH(r, s->rows) {
      memset(y + r * row - s->left * B, 0, sizeof(float) * s->left * B);
      memset(y + r * row + s->columns * B, 0, sizeof(float) * s->right * B);
    }
    memset(y + s->rows * row - s->left * B, 0, sizeof(float) * s->bottom * row);
  }
}

/* Between an array with the strides of z, whose planes are channels, and blocks; unused lanes are
 * left as they are. */
static void pack(const Step *s, float *m, const float *constants, const float *dense) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  EACH(n, s->images) for (int64_t i = 0, c = 0; i < s->blocks; i++) EACH(l, lanes[i]) {
    const float *x = dense + n * s->z.image + c++ * s->z.plane;
    float *y = m + s->y.at + n * s->y.image + i * s->y.plane + l;
    EACH(r, s->rows) EACH(q, s->columns) y[r * s->y.row + q * B] = x[r * s->z.row + q * s->z.column];
  }
}
static void unpack(const Step *s, const float *m, const float *constants, float *dense) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  EACH(n, s->images) for (int64_t i = 0, c = 0; i < s->blocks; i++) EACH(l, lanes[i]) {
    const float *x = m + s->x.at + n * s->x.image + i * s->x.plane + l;
    float *y = dense + n * s->z.image + c++ * s->z.plane;
    EACH(r, s->rows) EACH(q, s->columns) y[r * s->z.row + q * s->z.column] = x[r * s->x.row + q * B];
  }
}

/* Buffers are the caller's dense arrays; a step with buffer < 0 has its dense side in m. */
void mlcnn_run(const Step *steps, int64_t count, float *m, const float *constants,
               float *const *buffers, int threads) {
  EACH(i, count) {
    const Step *s = steps + i;
    float *array = s->buffer < 0 ? m + s->z.at : buffers[s->buffer];
    switch (s->op) {
      case CONV: conv(s, m, constants, threads); break;
      case DEPTHWISE: depthwise(s, m, constants, threads); break;
      case POOL:
        if (s->paired) pool_pair(s, m, threads), i++;
        else pool(s, m, threads);
        break;
      case MAP: map(s, m, constants, threads); break;
      case BINARY: binary(s, m, threads); break;
      case BORDER: border(s, m); break;
      case PACK: pack(s, m, constants, array); break;
      case UNPACK: unpack(s, m, constants, array); break;
    }
  }
}
