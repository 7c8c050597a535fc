/* Pools, and pools of pools. */
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
  OMP(parallel for collapse(2) num_threads(threads) if (threads > 1))
  for (int64_t n = 0; n < s->images; n++)
    for (int64_t i = 0; i < s->blocks; i++)
      pool_any(s, m + s->x.at + n * s->x.image + i * s->x.plane,
               m + s->y.at + n * s->y.image + i * s->y.plane);
}

/* A pool whose result only the next pool reads: plane by plane, so that it never leaves the cache. */
static int64_t pair_room(const Step *s) { return 4 * s->rows * s->columns * 16; }
static void pool_pair(const Step *steps, float *m, int threads) {
  Step first = steps[0], second = steps[1];
  first.y.row = second.x.row = first.columns * B;
  (void)threads;
  OMP(parallel num_threads(threads) if (threads > 1))
  {
    float *plane = TAKE_ROOM(m, pair_room(&first));
    OMP(for collapse(2))
    for (int64_t n = 0; n < first.images; n++)
      for (int64_t i = 0; i < first.blocks; i++) {
        pool_any(&first, m + first.x.at + n * first.x.image + i * first.x.plane, plane);
        pool_any(&second, plane, m + second.y.at + n * second.y.image + i * second.y.plane);
      }
    LEAVE_ROOM(plane);
  }
}
