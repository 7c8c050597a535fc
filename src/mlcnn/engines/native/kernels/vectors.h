/* Vectors of B floats, B chosen by the target, and what every kernel uses. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

/* BLOCK halves the vectors where few channels would leave half of their lanes unused. */
#if defined(BLOCK)
#define B BLOCK
#elif defined(__AVX512F__)
#define B 16
#elif defined(__AVX__)
#define B 8
#else
#define B 4
#endif

/* Blocks of half the channels, where as many registers hold them. */
#if defined(__AVX512VL__) && B == 16
#define NARROW 8
#else
#define NARROW 0
#endif

#if defined(__AVX512VL__) || defined(__aarch64__)
#define GROUP 4 /* blocks of filters per tile: 32 registers hold 4 x 6 sums */
#else
#define GROUP 3 /* 16 registers hold 3 x 4 */
#endif

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define UNROLL_MORE UNROLL
#else
#define UNROLL _Pragma("GCC unroll 16")
#define UNROLL_MORE _Pragma("GCC unroll 40")
#endif
/* Loops over arrays of any length become loops over vectors, which -O2 leaves alone. */
#if defined(__GNUC__) && !defined(__clang__)
#define WIDE_LOOPS __attribute__((optimize("O3")))
#else
#define WIDE_LOOPS
#endif
/* Directives of OpenMP, where the compiler is told to obey them. */
#if defined(_OPENMP)
#define DIRECTIVE(text) _Pragma(#text)
#define OMP(...) DIRECTIVE(omp __VA_ARGS__)
#else
#define OMP(...)
#endif
#define EACH(name, count) for (int64_t name = 0; name < (count); name++)

typedef float V __attribute__((vector_size(4 * B), may_alias));
typedef double double_alias __attribute__((may_alias));
typedef int32_t M __attribute__((vector_size(4 * B), may_alias));

/* A vector that many multiply-adds read is loaded once: the compiler would rather load it with
 * each of them, and a core with one load per cycle then waits for loads. */
#if defined(NO_ASSEMBLY) /* of a compiler that refuses it */
#define IN_REGISTER(v)
#elif defined(__x86_64__) && defined(__AVX__)
#define IN_REGISTER(v) __asm__("" : "+v"(v))
#elif defined(__x86_64__)
#define IN_REGISTER(v) __asm__("" : "+x"(v))
#elif defined(__aarch64__)
#define IN_REGISTER(v) __asm__("" : "+w"(v))
#else
#define IN_REGISTER(v)
#endif

typedef float U __attribute__((vector_size(4 * B), may_alias, aligned(4))); /* anywhere in memory */

/* The first lanes of a vector, fewer than all. */
INLINE void store_first(float *y, V v, int64_t lanes) {
#if B == 16
  _mm512_mask_storeu_ps(y, (__mmask16)((1 << lanes) - 1), (__m512)v);
#else
  float a[B];
  memcpy(a, &v, sizeof(V));
  EACH(l, lanes) y[l] = a[l];
#endif
}
/* So many floats side by side. */
INLINE void copy_floats(float *y, const float *x, int64_t count) {
  int64_t i = 0;
  for (; i + B <= count; i += B) *(U *)(y + i) = *(U *)(x + i);
#if B == 16
  const __mmask16 rest = (__mmask16)((1 << (count - i)) - 1);
  if (rest) _mm512_mask_storeu_ps(y + i, rest, _mm512_maskz_loadu_ps(rest, x + i));
#else
  for (; i < count; i++) y[i] = x[i];
#endif
}

INLINE V spread(float s) { return s - (V){}; }
/* Two floats, in turn. */
INLINE V spread_pair(const float *p) {
#if B == 16
  return (V)_mm512_castpd_ps(_mm512_set1_pd(*(const double_alias *)p));
#elif B == 8
  return (V)_mm256_castpd_ps(_mm256_set1_pd(*(const double_alias *)p));
#else
  return (V){p[0], p[1], p[0], p[1]};
#endif
}
/* s a + b, rounded once where the processor can: left to a compiler, which products are rounded
 * depends on what stands around them, and results on what they are compiled with. */
INLINE V scaled_sum(float s, V a, V b) {
#if defined(__AVX512F__) && B == 16
  return (V)_mm512_fmadd_ps((__m512)spread(s), (__m512)a, (__m512)b);
#elif defined(__FMA__) && B == 8
  return (V)_mm256_fmadd_ps((__m256)spread(s), (__m256)a, (__m256)b);
#else
  return s * a + b;
#endif
}
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

/* Part i of n of a whole, as equal as can be. */
INLINE int64_t begin(int64_t whole, int64_t parts, int64_t i) { return whole * i / parts; }
