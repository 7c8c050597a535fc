/* Functions, sums and products, element by element. */
/* f(scale x + shift), with a scale and a shift per channel */
static void map(const Step *s, float *m, const float *constants, int threads) {
  (void)threads;
  OMP(parallel for collapse(2) num_threads(threads) if (threads > 1))
  for (int64_t n = 0; n < s->images; n++)
    for (int64_t i = 0; i < s->blocks; i++) {
      const V scale = *(V *)(constants + s->weights + i * B), shift = *(V *)(constants + s->biases + i * B);
      const int64_t c = s->x.column;
      EACH(r, s->rows) {
        const float *x = m + s->x.at + n * s->x.image + i * s->x.plane + r * s->x.row;
        float *y = m + s->y.at + n * s->y.image + i * s->y.plane + r * s->y.row;
        EACH(q, s->columns) *(V *)(y + q * s->y.column) = clip(s, *(V *)(x + q * c) * scale + shift);
        if (s->function != CLIP) activate(s, y, 1, s->columns);
      }
    }
}

INLINE V combine(const int64_t mode, V a, V b) {
  switch (mode) {
    case ADD: return a + b;
    case SUB: return a - b;
    case MUL: return a * b;
    case DIV: return a / b;
    case LESS: return pick(a < b, spread(1), (V){});
    case AT_MOST: return pick(a <= b, spread(1), (V){});
    case EQUAL: return pick(a == b, spread(1), (V){});
    case MAX: return pick(b != b, b, larger(a, b));
    default: return pick(b != b, b, smaller(a, b));
  }
}

static void binary(const Step *s, float *m, int threads) {
  (void)threads;
  OMP(parallel for collapse(2) num_threads(threads) if (threads > 1))
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
