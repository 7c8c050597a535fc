/* Winograd's convolutions of 3x3 kernels: tiles of the image are transformed, multiplied point by
 * point, and transformed back.
 *
 * With stride 2 the even rows (columns) form a convolution with two taps, which is transformed, and
 * the odd ones a convolution with one tap, which needs no transform: its products at the different
 * positions of a tile share their weights. So a tile has `span` inputs along an axis, which become
 * as many values; the first `classes` - 1 have weights of their own, the rest share the last ones.
 */
enum { F43, F23, F43_STRIDE_2, F23_STRIDE_2, TRANSFORMS };

typedef struct {
  int64_t outputs, span, step, classes;
} Transform;
static const Transform transforms[TRANSFORMS] = {{4, 6, 4, 6}, {2, 4, 2, 4}, {4, 9, 8, 6}, {2, 5, 4, 4}};
#define SPAN 9

/* Points 0, a, -a, b, -b and infinity; without 0 where two taps need five points. */
#define NEAR 0.75f
#define FAR 1.25f
#define NEAR_2 0.5f
#define FAR_2 1.25f

INLINE void forward(const int kind, const V *d, V *t) {
  if (kind == F43) {
    const float a = NEAR * NEAR, b = FAR * FAR;
    const V odd = scaled_sum(-b, d[1], d[3]), even = scaled_sum(-b, d[2], d[4]);
    const V odd_far = scaled_sum(-a, d[1], d[3]), even_far = scaled_sum(-a, d[2], d[4]);
    t[0] = scaled_sum(-(a + b), d[2], scaled_sum(a * b, d[0], d[4]));
    t[1] = scaled_sum(NEAR, odd, even);
    t[2] = scaled_sum(-NEAR, odd, even);
    t[3] = scaled_sum(FAR, odd_far, even_far);
    t[4] = scaled_sum(-FAR, odd_far, even_far);
    t[5] = scaled_sum(-(a + b), d[3], scaled_sum(a * b, d[1], d[5]));
  } else if (kind == F23) {
    t[0] = d[2] - d[0];
    t[1] = d[1] + d[2];
    t[2] = d[2] - d[1];
    t[3] = d[3] - d[1];
  } else if (kind == F43_STRIDE_2) {
    const float a = NEAR_2 * NEAR_2, b = FAR_2 * FAR_2;
    const V odd = scaled_sum(-b, d[2], d[6]), even = scaled_sum(-b, d[0], d[4]);
    const V odd_far = scaled_sum(-a, d[2], d[6]), even_far = scaled_sum(-a, d[0], d[4]);
    t[0] = scaled_sum(NEAR_2, even, odd);
    t[1] = scaled_sum(-NEAR_2, even, odd);
    t[2] = scaled_sum(FAR_2, even_far, odd_far);
    t[3] = scaled_sum(-FAR_2, even_far, odd_far);
    t[4] = scaled_sum(-(a + b), d[4], scaled_sum(a * b, d[0], d[8]));
    t[5] = d[1], t[6] = d[3], t[7] = d[5], t[8] = d[7];
  } else {
    t[0] = d[2] - d[0];
    t[1] = d[2];
    t[2] = d[4] - d[2];
    t[3] = d[1], t[4] = d[3];
  }
}

INLINE void backward(const int kind, const V *t, V *y) {
  if (kind == F43) {
    const V even = t[1] + t[2], odd = t[1] - t[2], even_far = t[3] + t[4], odd_far = t[3] - t[4];
    y[0] = t[0] + even + even_far;
    y[1] = scaled_sum(FAR, odd_far, NEAR * odd);
    y[2] = scaled_sum(FAR * FAR, even_far, NEAR * NEAR * even);
    y[3] = scaled_sum(FAR * FAR * FAR, odd_far, scaled_sum(NEAR * NEAR * NEAR, odd, t[5]));
  } else if (kind == F23) {
    y[0] = t[0] + t[1] + t[2];
    y[1] = t[1] - t[2] + t[3];
  } else if (kind == F43_STRIDE_2) {
    const V even = t[0] + t[1], odd = t[0] - t[1], even_far = t[2] + t[3], odd_far = t[2] - t[3];
    y[0] = t[5] + even + even_far;
    y[1] = scaled_sum(FAR_2, odd_far, scaled_sum(NEAR_2, odd, t[6]));
    y[2] = scaled_sum(FAR_2 * FAR_2, even_far, scaled_sum(NEAR_2 * NEAR_2, even, t[7]));
    y[3] = scaled_sum(FAR_2 * FAR_2 * FAR_2, odd_far, scaled_sum(NEAR_2 * NEAR_2 * NEAR_2, odd, t[8] + t[4]));
  } else {
    y[0] = t[3] + t[0] + t[1];
    y[1] = t[4] + t[1] + t[2];
  }
}

/* Where the values of a bunch of tiles lie in the scratch memory, which holds the transformed
 * inputs and then the products: (class of rows, class of columns, block, position, lane). */
typedef struct {
  int64_t first[SPAN * SPAN], plane[SPAN * SPAN]; /* by value of a tile: offsets in floats */
  int64_t size;
} Values;

/* Values of one class share weights and so a plane, side by side. Planes are an odd number of
 * vectors apart, so that their beginnings do not meet in the caches. */
static void lay_out(const Transform *t, int64_t blocks, int64_t bunch, Values *v) {
  const int64_t last = t->classes - 1, shared = t->span - last;
  int64_t at = 0;
  EACH(i, t->classes) EACH(j, t->classes) {
    const int64_t rows = i < last ? 1 : shared, columns = j < last ? 1 : shared;
    const int64_t plane = (rows * columns * bunch | 1) * B;
    EACH(r, rows) EACH(c, columns) {
      const int64_t value = (i + r) * t->span + j + c;
      v->first[value] = at + (r * columns + c) * bunch * B;
      v->plane[value] = plane;
    }
    at += blocks * plane + B;
  }
  v->size = at;
}

/* A tile: its image, and its place there. */
typedef struct {
  int64_t image, row, column;
} Spot;
INLINE int64_t tiles_along(int64_t size, const Transform *t) { return (size + t->outputs - 1) / t->outputs; }
INLINE Spot spot_of(const Step *s, const Transform *t, int64_t tile) {
  const int64_t down = tiles_along(s->rows, t), across = tiles_along(s->columns, t), place = tile % (down * across);
  return (Spot){tile / (down * across), place / across, place % across};
}
INLINE Spot next_spot(const Step *s, const Transform *t, Spot spot) {
  if (++spot.column < tiles_along(s->columns, t)) return spot;
  spot.column = 0;
  if (++spot.row < tiles_along(s->rows, t)) return spot;
  return (Spot){spot.image + 1, 0, 0};
}

/* The inputs of a tile that reaches over the border; zeros there. */
static void patched(const Step *s, const Transform *t, const float *x, Spot spot, V *patch) {
  const int64_t r0 = spot.row * t->step - s->top, c0 = spot.column * t->step - s->left;
  EACH(r, t->span) EACH(c, t->span) {
    const int in = r0 + r >= 0 && r0 + r < s->input_rows && c0 + c >= 0 && c0 + c < s->input_columns;
    patch[r * t->span + c] = in ? *(V *)(x + r * s->x.row + c * B) : (V){};
  }
}

/* Values of one block lie at at[value]. */
INLINE void tile_forward(const int kind, const int N, const Step *s, const float *x, Spot spot,
                         float *scratch, const int64_t *at) {
  const Transform *t = transforms + kind;
  V patch[SPAN * SPAN], half[SPAN][SPAN];
  int64_t row = s->x.row;
  if (spot.row * t->step - s->top + N > s->input_rows + s->bottom ||
      spot.column * t->step - s->left + N > s->input_columns + s->right) {
    patched(s, t, x, spot, patch);
    x = (float *)patch, row = N * B;
  }
  UNROLL for (int c = 0; c < N; c++) {
    V d[SPAN], f[SPAN];
    UNROLL for (int r = 0; r < N; r++) d[r] = *(V *)(x + r * row + c * B);
    forward(kind, d, f);
    UNROLL for (int r = 0; r < N; r++) half[r][c] = f[r];
  }
  UNROLL for (int r = 0; r < N; r++) {
    V f[SPAN];
    forward(kind, half[r], f);
    UNROLL for (int c = 0; c < N; c++) *(V *)(scratch + at[r * N + c]) = f[c];
  }
}

INLINE void tile_backward(const int kind, const int N, const int O, const Step *s,
                          const float *scratch, const int64_t *at, Spot spot, V bias, float *y,
                          const float *z) {
  const V low = spread(s->low), high = spread(s->high);
  const int64_t rows = s->rows - spot.row * O, columns = s->columns - spot.column * O;
  V half[4][SPAN];
  UNROLL for (int c = 0; c < N; c++) {
    V d[SPAN], f[4];
    UNROLL for (int r = 0; r < N; r++) d[r] = *(V *)(scratch + at[r * N + c]);
    backward(kind, d, f);
    UNROLL for (int r = 0; r < O; r++) half[r][c] = f[r];
  }
  UNROLL for (int r = 0; r < O; r++) {
    V f[4];
    backward(kind, half[r], f);
    if (r < rows) UNROLL for (int c = 0; c < O; c++)
      if (c < columns) {
        V v = f[c] + bias;
        if (z) v += *(V *)(z + r * s->z.row + c * s->z.column);
        *(V *)(y + r * s->y.row + c * s->y.column) = smaller(larger(v, low), high);
      }
  }
  if (s->function != CLIP) activate(s, y, rows < O ? rows : O, columns < O ? columns : O);
}

/* Tiles of a bunch, from `tile` on, or those of a list: there, and back. Threads share the blocks. */
INLINE void bunch_forward(const int kind, const int N, const Step *s, const float *m, const Values *to,
                          const Spot *listed, int64_t tile, int64_t count, float *scratch) {
  const Transform *t = transforms + kind;
  OMP(for)
  for (int64_t i = 0; i < s->blocks; i++) {
    int64_t at[SPAN * SPAN];
    EACH(v, N * N) at[v] = to->first[v] + i * to->plane[v];
    Spot spot = spot_of(s, t, tile);
    EACH(k, count) {
      if (listed) spot = listed[k];
      const float *x = m + s->x.at + spot.image * s->x.image + i * s->x.plane +
                       spot.row * t->step * s->x.row + spot.column * t->step * B;
      tile_forward(kind, N, s, x, spot, scratch + k * B, at);
      spot = next_spot(s, t, spot);
    }
  }
}

INLINE void bunch_backward(const int kind, const int N, const int O, const Step *s, float *m,
                           const float *constants, const Values *from, const Spot *listed, int64_t tile,
                           int64_t count, const float *scratch) {
  const Transform *t = transforms + kind;
  OMP(for)
  for (int64_t f = 0; f < s->filters; f++) {
    const V bias = *(V *)(constants + s->biases + f * B);
    int64_t at[SPAN * SPAN];
    EACH(v, N * N) at[v] = from->first[v] + f * from->plane[v];
    Spot spot = spot_of(s, t, tile);
    EACH(k, count) {
      if (listed) spot = listed[k];
      const int64_t row = spot.row * O, column = spot.column * O;
      float *y = m + s->y.at + spot.image * s->y.image + f * s->y.plane + row * s->y.row + column * s->y.column;
      const float *z = m + s->z.at + spot.image * s->z.image + f * s->z.plane + row * s->z.row + column * s->z.column;
      tile_backward(kind, N, O, s, scratch + k * B, at, spot, bias, y, s->z.at < 0 ? 0 : z);
      spot = next_spot(s, t, spot);
    }
  }
}

/* Products of a bunch: for each class a 1x1 convolution over the positions of its plane. */
static void bunch_products(const Step *s, const Values *from, const Values *to, const float *constants,
                           float *scratch) {
  const Transform *t = transforms + s->mode;
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  const int64_t groups = (s->filters + GROUP - 1) / GROUP, last = t->classes - 1, shared = t->span - last;
  int64_t used = 0;
  EACH(i, s->blocks) used += lanes[i];
  OMP(for collapse(2))
  for (int64_t e = 0; e < t->classes * t->classes; e++)
    for (int64_t g = 0; g < groups; g++) {
      const int64_t r = e / t->classes, c = e % t->classes, value = r * t->span + c;
      const int64_t f0 = begin(s->filters, groups, g), nb = begin(s->filters, groups, g + 1) - f0;
      Step p = {.images = 1, .blocks = s->blocks, .filters = s->filters, .lanes = s->lanes, .biases = s->zeros,
                .kernel_rows = 1, .kernel_columns = 1, .stride_rows = 1, .stride_columns = 1,
                .dilation_rows = 1, .dilation_columns = 1, .input_rows = 1, .rows = 1,
                .columns = s->bunch * (r < last ? 1 : shared) * (c < last ? 1 : shared),
                .chunk = s->chunk, .together = s->together, .low = -INFINITY, .high = INFINITY};
      p.x = (Place){from->first[value], 0, from->plane[value], 0, B};
      p.y = (Place){to->first[value], 0, to->plane[value], 0, B};
      p.z.at = -1;
      conv_part(&p, scratch, constants, constants + s->weights + used * B * (s->filters * e + f0), f0, nb, 0, 1, 0, 1);
    }
}

static void winograd(const Step *s, float *m, const float *constants, int threads) {
  const Transform *t = transforms + s->mode;
  const int64_t tiles = s->images * tiles_along(s->rows, t) * tiles_along(s->columns, t);
  float *scratch = m + s->scratch.at;
  Values from, to;
  lay_out(t, s->blocks, s->bunch, &from);
  lay_out(t, s->filters, s->bunch, &to);
  EACH(v, SPAN * SPAN) to.first[v] += from.size;
  (void)threads;
  OMP(parallel num_threads(threads) if (threads > 1))
  for (int64_t tile = 0; tile < tiles; tile += s->bunch) {
    const int64_t count = tiles - tile < s->bunch ? tiles - tile : s->bunch;
#define IN_KIND(KIND, N, O)                                              \
  case KIND:                                                             \
    bunch_forward(KIND, N, s, m, &from, 0, tile, count, scratch);        \
    bunch_products(s, &from, &to, constants, scratch);                   \
    bunch_backward(KIND, N, O, s, m, constants, &to, 0, tile, count, scratch); \
    break;
    switch (s->mode) {
      IN_KIND(F43, 6, 4)
      IN_KIND(F23, 4, 2)
      IN_KIND(F43_STRIDE_2, 9, 4)
      IN_KIND(F23_STRIDE_2, 5, 2)
    }
  }
}
