/* Functions, sums and products, element by element. */
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
