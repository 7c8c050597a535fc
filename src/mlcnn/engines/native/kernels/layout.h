/* Borders, and the way between blocks and dense arrays. */
/* Of a plane whose rows lie side by side: what is right of one and left of the next is one run. */
static void border_of_plane(const Step *s, float *y) {
  const int64_t row = s->y.row, beside = s->left + s->right;
  memset(y - s->top * row - s->left, 0, sizeof(float) * (s->top * row + s->left));
  EACH(q, beside) EACH(r, s->rows - 1) y[r * row + s->columns + q] = 0;
  memset(y + (s->rows - 1) * row + s->columns, 0, sizeof(float) * (s->bottom * row + s->right));
}
/* Zeros around p x q positions that begin at y; of codes, the one that stands for zero. */
static void border(const Step *s, float *m) {
  const int64_t row = s->y.row, column = s->y.column, size = sizeof(float);
  const int code = (int)s->zero_y;
  EACH(n, s->images) EACH(i, s->blocks) {
    float *y = m + s->y.at + n * s->y.image + i * s->y.plane;
    /* Codes of a narrow vector are one float a position, too, and their rows may lie apart. */
    if (column == 1 && !code && row == s->left + s->columns + s->right) {
      border_of_plane(s, y);
      continue;
    }
    memset(y - s->top * row - s->left * column, code, size * s->top * row);
    EACH(r, s->rows) {
      memset(y + r * row - s->left * column, code, size * s->left * column);
      memset(y + r * row + s->columns * column, code, size * s->right * column);
    }
    memset(y + s->rows * row - s->left * column, code, size * s->bottom * row);
  }
}

/* Rows become columns: each of log B rounds takes the lanes of two vectors in turn. */
#if B == 16
#define ROUNDS 4
#define LANES(F) F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7), F(8), F(9), F(10), F(11), F(12), F(13), F(14), F(15)
#elif B == 8
#define ROUNDS 3
#define LANES(F) F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7)
#else
#define ROUNDS 2
#define LANES(F) F(0), F(1), F(2), F(3)
#endif
#if defined(__clang__)
#define SHUFFLED_AS(TYPE, a, b, F) __builtin_shufflevector(a, b, LANES(F))
#else
#define SHUFFLED_AS(TYPE, a, b, F) __builtin_shuffle(a, b, (TYPE){LANES(F)})
#endif
#define SHUFFLED(a, b, F) SHUFFLED_AS(M, a, b, F)
#define IN_TURN(i) ((i) / 2 + (i) % 2 * B)
#define IN_TURN_HIGH(i) (IN_TURN(i) + B / 2)
INLINE void transpose(V *v) {
  UNROLL for (int round = 0; round < ROUNDS; round++) {
    V a[B];
    UNROLL for (int i = 0; i < B; i++) a[i] = v[i];
    UNROLL for (int i = 0; i < B / 2; i++) {
      v[2 * i] = SHUFFLED(a[i], a[i + B / 2], IN_TURN);
      v[2 * i + 1] = SHUFFLED(a[i], a[i + B / 2], IN_TURN_HIGH);
    }
  }
}

/* So many positions of a full block, from the planes of a dense array, and back; returns how many
 * are done. */
static int64_t pack_block(const Step *s, const float *x, float *y) {
  const int64_t positions = s->rows * s->columns / B * B;
  for (int64_t p = 0, q = 0; p < positions; p += B) {
    V v[B];
    UNROLL for (int c = 0; c < B; c++) memcpy(v + c, x + c * s->z.plane + p, sizeof(V));
    transpose(v);
    EACH(t, B) {
      *(V *)(y + q * B) = v[t];
      if (++q == s->columns) q = 0, y += s->y.row;
    }
  }
  return positions;
}
static int64_t unpack_block(const Step *s, const float *x, float *y) {
  const int64_t positions = s->rows * s->columns / B * B;
  for (int64_t p = 0, q = 0; p < positions; p += B) {
    V v[B];
    EACH(t, B) {
      v[t] = *(V *)(x + q * B);
      if (++q == s->columns) q = 0, x += s->x.row;
    }
    transpose(v);
    UNROLL for (int c = 0; c < B; c++) memcpy(y + c * s->z.plane + p, v + c, sizeof(V));
  }
  return positions;
}

/* A lane, from position `done` on. */
INLINE void lane_moved(const Step *s, const float *x, const Place *from, float *y, const Place *to, int64_t done) {
  for (int64_t r = done / s->columns, q = done % s->columns; r < s->rows; r++, q = 0)
    for (; q < s->columns; q++) y[r * to->row + q * to->column] = x[r * from->row + q * from->column];
}

/* Between an array with the strides of z, whose planes are channels, and blocks; unused lanes are
 * left as they are. */
static void pack(const Step *s, float *m, const float *constants, const float *dense) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  const int side = s->y.column == B && s->z.column == 1 && s->z.row == s->columns;
  EACH(n, s->images) for (int64_t i = 0, c = 0; i < s->blocks; c += lanes[i++]) {
    const float *x = dense + n * s->z.image + c * s->z.plane;
    float *y = m + s->y.at + n * s->y.image + i * s->y.plane;
    const int64_t done = side && lanes[i] == B ? pack_block(s, x, y) : 0;
    EACH(l, lanes[i]) {
      if (s->y.column == 1 && s->z.column == 1)
        EACH(r, s->rows) copy_floats(y + r * s->y.row, x + r * s->z.row, s->columns);
      else lane_moved(s, x + l * s->z.plane, &s->z, y + l, &s->y, done);
    }
  }
}
static void unpack(const Step *s, const float *m, const float *constants, float *dense) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  const int side = s->z.column == 1 && s->z.row == s->columns;
  EACH(n, s->images) for (int64_t i = 0, c = 0; i < s->blocks; c += lanes[i++]) {
    const float *x = m + s->x.at + n * s->x.image + i * s->x.plane;
    float *y = dense + n * s->z.image + c * s->z.plane;
    const int64_t done = side && lanes[i] == B ? unpack_block(s, x, y) : 0;
    if (s->x.column == 1 && s->z.column == 1)
      EACH(r, s->rows) copy_floats(y + r * s->z.row, x + r * s->x.row, s->columns);
    else EACH(l, lanes[i]) lane_moved(s, x + l, &s->x, y + l * s->z.plane, &s->z, done);
  }
}
