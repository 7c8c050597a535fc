/* Functions of one number, and how a kernel applies one to what it has just written. */
/* x y^n for whole n, in which a result out of range becomes 0 or infinity. */
INLINE V scaled(V x, V n, M whole) {
#if B == 16
  (void)whole;
  return (V)_mm512_scalef_ps((__m512)x, (__m512)n);
#else
  (void)n;
  const M half = whole >> 1; /* 2^128 is no number, but two factors are */
  return x * (V)((half + 127) << 23) * (V)((whole - half + 127) << 23);
#endif
}

#define EXP_LOW -87.3365447504019f
#define EXP_HIGH 88.7228317f
/* Cody and Waite's reduction, then the polynomial of degree 5 with the least relative error (1e-7):
 * within 2.5e-7, from EXP_LOW to EXP_HIGH and for NaN. */
INLINE V exponential_within(V x) {
  const V magic = spread(12582912.0f); /* 1.5 2^23: a sum with it is rounded to a whole number */
  const V sum = x * 1.44269504088896341f + magic, n = sum - magic;
  V r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  V p = r * 8.312503687e-03f + 4.189033622e-02f;
  p = p * r + 1.666711538e-01f;
  p = p * r + 4.999923027e-01f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return scaled(p, n, (M)sum - (M)magic);
}
INLINE V exponential(V x) {
  const V low = spread(EXP_LOW), high = spread(EXP_HIGH);
  const V y = exponential_within(smaller(larger(x, low), high));
  return pick(x > high, spread(INFINITY), pick(x < low, (V){}, y));
}

/* 1 / x for x >= 1, within 2 units in the last place: a guess, and one step of Newton's. */
INLINE V reciprocal(V x) {
#if B == 16
  const V guess = (V)_mm512_rcp14_ps((__m512)x);
  return guess + guess * (1.0f - x * guess);
#elif B == 8
  const V guess = (V)_mm256_rcp_ps((__m256)x);
  return guess + guess * (1.0f - x * guess);
#else
  return 1.0f / x;
#endif
}
INLINE V sigmoid(V x) {
  const V low = spread(EXP_LOW), high = spread(-EXP_LOW);
  const V y = reciprocal(1.0f + exponential_within(-smaller(larger(x, low), high)));
  return (V)(~(x < low) & (M)y); /* less than any normal number */
}
INLINE V each(float (*f)(float), V x) {
  for (int i = 0; i < B; i++) x[i] = f(x[i]);
  return x;
}
INLINE V clip(const Step *s, V x) { return smaller(larger(x, spread(s->low)), spread(s->high)); }

INLINE V apply(const int64_t function, const Step *s, V x) {
  switch (function) {
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

/* A kernel's own results, so many rows and columns from y on, while they are in the cache. Not
 * inlined: the loops of a function are there once for all kernels. */
#define OVER_RECTANGLE(FUNCTION)                                                  \
  EACH(r, rows) EACH(q, columns) {                                                \
    V *at = (V *)(y + r * s->y.row + q * s->y.column);                            \
    *at = apply(FUNCTION, s, *at);                                                \
  }                                                                               \
  break;
static __attribute__((noinline)) void activate(const Step *s, float *y, int64_t rows, int64_t columns) {
  switch (s->function) {
    case SILU: OVER_RECTANGLE(SILU)
    case HARD_SWISH: OVER_RECTANGLE(HARD_SWISH)
    case SIGMOID: OVER_RECTANGLE(SIGMOID)
    case LEAKY: OVER_RECTANGLE(LEAKY)
    default: OVER_RECTANGLE(s->function)
  }
}
